#include "queue/envelope.h"

#include "base/limits.h"

#include <string.h>

enum { RECORD_VERSION = 2, DELTA_VERSION = 1, HINT_VERSION = 1 };
enum delta_item { DELTA_RCPTS = 1, DELTA_ATTEMPT, DELTA_HOLD, DELTA_REPORTED };

/* ---- record
 * -------------------------------------------------------------------------------------------------------- */

size_t envelope_encoded_size(const struct envelope *e)
{
    return 1 + 1 + 4 + 8 + 8 + 8 + 4 + e->sender.n + 4 + e->params.n + 4 + e->client.n + 4 + e->helo.n + 4 +
           e->rcpts.n;
}

bool envelope_encode(const struct envelope *e, struct buf *out)
{
    buf_put_u8(out, RECORD_VERSION);
    buf_put_u8(out, (uint8_t)e->kind);
    buf_put_u32(out, e->flags);
    buf_put_u64(out, (uint64_t)e->arrival_ms);
    buf_put_u64(out, e->parent_id);
    buf_put_u64(out, e->body_size);
    buf_put_lstr(out, e->sender);
    buf_put_lstr(out, e->params);
    buf_put_lstr(out, e->client);
    buf_put_lstr(out, e->helo);
    buf_put_u32(out, e->n_rcpts);
    return buf_put(out, e->rcpts);
}

bool envelope_decode(struct str octets, struct envelope *out)
{
    struct reader r = reader_of(octets);
    uint8_t version = read_u8(&r);
    uint8_t kind = read_u8(&r);
    struct envelope e = {.kind = kind == ENVELOPE_BOUNCE ? ENVELOPE_BOUNCE : ENVELOPE_MAIL};
    e.flags = read_u32(&r);
    e.arrival_ms = (int64_t)read_u64(&r);
    e.parent_id = read_u64(&r);
    e.body_size = read_u64(&r);
    e.sender = read_lstr(&r);
    e.params = read_lstr(&r);
    e.client = read_lstr(&r);
    e.helo = read_lstr(&r);
    e.n_rcpts = read_u32(&r);
    e.rcpts = r.rest;
    if (r.failed || version != RECORD_VERSION || kind > ENVELOPE_BOUNCE || e.arrival_ms < 0)
        return false;
    if (e.sender.n > SMTP_PATH_MAX || str_has_ctl(e.sender))
        return false;
    struct mail_params params;
    if (!mail_params_get(e.params, &params) || e.n_rcpts == 0 || rcpt_count(e.rcpts) != e.n_rcpts)
        return false;
    *out = e;
    return true;
}

void envelope_state_init(struct envelope_state *st, const struct envelope *e, struct envelope_rcpt *rcpts)
{
    *st = (struct envelope_state){.rcpts = rcpts, .n_rcpts = e->n_rcpts};
    struct reader r = reader_of(e->rcpts);
    for (uint32_t i = 0; i < e->n_rcpts; i++) {
        rcpts[i] = (struct envelope_rcpt){0};
        must(rcpt_next(&r, &rcpts[i].rcpt)); /* the record was counted when it was decoded */
    }
    must(reader_done(&r));
}

/* ---- deltas
 * -------------------------------------------------------------------------------------------------------- */

void delta_begin(struct buf *out)
{
    buf_reset(out);
    buf_put_u8(out, DELTA_VERSION);
}

/* An item goes in whole or not at all. */
static bool finish_item(struct buf *out, size_t start)
{
    if (!out->failed && out->n <= ENVELOPE_DELTA_MAX)
        return true;
    out->n = start;
    out->failed = false;
    return false;
}

bool delta_put_rcpts(struct buf *out, uint32_t first, uint32_t last, const struct envelope_rcpt *o)
{
    size_t start = out->n;
    must(first <= last && last < SMTP_RCPT_MAX);
    buf_put_u8(out, DELTA_RCPTS);
    buf_put_u16(out, (uint16_t)first);
    buf_put_u16(out, (uint16_t)last);
    buf_put_u8(out, (uint8_t)o->state);
    buf_put_u8(out, o->stage);
    buf_put_u16(out, o->code);
    buf_put_u8(out, o->esc.class);
    buf_put_u16(out, o->esc.subject);
    buf_put_u16(out, o->esc.detail);
    buf_put_u64(out, (uint64_t)o->at_ms);
    buf_put_lstr(out, str_slice(o->host, 0, ENVELOPE_HOST_MAX));
    buf_put_lstr(out, str_slice(o->text, 0, ENVELOPE_TEXT_MAX));
    return finish_item(out, start);
}

bool delta_put_attempt(struct buf *out, int64_t next_ms, uint32_t n_attempts, struct str site)
{
    size_t start = out->n;
    buf_put_u8(out, DELTA_ATTEMPT);
    buf_put_u64(out, (uint64_t)next_ms);
    buf_put_u32(out, n_attempts);
    buf_put_lstr(out, str_slice(site, 0, ENVELOPE_SITE_MAX));
    return finish_item(out, start);
}

bool delta_put_hold(struct buf *out, bool is_held, struct str by)
{
    size_t start = out->n;
    buf_put_u8(out, DELTA_HOLD);
    buf_put_u8(out, is_held);
    buf_put_lstr(out, str_slice(by, 0, ENVELOPE_TEXT_MAX));
    return finish_item(out, start);
}

bool delta_put_reported(struct buf *out, unsigned reported)
{
    size_t start = out->n;
    must(reported <= REPORTED_ALL);
    buf_put_u8(out, DELTA_REPORTED);
    buf_put_u8(out, (uint8_t)reported);
    return finish_item(out, start);
}

static bool read_rcpts(struct reader *r, struct envelope_state *st, bool apply)
{
    uint32_t first = read_u16(r);
    uint32_t last = read_u16(r);
    uint8_t state = read_u8(r);
    struct envelope_rcpt o = {.stage = read_u8(r)};
    o.code = read_u16(r);
    o.esc.class = read_u8(r);
    o.esc.subject = read_u16(r);
    o.esc.detail = read_u16(r);
    o.at_ms = (int64_t)read_u64(r);
    o.host = read_lstr(r);
    o.text = read_lstr(r);
    if (r->failed || state > ENVELOPE_EXPANDED || first > last || last >= st->n_rcpts)
        return false;
    o.state = (enum envelope_rcpt_state)state;
    for (uint32_t i = first; apply && i <= last; i++) {
        o.rcpt = st->rcpts[i].rcpt;
        st->rcpts[i] = o;
    }
    return true;
}

static bool read_attempt(struct reader *r, struct envelope_state *st, bool apply)
{
    int64_t next_ms = (int64_t)read_u64(r);
    uint32_t n = read_u32(r);
    struct str site = read_lstr(r);
    if (r->failed || next_ms < 0)
        return false;
    if (apply) {
        st->next_ms = next_ms;
        st->n_attempts = n;
        st->site = site;
    }
    return true;
}

static bool read_hold(struct reader *r, struct envelope_state *st, bool apply)
{
    uint8_t held = read_u8(r);
    struct str by = read_lstr(r);
    if (r->failed || held > 1)
        return false;
    if (apply) {
        st->is_held = held == 1;
        st->held_by = by;
    }
    return true;
}

static bool read_reported(struct reader *r, struct envelope_state *st, bool apply)
{
    uint8_t reported = read_u8(r);
    if (r->failed || reported > REPORTED_ALL)
        return false;
    if (apply)
        st->reported |= reported;
    return true;
}

static bool walk_delta(struct str delta, struct envelope_state *st, bool apply)
{
    struct reader r = reader_of(delta);
    if (read_u8(&r) != DELTA_VERSION)
        return false;
    while (r.rest.n > 0) {
        uint8_t item = read_u8(&r);
        bool ok = false;
        if (item == DELTA_RCPTS)
            ok = read_rcpts(&r, st, apply);
        else if (item == DELTA_ATTEMPT)
            ok = read_attempt(&r, st, apply);
        else if (item == DELTA_HOLD)
            ok = read_hold(&r, st, apply);
        else if (item == DELTA_REPORTED)
            ok = read_reported(&r, st, apply);
        if (!ok)
            return false;
    }
    return true;
}

bool envelope_apply(struct str delta, struct envelope_state *st)
{
    if (!walk_delta(delta, st, false))
        return false;
    return walk_delta(delta, st, true);
}

struct str delta_site(struct str delta)
{
    /* For this question the number of recipients does not matter. */
    struct envelope_state st = {.n_rcpts = SMTP_RCPT_MAX};
    struct reader r = reader_of(delta);
    if (read_u8(&r) != DELTA_VERSION)
        return STR_NIL;
    bool ok = true;
    while (ok && r.rest.n > 0) {
        uint8_t item = read_u8(&r);
        ok = item == DELTA_RCPTS      ? read_rcpts(&r, &st, false)
             : item == DELTA_ATTEMPT  ? read_attempt(&r, &st, true)
             : item == DELTA_HOLD     ? read_hold(&r, &st, false)
             : item == DELTA_REPORTED ? read_reported(&r, &st, false)
                                      : false;
    }
    return ok ? st.site : STR_NIL;
}

/* ---- hint ---- */

void hint_encode(const struct envelope_hint *h, unsigned char out[STORE_HINT])
{
    memset(out, 0, STORE_HINT);
    out[0] = HINT_VERSION;
    out[1] = (unsigned char)h->flags;
    put_u16_at(out + 2, h->n_attempts);
    put_u32_at(out + 4, h->created_s);
    put_u64_at(out + 8, (uint64_t)h->next_ms);
    put_u64_at(out + 16, h->site_hash);
    out[24] = (unsigned char)h->priority;
}

bool hint_decode(const unsigned char in[STORE_HINT], struct envelope_hint *out)
{
    struct envelope_hint h = {
        .flags = in[1],
        .n_attempts = get_u16_at(in + 2),
        .created_s = get_u32_at(in + 4),
        .next_ms = (int64_t)get_u64_at(in + 8),
        .site_hash = get_u64_at(in + 16),
        .priority = (int8_t)in[24],
    };
    bool ok = in[0] == HINT_VERSION && h.flags <= HINT_ALL && h.next_ms >= 0 &&
              h.priority >= MT_PRIORITY_MIN && h.priority <= MT_PRIORITY_MAX;
    for (size_t i = 25; i < STORE_HINT; i++)
        ok = ok && in[i] == 0;
    if (ok)
        *out = h;
    return ok;
}
