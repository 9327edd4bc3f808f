#include "crypto/secret.h"

#include "crypto/testing.h"

#include <string.h>

static void equal_is_all_octets(void **state)
{
    UNUSED(state);
    char a[64], b[64];
    memset(a, 'a', sizeof a);
    for (size_t n = 0; n <= sizeof a; n++) {
        memset(b, 'a', sizeof b);
        assert_true(secret_eq(str_of(a, n), str_of(b, n)));
        for (size_t i = 0; i < n; i++) {
            b[i] ^= 0x20;
            assert_false(secret_eq(str_of(a, n), str_of(b, n)));
            b[i] ^= 0x20;
        }
        assert_false(n > 0 && secret_eq(str_of(a, n), str_of(b, n - 1)));
    }
    assert_true(secret_eq(STR_NIL, STR_NIL));
}

static void wipe_leaves_zeros(void **state)
{
    UNUSED(state);
    char mem[32];
    static const char zeros[sizeof mem];
    memset(mem, 'x', sizeof mem);
    secret_wipe(mem + 1, sizeof mem - 2);
    assert_true(mem[0] == 'x' && mem[sizeof mem - 1] == 'x');
    assert_memory_equal(mem + 1, zeros, sizeof mem - 2);
    secret_wipe(NULL, 0);

    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_puts(&b, "a longer secret");
    buf_reset(&b);
    buf_puts(&b, "b"); /* what stands behind the text goes too */
    secret_wipe_buf(&b);
    assert_int_equal(b.n, 0);
    assert_memory_equal(mem, zeros, sizeof mem);
}

static void copy_is_a_copy(void **state)
{
    UNUSED(state);
    char mem[] = "word";
    struct str s;
    assert_true(secret_copy(str_of(mem, 4), &s));
    mem[0] = 'x';
    assert_true(str_eq(s, STR("word")));
    secret_free(&s);
    assert_int_equal(s.n, 0);
    secret_free(&s);
    assert_true(secret_copy(STR_NIL, &s));
    assert_null(s.p);
}

static void line_of_a_file(void **state)
{
    static const struct {
        const char *octets, *line;
    } rows[] = {
        {"", ""},      {"word", "word"}, {"word\n", "word"}, {"word\r\nmore\n", "word"}, {" a b \n", " a b "},
        {"\nword", ""}};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(str_eq(secret_line(str_from_c(rows[i].octets)), str_from_c(rows[i].line)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_is_all_octets),
        cmocka_unit_test(wipe_leaves_zeros),
        cmocka_unit_test(copy_is_a_copy),
        cmocka_unit_test(line_of_a_file),
    };
    return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
