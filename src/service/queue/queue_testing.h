/* service/queue/queue_testing.h: for tests only: the queue role over a small world in virtual time: a
 * simulated disk, channels whose far ends the test holds, pipes in memory, and the supervisor's part of
 * role.h.
 */
#pragma once
#include "base/rand.h"
#include "service/queue/queue.h"
#include "sim/sim_disk.h"

enum { TEST_SENT_MAX = 8192 };

struct test_pipe;
struct channel { /* world.h's; the far end is the test */
    struct world_object object;
    struct test_world *tw;
    const struct channel_user *user;
    void *arg;
    enum role role;
    unsigned index;
    bool is_paused, is_closed, is_full;
    struct list inbox; /* on the way to the role */
    struct list sent;  /* by the role, not yet looked at */
    size_t n_sent;
};
struct test_message {
    struct list link;
    uint16_t type;
    struct handle *handle;
    size_t n;
    char octets[];
};
struct conn {
    struct world_object object;
    struct test_pipe *pipe; /* NULL: closed */
    bool is_writer;
    const struct conn_user *user;
    void *arg;
    unsigned want;
};
struct handle {
    struct world_object object;
    struct conn *conn;
};
struct test_pipe {
    struct list link;
    struct conn reader, writer;
    struct handle handle;
    bool reader_open, writer_open, reader_given; /* given: the test holds the reading end */
    struct buf octets;
    size_t cap;
};

struct test_world {
    struct world world; /* first */
    struct log log;
    struct rng rng;
    uint64_t now_us;
    int64_t wall_ms; /* at virtual time 0 */
    struct heap timers, events;
    struct list hooks, pipes;
    struct sim_disk *medium;
    struct disk *mount;
    struct role_env env;
    struct config config, config2;
    struct channel smtpd, smtpd1, relay, local, lookup, admin, agent;
    struct queue *q;
    unsigned n_ready, n_failed, n_drained, n_released, n_forbidden;
    char fail_reason[256];
    uint64_t n_events[64]; /* by kind */
    uint64_t n_counters;
    struct buf events_text; /* "word id host rcpt text\n" each, the last 256 KiB */
    bool echo;
    /* scripts */
    void (*on_relay_job)(struct test_world *w, const struct ipc_relay_job *m, struct handle *given);
    void (*on_local_job)(struct test_world *w, const struct ipc_local_job *m, struct handle *given);
    void (*on_mx_ask)(struct test_world *w, const struct ipc_mx_ask *m);
    void *script;
    bool mx_is_secure;        /* MX answers are */
    const char *mx_canonical; /* and the domain is called so; or NULL */
    uint64_t n_relay_jobs, n_local_jobs, n_mx_asks;
};

/* A world with the default configuration of the tests: local domains example.org (Maildir) and example.net
 * (LMTP), everything else by MX; hostname mail.example.org. */
void test_world_init(struct test_world *w, uint64_t seed);
void test_world_fini(struct test_world *w);
/* Starts the role on the medium and waits until it is ready. */
void test_start(struct test_world *w);
/* The role dies at once, as a process does. */
void test_kill(struct test_world *w);
void test_power_cut(struct test_world *w);

/* Runs until virtual time has gone on by ms. */
void test_run(struct test_world *w, uint64_t ms);
/* Runs until cond holds; fails the test after limit_ms of virtual time. */
void test_until(struct test_world *w, bool (*cond)(struct test_world *w), uint64_t limit_ms);

/* To the role. */
void test_send(struct channel *c, uint16_t type, struct str payload, struct handle *h);
/* The next message from the role of this type (others before it are dropped), or NULL. The caller frees with
 * test_message_free(). */
struct test_message *test_take(struct channel *c, uint16_t type);
void test_message_free(struct test_message *m);
static inline struct str test_payload(const struct test_message *m)
{
    return str_of(m->octets, m->n);
}

/* Ids as smtpd gets them: asks for some and waits. */
uint64_t test_new_id(struct test_world *w);
/* Puts a small message; the answer is waited for and returned. rcpts: separated by spaces. */
enum err test_put(struct test_world *w, const char *sender, const char *rcpts, struct str body,
                  uint64_t *out_id);
void test_send_put(struct test_world *w, uint64_t token, uint64_t id, const char *sender, const char *rcpts,
                   struct str body, struct handle *pipe);
/* A pipe whose writing end the test has: returns the handle for the put. */
struct handle *test_pipe_new(struct test_world *w, struct test_pipe **out);
void test_pipe_write(struct test_pipe *p, struct str octets);
void test_pipe_end(struct test_pipe *p);
/* Everything the role writes into the pipe that came with a job, until its end. out is appended to. */
void test_pipe_drain(struct test_world *w, struct handle *h, struct buf *out);

/* Answers. results: one text a recipient: "250 ok", "450 4.2.0 later", "550 5.1.1 no"; the last one repeats.
 * stage as of smtp_client.h. */
void test_job_done(struct channel *c, uint64_t token, uint32_t n, uint8_t stage, const char *const *results);
void test_mx_answer(struct test_world *w, uint64_t token, enum dns_status status, const char *hosts);
bool test_saw(const struct test_world *w, const char *text);
/* How often an event of this kind came. */
static inline uint64_t test_count(const struct test_world *w, enum event_kind kind)
{
    return w->n_events[kind];
}
/* An operator's question: all rows of its pages into out; the last err is returned. */
enum err test_ask(struct test_world *w, enum ctl_verb verb, uint64_t id, const char *filter, uint32_t n_max,
                  struct buf *out);
