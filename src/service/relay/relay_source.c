/* service/relay/relay_source.c: the address that a connection leaves from, of a pool of the configuration. */
#include "service/relay/relay.h"

static void note(struct job *j, struct esc esc, const char *host, const char *before, const char *after)
{
    char mem[RESULT_TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "%s \"%.*s\" %s", before, STR_FMT(str_slice(j->source, 0, 128)), after);
    job_note(j, SMTP_AT_CONNECT, 0, esc, host, buf_str(&b));
}

bool relay_source_pick(struct job *j, const struct netaddr *to, const char *host, struct netaddr *out_from,
                       struct str *out_helo)
{
    struct relay *r = j->relay;
    const struct policy_conf *policy = &r->env->config->policy;
    size_t n = 0;
    *out_from = (struct netaddr){0};
    *out_helo = policy->hostname;
    if (j->source.n == 0 || to->kind == NETADDR_UNIX)
        return true;
    const struct source_pool *pool = policy_source(policy, j->source);
    if (pool == NULL) {
        note(j, ESC(4, 3, 5), host, "the pool of source addresses", "is not in the configuration any more");
        return false;
    }
    for (size_t i = 0; i < pool->n_addrs; i++)
        n += pool->addrs[i].kind == to->kind;
    if (n == 0) {
        note(j, ESC(4, 4, 1), host, "the pool of source addresses",
             to->kind == NETADDR_IP6 ? "has no IPv6 address" : "has no IPv4 address");
        return false;
    }
    /* by chance: a common counter would favour one when attempts of both families, or of two pools, alternate
     */
    uint64_t nth = world_random_below(r->world, n);
    for (size_t i = 0; i < pool->n_addrs; i++) {
        if (pool->addrs[i].kind == to->kind && nth-- == 0) {
            *out_from = pool->addrs[i];
            break;
        }
    }
    if (pool->helo.n > 0)
        *out_helo = pool->helo;
    return true;
}
