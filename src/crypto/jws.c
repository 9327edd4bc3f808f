#include "crypto/jws.h"

#include "base/base64.h"
#include "base/mem.h"
#include "crypto/crypto_impl.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include <string.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, COORDINATE_MAX = 48, DER_MAX = 2 * COORDINATE_MAX + 16 };

struct jws_key {
    const struct crypto *crypto;
    EVP_PKEY *pkey;
    enum jwk_type type;
    enum jws_alg alg;
    size_t n_kid;
    char kid[JWS_KID_MAX];
};

struct row {
    const char *name, *digest; /* digest NULL: the algorithm's own */
    enum jwk_type type;
    bool is_pss;
};

static const struct row *row_of(enum jws_alg alg)
{
    static const struct row rows[JWS_ALGS] = {
        [JWS_RS256] = {"RS256", "SHA256", JWK_RSA, false},
        [JWS_RS384] = {"RS384", "SHA384", JWK_RSA, false},
        [JWS_RS512] = {"RS512", "SHA512", JWK_RSA, false},
        [JWS_PS256] = {"PS256", "SHA256", JWK_RSA, true},
        [JWS_PS384] = {"PS384", "SHA384", JWK_RSA, true},
        [JWS_PS512] = {"PS512", "SHA512", JWK_RSA, true},
        [JWS_ES256] = {"ES256", "SHA256", JWK_P256, false},
        [JWS_ES384] = {"ES384", "SHA384", JWK_P384, false},
        [JWS_EDDSA] = {"EdDSA", NULL, JWK_ED25519, false},
    };
    must((size_t)alg < JWS_ALGS);
    return &rows[alg];
}

enum jws_alg jws_alg_of(struct str name)
{
    for (size_t i = 1; i < JWS_ALGS; i++) {
        if (str_eq(name, str_from_c(row_of((enum jws_alg)i)->name)))
            return (enum jws_alg)i;
    }
    return JWS_NO_ALG;
}

/* ---- the token ---------------- */

static bool take_part(struct str text, struct buf *mem, struct str *out)
{
    size_t start = mem->n;
    if (text.n == 0 || !base64url_take(text, mem))
        return false;
    *out = str_skip(buf_str(mem), start);
    return true;
}

bool jws_split(struct str token, struct buf *mem, struct jws *out)
{
    size_t last = str_rchr(token, '.');
    *out = (struct jws){.header = STR_NIL};
    if (token.n > JWS_TOKEN_MAX || last == STR_NPOS)
        return false;
    buf_reset(mem);
    out->input = str_slice(token, 0, last);
    struct str payload = out->input;
    struct str header = str_cut(&payload, '.');
    /* all room first: what is decoded does not move */
    return buf_reserve(mem, JWS_OCTETS_MAX) && take_part(header, mem, &out->header) &&
           take_part(payload, mem, &out->payload) &&
           take_part(str_skip(token, last + 1), mem, &out->signature);
}

/* ---- keys ---------------- */

static const char *check_rsa(const struct jwk *k)
{
    size_t n_zero = 0;
    while (n_zero < k->a.n && k->a.p[n_zero] == '\0')
        n_zero++;
    if (k->a.n - n_zero > RSA_BITS_MAX / 8 || k->b.n == 0 || k->b.n > JWS_EXPONENT_MAX)
        return "an RSA key is too big, or is none";
    if (k->a.n - n_zero < RSA_BITS_MIN / 8)
        return "an RSA key has less than 2048 bits";
    bool is_odd = (k->a.p[k->a.n - 1] & 1) != 0 && (k->b.p[k->b.n - 1] & 1) != 0;
    bool is_one = k->b.p[k->b.n - 1] == 1;
    for (size_t i = 0; i + 1 < k->b.n; i++)
        is_one = is_one && k->b.p[i] == '\0';
    return is_odd && !is_one ? NULL : "an RSA key is none";
}

static BIGNUM *number_of(struct str s)
{
    return BN_bin2bn((const unsigned char *)s.p, (int)s.n, NULL);
}

static EVP_PKEY *from_params(const struct crypto *c, const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = params == NULL ? NULL : EVP_PKEY_CTX_new_from_name(c->lib, type, NULL);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *rsa_key(const struct crypto *c, const struct jwk *k)
{
    BIGNUM *n = number_of(k->a), *e = number_of(k->b);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (n != NULL && e != NULL && b != NULL && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(b);
    EVP_PKEY *pkey = from_params(c, "RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    BN_free(n);
    BN_free(e);
    if (pkey == NULL || EVP_PKEY_get_bits(pkey) >= RSA_BITS_MIN)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

static size_t coordinate_size(enum jwk_type type)
{
    return type == JWK_P256 ? 32 : 48;
}

static EVP_PKEY *ec_key(const struct crypto *c, const struct jwk *k)
{
    const size_t size = coordinate_size(k->type);
    unsigned char point[1 + 2 * COORDINATE_MAX] = {POINT_CONVERSION_UNCOMPRESSED};
    char *curve = k->type == JWK_P256 ? (char[]){"P-256"} : (char[]){"P-384"};
    memcpy(point + 1, k->a.p, size);
    memcpy(point + 1 + size, k->b.p, size);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size),
                           OSSL_PARAM_END};
    return from_params(c, "EC", params); /* which refuses what is beside the curve */
}

static const char *check_parts(const struct jwk *k)
{
    const size_t size = coordinate_size(k->type);
    switch (k->type) {
    case JWK_RSA:
        return check_rsa(k);
    case JWK_P256:
    case JWK_P384:
        return k->a.n == size && k->b.n == size ? NULL : "the coordinates of a key have a wrong length";
    case JWK_ED25519:
        return k->a.n == 32 ? NULL : "an Ed25519 key has a wrong length";
    case JWK_NO_TYPE:
        break;
    }
    return "a key is of a type that is not taken";
}

static EVP_PKEY *pkey_of(const struct crypto *c, const struct jwk *k)
{
    if (k->type == JWK_ED25519)
        return EVP_PKEY_new_raw_public_key_ex(c->lib, "ED25519", NULL, (const unsigned char *)k->a.p, k->a.n);
    return k->type == JWK_RSA ? rsa_key(c, k) : ec_key(c, k);
}

enum err jws_key_new(const struct crypto *c, const struct jwk *k, struct jws_key **out, const char **why)
{
    *out = NULL;
    *why = check_parts(k);
    if (*why == NULL && k->alg != JWS_NO_ALG && row_of(k->alg)->type != k->type)
        *why = "the algorithm of a key is none of its type";
    if (*why == NULL && k->kid.n > JWS_KID_MAX)
        *why = "the kid of a key is too long";
    if (*why != NULL)
        return ERR_INVALID;
    struct jws_key *key = mem_new(struct jws_key);
    if (key == NULL)
        return ERR_NOMEM;
    *key = (struct jws_key){.crypto = c, .type = k->type, .alg = k->alg, .n_kid = k->kid.n};
    if (k->kid.n > 0)
        memcpy(key->kid, k->kid.p, k->kid.n);
    key->pkey = pkey_of(c, k);
    ERR_clear_error();
    if (key->pkey == NULL) {
        *why = "the numbers of a key make none";
        mem_free(key);
        return ERR_INVALID;
    }
    *out = key;
    return ERR_OK;
}

void jws_key_del(struct jws_key **k)
{
    if (*k == NULL)
        return;
    EVP_PKEY_free((*k)->pkey);
    mem_free(*k);
    *k = NULL;
}

struct str jws_key_id(const struct jws_key *k)
{
    return str_of(k->kid, k->n_kid);
}

bool jws_key_fits(const struct jws_key *k, enum jws_alg alg)
{
    return alg != JWS_NO_ALG && row_of(alg)->type == k->type && (k->alg == JWS_NO_ALG || k->alg == alg);
}

/* ---- signatures ---------------- */

/* RFC 7518 3.4: R and S one behind the other, each as long as a coordinate. 0: it is none. */
static size_t der_of(enum jwk_type type, struct str signature, unsigned char out[DER_MAX])
{
    const size_t size = coordinate_size(type);
    if (signature.n != 2 * size)
        return 0;
    ECDSA_SIG *s = ECDSA_SIG_new();
    BIGNUM *r = number_of(str_slice(signature, 0, size)), *t = number_of(str_skip(signature, size));
    int n = 0;
    if (s != NULL && r != NULL && t != NULL && ECDSA_SIG_set0(s, r, t) == 1) {
        unsigned char *p = out;
        r = t = NULL; /* they are the signature's now */
        n = i2d_ECDSA_SIG(s, NULL) <= DER_MAX ? i2d_ECDSA_SIG(s, &p) : 0;
    }
    BN_free(r);
    BN_free(t);
    ECDSA_SIG_free(s);
    return n > 0 ? (size_t)n : 0;
}

/* RFC 7518 3.5: the salt is as long as the digest, which MGF1 uses, too. */
static bool set_padding(EVP_PKEY_CTX *ctx, const struct row *row)
{
    if (row->type != JWK_RSA)
        return true;
    if (!row->is_pss)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

enum err jws_verify(const struct jws_key *k, enum jws_alg alg, struct str input, struct str signature,
                    bool *ok)
{
    must(jws_key_fits(k, alg));
    const struct row *row = row_of(alg);
    unsigned char der[DER_MAX];
    *ok = false;
    if (row->type == JWK_P256 || row->type == JWK_P384)
        signature = str_of(der, der_of(row->type, signature, der));
    if (signature.n == 0)
        return ERR_OK;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *of_key = NULL;
    enum err e = ERR_NOMEM;
    if (ctx != NULL &&
        EVP_DigestVerifyInit_ex(ctx, &of_key, row->digest, k->crypto->lib, NULL, k->pkey, NULL) == 1 &&
        set_padding(of_key, row)) {
        *ok = EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n,
                               (const unsigned char *)input.p, input.n) == 1;
        e = ERR_OK;
    }
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return e;
}
