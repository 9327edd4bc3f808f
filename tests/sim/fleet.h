/* tests/sim/fleet.h: three simulated nodes, a client, and the account of what became of each message.
 *
 * Node N is nodeN.sim (10.0.0.N) with the users u0 to u7. Other destinations: gone.sim does not exist,
 * down.sim has an MX that never answers, nobody@nodeN.sim is refused by node N.
 *
 * A recipient whose message was acknowledged must end in a delivery, or in a report in the sender's Maildir,
 * or, when the sender is null, in a not-bounced event. What counts is what is on disk after a last power cut
 * of everything.
 */
#pragma once
#include "sim/sim_client.h"
#include "sim/sim_node.h"

enum { FLEET_NODES = 3, FLEET_USERS = 8, FLEET_RCPTS_MAX = 4, FLEET_NAME_MAX = 40 };

enum fate { FATE_MAILBOX = 0, FATE_NO_USER, FATE_NO_DOMAIN, FATE_DOWN };
struct fleet_rcpt {
    enum fate fate;
    char address[FLEET_NAME_MAX];
    bool is_accepted;
    unsigned n_delivered, n_reported;
};
struct fleet_mail {
    struct sim_mail mail;
    struct fleet *fleet;
    unsigned id, node; /* node: who takes it */
    char from[FLEET_NAME_MAX];
    struct fleet_rcpt rcpts[FLEET_RCPTS_MAX];
    uint64_t queue_id; /* as the 250 said */
    char *text;        /* while it is sent */
};
struct fleet_link { /* an event of a queue: a part of a split, or a message that nobody can be told about */
    struct list link;
    uint64_t id, parent;
    bool is_not_bounced;
};
struct fleet_counts {
    unsigned n_acknowledged, n_rcpts, n_delivered, n_reported, n_not_bounced, n_null_unseen,
        n_unacknowledged_delivered;
    unsigned n_duplicates, n_report_duplicates, n_lost, n_misreported, n_damaged;
};
struct fleet {
    struct sim *sim;
    struct sim_dns *dns;
    struct sim_host *client_host;
    struct sim_client *client;
    struct sim_node *nodes[FLEET_NODES];
    struct fleet_mail *mails;
    unsigned n_mails, n_sent, n_done, window;
    uint64_t pace_us; /* between two new messages */
    bool only_good;   /* every recipient has a mailbox */
    bool is_small;    /* no large bodies */
    bool all_large;   /* bodies of 100 to 200 KiB, all to node1 */
    struct list links;
    unsigned n_unopened; /* files that are no message of ours */
    struct fleet_counts counts;
    uint64_t n_log_errors;
};

/* seed decides everything. In the environment, for whoever looks for a fault: SIM_LOG=all or SIM_LOG=ROLE
 * sends log lines to stderr, SIM_EVENTS=1 the events of all roles. */
struct fleet *fleet_new(uint64_t seed);
void fleet_del(struct fleet **f);
/* Until all three have said they are ready. */
void fleet_await_ready(struct fleet *f);
/* Sends n messages from now on, at most `window` at a time. */
void fleet_send(struct fleet *f, unsigned n);
bool fleet_all_sent(void *fleet);
/* The last power cut, then the account. Nothing runs any more. */
void fleet_account(struct fleet *f);
/* The node's configuration; the caller's buffer. */
void fleet_lua(unsigned node, struct buf *out);
