/* service/queue/queue_mark.c: an operator's hold, release or drop of one entry: claimed, recorded, then done
 * in memory. */
#include "base/mem.h"
#include "service/queue/queue.h"

struct mark {
    struct list link;
    struct queue *q;
    struct schedule_entry *entry;
    enum mark_verb verb;
    bool was_held;
    uint64_t due_ms;
    struct store_claim claim;
    struct store_ticket ticket;
    void (*done)(void *arg, enum err err);
    void *arg;
};

/* Back to where the entry was. */
static void put_back(struct mark *m)
{
    struct queue *q = m->q;
    if (m->was_held)
        schedule_hold(&q->schedule, m->entry, world_now_ms(q->world));
    else
        schedule_wait(&q->schedule, m->entry, m->due_ms, world_now_ms(q->world));
}

static void finish(struct mark *m, enum err err)
{
    struct queue *q = m->q;
    void (*done)(void *arg, enum err err) = m->done;
    void *arg = m->arg;
    list_remove(&m->link);
    q->n_marks--;
    mem_free(m);
    if (err != ERR_OK)
        queue_trouble(q, err, "an operator's word could not be recorded");
    if (done != NULL)
        done(arg, err);
}

static void on_recorded(struct store_ticket *t, enum err err)
{
    struct mark *m = container_of(t, struct mark, ticket);
    struct queue *q = m->q;
    uint64_t id = m->entry->id, now_ms = world_now_ms(q->world);
    queue_store_idle(q);
    if (err != ERR_OK) {
        put_back(m);
        finish(m, err);
        return;
    }
    switch (m->verb) {
    case MARK_HOLD:
        TELL(q, .kind = EVENT_HELD, .id = id, .text = STR("operator"));
        schedule_hold(&q->schedule, m->entry, now_ms);
        break;
    case MARK_RELEASE:
        TELL(q, .kind = EVENT_RELEASED, .id = id);
        schedule_wait(&q->schedule, m->entry, now_ms, now_ms);
        break;
    case MARK_DROP:
        q->count.dropped++;
        TELL(q, .kind = EVENT_DROPPED, .id = id, .text = STR("operator"));
        schedule_remove(&q->schedule, m->entry);
        cache_remove(q, id);
        break;
    }
    finish(m, ERR_OK);
}

static enum err submit(struct mark *m)
{
    struct queue *q = m->q;
    struct schedule_entry *e = m->entry;
    char mem[64];
    struct buf delta;
    buf_init_fixed(&delta, mem, sizeof mem);
    delta_begin(&delta);
    must(delta_put_hold(&delta, m->verb == MARK_HOLD, STR("operator")));
    int64_t wall_ms = world_wall_ms(q->world);
    uint64_t now_ms = world_now_ms(q->world);
    bool is_later = m->verb == MARK_HOLD && m->due_ms > now_ms;
    struct envelope_hint h = {
        .flags = entry_hint_flags(e) | (m->verb == MARK_HOLD ? HINT_HELD : 0u),
        .n_attempts = e->n_attempts,
        .created_s = e->created_s,
        .priority = schedule_priority(e),
        .next_ms = (wall_ms < 0 ? 0 : wall_ms) + (is_later ? (int64_t)(m->due_ms - now_ms) : 0),
        .site_hash = e->site->by_hash.id,
    };
    unsigned char hint[STORE_HINT];
    hint_encode(&h, hint);
    struct str piece = buf_str(&delta);
    struct store_op op = {.kind = STORE_PUT_RESULT,
                          .id = e->id,
                          .epoch = m->claim.epoch,
                          .pieces = &piece,
                          .n_pieces = 1,
                          .hint = hint};
    if (m->verb == MARK_DROP)
        op = (struct store_op){.kind = STORE_DROP, .id = e->id, .epoch = m->claim.epoch};
    else
        cache_remove_record(q, e->id);
    m->ticket.done = on_recorded;
    return store_submit(q->store, &op, 1, true, &m->ticket);
}

static void on_claimed(struct store_claim *c, enum err err)
{
    struct mark *m = container_of(c, struct mark, claim);
    queue_store_idle(m->q);
    if (err == ERR_OK)
        err = submit(m);
    if (err == ERR_OK) {
        queue_store_busy(m->q);
        return;
    }
    put_back(m);
    finish(m, err);
}

void mark_start(struct queue *q, struct schedule_entry *e, enum mark_verb verb,
                void (*done)(void *arg, enum err err), void *arg)
{
    uint64_t now_ms = world_now_ms(q->world);
    bool was_held = e->state == ENTRY_HELD;
    uint64_t due_ms = e->state == ENTRY_WAITING ? schedule_entry_due(e) : now_ms;
    struct mark *m = mem_new(struct mark);
    if (e->state != ENTRY_ASIDE && m != NULL)
        schedule_take(&q->schedule, e, now_ms);
    if (m == NULL) {
        if (e->state == ENTRY_ASIDE)
            schedule_wait(&q->schedule, e, now_ms, now_ms);
        if (done != NULL)
            done(arg, ERR_NOMEM);
        return;
    }
    *m = (struct mark){.q = q,
                       .entry = e,
                       .verb = verb,
                       .was_held = was_held,
                       .due_ms = due_ms,
                       .done = done,
                       .arg = arg,
                       .claim = {.done = on_claimed}};
    e->work = m; /* in somebody's hands */
    list_push_back(&q->marks, &m->link);
    q->n_marks++;
    queue_store_busy(q);
    store_claim(q->store, e->id, QUEUE_LEASE_MS, &m->claim);
}

void mark_free_all(struct queue *q)
{
    list_each (l, &q->marks) {
        list_remove(l);
        mem_free(list_entry(l, struct mark, link));
    }
}
