/* base/buf.h: a byte buffer with its maximum declared at birth.
 *
 * An append fits whole or not at all; the first that does not fit sets `failed`, which stays until
 * buf_reset(), so a formatter may check once at its end. Fixed buffers use the caller's memory; growing ones
 * own theirs.
 */
#pragma once
#include "base/str.h"

struct buf {
    char *p;
    size_t n;   /* bytes held */
    size_t cap; /* bytes allocated */
    size_t max; /* may never hold more */
    bool owned; /* p is on the heap and ours */
    bool failed;
};

/* A buffer over the caller's memory of cap bytes; never grows, needs no fini. */
void buf_init_fixed(struct buf *b, char *mem, size_t cap);
/* An empty buffer that grows on the heap up to max bytes; buf_fini() frees it. */
void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
/* Empty again, memory kept, `failed` cleared. */
void buf_reset(struct buf *b);
/* Makes room for n more bytes without adding them; false (and failed) over max or without memory. */
bool buf_reserve(struct buf *b, size_t n);
bool buf_put(struct buf *b, struct str s);
bool buf_putc(struct buf *b, char c);
bool buf_puts(struct buf *b, const char *c); /* NUL-terminated text of ours */
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Little-endian integers, for records and messages. */
bool buf_put_u8(struct buf *b, uint8_t v);
bool buf_put_u16(struct buf *b, uint16_t v);
bool buf_put_u32(struct buf *b, uint32_t v);
bool buf_put_u64(struct buf *b, uint64_t v);
/* u32 length, then the bytes. */
bool buf_put_lstr(struct buf *b, struct str s);
/* Drops the first n bytes (n <= b->n), moving the rest to the front. */
void buf_consume(struct buf *b, size_t n);
/* Gives heap memory back when the buffer is empty (idle sessions own no buffer). */
void buf_release(struct buf *b);
/* Valid until the next call that changes b. */
static inline struct str buf_str(const struct buf *b)
{
    return str_of(b->p, b->n);
}

/* Reads what the buf_put_* functions wrote. Any read past the end sets failed and returns 0 or the empty
 * slice; the caller checks failed (and usually reader.rest.n == 0) once. Slices borrow from the input. */
struct reader {
    struct str rest;
    bool failed;
};
static inline struct reader reader_of(struct str s)
{
    return (struct reader){s, false};
}
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
struct str read_bytes(struct reader *r, size_t n);
struct str read_lstr(struct reader *r);
static inline bool reader_done(const struct reader *r)
{
    return !r->failed && r->rest.n == 0;
}

/* The same integers at fixed places. */
void put_u16_at(void *p, uint16_t v);
void put_u32_at(void *p, uint32_t v);
void put_u64_at(void *p, uint64_t v);
uint16_t get_u16_at(const void *p);
uint32_t get_u32_at(const void *p);
uint64_t get_u64_at(const void *p);
