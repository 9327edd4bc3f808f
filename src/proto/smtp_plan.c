#include "proto/smtp_plan.h"

struct row {
    const char *name;
    enum smtp_client_stage stage;
    uint32_t timeout_ms;
    bool ends_group; /* RFC 2920 3.1: nothing follows before its reply is here */
};

static const struct row *row_of(enum smtp_step_kind kind)
{
    static const struct row rows[] = {
        [SMTP_STEP_GREETING] = {"the greeting", SMTP_AT_GREETING, SMTP_CLIENT_GREETING_MS, true},
        [SMTP_STEP_EHLO] = {"EHLO", SMTP_AT_HELLO, SMTP_CLIENT_HELLO_MS, true},
        [SMTP_STEP_HELO] = {"HELO", SMTP_AT_HELLO, SMTP_CLIENT_HELLO_MS, true},
        [SMTP_STEP_LHLO] = {"LHLO", SMTP_AT_HELLO, SMTP_CLIENT_HELLO_MS, true},
        [SMTP_STEP_STARTTLS] = {"STARTTLS", SMTP_AT_TLS, SMTP_CLIENT_HELLO_MS, true}, /* RFC 3207 4 */
        [SMTP_STEP_AUTH] = {"AUTH", SMTP_AT_AUTH, SMTP_CLIENT_HELLO_MS, true},
        /* RSET opens a job on a kept connection; for the reader of a bounce that is the start of MAIL */
        [SMTP_STEP_RSET] = {"RSET", SMTP_AT_MAIL, SMTP_CLIENT_MAIL_MS, false},
        [SMTP_STEP_MAIL] = {"MAIL FROM", SMTP_AT_MAIL, SMTP_CLIENT_MAIL_MS, false},
        [SMTP_STEP_RCPT] = {"RCPT TO", SMTP_AT_RCPT, SMTP_CLIENT_RCPT_MS, false},
        [SMTP_STEP_DATA] = {"DATA", SMTP_AT_DATA, SMTP_CLIENT_DATA_INIT_MS, true},
        [SMTP_STEP_BDAT] = {"BDAT", SMTP_AT_DATA, SMTP_CLIENT_DATA_BLOCK_MS, false},
        [SMTP_STEP_LAST] = {"the last BDAT", SMTP_AT_END, SMTP_CLIENT_DATA_END_MS, true},
        [SMTP_STEP_END] = {"the end of data", SMTP_AT_END, SMTP_CLIENT_DATA_END_MS, true},
        [SMTP_STEP_QUIT] = {"QUIT", SMTP_AT_QUIT, SMTP_CLIENT_QUIT_MS, true},
    };
    must((size_t)kind < ARRAY_LEN(rows));
    return &rows[kind];
}

const char *smtp_step_name(enum smtp_step_kind kind)
{
    return row_of(kind)->name;
}

enum smtp_client_stage smtp_step_stage(enum smtp_step_kind kind)
{
    return row_of(kind)->stage;
}

uint32_t smtp_step_timeout_ms(enum smtp_step_kind kind)
{
    return row_of(kind)->timeout_ms;
}

static void pass_skipped(struct smtp_plan *p)
{
    while (p->recv < p->send && p->steps[p->recv].is_skipped)
        p->recv++;
}

void smtp_plan_reset(struct smtp_plan *p)
{
    p->n = p->send = p->recv = 0;
}

void smtp_plan_add(struct smtp_plan *p, enum smtp_step_kind kind, uint32_t rcpt)
{
    must(p->n < SMTP_PLAN_STEPS_MAX && rcpt < QUEUE_RCPTS_PER_ATTEMPT_MAX);
    p->steps[p->n++] = (struct smtp_step){.kind = (uint8_t)kind, .rcpt = (uint16_t)rcpt};
}

const struct smtp_step *smtp_plan_next(const struct smtp_plan *p)
{
    return p->send < p->n ? &p->steps[p->send] : NULL;
}

bool smtp_plan_may_send(const struct smtp_plan *p, bool pipelining)
{
    if (p->send == p->n)
        return false;
    if (p->recv == p->send)
        return true;
    if (!pipelining)
        return false;
    for (uint16_t i = p->send; i > p->recv; i--) {
        const struct smtp_step *before = &p->steps[i - 1];
        if (!before->is_skipped)
            return !row_of((enum smtp_step_kind)before->kind)->ends_group;
    }
    return true;
}

void smtp_plan_sent(struct smtp_plan *p, uint64_t sent_at)
{
    must(p->send < p->n);
    p->steps[p->send++].sent_at = sent_at;
}

void smtp_plan_skip(struct smtp_plan *p)
{
    must(p->send < p->n);
    p->steps[p->send++].is_skipped = true;
    pass_skipped(p);
}

const struct smtp_step *smtp_plan_awaited(const struct smtp_plan *p)
{
    return p->recv < p->send ? &p->steps[p->recv] : NULL;
}

void smtp_plan_received(struct smtp_plan *p)
{
    must(p->recv < p->send);
    p->recv++;
    pass_skipped(p);
}

void smtp_plan_invariants(const struct smtp_plan *p)
{
    uint64_t sent_at = 0;
    must(p->recv <= p->send && p->send <= p->n && p->n <= SMTP_PLAN_STEPS_MAX);
    for (uint16_t i = 0; i < p->n; i++) {
        const struct smtp_step *s = &p->steps[i];
        must(i < p->send || (!s->is_skipped && s->sent_at == 0));
        must(s->is_skipped || i >= p->send || s->sent_at >= sent_at);
        if (!s->is_skipped)
            sent_at = s->sent_at;
        if (i >= p->recv && i < p->send) /* what ends a group has nothing outstanding behind it */
            must(!row_of((enum smtp_step_kind)s->kind)->ends_group || i + 1 == p->send);
    }
    must(p->recv == p->send || !p->steps[p->recv].is_skipped);
}
