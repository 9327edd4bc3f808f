/* base/base64.h: base64 on one line (RFC 4648 4), for what is not a body: secrets, digests, answers of AUTH.
 * Bodies in lines, and the leniency that readers owe them, are wire/encoding.h.
 *
 * Owns:     nothing.
 * Errors:   a text that is not exactly what an encoder writes is refused (RFC 4648 3.2, 3.3, 3.5): two texts
 *           never mean the same octets.
 */
#pragma once
#include "base/buf.h"

/* Octets of text for n octets, and the most octets that a text of n decodes to. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4)
#define BASE64_OCTETS(n) ((n) / 4 * 3)

/* The alphabet in the order of its values, and a digit's value; -1: c is none of the 64. */
extern const char base64_alphabet[65];
int base64_value(char c);
/* Appends the padded text of `in`; false when it does not fit. */
bool base64_put(struct buf *out, struct str in);
/* Appends the octets of a whole text. false, and nothing appended: the length is no multiple of four, an
 * octet is outside the alphabet, padding is wrong or bits under it are not zero, or there is no room (then
 * out->failed too). A buffer grows once, to what is needed. */
MUST_USE bool base64_take(struct str text, struct buf *out);
/* The same in the alphabet that is safe in URLs and file names, "-" and "_" for "+" and "/", without padding
 * (RFC 4648 5, RFC 7515 2). */
MUST_USE bool base64url_take(struct str text, struct buf *out);
