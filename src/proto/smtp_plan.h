/* proto/smtp_plan.h: the commands of an SMTP or LMTP client as an array of steps with two cursors: what was
 * sent, and what was answered. The sender runs ahead of the answers as far as pipelining allows (RFC
 * 2920 3.1).
 *
 * Owns:     nothing outside the struct.
 * Limits:   SMTP_PLAN_STEPS_MAX steps: RSET, MAIL, RCPT a recipient, DATA, the end; as many chunks at a time.
 * Errors:   none; misuse is our bug.
 */
#pragma once
#include "base/limits.h"
#include "proto/smtp_client.h"

enum smtp_step_kind {
    SMTP_STEP_GREETING = 0, /* nothing is sent, a reply is due */
    SMTP_STEP_EHLO,
    SMTP_STEP_HELO,
    SMTP_STEP_LHLO,
    SMTP_STEP_STARTTLS,
    SMTP_STEP_AUTH, /* AUTH, and each answer to a challenge */
    SMTP_STEP_RSET,
    SMTP_STEP_MAIL,
    SMTP_STEP_RCPT,
    SMTP_STEP_DATA,
    SMTP_STEP_BDAT, /* a chunk (RFC 3030), and its octets */
    SMTP_STEP_LAST, /* BDAT 0 LAST; replies as for the end */
    SMTP_STEP_END,  /* the final dot; LMTP: one reply for each recipient that was accepted */
    SMTP_STEP_QUIT,
};
enum { SMTP_PLAN_STEPS_MAX = QUEUE_RCPTS_PER_ATTEMPT_MAX + 4 };

struct smtp_step {
    uint64_t sent_at; /* octets of output up to the end of this command, since the session began */
    uint16_t rcpt;    /* which recipient */
    uint8_t kind;     /* enum smtp_step_kind */
    bool is_skipped;  /* was not sent, has no reply */
};
struct smtp_plan {
    struct smtp_step steps[SMTP_PLAN_STEPS_MAX];
    uint16_t n;    /* steps */
    uint16_t send; /* the next one to send */
    uint16_t recv; /* the next one to be answered; at most send */
};

/* What a step is called ("RCPT TO"), static; where it stands; how long its reply may take (RFC 5321 4.5.3.2).
 */
const char *smtp_step_name(enum smtp_step_kind kind);
enum smtp_client_stage smtp_step_stage(enum smtp_step_kind kind);
uint32_t smtp_step_timeout_ms(enum smtp_step_kind kind);

/* An empty plan. Every step of the old one must have been answered, or the session is over. */
void smtp_plan_reset(struct smtp_plan *p);
void smtp_plan_add(struct smtp_plan *p, enum smtp_step_kind kind, uint32_t rcpt);
/* The next step to be sent, or NULL when there is none. */
const struct smtp_step *smtp_plan_next(const struct smtp_plan *p);
/* May the next step go out now? Without pipelining only when all before it were answered; with it not behind
 * a command that must end its group. */
bool smtp_plan_may_send(const struct smtp_plan *p, bool pipelining);
/* The next step was put into the output, which has got sent_at octets by now. */
void smtp_plan_sent(struct smtp_plan *p, uint64_t sent_at);
/* The next step is of no use any more. */
void smtp_plan_skip(struct smtp_plan *p);
/* The step whose reply is due, or NULL when none is outstanding. */
const struct smtp_step *smtp_plan_awaited(const struct smtp_plan *p);
/* The awaited step has been answered (for LMTP's end: by its last reply). */
void smtp_plan_received(struct smtp_plan *p);
static inline bool smtp_plan_is_done(const struct smtp_plan *p)
{
    return p->recv == p->n;
}
/* Checks what must always hold. */
void smtp_plan_invariants(const struct smtp_plan *p);
