/* wire/dsn_text.h: the part of a delivery status notification that people read, and its subject. */
#pragma once
#include "wire/dsn.h"

/* May the header fields of the report hold UTF-8? Not to a sender whose address is ASCII: then the report
 * goes to hosts without SMTPUTF8 too, where its parts are 8-bit or encoded (RFC 6532 3.7). */
bool dsn_head_is_utf8(const struct dsn *d);
/* The value of Subject: without the space before it and without the final CRLF; folded. */
void dsn_put_subject(const struct dsn *d, struct buf *out);
/* Paragraphs of at most 76 columns where words allow, CRLF line ends. utf8: may hold UTF-8. */
void dsn_put_text(const struct dsn *d, bool utf8, struct buf *out);
/* The first field of that name in the original, unfolded by the reader; empty when there is none. */
struct str dsn_original_field(const struct dsn *d, struct str name);
