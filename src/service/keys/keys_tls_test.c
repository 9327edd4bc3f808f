/* What io/tls asks to be signed is what crypto/private_key signs: handshakes of all kinds of keys and
 * versions, with the keys where the keys role has them. */
#include "crypto/private_key.h"
#include "crypto/private_key_testing.h"
#include "io/tls_testing.h"

enum { SIGNERS_MAX = 16 };

struct fixture {
    struct tt_rig rig;
    struct crypto *crypto;
    struct private_key *keys[SIGNERS_MAX];
    size_t n_keys;
    enum tls_scheme scheme; /* of the last */
    enum tls_digest digest;
    unsigned n_signed;
};

static void on_sign(void *arg, const struct tls_sign *s)
{
    struct fixture *f = arg;
    char mem[TLS_SIGNATURE_MAX];
    struct buf out;
    buf_init_fixed(&out, mem, sizeof mem);
    assert_true(s->key < f->n_keys);
    f->scheme = s->scheme;
    f->digest = s->digest;
    enum err e = private_key_sign(f->keys[s->key], s->scheme, s->digest, s->octets, &out);
    assert_int_equal(e, ERR_OK);
    f->n_signed++;
    world_tls_signed(f->rig.w, s->token, e, buf_str(&out));
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.n_keys = 0};
    tt_setup(&f.rig);
    world_tls_set_signer(f.rig.w, &(struct tls_signer){&f, on_sign});
    *state = &f;
    return crypto_new(&f.crypto) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tt_teardown(&f->rig);
    for (size_t i = 0; i < f->n_keys; i++)
        private_key_free(&f->keys[i]);
    crypto_del(&f->crypto);
    return 0;
}

/* As the supervisor hands it over: PEM of key and chain. */
static void hold(struct fixture *f, const struct tt_cert *c)
{
    static struct made m;
    char pem_mem[4096], why_mem[256];
    struct buf pem, why;
    buf_init_fixed(&pem, pem_mem, sizeof pem_mem);
    buf_init_fixed(&why, why_mem, sizeof why_mem);
    assert_int_equal(EVP_PKEY_up_ref(c->key), 1);
    made_make(&m, c->key, 0, 1); /* for the key's PEM */
    tt_pem(&pem, c);
    assert_true(f->n_keys < SIGNERS_MAX);
    enum err e = private_key_load(f->crypto, made_pem(&m), buf_str(&pem), world_wall_ms(f->rig.w) / 1000,
                                  &f->keys[f->n_keys], &why);
    if (e != ERR_OK || why.n > 0)
        fail_msg("%.*s", STR_FMT(buf_str(&why)));
    f->n_keys++;
    made_free(&m);
}

/* Contexts have no switch for it: no role wants one. */
static void only_version(struct tls_context *t, int version)
{
    for (size_t i = 0; i < t->n_sites; i++) {
        assert_int_equal(SSL_CTX_set_min_proto_version(t->sites[i].ctx, version), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(t->sites[i].ctx, version), 1);
    }
}

static const struct {
    enum tt_kind kind;
    int version;
    enum tls_scheme scheme;
    enum tls_digest digest;
} rows[] = {
    {TT_EC, TLS1_2_VERSION, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256},
    {TT_EC, TLS1_3_VERSION, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256},
    {TT_EC384, TLS1_3_VERSION, TLS_SIGN_ECDSA, TLS_DIGEST_SHA384},
    {TT_RSA, TLS1_2_VERSION, TLS_SIGN_RSA_PSS, TLS_DIGEST_SHA256},
    {TT_RSA, TLS1_3_VERSION, TLS_SIGN_RSA_PSS, TLS_DIGEST_SHA256},
    {TT_ED25519, TLS1_2_VERSION, TLS_SIGN_ED25519, TLS_DIGEST_NONE},
    {TT_ED25519, TLS1_3_VERSION, TLS_SIGN_ED25519, TLS_DIGEST_NONE},
};

static void test_servers(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tt_cert c = tt_make(&(struct tt_spec){.kind = rows[i].kind, .names = "DNS:mx.example.org"});
        hold(f, &c);
        tt_server(&f->rig, &c, NULL, NULL); /* its number for the key is ours */
        tt_client(&f->rig, &c, NULL);
        only_version(f->rig.server_context, rows[i].version);
        tt_shake(&f->rig);
        tt_assert_ok(&f->rig);
        assert_int_equal(f->n_signed, i + 1);
        assert_int_equal(f->scheme, rows[i].scheme);
        assert_int_equal(f->digest, rows[i].digest);
        tt_say(&f->rig, f->rig.client.c, f->rig.server.c, "EHLO client.example\r\n");
        tt_close(&f->rig);
        tt_free(&c);
    }
}

/* A client's certificate: relay has its key as little as smtpd has that of a server. */
static void test_clients(void **state)
{
    struct fixture *f = *state;
    struct tls_server_conf conf = {.ask_certificate = true};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].version != TLS1_3_VERSION)
            continue;
        char pem_mem[4096];
        struct buf pem;
        buf_init_fixed(&pem, pem_mem, sizeof pem_mem);
        struct tt_cert server = tt_make(&(struct tt_spec){.kind = TT_EC, .names = "DNS:mx.example.org"});
        struct tt_cert client = tt_make(&(struct tt_spec){.kind = rows[i].kind, .cn = "client"});
        unsigned n = f->n_signed;
        hold(f, &server);
        tt_server(&f->rig, &server, NULL, &conf);
        hold(f, &client);
        tt_pem(&pem, &client);
        struct tls_certificate own = {buf_str(&pem), tt_add_key(&f->rig, client.key)};
        tt_client(&f->rig, &server, &(struct tls_client_conf){.certificate = &own});
        tt_shake(&f->rig);
        tt_assert_ok(&f->rig);
        assert_int_equal(f->n_signed, n + 2);
        assert_true(conn_tls(f->rig.server.c)->has_peer_certificate);
        tt_close(&f->rig);
        tt_free(&server);
        tt_free(&client);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clients, setup, teardown),
    };
    return cmocka_run_group_tests_name("keys_tls", tests, NULL, NULL);
}
