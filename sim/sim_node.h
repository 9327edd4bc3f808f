/* sim/sim_node.h: a Waxwing on a simulated host: the real supervisor and the real roles, with a configuration
 * in Lua, the simulated resolver, and a journal in memory.
 *
 * Like a machine with a service manager: a supervisor that ends is started again after a second, until
 * sim_node_stop().
 */
#pragma once
#include "ext/journal.h"
#include "ipc/events.h"
#include "sim/sim_dns.h"

struct sim_node;
/* The host must be new; the folders /spool, /journal and /mail are made on its disk. Nothing runs yet. The
 * text of the configuration must be right (else the process ends with its errors). */
struct sim_node *sim_node_new(struct sim_host *h, struct sim_dns *dns, const char *lua);
void sim_node_del(struct sim_node **n); /* after sim_del() */
void sim_node_start(struct sim_node *n);
/* Drains as SIGTERM does, and is not started again. */
void sim_node_stop(struct sim_node *n);
/* Another configuration: reloaded by what runs, else taken at the next start. */
void sim_node_configure(struct sim_node *n, const char *lua);
bool sim_node_is_running(const struct sim_node *n); /* a supervisor is there */
bool sim_node_is_ready(const struct sim_node *n);   /* it said so */
struct sim_host *sim_node_host(struct sim_node *n);
/* Power is gone for so long. */
void sim_node_power_cycle(struct sim_node *n, uint64_t off_us);
/* kill -9 of one process of a kind ("queue", "smtpd", "supervisor"), chosen by the seed among several; false:
 * there is none at present. */
bool sim_node_kill(struct sim_node *n, const char *what);

struct sim_node_counts {
    uint64_t n_starts, n_ready, n_lines[32]; /* lines of the journal by enum event_kind */
};
const struct sim_node_counts *sim_node_counts(const struct sim_node *n);
/* Each line that reaches the journal. */
void sim_node_on_journal(struct sim_node *n, void (*fn)(void *arg, const struct journal_line *l), void *arg);
