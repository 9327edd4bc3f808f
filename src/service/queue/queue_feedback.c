/* service/queue/queue_feedback.c: what reports that came in are good for: on list mail by way of a return
 * path that names the member (VERP), and complaints of mailbox providers.
 *
 * The messages were read by smtpd; here are a few words of them, which may be anybody's. What makes a report
 * on list mail believable is the tag of its return path (queue_verp.c): nobody but who had the mail of that
 * member can have it. Whoever else is named in the report counts for nothing. Likewise a complaint: it is
 * told in any case, and acted on only if it quotes a return path of ours.
 *
 * A report on list mail is settled with the unit that drops it, so that it is read at least once, whatever
 * crashes. A complaint is told when its message is on disk: a crash right then loses the event, not the
 * message, which goes to its mailbox.
 */
#include "base/limits.h"
#include "service/queue/queue.h"
#include "service/queue/queue_class.h"

enum { TEXT_MAX = FEEDBACK_TEXT_MAX + 128 };

static bool get_feedback(struct str params, struct feedback *out)
{
    struct mail_params p;
    return mail_params_get(params, &p) && p.feedback.n > 0 && feedback_get(p.feedback, out);
}

/* The reply that a diagnostic quotes, or what the report says without one. */
static struct code_verdict class_of_report(const struct feedback *f)
{
    struct code_reply reply = {.stage = CODE_AT_ANY};
    if (!code_reply_parse(f->text, &reply))
        reply = (struct code_reply){.stage = CODE_AT_ANY, .text = f->text};
    if (reply.esc.class == 0)
        reply.esc = f->status;
    return code_classify(&reply);
}

bool feedback_settles(struct work *w, struct str owner, struct str member, struct str *out_text)
{
    char mem[TEXT_MAX];
    struct buf text;
    struct feedback f;
    if (!get_feedback(w->envelope.params, &f) || f.kind != FEEDBACK_DELIVERY)
        return false;
    bool has_failed = f.action == DSN_REPORT_FAILED;
    struct code_verdict verdict = class_of_report(&f);
    buf_init_fixed(&text, mem, sizeof mem);
    buf_printf(&text, "%s ", dsn_report_action_name(f.action));
    esc_format(f.status, &text);
    if (f.text.n > 0)
        buf_puts(&text, ": ");
    buf_put(&text, f.text);
    w->q->count.returned++;
    TELL(w->q, .kind = EVENT_RETURNED, .id = w->id, .rcpt = member, .host = owner, .text = buf_str(&text),
         .class = has_failed || f.action == DSN_REPORT_DELAYED ? str_from_c(code_class_word(verdict.class))
                                                               : STR_NIL);
    if (has_failed && f.status.class == 5 && class_is_useless(&verdict))
        suppress_learn(w->q, member, SUPPRESS_BOUNCED, buf_str(&text), w->id);
    buf_reset(&text);
    buf_puts(&text, "read: a report about ");
    buf_put(&text, member);
    return arena_str(&w->arena, text.failed ? STR("read") : buf_str(&text), out_text);
}

/* Complaints that mean "send me no more" (RFC 5965 7.3, RFC 6430 and its kind); "not-spam", "auth-failure"
 * and "virus" do not. */
static bool is_unwanted(struct str type)
{
    static const char *const types[] = {"abuse", "fraud", "opt-out", "opt-out-list"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (str_ieq(type, str_from_c(types[i])))
            return true;
    }
    return false;
}

static bool has_arf_rcpt(const struct queue *q, struct str rcpts)
{
    struct reader r = reader_of(rcpts);
    struct rcpt one;
    while (rcpt_next(&r, &one)) {
        if (policy_is_arf(&q->config->policy, one.address))
            return true;
    }
    return false;
}

void feedback_on_stored(struct queue *q, const struct fresh *f)
{
    char mem[SMTP_PATH_MAX], text_mem[TEXT_MAX];
    struct buf member_mem, text;
    struct envelope e;
    struct feedback c;
    struct str owner = STR_NIL, member = STR_NIL;
    must(envelope_decode(fresh_record(f), &e)); /* we wrote it in this process life */
    if (!get_feedback(e.params, &c) || c.kind != FEEDBACK_COMPLAINT || !has_arf_rcpt(q, e.rcpts))
        return;
    buf_init_fixed(&member_mem, mem, sizeof mem);
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    bool is_ours = verp_find(q, c.return_path, &member_mem, &owner, &member) == VERP_OURS;
    buf_put(&text, c.type);
    if (is_ours) {
        buf_puts(&text, ", mail of the list of ");
        buf_put(&text, owner);
    } else {
        buf_puts(&text, ", without a return path of ours");
    }
    q->count.complained++;
    TELL(q, .kind = EVENT_COMPLAINED, .id = f->id, .rcpt = is_ours ? member : c.rcpt, .host = c.source_ip,
         .text = buf_str(&text));
    if (is_ours && is_unwanted(c.type))
        suppress_learn(q, member, SUPPRESS_COMPLAINED, buf_str(&text), f->id);
}

bool feedback_of_row(const struct dsn_rcpt *row, struct buf *out)
{
    static const enum dsn_report_action actions[] = {[DSN_FAILED] = DSN_REPORT_FAILED,
                                                     [DSN_DELAYED] = DSN_REPORT_DELAYED,
                                                     [DSN_DELIVERED] = DSN_REPORT_DELIVERED,
                                                     [DSN_RELAYED] = DSN_REPORT_RELAYED,
                                                     [DSN_EXPANDED] = DSN_REPORT_EXPANDED};
    char mem[FEEDBACK_TEXT_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    mime_unfold(str_slice(row->diagnostic.n > 0 ? row->diagnostic : row->reason, 0, sizeof mem), &text);
    struct esc status = row->status;
    if (status.class == 0)
        status = ESC(row->action == DSN_FAILED ? 5 : row->action == DSN_DELAYED ? 4 : 2, 0, 0);
    const struct feedback f = {
        .kind = FEEDBACK_DELIVERY, .action = actions[row->action], .status = status, .text = buf_str(&text)};
    return feedback_put(&f, out);
}
