#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/policy.h"

#include <string.h>

#include <stdio.h>

#define NAME(s)                                                                                              \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }
#define TO(s)                                                                                                \
    {                                                                                                        \
        .kind = ALIAS_ADDRESS, .text = NAME(s)                                                               \
    }
#define ALIAS(n, ...)                                                                                        \
    {                                                                                                        \
        .name = NAME(n), .targets = (const struct alias_target[]){__VA_ARGS__},                              \
        .n_targets = sizeof((const struct alias_target[]){__VA_ARGS__}) / sizeof(struct alias_target)        \
    }

static const struct str users[] = {NAME("ann"), NAME("joe"), NAME("joe+own")};
static const struct alias aliases[] = {
    ALIAS("both", TO("joe@example.org"), TO("ann@example.org")),
    ALIAS("chain", TO("info@same.example")),
    ALIAS("info", TO("joe@example.org")),
    ALIAS("out", TO("joe@elsewhere.example")),
    {.name = NAME("program"),
     .targets = (const struct alias_target[]){{.kind = ALIAS_PIPE, .text = NAME("|/x")}},
     .n_targets = 1},
};
static const struct local_domain domains[] = {
    {.name = NAME("closed.example"), .plus = NAME("+"), .users = users, .n_users = ARRAY_LEN(users)},
    {.name = NAME("example.org"),
     .plus = NAME("+"),
     .passwords = 2,
     .users = users,
     .n_users = ARRAY_LEN(users),
     .aliases = aliases,
     .n_aliases = ARRAY_LEN(aliases)},
    {.name = NAME("same.example"),
     .same_as = NAME("example.org"),
     .plus = NAME("+"),
     .passwords = 2,
     .users = users,
     .n_users = ARRAY_LEN(users),
     .aliases = aliases,
     .n_aliases = ARRAY_LEN(aliases)},
    {.name = NAME("second.example"),
     .plus = NAME("+"),
     .passwords = 1,
     .users = users,
     .n_users = ARRAY_LEN(users)},
};
static const struct pattern ann_may[] = {
    {.kind = PATTERN_DOMAIN, .domain = NAME("shop.example")},
    {.kind = PATTERN_ADDRESS, .domain = NAME("elsewhere.example"), .local = NAME("ann")},
};
static const struct pattern boss_may[] = {{.kind = PATTERN_ANY}};
static const struct sender_right senders[] = {
    {NAME("ann@example.org"), ann_may, ARRAY_LEN(ann_may)},
    {NAME("boss@example.org"), boss_may, ARRAY_LEN(boss_may)},
};
static const struct policy_conf conf = {
    .hostname = NAME("mx.example.org"),
    .domains = domains,
    .n_domains = ARRAY_LEN(domains),
    .senders = senders,
    .n_senders = ARRAY_LEN(senders),
};

static void test_sender(void **state)
{
    static const struct {
        const char *login, *from;
        bool may;
    } rows[] = {
        {"joe@example.org", "", true},
        {"joe@example.org", "joe@example.org", true},
        {"joe@example.org", "JOE@Example.ORG", true},
        {"joe@example.org", "\"joe\"@example.org", true},
        {"joe@example.org", "joe+shop@example.org", true},
        {"joe@example.org", "joe@same.example", true},
        {"joe@example.org", "joe+x@same.example", true},
        {"joe@example.org", "joe+own@example.org", false}, /* a mailbox of its own */
        {"joe@example.org", "ann@example.org", false},
        {"joe@example.org", "joe@closed.example", false},
        {"joe@example.org", "joe@second.example", false},
        {"joe@example.org", "joe@elsewhere.example", false},
        {"joe@example.org", "nobody@example.org", false},
        {"joe@example.org", "postmaster@example.org", false},
        {"joe@example.org", "joe@[192.0.2.1]", false},
        {"joe@example.org", "info@example.org", true},
        {"joe@example.org", "info@same.example", true},
        {"joe@example.org", "chain@example.org", true},
        {"joe@example.org", "both@example.org", false},
        {"joe@example.org", "out@example.org", false},
        {"joe@example.org", "program@example.org", false},
        {"ann@example.org", "info@example.org", false},
        {"ann@example.org", "any.thing@shop.example", true},
        {"ann@example.org", "x@sub.shop.example", false},
        {"ann@example.org", "Ann@elsewhere.example", true},
        {"ann@example.org", "joe@elsewhere.example", false},
        {"boss@example.org", "x@y.example", true},
        {"nobody@example.org", "x@y.example", false},
    };
    struct chunk_pool pool;
    UNUSED(state);
    chunk_pool_init(&pool, 4096, 1000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address from = {.kind = DOMAIN_NONE};
        if (rows[i].from[0] != '\0')
            assert_null(address_parse(str_from_c(rows[i].from), true, &from));
        bool may = policy_may_send(&conf, &pool, str_from_c(rows[i].login), &from);
        if (may != rows[i].may)
            print_error("%s as <%s>\n", rows[i].login, rows[i].from);
        assert_int_equal(may, rows[i].may);
    }
    chunk_pool_fini(&pool);
}

static void test_login(void **state)
{
    static const struct {
        const char *name, *address;
        uint32_t passwords;
    } rows[] = {
        {"joe@example.org", "joe@example.org", 2},
        {"Joe@EXAMPLE.org", "joe@example.org", 2},
        {"joe@same.example", "joe@example.org", 2},
        {"joe@second.example", "joe@second.example", 1},
        {"who.ever@example.org", "who.ever@example.org", 2},
        {"joe", NULL, 0}, /* of which domain? */
        {"joe@closed.example", NULL, 0},
        {"joe@elsewhere.example", NULL, 0},
        {"@example.org", NULL, 0},
        {"", NULL, 0},
        {"a@b@example.org", NULL, 0},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[POLICY_LOGIN_MAX];
        struct buf text;
        struct policy_login login;
        buf_init_fixed(&text, mem, sizeof mem);
        bool ok = policy_login(&conf, str_from_c(rows[i].name), &text, &login);
        assert_int_equal(ok, rows[i].address != NULL);
        if (!ok)
            continue;
        assert_true(str_eq(login.address, str_from_c(rows[i].address)));
        assert_true(str_starts(login.address, login.user));
        assert_int_equal(login.passwords, rows[i].passwords);
        assert_int_equal(login.auth, 0);
    }
    struct local_domain asked = {.name = STR("asked.example"), .auth = 3};
    struct policy_conf other = {.domains = &asked, .n_domains = 1};
    char other_mem[POLICY_LOGIN_MAX];
    struct buf other_text;
    struct policy_login other_login;
    buf_init_fixed(&other_text, other_mem, sizeof other_mem);
    assert_true(policy_login(&other, STR("Joe"), &other_text, &other_login));
    assert_true(str_eq(other_login.address, STR("joe@asked.example")));
    assert_true(other_login.auth == 3 && other_login.passwords == 0);
    buf_reset(&other_text);
    assert_false(policy_login(&other, STR("joe/phone@asked.example"), &other_text, &other_login));
    struct policy_conf one = conf; /* without the second domain that has passwords */
    one.n_domains = ARRAY_LEN(domains) - 1;
    char mem[POLICY_LOGIN_MAX];
    struct buf text;
    struct policy_login login;
    buf_init_fixed(&text, mem, sizeof mem);
    assert_true(policy_login(&one, STR("JOE"), &text, &login));
    assert_true(str_eq(login.address, STR("joe@example.org")) && str_eq(login.user, STR("joe")));
    char app[LOGIN_APP_MAX + 8] = "joe/";
    memset(app + 4, 'a', LOGIN_APP_MAX);
    for (int i = 0; i < 2; i++) { /* a password for one program: the same address */
        struct str name = i == 0 ? STR("Joe/Phone@same.example") : str_from_c(app);
        buf_init_fixed(&text, mem, sizeof mem);
        assert_true(policy_login(&one, name, &text, &login));
        assert_true(str_eq(login.address, STR("joe@example.org")));
        assert_true(str_eq(login.user, i == 0 ? STR("joe/phone") : str_from_c(app)));
    }
    app[4 + LOGIN_APP_MAX] = 'a';
    const struct str bad[] = {STR("joe/"), STR("/phone"), STR("joe/@example.org"), str_from_c(app)};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_init_fixed(&text, mem, sizeof mem);
        assert_false(policy_login(&one, bad[i], &text, &login));
    }
    buf_init_fixed(&text, mem, 5); /* no room is no login and no overrun */
    assert_false(policy_login(&one, STR("joe"), &text, &login));
}

/* A domain whose users have tokens, and may have no password at all. */
static void test_tokens(void **state)
{
    UNUSED(state);
    static const struct local_domain all[] = {
        {.name = STR_INIT("alias.example"), .tokens = true, .same_as = STR_INIT("tokens.example")},
        {.name = STR_INIT("none.example")},
        {.name = STR_INIT("tokens.example"), .tokens = true}};
    struct policy_conf house = {.domains = all, .n_domains = ARRAY_LEN(all)};
    static const struct {
        const char *name;
        bool ok;
    } rows[] = {{"Joe@Tokens.example", true},
                {"joe@alias.example", true},
                {"JOE", true},
                {"joe@none.example", false},
                {"joe/phone@tokens.example", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[POLICY_LOGIN_MAX];
        struct buf text;
        struct policy_login login;
        buf_init_fixed(&text, mem, sizeof mem);
        assert_int_equal(policy_login(&house, str_from_c(rows[i].name), &text, &login), rows[i].ok);
        if (rows[i].ok)
            assert_true(str_eq(login.address, STR("joe@tokens.example")) && login.passwords == 0 &&
                        login.auth == 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sender),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests_name("sender", tests, NULL, NULL);
}
