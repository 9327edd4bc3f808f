/* wire/mime_field.h: the values of Content-Type and Content-Transfer-Encoding (RFC 2045 5.1, 6.1). Comments,
 * folds and spaces between tokens are passed over; what real mailers write beside the grammar is taken as
 * readers do.
 *
 * Owns: nothing; slices borrow from the field.
 */
#pragma once
#include "base/buf.h"

enum mime_encoding {
    MIME_ENC_NONE = 0, /* no field, or an empty one: 7bit by default */
    MIME_ENC_7BIT,
    MIME_ENC_8BIT,
    MIME_ENC_BINARY,
    MIME_ENC_QP,
    MIME_ENC_BASE64,
    MIME_ENC_OTHER, /* "8bits", "x-uuencode" */
};
struct mime_type {
    struct str type, subtype; /* as written; empty when the field is not well-formed */
    struct str params;        /* what follows the first ";" */
};
void mime_type_parse(struct str body, struct mime_type *out);
bool mime_type_is(const struct mime_type *t, struct str type, struct str subtype); /* subtype empty: any */
/* Appends the value of the first parameter of this name (ASCII case folded), quotes taken off. False: there
 * is none, or out is full. Values cut in pieces (RFC 2231) are not put together. */
MUST_USE bool mime_param(struct str params, struct str name, struct buf *out);
enum mime_encoding mime_encoding_parse(struct str body);
