/* config/luascan.h: Lua text as tokens with lines: where a key stands, and what is behind a syntax error.
 *
 * Lua tells the line of a call and the line of the token it stumbled over; people want the line of the key
 * and of the forgotten comma. Owns nothing, allocates nothing, never fails: a text that is no Lua gives
 * tokens all the same.
 */
#pragma once
#include "base/buf.h"

enum scan_kind { SCAN_END = 0, SCAN_NAME, SCAN_STRING, SCAN_NUMBER, SCAN_SYMBOL };
struct scan_token {
    enum scan_kind kind;
    struct str text; /* as written, quotes included */
    int line;        /* where it begins */
};
struct scanner {
    struct str rest;
    int line;
};
void scan_init(struct scanner *s, struct str text);
struct scan_token scan_next(struct scanner *s);

/* The line of `key =` in the table that `fact`, called on `line`, is given; `line` when it is not found
 * there. */
int scan_key_line(struct str text, int line, struct str fact, struct str key);
/* Likewise of the i-th value (from 1) of a list. */
int scan_item_line(struct str text, int line, struct str fact, size_t i);
/* Lua's words for a syntax error (message without its place, found at line) as words for people. Returns the
 * line that they are about. */
int scan_explain(struct str text, int line, struct str message, struct buf *out);
