#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/arf.h"

static bool parse(struct str in, size_t step, struct arf_report *out)
{
    struct mime_report *r = mime_report_new();
    assert_non_null(r);
    for (size_t i = 0; i < in.n; i += step)
        mime_report_put(r, str_slice(in, i, i + step));
    mime_report_end(r);
    bool ok = arf_parse(r, out);
    mime_report_del(&r);
    return ok;
}

#define START                                                                                                \
    "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
#define END                                                                                                  \
    "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nX-Job: 7\r\nMessage-ID: <1@x>\r\nx-list:\r\n "           \
    "a\tb\r\nSubject: y\r\n\r\nX-No: n\r\n--b--\r\n"

static void takes_all_fields(void **state)
{
    UNUSED(state);
    static const struct str in = STR_INIT(
        START
        "Feedback-Type: Abuse\r\nVersion: 1\r\nUser-Agent: A/1\r\nSource-IP: 192.0.2.1 (host.example)\r\n"
        "Original-Mail-From: <a@x>\r\nOriginal-Rcpt-To: <b@y>\r\nOriginal-Rcpt-To: c@y\r\n"
        "Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT\r\nReporting-MTA: dns; mail.y\r\nIncidents: 3\r\n"
        "Reported-Domain: x\r\nReported-Domain: z\r\nAuth-Failure: BodyHash\r\nFeedback-Type: other\r\n" END);
    struct arf_report *a = mem_must_new(struct arf_report);
    for (size_t step = in.n; step > 0; step--) {
        assert_true(parse(in, step, a));
        assert_true(str_eq(a->feedback_type, STR("abuse")));
        assert_true(str_eq(a->version, STR("1")) && str_eq(a->user_agent, STR("A/1")));
        assert_true(str_eq(a->source_ip, STR("192.0.2.1")));
        assert_true(str_eq(a->original_mail_from, STR("a@x")));
        assert_int_equal(a->original_rcpt_to.n, 2);
        assert_true(str_eq(a->original_rcpt_to.item[0], STR("b@y")));
        assert_true(str_eq(a->original_rcpt_to.item[1], STR("c@y")));
        assert_true(a->has_arrival);
        assert_int_equal(a->arrival_s, 1110304800);
        assert_true(str_eq(a->reporting_mta, STR("mail.y")));
        assert_int_equal(a->incidents, 3);
        assert_int_equal(a->reported_domain.n, 2);
        assert_true(str_eq(a->auth_failure, STR("bodyhash")));
        assert_true(str_eq(a->message_id, STR("<1@x>")));
        assert_int_equal(a->x_name.n, 2);
        assert_true(str_eq(a->x_name.item[1], STR("x-list")) && str_eq(a->x_body.item[1], STR("a b")));
    }
    mem_free(a);
}

static void tells_what_is_none(void **state)
{
    UNUSED(state);
    struct arf_report *a = mem_must_new(struct arf_report);
    assert_false(parse(STR("Subject: x\r\n\r\nFeedback-Type: abuse\r\n"), 9, a));
    assert_false(parse(STR(START "Version: 1\r\n" END), 9, a));
    assert_false(parse(STR("Content-Type: message/delivery-status\r\n\r\nFeedback-Type: abuse\r\n"), 9, a));
    assert_true(
        parse(STR(START "Feedback-Type: not-spam\r\nIncidents: many\r\n"), 9, a)); /* cut off, no original */
    assert_int_equal(a->incidents, 1);
    assert_int_equal(a->message_id.n, 0);
    assert_false(a->has_arrival);
    mem_free(a);
}

static void limits_are_kept(void **state)
{
    UNUSED(state);
    struct arf_report *a = mem_must_new(struct arf_report);
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_puts(&b, START "Feedback-Type: abuse\r\n");
    for (int i = 0; i < ARF_LIST_MAX + 5; i++)
        buf_printf(&b, "Reported-Domain: d%d.x\r\n", i);
    buf_puts(&b, "\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n");
    for (int i = 0; i < ARF_LIST_MAX + 5; i++)
        buf_printf(&b, "X-H: %d\r\n", i);
    assert_true(parse(buf_str(&b), 1000, a));
    assert_int_equal(a->reported_domain.n, ARF_LIST_MAX);
    assert_int_equal(a->x_name.n, ARF_LIST_MAX);
    assert_true(str_eq(a->x_body.item[ARF_LIST_MAX - 1], STR("31")));
    buf_fini(&b);
    mem_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_all_fields),
        cmocka_unit_test(tells_what_is_none),
        cmocka_unit_test(limits_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
