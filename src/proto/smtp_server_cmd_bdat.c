/* proto/smtp_server_cmd_bdat.c: BDAT (RFC 3030 2).
 *
 * The octets of a chunk are read whatever the command's fate, then it is answered. The first refused chunk
 * tells the reason, those behind it (a client may pipeline them) get R_BDAT_FAILED; a refused LAST chunk ends
 * the transaction. Without BODY=BINARYMIME a chunk with a bare CR or LF is refused like DATA (or mended where
 * conf.normalize_bare says so), or such a message could be smuggled out by whoever relays it with DATA. With
 * it the octets are taken as they are.
 */
#include "proto/smtp_server_cmd.h"

#include <string.h>

/* Is each CR before an LF and each LF behind a CR? *last_cr carries the state from piece to piece. */
static bool has_only_crlf(bool *last_cr, struct str in)
{
    if (in.n == 0)
        return true;
    if (*last_cr && in.p[0] != '\n')
        return false;
    for (size_t at = 0; at < in.n;) {
        const char *lf = memchr(in.p + at, '\n', in.n - at);
        size_t end = lf == NULL ? in.n : (size_t)(lf - in.p);
        bool cr_before = end > 0 ? in.p[end - 1] == '\r' : *last_cr;
        const char *cr = memchr(in.p + at, '\r', end - at);
        if (cr != NULL && cr != in.p + end - 1)
            return false;
        if (lf != NULL && !cr_before)
            return false;
        at = end + 1;
    }
    *last_cr = in.p[in.n - 1] == '\r';
    return true;
}

/* The message is complete, or its last chunk was refused. */
static void end_last(struct smtp_server *s, enum smtp_reply_id id)
{
    if (id == R_NONE) {
        smtp_server_ask_message(s);
        return;
    }
    smtp_server_reply_end(s, id);
    smtp_server_end_transaction(s);
}

static void end_chunk(struct smtp_server *s)
{
    struct smtp_server_chunk *c = &s->chunk;
    c->is_open = false;
    bool is_ours = s->phase == SMTP_SERVER_BDAT;
    if (is_ours && c->is_last && s->chunk_last_cr && s->refused == R_NONE)
        smtp_server_refuse_message(s, R_BARE_NEWLINE);
    if (is_ours && c->is_last && c->refused == R_NONE)
        smtp_server_end_body(s);
    enum smtp_reply_id id = c->refused != R_NONE ? c->refused : s->refused;
    if (is_ours && c->is_last)
        end_last(s, id);
    else if (id == R_NONE)
        smtp_server_reply_number(s, R_CHUNK_OK, c->size);
    else if (id == R_TOO_BIG)
        smtp_server_reply_number(s, id, smtp_server_size_max(s));
    else if (id == R_NOT_IMPLEMENTED)
        smtp_server_reply(s, id, STR("BDAT"));
    else
        smtp_server_reply(s, id, s->conf->lmtp ? STR("LHLO") : STR("EHLO"));
}

/* false: the session is closed, since nobody knows where the next command begins. */
static bool open_chunk(struct smtp_server *s, struct str arg, enum smtp_reply_id refused)
{
    struct smtp_server_chunk *c = &s->chunk;
    const char *why;
    *c = (struct smtp_server_chunk){.is_open = true, .refused = refused};
    if (smtp_bdat_parse(arg, &c->size, &c->is_last, &why) != SMTP_CMD_OK) {
        smtp_server_end(s, R_BDAT_SYNTAX);
        return false;
    }
    c->left = c->size;
    smtp_server_start_window(s);
    return true;
}

void smtp_server_skip_chunk(struct smtp_server *s, struct str arg, enum smtp_reply_id id)
{
    if (open_chunk(s, arg, id) && s->chunk.left == 0)
        end_chunk(s);
}

void cmd_bdat(struct smtp_server *s, struct str arg)
{
    if (!s->is_esmtp || s->conf->no_chunking) {
        smtp_server_skip_chunk(s, arg, R_NOT_IMPLEMENTED);
        return;
    }
    if (s->refused != R_NONE) { /* an earlier chunk */
        smtp_server_skip_chunk(s, arg, R_BDAT_FAILED);
        return;
    }
    if (!open_chunk(s, arg, R_NONE))
        return;
    bool is_first = s->phase == SMTP_SERVER_RCPT;
    if (is_first)
        smtp_server_set_phase(s, SMTP_SERVER_BDAT);
    if (s->chunk.size > smtp_server_size_max(s) - s->tx.size)
        smtp_server_refuse_message(s, R_TOO_BIG);
    else if (is_first)
        smtp_server_ask(s, SMTP_EV_DATA);
    if (s->question == 0 && s->chunk.left == 0)
        end_chunk(s);
}

void smtp_server_chunk_answered(struct smtp_server *s, enum smtp_reply_id id)
{
    if (smtp_reply_row(id)->code < 400)
        s->is_granted = true;
    else
        s->refused = id;
    if (s->chunk.left == 0)
        end_chunk(s);
}

size_t smtp_server_feed_chunk(struct smtp_server *s, struct str in)
{
    struct smtp_server_chunk *c = &s->chunk;
    size_t n = in.n < c->left ? in.n : (size_t)c->left;
    struct str octets = str_slice(in, 0, n);
    c->left -= n;
    if (c->refused == R_NONE && s->refused == R_NONE) {
        bool is_any = s->conf->normalize_bare || s->tx.body == SMTP_BODY_BINARYMIME;
        if (is_any || has_only_crlf(&s->chunk_last_cr, octets))
            smtp_server_take_body(s, octets);
        else
            smtp_server_refuse_message(s, R_BARE_NEWLINE);
    }
    if (c->left == 0)
        end_chunk(s);
    return n;
}
