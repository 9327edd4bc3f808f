/* tests/sim/world_test.c: the simulated world itself keeps the promises of base/world.h and of a kernel:
 * order, bounds, ends, resets, deaths, clocks; and it is a function of its seed.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "sim/sim_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { STREAM_SIZE = 300 * 1000, FRAMES = 3000 };

/* What the scenes below note; one a test. */
struct scene {
    struct sim *sim;
    struct sim_host *a, *b;
    struct sim_proc *pa, *pb;
    struct world *wa;
    struct channel *channel;
    struct conn *conn, *theirs;
    unsigned n_sent, n_received, n_room, n_again, n_closed;
    size_t written, read;
    bool saw_end, is_closing;
    enum err err;
    unsigned n_exits;
    char how[48];
    uint64_t at_us;
    size_t read_limit; /* bytes; then it stops reading */
    struct timer timer;
};

static struct scene *scene_new(uint64_t seed)
{
    struct scene *s = mem_must_new(struct scene);
    s->sim = sim_new(seed);
    s->a = sim_host_new(s->sim, "a", "10.0.0.1");
    s->b = sim_host_new(s->sim, "b", "10.0.0.2");
    s->read_limit = SIZE_MAX;
    return s;
}

static uint64_t scene_del(struct scene *s)
{
    uint64_t hash = sim_trace_hash(s->sim);
    sim_del(&s->sim);
    mem_free(s);
    return hash;
}

/* ---- channels between a parent and its child ---- */

static void on_count(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct scene *s = arg;
    UNUSED(c);
    assert_null(given);
    assert_int_equal(type, 7);
    assert_int_equal(payload.n, 1000);
    assert_int_equal(get_u32_at(payload.p), s->n_received); /* in order, none missing */
    s->n_received++;
}

static void no_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    UNUSED(arg);
    UNUSED(c);
    UNUSED(type);
    UNUSED(payload);
    UNUSED(given);
}

static void no_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_end(void *arg, struct channel *c)
{
    struct scene *s = arg;
    s->n_closed++;
    channel_close(c);
    if (s->channel == c)
        s->channel = NULL;
}

static void send_more(struct scene *s)
{
    char mem[1000] = {0};
    while (s->n_sent < FRAMES) {
        put_u32_at(mem, s->n_sent);
        enum err e = channel_send(s->channel, 7, str_of(mem, sizeof mem), NULL);
        if (e == ERR_AGAIN) {
            s->n_again++;
            assert_true(channel_backlog(s->channel) <= IPC_QUEUE_MAX);
            return;
        }
        assert_int_equal(e, ERR_OK);
        s->n_sent++;
    }
}

static void on_room(void *arg, struct channel *c)
{
    struct scene *s = arg;
    UNUSED(c);
    s->n_room++;
    send_more(s);
}

static const struct channel_user counting = {on_count, no_room, on_end};
static const struct channel_user sending = {no_message, on_room, on_end};

static void unpause(struct timer *t)
{
    struct scene *s = container_of(t, struct scene, timer);
    channel_pause(s->channel, false);
}

static void child_main(void *arg, struct world *w, const char *role, unsigned index, const char *root,
                       struct channel *super)
{
    struct scene *s = arg;
    UNUSED(w);
    assert_string_equal(role, "child");
    assert_int_equal(index, 3);
    assert_string_equal(root, "/somewhere");
    s->pb = sim_proc_of(w);
    channel_set_user(super, &counting, s);
    s->channel = super;
    channel_pause(super, true); /* for a second: the sender fills up */
    s->timer.fire = unpause;
    world_timer_set(w, &s->timer, world_now_ms(w) + 1000);
}

static void on_exit_child(void *arg, bool clean, struct str how)
{
    struct scene *s = arg;
    assert_false(clean);
    s->n_exits++;
    assert_true(str_to_c(how, s->how, sizeof s->how));
}

struct parent {
    struct scene sending; /* its view of the channel */
    struct scene *child;
};

static void parent_main(struct world *w, void *arg)
{
    struct parent *p = arg;
    struct spawn spec = {
        .role = "child", .index = 3, .uid = UINT32_MAX, .gid = UINT32_MAX, .root = "/somewhere"};
    struct child *child;
    assert_int_equal(world_spawn(w, &spec, on_exit_child, p->child, &p->sending.channel, &child), ERR_OK);
    channel_set_user(p->sending.channel, &sending, &p->sending);
    send_more(&p->sending);
}

static void test_channel(void **state)
{
    UNUSED(state);
    struct scene *s = scene_new(1);
    struct parent p = {.child = s};
    sim_host_set_program(s->a, &(const struct sim_program){.main = child_main, .arg = s});
    s->pa = sim_proc_new(s->a, "parent", parent_main, NULL, &p);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S / 2);
    assert_int_equal(s->n_received, 0);
    assert_true(p.sending.n_again > 0 && p.sending.n_sent < FRAMES); /* bounded */
    sim_run_until(s->sim, sim_now_us(s->sim) + 5 * SIM_S);
    assert_int_equal(s->n_received, FRAMES);
    assert_true(p.sending.n_room > 0);
    sim_proc_kill(s->pb, "signal 9");
    s->channel = NULL;
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    assert_int_equal(s->n_exits, 1);
    assert_string_equal(s->how, "signal 9");
    assert_int_equal(p.sending.n_closed, 1);
    (void)scene_del(s);
}

/* ---- connections ---- */

static char octet_at(size_t i)
{
    return (char)(i * 7 + i / 251);
}

static void on_readable(void *arg, struct conn *c, unsigned ready)
{
    struct scene *s = arg;
    char mem[5000];
    UNUSED(ready);
    while (s->read < s->read_limit) {
        size_t n;
        s->err = conn_read(c, mem, sizeof mem, &n);
        if (s->err == ERR_AGAIN)
            return;
        if (s->err != ERR_OK) {
            s->saw_end = true;
            s->at_us = sim_now_us(s->sim);
            conn_close(c);
            s->theirs = NULL;
            return;
        }
        for (size_t i = 0; i < n; i++)
            assert_int_equal(mem[i], octet_at(s->read + i));
        s->read += n;
    }
    conn_want(c, 0);
}

static const struct conn_user reader = {on_readable};

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    struct scene *s = arg;
    UNUSED(l);
    assert_true(netaddr_same_ip(conn_peer(c), sim_host_addr(s->a)));
    assert_int_equal(conn_local(c)->port, 25);
    s->theirs = c;
    conn_set_user(c, &reader, s);
    conn_want(c, CONN_READABLE);
}

static const struct listener_user accepting = {on_accept};

static void server_main(struct world *w, void *arg)
{
    struct scene *s = arg;
    struct listener *l, *again;
    struct netaddr at = *sim_host_addr(s->b);
    at.port = 25;
    assert_int_equal(world_listen(w, &at, 0, &l), ERR_OK);
    assert_int_equal(world_listen(w, &at, 0, &again), ERR_EXISTS);
    listener_set_user(l, &accepting, s);
}

static void on_writable(void *arg, struct conn *c, unsigned ready)
{
    struct scene *s = arg;
    char mem[9000];
    if ((ready & CONN_READABLE) != 0) {
        size_t n;
        s->err = conn_read(c, mem, sizeof mem, &n);
        if (s->err != ERR_AGAIN) {
            s->at_us = sim_now_us(s->sim);
            conn_close(c);
            s->conn = NULL;
            return;
        }
    }
    while (s->written < STREAM_SIZE) {
        size_t n = STREAM_SIZE - s->written < sizeof mem ? STREAM_SIZE - s->written : sizeof mem;
        for (size_t i = 0; i < n; i++)
            mem[i] = octet_at(s->written + i);
        const struct str pieces[] = {{mem, n / 3}, {mem + n / 3, n - n / 3}};
        enum err e = conn_write(c, pieces, 2, &n);
        if (e == ERR_AGAIN)
            return;
        s->err = e;
        if (e != ERR_OK) {
            s->at_us = sim_now_us(s->sim);
            conn_close(c);
            s->conn = NULL;
            return;
        }
        assert_true(n > 0);
        s->written += n;
    }
    conn_want(c, CONN_READABLE);
    if (s->is_closing)
        conn_shutdown_write(c);
}

static const struct conn_user writer = {on_writable};

static void on_connected(void *arg, enum err err, struct conn *c)
{
    struct scene *s = arg;
    s->err = err;
    s->at_us = sim_now_us(s->sim);
    assert_int_equal(c != NULL, err == ERR_OK);
    if (c == NULL)
        return;
    assert_int_equal(conn_peer(c)->port, 25);
    s->conn = c;
    conn_set_user(c, &writer, s);
    conn_want(c, CONN_READABLE | CONN_WRITABLE);
}

static void client_main(struct world *w, void *arg)
{
    struct scene *s = arg;
    struct netaddr to = *sim_host_addr(s->b);
    to.port = 25;
    s->wa = w;
    struct connecting *k = world_connect(w, &to, NULL, world_now_ms(w) + 30000, on_connected, s);
    assert_non_null(k);
}

static void test_stream(void **state)
{
    UNUSED(state);
    uint64_t first = 0;
    for (unsigned round = 0; round < 3; round++) { /* the last one with another seed */
        struct scene *s = scene_new(round < 2 ? 5 : 6);
        sim_plan(s->sim)->split_ppm = 300000;
        sim_plan(s->sim)->loss_ppm = 20000;
        s->is_closing = true;
        s->pb = sim_proc_new(s->b, "server", server_main, NULL, s);
        sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
        s->pa = sim_proc_new(s->a, "client", client_main, NULL, s);
        sim_run_until(s->sim, sim_now_us(s->sim) + SIM_HOUR);
        assert_int_equal(s->read, STREAM_SIZE);
        assert_true(s->saw_end);
        uint64_t hash = scene_del(s);
        if (round == 0)
            first = hash;
        else
            assert_int_equal(hash == first, round == 1);
    }
}

static struct scene *two_talking(uint64_t seed)
{
    struct scene *s = scene_new(seed);
    s->pb = sim_proc_new(s->b, "server", server_main, NULL, s);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    s->pa = sim_proc_new(s->a, "client", client_main, NULL, s);
    return s;
}

static void test_bounded(void **state)
{
    UNUSED(state);
    struct scene *s = two_talking(1);
    s->read_limit = 0;
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
    assert_int_equal(s->written, 64 * 1024);
    (void)scene_del(s);
}

static void test_refused_and_timed_out(void **state)
{
    UNUSED(state);
    struct scene *s = scene_new(1);
    s->pa = sim_proc_new(s->a, "client", client_main, NULL, s);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    assert_int_equal(s->err, ERR_REFUSED);
    sim_host_power_cut(s->b);
    uint64_t from_us = sim_now_us(s->sim);
    s->pa = sim_proc_new(s->a, "client", client_main, NULL, s);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
    assert_int_equal(s->err, ERR_TIMEOUT);
    assert_in_range(s->at_us - from_us, 30 * SIM_S, 31 * SIM_S);
    (void)scene_del(s);
}

/* The kernel closes what a process had, so its peer hears of it. */
static void test_peer_killed(void **state)
{
    UNUSED(state);
    struct scene *s = two_talking(2);
    s->read_limit = 1000;
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    sim_proc_kill(s->pb, "signal 9");
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    assert_null(s->conn);
    assert_int_equal(s->err, ERR_RESET); /* what was sent was not read */
    (void)scene_del(s);
}

/* A host without power says nothing; back up, it knows of nothing. */
static void test_peer_loses_power(void **state)
{
    UNUSED(state);
    struct scene *s = two_talking(3);
    s->read_limit = 1000;
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    assert_non_null(s->conn);
    sim_host_power_cut(s->b);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
    assert_non_null(s->conn);
    sim_host_power_on(s->b);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
    assert_null(s->conn);
    assert_int_equal(s->err, ERR_RESET);
    (void)scene_del(s);
}

static void test_partition(void **state)
{
    UNUSED(state);
    struct scene *s = two_talking(4);
    s->read_limit = 1000;
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    sim_net_block(s->sim, s->a, s->b, true);
    sim_run_until(s->sim, sim_now_us(s->sim) + 10 * SIM_MINUTE);
    assert_non_null(s->conn);
    assert_non_null(s->theirs);
    sim_net_block(s->sim, s->a, s->b, false);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
    assert_non_null(s->conn); /* it was only slow */
    (void)scene_del(s);
}

/* ---- clocks ---- */

struct clocks {
    uint64_t now_ms;
    int64_t wall_ms;
};

static void clock_main(struct world *w, void *arg)
{
    struct clocks *c = arg;
    *c = (struct clocks){world_now_ms(w), world_wall_ms(w)};
}

static struct clocks clocks_of(struct scene *s)
{
    struct clocks c = {0};
    (void)sim_proc_new(s->a, "clock", clock_main, NULL, &c);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    assert_true(c.now_ms > 0);
    return c;
}

static void test_clocks(void **state)
{
    UNUSED(state);
    struct scene *s = scene_new(1);
    struct clocks first = clocks_of(s);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_HOUR);
    sim_host_step_wall(s->a, -7200000);
    struct clocks stepped = clocks_of(s);
    assert_in_range(stepped.now_ms - first.now_ms, 3600000, 3602000);
    assert_in_range(first.wall_ms - stepped.wall_ms, 3598000, 3600000);
    sim_host_power_cut(s->a);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
    sim_host_power_on(s->a);
    struct clocks booted = clocks_of(s);
    assert_true(booted.now_ms < 1000);
    assert_true(booted.wall_ms > stepped.wall_ms);
    (void)scene_del(s);
}

/* ---- small files, read as a whole ---- */

struct shelf {
    struct disk *disk;
    struct disk_op op;
    struct disk_file *file;
    struct str piece;
    char mem[16];
    unsigned step;
};

/* Submits one operation after the other; what the one before gave is looked at in between. */
static void shelf_step(struct disk_op *done)
{
    struct shelf *f = container_of(done, struct shelf, op);
    struct disk_op last = *done, next = {.kind = DISK_READ_SMALL, .name = "small", .done = shelf_step};
    next.mem = f->mem;
    switch (f->step++) {
    case 0:
        next.kind = DISK_OPEN;
        next.create = DISK_CREATE_NEW;
        break;
    case 1:
        assert_int_equal(last.err, ERR_OK);
        f->file = next.file = last.file;
        f->piece = STR("0123456789");
        next.kind = DISK_WRITE;
        next.pieces = &f->piece;
        next.n_pieces = 1;
        break;
    case 2:
        assert_int_equal(last.err, ERR_OK);
        next.size = 10;
        break;
    case 3:
        assert_int_equal(last.err, ERR_OK);
        assert_true(last.about.is_regular && str_eq(str_of(f->mem, last.n_done), f->piece));
        next.size = 9;
        break;
    case 4:
        assert_int_equal(last.err, ERR_TOO_BIG);
        next.name = "none";
        break;
    case 5:
        assert_int_equal(last.err, ERR_NOTFOUND);
        next.kind = DISK_MKDIR;
        next.name = "folder";
        break;
    case 6:
        assert_int_equal(last.err, ERR_OK);
        next.name = "folder";
        break;
    default:
        assert_int_equal(last.err, ERR_OK);
        assert_true(!last.about.is_regular && last.n_done == 0);
        return;
    }
    f->op = next;
    disk_submit(f->disk, &f->op);
}

static void shelf_main(struct world *w, void *arg)
{
    struct shelf *f = arg;
    assert_int_equal(world_disk(w, ".", &f->disk), ERR_OK);
    shelf_step(&f->op);
}

static void test_small_files(void **state)
{
    UNUSED(state);
    struct scene *s = scene_new(11);
    struct shelf f = {.step = 0};
    (void)sim_proc_new(s->a, "shelf", shelf_main, NULL, &f);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    assert_int_equal(f.step, 8);
    (void)scene_del(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel),     cmocka_unit_test(test_stream),
        cmocka_unit_test(test_bounded),     cmocka_unit_test(test_refused_and_timed_out),
        cmocka_unit_test(test_peer_killed), cmocka_unit_test(test_peer_loses_power),
        cmocka_unit_test(test_partition),   cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_small_files),
    };
    return cmocka_run_group_tests_name("sim world", tests, NULL, NULL);
}
