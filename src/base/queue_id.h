/* base/queue_id.h: the number of a message as people see it: in replies, trace fields, commands and the log.
 * Owns nothing. */
#pragma once
#include "base/buf.h"

/* The form in which people see queue ids everywhere: 13 characters of Crockford's base 32 (no I, L, O, U, so
 * nothing is mistaken for a digit), "03F8KZ0Q1M2X4"; order of text is order of numbers. */
enum { QUEUE_ID_TEXT = 13 };
void queue_id_format(uint64_t id, struct buf *out);
/* Takes lower case too, and what people read for a digit: O for 0, I and L for 1. */
MUST_USE bool queue_id_parse(struct str s, uint64_t *out);
