#include "queue/seglog.h"

#include "base/mem.h"

#include <string.h>

enum { NODE_SHIFT = 54, NODE_MAX = 1023 };

static void on_soon(struct timer *t);
static void on_hook(struct turn_hook *h);
static void on_lazy(struct timer *t);
static void on_retry(struct timer *t);

static bool init_memory(struct store *s)
{
    uint64_t first = s->conf.segment_size < SEGLOG_FIRST_SIZE ? s->conf.segment_size : SEGLOG_FIRST_SIZE;
    /* The smallest segment takes the largest batch with a summary that is as long. */
    s->batch_max = (size_t)((first - 4 * SEGLOG_BLOCK) / 2 & ~(uint64_t)(SEGLOG_BLOCK - 1));
    if (s->batch_max > STORE_BATCH_MAX)
        s->batch_max = STORE_BATCH_MAX;
    for (unsigned i = 0; i < 2; i++) {
        list_init(&s->fills[i].tickets);
        buf_init(&s->fills[i].forget, STORE_BATCH_MAX);
        s->fills[i].n = SEGLOG_BATCH_HEADER;
        s->fills[i].mem = mem_alloc(s->batch_max + SEGLOG_BLOCK);
        if (s->fills[i].mem == NULL)
            return false;
    }
    s->zeros = mem_alloc(SEGLOG_ZEROS);
    s->zero_pieces = mem_alloc_array(SEGLOG_ZERO_STEP / SEGLOG_ZEROS, sizeof *s->zero_pieces);
    return s->zeros != NULL && s->zero_pieces != NULL && seglog_table_init(&s->table);
}

static void free_store(struct store *s)
{
    if (s->has_hook)
        list_remove(&s->hook.link);
    world_timer_cancel(s->world, &s->lazy);
    world_timer_cancel(s->world, &s->retry);
    world_timer_cancel(s->world, &s->soon);
    seglog_recover_fini(s);
    seglog_clean_fini(s);
    for (size_t i = 0; i < s->n_slots; i++) {
        struct seglog_segment *g = seglog_segment_at(s, i);
        if (g != NULL)
            seglog_segment_del(s, g);
    }
    for (size_t i = 0; i < ARRAY_LEN(s->slots); i++)
        mem_free(s->slots[i]);
    seglog_summary_reset(s);
    for (unsigned i = 0; i < 2; i++) {
        mem_free(s->fills[i].mem);
        buf_fini(&s->fills[i].forget);
    }
    mem_free(s->zeros);
    mem_free(s->zero_pieces);
    mem_free(s->flush_pieces);
    buf_fini(&s->unlinks);
    seglog_table_fini(&s->table);
    mem_free(s);
}

struct store *store_open(struct world *w, struct disk *disk, const struct store_conf *conf,
                         const struct store_user *u)
{
    must(conf->node <= NODE_MAX && conf->segment_size >= SEGLOG_SEGMENT_MIN &&
         conf->segment_size <= SEGLOG_SEGMENT_MAX && conf->segment_size % SEGLOG_BLOCK == 0);
    struct store *s = mem_new(struct store);
    if (s == NULL)
        return NULL;
    s->world = w;
    s->disk = disk;
    s->conf = *conf;
    s->user = *u;
    s->soon.fire = on_soon;
    s->lazy.fire = on_lazy;
    s->retry.fire = on_retry;
    list_init(&s->claims);
    list_init(&s->reads_done);
    list_init(&s->objects);
    buf_init(&s->unlinks, SIZE_MAX);
    if (!init_memory(s)) {
        free_store(s);
        return NULL;
    }
    must(conf->body_segment_max <= s->batch_max / 2);
    world_random(w, &s->salt, sizeof s->salt);
    s->hook.run = on_hook;
    world_turn_end(w, &s->hook);
    s->has_hook = true;
    seglog_recover_start(s);
    return s;
}

/* ---- later steps ---- */

void seglog_soon(struct store *s)
{
    if (!s->soon.is_set)
        world_timer_set(s->world, &s->soon, world_now_ms(s->world));
}

void seglog_busy_add(struct store *s)
{
    s->n_busy++;
}

void seglog_busy_sub(struct store *s)
{
    must(s->n_busy > 0);
    s->n_busy--;
    if (s->is_closing && s->n_busy == 0)
        seglog_soon(s);
}

static void run_claims(struct store *s)
{
    struct list now; /* a claim made within a done waits for the next step */
    list_init(&now);
    struct list *l;
    while ((l = list_pop_front(&s->claims)) != NULL)
        list_push_back(&now, l);
    while ((l = list_pop_front(&now)) != NULL) {
        struct store_claim *c = list_entry(l, struct store_claim, link);
        c->done(c, c->epoch == 0 ? ERR_NOTFOUND : c->epoch == UINT64_MAX ? ERR_STALE : ERR_OK);
    }
}

static void close_step(struct store *s);

static void on_soon(struct timer *t)
{
    struct store *s = container_of(t, struct store, soon);
    run_claims(s);
    seglog_read_run_done(s);
    seglog_clean_step(s);
    if (s->is_closing && s->n_busy == 0)
        close_step(s);
}

static void on_hook(struct turn_hook *h)
{
    struct store *s = container_of(h, struct store, hook);
    seglog_flush_kick(s);
}

static void on_lazy(struct timer *t)
{
    struct store *s = container_of(t, struct store, lazy);
    s->fills[s->filling].is_eager = true; /* the hook of this turn sends it off */
}

static void on_retry(struct timer *t)
{
    struct store *s = container_of(t, struct store, retry);
    seglog_make_if_short(s);
}

/* ---- failing and closing ---- */

static void fail_tickets(struct seglog_fill *f)
{
    struct list *l;
    while ((l = list_pop_front(&f->tickets)) != NULL) {
        struct store_ticket *t = list_entry(l, struct store_ticket, link);
        t->done(t, ERR_IO);
    }
}

void seglog_fail(struct store *s, const struct seglog_segment *seg, enum err err, const char *what)
{
    log_error(
        world_log(s->world), "store.failed", LC("what", what), LC("file", seg == NULL ? "" : seg->name),
        LERR(err),
        LC("now",
           "no message is accepted and nothing more is written until a restart; what is there is kept"));
    s->has_failed = true;
    s->flush = FLUSH_FAILED;
    fail_tickets(&s->fills[s->filling ^ 1]);
    fail_tickets(&s->fills[s->filling]);
    if (s->recover != NULL)
        seglog_recover_opened(s, err);
}

static void on_file_closed(struct disk_op *op)
{
    struct seglog_segment *g = container_of(op, struct seglog_segment, op);
    g->file = NULL;
    seglog_busy_sub(g->store);
}

/* Called whenever nothing is under way: each call brings the closing one step on. */
static void close_step(struct store *s)
{
    if (s->is_open && !s->has_failed && s->current != NULL && s->current->state == SEGMENT_OPEN) {
        seglog_flush_seal(s);
        return;
    }
    for (size_t i = 0; i < s->n_slots; i++) {
        struct seglog_segment *g = seglog_segment_at(s, i);
        if (g == NULL || g->file == NULL)
            continue;
        g->op = (struct disk_op){
            .kind = DISK_CLOSE, .lane = DISK_LANE_RELEASE, .file = g->file, .done = on_file_closed};
        seglog_busy_add(s);
        disk_submit(s->disk, &g->op);
    }
    if (s->n_busy > 0)
        return;
    void (*done)(void *) = s->closed;
    void *arg = s->closed_arg;
    free_store(s);
    done(arg);
}

void store_close(struct store *s, void (*done)(void *arg), void *arg)
{
    must(!s->is_closing);
    must(list_is_empty(&s->fills[0].tickets) && list_is_empty(&s->fills[1].tickets));
    s->is_closing = true;
    s->closed = done;
    s->closed_arg = arg;
    seglog_body_drop_detached(s);
    seglog_soon(s);
}

void store_abandon(struct store *s)
{
    struct list *l;
    while ((l = list_pop_front(&s->objects)) != NULL)
        seglog_object_free(l);
    free_store(s);
}

/* ---- ids and claims ---- */

uint64_t store_new_id(struct store *s)
{
    must(s->is_open);
    must(s->id_next < s->id_limit);
    uint64_t id = s->id_next++;
    if (s->id_limit - s->id_next < SEGLOG_ID_RESERVE / 2)
        s->wants_rotation = true;
    return id;
}

void store_claim(struct store *s, uint64_t id, uint64_t lease_ms, struct store_claim *c)
{
    UNUSED(lease_ms); /* nobody else can have it */
    struct seglog_env *e = seglog_env_find(&s->table, id);
    c->epoch = 0;
    if (e != NULL)
        c->epoch = e->epoch = ++s->epoch;
    list_push_back(&s->claims, &c->link);
    seglog_soon(s);
}

void store_renew(struct store *s, uint64_t id, uint64_t epoch, uint64_t lease_ms, struct store_claim *c)
{
    UNUSED(lease_ms);
    const struct seglog_env *e = seglog_env_find(&s->table, id);
    c->epoch = e == NULL ? 0 : e->epoch == epoch && epoch != 0 ? epoch : UINT64_MAX;
    list_push_back(&s->claims, &c->link);
    seglog_soon(s);
}

bool store_has_failed(const struct store *s)
{
    return s->has_failed;
}

void store_get_stats(const struct store *s, struct store_stats *out)
{
    *out = s->stats;
    out->n_live = s->n_live;
    out->n_segments = s->n_state[SEGMENT_OPENING] + s->n_state[SEGMENT_OPEN] + s->n_state[SEGMENT_SEALED] +
                      s->n_state[SEGMENT_RELEASING] + s->n_state[SEGMENT_BROKEN];
    out->n_free_segments = s->n_state[SEGMENT_FREE] + s->n_state[SEGMENT_MAKING];
    out->live_octets = s->live_octets + s->body_file_octets;
    out->disk_octets = s->body_file_octets;
    for (size_t i = 0; i < ARRAY_LEN(s->state_octets); i++)
        out->disk_octets += s->state_octets[i];
    out->has_failed = s->has_failed;
    out->is_full = s->is_full;
}
