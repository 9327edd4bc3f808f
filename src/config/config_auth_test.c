/* Domains whose passwords others look at: auth = ... */
#include "config/testing.h"

#include "base/limits.h"

/* clang-format off */
#define AUTH(value) TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\", auth = " value " }"
static const struct bad_row bad[] = {
    {AUTH("\"dovecot\""),
     "waxwing.lua:3: 'auth' in domain must be dovecot \"unix:/PATH\", pam \"SERVICE\", ldap { ... } or sql { ... }\n"},
    {AUTH("passwd \"org.users\""),
     "waxwing.lua:3: 'auth' in domain must be dovecot \"unix:/PATH\", pam \"SERVICE\", ldap { ... } or sql { ... }\n"},
    {AUTH("dovecot \"127.0.0.1:12345\""),
     "waxwing.lua:3: dovecot: \"127.0.0.1:12345\" is no socket of this machine, and elsewhere passwords would go there "
     "in the clear: \"unix:/run/dovecot/auth-client\"\n"},
    {AUTH("dovecot \"mail.example.org\""),
     "waxwing.lua:3: dovecot: \"mail.example.org\" is no socket of this machine, and elsewhere passwords would go there "
     "in the clear: \"unix:/run/dovecot/auth-client\"\n"},
    {AUTH("pam \"../shadow\""),
     "waxwing.lua:3: pam: \"../shadow\" is no name of a service: letters, digits, '-', '_' and '.'\n"},
    {AUTH("pam \"a/b\""), "waxwing.lua:3: pam: \"a/b\" is no name of a service: letters, digits, '-', '_' and '.'\n"},
    {AUTH("pam \".\""), "waxwing.lua:3: pam: \".\" is no name of a service: letters, digits, '-', '_' and '.'\n"},
    {AUTH("pam(3)"), "waxwing.lua:3: 'pam' must be text in quotes and not a number\n"},
    {TEST_HEAD "domain \"a.example\" { relay = \"mx\", recipients = any, auth = pam \"waxwing\" }",
     "waxwing.lua:3: domain \"a.example\" has relay: users, deliver, auth, catchall and forward have no meaning, its mail "
     "does not end here\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\" }\n"
     "domain \"b.example\" { same_as = \"a.example\", auth = pam \"waxwing\" }",
     "waxwing.lua:4: domain \"b.example\" is same_as another one: no other key may stand beside it\n"},
    {TEST_HEAD "domain \"*\" { users = any, deliver = lmtp \"h\", auth = pam \"waxwing\" }",
     "waxwing.lua:3: domain \"*\" has auth, and no name that somebody could log in with\n"},
};
/* clang-format on */

static void what_is_refused(void **state)
{
    UNUSED(state);
    check_rows_in(bad, ARRAY_LEN(bad), false);
}

static const char good[] =
    TEST_HEAD "tls { cert = \"c\", key = \"k\" }\n"
              "listen { address = \"::1\", port = 465, submission = true }\n"
              "domain \"a.example\" { users = passwd \"org.users\", deliver = lmtp \"h\",\n"
              "  auth = dovecot \"unix:/run/dovecot/auth-client\" }\n"
              "domain \"b.example\" { users = { \"joe\" }, deliver = lmtp \"h\", auth = pam \"waxwing\" }\n"
              "domain \"c.example\" { users = any, deliver = lmtp \"h\",\n"
              "  auth = dovecot \"unix:/run/dovecot/auth-client\" }\n"
              "domain \"d.example\" { same_as = \"b.example\" }\n"
              "domain \"e.example\" { users = { \"joe\" }, deliver = lmtp \"h\" }\n"
              "domain \"f.example\" { users = any, deliver = lmtp \"h\", auth = pam \"other\" }\n";

static void check_good(const struct config *c)
{
    static const struct {
        const char *domain;
        uint32_t auth;
    } rows[] = {{"a.example", 1}, {"b.example", 2}, {"c.example", 1},
                {"d.example", 2}, {"e.example", 0}, {"f.example", 3}};
    assert_non_null(c);
    assert_int_equal(c->n_auths, 3);
    assert_int_equal(c->auths[0].kind, AUTH_BY_DOVECOT);
    assert_int_equal(c->auths[0].at.kind, NETADDR_UNIX);
    assert_string_equal(c->auths[0].at.path, "/run/dovecot/auth-client");
    assert_int_equal(c->auths[1].kind, AUTH_BY_PAM);
    assert_true(str_eq(c->auths[1].service, STR("waxwing")));
    assert_true(str_eq(c->auths[2].service, STR("other")));
    assert_int_equal(c->n_password_files, 0); /* nobody is verified by the file */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct local_domain *d = policy_domain(&c->policy, str_from_c(rows[i].domain));
        assert_int_equal(d->auth, rows[i].auth);
        assert_int_equal(d->passwords, 0);
    }
    assert_int_equal(c->listeners[0].auth, LISTEN_MUST_AUTH); /* somebody can log in */
}

static void what_is_taken(void **state)
{
    UNUSED(state);
    struct fixture f;
    struct buf bytes;
    fixture_init(&f, false);
    const struct config *c = fixture_load(&f, str_from_c(good));
    if (c == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&f.report.errors)));
    check_good(c);
    buf_init(&bytes, 1 << 20);
    assert_true(config_encode(c, &bytes));
    check_good(config_decode(buf_str(&bytes), &f.arena));
    buf_fini(&bytes);
    fixture_fini(&f);
}

/* What a loader that was taken over may say. */
static bool survives(struct fixture *f, const struct config *c)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    assert_true(config_encode(c, &bytes));
    bool ok = config_decode(buf_str(&bytes), &f->arena) != NULL;
    buf_fini(&bytes);
    return ok;
}

static void what_is_not_decoded(void **state)
{
    UNUSED(state);
    struct fixture f;
    fixture_init(&f, false);
    const struct config *from = fixture_load(&f, str_from_c(good));
    assert_non_null(from);
    struct config c = *from;
    struct auth_backend auths[CONFIG_AUTHS_MAX + 1];
    struct local_domain domains[8];
    assert_int_equal(from->policy.n_domains, 6);
    memcpy(domains, from->policy.domains, 6 * sizeof *domains);
    memcpy(auths, from->auths, 3 * sizeof *auths);
    c.auths = auths;
    c.policy.domains = domains;
    assert_true(survives(&f, &c));
    auths[1].service = STR("../shadow");
    assert_false(survives(&f, &c));
    auths[1] = from->auths[1];
    assert_true(netaddr_parse(STR("192.0.2.1:24"), 0, &auths[0].at));
    assert_false(survives(&f, &c));
    auths[0] = from->auths[0];
    auths[1].kind = (enum auth_by)(AUTH_BY_PAM + 1);
    assert_false(survives(&f, &c));
    auths[1] = from->auths[1];
    domains[0].auth = 4; /* there is none */
    assert_false(survives(&f, &c));
    domains[0].auth = 1;
    for (size_t i = 3; i < ARRAY_LEN(auths); i++)
        auths[i] = auths[1];
    c.n_auths = CONFIG_AUTHS_MAX;
    assert_true(survives(&f, &c));
    c.n_auths++;
    assert_false(survives(&f, &c));
    c.n_auths = 3;
    const struct str file = STR("/etc/waxwing/org.users");
    c.password_files = &file;
    c.n_password_files = 1;
    assert_true(survives(&f, &c));
    domains[0].passwords = 1; /* two who say who he is */
    assert_false(survives(&f, &c));
    fixture_fini(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_refused),
                                              cmocka_unit_test(what_is_taken),
                                              cmocka_unit_test(what_is_not_decoded)};
    return cmocka_run_group_tests_name("config_auth", tests, NULL, NULL);
}
