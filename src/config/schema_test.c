#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/schema.h"

#include <stdio.h>

static void test_distance(void **state)
{
    UNUSED(state);
    static const struct {
        const char *a, *b;
        unsigned distance;
    } rows[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"abc", "", 3},
        {"deliver", "deliver", 0},
        {"delivr", "deliver", 1},
        {"deliverr", "deliver", 1},
        {"delover", "deliver", 1},
        {"delievr", "deliver", 1},
        {"Deliver", "dELIVER", 0},
        {"kitten", "sitting", 3},
        {"ab", "ba", 1},
        {"abc", "cba", 2},
        {"flaw", "lawn", 2},
        {"listen", "silent", 4},
        {"123456789012345678901234567890123", "x", 99},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str a = str_from_c(rows[i].a), b = str_from_c(rows[i].b);
        if (schema_distance(a, b) != rows[i].distance || schema_distance(b, a) != rows[i].distance)
            fail_msg("%s to %s: %u", rows[i].a, rows[i].b, schema_distance(a, b));
    }
}

static void test_suggestions(void **state)
{
    UNUSED(state);
    static const struct {
        const char *section, *typed, *meant; /* meant NULL: nothing is near */
    } rows[] = {
        {"domain", "delivr", "deliver"},
        {"domain", "catch_all", "catchall"},
        {"domain", "sameas", "same_as"},
        {"domain", "usres", "users"},
        {"domain", "usr", "user"},
        {"domain", "xyz", NULL},
        {"listen", "prot", "port"},
        {"listen", "adress", "address"},
        {"", "hostnam", "hostname"},
        {"", "relayfrom", "relay_from"},
        {"", "x", NULL},
        {"", "", NULL},
        {"retry", "frist", "first"},
        {"limits", "recipiants", "recipients"},
        {"value", "mailder", "maildir"},
        {"nosuch", "port", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *s = schema_suggest(str_from_c(rows[i].section), str_from_c(rows[i].typed));
        if (!str_eq(str_from_c(s), str_from_c(rows[i].meant)))
            fail_msg("%s: %s", rows[i].typed, s == NULL ? "nothing" : s);
    }
}

static bool is_number(const struct schema_key *k)
{
    return k->type == SCHEMA_COUNT || k->type == SCHEMA_PORT || k->type == SCHEMA_SIZE ||
           k->type == SCHEMA_DURATION;
}

/* What each row must be for the rest to hold. */
static void test_rows(void **state)
{
    UNUSED(state);
    struct config c = {.generation = 0};
    schema_presets(&c);
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        const struct schema_key *k = schema_at(i);
        struct str doc = str_from_c(k->doc), name = str_from_c(k->name);
        assert_ptr_equal(schema_find(str_from_c(k->section), name), k); /* no name stands twice */
        assert_false(schema_is_future(str_from_c(k->section), name));
        assert_true(doc.n > 0 && doc.p[0] >= 'A' && doc.p[0] <= 'Z' && str_ends(doc, STR(".")));
        assert_true(name.n > 0 && name.n <= 32);
        if (k->width == 0)
            continue;
        uint64_t v = 0;
        assert_non_null(k->preset);
        assert_true(schema_number(k, str_from_c(k->preset), &v));
        assert_true(schema_get(k, &c) == v);
        assert_true(k->min < k->max);
        assert_false(schema_in_range(k, k->max + 1));
        assert_true(k->min == 0 || !schema_in_range(k, k->min - 1));
        schema_set(k, &c, k->max); /* the member can hold all of the range */
        assert_true(schema_get(k, &c) == k->max);
        schema_set(k, &c, k->min);
        assert_true(schema_get(k, &c) == k->min);
        assert_true(is_number(k) || k->type == SCHEMA_CHOICE || k->type == SCHEMA_BOOL);
    }
    assert_null(schema_find(STR("domain"), STR("port")));
    assert_true(schema_is_future(STR(""), STR("dkim")));
    assert_false(schema_is_future(STR("listen"), STR("dkim")));
}

/* The figures that other parts of the program count on. */
static void test_presets(void **state)
{
    UNUSED(state);
    struct config c = {.generation = 0};
    schema_presets(&c);
    assert_true(c.size_max == 50 * 1024 * 1024);
    assert_int_equal(c.retry_first_s, 300);
    assert_int_equal(c.retry_max_s, 14400);
    assert_int_equal(c.retry_jitter_pct, 20);
    assert_int_equal(c.expire_s, 432000);
    assert_int_equal(c.bounce_expire_s, 172800);
    assert_int_equal(c.smtp_port, 25);
    assert_int_equal(c.rcpt_max, 1000);
    assert_false(c.log_json);
    assert_int_equal(c.log_level, 1);
}

static void test_choice(void **state)
{
    UNUSED(state);
    const struct schema_key *k = schema_find(STR("log"), STR("level"));
    assert_int_equal(schema_choice(k, STR("debug")), 0);
    assert_int_equal(schema_choice(k, STR("error")), 3);
    assert_true(schema_choice(k, STR("erro")) == STR_NPOS);
    assert_true(schema_choice(k, STR("")) == STR_NPOS);
    assert_true(schema_choice(k, STR("info | warn")) == STR_NPOS);
}

/* ---- the manual -------------------------------------------------------------------------------- */

static void read_manual(const char *path, struct buf *out)
{
    char mem[4096];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("can't open %s", path);
    while ((n = fread(mem, 1, sizeof mem, f)) > 0)
        assert_true(buf_put(out, str_of(mem, n)));
    (void)fclose(f);
}

/* The manual holds what the schema says, octet by octet. */
static void test_manual(void **state)
{
    static const char begin[] = ".\\\" begin of the part that config_mdoc prints\n";
    static const char end[] = ".\\\" end of the part that config_mdoc prints\n";
    struct buf manual, wanted;
    buf_init(&manual, 1 << 20);
    buf_init(&wanted, 1 << 20);
    read_manual(*state, &manual);
    config_schema_mdoc(&wanted);
    assert_false(wanted.failed);
    size_t from = str_find(buf_str(&manual), str_from_c(begin)),
           to = str_find(buf_str(&manual), str_from_c(end));
    assert_true(from != STR_NPOS && to != STR_NPOS && from < to);
    struct str part = str_slice(buf_str(&manual), from + sizeof begin - 1, to);
    if (!str_eq(part, buf_str(&wanted)))
        fail_msg("the manual differs from the schema: put in what src/config/config_mdoc prints");
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        char mem[80];
        struct buf item;
        buf_init_fixed(&item, mem, sizeof mem);
        buf_printf(&item, ".It Ic %s", schema_at(i)->name);
        assert_true(str_find(part, buf_str(&item)) != STR_NPOS);
    }
    buf_fini(&manual);
    buf_fini(&wanted);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fputs("usage: schema_test MANUAL\n", stderr);
        return 2;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance), cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_rows),     cmocka_unit_test(test_presets),
        cmocka_unit_test(test_choice),   cmocka_unit_test_prestate(test_manual, argv[1]),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
