/* sim/sim_world.h: base/world.h from a seed: hosts, processes, a network, disks and a clock in one address
 * space.
 *
 * struct sim is everything; a struct sim_host is a machine with an address, a clock and a disk; a struct
 * sim_proc is a process on it, whose struct world the roles can't tell from the kernel's. Time passes only
 * between steps. Who runs next, how long each message, octet and operation takes and what goes wrong follows
 * from the seed and the plan: the same seed gives the same trace.
 *
 * A killed process loses its memory without running a line (sim/sim_mem.h); what it held is closed as a
 * kernel closes it. A host that loses power says goodbye to nobody.
 */
#pragma once
#include "base/rand.h"
#include "base/world.h"
#include "sim/sim_disk.h"

struct sim;
struct sim_host;
struct sim_proc;

#define SIM_MS UINT64_C(1000)
#define SIM_S UINT64_C(1000000)
#define SIM_MINUTE (60 * SIM_S)
#define SIM_HOUR (60 * SIM_MINUTE)
#define SIM_DAY (24 * SIM_HOUR)

enum { SIM_HOSTS_MAX = 16 };

/* What goes how, may be changed at any time. *_ppm: in a million. */
struct sim_plan {
    uint32_t turn_us;   /* a process runs at most this long after it could */
    uint32_t stall_ppm; /* of turns that wait for up to stall_us instead */
    uint32_t stall_us;
    uint32_t channel_us; /* a packet between two roles takes at most this */
    uint32_t latency_us; /* one way between two hosts: half to one and a half of it */
    uint32_t loss_ppm;   /* of segments that come after a retransmission, 200 ms to 3 s late */
    uint32_t reset_ppm;  /* of segments at which the connection breaks */
    uint32_t split_ppm;  /* of writes that are taken in part only, and reads that give less than there is */
};

struct sim *sim_new(uint64_t seed);
/* Kills what runs. */
void sim_del(struct sim **s);
struct sim_plan *sim_plan(struct sim *s);
struct rng *sim_rng(struct sim *s);
/* Lines that processes log; NULL: nobody. */
void sim_on_log(struct sim *s, void (*fn)(void *arg, struct sim_proc *p, struct str line), void *arg);
/* Each message that a process sends on a channel, before it leaves. */
void sim_on_send(struct sim *s, void (*fn)(void *arg, struct sim_proc *p, uint16_t type, struct str payload),
                 void *arg);

uint64_t sim_now_us(const struct sim *s);
/* A hash over all that happened so far. */
uint64_t sim_trace_hash(const struct sim *s);
/* Adds a fact to the trace. */
void sim_trace(struct sim *s, uint64_t what, uint64_t a, uint64_t b);
struct sim_counts {
    uint64_t n_events, n_turns, n_frames, n_segments, n_resets, n_connects;
};
const struct sim_counts *sim_counts(const struct sim *s);
/* Runs all that is due up to then. */
void sim_run_until(struct sim *s, uint64_t at_us);
/* Also ends as soon as is_enough says so (asked about once a virtual second); false: it never did. */
bool sim_run_until_true(struct sim *s, uint64_t at_us, bool (*is_enough)(void *arg), void *arg);
/* Calls fn(arg) outside of all processes, once. */
void sim_call_at(struct sim *s, uint64_t at_us, void (*fn)(void *arg), void *arg);

/* ---- hosts ---- */

/* A machine that is up. address: IPv4 text. name: static text. */
struct sim_host *sim_host_new(struct sim *s, const char *name, const char *address);
struct sim *sim_host_sim(struct sim_host *h);
const char *sim_host_name(const struct sim_host *h);
const struct netaddr *sim_host_addr(const struct sim_host *h);
struct sim_disk *sim_host_disk(struct sim_host *h);
bool sim_host_is_up(const struct sim_host *h);
/* Power is gone: processes, sockets and what the disk had not made durable. */
void sim_host_power_cut(struct sim_host *h);
/* It is up again, without processes; its monotonic clock begins anew. */
void sim_host_power_on(struct sim_host *h);
/* The wall clock jumps. */
void sim_host_step_wall(struct sim_host *h, int64_t ms);
/* Nothing goes between a and b any more, without a word; connections wait and time out. */
void sim_net_block(struct sim *s, struct sim_host *a, struct sim_host *b, bool blocked);

/* ---- processes ---- */

/* A process that begins with main(w, arg) soon. what: static text for the log. on_exit (or NULL) is called
 * outside of all processes when it has ended. */
struct sim_proc *sim_proc_new(struct sim_host *h, const char *what, void (*main)(struct world *w, void *arg),
                              void (*on_exit)(void *arg, struct str how), void *arg);
struct world *sim_proc_world(struct sim_proc *p);
struct sim_proc *sim_proc_of(struct world *w);
const char *sim_proc_what(const struct sim_proc *p);
uint64_t sim_proc_id(const struct sim_proc *p); /* never used again */
struct sim_host *sim_proc_host(struct sim_proc *p);
/* kill -9; not from within its own turn. */
void sim_proc_kill(struct sim_proc *p, const char *how);
/* The process ends in good order at the end of its turn. */
void sim_proc_exit(struct sim_proc *p, int status);
/* fn(arg) is called in a turn of p that much later; never when p has ended by then. */
void sim_proc_post(struct sim_proc *p, uint64_t delay_us, void (*fn)(void *arg), void *arg);
/* All processes of a host in order of birth. */
void sim_host_each_proc(struct sim_host *h, void (*fn)(void *arg, struct sim_proc *p), void *arg);

/* What world_spawn() starts on this host: called in the first turn of the new process. super is its end of
 * the channel, root lives as long as the process. */
struct sim_program {
    void (*main)(void *arg, struct world *w, const char *role, unsigned index, const char *root,
                 struct channel *super);
    void *arg;
};
void sim_host_set_program(struct sim_host *h, const struct sim_program *program);
