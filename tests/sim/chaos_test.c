/* tests/sim/chaos_test.c: three nodes while everything goes wrong. Each message that was acknowledged ends in
 * a delivery or a report; the same seed gives the same trace.
 *
 * WAXWING_SIM_MESSAGES: how many in the long run (default 10000, 500 with sanitizers). WAXWING_SIM_SEED: its
 * seed, and the first of the small ones. WAXWING_SIM_SEEDS: how many of these (default 20, 4 with
 * sanitizers).
 */
#include "tests/sim/chaos.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef WAXWING_SANITIZED
enum { LONG_MESSAGES = 500, SMALL_SEEDS = 4, SMALL_MESSAGES = 100, TRACE_MESSAGES = 100 };
#else
enum { LONG_MESSAGES = 10000, SMALL_SEEDS = 20, SMALL_MESSAGES = 200, TRACE_MESSAGES = 1000 };
#endif

enum { RESULTS_OF_A_FLUSH = 8 }; /* at most, where so few messages are under way */

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    uint64_t v;
    const char *text = getenv(name);
    return text != NULL && str_to_u64(str_from_c(text), UINT32_MAX, &v) ? v : otherwise;
}

struct outcome {
    uint64_t hash;
    struct fleet_counts counts;
    struct sim_counts sim;
    struct chaos chaos;
    unsigned n_unopened;
    uint64_t virtual_s;
};

static struct outcome run_on(uint64_t seed, unsigned n, uint64_t pace_us, bool is_small, bool disks_lie)
{
    struct outcome o = {0};
    struct fleet *f = fleet_new(seed);
    f->pace_us = pace_us;
    f->is_small = is_small;
    fleet_await_ready(f);
    for (unsigned i = 0; i < FLEET_NODES; i++)
        sim_disk_set_lying(sim_host_disk(sim_node_host(f->nodes[i])), disks_lie);
    chaos_start(&o.chaos, f, 12 * SIM_S);
    fleet_send(f, n);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + 10 * SIM_DAY, fleet_all_sent, f));
    chaos_end(&o.chaos);
    o.virtual_s = sim_now_us(f->sim) / SIM_S;
    sim_run_until(f->sim, sim_now_us(f->sim) + 6 * SIM_DAY); /* five days until mail for down.sim goes back */
    fleet_account(f);
    o.hash = sim_trace_hash(f->sim);
    o.counts = f->counts;
    o.sim = *sim_counts(f->sim);
    o.n_unopened = f->n_unopened;
    fleet_del(&f);
    return o;
}

static struct outcome run(uint64_t seed, unsigned n, uint64_t pace_us, bool is_small)
{
    return run_on(seed, n, pace_us, is_small, false);
}

static void tell(uint64_t seed, unsigned n, const struct outcome *o)
{
    const struct fleet_counts *k = &o->counts;
    print_message("# seed %llu: %u messages, %u acknowledged (%u rcpts): %u delivered, %u reported, %u "
                  "not-bounced, %u null "
                  "unseen; lost %u, damaged %u, misreported %u; twice %u+%u, unacknowledged but there %u\n",
                  (unsigned long long)seed, n, k->n_acknowledged, k->n_rcpts, k->n_delivered, k->n_reported,
                  k->n_not_bounced, k->n_null_unseen, k->n_lost, k->n_damaged, k->n_misreported,
                  k->n_duplicates, k->n_report_duplicates, k->n_unacknowledged_delivered);
    print_message("# seed %llu: %llu s of trouble: killed %u, power %u, net %u, dns %u, full %u, EIO %u, "
                  "clock %u; events %llu, "
                  "turns %llu, frames %llu, resets %llu; trace %016llx\n",
                  (unsigned long long)seed, (unsigned long long)o->virtual_s, o->chaos.n_killed,
                  o->chaos.n[CHAOS_POWER], o->chaos.n[CHAOS_NET], o->chaos.n[CHAOS_DNS],
                  o->chaos.n[CHAOS_DISK_FULL], o->chaos.n[CHAOS_DISK_ERROR], o->chaos.n[CHAOS_CLOCK],
                  (unsigned long long)o->sim.n_events, (unsigned long long)o->sim.n_turns,
                  (unsigned long long)o->sim.n_frames, (unsigned long long)o->sim.n_resets,
                  (unsigned long long)o->hash);
}

static void check(uint64_t seed, unsigned n, const struct outcome *o)
{
    tell(seed, n, o);
    assert_int_equal(o->counts.n_lost, 0);
    assert_int_equal(o->counts.n_damaged, 0);
    assert_int_equal(o->counts.n_misreported, 0);
    assert_int_equal(o->n_unopened, 0);
    /* docs/queue.md 6: a delivery whose result was lost with a process, a flush or a connection is made
     * again. Most of these meet nothing under way, and one may meet several: the results of one flush. */
    unsigned n_troubles = o->chaos.n_killed + o->chaos.n[CHAOS_POWER] + o->chaos.n[CHAOS_DISK_ERROR] +
                          (unsigned)o->sim.n_resets;
    assert_true(o->counts.n_duplicates + o->counts.n_report_duplicates <= n_troubles * RESULTS_OF_A_FLUSH);
    assert_true(o->counts.n_acknowledged > n / 3);
}

static void test_small_seeds(void **state)
{
    UNUSED(state);
    uint64_t first = number_of("WAXWING_SIM_SEED", 100);
    for (uint64_t seed = first; seed < first + number_of("WAXWING_SIM_SEEDS", SMALL_SEEDS); seed++) {
        struct outcome a = run(seed, SMALL_MESSAGES, 2 * SIM_S, true);
        check(seed, SMALL_MESSAGES, &a);
        if (seed % 4 == 0) {
            struct outcome b = run(seed, SMALL_MESSAGES, 2 * SIM_S, true);
            assert_true(a.hash == b.hash);
        }
    }
}

/* Disks that say "flushed" and did nothing: what is acknowledged does get lost, and the account sees it. */
static void test_lying_disks(void **state)
{
    UNUSED(state);
    struct outcome o;
    uint64_t seed = 11; /* the first of these in which power fails */
    do
        o = run_on(seed, 200, 2 * SIM_S, true, true);
    while (o.chaos.n[CHAOS_POWER] == 0 && ++seed < 31);
    assert_true(o.chaos.n[CHAOS_POWER] > 0);
    assert_true(o.counts.n_acknowledged > 0);
    assert_true(o.counts.n_lost > 0);
}

static void test_long(void **state)
{
    UNUSED(state);
    unsigned n = (unsigned)number_of("WAXWING_SIM_MESSAGES", LONG_MESSAGES);
    uint64_t seed = number_of("WAXWING_SIM_SEED", 1);
    struct outcome a = run(seed, n, 500 * SIM_MS, false);
    check(seed, n, &a);
}

static void test_same_trace(void **state)
{
    UNUSED(state);
    struct outcome a = run(7, TRACE_MESSAGES, 500 * SIM_MS, false),
                   b = run(7, TRACE_MESSAGES, 500 * SIM_MS, false);
    struct outcome c = run(8, TRACE_MESSAGES, 500 * SIM_MS, false);
    check(7, TRACE_MESSAGES, &a);
    assert_true(a.hash == b.hash);
    assert_true(memcmp(&a.counts, &b.counts, sizeof a.counts) == 0);
    assert_true(a.hash != c.hash);
}

/* "small", "long", or nothing for both: two programs' worth of time beside each other. */
int main(int argc, char **argv)
{
    const struct CMUnitTest small[] = {cmocka_unit_test(test_small_seeds),
                                       cmocka_unit_test(test_lying_disks)};
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_long), cmocka_unit_test(test_same_trace)};
    int n_failed = 0;
    if (argc < 2 || str_eq(str_from_c(argv[1]), STR("small")))
        n_failed += cmocka_run_group_tests_name("sim chaos, small", small, NULL, NULL);
    if (argc < 2 || str_eq(str_from_c(argv[1]), STR("long")))
        n_failed += cmocka_run_group_tests_name("sim chaos, long", tests, NULL, NULL);
    return n_failed;
}
