/* io/tls_proof.c: what a name is proven with to an authority that looks by TLS-ALPN-01 (RFC 8737):
 * certificates of our own that say nothing to anybody else.
 *
 * An authority's client is told by the protocol that it offers, "acme-tls/1" and no other: the ClientHello is
 * looked at before all else (on_hello), then SNI chooses among the proofs alone (tls_context.c). The key of
 * each is made here and is forgotten with it: it is in no certificate that anybody trusts, so there is
 * nothing that it could sign in our name.
 */
#include "io/tls.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { DIGEST_N = 32, DAY_S = 24 * 3600 };

struct tls_proof {
    char name[DNS_NAME_MAX + 1]; /* folded */
    SSL_CTX *ctx;
};

/* ---- a certificate ---- */

static bool add_name(X509 *x, const char *name)
{
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    bool ok =
        list != NULL && one != NULL && text != NULL && ASN1_STRING_set(text, name, (int)strlen(name)) == 1;
    if (ok) {
        GENERAL_NAME_set0_value(one, GEN_DNS, text);
        text = NULL;
        ok = sk_GENERAL_NAME_push(list, one) > 0;
    }
    if (ok)
        one = NULL;
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, 0) == 1;
    ASN1_IA5STRING_free(text);
    GENERAL_NAME_free(one);
    sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
    return ok;
}

/* acmeIdentifier (RFC 8737 3): critical, an OCTET STRING in the extension's own. */
static bool add_digest(X509 *x, const unsigned char digest[DIGEST_N])
{
    unsigned char der[2 + DIGEST_N] = {V_ASN1_OCTET_STRING, DIGEST_N};
    ASN1_OBJECT *id = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    memcpy(der + 2, digest, DIGEST_N);
    X509_EXTENSION *e = id != NULL && value != NULL && ASN1_OCTET_STRING_set(value, der, sizeof der) == 1
                            ? X509_EXTENSION_create_by_OBJ(NULL, id, 1, value)
                            : NULL;
    bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(id);
    return ok;
}

static bool fill(X509 *x, EVP_PKEY *key, const EVP_MD *md, const char *name, const unsigned char *digest)
{
    X509_NAME *subject = X509_get_subject_name(x);
    return X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"acme-tls/1", -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(x, subject) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), -DAY_S) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(x), DAY_S) != NULL && X509_set_pubkey(x, key) == 1 &&
           add_name(x, name) && add_digest(x, digest) && X509_sign(x, key, md) > 0;
}

static SSL_CTX *make(struct tls_context *t, const char *name, const unsigned char *digest)
{
    OSSL_LIB_CTX *lib = t->w->lib;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(lib, "provider=default", "EC", "P-256");
    EVP_MD *md = EVP_MD_fetch(lib, "SHA256", NULL);
    X509 *x = X509_new_ex(lib, NULL);
    SSL_CTX *ctx = key != NULL && md != NULL && x != NULL && fill(x, key, md, name, digest)
                       ? tls_make_ctx(t, false)
                       : NULL;
    if (ctx != NULL) {
        SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, t);
        (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        if (SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_use_cert_and_key(ctx, x, key, NULL, 1) != 1) {
            SSL_CTX_free(ctx);
            ctx = NULL;
        }
    }
    X509_free(x);
    EVP_MD_free(md);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ctx;
}

/* ---- who asks ---- */

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    static const char only[] = "\x00\x0b\x0a"
                               "acme-tls/1"; /* a list with one name in it */
    struct tls_conn *tc = SSL_get_app_data(ssl);
    const unsigned char *p;
    size_t n;
    UNUSED(alert);
    UNUSED(arg);
    tc->wants_proof =
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &n) == 1 &&
        str_eq(str_of(p, n), str_of(only, sizeof only - 1));
    return SSL_CLIENT_HELLO_SUCCESS;
}

static struct tls_proof *find(const struct tls_context *t, const char *name)
{
    for (size_t i = 0; i < t->n_proofs; i++) {
        if (strcmp(t->proofs[i].name, name) == 0)
            return &t->proofs[i];
    }
    return NULL;
}

SSL_CTX *tls_proof_of(const struct tls_context *t, const char *name)
{
    const struct tls_proof *p = find(t, name);
    return p == NULL ? NULL : p->ctx;
}

/* ---- proofs ---- */

enum err io_tls_context_prove(struct tls_context *t, struct str name, const unsigned char *digest)
{
    char folded[DNS_NAME_MAX + 1];
    must(t->is_server && t->n_alpn > 0);
    if (str_has_ctl(name) || !str_is_ascii(name) || !tls_fold_name(name, folded))
        return ERR_INVALID;
    struct tls_proof *p = find(t, folded);
    if (p == NULL && t->n_proofs == TLS_PROOFS_MAX)
        return ERR_TOO_BIG;
    SSL_CTX *ctx = make(t, folded, digest);
    if (ctx == NULL)
        return ERR_NOMEM;
    if (p == NULL) {
        struct tls_proof *more = mem_grow(t->proofs, (t->n_proofs + 1) * sizeof *more);
        if (more == NULL) {
            SSL_CTX_free(ctx);
            return ERR_NOMEM;
        }
        t->proofs = more;
        p = &more[t->n_proofs++];
        memcpy(p->name, folded, sizeof folded);
    } else {
        SSL_CTX_free(p->ctx);
    }
    p->ctx = ctx;
    SSL_CTX_set_client_hello_cb(t->sites[t->first_site].ctx, on_hello, NULL);
    return ERR_OK;
}

void io_tls_context_prove_none(struct tls_context *t)
{
    for (size_t i = 0; i < t->n_proofs; i++)
        SSL_CTX_free(t->proofs[i].ctx);
    mem_free(t->proofs);
    t->proofs = NULL;
    t->n_proofs = 0;
}
