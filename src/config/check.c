/* config/check.c: what the facts mean together: the lists of a run become struct config, and what does not
 * fit is reported at the place of the fact that does not fit.
 */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <stdlib.h>
#include <string.h>

enum { RESOLV_CONF_MAX = 8 };

static bool is_given(const struct loader *ld, const char *fact)
{
    for (size_t i = 0; i < LOADER_FACTS_MAX && schema_at(i) != NULL; i++) {
        if (str_eq(str_from_c(schema_at(i)->section), STR("")) &&
            str_eq(str_from_c(schema_at(i)->name), str_from_c(fact)))
            return ld->given[i].line > 0;
    }
    must_not_reach();
}

static struct place given_at(const struct loader *ld, const char *fact)
{
    for (size_t i = 0; i < LOADER_FACTS_MAX && schema_at(i) != NULL; i++) {
        if (str_eq(str_from_c(schema_at(i)->section), STR("")) &&
            str_eq(str_from_c(schema_at(i)->name), str_from_c(fact)))
            return ld->given[i];
    }
    must_not_reach();
}

static struct place whole_file(const struct loader *ld)
{
    return (struct place){ld->name, 0};
}

/* ---- listeners and clients --------------------------------------------------------------------- */

static struct listener_fact *default_listeners(struct loader *ld)
{
    struct listener_fact *l = loader_alloc(ld, 2, sizeof *l);
    l[0].conf.addr = (struct netaddr){.kind = NETADDR_IP4, .port = 25};
    l[1].conf.addr = (struct netaddr){.kind = NETADDR_IP6, .port = 25};
    l[0].next = &l[1];
    ld->n_listeners = 2;
    return l;
}

/* An address that another one covers ("0.0.0.0:25" and "192.0.2.1:25") can't be bound beside it. */
static bool overlap(const struct netaddr *a, const struct netaddr *b)
{
    if (netaddr_eq(a, b))
        return true;
    return a->kind == b->kind && a->kind != NETADDR_UNIX && a->port == b->port &&
           (netaddr_is_any(a) || netaddr_is_any(b));
}

static void check_listener(struct loader *ld, const struct listener_fact *l)
{
    char mem[NETADDR_TEXT_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    netaddr_format(&l->conf.addr, &text);
    for (const struct listener_fact *other = ld->listeners; other != l && other != NULL;
         other = other->next) {
        if (!overlap(&other->conf.addr, &l->conf.addr))
            continue;
        report_error(ld->report, l->at, "%.*s is listened on twice (the first is in %.*s, line %d)",
                     STR_FMT(buf_str(&text)), STR_FMT(report_brief(other->at.file)), other->at.line);
        return;
    }
    if (l->at.line > 0 && !l->conf.lmtp && (l->conf.addr.port == 465 || l->conf.addr.port == 587))
        report_warning(ld->report, l->at,
                       "port %u is where users log in, over TLS: both are not in this version of Waxwing",
                       (unsigned)l->conf.addr.port);
}

static void check_listeners(struct loader *ld)
{
    struct config *c = ld->conf;
    if (ld->listeners == NULL && !is_given(ld, "listen"))
        ld->listeners = default_listeners(ld);
    struct listener_conf *list = loader_alloc(ld, ld->n_listeners, sizeof *list);
    for (const struct listener_fact *l = ld->listeners; l != NULL; l = l->next) {
        check_listener(ld, l);
        list[c->n_listeners++] = l->conf;
    }
    c->listeners = list;
}

static void check_relay_from(struct loader *ld)
{
    static const char *const loopback[] = {"127.0.0.0/8", "::1"};
    struct policy_conf *p = &ld->conf->policy;
    struct netblock *list = loader_alloc(ld, ld->n_blocks + ARRAY_LEN(loopback), sizeof *list);
    for (const struct block_fact *b = ld->blocks; b != NULL; b = b->next)
        list[p->n_relay_from++] = b->block;
    for (size_t i = 0; i < ARRAY_LEN(loopback) && !is_given(ld, "relay_from"); i++)
        must(netblock_parse(str_from_c(loopback[i]), &list[p->n_relay_from++]));
    p->relay_from = list;
}

/* ---- domains ----------------------------------------------------------------------------------- */

static struct place key_of(const struct loader *ld, const struct domain_fact *f, const char *key)
{
    return loader_key_place(ld, f->at, STR("domain"), str_from_c(key));
}

static struct place owner_of(const struct loader *ld, const struct domain_fact *f)
{
    return f->at_user.line > 0 ? f->at_user : key_of(ld, f, "user");
}

static void domain_error(struct loader *ld, struct domain_fact *f, struct place at, const char *problem)
{
    report_error(ld->report, at, "domain \"%.*s\" %s", STR_FMT(report_brief(f->d.name)), problem);
    f->is_bad = true;
}

/* Who the delivering process becomes. As a normal user we can only be ourselves. */
static void check_owner(struct loader *ld, struct domain_fact *f)
{
    const struct config_env *env = ld->env;
    uint32_t uid, gid;
    if (f->d.deliver.kind != DELIVER_MAILDIR) {
        if (f->user.n > 0)
            domain_error(ld, f, owner_of(ld, f), "has a user, but no Maildir that would belong to it");
        return;
    }
    f->d.deliver.user_name = f->user;
    if (!env->is_root)
        return;
    if (f->user.n == 0) {
        domain_error(ld, f, key_of(ld, f, "deliver"),
                     "needs user = \"LOGIN\": who owns the Maildirs. Root writes no mail: a Maildir's links "
                     "would lead "
                     "it anywhere");
    } else if (!env->find_user(env->arg, f->user, &uid, &gid)) {
        report_error(ld->report, owner_of(ld, f), "there is no user \"%.*s\" on this machine",
                     STR_FMT(report_brief(f->user)));
        f->is_bad = true;
    } else if (uid == 0) {
        domain_error(ld, f, owner_of(ld, f),
                     "has root as its user: root writes no mail, a Maildir's links would lead it anywhere");
    } else {
        f->d.deliver.uid = uid;
        f->d.deliver.gid = gid;
    }
}

static void check_catchall(struct loader *ld, struct domain_fact *f)
{
    struct str name = f->d.catchall;
    if (name.n == 0)
        return;
    const char *error = str_chr(name, '@') == STR_NPOS ? value_user_error(name) : value_mailbox_error(name);
    if (f->d.any_user)
        domain_error(ld, f, key_of(ld, f, "catchall"),
                     "has a catchall, but with users = any no mail is left for it");
    else if (error == NULL && str_chr(name, '@') == STR_NPOS && !policy_has_user(&f->d, name))
        error = "is none of the users of this domain";
    if (error != NULL) {
        report_error(ld->report, key_of(ld, f, "catchall"), "catchall: \"%.*s\" %s",
                     STR_FMT(report_brief(name)), error);
        f->is_bad = true;
    }
}

/* One domain by itself. */
static void check_domain(struct loader *ld, struct domain_fact *f)
{
    if (!f->has_table) {
        domain_error(ld, f, f->at, "needs { ... } behind its name");
        return;
    }
    if (f->is_bad)
        return;
    if (f->d.same_as.n > 0) {
        if (f->has_users || f->has_deliver || f->user.n > 0 || f->d.catchall.n > 0)
            domain_error(ld, f, key_of(ld, f, "same_as"),
                         "is same_as another one: no other key may stand beside it");
        return;
    }
    if (!f->has_users)
        domain_error(ld, f, f->at, "needs users = ..., or same_as = another domain");
    if (!f->has_deliver)
        domain_error(ld, f, f->at, "needs deliver = ...: what becomes of its mail");
    if (!f->is_bad) {
        check_owner(ld, f);
        check_catchall(ld, f);
    }
    if (!f->is_bad && !f->d.any_user && f->d.n_users == 0)
        report_warning(ld->report, f->at, "domain \"%.*s\" has no users", STR_FMT(report_brief(f->d.name)));
}

static int compare_domains(const void *pa, const void *pb)
{
    struct domain_fact *const *a = pa, *const *b = pb;
    int c = str_icmp((*a)->d.name, (*b)->d.name);
    if (c == 0)
        c = str_cmp((*a)->at.file, (*b)->at.file);
    return c != 0 ? c : (*a)->at.line - (*b)->at.line;
}

static struct domain_fact *find_domain(struct domain_fact **sorted, size_t n, struct str name)
{
    size_t from = 0, to = n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (str_icmp(sorted[mid]->d.name, name) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from < n && str_ieq(sorted[from]->d.name, name) ? sorted[from] : NULL;
}

static void check_same_as(struct loader *ld, struct domain_fact *f, struct domain_fact **sorted, size_t n)
{
    const struct domain_fact *other = find_domain(sorted, n, f->d.same_as);
    struct str name = report_brief(f->d.same_as);
    if (other == NULL) {
        report_error(ld->report, key_of(ld, f, "same_as"),
                     "same_as: \"%.*s\" is no domain of this configuration", STR_FMT(name));
    } else if (other == f) {
        report_error(ld->report, key_of(ld, f, "same_as"), "same_as: \"%.*s\" is this domain itself",
                     STR_FMT(name));
    } else if (other->d.same_as.n > 0) {
        report_error(ld->report, key_of(ld, f, "same_as"),
                     "same_as: \"%.*s\" is itself same_as \"%.*s\": name that one", STR_FMT(name),
                     STR_FMT(report_brief(other->d.same_as)));
    } else {
        f->d.any_user = other->d.any_user;
        f->d.users = other->d.users;
        f->d.n_users = other->d.n_users;
        f->d.deliver = other->d.deliver;
    }
}

static void check_domains(struct loader *ld)
{
    struct policy_conf *p = &ld->conf->policy;
    struct domain_fact **sorted =
        loader_alloc(ld, CONFIG_DOMAINS_MAX < ld->n_domains ? CONFIG_DOMAINS_MAX : ld->n_domains,
                     sizeof(struct domain_fact *));
    size_t n = 0;
    for (struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        check_domain(ld, f);
        sorted[n++] = f;
    }
    if (n > 0)
        qsort(sorted, n, sizeof(struct domain_fact *), compare_domains);
    struct local_domain *list = loader_alloc(ld, n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        struct domain_fact *f = sorted[i];
        if (i > 0 && str_ieq(f->d.name, sorted[i - 1]->d.name))
            report_error(ld->report, f->at, "domain \"%.*s\" is given twice (the first is in %.*s, line %d)",
                         STR_FMT(report_brief(f->d.name)), STR_FMT(report_brief(sorted[i - 1]->at.file)),
                         sorted[i - 1]->at.line);
        if (f->d.same_as.n > 0 && !f->is_bad)
            check_same_as(ld, f, sorted, n);
        list[i] = f->d;
    }
    p->domains = list;
    p->n_domains = n;
}

/* ---- where redirected mail ends ---------------------------------------------------------------- */

static bool leads_nowhere(const struct policy_conf *p, struct str address)
{
    char mem[8192];
    struct buf text;
    struct route route;
    buf_init_fixed(&text, mem, sizeof mem);
    struct rcpt rcpt = {.address = address};
    policy_route(p, &(struct route_ask){.rcpt = &rcpt}, &text, &route);
    return route.kind == ROUTE_NOWHERE;
}

static bool reserved_lead_nowhere(const struct policy_conf *p, struct str domain)
{
    static const char *const names[] = {"postmaster@", "abuse@"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char mem[SMTP_DOMAIN_MAX + 16];
        struct buf address;
        buf_init_fixed(&address, mem, sizeof mem);
        buf_puts(&address, names[i]);
        buf_put(&address, domain);
        if (leads_nowhere(p, buf_str(&address)))
            return true;
    }
    return false;
}

static void check_redirections(struct loader *ld)
{
    const struct policy_conf *p = &ld->conf->policy;
    if (p->postmaster.n > 0) {
        if (leads_nowhere(p, p->postmaster))
            report_error(ld->report, given_at(ld, "postmaster"),
                         "postmaster: \"%.*s\" is none of the users of its domain",
                         STR_FMT(report_brief(p->postmaster)));
    } else if (p->n_domains == 0) {
        report_warning(ld->report, whole_file(ld),
                       "postmaster is missing: mail for <postmaster> has nobody to go to");
    }
    for (const struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        if (p->postmaster.n == 0 && reserved_lead_nowhere(p, f->d.name)) {
            report_error(
                ld->report, f->at,
                "domain \"%.*s\" has no user postmaster or no user abuse: name who reads that mail with "
                "postmaster \"ADDRESS\"",
                STR_FMT(report_brief(f->d.name)));
            return;
        }
        if (f->d.catchall.n > 0 && str_chr(f->d.catchall, '@') != STR_NPOS && leads_nowhere(p, f->d.catchall))
            report_error(ld->report, key_of(ld, f, "catchall"),
                         "catchall: \"%.*s\" is none of the users of its domain",
                         STR_FMT(report_brief(f->d.catchall)));
    }
}

/* ---- the rest ---------------------------------------------------------------------------------- */

static bool read_optional(struct loader *ld, const char *path, struct str *out)
{
    struct str text;
    if (ld->env->read_file(ld->env->arg, str_from_c(path), ld->arena, &text) != ERR_OK)
        return false;
    *out = text;
    return true;
}

static void read_resolv_conf(struct loader *ld)
{
    struct config *c = ld->conf;
    struct str text = STR_NIL;
    struct netaddr *list = loader_alloc(ld, RESOLV_CONF_MAX, sizeof *list);
    struct place at = given_at(ld, "resolver");
    if (!read_optional(ld, "/etc/resolv.conf", &text))
        report_warning(ld->report, at,
                       "can't read /etc/resolv.conf: the name server is taken to be 127.0.0.1");
    c->n_resolvers = value_resolv_conf(text, list, RESOLV_CONF_MAX);
    if (c->n_resolvers == 0) { /* resolv.conf(5): the one on this machine */
        must(netaddr_parse_ip(STR("127.0.0.1"), 53, &list[0]));
        c->n_resolvers = 1;
    }
    c->resolvers = list;
}

static void check_resolver(struct loader *ld)
{
    struct config *c = ld->conf;
    struct place at = is_given(ld, "resolver") ? given_at(ld, "resolver") : whole_file(ld);
    switch (c->resolver) {
    case RESOLVER_SYSTEM:
        read_resolv_conf(ld);
        break;
    case RESOLVER_RECURSIVE:
        if (c->trust_anchor.n == 0 && !read_optional(ld, "/usr/share/dns/root.key", &c->trust_anchor))
            report_warning(
                ld->report, at,
                "can't read /usr/share/dns/root.key (package dns-root-data): DNS answers are not validated");
        if (c->root_hints.n == 0 && !read_optional(ld, "/usr/share/dns/root.hints", &c->root_hints))
            report_warning(
                ld->report, at,
                "can't read /usr/share/dns/root.hints (package dns-root-data): built-in hints are used");
        break;
    case RESOLVER_ADDRESSES:
        break;
    }
}

static void check_retry(struct loader *ld)
{
    const struct config *c = ld->conf;
    struct place at = ld->at_retry.line > 0 ? ld->at_retry : whole_file(ld);
    if (c->retry_first_s > c->retry_max_s)
        report_error(ld->report, at, "retry: 'first' is longer than 'longest'");
    if (c->retry_first_s > c->expire_s)
        report_error(ld->report, at, "retry: 'first' is longer than 'give_up': nothing would be tried again");
}

static struct str path_or(struct loader *ld, struct str given, const char *fact)
{
    const struct schema_key *k = schema_find(STR(""), str_from_c(fact));
    struct str preset = str_from_c(k->preset);
    return given.n > 0 ? given : loader_copy(ld, str_slice(preset, 1, preset.n - 1)); /* without its quotes */
}

void check(struct loader *ld)
{
    struct config *c = ld->conf;
    c->spool = path_or(ld, c->spool, "spool");
    c->control = path_or(ld, c->control, "control");
    c->journal = path_or(ld, c->journal, "journal");
    if (!is_given(ld, "hostname"))
        report_error(ld->report, whole_file(ld), "hostname is missing: hostname \"mail.example.org\"");
    check_listeners(ld);
    check_relay_from(ld);
    check_domains(ld);
    check_resolver(ld);
    check_retry(ld);
    if (c->policy.n_routes > 0 && c->policy.hostname.n > 0 &&
        str_ieq(c->policy.routes[0].via.host, c->policy.hostname))
        report_error(ld->report, given_at(ld, "route"),
                     "via: this is the machine itself, mail would run in a circle");
    if (ld->report->n_errors == 0)
        check_redirections(ld);
}
