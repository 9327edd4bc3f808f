#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/world_io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct log quiet = {.min = LOG_ERROR};

struct probe {
    struct io_world *io;
    struct world *w;
    struct channel *a, *b; /* messages go from a to b */
    struct timer later;
    struct turn_hook hook;
    struct buf seen;     /* types as letters, C for closed, R for room, | for the end of a turn */
    struct buf payloads; /* all that came */
    unsigned n_messages;
    unsigned stop_after;  /* messages, 0: never */
    unsigned pause_after; /* messages */
    bool close_on_message;
    void (*on_given)(struct probe *p, struct handle *h);
    struct conn *conn;
    struct channel *channel;
    struct listener *listener;
    struct blob blob;
};

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct probe *p = arg;
    assert_ptr_equal(c, p->b);
    buf_putc(&p->seen, (char)('a' + type % 26));
    buf_put(&p->payloads, payload);
    p->n_messages++;
    if (given != NULL && p->on_given != NULL)
        p->on_given(p, given);
    if (p->pause_after != 0 && p->n_messages % p->pause_after == 0)
        channel_pause(c, true);
    if (p->close_on_message) {
        channel_close(p->b);
        p->b = NULL;
    }
    if (p->n_messages == p->stop_after)
        io_stop(p->io);
}

static void on_room(void *arg, struct channel *c)
{
    struct probe *p = arg;
    assert_ptr_equal(c, p->a);
    buf_putc(&p->seen, 'R');
}

static void on_closed(void *arg, struct channel *c)
{
    struct probe *p = arg;
    buf_putc(&p->seen, c == p->b ? 'C' : 'A');
    io_stop(p->io);
}

static const struct channel_user user = {on_message, on_room, on_closed};

static void setup(struct probe *p)
{
    memset(p, 0, sizeof *p);
    p->io = io_world_new(&quiet, NULL);
    assert_non_null(p->io);
    p->w = io_world_base(p->io);
    buf_init(&p->seen, 1 << 20);
    buf_init(&p->payloads, 1 << 24);
    assert_int_equal(world_channel_pair(p->w, &p->a, &p->b), ERR_OK);
    channel_set_user(p->a, &user, p);
    channel_set_user(p->b, &user, p);
}

/* b becomes a raw socket that the test speaks on by itself. */
static int setup_raw(struct probe *p)
{
    int fds[2];
    setup(p);
    channel_close(p->a);
    channel_close(p->b);
    p->a = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    p->b = io_adopt_channel(p->io, fds[0]);
    assert_non_null(p->b);
    channel_set_user(p->b, &user, p);
    return fds[1];
}

static void teardown(struct probe *p)
{
    world_timer_cancel(p->w, &p->later);
    if (p->a != NULL)
        channel_close(p->a);
    if (p->b != NULL)
        channel_close(p->b);
    buf_fini(&p->seen);
    buf_fini(&p->payloads);
    io_world_del(&p->io);
}

static void expect_seen(struct probe *p, const char *want)
{
    buf_putc(&p->seen, '\0');
    assert_string_equal(p->seen.p, want);
    p->seen.n--;
}

static void fire_stop(struct timer *t)
{
    io_stop(container_of(t, struct probe, later)->io);
}

/* Runs until nothing happens for a while (enough turns for anything under way). */
static void run_idle(struct probe *p)
{
    p->later.fire = fire_stop;
    for (int i = 0; i < 4; i++) {
        world_timer_set(p->w, &p->later, 1);
        io_run(p->io);
    }
}

static size_t n_open_fds(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 512; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

static void carries_messages_in_order(void **state)
{
    UNUSED(state);
    struct probe p;
    struct buf want;
    char text[300];
    setup(&p);
    buf_init(&want, 1 << 24);
    for (unsigned i = 0; i < 1000; i++) {
        memset(text, (int)('0' + i % 10), sizeof text);
        struct str s = str_of(text, (size_t)i % sizeof text);
        assert_int_equal(channel_send(p.a, (uint16_t)i, s, NULL), ERR_OK);
        buf_put(&want, s);
    }
    assert_int_equal(p.n_messages, 0); /* nothing within the call */
    p.stop_after = 1000;
    io_run(p.io);
    assert_int_equal(p.payloads.n, want.n);
    assert_memory_equal(p.payloads.p, want.p, want.n);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(p.seen.p[i], 'a' + i % 26);
    assert_int_equal(channel_backlog(p.a), 0);
    buf_fini(&want);
    teardown(&p);
}

/* One turn is one packet, as one reader of the raw socket sees. */
static void packs_a_turn_into_a_packet(void **state)
{
    UNUSED(state);
    struct probe p;
    char in[256];
    int raw = setup_raw(&p);
    assert_int_equal(channel_send(p.b, 1, STR("one"), NULL), ERR_OK);
    assert_int_equal(channel_send(p.b, 0x203, STR(""), NULL), ERR_OK);
    assert_int_equal(channel_backlog(p.b), 8 + 3 + 8);
    run_idle(&p);
    static const char want[] = "\3\0\0\0\1\0\0\0one"
                               "\0\0\0\0\3\2\0\0";
    assert_int_equal(recv(raw, in, sizeof in, 0), sizeof want - 1);
    assert_memory_equal(in, want, sizeof want - 1);
    assert_int_equal(recv(raw, in, sizeof in, 0), -1);
    assert_int_equal(errno, EAGAIN);
    (void)close(raw);
    teardown(&p);
}

static void carries_the_largest(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    char *big = mem_must_alloc(IPC_FRAME_MAX);
    for (size_t i = 0; i < IPC_FRAME_MAX; i++)
        big[i] = (char)(i * 7);
    for (int i = 0; i < 4; i++)
        assert_int_equal(channel_send(p.a, 5, str_of(big, IPC_FRAME_MAX), NULL), ERR_OK);
    p.stop_after = 4;
    io_run(p.io);
    assert_int_equal(p.payloads.n, 4 * (size_t)IPC_FRAME_MAX);
    for (size_t i = 0; i < 4; i++)
        assert_memory_equal(p.payloads.p + i * IPC_FRAME_MAX, big, IPC_FRAME_MAX);
    mem_free(big);
    teardown(&p);
}

/* A paused reader fills the queue; the sender is refused, and told when there is room again; nothing is lost.
 */
static void is_full_and_has_room_again(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    char *block = mem_must_alloc(IPC_FRAME_MAX);
    unsigned sent = 0, stuck = 0;
    channel_pause(p.b, true);
    while (stuck < 2) {
        enum err err = channel_send(p.a, 0, str_of(block, IPC_FRAME_MAX), NULL);
        if (err == ERR_OK) {
            sent++;
            stuck = 0;
        } else {
            assert_int_equal(err, ERR_AGAIN);
            assert_true(channel_backlog(p.a) <= IPC_QUEUE_MAX);
            assert_true(channel_backlog(p.a) + IPC_FRAME_MAX + 8 > IPC_QUEUE_MAX);
            stuck++;
            run_idle(&p); /* what the socket takes leaves */
            while (p.seen.n > 0 && p.seen.p[p.seen.n - 1] == 'R') {
                p.seen.n--;
                stuck = 0;
            }
        }
    }
    assert_int_equal(p.n_messages, 0);
    p.stop_after = sent;
    channel_pause(p.b, false);
    io_run(p.io);
    run_idle(&p);
    assert_int_equal(p.payloads.n, (size_t)sent * IPC_FRAME_MAX);
    assert_true(memchr(p.seen.p, 'R', p.seen.n) != NULL);
    assert_int_equal(channel_backlog(p.a), 0);
    assert_int_equal(channel_send(p.a, 0, STR("x"), NULL), ERR_OK);
    mem_free(block);
    teardown(&p);
}

/* Paused within a packet: the rest of it waits, goes on, is paused again. */
static void pauses_within_a_packet(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(channel_send(p.a, (uint16_t)i, STR("x"), handle_of_blob(p.w, STR("y"))), ERR_OK);
    p.pause_after = 3;
    run_idle(&p);
    expect_seen(&p, "abc");
    channel_pause(p.b, false);
    expect_seen(&p, "abc");
    run_idle(&p);
    expect_seen(&p, "abcdef");
    p.pause_after = 0;
    channel_pause(p.b, false);
    assert_int_equal(channel_send(p.a, 7, STR("x"), NULL), ERR_OK);
    p.stop_after = 8;
    io_run(p.io);
    expect_seen(&p, "abcdefgh");
    teardown(&p);
}

/* The channel goes while frames and their descriptors are held: all are closed. */
static void closes_what_is_held(void **state)
{
    UNUSED(state);
    struct probe p;
    size_t before = n_open_fds();
    setup(&p);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(channel_send(p.a, (uint16_t)i, STR("x"), handle_of_blob(p.w, STR("y"))), ERR_OK);
    p.pause_after = 2;
    run_idle(&p);
    expect_seen(&p, "ab");
    assert_int_equal(channel_send(p.a, 9, STR("x"), handle_of_blob(p.w, STR("y"))), ERR_OK);
    teardown(&p);
    assert_int_equal(n_open_fds(), before);
}

static void closes_within_a_packet(void **state)
{
    UNUSED(state);
    struct probe p;
    size_t before = n_open_fds();
    setup(&p);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(channel_send(p.a, (uint16_t)i, STR("x"), handle_of_blob(p.w, STR("y"))), ERR_OK);
    p.close_on_message = true;
    run_idle(&p);
    expect_seen(&p, "aA");
    assert_int_equal(channel_send(p.a, 0, STR("x"), NULL), ERR_CLOSED);
    teardown(&p);
    assert_int_equal(n_open_fds(), before);
}

static void last_words_arrive(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    channel_pause(p.a, true);
    assert_int_equal(channel_send(p.b, 3, STR("never read"), NULL), ERR_OK);
    run_idle(&p);
    assert_int_equal(channel_send(p.a, 1, STR("x"), NULL), ERR_OK);
    assert_int_equal(channel_send(p.a, 2, STR("x"), NULL), ERR_OK);
    channel_close(p.a); /* leaves unread input behind: the other end is reset, and must read all the same */
    p.a = NULL;
    io_run(p.io);
    expect_seen(&p, "bcC");
    assert_int_equal(channel_send(p.b, 0, STR("x"), NULL), ERR_CLOSED);
    teardown(&p);
}

static void hang_up_on_a_paused_channel_waits(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    assert_int_equal(channel_send(p.a, 1, STR("x"), NULL), ERR_OK);
    channel_pause(p.b, true);
    run_idle(&p);
    channel_close(p.a);
    p.a = NULL;
    run_idle(&p);
    expect_seen(&p, "");
    channel_pause(p.b, false);
    io_run(p.io);
    expect_seen(&p, "bC");
    teardown(&p);
}

/* ---- handles ---- */

static void take_everything(struct probe *p, struct handle *h)
{
    if (p->conn == NULL)
        p->conn = handle_take_conn(p->w, h);
    if (p->channel == NULL)
        p->channel = handle_take_channel(p->w, h);
    if (p->listener == NULL)
        p->listener = handle_take_listener(p->w, h);
    if (p->blob.owner == NULL && !handle_take_blob(p->w, h, &p->blob))
        p->blob.owner = NULL;
}

static void passes_handles(void **state)
{
    UNUSED(state);
    struct probe p;
    struct conn *pipe_read, *pipe_write;
    struct channel *c, *d;
    struct listener *l;
    struct netaddr any;
    char in[8];
    size_t n;
    size_t before = n_open_fds();
    setup(&p);
    assert_true(netaddr_parse(STR("127.0.0.1:0"), 0, &any));
    assert_int_equal(world_pipe(p.w, &pipe_read, &pipe_write), ERR_OK);
    assert_int_equal(world_channel_pair(p.w, &c, &d), ERR_OK);
    assert_int_equal(world_listen(p.w, &any, 0, &l), ERR_OK);
    struct handle *once = handle_of_blob(p.w, STR("sealed"));
    struct handle *hs[] = {handle_of_conn(pipe_read), handle_of_channel(c), handle_of_listener(l),
                           handle_again(p.w, once), handle_of_blob(p.w, STR("nobody takes it"))};
    for (size_t i = 0; i < ARRAY_LEN(hs); i++)
        assert_int_equal(channel_send(p.a, (uint16_t)i, STR(""), hs[i]), ERR_OK);
    p.on_given = take_everything;
    p.stop_after = ARRAY_LEN(hs);
    io_run(p.io);

    assert_non_null(p.conn);
    struct str hello = STR("hello");
    assert_int_equal(conn_write(pipe_write, &hello, 1, &n), ERR_OK);
    assert_int_equal(conn_read(p.conn, in, sizeof in, &n), ERR_OK);
    assert_memory_equal(in, "hello", 5);
    conn_close(pipe_write);
    assert_int_equal(conn_read(p.conn, in, sizeof in, &n), ERR_CLOSED);
    conn_close(p.conn);

    assert_non_null(p.channel);
    channel_close(p.b);
    p.b = p.channel;
    channel_set_user(p.b, &user, &p);
    p.n_messages = 0;
    p.stop_after = 1;
    p.payloads.n = 0;
    assert_int_equal(channel_send(d, 0, STR("through"), NULL), ERR_OK);
    io_run(p.io);
    assert_memory_equal(p.payloads.p, "through", 7);
    channel_close(d);

    assert_non_null(p.listener);
    assert_true(netaddr_eq(listener_addr(l), listener_addr(p.listener)));
    assert_int_not_equal(listener_addr(l)->port, 0);
    listener_close(l);
    listener_close(p.listener);

    assert_true(str_eq(p.blob.bytes, STR("sealed")));
    blob_free(&p.blob);
    assert_true(handle_take_blob(p.w, once, &p.blob)); /* the first is still good */
    assert_true(str_eq(p.blob.bytes, STR("sealed")));
    blob_free(&p.blob);
    teardown(&p);
    assert_int_equal(n_open_fds(), before);
}

static void unwraps_its_own(void **state)
{
    UNUSED(state);
    struct probe p;
    struct conn *r, *w;
    struct blob blob;
    size_t before = n_open_fds();
    setup(&p);
    assert_int_equal(world_pipe(p.w, &r, &w), ERR_OK);
    struct handle *h = handle_of_conn(r);
    assert_null(handle_take_channel(p.w, h));
    assert_null(handle_take_listener(p.w, h));
    assert_false(handle_take_blob(p.w, h, &blob));
    assert_ptr_equal(handle_take_conn(p.w, h), r);
    handle_drop(handle_of_conn(w)); /* closes it */
    char c;
    size_t n;
    assert_int_equal(conn_read(r, &c, 1, &n), ERR_CLOSED);
    conn_close(r);
    h = handle_of_channel(p.a);
    assert_null(handle_take_conn(p.w, h));
    assert_ptr_equal(handle_take_channel(p.w, h), p.a);
    h = handle_of_blob(p.w, STR(""));
    assert_true(handle_take_blob(p.w, h, &blob));
    assert_int_equal(blob.bytes.n, 0);
    assert_non_null(blob.owner);
    blob_free(&blob);
    handle_drop(NULL);
    assert_null(handle_take_conn(p.w, NULL));
    teardown(&p);
    assert_int_equal(n_open_fds(), before);
}

static void bounds_handles(void **state)
{
    UNUSED(state);
    struct probe p;
    size_t before = n_open_fds();
    setup(&p);
    unsigned n = 0;
    struct handle *h = handle_of_blob(p.w, STR("x"));
    while (channel_send(p.a, 0, STR(""), h) == ERR_OK) {
        n++;
        h = handle_of_blob(p.w, STR("x"));
        assert_non_null(h);
        assert_true(n < 1000);
    }
    assert_true(n > 16); /* more than a packet's worth */
    handle_drop(h);
    p.stop_after = n;
    io_run(p.io);
    run_idle(&p);
    assert_int_equal(p.n_messages, n);
    assert_true(memchr(p.seen.p, 'R', p.seen.n) != NULL);
    teardown(&p);
    assert_int_equal(n_open_fds(), before);
}

/* ---- a hostile other end ---- */

static void send_raw(int fd, struct str bytes, const int *fds, size_t n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 32)];
    } control;
    union {
        const char *from;
        char *to;
    } u = {.from = bytes.p};
    struct iovec iov = {u.to, bytes.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        must(h != NULL);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(h), fds, sizeof(int) * n_fds);
    }
    assert_int_equal(sendmsg(fd, &msg, 0), (ssize_t)bytes.n);
}

struct bad_row {
    struct str bytes;
    size_t n_fds;
};

#define B(literal)                                                                                           \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

/* clang-format off */
static const struct bad_row bad_rows[] = {
    {B("\0"), 0},                                  /* half a head */
    {B("\0\0\0\0\1\0\0"), 0},
    {B("\1\0\0\0\1\0\0\0"), 0},                    /* no payload */
    {B("\2\0\0\0\1\0\0\0x"), 0},                   /* half of it */
    {B("\1\0\0\0\1\0\0\0x\0"), 0},                 /* something behind */
    {B("\377\377\377\377\1\0\0\0x"), 0},           /* lengths that wrap */
    {B("\1\0\2\0\1\0\0\0x"), 0},                   /* over the frame's maximum */
    {B("\0\0\0\0\1\0\5\0"), 1},                    /* unknown kinds */
    {B("\0\0\0\0\1\0\377\0"), 1},
    {B("\0\0\0\0\1\0\0\1"), 0},                    /* the zero is none */
    {B("\0\0\0\0\1\0\2\0"), 0},                    /* a handle is promised */
    {B("\0\0\0\0\1\0\2\0\0\0\0\0\1\0\2\0"), 1},    /* two are promised */
    {B("\0\0\0\0\1\0\0\0"), 1},                    /* one too many */
    {B("\0\0\0\0\1\0\2\0"), 2},
    {B("\0\0\0\0\1\0\2\0"), 17},                   /* more than fit */
    {B("\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0"), 0},      /* a good frame, then half a head: neither is delivered */
};
/* clang-format on */

static void refuses_malformed_packets(void **state)
{
    UNUSED(state);
    size_t before = n_open_fds();
    int fds[32];
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        struct probe p;
        int raw = setup_raw(&p);
        for (size_t k = 0; k < ARRAY_LEN(fds); k++)
            fds[k] = raw;
        send_raw(raw, bad_rows[i].bytes, fds, bad_rows[i].n_fds);
        io_run(p.io);
        if (p.seen.n != 1 || p.seen.p[0] != 'C')
            fail_msg("row %zu: %.*s", i, (int)p.seen.n, p.seen.p);
        run_idle(&p);
        assert_int_equal(p.seen.n, 1); /* told once */
        (void)close(raw);
        teardown(&p);
        assert_int_equal(n_open_fds(), before);
    }
}

static void refuses_an_oversized_packet(void **state)
{
    UNUSED(state);
    struct probe p;
    int raw = setup_raw(&p);
    char *big = mem_must_alloc(IPC_PACKET_MAX + 8);
    for (size_t at = 0; at < IPC_PACKET_MAX + 8; at += 8) /* all good frames */
        memcpy(big + at, "\0\0\0\0\1\0\0\0", 8);
    int size = 1 << 20;
    assert_int_equal(setsockopt(raw, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    send_raw(raw, str_of(big, IPC_PACKET_MAX + 8), NULL, 0);
    io_run(p.io);
    expect_seen(&p, "C");
    mem_free(big);
    (void)close(raw);
    teardown(&p);
}

/* The frame says one kind, the descriptor is another: no take function may hand it out. */
static void refuses_a_wrong_descriptor(void **state)
{
    UNUSED(state);
    static const char *const frames[] = {"\0\0\0\0\1\0\1\0", "\0\0\0\0\1\0\2\0", "\0\0\0\0\1\0\3\0",
                                         "\0\0\0\0\1\0\4\0"};
    size_t before = n_open_fds();
    for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
        struct probe p;
        int raw = setup_raw(&p);
        int file = i == 3 ? memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING) : open("/dev/null", O_RDWR);
        assert_int_not_equal(file, -1);
        send_raw(raw, str_of(frames[i], 8), &file, 1);
        (void)close(file);
        p.on_given = take_everything;
        p.stop_after = 1;
        io_run(p.io);
        assert_null(p.conn);
        assert_null(p.channel);
        assert_null(p.listener);
        assert_null(p.blob.owner);
        (void)close(raw);
        teardown(&p);
    }
    assert_int_equal(n_open_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_messages_in_order),
        cmocka_unit_test(packs_a_turn_into_a_packet),
        cmocka_unit_test(carries_the_largest),
        cmocka_unit_test(is_full_and_has_room_again),
        cmocka_unit_test(pauses_within_a_packet),
        cmocka_unit_test(closes_what_is_held),
        cmocka_unit_test(closes_within_a_packet),
        cmocka_unit_test(last_words_arrive),
        cmocka_unit_test(hang_up_on_a_paused_channel_waits),
        cmocka_unit_test(passes_handles),
        cmocka_unit_test(unwraps_its_own),
        cmocka_unit_test(bounds_handles),
        cmocka_unit_test(refuses_malformed_packets),
        cmocka_unit_test(refuses_an_oversized_packet),
        cmocka_unit_test(refuses_a_wrong_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
