/* io/impl.h: what the files of io/ share. Nobody outside includes it.
 *
 * Everything with a descriptor in epoll begins with a struct source. `armed` is what epoll has, so an
 * unchanged interest costs no system call; conns lower their interest lazily (most want it back before an
 * event comes).
 */
#pragma once
#include "base/world.h"
#include "io/world_io.h"

#include <sys/types.h>

enum {
    IO_EVENTS_A_TURN = 256,
    IO_TIMERS_A_TURN = 4096,
    IO_ACCEPTS_A_TURN = 16,
    IO_PACKETS_A_TURN = 8, /* of one channel */
    IO_HANDLES_A_PACKET = 16,
    IO_HANDLES_QUEUED_MAX = 128, /* on one channel before it counts as full */
    IO_SIGNALS_MAX = 8,
    IO_IOV_MAX = 64,  /* pieces of one write to a connection */
    IO_RETRY_MS = 50, /* after the kernel was out of memory or descriptors */
    IO_RANDOM_POOL = 512,
    IO_BLOB_SIZE_MAX = 1 << 30,
};

enum source_kind {
    SOURCE_CONN = 0,
    SOURCE_CHANNEL,
    SOURCE_LISTENER,
    SOURCE_CHILD,
    SOURCE_PROGRAM,
    SOURCE_WATCH,
    SOURCE_WAKE,
    SOURCE_SIGNALS,
};

struct source {
    struct world_object object;
    struct io_world *w;
    struct list link; /* in w->dirty, or in w->dead */
    int fd;
    uint16_t armed; /* EPOLLIN | EPOLLOUT as epoll has them */
    uint8_t kind;   /* enum source_kind */
    bool registered : 1;
    bool closed : 1;
    bool shared : 1; /* another process may have the same open file: closing fd does not take it out of epoll
                      */
};

/* A completion that must not run inside the call that caused it. */
struct task {
    struct list link;
    void (*run)(struct task *t);
};

struct io_signal {
    int signo;
    void (*fn)(void *arg, int signo);
    void *arg;
};

struct io_world {
    struct world base; /* first */
    const char *self_exe;
    int epoll_fd;
    bool stop;
    bool has_spawned;
    uint64_t now_ms;
    int64_t wall_ms;
    uint64_t turn; /* counts turns */
    struct heap timers;
    struct list hooks;
    struct list dirty; /* sources with something to do at the end of the turn */
    struct list dead;  /* sources closed in this turn */
    struct list tasks;
    struct epoll_event *events; /* IO_EVENTS_A_TURN of them */
    char *packet;               /* IPC_PACKET_MAX + 1 octets: every channel receives here */
    struct tls_world *tls;      /* NULL before the first context */
    struct source signals;
    struct io_signal handlers[IO_SIGNALS_MAX];
    size_t n_handlers;
    size_t random_left;
    unsigned char random[IO_RANDOM_POOL];
};

struct tls_world;
struct tls_conn;

struct conn {             /* an idle session pays for this: keep it small */
    struct source source; /* first */
    const struct conn_user *user;
    void *arg;
    struct netaddr *peer, *local; /* made when asked for */
    struct tls_conn *tls;         /* NULL: in the clear */
    uint8_t want;
    bool is_socket;
};
_Static_assert(sizeof(struct conn) <= 128, "an idle connection must stay small");

struct packet;

struct channel {
    struct source source; /* first */
    const struct channel_user *user;
    void *arg;
    struct list waiting; /* packets to send; the last one may take more frames */
    struct packet *spare;
    size_t queued; /* octets in waiting */
    size_t n_handles_queued;
    struct packet *held; /* frames that came before the user paused */
    struct task later;   /* room, or held frames may go on */
    struct timer retry;  /* the kernel or we had no memory */
    uint64_t last_turn;  /* the turn of the last event */
    bool paused;
    bool want_room;
    bool blocked;   /* the socket is full: wait until it is writable */
    bool peer_gone; /* sending is over */
    bool ended;     /* receiving is over, and the user was told */
};

struct listener {
    struct source source; /* first */
    const struct listener_user *user;
    void *arg;
    struct netaddr addr;
    struct timer retry;
    unsigned burst; /* accepts in the next event */
};

struct handle {
    struct world_object object; /* first */
    struct io_world *w;
    uint8_t kind;          /* enum handle_kind */
    bool is_given;         /* came in a packet: memory of the receiver, lives for one call */
    int fd;                /* -1 when source has it, or when it was taken */
    struct source *source; /* the wrapped channel or conn, or NULL */
};
enum handle_kind { HANDLE_NONE = 0, HANDLE_CHANNEL, HANDLE_CONN, HANDLE_LISTENER, HANDLE_BLOB };

static inline struct io_world *io_of(struct world *w)
{
    return container_of(w, struct io_world, base);
}

extern const struct world_ops io_world_ops;

/* loop.c */
void source_init(struct source *s, struct io_world *w, enum source_kind kind, int fd);
/* Sets what epoll reports to exactly `events`; 0 takes the descriptor out. false without memory of the
 * kernel. */
bool source_arm(struct source *s, unsigned events);
/* Its kind's flush function runs at the end of the turn. */
void source_touch(struct source *s);
/* Closes the descriptor now (unless it is -1) and frees the memory at the end of the turn. */
void source_close(struct source *s);
void task_init(struct task *t, void (*run)(struct task *t));
void task_post(struct io_world *w, struct task *t);
void task_cancel(struct task *t);

/* What each kind does: on an event, at the end of a turn in which it was touched, and when its memory goes.
 */
void conn_on_event(struct source *s, unsigned events);
void conn_flush(struct source *s);
void conn_free(struct source *s);
void channel_on_event(struct source *s, unsigned events);
void channel_flush(struct source *s);
void channel_free(struct source *s);
void listener_on_event(struct source *s, unsigned events);
void listener_flush(struct source *s);
void child_on_event(struct source *s, unsigned events);
void program_on_event(struct source *s, unsigned events);
void watch_on_event(struct source *s, unsigned events);
void wake_on_event(struct source *s, unsigned events);
void signals_on_event(struct source *s, unsigned events);

/* conn.c: takes fd over; NULL without memory, fd stays the caller's. */
struct conn *io_conn_new(struct io_world *w, int fd, bool is_socket);
struct channel *io_channel_new(struct io_world *w, int fd);
struct listener *io_listener_new(struct io_world *w, int fd);

/* handle.c: the descriptor that h stands for leaves with the caller, who closes it; h and its object are
 * gone. */
int io_handle_give(struct handle *h, enum handle_kind *out_kind);

/* The functions of the table, see base/world.h. */
void io_timer_set(struct world *w, struct timer *t, uint64_t due_ms);
void io_timer_cancel(struct world *w, struct timer *t);

enum err io_channel_pair(struct world *w, struct channel **out_a, struct channel **out_b);
enum err io_channel_send(struct channel *c, uint16_t type, struct str payload, struct handle *give);
size_t io_channel_backlog(const struct channel *c);
void io_channel_set_user(struct channel *c, const struct channel_user *user, void *arg);
void io_channel_pause(struct channel *c, bool paused);
void io_channel_close(struct channel *c);
/* Before c is given away: nothing may wait in it, in neither direction. */
void io_channel_settle(struct channel *c);

struct handle *io_handle_of_channel(struct channel *c);
struct handle *io_handle_of_conn(struct conn *c);
struct handle *io_handle_of_listener(struct listener *l);
struct handle *io_handle_of_blob(struct world *w, struct str bytes);
struct handle *io_handle_again(struct world *w, const struct handle *h);
struct channel *io_handle_take_channel(struct world *w, struct handle *h);
struct conn *io_handle_take_conn(struct world *w, struct handle *h);
struct listener *io_handle_take_listener(struct world *w, struct handle *h);
bool io_handle_take_blob(struct world *w, struct handle *h, struct blob *out);
void io_blob_free(struct blob *b);
void io_handle_drop(struct handle *h);

void io_conn_set_user(struct conn *c, const struct conn_user *user, void *arg);
void io_conn_want(struct conn *c, unsigned mask);
enum err io_conn_read(struct conn *c, char *out, size_t cap, size_t *out_n);
enum err io_conn_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n);
void io_conn_shutdown_write(struct conn *c);
void io_conn_close(struct conn *c);
const struct netaddr *io_conn_peer(const struct conn *c);
const struct netaddr *io_conn_local(const struct conn *c);
bool io_conn_peer_uid(const struct conn *c, uint32_t *out_uid);
struct connecting *io_connect(struct world *w, const struct netaddr *to, const struct netaddr *from,
                              uint64_t deadline_ms, void (*fn)(void *arg, enum err err, struct conn *c),
                              void *arg);
void io_connecting_cancel(struct connecting *c);
enum err io_pipe(struct world *w, struct conn **out_read, struct conn **out_write);

enum err io_listen(struct world *w, const struct netaddr *at, unsigned mode, struct listener **out);
void io_listener_set_user(struct listener *l, const struct listener_user *user, void *arg);
void io_listener_close(struct listener *l);
const struct netaddr *io_listener_addr(const struct listener *l);

enum err io_disk(struct world *w, const char *root, struct disk **out);
void io_disk_submit(struct disk *d, struct disk_op *op);
void io_disk_close(struct disk *d);

enum err io_spawn(struct world *w, const struct spawn *s,
                  void (*on_exit)(void *arg, bool clean, struct str how), void *arg, struct channel **out,
                  struct child **out_child);
void io_child_kill(struct child *c, bool hard);
/* Between fork and exec. */
bool spawn_reset_signals(void);

enum err io_program(struct world *w, const struct program_plan *plan,
                    void (*on_end)(void *arg, const struct program_end *end), void *arg,
                    struct conn **out_input, struct conn **out_output, struct program **out);
void io_program_kill(struct program *p, bool hard);

enum err io_workers(struct world *w, unsigned n, struct workers **out);
void io_workers_submit(struct workers *p, struct compute *k);
void io_workers_close(struct workers *p);
