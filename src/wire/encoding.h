/* wire/encoding.h: the content transfer encodings quoted-printable and base64 (RFC 2045 6.7, 6.8), as streams
 * to encode and as whole texts to decode.
 *
 * Owns:     nothing. An encoder appends at most ENCODING_GROWTH_MAX octets for each octet given, and
 *           ENCODING_END_MAX at its end; the caller sees to the room (a failed buf is its own sign).
 * Promise:  what is encoded decodes to exactly the octets given. No line over 76 octets (of the fixers: over
 * 80, but for blanks one behind the other, which they never part). No line of an encoder begins with "--", so
 * that none can be taken for a delimiter of a multipart.
 */
#pragma once
#include "base/buf.h"

enum { ENCODING_LINE_MAX = 76, ENCODING_GROWTH_MAX = 6, ENCODING_END_MAX = 16 };

/* Zeroed is the start of a body. CRLF is a line end and stays one; any other CR or LF is escaped, so that the
 * form is exact for binary octets too. */
struct qp_encoder {
    size_t column;
    char space; /* a space or tab that waits: at a line's end it has to be escaped (6.7 rule 3) */
    bool has_cr;
    bool was_dash; /* the line so far is "-" */
};
void qp_encode(struct qp_encoder *e, struct str in, struct buf *out);
/* at_message_end: nothing follows, so the last line must end; the end is soft where the body had none.
 * Otherwise the CRLF of the delimiter follows, which does not belong to the body. */
void qp_encode_end(struct qp_encoder *e, bool at_message_end, struct buf *out);

/* Zeroed is the start. */
struct base64_encoder {
    uint8_t group[3];
    size_t n;
    size_t column;
};
void base64_encode(struct base64_encoder *e, struct str in, struct buf *out);
void base64_encode_end(struct base64_encoder *e, bool at_message_end, struct buf *out);

/* A body that is quoted-printable already but for octets that may not stand there (over 0x7f, controls, bare
 * CR or LF): these are escaped, what is escaped stays as it is. Decodes to the same as before. */
struct qp_fixer {
    size_t column;
    size_t n_since_escape; /* octets since "=": no break goes between it and its digits */
    bool has_cr;
    bool was_dash;
};
void qp_fixer_init(struct qp_fixer *f);
void qp_fix(struct qp_fixer *f, struct str in, struct buf *out);
void qp_fix_end(struct qp_fixer *f, bool at_message_end, struct buf *out);

/* A body that is base64 but for octets outside its alphabet, which every reader has to ignore (6.8): these
 * are left out, lines are broken anew. column starts at 0. */
void base64_fix(size_t *column, struct str in, struct buf *out);
void base64_fix_end(size_t column, bool at_message_end, struct buf *out);
/* c is one of the 64 or the "=" that pads. */
bool base64_is_digit(char c);

/* Decoding is lenient as readers are: an escape that is none stays as text (6.7, "robust"), spaces before a
 * line end go, octets outside the alphabet are passed over, padding ends the text. Appends; a full buf fails.
 */
void qp_decode(struct str in, struct buf *out);
void base64_decode(struct str in, struct buf *out);
