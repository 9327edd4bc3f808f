/* The supervisor's part in secrets over files, a clock and channels that this test holds in its hand. */
#include "service/super/secrets.h"

#include "base/limits.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

enum { SENT_MAX = 64, FILES_MAX = 16, TIMERS_MAX = 16, TEXT_MAX = 2048, LOG_MAX = 16384 };

struct handle {
    struct world_object object;
    size_t n;
    char bytes[];
};
struct channel { /* the far end is the test */
    struct world_object object;
    bool is_full;
    size_t n_sent, n_seen;
    struct sent {
        uint16_t type;
        size_t n, n_blob;
        char bytes[TEXT_MAX], blob[TEXT_MAX];
    } sent[SENT_MAX];
};
struct file {
    const char *path;
    char text[TEXT_MAX];
    enum err err;
    bool is_open;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    char logged[LOG_MAX];
    size_t n_logged;
    uint64_t now_ms;
    struct timer *timers[TIMERS_MAX];
    uint64_t dues[TIMERS_MAX];
    size_t n_timers, n_handles;
    struct file files[FILES_MAX];
    size_t n_files, n_reads, n_watched;
    void (*changed)(void *arg);
    void *changed_arg;
    struct channel keys, smtpd, relay;
    struct secrets *s;
    unsigned n_certificates, n_changed, n_settled;
    char why[512];
};

#define CERT(text) "-----BEGIN CERTIFICATE-----\n" text "\n-----END CERTIFICATE-----\n"

static struct fixture *fixture_of(struct world *w)
{
    return container_of(w, struct fixture, world);
}

/* ---- world ----------------------------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    return ((const struct fixture *)(const void *)w)->now_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    UNUSED(w);
    memset(out, 0x17, n);
}

static void timer_cancel(struct world *w, struct timer *t)
{
    struct fixture *f = fixture_of(w);
    t->is_set = false;
    for (size_t i = 0; i < f->n_timers; i++) {
        if (f->timers[i] != t)
            continue;
        f->n_timers--;
        f->timers[i] = f->timers[f->n_timers];
        f->dues[i] = f->dues[f->n_timers];
        return;
    }
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    struct fixture *f = fixture_of(w);
    timer_cancel(w, t);
    assert_true(f->n_timers < TIMERS_MAX);
    t->is_set = true;
    f->timers[f->n_timers] = t;
    f->dues[f->n_timers++] = due_ms;
}

/* Lets time pass; due timers fire in order. */
static void pass(struct fixture *f, uint64_t ms)
{
    uint64_t until = f->now_ms + ms;
    for (;;) {
        size_t first = f->n_timers;
        for (size_t i = 0; i < f->n_timers; i++) {
            if (f->dues[i] <= until && (first == f->n_timers || f->dues[i] < f->dues[first]))
                first = i;
        }
        if (first == f->n_timers)
            break;
        struct timer *t = f->timers[first];
        f->now_ms = f->dues[first] > f->now_ms ? f->dues[first] : f->now_ms;
        timer_cancel(&f->world, t);
        t->fire(t);
    }
    f->now_ms = until;
}

static struct handle *blob_of(struct world *w, struct str bytes);
static void drop(struct handle *h);

static enum err send_to_test(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    if (c->is_full)
        return ERR_AGAIN;
    assert_true(c->n_sent < SENT_MAX && payload.n <= TEXT_MAX);
    struct sent *s = &c->sent[c->n_sent++];
    *s = (struct sent){.type = type, .n = payload.n};
    memcpy(s->bytes, payload.p, payload.n);
    if (give != NULL) {
        assert_true(give->n <= TEXT_MAX);
        s->n_blob = give->n;
        memcpy(s->blob, give->bytes, give->n);
        drop(give);
    }
    return ERR_OK;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_test,
                                     .handle_of_blob = blob_of,
                                     .handle_drop = drop};

static struct handle *blob_of(struct world *w, struct str bytes)
{
    UNUSED(w);
    struct handle *h = mem_alloc(sizeof *h + bytes.n);
    assert_non_null(h);
    h->object.ops = &ops;
    h->n = bytes.n;
    if (bytes.n > 0)
        memcpy(h->bytes, bytes.p, bytes.n);
    return h;
}

static void drop(struct handle *h)
{
    mem_free(h); /* a leak checker sees those that were forgotten */
}

static void write_log(void *arg, struct str line)
{
    struct fixture *f = arg;
    assert_true(f->n_logged + line.n < LOG_MAX);
    memcpy(f->logged + f->n_logged, line.p, line.n);
    f->n_logged += line.n;
    f->logged[f->n_logged] = '\0';
}

/* How often it was logged since the last call. */
static unsigned n_logged(struct fixture *f, const char *text)
{
    unsigned n = 0;
    for (const char *p = f->logged; (p = strstr(p, text)) != NULL; p++)
        n++;
    f->n_logged = 0;
    f->logged[0] = '\0';
    return n;
}

/* ---- files ----------------------------------------------------------------------------------- */

static struct file *file_of(struct fixture *f, const char *path)
{
    for (size_t i = 0; i < f->n_files; i++) {
        if (strcmp(f->files[i].path, path) == 0)
            return &f->files[i];
    }
    assert_true(f->n_files < FILES_MAX);
    f->files[f->n_files].path = path;
    return &f->files[f->n_files++];
}

static void put_file(struct fixture *f, const char *path, const char *text)
{
    struct file *x = file_of(f, path);
    assert_true(str_to_c(str_from_c(text), x->text, sizeof x->text));
    x->err = ERR_OK;
}

static enum err read_file(void *arg, struct str path, struct buf *out, bool *is_open)
{
    struct fixture *f = arg;
    char name[128];
    assert_true(str_to_c(path, name, sizeof name));
    const struct file *x = file_of(f, name);
    f->n_reads++;
    *is_open = x->is_open;
    if (x->err != ERR_OK)
        return x->err;
    assert_true(out->max > TLS_CHAIN_SIZE_MAX && buf_reserve(out, TEXT_MAX));
    return buf_put(out, str_from_c(x->text)) ? ERR_OK : ERR_TOO_BIG;
}

static void watch(void *arg, const struct str *paths, size_t n, void (*changed)(void *changed_arg),
                  void *changed_arg)
{
    struct fixture *f = arg;
    f->n_watched = n;
    for (size_t i = 0; i < n; i++)
        assert_true(paths[i].n > 0);
    f->changed = changed;
    f->changed_arg = changed_arg;
}

/* Some files changed, all within the settle time. */
static void change(struct fixture *f)
{
    f->changed(f->changed_arg);
    f->changed(f->changed_arg);
    pass(f, 1000);
}

/* ---- the roles' side ------------------------------------------------------------------------- */

static const struct sent *next_sent(struct channel *c, uint16_t type)
{
    assert_true(c->n_seen < c->n_sent);
    const struct sent *s = &c->sent[c->n_seen++];
    assert_int_equal(s->type, type);
    return s;
}

static struct ipc_sup_key next_key(struct fixture *f, const char *secret)
{
    const struct sent *s = next_sent(&f->keys, IPC_SUP_KEY);
    struct ipc_sup_key m;
    assert_true(ipc_decode_sup_key(str_of(s->bytes, s->n), &m));
    assert_true(str_eq(str_of(s->blob, s->n_blob), str_from_c(secret)));
    return m;
}

static struct ipc_sup_users next_users(struct fixture *f, const char *text)
{
    const struct sent *s = next_sent(&f->keys, IPC_SUP_USERS);
    struct ipc_sup_users m;
    assert_true(ipc_decode_sup_users(str_of(s->bytes, s->n), &m));
    assert_true(str_eq(str_of(s->blob, s->n_blob), str_from_c(text)));
    return m;
}

static bool answer(struct fixture *f, enum secret_kind kind, uint32_t number, enum err err, const char *why)
{
    char mem[256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_key_state m = {(uint8_t)kind, number, (uint8_t)err, 3, str_from_c(why)};
    assert_true(ipc_encode_key_state(&m, &b));
    return secrets_on_state(f->s, buf_str(&b));
}

static struct ipc_sup_cert next_cert(struct channel *c, const char *chain)
{
    const struct sent *s = next_sent(c, IPC_SUP_CERT);
    struct ipc_sup_cert m;
    assert_true(ipc_decode_sup_cert(str_of(s->bytes, s->n), &m));
    assert_true(str_eq(str_of(s->blob, s->n_blob), str_from_c(chain)));
    return m;
}

static void all_seen(struct fixture *f)
{
    assert_int_equal(f->keys.n_seen, f->keys.n_sent);
    assert_int_equal(f->smtpd.n_seen, f->smtpd.n_sent);
    assert_int_equal(f->relay.n_seen, f->relay.n_sent);
}

static void on_certificate(void *arg)
{
    ((struct fixture *)arg)->n_certificates++;
}

static void on_files_changed(void *arg)
{
    struct fixture *f = arg;
    f->n_changed++;
}

static void on_settled(void *arg, struct str why)
{
    struct fixture *f = arg;
    f->n_settled++;
    assert_true(str_to_c(why, f->why, sizeof f->why));
}

static const struct secret_certificate two[] = {
    {STR_INIT("/a.crt"), STR_INIT("/a.key"), KEY_USE_SERVER},
    {STR_INIT("/b.pem"), STR_INIT("/b.pem"), KEY_USE_SERVER | KEY_USE_CLIENT}, /* both in one file */
};
static const struct str password_files[] = {STR_INIT("/org.users")};
static const struct secret_list list = {two, 2, password_files, 1, NULL, 0};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    assert_non_null(f);
    f->log = (struct log){.write = write_log, .arg = f};
    f->world = (struct world){&ops, &f->log};
    f->now_ms = 1000;
    f->keys.object.ops = f->smtpd.object.ops = f->relay.object.ops = &ops;
    put_file(f, "/a.crt", "junk before\n" CERT("AAAA") "between\n" CERT("ISSUER"));
    put_file(f, "/a.key", "KEY-A");
    put_file(f, "/b.pem", "KEY-B\n" CERT("BBBB"));
    put_file(f, "/org.users", "joe:x");
    struct secrets_conf conf = {.files = {f, read_file, watch},
                                .seed = {1, 2, 3},
                                .arg = f,
                                .on_certificate = on_certificate,
                                .on_changed = on_files_changed,
                                .on_settled = on_settled};
    f->s = secrets_new(&f->world, &conf);
    assert_non_null(f->s);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    secrets_del(&f->s);
    assert_int_equal(f->n_timers, 0);
    mem_free(f);
    return 0;
}

/* All three in force; the numbers of the keys. */
static void start(struct fixture *f, uint32_t *a, uint32_t *b)
{
    assert_true(secrets_set(f->s, &list));
    secrets_keys_up(f->s, &f->keys);
    *a = next_key(f, "KEY-A").key;
    assert_true(answer(f, SECRET_KEY, *a, ERR_OK, ""));
    *b = next_key(f, "KEY-B\n" CERT("BBBB")).key;
    assert_true(answer(f, SECRET_KEY, *b, ERR_OK, ""));
    assert_true(answer(f, SECRET_USERS, next_users(f, "joe:x").file, ERR_OK, ""));
    assert_int_equal(f->n_settled, 1);
    assert_string_equal(f->why, "");
    (void)n_logged(f, "?"); /* from here on */
}

static void tell(struct fixture *f, struct channel *c, enum role role, uint64_t *told)
{
    assert_true(secrets_tell(f->s, c, role, told));
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Files that are only watched are not read; that they changed is told once it has settled. */
static void test_watched(void **state)
{
    struct fixture *f = *state;
    static const struct str others[] = {STR_INIT("/hop.password"), STR_INIT("/other.password")};
    struct secret_list only = {.watched = others, .n_watched = ARRAY_LEN(others)};
    assert_true(secrets_set(f->s, &only));
    assert_int_equal(f->n_watched, 2);
    assert_true(!secrets_is_needed(f->s) && secrets_is_settled(f->s));
    f->changed(f->changed_arg);
    assert_int_equal(f->n_changed, 0);
    pass(f, 1000);
    assert_int_equal(f->n_changed, 1);
    change(f);
    assert_int_equal(f->n_changed, 2);
    assert_int_equal(f->n_reads, 0);
}

static void test_start(void **state)
{
    struct fixture *f = *state;
    assert_true(secrets_set(f->s, &list));
    assert_int_equal(f->n_watched, 5);
    assert_true(secrets_is_needed(f->s) && !secrets_is_settled(f->s));
    assert_int_equal(f->n_reads, 0); /* nobody is there to take them */
    secrets_keys_up(f->s, &f->keys);
    struct ipc_sup_key k = next_key(f, "KEY-A");
    assert_true(str_eq(k.chain, STR(CERT("AAAA") CERT("ISSUER"))));
    assert_true(str_eq(k.name, STR("/a.crt")));
    assert_int_equal(k.uses, KEY_USE_SERVER);
    all_seen(f);                                                /* one at a time */
    assert_false(answer(f, SECRET_KEY, k.key + 1, ERR_OK, "")); /* nobody asked */
    assert_false(answer(f, SECRET_USERS, k.key, ERR_OK, ""));
    assert_true(answer(f, SECRET_KEY, k.key, ERR_OK, "the certificate has expired"));
    assert_int_equal(n_logged(f, "the certificate has expired"), 1);
    assert_int_equal(f->n_certificates, 1);
    k = next_key(f, "KEY-B\n" CERT("BBBB"));
    assert_true(str_eq(k.chain, STR(CERT("BBBB")))); /* without the key */
    assert_true(answer(f, SECRET_KEY, k.key, ERR_OK, ""));
    struct ipc_sup_users u = next_users(f, "joe:x");
    assert_true(str_eq(u.name, STR("/org.users")));
    assert_true(u.seed.n == SECRETS_SEED && u.seed.p[1] == 2);
    assert_false(secrets_is_settled(f->s));
    assert_true(answer(f, SECRET_USERS, u.file, ERR_OK, ""));
    assert_true(secrets_is_settled(f->s) && f->n_settled == 1 && f->why[0] == '\0');
    all_seen(f);
    assert_false(answer(f, SECRET_USERS, u.file, ERR_OK, ""));
}

static void test_nothing_wanted(void **state)
{
    struct fixture *f = *state;
    static const struct secret_list none = {.n_certificates = 0};
    assert_true(secrets_set(f->s, &none));
    assert_false(secrets_is_needed(f->s));
    assert_true(secrets_is_settled(f->s));
    uint64_t told = 0;
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    all_seen(f);
}

static void test_tell(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    uint64_t told = 0, told_relay = 0, told_https = 0, told_queue = 0;
    start(f, &a, &b);
    f->smtpd.is_full = true;
    assert_false(secrets_tell(f->s, &f->smtpd, ROLE_SMTPD, &told));
    f->smtpd.is_full = false;
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    struct ipc_sup_cert m = next_cert(&f->smtpd, CERT("AAAA") CERT("ISSUER"));
    assert_true(m.certificate == 0 && m.key == a && m.uses == KEY_USE_SERVER &&
                str_eq(m.name, STR("/a.crt")));
    m = next_cert(&f->smtpd, CERT("BBBB"));
    assert_true(m.certificate == 1 && m.key == b);
    tell(f, &f->smtpd, ROLE_SMTPD, &told); /* once is enough */
    tell(f, &f->relay, ROLE_RELAY, &told_relay);
    assert_int_equal(next_cert(&f->relay, CERT("BBBB")).key, b);
    tell(f, &f->relay, ROLE_HTTPS, &told_https); /* what smtpd shows */
    assert_int_equal(next_cert(&f->relay, CERT("AAAA") CERT("ISSUER")).key, a);
    assert_int_equal(next_cert(&f->relay, CERT("BBBB")).key, b);
    tell(f, &f->relay, ROLE_QUEUE, &told_queue);
    all_seen(f);
}

/* A renewal with a new key: both files change, the old key lives on for handshakes under way. */
static void test_renewal(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    uint64_t told = 0;
    start(f, &a, &b);
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    f->smtpd.n_seen = f->smtpd.n_sent;
    change(f); /* something else in the folder */
    all_seen(f);
    put_file(f, "/a.crt", CERT("A2"));
    put_file(f, "/a.key", "KEY-A2");
    f->changed(f->changed_arg);
    all_seen(f); /* not before it has settled */
    pass(f, 1000);
    uint32_t a2 = next_key(f, "KEY-A2").key;
    assert_true(a2 != a && a2 != b);
    assert_true(answer(f, SECRET_KEY, a2, ERR_OK, ""));
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    struct ipc_sup_cert m = next_cert(&f->smtpd, CERT("A2"));
    assert_true(m.certificate == 0 && m.key == a2);
    all_seen(f);
    pass(f, 60 * 1000);
    const struct sent *s = next_sent(&f->keys, IPC_SUP_FORGET);
    struct ipc_sup_forget forget;
    assert_true(ipc_decode_sup_forget(str_of(s->bytes, s->n), &forget));
    assert_true(forget.kind == SECRET_KEY && forget.number == a);
    all_seen(f);
}

/* One file is there before the other: what is in force stays, and that is said once. */
static void test_half_a_renewal(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    uint64_t told = 0;
    start(f, &a, &b);
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    f->smtpd.n_seen = f->smtpd.n_sent;
    put_file(f, "/a.crt", CERT("A2"));
    change(f);
    uint32_t tried = next_key(f, "KEY-A").key;
    assert_true(answer(f, SECRET_KEY, tried, ERR_STALE, "the key does not belong to the certificate"));
    assert_int_equal(n_logged(f, "the key does not belong to the certificate"), 1);
    for (unsigned i = 0; i < 3; i++)
        change(f);
    assert_int_equal(n_logged(f, "belong"), 0);
    all_seen(f);
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    all_seen(f);
    put_file(f, "/a.key", "KEY-A2");
    change(f);
    uint32_t a2 = next_key(f, "KEY-A2").key;
    assert_true(answer(f, SECRET_KEY, a2, ERR_OK, ""));
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    assert_int_equal(next_cert(&f->smtpd, CERT("A2")).key, a2);
    /* and back again: what was in force before is as good as any */
    put_file(f, "/a.crt", CERT("AAAA"));
    put_file(f, "/a.key", "KEY-A");
    change(f);
    assert_true(next_key(f, "KEY-A").key != a);
}

/* A file that changes all the time is read now and then all the same. */
static void test_restless(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    start(f, &a, &b);
    size_t n = f->n_reads;
    put_file(f, "/org.users", "joe:y");
    for (unsigned i = 0; i < 30; i++) {
        f->changed(f->changed_arg);
        pass(f, 200);
    }
    assert_true(f->n_reads > n);
    (void)next_users(f, "joe:y");
}

static void test_unreadable(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    start(f, &a, &b);
    file_of(f, "/a.key")->err = ERR_NOTFOUND;
    change(f);
    change(f);
    assert_int_equal(n_logged(f, "can't read it"), 1);
    file_of(f, "/a.key")->err = ERR_DENIED;
    change(f);
    assert_int_equal(n_logged(f, "can't read it"), 1);
    all_seen(f);
    file_of(f, "/a.key")->err = ERR_OK; /* as it was: nothing to do */
    change(f);
    all_seen(f);
    file_of(f, "/org.users")->err = ERR_TOO_BIG;
    change(f);
    assert_int_equal(n_logged(f, "/org.users"), 1);
}

static void test_users_change(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    start(f, &a, &b);
    put_file(f, "/org.users", "joe:bad");
    change(f);
    uint32_t file = next_users(f, "joe:bad").file;
    assert_true(answer(f, SECRET_USERS, file, ERR_INVALID, "line 1, user \"joe\": no"));
    assert_int_equal(n_logged(f, "line 1, user"), 1);
    change(f);
    all_seen(f);
    put_file(f, "/org.users", "joe:good");
    change(f);
    assert_int_equal(next_users(f, "joe:good").file, file); /* the same file all the time */
    assert_true(answer(f, SECRET_USERS, file, ERR_OK, ""));
    assert_int_equal(f->n_settled, 1);
}

/* At the start a secret that can't be used is a reason not to start; the others are looked at, too. */
static void test_bad_start(void **state)
{
    struct fixture *f = *state;
    assert_true(secrets_set(f->s, &list));
    file_of(f, "/a.key")->err = ERR_NOTFOUND;
    secrets_keys_up(f->s, &f->keys);
    uint32_t b = next_key(f, "KEY-B\n" CERT("BBBB")).key;
    assert_true(answer(f, SECRET_KEY, b, ERR_INVALID, "is bad"));
    assert_true(answer(f, SECRET_USERS, next_users(f, "joe:x").file, ERR_OK, ""));
    assert_int_equal(f->n_settled, 1);
    assert_true(str_starts(str_from_c(f->why), STR("/a.key: can't read it: ")));
    assert_int_equal(n_logged(f, "secret.refused"), 2);
}

/* A new keys process gets all of it anew; keys that are the same keep their numbers, so nobody else notices.
 */
static void test_keys_restart(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    uint64_t told = 0;
    start(f, &a, &b);
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    f->smtpd.n_seen = f->smtpd.n_sent;
    put_file(f, "/a.key", "KEY-X"); /* under way when it dies */
    change(f);
    (void)next_key(f, "KEY-X");
    secrets_keys_down(f->s);
    put_file(f, "/a.key", "KEY-A");
    change(f);
    all_seen(f);
    secrets_keys_up(f->s, &f->keys);
    assert_int_equal(next_key(f, "KEY-A").key, a);
    assert_true(answer(f, SECRET_KEY, a, ERR_OK, ""));
    assert_int_equal(next_key(f, "KEY-B\n" CERT("BBBB")).key, b);
    assert_true(answer(f, SECRET_KEY, b, ERR_OK, ""));
    assert_true(answer(f, SECRET_USERS, next_users(f, "joe:x").file, ERR_OK, ""));
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    all_seen(f);
    assert_int_equal(f->n_settled, 1);
    pass(f, 3600 * 1000);
    all_seen(f); /* nothing is forgotten that is in use */
}

/* What can't be given to the new process is in nobody's hand: the roles must not show it any more. */
static void test_keys_restart_without_file(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    uint64_t told = 0;
    start(f, &a, &b);
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    f->smtpd.n_seen = f->smtpd.n_sent;
    put_file(f, "/a.crt", "no certificate"); /* half a renewal, say */
    change(f);
    assert_true(answer(f, SECRET_KEY, next_key(f, "KEY-A").key, ERR_INVALID, "no certificate"));
    assert_int_equal(n_logged(f, "the one in force"), 1);
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    all_seen(f);
    secrets_keys_down(f->s);
    secrets_keys_up(f->s, &f->keys);
    assert_true(answer(f, SECRET_KEY, next_key(f, "KEY-A").key, ERR_INVALID, "no certificate"));
    assert_int_equal(n_logged(f, "kept=none"), 1);
    assert_true(answer(f, SECRET_KEY, next_key(f, "KEY-B\n" CERT("BBBB")).key, ERR_OK, ""));
    assert_true(answer(f, SECRET_USERS, next_users(f, "joe:x").file, ERR_OK, ""));
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    assert_int_equal(next_cert(&f->smtpd, "").certificate, 0);
    put_file(f, "/a.crt", CERT("AAAA") CERT("ISSUER"));
    change(f);
    struct ipc_sup_key m = next_key(f, "KEY-A");
    assert_true(m.key != a && answer(f, SECRET_KEY, m.key, ERR_OK, ""));
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    assert_int_equal(next_cert(&f->smtpd, CERT("AAAA") CERT("ISSUER")).key, m.key);
    all_seen(f);
}

static void test_reload(void **state)
{
    struct fixture *f = *state;
    static const struct secret_certificate next[] = {
        {STR_INIT("/c.crt"), STR_INIT("/c.key"), KEY_USE_SERVER},
        {STR_INIT("/a.crt"), STR_INIT("/a.key"), KEY_USE_SERVER},
    };
    static const struct secret_list next_list = {next, 2, NULL, 0, NULL, 0};
    uint32_t a, b;
    uint64_t told = 0;
    start(f, &a, &b);
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    f->smtpd.n_seen = f->smtpd.n_sent;
    put_file(f, "/c.crt", CERT("CCCC"));
    put_file(f, "/c.key", "KEY-C");
    assert_true(secrets_set(f->s, &next_list));
    (void)next_sent(&f->keys, IPC_SUP_FORGET); /* the users at once, the key of b later */
    uint32_t c = next_key(f, "KEY-C").key;
    assert_true(answer(f, SECRET_KEY, c, ERR_OK, ""));
    tell(f, &f->smtpd, ROLE_SMTPD, &told);
    struct ipc_sup_cert m = next_cert(&f->smtpd, CERT("AAAA") CERT("ISSUER"));
    assert_true(m.certificate == 1 && m.key == a); /* the same key at another place */
    m = next_cert(&f->smtpd, CERT("CCCC"));
    assert_true(m.certificate == 0 && m.key == c);
    all_seen(f);
    pass(f, 3600 * 1000);
    (void)next_sent(&f->keys, IPC_SUP_FORGET);
    all_seen(f);
    /* gone while it was under way */
    put_file(f, "/c.key", "KEY-C2");
    change(f);
    uint32_t c2 = next_key(f, "KEY-C2").key;
    static const struct secret_list none = {.n_certificates = 0};
    assert_true(secrets_set(f->s, &none));
    assert_false(secrets_is_needed(f->s));
    assert_true(answer(f, SECRET_KEY, c2, ERR_OK, ""));
    const struct sent *s = next_sent(&f->keys, IPC_SUP_FORGET);
    struct ipc_sup_forget forget;
    assert_true(ipc_decode_sup_forget(str_of(s->bytes, s->n), &forget) && forget.number == c2);
}

static void test_open_file(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    file_of(f, "/a.key")->is_open = true;
    file_of(f, "/a.crt")->is_open = true; /* as it should be */
    assert_true(secrets_set(f->s, &list));
    secrets_keys_up(f->s, &f->keys);
    assert_int_equal(n_logged(f, "secret.open"), 1);
    secrets_keys_down(f->s);
    f->keys.n_seen = f->keys.n_sent;
    start(f, &a, &b);
    change(f);
    assert_int_equal(n_logged(f, "secret.open"), 0); /* once */
}

/* A full channel to keys: it is tried again with the next change, and the start does not hang. */
static void test_keys_full(void **state)
{
    struct fixture *f = *state;
    assert_true(secrets_set(f->s, &list));
    f->keys.is_full = true;
    secrets_keys_up(f->s, &f->keys);
    assert_int_equal(f->n_settled, 1);
    assert_true(f->why[0] != '\0');
    f->keys.is_full = false;
    change(f);
    (void)next_key(f, "KEY-A");
}

static void test_cut_off(void **state)
{
    struct fixture *f = *state;
    put_file(f, "/a.crt", CERT("AAAA") "-----BEGIN CERTIFICATE-----\nISS");
    assert_true(secrets_set(f->s, &list));
    secrets_keys_up(f->s, &f->keys);
    assert_true(str_eq(next_key(f, "KEY-A").chain, STR(CERT("AAAA") "-----BEGIN CERTIFICATE-----\n")));
}

static void test_too_many(void **state)
{
    struct fixture *f = *state;
    uint32_t a, b;
    static const struct secret_list many = {.certificates = two,
                                            .n_certificates = CONFIG_CERTIFICATES_MAX + 1};
    start(f, &a, &b);
    assert_false(secrets_set(f->s, &many));
    change(f);
    assert_true(secrets_is_needed(f->s)); /* what there was stays */
    all_seen(f);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_watched),   T(test_start),        T(test_nothing_wanted),
        T(test_tell),      T(test_renewal),      T(test_half_a_renewal),
        T(test_restless),  T(test_unreadable),   T(test_users_change),
        T(test_bad_start), T(test_keys_restart), T(test_keys_restart_without_file),
        T(test_reload),    T(test_open_file),    T(test_keys_full),
        T(test_cut_off),   T(test_too_many),
    };
    return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}
