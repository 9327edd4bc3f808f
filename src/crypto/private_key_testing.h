/* crypto/private_key_testing.h: keys and certificates for tests, made by the library itself. */
#pragma once
#include "base/str.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MADE_PEM_MAX = 16 * 1024 };

struct made { /* a key and a certificate of it, signed by itself */
    EVP_PKEY *pkey;
    size_t n_pem, n_cert;
    char pem[MADE_PEM_MAX], cert[MADE_PEM_MAX];
};

static inline size_t made_take(BIO *b, char *out, size_t cap)
{
    int n = BIO_read(b, out, (int)cap);
    assert_true(n > 0 && (size_t)n < cap);
    BIO_free(b);
    return (size_t)n;
}

static inline X509 *made_certificate(EVP_PKEY *pkey, int64_t from_s, int64_t until_s)
{
    static const unsigned char cn[] = "mail.example.org";
    X509 *x = X509_new();
    assert_non_null(x);
    assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from_s));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(x), (time_t)until_s));
    X509_NAME *name = X509_get_subject_name(x);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, cn, -1, -1, 0), 1);
    assert_int_equal(X509_set_issuer_name(x, name), 1);
    assert_int_equal(X509_set_pubkey(x, pkey), 1);
    bool is_plain = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519;
    assert_true(X509_sign(x, pkey, is_plain ? NULL : EVP_sha256()) > 0);
    return x;
}

/* Takes pkey over: made_free(). Times: seconds since 1970. */
static inline void made_make(struct made *m, EVP_PKEY *pkey, int64_t from_s, int64_t until_s)
{
    assert_non_null(pkey);
    m->pkey = pkey;
    BIO *b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(b, pkey, NULL, NULL, 0, NULL, NULL), 1);
    m->n_pem = made_take(b, m->pem, sizeof m->pem);
    X509 *x = made_certificate(pkey, from_s, until_s);
    b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(b, x), 1);
    m->n_cert = made_take(b, m->cert, sizeof m->cert);
    X509_free(x);
}

static inline void made_make_p256(struct made *m, int64_t from_s, int64_t until_s)
{
    made_make(m, EVP_EC_gen("P-256"), from_s, until_s);
}

static inline void made_free(struct made *m)
{
    EVP_PKEY_free(m->pkey);
    m->pkey = NULL;
}

static inline struct str made_pem(const struct made *m)
{
    return str_of(m->pem, m->n_pem);
}

static inline struct str made_cert(const struct made *m)
{
    return str_of(m->cert, m->n_cert);
}

/* Is it an ECDSA signature of this digest by this key? */
static inline bool made_signed(const struct made *m, struct str digest, struct str signature)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(m->pkey, NULL);
    assert_int_equal(EVP_PKEY_verify_init(c), 1);
    int ok = EVP_PKEY_verify(c, (const unsigned char *)signature.p, signature.n,
                             (const unsigned char *)digest.p, digest.n);
    EVP_PKEY_CTX_free(c);
    return ok == 1;
}
