/* sim/sim_disk_content.h: the content of one simulated file, in blocks that are shared by count until one of
 * their owners writes. A content points at groups of blocks, which are shared the same way: to copy a segment
 * of 64 MiB costs a few hundred pointers, to write to it afterwards the groups and blocks that are met. What
 * was never written, or only with zeros, has no memory. For sim_disk.c only.
 */
#pragma once
#include "base/mem.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 4096, GROUP_BLOCKS = 64 };

struct block {
    unsigned n_refs;
    unsigned char mem[BLOCK];
};

struct group {
    unsigned n_refs;
    struct block *blocks[GROUP_BLOCKS]; /* NULL: zeros */
};

struct content {
    struct group **groups; /* NULL: zeros */
    size_t n_groups;       /* at least those that size needs */
    uint64_t size;
};

static inline struct block *block_keep(struct block *b)
{
    if (b != NULL)
        b->n_refs++;
    return b;
}

static inline void block_drop(struct block *b)
{
    if (b != NULL && --b->n_refs == 0)
        mem_free(b);
}

static inline void group_drop(struct group *g)
{
    if (g == NULL || --g->n_refs > 0)
        return;
    for (size_t i = 0; i < GROUP_BLOCKS; i++)
        block_drop(g->blocks[i]);
    mem_free(g);
}

static inline void content_fini(struct content *c)
{
    for (size_t i = 0; i < c->n_groups; i++)
        group_drop(c->groups[i]);
    mem_free(c->groups);
    *c = (struct content){0};
}

/* Makes it at least that long. Room for groups doubles: a file grows by many small writes. */
static inline void content_grow(struct content *c, uint64_t size)
{
    if (size <= c->size)
        return;
    size_t n_blocks = (size_t)((size + BLOCK - 1) / BLOCK), n = (n_blocks + GROUP_BLOCKS - 1) / GROUP_BLOCKS;
    if (n > c->n_groups) {
        n = n < 2 * c->n_groups ? 2 * c->n_groups : n;
        c->groups = mem_grow(c->groups, n * sizeof(struct group *));
        must(c->groups != NULL);
        memset(c->groups + c->n_groups, 0, (n - c->n_groups) * sizeof(struct group *));
        c->n_groups = n;
    }
    c->size = size;
}

static inline struct content content_copy(const struct content *c)
{
    struct content out = {0};
    content_grow(&out, c->size);
    for (size_t i = 0; i < c->n_groups && i < out.n_groups; i++) {
        out.groups[i] = c->groups[i];
        if (out.groups[i] != NULL)
            out.groups[i]->n_refs++;
    }
    return out;
}

/* The i-th block, or NULL: zeros. */
static inline struct block *content_block(const struct content *c, size_t i)
{
    const struct group *g = i / GROUP_BLOCKS < c->n_groups ? c->groups[i / GROUP_BLOCKS] : NULL;
    return g == NULL ? NULL : g->blocks[i % GROUP_BLOCKS];
}

/* Where the i-th block stands, in a group that is nobody else's. */
static inline struct block **content_own_slot(struct content *c, size_t i)
{
    struct group **at = &c->groups[i / GROUP_BLOCKS], *g = *at;
    if (g == NULL || g->n_refs > 1) {
        struct group *own = mem_must_new(struct group);
        own->n_refs = 1;
        for (size_t k = 0; g != NULL && k < GROUP_BLOCKS; k++)
            own->blocks[k] = block_keep(g->blocks[k]);
        group_drop(g);
        *at = g = own;
    }
    return &g->blocks[i % GROUP_BLOCKS];
}

static inline bool is_zeros(const unsigned char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0); /* new segments are nothing else */
}

/* Octets of one block; the content is long enough. */
static inline void content_write_block(struct content *c, size_t i, size_t at, const unsigned char *p,
                                       size_t n)
{
    if (content_block(c, i) == NULL && is_zeros(p, n))
        return;
    struct block **slot = content_own_slot(c, i), *b = *slot;
    if (b == NULL || b->n_refs > 1) {
        struct block *own = mem_must_new(struct block);
        own->n_refs = 1;
        if (b != NULL)
            memcpy(own->mem, b->mem, BLOCK);
        block_drop(b);
        *slot = b = own;
    }
    memcpy(b->mem + at, p, n);
}

static inline void content_write(struct content *c, uint64_t offset, const unsigned char *p, size_t n)
{
    if (n == 0)
        return;
    content_grow(c, offset + n);
    while (n > 0) {
        size_t at = (size_t)(offset % BLOCK), len = n < BLOCK - at ? n : BLOCK - at;
        content_write_block(c, (size_t)(offset / BLOCK), at, p, len);
        offset += len;
        p += len;
        n -= len;
    }
}

/* Writes n octets of another content, which stand at `from_at` there. Both offsets are as far into a block,
 * so that whole blocks are shared and not copied. */
static inline void content_write_from(struct content *c, uint64_t offset, const struct content *from,
                                      uint64_t from_at, uint64_t n)
{
    static const unsigned char zeros[BLOCK];
    must(offset % BLOCK == from_at % BLOCK && from_at + n <= from->size);
    if (n == 0)
        return;
    content_grow(c, offset + n);
    while (n > 0) {
        size_t i = (size_t)(offset / BLOCK), at = (size_t)(offset % BLOCK);
        size_t len = n < BLOCK - at ? (size_t)n : BLOCK - at;
        struct block *b = content_block(from, (size_t)(from_at / BLOCK));
        if (len < BLOCK) {
            content_write_block(c, i, at, b == NULL ? zeros : b->mem + at, len);
        } else if (b != content_block(c, i)) {
            struct block **slot = content_own_slot(c, i);
            block_drop(*slot);
            *slot = block_keep(b);
        }
        offset += len;
        from_at += len;
        n -= len;
    }
}

/* Up to n octets; how many there were. */
static inline size_t content_read(const struct content *c, uint64_t offset, unsigned char *out, size_t n)
{
    if (offset >= c->size)
        return 0;
    if (n > c->size - offset)
        n = (size_t)(c->size - offset);
    for (size_t done = 0; done < n;) {
        uint64_t pos = offset + done;
        size_t at = (size_t)(pos % BLOCK);
        size_t len = n - done < BLOCK - at ? n - done : BLOCK - at;
        const struct block *b = content_block(c, (size_t)(pos / BLOCK));
        if (b == NULL)
            memset(out + done, 0, len);
        else
            memcpy(out + done, b->mem + at, len);
        done += len;
    }
    return n;
}
