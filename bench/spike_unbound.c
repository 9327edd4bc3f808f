/* bench/spike_unbound.c: does libunbound's event API work single-threaded on a loop of our own, inside
 * seccomp? The answer with figures is docs/spikes/unbound-on-our-loop.md. Needs the network of
 * src/ext/unbound_lab.sh:
 *
 *   LAB_HOSTS=20000 src/ext/unbound_lab.sh spike_unbound NAMES OPEN ROUNDS ZONE
 *
 * asks for h0..h(NAMES-1).ZONE, OPEN questions at a time: once with an empty cache, then ROUNDS times out of
 * the cache.
 */
#include "base/heap.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

struct base {
    struct ub_event_base ub; /* first: libunbound sees only this */
    int epoll_fd;
    struct heap timers; /* microseconds */
    uint64_t n_events_made, n_turns;
    int n_watched, n_watched_max;
};
struct event {
    struct ub_event ub;
    struct base *base;
    int fd;
    short bits;
    void (*cb)(int, short, void *);
    void *arg;
    bool is_watched, is_timed;
    struct heap_node due;
    struct timeval every;
};

static uint64_t now_us(clockid_t clock)
{
    struct timespec t;
    must(clock_gettime(clock, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static struct event *event_of(struct ub_event *e)
{
    return container_of(e, struct event, ub);
}

static void untime(struct event *e)
{
    if (e->is_timed)
        heap_remove(&e->base->timers, &e->due);
    e->is_timed = false;
}

static int event_del(struct ub_event *ub)
{
    struct event *e = event_of(ub);
    untime(e);
    if (e->is_watched) {
        must(epoll_ctl(e->base->epoll_fd, EPOLL_CTL_DEL, e->fd, NULL) == 0);
        e->base->n_watched--;
    }
    e->is_watched = false;
    return 0;
}

static int event_add(struct ub_event *ub, struct timeval *tv)
{
    struct event *e = event_of(ub);
    (void)event_del(ub);
    if (tv != NULL) {
        e->every = *tv;
        heap_insert(&e->base->timers, &e->due,
                    now_us(CLOCK_MONOTONIC) + (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec);
        e->is_timed = true;
    }
    if (e->fd >= 0 && (e->bits & (UB_EV_READ | UB_EV_WRITE)) != 0) {
        uint32_t mask = ((e->bits & UB_EV_READ) != 0 ? (uint32_t)EPOLLIN : 0) |
                        ((e->bits & UB_EV_WRITE) != 0 ? (uint32_t)EPOLLOUT : 0);
        struct epoll_event ev = {.events = mask, .data.ptr = e};
        if (epoll_ctl(e->base->epoll_fd, EPOLL_CTL_ADD, e->fd, &ev) == -1)
            return -1;
        e->is_watched = true;
        e->base->n_watched++;
        if (e->base->n_watched > e->base->n_watched_max)
            e->base->n_watched_max = e->base->n_watched;
    }
    return 0;
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

static int event_add_timer(struct ub_event *ub, struct ub_event_base *b, void (*cb)(int, short, void *),
                           void *arg, struct timeval *tv)
{
    struct event *e = event_of(ub);
    UNUSED(b);
    e->cb = cb;
    e->arg = arg;
    return event_add(ub, tv);
}

static int refuse(struct ub_event *ub, struct timeval *tv)
{
    UNUSED(ub);
    UNUSED(tv);
    return -1;
}

static int refuse_del(struct ub_event *ub)
{
    UNUSED(ub);
    return -1;
}

static void windows(struct ub_event *ub)
{
    UNUSED(ub);
}

static void windows_block(struct ub_event *ub, int bits)
{
    UNUSED(ub);
    UNUSED(bits);
}

static struct ub_event_vmt event_vmt = {event_add_bits, event_del_bits, event_set_fd,    event_free,
                                        event_add,      event_del,      event_add_timer, event_del,
                                        refuse,         refuse_del,     windows,         windows_block};

static struct ub_event *base_new_event(struct ub_event_base *ub, int fd, short bits,
                                       void (*cb)(int, short, void *), void *arg)
{
    struct base *b = container_of(ub, struct base, ub);
    struct event *e = mem_new(struct event);
    if (e == NULL)
        return NULL;
    *e = (struct event){
        .ub = {UB_EVENT_MAGIC, &event_vmt}, .base = b, .fd = fd, .bits = bits, .cb = cb, .arg = arg};
    b->n_events_made++;
    return &e->ub;
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

static int base_exit(struct ub_event_base *ub, struct timeval *tv)
{
    UNUSED(ub);
    UNUSED(tv);
    return 0;
}

static struct ub_event *base_no_signal(struct ub_event_base *ub, int fd, void (*cb)(int, short, void *),
                                       void *arg)
{
    UNUSED(ub);
    UNUSED(fd);
    UNUSED(cb);
    UNUSED(arg);
    return NULL;
}

static struct ub_event *base_no_wsa(struct ub_event_base *ub, void *e, void (*cb)(int, short, void *),
                                    void *arg)
{
    UNUSED(e);
    return base_no_signal(ub, -1, cb, arg);
}

static struct ub_event_base_vmt base_vmt = {base_free,      base_dispatch,  base_exit,
                                            base_new_event, base_no_signal, base_no_wsa};

/* The event may free itself in its callback: nothing of it is touched afterwards. One event a wait: later
 * ones of the same batch could be dead (the io loop has a better answer). */
static void turn(struct base *b)
{
    int wait_ms = -1;
    uint64_t now = now_us(CLOCK_MONOTONIC);
    struct heap_node *least = heap_min(&b->timers);
    if (least != NULL)
        wait_ms = least->key <= now ? 0 : (int)((least->key - now + 999) / 1000);
    struct epoll_event ev;
    int n = epoll_wait(b->epoll_fd, &ev, 1, wait_ms);
    b->n_turns++;
    if (n > 0) {
        struct event *e = ev.data.ptr;
        short bits =
            (short)(((ev.events & EPOLLIN) != 0 ? UB_EV_READ : 0) |
                    ((ev.events & EPOLLOUT) != 0 ? UB_EV_WRITE : 0) |
                    ((ev.events & (EPOLLERR | EPOLLHUP)) != 0 ? e->bits & (UB_EV_READ | UB_EV_WRITE) : 0));
        if ((e->bits & UB_EV_PERSIST) == 0)
            (void)event_del(&e->ub);
        else if (e->is_timed)
            (void)event_add(&e->ub, &e->every);
        e->cb(e->fd, bits, e->arg);
    }
    now = now_us(CLOCK_MONOTONIC);
    while ((least = heap_min(&b->timers)) != NULL && least->key <= now) {
        struct event *e = container_of(least, struct event, due);
        if ((e->bits & UB_EV_PERSIST) == 0)
            (void)event_del(&e->ub);
        else
            (void)event_add(&e->ub, &e->every);
        e->cb(e->fd, UB_EV_TIMEOUT, e->arg);
    }
}

/* Anything but talk over sockets and memory kills the process. Sanitizers need more than that: not in their
 * builds. */
#ifndef WAXWING_SANITIZED
static void enter_sandbox(void)
{
    static const int allowed[] = {
        SCMP_SYS(read),         SCMP_SYS(write),     SCMP_SYS(writev),        SCMP_SYS(close),
        SCMP_SYS(socket),       SCMP_SYS(bind),      SCMP_SYS(connect),       SCMP_SYS(sendto),
        SCMP_SYS(sendmsg),      SCMP_SYS(recvfrom),  SCMP_SYS(recvmsg),       SCMP_SYS(getsockopt),
        SCMP_SYS(setsockopt),   SCMP_SYS(fcntl),     SCMP_SYS(ioctl),         SCMP_SYS(epoll_ctl),
        SCMP_SYS(epoll_wait),   SCMP_SYS(brk),       SCMP_SYS(mmap),          SCMP_SYS(munmap),
        SCMP_SYS(mremap),       SCMP_SYS(madvise),   SCMP_SYS(futex),         SCMP_SYS(getrandom),
        SCMP_SYS(exit_group),   SCMP_SYS(getrusage), SCMP_SYS(clock_gettime), SCMP_SYS(getpid),
        SCMP_SYS(gettimeofday), SCMP_SYS(time),      SCMP_SYS(newfstatat),    SCMP_SYS(epoll_pwait),
    };
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    must(f != NULL);
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        must(seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0) == 0);
    must(seccomp_load(f) == 0);
    seccomp_release(f);
}
#endif

struct run {
    struct ub_ctx *ctx;
    const char *zone;
    unsigned n_names, next, n_open, n_done, n_ok, n_secure, n_inside;
    bool is_asking;
};

static void on_answer(void *arg, int rcode, void *packet, int n, int sec, char *why, int was_limited)
{
    struct run *r = arg;
    UNUSED(packet);
    UNUSED(why);
    UNUSED(was_limited);
    r->n_open--;
    r->n_done++;
    r->n_inside += r->is_asking;
    r->n_ok += rcode == 0 && n > 12;
    r->n_secure += sec == 2;
}

static long rss_kib(struct rusage *u)
{
    must(getrusage(RUSAGE_SELF, u) == 0);
    return u->ru_maxrss;
}

static void run_all(struct base *b, struct run *r, unsigned open_max, const char *what)
{
    uint64_t wall = now_us(CLOCK_MONOTONIC), cpu = now_us(CLOCK_PROCESS_CPUTIME_ID), turns = b->n_turns;
    r->next = r->n_done = r->n_ok = r->n_secure = r->n_inside = 0;
    while (r->n_done < r->n_names) {
        while (r->next < r->n_names && r->n_open < open_max) {
            char name[300];
            must(snprintf(name, sizeof name, "h%u.%s", r->next++, r->zone) > 0);
            r->n_open++;
            r->is_asking = true;
            must(ub_resolve_event(r->ctx, name, 1, 1, r, on_answer, NULL) == 0);
            r->is_asking = false;
        }
        if (r->n_open > 0)
            turn(b);
    }
    wall = now_us(CLOCK_MONOTONIC) - wall;
    cpu = now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    struct rusage u;
    printf("%-9s %u names, %u ok, %u secure, %u answered inside the call: %.1f us wall, %.1f us CPU each, "
           "%.2f turns, "
           "%d fds at most, %ld KiB peak\n",
           what, r->n_names, r->n_ok, r->n_secure, r->n_inside, (double)wall / r->n_names,
           (double)cpu / r->n_names, (double)(b->n_turns - turns) / r->n_names, b->n_watched_max,
           rss_kib(&u));
}

static void set(struct ub_ctx *ctx, const char *name, const char *value)
{
    must(ub_ctx_set_option(ctx, name, value) == 0);
}

int main(int argc, char **argv)
{
    const char *lab = getenv("LAB");
    uint64_t n_names, open_max, rounds;
    if (lab == NULL || argc != 5 || !str_to_u64(str_from_c(argv[1]), 1000000, &n_names) ||
        !str_to_u64(str_from_c(argv[2]), 1000, &open_max) ||
        !str_to_u64(str_from_c(argv[3]), 1000, &rounds)) {
        fputs("usage: unbound_lab.sh spike_unbound NAMES OPEN ROUNDS ZONE\n", stderr);
        return 64;
    }
    char path[512];
    struct base b = {.ub = {UB_EVENT_MAGIC, &base_vmt}, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    struct run r = {.zone = argv[4], .n_names = (unsigned)n_names};
    r.ctx = ub_ctx_create_ub_event(&b.ub);
    must(r.ctx != NULL);
    set(r.ctx, "do-not-query-localhost:", "no");
    set(r.ctx, "rrset-cache-size:", "64m");
    set(r.ctx, "msg-cache-size:", "32m");
    set(r.ctx, "outgoing-range:", "256");
    set(r.ctx, "do-ip6:", "no");
    set(r.ctx, "local-zone:", "test. transparent");
    must(snprintf(path, sizeof path, "%s/root.hints", lab) > 0);
    set(r.ctx, "root-hints:", path);
    must(snprintf(path, sizeof path, "%s/root.key", lab) > 0);
    must(ub_ctx_add_ta_file(r.ctx, path) == 0);
    /* a local name: answered at once, and all that libunbound reads is read now */
    struct run warm = {.n_names = 1, .n_open = 1};
    must(ub_resolve_event(r.ctx, "localhost", 1, 1, &warm, on_answer, NULL) == 0 && warm.n_done == 1);
#ifndef WAXWING_SANITIZED
    enter_sandbox();
#endif
    run_all(&b, &r, (unsigned)open_max, "uncached");
    for (uint64_t i = 0; i < rounds; i++)
        run_all(&b, &r, (unsigned)open_max, "cached");
    ub_ctx_delete(r.ctx);
    (void)close(b.epoll_fd);
    return 0;
}
