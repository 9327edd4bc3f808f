#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "ext/idn.h"

#include <string.h>

static void to_ascii(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in;
        const char *want; /* NULL: there is none */
    } rows[] = {
        {STR_INIT("Example.COM"), "example.com"},
        {STR_INIT("_dmarc.Example.com"), "_dmarc.example.com"},
        {STR_INIT("xn--not-punycode-\x61.example"), "xn--not-punycode-a.example"},
        {STR_INIT("B\xc3\xbc"
                  "cher.example"),
         "xn--bcher-kva.example"},
        {STR_INIT("_x.b\xc3\xbc"
                  "cher.example"),
         "_x.xn--bcher-kva.example"},
        {STR_INIT("fa\xc3\x9f.example"), "xn--fa-hia.example"}, /* non-transitional: not fass */
        {STR_INIT("\xe4\xbe\x8b\xe3\x80\x82jp"), "xn--fsq.jp"}, /* an ideographic full stop */
        {STR_INIT("b\xc3\xbc"
                  "cher.example."),
         "xn--bcher-kva.example."},
        {STR_INIT("\xff.example"), NULL},
        {STR_INIT("a\0\xc3\xbc.example"), NULL},
        {STR_INIT("\xe2\x80\x8f.example"), NULL}, /* a mark that turns the direction */
        {STR_INIT("-\xc3\xbc.example"), NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[300];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        bool ok = idn_to_ascii(rows[i].in, &b);
        if (ok != (rows[i].want != NULL) || !str_eq(buf_str(&b), str_from_c(rows[i].want)))
            print_message("# row %zu: %d <%.*s>\n", i, ok, STR_FMT(buf_str(&b)));
        assert_int_equal(ok, rows[i].want != NULL);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i].want)));
    }
}

static void to_unicode(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in, want;
    } rows[] = {
        {STR_INIT("Example.com"), STR_INIT("example.com")},
        {STR_INIT("XN--Bcher-Kva.example"), STR_INIT("b\xc3\xbc"
                                                     "cher.example")},
        {STR_INIT("B\xc3\xbc"
                  "cher.example"),
         STR_INIT("b\xc3\xbc"
                  "cher.example")},
        {STR_INIT("xn--\x61.example"), STR_INIT("xn--a.example")},
        {STR_INIT("xn--ab-g4t.example"), STR_INIT("xn--ab-g4t.example")}, /* turns the direction of text */
        {STR_INIT("\xff.example"), STR_INIT("\xff.example")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[300];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(idn_to_unicode(rows[i].in, &b));
        if (!str_eq(buf_str(&b), rows[i].want))
            print_message("# row %zu: <%.*s>\n", i, STR_FMT(buf_str(&b)));
        assert_true(str_eq(buf_str(&b), rows[i].want));
    }
}

static void same(void **state)
{
    UNUSED(state);
    assert_true(idn_same(STR("B\xc3\x9c"
                             "CHER.example"),
                         STR("xn--bcher-kva.EXAMPLE")));
    assert_true(idn_same(STR("\xff.example"), STR("\xff.Example")));
    assert_false(idn_same(STR("fa\xc3\x9f.example"), STR("fass.example")));
    assert_false(idn_same(STR("a.example"), STR("b.example")));
    assert_false(idn_same(STR("\xff.example"), STR("\xfe.example")));
}

static void too_long_is_refused(void **state)
{
    UNUSED(state);
    char name[DNS_NAME_MAX + 1], mem[DNS_NAME_MAX + 1], small[4];
    struct buf b;
    memset(name, 'a', sizeof name);
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(idn_to_ascii(str_of(name, DNS_NAME_MAX), &b));
    buf_reset(&b);
    assert_false(idn_to_ascii(str_of(name, DNS_NAME_MAX + 1), &b));
    assert_false(idn_to_unicode(str_of(name, DNS_NAME_MAX + 1), &b));
    memcpy(name, "\xc3\xbc", 2); /* a label over 63 octets */
    assert_false(idn_to_ascii(str_of(name, 100), &b));
    assert_int_equal(b.n, 0);
    buf_init_fixed(&b, small, sizeof small);
    assert_false(idn_to_ascii(STR("b\xc3\xbc"
                                  "cher.example"),
                              &b));
    assert_false(idn_to_ascii(STR("example"), &b));
    assert_int_equal(b.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_ascii),
        cmocka_unit_test(to_unicode),
        cmocka_unit_test(same),
        cmocka_unit_test(too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
