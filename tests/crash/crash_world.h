/* tests/crash/crash_world.h: the smallest world that a store can live in: virtual time, timers, end-of-turn
 * hooks, random numbers and a simulated disk. Everything else of base/world.h aborts. Deterministic by its
 * seed.
 */
#pragma once
#include "sim/sim_disk.h"

struct crash_world {
    struct world world;
    struct log log;
    struct rng rng;
    uint64_t now_us;
    struct heap timers, events;
    struct list hooks;
    struct sim_disk *medium;
    uint64_t n_turns;
    uint64_t n_warned;    /* lines of level warn and error */
    char last_error[512]; /* the last one of them */
    bool echo;            /* print them */
};

/* The medium stays the caller's. Timers begin at 1 s, so that 0 is never a time. */
void crash_world_init(struct crash_world *w, struct sim_disk *medium, uint64_t seed);
/* Drops what was scheduled. Mounts must have been closed, which they may be when dead. */
void crash_world_fini(struct crash_world *w);
/* One turn: the next event or timers that are due, then the hooks. false when nothing was left to do. */
bool crash_world_turn(struct crash_world *w);
/* Turns until *done or nothing is left; false in the latter case. */
bool crash_world_run(struct crash_world *w, const bool *done);
