#include "prog/dns_records.h"

#include <string.h>

struct teller {
    const struct config *c;
    void (*fn)(void *arg, const struct dns_fact *f);
    void *arg;
    struct buf name, text; /* of the fact at hand */
    bool is_served;        /* likewise */
};

static void begin(struct teller *t)
{
    buf_reset(&t->name);
    buf_reset(&t->text);
}

static void tell(struct teller *t, enum dns_fact_kind kind, const char *type)
{
    must(!t->name.failed && !t->text.failed); /* a configuration's names have their bounds */
    struct dns_fact f = {kind, buf_str(&t->name), type, t->is_served, buf_str(&t->text)};
    t->fn(t->arg, &f);
}

static void note(struct teller *t, const char *text)
{
    begin(t);
    buf_puts(&t->text, text);
    tell(t, DNS_FACT_NOTE, NULL);
}

/* ---- the host ---------------- */

static bool was_told(const struct policy_conf *p, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (netaddr_same_ip(&p->addresses[k], &p->addresses[i]))
            return true;
    }
    return false;
}

/* As far as listeners name addresses; loopback is none of them. */
static void tell_addresses(struct teller *t)
{
    const struct policy_conf *p = &t->c->policy;
    for (size_t i = 0; i < p->n_addresses; i++) {
        if (was_told(p, i))
            continue;
        begin(t);
        buf_printf(&t->name, "%.*s.", STR_FMT(p->hostname));
        netaddr_format_ip(&p->addresses[i], &t->text);
        tell(t, DNS_FACT_RECORD, p->addresses[i].kind == NETADDR_IP6 ? "AAAA" : "A");
    }
    begin(t);
    if (p->n_addresses == 0)
        buf_printf(&t->text, "%.*s needs A and AAAA records with the addresses of this machine.\n",
                   STR_FMT(p->hostname));
    buf_printf(
        &t->text,
        "Each address that mail leaves from needs a PTR record with %.*s: ask who gave you the address.",
        STR_FMT(p->hostname));
    tell(t, DNS_FACT_NOTE, NULL);
}

static bool is_before(const struct dns_key *keys, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (memcmp(keys[k].print, keys[i].print, DNS_KEY_PRINT) == 0)
            return true;
    }
    return false;
}

static void tell_keys(struct teller *t, const struct dns_key *keys, size_t n)
{
    if (n == 0) {
        note(t, "There is no certificate (tls), so there are no TLSA, MTA-STS and TLS-RPT records.");
        return;
    }
    note(t, "TLSA records are of use in a zone that is signed (DNSSEC), and only there.");
    for (size_t i = 0; i < n; i++) {
        if (is_before(keys, i))
            continue;
        begin(t);
        buf_printf(&t->name, "_25._tcp.%.*s.", STR_FMT(t->c->policy.hostname));
        buf_puts(&t->text, "3 1 1 ");
        for (size_t k = 0; k < DNS_KEY_PRINT; k++)
            buf_printf(&t->text, "%02X", (unsigned)keys[i].print[k]);
        tell(t, DNS_FACT_RECORD, "TLSA");
    }
}

/* ---- domains ---------------- */

/* Where https listens at addresses that are named these are it, else those of the hostname. */
static void tell_policy_host(struct teller *t, struct str domain)
{
    enum { HTTPS_PORT = 443 };
    const struct config *c = t->c;
    bool is_told = false;
    for (size_t i = 0; i < c->n_https_addrs; i++) {
        const struct netaddr *at = &c->https_addrs[i];
        if (at->port != HTTPS_PORT || netaddr_is_any(at) || netaddr_is_loopback(at))
            continue;
        begin(t);
        mta_sts_policy_host(domain, &t->name);
        buf_putc(&t->name, '.');
        netaddr_format_ip(at, &t->text);
        tell(t, DNS_FACT_RECORD, at->kind == NETADDR_IP6 ? "AAAA" : "A");
        is_told = true;
    }
    if (is_told)
        return;
    begin(t);
    mta_sts_policy_host(domain, &t->name);
    if (str_eq(buf_str(&t->name), c->policy.hostname))
        return;
    buf_putc(&t->name, '.');
    buf_printf(&t->text, "%.*s.", STR_FMT(c->policy.hostname));
    tell(t, DNS_FACT_RECORD, "CNAME");
}

static const struct sts_host *served(const struct config *c, struct str domain)
{
    for (size_t i = 0; i < c->n_sts_hosts; i++) {
        if (str_eq(c->sts_hosts[i].domain, domain))
            return &c->sts_hosts[i];
    }
    return NULL;
}

/* host NULL: a web server elsewhere may hold it. */
static void tell_policy(struct teller *t, struct str domain, const struct sts_host *host)
{
    char mem[MTA_STS_OWN_MAX], id_mem[MTA_STS_ID_MAX];
    struct buf policy, id;
    const struct mta_sts_own usual = {
        .mode = MTA_STS_TESTING, .max_age_s = MTA_STS_OWN_AGE_S, .mx = &t->c->policy.hostname, .n_mx = 1};
    buf_init_fixed(&policy, mem, sizeof mem);
    buf_init_fixed(&id, id_mem, sizeof id_mem);
    mta_sts_own_policy(host == NULL ? &usual : &host->policy, &policy);
    mta_sts_own_id(buf_str(&policy), &id);
    begin(t);
    buf_printf(&t->name, "_mta-sts.%.*s.", STR_FMT(domain));
    buf_printf(&t->text, "\"v=STSv1; id=%.*s\"", STR_FMT(buf_str(&id)));
    tell(t, DNS_FACT_RECORD, "TXT");
    if (host != NULL)
        tell_policy_host(t, domain);
    begin(t);
    mta_sts_policy_url(domain, &t->name);
    buf_put(&t->text, buf_str(&policy));
    t->is_served = host != NULL;
    tell(t, DNS_FACT_POLICY, NULL);
    t->is_served = false;
    begin(t);
    buf_printf(&t->name, "_smtp._tls.%.*s.", STR_FMT(domain));
    buf_printf(&t->text, "\"v=TLSRPTv1; rua=mailto:postmaster@%.*s\"", STR_FMT(domain));
    tell(t, DNS_FACT_RECORD, "TXT");
}

static void tell_domain(struct teller *t, const struct local_domain *d, bool has_tls)
{
    if (str_eq(d->name, STR("*")))
        return;
    bool is_backup = d->relay == DOMAIN_RELAY_MX;
    begin(t);
    buf_printf(&t->name, "%.*s.", STR_FMT(d->name));
    buf_printf(&t->text, "%u %.*s.", is_backup ? 20u : 10u, STR_FMT(t->c->policy.hostname));
    tell(t, DNS_FACT_RECORD, "MX");
    if (is_backup) {
        begin(t);
        buf_printf(
            &t->text,
            "%.*s is passed on as a backup: the host that keeps its mail needs a lower number than 20.",
            STR_FMT(d->name));
        tell(t, DNS_FACT_NOTE, NULL);
    }
    const struct sts_host *host = served(t->c, d->name);
    if (host != NULL || (has_tls && !is_backup))
        tell_policy(t, d->name, host);
}

/* Where programs of users look for the ports to log in at. */
static void tell_submission(struct teller *t, struct str domain)
{
    for (size_t i = 0; i < t->c->n_listeners; i++) {
        const struct listener_conf *l = &t->c->listeners[i];
        bool is_before = false;
        for (size_t k = 0; k < i; k++)
            is_before = is_before || (t->c->listeners[k].auth != LISTEN_NO_AUTH &&
                                      t->c->listeners[k].addr.port == l->addr.port);
        if (l->auth == LISTEN_NO_AUTH || is_before)
            continue;
        begin(t);
        buf_printf(&t->name, "_%s._tcp.%.*s.", l->tls == LISTEN_IMPLICIT ? "submissions" : "submission",
                   STR_FMT(domain));
        buf_printf(&t->text, "0 1 %u %.*s.", (unsigned)l->addr.port, STR_FMT(t->c->policy.hostname));
        tell(t, DNS_FACT_RECORD, "SRV");
    }
}

void dns_records(const struct config *c, const struct dns_key *keys, size_t n_keys,
                 void (*fn)(void *arg, const struct dns_fact *f), void *arg)
{
    char name[1024], text[MTA_STS_OWN_MAX];
    struct teller t = {.c = c, .fn = fn, .arg = arg};
    buf_init_fixed(&t.name, name, sizeof name);
    buf_init_fixed(&t.text, text, sizeof text);
    tell_addresses(&t);
    tell_keys(&t, keys, n_keys);
    for (size_t i = 0; i < c->policy.n_domains; i++) {
        const struct local_domain *d = &c->policy.domains[i];
        tell_domain(&t, d, n_keys > 0);
        if (d->passwords > 0)
            tell_submission(&t, d->name);
    }
}
