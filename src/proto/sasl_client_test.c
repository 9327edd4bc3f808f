#include "proto/sasl_client.h"

#include "base/base64.h"
#include "proto/sasl_testing.h"

static struct sasl_client_conf conf_of(void **state)
{
    return (struct sasl_client_conf){.crypto = *state,
                                     .user = STR("user"),
                                     .password = STR("pencil"),
                                     .is_encrypted = true,
                                     .host = STR("server.example.com"),
                                     .port = 587};
}

static void chooses_the_strongest_that_it_can(void **state)
{
    static const struct {
        const char *offered;
        bool has_password, has_token, has_certificate, is_encrypted, has_binding;
        unsigned allowed;
        enum sasl_mechanism want;
    } rows[] = {
        {"LOGIN PLAIN", true, false, false, true, false, 0, SASL_PLAIN},
        {"LOGIN", true, false, false, true, false, 0, SASL_LOGIN},
        {"PLAIN LOGIN", true, false, false, false, false, 0, SASL_NONE},
        {"PLAIN SCRAM-SHA-1", true, false, false, false, false, 0, SASL_SCRAM_SHA1},
        {"PLAIN SCRAM-SHA-1 SCRAM-SHA-256", true, false, false, true, false, 0, SASL_SCRAM_SHA256},
        {"SCRAM-SHA-1-PLUS SCRAM-SHA-256", true, false, false, true, true, 0, SASL_SCRAM_SHA1_PLUS},
        {"SCRAM-SHA-1-PLUS SCRAM-SHA-256", true, false, false, true, false, 0, SASL_SCRAM_SHA256},
        {"SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN", true, false, false, true, true, SASL_BIT(SASL_PLAIN),
         SASL_PLAIN},
        {"EXTERNAL PLAIN", true, false, true, true, false, 0, SASL_EXTERNAL},
        {"EXTERNAL PLAIN", true, false, true, false, false, 0, SASL_NONE},
        {"EXTERNAL", true, false, false, true, false, 0, SASL_NONE},
        {"PLAIN XOAUTH2", false, true, false, true, false, 0, SASL_XOAUTH2},
        {"XOAUTH2 OAUTHBEARER", false, true, false, true, false, 0, SASL_OAUTHBEARER},
        {"XOAUTH2 OAUTHBEARER", false, true, false, false, false, 0, SASL_NONE},
        {"PLAIN", false, true, false, true, false, 0, SASL_NONE},
        {"CRAM-MD5 NTLM", true, true, true, true, true, 0, SASL_NONE},
        {"", true, true, true, true, true, 0, SASL_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sasl_client_conf conf = conf_of(state);
        if (!rows[i].has_password)
            conf.password = STR_NIL;
        if (rows[i].has_token)
            conf.token = STR("t");
        conf.has_certificate = rows[i].has_certificate;
        conf.is_encrypted = rows[i].is_encrypted;
        if (rows[i].has_binding)
            conf.tls_exporter = TEST_EXPORTER;
        conf.allowed = rows[i].allowed;
        assert_int_equal(sasl_client_choose(&conf, sasl_of_list(str_from_c(rows[i].offered))), rows[i].want);
    }
    struct sasl_client_conf conf = conf_of(state);
    conf.user = STR("us\ner");
    assert_int_equal(sasl_client_choose(&conf, SASL_ALL), SASL_NONE);
    conf = conf_of(state);
    conf.password = STR("pen\0cil");
    assert_int_equal(sasl_client_choose(&conf, SASL_ALL), SASL_NONE);
    conf.token = STR("t\1host=x"); /* would be a pair of its own */
    assert_int_equal(sasl_client_choose(&conf, SASL_ALL), SASL_NONE);
    conf.token = STR("t");
    assert_int_equal(sasl_client_choose(&conf, SASL_ALL), SASL_OAUTHBEARER);
    conf.host = STR("x\1y");
    assert_int_equal(sasl_client_choose(&conf, SASL_ALL), SASL_NONE);
}

static struct str octets(const char *text, char *mem, size_t cap)
{
    struct buf b;
    buf_init_fixed(&b, mem, cap);
    assert_true(base64_take(str_from_c(text), &b));
    return buf_str(&b);
}

struct example {
    enum sasl_mechanism m;
    const char *nonce, *client_first, *server_first, *client_final, *server_final;
};
// clang-format off
static const struct example examples[] = {
    /* RFC 5802 5 */
    {SASL_SCRAM_SHA1, "fyko+d2lbbFgONRv9qkxdawL",
     "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
     "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    /* RFC 7677 3 */
    {SASL_SCRAM_SHA256, "rOprNGfwEbeRWgbNEkqO",
     "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};
// clang-format on

/* An exchange that has sent its client-final. */
static struct sasl_client *until_final(const struct sasl_client_conf *conf, const struct example *e)
{
    char mem[64];
    struct str r;
    struct sasl_client *c = sasl_client_new(conf, e->m, SASL_BIT(e->m), octets(e->nonce, mem, sizeof mem));
    assert_non_null(c);
    assert_true(sasl_client_initial(c, &r));
    assert_true(str_eq(r, str_from_c(e->client_first)));
    assert_int_equal(sasl_client_feed(c, str_from_c(e->server_first), &r), SASL_CLIENT_RESPONSE);
    assert_true(str_eq(r, str_from_c(e->client_final)));
    return c;
}

static void scram_examples_of_the_rfcs(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct str r;
        struct sasl_client *c = until_final(&conf, &examples[i]);
        assert_int_equal(sasl_client_feed(c, str_from_c(examples[i].server_final), &r), SASL_CLIENT_RESPONSE);
        assert_int_equal(r.n, 0);
        assert_true(sasl_client_succeeded(c));
        assert_int_equal(sasl_client_failure(c), SASL_FAIL_NONE);
        sasl_client_del(&c);
        /* a success without the server's signature is none */
        c = until_final(&conf, &examples[i]);
        assert_false(sasl_client_succeeded(c));
        assert_int_equal(sasl_client_failure(c), SASL_FAIL_SERVER);
        sasl_client_del(&c);
    }
}

static void a_wrong_signature_is_found_in_every_bit(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    const struct example *e = &examples[0];
    char text[64];
    struct str good = str_from_c(e->server_final), r;
    for (size_t bit = 0; bit < 8 * good.n; bit += 5) {
        memcpy(text, good.p, good.n);
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        struct sasl_client *c = until_final(&conf, e);
        assert_int_equal(sasl_client_feed(c, str_of(text, good.n), &r), SASL_CLIENT_FAILED);
        assert_int_equal(r.n, 0);
        assert_false(sasl_client_succeeded(c));
        sasl_client_del(&c);
    }
    for (size_t n = 0; n < good.n; n += 3) {
        struct sasl_client *c = until_final(&conf, e);
        assert_int_equal(sasl_client_feed(c, str_slice(good, 0, n), &r), SASL_CLIENT_FAILED);
        sasl_client_del(&c);
    }
}

/* As much as a server may ask for is done. */
static void the_dearest_server(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    char mem[64];
    struct str r;
    struct sasl_client *c = sasl_client_new(&conf, SASL_SCRAM_SHA1, SASL_BIT(SASL_SCRAM_SHA1),
                                            octets(examples[0].nonce, mem, sizeof mem));
    assert_int_equal(SASL_CLIENT_ITERATIONS_MAX, 100000);
    assert_true(sasl_client_initial(c, &r));
    assert_int_equal(sasl_client_feed(c, STR("r=fyko+d2lbbFgONRv9qkxdawLxx,s=QSXCR+Q6sek8bf92,i=100000"), &r),
                     SASL_CLIENT_RESPONSE);
    sasl_client_del(&c);
}

static void servers_that_are_not_sane(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    static const struct {
        const char *server_first;
        enum sasl_failure why;
    } rows[] = {
        {"r=fyko+d2lbbFgONRv9qkxdawL,s=QSXCR+Q6sek8bf92,i=4096", SASL_FAIL_SERVER},
        {"r=gyko+d2lbbFgONRv9qkxdawLxx,s=QSXCR+Q6sek8bf92,i=4096", SASL_FAIL_SERVER},
        {"r=f,s=QSXCR+Q6sek8bf92,i=4096", SASL_FAIL_SERVER},
        {"r=fyko+d2lbbFgONRv9qkxdawLxx,s=QSXCR+Q6sek8bf92,i=4095", SASL_FAIL_COST},
        {"r=fyko+d2lbbFgONRv9qkxdawLxx,s=QSXCR+Q6sek8bf92,i=1", SASL_FAIL_COST},
        {"r=fyko+d2lbbFgONRv9qkxdawLxx,s=QSXCR+Q6sek8bf92,i=100001", SASL_FAIL_COST},
        {"r=fyko+d2lbbFgONRv9qkxdawLxx,s=QSXCR+Q6sek8bf92,i=4294967295", SASL_FAIL_COST},
        {"r=fyko+d2lbbFgONRv9qkxdawLxx,s=!,i=4096", SASL_FAIL_MALFORMED},
        {"m=x,r=fyko+d2lbbFgONRv9qkxdawLxx,s=QSXCR+Q6sek8bf92,i=4096", SASL_FAIL_MALFORMED},
        {"e=other-error", SASL_FAIL_MALFORMED},
        {"", SASL_FAIL_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[64];
        struct str r;
        struct sasl_client *c = sasl_client_new(&conf, SASL_SCRAM_SHA1, SASL_BIT(SASL_SCRAM_SHA1),
                                                octets(examples[0].nonce, mem, sizeof mem));
        assert_true(sasl_client_initial(c, &r));
        assert_int_equal(sasl_client_feed(c, str_from_c(rows[i].server_first), &r), SASL_CLIENT_FAILED);
        assert_int_equal(sasl_client_failure(c), rows[i].why);
        assert_int_equal(r.n, 0);
        /* and stays so */
        assert_int_equal(sasl_client_feed(c, str_from_c(examples[0].server_first), &r), SASL_CLIENT_FAILED);
        assert_false(sasl_client_succeeded(c));
        assert_int_equal(sasl_client_failure(c), rows[i].why);
        sasl_client_del(&c);
    }
}

static void tells_of_a_refusal(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    struct str r;
    struct sasl_client *c = until_final(&conf, &examples[0]);
    assert_int_equal(sasl_client_feed(c, STR("e=invalid-proof"), &r), SASL_CLIENT_FAILED);
    assert_int_equal(sasl_client_failure(c), SASL_FAIL_CREDENTIALS);
    assert_true(str_eq(sasl_client_detail(c), STR("invalid-proof")));
    sasl_client_del(&c);
}

static struct sasl_client *begin(const struct sasl_client_conf *conf, enum sasl_mechanism m)
{
    struct sasl_client *c = sasl_client_new(conf, m, SASL_BIT(m), TEST_NONCE);
    assert_non_null(c);
    return c;
}

static void mechanisms_of_one_message(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    conf.token = STR("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    conf.user = STR("user@example.com");
    conf.port = 143;
    conf.has_certificate = true;
    char mem[256], google[256];
    const struct {
        enum sasl_mechanism m;
        struct str want;
    } rows[] = {
        {SASL_PLAIN, STR("\0user@example.com\0pencil")},
        {SASL_EXTERNAL, STR("user@example.com")},
        /* RFC 7628 4.1 */
        {SASL_OAUTHBEARER,
         octets("bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZG"
                "OWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
                mem, sizeof mem)},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int with_initial = 0; with_initial < 2; with_initial++) {
            struct str r;
            struct sasl_client *c = begin(&conf, rows[i].m);
            assert_false(sasl_client_succeeded(c)); /* nothing has been said */
            sasl_client_del(&c);
            c = begin(&conf, rows[i].m);
            if (with_initial)
                assert_true(sasl_client_initial(c, &r));
            else
                assert_int_equal(sasl_client_feed(c, STR_NIL, &r), SASL_CLIENT_RESPONSE);
            assert_true(str_eq(r, rows[i].want));
            assert_true(sasl_client_succeeded(c));
            sasl_client_del(&c);
        }
    }
    conf.user = STR_NIL; /* as whom the certificate is for */
    struct str r;
    struct sasl_client *c = begin(&conf, SASL_EXTERNAL);
    assert_true(sasl_client_initial(c, &r) && r.n == 0);
    assert_true(sasl_client_succeeded(c));
    sasl_client_del(&c);
    conf.user = STR("a\0b");
    assert_int_equal(sasl_client_choose(&conf, SASL_BIT(SASL_EXTERNAL)), SASL_NONE);
    /* the example of Google's page */
    conf.user = STR("someuser@example.com");
    conf.token = STR("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
    c = begin(&conf, SASL_XOAUTH2);
    assert_true(sasl_client_initial(c, &r));
    assert_true(str_eq(
        r, octets("dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNr"
                  "QmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==",
                  google, sizeof google)));
    sasl_client_del(&c);
}

/* SCRAM says the prepared forms, what is in clear text goes as it is. */
static void scram_says_prepared(void **state)
{
    struct sasl_client_conf conf = conf_of(state), plain = conf;
    struct str r, want;
    conf.user = STR("raw");
    conf.password = STR("raw");
    conf.scram_user = plain.user;
    conf.scram_password = plain.password;
    struct sasl_client *c = begin(&conf, SASL_SCRAM_SHA256), *d = begin(&plain, SASL_SCRAM_SHA256);
    for (int i = 0; i < 2; i++) {
        char mem[256];
        struct buf first;
        buf_init_fixed(&first, mem, sizeof mem);
        buf_puts(&first, "r=");
        base64_put(&first, TEST_NONCE);
        buf_puts(&first, "x,s=QSXCR+Q6sek8bf92,i=4096");
        struct str challenge = i == 0 ? STR_NIL : buf_str(&first);
        assert_int_equal(sasl_client_feed(d, challenge, &want), SASL_CLIENT_RESPONSE);
        assert_int_equal(sasl_client_feed(c, challenge, &r), SASL_CLIENT_RESPONSE);
        assert_true(r.n > 10 && str_eq(r, want));
    }
    sasl_client_del(&c);
    sasl_client_del(&d);
    c = begin(&conf, SASL_PLAIN);
    assert_true(sasl_client_initial(c, &r) && str_eq(r, STR("\0raw\0raw")));
    sasl_client_del(&c);
}

static void login_answers_twice(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    struct str r;
    struct sasl_client *c = begin(&conf, SASL_LOGIN);
    assert_false(sasl_client_initial(c, &r));
    assert_int_equal(sasl_client_feed(c, STR("User Name\0"), &r), SASL_CLIENT_RESPONSE);
    assert_true(str_eq(r, STR("user")));
    assert_int_equal(sasl_client_feed(c, STR("Password\0"), &r), SASL_CLIENT_RESPONSE);
    assert_true(str_eq(r, STR("pencil")));
    assert_int_equal(sasl_client_feed(c, STR("And your PIN?"), &r), SASL_CLIENT_FAILED);
    assert_int_equal(r.n, 0);
    sasl_client_del(&c);
}

static void refused_tokens_are_answered(void **state)
{
    struct sasl_client_conf conf = conf_of(state);
    conf.token = STR("t");
    static const struct {
        enum sasl_mechanism m;
        struct str want;
    } rows[] = {{SASL_OAUTHBEARER, STR_INIT("\1")}, {SASL_XOAUTH2, STR_INIT("")}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str r;
        char text[SASL_CLIENT_DETAIL_MAX + 10];
        memset(text, 'x', sizeof text);
        struct sasl_client *c = begin(&conf, rows[i].m);
        assert_true(sasl_client_initial(c, &r));
        assert_int_equal(sasl_client_feed(c, str_of(text, sizeof text), &r), SASL_CLIENT_RESPONSE);
        assert_true(str_eq(r, rows[i].want));
        assert_int_equal(sasl_client_detail(c).n, SASL_CLIENT_DETAIL_MAX);
        assert_int_equal(sasl_client_failure(c), SASL_FAIL_CREDENTIALS);
        assert_int_equal(sasl_client_feed(c, STR_NIL, &r), SASL_CLIENT_FAILED);
        assert_false(sasl_client_succeeded(c));
        sasl_client_del(&c);
    }
}

static void header_tells_what_was_offered(void **state)
{
    static const struct {
        enum sasl_mechanism m;
        unsigned offered, allowed;
        bool has_exporter, has_end_point;
        const char *want;
    } rows[] = {
        {SASL_SCRAM_SHA256, SASL_BIT(SASL_SCRAM_SHA256), 0, false, false, "n,,"},
        {SASL_SCRAM_SHA256, SASL_BIT(SASL_SCRAM_SHA256), 0, true, false, "y,,"},
        {SASL_SCRAM_SHA256, SASL_BIT(SASL_SCRAM_SHA256) | SASL_PLUS, SASL_BIT(SASL_SCRAM_SHA256), true, false,
         "n,,"},
        {SASL_SCRAM_SHA256, SASL_BIT(SASL_SCRAM_SHA256), SASL_BIT(SASL_SCRAM_SHA256), true, false, "n,,"},
        {SASL_SCRAM_SHA256_PLUS, SASL_PLUS, 0, true, true, "p=tls-exporter,,"},
        {SASL_SCRAM_SHA1_PLUS, SASL_PLUS, 0, false, true, "p=tls-server-end-point,,"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sasl_client_conf conf = conf_of(state);
        struct str r;
        conf.allowed = rows[i].allowed;
        if (rows[i].has_exporter)
            conf.tls_exporter = TEST_EXPORTER;
        if (rows[i].has_end_point)
            conf.tls_server_end_point = TEST_END_POINT;
        struct sasl_client *c = sasl_client_new(&conf, rows[i].m, rows[i].offered, TEST_NONCE);
        assert_true(sasl_client_initial(c, &r));
        assert_true(str_starts(r, str_from_c(rows[i].want)));
        assert_true(str_starts(str_skip(r, str_from_c(rows[i].want).n), STR("n=user,")));
        sasl_client_del(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_the_strongest_that_it_can),
        cmocka_unit_test(scram_examples_of_the_rfcs),
        cmocka_unit_test(a_wrong_signature_is_found_in_every_bit),
        cmocka_unit_test(the_dearest_server),
        cmocka_unit_test(servers_that_are_not_sane),
        cmocka_unit_test(tells_of_a_refusal),
        cmocka_unit_test(mechanisms_of_one_message),
        cmocka_unit_test(scram_says_prepared),
        cmocka_unit_test(login_answers_twice),
        cmocka_unit_test(refused_tokens_are_answered),
        cmocka_unit_test(header_tells_what_was_offered),
    };
    return cmocka_run_group_tests_name("sasl_client", tests, setup_crypto, teardown_crypto);
}
