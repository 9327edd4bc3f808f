/* io/tls_facts.c: what a handshake agreed on, channel bindings, sessions to resume with.
 *
 * The facts are one block of memory with all their texts in it. What a peer chose freely is bounded, and
 * printable ASCII.
 */
#include "io/tls.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { TEXTS_MAX = 2048 };

/* ---- texts ---- */

/* Signature schemes by what the library tells, named as in RFC 8446 4.2.3; but ECDSA without the curve, which
 * TLS 1.2 leaves open (RFC 5246 7.4.1.4.1). */
static const struct {
    int key, digest;
    const char *name;
} schemes[] = {
    {NID_rsaEncryption, NID_sha1, "rsa_pkcs1_sha1"},
    {NID_rsaEncryption, NID_sha224, "rsa_pkcs1_sha224"},
    {NID_rsaEncryption, NID_sha256, "rsa_pkcs1_sha256"},
    {NID_rsaEncryption, NID_sha384, "rsa_pkcs1_sha384"},
    {NID_rsaEncryption, NID_sha512, "rsa_pkcs1_sha512"},
    {NID_rsaEncryption, NID_md5_sha1, "rsa_pkcs1_md5_sha1"},
    {NID_rsassaPss, NID_sha256, "rsa_pss_rsae_sha256"},
    {NID_rsassaPss, NID_sha384, "rsa_pss_rsae_sha384"},
    {NID_rsassaPss, NID_sha512, "rsa_pss_rsae_sha512"},
    {NID_X9_62_id_ecPublicKey, NID_sha1, "ecdsa_sha1"},
    {NID_X9_62_id_ecPublicKey, NID_sha224, "ecdsa_sha224"},
    {NID_X9_62_id_ecPublicKey, NID_sha256, "ecdsa_sha256"},
    {NID_X9_62_id_ecPublicKey, NID_sha384, "ecdsa_sha384"},
    {NID_X9_62_id_ecPublicKey, NID_sha512, "ecdsa_sha512"},
    {NID_ED25519, NID_undef, "ed25519"},
    {NID_ED448, NID_undef, "ed448"},
};

static const char *signature_of(SSL *ssl, bool is_server)
{
    int key = NID_undef, digest = NID_undef;
    int has_key =
        is_server ? SSL_get_signature_type_nid(ssl, &key) : SSL_get_peer_signature_type_nid(ssl, &key);
    (void)(is_server ? SSL_get_signature_nid(ssl, &digest) : SSL_get_peer_signature_nid(ssl, &digest));
    for (size_t i = 0; has_key == 1 && i < ARRAY_LEN(schemes); i++) {
        if (schemes[i].key == key && (schemes[i].digest == digest || schemes[i].digest == NID_undef))
            return schemes[i].name;
    }
    return "";
}

/* Where it starts in texts; the pointers come when texts has found its place. */
static struct str put_text(struct buf *texts, struct str s)
{
    size_t at = texts->n;
    for (size_t i = 0; i < s.n; i++) {
        if (!buf_putc(texts, s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?'))
            break;
    }
    return str_of(texts->p + at, texts->n - at);
}

static struct str put_name(struct buf *texts, const X509_NAME *name)
{
    char *p = NULL;
    BIO *b = BIO_new(BIO_s_mem());
    struct str s = STR_NIL;
    if (b != NULL && name != NULL &&
        X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_UTF8_CONVERT) >= 0) {
        long n = BIO_get_mem_data(b, &p);
        s = put_text(texts, str_slice(str_of(p, n > 0 ? (size_t)n : 0), 0, TLS_NAME_TEXT_MAX));
    }
    BIO_free(b);
    return s;
}

/* ---- the facts ---- */

enum { NAME_FLAGS = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS };

static bool is_named(const struct tls_shake *k, X509 *x)
{
    const unsigned flags =
        NAME_FLAGS | (k->check == TLS_CHECK_DANE ? 0u : X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    const char *name = k->names;
    for (size_t i = 0; i < k->n_names; i++, name += strlen(name) + 1) {
        if (X509_check_host(x, name, 0, flags, NULL) == 1)
            return true;
    }
    return false;
}

/* In the order in which the library finds fault: a chain, a name, the dates. */
static enum tls_fault fault_of(const struct tls_facts *f, const SSL *ssl)
{
    X509 *x = SSL_get0_peer_certificate(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    enum tls_fault fault = x == NULL ? TLS_FAULT_UNTRUSTED : tls_fault_of(f->verify_code);
    bool is_for_it = x != NULL && name != NULL &&
                     X509_check_host(x, name, 0, NAME_FLAGS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
    return !is_for_it && (fault == TLS_FAULT_NONE || fault == TLS_FAULT_EXPIRED) ? TLS_FAULT_NAME : fault;
}

static void judge(struct tls_facts *f, const SSL *ssl, const struct tls_shake *k)
{
    X509 *x = SSL_get0_peer_certificate(ssl);
    unsigned n = 0;
    f->has_peer_certificate = x != NULL;
    if (x == NULL)
        return;
    if (X509_digest(x, EVP_sha256(), f->peer_digest, &n) != 1)
        explicit_bzero(f->peer_digest, sizeof f->peer_digest);
    f->verify_code = (int)SSL_get_verify_result(ssl);
    f->verify_text =
        f->verify_code == X509_V_OK ? STR_NIL : str_from_c(X509_verify_cert_error_string(f->verify_code));
    f->is_named = is_named(k, x);
    f->is_trusted = f->verify_code == X509_V_OK && k->check != TLS_CHECK_DANE;
}

static void judge_dane(struct tls_facts *f, SSL *ssl, const struct tls_shake *k, struct buf *texts)
{
    const unsigned char *data = NULL;
    size_t n = 0, at = texts->n;
    f->n_tlsa_usable = k->n_usable;
    if (k->check != TLS_CHECK_DANE || f->verify_code != X509_V_OK)
        return;
    f->is_dane =
        SSL_get0_dane_authority(ssl, NULL, NULL) >= 0 &&
        SSL_get0_dane_tlsa(ssl, &f->dane_usage, &f->dane_selector, &f->dane_matching, &data, &n) >= 0;
    if (f->is_dane && buf_put(texts, str_slice(str_of(data, n), 0, TLS_DANE_DATA_TOLD)))
        f->dane_data = str_of(texts->p + at, texts->n - at);
}

static void put_texts(struct tls_facts *f, struct buf *texts, struct tls_conn *tc)
{
    SSL *ssl = tc->ssl;
    const unsigned char *alpn = NULL;
    unsigned n_alpn = 0;
    const X509 *x = SSL_get0_peer_certificate(ssl);
    const char *sni = tc->context->is_server ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : NULL;
    int group = (int)SSL_get_negotiated_group(ssl);
    const char *group_name = group == 0 ? NULL : SSL_group_to_name(ssl, group);
    SSL_get0_alpn_selected(ssl, &alpn, &n_alpn);
    f->version = str_from_c(SSL_get_version(ssl));
    f->cipher = str_from_c(SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl)));
    f->signature = str_from_c(f->is_resumed ? "" : signature_of(ssl, tc->context->is_server));
    f->group = put_text(texts, str_from_c(group_name));
    f->server_name = put_text(texts, str_slice(str_from_c(sni), 0, DNS_NAME_MAX));
    f->alpn = put_text(texts, str_of(alpn, n_alpn));
    if (x != NULL) {
        f->peer_subject = put_name(texts, X509_get_subject_name(x));
        f->peer_issuer = put_name(texts, X509_get_issuer_name(x));
    }
}

static void move_text(struct str *s, const char *from, char *to)
{
    if (s->n > 0)
        s->p = to + (s->p - from);
}

struct tls_facts *tls_facts_new(struct tls_conn *tc, const struct tls_shake *k)
{
    struct tls_facts f = {0};
    char text[TEXTS_MAX];
    struct buf texts;
    buf_init_fixed(&texts, text, sizeof text);
    f.is_resumed = SSL_session_reused(tc->ssl) == 1;
    judge(&f, tc->ssl, k);
    judge_dane(&f, tc->ssl, k, &texts);
    tc->fault = tc->context->is_server || f.is_dane ? TLS_FAULT_NONE : (uint8_t)fault_of(&f, tc->ssl);
    put_texts(&f, &texts, tc);
    ERR_clear_error();
    struct tls_facts *out = mem_alloc(sizeof *out + texts.n);
    if (out == NULL)
        return NULL;
    char *place = (char *)(out + 1);
    if (texts.n > 0)
        memcpy(place, text, texts.n);
    move_text(&f.dane_data, text, place);
    move_text(&f.group, text, place);
    move_text(&f.server_name, text, place);
    move_text(&f.alpn, text, place);
    move_text(&f.peer_subject, text, place);
    move_text(&f.peer_issuer, text, place);
    *out = f;
    return out;
}

const struct tls_facts *io_tls_facts(const struct conn *c)
{
    return c->tls == NULL ? NULL : c->tls->facts;
}

enum tls_fault io_tls_fault(const struct conn *c)
{
    return c->tls == NULL ? TLS_FAULT_NONE : (enum tls_fault)c->tls->fault;
}

/* ---- channel bindings ---- */

static SSL *ssl_of(const struct conn *c)
{
    return c->tls == NULL || c->tls->facts == NULL ? NULL : c->tls->ssl;
}

/* RFC 9266 2 says "zero-length context"; TLS 1.3 can't tell that from none, and in TLS 1.2 all others use
 * none. */
bool io_tls_exporter(const struct conn *c, unsigned char *out)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    SSL *ssl = ssl_of(c);
    if (ssl == NULL || (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1))
        return false;
    bool ok = SSL_export_keying_material(ssl, out, 32, label, sizeof label - 1, NULL, 0, 0) == 1;
    ERR_clear_error();
    return ok;
}

/* RFC 5929 4.1: the digest of the certificate's signature; SHA-256 in place of MD5 and SHA-1. */
bool io_tls_server_end_point(const struct conn *c, unsigned char *out, size_t *n_out)
{
    SSL *ssl = ssl_of(c);
    EVP_MD *md = NULL;
    unsigned n = 0;
    int is_fallback = 0;
    if (ssl == NULL)
        return false;
    bool is_server = c->tls->context->is_server;
    if (is_server &&
        c->tls->facts->is_resumed) /* which certificate the session began with is not known here */
        return false;
    X509 *x = is_server ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
    ASN1_OCTET_STRING *digest = x == NULL ? NULL : X509_digest_sig(x, &md, &is_fallback);
    bool ok = digest != NULL && md != NULL;
    bool is_weak = ok && (EVP_MD_is_a(md, "MD5") || EVP_MD_is_a(md, "SHA1"));
    if (is_weak)
        ok = X509_digest(x, EVP_sha256(), out, &n) == 1;
    else if (ok && ASN1_STRING_length(digest) <= 64)
        memcpy(out, ASN1_STRING_get0_data(digest), n = (unsigned)ASN1_STRING_length(digest));
    *n_out = n;
    ASN1_OCTET_STRING_free(digest);
    EVP_MD_free(md);
    ERR_clear_error();
    return ok && n > 0;
}

/* ---- sessions ---- */

/* In TLS 1.2 the ticket is the session's of now, in 1.3 it came later and by itself. */
static SSL_SESSION *resumable(const struct tls_conn *tc)
{
    SSL_SESSION *now = SSL_get0_session(tc->ssl);
    if (SSL_version(tc->ssl) >= TLS1_3_VERSION)
        return tc->session;
    return now != NULL && SSL_SESSION_has_ticket(now) == 1 && SSL_SESSION_is_resumable(now) == 1 ? now : NULL;
}

struct tls_session *io_tls_session(struct conn *c)
{
    struct tls_conn *tc = c->tls;
    SSL_SESSION *session = ssl_of(c) == NULL || tc->is_dane ? NULL : resumable(tc);
    if (session == NULL)
        return NULL;
    /* A copy: the library takes the connection's own session out of use when the peer hangs up without
     * close_notify, as many servers do. */
    session = SSL_SESSION_dup(session);
    struct tls_session *s = session == NULL ? NULL : mem_new(struct tls_session);
    if (s == NULL) {
        SSL_SESSION_free(session);
        return NULL;
    }
    *s = (struct tls_session){{&io_world_ops}, session, io_tls_context_keep(tc->context)};
    return s;
}

void io_tls_session_free(struct tls_session *s)
{
    SSL_SESSION_free(s->session);
    io_tls_context_release(s->context);
    mem_free(s);
}
