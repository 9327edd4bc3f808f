/* service/queue/queue_run.c: one attempt at one entry.
 *
 *   LOADING --> ROUTING --> QUEUED --> READING --> RUNNING --> (BOUNCING) --> (SUBMITTING) --> RECORDING -->
 * ENDED |                                  ^                                          |
 *                  +-- split, expired, nowhere: to the record                next portion -------+
 *
 * The entry is claimed first: results and drop carry the claim's epoch, so that a store shared by several
 * nodes takes them from one. Up to QUEUE_RCPTS_PER_ATTEMPT_MAX recipients are a portion: one job for a relay,
 * one job a recipient for Maildirs. A portion is recorded before the next begins. Who stands where: ROUTING
 * in mx.works, QUEUED in worker.waiting, SUBMITTING in q->submit_waiting (all by w->wait).
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"

enum { WORK_MEMORY_MAX = 16 * 1024 * 1024, WORK_PHASES = WORK_ENDED + 1 };

void work_set_phase(struct work *w, enum work_phase to)
{
    static const bool allowed[WORK_PHASES][WORK_PHASES] = {
        [WORK_LOADING] = {[WORK_ROUTING] = true, [WORK_ENDED] = true},
        [WORK_ROUTING] = {[WORK_ROUTING] = true,
                          [WORK_QUEUED] = true,
                          [WORK_BOUNCING] = true,
                          [WORK_SUBMITTING] = true,
                          [WORK_RECORDING] = true,
                          [WORK_ENDED] = true},
        [WORK_QUEUED] = {[WORK_READING] = true,
                         [WORK_RUNNING] = true,
                         [WORK_ROUTING] = true,
                         [WORK_BOUNCING] = true,
                         [WORK_SUBMITTING] = true,
                         [WORK_RECORDING] = true,
                         [WORK_ENDED] = true},
        [WORK_READING] = {[WORK_QUEUED] = true,
                          [WORK_RUNNING] = true,
                          [WORK_BOUNCING] = true,
                          [WORK_SUBMITTING] = true,
                          [WORK_RECORDING] = true,
                          [WORK_ENDED] = true},
        [WORK_RUNNING] =
            {[WORK_BOUNCING] = true, [WORK_SUBMITTING] = true, [WORK_RECORDING] = true, [WORK_ENDED] = true},
        [WORK_BOUNCING] = {[WORK_SUBMITTING] = true, [WORK_RECORDING] = true, [WORK_ENDED] = true},
        [WORK_SUBMITTING] = {[WORK_RECORDING] = true, [WORK_ENDED] = true},
        [WORK_RECORDING] = {[WORK_ROUTING] = true, [WORK_QUEUED] = true, [WORK_ENDED] = true},
    };
    must(allowed[w->phase][to]);
    w->phase = to;
}

/* ---- begin and end ---- */

static void on_claimed(struct store_claim *c, enum err err);
static void on_loaded(struct store_read *r, enum err err);

void work_start(struct queue *q, struct schedule_entry *e)
{
    struct work *w = mem_new(struct work);
    if (w == NULL) {
        queue_trouble(q, ERR_NOMEM, "no memory for an attempt");
        if (e->state == ENTRY_ACTIVE)
            schedule_finish(&q->schedule, e, SCHEDULE_NEUTRAL, STR_NIL, 0, world_now_ms(q->world));
        queue_place(q, e, STR("unrouted"), true, world_now_ms(q->world) + QUEUE_LOST_MS);
        return;
    }
    w->q = q;
    w->entry = e;
    w->id = e->id;
    e->flags &= (uint8_t)~ENTRY_IS_SUSPENDED;
    w->started_ms = world_now_ms(q->world);
    e->work = w;
    list_init(&w->wait);
    list_push_back(&q->works, &w->link);
    q->n_works++;
    arena_init(&w->arena, &q->pool, WORK_MEMORY_MAX);
    w->claim.done = on_claimed;
    w->is_claiming = true;
    queue_store_busy(q);
    store_claim(q->store, w->id, QUEUE_LEASE_MS, &w->claim);
    w->fresh = cache_find(q, w->id);
    if (w->fresh != NULL)
        return;
    w->read.done = on_loaded;
    w->is_reading = true;
    queue_store_busy(q);
    store_read_envelope(q->store, w->id, &w->read);
}

/* Frees w once no call of the store is under way for it. */
static void maybe_free(struct work *w)
{
    if (w->phase != WORK_ENDED || w->is_claiming || w->is_reading || w->body_reading || w->is_renewing)
        return;
    if (w->has_read)
        store_read_release(&w->read);
    if (w->has_body)
        store_read_release(&w->body_read);
    if (w->fresh != NULL)
        fresh_unref(w->fresh);
    if (w->body_of != NULL)
        fresh_unref(w->body_of);
    arena_reset(&w->arena);
    mem_free(w);
}

struct schedule_entry *work_end(struct work *w)
{
    struct queue *q = w->q;
    struct schedule_entry *e = w->entry;
    must(w->n_out == 0 && list_is_empty(&w->wait));
    if (e->state == ENTRY_ACTIVE)
        schedule_finish(&q->schedule, e, w->outcome, w->outcome_why, queue_random(q), world_now_ms(q->world));
    e->work = NULL;
    w->entry = NULL;
    list_remove(&w->link);
    q->n_works--;
    work_set_phase(w, WORK_ENDED);
    maybe_free(w);
    return e;
}

void work_postpone(struct work *w, uint64_t wait_ms)
{
    struct queue *q = w->q;
    entry_settle(q, work_end(w), world_now_ms(q->world) + wait_ms);
}

/* The store does not know it, or another node has it: not ours to touch. */
static void forget(struct work *w, enum err err)
{
    struct queue *q = w->q;
    log_warn(q->world->log, "queue.entry-not-ours", LID("id", w->id), LERR(err));
    schedule_remove(&q->schedule, work_end(w));
}

/* ---- loading ---- */

static bool decode(struct work *w)
{
    struct str octets = w->fresh != NULL ? fresh_record(w->fresh) : w->read.bytes;
    w->body_id = w->fresh != NULL ? w->fresh->body_id : w->read.body_id;
    if (!envelope_decode(octets, &w->envelope))
        return false;
    if (w->fresh == NULL)
        w->envelope.body_size = w->read.body_size;
    uint32_t n = w->envelope.n_rcpts;
    struct envelope_rcpt *rcpts = arena_alloc_array(&w->arena, n, sizeof *rcpts);
    w->marks = arena_alloc_array(&w->arena, n, 1);
    w->portion = arena_alloc_array(
        &w->arena, n < QUEUE_RCPTS_PER_ATTEMPT_MAX ? n : QUEUE_RCPTS_PER_ATTEMPT_MAX, sizeof *w->portion);
    if (rcpts == NULL || w->marks == NULL || w->portion == NULL)
        return false;
    envelope_state_init(&w->state, &w->envelope, rcpts);
    for (size_t i = 0; w->fresh == NULL && i < w->read.n_results; i++) {
        if (!envelope_apply(w->read.results[i], &w->state))
            log_error(w->q->world->log, "queue.delta-unreadable", LID("id", w->id));
    }
    w->state.n_attempts = w->entry->n_attempts;
    return true;
}

static void maybe_loaded(struct work *w)
{
    if (w->phase == WORK_ENDED) {
        maybe_free(w);
        return;
    }
    if (w->phase != WORK_LOADING || w->is_claiming || w->is_reading)
        return;
    if (!decode(w)) {
        /* What is damaged stays for an operator to see and is tried once in a while; a fault that passes, or
         * want of memory, soon. */
        const struct config *c = w->q->config;
        bool passes = w->read_err == ERR_IO || w->read_err == ERR_NOMEM;
        queue_trouble(w->q, passes ? w->read_err : ERR_CORRUPT, "an envelope could not be read");
        work_postpone(w, (uint64_t)(passes ? c->retry_first_s : c->retry_max_s) * 1000);
        return;
    }
    work_set_phase(w, WORK_ROUTING);
    work_prepare(w);
}

static void on_claimed(struct store_claim *c, enum err err)
{
    struct work *w = container_of(c, struct work, claim);
    bool was_renewal = w->is_renewing;
    w->is_claiming = w->is_renewing = false;
    queue_store_idle(w->q);
    if (err == ERR_OK) {
        w->epoch = c->epoch;
        w->is_claimed = true;
    } else if (w->phase == WORK_LOADING) {
        forget(w, err);
        return;
    } else if (was_renewal && w->phase != WORK_ENDED) {
        log_warn(w->q->world->log, "queue.lease-lost", LID("id", w->id), LERR(err));
    }
    maybe_loaded(w);
}

void work_renew(struct work *w)
{
    if (!w->is_claimed || w->is_claiming)
        return;
    w->is_claiming = w->is_renewing = true;
    w->claim.epoch = w->epoch;
    queue_store_busy(w->q);
    store_renew(w->q->store, w->id, w->epoch, QUEUE_LEASE_MS, &w->claim);
}

static void on_loaded(struct store_read *r, enum err err)
{
    struct work *w = container_of(r, struct work, read);
    w->is_reading = false;
    w->has_read = true;
    queue_store_idle(w->q);
    w->read_err = err;
    if (err != ERR_OK)
        r->bytes = STR_NIL; /* decode() says so */
    maybe_loaded(w);
}

/* ---- routing ---- */

static bool keep_hops(struct work *w, struct str hops)
{
    return arena_str(&w->arena, hops, &w->hops);
}

static bool keep_hop(struct work *w, struct str name, const struct netaddr *addr, uint16_t port)
{
    char mem[SMTP_DOMAIN_MAX + NETADDR_PATH_MAX + 64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct hop h = {.port = port, .name = name};
    if (name.n == 0)
        h.addr = *addr;
    return list_put_hop(&b, &h) && keep_hops(w, buf_str(&b));
}

/* The entry stands at another site than it belongs to (new configuration, new MX set, or never routed): moves
 * it and ends the attempt; its turn comes there. */
static bool moves(struct work *w, struct str site, bool is_local)
{
    struct queue *q = w->q;
    if (w->entry->site != NULL && w->entry->site->by_hash.id == schedule_site_hash(site)) {
        (void)schedule_site(&q->schedule, site, is_local); /* now its name is known */
        return false;
    }
    TELL(q, .kind = EVENT_ROUTED, .id = w->id, .host = site);
    char mem[ENVELOPE_SITE_MAX + 1];
    struct buf name;
    buf_init_fixed(&name, mem, sizeof mem);
    buf_put(&name, str_slice(site, 0, ENVELOPE_SITE_MAX));
    struct schedule_entry *e = work_end(w);
    queue_place(q, e, buf_str(&name), is_local, world_now_ms(q->world));
    return true;
}

/* By the local role, a job for each recipient. */
static bool is_local(const struct work *w)
{
    return w->route == ROUTE_MAILDIR || w->route == ROUTE_PIPE;
}

static bool suspends(struct work *w)
{
    struct queue *q = w->q;
    if (!suspend_matches(q, w))
        return false;
    w->entry->flags |= ENTRY_IS_SUSPENDED;
    work_postpone(w, QUEUE_SUSPEND_MS + world_random_below(q->world, QUEUE_SUSPEND_MS));
    return true;
}

static void run(struct work *w)
{
    struct queue *q = w->q;
    if (w->entry->state !=
        ENTRY_ACTIVE) { /* it was to be split, and the configuration changed: take its turn */
        work_postpone(w, 0);
        return;
    }
    if (suspends(w))
        return;
    w->worker =
        is_local(w)
            ? &q->local
            : &q->relays[schedule_site_hash(w->site) % (q->config->n_relay < 1 ? 1 : q->config->n_relay)];
    q->count.attempts++;
    TELL(q, .kind = EVENT_ATTEMPT, .id = w->id, .host = w->site, .number = w->state.n_attempts + 1u);
    work_next_portion(w);
}

static void prepare_mx(struct work *w, const struct route *r)
{
    char mem[ENVELOPE_SITE_MAX + 1], names_mem[2 * SMTP_DOMAIN_MAX + 16];
    struct buf text, names;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_init_fixed(&names, names_mem, sizeof names_mem);
    const struct mx *mx = mx_get(w->q, r->domain, NULL, w);
    if (mx == NULL)
        return;
    struct str site = route_mx_site(mx, r, &text);
    route_mx_names(r, &names);
    w->trusts_hops = mx->found != DANE_MX_INSECURE;
    w->sts = mx->sts;
    w->sts_hops = mx->sts_hops;
    w->mx = mx->found;
    if (moves(w, site, false))
        return;
    if (mx->verdict != RESULT_OK) {
        w->outcome = SCHEDULE_NEUTRAL;
        result_all(w, mx->verdict, mx->esc, mx->why);
    } else if (!keep_hops(w, mx->hops) || !arena_str(&w->arena, site, &w->site) ||
               !arena_str(&w->arena, buf_str(&names), &w->names) ||
               !arena_str(&w->arena, mx->domain, &w->next_hop) ||
               !arena_str(&w->arena, mx->canonical, &w->canonical)) {
        work_postpone(w, QUEUE_LOST_MS);
    } else {
        run(w);
    }
}

/* Taken by the sweep from behind a blocked site, to see whether its sender is to be told now. */
static bool is_only_late(const struct work *w)
{
    return w->entry->state == ENTRY_ASIDE && w->entry->site != NULL && report_is_late(w);
}

static void give_up_expired(struct work *w)
{
    const char *why = w->entry->site == NULL ? NULL : w->entry->site->why;
    struct str text = STR_NIL;
    for (uint32_t i = 0; i < w->state.n_rcpts && text.n == 0; i++) {
        if (envelope_is_open(&w->state.rcpts[i]))
            text = w->state.rcpts[i].text;
    }
    if (text.n == 0)
        text = why != NULL ? str_from_c(why) : STR("the destination could not be reached");
    result_all(w, RESULT_TEMPORARY, ESC(4, 4, 1), text);
}

void work_prepare(struct work *w)
{
    struct queue *q = w->q;
    w->n_portion = w->next_portion = 0;
    if (!work_suppress(w) || !work_expand(w) || !work_route(w))
        return;
    if ((w->entry->flags & ENTRY_IS_EXPIRED) != 0 && suspends(w))
        return;
    if ((w->entry->flags & ENTRY_IS_EXPIRED) != 0 || report_is_overdue(w) || is_only_late(w)) {
        give_up_expired(w);
        return;
    }
    char mem[ROUTE_TEXT] __attribute__((uninitialized));
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    uint32_t first = 0;
    while (!work_is_due(w, first))
        first++;
    struct routed r;
    route_rcpt(q, &w->envelope, &w->state.rcpts[first].rcpt, &text, &r);
    const struct next_hop *via = &r.route.via;
    const struct deliver *d = r.route.deliver;
    bool ok = true;
    w->route = r.route.kind;
    w->is_lmtp = r.route.kind == ROUTE_LMTP || (r.route.kind == ROUTE_HOST && via->lmtp);
    w->is_smtps = r.route.kind == ROUTE_HOST && via->is_smtps;
    w->tls = w->is_lmtp && r.route.kind == ROUTE_LMTP ? HOP_TLS_NONE : r.route.tls;
    w->trusts_hops = true; /* the configuration names the host */
    w->names = w->next_hop = w->canonical = STR_NIL;
    w->sts = MTA_STS_NONE;
    w->sts_hops = 0;
    w->mx = DANE_MX_NONE;
    if (!arena_str(&w->arena, r.route.source != NULL ? r.route.source->name : STR_NIL, &w->source) ||
        !arena_str(&w->arena, r.route.certificate, &w->certificate) ||
        !arena_str(&w->arena, r.route.auth.user, &w->auth.user) ||
        !arena_str(&w->arena, r.route.auth.secret, &w->auth.secret)) {
        work_postpone(w, QUEUE_LOST_MS);
        return;
    }
    if (r.route.kind == ROUTE_MX) {
        prepare_mx(w, &r.route);
        return;
    }
    if (moves(w, r.site, route_is_local(&r.route)))
        return;
    if (r.route.kind == ROUTE_NOWHERE) {
        result_all(w, RESULT_PERMANENT, ESC(5, 1, 1), STR("there is no such user here any more"));
        return;
    }
    if (r.route.kind == ROUTE_LMTP)
        ok = keep_hop(w, d->lmtp_host, &d->lmtp, d->lmtp.port);
    else if (r.route.kind == ROUTE_HOST)
        ok = keep_hop(w, via->host, &via->addr, via->addr.port);
    if (ok)
        run(w);
    else
        work_postpone(w, QUEUE_LOST_MS);
}

/* ---- jobs ---- */

static void enqueue(struct work *w);

void work_next_portion(struct work *w)
{
    w->n_portion = w->next_job = 0;
    uint32_t i = w->next_portion;
    for (; i < w->state.n_rcpts && w->n_portion < QUEUE_RCPTS_PER_ATTEMPT_MAX; i++) {
        if (envelope_is_open(&w->state.rcpts[i]) && (w->marks[i] & MARK_TRIED) == 0)
            w->portion[w->n_portion++] = i;
    }
    w->next_portion = i;
    while (i < w->state.n_rcpts && (!envelope_is_open(&w->state.rcpts[i]) || (w->marks[i] & MARK_TRIED) != 0))
        i++;
    w->is_last = i == w->state.n_rcpts;
    enqueue(w);
}

static bool has_place(const struct worker *k)
{
    return k->channel != NULL && !k->is_full && channel_backlog(k->channel) < IPC_QUEUE_MAX / 2 &&
           (k->role != ROLE_LOCAL || k->n_jobs < QUEUE_LOCAL_JOBS_MAX);
}

static void send_jobs(struct work *w);

/* To the worker when there is a place, else behind the others that wait for one. */
static void enqueue(struct work *w)
{
    if (w->phase != WORK_QUEUED)
        work_set_phase(w, WORK_QUEUED);
    if (has_place(w->worker) && list_is_empty(&w->worker->waiting))
        send_jobs(w);
    else
        list_push_back(&w->worker->waiting, &w->wait);
}

static bool is_inline(const struct work *w)
{
    size_t n = 0;
    for (uint32_t i = 0; !is_local(w) && i < w->n_portion; i++) {
        const struct rcpt *r = &w->state.rcpts[w->portion[i]].rcpt;
        n += r->address.n + r->orcpt.n + RCPT_RECORD_FIXED;
    }
    return w->envelope.body_size <= IPC_BODY_INLINE_MAX && n <= QUEUE_JOB_RCPTS_OCTETS;
}

static void on_body(struct store_read *r, enum err err)
{
    struct work *w = container_of(r, struct work, body_read);
    w->body_reading = false;
    w->has_body = true;
    queue_store_idle(w->q);
    if (w->phase == WORK_ENDED) {
        maybe_free(w);
        return;
    }
    if (err == ERR_NOMEM) {
        queue_trouble(w->q, err, "no memory for a body");
        work_postpone(w, QUEUE_LOST_MS);
        return;
    }
    if (err != ERR_OK || r->bytes.n != w->envelope.body_size) {
        /* An attempt like any other that failed: seen in the queue, tried again by the schedule, and in the
         * end the sender is told. Silence would be the one wrong answer. */
        queue_trouble(w->q, err == ERR_OK ? ERR_CORRUPT : err, "a body could not be read");
        w->outcome = SCHEDULE_NEUTRAL;
        result_all(w, RESULT_TEMPORARY, ESC(4, 3, 0), STR("the message can't be read from the queue's disk"));
        return;
    }
    enqueue(w);
}

/* The octets of an inline body, or false: they are being read. */
static bool get_body(struct work *w, struct str *out)
{
    *out = STR_NIL;
    if (w->envelope.body_size == 0)
        return true;
    if (w->body_of == NULL && w->fresh != NULL && w->fresh->n_body > 0) {
        w->body_of = w->fresh;
        w->fresh->n_refs++;
    }
    if (w->body_of == NULL && !w->has_body) /* of the entry this one was split from */
        w->body_of = cache_find_body(w->q, w->body_id);
    if (w->body_of != NULL) {
        *out = fresh_body(w->body_of);
        return true;
    }
    if (w->has_body) {
        *out = w->body_read.bytes;
        return true;
    }
    work_set_phase(w, WORK_READING);
    w->body_read = (struct store_read){.done = on_body};
    w->body_reading = true;
    queue_store_busy(w->q);
    store_read_body(w->q->store, w->body_id, 0, (size_t)w->envelope.body_size, &w->body_read);
    return false;
}

static struct job *free_job(struct work *w)
{
    for (size_t i = 0; i < ARRAY_LEN(w->jobs); i++) {
        if (w->jobs[i].n == 0)
            return &w->jobs[i];
    }
    return NULL;
}

static bool put_rcpts(struct work *w, uint32_t first, uint32_t n, struct buf *out)
{
    char mem[ROUTE_TEXT] __attribute__((uninitialized));
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    for (uint32_t i = first; i < first + n; i++) {
        struct routed r;
        route_rcpt(w->q, &w->envelope, &w->state.rcpts[w->portion[i]].rcpt, &text, &r);
        struct rcpt one = w->state.rcpts[w->portion[i]].rcpt;
        one.address = r.route.rcpt;
        one.shown = STR_NIL; /* for reports, which are ours: a hundred of them might not fit the message */
        rcpt_put(&one, out);
    }
    return !out->failed;
}

static enum err send_relay(struct work *w, struct job *j, struct str body, bool piped, struct handle *pipe)
{
    struct buf rcpts;
    size_t max = (size_t)j->n * RCPT_RECORD_MAX;
    char *mem = arena_alloc(&w->arena, max);
    if (mem == NULL)
        return ERR_NOMEM;
    buf_init_fixed(&rcpts, mem, max);
    if (!put_rcpts(w, j->first, j->n, &rcpts))
        return ERR_TOO_BIG;
    struct ipc_relay_job m = {
        .token = w->q->token + 1,
        .id = w->id,
        .flags = w->envelope.flags,
        .is_lmtp = w->is_lmtp,
        .site = w->site,
        .source = w->source,
        .hosts = w->hops,
        .sender = w->envelope.sender,
        .params = w->envelope.params,
        .rcpts = buf_str(&rcpts),
        .tls = (uint8_t)w->tls,
        .is_smtps = w->is_smtps,
        .trusts_hops = w->trusts_hops,
        .names = w->names,
        .mx = (uint8_t)w->mx,
        .next_hop = w->next_hop,
        .canonical = w->canonical,
        .sts = (uint8_t)w->sts,
        .sts_hops = w->sts_hops,
        .user = w->auth.user,
        .secret = w->auth.secret,
        .certificate = w->certificate,
        .size = w->envelope.body_size,
        .is_piped = piped,
        .body = body,
    };
    return ipc_send_relay_job(w->worker->channel, &m, pipe);
}

static enum err send_local(struct work *w, struct job *j, struct str body, bool piped, struct handle *pipe)
{
    char text_mem[ROUTE_TEXT] __attribute__((uninitialized)), path_mem[4096] __attribute__((uninitialized));
    char rcpt_mem[RCPT_RECORD_MAX];
    struct buf text, path, rcpts;
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    buf_init_fixed(&path, path_mem, sizeof path_mem);
    buf_init_fixed(&rcpts, rcpt_mem, sizeof rcpt_mem);
    struct routed r;
    struct rcpt one = w->state.rcpts[w->portion[j->first]].rcpt;
    route_rcpt(w->q, &w->envelope, &one, &text, &r);
    if (r.route.kind != w->route)
        return ERR_STALE;
    one.address = r.route.rcpt;
    bool is_pipe = r.route.kind == ROUTE_PIPE; /* local finds the program by address and target */
    bool forwards =
        !is_pipe && r.route.deliver->forward && (one.flags & RCPT_FORWARD_MASK) != RCPT_FORWARD_MASK;
    if (is_pipe ? !rcpt_put(&one, &rcpts)
                : !policy_maildir(r.route.deliver, r.route.user, r.route.domain, r.route.home, &path) ||
                      !rcpt_put(&one, &rcpts))
        return ERR_INVALID;
    struct ipc_local_job m = {
        .token = w->q->token + 1,
        .id = w->id,
        .flags = w->envelope.flags,
        .maildir = buf_str(&path),
        .home = forwards ? r.route.home : STR_NIL,
        .user_name = r.route.login,
        .uid = r.route.uid,
        .gid = r.route.gid,
        .sender = w->envelope.sender,
        .rcpts = buf_str(&rcpts),
        .size = w->envelope.body_size,
        .is_piped = piped,
        .body = body,
    };
    return ipc_send_local_job(w->worker->channel, &m, pipe);
}

/* One job for portion[next_job...]. */
static enum err send_one(struct work *w, struct job *j, struct str body, bool piped)
{
    struct queue *q = w->q;
    bool is_local = w->worker->role == ROLE_LOCAL;
    struct handle *pipe = NULL;
    *j = (struct job){.work = w, .first = w->next_job, .n = is_local ? 1 : w->n_portion};
    if (piped) {
        j->feed = feed_start(q, w->body_id, w->envelope.body_size, &pipe);
        if (j->feed == NULL) {
            j->n = 0;
            return ERR_NOMEM;
        }
    }
    enum err err = is_local ? send_local(w, j, body, piped, pipe) : send_relay(w, j, body, piped, pipe);
    if (err != ERR_OK) {
        if (pipe != NULL)
            handle_drop(pipe);
        if (j->feed != NULL)
            feed_stop(j->feed);
        j->n = 0;
        return err;
    }
    idmap_insert(&q->jobs, &j->by_token, ++q->token);
    list_push_back(&w->worker->jobs, &j->link);
    w->worker->n_jobs++;
    w->next_job += j->n;
    w->n_out++;
    return ERR_OK;
}

/* INVALID: no path can be made of the name, and never will. STALE: the configuration changed amid the
 * portion. */
static void refuse_one(struct work *w, enum err err)
{
    uint32_t i = w->portion[w->next_job++];
    struct envelope_rcpt *r = &w->state.rcpts[i];
    struct envelope_rcpt o = {.rcpt = r->rcpt, .at_ms = world_wall_ms(w->q->world)};
    if (err == ERR_INVALID) {
        o.state = ENVELOPE_FAILED;
        o.esc = ESC(5, 1, 3);
        o.text = STR("no mailbox can have that name");
    } else {
        o.state = ENVELOPE_DEFERRED;
        o.esc = ESC(4, 3, 5);
        o.text = STR("the configuration changed during the attempt");
    }
    *r = o;
    w->marks[i] |= MARK_TRIED | MARK_NEW;
}

static void send_jobs(struct work *w)
{
    bool begins = w->next_job == 0 && w->n_out == 0;
    if (begins && w->config_generation != w->q->config->generation) {
        work_set_phase(w, WORK_ROUTING);
        work_prepare(w);
        return;
    }
    bool piped = !is_inline(w);
    struct str body = STR_NIL;
    if (!piped && !get_body(w, &body))
        return;
    unsigned at_a_time = piped ? 1 : QUEUE_WORK_JOBS_MAX;
    while (w->next_job < w->n_portion && w->n_out < at_a_time && has_place(w->worker)) {
        struct job *j = free_job(w);
        enum err err = send_one(w, j, body, piped);
        if (err == ERR_OK)
            continue;
        if (err == ERR_INVALID || err == ERR_STALE) {
            refuse_one(w, err);
            continue;
        }
        if (err == ERR_AGAIN || err == ERR_CLOSED) { /* on_room or on_closed follows */
            w->worker->is_full = true;
            break;
        }
        queue_trouble(w->q, err, "an attempt could not be handed out"); /* no pipe, no memory */
        if (w->n_out == 0) {
            w->is_lost = true; /* what was answered so far is recorded, the rest is tried soon */
            w->next_job = w->n_portion;
        }
        break;
    }
    if (w->n_out > 0 || w->next_job == w->n_portion) {
        if (w->phase != WORK_RUNNING)
            work_set_phase(w, WORK_RUNNING);
        if (w->n_out == 0) /* nothing to hand out, or nothing could be */
            work_record(w);
    } else {
        list_push_front(&w->worker->waiting, &w->wait);
    }
}

void work_more_jobs(struct work *w)
{
    if (w->next_job < w->n_portion && w->n_out < QUEUE_WORK_JOBS_MAX)
        send_jobs(w);
    else if (w->n_out == 0)
        work_record(w);
}

void job_forget(struct job *j)
{
    struct work *w = j->work;
    (void)idmap_remove(&w->q->jobs, j->by_token.id);
    list_remove(&j->link);
    w->worker->n_jobs--;
    if (j->feed != NULL)
        feed_stop(j->feed);
    j->feed = NULL;
    j->n = 0;
    w->n_out--;
}

/* ---- workers ---- */

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct worker *k = arg;
    struct role_env *env = k->q->env;
    UNUSED(given);
    bool allowed = role_message_allowed(env, k->role, c, type);
    struct ipc_job_done m;
    bool malformed = !allowed || type != IPC_JOB_DONE || !ipc_decode_job_done(payload, &m);
    if (!malformed && !callout_on_done(k, &m))
        result_on_job_done(k, &m, &malformed);
    if (!malformed)
        return;
    k->channel = NULL;
    if (allowed)
        role_message_malformed(env, k->role, c, type);
    worker_lost(k);
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(c);
    worker_room(arg);
}

static void on_closed(void *arg, struct channel *c)
{
    struct worker *k = arg;
    k->channel = NULL;
    role_peer_closed(k->q->env, c);
    worker_lost(k);
}

static const struct channel_user worker_user = {on_message, on_room, on_closed};

void worker_init(struct worker *k, struct queue *q, enum role role, unsigned index)
{
    *k = (struct worker){.q = q, .role = role, .index = index};
    list_init(&k->jobs);
    list_init(&k->waiting);
}

void worker_set(struct worker *k, struct channel *c)
{
    k->channel = c;
    k->is_full = false;
    channel_set_user(c, &worker_user, k);
    worker_room(k);
}

void worker_room(struct worker *k)
{
    k->is_full = false;
    while (has_place(k) && !list_is_empty(&k->waiting)) {
        struct work *w = list_entry(list_pop_front(&k->waiting), struct work, wait);
        send_jobs(w);
    }
}

/* What is out there is unknown: a recipient may have it twice then, never not at all. */
void worker_lost(struct worker *k)
{
    k->is_full = false;
    callout_worker_lost(k);
    while (!list_is_empty(&k->jobs))
        result_job_lost(list_entry(k->jobs.next, struct job, link));
}

void work_free_all(struct queue *q)
{
    list_each (l, &q->works) {
        struct work *w = list_entry(l, struct work, link);
        list_remove(&w->link);
        if (w->fresh != NULL)
            fresh_unref(w->fresh);
        if (w->body_of != NULL)
            fresh_unref(w->body_of);
        for (size_t i = 0; i < w->n_children; i++)
            fresh_unref(w->children[i]);
        for (unsigned k = 0; k < REPORT_KINDS; k++) {
            if (w->reports[k] != NULL)
                fresh_unref(w->reports[k]);
        }
        arena_reset(&w->arena);
        mem_free(w);
    }
}
