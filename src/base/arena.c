#include "base/arena.h"

#include "base/mem.h"

#include <stdalign.h>
#include <string.h>

enum { FREE_KEPT = 64, ALIGN = alignof(max_align_t) };

struct chunk {
    struct chunk *next;
    size_t size; /* usable bytes in data */
    size_t used;
    size_t n_units; /* how many chunks of the budget this one counts for */
    alignas(max_align_t) char data[];
};

void chunk_pool_init(struct chunk_pool *p, size_t chunk_size, size_t n_max)
{
    must(chunk_size >= 512);
    *p = (struct chunk_pool){.chunk_size = chunk_size, .n_max = n_max};
}

void chunk_pool_fini(struct chunk_pool *p)
{
    must(p->n_lent == 0);
    while (p->free != NULL) {
        struct chunk *c = p->free;
        p->free = c->next;
        mem_free(c);
    }
    p->n_free = 0;
}

static struct chunk *chunk_take(struct chunk_pool *p, size_t need)
{
    size_t usual = p->chunk_size - sizeof(struct chunk);
    /* one unit if and only if a usual chunk holds it */
    size_t n_units = need <= usual ? 1 : (need + sizeof(struct chunk) + p->chunk_size - 1) / p->chunk_size;
    if (n_units > p->n_max || p->n_lent > p->n_max - n_units)
        return NULL;
    struct chunk *c = NULL;
    if (n_units == 1 && p->free != NULL) {
        c = p->free;
        p->free = c->next;
        p->n_free--;
    } else {
        size_t size = need <= usual ? usual : need;
        c = mem_alloc(sizeof *c + size);
        if (c == NULL)
            return NULL;
        c->size = size;
        c->n_units = n_units;
    }
    p->n_lent += n_units;
    c->used = 0;
    c->next = NULL;
    return c;
}

static void chunk_give(struct chunk_pool *p, struct chunk *c)
{
    must(p->n_lent >= c->n_units);
    p->n_lent -= c->n_units;
    if (c->n_units == 1 && p->n_free < FREE_KEPT) {
        c->next = p->free;
        p->free = c;
        p->n_free++;
    } else {
        mem_free(c);
    }
}

void arena_init(struct arena *a, struct chunk_pool *pool, size_t limit)
{
    *a = (struct arena){.pool = pool, .limit = limit};
}

void arena_reset(struct arena *a)
{
    while (a->head != NULL) {
        struct chunk *c = a->head;
        a->head = c->next;
        chunk_give(a->pool, c);
    }
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > PTRDIFF_MAX - ALIGN)
        return NULL;
    size_t need = n == 0 ? ALIGN : (n + ALIGN - 1) / ALIGN * ALIGN;
    if (need > a->limit || a->used > a->limit - need)
        return NULL;
    if (a->head == NULL || a->head->size - a->head->used < need) {
        struct chunk *c = chunk_take(a->pool, need);
        if (c == NULL)
            return NULL;
        c->next = a->head;
        a->head = c;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += need;
    a->used += need;
    memset(p, 0, need);
    return p;
}

void *arena_alloc_array(struct arena *a, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    return arena_alloc(a, n);
}

bool arena_str(struct arena *a, struct str s, struct str *out)
{
    size_t n;
    if (__builtin_add_overflow(s.n, (size_t)1, &n))
        return false;
    char *p = arena_alloc(a, n);
    if (p == NULL)
        return false;
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    *out = str_of(p, s.n);
    return true;
}
