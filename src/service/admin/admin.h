/* service/admin/admin.h: inside of the admin role: what admin.c and control.c share.
 *
 * admin.c   events of all roles into the journal; counters; the queue's answers to commands
 * control.c the control socket: one request a line, answers as JSON objects, one a line, the last
 * {"end":true,...}
 *
 * Requests:  why ID | counters | queue-list N FILTER | queue-show ID | queue-retry FILTER | queue-hold FILTER
 * | queue-release FILTER | queue-drop FILTER | queue-stats | queue-suspend FILTER | queue-resume FILTER
 * | queue-suspended
 */
#pragma once
#include "base/idmap.h"
#include "ext/journal.h"
#include "service/boot/role.h"

enum {
    ADMIN_CLIENTS_MAX = 32,
    ADMIN_REQUEST_MAX = 4096,
    ADMIN_OUTPUT_MAX = 64 * 1024 * 1024, /* the longest list: 100,000 rows */
    ADMIN_COUNTERS_MAX = 1024,
    ADMIN_WHY_MAX = 1000,
    ADMIN_FLUSH_MS = 200,
};

struct admin;
struct admin_peer {
    struct admin *admin;
    enum role role;
    unsigned index;
    struct channel *channel;
};
struct counter {
    enum role role;
    unsigned index;
    char name[48];
    uint64_t value;
};
struct control_client {
    struct list link;
    struct idmap_node by_token; /* while the queue works for it */
    struct admin *admin;
    struct conn *conn;
    struct buf in, out;
    bool is_asking, is_over, has_eof;
    unsigned want;
};
struct admin_clock { /* when it was last looked at */
    int64_t wall_ms;
    uint64_t now_ms;
};
struct admin {
    struct role_env *env;
    struct world *world;
    struct journal *journal; /* NULL: it could not be opened; events are dropped and counted */
    struct admin_peer peers[ROLE_N][ROLE_SMTPD_MAX];
    struct list clients;
    size_t n_clients;
    struct idmap asking;
    uint64_t next_token;
    struct counter counters[ADMIN_COUNTERS_MAX];
    size_t n_counters;
    uint64_t n_events, n_lost, n_journal_errors;
    struct timer flush_timer, expire_timer;
    struct admin_clock expire_clock;
    bool has_unflushed, is_trouble_told, is_draining;
};

void control_accept(struct admin *a, struct conn *c);
void control_answer(struct admin *a, const struct ipc_ctl_answer *m);
void control_queue_lost(struct admin *a);
void control_del_all(struct admin *a);

/* The wall clock as the age limit of the journal sees it: back when the clock goes back, ahead at most twice
 * as fast as time passes since the last look. A clock that is set years ahead for an hour costs two hours of
 * the journal and not all of it. c must hold the first look. */
int64_t admin_careful_wall_ms(struct admin_clock *c, int64_t wall_ms, uint64_t now_ms);
