/* proto/smtp_server_cmd_data.c: DATA (RFC 5321 4.1.1.4, 4.5.2).
 *
 * A message that is too big or holds a bare CR or LF is read to its end and refused there, its octets are
 * dropped as they come. A client that sends the message before our 354 breaks RFC 2920 3.1 but is understood
 * all the same: octets are taken strictly in order.
 */
#include "proto/smtp_server_cmd.h"

void cmd_data(struct smtp_server *s, struct str arg)
{
    UNUSED(arg);
    if (s->tx.body == SMTP_BODY_BINARYMIME) /* RFC 3030 3 */
        smtp_server_reply(s, R_BINARY_NEEDS_BDAT, STR_NIL);
    else
        smtp_server_ask(s, SMTP_EV_DATA);
}

void smtp_server_data_answered(struct smtp_server *s, enum smtp_reply_id id, struct str arg)
{
    if (s->phase == SMTP_SERVER_BDAT) {
        smtp_server_chunk_answered(s, id);
        return;
    }
    /* granted before the reply: if there is no memory for it the owner hears SMTP_EV_ABORT */
    s->is_granted = smtp_reply_row(id)->code < 400;
    if (s->is_granted) {
        smtp_server_set_phase(s, SMTP_SERVER_DATA);
        dot_decoder_init(&s->dots);
        smtp_server_start_window(s);
    }
    smtp_server_reply(s, id, arg);
}

static void end_of_data(struct smtp_server *s)
{
    if (s->refused == R_NONE) {
        smtp_server_ask_message(s);
        return;
    }
    smtp_server_reply_end(s, s->refused);
    smtp_server_end_transaction(s);
}

size_t smtp_server_feed_data(struct smtp_server *s, struct str in)
{
    struct str piece = STR_NIL;
    size_t n = dot_decode(&s->dots, in, &piece);
    /* of two reasons the bare newline is told: it may be an attempt to smuggle a second message in */
    bool is_bare = !s->conf->normalize_bare && (s->dots.saw_bare_cr || s->dots.saw_bare_lf);
    if (is_bare && s->refused != R_BARE_NEWLINE)
        smtp_server_refuse_message(s, R_BARE_NEWLINE);
    smtp_server_take_body(s, piece);
    if (s->dots.done)
        end_of_data(s);
    return n;
}
