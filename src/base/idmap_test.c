#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/idmap.h"
#include "base/mem.h"
#include "base/rand.h"

static void finds_and_removes(void **state)
{
    UNUSED(state);
    static const uint64_t ids[] = {0, 1, UINT64_MAX, 1ull << 63, 512, 513};
    struct idmap m;
    struct idmap_node nodes[ARRAY_LEN(ids)];
    assert_true(idmap_init(&m));
    assert_null(idmap_find(&m, 0));
    assert_null(idmap_remove(&m, 0));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        idmap_insert(&m, &nodes[i], ids[i]);
    assert_int_equal(m.n, ARRAY_LEN(ids));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        assert_ptr_equal(idmap_find(&m, ids[i]), &nodes[i]);
        assert_ptr_equal(idmap_remove(&m, ids[i]), &nodes[i]);
        assert_null(idmap_find(&m, ids[i]));
        assert_null(idmap_remove(&m, ids[i]));
    }
    assert_int_equal(m.n, 0);
    idmap_fini(&m);
    idmap_fini(&m); /* harmless */
}

/* Sequential ids, as the queue makes them, over many splits: all are found after each growth. */
static void grows(void **state)
{
    UNUSED(state);
    enum { IDS = 100000 };
    struct idmap m;
    struct idmap_node *nodes = mem_must_alloc(IDS * sizeof *nodes);
    assert_true(idmap_init(&m));
    for (uint64_t i = 0; i < IDS; i++) {
        idmap_insert(&m, &nodes[i], i * 3);
        assert_ptr_equal(idmap_find(&m, i * 3), &nodes[i]);
        assert_ptr_equal(idmap_find(&m, 0), &nodes[0]);
    }
    assert_true(m.n_buckets >= IDS - IDMAP_PAGE);
    for (uint64_t i = 0; i < IDS; i++) {
        assert_ptr_equal(idmap_find(&m, i * 3), &nodes[i]);
        assert_null(idmap_find(&m, i * 3 + 1));
    }
    idmap_fini(&m);
    mem_free(nodes);
}

struct entry {
    struct idmap_node node;
    bool is_in;
    unsigned seen;
};

static void count(struct idmap_node *n, void *arg)
{
    size_t *total = arg;
    container_of(n, struct entry, node)->seen++;
    (*total)++;
}

static void free_it(struct idmap_node *n, void *arg)
{
    size_t *total = arg;
    (*total)++;
    mem_free(container_of(n, struct entry, node));
}

static void agrees_with_an_array(void **state)
{
    UNUSED(state);
    enum { IDS = 3000, STEPS = 100000 };
    struct idmap m;
    struct entry *entries = mem_must_alloc(IDS * sizeof *entries);
    struct rng r;
    size_t n = 0, total = 0;
    rng_seed(&r, 2);
    assert_true(idmap_init(&m));
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t id = rng_below(&r, IDS);
        struct entry *e = &entries[id];
        struct idmap_node *want = e->is_in ? &e->node : NULL;
        assert_ptr_equal(idmap_find(&m, id << 20), want);
        if (e->is_in) {
            assert_ptr_equal(idmap_remove(&m, id << 20), want);
            n--;
        } else {
            idmap_insert(&m, &e->node, id << 20);
            n++;
        }
        e->is_in = !e->is_in;
        assert_int_equal(m.n, n);
    }
    idmap_each(&m, count, &total);
    assert_int_equal(total, n);
    for (size_t i = 0; i < IDS; i++)
        assert_int_equal(entries[i].seen, entries[i].is_in);
    idmap_fini(&m);
    mem_free(entries);
}

static void each_may_free(void **state)
{
    UNUSED(state);
    struct idmap m;
    size_t total = 0;
    assert_true(idmap_init(&m));
    for (uint64_t i = 0; i < 2000; i++) {
        struct entry *e = mem_must_new(struct entry);
        idmap_insert(&m, &e->node, i);
    }
    idmap_each(&m, free_it, &total);
    assert_int_equal(total, 2000);
    idmap_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_and_removes),
        cmocka_unit_test(grows),
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(each_may_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
