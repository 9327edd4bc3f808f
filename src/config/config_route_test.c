#include "config/testing.h"

/* What is wrong with a route's TLS, login or file of its password: all that is said about it, word by word.
 * What is right is in config_test.c. */
static const struct {
    const char *lua, *errors;
} rows[] = {
    /* clang-format off */
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\", password = \"geheim\" }",
     "waxwing.lua:3: 'password' in route must be secret \"FILE\": a configuration is no place for a password\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\", password = file \"hub.pass\" }",
     "waxwing.lua:3: 'password' in route must be secret \"FILE\": a configuration is no place for a password\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\", password = secret \"open.pass\" }",
     "waxwing.lua:3: every user of this machine may read the file /etc/waxwing/open.pass, which holds a secret: chmod "
     "o-rwx it\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\", password = secret \"empty.pass\" }",
     "waxwing.lua:3: can't use the file /etc/waxwing/empty.pass: it is empty, or larger than a password may be (4K)\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\", password = secret \"none.pass\" }",
     "waxwing.lua:3: can't use the file /etc/waxwing/none.pass: not found\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\" }",
     "waxwing.lua:3: route has a user and neither a password nor a certificate to log in with: password = secret "
     "\"FILE\", or cert and key\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\", cert = \"us.pem\" }\n"
     "route { to = \"*\", via = \"smtp://me@hub.example\", cert = \"us.pem\", key = \"us.key\", tls = \"may\" }\n"
     "route { to = \"*\", via = \"smtp://me@127.0.0.1\", cert = \"us.pem\", key = \"us.key\" }\n"
     "route { to = \"*\", user = \"me\", cert = \"us.pem\", key = \"us.key\", tls = \"verify\" }",
     "waxwing.lua:3: route needs both of a certificate: cert = \"FILE\", key = \"FILE\"\n"
     "waxwing.lua:4: route logs in by its certificate, and the way there may be without TLS: tls is \"verify\" or "
     "\"encrypt\"\n"
     "waxwing.lua:5: route logs in by its certificate, and the way there may be without TLS: tls is \"verify\" or "
     "\"encrypt\"\n"
     "waxwing.lua:6: route has a login and no host to log in to: via\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://hub.example\", password = secret \"hub.pass\" }",
     "waxwing.lua:3: route has a password and no user\n"},
    {TEST_HEAD "route { to = \"*\", user = \"me\", password = secret \"hub.pass\", tls = \"verify\" }",
     "waxwing.lua:3: route has a login and no host to log in to: via\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtps://me@hub.example\", user = \"you\", password = secret \"hub.pass\" }",
     "waxwing.lua:3: user: \"you\" is the second one: via names a user too\n"},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://me@hub.example\", password = secret \"hub.pass\", tls = \"may\" }\n"
     "route { to = \"*\", via = \"smtp://me@192.0.2.1\", password = secret \"hub.pass\", tls = \"none\" }\n"
     "route { to = \"*\", via = \"smtp://me@192.0.2.1\", password = secret \"hub.pass\" }\n"
     "route { to = \"*\", via = \"smtps://hub.example\", tls = \"may\" }\n"
     "route { to = \"*\", via = \"smtp:///run/x\", tls = \"encrypt\" }\n"
     "route { to = \"*\", via = \"smtp://hub.example\", tls = \"must\" }\n"
     "route { to = \"*\", via = \"smtps://hub.example\", tls = \"any\" }\n"
     "route { to = \"*\", via = \"smtp://me@hub.example\", password = secret \"hub.pass\", tls = \"any\" }\n"
     "route { to = \"*\", via = \"smtp://192.0.2.1\", tls = \"dane\" }\n"
     "route { to = \"*\", via = \"smtp:///run/x\", tls = \"dane\" }",
     "waxwing.lua:3: route would let the password go in the clear: with a login tls is \"verify\" (without saying it) or "
     "\"encrypt\"\n"
     "waxwing.lua:4: route would let the password go in the clear: with a login tls is \"verify\" (without saying it) or "
     "\"encrypt\"\n"
     "waxwing.lua:5: route names the host by its address, and certificates are for names: give the name, or tls = "
     "\"encrypt\"\n"
     "waxwing.lua:6: route has no use for this tls: on smtps:// it is \"encrypt\", \"verify\" or \"dane\"\n"
     "waxwing.lua:7: route asks for TLS on a unix socket, where there is none\n"
     "waxwing.lua:8: tls: \"must\" is none of \"none\", \"any\", \"may\", \"encrypt\", \"verify\" and \"dane\"\n"
     "waxwing.lua:9: route has no use for this tls: on smtps:// it is \"encrypt\", \"verify\" or \"dane\"\n"
     "waxwing.lua:10: route would let the password go in the clear: with a login tls is \"verify\" (without saying it) or "
     "\"encrypt\"\n"
     "waxwing.lua:11: route names the host by its address, and TLSA records are for names: give the name, or another "
     "tls\n"
     "waxwing.lua:12: route asks for TLS on a unix socket, where there is none\n"},
    {TEST_HEAD "route { to = \"*\", cert = \"us.pem\" }\n"
     "route { to = \"*\", cert = \"us.pem\", key = \"us.key\", tls = \"none\" }\n"
     "route { to = \"*\", cert = \"us\\n.pem\", key = \"us.key\" }\n"
     "route { to = \"*\", via = \"smtp:///run/x\", cert = \"us.pem\", key = \"us.key\" }",
     "waxwing.lua:3: route needs both of a certificate: cert = \"FILE\", key = \"FILE\"\n"
     "waxwing.lua:4: route has a certificate and no TLS to show it in\n"
     "waxwing.lua:5: 'cert' in route holds a control character\n"
     "waxwing.lua:6: route has a certificate and no TLS to show it in\n"},
    {TEST_HEAD "route { to = \"a.example\", cert = \"us.pem\", key = \"us.key\" }\n"
     "route { to = \"b.example\", cert = \"/etc/waxwing/us.pem\", key = \"us.key\" }\n"
     "route { to = \"c.example\", cert = \"us.pem\", key = \"other.key\" }",
     "waxwing.lua:5: key: another route has another key for this certificate\n"},
    {TEST_HEAD "domain \"b.example\" { relay = \"smtps://me@hub.example\", recipients = any }",
     "waxwing.lua:3: relay: \"smtps://me@hub.example\" names a user: only a route has a login\n"},
    /* clang-format on */
};

static void test_bad_routes(void **state)
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

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_bad_routes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
