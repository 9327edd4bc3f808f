/* ext/table_parts.h: what the drivers of ext/table.h share: a deadline, a socket, a library, an error's text.
 */
#pragma once
#include "ext/table.h"

/* By a clock that never steps. */
uint64_t table_now_ms(void);
/* What is left until then, for poll(); 0: it is over. */
int table_left(uint64_t due_ms);
/* The text of another's error: control characters become spaces, those at its end go. */
void table_quote(struct buf *why, const char *text);
/* A connection, which blocks, and on which nothing blocks longer than the limit; -1 with the reason. */
int table_connect(const struct netaddr *to, uint64_t due_ms, struct buf *why);
/* A function of a library into out, whose size is n. */
MUST_USE bool table_symbol(void *library, const char *name, void *out, size_t n);
