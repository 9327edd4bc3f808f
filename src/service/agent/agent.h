/* service/agent/agent.h: what the files of the agent role share. Nobody outside includes it.
 *
 * Policies (sts.c, sts_store.c): the agent answers for each domain that mail goes to: which MTA-STS policy (RFC
 * 8461) is in force? It asks lookup for the record and for the addresses of the policy's host, fetches the policy by
 * HTTPS, and remembers it, also on disk. What is to be done when is verify/mta_sts.h; here is what does it.
 *
 * Reports (rpt.h): it counts what relay tells of its connections, and sends a report a day to each domain that wants
 * one (RFC 8460).
 */
#pragma once
#include "base/idmap.h"
#include "base/limits.h"
#include "ext/http.h"
#include "service/agent/replace.h"
#include "service/boot/role.h"
#include "verify/mta_sts.h"
#include "verify/tls_rpt.h"

enum { AGENT_WHY_MAX = 200 };

enum domain_phase {
    DOMAIN_IDLE = 0,
    DOMAIN_WAITING, /* for a place among MTA_STS_ASKS_MAX */
    DOMAIN_TXT,     /* lookup is asked for the record */
    DOMAIN_TURN,    /* waits for a place among MTA_STS_FETCHES_MAX, at most MTA_STS_FETCH_MS */
    DOMAIN_HOST,    /* lookup is asked for addresses */
    DOMAIN_FETCH,
};
struct policy { /* as it was fetched */
    char *text; /* NULL: there is none */
    size_t n_text;
    char id[MTA_STS_ID_MAX + 1];
    int64_t at_s; /* when, seconds since 1970 */
    enum mta_sts_mode mode;
    uint32_t max_age_s;
};
struct domain {
    struct agent *agent;
    struct idmap_node by_name, by_token;
    struct list by_use;  /* in agent->bare, or ->kept when it has a policy; least used first */
    struct list waiting; /* in agent->waiting or ->to_fetch */
    uint64_t turn_ms;    /* since when it waits in to_fetch */
    struct list to_save; /* in store->changed */
    struct list askers;  /* tokens that wait for an answer */
    enum domain_phase phase;
    enum mta_sts_dns dns;
    uint64_t dns_until_ms; /* how long that is believed */
    char id[MTA_STS_ID_MAX + 1];
    struct policy policy;
    bool has_failed;
    char failed_id[MTA_STS_ID_MAX + 1];
    int64_t failed_at_s;
    enum tls_rpt_result failed_as; /* TLS_RPT_OTHER: by no fault of theirs */
    char failed_why[AGENT_WHY_MAX + 1];
    size_t n_name;
    char name[]; /* lower case, no final dot; ended by NUL */
};

struct sts_store;
struct rpt;
struct agent {
    struct role_env *env;
    struct world *world;
    struct http_client *http;
    struct channel *queue, *lookup;
    struct list unsent; /* answers for which queue had no room */
    struct idmap domains, tokens;
    uint64_t seed, token;
    struct list bare, kept, waiting, to_fetch;
    size_t n_bare, n_kept, n_asking, n_fetching;
    size_t bare_max, kept_max; /* MTA_STS_DOMAINS_MAX, MTA_STS_POLICIES_MAX; less in tests */
    struct turn_hook turn;
    struct timer sweep, count_timer, drain_timer;
    struct disk *disk;       /* NULL: nothing is remembered on it */
    struct sts_store *store; /* likewise */
    struct rpt *rpt;
    bool is_ready, is_draining, is_drained;
    struct {
        uint64_t asked, fetched, failed, answered;
    } count;
};

/* ---- agent.c ---- */
/* To queue; kept while it has no room. */
void agent_answer(struct agent *a, const struct ipc_sts_answer *m);
void agent_look_drained(struct agent *a);

/* ---- sts.c ---- */
bool sts_init(struct agent *a);
void sts_fini(struct agent *a);
/* Answered by one agent_answer() with this token, now or later. */
void sts_ask(struct agent *a, uint64_t token, struct str domain);
/* false: it is not for a question of this file's. */
MUST_USE bool sts_on_rr(struct agent *a, const struct ipc_rr_answer *m);
MUST_USE bool sts_on_host(struct agent *a, const struct ipc_host_answer *m);
void sts_lookup_gone(struct agent *a); /* what was asked of it has failed */
void sts_queue_gone(struct agent *a);  /* nobody waits any more */
/* Fetches what will be old soon, forgets what is too old (RFC 8461 10.2); at most so many at a time. */
void sts_sweep(struct agent *a);
/* A policy from the disk. false: it is none. */
MUST_USE bool sts_restore(struct agent *a, struct str domain, struct str id, int64_t at_s, struct str text);

/* What a report is told of a domain: the policy in force (valid until the next call of this file), or that there
 * should be one and why there is none (RFC 8460 4.3.2.2). */
struct sts_told {
    bool has_policy;
    struct str text;
    struct mta_sts_policy policy;
    enum tls_rpt_result failed_as; /* TLS_RPT_OTHER: nothing that the domain could mend */
    struct str why;
};
void sts_tell(const struct agent *a, struct str domain, struct sts_told *out);

/* ---- sts_store.c: the policies on disk, a file each; names that begin with '=' are no domains' ---- */
/* Reads what is there, then calls done() once. true: it will. */
MUST_USE bool sts_store_open(struct agent *a, void (*done)(struct agent *a));
/* The policy of d is new or gone: its file follows. Harmless without a store. */
void sts_store_put(struct domain *d);
/* d's file is being written at this moment, or will be. */
bool sts_store_needs(const struct domain *d);
bool sts_store_is_idle(const struct agent *a);
/* Only when idle, or in a world whose disk forgives it. Clears a->store. */
void sts_store_close(struct agent *a);
