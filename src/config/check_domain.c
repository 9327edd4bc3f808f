/* config/check_domain.c: what the keys of a domain mean together, and domains beside each other. */
#include "config/check.h"

#include "base/limits.h"
#include "config/shared.h"
#include "config/values.h"

#include <stdlib.h>

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

static bool find_owner(struct loader *ld, struct domain_fact *f, struct str login, uint32_t *uid,
                       uint32_t *gid)
{
    const struct config_env *env = ld->env;
    if (!env->find_user(env->arg, login, uid, gid)) {
        report_error(ld->report, owner_of(ld, f), "there is no user \"%.*s\" on this machine",
                     STR_FMT(report_brief(login)));
        f->is_bad = true;
        return false;
    }
    if (*uid == 0)
        domain_error(ld, f, owner_of(ld, f),
                     "has root as its user: root writes no mail, a Maildir's links would lead it anywhere");
    return *uid != 0;
}

/* Who the delivering process becomes, and who runs programs. As a normal user we can only be ourselves. */
static void check_owner(struct loader *ld, struct domain_fact *f)
{
    struct deliver *d = &f->d.deliver;
    bool is_written = d->kind == DELIVER_MAILDIR && !f->is_system, is_run = d->kind == DELIVER_PIPE;
    uint32_t uid = UINT32_MAX, gid = UINT32_MAX;
    if (!is_written && !is_run && f->programs == NULL) {
        if (f->user.n > 0)
            domain_error(ld, f, owner_of(ld, f),
                         f->is_system ? "has a user, but with users = system each user writes his own mail"
                                      : "has a user, but no Maildir that would belong to it");
        return;
    }
    if (f->user.n == 0 && ld->env->is_root) {
        if (is_written)
            domain_error(
                ld, f, key_of(ld, f, "deliver"),
                "needs user = \"LOGIN\": who owns the Maildirs. Root writes no mail: a Maildir's links "
                "would lead it anywhere");
        else
            domain_error(ld, f, is_run ? key_of(ld, f, "deliver") : f->programs->at,
                         "needs user = \"LOGIN\": who runs its programs. Root runs none");
        return;
    }
    if (ld->env->is_root && !find_owner(ld, f, f->user, &uid, &gid))
        return;
    if (is_written || is_run) {
        d->user_name = f->user;
        d->uid = uid;
        d->gid = gid;
    }
    for (struct program_fact *p = f->programs; p != NULL; p = p->next) {
        p->deliver->user_name = f->user;
        p->deliver->uid = uid;
        p->deliver->gid = gid;
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
    else if (error == NULL && str_chr(name, '@') == STR_NPOS && !policy_has_user(&f->d, name) &&
             policy_alias(&f->d, name) == NULL)
        error = "is none of the users of this domain";
    if (error != NULL) {
        report_error(ld->report, key_of(ld, f, "catchall"), "catchall: \"%.*s\" %s",
                     STR_FMT(report_brief(name)), error);
        f->is_bad = true;
    }
}

static void check_relayed(struct loader *ld, struct domain_fact *f)
{
    const struct domain_fact *d = f;
    if (d->has_users || d->has_deliver || d->has_auth || d->d.catchall.n > 0 || d->d.deliver.forward)
        domain_error(ld, f, key_of(ld, f, "relay"),
                     "has relay: users, deliver, auth, catchall and forward have no meaning, its mail does "
                     "not end here");
    else if (str_eq(d->d.name, STR("*")) && d->d.relay == DOMAIN_RELAY_MX)
        domain_error(ld, f, key_of(ld, f, "relay"),
                     "goes to the MX hosts of any domain, for anybody: this would be an open relay");
    else if (!d->has_recipients)
        domain_error(
            ld, f, key_of(ld, f, "relay"),
            "needs recipients = \"callout\", a list or any: who exists there. What is taken for others "
            "must be sent back, often to people who never wrote it");
    else if (d->d.via.host.n > 0 && !d->d.via.lmtp && str_ieq(d->d.via.host, ld->conf->policy.hostname))
        domain_error(ld, f, key_of(ld, f, "relay"), "goes to the machine itself: mail would run in a circle");
}

static void check_local(struct loader *ld, struct domain_fact *f)
{
    const struct deliver *d = &f->d.deliver;
    if (!f->has_users)
        domain_error(ld, f, f->at, "needs users = ..., or same_as = another domain");
    if (!f->has_deliver)
        domain_error(ld, f, f->at, "needs deliver = ...: what becomes of its mail");
    if (f->has_recipients)
        domain_error(ld, f, key_of(ld, f, "recipients"),
                     "has recipients, which belong to relay: here they are users");
    if (d->forward && !f->is_system)
        domain_error(ld, f, key_of(ld, f, "forward"),
                     "has forward, which needs users = system: who has a home");
    else if (d->forward && f->has_deliver && d->kind != DELIVER_MAILDIR)
        domain_error(
            ld, f, key_of(ld, f, "forward"),
            "has forward, which needs deliver = maildir: what else takes the mail may forward it itself");
    if (d->kind == DELIVER_MAILDIR && !f->is_system && str_starts(d->maildir, STR("%h")))
        domain_error(ld, f, key_of(ld, f, "deliver"),
                     "has %h in its Maildir, which needs users = system: who has a "
                     "home");
    if (str_eq(f->d.name, STR("*")) && (!f->d.any_user || f->d.catchall.n > 0))
        domain_error(ld, f, f->at, "takes users = any, and no catchall");
    else if (str_eq(f->d.name, STR("*")) && f->has_auth)
        domain_error(ld, f, key_of(ld, f, "auth"), "has auth, and no name that somebody could log in with");
    if (!f->is_bad && !f->d.any_user && f->d.n_users + f->d.n_system_users == 0 && f->d.n_aliases == 0)
        report_warning(ld->report, f->at, "domain \"%.*s\" has no users", STR_FMT(report_brief(f->d.name)));
}

/* One domain by itself. */
static void check_domain(struct loader *ld, struct domain_fact *f)
{
    if (!f->has_table) {
        domain_error(ld, f, f->at, "needs { ... } behind its name");
        return;
    }
    aliases_settle(ld, f);
    if (f->is_bad)
        return;
    if (f->d.same_as.n > 0) {
        if (f->has_users || f->has_deliver || f->has_auth || f->user.n > 0 || f->d.catchall.n > 0 ||
            f->has_recipients || f->d.relay != DOMAIN_ENDS_HERE || f->n_aliases > 0 || f->has_plus ||
            f->d.deliver.forward || str_eq(f->d.name, STR("*")))
            domain_error(ld, f, key_of(ld, f, "same_as"),
                         "is same_as another one: no other key may stand beside it");
        return;
    }
    if (f->d.relay != DOMAIN_ENDS_HERE)
        check_relayed(ld, f);
    else
        check_local(ld, f);
    if (!f->is_bad) {
        check_owner(ld, f);
        check_catchall(ld, f);
    }
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
        config_share(&f->d, &other->d);
    }
}

void check_domains(struct loader *ld)
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

enum { EXPANSION_MEMORY = 64 * 1024 * 1024 };

static bool is_routed(const struct policy_conf *p, struct str address, uint8_t target)
{
    char mem[8192];
    struct buf text;
    struct route route;
    struct rcpt rcpt = {.address = address, .target = target};
    buf_init_fixed(&text, mem, sizeof mem);
    policy_route(p, &(struct route_ask){.rcpt = &rcpt}, &text, &route);
    return route.kind != ROUTE_NOWHERE;
}

/* An address that is refused at once, or an alias that leads to nobody. */
static bool leads_nowhere(struct loader *ld, struct str address)
{
    const struct policy_conf *p = &ld->conf->policy;
    struct arena a;
    struct expansion e;
    struct rcpt rcpt = {.address = address};
    arena_init(&a, ld->arena->pool, EXPANSION_MEMORY);
    bool is_routable = !policy_expand(p, &rcpt, &a, &e); /* without memory nothing can be said */
    if (!is_routable && e.kind == EXPAND_NONE)
        is_routable = is_routed(p, address, 0);
    for (size_t i = 0; !is_routable && e.kind == EXPAND_ALIAS && i < e.n_targets; i++)
        is_routable = is_routed(p, e.targets[i].address, e.targets[i].target);
    arena_reset(&a);
    return !is_routable;
}

/* Targets in domains of ours that are neither users nor aliases: their mail would come back. */
static void check_targets(struct loader *ld, const struct domain_fact *f)
{
    const struct policy_conf *p = &ld->conf->policy;
    for (const struct alias_fact *a = f->aliases; a != NULL; a = a->next) {
        for (size_t i = 0; i < a->alias.n_targets; i++) {
            const struct alias_target *t = &a->alias.targets[i];
            struct address to;
            if (t->kind == ALIAS_PIPE || address_parse(t->text, true, &to) != NULL)
                continue;
            bool is_lost =
                t->kind == ALIAS_SELF ? !is_routed(p, t->text, 0) : policy_rcpt(p, true, &to) > RCPT_CALLOUT;
            if (is_lost)
                report_warning(ld->report, a->at,
                               "alias \"%.*s\": \"%.*s\" is no user or alias of its domain",
                               STR_FMT(report_brief(a->alias.name)), STR_FMT(report_brief(t->text)));
        }
    }
}

static bool reserved_lead_nowhere(struct loader *ld, struct str domain)
{
    static const char *const names[] = {"postmaster@", "abuse@"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char mem[SMTP_DOMAIN_MAX + 16];
        struct buf address;
        buf_init_fixed(&address, mem, sizeof mem);
        buf_puts(&address, names[i]);
        buf_put(&address, str_eq(domain, STR("*")) ? ld->conf->policy.hostname : domain);
        if (leads_nowhere(ld, buf_str(&address)))
            return true;
    }
    return false;
}

static bool has_list(const struct local_domain *d)
{
    for (size_t i = 0; i < d->n_aliases; i++) {
        if (d->aliases[i].owner.n > 0)
            return true;
    }
    return false;
}

/* Where reports and complaints are to come in must be ours. */
static void check_reports(struct loader *ld)
{
    const struct policy_conf *p = &ld->conf->policy;
    struct place at = check_given_at(ld, "reports");
    bool is_any = false;
    for (size_t i = 0; i < p->n_domains; i++)
        is_any = is_any || (has_list(&p->domains[i]) && !str_eq(p->domains[i].name, STR("*")));
    if (p->verp.n > 0 && !is_any)
        report_warning(ld->report, loader_key_place(ld, at, STR("reports"), STR("verp")),
                       "verp: no domain that is named has a list, which is an alias NAME beside an alias "
                       "owner-NAME: nothing is sent with it");
    struct place arf_at = loader_key_place(ld, at, STR("reports"), STR("arf"));
    size_t sign = str_rchr(p->arf, '@');
    if (p->arf.n == 0)
        return;
    if (policy_domain(p, str_skip(p->arf, sign + 1)) == NULL)
        report_error(ld->report, arf_at,
                     "arf: \"%.*s\" is in no domain of ours: complaints that go elsewhere can't be read here",
                     STR_FMT(report_brief(p->arf)));
    else if (leads_nowhere(ld, p->arf))
        report_error(ld->report, arf_at, "arf: \"%.*s\" is none of the users of its domain",
                     STR_FMT(report_brief(p->arf)));
}

static void check_tls_reports(struct loader *ld)
{
    struct config *c = ld->conf;
    struct place at = check_given_at(ld, "reports"),
                 tls_at = loader_key_place(ld, at, STR("reports"), STR("tls"));
    size_t sign = str_rchr(c->tls_reports, '@');
    if (c->tls_reports.n == 0) {
        if (c->tls_organization.n + c->tls_contact.n > 0)
            report_error(
                ld->report, at,
                "reports: tls = \"ADDRESS\" is missing, the address that reports about TLS come from");
        return;
    }
    if (c->tls_organization.n == 0)
        c->tls_organization = c->policy.hostname;
    if (c->tls_contact.n == 0)
        c->tls_contact = c->tls_reports;
    if (policy_domain(&c->policy, str_skip(c->tls_reports, sign + 1)) != NULL &&
        leads_nowhere(ld, c->tls_reports))
        report_error(ld->report, tls_at, "tls: \"%.*s\" is none of the users of its domain",
                     STR_FMT(report_brief(c->tls_reports)));
    else if (!config_reports_tls(c))
        report_warning(ld->report, tls_at,
                       "tls: no mail goes to the MX hosts of its domain: there is nothing to report");
}

void check_redirections(struct loader *ld)
{
    const struct policy_conf *p = &ld->conf->policy;
    if (p->postmaster.n > 0) {
        if (leads_nowhere(ld, p->postmaster))
            report_error(ld->report, check_given_at(ld, "postmaster"),
                         "postmaster: \"%.*s\" is none of the users of its domain",
                         STR_FMT(report_brief(p->postmaster)));
    } else if (p->n_domains == 0) {
        report_warning(ld->report, check_whole_file(ld),
                       "postmaster is missing: mail for <postmaster> has nobody to go to");
    }
    check_reports(ld);
    check_tls_reports(ld);
    for (const struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        if (p->postmaster.n == 0 && reserved_lead_nowhere(ld, f->d.name)) {
            report_error(
                ld->report, f->at,
                "domain \"%.*s\" has no user postmaster or no user abuse: name who reads that mail with "
                "postmaster \"ADDRESS\"",
                STR_FMT(report_brief(f->d.name)));
            return;
        }
        if (f->d.catchall.n > 0 && str_chr(f->d.catchall, '@') != STR_NPOS &&
            leads_nowhere(ld, f->d.catchall))
            report_error(ld->report, key_of(ld, f, "catchall"),
                         "catchall: \"%.*s\" is none of the users of its domain",
                         STR_FMT(report_brief(f->d.catchall)));
        check_targets(ld, f);
    }
}
