/* A text as a file of aliases: errors, or aliases that can be expanded and that survive the way to a role. */
#include "config_run.h"

enum { TEXT_MAX = 8192 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char lua[] = "hostname \"mail.example.org\" postmaster \"ann@a.example\" domain \"a.example\" { "
                          "users = { \"ann\", \"joe\" }, "
                          "deliver = lmtp \"h\", aliases = file \"a\" }";

/* What each alias becomes has a route or has none, and needs no alias any more. */
static void expand_all(const struct policy_conf *p, struct arena *a)
{
    const struct local_domain *d = &p->domains[0];
    for (size_t i = 0; i < d->n_aliases; i++) {
        struct buf address;
        struct expansion e;
        buf_init(&address, 4096);
        address_format(d->aliases[i].name, d->name, &address);
        struct rcpt r = {.address = buf_str(&address)};
        must(policy_expand(p, &r, a, &e));
        must(e.kind != EXPAND_NONE && (e.kind == EXPAND_FAILED) == (e.n_targets == 0));
        for (size_t k = 0; k < e.n_targets; k++) {
            char mem[8192];
            struct buf text;
            struct route route;
            struct rcpt target = {.address = e.targets[k].address, .target = e.targets[k].target};
            buf_init_fixed(&text, mem, sizeof mem);
            policy_route(p, &(struct route_ask){.rcpt = &target}, &text, &route);
            must((route.kind == ROUTE_PIPE) == (target.target != 0));
            policy_site(p, &route, &text);
            must(!text.failed);
        }
        buf_fini(&address);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct config_run r;
    if (n > TEXT_MAX)
        return 0;
    const struct config *c = config_run_load(&r, str_of(data, n), str_from_c(lua), false);
    if (c != NULL) {
        const struct config *again = config_run_again(&r, c);
        must(again->policy.domains[0].n_aliases == c->policy.domains[0].n_aliases);
        expand_all(&again->policy, &r.arena);
    }
    config_run_end(&r);
    return 0;
}
