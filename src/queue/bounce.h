/* queue/bounce.h: the report to a sender about recipients that failed for good: an envelope and a message
 * (RFC 3461 5.2, 3464, 5321 4.5.5, 6.1).
 *
 * Owns:     nothing.
 * Limits:   of the original: whole up to BOUNCE_WHOLE_MAX octets, else (and of one with octets that only
 * BINARYMIME carries, RFC 3030 3) its header section up to BOUNCE_HEADER_MAX. Security: remote replies and
 * the original are hostile octets; wire/dsn confines them.
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

enum { BOUNCE_PARAMS = FEEDBACK_MAX + 16 }; /* octets of mail_params_put() with priority and feedback */
enum report_kind { REPORT_FAILED = 0, REPORT_DELAYED, REPORT_SUCCESS };
enum { REPORT_KINDS = 3 };
enum bounce_why { BOUNCE_REFUSED = 0, BOUNCE_EXPIRED, BOUNCE_LATE /* the time of DELIVERBY (RFC 2852) */ };

struct bounce {
    enum report_kind kind;
    const struct envelope *envelope; /* of the entry that failed */
    uint64_t id;                     /* its queue id */
    uint64_t own_id;                 /* of the report */
    struct str hostname;
    int64_t now_ms;                      /* wall clock */
    bool utf8;                           /* an address or reply needs it */
    bool original_utf8, original_binary; /* it came with SMTPUTF8, as BODY=BINARYMIME */
    struct str original;                 /* what bounce_original_size() asked for */
    struct str feedback; /* what the report says, for its envelope: of wire/feedback.h, or empty */
    const struct dsn_rcpt *rcpts;
    size_t n_rcpts;
};
/* Is there anybody to tell? Not for the null sender and not for a report of ours (RFC 5321 4.5.5). */
bool bounce_is_wanted(const struct envelope *e);
/* Does the sender of e want to hear of this outcome of a recipient (RFC 3461 4.1, 5.2)? is_ours: the sender
 * may relay here: delays are told to such without being asked. to_strangers: success is told to others too.
 */
bool bounce_wants(uint8_t notify, enum dsn_action action, bool is_ours, bool to_strangers);
/* How many octets of the original's beginning bounce_format() wants to see. Whole it is only returned with a
 * failure (RFC 3461 6.2). */
size_t bounce_original_size(enum report_kind kind, const struct envelope *e);
/* Appends the message, trace field first. false: over BOUNCE_MESSAGE_MAX or without memory; out is as before
 * then. */
MUST_USE bool bounce_format(const struct bounce *b, struct buf *out);
/* The envelope of the report. About mail that requires TLS it requires TLS too, and holds no more of it than
 * its header section (RFC 8689 5). It has the priority of the message that it is about, after any lowering of
 * ours: who waits for the one in a hurry waits for the other. rcpts (reset) receives its one recipient; both
 * it and params must live as long as *out. */
bool bounce_envelope(const struct bounce *b, uint32_t flags, uint64_t body_size, char params[BOUNCE_PARAMS],
                     struct buf *rcpts, struct envelope *out);
/* The report's row about one recipient as it stands. why: what became of it when that is not the last reply,
 * which stays as the diagnostic. rcpt.shown, when there is one, stands in place of the address everywhere,
 * also in the reply. text receives the diagnostic line; it must have room for BOUNCE_RCPT_TEXT more octets,
 * since slices into it stay in use. */
struct dsn_rcpt bounce_rcpt(const struct envelope_rcpt *r, enum dsn_action action, enum bounce_why why,
                            struct buf *text);
