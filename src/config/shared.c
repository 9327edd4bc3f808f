#include "config/shared.h"

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

bool config_wants_agent(const struct config *c)
{
    return c->mta_sts && c->authorities.n > 0; /* without them no policy host can be authenticated */
}

void config_agent_folder(const struct config *c, struct buf *out)
{
    buf_put(out, c->journal);
    buf_puts(out, "-agent");
}

bool config_derive(struct config *c, struct arena *a)
{
    struct netaddr *list = arena_alloc_array(a, c->n_listeners + 1, sizeof *list);
    size_t n = 0;
    if (list == NULL)
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
