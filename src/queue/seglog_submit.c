#include "queue/seglog.h"

#include <string.h>

/* What a unit will take, found out before anything is changed. */
struct plan {
    size_t len, summary_len;
    size_t n_envs, n_bodies, n_drops, n_results;
    enum seglog_need need;
};

/* ---- space ---- */

uint64_t seglog_batch_span(const struct seglog_fill *f)
{
    return seglog_align(f->n);
}

static uint64_t summary_span(size_t n)
{
    return seglog_align(SEGLOG_BATCH_HEADER + n);
}

/* Would the filling batch with n more octets fit behind what is on its way to the present segment? */
static bool fits_current(const struct store *s, size_t n, size_t summary_len, uint64_t reserve)
{
    const struct seglog_fill *f = &s->fills[s->filling], *other = &s->fills[s->filling ^ 1];
    const struct seglog_segment *g = s->current;
    if (g == NULL || s->flush == FLUSH_MAKING)
        return false;
    bool rotates = s->flush == FLUSH_SUMMARY || s->flush == FLUSH_HEADER;
    uint64_t at = rotates ? SEGLOG_DATA : g->end;
    size_t summary = rotates ? 0 : s->summary_len;
    if (s->flush != FLUSH_IDLE) {
        at += seglog_batch_span(other);
        summary += other->summary_len;
    }
    summary += f->summary_len + summary_len;
    return at + seglog_align(f->n + n) + summary_span(summary) + reserve <= g->capacity;
}

/* What may not be used up by each need while no other segment is ready, in eighths of a segment. What puts
 * leave stays for results, what these leave for the cleaner, the rest for drops: these give space back, so
 * that a full disk is never a dead end. On a disk known to be full the last free segment is not for puts and
 * results either. */
static const struct {
    unsigned reserve, reserve_full, n_free_kept_full;
} needs[] = {
    [SEGLOG_NEED_PUT] = {2, 8, 1},
    [SEGLOG_NEED_RESULT] = {1, 4, 1},
    [SEGLOG_NEED_COPY] = {1, 1, 0},
    [SEGLOG_NEED_DROP] = {0, 0, 0},
};

enum err seglog_has_space(const struct store *s, size_t n, size_t summary_len, enum seglog_need need)
{
    size_t n_free = s->n_state[SEGMENT_FREE];
    uint64_t capacity = s->current == NULL ? s->conf.segment_size : s->current->capacity;
    size_t n_kept = s->is_full ? needs[need].n_free_kept_full : 0;
    if (n_free > n_kept)
        return ERR_OK;
    unsigned eighths = s->is_full && n_free == 0 ? needs[need].reserve_full
                       : n_free == 0             ? needs[need].reserve
                                                 : 0;
    if (fits_current(s, n, summary_len, capacity / 8 * eighths))
        return ERR_OK;
    return s->is_full ? ERR_NOSPACE : ERR_AGAIN;
}

bool seglog_has_copy_space(const struct store *s, uint64_t n)
{
    const struct seglog_segment *g = s->current;
    uint64_t room = s->n_state[SEGMENT_FREE] > 0 ? s->conf.segment_size / 8 * 7 : 0;
    if (g != NULL && g->capacity > g->end + s->summary_len + g->capacity / 4)
        room += g->capacity - g->end - s->summary_len - g->capacity / 4;
    return n + n / 4 <= room;
}

/* ---- writing a unit into the batch that fills ---- */

bool seglog_unit_begin(struct store *s, struct seglog_unit_writer *u, size_t len_max)
{
    struct seglog_fill *f = &s->fills[s->filling];
    if (f->n + len_max + 8 > s->batch_max)
        return false;
    if (f->n_units == 0)
        f->first_seq = s->seq;
    *u = (struct seglog_unit_writer){.at = f->n, .crc = seglog_unit_crc(s->salt)};
    f->n += SEGLOG_UNIT_HEADER;
    return true;
}

unsigned char *seglog_unit_room(struct store *s, uint32_t *out_offset)
{
    struct seglog_fill *f = &s->fills[s->filling];
    *out_offset = (uint32_t)f->n;
    return f->mem + f->n;
}

void seglog_unit_put(struct store *s, struct seglog_unit_writer *u, uint32_t record_len, bool has_hint)
{
    struct seglog_fill *f = &s->fills[s->filling];
    u->crc = seglog_unit_add(u->crc, seglog_record_crc(f->mem + f->n));
    u->n_records++;
    f->n += record_len;
    must(f->n <= s->batch_max);
    f->summary_len += seglog_entry_len(has_hint);
}

void seglog_unit_end(struct store *s, struct seglog_unit_writer *u)
{
    struct seglog_fill *f = &s->fills[s->filling];
    struct seglog_unit h = {.seq = s->seq, .len = (uint32_t)(f->n - u->at), .n_records = u->n_records};
    seglog_unit_encode(&h, u->crc, f->mem + u->at);
    s->seq += u->n_records;
    size_t end = (f->n + 7) & ~(size_t)7;
    memset(f->mem + f->n, 0, end - f->n);
    f->n = end;
    f->n_units++;
}

/* ---- leaving places ---- */

void seglog_loc_unuse(struct store *s, const struct seglog_loc *at)
{
    struct seglog_segment *g = at->slot < SEGLOG_SLOT_MAX ? seglog_segment_at(s, at->slot) : NULL;
    if (g != NULL) {
        must(g->live >= at->len);
        g->live -= at->len;
    }
}

static bool counts_as_live(const struct seglog_loc *at)
{
    return at->slot < SEGLOG_SLOT_MAX || at->slot == SEGLOG_SLOT_BATCH || at->slot == SEGLOG_SLOT_BATCH + 1;
}

void seglog_body_unref(struct store *s, struct seglog_body *b)
{
    must(b->n_refs > 0);
    if (--b->n_refs > 0)
        return;
    if (b->at.slot == SEGLOG_SLOT_FILE) {
        s->body_file_octets -= seglog_file_size(b);
        (void)buf_put_u64(&s->fills[s->filling].forget,
                          b->node.id); /* without room the next sweep finds it */
    } else if (counts_as_live(&b->at)) {
        s->live_octets -= b->at.len;
        seglog_loc_unuse(s, &b->at);
    }
    seglog_body_del(&s->table, b);
}

/* ---- checking a unit ---- */

static const struct store_op *find_body_op(const struct store_op *ops, size_t n_ops, uint64_t id)
{
    for (size_t i = 0; i < n_ops; i++) {
        if ((ops[i].kind == STORE_PUT_BODY || ops[i].kind == STORE_PUT_BODY_FILE) && ops[i].id == id)
            return &ops[i];
    }
    return NULL;
}

static bool is_referred(const struct store_op *ops, size_t n_ops, uint64_t body_id)
{
    for (size_t i = 0; i < n_ops; i++) {
        if (ops[i].kind == STORE_PUT_ENVELOPE && ops[i].body_id == body_id)
            return true;
    }
    return false;
}

static enum err check_live(const struct store *s, const struct store_op *op)
{
    const struct seglog_env *e = seglog_env_find(&s->table, op->id);
    if (e == NULL)
        return ERR_NOTFOUND;
    return e->epoch == op->epoch ? ERR_OK : ERR_STALE;
}

static enum err check_op(const struct store *s, const struct store_op *ops, size_t n_ops, size_t i,
                         size_t octets)
{
    const struct store_op *op = &ops[i];
    switch (op->kind) {
    case STORE_PUT_BODY:
    case STORE_PUT_BODY_FILE:
        must(op->id != 0 && seglog_body_find(&s->table, op->id) == NULL);
        if (op->kind == STORE_PUT_BODY && octets > s->conf.body_segment_max)
            return ERR_TOO_BIG;
        return is_referred(ops, n_ops, op->id) ? ERR_OK : ERR_INVALID;
    case STORE_PUT_ENVELOPE:
        must(op->id != 0 && op->hint != NULL && seglog_env_find(&s->table, op->id) == NULL &&
             seglog_tomb_find(&s->table, op->id) == NULL);
        if (octets > STORE_ENVELOPE_MAX)
            return ERR_TOO_BIG;
        if (seglog_body_find(&s->table, op->body_id) != NULL)
            return ERR_OK;
        return find_body_op(ops, n_ops, op->body_id) != NULL ? ERR_OK : ERR_NOTFOUND;
    case STORE_PUT_RESULT:
        return octets > SEGLOG_RESULT_MAX ? ERR_TOO_BIG : check_live(s, op);
    case STORE_DROP:
        return check_live(s, op);
    }
    must_not_reach();
}

static enum err make_plan(const struct store *s, const struct store_op *ops, size_t n_ops, struct plan *out)
{
    *out = (struct plan){.len = SEGLOG_UNIT_HEADER, .need = SEGLOG_NEED_DROP};
    for (size_t i = 0; i < n_ops; i++) {
        const struct store_op *op = &ops[i];
        size_t octets = 0;
        for (size_t k = 0; k < op->n_pieces; k++) {
            if (__builtin_add_overflow(octets, op->pieces[k].n, &octets) || octets > STORE_BATCH_MAX)
                return ERR_TOO_BIG;
        }
        enum err err = check_op(s, ops, n_ops, i, octets);
        if (err != ERR_OK)
            return err;
        bool is_put = op->kind != STORE_PUT_RESULT && op->kind != STORE_DROP;
        bool has_hint = op->hint != NULL && (op->kind == STORE_PUT_ENVELOPE || op->kind == STORE_PUT_RESULT);
        out->n_bodies += op->kind == STORE_PUT_BODY || op->kind == STORE_PUT_BODY_FILE;
        out->n_envs += op->kind == STORE_PUT_ENVELOPE;
        out->n_results += op->kind == STORE_PUT_RESULT;
        out->n_drops += op->kind == STORE_DROP;
        if (is_put)
            out->need = SEGLOG_NEED_PUT;
        else if (op->kind == STORE_PUT_RESULT && out->need == SEGLOG_NEED_DROP)
            out->need = SEGLOG_NEED_RESULT;
        if (op->kind == STORE_PUT_BODY_FILE)
            continue; /* the file and its name are the record; the envelope carries the size */
        out->len += SEGLOG_RECORD_HEADER + (has_hint ? (size_t)STORE_HINT : 0) + octets;
        out->summary_len += seglog_entry_len(has_hint);
    }
    return out->len + SEGLOG_BATCH_HEADER + 8 > s->batch_max ? ERR_TOO_BIG : ERR_OK;
}

/* ---- applying it ---- */

static uint16_t fill_slot(const struct store *s)
{
    return (uint16_t)(SEGLOG_SLOT_BATCH + s->filling);
}

/* Encodes one record and tells where it stands. */
static struct seglog_loc write_record(struct store *s, struct seglog_unit_writer *u, struct seglog_record *r,
                                      const struct store_op *op)
{
    size_t octets = r->has_hint ? STORE_HINT : 0;
    for (size_t i = 0; i < op->n_pieces; i++)
        octets += op->pieces[i].n;
    r->len = (uint32_t)octets;
    r->hint = op->hint;
    r->id = op->id;
    r->seq = s->seq + u->n_records;
    uint32_t offset;
    unsigned char *out = seglog_unit_room(s, &offset);
    (void)seglog_record_encode(r, op->pieces, op->n_pieces, out);
    seglog_unit_put(s, u, seglog_record_len(r), r->has_hint);
    return (struct seglog_loc){.offset = offset, .len = seglog_record_len(r), .slot = fill_slot(s)};
}

static void apply_body(struct store *s, struct seglog_unit_writer *u, const struct store_op *op)
{
    struct seglog_body *b = seglog_body_add(&s->table, op->id);
    must(b != NULL);
    if (op->kind == STORE_PUT_BODY_FILE) {
        must(op->size >> 48 == 0 && seglog_body_take(s, op->id, op->size));
        b->at = (struct seglog_loc){(uint32_t)op->size, (uint32_t)(op->size >> 32), SEGLOG_SLOT_FILE};
        s->body_file_octets += op->size;
        return;
    }
    struct seglog_record r = {.kind = SEGLOG_BODY};
    b->at = write_record(s, u, &r, op);
    s->live_octets += b->at.len;
}

static uint64_t body_size(const struct seglog_body *b)
{
    return b->at.slot == SEGLOG_SLOT_FILE ? seglog_file_size(b) : b->at.len - SEGLOG_RECORD_HEADER;
}

static void apply_envelope(struct store *s, struct seglog_unit_writer *u, const struct store_op *op)
{
    struct seglog_env *e = seglog_env_add(&s->table, op->id);
    struct seglog_body *b = seglog_body_find(&s->table, op->body_id);
    must(e != NULL && b != NULL);
    struct seglog_record r = {.kind = SEGLOG_ENVELOPE, .has_hint = true, .aux = op->body_id};
    r.size = b->at.slot == SEGLOG_SLOT_NONE ? 0 : body_size(b);
    e->at = write_record(s, u, &r, op);
    e->body = b;
    e->hint_seq = r.seq;
    e->n_holders = 1;
    memcpy(e->hint, op->hint, STORE_HINT);
    b->n_refs++;
    s->n_live++;
    s->live_octets += e->at.len;
}

static void apply_result(struct store *s, struct seglog_unit_writer *u, const struct store_op *op)
{
    struct seglog_env *e = seglog_env_find(&s->table, op->id);
    must(e != NULL);
    struct seglog_record r = {.kind = SEGLOG_RESULT, .has_hint = op->hint != NULL};
    struct seglog_loc at = write_record(s, u, &r, op);
    struct seglog_result *n = seglog_result_add(&s->table, e, r.seq);
    must(n != NULL);
    n->at = at;
    e->n_holders++;
    s->live_octets += at.len;
    if (op->hint != NULL) {
        memcpy(e->hint, op->hint, STORE_HINT);
        e->hint_seq = r.seq;
    }
}

static void apply_drop(struct store *s, struct seglog_unit_writer *u, const struct store_op *op)
{
    struct seglog_env *e = seglog_env_find(&s->table, op->id);
    must(e != NULL); /* dropped twice in one unit is our bug */
    const struct store_op bare = {.id = op->id};
    struct seglog_record r = {.kind = SEGLOG_TOMB};
    struct seglog_tomb *t = seglog_tomb_add(&s->table, op->id);
    must(t != NULL);
    t->at = write_record(s, u, &r, &bare);
    t->n_holders = e->n_holders;
    if (counts_as_live(&e->at)) {
        seglog_loc_unuse(s, &e->at);
        s->live_octets -= e->at.len;
    }
    struct seglog_result *n = e->last;
    if (n != NULL) {
        do {
            seglog_loc_unuse(s, &n->at);
            s->live_octets -= n->at.len;
            n = n->next;
        } while (n != e->last);
    }
    seglog_body_unref(s, e->body);
    seglog_env_del(&s->table, e);
    s->n_live--;
}

/* Bodies before envelopes and drops last, so that a body handed from a parent to its children never has no
 * reference, whatever the order of the operations. */
static void apply(struct store *s, struct seglog_unit_writer *u, const struct store_op *ops, size_t n_ops)
{
    for (size_t i = 0; i < n_ops; i++) {
        if (ops[i].kind == STORE_PUT_BODY || ops[i].kind == STORE_PUT_BODY_FILE)
            apply_body(s, u, &ops[i]);
    }
    for (size_t i = 0; i < n_ops; i++) {
        if (ops[i].kind == STORE_PUT_ENVELOPE)
            apply_envelope(s, u, &ops[i]);
        else if (ops[i].kind == STORE_PUT_RESULT)
            apply_result(s, u, &ops[i]);
    }
    for (size_t i = 0; i < n_ops; i++) {
        if (ops[i].kind == STORE_DROP)
            apply_drop(s, u, &ops[i]);
    }
}

enum err store_submit(struct store *s, const struct store_op *ops, size_t n_ops, bool lazy,
                      struct store_ticket *t)
{
    must(s->is_open && !s->is_closing && n_ops > 0 && n_ops <= SEGLOG_UNIT_RECORDS_MAX);
    if (s->has_failed)
        return ERR_IO;
    struct plan plan;
    enum err err = make_plan(s, ops, n_ops, &plan);
    if (err == ERR_OK)
        err = seglog_has_space(s, plan.len + 8, plan.summary_len, plan.need);
    if (err != ERR_OK)
        return err;
    if (!seglog_table_reserve(&s->table, plan.n_envs, plan.n_bodies, plan.n_drops, plan.n_results))
        return ERR_NOMEM;
    struct seglog_unit_writer u;
    if (!seglog_unit_begin(s, &u, plan.len))
        return ERR_AGAIN;
    apply(s, &u, ops, n_ops);
    seglog_unit_end(s, &u);
    struct seglog_fill *f = &s->fills[s->filling];
    t->seq = ++s->ticket_seq;
    list_push_back(&f->tickets, &t->link);
    s->stats.n_units++;
    if (!lazy)
        f->is_eager = true;
    else if (!f->is_eager && !s->lazy.is_set)
        world_timer_set(s->world, &s->lazy, world_now_ms(s->world) + SEGLOG_LAZY_MS);
    return ERR_OK;
}
