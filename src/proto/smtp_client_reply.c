#include "proto/smtp_client_impl.h"

/* ---- results --------------------------------------------------------------------------------- */

static struct str keep_text(struct smtp_client *c)
{
    struct str s;
    if (arena_str(&c->arena, str_of(c->parser.reply.text, c->parser.reply.text_n), &s))
        return s;
    return STR("(the server's text is lost for lack of memory)");
}

enum smtp_outcome smtp_client_outcome(const struct smtp_client *c, enum smtp_client_stage stage)
{
    uint16_t code = c->parser.reply.code;
    if (code / 100 == 2)
        return SMTP_OUTCOME_OK;
    if (code / 100 == 4 ||
        (code == 552 && stage == SMTP_AT_RCPT)) /* RFC 5321 4.5.3.1.10: too many for one go */
        return SMTP_OUTCOME_TEMPORARY;
    return code / 100 == 5 ? SMTP_OUTCOME_PERMANENT : SMTP_OUTCOME_PENDING;
}

/* RFC 3463 2: X.0.0 when only the class is known. */
struct smtp_client_result smtp_client_theirs(struct smtp_client *c, enum smtp_client_stage stage)
{
    static const uint8_t classes[] = {[SMTP_OUTCOME_PENDING] = 4,
                                      [SMTP_OUTCOME_OK] = 2,
                                      [SMTP_OUTCOME_TEMPORARY] = 4,
                                      [SMTP_OUTCOME_PERMANENT] = 5};
    const struct smtp_reply *r = &c->parser.reply;
    enum smtp_outcome outcome = smtp_client_outcome(c, stage);
    struct esc esc = r->esc.class == 0 ? ESC(0, 0, 0) : r->esc;
    if (esc.class == 0 && stage == SMTP_AT_RCPT && r->code == 552)
        esc = ESC(0, 5, 3);
    esc.class = classes[outcome];
    bool took_dsn = outcome == SMTP_OUTCOME_OK && (c->offers & SMTP_OFFERS_DSN) != 0;
    return (struct smtp_client_result){outcome, stage, r->code, took_dsn, esc, keep_text(c)};
}

void smtp_client_die_of_nonsense(struct smtp_client *c, const char *after)
{
    char mem[SMTP_REPLY_TEXT_MAX + 128];
    struct buf b;
    struct str text;
    const struct smtp_reply *r = &c->parser.reply;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "no reply to %s can be: %u ", after, r->code);
    buf_put(&b, str_of(r->text, r->text_n));
    if (!arena_str(&c->arena, buf_str(&b), &text))
        text = STR("the reply does not belong to the command");
    struct smtp_client_result why =
        smtp_client_ours(SMTP_OUTCOME_TEMPORARY, smtp_client_stage_now(c), ESC(4, 5, 0), text);
    why.code = r->code;
    smtp_client_die(c, &why);
}

/* 421: the server closes the connection, whatever was asked (RFC 5321 3.8). */
static void die_of_421(struct smtp_client *c)
{
    struct smtp_client_result why = smtp_client_theirs(c, smtp_client_stage_now(c));
    if (c->parser.reply.esc.class == 0)
        why.esc = ESC(4, 3, 2);
    smtp_client_die(c, &why);
}

/* ---- replies by step ------------------------------------------------------------------------- */

static void on_rset(struct smtp_client *c)
{
    if (c->parser.reply.code / 100 == 2) {
        c->needs_rset = false;
        smtp_plan_received(&c->plan);
        return;
    }
    struct smtp_client_result why = smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_MAIL, ESC(4, 5, 0),
                                                     STR("the server refused to begin anew (RSET)"));
    smtp_client_die(c, &why);
}

static void on_mail(struct smtp_client *c)
{
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_MAIL);
    if (outcome == SMTP_OUTCOME_PENDING) {
        smtp_client_die_of_nonsense(c, "MAIL FROM");
        return;
    }
    smtp_plan_received(&c->plan);
    c->n_mails++;
    if (outcome == SMTP_OUTCOME_OK) {
        c->needs_rset = true;
        return;
    }
    struct smtp_client_result res = smtp_client_theirs(c, SMTP_AT_MAIL);
    c->mail_refused = true;
    smtp_client_settle(c, &res);
}

static void on_rcpt(struct smtp_client *c, uint32_t i)
{
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_RCPT);
    must(i < c->job.n_rcpts);
    if (outcome == SMTP_OUTCOME_PENDING) {
        smtp_client_die_of_nonsense(c, "RCPT TO");
        return;
    }
    smtp_plan_received(&c->plan);
    if (c->mail_refused)
        return; /* it went along with MAIL: says nothing about the recipient */
    if (outcome == SMTP_OUTCOME_OK && !c->job.is_callout)
        c->n_accepted++;
    else
        c->results[i] = smtp_client_theirs(c, SMTP_AT_RCPT);
}

static void on_data(struct smtp_client *c)
{
    if (c->parser.reply.code == 354) {
        if (c->n_accepted == 0 &&
            c->conf.lmtp) { /* RFC 2033 4.2 forbids it: how many replies would follow? */
            smtp_client_die_of_nonsense(c, "DATA without recipients");
            return;
        }
        smtp_plan_received(&c->plan);
        dot_encoder_init(&c->dots);
        if (c->n_accepted > 0) {
            smtp_client_set_state(c, SMTP_CLIENT_ST_BODY);
            c->events |= 1u << SMTP_CLIENT_WANT_BODY;
        } else { /* RFC 2920 3.1: DATA went along with recipients that all failed: end it with nothing */
            smtp_plan_add(&c->plan, SMTP_STEP_END, 0);
            smtp_client_set_state(c, SMTP_CLIENT_ST_END);
        }
        return;
    }
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_DATA);
    if (outcome == SMTP_OUTCOME_PENDING || outcome == SMTP_OUTCOME_OK) {
        smtp_client_die_of_nonsense(c, "DATA");
        return;
    }
    struct smtp_client_result res = smtp_client_theirs(c, SMTP_AT_DATA);
    smtp_plan_received(&c->plan);
    smtp_client_settle(c, &res);
}

/* RFC 3030 2: a chunk that was refused takes the message with it. Chunks behind it may be on their way: the
 * connection is not worth the waiting. */
static void on_bdat(struct smtp_client *c)
{
    enum smtp_outcome outcome = smtp_client_outcome(c, SMTP_AT_DATA);
    if (outcome == SMTP_OUTCOME_PENDING) {
        smtp_client_die_of_nonsense(c, "BDAT");
    } else if (outcome == SMTP_OUTCOME_OK) {
        smtp_plan_received(&c->plan);
    } else {
        struct smtp_client_result why = smtp_client_theirs(c, SMTP_AT_DATA);
        smtp_client_die(c, &why);
    }
}

/* RFC 2033 4.2: one reply for each recipient that was accepted, in order. */
static void on_end_lmtp(struct smtp_client *c, const struct smtp_client_result *res)
{
    while (c->results[c->n_settled].outcome != SMTP_OUTCOME_PENDING)
        c->n_settled++;
    must(c->n_settled < c->job.n_rcpts && c->n_accepted > 0);
    c->results[c->n_settled++] = *res;
    if (--c->n_accepted > 0)
        return;
    smtp_plan_received(&c->plan);
    smtp_client_finish_job(c);
}

static void on_end(struct smtp_client *c)
{
    if (smtp_client_outcome(c, SMTP_AT_END) == SMTP_OUTCOME_PENDING) {
        smtp_client_die_of_nonsense(c, "the end of data");
        return;
    }
    struct smtp_client_result res = smtp_client_theirs(c, SMTP_AT_END);
    c->needs_rset = false; /* RFC 5321 4.1.1.4: the end of data clears the server's buffers, well or not */
    if (c->conf.lmtp) {
        on_end_lmtp(c, &res);
        return;
    }
    smtp_plan_received(&c->plan);
    smtp_client_settle(c, &res);
    smtp_client_finish_job(c);
}

/* The reply came before its command was out. In the body a refusal is an honest one (the message is too big,
 * say) from a server that will not read on; anything else means that replies and commands have parted. */
static void on_early(struct smtp_client *c)
{
    unsigned class = c->parser.reply.code / 100u;
    bool in_body = c->state == SMTP_CLIENT_ST_BODY || (c->state == SMTP_CLIENT_ST_END && c->n_accepted > 0);
    struct smtp_client_result why =
        in_body && (class == 4 || class == 5)
            ? smtp_client_theirs(c, SMTP_AT_DATA)
            : smtp_client_ours(SMTP_OUTCOME_TEMPORARY, smtp_client_stage_now(c), ESC(4, 5, 0),
                               STR("the server replied before it was asked: the session is out of step"));
    smtp_client_die(c, &why);
}

void smtp_client_take_reply(struct smtp_client *c)
{
    const struct smtp_step *s = smtp_plan_awaited(&c->plan);
    if (c->state == SMTP_CLIENT_ST_QUIT) { /* whatever it says */
        smtp_client_die(c, &c->failure);
        return;
    }
    if (c->parser.reply.code == 421) {
        die_of_421(c);
        return;
    }
    if (c->is_early || s == NULL) {
        on_early(c);
        return;
    }
    c->progress_ms = c->now_ms;
    switch ((enum smtp_step_kind)s->kind) {
    case SMTP_STEP_GREETING:
        smtp_client_on_greeting(c);
        break;
    case SMTP_STEP_EHLO:
    case SMTP_STEP_HELO:
    case SMTP_STEP_LHLO:
        smtp_client_on_hello(c, (enum smtp_step_kind)s->kind);
        break;
    case SMTP_STEP_STARTTLS:
        smtp_client_on_starttls(c);
        break;
    case SMTP_STEP_AUTH:
        smtp_client_on_auth(c);
        break;
    case SMTP_STEP_RSET:
        on_rset(c);
        break;
    case SMTP_STEP_MAIL:
        on_mail(c);
        break;
    case SMTP_STEP_RCPT:
        on_rcpt(c, s->rcpt);
        break;
    case SMTP_STEP_DATA:
        on_data(c);
        break;
    case SMTP_STEP_BDAT:
        on_bdat(c);
        break;
    case SMTP_STEP_LAST:
    case SMTP_STEP_END:
        on_end(c);
        break;
    case SMTP_STEP_QUIT:
        must_not_reach();
    }
    if (c->state != SMTP_CLIENT_ST_DEAD)
        smtp_client_pump(c);
}
