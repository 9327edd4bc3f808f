#include "service/queue/queue_testing.h"

#include "base/mem.h"
#include "wire/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct event {
    struct heap_node node;
    void (*fn)(void *arg);
    void *arg;
};

static struct test_world *of(struct world *w)
{
    return container_of(w, struct test_world, world);
}

static struct test_world *of_env(struct role_env *env)
{
    return container_of(env, struct test_world, env);
}

/* ---- the supervisor's part ---- */

void role_ready(struct role_env *env)
{
    of_env(env)->n_ready++;
}

void role_fail(struct role_env *env, struct str reason)
{
    struct test_world *w = of_env(env);
    w->n_failed++;
    (void)snprintf(w->fail_reason, sizeof w->fail_reason, "%.*s", STR_FMT(reason));
}

void role_drained(struct role_env *env)
{
    of_env(env)->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(old);
    of_env(env)->n_released++;
}

void role_peer_closed(struct role_env *env, struct channel *c)
{
    env->peers[c->role][c->index] = NULL;
    c->is_closed = true;
}

bool role_message_allowed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    if (ipc_may_send(from, env->role, type))
        return true;
    of_env(env)->n_forbidden++;
    role_peer_closed(env, c);
    return false;
}

void role_message_malformed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    UNUSED(from);
    UNUSED(type);
    of_env(env)->n_forbidden++;
    role_peer_closed(env, c);
}

void role_event(struct role_env *env, const struct ipc_event *e)
{
    struct test_world *w = of_env(env);
    struct buf *b = &w->events_text;
    w->n_events[e->kind]++;
    if (b->n > b->max - 8192)
        buf_consume(b, b->n / 2);
    buf_printf(b, "%s %llx %llx", event_word(e->kind), (unsigned long long)e->id,
               (unsigned long long)e->other_id);
    struct str parts[] = {e->host, e->rcpt, e->text};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        buf_putc(b, ' ');
        buf_put(b, parts[i]);
    }
    buf_putc(b, '\n');
    if (w->echo)
        (void)fprintf(stderr, "# %llu %s %llx %.*s %.*s %.*s\n", (unsigned long long)(w->now_us / 1000),
                      event_word(e->kind), (unsigned long long)e->id, STR_FMT(e->host), STR_FMT(e->rcpt),
                      STR_FMT(e->text));
}

bool test_saw(const struct test_world *w, const char *text)
{
    return str_find(buf_str(&w->events_text), str_from_c(text)) != STR_NPOS;
}

/* ---- clock, disk ---- */

static uint64_t now_ms(const struct world *w)
{
    return ((const struct test_world *)(const void *)w)->now_us / 1000;
}

static int64_t wall_ms(const struct world *w)
{
    const struct test_world *t = (const void *)w;
    return t->wall_ms + (int64_t)(t->now_us / 1000);
}

static void fill_random(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&of(w)->rng);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    if (t->is_set)
        heap_remove(&of(w)->timers, &t->node);
    t->is_set = true;
    heap_insert(&of(w)->timers, &t->node, due_ms);
}

static void timer_cancel(struct world *w, struct timer *t)
{
    t->is_set = false;
    heap_remove(&of(w)->timers, &t->node);
}

static void turn_end(struct world *w, struct turn_hook *h)
{
    list_push_back(&of(w)->hooks, &h->link);
}

static void later(void *arg, uint64_t delay_us, void (*fn)(void *fn_arg), void *fn_arg)
{
    struct test_world *w = arg;
    struct event *e = mem_must_new(struct event);
    e->fn = fn;
    e->arg = fn_arg;
    heap_insert(&w->events, &e->node, w->now_us + delay_us);
}

static enum err disk_mount(struct world *w, const char *root, struct disk **out)
{
    struct sim_disk_host host = {.schedule = later, .arg = of(w), .ops = w->ops};
    enum err err = sim_disk_mount(of(w)->medium, root, &host, out);
    of(w)->mount = err == ERR_OK ? *out : NULL;
    return err;
}

static void disk_unmount(struct disk *d)
{
    sim_disk_close(d);
}

/* ---- channels ---- */

static struct test_message *message_new(uint16_t type, struct str payload, struct handle *h)
{
    struct test_message *m = mem_must_alloc(sizeof *m + payload.n + 1);
    m->type = type;
    m->handle = h;
    m->n = payload.n;
    if (payload.n > 0)
        memcpy(m->octets, payload.p, payload.n);
    list_init(&m->link);
    return m;
}

void test_message_free(struct test_message *m)
{
    list_remove(&m->link);
    mem_free(m);
}

static enum err chan_send(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    must(payload.n <= IPC_FRAME_MAX);
    if (c->is_closed)
        return ERR_CLOSED;
    if (c->is_full)
        return ERR_AGAIN;
    if (type == IPC_COUNTERS) {
        c->tw->n_counters++;
        return ERR_OK;
    }
    must(c->n_sent < TEST_SENT_MAX);
    if (give != NULL)
        container_of(give, struct test_pipe, handle)->reader_given = true;
    list_push_back(&c->sent, &message_new(type, payload, give)->link);
    c->n_sent++;
    return ERR_OK;
}

static size_t chan_backlog(const struct channel *c)
{
    UNUSED(c);
    return 0;
}

static void chan_set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void chan_pause(struct channel *c, bool paused)
{
    c->is_paused = paused;
}

static void chan_close(struct channel *c)
{
    c->is_closed = true;
}

void test_send(struct channel *c, uint16_t type, struct str payload, struct handle *h)
{
    list_push_back(&c->inbox, &message_new(type, payload, h)->link);
}

struct test_message *test_take(struct channel *c, uint16_t type)
{
    struct list *l;
    while ((l = list_pop_front(&c->sent)) != NULL) {
        struct test_message *m = list_entry(l, struct test_message, link);
        c->n_sent--;
        if (m->type == type)
            return m;
        test_message_free(m);
    }
    return NULL;
}

/* One message to the role; false when nothing was on its way. */
static bool deliver_one(struct channel *c)
{
    if (c->is_closed || c->is_paused || c->user == NULL || list_is_empty(&c->inbox))
        return false;
    struct test_message *m = list_entry(c->inbox.next, struct test_message, link);
    list_remove(&m->link);
    /* its own block, so that reading past its end shows */
    c->user->on_message(c->arg, c, m->type, test_payload(m), m->handle);
    test_message_free(m);
    return true;
}

/* ---- pipes ---- */

static const struct world_ops ops;

static struct test_pipe *pipe_new(struct test_world *w)
{
    struct test_pipe *p = mem_must_new(struct test_pipe);
    p->reader = (struct conn){.object = {&ops}, .pipe = p};
    p->writer = (struct conn){.object = {&ops}, .pipe = p, .is_writer = true};
    p->handle = (struct handle){.object = {&ops}, .conn = &p->reader};
    p->reader_open = p->writer_open = true;
    p->cap = 65536;
    buf_init(&p->octets, 1024 * 1024);
    list_push_back(&w->pipes, &p->link);
    return p;
}

static enum err make_pipe(struct world *w, struct conn **out_read, struct conn **out_write)
{
    struct test_pipe *p = pipe_new(of(w));
    *out_read = &p->reader;
    *out_write = &p->writer;
    return ERR_OK;
}

static void conn_user_set(struct conn *c, const struct conn_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void conn_want_set(struct conn *c, unsigned mask)
{
    c->want = mask;
}

static enum err conn_read_some(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    struct test_pipe *p = c->pipe;
    size_t n = p->octets.n < cap ? p->octets.n : cap;
    if (n == 0)
        return p->writer_open ? ERR_AGAIN : ERR_CLOSED;
    memcpy(out, p->octets.p, n);
    buf_consume(&p->octets, n);
    *out_n = n;
    return ERR_OK;
}

static enum err conn_write_some(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    struct test_pipe *p = c->pipe;
    must(n_pieces == 1);
    if (!p->reader_open)
        return ERR_RESET;
    size_t n = p->cap - p->octets.n;
    if (n > pieces[0].n)
        n = pieces[0].n;
    if (n == 0)
        return ERR_AGAIN;
    assert_true(buf_put(&p->octets, str_slice(pieces[0], 0, n)));
    *out_n = n;
    return ERR_OK;
}

static void conn_shut(struct conn *c)
{
    struct test_pipe *p = c->pipe;
    if (c->is_writer)
        p->writer_open = false;
    else
        p->reader_open = false;
    c->want = 0;
    c->user = NULL;
}

static struct handle *handle_from_conn(struct conn *c)
{
    return &c->pipe->handle;
}

static struct conn *conn_from_handle(struct world *w, struct handle *h)
{
    UNUSED(w);
    return h->conn;
}

static void handle_close(struct handle *h)
{
    conn_shut(h->conn);
}

struct handle *test_pipe_new(struct test_world *w, struct test_pipe **out)
{
    *out = pipe_new(w);
    return &(*out)->handle;
}

void test_pipe_write(struct test_pipe *p, struct str octets)
{
    assert_true(buf_put(&p->octets, octets));
}

void test_pipe_end(struct test_pipe *p)
{
    p->writer_open = false;
}

static bool ready_one(struct test_world *w)
{
    list_each (l, &w->pipes) {
        struct test_pipe *p = list_entry(l, struct test_pipe, link);
        bool readable = p->octets.n > 0 || !p->writer_open;
        bool writable = p->octets.n < p->cap || !p->reader_open;
        if (p->reader_open && !p->reader_given && readable && (p->reader.want & CONN_READABLE) != 0) {
            p->reader.user->on_ready(p->reader.arg, &p->reader, CONN_READABLE);
            return true;
        }
        if (p->writer_open && writable && (p->writer.want & CONN_WRITABLE) != 0) {
            p->writer.user->on_ready(p->writer.arg, &p->writer, CONN_WRITABLE);
            return true;
        }
    }
    return false;
}

void test_pipe_drain(struct test_world *w, struct handle *h, struct buf *out)
{
    struct test_pipe *p = container_of(h, struct test_pipe, handle);
    for (unsigned i = 0; i < 100000 && (p->writer_open || p->octets.n > 0); i++) {
        assert_true(buf_put(out, buf_str(&p->octets)));
        buf_reset(&p->octets);
        test_run(w, 1);
    }
    p->reader_open = false;
}

static const struct world_ops ops = {
    .now_ms = now_ms,
    .wall_ms = wall_ms,
    .random = fill_random,
    .timer_set = timer_set,
    .timer_cancel = timer_cancel,
    .turn_end = turn_end,
    .disk = disk_mount,
    .disk_submit = sim_disk_submit,
    .disk_close = disk_unmount,
    .channel_send = chan_send,
    .channel_backlog = chan_backlog,
    .channel_set_user = chan_set_user,
    .channel_pause = chan_pause,
    .channel_close = chan_close,
    .handle_of_conn = handle_from_conn,
    .handle_take_conn = conn_from_handle,
    .handle_drop = handle_close,
    .conn_set_user = conn_user_set,
    .conn_want = conn_want_set,
    .conn_read = conn_read_some,
    .conn_write = conn_write_some,
    .conn_close = conn_shut,
    .pipe = make_pipe,
};

/* ---- turns ---- */

static void run_script(struct test_world *w, struct channel *c)
{
    list_each (l, &c->sent) {
        struct test_message *m = list_entry(l, struct test_message, link);
        if (m->type == IPC_RELAY_JOB && w->on_relay_job != NULL) {
            struct ipc_relay_job j;
            assert_true(ipc_decode_relay_job(test_payload(m), &j));
            w->n_relay_jobs++;
            list_remove(&m->link);
            c->n_sent--;
            w->on_relay_job(w, &j, m->handle);
            test_message_free(m);
        } else if (m->type == IPC_LOCAL_JOB && w->on_local_job != NULL) {
            struct ipc_local_job j;
            assert_true(ipc_decode_local_job(test_payload(m), &j));
            w->n_local_jobs++;
            list_remove(&m->link);
            c->n_sent--;
            w->on_local_job(w, &j, m->handle);
            test_message_free(m);
        } else if (m->type == IPC_MX_ASK && w->on_mx_ask != NULL) {
            struct ipc_mx_ask a;
            assert_true(ipc_decode_mx_ask(test_payload(m), &a));
            w->n_mx_asks++;
            list_remove(&m->link);
            c->n_sent--;
            w->on_mx_ask(w, &a);
            test_message_free(m);
        }
    }
}

static void run_scripts(struct test_world *w)
{
    run_script(w, &w->relay);
    run_script(w, &w->local);
    run_script(w, &w->lookup);
}

static bool something_now(struct test_world *w)
{
    struct channel *all[] = {&w->smtpd, &w->smtpd1, &w->relay, &w->local, &w->lookup, &w->admin, &w->agent};
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        any = deliver_one(all[i]) || any;
    return ready_one(w) || any;
}

/* One turn at the present moment or the next one up to limit_us; false when nothing happens until then. */
static bool turn(struct test_world *w, uint64_t limit_us)
{
    bool any = something_now(w);
    if (!any) {
        const struct heap_node *e = heap_min(&w->events), *t = heap_min(&w->timers);
        uint64_t at = e == NULL ? UINT64_MAX : e->key;
        if (t != NULL && t->key * 1000 < at)
            at = t->key * 1000;
        if (at > limit_us)
            return false;
        if (at > w->now_us)
            w->now_us = at;
        if (e != NULL && e->key <= w->now_us) {
            struct event *ev = container_of(heap_min(&w->events), struct event, node);
            heap_remove(&w->events, &ev->node);
            ev->fn(ev->arg);
            mem_free(ev);
        }
        struct heap_node *n;
        uint64_t now = w->now_us / 1000;
        for (unsigned i = 0; i < 64 && (n = heap_min(&w->timers)) != NULL && n->key <= now; i++) {
            struct timer *due = container_of(n, struct timer, node);
            heap_remove(&w->timers, n);
            due->is_set = false;
            due->fire(due);
        }
    }
    list_each (l, &w->hooks) {
        struct turn_hook *h = list_entry(l, struct turn_hook, link);
        h->run(h);
    }
    run_scripts(w);
    return true;
}

void test_run(struct test_world *w, uint64_t ms)
{
    uint64_t limit = w->now_us + ms * 1000;
    run_scripts(w); /* for what was said outside of a turn */
    while (turn(w, limit)) {
    }
    w->now_us = limit;
}

void test_until(struct test_world *w, bool (*cond)(struct test_world *w), uint64_t limit_ms)
{
    uint64_t limit = w->now_us + limit_ms * 1000;
    while (!cond(w)) {
        if (!turn(w, limit))
            break;
    }
    assert_true(cond(w));
}

/* ---- set-up ---- */

static void write_line(void *arg, struct str line)
{
    const struct test_world *w = arg;
    if (w->echo)
        (void)fprintf(stderr, "# %.*s", STR_FMT(line));
}

static const struct str users[] = {{"alice", 5}, {"bob", 3}, {"carol", 5}};

static struct local_domain domains[2];

static void make_config(struct config *c, uint64_t generation)
{
    static const struct str net = {"example.net", 11}, org = {"example.org", 11};
    domains[0] = (struct local_domain){.name = net, .any_user = true, .deliver = {.kind = DELIVER_LMTP}};
    assert_true(netaddr_parse_ip(STR("192.0.2.24"), 24, &domains[0].deliver.lmtp));
    domains[1] = (struct local_domain){
        .name = org,
        .users = users,
        .n_users = ARRAY_LEN(users),
        .deliver = {.kind = DELIVER_MAILDIR,
                    .maildir = STR("/var/vmail/%d/%u"),
                    .user_name = STR("vmail"),
                    .uid = UINT32_MAX,
                    .gid = UINT32_MAX},
    };
    *c = (struct config){
        .generation = generation,
        .policy = {.hostname = STR("mail.example.org"),
                   .postmaster = STR("alice@example.org"),
                   .domains = domains,
                   .n_domains = 2},
        .size_max = 50 * 1024 * 1024,
        .rcpt_max = 1000,
        .n_smtpd = 2,
        .n_relay = 1,
        .memory_max = 64 * 1024 * 1024,
        .retry_first_s = 300,
        .retry_max_s = 14400,
        .retry_jitter_pct = 20,
        .expire_s = 432000,
        .bounce_expire_s = 172800,
        .delay_after_s = 14400,
        .success_to_strangers = true,
        .site_connections_max = 20,
        .smtp_port = 2525,
    };
}

static void chan_init(struct test_world *w, struct channel *c, enum role role, unsigned index)
{
    *c = (struct channel){.object = {&ops}, .tw = w, .role = role, .index = index};
    list_init(&c->inbox);
    list_init(&c->sent);
}

static void chan_fini(struct channel *c)
{
    struct list *l;
    while ((l = list_pop_front(&c->inbox)) != NULL || (l = list_pop_front(&c->sent)) != NULL)
        mem_free(list_entry(l, struct test_message, link));
    c->n_sent = 0;
}

static void init_channels(struct test_world *w)
{
    chan_init(w, &w->smtpd, ROLE_SMTPD, 0);
    chan_init(w, &w->smtpd1, ROLE_SMTPD, 1);
    chan_init(w, &w->relay, ROLE_RELAY, 0);
    chan_init(w, &w->local, ROLE_LOCAL, 0);
    chan_init(w, &w->lookup, ROLE_LOOKUP, 0);
    chan_init(w, &w->admin, ROLE_ADMIN, 0);
    chan_init(w, &w->agent, ROLE_AGENT, 0);
}

void test_world_init(struct test_world *w, uint64_t seed)
{
    *w = (struct test_world){.now_us = 1000000, .wall_ms = 1764000000000};
    w->log = (struct log){.min = LOG_INFO, .write = write_line, .arg = w};
    w->world = (struct world){.ops = &ops, .log = &w->log};
    rng_seed(&w->rng, seed);
    init_channels(w);
    list_init(&w->hooks);
    list_init(&w->pipes);
    buf_init(&w->events_text, 256 * 1024);
    w->medium = sim_disk_new(seed);
    assert_non_null(w->medium);
    make_config(&w->config, 1);
    make_config(&w->config2, 2);
}

void test_start(struct test_world *w)
{
    init_channels(w);
    w->env = (struct role_env){.world = &w->world, .role = ROLE_QUEUE, .config = &w->config, .root = "."};
    w->env.peers[ROLE_SMTPD][0] = &w->smtpd;
    w->env.peers[ROLE_SMTPD][1] = &w->smtpd1;
    w->env.peers[ROLE_RELAY][0] = &w->relay;
    w->env.peers[ROLE_LOCAL][0] = &w->local;
    w->env.peers[ROLE_LOOKUP][0] = &w->lookup;
    w->env.peers[ROLE_ADMIN][0] = &w->admin;
    if (config_wants_agent(&w->config))
        w->env.peers[ROLE_AGENT][0] = &w->agent;
    unsigned n_ready = w->n_ready;
    w->q = queue_role.create(&w->env);
    assert_non_null(w->q);
    for (unsigned i = 0; i < 10000 && w->n_ready == n_ready && w->n_failed == 0; i++)
        test_run(w, 10);
    assert_int_equal(w->n_ready, n_ready + 1);
}

static void forget_world(struct test_world *w)
{
    struct channel *all[] = {&w->smtpd, &w->smtpd1, &w->relay, &w->local, &w->lookup, &w->admin, &w->agent};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        chan_fini(all[i]);
    struct list *l;
    while ((l = list_pop_front(&w->pipes)) != NULL) {
        struct test_pipe *p = list_entry(l, struct test_pipe, link);
        buf_fini(&p->octets);
        mem_free(p);
    }
    struct heap_node *n;
    while ((n = heap_min(&w->events)) != NULL) {
        struct event *e = container_of(n, struct event, node);
        heap_remove(&w->events, n);
        e->fn(e->arg); /* its mount is dead: it only frees */
        mem_free(e);
    }
    assert_null(heap_min(&w->timers));
    assert_true(list_is_empty(&w->hooks));
}

void test_kill(struct test_world *w)
{
    if (w->mount != NULL && w->q->disk != NULL)
        sim_disk_kill(w->mount);
    queue_role.del(w->q);
    w->q = NULL;
    w->mount = NULL;
    forget_world(w);
}

void test_power_cut(struct test_world *w)
{
    sim_disk_power_cut(w->medium);
    queue_role.del(w->q);
    w->q = NULL;
    w->mount = NULL;
    forget_world(w);
}

void test_world_fini(struct test_world *w)
{
    if (w->q != NULL)
        test_kill(w);
    sim_disk_del(&w->medium);
    buf_fini(&w->events_text);
}

/* ---- what peers say ---- */

#define SEND(c, type, name, m, h)                                                                            \
    do {                                                                                                     \
        struct buf send_buf;                                                                                 \
        buf_init(&send_buf, IPC_FRAME_MAX);                                                                  \
        assert_true(ipc_encode_##name((m), &send_buf));                                                      \
        test_send((c), (type), buf_str(&send_buf), (h));                                                     \
        buf_fini(&send_buf);                                                                                 \
    } while (0)

uint64_t test_new_id(struct test_world *w)
{
    struct ipc_id_want want = {.n = 1};
    SEND(&w->smtpd, IPC_ID_WANT, id_want, &want, NULL);
    struct test_message *m = NULL;
    for (unsigned i = 0; i < 100 && m == NULL; i++) {
        test_run(w, 1);
        m = test_take(&w->smtpd, IPC_ID_GRANT);
    }
    assert_non_null(m);
    struct ipc_id_grant g;
    assert_true(ipc_decode_id_grant(test_payload(m), &g));
    assert_int_equal(g.n, 1);
    test_message_free(m);
    return g.first;
}

void test_send_put(struct test_world *w, uint64_t token, uint64_t id, const char *sender, const char *rcpts,
                   struct str body, struct handle *pipe)
{
    struct buf list;
    buf_init(&list, IPC_FRAME_MAX);
    struct str rest = str_from_c(rcpts);
    while (rest.n > 0)
        rcpt_put(&(struct rcpt){.address = str_cut(&rest, ' ')}, &list);
    struct ipc_put m = {
        .token = token,
        .id = id,
        .sender = str_from_c(sender),
        .rcpts = buf_str(&list),
        .client = STR("198.51.100.7"),
        .helo = STR("client.example"),
        .is_piped = pipe != NULL,
        .body = body,
    };
    SEND(&w->smtpd, IPC_PUT, put, &m, pipe);
    buf_fini(&list);
}

enum err test_put(struct test_world *w, const char *sender, const char *rcpts, struct str body,
                  uint64_t *out_id)
{
    uint64_t id = test_new_id(w);
    test_send_put(w, id, id, sender, rcpts, body, NULL);
    struct test_message *m = NULL;
    for (unsigned i = 0; i < 10000 && m == NULL; i++) {
        test_run(w, 1);
        m = test_take(&w->smtpd, IPC_PUT_DONE);
    }
    assert_non_null(m);
    struct ipc_put_done done;
    assert_true(ipc_decode_put_done(test_payload(m), &done));
    assert_true(done.token == id && done.id == id);
    test_message_free(m);
    if (out_id != NULL)
        *out_id = id;
    return (enum err)done.err;
}

static struct job_result parse_result(const char *text, uint8_t stage)
{
    struct job_result r = {.stage = stage, .host = STR("mx.test [192.0.2.1]:25"), .text = str_from_c(text)};
    uint64_t code = 0;
    assert_true(str_to_u64(str_cut(&r.text, ' '), 599, &code));
    struct str rest;
    if (esc_parse(r.text, &r.esc, &rest))
        r.text = rest;
    r.code = (uint16_t)code;
    r.kind = code < 300 ? RESULT_OK : code < 500 ? RESULT_TEMPORARY : RESULT_PERMANENT;
    return r;
}

void test_job_done(struct channel *c, uint64_t token, uint32_t n, uint8_t stage, const char *const *results)
{
    struct buf b;
    buf_init(&b, IPC_FRAME_MAX);
    for (uint32_t i = 0; i < n; i++) {
        struct job_result r = parse_result(*results, stage);
        if (results[1] != NULL)
            results++;
        list_put_result(&b, &r);
    }
    struct ipc_job_done m = {.token = token, .results = buf_str(&b)};
    SEND(c, IPC_JOB_DONE, job_done, &m, NULL);
    buf_fini(&b);
}

/* hosts: "10 mx1.test,20 mx2.test" */
void test_mx_answer(struct test_world *w, uint64_t token, enum dns_status status, const char *hosts)
{
    struct buf b;
    buf_init(&b, IPC_FRAME_MAX);
    struct str rest = str_from_c(hosts);
    while (rest.n > 0) {
        struct str host = str_cut(&rest, ',');
        uint64_t preference = 0;
        assert_true(str_to_u64(str_cut(&host, ' '), 65535, &preference));
        struct hop h = {.preference = (uint16_t)preference, .port = 25, .name = host};
        list_put_hop(&b, &h);
    }
    struct ipc_mx_answer m = {.token = token,
                              .status = (uint8_t)status,
                              .is_secure = w->mx_is_secure,
                              .ttl_s = 300,
                              .hosts = buf_str(&b),
                              .canonical = w->mx_canonical == NULL ? STR_NIL : str_from_c(w->mx_canonical),
                              .why = STR("the name servers did not answer")};
    SEND(&w->lookup, IPC_MX_ANSWER, mx_answer, &m, NULL);
    buf_fini(&b);
}

enum err test_ask(struct test_world *w, enum ctl_verb verb, uint64_t id, const char *filter, uint32_t n_max,
                  struct buf *out)
{
    struct ipc_ctl_ask m = {
        .token = 99, .verb = (uint8_t)verb, .id = id, .filter = str_from_c(filter), .n_max = n_max};
    SEND(&w->admin, IPC_CTL_ASK, ctl_ask, &m, NULL);
    buf_reset(out);
    for (unsigned i = 0; i < 1000; i++) {
        test_run(w, 1);
        struct test_message *t;
        while ((t = test_take(&w->admin, IPC_CTL_ANSWER)) != NULL) {
            struct ipc_ctl_answer a;
            assert_true(ipc_decode_ctl_answer(test_payload(t), &a));
            assert_int_equal(a.token, 99);
            assert_true(buf_put(out, a.rows));
            test_message_free(t);
            if (a.is_last)
                return (enum err)a.err;
        }
    }
    fail_msg("no answer");
    return ERR_TIMEOUT;
}
