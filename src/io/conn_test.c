#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/impl.h"
#include "io/sockaddr.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct log quiet = {.min = LOG_ERROR};

enum { CONNS_MAX = 128 };

struct probe {
    struct io_world *io;
    struct world *w;
    struct listener *l;
    struct conn *accepted[CONNS_MAX];
    size_t n_accepted, stop_at; /* accepted connections */
    struct conn *client;
    enum err connect_err;
    unsigned n_connected;
    unsigned n_ready, ready;
    bool stop_on_ready;
    struct timer later;
    char dir[64];
    struct netaddr addr;
};

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    struct probe *p = arg;
    assert_ptr_equal(l, p->l);
    assert_true(p->n_accepted < CONNS_MAX);
    p->accepted[p->n_accepted++] = c;
    if (p->n_accepted == p->stop_at)
        io_stop(p->io);
}

static const struct listener_user acceptor = {on_accept};

static void on_connected(void *arg, enum err err, struct conn *c)
{
    struct probe *p = arg;
    assert_true((err == ERR_OK) == (c != NULL));
    p->connect_err = err;
    p->client = c;
    p->n_connected++;
    io_stop(p->io);
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    struct probe *p = arg;
    UNUSED(c);
    p->n_ready++;
    p->ready = ready;
    if (p->stop_on_ready)
        io_stop(p->io);
}

static const struct conn_user reader = {on_ready};

static void fire_stop(struct timer *t)
{
    io_stop(container_of(t, struct probe, later)->io);
}

static void run_idle(struct probe *p)
{
    p->later.fire = fire_stop;
    for (int i = 0; i < 4; i++) {
        world_timer_set(p->w, &p->later, 1);
        io_run(p->io);
    }
}

static struct netaddr addr(const char *text)
{
    struct netaddr a;
    assert_true(netaddr_parse(str_from_c(text), 0, &a));
    return a;
}

static void setup(struct probe *p)
{
    memset(p, 0, sizeof *p);
    p->io = io_world_new(&quiet, NULL);
    assert_non_null(p->io);
    p->w = io_world_base(p->io);
    (void)strcpy(p->dir, "/tmp/io-conn-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
}

static void unix_addr(const struct probe *p, const char *name, struct netaddr *out)
{
    *out = (struct netaddr){.kind = NETADDR_UNIX};
    int n = snprintf(out->path, sizeof out->path, "%s/%s", p->dir, name);
    assert_true(n > 0 && (size_t)n < sizeof out->path);
}

static void listen_at(struct probe *p, const struct netaddr *at)
{
    assert_int_equal(world_listen(p->w, at, 0600, &p->l), ERR_OK);
    listener_set_user(p->l, &acceptor, p);
    p->addr = *listener_addr(p->l);
}

static void teardown(struct probe *p)
{
    if (p->l != NULL)
        listener_close(p->l);
    for (size_t i = 0; i < p->n_accepted; i++) {
        if (p->accepted[i] != NULL)
            conn_close(p->accepted[i]);
    }
    if (p->client != NULL)
        conn_close(p->client);
    world_timer_cancel(p->w, &p->later);
    io_world_del(&p->io);
    struct netaddr a = {0};
    unix_addr(p, "sock", &a);
    (void)unlink(a.path);
    (void)rmdir(p->dir);
}

/* A pair of connected ends: p->client and p->accepted[0]. */
static void connect_pair(struct probe *p, const char *at)
{
    struct netaddr a;
    setup(p);
    if (at == NULL)
        unix_addr(p, "sock", &a);
    else
        a = addr(at);
    listen_at(p, &a);
    assert_non_null(world_connect(p->w, &p->addr, NULL, world_now_ms(p->w) + 60000, on_connected, p));
    assert_int_equal(p->n_connected, 0); /* not within the call */
    io_run(p->io);
    assert_int_equal(p->connect_err, ERR_OK);
    if (p->n_accepted == 0) {
        p->stop_at = 1;
        io_run(p->io);
    }
}

static void talks(struct probe *p)
{
    static const struct str pieces[] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    struct conn *server = p->accepted[0];
    char in[16];
    size_t n;
    assert_int_equal(conn_read(server, in, sizeof in, &n), ERR_AGAIN);
    assert_int_equal(conn_write(p->client, pieces, 3, &n), ERR_OK);
    assert_int_equal(n, 5);
    conn_set_user(server, &reader, p);
    conn_want(server, CONN_READABLE);
    p->stop_on_ready = true;
    io_run(p->io);
    assert_int_equal(p->ready, CONN_READABLE);
    assert_int_equal(conn_read(server, in, 2, &n), ERR_OK);
    assert_memory_equal(in, "ab", 2);
    assert_int_equal(conn_read(server, in, sizeof in, &n), ERR_OK);
    assert_int_equal(n, 3);
    conn_shutdown_write(p->client);
    io_run(p->io);
    assert_int_equal(conn_read(server, in, sizeof in, &n), ERR_CLOSED);
    assert_int_equal(conn_write(server, pieces, 1, &n), ERR_OK); /* the other way is still open */
    conn_want(server, 0);
    conn_set_user(p->client, &reader, p);
    conn_want(p->client, CONN_READABLE);
    io_run(p->io);
    assert_int_equal(conn_read(p->client, in, sizeof in, &n), ERR_OK);
    assert_int_equal(n, 2);
}

static void tcp4(void **state)
{
    UNUSED(state);
    struct probe p;
    connect_pair(&p, "127.0.0.1:0");
    assert_true(netaddr_eq(conn_peer(p.client), &p.addr));
    assert_true(netaddr_eq(conn_local(p.accepted[0]), &p.addr));
    assert_true(netaddr_eq(conn_peer(p.accepted[0]), conn_local(p.client)));
    assert_ptr_equal(conn_peer(p.client), conn_peer(p.client)); /* stays valid */
    uint32_t uid;
    assert_false(conn_peer_uid(p.client, &uid));
    int on = 0;
    socklen_t n = sizeof on;
    assert_int_equal(getsockopt(p.accepted[0]->source.fd, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
    assert_int_not_equal(on, 0);
    talks(&p);
    teardown(&p);
}

static bool has_ip6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_storage ss;
    struct netaddr a = {.kind = NETADDR_IP6, .ip = {[15] = 1}};
    socklen_t n = sockaddr_of(&a, &ss);
    bool works = fd != -1 && bind(fd, (struct sockaddr *)(void *)&ss, n) == 0;
    if (fd != -1)
        (void)close(fd);
    return works;
}

static void tcp6(void **state)
{
    UNUSED(state);
    struct probe p;
    connect_pair(&p, "[::1]:0");
    assert_true(netaddr_eq(conn_peer(p.client), &p.addr));
    assert_int_equal(conn_peer(p.accepted[0])->kind, NETADDR_IP6);
    talks(&p);
    teardown(&p);
}

static void unix_socket(void **state)
{
    UNUSED(state);
    struct probe p;
    connect_pair(&p, NULL);
    uint32_t uid;
    assert_true(conn_peer_uid(p.accepted[0], &uid));
    assert_int_equal(uid, getuid());
    assert_int_equal(conn_peer(p.client)->kind, NETADDR_UNIX);
    assert_string_equal(conn_peer(p.client)->path, p.addr.path);
    talks(&p);
    teardown(&p);
}

static void unix_listener_has_its_mode(void **state)
{
    UNUSED(state);
    static const unsigned modes[] = {0600, 0660, 0666};
    mode_t before = umask(0077);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct probe p;
        struct netaddr a;
        struct stat st;
        setup(&p);
        unix_addr(&p, "sock", &a);
        assert_int_equal(world_listen(p.w, &a, modes[i], &p.l), ERR_OK);
        assert_int_equal(lstat(a.path, &st), 0);
        assert_int_equal(st.st_mode & 0777, modes[i]);
        teardown(&p);
    }
    assert_int_equal(umask(before), 0077);
}

static void unix_listener_replaces_only_stale(void **state)
{
    UNUSED(state);
    struct probe p;
    struct netaddr a;
    struct listener *second;
    struct stat st;
    setup(&p);
    unix_addr(&p, "sock", &a);
    listen_at(&p, &a);
    assert_int_equal(world_listen(p.w, &a, 0600, &second), ERR_EXISTS);
    assert_null(second);
    listener_close(p.l);
    p.l = NULL;
    assert_int_equal(lstat(a.path, &st), 0); /* it stays behind */
    listen_at(&p, &a);
    listener_close(p.l);
    p.l = NULL;
    assert_int_equal(unlink(a.path), 0);
    int fd = open(a.path, O_CREAT | O_WRONLY, 0600);
    assert_int_not_equal(fd, -1);
    (void)close(fd);
    assert_int_equal(world_listen(p.w, &a, 0600, &second), ERR_EXISTS); /* a file is never removed */
    assert_int_equal(lstat(a.path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    teardown(&p);
}

static void listen_fails(void **state)
{
    UNUSED(state);
    struct probe p;
    struct netaddr a = addr("127.0.0.1:0");
    struct listener *second;
    setup(&p);
    listen_at(&p, &a);
    assert_int_equal(world_listen(p.w, &p.addr, 0, &second), ERR_EXISTS);
    a = addr("192.0.2.1:0");
    assert_int_equal(world_listen(p.w, &a, 0, &second), ERR_UNREACHABLE);
    a = addr("/nonexistent/folder/sock");
    assert_int_equal(world_listen(p.w, &a, 0, &second), ERR_NOTFOUND);
    teardown(&p);
}

static void accepts_a_rush(void **state)
{
    UNUSED(state);
    struct probe p;
    struct netaddr a = addr("127.0.0.1:0");
    struct sockaddr_storage ss;
    int fds[100];
    setup(&p);
    listen_at(&p, &a);
    socklen_t n = sockaddr_of(&p.addr, &ss);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)(void *)&ss, n), 0);
    }
    p.stop_at = 10;
    io_run(p.io);
    listener_set_user(p.l, NULL, NULL); /* enough for now */
    size_t got = p.n_accepted;
    assert_true(got >= 10 && got < 10 + IO_ACCEPTS_A_TURN);
    run_idle(&p);
    assert_int_equal(p.n_accepted, got);
    listener_set_user(p.l, &acceptor, &p);
    p.stop_at = ARRAY_LEN(fds);
    io_run(p.io);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
    teardown(&p);
}

/* Out of descriptors: it rests and goes on, without an accept lost. */
static void survives_want_of_descriptors(void **state)
{
    UNUSED(state);
    struct probe p;
    struct netaddr a = addr("127.0.0.1:0");
    struct sockaddr_storage ss;
    struct rlimit old, tight;
    setup(&p);
    listen_at(&p, &a);
    socklen_t n = sockaddr_of(&p.addr, &ss);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&ss, n), 0);
    int top = fcntl(fd, F_DUPFD, 0);
    (void)close(top);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = (struct rlimit){(rlim_t)top, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    run_idle(&p);
    assert_int_equal(p.n_accepted, 0);
    assert_true(p.l->retry.is_set);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    p.stop_at = 1;
    io_run(p.io);
    assert_int_equal(p.n_accepted, 1);
    (void)close(fd);
    teardown(&p);
}

static void connect_fails(void **state)
{
    UNUSED(state);
    static const struct {
        const char *to, *from;
        enum err err;
    } rows[] = {
        {"127.0.0.1:1", NULL, ERR_REFUSED},
        {"/nonexistent/sock", NULL, ERR_NOTFOUND},
        {"127.0.0.1:1", "::1", ERR_UNREACHABLE},
        {"127.0.0.1:1", "192.0.2.1", ERR_UNREACHABLE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe p;
        struct netaddr to = addr(rows[i].to), from = {0};
        setup(&p);
        if (rows[i].from != NULL)
            from = addr(rows[i].from);
        assert_non_null(world_connect(p.w, &to, rows[i].from == NULL ? NULL : &from,
                                      world_now_ms(p.w) + 60000, on_connected, &p));
        assert_int_equal(p.n_connected, 0);
        io_run(p.io);
        assert_int_equal(p.connect_err, rows[i].err);
        run_idle(&p);
        assert_int_equal(p.n_connected, 1);
        teardown(&p);
    }
}

static void connects_from_an_address(void **state)
{
    UNUSED(state);
    struct probe p;
    struct netaddr at = addr("127.0.0.1:0"), from = addr("127.0.0.2:0");
    setup(&p);
    listen_at(&p, &at);
    assert_non_null(world_connect(p.w, &p.addr, &from, world_now_ms(p.w) + 60000, on_connected, &p));
    io_run(p.io);
    assert_int_equal(p.connect_err, ERR_OK);
    assert_true(netaddr_same_ip(conn_local(p.client), &from));
    teardown(&p);
}

/* A listener whose queue is full does not answer: the deadline ends it. */
static void connect_has_a_deadline(void **state)
{
    UNUSED(state);
    struct probe p;
    struct netaddr at = addr("127.0.0.1:0");
    struct sockaddr_storage ss;
    int fill[8];
    setup(&p);
    socklen_t n = sockaddr_of(&at, &ss);
    int full = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(full, (struct sockaddr *)(void *)&ss, n), 0);
    assert_int_equal(listen(full, 0), 0);
    n = sizeof ss;
    assert_int_equal(getsockname(full, (struct sockaddr *)(void *)&ss, &n), 0);
    sockaddr_to_netaddr(&ss, n, &at);
    for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fill[i], (struct sockaddr *)(void *)&ss, n);
    }
    assert_non_null(world_connect(p.w, &at, NULL, world_now_ms(p.w) + 5, on_connected, &p));
    io_run(p.io);
    assert_int_equal(p.connect_err, ERR_TIMEOUT);
    struct connecting *c = world_connect(p.w, &at, NULL, world_now_ms(p.w) + 1, on_connected, &p);
    assert_non_null(c);
    connecting_cancel(c);
    struct netaddr refused = addr("127.0.0.1:1");
    c = world_connect(p.w, &refused, NULL, world_now_ms(p.w) + 1, on_connected, &p);
    assert_non_null(c);
    connecting_cancel(c); /* also when the outcome is known already */
    run_idle(&p);
    assert_int_equal(p.n_connected, 1);
    for (size_t i = 0; i < ARRAY_LEN(fill); i++)
        (void)close(fill[i]);
    (void)close(full);
    teardown(&p);
}

static void tells_only_what_is_wanted(void **state)
{
    UNUSED(state);
    struct probe p;
    size_t n;
    struct str x = {"x", 1};
    connect_pair(&p, "127.0.0.1:0");
    struct conn *server = p.accepted[0];
    conn_set_user(server, &reader, &p);
    conn_want(server, CONN_READABLE);
    assert_int_equal(conn_write(p.client, &x, 1, &n), ERR_OK);
    p.stop_on_ready = true;
    io_run(p.io);
    assert_int_equal(p.n_ready, 1);
    conn_want(server, 0);
    run_idle(&p); /* the byte is still there */
    assert_int_equal(p.n_ready, 1);
    conn_want(server, CONN_WRITABLE);
    io_run(p.io);
    assert_int_equal(p.n_ready, 2);
    assert_int_equal(p.ready, CONN_WRITABLE);
    conn_want(server, CONN_READABLE | CONN_WRITABLE);
    conn_want(server, 0);
    conn_want(server, CONN_READABLE);
    io_run(p.io);
    assert_int_equal(p.n_ready, 3);
    assert_int_equal(p.ready, CONN_READABLE);
    teardown(&p);
}

/* A reset shows to a reader, and is neither told nor a busy loop for one who wants nothing. */
static void tells_a_reset(void **state)
{
    UNUSED(state);
    struct probe p;
    char in[4];
    size_t n;
    static const struct linger hard = {1, 0};
    connect_pair(&p, "127.0.0.1:0");
    struct conn *server = p.accepted[0];
    conn_set_user(server, &reader, &p);
    assert_int_equal(setsockopt(p.client->source.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    conn_close(p.client);
    p.client = NULL;
    run_idle(&p);
    assert_int_equal(p.n_ready, 0);
    assert_false(server->source.registered);
    conn_want(server, CONN_READABLE);
    p.stop_on_ready = true;
    io_run(p.io);
    assert_int_equal(p.ready, CONN_READABLE);
    assert_int_equal(conn_read(server, in, sizeof in, &n), ERR_RESET);
    struct str x = {"x", 1};
    assert_int_equal(conn_write(server, &x, 1, &n), ERR_RESET); /* and no SIGPIPE */
    teardown(&p);
}

static void pipe_fills_and_drains(void **state)
{
    UNUSED(state);
    struct probe p;
    struct conn *r, *w;
    char *block = mem_must_alloc(4096);
    struct str s = {block, 4096};
    size_t n, written = 0, got = 0;
    setup(&p);
    assert_int_equal(world_pipe(p.w, &r, &w), ERR_OK);
    assert_int_equal(conn_peer(r)->kind, NETADDR_NONE);
    uint32_t uid;
    assert_false(conn_peer_uid(r, &uid));
    enum err err;
    while ((err = conn_write(w, &s, 1, &n)) == ERR_OK)
        written += n;
    assert_int_equal(err, ERR_AGAIN);
    conn_set_user(w, &reader, &p);
    conn_want(w, CONN_WRITABLE);
    run_idle(&p);
    assert_int_equal(p.n_ready, 0);
    while (got < written) {
        assert_int_equal(conn_read(r, block, 4096, &n), ERR_OK);
        got += n;
    }
    assert_int_equal(got, written);
    p.stop_on_ready = true;
    io_run(p.io);
    assert_int_equal(p.ready, CONN_WRITABLE);
    conn_close(r);
    assert_int_equal(conn_write(w, &s, 1, &n), ERR_RESET);
    io_run(p.io); /* the writer is told that nobody reads */
    conn_close(w);
    mem_free(block);
    teardown(&p);
}

static void on_ready_close(void *arg, struct conn *c, unsigned ready)
{
    struct probe *p = arg;
    UNUSED(ready);
    p->n_ready++;
    for (size_t i = 0; i < 2; i++) { /* both had an event in this turn */
        conn_close(p->accepted[i]);
        p->accepted[i] = NULL;
    }
    assert_true(c->source.closed); /* still ours to the end of the turn */
    io_stop(p->io);
}

static void closed_conns_get_no_event(void **state)
{
    UNUSED(state);
    static const struct conn_user closer = {on_ready_close};
    struct probe p;
    struct conn *w[2];
    struct str x = {"x", 1};
    size_t n;
    setup(&p);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(world_pipe(p.w, &p.accepted[i], &w[i]), ERR_OK);
        conn_set_user(p.accepted[i], &closer, &p);
        conn_want(p.accepted[i], CONN_READABLE);
        assert_int_equal(conn_write(w[i], &x, 1, &n), ERR_OK);
    }
    p.n_accepted = 2;
    io_run(p.io);
    run_idle(&p);
    assert_int_equal(p.n_ready, 1);
    conn_close(w[0]);
    conn_close(w[1]);
    teardown(&p);
}

static void adopts_only_streams(void **state)
{
    UNUSED(state);
    struct probe p;
    int pair[2], dgram = socket(AF_INET, SOCK_DGRAM, 0), file = open("/dev/null", O_RDWR);
    struct netaddr a = addr("127.0.0.1:0");
    setup(&p);
    listen_at(&p, &a);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_null(io_adopt_conn(p.io, dgram));
    assert_null(io_adopt_conn(p.io, file));
    assert_null(io_adopt_conn(p.io, -1));
    assert_null(io_adopt_conn(p.io, p.l->source.fd));
    assert_null(io_adopt_listener(p.io, pair[0]));
    assert_null(io_adopt_listener(p.io, dgram));
    assert_null(io_adopt_channel(p.io, pair[0]));
    p.client = io_adopt_conn(p.io, pair[0]);
    assert_non_null(p.client);
    assert_true(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(pair[0], F_GETFD) & FD_CLOEXEC);
    (void)close(pair[1]);
    (void)close(dgram);
    (void)close(file);
    teardown(&p);
}

int main(void)
{
    /* what this machine or build can't show is not in the list, so the count says what was shown */
    struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp4),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(unix_listener_has_its_mode),
        cmocka_unit_test(unix_listener_replaces_only_stale),
        cmocka_unit_test(listen_fails),
        cmocka_unit_test(accepts_a_rush),
        cmocka_unit_test(survives_want_of_descriptors),
        cmocka_unit_test(connect_fails),
        cmocka_unit_test(connects_from_an_address),
        cmocka_unit_test(connect_has_a_deadline),
        cmocka_unit_test(tells_only_what_is_wanted),
        cmocka_unit_test(tells_a_reset),
        cmocka_unit_test(pipe_fills_and_drains),
        cmocka_unit_test(closed_conns_get_no_event),
        cmocka_unit_test(adopts_only_streams),
        {0},
    };
    size_t n = ARRAY_LEN(tests) - 1;
    if (has_ip6())
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(tcp6);
    return _cmocka_run_group_tests("conn", tests, n, NULL, NULL);
}
