#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "policy/policy.h"

#include <string.h>

/* ---- one configuration for all tables ---------------------------------------------------------- */

static const struct str org_users[] = {
    {"a%b", 3}, {"ann", 3}, {"joe", 3}, {"joe+tag", 7}, {"j\xc3\xb6rg", 5},
};
static const struct str net_users[] = {{"abuse", 5}, {"info", 4}, {"postmaster", 10}};

#define MAILDIR(login)                                                                                       \
    {                                                                                                        \
        .kind = DELIVER_MAILDIR, .maildir = {"/var/vmail/%d/%u", 16},                                        \
        .user_name = {login, sizeof(login) - 1}, .uid = 1000, .gid = 1000                                    \
    }
#define LMTP_UNIX                                                                                            \
    {                                                                                                        \
        .kind = DELIVER_LMTP, .uid = UINT32_MAX, .gid = UINT32_MAX, .lmtp = {                                \
            .kind = NETADDR_UNIX,                                                                            \
            .path = "/run/lmtp"                                                                              \
        }                                                                                                    \
    }
#define NAME(s)                                                                                              \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }

/* sorted by name; the one without users first */
static const struct local_domain domains[] = {
    {.name = NAME("alias.example"),
     .same_as = NAME("example.org"),
     .users = org_users,
     .n_users = 5,
     .deliver = LMTP_UNIX},
    {.name = NAME("any.example"), .any_user = true, .deliver = MAILDIR("vmail")},
    {.name = NAME("anylmtp.example"), .any_user = true, .deliver = LMTP_UNIX},
    {.name = NAME("away.example"),
     .users = net_users,
     .n_users = 3,
     .catchall = NAME("box@elsewhere.example"),
     .deliver = MAILDIR("vmail")},
    {.name = NAME("example.net"),
     .users = net_users,
     .n_users = 3,
     .catchall = NAME("info"),
     .deliver = MAILDIR("vmail")},
    {.name = NAME("example.org"), .users = org_users, .n_users = 5, .deliver = LMTP_UNIX},
    {.name = NAME("loop1.example"), .catchall = NAME("x@loop2.example"), .deliver = MAILDIR("vmail")},
    {.name = NAME("loop2.example"), .catchall = NAME("x@loop1.example"), .deliver = MAILDIR("vmail")},
    {.name = NAME("step1.example"), .catchall = NAME("x@step2.example"), .deliver = MAILDIR("vmail")},
    {.name = NAME("step2.example"), .catchall = NAME("x@step3.example"), .deliver = MAILDIR("vmail")},
    {.name = NAME("step3.example"), .catchall = NAME("x@example.net"), .deliver = MAILDIR("vmail")},
};

static const struct netblock blocks[] = {
    {.addr = {.kind = NETADDR_IP4, .ip = {127}}, .bits = 8},
    {.addr = {.kind = NETADDR_IP4, .ip = {10, 1}}, .bits = 16},
    {.addr = {.kind = NETADDR_IP6, .ip = {0x20, 0x01, 0x0d, 0xb8}}, .bits = 32},
};

static struct policy_conf conf(void)
{
    return (struct policy_conf){.hostname = STR("mail.example.org"),
                                .postmaster = STR("Joe@Example.Org"),
                                .domains = domains,
                                .n_domains = ARRAY_LEN(domains),
                                .relay_from = blocks,
                                .n_relay_from = ARRAY_LEN(blocks)};
}

/* ---- verdicts ---------------------------------------------------------------------------------- */

enum { NO_PATH = -1 }; /* the grammar refuses it before policy sees it */
struct rcpt_row {
    const char *path;
    int class;
};

/* What a stranger gets. Many of these are old tricks to make a server send a message on. */
static const struct rcpt_row strangers[] = {
    {"<joe@example.org>", RCPT_LOCAL},
    {"<JOE@EXAMPLE.ORG>", RCPT_LOCAL},
    {"<\"joe\"@example.org>", RCPT_LOCAL},
    {"<\"j\\oe\"@example.org>", RCPT_LOCAL},
    {"<j\xc3\xb6rg@example.org>", RCPT_LOCAL},
    {"<joe+tag@example.org>", RCPT_LOCAL},
    {"<joe+other@example.org>", RCPT_NO_SUCH_USER},
    {"<joe@alias.example>", RCPT_LOCAL},
    {"<nobody@alias.example>", RCPT_NO_SUCH_USER},
    {"<nobody@example.org>", RCPT_NO_SUCH_USER},
    {"<anything@example.net>", RCPT_LOCAL},
    {"<anything@any.example>", RCPT_LOCAL},
    {"<anything@anylmtp.example>", RCPT_LOCAL},
    {"<a%b@example.org>", RCPT_LOCAL}, /* listed by name, so it is a user */
    /* reserved names */
    {"<postmaster>", RCPT_LOCAL},
    {"<PostMaster>", RCPT_LOCAL},
    {"<\"postmaster\">", RCPT_LOCAL},
    {"<postmaster@example.org>", RCPT_LOCAL},
    {"<POSTMASTER@Example.Org>", RCPT_LOCAL},
    {"<abuse@example.org>", RCPT_LOCAL},
    {"<abuse@alias.example>", RCPT_LOCAL},
    {"<\"abuse\"@example.org>", RCPT_LOCAL},
    {"<abuse>", RCPT_BAD_ADDRESS},
    {"<joe>", RCPT_BAD_ADDRESS},
    {"<>", RCPT_BAD_ADDRESS},
    {"<postmaster@elsewhere.example>", RCPT_RELAY_DENIED},
    {"<abuse@elsewhere.example>", RCPT_RELAY_DENIED},
    /* foreign domains, and those that only look like ours */
    {"<joe@elsewhere.example>", RCPT_RELAY_DENIED},
    {"<joe@example.org.elsewhere.example>", RCPT_RELAY_DENIED},
    {"<joe@xexample.org>", RCPT_RELAY_DENIED},
    {"<joe@mail.example.org>", RCPT_RELAY_DENIED},
    {"<joe@example>", RCPT_RELAY_DENIED},
    {"<joe@org>", RCPT_RELAY_DENIED},
    {"<joe@localhost>", RCPT_RELAY_DENIED},
    {"<joe@xn--example-org-.example>", NO_PATH},
    {"<joe@example.org.>", NO_PATH},
    {"<joe@.example.org>", NO_PATH},
    {"<joe@example..org>", NO_PATH},
    {"<joe@>", NO_PATH},
    {"<@example.org>", NO_PATH},
    {"<joe@127.0.0.1>", RCPT_RELAY_DENIED},
    {"<joe@[127.0.0.1]>", RCPT_BAD_ADDRESS},
    {"<postmaster@[127.0.0.1]>", RCPT_BAD_ADDRESS},
    {"<joe@[IPv6:::1]>", RCPT_BAD_ADDRESS},
    {"<joe@[example.org]>", NO_PATH},
    {"<joe@example.org@elsewhere.example>", NO_PATH},
    {"<joe@elsewhere.example@example.org>", NO_PATH},
    /* percent, bang, nested addresses and source routes through a listed domain */
    {"<joe%elsewhere.example@example.org>", RCPT_NO_SUCH_USER},
    {"<elsewhere.example!joe@example.org>", RCPT_NO_SUCH_USER},
    {"<\"joe@elsewhere.example\"@example.org>", RCPT_NO_SUCH_USER},
    {"<\"joe%elsewhere.example\"@example.org>", RCPT_NO_SUCH_USER},
    {"<\"<joe@elsewhere.example>\"@example.org>", RCPT_NO_SUCH_USER},
    {"<\"@elsewhere.example:joe\"@example.org>", RCPT_NO_SUCH_USER},
    {"<joe%elsewhere.example%example.org@example.org>", RCPT_NO_SUCH_USER},
    /* ... through domains that take any name */
    {"<joe%elsewhere.example@any.example>", RCPT_NO_SUCH_USER},
    {"<elsewhere.example!joe@any.example>", RCPT_NO_SUCH_USER},
    {"<\"joe@elsewhere.example\"@any.example>", RCPT_NO_SUCH_USER},
    {"<\"@elsewhere.example:joe\"@any.example>", RCPT_NO_SUCH_USER},
    {"<joe%elsewhere.example@anylmtp.example>", RCPT_NO_SUCH_USER},
    {"<a/b@any.example>", RCPT_NO_SUCH_USER},
    {"<\"../../etc/passwd\"@any.example>", RCPT_NO_SUCH_USER},
    {"<\".\"@any.example>", RCPT_NO_SUCH_USER},
    {"<\"..\"@any.example>", RCPT_NO_SUCH_USER},
    {"<\".hidden\"@any.example>", RCPT_NO_SUCH_USER},
    {"<\"\"@any.example>", RCPT_NO_SUCH_USER},
    {"<a/b@anylmtp.example>", RCPT_NO_SUCH_USER},
    /* ... and through a catch-all */
    {"<joe%elsewhere.example@example.net>", RCPT_NO_SUCH_USER},
    {"<elsewhere.example!joe@example.net>", RCPT_NO_SUCH_USER},
    {"<\"joe@elsewhere.example\"@example.net>", RCPT_NO_SUCH_USER},
    {"<joe%elsewhere.example@away.example>", RCPT_NO_SUCH_USER},
    /* a source route says nothing: what counts is the mailbox behind the colon (RFC 5321 4.1.1.3) */
    {"<@example.org:joe@elsewhere.example>", RCPT_RELAY_DENIED},
    {"<@example.org,@any.example:joe@elsewhere.example>", RCPT_RELAY_DENIED},
    {"<@elsewhere.example:joe@example.org>", RCPT_LOCAL},
    {"<@elsewhere.example:joe%other.example@example.org>", RCPT_NO_SUCH_USER},
    {"<\"joe\"@elsewhere.example>", RCPT_RELAY_DENIED},
    {"<\"joe@example.org\"@elsewhere.example>", RCPT_RELAY_DENIED},
    {"<joe%example.org@elsewhere.example>", RCPT_RELAY_DENIED},
    {"<example.org!joe@elsewhere.example>", RCPT_RELAY_DENIED},
};

/* What a client of relay_from gets for some of them: our own domains are no different for it. */
static const struct rcpt_row friends[] = {
    {"<joe@elsewhere.example>", RCPT_RELAY},
    {"<joe%example.org@elsewhere.example>", RCPT_RELAY},
    {"<@example.org:joe@elsewhere.example>", RCPT_RELAY},
    {"<postmaster@elsewhere.example>", RCPT_RELAY},
    {"<joe@mail.example.org>", RCPT_RELAY},
    {"<joe@example.org>", RCPT_LOCAL},
    {"<nobody@example.org>", RCPT_NO_SUCH_USER},
    {"<joe%elsewhere.example@example.org>", RCPT_NO_SUCH_USER},
    {"<joe@[192.0.2.1]>", RCPT_RELAY},
    {"<joe@[127.0.0.1]>", RCPT_BAD_ADDRESS},
    {"<joe>", RCPT_BAD_ADDRESS},
    {"<postmaster>", RCPT_LOCAL},
};

static void check_rows(const struct rcpt_row *rows, size_t n, const char *client_text)
{
    struct policy_conf p = conf();
    struct netaddr client;
    assert_true(netaddr_parse_ip(str_from_c(client_text), 4711, &client));
    for (size_t i = 0; i < n; i++) {
        struct address to;
        struct str rest;
        bool had_route;
        int class = NO_PATH;
        if (address_parse_path(str_from_c(rows[i].path), true, &to, &had_route, &rest) == NULL)
            class = (int)policy_rcpt(&p, policy_may_relay(&p, &client), &to);
        if (class != rows[i].class)
            fail_msg("%s from %s: %d, not %d", rows[i].path, client_text, class, rows[i].class);
    }
}

static void test_strangers(void **state)
{
    UNUSED(state);
    assert_true(ARRAY_LEN(strangers) >= 40);
    check_rows(strangers, ARRAY_LEN(strangers), "192.0.2.9");
    check_rows(strangers, ARRAY_LEN(strangers), "2001:db9::1");
    check_rows(strangers, ARRAY_LEN(strangers), "10.2.0.1");
}

static void test_friends(void **state)
{
    UNUSED(state);
    check_rows(friends, ARRAY_LEN(friends), "127.0.0.1");
    check_rows(friends, ARRAY_LEN(friends), "10.1.255.255");
    check_rows(friends, ARRAY_LEN(friends), "::ffff:10.1.0.1");
    check_rows(friends, ARRAY_LEN(friends), "2001:db8:ffff::1");
}

static void test_nobody_relays_without_blocks(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    struct netaddr unknown = {.kind = NETADDR_NONE}, unix_client = {.kind = NETADDR_UNIX, .path = "/x"},
                   loopback;
    assert_true(netaddr_parse_ip(STR("127.0.0.1"), 0, &loopback));
    assert_true(policy_may_relay(&p, &loopback));
    assert_false(policy_may_relay(&p, &unknown));
    assert_false(policy_may_relay(&p, &unix_client));
    p.n_relay_from = 0;
    assert_false(policy_may_relay(&p, &loopback));
}

static void test_domains(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    for (size_t i = 0; i < p.n_domains; i++)
        assert_ptr_equal(policy_domain(&p, domains[i].name), &domains[i]);
    assert_ptr_equal(policy_domain(&p, STR("Example.ORG")), &domains[5]);
    assert_null(policy_domain(&p, STR("")));
    assert_null(policy_domain(&p, STR("example.or")));
    assert_null(policy_domain(&p, STR("zzz")));
    assert_true(policy_has_user(&domains[5], STR("JOE")));
    assert_false(policy_has_user(&domains[5], STR("jo")));
    assert_false(policy_has_user(&domains[6], STR("joe")));
    assert_false(policy_has_user(&domains[1], STR_NIL));
    assert_false(policy_has_user(&domains[1], STR("a\nb")));
    assert_false(policy_has_user(&domains[1], str_of("a\0b", 3)));
    char wide[256];
    memset(wide, 'u', sizeof wide);
    assert_true(policy_has_user(&domains[1], str_of(wide, 255)));
    assert_false(policy_has_user(&domains[1], str_of(wide, 256))); /* no file name is that long */
    assert_true(policy_has_user(&domains[2], str_of(wide, 256)));
    p.n_domains = 0;
    assert_null(policy_domain(&p, STR("example.org")));
}

/* ---- return paths of list mail (VERP) --------------------------------------------------------------- */

#define V "bounce+x=one.two-aaaaaaaa"

static void test_verp(void **state)
{
    UNUSED(state);
    static const struct alias_target to[] = {{.kind = ALIAS_ADDRESS, .text = NAME("x@one.two")}};
    static const struct alias lists[] = {
        {.name = NAME("bounce"), .targets = to, .n_targets = 1},
        {.name = NAME("news"), .targets = to, .n_targets = 1, .owner = NAME("owner-news@list.example")},
    };
    static const struct alias plain[] = {{.name = NAME("news"), .targets = to, .n_targets = 1}};
    static const struct str users[] = {{"ann", 3}};
    static const struct local_domain all[] = {
        {.name = NAME("also.example"), .same_as = NAME("list.example"), .deliver = LMTP_UNIX},
        {.name = NAME("list.example"),
         .plus = NAME("+"),
         .aliases = lists,
         .n_aliases = 2,
         .deliver = LMTP_UNIX},
        {.name = NAME("only.example"), .aliases = &lists[1], .n_aliases = 1, .deliver = LMTP_UNIX},
        {.name = NAME("plain.example"), .users = users, .n_users = 1, .aliases = plain, .n_aliases = 1},
    };
    static const struct {
        const char *address;
        int class, without; /* verdict with verp = "bounce", and without it */
    } rows[] = {
        {V "@list.example", RCPT_CALLOUT, RCPT_LOCAL}, /* before the alias of that name */
        {"BOUNCE+X=ONE.TWO-AAAAAAAA@List.Example", RCPT_CALLOUT, RCPT_LOCAL},
        {V "@also.example", RCPT_CALLOUT, RCPT_LOCAL},
        {V "@only.example", RCPT_CALLOUT, RCPT_NO_SUCH_USER},
        {V "@plain.example", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER}, /* no list */
        {V "@elsewhere.example", RCPT_RELAY_DENIED, RCPT_RELAY_DENIED},
        {"bounce+a%b.c=one.two-aaaaaaaa@only.example", RCPT_CALLOUT, RCPT_NO_SUCH_USER},
        {"bounce+x=one.two@only.example", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"bounce+x@list.example", RCPT_LOCAL, RCPT_LOCAL}, /* the alias */
        {"bounce@list.example", RCPT_LOCAL, RCPT_LOCAL},
        {"bounce@only.example", RCPT_LOCAL, RCPT_NO_SUCH_USER}, /* postmaster */
        {"bounce@plain.example", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy_conf p = conf();
        struct address a;
        p.domains = all;
        p.n_domains = ARRAY_LEN(all);
        assert_null(address_parse(str_from_c(rows[i].address), true, &a));
        assert_int_equal(policy_rcpt(&p, false, &a), rows[i].without);
        p.verp = STR("bounce");
        if ((int)policy_rcpt(&p, false, &a) != rows[i].class)
            fail_msg("%s: %d", rows[i].address, (int)policy_rcpt(&p, false, &a));
        char mem[SMTP_LOCAL_PART_TAKEN_MAX], text_mem[4096];
        struct buf local, text;
        struct verp_path path;
        buf_init_fixed(&local, mem, sizeof mem);
        assert_int_equal(policy_verp(&p, a.text, &local, &path), rows[i].class == RCPT_CALLOUT);
        if (rows[i].class != RCPT_CALLOUT)
            continue;
        assert_true(path.home == &all[str_iends(a.text, STR("only.example")) ? 2 : 1]);
        struct route r; /* the queue reads it; as somebody's target it is nobody */
        struct rcpt rcpt = {.address = a.text};
        buf_init_fixed(&text, text_mem, sizeof text_mem);
        policy_route(&p, &(struct route_ask){.rcpt = &rcpt}, &text, &r);
        assert_int_equal(r.kind, ROUTE_NOWHERE);
    }
}

/* ---- routes ------------------------------------------------------------------------------------ */

struct route_row {
    const char *rcpt;
    enum route_kind kind;
    const char *user, *domain, *to, *site;
};

static const struct route_row routes[] = {
    {"joe@example.org", ROUTE_LMTP, "joe", "example.org", "joe@example.org", "lmtp:unix:/run/lmtp"},
    {"Joe@Example.Org", ROUTE_LMTP, "joe", "example.org", "Joe@Example.Org", "lmtp:unix:/run/lmtp"},
    {"\"joe\"@example.org", ROUTE_LMTP, "joe", "example.org", "\"joe\"@example.org", "lmtp:unix:/run/lmtp"},
    {"Joe@alias.example", ROUTE_LMTP, "joe", "example.org", "joe@example.org", "lmtp:unix:/run/lmtp"},
    {"Info@example.net", ROUTE_MAILDIR, "info", "example.net", "Info@example.net", "maildir:vmail"},
    {"other@example.net", ROUTE_MAILDIR, "info", "example.net", "info@example.net", "maildir:vmail"},
    {"Any.One@any.example", ROUTE_MAILDIR, "any.one", "any.example", "Any.One@any.example", "maildir:vmail"},
    {"other@away.example", ROUTE_MX, "", "elsewhere.example", "box@elsewhere.example",
     "mx:elsewhere.example"},
    {"x@Elsewhere.EXAMPLE", ROUTE_MX, "", "elsewhere.example", "x@Elsewhere.EXAMPLE", "mx:elsewhere.example"},
    {"x@step1.example", ROUTE_MAILDIR, "info", "example.net", "info@example.net", "maildir:vmail"},
    /* reserved names: the domain's own user, else conf.postmaster, else any user */
    {"postmaster@example.net", ROUTE_MAILDIR, "postmaster", "example.net", "postmaster@example.net",
     "maildir:vmail"},
    {"Abuse@example.net", ROUTE_MAILDIR, "abuse", "example.net", "Abuse@example.net", "maildir:vmail"},
    {"postmaster@example.org", ROUTE_LMTP, "joe", "example.org", "Joe@Example.Org", "lmtp:unix:/run/lmtp"},
    {"abuse@alias.example", ROUTE_LMTP, "joe", "example.org", "Joe@Example.Org", "lmtp:unix:/run/lmtp"},
    {"postmaster@any.example", ROUTE_LMTP, "joe", "example.org", "Joe@Example.Org", "lmtp:unix:/run/lmtp"},
    {"postmaster", ROUTE_LMTP, "joe", "example.org", "Joe@Example.Org", "lmtp:unix:/run/lmtp"},
    {"POSTMASTER", ROUTE_LMTP, "joe", "example.org", "Joe@Example.Org", "lmtp:unix:/run/lmtp"},
    /* nowhere */
    {"nobody@example.org", ROUTE_NOWHERE, "", "", "nobody@example.org", "nowhere"},
    {"nobody@alias.example", ROUTE_NOWHERE, "", "", "nobody@alias.example", "nowhere"},
    {"x@loop1.example", ROUTE_NOWHERE, "", "", "x@loop1.example", "nowhere"},
    {"a%b@any.example", ROUTE_NOWHERE, "", "", "a%b@any.example", "nowhere"},
    {"a%b@example.net", ROUTE_NOWHERE, "", "", "a%b@example.net", "nowhere"},
    {"\"../x\"@any.example", ROUTE_NOWHERE, "", "", "\"../x\"@any.example", "nowhere"},
    {"\"\"@any.example", ROUTE_NOWHERE, "", "", "\"\"@any.example", "nowhere"},
    {"joe", ROUTE_NOWHERE, "", "", "joe", "nowhere"},
    {"", ROUTE_NOWHERE, "", "", "", "nowhere"},
    {"joe@", ROUTE_NOWHERE, "", "", "joe@", "nowhere"},
    {"joe@[192.0.2.1]", ROUTE_HOST, "", "", "joe@[192.0.2.1]", "host:192.0.2.1:25"},
    {"joe@[127.0.0.1]", ROUTE_NOWHERE, "", "", "joe@[127.0.0.1]", "nowhere"},
};
static const struct route_row no_postmaster[] = {
    {"postmaster@any.example", ROUTE_MAILDIR, "postmaster", "any.example", "postmaster@any.example",
     "maildir:vmail"},
    {"abuse@any.example", ROUTE_MAILDIR, "abuse", "any.example", "abuse@any.example", "maildir:vmail"},
    {"postmaster", ROUTE_MAILDIR, "postmaster", "any.example", "postmaster@any.example", "maildir:vmail"},
    {"postmaster@loop1.example", ROUTE_NOWHERE, "", "", "postmaster@loop1.example", "nowhere"},
    {"postmaster@away.example", ROUTE_MAILDIR, "postmaster", "away.example", "postmaster@away.example",
     "maildir:vmail"},
    {"postmaster@step3.example", ROUTE_MAILDIR, "info", "example.net", "info@example.net", "maildir:vmail"},
    {"postmaster@example.org", ROUTE_NOWHERE, "", "", "postmaster@example.org", "nowhere"},
};
static const struct route_row smart_host[] = {
    {"x@Elsewhere.EXAMPLE", ROUTE_HOST, "", "", "x@Elsewhere.EXAMPLE", "host:hub.example:587"},
    {"x@[192.0.2.1]", ROUTE_HOST, "", "", "x@[192.0.2.1]", "host:hub.example:587"},
    {"other@away.example", ROUTE_HOST, "", "", "box@elsewhere.example", "host:hub.example:587"},
    {"Info@example.net", ROUTE_MAILDIR, "info", "example.net", "Info@example.net", "maildir:vmail"},
    {"nobody@example.org", ROUTE_NOWHERE, "", "", "nobody@example.org", "nowhere"},
};

static void assert_text(struct str got, const char *wanted, const char *what, const char *rcpt)
{
    if (!str_eq(got, str_from_c(wanted)))
        fail_msg("%s of %s: %.*s, not %s", what, rcpt, STR_FMT(got), wanted);
}

static void check_routes(const struct policy_conf *p, const struct route_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char mem[4096], site_mem[256];
        struct buf text, site;
        struct route r;
        buf_init_fixed(&text, mem, sizeof mem);
        buf_init_fixed(&site, site_mem, sizeof site_mem);
        struct rcpt one = {.address = str_from_c(rows[i].rcpt)};
        policy_route(p, &(struct route_ask){.rcpt = &one}, &text, &r);
        policy_site(p, &r, &site);
        if (r.kind != rows[i].kind)
            fail_msg("%s goes by %d, not %d", rows[i].rcpt, (int)r.kind, (int)rows[i].kind);
        assert_text(r.user, rows[i].user, "user", rows[i].rcpt);
        assert_text(r.domain, rows[i].domain, "domain", rows[i].rcpt);
        assert_text(r.rcpt, rows[i].to, "recipient", rows[i].rcpt);
        assert_text(buf_str(&site), rows[i].site, "site", rows[i].rcpt);
    }
}

static void test_routes(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    check_routes(&p, routes, ARRAY_LEN(routes));
    p.postmaster = STR_NIL;
    check_routes(&p, no_postmaster, ARRAY_LEN(no_postmaster));
    static const struct route_rule to_hub = {.via = {.host = NAME("hub.example"), .addr = {.port = 587}}};
    p.routes = &to_hub;
    p.n_routes = 1;
    check_routes(&p, smart_host, ARRAY_LEN(smart_host));
}

static void test_postmaster_that_is_itself(void **state)
{
    UNUSED(state);
    static const struct route_row rows[] = {
        {"postmaster@any.example", ROUTE_MAILDIR, "postmaster", "any.example", "postmaster@any.example",
         "maildir:vmail"},
        {"abuse@any.example", ROUTE_MAILDIR, "postmaster", "any.example", "postmaster@any.example",
         "maildir:vmail"},
        {"postmaster", ROUTE_MAILDIR, "postmaster", "any.example", "postmaster@any.example", "maildir:vmail"},
    };
    struct policy_conf p = conf();
    p.postmaster = STR("postmaster@any.example");
    check_routes(&p, rows, ARRAY_LEN(rows));
}

static void test_bare_postmaster(void **state)
{
    UNUSED(state);
    static const struct route_row by_hostname[] = {{"postmaster", ROUTE_MAILDIR, "postmaster", "example.net",
                                                    "postmaster@example.net", "maildir:vmail"}};
    static const struct route_row nowhere[] = {
        {"postmaster", ROUTE_NOWHERE, "", "", "postmaster", "nowhere"}};
    struct policy_conf p = conf();
    p.postmaster = STR_NIL;
    p.hostname = STR("example.net");
    check_routes(&p, by_hostname, ARRAY_LEN(by_hostname));
    p.n_domains = 0;
    check_routes(&p, nowhere, ARRAY_LEN(nowhere));
}

/* Whatever is accepted as local has a place to go to. */
static void test_accepted_is_routed(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    struct netaddr client = {.kind = NETADDR_NONE};
    unsigned n_local = 0;
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        struct address to;
        struct str rest;
        bool had_route;
        char mem[4096];
        struct buf text;
        struct route r;
        if (address_parse_path(str_from_c(strangers[i].path), true, &to, &had_route, &rest) != NULL ||
            policy_rcpt(&p, policy_may_relay(&p, &client), &to) != RCPT_LOCAL)
            continue;
        n_local++;
        buf_init_fixed(&text, mem, sizeof mem);
        struct rcpt one = {.address = to.kind == DOMAIN_NONE ? STR("postmaster") : to.text};
        policy_route(&p, &(struct route_ask){.rcpt = &one}, &text, &r);
        if (r.kind == ROUTE_NOWHERE)
            fail_msg("%s was accepted and leads nowhere", strangers[i].path);
    }
    assert_true(n_local > 10);
}

static void test_sites(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    struct deliver d = {.kind = DELIVER_LMTP, .lmtp_host = STR("dovecot.example"), .lmtp = {.port = 24}};
    struct route r = {.kind = ROUTE_LMTP, .deliver = &d};
    char mem[256];
    struct buf site;
    buf_init_fixed(&site, mem, sizeof mem);
    policy_site(&p, &r, &site);
    assert_text(buf_str(&site), "lmtp:dovecot.example:24", "site", "");
    buf_reset(&site);
    r.kind = ROUTE_HOST;
    assert_true(netaddr_parse_ip(STR("2001:db8::25"), 2525, &r.via.addr));
    policy_site(&p, &r, &site);
    assert_text(buf_str(&site), "host:[2001:db8::25]:2525", "site", "");
    buf_reset(&site);
    d = (struct deliver){.kind = DELIVER_MAILDIR, .maildir = STR("/home/%u/Maildir")};
    r.kind = ROUTE_MAILDIR;
    policy_site(&p, &r, &site);
    assert_text(buf_str(&site), "maildir:/home/%u/Maildir", "site", "");
}

/* ---- Maildirs ---------------------------------------------------------------------------------- */

static void test_maildir(void **state)
{
    UNUSED(state);
    static const struct {
        const char *template, *user, *domain, *path; /* path NULL: must be refused */
    } rows[] = {
        {"/var/vmail/%d/%u", "joe", "example.org", "/var/vmail/example.org/joe"},
        {"/home/%u/Maildir", "joe", "example.org", "/home/joe/Maildir"},
        {"/v/100%%/%u", "joe", "example.org", "/v/100%/joe"},
        {"/v/%u%u", "a", "b", "/v/aa"},
        {"/v/%u", "%d", "b", "/v/%d"}, /* what was filled in is not read again */
        {"/v/%u", "a b", "b", "/v/a b"},
        {"/v/%u", "..", "b", NULL},
        {"/v/%u", ".", "b", NULL},
        {"/v/%u", ".x", "b", NULL},
        {"/v/%u", "", "b", NULL},
        {"/v/%u", "a/b", "b", NULL},
        {"/v/%u", "a\nb", "b", NULL},
        {"/v/%u", "a\x7f", "b", NULL},
        {"/v/%d/%u", "a", "..", NULL},
        {"/v/%d/%u", "a", "x/y", NULL},
        {"/v/%d/%u", "a", "", NULL},
        {"/v/%x/%u", "a", "b", NULL},
        {"/v/%u/%", "a", "b", NULL},
        {"v/%u", "a", "b", NULL},
        {"", "a", "b", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[256];
        struct buf path;
        struct deliver d = {.kind = DELIVER_MAILDIR, .maildir = str_from_c(rows[i].template)};
        buf_init_fixed(&path, mem, sizeof mem);
        buf_puts(&path, "before ");
        bool ok = policy_maildir(&d, str_from_c(rows[i].user), str_from_c(rows[i].domain), STR_NIL, &path);
        if (ok != (rows[i].path != NULL))
            fail_msg("row %zu: %d", i, ok);
        assert_text(str_skip(buf_str(&path), 7), ok ? rows[i].path : "", "path", rows[i].template);
    }
    struct deliver d = {.kind = DELIVER_MAILDIR, .maildir = STR("/v/%u")};
    assert_false(policy_maildir(&d, str_of("a\0b", 3), STR("b"), STR_NIL, &(struct buf){0}));
    char small[6];
    struct buf out;
    buf_init_fixed(&out, small, sizeof small);
    assert_true(policy_maildir(&d, STR("abc"), STR("b"), STR_NIL, &out));
    buf_reset(&out);
    assert_false(policy_maildir(&d, STR("abcd"), STR("b"), STR_NIL, &out)); /* never a path cut short */
    assert_int_equal(out.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_friends),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_nobody_relays_without_blocks),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_postmaster_that_is_itself),
        cmocka_unit_test(test_bare_postmaster),
        cmocka_unit_test(test_accepted_is_routed),
        cmocka_unit_test(test_sites),
        cmocka_unit_test(test_maildir),
        cmocka_unit_test(test_verp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
