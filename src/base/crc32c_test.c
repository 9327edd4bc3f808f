#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/must.h"
#include "base/rand.h"

#include <string.h>

/* RFC 3720 B.4, and the usual check value. */
static void known_values(void **state)
{
    UNUSED(state);
    unsigned char m[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    memset(m, 0, sizeof m);
    assert_int_equal(crc32c(0, m, sizeof m), 0x8a9136aa);
    memset(m, 0xff, sizeof m);
    assert_int_equal(crc32c(0, m, sizeof m), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof m; i++)
        m[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, m, sizeof m), 0x46dd794e);
    for (unsigned i = 0; i < sizeof m; i++)
        m[i] = (unsigned char)(31 - i);
    assert_int_equal(crc32c(0, m, sizeof m), 0x113fdb5c);
}

/* One bit at a time, straight from the polynomial. */
static uint32_t by_bits(const unsigned char *p, size_t n)
{
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = (c >> 1) ^ ((c & 1) != 0 ? 0x82f63b78u : 0);
    }
    return ~c;
}

static void agrees_with_the_polynomial(void **state)
{
    UNUSED(state);
    unsigned char m[300];
    struct rng r;
    rng_seed(&r, 3);
    for (size_t i = 0; i < sizeof m; i++)
        m[i] = (unsigned char)rng_next(&r);
    for (size_t from = 0; from < 9; from++) { /* every alignment */
        for (size_t n = 0; from + n <= sizeof m; n++)
            assert_int_equal(crc32c(0, m + from, n), by_bits(m + from, n));
    }
}

static void pieces_are_the_whole(void **state)
{
    UNUSED(state);
    unsigned char m[64];
    for (unsigned i = 0; i < sizeof m; i++)
        m[i] = (unsigned char)(i * 7);
    uint32_t whole = crc32c(0, m, sizeof m), bytes = 0;
    for (size_t cut = 0; cut <= sizeof m; cut++)
        assert_int_equal(crc32c(crc32c(0, m, cut), m + cut, sizeof m - cut), whole);
    for (size_t i = 0; i < sizeof m; i++)
        bytes = crc32c(bytes, m + i, 1);
    assert_int_equal(bytes, whole);
}

static void sees_every_flipped_bit(void **state)
{
    UNUSED(state);
    unsigned char m[40] = {1, 2, 3};
    uint32_t good = crc32c(0, m, sizeof m);
    for (size_t bit = 0; bit < 8 * sizeof m; bit++) {
        m[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        assert_int_not_equal(crc32c(0, m, sizeof m), good);
        m[bit / 8] ^= (unsigned char)(1u << (bit % 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(agrees_with_the_polynomial),
        cmocka_unit_test(pieces_are_the_whole),
        cmocka_unit_test(sees_every_flipped_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
