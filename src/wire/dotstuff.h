/* wire/dotstuff.h: the DATA form of a message: dot stuffing both ways (RFC 5321 4.5.2, 2.3.8).
 *
 * Only CRLF "." CRLF ends the data. A CR without LF or an LF without CR is an error of the message (the end is still
 * found, so that the session can go on after its 5xx): this is what makes SMTP smuggling impossible.
 */
#pragma once
#include "base/buf.h"

enum dot_state { DOT_LINE_START = 0, DOT_TEXT, DOT_CR, DOT_DOT, DOT_DOT_CR };
struct dot_decoder {
    enum dot_state state;
    bool saw_bare_cr, saw_bare_lf;
    bool done;
    uint64_t n_line; /* octets of the present line */
    uint64_t n_line_max; /* longest line seen, CRLF included */
};
/* Starts at a line start (zero is a good initial value). */
void dot_decoder_init(struct dot_decoder *d);
/* Decodes from in: *out_piece is a slice of in (or of static bytes) that belongs to the message, maybe empty; returns
 * octets consumed. Call until it consumes nothing or d->done. After done, what is left in `in` is the next command.
 * The terminating "." line is not part of the message, its preceding CRLF is. */
size_t dot_decode(struct dot_decoder *d, struct str in, struct str *out_piece);

struct dot_encoder {
    bool at_line_start; /* set by init */
    bool last_was_cr;
};
void dot_encoder_init(struct dot_encoder *e);
/* Appends the stuffed form of in to out as far as out has room; returns octets of in consumed. The input has CRLF line
 * ends only (a bare CR or LF is our bug upstream: it was refused when it came in). */
size_t dot_encode(struct dot_encoder *e, struct str in, struct buf *out);
/* Appends the end: CRLF first when the message did not end in one, then "." CRLF (at most 5 octets). */
void dot_encode_end(struct dot_encoder *e, struct buf *out);
