/* tests/sim/happy_test.c: three nodes and nothing goes wrong: every message arrives once, and no duplicate. */
#include "tests/sim/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_happy(void **state)
{
    UNUSED(state);
    struct fleet *f = fleet_new(1);
    fleet_await_ready(f);
    fleet_send(f, 300);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    sim_run_until(f->sim, sim_now_us(f->sim) + 6 * SIM_DAY);
    fleet_account(f);
    const struct fleet_counts *k = &f->counts;
    const struct sim_counts *c = sim_counts(f->sim);
    print_message("# acknowledged %u rcpts %u delivered %u reported %u not-bounced %u unseen %u lost %u dup %u misreported %u "
                  "damaged %u; events %llu turns %llu frames %llu segments %llu\n",
                  k->n_acknowledged, k->n_rcpts, k->n_delivered, k->n_reported, k->n_not_bounced, k->n_null_unseen, k->n_lost,
                  k->n_duplicates, k->n_misreported, k->n_damaged, (unsigned long long)c->n_events,
                  (unsigned long long)c->n_turns, (unsigned long long)c->n_frames, (unsigned long long)c->n_segments);
    fleet_del(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_happy)};
    return cmocka_run_group_tests_name("sim happy", tests, NULL, NULL);
}
