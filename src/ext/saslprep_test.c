#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "ext/saslprep.h"
#include "wire/utf8.h"

#include <string.h>
#include <stringprep.h>

#define COMBINING_DIAERESIS "\xcc\x88"
#define NO_BREAK_SPACE "\xc2\xa0"

static const struct {
    const char *in;
    const char *want; /* NULL: there is none */
    enum saslprep_result query, stored;
} rows[] = {
    /* RFC 4013 3 */
    {"I\xc2\xadX", "IX", SASLPREP_OK, SASLPREP_OK},
    {"user", "user", SASLPREP_OK, SASLPREP_OK},
    {"USER", "USER", SASLPREP_OK, SASLPREP_OK},
    {"\xc2\xaa", "a", SASLPREP_OK, SASLPREP_OK},
    {"\xe2\x85\xa8", "IX", SASLPREP_OK, SASLPREP_OK},
    {"\x07", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},
    {"\xd8\xa7"
     "1",
     NULL, SASLPREP_DIRECTION, SASLPREP_DIRECTION},
    /* one form for all that looks alike */
    {"p\xc3\xa4ssw\xc3\xb6rd", "p\xc3\xa4ssw\xc3\xb6rd", SASLPREP_OK, SASLPREP_OK},
    {"pa" COMBINING_DIAERESIS "sswo" COMBINING_DIAERESIS "rd", "p\xc3\xa4ssw\xc3\xb6rd", SASLPREP_OK,
     SASLPREP_OK},
    {"two" NO_BREAK_SPACE "words", "two words", SASLPREP_OK, SASLPREP_OK},
    {"\xe2\x80\x89x\xe3\x80\x80y\xe2\x80\xaf", " x y ", SASLPREP_OK, SASLPREP_OK},
    {"\xef\xbc\xa1", "A", SASLPREP_OK, SASLPREP_OK},
    {"\xe1\xbe\x91", "\xe1\xbe\x91", SASLPREP_OK, SASLPREP_OK},
    {"\xc2\xad\xe2\x81\xa0\xef\xb8\x8f", "", SASLPREP_OK,
     SASLPREP_OK}, /* of nothing that can be seen nothing is left */
    {"", "", SASLPREP_OK, SASLPREP_OK},
    {"\xef\xb7\xba",
     "\xd8\xb5\xd9\x84\xd9\x89 \xd8\xa7\xd9\x84\xd9\x84\xd9\x87 \xd8\xb9\xd9\x84\xd9\x8a\xd9\x87 "
     "\xd9\x88\xd8\xb3\xd9\x84\xd9\x85",
     SASLPREP_OK, SASLPREP_OK}, /* the one that grows most */
    /* what none may hold */
    {"a\x7f", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},
    {"\xc2\x85", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},
    {"\xee\x80\x80", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},     /* private use */
    {"\xef\xbf\xbf", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},     /* no character */
    {"\xef\xbf\xbd", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},     /* what stands for a broken one */
    {"\xe2\x80\xae", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},     /* turns the direction */
    {"\xf3\xa0\x81\x81", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED}, /* a tag */
    {"\xe2\x80\xa8", NULL, SASLPREP_PROHIBITED, SASLPREP_PROHIBITED},     /* a line's end */
    {"\xd8\xa7\xd8\xa8", "\xd8\xa7\xd8\xa8", SASLPREP_OK, SASLPREP_OK},
    {"\xd8\xa7"
     "1\xd8\xa8",
     "\xd8\xa7"
     "1\xd8\xa8",
     SASLPREP_OK, SASLPREP_OK},
    {"\xd8\xa7x\xd8\xa8", NULL, SASLPREP_DIRECTION, SASLPREP_DIRECTION},
    /* U+0221 came with Unicode 4, emoji later still */
    {"\xc8\xa1", "\xc8\xa1", SASLPREP_OK, SASLPREP_UNASSIGNED},
    {"key \xf0\x9f\x94\x91", "key \xf0\x9f\x94\x91", SASLPREP_OK, SASLPREP_UNASSIGNED},
    /* no UTF-8 */
    {"p\xe4ss", NULL, SASLPREP_MALFORMED, SASLPREP_MALFORMED},
    {"\xed\xa0\x80", NULL, SASLPREP_MALFORMED, SASLPREP_MALFORMED},
    {"\xc0\x80", NULL, SASLPREP_MALFORMED, SASLPREP_MALFORMED},
};

static void prepares(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        bool is_stored = i % 2 == 1;
        enum saslprep_result want = is_stored ? rows[i / 2].stored : rows[i / 2].query;
        char mem[128];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        buf_puts(&out, "before ");
        enum saslprep_result r =
            saslprep(str_from_c(rows[i / 2].in), is_stored ? SASLPREP_STORED : SASLPREP_QUERY, &out);
        if (r != want)
            fail_msg("row %zu: %s", i / 2, saslprep_text(r));
        const char *text = want == SASLPREP_OK ? rows[i / 2].want : "";
        if (!str_eq(str_skip(buf_str(&out), 7), str_from_c(text)))
            fail_msg("row %zu: \"%.*s\"", i / 2, (int)out.n, out.p);
        assert_true(strlen(saslprep_text(r)) > 5);
    }
}

static void octets_of_any_kind(void **state)
{
    UNUSED(state);
    char mem[SASLPREP_MAX + 1], in[SASLPREP_MAX + 3];
    struct buf out;
    buf_init_fixed(&out, mem, sizeof mem);
    assert_int_equal(saslprep(STR("a\0b"), SASLPREP_QUERY, &out), SASLPREP_PROHIBITED);
    memset(in, 'x', sizeof in);
    assert_int_equal(saslprep(str_of(in, SASLPREP_MAX), SASLPREP_STORED, &out), SASLPREP_OK);
    assert_int_equal(out.n, SASLPREP_MAX);
    buf_reset(&out);
    assert_int_equal(saslprep(str_of(in, SASLPREP_MAX + 1), SASLPREP_STORED, &out), SASLPREP_MALFORMED);
    for (size_t i = 0; i + 3 <= sizeof in; i += 3)
        memcpy(in + i, "\xef\xb7\xba", 3); /* of 18 characters, 33 octets each */
    size_t n = SASLPREP_MAX / 3 * 3;
    assert_int_equal(saslprep(str_of(in, n), SASLPREP_QUERY, &out), SASLPREP_NO_ROOM);
    assert_true(out.n == 0);
    char wide[SASLPREP_MAX * 12];
    buf_init_fixed(&out, wide, sizeof wide);
    assert_int_equal(saslprep(str_of(in, n), SASLPREP_QUERY, &out), SASLPREP_OK);
    assert_int_equal(out.n, n / 3 * 33);
    /* marks without end are put in order */
    buf_reset(&out);
    in[0] = 'a';
    for (size_t i = 1; i + 2 <= SASLPREP_MAX; i += 2)
        memcpy(in + i, i % 4 == 1 ? "\xcc\x88" : "\xcc\xa3", 2);
    assert_int_equal(saslprep(str_of(in, SASLPREP_MAX - 1), SASLPREP_STORED, &out), SASLPREP_OK);
    assert_true(str_starts(buf_str(&out), STR("\xe1\xba\xa1\xcc\xa3\xcc\xa3")));
}

/* Step by step it is what the library makes of it as a whole; and once prepared it stays. */
static void as_the_library(void **state)
{
    UNUSED(state);
    static const struct {
        uint32_t from, to;
    } blocks[] = {{1, 0x7f},        {0x80, 0x24f},    {0x300, 0x36f},   {0x590, 0x6ff},     {0x1e00, 0x206f},
                  {0x3040, 0x30ff}, {0xac00, 0xd7a3}, {0xf900, 0xffff}, {0x1d400, 0x1d7ff}, {1, 0x10ffff}};
    struct rng rng;
    unsigned n_ok = 0;
    rng_seed(&rng, 1);
    for (unsigned i = 0; i < 30000; i++) {
        char in[64], mem[1024], again_mem[1024], whole[1024];
        struct buf b, out, again;
        buf_init_fixed(&b, in, sizeof in - 1);
        buf_init_fixed(&out, mem, sizeof mem);
        buf_init_fixed(&again, again_mem, sizeof again_mem);
        for (uint64_t n = rng_next(&rng) % 6 + 1; n > 0; n--) {
            size_t k = rng_next(&rng) % ARRAY_LEN(blocks);
            (void)utf8_put(blocks[k].from + (uint32_t)(rng_next(&rng) % (blocks[k].to - blocks[k].from + 1)),
                           &b);
        }
        in[b.n] = '\0';
        memcpy(whole, in, b.n + 1);
        int rc = stringprep(whole, sizeof whole, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep);
        enum saslprep_result r = saslprep(buf_str(&b), SASLPREP_STORED, &out);
        if (r == SASLPREP_UNASSIGNED || rc == STRINGPREP_CONTAINS_UNASSIGNED)
            continue; /* normalized by a later Unicode it may be something else */
        assert_int_equal(r == SASLPREP_OK, rc == STRINGPREP_OK);
        if (r != SASLPREP_OK)
            continue;
        n_ok++;
        if (!str_eq(buf_str(&out), str_from_c(whole)))
            fail_msg("%u: \"%s\"", i, in);
        assert_int_equal(saslprep(buf_str(&out), SASLPREP_STORED, &again), SASLPREP_OK);
        assert_true(str_eq(buf_str(&out), buf_str(&again)));
    }
    assert_true(n_ok > 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepares),
        cmocka_unit_test(octets_of_any_kind),
        cmocka_unit_test(as_the_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
