/* service/local/maildir_test.c: the stored form of a message, fed whole, by octets and split at every place.
 */
#include "service/local/deliver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    struct str in, out;
} rows[] = {
    {STR_INIT(""), STR_INIT("")},
    {STR_INIT("A: b\r\n\r\nbody\r\n"), STR_INIT("A: b\n\nbody\n")},
    {STR_INIT("Return-Path: <x@y>\r\nA: b\r\n\r\nbody\r\n"), STR_INIT("A: b\n\nbody\n")},
    {STR_INIT("A: b\r\nreturn-path : <x@y>\r\n\tfolded\r\nC: d\r\n\r\n"), STR_INIT("A: b\nC: d\n\n")},
    {STR_INIT("Return-Pathology: stays\r\n\r\n"), STR_INIT("Return-Pathology: stays\n\n")},
    {STR_INIT("\r\nReturn-Path: in the body stays\r\n"), STR_INIT("\nReturn-Path: in the body stays\n")},
    {STR_INIT("A: b\r\n\r\nlone\rcr and end\r"), STR_INIT("A: b\n\nlone\rcr and end\r")},
    {STR_INIT("A: b\r\n\r\n\r\r\n"), STR_INIT("A: b\n\n\r\n")},
    {STR_INIT("no header at all"), STR_INIT("no header at all")},
    {STR_INIT("Return-Path: <only@this>\r\n"), STR_INIT("")},
    {STR_INIT("A: b\r\nReturn-Path: <no@end>"), STR_INIT("A: b\n")},
    {STR_INIT("A: b\r\n\r\n\xff\x00\x80 octets\r\n"), STR_INIT("A: b\n\n\xff\x00\x80 octets\n")},
};

/* Feeds as deliver.c does: what is not consumed comes again with more behind it. */
static void feed(struct maildir_text *t, struct buf *kept, struct str piece, bool is_last, struct buf *out)
{
    assert_true(buf_put(kept, piece));
    size_t used = maildir_text_feed(t, buf_str(kept), is_last, out);
    buf_consume(kept, used);
}

static void check(struct str in, struct str want, size_t step)
{
    struct maildir_text t = {0};
    struct buf kept, out;
    buf_init(&kept, 4096);
    buf_init(&out, 4096);
    for (size_t at = 0; at < in.n; at += step)
        feed(&t, &kept, str_slice(in, at, at + step), false, &out);
    feed(&t, &kept, STR_NIL, true, &out);
    assert_int_equal(kept.n, 0);
    assert_true(str_eq(buf_str(&out), want));
    buf_fini(&kept);
    buf_fini(&out);
}

static void test_rows(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step <= rows[i].in.n + 1; step++)
            check(rows[i].in, rows[i].out, step);
    }
}

static void test_split_once(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t at = 0; at <= rows[i].in.n; at++) {
            struct maildir_text t = {0};
            struct buf kept, out;
            buf_init(&kept, 4096);
            buf_init(&out, 4096);
            feed(&t, &kept, str_slice(rows[i].in, 0, at), false, &out);
            feed(&t, &kept, str_skip(rows[i].in, at), true, &out);
            assert_true(str_eq(buf_str(&out), rows[i].out));
            buf_fini(&kept);
            buf_fini(&out);
        }
    }
}

static void test_head(void **state)
{
    UNUSED(state);
    struct buf out;
    buf_init(&out, 4096);
    maildir_head(STR("a@b"), STR("c@d"), &out);
    assert_true(str_eq(buf_str(&out), STR("Return-Path: <a@b>\nDelivered-To: c@d\n")));
    buf_reset(&out);
    maildir_head(STR_NIL, STR("c@d\nBcc: evil"),
                 &out); /* can't come from the parser; must not become a field */
    assert_true(str_eq(buf_str(&out), STR("Return-Path: <>\nDelivered-To: c@d?Bcc: evil\n")));
    buf_fini(&out);
}

static void mail_that_was_here_before(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in;
        bool is_loop;
    } loops[] = {
        {STR_INIT("Delivered-To: joe@a.example\r\n\r\n"), true},
        {STR_INIT("A: b\r\ndelivered-TO :\t JOE@A.example  \r\nC: d\r\n\r\n"), true},
        {STR_INIT("Delivered-To: max@a.example\r\nDelivered-To: joe@a.example\r\n"), true},
        {STR_INIT("Return-Path: <a@b>\r\nDelivered-To: joe@a.example"), true}, /* the last line has no end */
        {STR_INIT("Delivered-To: joe@a.example.org\r\n\r\n"), false},
        {STR_INIT("Delivered-To: <joe@a.example>\r\n\r\n"), false},
        {STR_INIT("Delivered-Too: joe@a.example\r\n\r\n"), false},
        {STR_INIT("A: b\r\n Delivered-To: joe@a.example\r\n\r\n"), false},
        {STR_INIT("A: b\r\n\r\nDelivered-To: joe@a.example\r\n"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(loops); i++) {
        for (size_t step = 1; step <= loops[i].in.n; step++) {
            struct maildir_text t = {.rcpt = STR("joe@a.example")}, nobody = {0};
            struct buf kept, out;
            buf_init(&kept, 4096);
            buf_init(&out, 4096);
            for (size_t at = 0; at < loops[i].in.n; at += step)
                feed(&t, &kept, str_slice(loops[i].in, at, at + step), false, &out);
            feed(&t, &kept, STR_NIL, true, &out);
            assert_int_equal(t.is_loop, loops[i].is_loop);
            feed(&nobody, &kept, loops[i].in, true, &out);
            assert_false(nobody.is_loop);
            buf_fini(&kept);
            buf_fini(&out);
        }
    }
}

static void a_body_that_is_not_lines(void **state)
{
    UNUSED(state);
    struct maildir_text t = {.keeps_crlf = true};
    struct buf kept, out;
    buf_init(&kept, 4096);
    buf_init(&out, 4096);
    feed(&t, &kept, STR("A: b\r\n\r\nx\r\ny\nz\r"), false, &out);
    feed(&t, &kept, STR("\n\r"), true, &out);
    assert_true(str_eq(buf_str(&out), STR("A: b\n\nx\r\ny\nz\r\n\r")));
    buf_fini(&kept);
    buf_fini(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_is_not_lines),
        cmocka_unit_test(mail_that_was_here_before),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_split_once),
        cmocka_unit_test(test_head),
    };
    return cmocka_run_group_tests_name("maildir", tests, NULL, NULL);
}
