#include "proto/sasl_text.h"

#include "crypto/testing.h"
#include "proto/sasl_oauth.h"
#include "proto/sasl_scram.h"

#include <string.h>

static void names_come_back(void **state)
{
    UNUSED(state);
    char mem[256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (unsigned m = SASL_NONE + 1; m < SASL_MECHANISMS; m++) {
        struct str name = sasl_name((enum sasl_mechanism)m);
        assert_true(name.n > 0 && name.n <= 20); /* RFC 4422 3.1 */
        assert_int_equal(sasl_of_name(name), m);
    }
    assert_int_equal(sasl_of_name(STR("scram-sha-256-plus")), SASL_SCRAM_SHA256_PLUS);
    assert_int_equal(sasl_of_name(STR("CRAM-MD5")), SASL_NONE);
    assert_int_equal(sasl_of_name(STR_NIL), SASL_NONE);
    sasl_put_list(SASL_ALL, &b);
    assert_true(
        str_eq(buf_str(&b), STR("EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 "
                                "OAUTHBEARER XOAUTH2 PLAIN LOGIN")));
    assert_int_equal(sasl_of_list(buf_str(&b)), SASL_ALL);
    assert_int_equal(sasl_of_list(STR("  LOGIN NTLM plain  ")), SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN));
    buf_reset(&b);
    sasl_put_list(0, &b);
    assert_int_equal(b.n, 0);
}

static void each_failure_has_a_phrase(void **state)
{
    UNUSED(state);
    for (unsigned f = SASL_FAIL_NONE; f <= SASL_FAIL_COST; f++)
        assert_true(strlen(sasl_failure_text((enum sasl_failure)f)) > 5);
}

static void text_has_no_controls(void **state)
{
    UNUSED(state);
    static const struct str good[] = {STR_INIT(""), STR_INIT("joe@example.org"), STR_INIT("j\xc3\xbcrgen"),
                                      STR_INIT("a b,=\"\\"), STR_INIT("\xf0\x9f\x94\x91")};
    static const struct str bad[] = {STR_INIT("a\0b"),         STR_INIT("\n"),           STR_INIT("\x7f"),
                                     STR_INIT("\xc2\x85"),     STR_INIT("\xfc"),         STR_INIT("\xc0\x80"),
                                     STR_INIT("\xe2\x80\xa8"), STR_INIT("\xed\xa0\x80"), STR_INIT("a\xc3")};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(sasl_is_text(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(sasl_is_text(bad[i]));
    assert_true(sasl_is_text_up_to(STR("abc"), 3));
    assert_false(sasl_is_text_up_to(STR("abc"), 2));
    assert_false(sasl_is_text_up_to(STR_NIL, 2));
}

static void saslnames_are_escaped(void **state)
{
    UNUSED(state);
    char mem[64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    sasl_put_saslname(&b, STR("a,b=c,,"));
    assert_true(str_eq(buf_str(&b), STR("a=2Cb=3Dc=2C=2C")));
    struct str text = STR("a=2Cb=3Dc=2C=2C");
    buf_reset(&b);
    assert_true(sasl_take_saslname(text, &b));
    assert_true(str_eq(buf_str(&b), STR("a,b=c,,")));
    static const char *const bad[] = {"a,b", "=", "=2", "=2c", "=3d", "=41", "a="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_reset(&b);
        assert_false(sasl_take_saslname(str_from_c(bad[i]), &b));
    }
    buf_init_fixed(&b, mem, 3);
    assert_false(sasl_take_saslname(STR("abcd"), &b));
}

static void gs2_headers(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        char flag; /* 0: refused */
        const char *binding, *authzid, *rest;
    } rows[] = {
        {"n,,n=user", 'n', "", "", "n=user"},
        {"y,,x", 'y', "", "", "x"},
        {"p=tls-exporter,,x", 'p', "tls-exporter", "", "x"},
        {"n,a=jo=2Ce,", 'n', "", "jo=2Ce", ""},
        {"p=tls-unique,a=x,r", 'p', "tls-unique", "x", "r"},
        {"", 0, "", "", ""},
        {"n", 0, "", "", ""},
        {"n,", 0, "", "", ""},
        {",,", 0, "", "", ""},
        {"N,,", 0, "", "", ""},
        {"p,,", 0, "", "", ""},
        {"p=,,", 0, "", "", ""},
        {"p=tls_x,,", 0, "", "", ""},
        {"n,a=,", 0, "", "", ""},
        {"n,joe,", 0, "", "", ""},
        {"n,b=joe,", 0, "", "", ""},
        {"nn,,", 0, "", "", ""},
        {"F,n,,", 0, "", "", ""}, /* the non-standard flag of GSS-API: not for SCRAM (RFC 5802 5.1) */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sasl_gs2 g;
        struct str whole = str_from_c(rows[i].text), s = whole;
        bool ok = sasl_take_gs2(&s, &g);
        assert_int_equal(ok, rows[i].flag != 0);
        if (!ok)
            continue;
        assert_int_equal(g.flag, rows[i].flag);
        assert_true(str_eq(g.binding, str_from_c(rows[i].binding)));
        assert_true(str_eq(g.authzid, str_from_c(rows[i].authzid)));
        assert_true(str_eq(s, str_from_c(rows[i].rest)));
        assert_int_equal(g.text.n + s.n, whole.n);
    }
}

/* Each message of the examples is taken; none is when it is cut short before its last attribute has a value.
 */
static void scram_messages(void **state)
{
    UNUSED(state);
    struct scram_client_first cf;
    struct scram_server_first sf;
    struct scram_client_final cl;
    struct scram_server_final sl;
    assert_true(scram_take_client_first(STR("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"), &cf));
    assert_true(str_eq(cf.user, STR("user")) && str_eq(cf.nonce, STR("fyko+d2lbbFgONRv9qkxdawL")));
    assert_true(str_eq(cf.bare, STR("n=user,r=fyko+d2lbbFgONRv9qkxdawL")));
    assert_true(scram_take_server_first(STR("r=fyko3rfc,s=QSXCR+Q6sek8bf92,i=4096"), &sf));
    assert_true(str_eq(sf.nonce, STR("fyko3rfc")) && str_eq(sf.salt, STR("QSXCR+Q6sek8bf92")));
    assert_int_equal(sf.iterations, 4096);
    assert_true(scram_take_client_final(STR("c=biws,r=fyko3rfc,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="), &cl));
    assert_true(str_eq(cl.without_proof, STR("c=biws,r=fyko3rfc")) && str_eq(cl.binding, STR("biws")));
    assert_true(str_eq(cl.proof, STR("v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")));
    assert_true(scram_take_server_final(STR("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="), &sl));
    assert_true(str_eq(sl.signature, STR("rmF9pqV8S7suAoZWja4dJRkFsKQ=")) && sl.error.n == 0);
    assert_true(scram_take_server_final(STR("e=invalid-proof,x=1"), &sl));
    assert_true(str_eq(sl.error, STR("invalid-proof")) && sl.signature.n == 0);
    /* optional extensions */
    assert_true(scram_take_client_first(STR("n,,n=user,r=abc,x=1,y=2=3"), &cf));
    assert_true(str_eq(cf.bare, STR("n=user,r=abc,x=1,y=2=3")));
    assert_true(scram_take_client_final(STR("c=biws,r=abc,x=1,p=eA=="), &cl));
    assert_true(str_eq(cl.without_proof, STR("c=biws,r=abc,x=1")));
}

static void bad_scram_messages(void **state)
{
    UNUSED(state);
    struct scram_client_first cf;
    struct scram_server_first sf;
    struct scram_client_final cl;
    struct scram_server_final sl;
    static const char *const bad_first[] = {
        "",
        "n,,",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=user,r=",
        "n,,r=abc,n=user",
        "n,,n=,r=abc",
        "n,,m=1,n=user,r=abc",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,x",
        "n,,n=user,r=abc,x=",
        "n,,n=user,r=abc,1=2",
        "n,,n=user,r=a c",
        "n,,n=user,r=abc,m=1",
        "n=user,r=abc",
        "n,,n=user,r=a\xc3\xbc",
        "n,,n=us\ner,r=abc",
        "n,,n=\xff,r=abc",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad_first); i++)
        assert_false(scram_take_client_first(str_from_c(bad_first[i]), &cf));
    static const char *const bad_server_first[] = {
        "",
        "r=abc",
        "r=abc,s=eA==",
        "r=abc,s=eA==,i=",
        "r=abc,s=eA==,i=0",
        "r=abc,s=eA==,i=04096",
        "r=abc,s=eA==,i=-1",
        "r=abc,s=eA==,i=4294967296",
        "r=abc,s=,i=4096",
        "r=,s=eA==,i=4096",
        "m=x,r=abc,s=eA==,i=4096",
        "s=eA==,r=abc,i=4096",
        "r=abc,s=eA==,i=4096,",
        "r=abc,s=eA==,i=4096,m=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad_server_first); i++)
        assert_false(scram_take_server_first(str_from_c(bad_server_first[i]), &sf));
    static const char *const bad_final[] = {
        "",
        "p=eA==",
        ",p=eA==",
        "c=biws,p=eA==",
        "c=biws,r=abc",
        "c=biws,r=abc,p",
        "c=biws,r=abc,p=eA==,x=1",
        "r=abc,c=biws,p=eA==",
        "c=,r=abc,p=eA==",
        "c=biws,r=abc,,p=eA==",
        "c=biws,r=abc,m=1,p=eA==",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad_final); i++)
        assert_false(scram_take_client_final(str_from_c(bad_final[i]), &cl));
    static const char *const bad_server_final[] = {"", "v", "v=", "x=1", "e=", "v=eA==,", "v=eA==,m=1"};
    for (size_t i = 0; i < ARRAY_LEN(bad_server_final); i++)
        assert_false(scram_take_server_final(str_from_c(bad_server_final[i]), &sl));
}

static void scram_limits(void **state)
{
    UNUSED(state);
    char text[SASL_SCRAM_MAX + 1];
    struct scram_client_first f;
    memset(text, 'x', sizeof text);
    memcpy(text, "n,,n=u,r=", 9);
    assert_true(scram_take_client_first(str_of(text, 9 + SASL_NONCE_MAX), &f));
    assert_false(scram_take_client_first(str_of(text, 9 + SASL_NONCE_MAX + 1), &f));
    memcpy(text + 9, "n,x=", 4);
    assert_true(scram_take_client_first(str_of(text, SASL_SCRAM_MAX), &f));
    assert_false(scram_take_client_first(str_of(text, SASL_SCRAM_MAX + 1), &f));
}

static void oauth_messages(void **state)
{
    UNUSED(state);
    static const struct {
        enum sasl_mechanism m;
        const char *text, *user, *token; /* user NULL: refused */
    } rows[] = {
        {SASL_OAUTHBEARER, "n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer vF9d==\1\1",
         "user@example.com", "vF9d=="},
        {SASL_OAUTHBEARER, "n,,\1auth=bearer  t \1\1", "", "t"},
        {SASL_OAUTHBEARER, "y,,\1auth=Bearer t\1\1", "", "t"},
        {SASL_OAUTHBEARER, "n,,\1auth=\1\1", "", ""},
        {SASL_OAUTHBEARER, "n,,\1\1", "", ""},
        {SASL_OAUTHBEARER, "n,,\1qs=x%20y\1auth=Bearer t\1\1", "", "t"},
        {SASL_XOAUTH2, "user=someuser@example.com\1auth=Bearer ya29.vF9\1\1", "someuser@example.com",
         "ya29.vF9"},
        {SASL_XOAUTH2, "auth=Bearer t\1user=u\1\1", "u", "t"},
        {SASL_OAUTHBEARER, "", NULL, NULL},
        {SASL_OAUTHBEARER, "\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,auth=Bearer t\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth=Bearer t\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth=Bearer t", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth=Bearer t\1\1x", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth=Bearer t\1auth=Bearer u\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth=Basic dTpw\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth=Bearer t t\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth=Bearer t\n\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1port=99999\1auth=Bearer t\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1auth\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1=x\1auth=Bearer t\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "n,,\1h-t=x\1auth=Bearer t\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "p=tls-exporter,,\1auth=Bearer t\1\1", NULL, NULL},
        {SASL_OAUTHBEARER, "user=u\1auth=Bearer t\1\1", NULL, NULL},
        {SASL_XOAUTH2, "auth=Bearer t\1\1", NULL, NULL},
        {SASL_XOAUTH2, "user=\1auth=Bearer t\1\1", NULL, NULL},
        {SASL_XOAUTH2, "user=u\1user=v\1auth=Bearer t\1\1", NULL, NULL},
        {SASL_XOAUTH2, "user=u\1auth=Bearer t\1", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sasl_oauth o;
        bool ok = sasl_take_oauth(rows[i].m, str_from_c(rows[i].text), &o);
        if (ok != (rows[i].user != NULL))
            print_message("# row %zu\n", i);
        assert_int_equal(ok, rows[i].user != NULL);
        if (!ok)
            continue;
        assert_true(str_eq(o.user, str_from_c(rows[i].user)));
        assert_true(str_eq(o.token, str_from_c(rows[i].token)));
    }
}

static void oauth_error_is_json(void **state)
{
    UNUSED(state);
    char mem[256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    sasl_put_oauth_error(&b, SASL_OAUTHBEARER, STR("a\"b\\c\n"), STR("https://x.example/"));
    assert_true(str_eq(buf_str(&b), STR("{\"status\":\"invalid_token\",\"scope\":\"a\\\"b\\\\c\","
                                        "\"openid-configuration\":\"https://x.example/\"}")));
    buf_reset(&b);
    sasl_put_oauth_error(&b, SASL_XOAUTH2, STR_NIL, STR("https://x.example/"));
    assert_true(str_eq(buf_str(&b), STR("{\"status\":\"401\",\"schemes\":\"bearer\"}")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_back),      cmocka_unit_test(each_failure_has_a_phrase),
        cmocka_unit_test(text_has_no_controls), cmocka_unit_test(saslnames_are_escaped),
        cmocka_unit_test(gs2_headers),          cmocka_unit_test(scram_messages),
        cmocka_unit_test(bad_scram_messages),   cmocka_unit_test(scram_limits),
        cmocka_unit_test(oauth_messages),       cmocka_unit_test(oauth_error_is_json),
    };
    return cmocka_run_group_tests_name("sasl_text", tests, NULL, NULL);
}
