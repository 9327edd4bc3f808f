#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

#include <string.h>

static int sign(int d)
{
    return (d > 0) - (d < 0);
}

static struct str s(const char *c)
{
    return str_from_c(c);
}

static void compares(void **state)
{
    UNUSED(state);
    static const struct {
        const char *a, *b;
        int cmp, icmp;
    } rows[] = {
        {"", "", 0, 0},      {"a", "a", 0, 0},   {"a", "b", -1, -1},  {"b", "a", 1, 1},
        {"a", "ab", -1, -1}, {"ab", "a", 1, 1},  {"A", "a", -1, 0},   {"aB", "Ab", 1, 0},
        {"", "a", -1, -1},   {"Z", "a", -1, 1},  {"\xff", "a", 1, 1}, {"\xc3\x84", "\xc3\xa4", -1, -1},
        {"[", "{", -1, -1},  {"@", "`", -1, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str a = s(rows[i].a), b = s(rows[i].b);
        assert_int_equal(sign(str_cmp(a, b)), rows[i].cmp);
        assert_int_equal(sign(str_cmp(b, a)), -rows[i].cmp);
        assert_int_equal(sign(str_icmp(a, b)), rows[i].icmp);
        assert_int_equal(str_eq(a, b), rows[i].cmp == 0);
        assert_int_equal(str_ieq(a, b), rows[i].icmp == 0);
    }
    assert_true(str_eq(STR_NIL, STR("")));
    assert_true(str_eq(s(NULL), STR_NIL));
}

static void starts_and_ends(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text, *part;
        bool starts, istarts, ends, iends;
    } rows[] = {
        {"abc", "", true, true, true, true},         {"abc", "ab", true, true, false, false},
        {"abc", "AB", false, true, false, false},    {"abc", "bc", false, false, true, true},
        {"abc", "BC", false, false, false, true},    {"abc", "abc", true, true, true, true},
        {"abc", "abcd", false, false, false, false}, {"", "", true, true, true, true},
        {"", "a", false, false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str text = s(rows[i].text), part = s(rows[i].part);
        assert_int_equal(str_starts(text, part), rows[i].starts);
        assert_int_equal(str_istarts(text, part), rows[i].istarts);
        assert_int_equal(str_ends(text, part), rows[i].ends);
        assert_int_equal(str_iends(text, part), rows[i].iends);
    }
}

static void finds(void **state)
{
    UNUSED(state);
    assert_int_equal(str_chr(STR("a,b,c"), ','), 1);
    assert_int_equal(str_rchr(STR("a,b,c"), ','), 3);
    assert_int_equal(str_chr(STR("abc"), 'x'), STR_NPOS);
    assert_int_equal(str_rchr(STR("abc"), 'x'), STR_NPOS);
    assert_int_equal(str_chr(STR_NIL, 'x'), STR_NPOS);
    assert_int_equal(str_rchr(STR("abc"), 'a'), 0);
    assert_int_equal(str_find(STR("aabab"), STR("ab")), 1);
    assert_int_equal(str_find(STR("aabab"), STR("abx")), STR_NPOS);
    assert_int_equal(str_find(STR("ab"), STR("")), 0);
    assert_int_equal(str_find(STR_NIL, STR("")), 0);
    assert_int_equal(str_find(STR_NIL, STR("a")), STR_NPOS);
    assert_int_equal(str_find(STR("ab"), STR("abc")), STR_NPOS);
    assert_int_equal(str_find(STR("xab"), STR("ab")), 1); /* at the very end */
}

static void slices_clamp(void **state)
{
    UNUSED(state);
    struct str t = STR("abcdef");
    assert_true(str_eq(str_slice(t, 1, 3), STR("bc")));
    assert_true(str_eq(str_slice(t, 0, 100), t));
    assert_true(str_eq(str_slice(t, 4, 2), STR("")));
    assert_true(str_eq(str_slice(t, 100, 200), STR("")));
    assert_true(str_eq(str_slice(t, 0, STR_NPOS), t));
    assert_true(str_eq(str_skip(t, 4), STR("ef")));
    assert_true(str_eq(str_skip(t, 7), STR("")));
    assert_int_equal(str_slice(STR_NIL, 3, 9).n, 0);
}

static void cuts(void **state)
{
    UNUSED(state);
    struct str t = STR("a,,b");
    assert_true(str_eq(str_cut(&t, ','), STR("a")));
    assert_true(str_eq(str_cut(&t, ','), STR("")));
    assert_true(str_eq(t, STR("b")));
    assert_true(str_eq(str_cut(&t, ','), STR("b")));
    assert_int_equal(t.n, 0);
    assert_true(str_eq(str_cut(&t, ','), STR("")));
    t = STR_NIL;
    assert_int_equal(str_cut(&t, ',').n, 0);
    t = STR("x,");
    assert_true(str_eq(str_cut(&t, ','), STR("x")));
    assert_int_equal(t.n, 0);
}

static void trims(void **state)
{
    UNUSED(state);
    static const char *const rows[][2] = {
        {"", ""},       {" ", ""},    {"\t \t", ""}, {" a ", "a"},
        {"a b", "a b"}, {"\ta", "a"}, {"a\t", "a"},  {"\na\n", "\na\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(str_eq(str_trim(s(rows[i][0])), s(rows[i][1])));
}

static void reads_numbers(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        uint64_t max;
        bool ok;
        uint64_t want;
    } rows[] = {
        {"0", 0, true, 0},
        {"007", 10, true, 7},
        {"10", 10, true, 10},
        {"11", 10, false, 0},
        {"", 10, false, 0},
        {"-1", 10, false, 0},
        {"+1", 10, false, 0},
        {" 1", 10, false, 0},
        {"1 ", 10, false, 0},
        {"1a", 10, false, 0},
        {"0x1", 10, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999", UINT64_MAX, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 0;
        assert_int_equal(str_to_u64(s(rows[i].text), rows[i].max, &v), rows[i].ok);
        if (rows[i].ok)
            assert_true(v == rows[i].want);
    }
}

static void classifies_bytes(void **state)
{
    UNUSED(state);
    assert_true(str_is_ascii(STR("abc\x7f")));
    assert_false(str_is_ascii(STR("a\x80")));
    assert_true(str_is_ascii(STR_NIL));
    assert_false(str_has_ctl(STR("abc \x80")));
    assert_true(str_has_ctl(STR("a\x7f")));
    assert_true(str_has_ctl(STR("a\x1f")));
    assert_true(str_has_ctl(STR("a\0b")));
    for (int c = -128; c < 128; c++) {
        bool is_upper = c >= 'A' && c <= 'Z', is_lower = c >= 'a' && c <= 'z',
             is_digit = c >= '0' && c <= '9';
        assert_int_equal(ascii_is_alpha((char)c), is_upper || is_lower);
        assert_int_equal(ascii_is_digit((char)c), is_digit);
        assert_int_equal(ascii_is_alnum((char)c), is_upper || is_lower || is_digit);
        assert_int_equal(ascii_lower((char)c), is_upper ? (char)(c + 32) : (char)c);
    }
}

static void copies_to_c(void **state)
{
    UNUSED(state);
    char out[4];
    assert_true(str_to_c(STR("abc"), out, sizeof out));
    assert_string_equal(out, "abc");
    assert_false(str_to_c(STR("abcd"), out, sizeof out));
    assert_string_equal(out, "abc"); /* cut, and terminated all the same */
    assert_false(str_to_c(STR("a\0b"), out, sizeof out));
    assert_true(str_to_c(STR_NIL, out, 1));
    assert_string_equal(out, "");
    assert_false(str_to_c(STR("a"), out, 1));
}

static void hashes_without_case(void **state)
{
    UNUSED(state);
    assert_true(str_ihash(STR("Example.ORG"), 7) == str_ihash(STR("example.org"), 7));
    assert_true(str_ihash(STR("example.org"), 7) != str_ihash(STR("example.org"), 8));
    assert_true(str_ihash(STR("example.org"), 7) != str_ihash(STR("example.com"), 7));
    assert_true(str_ihash(STR("a"), 7) != str_ihash(STR("a\0"), 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),      cmocka_unit_test(starts_and_ends),
        cmocka_unit_test(finds),         cmocka_unit_test(slices_clamp),
        cmocka_unit_test(cuts),          cmocka_unit_test(trims),
        cmocka_unit_test(reads_numbers), cmocka_unit_test(classifies_bytes),
        cmocka_unit_test(copies_to_c),   cmocka_unit_test(hashes_without_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
