#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "wire/encoded_word.h"
#include "wire/utf8.h"

#include <string.h>

enum { OUT_MAX = 8192 };

/* Turns "rot" around, and knows nothing else. */
static bool rot13(void *arg, struct str charset, struct str in, struct buf *out)
{
    unsigned *n_calls = arg;
    if (!str_ieq(charset, STR("rot")))
        return false;
    (*n_calls)++;
    for (size_t i = 0; i < in.n; i++) {
        char c = ascii_lower(in.p[i]);
        buf_putc(out, ascii_is_alpha(c) ? (char)('a' + (unsigned)(c - 'a' + 13) % 26u) : c);
    }
    return true;
}

struct row {
    struct str in, want;
};

static void check(const struct buf *got, const struct row *row)
{
    assert_false(got->failed);
    if (!str_eq(buf_str(got), row->want))
        print_message("# <%.*s>: got <%.*s>, want <%.*s>\n", STR_FMT(row->in), STR_FMT(buf_str(got)),
                      STR_FMT(row->want));
    assert_true(str_eq(buf_str(got), row->want));
}

static void words_are_decoded(void **state)
{
    UNUSED(state);
    static const struct row rows[] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT(" plain text\r\n"), STR_INIT("plain text")},
        {STR_INIT(" folded\r\n  text\r\n\tmore"), STR_INIT("folded text more")},
        {STR_INIT("two  spaces stay"), STR_INIT("two  spaces stay")},
        {STR_INIT("raw caf\xc3\xa9, raw"), STR_INIT("raw caf\xc3\xa9, raw")},
        {STR_INIT("raw caf\xe9"), STR_INIT("raw caf\xc3\xa9")},
        /* RFC 2047 8 */
        {STR_INIT("(=?ISO-8859-1?Q?a?=)"), STR_INIT("(a)")},
        {STR_INIT("(=?ISO-8859-1?Q?a?= b)"), STR_INIT("(a b)")},
        {STR_INIT("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)"), STR_INIT("(ab)")},
        {STR_INIT("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)"), STR_INIT("(ab)")},
        {STR_INIT("(=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=)"), STR_INIT("(ab)")},
        {STR_INIT("(=?ISO-8859-1?Q?a_b?=)"), STR_INIT("(a b)")},
        {STR_INIT("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)"), STR_INIT("(a b)")},
        {STR_INIT("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n"
                  " =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?="),
         STR_INIT("If you can read this you understand the example.")},
        {STR_INIT("=?ISO-8859-1?Q?Andr=E9?= Pirard"), STR_INIT("Andr\xc3\xa9 Pirard")},
        {STR_INIT("=?utf-8?b?SMOpbGxv?="), STR_INIT("H\xc3\xa9llo")},
        {STR_INIT("=?UTF-8*en?Q?lang?="), STR_INIT("lang")},
        {STR_INIT("=?windows-1252?q?5_=80?="), STR_INIT("5 \xe2\x82\xac")},
        {STR_INIT("=?iso-8859-15?q?5_=A4?="), STR_INIT("5 \xe2\x82\xac")},
        /* a character in two words */
        {STR_INIT("=?utf-8?q?=C3?= =?utf-8?q?=A9?="), STR_INIT("\xc3\xa9")},
        {STR_INIT("=?utf-8?b?w6k=?= =?utf-8?q?x?="), STR_INIT("\xc3\xa9x")},
        /* beside text */
        {STR_INIT("\"=?utf-8?q?a?=\" <a@b>"), STR_INIT("\"a\" <a@b>")},
        {STR_INIT("x=?utf-8?q?a?=y"), STR_INIT("xay")},
        /* malformed ones stay */
        {STR_INIT("=?utf-8?q?a"), STR_INIT("=?utf-8?q?a")},
        {STR_INIT("=?utf-8?x?a?="), STR_INIT("=?utf-8?x?a?=")},
        {STR_INIT("=?utf-8?q?a b?="), STR_INIT("=?utf-8?q?a b?=")},
        {STR_INIT("=?"
                  "?q?a?="),
         STR_INIT("=?"
                  "?q?a?=")},
        {STR_INIT("=?*en?q?a?="), STR_INIT("=?*en?q?a?=")},
        {STR_INIT("=?utf-8?q?a=4?= =?utf-8?q?=?="), STR_INIT("a=4=")},
        {STR_INIT("=?=?utf-8?q?a?="), STR_INIT("=?a")},
        {STR_INIT("=?utf-8?q?"
                  "?="),
         STR_INIT("")},
        {STR_INIT("=?unknown-8bit?q?caf=E9?="), STR_INIT("caf\xc3\xa9")},
        /* what is hidden in a word comes to nothing */
        {STR_INIT("=?utf-8?q?a=0D=0AEvil:_x=1B[2J=00?="), STR_INIT("a  Evil: x?[2J?")},
        {STR_INIT("=?utf-8?q?=FF=C3?="), STR_INIT("\xef\xbf\xbd\xef\xbf\xbd")},
        {STR_INIT("a\tb\x01\x7f"), STR_INIT("a b??")},
        /* others know more */
        {STR_INIT("=?ROT?q?uryyb?= =?rot?q?_uryyb?="), STR_INIT("hello hello")},
    };
    unsigned n_calls = 0;
    struct charset_more more = {&n_calls, rot13};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[OUT_MAX];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        encoded_words_decode(rows[i].in, &more, &out);
        check(&out, &rows[i]);
    }
    assert_int_equal(n_calls, 1);
}

static void parameters_are_put_together(void **state)
{
    UNUSED(state);
    static const struct row rows[] = {
        {STR_INIT("; name=plain.txt"), STR_INIT("plain.txt")},
        {STR_INIT("; name=\"with space.txt\"; charset=x"), STR_INIT("with space.txt")},
        {STR_INIT("; name=\"=?utf-8?q?=C3=A9.txt?=\""), STR_INIT("\xc3\xa9.txt")},
        {STR_INIT("; name*=utf-8''%C3%A9.txt"), STR_INIT("\xc3\xa9.txt")},
        {STR_INIT("; name*=iso-8859-1'en'%E9.txt; name=e.txt"), STR_INIT("\xc3\xa9.txt")},
        {STR_INIT("; name*0=\"one \"; name*1=two"), STR_INIT("one two")},
        {STR_INIT("; name*1=two; name*0*=us-ascii'en'one%20; name*2*=%21"), STR_INIT("one two!")},
        {STR_INIT("; name*0*=utf-8''%C3; name*1*=%A9"), STR_INIT("\xc3\xa9")},
        {STR_INIT("; name*1=two; name=\"fallback\""), STR_INIT("fallback")},
        {STR_INIT("; name*=noquote%41"), STR_INIT("noquoteA")},
        {STR_INIT("; name*=utf-8''%zz%4"), STR_INIT("%zz%4")},
        {STR_INIT("; NAME=x"), STR_INIT("x")},
        {STR_INIT("; name*=''a%0Db%00"), STR_INIT("a b?")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[OUT_MAX];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        assert_true(param_text(str_skip(rows[i].in, 1), STR("name"), NULL, &out));
        check(&out, &rows[i]);
    }
    char mem[16];
    struct buf out;
    buf_init_fixed(&out, mem, sizeof mem);
    assert_false(param_text(STR("charset=utf-8"), STR("name"), NULL, &out));
    assert_false(param_text(STR_NIL, STR("name"), NULL, &out));
    assert_int_equal(out.n, 0);
}

/* Whatever is cut off, what comes is clean and no more than the set may make of it. */
static void anything_is_clean(void **state)
{
    UNUSED(state);
    static const char alphabet[] = "=?"
                                   "?utf-8?q?B_ \r\n\t\xc3\xa9\x80\x1b'*%0aA;name";
    struct rng r;
    rng_seed(&r, 7);
    for (unsigned round = 0; round < 20000; round++) {
        char in[48];
        size_t n = rng_below(&r, sizeof in);
        for (size_t i = 0; i < n; i++)
            in[i] = alphabet[rng_below(&r, sizeof alphabet - 1)];
        char mem[OUT_MAX];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        encoded_words_decode(str_of(in, n), NULL, &out);
        assert_true(!out.failed && utf8_is_valid(buf_str(&out)) && !str_has_ctl(buf_str(&out)));
        assert_true(out.n <= n * CHARSET_GROWTH_MAX);
        buf_reset(&out);
        (void)param_text(str_of(in, n), STR("name"), NULL, &out);
        assert_true(!out.failed && utf8_is_valid(buf_str(&out)) && !str_has_ctl(buf_str(&out)));
    }
}

static void sets_have_their_characters(void **state)
{
    UNUSED(state);
    static const struct {
        struct str set, in, want;
    } rows[] = {
        {STR_INIT("UTF-8"), STR_INIT("\xc3\xa9\xed\xa0\x80z"),
         STR_INIT("\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz")},
        {STR_INIT("us-ascii"), STR_INIT("a\x93z\x94"), STR_INIT("a\xe2\x80\x9cz\xe2\x80\x9d")},
        {STR_INIT("Windows-1252"), STR_INIT("\x81\xff"), STR_INIT("\xef\xbf\xbd\xc3\xbf")},
        {STR_INIT("iso-8859-15"), STR_INIT("\xa4\xbe\xe9"), STR_INIT("\xe2\x82\xac\xc5\xb8\xc3\xa9")},
        {STR_INIT("utf-8"), STR_INIT(""), STR_INIT("")},
    };
    char mem[256];
    struct buf out;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_init_fixed(&out, mem, sizeof mem);
        assert_true(charset_to_utf8(rows[i].set, rows[i].in, &out));
        assert_true(str_eq(buf_str(&out), rows[i].want));
    }
    buf_init_fixed(&out, mem, sizeof mem);
    assert_false(charset_to_utf8(STR("utf-7"), STR("x"), &out));
    assert_false(charset_to_utf8(STR_NIL, STR("x"), &out));
    assert_int_equal(out.n, 0);
    assert_false(charset_convert(NULL, STR("utf-7"), STR("x\xe9"), &out));
    assert_true(str_eq(buf_str(&out), STR("x\xc3\xa9")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_decoded),
        cmocka_unit_test(parameters_are_put_together),
        cmocka_unit_test(anything_is_clean),
        cmocka_unit_test(sets_have_their_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
