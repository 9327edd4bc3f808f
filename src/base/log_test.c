#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/log.h"

#include <string.h>

struct capture {
    char text[8192];
    size_t n;
    unsigned n_lines;
};

static void capture_line(void *arg, struct str line)
{
    struct capture *c = arg;
    assert_true(c->n + line.n < sizeof c->text);
    assert_true(line.n > 0 && line.p[line.n - 1] == '\n');
    assert_int_equal(str_chr(line, '\n'), line.n - 1); /* one line, whatever was in the values */
    memcpy(c->text + c->n, line.p, line.n);
    c->n += line.n;
    c->text[c->n] = '\0';
    c->n_lines++;
}

static void writes_text(void **state)
{
    UNUSED(state);
    struct capture c = {0};
    struct log l = {.min = LOG_INFO, .role = "queue", .write = capture_line, .arg = &c};
    log_info(&l, "queue.opened", LC("path", "/var/spool"), LU("n", 7), LI("d", -7), LID("id", 0xabc),
             LERR(ERR_NOSPACE));
    assert_string_equal(c.text, "info queue queue.opened path=/var/spool n=7 d=-7 id=00000000002NW "
                                "error=\"no space left on disk\"\n");
}

static void writes_json(void **state)
{
    UNUSED(state);
    struct capture c = {0};
    struct log l = {.json = true, .write = capture_line, .arg = &c};
    log_error(&l, "a.b", LC("s", "x\"y"), LU("n", 7), LI("d", -7), LID("id", 1));
    assert_string_equal(
        c.text, "{\"level\":\"error\",\"role\":\"waxwing\",\"event\":\"a.b\",\"s\":\"x\\\"y\",\"n\":7,"
                "\"d\":-7,\"id\":\"0000000000001\"}\n");
}

static void filters_by_level(void **state)
{
    UNUSED(state);
    struct capture c = {0};
    struct log l = {.min = LOG_WARN, .write = capture_line, .arg = &c};
    log_debug(&l, "e", LU("n", 1));
    log_info(&l, "e", LU("n", 1));
    assert_int_equal(c.n_lines, 0);
    log_warn(&l, "e", LU("n", 1));
    log_error(&l, "e", LU("n", 1));
    assert_int_equal(c.n_lines, 2);
    l.write = NULL;
    log_error(&l, "e", LU("n", 1));
    log_error(NULL, "e", LU("n", 1));
    assert_int_equal(c.n_lines, 2);
}

static void quotes(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in;
        const char *out;
    } rows[] = {
        {{"", 0}, "\"\""},
        {{"abc", 3}, "\"abc\""},
        {{"a\"b\\c", 5}, "\"a\\\"b\\\\c\""},
        {{"a\r\nb", 4}, "\"a\\u000d\\u000ab\""},
        {{"\0\x1b\x7f", 3}, "\"\\u0000\\u001b\\u007f\""},
        {{"\xc3\xa9", 2}, "\"\xc3\xa9\""},
        {{"\xc3", 1}, "\"\\u00c3\""},                                  /* cut */
        {{"\xc0\xaf", 2}, "\"\\u00c0\\u00af\""},                       /* overlong */
        {{"\xed\xa0\x80", 3}, "\"\\u00ed\\u00a0\\u0080\""},            /* a surrogate */
        {{"\xf4\x90\x80\x80", 4}, "\"\\u00f4\\u0090\\u0080\\u0080\""}, /* over U+10FFFF */
        {{"\xf0\x9f\x98\x80", 4}, "\"\xf0\x9f\x98\x80\""},
        {{"\xe2\x82", 2}, "\"\\u00e2\\u0082\""},
        {{"a\xc2\x9bZ", 4}, "\"a\\u009bZ\""},      /* a terminal's CSI */
        {{"a\xe2\x80\xaeZ", 5}, "\"a\\u202eZ\""},  /* text turned round */
        {{"\xe2\x80\xa6", 3}, "\"\xe2\x80\xa6\""}, /* an ellipsis is harmless */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        char mem[100];
        buf_init_fixed(&b, mem, sizeof mem);
        log_quote(&b, rows[i].in);
        buf_putc(&b, '\0');
        assert_string_equal(mem, rows[i].out);
    }
}

/* Remote text can make neither a second line nor a second field. */
static void cannot_be_forged(void **state)
{
    UNUSED(state);
    struct capture c = {0};
    struct log l = {.write = capture_line, .arg = &c};
    log_info(&l, "e", LC("from", "a\nerror queue e2 x=1"), LC("to", "b c=d"), LC("empty", ""));
    assert_string_equal(c.text,
                        "info waxwing e from=\"a\\u000aerror queue e2 x=1\" to=\"b c=d\" empty=\"\"\n");
}

static void cuts_long_lines_by_field(void **state)
{
    UNUSED(state);
    static char big[6000];
    struct capture c = {0};
    struct log l = {.json = true, .write = capture_line, .arg = &c};
    memset(big, 'a', sizeof big);
    log_info(&l, "e", LU("first", 1), LS("big", str_of(big, sizeof big)), LU("last", 2));
    assert_true(c.n <= 4096);
    assert_null(strstr(c.text, "aaa"));
    assert_non_null(strstr(c.text, "\"first\":1"));
    assert_string_equal(c.text + c.n - 2, "}\n"); /* still well-formed */
}

static void errors_have_texts(void **state)
{
    UNUSED(state);
    for (int e = ERR_OK; e <= ERR_TLS; e++) {
        assert_non_null(err_str((enum err)e));
        for (int f = ERR_OK; f < e; f++)
            assert_string_not_equal(err_str((enum err)e), err_str((enum err)f));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_text),       cmocka_unit_test(writes_json),
        cmocka_unit_test(filters_by_level),  cmocka_unit_test(quotes),
        cmocka_unit_test(cannot_be_forged),  cmocka_unit_test(cuts_long_lines_by_field),
        cmocka_unit_test(errors_have_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
