/* service/queue/queue_bounce.c: the report to the sender about recipients that failed for good in this
 * attempt. It goes into the same unit as the outcome, so that it exists exactly when the failure is recorded.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"

static void not_bounced(struct work *w)
{
    struct queue *q = w->q;
    struct str why = w->envelope.kind == ENVELOPE_BOUNCE
                         ? STR("a report could not be delivered to its sender")
                     : w->envelope.sender.n == 0 ? STR("the message has no sender to report to")
                                                 : STR("the sender asked for no report (NOTIFY)");
    q->count.not_bounced++;
    log_warn(q->world->log, "queue.not-bounced", LID("id", w->id), LS("why", why));
    TELL(q, .kind = EVENT_NOT_BOUNCED, .id = w->id, .text = why);
}

static uint32_t make_rows(struct work *w, enum report_kind kind, struct dsn_rcpt *rows, struct buf *text,
                          bool *out_utf8)
{
    uint32_t n = 0;
    *out_utf8 = !str_is_ascii(w->envelope.sender);
    enum dsn_action action;
    enum bounce_why why;
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        if (!report_row(w, i, kind, &action, &why))
            continue;
        rows[n] = bounce_rcpt(&w->state.rcpts[i], action, why, text);
        rows[n].retry_until_s = (int64_t)w->entry->created_s + w->q->config->expire_s;
        if (kind == REPORT_DELAYED)
            w->new_reported |= why == BOUNCE_LATE ? REPORTED_LATE : REPORTED_DELAY;
        /* in UTF-8 only to a sender that spoke it (RFC 6533 4) */
        *out_utf8 =
            *out_utf8 || ((w->envelope.flags & MAIL_FLAG_UTF8) != 0 && !str_is_ascii(rows[n].address));
        n++;
    }
    return n;
}

/* Does the report come back to us, to the return path of a member (VERP)? It needs no reading then. */
static bool has_return_path(const struct work *w)
{
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf local;
    struct verp_path path;
    buf_init_fixed(&local, mem, sizeof mem);
    return policy_verp(&w->q->config->policy, w->envelope.sender, &local, &path);
}

/* The report as a message with its envelope; NULL without memory. */
static struct fresh *make(struct work *w, enum report_kind kind, struct str original)
{
    struct queue *q = w->q;
    uint32_t n = w->state.n_rcpts;
    struct dsn_rcpt *rows = arena_alloc_array(&w->arena, n, sizeof *rows);
    char *text_mem = arena_alloc_array(&w->arena, n, BOUNCE_RCPT_TEXT);
    if (rows == NULL || text_mem == NULL)
        return NULL;
    struct buf text, message, rcpts;
    buf_init_fixed(&text, text_mem, (size_t)n * BOUNCE_RCPT_TEXT);
    int64_t now_ms = world_wall_ms(q->world);
    struct bounce b = {
        .kind = kind,
        .envelope = &w->envelope,
        .id = w->id,
        .own_id = store_new_id(q->store),
        .hostname = q->config->policy.hostname,
        .now_ms = now_ms < 0 ? 0 : now_ms,
        .original = str_slice(original, 0, bounce_original_size(kind, &w->envelope)),
        .original_utf8 = (w->envelope.flags & MAIL_FLAG_UTF8) != 0,
        .original_binary = (w->envelope.flags & MAIL_FLAG_BINARY) != 0,
        .rcpts = rows,
    };
    b.n_rcpts = make_rows(w, kind, rows, &text, &b.utf8);
    buf_init(&message, w->n_children > 0 ? (size_t)QUEUE_SHORT_REPORT_MAX : BOUNCE_MESSAGE_MAX);
    buf_init(&rcpts, RCPT_RECORD_MAX);
    bool ok = bounce_format(&b, &message);
    while (!ok && b.n_rcpts > 1) { /* the first ones tell what is the matter */
        b.n_rcpts /= 2;
        ok = bounce_format(&b, &message);
    }
    uint32_t flags = MAIL_FLAG_BOUNCE | (b.utf8 ? MAIL_FLAG_UTF8 : 0u) |
                     (str_is_ascii(buf_str(&message)) ? 0u : MAIL_FLAG_8BIT);
    struct envelope e;
    struct fresh *f = NULL;
    char params[BOUNCE_PARAMS], feedback_mem[FEEDBACK_MAX];
    struct buf feedback;
    buf_init_fixed(&feedback, feedback_mem, sizeof feedback_mem);
    if (has_return_path(w) && feedback_of_row(&rows[0], &feedback))
        b.feedback = buf_str(&feedback);
    if (ok && bounce_envelope(&b, flags, message.n, params, &rcpts, &e))
        f = fresh_new(q, b.own_id, b.own_id, &e, buf_str(&message));
    buf_fini(&rcpts);
    buf_fini(&message);
    return f;
}

/* The failure is real, but nobody would hear of it: try all of it again later. */
static void take_failures_back(struct work *w)
{
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        if ((w->marks[i] & (MARK_NEW | MARK_QUIET)) == MARK_NEW && w->state.rcpts[i].state == ENVELOPE_FAILED)
            w->state.rcpts[i].state = ENVELOPE_DEFERRED;
    }
    w->is_drop = false;
    w->is_last = true;
}

static void go_on(struct work *w, struct str original)
{
    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        enum report_kind kind = (enum report_kind)k;
        if (report_count(w, kind) == 0)
            continue;
        w->reports[k] = make(w, kind, original);
        if (w->reports[k] == NULL && original.n > 0)
            w->reports[k] = make(w, kind, STR_NIL);
        if (w->reports[k] != NULL)
            continue;
        queue_trouble(w->q, ERR_NOMEM, "no memory for a report to a sender");
        if (kind == REPORT_FAILED)
            take_failures_back(w);
        else if (kind == REPORT_DELAYED)
            w->new_reported = 0;
    }
    work_submit(w);
}

static void on_original(struct store_read *r, enum err err)
{
    struct work *w = container_of(r, struct work, body_read);
    w->body_reading = false;
    w->has_body = true;
    queue_store_idle(w->q);
    if (err != ERR_OK) {
        queue_trouble(w->q, err, "the original of a report could not be read");
        r->bytes = STR_NIL;
    }
    go_on(w, r->bytes);
}

static bool has_failed(const struct work *w)
{
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        if ((w->marks[i] & (MARK_NEW | MARK_QUIET)) == MARK_NEW && w->state.rcpts[i].state == ENVELOPE_FAILED)
            return true;
    }
    return false;
}

void work_bounce(struct work *w)
{
    size_t n = 0;
    bool is_any = false;
    w->new_reported = 0;
    if (has_failed(w) && report_count(w, REPORT_FAILED) == 0)
        not_bounced(w);
    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        if (report_count(w, (enum report_kind)k) == 0)
            continue;
        size_t wants = bounce_original_size((enum report_kind)k, &w->envelope);
        n = wants > n ? wants : n;
        is_any = true;
    }
    if (!is_any) {
        work_submit(w);
        return;
    }
    work_set_phase(w, WORK_BOUNCING);
    struct fresh *f = w->body_of != NULL ? w->body_of : w->fresh;
    if (f != NULL && f->n_body > 0) {
        go_on(w, str_slice(fresh_body(f), 0, n));
        return;
    }
    if (w->has_body && w->body_read.bytes.n >= n) {
        go_on(w, str_slice(w->body_read.bytes, 0, n));
        return;
    }
    if (w->has_body)
        store_read_release(&w->body_read);
    w->has_body = false;
    w->body_read = (struct store_read){.done = on_original};
    w->body_reading = true;
    queue_store_busy(w->q);
    store_read_body(w->q->store, w->body_id, 0, n, &w->body_read);
}
