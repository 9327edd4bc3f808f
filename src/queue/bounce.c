#include "queue/bounce.h"

#include "base/limits.h"
#include "wire/date.h"
#include "wire/header.h"
#include "wire/received.h"

bool bounce_is_wanted(const struct envelope *e)
{
    return e->kind == ENVELOPE_MAIL && e->sender.n > 0;
}

size_t bounce_original_size(uint64_t body_size)
{
    if (body_size <= BOUNCE_WHOLE_MAX)
        return (size_t)body_size;
    return body_size < BOUNCE_HEADER_MAX ? (size_t)body_size : BOUNCE_HEADER_MAX;
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
    bool is_whole = e->body_size <= BOUNCE_WHOLE_MAX && b->original.n == e->body_size;
    struct dsn d = {
        .reporting_mta = b->hostname,
        .from = buf_str(&from),
        .to = e->sender,
        .queue_id = b->id,
        .own_id = b->own_id,
        .arrival_s = e->arrival_ms / 1000,
        .now_s = b->now_ms / 1000,
        .rcpts = b->rcpts,
        .n_rcpts = b->n_rcpts,
        .original = is_whole ? b->original : header_of(b->original),
        .original_is_whole = is_whole,
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

bool bounce_envelope(const struct bounce *b, uint32_t flags, uint64_t body_size, struct buf *rcpts,
                     struct envelope *out)
{
    buf_reset(rcpts);
    if (!rcpt_put(&(struct rcpt){.address = b->envelope->sender}, rcpts))
        return false;
    *out = (struct envelope){
        .kind = ENVELOPE_BOUNCE,
        .flags = flags,
        .arrival_ms = b->now_ms,
        .parent_id = b->id,
        .body_size = body_size,
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

struct dsn_rcpt bounce_rcpt(const struct envelope_rcpt *r, bool is_expired, struct buf *text)
{
    struct dsn_rcpt d = {
        .address = r->rcpt.address,
        .action = DSN_FAILED,
        .status = r->esc,
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
        buf_put(text, r->text);
        if (!text->failed)
            d.diagnostic = str_of(text->p + start, text->n - start);
        text->failed = false;
    } else {
        d.reason = r->text;
    }
    if (is_expired) { /* RFC 3463 3.5: X.4.7 delivery time expired */
        d.status = ESC(5, 4, 7);
        if (r->code != 0)
            d.reason = STR("It could not be delivered within the time that mail is kept here.");
    } else if (d.status.class != 5) {
        d.status = ESC(5, 0, 0);
    }
    return d;
}
