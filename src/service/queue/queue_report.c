/* service/queue/queue_report.c: which outcomes the sender is told of: NOTIFY (RFC 3461), delays, and the
 * times of DELIVERBY (RFC 2852).
 */
#include "service/queue/queue.h"

static struct mail_params params_of(const struct work *w)
{
    struct mail_params p;
    must(mail_params_get(w->envelope.params, &p)); /* looked at when the envelope was decoded */
    return p;
}

static bool has_passed(const struct work *w, const struct mail_params *p)
{
    return p->by_mode != BY_NONE && world_wall_ms(w->q->world) >= p->by_ms;
}

bool report_is_overdue(const struct work *w)
{
    struct mail_params p = params_of(w);
    return w->envelope.kind == ENVELOPE_MAIL && p.by_mode == BY_RETURN && has_passed(w, &p);
}

bool report_is_late(const struct work *w)
{
    struct mail_params p = params_of(w);
    return w->envelope.kind == ENVELOPE_MAIL && p.by_mode == BY_NOTIFY && has_passed(w, &p) &&
           (w->state.reported & REPORTED_LATE) == 0;
}

bool report_has_deadline(const struct work *w)
{
    struct mail_params p = params_of(w);
    return w->envelope.kind == ENVELOPE_MAIL &&
           (p.by_mode == BY_RETURN || (p.by_mode == BY_NOTIFY && !has_passed(w, &p)));
}

int64_t report_deadline_ms(const struct work *w)
{
    struct mail_params p = params_of(w);
    if (w->envelope.kind != ENVELOPE_MAIL || p.by_mode == BY_NONE || has_passed(w, &p))
        return 0;
    return p.by_ms;
}

static bool is_ours(const struct work *w)
{
    return (w->envelope.flags & MAIL_FLAG_OURS) != 0;
}

/* Told once an entry, when an attempt was in vain after the time, as Postfix does. */
static bool is_delayed(const struct work *w, const struct envelope_rcpt *r, enum bounce_why *out_why)
{
    struct mail_params p = params_of(w);
    if (r->state != ENVELOPE_DEFERRED || !w->is_last || w->is_lost)
        return false;
    if (p.by_mode == BY_NOTIFY && (w->state.reported & REPORTED_LATE) == 0 && has_passed(w, &p)) {
        *out_why = BOUNCE_LATE;
        return (r->rcpt.notify & NOTIFY_NEVER) == 0;
    }
    uint32_t after_s = w->q->config->delay_after_s;
    return after_s > 0 && (w->state.reported & REPORTED_DELAY) == 0 &&
           schedule_is_expired(w->entry->created_s, world_wall_ms(w->q->world), after_s) &&
           bounce_wants(r->rcpt.notify, DSN_DELAYED, is_ours(w), false);
}

static bool is_success(const struct work *w, uint32_t i, enum dsn_action *out_action)
{
    const struct envelope_rcpt *r = &w->state.rcpts[i];
    if ((w->marks[i] & (MARK_NEW | MARK_QUIET)) != MARK_NEW ||
        (r->state != ENVELOPE_DELIVERED && r->state != ENVELOPE_EXPANDED))
        return false;
    bool is_final = w->is_lmtp || w->route == ROUTE_MAILDIR || w->route == ROUTE_PIPE;
    if (r->state == ENVELOPE_EXPANDED)
        *out_action = (w->marks[i] & MARK_LIST) != 0 ? DSN_DELIVERED : DSN_EXPANDED;
    else
        *out_action = is_final ? DSN_DELIVERED : DSN_RELAYED;
    if (*out_action == DSN_RELAYED && (w->marks[i] & MARK_TOOK_DSN) != 0)
        return false; /* the next hop reports */
    if (bounce_wants(r->rcpt.notify, *out_action, is_ours(w), w->q->config->success_to_strangers))
        return true;
    return *out_action == DSN_RELAYED && params_of(w).by_trace && (r->rcpt.notify & NOTIFY_NEVER) == 0;
}

bool report_row(const struct work *w, uint32_t i, enum report_kind kind, enum dsn_action *out_action,
                enum bounce_why *out_why)
{
    const struct envelope_rcpt *r = &w->state.rcpts[i];
    *out_why = BOUNCE_REFUSED;
    switch (kind) {
    case REPORT_FAILED:
        *out_action = DSN_FAILED;
        if ((w->marks[i] & MARK_LATE) != 0)
            *out_why = BOUNCE_LATE;
        else if ((w->marks[i] & MARK_EXPIRED) != 0)
            *out_why = BOUNCE_EXPIRED;
        return (w->marks[i] & (MARK_NEW | MARK_QUIET)) == MARK_NEW && r->state == ENVELOPE_FAILED &&
               bounce_wants(r->rcpt.notify, DSN_FAILED, is_ours(w), false);
    case REPORT_DELAYED:
        *out_action = DSN_DELAYED;
        return is_delayed(w, r, out_why);
    case REPORT_SUCCESS:
        return is_success(w, i, out_action);
    }
    must_not_reach();
}

uint32_t report_count(const struct work *w, enum report_kind kind)
{
    uint32_t n = 0;
    enum dsn_action action;
    enum bounce_why why;
    for (uint32_t i = 0; bounce_is_wanted(&w->envelope) && i < w->state.n_rcpts; i++)
        n += report_row(w, i, kind, &action, &why);
    return n;
}
