/* wire/encoded_word.h: what people read in a header field: encoded words (RFC 2047) and the values of
 * parameters (RFC 2231), as one line of UTF-8.
 *
 * Limits:   a word's text and a parameter may be as long as the field; PARAM_SECTIONS_MAX pieces of a
 * parameter. Security: what is appended is well-formed UTF-8 without C0 control characters and DEL (they
 * become '?', tabs and line ends a space), whatever was encoded. What else a terminal obeys is for who prints
 * it to keep out. Practice: words are decoded wherever they stand, also within a quoted string or beside
 * other text, and octets of one character may lie in two words that follow each other: both are against RFC
 * 2047 5, both are common, and readers such as Thunderbird show them. A word of an unknown set is guessed at;
 * one that is malformed stays as it is.
 */
#pragma once
#include "wire/charset.h"

enum { ENCODED_CHARSET_MAX = 64, PARAM_SECTIONS_MAX = 100 };

/* Appends the value of an unstructured field, unfolded and decoded. body: as header_field.body. more: as in
 * charset_convert(). */
void encoded_words_decode(struct str body, const struct charset_more *more, struct buf *out);
/* Appends the value of a parameter of Content-Type or Content-Disposition: name*=, its pieces name*0=,
 * name*1*= ..., or name=, in which encoded words are taken too. False: there is none. */
bool param_text(struct str params, struct str name, const struct charset_more *more, struct buf *out);
