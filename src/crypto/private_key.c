#include "crypto/private_key.h"

#include "base/mem.h"
#include "crypto/crypto_impl.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <limits.h>
#include <string.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, CONTEXTS_MAX = 4 };

/* Made ready once for each way in which this key signs: to find the library's parts anew takes longer than a
 * signature on P-256. */
struct context {
    EVP_PKEY_CTX *made; /* NULL: free */
    enum tls_scheme scheme;
    enum tls_digest digest;
};
struct private_key {
    const struct crypto *crypto;
    EVP_PKEY *pkey;
    struct context contexts[CONTEXTS_MAX];
    size_t next_context; /* which makes room when all are in use */
};

/* The library leaves errors of calls that failed in a queue of the thread. */
static enum err fail(struct buf *why, enum err e, const char *text)
{
    ERR_clear_error();
    (void)buf_puts(why, text);
    return e;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int no_passphrase(char *out, int cap, int is_writing, void *arg)
{
    bool *was_asked = arg;
    UNUSED(out);
    UNUSED(cap);
    UNUSED(is_writing);
    *was_asked = true;
    return -1;
}

static BIO *bio_of(struct str s)
{
    return s.n > INT_MAX ? NULL : BIO_new_mem_buf(s.n == 0 ? "" : s.p, (int)s.n);
}

static enum err read_key(const struct crypto *c, struct str pem, EVP_PKEY **out, struct buf *why)
{
    bool was_asked = false;
    BIO *in = bio_of(pem);
    if (in == NULL)
        return fail(why, ERR_NOMEM, "no memory");
    *out = PEM_read_bio_PrivateKey_ex(in, NULL, no_passphrase, &was_asked, c->lib, NULL);
    BIO_free(in);
    if (*out != NULL)
        return ERR_OK;
    return fail(why, ERR_INVALID,
                was_asked ? "the key has a passphrase, and nobody is there to type it"
                          : "this is no private key in PEM form");
}

static bool is_curve_of_tls(const EVP_PKEY *pkey)
{
    static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};
    char name[64];
    size_t n = 0;
    if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof name, &n) != 1)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        if (str_eq(str_from_c(name), str_from_c(curves[i])))
            return true;
    }
    return false;
}

static enum err check_kind(const EVP_PKEY *pkey, struct buf *why)
{
    int bits = EVP_PKEY_get_bits(pkey);
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        if (bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX)
            return ERR_OK;
        (void)buf_printf(why, "an RSA key has %d to %d bits, this one %d", RSA_BITS_MIN, RSA_BITS_MAX, bits);
        return ERR_INVALID;
    case EVP_PKEY_EC:
        return is_curve_of_tls(pkey)
                   ? ERR_OK
                   : fail(why, ERR_INVALID, "the key's curve is none of P-256, P-384 and P-521");
    case EVP_PKEY_ED25519:
        return ERR_OK;
    default:
        return fail(why, ERR_INVALID, "the key is neither RSA nor ECDSA nor Ed25519");
    }
}

/* The first certificate; all of them must be readable. */
static enum err read_chain(const struct crypto *c, struct str pem, X509 **out, struct buf *why)
{
    BIO *in = bio_of(pem);
    if (in == NULL)
        return fail(why, ERR_NOMEM, "no memory");
    bool was_asked = false;
    unsigned n = 0;
    *out = NULL;
    while (n <= TLS_CHAIN_MAX) {
        X509 *x = X509_new_ex(c->lib, NULL);
        if (x == NULL || PEM_read_bio_X509(in, &x, no_passphrase, &was_asked) == NULL) {
            X509_free(x);
            break;
        }
        if (n++ == 0)
            *out = x;
        else
            X509_free(x);
    }
    BIO_free(in);
    bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (n > 0 && n <= TLS_CHAIN_MAX && is_at_end)
        return ERR_OK;
    X509_free(*out);
    *out = NULL;
    if (n == 0)
        return fail(why, ERR_INVALID, "there is no certificate in PEM form");
    if (n <= TLS_CHAIN_MAX)
        (void)buf_printf(why, "certificate %u of the chain is damaged or cut off", n + 1);
    else
        (void)buf_printf(why, "the chain has more than %d certificates", TLS_CHAIN_MAX);
    return ERR_INVALID;
}

static void warn_of_time(const X509 *x, int64_t now_s, struct buf *why)
{
    time_t now = (time_t)now_s;
    const ASN1_TIME *from = X509_get0_notBefore(x), *until = X509_get0_notAfter(x);
    if (ASN1_TIME_cmp_time_t(from, now) > 0)
        (void)buf_puts(why, "the certificate is not valid yet");
    else if (ASN1_TIME_cmp_time_t(until, now) < 0)
        (void)buf_puts(why, "the certificate has expired");
    ERR_clear_error();
}

enum err private_key_load(const struct crypto *c, struct str pem, struct str chain, int64_t now_s,
                          struct private_key **out, struct buf *why)
{
    *out = NULL;
    EVP_PKEY *pkey = NULL;
    X509 *own = NULL;
    ERR_clear_error();
    enum err e = read_key(c, pem, &pkey, why);
    if (e == ERR_OK)
        e = check_kind(pkey, why);
    if (e == ERR_OK)
        e = read_chain(c, chain, &own, why);
    if (e == ERR_OK && X509_check_private_key(own, pkey) != 1)
        e = fail(why, ERR_STALE, "the key does not belong to the certificate");
    struct private_key *k = e == ERR_OK ? mem_new(struct private_key) : NULL;
    if (e == ERR_OK && k == NULL)
        e = fail(why, ERR_NOMEM, "no memory");
    if (e == ERR_OK) {
        warn_of_time(own, now_s, why);
        *k = (struct private_key){.crypto = c, .pkey = pkey};
        *out = k;
    } else {
        EVP_PKEY_free(pkey);
    }
    X509_free(own);
    ERR_clear_error();
    return e;
}

void private_key_free(struct private_key **k)
{
    if (*k == NULL)
        return;
    for (size_t i = 0; i < CONTEXTS_MAX; i++)
        EVP_PKEY_CTX_free((*k)->contexts[i].made);
    EVP_PKEY_free((*k)->pkey); /* wipes it */
    mem_free(*k);
    *k = NULL;
}

/* ---- signing --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t n;
} digests[] = {
    [TLS_DIGEST_NONE] = {NULL, 0},        [TLS_DIGEST_SHA1] = {"SHA1", 20},
    [TLS_DIGEST_SHA256] = {"SHA256", 32}, [TLS_DIGEST_SHA384] = {"SHA384", 48},
    [TLS_DIGEST_SHA512] = {"SHA512", 64}, [TLS_DIGEST_MD5_SHA1] = {"MD5-SHA1", 36},
};

/* RFC 8446 4.4.3: 64 spaces, a text, an octet 0, the transcript's hash (of SHA-256 or SHA-384). */
static bool is_certificate_verify(struct str s)
{
    enum { SPACES = 64 };
    static const struct str texts[] = {STR_INIT("TLS 1.3, server CertificateVerify"),
                                       STR_INIT("TLS 1.3, client CertificateVerify")};
    if (s.n < SPACES)
        return false;
    for (size_t i = 0; i < SPACES; i++) {
        if (s.p[i] != ' ')
            return false;
    }
    struct str rest = str_skip(s, SPACES);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        size_t n = texts[i].n;
        if (str_starts(rest, texts[i]) && rest.n > n && rest.p[n] == '\0')
            return rest.n == n + 1 + 32 || rest.n == n + 1 + 48;
    }
    return false;
}

/* RFC 8422 5.4: both randoms, a named curve, its number, the public point. */
static bool is_server_key_exchange(struct str s)
{
    enum { RANDOMS = 64, NAMED_CURVE = 3, POINT_MAX = 133 };
    if (s.n < RANDOMS + 4)
        return false;
    const unsigned char *p = (const unsigned char *)s.p + RANDOMS;
    return p[0] == NAMED_CURVE && p[3] >= 32 && p[3] <= POINT_MAX && s.n == RANDOMS + 4 + (size_t)p[3];
}

static bool is_fitting(const EVP_PKEY *pkey, enum tls_scheme scheme, enum tls_digest digest,
                       struct str octets)
{
    if ((size_t)digest >= ARRAY_LEN(digests) || octets.n > TLS_SIGN_OCTETS_MAX)
        return false;
    bool has_digest = digest != TLS_DIGEST_NONE && octets.n == digests[digest].n;
    int kind = EVP_PKEY_get_base_id(pkey);
    switch (scheme) {
    case TLS_SIGN_RSA_PKCS1:
        return kind == EVP_PKEY_RSA && has_digest;
    case TLS_SIGN_RSA_PSS:
        return kind == EVP_PKEY_RSA && has_digest && digest != TLS_DIGEST_SHA1 &&
               digest != TLS_DIGEST_MD5_SHA1;
    case TLS_SIGN_ECDSA:
        return kind == EVP_PKEY_EC && has_digest && digest != TLS_DIGEST_MD5_SHA1;
    case TLS_SIGN_ED25519:
        return kind == EVP_PKEY_ED25519 && digest == TLS_DIGEST_NONE &&
               (is_certificate_verify(octets) || is_server_key_exchange(octets));
    }
    return false; /* a number that came from elsewhere */
}

static bool sign_octets(const struct private_key *k, struct str octets, unsigned char *out, size_t *n)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c != NULL && EVP_DigestSignInit_ex(c, NULL, NULL, k->crypto->lib, NULL, k->pkey, NULL) == 1 &&
              EVP_DigestSign(c, out, n, (const unsigned char *)octets.p, octets.n) == 1;
    EVP_MD_CTX_free(c);
    return ok;
}

static EVP_PKEY_CTX *make_context(const struct private_key *k, enum tls_scheme scheme, enum tls_digest digest)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_pkey(k->crypto->lib, k->pkey, NULL);
    EVP_MD *md = EVP_MD_fetch(k->crypto->lib, digests[digest].name, NULL);
    bool ok = c != NULL && md != NULL && EVP_PKEY_sign_init(c) == 1;
    if (ok && scheme != TLS_SIGN_ECDSA)
        ok = EVP_PKEY_CTX_set_rsa_padding(c, scheme == TLS_SIGN_RSA_PSS ? RSA_PKCS1_PSS_PADDING
                                                                        : RSA_PKCS1_PADDING) == 1;
    ok = ok && EVP_PKEY_CTX_set_signature_md(c, md) == 1;
    if (ok && scheme == TLS_SIGN_RSA_PSS)
        ok = EVP_PKEY_CTX_set_rsa_pss_saltlen(c, RSA_PSS_SALTLEN_DIGEST) == 1;
    EVP_MD_free(md);
    if (!ok) {
        EVP_PKEY_CTX_free(c);
        c = NULL;
    }
    return c;
}

static EVP_PKEY_CTX *find_context(struct private_key *k, enum tls_scheme scheme, enum tls_digest digest)
{
    for (size_t i = 0; i < CONTEXTS_MAX; i++) {
        const struct context *c = &k->contexts[i];
        if (c->made != NULL && c->scheme == scheme && c->digest == digest)
            return c->made;
    }
    EVP_PKEY_CTX *made = make_context(k, scheme, digest);
    if (made != NULL) {
        struct context *c = &k->contexts[k->next_context++ % CONTEXTS_MAX];
        EVP_PKEY_CTX_free(c->made);
        *c = (struct context){made, scheme, digest};
    }
    return made;
}

static bool sign_digest(struct private_key *k, enum tls_scheme scheme, enum tls_digest digest,
                        struct str value, unsigned char *out, size_t *n)
{
    EVP_PKEY_CTX *c = find_context(k, scheme, digest);
    return c != NULL && EVP_PKEY_sign(c, out, n, (const unsigned char *)value.p, value.n) == 1;
}

enum err private_key_sign(struct private_key *k, enum tls_scheme scheme, enum tls_digest digest,
                          struct str octets, struct buf *out)
{
    unsigned char mem[TLS_SIGNATURE_MAX];
    size_t n = sizeof mem;
    if (!is_fitting(k->pkey, scheme, digest, octets))
        return ERR_INVALID;
    ERR_clear_error();
    bool ok = scheme == TLS_SIGN_ED25519 ? sign_octets(k, octets, mem, &n)
                                         : sign_digest(k, scheme, digest, octets, mem, &n);
    ERR_clear_error();
    if (!ok)
        return ERR_IO;
    return buf_put(out, str_of(mem, n)) ? ERR_OK : ERR_TOO_BIG;
}
