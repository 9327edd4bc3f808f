/* wire/fold.h: foreign text into lines of our own: paragraphs and folded header fields (RFC 5322 2.2.3) from
 * which it can't break out.
 *
 * Limits:   no line over FOLD_LINE_MAX octets whatever the text is.
 * Security: control characters end a word and are not written; what is malformed UTF-8, or outside ASCII when
 * !utf8, becomes '?'.
 */
#pragma once
#include "base/buf.h"

enum { FOLD_WIDTH = 76, FOLD_LINE_MAX = 900 };

struct fold {
    struct buf *out;
    const char *indent; /* begins each further line; for a header field at least one space */
    size_t column;      /* octets in the present line */
    bool utf8;
    bool has_word; /* a space goes before the next word */
};
/* column: octets that stand in the line already; the next word follows them without a space. */
void fold_init(struct fold *f, struct buf *out, const char *indent, size_t column, bool utf8);
/* Appends the words of text; a word that would go over FOLD_WIDTH begins a new line. */
void fold_words(struct fold *f, struct str text);
/* A text that must stay in one piece, an address or a name: cut at FOLD_LINE_MAX octets, never folded;
 * control characters become '?'. */
void fold_put_clean(struct buf *out, struct str text, bool utf8);
