/* base/queue_id_test.c: the form of queue ids, both ways. */
#include "base/queue_id.h"

#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void writes_queue_ids(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t id;
        const char *text;
    } rows[] = {
        {0, "0000000000000"},  {1, "0000000000001"},          {31, "000000000000Z"},
        {32, "0000000000010"}, {UINT64_MAX, "FZZZZZZZZZZZZ"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[QUEUE_ID_TEXT];
        struct buf b;
        uint64_t id;
        buf_init_fixed(&b, mem, sizeof mem);
        queue_id_format(rows[i].id, &b);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i].text)));
        assert_true(queue_id_parse(buf_str(&b), &id));
        assert_int_equal(id, rows[i].id);
    }
    struct rng rng;
    rng_seed(&rng, 3);
    char last[QUEUE_ID_TEXT] = {0};
    uint64_t last_id = 0;
    for (int i = 0; i < 10000; i++) {
        uint64_t id = rng_next(&rng) >> rng_below(&rng, 64), back;
        char mem[QUEUE_ID_TEXT];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        queue_id_format(id, &b);
        assert_true(queue_id_parse(buf_str(&b), &back));
        assert_int_equal(back, id);
        int order = str_cmp(str_of(mem, sizeof mem), str_of(last, sizeof last));
        if (i > 0)
            assert_true(id < last_id ? order < 0 : id > last_id ? order > 0 : order == 0);
        memcpy(last, mem, sizeof last);
        last_id = id;
    }
}

static void reads_queue_ids(void **state)
{
    UNUSED(state);
    uint64_t id;
    assert_true(queue_id_parse(STR("fzzzzzzzzzzzz"), &id));
    assert_true(id == UINT64_MAX);
    assert_true(queue_id_parse(STR("OoOoOoOoOoO1i"), &id));
    assert_int_equal(id, 33);
    assert_true(queue_id_parse(STR("00000000000Ll"), &id));
    assert_int_equal(id, 33);
    static const char *const no[] = {"",
                                     "0",
                                     "000000000000",
                                     "00000000000000",
                                     "G000000000000",
                                     "Z000000000000",
                                     "000000000000U",
                                     "000000000000-",
                                     "00000000000 1",
                                     "000000000000\xff"};
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(queue_id_parse(str_from_c(no[i]), &id));
    assert_false(queue_id_parse(str_of("000000000000\0", 13), &id));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_queue_ids),
        cmocka_unit_test(reads_queue_ids),
    };
    return cmocka_run_group_tests_name("queue_id", tests, NULL, NULL);
}
