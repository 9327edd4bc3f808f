#include "ext/gzip.h"

#include "base/mem.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <zlib.h>

enum { OCTETS_MAX = 300 * 1024 };

/* Unpacks by the library's other half, which checks header, checksum and length. */
static void assert_unpacks(struct str packed, struct str want)
{
    unsigned char *mem = mem_alloc(OCTETS_MAX);
    z_stream z = {.next_in = (z_const Bytef *)(uintptr_t)packed.p,
                  .avail_in = (uInt)packed.n,
                  .next_out = mem,
                  .avail_out = OCTETS_MAX};
    assert_non_null(mem);
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0); /* one member and nothing behind it */
    assert_true(str_eq(str_of(mem, OCTETS_MAX - z.avail_out), want));
    assert_int_equal(inflateEnd(&z), Z_OK);
    mem_free(mem);
}

static void what_is_packed_unpacks(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 65536, OCTETS_MAX};
    UNUSED(state);
    struct rng rng;
    rng_seed(&rng, 3);
    char *mem = mem_alloc(OCTETS_MAX);
    assert_non_null(mem);
    for (unsigned mask = 0x0f; mask <= 0xff; mask += 0xf0) { /* packs well, and not at all */
        for (size_t i = 0; i < OCTETS_MAX; i++)
            mem[i] = (char)(rng_next(&rng) & mask);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            struct buf out;
            buf_init(&out, 2 * OCTETS_MAX);
            assert_true(buf_puts(&out, "before"));
            assert_true(gzip_pack(str_of(mem, sizes[i]), &out));
            assert_true(str_starts(buf_str(&out), STR("before\x1f\x8b")));
            assert_unpacks(str_skip(buf_str(&out), 6), str_of(mem, sizes[i]));
            buf_fini(&out);
        }
    }
    mem_free(mem);
}

static void what_does_not_fit_leaves_nothing(void **state)
{
    UNUSED(state);
    struct str text = STR("one two three four five six seven eight nine ten eleven twelve");
    struct buf out;
    buf_init(&out, 1000);
    assert_true(gzip_pack(text, &out));
    size_t size = out.n;
    buf_fini(&out);
    for (size_t max = 0; max <= size; max++) {
        buf_init(&out, max + 1);
        assert_true(buf_putc(&out, 'x'));
        assert_int_equal(gzip_pack(text, &out), max == size);
        assert_int_equal(out.n, max == size ? size + 1 : 1);
        buf_fini(&out);
    }
}

/* Nor what was written before it was seen not to fit. */
static void much_that_does_not_fit_leaves_nothing(void **state)
{
    UNUSED(state);
    struct rng rng;
    struct buf out;
    char *mem = mem_alloc(OCTETS_MAX);
    assert_non_null(mem);
    rng_seed(&rng, 4);
    for (size_t i = 0; i < OCTETS_MAX; i++)
        mem[i] = (char)rng_next(&rng);
    buf_init(&out, OCTETS_MAX / 2);
    assert_true(buf_putc(&out, 'x'));
    assert_false(gzip_pack(str_of(mem, OCTETS_MAX), &out));
    assert_int_equal(out.n, 1);
    buf_fini(&out);
    mem_free(mem);
}

/* The same octets whoever packs them when: no time and no name is in it. */
static void it_tells_nothing_else(void **state)
{
    char mem[2][200];
    struct buf out[2];
    UNUSED(state);
    for (size_t i = 0; i < 2; i++) {
        buf_init_fixed(&out[i], mem[i], sizeof mem[i]);
        assert_true(gzip_pack(STR("a report"), &out[i]));
    }
    assert_true(str_eq(buf_str(&out[0]), buf_str(&out[1])));
    assert_memory_equal(mem[0] + 3, "\0\0\0\0\0", 5); /* flags, and the time */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_unpacks),
        cmocka_unit_test(what_does_not_fit_leaves_nothing),
        cmocka_unit_test(much_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(it_tells_nothing_else),
    };
    return cmocka_run_group_tests_name("gzip", tests, NULL, NULL);
}
