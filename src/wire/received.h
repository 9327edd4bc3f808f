/* wire/received.h: the trace fields we add (RFC 5321 4.4; protocol words of RFC 3848 and 6531 4.3). */
#pragma once
#include "base/netaddr.h"

struct received {
    struct str helo;              /* as the client said it; what is not of a name or literal becomes '?' */
    const struct netaddr *client; /* NULL or a unix socket: came from this machine; NETADDR_NONE: not known */
    struct str client_name;       /* verified PTR name or empty */
    bool hides_client;            /* no "from" clause; see received_format() */
    bool has_uid;                 /* a user of this machine by a unix socket */
    uint32_t uid;
    struct str by;   /* our host name */
    struct str with; /* SMTP ESMTP ESMTPS ESMTPA ESMTPSA LMTP ... UTF8SMTP ... */
    uint64_t queue_id;
    struct str for_rcpt; /* the one recipient, or empty when there is more than one */
    int64_t unix_s;
};
/* Appends the whole field, folded under 78 columns where it can be, CRLF at its end. Names outside ASCII are
 * written only when `with` is one of the UTF8 words; for_rcpt is left out when it could not stand there.
 * hides_client: the field begins with "by". RFC 5322 3.6.7 wants no clause at all; RFC 5321 4.4 wants "from"
 * of relays, but a user's program is none, and a made-up host there would mislead who traces a message. */
void received_format(const struct received *r, struct buf *out);
/* ESMTP word from the facts: SMTP (HELO), ESMTP, LMTP, with S (tls), A (auth) and the UTF8SMTP forms. Static
 * text. */
struct str received_with(bool esmtp, bool lmtp, bool tls, bool auth, bool utf8);
