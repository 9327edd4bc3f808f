#include "prog/policy_hosts.h"

#include "base/limits.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "crypto/secret.h"
#include "prog/load.h"

/* One of an authority is for no others than were asked for: it need not be looked into for each host. */
static bool may_cover(const struct certificate_conf *conf, struct str host)
{
    for (size_t i = 0; i < conf->n_names; i++) {
        if (str_eq(conf->names[i], host))
            return true;
    }
    return conf->n_names == 0;
}

/* false: it can't be read. */
static bool look_into(const struct crypto *crypto, const struct certificate_conf *conf,
                      const struct config *c, bool *is_covered)
{
    char path[4096], mem[DNS_NAME_MAX + 1];
    struct buf pem, host;
    buf_init(&pem, TLS_CHAIN_SIZE_MAX + 128 * 1024); /* load_file() reads in pieces */
    bool ok = str_to_c(conf->cert, path, sizeof path) && load_file(path, TLS_CHAIN_SIZE_MAX, &pem) == ERR_OK;
    for (size_t i = 0; ok && i < c->n_sts_hosts; i++) {
        buf_init_fixed(&host, mem, sizeof mem);
        mta_sts_policy_host(c->sts_hosts[i].domain, &host);
        struct str name = buf_str(&host);
        if (!is_covered[i] && may_cover(conf, name))
            is_covered[i] = certificate_is_for(crypto, buf_str(&pem), &name, 1);
    }
    secret_wipe_buf(&pem);
    buf_fini(&pem);
    return ok;
}

void policy_hosts_uncovered(const struct crypto *crypto, const struct config *c,
                            void (*fn)(void *arg, struct str domain), void *arg)
{
    bool *is_covered = mem_alloc_array(c->n_sts_hosts + 1, sizeof *is_covered);
    bool ok = is_covered != NULL;
    for (size_t i = 0; ok && i < c->n_sts_hosts; i++)
        is_covered[i] = false;
    for (size_t i = 0; ok && i < c->n_certificates && c->n_sts_hosts > 0; i++)
        ok = look_into(crypto, &c->certificates[i], c, is_covered);
    for (size_t i = 0; ok && i < c->n_sts_hosts; i++) {
        if (!is_covered[i])
            fn(arg, c->sts_hosts[i].domain);
    }
    mem_free(is_covered);
}
