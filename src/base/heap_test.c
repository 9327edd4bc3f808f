#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/mem.h"
#include "base/rand.h"

struct item {
    struct heap_node node;
    unsigned order; /* of insertion */
    bool is_in;
};

static struct item *item_of(struct heap_node *n)
{
    return container_of(n, struct item, node);
}

static void empty(void **state)
{
    UNUSED(state);
    struct heap h = {0};
    struct heap_node n;
    assert_null(heap_min(&h));
    heap_insert(&h, &n, 5);
    assert_ptr_equal(heap_min(&h), &n);
    assert_int_equal(h.n, 1);
    heap_remove(&h, &n);
    assert_null(heap_min(&h));
    assert_int_equal(h.n, 0);
}

static void equal_keys_keep_their_order(void **state)
{
    UNUSED(state);
    struct heap h = {0};
    struct item items[100];
    for (unsigned i = 0; i < 100; i++) {
        items[i].order = i;
        heap_insert(&h, &items[i].node, i % 3);
    }
    uint64_t key = 0;
    unsigned order = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct item *it = item_of(heap_min(&h));
        assert_true(it->node.key > key || (it->node.key == key && (i == 0 || it->order > order)));
        key = it->node.key;
        order = it->order;
        heap_remove(&h, &it->node);
    }
    assert_null(heap_min(&h));
}

/* Against a plain search, with removals from anywhere. */
static void agrees_with_a_search(void **state)
{
    UNUSED(state);
    enum { ITEMS = 200, STEPS = 20000 };
    struct heap h = {0};
    struct item *items = mem_must_alloc(ITEMS * sizeof *items);
    struct rng r;
    size_t n = 0;
    rng_seed(&r, 1);
    for (unsigned step = 0; step < STEPS; step++) {
        struct item *it = &items[rng_below(&r, ITEMS)];
        if (it->is_in) {
            heap_remove(&h, &it->node);
            n--;
        } else {
            it->order = step;
            heap_insert(&h, &it->node, rng_below(&r, 50));
            n++;
        }
        it->is_in = !it->is_in;
        struct item *least = NULL;
        for (size_t i = 0; i < ITEMS; i++) {
            struct item *c = &items[i];
            if (c->is_in && (least == NULL || c->node.key < least->node.key ||
                             (c->node.key == least->node.key && c->order < least->order)))
                least = c;
        }
        assert_int_equal(h.n, n);
        assert_ptr_equal(heap_min(&h), least == NULL ? NULL : &least->node);
    }
    mem_free(items);
}

/* Ascending, descending and equal keys in numbers that recursion would not survive. */
static void is_iterative(void **state)
{
    UNUSED(state);
    enum { ITEMS = 300000 };
    struct heap_node *nodes = mem_must_alloc(ITEMS * sizeof *nodes);
    for (int kind = 0; kind < 3; kind++) {
        struct heap h = {0};
        for (uint64_t i = 0; i < ITEMS; i++)
            heap_insert(&h, &nodes[i], kind == 0 ? i : kind == 1 ? ITEMS - i : 7);
        uint64_t before = 0;
        for (unsigned i = 0; i < ITEMS; i++) {
            struct heap_node *least = heap_min(&h);
            assert_true(least->key >= before);
            before = least->key;
            heap_remove(&h, least);
        }
        assert_int_equal(h.n, 0);
    }
    mem_free(nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(equal_keys_keep_their_order),
        cmocka_unit_test(agrees_with_a_search),
        cmocka_unit_test(is_iterative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
