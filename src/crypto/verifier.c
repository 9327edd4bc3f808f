#include "crypto/verifier.h"

#include "base/base64.h"
#include "crypto/crypt_form.h"
#include "crypto/secret.h"

#include <string.h>

static struct str scheme_of(enum scram_hash h)
{
    return h == SCRAM_SHA1 ? STR("{SCRAM-SHA-1}") : STR("{SCRAM-SHA-256}");
}

static bool take_octets(struct str text, void *mem, size_t n_min, size_t n_max, uint32_t *n)
{
    struct buf b;
    buf_init_fixed(&b, mem, n_max);
    if (!base64_take(text, &b) || b.n < n_min)
        return false;
    *n = (uint32_t)b.n;
    return true;
}

static const char *take_scram(struct str text, enum scram_hash h, struct verifier *out)
{
    struct scram_verifier *v = &out->scram[h];
    uint64_t iterations;
    uint32_t n;
    size_t size = scram_size(h);
    if (out->has_scram[h])
        return "a form stands there twice";
    struct str number = str_cut(&text, ',');
    struct str salt = str_cut(&text, ',');
    struct str stored = str_cut(&text, ',');
    if (!str_to_u64(number, UINT32_MAX, &iterations))
        return "a SCRAM form is {NAME}iterations,salt,StoredKey,ServerKey";
    if (iterations < SCRAM_ITERATIONS_MIN)
        return "a SCRAM form needs 4096 iterations or more (RFC 7677 4)";
    if (iterations > SCRAM_ITERATIONS_MAX)
        return "more than a million iterations of SCRAM take too long for a login";
    if (!take_octets(salt, v->salt, 1, sizeof v->salt, &v->n_salt) ||
        !take_octets(stored, v->stored_key, size, size, &n) ||
        !take_octets(text, v->server_key, size, size, &n))
        return "salt and keys of a SCRAM form are base64, the keys as long as its hash";
    v->iterations = (uint32_t)iterations;
    out->has_scram[h] = true;
    return NULL;
}

static const char *take_crypt(struct str form, const char *prefix, struct verifier *out)
{
    if (out->crypt[0] != '\0')
        return "a form stands there twice";
    if (prefix != NULL && !str_starts(form, str_from_c(prefix)))
        return "the crypt(5) form is not of the kind that stands in braces before it";
    const char *why = crypt_form_problem(form);
    if (why == NULL && !str_to_c(form, out->crypt, sizeof out->crypt))
        why = "a NUL stands in a form";
    return why;
}

struct scheme {
    struct str name;
    const char *prefix;
};

static const char *take_form(struct str form, struct verifier *out)
{
    static const struct scheme schemes[] = {{STR_INIT("{CRYPT}"), NULL},
                                            {STR_INIT("{SHA512-CRYPT}"), "$6$"},
                                            {STR_INIT("{SHA256-CRYPT}"), "$5$"},
                                            {STR_INIT("{BLF-CRYPT}"), "$2"}};
    for (unsigned h = 0; h < SCRAM_HASHES; h++) {
        struct str name = scheme_of((enum scram_hash)h);
        if (str_istarts(form, name))
            return take_scram(str_skip(form, name.n), (enum scram_hash)h, out);
    }
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (str_istarts(form, schemes[i].name))
            return take_crypt(str_skip(form, schemes[i].name.n), schemes[i].prefix, out);
    }
    if (str_istarts(form, STR("{PLAIN}")) || str_istarts(form, STR("{CLEARTEXT}")))
        return "passwords in clear text are not taken, only verifiers of them";
    if (str_starts(form, STR("{")))
        return "a scheme that is not known: {SCRAM-SHA-256}, {SCRAM-SHA-1}, {CRYPT}, {BLF-CRYPT}, "
               "{SHA512-CRYPT} "
               "and {SHA256-CRYPT} are";
    return take_crypt(form, NULL, out);
}

const char *verifier_parse(struct str text, struct verifier *out)
{
    const char *why = NULL;
    *out = (struct verifier){.is_false = true};
    if (text.n == 0)
        return "an empty password field: write ! to lock the account";
    if (text.n > VERIFIER_TEXT_MAX)
        return "a password field has at most 1024 characters";
    if (text.p[0] == '!' || text.p[0] == '*')
        return NULL;
    out->is_false = false;
    bool more = true;
    while (more && why == NULL) {
        more = str_chr(text, ';') != STR_NPOS;
        why = take_form(str_cut(&text, ';'), out);
    }
    if (why != NULL)
        *out = (struct verifier){.is_false = true};
    else
        out->asks = out->crypt[0] != '\0'          ? VERIFIER_CRYPT
                    : out->has_scram[SCRAM_SHA256] ? VERIFIER_SCRAM_SHA256
                                                   : VERIFIER_SCRAM_SHA1;
    return why;
}

enum err verifier_check(const struct crypto *c, const struct verifier *v, struct str password, bool *ok)
{
    enum err e = ERR_OK;
    *ok = false;
    if (str_chr(password, '\0') != STR_NPOS) /* HMAC pads its key with zeros: "x" and "x\0" are one to it */
        return ERR_OK;
    switch (v->asks) {
    case VERIFIER_NONE:
        break;
    case VERIFIER_CRYPT:
        e = crypt_form_check(v->crypt, password, ok);
        break;
    case VERIFIER_SCRAM_SHA256:
        e = scram_check_password(c, SCRAM_SHA256, &v->scram[SCRAM_SHA256], password, ok);
        break;
    case VERIFIER_SCRAM_SHA1:
        e = scram_check_password(c, SCRAM_SHA1, &v->scram[SCRAM_SHA1], password, ok);
        break;
    }
    *ok = *ok && !v->is_false;
    return e;
}

enum err verifier_check_proof(const struct crypto *c, const struct verifier *v, enum scram_hash h,
                              struct str auth_message, struct str proof, bool *ok,
                              uint8_t signature[SCRAM_KEY_MAX])
{
    must(v->has_scram[h]);
    enum err e = scram_check(c, h, &v->scram[h], auth_message, proof, ok, signature);
    *ok = *ok && !v->is_false;
    return e;
}

bool verifier_put_scram(struct buf *out, enum scram_hash h, const struct scram_verifier *v)
{
    buf_put(out, scheme_of(h));
    buf_printf(out, "%u,", v->iterations);
    base64_put(out, str_of(v->salt, v->n_salt));
    buf_putc(out, ',');
    base64_put(out, str_of(v->stored_key, scram_size(h)));
    buf_putc(out, ',');
    return base64_put(out, str_of(v->server_key, scram_size(h))) && !out->failed;
}

enum err verifier_make(const struct crypto *c, struct str password, const uint8_t random[VERIFIER_SECRET],
                       uint32_t iterations, struct buf *out)
{
    static const enum scram_hash order[] = {SCRAM_SHA256, SCRAM_SHA1};
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(order) && e == ERR_OK; i++) {
        struct scram_verifier v;
        e = scram_make(c, order[i], password, str_of(random + i * VERIFIER_SALT, VERIFIER_SALT), iterations,
                       &v);
        if (e == ERR_OK && ((i > 0 && !buf_putc(out, ';')) || !verifier_put_scram(out, order[i], &v)))
            e = ERR_NOMEM;
    }
    return e;
}

/* Octets that only the secret's owner can tell from random ones. */
static enum err made_up(const struct crypto *c, const uint8_t *secret, struct str what, struct str user,
                        uint8_t out[DIGEST_MAX])
{
    const struct str pieces[] = {what, str_of("", 1), user}; /* a NUL parts them */
    return digest_hmac(c, DIGEST_SHA512, str_of(secret, VERIFIER_SECRET), pieces, ARRAY_LEN(pieces), out);
}

static enum err false_scram(const struct crypto *c, const uint8_t *secret, struct str user, enum scram_hash h,
                            struct scram_verifier *v)
{
    uint8_t salt[DIGEST_MAX], keys[DIGEST_MAX];
    enum err e = made_up(c, secret, h == SCRAM_SHA1 ? STR("salt 1") : STR("salt 256"), user, salt);
    if (e == ERR_OK)
        e = made_up(c, secret, h == SCRAM_SHA1 ? STR("keys 1") : STR("keys 256"), user, keys);
    if (e != ERR_OK)
        return e;
    memcpy(v->salt, salt, v->n_salt);
    memcpy(v->stored_key, keys, SCRAM_KEY_MAX);
    memcpy(v->server_key, keys + SCRAM_KEY_MAX, SCRAM_KEY_MAX);
    return ERR_OK;
}

enum err verifier_false(const struct crypto *c, const uint8_t secret[VERIFIER_SECRET], struct str user,
                        const struct verifier *like, struct verifier *out)
{
    struct verifier v = {.asks = VERIFIER_SCRAM_SHA256, .is_false = true};
    enum err e = ERR_OK;
    *out = v;
    if (like != NULL && like->asks != VERIFIER_NONE)
        v = *like;
    v.is_false = true;
    for (unsigned i = 0; i < SCRAM_HASHES && e == ERR_OK; i++) {
        const enum scram_hash h = (enum scram_hash)i, other = h == SCRAM_SHA1 ? SCRAM_SHA256 : SCRAM_SHA1;
        struct scram_verifier *s = &v.scram[h];
        if (!v.has_scram[h]) {
            s->iterations = v.has_scram[other] ? v.scram[other].iterations : SCRAM_ITERATIONS_DEFAULT;
            s->n_salt = VERIFIER_SALT;
            v.has_scram[h] = true;
        }
        e = false_scram(c, secret, user, h, s);
    }
    if (e == ERR_OK)
        *out = v;
    return e;
}
