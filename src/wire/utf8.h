/* wire/utf8.h: UTF-8 as RFC 3629 has it. Owns nothing, never fails otherwise than by its result. */
#pragma once
#include "base/buf.h"

/* Well-formed UTF-8 without surrogates and over-long forms; the empty text is. */
bool utf8_is_valid(struct str s);
/* Octets (1 to 4) of the well-formed character at the start of s, its code point in *out_code; 0 when there
 * is none. */
size_t utf8_next(struct str s, uint32_t *out_code);
/* What no address may hold besides the controls of ASCII: C1 controls and the separators of lines and
 * paragraphs. */
bool utf8_is_control(uint32_t code);
/* Appends a character; false, and nothing, for a surrogate or a number over U+10FFFF. */
bool utf8_put(uint32_t code, struct buf *out);
