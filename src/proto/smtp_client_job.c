#include "proto/smtp_client_impl.h"

#include "wire/address.h"

enum {
    /* MAIL with a path of SMTP_PATH_MAX and all parameters; RCPT likewise: an ORCPT over ORCPT_MAX is not
       sent */
    COMMAND_MAX = 2048,
    DOT_MAX = 14,    /* CRLF "." CRLF, or "BDAT 0 LAST" CRLF */
    ORCPT_MAX = 500, /* RFC 3461 4.2, as written */
};

/* ---- addresses ------------------------------------------------------------------------------- */

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

/* Appends the mailbox in ASCII: its domain as A-labels; false when its local part is not ASCII, or the domain
 * has no such form. RFC 6531 3.2 lets us: the same mailbox by another spelling. */
static bool put_in_ascii(const struct smtp_client_job *job, struct str mailbox, struct buf *out)
{
    size_t at = mailbox.n;
    while (at > 0 && mailbox.p[at - 1] != '@')
        at--;
    struct str local = str_slice(mailbox, 0, at), domain = str_skip(mailbox, at);
    size_t before = out->n;
    if (str_is_ascii(mailbox))
        return buf_put(out, mailbox);
    if (!str_is_ascii(local) || job->to_ascii == NULL || !buf_put(out, local) ||
        !job->to_ascii(domain, out)) {
        out->n = before;
        return false;
    }
    return is_writable(str_of(out->p + before, out->n - before));
}

static bool has_ascii_form(const struct smtp_client_job *job, struct str mailbox)
{
    char mem[2 * SMTP_PATH_MAX];
    struct buf b;
    if (str_is_ascii(mailbox))
        return true;
    buf_init_fixed(&b, mem, sizeof mem);
    return put_in_ascii(job, mailbox, &b);
}

static void put_address(const struct smtp_client *c, struct str mailbox, struct buf *b)
{
    if (c->says_utf8)
        buf_put(b, mailbox);
    else
        must(put_in_ascii(&c->job, mailbox, b)); /* was tried before */
}

/* ---- what can be sent ------------------------------------------------------------------------ */

/* What is left of the time in seconds, rounded down; it may be below zero. */
static int64_t by_seconds(const struct smtp_client_job *job)
{
    const int64_t max = 999999999;                  /* RFC 2852 4: nine digits */
    int64_t ms = job->params->by_ms - job->wall_ms; /* neither is below zero */
    int64_t s = ms / 1000 - (ms % 1000 < 0);
    return s > max ? max : s < -max ? -max : s;
}

/* RFC 2852 4.1.4: mail that is to come back if late goes to no server that could not know when it is late.
 * Behind LMTP (RFC 2033) there is no queue: what it takes is delivered, and was in time if we are. */
static void check_by(const struct smtp_client *c, struct smtp_client_result *no)
{
    const struct mail_params *p = c->job.params;
    if (p == NULL || p->by_mode != BY_RETURN || c->job.is_callout)
        return;
    int64_t left = by_seconds(&c->job);
    if (left <= 0) {
        no->esc = ESC(5, 4, 7);
        no->text = STR("the time that the sender gave for the delivery is over (BY)");
    } else if ((c->offers & SMTP_OFFERS_DELIVERBY) == 0 && !c->conf.lmtp) {
        no->esc = ESC(5, 3, 3);
        no->text = STR("the sender wants the message back when it is late (BY), and the server does not "
                       "offer DELIVERBY");
    } else if ((uint64_t)left < c->by_min) {
        no->esc = ESC(5, 3, 3);
        no->text =
            STR("the sender gave less time for the delivery (BY) than the server asks for (DELIVERBY)");
    }
}

static bool is_requiretls(const struct smtp_client *c)
{
    return c->job.params != NULL && c->job.params->requiretls && !c->conf.is_near;
}

static bool has_binary(const struct smtp_client *c)
{
    const unsigned both = SMTP_OFFERS_CHUNKING | SMTP_OFFERS_BINARYMIME;
    return (c->offers & both) == both;
}

/* What concerns all recipients; esc.class 0 when nothing does. */
static struct smtp_client_result check_message(const struct smtp_client *c)
{
    const struct smtp_client_job *job = &c->job;
    struct smtp_client_result no = {.outcome = SMTP_OUTCOME_PERMANENT, .stage = SMTP_AT_MAIL};
    bool has_utf8 = (c->offers & SMTP_OFFERS_SMTPUTF8) != 0;
    if (!is_writable(job->from)) {
        no.esc = ESC(5, 1, 7);
        no.text = STR("the sender's address can't be written in SMTP");
    } else if (!has_utf8 && !has_ascii_form(job, job->from)) {
        no.esc = ESC(5, 6, 7);
        no.text = STR("the sender's address is not ASCII and the server does not offer SMTPUTF8");
    } else if (c->size_limit > 0 && job->size > c->size_limit) {
        no.esc = ESC(5, 3, 4);
        no.text = STR("the message is bigger than the server takes (SIZE)");
    } else if (is_requiretls(c) && (!c->is_encrypted || !c->secured.is_verified)) {
        no.esc = ESC(5, 7, 30); /* RFC 8689 4.2.1: what is offered in the clear does not count */
        no.text = c->is_encrypted
                      ? STR("the sender requires TLS all the way (REQUIRETLS) and this server could "
                            "not be verified")
                      : STR("the sender requires TLS all the way (REQUIRETLS) and this connection "
                            "has none");
    } else if (is_requiretls(c) && (c->offers & SMTP_OFFERS_REQUIRETLS) == 0) {
        no.esc = ESC(5, 7, 30);
        no.text = STR("the sender requires TLS all the way and the server does not offer REQUIRETLS");
    } else if (job->is_binary && !job->may_convert && !job->is_callout && !has_binary(c)) { /* RFC 3030 3 */
        no.esc = ESC(5, 6, 3);
        no.text = STR("the message is binary and the server does not offer BINARYMIME");
    } else {
        check_by(c, &no);
    }
    return no;
}

/* RFC 9422: more recipients than the server takes are left out; the queue gives them in the next job. */
static void obey_rcpt_max(struct smtp_client *c)
{
    uint64_t n = 0;
    for (uint32_t i = 0; c->rcpt_max > 0 && i < c->job.n_rcpts; i++) {
        if (c->results[i].outcome == SMTP_OUTCOME_PENDING && ++n > c->rcpt_max)
            c->results[i] =
                smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_RCPT, ESC(4, 5, 3),
                                 STR("the server takes no more recipients in one message (LIMITS RCPTMAX)"));
    }
}

static uint64_t domain_hash(struct str address)
{
    size_t at = str_rchr(address, '@');
    return str_ihash(at == STR_NPOS ? STR_NIL : str_skip(address, at + 1), 0);
}

bool smtp_client_takes_domain(const struct smtp_client *c, struct str address)
{
    if (c->domain_max == 0 || (c->n_domains < c->domain_max && c->n_domains < SMTP_CLIENT_DOMAINS_MAX))
        return true;
    uint64_t hash = domain_hash(address);
    for (uint32_t i = 0; i < c->n_domains; i++) {
        if (c->domains[i] == hash)
            return true;
    }
    return false;
}

static void note_domain(struct smtp_client *c, struct str address)
{
    uint64_t hash = domain_hash(address);
    for (uint32_t i = 0; i < c->n_domains; i++) {
        if (c->domains[i] == hash)
            return;
    }
    c->domains[c->n_domains++] = hash;
}

/* RFC 9422 4.3: the domains of a whole session count. A domain that went along with a sender who was refused
 * is counted too: nobody says whether the server does. */
static void obey_domain_max(struct smtp_client *c)
{
    for (uint32_t i = 0; c->domain_max > 0 && i < c->job.n_rcpts; i++) {
        struct str address = c->job.rcpts[i].address;
        if (c->results[i].outcome != SMTP_OUTCOME_PENDING)
            continue;
        if (smtp_client_takes_domain(c, address))
            note_domain(c, address);
        else
            c->results[i] = smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_RCPT, ESC(4, 5, 3),
                                             STR("the server takes recipients of no more domains on one "
                                                 "connection (LIMITS RCPTDOMAINMAX)"));
    }
}

static void check_rcpts(struct smtp_client *c)
{
    const struct smtp_client_job *job = &c->job;
    bool has_utf8 = (c->offers & SMTP_OFFERS_SMTPUTF8) != 0;
    c->says_utf8 = has_utf8 && (job->needs_utf8 || !str_is_ascii(job->from));
    for (uint32_t i = 0; i < job->n_rcpts; i++) {
        struct str address = job->rcpts[i].address;
        if (address.n == 0 || !is_writable(address))
            c->results[i] = smtp_client_ours(SMTP_OUTCOME_PERMANENT, SMTP_AT_RCPT, ESC(5, 1, 3),
                                             STR("the recipient's address can't be written in SMTP"));
        else if (!has_utf8 && !has_ascii_form(job, address))
            c->results[i] = smtp_client_ours(
                SMTP_OUTCOME_PERMANENT, SMTP_AT_RCPT, ESC(5, 6, 7),
                STR("the recipient's address is not ASCII and the server does not offer SMTPUTF8"));
        else
            c->says_utf8 = c->says_utf8 || (has_utf8 && !str_is_ascii(address));
    }
    obey_rcpt_max(c);
    obey_domain_max(c);
}

static uint32_t count_pending(const struct smtp_client *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->job.n_rcpts; i++)
        n += c->results[i].outcome == SMTP_OUTCOME_PENDING;
    return n;
}

/* What the server takes of the message as it is. */
static unsigned find_need(const struct smtp_client *c)
{
    const struct smtp_client_job *job = &c->job;
    bool has_8bit = (c->offers & SMTP_OFFERS_8BITMIME) != 0;
    unsigned need = 0;
    if (!job->may_convert || job->is_callout || count_pending(c) == 0)
        return 0;
    if ((job->is_8bit || job->is_binary) && !has_8bit && !c->says_bdat)
        need |= SMTP_NEED_7BIT;
    if (job->is_binary && !c->says_bdat)
        need |= SMTP_NEED_LINES;
    if (job->needs_utf8 && (c->offers & SMTP_OFFERS_SMTPUTF8) == 0)
        need |= SMTP_NEED_HEADER;
    return need;
}

void smtp_client_check_job(struct smtp_client *c)
{
    struct smtp_client_result no = check_message(c);
    if (no.esc.class != 0) {
        smtp_client_settle(c, &no);
        c->need = 0;
        return;
    }
    check_rcpts(c);
    c->says_bdat = c->job.is_binary && !c->job.is_callout && has_binary(c);
    c->need = find_need(c);
}

void smtp_client_plan_job(struct smtp_client *c)
{
    smtp_plan_reset(&c->plan);
    if (count_pending(c) == 0)
        return;
    if (c->needs_rset)
        smtp_plan_add(&c->plan, SMTP_STEP_RSET, 0);
    smtp_plan_add(&c->plan, SMTP_STEP_MAIL, 0);
    for (uint32_t i = 0; i < c->job.n_rcpts; i++)
        if (c->results[i].outcome == SMTP_OUTCOME_PENDING)
            smtp_plan_add(&c->plan, SMTP_STEP_RCPT, i);
    if (c->job.is_callout)
        smtp_plan_add(&c->plan, SMTP_STEP_RSET, 0);
    else if (!c->says_bdat)
        smtp_plan_add(&c->plan, SMTP_STEP_DATA, 0);
}

/* ---- commands -------------------------------------------------------------------------------- */

/* RFC 3461 4.3, 4.4; RFC 2852 4; RFC 6710 3; RFC 8689 2. */
static void format_params(const struct smtp_client *c, struct buf *b)
{
    const struct mail_params *p = c->job.params;
    if (p == NULL)
        return;
    if ((c->offers & SMTP_OFFERS_DSN) != 0 && p->ret != DSN_RET_NONE)
        buf_puts(b, p->ret == DSN_RET_FULL ? " RET=FULL" : " RET=HDRS");
    if ((c->offers & SMTP_OFFERS_DSN) != 0 && p->envid.n > 0) {
        buf_puts(b, " ENVID=");
        xtext_encode(p->envid, b);
    }
    if ((c->offers & SMTP_OFFERS_DELIVERBY) != 0 && p->by_mode != BY_NONE)
        buf_printf(b, " BY=%lld;%c%s", (long long)by_seconds(&c->job), p->by_mode == BY_RETURN ? 'R' : 'N',
                   p->by_trace ? "T" : "");
    if ((c->offers & SMTP_OFFERS_MT_PRIORITY) != 0 && p->has_priority)
        buf_printf(b, " MT-PRIORITY=%d", p->priority);
    if (p->requiretls && (c->offers & SMTP_OFFERS_REQUIRETLS) != 0)
        buf_puts(b, " REQUIRETLS");
}

static void format_mail(const struct smtp_client *c, struct buf *b)
{
    buf_puts(b, "MAIL FROM:<");
    put_address(c, c->job.from, b);
    buf_putc(b, '>');
    if (!c->job.is_callout) {
        if ((c->offers & SMTP_OFFERS_SIZE) != 0 && c->job.size > 0)
            buf_printf(b, " SIZE=%llu", (unsigned long long)c->job.size);
        if (c->says_bdat)
            buf_puts(b, " BODY=BINARYMIME");
        else if ((c->offers & SMTP_OFFERS_8BITMIME) != 0 && (c->job.is_8bit || c->job.is_binary))
            buf_puts(b, " BODY=8BITMIME");
    }
    if (c->says_utf8)
        buf_puts(b, " SMTPUTF8");
    if (!c->job.is_callout)
        format_params(c, b);
}

/* "type;address"; left out when it would be longer than a server has to take. */
static void format_orcpt(const struct smtp_client *c, struct str orcpt, struct buf *b)
{
    char mem[8 * DSN_ORCPT_MAX];
    struct buf value;
    struct str address = orcpt;
    struct str type = str_cut(&address, ';');
    buf_init_fixed(&value, mem, sizeof mem);
    buf_put(&value, type);
    buf_putc(&value, ';');
    if (!str_ieq(type, STR("utf-8")))
        xtext_encode(address, &value);
    else
        utf8_xtext_encode(address, c->says_utf8, &value);
    if (!value.failed && value.n <= ORCPT_MAX)
        buf_printf(b, " ORCPT=%.*s", STR_FMT(buf_str(&value)));
}

static void format_rcpt(const struct smtp_client *c, const struct rcpt *r, struct buf *b)
{
    buf_puts(b, "RCPT TO:<");
    put_address(c, r->address, b);
    buf_putc(b, '>');
    if ((c->offers & SMTP_OFFERS_DSN) == 0 || c->job.is_callout)
        return;
    if (r->notify != 0) { /* RFC 3461 4.1: NEVER stands alone */
        buf_puts(b, " NOTIFY=");
        notify_put((r->notify & NOTIFY_NEVER) != 0 ? NOTIFY_NEVER : r->notify, b);
    }
    if (r->orcpt.n > 0)
        format_orcpt(c, r->orcpt, b);
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
    case SMTP_STEP_BDAT:
    case SMTP_STEP_AUTH: /* smtp_client_auth.c has written it */
    case SMTP_STEP_END:  /* its octets depend on the message's last ones */
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
    case SMTP_STEP_STARTTLS:
        buf_puts(b, "STARTTLS");
        break;
    case SMTP_STEP_RSET:
        buf_puts(b, "RSET");
        break;
    case SMTP_STEP_MAIL:
        format_mail(c, b);
        break;
    case SMTP_STEP_RCPT:
        format_rcpt(c, &c->job.rcpts[s->rcpt], b);
        break;
    case SMTP_STEP_LAST:
        buf_puts(b, "BDAT 0 LAST");
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
    if (s->kind == SMTP_STEP_RSET) /* that of a callout: while MAIL's fate is open it may go along */
        return c->needs_rset || (!c->mail_refused && smtp_plan_awaited(&c->plan) != NULL);
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
    if (s->kind == SMTP_STEP_AUTH) {
        b = c->auth->line;
        need = b.n;
    } else if (s->kind != SMTP_STEP_END) {
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
    if (c->state != SMTP_CLIENT_ST_ENVELOPE || !smtp_plan_is_done(&c->plan))
        return;
    if (c->says_bdat && c->n_accepted > 0) { /* no reply of its own opens a message by BDAT */
        smtp_client_set_state(c, SMTP_CLIENT_ST_BODY);
        c->events |= 1u << SMTP_CLIENT_WANT_BODY;
    } else {
        smtp_client_finish_job(c);
    }
}
