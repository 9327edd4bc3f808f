/* config/check.c: what the facts mean together: the lists of a run become struct config, and what does not
 * fit is reported at the place of the fact that does not fit.
 */
#include "config/check.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/shared.h"
#include "config/values.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { RESOLV_CONF_MAX = 8 };

struct place check_given_at(const struct loader *ld, const char *fact)
{
    for (size_t i = 0; i < LOADER_FACTS_MAX && schema_at(i) != NULL; i++) {
        if (str_eq(str_from_c(schema_at(i)->section), STR("")) &&
            str_eq(str_from_c(schema_at(i)->name), str_from_c(fact)))
            return ld->given[i];
    }
    must_not_reach();
}

static bool is_given(const struct loader *ld, const char *fact)
{
    return check_given_at(ld, fact).line > 0;
}

struct place check_whole_file(const struct loader *ld)
{
    return (struct place){ld->name, 0};
}

/* ---- listeners and clients --------------------------------------------------------------------- */

static void add_listener(struct loader *ld, const struct listener_conf *conf)
{
    struct listener_fact *l = loader_alloc(ld, 1, sizeof *l);
    l->conf = *conf;
    *ld->listeners_end = l;
    ld->listeners_end = &l->next;
    ld->n_listeners++;
}

static void add_default_listeners(struct loader *ld)
{
    add_listener(ld, &(struct listener_conf){.addr = {.kind = NETADDR_IP4, .port = 25}});
    add_listener(ld, &(struct listener_conf){.addr = {.kind = NETADDR_IP6, .port = 25}});
}

/* Where sendmail looks for it. Beside a control socket elsewhere it would be found by nobody. */
static void add_submit(struct loader *ld)
{
    struct listener_conf conf = {.is_submit = true};
    must(netaddr_parse(STR(CONFIG_SUBMIT_PATH), 0, &conf.addr));
    add_listener(ld, &conf);
}

/* An address that another one covers ("0.0.0.0:25" and "192.0.2.1:25") can't be bound beside it. */
bool check_overlap(const struct netaddr *a, const struct netaddr *b)
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
        if (!check_overlap(&other->conf.addr, &l->conf.addr))
            continue;
        if (l->at.line == 0) { /* add_submit(); the listeners by default overlap nothing */
            report_error(
                ld->report, other->at,
                "%.*s is where sendmail finds the server: listen elsewhere, or move that with submit "
                "\"PATH\"",
                STR_FMT(buf_str(&text)));
            return;
        }
        report_error(ld->report, l->at, "%.*s is listened on twice (the first is in %.*s, line %d)",
                     STR_FMT(buf_str(&text)), STR_FMT(report_brief(other->at.file)), other->at.line);
        return;
    }
    if (l->conf.addr.kind == NETADDR_UNIX && str_eq(str_from_c(l->conf.addr.path), ld->conf->control))
        report_error(ld->report, l->at, "%.*s is the control socket already", STR_FMT(buf_str(&text)));
}

static void check_listeners(struct loader *ld)
{
    struct config *c = ld->conf;
    if (!is_given(ld, "listen"))
        add_default_listeners(ld);
    if (!ld->has_submit && !is_given(ld, "control") && ld->env->is_root &&
        ld->n_listeners < CONFIG_LISTENERS_MAX)
        add_submit(ld);
    check_security(ld);
    struct listener_conf *list = loader_alloc(ld, ld->n_listeners, sizeof *list);
    for (const struct listener_fact *l = ld->listeners; l != NULL; l = l->next) {
        check_listener(ld, l);
        list[c->n_listeners++] = l->conf;
    }
    c->listeners = list;
}

static struct netblock *blocks_of(struct loader *ld, const struct block_list *from, size_t more,
                                  size_t *out_n)
{
    struct netblock *list = loader_alloc(ld, from->n + more + 1, sizeof *list);
    *out_n = 0;
    for (const struct block_fact *b = from->first; b != NULL; b = b->next)
        list[(*out_n)++] = b->block;
    return list;
}

static void check_blocks(struct loader *ld)
{
    static const char *const loopback[] = {"127.0.0.0/8", "::1"};
    struct config *c = ld->conf;
    struct policy_conf *p = &c->policy;
    struct netblock *list = blocks_of(ld, &ld->relay_from, ARRAY_LEN(loopback), &p->n_relay_from);
    for (size_t i = 0; i < ARRAY_LEN(loopback) && !is_given(ld, "relay_from"); i++)
        must(netblock_parse(str_from_c(loopback[i]), &list[p->n_relay_from++]));
    p->relay_from = list;
    c->xclient_from = blocks_of(ld, &ld->xclient_from, 0, &c->n_xclient_from);
    c->etrn_from = blocks_of(ld, &ld->etrn_from, 0, &c->n_etrn_from);
}

/* ---- sources and routes ------------------------------------------------------------------------ */

static int compare_sources(const void *pa, const void *pb)
{
    const struct source_fact *const *a = pa, *const *b = pb;
    int c = str_icmp((*a)->pool.name, (*b)->pool.name);
    return c != 0 ? c : (*a)->at.line - (*b)->at.line;
}

static void check_sources(struct loader *ld)
{
    const struct source_fact *sorted[CONFIG_SOURCES_MAX];
    struct source_pool *list = loader_alloc(ld, ld->n_sources + 1, sizeof *list);
    size_t n = 0;
    for (const struct source_fact *f = ld->pools; f != NULL; f = f->next)
        sorted[n++] = f;
    if (n > 0)
        qsort(sorted, n, sizeof sorted[0], compare_sources);
    for (size_t i = 0; i < n; i++) {
        list[i] = sorted[i]->pool;
        if (!sorted[i]->has_table)
            report_error(ld->report, sorted[i]->at, "source \"%.*s\" needs { ... } behind its name",
                         STR_FMT(report_brief(list[i].name)));
        if (i > 0 && str_ieq(list[i].name, list[i - 1].name))
            report_error(ld->report, sorted[i]->at,
                         "source \"%.*s\" is given twice (the first is in %.*s, line %d)",
                         STR_FMT(report_brief(list[i].name)), STR_FMT(report_brief(sorted[i - 1]->at.file)),
                         sorted[i - 1]->at.line);
    }
    ld->conf->policy.sources = list;
    ld->conf->policy.n_sources = n;
}

/* A certificate has one key. */
static void check_client_certificates(struct loader *ld)
{
    const struct policy_conf *p = &ld->conf->policy;
    size_t n = 0, i = 0;
    for (const struct rule_fact *f = ld->rules; f != NULL; f = f->next, i++) {
        const struct hop_certificate *a = &p->routes[i].certificate;
        size_t k = 0;
        if (a->cert.n == 0)
            continue;
        while (k < i && !str_eq(p->routes[k].certificate.cert, a->cert))
            k++;
        n += k == i;
        const struct hop_certificate *first = &p->routes[k].certificate;
        if (a->key.n > 0 && first->key.n > 0 && !str_eq(first->key, a->key))
            report_error(ld->report, f->at, "key: another route has another key for this certificate");
        if (n + ld->n_certificates > CONFIG_CERTIFICATES_MAX) {
            report_error(ld->report, f->at, "more than %d certificates", (int)CONFIG_CERTIFICATES_MAX);
            return;
        }
    }
}

static void check_routes(struct loader *ld)
{
    struct policy_conf *p = &ld->conf->policy;
    struct route_rule *list = loader_alloc(ld, ld->n_rules + 1, sizeof *list);
    const struct rule_fact *all = NULL; /* the one that takes what is left */
    for (const struct rule_fact *f = ld->rules; f != NULL; f = f->next) {
        struct route_rule *rule = &list[p->n_routes++];
        *rule = f->rule;
        rule->source = policy_source(p, f->source);
        if (f->source.n > 0 && rule->source == NULL)
            report_error(ld->report, loader_key_place(ld, f->at, STR("route"), STR("source")),
                         "source: \"%.*s\" is no source of this configuration",
                         STR_FMT(report_brief(f->source)));
        if (!rule->is_mx && !rule->via.lmtp && p->hostname.n > 0 && str_ieq(rule->via.host, p->hostname))
            report_error(ld->report, f->at, "via: this is the machine itself, mail would run in a circle");
        if (all != NULL)
            report_warning(ld->report, f->at,
                           "this route is never used: the one in %.*s, line %d, takes all mail",
                           STR_FMT(report_brief(all->at.file)), all->at.line);
        else if (rule->to.kind == PATTERN_ANY && rule->from.kind == PATTERN_ANY && rule->tag.n == 0)
            all = f;
    }
    p->routes = list;
    check_client_certificates(ld);
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
    struct place at = check_given_at(ld, "resolver");
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
    struct place at = is_given(ld, "resolver") ? check_given_at(ld, "resolver") : check_whole_file(ld);
    switch (c->resolver) {
    case RESOLVER_SYSTEM:
        read_resolv_conf(ld);
        (void)read_optional(ld, "/etc/hosts", &c->hosts);
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

static bool wants_authorities(const struct config *c)
{
    const struct policy_conf *p = &c->policy;
    for (size_t i = 0; i < c->n_auths; i++) {
        if (c->auths[i].table.tls != TABLE_CLEAR)
            return true;
    }
    for (size_t i = 0; i < p->n_routes; i++) {
        if (p->routes[i].tls == HOP_TLS_VERIFY)
            return true;
    }
    return c->oauth.by != OAUTH_NONE;
}

/* Without validation no record is ever believed. */
static void check_dane(struct loader *ld)
{
    const struct config *c = ld->conf;
    for (size_t i = 0; i < c->policy.n_routes && c->trust_anchor.n == 0; i++) {
        if (c->policy.routes[i].tls != HOP_TLS_DANE)
            continue;
        report_warning(ld->report, check_whole_file(ld),
                       "a route has tls = \"dane\", and DNS answers are not validated: its mail will wait");
        return;
    }
}

static void check_authorities(struct loader *ld)
{
    struct config *c = ld->conf;
    const char *path = "/etc/ssl/certs/ca-certificates.crt";
    if (c->authorities.n == 0 && !read_optional(ld, path, &c->authorities) && wants_authorities(c))
        report_warning(ld->report, (struct place){ld->name, 0},
                       "can't read %s (package ca-certificates): no server can be verified", path);
}

static void check_retry(struct loader *ld)
{
    const struct config *c = ld->conf;
    struct place at = ld->at_retry.line > 0 ? ld->at_retry : check_whole_file(ld);
    if (c->retry_first_s > c->retry_max_s)
        report_error(ld->report, at, "retry: 'first' is longer than 'longest'");
    if (c->retry_first_s > c->expire_s)
        report_error(ld->report, at, "retry: 'first' is longer than 'give_up': nothing would be tried again");
}

struct str check_path_or(struct loader *ld, const char *section, const char *key, struct str given)
{
    const struct schema_key *k = schema_find(str_from_c(section), str_from_c(key));
    struct str preset = str_from_c(k->preset);
    return given.n > 0 ? given : loader_copy(ld, str_slice(preset, 1, preset.n - 1)); /* without its quotes */
}

void check(struct loader *ld)
{
    struct config *c = ld->conf;
    c->spool = check_path_or(ld, "", "spool", c->spool);
    c->control = check_path_or(ld, "", "control", c->control);
    c->journal = check_path_or(ld, "", "journal", c->journal);
    if (!is_given(ld, "hostname"))
        report_error(ld->report, check_whole_file(ld), "hostname is missing: hostname \"mail.example.org\"");
    check_passwords(ld);
    check_oauth(ld);
    check_listeners(ld);
    check_blocks(ld);
    check_sources(ld);
    check_routes(ld);
    check_authorities(ld);
    check_domains(ld);
    check_sts(ld);
    check_resolver(ld);
    check_dane(ld);
    check_retry(ld);
    if (!config_derive(c, ld->arena))
        (void)luaL_error(ld->lua, "out of memory");
    if (ld->report->n_errors == 0)
        check_redirections(ld);
}
