#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/luascan.h"

#include <string.h>

struct token_row {
    const char *text;
    const char *tokens; /* "KIND@LINE:TEXT", parted by spaces; spaces within are shown as _ */
};

/* clang-format off */
static const struct token_row token_rows[] = {
    {"", ""}, {" \t\n\r\n", ""}, {"-- only a comment", ""}, {"--[[ long\nlong ]] x", "N@2:x"}, {"--[==[ ]] "
     "]=] \n]==]x", "N@2:x"},
    {"--[ not long\nx", "N@2:x"},
    {"port = 25", "N@1:port S@1:= #@1:25"},
    {"a\nb\r\nc\rd\n\re", "N@1:a N@2:b N@3:c N@4:d N@5:e"},
    {"\"a b\" 'c' \"d\\\"e\" 'f\\\\'", "Q@1:\"a_b\" Q@1:'c' Q@1:\"d\\\"e\" Q@1:'f\\\\'"},
    {"\"open\nnext", "Q@1:\"open N@2:next"},
    {"\"a\\\nb\" c", "Q@1:\"a\\?b\" N@2:c"},
    {"[[x]] [=[y]]\n]=] z", "Q@1:[[x]] Q@1:[=[y]]?]=] N@2:z"},
    {"[[never closed", "Q@1:[[never_closed"}, {"t[1]", "N@1:t S@1:[ #@1:1 S@1:]"}, {"[=", "S@1:[ S@1:="},
    {"1.5e3 .5 0x1F 127.0.0.1 25lmtp", "#@1:1.5e3 #@1:.5 #@1:0x1F #@1:127.0.0.1 #@1:25lmtp"},
    {"a.b ... ==", "N@1:a S@1:. N@1:b S@1:. S@1:. S@1:. S@1:= S@1:="},
    {"_x1 {},;", "N@1:_x1 S@1:{ S@1:} S@1:, S@1:;"}, {"\xff\x01", "S@1:\xff S@1:?"}, {"\"", "Q@1:\""},
     {"'\\", "Q@1:'\\"},
};
/* clang-format on */

static void put_tokens(struct str text, struct buf *out)
{
    static const char kinds[] = {
        [SCAN_END] = '!', [SCAN_NAME] = 'N', [SCAN_STRING] = 'Q', [SCAN_NUMBER] = '#', [SCAN_SYMBOL] = 'S'};
    struct scanner s;
    scan_init(&s, text);
    for (struct scan_token t = scan_next(&s); t.kind != SCAN_END; t = scan_next(&s)) {
        buf_printf(out, "%s%c@%d:", out->n > 0 ? " " : "", kinds[t.kind], t.line);
        for (size_t i = 0; i < t.text.n; i++) {
            char c = t.text.p[i];
            buf_putc(out, c == ' ' ? '_' : c >= 0 && c < ' ' ? '?' : c);
        }
    }
}

static void assert_text(struct str got, const char *wanted)
{
    if (!str_eq(got, str_from_c(wanted)))
        fail_msg("got\n%.*s\nwanted\n%s", STR_FMT(got), wanted);
}

static void test_tokens(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(token_rows); i++) {
        char mem[1024];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        put_tokens(str_from_c(token_rows[i].text), &out);
        assert_text(buf_str(&out), token_rows[i].tokens);
    }
}

/* Every text ends, cut wherever it is, and no octet is lost between two tokens of a kind that is not space.
 */
static void test_every_cut(void **state)
{
    UNUSED(state);
    static const char text[] =
        "a = \"x\\\"y\" --[=[ c ]=] 'z' [[l\n]] { 1.5, f(x)[2]; -- end\n} ~= \"open\n[==[ open";
    for (size_t n = 0; n <= sizeof text - 1; n++) {
        struct scanner s;
        int line = 1;
        unsigned n_tokens = 0;
        char mem[sizeof text];
        memcpy(mem, text, n);
        scan_init(&s, str_of(mem, n));
        for (struct scan_token t = scan_next(&s); t.kind != SCAN_END; t = scan_next(&s)) {
            assert_true(t.text.n > 0);
            assert_true(t.line >= line);
            line = t.line;
            n_tokens++;
        }
        assert_true(n_tokens <= n);
        assert_int_equal(s.rest.n, 0);
    }
}

static void test_key_lines(void **state)
{
    UNUSED(state);
    static const char text[] = "x = 1 -- domain { a = 1 }\n"       /* 1 */
                               "domain \"a\" {\n"                  /* 2 */
                               "  users = { a = 1,\n"              /* 3 */
                               "    b = 2 },\n"                    /* 4 */
                               "  b = f { c = 1 }, c\n"            /* 5 */
                               "    = 3,\n"                        /* 6 */
                               "}\n"                               /* 7 */
                               "relay_from { \"x\",\n"             /* 8 */
                               "  \"y\", f(1,\n"                   /* 9 */
                               "   2); \"z\"\n"                    /* 10 */
                               "}\n"                               /* 11 */
                               "domain(\"b\") { b = 1 } listen {"; /* 12 */
    struct str s = str_from_c(text);
    static const struct {
        int at;
        const char *fact, *key;
        int line;
    } rows[] = {
        {2, "domain", "users", 3}, {2, "domain", "b", 5},   {2, "domain", "c", 5},      {2, "domain", "a", 2},
        {2, "domain", "d", 2},     {12, "domain", "b", 12}, {12, "listen", "port", 12}, {1, "domain", "a", 1},
        {3, "domain", "b", 3},     {99, "domain", "b", 99},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int line = scan_key_line(s, rows[i].at, str_from_c(rows[i].fact), str_from_c(rows[i].key));
        if (line != rows[i].line)
            fail_msg("%s of %s at %d: %d, not %d", rows[i].key, rows[i].fact, rows[i].at, line, rows[i].line);
    }
    static const int items[] = {8, 8, 9, 9, 10, 8}; /* [0] is not a place */
    for (size_t i = 1; i < ARRAY_LEN(items); i++)
        assert_int_equal(scan_item_line(s, 8, STR("relay_from"), i), items[i]);
    assert_int_equal(scan_item_line(s, 1, STR("relay_from"), 1), 1);
}

/* Messages that Lua 5.4 would give for these texts are tested with the loader; here: any message for any
 * text. */
static void test_explain_anything(void **state)
{
    UNUSED(state);
    static const char *const messages[] = {
        "",
        "near",
        " near ",
        "'}' expected near <eof>",
        "'}' expected (to close '{' at line 99999999999999) near 'x'",
        "'}' expected (to close '{' at line 1) near 'x'",
        "unexpected symbol near '}'",
        "unexpected symbol near '<\\255>'",
        "unfinished string near '\"'",
        "malformed number near '1x'",
        "syntax error near ''",
        "'=' expected near ','",
    };
    static const char *const texts[] = {"",  "x",   "{ x x }", "x = { , } }", "\n\n\"", "listen listen",
                                        "}", "--[["};
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        for (size_t j = 0; j < ARRAY_LEN(texts); j++) {
            char mem[600];
            struct buf out;
            buf_init_fixed(&out, mem, sizeof mem);
            int line = scan_explain(str_from_c(texts[j]), 1, str_from_c(messages[i]), &out);
            assert_true(line >= 1);
            assert_true(out.n > 0);
            assert_false(out.failed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_key_lines),
        cmocka_unit_test(test_explain_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
