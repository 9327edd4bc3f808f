/* tests/sim/role_test.c: one role dies alone, and the others go on; the queue is away or its disk is full or
 * broken, and clients are told to come back; afterwards mail flows.
 */
#include "tests/sim/fleet.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { ROLES_MAX = 32 };
#ifdef WAXWING_SANITIZED
enum { LOAD_MESSAGES = 400, LOAD_PACE_MS = 80 };
#else
enum { LOAD_MESSAGES = 1500, LOAD_PACE_MS = 20 };
#endif

struct census { /* the processes of a node */
    size_t n;
    uint64_t ids[ROLES_MAX];
    const char *what[ROLES_MAX];
};

static void count(void *arg, struct sim_proc *p)
{
    struct census *c = arg;
    assert_true(c->n < ROLES_MAX);
    /* children of local come and go with the mail */
    if (str_eq(str_from_c(sim_proc_what(p)), STR("deliver")))
        return;
    c->ids[c->n] = sim_proc_id(p);
    c->what[c->n++] = sim_proc_what(p);
}

static struct census census_of(struct sim_node *n)
{
    struct census c = {0};
    sim_host_each_proc(sim_node_host(n), count, &c);
    return c;
}

static size_t n_missing(const struct census *before, const struct census *now)
{
    size_t n = 0;
    for (size_t i = 0; i < before->n; i++) {
        bool is_there = false;
        for (size_t k = 0; k < now->n; k++)
            is_there = is_there || now->ids[k] == before->ids[i];
        n += !is_there;
    }
    return n;
}

static void check_account(struct fleet *f)
{
    fleet_account(f);
    const struct fleet_counts *k = &f->counts;
    print_message(
        "# %u messages, %u acknowledged (%u rcpts), %u delivered, twice %u, unacknowledged but there %u\n",
        f->n_mails, k->n_acknowledged, k->n_rcpts, k->n_delivered, k->n_duplicates,
        k->n_unacknowledged_delivered);
    assert_int_equal(k->n_lost, 0);
    assert_int_equal(k->n_damaged, 0);
    assert_int_equal(k->n_misreported, 0);
    assert_int_equal(k->n_reported, 0);
}

static struct fleet *calm_fleet(uint64_t seed)
{
    struct fleet *f = fleet_new(seed);
    f->only_good = true;
    f->pace_us = 50 * SIM_MS;
    fleet_await_ready(f);
    return f;
}

/* ---- nothing goes wrong ---- */

static void test_calm(void **state)
{
    UNUSED(state);
    struct fleet *f = calm_fleet(3);
    fleet_send(f, 300);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_MINUTE); /* no retry was needed */
    check_account(f);
    assert_int_equal(f->counts.n_acknowledged, 300);
    assert_int_equal(f->counts.n_delivered, f->counts.n_rcpts);
    assert_int_equal(f->counts.n_duplicates, 0);
    assert_int_equal(f->n_log_errors, 0);
    fleet_del(&f);
}

/* ---- one role dies ---- */

static const char *const roles[] = {"smtpd", "lookup", "queue", "relay", "local", "deliver", "admin"};

static void kill_role(const char *role, uint64_t seed)
{
    struct fleet *f = calm_fleet(seed);
    struct sim_node *n = f->nodes[0];
    fleet_send(f, 200);
    sim_run_until(f->sim, sim_now_us(f->sim) + 2 * SIM_S);
    struct census before = census_of(n);
    assert_int_equal(before.n, 9); /* supervisor, admin, lookup, queue, local, 2 smtpd, 2 relay */
    uint64_t killed_us = sim_now_us(f->sim);
    while (!sim_node_kill(n, role)) { /* deliver is there only while there is mail */
        sim_run_until(f->sim, sim_now_us(f->sim) + SIM_MS);
        assert_true(sim_now_us(f->sim) < killed_us + SIM_MINUTE);
    }
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_S);
    struct census after = census_of(n);
    bool is_child = str_eq(str_from_c(role), STR("deliver"));
    assert_int_equal(n_missing(&before, &after), is_child ? 0 : 1); /* the others live */
    assert_int_equal(after.n, before.n);                            /* and it is back */
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    /* what was under way with the role that died is tried again, after five minutes at most twenty per cent
     * more */
    sim_run_until(f->sim, sim_now_us(f->sim) + 10 * SIM_MINUTE);
    print_message("# %s killed: ", role);
    check_account(f);
    assert_true(f->counts.n_acknowledged >= 150);
    assert_int_equal(f->counts.n_delivered, f->counts.n_rcpts + f->counts.n_unacknowledged_delivered);
    fleet_del(&f);
}

static void test_role_dies(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        kill_role(roles[i], 20 + i);
        kill_role(roles[i], 40 + i);
    }
}

/* Without a supervisor nobody would start a role again: all end, and the service manager starts it all anew.
 */
static void test_supervisor_dies(void **state)
{
    UNUSED(state);
    struct fleet *f = calm_fleet(5);
    struct sim_node *n = f->nodes[1];
    fleet_send(f, 100);
    sim_run_until(f->sim, sim_now_us(f->sim) + 2 * SIM_S);
    struct census before = census_of(n);
    assert_true(sim_node_kill(n, "supervisor"));
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_S / 2);
    struct census none = census_of(n);
    assert_int_equal(none.n, 0);
    sim_run_until(f->sim, sim_now_us(f->sim) + 2 * SIM_S);
    struct census after = census_of(n);
    assert_int_equal(n_missing(&before, &after), before.n);
    assert_int_equal(after.n, before.n);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    sim_run_until(f->sim, sim_now_us(f->sim) + 20 * SIM_MINUTE);
    check_account(f);
    fleet_del(&f);
}

static uint64_t supervisor_of(struct sim_node *n)
{
    struct census c = census_of(n);
    for (size_t i = 0; i < c.n; i++) {
        if (str_eq(str_from_c(c.what[i]), STR("supervisor")))
            return c.ids[i];
    }
    return 0;
}

/* A role that dies again and again before it was ever ready: the start ends, it does not go round for ever.
 * One that comes up in between is given all its tries. */
static void test_role_does_not_start(void **state)
{
    UNUSED(state);
    for (unsigned n_kills = 3; n_kills <= 4; n_kills++) {
        struct fleet *f = fleet_new(6);
        struct sim_node *n = f->nodes[0];
        uint64_t first = 0;
        for (unsigned i = 0; i < n_kills;) {
            sim_run_until(f->sim, sim_now_us(f->sim) + 200);
            if (first == 0)
                first = supervisor_of(n);
            assert_false(sim_node_is_ready(n));
            i += sim_node_kill(n, "queue");
        }
        sim_run_until(f->sim, sim_now_us(f->sim) + SIM_S / 10);
        assert_true(first != 0);
        assert_int_equal(supervisor_of(n) == first, n_kills < 4);
        fleet_await_ready(f); /* by the one, or by the next that its keeper starts */
        fleet_del(&f);
    }
}

/* A drain under load: what was acknowledged is on disk, and the next start delivers it. */
static void test_drain(void **state)
{
    UNUSED(state);
    struct fleet *f = calm_fleet(6);
    fleet_send(f, 100);
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_S);
    sim_node_stop(f->nodes[0]);
    sim_run_until(f->sim, sim_now_us(f->sim) + 2 * SIM_MINUTE);
    assert_false(sim_node_is_running(f->nodes[0]));
    struct census none = census_of(f->nodes[0]);
    assert_int_equal(none.n, 0);
    sim_node_start(f->nodes[0]);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    sim_run_until(f->sim, sim_now_us(f->sim) + 20 * SIM_MINUTE);
    check_account(f);
    assert_int_equal(f->counts.n_duplicates, 0);
    fleet_del(&f);
}

/* ---- the queue is away, its disk full or broken ---- */

struct trial { /* messages to node1 during some trouble */
    struct fleet *f;
    unsigned n_temporary, n_permanent, n_accepted, n_silent;
};

static void judge(struct trial *t, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        const struct sim_mail *m = &t->f->mails[i].mail;
        t->n_accepted += m->is_accepted;
        t->n_temporary += !m->is_accepted && m->code / 100 == 4;
        t->n_permanent += !m->is_accepted && m->code / 100 == 5;
        t->n_silent += !m->is_accepted && m->code / 100 != 4 && m->code / 100 != 5;
    }
}

struct storm {
    struct fleet *f;
    uint64_t until_us;
};

static void kill_queue_again(void *arg)
{
    struct storm *s = arg;
    if (sim_now_us(s->f->sim) >= s->until_us)
        return;
    for (unsigned i = 0; i < FLEET_NODES; i++)
        (void)sim_node_kill(s->f->nodes[i], "queue");
    sim_call_at(s->f->sim, sim_now_us(s->f->sim) + 5 * SIM_MS, kill_queue_again, s);
}

/* Runs until n messages are settled, or the time is over. */
static void run_until_done(struct fleet *f, unsigned n, uint64_t at_us)
{
    while (f->n_done < n && sim_now_us(f->sim) < at_us)
        sim_run_until(f->sim, sim_now_us(f->sim) + 100 * SIM_MS);
    assert_true(f->n_done >= n);
}

static void test_queue_away(void **state)
{
    UNUSED(state);
    struct fleet *f = calm_fleet(7);
    struct trial during = {.f = f}, after = {.f = f};
    struct storm s = {f, sim_now_us(f->sim) + 10 * SIM_MINUTE};
    f->pace_us = 500 * SIM_MS;
    kill_queue_again(&s);
    fleet_send(f, 400);
    run_until_done(f, 100, s.until_us);
    unsigned settled = f->n_done;
    judge(&during, 0, 100);
    print_message("# without a queue: %u told to come back, %u without an answer, %u rejected, %u accepted\n",
                  during.n_temporary, during.n_silent, during.n_permanent, during.n_accepted);
    assert_int_equal(during.n_permanent, 0);
    assert_int_equal(during.n_accepted, 0);
    assert_true(during.n_temporary > 90);
    s.until_us = 0; /* the storm is over */
    unsigned from = f->n_sent;
    assert_true(settled < f->n_mails);
    sim_run_until(f->sim, sim_now_us(f->sim) + 15 * SIM_S);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    judge(&after, from + 60, f->n_mails);
    assert_int_equal(after.n_accepted, f->n_mails - from - 60);
    sim_run_until(f->sim, sim_now_us(f->sim) + 20 * SIM_MINUTE);
    check_account(f);
    fleet_del(&f);
}

/* The queue dies while messages are on their way in: these are refused for now, and no session stays without
 * a queue. */
static void test_queue_restarts_under_load(void **state)
{
    UNUSED(state);
    struct fleet *f = calm_fleet(10);
    struct trial after = {.f = f};
    sim_plan(f->sim)->latency_us = 200 * SIM_MS;
    f->pace_us = LOAD_PACE_MS * (uint64_t)SIM_MS;
    fleet_send(f, LOAD_MESSAGES);
    for (unsigned i = 0; i < 4; i++) {
        sim_run_until(f->sim, sim_now_us(f->sim) + 3 * SIM_S);
        for (unsigned k = 0; k < FLEET_NODES; k++)
            assert_true(sim_node_kill(f->nodes[k], "queue"));
    }
    sim_run_until(f->sim, sim_now_us(f->sim) + 5 * SIM_S);
    unsigned from = f->n_sent;
    assert_true(from < f->n_mails - 100);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    judge(&after, from, f->n_mails);
    assert_int_equal(after.n_accepted, f->n_mails - from);
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_HOUR);
    check_account(f);
    fleet_del(&f);
}

static void set_capacity(struct fleet *f, bool is_full)
{
    for (unsigned i = 0; i < FLEET_NODES; i++) {
        struct sim_disk *d = sim_host_disk(sim_node_host(f->nodes[i]));
        sim_disk_set_capacity(d, is_full ? sim_disk_octets(d, ".") : UINT64_MAX);
    }
}

/* The spool has segments made beforehand: it is full only when these are used up. Nothing is lost in between:
 * mail that can't be stored is refused for now, mail that can't be delivered waits. */
static void test_disk_full(void **state)
{
    UNUSED(state);
    struct fleet *f = calm_fleet(8);
    struct trial during = {.f = f}, after = {.f = f};
    f->pace_us = 100 * SIM_MS;
    f->all_large = true;
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_MINUTE);
    set_capacity(f, true);
    fleet_send(f, 800);
    run_until_done(f, 550, sim_now_us(f->sim) + SIM_HOUR);
    judge(&during, 0, 550);
    print_message("# with full disks: %u told to come back, %u without an answer, %u rejected, %u accepted\n",
                  during.n_temporary, during.n_silent, during.n_permanent, during.n_accepted);
    assert_int_equal(during.n_permanent, 0);
    assert_true(during.n_temporary > 50);
    set_capacity(f, false);
    sim_run_until(f->sim, sim_now_us(f->sim) + 10 * SIM_S);
    unsigned from = f->n_sent;
    assert_true(from < f->n_mails - 100);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    judge(&after, from, f->n_mails);
    assert_int_equal(after.n_accepted, f->n_mails - from);
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_DAY);
    check_account(f);
    fleet_del(&f);
}

/* A flush fails: the store trusts its file no more; 4xx until the queue is started anew. */
static void test_flush_fails(void **state)
{
    UNUSED(state);
    struct fleet *f = calm_fleet(9);
    struct trial during = {.f = f}, after = {.f = f};
    struct sim_disk_fault fault = {.at = 10, .count = 1, .kinds = 1u << DISK_WRITE, .err = ERR_IO};
    f->pace_us = 100 * SIM_MS;
    for (unsigned i = 0; i < FLEET_NODES; i++)
        sim_disk_add_fault(sim_host_disk(sim_node_host(f->nodes[i])), &fault);
    fleet_send(f, 600);
    run_until_done(f, 400, sim_now_us(f->sim) + SIM_HOUR);
    judge(&during, 200, 400);
    print_message(
        "# after a failed flush: %u told to come back, %u without an answer, %u rejected, %u accepted\n",
        during.n_temporary, during.n_silent, during.n_permanent, during.n_accepted);
    assert_int_equal(during.n_permanent, 0);
    assert_int_equal(during.n_silent, 0);
    for (unsigned i = 0; i < FLEET_NODES; i++)
        assert_true(sim_node_kill(f->nodes[i], "queue"));
    sim_run_until(f->sim, sim_now_us(f->sim) + 2 * SIM_S);
    unsigned from = f->n_sent;
    assert_true(from < f->n_mails - 100);
    assert_true(sim_run_until_true(f->sim, sim_now_us(f->sim) + SIM_HOUR, fleet_all_sent, f));
    judge(&after, from, f->n_mails);
    assert_int_equal(after.n_accepted, f->n_mails - from);
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_DAY);
    check_account(f);
    fleet_del(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calm),
        cmocka_unit_test(test_role_dies),
        cmocka_unit_test(test_supervisor_dies),
        cmocka_unit_test(test_role_does_not_start),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_queue_away),
        cmocka_unit_test(test_queue_restarts_under_load),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_flush_fails),
    };
    return cmocka_run_group_tests_name("sim roles", tests, NULL, NULL);
}
