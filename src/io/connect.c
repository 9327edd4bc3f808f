/* io/connect.c: connecting with a deadline. The connection object exists from the start, so that success
 * can't fail for want of memory; it is handed to the user or closed.
 */
#include "base/mem.h"
#include "io/impl.h"
#include "io/sockaddr.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

struct connecting {
    struct world_object object; /* first */
    struct io_world *w;
    struct conn *conn;
    struct timer deadline;
    struct task now; /* the outcome was known at once */
    enum err err;    /* that outcome */
    void (*fn)(void *arg, enum err err, struct conn *c);
    void *arg;
};

/* The last use of c. */
static void finish(struct connecting *c, enum err err)
{
    void (*fn)(void *arg, enum err err, struct conn *conn) = c->fn;
    void *arg = c->arg;
    struct conn *conn = c->conn;
    world_timer_cancel(&c->w->base, &c->deadline);
    task_cancel(&c->now);
    mem_free(c);
    if (conn != NULL) {
        io_conn_set_user(conn, NULL, NULL);
        io_conn_want(conn, 0);
    }
    if (err != ERR_OK && conn != NULL) {
        io_conn_close(conn);
        conn = NULL;
    }
    fn(arg, err, conn);
}

static void on_ready(void *arg, struct conn *conn, unsigned ready)
{
    UNUSED(ready);
    int errnum = 0;
    socklen_t n = sizeof errnum;
    if (getsockopt(conn->source.fd, SOL_SOCKET, SO_ERROR, &errnum, &n) == -1)
        errnum = errno;
    finish(arg, err_from_errno(errnum));
}

static void on_deadline(struct timer *t)
{
    finish(container_of(t, struct connecting, deadline), ERR_TIMEOUT);
}

static void on_known(struct task *t)
{
    struct connecting *c = container_of(t, struct connecting, now);
    finish(c, c->err);
}

/* Starts it; ERR_AGAIN: under way. */
static enum err start(int fd, const struct netaddr *to, const struct netaddr *from)
{
    static const int on = 1;
    struct sockaddr_storage ss;
    socklen_t n;
    bool is_ip = to->kind == NETADDR_IP4 || to->kind == NETADDR_IP6;
    if (is_ip)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (is_ip && from != NULL && from->kind != NETADDR_NONE) {
        if (from->kind != to->kind)
            return ERR_UNREACHABLE;
        /* the port is chosen at connect: then ports are scarce per destination only */
        if (from->port == 0)
            (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        n = sockaddr_of(from, &ss);
        if (bind(fd, (struct sockaddr *)(void *)&ss, n) == -1)
            return err_from_errno(errno);
    }
    n = sockaddr_of(to, &ss);
    if (connect(fd, (struct sockaddr *)(void *)&ss, n) == 0)
        return ERR_OK;
    if (errno == EINPROGRESS || errno == EINTR)
        return ERR_AGAIN;
    return errno == EAGAIN ? ERR_REFUSED
                           : err_from_errno(errno); /* EAGAIN: queue of a unix listener is full */
}

struct connecting *io_connect(struct world *base, const struct netaddr *to, const struct netaddr *from,
                              uint64_t deadline_ms, void (*fn)(void *arg, enum err err, struct conn *c),
                              void *arg)
{
    static const struct conn_user user = {.on_ready = on_ready};
    struct io_world *w = io_of(base);
    must(to->kind != NETADDR_NONE);
    struct connecting *c = mem_new(struct connecting);
    if (c == NULL)
        return NULL;
    *c = (struct connecting){
        .object = {&io_world_ops}, .w = w, .deadline = {.fire = on_deadline}, .fn = fn, .arg = arg};
    task_init(&c->now, on_known);
    int fd = socket(sockaddr_family(to), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        c->err = err_from_errno(errno);
        if (c->err == ERR_NOMEM) {
            mem_free(c);
            return NULL;
        }
    } else {
        c->conn = io_conn_new(w, fd, true);
        if (c->conn == NULL) {
            (void)close(fd);
            mem_free(c);
            return NULL;
        }
        c->err = start(fd, to, from);
    }
    if (c->err == ERR_AGAIN) {
        io_conn_set_user(c->conn, &user, c);
        io_conn_want(c->conn, CONN_WRITABLE);
        io_timer_set(base, &c->deadline, deadline_ms);
    } else {
        task_post(w, &c->now);
    }
    return c;
}

void io_connecting_cancel(struct connecting *c)
{
    world_timer_cancel(&c->w->base, &c->deadline);
    task_cancel(&c->now);
    if (c->conn != NULL)
        io_conn_close(c->conn);
    mem_free(c);
}
