#include "queue/bounce.h"

#include "base/limits.h"
#include "base/queue_id.h"
#include "wire/date.h"
#include "wire/header.h"

enum { BOUNCE_ROOM = 128 * 1024 }; /* for what is not the original */

bool bounce_is_wanted(const struct envelope *e)
{
    return e->kind == ENVELOPE_MAIL && e->sender.n > 0;
}

bool bounce_wants(uint8_t notify, enum dsn_action action, bool is_ours, bool to_strangers)
{
    if ((notify & NOTIFY_NEVER) != 0)
        return false;
    switch (action) {
    case DSN_FAILED:
        return notify == 0 || (notify & NOTIFY_FAILURE) != 0;
    case DSN_DELAYED:
        return notify == 0 ? is_ours : (notify & NOTIFY_DELAY) != 0;
    case DSN_DELIVERED:
    case DSN_RELAYED:
    case DSN_EXPANDED:
        return (notify & NOTIFY_SUCCESS) != 0 && (is_ours || to_strangers);
    }
    must_not_reach();
}

static bool returns_whole(enum report_kind kind, const struct envelope *e)
{
    struct mail_params p;
    must(mail_params_get(e->params, &p)); /* looked at when the envelope was decoded */
    if (kind != REPORT_FAILED || p.ret == DSN_RET_HDRS || p.requiretls)
        return false;
    return e->body_size <= (p.ret == DSN_RET_FULL ? BOUNCE_MESSAGE_MAX - BOUNCE_ROOM : BOUNCE_WHOLE_MAX);
}

size_t bounce_original_size(enum report_kind kind, const struct envelope *e)
{
    if (returns_whole(kind, e) || e->body_size < BOUNCE_HEADER_MAX)
        return (size_t)e->body_size;
    return BOUNCE_HEADER_MAX;
}

/* The header section of a message that is too large to be returned whole; whole lines, even when it has no
 * end. */
static struct str header_of(struct str original)
{
    size_t n = header_section_size(original);
    if (n != STR_NPOS)
        return str_slice(original, 0, n);
    size_t line_end = str_rchr(original, '\n');
    return str_slice(original, 0, line_end == STR_NPOS ? 0 : line_end + 1);
}

static void put_trace(const struct bounce *b, struct buf *out)
{
    buf_puts(out, "Received: by ");
    buf_put(out, b->hostname);
    buf_puts(out, "\r\n\tid ");
    queue_id_format(b->own_id, out);
    buf_puts(out, "; ");
    date_format_rfc5322(b->now_ms / 1000, out);
    buf_puts(out, "\r\n");
}

bool bounce_format(const struct bounce *b, struct buf *out)
{
    size_t start = out->n;
    const struct envelope *e = b->envelope;
    char from_mem[SMTP_DOMAIN_MAX + 32];
    struct buf from;
    buf_init_fixed(&from, from_mem, sizeof from_mem);
    buf_puts(&from, "mailer-daemon@");
    buf_put(&from, b->hostname);
    bool is_whole = returns_whole(b->kind, e) && b->original.n == e->body_size && !b->original_binary &&
                    str_chr(b->original, '\0') == STR_NPOS;
    struct mail_params p;
    must(mail_params_get(e->params, &p));
    struct dsn d = {
        .reporting_mta = b->hostname,
        .from = buf_str(&from),
        .to = e->sender,
        .queue_id = b->id,
        .own_id = b->own_id,
        .envid = p.envid,
        .deliver_by_s = p.by_mode == BY_NONE ? 0 : p.by_ms / 1000,
        .arrival_s = e->arrival_ms / 1000,
        .now_s = b->now_ms / 1000,
        .rcpts = b->rcpts,
        .n_rcpts = b->n_rcpts,
        .original = is_whole ? b->original : header_of(b->original),
        .original_is_whole = is_whole,
        .original_utf8 = b->original_utf8,
        .utf8 = b->utf8,
    };
    put_trace(b, out);
    dsn_format(&d, out);
    if (!out->failed && out->n - start <= BOUNCE_MESSAGE_MAX)
        return true;
    out->n = start;
    out->failed = false;
    return false;
}

bool bounce_envelope(const struct bounce *b, uint32_t flags, uint64_t body_size, char params[BOUNCE_PARAMS],
                     struct buf *rcpts, struct envelope *out)
{
    struct buf text;
    struct mail_params of, own;
    must(mail_params_get(b->envelope->params, &of)); /* looked at when it came in */
    own = (struct mail_params){.priority = of.priority,
                               .has_priority = of.has_priority,
                               .requiretls = of.requiretls,
                               .feedback = b->feedback};
    buf_init_fixed(&text, params, BOUNCE_PARAMS);
    must(mail_params_put(&own, &text));
    buf_reset(rcpts);
    if (!rcpt_put(&(struct rcpt){.address = b->envelope->sender}, rcpts))
        return false;
    *out = (struct envelope){
        .kind = ENVELOPE_BOUNCE,
        .flags = flags,
        .arrival_ms = b->now_ms,
        .parent_id = b->id,
        .body_size = body_size,
        .params = buf_str(&text),
        .n_rcpts = 1,
        .rcpts = buf_str(rcpts),
    };
    return true;
}

/* "mx.example.org [192.0.2.1]:25" without the address. */
static struct str name_of(struct str host)
{
    return str_cut(&host, ' ');
}

/* Octets at the start of s that name the hidden address: the whole of it, or its local part between brackets
 * or quotes. *out_kept: the octets of s before what is replaced. */
static size_t hidden_at(struct str s, struct str address, size_t *out_kept)
{
    *out_kept = 0;
    if (str_istarts(s, address))
        return address.n;
    size_t at = str_rchr(address, '@');
    struct str local = str_slice(address, 0, at == STR_NPOS ? address.n : at);
    if (local.n == 0 || s.n < local.n + 2 || !str_istarts(str_skip(s, 1), local))
        return 0;
    char open = s.p[0], end = s.p[local.n + 1];
    bool is_quoted = (open == '<' && end == '>') || ((open == '"' || open == '\'') && open == end);
    *out_kept = 1;
    return is_quoted ? local.n + 1 : 0;
}

/* A reply that was cut may end within the address. */
static struct str without_beginning(struct str text, struct str address)
{
    if (text.n < ENVELOPE_TEXT_MAX)
        return text;
    for (size_t n = address.n - 1; n > 0 && address.n > 0; n--) {
        if (str_iends(text, str_slice(address, 0, n)))
            return str_slice(text, 0, text.n - n);
    }
    return text;
}

/* Appends the reply without the address that the sender must not learn; what has no room is left out. */
static void put_reply(const struct envelope_rcpt *r, size_t max, struct buf *out)
{
    struct str s = r->text, address = r->rcpt.address;
    if (r->rcpt.shown.n == 0 || address.n == 0 || str_ieq(r->rcpt.shown, address)) {
        buf_put(out, s);
        return;
    }
    s = without_beginning(s, address);
    while (s.n > 0) {
        size_t kept, n = hidden_at(s, address, &kept);
        struct str piece = n > 0 ? r->rcpt.shown : str_slice(s, 0, 1);
        if (out->n + kept + piece.n > max)
            return;
        buf_put(out, str_slice(s, 0, kept * (n > 0)));
        buf_put(out, piece);
        s = str_skip(s, n > 0 ? n : 1);
    }
}

static struct esc status_for(enum dsn_action action, struct esc esc)
{
    uint8_t class = action == DSN_FAILED ? 5 : action == DSN_DELAYED ? 4 : 2;
    return esc.class == class ? esc : ESC(class, 0, 0);
}

struct dsn_rcpt bounce_rcpt(const struct envelope_rcpt *r, enum dsn_action action, enum bounce_why why,
                            struct buf *text)
{
    struct dsn_rcpt d = {
        .address = r->rcpt.shown.n > 0 ? r->rcpt.shown : r->rcpt.address,
        .orcpt = r->rcpt.orcpt,
        .action = action,
        .status = status_for(action, r->esc),
        .remote_host = r->code != 0 ? name_of(r->host) : STR_NIL,
        .last_attempt_s = r->at_ms / 1000,
    };
    size_t start = text->n;
    if (r->code != 0) {
        buf_printf(text, "%u ", (unsigned)r->code);
        if (r->esc.class != 0) {
            esc_format(r->esc, text);
            buf_putc(text, ' ');
        }
    }
    put_reply(r, start + BOUNCE_RCPT_TEXT, text);
    struct str said = text->failed ? STR_NIL : str_of(text->p + start, text->n - start);
    text->failed = false;
    bool is_good = action != DSN_FAILED && action != DSN_DELAYED; /* our own words about it are no news */
    if (r->code != 0)
        d.diagnostic = said;
    else if (!is_good)
        d.reason = said;
    if (why == BOUNCE_REFUSED)
        return d;
    d.status = ESC(d.status.class, 4, 7); /* RFC 3463 3.5: X.4.7 delivery time expired */
    if (why == BOUNCE_LATE)
        d.reason = STR("The time that was set for its delivery when it was sent has passed.");
    else if (r->code != 0)
        d.reason = STR("It could not be delivered within the time that mail is kept here.");
    return d;
}
