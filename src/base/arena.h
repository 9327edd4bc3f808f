/* base/arena.h: memory that lives as long as a noun (connection, transaction, configuration).
 *
 * A chunk_pool is the budget: at most n_max chunks are lent at a time, whoever asks. An arena takes chunks
 * from one pool and gives all of them back on reset: an idle session owns none. Failing to get one is NULL,
 * and a 4xx.
 */
#pragma once
#include "base/str.h"

struct chunk;
struct chunk_pool {
    size_t chunk_size; /* bytes, usable part is a little less */
    size_t n_max;      /* chunks lent at most */
    size_t n_lent;
    size_t n_free; /* kept for reuse */
    struct chunk *free;
};

/* chunk_size at least 512; keeps at most 64 free chunks, the rest goes back to the heap. */
void chunk_pool_init(struct chunk_pool *p, size_t chunk_size, size_t n_max);
/* Every arena must have been reset. */
void chunk_pool_fini(struct chunk_pool *p);

struct arena {
    struct chunk_pool *pool;
    struct chunk *head;
    size_t used;  /* bytes handed out since the last reset */
    size_t limit; /* bytes that may be handed out */
};

void arena_init(struct arena *a, struct chunk_pool *pool, size_t limit);
/* All memory back to the pool; every pointer from the arena is dead. */
void arena_reset(struct arena *a);
/* Zeroed, aligned for any type; NULL over the limit or when the pool is used up. A block larger than a chunk
 * takes a chunk of its own size and counts for as many as it covers. */
MUST_USE void *arena_alloc(struct arena *a, size_t n);
MUST_USE void *arena_alloc_array(struct arena *a, size_t count, size_t size);
/* A copy of s with a NUL behind it (not counted in n). false when there is no memory. */
MUST_USE bool arena_str(struct arena *a, struct str s, struct str *out);

#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
