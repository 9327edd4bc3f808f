/* oauth: access tokens of an identity provider. */
#include "config/testing.h"

#include "base/limits.h"

/* clang-format off */
#define DOMAIN "domain \"a.example\" { users = any, deliver = lmtp \"h\" }\n"
#define OAUTH(keys) TEST_HEAD DOMAIN "oauth { " keys " }"
#define ISSUER "issuer = \"https://id.example.org\", "
#define JWKS ISSUER "jwks = \"https://id.example.org/keys\", audience = \"waxwing\""
#define INTROSPECTION ISSUER "introspection = \"https://id.example.org/introspect\""
#define CLIENT ", client = \"waxwing\", secret = secret \"hub.pass\""

static const struct bad_row bad[] = {
    {OAUTH(""), "waxwing.lua:4: oauth takes introspection = \"URL\" (the provider is asked about each token) or jwks = "
     "\"URL\" (his keys prove it): one of them\n"},
    {OAUTH(JWKS ", introspection = \"https://id.example.org/introspect\""),
     "waxwing.lua:4: oauth takes introspection = \"URL\" (the provider is asked about each token) or jwks = "
     "\"URL\" (his keys prove it): one of them\n"},
    {OAUTH("jwks = \"https://id.example.org/keys\", audience = \"a\""),
     "waxwing.lua:4: oauth needs issuer = \"URL\": whose tokens log in\n"},
    {OAUTH(ISSUER "jwks = \"https://id.example.org/keys\""),
     "waxwing.lua:4: oauth needs audience = \"NAME\": a token that was made for another service would log in here, too\n"},
    {OAUTH(JWKS CLIENT),
     "waxwing.lua:4: oauth has client and secret, which go with introspection: public keys are there for everybody\n"},
    {OAUTH(INTROSPECTION),
     "waxwing.lua:4: oauth needs client = \"NAME\" and secret = secret \"FILE\": as whom introspection is asked\n"},
    {OAUTH(INTROSPECTION ", client = \"waxwing\", secret = \"s3cret\""),
     "waxwing.lua:4: 'secret' in oauth must be secret \"FILE\": a configuration is no place for a password\n"},
    {OAUTH("issuer = \"http://id.example.org\", jwks = \"https://id.example.org/keys\", audience = \"a\""),
     "waxwing.lua:4: issuer: \"http://id.example.org\" must be an address of the web that begins with https://\n"},
    {OAUTH("issuer = \"https://id.example.org/?a\", jwks = \"https://id.example.org/keys\", audience = \"a\""),
     "waxwing.lua:4: issuer: \"https://id.example.org/?a\" must have none of '?', '#', '\"' and '\\' in it\n"},
    {OAUTH(ISSUER "jwks = \"https://192.0.2.1/keys\", audience = \"a\""),
     "waxwing.lua:4: jwks: \"https://192.0.2.1/keys\" must have the name of a host: its certificate is for that\n"},
    {OAUTH(ISSUER "jwks = \"https://[2001:db8::1]/keys\", audience = \"a\""),
     "waxwing.lua:4: jwks: \"https://[2001:db8::1]/keys\" must have the name of a host: its certificate is for that\n"},
    {OAUTH(ISSUER "jwks = \"https://joe@id.example.org/keys\", audience = \"a\""),
     "waxwing.lua:4: jwks: \"https://joe@id.example.org/keys\" must have neither a user nor a '#' in it\n"},
    {OAUTH(ISSUER "jwks = \"https://id.example.org:0/keys\", audience = \"a\""),
     "waxwing.lua:4: jwks: \"https://id.example.org:0/keys\" has no port behind the ':'\n"},
    {OAUTH(ISSUER "jwks = \"https://id.example.org:65536/keys\", audience = \"a\""),
     "waxwing.lua:4: jwks: \"https://id.example.org:65536/keys\" has no port behind the ':'\n"},
    {OAUTH(ISSUER "jwks = \"https://ID.example.org/keys\", audience = \"a\""),
     "waxwing.lua:4: jwks: \"https://ID.example.org/keys\" must have the name of its host in lower case\n"},
    {OAUTH(ISSUER "introspection = \"id.example.org\"" CLIENT),
     "waxwing.lua:4: introspection: \"id.example.org\" must be an address of the web that begins with https://\n"},
    {OAUTH(JWKS ", scope = \"mail openid\""),
     "waxwing.lua:4: scope: \"mail openid\" is no scope: one word, without quotes and backslashes\n"},
    {OAUTH(JWKS ", claim = \"e mail\""),
     "waxwing.lua:4: claim: \"e mail\" is no name of a claim: one word in ASCII, of at most 64 octets\n"},
    {OAUTH(JWKS ", issuers = \"a\""), "waxwing.lua:4: unknown key 'issuers' in oauth: did you mean 'issuer'?\n"},
    {OAUTH(JWKS ", domains = \"a.example\""),
     "waxwing.lua:4: 'domains' in oauth must be a list: { \"NAME\", ... } and not text\n"},
    {OAUTH(JWKS ", domains = {}"),
     "waxwing.lua:4: 'domains' in oauth has 1 to 10000 names; without the key all domains are meant\n"},
    {OAUTH(JWKS ", domains = { \"a.example\", \"b.example\" }"),
     "waxwing.lua:4: oauth: domains: \"b.example\" (2) is no domain whose users are here: name one that has users of its own\n"},
    {OAUTH(JWKS ", domains = { \"relayed.example\" }") "domain \"relayed.example\" { relay = \"mx\", recipients = any }",
     "waxwing.lua:4: oauth: domains: \"relayed.example\" (1) is no domain whose users are here: name one that has users of "
     "its own\n"},
    {OAUTH(JWKS ", domains = { \"b.example\" }") "domain \"b.example\" { same_as = \"a.example\" }",
     "waxwing.lua:4: oauth: domains: \"b.example\" (1) is no domain whose users are here: name one that has users of its own\n"},
    {TEST_HEAD "domain \"r.example\" { relay = \"mx\", recipients = any }\noauth { " JWKS " }",
     "waxwing.lua:4: oauth: there is no domain with users who could log in: domain \"NAME\" { users = ... }\n"},
    {OAUTH(JWKS) "\noauth { " JWKS " }", "waxwing.lua:5: 'oauth' is given twice (the first is in waxwing.lua, line 4)\n"},
};
/* clang-format on */

static void what_is_refused(void **state)
{
    UNUSED(state);
    check_rows_in(bad, ARRAY_LEN(bad), false);
}

#define HOUSE                                                                                                \
    TEST_HEAD "tls { cert = \"c\", key = \"k\" }\n"                                                          \
              "listen { address = \"::1\", port = 465, submission = true }\n"                                \
              "domain \"a.example\" { users = { \"joe\" }, deliver = lmtp \"h\" }\n"                         \
              "domain \"b.example\" { users = passwd \"org.users\", deliver = lmtp \"h\" }\n"                \
              "domain \"c.example\" { same_as = \"a.example\" }\n"                                           \
              "domain \"r.example\" { relay = \"mx\", recipients = any }\n"                                  \
              "domain \"*\" { users = any, deliver = lmtp \"h\" }\n"

static bool has_tokens(const struct config *c, const char *domain)
{
    const struct local_domain *d = policy_domain(&c->policy, str_from_c(domain));
    assert_non_null(d);
    return d->tokens;
}

static void check_jwks(const struct config *c)
{
    assert_non_null(c);
    assert_int_equal(c->oauth.by, OAUTH_JWKS);
    assert_str(c->oauth.issuer, "https://id.example.org");
    assert_str(c->oauth.url, "https://id.example.org/keys");
    assert_str(c->oauth.host, "id.example.org");
    assert_int_equal(c->oauth.port, 0);
    assert_str(c->oauth.discovery, "https://id.example.org/.well-known/openid-configuration");
    assert_str(c->oauth.audience, "waxwing");
    assert_str(c->oauth.claim, "email");
    assert_true(c->oauth.scope.n == 0 && c->oauth.client.n == 0 && c->oauth.secret.n == 0);
    assert_true(has_tokens(c, "a.example") && has_tokens(c, "b.example") && has_tokens(c, "c.example"));
    assert_false(has_tokens(c, "r.example") || has_tokens(c, "other.example"));
    assert_int_equal(policy_domain(&c->policy, STR("b.example"))->passwords, 1); /* beside the tokens */
    assert_int_equal(c->listeners[0].auth, LISTEN_MUST_AUTH);
}

static void check_introspection(const struct config *c)
{
    assert_non_null(c);
    assert_int_equal(c->oauth.by, OAUTH_INTROSPECTION);
    assert_str(c->oauth.issuer, "https://id.example.org/realms/a%3Fb/");
    assert_str(c->oauth.url, "https://id.example.org:8443?x");
    assert_str(c->oauth.host, "id.example.org");
    assert_int_equal(c->oauth.port, 8443);
    assert_str(c->oauth.discovery, "https://id.example.org/realms/a%3Fb/.well-known/openid-configuration");
    assert_str(c->oauth.client, "wax wing");
    assert_str(c->oauth.secret, "/etc/waxwing/hub.pass");
    assert_str(c->oauth.scope, "mail");
    assert_str(c->oauth.claim, "username");
    assert_true(c->oauth.audience.n == 0);
    assert_true(has_tokens(c, "b.example"));
    assert_false(has_tokens(c, "a.example") || has_tokens(c, "c.example"));
}

static bool survives(struct fixture *f, const struct config *c, void (*look)(const struct config *c))
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_true(config_encode(c, &bytes));
    const struct config *out = config_decode(buf_str(&bytes), &f->arena);
    bool is_good = out != NULL;
    if (is_good && look != NULL)
        look(out); /* its texts are in the octets */
    buf_fini(&bytes);
    return is_good;
}

static const struct config *load(struct fixture *f, const char *text)
{
    fixture_init(f, false);
    const struct config *c = fixture_load(f, str_from_c(text));
    if (c == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&f->report.errors)));
    return c;
}

static void what_is_taken(void **state)
{
    UNUSED(state);
    struct fixture f;
    const struct config *c = load(&f, HOUSE "oauth { " JWKS " }");
    check_jwks(c);
    assert_true(survives(&f, c, check_jwks));
    fixture_fini(&f);
    c = load(
        &f, HOUSE
        "oauth { issuer = \"https://id.example.org/realms/a%3Fb/\", claim = \"username\", scope = \"mail\",\n"
        "introspection = \"https://id.example.org:8443?x\", client = \"wax wing\",\n"
        "secret = secret \"hub.pass\", domains = { \"B.example\" } }");
    check_introspection(c);
    assert_true(survives(&f, c, check_introspection));
    fixture_fini(&f);
    c = load(&f, HOUSE);
    assert_int_equal(c->oauth.by, OAUTH_NONE);
    assert_false(has_tokens(c, "a.example") || has_tokens(c, "b.example"));
    fixture_fini(&f);
}

/* What a loader that was taken over may say. */
static void what_is_not_decoded(void **state)
{
    UNUSED(state);
    struct fixture f;
    const struct config *from = load(&f, HOUSE "oauth { " JWKS " }");
    struct config c = *from;
    static const char *const issuers[] = {"", "http://id.example.org", "https://", "https://a/?",
                                          "https://a\n"};
    for (size_t i = 0; i < ARRAY_LEN(issuers); i++) {
        c.oauth.issuer = str_from_c(issuers[i]);
        assert_false(survives(&f, &c, NULL));
    }
    c.oauth = from->oauth;
    static const char *const urls[] = {
        "", "http://id.example.org/", "https://u@h/", "https://h:x/", "https://h\r\n/", "https://-/"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        c.oauth.url = str_from_c(urls[i]);
        assert_false(survives(&f, &c, NULL));
    }
    c.oauth = from->oauth;
    c.oauth.by = (enum oauth_by)(OAUTH_JWKS + 1);
    assert_false(survives(&f, &c, NULL));
    c.oauth.by = OAUTH_INTROSPECTION; /* without a client */
    assert_false(survives(&f, &c, NULL));
    c.oauth.client = STR("x");
    c.oauth.secret = STR("hub.pass");
    assert_false(survives(&f, &c, NULL));
    c.oauth.secret = STR("/hub.pass");
    assert_true(survives(&f, &c, NULL));
    c.oauth = from->oauth;
    c.oauth.audience = STR_NIL;
    assert_false(survives(&f, &c, NULL));
    c.oauth.audience = STR("a\nb");
    assert_false(survives(&f, &c, NULL));
    c.oauth = from->oauth;
    c.oauth.claim = STR_NIL;
    assert_false(survives(&f, &c, NULL));
    c.oauth = from->oauth;
    c.oauth.scope = STR("a b");
    assert_false(survives(&f, &c, NULL));
    c.oauth = (struct oauth_conf){.by = OAUTH_NONE}; /* domains still say that there is one */
    assert_false(survives(&f, &c, NULL));
    fixture_fini(&f);
}

/* The issuer has to show a certificate of somebody's. */
static void without_authorities(void **state)
{
    UNUSED(state);
    bool has_none = true;
    for (int has_oauth = 0; has_oauth < 2; has_oauth++) {
        struct fixture f;
        fixture_init(&f, false);
        f.env.arg = &has_none;
        assert_non_null(fixture_load(&f, has_oauth ? STR(HOUSE "oauth { " JWKS " }") : STR(HOUSE)));
        assert_int_equal(str_find(buf_str(&f.report.warnings),
                                  STR("(package ca-certificates): no server can be verified")) != STR_NPOS,
                         has_oauth);
        fixture_fini(&f);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_refused), cmocka_unit_test(what_is_taken),
        cmocka_unit_test(what_is_not_decoded), cmocka_unit_test(without_authorities)};
    return cmocka_run_group_tests_name("config_oauth", tests, NULL, NULL);
}
