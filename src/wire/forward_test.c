#include "wire/forward.h"

#include "base/limits.h"
#include "wire/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { OUT_MAX = 32 * 1024 };

static const struct forward_whose joe = {.user = STR_INIT("joe"), .rcpt = STR_INIT("Joe+shop@a.example")};

/* The targets with spaces between, "-" for none, or "line N: WHY". */
static void read_text(struct str text, const struct forward_whose *whose, struct buf *out)
{
    static char mem[OUT_MAX];
    struct buf records;
    struct forward_found found;
    struct rcpt one;
    uint32_t n = 0;
    buf_init_fixed(&records, mem, sizeof mem);
    buf_puts(&records, "x");
    enum forward_status status = forward_read(text, whose, &records, &found);
    assert_int_equal(mem[0], 'x');
    assert_false(records.failed);
    if (status != FORWARD_TARGETS)
        assert_int_equal(records.n, 1);
    if (status == FORWARD_BAD)
        buf_printf(out, "line %u: %s", found.line, found.why);
    else if (status == FORWARD_NONE)
        buf_puts(out, "-");
    struct reader r = reader_of(str_skip(buf_str(&records), 1));
    while (rcpt_next(&r, &one)) {
        assert_true(one.notify == 0 && one.flags == 0 && one.target == 0 && one.orcpt.n + one.shown.n == 0);
        if (n++ > 0)
            buf_putc(out, ' ');
        buf_put(out, one.address);
    }
    assert_false(r.failed);
    if (status == FORWARD_TARGETS)
        assert_int_equal(found.n, n);
}

struct row {
    const char *text, *want;
};

static void check_row(const struct row *row)
{
    char mem[1024];
    struct buf got;
    buf_init_fixed(&got, mem, sizeof mem);
    read_text(str_from_c(row->text), &joe, &got);
    if (!str_eq(buf_str(&got), str_from_c(row->want)))
        fail_msg("%s\n gives %.*s\n and not %s", row->text, STR_FMT(buf_str(&got)), row->want);
}

static void test_targets(void **state)
{
    UNUSED(state);
    static const struct row rows[] = {
        {"", "-"},
        {"\n\n \t\n\r\n", "-"},
        {"# ann@b.example\n  # |prog\n#", "-"},
        {", ,,\n,", "-"},
        {"ann@b.example", "ann@b.example"},
        {"ann@b.example\n", "ann@b.example"},
        {"ann@b.example\r\n# x\r\nbob@b.example\r\n", "ann@b.example bob@b.example"},
        {"ann@b.example,bob@b.example ,\n  cy@b.example", "ann@b.example bob@b.example cy@b.example"},
        {"ann", "ann@a.example"},
        {"ann, root\nANN", "ann@a.example root@a.example ANN@a.example"},
        {"Ann Other <ann@b.example>, \"Bob, B.\" <bob@b.example> (at home)", "ann@b.example bob@b.example"},
        {"<ann@b.example>", "ann@b.example"},
        {"\"ann\"@b.example, \"a b\"@b.example", "ann@b.example \"a b\"@b.example"},
        {"\"a b\"", "\"a b\"@a.example"},
        {"friends: ann, bob@b.example;", "ann@a.example bob@b.example"},
        {"gr\xc3\xbc\xc3\x9f"
         "e@b\xc3\xbc"
         "cher.example",
         "gr\xc3\xbc\xc3\x9f"
         "e@b\xc3\xbc"
         "cher.example"},
        {"joe@[192.0.2.1]", "joe@[192.0.2.1]"},
        {"ann|x@b.example, a/b@b.example, ann#@b.example", "ann|x@b.example a/b@b.example ann#@b.example"},
        {"joe@b.example", "joe@b.example"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

/* All ways to name oneself: alone they are no .forward at all, beside others the address the mail came for.
 */
static void test_own(void **state)
{
    UNUSED(state);
    static const char *const own[] = {
        "\\joe",
        "joe",
        "JOE",
        "\\Joe",
        "joe@a.example",
        "Joe@A.Example",
        "\\joe@a.example",
        "\"joe\"",
        "\"\\joe\"",
        "<joe@a.example>",
        "Joe Smith <joe>",
        "joe+shop@a.example",
        "\\joe (that is me)",
    };
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "%s", own[i]);
        check_row(&(struct row){text, "-"});
        (void)snprintf(text, sizeof text, "%s, ann@b.example", own[i]);
        check_row(&(struct row){text, "Joe+shop@a.example ann@b.example"});
        (void)snprintf(text, sizeof text, "ann@b.example\n%s\n\\joe", own[i]);
        check_row(&(struct row){text, "ann@b.example Joe+shop@a.example"});
        (void)snprintf(text, sizeof text, "%s,\\joe,joe", own[i]);
        check_row(&(struct row){text, "-"});
    }
    static const struct row others[] = {
        {"\\ann", "ann@a.example"},
        {"\\ann@b.example, \\joe", "ann@b.example Joe+shop@a.example"},
        {"joe+other", "joe+other@a.example"}, /* whose that is, the configuration says */
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        check_row(&others[i]);
}

static void test_bad(void **state)
{
    UNUSED(state);
    static const char program[] = "only the configuration can have programs started";
    static const char file[] = "mail goes to addresses only, not to files and folders";
    static const char include[] = "no other file is included";
    static const struct {
        const char *text;
        unsigned line;
        const char *why; /* NULL: any */
    } rows[] = {
        {"|/usr/bin/procmail", 1, program},
        {"\"|/usr/bin/vacation joe\"", 1, program},
        {"\"|exec /bin/x, y || exit 75\"", 1, program},
        {"\\joe, \"|/usr/bin/vacation joe\"", 1, program},
        {"ann@b.example\n# ok\n\t|x", 3, program},
        {"Ann <|x>", 1, program},
        {"\\|x", 1, program},
        {"\\\"|x\"", 1, program},
        {"<\"|x y\"@b.example>", 1, program},
        {"friends: ann, |x;", 1, program},
        {"/home/joe/mbox", 1, file},
        {"\"/home/joe/m box\"", 1, file},
        {"ann@b.example, /dev/null", 1, file},
        {"Ann </etc/passwd>", 1, file},
        {":include:/home/joe/list", 1, include},
        {":INCLUDE: /home/joe/list", 1, include},
        {"ann\n\":include:/home/joe/list\"", 2, include},
        {"\\", 1, "a backslash stands without a name"},
        {"\\ , ann", 1, "a backslash stands without a name"},
        {"\\\\joe", 1, "a backslash stands without a name"},
        {"\\joe ann", 1, NULL},
        {"\\joe; ann", 1, "something stands behind the name with the backslash"},
        {"ann bob", 1, NULL},
        {"ann@b.example # my office", 1, NULL},
        {"ann@", 1, NULL},
        {"@b.example", 1, NULL},
        {"ann@b..example", 1, NULL},
        {"\"ann", 1, NULL},
        {"ann\n\"bob\ncy\"", 2, NULL},
        {"friends: ann,\nbob;", 1, "a group has no end"},
        {"ann\001@b.example", 1, "a control character stands in it"},
        {"ann@b.example\r\r\n", 1, "a control character stands in it"},
        {"ann@b.example\rbob", 1, "a control character stands in it"},
        {"ann\n\x7f", 2, "a control character stands in it"},
        {"ann@b\xff.example", 1, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[1024], want[200];
        struct buf got;
        buf_init_fixed(&got, mem, sizeof mem);
        read_text(str_from_c(rows[i].text), &joe, &got);
        (void)snprintf(want, sizeof want, "line %u: %s", rows[i].line,
                       rows[i].why == NULL ? "" : rows[i].why);
        bool ok = rows[i].why == NULL ? str_starts(buf_str(&got), str_from_c(want))
                                      : str_eq(buf_str(&got), str_from_c(want));
        if (!ok)
            fail_msg("%s\n gives %.*s\n and not %s", rows[i].text, STR_FMT(buf_str(&got)), want);
    }
    char mem[200];
    struct buf got;
    buf_init_fixed(&got, mem, sizeof mem);
    read_text(str_of("ann@b.example\n\0\n", 16), &joe, &got);
    assert_true(str_eq(buf_str(&got), STR("line 2: a control character stands in it")));
}

static void expect_bad(struct str text, const struct forward_whose *whose, const char *want)
{
    char mem[200];
    struct buf got;
    buf_init_fixed(&got, mem, sizeof mem);
    read_text(text, whose, &got);
    if (!str_eq(buf_str(&got), str_from_c(want)))
        fail_msg("%.*s and not %s", STR_FMT(buf_str(&got)), want);
}

static void test_limits(void **state)
{
    UNUSED(state);
    static char text[FORWARD_OCTETS_MAX + 1];
    static const struct forward_whose nobody = {.user = STR_INIT("joe"), .rcpt = STR_INIT("joe")};
    char mem[64 * 1024];
    struct buf out;
    memset(text, '\n', sizeof text);
    buf_init_fixed(&out, mem, sizeof mem);
    read_text(str_of(text, FORWARD_OCTETS_MAX), &joe, &out);
    assert_true(str_eq(buf_str(&out), STR("-")));
    expect_bad(str_of(text, FORWARD_OCTETS_MAX + 1), &joe, "line 0: it is too long");
    expect_bad(STR("ann"), &nobody, "line 0: it is of nobody");

    /* SMTP_RCPT_MAX targets, and one more */
    for (size_t i = 0; i < sizeof text - 4; i += 4)
        memcpy(text + i, "a@b\n", 4);
    buf_reset(&out);
    read_text(str_of(text, (size_t)SMTP_RCPT_MAX * 4), &joe, &out);
    assert_int_equal(out.n, SMTP_RCPT_MAX * 4 - 1);
    expect_bad(str_of(text, (size_t)SMTP_RCPT_MAX * 4 + 4), &joe, "line 1001: there are too many addresses");

    /* a buffer that is full before that */
    struct buf got;
    char got_mem[200];
    size_t n_bad = 0, n_taken = 0;
    for (size_t room = 0; room < 100; room++) {
        struct buf small;
        struct forward_found found;
        buf_init_fixed(&small, mem, room);
        enum forward_status status = forward_read(STR("ann@b.example,bob@b.example"), &joe, &small, &found);
        assert_int_equal(status, small.n > 0 ? FORWARD_TARGETS : FORWARD_BAD);
        assert_false(small.failed);
        if (status == FORWARD_BAD)
            assert_string_equal(found.why, "there are too many addresses");
        n_bad += status == FORWARD_BAD;
        n_taken = small.n;
    }
    assert_int_equal(n_bad, n_taken); /* it is taken from the first room on that it fits */

    /* a bare name that is too long with its domain */
    static char domain[SMTP_PATH_MAX];
    memset(domain, 'd', sizeof domain);
    domain[3] = '@';
    const struct forward_whose far = {.user = STR("joe"), .rcpt = str_of(domain, sizeof domain)};
    buf_init_fixed(&got, got_mem, sizeof got_mem);
    read_text(STR("ann"), &far, &out);
    expect_bad(STR("anna"), &far, "line 1: the address is too long");
}

/* No prefix of a file reads past its end, and what was whole lines stays what it was. */
static void test_prefixes(void **state)
{
    UNUSED(state);
    static const char text[] = "# c\n\\joe, \"Ann, A\" <ann@b.example>\nx: bob, cy;\n\"|x\"\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char *exact = malloc(n + (n == 0)); /* so that a sanitizer sees what is read beyond */
        char mem[1024];
        struct buf got;
        assert_non_null(exact);
        memcpy(exact, text, n);
        buf_init_fixed(&got, mem, sizeof mem);
        read_text(str_of(exact, n), &joe, &got);
        assert_true(got.n > 0);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets), cmocka_unit_test(test_own),      cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
