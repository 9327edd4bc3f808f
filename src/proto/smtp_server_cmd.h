/* proto/smtp_server_cmd.h: what smtp_server.c and the files of the commands share. Nobody else includes it.
 *
 * A handler is called only in a phase and with an argument that its row of the command table allows: it
 * checks neither.
 */
#pragma once
#include "proto/smtp_server_impl.h"

void cmd_ehlo(struct smtp_server *s, struct str arg);
void cmd_helo(struct smtp_server *s, struct str arg);
void cmd_mail(struct smtp_server *s, struct str arg);
void cmd_rcpt(struct smtp_server *s, struct str arg);
void cmd_data(struct smtp_server *s, struct str arg);
void cmd_bdat(struct smtp_server *s, struct str arg);
void cmd_rset(struct smtp_server *s, struct str arg);
void cmd_noop(struct smtp_server *s, struct str arg);
void cmd_vrfy(struct smtp_server *s, struct str arg);
void cmd_expn(struct smtp_server *s, struct str arg);
void cmd_etrn(struct smtp_server *s, struct str arg);
void cmd_xclient(struct smtp_server *s, struct str arg);
void cmd_starttls(struct smtp_server *s, struct str arg);
void cmd_auth(struct smtp_server *s, struct str arg);
void cmd_help(struct smtp_server *s, struct str arg);
void cmd_quit(struct smtp_server *s, struct str arg);

/* Queues a reply; a 5xx counts as an error. */
void smtp_server_reply(struct smtp_server *s, enum smtp_reply_id id, struct str arg);
/* After output was put: without memory for it the connection ends. */
void smtp_server_check_output(struct smtp_server *s);
/* The same with a number as the argument. */
void smtp_server_reply_number(struct smtp_server *s, enum smtp_reply_id id, uint64_t n);
/* The reply to the end of a message: LMTP says it for each recipient (RFC 2033 4.2). */
void smtp_server_reply_end(struct smtp_server *s, enum smtp_reply_id id);
/* Replies (R_NONE: nothing) and closes the session. */
void smtp_server_end(struct smtp_server *s, enum smtp_reply_id id);
void smtp_server_set_phase(struct smtp_server *s, enum smtp_server_phase to);
void smtp_server_ask(struct smtp_server *s, enum smtp_event_kind kind);
/* The transaction is forgotten, its memory given back; SMTP_EV_ABORT if the owner holds a part of it. The
 * phase becomes READY if it was beyond. */
void smtp_server_end_transaction(struct smtp_server *s);
/* From here on the octets of the message are dropped, its end will be answered with id. */
void smtp_server_refuse_message(struct smtp_server *s, enum smtp_reply_id id);
/* Asks whether the whole message is taken, with 353 before it where PRDR wants one. */
void smtp_server_ask_message(struct smtp_server *s);
/* Says the greeting; the phase becomes HELLO. */
void smtp_server_begin(struct smtp_server *s);
/* What the wall clock says now, milliseconds since 1970. */
int64_t smtp_server_wall_ms(const struct smtp_server *s);
/* Are messages with BODY=BINARYMIME taken? */
bool smtp_server_has_binarymime(const struct smtp_server *s);
/* Is REQUIRETLS on offer (RFC 8689 2: over TLS only)? */
bool smtp_server_has_requiretls(const struct smtp_server *s);
uint64_t smtp_server_size_max(const struct smtp_server *s);
uint32_t smtp_server_rcpt_max(const struct smtp_server *s);
/* Starts the clocks of the data phase. */
void smtp_server_start_window(struct smtp_server *s);
/* Hands n octets of the message to the owner, or refuses the message when it grows too big. */
void smtp_server_take_body(struct smtp_server *s, struct str octets);
/* The message's last octets were taken: hands out what was kept back to mend line ends. */
void smtp_server_end_body(struct smtp_server *s);
/* Takes a SMTP_EV_BODY's octets; the event stays pending while there are more. */
struct str smtp_server_next_body(struct smtp_server *s);

/* Replies to a MAIL or RCPT that the parser refused; bad_address is the row for a malformed mailbox. */
void smtp_server_refuse_form(struct smtp_server *s, enum smtp_cmd_err err, const char *why,
                             enum smtp_reply_id bad_address);
/* Lets the slices of a point into copy, a copy of a->text, instead. */
void smtp_server_move_address(struct address *a, struct str copy);

/* Takes octets of DATA, or of the open BDAT chunk; returns octets consumed, at least one. */
size_t smtp_server_feed_data(struct smtp_server *s, struct str in);
size_t smtp_server_feed_chunk(struct smtp_server *s, struct str in);
/* A BDAT that came out of order: its octets are dropped and then answered with id (RFC 3030 2). */
void smtp_server_skip_chunk(struct smtp_server *s, struct str arg, enum smtp_reply_id id);

/* A line of the exchange, without its end; one that is too long; the end of the session while it is under
 * way. */
void smtp_server_auth_line(struct smtp_server *s, struct str line);
void smtp_server_auth_too_long(struct smtp_server *s);
void smtp_server_forget_auth(struct smtp_server *s);

/* Answers of the owner to the questions. */
void smtp_server_mail_answered(struct smtp_server *s, enum smtp_reply_id id, struct str arg);
void smtp_server_rcpt_answered(struct smtp_server *s, enum smtp_reply_id id, struct str arg, uint64_t user);
void smtp_server_auth_answered(struct smtp_server *s, enum smtp_event_kind asked, enum smtp_reply_id id);
void smtp_server_extra_answered(struct smtp_server *s, enum smtp_event_kind asked, enum smtp_reply_id id,
                                struct str arg);
void smtp_server_data_answered(struct smtp_server *s, enum smtp_reply_id id, struct str arg);
void smtp_server_chunk_answered(struct smtp_server *s, enum smtp_reply_id id);
