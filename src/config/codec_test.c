#include "config/testing.h"

static const char rich[] = TEST_HEAD
    "listen { port = 25 } listen { address = \"[::1]:26\" } listen { address = \"unix:/run/ww\", "
    "lmtp = true }\n"
    "relay_from { \"127.0.0.0/8\", \"2001:db8::/33\", \"192.0.2.7\" }\n"
    "domain \"a.example\" { users = any, user = \"vmail\", deliver = maildir \"/m/%d/%u\" }\n"
    "domain \"b.example\" { users = { \"ann\", \"joe\" }, catchall = \"joe\", deliver = lmtp "
    "\"127.0.0.1:24\" }\n"
    "domain \"c.example\" { users = { \"ann\" }, catchall = \"x@elsewhere.example\", deliver = "
    "lmtp \"dovecot\" }\n"
    "domain \"d.example\" { same_as = \"b.example\" }\n"
    "domain \"e.example\" { users = any, deliver = lmtp \"unix:/run/lmtp\" }\n"
    "domain \"f.example\" { users = system, user = \"vmail\", deliver = maildir \"%h/Maildir\", forward = "
    "true, aliases = { list = { \"max\", \"|/bin/x %u -a\", \"x@elsewhere.example\" }, [\"owner-list\"] "
    "= \"\\\\zoe\" } }\n"
    "domain \"g.example\" { relay = \"smtp://inner.example\", recipients = \"callout\" }\n"
    "domain \"h.example\" { relay = \"mx\", recipients = { \"ann\" }, plus = \"-\" }\n"
    "domain \"i.example\" { users = any, user = \"vmail\", deliver = pipe { \"/bin/y\", \"%s\" } }\n"
    "source \"bulk\" { address = { \"192.0.2.7\", \"2001:db8::7\" }, helo = \"bulk.example\" }\n"
    "route { from = \"ann@b.example\", to = \"*.x.example\", tag = \"t\", source = \"bulk\" }\n"
    "route { to = \"*\", via = \"smtp://hub.example:587\", user = \"me\", password = secret \"hub.pass\" }\n"
    "listen { port = 27, address = \"192.0.2.1\", proxy = { \"10.0.0.0/8\" }, tag = \"t\", tag_header = "
    "\"X-T\", greet_delay = 3 }\n"
    "xclient_from { \"::1\" } commands { etrn = { \"10.0.0.0/8\" } } reports { verp = \"b\", arf = "
    "\"f@b.example\", tls = \"joe@b.example\" }\n"
    "resolver { \"9.9.9.9\", \"[2620:fe::fe]:5353\", trust_anchor = \"lab.key\", root_hints = "
    "\"lab.hints\" }\n"
    "limits { message_size = \"10M\" } log { format = \"json\" }\n"
    "tls { cert = \"a.pem\", key = \"a.key\", legacy = true } tls { cert = \"b.pem\", key = \"b.key\", "
    "client_ca = "
    "\"lab.key\" }\n"
    "domain \"j.example\" { users = passwd \"org.users\", deliver = lmtp \"unix:/run/lmtp\" }\n"
    "listen { port = 465, address = \"192.0.2.1\", submission = true }\n"
    "senders { [\"ann@b.example\"] = { \"*@x.example\", \"<>\" }, [\"joe@b.example\"] = \"*\" }\n";

struct setup {
    struct fixture f;
    struct buf bytes;
    struct config *c; /* a copy that may be changed */
    struct local_domain domains[10];
    struct listener_conf listeners[7];
    struct certificate_conf certificates[2];
    struct str password_files[1];
    struct sender_right senders[2];
    struct netblock blocks[3];
    struct netaddr resolvers[2];
    struct route_rule routes[2];
    struct alias aliases[2];
    struct alias_target targets[3];
    struct deliver program;
    struct system_user system_users[2];
    struct source_pool sources[1];
    struct netaddr pool[2];
};

static void setup_init(struct setup *s)
{
    fixture_init(&s->f, true);
    buf_init(&s->bytes, 1 << 20);
    const struct config *c = fixture_load(&s->f, str_from_c(rich));
    if (c == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&s->f.report.errors)));
    s->c = arena_new(&s->f.arena, struct config);
    assert_non_null(s->c);
    *s->c = *c;
    s->c->generation = UINT64_C(0x1122334455667788);
    assert_int_equal(c->policy.n_domains, ARRAY_LEN(s->domains));
    assert_int_equal(c->n_listeners, ARRAY_LEN(s->listeners));
    assert_int_equal(c->policy.n_relay_from, ARRAY_LEN(s->blocks));
    assert_int_equal(c->n_resolvers, ARRAY_LEN(s->resolvers));
    memcpy(s->domains, c->policy.domains, sizeof s->domains);
    memcpy(s->listeners, c->listeners, sizeof s->listeners);
    memcpy(s->blocks, c->policy.relay_from, sizeof s->blocks);
    memcpy(s->resolvers, c->resolvers, sizeof s->resolvers);
    s->c->policy.domains = s->domains;
    s->c->policy.relay_from = s->blocks;
    s->c->listeners = s->listeners;
    memcpy(s->routes, c->policy.routes, sizeof s->routes);
    s->c->policy.routes = s->routes;
    memcpy(s->sources, c->policy.sources, sizeof s->sources);
    memcpy(s->pool, s->sources[0].addrs, sizeof s->pool);
    s->sources[0].addrs = s->pool;
    s->c->policy.sources = s->sources;
    struct local_domain *f = &s->domains[5];
    memcpy(s->aliases, f->aliases, sizeof s->aliases);
    memcpy(s->targets, f->aliases[0].targets, sizeof s->targets);
    s->program = *s->targets[1].pipe;
    s->targets[1].pipe = &s->program;
    s->aliases[0].targets = s->targets;
    f->aliases = s->aliases;
    memcpy(s->system_users, f->system_users, sizeof s->system_users);
    f->system_users = s->system_users;
    s->c->resolvers = s->resolvers;
    assert_int_equal(c->n_certificates, ARRAY_LEN(s->certificates));
    assert_int_equal(c->n_password_files, ARRAY_LEN(s->password_files));
    assert_int_equal(c->policy.n_senders, ARRAY_LEN(s->senders));
    memcpy(s->certificates, c->certificates, sizeof s->certificates);
    s->c->certificates = s->certificates;
    memcpy(s->senders, c->policy.senders, sizeof s->senders);
    s->c->policy.senders = s->senders;
}

static void setup_fini(struct setup *s)
{
    buf_fini(&s->bytes);
    fixture_fini(&s->f);
}

static bool survives(struct setup *s)
{
    buf_reset(&s->bytes);
    assert_true(config_encode(s->c, &s->bytes));
    return config_decode(buf_str(&s->bytes), &s->f.arena) != NULL;
}

static void test_round_trip(void **state)
{
    UNUSED(state);
    struct setup s;
    setup_init(&s);
    assert_true(survives(&s));
    const struct config *d = config_decode(buf_str(&s.bytes), &s.f.arena);
    assert_non_null(d);
    assert_true(d->generation == UINT64_C(0x1122334455667788));
    assert_true(d->log_json);
    assert_true(d->size_max == 10 << 20);
    assert_int_equal(d->retry_first_s, 300);
    assert_int_equal(d->retry_max_s, 14400);
    assert_int_equal(d->retry_jitter_pct, 20);
    assert_int_equal(d->expire_s, 432000);
    assert_int_equal(d->bounce_expire_s, 172800);
    assert_int_equal(d->smtp_port, 25);
    const struct local_domain *alias = policy_domain(&d->policy, STR("D.example"));
    assert_non_null(alias);
    assert_true(policy_has_user(alias, STR("Ann")));
    assert_false(policy_has_user(alias, STR("bob")));
    assert_int_equal(alias->deliver.kind, DELIVER_LMTP);
    assert_int_equal(policy_domain(&d->policy, STR("a.example"))->deliver.uid, 5000);
    const struct deliver *program = policy_pipe(&d->policy, STR("list@f.example"), 1);
    assert_non_null(program);
    assert_true(program->uid == 5000 && program->n_argv == 3 && str_eq(program->argv[1], STR("%u")));
    assert_true(str_eq(policy_alias(policy_domain(&d->policy, STR("f.example")), STR("LIST"))->owner,
                       STR("owner-list@f.example")));
    assert_ptr_equal(d->policy.routes[0].source, policy_source(&d->policy, STR("bulk")));
    assert_int_equal(d->policy.n_addresses, 2);
    assert_int_equal(d->policy.mx_port, 25);
    assert_non_null(d->policy.to_ascii);
    struct buf small;
    char mem[100];
    buf_init_fixed(&small, mem, sizeof mem);
    assert_false(config_encode(s.c, &small));
    setup_fini(&s);
}

static void test_cut_off(void **state)
{
    UNUSED(state);
    struct setup s;
    setup_init(&s);
    assert_true(survives(&s));
    for (size_t n = 0; n < s.bytes.n; n++) {
        /* a copy of its own size, so that a read past the end is seen */
        struct buf cut;
        buf_init(&cut, n + 1);
        assert_true(buf_put(&cut, str_of(s.bytes.p, n)));
        assert_null(config_decode(buf_str(&cut), &s.f.arena));
        buf_fini(&cut);
    }
    assert_true(buf_putc(&s.bytes, '\0'));
    assert_null(config_decode(buf_str(&s.bytes), &s.f.arena));
    setup_fini(&s);
}

/* Any octet changed: refused, or a configuration whose octets are just these. */
static void test_changed_octets(void **state)
{
    UNUSED(state);
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x20};
    struct setup s;
    struct buf again;
    unsigned n_taken = 0, n_refused = 0;
    setup_init(&s);
    buf_init(&again, 1 << 20);
    assert_true(survives(&s));
    for (size_t i = 0; i < s.bytes.n * ARRAY_LEN(changes); i++) {
        struct arena a;
        char *at = &s.bytes.p[i / ARRAY_LEN(changes)];
        char change = (char)changes[i % ARRAY_LEN(changes)];
        arena_init(&a, &s.f.pool, 1 << 20);
        *at ^= change;
        const struct config *c = config_decode(buf_str(&s.bytes), &a);
        if (c != NULL) {
            buf_reset(&again);
            assert_true(config_encode(c, &again));
            assert_true(str_eq(buf_str(&again), buf_str(&s.bytes)));
            n_taken++;
        } else {
            n_refused++;
        }
        *at ^= change;
        arena_reset(&a);
    }
    assert_true(n_taken > 100 && n_refused > 100);
    buf_fini(&again);
    setup_fini(&s);
}

static void test_little_memory(void **state)
{
    UNUSED(state);
    struct setup s;
    bool was_enough = false;
    setup_init(&s);
    assert_true(survives(&s));
    for (size_t limit = 0; limit < 65536; limit += 32) {
        struct arena a;
        arena_init(&a, &s.f.pool, limit);
        bool is_enough = config_decode(buf_str(&s.bytes), &a) != NULL;
        assert_true(is_enough || !was_enough);
        was_enough = is_enough;
        arena_reset(&a);
    }
    assert_true(was_enough);
    setup_fini(&s);
}

/* ---- what config_load() would never make ------------------------------------------------------- */

static void root_delivers(struct setup *s)
{
    s->domains[0].deliver.uid = 0;
}
static void half_a_user(struct setup *s)
{
    s->domains[0].deliver.gid = UINT32_MAX;
}
static void maildir_is_relative(struct setup *s)
{
    s->domains[0].deliver.maildir = STR("m/%u");
}
static void maildir_for_all(struct setup *s)
{
    s->domains[0].deliver.maildir = STR("/m/%d");
}
static void maildir_climbs(struct setup *s)
{
    s->domains[0].deliver.maildir = STR("/m/../%u");
}
static void no_delivery(struct setup *s)
{
    s->domains[1].deliver.kind = DELIVER_NONE;
}
static void lmtp_nowhere(struct setup *s)
{
    s->domains[1].deliver.lmtp = (struct netaddr){.kind = NETADDR_NONE, .port = 24};
}
static void lmtp_port_0(struct setup *s)
{
    s->domains[1].deliver.lmtp.port = 0;
}
static void lmtp_host_and_address(struct setup *s)
{
    s->domains[1].deliver.lmtp_host = STR("h");
}
static void domains_unsorted(struct setup *s)
{
    s->domains[0].name = STR("zzz.example");
}
static void domain_twice(struct setup *s)
{
    s->domains[0].name = s->domains[1].name;
}
static void domain_upper(struct setup *s)
{
    s->domains[0].name = STR("A.example");
}
static void domain_bad(struct setup *s)
{
    s->domains[0].name = STR("a/../b");
}
static void same_as_unknown(struct setup *s)
{
    s->domains[3].same_as = STR("nosuch.example");
}
static void same_as_itself(struct setup *s)
{
    s->domains[3].same_as = s->domains[3].name;
}
static void users_unsorted(struct setup *s)
{
    static const struct str users[] = {{"joe", 3}, {"ann", 3}};
    s->domains[1].users = users;
}
static void user_twice(struct setup *s)
{
    static const struct str users[] = {{"joe", 3}, {"joe", 3}};
    s->domains[1].users = users;
}
static void user_path(struct setup *s)
{
    static const struct str users[] = {{"../x", 4}, {"joe", 3}};
    s->domains[1].users = users;
}
static void user_upper(struct setup *s)
{
    static const struct str users[] = {{"Ann", 3}, {"joe", 3}};
    s->domains[1].users = users;
}
static void any_and_users(struct setup *s)
{
    s->domains[1].any_user = true;
}
static void catchall_bad(struct setup *s)
{
    s->domains[1].catchall = STR("a b");
}
static void open_relay(struct setup *s)
{
    s->blocks[0] = (struct netblock){.addr = {.kind = NETADDR_IP4}, .bits = 0};
}
static void host_bits(struct setup *s)
{
    s->blocks[0].addr.ip[3] = 1;
}
static void too_many_bits(struct setup *s)
{
    s->blocks[2].bits = 33;
}
static void block_of_nothing(struct setup *s)
{
    s->blocks[0].addr.kind = NETADDR_NONE;
}
static void via_port_0(struct setup *s)
{
    s->routes[1].via.addr.port = 0;
}
static void route_login_in_the_clear(struct setup *s)
{
    s->routes[1].auth = (struct hop_login){STR("me"), STR("/x")};
    s->routes[1].tls = HOP_TLS_MAY;
}
static void route_password_of_nobody(struct setup *s)
{
    s->routes[1].auth = (struct hop_login){.secret = STR("/x")};
}
static void route_password_somewhere(struct setup *s)
{
    s->routes[1].auth = (struct hop_login){STR("me"), STR("x")};
    s->routes[1].tls = HOP_TLS_VERIFY;
}
static void route_user_control(struct setup *s)
{
    s->routes[1].auth = (struct hop_login){STR("m\ne"), STR("/x")};
    s->routes[1].tls = HOP_TLS_VERIFY;
}
static void route_tls_unknown(struct setup *s)
{
    s->routes[1].tls = HOP_TLS_KINDS;
}
static void route_certificate_without_key(struct setup *s)
{
    s->routes[1].certificate = (struct hop_certificate){.cert = STR("/x")};
}
static void route_certificate_unshown(struct setup *s)
{
    s->routes[1].auth = (struct hop_login){.user = STR_NIL};
    s->routes[1].tls = HOP_TLS_NONE;
    s->routes[1].certificate = (struct hop_certificate){STR("/x"), STR("/y")};
}
static void smtps_in_the_clear(struct setup *s)
{
    s->routes[1].via.is_smtps = true;
    s->routes[1].auth = (struct hop_login){.user = STR_NIL};
    s->routes[1].tls = HOP_TLS_MAY;
}
static void smtps_and_lmtp(struct setup *s)
{
    s->routes[1].via.is_smtps = s->routes[1].via.lmtp = true;
    s->routes[1].tls = HOP_TLS_VERIFY;
}
static void via_nowhere(struct setup *s)
{
    s->routes[1].via.host = STR_NIL;
}
static void source_unknown(struct setup *s)
{
    static const struct source_pool other = {.name = {"other", 5}};
    s->routes[0].source = &other;
}
static void source_of_nothing(struct setup *s)
{
    s->sources[0].n_addrs = 0;
}
static void source_port(struct setup *s)
{
    s->pool[0].port = 25;
}
static void source_upper(struct setup *s)
{
    s->sources[0].name = STR("Bulk");
}
static void helo_short(struct setup *s)
{
    s->sources[0].helo = STR("bulk");
}
static void to_nobody(struct setup *s)
{
    s->routes[1].to.kind = PATTERN_NULL;
}
static void pattern_without_domain(struct setup *s)
{
    s->routes[0].to.domain = STR_NIL;
}
static void pattern_without_local(struct setup *s)
{
    s->routes[0].from.local = STR_NIL;
}
static void tag_with_space(struct setup *s)
{
    s->routes[0].tag = STR("a b");
}
static void aliases_unsorted(struct setup *s)
{
    s->aliases[0].name = STR("z");
}
static void alias_upper(struct setup *s)
{
    s->aliases[0].name = STR("List");
}
static void alias_to_nobody(struct setup *s)
{
    s->aliases[1].n_targets = 0;
}
static void alias_to_a_name(struct setup *s)
{
    s->targets[0].text = STR("max");
}
static void owner_bare(struct setup *s)
{
    s->aliases[0].owner = STR("owner-list");
}
static void root_runs(struct setup *s)
{
    s->program.uid = 0;
}
static void program_is_maildir(struct setup *s)
{
    s->program = s->domains[0].deliver;
}
static void program_without_words(struct setup *s)
{
    s->program.n_argv = 0;
}
static void program_relative(struct setup *s)
{
    static const struct str argv[] = {{"bin/x", 5}};
    s->program.argv = argv;
    s->program.n_argv = 1;
}
static void word_unknown(struct setup *s)
{
    static const struct str argv[] = {{"/bin/x", 6}, {"%z", 2}};
    s->program.argv = argv;
    s->program.n_argv = 2;
}
static void root_is_user(struct setup *s)
{
    s->system_users[0].uid = 0;
}
static void home_relative(struct setup *s)
{
    s->system_users[0].home = STR("home/max");
}
static void system_users_unsorted(struct setup *s)
{
    s->system_users[0].name = STR("zzz");
}
static void relayed_with_delivery(struct setup *s)
{
    s->domains[6].deliver = s->domains[1].deliver;
}
static void relayed_with_catchall(struct setup *s)
{
    s->domains[7].catchall = STR("ann");
}
static void callout_without_relay(struct setup *s)
{
    s->domains[4].any_user = false;
    s->domains[4].callout = true;
}
static void callout_and_any(struct setup *s)
{
    s->domains[6].any_user = true;
}
static void relayed_nowhere(struct setup *s)
{
    s->domains[6].via.host = STR_NIL;
}
static void open_relay_by_mx(struct setup *s)
{
    s->domains[0].name = STR("*");
    s->domains[0].relay = DOMAIN_RELAY_MX;
    s->domains[0].deliver = (struct deliver){.kind = DELIVER_NONE};
}
static void plus_long(struct setup *s)
{
    s->domains[7].plus = STR("+-=_#");
}
static void shown_ascii(struct setup *s)
{
    s->domains[7].shown = STR("h.example");
}
static void proxy_from_without_proxy(struct setup *s)
{
    s->listeners[4].has_proxy = false;
}
static void delay_long(struct setup *s)
{
    s->listeners[4].greet_delay_s = 31;
}
static void auth_at_port_25(struct setup *s)
{
    s->listeners[5].addr.port = 25;
}
static void auth_in_plain_text(struct setup *s)
{
    s->listeners[5].tls = LISTEN_PLAIN;
}
static void tls_without_certificate(struct setup *s)
{
    s->c->n_certificates = 0;
}
static void no_such_passwords(struct setup *s)
{
    s->domains[9].passwords = 2;
}
static void key_without_path(struct setup *s)
{
    s->certificates[1].key = STR_NIL;
}
static const struct str acme_names[] = {STR_INIT("mx.example.org")};
static void with_acme(struct setup *s)
{
    s->certificates[1].names = acme_names;
    s->certificates[1].n_names = 1;
    s->c->acme = (struct acme_conf){.contact = STR("a@example.org"),
                                    .directory = STR("https://ca.example/"),
                                    .folder = STR("/acme"),
                                    .addrs = {{.kind = NETADDR_IP4, .port = 80}},
                                    .n_addrs = 1};
}
static void names_without_acme(struct setup *s)
{
    s->certificates[1].names = acme_names;
    s->certificates[1].n_names = 1;
}
static void acme_name_of_a_file(struct setup *s)
{
    static const struct str names[] = {STR_INIT("../mx.example.org")};
    with_acme(s);
    s->certificates[1].names = names;
}
static void acme_contact_is_option(struct setup *s)
{
    with_acme(s);
    s->c->acme.contact = STR("-d@example.org");
}
static void acme_without_directory(struct setup *s)
{
    with_acme(s);
    s->c->acme.directory = STR_NIL;
}
static void acme_without_address(struct setup *s)
{
    with_acme(s);
    s->c->acme.n_addrs = 0;
}
static void acme_at_no_port(struct setup *s)
{
    with_acme(s);
    s->c->acme.addrs[0].port = 0;
}
static void senders_unsorted(struct setup *s)
{
    s->senders[1].login = s->senders[0].login;
}
static void sender_upper(struct setup *s)
{
    s->senders[0].login = STR("Ann@b.example");
}
static void sender_no_address(struct setup *s)
{
    s->senders[0].login = STR("ann");
}
static void submit_by_network(struct setup *s)
{
    s->listeners[4].is_submit = true;
}
static void submit_by_lmtp(struct setup *s)
{
    s->listeners[6].lmtp = true;
}
static void submit_by_proxy(struct setup *s)
{
    s->listeners[6].has_proxy = true;
}
static void lmtp_of_users(struct setup *s)
{
    s->listeners[3].submission = true;
}
static void listener_tag_with_space(struct setup *s)
{
    s->listeners[4].tag = STR("a b");
}
static void home_without_accounts(struct setup *s)
{
    s->domains[0].deliver.maildir = STR("%h/Maildir");
}
static void forward_without_accounts(struct setup *s)
{
    s->domains[0].deliver.forward = true;
}
static void forward_without_maildir(struct setup *s)
{
    s->domains[5].deliver = s->domains[4].deliver;
    s->domains[5].deliver.forward = true;
}
static void field_bad(struct setup *s)
{
    s->listeners[4].tag_header = STR("X:T");
}
static void verp_bad(struct setup *s)
{
    s->c->policy.verp = STR("a@b");
}
static void arf_bad(struct setup *s)
{
    s->c->policy.arf = STR("a");
}
static void reporter_not_ascii(struct setup *s)
{
    s->c->tls_reports = STR("b\xc3\xbc@a.example");
}
static void reporter_without_name(struct setup *s)
{
    s->c->tls_organization = STR_NIL;
}
static void contact_not_utf8(struct setup *s)
{
    s->c->tls_contact = STR("\xff");
}
static void hostname_short(struct setup *s)
{
    s->c->policy.hostname = STR("mail");
}
static void hostname_upper(struct setup *s)
{
    s->c->policy.hostname = STR("Mail.example.org");
}
static void postmaster_bare(struct setup *s)
{
    s->c->policy.postmaster = STR("joe");
}
static void listener_none(struct setup *s)
{
    s->listeners[0].addr.kind = NETADDR_NONE;
}
static void listener_port_0(struct setup *s)
{
    s->listeners[0].addr.port = 0;
}
static void resolver_unix(struct setup *s)
{
    s->resolvers[0] = s->listeners[3].addr;
}
static void resolver_without_servers(struct setup *s)
{
    s->c->n_resolvers = 0;
}
static void recursive_with_servers(struct setup *s)
{
    s->c->resolver = RESOLVER_RECURSIVE;
}
static void spool_empty(struct setup *s)
{
    s->c->spool = STR_NIL;
}
static void control_long(struct setup *s)
{
    s->c->control = STR(
        "/2345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
        "901234567890");
}
static void no_process(struct setup *s)
{
    s->c->n_smtpd = 0;
}
static void too_many_rcpts(struct setup *s)
{
    s->c->rcpt_max = 1000000;
}
static void level_unknown(struct setup *s)
{
    s->c->log_level = 4;
}

static const struct {
    const char *name;
    void (*change)(struct setup *);
} changes[] = {
#define ROW(f)                                                                                               \
    {                                                                                                        \
#f, f                                                                                                \
    }
    ROW(root_delivers),
    ROW(half_a_user),
    ROW(maildir_is_relative),
    ROW(maildir_for_all),
    ROW(maildir_climbs),
    ROW(no_delivery),
    ROW(lmtp_nowhere),
    ROW(lmtp_port_0),
    ROW(lmtp_host_and_address),
    ROW(domains_unsorted),
    ROW(domain_twice),
    ROW(domain_upper),
    ROW(domain_bad),
    ROW(same_as_unknown),
    ROW(same_as_itself),
    ROW(users_unsorted),
    ROW(user_twice),
    ROW(user_path),
    ROW(user_upper),
    ROW(any_and_users),
    ROW(catchall_bad),
    ROW(open_relay),
    ROW(host_bits),
    ROW(too_many_bits),
    ROW(block_of_nothing),
    ROW(via_port_0),
    ROW(route_login_in_the_clear),
    ROW(route_password_of_nobody),
    ROW(route_password_somewhere),
    ROW(route_user_control),
    ROW(route_tls_unknown),
    ROW(route_certificate_without_key),
    ROW(route_certificate_unshown),
    ROW(smtps_in_the_clear),
    ROW(smtps_and_lmtp),
    ROW(via_nowhere),
    ROW(source_unknown),
    ROW(source_of_nothing),
    ROW(source_port),
    ROW(source_upper),
    ROW(helo_short),
    ROW(to_nobody),
    ROW(pattern_without_domain),
    ROW(pattern_without_local),
    ROW(tag_with_space),
    ROW(aliases_unsorted),
    ROW(alias_upper),
    ROW(alias_to_nobody),
    ROW(alias_to_a_name),
    ROW(owner_bare),
    ROW(root_runs),
    ROW(program_is_maildir),
    ROW(program_without_words),
    ROW(program_relative),
    ROW(word_unknown),
    ROW(root_is_user),
    ROW(home_relative),
    ROW(system_users_unsorted),
    ROW(relayed_with_delivery),
    ROW(relayed_with_catchall),
    ROW(callout_without_relay),
    ROW(callout_and_any),
    ROW(relayed_nowhere),
    ROW(open_relay_by_mx),
    ROW(plus_long),
    ROW(shown_ascii),
    ROW(proxy_from_without_proxy),
    ROW(delay_long),
    ROW(auth_at_port_25),
    ROW(auth_in_plain_text),
    ROW(tls_without_certificate),
    ROW(names_without_acme),
    ROW(acme_name_of_a_file),
    ROW(acme_contact_is_option),
    ROW(acme_without_directory),
    ROW(acme_without_address),
    ROW(acme_at_no_port),
    ROW(no_such_passwords),
    ROW(key_without_path),
    ROW(senders_unsorted),
    ROW(sender_upper),
    ROW(sender_no_address),
    ROW(submit_by_network),
    ROW(submit_by_lmtp),
    ROW(submit_by_proxy),
    ROW(lmtp_of_users),
    ROW(listener_tag_with_space),
    ROW(home_without_accounts),
    ROW(forward_without_accounts),
    ROW(forward_without_maildir),
    ROW(field_bad),
    ROW(verp_bad),
    ROW(arf_bad),
    ROW(reporter_not_ascii),
    ROW(reporter_without_name),
    ROW(contact_not_utf8),
    ROW(hostname_short),
    ROW(hostname_upper),
    ROW(postmaster_bare),
    ROW(listener_none),
    ROW(listener_port_0),
    ROW(resolver_unix),
    ROW(resolver_without_servers),
    ROW(recursive_with_servers),
    ROW(spool_empty),
    ROW(control_long),
    ROW(no_process),
    ROW(too_many_rcpts),
    ROW(level_unknown),
#undef ROW
};

static void test_nonsense(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct setup s;
        setup_init(&s);
        assert_true(survives(&s));
        changes[i].change(&s);
        if (survives(&s))
            fail_msg("%s was taken", changes[i].name);
        setup_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_changed_octets), cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
