#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "wire/encoding.h"

#include <string.h>

enum { OUT_MAX = 8192 };

static void assert_text(const struct buf *b, struct str want)
{
    assert_false(b->failed);
    if (!str_eq(buf_str(b), want))
        print_message("# got <%.*s>, want <%.*s>\n", STR_FMT(buf_str(b)), STR_FMT(want));
    assert_true(str_eq(buf_str(b), want));
}

static void qp(struct str in, size_t split, bool at_end, struct buf *out)
{
    struct qp_encoder e = {0};
    qp_encode(&e, str_slice(in, 0, split), out);
    qp_encode(&e, str_skip(in, split), out);
    qp_encode_end(&e, at_end, out);
}

static void base64(struct str in, size_t split, bool at_end, struct buf *out)
{
    struct base64_encoder e = {0};
    base64_encode(&e, str_slice(in, 0, split), out);
    base64_encode(&e, str_skip(in, split), out);
    base64_encode_end(&e, at_end, out);
}

#define A10 "aaaaaaaaaa"
#define A70 A10 A10 A10 A10 A10 A10 A10

static void qp_has_its_form(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in, want;
        bool at_end;
    } rows[] = {
        {STR_INIT("caf\xc3\xa9\r\n"), STR_INIT("caf=C3=A9\r\n"), true},
        {STR_INIT("a=b\r\n"), STR_INIT("a=3Db\r\n"), false},
        {STR_INIT("end \r\nof\t\r\n line "), STR_INIT("end=20\r\nof=09\r\n line=20"), false},
        {STR_INIT("no end"), STR_INIT("no end=\r\n"), true},
        {STR_INIT("no end"), STR_INIT("no end"), false},
        {STR_INIT("a\rb\nc\r"), STR_INIT("a=0Db=0Ac=0D"), false},
        {STR_INIT("a\r\r\nb"), STR_INIT("a=0D\r\nb"), false},
        {STR_INIT("a \rb"), STR_INIT("a =0Db"), false},
        {STR_INIT("--x\r\n-- \r\n- x"), STR_INIT("-=2Dx\r\n-=2D=20\r\n- x"), false},
        {STR_INIT(A70 "bbbbbb"), STR_INIT(A70 "bbbbb=\r\nb"), false},
        {STR_INIT(A70 "bbbb\xff"), STR_INIT(A70 "bbbb=\r\n=FF"), false},
        {STR_INIT(A70 "bbbb  \r\n"), STR_INIT(A70 "bbbb =\r\n=20\r\n"), false},
        {STR_INIT(A70 "bbbbb--x"), STR_INIT(A70 "bbbbb=\r\n-=2Dx"), false},
        {STR_INIT(""), STR_INIT(""), true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t split = 0; split <= rows[i].in.n; split++) {
            char mem[OUT_MAX], back[OUT_MAX];
            struct buf out, again;
            buf_init_fixed(&out, mem, sizeof mem);
            buf_init_fixed(&again, back, sizeof back);
            qp(rows[i].in, split, rows[i].at_end, &out);
            assert_text(&out, rows[i].want);
            qp_decode(buf_str(&out), &again);
            assert_text(&again, rows[i].in);
        }
    }
}

static void base64_has_its_form(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in, want;
        bool at_end;
    } rows[] = {
        {STR_INIT(""), STR_INIT(""), true},
        {STR_INIT("f"), STR_INIT("Zg=="), false},
        {STR_INIT("fo"), STR_INIT("Zm8=\r\n"), true},
        {STR_INIT("foo"), STR_INIT("Zm9v"), false},
        {STR_INIT("\xff\xfe\x00\r\n"), STR_INIT("//4ADQo="), false},
        {STR_INIT("012345678901234567890123456789012345678901234567890123456x"),
         STR_INIT("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2\r\neA=="),
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t split = 0; split <= rows[i].in.n; split++) {
            char mem[OUT_MAX], back[OUT_MAX];
            struct buf out, again;
            buf_init_fixed(&out, mem, sizeof mem);
            buf_init_fixed(&again, back, sizeof back);
            base64(rows[i].in, split, rows[i].at_end, &out);
            assert_text(&out, rows[i].want);
            base64_decode(buf_str(&out), &again);
            assert_text(&again, rows[i].in);
        }
    }
}

static void decoding_is_lenient(void **state)
{
    UNUSED(state);
    static const struct {
        bool is_qp;
        struct str in, want;
    } rows[] = {
        {true, STR_INIT("a=c3=\r\nb=  \r\nc=\nd"),
         STR_INIT("a\xc3"
                  "bcd")},
        {true, STR_INIT("50=% =zz ="), STR_INIT("50=% =zz ")},
        {true, STR_INIT("x \t\r\n  y  "), STR_INIT("x\r\n  y")},
        {true, STR_INIT("raw \xc3\xa9"), STR_INIT("raw \xc3\xa9")},
        {false, STR_INIT("Z m\r\n9\xffv!"), STR_INIT("foo")},
        {false, STR_INIT("Zg==Zg=="), STR_INIT("f")},
        {false, STR_INIT("Zm9vZ"), STR_INIT("foo")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[OUT_MAX];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        if (rows[i].is_qp)
            qp_decode(rows[i].in, &out);
        else
            base64_decode(rows[i].in, &out);
        assert_text(&out, rows[i].want);
    }
}

static void fixing_keeps_what_is_escaped(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in, want;
    } rows[] = {
        {STR_INIT("caf=C3=A9 \xc3\xa9=\r\nx"), STR_INIT("caf=C3=A9 =C3=A9=\r\nx")},
        {STR_INIT(A70 "bbbb=C3=A9"), STR_INIT(A70 "bbbb=C3=\r\n=A9")}, /* no break within an escape */
        {STR_INIT(A70 "bbbb=x=x=x"), STR_INIT(A70 "bbbb=x=\r\n=x=x")}, /* these are none */
        {STR_INIT(A70 "bbbb====0"), STR_INIT(A70 "bbbb==\r\n===0")},
        {STR_INIT("a\rb\nc\r"), STR_INIT("a=0Db\r\nc=0D")},
        {STR_INIT("--x"), STR_INIT("-=2Dx")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t split = 0; split <= rows[i].in.n; split++) {
            char mem[OUT_MAX];
            struct buf out;
            struct qp_fixer f;
            buf_init_fixed(&out, mem, sizeof mem);
            qp_fixer_init(&f);
            qp_fix(&f, str_slice(rows[i].in, 0, split), &out);
            qp_fix(&f, str_skip(rows[i].in, split), &out);
            qp_fix_end(&f, false, &out);
            assert_text(&out, rows[i].want);
        }
    }
    char mem[OUT_MAX];
    struct buf out;
    size_t column = 0;
    buf_init_fixed(&out, mem, sizeof mem);
    base64_fix(&column,
               STR("Zm\xff"
                   "9v\r\nZm9v"),
               &out);
    base64_fix_end(column, true, &out);
    assert_text(&out, STR("Zm9vZm9v\r\n"));
}

/* Any octets come back; no line is too long or begins with two dashes. */
static void round_trips(void **state)
{
    UNUSED(state);
    struct rng rng;
    rng_seed(&rng, 7);
    for (size_t round = 0; round < 3000; round++) {
        static const char some[] = "\r\n\r\n  \t==--.aZ\xe9\xff";
        char in[300], mem[OUT_MAX], back[OUT_MAX];
        size_t n = (size_t)rng_below(&rng, sizeof in);
        for (size_t i = 0; i < n; i++)
            in[i] = round % 2 ? (char)rng_below(&rng, 256) : some[rng_below(&rng, sizeof some)];
        for (int way = 0; way < 4; way++) {
            struct buf out, again;
            buf_init_fixed(&out, mem, sizeof mem);
            buf_init_fixed(&again, back, sizeof back);
            (way & 1 ? qp : base64)(str_of(in, n), n / 2, way & 2, &out);
            assert_true(out.n <= n * ENCODING_GROWTH_MAX + ENCODING_END_MAX);
            for (struct str rest = buf_str(&out); rest.n > 0;) {
                struct str line = str_cut(&rest, '\n');
                assert_true(line.n <= ENCODING_LINE_MAX + 1);
                assert_false(str_starts(line, STR("--")));
                assert_true(str_is_ascii(line));
            }
            (way & 1 ? qp_decode : base64_decode)(buf_str(&out), &again);
            assert_text(&again, str_of(in, n));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qp_has_its_form),     cmocka_unit_test(base64_has_its_form),
        cmocka_unit_test(decoding_is_lenient), cmocka_unit_test(fixing_keeps_what_is_escaped),
        cmocka_unit_test(round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
