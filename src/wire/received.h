/* wire/received.h: the trace fields we add (RFC 5321 4.4; protocol words of RFC 3848 and 6531 4.3). */
#pragma once
#include "base/netaddr.h"

struct received {
    struct str helo;           /* as the client said it; control characters and parentheses are replaced */
    const struct netaddr *client;
    struct str client_name;    /* verified PTR name or empty */
    struct str by;             /* our host name */
    struct str with;           /* SMTP ESMTP ESMTPS ESMTPA ESMTPSA LMTP ... UTF8SMTP ... */
    uint64_t queue_id;
    struct str for_rcpt;       /* the one recipient, or empty when there is more than one */
    int64_t unix_s;
};
/* Appends the whole field, folded under 78 columns where it can be, CRLF at its end. */
void received_format(const struct received *r, struct buf *out);
/* ESMTP word from the facts: SMTP (HELO), ESMTP, LMTP, with S (tls), A (auth) and the UTF8SMTP forms. Static text. */
struct str received_with(bool esmtp, bool lmtp, bool tls, bool auth, bool utf8);
/* 13 characters of Crockford-like base 32 (no vowels, so no words), e.g. "3F8KZ0Q1M2X4C"; the form in which people see
 * queue ids everywhere. */
enum { QUEUE_ID_TEXT = 13 };
void queue_id_format(uint64_t id, struct buf *out);
bool queue_id_parse(struct str s, uint64_t *out);
