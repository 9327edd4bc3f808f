#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tls_testing.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- certificates ---- */

static EVP_PKEY *make_key(enum tt_kind kind)
{
    switch (kind) {
    case TT_RSA:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    case TT_RSA1024:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    case TT_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case TT_EC384:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    case TT_EC:
    default:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    }
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

struct tt_cert tt_make(const struct tt_spec *s)
{
    struct tt_cert c = {make_key(s->kind), X509_new()};
    assert_non_null(c.key);
    assert_non_null(c.x);
    X509 *issuer = s->issuer == NULL ? c.x : s->issuer->x;
    EVP_PKEY *signer = s->issuer == NULL ? c.key : s->issuer->key;
    bool is_plain = s->from_s == 0 && s->to_s == 0;
    uint64_t serial = (uint64_t)(uintptr_t)c.x;
    assert_int_equal(X509_set_version(c.x, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set_uint64(X509_get_serialNumber(c.x), serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(c.x), is_plain ? -TT_DAY : s->from_s));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(c.x), is_plain ? TT_DAY : s->to_s));
    const char *cn = s->cn == NULL ? "test" : s->cn;
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x), "CN", MBSTRING_UTF8,
                                                (const unsigned char *)cn, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(c.x, X509_get_subject_name(issuer)), 1);
    assert_int_equal(X509_set_pubkey(c.x, c.key), 1);
    add_extension(c.x, issuer, NID_basic_constraints, s->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    add_extension(c.x, issuer, NID_subject_key_identifier, "hash");
    if (s->names != NULL)
        add_extension(c.x, issuer, NID_subject_alt_name, s->names);
    assert_true(X509_sign(c.x, signer, EVP_PKEY_is_a(signer, "ED25519") ? NULL : EVP_sha256()) > 0);
    return c;
}

void tt_free(struct tt_cert *c)
{
    EVP_PKEY_free(c->key);
    X509_free(c->x);
    *c = (struct tt_cert){0};
}

void tt_pem(struct buf *out, const struct tt_cert *c)
{
    char *p;
    BIO *b = BIO_new(BIO_s_mem());
    assert_non_null(b);
    assert_int_equal(PEM_write_bio_X509(b, c->x), 1);
    long n = BIO_get_mem_data(b, &p);
    assert_true(buf_put(out, str_of(p, (size_t)n)));
    BIO_free(b);
}

/* ---- the signer ---- */

static size_t sign(EVP_PKEY *key, const struct tls_sign *s, unsigned char *out, size_t cap)
{
    static const char *const digests[] = {[TLS_DIGEST_SHA1] = "SHA1",
                                          [TLS_DIGEST_SHA256] = "SHA256",
                                          [TLS_DIGEST_SHA384] = "SHA384",
                                          [TLS_DIGEST_SHA512] = "SHA512",
                                          [TLS_DIGEST_MD5_SHA1] = "MD5-SHA1"};
    size_t n = cap;
    const unsigned char *p = (const unsigned char *)s->octets.p;
    if (s->scheme == TLS_SIGN_ED25519) {
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        assert_int_equal(s->digest, TLS_DIGEST_NONE);
        assert_int_equal(EVP_DigestSignInit(c, NULL, NULL, NULL, key), 1);
        assert_int_equal(EVP_DigestSign(c, out, &n, p, s->octets.n), 1);
        EVP_MD_CTX_free(c);
        return n;
    }
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
    EVP_MD *md = EVP_MD_fetch(NULL, digests[s->digest], NULL);
    assert_non_null(md);
    assert_int_equal(EVP_PKEY_sign_init(c), 1);
    assert_true(EVP_PKEY_CTX_set_signature_md(c, md) > 0);
    if (s->scheme == TLS_SIGN_RSA_PSS) {
        assert_true(EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PSS_PADDING) > 0);
        assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(c, RSA_PSS_SALTLEN_DIGEST) > 0);
    }
    assert_int_equal(EVP_PKEY_sign(c, out, &n, p, s->octets.n), 1);
    EVP_MD_free(md);
    EVP_PKEY_CTX_free(c);
    return n;
}

static void answer(struct tt_rig *r)
{
    unsigned char out[2 * TLS_SIGNATURE_MAX] = {0};
    size_t n = r->answer == TT_FAIL ? 0 : sign(r->keys[r->asked.key], &r->asked, out, TLS_SIGNATURE_MAX);
    if (r->answer == TT_WRONG)
        out[n / 2] ^= 1;
    if (r->answer == TT_TOO_LONG)
        n = sizeof out;
    world_tls_signed(r->w, r->asked.token, r->answer == TT_FAIL ? ERR_RESET : ERR_OK, str_of(out, n));
    world_tls_signed(r->w, r->asked.token, ERR_OK, STR("again: nobody waits for it")); /* ignored */
}

static void on_later(struct timer *t)
{
    answer(container_of(t, struct tt_rig, later));
}

static void on_sign(void *arg, const struct tls_sign *s)
{
    struct tt_rig *r = arg;
    assert_true(s->key < r->n_keys && s->octets.n <= sizeof r->octets);
    r->n_asked++;
    r->asked = *s;
    memcpy(r->octets, s->octets.p, s->octets.n);
    r->asked.octets = str_of(r->octets, s->octets.n);
    if (r->answer == TT_NEVER)
        r->n_never++;
    else if (r->answer == TT_NOW)
        answer(r);
    else
        world_timer_set(r->w, &r->later, world_now_ms(r->w) + 2);
    if (r->answer == TT_NEVER)
        io_stop(r->io);
}

/* ---- the rig ---- */

void tt_setup(struct tt_rig *r)
{
    static const struct log quiet = {.min = LOG_ERROR};
    memset(r, 0, sizeof *r);
    r->io = io_world_new(&quiet, NULL);
    assert_non_null(r->io);
    r->w = io_world_base(r->io);
    r->later.fire = on_later;
    r->server_ms = r->client_ms = 60000;
    buf_init(&r->pem, 1 << 20);
    buf_init(&r->ca, 1 << 20);
    world_tls_set_signer(r->w, &(struct tls_signer){r, on_sign});
}

void tt_teardown(struct tt_rig *r)
{
    tt_close(r);
    world_timer_cancel(r->w, &r->later);
    tls_context_release(&r->server_context);
    tls_context_release(&r->client_context);
    for (size_t i = 0; i < r->n_keys; i++)
        EVP_PKEY_free(r->keys[i]);
    buf_fini(&r->pem);
    buf_fini(&r->ca);
    io_world_del(&r->io);
}

uint32_t tt_add_key(struct tt_rig *r, EVP_PKEY *key)
{
    assert_true(r->n_keys < TT_KEYS_MAX);
    assert_int_equal(EVP_PKEY_up_ref(key), 1);
    r->keys[r->n_keys++] = key;
    return (uint32_t)(r->n_keys - 1);
}

void tt_server(struct tt_rig *r, const struct tt_cert *c, const struct tt_cert *extra,
               const struct tls_server_conf *conf)
{
    struct tls_server_conf all = conf == NULL ? (struct tls_server_conf){0} : *conf;
    char text[512];
    struct buf why;
    buf_init_fixed(&why, text, sizeof text);
    buf_reset(&r->pem);
    tt_pem(&r->pem, c);
    if (extra != NULL)
        tt_pem(&r->pem, extra);
    struct tls_certificate one = {buf_str(&r->pem), tt_add_key(r, c->key)};
    all.certificates = &one;
    all.n_certificates = 1;
    tls_context_release(&r->server_context);
    r->server_context = world_tls_server(r->w, &all, &why);
    if (r->server_context == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&why)));
    assert_int_equal(why.n, 0);
}

void tt_client(struct tt_rig *r, const struct tt_cert *ca, const struct tls_client_conf *conf)
{
    struct tls_client_conf all = conf == NULL ? (struct tls_client_conf){0} : *conf;
    char text[512];
    struct buf why;
    buf_init_fixed(&why, text, sizeof text);
    buf_reset(&r->ca);
    if (ca != NULL)
        tt_pem(&r->ca, ca);
    all.ca = buf_str(&r->ca);
    tls_context_release(&r->client_context);
    r->client_context = world_tls_client(r->w, &all, &why);
    if (r->client_context == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&why)));
    assert_int_equal(why.n, 0);
}

static void on_shaken(void *arg, struct conn *c, enum err err, struct str why)
{
    struct tt_rig *r = arg;
    struct tt_end *e = c == r->server.c ? &r->server : &r->client;
    assert_ptr_equal(e->c, c);
    assert_false(e->is_done);
    e->is_done = true;
    e->err = err;
    assert_true((err == ERR_OK) == (why.n == 0));
    assert_true((err == ERR_OK) == (conn_tls(c) != NULL));
    assert_true(str_to_c(why, e->why, sizeof e->why));
    if (++r->n_done == r->stop_at)
        io_stop(r->io);
}

static void on_drip(void *arg, struct conn *c, unsigned ready)
{
    struct tt_rig *r = arg;
    struct conn *to = c == r->drip[0] ? r->drip[1] : r->drip[0];
    char octet;
    size_t n;
    UNUSED(ready);
    enum err err = conn_read(c, &octet, 1, &n);
    if (err == ERR_OK) {
        struct str s = str_of(&octet, 1);
        err = conn_write(to, &s, 1, &n);
        assert_true(err == ERR_OK || err == ERR_RESET);
    } else if (err != ERR_AGAIN) {
        conn_want(c, 0);
        conn_shutdown_write(to);
    }
}

static void make_pair(struct tt_rig *r, struct conn **a, struct conn **b)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *a = io_adopt_conn(r->io, fds[0]);
    *b = io_adopt_conn(r->io, fds[1]);
    assert_non_null(*a);
    assert_non_null(*b);
}

void tt_connect(struct tt_rig *r)
{
    static const struct conn_user dripper = {on_drip};
    tt_close(r);
    r->n_done = 0;
    if (!r->is_dripping) {
        make_pair(r, &r->client.c, &r->server.c);
        return;
    }
    make_pair(r, &r->client.c, &r->drip[0]);
    make_pair(r, &r->drip[1], &r->server.c);
    for (size_t i = 0; i < 2; i++) {
        conn_set_user(r->drip[i], &dripper, r);
        conn_want(r->drip[i], CONN_READABLE);
    }
}

void tt_start_server(struct tt_rig *r)
{
    struct tls_start s = {.context = r->server_context, .deadline_ms = world_now_ms(r->w) + r->server_ms};
    assert_int_equal(conn_tls_start(r->server.c, true, &s, on_shaken, r), ERR_OK);
}

void tt_start_client(struct tt_rig *r)
{
    struct tls_start s = r->start;
    s.context = r->client_context;
    s.deadline_ms = world_now_ms(r->w) + r->client_ms;
    assert_int_equal(conn_tls_start(r->client.c, false, &s, on_shaken, r), ERR_OK);
}

void tt_run(struct tt_rig *r, unsigned n_done)
{
    r->stop_at = n_done;
    if (r->n_done < n_done)
        io_run(r->io);
}

void tt_shake(struct tt_rig *r)
{
    tt_connect(r);
    tt_start_server(r);
    tt_start_client(r);
    assert_int_equal(r->n_done, 0); /* not within the call */
    tt_run(r, 2);
}

void tt_close(struct tt_rig *r)
{
    struct conn *all[] = {r->client.c, r->server.c, r->drip[0], r->drip[1]};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i] != NULL)
            conn_close(all[i]);
    }
    r->client = r->server = (struct tt_end){0};
    r->drip[0] = r->drip[1] = NULL;
}

void tt_assert_ok(const struct tt_rig *r)
{
    if (r->server.err != ERR_OK || r->client.err != ERR_OK)
        fail_msg("server: %s; client: %s", r->server.why, r->client.why);
    assert_true(r->server.is_done && r->client.is_done);
}

struct hearing {
    struct tt_rig *r;
    char text[256];
    size_t n, want;
    enum err err;
};

static void on_heard(void *arg, struct conn *c, unsigned ready)
{
    struct hearing *h = arg;
    size_t n;
    assert_int_equal(ready, CONN_READABLE);
    h->err = conn_read(c, h->text + h->n, sizeof h->text - h->n, &n);
    h->n += n;
    if ((h->err != ERR_OK && h->err != ERR_AGAIN) || (h->want > 0 && h->n >= h->want))
        io_stop(h->r->io);
}

static const struct conn_user hearer = {on_heard};

void tt_say(struct tt_rig *r, struct conn *from, struct conn *to, const char *text)
{
    struct str s = str_from_c(text);
    struct hearing h = {.r = r, .want = s.n};
    size_t n;
    assert_int_equal(conn_write(from, &s, 1, &n), ERR_OK);
    assert_int_equal(n, s.n);
    conn_set_user(to, &hearer, &h);
    conn_want(to, CONN_READABLE);
    io_run(r->io);
    conn_want(to, 0);
    conn_set_user(to, NULL, NULL);
    assert_int_equal(h.n, s.n);
    assert_memory_equal(h.text, s.p, s.n);
}

enum err tt_read_end(struct tt_rig *r, struct conn *c)
{
    struct hearing h = {.r = r};
    conn_set_user(c, &hearer, &h);
    conn_want(c, CONN_READABLE);
    io_run(r->io);
    conn_want(c, 0);
    conn_set_user(c, NULL, NULL);
    return h.err;
}

struct counting {
    struct timer t;
    struct tt_rig *r;
    unsigned left;
};

static void on_count(struct timer *t)
{
    struct counting *c = container_of(t, struct counting, t);
    if (c->left-- == 0)
        io_stop(c->r->io);
    else
        world_timer_set(c->r->w, t, 1); /* long due: the next turn */
}

void tt_turns(struct tt_rig *r, unsigned n)
{
    struct counting c = {.t = {.fire = on_count}, .r = r, .left = n};
    world_timer_set(r->w, &c.t, 1);
    io_run(r->io);
}
