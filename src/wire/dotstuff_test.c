#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "wire/dotstuff.h"

#include <string.h>

enum { OUT_MAX = 4096 };

struct result {
    char mem[OUT_MAX];
    struct buf out;
    size_t n_consumed;
    size_t n_pieces;
    bool done, bare_cr, bare_lf;
    uint64_t n_line_max;
};

/* RFC 5321 4.5.2 read literally, one octet at a time. */
static void decode_plainly(struct str in, struct result *r)
{
    *r = (struct result){0};
    buf_init_fixed(&r->out, r->mem, sizeof r->mem);
    bool at_start = true;
    uint64_t n_line = 0;
    size_t i = 0;
    while (i < in.n) {
        if (at_start && in.p[i] == '.') {
            struct str rest = str_skip(in, i);
            if (str_starts(rest, STR(".\r\n"))) {
                r->done = true;
                i += 3;
                break;
            }
            i++; /* what is left is "." or ".\r" only where the input ends */
            at_start = false;
            if (rest.n == 1 || str_eq(rest, STR(".\r"))) {
                i = in.n;
                break;
            }
            continue;
        }
        bool after_cr = i > 0 && in.p[i - 1] == '\r';
        r->bare_lf |= in.p[i] == '\n' && !after_cr;
        r->bare_cr |= in.p[i] != '\n' && after_cr;
        at_start = in.p[i] == '\n' && after_cr;
        buf_putc(&r->out, in.p[i]);
        n_line++;
        if (at_start && n_line > r->n_line_max)
            r->n_line_max = n_line;
        if (at_start)
            n_line = 0;
        i++;
    }
    r->n_consumed = i;
}

static void check_invariants(const struct dot_decoder *d)
{
    assert_in_range(d->state, DOT_LINE_START, DOT_DOT_CR);
    if (d->done)
        assert_int_equal(d->state, DOT_LINE_START);
}

/* Feeds one part to its end or to the end of the data. */
static void feed(struct dot_decoder *d, struct str part, struct result *r)
{
    for (;;) {
        struct str piece;
        size_t n = dot_decode(d, part, &piece);
        assert_true(n <= part.n);
        check_invariants(d);
        assert_true(buf_put(&r->out, piece));
        r->n_pieces += piece.n > 0;
        r->n_consumed += n;
        part = str_skip(part, n);
        if (n == 0 || d->done)
            break;
    }
    assert_true(d->done || part.n == 0);
}

static void finish(const struct dot_decoder *d, struct result *r)
{
    r->done = d->done;
    r->bare_cr = d->saw_bare_cr;
    r->bare_lf = d->saw_bare_lf;
    r->n_line_max = d->n_line_max;
}

/* In parts of `step` octets, the first of `first`. */
static void decode_in_parts(struct str in, size_t first, size_t step, struct result *r)
{
    struct dot_decoder d;
    dot_decoder_init(&d);
    *r = (struct result){0};
    buf_init_fixed(&r->out, r->mem, sizeof r->mem);
    size_t n = first;
    while (in.n > 0 && !d.done) {
        feed(&d, str_slice(in, 0, n), r);
        in = str_skip(in, n);
        n = step;
    }
    finish(&d, r);
}

static void same(const struct result *a, const struct result *b)
{
    assert_int_equal(a->out.n, b->out.n);
    assert_memory_equal(a->mem, b->mem, a->out.n);
    assert_int_equal(a->n_consumed, b->n_consumed);
    assert_int_equal(a->done, b->done);
    assert_int_equal(a->bare_cr, b->bare_cr);
    assert_int_equal(a->bare_lf, b->bare_lf);
    assert_int_equal(a->n_line_max, b->n_line_max);
}

/* Whole, octet by octet, split at every point: all as the plain reading has it. */
static void check(struct str in)
{
    struct result want, got;
    decode_plainly(in, &want);
    decode_in_parts(in, in.n, 1, &got);
    same(&got, &want);
    decode_in_parts(in, 1, 1, &got);
    same(&got, &want);
    for (size_t i = 1; i < in.n; i++) {
        decode_in_parts(in, i, in.n, &got);
        same(&got, &want);
    }
}

struct row {
    const char *in;
    const char *out;
    size_t n_left; /* octets behind the end */
    bool done, bare_cr, bare_lf;
};

/* clang-format off */
static const struct row rows[] = {
    {".\r\n",                        "",                 0, true,  false, false},
    {".\r\nQUIT\r\n",                "",                 6, true,  false, false},
    {"a\r\n.\r\n",                   "a\r\n",            0, true,  false, false},
    {"a\r\n.\r\nRSET\r\n",           "a\r\n",            6, true,  false, false},
    {"\r\n.\r\n",                    "\r\n",             0, true,  false, false},
    {"..\r\n.\r\n",                  ".\r\n",            0, true,  false, false},
    {"...\r\n.\r\n",                 "..\r\n",           0, true,  false, false},
    {".a\r\n.\r\n",                  "a\r\n",            0, true,  false, false},
    {"a.\r\n.b.\r\n.\r\n",           "a.\r\nb.\r\n",     0, true,  false, false},
    {"a\r\n..\r\n..b\r\n.\r\n",      "a\r\n.\r\n.b\r\n", 0, true,  false, false},
    {"a",                            "a",                0, false, false, false},
    {"a\r",                          "a\r",              0, false, false, false},
    {"a\r\n",                        "a\r\n",            0, false, false, false},
    {"a\r\n.",                       "a\r\n",            0, false, false, false},
    {"a\r\n.\r",                     "a\r\n",            0, false, false, false},
    {"",                             "",                 0, false, false, false},
    /* no end of data but CRLF "." CRLF */
    {"a\n.\n.\r\n",                  "a\n.\n.\r\n",      0, false, false, true},
    {"a\n.\r\n",                     "a\n.\r\n",         0, false, false, true},
    {"a\r.\r\n",                     "a\r.\r\n",         0, false, true,  false},
    {"a\r\n.\n",                     "a\r\n\n",          0, false, false, true},
    {"a\r\n.\r.\r\n",                "a\r\n\r.\r\n",     0, false, true,  false},
    {"a\r\n.\n.\r\n",                "a\r\n\n.\r\n",     0, false, false, true},
    {"a\r.\r",                       "a\r.\r",           0, false, true,  false},
    {"a\n\r\n.\r\n",                 "a\n\r\n",          0, true,  false, true},
    {"a\n.\r\nMAIL\r\n\r\n.\r\n",    "a\n.\r\nMAIL\r\n\r\n", 0, true, false, true},
    /* CR in doubt behind a dot */
    {"a\r\r\n.\r\n",                 "a\r\r\n",          0, true,  true,  false},
    {".\r\r\n.\r\n",                 "\r\r\n",           0, true,  true,  false},
    {".\rx\r\n.\r\n",                "\rx\r\n",          0, true,  true,  false},
    {".\r.\r\n.\r\n",                "\r.\r\n",          0, true,  true,  false},
    {".\r\r\r\n.\r\n",               "\r\r\r\n",         0, true,  true,  false},
    {".\r\rx\n.\r\n\r\n.\r\n",       "\r\rx\n.\r\n\r\n", 0, true,  true,  true},
};
/* clang-format on */

static void decodes_rows(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str in = str_from_c(rows[i].in);
        struct result r;
        decode_in_parts(in, in.n, 1, &r);
        if (!str_eq(buf_str(&r.out), str_from_c(rows[i].out)))
            fail_msg("row %zu: got %.*s", i, STR_FMT(buf_str(&r.out)));
        assert_int_equal(r.done, rows[i].done);
        assert_int_equal(r.bare_cr, rows[i].bare_cr);
        assert_int_equal(r.bare_lf, rows[i].bare_lf);
        assert_int_equal(in.n - r.n_consumed, rows[i].n_left);
        check(in);
    }
}

/* Every text of up to 7 octets over the alphabet that matters. */
static void decodes_all_short_texts(void **state)
{
    UNUSED(state);
    static const char alphabet[] = {'.', '\r', '\n', 'x'};
    for (size_t n = 1; n <= 7; n++) {
        char in[7];
        for (size_t number = 0; number < (size_t)1 << (2 * n); number++) {
            for (size_t i = 0; i < n; i++)
                in[i] = alphabet[number >> (2 * i) & 3];
            check(str_of(in, n));
        }
    }
}

static size_t random_text(struct rng *rng, char *p, size_t max)
{
    static const char *const words[] = {"\r\n",
                                        "\r\n",
                                        "\r\n.",
                                        "\r\n..",
                                        ".",
                                        "\r",
                                        "\n",
                                        "\r\n.\r",
                                        "word",
                                        "\xc3\xa9",
                                        "a line of some more octets than the others have"};
    size_t n = 0;
    for (;;) {
        /* mostly sound text, so that runs get long enough to cross blocks */
        size_t pick = (size_t)rng_below(rng, 40);
        const char *w = words[pick < ARRAY_LEN(words) ? pick : pick % 3 == 0 ? 0 : 10];
        if (n + strlen(w) > max)
            return n;
        memcpy(p + n, w, strlen(w));
        n += strlen(w);
    }
}

static void decodes_random_texts(void **state)
{
    UNUSED(state);
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 300; round++) {
        char in[400];
        size_t n = random_text(&rng, in, 1 + (size_t)rng_below(&rng, sizeof in - 1));
        check(str_of(in, n));
    }
}

/* A typical body comes out in one piece, whatever its lines are. */
static void gives_long_runs(void **state)
{
    UNUSED(state);
    char in[4096];
    struct buf b;
    buf_init_fixed(&b, in, sizeof in);
    while (b.n + 64 < sizeof in)
        buf_puts(&b, "a line. with dots... of fifty octets or so at most\r\n");
    struct result r;
    decode_in_parts(buf_str(&b), b.n, 1, &r);
    assert_int_equal(r.n_pieces, 1);
    assert_int_equal(r.out.n, b.n);
    assert_int_equal(r.n_line_max, strlen("a line. with dots... of fifty octets or so at most\r\n"));
    buf_puts(&b, "..x\r\n.\r\n");
    decode_in_parts(buf_str(&b), b.n, 1, &r);
    assert_int_equal(r.n_pieces, 2);
    assert_true(r.done);
}

static void counts_line_lengths(void **state)
{
    UNUSED(state);
    char in[1003];
    memset(in, 'x', sizeof in);
    in[1001] = '\r';
    in[1002] = '\n';
    struct result r;
    decode_in_parts(str_of(in, sizeof in), 64, 64, &r);
    assert_int_equal(r.n_line_max, 1003);
    in[0] = '.'; /* the stuffed dot is not counted */
    decode_in_parts(str_of(in, sizeof in), 64, 64, &r);
    assert_int_equal(r.n_line_max, 1002);
    check(str_of(in, sizeof in));
}

static void takes_nothing_after_the_end(void **state)
{
    UNUSED(state);
    struct dot_decoder d = {0};
    struct str piece;
    assert_int_equal(dot_decode(&d, STR(".\r\n.\r\n"), &piece), 3);
    assert_true(d.done);
    assert_int_equal(dot_decode(&d, STR(".\r\n"), &piece), 0);
    assert_int_equal(piece.n, 0);
}

/* With a new piece of out_room octets of room whenever nothing more fits. */
static void encode_in_parts(struct str in, size_t step, size_t room, struct buf *out)
{
    struct dot_encoder e;
    dot_encoder_init(&e);
    while (in.n > 0) {
        char mem[OUT_MAX];
        struct buf part;
        buf_init_fixed(&part, mem, room);
        size_t n = dot_encode(&e, str_slice(in, 0, step), &part);
        assert_false(part.failed);
        assert_true(n > 0 && n <= in.n);
        assert_true(buf_put(out, buf_str(&part)));
        in = str_skip(in, n);
    }
    dot_encode_end(&e, out);
}

static void check_encoding(struct str in, struct str want)
{
    for (size_t step = 1; step <= in.n + 1; step++) {
        for (size_t room = 2; room <= in.n + 3; room += 1 + room / 8) {
            char mem[OUT_MAX];
            struct buf out;
            buf_init_fixed(&out, mem, sizeof mem);
            encode_in_parts(in, step, room, &out);
            if (!str_eq(buf_str(&out), want))
                fail_msg("step %zu room %zu: got %.*s", step, room, STR_FMT(buf_str(&out)));
        }
    }
}

static void encodes_rows(void **state)
{
    UNUSED(state);
    static const char *const texts[][2] = {
        {"", ".\r\n"},
        {"a", "a\r\n.\r\n"},
        {"a\r\n", "a\r\n.\r\n"},
        {".", "..\r\n.\r\n"},
        {".\r\n", "..\r\n.\r\n"},
        {"..\r\n", "...\r\n.\r\n"},
        {"a.\r\n.b\r\n", "a.\r\n..b\r\n.\r\n"},
        {"\r\n\r\n.\r\n\r\n", "\r\n\r\n..\r\n\r\n.\r\n"},
        {"a\r\n.\r\n.\r\n..", "a\r\n..\r\n..\r\n...\r\n.\r\n"},
        /* our rule was broken upstream: the end stands on a line of its own all the same */
        {"a\r", "a\r\r\n.\r\n"},
        {"a\n", "a\n\r\n.\r\n"},
        {"a\n.\r\n", "a\n..\r\n.\r\n"},
        {"\n", "\n\r\n.\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check_encoding(str_from_c(texts[i][0]), str_from_c(texts[i][1]));
}

static void encodes_into_no_room(void **state)
{
    UNUSED(state);
    char mem[4];
    struct buf out;
    struct dot_encoder e;
    dot_encoder_init(&e);
    buf_init_fixed(&out, mem, 1);
    assert_int_equal(dot_encode(&e, STR(".a"), &out), 0); /* both dots or none */
    assert_false(out.failed);
    buf_init_fixed(&out, mem, 3);
    assert_int_equal(dot_encode(&e, STR(".abc"), &out), 2);
    assert_int_equal(dot_encode(&e, STR("bc"), &out), 0);
    assert_memory_equal(mem, "..a", 3);
    assert_false(out.failed);
}

/* What the encoder makes, the decoder turns back. */
static void goes_there_and_back(void **state)
{
    UNUSED(state);
    struct rng rng;
    rng_seed(&rng, 2);
    for (int round = 0; round < 2000; round++) {
        char in[1000], mem[OUT_MAX];
        size_t n = 0;
        size_t n_max = (size_t)rng_below(&rng, sizeof in - 80);
        while (n < n_max) {
            size_t line = (size_t)rng_below(&rng, 70);
            for (size_t i = 0; i < line; i++)
                in[n++] = rng_below(&rng, 4) == 0 ? '.' : 'x';
            in[n++] = '\r';
            in[n++] = '\n';
        }
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        encode_in_parts(str_of(in, n), 1 + (size_t)rng_below(&rng, 200), 2 + (size_t)rng_below(&rng, 200),
                        &out);
        struct result r;
        decode_in_parts(buf_str(&out), 1 + (size_t)rng_below(&rng, 300), 100, &r);
        assert_true(r.done);
        assert_int_equal(r.out.n, n);
        assert_memory_equal(r.mem, in, n);
        assert_int_equal(r.n_consumed, out.n);
        assert_false(r.bare_cr || r.bare_lf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_rows),         cmocka_unit_test(decodes_all_short_texts),
        cmocka_unit_test(decodes_random_texts), cmocka_unit_test(gives_long_runs),
        cmocka_unit_test(counts_line_lengths),  cmocka_unit_test(takes_nothing_after_the_end),
        cmocka_unit_test(encodes_rows),         cmocka_unit_test(encodes_into_no_room),
        cmocka_unit_test(goes_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
