/* proto/smtp_server_cmd_rcpt.c: RCPT (RFC 5321 4.1.1.3; parameters RFC 3461). */
#include "base/limits.h"
#include "proto/smtp_server_cmd.h"

#include <string.h>

enum {
    RCPTS_FIRST = 4,
    SPARE_STEP = 64,
    RCPTS_IN_NEED = 100, /* what every server must take: RFC 5321 4.5.3.1.8 */
};

/* Few clients with many recipients must not take the memory of all others: when the most of it is lent, a
 * transaction takes no more than it must, and the client sends another message to the rest. */
static uint32_t rcpt_max_now(const struct smtp_server *s)
{
    const struct chunk_pool *pool = s->arena.pool;
    uint32_t max = smtp_server_rcpt_max(s);
    bool is_short = pool->n_lent >= pool->n_max / 4 * 3;
    return is_short && max > RCPTS_IN_NEED ? RCPTS_IN_NEED : max;
}

/* Room for one more recipient behind those taken. */
static bool has_slot(struct smtp_server *s)
{
    if (s->tx.n_rcpts < s->rcpts_cap)
        return true;
    uint32_t cap = s->rcpts_cap == 0 ? RCPTS_FIRST : s->rcpts_cap * 2;
    struct smtp_server_rcpt *bigger = arena_alloc_array(&s->arena, cap, sizeof *bigger);
    if (bigger == NULL)
        return false;
    if (s->tx.n_rcpts > 0)
        memcpy(bigger, s->tx.rcpts, s->tx.n_rcpts * sizeof *bigger);
    s->tx.rcpts = bigger;
    s->rcpts_cap = cap;
    return true;
}

/* Memory for n octets. A refused recipient leaves its memory to the next: refusals do not use the arena up.
 */
static bool has_spare(struct smtp_server *s, size_t n)
{
    if (n <= s->spare_size)
        return true;
    size_t size = (n + SPARE_STEP - 1) / SPARE_STEP * SPARE_STEP;
    s->spare = arena_alloc(&s->arena, size);
    s->spare_size = s->spare == NULL ? 0 : size;
    return s->spare != NULL;
}

/* The recipient with copies of its texts in the spare memory, in the slot behind the last. False: no memory.
 */
static bool keep_rcpt(struct smtp_server *s, struct smtp_rcpt_args *r)
{
    struct str address = r->to.text;
    struct buf orcpt;
    if (!has_slot(s) || !has_spare(s, address.n + r->orcpt.n))
        return false;
    memcpy(s->spare, address.p, address.n);
    smtp_server_move_address(&r->to, str_of(s->spare, address.n));
    struct smtp_server_rcpt *slot = &s->tx.rcpts[s->tx.n_rcpts];
    *slot = (struct smtp_server_rcpt){.to = r->to, .notify = r->notify};
    if (r->orcpt.n > 0) { /* decoded it is no longer than it was */
        buf_init_fixed(&orcpt, s->spare + address.n, r->orcpt.n);
        must(smtp_orcpt_decode(r->orcpt, &orcpt)); /* the parser has done so before */
        slot->orcpt = buf_str(&orcpt);
    }
    return true;
}

/* Postfix's way with a client that does not stop at 452: for a while patience, then each one is an error. */
static void refuse_count(struct smtp_server *s, uint32_t max)
{
    if (s->rcpts_tried > smtp_server_rcpt_max(s) + SMTP_SERVER_RCPT_OVERSHOOT_MAX)
        s->n_errors++;
    smtp_server_reply_number(s, R_TOO_MANY_RCPTS, max);
}

void cmd_rcpt(struct smtp_server *s, struct str arg)
{
    struct smtp_rcpt_args r;
    const char *why = NULL;
    bool has_dsn = s->conf->dsn && s->is_esmtp;
    unsigned allowed = has_dsn ? (unsigned)(SMTP_PARAM_NOTIFY | SMTP_PARAM_ORCPT) : 0u;
    enum smtp_cmd_err err = smtp_rcpt_parse(arg, s->tx.smtputf8, allowed, &r, &why);
    if (s->rcpts_tried < UINT32_MAX)
        s->rcpts_tried++;
    if (err != SMTP_CMD_OK) {
        smtp_server_refuse_form(s, err, why, R_BAD_RCPT);
        return;
    }
    uint32_t max = rcpt_max_now(s);
    if (s->tx.n_rcpts >= max) {
        refuse_count(s, max);
        return;
    }
    if (!keep_rcpt(s, &r)) {
        smtp_server_reply(s, R_NO_MEMORY, STR_NIL);
        return;
    }
    smtp_server_ask(s, SMTP_EV_RCPT);
}

void smtp_server_rcpt_answered(struct smtp_server *s, enum smtp_reply_id id, struct str arg, uint64_t user)
{
    smtp_server_reply(s, id, arg);
    if (s->phase == SMTP_SERVER_CLOSED || smtp_reply_row(id)->code >= 300)
        return;
    s->tx.rcpts[s->tx.n_rcpts].user = user;
    s->tx.n_rcpts++;
    s->spare = NULL;
    s->spare_size = 0;
    if (s->phase == SMTP_SERVER_MAIL)
        smtp_server_set_phase(s, SMTP_SERVER_RCPT);
}
