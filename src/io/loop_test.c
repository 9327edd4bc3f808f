#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/world_io.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct log quiet = {.min = LOG_ERROR};

struct probe {
    struct io_world *io;
    struct world *w;
    struct timer timers[4];
    struct turn_hook hooks[3];
    char seen[64]; /* what ran, in order */
    size_t n;
    uint64_t now_ms;
    int fds[2];
    struct io_watch *watch;
};

static void setup(struct probe *p)
{
    memset(p, 0, sizeof *p);
    p->io = io_world_new(&quiet, NULL);
    assert_non_null(p->io);
    p->w = io_world_base(p->io);
}

static void note(struct probe *p, char c)
{
    must(p->n < sizeof p->seen - 1);
    p->seen[p->n++] = c;
}

/* ---- timers ---- */

static void fire(struct timer *t, size_t i)
{
    struct probe *p = container_of(t - i, struct probe, timers);
    assert_true(world_now_ms(p->w) >= t->node.key);
    assert_false(t->is_set);
    note(p, (char)('a' + i));
}

static void fire_a(struct timer *t)
{
    fire(t, 0);
}

static void fire_b(struct timer *t)
{
    fire(t, 1);
}

static void fire_c(struct timer *t)
{
    fire(t, 2);
}

static void fire_stop(struct timer *t)
{
    struct probe *p = container_of(t - 3, struct probe, timers);
    io_stop(p->io);
}

static void timers_fire_in_order(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    void (*const fns[])(struct timer *) = {fire_a, fire_b, fire_c, fire_stop};
    for (size_t i = 0; i < 4; i++)
        p.timers[i].fire = fns[i];
    uint64_t now = world_now_ms(p.w);
    assert_true(now > 0);
    world_timer_set(p.w, &p.timers[0], now + 3);
    world_timer_set(p.w, &p.timers[1], now + 1);
    world_timer_set(p.w, &p.timers[2], now + 2);
    world_timer_set(p.w, &p.timers[3], now + 4);
    io_run(p.io);
    assert_string_equal(p.seen, "bca");
    io_world_del(&p.io);
    assert_null(p.io);
}

static void timers_move_and_cancel(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    void (*const fns[])(struct timer *) = {fire_a, fire_b, fire_c, fire_stop};
    for (size_t i = 0; i < 4; i++)
        p.timers[i].fire = fns[i];
    uint64_t now = world_now_ms(p.w);
    world_timer_set(p.w, &p.timers[0], now + 1);
    world_timer_set(p.w, &p.timers[1], now + 1);
    world_timer_set(p.w, &p.timers[2], now + 1);
    world_timer_set(p.w, &p.timers[0], now + 3); /* behind b and c */
    world_timer_cancel(p.w, &p.timers[1]);
    world_timer_cancel(p.w, &p.timers[1]); /* harmless */
    world_timer_set(p.w, &p.timers[3], now + 4);
    io_run(p.io);
    assert_string_equal(p.seen, "ca");
    io_world_del(&p.io);
}

static void fire_again(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timers);
    note(p, 'x');
    if (p->n == 1)
        p->now_ms = world_now_ms(p->w);
    if (p->n < 10)
        world_timer_set(p->w, t, 1); /* long due */
    else
        io_stop(p->io);
}

static void note_hook(struct turn_hook *h)
{
    struct probe *p = container_of(h, struct probe, hooks);
    note(p, '.');
}

/* A timer that sets itself to the past fires in the next turn, not for ever in this one. */
static void timer_in_the_past_ends_a_turn(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    p.timers[0].fire = fire_again;
    p.hooks[0].run = note_hook;
    world_turn_end(p.w, &p.hooks[0]);
    world_timer_set(p.w, &p.timers[0], 1);
    io_run(p.io);
    assert_string_equal(p.seen, "x.x.x.x.x.x.");
    io_world_del(&p.io);
}

/* ---- hooks ---- */

static void run_a(struct turn_hook *h)
{
    struct probe *p = container_of(h, struct probe, hooks);
    note(p, 'a');
    list_remove(&p->hooks[1].link); /* the next one in line */
}

static void run_b(struct turn_hook *h)
{
    note(container_of(h - 1, struct probe, hooks), 'b');
}

static void run_c(struct turn_hook *h)
{
    struct probe *p = container_of(h - 2, struct probe, hooks);
    note(p, 'c');
    if (p->n > 4)
        io_stop(p->io);
    else
        world_timer_set(p->w, &p->timers[0], 1);
    list_remove(&h->link); /* itself, and in again */
    world_turn_end(p->w, h);
}

static void hooks_may_remove_each_other(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    void (*const fns[])(struct turn_hook *) = {run_a, run_b, run_c};
    for (size_t i = 0; i < 3; i++) {
        p.hooks[i].run = fns[i];
        world_turn_end(p.w, &p.hooks[i]);
    }
    p.timers[0].fire = fire_a;
    world_timer_set(p.w, &p.timers[0], 1);
    io_run(p.io);
    assert_string_equal(p.seen, "aacaac"); /* timer, hook a, hook c; twice */
    io_world_del(&p.io);
}

/* ---- descriptors, threads, signals ---- */

static void on_watch(void *arg, unsigned ready)
{
    struct probe *p = arg;
    char c;
    note(p, ready == CONN_READABLE ? 'r' : ready == CONN_WRITABLE ? 'w' : '?');
    if (p->n == 1) {
        assert_int_equal(read(p->fds[0], &c, 1), 1);
        (void)close(p->fds[1]);
        io_watch_want(p->watch, 0); /* its end must not spin, nor be told */
        world_timer_set(p->w, &p->timers[3], world_now_ms(p->w) + 2);
    } else if (p->n > 4) { /* level-triggered: told until somebody acts */
        io_stop(p->io);
    }
}

static void watches_a_descriptor(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    p.timers[3].fire = fire_stop;
    assert_int_equal(pipe(p.fds), 0);
    p.watch = io_watch_fd(p.io, p.fds[0], CONN_READABLE, on_watch, &p);
    assert_non_null(p.watch);
    assert_int_equal(write(p.fds[1], "x", 1), 1);
    io_run(p.io);
    assert_string_equal(p.seen, "r");
    io_watch_want(p.watch, CONN_READABLE); /* now the end shows */
    io_run(p.io);
    assert_string_equal(p.seen, "rrrrr");
    io_unwatch(p.watch);
    (void)close(p.fds[0]);
    io_world_del(&p.io);
}

struct pair { /* two sockets, ready to be written to at one moment */
    struct io_world *io;
    struct io_watch *watch[2];
    int fds[2][2];
    bool is_turned;
};

/* What comes first wants to read of the other one, for which an event of the same moment is on its way. */
static void on_pair(struct pair *p, unsigned which, unsigned ready)
{
    if (!p->is_turned) {
        assert_int_equal(ready, CONN_WRITABLE);
        p->is_turned = true;
        io_watch_want(p->watch[which], 0);
        io_watch_want(p->watch[1 - which], CONN_READABLE);
        assert_int_equal(write(p->fds[1 - which][1], "x", 1), 1);
        return;
    }
    assert_int_equal(ready, CONN_READABLE);
    io_stop(p->io);
}

static void on_first(void *arg, unsigned ready)
{
    on_pair(arg, 0, ready);
}

static void on_second(void *arg, unsigned ready)
{
    on_pair(arg, 1, ready);
}

static void an_event_of_before_ends_no_watch(void **state)
{
    struct pair p = {.is_turned = false};
    UNUSED(state);
    p.io = io_world_new(&quiet, NULL);
    assert_non_null(p.io);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p.fds[i]), 0);
        p.watch[i] = io_watch_fd(p.io, p.fds[i][0], CONN_WRITABLE, i == 0 ? on_first : on_second, &p);
        assert_non_null(p.watch[i]);
    }
    io_run(p.io); /* it would never end */
    for (unsigned i = 0; i < 2; i++) {
        io_unwatch(p.watch[i]);
        (void)close(p.fds[i][0]);
        (void)close(p.fds[i][1]);
    }
    io_world_del(&p.io);
}

struct poster {
    struct io_wake *wake;
    pthread_mutex_t lock;
    unsigned left, seen;
    struct io_world *io;
};

static void *post_many(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 0; i < 10000; i++) {
        (void)pthread_mutex_lock(&p->lock);
        p->left++;
        (void)pthread_mutex_unlock(&p->lock);
        io_wake_post(p->wake);
    }
    return NULL;
}

static void on_wake(void *arg)
{
    struct poster *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    p->seen += p->left;
    p->left = 0;
    (void)pthread_mutex_unlock(&p->lock);
    if (p->seen == 20000)
        io_stop(p->io);
}

/* Two threads; not one post may be lost, or this never ends. */
static void threads_wake_the_loop(void **state)
{
    UNUSED(state);
    struct probe p;
    struct poster poster = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[2];
    setup(&p);
    poster.io = p.io;
    poster.wake = io_wake_new(p.io, on_wake, &poster);
    assert_non_null(poster.wake);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &poster), 0);
    io_run(p.io);
    for (size_t i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(poster.seen, 20000);
    io_wake_del(poster.wake);
    io_world_del(&p.io);
}

static void on_signal(void *arg, int signo)
{
    struct probe *p = arg;
    note(p, signo == SIGUSR1 ? '1' : '2');
    if (p->n == 2)
        io_stop(p->io);
}

static void signals_come_as_events(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    assert_int_equal(io_on_signal(p.io, SIGUSR1, on_signal, &p), ERR_OK);
    assert_int_equal(io_on_signal(p.io, SIGUSR2, on_signal, &p), ERR_OK);
    assert_int_equal(io_on_signal(p.io, SIGUSR2, on_signal, &p), ERR_EXISTS);
    assert_int_equal(io_on_signal(p.io, 9999, on_signal, &p), ERR_INVALID);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(raise(SIGUSR2), 0);
    io_run(p.io);
    assert_string_equal(p.seen, "12");
    io_world_del(&p.io);
}

static void random_is_drawn(void **state)
{
    UNUSED(state);
    struct probe p;
    unsigned char a[32], b[32], big[4096] = {0};
    setup(&p);
    for (int i = 0; i < 100; i++) { /* over the pool's size */
        world_random(p.w, a, sizeof a);
        world_random(p.w, b, sizeof b);
        assert_memory_not_equal(a, b, sizeof a);
        assert_true(world_random_below(p.w, 7) < 7);
    }
    world_random(p.w, big, sizeof big);
    assert_memory_not_equal(big, big + 2048, 2048);
    io_world_del(&p.io);
}

static void wall_clock_is_this_century(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p);
    assert_true(world_wall_ms(p.w) > 1600000000000);
    assert_ptr_equal(world_log(p.w), &quiet);
    io_world_del(&p.io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order),
        cmocka_unit_test(timers_move_and_cancel),
        cmocka_unit_test(timer_in_the_past_ends_a_turn),
        cmocka_unit_test(hooks_may_remove_each_other),
        cmocka_unit_test(watches_a_descriptor),
        cmocka_unit_test(an_event_of_before_ends_no_watch),
        cmocka_unit_test(threads_wake_the_loop),
        cmocka_unit_test(signals_come_as_events),
        cmocka_unit_test(random_is_drawn),
        cmocka_unit_test(wall_clock_is_this_century),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
