/* base/world.h: everything a role knows of the world: clock, random numbers, timers, channels, connections,
 * listeners, disk, child processes, programs and blobs of memory. io/ implements it with the kernel, sim/
 * with a seed; the roles can't tell.
 *
 * Rules of every implementation:
 * - One thread calls everything here and receives every callback. A turn is: deliver events within a budget,
 * fire due timers, run the turn-end hooks once. now_ms is constant within a turn.
 * - No callback runs inside the call that caused it (a completion comes in a later step of the loop).
 * - An object closed in a callback stays allocated to the end of the turn; no callback for it comes after the
 * close.
 * - Callbacks are set when an object is taken; setting the user again replaces it.
 */
#pragma once
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/netaddr.h"

struct world;
struct channel;
struct conn;
struct listener;
struct disk;
struct disk_file;
struct child;
struct program;
struct workers;
struct handle; /* a channel, connection, listener or blob on its way from one role to another */

/* ---- clock and random ---------------- */

uint64_t world_now_ms(const struct world *w); /* monotonic; never 0 */
int64_t world_wall_ms(const struct world *w); /* since 1970-01-01 UTC, may step */
void world_random(struct world *w, void *out, size_t n);
/* Uniform in [0, bound), bound > 0. */
uint64_t world_random_below(struct world *w, uint64_t bound);
const struct log *world_log(const struct world *w);

/* ---- timers ---------------- */

struct timer { /* embedded in the user's object; zeroed means not set */
    struct heap_node node;
    bool is_set;
    void (*fire)(struct timer *t);
};
/* Sets or moves t; fires once, not before due_ms (as world_now_ms counts). t->fire must be set before. */
void world_timer_set(struct world *w, struct timer *t, uint64_t due_ms);
void world_timer_cancel(struct world *w, struct timer *t); /* harmless when not set */

struct turn_hook {
    struct list link;
    void (*run)(struct turn_hook *h);
};
/* run is called at the end of each turn in which anything happened, in order of registration, until removed
 * with list_remove(&h->link). Group commit lives here. */
void world_turn_end(struct world *w, struct turn_hook *h);

/* ---- channels: whole messages between two roles ---------------- */

struct channel_user {
    /* One message. payload is valid during the call. given is NULL or what came with it: take it with a
     * handle_take_* function or it is closed when the call returns. */
    void (*on_message)(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given);
    /* After channel_send() said ERR_AGAIN: there is room again. */
    void (*on_room)(void *arg, struct channel *c);
    /* The other end is gone; the channel must be closed by its user. */
    void (*on_closed)(void *arg, struct channel *c);
};
/* Queues a message (payload is copied). Messages of one turn leave as one packet at its end, in order. Takes
 * `give` over (or NULL) when it returns ERR_OK. ERR_AGAIN: full, nothing was queued, on_room will come.
 * ERR_CLOSED: the other end is gone. payload over IPC_FRAME_MAX is our bug. */
MUST_USE enum err channel_send(struct channel *c, uint16_t type, struct str payload, struct handle *give);
/* Octets queued here and not yet taken by the other side's world; lets a sender stay far from ERR_AGAIN. */
size_t channel_backlog(const struct channel *c);
void channel_set_user(struct channel *c, const struct channel_user *user, void *arg);
/* While paused no message is taken from the other end: it fills up and stops its sender. */
void channel_pause(struct channel *c, bool paused);
void channel_close(struct channel *c);
/* A new pair; used by the supervisor, which gives the ends away. */
MUST_USE enum err world_channel_pair(struct world *w, struct channel **out_a, struct channel **out_b);

/* ---- handles ---------------- */

/* Wrap for channel_send(); the object must have no unread input here and is no longer usable by the caller.
 * On a failed channel_send() unwrap it again with a take function. NULL without memory (the object stays as
 * it was). */
struct handle *handle_of_channel(struct channel *c);
struct handle *handle_of_conn(struct conn *c);
/* A listener may be given to several roles: a duplicate is wrapped, l stays valid. */
struct handle *handle_of_listener(struct listener *l);
/* A sealed, read-only copy of bytes (a memfd). */
struct handle *handle_of_blob(struct world *w, struct str bytes);
/* A second handle of the same blob, h stays: many may have it, and its memory is there once. NULL without memory or
 * descriptors. */
struct handle *handle_again(struct world *w, const struct handle *h);
/* Each takes the object out of h, or returns NULL when h is NULL or holds another kind. */
struct channel *handle_take_channel(struct world *w, struct handle *h);
struct conn *handle_take_conn(struct world *w, struct handle *h);
struct listener *handle_take_listener(struct world *w, struct handle *h);
/* The bytes; *out_owner frees them with blob_free(). */
struct blob {
    struct str bytes;
    void *owner;
};
MUST_USE bool handle_take_blob(struct world *w, struct handle *h, struct blob *out);
void blob_free(struct blob *b);
/* Closes a handle that nobody took. */
void handle_drop(struct handle *h);

/* ---- connections: byte streams (TCP, unix sockets, pipes) ---------------- */

enum { CONN_READABLE = 1, CONN_WRITABLE = 2 };
struct conn_user {
    /* ready: what was wanted and is there (level-triggered). Errors and end of stream show as readable and
     * are told by conn_read(). */
    void (*on_ready)(void *arg, struct conn *c, unsigned ready);
};
void conn_set_user(struct conn *c, const struct conn_user *user, void *arg);
/* Which events are wanted: CONN_READABLE | CONN_WRITABLE. A new connection wants none. */
void conn_want(struct conn *c, unsigned mask);
/* Up to cap bytes: ERR_OK with *out_n > 0; ERR_AGAIN nothing there; ERR_CLOSED end of stream; other: broken.
 */
MUST_USE enum err conn_read(struct conn *c, char *out, size_t cap, size_t *out_n);
/* Writes what fits: ERR_OK with *out_n >= 1 (maybe less than all); ERR_AGAIN none; other: broken. */
MUST_USE enum err conn_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n);
void conn_shutdown_write(struct conn *c);
void conn_close(struct conn *c);
/* The addresses; kind NETADDR_NONE for pipes. */
const struct netaddr *conn_peer(const struct conn *c);
const struct netaddr *conn_local(const struct conn *c);
/* Effective uid of the peer of a unix socket; false when unknown. */
MUST_USE bool conn_peer_uid(const struct conn *c, uint32_t *out_uid);

/* Starts connecting from `from` (NULL: any). fn is called once later with ERR_OK and the connection, or an
 * error and NULL, at the latest at deadline_ms (ERR_TIMEOUT). NULL is returned only without memory or
 * descriptors. */
struct connecting;
MUST_USE struct connecting *world_connect(struct world *w, const struct netaddr *to,
                                          const struct netaddr *from, uint64_t deadline_ms,
                                          void (*fn)(void *arg, enum err err, struct conn *c), void *arg);
void connecting_cancel(struct connecting *c); /* fn will not be called; harmless only before fn was called */

/* One-way: what is written to *out_write comes out of *out_read. Bounded by the world (64 KiB or so). */
MUST_USE enum err world_pipe(struct world *w, struct conn **out_read, struct conn **out_write);

/* ---- listeners ---------------- */

/* Binds and listens (supervisor, admin). unix paths: an old socket nobody listens on is replaced; mode is its
 * file mode. */
MUST_USE enum err world_listen(struct world *w, const struct netaddr *at, unsigned mode,
                               struct listener **out);
struct listener_user {
    void (*on_accept)(void *arg, struct listener *l, struct conn *c);
};
/* Starts accepting; at most a bounded number a turn. user NULL stops accepting, the queue of the kernel
 * fills. */
void listener_set_user(struct listener *l, const struct listener_user *user, void *arg);
void listener_close(struct listener *l);
const struct netaddr *listener_addr(const struct listener *l);

/* ---- disk ---------------- */

/* A tree of files below one folder. Names are relative, without "..", components without control characters.
 * Operations of one lane run one at a time and in order; lanes run beside each other. The calling thread
 * never waits for the medium. After a failed sync of a file its unsynced content is unknown for ever: never
 * retry, never trust it (that is the user's duty; an implementation just reports). */
enum disk_kind {
    DISK_OPEN = 0, /* name, create -> file, size */
    DISK_CLOSE,    /* file (the op owns it from then on) */
    DISK_WRITE,    /* file, offset, pieces; then fdatasync when sync is set */
    DISK_READ,     /* file, offset, mem, size -> n_done (short at the end of the file) */
    DISK_ZERO,     /* file: write zeros over [0, size) and fdatasync: blocks are allocated for good */
    DISK_SYNC,     /* file: fdatasync */
    DISK_SYNC_DIR, /* name: fsync of that folder ("." is the root) */
    DISK_UNLINK,   /* name */
    DISK_RENAME,   /* name -> name2; replaces */
    DISK_LINK,     /* name -> name2; ERR_EXISTS when name2 is there */
    DISK_MKDIR,    /* name; mode 0700; ERR_OK when it is there already */
    DISK_LIST,     /* name: a folder -> names, each followed by NUL, sorted bytewise */
    DISK_LOCK, /* name: create and lock for as long as the disk is open; ERR_EXISTS when another process has
                  it */
    DISK_READ_SMALL, /* name, mem, size -> about, n_done: all of a file of at most size octets, never written;
                        ERR_TOO_BIG when it has more. What is no regular file is ERR_OK and not read. */
};
enum disk_lane { DISK_LANE_WRITE = 0, DISK_LANE_READ, DISK_LANE_RELEASE };
enum disk_create { DISK_MUST_EXIST = 0, DISK_CREATE, DISK_CREATE_NEW };

struct disk_about {
    uint32_t uid;    /* whose it is */
    unsigned mode;   /* its permissions: 0644 */
    bool is_regular; /* else the other two mean nothing */
};
struct disk_op { /* embedded in the user's object; untouched by the user from submit to done */
    enum disk_kind kind;
    enum disk_lane lane;
    enum disk_create create;
    bool sync;
    const char *name, *name2; /* must live until done */
    struct disk_file *file;   /* in; out for DISK_OPEN */
    uint64_t offset;
    const struct str *pieces; /* array and bytes must live until done */
    size_t n_pieces;
    char *mem;
    uint64_t size;           /* in: READ, ZERO, READ_SMALL; out: OPEN (size of the file) */
    struct buf *names;       /* LIST */
    struct disk_about about; /* READ_SMALL */
    enum err err;            /* results */
    size_t n_done;
    void (*done)(struct disk_op *op);
    struct list link;  /* the implementation's */
    struct disk *disk; /* the implementation's */
};
/* The folder must exist. Two read operations may run at a time on DISK_LANE_READ (so their order is free). */
MUST_USE enum err world_disk(struct world *w, const char *root, struct disk **out);
void disk_submit(struct disk *d, struct disk_op *op);
/* All operations must be done. Open files are closed. */
void disk_close(struct disk *d);

/* ---- child processes ---------------- */

struct spawn {
    const char *role;  /* the name of a role */
    unsigned index;    /* which one of its kind */
    uint32_t uid, gid; /* become this before anything else; UINT32_MAX: stay as we are */
    const char *root;  /* the role's own folder, or NULL */
};
/* Starts a role; its end of *out is its supervisor channel. on_exit is called once when it has ended, with a
 * short text for people ("exit 0", "signal 9"); clean is true for exit 0. */
MUST_USE enum err world_spawn(struct world *w, const struct spawn *s,
                              void (*on_exit)(void *arg, bool clean, struct str how), void *arg,
                              struct channel **out, struct child **out_child);
void child_kill(struct child *c, bool hard); /* SIGTERM, or SIGKILL when hard; on_exit still comes */

/* ---- programs of others ---------------- */

/* Runs as we are, in a session and process group of its own, with nothing of ours but the two pipes: umask
 * 077, signals at their default, no further descriptor, and it gets SIGKILL when we die. No shell is run. */
struct program_plan {
    const char *const
        *argv;              /* the absolute path first; ended by NULL, as env is; not needed after the call */
    const char *const *env; /* all of its environment */
    const char *folder;     /* where it works; "/" when that can't be entered */
};
struct program_end {
    enum err err; /* not ERR_OK: it could not be executed */
    int status;   /* exit status; of no meaning when it died of a signal */
    int signo;    /* 0: it exited */
};
/* Starts it. What is written to *out_input is its standard input; *out_output gives its standard output and
 * standard error. on_end is called once when it has ended; what was left of its process group has got SIGKILL
 * by then. (Who made a session of his own is not in it, and may hold the pipes open.) */
MUST_USE enum err world_program(struct world *w, const struct program_plan *plan,
                                void (*on_end)(void *arg, const struct program_end *end), void *arg,
                                struct conn **out_input, struct conn **out_output, struct program **out);
/* SIGTERM, or SIGKILL when hard, to its whole process group; on_end still comes. */
void program_kill(struct program *p, bool hard);

/* ---- work beside the loop ---------------- */

/* Long computations, which the loop must not wait for. */
struct compute { /* embedded in the user's object; untouched by the user from submit to done */
    /* On another thread: it may use nothing but what the work holds, and nothing of the world. */
    void (*run)(struct compute *k);
    void (*done)(struct compute *k); /* on the loop's thread */
    struct list link;             /* the implementation's */
};
/* n threads (at least 1) that take works in order. Make it before the sandbox closes. */
MUST_USE enum err world_workers(struct world *w, unsigned n, struct workers **out);
/* The user bounds how many wait. */
void workers_submit(struct workers *p, struct compute *k);
/* Waits for what is being run. No done() is called any more: what was submitted is the user's again. */
void workers_close(struct workers *p);

/* ---- what an implementation provides ---------------- */

/* Each opaque object begins with its struct ..._base so that the functions above can reach the table. */
struct world_tls_ops;
struct world_ops {
    const struct world_tls_ops *tls; /* base/world_tls.h; NULL: this world has no TLS */
    uint64_t (*now_ms)(const struct world *);
    int64_t (*wall_ms)(const struct world *);
    void (*random)(struct world *, void *, size_t);
    void (*timer_set)(struct world *, struct timer *, uint64_t);
    void (*timer_cancel)(struct world *, struct timer *);
    void (*turn_end)(struct world *, struct turn_hook *);

    enum err (*channel_pair)(struct world *, struct channel **, struct channel **);
    enum err (*channel_send)(struct channel *, uint16_t, struct str, struct handle *);
    size_t (*channel_backlog)(const struct channel *);
    void (*channel_set_user)(struct channel *, const struct channel_user *, void *);
    void (*channel_pause)(struct channel *, bool);
    void (*channel_close)(struct channel *);

    struct handle *(*handle_of_channel)(struct channel *);
    struct handle *(*handle_of_conn)(struct conn *);
    struct handle *(*handle_of_listener)(struct listener *);
    struct handle *(*handle_of_blob)(struct world *, struct str);
    struct handle *(*handle_again)(struct world *, const struct handle *);
    struct channel *(*handle_take_channel)(struct world *, struct handle *);
    struct conn *(*handle_take_conn)(struct world *, struct handle *);
    struct listener *(*handle_take_listener)(struct world *, struct handle *);
    bool (*handle_take_blob)(struct world *, struct handle *, struct blob *);
    void (*blob_free)(struct blob *);
    void (*handle_drop)(struct handle *);

    void (*conn_set_user)(struct conn *, const struct conn_user *, void *);
    void (*conn_want)(struct conn *, unsigned);
    enum err (*conn_read)(struct conn *, char *, size_t, size_t *);
    enum err (*conn_write)(struct conn *, const struct str *, size_t, size_t *);
    void (*conn_shutdown_write)(struct conn *);
    void (*conn_close)(struct conn *);
    const struct netaddr *(*conn_peer)(const struct conn *);
    const struct netaddr *(*conn_local)(const struct conn *);
    bool (*conn_peer_uid)(const struct conn *, uint32_t *);
    struct connecting *(*connect)(struct world *, const struct netaddr *, const struct netaddr *, uint64_t,
                                  void (*)(void *, enum err, struct conn *), void *);
    void (*connecting_cancel)(struct connecting *);
    enum err (*pipe)(struct world *, struct conn **, struct conn **);

    enum err (*listen)(struct world *, const struct netaddr *, unsigned, struct listener **);
    void (*listener_set_user)(struct listener *, const struct listener_user *, void *);
    void (*listener_close)(struct listener *);
    const struct netaddr *(*listener_addr)(const struct listener *);

    enum err (*disk)(struct world *, const char *, struct disk **);
    void (*disk_submit)(struct disk *, struct disk_op *);
    void (*disk_close)(struct disk *);

    enum err (*spawn)(struct world *, const struct spawn *, void (*)(void *, bool, struct str), void *,
                      struct channel **, struct child **);
    void (*child_kill)(struct child *, bool);

    enum err (*program)(struct world *, const struct program_plan *,
                        void (*)(void *, const struct program_end *), void *, struct conn **, struct conn **,
                        struct program **);
    void (*program_kill)(struct program *, bool);

    enum err (*workers)(struct world *, unsigned, struct workers **);
    void (*workers_submit)(struct workers *, struct compute *);
    void (*workers_close)(struct workers *);
};
/* First member of every implementation's world. */
struct world {
    const struct world_ops *ops;
    const struct log *log;
};
/* First member of every implementation's channel, conn, listener, disk, child, program, connecting, workers,
 * handle. */
struct world_object {
    const struct world_ops *ops;
};
