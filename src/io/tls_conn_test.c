#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "io/tls_testing.h"

#include <string.h>
#include <sys/socket.h>

static int make_cert(void **state)
{
    static struct tt_cert c;
    c = tt_make(&(struct tt_spec){.names = "DNS:mx.example.org"});
    *state = &c;
    return 0;
}

static int free_cert(void **state)
{
    tt_free(*state);
    return 0;
}

static void setup(struct tt_rig *r, void **state)
{
    tt_setup(r);
    tt_server(r, *state, NULL, NULL);
    tt_client(r, NULL, NULL);
}

static void established(struct tt_rig *r, void **state)
{
    setup(r, state);
    tt_shake(r);
    tt_assert_ok(r);
}

/* ---- octets ---- */

enum { FLOW_SIZE = 3 * 1000 * 1000, PIECE_MAX = 70000 };

struct flow { /* one direction: a stream of pseudo-random octets, written in all kinds of pieces */
    struct tt_rig *r;
    struct rng pieces, out, in;
    size_t n_out, n_in, n_full;
    unsigned *n_open;
    char data[PIECE_MAX];
    size_t n_data; /* made and not yet taken */
    bool is_done;
};
struct duplex {
    struct flow *there, *back; /* of a connection: what it writes, what it reads */
};

static void fill(struct flow *f)
{
    size_t n = 1 + (size_t)rng_below(&f->pieces, PIECE_MAX);
    n = n > PIECE_MAX - f->n_data ? PIECE_MAX - f->n_data : n;
    n = n > FLOW_SIZE - f->n_out - f->n_data ? FLOW_SIZE - f->n_out - f->n_data : n;
    for (size_t i = 0; i < n; i++)
        f->data[f->n_data++] = (char)rng_next(&f->out);
}

static void write_some(struct flow *f, struct conn *c)
{
    fill(f); /* after ERR_AGAIN it is more than before: that must not matter */
    size_t a = f->n_data > 3 ? (size_t)rng_below(&f->pieces, f->n_data) : 0, n;
    const struct str pieces[] = {{f->data, a}, {NULL, 0}, {f->data + a, f->n_data - a}};
    enum err err = conn_write(c, pieces, 3, &n);
    if (err == ERR_AGAIN) {
        f->n_full++;
        assert_int_equal(n, 0);
        return;
    }
    assert_int_equal(err, ERR_OK);
    assert_true(n > 0 && n <= f->n_data);
    f->n_out += n;
    f->n_data -= n;
    memmove(f->data, f->data + n, f->n_data);
}

static void end_flow(struct flow *f)
{
    f->is_done = true;
    if (--*f->n_open == 0)
        io_stop(f->r->io);
}

static void read_some(struct flow *f, struct conn *c)
{
    char in[5000];
    size_t n, cap = 1 + (size_t)rng_below(&f->pieces, sizeof in);
    enum err err = conn_read(c, in, cap, &n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(in[i], (char)rng_next(&f->in));
    f->n_in += n;
    if (err == ERR_AGAIN)
        return;
    if (err == ERR_CLOSED) {
        assert_int_equal(f->n_in, FLOW_SIZE);
        end_flow(f);
        return;
    }
    assert_int_equal(err, ERR_OK);
}

static void on_duplex(void *arg, struct conn *c, unsigned ready)
{
    struct duplex *d = arg;
    if ((ready & CONN_WRITABLE) != 0 && d->there->n_out < FLOW_SIZE) {
        write_some(d->there, c);
        if (d->there->n_out < FLOW_SIZE)
            write_some(d->there, c); /* whether there is room or not */
        if (d->there->n_out == FLOW_SIZE)
            conn_shutdown_write(c);
    }
    if ((ready & CONN_READABLE) != 0)
        read_some(d->back, c);
    conn_want(c,
              (d->there->n_out < FLOW_SIZE ? CONN_WRITABLE : 0u) | (d->back->is_done ? 0u : CONN_READABLE));
}

static void init_flow(struct flow *f, struct tt_rig *r, uint64_t seed, unsigned *n_open)
{
    *f = (struct flow){.r = r, .n_open = n_open};
    rng_seed(&f->pieces, seed);
    rng_seed(&f->out, seed + 100);
    rng_seed(&f->in, seed + 100);
}

static void both_ways(void **state)
{
    static const struct conn_user user = {on_duplex};
    static struct flow up, down;
    struct tt_rig r;
    unsigned n_open = 2;
    int small = 4096;
    established(&r, state);
    init_flow(&up, &r, 1, &n_open);
    init_flow(&down, &r, 2, &n_open);
    struct duplex client = {&up, &down}, server = {&down, &up};
    assert_int_equal(setsockopt(r.client.c->source.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(setsockopt(r.server.c->source.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    conn_set_user(r.client.c, &user, &client);
    conn_set_user(r.server.c, &user, &server);
    conn_want(r.client.c, CONN_READABLE | CONN_WRITABLE);
    conn_want(r.server.c, CONN_READABLE | CONN_WRITABLE);
    io_run(r.io);
    assert_true(up.n_full > 0 && down.n_full > 0);
    assert_false(conn_tls(r.client.c)->is_truncated || conn_tls(r.server.c)->is_truncated);
    assert_int_equal(r.client.c->tls->out.cap, 0); /* nothing is held when nothing waits */
    assert_int_equal(r.server.c->tls->out.cap, 0);
    tt_teardown(&r);
}

struct sips {
    struct tt_rig *r;
    unsigned n_calls;
    size_t n, stop_at;
};

static void on_sip(void *arg, struct conn *c, unsigned ready)
{
    struct sips *s = arg;
    char in[10];
    size_t n;
    assert_int_equal(ready, CONN_READABLE);
    s->n_calls++;
    if (conn_read(c, in, sizeof in, &n) == ERR_OK)
        s->n += n;
    if (s->n == s->stop_at)
        io_stop(s->r->io);
}

/* One record has come, epoll has nothing more: who reads a little a call is called until all is read. */
static void level_triggered(void **state)
{
    static const struct conn_user sipper = {on_sip};
    struct tt_rig r;
    struct sips s = {.r = &r, .stop_at = 1000};
    char out[1000];
    struct str all = str_of(out, sizeof out);
    size_t n;
    memset(out, 'x', sizeof out);
    established(&r, state);
    conn_set_user(r.client.c, &sipper, &s);
    conn_want(r.client.c, CONN_READABLE);
    assert_int_equal(conn_write(r.server.c, &all, 1, &n), ERR_OK);
    io_run(r.io);
    assert_int_equal(s.n_calls, 100);
    tt_turns(&r, 5);
    assert_int_equal(s.n_calls, 100); /* and not in vain */
    /* who does not want to hear is not told, and hears when he wants again */
    assert_int_equal(conn_write(r.server.c, &all, 1, &n), ERR_OK);
    s = (struct sips){.r = &r, .stop_at = 20};
    io_run(r.io);
    assert_int_equal(s.n_calls, 2);
    conn_want(r.client.c, 0);
    tt_turns(&r, 5);
    assert_int_equal(s.n_calls, 2);
    conn_want(r.client.c, CONN_READABLE);
    s.stop_at = 1000;
    io_run(r.io);
    assert_int_equal(s.n_calls, 100);
    tt_teardown(&r);
}

/* What a client says right behind its last word of the handshake is there with it, and epoll knows nothing.
 */
static void words_behind_the_handshake(void **state)
{
    for (int is_12 = 0; is_12 < 2; is_12++) {
        static const struct conn_user sipper = {on_sip};
        struct tt_rig r;
        struct sips s = {.r = &r, .stop_at = 8};
        struct str hello = STR("EHLO a\r\n");
        size_t n;
        setup(&r, state);
        assert_int_equal(SSL_CTX_set_max_proto_version(r.client_context->sites[0].ctx,
                                                       is_12 ? TLS1_2_VERSION : TLS1_3_VERSION),
                         1);
        tt_connect(&r);
        tt_start_server(&r);
        tt_start_client(&r);
        conn_set_user(r.server.c, &sipper, &s); /* may be set at any time */
        conn_want(r.server.c, CONN_READABLE);
        tt_run(&r, 1);
        if (!r.client.is_done)
            tt_run(&r, 2);
        assert_true(r.client.is_done);
        assert_int_equal(conn_write(r.client.c, &hello, 1, &n), ERR_OK);
        tt_run(&r, 2);
        if (s.n < 8)
            io_run(r.io);
        tt_assert_ok(&r);
        assert_int_equal(s.n, 8);
        assert_int_equal(s.n_calls, 1);
        tt_teardown(&r);
    }
}

/* RFC 8446 4.6.3: keys change while octets pass. */
static void keys_change(void **state)
{
    struct tt_rig r;
    established(&r, state);
    for (int i = 0; i < 20; i++) {
        SSL *ssl = i % 2 == 0 ? r.client.c->tls->ssl : r.server.c->tls->ssl;
        assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        tt_say(&r, r.client.c, r.server.c, "one way");
        tt_say(&r, r.server.c, r.client.c, "the other");
    }
    tt_teardown(&r);
}

struct drain {
    int alert; /* the last that came */
    struct tt_rig *r;
    size_t n;
    enum err err;
};

static void on_drain(void *arg, struct conn *c, unsigned ready)
{
    struct drain *d = arg;
    char in[3000];
    size_t n;
    UNUSED(ready);
    d->err = conn_read(c, in, sizeof in, &n);
    d->n += n;
    if (d->err != ERR_OK && d->err != ERR_AGAIN)
        io_stop(d->r->io);
}

static const struct conn_user drainer = {on_drain};

static void on_server_words(void *arg, struct conn *c, unsigned ready)
{
    char in[100];
    size_t n;
    UNUSED(arg);
    UNUSED(ready);
    enum err err = conn_read(c, in, sizeof in, &n);
    if (err != ERR_OK && err != ERR_AGAIN)
        conn_want(c, 0);
}

static void on_alert(const SSL *ssl, int where, int value)
{
    struct tls_conn *tc = SSL_get_app_data(ssl);
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        ((struct drain *)tc->conn->arg)->alert = value;
}

/* TLS 1.2: who asks for new keys is refused. */
static void no_renegotiation(void **state)
{
    static const struct conn_user listens = {on_server_words};
    struct tt_rig r;
    struct drain d = {.r = &r};
    setup(&r, state);
    assert_int_equal(SSL_CTX_set_max_proto_version(r.client_context->sites[0].ctx, TLS1_2_VERSION), 1);
    tt_shake(&r);
    tt_assert_ok(&r);
    SSL *ssl = r.client.c->tls->ssl;
    (void)SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
    assert_int_equal(SSL_renegotiate(ssl), 1);
    assert_int_equal(SSL_do_handshake(ssl), -1); /* its hello is on its way */
    conn_set_user(r.server.c, &listens, NULL);
    conn_want(r.server.c, CONN_READABLE);
    SSL_set_info_callback(ssl, on_alert);
    conn_set_user(r.client.c, &drainer, &d);
    conn_want(r.client.c, CONN_READABLE);
    io_run(r.io);
    assert_int_equal(d.err, ERR_TLS);
    assert_int_equal(d.alert, 1 << 8 | 100); /* warning, no_renegotiation */
    assert_int_equal(r.n_asked, 1);
    tt_teardown(&r);
}

/* ---- ends ---- */

static void ends_in_order(void **state)
{
    struct tt_rig r;
    char in[10];
    size_t n;
    struct str s = STR("more");
    established(&r, state);
    conn_shutdown_write(r.client.c);
    assert_int_equal(conn_write(r.client.c, &s, 1, &n), ERR_RESET);
    assert_int_equal(tt_read_end(&r, r.server.c), ERR_CLOSED);
    assert_int_equal(conn_read(r.server.c, in, sizeof in, &n), ERR_CLOSED); /* and it stays so */
    assert_int_equal(tt_read_end(&r, r.server.c), ERR_CLOSED);
    assert_false(conn_tls(r.server.c)->is_truncated);
    tt_say(&r, r.server.c, r.client.c, "the other way is open"); /* RFC 8446 6.1 */
    conn_close(r.server.c);
    r.server.c = NULL;
    assert_int_equal(tt_read_end(&r, r.client.c), ERR_CLOSED);
    assert_false(conn_tls(r.client.c)->is_truncated);
    tt_teardown(&r);
}

static void cut_off(void **state)
{
    struct tt_rig r;
    established(&r, state);
    assert_int_equal(shutdown(r.server.c->source.fd, SHUT_WR), 0); /* nobody said so in TLS */
    assert_int_equal(tt_read_end(&r, r.client.c), ERR_CLOSED);
    assert_true(conn_tls(r.client.c)->is_truncated);
    tt_teardown(&r);
}

static void damaged(void **state)
{
    struct tt_rig r;
    char record[] = "\x17\x03\x03\x00\x20this is no record of this session";
    size_t n;
    established(&r, state);
    assert_int_equal(send(r.server.c->source.fd, record, 5 + 32, 0), 5 + 32);
    assert_int_equal(tt_read_end(&r, r.client.c), ERR_TLS);
    assert_int_equal(conn_read(r.client.c, record, sizeof record, &n), ERR_TLS);
    assert_int_equal(tt_read_end(&r, r.server.c), ERR_TLS); /* the alert */
    tt_teardown(&r);
}

static void reset(void **state)
{
    struct tt_rig r;
    struct str s = STR("hello");
    size_t n;
    established(&r, state);
    assert_int_equal(shutdown(r.server.c->source.fd, SHUT_RDWR), 0); /* as when the other process died */
    assert_int_equal(conn_write(r.client.c, &s, 1, &n), ERR_RESET);
    assert_int_equal(n, 0);
    assert_int_equal(conn_write(r.client.c, &s, 1, &n), ERR_RESET);
    tt_teardown(&r);
}

/* Fills r->server.c and its socket; how much was taken. */
static size_t fill_up(struct tt_rig *r)
{
    static const char zeros[100000];
    struct str s = str_of(zeros, sizeof zeros);
    size_t total = 0, n;
    int small = 4096;
    assert_int_equal(setsockopt(r->server.c->source.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    while (conn_write(r->server.c, &s, 1, &n) == ERR_OK)
        total += n;
    assert_true(total > 0 && r->server.c->tls->out.n > 0);
    return total;
}

/* What conn_write() took leaves, also after conn_close() or with the end of writing behind it. */
static void last_words_leave(void **state)
{
    for (int closes = 0; closes < 2; closes++) {
        struct tt_rig r;
        struct drain d = {.r = &r};
        established(&r, state);
        size_t total = fill_up(&r);
        if (closes) {
            conn_close(r.server.c);
            r.server.c = NULL;
            assert_false(list_is_empty(&r.io->tls->lingering));
        } else {
            conn_shutdown_write(r.server.c);
        }
        conn_set_user(r.client.c, &drainer, &d);
        conn_want(r.client.c, CONN_READABLE);
        io_run(r.io);
        assert_int_equal(d.err, ERR_CLOSED);
        assert_int_equal(d.n, total);
        assert_false(conn_tls(r.client.c)->is_truncated);
        tt_turns(&r, 2);
        assert_true(list_is_empty(&r.io->tls->lingering));
        tt_teardown(&r);
    }
}

/* But not for ever, and not longer than the world. */
static void nobody_hears_them(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct tt_rig r;
        established(&r, state);
        (void)fill_up(&r);
        struct tls_conn *tc = r.server.c->tls;
        conn_close(r.server.c);
        r.server.c = NULL;
        assert_false(list_is_empty(&r.io->tls->lingering));
        assert_true(tc->linger.is_set);
        if (i == 0) {
            world_timer_set(r.w, &tc->linger, 1); /* its time is over */
            tt_turns(&r, 2);
            assert_true(list_is_empty(&r.io->tls->lingering));
        } else if (i == 1) {
            assert_int_equal(shutdown(r.client.c->source.fd, SHUT_RDWR), 0);
            tt_turns(&r, 3);
            assert_true(list_is_empty(&r.io->tls->lingering));
        } /* else the teardown finds it so */
        tt_teardown(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(level_triggered),
        cmocka_unit_test(words_behind_the_handshake),
        cmocka_unit_test(keys_change),
        cmocka_unit_test(no_renegotiation),
        cmocka_unit_test(ends_in_order),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(damaged),
        cmocka_unit_test(reset),
        cmocka_unit_test(last_words_leave),
        cmocka_unit_test(nobody_hears_them),
    };
    return cmocka_run_group_tests(tests, make_cert, free_cert);
}
