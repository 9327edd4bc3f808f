/* wire/header.h: header sections of messages (RFC 5322 2.2, 3.6), for counting, finding and removing fields.
 * Nothing is unfolded or decoded here. Lines end in CRLF; a lone LF is taken for an end too, so that what is
 * counted here is never less than what a lenient reader sees.
 *
 * Owns:     nothing; slices borrow from the message.
 * Limits:   none of its own; every call is linear in the octets it passes.
 */
#pragma once
#include "base/str.h"

struct header_field {
    struct str raw;  /* the whole field with its folded lines and final CRLF */
    struct str name; /* before the colon, without spaces */
    struct str body; /* after the colon, without the final CRLF, folds kept */
};
struct header_walk {
    struct str rest;
    bool in_body; /* the empty line was passed, or the text was no header field: rest is the body */
};
void header_walk_init(struct header_walk *w, struct str message);
/* The next field, or false at the end of the header section (then w->rest is the body, the empty line taken
 * off). A line that is no field ends the section, as if an empty line stood before it. */
bool header_walk_next(struct header_walk *w, struct header_field *out);
/* Octets of the header section of a (part of a) message, up to and including the empty line, or up to the
 * first complete line that is no field; STR_NPOS when neither has come yet. */
size_t header_section_size(struct str message);
/* How many fields have this name (ASCII case folded). */
size_t header_count(struct str message, struct str name);
