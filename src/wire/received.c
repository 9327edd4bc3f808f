/* wire/received.c: trace fields and the form of queue ids. */
#include "wire/received.h"

#include "wire/date.h"


/* Crockford's base 32: no I, L, O, U, which look like others. */
static const char digits32[32] = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
                                  'G', 'H', 'J', 'K', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Y', 'Z'};

void queue_id_format(uint64_t id, struct buf *out)
{
    char text[QUEUE_ID_TEXT];
    for (size_t i = QUEUE_ID_TEXT; i > 0; i--) {
        text[i - 1] = digits32[id & 31];
        id >>= 5;
    }
    buf_put(out, str_of(text, sizeof text));
}

bool queue_id_parse(struct str s, uint64_t *out)
{
    uint64_t id = 0;
    if (s.n != QUEUE_ID_TEXT)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i] >= 'a' && s.p[i] <= 'z' ? (char)(s.p[i] - 32) : s.p[i];
        size_t v = str_chr(str_of(digits32, sizeof digits32), c);
        if (v == STR_NPOS || (i == 0 && v > 15)) /* 13 digits of 5 bits are 65 */
            return false;
        id = (id << 5) | v;
    }
    *out = id;
    return true;
}

struct str received_with(bool esmtp, bool lmtp, bool tls, bool auth, bool utf8)
{
    static const char *const words[2][2][2][2] = {
        /* [lmtp][utf8][tls][auth] */
        {{{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}}, {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}}},
        {{{"LMTP", "LMTPA"}, {"LMTPS", "LMTPSA"}}, {{"UTF8LMTP", "UTF8LMTPA"}, {"UTF8LMTPS", "UTF8LMTPSA"}}},
    };
    if (!esmtp && !lmtp)
        return STR("SMTP");
    return str_from_c(words[lmtp][utf8][tls][auth]);
}

/* What a client said must not end a comment or a field. */
static void put_clean(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        buf_putc(out, c < 0x21 || c == 0x7f || c == '(' || c == ')' || c == '\\' || c == ';' ? '?' : s.p[i]);
    }
}

void received_format(const struct received *r, struct buf *out)
{
    buf_puts(out, "Received: from ");
    if (r->helo.n == 0)
        buf_puts(out, "unknown");
    else
        put_clean(out, r->helo);
    buf_puts(out, " (");
    if (r->client_name.n > 0) {
        put_clean(out, r->client_name);
        buf_putc(out, ' ');
    }
    buf_putc(out, '[');
    if (r->client != NULL && r->client->kind == NETADDR_IP6)
        buf_puts(out, "IPv6:");
    if (r->client != NULL && (r->client->kind == NETADDR_IP4 || r->client->kind == NETADDR_IP6))
        netaddr_format_ip(r->client, out);
    else
        buf_puts(out, "local");
    buf_puts(out, "])\r\n\tby ");
    put_clean(out, r->by);
    buf_puts(out, " (Waxwing) with ");
    buf_put(out, r->with);
    buf_puts(out, " id ");
    queue_id_format(r->queue_id, out);
    if (r->for_rcpt.n > 0) {
        buf_puts(out, "\r\n\tfor <");
        for (size_t i = 0; i < r->for_rcpt.n; i++) {
            unsigned char c = (unsigned char)r->for_rcpt.p[i];
            buf_putc(out, c < 0x20 || c == 0x7f ? '?' : r->for_rcpt.p[i]);
        }
        buf_putc(out, '>');
    }
    buf_puts(out, ";\r\n\t");
    date_format_rfc5322(r->unix_s, out);
    buf_puts(out, "\r\n");
}
