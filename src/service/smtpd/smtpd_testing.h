/* service/smtpd/smtpd_testing.h: the role over a world that this test holds in its hand: connections and
 * pipes in memory, a clock, the queue's channel; boot's part is here too.
 */
#pragma once
#include "service/smtpd/smtpd.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { CONNS_MAX = 400, TIMERS_MAX = 2 * CONNS_MAX, SENT_MAX = 64, PIPE_ROOM = 64 * 1024 };

struct channel { /* the queue */
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    size_t backlog;
    size_t n_sent;
    struct sent {
        uint16_t type;
        uint64_t token, id, size;
        bool is_piped;
    } sent[SENT_MAX];
};
struct conn {
    struct world_object object;
    struct netaddr peer;
    const struct conn_user *user;
    void *arg;
    unsigned want;
    struct buf in, out; /* towards the role, from it */
    bool is_eof, is_closed, is_shut, is_pipe, is_broken;
    size_t room; /* octets it takes */
    size_t n_writes;
    void (*on_tls)(void *arg, struct conn *c, enum err err, struct str why); /* a handshake is under way */
    void *tls_arg;
    bool has_tls;
};
struct tls_context {
    struct world_object object;
    unsigned n_refs;
    size_t n_certificates;
    uint32_t keys[8];
};
struct handle {
    struct world_object object;
    struct conn *conn;
};
struct listener {
    struct world_object object;
    const struct listener_user *user;
    void *arg;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    uint64_t now;
    struct timer *timers[TIMERS_MAX];
    uint64_t due[TIMERS_MAX];
    size_t n_timers;
    struct conn conns[CONNS_MAX];
    size_t n_conns, n_closed;
    struct handle handle;
    struct listener listener;
    struct channel queue, lookup, keys, others;
    struct tls_context contexts[32];
    size_t n_contexts;
    bool has_bad_certificate; /* no context is made */
    struct tls_facts facts;
    const struct tls_signer *signer_given;
    struct tls_signer signer;
    uint64_t signed_token;
    enum err signed_err;
    struct ipc_auth_ask auth; /* the last one; its texts: */
    char auth_texts[4][256];
    uint64_t asked; /* token of the last question */
    char asked_for[256], sent_params[512];
    bool sent_tls_optional;
    char sent_envelope[512]; /* SENDER>RCPT,RCPT, */
    struct buf sent_body;
    int sent_priority;
    struct buf sent_feedback; /* of the put, or of its commit */
    uint32_t sent_flags, uid;
    struct listener_conf at;
    struct local_domain domain;
    struct config config;
    struct role_env env;
    struct smtpd *d;
    unsigned n_accepted, n_refused, n_drained;
    char event_text[256], event_from[256], event_host[64];
    uint64_t event_id, event_size;
};

#pragma GCC diagnostic ignored "-Wunused-function" /* no test uses all of it */

static struct fixture *the; /* the one of the running test */

/* ---- boot ------------------------------------------------------------------------------------ */

void role_ready(struct role_env *env)
{
    UNUSED(env);
}

void role_drained(struct role_env *env)
{
    UNUSED(env);
    the->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(env);
    UNUSED(old);
}

void role_peer_closed(struct role_env *env, struct channel *c)
{
    UNUSED(env);
    UNUSED(c);
}

bool role_message_allowed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    UNUSED(c);
    return ipc_may_send(from, env->role, type);
}

void role_message_malformed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    UNUSED(env);
    UNUSED(from);
    UNUSED(c);
    UNUSED(type);
    fail();
}

void role_event(struct role_env *env, const struct ipc_event *e)
{
    UNUSED(env);
    the->n_accepted += e->kind == EVENT_ACCEPTED;
    the->n_refused += e->kind == EVENT_REFUSED;
    assert_true(str_to_c(e->text, the->event_text, sizeof the->event_text));
    assert_true(str_to_c(e->rcpt, the->event_from, sizeof the->event_from));
    assert_true(str_to_c(e->host, the->event_host, sizeof the->event_host));
    the->event_id = e->id;
    the->event_size = e->number;
}

/* ---- world ----------------------------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return the->now;
}

static int64_t wall_ms(const struct world *w)
{
    UNUSED(w);
    return (int64_t)the->now;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    UNUSED(w);
    memset(out, 7, n);
}

static size_t timer_at(const struct timer *t)
{
    size_t i = 0;
    while (i < the->n_timers && the->timers[i] != t)
        i++;
    return i;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    size_t i = timer_at(t);
    if (i == the->n_timers)
        return;
    the->n_timers--;
    the->timers[i] = the->timers[the->n_timers];
    the->due[i] = the->due[the->n_timers];
    t->is_set = false;
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    timer_cancel(w, t);
    assert_true(the->n_timers < TIMERS_MAX);
    the->timers[the->n_timers] = t;
    the->due[the->n_timers++] = due_ms;
    t->is_set = true;
}

static void keep_envelope(const struct ipc_put *put)
{
    struct buf b;
    struct reader r = reader_of(put->rcpts);
    struct rcpt rcpt;
    buf_init_fixed(&b, the->sent_envelope, sizeof the->sent_envelope);
    buf_put(&b, put->sender);
    buf_putc(&b, '>');
    while (rcpt_next(&r, &rcpt)) {
        buf_put(&b, rcpt.address);
        buf_putc(&b, ',');
    }
    if (b.failed) /* a test of very many: it looks at something else */
        buf_reset(&b);
    the->sent_envelope[b.n < sizeof the->sent_envelope ? b.n : 0] = '\0';
}

static enum err send_to_queue(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    struct sent *sent = &c->sent[c->n_sent++ % SENT_MAX];
    *sent = (struct sent){.type = type};
    struct ipc_put put;
    struct ipc_put_commit commit;
    if (type == IPC_PUT) {
        assert_true(ipc_decode_put(payload, &put));
        *sent = (struct sent){type, put.token, put.id, put.body.n, put.is_piped != 0};
        assert_true(sent->is_piped == (give != NULL));
        struct mail_params params;
        assert_true(mail_params_get(put.params, &params));
        assert_true(str_to_c(params.tag, the->sent_params, sizeof the->sent_params));
        the->sent_tls_optional = params.tls_optional;
        keep_envelope(&put);
        the->sent_flags = put.flags;
        the->sent_priority = params.priority;
        buf_reset(&the->sent_feedback);
        assert_true(buf_put(&the->sent_feedback, params.feedback));
        buf_reset(&the->sent_body);
        assert_true(buf_put(&the->sent_body, put.body));
    } else if (type == IPC_MX_ASK || type == IPC_CALLOUT_ASK || type == IPC_ETRN_ASK) {
        struct reader r = reader_of(payload); /* each is a token and a text */
        the->asked = read_u64(&r);
        assert_true(str_to_c(read_lstr(&r), the->asked_for, sizeof the->asked_for));
        assert_true(reader_done(&r));
    } else if (type == IPC_AUTH_ASK) {
        struct ipc_auth_ask *m = &the->auth;
        assert_true(ipc_decode_auth_ask(payload, m));
        struct str *const texts[] = {&m->file, &m->user, &m->client, &m->secret};
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
            assert_true(str_to_c(*texts[i], the->auth_texts[i], sizeof the->auth_texts[i]));
            *texts[i] = str_from_c(the->auth_texts[i]);
        }
        sent->token = m->token;
    } else if (type == IPC_SIGN_ASK) {
        struct ipc_sign_ask m;
        assert_true(ipc_decode_sign_ask(payload, &m));
        *sent = (struct sent){.type = type, .token = m.token, .id = m.key, .size = m.octets.n};
    } else if (type == IPC_PUT_COMMIT) {
        assert_true(ipc_decode_put_commit(payload, &commit));
        sent->token = commit.token;
        sent->size = commit.size;
        the->sent_flags = commit.flags;
        buf_reset(&the->sent_feedback);
        assert_true(buf_put(&the->sent_feedback, commit.feedback));
    }
    return ERR_OK;
}

static size_t backlog_of(const struct channel *c)
{
    return c->backlog;
}

static void set_channel_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void set_conn_user(struct conn *c, const struct conn_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void conn_wants(struct conn *c, unsigned mask)
{
    c->want = mask;
}

static enum err read_conn(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    assert_false(c->is_closed);
    size_t n = c->in.n < cap ? c->in.n : cap;
    *out_n = n;
    if (n == 0)
        return c->is_eof ? ERR_CLOSED : ERR_AGAIN;
    memcpy(out, c->in.p, n);
    buf_consume(&c->in, n);
    return ERR_OK;
}

static enum err write_conn(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    assert_false(c->is_closed || c->is_shut);
    assert_int_equal(n_pieces, 1);
    c->n_writes++;
    *out_n = 0;
    if (c->is_broken)
        return ERR_RESET;
    *out_n = pieces[0].n < c->room - c->out.n ? pieces[0].n : c->room - c->out.n;
    assert_true(buf_put(&c->out, str_slice(pieces[0], 0, *out_n)));
    return *out_n > 0 ? ERR_OK : ERR_AGAIN;
}

static void shut_conn(struct conn *c)
{
    assert_false(c->is_closed || c->is_shut);
    c->is_shut = true;
}

static void close_conn(struct conn *c)
{
    assert_false(c->is_closed);
    c->is_closed = true;
    the->n_closed++;
}

static const struct netaddr *peer_of(const struct conn *c)
{
    return &c->peer;
}

static const struct world_ops ops;

static struct conn *conn_new(const char *peer)
{
    assert_true(the->n_conns < CONNS_MAX);
    struct conn *c = &the->conns[the->n_conns++];
    *c = (struct conn){.object = {&ops}, .is_pipe = peer == NULL, .room = 1024 * 1024};
    if (peer != NULL)
        assert_true(netaddr_parse(str_from_c(peer), 0, &c->peer));
    buf_init(&c->in, 64 * 1024 * 1024);
    buf_init(&c->out, 64 * 1024 * 1024);
    return c;
}

static enum err make_pipe(struct world *w, struct conn **out_read, struct conn **out_write)
{
    UNUSED(w);
    *out_read = conn_new(NULL);
    *out_write = conn_new(NULL);
    (*out_write)->room = PIPE_ROOM;
    return ERR_OK;
}

static struct handle *handle_of(struct conn *c)
{
    the->handle = (struct handle){{&ops}, c};
    return &the->handle;
}

static void set_listener_user(struct listener *l, const struct listener_user *user, void *arg)
{
    l->user = user;
    l->arg = arg;
}

static bool uid_of(const struct conn *c, uint32_t *out)
{
    UNUSED(c);
    *out = the->uid;
    return true;
}

/* ---- TLS, made by hand ---- */

static void set_signer(struct world *w, const struct tls_signer *s)
{
    UNUSED(w);
    the->signer = s != NULL ? *s : (struct tls_signer){0};
    the->signer_given = s != NULL ? &the->signer : NULL;
}

static void is_signed(struct world *w, uint64_t token, enum err err, struct str signature)
{
    UNUSED(w);
    assert_int_equal(err == ERR_OK, signature.n > 0);
    the->signed_token = token;
    the->signed_err = err;
}

static struct tls_context *server_context(struct world *w, const struct tls_server_conf *conf,
                                          struct buf *why)
{
    UNUSED(w);
    assert_true(conf->n_certificates > 0 && conf->n_certificates <= 8 && the->n_contexts < 32);
    assert_true(str_eq(conf->alpn, STR("smtp")));
    if (the->has_bad_certificate) {
        buf_puts(why, "certificate 1 is no certificate");
        return NULL;
    }
    struct tls_context *t = &the->contexts[the->n_contexts++];
    *t = (struct tls_context){.object = {&ops}, .n_refs = 1, .n_certificates = conf->n_certificates};
    for (size_t i = 0; i < conf->n_certificates; i++)
        t->keys[i] = conf->certificates[i].key;
    return t;
}

static struct tls_context *keep_context(struct tls_context *t)
{
    t->n_refs++;
    return t;
}

static void release_context(struct tls_context *t)
{
    assert_true(t->n_refs-- > 0);
}

static enum err start_tls(struct conn *c, bool is_server, const struct tls_start *start,
                          void (*fn)(void *, struct conn *, enum err, struct str), void *arg)
{
    assert_true(is_server && start->context->n_refs > 0 && start->deadline_ms > the->now);
    assert_null(c->on_tls);
    c->on_tls = fn;
    c->tls_arg = arg;
    return ERR_OK;
}

static const struct tls_facts *facts_of(const struct conn *c)
{
    return c->has_tls ? &the->facts : NULL;
}

static bool no_exporter(const struct conn *c, unsigned char *out)
{
    UNUSED(c);
    UNUSED(out);
    return false;
}

static bool no_end_point(const struct conn *c, unsigned char *out, size_t *out_n)
{
    UNUSED(c);
    UNUSED(out);
    UNUSED(out_n);
    return false;
}

static const struct world_tls_ops tls_ops = {.set_signer = set_signer,
                                             .tls_signed = is_signed,
                                             .server = server_context,
                                             .context_keep = keep_context,
                                             .context_release = release_context,
                                             .start = start_tls,
                                             .facts = facts_of,
                                             .exporter = no_exporter,
                                             .server_end_point = no_end_point};

/* The handshake of c ends so. */
static void finish_tls(struct conn *c, enum err err)
{
    void (*fn)(void *, struct conn *, enum err, struct str) = c->on_tls;
    assert_non_null(fn);
    assert_int_equal(c->out.n, 0);
    c->on_tls = NULL;
    c->has_tls = err == ERR_OK;
    fn(c->tls_arg, c, err, err == ERR_OK ? STR_NIL : STR("alert"));
}

static const struct world_ops ops = {.conn_peer_uid = uid_of,
                                     .tls = &tls_ops,
                                     .now_ms = now_ms,
                                     .wall_ms = wall_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_queue,
                                     .channel_backlog = backlog_of,
                                     .channel_set_user = set_channel_user,
                                     .conn_set_user = set_conn_user,
                                     .conn_want = conn_wants,
                                     .conn_read = read_conn,
                                     .conn_write = write_conn,
                                     .conn_shutdown_write = shut_conn,
                                     .conn_close = close_conn,
                                     .conn_peer = peer_of,
                                     .pipe = make_pipe,
                                     .handle_of_conn = handle_of,
                                     .listener_set_user = set_listener_user};

/* ---- what the tests do ----------------------------------------------------------------------- */

/* Time passes, timers fire in order. */
static void pass_ms(uint64_t ms)
{
    uint64_t end = the->now + ms;
    for (;;) {
        size_t first = the->n_timers;
        for (size_t i = 0; i < the->n_timers; i++) {
            if (the->due[i] <= end && (first == the->n_timers || the->due[i] < the->due[first]))
                first = i;
        }
        if (first == the->n_timers)
            break;
        struct timer *t = the->timers[first];
        if (the->due[first] > the->now)
            the->now = the->due[first];
        timer_cancel(&the->world, t);
        t->fire(t);
    }
    the->now = end;
}

static void grant(uint64_t first)
{
    char mem[64];
    struct buf b;
    struct ipc_id_grant m = {.first = first, .n = 1000};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_id_grant(&m, &b));
    the->queue.user->on_message(the->queue.arg, &the->queue, IPC_ID_GRANT, buf_str(&b), NULL);
}

static const struct sent *last_sent(void)
{
    assert_true(the->queue.n_sent > 0);
    return &the->queue.sent[(the->queue.n_sent - 1) % SENT_MAX];
}

static void put_done(uint64_t token, enum err e)
{
    char mem[64];
    struct buf b;
    struct ipc_put_done m = {.token = token, .id = 0, .err = (uint8_t)e};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_put_done(&m, &b));
    the->queue.user->on_message(the->queue.arg, &the->queue, IPC_PUT_DONE, buf_str(&b), NULL);
}

static void lose_queue(void)
{
    the->env.peers[ROLE_QUEUE][0] = NULL;
    the->queue.user->on_closed(the->queue.arg, &the->queue);
}

/* The role hears that the configuration is another one. */
static void reload(void)
{
    smtpd_role.reload(the->d, &the->config);
}

static struct conn *client(const char *peer)
{
    struct conn *c = conn_new(peer);
    the->listener.user->on_accept(the->listener.arg, &the->listener, c);
    return c;
}

/* The role hears that there is something, as far as it wants to. */
static void wake(struct conn *c)
{
    unsigned ready = c->want & ((c->in.n > 0 || c->is_eof ? CONN_READABLE : 0u) |
                                (c->out.n < c->room ? CONN_WRITABLE : 0u));
    if (ready != 0 && !c->is_closed)
        c->user->on_ready(c->arg, c, ready);
}

static void say_n(struct conn *c, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_true(buf_puts(&c->in, text));
}

static void say(struct conn *c, const char *text)
{
    say_n(c, text, 1);
    wake(c);
}

/* The last line of what the role said ends in this; what it said is forgotten. */
static void hears(struct conn *c, const char *start)
{
    struct str rest = buf_str(&c->out), line = STR_NIL;
    while (rest.n > 0)
        line = str_cut(&rest, '\n');
    if (!str_starts(line, str_from_c(start)))
        fail_msg("wants \"%s\", got \"%.*s\"", start, STR_FMT(line));
    buf_reset(&c->out);
}

static void begin_data(struct conn *c)
{
    say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\n");
    wake(c);
    hears(c, "354");
}

/* The queue reads the last pipe and takes what comes; the role has answered afterwards. */
static void let_queue_take(struct conn *c)
{
    struct conn *pipe = &the->conns[the->n_conns - 1];
    for (int i = 0; i < 1000 && c->out.n == 0; i++) {
        buf_reset(&pipe->out);
        if (pipe->is_pipe)
            wake(pipe);
        wake(c);
        const struct sent *sent = last_sent();
        if (sent->type == IPC_PUT_COMMIT || (sent->type == IPC_PUT && !sent->is_piped))
            put_done(sent->token, ERR_OK);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    the = f;
    f->world = (struct world){&ops, &f->log};
    f->log.min = LOG_ERROR;
    f->now = 1000;
    f->lookup.object.ops = f->queue.object.ops = f->keys.object.ops = &ops;
    f->others.object.ops = f->listener.object.ops = &ops;
    f->domain = (struct local_domain){.name = STR("here.test"), .any_user = true};
    f->domain.deliver.kind = DELIVER_LMTP;
    f->config = (struct config){.listeners = &f->at,
                                .n_listeners = 1,
                                .size_max = 8 * 1024 * 1024,
                                .rcpt_max = 1000,
                                .sessions_max = 1000,
                                .memory_max = 16 * 1024 * 1024};
    f->config.policy =
        (struct policy_conf){.hostname = STR("mx.here.test"), .domains = &f->domain, .n_domains = 1};
    f->env = (struct role_env){.world = &f->world, .role = ROLE_SMTPD, .config = &f->config};
    f->env.listeners[0] = &f->listener;
    f->env.n_listeners = 1;
    f->env.peers[ROLE_QUEUE][0] = &f->queue;
    buf_init(&f->sent_body, 1024 * 1024);
    buf_init(&f->sent_feedback, FEEDBACK_MAX);
    f->d = smtpd_role.create(&f->env);
    assert_non_null(f->d);
    assert_int_equal(last_sent()->type, IPC_ID_WANT);
    grant(100);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    smtpd_role.del(f->d);
    for (size_t i = 0; i < f->n_conns; i++) {
        buf_fini(&f->conns[i].in);
        buf_fini(&f->conns[i].out);
    }
    buf_fini(&f->sent_body);
    buf_fini(&f->sent_feedback);
    free(f);
    return 0;
}
