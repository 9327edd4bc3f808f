#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "wire/fold.h"
#include "wire/utf8.h"

#include <string.h>

static void fold(const char *text, size_t column, bool utf8, struct buf *out)
{
    struct fold f;
    fold_init(&f, out, "  ", column, utf8);
    fold_words(&f, str_from_c(text));
}

static void makes_words(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        bool utf8;
        const char *want;
    } rows[] = {
        {"", false, ""},
        {"   ", false, ""},
        {"a  b", false, "a b"},
        {" a\r\n\r\nb\t\x01"
         "c\x7f",
         false, "a b c"},
        {"f\xc3\xbcr", true, "f\xc3\xbcr"},
        {"f\xc3\xbcr", false, "f?r"},
        {"f\xc3r \xff", true, "f?r ?"},
        {"a\xc2\x85"
         "b\xe2\x80\xa8"
         "c",
         true, "a b c"},
        {"a\xc2\x85"
         "b",
         false, "a b"},
        {"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 end", false,
         "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\r\n  end"},
        {"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789a", false,
         "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\r\n  0123456789a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[256];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        fold(rows[i].text, 0, rows[i].utf8, &b);
        if (!str_eq(buf_str(&b), str_from_c(rows[i].want)))
            fail_msg("row %zu: %.*s", i, STR_FMT(buf_str(&b)));
    }
}

/* Text in two calls is as in one, and the column that stands there counts. */
static void goes_on(void **state)
{
    UNUSED(state);
    char mem[256];
    struct buf b;
    struct fold f;
    buf_init_fixed(&b, mem, sizeof mem);
    fold_init(&f, &b, " ", 70, false);
    fold_words(&f, STR("abc def"));
    fold_words(&f, STR("ghi"));
    assert_true(str_eq(buf_str(&b), STR("abc\r\n def ghi")));
}

static void never_breaks_out(void **state)
{
    UNUSED(state);
    struct rng rng;
    rng_seed(&rng, 4);
    static const char odd[] = "\r\n\t \x01\x7f\xc2\x85\xe2\x80\xa8\xff\xc3\xbc";
    for (int round = 0; round < 2000; round++) {
        char text[3000], mem[16384];
        size_t n = (size_t)rng_below(&rng, sizeof text);
        bool has_spaces = rng_below(&rng, 2) == 0;
        for (size_t i = 0; i < n; i++)
            text[i] = has_spaces && rng_below(&rng, 8) == 0 ? odd[rng_below(&rng, sizeof odd)] : 'x';
        struct buf b;
        struct fold f;
        bool utf8 = rng_below(&rng, 2) == 0;
        buf_init_fixed(&b, mem, sizeof mem);
        fold_init(&f, &b, " ", 30, utf8);
        fold_words(&f, str_of(text, n));
        assert_false(b.failed);
        assert_true(utf8 ? utf8_is_valid(buf_str(&b)) : str_is_ascii(buf_str(&b)));
        struct str rest = buf_str(&b);
        bool is_first = true;
        while (rest.n > 0) {
            struct str line = str_cut(&rest, '\n');
            assert_true(line.n <= FOLD_LINE_MAX);
            if (!is_first)
                assert_true(line.n > 1 && line.p[0] == ' ' && line.p[1] != ' ' && line.p[1] != '\r');
            if (rest.n > 0) {
                assert_true(str_ends(line, STR("\r")));
                line.n--;
            }
            assert_false(str_has_ctl(line));
            is_first = false;
        }
        buf_reset(&b);
        fold_put_clean(&b, str_of(text, n), utf8);
        assert_false(str_has_ctl(buf_str(&b)));
        assert_true(b.n <= FOLD_LINE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_words),
        cmocka_unit_test(goes_on),
        cmocka_unit_test(never_breaks_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
