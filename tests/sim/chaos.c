#include "tests/sim/chaos.h"

#include "base/mem.h"
#include "sim/sim_mem.h"

/* What happens how often, of a hundred. */
static const unsigned weights[CHAOS_KINDS] = {
    [CHAOS_KILL] = 50,     [CHAOS_POWER] = 10,     [CHAOS_NET] = 14,  [CHAOS_DNS] = 6,
    [CHAOS_DISK_FULL] = 6, [CHAOS_DISK_ERROR] = 8, [CHAOS_CLOCK] = 6,
};
/* admin is left alone but for power cuts: its events tell what became of mail that nobody can be told about
 */
static const char *const victims[] = {"smtpd",  "smtpd", "queue", "queue",   "relay",     "relay",
                                      "lookup", "local", "local", "deliver", "supervisor"};

struct later { /* an end of something */
    struct chaos *chaos;
    struct sim_node *node;
    struct sim_host *a, *b;
    bool has_written; /* the fault may have hit a flush */
};

static uint64_t below(struct chaos *c, uint64_t bound)
{
    return rng_below(sim_rng(c->fleet->sim), bound);
}

static struct sim_node *any_node(struct chaos *c)
{
    return c->fleet->nodes[below(c, FLEET_NODES)];
}

static struct later *later_new(struct chaos *c)
{
    struct later *l = sim_make(struct later);
    l->chaos = c;
    return l;
}

static void call(struct chaos *c, uint64_t after_us, void (*fn)(void *arg), struct later *l)
{
    sim_call_at(c->fleet->sim, sim_now_us(c->fleet->sim) + after_us, fn, l);
}

static void net_heals(void *arg)
{
    struct later *l = arg;
    sim_net_block(l->chaos->fleet->sim, l->a, l->b, false);
    mem_free(l);
}

static void dns_heals(void *arg)
{
    struct later *l = arg;
    sim_dns_plan(l->chaos->fleet->dns)->is_down = false;
    mem_free(l);
}

static void disk_has_room(void *arg)
{
    struct later *l = arg;
    sim_disk_set_capacity(sim_host_disk(sim_node_host(l->node)), UINT64_MAX);
    mem_free(l);
}

/* A store that saw a flush fail stays shut until its process is started anew; reads that failed need nobody.
 */
static void disk_replaced(void *arg)
{
    struct later *l = arg;
    sim_disk_clear_faults(sim_host_disk(sim_node_host(l->node)));
    if (l->has_written)
        (void)sim_node_kill(l->node, "queue");
    mem_free(l);
}

static void begin_net(struct chaos *c)
{
    struct later *l = later_new(c);
    l->a = sim_node_host(any_node(c));
    l->b = below(c, 3) == 0 ? c->fleet->client_host : sim_node_host(any_node(c));
    if (l->a == l->b) {
        mem_free(l);
        return;
    }
    sim_net_block(c->fleet->sim, l->a, l->b, true);
    call(c, below(c, 5 * SIM_MINUTE), net_heals, l);
}

static void begin_disk(struct chaos *c, enum chaos_kind kind)
{
    struct later *l = later_new(c);
    l->node = any_node(c);
    struct sim_disk *d = sim_host_disk(sim_node_host(l->node));
    if (kind == CHAOS_DISK_FULL) {
        sim_disk_set_capacity(d, sim_disk_octets(d, ".") + below(c, 1024 * 1024));
        call(c, below(c, 2 * SIM_MINUTE), disk_has_room, l);
        return;
    }
    static const uint32_t kinds[] = {0, 1u << DISK_WRITE, 1u << DISK_READ,
                                     1u << DISK_SYNC_DIR | 1u << DISK_RENAME};
    struct sim_disk_fault fault = {
        .at = 1 + below(c, 20), .count = 1 + below(c, 3), .kinds = kinds[below(c, 4)], .err = ERR_IO};
    l->has_written = fault.kinds != 1u << DISK_READ;
    sim_disk_clear_faults(d);
    sim_disk_add_fault(d, &fault);
    call(c, 30 * SIM_S, disk_replaced, l);
}

static void begin(struct chaos *c, enum chaos_kind kind)
{
    struct sim_node *n = any_node(c);
    struct sim_host *h = sim_node_host(n);
    c->n[kind]++;
    switch (kind) {
    case CHAOS_KILL:
        c->n_killed += sim_node_kill(n, victims[below(c, ARRAY_LEN(victims))]);
        break;
    case CHAOS_POWER:
        if (sim_host_is_up(h))
            sim_node_power_cycle(n, 1 + below(c, SIM_MINUTE));
        break;
    case CHAOS_NET:
        begin_net(c);
        break;
    case CHAOS_DNS:
        sim_dns_plan(c->fleet->dns)->is_down = true;
        call(c, below(c, 2 * SIM_MINUTE), dns_heals, later_new(c));
        break;
    case CHAOS_DISK_FULL:
    case CHAOS_DISK_ERROR:
        begin_disk(c, kind);
        break;
    case CHAOS_CLOCK:
        sim_host_step_wall(h, (int64_t)below(c, 20 * 60 * 1000) - 10 * 60 * 1000);
        break;
    }
}

static void on_time(void *arg)
{
    struct chaos *c = arg;
    if (c->is_over)
        return;
    uint64_t dice = below(c, 100);
    unsigned kind = 0;
    while (dice >= weights[kind])
        dice -= weights[kind++];
    begin(c, (enum chaos_kind)kind);
    sim_call_at(c->fleet->sim, sim_now_us(c->fleet->sim) + below(c, 2 * c->pause_us), on_time, c);
}

void chaos_start(struct chaos *c, struct fleet *f, uint64_t pause_us)
{
    *c = (struct chaos){.fleet = f, .pause_us = pause_us};
    *sim_plan(f->sim) = (struct sim_plan){.turn_us = 200,
                                          .stall_ppm = 300,
                                          .stall_us = 3 * SIM_S,
                                          .channel_us = 300,
                                          .latency_us = 30000,
                                          .loss_ppm = 10000,
                                          .reset_ppm = 2000,
                                          .split_ppm = 100000};
    *sim_dns_plan(f->dns) =
        (struct sim_dns_plan){.delay_us = 200 * SIM_MS, .slow_ppm = 20000, .failed_ppm = 30000};
    on_time(c);
}

void chaos_end(struct chaos *c)
{
    struct fleet *f = c->fleet;
    c->is_over = true;
    *sim_plan(f->sim) = (struct sim_plan){.turn_us = 40, .channel_us = 60, .latency_us = 2000};
    *sim_dns_plan(f->dns) = (struct sim_dns_plan){.delay_us = 30 * SIM_MS};
    for (unsigned i = 0; i < FLEET_NODES; i++) {
        struct sim_host *h = sim_node_host(f->nodes[i]);
        struct sim_disk *d = sim_host_disk(h);
        sim_disk_clear_faults(d);
        sim_disk_set_capacity(d, UINT64_MAX);
        sim_net_block(f->sim, h, f->client_host, false);
        for (unsigned k = 0; k < FLEET_NODES; k++)
            sim_net_block(f->sim, h, sim_node_host(f->nodes[k]), false);
        (void)sim_node_kill(f->nodes[i], "queue"); /* whose store may have seen a flush fail */
    }
}
