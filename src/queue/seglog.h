/* queue/seglog.h: the inside of the segment log, shared by queue/seglog_*.c only. docs/queue.md tells states,
 * format, invariants and why a crash at any point is harmless.
 *
 *   seglog.c           opening, closing, claims, statistics, what later steps of the loop are for
 *   seglog_submit.c    units: checking, space, encoding into the batch that fills, the tables
 *   seglog_flush.c     batches: rotation, the one write at a time, acknowledgement in log order
 *   seglog_segment.c   segments: made, sealed, released, unlinked
 *   seglog_walk.c      the records of one segment: by its summary or by a scan
 *   seglog_recover.c   opening: locks, lists, reads and settles what is there
 *   seglog_clean.c     live records forward out of the emptiest segment
 *   seglog_read.c      reading envelopes and bodies
 *   seglog_body.c      large bodies as files
 *
 * Lanes: WRITE carries batches, summaries and opening headers; READ reads; RELEASE all that nobody waits for
 * (zeroing, sealed and free headers, unlinks) and large bodies, which must not hold commits up.
 */
#pragma once
#include "base/buf.h"
#include "base/limits.h"
#include "queue/seglog_table.h"
#include "queue/store.h"

enum {
    SEGLOG_SEGMENT_MIN = 64 * 1024,
    SEGLOG_SEGMENT_MAX = 1024 * 1024 * 1024,
    SEGLOG_FIRST_SIZE = 16 * 1024 * 1024, /* a segment that somebody waits for is made this small */
    SEGLOG_LAZY_MS = 50,                  /* a lazy unit waits for company this long */
    SEGLOG_RETRY_MS = 5000,               /* until the next try to make a segment after a failure */
    SEGLOG_READ_TRIES = 4,                /* of what can't be read, before it counts as damaged, */
    SEGLOG_READ_PAUSE_MS = 250,           /* so far apart */
    SEGLOG_ZERO_STEP = 4 * 1024 * 1024,   /* zeros written and flushed at a time */
    SEGLOG_ZEROS = 64 * 1024,
    SEGLOG_SLOT_PAGE = 256,
    SEGLOG_SUMMARY_PAGE = 64 * 1024,
    SEGLOG_STEP_ENTRIES = 1024,      /* summary entries looked at in one turn */
    SEGLOG_COPY_WINDOW = 256 * 1024, /* octets the cleaner reads at a time */
    SEGLOG_COPY_GAP = 16 * 1024,     /* dead octets it reads along rather than begin another read */
};
/* Ids reserved by a header; half of them used means a new segment. Far apart: also unused ids of abandoned
 * sessions. */
#define SEGLOG_ID_RESERVE (UINT64_C(1) << 30)
/* Numbers skipped after a restart, more than one segment can hold: damage may hide the highest. */
#define SEGLOG_SEQ_SKIP (UINT64_C(1) << 32)

enum seglog_segment_state {
    SEGMENT_MAKING = 0, /* file made, zeros and free header not yet on disk */
    SEGMENT_FREE,       /* free header on disk */
    SEGMENT_OPENING,    /* its open header is being written */
    SEGMENT_OPEN,       /* takes batches */
    SEGMENT_SEALED,     /* holds records, takes none */
    SEGMENT_RELEASING,  /* nothing needed in it; free header, unlink or rename under way */
    SEGMENT_GONE,       /* being closed and unlinked */
    SEGMENT_BROKEN,     /* its file failed: left as it is */
};
struct seglog_segment {
    enum seglog_segment_state state;
    uint16_t slot;
    uint32_t number; /* the file is log/%08x */
    char name[24], aside[32];
    struct disk_file *file;
    struct seglog_header header; /* the last one written or read */
    uint64_t opened, prev_opened, salt, capacity;
    uint64_t end, summary; /* as in the header; end moves while OPEN */
    uint64_t live;         /* octets of records needed here, tombstones included */
    bool header_sealed;    /* its own header says where it ends */
    bool is_pinned;        /* its header is needed for the end of the segment before: may not be released */
    bool is_damaged;
    unsigned n_readers;
    struct disk_op op; /* RELEASE lane: header, unlink */
    unsigned char block[SEGLOG_BLOCK];
    struct str piece;
    struct store *store;
};

struct seglog_summary_page {
    struct seglog_summary_page *next;
    size_t n;
    unsigned char mem[SEGLOG_SUMMARY_PAGE];
};

struct seglog_fill {    /* a batch in memory */
    unsigned char *mem; /* batch_max octets and a block */
    size_t n;           /* used, the batch header counted */
    uint64_t first_seq;
    uint32_t n_units;
    size_t summary_len; /* of its records */
    size_t n_copied;    /* octets of copies by the cleaner */
    bool is_eager;      /* has a unit that does not wait */
    struct list tickets;
    struct buf forget; /* ids of body files to unlink once this batch is on disk */
};

enum seglog_flush_state {
    FLUSH_IDLE = 0,
    FLUSH_SUMMARY, /* the summary of the segment before is being written */
    FLUSH_MAKING,  /* no free segment yet: one is being made */
    FLUSH_HEADER,  /* the header of the new segment is being written */
    FLUSH_BATCH,   /* the batch is being written */
    FLUSH_FAILED,  /* for good */
};

enum seglog_clean_state {
    CLEAN_IDLE = 0,
    CLEAN_WALK,    /* reading the victim's entries */
    CLEAN_HERE,    /* counting the victim's records of the dead */
    CLEAN_COPY,    /* copying live records forward */
    CLEAN_WAIT,    /* until copies are on disk and readers are gone */
    CLEAN_RELEASE, /* the victim's header is being overwritten */
    CLEAN_COUNT,   /* taking its records out of the counts */
};

/* Walks the records of a segment; see seglog_walk.c. */
struct seglog_walk {
    struct store *store;
    struct seglog_segment *seg;
    void (*done)(struct seglog_walk *k);
    struct disk_op op;
    unsigned char *window;
    uint64_t window_at, window_cap;
    size_t window_n;
    uint64_t at; /* the next batch */
    bool knows_end, in_lookahead, in_gap, is_careful, reads_summary;
    uint64_t limit;     /* no batch begins here or later */
    uint64_t sure_to;   /* what is before was acknowledged: damage there is no torn end */
    uint64_t torn_at;   /* lookahead: where sound records end if nothing follows */
    uint64_t resume_at; /* lookahead: the batch in which it lies, or 0 */
    uint64_t seq;       /* number the next unit should have */
    uint64_t care_at;   /* is_careful: the next block to read */
    unsigned n_tries;   /* of that block */
    struct timer pause;
    /* results */
    enum err err;
    struct buf entries; /* encoded entries; the caller frees */
    uint64_t end;
    uint64_t tail_at; /* the last batch with a sound unit; 0: none, or not scanned */
    uint64_t seq_max; /* greatest number seen */
    uint64_t n_damaged;
};

struct seglog_clean {
    enum seglog_clean_state state;
    struct seglog_segment *victim;
    struct seglog_walk walk;
    struct str rest; /* entries not yet looked at */
    struct disk_op op;
    char *mem; /* SEGLOG_COPY_WINDOW, or one larger record */
    uint64_t mem_at;
    size_t mem_cap;
    struct str run; /* entries whose records are in mem */
    bool is_reading, has_run;
    uint64_t wait_flush; /* CLEAN_WAIT: until this many batches are on disk */
    bool is_careful;     /* a read failed: one record at a time, several tries each */
    unsigned n_tries;
    struct timer pause;
    bool keeps_counts;
};

struct seglog_recover; /* seglog_recover.c */

struct store {
    struct world *world;
    struct disk *disk;
    struct store_conf conf;
    struct store_user user;
    bool is_open, has_failed, is_full, is_closing;

    struct seglog_table table;
    struct seglog_segment **slots[SEGLOG_SLOT_MAX / SEGLOG_SLOT_PAGE + 1];
    size_t n_slots;
    size_t n_state[SEGMENT_BROKEN + 1];
    uint64_t state_octets[SEGMENT_BROKEN + 1];
    uint32_t number_next;

    uint64_t generation, seq, id_next, id_limit, salt, epoch;
    uint64_t live_octets, body_file_octets, n_live; /* envelopes, bodies and results */
    uint64_t n_body_files;

    struct seglog_fill fills[2];
    unsigned filling; /* index of the batch that fills; the other is empty or being flushed */
    size_t batch_max;
    uint64_t ticket_seq;
    struct turn_hook hook;
    bool has_hook;
    struct timer lazy, retry, soon;

    enum seglog_flush_state flush;
    struct seglog_segment *current; /* OPEN, or OPENING during a rotation */
    struct seglog_segment *sealing; /* FLUSH_SUMMARY to FLUSH_HEADER: the segment before */
    uint64_t batch_at;              /* FLUSH_BATCH: its place in current */
    struct disk_op flush_op;
    struct str *flush_pieces;
    size_t n_flush_pieces;
    unsigned char flush_head[SEGLOG_BLOCK];
    struct seglog_summary_page *summary, *summary_last; /* of current */
    size_t summary_len;
    uint32_t n_summary;
    bool summary_lost; /* no memory for an entry: the segment will have none */
    bool wants_rotation;
    uint64_t n_begun, n_flushed; /* batches taken for flushing, and on disk */

    struct seglog_segment *making;
    uint64_t make_at; /* octets zeroed */
    struct str *zero_pieces;
    char *zeros;

    struct seglog_clean clean;
    struct seglog_recover *recover;

    struct list claims, reads_done; /* whose done is due in a later step */
    size_t n_busy;                  /* operations and objects under way */
    struct list objects;            /* memory of open reads and body writers, for store_abandon() */

    struct buf unlinks; /* ids of body files to unlink, u64 each */
    size_t unlinks_at;
    struct disk_op unlink_op;
    char unlink_name[32];
    bool is_unlinking;

    void (*closed)(void *arg);
    void *closed_arg;
    struct store_stats stats;
};

/* seglog.c */
void seglog_soon(struct store *s); /* calls seglog_run_soon() in a later step of this or the next turn */
void seglog_busy_add(struct store *s);
void seglog_busy_sub(struct store *s); /* may end a closing; nothing of s may be touched behind it */
void seglog_fail(struct store *s, const struct seglog_segment *seg, enum err err, const char *what);

/* seglog_submit.c */
struct seglog_unit_writer { /* one unit being written to the batch that fills */
    size_t at;
    uint32_t crc, n_records;
};
bool seglog_unit_begin(struct store *s, struct seglog_unit_writer *u, size_t len_max);
/* The record stands at fill->mem + offset (returned before by seglog_unit_room()). */
unsigned char *seglog_unit_room(struct store *s, uint32_t *out_offset);
void seglog_unit_put(struct store *s, struct seglog_unit_writer *u, uint32_t record_len, bool has_hint);
void seglog_unit_end(struct store *s, struct seglog_unit_writer *u);
/* Is there room on disk for n more octets, summary_len of them for the summary, of this kind? */
enum seglog_need { SEGLOG_NEED_PUT = 0, SEGLOG_NEED_RESULT, SEGLOG_NEED_COPY, SEGLOG_NEED_DROP };
enum err seglog_has_space(const struct store *s, size_t n, size_t summary_len, enum seglog_need need);
/* Can n octets of records be copied forward whole? */
bool seglog_has_copy_space(const struct store *s, uint64_t n);
/* One reference less; the last one frees the body, its file when the batch that fills now is on disk. */
void seglog_body_unref(struct store *s, struct seglog_body *b);
/* A record is no longer needed where it is. */
void seglog_loc_unuse(struct store *s, const struct seglog_loc *at);

/* seglog_flush.c */
void seglog_flush_kick(struct store *s); /* starts a flush if one is due and none runs */
void seglog_flush_seal(
    struct store *s); /* writes the summary and the sealed header of current, then close goes on */
void seglog_flush_open(struct store *s,
                       struct seglog_segment *last); /* opening: the first segment of this life */
void seglog_flush_made(struct store *s);             /* a free segment is there, or making failed */
bool seglog_summary_add(struct store *s, const struct seglog_entry *e);
void seglog_summary_reset(struct store *s);
uint64_t seglog_batch_span(const struct seglog_fill *f);

/* seglog_segment.c */
struct seglog_segment *seglog_segment_new(struct store *s,
                                          uint32_t number);         /* NULL without memory or slots */
void seglog_segment_del(struct store *s, struct seglog_segment *g); /* the file must be closed */
struct seglog_segment *seglog_segment_at(const struct store *s, size_t slot); /* NULL: an empty slot */
void seglog_segment_set_state(struct seglog_segment *g, enum seglog_segment_state to);
void seglog_segment_set_capacity(struct seglog_segment *g, uint64_t capacity);
struct seglog_segment *seglog_segment_find_free(const struct store *s);
struct seglog_header seglog_free_header(struct store *s, const struct seglog_segment *g);
void seglog_make(struct store *s, uint64_t capacity); /* if none is being made */
void seglog_make_if_short(struct store *s);
void seglog_write_sealed(struct store *s, struct seglog_segment *g); /* own header, RELEASE lane */
void seglog_release(struct store *s, struct seglog_segment *g);      /* then seglog_clean_released() */
void seglog_segment_unlink(struct store *s, struct seglog_segment *g);
void seglog_aside_name(struct seglog_segment *g); /* fills g->aside */
void seglog_segment_name(uint32_t number, char out[24]);

/* seglog_walk.c */
void seglog_walk_start(struct seglog_walk *k); /* store, seg, knows_end, done are set; done may come within */
void seglog_walk_fini(struct seglog_walk *k);

/* seglog_recover.c */
void seglog_recover_start(struct store *s);
void seglog_recover_opened(struct store *s, enum err err); /* the first segment is open, or that failed */
void seglog_recover_made(struct store *s, enum err err);
void seglog_recover_released(struct store *s, enum err err);
void seglog_recover_step(struct store *s); /* after each flush while opening */
void seglog_recover_fini(struct store *s);

/* seglog_clean.c */
void seglog_clean_kick(struct store *s); /* begins if there is need */
/* The place in the tables of e's record, if it is needed where e says within that segment; else NULL. */
struct seglog_loc *seglog_needed(const struct store *s, const struct seglog_segment *g,
                                 const struct seglog_entry *e);
/* Puts a copy of e's record into the batch that fills and points the tables to it; false when there is no
 * room now. record (e->len sound octets) is not used for a tombstone. */
bool seglog_copy_record(struct store *s, const struct seglog_entry *e, struct seglog_loc *at,
                        const unsigned char *record);
void seglog_clean_step(struct store *s); /* bounded work, called in each later step and after each flush */
void seglog_clean_released(struct store *s, enum err err);
void seglog_clean_fini(struct store *s);

/* An object under way of seglog_read.c or seglog_body.c begins with this. */
struct seglog_object {
    struct list link; /* store.objects */
    void (*free)(struct seglog_object *o);
};
static inline void seglog_object_free(struct list *l)
{
    struct seglog_object *o = list_entry(l, struct seglog_object, link);
    o->free(o);
}

/* seglog_read.c */
void seglog_read_run_done(struct store *s);

/* seglog_body.c */
/* A unit refers to the finished file of that size: the writer is done with. false: there is no such writer.
 */
MUST_USE bool seglog_body_take(struct store *s, uint64_t id, uint64_t size);
/* Closes finished files that no unit ever referred to; they are orphans at the next opening. */
void seglog_body_drop_detached(struct store *s);
void seglog_body_name(uint64_t id, char out[32]);
/* Unlinks body files, one after the other; ids are u64 each. Nothing durable needs them any more. */
void seglog_body_unlink(struct store *s, struct str ids);
