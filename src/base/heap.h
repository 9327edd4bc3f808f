/* base/heap.h: an intrusive pairing heap of 64-bit keys; equal keys come out in the order they went in, so
 * that two runs from one seed agree. Insert O(1), take the least O(log n) amortised, remove any O(log n)
 * amortised.
 */
#pragma once
#include "base/must.h"

#include <stdint.h>

struct heap_node {
    struct heap_node *child, *next, *prev; /* prev: left sibling, or the parent of a first child */
    uint64_t key;
    uint64_t seq;
};
struct heap {
    struct heap_node *root;
    uint64_t seq;
    size_t n;
};

/* A zeroed heap is an empty heap. The node must be in no heap. */
void heap_insert(struct heap *h, struct heap_node *node, uint64_t key);
/* The node must be in h. */
void heap_remove(struct heap *h, struct heap_node *node);
/* NULL when empty. */
static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->root;
}
