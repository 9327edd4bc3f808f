/* service/queue/queue_result.c: what came of an attempt, and the one unit that records it.
 *
 * A portion's outcomes are one unit of the store: deltas and a new hint, or the drop when the last recipient
 * is settled; with them the report to the sender, when a recipient failed for good. So a crash leaves either
 * all of it or none: then the attempt is made again. Units of results are lazy: they wait up to 50 ms for
 * company. When the store takes no unit at present the work waits in q->submit_waiting, and no new attempt
 * starts meanwhile: an outcome that can't be recorded would be a duplicate after a crash.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "proto/smtp_client.h"
#include "queue/hint.h"
#include "service/queue/queue.h"
#include "service/queue/queue_class.h"

/* ---- results of a job ---- */

static void set_outcome(struct work *w, const struct job_result *r)
{
    bool is_down = w->worker->role == ROLE_RELAY && r->kind == RESULT_TEMPORARY &&
                   smtp_client_stage_is_early((enum smtp_client_stage)r->stage);
    w->outcome = is_down ? SCHEDULE_SITE_DOWN : SCHEDULE_WORKED;
    if (is_down)
        w->outcome_why = r->text;
}

/* What a server says of an address in answer to RCPT, or of each in LMTP (RFC 2033 4.2). */
static void learn(struct work *w, const struct envelope_rcpt *r)
{
    if (w->worker == NULL || w->worker->role != ROLE_RELAY || r->code == 0)
        return;
    bool is_of_one = r->stage == SMTP_AT_RCPT || (w->is_lmtp && r->stage == SMTP_AT_END);
    if (r->state == ENVELOPE_DELIVERED)
        suppress_worked(w->q, r->rcpt.address, w->id);
    else if (r->state == ENVELOPE_FAILED && is_of_one)
        suppress_refused(w->q, r, w->id);
}

static void take_result(struct work *w, uint32_t i, const struct job_result *r)
{
    static const enum envelope_rcpt_state states[] = {[RESULT_OK] = ENVELOPE_DELIVERED,
                                                      [RESULT_TEMPORARY] = ENVELOPE_DEFERRED,
                                                      [RESULT_PERMANENT] = ENVELOPE_FAILED,
                                                      [RESULT_EXPANDED] = ENVELOPE_DEFERRED};
    struct envelope_rcpt *rcpt = &w->state.rcpts[i];
    if (r->kind == RESULT_EXPANDED) {
        expand_take_result(w, i, r);
        return;
    }
    *rcpt = (struct envelope_rcpt){
        .rcpt = rcpt->rcpt,
        .state = states[r->kind],
        .stage = r->stage,
        .code = r->code,
        .esc = r->esc,
        .at_ms = world_wall_ms(w->q->world),
        .host = r->host,
        .text = r->text,
    };
    if (rcpt->at_ms < 0)
        rcpt->at_ms = 0;
    w->marks[i] |= MARK_TRIED | MARK_NEW;
    if ((r->flags & RESULT_TOOK_DSN) != 0)
        w->marks[i] |= MARK_TOOK_DSN;
    learn(w, rcpt);
    if (r->kind != RESULT_OK)
        return;
    w->q->count.delivered++;
    TELL(w->q, .kind = EVENT_DELIVERED, .id = w->id, .rcpt = rcpt->rcpt.address, .host = r->host,
         .text = r->text);
}

/* More than the server takes in one message, as it says itself (452) or said in EHLO (RFC 9422): nothing was
 * learnt of the recipient. */
static bool is_over(const struct job_result *r)
{
    return r->kind == RESULT_TEMPORARY && (r->code == 0 || r->code == 452) && r->esc.class == 4 &&
           r->esc.subject == 5 && r->esc.detail == 3;
}

/* Shall those that are over go out at once? When the server took somebody; and where it said its number in
 * EHLO, also when it answered somebody: then it did not refuse the others. */
struct progress {
    bool takes, answers;
};

static struct progress progress_of(struct str results)
{
    struct reader r = reader_of(results);
    struct job_result one;
    struct progress p = {0};
    while (list_next_result(&r, &one)) {
        p.takes = p.takes || one.kind == RESULT_OK;
        p.answers = p.answers || !is_over(&one);
    }
    return p;
}

static bool goes_on(const struct progress *p, const struct job_result *r)
{
    return is_over(r) && (p->takes || (r->code == 0 && p->answers));
}

static bool count_results(struct str list, uint32_t n)
{
    struct reader r = reader_of(list);
    struct job_result one;
    uint32_t k = 0;
    while (list_next_result(&r, &one))
        k++;
    return !r.failed && k == n;
}

void result_on_job_done(struct worker *k, const struct ipc_job_done *m, bool *out_malformed)
{
    struct idmap_node *n = idmap_find(&k->q->jobs, m->token);
    if (n == NULL)
        return;
    struct job *j = container_of(n, struct job, by_token);
    struct work *w = j->work;
    if (w->worker != k || !count_results(m->results, j->n)) {
        *out_malformed = true;
        return;
    }
    struct str kept;
    if (!arena_str(&w->arena, m->results, &kept)) {
        queue_trouble(k->q, ERR_NOMEM, "no memory for a result");
        result_job_lost(j);
        return;
    }
    struct reader r = reader_of(kept);
    struct job_result one, last = {0};
    /* RFC 5321 4.5.3.1.10: who is over a server's number gets the next message, at once. A server that takes
     * nobody is asked again by the schedule. */
    struct progress p = k->role == ROLE_RELAY ? progress_of(kept) : (struct progress){0};
    for (uint32_t i = j->first; i < j->first + j->n; i++) {
        must(list_next_result(&r, &one));
        if (goes_on(&p, &one)) {
            w->next_portion = w->portion[i] < w->next_portion ? w->portion[i] : w->next_portion;
            w->is_last = false;
            continue;
        }
        take_result(w, w->portion[i], &one);
        last = one;
    }
    set_outcome(w, &last);
    job_forget(j);
    work_more_jobs(w);
    if (k->role == ROLE_LOCAL)
        worker_room(k);
}

void result_job_lost(struct job *j)
{
    struct work *w = j->work;
    w->q->count.lost++;
    w->is_lost = true;
    w->outcome = SCHEDULE_NEUTRAL;
    job_forget(j);
    if (w->n_out > 0)
        return;
    w->next_job = w->n_portion;
    work_record(w);
}

void result_all(struct work *w, enum result_kind kind, struct esc esc, struct str text)
{
    struct job_result r = {.kind = kind, .esc = esc};
    if (!arena_str(&w->arena, text, &r.text))
        r.text = STR("no memory for the reason");
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        if (envelope_is_open(&w->state.rcpts[i]) && (w->marks[i] & MARK_TRIED) == 0)
            take_result(w, i, &r);
    }
    w->is_last = true;
    work_record(w);
}

/* ---- judging ---- */

/* The site is down: recipients that were not tried yet share the fate of those that were. */
static void share_fate(struct work *w)
{
    const struct envelope_rcpt *model = &w->state.rcpts[w->portion[0]];
    struct job_result r = {.kind = RESULT_TEMPORARY,
                           .stage = model->stage,
                           .code = model->code,
                           .esc = model->esc,
                           .host = model->host,
                           .text = model->text};
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        if (envelope_is_open(&w->state.rcpts[i]) && (w->marks[i] & MARK_TRIED) == 0)
            take_result(w, i, &r);
    }
    w->is_last = true;
}

static uint32_t expire_s(const struct work *w)
{
    const struct config *c = w->q->config;
    return w->envelope.kind == ENVELOPE_BOUNCE ? c->bounce_expire_s : c->expire_s;
}

/* Temporary failures of an entry that is too old become final. */
static void expire(struct work *w)
{
    bool is_late = report_is_overdue(w);
    if (!is_late && !schedule_is_expired(w->entry->created_s, world_wall_ms(w->q->world), expire_s(w)))
        return;
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        struct envelope_rcpt *r = &w->state.rcpts[i];
        if ((w->marks[i] & MARK_NEW) != 0 && r->state == ENVELOPE_DEFERRED) {
            r->state = ENVELOPE_FAILED;
            w->marks[i] |= MARK_EXPIRED | (is_late ? MARK_LATE : 0);
        }
    }
}

static void tell_results(struct work *w)
{
    struct queue *q = w->q;
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        const struct envelope_rcpt *r = &w->state.rcpts[i];
        if ((w->marks[i] & MARK_NEW) == 0 || r->state == ENVELOPE_DELIVERED || r->state == ENVELOPE_EXPANDED)
            continue;
        enum event_kind kind = EVENT_DEFERRED;
        if (r->state == ENVELOPE_FAILED)
            kind = (w->marks[i] & MARK_QUIET) != 0     ? EVENT_SUPPRESSED
                   : (w->marks[i] & MARK_EXPIRED) != 0 ? EVENT_EXPIRED
                                                       : EVENT_FAILED;
        if (kind == EVENT_DEFERRED)
            q->count.deferred++;
        else if (kind == EVENT_SUPPRESSED)
            q->count.suppressed++;
        else if (kind == EVENT_EXPIRED)
            q->count.expired++;
        else
            q->count.failed++;
        TELL(q, .kind = kind, .id = w->id, .rcpt = r->rcpt.address, .host = r->host, .text = r->text,
             .class = class_word_of(r), .number = kind == EVENT_DEFERRED ? (uint64_t)w->next_ms : 0);
    }
}

struct tally {
    uint32_t n_new, n_new_failed, n_open;
};

static struct tally count(const struct work *w)
{
    struct tally t = {0};
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        bool is_new = (w->marks[i] & MARK_NEW) != 0;
        t.n_new += is_new;
        t.n_new_failed += is_new && w->state.rcpts[i].state == ENVELOPE_FAILED;
        t.n_open += envelope_is_open(&w->state.rcpts[i]);
    }
    return t;
}

/* ---- the unit ---- */

static bool same_outcome(const struct envelope_rcpt *a, const struct envelope_rcpt *b)
{
    return a->state == b->state && a->stage == b->stage && a->code == b->code &&
           a->esc.class == b->esc.class && a->esc.subject == b->esc.subject &&
           a->esc.detail == b->esc.detail && a->at_ms == b->at_ms && str_eq(a->host, b->host) &&
           str_eq(a->text, b->text);
}

/* A new delta in the work's arena and an op for it. */
static struct str *begin_delta(struct work *w, struct buf *b)
{
    struct str *piece = arena_new(&w->arena, struct str);
    char *mem = arena_alloc(&w->arena, ENVELOPE_DELTA_MAX);
    if (piece == NULL || mem == NULL)
        return NULL;
    buf_init_fixed(b, mem, ENVELOPE_DELTA_MAX);
    delta_begin(b);
    w->ops[w->n_ops++] = (struct store_op){
        .kind = STORE_PUT_RESULT, .id = w->id, .epoch = w->epoch, .pieces = piece, .n_pieces = 1};
    return piece;
}

static bool put_outcomes(struct work *w, struct buf *b, struct str **piece)
{
    uint32_t n = w->state.n_rcpts;
    for (uint32_t i = 0; i < n;) {
        uint32_t last = i;
        if ((w->marks[i] & MARK_NEW) != 0) {
            while (last + 1 < n && (w->marks[last + 1] & MARK_NEW) != 0 &&
                   same_outcome(&w->state.rcpts[i], &w->state.rcpts[last + 1]))
                last++;
            if (!delta_put_rcpts(b, i, last, &w->state.rcpts[i])) {
                **piece = buf_str(b);
                *piece = begin_delta(w, b);
                if (*piece == NULL)
                    return false;
                must(delta_put_rcpts(b, i, last, &w->state.rcpts[i]));
            }
        }
        i = last + 1;
    }
    return true;
}

static bool put_hint(struct work *w, uint32_t n_attempts)
{
    unsigned char *hint = arena_alloc(&w->arena, STORE_HINT);
    if (hint == NULL)
        return false;
    w->entry->flags &= (uint8_t)~ENTRY_HAS_DEADLINE;
    if (report_has_deadline(w))
        w->entry->flags |= ENTRY_HAS_DEADLINE;
    struct envelope_hint h = {
        .flags = entry_hint_flags(w->entry),
        .n_attempts = n_attempts > UINT16_MAX ? UINT16_MAX : (uint16_t)n_attempts,
        .created_s = w->entry->created_s,
        .priority = schedule_priority(w->entry),
        .next_ms = w->next_ms,
        .site_hash = w->entry->site == NULL ? 0 : w->entry->site->by_hash.id,
    };
    hint_encode(&h, hint);
    w->ops[w->n_ops - 1].hint = hint;
    return true;
}

/* Appends the deltas to w->ops. */
static bool put_deltas(struct work *w)
{
    struct buf b;
    struct str *piece = begin_delta(w, &b);
    if (piece == NULL)
        return false;
    if (w->new_reported != 0) /* with the report in one unit: told exactly once */
        must(delta_put_reported(&b, w->new_reported));
    if (!put_outcomes(w, &b, &piece))
        return false;
    if (w->is_last) {
        if (!delta_put_attempt(&b, w->next_ms, w->state.n_attempts, w->site)) {
            *piece = buf_str(&b);
            piece = begin_delta(w, &b);
            if (piece == NULL)
                return false;
            must(delta_put_attempt(&b, w->next_ms, w->state.n_attempts, w->site));
        }
        if (!put_hint(w, w->state.n_attempts))
            return false;
    }
    *piece = buf_str(&b);
    return true;
}

/* Greylisting: the shortest time that a server named, for the first attempts only: one that always says the
 * same would be asked for days at its pace. 0: nobody named one. */
static uint64_t hinted_ms(const struct work *w)
{
    uint32_t s = 0;
    for (uint32_t i = 0; w->state.n_attempts <= QUEUE_HINTS_MAX && i < w->state.n_rcpts; i++) {
        const struct envelope_rcpt *r = &w->state.rcpts[i];
        uint32_t one = (w->marks[i] & MARK_NEW) != 0 && r->state == ENVELOPE_DEFERRED
                           ? report_retry_hint(r->code, r->esc, r->text)
                           : 0;
        if (one > 0 && (s == 0 || one < s))
            s = one;
    }
    return (uint64_t)s * 1000;
}

static void plan_next(struct work *w)
{
    struct queue *q = w->q;
    int64_t wall_ms = world_wall_ms(q->world);
    uint64_t wait_ms = QUEUE_LOST_MS;
    if (w->is_last && !w->is_lost) {
        w->state.n_attempts++;
        wait_ms = schedule_retry_ms(&q->schedule.conf, w->state.n_attempts, queue_random(q));
    }
    uint64_t hint_ms = w->is_lost ? 0 : hinted_ms(w);
    if (hint_ms > 0)
        wait_ms = hint_ms + queue_random(q) % (hint_ms / 10);
    w->next_ms = (wall_ms < 0 ? 0 : wall_ms) + (int64_t)wait_ms;
    int64_t deadline_ms = report_deadline_ms(w);
    if (deadline_ms > 0 && deadline_ms < w->next_ms)
        w->next_ms = deadline_ms;
}

/* The report and its body come first in the unit. */
static bool put_report(struct work *w, const struct fresh *f)
{
    struct str *pieces = arena_alloc_array(&w->arena, 2, sizeof *pieces);
    unsigned char *hint = arena_alloc(&w->arena, STORE_HINT);
    if (pieces == NULL || hint == NULL)
        return false;
    struct envelope_hint h = {.flags = HINT_BOUNCE,
                              .created_s = f->created_s,
                              .priority = f->priority,
                              .next_ms = (int64_t)f->created_s * 1000};
    hint_encode(&h, hint);
    pieces[0] = fresh_body(f);
    pieces[1] = fresh_record(f);
    w->ops[w->n_ops++] =
        (struct store_op){.kind = STORE_PUT_BODY, .id = f->body_id, .pieces = &pieces[0], .n_pieces = 1};
    w->ops[w->n_ops++] = (struct store_op){.kind = STORE_PUT_ENVELOPE,
                                           .id = f->id,
                                           .body_id = f->body_id,
                                           .pieces = &pieces[1],
                                           .n_pieces = 1,
                                           .hint = hint};
    return true;
}

static bool put_reports(struct work *w)
{
    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        if (w->reports[k] != NULL && !put_report(w, w->reports[k]))
            return false;
    }
    return true;
}

/* Makes w->ops; on failure there are none. */
static bool build(struct work *w)
{
    struct tally t = count(w);
    w->n_ops = 0;
    w->ops =
        arena_alloc_array(&w->arena, (size_t)t.n_new + w->n_children + 8 + 2 * REPORT_KINDS, sizeof *w->ops);
    bool ok = w->ops != NULL && put_reports(w) && expand_put_ops(w);
    if (ok && w->is_drop)
        w->ops[w->n_ops++] = (struct store_op){.kind = STORE_DROP, .id = w->id, .epoch = w->epoch};
    else if (ok)
        ok = put_deltas(w);
    if (!ok)
        w->n_ops = 0;
    return ok;
}

/* The delivery is over: its place at the site is free while the outcome is being recorded. */
static void free_place(struct work *w)
{
    struct queue *q = w->q;
    if (w->entry->state != ENTRY_ACTIVE)
        return;
    schedule_finish(&q->schedule, w->entry, w->outcome, w->outcome_why, queue_random(q),
                    world_now_ms(q->world));
    w->entry->work = w;
}

void work_record(struct work *w)
{
    expand_make_children(w);
    if (w->is_lost)
        w->is_last = true;
    else if (w->outcome == SCHEDULE_SITE_DOWN && !w->is_last)
        share_fate(w);
    plan_next(w);
    expire(w);
    struct tally t = count(w);
    if (w->is_lost && t.n_new == 0) {
        work_postpone(w, QUEUE_LOST_MS);
        return;
    }
    w->is_drop = t.n_open == 0;
    w->is_lazy = w->is_last;
    if (w->is_last)
        free_place(w);
    w->n_ops = 0;
    tell_results(w);
    work_bounce(w);
}

/* ---- recording ---- */

static void free_made(struct work *w)
{
    for (size_t i = 0; i < w->n_children; i++)
        fresh_unref(w->children[i]);
    w->n_children = 0;
    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        if (w->reports[k] != NULL)
            fresh_unref(w->reports[k]);
        w->reports[k] = NULL;
    }
}

static void admit_made(struct work *w)
{
    struct queue *q = w->q;
    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        struct fresh *f = w->reports[k];
        if (f == NULL)
            continue;
        w->reports[k] = NULL;
        if (k == REPORT_FAILED) {
            q->count.bounced++;
            TELL(q, .kind = EVENT_BOUNCED, .id = w->id, .other_id = f->id, .rcpt = w->envelope.sender);
        } else {
            q->count.reported++;
            TELL(q, .kind = EVENT_REPORTED, .id = w->id, .other_id = f->id, .rcpt = w->envelope.sender,
                 .text = k == REPORT_DELAYED ? STR("delayed") : STR("success"));
        }
        queue_admit(q, f);
    }
    w->state.reported |= w->new_reported;
    w->new_reported = 0;
    if (w->n_children > 0) {
        q->count.split++;
        w->has_children = true;
    }
    for (size_t i = 0; i < w->n_children; i++)
        queue_admit(q, w->children[i]);
    w->n_children = 0;
}

static void settled(struct work *w)
{
    struct queue *q = w->q;
    uint64_t id = w->id;
    if (!w->is_split)
        TELL(q, .kind = EVENT_DONE, .id = id);
    if (w->has_children)
        cache_remove_record(q, id);
    else
        cache_remove(q, id);
    schedule_remove(&q->schedule, work_end(w));
}

/* A report may have read the beginning of the body only, or have failed to. */
static void drop_part(struct work *w)
{
    if (!w->has_body || w->body_read.bytes.n == w->envelope.body_size)
        return;
    store_read_release(&w->body_read);
    w->has_body = false;
}

static void on_recorded(struct store_ticket *ticket, enum err err)
{
    struct work *w = container_of(ticket, struct work, ticket);
    struct queue *q = w->q;
    queue_store_idle(q);
    if (err != ERR_OK) { /* the store is gone for this process life: the entry stays aside, the next start
                            finds it */
        queue_trouble(q, err, "a result could not be stored");
        free_made(w);
        (void)work_end(w);
        return;
    }
    queue_trouble_over(q);
    admit_made(w);
    if (w->is_drop) {
        settled(w);
        return;
    }
    cache_remove_record(q, w->id); /* the store has more than the record now */
    for (uint32_t i = 0; i < w->state.n_rcpts; i++)
        w->marks[i] &= (uint8_t)~MARK_NEW;
    if (!w->is_last) {
        drop_part(w);
        if (w->is_expanding)
            work_expanded(w);
        else
            work_next_portion(w);
        return;
    }
    w->entry->n_attempts = w->state.n_attempts > UINT16_MAX ? UINT16_MAX : (uint16_t)w->state.n_attempts;
    int64_t wait_ms = w->next_ms - world_wall_ms(q->world);
    struct schedule_entry *e = work_end(w);
    entry_settle(q, e, world_now_ms(q->world) + (wait_ms > 0 ? (uint64_t)wait_ms : 0));
}

void work_submit(struct work *w)
{
    struct queue *q = w->q;
    enum err err = ERR_NOMEM; /* what was delivered would be delivered again if we let go: wait for memory */
    w->ticket.done = on_recorded;
    if (w->n_ops > 0 || build(w)) /* a split has them; so has another try */
        err = store_submit(q->store, w->ops, w->n_ops, w->is_lazy, &w->ticket);
    switch (err) {
    case ERR_OK:
        queue_store_busy(q);
        work_set_phase(w, WORK_RECORDING);
        return;
    case ERR_AGAIN:
    case ERR_NOSPACE:
    case ERR_NOMEM:
        if (w->phase != WORK_SUBMITTING)
            work_set_phase(w, WORK_SUBMITTING);
        if (err != ERR_AGAIN)
            queue_trouble(q, err, "a result could not be stored yet");
        list_push_back(&q->submit_waiting, &w->wait);
        if (!q->retry.is_set)
            world_timer_set(q->world, &q->retry, world_now_ms(q->world) + QUEUE_SUBMIT_RETRY_MS);
        return;
    case ERR_STALE:
    case ERR_NOTFOUND: /* another node took it over: its truth counts */
        log_warn(q->world->log, "queue.entry-not-ours", LID("id", w->id), LERR(err));
        free_made(w);
        schedule_remove(&q->schedule, work_end(w));
        return;
    case ERR_CLOSED:
    case ERR_RESET:
    case ERR_TIMEOUT:
    case ERR_REFUSED:
    case ERR_UNREACHABLE:
    case ERR_IO:
    case ERR_EXISTS:
    case ERR_DENIED:
    case ERR_INVALID:
    case ERR_TOO_BIG:
    case ERR_CORRUPT:
    case ERR_CANCELLED:
    case ERR_TLS:
        queue_trouble(q, err, "a result could not be stored");
        free_made(w);
        (void)work_end(w);
        return;
    }
}

void work_submit_retry(struct queue *q)
{
    struct list again;
    list_init(&again);
    struct list *l;
    while ((l = list_pop_front(&q->submit_waiting)) != NULL)
        list_push_back(&again, l);
    while ((l = list_pop_front(&again)) != NULL)
        work_submit(list_entry(l, struct work, wait));
}

void entry_settle(struct queue *q, struct schedule_entry *e, uint64_t due_ms)
{
    if (e->site == NULL) { /* its work ended before it was routed */
        queue_place(q, e, STR("unrouted"), true, due_ms);
        return;
    }
    unsigned want = e->flags & (ENTRY_WANT_DROP | ENTRY_WANT_HOLD | ENTRY_WANT_RETRY);
    e->flags &= (uint8_t) ~(ENTRY_WANT_DROP | ENTRY_WANT_HOLD | ENTRY_WANT_RETRY | ENTRY_IS_EXPIRED);
    if ((want & ENTRY_WANT_DROP) != 0)
        mark_start(q, e, MARK_DROP, NULL, NULL);
    else if ((want & ENTRY_WANT_HOLD) != 0)
        mark_start(q, e, MARK_HOLD, NULL, NULL);
    else
        schedule_wait(&q->schedule, e, (want & ENTRY_WANT_RETRY) != 0 ? world_now_ms(q->world) : due_ms,
                      world_now_ms(q->world));
}
