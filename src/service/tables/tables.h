/* service/tables/tables.h: what the files of the tables role share.
 *
 * tables.c has the role, its channels, questions, secrets and the configuration; hosts.c asks lookup for
 * addresses; pool.c is the kind of table that waits on threads beside the loop: directories and databases
 * (ext/table.h). Another kind is another struct table_kind: it may do all its work on the loop.
 */
#pragma once
#include "ext/table.h"
#include "service/boot/role.h"

enum {
    TABLES_WAITING_MAX = 256,     /* questions that are open */
    TABLES_ANSWER_MS = 20 * 1000, /* for one; auth waits a little longer */
    TABLES_THREADS = 32,          /* one for each of CONFIG_TABLES_MAX at least: none waits for another's */
    TABLES_SESSIONS_MAX = 4,      /* questions that one table is asked at a time */
    TABLES_IDLE_MS = 60 * 1000,   /* a session that nobody uses is closed */
    TABLES_HANG_MS = 60 * 1000,   /* a library that does not come back in this time ends the process */
    TABLES_TICK_MS = 5 * 1000,
    TABLES_ADDRESSES_MAX = 8, /* of a host, that are tried one after another */
    TABLES_HOST_TTL_MAX_S = 3600,
};

struct tables;
struct table;
struct table_ask {     /* one question */
    struct list link;  /* tables.asks: the oldest first */
    struct list place; /* the kind's own */
    struct table *table;
    void *arg; /* the kind's own */
    uint64_t token, due_ms;
    size_t n_user, n_domain, n_password;
    char user[SMTP_LOCAL_PART_MAX], domain[SMTP_DOMAIN_MAX]; /* in lower case */
    char password[SASL_PASSWORD_MAX];
};
/* All of it on the loop. */
struct table_kind {
    /* Sets t->self up. false: no memory. */
    bool (*open)(struct table *t);
    /* Is answered by table_answer(), at once or later. */
    void (*ask)(struct table *t, struct table_ask *a);
    /* Its time is over, or nobody waits for it: it must not be answered any more. */
    void (*cancel)(struct table *t, struct table_ask *a);
    /* A password (t->password) or the anchors are new: what is asked from now on is asked with them. */
    void (*refresh)(struct table *t);
    void (*tick)(struct table *t); /* each TABLES_TICK_MS */
    /* Nothing is asked of it any more; all was answered or cancelled. */
    void (*close)(struct table *t);
};
struct table { /* one of the configuration */
    struct list link;
    struct tables *tables;
    const struct table_kind *kind;
    void *self;               /* the kind's */
    uint32_t number;          /* in the configuration, from 1 */
    struct auth_backend conf; /* its texts are copies, with a NUL behind each */
    struct str password;      /* ours there; empty: none */
    bool has_password;        /* it needs none, or the supervisor has handed it over */
    char *texts;
};
struct tables {
    struct role_env *env;
    struct world *world;
    const struct table_drivers *drivers;
    struct crypto *crypto;
    struct workers *workers;       /* NULL: the end */
    struct channel *auth, *lookup; /* NULL: gone */
    struct list tables, asks, secrets, hosts;
    struct list closing; /* pools whose table is gone */
    struct oauth *oauth;
    size_t n_asks, n_tables;
    uint64_t next_question; /* of lookup */
    uint8_t seed[32];       /* for verifiers of nobody */
    struct timer due_timer, tick_timer, count_timer, drain_timer;
    bool is_draining, is_drained;
    struct {
        uint64_t right, wrong, failed, busy, connections;
        uint64_t hashes; /* passwords computed, whoever they were of */
    } count;
};

/* ---- tables.c ---- */

void tables_say(struct tables *t, uint64_t token, enum auth_verdict verdict, struct str user, struct str why);
/* The password that the supervisor has handed over by this name, or empty. */
struct str tables_secret(const struct tables *t, struct str name);
void tables_look_drained(struct tables *t);
/* Ends it: it is answered, wiped and freed. why: for the log where it is AUTH_TEMPORARY; the table's name is
 * put before it. */
void table_answer(struct table_ask *a, enum auth_verdict verdict, struct str why);

/* ---- hosts.c: addresses of a name ---- */

struct table_host { /* embedded in what needs it; zeroed at first */
    struct list link;
    struct tables *tables;
    struct str name;                         /* lives as long as this; empty: there is nothing to ask */
    struct netaddr at[TABLES_ADDRESSES_MAX]; /* with the port */
    size_t n;
    uint16_t port;
    bool is_wanted;                        /* settled() is waited for */
    uint64_t fresh_until_ms, token;        /* token not 0: lookup is being asked */
    char why[TABLE_WHY_MAX];               /* with NUL: why there is no address */
    void (*settled)(struct table_host *h); /* the answer is here: n > 0, or why */
};
void table_host_init(struct table_host *h, struct tables *t, struct str name, const struct netaddr *at,
                     void (*settled)(struct table_host *h));
void table_host_fini(struct table_host *h);
/* true: the addresses are known. Else settled() comes, now or later. */
bool table_host_want(struct table_host *h);
void table_hosts_on_answer(struct tables *t, const struct ipc_host_answer *m);
void table_hosts_lost(struct tables *t);  /* lookup is gone */
void table_hosts_retry(struct tables *t); /* lookup is back */

/* ---- pool.c ---- */

extern const struct table_kind table_pool;
void table_pools_tick(struct tables *t); /* those that close */
/* At the end of all, after the workers were closed. */
void table_pools_forget(struct tables *t);
