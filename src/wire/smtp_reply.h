/* wire/smtp_reply.h: replies of SMTP: formatting ours, parsing a server's (RFC 5321 4.2, RFC 2034, RFC 3463).
 *
 * Owns:     nothing outside the structs.
 * Limits:   SMTP_REPLY_LINE_MAX out; SMTP_REPLY_IN_LINE_MAX, SMTP_REPLY_IN_MAX, SMTP_REPLY_TEXT_MAX in.
 * Security: the server is hostile; what stands in text is printable ASCII, well-formed UTF-8 and '\n'.
 */
#pragma once
#include "base/limits.h"
#include "wire/esc.h"

/* Appends "250-a\r\n250 b\r\n" from text whose lines are separated by '\n'; each line gets the enhanced code
 * (when esc.class != 0) after the reply code. CR, other control characters and octets over 0x7f (unless utf8)
 * become '?'; a line is cut so that it fits SMTP_REPLY_LINE_MAX. */
void smtp_reply_format(uint16_t code, struct esc esc, struct str text, bool utf8, struct buf *out);

/* A reply that is being read. Fixed size; bytes come in any pieces. */
enum { SMTP_REPLY_TEXT_MAX = 1024 };
struct smtp_reply {
    uint16_t code;  /* 200..559, 0 while incomplete */
    struct esc esc; /* of the first line; class 0 when there is none or its class disagrees with the code */
    uint16_t n_lines;
    char text[SMTP_REPLY_TEXT_MAX]; /* lines joined by '\n', cut; taken off: codes, enhanced codes of
                                      the same class; control characters and malformed UTF-8 are '?' */
    uint16_t text_n;
};
enum smtp_reply_status { SMTP_REPLY_MORE = 0, SMTP_REPLY_DONE, SMTP_REPLY_BAD };
struct smtp_reply_parser {
    struct smtp_reply reply;
    char line[SMTP_REPLY_IN_LINE_MAX];
    uint16_t code; /* of the first line, 0 before it */
    uint16_t line_n;
    uint32_t total; /* octets of this reply, at most SMTP_REPLY_IN_MAX */
};
void smtp_reply_parser_init(struct smtp_reply_parser *p);
/* Consumes up to one reply from in; *out_consumed says how much. DONE: p->reply is complete (init again
 * before the next). BAD: not a reply (no three digits, codes differ between lines, over a limit): the
 * connection is hopeless. The texts of a parser that is BAD mean nothing. A bare LF ends a line too, as
 * Postfix and Exim take it; every line of EHLO can be seen by `each` (may be NULL): text after the code and
 * separator. */
enum smtp_reply_status smtp_reply_feed(struct smtp_reply_parser *p, struct str in, size_t *out_consumed,
                                       void (*each)(void *arg, struct str line_text), void *arg);
