#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct buf fixed(char *mem, size_t cap)
{
    struct buf b;
    buf_init_fixed(&b, mem, cap);
    return b;
}

static void vectors_of_rfc4648_10(void **state)
{
    UNUSED(state);
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[16], back[16];
        struct str plain = str_from_c(rows[i][0]);
        struct str text = str_from_c(rows[i][1]);
        struct buf b = fixed(mem, text.n); /* exactly the room it says it needs */
        assert_int_equal(BASE64_SIZE(plain.n), text.n);
        assert_true(base64_put(&b, plain));
        assert_true(str_eq(buf_str(&b), text));
        struct buf d = fixed(back, plain.n);
        assert_true(base64_take(text, &d));
        assert_true(str_eq(buf_str(&d), plain));
    }
}

static void every_octet_comes_back(void **state)
{
    UNUSED(state);
    char all[256], mem[BASE64_SIZE(256)], back[BASE64_OCTETS(sizeof mem)];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    for (size_t from = 0; from <= sizeof all; from++) {
        struct buf b = fixed(mem, sizeof mem), d = fixed(back, sizeof back);
        assert_true(base64_put(&b, str_of(all + from, sizeof all - from)));
        assert_true(base64_take(buf_str(&b), &d));
        assert_true(str_eq(buf_str(&d), str_of(all + from, sizeof all - from)));
    }
}

static void only_what_an_encoder_writes(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "Z",      "Zg",    "Zg=",  "Zg=A", "Zh==",     "Zm9=",    "====", "=AAA",  "A===",  "Zg==Zg==",
        "Zm9v\n", "Zm 9v", "Zm9-", "Zm9_", "Zm9v====", "Zm9\xff", "Z=9v", "Zm8==", " Zm9v", "Zm9v ",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[16];
        struct buf d = fixed(mem, sizeof mem);
        buf_putc(&d, 'x');
        assert_false(base64_take(str_from_c(rows[i]), &d));
        assert_int_equal(d.n, 1);
        assert_false(d.failed);
    }
}

static void no_two_texts_mean_the_same(void **state)
{
    UNUSED(state);
    char text[4] = {0}, mem[3], again_mem[4];
    size_t n_taken = 0;
    for (unsigned i = 0; i < 1u << 16; i++) { /* all second halves of a group */
        text[0] = 'Q', text[1] = 'Q', text[2] = (char)(i & 0xff), text[3] = (char)(i >> 8);
        struct buf d = fixed(mem, sizeof mem), again = fixed(again_mem, sizeof again_mem);
        if (!base64_take(str_of(text, 4), &d))
            continue;
        n_taken++;
        assert_true(base64_put(&again, buf_str(&d)));
        assert_true(str_eq(buf_str(&again), str_of(text, 4)));
    }
    assert_int_equal(n_taken, 64 * 64 + 64 / 4 + 1); /* "QQ" has no spare bits set, one pad leaves two */
}

static void no_room_is_told(void **state)
{
    UNUSED(state);
    char mem[4];
    struct buf b = fixed(mem, 3);
    assert_false(base64_put(&b, STR("f")));
    assert_true(b.failed);
    struct buf d = fixed(mem, 2);
    assert_false(base64_take(STR("Zm9v"), &d));
    assert_true(d.failed);
    assert_int_equal(d.n, 0);
}

static void grows_once(void **state)
{
    UNUSED(state);
    char plain[1000], mem[BASE64_SIZE(sizeof plain)];
    struct buf text = fixed(mem, sizeof mem), out;
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (char)i;
    assert_true(base64_put(&text, str_of(plain, sizeof plain)));
    buf_init(&out, sizeof plain);
    assert_true(base64_take(buf_str(&text), &out));
    assert_int_equal(out.cap, sizeof plain); /* exactly, so there was no smaller one before */
    assert_memory_equal(out.p, plain, sizeof plain);
    buf_fini(&out);
    buf_init(&out, sizeof plain - 1);
    assert_false(base64_take(buf_str(&text), &out));
    assert_true(out.failed && out.n == 0 && out.p == NULL);
    buf_fini(&out);
}

/* The URL's alphabet against the other one: each octet, each remainder. */
static void url_form_is_the_same_otherwise_written(void **state)
{
    UNUSED(state);
    char all[256], mem[BASE64_SIZE(256)], back[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    for (size_t from = 0; from <= sizeof all; from++) {
        struct buf b = fixed(mem, sizeof mem), d = fixed(back, sizeof all - from); /* exactly the room */
        assert_true(base64_put(&b, str_of(all + from, sizeof all - from)));
        while (b.n > 0 && b.p[b.n - 1] == '=')
            b.n--;
        for (size_t i = 0; i < b.n; i++)
            b.p[i] = (char)(b.p[i] == '+' ? '-' : b.p[i] == '/' ? '_' : b.p[i]);
        assert_true(base64url_take(buf_str(&b), &d));
        assert_true(str_eq(buf_str(&d), str_of(all + from, sizeof all - from)));
    }
}

static void url_form_is_exact(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {"Z",    "Zg==", "Zh",     "Zm9",   "Zm8=",    "Zm9+",
                                       "Zm9/", "Zm 9", "Zm9v\n", "Zm9vZ", "Zm9\xff", "Zm.v"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[16];
        struct buf d = fixed(mem, sizeof mem);
        buf_putc(&d, 'x');
        assert_false(base64url_take(str_from_c(rows[i]), &d));
        assert_int_equal(d.n, 1);
        assert_false(d.failed);
    }
    char mem[2];
    struct buf d = fixed(mem, sizeof mem);
    assert_false(base64url_take(STR("Zm9v"), &d));
    assert_true(d.failed && d.n == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_rfc4648_10),
        cmocka_unit_test(every_octet_comes_back),
        cmocka_unit_test(only_what_an_encoder_writes),
        cmocka_unit_test(no_two_texts_mean_the_same),
        cmocka_unit_test(no_room_is_told),
        cmocka_unit_test(grows_once),
        cmocka_unit_test(url_form_is_the_same_otherwise_written),
        cmocka_unit_test(url_form_is_exact),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
