/* Reports that came in (DSN, ARF): whole and in parts give the same; all that is kept is text on one line
 * within the limits. The first octet says how long the parts are. */
#include "base/mem.h"
#include "wire/arf.h"
#include "wire/dsn_parse.h"
#include "wire/feedback.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mime_report *gather(struct str in, size_t step)
{
    struct mime_report *r = mime_report_new();
    must(r != NULL);
    for (size_t i = 0; i < in.n; i += step)
        mime_report_put(r, str_slice(in, i, i + step));
    mime_report_end(r);
    return r;
}

static void check(struct str s)
{
    must(!str_has_ctl(s));
}

static void check_dsn(const struct mime_report *r)
{
    struct dsn_report *d = mem_must_new(struct dsn_report);
    if (dsn_parse(r, d)) {
        must(d->n_rcpts <= DSN_REPORT_RCPTS_MAX && !d->text.failed);
        check(d->envelope_id);
        check(d->reporting_mta);
        check(d->message_id);
        for (size_t i = 0; i < d->n_rcpts; i++) {
            check(d->rcpts[i].final_rcpt);
            check(d->rcpts[i].original_rcpt);
            check(d->rcpts[i].diagnostic);
            check(d->rcpts[i].remote_mta);
            must(d->rcpts[i].action <= DSN_REPORT_EXPANDED);
        }
    }
    mem_free(d);
}

static void check_arf(const struct mime_report *r)
{
    struct arf_report *a = mem_must_new(struct arf_report);
    if (arf_parse(r, a)) {
        must(a->feedback_type.n > 0 && !a->text.failed && a->x_name.n == a->x_body.n);
        check(a->feedback_type);
        check(a->source_ip);
        check(a->original_mail_from);
        check(a->message_id);
        for (size_t i = 0; i < a->original_rcpt_to.n; i++)
            check(a->original_rcpt_to.item[i]);
        for (size_t i = 0; i < a->x_name.n; i++)
            check(a->x_body.item[i]);
    }
    mem_free(a);
}

/* What the queue gets of it is a sound record; and what a taken-over smtpd may send is one or is refused. */
static void check_feedback(const struct mime_report *r, struct str in)
{
    char mem[FEEDBACK_MAX], record_mem[FEEDBACK_MAX];
    struct buf text, record;
    struct feedback f, back;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_init_fixed(&record, record_mem, sizeof record_mem);
    feedback_read(r, &text, &f);
    if (f.kind != FEEDBACK_NONE)
        must(feedback_put(&f, &record) && feedback_get(buf_str(&record), &back) && back.kind == f.kind);
    buf_reset(&record);
    if (feedback_get(in, &f))
        must(feedback_put(&f, &record) && str_eq(buf_str(&record), in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str in = str_of(data + 1, size - 1);
    struct mime_report *whole = gather(in, size);
    struct mime_report *parts = gather(in, 1 + data[0] % 80);
    must(mime_report_kind(whole) == mime_report_kind(parts));
    must(str_eq(mime_report_fields(whole), mime_report_fields(parts)));
    must(str_eq(mime_report_original(whole), mime_report_original(parts)));
    check_dsn(whole);
    check_arf(whole);
    check_feedback(whole, in);
    mime_report_del(&whole);
    mime_report_del(&parts);
    return 0;
}
