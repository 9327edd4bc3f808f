#include "base/strmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct str name(char mem[16], unsigned i)
{
    int n = snprintf(mem, 16, "k%u", i);
    return str_of(mem, (size_t)n);
}

static void each_key_is_there_once(void **state)
{
    enum { N = 5000 };
    UNUSED(state);
    struct chunk_pool pool;
    struct arena a;
    char mem[16];
    bool is_new;
    chunk_pool_init(&pool, 4096, 10000);
    arena_init(&a, &pool, SIZE_MAX);
    struct strmap m = {.arena = &a, .seed = 7};
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < N; i++) {
            struct strmap_entry *e = strmap_put(&m, name(mem, i), i * 2 + round, &is_new);
            assert_non_null(e);
            assert_int_equal(is_new, round == 0);
            assert_int_equal(e->value, i * 2); /* that of the first time, through all growing */
            assert_true(str_eq(e->key, name(mem, i)));
        }
        assert_int_equal(m.n, N);
    }
    assert_non_null(strmap_put(&m, STR("K1"), 1, &is_new)); /* case counts */
    assert_true(is_new);
    strmap_clear(&m);
    assert_non_null(strmap_put(&m, name(mem, 1), 9, &is_new));
    assert_true(is_new && m.n == 1);
    arena_reset(&a);
    chunk_pool_fini(&pool);
}

/* Whatever allocation fails, what was in the map is found, and the same key may be tried again. */
static void without_memory_nothing_is_lost(void **state)
{
    UNUSED(state);
    struct chunk_pool pool;
    struct arena a;
    char mem[16];
    bool is_new;
    chunk_pool_init(&pool, 4096, 10000);
    for (size_t limit = 0; limit < 40000; limit += 97) {
        arena_init(&a, &pool, limit);
        struct strmap m = {.arena = &a};
        unsigned n = 0;
        while (n < 2000 && strmap_put(&m, name(mem, n), n, &is_new) != NULL)
            n++;
        assert_int_equal(m.n, n);
        for (unsigned i = 0; i < n && m.n * 2 < m.n_slots; i++) {
            const struct strmap_entry *e = strmap_put(&m, name(mem, i), 0, &is_new);
            assert_true(e != NULL && !is_new && e->value == i);
        }
        arena_reset(&a);
    }
    chunk_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_is_there_once),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests_name("strmap", tests, NULL, NULL);
}
