/* service/auth/auth_testing.h: the auth role over a world, channels and connections that its tests hold in
 * their hand; boot's part is here too. Each test program includes it once. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "service/auth/auth.h"

#include <string.h>

enum { SENT_MAX = 400, TIMERS_MAX = 8, CONNS_MAX = 8 };

struct channel { /* the far end is the test */
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_paused, is_closed, is_full;
    size_t n_sent, n_seen;
    struct sent {
        uint16_t type;
        size_t n;
        char bytes[2048];
    } sent[SENT_MAX];
};
struct conn { /* Dovecot is the test */
    struct world_object object;
    const struct conn_user *user;
    void *arg;
    unsigned want;
    bool is_closed, is_ended, is_broken;
    size_t room; /* octets that it takes */
    struct buf in, out;
};
struct connecting {
    struct world_object object;
    void (*fn)(void *arg, enum err err, struct conn *c);
    void *arg;
    struct netaddr to;
    bool is_open;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    struct rng rng;
    uint64_t now_ms;
    struct config config, config2;
    struct role_env env;
    struct channel smtpd, smtpd2, admin, pam[ROLE_PAM_N], tables;
    struct connecting connecting;
    unsigned n_connects, n_ready, n_drained, n_released;
    bool has_no_descriptors;
    struct conn conns[CONNS_MAX];
    struct conn *conn; /* the last one */
    struct auth *self;
    struct {
        struct timer *timer;
        uint64_t due_ms;
    } timers[TIMERS_MAX];
    size_t n_timers;
    struct buf log_text;
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

void role_drained(struct role_env *env)
{
    fixture_of_env(env)->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    assert_ptr_equal(old, &fixture_of_env(env)->config);
    fixture_of_env(env)->n_released++;
}

#include "service/boot/role_testing.h"

/* ---- clock, timers, channels ----------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    return ((const struct fixture *)(const void *)w)->now_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&fixture_of(w)->rng);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    struct fixture *f = fixture_of(w);
    size_t i = 0;
    while (i < f->n_timers && f->timers[i].timer != t)
        i++;
    assert_true(i < TIMERS_MAX);
    f->timers[i].timer = t;
    f->timers[i].due_ms = due_ms;
    f->n_timers = i == f->n_timers ? i + 1 : f->n_timers;
    t->is_set = true;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    t->is_set = false;
}

static void pass(struct fixture *f, uint64_t ms)
{
    f->now_ms += ms;
    for (size_t i = 0; i < f->n_timers; i++) {
        if (!f->timers[i].timer->is_set || f->timers[i].due_ms > f->now_ms)
            continue;
        f->timers[i].timer->is_set = false;
        f->timers[i].timer->fire(f->timers[i].timer);
    }
}

static enum err send_to_test(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    assert_null(give);
    assert_false(c->is_closed);
    if (c->is_full)
        return ERR_AGAIN;
    if (type == IPC_COUNTERS)
        return ERR_OK;
    assert_true(c->n_sent < SENT_MAX && payload.n <= sizeof c->sent[0].bytes);
    struct sent *s = &c->sent[c->n_sent++];
    *s = (struct sent){.type = type, .n = payload.n};
    memcpy(s->bytes, payload.p, payload.n);
    return ERR_OK;
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

/* ---- connections ----------------------------------------------------------------------------- */

static struct connecting *start_connect(struct world *w, const struct netaddr *to, const struct netaddr *from,
                                        uint64_t deadline_ms,
                                        void (*fn)(void *arg, enum err err, struct conn *c), void *arg)
{
    struct fixture *f = fixture_of(w);
    assert_null(from);
    assert_true(deadline_ms > f->now_ms && !f->connecting.is_open);
    if (f->has_no_descriptors)
        return NULL;
    f->n_connects++;
    f->connecting = (struct connecting){.object = {w->ops}, .fn = fn, .arg = arg, .to = *to, .is_open = true};
    return &f->connecting;
}

static void cancel_connect(struct connecting *c)
{
    assert_true(c->is_open);
    c->is_open = false;
}

static void conn_set(struct conn *c, const struct conn_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void want(struct conn *c, unsigned mask)
{
    assert_false(c->is_closed);
    c->want = mask;
}

static enum err read_conn(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    assert_false(c->is_closed);
    if (c->in.n == 0)
        return c->is_broken ? ERR_IO : c->is_ended ? ERR_CLOSED : ERR_AGAIN;
    *out_n = c->in.n < cap ? c->in.n : cap;
    memcpy(out, c->in.p, *out_n);
    buf_consume(&c->in, *out_n);
    return ERR_OK;
}

static enum err write_conn(struct conn *c, const struct str *pieces, size_t n, size_t *out_n)
{
    assert_false(c->is_closed);
    assert_int_equal(n, 1);
    assert_true(pieces[0].n > 0);
    if (c->is_broken)
        return ERR_IO;
    if (c->room == 0)
        return ERR_AGAIN;
    *out_n = pieces[0].n < c->room ? pieces[0].n : c->room;
    c->room -= *out_n;
    assert_true(buf_put(&c->out, str_slice(pieces[0], 0, *out_n)));
    return ERR_OK;
}

static void close_conn(struct conn *c)
{
    assert_false(c->is_closed);
    c->is_closed = true;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_test,
                                     .channel_backlog = backlog,
                                     .channel_set_user = set_user,
                                     .channel_pause = pause_channel,
                                     .connect = start_connect,
                                     .connecting_cancel = cancel_connect,
                                     .conn_set_user = conn_set,
                                     .conn_want = want,
                                     .conn_read = read_conn,
                                     .conn_write = write_conn,
                                     .conn_close = close_conn};

/* The connection that was begun comes about. */
static struct conn *connected(struct fixture *f)
{
    assert_true(f->connecting.is_open && f->n_connects <= CONNS_MAX);
    struct conn *c = f->conn = &f->conns[f->n_connects - 1];
    *c = (struct conn){.object = {f->world.ops}, .room = SIZE_MAX};
    buf_init(&c->in, 1 << 20);
    buf_init(&c->out, 1 << 20);
    f->connecting.is_open = false;
    f->connecting.fn(f->connecting.arg, ERR_OK, c);
    return c;
}

static void refused(struct fixture *f, enum err e)
{
    assert_true(f->connecting.is_open);
    f->connecting.is_open = false;
    f->connecting.fn(f->connecting.arg, e, NULL);
}

static void ready(struct conn *c)
{
    unsigned mask = (c->in.n > 0 || c->is_ended || c->is_broken ? CONN_READABLE : 0u) |
                    (c->room > 0 ? CONN_WRITABLE : 0u);
    if (!c->is_closed && (c->want & mask) != 0)
        c->user->on_ready(c->arg, c, c->want & mask);
}

static void dovecot_says(struct conn *c, const char *text)
{
    assert_true(buf_puts(&c->in, text));
    ready(c);
}

#define HELLO "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t7\nCUID\t1\nCOOKIE\t00\nDONE\n"

/* ---- the house ------------------------------------------------------------------------------- */

static const struct str users_a[] = {STR_INIT("ann"), STR_INIT("joe")};
static const struct str users_b[] = {STR_INIT("joe"), STR_INIT("max")};
static const struct local_domain domains[] = {
    {.name = STR_INIT("a.example"), .plus = STR_INIT("+"), .auth = 1, .users = users_a, .n_users = 2},
    {.name = STR_INIT("b.example"), .plus = STR_INIT("+"), .auth = 2, .users = users_b, .n_users = 2},
    {.name = STR_INIT("c.example"), .plus = STR_INIT("+"), .auth = 1, .users = users_b, .n_users = 2},
    {.name = STR_INIT("d.example"), .plus = STR_INIT("+"), .auth = 3, .users = users_a, .n_users = 2},
    {.name = STR_INIT("e.example"), .plus = STR_INIT("+"), .auth = 4, .users = users_a, .n_users = 2},
    {.name = STR_INIT("file.example"), .plus = STR_INIT("+"), .passwords = 1, .users = users_a, .n_users = 2},
};
static struct auth_backend backends[] = {
    {.kind = AUTH_BY_DOVECOT, .at = {.kind = NETADDR_UNIX, .path = "/run/dovecot/auth-client"}},
    {.kind = AUTH_BY_PAM, .service = STR_INIT("waxwing")},
    {.kind = AUTH_BY_LDAP, .table = {.server = STR_INIT("ldaps://dir.test")}},
    {.kind = AUTH_BY_SQLITE, .table = {.server = STR_INIT("sqlite:/x")}},
};

static void log_line(void *arg, struct str line)
{
    struct fixture *f = arg;
    assert_true(buf_put(&f->log_text, line));
}

static void give_channel(struct fixture *f, enum role who, unsigned index, struct channel *c)
{
    c->object.ops = f->world.ops;
    f->env.peers[who][index] = c;
}

static int setup(void **state)
{
    struct fixture *f = mem_must_new(struct fixture);
    buf_init(&f->log_text, 1 << 20);
    f->log = (struct log){.write = log_line, .arg = f};
    f->world = (struct world){.ops = &ops, .log = &f->log};
    rng_seed(&f->rng, 7);
    f->now_ms = 1000;
    f->config.policy = (struct policy_conf){.domains = domains, .n_domains = ARRAY_LEN(domains)};
    f->config.auths = backends;
    f->config.n_auths = ARRAY_LEN(backends);
    f->env = (struct role_env){.world = &f->world, .role = ROLE_AUTH, .config = &f->config};
    give_channel(f, ROLE_SMTPD, 0, &f->smtpd);
    give_channel(f, ROLE_ADMIN, 0, &f->admin);
    for (unsigned i = 0; i < ROLE_PAM_N; i++)
        give_channel(f, ROLE_PAM, i, &f->pam[i]);
    give_channel(f, ROLE_TABLES, 0, &f->tables);
    f->self = auth_role.create(&f->env);
    assert_non_null(f->self);
    assert_int_equal(f->n_ready, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    auth_role.del(f->self);
    for (size_t i = 0; i < CONNS_MAX; i++) {
        if (f->conns[i].object.ops == NULL)
            continue;
        assert_true(f->conns[i].is_closed);
        buf_fini(&f->conns[i].in);
        buf_fini(&f->conns[i].out);
    }
    buf_fini(&f->log_text);
    mem_free(f);
    return 0;
}

static void say(struct channel *c, uint16_t type, const struct buf *payload)
{
    assert_false(payload->failed);
    assert_false(c->is_closed);
    c->user->on_message(c->arg, c, type, buf_str(payload), NULL);
}

static void ask_raw(struct channel *c, const struct ipc_auth_ask *m)
{
    char mem[16384];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_ask(m, &b));
    say(c, IPC_AUTH_ASK, &b);
}

static void ask_about(struct channel *c, uint64_t token, const char *user, const char *domain,
                      const char *password, const char *client)
{
    struct ipc_auth_ask m = {.token = token,
                             .kind = AUTH_PASSWORD,
                             .file = str_from_c(domain),
                             .user = str_from_c(user),
                             .client = str_from_c(client),
                             .secret = str_from_c(password)};
    ask_raw(c, &m);
}

static void joe_asks(struct fixture *f, uint64_t token)
{
    ask_about(&f->smtpd, token, "joe", "a.example", "secret", "192.0.2.1");
}

/* The next message to a channel; its texts stay. */
static struct ipc_auth_answer next_answer(struct channel *c)
{
    struct ipc_auth_answer m;
    assert_true(c->n_seen < c->n_sent);
    const struct sent *s = &c->sent[c->n_seen++];
    assert_int_equal(s->type, IPC_AUTH_ANSWER);
    assert_true(ipc_decode_auth_answer(str_of(s->bytes, s->n), &m));
    return m;
}

static void check_answer(struct channel *c, uint64_t token, enum auth_verdict verdict, const char *user)
{
    struct ipc_auth_answer m = next_answer(c);
    assert_int_equal(m.token, token);
    assert_int_equal(m.verdict, verdict);
    assert_int_equal(m.why.n > 0, verdict == AUTH_TEMPORARY); /* that one has a reason, for the journal */
    if (!str_eq(m.user, str_from_c(user)))
        fail_msg("%.*s and not %s", STR_FMT(m.user), user);
}

static void check_nothing_sent(const struct channel *c)
{
    assert_int_equal(c->n_seen, c->n_sent);
}
