/* queue/bounce.h: the report to a sender about recipients that failed for good: an envelope and a message
 * (RFC 3461 5.2, 3464, 5321 4.5.5, 6.1).
 *
 * Owns:     nothing.
 * Limits:   of the original: whole up to BOUNCE_WHOLE_MAX octets, else its header section up to
 * BOUNCE_HEADER_MAX. Security: remote replies and the original are hostile octets; wire/dsn confines them.
 */
#pragma once
#include "queue/envelope.h"
#include "wire/dsn.h"

enum {
    BOUNCE_WHOLE_MAX = 50 * 1024,
    BOUNCE_HEADER_MAX = 100 * 1024,
    BOUNCE_RCPT_TEXT = ENVELOPE_TEXT_MAX + 32,
    BOUNCE_MESSAGE_MAX =
        1024 * 1024, /* octets of a report; of more recipients than fit the last ones are left out */
};

struct bounce {
    const struct envelope *envelope; /* of the entry that failed */
    uint64_t id;                     /* its queue id */
    uint64_t own_id;                 /* of the report */
    struct str hostname;
    int64_t now_ms;      /* wall clock */
    bool utf8;           /* an address or reply needs it */
    struct str original; /* what bounce_original_size() asked for */
    const struct dsn_rcpt *rcpts;
    size_t n_rcpts;
};
/* Is there anybody to tell? Not for the null sender and not for a report of ours (RFC 5321 4.5.5). */
bool bounce_is_wanted(const struct envelope *e);
/* How many octets of the original's beginning bounce_format() wants to see. */
size_t bounce_original_size(uint64_t body_size);
/* Appends the message, trace field first. false: over BOUNCE_MESSAGE_MAX or without memory; out is as before
 * then. */
MUST_USE bool bounce_format(const struct bounce *b, struct buf *out);
/* The envelope of the report. rcpts (reset) receives its one recipient and must live as long as *out. */
bool bounce_envelope(const struct bounce *b, uint32_t flags, uint64_t body_size, struct buf *rcpts,
                     struct envelope *out);
/* The report's row about one recipient as it stands. is_expired: it was given up for its age; the last reason
 * stays as the diagnostic. text receives the diagnostic line; it must have room for BOUNCE_RCPT_TEXT more
 * octets, since slices into it stay in use. */
struct dsn_rcpt bounce_rcpt(const struct envelope_rcpt *r, bool is_expired, struct buf *text);
