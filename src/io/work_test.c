/* Works on threads of their own, told to the loop in its own time. */
#include "base/mem.h"
#include "io/world_io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

enum { WORKS = 200, THREADS = 3 };

struct fixture;
struct sum { /* the sum of the numbers up to n */
    struct compute work;
    struct fixture *f;
    uint64_t n, sum;
    bool was_beside; /* on another thread than the loop's */
    unsigned n_done;
};
struct fixture {
    struct log log;
    struct io_world *io;
    struct workers *workers;
    struct sum sums[WORKS];
    size_t n_done, n_wanted;
    pthread_t loop;
    atomic_int n_running, n_running_max;
    atomic_bool may_end;
};

static void on_log(void *arg, struct str line)
{
    UNUSED(arg);
    UNUSED(line);
}

static void start(struct fixture *f, unsigned n_threads)
{
    *f = (struct fixture){.log = {.min = LOG_ERROR, .write = on_log}, .loop = pthread_self()};
    f->io = io_world_new(&f->log, NULL);
    assert_non_null(f->io);
    assert_int_equal(world_workers(io_world_base(f->io), n_threads, &f->workers), ERR_OK);
}

static void run_sum(struct compute *k)
{
    struct sum *s = container_of(k, struct sum, work);
    for (uint64_t i = 1; i <= s->n; i++)
        s->sum += i;
    s->was_beside = !pthread_equal(pthread_self(), s->f->loop);
}

static void sum_done(struct compute *k)
{
    struct sum *s = container_of(k, struct sum, work);
    assert_true(pthread_equal(pthread_self(), s->f->loop));
    s->n_done++;
    if (++s->f->n_done == s->f->n_wanted)
        io_stop(s->f->io);
}

static void submit(struct fixture *f, size_t i)
{
    f->sums[i] = (struct sum){.work = {.run = run_sum, .done = sum_done}, .f = f, .n = i * 1000};
    workers_submit(f->workers, &f->sums[i].work);
    assert_int_equal(f->sums[i].n_done, 0); /* never within the call */
}

static void test_works(void **state)
{
    UNUSED(state);
    struct fixture f;
    start(&f, THREADS);
    f.n_wanted = WORKS;
    for (size_t i = 0; i < WORKS; i++)
        submit(&f, i);
    io_run(f.io);
    for (size_t i = 0; i < WORKS; i++) {
        uint64_t n = i * 1000;
        assert_int_equal(f.sums[i].sum, n * (n + 1) / 2);
        assert_int_equal(f.sums[i].n_done, 1);
        assert_true(f.sums[i].was_beside);
    }
    workers_close(f.workers);
    io_world_del(&f.io);
}

/* Each waits until all threads run one: so they do run beside each other, and beside the loop, whose timer
 * fires meanwhile. */
static void run_together(struct compute *k)
{
    struct sum *s = container_of(k, struct sum, work);
    atomic_fetch_add(&s->f->n_running, 1);
    while (atomic_load(&s->f->n_running) < THREADS || !atomic_load(&s->f->may_end))
        (void)sched_yield();
}

struct alarm {
    struct timer timer;
    struct fixture *f;
    bool has_fired;
};

static void on_alarm(struct timer *t)
{
    struct alarm *a = container_of(t, struct alarm, timer);
    a->has_fired = true;
    assert_int_equal(a->f->n_done, 0);
    atomic_store(&a->f->may_end, true);
}

static void test_beside(void **state)
{
    UNUSED(state);
    struct fixture f;
    start(&f, THREADS);
    struct world *w = io_world_base(f.io);
    struct alarm a = {.timer = {.fire = on_alarm}, .f = &f};
    f.n_wanted = THREADS;
    for (size_t i = 0; i < THREADS; i++) {
        f.sums[i] = (struct sum){.work = {.run = run_together, .done = sum_done}, .f = &f};
        workers_submit(f.workers, &f.sums[i].work);
    }
    world_timer_set(w, &a.timer, world_now_ms(w) + 1);
    io_run(f.io);
    assert_true(a.has_fired);
    assert_int_equal(f.n_done, THREADS);
    workers_close(f.workers);
    io_world_del(&f.io);
}

/* A done() may submit again, and may close. */
static void again(struct compute *k)
{
    struct sum *s = container_of(k, struct sum, work);
    if (++s->n_done < 10) {
        workers_submit(s->f->workers, k);
        return;
    }
    workers_close(s->f->workers);
    io_stop(s->f->io);
}

static void test_again(void **state)
{
    UNUSED(state);
    struct fixture f;
    start(&f, 1);
    f.sums[0] = (struct sum){.work = {.run = run_sum, .done = again}, .f = &f, .n = 3};
    workers_submit(f.workers, &f.sums[0].work);
    io_run(f.io);
    assert_int_equal(f.sums[0].n_done, 10);
    assert_int_equal(f.sums[0].sum, 60);
    io_world_del(&f.io);
}

/* Closed with works waiting: those are ours again, and nothing is called. */
static void test_close_early(void **state)
{
    UNUSED(state);
    for (unsigned round = 0; round < 20; round++) {
        struct fixture f;
        start(&f, 2);
        f.n_wanted = WORKS + 1;
        for (size_t i = 0; i < WORKS; i++)
            submit(&f, i);
        workers_close(f.workers);
        assert_int_equal(f.n_done, 0);
        io_world_del(&f.io);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_works),
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_close_early),
    };
    return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
