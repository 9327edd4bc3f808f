#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tls_testing.h"

#include <openssl/evp.h>
#include <string.h>

/* ---- what works ---- */

static const char *const versions[] = {"TLSv1.2", "TLSv1.3"};

/* Contexts have no switch for it: no role wants one. */
static void only_version(struct tls_context *t, int version)
{
    for (size_t i = 0; i < t->n_sites; i++) {
        assert_int_equal(SSL_CTX_set_min_proto_version(t->sites[i].ctx, version), 1);
        assert_int_equal(SSL_CTX_set_max_proto_version(t->sites[i].ctx, version), 1);
    }
}

static void each_key(struct tt_rig *r, enum tt_kind kind, bool is_13)
{
    static const char *const signatures[][2] = {
        [TT_EC] = {"ecdsa_sha256", "ecdsa_sha256"},
        [TT_RSA] = {"rsa_pss_rsae_sha256", "rsa_pss_rsae_sha256"},
        [TT_ED25519] = {"ed25519", "ed25519"},
        [TT_EC384] = {"ecdsa_sha256", "ecdsa_sha384"},
    };
    struct str names[] = {STR("mx.example.org")};
    struct tt_cert c =
        tt_make(&(struct tt_spec){.kind = kind, .names = "DNS:mx.example.org", .cn = "the server"});
    unsigned char a[32], b[32], x[64], y[64];
    size_t n_x, n_y;
    tt_server(r, &c, NULL, NULL);
    tt_client(r, &c, NULL);
    only_version(r->server_context, is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    r->start =
        (struct tls_start){.server_name = names[0], .check = TLS_CHECK_PKIX, .names = names, .n_names = 1};
    tt_shake(r);
    tt_assert_ok(r);
    const struct tls_facts *f = conn_tls(r->client.c), *g = conn_tls(r->server.c);
    assert_true(str_eq(f->version, str_from_c(versions[is_13])));
    if (!str_eq(f->signature, str_from_c(signatures[kind][is_13])))
        fail_msg("%s: \"%.*s\"", signatures[kind][is_13], STR_FMT(f->signature));
    assert_true(str_eq(g->signature, f->signature));
    assert_true(str_eq(f->cipher, g->cipher) && str_starts(f->cipher, STR("TLS_")));
    assert_true(str_eq(f->group, STR("x25519")) && str_eq(g->group, f->group));
    assert_true(str_eq(f->peer_subject, STR("CN=the server")));
    assert_true(str_eq(g->server_name, names[0]));
    assert_true(f->is_trusted && f->is_named && !f->is_resumed && !f->is_dane && f->verify_code == 0);
    assert_true(f->has_peer_certificate && !g->has_peer_certificate);
    assert_true(conn_tls_exporter(r->client.c, a) && conn_tls_exporter(r->server.c, b));
    assert_memory_equal(a, b, sizeof a);
    assert_true(conn_tls_server_end_point(r->client.c, x, &n_x));
    assert_true(conn_tls_server_end_point(r->server.c, y, &n_y));
    assert_int_equal(n_x, n_y);
    assert_memory_equal(x, y, n_x);
    if (kind == TT_EC) /* signed with SHA-256: the digest of the whole certificate */
        assert_memory_equal(x, f->peer_digest, 32);
    tt_say(r, r->client.c, r->server.c, "EHLO client.example\r\n");
    tt_say(r, r->server.c, r->client.c, "250 server\r\n");
    tt_close(r);
    tt_free(&c);
}

static void all_keys_and_versions(void **state)
{
    UNUSED(state);
    for (int drips = 0; drips < 2; drips++) {
        for (int answer = TT_NOW; answer <= TT_LATER; answer++) {
            struct tt_rig r;
            tt_setup(&r);
            r.answer = (enum tt_answer)answer;
            r.is_dripping = drips == 1;
            for (int kind = TT_EC; kind <= TT_EC384; kind++) {
                each_key(&r, (enum tt_kind)kind, false);
                each_key(&r, (enum tt_kind)kind, true);
            }
            assert_int_equal(r.n_asked, 8);
            tt_teardown(&r);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_keys_and_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
