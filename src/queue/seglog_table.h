/* queue/seglog_table.h: what the segment log knows in memory: live envelopes, bodies by count, and the dead
 * whose tombstones are still needed. About 150 octets for an envelope with a body of its own.
 *
 * Owns its entries, in pages that are reused but kept until fini: memory grows a page at a time and never
 * doubles. Knows nothing of files; `slot` is the caller's number of a place.
 */
#pragma once
#include "base/idmap.h"
#include "queue/seglog_format.h"

enum {
    SEGLOG_SLOT_MAX = 65000,   /* slots of segments are below */
    SEGLOG_SLOT_BATCH = 65500, /* + 0 or 1: offset is in that batch's memory */
    SEGLOG_SLOT_FILE = 65502,  /* a body file: its size is offset + (len << 32) */
    SEGLOG_SLOT_NONE = 65503,  /* nowhere: lost, or not seen yet */
};
struct seglog_loc {
    uint32_t offset, len; /* of the whole record */
    uint16_t slot;
};
static inline bool seglog_loc_is(const struct seglog_loc *a, uint16_t slot, uint32_t offset)
{
    return a->slot == slot && a->offset == offset;
}

struct seglog_body {
    struct idmap_node node;
    struct seglog_loc at;
    uint32_t n_refs; /* live envelopes */
};
struct seglog_result {
    struct seglog_result *next; /* the last one's is the first */
    uint64_t seq;
    struct seglog_loc at;
};
struct seglog_env {
    struct idmap_node node;
    struct seglog_body *body;
    struct seglog_result *last; /* a ring in order of seq; NULL: none */
    uint64_t epoch;             /* 0: not claimed in this process life */
    uint64_t hint_seq;          /* number of the record the hint is from */
    unsigned char hint[STORE_HINT];
    struct seglog_loc at;
    uint32_t n_holders; /* puts, copies and results of this id in existing segments and batches */
};
struct seglog_tomb {
    struct idmap_node node;
    struct seglog_loc at; /* SLOT_NONE: no tombstone is stored (only after damage) */
    uint32_t n_holders;   /* as above; at 0 the tombstone is no longer needed */
    uint32_t n_here;      /* the cleaner's: how many of them are in the segment being cleaned */
};

struct seglog_slab {
    size_t size;
    void *free;
    void *pages;
    size_t n_fresh; /* never used objects left in the first page */
    size_t n_free;
};
struct seglog_table {
    struct idmap envs, bodies, tombs;
    struct seglog_slab env_slab, body_slab, tomb_slab, result_slab;
};

/* false without memory. */
MUST_USE bool seglog_table_init(struct seglog_table *t);
void seglog_table_fini(struct seglog_table *t);

/* NULL when there is none. */
struct seglog_env *seglog_env_find(const struct seglog_table *t, uint64_t id);
struct seglog_body *seglog_body_find(const struct seglog_table *t, uint64_t id);
struct seglog_tomb *seglog_tomb_find(const struct seglog_table *t, uint64_t id);
/* Zeroed but for id and place (SLOT_NONE); the id must be new to that map. NULL without memory. */
struct seglog_env *seglog_env_add(struct seglog_table *t, uint64_t id);
struct seglog_body *seglog_body_add(struct seglog_table *t, uint64_t id);
struct seglog_tomb *seglog_tomb_add(struct seglog_table *t, uint64_t id);
/* Adds a result in order of seq, or returns the one of that seq that is there; NULL without memory. */
struct seglog_result *seglog_result_add(struct seglog_table *t, struct seglog_env *e, uint64_t seq);
struct seglog_result *seglog_result_find(const struct seglog_env *e, uint64_t seq);
/* Takes one result out and frees it. */
void seglog_result_del(struct seglog_table *t, struct seglog_env *e, struct seglog_result *r);
/* Makes sure that so many of each can be added without failing. */
MUST_USE bool seglog_table_reserve(struct seglog_table *t, size_t n_envs, size_t n_bodies, size_t n_tombs,
                                   size_t n_results);
/* Frees the entry; an envelope's results with it. Its body is the caller's business. */
void seglog_env_del(struct seglog_table *t, struct seglog_env *e);
void seglog_body_del(struct seglog_table *t, struct seglog_body *b);
void seglog_tomb_del(struct seglog_table *t, struct seglog_tomb *b);

static inline uint64_t seglog_file_size(const struct seglog_body *b)
{
    return b->at.offset | ((uint64_t)b->at.len << 32);
}
