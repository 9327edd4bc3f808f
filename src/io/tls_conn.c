/* io/tls_conn.c: a connection with TLS: octets in and out of the library and of the socket.
 *
 * - Out: what the library writes goes to the socket at once; what that does not take waits in `out`, and
 *   nothing more is written before it is gone. So the library never has half a record of its own to send, and
 *   each call of conn_write() may bring other octets than the one before. After conn_close() what waits still
 *   leaves, for TLS_LINGER_MS, as it would from a socket's buffer.
 * - In: the library may hold octets when the socket has none, and epoll does not see them: is_ready says so,
 *   and a task calls the user again (level-triggered as without TLS).
 */
#include "io/tls.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the socket ---- */

static ssize_t send_some(const struct conn *c, const char *p, size_t n)
{
    ssize_t sent;
    do {
        sent = send(c->source.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent == -1 && errno == EINTR);
    return sent;
}

/* All is taken: sent, kept in `out`, or lost with write_err set, which conn_write() tells. */
static int bio_write(BIO *b, const char *p, size_t n, size_t *n_done)
{
    struct tls_conn *tc = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    *n_done = 0;
    if (tc->out.n >= TLS_OUT_ENOUGH) { /* a peer that reads nothing can make us answer only so much */
        BIO_set_retry_write(b);
        return 0;
    }
    *n_done = n;
    if (tc->is_mute || tc->write_err != ERR_OK)
        return 1;
    struct str rest = str_of(p, n);
    if (tc->out.n == 0) {
        ssize_t sent = send_some(tc->conn, p, n);
        if (sent > 0)
            rest = str_skip(rest, (size_t)sent);
        else if (sent == -1 && err_from_errno(errno) != ERR_AGAIN)
            tc->write_err = err_from_errno(errno);
    }
    if (rest.n > 0 && tc->write_err == ERR_OK && !buf_put(&tc->out, rest))
        tc->write_err = ERR_NOMEM;
    return 1;
}

static int bio_read(BIO *b, char *p, size_t n, size_t *n_done)
{
    struct tls_conn *tc = BIO_get_data(b);
    ssize_t got;
    BIO_clear_retry_flags(b);
    *n_done = 0;
    if (tc->is_mute)
        return 0;
    do {
        got = recv(tc->conn->source.fd, p, n, MSG_DONTWAIT);
    } while (got == -1 && errno == EINTR);
    if (got > 0) {
        *n_done = (size_t)got;
        return 1;
    }
    if (got == 0)
        tc->is_eof = true;
    else if (err_from_errno(errno) == ERR_AGAIN)
        BIO_set_retry_read(b);
    else
        tc->read_errnum = errno;
    return 0;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    const struct tls_conn *tc = BIO_get_data(b);
    UNUSED(num);
    UNUSED(ptr);
    return cmd == BIO_CTRL_FLUSH || (cmd == BIO_CTRL_EOF && tc->is_eof);
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "waxwing");
    if (m != NULL && BIO_meth_set_write_ex(m, bio_write) == 1 && BIO_meth_set_read_ex(m, bio_read) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1)
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* What follows when `out` has become empty. */
static void on_drained(struct tls_conn *tc)
{
    buf_release(&tc->out);
    if (tc->is_shut && tc->conn->source.fd != -1)
        (void)shutdown(tc->conn->source.fd, SHUT_WR);
    if (tc->is_held) {
        tc->is_held = false;
        tc->is_ready = true;
        source_touch(&tc->conn->source);
    }
}

void tls_flush(struct tls_conn *tc)
{
    bool had = tc->out.n > 0;
    while (tc->out.n > 0 && tc->write_err == ERR_OK) {
        ssize_t sent = send_some(tc->conn, tc->out.p, tc->out.n);
        if (sent > 0)
            buf_consume(&tc->out, (size_t)sent);
        else if (sent == -1 && err_from_errno(errno) != ERR_AGAIN)
            tc->write_err = err_from_errno(errno);
        else
            break;
    }
    if (tc->write_err != ERR_OK)
        buf_reset(&tc->out);
    if (had && tc->out.n == 0)
        on_drained(tc);
}

/* ---- birth ---- */

static void on_wake(struct task *t)
{
    struct tls_conn *tc = container_of(t, struct tls_conn, wake);
    struct conn *c = tc->conn;
    if (tc->shake != NULL) {
        tls_shake_step(tc->shake);
        return;
    }
    if (!tc->is_ready || c->user == NULL || (c->want & CONN_READABLE) == 0)
        return;
    source_touch(&c->source); /* still so at the end of the turn: again */
    c->user->on_ready(c->arg, c, CONN_READABLE);
}

static void on_linger(struct timer *t)
{
    tls_give_up(container_of(t, struct tls_conn, linger));
}

struct tls_conn *tls_conn_new(struct conn *c, struct tls_context *t)
{
    struct tls_conn *tc = mem_new(struct tls_conn);
    SSL *ssl = tc == NULL ? NULL : SSL_new(t->sites[t->first_site].ctx);
    BIO *bio = ssl == NULL ? NULL : BIO_new(t->w->bio);
    if (bio == NULL) {
        SSL_free(ssl);
        mem_free(tc);
        ERR_clear_error();
        return NULL;
    }
    tc->conn = c;
    tc->ssl = ssl;
    tc->context = io_tls_context_keep(t);
    tc->linger.fire = on_linger;
    buf_init(&tc->out, TLS_OUT_MAX);
    task_init(&tc->wake, on_wake);
    list_init(&tc->lingering);
    BIO_set_data(bio, tc);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    (void)SSL_set_app_data(ssl, tc);
    return tc;
}

/* ---- use ---- */

/* The last word of reading. */
static enum err read_end(struct tls_conn *tc, enum err err)
{
    tc->end = err;
    tc->is_ready = true; /* told as often as it is asked for */
    source_touch(&tc->conn->source);
    return err;
}

static enum err read_failed(struct tls_conn *tc)
{
    int reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
    if (tc->read_errnum != 0)
        return read_end(tc, err_from_errno(tc->read_errnum));
    if (tc->is_eof && (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING || reason == 0)) {
        tc->facts->is_truncated = true;
        return read_end(tc, ERR_CLOSED);
    }
    return read_end(tc, ERR_TLS);
}

enum err tls_read(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    struct tls_conn *tc = c->tls;
    *out_n = 0;
    if (tc->shake != NULL)
        return ERR_AGAIN;
    if (tc->end != ERR_OK)
        return tc->end;
    ERR_clear_error();
    int got = SSL_read_ex(tc->ssl, out, cap, out_n);
    tc->is_ready = false;
    if (got == 1) {
        tc->is_ready = SSL_has_pending(tc->ssl) == 1;
        if (tc->is_ready)
            source_touch(&c->source);
        return ERR_OK;
    }
    switch (SSL_get_error(tc->ssl, got)) {
    case SSL_ERROR_WANT_READ:
        return ERR_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        tc->is_held = true;
        source_touch(&c->source);
        return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return read_end(tc, ERR_CLOSED);
    default:
        return read_failed(tc);
    }
}

/* One record from what is left of the pieces: as it lies there, or gathered. */
static struct str next_record(const struct str *pieces, size_t n_pieces, size_t skip, char *gathered)
{
    size_t n = 0;
    for (size_t i = 0; i < n_pieces && n < TLS_RECORD_MAX; i++) {
        struct str piece = str_skip(pieces[i], skip);
        skip -= pieces[i].n < skip ? pieces[i].n : skip;
        if (n == 0 && (piece.n >= TLS_RECORD_MAX || (piece.n > 0 && i + 1 == n_pieces)))
            return str_slice(piece, 0, TLS_RECORD_MAX);
        piece = str_slice(piece, 0, TLS_RECORD_MAX - n);
        if (piece.n > 0)
            memcpy(gathered + n, piece.p, piece.n);
        n += piece.n;
    }
    return str_of(gathered, n);
}

enum err tls_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    struct tls_conn *tc = c->tls;
    *out_n = 0;
    if (tc->shake != NULL)
        return ERR_AGAIN;
    if (tc->is_shut || tc->facts == NULL)
        return ERR_RESET;
    tls_flush(tc);
    while (tc->out.n == 0 && tc->write_err == ERR_OK) {
        struct str record = next_record(pieces, n_pieces, *out_n, tc->context->w->gathered);
        size_t n = 0;
        must(record.n > 0 || *out_n > 0);
        if (record.n == 0)
            return ERR_OK;
        ERR_clear_error();
        if (SSL_write_ex(tc->ssl, record.p, record.n, &n) != 1) {
            tc->write_err = ERR_TLS; /* `out` is empty, so it is for good */
            ERR_clear_error();
        }
        *out_n += n;
    }
    if (tc->out.n > 0)
        source_touch(&c->source);
    if (tc->write_err != ERR_OK) {
        *out_n = 0;
        return tc->write_err;
    }
    return *out_n > 0 ? ERR_OK : ERR_AGAIN;
}

/* Says in TLS that no more comes from us, once. */
static void say_goodbye(struct tls_conn *tc)
{
    bool can = tc->facts != NULL && !tc->is_shut && tc->end != ERR_TLS && tc->write_err == ERR_OK;
    tc->is_shut = true;
    if (!can)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tc->ssl);
    ERR_clear_error();
}

void tls_shutdown_write(struct conn *c)
{
    struct tls_conn *tc = c->tls;
    if (tc->shake != NULL || tc->is_shut)
        return;
    say_goodbye(tc);
    if (tc->out.n == 0)
        (void)shutdown(c->source.fd, SHUT_WR);
    source_touch(&c->source); /* else it follows when that has left */
}

/* ---- the end ---- */

void tls_let_go(struct tls_conn *tc)
{
    task_cancel(&tc->wake);
    world_timer_cancel(&tc->conn->source.w->base, &tc->linger);
    list_remove(&tc->lingering);
    SSL_free(tc->ssl);
    tc->ssl = NULL;
    SSL_SESSION_free(tc->session);
    tc->session = NULL;
    buf_fini(&tc->out);
    if (tc->context != NULL)
        tls_context_release(&tc->context);
    ERR_clear_error();
}

void tls_give_up(struct tls_conn *tc)
{
    struct conn *c = tc->conn;
    tls_let_go(tc);
    source_close(&c->source);
}

bool tls_close(struct conn *c)
{
    struct tls_conn *tc = c->tls;
    struct io_world *w = c->source.w;
    tls_shake_abort(tc);
    say_goodbye(tc);
    tls_flush(tc);
    if (tc->out.n == 0) {
        tls_let_go(tc);
        return true;
    }
    c->user = NULL;
    c->want = 0;
    task_cancel(&tc->wake);
    list_push_back(&tc->context->w->lingering, &tc->lingering);
    io_timer_set(&w->base, &tc->linger, w->now_ms + TLS_LINGER_MS);
    source_touch(&c->source);
    return false;
}

void tls_free(struct tls_conn *tc)
{
    mem_free(tc->facts);
    mem_free(tc);
}

/* ---- events ---- */

unsigned tls_events(const struct conn *c)
{
    const struct tls_conn *tc = c->tls;
    const struct tls_shake *k = tc->shake;
    unsigned events = tc->out.n > 0 ? (unsigned)EPOLLOUT : 0;
    if (k != NULL) /* what comes while a signature is made waits in the socket */
        return k->is_paused || !list_is_empty(&k->link) ? events : events | EPOLLIN;
    if (c->user == NULL || tc->facts == NULL)
        return events;
    if ((c->want & CONN_READABLE) != 0 && tc->end == ERR_OK)
        events |= EPOLLIN;
    if ((c->want & CONN_WRITABLE) != 0)
        events |= EPOLLOUT;
    return events;
}

void tls_on_touch(struct conn *c)
{
    struct tls_conn *tc = c->tls;
    if (tc->shake == NULL && tc->is_ready && c->user != NULL && (c->want & CONN_READABLE) != 0)
        task_post(c->source.w, &tc->wake);
}

void tls_on_event(struct conn *c, unsigned events)
{
    struct tls_conn *tc = c->tls;
    unsigned ready = 0;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
        tls_flush(tc);
    if (!list_is_empty(&tc->lingering)) {
        if (tc->out.n == 0)
            tls_give_up(tc);
        return;
    }
    source_touch(&c->source);
    if (tc->shake != NULL) {
        if (!tc->shake->is_paused && list_is_empty(&tc->shake->link))
            tls_shake_step(tc->shake);
        else
            (void)source_arm(&c->source, tls_events(c));
        return;
    }
    if (tc->facts == NULL) { /* it has failed, its user knows */
        (void)source_arm(&c->source, tls_events(c));
        return;
    }
    if ((events & EPOLLIN) != 0 || tc->is_ready)
        ready |= CONN_READABLE;
    if ((events & EPOLLOUT) != 0 && tc->out.n == 0)
        ready |= CONN_WRITABLE;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) /* reading or writing will tell */
        ready = CONN_READABLE | CONN_WRITABLE;
    ready &= c->want;
    if (ready == 0 || c->user == NULL) {
        (void)source_arm(&c->source, tls_events(c));
        return;
    }
    c->user->on_ready(c->arg, c, ready);
}
