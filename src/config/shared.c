#include "config/shared.h"

#include "config/table_values.h"
#include "ext/idn.h"

void config_share(struct local_domain *d, const struct local_domain *from)
{
    struct local_domain shared = *from;
    shared.name = d->name;
    shared.shown = d->shown;
    shared.same_as = d->same_as;
    shared.catchall = STR_NIL;
    *d = shared;
}

/* Does a route take all mail to a host, so that no domain's MX is ever looked up? */
static bool has_smart_host(const struct policy_conf *p)
{
    for (size_t i = 0; i < p->n_routes; i++) {
        const struct route_rule *r = &p->routes[i];
        if (r->to.kind == PATTERN_ANY && r->from.kind == PATTERN_ANY && r->tag.n == 0)
            return !r->is_mx;
        if (r->is_mx)
            return false;
    }
    return false;
}

bool config_wants_https(const struct config *c)
{
    return c->n_sts_hosts > 0 || (c->acme.contact.n > 0 && c->acme.challenge == ACME_TLS_ALPN_01);
}

static bool is_by_mx(const struct config *c)
{
    bool yes = !has_smart_host(&c->policy);
    for (size_t i = 0; i < c->policy.n_domains && !yes; i++)
        yes = c->policy.domains[i].relay == DOMAIN_RELAY_MX;
    return yes;
}

bool config_follows_sts(const struct config *c)
{
    /* without authorities no policy host can be authenticated */
    return c->mta_sts && c->authorities.n > 0 && is_by_mx(c);
}

bool config_reports_tls(const struct config *c)
{
    return c->tls_reports.n > 0 && is_by_mx(c);
}

bool config_wants_agent(const struct config *c)
{
    return config_follows_sts(c) || config_reports_tls(c);
}

void config_agent_folder(const struct config *c, struct buf *out)
{
    buf_put(out, c->journal);
    buf_puts(out, "-agent");
}

bool config_is_table(enum auth_by kind)
{
    return kind == AUTH_BY_LDAP || kind == AUTH_BY_POSTGRESQL || kind == AUTH_BY_SQLITE;
}

bool config_wants_tables(const struct config *c)
{
    for (size_t i = 0; i < c->n_auths; i++) {
        if (config_is_table(c->auths[i].kind))
            return true;
    }
    return c->oauth.by != OAUTH_NONE;
}

struct str config_tables_folder(const struct config *c)
{
    for (size_t i = 0; i < c->n_auths; i++) {
        if (c->auths[i].kind == AUTH_BY_SQLITE)
            return table_folder(&c->auths[i].table);
    }
    return STR_NIL;
}

static bool list_client_certificates(struct config *c, struct arena *a)
{
    const struct policy_conf *p = &c->policy;
    size_t n = 0, k;
    for (size_t i = 0; i < p->n_routes; i++)
        n += p->routes[i].certificate.cert.n > 0;
    struct certificate_conf *list = arena_alloc_array(a, n + 1, sizeof *list);
    if (list == NULL)
        return false;
    n = 0;
    for (size_t i = 0; i < p->n_routes; i++) {
        const struct hop_certificate *h = &p->routes[i].certificate;
        for (k = 0; k < n && !str_eq(list[k].cert, h->cert); k++)
            ;
        if (h->cert.n > 0 && k == n)
            list[n++] = (struct certificate_conf){.cert = h->cert, .key = h->key};
    }
    c->client_certificates = list;
    c->n_client_certificates = n;
    return true;
}

/* OpenID Connect Discovery 4: below the issuer, whether it ends in a slash or not. */
static bool derive_discovery(struct oauth_conf *o, struct arena *a)
{
    static const char tail[] = "/.well-known/openid-configuration";
    struct buf url;
    struct str base = o->issuer;
    if (o->by == OAUTH_NONE)
        return true;
    if (str_ends(base, STR("/")))
        base.n--;
    char *mem = arena_alloc(a, base.n + sizeof tail);
    if (mem == NULL)
        return false;
    buf_init_fixed(&url, mem, base.n + sizeof tail);
    buf_put(&url, base);
    buf_puts(&url, tail);
    o->discovery = buf_str(&url);
    return true;
}

bool config_derive(struct config *c, struct arena *a)
{
    struct netaddr *list = arena_alloc_array(a, c->n_listeners + 1, sizeof *list);
    size_t n = 0;
    if (list == NULL || !list_client_certificates(c, a) || !derive_discovery(&c->oauth, a))
        return false;
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct netaddr *at = &c->listeners[i].addr;
        bool is_ip = at->kind == NETADDR_IP4 || at->kind == NETADDR_IP6;
        if (is_ip && !netaddr_is_any(at) && !netaddr_is_loopback(at))
            list[n++] = *at;
    }
    c->policy.addresses = list;
    c->policy.n_addresses = n;
    c->policy.to_ascii = idn_to_ascii;
    c->policy.mx_port = (uint16_t)c->smtp_port;
    return true;
}
