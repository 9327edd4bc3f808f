/* proto/smtp_server_body.c: the message's octets on their way to the owner: size limit, and the mending of
 * bare CR and LF for clients of one's own (conf.normalize_bare).
 *
 * Mended or not, only <CRLF>.<CRLF> ends data: "\n.\n" becomes a line with a dot alone in the middle of the
 * message, which is stuffed again wherever it is sent on. Postfix (smtpd_forbid_bare_newline = normalize)
 * takes the dot off every line that ends in a bare LF; here it is taken off only when there are two, as a
 * client that stuffs would have made them: one that does not loses nothing.
 */
#include "proto/smtp_server_cmd.h"

#include <string.h>

/* ---- line ends ----------------------------------------------------------------------------------------- */

/* Octets up to the first CR or LF that is not in a CRLF within in. */
static size_t good_run(struct str in)
{
    size_t i = 0;
    while (i < in.n) {
        const char *lf = memchr(in.p + i, '\n', in.n - i);
        size_t end = lf == NULL ? in.n : (size_t)(lf - in.p);
        const char *cr = memchr(in.p + i, '\r', end - i);
        if (cr != NULL && (lf == NULL || cr + 1 != lf))
            return (size_t)(cr - in.p);
        if (lf != NULL && cr == NULL)
            return end;
        i = lf == NULL ? end : end + 1;
    }
    return in.n;
}

static struct str take(struct str *in, size_t n)
{
    struct str taken = str_slice(*in, 0, n);
    *in = str_skip(*in, n);
    return taken;
}

/* The octets at the front of in, not empty; empty when they only moved the state. */
static struct str newlines_step(struct newlines *n, struct str *in)
{
    char c = in->p[0];
    size_t run;
    switch (n->state) {
    case NEWLINES_CR:
        n->state = c == '\n' ? NEWLINES_TEXT : NEWLINES_BARE;
        (void)take(in, c == '\n');
        return STR("\r\n");
    case NEWLINES_BARE:
        n->state = c == '.' && n->unstuffs ? NEWLINES_BARE_DOT : NEWLINES_TEXT;
        (void)take(in, n->state == NEWLINES_BARE_DOT);
        return STR_NIL;
    case NEWLINES_BARE_DOT:
        n->state = NEWLINES_TEXT;
        (void)take(in, c == '.');
        return STR(".");
    case NEWLINES_TEXT:
        run = good_run(*in);
        if (run > 0)
            return take(in, run);
        n->state = c == '\r' ? NEWLINES_CR : NEWLINES_BARE;
        (void)take(in, 1);
        return c == '\r' ? STR_NIL : STR("\r\n");
    }
    must_not_reach();
}

struct str newlines_next(struct newlines *n, struct str *in)
{
    struct str out = STR_NIL;
    while (out.n == 0 && in->n > 0)
        out = newlines_step(n, in);
    if (out.n == 0 && n->at_end && n->state == NEWLINES_CR) {
        n->state = NEWLINES_TEXT;
        out = STR("\r\n");
    }
    return out;
}

size_t newlines_size(struct newlines n, struct str in)
{
    size_t total = 0;
    for (struct str out = newlines_next(&n, &in); out.n > 0; out = newlines_next(&n, &in))
        total += out.n;
    return total;
}

/* ---- to the owner -------------------------------------------------------------------------------------- */

void smtp_server_refuse_message(struct smtp_server *s, enum smtp_reply_id id)
{
    s->refused = id;
    if (s->is_granted) { /* the owner need not keep what it has */
        s->is_granted = false;
        s->pending = (uint16_t)((s->pending & ~(1u << SMTP_EV_BODY)) | 1u << SMTP_EV_ABORT);
        s->abort_reply = id;
    }
}

static bool normalizes(const struct smtp_server *s)
{
    return s->conf->normalize_bare && s->tx.body != SMTP_BODY_BINARYMIME;
}

static void hand_out(struct smtp_server *s, struct str octets)
{
    size_t n = normalizes(s) ? newlines_size(s->newlines, octets) : octets.n;
    if (n > smtp_server_size_max(s) - s->tx.size) {
        smtp_server_refuse_message(s, R_TOO_BIG);
        return;
    }
    s->tx.size += n;
    s->body = octets;
    s->body_rest = STR_NIL;
    if (normalizes(s)) {
        s->body_rest = octets;
        s->body = newlines_next(&s->newlines, &s->body_rest);
    }
    if (s->body.n > 0)
        s->pending |= 1u << SMTP_EV_BODY;
}

void smtp_server_take_body(struct smtp_server *s, struct str octets)
{
    if (s->refused != R_NONE || octets.n == 0)
        return;
    s->newlines.unstuffs = s->phase == SMTP_SERVER_DATA;
    hand_out(s, octets);
}

void smtp_server_end_body(struct smtp_server *s)
{
    if (s->refused != R_NONE || !normalizes(s))
        return;
    bool is_pending = (s->pending & 1u << SMTP_EV_BODY) != 0;
    struct newlines after = s->newlines; /* as it will be when what waits was taken */
    struct str rest = is_pending ? s->body_rest : STR_NIL;
    while (rest.n > 0)
        (void)newlines_next(&after, &rest);
    if (after.state != NEWLINES_CR)
        return;
    if (smtp_server_size_max(s) - s->tx.size < 2) {
        smtp_server_refuse_message(s, R_TOO_BIG);
        return;
    }
    s->tx.size += 2;
    s->newlines.at_end = true;
    if (!is_pending) {
        s->body_rest = STR_NIL;
        s->body = newlines_next(&s->newlines, &s->body_rest);
        s->pending |= 1u << SMTP_EV_BODY;
    }
}

struct str smtp_server_next_body(struct smtp_server *s)
{
    struct str octets = s->body;
    s->body = normalizes(s) ? newlines_next(&s->newlines, &s->body_rest) : STR_NIL;
    if (s->body.n > 0)
        s->pending |= 1u << SMTP_EV_BODY;
    return octets;
}
