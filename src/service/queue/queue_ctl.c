/* service/queue/queue_ctl.c: the operator's questions and commands (ipc/ctl.h).
 *
 * A question walks the schedule in slices of QUEUE_SLICE entries a turn, so that mail goes on; what memory
 * can't tell is read from the store, CTL_READS_MAX at a time. Rows go out in pages; a full channel stops the
 * walk. Entries that come or move during a walk may be missed.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"
#include "service/queue/queue_filter.h"
#include "service/queue/queue_rows.h"

#include <stdlib.h>

enum {
    CTL_READS_MAX = 16,
    CTL_PAGE = 48 * 1024,
    CTL_FRAME = 112 * 1024,
    CTL_ROWS_OCTETS = 2 * 1024 * 1024,
    CTL_ARENA_MAX = 1024 * 1024
};

struct ask {
    struct list link;
    struct queue *q;
    uint64_t token;
    enum ctl_verb verb;
    uint32_t n_max, n_matched, n_done, n_busy;
    struct filter filter;
    char *text; /* of the filter */
    size_t cursor;
    bool has_walked, is_unheard, failed;
    bool is_etrn, has_waited;
    struct suppress_cursor suppressed; /* a walk over the suppression list */
    struct str pattern;                /* of addresses */
    uint32_t smtpd, life;              /* ETRN: who asked */
    size_t n_changed;                  /* rules of suspension, suppressed addresses */
    unsigned n_open;                   /* looks and marks under way */
    struct list looks;
    struct buf rows;
};
struct look {
    struct list link;
    struct ask *ask;
    struct schedule_entry *entry; /* NULL: of the suppression list */
    uint64_t id;
    struct store_read read;
};

static void ask_free(struct ask *a)
{
    must(a->n_open == 0);
    list_remove(&a->link);
    suppress_walk_end(&a->suppressed);
    a->q->n_asks--;
    buf_fini(&a->rows);
    mem_free(a->text);
    mem_free(a);
}

static bool send_rows(struct ask *a, struct str rows, bool is_last, enum err err)
{
    struct queue *q = a->q;
    struct ipc_ctl_answer m = {.token = a->token, .is_last = is_last, .err = (uint8_t)err, .rows = rows};
    return channel_backlog(q->admin) < IPC_QUEUE_MAX / 2 && ipc_send_ctl_answer(q->admin, &m, NULL) == ERR_OK;
}

/* Sends what is in a->rows, whole rows at a time. false: the channel is full (a closed one is told by its
 * on_closed). */
static bool flush(struct ask *a, bool is_last, enum err err)
{
    if (a->q->admin == NULL)
        a->is_unheard = true;
    if (a->is_unheard) {
        buf_reset(&a->rows);
        return true;
    }
    while (a->rows.n > CTL_FRAME) {
        size_t end = str_rchr(str_slice(buf_str(&a->rows), 0, CTL_FRAME), '\n');
        must(end != STR_NPOS); /* a row is shorter */
        if (!send_rows(a, str_slice(buf_str(&a->rows), 0, end + 1), false, ERR_OK))
            return false;
        buf_consume(&a->rows, end + 1);
    }
    if (!send_rows(a, buf_str(&a->rows), is_last, err))
        return false;
    buf_reset(&a->rows);
    return true;
}

static void answer_error(struct queue *q, uint64_t token, enum err err, struct str text)
{
    char mem[1024];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    row_error(&b, str_slice(text, 0, 400));
    struct ipc_ctl_answer m = {.token = token, .is_last = 1, .err = (uint8_t)err, .rows = buf_str(&b)};
    if (q->admin != NULL && ipc_send_ctl_answer(q->admin, &m, NULL) != ERR_OK)
        q->env->n_events_dropped++;
}

/* ---- one entry ---- */

static void on_marked(void *arg, enum err err)
{
    struct ask *a = arg;
    a->n_open--;
    if (err == ERR_OK)
        a->n_done++;
    else
        a->failed = true;
    queue_wake(a->q);
}

static bool is_busy(const struct schedule_entry *e)
{
    return e->state == ENTRY_ASIDE || e->state == ENTRY_ACTIVE;
}

static void want(struct ask *a, struct schedule_entry *e, unsigned flag, unsigned not )
{
    e->flags = (uint8_t)((e->flags & ~not ) | flag);
    a->n_busy++;
}

/* Does what the verb says; the entry matches. */
static void act(struct ask *a, struct schedule_entry *e)
{
    struct queue *q = a->q;
    uint64_t now_ms = world_now_ms(q->world);
    enum mark_verb verb = MARK_DROP;
    a->n_matched++;
    switch (a->verb) {
    case CTL_RETRY:
        if (is_busy(e)) {
            want(a, e, ENTRY_WANT_RETRY, 0);
        } else if (e->state == ENTRY_WAITING) {
            struct schedule_site *site = e->site;
            schedule_take(&q->schedule, e, now_ms);
            /* Before all others there: at a blocked site only one is tried, and it should be the one that was
             * named. */
            schedule_wait(&q->schedule, e, 0, now_ms);
            schedule_site_unblock(&q->schedule, site, now_ms);
            a->n_done++;
        }
        return;
    case CTL_HOLD:
        if (e->state == ENTRY_HELD)
            return;
        if (is_busy(e)) {
            want(a, e, ENTRY_WANT_HOLD, 0);
            return;
        }
        verb = MARK_HOLD;
        break;
    case CTL_RELEASE:
        if (e->state != ENTRY_HELD) {
            e->flags &= (uint8_t)~ENTRY_WANT_HOLD;
            return;
        }
        verb = MARK_RELEASE;
        break;
    case CTL_DROP:
        if (is_busy(e)) {
            want(a, e, ENTRY_WANT_DROP, ENTRY_WANT_HOLD);
            return;
        }
        break;
    case CTL_LIST:
    case CTL_SHOW:
    case CTL_STATS:
    case CTL_SUSPEND:
    case CTL_RESUME:
    case CTL_SUSPENDED:
    case CTL_SUPPRESSED:
    case CTL_UNSUPPRESS:
    case CTL_SUPPRESS:
        return;
    }
    a->n_open++;
    mark_start(q, e, verb, on_marked, a);
}

static uint32_t expire_s(const struct queue *q, const struct envelope *e)
{
    return e->kind == ENVELOPE_BOUNCE ? q->config->bounce_expire_s : q->config->expire_s;
}

/* What its sender holds back no ETRN lets go. */
static bool is_held_back(const struct ask *a, const struct envelope *e)
{
    struct mail_params p;
    return mail_params_get(e->params, &p) && p.hold_until_ms > world_wall_ms(a->q->world);
}

/* The envelope is there: row or act. */
static void take_envelope(struct ask *a, struct schedule_entry *e, const struct store_read *r)
{
    struct queue *q = a->q;
    struct arena arena;
    struct envelope env;
    struct envelope_state st;
    arena_init(&arena, &q->pool, CTL_ARENA_MAX);
    struct envelope_rcpt *rcpts = NULL;
    if (envelope_decode(r->bytes, &env))
        rcpts = arena_alloc_array(&arena, env.n_rcpts, sizeof *rcpts);
    if (rcpts != NULL) {
        envelope_state_init(&st, &env, rcpts);
        for (size_t i = 0; i < r->n_results; i++)
            (void)(envelope_apply(r->results[i], &st) || (a->failed = true));
        env.body_size = r->body_size;
        if (filter_matches_envelope(&a->filter, &env, &st) && !(a->is_etrn && is_held_back(a, &env))) {
            struct row_facts f = {
                .id = e->id,
                .body_size = r->body_size,
                .entry = e,
                .wall_ms = world_wall_ms(q->world),
                .now_ms = world_now_ms(q->world),
                .expire_s = expire_s(q, &env),
                .is_suspended = (e->flags & ENTRY_IS_SUSPENDED) != 0,
            };
            if (a->verb == CTL_LIST)
                row_entry(&a->rows, &f, &env, &st);
            else if (a->verb == CTL_SHOW)
                row_show(&a->rows, &f, &env, &st);
            if (a->verb == CTL_LIST || a->verb == CTL_SHOW)
                a->n_matched++;
            else if (a->n_matched < a->n_max)
                act(a, e);
        }
    } else {
        a->failed = true;
    }
    arena_reset(&arena);
}

/* The record of a suppressed address is there. */
static void take_suppressed(struct ask *a, const struct store_read *r)
{
    struct suppressed s;
    if (!suppressed_decode(r->bytes, &s)) {
        a->failed = true;
        return;
    }
    if (a->n_matched >= a->n_max || (a->pattern.n > 0 && !filter_glob(a->pattern, s.address)))
        return;
    a->n_matched++;
    if (a->verb == CTL_SUPPRESSED)
        row_suppressed(&a->rows, &s, suppress_until_ms(a->q, s.since_s));
    else if (suppress_remove(a->q, s.address))
        a->n_changed++;
}

static void on_looked(struct store_read *r, enum err err)
{
    struct look *k = container_of(r, struct look, read);
    struct ask *a = k->ask;
    struct queue *q = a->q;
    queue_store_idle(q);
    a->n_open--;
    if (err == ERR_OK && k->entry == NULL)
        take_suppressed(a, r);
    else if (err == ERR_OK && schedule_is_entry(k->entry, k->id) && !a->is_unheard)
        take_envelope(a, k->entry, r);
    store_read_release(r);
    list_remove(&k->link);
    mem_free(k);
    queue_wake(q);
}

static bool look_at(struct ask *a, struct schedule_entry *e, uint64_t id)
{
    struct look *k = mem_new(struct look);
    if (k == NULL)
        return false;
    k->ask = a;
    k->entry = e;
    k->id = id;
    k->read.done = on_looked;
    list_push_back(&a->looks, &k->link);
    a->n_open++;
    queue_store_busy(a->q);
    store_read_envelope(a->q->store, k->id, &k->read);
    return true;
}

static bool look(struct ask *a, struct schedule_entry *e)
{
    return look_at(a, e, e->id);
}

/* ---- walking ---- */

static bool needs_look(const struct ask *a)
{
    return a->verb == CTL_LIST || a->filter.needs_envelope;
}

/* A slice. true: there may be more to do at once; false: at the end, or reads must end first. */
static bool walk(struct ask *a)
{
    struct queue *q = a->q;
    size_t n_slots = QUEUE_SLICE;
    int64_t wall_ms = world_wall_ms(q->world);
    while (a->n_open < CTL_READS_MAX && a->n_matched + (needs_look(a) ? a->n_open : 0) < a->n_max) {
        struct schedule_entry *e = schedule_walk(&q->schedule, &a->cursor, &n_slots);
        if (e == NULL) {
            a->has_walked = a->cursor >= schedule_slots(&q->schedule);
            return !a->has_walked;
        }
        if (!filter_matches_entry(&a->filter, e, (e->flags & ENTRY_IS_BOUNCE) != 0, wall_ms))
            continue;
        if (!needs_look(a))
            act(a, e);
        else if (!look(a, e))
            a->failed = true;
    }
    a->has_walked = a->n_matched >= a->n_max;
    return false;
}

/* Likewise over the suppression list: each has to be read. */
static void walk_suppressed(struct ask *a)
{
    uint64_t id;
    while (a->n_open < CTL_READS_MAX && a->n_matched + a->n_open < a->n_max) {
        if (!suppress_walk_next(a->q, &a->suppressed, &id)) {
            a->has_walked = true;
            return;
        }
        if (!look_at(a, NULL, id))
            a->failed = true;
    }
    a->has_walked = a->n_matched >= a->n_max;
}

static void answer_etrn(struct queue *q, uint32_t smtpd, uint32_t life, uint64_t token, bool is_run,
                        uint32_t n)
{
    struct smtpd_link *l = &q->smtpd[smtpd];
    struct ipc_etrn_answer m = {.token = token, .is_run = is_run, .n = n};
    if (l->channel != NULL && l->life == life && ipc_send_etrn_answer(l->channel, &m, NULL) != ERR_OK)
        log_warn(q->world->log, "queue.etrn-unheard", LU("entries", n));
}

static void on_settled(void *arg, enum err err)
{
    struct ask *a = arg;
    a->n_open--;
    a->failed = a->failed || err != ERR_OK;
    queue_wake(a->q);
}

/* What was taken off the suppression list is answered when it is durable. true: not yet. */
static bool waits(struct ask *a)
{
    if (a->verb != CTL_UNSUPPRESS || a->has_waited)
        return false;
    a->has_waited = true;
    a->n_open++;
    if (suppress_wait(a->q, on_settled, a))
        return true;
    a->n_open--;
    return false;
}

static void finish(struct ask *a)
{
    if (waits(a))
        return;
    if (a->is_etrn) {
        answer_etrn(a->q, a->smtpd, a->life, a->token, true, a->n_done);
        ask_free(a);
        return;
    }
    enum err err = a->failed ? ERR_IO : ERR_OK;
    if (a->verb == CTL_SHOW && a->n_matched == 0 && err == ERR_OK) {
        row_error(&a->rows, STR("no such entry is in the queue"));
        err = ERR_NOTFOUND;
    } else if (a->verb != CTL_LIST && a->verb != CTL_SHOW && a->verb < CTL_STATS && a->rows.n == 0) {
        row_begin(&a->rows);
        row_number(&a->rows, "matched", a->n_matched);
        row_number(&a->rows, "done", a->n_done);
        row_number(&a->rows, "busy", a->n_busy);
        row_end(&a->rows);
    }
    if ((a->verb == CTL_UNSUPPRESS || a->verb == CTL_SUPPRESS) && a->rows.n == 0) {
        row_begin(&a->rows);
        row_number(&a->rows, "changed", a->n_changed);
        row_number(&a->rows, "addresses", suppress_count(a->q));
        row_end(&a->rows);
    }
    if (flush(a, true, err))
        ask_free(a);
}

static void step(struct ask *a)
{
    if (a->is_unheard) {
        a->has_walked = true;
    } else if (a->is_etrn) {
        ; /* no rows */
    } else if (a->rows.n >= CTL_PAGE && !flush(a, false, ERR_OK)) {
        return; /* on_room of the channel wakes us */
    }
    if (!a->has_walked && a->verb >= CTL_SUPPRESSED)
        walk_suppressed(a);
    else if (!a->has_walked && walk(a))
        queue_wake(a->q);
    if (a->has_walked && a->n_open == 0)
        finish(a);
}

void ctl_step(struct queue *q)
{
    list_each (l, &q->asks)
        step(list_entry(l, struct ask, link));
}

/* ---- totals ---- */

struct ranked {
    const struct schedule_site *site;
    uint64_t n;
};

static int by_rank(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    if (a->n != b->n)
        return a->n > b->n ? -1 : 1;
    uint64_t ha = a->site->by_hash.id, hb = b->site->by_hash.id;
    return ha < hb ? -1 : ha > hb;
}

static void put_totals(struct ask *a)
{
    struct queue *q = a->q;
    const size_t *n = q->schedule.n_by_state;
    struct store_stats st;
    store_get_stats(q->store, &st);
    row_begin(&a->rows);
    row_number(&a->rows, "waiting", n[ENTRY_WAITING]);
    row_number(&a->rows, "active", n[ENTRY_ACTIVE] + n[ENTRY_ASIDE]);
    row_number(&a->rows, "held", n[ENTRY_HELD]);
    row_number(&a->rows, "sites", q->schedule.n_sites - q->schedule.n_idle);
    row_number(&a->rows, "octets", st.live_octets);
    row_number(&a->rows, "disk_octets", st.disk_octets);
    row_number(&a->rows, "store_full", st.is_full);
    row_number(&a->rows, "store_failed", st.has_failed);
    row_end(&a->rows);
}

static void stats(struct ask *a)
{
    struct queue *q = a->q;
    size_t n = 0;
    put_totals(a);
    struct ranked *r = mem_alloc_array(q->schedule.n_sites + 1, sizeof *r);
    if (r == NULL) {
        a->failed = true;
        return;
    }
    list_each (l, &q->schedule.all_sites) {
        const struct schedule_site *site = list_entry(l, struct schedule_site, all);
        if (!site->is_remembered)
            r[n++] = (struct ranked){site, site->n_waiting + site->n_held + site->n_active + site->n_aside};
    }
    qsort(r, n, sizeof *r, by_rank);
    /* In one go, so that the rows agree with each other; the last ones are left out when there are too many.
     */
    for (size_t i = 0; i < n && i < a->n_max && a->rows.n < CTL_ROWS_OCTETS - 2 * ROW_MAX; i++)
        row_site(&a->rows, r[i].site, world_now_ms(q->world));
    mem_free(r);
}

/* ---- the question ---- */

static struct ask *ask_new(struct queue *q, const struct ipc_ctl_ask *m, struct str text)
{
    struct ask *a = mem_new(struct ask);
    if (a == NULL)
        return NULL;
    a->text = mem_alloc(text.n + 1);
    if (a->text == NULL) {
        mem_free(a);
        return NULL;
    }
    struct buf b;
    buf_init_fixed(&b, a->text, text.n + 1);
    buf_put(&b, text);
    a->q = q;
    a->token = m->token;
    a->verb = (enum ctl_verb)m->verb;
    a->n_max = m->n_max == 0 ? CTL_ROWS_DEFAULT : m->n_max > CTL_ROWS_MAX ? CTL_ROWS_MAX : m->n_max;
    if (m->n_max == 0 && a->verb != CTL_LIST && a->verb != CTL_STATS && a->verb != CTL_SUPPRESSED)
        a->n_max = UINT32_MAX; /* a command without a limit means all */
    list_init(&a->looks);
    list_init(&a->suppressed.link);
    buf_init(&a->rows, CTL_ROWS_OCTETS);
    list_push_back(&q->asks, &a->link);
    q->n_asks++;
    return a;
}

/* ---- suspension ---- */

static void on_suspended(void *arg, enum err err, size_t n_changed)
{
    struct ask *a = arg;
    a->n_open--;
    a->failed = err != ERR_OK;
    row_begin(&a->rows);
    row_number(&a->rows, "changed", n_changed);
    row_number(&a->rows, "rules", suspend_count(a->q));
    row_end(&a->rows);
    queue_wake(a->q);
}

static void ask_suspension(struct ask *a, struct str text)
{
    struct queue *q = a->q;
    char mem[512];
    struct buf error;
    buf_init_fixed(&error, mem, sizeof mem);
    a->has_walked = true;
    if (a->verb == CTL_SUSPENDED) {
        for (size_t i = 0; i < suspend_count(q); i++)
            row_rule(&a->rows, suspend_rule(q, i));
        return;
    }
    a->n_open++;
    enum err err = suspend_change(q, text, a->verb == CTL_RESUME, &error, on_suspended, a);
    if (err == ERR_OK)
        return;
    a->n_open--;
    answer_error(q, a->token, err, buf_str(&error));
    ask_free(a);
}

/* ---- suppression ---- */

static void on_suppressed(void *arg, enum err err)
{
    struct ask *a = arg;
    a->n_open--;
    a->failed = err != ERR_OK;
    a->n_changed = err == ERR_OK;
    queue_wake(a->q);
}

static void suppress(struct ask *a, struct str text)
{
    struct queue *q = a->q;
    struct str address = str_cut(&text, ' '), why = str_trim(text);
    a->n_open++;
    enum err err = suppress_add(q, address, why, on_suppressed, a);
    if (err == ERR_OK)
        return;
    a->n_open--;
    answer_error(q, a->token, err,
                 err == ERR_DENIED    ? STR("the configuration does not say `reports { suppress = true }`")
                 : err == ERR_INVALID ? STR("that is not an address, such as joe@example.com")
                                      : STR("the store is busy; say it again"));
    ask_free(a);
}

static void ask_suppression(struct ask *a, struct str text)
{
    struct queue *q = a->q;
    uint64_t id;
    bool is_one = text.n > 0 && str_chr(text, '*') == STR_NPOS;
    a->pattern = text = str_trim(text);
    a->has_walked = is_one || a->verb == CTL_SUPPRESS || (a->verb == CTL_UNSUPPRESS && text.n == 0);
    if (a->verb == CTL_SUPPRESS)
        suppress(a, text);
    else if (!a->has_walked)
        suppress_walk_begin(q, &a->suppressed);
    else if (a->verb == CTL_UNSUPPRESS)
        a->n_changed = is_one ? suppress_remove(q, text) : suppress_remove_all(q);
    else if (suppress_find(q, text, &id)) {
        a->pattern = STR_NIL; /* found, however it is written */
        a->failed = !look_at(a, NULL, id);
    }
}

/* ---- ETRN ---- */

static bool etrn_domain(struct str *s, char *out_op)
{
    *out_op = '=';
    if (s->n > 0 && s->p[0] == '@') {
        *out_op = '@';
        *s = str_skip(*s, 1);
    }
    return s->n > 0 && s->n <= SMTP_DOMAIN_MAX && !str_has_ctl(*s) && str_chr(*s, '*') == STR_NPOS;
}

bool ctl_on_etrn(struct smtpd_link *l, const struct ipc_etrn_ask *m)
{
    struct queue *q = l->q;
    struct str domain = m->domain;
    char op;
    if (!etrn_domain(&domain, &op))
        return false;
    size_t n_open = 0;
    list_each (i, &q->asks)
        n_open += list_entry(i, struct ask, link)->is_etrn;
    struct ipc_ctl_ask ask = {.token = m->token, .verb = CTL_RETRY};
    struct ask *a = NULL;
    if (n_open < QUEUE_ETRN_MAX && q->n_asks < QUEUE_CTL_MAX && q->phase == QUEUE_OPEN)
        a = ask_new(q, &ask, domain);
    if (a == NULL) { /* a later ETRN, or the schedule, will do it */
        answer_etrn(q, l->index, l->life, m->token, false, 0);
        return true;
    }
    a->is_etrn = true;
    a->smtpd = l->index;
    a->life = l->life;
    filter_for_domain(&a->filter, str_of(a->text, domain.n), op == '@');
    queue_wake(q);
    return true;
}

static void ask_one(struct ask *a, struct schedule_entry *e)
{
    a->has_walked = true;
    if (a->verb == CTL_LIST || a->verb == CTL_SHOW)
        a->failed = !look(a, e);
    else
        act(a, e);
}

void ctl_on_ask(struct queue *q, const struct ipc_ctl_ask *m)
{
    char mem[512];
    struct buf error;
    struct filter parsed;
    buf_init_fixed(&error, mem, sizeof mem);
    struct str text = m->id != 0 ? STR_NIL : m->filter;
    bool is_rule = m->verb >= CTL_SUSPEND; /* queue_suspend.c reads those, or it is of addresses */
    if (m->verb >= CTL_VERBS || (m->verb == CTL_SHOW && m->id == 0)) {
        answer_error(q, m->token, ERR_INVALID, STR("unknown command"));
        return;
    }
    if (is_rule && m->id != 0) { /* without a filter it would be about all mail */
        answer_error(q, m->token, ERR_INVALID, STR("a rule is named by its filter, not by an entry"));
        return;
    }
    if (text.n > FILTER_TEXT_MAX || (!is_rule && !filter_parse(text, &parsed, &error))) {
        answer_error(q, m->token, ERR_INVALID, buf_str(&error));
        return;
    }
    struct ask *a = NULL;
    if (q->n_asks < QUEUE_CTL_MAX && (q->phase == QUEUE_OPEN || q->phase == QUEUE_DRAINING))
        a = ask_new(q, m, text);
    if (a == NULL) {
        answer_error(q, m->token, ERR_AGAIN, STR("the queue has too many questions open, or is stopping"));
        return;
    }
    if (is_rule) {
        if (m->verb >= CTL_SUPPRESSED)
            ask_suppression(a, str_of(a->text, text.n));
        else
            ask_suspension(a, str_of(a->text, text.n));
        queue_wake(q);
        return;
    }
    must(filter_parse(str_of(a->text, text.n), &a->filter, &error)); /* values borrow from its own copy */
    struct schedule_entry *e = m->id != 0 ? schedule_find(&q->schedule, m->id) : NULL;
    if (m->id != 0 && e == NULL) {
        ask_free(a);
        answer_error(q, m->token, ERR_NOTFOUND, STR("no such entry is in the queue"));
        return;
    }
    if (e != NULL) {
        ask_one(a, e);
    } else if (a->verb == CTL_STATS) {
        a->has_walked = true;
        stats(a);
    }
    queue_wake(q);
}

void ctl_drop_all(struct queue *q)
{
    list_each (l, &q->asks) {
        struct ask *a = list_entry(l, struct ask, link);
        a->is_unheard = !a->is_etrn || q->phase != QUEUE_OPEN;
    }
    queue_wake(q);
}

void ctl_free_all(struct queue *q)
{
    list_each (l, &q->asks) {
        struct ask *a = list_entry(l, struct ask, link);
        list_each (k, &a->looks) {
            list_remove(k);
            mem_free(list_entry(k, struct look, link));
        }
        a->n_open = 0;
        ask_free(a);
    }
}
