/* TLS-ALPN-01: who is shown a proof, what is in it, and what everybody else sees of that: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tls_testing.h"

#include <openssl/x509v3.h>
#include <string.h>

static const unsigned char digest_a[32] = "the first digest, 32 octets long";
static const unsigned char digest_b[32] = "another digest of 32 octets, too";

static int make_cert(void **state)
{
    static struct tt_cert c;
    c = tt_make(&(struct tt_spec){.kind = TT_RSA, .names = "DNS:mta-sts.example.org"});
    *state = &c;
    return 0;
}

static int free_cert(void **state)
{
    tt_free(*state);
    return 0;
}

static void begin(struct tt_rig *r, const struct tt_cert *c)
{
    tt_setup(r);
    tt_server(r, c, NULL, &(struct tls_server_conf){.alpn = STR("http/1.1")});
    tt_client(r, NULL, NULL);
}

static void prove(struct tt_rig *r, const char *name, const unsigned char digest[32])
{
    assert_int_equal(tls_context_prove(r->server_context, str_from_c(name), digest), ERR_OK);
}

static void shake(struct tt_rig *r, const char *name, const char *alpn)
{
    r->start = (struct tls_start){.server_name = str_from_c(name), .alpn = str_from_c(alpn)};
    tt_shake(r);
}

/* RFC 8737 3: one name, the extension is critical and holds the digest, and the certificate is its own
 * issuer. */
static void assert_proof(struct tt_rig *r, const char *name, const unsigned char digest[32])
{
    tt_assert_ok(r);
    assert_true(str_eq(conn_tls(r->server.c)->alpn, STR("acme-tls/1")));
    assert_true(str_eq(conn_tls(r->client.c)->alpn, STR("acme-tls/1")));
    X509 *x = SSL_get0_peer_certificate(r->client.c->tls->ssl);
    assert_int_equal(X509_verify(x, X509_get0_pubkey(x)), 1);
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)), 0);
    assert_true(X509_cmp_current_time(X509_get0_notBefore(x)) < 0 &&
                X509_cmp_current_time(X509_get0_notAfter(x)) > 0);
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(names), 1);
    const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, 0);
    assert_int_equal(one->type, GEN_DNS);
    assert_int_equal(ASN1_STRING_length(one->d.dNSName), strlen(name));
    assert_memory_equal(ASN1_STRING_get0_data(one->d.dNSName), name, strlen(name));
    GENERAL_NAMES_free(names);
    ASN1_OBJECT *id = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    int at = X509_get_ext_by_OBJ(x, id, -1);
    assert_true(at >= 0 && X509_get_ext_by_OBJ(x, id, at) == -1);
    X509_EXTENSION *e = X509_get_ext(x, at);
    ASN1_OBJECT_free(id);
    assert_int_equal(X509_EXTENSION_get_critical(e), 1);
    const unsigned char *p = ASN1_STRING_get0_data(X509_EXTENSION_get_data(e));
    ASN1_OCTET_STRING *value =
        d2i_ASN1_OCTET_STRING(NULL, &p, ASN1_STRING_length(X509_EXTENSION_get_data(e)));
    assert_non_null(value);
    assert_int_equal(ASN1_STRING_length(value), 32);
    assert_memory_equal(ASN1_STRING_get0_data(value), digest, 32);
    ASN1_OCTET_STRING_free(value);
}

static void assert_usual(struct tt_rig *r, const struct tt_cert *c, const char *alpn)
{
    unsigned char digest[32];
    tt_assert_ok(r);
    assert_int_equal(X509_digest(c->x, EVP_sha256(), digest, NULL), 1);
    assert_memory_equal(conn_tls(r->client.c)->peer_digest, digest, sizeof digest);
    assert_true(str_eq(conn_tls(r->server.c)->alpn, str_from_c(alpn)));
}

static void proves(void **state)
{
    const struct tt_cert *c = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct tt_rig r;
        begin(&r, c);
        assert_int_equal(SSL_CTX_set_max_proto_version(r.client_context->sites[0].ctx, versions[i]), 1);
        prove(&r, "mta-sts.example.org", digest_a);
        prove(&r, "MX.example.org.", digest_b);
        shake(&r, "mta-sts.example.org", "acme-tls/1");
        assert_proof(&r, "mta-sts.example.org", digest_a);
        assert_int_equal(r.n_asked, 0); /* of the keys of real certificates */
        shake(&r, "mx.EXAMPLE.org", "acme-tls/1");
        assert_proof(&r, "mx.example.org", digest_b);
        prove(&r, "mx.example.org", digest_a); /* again */
        shake(&r, "mx.example.org", "acme-tls/1");
        assert_proof(&r, "mx.example.org", digest_a);
        r.is_dripping = true;
        shake(&r, "mx.example.org", "acme-tls/1");
        assert_proof(&r, "mx.example.org", digest_a);
        tt_teardown(&r);
    }
}

static void others(void **state)
{
    const struct tt_cert *c = *state;
    struct tt_rig r;
    begin(&r, c);
    prove(&r, "mta-sts.example.org", digest_a);
    shake(&r, "mta-sts.example.org", "http/1.1");
    assert_usual(&r, c, "http/1.1");
    shake(&r, "mta-sts.example.org", "");
    assert_usual(&r, c, "");
    shake(&r, "mta-sts.example.org", "h2");
    assert_int_equal(r.server.err, ERR_TLS);
    /* who can do something else is no authority's client */
    static const unsigned char both[] = "\x0a"
                                        "acme-tls/1\x08"
                                        "http/1.1";
    assert_int_equal(SSL_CTX_set_alpn_protos(r.client_context->sites[0].ctx, both, sizeof both - 1), 0);
    shake(&r, "mta-sts.example.org", "");
    assert_usual(&r, c, "http/1.1");
    tt_teardown(&r);
}

static void no_proof(void **state)
{
    const struct tt_cert *c = *state;
    struct tt_rig r;
    begin(&r, c);
    shake(&r, "mta-sts.example.org", "acme-tls/1"); /* a challenge was never there */
    assert_int_equal(r.server.err, ERR_TLS);
    prove(&r, "mx.example.org", digest_a);
    static const char *const names[] = {"mta-sts.example.org", "a.mx.example.org", "example.org", ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        shake(&r, names[i], "acme-tls/1");
        assert_int_equal(r.server.err, ERR_TLS);
        assert_non_null(strstr(r.server.why, "(acme-tls/1) about a name that is not being proven"));
        assert_non_null(strstr(r.client.why, "unrecognized name"));
    }
    assert_int_equal(r.n_asked, 0); /* nothing was signed for them */
    tls_context_prove_none(r.server_context);
    shake(&r, "mx.example.org", "acme-tls/1");
    assert_int_equal(r.server.err, ERR_TLS);
    shake(&r, "mta-sts.example.org", "http/1.1");
    assert_usual(&r, c, "http/1.1");
    tt_teardown(&r);
}

/* One that is forgotten, or replaced, while a handshake uses it. */
static void forgotten_meanwhile(void **state)
{
    const struct tt_cert *c = *state;
    struct tt_rig r;
    begin(&r, c);
    prove(&r, "mx.example.org", digest_a);
    r.start = (struct tls_start){.server_name = STR("mx.example.org"), .alpn = STR("acme-tls/1")};
    tt_connect(&r);
    tt_start_server(&r);
    tt_start_client(&r);
    tt_turns(&r, 2);
    tls_context_prove_none(r.server_context);
    tt_run(&r, 2);
    tt_teardown(&r);
}

static void bounds(void **state)
{
    struct tt_rig r;
    char name[300];
    begin(&r, *state);
    memset(name, 'a', sizeof name);
    assert_int_equal(tls_context_prove(r.server_context, STR(""), digest_a), ERR_INVALID);
    assert_int_equal(tls_context_prove(r.server_context, STR("."), digest_a), ERR_INVALID);
    assert_int_equal(tls_context_prove(r.server_context, STR("a\nb"), digest_a), ERR_INVALID);
    assert_int_equal(tls_context_prove(r.server_context, STR("b\xc3\xbc.example"), digest_a), ERR_INVALID);
    assert_int_equal(tls_context_prove(r.server_context, str_of(name, 256), digest_a), ERR_INVALID);
    for (unsigned i = 0; i < TLS_PROOFS_MAX; i++) {
        struct buf b;
        buf_init_fixed(&b, name, sizeof name);
        buf_printf(&b, "mx%u.example.org", i);
        assert_int_equal(tls_context_prove(r.server_context, buf_str(&b), digest_a), ERR_OK);
    }
    assert_int_equal(tls_context_prove(r.server_context, STR("one.more.example"), digest_a), ERR_TOO_BIG);
    prove(&r, "mx7.example.org", digest_b); /* none more */
    shake(&r, "mx7.example.org", "acme-tls/1");
    assert_proof(&r, "mx7.example.org", digest_b);
    tls_context_prove_none(r.server_context);
    prove(&r, "one.more.example", digest_a);
    tt_teardown(&r);
}

static void is_for(void **state)
{
    struct tt_rig r;
    begin(&r, *state);
    prove(&r, "mx.example.org", digest_a);
    assert_true(tls_context_is_for(r.server_context, STR("mta-sts.example.org")));
    assert_true(tls_context_is_for(r.server_context, STR("MTA-STS.example.org.")));
    assert_false(tls_context_is_for(r.server_context, STR("mx.example.org"))); /* a proof is none */
    assert_false(tls_context_is_for(r.server_context, STR("example.org")));
    assert_false(tls_context_is_for(r.server_context, STR("")));
    tt_teardown(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(proves),   cmocka_unit_test(others),
        cmocka_unit_test(no_proof), cmocka_unit_test(forgotten_meanwhile),
        cmocka_unit_test(bounds),   cmocka_unit_test(is_for)};
    return cmocka_run_group_tests_name("tls_proof", tests, make_cert, free_cert);
}
