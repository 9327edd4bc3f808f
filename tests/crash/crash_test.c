/* tests/crash: the invariants of docs/queue.md over a disk that fails. Each test plays histories of a store
 * from seeds; at the operations of the disk the medium is copied, loses power (or an operation fails) and
 * what a new store finds on it is compared with the model. By default a sample of the operations, with
 * WAXWING_CRASH_FULL=1 every one of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/crash/crash_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY = 2000, SHORT_HISTORY = 250 };
static const uint32_t ALL_BUT_READS = UINT32_MAX & ~(1u << DISK_READ | 1u << DISK_CLOSE);

static bool is_full_run(void)
{
    const char *v = getenv("WAXWING_CRASH_FULL");
    return v != NULL && strcmp(v, "1") == 0;
}

/* ---- power loss at each operation ---- */

struct watcher {
    struct rig *r; /* the history that goes on */
    struct rng rng;
    uint64_t one_in;     /* moments checked */
    unsigned n_variants; /* losses tried at each */
    uint64_t n_moments, n_checks, n_deaths, n_wrong;
    bool lies;
    char last_error[256];
};

static struct model *model_of(const struct watcher *t)
{
    return t->r->m;
}

/* One power loss: what is found must be right, now and after further losses while opening and after it. */
static void check_loss(struct watcher *t)
{
    struct sim_disk *copy = sim_disk_clone(t->r->medium, rng_next(&t->rng));
    struct rig r;
    sim_disk_set_lying(copy, false);
    sim_disk_power_cut(copy);
    rig_init(&r, copy, NULL, rng_next(&t->rng));
    unsigned n_dying = rng_below(&t->rng, 3) == 0 ? 1 + (unsigned)rng_below(&t->rng, 3) : 0;
    for (unsigned i = 0; i < n_dying; i++) { /* again while it recovers, with or without power */
        if (rig_open_and_die(&r, rng_below(&t->rng, 60), rng_below(&t->rng, 3) != 0))
            t->n_deaths++;
    }
    enum err err = rig_open(&r);
    if (err != ERR_OK) {
        model_say(model_of(t), "a store can't be opened after power loss: %s", err_str(err));
    } else {
        (void)rig_check(&r, model_of(t), false, t->lies, NULL);
        if (r.n_damaged != 0 && !t->lies)
            model_say(model_of(t), "power loss is taken for damage: %.180s", r.w.last_error);
        uint64_t before = rig_digest(&r);
        rig_turns(&r, rng_below(&t->rng, 30)); /* it cleans and unlinks now */
        rig_die(&r, true);
        err = rig_open(&r);
        if (err != ERR_OK) {
            model_say(model_of(t), "a store can't be opened after the second power loss: %s", err_str(err));
        } else {
            rig_read_all(&r, model_of(t));
            if (rig_digest(&r) != before && !t->lies)
                model_say(model_of(t), "what was found once is not found again");
            rig_die(&r, true);
        }
    }
    if (model_of(t)->wrong[0] != '\0')
        (void)snprintf(t->last_error, sizeof t->last_error, "%.250s", r.w.last_error);
    rig_fini(&r);
    sim_disk_del(&copy);
    t->n_checks++;
}

static void on_operation(void *arg, enum sim_disk_moment moment, const struct disk_op *op)
{
    struct watcher *t = arg;
    UNUSED(moment);
    UNUSED(op);
    t->n_moments++;
    if (rng_below(&t->rng, t->one_in) != 0)
        return;
    for (unsigned i = 0; i < t->n_variants && model_of(t)->wrong[0] == '\0'; i++)
        check_loss(t);
}

/* Plays a history of n operations; false when something was wrong. */
static bool play(struct rig *r, size_t n, bool restarts)
{
    for (size_t i = 0; i < n; i++) {
        if (!rig_step(r, restarts))
            return false;
        struct store_stats stats;
        store_get_stats(r->s, &stats);
        uint64_t used = sim_disk_octets(r->medium, "log") + sim_disk_octets(r->medium, "body");
        if (used > 3 * stats.live_octets + 8 * RIG_SEGMENT) {
            model_say(r->m, "disk use %llu is over 3 x %llu + 8 segments", (unsigned long long)used,
                      (unsigned long long)stats.live_octets);
            return false;
        }
    }
    return true;
}

static void say(const char *what, uint64_t seed, const struct rig *r, const struct watcher *t)
{
    struct sim_disk_counts c;
    sim_disk_get_counts(r->medium, &c);
    print_message("# %s, seed %llu: %zu units (%zu acknowledged, %zu failed), %zu envelopes, %llu disk "
                  "operations (%llu "
                  "flushes), %llu moments, %llu losses checked, %llu deaths while opening %s\n",
                  what, (unsigned long long)seed, r->m->n_units - 1, r->m->n_acked, r->m->n_failed,
                  r->m->n_envs, (unsigned long long)c.n_ops, (unsigned long long)c.n_syncs,
                  (unsigned long long)t->n_moments, (unsigned long long)t->n_checks,
                  (unsigned long long)t->n_deaths, r->m->wrong);
}

static void end(struct rig *r)
{
    if (r->s != NULL)
        rig_die(r, false);
    rig_fini(r);
}

static void test_power_loss(void **state)
{
    UNUSED(state);
    unsigned n_seeds = is_full_run() ? 10 : 6;
    for (uint64_t seed = 1; seed <= n_seeds; seed++) {
        struct sim_disk *medium = sim_disk_new(seed);
        struct model m;
        struct rig r;
        struct watcher t = {.r = &r, .one_in = is_full_run() ? 1 : 6, .n_variants = is_full_run() ? 3 : 1};
        rng_seed(&t.rng, seed * 1000);
        model_init(&m);
        rig_init(&r, medium, &m, seed);
        sim_disk_watch(medium, on_operation, &t);
        assert_int_equal(rig_open(&r), ERR_OK);
        bool is_right = play(&r, HISTORY, true);
        say("power loss", seed, &r, &t);
        if (m.wrong[0] != '\0')
            print_message("# %s\n", t.last_error);
        assert_string_equal(m.wrong, "");
        assert_true(is_right);
        assert_true(m.n_acked > HISTORY / 3 && t.n_checks > 100 && t.n_deaths > 10);
        end(&r);
        model_fini(&m);
        sim_disk_del(&medium);
    }
}

/* ---- operations that fail ---- */

/* A short history in which the k-th operation fails; then the power goes and all is checked. Returns whether
 * the fault was met. */
static bool play_fault(uint64_t seed, const struct sim_disk_fault *fault, struct sim_disk_counts *out)
{
    struct sim_disk *medium = sim_disk_new(seed);
    struct model m;
    struct rig r;
    model_init(&m);
    rig_init(&r, medium, &m, seed);
    if (fault != NULL)
        sim_disk_add_fault(medium, fault);
    enum err err = rig_open(&r);
    if (err != ERR_OK) {
        r.n_failures++;
        sim_disk_clear_faults(medium);
        err = rig_open(&r);
    }
    assert_int_equal(err, ERR_OK);
    struct sim_disk_counts c;
    for (size_t i = 0; i < SHORT_HISTORY && m.wrong[0] == '\0'; i++) {
        sim_disk_get_counts(medium, &c);
        if (c.n_faults > 30)
            sim_disk_clear_faults(medium); /* space or cable are back */
        (void)rig_step(&r, true);
    }
    sim_disk_clear_faults(medium);
    rig_die(&r, true);
    if (m.wrong[0] == '\0') {
        assert_int_equal(rig_open(&r), ERR_OK);
        (void)rig_check(&r, &m, true, false, NULL);
    }
    if (m.wrong[0] != '\0' && fault != NULL)
        print_message("# seed %llu, operation %llu, %s: %s\n", (unsigned long long)seed,
                      (unsigned long long)fault->at, err_str(fault->err), m.wrong);
    assert_string_equal(m.wrong, "");
    sim_disk_get_counts(medium, out);
    bool was_met = out->n_faults > 0;
    end(&r);
    model_fini(&m);
    sim_disk_del(&medium);
    return was_met;
}

static void faults(enum err err, uint64_t count, uint32_t kinds, uint64_t seed)
{
    struct sim_disk_counts c;
    uint64_t n_met = 0, n_played = 0;
    (void)play_fault(seed, NULL, &c);
    uint64_t n_ops = kinds == 0 ? c.n_ops : kinds == ALL_BUT_READS ? c.n_ops - c.n_reads : c.n_reads;
    uint64_t step = is_full_run() ? 1 : n_ops / 60 + 1;
    for (uint64_t k = 1 + seed % step; k <= n_ops; k += step) {
        struct sim_disk_fault f = {.at = k, .count = count, .err = err, .kinds = kinds};
        n_met += play_fault(seed, &f, &c);
        n_played++;
    }
    print_message("# %s at %llu of %llu operations, met %llu times\n", err_str(err),
                  (unsigned long long)n_played, (unsigned long long)n_ops, (unsigned long long)n_met);
    assert_true(n_met * 5 > n_played); /* some are behind the end of a history that went another way */
}

static void test_io_error_once(void **state)
{
    UNUSED(state);
    faults(ERR_IO, 1, 0, 21);
}

static void test_io_error_stays(void **state)
{
    UNUSED(state);
    faults(ERR_IO, UINT64_MAX, ALL_BUT_READS, 22);
}

static void test_no_space_once(void **state)
{
    UNUSED(state);
    faults(ERR_NOSPACE, 1, 0, 23);
}

static void test_no_space_stays(void **state)
{
    UNUSED(state);
    faults(ERR_NOSPACE, UINT64_MAX, ALL_BUT_READS, 24);
}

/* A cable out for a moment: a few reads in a row fail. Nothing is taken for damaged. */
static void test_reads_fail_for_a_while(void **state)
{
    UNUSED(state);
    faults(ERR_IO, 3, 1u << DISK_READ, 25);
}

/* Only writes and syncs of the log fail, so most of them in the middle of commits; the process restarts
 * without loss of power, goes on, and only then the power goes: what the failed flush left in readers' eyes
 * must not have been trusted. */
static void test_failed_flush_is_not_trusted(void **state)
{
    UNUSED(state);
    struct sim_disk_counts c;
    uint64_t n_met = 0, n_seeds = is_full_run() ? 400 : 60;
    for (uint64_t seed = 100; seed < 100 + n_seeds; seed++) {
        struct sim_disk_fault f = {
            .at = 20 + seed % 97, .count = 1, .err = ERR_IO, .kinds = 1u << DISK_WRITE | 1u << DISK_SYNC};
        n_met += play_fault(seed, &f, &c);
    }
    assert_true(n_met * 10 > n_seeds * 9);
}

/* A disk of fixed size: nothing fails for good, drops and the cleaner give space back, puts go on. */
static void test_full_disk_recovers(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 31; seed < 36; seed++) {
        struct sim_disk *medium = sim_disk_new(seed);
        struct model m;
        struct rig r;
        model_init(&m);
        rig_init(&r, medium, &m, seed);
        r.n_live_wanted = 2000; /* more than fits */
        r.segment_size = 4 * (uint64_t)RIG_SEGMENT;
        sim_disk_set_capacity(medium, 32 * (uint64_t)RIG_SEGMENT); /* eight segments */
        assert_int_equal(rig_open(&r), ERR_OK);
        for (size_t i = 0; i < HISTORY && m.wrong[0] == '\0'; i++)
            (void)rig_step(&r, false);
        assert_string_equal(m.wrong, "");
        struct store_stats stats;
        store_get_stats(r.s, &stats);
        assert_true(r.n_failures > 0);
        assert_false(stats.has_failed);
        r.n_live_wanted = 10;
        for (size_t i = 0; i < 8 * HISTORY && stats.n_live > 12; i++) {
            (void)rig_step(&r, false);
            store_get_stats(r.s, &stats);
        }
        assert_true(stats.n_live <= 12);
        rig_turns(&r, 5000);
        uint64_t n_failures = r.n_failures;
        r.n_live_wanted = 30;
        size_t n_acked = m.n_acked;
        for (size_t i = 0; i < 300 && m.wrong[0] == '\0'; i++)
            (void)rig_step(&r, false);
        assert_string_equal(m.wrong, "");
        assert_true(m.n_acked > n_acked + 100);
        assert_true(r.n_failures < n_failures + 30);
        rig_die(&r, true);
        assert_int_equal(rig_open(&r), ERR_OK);
        assert_true(rig_check(&r, &m, true, false, NULL));
        end(&r);
        model_fini(&m);
        sim_disk_del(&medium);
    }
}

/* ---- bit rot ---- */

struct files {
    char path[64][64];
    uint64_t size[64];
    size_t n;
};

static void on_file(void *arg, const char *path, uint64_t size)
{
    struct files *f = arg;
    if (f->n == 64 || size == 0)
        return;
    (void)snprintf(f->path[f->n], sizeof f->path[0], "%s", path);
    f->size[f->n++] = size;
}

/* One octet of one file is changed while nobody looks; never are octets given out that were not put. In a
 * sealed log at most the records of one unit, or one body, may be missing or unreadable, and then it was
 * reported. In one that was not sealed the last batch may be taken for torn. */
static void rot(bool is_sealed)
{
    struct sim_disk *medium = sim_disk_new(41);
    struct model m;
    struct rig r;
    size_t n_hurt = 0;
    uint64_t n_told = 0;
    model_init(&m);
    rig_init(&r, medium, &m, 41);
    assert_int_equal(rig_open(&r), ERR_OK);
    assert_true(play(&r, 600, false));
    rig_idle(&r);
    if (is_sealed)
        rig_close(&r);
    else
        rig_die(&r, false);
    struct files files = {0};
    sim_disk_each_file(medium, "log", on_file, &files);
    sim_disk_each_file(medium, "body", on_file, &files);
    struct rng rng;
    rng_seed(&rng, 4242);
    unsigned n_tries = is_full_run() ? 20000 : 1000;
    for (unsigned i = 0; i < n_tries; i++) {
        struct sim_disk *copy = sim_disk_clone(medium, i);
        size_t k = (size_t)rng_below(&rng, files.n);
        assert_true(
            sim_disk_rot(copy, files.path[k], rng_below(&rng, files.size[k]), (unsigned char)(1u << i % 8)));
        struct rig v;
        size_t n_damaged = 0;
        rig_init(&v, copy, NULL, i);
        assert_int_equal(rig_open(&v), ERR_OK);
        bool is_right = rig_check(&v, &m, false, true, &n_damaged);
        if (!is_right)
            print_message("# %s: %s\n", files.path[k], m.wrong);
        assert_true(is_right);
        assert_true(n_damaged <= (is_sealed ? 1 : 4) * (1 + MODEL_CHILDREN));
        if (n_damaged > 0 && is_sealed)
            assert_true(v.w.n_warned > 0);
        n_hurt += n_damaged > 0;
        n_told += v.w.n_warned > 0;
        rig_turns(&v, 400); /* the cleaner carries the rest away from the damaged segment */
        rig_die(&v, false);
        rig_fini(&v);
        sim_disk_del(&copy);
    }
    print_message("# %u octets rotted, %zu times something was hurt, %llu times reported\n", n_tries, n_hurt,
                  (unsigned long long)n_told);
    assert_true(n_hurt > n_tries / 100);
    rig_fini(&r);
    model_fini(&m);
    sim_disk_del(&medium);
}

static void test_bit_rot_when_sealed(void **state)
{
    UNUSED(state);
    rot(true);
}

static void test_bit_rot_when_not_sealed(void **state)
{
    UNUSED(state);
    rot(false);
}

/* ---- the checker itself ---- */

/* A disk whose flushes do nothing: the checker must see the loss, or it could not see anything. */
static void test_lying_disk_is_seen(void **state)
{
    UNUSED(state);
    unsigned n_seen = 0, n_seeds = 20;
    for (uint64_t seed = 51; seed < 51 + n_seeds; seed++) {
        struct sim_disk *medium = sim_disk_new(seed);
        struct model m;
        struct rig r;
        model_init(&m);
        rig_init(&r, medium, &m, seed);
        assert_int_equal(rig_open(&r), ERR_OK);
        assert_true(play(&r, 100, false)); /* the beginning is honest */
        sim_disk_set_lying(medium, true);
        assert_true(play(&r, 100, false));
        rig_die(&r, true);
        sim_disk_set_lying(medium, false);
        if (rig_open(&r) == ERR_OK)
            (void)rig_check(&r, &m, false, false, NULL);
        else
            model_say(&m, "can't be opened");
        n_seen += m.wrong[0] != '\0';
        end(&r);
        model_fini(&m);
        sim_disk_del(&medium);
    }
    print_message("# the lie was seen in %u of %u histories\n", n_seen, n_seeds);
    assert_true(n_seen >= n_seeds / 3);
}

/* Each kind of wrong store the model knows of is called wrong. */
static void test_model_sees(void **state)
{
    UNUSED(state);
    static const struct {
        const char *name;
        size_t n_results;
        bool has_first, has_second, has_stranger, swaps_hint;
        bool is_right;
    } rows[] = {
        {"all is there", 1, true, true, false, false, true},
        {"the open unit is missing", 0, true, true, false, false, true},
        {"half of a unit", 1, true, false, false, false, false},
        {"nothing of an acknowledged unit", 1, false, false, false, false, false},
        {"a stranger", 1, true, true, true, false, false},
        {"a wrong hint", 1, true, true, false, true, false},
        {"a result too many", 2, true, true, false, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct model m;
        size_t put, result;
        struct model_found found[3] = {0};
        size_t n = 0;
        model_init(&m);
        model_unit_new(&m, &put)->fate = MODEL_ACKED;
        (void)model_unit_new(&m, &result);
        (void)model_env_new(&m, 10, 9, put);
        (void)model_env_new(&m, 11, 9, put);
        m.envs[0].results[m.envs[0].n_results++] = result;
        if (rows[i].has_first)
            found[n++] = (struct model_found){.id = 10, .body_id = 9, .n_results = rows[i].n_results};
        if (rows[i].has_second)
            found[n++] = (struct model_found){.id = 11, .body_id = 9};
        if (rows[i].has_stranger)
            found[n++] = (struct model_found){.id = 12, .body_id = 9};
        for (size_t k = 0; k < n; k++)
            model_hint(found[k].id, found[k].n_results, found[k].hint);
        if (rows[i].swaps_hint)
            found[0].hint[0] ^= 1;
        bool is_right = model_check(&m, found, n, false, false, NULL);
        if (is_right != rows[i].is_right)
            print_message("# %s\n", rows[i].name);
        assert_int_equal(is_right, rows[i].is_right);
        model_fini(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_sees),
        cmocka_unit_test(test_lying_disk_is_seen),
        cmocka_unit_test(test_power_loss),
        cmocka_unit_test(test_io_error_once),
        cmocka_unit_test(test_io_error_stays),
        cmocka_unit_test(test_no_space_once),
        cmocka_unit_test(test_no_space_stays),
        cmocka_unit_test(test_reads_fail_for_a_while),
        cmocka_unit_test(test_failed_flush_is_not_trusted),
        cmocka_unit_test(test_full_disk_recovers),
        cmocka_unit_test(test_bit_rot_when_sealed),
        cmocka_unit_test(test_bit_rot_when_not_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
