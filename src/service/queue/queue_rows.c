#include "service/queue/queue_rows.h"

#include "base/log.h"
#include "base/queue_id.h"
#include "service/queue/queue_class.h"
#include "wire/date.h"

void row_begin(struct buf *out)
{
    buf_putc(out, '{');
}

void row_end(struct buf *out)
{
    buf_puts(out, "}\n");
}

static void put_key(struct buf *out, const char *key)
{
    if (out->n > 0 && out->p[out->n - 1] != '{')
        buf_putc(out, ',');
    buf_putc(out, '"');
    buf_puts(out, key);
    buf_puts(out, "\":");
}

void row_number(struct buf *out, const char *key, uint64_t v)
{
    put_key(out, key);
    buf_printf(out, "%llu", (unsigned long long)v);
}

static void put_text(struct buf *out, const char *key, struct str s)
{
    put_key(out, key);
    log_quote(out, s);
}

static void put_id(struct buf *out, const char *key, uint64_t id)
{
    put_key(out, key);
    buf_putc(out, '"');
    queue_id_format(id, out);
    buf_putc(out, '"');
}

static void put_time(struct buf *out, const char *key, int64_t wall_ms)
{
    put_key(out, key);
    buf_putc(out, '"');
    date_format_rfc3339(wall_ms, false, out);
    buf_putc(out, '"');
}

void row_error(struct buf *out, struct str text)
{
    row_begin(out);
    put_text(out, "error", text);
    row_end(out);
}

void row_rule(struct buf *out, struct str filter)
{
    row_begin(out);
    put_text(out, "filter", filter);
    row_end(out);
}

void row_suppressed(struct buf *out, const struct suppressed *s, int64_t until_ms)
{
    row_begin(out);
    put_text(out, "address", s->address);
    put_time(out, "since", (int64_t)s->since_s * 1000);
    put_time(out, "until", until_ms);
    put_text(out, "reason", str_from_c(suppress_reason_word(s->reason)));
    if (s->why.n > 0)
        put_text(out, "why", s->why);
    row_end(out);
}

static const char *state_word(const struct schedule_entry *e)
{
    switch ((enum schedule_entry_state)e->state) {
    case ENTRY_HELD:
        return "held";
    case ENTRY_WAITING:
        return "deferred";
    case ENTRY_ASIDE:
    case ENTRY_ACTIVE:
        return "active";
    case ENTRY_FREE:
        break;
    }
    return "gone";
}

static void put_facts(struct buf *out, const struct row_facts *f, const struct envelope *e,
                      const struct envelope_state *st)
{
    const struct schedule_entry *s = f->entry;
    put_id(out, "id", f->id);
    put_text(out, "state", str_from_c(state_word(s)));
    put_text(out, "kind", e->kind == ENVELOPE_BOUNCE ? STR("bounce") : STR("mail"));
    if (s->site != NULL && s->site->name_n > 0)
        put_text(out, "site", schedule_site_name(s->site));
    else
        put_text(out, "site", st->site);
    put_text(out, "sender", e->sender);
    put_time(out, "arrived", e->arrival_ms);
    int64_t age_s = f->wall_ms / 1000 - (int64_t)s->created_s;
    row_number(out, "age_s", age_s < 0 ? 0 : (uint64_t)age_s);
    row_number(out, "size", f->body_size);
    row_number(out, "attempts", s->n_attempts);
    if (s->state == ENTRY_WAITING) {
        uint64_t due_ms = schedule_entry_due(s);
        put_time(out, "next", f->wall_ms + (due_ms > f->now_ms ? (int64_t)(due_ms - f->now_ms) : 0));
    }
    put_time(out, "expires", ((int64_t)s->created_s + f->expire_s) * 1000);
    if (f->is_suspended)
        row_number(out, "suspended", 1);
    struct mail_params params;
    if (!mail_params_get(e->params, &params))
        return;
    if (params.hold_until_ms > f->wall_ms)
        put_time(out, "released_at", params.hold_until_ms); /* the sender wants it so (RFC 4865) */
    if (params.tag.n > 0)
        put_text(out, "tag", params.tag);
    if (params.has_priority) {
        put_key(out, "priority");
        buf_printf(out, "%d", (int)params.priority);
    }
}

static void put_reason(struct buf *out, const struct schedule_entry *e, const struct envelope_state *st)
{
    for (uint32_t i = 0; i < st->n_rcpts; i++) {
        if (envelope_is_open(&st->rcpts[i]) && st->rcpts[i].text.n > 0) {
            put_text(out, "reason", st->rcpts[i].text);
            return;
        }
    }
    if (e->site != NULL && e->site->block_ms > 0 && e->site->why != NULL)
        put_text(out, "reason", str_from_c(e->site->why));
}

void row_entry(struct buf *out, const struct row_facts *f, const struct envelope *e,
               const struct envelope_state *st)
{
    size_t start = out->n;
    uint32_t n = 0, n_shown = 0;
    row_begin(out);
    put_facts(out, f, e, st);
    put_key(out, "recipients");
    buf_putc(out, '[');
    for (uint32_t i = 0; i < st->n_rcpts; i++) {
        if (!envelope_is_open(&st->rcpts[i]))
            continue;
        n++;
        if (n_shown == ROW_RCPTS_MAX || out->n - start > ROW_MAX)
            continue;
        if (n_shown++ > 0)
            buf_putc(out, ',');
        log_quote(out, st->rcpts[i].rcpt.address);
    }
    buf_putc(out, ']');
    row_number(out, "open", n);
    row_number(out, "of", st->n_rcpts);
    put_reason(out, f->entry, st);
    row_end(out);
}

static void put_rcpt(struct buf *out, const struct envelope_rcpt *r)
{
    static const char *const words[] = {[ENVELOPE_PENDING] = "waiting",
                                        [ENVELOPE_DEFERRED] = "deferred",
                                        [ENVELOPE_DELIVERED] = "delivered",
                                        [ENVELOPE_FAILED] = "failed",
                                        [ENVELOPE_EXPANDED] = "expanded"};
    row_begin(out);
    put_text(out, "address", r->rcpt.address);
    put_text(out, "state", str_from_c(words[r->state]));
    if (r->at_ms > 0)
        put_time(out, "at", r->at_ms);
    if (r->code > 0)
        row_number(out, "code", r->code);
    if (r->esc.class != 0) {
        put_key(out, "status");
        buf_putc(out, '"');
        esc_format(r->esc, out);
        buf_putc(out, '"');
    }
    if (r->host.n > 0)
        put_text(out, "host", r->host);
    if (r->text.n > 0)
        put_text(out, "text", r->text);
    if (class_word_of(r).n > 0)
        put_text(out, "class", class_word_of(r));
    buf_putc(out, '}');
}

void row_show(struct buf *out, const struct row_facts *f, const struct envelope *e,
              const struct envelope_state *st)
{
    size_t start = out->n;
    row_begin(out);
    put_facts(out, f, e, st);
    put_text(out, "client", e->client);
    put_text(out, "helo", e->helo);
    if (e->parent_id != 0)
        put_id(out, e->kind == ENVELOPE_BOUNCE ? "report_on" : "split_from", e->parent_id);
    if (st->is_held)
        put_text(out, "held_by", st->held_by);
    put_key(out, "recipients");
    buf_putc(out, '[');
    uint32_t i = 0;
    for (; i < st->n_rcpts && out->n - start < ROW_SHOW_MAX - 8192; i++) {
        if (i > 0)
            buf_putc(out, ',');
        put_rcpt(out, &st->rcpts[i]);
    }
    buf_putc(out, ']');
    if (i < st->n_rcpts)
        row_number(out, "recipients_left_out", st->n_rcpts - i);
    row_end(out);
}

void row_site(struct buf *out, const struct schedule_site *site, uint64_t now_ms)
{
    row_begin(out);
    if (site->name_n > 0) {
        put_text(out, "site", schedule_site_name(site));
    } else {
        put_key(out, "site");
        buf_printf(out, "\"#%016llx\"", (unsigned long long)site->by_hash.id);
    }
    row_number(out, "waiting", site->n_waiting);
    row_number(out, "active", (uint64_t)site->n_active + site->n_aside);
    row_number(out, "held", site->n_held);
    row_number(out, "window", site->block_ms > 0 ? 1 : site->window);
    row_number(out, "window_max", site->window_max);
    row_number(out, "worked", site->n_done);
    row_number(out, "failures", site->n_failures);
    if (schedule_site_is_blocked(site, now_ms))
        row_number(out, "blocked_s", (site->blocked_until_ms - now_ms + 999) / 1000);
    if (site->block_ms > 0 && site->why != NULL)
        put_text(out, "reason", str_from_c(site->why));
    row_end(out);
}
