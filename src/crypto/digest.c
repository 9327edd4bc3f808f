#include "crypto/digest.h"

#include "base/mem.h"
#include "crypto/crypto_impl.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

struct row {
    const char *name;
    size_t size;
};

static const struct row *row_of(enum digest d)
{
    static const struct row rows[DIGEST_KINDS] = {
        [DIGEST_SHA1] = {"SHA1", 20}, [DIGEST_SHA256] = {"SHA256", 32}, [DIGEST_SHA512] = {"SHA512", 64}};
    must((size_t)d < DIGEST_KINDS);
    return &rows[d];
}

size_t digest_size(enum digest d)
{
    return row_of(d)->size;
}

const char *digest_library_name(enum digest d)
{
    return row_of(d)->name;
}

/* The library takes an absent pointer for an absent value, even where there are no octets. */
static const void *octets(struct str s)
{
    return s.n == 0 ? "" : s.p;
}

static OSSL_PARAM text_param(const char *key, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(key, (char *)(uintptr_t)value, 0);
}

static OSSL_PARAM octets_param(const char *key, struct str s)
{
    return OSSL_PARAM_construct_octet_string(key, (void *)(uintptr_t)octets(s), s.n);
}

enum err digest_of(const struct crypto *c, enum digest d, const struct str *pieces, size_t n, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex2(ctx, c->digests[d], NULL) == 1;
    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_DigestUpdate(ctx, pieces[i].p, pieces[i].n) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return ok ? ERR_OK : ERR_NOMEM;
}

enum err digest_hmac(const struct crypto *c, enum digest d, struct str key, const struct str *pieces,
                     size_t n, uint8_t *out)
{
    OSSL_PARAM params[] = {text_param(OSSL_MAC_PARAM_DIGEST, digest_library_name(d)), OSSL_PARAM_END};
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(c->hmac);
    size_t size = 0;
    bool ok = ctx != NULL && EVP_MAC_init(ctx, octets(key), key.n, params) == 1;
    for (size_t i = 0; i < n && ok; i++)
        ok = EVP_MAC_update(ctx, octets(pieces[i]), pieces[i].n) == 1;
    ok = ok && EVP_MAC_final(ctx, out, &size, digest_size(d)) == 1 && size == digest_size(d);
    EVP_MAC_CTX_free(ctx);
    return ok ? ERR_OK : ERR_NOMEM;
}

enum err digest_pbkdf2(const struct crypto *c, enum digest d, struct str password, struct str salt,
                       uint32_t iterations, uint8_t *out, size_t out_n)
{
    if (iterations < 1 || iterations > PBKDF2_ITERATIONS_MAX || out_n < 1 || out_n > PBKDF2_SIZE_MAX)
        return ERR_TOO_BIG;
    uint64_t count = iterations;
    int plain = 1; /* without the lower bounds of SP 800-132: salts of others are as long as they are */
    OSSL_PARAM params[] = {text_param(OSSL_KDF_PARAM_DIGEST, digest_library_name(d)),
                           octets_param(OSSL_KDF_PARAM_PASSWORD, password),
                           octets_param(OSSL_KDF_PARAM_SALT, salt),
                           OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_ITER, &count),
                           OSSL_PARAM_construct_int(OSSL_KDF_PARAM_PKCS5, &plain),
                           OSSL_PARAM_END};
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(c->pbkdf2);
    bool ok = ctx != NULL && EVP_KDF_derive(ctx, out, out_n, params) == 1;
    EVP_KDF_CTX_free(ctx);
    return ok ? ERR_OK : ERR_NOMEM;
}

struct digester {
    EVP_MD_CTX *ctx;
    const EVP_MD *kind;
    bool ok;
};

struct digester *digester_new(const struct crypto *c, enum digest d)
{
    must((size_t)d < DIGEST_KINDS);
    struct digester *g = mem_new(struct digester);
    if (g == NULL)
        return NULL;
    g->kind = c->digests[d];
    g->ctx = EVP_MD_CTX_new();
    g->ok = g->ctx != NULL && EVP_DigestInit_ex2(g->ctx, g->kind, NULL) == 1;
    if (!g->ok)
        digester_del(&g);
    return g;
}

void digester_add(struct digester *d, struct str piece)
{
    d->ok = d->ok && EVP_DigestUpdate(d->ctx, piece.p, piece.n) == 1;
}

enum err digester_end(struct digester *d, uint8_t *out)
{
    bool ok = d->ok && EVP_DigestFinal_ex(d->ctx, out, NULL) == 1;
    d->ok = EVP_DigestInit_ex2(d->ctx, d->kind, NULL) == 1;
    return ok ? ERR_OK : ERR_NOMEM;
}

void digester_del(struct digester **d)
{
    if (*d == NULL)
        return;
    EVP_MD_CTX_free((*d)->ctx);
    mem_free(*d);
    *d = NULL;
}
