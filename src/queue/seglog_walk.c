/* The records of one segment, in the order of the log.
 *
 * A sealed segment with a summary costs one read of its end. Else its batches are scanned. What lies before a
 * known end, or before a batch that is sound, was acknowledged: a bad checksum there is damage of the medium,
 * is reported, and the walk goes on behind it. Where the end is not known the first bad unit behind which no
 * sound batch follows is the end: one batch is written at a time, so all behind it was never acknowledged.
 */
#include "base/crc32c.h"
#include "base/mem.h"
#include "queue/seglog.h"

#include <string.h>

enum {
    WINDOW_MORE = 1024 * 1024,       /* octets read ahead */
    LOOKAHEAD = 2 * STORE_BATCH_MAX, /* how far a sound batch is looked for behind a bad one */
    UNIT_ALIGN = 8,
};

static void run(struct seglog_walk *k);

static void finish(struct seglog_walk *k, enum err err)
{
    k->err = err;
    mem_free(k->window);
    k->window = NULL;
    k->done(k);
}

static void report(struct seglog_walk *k, uint64_t offset, const char *what)
{
    k->n_damaged++;
    k->seg->is_damaged = true;
    log_error(world_log(k->store->world), "store.damaged", LC("file", k->seg->name), LU("offset", offset),
              LC("what", what), LC("now", "skipped"));
}

/* ---- the window over the file ---- */

static bool in_window(const struct seglog_walk *k, uint64_t at, uint64_t n)
{
    return k->window_n > 0 && at >= k->window_at && at + n <= k->window_at + k->window_n;
}

static const unsigned char *window_ptr(const struct seglog_walk *k, uint64_t at)
{
    return k->window + (at - k->window_at);
}

static void on_window(struct disk_op *op);

static void submit_read(struct seglog_walk *k, uint64_t at, unsigned char *mem, uint64_t n)
{
    k->op = (struct disk_op){
        .kind = DISK_READ,
        .lane = DISK_LANE_READ,
        .file = k->seg->file,
        .offset = at,
        .mem = (char *)mem,
        .size = n,
        .done = on_window,
    };
    seglog_busy_add(k->store);
    disk_submit(k->store->disk, &k->op);
}

static void read_window(struct seglog_walk *k, uint64_t at, uint64_t n)
{
    uint64_t left = k->seg->capacity - at;
    n = n < WINDOW_MORE ? WINDOW_MORE : n;
    n = n > k->window_cap ? k->window_cap : n;
    n = n > left ? left : n;
    k->window_at = at;
    k->window_n = (size_t)n;
    submit_read(k, at, k->window, n);
}

/* After a failed read each block is tried alone and again; one that can't be read counts as zeros, so as
 * damaged. */
static void careful_step(struct seglog_walk *k)
{
    if (k->care_at >= k->window_at + k->window_n) {
        k->is_careful = false;
        run(k);
        return;
    }
    uint64_t left = k->window_at + k->window_n - k->care_at;
    submit_read(k, k->care_at, k->window + (k->care_at - k->window_at),
                left < SEGLOG_BLOCK ? left : SEGLOG_BLOCK);
}

static void read_summary(struct seglog_walk *k);

static void on_pause(struct timer *t)
{
    struct seglog_walk *k = container_of(t, struct seglog_walk, pause);
    if (k->reads_summary)
        read_summary(k);
    else
        careful_step(k);
}

/* A read failed: true when it is tried again. */
static bool pause(struct seglog_walk *k)
{
    if (++k->n_tries >= SEGLOG_READ_TRIES)
        return false;
    k->pause.fire = on_pause;
    world_timer_set(k->store->world, &k->pause, world_now_ms(k->store->world) + SEGLOG_READ_PAUSE_MS);
    return true;
}

static void took_block(struct seglog_walk *k, bool is_read)
{
    if (!is_read && pause(k))
        return;
    if (!is_read)
        report(k, k->care_at, "a block can't be read");
    k->n_tries = 0;
    k->care_at += SEGLOG_BLOCK;
    careful_step(k);
}

static void parse_summary(struct seglog_walk *k);

static void on_window(struct disk_op *op)
{
    struct seglog_walk *k = container_of(op, struct seglog_walk, op);
    struct store *s = k->store;
    uint64_t n_done = op->err == ERR_OK ? op->n_done : 0;
    memset(op->mem + n_done, 0, (size_t)(op->size - n_done));
    if (k->reads_summary) {
        if (op->err == ERR_OK || !pause(k))
            parse_summary(k);
    } else if (op->err != ERR_OK && !k->is_careful) {
        k->is_careful = true;
        k->n_tries = 0;
        k->care_at = k->window_at;
        careful_step(k);
    } else if (k->is_careful) {
        took_block(k, op->err == ERR_OK);
    } else {
        run(k);
    }
    seglog_busy_sub(s);
}

/* ---- units ---- */

static bool emit(struct seglog_walk *k, const unsigned char *unit, const struct seglog_unit *u,
                 uint64_t unit_at)
{
    size_t at = SEGLOG_UNIT_HEADER;
    for (uint32_t i = 0; i < u->n_records; i++) {
        struct seglog_record r;
        must(seglog_record_peek(unit + at, u->len - at, &r));
        struct seglog_entry e = {
            .kind = r.kind,
            .has_hint = r.has_hint,
            .offset = (uint32_t)(unit_at + at),
            .len = seglog_record_len(&r),
            .id = r.id,
            .seq = r.seq,
            .aux = r.aux,
            .size = r.size,
        };
        if (r.has_hint)
            memcpy(e.hint, r.hint, STORE_HINT);
        unsigned char out[SEGLOG_SUMMARY_ENTRY + STORE_HINT];
        size_t n = seglog_entry_encode(&e, out);
        if (!buf_put(&k->entries, str_of(out, n)))
            return false;
        at += e.len;
    }
    if (u->seq + u->n_records > k->seq_max)
        k->seq_max = u->seq + u->n_records;
    return true;
}

static bool is_sound(const struct seglog_walk *k, uint64_t at, uint64_t to, struct seglog_unit *u)
{
    const unsigned char *p = window_ptr(k, at);
    return seglog_unit_decode(p, (size_t)(to - at), u) && seglog_unit_check(p, u, k->seg->salt);
}

static uint64_t align_unit(uint64_t at)
{
    return (at + UNIT_ALIGN - 1) & ~(uint64_t)(UNIT_ALIGN - 1);
}

/* The next sound unit of the same batch at or behind at; to when there is none. */
static uint64_t resync(const struct seglog_walk *k, uint64_t at, uint64_t to)
{
    for (at = align_unit(at); at + SEGLOG_UNIT_HEADER <= to; at += UNIT_ALIGN) {
        struct seglog_unit u;
        if (!seglog_unit_decode(window_ptr(k, at), (size_t)(to - at), &u))
            continue;
        if (u.seq > k->seq && u.seq - k->seq < SEGLOG_SEQ_SKIP && is_sound(k, at, to, &u))
            return at;
    }
    return to;
}

enum units { UNITS_DONE = 0, UNITS_TORN, UNITS_NOMEM };

/* The units of a batch in [from, to); torn_at is set for UNITS_TORN. */
static enum units walk_units(struct seglog_walk *k, uint64_t from, uint64_t to)
{
    uint64_t at = from;
    while (at + SEGLOG_UNIT_HEADER <= to) {
        struct seglog_unit u;
        if (is_sound(k, at, to, &u) && u.seq == k->seq) {
            if (!emit(k, window_ptr(k, at), &u, at))
                return UNITS_NOMEM;
            k->seq += u.n_records;
            k->tail_at = k->at;
            at = align_unit(at + u.len);
            continue;
        }
        if (!k->knows_end && at >= k->sure_to) {
            k->torn_at = at;
            return UNITS_TORN;
        }
        report(k, at, "a unit's checksum does not hold");
        at = resync(k, at + UNIT_ALIGN, to);
        if (at + SEGLOG_UNIT_HEADER <= to)
            k->seq = get_u64_at(window_ptr(k, at) + 8);
    }
    return UNITS_DONE;
}

/* ---- batches ---- */

static void begin_lookahead(struct seglog_walk *k, uint64_t resume_at, uint64_t from)
{
    k->in_lookahead = true;
    k->resume_at = resume_at;
    k->at = from;
    k->limit = k->torn_at + LOOKAHEAD < k->seg->capacity ? k->torn_at + LOOKAHEAD : k->seg->capacity;
}

/* A sound batch at k->at: what lies before it was acknowledged, so what is bad there is damage. */
static void end_lookahead(struct seglog_walk *k)
{
    k->in_lookahead = false;
    k->sure_to = k->at;
    k->limit = k->seg->capacity;
    if (k->resume_at != 0)
        k->at = k->resume_at;
    else
        report(k, k->torn_at, "a batch header's checksum does not hold");
}

/* One batch, or one block without; false: a read is under way or the walk is over. */
static bool walk_batch(struct seglog_walk *k)
{
    struct seglog_batch b;
    uint64_t at = k->at;
    uint64_t end = k->knows_end ? k->limit : k->seg->capacity;
    bool is_batch = seglog_batch_decode(window_ptr(k, at), k->seg->salt, k->seg->opened, at, &b) &&
                    b.len <= k->seg->capacity - at &&
                    (b.kind == SEGLOG_BATCH_SUMMARY || b.len <= k->window_cap);
    if (!is_batch) {
        if (!k->knows_end && !k->in_lookahead) {
            k->torn_at = at;
            begin_lookahead(k, 0, at + SEGLOG_BLOCK);
            return true;
        }
        if (k->knows_end && !k->in_gap)
            report(k, at, "a batch header's checksum does not hold");
        k->in_gap = true;
        k->at += SEGLOG_BLOCK;
        return true;
    }
    k->in_gap = false;
    if (k->in_lookahead) {
        end_lookahead(k);
        return true;
    }
    uint64_t next = at + seglog_align(b.len);
    if (b.kind == SEGLOG_BATCH_SUMMARY) {
        k->at = next;
        return true;
    }
    uint64_t to = at + b.len < end ? at + b.len : end;
    if (!in_window(k, at, to - at)) {
        read_window(k, at, to - at);
        return false;
    }
    uint64_t from = at + SEGLOG_BATCH_HEADER;
    if (k->resume_at == at) /* the sound units before were taken already */
        from = k->torn_at;
    else
        k->seq = b.seq;
    k->resume_at = 0;
    switch (walk_units(k, from, to)) {
    case UNITS_DONE:
        k->at = next;
        return true;
    case UNITS_TORN:
        begin_lookahead(k, at, next);
        return true;
    case UNITS_NOMEM:
        finish(k, ERR_NOMEM);
        return false;
    }
    must_not_reach();
}

static void run(struct seglog_walk *k)
{
    for (;;) {
        if (k->at + SEGLOG_BLOCK > seglog_align(k->limit)) {
            k->end = k->knows_end ? k->limit : k->in_lookahead ? k->torn_at : k->at;
            finish(k, ERR_OK);
            return;
        }
        if (!in_window(k, k->at, SEGLOG_BLOCK)) {
            read_window(k, k->at, SEGLOG_BLOCK);
            return;
        }
        if (!walk_batch(k))
            return;
    }
}

static void start_scan(struct seglog_walk *k)
{
    k->at = SEGLOG_DATA;
    k->sure_to = SEGLOG_DATA;
    k->window_n = 0;
    k->window_cap = STORE_BATCH_MAX + WINDOW_MORE;
    if (k->window_cap > k->seg->capacity)
        k->window_cap = k->seg->capacity;
    mem_free(k->window);
    k->window = mem_alloc((size_t)k->window_cap);
    if (k->window == NULL)
        finish(k, ERR_NOMEM);
    else
        run(k);
}

/* ---- summaries ---- */

/* The entries, each well formed and in place; false otherwise. */
static bool check_entries(struct seglog_walk *k, struct str in, uint32_t n)
{
    for (; n > 0; n--) {
        struct seglog_entry e;
        if (!seglog_entry_decode(&in, &e) || e.offset < SEGLOG_DATA || e.len > k->seg->end ||
            e.offset > k->seg->end - e.len)
            return false;
    }
    return in.n == 0;
}

static void parse_summary(struct seglog_walk *k)
{
    const struct seglog_segment *g = k->seg;
    struct seglog_batch b;
    k->reads_summary = false;
    k->n_tries = 0;
    if (k->window_n >= SEGLOG_BATCH_HEADER &&
        seglog_batch_decode(k->window, g->salt, g->opened, g->summary, &b) &&
        b.kind == SEGLOG_BATCH_SUMMARY && b.len <= k->window_n) {
        struct str in = str_of(k->window + SEGLOG_BATCH_HEADER, b.len - SEGLOG_BATCH_HEADER);
        if (crc32c(0, in.p, in.n) == b.crc && check_entries(k, in, b.n)) {
            k->seq_max = b.seq;
            k->end = g->end;
            finish(k, buf_put(&k->entries, in) ? ERR_OK : ERR_NOMEM);
            return;
        }
    }
    report(k, g->summary, "a summary's checksum does not hold; its segment is scanned");
    k->limit = g->summary;
    start_scan(k);
}

static void read_summary(struct seglog_walk *k)
{
    submit_read(k, k->seg->summary, k->window, k->window_n);
}

void seglog_walk_start(struct seglog_walk *k)
{
    struct seglog_segment *g = k->seg;
    buf_init(&k->entries, SIZE_MAX);
    k->limit = k->knows_end ? g->end : g->capacity;
    if (!k->knows_end || g->summary == 0 || g->summary >= g->end) {
        start_scan(k);
        return;
    }
    k->window_at = g->summary;
    k->window_n = (size_t)(g->end - g->summary);
    k->window_cap = k->window_n;
    k->reads_summary = true;
    k->window = mem_alloc(k->window_n);
    if (k->window == NULL)
        finish(k, ERR_NOMEM);
    else
        read_summary(k);
}

void seglog_walk_fini(struct seglog_walk *k)
{
    world_timer_cancel(k->store->world, &k->pause);
    mem_free(k->window);
    k->window = NULL;
    buf_fini(&k->entries);
}
