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
     "waxwing.lua:6: auth: no domain has users with passwords: users = passwd \"FILE\", or auth = ..., or oauth { ... }\n"},
    {TEST_HEAD "tls { cert = \"c\" }\n"
     "tls { key = \"k\", legacy = 3 }\n"
     "tls { cert = \"c\", key = \"k\", client_ca = \"nosuch.pem\", ca = \"x\" }\n"
     "tls \"c\"",
     "waxwing.lua:3: tls needs both: cert = \"FILE\", key = \"FILE\"; or acme = \"ADDRESS\", to get them from an authority\n"
     "waxwing.lua:4: 'legacy' in tls must be true or false and not a number\n"
     "waxwing.lua:5: unknown key 'ca' in tls (it takes cert, key, acme, names, acme_directory, acme_folder, acme_challenge, acme_address, legacy, tickets, client_ca)\n"
     "waxwing.lua:6: 'tls' is written tls { ... }\n"},
    {TEST_HEAD "tls { acme = \"admin\" }\n"
     "tls { acme = \"-d@example.org\" }\n"
     "tls { acme = \"a@example.org\", cert = \"c\", key = \"k\" }\n"
     "tls { cert = \"c\", key = \"k\", names = { \"a.example\" } }\n"
     "tls { acme = \"b@example.org\" }",
     "waxwing.lua:3: acme: \"admin\" must be a full address, such as \"admin@example.org\"\n"
     "waxwing.lua:4: acme: \"-d@example.org\" begins with a hyphen, which programs take for an option\n"
     "waxwing.lua:5: tls takes cert and key, or acme, and not all of them\n"
     "waxwing.lua:6: names goes with acme: other certificates say themselves whom they are for\n"
     "waxwing.lua:7: 'acme' in tls is given twice and differs: it is for all certificates\n"},
    {TEST_HEAD "tls { acme = \"a@example.org\", names = \"a.example\" }\n"
     "tls { acme = \"a@example.org\", names = {} }\n"
     "tls { acme = \"a@example.org\", names = { \"*.a.example\", \"a\", 3, \"a..b\" } }\n"
     "tls { acme = \"a@example.org\", acme_directory = \"http://a.example\" }\n"
     "tls { acme = \"a@example.org\", acme_directory = \"https://a.example/ x\" }\n"
     "tls { acme = \"a@example.org\", acme_address = \"a.example:80\" }\n"
     "tls { acme = \"a@example.org\", names = { \"a.example\" } }\n"
     "tls { acme = \"a@example.org\", names = { \"a.example\", \"b.example\" } }\n",
     "waxwing.lua:3: 'names' in tls must be a list: { \"NAME\", ... } and not text\n"
     "waxwing.lua:4: 'names' in tls has 1 to 100 names\n"
     "waxwing.lua:5: names: \"*.a.example\" can't be had this way: name the hosts\n"
     "waxwing.lua:5: names: \"a\" must be a full name with a dot in it, such as \"mail.example.org\"\n"
     "waxwing.lua:5: 'names' in tls must be text in quotes and not a number\n"
     "waxwing.lua:5: names: \"a..b\" is no domain name\n"
     "waxwing.lua:6: acme_directory: \"http://a.example\" must be an address of the web that begins with https://\n"
     "waxwing.lua:7: acme_directory: \"https://a.example/ x\" must be written in ASCII, without spaces\n"
     "waxwing.lua:8: acme_address: \"a.example:80\" must be an IP address, such as \"192.0.2.1\" or \"127.0.0.1:8080\"\n"
     "waxwing.lua:10: two certificates are for \"a.example\" first\n"},
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
