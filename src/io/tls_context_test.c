#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/tls_testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- certificates by name ---- */

enum { A_EC = 0, A_RSA, B_WILD, B_EXACT, N_CERTS };

struct certs {
    struct tt_cert of[N_CERTS];
};

static int make_certs(void **state)
{
    static struct certs c;
    c.of[A_EC] = tt_make(&(struct tt_spec){.kind = TT_EC, .names = "DNS:a.example.org,DNS:Also.Example.org"});
    c.of[A_RSA] = tt_make(&(struct tt_spec){.kind = TT_RSA, .names = "DNS:a.example.org"});
    c.of[B_WILD] =
        tt_make(&(struct tt_spec){.kind = TT_RSA, .names = "DNS:*.b.example.org,DNS:b.example.org"});
    c.of[B_EXACT] = tt_make(&(struct tt_spec){.kind = TT_EC, .names = "DNS:x.b.example.org"});
    *state = &c;
    return 0;
}

static int free_certs(void **state)
{
    struct certs *c = *state;
    for (size_t i = 0; i < N_CERTS; i++)
        tt_free(&c->of[i]);
    return 0;
}

static void server_of_all(struct tt_rig *r, const struct certs *c)
{
    struct buf pem[N_CERTS], why;
    struct tls_certificate all[N_CERTS];
    buf_init(&why, 1000);
    for (size_t i = 0; i < N_CERTS; i++) {
        buf_init(&pem[i], 1 << 16);
        tt_pem(&pem[i], &c->of[i]);
        all[i] = (struct tls_certificate){buf_str(&pem[i]), tt_add_key(r, c->of[i].key)};
    }
    struct tls_server_conf conf = {.certificates = all, .n_certificates = N_CERTS};
    r->server_context = world_tls_server(r->w, &conf, &why);
    assert_non_null(r->server_context);
    assert_int_equal(why.n, 0);
    for (size_t i = 0; i < N_CERTS; i++)
        buf_fini(&pem[i]);
    buf_fini(&why);
}

static void by_name(void **state)
{
    static const struct {
        const char *name;
        bool only_rsa; /* the client can't do EC */
        int want;      /* -1: no handshake */
    } rows[] = {
        {"a.example.org", false, A_EC},
        {"a.example.org", true, A_RSA},
        {"A.EXAMPLE.org", false, A_EC},
        {"a.example.org.", false, A_EC},
        {"also.example.org", false, A_EC},
        {"also.example.org", true, -1},
        {"b.example.org", false, B_WILD},
        {"y.b.example.org", false, B_WILD},
        {"x.b.example.org", false, B_EXACT},
        {"x.b.example.org", true, B_WILD},
        {"z.y.b.example.org", false, A_EC},
        {"example.com", false, A_EC},
        {"example.com", true, A_RSA},
        {"", false, A_EC},
        {"", true, A_RSA},
        {"*.b.example.org", false, B_WILD},
    };
    const struct certs *c = *state;
    struct tt_rig r;
    tt_setup(&r);
    server_of_all(&r, c);
    /* A alone, A with both keys, B's wildcard, x of B with the wildcard's key */
    assert_int_equal(r.server_context->n_sites, 4);
    assert_int_equal(r.server_context->n_names, 5);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char digest[32];
        tt_client(&r, NULL, NULL);
        if (rows[i].only_rsa)
            assert_int_equal(SSL_CTX_set1_sigalgs_list(r.client_context->sites[0].ctx, "RSA-PSS+SHA256"), 1);
        r.start = (struct tls_start){.server_name = str_from_c(rows[i].name)};
        tt_shake(&r);
        if (rows[i].want == -1) {
            assert_int_equal(r.server.err, ERR_TLS);
            assert_non_null(strstr(r.server.why, "no signature algorithm that both sides take"));
            assert_non_null(strstr(r.client.why, "refused the TLS handshake: handshake failure"));
            continue;
        }
        tt_assert_ok(&r);
        assert_int_equal(X509_digest(c->of[rows[i].want].x, EVP_sha256(), digest, NULL), 1);
        if (memcmp(conn_tls(r.client.c)->peer_digest, digest, sizeof digest) != 0)
            fail_msg("row %zu: another certificate", i);
    }
    tt_teardown(&r);
}

/* ---- what can't be read ---- */

static const char rsa_key_head[] = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";

static void bad_chain(struct tt_rig *r, struct str bad, const char *text)
{
    struct buf why;
    buf_init(&why, 1000);
    (void)buf_puts(&why, "before: ");
    struct tls_certificate all[] = {{buf_str(&r->pem), 0}, {bad, 1}};
    struct tls_server_conf conf = {.certificates = all, .n_certificates = 2};
    assert_null(world_tls_server(r->w, &conf, &why));
    (void)buf_putc(&why, 0);
    if (strstr(why.p, text) == NULL || strncmp(why.p, "before: certificate 2: ", 23) != 0)
        fail_msg("\"%s\" is not in \"%s\"", text, why.p);
    struct tls_client_conf client = {.certificate = &all[1]};
    buf_reset(&why);
    assert_null(world_tls_client(r->w, &client, &why));
    assert_true(str_starts(buf_str(&why), STR("our certificate: ")));
    buf_fini(&why);
}

static void bad_certificates(void **state)
{
    const struct certs *c = *state;
    struct tt_rig r;
    struct buf good, many;
    tt_setup(&r);
    buf_init(&good, 1 << 16);
    buf_init(&many, 1 << 20);
    tt_pem(&r.pem, &c->of[A_EC]);
    tt_pem(&good, &c->of[A_RSA]);
    struct str pem = buf_str(&good);
    bad_chain(&r, STR_NIL, "no certificate in PEM form");
    bad_chain(&r, STR("hello\n"), "no certificate in PEM form");
    for (size_t cut = 30; cut < pem.n - 2; cut += 97) /* each leaves a beginning without its end */
        bad_chain(&r, str_slice(pem, 0, cut), "number 1 of the chain is damaged or cut off: ");
    tt_pem(&many, &c->of[A_RSA]);
    size_t n_one = many.n;
    tt_pem(&many, &c->of[A_EC]);
    bad_chain(&r, str_slice(buf_str(&many), 0, n_one + 200), "number 2 of the chain is damaged or cut off: ");
    many.p[n_one / 2] = (char)(many.p[n_one / 2] == 'A' ? 'B' : 'A');
    many.p[100] = '!';
    bad_chain(&r, buf_str(&many), "number 1 of the chain is damaged or cut off: ");
    buf_reset(&many);
    for (int i = 0; i <= TLS_CHAIN_MAX; i++)
        tt_pem(&many, &c->of[A_EC]);
    bad_chain(&r, buf_str(&many), "more than 10 certificates in a chain");
    buf_reset(&many);
    while (many.n <= TLS_CHAIN_SIZE_MAX)
        (void)buf_puts(&many, "this is a comment that is longer than it should be\n");
    bad_chain(&r, buf_str(&many), "at most 65536 are read");
    buf_reset(&many);
    tt_pem(&many, &c->of[A_EC]);
    (void)buf_puts(&many, rsa_key_head);
    bad_chain(&r, buf_str(&many), "there is a private key in the file");
    struct tt_cert weak = tt_make(&(struct tt_spec){.kind = TT_RSA1024, .names = "DNS:a.example.org"});
    buf_reset(&many);
    tt_pem(&many, &weak);
    struct tls_certificate one = {buf_str(&many), tt_add_key(&r, weak.key)};
    struct tls_server_conf conf = {.certificates = &one, .n_certificates = 1};
    buf_reset(&good);
    assert_null(world_tls_server(r.w, &conf, &good));
    assert_true(str_eq(buf_str(&good), STR("certificate 1: the certificate's key is too short")));
    conf.legacy = true;
    r.server_context = world_tls_server(r.w, &conf, &good);
    assert_non_null(r.server_context);
    tt_free(&weak);
    buf_fini(&good);
    buf_fini(&many);
    tt_teardown(&r);
}

static void bad_anchors(void **state)
{
    const struct certs *c = *state;
    struct tt_rig r;
    struct buf pem, why;
    tt_setup(&r);
    buf_init(&pem, 1 << 16);
    buf_init(&why, 1000);
    tt_pem(&pem, &c->of[A_EC]);
    size_t n_one = pem.n;
    tt_pem(&pem, &c->of[A_EC]); /* twice the same is fine */
    struct tls_client_conf conf = {.ca = buf_str(&pem)};
    r.client_context = world_tls_client(r.w, &conf, &why);
    assert_non_null(r.client_context);
    conf.ca = str_slice(conf.ca, 0, n_one + 100);
    assert_null(world_tls_client(r.w, &conf, &why));
    assert_true(str_starts(buf_str(&why), STR("trust anchor 2 is damaged or cut off: ")));
    conf.ca = STR("nothing of the kind");
    buf_reset(&why);
    assert_null(world_tls_client(r.w, &conf, &why));
    assert_true(str_eq(buf_str(&why), STR("no trust anchor in PEM form is in the file")));
    buf_fini(&pem);
    buf_fini(&why);
    tt_teardown(&r);
}

/* ---- ALPN ---- */

static void alpn(void **state)
{
    static const struct {
        const char *server, *client, *agreed; /* NULL: refused */
    } rows[] = {
        {"smtp", "smtp", "smtp"}, {"smtp", "", ""},      {"", "h2", ""},
        {"smtp", "h2", NULL},     {"smtp", "smt", NULL}, {"smtp", "smtps", NULL},
    };
    const struct certs *c = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tt_rig r;
        tt_setup(&r);
        tt_server(&r, &c->of[A_EC], NULL, &(struct tls_server_conf){.alpn = str_from_c(rows[i].server)});
        tt_client(&r, NULL, NULL);
        r.start.alpn = str_from_c(rows[i].client);
        tt_shake(&r);
        if (rows[i].agreed == NULL) {
            assert_non_null(strstr(r.server.why, "asked for other protocols (ALPN) only"));
            assert_non_null(strstr(r.client.why, "refused the TLS handshake: no application protocol"));
        } else {
            tt_assert_ok(&r);
            assert_true(str_eq(conn_tls(r.client.c)->alpn, str_from_c(rows[i].agreed)));
            assert_true(str_eq(conn_tls(r.server.c)->alpn, str_from_c(rows[i].agreed)));
        }
        tt_teardown(&r);
    }
}

/* ---- tickets ---- */

static void limit_version(struct tt_rig *r, int version)
{
    assert_int_equal(SSL_CTX_set_max_proto_version(r->client_context->sites[0].ctx, version), 1);
}

/* A handshake, a word, and the session that came with it (or NULL). */
static struct tls_session *visit(struct tt_rig *r, const struct tls_session *resume, bool is_resumed)
{
    unsigned before = r->n_asked;
    r->start.resume = resume;
    tt_shake(r);
    tt_assert_ok(r);
    assert_int_equal(conn_tls(r->client.c)->is_resumed, is_resumed);
    assert_int_equal(conn_tls(r->server.c)->is_resumed, is_resumed);
    assert_int_equal(conn_tls(r->client.c)->signature.n > 0, !is_resumed);
    assert_int_equal(r->n_asked - before, is_resumed ? 0 : 1);
    tt_say(r, r->server.c, r->client.c, "220 a.example.org\r\n");
    tt_say(r, r->client.c, r->server.c, "EHLO b\r\n");
    struct tls_session *s = conn_tls_session(r->client.c);
    tt_close(r);
    return s;
}

static void tickets(void **state)
{
    const struct certs *c = *state;
    struct tls_ticket_key keys[3];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        memset(&keys[i], (int)i + 1, sizeof keys[i]);
    const struct tls_ticket_key rotated[] = {keys[1], keys[0]};
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct tt_rig r;
        struct str names[] = {STR("a.example.org")};
        tt_setup(&r);
        tt_client(&r, &c->of[A_EC], NULL);
        limit_version(&r, version);
        r.start = (struct tls_start){
            .server_name = names[0], .check = TLS_CHECK_PKIX, .names = names, .n_names = 1};

        tt_server(&r, &c->of[A_EC], NULL, NULL); /* off */
        assert_null(visit(&r, NULL, false));

        tt_server(&r, &c->of[A_EC], NULL, &(struct tls_server_conf){.tickets = keys, .n_tickets = 1});
        struct tls_session *first = visit(&r, NULL, false), *old = visit(&r, NULL, false);
        assert_non_null(first);
        assert_non_null(old);
        struct tls_session *again = visit(&r, first, true); /* each serves once */
        assert_non_null(again);
        tls_session_free(&first);

        /* a new key first: the old still opens, and a new ticket comes */
        tt_server(&r, &c->of[A_EC], NULL, &(struct tls_server_conf){.tickets = rotated, .n_tickets = 2});
        struct tls_session *renewed = visit(&r, again, true);
        tls_session_free(&again);
        assert_non_null(renewed);

        /* the old key is gone */
        tt_server(&r, &c->of[A_EC], NULL, &(struct tls_server_conf){.tickets = &keys[1], .n_tickets = 1});
        again = visit(&r, renewed, true);
        tls_session_free(&renewed);
        renewed = again;
        again = visit(&r, old, false);
        tls_session_free(&again);

        /* what was good for one name is not for another, and where it was not looked at */
        tls_session_free(&old);
        r.start.check = TLS_CHECK_NONE;
        old = visit(&r, NULL, false);
        r.start.check = TLS_CHECK_PKIX;
        names[0] = STR("other.example.org");
        r.start.server_name = STR("a.example.org");
        r.start.resume = old;
        tt_shake(&r);
        assert_int_equal(r.client.err, ERR_TLS);
        assert_non_null(strstr(r.client.why, "the resumed session is for another name"));
        tt_close(&r);

        /* another context's session is not used */
        names[0] = STR("a.example.org");
        tt_client(&r, &c->of[A_EC], NULL);
        limit_version(&r, version);
        again = visit(&r, renewed, false);
        tls_session_free(&again);
        tls_session_free(&old);
        tls_session_free(&renewed);
        tt_teardown(&r);
    }
}

/* ---- openssl(1) as another's eye ---- */

struct probe {
    struct tt_rig *r;
    struct conn *accepted;
    struct conn *output;
    char text[65536];
    size_t n;
};

static void on_probe_done(void *arg, struct conn *c, enum err err, struct str why)
{
    struct probe *p = arg;
    UNUSED(c);
    UNUSED(why);
    if (err == ERR_OK) {
        conn_shutdown_write(p->accepted);
    } else {
        conn_close(p->accepted);
        p->accepted = NULL;
    }
}

static void on_probe(void *arg, struct listener *l, struct conn *c)
{
    struct probe *p = arg;
    UNUSED(l);
    assert_null(p->accepted);
    p->accepted = c;
    struct tls_start s = {.context = p->r->server_context, .deadline_ms = world_now_ms(p->r->w) + 60000};
    assert_int_equal(conn_tls_start(c, true, &s, on_probe_done, p), ERR_OK);
}

static void on_output(void *arg, struct conn *c, unsigned ready)
{
    struct probe *p = arg;
    char drop[4096];
    size_t n;
    UNUSED(ready);
    enum err err = conn_read(c, drop, sizeof drop, &n);
    if (n < sizeof p->text - p->n) {
        memcpy(p->text + p->n, drop, n);
        p->n += n;
    }
    if (err != ERR_OK && err != ERR_AGAIN)
        io_stop(p->r->io);
}

/* true: openssl s_client with these arguments made a session. */
static bool s_client(struct tt_rig *r, struct listener *l, const char *const *args)
{
    static const struct listener_user acceptor = {on_probe};
    static const struct conn_user reader = {on_output};
    static struct probe p;
    char at[64];
    const char *argv[20] = {"openssl", "s_client", "-brief", "-connect", at};
    struct buf where;
    int fds[2], status;
    size_t n = 5;
    p = (struct probe){.r = r};
    buf_init_fixed(&where, at, sizeof at);
    netaddr_format(listener_addr(l), &where);
    assert_true(buf_putc(&where, 0));
    for (size_t i = 0; args[i] != NULL; i++)
        argv[n++] = args[i];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        if (dup2(null, 0) == 0 && dup2(fds[1], 1) == 1 && dup2(fds[1], 2) == 2 && close(fds[0]) == 0 &&
            close(fds[1]) == 0)
            (void)execvp(argv[0], (char *const *)(uintptr_t)argv); /* it does not write to them */
        _exit(127);
    }
    (void)close(fds[1]);
    p.output = io_adopt_conn(r->io, fds[0]);
    listener_set_user(l, &acceptor, &p);
    conn_set_user(p.output, &reader, &p);
    conn_want(p.output, CONN_READABLE);
    io_run(r->io);
    listener_set_user(l, NULL, NULL);
    conn_close(p.output);
    if (p.accepted != NULL)
        conn_close(p.accepted);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 127);
    p.text[p.n] = 0;
    return strstr(p.text, "CONNECTION ESTABLISHED") != NULL;
}

static void seen_by_openssl(void **state)
{
#define WEAK "-cipher", "ALL:@SECLEVEL=0"
    static const struct {
        bool plain, legacy; /* does it work with such a server? */
        const char *args[8];
    } rows[] = {
        {true, true, {"-tls1_3"}},
        {true, true, {"-tls1_2"}},
        {false, true, {"-tls1_1", WEAK}},
        {false, true, {"-tls1", WEAK}},
        {false, true, {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"}},
        {false, true, {"-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"}},
        {true, true, {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}},
        {true, true, {"-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"}},
        {false, false, {"-tls1_2", "-cipher", "AES128-GCM-SHA256"}}, /* RSA key exchange */
        {false, false, {"-tls1_2", "-cipher", "AES128-SHA"}},
        {false, false, {"-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"}},
        {false, false, {"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"}},
        {true, true, {"-tls1_3", "-groups", "X25519"}},
        {true, true, {"-tls1_3", "-groups", "P-384"}},
        {false, true, {"-tls1_3", "-groups", "P-521"}},
        {false, false, {"-tls1_3", "-groups", "ffdhe2048"}},
        {false, false, {"-tls1_2", "-groups", "secp224r1", WEAK}},
        {false, true, {"-tls1_2", "-sigalgs", "RSA+SHA1", WEAK}},
    };
    const struct certs *c = *state;
    for (int legacy = 0; legacy < 2; legacy++) {
        struct tt_rig r;
        struct netaddr at;
        struct listener *l;
        tt_setup(&r);
        tt_server(&r, &c->of[A_RSA], NULL, &(struct tls_server_conf){.legacy = legacy == 1});
        assert_true(netaddr_parse(STR("127.0.0.1:0"), 0, &at));
        assert_int_equal(world_listen(r.w, &at, 0, &l), ERR_OK);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            bool works = s_client(&r, l, rows[i].args);
            if (works != (legacy == 1 ? rows[i].legacy : rows[i].plain))
                fail_msg("%s %s: %d", legacy ? "legacy" : "plain", rows[i].args[0], works);
        }
        listener_close(l);
        tt_teardown(&r);
    }
}

static int with_openssl(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(seen_by_openssl)};
    if (access("/usr/bin/openssl", X_OK) == 0)
        return cmocka_run_group_tests(tests, make_certs, free_certs);
    (void)puts("1..0 # SKIP openssl(1) is not installed");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "openssl") == 0)
        return with_openssl();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name), cmocka_unit_test(bad_certificates), cmocka_unit_test(bad_anchors),
        cmocka_unit_test(alpn),    cmocka_unit_test(tickets),
    };
    return cmocka_run_group_tests(tests, make_certs, free_certs);
}
