/* service/keys/keys_auth.c: logins: passwords by slow hashes beside the loop, SCRAM on it (RFC 5802 5).
 *
 * A password is looked at as SASLprep has it (RFC 4616 2), and where that is something else and wrong also as
 * it came: files of other systems were made without. What it costs is the octets' doing, not the user's.
 *
 * A user who isn't there costs what one who is costs, and SCRAM shows him a salt that is always the same: the
 * answers tell nothing of who has an account.
 */
#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/saslprep.h"
#include "service/keys/keys.h"

#include <string.h>

enum { PATH_SIZE = 4096, WHY_MAX = 128 };

struct login { /* a password that is being looked at */
    struct compute work;
    struct list link;
    struct keys *keys;
    struct asker *asker; /* NULL: gone meanwhile */
    uint64_t token;
    struct guess guess;
    const struct crypto *crypto;
    struct verifier verifier;
    size_t n_password, n_raw; /* n_raw: 0 where it came prepared, or has no such form */
    char password[SASL_PASSWORD_MAX], raw[SASL_PASSWORD_MAX];
    enum err err; /* results */
    bool is_right;
    unsigned n_hashes;
};

static void answer(struct asker *a, const struct ipc_auth_answer *m)
{
    char mem[512 + WHY_MAX];
    struct buf out;
    buf_init_fixed(&out, mem, sizeof mem);
    must(ipc_encode_auth_answer(m, &out));
    asker_send(a, IPC_AUTH_ANSWER, buf_str(&out));
}

static void answer_verdict(struct asker *a, uint64_t token, enum auth_verdict verdict)
{
    struct ipc_auth_answer m = {.token = token, .verdict = (uint8_t)verdict};
    answer(a, &m);
}

/* For the journal. */
static void answer_later(struct asker *a, uint64_t token, const char *why)
{
    struct ipc_auth_answer m = {
        .token = token, .verdict = AUTH_TEMPORARY, .why = str_slice(str_from_c(why), 0, WHY_MAX)};
    answer(a, &m);
}

/* What a user who isn't there seems to have. The same name in another file has another salt: two that are
 * alike would both be nobody's. */
static enum err nobody(struct keys *k, const struct held_users *h, struct str user, struct verifier *out)
{
    char mem[SASL_NAME_MAX + PATH_SIZE];
    struct buf name;
    buf_init_fixed(&name, mem, sizeof mem);
    (void)buf_put_lstr(&name, str_of(h->name, h->n_name));
    for (size_t i = 0; i < user.n; i++)
        (void)buf_putc(&name, ascii_lower(user.p[i]));
    return name.failed ? ERR_TOO_BIG
                       : verifier_false(k->crypto, h->seed, buf_str(&name), users_like(h->users), out);
}

static enum err verifier_of(struct keys *k, const struct held_users *h, struct str user, struct verifier *out)
{
    return users_find(h->users, user, out) ? ERR_OK : nobody(k, h, user, out);
}

/* ---- passwords ------------------------------------------------------------------------------- */

static void login_del(struct login *x)
{
    list_remove(&x->link);
    x->keys->n_logins--;
    secret_wipe(x, sizeof *x);
    mem_free(x);
}

static void login_run(struct compute *w) /* beside the loop */
{
    struct login *x = container_of(w, struct login, work);
    x->err = verifier_check(x->crypto, &x->verifier, str_of(x->password, x->n_password), &x->is_right);
    x->n_hashes = 1;
    if (x->n_raw == 0 || x->err != ERR_OK || x->is_right)
        return;
    x->err = verifier_check(x->crypto, &x->verifier, str_of(x->raw, x->n_raw), &x->is_right);
    x->n_hashes++;
}

static void login_done(struct compute *w)
{
    struct login *x = container_of(w, struct login, work);
    struct keys *k = x->keys;
    enum auth_verdict verdict = x->err != ERR_OK ? AUTH_TEMPORARY : x->is_right ? AUTH_OK : AUTH_BAD;
    k->count.hashes += x->n_hashes;
    if (verdict == AUTH_OK) {
        k->count.right++;
        guess_right(k->guesses, &x->guess);
    } else if (verdict == AUTH_BAD) {
        k->count.wrong++;
    } else {
        guess_undo(k->guesses, &x->guess);
        log_error(world_log(k->world), "login.failed", LERR(x->err));
    }
    if (x->asker != NULL && verdict == AUTH_TEMPORARY)
        answer_later(x->asker, x->token, err_str(x->err));
    else if (x->asker != NULL)
        answer_verdict(x->asker, x->token, verdict);
    login_del(x);
    keys_look_drained(k);
}

static void take_password(struct login *x, struct str given)
{
    struct buf prepared;
    buf_init_fixed(&prepared, x->password, sizeof x->password);
    if (saslprep(given, SASLPREP_QUERY, &prepared) != SASLPREP_OK || prepared.n == 0) {
        x->n_password = given.n;
        if (given.n > 0)
            memcpy(x->password, given.p, given.n);
        return;
    }
    x->n_password = prepared.n;
    if (str_eq(buf_str(&prepared), given))
        return;
    x->n_raw = given.n;
    memcpy(x->raw, given.p, given.n);
}

static void password(struct asker *a, const struct held_users *h, const struct ipc_auth_ask *m,
                     const struct guess *g)
{
    struct keys *k = a->keys;
    struct login *x = k->n_logins >= KEYS_WAITING_MAX ? NULL : mem_new(struct login);
    if (x == NULL || verifier_of(k, h, m->user, &x->verifier) != ERR_OK) {
        mem_free(x);
        k->count.busy++;
        guess_undo(k->guesses, g);
        answer_later(a, m->token,
                     k->n_logins >= KEYS_WAITING_MAX ? "too many passwords wait to be looked at"
                                                     : "no memory");
        return;
    }
    x->work = (struct compute){.run = login_run, .done = login_done};
    x->keys = k;
    x->crypto = k->crypto;
    x->asker = a;
    x->token = m->token;
    x->guess = *g;
    take_password(x, m->secret);
    list_init(&x->link);
    list_push_back(&k->logins, &x->link);
    k->n_logins++;
    workers_submit(k->workers, &x->work);
}

void keys_forget_asker(struct keys *k, const struct asker *a)
{
    list_each (l, &k->logins) {
        struct login *x = list_entry(l, struct login, link);
        if (x->asker == a)
            x->asker = NULL;
    }
}

void keys_forget_logins(struct keys *k)
{
    list_each (l, &k->logins)
        login_del(list_entry(l, struct login, link));
}

/* ---- SCRAM ----------------------------------------------------------------------------------- */

/* One who has no verifier of this hash is nobody to whoever asks for it. */
static enum err scram_of(struct keys *k, const struct held_users *h, const struct ipc_auth_ask *m,
                         struct verifier *out)
{
    enum err e = verifier_of(k, h, m->user, out);
    if (e != ERR_OK || out->has_scram[m->hash])
        return e;
    secret_wipe(out, sizeof *out);
    return nobody(k, h, m->user, out);
}

static void scram_first(struct asker *a, const struct held_users *h, const struct ipc_auth_ask *m)
{
    struct verifier v;
    enum err e = scram_of(a->keys, h, m, &v);
    const struct scram_verifier *s = &v.scram[m->hash];
    struct ipc_auth_answer ok = {.token = m->token,
                                 .verdict = AUTH_OK,
                                 .salt = str_of(s->salt, s->n_salt),
                                 .iterations = s->iterations};
    if (e == ERR_OK)
        answer(a, &ok);
    else
        answer_later(a, m->token, err_str(e));
    secret_wipe(&v, sizeof v);
}

static void scram_final(struct asker *a, const struct held_users *h, const struct ipc_auth_ask *m,
                        const struct guess *g)
{
    struct keys *k = a->keys;
    struct verifier v;
    uint8_t signature[SCRAM_KEY_MAX];
    bool is_right = false;
    enum scram_hash hash = (enum scram_hash)m->hash;
    enum err e = scram_of(k, h, m, &v);
    if (e == ERR_OK)
        e = verifier_check_proof(k->crypto, &v, hash, m->message, m->secret, &is_right, signature);
    secret_wipe(&v, sizeof v);
    k->count.proofs++;
    if (e != ERR_OK) {
        guess_undo(k->guesses, g);
        answer_later(a, m->token, err_str(e));
    } else if (!is_right) {
        k->count.wrong++;
        answer_verdict(a, m->token, AUTH_BAD);
    } else {
        k->count.right++;
        guess_right(k->guesses, g);
        struct ipc_auth_answer ok = {
            .token = m->token, .verdict = AUTH_OK, .signature = str_of(signature, scram_size(hash))};
        answer(a, &ok);
    }
}

/* ---- both ------------------------------------------------------------------------------------ */

/* Two files may have users of one name. */
static bool guess_of(struct keys *k, const struct ipc_auth_ask *m, struct guess *out)
{
    char mem[SASL_NAME_MAX + PATH_SIZE];
    struct buf user;
    buf_init_fixed(&user, mem, sizeof mem);
    (void)buf_put_lstr(&user, m->file);
    for (size_t i = 0; i < m->user.n; i++)
        (void)buf_putc(&user, ascii_lower(m->user.p[i]));
    return guess_begin(k->guesses, buf_str(&user), m->client, out);
}

bool keys_login(struct asker *a, const struct ipc_auth_ask *m)
{
    struct keys *k = a->keys;
    bool is_scram = m->kind == AUTH_SCRAM_FIRST || m->kind == AUTH_SCRAM_FINAL;
    if ((!is_scram && m->kind != AUTH_PASSWORD) || (is_scram && m->hash >= SCRAM_HASHES) ||
        m->user.n > SASL_NAME_MAX || m->secret.n > SASL_PASSWORD_MAX || m->message.n > AUTH_MESSAGE_MAX)
        return false; /* the asker has the same bounds */
    const struct held_users *h = keys_find_users(k, m->file);
    struct guess g;
    if (h == NULL) {
        answer_later(a, m->token, "the file of these users is not at hand");
    } else if (!guess_of(k, m, &g)) {
        k->count.too_many++;
        answer_verdict(a, m->token, AUTH_TOO_MANY);
    } else if (m->kind == AUTH_SCRAM_FIRST) {
        guess_undo(k->guesses, &g); /* no guess yet */
        scram_first(a, h, m);
    } else if (m->kind == AUTH_SCRAM_FINAL) {
        scram_final(a, h, m, &g);
    } else {
        password(a, h, m, &g);
    }
    return true;
}
