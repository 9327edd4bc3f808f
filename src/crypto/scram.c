#include "crypto/scram.h"

#include "crypto/secret.h"

#include <string.h>

enum digest scram_digest(enum scram_hash h)
{
    must((size_t)h < SCRAM_HASHES);
    return h == SCRAM_SHA1 ? DIGEST_SHA1 : DIGEST_SHA256;
}

size_t scram_size(enum scram_hash h)
{
    return digest_size(scram_digest(h));
}

static enum err hmac_of(const struct crypto *c, enum scram_hash h, const uint8_t *key, struct str text,
                        uint8_t *out)
{
    return digest_hmac(c, scram_digest(h), str_of(key, scram_size(h)), &text, 1, out);
}

static enum err stored_key_of(const struct crypto *c, enum scram_hash h, const uint8_t *client_key,
                              uint8_t *out)
{
    struct str piece = str_of(client_key, scram_size(h));
    return digest_of(c, scram_digest(h), &piece, 1, out);
}

enum err scram_derive(const struct crypto *c, enum scram_hash h, struct str password, struct str salt,
                      uint32_t iterations, struct scram_keys *out)
{
    uint8_t salted[SCRAM_KEY_MAX];
    if (iterations < SCRAM_ITERATIONS_MIN || iterations > SCRAM_ITERATIONS_MAX)
        return ERR_TOO_BIG;
    enum err e = digest_pbkdf2(c, scram_digest(h), password, salt, iterations, salted, scram_size(h));
    if (e == ERR_OK)
        e = hmac_of(c, h, salted, STR("Client Key"), out->client_key);
    if (e == ERR_OK)
        e = hmac_of(c, h, salted, STR("Server Key"), out->server_key);
    if (e == ERR_OK)
        e = stored_key_of(c, h, out->client_key, out->stored_key);
    secret_wipe(salted, sizeof salted);
    if (e != ERR_OK)
        secret_wipe(out, sizeof *out);
    return e;
}

static void mix(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] ^ b[i];
}

enum err scram_proof(const struct crypto *c, enum scram_hash h, const struct scram_keys *k,
                     struct str auth_message, uint8_t out[SCRAM_KEY_MAX])
{
    enum err e = hmac_of(c, h, k->stored_key, auth_message, out);
    if (e == ERR_OK)
        mix(out, out, k->client_key, scram_size(h));
    return e;
}

enum err scram_signature(const struct crypto *c, enum scram_hash h, const uint8_t server_key[SCRAM_KEY_MAX],
                         struct str auth_message, uint8_t out[SCRAM_KEY_MAX])
{
    return hmac_of(c, h, server_key, auth_message, out);
}

enum err scram_check(const struct crypto *c, enum scram_hash h, const struct scram_verifier *v,
                     struct str auth_message, struct str proof, bool *ok, uint8_t signature[SCRAM_KEY_MAX])
{
    uint8_t client_key[SCRAM_KEY_MAX], stored_key[SCRAM_KEY_MAX];
    size_t n = scram_size(h);
    *ok = false;
    if (proof.n != n)
        return ERR_OK;
    enum err e = hmac_of(c, h, v->stored_key, auth_message, client_key);
    if (e == ERR_OK) {
        mix(client_key, client_key, (const uint8_t *)proof.p, n);
        e = stored_key_of(c, h, client_key, stored_key);
    }
    bool same = e == ERR_OK && secret_eq(str_of(stored_key, n), str_of(v->stored_key, n));
    if (same)
        e = scram_signature(c, h, v->server_key, auth_message, signature);
    *ok = same && e == ERR_OK;
    secret_wipe(client_key, sizeof client_key); /* with it anybody could log in */
    return e;
}

enum err scram_check_password(const struct crypto *c, enum scram_hash h, const struct scram_verifier *v,
                              struct str password, bool *ok)
{
    struct scram_keys k;
    *ok = false;
    enum err e = scram_derive(c, h, password, str_of(v->salt, v->n_salt), v->iterations, &k);
    if (e == ERR_OK)
        *ok = secret_eq(str_of(k.stored_key, scram_size(h)), str_of(v->stored_key, scram_size(h)));
    secret_wipe(&k, sizeof k);
    return e;
}

enum err scram_make(const struct crypto *c, enum scram_hash h, struct str password, struct str salt,
                    uint32_t iterations, struct scram_verifier *out)
{
    struct scram_keys k;
    if (salt.n < 1 || salt.n > SCRAM_SALT_MAX)
        return ERR_TOO_BIG;
    enum err e = scram_derive(c, h, password, salt, iterations, &k);
    *out = (struct scram_verifier){0};
    if (e == ERR_OK) {
        out->iterations = iterations;
        out->n_salt = (uint32_t)salt.n;
        memcpy(out->salt, salt.p, salt.n);
        memcpy(out->stored_key, k.stored_key, sizeof k.stored_key);
        memcpy(out->server_key, k.server_key, sizeof k.server_key);
    }
    secret_wipe(&k, sizeof k);
    return e;
}
