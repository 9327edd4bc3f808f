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
    assert_int_equal(uacme_read(str_from_c(line), &got), want);
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
                     &got);
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
    static const struct CMUnitTest tests[] = {cmocka_unit_test(challenges), cmocka_unit_test(troubles)};
    return cmocka_run_group_tests_name("acme/uacme", tests, NULL, NULL);
}
