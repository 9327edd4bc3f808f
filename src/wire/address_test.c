#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/address.h"

#include <string.h>

struct good {
    const char *text;
    const char *local, *domain;
    enum domain_kind kind;
    bool is_quoted, is_utf8;
    const char *literal; /* NULL: not one of ours */
};

/* clang-format off */
static const struct good good[] = {
    {"a@b", "a", "b", DOMAIN_NAME, false, false, NULL},
    {"joe.bloggs@example.org", "joe.bloggs", "example.org", DOMAIN_NAME, false, false, NULL},
    {"!#$%&'*+-/=?^_`{|}~@x", "!#$%&'*+-/=?^_`{|}~", "x", DOMAIN_NAME, false, false, NULL},
    {"user%far@local", "user%far", "local", DOMAIN_NAME, false, false, NULL},
    {"far!user@local", "far!user", "local", DOMAIN_NAME, false, false, NULL},
    {"\"user@far\"@local", "\"user@far\"", "local", DOMAIN_NAME, true, false, NULL},
    {"\"a\\\"@b\"@local", "\"a\\\"@b\"", "local", DOMAIN_NAME, true, false, NULL},
    {"\"a>b <c\"@x", "\"a>b <c\"", "x", DOMAIN_NAME, true, false, NULL},
    {"\"\"@x", "\"\"", "x", DOMAIN_NAME, true, false, NULL},
    {"\"a\\ b\\\\\"@x", "\"a\\ b\\\\\"", "x", DOMAIN_NAME, true, false, NULL},
    {"\"..\"@x", "\"..\"", "x", DOMAIN_NAME, true, false, NULL},
    {"a@_dmarc.b_c", "a", "_dmarc.b_c", DOMAIN_NAME, false, false, NULL},
    {"a@xn--bcher-kva.example", "a", "xn--bcher-kva.example", DOMAIN_NAME, false, false, NULL},
    {"a@192.0.2.1", "a", "192.0.2.1", DOMAIN_NAME, false, false, NULL},
    {"a@[192.0.2.1]", "a", "[192.0.2.1]", DOMAIN_LITERAL, false, false, "192.0.2.1"},
    {"a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]", DOMAIN_LITERAL, false, false, "2001:db8::1"},
    {"a@[ipV6:::1]", "a", "[ipV6:::1]", DOMAIN_LITERAL, false, false, "::1"},
    {"a@[IPv6:::ffff:192.0.2.1]", "a", "[IPv6:::ffff:192.0.2.1]", DOMAIN_LITERAL, false, false, "192.0.2.1"},
    {"a@[x-tag9:what.ever!]", "a", "[x-tag9:what.ever!]", DOMAIN_LITERAL, false, false, NULL},
    {"postmaster", "postmaster", "", DOMAIN_NONE, false, false, NULL},
    {"\"post master\"", "\"post master\"", "", DOMAIN_NONE, true, false, NULL},
    {"j\xc3\xbcrgen@b\xc3\xbc" "cher.example", "j\xc3\xbcrgen", "b\xc3\xbc" "cher.example", DOMAIN_NAME,
     false, true, NULL},
    {"\"\xe2\x82\xac \"@x", "\"\xe2\x82\xac \"", "x", DOMAIN_NAME, true, true, NULL},
    {"\xf0\x9f\x93\xa7@\xf0\x9f\x93\xa7", "\xf0\x9f\x93\xa7", "\xf0\x9f\x93\xa7", DOMAIN_NAME, false,
     true, NULL},
};

static const char *const bad[] = { /* even with SMTPUTF8 */
    "", "@", "@b", "a@", ".a@b", "a.@b", "a..b@c", "a b@c", "a@b c", " a@b", "a@b ", "a\t@b", "a@@b", "a@b@c",
    "a(c)@b", "a@(c)b", "<a@b>", "a@b>", "a,b@c", "a;b@c", "a:b@c", "a\\@b", "a[@b", "a@b]",
    "\"a@b", "\"a\\\"@b", "\"a\"b@c", "b\"a\"@c", "\"a\"\"b\"@c", "\"a\".b@c", "\"\"\"@c", "\"a\rb\"@c",
    "\"a\n\"@c",
    "\"\t\"@c", "\"a\\\tb\"@c", "\"\x7f\"@c", "\"a\\\xc3\xbc\"@c", "\"", "\"\\",
    "a\r@b", "a\n@b", "\r\na@b", "a@b\r\n", "a@b\r", "a\x7f@b", "a@b\x7f", "a\x01" "b@c",
    "a@-b", "a@b-", "a@b.-c", "a@b-.c", "a@.b", "a@b.", "a@b..c", "a@.", "a@b/c", "a@b!c", "a@b=c", "a@b*",
    "a@[", "a@]", "a@[]", "a@[1.2.3]", "a@[1.2.3.4", "a@[1.2.3.256]", "a@[01.2.3.4]", "a@[1.2.3.4]x",
    "a@x[1.2.3.4]",
    "a@[1.2.3.4].com", "a@[[1.2.3.4]]", "a@[ 1.2.3.4]", "a@[1.2.3.4 ]", "a@[::1]", "a@[2001:db8::1]",
    "a@[IPv6:]", "a@[IPv6:1.2.3.4]", "a@[IPv6:1::2::3]", "a@[IPv6:12345::]", "a@[IPv6:fe80::1%eth0]",
    "a@[IPv6:g::]",
    "a@[IPv6:1:2:3:4:5:6::8]", "a@[IPv6:1:2:3:4:5::1.2.3.4]", "a@[tag:]", "a@[:x]", "a@[tag-:x]",
    "a@[ta g:x]",
    "a@[ta_g:x]", "a@[tag:x\\]y]", "a@[IPv6:::1\r]", "a@[t:\xc3\xbc]",
    "\xc3@b", "a@\xc3", "\xff@b", "\xc0\x80@b", "\xed\xa0\x80@b", "\xc2\x80@b", "a@\xc2\x9f",
    "\"\xc2\x85\"@b",
    "\xe2\x80\xa8@b", "a@b\xe3\x80\x82" "c", "a@b\xef\xbc\x8e" "c", "a@b\xef\xbd\xa1" "c",
};
/* clang-format on */

static void parses_good(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const struct good *g = &good[i];
        struct address a;
        const char *why = address_parse(str_from_c(g->text), true, &a);
        if (why != NULL)
            fail_msg("%s: %s", g->text, why);
        assert_true(str_eq(a.text, str_from_c(g->text)));
        assert_true(str_eq(a.local, str_from_c(g->local)));
        assert_true(str_eq(a.domain, str_from_c(g->domain)));
        assert_int_equal(a.kind, g->kind);
        assert_int_equal(a.is_quoted, g->is_quoted);
        assert_int_equal(a.is_utf8, g->is_utf8);
        char mem[NETADDR_TEXT_MAX];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        if (a.literal.kind != NETADDR_NONE)
            netaddr_format_ip(&a.literal, &b);
        assert_true(str_eq(buf_str(&b), str_from_c(g->literal)));
        assert_int_equal(address_parse(str_from_c(g->text), false, &a) != NULL, g->is_utf8);
    }
}

static void refuses_bad(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct address a;
        const char *why = address_parse(str_from_c(bad[i]), true, &a);
        if (why == NULL)
            fail_msg("%s was taken", bad[i]);
        assert_false(str_has_ctl(str_from_c(why)));
        assert_int_equal(a.text.n, 0);
        assert_non_null(address_parse(str_from_c(bad[i]), false, &a));
    }
}

/* Every octet that may not stand there is refused at every place, NUL first of all. */
static void refuses_controls_anywhere(void **state)
{
    UNUSED(state);
    for (int c = 0; c < 0x100; c++) {
        if (c >= 0x20 && c != 0x7f)
            continue;
        for (size_t at = 0; at <= 17; at++) {
            char plain[] = "someone@example.x", quoted[] = "\"some \\one\"@[1.2.3.4]";
            struct address a;
            if (at < 17)
                plain[at] = quoted[at] = (char)c;
            struct str s = at < 17 ? str_of(plain, 17) : str_of(plain, 18); /* 18: a NUL at the end */
            if (at == 17)
                plain[17] = (char)c;
            assert_non_null(address_parse(s, true, &a));
            if (at < 17)
                assert_non_null(address_parse(str_of(quoted, strlen("\"some \\one\"@[1.2.3.4]")), true, &a));
        }
    }
}

struct path {
    const char *in;
    const char *text; /* NULL: refused */
    const char *rest;
    bool had_route;
};

/* clang-format off */
static const struct path paths[] = {
    {"<>",                          "",               "",         false},
    {"<> SIZE=1",                   "",               " SIZE=1",  false},
    {"<a@b>",                       "a@b",            "",         false},
    {"<a@b> X=<y>",                 "a@b",            " X=<y>",   false},
    {"<a@b>junk",                   "a@b",            "junk",     false},
    {"<\"a>b\"@c>x",                "\"a>b\"@c",      "x",        false},
    {"<postmaster>",                "postmaster",     "",         false},
    {"<@r:a@b>",                    "a@b",            "",         true},
    {"<@r.example,@s:a@b> Y",       "a@b",            " Y",       true},
    {"<@r:postmaster>",             "postmaster",     "",         true},
    {"<a@[IPv6:::1]>",              "a@[IPv6:::1]",   "",         false},
    {"", NULL, NULL, false}, {"<", NULL, NULL, false}, {">", NULL, NULL, false},
    {"a@b", NULL, NULL, false}, {"<a@b", NULL, NULL, false}, {"a@b>", NULL, NULL, false},
    {" <a@b>", NULL, NULL, false}, {"< a@b>", NULL, NULL, false}, {"<a@b >", NULL, NULL, false},
    {"<<a@b>>", NULL, NULL, false}, {"< >", NULL, NULL, false}, {"<@>", NULL, NULL, false},
    {"<@r>", NULL, NULL, false}, {"<@r:>", NULL, NULL, false}, {"<@r,a@b>", NULL, NULL, false},
    {"<@r,@s>", NULL, NULL, false}, {"<@r,:a@b>", NULL, NULL, false}, {"<@r;a@b>", NULL, NULL, false},
    {"<@-r:a@b>", NULL, NULL, false}, {"<@r, @s:a@b>", NULL, NULL, false}, {"<@[1.2.3.4]:a@b>", NULL,
     NULL, false},
    {"<@r:@s:a@b>", NULL, NULL, false}, {"<@r", NULL, NULL, false}, {"<@", NULL, NULL, false},
    {"<a@b\r\n>", NULL, NULL, false}, {"<\"a>", NULL, NULL, false}, {"<a@>", NULL, NULL, false},
    {"<a@b,c@d>",    NULL, NULL, false}, {"<a@[1.2.3.4>", NULL, NULL, false},
};
/* clang-format on */

static void parses_paths(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        const struct path *p = &paths[i];
        struct str in = str_from_c(p->in);
        struct address a;
        bool had_route;
        struct str rest;
        const char *why = address_parse_path(in, false, &a, &had_route, &rest);
        if ((why == NULL) != (p->text != NULL))
            fail_msg("%s: %s", p->in, why == NULL ? "was taken" : why);
        if (why != NULL) {
            assert_true(str_eq(rest, in));
            continue;
        }
        assert_true(str_eq(a.text, str_from_c(p->text)));
        assert_true(str_eq(rest, str_from_c(p->rest)));
        assert_int_equal(had_route, p->had_route);
        /* cut anywhere before its end it is no path */
        for (size_t n = 0; n < in.n - rest.n; n++) {
            char copy[64];
            assert_true(in.n < sizeof copy);
            memcpy(copy, in.p, n);
            struct str part;
            assert_non_null(address_parse_path(str_of(copy, n), false, &a, &had_route, &part));
        }
    }
}

static void fill(char *p, size_t n, size_t label)
{
    memset(p, 'd', n);
    for (size_t i = label; i < n; i += label + 1)
        p[i] = '.';
}

static void bounds_lengths(void **state)
{
    UNUSED(state);
    char text[600];
    struct address a;
    for (size_t n = 1; n <= SMTP_LOCAL_PART_TAKEN_MAX + 1; n++) {
        memset(text, 'l', n);
        memcpy(text + n, "@x", 2);
        assert_int_equal(address_parse(str_of(text, n + 2), false, &a) == NULL,
                         n <= SMTP_LOCAL_PART_TAKEN_MAX);
    }
    for (size_t n = 1; n <= SMTP_DOMAIN_MAX + 1; n++) {
        fill(text, n, 63);
        bool ends_well = n % 64 != 0;
        assert_int_equal(domain_is_valid(str_of(text, n), false), ends_well && n <= SMTP_DOMAIN_MAX);
    }
    fill(text, 64, 64);
    assert_false(domain_is_valid(str_of(text, 64), false));
    /* both at their most are over the path's: 256 + 1 + 253 + 2 = 512 */
    memset(text, 'l', 256);
    text[256] = '@';
    fill(text + 257, 254, 63);
    assert_null(address_parse(str_of(text, 257 + 253), false, &a));
    assert_non_null(address_parse(str_of(text, 257 + 254), false, &a));
    /* a literal is no longer than a name */
    strcpy(text, "a@[tag:");
    memset(text + 7, 'x', 300);
    text[2 + SMTP_DOMAIN_MAX - 1] = ']';
    assert_null(address_parse(str_of(text, 2 + SMTP_DOMAIN_MAX), false, &a));
    text[2 + SMTP_DOMAIN_MAX - 1] = 'x';
    text[2 + SMTP_DOMAIN_MAX] = ']';
    assert_non_null(address_parse(str_of(text, 3 + SMTP_DOMAIN_MAX), false, &a));
    /* labels outside ASCII count in characters: 59 leave room for "xn--" */
    for (size_t n = 0; n < 60; n++)
        memcpy(text + 2 * n, "\xc3\xbc", 2);
    assert_true(domain_is_valid(str_of(text, 118), true));
    assert_false(domain_is_valid(str_of(text, 120), true));
    assert_false(domain_is_valid(str_of(text, 118), false));
}

static void parses_literals(void **state)
{
    UNUSED(state);
    struct netaddr a;
    assert_true(domain_literal_parse(STR("[192.0.2.1]"), &a));
    assert_int_equal(a.kind, NETADDR_IP4);
    assert_true(domain_literal_parse(STR("[IPv6:2001:db8::1]"), &a));
    assert_int_equal(a.kind, NETADDR_IP6);
    static const char *const no[] = {"",        "[",    "]", "[]", "192.0.2.1", "[192.0.2.1", "[192.0.2.1] ",
                                     "[tag:x]", "[::1]"};
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(domain_literal_parse(str_from_c(no[i]), &a));
}

static void unquotes_and_formats(void **state)
{
    UNUSED(state);
    static const struct {
        const char *local, *plain, *again;
        bool needs_quotes;
    } rows[] = {
        {"joe", "joe", "joe@x", false},
        {"\"joe\"", "joe", "joe@x", false},
        {"\"jo\\e\"", "joe", "joe@x", false},
        {"\"j.o\\.e\"", "j.o.e", "j.o.e@x", false},
        {"\"j o\"", "j o", "\"j o\"@x", true},
        {"\"j\\ o\"", "j o", "\"j o\"@x", true},
        {"\".joe\"", ".joe", "\".joe\"@x", true},
        {"\"joe.\"", "joe.", "\"joe.\"@x", true},
        {"\"j..o\"", "j..o", "\"j..o\"@x", true},
        {"\"\"", "", "\"\"@x", true},
        {"\"\\\"\"", "\"", "\"\\\"\"@x", true},
        {"\"\\\\\"", "\\", "\"\\\\\"@x", true},
        {"\"u@far\"", "u@far", "\"u@far\"@x", true},
        {"j\xc3\xbc", "j\xc3\xbc", "j\xc3\xbc@x", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[64];
        struct buf b;
        bool needs_quotes;
        buf_init_fixed(&b, mem, sizeof mem);
        buf_puts(&b, "+.");
        local_part_unquote(str_from_c(rows[i].local), &b, &needs_quotes);
        struct str plain = str_skip(buf_str(&b), 2);
        assert_true(str_eq(plain, str_from_c(rows[i].plain)));
        assert_int_equal(needs_quotes, rows[i].needs_quotes);
        char mem2[64];
        struct buf again;
        buf_init_fixed(&again, mem2, sizeof mem2);
        address_format(plain, STR("x"), &again);
        assert_true(str_eq(buf_str(&again), str_from_c(rows[i].again)));
        struct address a;
        assert_null(address_parse(buf_str(&again), true, &a));
    }
}

static void formats_no_controls(void **state)
{
    UNUSED(state);
    char mem[64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    address_format(STR("a\r\nRCPT TO:<b"), STR("x"), &b);
    assert_true(b.failed);
    assert_int_equal(b.n, 0);
    buf_reset(&b);
    address_format(STR("a"), STR("x\n"), &b);
    assert_true(b.failed);
    buf_reset(&b);
    address_format(STR("postmaster"), STR_NIL, &b);
    assert_true(str_eq(buf_str(&b), STR("postmaster")));
}

static void codes_xtext(void **state)
{
    UNUSED(state);
    static const char *const rows[][2] = {
        {"", ""},         {"abc", "abc"},           {"a+2Bb", "a+b"},
        {"a+3Db", "a=b"}, {"+20+0D+FF", " \r\xff"}, {"a+20b@c", "a b@c"},
    };
    static const char *const no[] = {"+",   "+2",  "a+2",  "+2b",      "+G0", "a=b",
                                     "a b", "a\n", "\x7f", "\xc3\xbc", "++"};
    char mem[32];
    struct buf b;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(xtext_decode(str_from_c(rows[i][0]), &b));
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i][1])));
        buf_reset(&b);
        xtext_encode(str_from_c(rows[i][1]), &b);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i][0])));
    }
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        buf_init_fixed(&b, mem, sizeof mem);
        buf_puts(&b, "kept");
        assert_false(xtext_decode(str_from_c(no[i]), &b));
        assert_int_equal(b.n, 4);
    }
}

static void codes_utf8_xtext(void **state)
{
    UNUSED(state);
    static const struct {
        const char *in, *ascii, *utf8;
    } rows[] = {
        {"joe@b.test", "joe@b.test", "joe@b.test"},
        {"j\xc3\xb6@b\xe2\x82\xac", "j\\x{F6}@b\\x{20AC}", "j\xc3\xb6@b\xe2\x82\xac"},
        {"a+b=c\\ d", "a\\x{2B}b\\x{3D}c\\x{5C}\\x{20}d", "a\\x{2B}b\\x{3D}c\\x{5C}\\x{20}d"},
        {"\xf0\x9f\x90\xa6", "\\x{1F426}", "\xf0\x9f\x90\xa6"},
        {"a\xff", "a?", "a?"},
        {"\x7f", "\\x{7F}", "\\x{7F}"},
    };
    char mem[128], back_mem[128];
    struct buf b, back;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_init_fixed(&b, mem, sizeof mem);
        utf8_xtext_encode(str_from_c(rows[i].in), true, &b);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i].utf8)));
        buf_reset(&b);
        utf8_xtext_encode(str_from_c(rows[i].in), false, &b);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i].ascii)));
        buf_init_fixed(&back, back_mem, sizeof back_mem);
        for (struct str s = buf_str(&b); s.n > 0;) {
            uint32_t code;
            size_t n = utf8_xtext_point(s, &code);
            assert_true(n == 0 ? buf_putc(&back, s.p[0]) : utf8_put(code, &back));
            s = str_skip(s, n == 0 ? 1 : n);
        }
        if (utf8_is_valid(str_from_c(rows[i].in)))
            assert_true(str_eq(buf_str(&back), str_from_c(rows[i].in)));
    }
    static const char *const no[] = {"",       "x{E9}",   "\\x{}",  "\\x{9}", "\\x{1234567}",
                                     "\\x{E9", "\\x{G9}", "\\X{E9}"};
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        uint32_t code;
        assert_int_equal(utf8_xtext_point(str_from_c(no[i]), &code), 0);
    }
    buf_reset(&back);
    assert_false(utf8_put(0xd800, &back) || utf8_put(0xdfff, &back) || utf8_put(0x110000, &back));
    assert_int_equal(back.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_good),
        cmocka_unit_test(refuses_bad),
        cmocka_unit_test(refuses_controls_anywhere),
        cmocka_unit_test(parses_paths),
        cmocka_unit_test(bounds_lengths),
        cmocka_unit_test(parses_literals),
        cmocka_unit_test(unquotes_and_formats),
        cmocka_unit_test(formats_no_controls),
        cmocka_unit_test(codes_xtext),
        cmocka_unit_test(codes_utf8_xtext),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
