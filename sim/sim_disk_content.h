/* sim/sim_disk_content.h: the content of one simulated file: blocks shared by count, so that a copy of a
 * whole disk is cheap. For sim_disk.c only.
 */
#pragma once
#include "base/mem.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 4096 };

struct block {
    unsigned n_refs;
    unsigned char mem[BLOCK];
};

struct content {
    struct block **blocks; /* NULL: zeros */
    size_t n_blocks;
    uint64_t size;
};

static inline void block_drop(struct block *b)
{
    if (b != NULL && --b->n_refs == 0)
        mem_free(b);
}

static inline void content_fini(struct content *c)
{
    for (size_t i = 0; i < c->n_blocks; i++)
        block_drop(c->blocks[i]);
    mem_free(c->blocks);
    *c = (struct content){0};
}

static inline void content_grow(struct content *c, uint64_t size)
{
    size_t n = (size_t)((size + BLOCK - 1) / BLOCK);
    if (n > c->n_blocks) {
        c->blocks = mem_grow(c->blocks, n * sizeof(struct block *));
        must(c->blocks != NULL);
        memset(c->blocks + c->n_blocks, 0, (n - c->n_blocks) * sizeof(struct block *));
        c->n_blocks = n;
    }
    if (size > c->size)
        c->size = size;
}

static inline struct content content_copy(const struct content *c)
{
    struct content out = {0};
    content_grow(&out, c->size);
    for (size_t i = 0; i < c->n_blocks && i < out.n_blocks; i++) {
        out.blocks[i] = c->blocks[i];
        if (out.blocks[i] != NULL)
            out.blocks[i]->n_refs++;
    }
    return out;
}

static inline bool is_zeros(const unsigned char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0); /* new segments are nothing else */
}

static inline void content_write(struct content *c, uint64_t offset, const unsigned char *p, size_t n)
{
    if (n == 0)
        return;
    content_grow(c, offset + n);
    while (n > 0) {
        size_t i = (size_t)(offset / BLOCK), at = (size_t)(offset % BLOCK);
        size_t len = n < BLOCK - at ? n : BLOCK - at;
        struct block *b = c->blocks[i];
        if (b != NULL || !is_zeros(p, len)) {
            if (b == NULL || b->n_refs > 1) {
                struct block *own = mem_must_new(struct block);
                if (b != NULL)
                    memcpy(own->mem, b->mem, BLOCK);
                block_drop(b);
                own->n_refs = 1;
                c->blocks[i] = b = own;
            }
            memcpy(b->mem + at, p, len);
        }
        offset += len;
        p += len;
        n -= len;
    }
}

static inline size_t content_read(const struct content *c, uint64_t offset, unsigned char *out, size_t n)
{
    if (offset >= c->size)
        return 0;
    if (n > c->size - offset)
        n = (size_t)(c->size - offset);
    for (size_t done = 0; done < n;) {
        uint64_t pos = offset + done;
        size_t i = (size_t)(pos / BLOCK), at = (size_t)(pos % BLOCK);
        size_t len = n - done < BLOCK - at ? n - done : BLOCK - at;
        const struct block *b = i < c->n_blocks ? c->blocks[i] : NULL;
        if (b == NULL)
            memset(out + done, 0, len);
        else
            memcpy(out + done, b->mem + at, len);
        done += len;
    }
    return n;
}
