/* sim/sim_mem.c: see the header. Each block has a head in front of it that links it to its heap. */
#include "sim/sim_mem.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>

struct head {
    struct list link;
    struct sim_heap *heap;
    size_t n;
};
_Static_assert(sizeof(struct head) % 16 == 0, "blocks must stay aligned");

/* mem_alloc() has no argument that says for whom: this is the one variable of the simulator that is not in a
 * struct. */
static struct sim_heap *current;

void sim_heap_init(struct sim_heap *h)
{
    *h = (struct sim_heap){0};
    list_init(&h->blocks);
}

static void link_to(struct head *b, struct sim_heap *h)
{
    b->heap = h;
    list_init(&b->link);
    if (h == NULL)
        return;
    list_push_back(&h->blocks, &b->link);
    h->n_blocks++;
    h->n_octets += b->n;
}

static void unlink_from(struct head *b)
{
    list_remove(&b->link);
    if (b->heap == NULL)
        return;
    b->heap->n_blocks--;
    b->heap->n_octets -= b->n;
}

void sim_heap_wipe(struct sim_heap *h)
{
    for (struct list *l = list_pop_front(&h->blocks); l != NULL; l = list_pop_front(&h->blocks))
        free(list_entry(l, struct head, link));
    h->n_blocks = h->n_octets = 0;
}

struct sim_heap *sim_heap_enter(struct sim_heap *to)
{
    struct sim_heap *was = current;
    current = to;
    return was;
}

static struct head *head_of(void *p)
{
    return (struct head *)p - 1;
}

void *mem_alloc(size_t n)
{
    must(n > 0 && n <= PTRDIFF_MAX - sizeof(struct head));
    struct head *b = calloc(1, sizeof *b + n);
    if (b == NULL)
        return NULL;
    b->n = n;
    link_to(b, current);
    return b + 1;
}

void *mem_alloc_array(size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n) || n > PTRDIFF_MAX - sizeof(struct head))
        return NULL;
    return mem_alloc(n == 0 ? 1 : n);
}

void *mem_grow(void *p, size_t n)
{
    must(n > 0 && n <= PTRDIFF_MAX - sizeof(struct head));
    if (p == NULL)
        return mem_alloc(n);
    struct head *b = head_of(p);
    struct sim_heap *h = b->heap;
    unlink_from(b);
    struct head *grown = realloc(b, sizeof *b + n);
    if (grown == NULL) {
        link_to(b, h);
        return NULL;
    }
    grown->n = n;
    link_to(grown, h);
    return grown + 1;
}

void *mem_must_alloc(size_t n)
{
    void *p = mem_alloc(n);
    must(p != NULL);
    return p;
}

void mem_free(void *p)
{
    if (p == NULL)
        return;
    unlink_from(head_of(p));
    free(head_of(p));
}

/* The simulator's heaps share one. */
void mem_trim(void) {}

void *sim_alloc(size_t n)
{
    struct sim_heap *was = sim_heap_enter(NULL);
    void *p = mem_must_alloc(n);
    current = was;
    return p;
}
