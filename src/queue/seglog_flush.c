#include "queue/seglog.h"

#include "base/crc32c.h"
#include "base/mem.h"

#include <string.h>

/* IDLE -> BATCH -> IDLE, and when the batch does not fit: IDLE -> SUMMARY -> (MAKING ->) HEADER -> BATCH ->
 * IDLE. Opening begins at HEADER or MAKING. Any failure ends in FAILED. */
static const bool may_follow[FLUSH_FAILED + 1][FLUSH_FAILED + 1] = {
    [FLUSH_IDLE] = {[FLUSH_SUMMARY] = true,
                    [FLUSH_MAKING] = true,
                    [FLUSH_HEADER] = true,
                    [FLUSH_BATCH] = true,
                    [FLUSH_FAILED] = true},
    [FLUSH_SUMMARY] =
        {[FLUSH_IDLE] = true, [FLUSH_MAKING] = true, [FLUSH_HEADER] = true, [FLUSH_FAILED] = true},
    [FLUSH_MAKING] = {[FLUSH_HEADER] = true, [FLUSH_FAILED] = true},
    [FLUSH_HEADER] = {[FLUSH_IDLE] = true, [FLUSH_BATCH] = true, [FLUSH_FAILED] = true},
    [FLUSH_BATCH] = {[FLUSH_IDLE] = true, [FLUSH_FAILED] = true},
    [FLUSH_FAILED] = {false},
};

static void set_flush(struct store *s, enum seglog_flush_state to)
{
    must(may_follow[s->flush][to]);
    s->flush = to;
}

static void submit_write(struct store *s, struct disk_file *file, uint64_t offset, struct str *pieces,
                         size_t n_pieces, void (*done)(struct disk_op *op))
{
    s->flush_op = (struct disk_op){
        .kind = DISK_WRITE,
        .lane = DISK_LANE_WRITE,
        .sync = true,
        .file = file,
        .offset = offset,
        .pieces = pieces,
        .n_pieces = n_pieces,
        .done = done,
    };
    seglog_busy_add(s);
    disk_submit(s->disk, &s->flush_op);
}

/* ---- the summary of the present segment ---- */

bool seglog_summary_add(struct store *s, const struct seglog_entry *e)
{
    size_t len = seglog_entry_len(e->has_hint);
    if (s->summary_last == NULL || s->summary_last->n + len > sizeof s->summary_last->mem) {
        struct seglog_summary_page *page = mem_new(struct seglog_summary_page);
        if (page == NULL)
            return false;
        if (s->summary_last == NULL)
            s->summary = page;
        else
            s->summary_last->next = page;
        s->summary_last = page;
    }
    s->summary_last->n += seglog_entry_encode(e, s->summary_last->mem + s->summary_last->n);
    s->summary_len += len;
    s->n_summary++;
    return true;
}

void seglog_summary_reset(struct store *s)
{
    while (s->summary != NULL) {
        struct seglog_summary_page *next = s->summary->next;
        mem_free(s->summary);
        s->summary = next;
    }
    s->summary_last = NULL;
    s->summary_len = 0;
    s->n_summary = 0;
    s->summary_lost = false;
}

static void on_summary(struct disk_op *op);
static void sealed(struct store *s);

/* Writes the summary behind the last batch of s->sealing; without one (empty, or no memory) goes on at once.
 */
static void write_summary(struct store *s)
{
    struct seglog_segment *g = s->sealing;
    size_t n_pieces = 2;
    uint32_t crc = 0;
    for (const struct seglog_summary_page *p = s->summary; p != NULL; p = p->next)
        n_pieces++;
    mem_free(s->flush_pieces);
    s->flush_pieces =
        s->n_summary == 0 || s->summary_lost ? NULL : mem_alloc_array(n_pieces, sizeof *s->flush_pieces);
    if (s->flush_pieces == NULL) {
        sealed(s);
        return;
    }
    struct str *piece = s->flush_pieces;
    *piece++ = str_of(s->flush_head, SEGLOG_BATCH_HEADER);
    for (const struct seglog_summary_page *p = s->summary; p != NULL; p = p->next) {
        crc = crc32c(crc, p->mem, p->n);
        *piece++ = str_of(p->mem, p->n);
    }
    struct seglog_batch b = {
        .kind = SEGLOG_BATCH_SUMMARY,
        .opened = g->opened,
        .offset = g->end,
        .seq = s->seq,
        .len = (uint32_t)(SEGLOG_BATCH_HEADER + s->summary_len),
        .n = s->n_summary,
        .crc = crc,
    };
    seglog_batch_encode(&b, g->salt, s->flush_head);
    size_t pad = (size_t)(seglog_align(b.len) - b.len);
    memset(s->flush_head + SEGLOG_BATCH_HEADER, 0, SEGLOG_BLOCK - SEGLOG_BATCH_HEADER);
    must(g->end + b.len + pad <= g->capacity && pad <= SEGLOG_ZEROS);
    *piece++ = str_of(s->zeros, pad);
    s->stats.n_octets_written += b.len + pad;
    submit_write(s, g->file, g->end, s->flush_pieces, (size_t)(piece - s->flush_pieces), on_summary);
}

/* ---- rotation ---- */

static void on_header(struct disk_op *op);

/* Gives the next segment its generation; its header says where the one before ends. */
static void open_next(struct store *s)
{
    struct seglog_segment *g = seglog_segment_find_free(s);
    if (g == NULL) {
        if (s->flush != FLUSH_MAKING)
            set_flush(s, FLUSH_MAKING);
        seglog_make(s, s->conf.segment_size < SEGLOG_FIRST_SIZE ? s->conf.segment_size : SEGLOG_FIRST_SIZE);
        return;
    }
    const struct seglog_segment *prev = s->sealing;
    seglog_segment_set_state(g, SEGMENT_OPENING);
    uint64_t id_limit = s->id_next + SEGLOG_ID_RESERVE;
    g->header = (struct seglog_header){
        .state = SEGLOG_HEADER_OPEN,
        .node = s->conf.node,
        .generation = ++s->generation,
        .opened = s->generation,
        .salt = s->salt,
        .capacity = g->capacity,
        .seq = s->seq,
        .id_limit = id_limit > s->id_limit ? id_limit : s->id_limit,
        .prev_opened = prev == NULL ? 0 : prev->opened,
        .prev_end = prev == NULL ? 0 : prev->end,
        .prev_summary = prev == NULL ? 0 : prev->summary,
    };
    seglog_header_encode(&g->header, g->block);
    g->piece = str_of(g->block, SEGLOG_BLOCK);
    s->current = g;
    set_flush(s, FLUSH_HEADER);
    submit_write(s, g->file, 0, &g->piece, 1, on_header);
}

static void on_summary(struct disk_op *op)
{
    struct store *s = container_of(op, struct store, flush_op);
    struct seglog_segment *g = s->sealing;
    if (op->err != ERR_OK) {
        seglog_fail(s, g, op->err, "writing the summary of a segment");
    } else {
        g->summary = g->end;
        g->end += seglog_align(SEGLOG_BATCH_HEADER + s->summary_len);
        sealed(s);
    }
    seglog_busy_sub(s);
}

/* All that s->sealing will ever hold is on disk. */
static void sealed(struct store *s)
{
    seglog_summary_reset(s);
    if (!s->is_closing) {
        open_next(s);
        return;
    }
    struct seglog_segment *g = s->sealing;
    s->sealing = NULL;
    set_flush(s, FLUSH_IDLE);
    seglog_write_sealed(s, g);
}

void seglog_flush_seal(struct store *s)
{
    s->sealing = s->current;
    s->current = NULL;
    seglog_segment_set_state(s->sealing, SEGMENT_SEALED);
    set_flush(s, FLUSH_SUMMARY);
    write_summary(s);
}

void seglog_flush_open(struct store *s, struct seglog_segment *last)
{
    s->sealing = last;
    open_next(s);
}

void seglog_flush_made(struct store *s)
{
    if (s->flush == FLUSH_MAKING && !s->has_failed && seglog_segment_find_free(s) != NULL)
        open_next(s);
}

static void write_batch(struct store *s);

static void on_header(struct disk_op *op)
{
    struct store *s = container_of(op, struct store, flush_op);
    struct seglog_segment *g = s->current, *prev = s->sealing;
    if (op->err != ERR_OK) {
        seglog_fail(s, g, op->err, "opening a segment");
        seglog_busy_sub(s);
        return;
    }
    seglog_segment_set_state(g, SEGMENT_OPEN);
    g->opened = g->header.opened;
    g->prev_opened = g->header.prev_opened;
    g->salt = g->header.salt;
    g->end = SEGLOG_DATA;
    g->summary = 0;
    s->id_limit = g->header.id_limit;
    g->is_pinned = prev != NULL && !prev->header_sealed;
    g->header_sealed = false;
    s->sealing = NULL;
    s->wants_rotation = false;
    if (s->is_open && prev != NULL && !prev->header_sealed)
        seglog_write_sealed(s, prev);
    if (!s->is_open) {
        set_flush(s, FLUSH_IDLE);
        seglog_recover_opened(s, ERR_OK);
    } else {
        write_batch(s);
    }
    seglog_make_if_short(s);
    seglog_busy_sub(s);
}

/* ---- the batch ---- */

static struct seglog_fill *flushing(struct store *s)
{
    return &s->fills[s->filling ^ 1];
}

static void reset_fill(struct seglog_fill *f)
{
    f->n = SEGLOG_BATCH_HEADER;
    f->n_units = 0;
    f->summary_len = 0;
    f->n_copied = 0;
    f->is_eager = false;
    buf_reset(&f->forget);
}

static void on_batch(struct disk_op *op);

static void write_batch(struct store *s)
{
    struct seglog_fill *f = flushing(s);
    struct seglog_segment *g = s->current;
    if (f->n_units == 0) { /* a rotation for its own sake */
        reset_fill(f);
        set_flush(s, FLUSH_IDLE);
        s->n_flushed++;
        return;
    }
    struct seglog_batch b = {
        .kind = SEGLOG_BATCH_UNITS,
        .opened = g->opened,
        .offset = g->end,
        .seq = f->first_seq,
        .len = (uint32_t)f->n,
        .n = f->n_units,
    };
    seglog_batch_encode(&b, g->salt, f->mem);
    uint64_t span = seglog_batch_span(f);
    memset(f->mem + f->n, 0, (size_t)span - f->n);
    must(g->end + span <= g->capacity);
    s->batch_at = g->end;
    g->piece = str_of(f->mem, (size_t)span);
    set_flush(s, FLUSH_BATCH);
    s->stats.n_octets_written += span;
    s->stats.n_flushes++;
    submit_write(s, g->file, s->batch_at, &g->piece, 1, on_batch);
}

static void settle_loc(struct seglog_loc *at, const struct seglog_loc *from, struct seglog_segment *g,
                       uint64_t base)
{
    if (!seglog_loc_is(at, from->slot, from->offset))
        return;
    at->slot = g->slot;
    at->offset = (uint32_t)(base + from->offset);
    g->live += at->len;
}

/* The record is on disk: whoever still needs it finds it there. */
static void settle_record(struct store *s, const struct seglog_record *r, const struct seglog_loc *from)
{
    struct seglog_segment *g = s->current;
    struct seglog_env *e;
    struct seglog_body *b;
    struct seglog_tomb *t;
    struct seglog_result *n;
    switch (r->kind) {
    case SEGLOG_BODY:
        b = seglog_body_find(&s->table, r->id);
        if (b != NULL)
            settle_loc(&b->at, from, g, s->batch_at);
        break;
    case SEGLOG_ENVELOPE:
        e = seglog_env_find(&s->table, r->id);
        if (e != NULL)
            settle_loc(&e->at, from, g, s->batch_at);
        break;
    case SEGLOG_RESULT:
        e = seglog_env_find(&s->table, r->id);
        n = e == NULL ? NULL : seglog_result_find(e, r->seq);
        if (n != NULL)
            settle_loc(&n->at, from, g, s->batch_at);
        break;
    case SEGLOG_TOMB:
        t = seglog_tomb_find(&s->table, r->id);
        if (t != NULL)
            settle_loc(&t->at, from, g, s->batch_at);
        break;
    }
    struct seglog_entry entry = {
        .kind = r->kind,
        .has_hint = r->has_hint,
        .offset = (uint32_t)(s->batch_at + from->offset),
        .len = from->len,
        .id = r->id,
        .seq = r->seq,
        .aux = r->aux,
        .size = r->size,
    };
    if (r->has_hint)
        memcpy(entry.hint, r->hint, STORE_HINT);
    if (!s->summary_lost && !seglog_summary_add(s, &entry))
        s->summary_lost = true; /* a restart will scan this segment */
}

static void settle_batch(struct store *s)
{
    const struct seglog_fill *f = flushing(s);
    uint16_t slot = (uint16_t)(SEGLOG_SLOT_BATCH + (s->filling ^ 1));
    size_t at = SEGLOG_BATCH_HEADER;
    for (uint32_t i = 0; i < f->n_units; i++) {
        struct seglog_unit u;
        must(seglog_unit_decode(f->mem + at, f->n - at, &u));
        size_t r_at = at + SEGLOG_UNIT_HEADER;
        for (uint32_t k = 0; k < u.n_records; k++) {
            struct seglog_record r;
            must(seglog_record_peek(f->mem + r_at, at + u.len - r_at, &r));
            struct seglog_loc from = {(uint32_t)r_at, seglog_record_len(&r), slot};
            settle_record(s, &r, &from);
            r_at += seglog_record_len(&r);
        }
        at = (at + u.len + 7) & ~(size_t)7;
    }
}

static void on_batch(struct disk_op *op)
{
    struct store *s = container_of(op, struct store, flush_op);
    struct seglog_fill *f = flushing(s);
    if (op->err != ERR_OK) {
        seglog_fail(s, s->current, op->err, "writing a batch");
        seglog_busy_sub(s);
        return;
    }
    settle_batch(s);
    s->current->end = s->batch_at + seglog_batch_span(f);
    s->n_flushed++;
    set_flush(s, FLUSH_IDLE);
    seglog_body_unlink(s, buf_str(&f->forget));
    struct list done; /* a done may submit again, into the other batch */
    list_init(&done);
    struct list *l;
    while ((l = list_pop_front(&f->tickets)) != NULL)
        list_push_back(&done, l);
    reset_fill(f);
    while ((l = list_pop_front(&done)) != NULL) {
        struct store_ticket *t = list_entry(l, struct store_ticket, link);
        t->done(t, ERR_OK);
    }
    seglog_clean_kick(s);
    seglog_busy_sub(s);
}

static bool fits(const struct store *s, const struct seglog_fill *f)
{
    const struct seglog_segment *g = s->current;
    uint64_t summary = seglog_align(SEGLOG_BATCH_HEADER + s->summary_len + f->summary_len);
    return g->end + seglog_batch_span(f) + summary <= g->capacity;
}

void seglog_flush_kick(struct store *s)
{
    const struct seglog_fill *f = &s->fills[s->filling];
    if (s->flush != FLUSH_IDLE || !s->is_open || s->current == NULL)
        return;
    bool is_due = (f->n_units > 0 && f->is_eager) || (s->wants_rotation && !s->is_closing);
    if (!is_due)
        return;
    world_timer_cancel(s->world, &s->lazy);
    s->filling ^= 1;
    s->n_begun++;
    if (!s->wants_rotation && fits(s, f)) {
        write_batch(s);
        return;
    }
    s->sealing = s->current;
    s->current = NULL;
    seglog_segment_set_state(s->sealing, SEGMENT_SEALED);
    set_flush(s, FLUSH_SUMMARY);
    write_summary(s);
}
