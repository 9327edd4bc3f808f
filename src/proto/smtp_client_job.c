#include "proto/smtp_client_impl.h"

enum {
    COMMAND_MAX = 1024, /* MAIL with a path of SMTP_PATH_MAX and all parameters */
    DOT_MAX = 5,        /* CRLF "." CRLF */
};

/* ---- the plan of a job ----------------------------------------------------------------------- */

/* A mailbox that can stand between "<" and ">" without becoming another command or parameter. */
static bool is_writable(struct str mailbox)
{
    bool quoted = false;
    if (mailbox.n > SMTP_PATH_MAX || str_has_ctl(mailbox))
        return false;
    for (size_t i = 0; i < mailbox.n; i++) {
        char ch = mailbox.p[i];
        if (quoted && ch == '\\')
            i++;
        else if (ch == '"')
            quoted = !quoted;
        else if (!quoted && (ch == ' ' || ch == '<' || ch == '>'))
            return false;
    }
    return !quoted;
}

/* What the server or the envelope makes impossible is decided before a word is sent. */
static void check_job(struct smtp_client *c)
{
    const struct smtp_client_job *job = &c->job;
    struct smtp_client_result no = {.outcome = SMTP_OUTCOME_PERMANENT, .stage = SMTP_AT_MAIL};
    bool has_utf8 = (c->offers & SMTP_OFFERS_SMTPUTF8) != 0;
    if (!is_writable(job->from)) {
        no.esc = ESC(5, 1, 7);
        no.text = STR("the sender's address can't be written in SMTP");
    } else if (!has_utf8 && !str_is_ascii(job->from)) {
        no.esc = ESC(5, 6, 7);
        no.text = STR("the sender's address is not ASCII and the server does not offer SMTPUTF8");
    } else if (c->size_limit > 0 && job->size > c->size_limit) {
        no.esc = ESC(5, 3, 4);
        no.text = STR("the message is bigger than the server takes (SIZE)");
    }
    if (no.esc.class != 0) {
        smtp_client_settle(c, &no);
        return;
    }
    c->says_utf8 = has_utf8 && (job->needs_utf8 || !str_is_ascii(job->from));
    for (uint32_t i = 0; i < job->n_rcpts; i++) {
        if (job->rcpts[i].n == 0 || !is_writable(job->rcpts[i]))
            c->results[i] = smtp_client_ours(SMTP_OUTCOME_PERMANENT, SMTP_AT_RCPT, ESC(5, 1, 3),
                                             STR("the recipient's address can't be written in SMTP"));
        else if (!has_utf8 && !str_is_ascii(job->rcpts[i]))
            c->results[i] = smtp_client_ours(
                SMTP_OUTCOME_PERMANENT, SMTP_AT_RCPT, ESC(5, 6, 7),
                STR("the recipient's address is not ASCII and the server does not offer SMTPUTF8"));
        else
            c->says_utf8 = c->says_utf8 || !str_is_ascii(job->rcpts[i]);
    }
}

void smtp_client_plan_job(struct smtp_client *c)
{
    uint32_t n = 0;
    check_job(c);
    smtp_plan_reset(&c->plan);
    for (uint32_t i = 0; i < c->job.n_rcpts; i++)
        n += c->results[i].outcome == SMTP_OUTCOME_PENDING;
    if (n == 0)
        return;
    if (c->needs_rset)
        smtp_plan_add(&c->plan, SMTP_STEP_RSET, 0);
    smtp_plan_add(&c->plan, SMTP_STEP_MAIL, 0);
    for (uint32_t i = 0; i < c->job.n_rcpts; i++)
        if (c->results[i].outcome == SMTP_OUTCOME_PENDING)
            smtp_plan_add(&c->plan, SMTP_STEP_RCPT, i);
    smtp_plan_add(&c->plan, SMTP_STEP_DATA, 0);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void format_mail(const struct smtp_client *c, struct buf *b)
{
    buf_puts(b, "MAIL FROM:<");
    buf_put(b, c->job.from);
    buf_putc(b, '>');
    if ((c->offers & SMTP_OFFERS_SIZE) != 0 && c->job.size > 0)
        buf_printf(b, " SIZE=%llu", (unsigned long long)c->job.size);
    if ((c->offers & SMTP_OFFERS_8BITMIME) != 0 && c->job.is_8bit)
        buf_puts(b, " BODY=8BITMIME");
    if (c->says_utf8)
        buf_puts(b, " SMTPUTF8");
}

static void format_hello(const struct smtp_client *c, const char *word, struct buf *b)
{
    buf_puts(b, word);
    buf_putc(b, ' ');
    buf_put(b, c->conf.helo);
}

static void format_step(const struct smtp_client *c, const struct smtp_step *s, struct buf *b)
{
    switch ((enum smtp_step_kind)s->kind) {
    case SMTP_STEP_GREETING:
    case SMTP_STEP_END: /* its octets depend on the message's last ones */
        must_not_reach();
    case SMTP_STEP_EHLO:
        format_hello(c, "EHLO", b);
        break;
    case SMTP_STEP_HELO:
        format_hello(c, "HELO", b);
        break;
    case SMTP_STEP_LHLO:
        format_hello(c, "LHLO", b);
        break;
    case SMTP_STEP_RSET:
        buf_puts(b, "RSET");
        break;
    case SMTP_STEP_MAIL:
        format_mail(c, b);
        break;
    case SMTP_STEP_RCPT:
        buf_puts(b, "RCPT TO:<");
        buf_put(b, c->job.rcpts[s->rcpt]);
        buf_putc(b, '>');
        break;
    case SMTP_STEP_DATA:
        buf_puts(b, "DATA");
        break;
    case SMTP_STEP_QUIT:
        buf_puts(b, "QUIT");
        break;
    }
    buf_puts(b, "\r\n");
    must(!b->failed);
}

static bool is_needed(const struct smtp_client *c, const struct smtp_step *s)
{
    if (s->kind == SMTP_STEP_RCPT)
        return !c->mail_refused;
    if (s->kind == SMTP_STEP_DATA) /* while a recipient's fate is open it may go along */
        return !c->mail_refused && (c->n_accepted > 0 || smtp_plan_awaited(&c->plan) != NULL);
    return true;
}

/* false: no room now, or the session died of lack of memory. */
static bool put_step(struct smtp_client *c, const struct smtp_step *s)
{
    char mem[COMMAND_MAX];
    struct buf b;
    size_t before = c->out.n, need = DOT_MAX;
    buf_init_fixed(&b, mem, sizeof mem);
    if (s->kind != SMTP_STEP_END) {
        format_step(c, s, &b);
        need = b.n;
    }
    if (need > c->out.max - c->out.n)
        return false;
    if (!buf_reserve(&c->out, need)) {
        struct smtp_client_result why = smtp_client_ours(SMTP_OUTCOME_TEMPORARY, smtp_client_stage_now(c),
                                                         ESC(4, 3, 0), STR("no memory for the output"));
        smtp_client_die(c, &why);
        return false;
    }
    if (s->kind == SMTP_STEP_END)
        dot_encode_end(&c->dots, &c->out);
    else
        buf_put(&c->out, buf_str(&b));
    c->out_total += c->out.n - before;
    return true;
}

void smtp_client_pump(struct smtp_client *c)
{
    bool pipelining = (c->offers & SMTP_OFFERS_PIPELINING) != 0 && !c->conf.no_pipelining;
    const struct smtp_step *s;
    while ((s = smtp_plan_next(&c->plan)) != NULL) {
        if (!is_needed(c, s)) {
            smtp_plan_skip(&c->plan);
            continue;
        }
        if (!smtp_plan_may_send(&c->plan, pipelining) || !put_step(c, s))
            break;
        smtp_plan_sent(&c->plan, c->out_total);
    }
    if (c->state == SMTP_CLIENT_ST_ENVELOPE && smtp_plan_is_done(&c->plan))
        smtp_client_finish_job(c);
}
