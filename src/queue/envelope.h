/* queue/envelope.h: what the store keeps of a queue entry, as octets: the envelope record, the deltas that
 * results add to it, and the hint that stays in memory.
 *
 * Owns:     nothing; decoded slices borrow from the octets.
 * Limits:   SMTP_RCPT_MAX recipients, SMTP_PATH_MAX octets each, ENVELOPE_TEXT_MAX octets of a remote reply.
 * Errors:   false for octets that are not a whole, sound record: nothing was changed then.
 * Security: the octets were written by us, but a disk may have altered them: every length and number is
 * checked.
 */
#pragma once
#include "base/buf.h"
#include "queue/store.h"
#include "wire/esc.h"
#include "wire/params.h"

enum {
    ENVELOPE_TEXT_MAX = 512,   /* kept of a reply */
    ENVELOPE_HOST_MAX = 320,   /* kept of "mx.example.org [192.0.2.1]:25" */
    ENVELOPE_SITE_MAX = 255,   /* kept of a site's name */
    ENVELOPE_DELTA_MAX = 4096, /* octets of one delta: what STORE_PUT_RESULT takes */
    ENVELOPE_FIXED = 64,       /* octets of a record beside its texts, at most */
};

enum envelope_kind { ENVELOPE_MAIL = 0, ENVELOPE_BOUNCE };

struct envelope {
    enum envelope_kind kind;
    uint32_t flags;     /* MAIL_FLAG_* of the roles, opaque here */
    int64_t arrival_ms; /* wall clock */
    uint64_t parent_id; /* the entry this one was split from, or that it reports on; 0: none */
    uint64_t body_size;
    struct str sender; /* empty: the null reverse-path */
    struct str params; /* mail_params_put() octets; empty: all defaults */
    struct str client, helo;
    uint32_t n_rcpts;
    struct str rcpts; /* rcpt_put() records: wire/params.h */
};
/* Appends the record; e->rcpts and e->n_rcpts must agree (see rcpt_count). */
bool envelope_encode(const struct envelope *e, struct buf *out);
/* Octets that envelope_encode() appends. */
size_t envelope_encoded_size(const struct envelope *e);
MUST_USE bool envelope_decode(struct str octets, struct envelope *out);

enum envelope_rcpt_state {
    ENVELOPE_PENDING = 0,
    ENVELOPE_DEFERRED,
    ENVELOPE_DELIVERED,
    ENVELOPE_FAILED,
    ENVELOPE_EXPANDED, /* others took its place: an alias, a list, a .forward */
};
struct envelope_rcpt {
    struct rcpt rcpt;
    enum envelope_rcpt_state state;
    uint8_t stage; /* where in the conversation; the roles' number */
    uint16_t code; /* the remote reply code or 0 */
    struct esc esc;
    int64_t at_ms; /* wall clock of the last outcome; 0: none yet */
    struct str host, text;
};
static inline bool envelope_is_open(const struct envelope_rcpt *r)
{
    return r->state == ENVELOPE_PENDING || r->state == ENVELOPE_DEFERRED;
}
enum { /* what the sender was told already, so that a restart does not tell it again */
       REPORTED_DELAY = 1 << 0, /* that delivery takes long */
       REPORTED_LATE = 1 << 1,  /* that the time of DELIVERBY has passed (RFC 2852) */
       REPORTED_ALL = 3,
};
struct envelope_state {
    struct envelope_rcpt *rcpts;
    uint32_t n_rcpts;
    int64_t next_ms; /* wall clock of the next attempt; 0: at once */
    uint32_t n_attempts;
    unsigned reported; /* REPORTED_* */
    bool is_held;
    struct str held_by; /* for people */
    struct str site;    /* of the last attempt, or empty */
};
/* The state before any delta. rcpts has room for e->n_rcpts. */
void envelope_state_init(struct envelope_state *st, const struct envelope *e, struct envelope_rcpt *rcpts);

/* ---- deltas: a version octet, then items ---- */

/* Starts a delta in out (which is reset). */
void delta_begin(struct buf *out);
/* Outcome of the recipients first..last (one that they share). Texts are cut to their limits. false: does not
 * fit. */
bool delta_put_rcpts(struct buf *out, uint32_t first, uint32_t last, const struct envelope_rcpt *outcome);
bool delta_put_attempt(struct buf *out, int64_t next_ms, uint32_t n_attempts, struct str site);
bool delta_put_hold(struct buf *out, bool is_held, struct str by);
/* REPORTED_* that come on. The report itself is in the same unit, so that both exist or neither. */
bool delta_put_reported(struct buf *out, unsigned reported);
/* Applies one delta to st. */
MUST_USE bool envelope_apply(struct str delta, struct envelope_state *st);

/* The site that a delta names, or the empty slice. */
struct str delta_site(struct str delta);

/* ---- hint: STORE_HINT octets ---- */

enum {
    HINT_HELD = 1 << 0,
    HINT_BOUNCE = 1 << 1,
    HINT_DEADLINE = 1 << 2, /* next_ms is a time that the sender set (RFC 2852): something is to be done then
                               even when its site is blocked */
    HINT_ALL = 7,
};
struct envelope_hint {
    unsigned flags; /* HINT_* */
    uint16_t n_attempts;
    uint32_t created_s; /* wall clock */
    int64_t next_ms;    /* wall clock */
    uint64_t site_hash; /* 0: not routed yet */
    int8_t priority;    /* MT-PRIORITY: MT_PRIORITY_MIN to MT_PRIORITY_MAX */
};
void hint_encode(const struct envelope_hint *h, unsigned char out[STORE_HINT]);
MUST_USE bool hint_decode(const unsigned char in[STORE_HINT], struct envelope_hint *out);
