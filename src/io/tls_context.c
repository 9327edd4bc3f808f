/* io/tls_context.c: what connections share: suites, certificates by name, tickets, trust anchors.
 *
 * A server has one SSL_CTX a site: the certificates of up to three key types that serve the same names. The
 * handshake starts with that of the first certificate and changes over when the client names another
 * (RFC 6066 3); everything but the certificates is the same in all of them.
 */
#include "io/tls.h"

#include "base/mem.h"

#include <openssl/async.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* AEAD and forward secrecy; the order is the client's, all of them are good. */
#define SUITES "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL:!PSK:!SRP"
/* For peers of long ago the order is ours, or they would choose the worst. */
#define SUITES_LEGACY "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP:!AESCCM"
/* Some servers of long ago have no elliptic curves. */
#define SUITES_LEGACY_CLIENT                                                                                 \
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AESGCM:DHE+AES:!aNULL:!eNULL:!PSK:!SRP:!AESCCM"
#define GROUPS "X25519:P-256:P-384"
#define GROUPS_LEGACY "X25519:P-256:P-384:P-521"

enum { NAMES_A_CERTIFICATE = 1000 };

struct making { /* a server context on its way */
    struct tls_world *w;
    struct tls_context *t;
    const struct tls_server_conf *conf;
    struct buf *why;
    struct tls_chain *chains; /* of each certificate */
    EVP_PKEY **keys;
    int *types;
    X509_STORE *client_ca;
    size_t at;              /* the certificate whose names are taken */
    struct tls_name *names; /* of all certificates, sorted by name and then certificate */
    size_t n_names, n_names_at, names_cap;
    bool has_failed;
};

/* ---- tickets ---- */

static struct tls_context *context_of(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static bool mac_with(EVP_MAC_CTX *mac, struct tls_ticket_key *k)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->hmac, sizeof k->hmac),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb(3) wants it: 0: not our ticket; 2: ours, but give a new one. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int is_new)
{
    struct tls_context *t = context_of(ssl);
    size_t i = 0;
    if (is_new) {
        struct tls_ticket_key *k = &t->tickets[0];
        memcpy(name, k->name, sizeof k->name);
        return RAND_bytes_ex(t->w->lib, iv, (size_t)EVP_CIPHER_get_iv_length(t->ticket_cipher), 0) == 1 &&
                       EVP_EncryptInit_ex2(cipher, t->ticket_cipher, k->aes, iv, NULL) == 1 &&
                       mac_with(mac, k)
                   ? 1
                   : -1;
    }
    while (i < t->n_tickets && memcmp(name, t->tickets[i].name, sizeof t->tickets[i].name) != 0)
        i++;
    if (i == t->n_tickets)
        return 0;
    if (EVP_DecryptInit_ex2(cipher, t->ticket_cipher, t->tickets[i].aes, iv, NULL) != 1 ||
        !mac_with(mac, &t->tickets[i]))
        return -1;
    return i == 0 && SSL_version(ssl) < TLS1_3_VERSION
               ? 1
               : 2; /* in TLS 1.3 each serves once, so another comes */
}

static bool take_tickets(struct tls_context *t, const struct tls_server_conf *conf)
{
    if (conf->n_tickets == 0)
        return true;
    must(conf->n_tickets <= TLS_TICKET_KEYS_MAX);
    t->tickets = mem_alloc_array(conf->n_tickets, sizeof *t->tickets);
    t->ticket_cipher = EVP_CIPHER_fetch(t->w->lib, "AES-256-CBC", NULL);
    if (t->tickets == NULL || t->ticket_cipher == NULL)
        return false;
    memcpy(t->tickets, conf->tickets, conf->n_tickets * sizeof *t->tickets);
    t->n_tickets = conf->n_tickets;
    return true;
}

/* ---- what clients ask for ---- */

static int compare_names(const void *a, const void *b)
{
    const struct tls_name *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : (x->certificate > y->certificate) - (x->certificate < y->certificate);
}

/* The first of the sorted names that is `text`, or NULL. */
static const struct tls_name *find_name(const struct tls_name *names, size_t n, const char *text)
{
    size_t from = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (strcmp(names[from + half].text, text) < 0) {
            from += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return names != NULL && names[from].text != NULL && strcmp(names[from].text, text) == 0 ? &names[from]
                                                                                            : NULL;
}

/* "*.example.org" for "mx.example.org"; false when it has no more labels. */
static bool wildcard_of(const char *name, char *out, size_t cap)
{
    const char *dot = strchr(name, '.');
    size_t n = dot == NULL ? 0 : strlen(dot);
    if (n < 2 || dot == name || n + 2 > cap)
        return false;
    out[0] = '*';
    memcpy(out + 1, dot, n + 1);
    return true;
}

bool tls_fold_name(struct str asked, char out[DNS_NAME_MAX + 1])
{
    if (str_ends(asked, STR(".")))
        asked.n--;
    if (asked.n == 0 || asked.n > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < asked.n; i++)
        out[i] = ascii_lower(asked.p[i]);
    out[asked.n] = '\0';
    return true;
}

/* name: folded. */
static const struct tls_name *choose(const struct tls_context *t, const char *name)
{
    char wild[DNS_NAME_MAX + 2];
    const struct tls_name *found = find_name(t->names, t->n_names, name);
    if (found == NULL && wildcard_of(name, wild, sizeof wild))
        found = find_name(t->names, t->n_names, wild);
    return found;
}

bool io_tls_context_is_for(const struct tls_context *t, struct str host)
{
    char name[DNS_NAME_MAX + 1];
    return tls_fold_name(host, name) && choose(t, name) != NULL;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_context *t = context_of(ssl);
    const struct tls_conn *tc = SSL_get_app_data(ssl);
    char name[DNS_NAME_MAX + 1];
    UNUSED(arg);
    bool has_name = tls_fold_name(str_from_c(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)), name);
    const struct tls_name *found = has_name && !tc->wants_proof ? choose(t, name) : NULL;
    SSL_CTX *ctx = found != NULL                 ? t->sites[found->site].ctx
                   : has_name && tc->wants_proof ? tls_proof_of(t, name)
                                                 : NULL;
    if (ctx == NULL && tc->wants_proof)
        *alert = SSL_AD_UNRECOGNIZED_NAME;
    if (ctx == NULL)
        return tc->wants_proof ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
    return SSL_set_SSL_CTX(ssl, ctx) != NULL ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* in: names, each after its length, as the library has checked. */
int tls_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n_out, const unsigned char *in,
                unsigned n_in, void *arg)
{
    const struct tls_context *t = arg;
    const struct tls_conn *tc = SSL_get_app_data(ssl);
    struct str ours = tc->wants_proof ? STR("acme-tls/1") : str_of(t->alpn + 1, t->n_alpn - 1);
    for (size_t i = 0; i < n_in && in[i] < n_in - i; i += in[i] + 1u) {
        if (str_eq(str_of(in + i + 1, in[i]), ours)) {
            *out = in + i + 1;
            *n_out = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
}

/* A certificate that is not trusted is a fact and no failure: the role decides. */
static int on_client_certificate(int is_good, X509_STORE_CTX *c)
{
    UNUSED(is_good);
    UNUSED(c);
    return 1;
}

/* The session that a server gave, in TLS 1.3, is kept with the connection. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_conn *tc = SSL_get_app_data(ssl);
    if (tc->is_dane || SSL_version(ssl) < TLS1_3_VERSION || SSL_SESSION_is_resumable(session) != 1)
        return 0;
    SSL_SESSION_free(tc->session);
    tc->session = session;
    return 1; /* it is ours */
}

/* ---- contexts ---- */

SSL_CTX *tls_make_ctx(struct tls_context *t, bool legacy)
{
    SSL_CTX *ctx = SSL_CTX_new_ex(t->w->lib, NULL, t->is_server ? TLS_server_method() : TLS_client_method());
    const char *suites = !legacy ? SUITES : t->is_server ? SUITES_LEGACY : SUITES_LEGACY_CLIENT;
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_security_level(ctx, legacy ? 0 : 2);
    (void)SSL_CTX_set_app_data(ctx, t);
    (void)SSL_CTX_set_options(ctx,
                              SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
    if (legacy && !t->is_server) /* those without RFC 5746; we never renegotiate */
        (void)SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, legacy ? TLS1_VERSION : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, suites) != 1 ||
        SSL_CTX_set1_groups_list(ctx, legacy ? GROUPS_LEGACY : GROUPS) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool set_up_server(struct making *m, SSL_CTX *ctx)
{
    struct tls_context *t = m->t;
    if (m->conf->legacy)
        (void)SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    if (t->n_alpn > 0)
        SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, t);
    if (m->conf->ask_certificate) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_client_certificate);
        SSL_CTX_set1_cert_store(ctx, m->client_ca);
    }
    if (t->n_tickets == 0)
        (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (t->n_tickets > 0 && SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) != 1)
        return false;
    return SSL_CTX_set_num_tickets(ctx, t->n_tickets > 0 ? 1 : 0) == 1 &&
           SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"waxwing", 7) == 1;
}

/* Index of the site with these certificates, made when it is new; SIZE_MAX: m has failed. */
static uint32_t get_site(struct making *m, const int of_type[TLS_KEY_TYPES])
{
    struct tls_context *t = m->t;
    for (size_t i = 0; i < t->n_sites; i++) {
        if (memcmp(t->sites[i].of_type, of_type, sizeof t->sites[i].of_type) == 0)
            return (uint32_t)i;
    }
    struct tls_site *more = mem_grow(t->sites, (t->n_sites + 1) * sizeof *more);
    if (more != NULL)
        t->sites = more;
    SSL_CTX *ctx = more == NULL ? NULL : tls_make_ctx(t, m->conf->legacy);
    if (ctx == NULL || !set_up_server(m, ctx)) {
        SSL_CTX_free(ctx);
        m->has_failed = true;
        return 0;
    }
    more[t->n_sites].ctx = ctx;
    memcpy(more[t->n_sites].of_type, of_type, sizeof more->of_type);
    t->n_sites++;
    for (size_t i = 0; i < TLS_KEY_TYPES; i++) {
        int k = of_type[i];
        if (k >= 0 && !m->has_failed &&
            SSL_CTX_use_cert_and_key(ctx, m->chains[k].leaf, m->keys[k], m->chains[k].issuers, 0) != 1) {
            (void)buf_printf(m->why, "certificate %d: ", k + 1);
            m->has_failed = true;
        }
    }
    return (uint32_t)(t->n_sites - 1);
}

static void take_name(void *arg, struct str name)
{
    struct making *m = arg;
    if (m->has_failed || m->n_names_at == NAMES_A_CERTIFICATE || name.n == 0 || name.n > DNS_NAME_MAX ||
        str_has_ctl(name))
        return;
    if (m->n_names + 1 >= m->names_cap) { /* one more for the end, which has no text */
        size_t cap = m->names_cap == 0 ? 16 : 2 * m->names_cap;
        struct tls_name *more = mem_grow(m->names, cap * sizeof *more);
        m->has_failed = more == NULL;
        if (more == NULL)
            return;
        m->names = more;
        m->names_cap = cap;
    }
    char *text = mem_alloc(name.n + 1);
    m->has_failed = text == NULL;
    if (text == NULL)
        return;
    for (size_t i = 0; i < name.n; i++)
        text[i] = ascii_lower(name.p[i]);
    m->names[m->n_names++] = (struct tls_name){.text = text, .certificate = (uint32_t)m->at};
    m->names[m->n_names] = (struct tls_name){0};
    m->n_names_at++;
}

/* Adds the certificates of the name at `from`, one of a key type, where there was none yet. */
static void add_types(const struct making *m, const struct tls_name *from, int of_type[TLS_KEY_TYPES])
{
    for (const struct tls_name *n = from; n->text != NULL && strcmp(n->text, from->text) == 0; n++) {
        int type = m->types[n->certificate];
        if (of_type[type] < 0)
            of_type[type] = (int)n->certificate;
    }
}

/* Each name once, with its site. */
static void make_sites(struct making *m)
{
    struct tls_context *t = m->t;
    int of_type[TLS_KEY_TYPES] = {-1, -1, -1};
    char wild[DNS_NAME_MAX + 2];
    of_type[m->types[0]] = 0;
    if (m->n_names > 0)
        qsort(m->names, m->n_names, sizeof *m->names, compare_names);
    for (size_t i = 0; i < m->n_names; i++) { /* other key types of the first certificate's names */
        if (m->names[i].certificate == 0)
            add_types(m, find_name(m->names, m->n_names, m->names[i].text), of_type);
    }
    t->first_site = get_site(m, of_type);
    size_t n = 0;
    for (size_t i = 0; i < m->n_names && !m->has_failed; i++) {
        if (i > 0 && strcmp(m->names[i].text, m->names[i - 1].text) == 0)
            continue;
        for (size_t k = 0; k < TLS_KEY_TYPES; k++)
            of_type[k] = -1;
        add_types(m, &m->names[i], of_type);
        const struct tls_name *w =
            wildcard_of(m->names[i].text, wild, sizeof wild) ? find_name(m->names, m->n_names, wild) : NULL;
        if (w != NULL)
            add_types(m, w, of_type);
        m->names[i].site = get_site(m, of_type);
    }
    for (size_t i = 0; i < m->n_names; i++) {
        if (n > 0 && strcmp(m->names[i].text, m->names[n - 1].text) == 0)
            mem_free(m->names[i].text);
        else
            m->names[n++] = m->names[i];
    }
    if (m->n_names > 0)
        m->names[n] = (struct tls_name){0};
    t->names = m->names;
    t->n_names = n;
    m->names = NULL;
    m->n_names = 0;
}

/* The remote key for certificate `c`; NULL: why is told. */
static EVP_PKEY *key_of(struct tls_world *w, const struct tls_chain *chain, uint32_t number, struct buf *why)
{
    EVP_PKEY *pub = X509_get0_pubkey(chain->leaf);
    if (pub == NULL || tls_key_type(pub) < 0) {
        (void)buf_puts(why, "its key is of no type that works here: EC, RSA and Ed25519 do");
        return NULL;
    }
    EVP_PKEY *key = tls_remote_key(w, pub, number);
    if (key == NULL)
        (void)buf_puts(why, "its public key can't be used");
    return key;
}

static void read_certificates(struct making *m)
{
    size_t n = m->conf->n_certificates;
    m->chains = mem_alloc_array(n, sizeof *m->chains);
    m->keys = mem_alloc_array(n, sizeof *m->keys);
    m->types = mem_alloc_array(n, sizeof *m->types);
    m->has_failed = m->chains == NULL || m->keys == NULL || m->types == NULL;
    for (m->at = 0; m->at < n && !m->has_failed; m->at++) {
        size_t before = m->why->n;
        (void)buf_printf(m->why, "certificate %zu: ", m->at + 1);
        if (!tls_chain_read(m->w->lib, m->conf->certificates[m->at].chain, &m->chains[m->at], m->why) ||
            (m->keys[m->at] = key_of(m->w, &m->chains[m->at], m->conf->certificates[m->at].key, m->why)) ==
                NULL) {
            m->has_failed = true;
            return;
        }
        m->why->n = before;
        m->types[m->at] = tls_key_type(X509_get0_pubkey(m->chains[m->at].leaf));
        m->n_names_at = 0;
        tls_chain_names(m->chains[m->at].leaf, take_name, m);
    }
}

static void making_fini(struct making *m)
{
    for (size_t i = 0; i < m->conf->n_certificates; i++) {
        if (m->chains != NULL)
            tls_chain_free(&m->chains[i]);
        if (m->keys != NULL)
            EVP_PKEY_free(m->keys[i]);
    }
    for (size_t i = 0; i < m->n_names; i++)
        mem_free(m->names[i].text);
    mem_free(m->names);
    mem_free(m->chains);
    mem_free(m->keys);
    mem_free(m->types);
    X509_STORE_free(m->client_ca);
}

static struct tls_context *context_new(struct world *base, bool is_server, bool is_signing, struct buf *why)
{
    struct tls_world *w = tls_world_get(io_of(base));
    struct tls_context *t = w == NULL ? NULL : mem_new(struct tls_context);
    if (t == NULL) {
        (void)buf_puts(why, err_str(ERR_NOMEM));
        return NULL;
    }
    *t = (struct tls_context){
        .object = {&io_world_ops}, .w = w, .n_refs = 1, .is_server = is_server, .is_signing = is_signing};
    w->n_contexts++;
    if (is_signing && ASYNC_is_capable() != 1) { /* a handshake could not wait for its signature */
        (void)buf_puts(why, "the TLS library of this machine can't pause a handshake (ASYNC_is_capable)");
        tls_context_release(&t);
    }
    return t;
}

struct tls_context *io_tls_server(struct world *base, const struct tls_server_conf *conf, struct buf *why)
{
    must(conf->n_certificates > 0 && conf->alpn.n < sizeof((struct tls_context){0}).alpn);
    if (conf->n_certificates > TLS_CERTIFICATES_MAX) {
        (void)buf_printf(why, "%zu certificates, at most %d are taken", conf->n_certificates,
                         TLS_CERTIFICATES_MAX);
        return NULL;
    }
    struct tls_context *t = context_new(base, true, true, why);
    if (t == NULL)
        return NULL;
    size_t before = why->n;
    struct making m = {.w = t->w, .t = t, .conf = conf, .why = why, .client_ca = X509_STORE_new()};
    if (conf->alpn.n > 0) {
        t->alpn[0] = (char)conf->alpn.n;
        memcpy(t->alpn + 1, conf->alpn.p, conf->alpn.n);
        t->n_alpn = conf->alpn.n + 1;
    }
    m.has_failed = m.client_ca == NULL || !take_tickets(t, conf) ||
                   !tls_anchors_read(t->w->lib, conf->client_ca, m.client_ca, why);
    if (!m.has_failed)
        read_certificates(&m);
    if (!m.has_failed)
        make_sites(&m);
    making_fini(&m);
    if (m.has_failed) {
        if (why->n == before || why->p[why->n - 1] == ' ')
            tls_why_library(why);
        tls_context_release(&t);
    }
    ERR_clear_error();
    return t;
}

/* Our own certificate for servers that ask. */
static bool use_ours(struct tls_context *t, SSL_CTX *ctx, const struct tls_certificate *ours, struct buf *why)
{
    struct tls_chain chain = {0};
    EVP_PKEY *key = NULL;
    size_t before = why->n;
    (void)buf_puts(why, "our certificate: ");
    bool ok = tls_chain_read(t->w->lib, ours->chain, &chain, why) &&
              (key = key_of(t->w, &chain, ours->key, why)) != NULL &&
              SSL_CTX_use_cert_and_key(ctx, chain.leaf, key, chain.issuers, 0) == 1;
    if (ok)
        why->n = before;
    EVP_PKEY_free(key);
    tls_chain_free(&chain);
    return ok;
}

/* Those of a machine take a megabyte: a second context shares them. */
static bool set_anchors(struct tls_context *t, SSL_CTX *ctx, const struct tls_client_conf *conf,
                        struct buf *why)
{
    if (conf->like == NULL)
        return tls_anchors_read(t->w->lib, conf->ca, SSL_CTX_get_cert_store(ctx), why);
    must(!conf->like->is_server && conf->like->w == t->w);
    SSL_CTX_set1_cert_store(ctx, SSL_CTX_get_cert_store(conf->like->sites[0].ctx));
    return true;
}

static bool make_client(struct tls_context *t, const struct tls_client_conf *conf, struct buf *why)
{
    t->sites = mem_new(struct tls_site);
    SSL_CTX *ctx = t->sites == NULL ? NULL : tls_make_ctx(t, conf->legacy);
    if (ctx == NULL)
        return false;
    t->sites[0].ctx = ctx;
    t->n_sites = 1;
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    /* what the administrator names as an anchor is one, self-signed or not */
    return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
           SSL_CTX_dane_enable(ctx) == 1 && set_anchors(t, ctx, conf, why) &&
           (conf->certificate == NULL || use_ours(t, ctx, conf->certificate, why));
}

struct tls_context *io_tls_client(struct world *base, const struct tls_client_conf *conf, struct buf *why)
{
    struct tls_context *t = context_new(base, false, conf->certificate != NULL, why);
    if (t == NULL)
        return NULL;
    size_t before = why->n;
    if (!make_client(t, conf, why)) {
        if (why->n == before || why->p[why->n - 1] == ' ')
            tls_why_library(why);
        tls_context_release(&t);
    }
    ERR_clear_error();
    return t;
}

struct tls_context *io_tls_context_keep(struct tls_context *t)
{
    t->n_refs++;
    return t;
}

void io_tls_context_release(struct tls_context *t)
{
    must(t->n_refs > 0);
    if (--t->n_refs > 0)
        return;
    io_tls_context_prove_none(t);
    for (size_t i = 0; i < t->n_sites; i++)
        SSL_CTX_free(t->sites[i].ctx);
    for (size_t i = 0; i < t->n_names; i++)
        mem_free(t->names[i].text);
    if (t->tickets != NULL)
        explicit_bzero(t->tickets, t->n_tickets * sizeof *t->tickets);
    EVP_CIPHER_free(t->ticket_cipher);
    mem_free(t->tickets);
    mem_free(t->sites);
    mem_free(t->names);
    t->w->n_contexts--;
    mem_free(t);
}
