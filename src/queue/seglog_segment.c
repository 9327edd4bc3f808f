#include "queue/seglog.h"

#include "base/mem.h"

#include <stdio.h>

/* MAKING -> FREE -> OPENING -> OPEN -> SEALED -> RELEASING -> FREE (recycled) or GONE (unlinked, set aside).
 * Opening a store begins a found segment at FREE or SEALED (and GONE for what is of no use). BROKEN: its file
 * failed. */
static const bool may_follow[SEGMENT_BROKEN + 1][SEGMENT_BROKEN + 1] = {
    [SEGMENT_MAKING] = {[SEGMENT_FREE] = true, [SEGMENT_SEALED] = true, [SEGMENT_GONE] = true},
    [SEGMENT_FREE] = {[SEGMENT_OPENING] = true, [SEGMENT_GONE] = true},
    [SEGMENT_OPENING] = {[SEGMENT_OPEN] = true, [SEGMENT_BROKEN] = true},
    [SEGMENT_OPEN] = {[SEGMENT_SEALED] = true, [SEGMENT_BROKEN] = true},
    [SEGMENT_SEALED] = {[SEGMENT_RELEASING] = true, [SEGMENT_BROKEN] = true},
    [SEGMENT_RELEASING] = {[SEGMENT_FREE] = true, [SEGMENT_GONE] = true, [SEGMENT_BROKEN] = true},
    [SEGMENT_GONE] = {false},
    [SEGMENT_BROKEN] = {false},
};

static void count_state(struct store *s, const struct seglog_segment *g, bool adds)
{
    if (adds) {
        s->n_state[g->state]++;
        s->state_octets[g->state] += g->capacity;
    } else {
        s->n_state[g->state]--;
        s->state_octets[g->state] -= g->capacity;
    }
}

void seglog_segment_set_state(struct seglog_segment *g, enum seglog_segment_state to)
{
    must(may_follow[g->state][to]);
    count_state(g->store, g, false);
    g->state = to;
    count_state(g->store, g, true);
}

void seglog_segment_set_capacity(struct seglog_segment *g, uint64_t capacity)
{
    count_state(g->store, g, false);
    g->capacity = capacity;
    count_state(g->store, g, true);
}

void seglog_segment_name(uint32_t number, char out[24])
{
    (void)snprintf(out, 24, "log/%08x", number);
}

void seglog_aside_name(struct seglog_segment *g)
{
    (void)snprintf(g->aside, sizeof g->aside, "%s.damaged", g->name);
}

struct seglog_segment *seglog_segment_at(const struct store *s, size_t slot)
{
    struct seglog_segment **page = s->slots[slot / SEGLOG_SLOT_PAGE];
    return page == NULL ? NULL : page[slot % SEGLOG_SLOT_PAGE];
}

struct seglog_segment *seglog_segment_new(struct store *s, uint32_t number)
{
    size_t slot = 0;
    while (slot < s->n_slots && seglog_segment_at(s, slot) != NULL)
        slot++;
    if (slot >= SEGLOG_SLOT_MAX)
        return NULL;
    struct seglog_segment ***page = &s->slots[slot / SEGLOG_SLOT_PAGE];
    if (*page == NULL)
        *page = mem_alloc_array(SEGLOG_SLOT_PAGE, sizeof **page);
    struct seglog_segment *g = *page == NULL ? NULL : mem_new(struct seglog_segment);
    if (g == NULL)
        return NULL;
    g->store = s;
    g->slot = (uint16_t)slot;
    g->number = number;
    seglog_segment_name(number, g->name);
    (*page)[slot % SEGLOG_SLOT_PAGE] = g;
    if (slot == s->n_slots)
        s->n_slots++;
    if (number >= s->number_next)
        s->number_next = number + 1;
    count_state(s, g, true);
    return g;
}

void seglog_segment_del(struct store *s, struct seglog_segment *g)
{
    count_state(s, g, false);
    s->slots[g->slot / SEGLOG_SLOT_PAGE][g->slot % SEGLOG_SLOT_PAGE] = NULL;
    mem_free(g);
}

struct seglog_segment *seglog_segment_find_free(const struct store *s)
{
    struct seglog_segment *best = NULL; /* a whole one before a small one */
    for (size_t i = 0; i < s->n_slots && s->n_state[SEGMENT_FREE] > 0; i++) {
        struct seglog_segment *g = seglog_segment_at(s, i);
        if (g != NULL && g->state == SEGMENT_FREE && (best == NULL || g->capacity > best->capacity))
            best = g;
    }
    return best;
}

/* One operation of g on the RELEASE lane. */
static void submit(struct seglog_segment *g, enum disk_kind kind, void (*done)(struct disk_op *op))
{
    g->op.kind = kind;
    g->op.lane = DISK_LANE_RELEASE;
    g->op.file = g->file;
    g->op.done = done;
    seglog_busy_add(g->store);
    disk_submit(g->store->disk, &g->op);
}

static void write_header(struct seglog_segment *g, void (*done)(struct disk_op *op))
{
    seglog_header_encode(&g->header, g->block);
    g->piece = str_of(g->block, SEGLOG_BLOCK);
    g->op = (struct disk_op){.sync = true, .pieces = &g->piece, .n_pieces = 1};
    submit(g, DISK_WRITE, done);
}

struct seglog_header seglog_free_header(struct store *s, const struct seglog_segment *g)
{
    return (struct seglog_header){
        .state = SEGLOG_HEADER_FREE,
        .node = s->conf.node,
        .generation = ++s->generation,
        .salt = s->salt,
        .capacity = g->capacity,
        .seq = s->seq,
        .id_limit = s->id_limit,
    };
}

/* ---- unlinking ---- */

static void on_unlinked(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    seglog_segment_del(s, g);
    seglog_busy_sub(s);
}

static void on_closed_for_unlink(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    g->file = NULL;
    if (g->is_damaged) { /* renamed: what is there is kept for people */
        seglog_segment_del(s, g);
        seglog_busy_sub(s);
        return;
    }
    g->op = (struct disk_op){.name = g->name};
    submit(g, DISK_UNLINK, on_unlinked);
    seglog_busy_sub(s);
}

/* Its header is free on disk or never was anything else: if the unlinking is lost it is found again as free.
 */
void seglog_segment_unlink(struct store *s, struct seglog_segment *g)
{
    seglog_segment_set_state(g, SEGMENT_GONE);
    g->op = (struct disk_op){0};
    if (g->file == NULL)
        seglog_segment_del(s, g); /* not ours, or not made */
    else
        submit(g, DISK_CLOSE, on_closed_for_unlink);
}

/* ---- making ---- */

static void make_failed(struct store *s, enum err err)
{
    struct seglog_segment *g = s->making;
    s->making = NULL;
    bool was_full = s->is_full;
    s->is_full = err == ERR_NOSPACE;
    if (!was_full || !s->is_full)
        log_warn(world_log(s->world), "store.no_segment", LC("file", g->name), LERR(err),
                 LU("retry_ms", SEGLOG_RETRY_MS));
    seglog_segment_unlink(s, g);
    if (!s->is_closing)
        world_timer_set(s->world, &s->retry, world_now_ms(s->world) + SEGLOG_RETRY_MS);
    if (!s->is_open)
        seglog_recover_made(s, err);
    else
        seglog_clean_kick(s); /* space can come from there */
}

static void on_made(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    if (op->err != ERR_OK) {
        make_failed(s, op->err);
    } else {
        s->making = NULL;
        s->is_full = false;
        seglog_segment_set_state(g, SEGMENT_FREE);
        if (!s->is_open)
            seglog_recover_made(s, ERR_OK);
        else {
            seglog_flush_made(s);
            seglog_clean_kick(s);
        }
    }
    seglog_busy_sub(s);
}

/* The entry must be durable before the first record in the file is. */
static void on_first_header(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    if (op->err != ERR_OK) {
        make_failed(s, op->err);
    } else {
        g->op = (struct disk_op){.name = "log"};
        submit(g, DISK_SYNC_DIR, on_made);
    }
    seglog_busy_sub(s);
}

static void on_zeroed(struct disk_op *op);

/* Zeros in steps, each flushed, so that no other operation of the lane waits long and the medium is never
 * swamped. */
static void make_step(struct store *s)
{
    struct seglog_segment *g = s->making;
    if (s->make_at == g->capacity) {
        g->header = seglog_free_header(s, g);
        write_header(g, on_first_header);
        return;
    }
    uint64_t n = g->capacity - s->make_at < SEGLOG_ZERO_STEP ? g->capacity - s->make_at : SEGLOG_ZERO_STEP;
    size_t n_pieces = 0;
    for (uint64_t left = n; left > 0; left -= s->zero_pieces[n_pieces++].n)
        s->zero_pieces[n_pieces] = str_of(s->zeros, left < SEGLOG_ZEROS ? (size_t)left : SEGLOG_ZEROS);
    g->op =
        (struct disk_op){.sync = true, .offset = s->make_at, .pieces = s->zero_pieces, .n_pieces = n_pieces};
    s->make_at += n;
    submit(g, DISK_WRITE, on_zeroed);
}

static void on_zeroed(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    if (op->err != ERR_OK)
        make_failed(s, op->err);
    else if (!s->is_closing && !s->has_failed)
        make_step(s);
    seglog_busy_sub(s);
}

static void on_make_opened(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    g->file = op->file;
    if (op->err != ERR_OK)
        make_failed(s, op->err);
    else
        make_step(s);
    seglog_busy_sub(s);
}

void seglog_make(struct store *s, uint64_t capacity)
{
    if (s->making != NULL || s->retry.is_set || s->is_closing)
        return;
    struct seglog_segment *g = seglog_segment_new(s, s->number_next);
    if (g == NULL) {
        world_timer_set(s->world, &s->retry, world_now_ms(s->world) + SEGLOG_RETRY_MS);
        return;
    }
    seglog_segment_set_capacity(g, capacity);
    s->making = g;
    s->make_at = 0;
    g->op = (struct disk_op){.name = g->name, .create = DISK_CREATE_NEW};
    submit(g, DISK_OPEN, on_make_opened);
}

/* One free segment stands ready, so that no commit waits for zeros. On a full disk the last one is kept for what
 * gives space back, so there only a second one shows that the disk has room again. */
void seglog_make_if_short(struct store *s)
{
    if (s->has_failed || s->is_closing || s->n_state[SEGMENT_FREE] > (s->is_full ? 1 : 0))
        return;
    bool is_awaited = s->flush == FLUSH_MAKING && s->conf.segment_size > SEGLOG_FIRST_SIZE;
    seglog_make(s, is_awaited ? SEGLOG_FIRST_SIZE : s->conf.segment_size);
}

/* ---- sealing ---- */

static void on_sealed(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    if (op->err == ERR_OK) {
        g->header_sealed = true;
        for (size_t i = 0; i < s->n_slots; i++) {
            struct seglog_segment *next = seglog_segment_at(s, i);
            if (next != NULL && next->prev_opened == g->opened)
                next->is_pinned = false;
        }
    } else {
        log_error(world_log(s->world), "store.seal_failed", LC("file", g->name), LERR(op->err),
                  LC("now", "this segment and the next one are kept as they are"));
    }
    if (!s->is_closing)
        seglog_clean_kick(s);
    seglog_busy_sub(s);
}

void seglog_write_sealed(struct store *s, struct seglog_segment *g)
{
    g->header = (struct seglog_header){
        .state = SEGLOG_HEADER_SEALED,
        .node = s->conf.node,
        .generation = ++s->generation,
        .opened = g->opened,
        .salt = g->salt,
        .capacity = g->capacity,
        .seq = s->seq,
        .id_limit = s->id_limit,
        .end = g->end,
        .summary = g->summary,
        .prev_opened = g->prev_opened,
        .prev_end = g->header.prev_end,
        .prev_summary = g->header.prev_summary,
    };
    write_header(g, on_sealed);
}

/* ---- releasing ---- */

static void released(struct seglog_segment *g, enum err err)
{
    struct store *s = g->store;
    if (err != ERR_OK) {
        log_error(world_log(s->world), "store.release_failed", LC("file", g->name), LERR(err),
                  LC("now", "the file is left as it is and not used again"));
        seglog_segment_set_state(g, SEGMENT_BROKEN);
        seglog_clean_released(s, err);
        return;
    }
    uint64_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(s->state_octets); i++)
        total += s->state_octets[i];
    bool is_of_use =
        !g->is_damaged && (g->capacity == s->conf.segment_size || s->is_full) &&
        (s->n_state[SEGMENT_FREE] == 0 || total <= 2 * s->live_octets + 6 * s->conf.segment_size);
    seglog_clean_released(s, ERR_OK);
    if (is_of_use)
        seglog_segment_set_state(g, SEGMENT_FREE);
    else
        seglog_segment_unlink(s, g);
    seglog_flush_made(s);
    seglog_make_if_short(s);
}

static void on_released(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    released(g, op->err);
    seglog_busy_sub(s);
}

static void on_renamed(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    struct store *s = g->store;
    if (op->err != ERR_OK) {
        released(g, op->err);
    } else {
        g->op = (struct disk_op){.name = "log"};
        submit(g, DISK_SYNC_DIR, on_released);
    }
    seglog_busy_sub(s);
}

void seglog_release(struct store *s, struct seglog_segment *g)
{
    must(g->live == 0 && g->n_readers == 0 && !g->is_pinned && g->header_sealed);
    seglog_segment_set_state(g, SEGMENT_RELEASING);
    if (g->is_damaged) {
        seglog_aside_name(g);
        log_warn(world_log(s->world), "store.set_aside", LC("file", g->aside));
        g->op = (struct disk_op){.name = g->name, .name2 = g->aside};
        submit(g, DISK_RENAME, on_renamed);
        return;
    }
    g->header = seglog_free_header(s, g);
    write_header(g, on_released);
}
