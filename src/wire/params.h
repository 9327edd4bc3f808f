/* wire/params.h: what MAIL and RCPT say beside the addresses, as it travels from the session to the queue,
 * into the store, and on to the next hop. One codec for all of them: a default costs nothing, so that plain
 * mail stays small.
 *
 * Owns:     nothing; decoded slices borrow from the octets.
 * Limits:   MAIL_PARAMS_MAX; of its parts DSN_ENVID_MAX, DSN_ORCPT_MAX, MAIL_TAG_MAX, FEEDBACK_MAX;
 * SMTP_PATH_MAX for addresses. Errors:   false for octets that are no whole, sound record. RFC:      3461
 * (RET, ENVID, NOTIFY, ORCPT), 2852 (BY), 6710 (MT-PRIORITY), 4865 (HOLDFOR, HOLDUNTIL), 8689.
 */
#pragma once
#include "wire/feedback.h"

enum dsn_ret { DSN_RET_NONE = 0, DSN_RET_FULL, DSN_RET_HDRS };
enum by_mode { BY_NONE = 0, BY_RETURN, BY_NOTIFY };
enum { MAIL_PARAMS_MAX = FEEDBACK_MAX + 512 }; /* octets of a record */
enum { MT_PRIORITY_MIN = -9, MT_PRIORITY_MAX = 9 };

struct mail_params {
    enum dsn_ret ret;
    struct str envid; /* decoded from xtext */
    enum by_mode by_mode;
    bool by_trace;
    int64_t by_ms;         /* wall clock, BY_NONE: 0 */
    int8_t priority;       /* after any lowering of ours */
    bool has_priority;     /* it was said */
    int64_t hold_until_ms; /* wall clock, 0: none */
    bool requiretls;
    bool tls_optional; /* TLS-Required: No (RFC 8689 3) */
    struct str tag;      /* the listener's, or what a header field chose: routes ask for it */
    struct str feedback; /* what the message says as a report: a record of wire/feedback.h, or empty */
};
/* Appends the record: nothing at all when every member is the default. */
bool mail_params_put(const struct mail_params *p, struct buf *out);
MUST_USE bool mail_params_get(struct str octets, struct mail_params *out);

enum { /* of a recipient; 0: not said, then FAILURE is meant and DELAY is ours to choose (RFC 3461 4.1) */
       NOTIFY_NEVER = 1 << 0,
       NOTIFY_SUCCESS = 1 << 1,
       NOTIFY_FAILURE = 1 << 2,
       NOTIFY_DELAY = 1 << 3,
       NOTIFY_ALL = (1 << 4) - 1,
};
/* The words of NOTIFY (RFC 3461 4.1) with commas between; nothing for 0. */
void notify_put(uint8_t notify, struct buf *out);
/* The bit of one word, any case; 0: it is none. */
uint8_t notify_bit(struct str word);

enum {
    /* An alias or list led here: it is not looked up again as an alias (a user who forwards to himself and
     * keeps a copy would be a circle). */
    RCPT_IS_EXPANDED = 1 << 0,
    /* How many .forward files led here, counted in steps of RCPT_FORWARD_STEP; all bits set: the copy that a
     * user keeps for himself, his .forward is not read again. */
    RCPT_FORWARD_STEP = 1 << 1,
    RCPT_FORWARD_MASK = 7 << 1,
    RCPT_IS_MEMBER = 1 << 4, /* a list led here: the suppression list is asked */
    RCPT_FLAGS_ALL = 31,
};
struct rcpt {
    struct str address;
    uint8_t notify;   /* NOTIFY_* */
    uint8_t flags;    /* RCPT_* */
    uint8_t target;   /* 0, or the alias's target by number from 1 that is no address (a pipe) */
    struct str orcpt; /* "rfc822;joe@example.org", decoded from xtext; may be empty */
    struct str shown; /* the address that reports and traces name in place of `address`, so that no target of
                         an alias comes to light; empty: `address` itself */
};
/* Lists of recipients are records one after the other. */
bool rcpt_put(const struct rcpt *r, struct buf *out);
/* false at the end, or when malformed: then r->failed. */
MUST_USE bool rcpt_next(struct reader *r, struct rcpt *out);
/* How many a well-formed list holds; 0 when it is malformed, empty or over SMTP_RCPT_MAX. */
uint32_t rcpt_count(struct str list);
/* The most that one takes, and what it takes beside its texts. */
enum { RCPT_RECORD_FIXED = 4 + 4 + 4 + 4, RCPT_RECORD_MAX = 512 + 500 + 512 + RCPT_RECORD_FIXED };
