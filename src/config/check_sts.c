/* config/check_sts.c: policies of MTA-STS that domains publish: their hosts' certificates, and where they are
 * served. */
#include "config/check.h"

#include "base/limits.h"

#include <stdlib.h>

enum { HTTPS_PORT = 443 };

static struct place key_of(const struct loader *ld, const struct domain_fact *f)
{
    return loader_key_place(ld, f->at, STR("domain"), STR("mta_sts_policy"));
}

static bool is_served(const struct domain_fact *f)
{
    return f->has_sts && !f->is_bad;
}

/* ---- certificates ------------------------------------------------------------------------------ */

static bool has_certificate(const struct config *c, struct str host)
{
    for (size_t i = 0; i < c->n_certificates; i++) {
        for (size_t k = 0; k < c->certificates[i].n_names; k++) {
            if (str_eq(c->certificates[i].names[k], host))
                return true;
        }
    }
    return false;
}

/* One for each host: a name that does not lead here yet holds up no other. */
void check_sts_certificates(struct loader *ld, struct certificate_conf *list)
{
    struct config *c = ld->conf;
    char mem[DNS_NAME_MAX + 1];
    struct buf host;
    for (const struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        buf_init_fixed(&host, mem, sizeof mem);
        if (is_served(f))
            mta_sts_policy_host(f->d.name, &host);
        if (host.n == 0 || has_certificate(c, buf_str(&host)))
            continue;
        if (c->n_certificates == CONFIG_CERTIFICATES_MAX) {
            report_error(ld->report, key_of(ld, f), "more than %d certificates",
                         (int)CONFIG_CERTIFICATES_MAX);
            return;
        }
        struct str *name = loader_alloc(ld, 1, sizeof *name);
        *name = loader_copy(ld, buf_str(&host));
        struct certificate_conf *out = &list[c->n_certificates++];
        *out = (struct certificate_conf){.names = name, .n_names = 1};
        check_acme_files(ld, out);
    }
    ld->n_certificates = c->n_certificates;
}

/* ---- policies ---------------------------------------------------------------------------------- */

/* Who else takes mail for a domain that is passed on to its MX hosts we don't know. */
static void check_policy(struct loader *ld, const struct domain_fact *f, struct sts_host *out)
{
    *out = (struct sts_host){.domain = f->d.name, .policy = f->sts};
    if (ld->conf->n_certificates == 0)
        report_error(
            ld->report, key_of(ld, f),
            "mta_sts_policy: there is no certificate for mta-sts.%.*s: give tls { cert = ..., key = ... } or "
            "tls { acme = ... }",
            STR_FMT(report_brief(f->d.name)));
    if (f->sts.n_mx > 0 || f->sts.mode == MTA_STS_NONE) {
        out->policy.n_mx = f->sts.mode == MTA_STS_NONE ? 0 : f->sts.n_mx;
        return;
    }
    if (f->d.relay == DOMAIN_RELAY_MX)
        report_error(ld->report, key_of(ld, f),
                     "mta_sts_policy: this is a backup for domain \"%.*s\": name all hosts of its MX records "
                     "with mx = "
                     "{ ... }",
                     STR_FMT(report_brief(f->d.name)));
    if (ld->conf->policy.hostname.n > 0 && !mta_sts_is_pattern(ld->conf->policy.hostname))
        report_error(
            ld->report, key_of(ld, f),
            "mta_sts_policy: the hostname can't stand in a policy: letters, digits and hyphens between dots");
    struct str *mx = loader_alloc(ld, 1, sizeof *mx);
    *mx = ld->conf->policy.hostname;
    out->policy.mx = mx;
    out->policy.n_mx = 1;
}

static int compare_hosts(const void *pa, const void *pb)
{
    const struct sts_host *a = pa, *b = pb;
    return str_cmp(a->domain, b->domain);
}

static void check_address(struct loader *ld, const struct netaddr *at)
{
    char mem[NETADDR_TEXT_MAX];
    struct buf text;
    for (const struct listener_fact *l = ld->listeners; l != NULL; l = l->next) {
        if (!check_overlap(&l->conf.addr, at))
            continue;
        buf_init_fixed(&text, mem, sizeof mem);
        netaddr_format(at, &text);
        report_error(ld->report, l->at,
                     "%.*s is where https listens: move one of them, with https { address = ... }",
                     STR_FMT(buf_str(&text)));
        return;
    }
}

void check_sts(struct loader *ld)
{
    struct config *c = ld->conf;
    struct sts_host *list = loader_alloc(ld, ld->n_domains + 1, sizeof *list);
    for (const struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        if (is_served(f))
            check_policy(ld, f, &list[c->n_sts_hosts++]);
    }
    if (c->n_sts_hosts > 0)
        qsort(list, c->n_sts_hosts, sizeof *list, compare_hosts);
    c->sts_hosts = list;
    if (!config_wants_https(c)) {
        c->n_https_addrs = 0;
    } else if (c->n_https_addrs == 0) {
        c->https_addrs[0] = (struct netaddr){.kind = NETADDR_IP4, .port = HTTPS_PORT};
        c->https_addrs[1] = (struct netaddr){.kind = NETADDR_IP6, .port = HTTPS_PORT};
        c->n_https_addrs = 2;
    }
    for (size_t i = 0; i < c->n_https_addrs; i++) {
        check_address(ld, &c->https_addrs[i]);
        for (size_t k = 0; k < i; k++) {
            if (check_overlap(&c->https_addrs[k], &c->https_addrs[i])) {
                report_error(ld->report, check_given_at(ld, "https"),
                             "'address' in https names one address twice");
                return;
            }
        }
    }
}
