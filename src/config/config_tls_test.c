/* What tls, senders and the keys tls and auth of listen refuse. */
#include "config/testing.h"

/* clang-format off */
static const struct bad_row rows[] = {
    {TEST_HEAD "listen { port = 465, auth = \"must\" }\n"
     "listen { port = 26, tls = \"implicit\" }",
     "waxwing.lua:3: auth: passwords go over TLS only, and there is no certificate: give tls { cert = ..., key = ... }\n"
     "waxwing.lua:4: tls: there is no certificate: give tls { cert = ..., key = ... }\n"},
    {TEST_HEAD "tls { cert = \"c\", key = \"k\" }\n"
     "listen { address = \"::1\", auth = \"may\" }\n"
     "listen { address = \"::1\", port = 587, auth = \"may\", tls = \"off\" }\n"
     "listen { address = \"::1\", port = 465, auth = \"must\" }",
     "waxwing.lua:4: auth: nobody logs in at port 25, which is for servers: use 465 or 587\n"
     "waxwing.lua:5: auth: passwords go over TLS only, and tls is off here\n"
     "waxwing.lua:6: auth: no domain has users with passwords: users = passwd \"FILE\"\n"},
    {TEST_HEAD "tls { cert = \"c\" }\n"
     "tls { key = \"k\", legacy = 3 }\n"
     "tls { cert = \"c\", key = \"k\", client_ca = \"nosuch.pem\", ca = \"x\" }\n"
     "tls \"c\"",
     "waxwing.lua:3: tls needs both: cert = \"FILE\", key = \"FILE\"\n"
     "waxwing.lua:4: 'legacy' in tls must be true or false and not a number\n"
     "waxwing.lua:5: unknown key 'ca' in tls (it takes cert, key, legacy, tickets, client_ca)\n"
     "waxwing.lua:6: 'tls' is written tls { ... }\n"},
    {TEST_HEAD "senders { joe = \"*\" }\n"
     "senders { [\"joe@a.example\"] = \"*\" }",
     "waxwing.lua:3: senders: \"joe\" must be a full address, such as \"admin@example.org\"\n"
     "waxwing.lua:4: 'senders' is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "senders { [\"joe@a.example\"] = { \"@\", 3 }, [\"Joe@a.example\"] = \"*\" }",
     "waxwing.lua:3: senders: \"@\" is no pattern: \"*\", \"example.org\", \"*.example.org\", \"*@example.org\" or \"joe@example.org\"\n"
     "waxwing.lua:3: 'senders' must be text in quotes and not a number\n"
     "waxwing.lua:3: senders names \"joe@a.example\" twice\n"},
    {TEST_HEAD "senders { \"joe@a.example\" }",
     "waxwing.lua:3: senders is written senders { [\"LOGIN\"] = { \"PATTERN\", ... }, ... }\n"},
};
/* clang-format on */

static void test_rows(void **state)
{
    UNUSED(state);
    check_rows_in(rows, ARRAY_LEN(rows), false);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests_name("config_tls", tests, NULL, NULL);
}
