#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tls_testing.h"

#include <malloc.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

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

/* Contexts for peers of long ago, TLS 1.0 and 1.1: digests are SHA-1, and for RSA it with MD5. */
static void long_ago(void **state)
{
    static const struct {
        enum tt_kind kind;
        const char *signature;
        enum tls_digest digest;
        size_t n;
    } rows[] = {{TT_EC, "ecdsa_sha1", TLS_DIGEST_SHA1, 20},
                {TT_RSA, "rsa_pkcs1_md5_sha1", TLS_DIGEST_MD5_SHA1, 36},
                {TT_RSA1024, "rsa_pkcs1_md5_sha1", TLS_DIGEST_MD5_SHA1, 36}};
    UNUSED(state);
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        struct tt_rig r;
        struct tt_cert c =
            tt_make(&(struct tt_spec){.kind = rows[i / 2].kind, .names = "DNS:mx.example.org"});
        tt_setup(&r);
        tt_server(&r, &c, NULL, &(struct tls_server_conf){.legacy = true});
        tt_client(&r, NULL, &(struct tls_client_conf){.legacy = true});
        only_version(r.server_context, i % 2 == 0 ? TLS1_VERSION : TLS1_1_VERSION);
        tt_shake(&r);
        tt_assert_ok(&r);
        const struct tls_facts *f = conn_tls(r.client.c);
        assert_true(str_eq(f->version, i % 2 == 0 ? STR("TLSv1") : STR("TLSv1.1")));
        assert_true(str_eq(f->signature, str_from_c(rows[i / 2].signature)));
        assert_int_equal(r.asked.digest, rows[i / 2].digest);
        assert_int_equal(r.asked.octets.n, rows[i / 2].n);
        tt_say(&r, r.client.c, r.server.c, "EHLO client.example\r\n");
        tt_say(&r, r.server.c, r.client.c, "250 server\r\n");
        tt_client(&r, NULL, NULL); /* others don't talk to it */
        tt_shake(&r);
        assert_non_null(strstr(r.server.why, "no version of TLS that both sides take"));
        assert_non_null(strstr(r.client.why, "refused the TLS handshake: protocol version"));
        tt_teardown(&r);
        tt_free(&c);
    }
}

/* ---- what an idle session costs ---- */

enum { IDLE = 100, IDLE_MAX = 20 * 1024 };

struct idle {
    struct tt_rig r;
    struct conn *servers[IDLE], *clients[IDLE];
    size_t n_done;
};

static void on_idle(void *arg, struct conn *c, enum err err, struct str why)
{
    struct idle *m = arg;
    UNUSED(c);
    UNUSED(why);
    assert_int_equal(err, ERR_OK);
    if (++m->n_done % 2 == 0)
        io_stop(m->r.io);
}

static void idle_pair(struct idle *m, size_t i)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    m->servers[i] = io_adopt_conn(m->r.io, fds[0]);
    m->clients[i] = io_adopt_conn(m->r.io, fds[1]);
    struct tls_start s = {.deadline_ms = world_now_ms(m->r.w) + 600000, .context = m->r.server_context};
    assert_int_equal(conn_tls_start(m->servers[i], true, &s, on_idle, m), ERR_OK);
    s.context = m->r.client_context;
    s.server_name = STR("mx.example.org");
    assert_int_equal(conn_tls_start(m->clients[i], false, &s, on_idle, m), ERR_OK);
    io_run(m->r.io);
    tt_say(&m->r, m->servers[i], m->clients[i], "220 mx.example.org\r\n");
    tt_say(&m->r, m->clients[i], m->servers[i], "EHLO client.example.com\r\n");
}

static size_t in_use(void)
{
#ifdef WAXWING_SANITIZED
    return 0;
#else
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
#endif
}

/* Octets of the heap, counted with the allocator's own overhead, that one more idle session keeps. */
static void idle_memory(void **state)
{
    UNUSED(state);
    static struct idle m;
    struct tt_cert c = tt_make(&(struct tt_spec){.names = "DNS:mx.example.org"});
    const struct tls_ticket_key key = {{1}, {2}, {3}};
    for (int is_13 = 0; is_13 < 2; is_13++) {
        m.n_done = 0;
        tt_setup(&m.r);
        size_t empty = in_use();
        tt_server(&m.r, &c, NULL, &(struct tls_server_conf){.tickets = &key, .n_tickets = 1});
        tt_client(&m.r, &c, NULL);
        only_version(m.r.server_context, is_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
        idle_pair(&m, 0); /* what is made once */
        size_t before = in_use();
        print_message("# %s: contexts, library and one session of both: %zu octets\n", versions[is_13],
                      before - empty);
        for (size_t i = 1; i < IDLE; i++)
            idle_pair(&m, i);
        size_t both = in_use();
        for (size_t i = 1; i < IDLE; i++)
            conn_close(m.clients[i]);
        tt_turns(&m.r, 2);
        size_t servers = in_use();
        size_t a_server = (servers - before) / (IDLE - 1), a_client = (both - servers) / (IDLE - 1);
        print_message("# %s: an idle session is %zu octets of a server, %zu of a client\n", versions[is_13],
                      a_server, a_client);
        assert_true(a_server > sizeof(struct tls_conn) && a_server <= IDLE_MAX);
        assert_true(a_client > sizeof(struct tls_conn) && a_client <= IDLE_MAX);
        for (size_t i = 0; i < IDLE; i++)
            conn_close(m.servers[i]);
        conn_close(m.clients[0]);
        tt_teardown(&m.r);
    }
    tt_free(&c);
}

static int memory(void)
{
#ifdef WAXWING_SANITIZED
    UNUSED(idle_memory);
    (void)puts("1..0 # SKIP a sanitizer's heap has no statistics");
    return 0;
#else
    const struct CMUnitTest tests[] = {cmocka_unit_test(idle_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "memory") == 0)
        return memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_keys_and_versions),
        cmocka_unit_test(long_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
