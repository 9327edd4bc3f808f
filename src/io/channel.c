/* io/channel.c: messages between two roles over a SOCK_SEQPACKET pair.
 *
 * A packet is a row of frames, each with 8 octets in front: u32 length of the payload, u16 type, u8 kind of
 * the handle that comes with it (enum handle_kind, 0: none), u8 zero. The descriptors of the handles ride in
 * the same packet, in the order of their frames.
 *
 * Limits:   IPC_FRAME_MAX a payload, IPC_PACKET_MAX and IO_HANDLES_A_PACKET a packet, IPC_QUEUE_MAX and
 *           IO_HANDLES_QUEUED_MAX waiting; IO_PACKETS_A_TURN received a turn.
 * Security: the other end may be taken over. A packet is checked whole before its first message is delivered;
 * a bad one ends the channel, its descriptors are closed. Octets that were sent or delivered are wiped: some
 * are passwords.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "io/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FRAME_HEAD = 8,
    SOCKET_BUFFER =
        512 * 1024, /* the kernel doubles it: room for a few packets, so a reader never runs dry */
};
_Static_assert(IPC_FRAME_MAX + FRAME_HEAD <= IPC_PACKET_MAX, "a frame must fit into a packet");

struct packet {
    struct list link;
    struct buf bytes;
    size_t at; /* held packets: where to go on */
    size_t n_fds;
    int fds[IO_HANDLES_A_PACKET];
};

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * IO_HANDLES_A_PACKET)];
};

/* What is left to deliver of a packet. */
struct cursor {
    struct str rest;
    size_t n_fds;
    int fds[IO_HANDLES_A_PACKET];
};

struct frame {
    uint16_t type;
    uint8_t kind;
    struct str payload;
};

static struct channel *channel_of(struct source *s)
{
    return container_of(s, struct channel, source);
}

static void close_all(int *fds, size_t *n_fds)
{
    for (size_t i = 0; i < *n_fds; i++)
        (void)close(fds[i]);
    *n_fds = 0;
}

static struct packet *packet_new(void)
{
    struct packet *p = mem_new(struct packet);
    if (p != NULL) {
        list_init(&p->link);
        buf_init(&p->bytes, IPC_PACKET_MAX);
    }
    return p;
}

static void packet_del(struct packet *p)
{
    if (p == NULL)
        return;
    close_all(p->fds, &p->n_fds);
    secret_wipe(p->bytes.p, p->bytes.n);
    buf_fini(&p->bytes);
    mem_free(p);
}

static struct packet *first_waiting(const struct channel *c)
{
    return list_is_empty(&c->waiting) ? NULL : list_entry(c->waiting.next, struct packet, link);
}

/* ---- birth and death ---- */

static bool wants_input(const struct channel *c)
{
    return c->user != NULL && !c->paused && !c->ended && c->held == NULL;
}

static bool has_room(const struct channel *c)
{
    return c->queued <= IPC_QUEUE_MAX / 2 && c->n_handles_queued <= IO_HANDLES_QUEUED_MAX / 2;
}

static void on_retry(struct timer *t)
{
    struct channel *c = container_of(t, struct channel, retry);
    source_touch(&c->source);
}

static void on_later(struct task *t);

struct channel *io_channel_new(struct io_world *w, int fd)
{
    struct channel *c = mem_new(struct channel);
    if (c == NULL)
        return NULL;
    source_init(&c->source, w, SOURCE_CHANNEL, fd);
    c->source.shared = true; /* the process that gave it may still have it */
    list_init(&c->waiting);
    task_init(&c->later, on_later);
    c->retry.fire = on_retry;
    return c;
}

struct channel *io_adopt_channel(struct io_world *w, int fd)
{
    int type = 0, domain = 0;
    socklen_t n = sizeof type, m = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == -1 || type != SOCK_SEQPACKET ||
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &m) == -1 || domain != AF_UNIX ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
        return NULL;
    return io_channel_new(w, fd); /* blocking or not is no matter: every call says MSG_DONTWAIT */
}

/* Only the sender's buffer counts between unix sockets. Where FORCE is denied and the system's limit is the
 * default, a packet still fits. */
static void size_buffer(int fd)
{
    static const int size = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == -1)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

enum err io_channel_pair(struct world *base, struct channel **out_a, struct channel **out_b)
{
    struct io_world *w = io_of(base);
    int fds[2];
    *out_a = *out_b = NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == -1)
        return err_from_errno(errno);
    size_buffer(fds[0]);
    size_buffer(fds[1]);
    struct channel *a = io_channel_new(w, fds[0]);
    struct channel *b = io_channel_new(w, fds[1]);
    if (a == NULL || b == NULL) {
        mem_free(a);
        mem_free(b);
        (void)close(fds[0]);
        (void)close(fds[1]);
        return ERR_NOMEM;
    }
    *out_a = a;
    *out_b = b;
    return ERR_OK;
}

static void drop_waiting(struct channel *c)
{
    for (struct list *l = list_pop_front(&c->waiting); l != NULL; l = list_pop_front(&c->waiting))
        packet_del(list_entry(l, struct packet, link));
    c->queued = c->n_handles_queued = 0;
}

void channel_free(struct source *s)
{
    struct channel *c = channel_of(s);
    drop_waiting(c);
    packet_del(c->held);
    packet_del(c->spare);
    mem_free(c);
}

void io_channel_settle(struct channel *c)
{
    must(list_is_empty(&c->waiting) && c->held == NULL);
    world_timer_cancel(&c->source.w->base, &c->retry);
    task_cancel(&c->later);
    io_channel_set_user(c, NULL, NULL);
    (void)source_arm(&c->source, 0);
}

void io_channel_close(struct channel *c)
{
    channel_flush(&c->source); /* what was sent in this turn leaves, if it can */
    world_timer_cancel(&c->source.w->base, &c->retry);
    task_cancel(&c->later);
    source_close(&c->source);
}

void io_channel_set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
    if (c->held != NULL)
        task_post(c->source.w, &c->later);
    source_touch(&c->source);
}

void io_channel_pause(struct channel *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    if (c->held != NULL && !paused)
        task_post(c->source.w, &c->later);
    source_touch(&c->source);
}

/* ---- sending ---- */

static bool packet_takes(struct packet *p, size_t n, bool with_handle)
{
    return p->bytes.n + n <= IPC_PACKET_MAX && (!with_handle || p->n_fds < IO_HANDLES_A_PACKET) &&
           buf_reserve(&p->bytes, n);
}

/* The packet that takes a frame of n octets, or NULL without memory. */
static struct packet *packet_for(struct channel *c, size_t n, bool with_handle)
{
    if (!list_is_empty(&c->waiting)) {
        struct packet *last = list_entry(c->waiting.prev, struct packet, link);
        if (packet_takes(last, n, with_handle))
            return last;
        last->bytes.failed = false;
    }
    struct packet *p = c->spare != NULL ? c->spare : packet_new();
    c->spare = NULL;
    if (p == NULL || !packet_takes(p, n, with_handle)) {
        packet_del(p);
        return NULL;
    }
    list_push_back(&c->waiting, &p->link);
    return p;
}

enum err io_channel_send(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    must(payload.n <= IPC_FRAME_MAX);
    struct io_world *w = c->source.w;
    size_t n = FRAME_HEAD + payload.n;
    if (c->peer_gone || c->source.closed)
        return ERR_CLOSED;
    if (c->queued + n > IPC_QUEUE_MAX || (give != NULL && c->n_handles_queued >= IO_HANDLES_QUEUED_MAX)) {
        c->want_room = true;
        return ERR_AGAIN;
    }
    struct packet *p = packet_for(c, n, give != NULL);
    if (p == NULL) {
        c->want_room = true;
        io_timer_set(&w->base, &c->retry, w->now_ms + IO_RETRY_MS);
        return ERR_AGAIN;
    }
    enum handle_kind kind = HANDLE_NONE;
    if (give != NULL) {
        p->fds[p->n_fds++] = io_handle_give(give, &kind);
        c->n_handles_queued++;
    }
    buf_put_u32(&p->bytes, (uint32_t)payload.n);
    buf_put_u16(&p->bytes, type);
    buf_put_u8(&p->bytes, (uint8_t)kind);
    buf_put_u8(&p->bytes, 0);
    buf_put(&p->bytes, payload);
    must(!p->bytes.failed);
    c->queued += n;
    source_touch(&c->source);
    return ERR_OK;
}

size_t io_channel_backlog(const struct channel *c)
{
    return c->queued;
}

/* ERR_OK, ERR_AGAIN (full), ERR_NOMEM (later), other: the way is gone. */
static enum err send_packet(int fd, struct packet *p)
{
    union control control;
    struct iovec iov = {p->bytes.p, p->bytes.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (p->n_fds > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * p->n_fds);
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        must(head != NULL);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * p->n_fds);
        memcpy(CMSG_DATA(head), p->fds, sizeof(int) * p->n_fds);
    }
    ssize_t n;
    do {
        n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);
    if (n != -1)
        return ERR_OK;
    /* too many descriptors under way in the whole system, or for this user */
    return errno == ETOOMANYREFS ? ERR_NOMEM : err_from_errno(errno);
}

static void packet_sent(struct channel *c, struct packet *p)
{
    list_remove(&p->link);
    c->queued -= p->bytes.n;
    c->n_handles_queued -= p->n_fds;
    close_all(p->fds, &p->n_fds);
    secret_wipe(p->bytes.p, p->bytes.n); /* it may have held a password */
    buf_reset(&p->bytes);
    if (c->spare == NULL)
        c->spare = p;
    else
        packet_del(p);
}

static void send_waiting(struct channel *c)
{
    struct io_world *w = c->source.w;
    c->blocked = false;
    for (struct packet *p = first_waiting(c); p != NULL; p = first_waiting(c)) {
        enum err err = send_packet(c->source.fd, p);
        if (err == ERR_OK) {
            packet_sent(c, p);
        } else if (err == ERR_AGAIN) {
            c->blocked = true;
            return;
        } else if (err == ERR_NOMEM) {
            io_timer_set(&w->base, &c->retry, w->now_ms + IO_RETRY_MS);
            return;
        } else {
            if (err != ERR_RESET)
                log_error(w->base.log, "io.channel_send_failed", LERR(err), LU("size", p->bytes.n));
            c->peer_gone = true; /* the user learns it when input has come to its end */
            drop_waiting(c);
            (void)shutdown(c->source.fd, SHUT_RDWR);
            return;
        }
    }
}

void channel_flush(struct source *s)
{
    struct channel *c = channel_of(s);
    if (!list_is_empty(&c->waiting) && !c->peer_gone)
        send_waiting(c);
    if (c->want_room && has_room(c) && !c->peer_gone)
        task_post(s->w, &c->later);
    unsigned events = (wants_input(c) ? (unsigned)EPOLLIN : 0) | (c->blocked ? (unsigned)EPOLLOUT : 0);
    if (!source_arm(s, events))
        source_touch(s);
}

/* ---- receiving ---- */

/* Takes one frame off; false when the bytes are not a frame. */
static bool next_frame(struct str *rest, struct frame *out)
{
    struct reader r = reader_of(*rest);
    uint32_t n = read_u32(&r);
    out->type = read_u16(&r);
    out->kind = read_u8(&r);
    uint8_t zero = read_u8(&r);
    if (n > IPC_FRAME_MAX || out->kind > HANDLE_BLOB || zero != 0)
        return false;
    out->payload = read_bytes(&r, n);
    *rest = r.rest;
    return !r.failed;
}

static bool packet_is_valid(struct str bytes, size_t n_fds)
{
    struct frame f;
    size_t n_handles = 0;
    while (bytes.n > 0) {
        if (!next_frame(&bytes, &f))
            return false;
        n_handles += f.kind != HANDLE_NONE;
    }
    return n_handles == n_fds;
}

static void end(struct channel *c)
{
    c->ended = c->peer_gone = true;
    drop_waiting(c);
    c->blocked = false;
    source_touch(&c->source);
    if (c->user != NULL)
        c->user->on_closed(c->arg, c);
}

/* Delivers until nothing is left, or the channel is closed, or its user stopped it. */
static void deliver(struct channel *c, struct cursor *at)
{
    size_t used = 0;
    struct frame f;
    while (at->rest.n > 0 && !c->source.closed && c->user != NULL && !c->paused) {
        must(next_frame(&at->rest, &f));
        struct handle given = {
            .object = {&io_world_ops}, .w = c->source.w, .kind = f.kind, .is_given = true, .fd = -1};
        if (f.kind != HANDLE_NONE)
            given.fd = at->fds[used++];
        c->user->on_message(c->arg, c, f.type, f.payload, f.kind == HANDLE_NONE ? NULL : &given);
        if (given.fd != -1)
            (void)close(given.fd);
    }
    at->n_fds -= used;
    memmove(at->fds, at->fds + used, at->n_fds * sizeof at->fds[0]);
    if (c->source.closed)
        close_all(at->fds, &at->n_fds);
}

/* The shared buffer is needed for the next packet: what the user did not want yet moves out of it. */
static bool hold(struct channel *c, struct cursor *at)
{
    struct packet *p = packet_new();
    if (p == NULL || !buf_put(&p->bytes, at->rest)) {
        log_error(c->source.w->base.log, "io.channel_dropped", LERR(ERR_NOMEM));
        close_all(at->fds, &at->n_fds);
        packet_del(p);
        return false;
    }
    memcpy(p->fds, at->fds, at->n_fds * sizeof at->fds[0]);
    p->n_fds = at->n_fds;
    c->held = p;
    return true;
}

/* Held frames go on, and room is told: both must not run inside the call that allowed them. */
static void on_later(struct task *t)
{
    struct channel *c = container_of(t, struct channel, later);
    struct packet *p = c->held;
    if (p != NULL && c->user != NULL && !c->paused) {
        struct cursor at = {.rest = str_skip(buf_str(&p->bytes), p->at), .n_fds = p->n_fds};
        memcpy(at.fds, p->fds, p->n_fds * sizeof p->fds[0]);
        p->n_fds = 0; /* they are the cursor's now */
        deliver(c, &at);
        if (at.rest.n > 0 && !c->source.closed) {
            p->at = p->bytes.n - at.rest.n;
            p->n_fds = at.n_fds;
            memcpy(p->fds, at.fds, at.n_fds * sizeof at.fds[0]);
        } else {
            c->held = NULL;
            packet_del(p);
            source_touch(&c->source);
        }
    }
    if (!c->source.closed && c->want_room && has_room(c) && !c->peer_gone) {
        c->want_room = false;
        if (c->user != NULL && c->user->on_room != NULL)
            c->user->on_room(c->arg, c);
    }
}

/* Every descriptor that came is in `at`, whatever else is wrong with the packet. */
static void collect_fds(struct msghdr *msg, struct cursor *at)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        must(at->n_fds + n <= IO_HANDLES_A_PACKET); /* the control buffer holds no more */
        memcpy(at->fds + at->n_fds, CMSG_DATA(h), n * sizeof(int));
        at->n_fds += n;
    }
}

/* ERR_OK: a packet was dealt with. ERR_AGAIN: nothing there. ERR_CLOSED: the end, or a packet that is none.
 */
static enum err receive_one(struct channel *c)
{
    struct io_world *w = c->source.w;
    union control control;
    struct iovec iov = {w->packet, IPC_PACKET_MAX};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(c->source.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n == -1) /* a reset is told once, before what was received earlier */
        return errno == EINTR || errno == ECONNRESET ? ERR_OK : errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
    struct cursor at = {.rest = str_of(w->packet, (size_t)n)};
    collect_fds(&msg, &at);
    if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || !packet_is_valid(at.rest, at.n_fds)) {
        log_error(w->base.log, "io.channel_malformed", LU("size", (uint64_t)n), LU("handles", at.n_fds));
        close_all(at.fds, &at.n_fds);
        (void)shutdown(c->source.fd, SHUT_RDWR);
        return ERR_CLOSED;
    }
    if (n == 0)
        return ERR_CLOSED;
    deliver(c, &at);
    bool is_lost = at.rest.n > 0 && !c->source.closed && !hold(c, &at);
    secret_wipe(w->packet, (size_t)n);
    return is_lost ? ERR_CLOSED : ERR_OK; /* a lost message must not look like none */
}

void channel_on_event(struct source *s, unsigned events)
{
    struct channel *c = channel_of(s);
    if ((events & EPOLLOUT) != 0)
        source_touch(s);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
        return;
    if (!wants_input(c)) { /* it hung up on a paused channel: not to be told again and again */
        (void)source_arm(s, 0);
        source_touch(s);
        return;
    }
    /* A sender packs what it has into one packet a turn, so a second read mostly finds nothing: it is tried
     * only when the turn before had a packet too. */
    bool is_busy = c->last_turn + 1 == s->w->turn;
    c->last_turn = s->w->turn;
    for (int budget = is_busy ? IO_PACKETS_A_TURN : 1; budget > 0 && !s->closed && wants_input(c); budget--) {
        enum err err = receive_one(c);
        if (err == ERR_CLOSED) {
            end(c);
            return;
        }
        if (err == ERR_AGAIN) {
            c->last_turn = 0;
            return;
        }
    }
    if (!s->closed && !wants_input(c))
        source_touch(s);
}
