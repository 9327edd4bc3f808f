#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/policy.h"

#define NAME(s)                                                                                              \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }

/* ---- one configuration ------------------------------------------------------------------------- */

static const struct netaddr pool_addrs[] = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 7}}};
static const struct source_pool sources[] = {
    {.name = NAME("bulk"), .addrs = pool_addrs, .n_addrs = 1, .helo = NAME("bulk.example.org")},
    {.name = NAME("news"), .addrs = pool_addrs, .n_addrs = 1},
};
static const struct netaddr own = {.kind = NETADDR_IP4, .ip = {192, 0, 2, 25}};

static const struct str users[] = {{"ann", 3}, {"joe", 3}};
static const struct system_user system_users[] = {
    {.name = NAME("eve"), .home = NAME("/home/eve"), .uid = 1001, .gid = 1002},
    {.name = NAME("max"), .home = NAME("/srv/max"), .uid = 1003, .gid = 1004},
};
static const struct str argv[] = {{"/usr/bin/prog", 13}, {"-u", 2},   {"%u", 2},
                                  {"-d%d", 4},           {"%t%s", 4}, {"100%%", 5}};

#define MAILDIR(path)                                                                                        \
    {                                                                                                        \
        .kind = DELIVER_MAILDIR, .maildir = NAME(path), .user_name = NAME("vmail"), .uid = 5000, .gid = 5001 \
    }
static const struct local_domain domains[] = {
    {.name = NAME("backup.example"), .relay = DOMAIN_RELAY_MX, .any_user = true},
    {.name = NAME("branch.example"),
     .relay = DOMAIN_RELAY_HOST,
     .callout = true,
     .via = {.host = NAME("inner.example"), .addr = {.port = 2525}}},
    {.name = NAME("host.example"),
     .deliver = MAILDIR("%h/Maildir"),
     .plus = NAME("+"),
     .system_users = system_users,
     .n_system_users = 2},
    {.name = NAME("pipe.example"),
     .any_user = true,
     .plus = NAME("+"),
     .deliver = {.kind = DELIVER_PIPE,
                 .argv = argv,
                 .n_argv = ARRAY_LEN(argv),
                 .user_name = NAME("vmail"),
                 .uid = 5000,
                 .gid = 5001}},
    {.name = NAME("same.example"), .same_as = NAME("table.example")},
    {.name = NAME("table.example"),
     .relay = DOMAIN_RELAY_HOST,
     .users = users,
     .n_users = 2,
     .plus = NAME("+"),
     .via = {.addr = {.kind = NETADDR_UNIX, .path = "/run/lmtp"}, .lmtp = true}},
    {.name = NAME("xn--bcher-kva.example"),
     .shown = NAME("b\xc3\xbc"
                   "cher.example"),
     .any_user = true,
     .deliver = MAILDIR("/v/%d/%u")},
};

#define HOP(name, at)                                                                                        \
    {                                                                                                        \
        .host = NAME(name), .addr = {.port = at }                                                            \
    }
static const struct route_rule rules[] = {
    {.to = {.kind = PATTERN_DOMAIN, .domain = NAME("direct.example")}, .is_mx = true, .source = &sources[1]},
    {.from = {.kind = PATTERN_NULL},
     .to = {.kind = PATTERN_SUBDOMAINS, .domain = NAME("sub.example")},
     .via = HOP("bounces.example", 26)},
    {.to = {.kind = PATTERN_SUBDOMAINS, .domain = NAME("sub.example")}, .via = HOP("below.example", 25)},
    {.from = {.kind = PATTERN_ADDRESS, .domain = NAME("shop.example"), .local = NAME("news")},
     .is_mx = true,
     .source = &sources[0]},
    {.from = {.kind = PATTERN_DOMAIN, .domain = NAME("shop.example")},
     .via = HOP("shop-out.example", 587),
     .source = &sources[0]},
    {.tag = NAME("bulk"),
     .via = {.addr = {.kind = NETADDR_IP4, .ip = {192, 0, 2, 9}, .port = 24}, .lmtp = true},
     .tls = HOP_TLS_NONE},
    {.to = {.kind = PATTERN_ADDRESS, .domain = NAME("one.example"), .local = NAME("joe")},
     .via = HOP("joe.example", 25)},
    {.to = {.kind = PATTERN_DOMAIN, .domain = NAME("hub.example")},
     .via = {.host = NAME("hub.example"), .addr = {.port = 465}, .is_smtps = true},
     .tls = HOP_TLS_VERIFY,
     .auth = {.user = NAME("me"), .secret = NAME("/etc/hub.pass")},
     .source = &sources[0]},
    {.to = {.kind = PATTERN_DOMAIN, .domain = NAME("any.example")},
     .via = {.host = NAME("hub.example"), .addr = {.port = 465}, .is_smtps = true},
     .tls = HOP_TLS_ENCRYPT},
    {.to = {.kind = PATTERN_DOMAIN, .domain = NAME("strict.example")}, .is_mx = true, .tls = HOP_TLS_VERIFY},
    {.to = {.kind = PATTERN_DOMAIN, .domain = NAME("xn--bcher-2.example")}, .via = HOP("idn.example", 25)},
};

static bool to_ascii(struct str domain, struct buf *out)
{
    if (str_eq(domain, STR("b\xc3\xbc"
                           "cher.example")))
        return buf_puts(out, "xn--bcher-kva.example");
    return str_eq(domain, STR("b\xc3\xbc"
                              "cher2.example")) &&
           buf_puts(out, "xn--bcher-2.example");
}

static struct policy_conf conf(void)
{
    return (struct policy_conf){.hostname = STR("mail.example.org"),
                                .postmaster = STR("ann@table.example"),
                                .domains = domains,
                                .n_domains = ARRAY_LEN(domains),
                                .routes = rules,
                                .n_routes = ARRAY_LEN(rules),
                                .sources = sources,
                                .n_sources = ARRAY_LEN(sources),
                                .addresses = &own,
                                .n_addresses = 1,
                                .to_ascii = to_ascii};
}

/* ---- rules ------------------------------------------------------------------------------------- */

struct route_row {
    const char *sender, *rcpt, *tag, *site;
};
/* clang-format off */
static const struct route_row route_rows[] = {
    {"a@b.example", "x@elsewhere.example", "", "mx:elsewhere.example"},
    {"a@b.example", "x@[198.51.100.1]", "", "host:198.51.100.1:25"},
    {"a@b.example", "x@[IPv6:2001:db8::1]", "", "host:[2001:db8::1]:25"},
    {"a@b.example", "x@[IPv6:::1]", "", "nowhere"},
    {"a@b.example", "x@[0.0.0.0]", "", "nowhere"},
    {"a@b.example", "x@direct.example", "", "mx:direct.example from news"},
    {"a@shop.example", "x@Direct.Example", "bulk", "mx:direct.example from news"}, /* the first match */
    {"a@b.example", "x@sub.example", "", "mx:sub.example"},
    {"a@b.example", "x@a.SUB.example", "", "host:below.example:25"},
    {"a@b.example", "x@b.a.sub.example", "", "host:below.example:25"},
    {"a@b.example", "x@notsub.example", "", "mx:notsub.example"},
    {"", "x@a.sub.example", "", "host:bounces.example:26"},
    {"", "x@elsewhere.example", "", "mx:elsewhere.example"},
    {"News@Shop.example", "x@elsewhere.example", "", "mx:elsewhere.example from bulk"},
    {"\"news\"@shop.example", "x@elsewhere.example", "", "mx:elsewhere.example from bulk"},
    {"joe@shop.example", "x@elsewhere.example", "", "host:shop-out.example:587 from bulk"},
    {"joe@a.shop.example", "x@elsewhere.example", "", "mx:elsewhere.example"},
    {"joe@shop.example", "x@[198.51.100.1]", "", "host:shop-out.example:587 from bulk"},
    {"news@shop.example", "x@[198.51.100.1]", "", "host:198.51.100.1:25 from bulk"},
    {"a@b.example", "x@elsewhere.example", "bulk", "lmtp:192.0.2.9:24"},
    {"a@b.example", "x@elsewhere.example", "Bulk", "mx:elsewhere.example"},
    {"a@b.example", "Joe@one.example", "", "host:joe.example:25"},
    {"a@b.example", "ann@one.example", "", "mx:one.example"},
    {"a@b.example", "x@b\xc3\xbc""cher2.example", "", "host:idn.example:25"},
    {"a@b.example", "x@hub.example", "", "smtps:hub.example:465 as me from bulk"},
    {"a@b.example", "x@any.example", "", "smtps:hub.example:465 tls encrypt"},
    {"a@b.example", "x@strict.example", "", "mx:strict.example tls verify"},
    {"a@b.example", "x@m\xc3\xbc.example", "", "nowhere"}, /* no domain of the DNS */
    {"no address", "x@elsewhere.example", "", "mx:elsewhere.example"},
    /* rules are for foreign domains */
    {"a@shop.example", "x@backup.example", "bulk", "mx:backup.example"},
    {"a@shop.example", "x@branch.example", "bulk", "host:inner.example:2525"},
    {"a@b.example", "ann@table.example", "", "lmtp:unix:/run/lmtp"},
    {"a@b.example", "ann+x@same.example", "", "lmtp:unix:/run/lmtp"},
    {"a@b.example", "zoe@table.example", "", "nowhere"},
    {"a@b.example", "a/b@backup.example", "", "mx:backup.example"},
    {"a@b.example", "a%b@backup.example", "", "nowhere"},
    {"a@b.example", "postmaster@backup.example", "", "mx:backup.example"},
    {"a@b.example", "abuse@branch.example", "", "host:inner.example:2525"},
    {"a@b.example", "postmaster@table.example", "", "lmtp:unix:/run/lmtp"},
    {"a@b.example", "postmaster@[192.0.2.25]", "", "lmtp:unix:/run/lmtp"},
    {"a@b.example", "joe@[192.0.2.25]", "", "nowhere"},
    {"a@b.example", "eve@host.example", "", "maildir:eve"},
    {"a@b.example", "Max+x@host.example", "", "maildir:max"},
    {"a@b.example", "root@host.example", "", "nowhere"},
    {"a@b.example", "joe@pipe.example", "", "pipe:/usr/bin/prog"},
    {"a@b.example", "joe@b\xc3\xbc""cher.example", "", "maildir:vmail"},
    {"a@b.example", "joe@XN--Bcher-KVA.example", "", "maildir:vmail"},
};
/* clang-format on */

static void route(const struct policy_conf *p, const char *sender, const char *rcpt, const char *tag,
                  struct buf *text, struct route *r)
{
    struct rcpt one = {.address = str_from_c(rcpt)};
    struct route_ask ask = {.sender = str_from_c(sender), .rcpt = &one, .tag = str_from_c(tag)};
    buf_reset(text);
    policy_route(p, &ask, text, r);
}

static void test_rules(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    for (size_t i = 0; i < ARRAY_LEN(route_rows); i++) {
        const struct route_row *row = &route_rows[i];
        char mem[8192], site_mem[300];
        struct buf text, site;
        struct route r;
        buf_init_fixed(&text, mem, sizeof mem);
        buf_init_fixed(&site, site_mem, sizeof site_mem);
        route(&p, row->sender, row->rcpt, row->tag, &text, &r);
        policy_site(&p, &r, &site);
        if (!str_eq(buf_str(&site), str_from_c(row->site)))
            fail_msg("from %s to %s: %.*s, not %s", row->sender, row->rcpt, STR_FMT(buf_str(&site)),
                     row->site);
    }
}

/* What TLS a next hop gets when nobody says it. */
static void test_usual_tls(void **state)
{
    static const struct {
        struct next_hop via;
        bool has_login, is_near;
        enum hop_tls tls;
    } rows[] = {
        {{.host = NAME("a.example"), .addr = {.port = 25}}, false, false, HOP_TLS_MAY},
        {{.host = NAME("a.example"), .addr = {.port = 25}}, true, false, HOP_TLS_VERIFY},
        {{.host = NAME("a.example"), .addr = {.port = 465}, .is_smtps = true}, false, false, HOP_TLS_VERIFY},
        {{.host = NAME("a.example"), .addr = {.port = 24}, .lmtp = true}, false, false, HOP_TLS_NONE},
        {{.host = NAME("a.example"), .addr = {.port = 24}, .lmtp = true}, true, false, HOP_TLS_VERIFY},
        {{.host = NAME("LocalHost"), .addr = {.port = 25}}, true, true, HOP_TLS_MAY},
        {{.addr = {.kind = NETADDR_IP4, .ip = {127, 0, 0, 9}, .port = 25}}, true, true, HOP_TLS_MAY},
        {{.addr = {.kind = NETADDR_IP4, .ip = {127, 0, 0, 1}}, .is_smtps = true},
         true,
         true,
         HOP_TLS_ENCRYPT},
        {{.addr = {.kind = NETADDR_IP4, .ip = {192, 0, 2, 1}}}, false, false, HOP_TLS_MAY},
        {{.addr = {.kind = NETADDR_UNIX, .path = "/x"}}, true, true, HOP_TLS_NONE},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(policy_usual_tls(&rows[i].via, rows[i].has_login), rows[i].tls);
        assert_int_equal(policy_is_near(&rows[i].via), rows[i].is_near);
    }
}

/* Each kind has one word, and the words lead back. */
static void test_tls_words(void **state)
{
    static const bool weak[HOP_TLS_KINDS] = {
        [HOP_TLS_MAY] = true, [HOP_TLS_NONE] = true, [HOP_TLS_ANY] = true};
    enum hop_tls t = HOP_TLS_KINDS;
    UNUSED(state);
    for (size_t i = 0; i < HOP_TLS_KINDS; i++) {
        assert_true(hop_tls_of_word(str_from_c(hop_tls_word((enum hop_tls)i)), &t));
        assert_int_equal(t, i);
        assert_int_equal(hop_tls_is_weak(t), weak[i]);
    }
    assert_false(hop_tls_of_word(STR("must"), &t));
    assert_false(hop_tls_of_word(STR("any "), &t));
    assert_false(hop_tls_of_word(STR(""), &t));
}

static void test_what_a_route_says(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    char mem[8192];
    struct buf text, path;
    struct route r;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_init(&path, 4096);
    route(&p, "", "x@Backup.example", "", &text, &r);
    assert_true(r.kind == ROUTE_MX && str_eq(r.domain, STR("backup.example")));
    route(&p, "", "x@elsewhere.example", "", &text, &r);
    assert_true(r.kind == ROUTE_MX && r.source == NULL);
    route(&p, "", "Ann+Tag@same.example", "", &text, &r);
    assert_true(r.kind == ROUTE_HOST && r.via.lmtp && r.via.addr.kind == NETADDR_UNIX);
    assert_true(str_eq(r.rcpt, STR("Ann+Tag@same.example")));
    route(&p, "", "Eve+Tag@host.example", "", &text, &r);
    assert_true(r.kind == ROUTE_MAILDIR && r.uid == 1001 && r.gid == 1002);
    assert_true(str_eq(r.login, STR("eve")) && str_eq(r.home, STR("/home/eve")) &&
                str_eq(r.detail, STR("tag")));
    assert_true(policy_maildir(r.deliver, r.user, r.domain, r.home, &path));
    assert_true(str_eq(buf_str(&path), STR("/home/eve/Maildir")));
    route(&p, "",
          "joe@b\xc3\xbc"
          "cher.example",
          "", &text, &r);
    buf_reset(&path);
    assert_true(policy_maildir(r.deliver, r.user, r.domain, r.home, &path));
    assert_true(str_eq(buf_str(&path), STR("/v/xn--bcher-kva.example/joe")));
    assert_true(r.uid == 5000 && str_eq(r.login, STR("vmail")) && r.home.n == 0);
    p.mx_port = 2525;
    route(&p, "", "joe@[198.51.100.1]", "", &text, &r);
    assert_true(r.kind == ROUTE_HOST && r.via.addr.port == 2525);
    assert_ptr_equal(policy_source(&p, STR("news")), &sources[1]);
    assert_null(policy_source(&p, STR("new")));
    buf_fini(&path);
}

static void test_home(void **state)
{
    UNUSED(state);
    static const char *const homes[] = {"", "home/x", "/home/../x\n", "/a\x7f"};
    struct deliver d = MAILDIR("%h/Maildir");
    for (size_t i = 0; i < ARRAY_LEN(homes); i++) {
        struct buf path;
        buf_init(&path, 4096);
        assert_false(policy_maildir(&d, STR("eve"), STR("host.example"), str_from_c(homes[i]), &path));
        assert_int_equal(path.n, 0);
        buf_fini(&path);
    }
}

/* ---- verdicts ---------------------------------------------------------------------------------- */

static void test_verdicts(void **state)
{
    UNUSED(state);
    static const struct {
        const char *path;
        enum rcpt_class stranger, friend;
    } rows[] = {
        {"<x@backup.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<a/b@backup.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<a%b@backup.example>", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"<\"a@b\"@backup.example>", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"<x@branch.example>", RCPT_CALLOUT, RCPT_CALLOUT},
        {"<x!y@branch.example>", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"<postmaster@branch.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<Joe@table.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<Joe+x@same.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<zoe@table.example>", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"<eve@host.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<eve+x@host.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<+eve@host.example>", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"<root@host.example>", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"<joe@b\xc3\xbc"
         "cher.example>",
         RCPT_LOCAL, RCPT_LOCAL},
        {"<joe@xn--bcher-kva.example>", RCPT_LOCAL, RCPT_LOCAL},
        {"<joe@m\xc3\xbc.example>", RCPT_RELAY_DENIED, RCPT_RELAY},
        {"<joe@[198.51.100.1]>", RCPT_RELAY_DENIED, RCPT_RELAY},
        {"<joe@[192.0.2.25]>", RCPT_NO_SUCH_USER, RCPT_NO_SUCH_USER},
        {"<PostMaster@[192.0.2.25]>", RCPT_LOCAL, RCPT_LOCAL},
        {"<postmaster@[127.0.0.1]>", RCPT_BAD_ADDRESS, RCPT_BAD_ADDRESS},
        {"<joe@[0.0.0.0]>", RCPT_BAD_ADDRESS, RCPT_BAD_ADDRESS},
    };
    struct policy_conf p = conf();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address to;
        struct str rest;
        bool had_route;
        assert_null(address_parse_path(str_from_c(rows[i].path), true, &to, &had_route, &rest));
        if (policy_rcpt(&p, false, &to) != rows[i].stranger || policy_rcpt(&p, true, &to) != rows[i].friend)
            fail_msg("%s: %d, %d", rows[i].path, (int)policy_rcpt(&p, false, &to),
                     (int)policy_rcpt(&p, true, &to));
    }
}

/* The developers' server that catches everything. */
static void test_every_domain(void **state)
{
    UNUSED(state);
    static const struct local_domain all[] = {
        {.name = NAME("*"), .any_user = true, .deliver = MAILDIR("/v/%d/%u")},
        {.name = NAME("named.example"), .users = users, .n_users = 2, .deliver = MAILDIR("/v/%d/%u")},
    };
    static const struct {
        const char *rcpt, *path; /* NULL: nowhere */
    } rows[] = {
        {"Joe@Elsewhere.example", "/v/elsewhere.example/joe"},
        {"joe@b\xc3\xbc"
         "cher.example",
         "/v/xn--bcher-kva.example/joe"},
        {"joe@[198.51.100.1]", "/v/[198.51.100.1]/joe"},
        {"ann@named.example", "/v/named.example/ann"},
        {"zoe@named.example", NULL},
        {"../x@elsewhere.example", NULL},
        {"postmaster", "/v/mail.example.org/postmaster"},
    };
    struct policy_conf p = {
        .hostname = STR("mail.example.org"), .domains = all, .n_domains = 2, .to_ascii = to_ascii};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[8192];
        struct buf text, path;
        struct route r;
        struct address to;
        buf_init_fixed(&text, mem, sizeof mem);
        buf_init(&path, 4096);
        route(&p, "", rows[i].rcpt, "", &text, &r);
        bool ok = r.kind == ROUTE_MAILDIR && policy_maildir(r.deliver, r.user, r.domain, r.home, &path);
        if (ok != (rows[i].path != NULL) || !str_eq(buf_str(&path), str_from_c(rows[i].path)))
            fail_msg("%s: %.*s", rows[i].rcpt, STR_FMT(buf_str(&path)));
        if (address_parse(str_from_c(rows[i].rcpt), true, &to) == NULL)
            assert_int_equal(policy_rcpt(&p, false, &to), ok ? RCPT_LOCAL : RCPT_NO_SUCH_USER);
        buf_fini(&path);
    }
}

/* ---- programs ---------------------------------------------------------------------------------- */

static void test_pipe_words(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    const struct deliver *d = &policy_domain(&p, STR("pipe.example"))->deliver;
    static const struct {
        const char *user, *domain, *detail, *sender;
        const char *words[ARRAY_LEN(argv)]; /* NULL: refused */
    } rows[] = {
        {"joe",
         "x.example",
         "tag",
         "a@b.example",
         {"/usr/bin/prog", "-u", "joe", "-dx.example", "taga@b.example", "100%"}},
        {"-rf", "-x", "", "", {"/usr/bin/prog", "-u", NULL, "-d-x", "", "100%"}},
        {"$(x) `y`; 'z",
         "a b",
         "",
         "-a@b.example",
         {"/usr/bin/prog", "-u", "$(x) `y`; 'z", "-da b", NULL, "100%"}},
        {"a\nb", "%u", "-t", "x", {"/usr/bin/prog", "-u", NULL, "-d%u", NULL, "100%"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pipe_facts facts = {.user = str_from_c(rows[i].user),
                                   .domain = str_from_c(rows[i].domain),
                                   .detail = str_from_c(rows[i].detail),
                                   .sender = str_from_c(rows[i].sender)};
        for (size_t k = 0; k < d->n_argv; k++) {
            char mem[64];
            struct buf word;
            buf_init_fixed(&word, mem, sizeof mem);
            const char *problem = policy_pipe_word(d, k, &facts, &word);
            if ((problem == NULL) != (rows[i].words[k] != NULL) ||
                !str_eq(buf_str(&word), str_from_c(rows[i].words[k])))
                fail_msg("row %zu word %zu: %.*s", i, k, STR_FMT(buf_str(&word)));
        }
    }
    char mem[2];
    struct buf small;
    buf_init_fixed(&small, mem, sizeof mem);
    assert_non_null(policy_pipe_word(d, 2, &(struct pipe_facts){.user = STR("joe")}, &small));
    assert_int_equal(small.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),        cmocka_unit_test(test_usual_tls),
        cmocka_unit_test(test_tls_words),    cmocka_unit_test(test_what_a_route_says),
        cmocka_unit_test(test_home),         cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_every_domain), cmocka_unit_test(test_pipe_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
