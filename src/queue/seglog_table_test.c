#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/seglog_table.h"

/* Results come out in order of their numbers, whatever order they came in (copies come late), and once each.
 */
static void test_result_order(void **state)
{
    (void)state;
    static const uint64_t orders[][6] = {
        {1, 2, 3, 4, 5, 6}, {6, 5, 4, 3, 2, 1}, {3, 1, 2, 6, 4, 5}, {1, 6, 2, 5, 3, 4}, {5, 5, 1, 1, 3, 3},
    };
    struct seglog_table t;
    assert_true(seglog_table_init(&t));
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct seglog_env *e = seglog_env_add(&t, i + 1);
        for (size_t k = 0; k < 6; k++)
            assert_true(seglog_result_add(&t, e, orders[i][k])->seq == orders[i][k]);
        uint64_t before = 0;
        size_t n = 0;
        const struct seglog_result *r = e->last;
        do {
            r = r->next;
            assert_true(r->seq > before);
            assert_ptr_equal(seglog_result_find(e, r->seq), r);
            before = r->seq;
            n++;
        } while (r != e->last);
        assert_int_equal(n, i < 4 ? 6 : 3);
        assert_null(seglog_result_find(e, 7));
        seglog_result_del(&t, e, seglog_result_find(e, i < 4 ? 6 : 5));
        seglog_result_del(&t, e, seglog_result_find(e, 1));
        assert_null(seglog_result_find(e, 1));
        assert_non_null(seglog_result_find(e, 3));
        seglog_env_del(&t, e);
        assert_null(seglog_env_find(&t, i + 1));
    }
    struct seglog_env *e = seglog_env_add(&t, 100);
    seglog_result_del(&t, e, seglog_result_add(&t, e, 1));
    assert_null(e->last);
    seglog_table_fini(&t);
}

/* Memory is taken by pages and used again; what was reserved can't fail. */
static void test_pages(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct seglog_table t;
    assert_true(seglog_table_init(&t));
    for (unsigned round = 0; round < 3; round++) {
        assert_true(seglog_table_reserve(&t, N, N, N, N));
        const void *pages = t.env_slab.pages;
        for (uint64_t id = 1; id <= N; id++) {
            struct seglog_env *e = seglog_env_add(&t, id);
            assert_true(e->at.slot == SEGLOG_SLOT_NONE && e->last == NULL && e->n_holders == 0);
            e->n_holders = 9;
            assert_non_null(seglog_result_add(&t, e, id));
            seglog_body_add(&t, id)->n_refs = 1;
            seglog_tomb_add(&t, id)->n_holders = 1;
        }
        assert_ptr_equal(t.env_slab.pages, pages);
        for (uint64_t id = 1; id <= N; id++) {
            assert_true(seglog_env_find(&t, id)->node.id == id);
            seglog_env_del(&t, seglog_env_find(&t, id));
            seglog_body_del(&t, seglog_body_find(&t, id));
            seglog_tomb_del(&t, seglog_tomb_find(&t, id));
        }
        assert_true(t.envs.n == 0 && t.bodies.n == 0 && t.tombs.n == 0);
    }
    seglog_table_fini(&t);
}

/* What a message costs in memory: an envelope with a body of its own, and the dead. */
static void test_sizes(void **state)
{
    (void)state;
    assert_true(sizeof(struct seglog_env) + sizeof(struct seglog_body) <= 128);
    assert_true(sizeof(struct seglog_tomb) <= 40);
    assert_true(sizeof(struct seglog_result) <= 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_result_order),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
