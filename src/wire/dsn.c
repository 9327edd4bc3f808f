/* wire/dsn.c: a delivery status notification, RFC 3464 in the frame of RFC 6522, with the UTF-8 forms of RFC 6533. */
#include "wire/dsn.h"

#include "wire/date.h"
#include "wire/received.h"

/* Text for one header-like line: control characters become spaces, long text is folded at spaces. */
static void put_field(struct buf *out, const char *name, struct str a, struct str b)
{
    size_t column = 0;
    buf_puts(out, name);
    column = str_from_c(name).n;
    struct str parts[2] = {a, b};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < parts[k].n; i++, column++) {
            unsigned char c = (unsigned char)parts[k].p[i];
            bool is_space = c <= 0x20 || c == 0x7f;
            if (is_space && column > 70 && i + 1 < parts[k].n) {
                buf_puts(out, "\r\n");
                column = 0;
            }
            buf_putc(out, is_space ? ' ' : parts[k].p[i]);
        }
    }
    buf_puts(out, "\r\n");
}

/* Octets over 0x7f that are not UTF-8 mail: '?' keeps the part what it says it is. */
static bool needs_8bit(const struct dsn *d)
{
    if (!str_is_ascii(d->to) || !str_is_ascii(d->original))
        return true;
    for (size_t i = 0; i < d->n_rcpts; i++) {
        if (!str_is_ascii(d->rcpts[i].address) || !str_is_ascii(d->rcpts[i].diagnostic))
            return true;
    }
    return false;
}

/* ---- for people ------------------------------------------------------------------------------------------------------ */

/* By RFC 3463's subject and detail; the most telling first. */
static const char *reason_of(struct esc e)
{
    static const struct {
        uint16_t subject, detail;
        const char *text;
    } rows[] = {
        {1, 1, "The mailbox does not exist. Check the spelling of the address before the @."},
        {1, 2, "The domain does not exist. Check the spelling of the address after the @."},
        {1, 3, "The address is malformed."},
        {1, 10, "The domain says that it takes no mail at all."},
        {2, 1, "The mailbox is switched off."},
        {2, 2, "The mailbox is full."},
        {2, 3, "The message is larger than the mailbox takes."},
        {3, 1, "The other mail system had no room left."},
        {3, 4, "The message is larger than the other system takes."},
        {4, 1, "The other mail server did not answer."},
        {4, 2, "The connection to the other mail server broke."},
        {4, 3, "The name servers of the domain did not answer."},
        {4, 4, "No mail server could be found for the domain."},
        {4, 6, "The message went in a circle between mail servers."},
        {4, 7, "The message could not be delivered in the time allowed for it."},
        {6, 7, "The address is not ASCII and the other server can't take such addresses."},
        {7, 1, "The other mail server refused it; its words below say why."},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].subject == e.subject && rows[i].detail == e.detail)
            return rows[i].text;
    }
    return e.class == 5 ? "The other mail system refused the message." : "The other mail system could not take it for now.";
}

static const char *opening(enum dsn_action a)
{
    switch (a) {
    case DSN_FAILED:
        return "Your message could not be delivered to:";
    case DSN_DELAYED:
        return "Your message has not been delivered yet, and is still being tried, to:";
    case DSN_DELIVERED:
        return "Your message was delivered to:";
    case DSN_RELAYED:
        return "Your message was handed to a system that sends no further reports, for:";
    case DSN_EXPANDED:
        return "Your message was delivered to the members of:";
    }
    must_not_reach();
}

static const char *action_word(enum dsn_action a)
{
    static const char *const words[] = {
        [DSN_FAILED] = "failed",   [DSN_DELAYED] = "delayed",   [DSN_DELIVERED] = "delivered",
        [DSN_RELAYED] = "relayed", [DSN_EXPANDED] = "expanded",
    };
    must((size_t)a < ARRAY_LEN(words));
    return words[a];
}

static void put_rcpt_text(const struct dsn_rcpt *r, struct buf *out)
{
    put_field(out, "\r\n    ", r->address, STR_NIL);
    put_field(out, "    ", r->reason.n > 0 ? r->reason : str_from_c(reason_of(r->status)), STR_NIL);
    if (r->diagnostic.n > 0) {
        if (r->remote_host.n > 0)
            put_field(out, "    The server ", r->remote_host, STR(" said:"));
        put_field(out, "        ", r->diagnostic, STR_NIL);
    }
}

static void put_text(const struct dsn *d, struct buf *out)
{
    put_field(out, "This is the mail server ", d->reporting_mta, STR("."));
    for (unsigned a = DSN_FAILED; a <= DSN_EXPANDED; a++) {
        bool any = false;
        for (size_t i = 0; i < d->n_rcpts; i++) {
            if (d->rcpts[i].action != (enum dsn_action)a)
                continue;
            if (!any)
                put_field(out, "\r\n", str_from_c(opening((enum dsn_action)a)), STR_NIL);
            any = true;
            put_rcpt_text(&d->rcpts[i], out);
        }
    }
    buf_puts(out, "\r\nIf you ask somebody for help, give them this message; its number here was\r\n");
    queue_id_format(d->queue_id, out);
    buf_puts(out, ". The technical details and ");
    buf_puts(out, d->original_is_whole ? "your message" : "the header of your message");
    buf_puts(out, " are attached.\r\n");
}

/* ---- for programs ---------------------------------------------------------------------------------------------------- */

static void put_date(struct buf *out, const char *name, int64_t unix_s)
{
    buf_puts(out, name);
    date_format_rfc5322(unix_s, out);
    buf_puts(out, "\r\n");
}

static void put_status(const struct dsn *d, struct buf *out)
{
    put_field(out, "Reporting-MTA: dns; ", d->reporting_mta, STR_NIL);
    put_date(out, "Arrival-Date: ", d->arrival_s);
    for (size_t i = 0; i < d->n_rcpts; i++) {
        const struct dsn_rcpt *r = &d->rcpts[i];
        bool utf8 = !str_is_ascii(r->address);
        put_field(out, utf8 ? "\r\nFinal-Recipient: utf-8; " : "\r\nFinal-Recipient: rfc822; ", r->address, STR_NIL);
        buf_printf(out, "Action: %s\r\nStatus: ", action_word(r->action));
        esc_format(r->status, out);
        buf_puts(out, "\r\n");
        if (r->remote_host.n > 0)
            put_field(out, "Remote-MTA: dns; ", str_slice(r->remote_host, 0, str_chr(r->remote_host, ' ')), STR_NIL);
        if (r->diagnostic.n > 0)
            put_field(out, "Diagnostic-Code: smtp; ", r->diagnostic, STR_NIL);
        if (r->last_attempt_s != 0)
            put_date(out, "Last-Attempt-Date: ", r->last_attempt_s);
    }
}

static const char *subject_of(const struct dsn *d)
{
    bool failed = false, delayed = false;
    for (size_t i = 0; i < d->n_rcpts; i++) {
        failed = failed || d->rcpts[i].action == DSN_FAILED;
        delayed = delayed || d->rcpts[i].action == DSN_DELAYED;
    }
    return failed ? "Your message could not be delivered" : delayed ? "Your message is delayed" : "Your message was delivered";
}

/* From the report's own id, and counted up until it stands nowhere in the original. */
static void make_boundary(const struct dsn *d, struct buf *b)
{
    for (unsigned i = 0; i < 1000; i++) {
        buf_reset(b);
        buf_puts(b, "=_report_");
        queue_id_format(d->own_id, b);
        buf_printf(b, "_%u", i);
        if (str_find(d->original, buf_str(b)) == STR_NPOS)
            return;
    }
}

static void put_head(const struct dsn *d, struct str boundary, bool is_8bit, struct buf *out)
{
    put_date(out, "Date: ", d->now_s);
    put_field(out, "From: Mail server <", d->from, STR(">"));
    put_field(out, "To: <", d->to, STR(">"));
    buf_printf(out, "Subject: %s\r\nMessage-ID: <", subject_of(d));
    queue_id_format(d->own_id, out);
    put_field(out, "@", d->reporting_mta, STR(">"));
    buf_puts(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
    buf_printf(out, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%.*s\"\r\n", STR_FMT(boundary));
    if (is_8bit)
        buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
    buf_puts(out, "\r\nThis is a report in MIME format.\r\n");
}

static void begin_part(struct buf *out, struct str boundary, const char *type, bool is_8bit)
{
    buf_printf(out, "\r\n--%.*s\r\nContent-Type: %s\r\n%s\r\n", STR_FMT(boundary), type,
               is_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

void dsn_format(const struct dsn *d, struct buf *out)
{
    char mem[64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    make_boundary(d, &b);
    struct str boundary = buf_str(&b);
    bool is_8bit = needs_8bit(d);
    put_head(d, boundary, is_8bit, out);
    begin_part(out, boundary, "text/plain; charset=utf-8", is_8bit);
    put_text(d, out);
    begin_part(out, boundary, d->utf8 ? "message/global-delivery-status" : "message/delivery-status", d->utf8);
    put_status(d, out);
    if (d->original_is_whole)
        begin_part(out, boundary, d->utf8 ? "message/global" : "message/rfc822", is_8bit);
    else
        begin_part(out, boundary, d->utf8 ? "message/global-headers" : "text/rfc822-headers", is_8bit);
    buf_put(out, d->original);
    if (!str_ends(d->original, STR("\n")))
        buf_puts(out, "\r\n");
    buf_printf(out, "\r\n--%.*s--\r\n", STR_FMT(boundary));
}
