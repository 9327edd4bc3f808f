/* sim/sim_mem.h: base/mem.h for programs in which many simulated processes share one address space.
 *
 * Every block belongs to the heap that was current when it was made; a process that is killed gives all its
 * blocks back at once, as the kernel takes a process's memory, without a line of its own code being run.
 * Linked in place of base/mem.c.
 */
#pragma once
#include "base/list.h"

struct sim_heap {
    struct list blocks;
    size_t n_blocks, n_octets;
};
void sim_heap_init(struct sim_heap *h);
/* Frees every block. */
void sim_heap_wipe(struct sim_heap *h);
/* Blocks made from now on belong to `to`; NULL: to nobody. Returns what was current. */
struct sim_heap *sim_heap_enter(struct sim_heap *to);
/* Zeroed memory that belongs to nobody, never NULL; mem_free() frees it. */
void *sim_alloc(size_t n);
#define sim_make(type) ((type *)sim_alloc(sizeof(type)))
