#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "wire/feedback.h"

#include <string.h>

/* ---- records ---- */

static const struct feedback samples[] = {
    {.kind = FEEDBACK_DELIVERY,
     .action = DSN_REPORT_FAILED,
     .status = {5, 1, 1},
     .text = STR_INIT("550 5.1.1 no such user")},
    {.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_EXPANDED, .status = {2, 999, 999}},
    {.kind = FEEDBACK_COMPLAINT,
     .type = STR_INIT("abuse"),
     .source_ip = STR_INIT("192.0.2.1"),
     .return_path = STR_INIT("a@x"),
     .rcpt = STR_INIT("b@y")},
    {.kind = FEEDBACK_COMPLAINT},
};

static void records_come_back(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        char mem[2][256];
        struct buf b, again;
        struct feedback back;
        buf_init_fixed(&b, mem[0], sizeof mem[0]);
        buf_init_fixed(&again, mem[1], sizeof mem[1]);
        assert_true(feedback_put(&samples[i], &b));
        assert_true(feedback_get(buf_str(&b), &back));
        assert_true(back.kind == samples[i].kind && back.action == samples[i].action);
        assert_true(back.status.detail == samples[i].status.detail && str_eq(back.text, samples[i].text));
        assert_true(str_eq(back.rcpt, samples[i].rcpt) && str_eq(back.return_path, samples[i].return_path));
        assert_true(feedback_put(&back, &again) && str_eq(buf_str(&again), buf_str(&b)));
        for (size_t n = 0; n < b.n; n++) /* cut */
            assert_false(feedback_get(str_slice(buf_str(&b), 0, n), &back));
        buf_putc(&b, 'x'); /* and more */
        assert_false(feedback_get(buf_str(&b), &back));
        b.n--;
        for (size_t at = 0; at < b.n; at++) { /* damaged: refused, or texts without control characters */
            for (unsigned octet = 0; octet < 256; octet += at < 12 ? 1 : 31) {
                char kept = b.p[at];
                b.p[at] = (char)octet;
                buf_reset(&again);
                if (feedback_get(buf_str(&b), &back)) {
                    assert_true(feedback_put(&back, &again) && str_eq(buf_str(&again), buf_str(&b)));
                    assert_false(str_has_ctl(back.text) || str_has_ctl(back.type) || str_has_ctl(back.rcpt));
                }
                b.p[at] = kept;
            }
        }
    }
}

/* What does not fit is cut; an address is not. */
static void records_have_a_limit(void **state)
{
    UNUSED(state);
    static char text[2 * FEEDBACK_TEXT_MAX];
    char mem[FEEDBACK_MAX];
    struct buf b;
    struct feedback back;
    memset(text, 'x', sizeof text);
    struct str all = str_of(text, sizeof text), path = str_of(text, SMTP_PATH_MAX);
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(feedback_put(&(struct feedback){.kind = FEEDBACK_COMPLAINT,
                                                .type = all,
                                                .source_ip = all,
                                                .return_path = path,
                                                .rcpt = str_of(text, SMTP_PATH_MAX + 1)},
                             &b));
    assert_true(feedback_get(buf_str(&b), &back));
    assert_int_equal(back.type.n, FEEDBACK_WORD_MAX);
    assert_int_equal(back.return_path.n, SMTP_PATH_MAX);
    assert_int_equal(back.rcpt.n, 0);
    buf_reset(&b);
    assert_true(feedback_put(
        &(struct feedback){
            .kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_FAILED, .status = {5, 0, 0}, .text = all},
        &b));
    assert_true(feedback_get(buf_str(&b), &back) && back.text.n == FEEDBACK_TEXT_MAX);
}

/* ---- messages ---- */

static void read_in_steps(const char *text, size_t step, struct buf *mem, struct feedback *out)
{
    struct str in = str_from_c(text);
    struct mime_report *r = mime_report_new();
    assert_non_null(r);
    for (size_t i = 0; i < in.n; i += step)
        mime_report_put(r, str_slice(in, i, i + step));
    mime_report_end(r);
    feedback_read(r, mem, out);
    mime_report_del(&r);
}

#define HEAD(type)                                                                                           \
    "From: MAILER-DAEMON@mx.one.two\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; "                \
    "report-type=" type                                                                                      \
    ";\r\n\tboundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nfor people\r\n"
#define STATUS "--b1\r\nContent-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n"
#define OURS STATUS "Reporting-MTA: dns; mx.one.two\r\n\r\n"
#define ORIGINAL                                                                                             \
    "\r\n--b1\r\nContent-Type: text/rfc822-headers\r\n\r\nReturn-Path: "                                     \
    "<bounce+x=one.two-aaaaaaaa@lists>\r\n"                                                                  \
    "From: a@example.com\r\n\r\n--b1--\r\n"

static const struct {
    const char *message;
    struct feedback wanted;
} messages[] = {
    /* Postfix */
    {HEAD("delivery-status") STATUS
     "Reporting-MTA: dns; mx.one.two\r\nX-Postfix-Queue-ID: 4F9D195432C\r\nX-Postfix-Sender: rfc822; "
     "bounce@lists\r\nArrival-Date: Sat, 10 Oct 2026 10:00:00 +0000\r\n\r\nFinal-Recipient: rfc822; "
     "x@one.two\r\n"
     "Original-Recipient: rfc822;x@one.two\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; "
     "back.one.two\r\nDiagnostic-Code: smtp; 550 5.1.1 <x@one.two>: Recipient address\r\n    rejected: "
     "User "
     "unknown\r\n" ORIGINAL,
     {.kind = FEEDBACK_DELIVERY,
      .action = DSN_REPORT_FAILED,
      .status = {5, 1, 1},
      .text = STR_INIT("550 5.1.1 <x@one.two>: Recipient address rejected: User unknown")}},
    /* Exim */
    {HEAD("delivery-status") OURS
     "Action: failed\r\nFinal-Recipient: rfc822;x@one.two\r\nStatus: 5.0.0\r\nRemote-MTA: dns; "
     "back.one.two\r\nDiagnostic-Code: smtp; 550 Unrouteable address\r\n" ORIGINAL,
     {.kind = FEEDBACK_DELIVERY,
      .action = DSN_REPORT_FAILED,
      .status = {5, 0, 0},
      .text = STR_INIT("550 Unrouteable address")}},
    {HEAD("delivery-status") OURS
     "Final-Recipient: rfc822;x@one.two\r\nAction: delayed\r\nStatus: 4.4.1\r\n" ORIGINAL,
     {.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_DELAYED, .status = {4, 4, 1}}},
    /* no status, or one that is none */
    {HEAD("delivery-status") OURS "Final-Recipient: rfc822;x@one.two\r\nAction: Failed (gone)\r\n" ORIGINAL,
     {.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_FAILED, .status = {5, 0, 0}}},
    {HEAD("delivery-status") OURS
     "Final-Recipient: rfc822;x@one.two\r\nAction: delayed\r\nStatus: later\r\n" ORIGINAL,
     {.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_DELAYED, .status = {4, 0, 0}}},
    {HEAD("delivery-status") OURS "Final-Recipient: rfc822;x@one.two\r\nAction: relayed\r\n" ORIGINAL,
     {.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_RELAYED, .status = {2, 0, 0}}},
    /* several: who is worst off */
    {HEAD("delivery-status") OURS
     "Final-Recipient: rfc822;a@one.two\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient: "
     "rfc822;b@one.two\r\nAction: failed\r\nStatus: 4.4.7\r\n\r\nFinal-Recipient: "
     "rfc822;x@one.two\r\nAction: "
     "failed\r\nStatus: 5.2.2\r\nDiagnostic-Code: X-local; full\r\n\r\nFinal-Recipient: "
     "rfc822;d@one.two\r\n"
     "Action: delayed\r\nStatus: 4.2.2\r\n" ORIGINAL,
     {.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_FAILED, .status = {5, 2, 2}, .text = STR_INIT("full")}},
    /* tells of nobody, or nothing */
    {HEAD("delivery-status") OURS ORIGINAL, {.kind = FEEDBACK_NONE}},
    {HEAD("delivery-status") OURS "Final-Recipient: rfc822;x@one.two\r\nStatus: 5.1.1\r\n" ORIGINAL,
     {.kind = FEEDBACK_NONE}},
    {"From: x@one.two\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n\r\nI am away\r\n",
     {.kind = FEEDBACK_NONE}},
    {"From: x@one.two\r\nContent-Type: text/plain\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n",
     {.kind = FEEDBACK_NONE}},
    {"", {.kind = FEEDBACK_NONE}},
    /* complaints: RFC 5965 B.2, and one whose fields leave it to the original */
    {HEAD("feedback-report") "--b1\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: "
                             "abuse\r\nUser-Agent: SomeGenerator/1.0\r\n"
                             "Version: 1\r\nOriginal-Mail-From: "
                             "<bounce+y=one.two-bbbbbbbb@lists>\r\nOriginal-Rcpt-To: <y@one.two>\r\n"
                             "Arrival-Date: Thu, 8 Mar 2005 14:00:00 EDT\r\nSource-IP: "
                             "192.0.2.1\r\n" ORIGINAL,
     {.kind = FEEDBACK_COMPLAINT,
      .type = STR_INIT("abuse"),
      .source_ip = STR_INIT("192.0.2.1"),
      .return_path = STR_INIT("bounce+y=one.two-bbbbbbbb@lists"),
      .rcpt = STR_INIT("y@one.two")}},
    {HEAD("feedback-report") "--b1\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: "
                             "opt-out\r\nVersion: 1\r\n" ORIGINAL,
     {.kind = FEEDBACK_COMPLAINT,
      .type = STR_INIT("opt-out"),
      .return_path = STR_INIT("bounce+x=one.two-aaaaaaaa@lists")}},
    {HEAD("feedback-report") "--b1\r\nContent-Type: message/feedback-report\r\n\r\nVersion: "
                             "1\r\n" ORIGINAL,
     {.kind = FEEDBACK_NONE}},
};

static void messages_are_read(void **state)
{
    UNUSED(state);
    char mem[FEEDBACK_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        const struct feedback *w = &messages[i].wanted;
        static const size_t steps[] = {1, 2, 3, 7, 64, 1000000};
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct feedback f;
            read_in_steps(messages[i].message, steps[k], &text, &f);
            if (f.kind != w->kind || f.action != w->action || f.status.class != w->status.class ||
                f.status.subject != w->status.subject || f.status.detail != w->status.detail ||
                !str_eq(f.text, w->text) || !str_eq(f.type, w->type) || !str_eq(f.source_ip, w->source_ip) ||
                !str_eq(f.return_path, w->return_path) || !str_eq(f.rcpt, w->rcpt))
                fail_msg("row %zu: %d %d %.*s %.*s", i, (int)f.kind, (int)f.action, STR_FMT(f.text),
                         STR_FMT(f.return_path));
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(records_have_a_limit),
        cmocka_unit_test(messages_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
