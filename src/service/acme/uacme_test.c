/* The lines are those that uacme 1.7.4 printed. */
#include "service/acme/uacme.h"

#include "proto/http01.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TOKEN "XRiH-0ravX4rEb92cmmQXxe6KH6ihTEoOp_b-kdAIq8"
#define ANSWER TOKEN ".BCfTO6y5tGqNEGztL5ZEnJml3fAgHGuzoBU8oB2z31Y"

static void check(const char *line, enum uacme_says want, const char *text, const char *token)
{
    struct uacme_line got;
    assert_int_equal(uacme_read(str_from_c(line), ACME_HTTP_01, &got), want);
    assert_true(str_eq(got.text, str_from_c(text)));
    assert_true(str_eq(got.token, str_from_c(token)));
}

static void challenges(void **state)
{
    UNUSED(state);
    struct uacme_line got;
    check("uacme: challenge=http-01 ident=mx.example.org token=" TOKEN " key_auth=" ANSWER, UACME_CHALLENGE,
          "", TOKEN);
    (void)uacme_read(STR("uacme: challenge=http-01 ident=mx.example.org token=" TOKEN " key_auth=" ANSWER),
                     ACME_HTTP_01, &got);
    assert_true(str_eq(got.name, STR("mx.example.org")) && str_eq(got.answer, STR(ANSWER)));
    /* it waits for an answer to these as well, and that is no */
    check("uacme: challenge=dns-01 ident=mx.example.org token=" TOKEN
          " key_auth=9LV_wNz1AQ1_R_Smp-WKbbOEfALfSKhuOs9TTRCKCEw",
          UACME_CHALLENGE, "", "");
    check("uacme: challenge=http-01 ident=mx.example.org token=a/b key_auth=a/b.c", UACME_CHALLENGE, "", "");
    check("uacme: challenge=http-01 ident=mx.example.org token=a key_auth=b.c", UACME_CHALLENGE, "", "");
    check("uacme: challenge=http-01 ident=mx.example.org token=a key_auth=a.c more", UACME_CHALLENGE, "", "");
    check("uacme: challenge=http-01 token=a key_auth=a.c", UACME_CHALLENGE, "", "");
    check("uacme: challenge=", UACME_CHALLENGE, "", "");
    /* an authority can't make one: its words don't stand at the front of a line */
    check("    \"detail\": \"uacme: challenge=http-01\"", UACME_DETAIL, "uacme: challenge=http-01", "");
}

/* RFC 8737 3: what stands in the certificate is the digest, which uacme gives as base64url. */
static void digests(void **state)
{
    UNUSED(state);
    static const unsigned char want[UACME_DIGEST] = {
        0xf4, 0xb5, 0x7f, 0xc0, 0xdc, 0xf5, 0x01, 0x0d, 0x7f, 0x45, 0x29, 0xa9, 0xf9, 0x62, 0x9b, 0x6c,
        0xe1, 0x1f, 0x00, 0xb7, 0xd2, 0x48, 0xa8, 0x6e, 0x3a, 0xcf, 0x53, 0x4c, 0x24, 0x42, 0x08, 0x4c};
    static const char *const bad[] = {
        "9LV_wNz1AQ1_RSmp-WKbbOEfALfSSKhuOs9TTCRCCE",   /* short */
        "9LV_wNz1AQ1_RSmp-WKbbOEfALfSSKhuOs9TTCRCCEwx", /* long */
        "9LV_wNz1AQ1_RSmp-WKbbOEfALfSSKhuOs9TTCRCCEx",  /* bits behind the last octet */
        "9LV/wNz1AQ1/RSmp+WKbbOEfALfSSKhuOs9TTCRCCEw",  /* the other alphabet */
        "9LV_wNz1AQ1_RSmp-WKbbOEfALfSSKhuOs9TTCRCCE.",  ANSWER, "",
    };
    struct uacme_line got;
    char mem[512];
    struct buf line;
    buf_init_fixed(&line, mem, sizeof mem);
#define ALPN(auth) "uacme: challenge=tls-alpn-01 ident=mx.example.org token=" TOKEN " key_auth=" auth
    assert_int_equal(
        uacme_read(STR(ALPN("9LV_wNz1AQ1_RSmp-WKbbOEfALfSSKhuOs9TTCRCCEw")), ACME_TLS_ALPN_01, &got),
        UACME_CHALLENGE);
    assert_true(str_eq(got.name, STR("mx.example.org")) && str_eq(got.token, STR(TOKEN)));
    assert_memory_equal(got.digest, want, sizeof want);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_reset(&line);
        buf_printf(&line, ALPN("%s"), bad[i]);
        assert_int_equal(uacme_read(buf_str(&line), ACME_TLS_ALPN_01, &got), UACME_CHALLENGE);
        if (got.token.n > 0)
            fail_msg("taken: %s", bad[i]);
    }
    /* each kind where it is wanted, and no other */
    assert_int_equal(uacme_read(STR(ALPN("9LV_wNz1AQ1_RSmp-WKbbOEfALfSSKhuOs9TTCRCCEw")), ACME_HTTP_01, &got),
                     UACME_CHALLENGE);
    assert_int_equal(got.token.n, 0);
    assert_int_equal(
        uacme_read(STR("uacme: challenge=http-01 ident=mx.example.org token=" TOKEN " key_auth=" ANSWER),
                   ACME_TLS_ALPN_01, &got),
        UACME_CHALLENGE);
    assert_int_equal(got.token.n, 0);
}

static void troubles(void **state)
{
    UNUSED(state);
    check("uacme: curl_get: GET https://127.0.0.1:14001/dir failed: Couldn't connect to server", UACME_TEXT,
          "curl_get: GET https://127.0.0.1:14001/dir failed: Couldn't connect to server", "");
    check("    \"detail\": \"Get \\\"http://mx.example.org:80/\\\": refused\",", UACME_DETAIL,
          "Get \\\"http://mx.example.org:80/\\\": refused", "");
    check("  \"detail\": \"No TXT records\"", UACME_DETAIL, "No TXT records", "");
    check("    \"type\": \"urn:ietf:params:acme:error:connection\",", UACME_NOTHING, "", "");
    check("{", UACME_NOTHING, "", "");
    check("", UACME_NOTHING, "", "");
    check("uacme: type 'y' followed by a newline to accept challenge, anything else to skip", UACME_NOTHING,
          "", "");
    check("uacme: terms at data:text/plain,Do%20what%20thou%20wilt autoaccepted (-y)", UACME_NOTHING, "", "");
    check("uacme: no account associated with c/private/key.pem found at https://127.0.0.1:14000/sign-me-up. "
          "Consider "
          "trying 'new'",
          UACME_NO_ACCOUNT, "", "");
    check("uacme: failed to access /acme/client/private", UACME_NO_ACCOUNT, "", "");
    check("uacme: key_load: /acme/client/private/key.pem does not exist", UACME_NO_ACCOUNT, "", "");
    check("uacme: failed to access /acme/client", UACME_TEXT, "failed to access /acme/client", "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(challenges), cmocka_unit_test(digests),
                                              cmocka_unit_test(troubles)};
    return cmocka_run_group_tests_name("acme/uacme", tests, NULL, NULL);
}
