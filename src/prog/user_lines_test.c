#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "prog/user_lines.h"

#define FILE_TEXT                                                                                            \
    "# who has a mailbox here\n"                                                                             \
    "\n"                                                                                                     \
    "ann:{A}1:1000:100:Ann:/home/ann:\n"                                                                     \
    " Joe : {J}1 \r\n"                                                                                       \
    "joe/phone:{J}2\n"                                                                                       \
    "#joe:{old}\n"                                                                                           \
    "joe.smith:{S}\n"                                                                                        \
    "none\n"                                                                                                 \
    "joe/tablet:{J}3:x\n"                                                                                    \
    "bob:!"

static void lines(void **state)
{
    UNUSED(state);
    static const char *const want[][2] = {{"", ""},
                                          {"", ""},
                                          {"ann", "{A}1"},
                                          {"Joe", "{J}1"},
                                          {"joe/phone", "{J}2"},
                                          {"", ""},
                                          {"joe.smith", "{S}"},
                                          {"none", ""},
                                          {"joe/tablet", "{J}3"},
                                          {"bob", "!"}};
    struct str rest = STR(FILE_TEXT);
    struct user_line l;
    size_t n = 0, octets = 0;
    while (user_file_next(&rest, &l)) {
        assert_true(n < ARRAY_LEN(want));
        assert_true(str_eq(l.name, str_from_c(want[n][0])) && str_eq(l.field, str_from_c(want[n][1])));
        octets += l.raw.n;
        n++;
    }
    assert_int_equal(n, ARRAY_LEN(want));
    assert_int_equal(octets, sizeof FILE_TEXT - 1);
    assert_true(user_file_find(STR(FILE_TEXT), STR("JOE"), &l) && str_eq(l.field, STR("{J}1")));
    assert_true(user_file_is_of(&l, STR("joe")));
    assert_false(user_file_find(STR(FILE_TEXT), STR("jo"), &l) ||
                 user_file_find(STR(FILE_TEXT), STR(""), &l) ||
                 user_file_find(STR(FILE_TEXT), STR("#joe"), &l));
}

/* text with `from` in it replaced by `to`, once. */
static void replaced(const char *text, const char *from, const char *to, struct buf *out)
{
    size_t at = str_find(str_from_c(text), str_from_c(from));
    assert_true(at != STR_NPOS);
    buf_put(out, str_slice(str_from_c(text), 0, at));
    buf_puts(out, to);
    buf_put(out, str_skip(str_from_c(text), at + str_from_c(from).n));
}

static void sets(void **state)
{
    UNUSED(state);
    static const struct {
        const char *name, *from, *to;
    } rows[] = {
        {"ann", "{A}1", "NEW"},
        {"JOE", " Joe : {J}1 \r\n", " Joe :NEW\r\n"},
        {"joe/phone", "{J}2", "NEW"},
        {"joe/Tablet", "{J}3", "NEW"},
        {"none", "none\n", "none:NEW\n"},
        {"bob", "bob:!", "bob:NEW"},
        /* new lines */
        {"joe/laptop", "joe/tablet:{J}3:x\n", "joe/tablet:{J}3:x\njoe/laptop:NEW\n"},
        {"ann/phone", "home/ann:\n", "home/ann:\nann/phone:NEW\n"},
        {"eve", "bob:!", "bob:!\neve:NEW\n"},
        {"bob/phone", "bob:!", "bob:!\nbob/phone:NEW\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char got_mem[1024], want_mem[1024];
        struct buf got, want;
        buf_init_fixed(&got, got_mem, sizeof got_mem);
        buf_init_fixed(&want, want_mem, sizeof want_mem);
        user_file_set(STR(FILE_TEXT), str_from_c(rows[i].name), STR("NEW"), &got);
        replaced(FILE_TEXT, rows[i].from, rows[i].to, &want);
        if (!str_eq(buf_str(&got), buf_str(&want)))
            fail_msg("%s: %.*s", rows[i].name, STR_FMT(buf_str(&got)));
    }
    char mem[64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    user_file_set(STR_NIL, STR("joe"), STR("NEW"), &b);
    assert_true(str_eq(buf_str(&b), STR("joe:NEW\n")));
    buf_init_fixed(&b, mem, 4);
    user_file_set(STR_NIL, STR("joe"), STR("NEW"), &b);
    assert_true(b.failed);
}

static void removes(void **state)
{
    UNUSED(state);
    char mem[1024], want_mem[1024];
    struct buf b, want;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&want, want_mem, sizeof want_mem);
    assert_int_equal(user_file_remove(STR(FILE_TEXT), STR("joe/phone"), &b), 1);
    replaced(FILE_TEXT, "joe/phone:{J}2\n", "", &want);
    assert_true(str_eq(buf_str(&b), buf_str(&want)));
    buf_reset(&b);
    assert_int_equal(user_file_remove(STR(FILE_TEXT), STR("joe"), &b), 3); /* with those of his programs */
    assert_true(str_eq(buf_str(&b), STR("# who has a mailbox here\n\nann:{A}1:1000:100:Ann:/home/ann:\n"
                                        "#joe:{old}\njoe.smith:{S}\nnone\nbob:!")));
    buf_reset(&b);
    assert_int_equal(user_file_remove(STR(FILE_TEXT), STR("eve"), &b), 0);
    assert_true(str_eq(buf_str(&b), STR(FILE_TEXT)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(sets),
        cmocka_unit_test(removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
