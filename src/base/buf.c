#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BUF_FIRST = 256 };

void buf_init_fixed(struct buf *b, char *mem, size_t cap)
{
    *b = (struct buf){.p = mem, .cap = cap, .max = cap};
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max, .owned = true};
}

void buf_fini(struct buf *b)
{
    if (b->owned)
        mem_free(b->p);
    *b = (struct buf){0};
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

bool buf_reserve(struct buf *b, size_t n)
{
    size_t need;
    if (__builtin_add_overflow(b->n, n, &need) || need > b->max) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    if (!b->owned) {
        b->failed = true;
        return false;
    }
    size_t cap = b->cap < BUF_FIRST ? BUF_FIRST : b->cap * 2;
    if (cap < need)
        cap = need;
    if (cap > b->max)
        cap = b->max;
    char *p = mem_grow(b->p, cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

bool buf_put(struct buf *b, struct str s)
{
    if (b->failed || !buf_reserve(b, s.n))
        return false;
    if (s.n > 0)
        memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    return true;
}

bool buf_putc(struct buf *b, char c)
{
    return buf_put(b, str_of(&c, 1));
}

bool buf_puts(struct buf *b, const char *c)
{
    return buf_put(b, str_from_c(c));
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    must(n >= 0);
    if ((size_t)n < sizeof small)
        return buf_put(b, str_of(small, (size_t)n));
    if (b->failed || !buf_reserve(b, (size_t)n + 1))
        return false;
    va_start(ap, fmt);
    n = vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
    return true;
}

bool buf_put_u8(struct buf *b, uint8_t v)
{
    return buf_put(b, str_of(&v, 1));
}

bool buf_put_u16(struct buf *b, uint16_t v)
{
    char m[2];
    put_u16_at(m, v);
    return buf_put(b, str_of(m, sizeof m));
}

bool buf_put_u32(struct buf *b, uint32_t v)
{
    char m[4];
    put_u32_at(m, v);
    return buf_put(b, str_of(m, sizeof m));
}

bool buf_put_u64(struct buf *b, uint64_t v)
{
    char m[8];
    put_u64_at(m, v);
    return buf_put(b, str_of(m, sizeof m));
}

bool buf_put_lstr(struct buf *b, struct str s)
{
    must(s.n <= UINT32_MAX);
    return buf_put_u32(b, (uint32_t)s.n) && buf_put(b, s);
}

void buf_consume(struct buf *b, size_t n)
{
    must(n <= b->n);
    b->n -= n;
    if (b->n > 0 && n > 0)
        memmove(b->p, b->p + n, b->n);
}

void buf_release(struct buf *b)
{
    if (b->owned && b->n == 0 && b->p != NULL) {
        mem_free(b->p);
        b->p = NULL;
        b->cap = 0;
    }
}

struct str read_bytes(struct reader *r, size_t n)
{
    if (r->failed || n > r->rest.n) {
        r->failed = true;
        return STR_NIL;
    }
    struct str s = str_of(r->rest.p, n);
    r->rest = str_skip(r->rest, n);
    return s;
}

uint8_t read_u8(struct reader *r)
{
    struct str s = read_bytes(r, 1);
    return s.n == 0 ? 0 : (uint8_t)s.p[0];
}

uint16_t read_u16(struct reader *r)
{
    struct str s = read_bytes(r, 2);
    return s.n == 0 ? 0 : get_u16_at(s.p);
}

uint32_t read_u32(struct reader *r)
{
    struct str s = read_bytes(r, 4);
    return s.n == 0 ? 0 : get_u32_at(s.p);
}

uint64_t read_u64(struct reader *r)
{
    struct str s = read_bytes(r, 8);
    return s.n == 0 ? 0 : get_u64_at(s.p);
}

struct str read_lstr(struct reader *r)
{
    uint32_t n = read_u32(r);
    return read_bytes(r, n);
}

static void put_le(void *p, uint64_t v, size_t n)
{
    unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        b[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get_le(const void *p, size_t n)
{
    const unsigned char *b = p;
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)b[i] << (8 * i);
    return v;
}

void put_u16_at(void *p, uint16_t v)
{
    put_le(p, v, 2);
}

void put_u32_at(void *p, uint32_t v)
{
    put_le(p, v, 4);
}

void put_u64_at(void *p, uint64_t v)
{
    put_le(p, v, 8);
}

uint16_t get_u16_at(const void *p)
{
    return (uint16_t)get_le(p, 2);
}

uint32_t get_u32_at(const void *p)
{
    return (uint32_t)get_le(p, 4);
}

uint64_t get_u64_at(const void *p)
{
    return get_le(p, 8);
}
