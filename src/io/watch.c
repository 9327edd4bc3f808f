/* io/watch.c: the loop's other guests: descriptors of libraries, wake-ups from threads, signals; and stderr.
 */
#include "base/mem.h"
#include "io/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* ---- descriptors of libraries ---- */

struct io_watch {
    struct source source; /* first */
    unsigned want;
    void (*fn)(void *arg, unsigned ready);
    void *arg;
};

static unsigned events_of(unsigned want)
{
    return ((want & CONN_READABLE) != 0 ? (unsigned)EPOLLIN : 0) |
           ((want & CONN_WRITABLE) != 0 ? (unsigned)EPOLLOUT : 0);
}

struct io_watch *io_watch_fd(struct io_world *w, int fd, unsigned mask, void (*fn)(void *arg, unsigned ready),
                             void *arg)
{
    struct io_watch *watch = mem_new(struct io_watch);
    if (watch == NULL)
        return NULL;
    source_init(&watch->source, w, SOURCE_WATCH, fd);
    watch->fn = fn;
    watch->arg = arg;
    watch->want = mask;
    if (!source_arm(&watch->source, events_of(mask))) {
        mem_free(watch);
        return NULL;
    }
    return watch;
}

/* Without delay: the library may close and reuse descriptors as it likes between two calls. */
void io_watch_want(struct io_watch *watch, unsigned mask)
{
    watch->want = mask;
    if (!source_arm(&watch->source, events_of(mask)))
        log_error(watch->source.w->base.log, "io.watch_failed", LERR(err_from_errno(errno)));
}

void io_unwatch(struct io_watch *watch)
{
    (void)source_arm(&watch->source, 0);
    watch->source.fd = -1; /* the library's */
    source_close(&watch->source);
}

void watch_on_event(struct source *s, unsigned events)
{
    struct io_watch *watch = container_of(s, struct io_watch, source);
    unsigned ready = 0;
    if ((events & EPOLLIN) != 0)
        ready |= CONN_READABLE;
    if ((events & EPOLLOUT) != 0)
        ready |= CONN_WRITABLE;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        ready = CONN_READABLE | CONN_WRITABLE;
    ready &= watch->want;
    if (ready != 0)
        watch->fn(watch->arg, ready);
    else if (watch->want == 0)
        (void)source_arm(s, 0); /* nobody wants to hear that it hung up */
    /* else: what was wanted when the kernel was asked is not what is wanted by now */
}

/* ---- wake-ups from threads ---- */

struct io_wake {
    struct source source; /* first */
    atomic_bool posted;   /* an event is under way that was not yet looked at */
    void (*fn)(void *arg);
    void *arg;
};

struct io_wake *io_wake_new(struct io_world *w, void (*fn)(void *arg), void *arg)
{
    struct io_wake *wake = mem_new(struct io_wake);
    int fd = wake == NULL ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd == -1) {
        mem_free(wake);
        return NULL;
    }
    source_init(&wake->source, w, SOURCE_WAKE, fd);
    wake->fn = fn;
    wake->arg = arg;
    atomic_init(&wake->posted, false);
    if (!source_arm(&wake->source, EPOLLIN)) {
        (void)close(fd);
        mem_free(wake);
        return NULL;
    }
    return wake;
}

void io_wake_post(struct io_wake *wake)
{
    static const uint64_t one = 1;
    if (atomic_exchange(&wake->posted, true))
        return;
    ssize_t n;
    do {
        n = write(wake->source.fd, &one, sizeof one);
    } while (n == -1 && errno == EINTR);
    must(n == sizeof one); /* it would take centuries to fill the counter */
}

void wake_on_event(struct source *s, unsigned events)
{
    UNUSED(events);
    struct io_wake *wake = container_of(s, struct io_wake, source);
    /* first this, then look: what a thread leaves after the look makes another event */
    (void)atomic_exchange(&wake->posted, false);
    wake->fn(wake->arg);
}

void io_wake_del(struct io_wake *wake)
{
    source_close(&wake->source);
}

/* ---- signals ---- */

void signals_on_event(struct source *s, unsigned events)
{
    UNUSED(events);
    struct io_world *w = s->w;
    struct signalfd_siginfo info;
    if (read(s->fd, &info, sizeof info) != sizeof info)
        return;
    for (size_t i = 0; i < w->n_handlers; i++) {
        if ((uint32_t)w->handlers[i].signo == info.ssi_signo)
            w->handlers[i].fn(w->handlers[i].arg, w->handlers[i].signo);
    }
}

enum err io_on_signal(struct io_world *w, int signo, void (*fn)(void *arg, int signo), void *arg)
{
    sigset_t set;
    if (w->n_handlers == IO_SIGNALS_MAX)
        return ERR_TOO_BIG;
    (void)sigemptyset(&set);
    if (sigaddset(&set, signo) == -1)
        return ERR_INVALID;
    for (size_t i = 0; i < w->n_handlers; i++) {
        if (w->handlers[i].signo == signo)
            return ERR_EXISTS;
        (void)sigaddset(&set, w->handlers[i].signo);
    }
    if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
        return err_from_errno(errno);
    int fd = signalfd(w->signals.fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd == -1)
        return err_from_errno(errno);
    w->signals.fd = fd;
    w->signals.shared = true;
    if (!source_arm(&w->signals, EPOLLIN))
        return err_from_errno(errno);
    w->handlers[w->n_handlers++] = (struct io_signal){signo, fn, arg};
    return ERR_OK;
}

/* ---- stderr ---- */

void io_log_stderr(void *arg, struct str line)
{
    UNUSED(arg);
    while (line.n > 0) {
        ssize_t n = write(STDERR_FILENO, line.p, line.n);
        if (n == -1 && errno != EINTR)
            return;
        line = str_skip(line, n > 0 ? (size_t)n : 0);
    }
}
