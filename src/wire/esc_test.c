#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/esc.h"

static void parses_and_formats(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text, *rest; /* rest NULL: refused */
        struct esc esc;
    } rows[] = {
        {"2.0.0", "", {2, 0, 0}},
        {"5.1.1 no such user", "no such user", {5, 1, 1}},
        {"4.7.123  two", " two", {4, 7, 123}},
        {"5.999.999 ", "", {5, 999, 999}},
        {"", NULL, {0}},
        {"2", NULL, {0}},
        {"2.", NULL, {0}},
        {"2.1", NULL, {0}},
        {"2.1.", NULL, {0}},
        {"2.1. x", NULL, {0}},
        {"2..1 x", NULL, {0}},
        {"1.0.0", NULL, {0}},
        {"3.0.0", NULL, {0}},
        {"6.0.0", NULL, {0}},
        {"0.0.0", NULL, {0}},
        {"22.0.0", NULL, {0}},
        {"2.00.0", NULL, {0}},
        {"2.0.01", NULL, {0}},
        {"2.0000.1", NULL, {0}},
        {"2.0.1000", NULL, {0}},
        {"2.0.0.0", NULL, {0}},
        {"2.0.0-x", NULL, {0}},
        {"2.0.0x", NULL, {0}},
        {"2.0.-1", NULL, {0}},
        {"2. 0.1", NULL, {0}},
        {"2.0 .1", NULL, {0}},
        {" 2.0.0", NULL, {0}},
        {"192.168.1.1 a host", NULL, {0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct esc e = {9, 9, 9};
        struct str rest = STR("untouched");
        bool ok = esc_parse(str_from_c(rows[i].text), &e, &rest);
        if (ok != (rows[i].rest != NULL))
            fail_msg("%s", rows[i].text);
        if (!ok) {
            assert_int_equal(e.class, 9);
            assert_true(str_eq(rest, STR("untouched")));
            continue;
        }
        assert_true(str_eq(rest, str_from_c(rows[i].rest)));
        assert_int_equal(e.class, rows[i].esc.class);
        assert_int_equal(e.subject, rows[i].esc.subject);
        assert_int_equal(e.detail, rows[i].esc.detail);
        char mem[16];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        esc_format(e, &b);
        assert_true(str_starts(str_from_c(rows[i].text), buf_str(&b)));
    }
}

static void formats_limits(void **state)
{
    UNUSED(state);
    char mem[20];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    esc_format((struct esc){0}, &b);
    assert_int_equal(b.n, 0);
    esc_format(ESC(2, 65535, 10), &b);
    assert_true(str_eq(buf_str(&b), STR("2.65535.10")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parses_and_formats),
                                       cmocka_unit_test(formats_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
