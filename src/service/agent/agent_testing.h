/* The role over a world, a disk, an HTTPS client and channels that this test holds in its hand; boot's part
 * is here too.
 */
#include "service/agent/rpt.h"

#include "base/mem.h"
#include "base/rand.h"
#include "ipc/lists.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENT_MAX = 400, FILES_MAX = 40, FILE_MAX = 256 * 1024, GETS_MAX = 200, DAY_S = 86400 };

#define MX "version: STSv1\nmode: enforce\nmx: mx1.a.test\nmx: *.b.test\nmax_age: 604800\n"
#define TESTING "version: STSv1\nmode: testing\nmx: mx.c.test\nmax_age: 604800\n"

struct channel { /* the far end is the test */
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_paused, is_closed, is_full;
    size_t n_sent, n_seen;
    struct sent {
        uint16_t type;
        size_t n;
        char *bytes;
    } sent[SENT_MAX];
};
struct disk_file {
    size_t at; /* in fixture.files */
};
struct file {
    char name[256]; /* empty: free */
    size_t n;
    char octets[FILE_MAX];
};
struct disk {
    struct world_object object;
};
struct got {
    char url[1100], host[300], type[64];
    size_t n_addresses;
    uint16_t port;
    bool is_post;
    size_t n_body;
    char body[8192];
    void (*fn)(void *arg, const struct http_answer *a);
    void *arg;
    bool is_done;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    char said[4096], events[4096];
    struct rng rng;
    uint64_t now_ms;
    int64_t wall_ms;
    struct config config, config2;
    struct role_env env;
    struct channel queue, lookup, admin, relay[2];
    struct disk disk;
    struct disk_file handle;
    struct file files[FILES_MAX];
    struct list ops; /* under way */
    enum err disk_fails;
    bool disk_waits;
    unsigned n_unlinks, n_syncs;
    struct http_client http;
    struct got gets[GETS_MAX];
    size_t n_gets;
    bool http_refuses;
    struct str anchors;
    struct list hooks;
    struct agent *self;
    struct timer *sweep;
    unsigned n_ready, n_drained, n_released;
    uint64_t token, last_put;
};

#pragma GCC diagnostic ignored "-Wunused-function" /* no test uses all of it */

static struct fixture *fixture_of(struct world *w)
{
    return container_of(w, struct fixture, world);
}

static struct fixture *fixture_of_env(struct role_env *env)
{
    return container_of(env, struct fixture, env);
}

/* ---- boot ------------------------------------------------------------------------------------ */

void role_ready(struct role_env *env)
{
    fixture_of_env(env)->n_ready++;
}

void role_fail(struct role_env *env, struct str reason)
{
    UNUSED(env);
    fail_msg("%.*s", STR_FMT(reason));
}

void role_drained(struct role_env *env)
{
    fixture_of_env(env)->n_drained++;
}

void role_event(struct role_env *env, const struct ipc_event *e)
{
    struct fixture *f = fixture_of_env(env);
    struct buf b;
    buf_init_fixed(&b, f->events, sizeof f->events - 1);
    b.n = strlen(f->events);
    buf_printf(&b, "%s %llu %.*s %.*s %llu\n", event_word(e->kind), (unsigned long long)e->id,
               STR_FMT(e->rcpt), STR_FMT(e->text), (unsigned long long)e->number);
    f->events[b.n] = '\0';
}

void role_config_release(struct role_env *env, const struct config *old)
{
    assert_ptr_equal(old, &fixture_of_env(env)->config);
    fixture_of_env(env)->n_released++;
}

#include "service/boot/role_testing.h"

/* ---- world ----------------------------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    return ((const struct fixture *)(const void *)w)->now_ms;
}

static int64_t wall_ms(const struct world *w)
{
    return ((const struct fixture *)(const void *)w)->wall_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&fixture_of(w)->rng);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    assert_true(due_ms >= fixture_of(w)->now_ms);
    t->is_set = true;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    t->is_set = false;
}

static void turn_end(struct world *w, struct turn_hook *h)
{
    list_push_back(&fixture_of(w)->hooks, &h->link);
}

static enum err send_to_test(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    assert_null(give);
    assert_false(c->is_closed);
    if (c->is_full)
        return ERR_AGAIN;
    assert_true(c->n_sent < SENT_MAX);
    struct sent *s = &c->sent[c->n_sent++];
    *s = (struct sent){.type = type, .n = payload.n, .bytes = mem_alloc(payload.n + 1)};
    assert_non_null(s->bytes);
    memcpy(s->bytes, payload.p, payload.n);
    return ERR_OK;
}

static void forget_sent(struct channel *c)
{
    for (size_t i = 0; i < c->n_sent; i++)
        mem_free(c->sent[i].bytes);
    c->n_sent = c->n_seen = 0;
}

static size_t backlog(const struct channel *c)
{
    UNUSED(c);
    return 0;
}

static void set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void pause_channel(struct channel *c, bool is_paused)
{
    c->is_paused = is_paused;
}

/* ---- disk ------------------------------------------------------------------------------------ */

static struct file *file_find(struct fixture *f, const char *name)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (strcmp(f->files[i].name, name) == 0)
            return &f->files[i];
    }
    return NULL;
}

static enum err run_open(struct fixture *f, struct disk_op *op)
{
    struct file *x = file_find(f, op->name);
    if (op->create == DISK_CREATE_NEW && x != NULL)
        return ERR_EXISTS;
    x = x == NULL ? file_find(f, "") : x;
    if (x == NULL)
        return ERR_NOSPACE;
    x->n = 0;
    assert_true(str_to_c(str_from_c(op->name), x->name, sizeof x->name));
    f->handle.at = (size_t)(x - f->files);
    op->file = &f->handle;
    return ERR_OK;
}

static enum err run_read(struct fixture *f, struct disk_op *op)
{
    struct file *x = file_find(f, op->name);
    if (x == NULL)
        return ERR_NOTFOUND;
    if (x->n > op->size)
        return ERR_TOO_BIG;
    op->about.is_regular = true;
    op->n_done = x->n;
    memcpy(op->mem, x->octets, x->n);
    return ERR_OK;
}

static enum err run_write(struct fixture *f, const struct disk_op *op)
{
    struct file *x = &f->files[op->file->at];
    assert_true(op->sync && op->offset == 0 && op->n_pieces == 1 && op->pieces[0].n <= FILE_MAX);
    x->n = op->pieces[0].n;
    memcpy(x->octets, op->pieces[0].p, x->n);
    return ERR_OK;
}

static enum err run_rename(struct fixture *f, const struct disk_op *op)
{
    struct file *x = file_find(f, op->name), *old = file_find(f, op->name2);
    if (x == NULL)
        return ERR_NOTFOUND;
    if (old != NULL)
        old->name[0] = '\0';
    assert_true(str_to_c(str_from_c(op->name2), x->name, sizeof x->name));
    return ERR_OK;
}

static enum err run_list(struct fixture *f, struct disk_op *op)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (f->files[i].name[0] != '\0')
            assert_true(buf_put(op->names, str_of(f->files[i].name, strlen(f->files[i].name) + 1)));
    }
    return ERR_OK;
}

static enum err run_op(struct fixture *f, struct disk_op *op)
{
    struct file *x;
    if (f->disk_fails != ERR_OK)
        return op->kind == DISK_WRITE ? f->disk_fails : ERR_OK;
    switch (op->kind) {
    case DISK_OPEN:
        return run_open(f, op);
    case DISK_WRITE:
        return run_write(f, op);
    case DISK_READ_SMALL:
        return run_read(f, op);
    case DISK_RENAME:
        return run_rename(f, op);
    case DISK_LIST:
        return run_list(f, op);
    case DISK_UNLINK:
        x = file_find(f, op->name);
        if (x == NULL)
            return ERR_NOTFOUND;
        x->name[0] = '\0';
        f->n_unlinks++;
        return ERR_OK;
    case DISK_SYNC_DIR:
        f->n_syncs++;
        return ERR_OK;
    case DISK_CLOSE:
        return ERR_OK;
    case DISK_READ:
    case DISK_ZERO:
    case DISK_SYNC:
    case DISK_LINK:
    case DISK_MKDIR:
    case DISK_LOCK:
        break;
    }
    fail_msg("disk operation %d", op->kind);
    return ERR_INVALID;
}

static enum err open_disk(struct world *w, const char *root, struct disk **out)
{
    assert_string_equal(root, "/agent");
    *out = &fixture_of(w)->disk;
    return ERR_OK;
}

static void submit(struct disk *d, struct disk_op *op)
{
    struct fixture *f = container_of(d, struct fixture, disk);
    list_push_back(&f->ops, &op->link);
}

static void close_disk(struct disk *d)
{
    UNUSED(d);
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .wall_ms = wall_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .turn_end = turn_end,
                                     .channel_send = send_to_test,
                                     .channel_backlog = backlog,
                                     .channel_set_user = set_user,
                                     .channel_pause = pause_channel,
                                     .disk = open_disk,
                                     .disk_submit = submit,
                                     .disk_close = close_disk};

/* ---- HTTPS ----------------------------------------------------------------------------------- */

static bool http_ask(void *self, const struct http_request *g,
                     void (*fn)(void *arg, const struct http_answer *a), void *arg)
{
    struct fixture *f = self;
    if (f->http_refuses)
        return false;
    assert_true(f->n_gets < GETS_MAX);
    struct got *x = &f->gets[f->n_gets++];
    *x = (struct got){.fn = fn,
                      .arg = arg,
                      .n_addresses = g->n_addresses,
                      .port = g->port,
                      .is_post = g->is_post,
                      .n_body = g->body.n};
    assert_true(str_to_c(g->url, x->url, sizeof x->url) && str_to_c(g->host, x->host, sizeof x->host) &&
                str_to_c(g->type, x->type, sizeof x->type) && g->body.n <= sizeof x->body);
    memcpy(x->body, g->body.n > 0 ? g->body.p : "", g->body.n);
    assert_true(g->is_post || g->size_max == MTA_STS_POLICY_MAX);
    assert_int_equal(g->timeout_ms, MTA_STS_FETCH_MS);
    return true;
}

static void http_trust(void *self, struct str anchors)
{
    struct fixture *f = self;
    f->anchors = anchors;
}

/* ---- the test's hand ------------------------------------------------------------------------- */

static void on_log(void *arg, struct str line)
{
    struct fixture *f = arg;
    size_t n = strlen(f->said);
    if (n + line.n < sizeof f->said) {
        memcpy(f->said + n, line.p, line.n);
        f->said[n + line.n] = '\0';
    }
}

static void turn(struct fixture *f)
{
    list_each (l, &f->hooks) {
        struct turn_hook *h = list_entry(l, struct turn_hook, link);
        h->run(h);
    }
    while (!list_is_empty(&f->ops) && !f->disk_waits) {
        struct disk_op *op = list_entry(list_pop_front(&f->ops), struct disk_op, link);
        op->err = run_op(f, op);
        op->done(op);
    }
}

static void begin(struct fixture *f)
{
    f->self = agent_role.create(&f->env);
    assert_non_null(f->self);
    turn(f);
    assert_int_equal(f->n_ready, 1);
}

static void end(struct fixture *f)
{
    agent_role.del(f->self);
    assert_true(list_is_empty(&f->hooks));
    list_init(&f->ops);
    f->n_ready = f->n_drained = 0;
    f->n_gets = 0;
    forget_sent(&f->queue);
    forget_sent(&f->lookup);
    forget_sent(&f->admin);
}

static int setup(void **state)
{
    struct fixture *f = mem_must_new(struct fixture);
    f->log = (struct log){.min = LOG_INFO, .write = on_log, .arg = f};
    f->world = (struct world){&ops, &f->log};
    rng_seed(&f->rng, 7);
    f->now_ms = 1000;
    f->wall_ms = (int64_t)1800000000 * 1000;
    f->queue.object.ops = f->lookup.object.ops = f->admin.object.ops = f->disk.object.ops = &ops;
    f->relay[0].object.ops = f->relay[1].object.ops = &ops;
    f->config = (struct config){
        .generation = 1, .mta_sts = true, .authorities = STR("anchors"), .tls_reports_every_s = DAY_S};
    f->config2 = (struct config){
        .generation = 2, .mta_sts = true, .authorities = STR("others"), .tls_reports_every_s = DAY_S};
    f->http = (struct http_client){f, http_ask, http_trust};
    f->env = (struct role_env){
        .world = &f->world, .role = ROLE_AGENT, .config = &f->config, .root = "/agent", .ext = &f->http};
    f->env.peers[ROLE_QUEUE][0] = &f->queue;
    f->env.peers[ROLE_LOOKUP][0] = &f->lookup;
    f->env.peers[ROLE_ADMIN][0] = &f->admin;
    f->env.peers[ROLE_RELAY][0] = &f->relay[0];
    f->env.peers[ROLE_RELAY][1] = &f->relay[1];
    list_init(&f->hooks);
    list_init(&f->ops);
    begin(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    end(f);
    mem_free(f);
    return 0;
}

static void pass_s(struct fixture *f, int64_t s)
{
    f->now_ms += (uint64_t)s * 1000;
    f->wall_ms += s * 1000;
}

static uint64_t ask(struct fixture *f, const char *domain)
{
    char mem[512];
    struct buf b;
    struct ipc_sts_ask m = {++f->token, str_from_c(domain)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sts_ask(&m, &b));
    f->queue.user->on_message(f->queue.arg, &f->queue, IPC_STS_ASK, buf_str(&b), NULL);
    turn(f);
    return f->token;
}

/* The next message to lookup asks for this. */
static uint64_t expect_rr(struct fixture *f, const char *name)
{
    struct ipc_rr_ask m;
    assert_true(f->lookup.n_seen < f->lookup.n_sent);
    const struct sent *s = &f->lookup.sent[f->lookup.n_seen++];
    assert_int_equal(s->type, IPC_RR_ASK);
    assert_true(ipc_decode_rr_ask(str_of(s->bytes, s->n), &m));
    assert_int_equal(m.type, DNS_TXT);
    assert_true(str_eq(m.name, str_from_c(name)));
    return m.token;
}

static uint64_t expect_host(struct fixture *f, const char *name)
{
    struct ipc_host_ask m;
    assert_true(f->lookup.n_seen < f->lookup.n_sent);
    const struct sent *s = &f->lookup.sent[f->lookup.n_seen++];
    assert_int_equal(s->type, IPC_HOST_ASK);
    assert_true(ipc_decode_host_ask(str_of(s->bytes, s->n), &m));
    assert_true(str_eq(m.name, str_from_c(name)));
    return m.token;
}

static void from_lookup(struct fixture *f, uint16_t type, const struct buf *b)
{
    f->lookup.user->on_message(f->lookup.arg, &f->lookup, type, buf_str(b), NULL);
    turn(f);
}

/* texts: each a TXT record of one string, ended by NULL */
static void answer_txt(struct fixture *f, uint64_t token, enum dns_status status, const char *const *texts)
{
    char mem[2048], list_mem[1024];
    struct buf b, list;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    for (; texts != NULL && *texts != NULL; texts++) {
        char record[256];
        size_t n = strlen(*texts);
        assert_true(n < sizeof record - 1);
        record[0] = (char)n;
        memcpy(record + 1, *texts, n);
        assert_true(list_put_str(&list, str_of(record, n + 1)));
    }
    struct ipc_rr_answer m = {.token = token,
                              .status = (uint8_t)status,
                              .ttl_s = 300,
                              .rdata = buf_str(&list),
                              .why = STR("because")};
    assert_true(ipc_encode_rr_answer(&m, &b));
    from_lookup(f, IPC_RR_ANSWER, &b);
}

static void answer_id(struct fixture *f, uint64_t token, const char *id)
{
    char text[128];
    assert_true(snprintf(text, sizeof text, "v=STSv1; id=%s;", id) > 0);
    answer_txt(f, token, DNS_STATUS_OK, (const char *const[]){text, NULL});
}

static void answer_host(struct fixture *f, uint64_t token, enum dns_status status)
{
    char mem[512], list_mem[128];
    struct buf b, list;
    struct netaddr a;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    assert_true(netaddr_parse_ip(STR("192.0.2.1"), 0, &a));
    if (status == DNS_STATUS_OK)
        assert_true(list_put_addr(&list, &a));
    struct ipc_host_answer m = {.token = token,
                                .status = (uint8_t)status,
                                .ttl_s = 300,
                                .addresses = buf_str(&list),
                                .why = STR("because")};
    assert_true(ipc_encode_host_answer(&m, &b));
    from_lookup(f, IPC_HOST_ANSWER, &b);
}

static void answer_http(struct fixture *f, const struct http_answer *a)
{
    assert_true(f->n_gets > 0);
    struct got *g = &f->gets[f->n_gets - 1];
    assert_false(g->is_done);
    g->is_done = true;
    g->fn(g->arg, a);
    turn(f);
}

static void answer_policy(struct fixture *f, const char *text)
{
    answer_http(f, &(struct http_answer){.code = 200, .type = STR("text/plain"), .body = str_from_c(text)});
}

/* The next answer to queue. */
static struct ipc_sts_answer expect_answer(struct fixture *f, uint64_t token, enum mta_sts_mode mode)
{
    struct ipc_sts_answer m;
    if (f->queue.n_seen == f->queue.n_sent)
        fail_msg("no answer for %llu", (unsigned long long)token);
    const struct sent *s = &f->queue.sent[f->queue.n_seen++];
    assert_int_equal(s->type, IPC_STS_ANSWER);
    assert_true(ipc_decode_sts_answer(str_of(s->bytes, s->n), &m));
    assert_int_equal(m.token, token);
    if (m.mode != mode)
        fail_msg("mode %d and not %d: %.*s", m.mode, mode, STR_FMT(m.why));
    assert_int_not_equal(m.ttl_s, 0);
    assert_int_not_equal(m.why.n, 0);
    return m;
}

static void expect_no_answer(const struct fixture *f)
{
    assert_int_equal(f->queue.n_seen, f->queue.n_sent);
}

static void expect_no_question(const struct fixture *f)
{
    assert_int_equal(f->lookup.n_seen, f->lookup.n_sent);
}

/* From the record to the request. */
static void up_to_get(struct fixture *f, const char *domain, const char *id)
{
    char name[300], url[600];
    size_t n_gets = f->n_gets;
    assert_true(snprintf(name, sizeof name, "_mta-sts.%s", domain) > 0);
    answer_id(f, expect_rr(f, name), id);
    assert_true(snprintf(name, sizeof name, "mta-sts.%s", domain) > 0);
    answer_host(f, expect_host(f, name), DNS_STATUS_OK);
    assert_int_equal(f->n_gets, n_gets + 1);
    assert_true(snprintf(url, sizeof url, "https://mta-sts.%s/.well-known/mta-sts.txt", domain) > 0);
    assert_string_equal(f->gets[n_gets].url, url);
    assert_string_equal(f->gets[n_gets].host, name);
    assert_int_equal(f->gets[n_gets].n_addresses, 1);
}

static void learn(struct fixture *f, const char *domain, const char *id, const char *policy,
                  enum mta_sts_mode mode)
{
    uint64_t token = ask(f, domain);
    up_to_get(f, domain, id);
    answer_policy(f, policy);
    (void)expect_answer(f, token, mode);
}
