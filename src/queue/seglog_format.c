#include "queue/seglog_format.h"

#include "base/buf.h"
#include "base/crc32c.h"

#include <string.h>

enum {
    HEADER_MAGIC = 0x31535857, /* "WXS1" */
    BATCH_MAGIC = 0x31425857,  /* "WXB1" */
    RECORD_HINT = 1,
};

/* The checksum of our structures begins with the salt, so that octets from outside can't imitate one. */
static uint32_t salted(uint64_t salt)
{
    unsigned char m[8];
    put_u64_at(m, salt);
    return crc32c(0, m, sizeof m);
}

/* ---- segment header: magic, crc, then fields ---- */

void seglog_header_encode(const struct seglog_header *h, unsigned char *out)
{
    memset(out, 0, SEGLOG_BLOCK);
    unsigned char *p = out;
    put_u32_at(p, HEADER_MAGIC);
    p[8] = (unsigned char)h->state;
    put_u16_at(p + 10, h->node);
    put_u32_at(p + 12, SEGLOG_BLOCK);
    const uint64_t fields[] = {h->generation,  h->opened,   h->salt,        h->capacity,
                               h->seq,         h->id_limit, h->end,         h->summary,
                               h->prev_opened, h->prev_end, h->prev_summary};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        put_u64_at(p + 16 + 8 * i, fields[i]);
    put_u32_at(p + 4, crc32c(0, p + 8, SEGLOG_HEADER_LEN - 8));
    memcpy(out + SEGLOG_HEADER_COPY, out, SEGLOG_HEADER_LEN);
}

static bool decode_header_copy(const unsigned char *p, struct seglog_header *out)
{
    if (get_u32_at(p) != HEADER_MAGIC || get_u32_at(p + 4) != crc32c(0, p + 8, SEGLOG_HEADER_LEN - 8))
        return false;
    if (p[8] < SEGLOG_HEADER_FREE || p[8] > SEGLOG_HEADER_SEALED || get_u32_at(p + 12) != SEGLOG_BLOCK)
        return false;
    uint64_t f[11];
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        f[i] = get_u64_at(p + 16 + 8 * i);
    *out = (struct seglog_header){
        .state = (enum seglog_header_state)p[8],
        .node = get_u16_at(p + 10),
        .generation = f[0],
        .opened = f[1],
        .salt = f[2],
        .capacity = f[3],
        .seq = f[4],
        .id_limit = f[5],
        .end = f[6],
        .summary = f[7],
        .prev_opened = f[8],
        .prev_end = f[9],
        .prev_summary = f[10],
    };
    if (out->capacity < 2 * SEGLOG_BLOCK || out->capacity > UINT32_MAX)
        return false;
    if (out->state == SEGLOG_HEADER_SEALED &&
        (out->end < SEGLOG_DATA || out->end > out->capacity || out->summary > out->end))
        return false;
    return true;
}

enum seglog_header_verdict seglog_header_decode(const unsigned char *block, size_t n,
                                                struct seglog_header *out)
{
    unsigned char whole[SEGLOG_BLOCK] = {0};
    if (n > 0)
        memcpy(whole, block, n < sizeof whole ? n : sizeof whole);
    struct seglog_header a, b;
    bool has_a = decode_header_copy(whole, &a);
    bool has_b = decode_header_copy(whole + SEGLOG_HEADER_COPY, &b);
    if (!has_a && !has_b) {
        for (size_t i = 0; i < sizeof whole; i++) {
            if (whole[i] != 0)
                return SEGLOG_HEADER_BAD;
        }
        return SEGLOG_HEADER_ZERO;
    }
    *out = has_a && (!has_b || a.generation >= b.generation) ? a : b;
    return SEGLOG_HEADER_GOOD;
}

/* ---- batches ---- */

void seglog_batch_encode(const struct seglog_batch *b, uint64_t salt, unsigned char *out)
{
    memset(out, 0, SEGLOG_BATCH_HEADER);
    put_u32_at(out, BATCH_MAGIC);
    put_u32_at(out + 8, (uint32_t)b->kind);
    put_u32_at(out + 12, b->len);
    put_u64_at(out + 16, b->opened);
    put_u64_at(out + 24, b->offset);
    put_u64_at(out + 32, b->seq);
    put_u32_at(out + 40, b->n);
    put_u32_at(out + 44, b->crc);
    put_u32_at(out + 4, crc32c(salted(salt), out + 8, SEGLOG_BATCH_HEADER - 8));
}

bool seglog_batch_decode(const unsigned char *in, uint64_t salt, uint64_t opened, uint64_t offset,
                         struct seglog_batch *out)
{
    if (get_u32_at(in) != BATCH_MAGIC || get_u64_at(in + 16) != opened || get_u64_at(in + 24) != offset)
        return false;
    if (get_u32_at(in + 4) != crc32c(salted(salt), in + 8, SEGLOG_BATCH_HEADER - 8))
        return false;
    uint32_t kind = get_u32_at(in + 8);
    if (kind != SEGLOG_BATCH_UNITS && kind != SEGLOG_BATCH_SUMMARY)
        return false;
    *out = (struct seglog_batch){
        .kind = (enum seglog_batch_kind)kind,
        .opened = opened,
        .offset = offset,
        .seq = get_u64_at(in + 32),
        .len = get_u32_at(in + 12),
        .n = get_u32_at(in + 40),
        .crc = get_u32_at(in + 44),
    };
    return out->len >= SEGLOG_BATCH_HEADER;
}

static void put_u48_at(unsigned char *p, uint64_t v)
{
    must(v >> 48 == 0);
    put_u32_at(p, (uint32_t)v);
    put_u16_at(p + 4, (uint16_t)(v >> 32));
}

static uint64_t get_u48_at(const unsigned char *p)
{
    return get_u32_at(p) | ((uint64_t)get_u16_at(p + 4) << 32);
}

/* ---- records: crc, len, kind, flags, size, id, seq, aux; the CRC covers all behind itself ---- */

uint32_t seglog_record_encode(const struct seglog_record *r, const struct str *pieces, size_t n_pieces,
                              unsigned char *out)
{
    memset(out, 0, SEGLOG_RECORD_HEADER);
    put_u32_at(out + 4, r->len);
    out[8] = (unsigned char)r->kind;
    out[9] = r->has_hint ? RECORD_HINT : 0;
    put_u48_at(out + 10, r->size);
    put_u64_at(out + 16, r->id);
    put_u64_at(out + 24, r->seq);
    put_u64_at(out + 32, r->aux);
    unsigned char *p = out + SEGLOG_RECORD_HEADER;
    if (r->has_hint) {
        memcpy(p, r->hint, STORE_HINT);
        p += STORE_HINT;
    }
    for (size_t i = 0; i < n_pieces; i++) {
        if (pieces[i].n > 0)
            memcpy(p, pieces[i].p, pieces[i].n);
        p += pieces[i].n;
    }
    must((size_t)(p - out) == (size_t)SEGLOG_RECORD_HEADER + r->len);
    uint32_t crc = crc32c(0, out + 4, (size_t)(p - out) - 4);
    put_u32_at(out, crc);
    return crc;
}

bool seglog_record_peek(const unsigned char *in, size_t n, struct seglog_record *out)
{
    if (n < SEGLOG_RECORD_HEADER || in[8] < SEGLOG_BODY || in[8] > SEGLOG_TOMB)
        return false;
    *out = (struct seglog_record){
        .kind = (enum seglog_kind)in[8],
        .has_hint = (in[9] & RECORD_HINT) != 0,
        .len = get_u32_at(in + 4),
        .id = get_u64_at(in + 16),
        .seq = get_u64_at(in + 24),
        .aux = get_u64_at(in + 32),
        .size = get_u48_at(in + 10),
    };
    if (out->len > n - SEGLOG_RECORD_HEADER || (out->has_hint && out->len < STORE_HINT))
        return false;
    const unsigned char *p = in + SEGLOG_RECORD_HEADER;
    size_t skip = out->has_hint ? STORE_HINT : 0;
    out->hint = out->has_hint ? p : NULL;
    out->bytes = str_of(p + skip, out->len - skip);
    return true;
}

bool seglog_record_decode(const unsigned char *in, size_t n, bool exact, struct seglog_record *out)
{
    if (!seglog_record_peek(in, n, out) || (exact && seglog_record_len(out) != n))
        return false;
    return get_u32_at(in) == crc32c(0, in + 4, (size_t)seglog_record_len(out) - 4);
}

uint32_t seglog_record_crc(const unsigned char *record)
{
    return get_u32_at(record);
}

/* ---- units: crc, len, seq, n_records, - ---- */

uint32_t seglog_unit_crc(uint64_t salt)
{
    return salted(salt);
}

uint32_t seglog_unit_add(uint32_t crc, uint32_t record_crc)
{
    unsigned char m[4];
    put_u32_at(m, record_crc);
    return crc32c(crc, m, sizeof m);
}

void seglog_unit_encode(const struct seglog_unit *u, uint32_t crc, unsigned char *out)
{
    memset(out, 0, SEGLOG_UNIT_HEADER);
    put_u32_at(out + 4, u->len);
    put_u64_at(out + 8, u->seq);
    put_u32_at(out + 16, u->n_records);
    put_u32_at(out, crc32c(crc, out + 4, SEGLOG_UNIT_HEADER - 4));
}

bool seglog_unit_decode(const unsigned char *in, size_t n, struct seglog_unit *out)
{
    if (n < SEGLOG_UNIT_HEADER)
        return false;
    *out = (struct seglog_unit){
        .seq = get_u64_at(in + 8),
        .len = get_u32_at(in + 4),
        .n_records = get_u32_at(in + 16),
    };
    return out->len >= SEGLOG_UNIT_HEADER && out->len <= n && out->n_records > 0;
}

bool seglog_unit_check(const unsigned char *in, const struct seglog_unit *u, uint64_t salt)
{
    uint32_t crc = salted(salt);
    size_t at = SEGLOG_UNIT_HEADER;
    for (uint32_t i = 0; i < u->n_records; i++) {
        struct seglog_record r;
        if (!seglog_record_decode(in + at, u->len - at, false, &r))
            return false;
        crc = seglog_unit_add(crc, seglog_record_crc(in + at));
        at += seglog_record_len(&r);
    }
    return at == u->len && get_u32_at(in) == crc32c(crc, in + 4, SEGLOG_UNIT_HEADER - 4);
}

/* ---- summaries ---- */

size_t seglog_entry_encode(const struct seglog_entry *e, unsigned char *out)
{
    memset(out, 0, SEGLOG_SUMMARY_ENTRY);
    out[0] = (unsigned char)e->kind;
    out[1] = e->has_hint ? RECORD_HINT : 0;
    put_u48_at(out + 2, e->size);
    put_u32_at(out + 8, e->offset);
    put_u32_at(out + 12, e->len);
    put_u64_at(out + 16, e->id);
    put_u64_at(out + 24, e->seq);
    put_u64_at(out + 32, e->aux);
    if (e->has_hint)
        memcpy(out + SEGLOG_SUMMARY_ENTRY, e->hint, STORE_HINT);
    return seglog_entry_len(e->has_hint);
}

bool seglog_entry_decode(struct str *in, struct seglog_entry *out)
{
    struct reader r = reader_of(*in);
    struct str fixed = read_bytes(&r, SEGLOG_SUMMARY_ENTRY);
    if (r.failed)
        return false;
    const unsigned char *p = (const unsigned char *)fixed.p;
    if (p[0] < SEGLOG_BODY || p[0] > SEGLOG_TOMB || (p[1] & ~RECORD_HINT) != 0)
        return false;
    *out = (struct seglog_entry){
        .kind = (enum seglog_kind)p[0],
        .has_hint = (p[1] & RECORD_HINT) != 0,
        .offset = get_u32_at(p + 8),
        .len = get_u32_at(p + 12),
        .id = get_u64_at(p + 16),
        .seq = get_u64_at(p + 24),
        .aux = get_u64_at(p + 32),
        .size = get_u48_at(p + 2),
    };
    if (out->has_hint) {
        struct str hint = read_bytes(&r, STORE_HINT);
        if (r.failed)
            return false;
        memcpy(out->hint, hint.p, STORE_HINT);
    }
    *in = r.rest;
    return out->len >= SEGLOG_RECORD_HEADER;
}
