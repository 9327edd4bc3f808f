/* io/world_io.h: base/world.h on the Linux kernel: epoll, sockets, pipes, SOCK_SEQPACKET channels, disk
 * threads.
 *
 * One loop on one thread; every function here is for that thread. SIGPIPE is ignored from io_world_new() on.
 * What each turn may take is bounded (events, accepts, packets, timers), so that no peer can starve another.
 */
#pragma once
#include "base/world.h"

struct io_world;

/* self_exe is the program that world_spawn() executes ("/proc/self/exe"; NULL where nothing is spawned) and
 * must live as long as the world, as must log. NULL without memory or descriptors (logged). */
struct io_world *io_world_new(const struct log *log, const char *self_exe);
/* Every object must have been closed before. Clears *w. */
void io_world_del(struct io_world **w);
struct world *io_world_base(struct io_world *w);

/* Runs turns until io_stop() was called; the turn in which that happens ends in order, its hooks and sends
 * included. */
void io_run(struct io_world *w);
void io_stop(struct io_world *w);

/* Takes over a descriptor (it is made non-blocking and close-on-exec). NULL when it is not of that kind or
 * without memory; then it stays the caller's. */
MUST_USE struct channel *io_adopt_channel(struct io_world *w, int fd);
MUST_USE struct conn *io_adopt_conn(struct io_world *w, int fd); /* stream socket or end of a pipe */
MUST_USE struct listener *io_adopt_listener(struct io_world *w, int fd);

/* Watches a descriptor that a library owns (level-triggered; mask of CONN_READABLE and CONN_WRITABLE, may be
 * 0). Errors and end of stream show as what was wanted. The library must not close fd before io_unwatch().
 * NULL without memory, or when fd can't be watched. */
struct io_watch;
MUST_USE struct io_watch *io_watch_fd(struct io_world *w, int fd, unsigned mask,
                                      void (*fn)(void *arg, unsigned ready), void *arg);
void io_watch_want(struct io_watch *watch, unsigned mask);
void io_unwatch(struct io_watch *watch);

/* Blocks signo for the process and calls fn from the loop when it came. At most one handler a signal; call it
 * before threads are started. */
MUST_USE enum err io_on_signal(struct io_world *w, int signo, void (*fn)(void *arg, int signo), void *arg);

/* Wakes the loop from other threads: fn is called on the loop's thread some time after each io_wake_post(),
 * several posts may be one call. */
struct io_wake;
MUST_USE struct io_wake *io_wake_new(struct io_world *w, void (*fn)(void *arg), void *arg);
void io_wake_post(struct io_wake *wake); /* from any thread, never blocks */
void io_wake_del(struct io_wake *wake);  /* no thread may post any more */

/* For struct log's write: the line goes to stderr whole, or is dropped when stderr is full. arg is not used.
 */
void io_log_stderr(void *arg, struct str line);
