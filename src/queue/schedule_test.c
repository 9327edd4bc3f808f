#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "queue/schedule.h"

#include <stdio.h>

static const struct schedule_conf conf = {
    .site_max = 20,
    .local_max = 50,
    .active_max = 1000,
    .retry_first_s = 300,
    .retry_max_s = 14400,
    .retry_jitter_pct = 20,
};
enum { T0 = 1000000 };

static void setup(struct schedule *s)
{
    assert_true(schedule_init(s, &conf));
}

static struct schedule_entry *add_at(struct schedule *s, uint64_t id, int priority, const char *site,
                                     uint64_t due_ms)
{
    struct schedule_entry *e = schedule_add(s, id, 1, priority);
    assert_non_null(e);
    struct schedule_site *where = schedule_site(s, str_from_c(site), false);
    assert_non_null(where);
    schedule_set_site(s, e, where);
    schedule_wait(s, e, due_ms, T0);
    return e;
}

static struct schedule_entry *add(struct schedule *s, uint64_t id, const char *site, uint64_t due_ms)
{
    return add_at(s, id, 0, site, due_ms);
}

static void finish(struct schedule *s, struct schedule_entry *e, enum schedule_outcome o, uint64_t now_ms)
{
    schedule_finish(s, e, o, STR("no connection"), 0, now_ms);
    schedule_remove(s, e);
}

static void test_due_order(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    add(&s, 1, "a", T0 + 300);
    add(&s, 2, "a", T0 + 100);
    add(&s, 3, "b", T0 + 200);
    schedule_invariants(&s);
    assert_int_equal(schedule_due(&s), T0 + 100);
    assert_null(schedule_next(&s, T0));
    static const struct {
        uint64_t now, id;
    } want[] = {{T0 + 100, 2}, {T0 + 250, 3}, {T0 + 300, 1}};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct schedule_entry *e = schedule_next(&s, want[i].now);
        assert_non_null(e);
        assert_int_equal(e->id, want[i].id);
        assert_int_equal(e->state, ENTRY_ACTIVE);
        assert_null(schedule_next(&s, want[i].now));
        schedule_invariants(&s);
        finish(&s, e, SCHEDULE_WORKED, want[i].now);
    }
    assert_true(schedule_due(&s) == UINT64_MAX);
    assert_int_equal(s.n_by_state[ENTRY_WAITING], 0);
    schedule_invariants(&s);
    schedule_fini(&s);
}

/* Takes the next entry and ends it: its id, 0 when there is none. */
static uint64_t take_one(struct schedule *s, uint64_t now_ms)
{
    struct schedule_entry *e = schedule_next(s, now_ms);
    uint64_t id = e == NULL ? 0 : e->id;
    if (e != NULL)
        finish(s, e, SCHEDULE_WORKED, now_ms);
    schedule_invariants(s);
    return id;
}

/* Of what is due at one time the highest goes first; every level is kept, the levels of a class are alike. */
static void test_priority_order(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    static const int arrive[] = {-9, 0, 9, -1, 6, -4, 2, 4, 1, 0, 9};
    static const uint64_t leave[] = {3, 11, 5, 8, 7, 9, 2, 10, 4, 1, 6};
    for (size_t i = 0; i < ARRAY_LEN(arrive); i++) {
        const struct schedule_entry *e = add_at(&s, 1 + i, arrive[i], "a", T0);
        assert_int_equal(schedule_priority(e), arrive[i]);
    }
    /* 2 (id 2) and 10 have priority 0, 4 has -1; 3 and 11 are the most urgent */
    for (size_t i = 0; i < ARRAY_LEN(leave); i++)
        assert_int_equal(take_one(&s, T0), leave[i]);
    assert_int_equal(take_one(&s, T0), 0);
    schedule_fini(&s);
}

/* What is not due yet does not go, however urgent; the first of any class wakes the site. */
static void test_priority_waits_for_its_time(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    add_at(&s, 1, 9, "a", T0 + 500);
    add_at(&s, 2, -9, "a", T0 + 100);
    add_at(&s, 3, 0, "a", T0 + 300);
    assert_int_equal(schedule_due(&s), T0 + 100);
    assert_int_equal(take_one(&s, T0 + 100), 2);
    assert_int_equal(schedule_due(&s), T0 + 300);
    assert_int_equal(take_one(&s, T0 + 299), 0);
    assert_int_equal(take_one(&s, T0 + 500), 1);
    assert_int_equal(take_one(&s, T0 + 500), 3);
    schedule_fini(&s);
}

/* Under an endless stream of urgent mail the lowest goes once it has waited for an hour a class, and the
 * normal before it. */
static void test_priority_starves_nobody(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    add_at(&s, 1, -9, "a", T0);
    add_at(&s, 2, 0, "a", T0);
    uint64_t low_ms = 0, normal_ms = 0, id = 10;
    for (uint64_t now = T0; low_ms == 0; now += 60 * 1000) {
        assert_true(now < T0 + 8 * (uint64_t)SCHEDULE_CLASS_MS);
        add_at(&s, id++, 9, "a", now); /* one comes, one goes */
        uint64_t took = take_one(&s, now);
        if (took == 1)
            low_ms = now - T0;
        else if (took == 2)
            normal_ms = now - T0;
    }
    assert_in_range(normal_ms, 4 * (uint64_t)SCHEDULE_CLASS_MS, 4 * (uint64_t)SCHEDULE_CLASS_MS + 120 * 1000);
    assert_in_range(low_ms, 6 * (uint64_t)SCHEDULE_CLASS_MS, 6 * (uint64_t)SCHEDULE_CLASS_MS + 180 * 1000);
    while (take_one(&s, T0 + 9 * (uint64_t)SCHEDULE_CLASS_MS) != 0) {
    }
    assert_int_equal(s.n_entries, 0);
    schedule_fini(&s);
}

/* Sites with something due take turns, whatever each has waiting. */
static void test_fairness(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    for (uint64_t i = 0; i < 1000; i++)
        add(&s, 1 + i, "big", T0);
    for (uint64_t i = 0; i < 3; i++)
        add(&s, 5000 + i, "small", T0);
    unsigned n_small = 0;
    for (unsigned i = 0; i < 6; i++) {
        struct schedule_entry *e = schedule_next(&s, T0);
        assert_non_null(e);
        n_small += e->id >= 5000;
    }
    assert_int_equal(n_small, 3);
    schedule_invariants(&s);
    schedule_fini(&s);
}

static unsigned start_all(struct schedule *s, struct schedule_entry **out, uint64_t now_ms)
{
    unsigned n = 0;
    while ((out[n] = schedule_next(s, now_ms)) != NULL)
        n++;
    return n;
}

static void test_slow_start_and_cap(void **state)
{
    UNUSED(state);
    struct schedule s;
    struct schedule_entry *out[1001];
    setup(&s);
    for (uint64_t i = 0; i < 500; i++)
        add(&s, 1 + i, "a", T0);
    assert_int_equal(start_all(&s, out, T0), SCHEDULE_SITE_START);
    assert_true(schedule_due(&s) == UINT64_MAX); /* full: only an end of one helps */
    unsigned n_out = SCHEDULE_SITE_START;
    for (unsigned round = 0; round < 20; round++) {
        finish(&s, out[0], SCHEDULE_WORKED, T0);
        out[0] = out[--n_out];
        n_out += start_all(&s, out + n_out, T0);
        schedule_invariants(&s);
        assert_true(n_out <= conf.site_max);
    }
    assert_int_equal(n_out, conf.site_max);
    schedule_fini(&s);
}

static void test_local_site_starts_wide(void **state)
{
    UNUSED(state);
    struct schedule s;
    struct schedule_entry *out[1001];
    setup(&s);
    assert_non_null(schedule_site(&s, STR("maildir:x"), true));
    for (uint64_t i = 0; i < 100; i++) {
        struct schedule_entry *e = schedule_add(&s, 1 + i, 1, 0);
        schedule_set_site(&s, e, schedule_site(&s, STR("maildir:x"), true));
        schedule_wait(&s, e, T0, T0);
    }
    assert_int_equal(start_all(&s, out, T0), conf.local_max);
    schedule_fini(&s);
}

static void test_active_max(void **state)
{
    UNUSED(state);
    struct schedule s;
    struct schedule_entry *out[1001];
    char name[16];
    setup(&s);
    for (uint64_t i = 0; i < 1200; i++) {
        (void)snprintf(name, sizeof name, "site%u", (unsigned)i);
        add(&s, 1 + i, name, T0);
    }
    assert_int_equal(start_all(&s, out, T0), conf.active_max);
    assert_true(schedule_due(&s) == UINT64_MAX);
    finish(&s, out[0], SCHEDULE_NEUTRAL, T0);
    assert_int_equal(schedule_due(&s), 0);
    assert_non_null(schedule_next(&s, T0));
    schedule_fini(&s);
}

/* A dead site is tried with one delivery at a time, further and further apart, and wakes with the first
 * success. */
static void test_block_and_probe(void **state)
{
    UNUSED(state);
    struct schedule s;
    struct schedule_entry *out[1001];
    setup(&s);
    for (uint64_t i = 0; i < 100; i++)
        add(&s, 1 + i, "dead", T0);
    struct schedule_site *site = schedule_site(&s, STR("dead"), false);
    assert_int_equal(start_all(&s, out, T0), 5);
    for (unsigned i = 0; i < 5; i++)
        finish(&s, out[i], SCHEDULE_SITE_DOWN, T0 + i); /* five at once count once */
    assert_int_equal(site->block_ms, SCHEDULE_BLOCK_FIRST_MS);
    assert_true(schedule_site_is_blocked(site, T0 + 5));
    assert_string_equal(site->why, "no connection");
    uint64_t now = T0 + 5, last = SCHEDULE_BLOCK_FIRST_MS;
    for (unsigned i = 0; i < 8; i++) {
        assert_null(schedule_next(&s, now));
        uint64_t wake = schedule_due(&s);
        assert_true(wake > now && wake < now + 2 * (uint64_t)SCHEDULE_BLOCK_MAX_MS);
        assert_null(schedule_next(&s, wake - 1));
        now = wake;
        assert_int_equal(start_all(&s, out, now), 1); /* the probe */
        schedule_invariants(&s);
        finish(&s, out[0], SCHEDULE_SITE_DOWN, now);
        assert_true(site->block_ms >= last && site->block_ms <= SCHEDULE_BLOCK_MAX_MS);
        last = site->block_ms;
    }
    assert_int_equal(last, SCHEDULE_BLOCK_MAX_MS);
    now = schedule_due(&s);
    assert_int_equal(start_all(&s, out, now), 1);
    finish(&s, out[0], SCHEDULE_WORKED, now);
    assert_int_equal(site->block_ms, 0);
    assert_true(start_all(&s, out, now) >= 1);
    schedule_invariants(&s);
    schedule_fini(&s);
}

/* One failure among successes halves the window and does not block. */
static void test_failure_of_live_site(void **state)
{
    UNUSED(state);
    struct schedule s;
    struct schedule_entry *out[1001];
    setup(&s);
    for (uint64_t i = 0; i < 100; i++)
        add(&s, 1 + i, "a", T0);
    struct schedule_site *site = schedule_site(&s, STR("a"), false);
    assert_int_equal(start_all(&s, out, T0), 5);
    finish(&s, out[0], SCHEDULE_WORKED, T0);
    uint32_t before = site->window;
    finish(&s, out[1], SCHEDULE_SITE_DOWN, T0 + 1);
    assert_int_equal(site->window, before / 2);
    assert_int_equal(site->block_ms, 0);
    finish(&s, out[2], SCHEDULE_SITE_DOWN, T0 + 1 + SCHEDULE_ALIVE_MS); /* the success is long ago */
    assert_int_equal(site->block_ms, SCHEDULE_BLOCK_FIRST_MS);
    schedule_invariants(&s);
    schedule_fini(&s);
}

static void test_unblock(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    add(&s, 1, "a", T0);
    add(&s, 2, "a", T0);
    struct schedule_entry *e = schedule_next(&s, T0);
    struct schedule_entry *f = schedule_next(&s, T0);
    schedule_finish(&s, e, SCHEDULE_SITE_DOWN, STR("x"), 0, T0);
    schedule_wait(&s, e, T0, T0);
    schedule_finish(&s, f, SCHEDULE_NEUTRAL, STR_NIL, 0, T0);
    schedule_wait(&s, f, T0, T0);
    assert_null(schedule_next(&s, T0 + 1));
    schedule_site_unblock(&s, e->site, T0 + 1);
    assert_non_null(schedule_next(&s, T0 + 1));
    assert_null(schedule_next(&s, T0 + 1)); /* still a probe */
    schedule_fini(&s);
}

static void test_hold_take_remove(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    struct schedule_entry *e = add(&s, 1, "a", T0);
    schedule_hold(&s, e, T0);
    assert_int_equal(s.n_by_state[ENTRY_HELD], 1);
    assert_null(schedule_next(&s, T0 + 1));
    schedule_invariants(&s);
    schedule_take(&s, e, T0);
    schedule_wait(&s, e, T0, T0);
    assert_ptr_equal(schedule_next(&s, T0), e);
    schedule_finish(&s, e, SCHEDULE_WORKED, STR_NIL, 0, T0);
    schedule_hold(&s, e, T0); /* from aside too */
    schedule_invariants(&s);
    schedule_take(&s, e, T0);
    schedule_remove(&s, e);
    assert_null(schedule_find(&s, 1));
    assert_int_equal(s.n_entries, 0);
    schedule_invariants(&s);
    schedule_fini(&s);
}

static void test_site_by_hash(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    uint64_t hash = schedule_site_hash(STR("mx:a.example"));
    struct schedule_site *site = schedule_site_by_hash(&s, hash);
    assert_int_equal(site->name_n, 0);
    schedule_site_learn(&s, site, STR("mx:b.example")); /* not its name */
    assert_int_equal(site->name_n, 0);
    assert_ptr_equal(schedule_site(&s, STR("mx:a.example"), false), site);
    assert_true(str_eq(schedule_site_name(site), STR("mx:a.example")));
    assert_true(schedule_site_hash(STR("MX:A.example")) == hash);
    schedule_fini(&s);
}

/* Sites that are empty are remembered up to a number, the oldest go first. */
static void test_idle_sites(void **state)
{
    UNUSED(state);
    struct schedule s;
    char name[32];
    setup(&s);
    for (unsigned i = 0; i < SCHEDULE_IDLE_SITES_MAX + 100; i++) {
        (void)snprintf(name, sizeof name, "site%u", i);
        struct schedule_entry *e = add(&s, 1 + i, name, T0);
        assert_ptr_equal(schedule_next(&s, T0), e);
        finish(&s, e, SCHEDULE_WORKED, T0);
    }
    assert_int_equal(s.n_idle, SCHEDULE_IDLE_SITES_MAX);
    assert_int_equal(s.n_sites, SCHEDULE_IDLE_SITES_MAX);
    assert_null(idmap_find(&s.sites, schedule_site_hash(STR("site0"))));
    assert_non_null(idmap_find(&s.sites, schedule_site_hash(str_from_c(name))));
    schedule_invariants(&s);
    schedule_fini(&s);
}

static void test_retry_times(void **state)
{
    UNUSED(state);
    static const struct {
        uint32_t n;
        uint64_t base_s;
    } table[] = {{1, 300},  {2, 600},   {3, 1200},  {4, 2400},   {5, 4800},
                 {6, 9600}, {7, 14400}, {8, 14400}, {60, 14400}, {UINT32_MAX, 14400}};
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint64_t base = table[i].base_s * 1000, lo = UINT64_MAX, hi = 0;
        for (unsigned k = 0; k < 500; k++) {
            uint64_t ms = schedule_retry_ms(&conf, table[i].n, rng_next(&rng));
            lo = ms < lo ? ms : lo;
            hi = ms > hi ? ms : hi;
        }
        assert_true(lo >= base - base / 5 && hi <= base + base / 5);
        assert_true(lo < base - base / 10 && hi > base + base / 10); /* it does spread */
    }
}

static void test_expiry(void **state)
{
    UNUSED(state);
    static const struct {
        uint32_t created_s;
        int64_t wall_ms;
        uint32_t expire_s;
        bool expired;
    } table[] = {
        {1000, 1000000, 10, false}, {1000, 1009999, 10, false},
        {1000, 1010000, 10, true},  {1000, 999000, 10, false}, /* the clock stepped back */
        {1000, 0, 10, false},       {0, 432000000, 432000, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(schedule_is_expired(table[i].created_s, table[i].wall_ms, table[i].expire_s),
                         table[i].expired);
}

static void test_walk(void **state)
{
    UNUSED(state);
    struct schedule s;
    setup(&s);
    struct schedule_entry *e[3000];
    for (uint64_t i = 0; i < 3000; i++)
        e[i] = add(&s, 1 + i, "a", T0);
    for (unsigned i = 0; i < 3000; i += 3) {
        schedule_take(&s, e[i], T0);
        schedule_remove(&s, e[i]);
    }
    size_t cursor = 0, n_seen = 0, n_slices = 0;
    while (cursor < schedule_slots(&s)) {
        size_t n_slots = 700;
        n_slices++;
        while (schedule_walk(&s, &cursor, &n_slots) != NULL)
            n_seen++;
        assert_true(n_slots == 0 || cursor == schedule_slots(&s));
    }
    assert_int_equal(n_seen, 2000);
    assert_int_equal(n_slices, 5);
    schedule_fini(&s);
}

/* Anything in any order keeps the invariants, and nothing is lost. */
static void test_random_walk(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct schedule s;
        struct rng rng;
        struct schedule_entry *active[64];
        size_t n_active = 0, n_in = 0, n_out = 0;
        uint64_t now = T0, next_id = 1;
        char name[16];
        setup(&s);
        rng_seed(&rng, seed);
        for (unsigned step = 0; step < 4000; step++) {
            uint64_t what = rng_below(&rng, 10);
            if (what < 4 && n_in < 500) {
                (void)snprintf(name, sizeof name, "s%u", (unsigned)rng_below(&rng, 7));
                int priority = (int)rng_below(&rng, 19) + MT_PRIORITY_MIN;
                add_at(&s, next_id++, priority, name, now + rng_below(&rng, 60000));
                n_in++;
            } else if (what < 7 && n_active < ARRAY_LEN(active)) {
                struct schedule_entry *e = schedule_next(&s, now);
                if (e != NULL)
                    active[n_active++] = e;
            } else if (what < 9 && n_active > 0) {
                size_t i = (size_t)rng_below(&rng, n_active);
                struct schedule_entry *e = active[i];
                active[i] = active[--n_active];
                enum schedule_outcome o = (enum schedule_outcome)rng_below(&rng, 3);
                schedule_finish(&s, e, o, STR("w"), rng_next(&rng), now);
                if (o == SCHEDULE_WORKED) {
                    schedule_remove(&s, e);
                    n_out++;
                } else {
                    schedule_wait(&s, e, now + rng_below(&rng, 30000), now);
                }
            } else {
                now += rng_below(&rng, 20000);
            }
            schedule_invariants(&s);
        }
        while (n_out < n_in) { /* time heals all */
            struct schedule_entry *e = n_active > 0 ? active[--n_active] : schedule_next(&s, now);
            if (e == NULL) {
                uint64_t due = schedule_due(&s);
                assert_true(due != UINT64_MAX && due > now);
                now = due;
                continue;
            }
            finish(&s, e, SCHEDULE_WORKED, now);
            n_out++;
        }
        schedule_invariants(&s);
        assert_int_equal(s.n_entries, 0);
        schedule_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_order),
        cmocka_unit_test(test_priority_order),
        cmocka_unit_test(test_priority_waits_for_its_time),
        cmocka_unit_test(test_priority_starves_nobody),
        cmocka_unit_test(test_fairness),
        cmocka_unit_test(test_slow_start_and_cap),
        cmocka_unit_test(test_local_site_starts_wide),
        cmocka_unit_test(test_active_max),
        cmocka_unit_test(test_block_and_probe),
        cmocka_unit_test(test_failure_of_live_site),
        cmocka_unit_test(test_unblock),
        cmocka_unit_test(test_hold_take_remove),
        cmocka_unit_test(test_site_by_hash),
        cmocka_unit_test(test_idle_sites),
        cmocka_unit_test(test_retry_times),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
