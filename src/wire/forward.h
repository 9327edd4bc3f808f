/* wire/forward.h: the file ~/.forward, in which a user says where his mail is to go, as Sendmail and Postfix
 * read it (aliases(5) of Postfix, without what it can have done on the machine):
 *
 *   # a comment: the first character of the line that is no space is a '#'
 *   joe@example.org, "Joe at Home" <joe@example.net>
 *   ann                 another user here
 *   \me                 my own mailbox, too: nothing further is looked up
 *
 * Targets are parted by commas and ends of lines; none spans two lines. One's own name and address mean one's
 * own mailbox with and without the backslash, as two servers that ask each other would never end.
 *
 * Security: "|program", "/file" and ":include:file" are refused, and with them the whole file: whoever can
 *           write into a home by some other service would else have programs run by the mail of strangers.
 *           A file that is read in part would lose mail without a word, so any line that is wrong refuses
 * all. Limits:   FORWARD_OCTETS_MAX octets, SMTP_RCPT_MAX targets, SMTP_PATH_MAX octets each. Linear in the
 * text.
 */
#pragma once
#include "base/buf.h"

enum { FORWARD_OCTETS_MAX = 32 * 1024 };

enum forward_status {
    FORWARD_NONE = 0, /* nobody is named, or the own mailbox alone: as if there were no file */
    FORWARD_TARGETS,
    FORWARD_BAD,
};
struct forward_whose {
    struct str user; /* the name he logs in by: what he calls himself */
    struct str rcpt; /* the address that the mail came for; its domain is that of names without one */
};
struct forward_found {
    uint32_t n;      /* TARGETS: how many */
    unsigned line;   /* BAD: in which line, from 1; 0: the file as a whole */
    const char *why; /* BAD: a static English phrase that goes behind "line 3 of .forward: " */
};
/* Appends rcpt_put() records of the targets to out, each once for the own mailbox (whose->rcpt) and in the
 * plainest form for others; nothing unless TARGETS. BAD also where out has no room for all. */
MUST_USE enum forward_status forward_read(struct str text, const struct forward_whose *whose, struct buf *out,
                                          struct forward_found *found);
