/* queue/seglog_format.h: the octets of the segment log, text of which is docs/queue.md section 2: headers,
 * batches, units, records and summaries <-> structs. No I/O, no state.
 *
 * Everything is little-endian. A segment is [header block][batch]...[batch], each batch begins at a multiple
 * of SEGLOG_BLOCK. A batch is [batch header][unit]...[unit][zeros to the next block]. A unit is [unit
 * header][record]...; a record is [record header][payload].
 *
 * Security: bodies are remote octets and may look like any of these. Batch and unit checksums start from the
 * `salt` of the segment, random per process life, so that no body can be taken for a batch.
 */
#pragma once
#include "base/str.h"
#include "queue/store.h"

enum {
    SEGLOG_BLOCK = 4096,        /* batches begin here: no block that was acknowledged is ever written again */
    SEGLOG_DATA = SEGLOG_BLOCK, /* where the first batch of a segment begins */
    SEGLOG_HEADER_COPY = 2048,  /* the header is in its block twice */
    SEGLOG_HEADER_LEN = 128,
    SEGLOG_BATCH_HEADER = 64,
    SEGLOG_UNIT_HEADER = 24,
    SEGLOG_RECORD_HEADER = 40,
    SEGLOG_SUMMARY_ENTRY = 40,       /* without a hint */
    SEGLOG_UNIT_RECORDS_MAX = 65535, /* operations of one unit */
    SEGLOG_RESULT_MAX = 4096,
    SEGLOG_FILE_CHUNK = 64 * 1024, /* a body file has a CRC32C for each such piece behind its octets */
};

/* ---- segment header ---- */

enum seglog_header_state {
    SEGLOG_HEADER_FREE = 1, /* zeroed or recycled; holds nothing */
    SEGLOG_HEADER_OPEN,     /* records may follow; where they end stands in the next header */
    SEGLOG_HEADER_SEALED,   /* records end at `end` */
};
struct seglog_header {
    enum seglog_header_state state;
    uint16_t node;
    uint64_t generation;
    uint64_t
        opened; /* SEALED: the generation with which the segment was opened; OPEN: as generation; FREE: 0 */
    uint64_t salt;
    uint64_t capacity;    /* octets of the file */
    uint64_t seq;         /* no record before this header has a number from here on */
    uint64_t id_limit;    /* no id from here on was ever given out */
    uint64_t end;         /* SEALED: where records end; else 0 */
    uint64_t summary;     /* SEALED: where the summary's batch begins, or 0: there is none */
    uint64_t prev_opened; /* OPEN, SEALED: the segment before this one and where its records end; 0: none */
    uint64_t prev_end;
    uint64_t prev_summary;
};
/* Fills out[SEGLOG_BLOCK]. */
void seglog_header_encode(const struct seglog_header *h, unsigned char *out);
enum seglog_header_verdict { SEGLOG_HEADER_GOOD = 0, SEGLOG_HEADER_ZERO, SEGLOG_HEADER_BAD };
/* block has n octets (a short one counts as zeros behind its end). Of two good copies the later generation
 * counts. */
enum seglog_header_verdict seglog_header_decode(const unsigned char *block, size_t n,
                                                struct seglog_header *out);

/* ---- batches ---- */

enum seglog_batch_kind { SEGLOG_BATCH_UNITS = 1, SEGLOG_BATCH_SUMMARY };
struct seglog_batch {
    enum seglog_batch_kind kind;
    uint64_t opened; /* generation of the segment */
    uint64_t offset; /* of itself within the segment */
    uint64_t seq;    /* UNITS: the number of the first unit's first record */
    uint32_t len;    /* octets with this header, without padding */
    uint32_t n;      /* units, or summary entries */
    uint32_t crc;    /* SUMMARY: of the entries; UNITS: 0, each unit has its own */
};
void seglog_batch_encode(const struct seglog_batch *b, uint64_t salt, unsigned char *out);
/* false: not a batch header of that segment and place. */
MUST_USE bool seglog_batch_decode(const unsigned char *in, uint64_t salt, uint64_t opened, uint64_t offset,
                                  struct seglog_batch *out);
static inline uint64_t seglog_align(uint64_t n)
{
    return (n + SEGLOG_BLOCK - 1) & ~(uint64_t)(SEGLOG_BLOCK - 1);
}

/* ---- units ---- */

struct seglog_unit {
    uint64_t seq; /* the number of its first record; the next unit continues */
    uint32_t len; /* octets with this header */
    uint32_t n_records;
};

/* ---- records ---- */

enum seglog_kind {
    SEGLOG_BODY = 1,
    SEGLOG_ENVELOPE,
    SEGLOG_RESULT,
    SEGLOG_TOMB,
};
struct seglog_record {
    enum seglog_kind kind;
    bool has_hint;
    uint32_t len; /* octets of payload, the hint counted */
    uint64_t id;
    uint64_t seq;              /* a copy keeps the number of its original */
    uint64_t aux;              /* ENVELOPE: body id */
    uint64_t size;             /* ENVELOPE: octets of the body, under 2^48 */
    const unsigned char *hint; /* first in the payload */
    struct str bytes;          /* the rest of the payload */
};
/* Writes header and payload (hint, then pieces) to out, which has SEGLOG_RECORD_HEADER + len octets; returns
 * the CRC of the record. r->bytes is not used. */
uint32_t seglog_record_encode(const struct seglog_record *r, const struct str *pieces, size_t n_pieces,
                              unsigned char *out);
/* Checks the CRC; false when in is not one whole sound record of exactly n octets or begins with none (exact
 * false: it may be followed by more). */
MUST_USE bool seglog_record_decode(const unsigned char *in, size_t n, bool exact, struct seglog_record *out);
/* Without a look at the CRC, for memory of ours; bytes and hint are set. */
MUST_USE bool seglog_record_peek(const unsigned char *in, size_t n, struct seglog_record *out);
static inline uint32_t seglog_record_len(const struct seglog_record *r)
{
    return SEGLOG_RECORD_HEADER + r->len;
}
/* The stored CRC of a record that was encoded or decoded well. */
uint32_t seglog_record_crc(const unsigned char *record);

/* Unit: its records stand behind out already; crc is that over the CRCs of its records, in order, fed by
 * seglog_unit_add(); starts as seglog_unit_crc(salt). */
uint32_t seglog_unit_crc(uint64_t salt);
uint32_t seglog_unit_add(uint32_t crc, uint32_t record_crc);
void seglog_unit_encode(const struct seglog_unit *u, uint32_t crc, unsigned char *out);
/* The header alone; false when its numbers can't be. n octets are there. */
MUST_USE bool seglog_unit_decode(const unsigned char *in, size_t n, struct seglog_unit *out);
/* Checks header, all records and the unit's CRC; in has u->len octets. */
MUST_USE bool seglog_unit_check(const unsigned char *in, const struct seglog_unit *u, uint64_t salt);

/* ---- summaries ---- */

struct seglog_entry {
    enum seglog_kind kind;
    bool has_hint;
    uint32_t offset; /* of the record within the segment */
    uint32_t len;    /* octets with header */
    uint64_t id, seq, aux, size;
    unsigned char hint[STORE_HINT];
};
static inline size_t seglog_entry_len(bool has_hint)
{
    return (size_t)SEGLOG_SUMMARY_ENTRY + (has_hint ? STORE_HINT : 0);
}
/* Returns the octets written. */
size_t seglog_entry_encode(const struct seglog_entry *e, unsigned char *out);
/* Takes one entry off *in; false when it is malformed. */
MUST_USE bool seglog_entry_decode(struct str *in, struct seglog_entry *out);
