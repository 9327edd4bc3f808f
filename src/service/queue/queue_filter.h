/* service/queue/queue_filter.h: the language that chooses entries: words separated by spaces, all of which
 * must hold.
 *
 *   id=3F8KZ0Q1M2X4C   state=deferred|held|active   site=mx:*.example.net   age>2h   age<30m   attempts>3
 * attempts<1 sender=a@example.org   rcpt=*@example.com   domain=example.com (of any recipient still open)
 * kind=mail|bounce
 *
 * Values are compared without case; * stands for anything. sender=<> is the null sender. Ages: s, m, h, d.
 */
#pragma once
#include "base/log.h"
#include "queue/envelope.h"
#include "queue/schedule.h"

enum { FILTER_TERMS_MAX = 16, FILTER_TEXT_MAX = 4096 };
enum filter_key {
    FILTER_ID = 0,
    FILTER_STATE,
    FILTER_KIND,
    FILTER_SITE,
    FILTER_AGE,
    FILTER_ATTEMPTS,
    FILTER_SENDER,
    FILTER_RCPT,
    FILTER_DOMAIN,
};
struct filter_term {
    enum filter_key key;
    char op; /* '=', '<', '>' */
    struct str value;
    uint64_t number; /* id, state, kind, seconds, attempts */
};
struct filter {
    struct filter_term terms[FILTER_TERMS_MAX];
    size_t n;
    bool needs_envelope; /* sender, rcpt or domain is asked for */
};
/* Values borrow from text. false: why in error, for people. */
MUST_USE bool filter_parse(struct str text, struct filter *out, struct buf *error);
/* As far as memory can tell; bounce: the entry is a report of ours. */
bool filter_matches_entry(const struct filter *f, const struct schedule_entry *e, bool is_bounce,
                          int64_t wall_ms);
/* The terms that memory can't tell. */
bool filter_matches_envelope(const struct filter *f, const struct envelope *e,
                             const struct envelope_state *st);
/* Pattern with * against text, ASCII case folded; linear in |pattern| * |text|. */
bool filter_glob(struct str pattern, struct str text);
