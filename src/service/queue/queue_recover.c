/* service/queue/queue_recover.c: from the store's hints into the schedule at the start, and what is caught up
 * later: the names of sites, of which hints hold only a hash, and entries that expire behind a blocked site.
 */
#include "base/mem.h"
#include "service/queue/queue.h"

struct naming {
    struct list link;
    struct queue *q;
    uint64_t hash;
    struct store_read read;
};

void recover_on_live(struct queue *q, const struct store_live *live)
{
    struct envelope_hint h;
    int64_t wall_ms = world_wall_ms(q->world);
    uint64_t now_ms = world_now_ms(q->world);
    if (suppress_recover(q, live))
        return;
    if (!hint_decode(live->hint, &h)) {
        log_error(q->world->log, "queue.hint-unreadable", LID("id", live->id));
        h = (struct envelope_hint){.created_s = (uint32_t)(wall_ms / 1000)};
    }
    struct schedule *s = &q->schedule;
    struct schedule_site *site =
        h.site_hash != 0 ? schedule_site_by_hash(s, h.site_hash) : schedule_site(s, STR("unrouted"), true);
    struct schedule_entry *e = site == NULL ? NULL : schedule_add(s, live->id, h.created_s, h.priority);
    if (e == NULL) {
        queue_trouble(q, ERR_NOMEM, "no memory for all entries of the queue");
        return;
    }
    e->n_attempts = h.n_attempts;
    e->flags = (uint8_t)(((h.flags & HINT_BOUNCE) != 0 ? ENTRY_IS_BOUNCE : 0u) |
                         ((h.flags & HINT_DEADLINE) != 0 ? ENTRY_HAS_DEADLINE : 0u));
    schedule_set_site(s, e, site);
    if ((h.flags & HINT_HELD) != 0)
        schedule_hold(s, e, now_ms);
    else
        schedule_wait(s, e, now_ms + (h.next_ms > wall_ms ? (uint64_t)(h.next_ms - wall_ms) : 0), now_ms);
}

/* ---- names ---- */

static void on_named(struct store_read *r, enum err err)
{
    struct naming *n = container_of(r, struct naming, read);
    struct queue *q = n->q;
    queue_store_idle(q);
    struct idmap_node *node = idmap_find(&q->schedule.sites, n->hash);
    for (size_t i = r->n_results; err == ERR_OK && node != NULL && i > 0; i--) {
        struct str name = delta_site(r->results[i - 1]);
        if (name.n == 0)
            continue;
        schedule_site_learn(&q->schedule, container_of(node, struct schedule_site, by_hash), name);
        break;
    }
    store_read_release(r);
    list_remove(&n->link);
    q->n_naming--;
    mem_free(n);
    naming_step(q);
}

void naming_step(struct queue *q)
{
    while (q->n_naming < QUEUE_NAMING_MAX && q->names_at < q->n_names && q->phase == QUEUE_OPEN) {
        uint64_t hash = q->names[q->names_at++];
        struct idmap_node *node = idmap_find(&q->schedule.sites, hash);
        if (node == NULL)
            continue;
        struct schedule_site *site = container_of(node, struct schedule_site, by_hash);
        const struct schedule_entry *some = schedule_site_some(site);
        struct naming *n = site->name_n > 0 || some == NULL ? NULL : mem_new(struct naming);
        if (n == NULL)
            continue;
        n->q = q;
        n->hash = hash;
        n->read.done = on_named;
        list_push_back(&q->namings, &n->link);
        q->n_naming++;
        queue_store_busy(q);
        store_read_envelope(q->store, some->id, &n->read);
    }
    if (q->names_at == q->n_names && q->names != NULL) {
        mem_free(q->names);
        q->names = NULL;
        q->n_names = q->names_at = 0;
    }
}

void naming_start(struct queue *q)
{
    size_t n = 0;
    q->names = mem_alloc_array(q->schedule.n_sites, sizeof *q->names);
    if (q->names == NULL)
        return; /* they are learnt as their entries come due */
    list_each (l, &q->schedule.all_sites) {
        const struct schedule_site *site = list_entry(l, struct schedule_site, all);
        if (site->name_n == 0)
            q->names[n++] = site->by_hash.id;
    }
    q->n_names = n;
    q->names_at = 0;
    naming_step(q);
}

void naming_free_all(struct queue *q)
{
    list_each (l, &q->namings) {
        list_remove(l);
        mem_free(list_entry(l, struct naming, link));
    }
    mem_free(q->names);
}

/* ---- expiry behind a block ---- */

static bool is_over(const struct queue *q, const struct schedule_entry *e)
{
    const struct config *c = q->config;
    uint32_t s = (e->flags & ENTRY_IS_BOUNCE) != 0 ? c->bounce_expire_s : c->expire_s;
    return schedule_is_expired(e->created_s, world_wall_ms(q->world), s);
}

/* A blocked site is tried with one entry at a time, so the others would never come to their end by attempts,
 * nor would their senders hear in time that the time of DELIVERBY has passed: for these the envelope is
 * looked at when they are due; an attempt is due at that time the latest. */
void recover_sweep(struct queue *q)
{
    size_t n_slots = QUEUE_SLICE;
    uint64_t now_ms = world_now_ms(q->world);
    struct schedule_entry *e;
    while (q->n_works < QUEUE_WORKS_MAX &&
           (e = schedule_walk(&q->schedule, &q->sweep_at, &n_slots)) != NULL) {
        if (e->state != ENTRY_WAITING || (e->flags & ENTRY_IS_SUSPENDED) != 0 || e->site->block_ms == 0)
            continue;
        if (is_over(q, e))
            e->flags |= ENTRY_IS_EXPIRED;
        else if ((e->flags & ENTRY_HAS_DEADLINE) == 0 || schedule_entry_due(e) > now_ms)
            continue;
        schedule_take(&q->schedule, e, now_ms);
        work_start(q, e);
    }
    if (q->sweep_at >= schedule_slots(&q->schedule))
        q->is_sweeping = false;
}
