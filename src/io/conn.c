/* io/conn.c: byte streams: sockets and pipes.
 *
 * Interest is raised and lowered at the end of the turn. Lowered interest in reading is left in epoll until
 * an event proves it wrong: a session that waits for an answer wants to read again before its peer says more.
 */
#include "base/mem.h"
#include "io/impl.h"
#include "io/sockaddr.h"
#include "io/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const struct netaddr no_addr = {.kind = NETADDR_NONE};

static struct conn *conn_of(struct source *s)
{
    return container_of(s, struct conn, source);
}

struct conn *io_conn_new(struct io_world *w, int fd, bool is_socket)
{
    struct conn *c = mem_new(struct conn);
    if (c == NULL)
        return NULL;
    source_init(&c->source, w, SOURCE_CONN, fd);
    c->is_socket = is_socket;
    return c;
}

static bool is_stream_fd(int fd, bool *out_is_socket)
{
    struct stat st;
    if (fstat(fd, &st) == -1)
        return false;
    int type = 0, accepts = 0;
    socklen_t n = sizeof type, m = sizeof accepts;
    *out_is_socket = S_ISSOCK(st.st_mode);
    if (*out_is_socket)
        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
               getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &m) == 0 && accepts == 0;
    return S_ISFIFO(st.st_mode);
}

struct conn *io_adopt_conn(struct io_world *w, int fd)
{
    bool is_socket;
    int flags = fcntl(fd, F_GETFL);
    if (flags == -1 || !is_stream_fd(fd, &is_socket) || fcntl(fd, F_SETFD, FD_CLOEXEC) == -1 ||
        ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1))
        return NULL;
    struct conn *c = io_conn_new(w, fd, is_socket);
    if (c != NULL)
        c->source.shared = true;
    return c;
}

void conn_free(struct source *s)
{
    struct conn *c = conn_of(s);
    mem_free(c->peer);
    mem_free(c->local);
    if (c->tls != NULL)
        tls_free(c->tls);
    mem_free(c);
}

static unsigned events_of(unsigned want)
{
    return ((want & CONN_READABLE) != 0 ? (unsigned)EPOLLIN : 0) |
           ((want & CONN_WRITABLE) != 0 ? (unsigned)EPOLLOUT : 0);
}

void conn_flush(struct source *s)
{
    struct conn *c = conn_of(s);
    unsigned need = c->tls == NULL ? events_of(c->want) : tls_events(c);
    if (c->tls != NULL)
        tls_on_touch(c);
    bool raise = (need & ~(unsigned)s->armed) != 0;
    bool stop_out = (s->armed & ~need & EPOLLOUT) != 0; /* a socket is nearly always writable: not lazily */
    if ((raise || stop_out) && !source_arm(s, need))
        source_touch(s);
}

void conn_on_event(struct source *s, unsigned events)
{
    struct conn *c = conn_of(s);
    unsigned ready = 0;
    if (c->tls != NULL) {
        tls_on_event(c, events);
        return;
    }
    if ((events & EPOLLIN) != 0)
        ready |= CONN_READABLE;
    if ((events & EPOLLOUT) != 0)
        ready |= CONN_WRITABLE;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) /* reading or writing will tell */
        ready = CONN_READABLE | CONN_WRITABLE;
    ready &= c->want;
    if (ready == 0 || c->user == NULL) {
        (void)source_arm(s, c->user == NULL ? 0 : events_of(c->want));
        return;
    }
    c->user->on_ready(c->arg, c, ready);
}

void io_conn_set_user(struct conn *c, const struct conn_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
    source_touch(&c->source);
}

void io_conn_want(struct conn *c, unsigned mask)
{
    if (c->want == mask)
        return;
    c->want = (uint8_t)mask;
    source_touch(&c->source);
}

enum err io_conn_read(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    ssize_t n;
    if (c->tls != NULL)
        return tls_read(c, out, cap, out_n);
    do {
        n = c->is_socket ? recv(c->source.fd, out, cap, MSG_DONTWAIT) : read(c->source.fd, out, cap);
    } while (n == -1 && errno == EINTR);
    *out_n = n > 0 ? (size_t)n : 0;
    if (n > 0)
        return ERR_OK;
    return n == 0 ? ERR_CLOSED : err_from_errno(errno);
}

enum err io_conn_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    struct iovec iov[IO_IOV_MAX];
    struct msghdr msg = {.msg_iov = iov};
    size_t used = 0;
    if (c->tls != NULL)
        return tls_write(c, pieces, n_pieces, out_n);
    for (size_t i = 0; i < n_pieces && used < IO_IOV_MAX; i++) {
        if (pieces[i].n > 0) {
            union {
                const void *from;
                void *to;
            } p = {.from = pieces[i].p}; /* iovec has no const */
            iov[used++] = (struct iovec){p.to, pieces[i].n};
        }
    }
    must(used > 0);
    msg.msg_iovlen = used;
    ssize_t n;
    do {
        if (!c->is_socket)
            n = writev(c->source.fd, iov, (int)used);
        else if (used == 1)
            n = send(c->source.fd, iov[0].iov_base, iov[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        else
            n = sendmsg(c->source.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);
    *out_n = n > 0 ? (size_t)n : 0;
    return n == -1 ? err_from_errno(errno) : ERR_OK;
}

void io_conn_shutdown_write(struct conn *c)
{
    if (c->tls != NULL)
        tls_shutdown_write(c);
    else if (c->is_socket)
        (void)shutdown(c->source.fd, SHUT_WR);
}

void io_conn_close(struct conn *c)
{
    if (c->tls == NULL || tls_close(c))
        source_close(&c->source);
}

/* NULL for a pipe, a socket that lost its address, or without memory. */
static struct netaddr *learn_address(const struct conn *c, bool of_peer)
{
    struct sockaddr_storage ss = {0};
    socklen_t n = sizeof ss;
    struct sockaddr *sa = (struct sockaddr *)(void *)&ss;
    if (!c->is_socket)
        return NULL;
    int got = of_peer ? getpeername(c->source.fd, sa, &n) : getsockname(c->source.fd, sa, &n);
    struct netaddr *a = got == -1 ? NULL : mem_new(struct netaddr);
    if (a != NULL)
        sockaddr_to_netaddr(&ss, n < sizeof ss ? n : sizeof ss, a);
    return a;
}

/* An address is kept when it was asked for: the object itself is never read-only. */
static struct conn *unconst(const struct conn *c)
{
    union {
        const struct conn *from;
        struct conn *to;
    } u = {.from = c};
    return u.to;
}

const struct netaddr *io_conn_peer(const struct conn *c)
{
    if (c->peer == NULL)
        unconst(c)->peer = learn_address(c, true);
    return c->peer == NULL ? &no_addr : c->peer;
}

const struct netaddr *io_conn_local(const struct conn *c)
{
    if (c->local == NULL)
        unconst(c)->local = learn_address(c, false);
    return c->local == NULL ? &no_addr : c->local;
}

bool io_conn_peer_uid(const struct conn *c, uint32_t *out_uid)
{
    struct ucred cred;
    socklen_t n = sizeof cred;
    int domain = 0;
    socklen_t m = sizeof domain;
    if (!c->is_socket || getsockopt(c->source.fd, SOL_SOCKET, SO_DOMAIN, &domain, &m) == -1 ||
        domain != AF_UNIX || getsockopt(c->source.fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == -1 ||
        n != sizeof cred || cred.uid == (uid_t)-1)
        return false;
    *out_uid = cred.uid;
    return true;
}

enum err io_pipe(struct world *base, struct conn **out_read, struct conn **out_write)
{
    struct io_world *w = io_of(base);
    int fds[2];
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) == -1)
        return err_from_errno(errno);
    *out_read = io_conn_new(w, fds[0], false);
    *out_write = io_conn_new(w, fds[1], false);
    if (*out_read != NULL && *out_write != NULL)
        return ERR_OK;
    mem_free(*out_read);
    mem_free(*out_write);
    (void)close(fds[0]);
    (void)close(fds[1]);
    *out_read = *out_write = NULL;
    return ERR_NOMEM;
}
