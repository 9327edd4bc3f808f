/* wire/charset.h: the character sets that Western mail is written in, into UTF-8.
 *
 * Owns:     nothing. An octet becomes at most CHARSET_GROWTH_MAX octets; a full buf is its own sign.
 * Practice: "iso-8859-1" and "us-ascii" with octets that these don't have are read as windows-1252, as all
 * mail readers and browsers do: who writes them means that.
 */
#pragma once
#include "base/buf.h"

enum { CHARSET_GROWTH_MAX = 3 };

/* Appends `in` as UTF-8; what is no character there becomes U+FFFD. False, and nothing appended: the set is
 * not among those known here (utf-8, us-ascii, iso-8859-1, iso-8859-15, windows-1252 and their usual other
 * names). */
MUST_USE bool charset_to_utf8(struct str charset, struct str in, struct buf *out);
/* Of text that names no set: UTF-8 where it is well-formed, else windows-1252. */
void charset_guess(struct str in, struct buf *out);

/* Who knows more sets than this file. */
struct charset_more {
    void *arg;
    /* As charset_to_utf8(). */
    bool (*to_utf8)(void *arg, struct str charset, struct str in, struct buf *out);
};
/* By this file, else by `more` (may be NULL), else as charset_guess() does. False: it was guessed. */
bool charset_convert(const struct charset_more *more, struct str charset, struct str in, struct buf *out);
