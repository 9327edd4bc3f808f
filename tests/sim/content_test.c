/* tests/sim/content_test.c: contents of simulated files against plain arrays: what one owner writes no other
 * sees, and whole blocks are shared as long as nobody writes.
 */
#include "base/rand.h"
#include "sim/sim_disk_content.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { FILES = 4, SIZE_MAX_HERE = 3 * GROUP_BLOCKS * BLOCK, STEPS = 4000 };

struct pair { /* a content, and what it must read as */
    struct content c;
    unsigned char *plain;
    uint64_t size;
};

static void check(const struct pair *p)
{
    unsigned char *mem = mem_must_alloc(SIZE_MAX_HERE);
    assert_int_equal(p->c.size, p->size);
    assert_int_equal(content_read(&p->c, 0, mem, SIZE_MAX_HERE), p->size);
    assert_memory_equal(mem, p->plain, p->size);
    mem_free(mem);
}

/* At the ends of blocks and groups more often than chance has it. */
static uint64_t some_offset(struct rng *rng)
{
    uint64_t unit = rng_below(rng, 3) == 0 ? GROUP_BLOCKS * (uint64_t)BLOCK : BLOCK;
    uint64_t at = rng_below(rng, SIZE_MAX_HERE / unit) * unit;
    return rng_below(rng, 2) == 0 ? at : at + rng_below(rng, BLOCK);
}

static uint64_t some_length(struct rng *rng, uint64_t at)
{
    uint64_t n = rng_below(rng, 4) == 0 ? rng_below(rng, 5) * BLOCK : rng_below(rng, 3 * BLOCK);
    return n < SIZE_MAX_HERE - at ? n : SIZE_MAX_HERE - at;
}

static void grown(struct pair *p, uint64_t size)
{
    p->size = p->size < size ? size : p->size;
}

static void write_some(struct pair *p, struct rng *rng)
{
    uint64_t at = some_offset(rng), n = some_length(rng, at);
    unsigned char octet = rng_below(rng, 3) == 0 ? 0 : (unsigned char)rng_next(rng);
    memset(p->plain + at, octet, n);
    if (n > 1 && rng_below(rng, 2) == 0) /* zeros with one octet among them, or the other way round */
        p->plain[at + rng_below(rng, n)] ^= 1;
    unsigned char *copy = mem_must_alloc(n + 1);
    memcpy(copy, p->plain + at, n);
    content_write(&p->c, at, copy, n);
    mem_free(copy);
    if (n > 0)
        grown(p, at + n);
}

static void write_from_other(struct pair *p, const struct pair *from, struct rng *rng)
{
    uint64_t at = some_offset(rng), n = some_length(rng, at);
    uint64_t from_at = rng_below(rng, SIZE_MAX_HERE / BLOCK) * BLOCK + at % BLOCK;
    if (from_at + n > from->size)
        return;
    content_write_from(&p->c, at, &from->c, from_at, n);
    memmove(p->plain + at, from->plain + from_at, n);
    if (n > 0)
        grown(p, at + n);
}

static void replace_by_copy(struct pair *p, const struct pair *from)
{
    struct content copy = content_copy(&from->c);
    content_fini(&p->c);
    p->c = copy;
    memmove(p->plain, from->plain, SIZE_MAX_HERE);
    p->size = from->size;
}

static void reads_as_a_plain_array(void **state)
{
    UNUSED(state);
    struct rng rng;
    struct pair files[FILES] = {0};
    rng_seed(&rng, 7);
    for (size_t i = 0; i < FILES; i++)
        files[i].plain = mem_must_alloc(SIZE_MAX_HERE);
    for (unsigned step = 0; step < STEPS; step++) {
        struct pair *p = &files[rng_below(&rng, FILES)], *other = &files[rng_below(&rng, FILES)];
        uint64_t what = rng_below(&rng, 100), at = some_offset(&rng);
        unsigned char got[3 * BLOCK];
        if (what < 50) {
            write_some(p, &rng);
        } else if (what < 90) {
            write_from_other(p, other, &rng);
        } else if (what < 95) {
            content_grow(&p->c, at);
            grown(p, at);
        } else if (what < 99) {
            replace_by_copy(p, other);
        } else {
            content_fini(&p->c);
            memset(p->plain, 0, SIZE_MAX_HERE);
            p->size = 0;
        }
        size_t want = at >= p->size ? 0 : p->size - at < sizeof got ? p->size - at : sizeof got;
        assert_int_equal(content_read(&p->c, at, got, sizeof got), want);
        assert_memory_equal(got, p->plain + at, want);
        if (step % 50 == 0)
            check(&files[step / 50 % FILES]);
    }
    for (size_t i = 0; i < FILES; i++) {
        check(&files[i]);
        content_fini(&files[i].c);
        mem_free(files[i].plain);
    }
}

static void shares_until_written(void **state)
{
    UNUSED(state);
    struct content a = {0}, b, c = {0};
    unsigned char mem[3 * BLOCK];
    memset(mem, 'a', sizeof mem);
    content_write(&a, 0, mem, sizeof mem);
    b = content_copy(&a);
    content_write_from(&c, 0, &a, 0, 2 * BLOCK + 1);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(content_block(&b, i), content_block(&a, i));
        assert_int_equal(content_block(&c, i) == content_block(&a, i), i < 2); /* one octet is no block */
    }
    content_write(&b, BLOCK, mem, 1);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(content_block(&b, i) == content_block(&a, i), i != 1);
    content_fini(&a);
    assert_int_equal(content_read(&c, 0, mem, sizeof mem),
                     2 * BLOCK + 1); /* its blocks outlive the first owner */
    assert_int_equal(mem[2 * BLOCK], 'a');
    content_fini(&b);
    content_fini(&c);
}

static void zeros_cost_nothing(void **state)
{
    UNUSED(state);
    struct content a = {0}, b = {0};
    unsigned char mem[BLOCK] = {0};
    for (uint64_t at = 0; at < SIZE_MAX_HERE; at += BLOCK)
        content_write(&a, at, mem, sizeof mem);
    content_write(&b, 0, (const unsigned char *)"x", 1);
    content_write_from(&b, 0, &a, 0, BLOCK); /* zeros over octets */
    assert_null(content_block(&b, 0));
    assert_int_equal(a.size, SIZE_MAX_HERE);
    for (size_t i = 0; i < a.n_groups; i++)
        assert_null(a.groups[i]);
    content_fini(&a);
    content_fini(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_as_a_plain_array),
        cmocka_unit_test(shares_until_written),
        cmocka_unit_test(zeros_cost_nothing),
    };
    return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
