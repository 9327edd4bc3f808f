/* ext/unbound_event.c: see the header. libunbound's events are those of libevent: fd readable or writable, a
 * time-out beside it or alone, once or again and again. An event may free itself in its own callback, so
 * nothing of it is touched after that. What the interface has for signals, for Windows and for running the
 * loop is never called by the library.
 */
#include "ext/unbound_event.h"

#include "base/mem.h"

#include <sys/time.h>
#include <unbound-event.h>

struct base {
    struct ub_event_base ub;
    struct io_world *io;
    struct world *world;
};
struct event {
    struct ub_event ub;
    struct base *base;
    int fd; /* -1: a timer */
    short bits;
    void (*fn)(int fd, short bits, void *arg);
    void *arg;
    struct io_watch *watch; /* NULL when not active */
    struct timer timer;
    uint64_t every_ms;
};

static struct event *event_of(struct ub_event *ub)
{
    return container_of(ub, struct event, ub);
}

static int event_del(struct ub_event *ub)
{
    struct event *e = event_of(ub);
    world_timer_cancel(e->base->world, &e->timer);
    if (e->watch != NULL)
        io_unwatch(e->watch);
    e->watch = NULL;
    return 0;
}

static void set_timer(struct event *e)
{
    world_timer_set(e->base->world, &e->timer, world_now_ms(e->base->world) + e->every_ms);
}

/* Its time-out begins anew with each use of an event that stays. */
static void before_call(struct event *e)
{
    if ((e->bits & UB_EV_PERSIST) == 0)
        (void)event_del(&e->ub);
    else if (e->every_ms > 0)
        set_timer(e);
}

static void on_ready(void *arg, unsigned ready)
{
    struct event *e = arg;
    int bits =
        ((ready & CONN_READABLE) != 0 ? UB_EV_READ : 0) | ((ready & CONN_WRITABLE) != 0 ? UB_EV_WRITE : 0);
    bits &= e->bits;
    if (bits == 0)
        return;
    before_call(e);
    e->fn(e->fd, (short)bits, e->arg);
}

static void on_time(struct timer *t)
{
    struct event *e = container_of(t, struct event, timer);
    before_call(e);
    e->fn(e->fd, UB_EV_TIMEOUT, e->arg);
}

static int event_add(struct ub_event *ub, struct timeval *after)
{
    struct event *e = event_of(ub);
    (void)event_del(ub);
    e->every_ms = 0;
    if (after != NULL) {
        e->every_ms = (uint64_t)after->tv_sec * 1000 + ((uint64_t)after->tv_usec + 999) / 1000;
        set_timer(e);
    }
    unsigned mask = ((e->bits & UB_EV_READ) != 0 ? (unsigned)CONN_READABLE : 0) |
                    ((e->bits & UB_EV_WRITE) != 0 ? (unsigned)CONN_WRITABLE : 0);
    if (e->fd < 0 || mask == 0)
        return 0;
    e->watch = io_watch_fd(e->base->io, e->fd, mask, on_ready, e);
    if (e->watch != NULL)
        return 0;
    (void)event_del(ub);
    return -1;
}

static void event_add_bits(struct ub_event *ub, short bits)
{
    struct event *e = event_of(ub);
    e->bits = (short)(e->bits | bits);
}

static void event_del_bits(struct ub_event *ub, short bits)
{
    struct event *e = event_of(ub);
    e->bits = (short)(e->bits & ~bits);
}

static void event_set_fd(struct ub_event *ub, int fd)
{
    event_of(ub)->fd = fd;
}

static void event_free(struct ub_event *ub)
{
    (void)event_del(ub);
    mem_free(event_of(ub));
}

static int event_add_timer(struct ub_event *ub, struct ub_event_base *base, void (*fn)(int, short, void *),
                           void *arg, struct timeval *after)
{
    struct event *e = event_of(ub);
    UNUSED(base);
    e->fn = fn;
    e->arg = arg;
    return event_add(ub, after);
}

static int no_signal_add(struct ub_event *ub, struct timeval *after)
{
    UNUSED(ub);
    UNUSED(after);
    return -1;
}

static int no_signal_del(struct ub_event *ub)
{
    UNUSED(ub);
    return -1;
}

static void no_windows_event(struct ub_event *ub)
{
    UNUSED(ub);
}

static void no_windows_block(struct ub_event *ub, int bits)
{
    UNUSED(ub);
    UNUSED(bits);
}

static void base_free(struct ub_event_base *ub)
{
    UNUSED(ub);
}

static int base_dispatch(struct ub_event_base *ub)
{
    UNUSED(ub);
    return -1;
}

static int base_exit(struct ub_event_base *ub, struct timeval *after)
{
    UNUSED(ub);
    UNUSED(after);
    return -1;
}

static struct ub_event *base_no_signal(struct ub_event_base *ub, int signo, void (*fn)(int, short, void *),
                                       void *arg)
{
    UNUSED(ub);
    UNUSED(signo);
    UNUSED(fn);
    UNUSED(arg);
    return NULL;
}

static struct ub_event *base_no_windows(struct ub_event_base *ub, void *event, void (*fn)(int, short, void *),
                                        void *arg)
{
    UNUSED(ub);
    UNUSED(event);
    UNUSED(fn);
    UNUSED(arg);
    return NULL;
}

/* The tables are not const in the library's interface, and it writes to neither. */
struct tables {
    struct base base; /* first */
    struct ub_event_base_vmt base_vmt;
    struct ub_event_vmt event_vmt;
};

static struct ub_event *base_new_event(struct ub_event_base *ub, int fd, short bits,
                                       void (*fn)(int, short, void *), void *arg)
{
    struct base *b = container_of(ub, struct base, ub);
    struct tables *t = container_of(b, struct tables, base);
    struct event *e = mem_new(struct event);
    if (e == NULL)
        return NULL;
    *e = (struct event){
        .ub = {UB_EVENT_MAGIC, &t->event_vmt}, .base = b, .fd = fd, .bits = bits, .fn = fn, .arg = arg};
    e->timer.fire = on_time;
    return &e->ub;
}

struct ub_event_base *unbound_event_base_new(struct io_world *w)
{
    struct tables *t = mem_new(struct tables);
    if (t == NULL)
        return NULL;
    t->base_vmt = (struct ub_event_base_vmt){.free = base_free,
                                             .dispatch = base_dispatch,
                                             .loopexit = base_exit,
                                             .new_event = base_new_event,
                                             .new_signal = base_no_signal,
                                             .winsock_register_wsaevent = base_no_windows};
    t->event_vmt = (struct ub_event_vmt){.add_bits = event_add_bits,
                                         .del_bits = event_del_bits,
                                         .set_fd = event_set_fd,
                                         .free = event_free,
                                         .add = event_add,
                                         .del = event_del,
                                         .add_timer = event_add_timer,
                                         .del_timer = event_del,
                                         .add_signal = no_signal_add,
                                         .del_signal = no_signal_del,
                                         .winsock_unregister_wsaevent = no_windows_event,
                                         .winsock_tcp_wouldblock = no_windows_block};
    t->base = (struct base){.ub = {UB_EVENT_MAGIC, &t->base_vmt}, .io = w, .world = io_world_base(w)};
    return &t->base.ub;
}

void unbound_event_base_del(struct ub_event_base **bp)
{
    if (*bp == NULL)
        return;
    struct base *b = container_of(*bp, struct base, ub);
    mem_free(container_of(b, struct tables, base));
    *bp = NULL;
}
