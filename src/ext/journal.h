/* ext/journal.h: the journal of what happened as the admin role sees it; ext/journal_sqlite.c is the real
 * one, the simulator has its own.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct journal_line {
    uint64_t seq; /* out only */
    uint64_t wall_ms;
    unsigned kind;    /* enum event_kind */
    const char *role; /* static; of a line read back: valid during the call */
    uint64_t id, other_id, number;
    struct str rcpt, host, text;
    struct str class; /* what a refusal is about (docs/codes.md), or empty */
};
struct journal {
    void *self;
    /* Queues a line; written with others in one transaction at flush(). */
    void (*add)(void *self, const struct journal_line *l);
    /* The lines added since the last flush are there for `why`, and survive the end of the process. With an
     * error some or all of them are lost, later ones are taken again. */
    enum err (*flush)(void *self);
    /* Calls fn for each line of a message and of its children and reports (followed through other_id,
     * bounded), and for the lines of others that name it, oldest first, at most n_max. ERR_TIMEOUT: too much
     * work, what came is not all. */
    enum err (*why)(void *self, uint64_t id, size_t n_max,
                    void (*fn)(void *arg, const struct journal_line *l), void *arg);
    /* Lines older than this go, a bounded number a call: ERR_AGAIN when there may be more to do. */
    enum err (*expire)(void *self, uint64_t before_wall_ms);
};
