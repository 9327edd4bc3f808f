/* tests/crash/crash_rig.h: a store on a simulated disk with a model beside it, and a history that is played
 * on it. */
#pragma once
#include "tests/crash/crash_model.h"
#include "tests/crash/crash_world.h"

enum { RIG_SEGMENT = 64 * 1024 };

struct rig {
    struct crash_world w;
    struct sim_disk *medium; /* the caller's */
    struct disk *disk;
    struct store *s;
    struct model *m;
    struct rng rng;
    bool is_opened, is_closed, is_done;
    enum err open_err, done_err;
    uint64_t n_damaged;
    struct model_found *found; /* at opening */
    size_t n_found, n_found_max;
    uint64_t segment_size; /* RIG_SEGMENT unless changed before opening */
    size_t n_live_wanted;  /* the history keeps about so many */
    uint64_t n_failures;   /* units and steps that failed for an injected fault */
};

/* m is NULL or the caller's; seed is for the world and the history. */
void rig_init(struct rig *r, struct sim_disk *medium, struct model *m, uint64_t seed);
/* The store must be gone. */
void rig_fini(struct rig *r);
/* Opens the store and waits; the error. After an error the store is gone again. */
enum err rig_open(struct rig *r);
/* Opens and lets the process die after so many turns; false when it was open before that (and it is dead all
 * the same). */
bool rig_open_and_die(struct rig *r, uint64_t n_turns, bool with_power);
void rig_close(struct rig *r);                /* waits for what is in flight, then store_close() */
void rig_die(struct rig *r, bool with_power); /* the process dies, or the power is lost as well */
void rig_turns(struct rig *r, uint64_t n);
void rig_idle(struct rig *r); /* until no ticket is open */
/* Reads all that was found at opening, into found[].n_results and .is_unreadable; wrong octets go to
 * model_say(). */
void rig_read_all(struct rig *r, struct model *m);
/* rig_read_all() and model_check(). */
bool rig_check(struct rig *r, struct model *m, bool settles, bool tolerant, size_t *out_damaged);
/* A digest of what is there. */
uint64_t rig_digest(const struct rig *r);
/* One operation of the history. restarts: also clean restarts and crashes, which check and settle the model.
 * false when the model found something wrong. */
bool rig_step(struct rig *r, bool restarts);
