/* sim/sim_dns.h: the name service of a simulated world: one list of records, asked by every lookup role
 * through a struct resolver of its own, with the faults that real ones have.
 */
#pragma once
#include "ext/resolver.h"
#include "sim/sim_world.h"

struct sim_dns;
struct sim_dns_plan {
    uint32_t delay_us;   /* an answer takes up to this, */
    uint32_t slow_ppm;   /* or, so often, up to 20 s */
    uint32_t failed_ppm; /* SERVFAIL */
    bool is_down;        /* every question fails after 5 s */
};
struct sim_dns *sim_dns_new(struct sim *s);
void sim_dns_del(struct sim_dns **d);
struct sim_dns_plan *sim_dns_plan(struct sim_dns *d);
/* Names are text without final dot, copied. A name without any record does not exist. */
void sim_dns_add_mx(struct sim_dns *d, const char *name, uint16_t preference, const char *host);
void sim_dns_add_a(struct sim_dns *d, const char *name, const char *address);
uint64_t sim_dns_n_questions(const struct sim_dns *d);
/* For a lookup role that runs in w; memory of that process. */
struct resolver *sim_dns_resolver(struct sim_dns *d, struct world *w);
