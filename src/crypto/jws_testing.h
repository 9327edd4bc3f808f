/* crypto/jws_testing.h: keys of the library's, as a JWK has their public part, and tokens signed by them. */
#pragma once
#include "base/base64.h"
#include "crypto/jws.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { JWS_PAIR_MAX = 1100 };

struct jws_pair { /* a key of the library's, and as a JWK has its public part */
    EVP_PKEY *pkey;
    struct jwk jwk;
    unsigned char a[JWS_PAIR_MAX], b[JWS_PAIR_MAX];
};

static inline size_t jws_take_number(EVP_PKEY *pkey, const char *name, unsigned char *out, size_t size)
{
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &n), 1);
    size = size > 0 ? size : (size_t)BN_num_bytes(n);
    assert_true(size <= JWS_PAIR_MAX && BN_bn2binpad(n, out, (int)size) == (int)size);
    BN_free(n);
    return size;
}

static inline void jws_pair_of(struct jws_pair *p, EVP_PKEY *pkey, enum jwk_type type)
{
    size_t n_a = JWS_PAIR_MAX, n_b = 0, size = type == JWK_P256 ? 32 : 48;
    assert_non_null(pkey);
    *p = (struct jws_pair){.pkey = pkey, .jwk = {.type = type, .kid = STR("one")}};
    if (type == JWK_RSA) {
        n_a = jws_take_number(pkey, OSSL_PKEY_PARAM_RSA_N, p->a, 0);
        n_b = jws_take_number(pkey, OSSL_PKEY_PARAM_RSA_E, p->b, 0);
    } else if (type == JWK_ED25519) {
        assert_int_equal(EVP_PKEY_get_raw_public_key(pkey, p->a, &n_a), 1);
    } else {
        n_a = jws_take_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, p->a, size);
        n_b = jws_take_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, p->b, size);
    }
    p->jwk.a = str_of(p->a, n_a);
    p->jwk.b = str_of(p->b, n_b);
}

/* As a JWS has it. salt: of PSS, in octets; 0: PKCS #1. */
static inline struct str jws_pair_sign(const struct jws_pair *p, const char *digest, int salt,
                                       struct str input, unsigned char out[JWS_PAIR_MAX])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *of_key = NULL;
    size_t n = JWS_PAIR_MAX;
    unsigned char der[JWS_PAIR_MAX];
    const bool is_ec = p->jwk.type == JWK_P256 || p->jwk.type == JWK_P384;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, &of_key, digest, NULL, NULL, p->pkey, NULL), 1);
    if (salt > 0) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(of_key, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(of_key, salt), 1);
    }
    assert_int_equal(EVP_DigestSign(ctx, is_ec ? der : out, &n, (const unsigned char *)input.p, input.n), 1);
    EVP_MD_CTX_free(ctx);
    if (!is_ec)
        return str_of(out, n);
    const unsigned char *at = der;
    int size = p->jwk.type == JWK_P256 ? 32 : 48;
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &at, (long)n);
    assert_non_null(s);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(s), out, size), size);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(s), out + size, size), size);
    ECDSA_SIG_free(s);
    return str_of(out, 2 * (size_t)size);
}

static inline EVP_PKEY *jws_pair_make(enum jwk_type type)
{
    return type == JWK_RSA    ? EVP_RSA_gen(2048)
           : type == JWK_P256 ? EVP_EC_gen("P-256")
           : type == JWK_P384 ? EVP_EC_gen("P-384")
                              : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

/* Base64 in the alphabet of URLs, without padding. */
static inline void jws_put_url(struct buf *out, struct str octets)
{
    size_t start = out->n;
    assert_true(base64_put(out, octets));
    while (out->n > start && out->p[out->n - 1] == '=')
        out->n--;
    for (size_t i = start; i < out->n; i++)
        out->p[i] = (char)(out->p[i] == '+' ? '-' : out->p[i] == '/' ? '_' : out->p[i]);
}

/* {"kty": ...}; rest: further members, each with a comma before it. */
static inline void jws_put_jwk(struct buf *out, const struct jws_pair *p, const char *rest)
{
    static const char *const heads[] = {
        "", "{\"kty\":\"RSA\",\"n\":\"", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"",
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\""};
    buf_puts(out, heads[p->jwk.type]);
    jws_put_url(out, p->jwk.a);
    if (p->jwk.b.n > 0) {
        buf_puts(out, p->jwk.type == JWK_RSA ? "\",\"e\":\"" : "\",\"y\":\"");
        jws_put_url(out, p->jwk.b);
    }
    buf_puts(out, "\"");
    buf_puts(out, rest);
    buf_puts(out, "}");
}

/* A token signed as the key's type does by default: RS256, ES256, ES384, EdDSA, whatever the header says. */
static inline void jws_put_token(struct buf *out, const struct jws_pair *p, const char *header,
                                 const char *claims)
{
    unsigned char signature[JWS_PAIR_MAX];
    const char *digest = p->jwk.type == JWK_ED25519 ? NULL : p->jwk.type == JWK_P384 ? "SHA384" : "SHA256";
    buf_reset(out);
    jws_put_url(out, str_from_c(header));
    buf_putc(out, '.');
    jws_put_url(out, str_from_c(claims));
    struct str s = jws_pair_sign(p, digest, 0, buf_str(out), signature);
    buf_putc(out, '.');
    jws_put_url(out, s);
    assert_false(out->failed);
}
