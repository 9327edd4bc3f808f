/* mta_sts_policy, https and acme_challenge: what they mean, what they refuse, and the way to a role. */
#include "config/testing.h"

#define MAIL "users = { \"joe\" }, deliver = lmtp \"h\""
#define TLS "tls { cert = \"c\", key = \"k\" }\n"
#define AT1 "listen { address = \"::1\" }\n"

/* clang-format off */
static const struct bad_row rows[] = {
    {TEST_HEAD "domain \"a.example\" { " MAIL ", mta_sts_policy = \"testing\" }",
     "waxwing.lua:3: mta_sts_policy: there is no certificate for mta-sts.a.example: give tls { cert = ..., key = ... } or "
     "tls { acme = ... }\n"},
    {TEST_HEAD TLS
     "domain \"a.example\" { " MAIL ", mta_sts_policy = \"on\" }\n"
     "domain \"b.example\" { " MAIL ", mta_sts_policy = true }\n",
     "waxwing.lua:4: 'mta_sts_policy' in domain must be one of none | testing | enforce, in quotes\n"
     "waxwing.lua:5: 'mta_sts_policy' in domain must be one of none | testing | enforce, in quotes\n"},
    {TEST_HEAD TLS "\n\n"
     "domain \"c.example\" { " MAIL ",\n"
     "  mta_sts_policy = { max_age = \"2000w\", mx = \"mx.example\", ma_age = 3 } }\n"
     "domain \"d.example\" { " MAIL ",\n"
     "  mta_sts_policy = { mode = \"enforce\", max_age = \"2000w\", mx = {} } }\n",
     "waxwing.lua:7: unknown key 'ma_age' in mta_sts_policy: did you mean 'max_age'?\n"
     "waxwing.lua:9: 'max_age' in mta_sts_policy must be a time from 0 to 8766h, such as \"1w\"\n"
     "waxwing.lua:9: 'mx' in mta_sts_policy has 1 to 32 names\n"},
    {TEST_HEAD TLS "\n\n\n\n\n\n"
     "domain \"e.example\" { " MAIL ",\n"
     "  mta_sts_policy = { mode = \"enforce\", mx = { \"*\", \"mx\", \"a_b.example\", \"*.*.example\", 3 } } }\n"
     "domain \"*\" { users = any, deliver = lmtp \"h\", mta_sts_policy = \"testing\" }",
     "waxwing.lua:11: mx: \"*\" is no domain name\n"
     "waxwing.lua:11: mx: \"mx\" must be a full name with a dot in it, such as \"mail.example.org\"\n"
     "waxwing.lua:11: mx: \"a_b.example\" can't stand in a policy: letters, digits and hyphens between dots\n"
     "waxwing.lua:11: mx: \"*.example\" is no domain name\n"
     "waxwing.lua:11: 'mx' in mta_sts_policy must be text in quotes and not a number\n"
     "waxwing.lua:12: 'mta_sts_policy' in domain is of a domain that is named: a policy lies at a host of its own\n"},
    {TEST_HEAD TLS
     "domain \"a.example\" { " MAIL ", mta_sts_policy = { max_age = 60 } }",
     "waxwing.lua:4: 'mode' in mta_sts_policy is missing: none, testing or enforce, in quotes\n"},
    {TEST_HEAD TLS
     "domain \"a.example\" { relay = \"mx\", recipients = any, mta_sts_policy = \"enforce\" }",
     "waxwing.lua:4: mta_sts_policy: this is a backup for domain \"a.example\": name all hosts of its MX records with mx = "
     "{ ... }\n"},
    {"hostname \"m_x.example\"\npostmaster \"joe@elsewhere.example\"\n" TLS
     "domain \"a.example\" { " MAIL ", mta_sts_policy = \"enforce\" }",
     "waxwing.lua:4: mta_sts_policy: the hostname can't stand in a policy: letters, digits and hyphens between dots\n"},
    /* where the name is wrong */
    {TEST_HEAD "mta_sts \"enforce\"\nmta_sts_policy \"enforce\"\nmta_sts = 3",
     "waxwing.lua:3: unknown word 'mta_sts': the policy that a domain publishes is a key of it, domain \"NAME\" { ..., "
     "mta_sts_policy = \"testing\" }; whether those of others are followed is outgoing { mta_sts = true }\n"
     "waxwing.lua:4: unknown word 'mta_sts_policy': the policy that a domain publishes is a key of it: domain \"NAME\" { ..., "
     "mta_sts_policy = \"testing\" }\n"
     "waxwing.lua:5: unknown word 'mta_sts': the policy that a domain publishes is a key of it, domain \"NAME\" { ..., "
     "mta_sts_policy = \"testing\" }; whether those of others are followed is outgoing { mta_sts = true }\n"},
    {TEST_HEAD "outgoing { mta_sts_policy = \"enforce\" }\n"
     "domain \"a.example\" { " MAIL ", mta_sts = \"enforce\" }",
     "waxwing.lua:3: unknown key 'mta_sts_policy' in outgoing: the policy that a domain publishes is a key of it: "
     "domain \"NAME\" { ..., mta_sts_policy = \"testing\" }\n"
     "waxwing.lua:4: unknown key 'mta_sts' in domain: the policy that this domain publishes is mta_sts_policy = "
     "\"testing\"; whether those of others are followed is outgoing { mta_sts = true }\n"},
    /* https */
    {TEST_HEAD "https { adress = \"::1\" }", "waxwing.lua:3: unknown key 'adress' in https: did you mean 'address'?\n"},
    {TEST_HEAD "https { address = {} }", "waxwing.lua:3: 'address' in https names no address\n"},
    {TEST_HEAD "https { address = { \"a.example\", 3, \"::1\" } }\nhttps { }",
     "waxwing.lua:3: address: \"a.example\" must be an IP address, such as \"192.0.2.1\" or \"127.0.0.1:8080\"\n"
     "waxwing.lua:3: 'address' in https must be text in quotes and not a number\n"
     "waxwing.lua:4: 'https' is given twice (the first is in waxwing.lua, line 3)\n"},
    {TEST_HEAD "https { address = { \"::1\", \"::2\", \"::3\", \"::4\", \"::5\", \"::6\", \"::7\", \"::8\", \"::9\", \"::a\" } }",
     "waxwing.lua:3: 'address' in https takes at most 8 addresses\n"},
    {TEST_HEAD TLS "listen { port = 443, address = \"192.0.2.1\" }\n"
     "domain \"a.example\" { " MAIL ", mta_sts_policy = \"testing\" }",
     "waxwing.lua:4: 0.0.0.0:443 is where https listens: move one of them, with https { address = ... }\n"},
    {TEST_HEAD TLS "https { address = { \"::1\", \"::1\" } }\n"
     "domain \"a.example\" { " MAIL ", mta_sts_policy = \"testing\" }",
     "waxwing.lua:4: 'address' in https names one address twice\n"},
    /* the authority */
    {TEST_HEAD "tls { acme = \"a@example.org\", acme_challenge = \"dns-01\" }",
     "waxwing.lua:3: 'acme_challenge' in tls must be one of http-01 | tls-alpn-01, in quotes\n"},
};

static const struct {
    const char *lua, *wanted, *warnings;
} good[] = {
    {TEST_HEAD AT1 TLS "https { address = \"192.0.2.1\" }", "", ""}, /* nobody wants it */
    {TEST_HEAD AT1 TLS "domain \"b.example\" { " MAIL ", mta_sts_policy = \"enforce\" }\n"
     "domain \"a.example\" { same_as = \"b.example\", mta_sts_policy = { mode = \"none\", max_age = \"1d\" } }\n",
     "a.example none 86400\nb.example enforce 604800 mail.example.org\nat 0.0.0.0:443\nat [::]:443\n", ""},
    {TEST_HEAD AT1 TLS "https { address = { \"192.0.2.1:8443\", \"2001:db8::1\" } }\n"
     "domain \"B\xc3\xbc.example\" { relay = \"mx\", recipients = any,\n"
     " mta_sts_policy = { mode = \"testing\", max_age = 0, mx = { \"MX.example\", \"*.b\xc3\xbc.example\" } } }",
     "xn--b-eha.example testing 0 mx.example *.xn--b-eha.example\nat 192.0.2.1:8443\nat [2001:db8::1]:443\n", ""},
    /* a certificate for each host that none is for */
    {TEST_HEAD AT1 "tls { acme = \"a@example.org\", names = { \"mail.example.org\", \"mta-sts.b.example\" }, acme_folder = \"/f\" }\n"
     "domain \"c.example\" { " MAIL ", mta_sts_policy = \"testing\" }\n"
     "domain \"b.example\" { " MAIL ", mta_sts_policy = \"testing\" }\n"
     "domain \"a.example\" { " MAIL ", mta_sts_policy = \"testing\" }\n"
     "domain \"d.example\" { " MAIL " }\n",
     "a.example testing 604800 mail.example.org\nb.example testing 604800 mail.example.org\n"
     "c.example testing 604800 mail.example.org\n"
     "at 0.0.0.0:443\nat [::]:443\n"
     "/f/mail.example.org.crt: mail.example.org mta-sts.b.example\n"
     "/f/mta-sts.c.example.crt: mta-sts.c.example\n/f/mta-sts.a.example.crt: mta-sts.a.example\nhttp-01\n", ""},
    {TEST_HEAD AT1 "tls { acme = \"a@example.org\", acme_challenge = \"tls-alpn-01\", acme_folder = \"/f\" }\n"
     "https { address = \"127.0.0.1\" }",
     "at 127.0.0.1:443\n/f/mail.example.org.crt: mail.example.org\ntls-alpn-01\n", ""},
    {TEST_HEAD AT1 "tls { acme = \"a@example.org\", acme_challenge = \"tls-alpn-01\", acme_folder = \"/f\", acme_address = \"::1\" }\n",
     "at 0.0.0.0:443\nat [::]:443\n/f/mail.example.org.crt: mail.example.org\ntls-alpn-01\n",
     "waxwing.lua:4: acme_address is of no use with acme_challenge = \"tls-alpn-01\": that is https { address = ... }\n"},
};
/* clang-format on */

static void test_rows(void **state)
{
    UNUSED(state);
    check_rows_in(rows, ARRAY_LEN(rows), false);
}

static void dump(const struct config *c, struct buf *out)
{
    for (size_t i = 0; i < c->n_sts_hosts; i++) {
        const struct sts_host *h = &c->sts_hosts[i];
        buf_printf(out, "%.*s %s %u", STR_FMT(h->domain), mta_sts_mode_word(h->policy.mode),
                   h->policy.max_age_s);
        for (size_t k = 0; k < h->policy.n_mx; k++)
            buf_printf(out, " %.*s", STR_FMT(h->policy.mx[k]));
        buf_putc(out, '\n');
    }
    for (size_t i = 0; i < c->n_https_addrs; i++) {
        buf_puts(out, "at ");
        netaddr_format(&c->https_addrs[i], out);
        buf_putc(out, '\n');
    }
    for (size_t i = 0; c->acme.contact.n > 0 && i < c->n_certificates; i++) {
        buf_printf(out, "%.*s:", STR_FMT(c->certificates[i].cert));
        for (size_t k = 0; k < c->certificates[i].n_names; k++)
            buf_printf(out, " %.*s", STR_FMT(c->certificates[i].names[k]));
        buf_putc(out, '\n');
    }
    if (c->acme.contact.n > 0)
        buf_puts(out, c->acme.challenge == ACME_TLS_ALPN_01 ? "tls-alpn-01\n" : "http-01\n");
}

static void test_good(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct fixture f;
        struct buf text, bytes;
        fixture_init(&f, false);
        buf_init(&text, 65536);
        buf_init(&bytes, 65536);
        const struct config *c = fixture_load(&f, str_from_c(good[i].lua));
        if (c == NULL)
            fail_msg("for\n%s\ngot\n%.*s", good[i].lua, STR_FMT(buf_str(&f.report.errors)));
        dump(c, &text);
        assert_str(buf_str(&text), good[i].wanted);
        assert_str(buf_str(&f.report.warnings), good[i].warnings);
        assert_int_equal(config_wants_https(c), c->n_https_addrs > 0);
        assert_true(config_encode(c, &bytes));
        c = config_decode(buf_str(&bytes), &f.arena);
        assert_non_null(c);
        buf_reset(&text);
        dump(c, &text);
        assert_str(buf_str(&text), good[i].wanted);
        buf_fini(&text);
        buf_fini(&bytes);
        fixture_fini(&f);
    }
}

/* ---- what no loader writes ---- */

struct crooked { /* a copy that may be changed */
    struct config c;
    struct sts_host hosts[2];
    struct str mx[1];
};

static void upper_domain(struct crooked *k)
{
    k->hosts[0].domain = STR("A.example");
}
static void unsorted(struct crooked *k)
{
    k->hosts[1].domain = k->hosts[0].domain;
}
static void unknown_mode(struct crooked *k)
{
    k->hosts[0].policy.mode = (enum mta_sts_mode)3;
}
static void too_old(struct crooked *k)
{
    k->hosts[0].policy.max_age_s = MTA_STS_MAX_AGE_S + 1;
}
static void no_mx(struct crooked *k)
{
    k->hosts[0].policy.n_mx = 0;
}
static void mx_of_none(struct crooked *k)
{
    k->hosts[0].policy.mode = MTA_STS_NONE;
}
static void line_in_mx(struct crooked *k)
{
    k->mx[0] = STR("mx.example\r\nmode: none");
}
static void nowhere(struct crooked *k)
{
    k->c.n_https_addrs = 0;
}
static void at_no_port(struct crooked *k)
{
    k->c.https_addrs[0].port = 0;
}
static void unwanted(struct crooked *k)
{
    k->c.n_sts_hosts = 0;
}
static void without_certificate(struct crooked *k)
{
    k->c.n_certificates = 0;
    k->c.listeners = NULL;
    k->c.n_listeners = 0;
}

static void test_crooked(void **state)
{
    UNUSED(state);
    static void (*const bend[])(struct crooked *) = {NULL,    upper_domain, unsorted,   unknown_mode,
                                                     too_old, no_mx,        mx_of_none, line_in_mx,
                                                     nowhere, at_no_port,   unwanted,   without_certificate};
    for (size_t i = 0; i < ARRAY_LEN(bend); i++) {
        struct fixture f;
        struct buf bytes;
        struct crooked k;
        fixture_init(&f, false);
        buf_init(&bytes, 65536);
        const struct config *c = fixture_load(
            &f, STR(TEST_HEAD AT1 TLS "domain \"a.example\" { " MAIL ", mta_sts_policy = \"enforce\" }\n"
                                      "domain \"b.example\" { " MAIL ", mta_sts_policy = \"enforce\" }\n"));
        assert_non_null(c);
        k.c = *c;
        memcpy(k.hosts, c->sts_hosts, sizeof k.hosts);
        k.mx[0] = STR("mx.example");
        k.hosts[0].policy.mx = k.mx;
        k.c.sts_hosts = k.hosts;
        if (bend[i] != NULL)
            bend[i](&k);
        assert_true(config_encode(&k.c, &bytes));
        if ((config_decode(buf_str(&bytes), &f.arena) != NULL) != (i == 0))
            fail_msg("row %zu", i);
        buf_fini(&bytes);
        fixture_fini(&f);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_good),
                                              cmocka_unit_test(test_crooked)};
    return cmocka_run_group_tests_name("config_sts", tests, NULL, NULL);
}
