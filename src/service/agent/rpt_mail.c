/* service/agent/rpt_mail.c: the message that carries a report (RFC 8460 5.3): multipart/report with a part
 * for people and the packed report.
 *
 * Limits:   those of out. No line is over 998 octets: addresses and domains are bounded by the envelope's
 * limits. Security: what is put into fields was checked: addresses and names in ASCII, without quotes and
 * control characters.
 */
#include "base/base64.h"
#include "base/queue_id.h"
#include "service/agent/rpt.h"
#include "wire/date.h"

enum { LINE_OCTETS = 57 }; /* 76 characters: RFC 2045 6.8 */

static void put_field(struct buf *out, const char *name, struct str value)
{
    buf_puts(out, name);
    buf_puts(out, ": ");
    buf_put(out, value);
    buf_puts(out, "\r\n");
}

/* As the queue's own reports have it. */
static void put_trace(const struct rpt_mail *m, struct buf *out)
{
    buf_puts(out, "Received: by ");
    buf_put(out, m->hostname);
    buf_puts(out, "\r\n\tid ");
    queue_id_format(m->queue_id, out);
    buf_puts(out, "; ");
    date_format_rfc5322(m->now_s, out);
    buf_puts(out, "\r\n");
}

static void put_subject(const struct rpt_mail *m, struct buf *out)
{
    buf_puts(out, "Subject: Report Domain: ");
    buf_put(out, m->domain);
    buf_puts(out, "\r\n\tSubmitter: ");
    buf_put(out, m->submitter);
    buf_puts(out, "\r\n\tReport-ID: <");
    buf_put(out, m->id);
    buf_puts(out, ">\r\n");
}

static void put_message_id(const struct rpt_mail *m, struct buf *out)
{
    buf_puts(out, "Message-ID: <");
    queue_id_format(m->queue_id, out);
    buf_puts(out, ".tlsrpt@");
    buf_put(out, m->submitter);
    buf_puts(out, ">\r\n");
}

/* It begins with what no line of base64, and no line of the other part, begins with. */
static void put_boundary(const struct rpt_mail *m, struct buf *out)
{
    buf_puts(out, "=_tlsrpt_");
    queue_id_format(m->queue_id, out);
}

static void put_header(const struct rpt_mail *m, struct buf *out)
{
    put_trace(m, out);
    buf_puts(out, "Date: ");
    date_format_rfc5322(m->now_s, out);
    buf_puts(out, "\r\n");
    put_field(out, "From", m->from);
    put_field(out, "To", m->to);
    put_subject(m, out);
    put_message_id(m, out);
    put_field(out, "TLS-Report-Domain", m->domain);
    put_field(out, "TLS-Report-Submitter", m->submitter);
    put_field(out, "TLS-Required", STR("No"));
    put_field(out, "Auto-Submitted", STR("auto-generated"));
    put_field(out, "MIME-Version", STR("1.0"));
    buf_puts(out, "Content-Type: multipart/report; report-type=tlsrpt;\r\n\tboundary=\"");
    put_boundary(m, out);
    buf_puts(out, "\"\r\n\r\n");
}

static void put_part(const struct rpt_mail *m, const char *head, struct buf *out)
{
    buf_puts(out, "--");
    put_boundary(m, out);
    buf_puts(out, "\r\n");
    buf_puts(out, head);
}

bool rpt_mail_format(const struct rpt_mail *m, struct buf *out)
{
    put_header(m, out);
    put_part(m, "Content-Type: text/plain; charset=us-ascii\r\n\r\nThis is a report of ", out);
    buf_put(out, m->submitter);
    buf_puts(out, " about TLS with the mail servers of\r\n");
    buf_put(out, m->domain);
    buf_puts(out,
             ", which asks for it in its DNS (RFC 8460).\r\nPrograms read it better than people.\r\n\r\n");
    put_part(m,
             "Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n"
             "Content-Disposition: attachment;\r\n\tfilename=\"",
             out);
    buf_put(out, m->file_name);
    buf_puts(out, "\"\r\n\r\n");
    for (size_t i = 0; i < m->packed.n; i += LINE_OCTETS) {
        base64_put(out, str_slice(m->packed, i, i + LINE_OCTETS));
        buf_puts(out, "\r\n");
    }
    buf_puts(out, "\r\n--");
    put_boundary(m, out);
    buf_puts(out, "--\r\n");
    return !out->failed;
}
