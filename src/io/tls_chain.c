/* io/tls_chain.c: PEM (RFC 7468) into certificates and names. What is read here comes from files of the
 * administrator; it is bounded and may be anything all the same.
 */
#include "io/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* The next certificate of in; NULL: there is none. *is_bad: there is one that can't be read. */
static X509 *next_certificate(OSSL_LIB_CTX *lib, BIO *in, bool *is_bad)
{
    X509 *x = X509_new_ex(lib, NULL);
    ERR_clear_error();
    if (x != NULL && PEM_read_bio_X509(in, &x, NULL, NULL) != NULL)
        return x;
    unsigned long error = ERR_peek_last_error();
    *is_bad = ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE;
    if (!*is_bad)
        ERR_clear_error();
    X509_free(x);
    return NULL;
}

static BIO *open_text(struct str pem, size_t max, struct buf *why)
{
    if (pem.n > max) {
        (void)buf_printf(why, "%zu octets, at most %zu are read", pem.n, max);
        return NULL;
    }
    /* a key does not belong into this process; whoever put it there should hear of it */
    if (str_find(pem, STR("PRIVATE KEY-----")) != STR_NPOS) {
        (void)buf_puts(why, "there is a private key in the file of the certificate");
        return NULL;
    }
    BIO *in = BIO_new_mem_buf(pem.p == NULL ? "" : pem.p, (int)pem.n);
    if (in == NULL)
        (void)buf_puts(why, err_str(ERR_NOMEM));
    return in;
}

/* Adds x to what was read of a chain; owned by it then, or freed. */
static bool chain_add(struct tls_chain *c, X509 *x, struct buf *why)
{
    if (c->leaf == NULL) {
        c->leaf = x;
        return true;
    }
    if (sk_X509_num(c->issuers) + 1 < TLS_CHAIN_MAX && sk_X509_push(c->issuers, x) > 0)
        return true;
    X509_free(x);
    (void)buf_printf(why, "more than %d certificates in a chain", TLS_CHAIN_MAX);
    return false;
}

bool tls_chain_read(OSSL_LIB_CTX *lib, struct str pem, struct tls_chain *out, struct buf *why)
{
    bool is_bad = false, is_full = false;
    *out = (struct tls_chain){NULL, sk_X509_new_null()};
    BIO *in = out->issuers == NULL ? NULL : open_text(pem, TLS_CHAIN_SIZE_MAX, why);
    if (in == NULL) {
        tls_chain_free(out);
        return false;
    }
    for (X509 *x = next_certificate(lib, in, &is_bad); x != NULL && !is_full;
         x = is_full ? NULL : next_certificate(lib, in, &is_bad))
        is_full = !chain_add(out, x, why);
    BIO_free(in);
    if (is_bad) {
        int place = out->leaf == NULL ? 1 : sk_X509_num(out->issuers) + 2;
        (void)buf_printf(why, "number %d of the chain is damaged or cut off: ", place);
        tls_why_library(why);
    } else if (!is_full && out->leaf == NULL) {
        (void)buf_puts(why, "no certificate in PEM form is in it");
        is_bad = true;
    }
    if (is_bad || is_full)
        tls_chain_free(out);
    return !is_bad && !is_full;
}

void tls_chain_free(struct tls_chain *c)
{
    X509_free(c->leaf);
    sk_X509_pop_free(c->issuers, X509_free);
    *c = (struct tls_chain){0};
}

bool tls_anchors_read(OSSL_LIB_CTX *lib, struct str pem, X509_STORE *store, struct buf *why)
{
    bool is_bad = false;
    size_t n = 0;
    if (pem.n == 0)
        return true;
    BIO *in = open_text(pem, TLS_ANCHORS_SIZE_MAX, why);
    if (in == NULL)
        return false;
    for (X509 *x = next_certificate(lib, in, &is_bad); x != NULL; x = next_certificate(lib, in, &is_bad)) {
        n++;
        is_bad = X509_STORE_add_cert(store, x) != 1; /* twice the same is no error */
        X509_free(x);
        if (is_bad)
            break;
    }
    BIO_free(in);
    if (is_bad) {
        (void)buf_printf(why, "trust anchor %zu is damaged or cut off: ", n + 1);
        tls_why_library(why);
    } else if (n == 0) {
        (void)buf_puts(why, "no trust anchor in PEM form is in the file");
    }
    return !is_bad && n > 0;
}

void tls_chain_names(const X509 *x, void (*fn)(void *arg, struct str name), void *arg)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) { /* -1 for NULL */
        int type = 0;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all, i), &type);
        if (type == GEN_DNS)
            fn(arg, str_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)));
    }
    GENERAL_NAMES_free(all);
    ERR_clear_error();
}
