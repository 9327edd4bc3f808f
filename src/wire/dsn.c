#include "wire/dsn.h"

#include "base/queue_id.h"
#include "wire/address.h"
#include "wire/date.h"
#include "wire/dsn_text.h"
#include "wire/encoding.h"
#include "wire/fold.h"
#include "wire/header.h"

enum {
    BOUNDARY_MAX = 70,
    ADDRESS_TYPE_MAX = 40,
    MESSAGE_ID_MAX = 250
}; /* RFC 2046 5.1.1; one line of References */

static void put_date(struct buf *out, const char *name, int64_t unix_s)
{
    buf_puts(out, name);
    date_format_rfc5322(unix_s, out);
    buf_puts(out, "\r\n");
}

/* A field whose value must stay in one piece. */
static void put_field(struct buf *out, const char *name, struct str value, bool utf8)
{
    buf_puts(out, name);
    fold_put_clean(out, value, utf8);
    buf_puts(out, "\r\n");
}

/* ---- the boundary
 * -------------------------------------------------------------------------------------------------- */

static const char boundary_alphabet[] = "0123456789BCDFGHJKLMNPQRSTVWXYZ";

/* The octet of the alphabet that follows `prefix` in text least often. */
static char rarest_next(struct str text, struct str prefix)
{
    size_t seen[256] = {0};
    for (;;) {
        size_t at = str_find(text, prefix);
        if (at == STR_NPOS)
            break;
        text = str_skip(text, at + 1);
        if (text.n >= prefix.n)
            seen[(unsigned char)text.p[prefix.n - 1]]++;
    }
    char best = boundary_alphabet[0];
    for (const char *c = boundary_alphabet; *c != '\0'; c++) {
        if (seen[(unsigned char)*c] < seen[(unsigned char)best])
            best = *c;
    }
    return best;
}

/* The report's own id can be guessed, and an original may hold many a boundary made from it. Each added octet
 * leaves at most one in 31 of those that match so far, so a few are enough for any size and however it was
 * chosen. */
static void make_boundary(const struct dsn *d, struct buf *out)
{
    buf_puts(out, "=_");
    queue_id_format(d->own_id, out);
    while (str_find(d->original, buf_str(out)) != STR_NPOS)
        must(buf_putc(out, rarest_next(d->original, buf_str(out))));
}

/* ---- the head
 * -------------------------------------------------------------------------------------------------------- */

static bool is_message_id(struct str s)
{
    if (s.n < 3 || s.n > MESSAGE_ID_MAX || s.p[0] != '<' || str_chr(s, '>') != s.n - 1)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    }
    return true;
}

/* So that mail programs show the report with the message it is about (RFC 3834 3.1.6). */
static void put_references(const struct dsn *d, struct buf *out)
{
    struct str id = dsn_original_field(d, STR("Message-ID"));
    if (!is_message_id(id))
        return;
    put_field(out, "In-Reply-To: ", id, false);
    put_field(out, "References: ", id, false);
}

static void put_head(const struct dsn *d, struct str boundary, bool is_8bit, struct buf *out)
{
    bool utf8 = dsn_head_is_utf8(d);
    put_date(out, "Date: ", d->now_s);
    buf_puts(out, "From: \"Mail server ");
    fold_put_clean(out, d->reporting_mta, utf8);
    buf_puts(out, "\"\r\n <");
    fold_put_clean(out, d->from, utf8);
    buf_puts(out, ">\r\nTo: <");
    fold_put_clean(out, d->to, utf8);
    buf_puts(out, ">\r\nSubject: ");
    dsn_put_subject(d, out);
    buf_puts(out, "\r\nMessage-ID: <");
    queue_id_format(d->own_id, out);
    buf_putc(out, '@');
    fold_put_clean(out, d->reporting_mta, utf8);
    buf_puts(out, ">\r\n");
    put_references(d, out);
    buf_puts(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
                  "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"");
    buf_put(out, boundary);
    buf_puts(out, is_8bit ? "\"\r\nContent-Transfer-Encoding: 8bit\r\n" : "\"\r\n");
}

/* ---- for programs
 * ---------------------------------------------------------------------------------------------------- */

static const char *action_word(enum dsn_action a)
{
    switch (a) {
    case DSN_FAILED:
        return "failed";
    case DSN_DELAYED:
        return "delayed";
    case DSN_DELIVERED:
        return "delivered";
    case DSN_RELAYED:
        return "relayed";
    case DSN_EXPANDED:
        return "expanded";
    }
    must_not_reach();
}

/* RFC 3464 2.3.4 wants a status; the least that an action says. */
static struct esc status_of(const struct dsn_rcpt *r)
{
    if (r->status.class != 0)
        return r->status;
    return ESC(r->action == DSN_FAILED ? 5 : r->action == DSN_DELAYED ? 4 : 2, 0, 0);
}

/* For an address outside ASCII in a part that is ASCII. */
static void put_embedded(struct str address, struct buf *out)
{
    utf8_xtext_encode(address, false, out);
    buf_puts(out, "\r\n");
}

static void put_final_recipient(const struct dsn *d, struct str address, struct buf *out)
{
    if (str_is_ascii(address)) {
        put_field(out, "Final-Recipient: rfc822; ", address, false);
    } else if (d->utf8) {
        put_field(out, "Final-Recipient: utf-8; ", address, true);
    } else {
        buf_puts(out, "Final-Recipient: utf-8; ");
        put_embedded(address, out);
    }
}

/* As the sender gave it (RFC 3464 2.3.1). What is no "type;address" is left out: it would be no field. */
static void put_original_recipient(const struct dsn *d, struct str orcpt, struct buf *out)
{
    struct str address = orcpt;
    struct str type = str_cut(&address, ';');
    address = str_trim(address);
    for (size_t i = 0; i < type.n; i++) {
        char c = type.p[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
        if (!is_word)
            return;
    }
    if (type.n == 0 || type.n > ADDRESS_TYPE_MAX || address.n == 0)
        return;
    buf_puts(out, "Original-Recipient: ");
    buf_put(out, type);
    if (str_is_ascii(address) || d->utf8 || !str_ieq(type, STR("utf-8"))) {
        put_field(out, "; ", address, d->utf8);
    } else {
        buf_puts(out, "; ");
        put_embedded(address, out);
    }
}

/* "smtp" is for what begins with a reply code (RFC 3464 2.3.6). */
static void put_diagnostic(const struct dsn *d, struct str text, struct buf *out)
{
    uint64_t code;
    bool is_reply = text.n >= 3 && str_to_u64(str_slice(text, 0, 3), 599, &code) && code >= 200;
    const char *name = is_reply ? "Diagnostic-Code: smtp;" : "Diagnostic-Code: x-waxwing;";
    struct fold f;
    buf_puts(out, name);
    fold_init(&f, out, " ", str_from_c(name).n, d->utf8);
    f.has_word = true;
    fold_words(&f, text);
    buf_puts(out, "\r\n");
}

static void put_rcpt(const struct dsn *d, const struct dsn_rcpt *r, struct buf *out)
{
    put_original_recipient(d, r->orcpt, out);
    put_final_recipient(d, r->address, out);
    put_field(out, "Action: ", str_from_c(action_word(r->action)), false);
    buf_puts(out, "Status: ");
    esc_format(status_of(r), out);
    buf_puts(out, "\r\n");
    struct str host = str_trim(r->remote_host);
    if (host.n > 0)
        put_field(out, "Remote-MTA: dns; ", str_slice(host, 0, str_chr(host, ' ')), d->utf8);
    if (str_trim(r->diagnostic).n > 0)
        put_diagnostic(d, r->diagnostic, out);
    if (r->last_attempt_s != 0)
        put_date(out, "Last-Attempt-Date: ", r->last_attempt_s);
    if (r->action == DSN_DELAYED && r->retry_until_s != 0)
        put_date(out, "Will-Retry-Until: ", r->retry_until_s);
}

static void put_status(const struct dsn *d, struct buf *out)
{
    if (d->envid.n > 0)
        put_field(out, "Original-Envelope-Id: ", d->envid, d->utf8);
    put_field(out, "Reporting-MTA: dns; ", d->reporting_mta, d->utf8);
    put_date(out, "Arrival-Date: ", d->arrival_s);
    if (d->deliver_by_s != 0) /* RFC 2852 5 */
        put_date(out, "Deliver-By-Date: ", d->deliver_by_s);
    buf_puts(out, "X-Waxwing-Queue-Id: ");
    queue_id_format(d->queue_id, out);
    buf_puts(out, "\r\n");
    for (size_t i = 0; i < d->n_rcpts; i++) {
        buf_puts(out, "\r\n");
        put_rcpt(d, &d->rcpts[i], out);
    }
}

/* ---- the original
 * ---------------------------------------------------------------------------------------------------- */

/* What came in by BDAT may hold a CR or LF alone, which must not go out: each becomes a line end. */
static void put_original(struct str s, struct buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0') {
            buf_put(out, str_slice(s, from, i));
            buf_putc(out, '?');
            from = i + 1;
        }
        bool is_pair = s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n';
        if (is_pair) {
            i++;
        } else if (s.p[i] == '\r' || s.p[i] == '\n') {
            buf_put(out, str_slice(s, from, i));
            buf_puts(out, "\r\n");
            from = i + 1;
        }
    }
    buf_put(out, str_skip(s, from));
    if (s.n > 0 && s.p[s.n - 1] != '\n' && s.p[s.n - 1] != '\r')
        buf_puts(out, "\r\n");
}

/* ---- all together
 * ---------------------------------------------------------------------------------------------------- */

static const char eight_bit[] = "\r\nContent-Transfer-Encoding: 8bit";
static const char quoted_printable[] = "\r\nContent-Transfer-Encoding: quoted-printable";

static void begin_part(struct buf *out, struct str boundary, const char *type, const char *encoding)
{
    buf_puts(out, "\r\n--");
    buf_put(out, boundary);
    buf_puts(out, "\r\nContent-Type: ");
    buf_puts(out, type);
    buf_puts(out, encoding);
    buf_puts(out, "\r\n\r\n");
}

static bool text_is_wide(const struct dsn *d)
{
    if (d->utf8 || !str_is_ascii(dsn_original_field(d, STR("Subject"))))
        return true;
    for (size_t i = 0; i < d->n_rcpts; i++) {
        const struct dsn_rcpt *r = &d->rcpts[i];
        if (!str_is_ascii(r->address) || !str_is_ascii(r->diagnostic) || !str_is_ascii(r->reason))
            return true;
    }
    return false;
}

/* A report that is not in UTF-8 may go by servers that know nothing but seven bits. */
static void put_people_part(const struct dsn *d, struct str boundary, struct buf *out)
{
    if (!text_is_wide(d)) {
        begin_part(out, boundary, "text/plain; charset=us-ascii", "");
        dsn_put_text(d, false, out);
        return;
    }
    begin_part(out, boundary, "text/plain; charset=utf-8", d->utf8 ? eight_bit : quoted_printable);
    if (d->utf8) {
        dsn_put_text(d, true, out);
        return;
    }
    struct buf text;
    struct qp_encoder qp = {0};
    buf_init(&text, out->max);
    dsn_put_text(d, true, &text);
    qp_encode(&qp, buf_str(&text), out);
    qp_encode_end(&qp, false, out);
    out->failed = out->failed || text.failed;
    buf_fini(&text);
}

/* RFC 6533 6.2, 6.3: the types for what RFC 5322 has no room for; a header section of bare octets that came
 * without SMTPUTF8 is of no type at all and goes as Postfix sends it. */
static const char *original_type(const struct dsn *d)
{
    size_t n = header_section_size(d->original);
    bool is_global = d->utf8 || (d->original_utf8 &&
                                 !str_is_ascii(str_slice(d->original, 0, n == STR_NPOS ? d->original.n : n)));
    if (d->original_is_whole)
        return is_global ? "message/global" : "message/rfc822";
    return is_global ? "message/global-headers" : "text/rfc822-headers";
}

void dsn_format(const struct dsn *d, struct buf *out)
{
    char mem[BOUNDARY_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    make_boundary(d, &b);
    struct str boundary = buf_str(&b);
    bool original_8bit = !str_is_ascii(d->original);
    put_head(d, boundary, d->utf8 || original_8bit, out);
    put_people_part(d, boundary, out);
    begin_part(out, boundary, d->utf8 ? "message/global-delivery-status" : "message/delivery-status",
               d->utf8 ? eight_bit : "");
    put_status(d, out);
    if (d->original.n > 0) {
        begin_part(out, boundary, original_type(d), original_8bit ? eight_bit : "");
        put_original(d->original, out);
    }
    buf_puts(out, "\r\n--");
    buf_put(out, boundary);
    buf_puts(out, "--\r\n");
}
