/* wire/dotstuff.h: the DATA form of a message: dot stuffing both ways (RFC 5321 4.5.2, 2.3.8).
 *
 * Only CRLF "." CRLF ends the data. A CR without LF or an LF without CR is an error of the message (the end
 * is still found, so that the session can go on after its 5xx): this is what makes SMTP smuggling impossible.
 */
#pragma once
#include "base/buf.h"

enum dot_state { DOT_LINE_START = 0, DOT_TEXT, DOT_CR, DOT_DOT, DOT_DOT_CR };
struct dot_decoder {
    enum dot_state state;
    bool saw_bare_cr, saw_bare_lf;
    bool done;
    char held[2];    /* a CR kept back behind a dot, and the octet that showed it to belong to the message */
    uint64_t n_line; /* octets of the present line, stuffed dot not counted */
    uint64_t n_line_max; /* longest line that has ended, CRLF included */
};
/* Starts at a line start (zero is a good initial value). */
void dot_decoder_init(struct dot_decoder *d);
/* Decodes from in: *out_piece is a slice of in (or two octets in d, valid until the next call) that belongs
 * to the message, maybe empty; it runs over any number of lines and ends only where a dot is taken off or
 * `in` ends. Returns octets consumed. Call until it consumes nothing or d->done. After done, what is left in
 * `in` is the next command. The terminating "." line is not part of the message, its preceding CRLF is. */
size_t dot_decode(struct dot_decoder *d, struct str in, struct str *out_piece);

struct dot_encoder {
    bool at_line_start; /* set by init; after any LF, so that a dot is stuffed even where our rule was broken
                         */
    bool last_was_cr;
    bool is_complete; /* nothing was given, or CRLF came last */
};
void dot_encoder_init(struct dot_encoder *e);
/* Appends the stuffed form of in to out as far as out has room (out->failed is not set by a lack of it);
 * returns octets of in consumed. The input has CRLF line ends only (a bare CR or LF is our bug upstream: it
 * was refused when it came in). */
size_t dot_encode(struct dot_encoder *e, struct str in, struct buf *out);
/* Appends the end: CRLF first when the message did not end in one, then "." CRLF (at most 5 octets). */
void dot_encode_end(struct dot_encoder *e, struct buf *out);
