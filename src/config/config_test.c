#include "config/testing.h"

#include "config/schema.h"

/* ---- a configuration as text ------------------------------------------------------------------- */

static void dump_addr(const struct netaddr *a, struct buf *out)
{
    if (a->kind == NETADDR_NONE)
        buf_printf(out, ":%u", (unsigned)a->port);
    else
        netaddr_format(a, out);
}

static void dump_hop(const struct next_hop *h, struct buf *out)
{
    buf_puts(out, h->lmtp ? "lmtp://" : h->is_smtps ? "smtps://" : "smtp://");
    buf_put(out, h->host);
    dump_addr(&h->addr, out);
}

static void dump_deliver(const struct deliver *d, struct buf *out)
{
    bool has_owner = d->kind == DELIVER_MAILDIR || d->kind == DELIVER_PIPE;
    if (d->kind == DELIVER_MAILDIR) {
        buf_printf(out, " maildir=%.*s", STR_FMT(d->maildir));
    } else if (d->kind == DELIVER_LMTP) {
        buf_printf(out, " lmtp=%.*s", STR_FMT(d->lmtp_host));
        dump_addr(&d->lmtp, out);
    } else if (d->kind == DELIVER_PIPE) {
        buf_puts(out, " pipe");
        for (size_t i = 0; i < d->n_argv; i++)
            buf_printf(out, " <%.*s>", STR_FMT(d->argv[i]));
    }
    if (has_owner)
        buf_printf(out, " user=%.*s", STR_FMT(d->user_name));
    if (has_owner && d->uid != UINT32_MAX)
        buf_printf(out, " uid=%u gid=%u", d->uid, d->gid);
    if (d->forward)
        buf_puts(out, " forward");
}

static void dump_aliases(const struct local_domain *d, struct buf *out)
{
    static const char *const kinds[] = {"", "self:", ""};
    for (size_t i = 0; i < d->n_aliases; i++) {
        const struct alias *a = &d->aliases[i];
        buf_printf(out, "\n  %.*s:", STR_FMT(a->name));
        for (size_t k = 0; k < a->n_targets; k++) {
            const struct alias_target *t = &a->targets[k];
            buf_printf(out, " %s%.*s", kinds[t->kind], t->kind == ALIAS_PIPE ? 0 : (int)t->text.n, t->text.p);
            if (t->kind == ALIAS_PIPE)
                dump_deliver(t->pipe, out);
        }
        if (a->owner.n > 0)
            buf_printf(out, " owner=%.*s", STR_FMT(a->owner));
    }
}

static void dump_domain(const struct local_domain *d, struct buf *out)
{
    buf_printf(out, "domain %.*s:", STR_FMT(d->name));
    if (d->same_as.n > 0)
        buf_printf(out, " same_as=%.*s", STR_FMT(d->same_as));
    if (d->any_user)
        buf_puts(out, " any");
    if (d->callout)
        buf_puts(out, " callout");
    for (size_t i = 0; i < d->n_users; i++)
        buf_printf(out, " %.*s", STR_FMT(d->users[i]));
    for (size_t i = 0; i < d->n_system_users; i++)
        buf_printf(out, " %.*s(%.*s %d %d)", STR_FMT(d->system_users[i].name),
                   STR_FMT(d->system_users[i].home), (int)d->system_users[i].uid,
                   (int)d->system_users[i].gid);
    if (d->catchall.n > 0)
        buf_printf(out, " catchall=%.*s", STR_FMT(d->catchall));
    if (!str_eq(d->plus, STR("+")))
        buf_printf(out, " plus=%.*s", STR_FMT(d->plus));
    if (d->relay == DOMAIN_RELAY_MX)
        buf_puts(out, " relay=mx");
    if (d->relay == DOMAIN_RELAY_HOST) {
        buf_puts(out, " relay=");
        dump_hop(&d->via, out);
    }
    dump_deliver(&d->deliver, out);
    dump_aliases(d, out);
    buf_putc(out, '\n');
}

static void dump_blocks(const char *what, const struct netblock *list, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, what);
        netaddr_format_ip(&list[i].addr, out);
        buf_printf(out, "/%u\n", list[i].bits);
    }
}

static void dump_listener(const struct listener_conf *l, struct buf *out)
{
    buf_puts(out, l->lmtp ? "lmtp " : l->is_submit ? "submit " : "smtp ");
    dump_addr(&l->addr, out);
    static const char *const tls[] = {"", " starttls", " tls"}, *const auth[] = {"", " may-auth",
                                                                                 " must-auth"};
    if (l->submission)
        buf_puts(out, " submission");
    buf_printf(out, "%s%s", tls[l->tls], auth[l->auth]);
    if (l->has_proxy)
        buf_printf(out, " proxy(%zu)", l->n_proxy_from);
    if (l->tag.n > 0)
        buf_printf(out, " tag=%.*s", STR_FMT(l->tag));
    if (l->tag_header.n > 0)
        buf_printf(out, " tag_header=%.*s", STR_FMT(l->tag_header));
    if (l->greet_delay_s > 0)
        buf_printf(out, " delay=%u", l->greet_delay_s);
    if (l->normalize)
        buf_puts(out, " normalize");
    if (l->hide_client)
        buf_puts(out, " hide_client");
    buf_putc(out, '\n');
    dump_blocks("  proxy ", l->proxy_from, l->n_proxy_from, out);
}

static void dump_pattern(const char *what, const struct pattern *p, struct buf *out)
{
    static const char *const fronts[] = {"*", "", "*.", "", "<>"};
    if (p->kind == PATTERN_ANY)
        return;
    buf_printf(out, "%s%s%.*s%s%.*s", what, fronts[p->kind], STR_FMT(p->local),
               p->kind == PATTERN_ADDRESS ? "@" : "", STR_FMT(p->domain));
}

static void dump_security(const struct config *c, struct buf *out)
{
    for (size_t i = 0; i < c->n_certificates; i++)
        buf_printf(out, "certificate %.*s %.*s\n", STR_FMT(c->certificates[i].cert),
                   STR_FMT(c->certificates[i].key));
    for (size_t i = 0; i < c->n_certificates; i++) {
        for (size_t k = 0; k < c->certificates[i].n_names; k++)
            buf_printf(out, "%zu for %.*s\n", i, STR_FMT(c->certificates[i].names[k]));
    }
    if (c->acme.contact.n > 0) {
        buf_printf(out, "acme %.*s %.*s %.*s", STR_FMT(c->acme.contact), STR_FMT(c->acme.directory),
                   STR_FMT(c->acme.folder));
        for (size_t i = 0; i < c->acme.n_addrs; i++) {
            buf_putc(out, ' ');
            dump_addr(&c->acme.addrs[i], out);
        }
        buf_putc(out, '\n');
    }
    if (c->client_ca.n > 0)
        buf_printf(out, "client_ca %zu octets\n", c->client_ca.n);
    for (size_t i = 0; i < c->n_password_files; i++)
        buf_printf(out, "passwords %.*s\n", STR_FMT(c->password_files[i]));
    for (size_t i = 0; i < c->policy.n_senders; i++) {
        buf_printf(out, "senders %.*s", STR_FMT(c->policy.senders[i].login));
        for (size_t k = 0; k < c->policy.senders[i].n; k++)
            dump_pattern(" ", &c->policy.senders[i].may[k], out);
        buf_putc(out, '\n');
    }
}

static void dump_routes(const struct policy_conf *p, struct buf *out)
{
    for (size_t i = 0; i < p->n_sources; i++) {
        buf_printf(out, "source %.*s helo=%.*s", STR_FMT(p->sources[i].name), STR_FMT(p->sources[i].helo));
        for (size_t k = 0; k < p->sources[i].n_addrs; k++) {
            buf_putc(out, ' ');
            netaddr_format_ip(&p->sources[i].addrs[k], out);
        }
        buf_putc(out, '\n');
    }
    for (size_t i = 0; i < p->n_routes; i++) {
        const struct route_rule *r = &p->routes[i];
        buf_puts(out, "route");
        dump_pattern(" from ", &r->from, out);
        dump_pattern(" to ", &r->to, out);
        if (r->tag.n > 0)
            buf_printf(out, " tag %.*s", STR_FMT(r->tag));
        buf_puts(out, r->is_mx ? " mx" : " via ");
        if (!r->is_mx)
            dump_hop(&r->via, out);
        if (r->tls != (r->is_mx || !policy_is_near(&r->via) ? HOP_TLS_MAY : HOP_TLS_NONE) && !r->via.lmtp)
            buf_printf(out, " tls %s", hop_tls_word(r->tls));
        if (r->auth.user.n > 0)
            buf_printf(out, " as %.*s by %.*s", STR_FMT(r->auth.user), STR_FMT(r->auth.secret));
        if (r->certificate.cert.n > 0)
            buf_printf(out, " cert %.*s key %.*s", STR_FMT(r->certificate.cert), STR_FMT(r->certificate.key));
        if (r->source != NULL)
            buf_printf(out, " source %.*s", STR_FMT(r->source->name));
        buf_putc(out, '\n');
    }
}

/* What differs from run to run by configuration; numbers of the schema only where they are not the default.
 */
static void dump(const struct config *c, struct buf *out)
{
    struct config presets = {.generation = 0};
    schema_presets(&presets);
    buf_printf(out, "host %.*s postmaster %.*s\n", STR_FMT(c->policy.hostname),
               STR_FMT(c->policy.postmaster));
    for (size_t i = 0; i < c->n_listeners; i++)
        dump_listener(&c->listeners[i], out);
    dump_blocks("relay ", c->policy.relay_from, c->policy.n_relay_from, out);
    dump_blocks("xclient ", c->xclient_from, c->n_xclient_from, out);
    dump_blocks("etrn ", c->etrn_from, c->n_etrn_from, out);
    for (size_t i = 0; i < c->policy.n_domains; i++)
        dump_domain(&c->policy.domains[i], out);
    dump_routes(&c->policy, out);
    dump_security(c, out);
    for (size_t i = 0; i < c->policy.n_addresses; i++) {
        buf_puts(out, "address ");
        netaddr_format_ip(&c->policy.addresses[i], out);
        buf_putc(out, '\n');
    }
    if (c->policy.verp.n + c->policy.arf.n > 0)
        buf_printf(out, "verp %.*s arf %.*s\n", STR_FMT(c->policy.verp), STR_FMT(c->policy.arf));
    if (c->tls_reports.n > 0)
        buf_printf(out, "tls reports %.*s of %.*s, %.*s\n", STR_FMT(c->tls_reports), STR_FMT(c->tls_organization),
                   STR_FMT(c->tls_contact));
    buf_printf(out, "resolver %d", (int)c->resolver);
    for (size_t i = 0; i < c->n_resolvers; i++) {
        buf_putc(out, ' ');
        dump_addr(&c->resolvers[i], out);
    }
    buf_printf(out, "%s%s\n", c->trust_anchor.n > 0 ? " anchor" : "", c->root_hints.n > 0 ? " hints" : "");
    buf_printf(out, "%.*s %.*s %.*s\n", STR_FMT(c->spool), STR_FMT(c->control), STR_FMT(c->journal));
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        const struct schema_key *k = schema_at(i);
        if (k->width > 0 && schema_get(k, c) != schema_get(k, &presets))
            buf_printf(out, "%s.%s=%llu\n", k->section, k->name, (unsigned long long)schema_get(k, c));
    }
}

struct good_row {
    const char *lua;
    const char *dump;
    const char *warnings;
};

static void check_good(const struct good_row *row, bool is_root)
{
    struct fixture f;
    struct buf text, bytes, again;
    fixture_init(&f, is_root);
    buf_init(&text, 65536);
    buf_init(&bytes, 65536);
    buf_init(&again, 65536);
    const struct config *c = fixture_load(&f, str_from_c(row->lua));
    if (c == NULL)
        fail_msg("for\n%s\ngot\n%.*s", row->lua, STR_FMT(buf_str(&f.report.errors)));
    dump(c, &text);
    assert_str(buf_str(&text), row->dump);
    assert_str(buf_str(&f.report.warnings), row->warnings);
    /* and all of it survives the way to a role */
    assert_true(config_encode(c, &bytes));
    const struct config *decoded = config_decode(buf_str(&bytes), &f.arena);
    assert_non_null(decoded);
    buf_reset(&text);
    dump(decoded, &text);
    assert_str(buf_str(&text), row->dump);
    assert_true(str_eq(decoded->authorities, c->authorities) &&
                str_eq(decoded->trust_anchor, c->trust_anchor) &&
                str_eq(decoded->root_hints, c->root_hints) && str_eq(decoded->hosts, c->hosts) &&
                (c->hosts.n > 0) == (c->resolver == RESOLVER_SYSTEM));
    assert_true(config_encode(decoded, &again));
    assert_true(str_eq(buf_str(&bytes), buf_str(&again)));
    buf_fini(&text);
    buf_fini(&bytes);
    buf_fini(&again);
    fixture_fini(&f);
}

#define RECURSIVE "resolver 0 anchor hints\n"
#define FOLDERS "/var/spool/waxwing /run/waxwing/control /var/lib/waxwing\n"
#define LISTEN25 "smtp 0.0.0.0:25\nsmtp [::]:25\n"
#define SUBMIT "submit unix:/run/waxwing/submit\n"
#define LOOPBACK "relay 127.0.0.0/8\nrelay ::1/128\n"
#define HOST "host mail.example.org postmaster joe@elsewhere.example\n"
#define NO_POSTMASTER "waxwing.lua: postmaster is missing: mail for <postmaster> has nobody to go to\n"

/* clang-format off */
#define ALIASES                                                                                                \
    "  ann: self:zoe@a.example \"j o\"@elsewhere.example\n"                                                   \
    "  box:  pipe </usr/bin/box> <-u> <%u> <a b> <c d> user= self:box@a.example\n"                              \
    "  joe: self:joe@a.example joe@elsewhere.example\n"                                                        \
    "  owner-team: joe@a.example\n"                                                                            \
    "  postmaster: root@a.example ann@elsewhere.example zoe@a.example\n"                                        \
    "  root: joe@a.example\n"                                                                                  \
    "  team: joe@a.example zoe@elsewhere.example zoe@a.example ann@a.example owner=owner-team@a.example\n"
static const struct good_row rows[] = {
    {"hostname \"mail.example.org\"", "host mail.example.org postmaster \n"
     "" LISTEN25 LOOPBACK RECURSIVE FOLDERS, NO_POSTMASTER},
    {"\xef\xbb\xbfhostname \"Mail.Example.ORG\"\r\npostmaster \"Joe@Elsewhere.example\"\r\n",
     "host mail.example.org postmaster Joe@Elsewhere.example\n" LISTEN25 LOOPBACK RECURSIVE FOLDERS, ""},
    /* the example of the manual */
    {"hostname   \"mail.example.org\"                               -- EHLO name; the PTR record must match\n"
     "postmaster \"admin@example.org\"                              -- postmaster@ and abuse@ of every "
     "domain\n"
     "relay_from { \"127.0.0.0/8\", \"::1\", \"10.1.0.0/16\" }\n"
     "listen     { port = 25 }\n"
     "domain \"example.org\" { users = passwd \"org.users\", deliver = lmtp \"unix:/run/dovecot/lmtp\" }\n"
     "domain \"example.net\" { users = file \"net.users\", catchall = \"info\", deliver = maildir "
     "\"/var/vmail/%d/%u\" }\n"
     "domain \"example.com\" { same_as = \"example.org\" }\n"
     "route  { to = \"*\", via = \"smtp://hub.isp.example:587\" }\n",
     "host mail.example.org postmaster admin@example.org\n" LISTEN25
     "relay 127.0.0.0/8\nrelay ::1/128\nrelay 10.1.0.0/16\n"
     "domain example.com: same_as=example.org admin ann joe lmtp=unix:/run/dovecot/lmtp\n"
     "domain example.net: abuse info postmaster catchall=info maildir=/var/vmail/%d/%u user=\n"
     "domain example.org: admin ann joe lmtp=unix:/run/dovecot/lmtp\n"
     "route via smtp://hub.isp.example:587\npasswords /etc/waxwing/org.users\n" RECURSIVE FOLDERS, ""},
    /* listeners */
    {TEST_HEAD "listen { port = 2525, address = \"192.0.2.1\" }\nlisten { address = \"2001:db8::1\" }\n"
     "listen { address = \"[::1]:26\" }\nlisten { address = \"unix:/run/ww\", lmtp = true }\nlisten { lmtp "
     "= true, address = \"127.0.0.1\" }\n",
     HOST "smtp 192.0.2.1:2525\nsmtp [2001:db8::1]:25\nsmtp [::1]:26\nlmtp unix:/run/ww\nlmtp 127.0.0.1:24\n"
     "" LOOPBACK "address 192.0.2.1\naddress 2001:db8::1\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "listen { port = 465 }\nlisten { port = \"587\", address = \"::1\" }\n",
     HOST "smtp 0.0.0.0:465\nsmtp [::]:465\nsmtp [::1]:587\n" LOOPBACK RECURSIVE FOLDERS,
     "waxwing.lua:3: port 465 is where users log in, and nobody can here: that takes submission = true, a certificate (tls) and passwords (users = passwd \"FILE\", or auth) or oauth\n"
     "waxwing.lua:4: port 587 is where users log in, and nobody can here: that takes submission = true, a certificate (tls) and passwords (users = passwd \"FILE\", or auth) or oauth\n"},
    /* who may relay */
    {TEST_HEAD "relay_from {}", HOST LISTEN25 RECURSIVE FOLDERS, ""},
    {TEST_HEAD "relay_from \"10.0.0.0/8\"", HOST LISTEN25 "relay 10.0.0.0/8\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "relay_from { \"192.0.2.7\", \"2001:db8::/32\", \"::ffff:10.0.0.0/104\" }",
     HOST LISTEN25 "relay 192.0.2.7/32\nrelay 2001:db8::/32\nrelay 10.0.0.0/8\n" RECURSIVE FOLDERS, ""},
    /* smart hosts */
    {TEST_HEAD "route { to = \"*\", via = \"SMTP://[2001:db8::25]\" }",
     HOST LISTEN25 LOOPBACK "route via smtp://[2001:db8::25]:25\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://192.0.2.25:2525/\" }",
     HOST LISTEN25 LOOPBACK "route via smtp://192.0.2.25:2525\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://localhost:2525\" }",
     HOST LISTEN25 LOOPBACK "route via smtp://localhost:2525 tls may\n" RECURSIVE FOLDERS, ""},
    /* resolvers */
    {TEST_HEAD "resolver \"system\"", HOST LISTEN25 LOOPBACK "resolver 1 192.0.2.53:53 [2001:db8::53]:53\n"
     "" FOLDERS, ""},
    {TEST_HEAD "resolver \"recursive\"", HOST LISTEN25 LOOPBACK RECURSIVE FOLDERS, ""},
    {TEST_HEAD "resolver \"127.0.0.1:5353\"", HOST LISTEN25 LOOPBACK "resolver 2 127.0.0.1:5353\n" FOLDERS,
     ""},
    {TEST_HEAD "resolver { \"9.9.9.9\", \"[2620:fe::fe]:5353\", trust_anchor = \"lab.key\" }",
     HOST LISTEN25 LOOPBACK "resolver 2 9.9.9.9:53 [2620:fe::fe]:5353 anchor\n" FOLDERS, ""},
    {TEST_HEAD "resolver { \"recursive\", trust_anchor = \"lab.key\", root_hints = \"lab.hints\" }",
     HOST LISTEN25 LOOPBACK RECURSIVE FOLDERS, ""},
    /* places and numbers */
    {TEST_HEAD "spool \"spool\" control \"/c\" journal { path = \"j\", keep = \"2w\" }",
     HOST LISTEN25 LOOPBACK RECURSIVE "/etc/waxwing/spool /c /etc/waxwing/j\njournal.keep=1209600\n", ""},
    {TEST_HEAD "journal \"/j\" smtp_port \"2525\" log { format = \"json\", level = \"debug\" } processes { "
     "smtpd = 32, relay = 1, trim = true }",
     HOST LISTEN25 LOOPBACK RECURSIVE "/var/spool/waxwing /run/waxwing/control /j\n"
     ".smtp_port=2525\nprocesses.smtpd=32\nprocesses.relay=1\nprocesses.trim=1\nlog.format=1\nlog.level=0\n", ""},
    {TEST_HEAD "outgoing { mta_sts = false }", HOST LISTEN25 LOOPBACK RECURSIVE FOLDERS "outgoing.mta_sts=0\n", ""},
    {TEST_HEAD "smtp_port(26)", HOST LISTEN25 LOOPBACK RECURSIVE FOLDERS ".smtp_port=26\n", ""},
    {TEST_HEAD "limits { message_size = \"10MB\", recipients = 500, sessions = 7, sessions_per_client = 0, "
     "memory = 2^25, site_connections = 3 }\n"
     "retry { first = 90, longest = \"1h\", jitter = 0, give_up = \"1d\", give_up_bounce = \"90s\" }",
     HOST LISTEN25 LOOPBACK RECURSIVE FOLDERS
     "limits.message_size=10485760\nlimits.recipients=500\nlimits.sessions=7\nlimits.sessions_per_client=0\n"
     "limits.memory=33554432\n"
     "limits.site_connections=3\nretry.first=90\nretry.longest=3600\nretry.jitter=0\nretry.give_up=86400\n"
     "retry.give_up_bounce=90\n", ""},
    /* domains */
    {TEST_HEAD "domain \"Example.ORG\" { users = { \"Zoe\", \"ann\", \"zoe\", \"o'hara\", \"a+b\", "
     "\"j\xc3\xb6rg\" }, deliver = lmtp \"[::1]:2424\" }",
     HOST LISTEN25 LOOPBACK "domain example.org: a+b ann j\xc3\xb6rg o'hara zoe lmtp=[::1]:2424\n"
     "" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"XN--bcher-kva.example\" { users = any, deliver = lmtp \"Dovecot.example\" }",
     HOST LISTEN25 LOOPBACK "domain xn--bcher-kva.example: any lmtp=dovecot.example:24\n"
     "" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"B\xc3\x9c" "cher.example\" { users = any, deliver = lmtp \"h\" }",
     HOST LISTEN25 LOOPBACK "domain xn--bcher-kva.example: any lmtp=h:24\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"a.example\" { users = {}, catchall = \"Box@elsewhere.example\", deliver = lmtp "
     "\"h\" }",
     HOST LISTEN25 LOOPBACK "domain a.example: catchall=Box@elsewhere.example lmtp=h:24\n" RECURSIVE FOLDERS,
     "waxwing.lua:3: domain \"a.example\" has no users\n"},
    {TEST_HEAD "domain \"a.example\" { users = any, user = \"whoever\", deliver = maildir \"/m/%u/100%%\" }",
     HOST LISTEN25 LOOPBACK "domain a.example: any maildir=/m/%u/100%% user=whoever\n" RECURSIVE FOLDERS, ""},
    {"hostname \"mail.example.org\" domain \"a.example\" { users = { \"Postmaster\", \"abuse\" }, deliver = "
     "lmtp \"h\" }",
     "host mail.example.org postmaster \n" LISTEN25 LOOPBACK "domain a.example: abuse postmaster lmtp=h:24\n"
     "" RECURSIVE FOLDERS, ""},
    /* listeners and clients */
    {TEST_HEAD "listen { port = 587, address = \"192.0.2.1\", submission = true, tag = \"users\", tag_header = "
     "\"X-Tag\", normalize = true, hide_client = true }\n"
     "listen { port = 26, address = \"127.0.0.1\", proxy = true, greet_delay = \"6s\" }\n"
     "listen { port = 27, address = \"127.0.0.1\", proxy = { \"10.0.0.0/8\", \"::1\" } }\n"
     "submit \"run/submit\" xclient_from { \"127.0.0.1\" } commands { expn = true, etrn = { \"10.0.0.0/8\" } }",
     HOST "smtp 192.0.2.1:587 submission tag=users tag_header=X-Tag normalize hide_client\n"
     "smtp 127.0.0.1:26 proxy(0) delay=6\nsmtp 127.0.0.1:27 proxy(2)\n  proxy 10.0.0.0/8\n  proxy ::1/128\n"
     "submit unix:/etc/waxwing/run/submit\n" LOOPBACK "xclient 127.0.0.1/32\netrn 10.0.0.0/8\naddress 192.0.2.1\n"
     "" RECURSIVE FOLDERS "commands.expn=1\n",
     "waxwing.lua:3: port 587 is where users log in, and nobody can here: that takes submission = true, a certificate (tls) and passwords (users = passwd \"FILE\", or auth) or oauth\n"},
    /* certificates and logins */
    {TEST_HEAD "tls { cert = \"mx.pem\", key = \"/etc/mx.key\", tickets = false }\n"
     "tls { cert = \"b.pem\", key = \"b.key\", legacy = true }\n"
     "listen { address = \"::1\" } listen { address = \"::1\", port = 465, submission = true }\n"
     "listen { address = \"::1\", port = 587, submission = true, auth = \"may\" }\n"
     "listen { address = \"::1\", port = 26, tls = \"off\", submission = true }\n"
     "listen { address = \"::1\", port = 24, lmtp = true, tls = \"implicit\" }\n"
     "senders { [\"Joe@example.org\"] = { \"*@x.example\", \"<>\" }, [\"ann@example.org\"] = \"*\" }\n"
     "domain \"example.org\" { users = passwd \"org.users\", deliver = lmtp \"h\" }\n"
     "domain \"example.net\" { users = passwd \"org.users\", deliver = lmtp \"h\" }\n",
     HOST "smtp [::1]:25 starttls\n"
     "smtp [::1]:465 submission tls must-auth\n"
     "smtp [::1]:587 submission starttls may-auth\n"
     "smtp [::1]:26 submission\n"
     "lmtp [::1]:24 tls\n"
     LOOPBACK "domain example.net: admin ann joe lmtp=h:24\n"
     "domain example.org: admin ann joe lmtp=h:24\n"
     "certificate /etc/waxwing/mx.pem /etc/mx.key\n"
     "certificate /etc/waxwing/b.pem /etc/waxwing/b.key\n"
     "passwords /etc/waxwing/org.users\n"
     "senders ann@example.org\n"
     "senders joe@example.org x.example <>\n"
     "" RECURSIVE FOLDERS "tls.legacy=1\ntls.tickets=0\n", ""},
    {"tls { acme = \"admin@example.org\" }\n" TEST_HEAD "listen { address = \"::1\" }\n",
     HOST "smtp [::1]:25 starttls\n" LOOPBACK
     "certificate /var/lib/waxwing-acme/mail.example.org.crt /var/lib/waxwing-acme/mail.example.org.key\n"
     "0 for mail.example.org\n"
     "acme admin@example.org https://acme-v02.api.letsencrypt.org/directory /var/lib/waxwing-acme 0.0.0.0:80 [::]:80\n"
     "" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "listen { address = \"::1\" }\n"
     "tls { acme = \"admin@example.org\", names = { \"MX.example.org\", \"b\xc3\xbc.example\", \"mx.example.org\" }, "
     "acme_directory = \"https://ca.example/dir\", acme_folder = \"acme\", acme_address = \"[::1]:8080\" }\n"
     "tls { cert = \"c\", key = \"k\" }\n"
     "tls { acme = \"admin@example.org\", names = { \"b.example\" }, acme_address = \"[::1]:8080\" }\n",
     HOST "smtp [::1]:25 starttls\n" LOOPBACK
     "certificate /etc/waxwing/acme/mx.example.org.crt /etc/waxwing/acme/mx.example.org.key\n"
     "certificate /etc/waxwing/c /etc/waxwing/k\n"
     "certificate /etc/waxwing/acme/b.example.crt /etc/waxwing/acme/b.example.key\n"
     "0 for mx.example.org\n0 for xn--b-eha.example\n2 for b.example\n"
     "acme admin@example.org https://ca.example/dir /etc/waxwing/acme [::1]:8080\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = lmtp \"h\" }\n"
     "submit(false) reports { success_to_strangers = false, delay_after = 0, suppress = true, suppress_keep "
     "= \"1w\", verp = \"Bounce\", arf = \"fbl@a.example\" } limits { future_release = \"7d\", deliver_by = false, "
     "deliver_by_min = 60, mt_priority = false }",
     HOST LISTEN25 LOOPBACK "domain a.example: any lmtp=h:24\nverp bounce arf fbl@a.example\n" RECURSIVE FOLDERS
     "limits.future_release=604800\nlimits.deliver_by=0\nlimits.deliver_by_min=60\nlimits.mt_priority=0\n"
     "reports.success_to_strangers=0\nreports.delay_after=0\nreports.suppress=1\nreports.suppress_keep=604800\n",
     "waxwing.lua:4: verp: no domain that is named has a list, which is an alias NAME beside an alias owner-NAME: nothing "
     "is sent with it\n"},
    {TEST_HEAD "reports { tls = \"tls@elsewhere.example\" }",
     HOST LISTEN25 LOOPBACK "tls reports tls@elsewhere.example of mail.example.org, tls@elsewhere.example\n"
     RECURSIVE FOLDERS, ""},
    {TEST_HEAD "reports { tls_every = 10, tls_contact = \"+49 30 1234\", tls = \"Tls@a.example\", tls_organization = "
     "\"B\xc3\xbc & Co\" }\n"
     "route { to = \"*\", via = \"smtp://hub.example\" }\n"
     "domain \"a.example\" { users = any, deliver = lmtp \"h\" }",
     HOST LISTEN25 LOOPBACK "domain a.example: any lmtp=h:24\nroute via smtp://hub.example:25\n"
     "tls reports Tls@a.example of B\xc3\xbc & Co, +49 30 1234\n" RECURSIVE FOLDERS "reports.tls_every=10\n",
     "waxwing.lua:3: tls: no mail goes to the MX hosts of its domain: there is nothing to report\n"},
    /* routes */
    {TEST_HEAD "source \"News\" { address = { \"192.0.2.7\", \"2001:db8::7\" }, helo = \"News.example.org\" }\n"
     "route { to = \"direct.example\", via = \"mx\" }\nroute { to = \"*.Below.example\", via = "
     "\"lmtp://inner.example\" }\nroute { from = \"*@shop.example\", source = \"news\" }\n"
     "route { from = \"Joe@Shop.example\", to = \"ann@b.example\", tag = \"t\", via = "
     "\"smtp://Hub.example\", source = \"NEWS\" }\n"
     "route { from = \"<>\", via = \"lmtp:///run/x\" }\nroute { tag = \"bulk\", via = \"smtp://[::1]:26\" }\n"
     "source \"a\" { address = \"192.0.2.8\" }\nroute { to = \"*\", source = \"a\" }",
     HOST LISTEN25 LOOPBACK "source a helo= 192.0.2.8\nsource news helo=news.example.org 192.0.2.7 2001:db8::7\n"
     "route to direct.example mx\nroute to *.below.example via lmtp://inner.example:24\n"
     "route from shop.example mx source news\n"
     "route from joe@shop.example to ann@b.example tag t via smtp://hub.example:25 source news\n"
     "route from <> via lmtp://unix:/run/x\nroute tag bulk via smtp://[::1]:26 tls may\nroute mx source a\n"
     "" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "route { to = \"a.example\", via = \"smtps://me@Hub.example\", password = secret \"hub.pass\" }\n"
     "route { to = \"b.example\", via = \"smtp://hub.example:587\", user = \"joe@isp.example\", password = secret "
     "\"/etc/waxwing/hub.pass\", tls = \"encrypt\" }\n"
     "route { to = \"c.example\", via = \"smtp://a@hub.example\", password = secret \"hub.pass\" }\n"
     "route { to = \"d.example\", tls = \"verify\" }\nroute { to = \"e.example\", via = \"mx\", tls = \"none\" }\n"
     "route { to = \"n.example\", cert = \"us.pem\", key = \"us.key\" }\n"
     "route { to = \"o.example\", via = \"smtp://me@hub.example\", cert = \"us.pem\", key = \"us.key\" }\n"
     "route { to = \"k.example\", tls = \"any\" }\nroute { to = \"l.example\", tls = \"dane\" }\n"
     "route { to = \"m.example\", via = \"smtps://me@hub.example\", password = secret \"hub.pass\", tls = \"dane\" }\n"
     "route { to = \"f.example\", via = \"smtps://192.0.2.1\", tls = \"encrypt\" }\n"
     "route { to = \"g.example\", via = \"smtp://a@localhost\", password = secret \"hub.pass\", tls = \"none\" }\n"
     "route { to = \"h.example\", via = \"smtp://a@[::1]:587\", password = secret \"hub.pass\" }\n"
     "route { to = \"i.example\", via = \"smtps://127.0.0.1\" }\nroute { to = \"j.example\", via = \"smtp:///run/x\" }\n"
     "route { to = \"*\", via = \"smtps://hub.example\" }",
     HOST LISTEN25 LOOPBACK
     "route to a.example via smtps://hub.example:465 tls verify as me by /etc/waxwing/hub.pass\n"
     "route to b.example via smtp://hub.example:587 tls encrypt as joe@isp.example by /etc/waxwing/hub.pass\n"
     "route to c.example via smtp://hub.example:25 tls verify as a by /etc/waxwing/hub.pass\n"
     "route to d.example mx tls verify\nroute to e.example mx tls none\n"
     "route to n.example mx cert /etc/waxwing/us.pem key /etc/waxwing/us.key\n"
     "route to o.example via smtp://hub.example:25 tls verify as me by  cert /etc/waxwing/us.pem key "
     "/etc/waxwing/us.key\n"
     "route to k.example mx tls any\nroute to l.example mx tls dane\n"
     "route to m.example via smtps://hub.example:465 tls dane as me by /etc/waxwing/hub.pass\n"
     "route to f.example via smtps://192.0.2.1:465 tls encrypt\n"
     "route to g.example via smtp://localhost:25 as a by /etc/waxwing/hub.pass\n"
     "route to h.example via smtp://[::1]:587 tls may as a by /etc/waxwing/hub.pass\n"
     "route to i.example via smtps://127.0.0.1:465 tls encrypt\nroute to j.example via smtp://unix:/run/x\n"
     "route via smtps://hub.example:465 tls verify\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "route { to = \"*\", via = \"smtp://a.example\" }\nroute { to = \"b.example\", via = \"mx\" }",
     HOST LISTEN25 LOOPBACK "route via smtp://a.example:25\nroute to b.example mx\n" RECURSIVE FOLDERS,
     "waxwing.lua:4: this route is never used: the one in waxwing.lua, line 3, takes all mail\n"},
    /* aliases */
    {TEST_HEAD "domain \"a.example\" { users = { \"zoe\", \"joe\", \"box\" }, aliases = file \"aliases\", deliver = "
     "lmtp \"h\", plus = \"+-\" }\ndomain \"b.example\" { same_as = \"a.example\" }",
     HOST LISTEN25 LOOPBACK "domain a.example: box joe zoe plus=+- lmtp=h:24\n" ALIASES
     "domain b.example: same_as=a.example box joe zoe plus=+- lmtp=h:24\n" ALIASES RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"a.example\" { users = { \"zoe\" }, plus = \"\", catchall = \"all\", deliver = lmtp \"h\", "
     "aliases = { all = { \"zoe\", \"x@elsewhere.example\" }, Sales = \"zoe, all\", [\"first.last\"] = "
     "\"gone@a.example\" } }",
     HOST LISTEN25 LOOPBACK "domain a.example: zoe catchall=all plus= lmtp=h:24\n  all: zoe@a.example "
     "x@elsewhere.example\n  first.last: gone@a.example\n  sales: zoe@a.example all@a.example\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"a.example\" { users = { \"zoe\" }, deliver = lmtp \"h\", aliases = { x = "
     "\"nosuch, zoe, nosuch2@b.example\", y = \"y\", z = \"|/bin/cat > /tmp/x\" } }\n"
     "domain \"b.example\" { users = { \"ann\" }, deliver = lmtp \"h\" }",
     HOST LISTEN25 LOOPBACK "domain a.example: zoe lmtp=h:24\n  x: nosuch@a.example zoe@a.example nosuch2@b.example\n"
     "  y: self:y@a.example\n  z:  pipe </bin/cat> <>> </tmp/x> user=\ndomain b.example: ann lmtp=h:24\n"
     "" RECURSIVE FOLDERS,
     "waxwing.lua:3: alias \"z\": the program gets > as a word: no shell is run\n"
     "waxwing.lua:3: alias \"x\": \"nosuch@a.example\" is no user or alias of its domain\n"
     "waxwing.lua:3: alias \"x\": \"nosuch2@b.example\" is no user or alias of its domain\n"
     "waxwing.lua:3: alias \"y\": \"y@a.example\" is no user or alias of its domain\n"},
    /* relayed domains */
    {TEST_HEAD "domain \"a.example\" { relay = \"mx\", recipients = any }\n"
     "domain \"b.example\" { relay = \"smtp://Inner.example:2525\", recipients = \"callout\" }\n"
     "domain \"c.example\" { relay = \"lmtp://unix:/run/x\", recipients = { \"joe\", \"Ann\" }, aliases = { x = "
     "\"joe\" } }\ndomain \"d.example\" { relay = \"mx\", recipients = file \"net.users\" }",
     HOST LISTEN25 LOOPBACK "domain a.example: any relay=mx\ndomain b.example: callout "
     "relay=smtp://inner.example:2525\ndomain c.example: ann joe relay=lmtp://unix:/run/x\n  x: joe@c.example\n"
     "domain d.example: abuse info postmaster relay=mx\n" RECURSIVE FOLDERS, ""},
    /* the accounts of the machine, programs, every domain */
    {TEST_HEAD "domain \"a.example\" { users = system, deliver = maildir \"%h/Maildir\", forward = true }",
     HOST LISTEN25 LOOPBACK "domain a.example: max(/srv/max -1 -1) zoe(/home/zoe -1 -1) maildir=%h/Maildir user= forward\n"
     "" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"*\" { users = any, deliver = pipe { \"/bin/x\", \"-f\", \"%s\", \"\", \"100%%\" } }",
     HOST LISTEN25 LOOPBACK "domain *: any pipe </bin/x> <-f> <%s> <> <100%%> user=\n" RECURSIVE FOLDERS, ""},
    {"hostname \"mail.example.org\" domain \"*\" { users = any, deliver = lmtp \"h\" }",
     "host mail.example.org postmaster \n" LISTEN25 LOOPBACK "domain *: any lmtp=h:24\n" RECURSIVE FOLDERS, ""},
    {"hostname \"mail.example.org\" domain \"a.example\" { users = {}, deliver = lmtp \"h\", aliases = { postmaster = "
     "\"x@elsewhere.example\", abuse = \"postmaster\" } }",
     "host mail.example.org postmaster \n" LISTEN25 LOOPBACK "domain a.example: lmtp=h:24\n  abuse: "
     "postmaster@a.example\n  postmaster: x@elsewhere.example\n" RECURSIVE FOLDERS, ""},
    /* it is Lua */
    {TEST_HEAD "-- variables, conditions, loops, functions\n"
     "local list = {}\nfor i = 1, 3 do table.insert(list, string.format(\"u%02d\", i)) end\n"
     "where = lmtp \"h\"\nlocal function simple(name) domain(name) { users = list, deliver = where } end\n"
     "if #list == 3 then simple \"a.example\" simple(\"b\" .. \".example\") end\n"
     "for name, size in pairs { message_size = \"1M\" } do limits { [name] = size } end\n"
     "for _, n in ipairs { (\"x\"):rep(3):upper(), tostring(nil) } do assert(type(n) == \"string\" and n ~= "
     "\"\") end\n"
     "smtp_port(math.max(1, math.tointeger(2526.0)) - 1)",
     HOST LISTEN25 LOOPBACK "domain a.example: u01 u02 u03 lmtp=h:24\ndomain b.example: u01 u02 u03 "
     "lmtp=h:24\n" RECURSIVE FOLDERS
     ".smtp_port=2525\nlimits.message_size=1048576\n", ""},
    {"local t = include \"more.lua\"\npostmaster(\"joe@\" .. t.name)",
     "host mail.example.org postmaster joe@inc.example\n" LISTEN25 LOOPBACK RECURSIVE FOLDERS, ""},
    {"include \"sub/deep.lua\"", HOST LISTEN25 LOOPBACK RECURSIVE FOLDERS, ""},
};

static const struct good_row root_rows[] = {
    {TEST_HEAD "domain \"a.example\" { users = any, user = \"vmail\", deliver = maildir \"/m/%d/%u\" }",
     HOST LISTEN25 SUBMIT LOOPBACK "domain a.example: any maildir=/m/%d/%u user=vmail uid=5000 gid=5001\n"
     "" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "domain \"a.example\" { users = any, deliver = maildir { path = \"/m/%d/%u\", user = "
     "\"vmail\" } }\n"
     "domain \"b.example\" { same_as = \"a.example\" }",
     HOST LISTEN25 SUBMIT LOOPBACK "domain a.example: any maildir=/m/%d/%u user=vmail uid=5000 gid=5001\n"
     "domain b.example: same_as=a.example any maildir=/m/%d/%u user=vmail uid=5000 gid=5001\n"
     "" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "submit(false) domain \"a.example\" { users = system, user = \"vmail\", deliver = maildir \"/m/%d/%u\", "
     "aliases = { x = \"|/bin/x\" } }",
     HOST LISTEN25 LOOPBACK "domain a.example: max(/srv/max 1000 1000) zoe(/home/zoe 1001 1101) maildir=/m/%d/%u user="
     "\n  x:  pipe </bin/x> user=vmail uid=5000 gid=5001\n" RECURSIVE FOLDERS, ""},
    {TEST_HEAD "control \"/tmp/x/control\" domain \"a.example\" { users = any, deliver = pipe { \"/bin/x\", user = "
     "\"vmail\" } }",
     HOST LISTEN25 LOOPBACK "domain a.example: any pipe </bin/x> user=vmail uid=5000 "
     "gid=5001\n" RECURSIVE "/var/spool/waxwing /tmp/x/control /var/lib/waxwing\n", ""},
};
/* clang-format on */

static void test_good(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_good(&rows[i], false);
}

static void test_good_as_root(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(root_rows); i++)
        check_good(&root_rows[i], true);
}

static void test_contents_of_files(void **state)
{
    UNUSED(state);
    struct fixture f;
    fixture_init(&f, false);
    const struct config *c =
        fixture_load(&f, STR(TEST_HEAD "resolver { \"recursive\", root_hints = \"lab.hints\" }"));
    assert_non_null(c);
    assert_str(c->root_hints, ". NS lab");
    assert_str(c->trust_anchor, ". IN DNSKEY 257");
    assert_str(c->authorities, "the ca");
    fixture_fini(&f);
}

static void test_missing_system_files(void **state)
{
    UNUSED(state);
    struct fixture f;
    bool has_none = true;
    fixture_init(&f, false);
    f.env.arg = &has_none;
    const struct config *c = fixture_load(&f, STR(TEST_HEAD));
    assert_non_null(c);
    assert_int_equal(c->trust_anchor.n + c->root_hints.n + c->authorities.n, 0);
    assert_str(buf_str(&f.report.warnings),
               "waxwing.lua: can't read /usr/share/dns/root.key (package dns-root-data): "
               "DNS answers are not validated\n"
               "waxwing.lua: can't read /usr/share/dns/root.hints (package dns-root-data): "
               "built-in hints are used\n");
    c = fixture_load(&f, STR(TEST_HEAD "resolver \"system\""));
    assert_non_null(c);
    assert_str(buf_str(&f.report.warnings),
               "waxwing.lua:3: can't read /etc/resolv.conf: the name server is taken to be 127.0.0.1\n");
    assert_int_equal(c->n_resolvers, 1);
    assert_true(netaddr_is_loopback(&c->resolvers[0]) && c->resolvers[0].port == 53);
    c = fixture_load(&f, STR(TEST_HEAD "resolver \"system\" route { to = \"*\", tls = \"verify\" }"));
    assert_true(c != NULL &&
                str_find(buf_str(&f.report.warnings),
                         STR("ca-certificates.crt (package ca-certificates): no server")) != STR_NPOS);
    c = fixture_load(&f, STR(TEST_HEAD "resolver \"system\" route { to = \"*\", tls = \"dane\" }"));
    assert_true(
        c != NULL &&
        str_find(buf_str(&f.report.warnings),
                 STR("waxwing.lua: a route has tls = \"dane\", and DNS answers are not validated: its "
                     "mail will wait\n")) != STR_NPOS);
    c = fixture_load(&f, STR(TEST_HEAD "authorities \"lab-ca.pem\" route { to = \"*\", tls = \"verify\" }"));
    assert_non_null(c);
    assert_str(c->authorities, "lab ca");
    assert_true(str_find(buf_str(&f.report.warnings), STR("ca-certificates")) == STR_NPOS);
    fixture_fini(&f);
}

/* The line is that of the key, in the file where it stands. */
static void test_place_in_include(void **state)
{
    UNUSED(state);
    struct fixture f;
    fixture_init(&f, false);
    assert_null(fixture_load(&f, STR(TEST_HEAD "include \"typo.lua\"")));
    assert_str(buf_str(&f.report.errors),
               "typo.lua:4: unknown key 'adress' in listen: did you mean 'address'?\n");
    fixture_fini(&f);
}

/* The same facts in any order, and tables with many keys, give the same octets each time. */
static void test_order(void **state)
{
    UNUSED(state);
    static const char one[] = TEST_HEAD
        "for n, u in pairs { [\"c.example\"] = \"x\", [\"a.example\"] = \"y\", [\"b.example\"] = \"z\", "
        "[\"zz.example\"] = \"q\" } do\n"
        "domain(n) { users = { u }, deliver = lmtp \"h\" } listen { address = \"unix:/\" .. n } end";
    static const char two[] = "listen { address = \"unix:/a.example\" } listen { address = "
                              "\"unix:/b.example\" } listen { address = \"unix:/c.example\" }\n"
                              "listen { address = \"unix:/zz.example\" } domain \"zz.example\" { deliver = "
                              "lmtp \"h\", users = { \"q\" } }\n"
                              "domain \"b.example\" { users = { \"z\" }, deliver = lmtp \"h\" } domain "
                              "\"a.example\" { users = { \"y\" }, deliver = lmtp \"h\" }\n"
                              "domain \"c.example\" { users = { \"x\" }, deliver = lmtp \"h\" }\n" TEST_HEAD;
    struct buf first, bytes;
    buf_init(&first, 65536);
    buf_init(&bytes, 65536);
    for (unsigned i = 0; i < 20; i++) {
        struct fixture f;
        fixture_init(&f, false);
        const struct config *c = fixture_load(&f, str_from_c(i % 2 == 0 ? one : two));
        assert_non_null(c);
        buf_reset(&bytes);
        assert_true(config_encode(c, i == 0 ? &first : &bytes));
        if (i > 0)
            assert_true(str_eq(buf_str(&first), buf_str(&bytes)));
        fixture_fini(&f);
    }
    buf_fini(&first);
    buf_fini(&bytes);
}

/* A list of users of some size, and many domains: what a large site has. */
static void test_large(void **state)
{
    UNUSED(state);
    struct fixture f;
    fixture_init(&f, false);
    const struct config *c = fixture_load(
        &f, STR(TEST_HEAD "local t = {} for i = 1, 100000 do t[i] = \"user\" .. i end\n"
                          "domain \"big.example\" { users = t, deliver = lmtp \"h\" }\n"
                          "for i = 1, 5000 do domain(i .. \".example\") { same_as = \"big.example\" } end"));
    if (c == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&f.report.errors)));
    assert_int_equal(c->policy.n_domains, 5001);
    const struct local_domain *d = policy_domain(&c->policy, STR("4711.example"));
    assert_non_null(d);
    assert_true(policy_has_user(d, STR("User77777")));
    assert_false(policy_has_user(d, STR("user100001")));
    fixture_fini(&f);
    fixture_init(&f, false);
    c = fixture_load(
        &f, STR(TEST_HEAD
                "local t, list = {}, {} for i = 1, 100000 do t[\"a\" .. i] = \"u\" .. i .. \", x\" end\n"
                "for i = 1, 50000 do list[i] = \"a\" .. i end t.list = list\n"
                "domain \"big.example\" { users = any, aliases = t, deliver = lmtp \"h\" }\n"
                "for i = 1, 5000 do route { from = i .. \".example\", via = \"smtp://h\" } end"));
    if (c == NULL)
        fail_msg("%.*s", STR_FMT(buf_str(&f.report.errors)));
    assert_int_equal(c->policy.domains[0].n_aliases, 100001);
    assert_int_equal(policy_alias(&c->policy.domains[0], STR("List"))->n_targets, 50000);
    assert_int_equal(c->policy.n_routes, 5000);
    fixture_fini(&f);
    fixture_init(&f, false);
    assert_null(fixture_load(
        &f, STR(TEST_HEAD
                "local t = {} for i = 1, 1000 do t[i] = \"u\" .. i end\n"
                "for i = 1, 1001 do domain(i .. \".example\") { users = any, aliases = { x = t }, deliver = "
                "lmtp \"h\" } end")));
    assert_str(buf_str(&f.report.errors), "waxwing.lua:4: more than a million targets of aliases\n");
    fixture_fini(&f);
    fixture_init(&f, false);
    assert_null(fixture_load(
        &f, STR(TEST_HEAD
                "for i = 1, 10001 do domain(i .. \".example\") { users = any, deliver = lmtp \"h\" } end")));
    assert_str(buf_str(&f.report.errors), "waxwing.lua:3: more than 10000 domains\n");
    fixture_fini(&f);
}

/* What runs without a file is a configuration that this loader takes, whatever the folder is called. */
static void test_default(void **state)
{
    UNUSED(state);
    static const char *const dirs[] = {"/run/user/1000/waxwing", "/tmp/a \"b\" \\ 100% \xc3\xb6", "/x"};
    for (size_t i = 0; i < ARRAY_LEN(dirs) * 2; i++) {
        struct fixture f;
        struct buf lua, path;
        bool is_root = i % 2 == 1;
        struct str dir = str_from_c(dirs[i / 2]);
        fixture_init(&f, is_root);
        buf_init(&lua, 65536);
        buf_init(&path, 4096);
        config_default_lua(dir, 2525, is_root ? STR("vmail") : STR_NIL, &lua);
        const struct config *c = fixture_load(&f, buf_str(&lua));
        if (c == NULL)
            fail_msg("%.*s\n%.*s", STR_FMT(buf_str(&lua)), STR_FMT(buf_str(&f.report.errors)));
        assert_int_equal(f.report.n_warnings, 0);
        assert_str(c->policy.hostname, "localhost.localdomain");
        assert_int_equal(c->n_listeners, 2);
        assert_true(c->listeners[1].is_submit && str_starts(str_from_c(c->listeners[1].addr.path), dir));
        assert_true(netaddr_is_loopback(&c->listeners[0].addr));
        assert_int_equal(c->listeners[0].addr.port, 2525);
        assert_int_equal(c->policy.n_relay_from, 0);
        assert_int_equal(c->policy.n_domains, 1);
        assert_true(str_starts(c->spool, dir) && str_starts(c->journal, dir) && str_starts(c->control, dir));
        const struct local_domain *d = policy_domain(&c->policy, STR("localhost"));
        assert_non_null(d);
        assert_true(d->any_user);
        assert_int_equal(d->deliver.uid, is_root ? 5000 : UINT32_MAX);
        assert_true(policy_maildir(&d->deliver, STR("joe"), d->name, STR_NIL, &path));
        assert_true(str_starts(buf_str(&path), dir) && str_ends(buf_str(&path), STR("/mail/joe")));
        buf_fini(&lua);
        buf_fini(&path);
        fixture_fini(&f);
    }
}

/* Nor is anything but mail for ourselves taken by the one of `waxwing dev`: every domain is local, nobody
 * relays. */
static void test_dev(void **state)
{
    UNUSED(state);
    static const char *const dirs[] = {"/run/user/1000/waxwing", "/tmp/a \"b\" \\ 100% \xc3\xb6", "/x"};
    static const char *const addresses[] = {"127.0.0.1", "0.0.0.0", "::1"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        struct fixture f;
        struct buf lua, path;
        struct str dir = str_from_c(dirs[i]);
        fixture_init(&f, false); /* root never runs it */
        buf_init(&lua, 65536);
        buf_init(&path, 4096);
        config_dev_lua(dir, str_from_c(addresses[i]), 1025, &lua);
        const struct config *c = fixture_load(&f, buf_str(&lua));
        if (c == NULL)
            fail_msg("%.*s\n%.*s", STR_FMT(buf_str(&lua)), STR_FMT(buf_str(&f.report.errors)));
        assert_int_equal(f.report.n_warnings, 0);
        assert_int_equal(c->n_listeners, 2);
        netaddr_format_ip(&c->listeners[0].addr, &path);
        assert_str(buf_str(&path), addresses[i]);
        assert_int_equal(c->listeners[0].addr.port, 1025);
        assert_int_equal(c->policy.n_relay_from, 0);
        assert_int_equal(c->policy.n_routes, 0);
        assert_int_equal(c->policy.n_domains, 1);
        const struct local_domain *d = policy_domain(&c->policy, STR("any.example"));
        assert_non_null(d);
        assert_true(d->any_user && d->relay == DOMAIN_ENDS_HERE && d->plus.n == 0);
        buf_reset(&path);
        assert_true(policy_maildir(&d->deliver, STR("joe"), STR("any.example"), STR_NIL, &path));
        assert_true(str_starts(buf_str(&path), dir) &&
                    str_ends(buf_str(&path), STR("/mail/any.example/joe")));
        buf_fini(&lua);
        buf_fini(&path);
        fixture_fini(&f);
    }
}

/* That of `waxwing relay`, as short as it gets and with all that can be said. */
static void test_relay(void **state)
{
    static const struct rewrite_name root = {STR_INIT("root"), STR_INIT("admin@example.org")};
    UNUSED(state);
    struct config_relay r = {.dir = STR("/tmp/a \"b\" \\ 100% \xc3\xb6"),
                             .hostname = STR("box.example.org"),
                             .via = STR("smtp://mail.isp.example"),
                             .postmaster = STR("me@isp.example")};
    for (unsigned is_full = 0; is_full < 2; is_full++) {
        struct fixture f;
        struct buf lua;
        fixture_init(&f, is_full == 1);
        buf_init(&lua, 65536);
        r.sockets = is_full == 1 ? STR("/run/waxwing") : r.dir;
        if (is_full == 1) {
            r.via = STR("smtps://mail.isp.example:465");
            r.user = STR("me \"x\" @isp.example");
            r.secret = STR("/etc/waxwing/hub.pass");
            r.tls = STR("encrypt");
            r.address = STR("::1");
            r.port = 2525;
            r.rewrite = (struct rewrite_conf){STR("me@isp.example"), STR("example.org"),
                                              STR("all@example.org"), &root, 1};
        }
        config_relay_lua(&r, &lua);
        const struct config *c = fixture_load(&f, buf_str(&lua));
        if (c == NULL)
            fail_msg("%.*s\n%.*s", STR_FMT(buf_str(&lua)), STR_FMT(buf_str(&f.report.errors)));
        assert_int_equal(f.report.n_warnings, 0);
        assert_int_equal(c->policy.n_domains, 0);
        assert_int_equal(c->policy.n_routes, 1);
        const struct route_rule *route = &c->policy.routes[0];
        assert_true(str_eq(route->auth.user, r.user) && str_eq(route->auth.secret, r.secret));
        assert_int_equal(route->tls, is_full == 1 ? HOP_TLS_ENCRYPT : HOP_TLS_MAY);
        assert_true(str_starts(c->spool, r.dir) && str_starts(c->journal, r.dir) &&
                    str_starts(c->control, r.sockets));
        const struct rewrite_conf *w = &c->policy.rewrite;
        assert_true(str_eq(w->from, r.rewrite.from) && str_eq(w->domain, r.rewrite.domain) &&
                    str_eq(w->to, r.rewrite.to) && w->n_names == is_full);
        /* by default nothing listens on the network */
        assert_int_equal(c->n_listeners, 1 + is_full);
        assert_true(c->listeners[0].is_submit &&
                    str_starts(str_from_c(c->listeners[0].addr.path), r.sockets));
        assert_true(is_full == 0 ||
                    (netaddr_is_loopback(&c->listeners[1].addr) && c->listeners[1].submission));
        buf_fini(&lua);
        fixture_fini(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dev),
        cmocka_unit_test(test_relay),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_good_as_root),
        cmocka_unit_test(test_contents_of_files),
        cmocka_unit_test(test_missing_system_files),
        cmocka_unit_test(test_place_in_include),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
