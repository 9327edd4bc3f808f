/* wire/addrlist.h: the addresses of To, Cc, Bcc and of a command line: address lists of RFC 5322 3.4 with the
 * obsolete forms of 4.4 (source routes, spaces around dots, empty elements) taken, because people write them.
 *
 * Owns:     nothing outside the struct; slices borrow from the input.
 * Limits:   SMTP_PATH_MAX octets an address; comments may nest ADDRLIST_DEPTH_MAX deep. Linear in the input.
 * Errors:   a static English phrase; the element is passed over, so that the next call goes on behind it.
 */
#pragma once
#include "base/buf.h"

enum { ADDRLIST_DEPTH_MAX = 100 };

struct addrlist {
    struct str rest;
    bool in_group;
};
enum addrlist_status {
    ADDRLIST_END = 0,
    ADDRLIST_MAILBOX,
    ADDRLIST_BAD,
};
/* What stands in a field behind the colon, folded or not. */
void addrlist_init(struct addrlist *l, struct str text);
/* The next mailbox, appended to out in its plainest form: `joe@example.org`, or a name alone such as `root`;
 * quotes stay only where they must. Names for people, comments, groups ("Team: a@x, b@x;") and folds are
 * taken off. BAD: *why says what is wrong, *element is the text that is, and nothing was appended; also for
 * an address that out has no room for. Domains and 8-bit octets are checked as in address_parse(utf8 = true).
 */
MUST_USE enum addrlist_status addrlist_next(struct addrlist *l, struct buf *out, struct str *element,
                                            const char **why);
