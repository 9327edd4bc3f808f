/* service/queue/queue.c: the role that keeps accepted mail and sees that it gets where it belongs.
 *
 * Phases: OPENING (the store recovers; smtpd's channels are paused) -> OPEN -> DRAINING (nothing new starts)
 * -> CLOSING (the store closes) -> CLOSED. The turn's end starts what is due; one timer wakes it for what is
 * due next. The main thread makes no disk call.
 */
#include "service/queue/queue.h"

#include "base/limits.h"
#include "base/mem.h"

static void set_phase(struct queue *q, enum queue_phase to)
{
    static const bool allowed[QUEUE_CLOSED + 1][QUEUE_CLOSED + 1] = {
        [QUEUE_OPENING] = {[QUEUE_OPEN] = true, [QUEUE_CLOSED] = true},
        [QUEUE_OPEN] = {[QUEUE_DRAINING] = true},
        [QUEUE_DRAINING] = {[QUEUE_CLOSING] = true},
        [QUEUE_CLOSING] = {[QUEUE_CLOSED] = true},
    };
    must(allowed[q->phase][to]);
    q->phase = to;
}

void queue_wake(struct queue *q)
{
    world_timer_set(q->world, &q->due, world_now_ms(q->world));
}

uint64_t queue_random(struct queue *q)
{
    uint64_t v;
    world_random(q->world, &v, sizeof v);
    return v;
}

void queue_store_busy(struct queue *q)
{
    q->n_store++;
}

void queue_store_idle(struct queue *q)
{
    must(q->n_store > 0);
    q->n_store--;
}

bool queue_may_start(const struct queue *q)
{
    return q->phase == QUEUE_OPEN && q->n_works < QUEUE_WORKS_MAX && list_is_empty(&q->submit_waiting) &&
           !store_has_failed(q->store); /* an outcome could not be recorded */
}

/* ---- turns ---- */

static void start_due(struct queue *q)
{
    uint64_t now_ms = world_now_ms(q->world);
    for (unsigned i = 0; i < QUEUE_STARTS_MAX && queue_may_start(q); i++) {
        struct schedule_entry *e = schedule_next(&q->schedule, now_ms);
        if (e == NULL)
            break;
        work_start(q, e);
    }
    if (!queue_may_start(q))
        return;
    uint64_t due_ms = schedule_due(&q->schedule);
    if (q->is_sweeping)
        due_ms = now_ms;
    if (due_ms == UINT64_MAX)
        return;
    if (!q->due.is_set || q->due.node.key > due_ms)
        world_timer_set(q->world, &q->due, due_ms);
}

static void on_store_closed(void *arg)
{
    struct queue *q = arg;
    q->store = NULL;
    set_phase(q, QUEUE_CLOSED);
    disk_close(q->disk);
    q->disk = NULL;
    role_drained(q->env);
}

/* Is everything that touches the store over? At the deadline jobs that are still out are left to the next
 * start. */
static void drain_step(struct queue *q)
{
    bool is_late = world_now_ms(q->world) >= q->deadline_ms;
    if (q->n_store > 0 || !list_is_empty(&q->puts_waiting))
        return;
    if (!is_late && (q->n_works > 0 || q->n_marks > 0))
        return;
    ctl_drop_all(q);
    set_phase(q, QUEUE_CLOSING);
    store_close(q->store, on_store_closed, q);
}

static void on_turn(struct turn_hook *h)
{
    struct queue *q = container_of(h, struct queue, turn);
    if (q->phase != QUEUE_OPEN && q->phase != QUEUE_DRAINING)
        return;
    if (!list_is_empty(&q->puts_waiting))
        queue_puts_retry(q);
    if (q->n_asks > 0)
        ctl_step(q);
    if (q->is_sweeping && queue_may_start(q))
        recover_sweep(q);
    if (q->phase == QUEUE_OPEN)
        start_due(q);
    else
        drain_step(q);
}

/* That a turn happens is all that is needed. */
static void on_due(struct timer *t)
{
    UNUSED(t);
}

static void on_retry(struct timer *t)
{
    struct queue *q = container_of(t, struct queue, retry);
    queue_puts_retry(q);
    work_submit_retry(q);
    suppress_retry(q);
    if (!list_is_empty(&q->puts_waiting) || !list_is_empty(&q->submit_waiting))
        world_timer_set(q->world, &q->retry, world_now_ms(q->world) + QUEUE_SUBMIT_RETRY_MS);
}

static void on_sweep(struct timer *t)
{
    struct queue *q = container_of(t, struct queue, sweep);
    q->is_sweeping = true;
    q->sweep_at = 0;
    suppress_sweep(q);
    world_timer_set(q->world, t, world_now_ms(q->world) + QUEUE_SWEEP_MS);
}

static void on_counters(struct timer *t)
{
    struct queue *q = container_of(t, struct queue, counters_timer);
    if (q->phase == QUEUE_OPEN || q->phase == QUEUE_DRAINING)
        queue_send_counters(q);
    world_timer_set(q->world, t, world_now_ms(q->world) + QUEUE_COUNTERS_MS);
}

static void on_renew(struct timer *t)
{
    struct queue *q = container_of(t, struct queue, renew);
    uint64_t now_ms = world_now_ms(q->world);
    list_each (l, &q->works) {
        struct work *w = list_entry(l, struct work, link);
        if (q->phase == QUEUE_OPEN && now_ms - w->started_ms >= QUEUE_RENEW_MS)
            work_renew(w);
    }
    world_timer_set(q->world, t, now_ms + QUEUE_RENEW_MS);
}

static void on_deadline(struct timer *t)
{
    struct queue *q = container_of(t, struct queue, deadline);
    if (q->phase != QUEUE_DRAINING)
        return;
    for (size_t i = 0; i < ARRAY_LEN(q->smtpd); i++)
        intake_abort_all(&q->smtpd[i]);
    log_warn(q->world->log, "queue.drain-deadline", LU("attempts", q->n_works));
}

/* ---- opening ---- */

static void on_live(void *arg, const struct store_live *e)
{
    recover_on_live(arg, e);
}

void queue_fail(struct queue *q, const char *what, enum err err)
{
    char mem[256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "%s: %s", what, err_str(err));
    role_fail(q->env, buf_str(&b));
}

static void on_open(void *arg, enum err err, uint64_t n_live, uint64_t n_damaged)
{
    struct queue *q = arg;
    if (err != ERR_OK) {
        set_phase(q, QUEUE_CLOSED);
        queue_fail(q, err == ERR_EXISTS ? "another server uses this spool" : "the spool can't be opened",
                   err);
        return;
    }
    log_info(q->world->log, "queue.opened", LU("entries", n_live - suppress_count(q)),
             LU("suppressed", suppress_count(q)), LU("damaged", n_damaged));
    if (n_damaged > 0)
        queue_trouble(q, ERR_CORRUPT, "records of the spool were damaged and left out");
    suspend_load(q); /* goes on with verp_load(), then queue_begin() */
}

void queue_begin(struct queue *q)
{
    set_phase(q, QUEUE_OPEN);
    for (size_t i = 0; i < ARRAY_LEN(q->smtpd); i++) {
        struct smtpd_link *l = &q->smtpd[i];
        if (l->channel != NULL && l->is_paused)
            channel_pause(l->channel, false);
        l->is_paused = false;
    }
    uint64_t now_ms = world_now_ms(q->world);
    world_timer_set(q->world, &q->sweep, now_ms + QUEUE_SWEEP_MS);
    world_timer_set(q->world, &q->counters_timer, now_ms + QUEUE_COUNTERS_MS);
    world_timer_set(q->world, &q->renew, now_ms + QUEUE_RENEW_MS);
    naming_start(q);
    role_ready(q->env);
    queue_wake(q);
    if (q->drain_wanted)
        set_phase(q, QUEUE_DRAINING);
}

static struct schedule_conf schedule_conf(const struct config *c)
{
    return (struct schedule_conf){
        .site_max = c->site_connections_max,
        .local_max = QUEUE_LOCAL_MAX,
        .active_max = QUEUE_ACTIVE_MAX,
        .retry_first_s = c->retry_first_s,
        .retry_max_s = c->retry_max_s,
        .retry_jitter_pct = c->retry_jitter_pct,
    };
}

static void init_lists(struct queue *q)
{
    struct list *lists[] = {&q->puts_waiting, &q->cache,     &q->works,     &q->submit_waiting,
                            &q->feeds,        &q->mx_by_use, &q->mx_asking, &q->sts_asking,
                            &q->sts_open,     &q->marks,     &q->asks,      &q->namings};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_init(lists[i]);
    for (unsigned i = 0; i < ARRAY_LEN(q->smtpd); i++) {
        struct smtpd_link *l = &q->smtpd[i];
        l->q = q;
        l->index = i;
        list_init(&l->early);
        list_init(&l->intakes);
    }
    for (unsigned i = 0; i < ARRAY_LEN(q->relays); i++)
        worker_init(&q->relays[i], q, ROLE_RELAY, i);
    worker_init(&q->local, q, ROLE_LOCAL, 0);
}

static bool init(struct queue *q)
{
    struct schedule_conf sc = schedule_conf(q->config);
    struct idmap *maps[] = {&q->fresh, &q->fresh_bodies, &q->jobs, &q->mx, &q->mx_tokens};
    init_lists(q);
    chunk_pool_init(&q->pool, QUEUE_CHUNK, QUEUE_CHUNKS_MAX);
    q->seed = queue_random(q);
    bool ok = schedule_init(&q->schedule, &sc) && callout_init(q) && suppress_init(q);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        ok = idmap_init(maps[i]) && ok;
    q->due.fire = on_due;
    q->retry.fire = on_retry;
    q->sweep.fire = on_sweep;
    q->counters_timer.fire = on_counters;
    q->renew.fire = on_renew;
    q->deadline.fire = on_deadline;
    q->sts_timer.fire = mx_on_sts_timer;
    q->turn.run = on_turn;
    world_turn_end(q->world, &q->turn);
    return ok;
}

static bool open_store(struct queue *q)
{
    enum err err = q->env->root == NULL ? ERR_INVALID : world_disk(q->world, q->env->root, &q->disk);
    if (err != ERR_OK) {
        queue_fail(q, "the spool folder can't be used", err);
        return false;
    }
    struct store_conf conf = {.segment_size = STORE_SEGMENT_SIZE, .body_segment_max = STORE_BODY_SEGMENT_MAX};
    struct store_user user = {.on_live = on_live, .on_open = on_open, .arg = q};
    q->store = store_open(q->world, q->disk, &conf, &user);
    if (q->store == NULL)
        queue_fail(q, "the spool can't be opened", ERR_NOMEM);
    return q->store != NULL;
}

static void set_peer(void *self, enum role who, unsigned index, struct channel *c);
static void del(void *self);

static void *create(struct role_env *env)
{
    struct queue *q = mem_must_new(struct queue);
    q->env = env;
    q->world = env->world;
    q->config = env->config;
    if (!init(q) || !open_store(q)) {
        del(q);
        return NULL;
    }
    for (unsigned r = 0; r < ROLE_N; r++) {
        for (unsigned i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (env->peers[r][i] != NULL)
                set_peer(q, (enum role)r, i, env->peers[r][i]);
        }
    }
    return q;
}

/* ---- lookup and admin ---- */

static void on_lookup_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                              struct handle *given)
{
    struct queue *q = arg;
    struct ipc_mx_answer m;
    UNUSED(given);
    if (!role_message_allowed(q->env, ROLE_LOOKUP, c, type)) {
        q->lookup = NULL;
    } else if (!ipc_decode_mx_answer(payload, &m)) {
        q->lookup = NULL;
        role_message_malformed(q->env, ROLE_LOOKUP, c, type);
    } else {
        mx_on_answer(q, &m);
    }
}

static void on_lookup_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_lookup_closed(void *arg, struct channel *c)
{
    struct queue *q = arg;
    q->lookup = NULL;
    role_peer_closed(q->env, c);
}

static void agent_gone(struct queue *q)
{
    q->agent = NULL; /* what it was asked is asked of the next one */
    queue_agent_gone(q);
}

static bool from_agent(struct queue *q, uint16_t type, struct str payload)
{
    struct ipc_sts_answer m;
    if (type != IPC_STS_ANSWER)
        return queue_agent_message(q, type, payload);
    if (!ipc_decode_sts_answer(payload, &m))
        return false;
    mx_on_sts(q, &m);
    return true;
}

static void on_agent_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct queue *q = arg;
    UNUSED(given);
    if (!role_message_allowed(q->env, ROLE_AGENT, c, type)) {
        agent_gone(q);
    } else if (!from_agent(q, type, payload)) {
        agent_gone(q);
        role_message_malformed(q->env, ROLE_AGENT, c, type);
    }
}

static void on_agent_room(void *arg, struct channel *c)
{
    UNUSED(c);
    mx_on_agent_room(arg);
}

static void on_agent_closed(void *arg, struct channel *c)
{
    struct queue *q = arg;
    agent_gone(q);
    role_peer_closed(q->env, c);
}

static void on_admin_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct queue *q = arg;
    struct ipc_ctl_ask m;
    UNUSED(given);
    if (!role_message_allowed(q->env, ROLE_ADMIN, c, type)) {
        q->admin = NULL;
        ctl_drop_all(q);
    } else if (!ipc_decode_ctl_ask(payload, &m)) {
        q->admin = NULL;
        ctl_drop_all(q);
        role_message_malformed(q->env, ROLE_ADMIN, c, type);
    } else {
        ctl_on_ask(q, &m);
    }
}

static void on_admin_room(void *arg, struct channel *c)
{
    UNUSED(c);
    queue_wake(arg);
}

static void on_admin_closed(void *arg, struct channel *c)
{
    struct queue *q = arg;
    q->admin = NULL;
    ctl_drop_all(q);
    role_peer_closed(q->env, c);
}

static const struct channel_user lookup_user = {on_lookup_message, on_lookup_room, on_lookup_closed};
static const struct channel_user agent_user = {on_agent_message, on_agent_room, on_agent_closed};
static const struct channel_user admin_user = {on_admin_message, on_admin_room, on_admin_closed};

static void set_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct queue *q = self;
    switch (who) {
    case ROLE_SMTPD:
        queue_smtpd_set(q, index, c);
        break;
    case ROLE_RELAY:
        worker_set(&q->relays[index], c);
        break;
    case ROLE_LOCAL:
        if (index == 0)
            worker_set(&q->local, c);
        break;
    case ROLE_LOOKUP:
        if (index == 0) {
            q->lookup = c;
            channel_set_user(c, &lookup_user, q);
            mx_on_lookup(q);
        }
        break;
    case ROLE_ADMIN:
        if (index == 0) {
            q->admin = c;
            q->counters_told = 0; /* it knows nothing yet */
            channel_set_user(c, &admin_user, q);
        }
        break;
    case ROLE_SUPER:
    case ROLE_QUEUE:
    case ROLE_DELIVER:
    case ROLE_PIPE:
    case ROLE_AGENT:
        if (index == 0) {
            q->agent = c;
            channel_set_user(c, &agent_user, q);
            queue_agent_set(q, c);
            mx_on_agent(q);
        }
        break;
    case ROLE_KEYS:
    case ROLE_ACME:
    case ROLE_HTTP01:
    case ROLE_HTTPS:
    case ROLE_AUTH:
    case ROLE_PAM:
    case ROLE_TABLES:
        break;
    }
}

/* ---- changes and the end ---- */

static void reload(void *self, const struct config *old)
{
    struct queue *q = self;
    q->config = q->env->config;
    struct schedule_conf sc = schedule_conf(q->config);
    schedule_reconfigure(&q->schedule, &sc, world_now_ms(q->world));
    callout_forget(q);
    mx_reload(q, config_follows_sts(old));
    verp_reload(q);
    role_config_release(q->env, old); /* nothing borrows from it: see queue.h */
    queue_wake(q);
}

static void drain(void *self, uint64_t deadline_ms)
{
    struct queue *q = self;
    q->deadline_ms = deadline_ms;
    world_timer_set(q->world, &q->deadline, deadline_ms);
    if (q->phase == QUEUE_OPENING)
        q->drain_wanted = true; /* the store can't be closed before it is open */
    else if (q->phase == QUEUE_OPEN)
        set_phase(q, QUEUE_DRAINING);
    queue_wake(q);
}

/* Maybe in the middle of everything: the simulator lets a role die. */
static void del(void *self)
{
    struct queue *q = self;
    struct timer *timers[] = {&q->due,   &q->retry,    &q->sweep,    &q->counters_timer,
                              &q->renew, &q->deadline, &q->sts_timer};
    for (size_t i = 0; i < ARRAY_LEN(timers); i++)
        world_timer_cancel(q->world, timers[i]);
    list_remove(&q->turn.link);
    queue_smtpd_fini(q);
    work_free_all(q);
    feed_free_all(q);
    mark_free_all(q);
    suspend_fini(q);
    verp_fini(q);
    ctl_free_all(q);
    naming_free_all(q);
    callout_fini(q);
    suppress_fini(q);
    mx_clear(q);
    cache_clear(q);
    if (q->store != NULL)
        store_abandon(q->store);
    if (q->disk != NULL)
        disk_close(q->disk);
    struct idmap *maps[] = {&q->fresh, &q->fresh_bodies, &q->jobs, &q->mx, &q->mx_tokens};
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        idmap_fini(maps[i]);
    schedule_fini(&q->schedule);
    chunk_pool_fini(&q->pool);
    mem_free(q);
}

const struct role_ops queue_role = {
    .create = create, .peer = set_peer, .reload = reload, .drain = drain, .del = del};
