/* bench/spike_provider.c: TLS private keys in another process, by a built-in OpenSSL 3 provider: what a
 * TLS 1.3 handshake costs with the key at hand, with each signature forwarded by a blocking call, and with
 * ASYNC_pause_job. The answer with figures is docs/spikes/keys-provider.md.
 *
 *   spike_provider [HANDSHAKES]
 *
 * Client and server talk over BIO pairs within one process, the keys are in a child behind a SOCK_SEQPACKET
 * pair.
 */
#include "base/must.h"

#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 3, CONNS_MAX = 20, DEADLINE_MS = 1000, BYTES_MAX = 1024 };
enum kind { KIND_EC = 0, KIND_RSA, KIND_ED25519 };
enum mode { MODE_LOCAL = 0, MODE_BLOCKING, MODE_ASYNC };

static const char *const kind_names[KEYS] = {"ECDSA P-256", "RSA-2048 PSS", "Ed25519"};
static const char *const mode_names[] = {"local", "blocking", "async"};

struct request { /* one packet; what is to be signed is a digest, but for Ed25519 */
    uint32_t id, key, pad_mode, n;
    char digest_name[16];
    unsigned char bytes[BYTES_MAX];
};
struct reply {
    uint32_t id, n; /* n 0: refused */
    unsigned char bytes[BYTES_MAX];
};

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    must(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the process with the keys --------------------------------------------------------------- */

static size_t sign(EVP_PKEY *key, const struct request *q, unsigned char *out)
{
    size_t n = BYTES_MAX;
    bool ok;
    if (q->digest_name[0] == 0) {
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        ok = c != NULL && EVP_DigestSignInit(c, NULL, NULL, NULL, key) > 0 &&
             EVP_DigestSign(c, out, &n, q->bytes, q->n) > 0;
        EVP_MD_CTX_free(c);
    } else {
        EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
        EVP_MD *md = EVP_MD_fetch(NULL, q->digest_name, NULL);
        ok = c != NULL && md != NULL && EVP_PKEY_sign_init(c) > 0 && EVP_PKEY_CTX_set_signature_md(c, md) > 0;
        if (ok && q->pad_mode != 0)
            ok = EVP_PKEY_CTX_set_rsa_padding(c, (int)q->pad_mode) > 0 &&
                 (q->pad_mode != RSA_PKCS1_PSS_PADDING ||
                  EVP_PKEY_CTX_set_rsa_pss_saltlen(c, RSA_PSS_SALTLEN_DIGEST) > 0);
        ok = ok && EVP_PKEY_sign(c, out, &n, q->bytes, q->n) > 0;
        EVP_MD_free(md);
        EVP_PKEY_CTX_free(c);
    }
    return ok ? n : 0;
}

/* A request for key UINT32_MAX asks for the CPU time used so far. */
static void serve(int fd, EVP_PKEY **keys)
{
    struct request q;
    struct reply r;
    for (;;) {
        ssize_t got = recv(fd, &q, sizeof q, 0);
        if (got <= 0)
            return;
        if ((size_t)got < offsetof(struct request, bytes) || q.n > BYTES_MAX ||
            (size_t)got != offsetof(struct request, bytes) + q.n ||
            q.digest_name[sizeof q.digest_name - 1] != 0)
            return;
        r.id = q.id;
        if (q.key == UINT32_MAX) {
            uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
            memcpy(r.bytes, &cpu, sizeof cpu);
            r.n = sizeof cpu;
        } else {
            r.n = q.key < KEYS ? (uint32_t)sign(keys[q.key], &q, r.bytes) : 0;
        }
        if (send(fd, &r, offsetof(struct reply, bytes) + r.n, MSG_NOSIGNAL) == -1)
            return;
    }
}

/* ---- the other end --------------------------------------------------------------------------- */

struct client {
    int fd;
    bool is_async;
    uint32_t last_id;
    struct reply replies[CONNS_MAX + 1]; /* by id modulo; async has at most one open a connection */
    bool has_reply[CONNS_MAX + 1];
};

static bool ask(struct client *c, struct request *q)
{
    q->id = ++c->last_id;
    return send(c->fd, q, offsetof(struct request, bytes) + q->n, MSG_NOSIGNAL) != -1;
}

/* Takes one reply; false when none came until the deadline. */
static bool take_reply(struct client *c, int wait_ms)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    struct reply r;
    if (poll(&p, 1, wait_ms) != 1)
        return false;
    ssize_t got = recv(c->fd, &r, sizeof r, MSG_DONTWAIT);
    if (got < (ssize_t)offsetof(struct reply, bytes) || (size_t)got != offsetof(struct reply, bytes) + r.n)
        return false;
    size_t at = r.id % (CONNS_MAX + 1);
    c->replies[at] = r;
    c->has_reply[at] = true;
    return true;
}

static bool forward(struct client *c, struct request *q, unsigned char *out, size_t *n)
{
    ASYNC_JOB *job = c->is_async ? ASYNC_get_current_job() : NULL;
    if (!ask(c, q))
        return false;
    size_t at = q->id % (CONNS_MAX + 1);
    while (!c->has_reply[at]) {
        if (job != NULL ? ASYNC_pause_job() != 1 : !take_reply(c, DEADLINE_MS))
            return false;
    }
    c->has_reply[at] = false;
    const struct reply *r = &c->replies[at];
    if (r->id != q->id || r->n == 0 || r->n > *n)
        return false;
    memcpy(out, r->bytes, r->n);
    *n = r->n;
    return true;
}

/* ---- provider: keys -------------------------------------------------------------------------- */

#define PARAM_CLIENT "waxwing-client" /* the pointer, so that no global is needed */
#define PARAM_KEY "waxwing-key"

struct key {
    enum kind kind;
    struct client *client; /* NULL: a public key, made for a comparison */
    uint32_t index;
    EVP_PKEY *pub; /* of the default provider */
};

static void *key_new(enum kind kind)
{
    struct key *k = OPENSSL_zalloc(sizeof *k);
    if (k != NULL)
        k->kind = kind;
    return k;
}

static void *key_new_ec(void *prov)
{
    UNUSED(prov);
    return key_new(KIND_EC);
}

static void *key_new_rsa(void *prov)
{
    UNUSED(prov);
    return key_new(KIND_RSA);
}

static void *key_new_ed(void *prov)
{
    UNUSED(prov);
    return key_new(KIND_ED25519);
}

static void key_free(void *data)
{
    struct key *k = data;
    if (k != NULL)
        EVP_PKEY_free(k->pub);
    OPENSSL_free(k);
}

static int key_has(const void *data, int selection)
{
    const struct key *k = data;
    bool wants_private = (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
    return k->pub != NULL && (!wants_private || k->client != NULL);
}

static int key_match(const void *a, const void *b, int selection)
{
    UNUSED(selection);
    return EVP_PKEY_eq(((const struct key *)a)->pub, ((const struct key *)b)->pub) == 1;
}

static int key_import(void *data, int selection, const OSSL_PARAM params[])
{
    static const char *const types[KEYS] = {"EC", "RSA", "ED25519"};
    struct key *k = data;
    UNUSED(selection);
    const OSSL_PARAM *client = OSSL_PARAM_locate_const(params, PARAM_CLIENT);
    const OSSL_PARAM *index = OSSL_PARAM_locate_const(params, PARAM_KEY);
    if (client != NULL) {
        if (client->data_size != sizeof k->client || index == NULL ||
            !OSSL_PARAM_get_uint32(index, &k->index))
            return 0;
        memcpy(&k->client, client->data, sizeof k->client);
    }
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, types[k->kind], "provider=default");
    OSSL_PARAM *copy = OSSL_PARAM_dup(params);
    int ok = c != NULL && copy != NULL && EVP_PKEY_fromdata_init(c) > 0 &&
             EVP_PKEY_fromdata(c, &k->pub, EVP_PKEY_PUBLIC_KEY, copy) > 0;
    OSSL_PARAM_free(copy);
    EVP_PKEY_CTX_free(c);
    return ok;
}

/* The private part goes nowhere: OpenSSL must sign with this provider. */
static int key_export(void *data, int selection, OSSL_CALLBACK *fn, void *arg)
{
    struct key *k = data;
    OSSL_PARAM *params = NULL;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ||
        EVP_PKEY_todata(k->pub, EVP_PKEY_PUBLIC_KEY, &params) <= 0)
        return 0;
    int ok = fn(params, arg);
    OSSL_PARAM_free(params);
    return ok;
}

static const OSSL_PARAM *key_types(int selection)
{
    static const OSSL_PARAM types[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
                                       OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
                                       OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
                                       OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
                                       OSSL_PARAM_octet_string(PARAM_CLIENT, NULL, 0),
                                       OSSL_PARAM_uint32(PARAM_KEY, NULL),
                                       OSSL_PARAM_END};
    UNUSED(selection);
    return types;
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
    const struct key *k = data;
    return k->pub == NULL || EVP_PKEY_get_params(k->pub, params) > 0;
}

static const OSSL_PARAM *key_gettable(void *prov)
{
    static const OSSL_PARAM list[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
                                      OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
                                      OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
                                      OSSL_PARAM_END};
    UNUSED(prov);
    return list;
}

static const char *name_ecdsa(int operation)
{
    UNUSED(operation);
    return "ECDSA";
}

typedef void (*fn)(void); /* OpenSSL's tables are of these */
#define KEYMGMT(new, query)                                                                                  \
    {                                                                                                        \
        {OSSL_FUNC_KEYMGMT_NEW, (fn) new}, {OSSL_FUNC_KEYMGMT_FREE, (fn)key_free},                           \
            {OSSL_FUNC_KEYMGMT_HAS, (fn)key_has}, {OSSL_FUNC_KEYMGMT_MATCH, (fn)key_match},                  \
            {OSSL_FUNC_KEYMGMT_IMPORT, (fn)key_import}, {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (fn)key_types},     \
            {OSSL_FUNC_KEYMGMT_EXPORT, (fn)key_export}, {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (fn)key_types},     \
            {OSSL_FUNC_KEYMGMT_GET_PARAMS, (fn)key_get_params},                                              \
            {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (fn)key_gettable},                                           \
            {query, query == 0 ? NULL : (fn)name_ecdsa}, {0, NULL},                                          \
    }
static const OSSL_DISPATCH keymgmt_ec[] = KEYMGMT(key_new_ec, OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME);
static const OSSL_DISPATCH keymgmt_rsa[] = KEYMGMT(key_new_rsa, 0);
static const OSSL_DISPATCH keymgmt_ed[] = KEYMGMT(key_new_ed, 0);
static const OSSL_ALGORITHM keymgmts[] = {{"EC:id-ecPublicKey", "provider=waxwing", keymgmt_ec, NULL},
                                          {"RSA:rsaEncryption", "provider=waxwing", keymgmt_rsa, NULL},
                                          {"ED25519", "provider=waxwing", keymgmt_ed, NULL},
                                          {NULL, NULL, NULL, NULL}};

/* ---- provider: signatures -------------------------------------------------------------------- */

struct signing {
    const struct key *key;
    char digest_name[16];
    int pad_mode;
};

static void *signing_new(void *prov, const char *propq)
{
    UNUSED(prov);
    UNUSED(propq);
    return OPENSSL_zalloc(sizeof(struct signing));
}

static void signing_free(void *data)
{
    OPENSSL_free(data);
}

static int signing_set(void *data, const OSSL_PARAM params[])
{
    static const struct {
        const char *name;
        int mode;
    } modes[] = {{OSSL_PKEY_RSA_PAD_MODE_PSS, RSA_PKCS1_PSS_PADDING},
                 {OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING}};
    struct signing *s = data;
    const OSSL_PARAM *pad =
        params == NULL ? NULL : OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (pad == NULL)
        return 1;
    if (pad->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(pad, &s->pad_mode);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (strcmp(pad->data, modes[i].name) == 0) {
            s->pad_mode = modes[i].mode;
            return 1;
        }
    }
    return 0;
}

static const OSSL_PARAM *signing_settable(void *data, void *prov)
{
    static const OSSL_PARAM list[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
                                      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
                                      OSSL_PARAM_END};
    UNUSED(data);
    UNUSED(prov);
    return list;
}

static int signing_init(void *data, const char *digest_name, void *key, const OSSL_PARAM params[])
{
    struct signing *s = data;
    s->key = key;
    if (s->key->client == NULL || (digest_name != NULL && strlen(digest_name) >= sizeof s->digest_name))
        return 0;
    s->pad_mode = s->key->kind == KIND_RSA ? RSA_PKCS1_PADDING : 0;
    if (digest_name != NULL && s->key->kind != KIND_ED25519)
        memcpy(s->digest_name, digest_name, strlen(digest_name) + 1);
    return signing_set(s, params);
}

static int signing_sign(void *data, unsigned char *sig, size_t *n, size_t cap, const unsigned char *tbs,
                        size_t n_tbs)
{
    struct signing *s = data;
    struct request q = {.key = s->key->index, .pad_mode = (uint32_t)s->pad_mode};
    if (sig == NULL) {
        *n = (size_t)EVP_PKEY_get_size(s->key->pub);
        return 1;
    }
    memcpy(q.digest_name, s->digest_name, sizeof q.digest_name);
    size_t n_digest = 0;
    if (s->digest_name[0] != 0) {
        if (!EVP_Q_digest(NULL, s->digest_name, NULL, tbs, n_tbs, q.bytes, &n_digest))
            return 0;
        q.n = (uint32_t)n_digest;
    } else {
        if (n_tbs > sizeof q.bytes)
            return 0;
        memcpy(q.bytes, tbs, n_tbs);
        q.n = (uint32_t)n_tbs;
    }
    *n = cap;
    return forward(s->key->client, &q, sig, n);
}

static const OSSL_DISPATCH signature[] = {{OSSL_FUNC_SIGNATURE_NEWCTX, (fn)signing_new},
                                          {OSSL_FUNC_SIGNATURE_FREECTX, (fn)signing_free},
                                          {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (fn)signing_init},
                                          {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (fn)signing_sign},
                                          {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (fn)signing_set},
                                          {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (fn)signing_settable},
                                          {0, NULL}};
static const OSSL_ALGORITHM signatures[] = {{"ECDSA", "provider=waxwing", signature, NULL},
                                            {"RSA:rsaEncryption", "provider=waxwing", signature, NULL},
                                            {"ED25519", "provider=waxwing", signature, NULL},
                                            {NULL, NULL, NULL, NULL}};

static const OSSL_ALGORITHM *provider_query(void *prov, int operation, int *no_cache)
{
    UNUSED(prov);
    *no_cache = 0;
    return operation == OSSL_OP_KEYMGMT ? keymgmts : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static const OSSL_DISPATCH provider[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (fn)provider_query}, {0, NULL}};

static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                         void **ctx)
{
    UNUSED(in);
    *out = provider;
    *ctx = (void *)(uintptr_t)core;
    return 1;
}

/* ---- the measurement ------------------------------------------------------------------------- */

struct conn {
    SSL *client, *server;
    bool is_paused;
};
struct setup {
    struct client client;
    EVP_PKEY *keys[KEYS], *remote[KEYS];
    X509 *certs[KEYS];
    SSL_CTX *client_ctx;
};

static X509 *self_signed(EVP_PKEY *key, bool has_digest)
{
    X509 *x = X509_new();
    must(x != NULL && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1);
    must(X509_gmtime_adj(X509_getm_notBefore(x), 0) != NULL &&
         X509_gmtime_adj(X509_getm_notAfter(x), 3600) != NULL);
    const unsigned char name[] = "mx.test";
    must(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, name, -1, -1, 0) == 1);
    must(X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 && X509_set_pubkey(x, key) == 1);
    must(X509_sign(x, key, has_digest ? EVP_sha256() : NULL) > 0);
    return x;
}

static EVP_PKEY *remote_key(struct setup *s, uint32_t i)
{
    static const char *const types[KEYS] = {"EC", "RSA", "ED25519"};
    OSSL_PARAM *public = NULL;
    struct client *client = &s->client;
    OSSL_PARAM ours[] = {OSSL_PARAM_construct_octet_string(PARAM_CLIENT, &client, sizeof client),
                         OSSL_PARAM_construct_uint32(PARAM_KEY, &i), OSSL_PARAM_construct_end()};
    must(EVP_PKEY_todata(s->keys[i], EVP_PKEY_PUBLIC_KEY, &public) > 0);
    OSSL_PARAM *all = OSSL_PARAM_merge(public, ours);
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, types[i], "provider=waxwing");
    EVP_PKEY *key = NULL;
    must(all != NULL && c != NULL && EVP_PKEY_fromdata_init(c) > 0);
    must(EVP_PKEY_fromdata(c, &key, EVP_PKEY_KEYPAIR, all) > 0);
    EVP_PKEY_CTX_free(c);
    OSSL_PARAM_free(all);
    OSSL_PARAM_free(public);
    return key;
}

static uint64_t keys_cpu_ns(struct client *c)
{
    struct request q = {.key = UINT32_MAX};
    uint64_t ns;
    must(ask(c, &q) && take_reply(c, DEADLINE_MS));
    size_t at = q.id % (CONNS_MAX + 1);
    c->has_reply[at] = false;
    memcpy(&ns, c->replies[at].bytes, sizeof ns);
    return ns;
}

static void conn_open(struct conn *c, SSL_CTX *client, SSL_CTX *server)
{
    BIO *a, *b;
    c->client = SSL_new(client);
    c->server = SSL_new(server);
    must(c->client != NULL && c->server != NULL && BIO_new_bio_pair(&a, 0, &b, 0) == 1);
    SSL_set_bio(c->client, a, a);
    SSL_set_bio(c->server, b, b);
    SSL_set_connect_state(c->client);
    SSL_set_accept_state(c->server);
    c->is_paused = false;
}

static void conn_close(struct conn *c)
{
    SSL_free(c->client);
    SSL_free(c->server);
    *c = (struct conn){0};
}

/* One step of one connection; true when both sides are done. */
static bool conn_step(struct conn *c, uint64_t *server_ns)
{
    int done = SSL_do_handshake(c->client);
    must(done == 1 || SSL_get_error(c->client, done) == SSL_ERROR_WANT_READ);
    uint64_t from = now_ns(CLOCK_THREAD_CPUTIME_ID);
    int served = SSL_do_handshake(c->server);
    *server_ns += now_ns(CLOCK_THREAD_CPUTIME_ID) - from;
    int why = SSL_get_error(c->server, served);
    c->is_paused = served != 1 && why == SSL_ERROR_WANT_ASYNC;
    must(served == 1 || why == SSL_ERROR_WANT_READ || c->is_paused);
    return done == 1 && served == 1;
}

static void measure(struct setup *s, enum kind kind, enum mode mode, unsigned n_conns, unsigned n)
{
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    must(server != NULL && SSL_CTX_use_certificate(server, s->certs[kind]) == 1);
    must(SSL_CTX_use_PrivateKey(server, mode == MODE_LOCAL ? s->keys[kind] : s->remote[kind]) == 1);
    must(SSL_CTX_set_num_tickets(server, 0) == 1 &&
         SSL_CTX_set_min_proto_version(server, TLS1_3_VERSION) == 1);
    s->client.is_async = mode == MODE_ASYNC;
    if (mode == MODE_ASYNC)
        (void)SSL_CTX_set_mode(server, SSL_MODE_ASYNC);
    struct conn conns[CONNS_MAX] = {0};
    unsigned n_open = 0, n_begun = 0, n_done = 0;
    uint64_t server_ns = 0, keys_ns = keys_cpu_ns(&s->client), wall = now_ns(CLOCK_MONOTONIC);
    while (n_done < n) {
        bool is_stuck = true;
        for (unsigned i = 0; i < n_conns; i++) {
            struct conn *c = &conns[i];
            if (c->server == NULL && n_begun < n) {
                conn_open(c, s->client_ctx, server);
                n_begun++;
                n_open++;
            }
            if (c->server == NULL || c->is_paused)
                continue;
            is_stuck = false;
            if (conn_step(c, &server_ns)) {
                conn_close(c);
                n_done++;
                n_open--;
            }
        }
        /* a real loop knows by id whom a reply is for; here all that wait look again, which costs async a
         * little */
        bool has_news = false;
        while (mode == MODE_ASYNC &&
               take_reply(&s->client, is_stuck && !has_news && n_open > 0 ? DEADLINE_MS : 0))
            has_news = true;
        must(has_news || !is_stuck);
        for (unsigned i = 0; has_news && i < n_conns; i++)
            conns[i].is_paused = false;
    }
    wall = now_ns(CLOCK_MONOTONIC) - wall;
    keys_ns = keys_cpu_ns(&s->client) - keys_ns;
    printf("%-13s %-9s %2u at a time: %6.0f handshakes/s, %7.1f us wall, server CPU %7.1f us, keys CPU %7.1f "
           "us each\n",
           kind_names[kind], mode_names[mode], n_conns, (double)n * 1e9 / (double)wall,
           (double)wall / n / 1e3, (double)server_ns / n / 1e3, (double)keys_ns / n / 1e3);
    SSL_CTX_free(server);
}

/* With SSL_MODE_ASYNC every SSL_read and SSL_write runs as a job too: what that costs once the handshake is
 * over. */
static void measure_records(struct setup *s, bool is_async, unsigned n)
{
    struct conn c;
    uint64_t ns = 0;
    char text[100] = "MAIL FROM:<a@example.org>";
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    must(server != NULL && SSL_CTX_use_certificate(server, s->certs[0]) == 1);
    must(SSL_CTX_use_PrivateKey(server, s->keys[0]) == 1 && SSL_CTX_set_num_tickets(server, 0) == 1);
    conn_open(&c, s->client_ctx, server);
    while (!conn_step(&c, &ns))
        continue;
    if (is_async)
        (void)SSL_set_mode(c.server, SSL_MODE_ASYNC);
    ns = 0;
    for (unsigned i = 0; i < n; i++) {
        must(SSL_write(c.client, text, sizeof text) == sizeof text);
        uint64_t from = now_ns(CLOCK_THREAD_CPUTIME_ID);
        must(SSL_read(c.server, text, sizeof text) == sizeof text);
        must(SSL_write(c.server, text, sizeof text) == sizeof text);
        ns += now_ns(CLOCK_THREAD_CPUTIME_ID) - from;
        must(SSL_read(c.client, text, sizeof text) == sizeof text);
    }
    printf("100 octets in and 100 out, SSL_MODE_ASYNC %s: server CPU %.2f us\n", is_async ? "on" : "off",
           (double)ns / n / 1e3);
    conn_close(&c);
    SSL_CTX_free(server);
}

/* A keys process that does not answer costs the deadline and one handshake, not the role. */
static void dead_keys(struct setup *s, pid_t child)
{
    must(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    struct conn c;
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    must(server != NULL && SSL_CTX_use_certificate(server, s->certs[0]) == 1);
    must(SSL_CTX_use_PrivateKey(server, s->remote[0]) == 1);
    s->client.is_async = false;
    conn_open(&c, s->client_ctx, server);
    int done = SSL_do_handshake(c.client);
    must(done != 1);
    done = SSL_do_handshake(c.server);
    must(done != 1 && SSL_get_error(c.server, done) == SSL_ERROR_SSL);
    printf("without the keys process a handshake fails, the server goes on\n");
    conn_close(&c);
    SSL_CTX_free(server);
}

int main(int argc, char **argv)
{
    char *end = NULL;
    unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], &end, 10) : 2000;
    if (n == 0 || (end != NULL && *end != 0)) {
        fputs("usage: spike_provider [HANDSHAKES]\n", stderr);
        return 64;
    }
    struct setup s = {0};
    s.keys[KIND_EC] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    s.keys[KIND_RSA] = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    s.keys[KIND_ED25519] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    for (size_t i = 0; i < KEYS; i++)
        s.certs[i] = self_signed(s.keys[i], i != KIND_ED25519);
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    fflush(stdout);
    pid_t child = fork();
    must(child != -1);
    if (child == 0) {
        (void)close(pair[0]);
        serve(pair[1], s.keys);
        _exit(0);
    }
    (void)close(pair[1]);
    s.client.fd = pair[0];
    must(OSSL_PROVIDER_add_builtin(NULL, "waxwing", provider_init) == 1);
    OSSL_PROVIDER *ours = OSSL_PROVIDER_load(NULL, "waxwing"), *theirs = OSSL_PROVIDER_load(NULL, "default");
    must(ours != NULL && theirs != NULL && ASYNC_init_thread(CONNS_MAX + 1, 0) == 1);
    for (uint32_t i = 0; i < KEYS; i++)
        s.remote[i] = remote_key(&s, i);
    s.client_ctx = SSL_CTX_new(TLS_client_method());
    must(s.client_ctx != NULL);
    SSL_CTX_set_verify(s.client_ctx, SSL_VERIFY_NONE, NULL);
    for (unsigned kind = 0; kind < KEYS; kind++) {
        for (unsigned n_conns = 1; n_conns <= CONNS_MAX; n_conns += CONNS_MAX - 1) {
            for (unsigned mode = MODE_LOCAL; mode <= MODE_ASYNC; mode++)
                measure(&s, (enum kind)kind, (enum mode)mode, n_conns, n);
        }
    }
    measure_records(&s, false, 10 * n);
    measure_records(&s, true, 10 * n);
    dead_keys(&s, child);
    ASYNC_cleanup_thread();
    for (size_t i = 0; i < KEYS; i++) {
        EVP_PKEY_free(s.remote[i]);
        EVP_PKEY_free(s.keys[i]);
        X509_free(s.certs[i]);
    }
    SSL_CTX_free(s.client_ctx);
    (void)OSSL_PROVIDER_unload(ours);
    (void)OSSL_PROVIDER_unload(theirs);
    (void)close(s.client.fd);
    return 0;
}
