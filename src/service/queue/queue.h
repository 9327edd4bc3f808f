/* service/queue/queue.h: the inside of the queue role, shared by service/queue/ only.
 *
 *   queue.c          the role: start, peers, turns, drain
 *   queue_put.c      messages from smtpd: ids, small bodies
 *   queue_intake.c   large bodies, by pipe
 *   queue_body.c     the cache of fresh messages; feeding bodies into pipes
 *   queue_site.c     MX answers: hops, roll-up to sites, cache
 *   queue_expand.c   recipients that become others: aliases, lists, .forward
 *   queue_route.c    where an entry belongs; splitting by destination
 *   queue_run.c      one attempt: claim, load, route, jobs
 *   queue_result.c   what came of it: results, retry, expiry, the unit that records it
 *   queue_report.c   who is told what; queue_bounce.c: makes the reports
 *   queue_recover.c  start: hints into the schedule; later: names of sites, expiry behind a blocked site
 *   queue_mark.c     hold, release, drop, retry of one entry
 *   queue_ctl.c      the operator's questions; queue_filter.c their language; queue_rows.c the answers
 *   queue_callout.c  does the next hop take a recipient? asked for smtpd, remembered
 *   queue_suspend.c  what operators let nobody attempt for a while
 *   queue_suppress.c addresses that members of lists are not sent to; queue_class.c what a refusal is about
 *   queue_verp.c     return paths of list mail: their key, their tags, whose they are
 *   queue_feedback.c what reports on them, and complaints, are good for
 *   queue_event.c    events, counters, trouble
 *
 * An entry is in the store (truth) and in the schedule (memory). Whoever works on an entry has taken it ASIDE
 * or ACTIVE in the schedule, so at most one work or mark exists for it. Nothing borrows from the
 * configuration across turns.
 */
#pragma once
#include "base/arena.h"
#include "base/idmap.h"
#include "ipc/ctl.h"
#include "ipc/lists.h"
#include "queue/bounce.h"
#include "queue/schedule.h"
#include "queue/suppressed.h"
#include "service/boot/role.h"
#include "verify/dane.h"
#include "verify/mta_sts.h"

enum {
    QUEUE_ACTIVE_MAX = 1000,             /* attempts at a time */
    QUEUE_WORKS_MAX = 4000,              /* with those that are being recorded */
    QUEUE_LOCAL_MAX = 50,                /* deliveries at a time to one place on this machine */
    QUEUE_LOCAL_JOBS_MAX = 100,          /* jobs out with the local role */
    QUEUE_WORK_JOBS_MAX = 8,             /* jobs of one attempt at a time */
    QUEUE_HINTS_MAX = 6,                 /* attempts at the time that a greylisting server names */
    QUEUE_STARTS_MAX = 256,              /* attempts begun in one turn */
    QUEUE_CHILDREN_MAX = 64,             /* parts of one split; a part may be split again */
    QUEUE_SHORT_REPORT_MAX = 256 * 1024, /* octets of a report in a unit that holds children too */
    QUEUE_CACHE_MAX = 16 * 1024 * 1024,
    QUEUE_CHUNK = 4096,
    QUEUE_CHUNKS_MAX = 16384,
    QUEUE_GRANT_MAX = 1024,               /* ids granted at once */
    QUEUE_GRANTS_MAX = 4096,              /* grants of one smtpd that are remembered */
    QUEUE_EARLY_MAX = 256,                /* recipient lists of one smtpd that wait for their put */
    QUEUE_INTAKES_MAX = 4096,             /* pipes of one smtpd */
    QUEUE_PAUSE_OCTETS = 8 * 1024 * 1024, /* puts that the store can't take yet: above it smtpd waits */
    QUEUE_PIPE_STEP = 256 * 1024,         /* octets of a body read or written at a time */
    QUEUE_JOB_RCPTS_OCTETS = 48 * 1024,   /* with more the body goes by pipe, so that the message fits */
    QUEUE_LEASE_MS = 10 * 60 * 1000,
    QUEUE_RENEW_MS = 3 * 60 * 1000,
    QUEUE_SUBMIT_RETRY_MS = 250,
    QUEUE_LOST_MS = 5000, /* an attempt whose worker died is repeated after this */
    QUEUE_SWEEP_MS = 5 * 60 * 1000,
    QUEUE_SLICE = 8192, /* entries looked at in one turn by whoever walks them all */
    QUEUE_COUNTERS_MS = 10 * 1000,
    QUEUE_NAMING_MAX = 8,    /* envelopes read at a time to learn names of sites */
    QUEUE_MX_MAX = 20000,    /* domains remembered */
    QUEUE_MX_OPEN_MAX = 256, /* questions open */
    /* to agent: slow policy hosts must not hold up other domains */
    QUEUE_STS_OPEN_MAX = 8192,
    QUEUE_STS_WAIT_MS = 4 * 60 * 1000, /* longer than agent takes with the slowest name servers and hosts */
    QUEUE_STS_LOOK_MS = 10 * 1000,
    QUEUE_MX_TTL_MIN_S = 60,
    QUEUE_MX_TTL_MAX_S = 24 * 60 * 60,
    QUEUE_AGENT_LINK = ROLE_SMTPD_MAX, /* in queue.smtpd */
    QUEUE_CTL_MAX = 16,                /* questions of operators at a time */
    QUEUE_ETRN_MAX = 4,                /* of them ETRN: each looks at the whole queue */
    QUEUE_SUSPEND_MS = 60 * 60 * 1000, /* a suspended entry is looked at again, at twice this the latest */
};

enum { /* struct schedule_entry.flags */
       ENTRY_IS_BOUNCE = 1 << 0,
       ENTRY_WANT_HOLD = 1 << 1, /* when the work under way ends */
       ENTRY_WANT_DROP = 1 << 2,
       ENTRY_WANT_RETRY = 1 << 3,
       ENTRY_IS_SUSPENDED = 1 << 5, /* waits for an operator's word about all of its kind */
       ENTRY_HAS_DEADLINE = 1 << 6, /* a time of DELIVERBY (RFC 2852) is still to come or to be told of */
       ENTRY_IS_EXPIRED = 1 << 4,   /* behind a blocked site for too long: give up without an attempt */
};

struct queue;

/* A message from its put on; in the cache until its first attempt or until newer ones need the room. */
struct fresh {
    struct idmap_node by_id;   /* envelope; id 0: not in the map */
    struct idmap_node by_body; /* body; id 0: has none here */
    struct list link;          /* cache, or puts that wait for the store */
    struct store_ticket ticket;
    struct queue *q;
    uint64_t id, body_id, body_size, token;
    uint32_t smtpd, life; /* who waits for the answer */
    uint32_t created_s;
    unsigned n_refs;
    bool in_cache, is_bounce, has_deadline;
    int8_t priority; /* RFC 6710 */
    uint32_t n_record, n_body;
    char octets[]; /* record, then body */
};

struct grant {
    uint64_t first;
    uint32_t n, n_used;
    uint8_t *used; /* a bit each */
};
struct early { /* recipients that came before their put */
    struct list link;
    uint64_t token;
    struct buf rcpts;
};
struct smtpd_link { /* or agent's: its reports come by it */
    struct queue *q;
    struct channel *channel;
    uint32_t index, life; /* life: counts the channels, so that no answer goes to the wrong one */
    bool is_paused;
    struct grant *grants; /* sorted */
    size_t n_grants, grants_cap;
    struct list early, intakes;
    size_t n_early, n_intakes;
};

struct worker { /* a relay, or the local role */
    struct queue *q;
    enum role role;
    unsigned index;
    struct channel *channel;
    struct list jobs; /* out there */
    size_t n_jobs;
    struct list waiting; /* works that wait for the channel, its room, or a place */
    bool is_full;
};

enum mx_state { MX_NEW = 0, MX_ASKED, MX_STS, MX_KNOWN }; /* MX_STS: agent is asked, or will be */
struct mx {
    struct idmap_node by_domain, by_token;
    struct list link;    /* by use */
    struct list asking;  /* questions that wait for their turn; or sts_open: that agent has */
    struct list entries; /* fresh entries that wait for the answer */
    struct list works, callouts;
    enum mx_state state;
    enum dane_mx found; /* whether DNSSEC vouches for the hosts */
    uint64_t expires_ms;
    enum result_kind verdict; /* of routing by it */
    struct esc esc;
    struct str domain, site, hops, why; /* in octets */
    struct str canonical;               /* likewise; the domain after validated CNAMEs, or empty */
    char *octets;
    uint64_t sts_since_ms; /* MX_STS */
    enum mta_sts_mode sts; /* of the domain's policy in force */
    uint32_t sts_hops;     /* by place in hops: the host is one of the policy's */
    uint32_t sts_some;     /* 0: all are; else a hash of those that are */
};

enum work_phase {
    WORK_LOADING = 0, /* claim, envelope */
    WORK_ROUTING,     /* MX */
    WORK_QUEUED,      /* for the worker */
    WORK_READING,     /* the body */
    WORK_RUNNING,     /* jobs are out */
    WORK_BOUNCING,    /* the original is read for the report */
    WORK_SUBMITTING,  /* the store has no room at present */
    WORK_RECORDING,
    WORK_ENDED,
};
enum {
    MARK_TRIED = 1 << 0,
    MARK_NEW = 1 << 1,
    MARK_EXPIRED = 1 << 2,
    MARK_QUIET = 1 << 3, /* EXPANDED to one address that got all parameters: no report (RFC 3461 5.2.7.1); or
                            FAILED because the address is suppressed */
    MARK_TOOK_DSN = 1 << 4,
    MARK_LATE = 1 << 5,
    MARK_LIST = 1 << 6,   /* EXPANDED, and for the sender delivered (RFC 3461 5.2.7.3) */
    MARK_LOOKED = 1 << 7, /* in the suppression list, for this attempt */
};
struct job {
    struct idmap_node by_token;
    struct list link; /* worker */
    struct work *work;
    struct feed *feed;
    uint32_t first, n; /* in work->portion; n == 0: free */
};
struct work {
    struct list link; /* q->works */
    struct list wait; /* worker, mx, or submit list */
    struct queue *q;
    struct schedule_entry *entry;
    uint64_t id, body_id, started_ms;
    enum work_phase phase;
    struct store_claim claim;
    bool is_claiming, is_claimed, is_renewing;
    uint64_t epoch;
    struct store_read read;
    bool is_reading, has_read;
    enum err read_err; /* of the envelope */
    struct store_read body_read;
    bool body_reading, has_body;
    struct fresh *fresh, *body_of; /* body_of: whose octets the body is, or NULL */
    struct arena arena;
    struct envelope envelope;
    struct envelope_state state;
    uint8_t *marks;
    /* route */
    uint64_t config_generation;
    enum route_kind route;
    struct str site, hops, source; /* name of the site; encoded hops for relay; pool or empty */
    bool is_lmtp, is_smtps, trusts_hops;
    enum hop_tls tls;
    struct str names; /* what certificates may be for: a list for relay */
    enum dane_mx mx;
    struct str next_hop, canonical; /* MX: the domain */
    enum mta_sts_mode sts;
    uint32_t sts_hops;
    struct hop_login auth;
    struct str certificate;
    /* jobs */
    struct worker *worker;
    uint32_t *portion;                          /* recipients */
    uint32_t n_portion, next_portion, next_job; /* next_job: portion[] not yet out */
    unsigned n_out;
    struct job jobs[QUEUE_WORK_JOBS_MAX];
    enum schedule_outcome outcome;
    struct str outcome_why;
    bool is_lost; /* the worker died: nothing is known */
    /* record */
    struct store_ticket ticket;
    struct store_op *ops;
    size_t n_ops;
    bool is_drop, is_lazy, is_last, is_split;
    int64_t next_ms;
    struct fresh *reports[REPORT_KINDS]; /* made in this unit */
    unsigned new_reported;               /* REPORTED_* of this unit */
    struct fresh **children;
    size_t n_children;
    struct expand *expand; /* queue_expand.c: what recipients became, not yet in children */
    bool is_expanding;     /* the unit is an expansion: routing follows it */
    bool has_children;     /* they share the body */
    /* queue_suppress.c */
    struct store_read suppress_read;
    uint32_t looked, n_suppressed; /* the recipient whose record is read; how many it gave up */
};

enum queue_phase { QUEUE_OPENING = 0, QUEUE_OPEN, QUEUE_DRAINING, QUEUE_CLOSING, QUEUE_CLOSED };

/* name in the metrics */
#define QUEUE_COUNTERS(X)                                                                                    \
    X(accepted)                                                                                              \
    X(accepted_octets)                                                                                       \
    X(refused)                                                                                               \
    X(split)                                                                                                 \
    X(attempts)                                                                                              \
    X(delivered)                                                                                             \
    X(deferred)                                                                                              \
    X(failed)                                                                                                \
    X(suppressed)                                                                                            \
    X(expired) X(bounced) X(returned) X(complained) X(reported) X(not_bounced) X(dropped) X(lost) X(trouble)
struct queue_counters {
#define X(name) uint64_t name;
    QUEUE_COUNTERS(X)
#undef X
};

struct queue {
    struct role_env *env;
    struct world *world;
    const struct config *config;
    struct disk *disk;
    struct store *store;
    enum queue_phase phase;
    struct schedule schedule;
    struct chunk_pool pool;
    struct turn_hook turn;
    struct timer due, retry, sweep, counters_timer, renew, deadline;
    size_t n_store; /* tickets, claims, reads and body writers that are open */
    uint64_t seed;  /* of hashes of remote names */

    struct smtpd_link smtpd[ROLE_SMTPD_MAX + 1]; /* the last one is agent's: QUEUE_AGENT_LINK */
    struct list puts_waiting;
    size_t puts_waiting_octets;
    uint64_t put_octets; /* of messages being taken in */

    struct idmap fresh, fresh_bodies;
    struct list cache; /* oldest first */
    size_t cache_octets;

    struct worker relays[ROLE_RELAY_MAX], local;
    struct channel *lookup, *admin, *agent;
    struct idmap jobs;
    uint64_t token;
    struct list works, submit_waiting;
    size_t n_works;
    struct list feeds;

    struct idmap mx, mx_tokens;
    struct list mx_by_use, mx_asking, sts_asking, sts_open;
    struct timer sts_timer; /* set while any waits for agent */
    size_t n_mx_open, n_sts_open;

    struct list marks;
    size_t n_marks;
    struct list asks; /* of operators */
    size_t n_asks;
    struct callouts *callouts;
    struct suspension *suspension;
    struct suppressions *suppressions;
    size_t suppressed_max; /* SUPPRESSED_MAX, less in tests */
    struct verp_key *verp;
    struct list namings;
    size_t n_naming;
    uint64_t *names; /* hashes of sites whose names are to be learnt */
    size_t n_names, names_at;
    size_t sweep_at;
    bool is_sweeping;

    struct queue_counters count;
    uint32_t counters_told; /* checksum of the last ones */
    uint64_t deadline_ms;
    bool drain_wanted;
    enum err trouble; /* the last one told, so that it is told once */
};

/* ---- queue.c ---- */
void queue_wake(struct queue *q); /* the turn's end is run again soon */
bool queue_may_start(const struct queue *q);
/* The store is open and what is suspended is known: the role is ready. */
void queue_begin(struct queue *q);
/* It can't be: the reason goes to the supervisor. */
void queue_fail(struct queue *q, const char *what, enum err err);
void queue_store_busy(struct queue *q);
void queue_store_idle(struct queue *q);
uint64_t queue_random(struct queue *q);

/* ---- queue_event.c ---- */
struct queue_event {
    enum event_kind kind;
    uint64_t id, other_id, number;
    struct str rcpt, host, text, class;
};
void queue_tell(struct queue *q, const struct queue_event *e);
#define TELL(q, ...) queue_tell((q), &(const struct queue_event){__VA_ARGS__})
/* A failure of the store or of memory: told and logged once, until trouble_over(). */
void queue_trouble(struct queue *q, enum err err, const char *what);
void queue_trouble_over(struct queue *q);
void queue_send_counters(struct queue *q);

/* ---- queue_put.c ---- */
void queue_smtpd_set(struct queue *q, unsigned index, struct channel *c);
void queue_smtpd_fini(struct queue *q);
/* agent's channel is the caller's, as are its other messages. */
void queue_agent_set(struct queue *q, struct channel *c);
void queue_agent_gone(struct queue *q);
/* ID_WANT or PUT. false: malformed. */
MUST_USE bool queue_agent_message(struct queue *q, uint16_t type, struct str payload);
void queue_put_done(struct queue *q, uint32_t smtpd, uint32_t life, uint64_t token, uint64_t id,
                    enum err err);
void queue_puts_retry(struct queue *q); /* those that wait for the store */
/* Submits body (bytes in f, or a file of file_size) and envelope; when durable the put is answered and the
 * entry admitted. Takes f. */
void queue_put_submit(struct queue *q, struct fresh *f);
bool queue_take_id(struct smtpd_link *l, uint64_t id);

/* ---- queue_intake.c ---- */
struct intake;
/* Takes the read end. record: the encoded envelope, copied. */
void intake_start(struct smtpd_link *l, const struct ipc_put *m, struct conn *pipe, const struct envelope *e);
void intake_commit(struct smtpd_link *l, const struct ipc_put_commit *m);
void intake_abort(struct smtpd_link *l, uint64_t token);
void intake_abort_all(struct smtpd_link *l); /* the channel is gone; those already submitted go on */
void intake_free_all(struct smtpd_link *l);  /* the role dies */

/* ---- queue_body.c ---- */
/* A message: its record, encoded from e, and its body or nothing of it. One reference. NULL without memory.
 */
struct fresh *fresh_new(struct queue *q, uint64_t id, uint64_t body_id, const struct envelope *e,
                        struct str body);
static inline struct str fresh_record(const struct fresh *f)
{
    return str_of(f->octets, f->n_record);
}
static inline struct str fresh_body(const struct fresh *f)
{
    return str_of(f->octets + f->n_record, f->n_body);
}
/* HINT_* of what was just made, and of what stands in the schedule. */
static inline unsigned fresh_hint_flags(const struct fresh *f)
{
    return (f->is_bounce ? HINT_BOUNCE : 0u) | (f->has_deadline ? HINT_DEADLINE : 0u);
}
static inline unsigned entry_hint_flags(const struct schedule_entry *e)
{
    return ((e->flags & ENTRY_IS_BOUNCE) != 0 ? HINT_BOUNCE : 0u) |
           ((e->flags & ENTRY_HAS_DEADLINE) != 0 ? HINT_DEADLINE : 0u);
}
void fresh_unref(struct fresh *f);
void cache_add(struct queue *q, struct fresh *f);       /* takes the caller's reference */
struct fresh *cache_find(struct queue *q, uint64_t id); /* a reference, or NULL */
struct fresh *cache_find_body(struct queue *q, uint64_t body_id);
void cache_remove(struct queue *q, uint64_t id);
void cache_remove_record(struct queue *q, uint64_t id); /* the body stays for the children */
void cache_clear(struct queue *q);
/* Writes a body of the store into a pipe until its end or until the reader goes. The read end comes back as a
 * handle, NULL when there is no pipe to be had. */
struct feed *feed_start(struct queue *q, uint64_t body_id, uint64_t size, struct handle **out_read);
void feed_stop(struct feed *f); /* no more octets; the pipe ends short of its size */
void feed_free_all(struct queue *q);

/* ---- queue_site.c ---- */
/* What is known of the domain's mail exchangers; NULL: asked, and the entry or work (one of them given) is
 * told later. */
const struct mx *mx_get(struct queue *q, struct str domain, struct schedule_entry *e, struct work *w);
/* Likewise for a callout's node. */
const struct mx *mx_get_callout(struct queue *q, struct str domain, struct list *node);
void mx_on_answer(struct queue *q, const struct ipc_mx_answer *m);
void mx_on_lookup(struct queue *q); /* a new channel: ask again */
/* RFC 8461: after the MX records comes the policy of the domain. */
void mx_on_sts(struct queue *q, const struct ipc_sts_answer *m);
void mx_on_agent(struct queue *q); /* a new channel: ask again */
void mx_on_agent_room(struct queue *q);
void mx_on_sts_timer(struct timer *t);
/* The configuration may want policies now, or none any more. */
void mx_reload(struct queue *q, bool wanted);
void mx_clear(struct queue *q);

/* ---- queue_route.c ---- */
enum { ROUTE_TEXT = 8192 };
struct routed { /* slices borrow from the caller's buffers and the configuration */
    struct route route;
    struct str site; /* before roll-up */
};
/* e: whose sender and tag the routes ask for. */
void route_rcpt(struct queue *q, const struct envelope *e, const struct rcpt *rcpt, struct buf *text,
                struct routed *out);
/* Is it delivered on this machine? */
bool route_is_local(const struct route *r);
/* The site of an MX set by way of this route: each source pool and level of TLS has a fate of its own there.
 */
struct str route_mx_site(const struct mx *mx, const struct route *r, struct buf *text);
/* The names that a certificate of an MX host of the domain may be for, as a list. RFC 6125 B.3 (and what
 * Postfix calls secure): the domain that the sender named; a host that the DNS named counts where DNSSEC says
 * so (trusts_hops). */
void route_mx_names(const struct route *r, struct buf *out);
/* A durable message gets its entry and its place. Takes the reference. */
void queue_admit(struct queue *q, struct fresh *f);
/* The entry (ASIDE, in no list) waits at the site that mx leads to. */
void queue_place_mx(struct queue *q, struct schedule_entry *e, const struct mx *mx);
void queue_place(struct queue *q, struct schedule_entry *e, struct str site, bool is_local, uint64_t due_ms);
/* The open recipients by destination: true when they are at one, w->route and w->site are set then; false: w
 * is being split or was given up. */
bool work_route(struct work *w);

/* Is the recipient still to be tried by this work? */
static inline bool work_is_due(const struct work *w, uint32_t i)
{
    return envelope_is_open(&w->state.rcpts[i]) && (w->marks[i] & MARK_TRIED) == 0;
}

/* ---- queue_expand.c ---- */
/* Does any of the recipients (rcpt_put() records) become others, or fail to? */
bool expand_is_wanted(struct queue *q, struct str rcpts, uint32_t n_rcpts);
/* Expands the open recipients. true: none was; false: w is being recorded or was given up. */
bool work_expand(struct work *w);
/* The unit of an expansion is on disk: on with the recipients that are left. */
void work_expanded(struct work *w);
/* The local role found a .forward: r->targets take the place of recipient i. */
void expand_take_result(struct work *w, uint32_t i, const struct job_result *r);
/* Children of what was expanded since the last call, into w->children; without memory the recipients are
 * deferred. */
void expand_make_children(struct work *w);
/* Their operations, n_children of them at most. false: no memory. */
bool expand_put_ops(struct work *w);

/* ---- queue_run.c ---- */
void work_set_phase(struct work *w, enum work_phase to);
/* For an entry that is ACTIVE, or ASIDE to be split. */
void work_start(struct queue *q, struct schedule_entry *e);
void work_prepare(struct work *w); /* again, after an answer */
void work_next_portion(struct work *w);
void work_more_jobs(struct work *w); /* a job ended: the next ones, or the record */
/* The work is over and freed; the entry is ASIDE and in nobody's hands. */
struct schedule_entry *work_end(struct work *w);
/* Over without anything learnt: the entry is due again after wait_ms. */
/* The lease of a long attempt goes on. */
void work_renew(struct work *w);
void work_postpone(struct work *w, uint64_t wait_ms);
void worker_init(struct worker *k, struct queue *q, enum role role, unsigned index);
void worker_set(struct worker *k, struct channel *c);
void worker_lost(struct worker *k);
void worker_room(struct worker *k);
void job_forget(struct job *j);
void work_free_all(struct queue *q);

/* ---- queue_result.c ---- */
void result_on_job_done(struct worker *k, const struct ipc_job_done *m, bool *out_malformed);
void result_job_lost(struct job *j);
/* The same outcome for all open recipients of the attempt, then work_record(). */
void result_all(struct work *w, enum result_kind kind, struct esc esc, struct str text);
void work_record(struct work *w);
void work_submit(struct work *w); /* w->ops */
void work_submit_retry(struct queue *q);
/* An entry whose work is over: what operators wanted meanwhile, else it waits until due_ms. */
void entry_settle(struct queue *q, struct schedule_entry *e, uint64_t due_ms);

/* ---- queue_bounce.c ---- */
/* Makes the reports on what MARK_NEW says (reading the original for them) and goes on to work_submit() with
 * them in the unit. */
void work_bounce(struct work *w);

/* ---- queue_report.c ---- */
/* Does a report of this kind tell of recipient i, as what and why? */
bool report_row(const struct work *w, uint32_t i, enum report_kind kind, enum dsn_action *out_action,
                enum bounce_why *out_why);
/* How many recipients it tells of. */
uint32_t report_count(const struct work *w, enum report_kind kind);
/* Wall clock ms at which the sender wants something to happen (RFC 2852) that has not happened yet; 0: none.
 */
int64_t report_deadline_ms(const struct work *w);
/* Is the message to be given back now rather than delivered (RFC 2852 by-mode R)? */
bool report_is_overdue(const struct work *w);
/* Has its time passed (by-mode N) without a word to the sender? */
bool report_is_late(const struct work *w);
/* Is something to be done at a time that the sender set, once this attempt is recorded? */
bool report_has_deadline(const struct work *w);

/* ---- queue_recover.c ---- */
void recover_on_live(struct queue *q, const struct store_live *e);
void recover_sweep(struct queue *q); /* a slice */
void naming_start(struct queue *q);
void naming_step(struct queue *q);
void naming_free_all(struct queue *q);

/* ---- queue_mark.c ---- */
enum mark_verb { MARK_HOLD = 0, MARK_RELEASE, MARK_DROP };
/* The entry must be WAITING, HELD or ASIDE in nobody's hands. done may be NULL. */
void mark_start(struct queue *q, struct schedule_entry *e, enum mark_verb verb,
                void (*done)(void *arg, enum err err), void *arg);
void mark_free_all(struct queue *q);

/* ---- queue_callout.c ---- */
MUST_USE bool callout_init(struct queue *q);
void callout_fini(struct queue *q);
/* false: smtpd is broken. */
MUST_USE bool callout_on_ask(struct smtpd_link *l, const struct ipc_callout_ask *m);
/* Is the answer of a relay that of a callout? It was taken then. */
bool callout_on_done(struct worker *k, const struct ipc_job_done *m);
void callout_worker_lost(struct worker *k);
void callout_on_mx(struct queue *q, struct list *node); /* the question to lookup is answered */
void callout_forget(struct queue *q);                   /* what was learnt, under another configuration */

/* ---- queue_suspend.c ---- */
/* Reads the rules, then verp_load() or queue_fail(). */
void suspend_load(struct queue *q);
void suspend_fini(struct queue *q);
/* Must w not be attempted now? Its entry stands at its site. */
bool suspend_matches(struct queue *q, const struct work *w);
/* Adds or (is_resume; empty text: all) removes a rule. done is called when it is on disk; it may be called at
 * once. ERR_INVALID: why in error, and done is not called. ERR_AGAIN: another change is being written. */
MUST_USE enum err suspend_change(struct queue *q, struct str text, bool is_resume, struct buf *error,
                                 void (*done)(void *arg, enum err err, size_t n_changed), void *arg);
size_t suspend_count(const struct queue *q);
struct str suspend_rule(const struct queue *q, size_t i);

/* ---- queue_suppress.c ---- */
MUST_USE bool suppress_init(struct queue *q);
void suppress_fini(struct queue *q);
/* false: it is no address of the list, but mail. */
MUST_USE bool suppress_recover(struct queue *q, const struct store_live *live);
void suppress_sweep(struct queue *q); /* what is over goes */
void suppress_retry(struct queue *q); /* removals that wait for the store */
/* The address gets no mail of lists from now on; why: for people, one line (SUPPRESSED_WHY_MAX octets are
 * kept). about_id: the mail that taught it, for the journal, or 0. Nothing happens when `reports { suppress
 * }` is off, when it is known already for this or a stronger reason, or when the store is busy: the next time
 * teaches it. The address need not be one; nothing is borrowed. */
void suppress_learn(struct queue *q, struct str address, enum suppress_reason reason, struct str why,
                    uint64_t about_id);
/* The same from the outcome of a recipient that a server refused for good, if its class is that of an address
 * which is of no use. */
void suppress_refused(struct queue *q, const struct envelope_rcpt *r, uint64_t about_id);
/* A server took mail for the address: what one refused is no longer true. */
void suppress_worked(struct queue *q, struct str address, uint64_t about_id);
/* The id of its envelope. */
bool suppress_find(const struct queue *q, struct str address, uint64_t *out_id);
/* Is it on the list, and the list in use? By a fingerprint of 64 bits: enough to ask for, not to give up. */
bool suppress_is_listed(const struct queue *q, struct str address);
/* Members of lists that are on it are settled: true: none was found; false: w waits for the store, is being
 * recorded, or was given up. */
bool work_suppress(struct work *w);
/* An operator's word. ERR_OK: done is called when it is durable, maybe at once. ERR_DENIED: switched off.
 * ERR_INVALID: no address. ERR_AGAIN, ERR_NOMEM. */
MUST_USE enum err suppress_add(struct queue *q, struct str address, struct str why,
                               void (*done)(void *arg, enum err err), void *arg);
bool suppress_remove(struct queue *q, struct str address); /* false: it was not there */
size_t suppress_remove_all(struct queue *q);               /* how many */
/* Until removals are durable. false: they are (or no memory to wait with); else done is called. */
MUST_USE bool suppress_wait(struct queue *q, void (*done)(void *arg, enum err err), void *arg);
size_t suppress_count(const struct queue *q);
int64_t suppress_until_ms(const struct queue *q, uint32_t since_s); /* when it is over */
/* A walk over all, the oldest first; what comes or goes meanwhile does no harm. */
struct suppress_cursor {
    struct list link;
    struct list *at;
};
void suppress_walk_begin(struct queue *q, struct suppress_cursor *c);
bool suppress_walk_next(struct queue *q, struct suppress_cursor *c, uint64_t *out_id); /* of its envelope */
void suppress_walk_end(struct suppress_cursor *c);

/* ---- queue_verp.c ---- */
/* Reads the key, or makes it when the configuration asks for VERP, then queue_begin(): without a key there is
 * no VERP, and mail goes on. */
void verp_load(struct queue *q);
/* A new configuration may ask for it for the first time. */
void verp_reload(struct queue *q);
void verp_fini(struct queue *q);
/* Appends the envelope sender of the copy for one member of owner's list. false, and nothing appended: there
 * is no VERP for it, the owner's address is the sender. */
bool verp_put_sender(const struct queue *q, struct str owner, struct str member, struct buf *out);
enum verp_found {
    VERP_NO = 0,  /* it has not the form of one */
    VERP_UNKNOWN, /* the key can't be had at present */
    VERP_FORGED,  /* not written by us, or of a list that is no more */
    VERP_OURS,
};
/* Which list and member an address stands for. *owner borrows from the configuration, *member lies in mem
 * (SMTP_PATH_MAX octets). */
enum verp_found verp_find(const struct queue *q, struct str address, struct buf *mem, struct str *owner,
                          struct str *member);

/* ---- queue_feedback.c ---- */
/* The message came back by the return path that owner's list has for member. Is it a report? It is told then,
 * and acted on: the recipient is settled, and *out_text says by what. false: it is for the owner to read. */
bool feedback_settles(struct work *w, struct str owner, struct str member, struct str *out_text);
/* A message is on disk: a complaint to the address for them is told and acted on. */
void feedback_on_stored(struct queue *q, const struct fresh *f);
/* What a report of our own says in its row, as the record that smtpd makes of others'. */
bool feedback_of_row(const struct dsn_rcpt *row, struct buf *out);

/* ---- queue_ctl.c ---- */
/* ETRN. false: smtpd is broken. */
MUST_USE bool ctl_on_etrn(struct smtpd_link *l, const struct ipc_etrn_ask *m);
void ctl_on_ask(struct queue *q, const struct ipc_ctl_ask *m);
void ctl_step(struct queue *q);     /* at the end of each turn */
void ctl_drop_all(struct queue *q); /* the admin's channel is gone: reads under way end unheard */
void ctl_free_all(struct queue *q);
