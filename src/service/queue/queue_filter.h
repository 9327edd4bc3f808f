/* service/queue/queue_filter.h: the language that chooses entries: words separated by spaces, all of which
 * must hold.
 *
 *   id=3F8KZ0Q1M2X4C    state=deferred|held|active    kind=mail|bounce
 *   site=mx:*.example.net    source=POOL (the address pool it leaves from)    tag=newsletter
 *   age>2h  age<30m    attempts>3  attempts<1  attempts=0    size>1M  size<20k    priority>0  priority=-4
 *   sender=a@example.org    rcpt=*@example.com    domain=example.com    reason~timed*out
 *   class=mailbox-full (a word of docs/codes.md)
 *
 * rcpt, domain, reason and class hold when they do for any recipient still open; reason~ looks for the text
 * anywhere in its last answer. Values are compared without case; * stands for anything (also for the spaces
 * that a value can't have). sender=<> is the null sender. Ages: s, m, h, d; sizes: octets, k, M, G. A message
 * without MT-PRIORITY has priority 0.
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
    FILTER_SOURCE,
    FILTER_TAG,
    FILTER_SIZE,
    FILTER_PRIORITY,
    FILTER_REASON,
    FILTER_CLASS,
};
struct filter_term {
    enum filter_key key;
    char op; /* '=', '<', '>', '~'; '@' (of a domain): it and those below */
    struct str value;
    uint64_t number; /* id, state, kind, class, seconds, attempts, octets, priority - MT_PRIORITY_MIN */
};
struct filter {
    struct filter_term terms[FILTER_TERMS_MAX];
    size_t n;
    bool needs_envelope; /* sender, rcpt or domain is asked for */
};
/* Values borrow from text. false: why in error, for people. */
MUST_USE bool filter_parse(struct str text, struct filter *out, struct buf *error);
/* Waiting entries with an open recipient in the domain, or below it too. Borrows domain. */
void filter_for_domain(struct filter *out, struct str domain, bool with_subdomains);
/* As far as memory can tell; bounce: the entry is a report of ours. */
bool filter_matches_entry(const struct filter *f, const struct schedule_entry *e, bool is_bounce,
                          int64_t wall_ms);
/* The terms that memory can't tell. */
bool filter_matches_envelope(const struct filter *f, const struct envelope *e,
                             const struct envelope_state *st);
/* Pattern with * against text, ASCII case folded; linear in |pattern| * |text|. */
bool filter_glob(struct str pattern, struct str text);
