#include "proto/smtp_replies.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static const struct smtp_reply_row *row_at(int i)
{
    return smtp_reply_row((enum smtp_reply_id)i);
}

static size_t holes(const struct smtp_reply_row *row)
{
    size_t n = 0;
    for (const char *p = row->text; (p = strstr(p, "{}")) != NULL; p += 2)
        n++;
    return n;
}

/* RFC 3463 2: the class of the enhanced code is the first digit of the code. RFC 2034 4 names the replies
 * without one. */
static void code_and_class_agree(void **state)
{
    UNUSED(state);
    for (int i = 1; i < SMTP_REPLY_ROWS; i++) {
        const struct smtp_reply_row *row = row_at(i);
        bool is_bare = i == R_GREETING || i == R_HELLO || i == R_DATA_GO || i == R_PRDR_GO;
        assert_in_range(row->code, 200, 559);
        assert_true(is_bare ? row->esc.class == 0 : row->esc.class == row->code / 100);
        assert_true(row->esc.subject <= 7 && row->esc.detail <= 30);
    }
}

static void texts_are_fit_to_send(void **state)
{
    UNUSED(state);
    for (int i = 1; i < SMTP_REPLY_ROWS; i++) {
        const struct smtp_reply_row *row = row_at(i);
        assert_int_equal(row->text_n, strlen(row->text));
        assert_true(row->text_n > 0 && row->text_n < 100);
        assert_true(holes(row) <= 1);
        for (size_t k = 0; k < row->text_n; k++)
            assert_in_range(row->text[k], ' ', '~');
        if (row->code == 221 || row->code == 421) /* RFC 5321 4.2.3: these say who speaks */
            assert_int_equal(strncmp(row->text, "{} ", 3), 0);
    }
}

static void rows_differ(void **state)
{
    UNUSED(state);
    for (int i = 1; i < SMTP_REPLY_ROWS; i++) {
        assert_int_equal(smtp_reply_by_name(str_from_c(row_at(i)->name)), i);
        for (int k = 1; k < i; k++) {
            const struct smtp_reply_row *a = row_at(i), *b = row_at(k);
            bool same = a->code == b->code && memcmp(&a->esc, &b->esc, sizeof a->esc) == 0 &&
                        strcmp(a->text, b->text) == 0;
            assert_false(same);
        }
    }
    assert_int_equal(smtp_reply_by_name(STR("R_NONE")), R_NONE);
    assert_int_equal(smtp_reply_by_name(STR("R_NO_SUCH_ROW")), R_NONE);
}

static void argument_is_filled_in(void **state)
{
    UNUSED(state);
    static const struct {
        enum smtp_reply_id id;
        const char *arg;
        bool utf8;
        const char *reply;
    } table[] = {
        {R_OK, "", false, "250 2.0.0 OK\r\n"},
        {R_OK, "unused", false, "250 2.0.0 OK\r\n"},
        {R_QUEUED, "3F8KZ0Q1M2X4C", false, "250 2.0.0 queued as 3F8KZ0Q1M2X4C\r\n"},
        {R_QUEUED, "", false, "250 2.0.0 queued as \r\n"},
        {R_HELLO, "mx greets you\nSIZE 5\nHELP", false, "250-mx greets you\r\n250-SIZE 5\r\n250 HELP\r\n"},
        {R_HELP, "a\nb", false, "214-2.0.0 a\r\n214 2.0.0 b\r\n"},
        {R_BAD_PARAM, "x\ry\x01z", false, "501 5.5.4 x?y?z\r\n"},
        {R_BAD_SENDER, "jos\xc3\xa9", false, "501 5.1.7 the sender can't be an address: jos?\r\n"},
        {R_BAD_SENDER, "jos\xc3\xa9", true, "501 5.1.7 the sender can't be an address: jos\xc3\xa9\r\n"},
        {R_USAGE, "{}", false, "501 5.5.4 the form is: {}\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char mem[300];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        smtp_reply_put(table[i].id, str_from_c(table[i].arg), table[i].utf8, &out);
        assert_true(str_eq(buf_str(&out), str_from_c(table[i].reply)));
    }
}

/* Whatever the argument, a line keeps RFC 5321 4.5.3.1.5. */
static void long_argument_is_cut(void **state)
{
    UNUSED(state);
    char arg[5000], mem[2000];
    memset(arg, 'x', sizeof arg);
    for (int i = 1; i < SMTP_REPLY_ROWS; i++) {
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        smtp_reply_put((enum smtp_reply_id)i, str_of(arg, sizeof arg), false, &out);
        assert_true(!out.failed && out.n <= SMTP_REPLY_LINE_MAX && str_ends(buf_str(&out), STR("\r\n")));
    }
}

static void no_room_appends_nothing(void **state)
{
    UNUSED(state);
    for (size_t room = 0; room < 40; room++) {
        char mem[64];
        struct buf out;
        buf_init_fixed(&out, mem, room + 2);
        buf_puts(&out, "ab");
        smtp_reply_put(R_HELLO, STR("one\ntwo\nthree\nfour"), false, &out);
        bool fits = room >= 4 * 6 + 15; /* four codes and ends, fifteen letters */
        assert_int_equal(out.failed, !fits);
        assert_int_equal(out.n, fits ? 2 + 4 * 6 + 15 : 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_and_class_agree), cmocka_unit_test(texts_are_fit_to_send),
        cmocka_unit_test(rows_differ),          cmocka_unit_test(argument_is_filled_in),
        cmocka_unit_test(long_argument_is_cut), cmocka_unit_test(no_room_appends_nothing),
    };
    return cmocka_run_group_tests_name("smtp_replies", tests, NULL, NULL);
}
