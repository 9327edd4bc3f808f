#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/header.h"

#include <string.h>

struct row {
    const char *message;
    const char *names; /* each with '|' behind */
    const char *body;
    size_t section; /* STR_NPOS: has not ended */
};

/* clang-format off */
static const struct row rows[] = {
    {"A: 1\r\nB: 2\r\n\r\nbody\r\n",      "A|B|",  "body\r\n",          14},
    {"A: 1\r\n\r\n",                      "A|",    "",                  8},
    {"A: 1\r\n",                          "A|",    "",                  STR_NPOS},
    {"A: 1",                              "A|",    "",                  STR_NPOS},
    {"",                                  "",      "",                  STR_NPOS},
    {"\r\nA: 1\r\n",                      "",      "A: 1\r\n",          2},
    {"A: 1\r\n folded: x\r\n\tmore\r\nB: 2\r\n\r\n", "A|B|", "",         33},
    {"A :1\r\n\r\n",                      "A|",    "",                  8},
    {"A \t: 1\r\n\r\n",                   "A|",    "",                  10},
    {"A:\r\n\r\n",                        "A|",    "",                  6},
    {"A: 1\r\n \r\nB: 2\r\n\r\n",         "A|B|",  "",                  17},
    {"X-!#~: 1\r\n\r\n",                  "X-!#~|", "",                 12},
    /* a line that is no field ends the section */
    {"A: 1\r\nbody text\r\nB: 2\r\n\r\n", "A|",    "body text\r\nB: 2\r\n\r\n", 6},
    {": 1\r\n\r\n",                       "",      ": 1\r\n\r\n",       0},
    {" A: 1\r\nB: 2\r\n\r\n",             "",      " A: 1\r\nB: 2\r\n\r\n", 0},
    {"From a@b Tue Nov 24 01:02:03\r\nA: 1\r\n\r\n", "", "From a@b Tue Nov 24 01:02:03\r\nA: 1\r\n\r\n", 0},
    {"A b: 1\r\n\r\n",                    "",      "A b: 1\r\n\r\n",    0},
    {"\xc3\xbc: 1\r\n\r\n",               "",      "\xc3\xbc: 1\r\n\r\n", 0},
    {"A\x01: 1\r\n\r\n",                  "",      "A\x01: 1\r\n\r\n",  0},
    {"A: 1\r\nb",                         "A|",    "b",                 STR_NPOS},
    /* a lone LF ends a line too, a lone CR does not */
    {"A: 1\nB: 2\n\nbody",                "A|B|",  "body",              11},
    {"A: 1\r\nB: 2\n\r\nx",               "A|B|",  "x",                 13},
    {"A: 1\rB: 2\r\n\r\n",                "A|",    "",                  13},
};
/* clang-format on */

static void walks(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str message = str_from_c(rows[i].message);
        struct header_walk w;
        struct header_field f;
        char mem[64];
        struct str at = message;
        size_t n_names = 0;
        header_walk_init(&w, message);
        while (header_walk_next(&w, &f)) {
            memcpy(mem + n_names, f.name.p, f.name.n);
            n_names += f.name.n;
            mem[n_names++] = '|';
            /* the fields follow each other without a gap */
            assert_ptr_equal(f.raw.p, at.p);
            at = str_skip(at, f.raw.n);
            assert_true(str_starts(f.raw, f.name));
            assert_true(f.body.n < f.raw.n && f.body.p > f.name.p);
            assert_false(str_ends(f.body, STR("\n")));
        }
        if (!str_eq(str_of(mem, n_names), str_from_c(rows[i].names)) ||
            !str_eq(w.rest, str_from_c(rows[i].body)))
            fail_msg("row %zu: %s", i, rows[i].message);
        assert_true(w.in_body);
        assert_false(header_walk_next(&w, &f));
    }
}

static void gives_bodies(void **state)
{
    UNUSED(state);
    struct header_walk w;
    struct header_field f;
    header_walk_init(&w, STR("Subject: one\r\n two \r\nTo:x\r\nCc:\r\n\r\n"));
    assert_true(header_walk_next(&w, &f));
    assert_true(str_eq(f.body, STR(" one\r\n two ")));
    assert_true(str_eq(f.raw, STR("Subject: one\r\n two \r\n")));
    assert_true(header_walk_next(&w, &f));
    assert_true(str_eq(f.body, STR("x")));
    assert_true(header_walk_next(&w, &f));
    assert_int_equal(f.body.n, 0);
    assert_false(header_walk_next(&w, &f));
}

/* The size does not change when more comes, and is not told before it is sure. */
static void measures_growing_messages(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str message = str_from_c(rows[i].message);
        if (header_section_size(message) != rows[i].section)
            fail_msg("row %zu: %zu", i, header_section_size(message));
        size_t known = STR_NPOS;
        for (size_t n = 0; n <= message.n; n++) {
            size_t now = header_section_size(str_slice(message, 0, n));
            if (known != STR_NPOS)
                assert_int_equal(now, known);
            known = now;
        }
    }
}

static void counts(void **state)
{
    UNUSED(state);
    struct str m = STR("Received: a\r\nRECEIVED : b\r\n received: c\r\nX-Received: d\r\nReceived2: "
                       "e\r\nreceived:\r\n\r\nReceived: f\r\n");
    assert_int_equal(header_count(m, STR("Received")), 3);
    assert_int_equal(header_count(m, STR("From")), 0);
    assert_int_equal(header_count(STR_NIL, STR("From")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks),
        cmocka_unit_test(gives_bodies),
        cmocka_unit_test(measures_growing_messages),
        cmocka_unit_test(counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
