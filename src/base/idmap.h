/* base/idmap.h: 64-bit id -> object, intrusive, by linear hashing: it grows one bucket an insert and by pages
 * of memory, never by doubling, so no insert ever stalls. The hash is fixed: ids are ours, not the network's.
 */
#pragma once
#include "base/must.h"

#include <stdint.h>

enum { IDMAP_PAGE = 512, IDMAP_PAGES_MAX = 32768 }; /* 16.7 M buckets */

struct idmap_node {
    struct idmap_node *next;
    uint64_t id;
};
struct idmap {
    struct idmap_node ***pages; /* IDMAP_PAGES_MAX of them, each IDMAP_PAGE buckets or NULL */
    size_t n_buckets, level, split;
    size_t n;
};

/* false without memory. */
MUST_USE bool idmap_init(struct idmap *m);
/* Frees the map, not the objects. */
void idmap_fini(struct idmap *m);
/* The id must not be in the map. */
void idmap_insert(struct idmap *m, struct idmap_node *node, uint64_t id);
/* NULL when absent. */
struct idmap_node *idmap_find(const struct idmap *m, uint64_t id);
/* The node that was removed, or NULL. */
struct idmap_node *idmap_remove(struct idmap *m, uint64_t id);
/* Calls fn for each node, which may free the node it got but not touch the map. Order: by bucket, for
 * statistics and teardown only. */
void idmap_each(struct idmap *m, void (*fn)(struct idmap_node *node, void *arg), void *arg);
