/* What a configuration says against what is told of it, and the policy against the parser that other servers'
 * policies go through. */
#include "prog/dns_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { ALL_MAX = 16 * 1024 };
#define HEX "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

static void collect(void *arg, const struct dns_fact *f)
{
    struct buf *b = arg;
    if (f->kind == DNS_FACT_RECORD)
        buf_printf(b, "%.*s %s %.*s\n", STR_FMT(f->name), f->type, STR_FMT(f->text));
    else
        buf_printf(b, "%s %.*s|%.*s\n",
                   f->kind == DNS_FACT_NOTE ? "note"
                   : f->is_served           ? "policy here"
                                            : "policy",
                   STR_FMT(f->name), STR_FMT(f->text));
}

static struct netaddr address(const char *text)
{
    struct netaddr a;
    assert_true(netaddr_parse(str_from_c(text), 25, &a));
    return a;
}

static void check(const struct config *c, const struct dns_key *keys, size_t n, const char *want)
{
    static char mem[ALL_MAX];
    struct buf all;
    buf_init_fixed(&all, mem, sizeof mem);
    dns_records(c, keys, n, collect, &all);
    assert_true(buf_putc(&all, '\0'));
    assert_string_equal(all.p, want);
}

static void policy_of(enum mta_sts_mode mode, struct str mx, struct buf *out)
{
    const struct mta_sts_own own = {.mode = mode, .max_age_s = 604800, .mx = &mx, .n_mx = 1};
    mta_sts_own_policy(&own, out);
}

static void whole(void **state)
{
    UNUSED(state);
    char policy_mem[256], id_mem[64], want[4096];
    struct buf policy, id, w;
    struct dns_key keys[3];
    const struct local_domain domains[] = {{.name = STR("*")},
                                           {.name = STR("backup.example"), .relay = DOMAIN_RELAY_MX},
                                           {.name = STR("example.org"), .passwords = 1}};
    const struct netaddr addresses[] = {address("192.0.2.1"), address("2001:db8::1"),
                                        address("192.0.2.1:465")};
    const struct listener_conf listeners[] = {
        {.addr = address("192.0.2.1:25"), .tls = LISTEN_STARTTLS},
        {.addr = address("192.0.2.1:465"), .tls = LISTEN_IMPLICIT, .auth = LISTEN_MUST_AUTH},
        {.addr = address("[2001:db8::1]:465"), .tls = LISTEN_IMPLICIT, .auth = LISTEN_MUST_AUTH},
        {.addr = address("192.0.2.1:587"), .tls = LISTEN_STARTTLS, .auth = LISTEN_MAY_AUTH}};
    const struct config c = {.policy = {.hostname = STR("mx.example.org"),
                                        .domains = domains,
                                        .n_domains = ARRAY_LEN(domains),
                                        .addresses = addresses,
                                        .n_addresses = ARRAY_LEN(addresses)},
                             .listeners = listeners,
                             .n_listeners = ARRAY_LEN(listeners)};
    for (size_t i = 0; i < DNS_KEY_PRINT; i++)
        keys[0].print[i] = keys[2].print[i] = (uint8_t)i; /* two certificates of one key */
    memset(keys[1].print, 0xff, DNS_KEY_PRINT);
    buf_init_fixed(&policy, policy_mem, sizeof policy_mem);
    buf_init_fixed(&id, id_mem, sizeof id_mem);
    policy_of(MTA_STS_TESTING, STR("mx.example.org"), &policy);
    mta_sts_own_id(buf_str(&policy), &id);
    buf_init_fixed(&w, want, sizeof want);
    buf_printf(&w,
               "mx.example.org. A 192.0.2.1\n"
               "mx.example.org. AAAA 2001:db8::1\n"
               "note |Each address that mail leaves from needs a PTR record with mx.example.org: ask who "
               "gave you the "
               "address.\n"
               "note |TLSA records are of use in a zone that is signed (DNSSEC), and only there.\n"
               "_25._tcp.mx.example.org. TLSA 3 1 1 " HEX "\n"
               "_25._tcp.mx.example.org. TLSA 3 1 1 "
               "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF\n"
               "backup.example. MX 20 mx.example.org.\n"
               "note |backup.example is passed on as a backup: the host that keeps its mail needs a lower "
               "number than "
               "20.\n"
               "example.org. MX 10 mx.example.org.\n"
               "_mta-sts.example.org. TXT \"v=STSv1; id=%.*s\"\n"
               "policy https://mta-sts.example.org/.well-known/mta-sts.txt|%.*s\n"
               "_smtp._tls.example.org. TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"\n"
               "_submissions._tcp.example.org. SRV 0 1 465 mx.example.org.\n"
               "_submission._tcp.example.org. SRV 0 1 587 mx.example.org.\n",
               STR_FMT(buf_str(&id)), STR_FMT(buf_str(&policy)));
    assert_true(buf_putc(&w, '\0'));
    check(&c, keys, ARRAY_LEN(keys), want);
}

static void bare(void **state)
{
    UNUSED(state);
    const struct local_domain domains[] = {{.name = STR("example.org")}};
    const struct config c = {
        .policy = {.hostname = STR("mx.example.org"), .domains = domains, .n_domains = 1}};
    check(&c, NULL, 0,
          "note |mx.example.org needs A and AAAA records with the addresses of this machine.\n"
          "Each address that mail leaves from needs a PTR record with mx.example.org: ask who gave you the "
          "address.\n"
          "note |There is no certificate (tls), so there are no TLSA, MTA-STS and TLS-RPT records.\n"
          "example.org. MX 10 mx.example.org.\n");
}

/* A full name of each part: nothing is cut off. */
static void longest(void **state)
{
    UNUSED(state);
    static char mem[ALL_MAX], name[256];
    struct buf all;
    memset(name, 'a', 253);
    const struct local_domain domains[] = {{.name = str_of(name, 253), .passwords = 1}};
    const struct listener_conf listeners[] = {{.addr = address("192.0.2.1:587"), .auth = LISTEN_MAY_AUTH}};
    struct str mx[MTA_STS_OWN_MX_MAX];
    for (size_t i = 0; i < ARRAY_LEN(mx); i++)
        mx[i] = str_of(name, 253);
    const struct sts_host hosts[] = {
        {str_of(name, 253), {MTA_STS_ENFORCE, MTA_STS_MAX_AGE_S, mx, ARRAY_LEN(mx)}}};
    const struct config c = {.policy = {.hostname = str_of(name, 253), .domains = domains, .n_domains = 1},
                             .sts_hosts = hosts,
                             .n_sts_hosts = 1,
                             .listeners = listeners,
                             .n_listeners = 1};
    const struct dns_key key = {{0}};
    buf_init_fixed(&all, mem, sizeof mem);
    dns_records(&c, &key, 1, collect, &all);
    assert_false(all.failed);
}

/* The mode and all else of a policy that is served here is the configuration's. */
static void served(void **state)
{
    UNUSED(state);
    static const char *const host_rows[] = {"CNAME mx.example.org.",
                                            "A 192.0.2.7\nmta-sts.example.org. AAAA 2001:db8::7"};
    char policy_mem[256], id_mem[64], want[4096];
    struct buf policy, id, w;
    const struct dns_key key = {{0}};
    const struct local_domain domains[] = {{.name = STR("backup.example"), .relay = DOMAIN_RELAY_MX},
                                           {.name = STR("example.org")}};
    const struct str mx = STR("*.example.net");
    const struct sts_host hosts[] = {{STR("example.org"), {MTA_STS_ENFORCE, 604800, &mx, 1}}};
    for (size_t i = 0; i < ARRAY_LEN(host_rows); i++) {
        struct config c = {
            .policy = {.hostname = STR("mx.example.org"), .domains = domains, .n_domains = 2},
            .sts_hosts = hosts,
            .n_sts_hosts = 1,
            .https_addrs = {{.kind = NETADDR_IP4, .port = 443}, {.kind = NETADDR_IP6, .port = 443}},
            .n_https_addrs = 2};
        if (i == 1) {
            assert_true(netaddr_parse(STR("192.0.2.7"), 443, &c.https_addrs[0]));
            assert_true(netaddr_parse(STR("2001:db8::7"), 443, &c.https_addrs[1]));
            assert_true(netaddr_parse(STR("192.0.2.8"), 8443, &c.https_addrs[2])); /* behind something else */
            assert_true(netaddr_parse(STR("127.0.0.1"), 443, &c.https_addrs[3]));
            c.n_https_addrs = 4;
        }
        buf_init_fixed(&policy, policy_mem, sizeof policy_mem);
        buf_init_fixed(&id, id_mem, sizeof id_mem);
        policy_of(MTA_STS_ENFORCE, mx, &policy);
        mta_sts_own_id(buf_str(&policy), &id);
        buf_init_fixed(&w, want, sizeof want);
        buf_printf(
            &w,
            "note |mx.example.org needs A and AAAA records with the addresses of this machine.\n"
            "Each address that mail leaves from needs a PTR record with mx.example.org: ask who gave you the "
            "address.\n"
            "note |TLSA records are of use in a zone that is signed (DNSSEC), and only there.\n"
            "_25._tcp.mx.example.org. TLSA 3 1 1 "
            "0000000000000000000000000000000000000000000000000000000000000000\n"
            "backup.example. MX 20 mx.example.org.\n"
            "note |backup.example is passed on as a backup: the host that keeps its mail needs a lower "
            "number than 20.\n"
            "example.org. MX 10 mx.example.org.\n"
            "_mta-sts.example.org. TXT \"v=STSv1; id=%.*s\"\n"
            "mta-sts.example.org. %s\n"
            "policy here https://mta-sts.example.org/.well-known/mta-sts.txt|%.*s\n"
            "_smtp._tls.example.org. TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"\n",
            STR_FMT(buf_str(&id)), host_rows[i], STR_FMT(buf_str(&policy)));
        assert_true(buf_putc(&w, '\0'));
        check(&c, &key, 1, want);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(whole), cmocka_unit_test(bare),
                                              cmocka_unit_test(longest), cmocka_unit_test(served)};
    return cmocka_run_group_tests_name("dns_records", tests, NULL, NULL);
}
