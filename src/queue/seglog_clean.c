/* The cleaner: carries what is needed out of one segment at a time, the emptiest, and releases it.
 *
 *   IDLE -> WALK -> HERE -> COPY -> WAIT -> RELEASE -> COUNT -> IDLE
 *
 * Copies are ordinary units in the next batches; the tables point to a copy as soon as it is encoded, the
 * original stays until the copy is on disk and the victim's header says free on disk. Only then its records
 * leave the counts of their ids, and a tombstone whose count is 0 is needed no more.
 *
 * Limits: one step looks at SEGLOG_STEP_ENTRIES entries; one read and at most one window of copies for each
 * flush, so a commit waits for a window at most. Copies take as many octets a flush as commits did, or a
 * window: while the victim is less than half full this frees more than commits take.
 */
#include "base/mem.h"
#include "queue/seglog.h"

#include <string.h>

static const bool may_follow[CLEAN_COUNT + 1][CLEAN_COUNT + 1] = {
    [CLEAN_IDLE] = {[CLEAN_WALK] = true},
    [CLEAN_WALK] = {[CLEAN_HERE] = true, [CLEAN_IDLE] = true},
    [CLEAN_HERE] = {[CLEAN_COPY] = true},
    [CLEAN_COPY] = {[CLEAN_WAIT] = true},
    [CLEAN_WAIT] = {[CLEAN_RELEASE] = true, [CLEAN_COUNT] = true},
    [CLEAN_RELEASE] = {[CLEAN_COUNT] = true},
    [CLEAN_COUNT] = {[CLEAN_IDLE] = true},
};

static void set_state(struct seglog_clean *c, enum seglog_clean_state to)
{
    must(may_follow[c->state][to]);
    c->state = to;
}

/* ---- which segment ---- */

static bool is_eligible(const struct seglog_segment *g)
{
    return g->state == SEGMENT_SEALED && g->header_sealed && !g->is_pinned;
}

static bool is_emptier(const struct seglog_segment *a, const struct seglog_segment *b)
{
    return b == NULL || a->live * (b->capacity >> 12) < b->live * (a->capacity >> 12);
}

static struct seglog_segment *choose(const struct store *s)
{
    uint64_t used =
        s->state_octets[SEGMENT_SEALED] + s->state_octets[SEGMENT_OPEN] + s->state_octets[SEGMENT_OPENING];
    bool is_due = used > 2 * s->live_octets + 4 * s->conf.segment_size;
    struct seglog_segment *best = NULL;
    for (size_t i = 0; i < s->n_slots; i++) {
        struct seglog_segment *g = seglog_segment_at(s, i);
        if (g == NULL || !is_eligible(g))
            continue;
        if (g->is_damaged && seglog_has_copy_space(s, g->live))
            return g;
        if (is_emptier(g, best))
            best = g;
    }
    if (best == NULL || best->live == 0)
        return best;
    bool is_short = s->is_full && s->n_state[SEGMENT_FREE] < 2;
    bool is_worth_it = best->live < best->capacity / 8 * 7 && seglog_has_copy_space(s, best->live);
    return (is_due || is_short) && is_worth_it ? best : NULL;
}

static void on_walked(struct seglog_walk *k);

void seglog_clean_kick(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    if (s->recover != NULL)
        seglog_recover_step(s);
    if (!s->is_open || s->recover != NULL || s->has_failed || s->is_closing)
        return;
    if (c->state != CLEAN_IDLE) {
        seglog_soon(s);
        return;
    }
    struct seglog_segment *g = choose(s);
    if (g == NULL)
        return;
    c->victim = g;
    c->is_careful = false;
    c->n_tries = 0;
    c->wait_flush = 0;
    set_state(c, CLEAN_WALK);
    c->walk = (struct seglog_walk){.store = s, .seg = g, .knows_end = true, .done = on_walked};
    seglog_walk_start(&c->walk);
}

static void stop(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    seglog_walk_fini(&c->walk);
    mem_free(c->mem);
    c->mem = NULL;
    c->mem_cap = 0;
    c->has_run = false;
    c->victim = NULL;
    set_state(c, CLEAN_IDLE);
}

static void on_walked(struct seglog_walk *k)
{
    struct store *s = k->store;
    struct seglog_clean *c = &s->clean;
    s->stats.n_damaged += k->n_damaged;
    if (k->err != ERR_OK) { /* no memory: another time */
        stop(s);
        return;
    }
    c->rest = buf_str(&k->entries);
    set_state(c, CLEAN_HERE);
    seglog_soon(s);
}

/* ---- counting the records of the dead that go with the victim ---- */

static bool next_entry(struct str *rest, struct seglog_entry *e)
{
    if (rest->n == 0)
        return false;
    must(seglog_entry_decode(rest, e));
    return true;
}

static void step_here(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    struct seglog_entry e;
    for (unsigned n = 0; n < SEGLOG_STEP_ENTRIES && next_entry(&c->rest, &e); n++) {
        struct seglog_tomb *t =
            e.kind == SEGLOG_ENVELOPE || e.kind == SEGLOG_RESULT ? seglog_tomb_find(&s->table, e.id) : NULL;
        if (t != NULL)
            t->n_here++;
    }
    if (c->rest.n == 0) {
        c->rest = buf_str(&c->walk.entries);
        set_state(c, CLEAN_COPY);
    }
    seglog_soon(s);
}

/* ---- copying ---- */

/* Where the tables say that the record of e is, if they need it at all. */
static struct seglog_loc *needed_at(const struct store *s, const struct seglog_entry *e)
{
    struct seglog_env *v;
    struct seglog_body *b;
    struct seglog_tomb *t;
    struct seglog_result *r;
    switch (e->kind) {
    case SEGLOG_BODY:
        b = seglog_body_find(&s->table, e->id);
        return b == NULL ? NULL : &b->at;
    case SEGLOG_ENVELOPE:
        v = seglog_env_find(&s->table, e->id);
        return v == NULL ? NULL : &v->at;
    case SEGLOG_RESULT:
        v = seglog_env_find(&s->table, e->id);
        r = v == NULL ? NULL : seglog_result_find(v, e->seq);
        return r == NULL ? NULL : &r->at;
    case SEGLOG_TOMB:
        t = seglog_tomb_find(&s->table, e->id);
        return t == NULL || t->n_holders <= t->n_here ? NULL : &t->at;
    }
    must_not_reach();
}

struct seglog_loc *seglog_needed(const struct store *s, const struct seglog_segment *g,
                                 const struct seglog_entry *e)
{
    struct seglog_loc *at = needed_at(s, e);
    return at != NULL && seglog_loc_is(at, g->slot, e->offset) ? at : NULL;
}

/* A record that can't be carried on: its envelope or body stays known, reading it says ERR_CORRUPT. */
static void give_up_record(struct store *s, const struct seglog_entry *e, struct seglog_loc *at)
{
    struct seglog_clean *c = &s->clean;
    c->victim->is_damaged = true;
    s->stats.n_damaged++;
    log_error(world_log(s->world), "store.damaged", LC("file", c->victim->name), LU("offset", e->offset),
              LID("id", e->id), LC("what", "a record's checksum does not hold"),
              LC("now", "set aside with its segment"));
    seglog_loc_unuse(s, at);
    if (e->kind != SEGLOG_TOMB)
        s->live_octets -= at->len;
    at->slot = SEGLOG_SLOT_NONE;
    if (e->kind == SEGLOG_RESULT) {
        struct seglog_env *v = seglog_env_find(&s->table, e->id);
        seglog_result_del(&s->table, v, seglog_result_find(v, e->seq));
    }
}

static size_t copy_quota(const struct store *s)
{
    const struct seglog_fill *f = &s->fills[s->filling];
    size_t commits = f->n - f->n_copied;
    size_t quota = commits > SEGLOG_COPY_WINDOW ? commits : SEGLOG_COPY_WINDOW;
    return quota < s->batch_max / 2 ? quota : s->batch_max / 2;
}

bool seglog_copy_record(struct store *s, const struct seglog_entry *e, struct seglog_loc *at,
                        const unsigned char *record)
{
    struct seglog_fill *f = &s->fills[s->filling];
    struct seglog_unit_writer u;
    size_t len = SEGLOG_UNIT_HEADER + e->len;
    if (seglog_has_space(s, len + 8, seglog_entry_len(e->has_hint), SEGLOG_NEED_COPY) != ERR_OK ||
        !seglog_unit_begin(s, &u, len))
        return false;
    uint32_t offset;
    unsigned char *out = seglog_unit_room(s, &offset);
    if (e->kind == SEGLOG_TOMB) {
        const struct seglog_record r = {.kind = SEGLOG_TOMB, .id = e->id, .seq = e->seq};
        (void)seglog_record_encode(&r, NULL, 0, out);
    } else {
        memcpy(out, record, e->len);
    }
    seglog_unit_put(s, &u, e->len, e->has_hint);
    seglog_unit_end(s, &u);
    seglog_loc_unuse(s, at);
    *at = (struct seglog_loc){
        .offset = offset, .len = e->len, .slot = (uint16_t)(SEGLOG_SLOT_BATCH + s->filling)};
    if (e->kind == SEGLOG_ENVELOPE || e->kind == SEGLOG_RESULT)
        seglog_env_find(&s->table, e->id)->n_holders++;
    s->clean.wait_flush = s->n_begun + 1;
    f->n_copied += e->len;
    f->is_eager = true;
    s->stats.n_copied_octets += e->len;
    return true;
}

/* All that this tombstone covers goes with the victim, and its own record too: one header frees them all. */
static void leave_tomb(struct store *s, const struct seglog_entry *e)
{
    struct seglog_tomb *t = e->kind == SEGLOG_TOMB ? seglog_tomb_find(&s->table, e->id) : NULL;
    if (t == NULL || t->n_holders > t->n_here || !seglog_loc_is(&t->at, s->clean.victim->slot, e->offset))
        return;
    seglog_loc_unuse(s, &t->at);
    t->at.slot = SEGLOG_SLOT_NONE;
}

/* Copies what was read; false when it has to go on after the next flush. */
static bool copy_run(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    while (c->run.n > 0) {
        struct str rest = c->run;
        struct seglog_entry e;
        must(next_entry(&rest, &e));
        struct seglog_loc *at = seglog_needed(s, c->victim, &e);
        const unsigned char *p = NULL; /* a tombstone is not read, it is written anew */
        struct seglog_record r;
        if (at != NULL && e.kind != SEGLOG_TOMB)
            p = (const unsigned char *)c->mem + (e.offset - c->mem_at);
        if (at == NULL)
            leave_tomb(s, &e);
        else if (p != NULL && (!seglog_record_decode(p, e.len, true, &r) || r.kind != e.kind || r.id != e.id))
            give_up_record(s, &e, at);
        else if (!seglog_copy_record(s, &e, at, p))
            return false;
        c->run = rest;
    }
    c->has_run = false;
    return true;
}

static void on_pause(struct timer *t)
{
    struct store *s = container_of(t, struct store, clean.pause);
    s->clean.is_reading = false;
    seglog_soon(s);
}

static void on_read(struct disk_op *op)
{
    struct store *s = container_of(op, struct store, clean.op);
    struct seglog_clean *c = &s->clean;
    if (op->err != ERR_OK && ++c->n_tries < SEGLOG_READ_TRIES) {
        /* again some time later, and one record at a time, so that only unreadable ones are lost */
        c->is_careful = true;
        c->rest = str_of(c->run.p, c->run.n + c->rest.n);
        c->has_run = false;
        c->pause.fire = on_pause;
        world_timer_set(s->world, &c->pause, world_now_ms(s->world) + SEGLOG_READ_PAUSE_MS);
        seglog_busy_sub(s);
        return;
    }
    c->is_reading = false;
    c->n_tries = 0;
    if (op->err != ERR_OK || op->n_done < op->size) {
        size_t n_done = op->err == ERR_OK ? op->n_done : 0;
        memset(c->mem + n_done, 0, (size_t)op->size - n_done); /* their checksums will not hold */
    }
    seglog_soon(s);
    seglog_busy_sub(s);
}

/* Finds the next run of needed records that lie close together and reads it. false: no memory. */
static bool read_run(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    struct seglog_entry e;
    uint64_t from = 0, to = 0;
    struct str begin = c->rest;
    for (unsigned n = 0; n < SEGLOG_STEP_ENTRIES && c->rest.n > 0; n++) {
        struct str rest = c->rest;
        must(next_entry(&rest, &e));
        bool is_read = e.kind != SEGLOG_TOMB && seglog_needed(s, c->victim, &e) != NULL;
        if (is_read && to == 0)
            from = to = e.offset;
        if (is_read && to > from &&
            (c->is_careful || e.offset < to || e.offset - to > SEGLOG_COPY_GAP ||
             e.offset + e.len - from > SEGLOG_COPY_WINDOW))
            break;
        if (is_read)
            to = (uint64_t)e.offset + e.len;
        c->rest = rest;
    }
    c->run = str_of(begin.p, begin.n - c->rest.n);
    c->has_run = c->run.n > 0;
    if (to == 0)
        return true;
    if (to - from > c->mem_cap) {
        mem_free(c->mem);
        c->mem_cap = to - from > SEGLOG_COPY_WINDOW ? (size_t)(to - from) : SEGLOG_COPY_WINDOW;
        c->mem = mem_alloc(c->mem_cap);
    }
    if (c->mem == NULL) {
        c->mem_cap = 0;
        c->rest = begin;
        c->has_run = false;
        return false;
    }
    c->mem_at = from;
    c->is_reading = true;
    c->op = (struct disk_op){
        .kind = DISK_READ,
        .lane = DISK_LANE_READ,
        .file = c->victim->file,
        .offset = from,
        .mem = c->mem,
        .size = to - from,
        .done = on_read,
    };
    seglog_busy_add(s);
    disk_submit(s->disk, &c->op);
    return true;
}

static void step_copy(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    if (c->is_reading)
        return;
    if (c->has_run && !copy_run(s))
        return; /* the next flush calls again */
    if (c->rest.n == 0) {
        /* What was found dead may be so by a drop that is not on disk yet: that must be there before the
         * victim goes. */
        c->wait_flush = s->n_begun + (s->fills[s->filling].n_units > 0 ? 1 : 0);
        set_state(c, CLEAN_WAIT);
        seglog_soon(s);
        return;
    }
    if (s->fills[s->filling].n_copied >= copy_quota(s))
        return;
    if (read_run(s) && !c->is_reading)
        seglog_soon(s);
}

/* ---- releasing ---- */

static void count_back(struct store *s, bool keeps_counts)
{
    struct seglog_clean *c = &s->clean;
    c->keeps_counts = keeps_counts;
    c->rest = buf_str(&c->walk.entries);
    set_state(c, CLEAN_COUNT);
    seglog_soon(s);
}

static void step_wait(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    if (s->n_flushed < c->wait_flush || c->victim->n_readers > 0)
        return;
    if (c->victim->live == 0) {
        set_state(c, CLEAN_RELEASE);
        seglog_release(s, c->victim);
        return;
    }
    /* Part of it could not be read although something there is needed: it stays. */
    must(c->victim->is_damaged);
    log_error(world_log(s->world), "store.kept", LC("file", c->victim->name), LU("octets", c->victim->live),
              LC("now", "this segment is kept as it is"));
    seglog_segment_set_state(c->victim, SEGMENT_BROKEN);
    count_back(s, true);
}

void seglog_clean_released(struct store *s, enum err err)
{
    if (!s->is_open) {
        seglog_recover_released(s, err);
        return;
    }
    count_back(s, err != ERR_OK); /* it may still be there after a restart */
}

static void step_count(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    struct seglog_entry e;
    for (unsigned n = 0; n < SEGLOG_STEP_ENTRIES && next_entry(&c->rest, &e); n++) {
        if (e.kind != SEGLOG_ENVELOPE && e.kind != SEGLOG_RESULT)
            continue;
        struct seglog_env *v = seglog_env_find(&s->table, e.id);
        struct seglog_tomb *t = v == NULL ? seglog_tomb_find(&s->table, e.id) : NULL;
        if (t != NULL && t->n_here > 0)
            t->n_here--;
        if (c->keeps_counts)
            continue;
        if (v != NULL) {
            must(v->n_holders > 0);
            v->n_holders--;
        } else if (t != NULL) {
            must(t->n_holders > 0);
            t->n_holders--;
            if (t->n_holders == 0) {
                seglog_loc_unuse(s, &t->at);
                seglog_tomb_del(&s->table, t);
            }
        }
    }
    if (c->rest.n == 0) {
        stop(s);
        seglog_clean_kick(s);
    } else {
        seglog_soon(s);
    }
}

void seglog_clean_step(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    if (s->has_failed || s->is_closing)
        return;
    switch (c->state) {
    case CLEAN_IDLE:
    case CLEAN_WALK:
    case CLEAN_RELEASE:
        break;
    case CLEAN_HERE:
        step_here(s);
        break;
    case CLEAN_COPY:
        step_copy(s);
        break;
    case CLEAN_WAIT:
        step_wait(s);
        break;
    case CLEAN_COUNT:
        step_count(s);
        break;
    }
}

void seglog_clean_fini(struct store *s)
{
    struct seglog_clean *c = &s->clean;
    if (c->state == CLEAN_IDLE)
        return;
    world_timer_cancel(s->world, &c->pause);
    seglog_walk_fini(&c->walk);
    mem_free(c->mem);
}
