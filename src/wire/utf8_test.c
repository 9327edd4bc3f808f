#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/utf8.h"

/* Encodes any number as if it were a code point, in n octets: over-long forms and surrogates too. */
static struct str encode(uint32_t code, size_t n, char out[4])
{
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(n == 1 ? code : leads[n] | code);
    return str_of(out, n);
}

static size_t octets_of(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static void knows_every_code_point(void **state)
{
    UNUSED(state);
    static const uint32_t too_large[] = {0, 0x80, 0x800, 0x10000, 0x200000};
    for (size_t n = 1; n <= 4; n++) {
        for (uint32_t code = 0; code < too_large[n]; code++) {
            char mem[4];
            struct str s = encode(code, n, mem);
            bool ok = octets_of(code) == n && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
            uint32_t got = 0;
            size_t taken = utf8_next(s, &got);
            if (taken != (ok ? n : 0) || (ok && got != code) || utf8_is_valid(s) != ok)
                fail_msg("U+%04X in %zu octets", (unsigned)code, n);
            for (size_t cut = 1; cut < n; cut++) {
                if (utf8_next(str_slice(s, 0, cut), &got) != 0)
                    fail_msg("U+%04X cut at %zu", (unsigned)code, cut);
            }
        }
    }
}

static void judges_texts(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"", true},
        {"abc", true},
        {"\xc3\xbc"
         "a",
         true},
        {"a\xe2\x82\xac", true},
        {"\x80", false},
        {"a\xbf", false},
        {"\xc3", false},
        {"\xc3"
         "a",
         false},
        {"\xe2\x82", false},
        {"\xe2\x82"
         "a",
         false},
        {"\xf0\x9f", false},
        {"\xfe", false},
        {"\xff", false},
        {"\xf5\x80\x80\x80", false},
        {"\xf8\x88\x80\x80\x80", false},
        {"\xc3\xbc\xc3", false},
        {"\xc1\xbf", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (utf8_is_valid(str_from_c(rows[i].text)) != rows[i].ok)
            fail_msg("row %zu", i);
    }
    uint32_t code;
    assert_int_equal(utf8_next(STR_NIL, &code), 0);
    assert_true(utf8_is_valid(STR("a\0b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_every_code_point),
        cmocka_unit_test(judges_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
