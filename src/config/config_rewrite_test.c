#include "config/codec.h"
#include "config/testing.h"

/* The fact rewrite: what it says, how it goes to the roles, and what is wrong with it, word by word. */

static const char good[] = TEST_HEAD "rewrite { from = \"me@isp.example\", domain = \"B\xc3\xbc"
                                     "cher.example\",\n"
                                     "  to = { Root = \"admin@example.org\", [\"*\"] = \"all@example.org\", "
                                     "[\"www-data\"] = \"web@example.org\" } }\n";

static const struct config *load_good(struct fixture *f, const char *lua)
{
    const struct config *c = fixture_load(f, str_from_c(lua));
    if (c == NULL)
        fail_msg("%s\n%.*s", lua, STR_FMT(buf_str(&f->report.errors)));
    return c;
}

static void check_good(const struct rewrite_conf *r)
{
    assert_str(r->from, "me@isp.example");
    assert_str(r->domain, "xn--bcher-kva.example");
    assert_str(r->to, "all@example.org");
    assert_int_equal(r->n_names, 2);
    assert_str(r->names[0].name, "root");
    assert_str(r->names[0].to, "admin@example.org");
    assert_str(r->names[1].name, "www-data");
    assert_str(r->names[1].to, "web@example.org");
}

static void says_what_becomes_of_names(void **state)
{
    UNUSED(state);
    struct fixture f;
    struct buf bytes;
    fixture_init(&f, false);
    buf_init(&bytes, 1 << 20);
    const struct config *c = load_good(&f, good);
    check_good(&c->policy.rewrite);
    assert_true(config_encode(c, &bytes));
    const struct config *d = config_decode(buf_str(&bytes), &f.arena);
    assert_non_null(d);
    check_good(&d->policy.rewrite);
    c = load_good(&f, TEST_HEAD "rewrite { to = \"all@example.org\" }");
    assert_str(c->policy.rewrite.to, "all@example.org");
    assert_int_equal(c->policy.rewrite.n_names + c->policy.rewrite.from.n + c->policy.rewrite.domain.n, 0);
    buf_fini(&bytes);
    fixture_fini(&f);
}

static const struct {
    const char *lua, *errors;
} rows[] = {
    /* clang-format off */
    {TEST_HEAD "rewrite \"me@isp.example\"",
     "waxwing.lua:3: 'rewrite' is written rewrite { ... }\n"},
    {TEST_HEAD "rewrite { from = \"me\", to = \"admin\", domain = \"-x-\" }",
     "waxwing.lua:3: from: \"me\" must be a full address, such as \"admin@example.org\"\n"
     "waxwing.lua:3: to: \"admin\" must be a full address, such as \"admin@example.org\"\n"
     "waxwing.lua:3: domain: \"-x-\" is no domain name\n"},
    {TEST_HEAD "rewrite { to = { [\"a b\"] = \"x@y.example\" } }",
     "waxwing.lua:3: to: \"a b\" has a character that no user name may have\n"},
    {TEST_HEAD "rewrite { to = { root = \"x\" } }",
     "waxwing.lua:3: to: \"x\" must be a full address, such as \"admin@example.org\"\n"},
    {TEST_HEAD "rewrite { to = { root = 1 } }",
     "waxwing.lua:3: 'to' in rewrite must be text in quotes and not a number\n"},
    {TEST_HEAD "rewrite { to = { \"x@y.example\" } }",
     "waxwing.lua:3: 'to' in rewrite takes NAME = \"ADDRESS\": an address stands without its name\n"},
    {TEST_HEAD "rewrite { to = { root = \"a@y.example\", Root = \"b@y.example\" } }",
     "waxwing.lua:3: to: \"root\" is given twice\n"},
    {TEST_HEAD "rewrite { frm = \"a@y.example\" }",
     "waxwing.lua:3: unknown key 'frm' in rewrite: did you mean 'from'?\n"},
    {TEST_HEAD "rewrite {} rewrite {}",
     "waxwing.lua:3: 'rewrite' is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "local t = {}\nfor i = 1, 1001 do t[\"u\" .. i] = \"a@y.example\" end\nrewrite { to = t }",
     "waxwing.lua:5: more than 1000 names in rewrite\n"},
    /* clang-format on */
};

static void says_what_is_wrong(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        fixture_init(&f, false);
        if (fixture_load(&f, str_from_c(rows[i].lua)) != NULL)
            fail_msg("this was taken:\n%s", rows[i].lua);
        assert_str(buf_str(&f.report.errors), rows[i].errors);
        fixture_fini(&f);
    }
}

/* A role trusts nobody: what the loader would not let in does not come in by the octets either. */
static void survives_only_when_whole(void **state)
{
    UNUSED(state);
    struct fixture f;
    struct buf bytes;
    fixture_init(&f, false);
    buf_init(&bytes, 1 << 20);
    const struct config *c = load_good(&f, good);
    const struct rewrite_name *n = c->policy.rewrite.names;
    const struct rewrite_name swapped[] = {n[1], n[0]}, twice[] = {n[0], n[0]},
                              upper[] = {{STR("Root"), n[0].to}}, nowhere[] = {{n[0].name, STR_NIL}},
                              odd[] = {{STR("a b"), n[0].to}};
    const struct rewrite_conf bad[] = {
        {.from = STR("me")},
        {.from = STR("a@b\r\nX: y")},
        {.domain = STR("Example.org")},
        {.domain = STR("a b")},
        {.to = STR("root")},
        {.names = swapped, .n_names = 2},
        {.names = twice, .n_names = 2},
        {.names = upper, .n_names = 1},
        {.names = nowhere, .n_names = 1},
        {.names = odd, .n_names = 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct config copy = *c;
        copy.policy.rewrite = bad[i];
        buf_reset(&bytes);
        assert_true(config_encode(&copy, &bytes));
        if (config_decode(buf_str(&bytes), &f.arena) != NULL)
            fail_msg("this was taken: %zu", i);
    }
    buf_fini(&bytes);
    fixture_fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(says_what_becomes_of_names),
                                              cmocka_unit_test(says_what_is_wrong),
                                              cmocka_unit_test(survives_only_when_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
