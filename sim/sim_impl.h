/* sim/sim_impl.h: what the files of the simulated world share. Nobody outside includes it.
 *
 * Objects of the world lie outside of the heaps of processes. A source is what a process can be told about;
 * it is in its process's ready list while there is something to tell. In transit between two processes it has
 * none.
 */
#pragma once
#include "base/heap.h"
#include "base/world_tls.h"
#include "sim/sim_mem.h"
#include "sim/sim_world.h"

enum {
    SIM_STREAM_CAP = 64 * 1024,
    SIM_CHANNEL_CAP = 512 * 1024, /* octets under way to the other end and not yet read */
    SIM_PACKETS_A_TURN = 8,
    SIM_HANDLES_QUEUED_MAX = 128,
    SIM_BACKLOG_MAX = 128,
    SIM_TIMERS_A_TURN = 4096,
    SIM_ACCEPTS_A_TURN = 16,
};
#define SIM_TCP_TIMEOUT_US (15 * SIM_MINUTE)

struct sim_event {
    struct heap_node node;
    bool is_set;
    void (*fire)(struct sim_event *e);
};

enum source_kind {
    SOURCE_CONN = 0,
    SOURCE_CHANNEL,
    SOURCE_LISTENER,
    SOURCE_CONNECTING,
    SOURCE_CHILD,
    SOURCE_POST,
    SOURCE_DISK
};
enum { SOURCE_KINDS = 7 };

struct source {
    struct world_object object; /* first */
    struct sim *sim;
    struct sim_proc *proc; /* NULL: in transit */
    struct list all, ready, dead;
    uint64_t id;
    enum source_kind kind;
    bool closed;
};

struct sim_program_args;
struct sim_tls;

struct sim_proc {
    struct world world; /* first */
    struct log log;
    struct sim *sim;
    struct sim_host *host;
    struct list link; /* host->procs */
    uint64_t id;
    const char *what;
    struct sim_heap heap;
    struct rng rng;
    struct heap timers;
    struct list hooks, ready, dirty, sources, handles, blobs;
    struct sim_event turn, kill_event;
    const char *kill_how;
    uint64_t now_ms;
    int64_t wall_ms;
    bool has_started, in_turn, is_exiting;
    int status;
    void (*main)(struct world *w, void *arg);
    void (*on_exit)(void *arg, struct str how);
    void *arg;
    struct child *child; /* the parent's view, NULL without a parent */
    struct sim_program_args *spawned;
    struct tls_signer signer;
    struct list tls_signing; /* struct sim_tls, whose signatures are open */
    uint64_t tls_token;
};

struct sim_host {
    struct sim *sim;
    const char *name;
    struct netaddr addr;
    unsigned index;
    bool is_up, is_cutting;
    uint64_t boot_us;
    int64_t wall_offset_ms;
    struct sim_disk *disk;
    struct list procs, sockets;
    uint16_t port_next;
    struct sim_program program;
};

struct sim {
    struct rng rng;
    struct sim_plan plan;
    uint64_t now_us, hash, id_next;
    struct heap events;
    struct list dead; /* closed sources; their memory goes after this step */
    struct sim_host *hosts[SIM_HOSTS_MAX];
    size_t n_hosts;
    bool blocked[SIM_HOSTS_MAX][SIM_HOSTS_MAX];
    struct sim_counts counts;
    struct sim_disk_host disk_host;
    struct world_ops disk_ops;
    void (*on_log)(void *arg, struct sim_proc *p, struct str line);
    void *on_log_arg;
    void (*on_send)(void *arg, struct sim_proc *p, uint16_t type, struct str payload);
    void *on_send_arg;
};

struct seg { /* octets or the end of a stream, on their way */
    struct list link;
    uint64_t arrive_us;
    size_t n;
    bool is_eof, is_reset;
};
struct stream { /* what comes to a connection; all of it is in the ring, the first n_arrived octets may be
                   read */
    char *ring;
    size_t head, n, n_arrived;
    struct list segs;
    uint64_t last_us, stalled_us;
    struct sim_event event;
    bool has_eof;
};
struct conn {
    struct source source; /* first */
    const struct conn_user *user;
    void *arg;
    unsigned want;
    struct conn *peer; /* NULL: gone */
    struct sim_host *here, *there;
    struct netaddr local, remote;
    struct stream in;
    struct sim_event broken; /* what is sent to nobody comes back as a reset */
    uint64_t broken_since_us;
    size_t n_void;
    struct list backlog;
    enum err err;
    bool is_pipe, is_shut;
    struct sim_tls *tls; /* NULL: in the clear */
};

struct frame {
    struct list link;
    struct handle *handle;
    uint64_t packet, arrive_us;
    size_t n;
    uint16_t type;
    bool is_end;
    char bytes[];
};
struct channel {
    struct source source; /* first */
    const struct channel_user *user;
    void *arg;
    struct channel *peer; /* NULL: gone */
    struct list waiting;  /* to leave at the end of the turn, or when there is room */
    size_t queued, n_handles_queued;
    struct list in; /* frames on their way to us, then frames that are there */
    size_t in_octets, n_arrived;
    uint64_t last_us;
    struct sim_event event;
    struct list dirty;
    bool paused, want_room, peer_gone, ended;
};

struct sim_socket {   /* a bound address */
    struct list link; /* host->sockets */
    struct sim_host *host;
    struct netaddr addr;
    unsigned n_refs, n_backlog;
    struct list backlog, listeners;
};
struct listener {
    struct source source; /* first */
    const struct listener_user *user;
    void *arg;
    struct sim_socket *socket;
    struct list of_socket;
};
struct connecting {
    struct source source; /* first */
    struct sim_host *here;
    struct netaddr to;
    struct conn *conn;
    struct sim_event syn, deadline;
    unsigned n_syns;
    bool is_known;
    enum err err;
    void (*fn)(void *arg, enum err err, struct conn *c);
    void *arg;
};
struct child {
    struct source source;  /* first */
    struct sim_proc *proc; /* NULL: it has ended */
    void (*on_exit)(void *arg, bool clean, struct str how);
    void *arg;
    bool has_ended, clean;
    char how[48];
    struct sim_event event;
};
struct post {
    struct source source; /* first */
    struct sim_event event;
    bool is_due;
    void (*fn)(void *arg);
    void *arg;
};
struct disk {
    struct source source;   /* first */
    struct disk *mount;     /* sim_disk's */
    struct list open, done; /* struct sim_op */
};

enum handle_kind { HANDLE_NONE = 0, HANDLE_CHANNEL, HANDLE_CONN, HANDLE_LISTENER, HANDLE_BLOB };
struct blob_data {
    struct world_object object; /* first */
    struct list link;           /* its process's blobs */
    size_t n;
    char bytes[];
};
struct handle {
    struct world_object object; /* first */
    struct list link;           /* its process's handles, until it is sent */
    enum handle_kind kind;
    bool is_given;
    struct source *source;
    struct blob_data *blob;
};

extern const struct world_ops sim_world_ops;

/* sim_world.c */
static inline struct sim_proc *proc_of(struct world *w)
{
    return container_of(w, struct sim_proc, world);
}
void sim_event_set(struct sim *s, struct sim_event *e, uint64_t at_us);
void sim_event_cancel(struct sim *s, struct sim_event *e);
bool sim_chance(struct sim *s, uint32_t ppm);
uint64_t sim_below(struct sim *s, uint64_t bound);                     /* 0 for 0 */
uint64_t sim_host_mono_us(const struct sim_host *h, uint64_t mono_ms); /* when that host's clock says so */
void source_init(struct source *s, struct sim *sim, struct sim_proc *p, enum source_kind kind);
/* Into the ready list of its process, when there is something to tell. */
void source_wake(struct source *s);
/* To another process, or none. */
void source_move(struct source *s, struct sim_proc *to);
/* No callback any more; the memory goes at the end of the step. */
void source_close(struct source *s);
struct sim_proc *sim_spawn_proc(struct sim_host *h, const char *what);

/* of each kind: is there something to tell; tell it; it is closed by the death of its process; free the
 * memory */
bool conn_is_ready(const struct source *s);
void conn_dispatch(struct source *s);
void conn_abandon(struct source *s);
void conn_free(struct source *s);
bool channel_is_ready(const struct source *s);
void channel_dispatch(struct source *s);
void channel_abandon(struct source *s);
void channel_free(struct source *s);
void channel_flush(struct channel *c);
bool listener_is_ready(const struct source *s);
void listener_dispatch(struct source *s);
void listener_abandon(struct source *s);
bool connecting_is_ready(const struct source *s);
void connecting_dispatch(struct source *s);
void connecting_abandon(struct source *s);
bool child_is_ready(const struct source *s);
void child_dispatch(struct source *s);
void child_abandon(struct source *s);
void child_told(struct child *c, bool clean, struct str how);
bool post_is_ready(const struct source *s);
void post_dispatch(struct source *s);
void post_abandon(struct source *s);
bool disk_is_ready(const struct source *s);
void disk_dispatch(struct source *s);
void disk_abandon(struct source *s);
void disk_free(struct source *s);
void plain_free(struct source *s);

/* sim_conn.c */
uint64_t sim_latency_us(struct sim *s, const struct sim_host *a, const struct sim_host *b);
bool sim_is_blocked(const struct sim *s, const struct sim_host *a, const struct sim_host *b);
struct conn *conn_new(struct sim *sim, struct sim_proc *p, struct sim_host *here, struct sim_host *there);
void conn_join(struct conn *a, struct conn *b);
/* Below TLS. */
enum err sim_raw_read(struct conn *c, char *out, size_t cap, size_t *out_n);
enum err sim_raw_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n);

/* sim_tls.c, of connections whose `tls` is set */
void sim_tls_step(struct conn *c);
bool sim_tls_is_shaking(const struct conn *c); /* of any connection */
bool sim_tls_is_ready(const struct conn *c, bool is_readable, bool is_writable);
enum err sim_tls_end(const struct conn *c); /* ERR_OK: octets pass as they are */
void sim_tls_abandon(struct conn *c);

/* The functions of the table, see base/world.h. */
enum err sim_channel_pair(struct world *w, struct channel **out_a, struct channel **out_b);
enum err sim_channel_send(struct channel *c, uint16_t type, struct str payload, struct handle *give);
size_t sim_channel_backlog(const struct channel *c);
void sim_channel_set_user(struct channel *c, const struct channel_user *user, void *arg);
void sim_channel_pause(struct channel *c, bool paused);
void sim_channel_close(struct channel *c);
struct handle *sim_handle_of_channel(struct channel *c);
struct handle *sim_handle_of_conn(struct conn *c);
struct handle *sim_handle_of_listener(struct listener *l);
struct handle *sim_handle_of_blob(struct world *w, struct str bytes);
struct handle *sim_handle_again(struct world *w, const struct handle *h);
struct channel *sim_handle_take_channel(struct world *w, struct handle *h);
struct conn *sim_handle_take_conn(struct world *w, struct handle *h);
struct listener *sim_handle_take_listener(struct world *w, struct handle *h);
bool sim_handle_take_blob(struct world *w, struct handle *h, struct blob *out);
void sim_blob_free(struct blob *b);
void sim_handle_drop(struct handle *h);
void sim_handle_unlist(struct handle *h); /* it is in a message now */
struct listener *sim_listener_copy(struct listener *l);

void sim_conn_set_user(struct conn *c, const struct conn_user *user, void *arg);
void sim_conn_want(struct conn *c, unsigned mask);
enum err sim_conn_read(struct conn *c, char *out, size_t cap, size_t *out_n);
enum err sim_conn_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n);
void sim_conn_shutdown_write(struct conn *c);
void sim_conn_close(struct conn *c);
const struct netaddr *sim_conn_peer(const struct conn *c);
const struct netaddr *sim_conn_local(const struct conn *c);
bool sim_conn_peer_uid(const struct conn *c, uint32_t *out_uid);
struct connecting *sim_connect(struct world *w, const struct netaddr *to, const struct netaddr *from,
                               uint64_t deadline_ms, void (*fn)(void *arg, enum err err, struct conn *c),
                               void *arg);
void sim_connecting_cancel(struct connecting *c);
enum err sim_pipe(struct world *w, struct conn **out_read, struct conn **out_write);
enum err sim_listen(struct world *w, const struct netaddr *at, unsigned mode, struct listener **out);
void sim_listener_set_user(struct listener *l, const struct listener_user *user, void *arg);
void sim_listener_close(struct listener *l);
const struct netaddr *sim_listener_addr(const struct listener *l);

enum err sim_disk_of(struct world *w, const char *root, struct disk **out);
void sim_submit(struct disk *d, struct disk_op *op);
void sim_close(struct disk *d);
enum err sim_spawn(struct world *w, const struct spawn *s,
                   void (*on_exit)(void *arg, bool clean, struct str how), void *arg, struct channel **out,
                   struct child **out_child);
void sim_child_kill(struct child *c, bool hard);
enum err sim_program(struct world *w, const struct program_plan *plan,
                     void (*on_end)(void *arg, const struct program_end *end), void *arg,
                     struct conn **out_input, struct conn **out_output, struct program **out);
void sim_program_kill(struct program *p, bool hard);
enum err sim_workers(struct world *w, unsigned n, struct workers **out);
void sim_workers_submit(struct workers *p, struct compute *k);
void sim_workers_close(struct workers *p);
