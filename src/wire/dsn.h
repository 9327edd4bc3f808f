/* wire/dsn.h: delivery status notifications: multipart/report (RFC 6522) with message/delivery-status (RFC
 * 3464), in the forms of RFC 6533 where an address is not ASCII.
 *
 * Limits:   those of out; no line of ours is over 998 octets (an address may be, where each of its octets
 * needs escaping). Security: replies, addresses and the original are foreign: none can end its field, line or
 * part.
 */
#pragma once
#include "wire/esc.h"

enum dsn_action { DSN_FAILED = 0, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED };
struct dsn_rcpt {
    struct str address; /* final recipient, as the sender may know it */
    struct str orcpt;   /* "rfc822;joe@example.org" as the sender gave it (RFC 3461 4.2), or empty */
    enum dsn_action action;
    struct esc status;
    struct str remote_host; /* Remote-MTA, empty when we decided */
    struct str
        diagnostic;    /* the remote reply, "550 5.1.1 no such user"; may hold '\n'; cleaned when written */
    struct str reason; /* for people; empty: taken from status */
    int64_t last_attempt_s;
    int64_t retry_until_s; /* of delayed ones; 0: not said */
};
struct dsn {
    struct str reporting_mta; /* our host name */
    struct str from;          /* header From: address, "mailer-daemon@host" */
    struct str to;            /* the sender of the original */
    uint64_t queue_id;        /* of the original */
    uint64_t own_id;          /* of the report: its Message-ID and boundary come from it */
    struct str envid;         /* as the sender gave it, or empty */
    int64_t arrival_s, now_s;
    int64_t deliver_by_s; /* RFC 2852; 0: none */
    const struct dsn_rcpt *rcpts;
    size_t n_rcpts;
    struct str original;    /* the original's header section, or all of it */
    bool original_is_whole; /* message/rfc822, else text/rfc822-headers */
    bool original_utf8;     /* it came with SMTPUTF8 */
    bool utf8;              /* any address needs it */
};
/* Appends the whole message, CRLF line ends only, with Auto-Submitted: auto-replied (RFC 3834); n_rcpts > 0.
 * Remote text is stripped of control characters, folded, and can't break out of its field or part; the
 * boundary does not occur in the original, however that was chosen. An empty original leaves the third part
 * out.
 *
 * Unless utf8 all but the original is ASCII: text outside it is kept in the part for people, as
 * quoted-printable with charset=utf-8, and becomes '?' in fields. With utf8 the report's own header is ASCII
 * all the same when the sender's address is, its subject encoded (RFC 2047). An original whose header section
 * needs SMTPUTF8 is message/global or message/global-headers (RFC 6533 4, 6), else message/rfc822 or
 * text/rfc822-headers; it goes as it came, in eight bits if need be, for a part of a multipart may have any
 * of 7bit and 8bit, and one that holds a message no other (RFC 2046 5.2.1). The message then has to go by
 * 8BITMIME or through wire/downgrade.h. NUL becomes '?'. */
void dsn_format(const struct dsn *d, struct buf *out);
