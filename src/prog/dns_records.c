#include "prog/dns_records.h"

#include "base/siphash.h"

#include <string.h>

struct teller {
    const struct config *c;
    void (*fn)(void *arg, const struct dns_fact *f);
    void *arg;
    struct buf name, text; /* of the fact at hand */
};

static void begin(struct teller *t)
{
    buf_reset(&t->name);
    buf_reset(&t->text);
}

static void tell(struct teller *t, enum dns_fact_kind kind, const char *type)
{
    must(!t->name.failed && !t->text.failed); /* a configuration's names have their bounds */
    struct dns_fact f = {kind, buf_str(&t->name), type, buf_str(&t->text)};
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

void dns_policy(struct str host, struct buf *out)
{
    buf_printf(out, "version: STSv1\r\nmode: testing\r\nmx: %.*s\r\nmax_age: 604800\r\n", STR_FMT(host));
}

void dns_policy_id(struct str policy, struct buf *out)
{
    static const unsigned char key[SIPHASH_KEY] = "MTA-STS policies"; /* no secret: equal texts, equal ids */
    unsigned char hash[SIPHASH_SIZE];
    siphash(key, policy, hash);
    for (size_t i = 0; i < sizeof hash; i++)
        buf_printf(out, "%02x", (unsigned)hash[i]);
}

static void tell_policy(struct teller *t, struct str domain)
{
    char mem[1024], id_mem[64];
    struct buf policy, id;
    buf_init_fixed(&policy, mem, sizeof mem);
    buf_init_fixed(&id, id_mem, sizeof id_mem);
    dns_policy(t->c->policy.hostname, &policy);
    dns_policy_id(buf_str(&policy), &id);
    begin(t);
    buf_printf(&t->name, "_mta-sts.%.*s.", STR_FMT(domain));
    buf_printf(&t->text, "\"v=STSv1; id=%.*s\"", STR_FMT(buf_str(&id)));
    tell(t, DNS_FACT_RECORD, "TXT");
    begin(t);
    buf_printf(&t->name, "https://mta-sts.%.*s/.well-known/mta-sts.txt", STR_FMT(domain));
    buf_put(&t->text, buf_str(&policy));
    tell(t, DNS_FACT_POLICY, NULL);
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
    } else if (has_tls) {
        tell_policy(t, d->name);
    }
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
    char name[1024], text[2048];
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
