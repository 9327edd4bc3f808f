/* tests/crash/crash_model.h: what a store must hold, and the comparison with what it does hold.
 *
 * The model knows every unit that was submitted, in order, and whether its ticket came back. A recovered
 * store is right (invariants of docs/queue.md) when there is a point in that order such that exactly the
 * units before it exist, all acknowledged units are before it, and all octets and hints are those of these
 * units.
 */
#pragma once
#include "queue/store.h"

enum {
    MODEL_CHILDREN = 4,
    MODEL_RESULTS = 12,
    MODEL_BODY_SEGMENT_MAX = 8192,
};

enum model_fate { MODEL_OPEN = 0, MODEL_ACKED, MODEL_UNKNOWN }; /* of a unit: in flight, promised, failed */

struct model;
struct model_unit {
    struct store_ticket ticket;
    struct model *model;
    enum model_fate fate;
    signed char evidence; /* in a check: 0 none, 1 exists, -1 does not */
};
struct model_env {
    uint64_t id, body_id, epoch;
    size_t put, drop; /* units; drop 0: none */
    size_t results[MODEL_RESULTS];
    size_t n_results;
    bool is_void; /* resolved as never having existed */
};
struct model {
    struct model_unit **units; /* [0] is not used */
    size_t n_units;
    struct model_env *envs; /* ascending ids */
    size_t n_envs, n_envs_max;
    uint64_t id_max; /* of all ids given out */
    size_t n_acked, n_failed;
    size_t n_settled;  /* units below are resolved for good */
    size_t first_live; /* envelopes before are gone for good */
    char wrong[256];   /* the first thing found wrong, or empty */
};

void model_init(struct model *m);
void model_fini(struct model *m);
/* A new unit; its ticket is ready for store_submit(). */
struct model_unit *model_unit_new(struct model *m, size_t *out_index);
/* The unit was refused at once; it must be the last one. */
void model_unit_refused(struct model *m);
struct model_env *model_env_new(struct model *m, uint64_t id, uint64_t body_id, size_t put);
/* Is it surely there, and not being dropped? */
bool model_is_live(const struct model *m, const struct model_env *e);

/* ---- contents are functions of ids ---- */
size_t model_body_size(uint64_t body_id);
size_t model_env_size(uint64_t id);
size_t model_result_size(uint64_t id, size_t i);
bool model_result_has_hint(uint64_t id, size_t i);
void model_fill(uint64_t seed, char *out, size_t n);
void model_hint(uint64_t id, size_t n_results, unsigned char out[STORE_HINT]); /* after so many results */
uint64_t model_result_seed(uint64_t id, size_t i);

/* ---- checking ---- */

/* What was found of one envelope, in ascending order of id. */
struct model_found {
    uint64_t id, body_id;
    unsigned char hint[STORE_HINT];
    size_t n_results;
    bool is_unreadable; /* or its body is: ERR_CORRUPT */
};
/* false (and m->wrong) when found is no state that may be. settles: what was found becomes the truth.
 * tolerant: damage was done on purpose: envelopes and results may be missing or unreadable; their number is
 * added to *out_damaged. */
bool model_check(struct model *m, const struct model_found *found, size_t n_found, bool settles,
                 bool tolerant, size_t *out_damaged);
void model_say(struct model *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
