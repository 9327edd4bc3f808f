#include "verify/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

enum { NOW = 1800000000 };

static const struct token_rules rules = {.issuer = STR_INIT("https://id.example.org"),
                                         .audience = STR_INIT("waxwing"),
                                         .scope = STR_INIT("mail"),
                                         .claim = STR_INIT("email")};
static const struct str audiences[] = {STR_INIT("web"), STR_INIT("waxwing")};
static const struct str scopes[] = {STR_INIT("openid"), STR_INIT("mail"), STR_INIT("email")};

static struct token_claims good(void)
{
    return (struct token_claims){.issuer = STR("https://id.example.org"),
                                 .user = STR("joe@example.org"),
                                 .audiences = audiences,
                                 .n_audiences = ARRAY_LEN(audiences),
                                 .scopes = scopes,
                                 .n_scopes = ARRAY_LEN(scopes),
                                 .expires = {true, NOW + 300},
                                 .issued = {true, NOW - 10},
                                 .active = TOKEN_TRUE};
}

struct row {
    const char *title;
    void (*change)(struct token_claims *c);
    const char *jwt, *answer; /* a word of the reason; NULL: good */
};
#define CHANGE(name, code)                                                                                   \
    static void name(struct token_claims *c)                                                                 \
    {                                                                                                        \
        code;                                                                                                \
    }
CHANGE(nothing, UNUSED(c))
CHANGE(no_issuer, c->issuer = STR_NIL)
CHANGE(issuer_with_slash, c->issuer = STR("https://id.example.org/"))
CHANGE(issuer_in_capitals, c->issuer = STR("https://ID.example.org"))
CHANGE(issuer_cut, c->issuer.n--)
CHANGE(no_audience, c->n_audiences = 0)
CHANGE(other_audience, c->n_audiences = 1)
CHANGE(no_scope, c->n_scopes = 0)
CHANGE(other_scope, c->n_scopes = 1)
CHANGE(no_expiry, c->expires.is_said = false)
CHANGE(expired_within_leeway, c->expires.unix_s = NOW - 59)
CHANGE(expired, c->expires.unix_s = NOW - 60)
CHANGE(expired_long_ago, c->expires.unix_s = 0)
CHANGE(soon_valid, c->not_before = ((struct token_time){true, NOW + 60}))
CHANGE(not_yet_valid, c->not_before = ((struct token_time){true, NOW + 61}))
CHANGE(issued_soon, c->issued.unix_s = NOW + 60)
CHANGE(issued_in_the_future, c->issued.unix_s = NOW + 61)
CHANGE(never_issued, c->issued.is_said = false)
CHANGE(nobodys, c->user = STR_NIL)
CHANGE(verified, c->email_verified = TOKEN_TRUE)
CHANGE(unverified, c->email_verified = TOKEN_FALSE)
CHANGE(bound, c->is_bound = true)
CHANGE(identity, c->is_identity = true)
CHANGE(bearer, c->type = STR("bearer"))
CHANGE(dpop, c->type = STR("DPoP"))
CHANGE(not_active, c->active = TOKEN_FALSE)
CHANGE(not_said_active, c->active = TOKEN_UNSAID)

static const struct row rows[] = {
    {"good", nothing, NULL, NULL},
    {"no iss", no_issuer, "iss", NULL},
    {"iss with a slash", issuer_with_slash, "iss", "iss"},
    {"iss in capitals", issuer_in_capitals, "iss", "iss"},
    {"iss cut off", issuer_cut, "iss", "iss"},
    {"no aud", no_audience, "aud", "aud"},
    {"another aud", other_audience, "aud", "aud"},
    {"no scope", no_scope, "scope", "scope"},
    {"another scope", other_scope, "scope", "scope"},
    {"no exp", no_expiry, "exp", NULL},
    {"exp a little ago", expired_within_leeway, NULL, NULL},
    {"exp", expired, "exp", "exp"},
    {"exp in 1970", expired_long_ago, "exp", "exp"},
    {"nbf soon", soon_valid, NULL, NULL},
    {"nbf", not_yet_valid, "nbf", "nbf"},
    {"iat soon", issued_soon, NULL, NULL},
    {"iat", issued_in_the_future, "iat", "iat"},
    {"no iat", never_issued, NULL, NULL},
    {"for nobody", nobodys, "whom", "whom"},
    {"verified", verified, NULL, NULL},
    {"unverified", unverified, "email_verified", "email_verified"},
    {"cnf", bound, "cnf", "cnf"},
    {"ID token", identity, "ID token", "ID token"},
    {"Bearer", bearer, NULL, NULL},
    {"DPoP", dpop, "token_type", "token_type"},
    {"not active", not_active, NULL, "active"},
    {"active not said", not_said_active, NULL, "active"},
};

static void check(const char *title, const char *got, const char *want)
{
    if ((got == NULL) != (want == NULL) || (want != NULL && strstr(got, want) == NULL))
        fail_msg("%s: %s", title, got == NULL ? "good" : got);
}

static void what_claims_say(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct token_claims c = good();
        rows[i].change(&c);
        check(rows[i].title, token_judge(&rules, &c, true, NOW), rows[i].jwt);
        check(rows[i].title, token_judge(&rules, &c, false, NOW), rows[i].answer);
    }
}

static void what_is_not_asked_for(void **state)
{
    UNUSED(state);
    struct token_claims c = good();
    struct token_rules r = {.issuer = rules.issuer, .claim = STR("username")};
    c.n_audiences = c.n_scopes = 0;
    c.email_verified = TOKEN_FALSE; /* of another claim */
    assert_null(token_judge(&r, &c, true, NOW));
    assert_null(token_judge(&r, &c, false, NOW));
}

static void headers(void **state)
{
    UNUSED(state);
    static const struct {
        const char *type;
        bool ok;
    } types[] = {{"", true},          {"JWT", true},         {"jwt", true},
                 {"at+jwt", true},    {"AT+JWT", true},      {"application/at+jwt", true},
                 {"dpop+jwt", false}, {"logout+jwt", false}, {"secevent+jwt", false},
                 {"at+jwt ", false},  {"JWE", false}};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct token_header h = {.alg = STR("RS256"), .type = str_from_c(types[i].type)};
        assert_int_equal(token_judge_header(&h) == NULL, types[i].ok);
        h.has_critical = true;
        assert_non_null(token_judge_header(&h));
    }
}

static void how_long_it_holds(void **state)
{
    UNUSED(state);
    static const struct {
        int64_t left_s;
        uint32_t most, want;
    } lives[] = {{300, 60, 60}, {60, 60, 60}, {59, 60, 59},           {1, 60, 1},
                 {0, 60, 0},    {-30, 60, 0}, {INT64_MAX / 2, 60, 60}};
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        struct token_claims c = {.expires = {true, NOW + lives[i].left_s}};
        assert_int_equal(token_life_s(&c, NOW, lives[i].most), lives[i].want);
    }
    struct token_claims c = {.expires = {false, 0}};
    assert_int_equal(token_life_s(&c, NOW, 60), 60);
}

static void names_of_claims_and_scopes(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        bool is_claim, is_scope;
    } texts[] = {{"email", true, true},
                 {"https://example.org/mail", true, true},
                 {"", false, false},
                 {"a b", false, false},
                 {"a\"b", true, false},
                 {"a\\b", true, false},
                 {"a\nb", false, false},
                 {"gr\xc3\xbc\xc3\x9f"
                  "e",
                  false, false},
                 {"a\x7f", false, false}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(token_claim_is_valid(str_from_c(texts[i].text)), texts[i].is_claim);
        assert_int_equal(token_scope_is_valid(str_from_c(texts[i].text)), texts[i].is_scope);
    }
    char name[TOKEN_CLAIM_MAX + 1];
    memset(name, 'a', sizeof name);
    assert_true(token_claim_is_valid(str_of(name, TOKEN_CLAIM_MAX)));
    assert_false(token_claim_is_valid(str_of(name, TOKEN_CLAIM_MAX + 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_claims_say),
        cmocka_unit_test(what_is_not_asked_for),
        cmocka_unit_test(headers),
        cmocka_unit_test(how_long_it_holds),
        cmocka_unit_test(names_of_claims_and_scopes),
    };
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
