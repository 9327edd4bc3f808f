#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

#include <string.h>

static void fixed_fits_whole_or_not(void **state)
{
    UNUSED(state);
    char mem[6];
    struct buf b;
    memset(mem, 'z', sizeof mem);
    buf_init_fixed(&b, mem, 5);
    assert_true(buf_put(&b, STR("abc")));
    assert_false(buf_put(&b, STR("def")));
    assert_true(b.failed);
    assert_true(str_eq(buf_str(&b), STR("abc"))); /* nothing of the refused one */
    assert_false(buf_putc(&b, 'd'));              /* stays failed, though it would fit */
    buf_reset(&b);
    assert_false(b.failed);
    assert_true(buf_puts(&b, "12345"));
    assert_false(buf_putc(&b, '6'));
    assert_int_equal(mem[5], 'z'); /* nothing behind the end */
}

static void grows_to_its_maximum(void **state)
{
    UNUSED(state);
    struct buf b;
    buf_init(&b, 1000);
    assert_null(b.p); /* an idle buffer owns nothing */
    for (int i = 0; i < 1000; i++)
        assert_true(buf_putc(&b, (char)('a' + i % 26)));
    assert_false(buf_putc(&b, 'x'));
    assert_int_equal(b.n, 1000);
    assert_true(b.cap <= 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(b.p[i], 'a' + i % 26);
    assert_false(buf_reserve(&b, SIZE_MAX)); /* the sum wraps */
    buf_fini(&b);
    assert_null(b.p);
}

static void releases_when_empty(void **state)
{
    UNUSED(state);
    struct buf b;
    buf_init(&b, 1000);
    buf_puts(&b, "x");
    buf_release(&b);
    assert_non_null(b.p); /* not empty: kept */
    buf_consume(&b, 1);
    buf_release(&b);
    assert_null(b.p);
    assert_true(buf_puts(&b, "again"));
    assert_true(str_eq(buf_str(&b), STR("again")));
    buf_fini(&b);
}

static void consumes_from_the_front(void **state)
{
    UNUSED(state);
    struct buf b;
    buf_init(&b, 100);
    buf_puts(&b, "abcdef");
    buf_consume(&b, 0);
    buf_consume(&b, 2);
    assert_true(str_eq(buf_str(&b), STR("cdef")));
    buf_consume(&b, 4);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
}

static void formats_short_and_long(void **state)
{
    UNUSED(state);
    struct buf b;
    char text[2000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    buf_init(&b, 4000);
    assert_true(buf_printf(&b, "%d-%s", 42, "x"));
    assert_true(str_eq(buf_str(&b), STR("42-x")));
    assert_true(buf_printf(&b, "%s", text));
    assert_int_equal(b.n, 4 + 1999);
    assert_memory_equal(b.p + 4, text, 1999);
    assert_false(buf_printf(&b, "%s%s", text, text));
    assert_int_equal(b.n, 4 + 1999);
    buf_fini(&b);
    char mem[4];
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(buf_printf(&b, "%s", "abcd")); /* the NUL of printf needs no room */
    assert_memory_equal(mem, "abcd", 4);
}

static void put_all(struct buf *b)
{
    buf_put_u8(b, 0xfe);
    buf_put_u16(b, 0x1234);
    buf_put_u32(b, 0xdeadbeef);
    buf_put_u64(b, 0x0123456789abcdef);
    buf_put_lstr(b, STR("text"));
    buf_put_lstr(b, STR_NIL);
}

static void reads_what_it_wrote(void **state)
{
    UNUSED(state);
    static const char want[] =
        "\xfe\x34\x12\xef\xbe\xad\xde\xef\xcd\xab\x89\x67\x45\x23\x01\x04\0\0\0text\0\0\0\0";
    struct buf b;
    buf_init(&b, 100);
    put_all(&b);
    assert_int_equal(b.n, sizeof want - 1);
    assert_memory_equal(b.p, want, sizeof want - 1);
    struct reader r = reader_of(buf_str(&b));
    assert_int_equal(read_u8(&r), 0xfe);
    assert_int_equal(read_u16(&r), 0x1234);
    assert_int_equal(read_u32(&r), 0xdeadbeef);
    assert_true(read_u64(&r) == 0x0123456789abcdef);
    assert_true(str_eq(read_lstr(&r), STR("text")));
    assert_false(reader_done(&r));
    assert_int_equal(read_lstr(&r).n, 0);
    assert_true(reader_done(&r));
    assert_int_equal(read_u8(&r), 0);
    assert_true(r.failed);
    assert_false(reader_done(&r));
    buf_fini(&b);
}

/* Cut at every point: failed, never a read behind the end, and it stays failed. */
static void reader_refuses_every_cut(void **state)
{
    UNUSED(state);
    struct buf b;
    buf_init(&b, 100);
    put_all(&b);
    for (size_t n = 0; n < b.n; n++) {
        char copy[64];
        memcpy(copy, b.p, n);
        struct reader r = reader_of(str_of(copy, n));
        (void)read_u8(&r);
        (void)read_u16(&r);
        (void)read_u32(&r);
        (void)read_u64(&r);
        (void)read_lstr(&r);
        (void)read_lstr(&r);
        assert_true(r.failed);
        assert_int_equal(read_u8(&r), 0);
    }
    struct reader r = reader_of(STR("\xff\xff\xff\xffxxxx")); /* a length over what is there */
    assert_int_equal(read_lstr(&r).n, 0);
    assert_true(r.failed);
    buf_fini(&b);
}

static void integers_at_places(void **state)
{
    UNUSED(state);
    unsigned char m[9];
    memset(m, 0xaa, sizeof m);
    put_u16_at(m + 1, 0x0102);
    assert_int_equal(get_u16_at(m + 1), 0x0102);
    assert_int_equal(m[0], 0xaa);
    assert_int_equal(m[3], 0xaa);
    put_u32_at(m + 1, 0xfffefdfc);
    assert_int_equal(get_u32_at(m + 1), 0xfffefdfc);
    assert_int_equal(m[5], 0xaa);
    put_u64_at(m + 1, UINT64_MAX - 1);
    assert_true(get_u64_at(m + 1) == UINT64_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_fits_whole_or_not),  cmocka_unit_test(grows_to_its_maximum),
        cmocka_unit_test(releases_when_empty),      cmocka_unit_test(consumes_from_the_front),
        cmocka_unit_test(formats_short_and_long),   cmocka_unit_test(reads_what_it_wrote),
        cmocka_unit_test(reader_refuses_every_cut), cmocka_unit_test(integers_at_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
