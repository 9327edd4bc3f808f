/* service/tables/tables_testing.h: the tables role over a world, workers, channels and drivers that its tests
 * hold in their hand; boot's part is here too. One test program includes it. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "ipc/lists.h"
#include "service/tables/tables.h"

#include <stdlib.h>
#include <string.h>

enum { SENT_MAX = 600, TIMERS_MAX = 8, WORKS_MAX = 300, SESSIONS_SEEN = 64, SCRIPT_MAX = 16 };

struct handle {
    struct world_object object;
    struct str bytes;
};
struct channel { /* the far end is the test */
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_closed, is_full;
    size_t n_sent, n_seen;
    struct sent {
        uint16_t type;
        size_t n;
        char bytes[2048];
    } sent[SENT_MAX];
};
struct workers {
    struct world_object object;
    unsigned n_threads;
    struct compute *works[WORKS_MAX]; /* submitted and not yet run */
    size_t n;
    bool is_closed;
};
struct step { /* what a driver does next */
    enum table_says says;
    bool is_broken;
    const char *text; /* the verifier, or why */
};
struct driver {
    struct table_driver base; /* first */
    const char *refuses;      /* why open fails; NULL: it does not */
    struct step script[SCRIPT_MAX];
    size_t n_script, at; /* the last one stays */
    unsigned n_opened, n_closed, n_asked;
    uint32_t limit_ms;                                              /* of the last call */
    char place[64], question[64], host[64], user[64], password[64]; /* of the last open */
    struct netaddr from[SESSIONS_SEEN];                             /* addresses that open was given */
    char address[200], asked_user[100], asked_domain[100], asked_password[100];
};
struct fixture {
    struct world world; /* first */
    struct log log;
    uint64_t now_ms, thread_ms;
    struct config config, config2;
    struct role_env env;
    struct channel auth, lookup, admin;
    struct workers workers;
    unsigned n_ready, n_failed, n_drained, n_released, n_trusted;
    struct str trusted;
    struct tables *self;
    struct {
        struct timer *timer;
        uint64_t due_ms;
    } timers[TIMERS_MAX];
    size_t n_timers;
    struct driver ldap, pg, sqlite;
    struct table_drivers drivers;
    struct buf log_text;
};
static struct fixture *the;

/* ---- boot ------------------------------------------------------------------------------------ */

void role_ready(struct role_env *env)
{
    UNUSED(env);
    the->n_ready++;
}

void role_fail(struct role_env *env, struct str reason)
{
    UNUSED(env);
    assert_true(reason.n > 0);
    the->n_failed++;
}

void role_drained(struct role_env *env)
{
    UNUSED(env);
    the->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(env);
    assert_ptr_equal(old, &the->config);
    the->n_released++;
}

#include "service/boot/role_testing.h"

/* ---- the world ------------------------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return the->now_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    UNUSED(w);
    memset(out, 7, n);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    size_t i = 0;
    UNUSED(w);
    while (i < the->n_timers && the->timers[i].timer != t)
        i++;
    assert_true(i < TIMERS_MAX);
    the->timers[i].timer = t;
    the->timers[i].due_ms = due_ms;
    the->n_timers = i == the->n_timers ? i + 1 : the->n_timers;
    t->is_set = true;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    t->is_set = false;
}

static void pass(uint64_t ms)
{
    the->now_ms += ms;
    the->thread_ms += ms;
    for (size_t i = 0; i < the->n_timers; i++) {
        if (!the->timers[i].timer->is_set || the->timers[i].due_ms > the->now_ms)
            continue;
        the->timers[i].timer->is_set = false;
        the->timers[i].timer->fire(the->timers[i].timer);
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

static bool take_blob(struct world *w, struct handle *h, struct blob *out)
{
    UNUSED(w);
    if (h == NULL)
        return false;
    *out = (struct blob){h->bytes, NULL};
    return true;
}

static enum err new_workers(struct world *w, unsigned n, struct workers **out)
{
    UNUSED(w);
    the->workers.n_threads = n;
    *out = &the->workers;
    return ERR_OK;
}

static void submit_work(struct workers *p, struct compute *k)
{
    assert_false(p->is_closed);
    assert_true(p->n < WORKS_MAX);
    p->works[p->n++] = k;
}

static void close_workers(struct workers *p)
{
    p->is_closed = true;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_test,
                                     .channel_backlog = backlog,
                                     .channel_set_user = set_user,
                                     .handle_take_blob = take_blob,
                                     .workers = new_workers,
                                     .workers_submit = submit_work,
                                     .workers_close = close_workers};

/* One that a thread has taken comes to its end. */
static void work(size_t i)
{
    assert_true(i < the->workers.n);
    struct compute *k = the->workers.works[i];
    the->workers.n--;
    memmove(&the->workers.works[i], &the->workers.works[i + 1],
            (the->workers.n - i) * sizeof(struct compute *));
    k->run(k);
    k->done(k);
}

static void work_all(void)
{
    while (the->workers.n > 0)
        work(0);
}

/* ---- drivers --------------------------------------------------------------------------------- */

static uint64_t thread_now(void)
{
    return the->thread_ms;
}

static void keep(const char *text, char *out, size_t cap)
{
    assert_true(str_to_c(str_from_c(text), out, cap));
}

static void *driver_open(const struct table_driver *self, const struct table_place *p, uint32_t limit_ms,
                         struct buf *why)
{
    struct driver *d = (struct driver *)(uintptr_t)self;
    assert_true(d->n_opened < SESSIONS_SEEN);
    assert_int_equal(why->n, 0);
    d->from[d->n_opened++] = *p->at;
    d->limit_ms = limit_ms;
    keep(p->place, d->place, sizeof d->place);
    keep(p->question, d->question, sizeof d->question);
    keep(p->host, d->host, sizeof d->host);
    keep(p->user, d->user, sizeof d->user);
    keep(p->password, d->password, sizeof d->password);
    if (d->refuses == NULL)
        return d;
    buf_puts(why, d->refuses);
    return NULL;
}

static void keep_str(struct str s, char *out, size_t cap)
{
    assert_true(str_to_c(s, out, cap));
}

static enum table_says driver_ask(void *session, const struct table_question *q, uint32_t limit_ms,
                                  bool *is_broken, struct buf *verifier, struct buf *why)
{
    struct driver *d = session;
    assert_true(d->n_script > 0);
    const struct step *s = &d->script[d->at < d->n_script ? d->at++ : d->n_script - 1];
    d->n_asked++;
    d->limit_ms = limit_ms;
    keep_str(q->address, d->address, sizeof d->address);
    keep_str(q->user, d->asked_user, sizeof d->asked_user);
    keep_str(q->domain, d->asked_domain, sizeof d->asked_domain);
    keep_str(q->password, d->asked_password, sizeof d->asked_password);
    *is_broken = s->is_broken;
    if (s->text != NULL)
        buf_puts(s->says == TABLE_SAYS_VERIFIER ? verifier : why, s->text);
    return s->says;
}

static void driver_close(void *session)
{
    struct driver *d = session;
    d->n_closed++;
}

static bool trust_anchors(void *self, struct str anchors)
{
    assert_ptr_equal(self, the);
    the->n_trusted++;
    the->trusted = anchors;
    return true;
}

static void says(struct driver *d, enum table_says says, bool is_broken, const char *text)
{
    assert_true(d->n_script < SCRIPT_MAX);
    d->script[d->n_script++] = (struct step){says, is_broken, text};
}

static void forget_script(struct driver *d)
{
    d->n_script = d->at = 0;
}

/* ---- the house ------------------------------------------------------------------------------- */

static const struct str users[] = {STR_INIT("ann"), STR_INIT("joe")};
#define DOMAIN(text, number)                                                                                 \
    {                                                                                                        \
        .name = STR_INIT(text), .plus = STR_INIT("+"), .auth = (number), .users = users,                     \
        .n_users = ARRAY_LEN(users)                                                                          \
    }
static const struct local_domain domains[] = {DOMAIN("dir.example", 2), DOMAIN("lite.example", 4),
                                              DOMAIN("none.example", 0), DOMAIN("pam.example", 1),
                                              DOMAIN("pg.example", 3)};
static const struct auth_backend backends[] = {
    {.kind = AUTH_BY_PAM, .service = STR_INIT("waxwing")},
    {.kind = AUTH_BY_LDAP,
     .table = {.server = STR_INIT("ldaps://dir.test"),
               .host = STR_INIT("dir.test"),
               .at = {.port = 636},
               .tls = TABLE_TLS,
               .user = STR_INIT("cn=mail"),
               .secret = STR_INIT("/ldap.word"),
               .place = STR_INIT("dc=example"),
               .question = STR_INIT("(mail=%u@%d)")}},
    {.kind = AUTH_BY_POSTGRESQL,
     .table = {.server = STR_INIT("postgresql://mail@/run/pg/db"),
               .at = {.kind = NETADDR_UNIX, .path = "/run/pg"},
               .user = STR_INIT("mail"),
               .place = STR_INIT("db"),
               .question = STR_INIT("SELECT $1")}},
    {.kind = AUTH_BY_SQLITE,
     .table = {.server = STR_INIT("sqlite:/users.db"),
               .place = STR_INIT("/users.db"),
               .question = STR_INIT("SELECT $2")}},
};

static void log_line(void *arg, struct str line)
{
    struct fixture *f = arg;
    assert_true(buf_put(&f->log_text, line));
}

static bool has_logged(const char *text)
{
    bool found = str_find(buf_str(&the->log_text), str_from_c(text)) != STR_NPOS;
    buf_reset(&the->log_text);
    return found;
}

static void give_channel(enum role who, struct channel *c)
{
    *c = (struct channel){.object = {&ops}};
    the->env.peers[who][0] = c;
}

static void driver_init(struct driver *d)
{
    d->base = (struct table_driver){driver_open, driver_ask, driver_close};
}

static int setup(void **state)
{
    struct fixture *f = the = mem_must_new(struct fixture);
    UNUSED(state);
    buf_init(&f->log_text, 1 << 20);
    f->log = (struct log){.write = log_line, .arg = f};
    f->world = (struct world){.ops = &ops, .log = &f->log};
    f->now_ms = 1000;
    f->thread_ms = 50;
    f->config = (struct config){.policy = {.domains = domains, .n_domains = ARRAY_LEN(domains)},
                                .auths = backends,
                                .n_auths = ARRAY_LEN(backends),
                                .authorities = STR("anchors")};
    driver_init(&f->ldap);
    driver_init(&f->pg);
    driver_init(&f->sqlite);
    f->drivers = (struct table_drivers){.ldap = &f->ldap.base,
                                        .postgresql = &f->pg.base,
                                        .sqlite = &f->sqlite.base,
                                        .now_ms = thread_now,
                                        .self = f,
                                        .trust = trust_anchors};
    f->env =
        (struct role_env){.world = &f->world, .role = ROLE_TABLES, .config = &f->config, .ext = &f->drivers};
    f->workers.object.ops = &ops;
    give_channel(ROLE_AUTH, &f->auth);
    give_channel(ROLE_LOOKUP, &f->lookup);
    give_channel(ROLE_ADMIN, &f->admin);
    f->self = tables_role.create(&f->env);
    assert_non_null(f->self);
    assert_int_equal(f->n_ready, 1);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = the;
    UNUSED(state);
    tables_role.del(f->self);
    assert_true(f->workers.is_closed);
    buf_fini(&f->log_text);
    mem_free(f);
    return 0;
}

static void say(struct channel *c, uint16_t type, const struct buf *payload)
{
    assert_false(payload->failed || c->is_closed);
    c->user->on_message(c->arg, c, type, buf_str(payload), NULL);
}

static void ask_raw(const struct ipc_auth_ask *m)
{
    char mem[16384];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_ask(m, &b));
    say(&the->auth, IPC_AUTH_ASK, &b);
}

static void ask_about(uint64_t token, const char *user, const char *domain, const char *password)
{
    struct ipc_auth_ask m = {.token = token,
                             .kind = AUTH_PASSWORD,
                             .file = str_from_c(domain),
                             .user = str_from_c(user),
                             .client = STR("192.0.2.1"),
                             .secret = str_from_c(password)};
    ask_raw(&m);
}

/* The next answer to auth; its texts stay. */
static void check_answer(uint64_t token, enum auth_verdict verdict, const char *why)
{
    struct ipc_auth_answer m;
    assert_true(the->auth.n_seen < the->auth.n_sent);
    const struct sent *s = &the->auth.sent[the->auth.n_seen++];
    assert_int_equal(s->type, IPC_AUTH_ANSWER);
    assert_true(ipc_decode_auth_answer(str_of(s->bytes, s->n), &m));
    assert_int_equal(m.token, token);
    assert_int_equal(m.verdict, verdict);
    if (verdict == AUTH_TEMPORARY ? str_find(m.why, str_from_c(why)) == STR_NPOS : m.why.n > 0)
        fail_msg("%.*s and not %s", STR_FMT(m.why), why);
}

static void check_silence(void)
{
    assert_int_equal(the->auth.n_seen, the->auth.n_sent);
}

static void give_secret(const char *name, const char *octets)
{
    char mem[256];
    struct buf b;
    struct handle blob = {.object = {&ops}, .bytes = str_from_c(octets)};
    struct ipc_sup_secret m = {.name = str_from_c(name)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sup_secret(&m, &b));
    tables_role.from_super(the->self, IPC_SUP_SECRET, buf_str(&b), &blob);
}

/* What lookup was asked last. */
static uint64_t asked_of_lookup(const char *name)
{
    struct ipc_host_ask m;
    assert_true(the->lookup.n_seen < the->lookup.n_sent);
    const struct sent *s = &the->lookup.sent[the->lookup.n_seen++];
    assert_int_equal(s->type, IPC_HOST_ASK);
    assert_true(ipc_decode_host_ask(str_of(s->bytes, s->n), &m));
    assert_true(str_eq(m.name, str_from_c(name)));
    return m.token;
}

static void lookup_says(uint64_t token, enum dns_status status, const char *const *addresses, size_t n,
                        uint32_t ttl_s)
{
    char mem[1024], list_mem[512];
    struct buf b, list;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    for (size_t i = 0; i < n; i++) {
        struct netaddr a;
        assert_true(netaddr_parse_ip(str_from_c(addresses[i]), 0, &a) && list_put_addr(&list, &a));
    }
    struct ipc_host_answer m = {.token = token,
                                .status = (uint8_t)status,
                                .ttl_s = ttl_s,
                                .addresses = buf_str(&list),
                                .why = STR("no such name")};
    assert_true(ipc_encode_host_answer(&m, &b));
    say(&the->lookup, IPC_HOST_ANSWER, &b);
}
