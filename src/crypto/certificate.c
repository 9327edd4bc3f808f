#include "crypto/certificate.h"

#include "base/limits.h"
#include "crypto/crypto_impl.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <string.h>

enum { DAY_S = 24 * 3600, SERIAL_OCTETS = 16 };

/* ---- PEM ------------------------------------------------------------------------------------- */

static int no_passphrase(char *out, int cap, int is_writing, void *arg)
{
    UNUSED(out);
    UNUSED(cap);
    UNUSED(is_writing);
    UNUSED(arg);
    return -1;
}

static BIO *bio_of(struct str s)
{
    return s.n > TLS_CHAIN_SIZE_MAX ? NULL : BIO_new_mem_buf(s.n == 0 ? "" : s.p, (int)s.n);
}

static EVP_PKEY *read_key(const struct crypto *c, struct str pem)
{
    BIO *in = bio_of(pem);
    EVP_PKEY *key =
        in == NULL ? NULL : PEM_read_bio_PrivateKey_ex(in, NULL, no_passphrase, NULL, c->lib, NULL);
    BIO_free(in);
    return key;
}

static X509 *read_first(const struct crypto *c, struct str chain)
{
    BIO *in = bio_of(chain);
    X509 *x = in == NULL ? NULL : X509_new_ex(c->lib, NULL);
    if (x != NULL && PEM_read_bio_X509(in, &x, no_passphrase, NULL) == NULL) {
        X509_free(x);
        x = NULL;
    }
    BIO_free(in);
    return x;
}

/* What was written to `bio`, which is freed. */
static enum err take(BIO *bio, bool ok, struct buf *out)
{
    char *p = NULL;
    long n = ok ? BIO_get_mem_data(bio, &p) : 0;
    ok = n > 0 && buf_put(out, str_of(p, (size_t)n));
    BIO_free(bio);
    ERR_clear_error();
    return ok ? ERR_OK : ERR_NOMEM;
}

enum err certificate_make_key(const struct crypto *c, struct buf *out)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(c->lib, NULL, "EC", "P-256");
    BIO *bio = key == NULL ? NULL : BIO_new(BIO_s_secmem()); /* wiped when it goes */
    bool ok = bio != NULL && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    EVP_PKEY_free(key);
    return take(bio, ok, out);
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool add_name(GENERAL_NAMES *list, struct str name)
{
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    if (one == NULL || text == NULL || name.n == 0 || name.n > DNS_NAME_MAX || !str_is_ascii(name) ||
        ASN1_STRING_set(text, name.p, (int)name.n) != 1) {
        ASN1_IA5STRING_free(text);
        GENERAL_NAME_free(one);
        return false;
    }
    GENERAL_NAME_set0_value(one, GEN_DNS, text);
    if (sk_GENERAL_NAME_push(list, one) > 0)
        return true;
    GENERAL_NAME_free(one);
    return false;
}

static GENERAL_NAMES *names_of(const struct str *names, size_t n)
{
    GENERAL_NAMES *list = n == 0 || n > CERTIFICATE_NAMES_MAX ? NULL : sk_GENERAL_NAME_new_null();
    for (size_t i = 0; list != NULL && i < n; i++) {
        if (!add_name(list, names[i])) {
            sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
            return NULL;
        }
    }
    return list;
}

static void free_names(GENERAL_NAMES *list)
{
    sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool fill_request(X509_REQ *r, EVP_PKEY *key, EVP_MD *md, const GENERAL_NAMES *list)
{
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    union { /* the library's function has no const and changes nothing */
        const GENERAL_NAMES *from;
        void *to;
    } u = {.from = list};
    bool ok = X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 &&
              X509V3_add1_i2d(&extensions, NID_subject_alt_name, u.to, 0, 0) == 1 &&
              X509_REQ_add_extensions(r, extensions) == 1 && X509_REQ_set_pubkey(r, key) == 1 &&
              X509_REQ_sign(r, key, md) > 0;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return ok;
}

enum err certificate_make_request(const struct crypto *c, struct str key, const struct str *names, size_t n,
                                  struct buf *out)
{
    EVP_PKEY *pkey = read_key(c, key);
    if (pkey == NULL) {
        ERR_clear_error();
        return ERR_INVALID;
    }
    GENERAL_NAMES *list = names_of(names, n);
    EVP_MD *md = EVP_MD_fetch(c->lib, "SHA256", NULL);
    X509_REQ *r = X509_REQ_new_ex(c->lib, NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = list != NULL && md != NULL && r != NULL && bio != NULL && fill_request(r, pkey, md, list) &&
              PEM_write_bio_X509_REQ(bio, r) == 1;
    X509_REQ_free(r);
    EVP_MD_free(md);
    free_names(list);
    EVP_PKEY_free(pkey);
    return take(bio, ok, out);
}

/* ---- certificates of our own ----------------------------------------------------------------- */

static bool set_serial(const struct crypto *c, X509 *x)
{
    unsigned char octets[SERIAL_OCTETS];
    if (RAND_bytes_ex(c->lib, octets, sizeof octets, 0) != 1)
        return false;
    octets[0] = (unsigned char)((octets[0] & 0x7f) | 0x40); /* positive, of full length (RFC 5280 4.1.2.2) */
    BIGNUM *number = BN_bin2bn(octets, sizeof octets, NULL);
    bool ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL;
    BN_free(number);
    return ok;
}

/* A common name has at most 64 letters (RFC 5280 A.1); who is meant stands in the other field. */
static bool set_subject(X509 *x)
{
    static const unsigned char cn[] = "Waxwing, until an authority's certificate is there";
    X509_NAME *name = X509_get_subject_name(x);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, cn, -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, name) == 1;
}

static bool fill_certificate(const struct crypto *c, X509 *x, EVP_PKEY *key, EVP_MD *md, GENERAL_NAMES *list,
                             int64_t now_s)
{
    return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(c, x) && set_subject(x) &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(now_s - DAY_S)) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(now_s + CERTIFICATE_OWN_S)) != NULL &&
           X509_set_pubkey(x, key) == 1 && X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, 0) == 1 &&
           X509_sign(x, key, md) > 0;
}

enum err certificate_make_own(const struct crypto *c, struct str key, const struct str *names, size_t n,
                              int64_t now_s, struct buf *out)
{
    EVP_PKEY *pkey = read_key(c, key);
    if (pkey == NULL) {
        ERR_clear_error();
        return ERR_INVALID;
    }
    GENERAL_NAMES *list = names_of(names, n);
    EVP_MD *md = EVP_MD_fetch(c->lib, "SHA256", NULL);
    X509 *x = X509_new_ex(c->lib, NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = list != NULL && md != NULL && x != NULL && bio != NULL &&
              fill_certificate(c, x, pkey, md, list, now_s) && PEM_write_bio_X509(bio, x) == 1;
    X509_free(x);
    EVP_MD_free(md);
    free_names(list);
    EVP_PKEY_free(pkey);
    return take(bio, ok, out);
}

/* ---- what one says --------------------------------------------------------------------------- */

static bool print_key(const struct crypto *c, const X509 *x, uint8_t out[CERTIFICATE_PRINT])
{
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    struct str octets = str_of(der, n > 0 ? (size_t)n : 0);
    bool ok = n > 0 && digest_of(c, DIGEST_SHA256, &octets, 1, out) == ERR_OK;
    OPENSSL_free(der);
    return ok;
}

static bool end_of(const X509 *x, int64_t *out)
{
    int days, seconds;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    bool ok = epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(x)) == 1;
    if (ok)
        *out = (int64_t)days * DAY_S + seconds;
    ASN1_TIME_free(epoch);
    return ok;
}

enum err certificate_read(const struct crypto *c, struct str chain, struct certificate_facts *out)
{
    X509 *x = read_first(c, chain);
    bool ok = x != NULL && end_of(x, &out->until_s) && print_key(c, x, out->key_print);
    if (ok)
        out->is_own = X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
    X509_free(x);
    ERR_clear_error();
    return ok ? ERR_OK : ERR_INVALID;
}

bool certificate_is_for(const struct crypto *c, struct str chain, const struct str *names, size_t n)
{
    X509 *x = read_first(c, chain);
    bool ok = x != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = X509_check_host(x, names[i].p, names[i].n, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
    X509_free(x);
    ERR_clear_error();
    return ok;
}
