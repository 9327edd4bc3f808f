/* io/listener.c: listening sockets. Several processes may accept from one socket: epoll wakes one of them,
 * and each goes to the end of the line after it got something, so that connections that come one at a time
 * spread evenly.
 */
#include "base/mem.h"
#include "io/impl.h"
#include "io/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 4096 }; /* the kernel lowers it to net.core.somaxconn */

static struct listener *listener_of(struct source *s)
{
    return container_of(s, struct listener, source);
}

static void on_retry(struct timer *t)
{
    source_touch(&container_of(t, struct listener, retry)->source);
}

struct listener *io_listener_new(struct io_world *w, int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss, m = sizeof(int);
    int accepts = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &m) == -1 || accepts == 0 ||
        getsockname(fd, (struct sockaddr *)(void *)&ss, &n) == -1)
        return NULL;
    struct listener *l = mem_new(struct listener);
    if (l == NULL)
        return NULL;
    source_init(&l->source, w, SOURCE_LISTENER, fd);
    l->source.shared = true;
    l->retry.fire = on_retry;
    l->burst = 1;
    sockaddr_to_netaddr(&ss, n < sizeof ss ? n : sizeof ss, &l->addr);
    return l;
}

struct listener *io_adopt_listener(struct io_world *w, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 || fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
        return NULL;
    return io_listener_new(w, fd);
}

/* Nobody accepts at that path any more: the socket may go. Anything else that stands there stays. */
static void remove_stale(const struct netaddr *at, const struct sockaddr_storage *ss, socklen_t n)
{
    struct stat st;
    if (lstat(at->path, &st) == -1 || !S_ISSOCK(st.st_mode))
        return;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe == -1)
        return;
    if (connect(probe, (const struct sockaddr *)(const void *)ss, n) == -1 && errno == ECONNREFUSED)
        (void)unlink(at->path);
    (void)close(probe);
}

static enum err bind_at(int fd, const struct netaddr *at, unsigned mode)
{
    static const int on = 1;
    struct sockaddr_storage ss;
    socklen_t n = sockaddr_of(at, &ss);
    int bound;
    if (at->kind == NETADDR_UNIX) {
        remove_stale(at, &ss, n);
        /* the file is made with the mode that the socket has: it is never open to more, not for a moment */
        if (fchmod(fd, mode & 0777) == -1)
            return err_from_errno(errno);
        mode_t before = umask(0);
        bound = bind(fd, (struct sockaddr *)(void *)&ss, n);
        int errnum = errno;
        (void)umask(before);
        errno = errnum;
    } else {
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1 ||
            (at->kind == NETADDR_IP6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == -1))
            return err_from_errno(errno);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
        bound = bind(fd, (struct sockaddr *)(void *)&ss, n);
    }
    return bound == -1 || listen(fd, BACKLOG) == -1 ? err_from_errno(errno) : ERR_OK;
}

enum err io_listen(struct world *base, const struct netaddr *at, unsigned mode, struct listener **out)
{
    must(at->kind != NETADDR_NONE);
    *out = NULL;
    int fd = socket(sockaddr_family(at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return err_from_errno(errno);
    enum err err = bind_at(fd, at, mode);
    if (err == ERR_OK) {
        *out = io_listener_new(io_of(base), fd);
        err = *out == NULL ? ERR_NOMEM : ERR_OK;
    }
    if (err != ERR_OK)
        (void)close(fd);
    return err;
}

static bool is_shortage(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

/* The kernel or we are out of something: an event that can't be served would come again at once. */
static void rest(struct listener *l, enum err err)
{
    struct io_world *w = l->source.w;
    log_warn(w->base.log, "io.accept_paused", LERR(err));
    (void)source_arm(&l->source, 0);
    io_timer_set(&w->base, &l->retry, w->now_ms + IO_RETRY_MS);
}

/* false: no more for now. */
static bool accept_one(struct listener *l)
{
    int fd = accept4(l->source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd == -1) {
        if (is_shortage(errno))
            rest(l, err_from_errno(errno));
        l->burst = 1;
        return errno == EINTR || errno == ECONNABORTED;
    }
    struct conn *c = io_conn_new(l->source.w, fd, true);
    if (c == NULL) {
        (void)close(fd);
        rest(l, ERR_NOMEM);
        return false;
    }
    l->user->on_accept(l->arg, l, c);
    return true;
}

void listener_on_event(struct source *s, unsigned events)
{
    UNUSED(events);
    struct listener *l = listener_of(s);
    unsigned burst = l->burst; /* one at a time when they come one at a time, more under a rush */
    l->burst = burst * 2 < IO_ACCEPTS_A_TURN ? burst * 2 : IO_ACCEPTS_A_TURN;
    for (; burst > 0 && !s->closed && l->user != NULL; burst--) {
        if (!accept_one(l))
            break;
    }
    if (s->closed || l->user == NULL || l->retry.is_set)
        return;
    (void)source_arm(s, 0); /* and back in at the end of the line, see listener_flush() */
    source_touch(s);
}

void listener_flush(struct source *s)
{
    struct listener *l = listener_of(s);
    if (l->retry.is_set)
        return;
    if (!source_arm(s, l->user == NULL ? 0 : EPOLLIN))
        source_touch(s);
}

void io_listener_set_user(struct listener *l, const struct listener_user *user, void *arg)
{
    l->user = user;
    l->arg = arg;
    source_touch(&l->source);
}

void io_listener_close(struct listener *l)
{
    world_timer_cancel(&l->source.w->base, &l->retry);
    source_close(&l->source);
}

const struct netaddr *io_listener_addr(const struct listener *l)
{
    return &l->addr;
}
