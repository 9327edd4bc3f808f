/* service/agent/rpt.h: reports about TLS (RFC 8460), within the agent role.
 *
 *   rpt.c        counts what relay tells, by domain and day; finds out who wants it; says when a day is over
 *   rpt_send.c   one report: its record, its text, each place it goes to, again and again for a day
 *   rpt_mail.c   the message that carries one
 *   rpt_file.c   days as octets and back
 *   rpt_store.c  the days on disk
 *
 * A day (struct rpt_day) is what is counted for one domain in one day of UTC:
 *   COUNTING -> WAITING (the day is over; for its time, or for another try) -> READY (for a place among those
 * that are sent) -> AT_WORK -> WAITING, or gone A place that has got its report is marked, and the mark is on
 * disk before long: a report comes twice only where the process or the machine dies between the two.
 */
#pragma once
#include "service/agent/agent.h"

enum {
    RPT_ID = 16,        /* digits */
    RPT_WHY_MAX = 160,  /* octets of a reason, here and in a report */
    RPT_URI_MAX = 1000, /* of a place */
    RPT_SHARDS = 16,    /* files */
    RPT_FILE_MAX = 8 * 1024 * 1024,
    RPT_RECORDS_MAX = 64, /* of a TXT answer */
};

struct rpt_ask { /* lookup's answer, or queue's, is for whom */
    struct idmap_node by_token;
    bool is_day;
};

enum rpt_name_state { NAME_UNKNOWN = 0, NAME_WAITING, NAME_ASKED, NAME_KNOWN };
struct rpt_name { /* does the domain want reports? */
    struct idmap_node by_name;
    struct rpt_ask ask;
    struct list by_use, waiting;
    enum rpt_name_state state;
    bool is_wanting;
    uint64_t until_ms; /* KNOWN: how long; UNKNOWN: not asked before */
    size_t n;
    char text[]; /* lower case */
};

enum rpt_place_state { PLACE_TODO = 0, PLACE_SENT, PLACE_GIVEN_UP, PLACE_STATES };
struct rpt_place { /* where a report goes */
    enum rpt_place_state state;
    size_t n_uri;
    char uri[RPT_URI_MAX];
    char why[RPT_WHY_MAX + 1]; /* it has not got it */
};

enum rpt_day_state { DAY_COUNTING = 0, DAY_WAITING, DAY_READY, DAY_AT_WORK };
enum rpt_step { STEP_NONE = 0, STEP_TXT, STEP_HOST, STEP_POST, STEP_ID, STEP_PUT };
struct rpt_day {
    struct agent *agent;
    struct idmap_node by_key;
    struct list link, ready; /* rpt->days; rpt->ready, or ->want_id */
    enum rpt_day_state state;
    unsigned shard;
    int64_t begin_s;
    uint32_t every_s;
    struct arena arena;
    struct tls_rpt_tally tally;
    /* the report */
    char id[RPT_ID + 1];    /* empty: not made yet */
    int64_t due_s, first_s; /* not tried before; when it was tried first, 0: never */
    uint32_t n_tries;
    struct rpt_place *places; /* NULL: the domain was not asked yet */
    size_t n_places;
    /* AT_WORK */
    struct rpt_ask ask;
    enum rpt_step step;
    size_t at;    /* of places */
    size_t n_put; /* octets of the message that was put */
    size_t n_domain;
    char domain[]; /* lower case */
};

struct rpt_store;
struct rpt {
    struct agent *agent;
    struct chunk_pool pool;
    struct idmap names, days_by_key, tokens;
    struct list by_use, asking; /* names: all; WAITING */
    struct list days, ready, want_id;
    size_t n_names, n_days, n_asking, n_at_work;
    size_t names_max, days_max; /* TLS_RPT_NAMES_MAX, TLS_RPT_DAYS_MAX; less in tests */
    uint64_t ids, ids_end;      /* of queue */
    bool id_asked;
    struct turn_hook turn;
    struct timer tick;
    int64_t told_s;                   /* the begin of the day of which it was said last what is missing */
    uint64_t n_over;                  /* sessions that could not be counted since then */
    struct rpt_store *store;          /* NULL: nothing is remembered on disk */
    struct str lines[MTA_STS_MX_MAX]; /* of a policy, while a session is counted */
    struct {
        uint64_t sessions, sent, failed;
    } count;
};

/* ---- rpt.c ---- */
bool rpt_init(struct agent *a);
void rpt_fini(struct agent *a);
/* false: it makes no sense. */
MUST_USE bool rpt_session(struct agent *a, const struct ipc_tls_session *m);
/* Harmless when it is not for a question of ours, as is the next but one. */
void rpt_on_rr(struct agent *a, const struct ipc_rr_answer *m);
void rpt_on_host(struct agent *a, const struct ipc_host_answer *m);
void rpt_lookup_gone(struct agent *a);
void rpt_queue_gone(struct agent *a);
void rpt_on_grant(struct agent *a, const struct ipc_id_grant *m);
void rpt_on_put_done(struct agent *a, const struct ipc_put_done *m);
/* Which days are over, which report is due? By a timer; and by tests. */
void rpt_look(struct agent *a);
void rpt_drain(struct agent *a);
bool rpt_is_idle(const struct agent *a);

static inline struct str rpt_domain(const struct rpt_day *d)
{
    return str_of(d->domain, d->n_domain);
}
/* NULL: there are too many, or no memory, or there is one already. */
struct rpt_day *rpt_day_new(struct agent *a, struct str domain, int64_t begin_s, uint32_t every_s);
void rpt_day_del(struct rpt_day *d);
void rpt_day_set(struct rpt_day *d, enum rpt_day_state to);
/* Room for n places, at most TLS_RPT_RUA_MAX; false: no memory. Then each is added. */
MUST_USE bool rpt_places_new(struct rpt_day *d, size_t n);
void rpt_place_add(struct rpt_day *d, struct str uri, enum rpt_place_state state);
static inline struct str rpt_uri(const struct rpt_place *p)
{
    return str_of(p->uri, p->n_uri);
}
/* s of a day, in a day that is as long as this one. */
int64_t rpt_scaled_s(uint32_t every_s, int64_t s);
int64_t rpt_now_s(const struct agent *a);
/* A question of ours, under the number that it returns. */
uint64_t rpt_token(struct agent *a, struct rpt_ask *ask, bool is_day);

enum rpt_txt { RPT_TXT_FAILED = 0, RPT_TXT_NONE, RPT_TXT_RECORD };
/* *out borrows from mem, which has room for DNS_TXT_MAX octets, and from m. */
enum rpt_txt rpt_read_txt(const struct ipc_rr_answer *m, struct buf *mem, struct tls_rpt_record *out);
/* Asks lookup for the domain's record. false: it can't be asked. */
MUST_USE bool rpt_ask_txt(struct agent *a, struct str domain, struct rpt_ask *ask, bool is_day);

/* ---- rpt_send.c: of a day that is AT_WORK ---- */
void rpt_send(struct rpt_day *d);
void rpt_send_txt(struct rpt_day *d, const struct ipc_rr_answer *m);
void rpt_send_host(struct rpt_day *d, const struct ipc_host_answer *m);
void rpt_send_ids(struct agent *a); /* those that want an id go on, if there are some */
void rpt_send_put_done(struct rpt_day *d, const struct ipc_put_done *m);
/* What it waits for does not come. */
void rpt_send_fail(struct rpt_day *d, const char *why);

/* ---- rpt_mail.c ---- */
struct rpt_mail {
    struct str from, to, hostname;
    struct str submitter, domain; /* whose report it is, and whom it is about */
    struct str id;                /* of the report */
    struct str file_name;
    struct str packed; /* the report, by gzip */
    uint64_t queue_id;
    int64_t now_s;
};
/* Appends the message (5.3). false: out is too small. */
MUST_USE bool rpt_mail_format(const struct rpt_mail *m, struct buf *out);

/* ---- rpt_file.c ---- */
/* Appends the days of one shard, with a checksum. false: out is too small. */
MUST_USE bool rpt_file_put(const struct agent *a, unsigned shard, struct buf *out);
/* Takes them in. false: the octets are damaged; what stood before the damage may have been taken. */
MUST_USE bool rpt_file_take(struct agent *a, struct str octets);

/* ---- rpt_store.c ---- */
/* Reads what is there, then calls done() once. true: it will. */
MUST_USE bool rpt_store_open(struct agent *a, void (*done)(struct agent *a));
/* The day's file is not what the day is; it will be soon, or at once (is_urgent). Harmless without a store.
 */
void rpt_store_mark(struct rpt_day *d, bool is_urgent);
void rpt_store_flush(struct agent *a);
bool rpt_store_is_idle(const struct agent *a);
void rpt_store_close(struct agent *a);
