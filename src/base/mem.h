/* base/mem.h: the only door to the heap (malloc and its kin are banned elsewhere by tests/tidy).
 *
 * What the network can make us allocate comes from a chunk_pool with a budget (arena.h) or has a count limit;
 * then NULL means "budget used up" and becomes a 4xx. What start-up needs comes from mem_must_alloc().
 */
#pragma once
#include "base/must.h"

/* Zeroed memory, or NULL. n == 0 is a bug. */
MUST_USE void *mem_alloc(size_t n);
/* As mem_alloc for count * size, overflow checked (NULL). */
MUST_USE void *mem_alloc_array(size_t count, size_t size);
/* realloc semantics; new bytes are not zeroed; NULL leaves the old block alone. */
MUST_USE void *mem_grow(void *p, size_t n);
/* As mem_alloc, but failing is fatal to the role: start-up only. */
MUST_USE void *mem_must_alloc(size_t n);
void mem_free(void *p);
/* Gives what is free back to the system: after a start, which takes more than what comes. */
void mem_trim(void);

#define mem_new(type) ((type *)mem_alloc(sizeof(type)))
#define mem_must_new(type) ((type *)mem_must_alloc(sizeof(type)))
