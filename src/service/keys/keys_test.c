/* The role over a world, workers and channels that this test holds in its hand; boot's part is here too. */
#include "base/mem.h"
#include "base/rand.h"
#include "crypto/private_key_testing.h"
#include "crypto/testing.h"
#include "service/keys/keys.h"

#include <stdio.h>
#include <string.h>

enum { SENT_MAX = 600, WORKS_MAX = 600 };

struct channel { /* the far end is the test */
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_paused, is_closed, is_full;
    unsigned n_offers, scram; /* AUTH_OFFER; not among sent */
    size_t n_sent, n_seen;
    struct sent {
        uint16_t type;
        size_t n;
        char bytes[2048];
    } sent[SENT_MAX];
};
struct handle {
    struct str bytes;
};
struct blob_owner {
    struct world_object object;
    unsigned n_freed;
};
struct workers {
    struct world_object object;
    struct compute *waiting[WORKS_MAX];
    size_t n;
    bool is_closed;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    struct rng rng;
    uint64_t now_ms;
    struct config config, config2;
    struct role_env env;
    struct channel smtpd, smtpd2, relay, https, admin;
    struct workers workers;
    struct blob_owner owner;
    struct keys *self;
    struct ipc_key_state state;
    char state_why[512];
    unsigned n_states, n_ready, n_failed, n_drained, n_released, n_blobs;
    struct timer *timers[8];
    size_t n_timers;
};
static struct made server, client, other;
#define COMPOSED "p\xc3\xa4ssw\xc3\xb6rd"
#define DECOMPOSED "pa\xcc\x88sswo\xcc\x88rd"
static char users_text[2048], changed_text[2048];
static struct crypto *crypto;

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
    UNUSED(reason);
    fixture_of_env(env)->n_failed++;
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

enum err role_tell_super(struct role_env *env, const struct ipc_key_state *m)
{
    struct fixture *f = fixture_of_env(env);
    f->state = *m;
    assert_true(str_to_c(m->why, f->state_why, sizeof f->state_why));
    f->n_states++;
    return ERR_OK;
}

/* ---- world ----------------------------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    return ((const struct fixture *)(const void *)w)->now_ms;
}

static int64_t wall_ms(const struct world *w)
{
    UNUSED(w);
    return (int64_t)1800000000 * 1000;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&fixture_of(w)->rng);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    UNUSED(due_ms);
    struct fixture *f = fixture_of(w);
    t->is_set = true;
    assert_true(f->n_timers < ARRAY_LEN(f->timers));
    f->timers[f->n_timers++] = t;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    t->is_set = false;
}

static enum err send_to_test(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    assert_null(give);
    assert_false(c->is_closed);
    if (c->is_full)
        return ERR_AGAIN;
    if (type == IPC_AUTH_OFFER) {
        struct ipc_auth_offer m;
        assert_true(ipc_decode_auth_offer(payload, &m));
        c->scram = m.scram;
        c->n_offers++;
        return ERR_OK;
    }
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

static bool take_blob(struct world *w, struct handle *h, struct blob *out)
{
    struct fixture *f = fixture_of(w);
    *out = (struct blob){h->bytes, &f->owner};
    f->n_blobs++;
    return true;
}

static void free_blob(struct blob *b)
{
    ((struct blob_owner *)b->owner)->n_freed++;
}

static enum err new_workers(struct world *w, unsigned n, struct workers **out)
{
    assert_true(n > 0);
    *out = &fixture_of(w)->workers;
    return ERR_OK;
}

static void submit(struct workers *p, struct compute *k)
{
    assert_true(p->n < WORKS_MAX && !p->is_closed);
    p->waiting[p->n++] = k;
}

static void close_workers(struct workers *p)
{
    p->is_closed = true;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .wall_ms = wall_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_test,
                                     .channel_backlog = backlog,
                                     .channel_set_user = set_user,
                                     .channel_pause = pause_channel,
                                     .handle_take_blob = take_blob,
                                     .blob_free = free_blob,
                                     .workers = new_workers,
                                     .workers_submit = submit,
                                     .workers_close = close_workers};

static void work_one(struct fixture *f)
{
    assert_true(f->workers.n > 0);
    struct compute *k = f->workers.waiting[0];
    f->workers.n--;
    memmove(f->workers.waiting, f->workers.waiting + 1, f->workers.n * sizeof(struct compute *));
    k->run(k);
    k->done(k);
}

static void work_all(struct fixture *f)
{
    while (f->workers.n > 0)
        work_one(f);
}

/* ---- what the supervisor says ---------------------------------------------------------------- */

static void from_super(struct fixture *f, uint16_t type, const struct buf *payload, struct str secret)
{
    struct handle h = {secret};
    unsigned n = f->n_blobs - f->owner.n_freed;
    keys_role.from_super(f->self, type, buf_str(payload), &h);
    assert_int_equal(f->n_blobs - f->owner.n_freed, n); /* no blob is kept */
}

static void give_key(struct fixture *f, uint32_t number, uint8_t uses, struct str pem, struct str chain)
{
    char mem[MADE_PEM_MAX + 256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_sup_key m = {number, uses, STR("/etc/cert.pem"), chain};
    assert_true(ipc_encode_sup_key(&m, &b));
    unsigned n = f->n_states;
    from_super(f, IPC_SUP_KEY, &b, pem);
    assert_int_equal(f->n_states, n + 1);
    assert_int_equal(f->state.kind, SECRET_KEY);
    assert_int_equal(f->state.number, number);
}

static void give_users(struct fixture *f, uint32_t file, const char *name, const char *text)
{
    char mem[256];
    uint8_t seed[KEYS_SEED] = {9, 8, 7};
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_sup_users m = {file, str_from_c(name), str_of(seed, sizeof seed)};
    assert_true(ipc_encode_sup_users(&m, &b));
    unsigned n = f->n_states;
    from_super(f, IPC_SUP_USERS, &b, str_from_c(text));
    assert_int_equal(f->n_states, n + 1);
    assert_int_equal(f->state.kind, SECRET_USERS);
    assert_int_equal(f->state.number, file);
}

static void forget(struct fixture *f, enum secret_kind kind, uint32_t number)
{
    char mem[16];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_sup_forget m = {(uint8_t)kind, number};
    assert_true(ipc_encode_sup_forget(&m, &b));
    from_super(f, IPC_SUP_FORGET, &b, STR_NIL);
}

/* ---- what the askers say --------------------------------------------------------------------- */

static void say(struct channel *c, uint16_t type, const struct buf *payload)
{
    assert_false(payload->failed);
    c->user->on_message(c->arg, c, type, buf_str(payload), NULL);
}

static void ask_sign(struct channel *c, uint32_t key, uint8_t scheme, uint8_t digest, struct str octets)
{
    char mem[4096];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_sign_ask m = {77, key, scheme, digest, octets};
    (void)ipc_encode_sign_ask(&m, &b);
    say(c, IPC_SIGN_ASK, &b);
}

static const struct sent *next_sent(struct channel *c)
{
    assert_true(c->n_seen < c->n_sent);
    return &c->sent[c->n_seen++];
}

static struct ipc_sign_answer signed_answer(struct channel *c)
{
    const struct sent *s = next_sent(c);
    struct ipc_sign_answer m;
    assert_int_equal(s->type, IPC_SIGN_ANSWER);
    assert_true(ipc_decode_sign_answer(str_of(s->bytes, s->n), &m));
    assert_int_equal(m.token, 77);
    assert_int_equal(m.err == ERR_OK, m.signature.n > 0);
    return m;
}

static struct ipc_auth_ask login_of(const char *file, const char *user, const char *password)
{
    return (struct ipc_auth_ask){.token = 5,
                                 .kind = AUTH_PASSWORD,
                                 .file = str_from_c(file),
                                 .user = str_from_c(user),
                                 .client = STR("192.0.2.1"),
                                 .secret = str_from_c(password)};
}

static void ask_login(struct channel *c, const struct ipc_auth_ask *m)
{
    static char mem[IPC_FRAME_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    (void)ipc_encode_auth_ask(m, &b);
    say(c, IPC_AUTH_ASK, &b);
}

static struct ipc_auth_answer auth_answer(struct channel *c)
{
    const struct sent *s = next_sent(c);
    struct ipc_auth_answer m;
    assert_int_equal(s->type, IPC_AUTH_ANSWER);
    assert_true(ipc_decode_auth_answer(str_of(s->bytes, s->n), &m));
    assert_int_equal(m.token, 5);
    return m;
}

static enum auth_verdict verdict(struct fixture *f, const char *user, const char *password)
{
    struct ipc_auth_ask m = login_of("org.users", user, password);
    ask_login(&f->smtpd, &m);
    work_all(f);
    return (enum auth_verdict)auth_answer(&f->smtpd).verdict;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static void make_users(char *out, size_t cap, const char *password)
{
    uint8_t random[VERIFIER_SECRET] = {1};
    struct buf b;
    buf_init_fixed(&b, out, cap - 1);
    buf_puts(&b, "joe:");
    assert_int_equal(verifier_make(crypto, str_from_c(password), random, SCRAM_ITERATIONS_MIN, &b), ERR_OK);
    buf_puts(&b, "\ngone:!\n");
    out[b.n] = '\0';
}

static int group_setup(void **state)
{
    UNUSED(state);
    if (crypto_new(&crypto) != ERR_OK)
        return -1;
    made_make_p256(&server, 1799990000, 1800010000);
    made_make_p256(&client, 1799990000, 1800010000);
    made_make_p256(&other, 1799990000, 1800010000);
    make_users(users_text, sizeof users_text, "right");
    make_users(changed_text, sizeof changed_text, "changed");
    return 0;
}

static int group_teardown(void **state)
{
    UNUSED(state);
    made_free(&server);
    made_free(&client);
    made_free(&other);
    crypto_del(&crypto);
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    assert_non_null(f);
    f->world = (struct world){&ops, &f->log};
    f->log.min = LOG_ERROR + 1;
    rng_seed(&f->rng, 1);
    f->now_ms = 1000;
    f->env = (struct role_env){.world = &f->world, .role = ROLE_KEYS, .config = &f->config};
    f->owner.object.ops = f->workers.object.ops = &ops;
    f->smtpd.object.ops = f->smtpd2.object.ops = f->relay.object.ops = f->admin.object.ops = &ops;
    f->https.object.ops = &ops;
    f->env.peers[ROLE_SMTPD][0] = &f->smtpd;
    f->env.peers[ROLE_ADMIN][0] = &f->admin;
    f->self = keys_role.create(&f->env);
    assert_non_null(f->self);
    assert_int_equal(f->n_ready, 1);
    keys_role.peer(f->self, ROLE_RELAY, 0, &f->relay);
    keys_role.peer(f->self, ROLE_HTTPS, 0, &f->https);
    keys_role.peer(f->self, ROLE_SMTPD, 1, &f->smtpd2);
    give_key(f, 1, KEY_USE_SERVER, made_pem(&server), made_cert(&server));
    assert_int_equal(f->state.err, ERR_OK);
    give_key(f, 2, KEY_USE_CLIENT, made_pem(&client), made_cert(&client));
    assert_int_equal(f->state.err, ERR_OK);
    give_users(f, 1, "org.users", users_text);
    assert_int_equal(f->state.err, ERR_OK);
    assert_int_equal(f->state.n, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->self != NULL)
        keys_role.del(f->self);
    mem_free(f);
    return 0;
}

/* ---- signatures ------------------------------------------------------------------------------ */

static void test_sign(void **state)
{
    struct fixture *f = *state;
    char digest[32] = {4};
    struct str d = str_of(digest, sizeof digest);
    ask_sign(&f->smtpd, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    struct ipc_sign_answer m = signed_answer(&f->smtpd);
    assert_true(m.err == ERR_OK && made_signed(&server, d, m.signature) &&
                !made_signed(&client, d, m.signature));
    ask_sign(&f->relay, 2, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    m = signed_answer(&f->relay);
    assert_true(m.err == ERR_OK && made_signed(&client, d, m.signature));
    ask_sign(&f->https, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    m = signed_answer(&f->https);
    assert_true(m.err == ERR_OK && made_signed(&server, d, m.signature));
    assert_int_equal(f->self->count.signatures, 3);
    /* each has its own keys */
    ask_sign(&f->relay, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->relay).err, ERR_DENIED);
    ask_sign(&f->https, 2, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->https).err, ERR_DENIED);
    ask_sign(&f->smtpd, 2, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_DENIED);
    ask_sign(&f->smtpd, 3, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_NOTFOUND);
    ask_sign(&f->smtpd, 1, TLS_SIGN_RSA_PSS, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_INVALID);
    char big[TLS_SIGN_OCTETS_MAX + 1] = {0};
    ask_sign(&f->smtpd, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, str_of(big, sizeof big));
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_INVALID);
    assert_int_equal(f->self->count.signatures_refused, 6);
    assert_false(f->smtpd.is_closed);
}

static void test_keys_come_and_go(void **state)
{
    struct fixture *f = *state;
    char digest[32] = {4};
    struct str d = str_of(digest, sizeof digest);
    give_key(f, 3, KEY_USE_SERVER, made_pem(&other), made_cert(&server));
    assert_int_equal(f->state.err, ERR_STALE);
    assert_string_equal(f->state_why, "the key does not belong to the certificate");
    ask_sign(&f->smtpd, 3, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_NOTFOUND);
    give_key(f, 1, KEY_USE_SERVER, STR("x"), made_cert(&server)); /* keeps what there was of this number */
    assert_int_equal(f->state.err, ERR_INVALID);
    ask_sign(&f->smtpd, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_OK);
    give_key(f, 4, KEY_USE_SERVER | KEY_USE_CLIENT, made_pem(&other), made_cert(&other));
    assert_int_equal(f->state.err, ERR_OK);
    ask_sign(&f->relay, 4, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_true(made_signed(&other, d, signed_answer(&f->relay).signature));
    forget(f, SECRET_KEY, 1);
    forget(f, SECRET_KEY, 99);
    ask_sign(&f->smtpd, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, d);
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_NOTFOUND);
}

static void test_keys_max(void **state)
{
    struct fixture *f = *state;
    uint32_t number = 100;
    do {
        give_key(f, number++, KEY_USE_SERVER, made_pem(&other), made_cert(&other));
    } while (f->state.err == ERR_OK);
    assert_int_equal(f->state.err, ERR_TOO_BIG);
    assert_int_equal(number - 100 - 1, 2 * CONFIG_CERTIFICATES_MAX - 2);
    give_key(f, 1, KEY_USE_SERVER, made_pem(&other), made_cert(&other)); /* one it has may change */
    assert_int_equal(f->state.err, ERR_OK);
}

/* ---- passwords ------------------------------------------------------------------------------- */

static void test_password(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(verdict(f, "joe", "right"), AUTH_OK);
    assert_int_equal(verdict(f, "JOE", "right"), AUTH_OK);
    assert_int_equal(verdict(f, "joe", "wrong"), AUTH_BAD);
    assert_int_equal(verdict(f, "joe", ""), AUTH_BAD);
    assert_int_equal(f->self->count.hashes, 4);
    struct ipc_auth_ask m = login_of("other.users", "joe", "right");
    ask_login(&f->smtpd, &m);
    struct ipc_auth_answer late = auth_answer(&f->smtpd); /* nobody handed it over */
    assert_int_equal(late.verdict, AUTH_TEMPORARY);
    assert_true(str_eq(late.why, STR("the file of these users is not at hand")));
    assert_int_equal(f->workers.n, 0);
}

/* Whether the user is wrong or the password: the same answer for the same work. */
static void test_nobody(void **state)
{
    struct fixture *f = *state;
    static const char *const users[] = {"joe", "nobody", "gone", "", "jo"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        uint64_t n = f->self->count.hashes;
        assert_int_equal(verdict(f, users[i], "wrong"), AUTH_BAD);
        assert_int_equal(f->self->count.hashes, n + 1);
    }
}

/* SASLprep makes one of what looks alike; what another system kept as it came is found, too. And all of it
 * costs with nobody what it costs with somebody. */
static void test_prepared(void **state)
{
    static const struct {
        const char *kept, *given;
        unsigned n_right; /* hashes until it was right; 0: it is not */
        unsigned n_wrong; /* hashes for a user who isn't there, or for whom it is wrong */
    } rows[] = {
        {COMPOSED, COMPOSED, 1, 1},
        {COMPOSED, DECOMPOSED, 1, 2},
        {COMPOSED, DECOMPOSED "x", 0, 2},
        {DECOMPOSED, DECOMPOSED, 2, 2},
        {DECOMPOSED, COMPOSED, 0, 1},
        {"two words", "two\xc2\xa0words", 1, 2},
        {"two words", "two words", 1, 1},
        {"\xff\xfe", "\xff\xfe", 1, 1}, /* no text: as it is */
        {"\x07", "\x07", 1, 1},
        {"", "\xc2\xad", 0, 1}, /* nothing would be left of it */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[sizeof users_text];
        make_users(text, sizeof text, rows[i].kept);
        give_users(f, 1, "org.users", text);
        assert_int_equal(f->state.err, ERR_OK);
        for (int is_nobody = 0; is_nobody < 2; is_nobody++) {
            uint64_t n = f->self->count.hashes;
            unsigned n_right = is_nobody ? 0 : rows[i].n_right;
            assert_int_equal(verdict(f, is_nobody ? "nobody" : "joe", rows[i].given),
                             n_right > 0 ? AUTH_OK : AUTH_BAD);
            assert_int_equal(f->self->count.hashes - n, n_right > 0 ? n_right : rows[i].n_wrong);
        }
    }
}

static void test_reload(void **state)
{
    struct fixture *f = *state;
    give_users(f, 1, "org.users", changed_text);
    assert_int_equal(f->state.err, ERR_OK);
    assert_int_equal(verdict(f, "joe", "right"), AUTH_BAD);
    assert_int_equal(verdict(f, "joe", "changed"), AUTH_OK);
    give_users(f, 1, "org.users", "joe:!\nann:nonsense\n");
    assert_int_equal(f->state.err, ERR_INVALID);
    assert_non_null(strstr(f->state_why, "line 2, user \"ann\": "));
    assert_int_equal(verdict(f, "joe", "changed"), AUTH_OK); /* the lines before are kept */
    give_users(f, 2, "net.users", users_text);               /* a place of its own */
    assert_int_equal(verdict(f, "joe", "changed"), AUTH_OK);
    forget(f, SECRET_USERS, 1);
    assert_int_equal(verdict(f, "joe", "changed"), AUTH_TEMPORARY);
    struct ipc_auth_ask m = login_of("net.users", "joe", "right");
    ask_login(&f->smtpd, &m);
    work_all(f);
    assert_int_equal(auth_answer(&f->smtpd).verdict, AUTH_OK);
}

static void test_too_many_guesses(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < GUESS_USER_BURST; i++)
        assert_int_equal(verdict(f, "joe", "wrong"), AUTH_BAD);
    uint64_t n = f->self->count.hashes;
    assert_int_equal(verdict(f, "joe", "wrong"), AUTH_TOO_MANY);
    assert_int_equal(verdict(f, "joe", "right"), AUTH_TOO_MANY);
    assert_int_equal(f->self->count.hashes, n); /* was not looked at */
    assert_int_equal(f->self->count.too_many, 2);
    struct ipc_auth_ask m = login_of("org.users", "joe", "");
    m.kind = AUTH_SCRAM_FIRST;
    ask_login(&f->smtpd, &m);
    assert_int_equal(auth_answer(&f->smtpd).verdict, AUTH_TOO_MANY);
    f->now_ms += GUESS_USER_REFILL_MS;
    assert_int_equal(verdict(f, "joe", "right"), AUTH_OK);
}

/* Who knows his password is never counted, nor who could not be looked at. */
static void test_right_ones_are_free(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 3 * GUESS_CLIENT_BURST; i++)
        assert_int_equal(verdict(f, "joe", "right"), AUTH_OK);
}

static void test_waiting_max(void **state)
{
    struct fixture *f = *state;
    char user[16];
    struct ipc_auth_ask m = login_of("org.users", user, "wrong");
    for (unsigned i = 0; i < KEYS_WAITING_MAX + 20; i++) {
        (void)snprintf(user, sizeof user, "u%u", i);
        m.user = str_from_c(user);
        m.client = STR("unix"); /* no limit of its own */
        ask_login(&f->smtpd, &m);
    }
    assert_int_equal(f->workers.n, KEYS_WAITING_MAX);
    for (unsigned i = 0; i < 20; i++) { /* at once */
        struct ipc_auth_answer late = auth_answer(&f->smtpd);
        assert_int_equal(late.verdict, AUTH_TEMPORARY);
        assert_true(str_eq(late.why, STR("too many passwords wait to be looked at")));
    }
    assert_int_equal(f->self->count.busy, 20);
    /* a signature does not wait for them */
    char digest[32] = {4};
    ask_sign(&f->smtpd, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, str_of(digest, sizeof digest));
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_OK);
    work_one(f);
    ask_login(&f->smtpd, &m);
    assert_int_equal(f->workers.n, KEYS_WAITING_MAX);
    assert_int_equal(auth_answer(&f->smtpd).verdict, AUTH_BAD); /* of the first */
    f->smtpd.n_seen = f->smtpd.n_sent;
    f->workers.n = 3; /* the others are dropped with the role */
    work_all(f);
}

/* ---- SCRAM ----------------------------------------------------------------------------------- */

static struct ipc_auth_answer first(struct fixture *f, const char *user, enum scram_hash hash)
{
    struct ipc_auth_ask m = login_of("org.users", user, "");
    m.kind = AUTH_SCRAM_FIRST;
    m.hash = (uint8_t)hash;
    ask_login(&f->smtpd, &m);
    assert_int_equal(f->workers.n, 0); /* on the loop */
    struct ipc_auth_answer a = auth_answer(&f->smtpd);
    assert_int_equal(a.verdict, AUTH_OK);
    return a;
}

static struct ipc_auth_answer final(struct fixture *f, const char *user, enum scram_hash hash,
                                    struct str proof)
{
    struct ipc_auth_ask m = login_of("org.users", user, "");
    m.kind = AUTH_SCRAM_FINAL;
    m.hash = (uint8_t)hash;
    m.secret = proof;
    m.message = STR("n=joe,r=x,r=xy,s=z,i=4096,c=biws,r=xy");
    ask_login(&f->smtpd, &m);
    assert_int_equal(f->workers.n, 0);
    return auth_answer(&f->smtpd);
}

static void test_scram(void **state)
{
    struct fixture *f = *state;
    for (unsigned h = 0; h < SCRAM_HASHES; h++) {
        enum scram_hash hash = (enum scram_hash)h;
        struct ipc_auth_answer a = first(f, "joe", hash);
        struct scram_keys keys;
        uint8_t proof[SCRAM_KEY_MAX], want[SCRAM_KEY_MAX];
        struct str message = STR("n=joe,r=x,r=xy,s=z,i=4096,c=biws,r=xy");
        assert_int_equal(a.iterations, SCRAM_ITERATIONS_MIN);
        assert_int_equal(scram_derive(crypto, hash, STR("right"), a.salt, a.iterations, &keys), ERR_OK);
        assert_int_equal(scram_proof(crypto, hash, &keys, message, proof), ERR_OK);
        assert_int_equal(scram_signature(crypto, hash, keys.server_key, message, want), ERR_OK);
        a = final(f, "joe", hash, str_of(proof, scram_size(hash)));
        assert_int_equal(a.verdict, AUTH_OK);
        assert_true(str_eq(a.signature, str_of(want, scram_size(hash))));
        proof[3] ^= 1;
        a = final(f, "joe", hash, str_of(proof, scram_size(hash)));
        assert_true(a.verdict == AUTH_BAD && a.signature.n == 0);
        a = final(f, "nobody", hash, str_of(proof, scram_size(hash)));
        assert_true(a.verdict == AUTH_BAD && a.signature.n == 0);
    }
    assert_int_equal(f->self->count.right, 2);
    assert_int_equal(f->self->count.wrong, 4);
    assert_int_equal(f->self->count.proofs, 6);
}

/* Salts of those who aren't there look like real ones and stay. */
static void test_scram_nobody(void **state)
{
    struct fixture *f = *state;
    char salt[SCRAM_SALT_MAX];
    struct ipc_auth_answer real = first(f, "joe", SCRAM_SHA256), a = first(f, "nobody", SCRAM_SHA256);
    assert_int_equal(a.salt.n, real.salt.n);
    assert_int_equal(a.iterations, real.iterations);
    memcpy(salt, a.salt.p, a.salt.n);
    assert_true(str_eq(first(f, "nobody", SCRAM_SHA256).salt, str_of(salt, real.salt.n)));
    assert_true(str_eq(first(f, "NoBody", SCRAM_SHA256).salt, str_of(salt, real.salt.n)));
    assert_false(str_eq(first(f, "another", SCRAM_SHA256).salt, str_of(salt, real.salt.n)));
    assert_false(str_eq(first(f, "nobody", SCRAM_SHA1).salt, str_of(salt, real.salt.n)));
    /* over a change of the file, and in another file there is another */
    give_users(f, 1, "org.users", changed_text);
    assert_true(str_eq(first(f, "nobody", SCRAM_SHA256).salt, str_of(salt, real.salt.n)));
    give_users(f, 2, "net.users", users_text);
    struct ipc_auth_ask m = login_of("net.users", "nobody", "");
    m.kind = AUTH_SCRAM_FIRST;
    m.hash = SCRAM_SHA256;
    ask_login(&f->smtpd, &m);
    assert_false(str_eq(auth_answer(&f->smtpd).salt, str_of(salt, real.salt.n)));
}

/* ---- channels -------------------------------------------------------------------------------- */

/* SCRAM is on offer while nobody lacks it, in all files together; smtpd hears of it, relay does not. */
static void test_offer(void **state)
{
    struct fixture *f = *state;
    enum { BOTH = 1u << SCRAM_SHA1 | 1u << SCRAM_SHA256 };
    assert_int_equal(f->smtpd.scram, BOTH);
    unsigned n = f->smtpd.n_offers;
    give_users(f, 2, "net.users",
               "old:$5$rounds=1000$saltsalt$z3t6rrtFn3lMdv6AmvXeEFzPOKLJ2JypZJIYx/pmpp/\n");
    assert_int_equal(f->state.err, ERR_OK);
    assert_int_equal(f->smtpd.scram, 0);
    assert_int_equal(f->smtpd.n_offers, n + 1);
    give_users(f, 2, "net.users", "locked:!\n# nobody else\n");
    assert_int_equal(f->smtpd.scram, BOTH);
    give_users(f, 2, "net.users", "locked:!\nbad:{PLAIN}x\n"); /* refused: the old one holds */
    assert_int_equal(f->smtpd.n_offers, n + 2);
    forget(f, SECRET_USERS, 2);
    forget(f, SECRET_USERS, 1);
    assert_int_equal(f->smtpd.scram, 0);
    assert_int_equal(f->relay.n_offers, 0);
    assert_int_equal(f->https.n_offers, 0);
}

static void test_malformed(void **state)
{
    struct fixture *f = *state;
    static char big[AUTH_MESSAGE_MAX + 1];
    struct ipc_auth_ask good = login_of("org.users", "joe", "right"), bad[6];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = good;
    bad[0].kind = 3;
    bad[1].kind = AUTH_SCRAM_FIRST;
    bad[1].hash = SCRAM_HASHES;
    bad[2].user = str_of(big, SASL_NAME_MAX + 1);
    bad[3].secret = str_of(big, SASL_PASSWORD_MAX + 1);
    bad[4].message = str_of(big, AUTH_MESSAGE_MAX + 1);
    bad[5].kind = AUTH_SCRAM_FINAL;
    bad[5].hash = 200;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        static struct channel c;
        c = (struct channel){.object = {&ops}};
        keys_role.peer(f->self, ROLE_SMTPD, 2, &c);
        ask_login(&c, &bad[i]);
        assert_true(c.is_closed);
        assert_int_equal(c.n_sent, 0);
    }
    good.user = str_of(big, SASL_NAME_MAX);
    good.secret = str_of(big, SASL_PASSWORD_MAX);
    good.message = str_of(big, AUTH_MESSAGE_MAX);
    ask_login(&f->smtpd, &good);
    work_all(f);
    assert_int_equal(auth_answer(&f->smtpd).verdict, AUTH_BAD);
    good = login_of("org.users", "joe", "right");
    ask_login(&f->relay, &good); /* relay has no users */
    assert_true(f->relay.is_closed);
    struct buf none;
    buf_init_fixed(&none, big, sizeof big);
    say(&f->smtpd2, IPC_SIGN_ASK, &none);
    assert_true(f->smtpd2.is_closed);
    assert_false(f->smtpd.is_closed);
}

/* One smtpd dies with a login under way: the others get theirs. */
static void test_asker_gone(void **state)
{
    struct fixture *f = *state;
    struct ipc_auth_ask m = login_of("org.users", "joe", "right");
    ask_login(&f->smtpd, &m);
    ask_login(&f->smtpd2, &m);
    f->smtpd.user->on_closed(f->smtpd.arg, &f->smtpd);
    assert_true(f->smtpd.is_closed);
    work_all(f);
    assert_int_equal(f->smtpd.n_sent, 0);
    assert_int_equal(auth_answer(&f->smtpd2).verdict, AUTH_OK);
}

/* A full channel is not read until its answers are gone. */
static void test_full_channel(void **state)
{
    struct fixture *f = *state;
    char digest[32] = {4};
    struct ipc_auth_ask m = login_of("org.users", "joe", "right");
    f->smtpd.is_full = true;
    ask_sign(&f->smtpd, 1, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, str_of(digest, sizeof digest));
    ask_login(&f->smtpd, &m);
    assert_true(f->smtpd.is_paused);
    f->smtpd.is_full = false;
    work_all(f); /* behind the first, not before it */
    assert_int_equal(f->smtpd.n_sent, 0);
    f->smtpd.user->on_room(f->smtpd.arg, &f->smtpd);
    assert_false(f->smtpd.is_paused);
    assert_int_equal(signed_answer(&f->smtpd).err, ERR_OK);
    assert_int_equal(auth_answer(&f->smtpd).verdict, AUTH_OK);
}

static void test_drain(void **state)
{
    struct fixture *f = *state;
    struct ipc_auth_ask m = login_of("org.users", "joe", "right");
    ask_login(&f->smtpd, &m);
    keys_role.drain(f->self, f->now_ms + 1000);
    assert_int_equal(f->n_drained, 0);
    f->smtpd.is_full = true;
    work_all(f);
    assert_int_equal(f->n_drained, 0);
    f->smtpd.is_full = false;
    f->smtpd.user->on_room(f->smtpd.arg, &f->smtpd);
    assert_int_equal(f->n_drained, 1);
    assert_int_equal(auth_answer(&f->smtpd).verdict, AUTH_OK);
    f->self->drain_timer.fire(&f->self->drain_timer); /* not twice */
    assert_int_equal(f->n_drained, 1);
}

static void test_counters(void **state)
{
    struct fixture *f = *state;
    (void)verdict(f, "joe", "right");
    f->self->count_timer.fire(&f->self->count_timer);
    const struct sent *s = next_sent(&f->admin);
    assert_int_equal(s->type, IPC_COUNTERS);
    struct ipc_counters m;
    assert_true(ipc_decode_counters(str_of(s->bytes, s->n), &m));
    struct reader r = reader_of(m.pairs);
    size_t n = 0;
    while (r.rest.n > 0) {
        struct str name = read_lstr(&r);
        uint64_t value = read_u64(&r);
        if (str_eq(name, STR("keys_held")))
            assert_int_equal(value, 2);
        if (str_eq(name, STR("keys_password_hashes")) || str_eq(name, STR("keys_logins_right")))
            assert_int_equal(value, 1);
        n++;
    }
    assert_true(!r.failed && n == 9);
    keys_role.reload(f->self, &f->config);
    assert_int_equal(f->n_released, 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(test_sign),
        T(test_keys_come_and_go),
        T(test_keys_max),
        T(test_password),
        T(test_nobody),
        T(test_prepared),
        T(test_reload),
        T(test_too_many_guesses),
        T(test_right_ones_are_free),
        T(test_waiting_max),
        T(test_scram),
        T(test_scram_nobody),
        T(test_offer),
        T(test_malformed),
        T(test_asker_gone),
        T(test_full_channel),
        T(test_drain),
        T(test_counters),
    };
    return cmocka_run_group_tests_name("keys", tests, group_setup, group_teardown);
}
