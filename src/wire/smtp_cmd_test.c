#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/smtp_cmd.h"

#include <string.h>

enum { ALL = SMTP_PARAM_SIZE | SMTP_PARAM_BODY | SMTP_PARAM_SMTPUTF8 };

static void splits(void **state)
{
    UNUSED(state);
    static const char *const rows[][3] = {
        {"QUIT", "QUIT", ""},
        {"quit  ", "quit", ""},
        {"EHLO x", "EHLO", "x"},
        {"MAIL   FROM:<a b>  ", "MAIL", "FROM:<a b>"},
        {"", "", ""},
        {" ", "", ""},
        {" QUIT", "", "QUIT"},
        {"QUIT\t", "", ""},
        {"MAIL\tFROM:<a>", "", ""},
        {"X-FOO bar", "", "bar"},
        {"QU1T", "", ""},
        {"\x16\x03\x01", "", ""},
        {"QUIT\xc3\xbc x", "", "x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str verb, arg;
        smtp_cmd_split(str_from_c(rows[i][0]), &verb, &arg);
        if (!str_eq(verb, str_from_c(rows[i][1])) || !str_eq(arg, str_from_c(rows[i][2])))
            fail_msg("row %zu: %s", i, rows[i][0]);
    }
    struct str verb, arg;
    smtp_cmd_split(STR("QUIT\0 x"), &verb, &arg);
    assert_int_equal(verb.n, 0);
}

struct mail_row {
    const char *arg;
    unsigned allowed;
    enum smtp_cmd_err err;
    const char *from;
    unsigned params;
    uint64_t size;
    enum smtp_body body;
};

/* clang-format off */
static const struct mail_row mail_rows[] = {
    {"FROM:<a@b>",                         ALL, SMTP_CMD_OK, "a@b", 0, 0, SMTP_BODY_7BIT},
    {"from:<a@b>",                         ALL, SMTP_CMD_OK, "a@b", 0, 0, SMTP_BODY_7BIT},
    {"FROM: <a@b>",                        ALL, SMTP_CMD_OK, "a@b", 0, 0, SMTP_BODY_7BIT},
    {"FROM:<>",                            ALL, SMTP_CMD_OK, "",    0, 0, SMTP_BODY_7BIT},
    {"FROM:<@r:a@b>",                      ALL, SMTP_CMD_OK, "a@b", 0, 0, SMTP_BODY_7BIT},
    {"FROM:<a@b> SIZE=10",                 ALL, SMTP_CMD_OK, "a@b", SMTP_PARAM_SIZE, 10, SMTP_BODY_7BIT},
    {"FROM:<a@b>  size=010  body=8bitmime", ALL, SMTP_CMD_OK, "a@b", SMTP_PARAM_SIZE | SMTP_PARAM_BODY,
     10, SMTP_BODY_8BITMIME},
    {"FROM:<a@b> BODY=7BIT",               ALL, SMTP_CMD_OK, "a@b", SMTP_PARAM_BODY, 0, SMTP_BODY_7BIT},
    {"FROM:<a@b> BODY=BINARYMIME",         ALL, SMTP_CMD_OK, "a@b", SMTP_PARAM_BODY, 0, SMTP_BODY_BINARYMIME},
    {"FROM:<a@b> SIZE=18446744073709551615", ALL, SMTP_CMD_OK, "a@b", SMTP_PARAM_SIZE, UINT64_MAX,
     SMTP_BODY_7BIT},
    {"FROM:<a@b> SIZE=99999999999999999999", ALL, SMTP_CMD_OK, "a@b", SMTP_PARAM_SIZE, UINT64_MAX,
     SMTP_BODY_7BIT},
    {"FROM:<a@b> SMTPUTF8",                ALL, SMTP_CMD_OK, "a@b", SMTP_PARAM_SMTPUTF8, 0, SMTP_BODY_7BIT},
    {"FROM:<\xc3\xbc@b> SMTPUTF8", ALL, SMTP_CMD_OK, "\xc3\xbc@b", SMTP_PARAM_SMTPUTF8, 0, SMTP_BODY_7BIT},
    {"FROM:<postmaster>",                  ALL, SMTP_CMD_OK, "postmaster", 0, 0, SMTP_BODY_7BIT},

    {"",                                   ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"<a@b>",                              ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"TO:<a@b>",                           ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM",                               ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:",                              ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:a@b",                           ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:\t<a@b>",                       ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM :<a@b>",                        ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b>SIZE=1",                   ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b>>",                        ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE",                    ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE=",                   ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE=x",                  ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE=-1",                 ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE=1 =2",               ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE==1",                 ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE=100000000000000000000", ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> BODY",                    ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> BODY=9BIT",               ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> SMTPUTF8=1",              ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> -X=1",                    ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> X_Y=1",                   ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> X=a\tb",                  ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> X=\xff",                  ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},
    {"FROM:<a@b> <c@d>",                   ALL, SMTP_CMD_SYNTAX, NULL, 0, 0, 0},

    {"FROM:<a@b",                          ALL, SMTP_CMD_BAD_ADDRESS, NULL, 0, 0, 0},
    {"FROM:<a b@c>",                       ALL, SMTP_CMD_BAD_ADDRESS, NULL, 0, 0, 0},
    {"FROM:<@b>",                          ALL, SMTP_CMD_BAD_ADDRESS, NULL, 0, 0, 0},
    {"FROM:<\xff@b> SMTPUTF8",             ALL, SMTP_CMD_BAD_ADDRESS, NULL, 0, 0, 0},
    {"FROM:<\xff@b>",                      ALL, SMTP_CMD_BAD_ADDRESS, NULL, 0, 0, 0},

    {"FROM:<a@b> FOO=bar",                 ALL, SMTP_CMD_UNKNOWN_PARAM, NULL, 0, 0, 0},
    {"FROM:<a@b> FOO",                     ALL, SMTP_CMD_UNKNOWN_PARAM, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZ=1",                   ALL, SMTP_CMD_UNKNOWN_PARAM, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE=1",                  SMTP_PARAM_BODY, SMTP_CMD_UNKNOWN_PARAM, NULL, 0, 0, 0},
    {"FROM:<a@b> BODY=7BIT",               0,   SMTP_CMD_UNKNOWN_PARAM, NULL, 0, 0, 0},
    {"FROM:<\xc3\xbc@b> SMTPUTF8",         SMTP_PARAM_SIZE, SMTP_CMD_UNKNOWN_PARAM, NULL, 0, 0, 0},
    {"FROM:<a@b> SIZE=1 SIZE=1",           ALL, SMTP_CMD_DUPLICATE_PARAM, NULL, 0, 0, 0},
    {"FROM:<a@b> SMTPUTF8 smtputf8",       ALL, SMTP_CMD_DUPLICATE_PARAM, NULL, 0, 0, 0},
    {"FROM:<\xc3\xbc@b>",                  ALL, SMTP_CMD_NEEDS_UTF8, NULL, 0, 0, 0},
    {"FROM:<a@\xc3\xbc> SIZE=1",           ALL, SMTP_CMD_NEEDS_UTF8, NULL, 0, 0, 0},
};
/* clang-format on */

static void parses_mail(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(mail_rows); i++) {
        const struct mail_row *r = &mail_rows[i];
        struct smtp_mail_args a;
        const char *why;
        enum smtp_cmd_err e = smtp_mail_parse(str_from_c(r->arg), r->allowed, &a, &why);
        if (e != r->err)
            fail_msg("%s: %d, %s", r->arg, (int)e, why == NULL ? "" : why);
        assert_int_equal(why == NULL, e == SMTP_CMD_OK);
        if (e != SMTP_CMD_OK)
            continue;
        assert_true(str_eq(a.from.text, str_from_c(r->from)));
        assert_int_equal(a.had_route, strchr(r->arg, ':') != strrchr(r->arg, ':'));
        assert_int_equal(a.params, r->params);
        assert_int_equal(a.size, r->size);
        assert_int_equal(a.body, r->body);
        assert_int_equal(a.smtputf8, (r->params & SMTP_PARAM_SMTPUTF8) != 0);
    }
}

static void parses_rcpt(void **state)
{
    UNUSED(state);
    static const struct {
        const char *arg;
        bool utf8;
        enum smtp_cmd_err err;
    } rows[] = {
        {"TO:<a@b>", false, SMTP_CMD_OK},
        {"to: <a@b>", false, SMTP_CMD_OK},
        {"TO:<@r:a@b>", false, SMTP_CMD_OK},
        {"TO:<Postmaster>", false, SMTP_CMD_OK},
        {"TO:<\xc3\xbc@b>", true, SMTP_CMD_OK},
        {"TO:<\xc3\xbc@b>", false, SMTP_CMD_NEEDS_UTF8},
        {"TO:<\xc3@b>", false, SMTP_CMD_BAD_ADDRESS},
        {"TO:<>", false, SMTP_CMD_BAD_ADDRESS},
        {"TO:<a@b", false, SMTP_CMD_BAD_ADDRESS},
        {"TO:a@b", false, SMTP_CMD_SYNTAX},
        {"FROM:<a@b>", false, SMTP_CMD_SYNTAX},
        {"", false, SMTP_CMD_SYNTAX},
        {"TO:<a@b>x", false, SMTP_CMD_SYNTAX},
        {"TO:<a@b> =", false, SMTP_CMD_SYNTAX},
        {"TO:<a@b> SIZE=1", false, SMTP_CMD_UNKNOWN_PARAM},
        {"TO:<a@b> NOTIFY=NEVER", false, SMTP_CMD_UNKNOWN_PARAM},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_rcpt_args a;
        const char *why;
        enum smtp_cmd_err e = smtp_rcpt_parse(str_from_c(rows[i].arg), rows[i].utf8, 0, &a, &why);
        if (e != rows[i].err)
            fail_msg("%s: %d", rows[i].arg, (int)e);
        assert_int_equal(why == NULL, e == SMTP_CMD_OK);
    }
}

/* What a cut-off line gives is an error or the same as what stands there: never a read beyond it (the copies
 * are exact, so that a sanitizer sees one). */
static void survives_cuts(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(mail_rows); i++) {
        size_t n = strlen(mail_rows[i].arg);
        for (size_t cut = 0; cut <= n; cut++) {
            char *copy = test_malloc(cut + 1);
            memcpy(copy, mail_rows[i].arg, cut);
            char *exact = test_realloc(copy, cut > 0 ? cut : 1);
            struct smtp_mail_args a;
            const char *why;
            enum smtp_cmd_err e = smtp_mail_parse(str_of(exact, cut), ALL, &a, &why);
            if (e == SMTP_CMD_OK)
                assert_true(a.from.text.n < cut);
            else
                assert_non_null(why);
            test_free(exact);
        }
    }
}

/* The forms are tried one by one in tests/dialogue; here what a form becomes. */
static void parses_extensions(void **state)
{
    UNUSED(state);
    struct smtp_mail_args a;
    const char *why;
    struct str line =
        STR("FROM:<a@b> RET=hdrs ENVID=x+20y BY=-5;nt MT-PRIORITY=-9 HOLDFOR=999999999 REQUIRETLS PRDR");
    assert_int_equal(smtp_mail_parse(line, SMTP_PARAMS_ALL, &a, &why), SMTP_CMD_OK);
    assert_true(a.ret == DSN_RET_HDRS && str_eq(a.envid, STR("x+20y")));
    assert_true(a.by_mode == BY_NOTIFY && a.by_trace && a.by_s == -5);
    assert_true(a.priority == -9 && a.requiretls && a.prdr);
    assert_true(a.hold_for_s == 999999999 && a.hold_until_s == 0);
    line = STR("FROM:<a@b> HOLDUNTIL=2026-11-24T01:02:03.9+01:00 BY=+999999999;R RET=FULL MT-PRIORITY=0");
    assert_int_equal(smtp_mail_parse(line, SMTP_PARAMS_ALL, &a, &why), SMTP_CMD_OK);
    assert_true(a.hold_until_s == 1795478523 && a.by_s == 999999999 && a.by_mode == BY_RETURN && !a.by_trace);
    assert_true((a.params & SMTP_PARAM_PRIORITY) != 0 && a.priority == 0 && a.ret == DSN_RET_FULL);
    for (unsigned bit = 1; bit <= SMTP_PARAM_PRDR; bit <<= 1) { /* each needs its leave */
        struct str all =
            STR("FROM:<a@b> SIZE=1 BODY=7BIT SMTPUTF8 RET=FULL ENVID=x BY=1;R MT-PRIORITY=1 HOLDFOR=1 "
                "REQUIRETLS PRDR");
        if (bit != SMTP_PARAM_HOLDUNTIL)
            assert_int_equal(smtp_mail_parse(all, SMTP_PARAMS_ALL & ~bit, &a, &why), SMTP_CMD_UNKNOWN_PARAM);
    }
}

static void decodes_orcpt(void **state)
{
    UNUSED(state);
    static const char *const rows[][2] = {
        {"rfc822;joe@example.org", "rfc822;joe@example.org"},
        {"RFC822;a+2Bb+3Dc@d", "RFC822;a+b=c@d"},
        {"x400;/a+20b", "x400;/a b"},
        {"rfc822;j+C3+B6+2Bx@c", "utf-8;j\xc3\xb6+x@c"}, /* as Postfix writes it */
        {"utf-8;\\x{F6}@c", "utf-8;\xc3\xb6@c"},
        {"utf-8;\xc3\xb6\\x{2B}\\x{20}\\x{3D}\\x{5C}@c", "utf-8;\xc3\xb6+ =\\@c"},
        {"UTF-8;\\x{80}\\x{7FF}\\x{800}\\x{FFFF}\\x{10000}\\x{10FFFF}",
         "UTF-8;\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[DSN_ORCPT_MAX];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(smtp_orcpt_decode(str_from_c(rows[i][0]), &b));
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i][1])));
        buf_init_fixed(&b, mem, str_from_c(rows[i][1]).n - 1); /* no room: nothing at all */
        assert_false(smtp_orcpt_decode(str_from_c(rows[i][0]), &b));
        assert_int_equal(b.n, 0);
    }
}

static void parses_bdat(void **state)
{
    UNUSED(state);
    static const struct {
        const char *arg;
        bool ok, last;
        uint64_t size;
    } rows[] = {
        {"0", true, false, 0},
        {"0 LAST", true, true, 0},
        {"1000 last", true, true, 1000},
        {"1000", true, false, 1000},
        {"1000  LAST", true, true, 1000},
        {"18446744073709551615", true, false, UINT64_MAX},
        {"18446744073709551616", false, false, 0},
        {"", false, false, 0},
        {"LAST", false, false, 0},
        {" 1", false, false, 0},
        {"-1", false, false, 0},
        {"+1", false, false, 0},
        {"1x", false, false, 0},
        {"0x10", false, false, 0},
        {"1 LAST x", false, false, 0},
        {"1 LASTX", false, false, 0},
        {"1 2", false, false, 0},
        {"1\tLAST", false, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t size;
        bool last;
        const char *why;
        enum smtp_cmd_err e = smtp_bdat_parse(str_from_c(rows[i].arg), &size, &last, &why);
        if (e != (rows[i].ok ? SMTP_CMD_OK : SMTP_CMD_SYNTAX))
            fail_msg("%s", rows[i].arg);
        assert_int_equal(why == NULL, rows[i].ok);
        if (rows[i].ok) {
            assert_int_equal(size, rows[i].size);
            assert_int_equal(last, rows[i].last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits),        cmocka_unit_test(parses_mail), cmocka_unit_test(parses_rcpt),
        cmocka_unit_test(survives_cuts), cmocka_unit_test(parses_bdat), cmocka_unit_test(parses_extensions),
        cmocka_unit_test(decodes_orcpt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
