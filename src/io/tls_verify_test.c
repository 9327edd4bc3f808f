#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tls_testing.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#define NAME "mx.example.org"

struct world_of_ca { /* a root, an issuer below it, and what they signed */
    struct tt_cert root, issuer, good, direct, other_name, expired, early, self, cn_only, wild;
};

static struct world_of_ca all;

static int make_all(void **state)
{
    struct world_of_ca a;
    const char *names = "DNS:" NAME ",DNS:www.example.org";
    a.root = tt_make(&(struct tt_spec){.cn = "root", .is_ca = true});
    a.issuer = tt_make(&(struct tt_spec){.cn = "issuer", .is_ca = true, .issuer = &a.root});
    a.good = tt_make(&(struct tt_spec){.names = names, .issuer = &a.issuer});
    a.direct = tt_make(&(struct tt_spec){.names = names, .issuer = &a.root});
    a.other_name = tt_make(&(struct tt_spec){.names = "DNS:other.example.org", .issuer = &a.root});
    a.expired = tt_make(
        &(struct tt_spec){.names = names, .issuer = &a.root, .from_s = -2L * TT_DAY, .to_s = -TT_DAY});
    a.early =
        tt_make(&(struct tt_spec){.names = names, .issuer = &a.root, .from_s = TT_DAY, .to_s = 2L * TT_DAY});
    a.self = tt_make(&(struct tt_spec){.names = names});
    a.cn_only = tt_make(&(struct tt_spec){.cn = NAME, .issuer = &a.root});
    a.wild = tt_make(&(struct tt_spec){.names = "DNS:*.example.org", .issuer = &a.root});
    all = a;
    *state = &all;
    return 0;
}

static int free_all(void **state)
{
    struct tt_cert *c = *state;
    for (size_t i = 0; i < sizeof(struct world_of_ca) / sizeof *c; i++)
        tt_free(&c[i]);
    return 0;
}

/* Both ends with that certificate and check; the rig is to be torn down after. */
static void meet(struct tt_rig *r, const struct tt_cert *c, const struct tt_cert *extra,
                 const struct tt_cert *ca)
{
    tt_setup(r);
    tt_server(r, c, extra, NULL);
    tt_client(r, ca, NULL);
}

static void assert_refused(const struct tt_rig *r, const char *text)
{
    assert_int_equal(r->client.err, ERR_TLS);
    if (strstr(r->client.why, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, r->client.why);
    assert_int_not_equal(r->server.err,
                         ERR_OK); /* it hears of it before its end, as the client waits in TLS 1.3 */
}

static void pkix(void **state)
{
    const struct world_of_ca *a = *state;
    const struct {
        const struct tt_cert *c, *extra, *ca;
        const char *name, *why;
    } rows[] = {
        {&a->good, &a->issuer, &a->root, NAME, NULL},
        {&a->good, NULL, &a->root, NAME, "unable to get local issuer certificate"},
        {&a->direct, NULL, &a->root, NAME, NULL},
        {&a->direct, NULL, &a->root, "www.example.org", NULL},
        {&a->direct, NULL, &a->root, "MX.Example.Org", NULL},
        {&a->direct, NULL, &a->root, ".example.org", NULL},
        {&a->direct, NULL, &a->root, ".org", "hostname mismatch"},
        {&a->direct, NULL, NULL, NAME, "unable to get local issuer certificate"},
        {&a->direct, NULL, &a->self, NAME, "unable to get local issuer certificate"},
        {&a->direct, NULL, &a->direct, NAME, NULL}, /* the administrator named it */
        {&a->other_name, NULL, &a->root, NAME, "hostname mismatch"},
        {&a->cn_only, NULL, &a->root, NAME, "hostname mismatch"},
        {&a->wild, NULL, &a->root, NAME, NULL},
        {&a->wild, NULL, &a->root, "a.b.example.org", "hostname mismatch"},
        {&a->wild, NULL, &a->root, "example.org", "hostname mismatch"},
        {&a->expired, NULL, &a->root, NAME, "certificate has expired"},
        {&a->early, NULL, &a->root, NAME, "certificate is not yet valid"},
        {&a->self, NULL, &a->root, NAME, "self-signed certificate"},
        {&a->self, NULL, &a->self, NAME, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tt_rig r;
        struct str names[] = {STR("nobody.example.com"), str_from_c(rows[i].name)};
        meet(&r, rows[i].c, rows[i].extra, rows[i].ca);
        r.start = (struct tls_start){
            .server_name = STR(NAME), .check = TLS_CHECK_PKIX, .names = names, .n_names = ARRAY_LEN(names)};
        tt_shake(&r);
        if (rows[i].why != NULL) {
            assert_refused(&r, rows[i].why);
        } else {
            tt_assert_ok(&r);
            const struct tls_facts *f = conn_tls(r.client.c);
            assert_true(f->is_trusted && f->is_named && f->verify_code == 0 && f->verify_text.n == 0);
        }
        tt_teardown(&r);
    }
}

/* A second context trusts whom the first does, and goes on to when that one is gone. */
static void anchors_are_shared(void **state)
{
    const struct world_of_ca *a = *state;
    for (int is_ours = 0; is_ours < 2; is_ours++) {
        struct tt_rig r;
        struct str name = STR(NAME);
        meet(&r, is_ours ? &a->direct : &a->self, NULL, &a->root);
        struct tls_context *first = tls_context_keep(r.client_context);
        tt_client(&r, NULL,
                  &(struct tls_client_conf){.like = first, .legacy = true}); /* has no anchors of its own */
        tls_context_release(&first);
        r.start =
            (struct tls_start){.server_name = name, .check = TLS_CHECK_PKIX, .names = &name, .n_names = 1};
        tt_shake(&r);
        if (is_ours)
            tt_assert_ok(&r);
        else
            assert_refused(&r, "self-signed certificate");
        tt_teardown(&r);
    }
}

/* Without a check all of them are taken, and the facts say what is wrong. */
static void none_tells_facts(void **state)
{
    const struct world_of_ca *a = *state;
    const struct {
        const struct tt_cert *c;
        bool is_trusted, is_named;
        const char *text;
    } rows[] = {
        {&a->direct, true, true, ""},
        {&a->other_name, true, false, ""},
        {&a->expired, false, true, "certificate has expired"},
        {&a->self, false, true, "self-signed certificate"},
        {&a->good, false, true, "unable to get local issuer certificate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tt_rig r;
        struct str names[] = {STR(NAME)};
        unsigned char digest[32];
        meet(&r, rows[i].c, NULL, &a->root);
        r.start = (struct tls_start){.names = names, .n_names = 1};
        tt_shake(&r);
        tt_assert_ok(&r);
        const struct tls_facts *f = conn_tls(r.client.c);
        assert_int_equal(f->is_trusted, rows[i].is_trusted);
        assert_int_equal(f->is_named, rows[i].is_named);
        assert_true(str_eq(f->verify_text, str_from_c(rows[i].text)));
        assert_int_equal(X509_digest(rows[i].c->x, EVP_sha256(), digest, NULL), 1);
        assert_memory_equal(f->peer_digest, digest, sizeof digest);
        assert_int_equal(conn_tls(r.server.c)->server_name.n, 0); /* none was sent */
        tt_teardown(&r);
    }
}

/* What failed, or what there was to be said against a certificate that was taken unseen: the same. */
static void faults(void **state)
{
    const struct world_of_ca *a = *state;
    struct tt_cert both = tt_make(&(struct tt_spec){
        .names = "DNS:other.example.org", .issuer = &a->root, .from_s = -2L * TT_DAY, .to_s = -TT_DAY});
    const struct {
        const struct tt_cert *c, *extra;
        enum tls_fault fault;
    } rows[] = {
        {&a->good, &a->issuer, TLS_FAULT_NONE}, {&a->wild, NULL, TLS_FAULT_NONE},
        {&a->good, NULL, TLS_FAULT_UNTRUSTED},  {&a->self, NULL, TLS_FAULT_UNTRUSTED},
        {&a->early, NULL, TLS_FAULT_UNTRUSTED}, {&a->expired, NULL, TLS_FAULT_EXPIRED},
        {&a->other_name, NULL, TLS_FAULT_NAME}, {&a->cn_only, NULL, TLS_FAULT_NAME},
        {&both, NULL, TLS_FAULT_NAME},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        struct tt_rig r;
        struct str name = STR(NAME), others[] = {STR("nobody.example.com")};
        bool is_strict = i % 2 == 1;
        meet(&r, rows[i / 2].c, rows[i / 2].extra, &a->root);
        r.start = (struct tls_start){.server_name = name,
                                     .check = is_strict ? TLS_CHECK_PKIX : TLS_CHECK_NONE,
                                     .names = is_strict ? &name : others,
                                     .n_names = 1};
        tt_shake(&r);
        bool is_taken = !is_strict || rows[i / 2].fault == TLS_FAULT_NONE;
        assert_int_equal(r.client.err, is_taken ? ERR_OK : ERR_TLS);
        assert_int_equal(conn_tls_fault(r.client.c), rows[i / 2].fault);
        assert_int_equal(conn_tls_fault(r.server.c), is_taken ? TLS_FAULT_NONE : TLS_FAULT_HANDSHAKE);
        tt_teardown(&r);
    }
    tt_free(&both);
}

/* ---- DANE ---- */

struct record {
    uint8_t usage, selector, matching;
    const struct tt_cert *of;
    bool is_cut; /* malformed */
};

static struct tls_tlsa tlsa_of(const struct record *q, unsigned char **mem)
{
    unsigned char *der = NULL, md[EVP_MAX_MD_SIZE];
    unsigned n_md = 0;
    int n =
        q->selector == 0 ? i2d_X509(q->of->x, &der) : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(q->of->x), &der);
    assert_true(n > 0);
    if (q->matching != 0) {
        const EVP_MD *m = q->matching == 1 ? EVP_sha256() : EVP_sha512();
        assert_int_equal(EVP_Digest(der, (size_t)n, md, &n_md, m, NULL), 1);
        memcpy(der, md, n_md);
        n = (int)n_md;
    }
    *mem = der;
    return (struct tls_tlsa){q->usage, q->selector, q->matching,
                             str_of(der, (size_t)(q->is_cut ? n - 1 : n))};
}

static const struct {
    const struct tt_cert *c, *extra;
    struct record records[2];
    const char *why; /* NULL: fine */
    unsigned n_usable;
    bool is_dane, is_pkix;
} dane_rows[] = {
    {&all.good, NULL, {{3, 1, 1, &all.good, false}}, NULL, 1, true, false},
    {&all.good, NULL, {{3, 0, 1, &all.good, false}}, NULL, 1, true, false},
    {&all.good, NULL, {{3, 1, 2, &all.good, false}}, NULL, 1, true, false},
    {&all.good, NULL, {{3, 1, 0, &all.good, false}}, NULL, 1, true, false},
    {&all.good, NULL, {{3, 0, 0, &all.good, false}}, NULL, 1, true, false},
    {&all.self, NULL, {{3, 1, 1, &all.self, false}}, NULL, 1, true, false},
    {&all.other_name, NULL, {{3, 1, 1, &all.other_name, false}}, NULL, 1, true, false}, /* no look at names
                                                                                         */
    {&all.expired, NULL, {{3, 1, 1, &all.expired, false}}, NULL, 1, true, false},       /* and dates */
    {&all.good, &all.issuer, {{2, 0, 1, &all.issuer, false}}, NULL, 1, true, false},
    {&all.good, &all.issuer, {{2, 1, 2, &all.issuer, false}}, NULL, 1, true, false},
    {&all.cn_only, &all.root, {{2, 0, 1, &all.root, false}}, NULL, 1, true, false}, /* RFC 7672 3.2.3 */
    {&all.good, NULL, {{2, 1, 0, &all.issuer, false}}, NULL, 1, true, false}, /* a bare key that signed it
                                                                               */
    {&all.good, NULL, {{2, 0, 1, &all.issuer, false}}, "no matching DANE TLSA records", 1, false, false},
    {&all.other_name, &all.root, {{2, 0, 1, &all.root, false}}, "hostname mismatch", 1, false, false},
    {&all.expired, &all.root, {{2, 0, 1, &all.root, false}}, "certificate has expired", 1, false, false},
    {&all.good, NULL, {{3, 1, 1, &all.self, false}}, "no matching DANE TLSA records", 1, false, false},
    {&all.good,
     &all.issuer,
     {{3, 1, 1, &all.self, false}, {2, 0, 1, &all.issuer, false}},
     NULL,
     2,
     true,
     false},
    {&all.good, NULL, {{3, 1, 1, &all.self, false}, {3, 1, 1, &all.good, false}}, NULL, 2, true, false},
    {&all.good, NULL, {{0, 0, 1, &all.root, false}, {1, 1, 1, &all.good, false}}, NULL, 0, false, false},
    {&all.good, NULL, {{3, 1, 1, &all.good, true}}, NULL, 0, false, false},
    {&all.good, &all.issuer, {{3, 1, 1, &all.good, true}}, NULL, 0, false, true},
    {&all.other_name, NULL, {{3, 1, 0, &all.good, true}}, NULL, 0, false, true},
    {&all.other_name,
     NULL,
     {{4, 0, 1, &all.good, false}, {255, 255, 255, &all.good, false}},
     NULL,
     0,
     false,
     true},
    {&all.other_name, NULL, {{3, 2, 1, &all.good, false}, {3, 1, 3, &all.good, false}}, NULL, 0, false, true},
    {&all.good,
     NULL,
     {{3, 1, 1, &all.good, true}, {3, 1, 1, &all.self, false}},
     "no matching",
     1,
     false,
     false},
    {&all.good, NULL, {{1, 1, 1, &all.good, false}, {3, 1, 1, &all.good, false}}, NULL, 1, true, false},
};

static void dane(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(dane_rows); i++) {
        struct tt_rig r;
        struct str names[] = {STR(NAME)};
        struct tls_tlsa records[2];
        unsigned char *mem[2] = {0};
        size_t n = dane_rows[i].records[1].of == NULL ? 1 : 2;
        meet(&r, dane_rows[i].c, dane_rows[i].extra, &all.root);
        for (size_t k = 0; k < n; k++)
            records[k] = tlsa_of(&dane_rows[i].records[k], &mem[k]);
        r.start = (struct tls_start){.server_name = STR(NAME),
                                     .check = TLS_CHECK_DANE,
                                     .names = names,
                                     .n_names = 1,
                                     .tlsa = records,
                                     .n_tlsa = n};
        tt_shake(&r);
        if (dane_rows[i].why != NULL) {
            assert_refused(&r, dane_rows[i].why);
            enum tls_fault fault = strstr(dane_rows[i].why, "no matching") != NULL ? TLS_FAULT_RECORDS
                                   : dane_rows[i].c == &all.expired                ? TLS_FAULT_EXPIRED
                                                                                   : TLS_FAULT_NAME;
            assert_int_equal(conn_tls_fault(r.client.c), fault);
        } else {
            assert_true(!dane_rows[i].is_dane || conn_tls_fault(r.client.c) == TLS_FAULT_NONE);
            if (r.client.err != ERR_OK)
                fail_msg("row %zu: %s", i, r.client.why);
            tt_assert_ok(&r);
            const struct tls_facts *f = conn_tls(r.client.c);
            const struct record *q =
                &dane_rows[i].records[n - 1]; /* the one that fits is the last of each row */
            assert_int_equal(f->n_tlsa_usable, dane_rows[i].n_usable);
            assert_int_equal(f->is_dane, dane_rows[i].is_dane);
            assert_int_equal(f->is_trusted, dane_rows[i].is_pkix); /* PKIX is asked when DANE is not */
            if (f->is_dane) {
                assert_int_equal(f->dane_usage, q->usage);
                assert_int_equal(f->dane_selector, q->selector);
                assert_int_equal(f->dane_matching, q->matching);
                assert_true(str_eq(f->dane_data, str_slice(records[n - 1].data, 0, TLS_DANE_DATA_TOLD)));
            }
            tt_say(&r, r.server.c, r.client.c, "220 " NAME "\r\n");
            assert_null(conn_tls_session(r.client.c)); /* never to be resumed */
        }
        for (size_t k = 0; k < n; k++)
            OPENSSL_free(mem[k]);
        tt_teardown(&r);
    }
}

/* ---- certificates of clients ---- */

static void client_certificate(void **state)
{
    const struct world_of_ca *a = *state;
    struct tt_cert ours[] = {
        tt_make(&(struct tt_spec){.kind = TT_EC, .cn = "relay", .issuer = &a->root}),
        tt_make(&(struct tt_spec){.kind = TT_RSA, .cn = "relay", .issuer = &a->root}),
        tt_make(&(struct tt_spec){.kind = TT_ED25519, .cn = "relay", .issuer = &a->root}),
        tt_make(&(struct tt_spec){.kind = TT_EC, .cn = "relay"}), /* signed by nobody they know */
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(ours); i++) {
        struct tt_rig r;
        struct buf pem, ca;
        struct tt_cert *mine = &ours[i / 2];
        bool asks = i % 2 == 0, is_known = i / 2 < 3;
        unsigned char digest[32];
        tt_setup(&r);
        r.answer = TT_LATER; /* both sides wait for signatures */
        buf_init(&pem, 1 << 16);
        buf_init(&ca, 1 << 16);
        tt_pem(&pem, mine);
        tt_pem(&ca, &a->root);
        struct tls_certificate c = {buf_str(&pem), tt_add_key(&r, mine->key)};
        tt_server(&r, &a->good, &a->issuer,
                  &(struct tls_server_conf){.ask_certificate = asks, .client_ca = buf_str(&ca)});
        tt_client(&r, NULL, &(struct tls_client_conf){.certificate = &c});
        tt_shake(&r);
        tt_assert_ok(&r);
        const struct tls_facts *f = conn_tls(r.server.c);
        assert_int_equal(r.n_asked, asks ? 2 : 1);
        assert_int_equal(f->has_peer_certificate, asks);
        assert_int_equal(f->is_trusted, asks && is_known);
        if (asks) {
            assert_int_equal(X509_digest(mine->x, EVP_sha256(), digest, NULL), 1);
            assert_memory_equal(f->peer_digest, digest, sizeof digest);
            assert_true(str_eq(f->peer_subject, STR("CN=relay")));
            assert_true(str_eq(f->peer_issuer, is_known ? STR("CN=root") : STR("CN=relay")));
        }
        tt_say(&r, r.server.c, r.client.c, "220 " NAME "\r\n");
        buf_fini(&pem);
        buf_fini(&ca);
        tt_teardown(&r);
    }
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        tt_free(&ours[i]);
}

/* A client without one is served all the same. */
static void client_without_certificate(void **state)
{
    const struct world_of_ca *a = *state;
    struct tt_rig r;
    tt_setup(&r);
    tt_server(&r, &a->good, NULL, &(struct tls_server_conf){.ask_certificate = true});
    tt_client(&r, NULL, NULL);
    tt_shake(&r);
    tt_assert_ok(&r);
    assert_false(conn_tls(r.server.c)->has_peer_certificate);
    assert_false(conn_tls(r.server.c)->is_trusted);
    tt_teardown(&r);
}

static void names_are_printable(void **state)
{
    UNUSED(state);
    struct tt_rig r;
    struct buf long_cn;
    buf_init(&long_cn, 100);
    for (int i = 0; i < 30; i++)
        (void)buf_puts(&long_cn, "\xc3\xa9");
    (void)buf_put(&long_cn, str_of("\x1b\n", 3));
    struct tt_cert c = tt_make(&(struct tt_spec){.cn = long_cn.p});
    tt_setup(&r);
    tt_server(&r, &c, NULL, NULL);
    tt_client(&r, NULL, NULL);
    tt_shake(&r);
    tt_assert_ok(&r);
    struct str s = conn_tls(r.client.c)->peer_subject;
    assert_true(str_starts(s, STR("CN=")) && s.n <= TLS_NAME_TEXT_MAX);
    for (size_t i = 0; i < s.n; i++)
        assert_true(s.p[i] >= ' ' && s.p[i] <= '~');
    tt_teardown(&r);
    tt_free(&c);
    buf_fini(&long_cn);
}

static void never_called(void *arg, struct conn *c, enum err err, struct str why)
{
    UNUSED(arg);
    UNUSED(c);
    UNUSED(err);
    UNUSED(why);
    fail();
}

static void bad_names_start_nothing(void **state)
{
    const struct world_of_ca *a = *state;
    struct tt_rig r;
    struct str many[TLS_NAMES_MAX + 1];
    struct str bad[] = {STR_NIL, STR("a\nb"), STR("."), STR("..example.org"), str_of("a\0b", 3)};
    meet(&r, &a->good, NULL, NULL);
    tt_connect(&r);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = STR(NAME);
    struct tls_start s = {
        .context = r.client_context, .deadline_ms = 1, .names = many, .n_names = ARRAY_LEN(many)};
    assert_int_equal(conn_tls_start(r.client.c, false, &s, never_called, NULL), ERR_TOO_BIG);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        s.names = &bad[i];
        s.n_names = 1;
        assert_int_equal(conn_tls_start(r.client.c, false, &s, never_called, NULL), ERR_INVALID);
    }
    s.n_names = 0;
    for (int check = TLS_CHECK_PKIX; check <= TLS_CHECK_DANE; check++) { /* for whom? */
        s.check = (enum tls_check)check;
        assert_int_equal(conn_tls_start(r.client.c, false, &s, never_called, NULL), ERR_INVALID);
    }
    assert_null(conn_tls(r.client.c));
    r.start = (struct tls_start){0};
    tt_start_server(&r); /* the connection is as it was */
    tt_start_client(&r);
    tt_run(&r, 2);
    tt_assert_ok(&r);
    tt_teardown(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pkix),
        cmocka_unit_test(anchors_are_shared),
        cmocka_unit_test(none_tells_facts),
        cmocka_unit_test(faults),
        cmocka_unit_test(dane),
        cmocka_unit_test(client_certificate),
        cmocka_unit_test(client_without_certificate),
        cmocka_unit_test(names_are_printable),
        cmocka_unit_test(bad_names_start_nothing),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
