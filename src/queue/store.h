/* queue/store.h: where accepted mail is kept. The interface is asynchronous and names nothing of files, so
 * that a store shared by several nodes fits behind it; queue/seglog*.c is the embedded one, a segment log
 * over base/world.h's disk.
 *
 * Nouns:  body      the octets of a message, shared by count between envelopes
 *         envelope  sender, recipients, ... of one queue entry: opaque octets here (queue/envelope.h gives
 * them meaning) result    a small delta to an envelope (a recipient's outcome, a hold, a new schedule), kept
 * in order hint      STORE_HINT octets of an envelope that are in memory and in summaries (due time, site,
 * ...); the newest result that carries one replaces it unit      operations that become durable together or
 * not at all Ids are 64-bit with a node part, never reused, also not after a restart or when everything was
 * deleted. Promise: when a ticket is done with ERR_OK, its unit survives power loss; when it is done with an
 * error, the unit may or may not exist after a restart but never in part. Tickets of one store are done in
 * the order of submission.
 */
#pragma once
#include "base/world.h"

struct store;

enum { STORE_HINT = 32 };

struct store_conf {
    uint16_t node;             /* 0..1023, the upper 10 bits of every id */
    uint64_t segment_size;     /* octets; STORE_SEGMENT_SIZE, smaller in tests */
    uint64_t body_segment_max; /* a larger body is a file; STORE_BODY_SEGMENT_MAX */
    uint64_t
        disk_free_min; /* reserved for later use by the implementation: octets it never claims; may be 0 */
};

/* Called during opening, once for each live envelope, in ascending order of id. */
struct store_live {
    uint64_t id, body_id;
    const unsigned char *hint; /* STORE_HINT octets, valid during the call */
};
struct store_user {
    void (*on_live)(void *arg, const struct store_live *e);
    /* Opening is over: the store takes units (ERR_OK), or why it can't be used. n_damaged: records skipped
     * for media damage, each logged with its place. */
    void (*on_open)(void *arg, enum err err, uint64_t n_live, uint64_t n_damaged);
    void *arg;
};
/* Starts opening over disk (its root is the spool folder). NULL only without memory. */
struct store *store_open(struct world *w, struct disk *disk, const struct store_conf *conf,
                         const struct store_user *u);
/* No ticket, read or body writer may be open. Seals the present segment; done is called once, then s is gone.
 */
void store_close(struct store *s, void (*done)(void *arg), void *arg);

/* The process dies: frees s at once without a word to the disk and without calling anybody, also with
 * tickets, reads and body writers open. For simulated deaths; no operation given to the disk may complete
 * later. */
void store_abandon(struct store *s);

/* A fresh id; needs no disk (the log keeps a high-water mark). */
uint64_t store_new_id(struct store *s);

enum store_op_kind {
    STORE_PUT_BODY = 0,  /* id, bytes: at most body_segment_max */
    STORE_PUT_BODY_FILE, /* id, size: written before with store_body_* in this process life */
    STORE_PUT_ENVELOPE,  /* id, body_id, bytes (at most STORE_ENVELOPE_MAX), hint: one more reference to the
                            body */
    STORE_PUT_RESULT,    /* id of a live envelope, epoch, bytes (at most 4096), hint or NULL */
    STORE_DROP,          /* id of a live envelope, epoch: a tombstone; the last reference frees the body */
};
struct store_op {
    enum store_op_kind kind;
    uint64_t id, body_id, epoch;
    uint64_t size;
    const struct str *pieces; /* the octets, in pieces, copied during the call */
    size_t n_pieces;
    const unsigned char *hint;
};
struct store_ticket { /* embedded in the user's object; must live until done */
    void (*done)(struct store_ticket *t, enum err err);
    struct list link; /* the store's */
    uint64_t seq;     /* the store's */
};
/* Submits one unit. lazy: may wait up to 50 ms for company (results); otherwise it goes with the next flush,
 * which starts at the end of this turn or when the running one ends. The order of the operations within does
 * not matter: bodies come first and drops last. Returns ERR_OK (done will be called), or at once and with
 * nothing done: ERR_AGAIN (over STORE_BATCH_MAX waiting, or the next segment is not ready: come back after
 * some milliseconds), ERR_NOSPACE (disk full; drops are taken longest), ERR_IO (the store has failed for
 * good), ERR_STALE (an op's epoch is not the present claim), ERR_NOTFOUND (envelope or body not live),
 * ERR_INVALID (a body that no envelope of the same unit refers to), ERR_TOO_BIG (a record over its limit, or
 * a unit over a batch), ERR_NOMEM. An id put twice or dropped twice in a unit is our bug. */
MUST_USE enum err store_submit(struct store *s, const struct store_op *ops, size_t n_ops, bool lazy,
                               struct store_ticket *t);

/* Claims an envelope for work: results and the drop must carry the epoch. A new claim makes older ones stale.
 * The embedded store grants at once; lease_ms matters to shared stores. */
struct store_claim {
    void (*done)(struct store_claim *c, enum err err); /* ERR_NOTFOUND, ERR_STALE: another node has it */
    uint64_t epoch;
    struct list link; /* the store's */
};
void store_claim(struct store *s, uint64_t id, uint64_t lease_ms, struct store_claim *c);
void store_renew(struct store *s, uint64_t id, uint64_t epoch, uint64_t lease_ms, struct store_claim *c);

/* Large bodies: open, append any number of times (one at a time), finish; each step calls b->done once. After
 * finish with ERR_OK submit a unit with STORE_PUT_BODY_FILE. abort may be called instead of any next step,
 * also after finish; it needs no completion and b is free when abort returns. */
struct store_body {
    void (*done)(struct store_body *b, enum err err);
    uint64_t id, size;
    void *impl; /* the store's */
};
void store_body_open(struct store *s, struct store_body *b, uint64_t id);
void store_body_append(struct store_body *b, struct str bytes); /* bytes must live until done */
void store_body_finish(struct store_body *b);                   /* data and folder are on disk when done */
void store_body_abort(struct store_body *b);
/* After finish with ERR_OK: b is no longer needed (and can't abort any more); the file waits for its unit, or
 * for the sweep of orphans at the next opening. */
void store_body_detach(struct store_body *b);

/* Reading. out memory is the reader's until store_read_release(), which every read needs after done. */
struct store_read {
    void (*done)(struct store_read *r, enum err err);
    struct str bytes;          /* envelope octets, or the piece of the body */
    const struct str *results; /* envelope reads: the results in order */
    size_t n_results;
    uint64_t body_id, body_size; /* envelope reads */
    void *impl;                  /* the store's */
};
void store_read_envelope(struct store *s, uint64_t id, struct store_read *r);
/* A body that is no file is read and checked whole, whatever the piece: ask for all of it at once.
 * At most size octets from offset (size <= 1 MiB); short only at the end of the body. */
void store_read_body(struct store *s, uint64_t body_id, uint64_t offset, size_t size, struct store_read *r);
void store_read_release(struct store_read *r);

struct store_stats {
    uint64_t n_live, n_segments, n_free_segments, live_octets, disk_octets;
    uint64_t n_flushes, n_units, n_octets_written, n_copied_octets; /* since opening */
    uint64_t n_damaged; /* damaged records and places met since opening, each logged */
    bool has_failed;    /* a flush failed: no more units */
    bool is_full;       /* the last try to get a segment met ENOSPC */
};
void store_get_stats(const struct store *s, struct store_stats *out);
/* A flush failed: no unit is taken any more in this process life (stats.has_failed, for who asks often). */
bool store_has_failed(const struct store *s);
