#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/dsn_parse.h"

#include <string.h>

#define START                                                                                                \
    "Content-Type: multipart/report; report-type=delivery-status; "                                          \
    "boundary=b\r\n\r\n--b\r\n\r\nSorry.\r\n--b\r\n"                                                         \
    "Content-Type: message/delivery-status\r\n\r\n"
#define END                                                                                                  \
    "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID:\r\n <1@example.org>\r\n\r\nx\r\n--b--\r\n"
#define MTA "Reporting-MTA: dns; mx.example.net\r\n"

static struct mime_report *report_of(struct str in, size_t step)
{
    struct mime_report *r = mime_report_new();
    assert_non_null(r);
    for (size_t i = 0; i < in.n; i += step)
        mime_report_put(r, str_slice(in, i, i + step));
    mime_report_end(r);
    return r;
}

/* A report as text: "envid|mta|message-id" and for each recipient
 * "/final,original,action,status,diagnostic,mta". */
static void show(const struct dsn_report *d, struct buf *out)
{
    buf_printf(out, "%.*s|%.*s|%.*s", STR_FMT(d->envelope_id), STR_FMT(d->reporting_mta),
               STR_FMT(d->message_id));
    for (size_t i = 0; i < d->n_rcpts; i++) {
        const struct dsn_report_rcpt *r = &d->rcpts[i];
        buf_printf(out, "/%.*s,%.*s,%s,", STR_FMT(r->final_rcpt), STR_FMT(r->original_rcpt),
                   dsn_report_action_name(r->action));
        esc_format(r->status, out);
        buf_printf(out, ",%s%.*s,%.*s", r->diagnostic_is_smtp ? "smtp:" : "", STR_FMT(r->diagnostic),
                   STR_FMT(r->remote_mta));
    }
}

static void reads_what_the_table_says(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in;
        const char *want; /* NULL: no delivery status */
    } rows[] = {
        {STR_INIT(
             START
             "Original-Envelope-Id: q1\r\n" MTA "\r\nOriginal-Recipient: rfc822;A@example.com\r\n"
             "Final-Recipient: RFC822; <a@example.com>\r\nAction: failed (bad)\r\nStatus: 5.1.1 (no user)\r\n"
             "Remote-MTA: DNS; mx.example.com\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n\tno   such "
             "user\r\n" END),
         "q1|mx.example.net|<1@example.org>/a@example.com,A@example.com,failed,5.1.1,smtp:550 5.1.1 no such "
         "user,mx.example.com"},
        /* two recipients, one without a type; an unknown action; a status that is none */
        {STR_INIT(START MTA
                  "\r\nFinal-Recipient: a@x\r\nAction: Delayed\r\nStatus: 4.4.1\r\n\r\n\r\nFinal-Recipient: "
                  "rfc822;b@x\r\nAction: deliverable\r\nStatus: 2.1\r\n" END),
         "|mx.example.net|<1@example.org>/a@x,,delayed,4.4.1,,/b@x,,,,,"},
        /* no empty line anywhere, and a line that is no field */
        {STR_INIT(START MTA "Final-Recipient: rfc822;a@x\r\nAction: failed\r\n*** sorry\r\nStatus: 5.0.0\r\n"
                            "Final-Recipient: rfc822;b@x\r\nAction: failed\r\n" END),
         "|mx.example.net|<1@example.org>/a@x,,failed,5.0.0,,/b@x,,failed,,,"},
        {STR_INIT(START MTA END), "|mx.example.net|<1@example.org>"},
        {STR_INIT("Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                  /* Final-Recipient: utf-8; j\x{F6}\x{110000}@x, \x{A} stays as it is */
                  "RmluYWwtUmVjaXBpZW50OiB1dGYtODsgalx4e0Y2fVx4ezExMDAwMH1AeFx4e0F9DQo=\r\n"),
         "||/j\xc3\xb6\\x{110000}@x\\x{A},,,,,"},
        /* a number that no int holds */
        {STR_INIT(START "Final-Recipient: utf-8; \\x{FFFFFFFFFFFF}@x\r\n" END),
         "||<1@example.org>/\\x{FFFFFFFFFFFF}@x,,,,,"},
        /* inside an enclosed message it is another report's */
        {STR_INIT("Content-Type: message/rfc822\r\n\r\n" START "Final-Recipient: a@x\r\n" END), NULL},
        {STR_INIT("Subject: x\r\n\r\nFinal-Recipient: a@x\r\n"), NULL},
        {STR_INIT("Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n"), NULL},
    };
    struct dsn_report *d = mem_must_new(struct dsn_report);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = rows[i].in.n; step > 0; step--) {
            struct mime_report *r = report_of(rows[i].in, step);
            char mem[1024];
            struct buf b;
            buf_init_fixed(&b, mem, sizeof mem);
            bool is_report = dsn_parse(r, d);
            assert_int_equal(is_report, rows[i].want != NULL);
            if (is_report)
                show(d, &b);
            if (is_report && !str_eq(buf_str(&b), str_from_c(rows[i].want)))
                print_message("# row %zu, step %zu: %.*s\n", i, step, STR_FMT(buf_str(&b)));
            assert_true(str_eq(buf_str(&b), str_from_c(rows[i].want)));
            mime_report_del(&r);
        }
    }
    mem_free(d);
}

static void limits_are_kept(void **state)
{
    UNUSED(state);
    struct dsn_report *d = mem_must_new(struct dsn_report);
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < DSN_REPORT_RCPTS_MAX + 5; i++)
        buf_printf(&b, "\nFinal-Recipient: rfc822;u%d@x\nAction: failed\n", i);
    dsn_parse_fields(buf_str(&b), d);
    assert_int_equal(d->n_rcpts, DSN_REPORT_RCPTS_MAX);
    assert_int_equal(d->n_rcpts_more, 5);
    assert_true(str_eq(d->rcpts[DSN_REPORT_RCPTS_MAX - 1].final_rcpt, STR("u99@x")));
    buf_reset(&b); /* long values: the text runs out first */
    for (int i = 0; i < 50; i++) {
        buf_puts(&b, "\nFinal-Recipient: ");
        for (int k = 0; k < 3000; k++)
            buf_putc(&b, 'a');
        buf_puts(&b, "\nStatus: 5.0.0\n");
    }
    dsn_parse_fields(buf_str(&b), d);
    assert_in_range(d->n_rcpts, 10, 25);
    assert_int_equal(d->n_rcpts + d->n_rcpts_more, 50);
    for (size_t i = 0; i < d->n_rcpts; i++)
        assert_int_equal(d->rcpts[i].final_rcpt.n, 3000);
    buf_fini(&b);
    mem_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_table_says),
        cmocka_unit_test(limits_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
