#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "ext/idn.h"
#include "wire/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Unicode's own conformance file for UTS 46, read in place when it is there: its column toAsciiN
 * (non-transitional). A difference must follow from one of the rules below; none is listed by its line. */

enum { FILE_MAX = 1 << 21, LINES_MIN = 6000, COLUMNS = 7, FIELD_MAX = 1024 };
enum { SOURCE, TO_UNICODE, UNICODE_STATUS, TO_ASCII, ASCII_STATUS };

enum verdict {
    AGREES,
    ILL_FORMED,     /* a lone surrogate: it has no UTF-8 form ("would skip test cases that contain them") */
    ASCII_UNJUDGED, /* ASCII is lower-cased only: what is in the DNS as xn-- is not judged */
    TOLERATED,      /* each status of the line belongs to a check that we leave off: UseSTD3ASCIIRules (U1),
                       VerifyDnsLength for an empty label (A4_1, A4_2: the root's dot), and the Bidi rule across
                       labels      (B1..B6: libidn2 looks at each label by itself) */
    STRICTER, /* the line holds a character that IDNA2008 does not allow (NV8, XV8; "would skip any line"), or
                 one newer than the library: refused by itself, and the line without it is taken */
    OLDER,    /* capital sharp s: "ss" until revision 31 of UTS 46, then U+00DF */
    LONG,     /* over DNS_NAME_MAX octets in UTF-8 */
    WRONG,
    N_VERDICTS,
};
static const char *const names[] = {"agree",
                                    "ill-formed",
                                    "ASCII, not judged",
                                    "checks left off",
                                    "stricter by IDNA2008",
                                    "an older mapping",
                                    "too long",
                                    "wrong"};

static struct str suite_text(void)
{
    const char *suites = getenv("WAXWING_SUITES");
    char path[1024];
    int n = snprintf(path, sizeof path, "%s/idna-rust-url/IdnaTestV2.txt",
                     suites != NULL ? suites : WAXWING_ROOT "/../shared/suites");
    must(n > 0 && (size_t)n < sizeof path);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return STR_NIL;
    char *text = mem_must_alloc(FILE_MAX);
    size_t size = fread(text, 1, FILE_MAX, f);
    (void)fclose(f);
    return str_of(text, size);
}

static bool put_code(unsigned long code, struct buf *out)
{
    if (code < 0x80)
        return buf_putc(out, (char)code);
    if (code < 0x800)
        return buf_putc(out, (char)(0xc0 | code >> 6)) && buf_putc(out, (char)(0x80 | (code & 63)));
    if (code < 0x10000)
        return buf_putc(out, (char)(0xe0 | code >> 12)) && buf_putc(out, (char)(0x80 | (code >> 6 & 63))) &&
               buf_putc(out, (char)(0x80 | (code & 63)));
    return buf_putc(out, (char)(0xf0 | code >> 18)) && buf_putc(out, (char)(0x80 | (code >> 12 & 63))) &&
           buf_putc(out, (char)(0x80 | (code >> 6 & 63))) && buf_putc(out, (char)(0x80 | (code & 63)));
}

/* \uXXXX and \x{X...}; "" is the empty text. */
static void unescape(struct str s, struct buf *out)
{
    if (str_eq(s, STR("\"\"")))
        return;
    while (s.n > 0) {
        char digits[16];
        size_t n = 1;
        struct str hex = STR_NIL;
        if (str_starts(s, STR("\\u"))) {
            hex = str_slice(s, 2, 6);
            n = 6;
        } else if (str_starts(s, STR("\\x{"))) {
            hex = str_slice(s, 3, str_chr(s, '}'));
            n = hex.n + 4;
        }
        if (hex.n > 0) {
            assert_true(str_to_c(hex, digits, sizeof digits));
            assert_true(put_code(strtoul(digits, NULL, 16), out));
        } else {
            assert_true(buf_putc(out, s.p[0]));
        }
        s = str_skip(s, n);
    }
}

static bool is_tolerated(struct str status)
{
    static const struct str off[] = {STR_INIT("U1"), STR_INIT("A4_1"), STR_INIT("A4_2"),
                                     STR_INIT("B1"), STR_INIT("B2"),   STR_INIT("B3"),
                                     STR_INIT("B4"), STR_INIT("B5"),   STR_INIT("B6")};
    struct str rest = str_slice(status, 1, status.n - 1);
    while (rest.n > 0) {
        struct str code = str_trim(str_cut(&rest, ','));
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(off); i++)
            found |= str_eq(code, off[i]);
        if (!found)
            return false;
    }
    return true;
}

static bool takes(struct str domain)
{
    char mem[FIELD_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    return idn_to_ascii(domain, &b);
}

/* text: the mapped form, or the source, whose characters the library may not map yet. */
static bool is_stricter(struct str text)
{
    char mem[2][FIELD_MAX];
    struct buf replaced, without; /* a letter in its place may offend against the Bidi rule; none, too */
    size_t n_refused = 0;
    buf_init_fixed(&replaced, mem[0], sizeof mem[0]);
    buf_init_fixed(&without, mem[1], sizeof mem[1]);
    while (text.n > 0) {
        uint32_t code;
        size_t n = utf8_next(text, &code);
        assert_true(n > 0);
        struct str one = str_slice(text, 0, n);
        char between_mem[16];
        struct buf between; /* a mark may not stand first in a label */
        buf_init_fixed(&between, between_mem, sizeof between_mem);
        assert_true(buf_putc(&between, 'a') && buf_put(&between, one) && buf_putc(&between, 'a'));
        bool is_refused = n > 1 && !takes(buf_str(&between)) && !takes(one);
        n_refused += is_refused;
        assert_true(buf_put(&replaced, is_refused ? STR("a") : one));
        assert_true(buf_put(&without, is_refused ? STR("") : one));
        text = str_skip(text, n);
    }
    return n_refused > 0 && (takes(buf_str(&replaced)) || takes(buf_str(&without)));
}

static bool is_older(struct str source, struct str got)
{
    static const struct str capital = STR_INIT("\xe1\xba\x9e");
    char mem[2][FIELD_MAX];
    struct buf with_ss, ascii;
    size_t at = str_find(source, capital);
    buf_init_fixed(&with_ss, mem[0], sizeof mem[0]);
    buf_init_fixed(&ascii, mem[1], sizeof mem[1]);
    return at != STR_NPOS && buf_put(&with_ss, str_slice(source, 0, at)) && buf_put(&with_ss, STR("ss")) &&
           buf_put(&with_ss, str_skip(source, at + capital.n)) && idn_to_ascii(buf_str(&with_ss), &ascii) &&
           str_eq(buf_str(&ascii), got);
}

static enum verdict judge(struct str source, struct str unicode, struct str ascii, struct str status)
{
    char mem[FIELD_MAX];
    struct buf got;
    buf_init_fixed(&got, mem, sizeof mem);
    bool is_error = status.n > 2;
    if (!utf8_is_valid(source) || !utf8_is_valid(unicode))
        return ILL_FORMED;
    bool taken = idn_to_ascii(source, &got);
    bool is_same = taken && str_eq(buf_str(&got), ascii);
    if (is_error ? !taken : is_same)
        return AGREES;
    if (source.n > DNS_NAME_MAX)
        return taken ? WRONG : LONG;
    if (str_is_ascii(source)) /* lower-cased, and nothing else */
        return taken && str_ieq(buf_str(&got), source) ? ASCII_UNJUDGED : WRONG;
    if (is_error)
        return is_same && is_tolerated(status) ? TOLERATED : WRONG;
    if (taken && is_older(source, buf_str(&got)))
        return OLDER;
    return !taken && (is_stricter(unicode) || is_stricter(source)) ? STRICTER : WRONG;
}

static enum verdict check_line(struct str line)
{
    struct str column[COLUMNS];
    char mem[3][FIELD_MAX];
    struct buf text[3];
    for (size_t i = 0; i < COLUMNS; i++)
        column[i] = str_trim(str_cut(&line, ';'));
    for (size_t i = 0; i < 3; i++)
        buf_init_fixed(&text[i], mem[i], sizeof mem[i]);
    /* blank: as the column it comes from */
    if (column[TO_UNICODE].n == 0)
        column[TO_UNICODE] = column[SOURCE];
    if (column[TO_ASCII].n == 0)
        column[TO_ASCII] = column[TO_UNICODE];
    if (column[ASCII_STATUS].n == 0)
        column[ASCII_STATUS] = column[UNICODE_STATUS];
    unescape(column[SOURCE], &text[0]);
    unescape(column[TO_UNICODE], &text[1]);
    unescape(column[TO_ASCII], &text[2]);
    enum verdict v = judge(buf_str(&text[0]), buf_str(&text[1]), buf_str(&text[2]), column[ASCII_STATUS]);
    if (v == WRONG)
        print_message("# %.*s: want <%.*s> %.*s\n", STR_FMT(column[SOURCE]), STR_FMT(column[TO_ASCII]),
                      STR_FMT(column[ASCII_STATUS]));
    return v;
}

static void agrees_but_for_the_rules(void **state)
{
    UNUSED(state);
    struct str text = suite_text();
    struct str rest = text;
    size_t n[N_VERDICTS] = {0}, n_lines = 0;
    while (rest.n > 0) {
        struct str line = str_cut(&rest, '\n');
        size_t comment = str_chr(line, '#');
        if (comment != STR_NPOS)
            line = str_slice(line, 0, comment);
        if (str_trim(line).n == 0)
            continue;
        n[check_line(line)]++;
        n_lines++;
    }
    for (size_t i = 0; i < N_VERDICTS; i++)
        print_message("# %s: %zu\n", names[i], n[i]);
    assert_int_equal(n[WRONG], 0);
    assert_true(n_lines >= LINES_MIN);
    char *p = NULL;
    memcpy(&p, &text.p, sizeof p);
    mem_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_but_for_the_rules)};
    struct str text = suite_text();
    if (text.n == 0) {
        (void)puts("1..0 # SKIP the suite idna-rust-url is not here (set WAXWING_SUITES)");
        return 0;
    }
    char *p = NULL;
    memcpy(&p, &text.p, sizeof p);
    mem_free(p);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
