#include "crypto/testing.h"
#include "service/keys/users.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static char why_mem[512];

static enum err parse(struct str text, struct users **out, struct str *why)
{
    struct buf b;
    buf_init_fixed(&b, why_mem, sizeof why_mem);
    enum err e = users_parse(text, out, &b);
    *why = buf_str(&b);
    assert_int_equal(e == ERR_OK, *out != NULL);
    assert_int_equal(e == ERR_OK, why->n == 0);
    return e;
}

static void refused(const char *text, const char *want)
{
    struct users *u;
    struct str why;
    assert_int_equal(parse(str_from_c(text), &u, &why), ERR_INVALID);
    if (!str_starts(why, str_from_c(want)))
        fail_msg("\"%.*s\" does not begin with \"%s\"", STR_FMT(why), want);
}

static struct str made(const struct crypto *c, const char *password, char *mem, size_t cap)
{
    uint8_t random[VERIFIER_SECRET] = {1, 2, 3};
    struct buf b;
    buf_init_fixed(&b, mem, cap);
    assert_int_equal(verifier_make(c, str_from_c(password), random, SCRAM_ITERATIONS_MIN, &b), ERR_OK);
    return buf_str(&b);
}

static void test_find(void **state)
{
    const struct crypto *c = *state;
    char mem[1024], text[4096];
    struct users *u;
    struct str why, field = made(c, "secret", mem, sizeof mem);
    int n = snprintf(text, sizeof text,
                     "# those who may\n"
                     "\n"
                     "joe:%.*s\r\n"
                     "  Ann : %.*s : 1000:1000::/home/ann\n"
                     "list\n"
                     "gone:!%.*s\n"
                     "off:*:x\n"
                     "empty::x\n"
                     "last:%.*s",
                     STR_FMT(field), STR_FMT(field), STR_FMT(field), STR_FMT(field));
    assert_int_equal(parse(str_of(text, (size_t)n), &u, &why), ERR_OK);
    memset(text, 'x', sizeof text); /* it has a copy */
    assert_int_equal(users_count(u), 7);
    static const struct {
        const char *name;
        bool is_there;
    } table[] = {{"joe", true},   {"JOE", true},   {"ann", true},  {"Ann", true},    {"last", true},
                 {"list", false}, {"gone", false}, {"off", false}, {"empty", false}, {"", false},
                 {"jo", false},   {"joey", false}, {"zoe", false}, {"#", false},     {"aaa", false}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct verifier v;
        assert_int_equal(users_find(u, str_from_c(table[i].name), &v), table[i].is_there);
        bool ok = false;
        if (table[i].is_there) {
            assert_int_equal(verifier_check(c, &v, STR("secret"), &ok), ERR_OK);
            assert_true(ok);
        }
    }
    assert_int_equal(users_scram(u), 1u << SCRAM_SHA1 | 1u << SCRAM_SHA256);
    assert_non_null(users_like(u));
    assert_true(users_like(u)->has_scram[SCRAM_SHA256]);
    assert_int_equal(users_like(u)->scram[SCRAM_SHA256].iterations, SCRAM_ITERATIONS_MIN);
    users_free(&u);
    users_free(&u);
}

static void test_bad(void **state)
{
    UNUSED(state);
    refused(":x", "line 1, user \"\": there is no name before the colon");
    refused("joe:!\n\n#\nann:{PLAIN}secret\n", "line 4, user \"ann\": ");
    refused("joe:!\nann:plainly\n", "line 2, user \"ann\": ");
    refused("joe:!\nann:*\nJoe:*\n", "line 3: user \"Joe\" is in line 1 already");
    refused("a\001b:!", "line 1, user \"a\001b\": the name");
    char name[400];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    refused(name, "line 1, user \"nnn");
    /* what the field held is not told */
    struct users *u;
    struct str why;
    assert_int_equal(parse(STR("ann:{PLAIN}hunter2"), &u, &why), ERR_INVALID);
    assert_int_equal(str_find(why, STR("hunter2")), STR_NPOS);
}

static void test_edges(void **state)
{
    UNUSED(state);
    struct users *u;
    struct str why;
    struct verifier v;
    assert_int_equal(parse(STR_NIL, &u, &why), ERR_OK);
    assert_int_equal(users_count(u), 0);
    assert_false(users_find(u, STR("joe"), &v));
    assert_null(users_like(u));
    users_free(&u);
    assert_int_equal(parse(STR("\n\n\n"), &u, &why), ERR_OK);
    users_free(&u);
    char *big = mem_alloc((size_t)PASSWORD_FILE_MAX + 1);
    assert_non_null(big);
    memset(big, '\n', (size_t)PASSWORD_FILE_MAX + 1);
    assert_int_equal(parse(str_of(big, (size_t)PASSWORD_FILE_MAX + 1), &u, &why), ERR_TOO_BIG);
    memset(big, '#', PASSWORD_FILE_MAX);
    assert_int_equal(parse(str_of(big, PASSWORD_FILE_MAX), &u, &why), ERR_OK);
    users_free(&u);
    mem_free(big);
}

/* Many users, in no order: each is found, and nobody else. */
static void test_many(void **state)
{
    UNUSED(state);
    enum { USERS = 5000 };
    static char text[USERS * 16];
    char name[16];
    struct buf b;
    struct users *u;
    struct str why;
    struct verifier v;
    buf_init_fixed(&b, text, sizeof text);
    for (unsigned i = 0; i < USERS; i++)
        assert_true(buf_printf(&b, "u%u:%s\n", i * 7919 % USERS, i % 2 == 0 ? "!" : ""));
    assert_int_equal(parse(buf_str(&b), &u, &why), ERR_OK);
    assert_int_equal(users_count(u), USERS);
    for (unsigned i = 0; i < USERS; i++) {
        (void)snprintf(name, sizeof name, "u%u", i);
        assert_false(users_find(u, str_from_c(name), &v)); /* all are locked */
    }
    users_free(&u);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests_name("users", tests, setup_crypto, teardown_crypto);
}
