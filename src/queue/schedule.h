/* queue/schedule.h: who is due where: entries by destination site, with concurrency, back-off and fairness. A
 * pure data structure: time and random numbers are arguments.
 *
 * Owns:     its entries (64 octets each, in pages that never move) and its sites.
 * Limits:   SCHEDULE_PAGES_MAX * SCHEDULE_PAGE entries; SCHEDULE_IDLE_SITES_MAX sites that have no entry are
 * remembered. Errors:   NULL without memory.
 *
 * A site is what shares one fate: the MX set of a domain, a smart host, a local delivery. It starts with a
 * few deliveries at a time, gains one for each success and halves when a connection fails. When nothing has
 * worked there lately it is blocked as a whole for a time that doubles, and then tried with one delivery (a
 * probe). Sites that have something due and room take turns.
 *
 * Of a site's entries that are due, the one of the highest priority (RFC 6710) goes first, and in a class the
 * one that is due longest. A class counts as SCHEDULE_CLASS_MS of waiting, so that nothing starves: an entry
 * is overtaken only by those of n classes above that became due less than n times that after it. The 19
 * levels stand in SCHEDULE_CLASSES classes, which tell all levels of the profiles of MIXER and STANAG 4406
 * apart; RFC 6710 asks no more of a server than that. Priority has no say in the turns of sites: it would let
 * the mail of one destination hold up that of others.
 *
 * Entry:  ASIDE --wait--> WAITING --next--> ACTIVE --finish--> ASIDE;  WAITING, ASIDE --hold--> HELD;
 *         WAITING, HELD --take--> ASIDE;  ASIDE --remove--> gone
 * Site:   IDLE (nothing waits), SLEEPING (until its first is due or the block ends), READY (in the round),
 * FULL
 */
#pragma once
#include "base/heap.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/str.h"
#include "wire/params.h"

enum {
    SCHEDULE_CLASSES = 7, /* of priority: up to -3, to -1, 0, to 2, to 4, to 6, above */
    SCHEDULE_CLASS_MS = 60 * 60 * 1000,
    SCHEDULE_PAGE = 1024, /* entries */
    SCHEDULE_PAGES_MAX = 16384,
    SCHEDULE_IDLE_SITES_MAX = 4096,
    SCHEDULE_SITE_START = 5, /* deliveries at a time of a site that nothing is known of */
    SCHEDULE_SITE_TEXT_MAX = 255,
    SCHEDULE_WHY_MAX = 160,
    SCHEDULE_BLOCK_FIRST_MS = 30 * 1000,
    SCHEDULE_BLOCK_MAX_MS = 10 * 60 * 1000,
    SCHEDULE_ALIVE_MS = 30 * 1000, /* a site that worked this recently is not blocked by one failure */
};

struct schedule_conf {
    uint32_t site_max;   /* deliveries at a time to one site */
    uint32_t local_max;  /* likewise for a site on this machine, from the start */
    uint32_t active_max; /* in all */
    uint32_t retry_first_s, retry_max_s, retry_jitter_pct;
};

enum schedule_entry_state { ENTRY_FREE = 0, ENTRY_ASIDE, ENTRY_WAITING, ENTRY_ACTIVE, ENTRY_HELD };
enum { ENTRY_STATE_N = 5 };
struct schedule_site;
struct schedule_entry {
    uint64_t id;
    union {
        struct heap_node due; /* WAITING; key: monotonic ms */
        struct {              /* ASIDE, ACTIVE: the user's */
            struct list link;
            void *work;
        };
    };
    struct schedule_site *site; /* NULL: none yet */
    uint32_t created_s;         /* wall clock */
    uint16_t n_attempts;
    uint8_t state : 3; /* enum schedule_entry_state */
    uint8_t level : 5; /* priority - MT_PRIORITY_MIN */
    uint8_t flags;     /* the user's */
};

enum schedule_site_state { SITE_IDLE = 0, SITE_SLEEPING, SITE_READY, SITE_FULL };
struct schedule_site {
    struct idmap_node by_hash;
    struct heap due[SCHEDULE_CLASSES]; /* WAITING entries by class, each by time */
    size_t n_waiting;
    struct heap_node wake; /* SLEEPING */
    struct list link;      /* READY: in the round; IDLE and without entries: by age */
    struct list all;
    uint64_t blocked_until_ms, last_success_ms;
    uint32_t block_ms;           /* the present step of back-off; 0: not blocked */
    uint32_t window, window_max; /* deliveries at a time, now and at most */
    uint32_t n_active, n_held, n_aside;
    uint64_t n_done, n_failures; /* deliveries that worked, connections that did not, since it is known */
    char *why;                   /* the last failure, or NULL */
    enum schedule_site_state state;
    bool is_remembered; /* in the list of idle sites */
    bool is_local;
    uint8_t name_n; /* 0: not known yet, only its hash */
    char *name;
};

struct schedule {
    struct schedule_conf conf;
    struct idmap sites;
    size_t n_entries;
    struct schedule_entry **pages;
    size_t n_pages, n_fresh; /* entries of the last page that were never used */
    struct schedule_entry *free;
    struct heap sleeping;
    struct list ready, idle, all_sites;
    size_t n_idle, n_sites;
    size_t n_by_state[ENTRY_STATE_N];
};

MUST_USE bool schedule_init(struct schedule *s, const struct schedule_conf *conf);
void schedule_fini(struct schedule *s);
/* New limits; sites over theirs shrink as deliveries end. */
void schedule_reconfigure(struct schedule *s, const struct schedule_conf *conf, uint64_t now_ms);

/* Stable over restarts. Never 0. */
uint64_t schedule_site_hash(struct str name);
/* The site of that name, made when there is none. NULL without memory. */
struct schedule_site *schedule_site(struct schedule *s, struct str name, bool is_local);
/* The site of that hash; one without a name when there is none. */
struct schedule_site *schedule_site_by_hash(struct schedule *s, uint64_t hash);
/* Names a site that was only a hash; harmless when it has a name or the hash differs. */
void schedule_site_learn(struct schedule *s, struct schedule_site *site, struct str name);
static inline struct str schedule_site_name(const struct schedule_site *site)
{
    return str_of(site->name, site->name_n);
}
/* Ends the block of a site now: an operator said so. */
void schedule_site_unblock(struct schedule *s, struct schedule_site *site, uint64_t now_ms);

/* A new entry, ASIDE, without a site; the id must be new. priority: MT_PRIORITY_MIN to MT_PRIORITY_MAX. */
struct schedule_entry *schedule_add(struct schedule *s, uint64_t id, uint32_t created_s, int priority);
static inline int8_t schedule_priority(const struct schedule_entry *e)
{
    return (int8_t)(e->level + MT_PRIORITY_MIN);
}
/* Looks at every entry: some 10 ms for a million. Only operators name entries by id; a map for them would
 * cost every entry 16 octets and a start a third of its time. */
struct schedule_entry *schedule_find(const struct schedule *s, uint64_t id);
/* Is e, which was an entry once, still the one with this id? Its memory is there in any case. */
static inline bool schedule_is_entry(const struct schedule_entry *e, uint64_t id)
{
    return e->state != ENTRY_FREE && e->id == id;
}
void schedule_set_site(struct schedule *s, struct schedule_entry *e, struct schedule_site *site);
/* To be delivered at its site not before due_ms. */
void schedule_wait(struct schedule *s, struct schedule_entry *e, uint64_t due_ms, uint64_t now_ms);
void schedule_hold(struct schedule *s, struct schedule_entry *e, uint64_t now_ms);
void schedule_take(struct schedule *s, struct schedule_entry *e, uint64_t now_ms);
void schedule_remove(struct schedule *s, struct schedule_entry *e);

/* The next entry to deliver now (it is ACTIVE then), or NULL. */
struct schedule_entry *schedule_next(struct schedule *s, uint64_t now_ms);
/* When schedule_next() may have something again without any other call; UINT64_MAX: never. */
uint64_t schedule_due(const struct schedule *s);

enum schedule_outcome {
    SCHEDULE_NEUTRAL = 0, /* says nothing about the site */
    SCHEDULE_WORKED,      /* the site answered */
    SCHEDULE_SITE_DOWN,   /* no connection could be had, or the greeting was a refusal */
};
/* The delivery ended: the entry is ASIDE. random: uniform over 64 bits. why: for people, kept of SITE_DOWN.
 */
void schedule_finish(struct schedule *s, struct schedule_entry *e, enum schedule_outcome outcome,
                     struct str why, uint64_t random, uint64_t now_ms);

/* How long to wait after the n-th failed attempt (n from 1): doubling with jitter. */
uint64_t schedule_retry_ms(const struct schedule_conf *conf, uint32_t n_attempts, uint64_t random);
/* Older than expire_s? A clock that stepped back expires nothing. */
bool schedule_is_expired(uint32_t created_s, int64_t wall_ms, uint32_t expire_s);

/* Entries by place, for walks in slices that survive changes: those added or moved meanwhile may be missed.
 * *cursor starts at 0. NULL: the end, or n_slots were looked at (then *cursor went on: compare with
 * schedule_slots()). */
struct schedule_entry *schedule_walk(const struct schedule *s, size_t *cursor, size_t *n_slots);
size_t schedule_slots(const struct schedule *s);
/* When the entry is due: WAITING only, else 0. */
uint64_t schedule_entry_due(const struct schedule_entry *e);
/* One of the entries that wait there, or NULL. */
struct schedule_entry *schedule_site_some(const struct schedule_site *site);
bool schedule_site_is_blocked(const struct schedule_site *site, uint64_t now_ms);
/* Everything that must hold; for tests, slow. */
void schedule_invariants(const struct schedule *s);
