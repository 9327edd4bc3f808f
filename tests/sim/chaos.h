/* tests/sim/chaos.h: everything that goes wrong, by the seed of the fleet's world: roles and supervisors are
 * killed, nodes lose power, hosts can't reach each other, connections break, names can't be resolved, disks
 * fail and fill up, clocks jump, processes are not scheduled.
 */
#pragma once
#include "tests/sim/fleet.h"

enum chaos_kind {
    CHAOS_KILL = 0, /* one role */
    CHAOS_POWER,    /* a node, for up to a minute */
    CHAOS_NET,      /* two hosts, for up to five minutes */
    CHAOS_DNS,      /* all names, for up to two minutes */
    CHAOS_DISK_FULL,
    CHAOS_DISK_ERROR, /* the queue is started anew by its operator half a minute later */
    CHAOS_CLOCK,
};
enum { CHAOS_KINDS = 7 };

struct chaos {
    struct fleet *fleet;
    uint64_t pause_us; /* between two events on average */
    bool is_over;
    unsigned n[CHAOS_KINDS], n_killed;
};
/* Begins at once. */
void chaos_start(struct chaos *c, struct fleet *f, uint64_t pause_us);
/* No new ones, and all is well again at once. */
void chaos_end(struct chaos *c);
