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
    work_submit(w);
}

/* Does one of those that failed want a report (RFC 3461 4.1)? */
static bool is_asked_for(const struct work *w)
{
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        const struct envelope_rcpt *r = &w->state.rcpts[i];
        if ((w->marks[i] & MARK_NEW) != 0 && r->state == ENVELOPE_FAILED &&
            bounce_wants(r->rcpt.notify, DSN_FAILED, true, true))
            return true;
    }
    return false;
}

static uint32_t make_rows(struct work *w, struct dsn_rcpt *rows, struct buf *text, bool *out_utf8)
{
    uint32_t n = 0;
    *out_utf8 = !str_is_ascii(w->envelope.sender);
    for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
        const struct envelope_rcpt *r = &w->state.rcpts[i];
        if ((w->marks[i] & MARK_NEW) == 0 || r->state != ENVELOPE_FAILED ||
            !bounce_wants(r->rcpt.notify, DSN_FAILED, true, true))
            continue;
        rows[n++] = bounce_rcpt(r, DSN_FAILED,
                                (w->marks[i] & MARK_EXPIRED) != 0 ? BOUNCE_EXPIRED : BOUNCE_REFUSED, text);
        *out_utf8 =
            *out_utf8 || ((w->envelope.flags & MAIL_FLAG_UTF8) != 0 && !str_is_ascii(rows[n - 1].address));
    }
    return n;
}

/* The report as a message with its envelope; NULL without memory. */
static struct fresh *make(struct work *w, struct str original)
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
        .envelope = &w->envelope,
        .id = w->id,
        .own_id = store_new_id(q->store),
        .hostname = q->config->policy.hostname,
        .now_ms = now_ms < 0 ? 0 : now_ms,
        .original = original,
        .rcpts = rows,
    };
    b.n_rcpts = make_rows(w, rows, &text, &b.utf8);
    buf_init(&message, BOUNCE_MESSAGE_MAX);
    buf_init(&rcpts, RCPT_RECORD_MAX);
    bool ok = bounce_format(&b, &message);
    while (!ok && b.n_rcpts > 1) { /* the first ones tell what is the matter */
        b.n_rcpts /= 2;
        ok = bounce_format(&b, &message);
    }
    uint32_t flags = MAIL_FLAG_BOUNCE | (w->envelope.flags & MAIL_FLAG_8BIT);
    if (b.utf8)
        flags |= MAIL_FLAG_UTF8 | MAIL_FLAG_8BIT;
    struct envelope e;
    struct fresh *f = NULL;
    if (ok && bounce_envelope(&b, flags, message.n, &rcpts, &e))
        f = fresh_new(q, b.own_id, b.own_id, &e, buf_str(&message));
    buf_fini(&rcpts);
    buf_fini(&message);
    return f;
}

static void go_on(struct work *w, struct str original)
{
    w->bounce = make(w, original);
    if (w->bounce == NULL && original.n > 0)
        w->bounce = make(w, STR_NIL);
    if (w->bounce == NULL) { /* the failure is real, but nobody would hear of it: try all of it again later */
        queue_trouble(w->q, ERR_NOMEM, "no memory for a report to a sender");
        for (uint32_t i = 0; i < w->state.n_rcpts; i++) {
            if ((w->marks[i] & MARK_NEW) != 0 && w->state.rcpts[i].state == ENVELOPE_FAILED)
                w->state.rcpts[i].state = ENVELOPE_DEFERRED;
        }
        w->is_drop = false;
        w->is_last = true;
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

void work_bounce(struct work *w)
{
    if (!bounce_is_wanted(&w->envelope) || !is_asked_for(w)) {
        not_bounced(w);
        return;
    }
    size_t n = bounce_original_size(REPORT_FAILED, &w->envelope);
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
