/* proto/smtp_server_cmd_mail.c: MAIL (RFC 5321 4.1.1.2; parameters RFC 1870, 6152, 6531). */
#include "base/limits.h"
#include "proto/smtp_server_cmd.h"

/* What MAIL may carry: nothing after HELO, since extensions are agreed on by EHLO (RFC 5321 4.1.1.11). */
static unsigned params_allowed(const struct smtp_server *s)
{
    const struct smtp_server_conf *c = s->conf;
    if (!s->is_esmtp)
        return 0;
    return SMTP_PARAM_SIZE | SMTP_PARAM_BODY | (c->no_smtputf8 ? 0u : (unsigned)SMTP_PARAM_SMTPUTF8) |
           (c->dsn ? (unsigned)(SMTP_PARAM_RET | SMTP_PARAM_ENVID) : 0u) |
           (c->deliverby ? (unsigned)SMTP_PARAM_BY : 0u) |
           (c->mt_priority ? (unsigned)SMTP_PARAM_PRIORITY : 0u) |
           (c->hold_max_s > 0 ? (unsigned)(SMTP_PARAM_HOLDFOR | SMTP_PARAM_HOLDUNTIL) : 0u) |
           (smtp_server_has_requiretls(s) ? (unsigned)SMTP_PARAM_REQUIRETLS : 0u) |
           (c->auth ? (unsigned)SMTP_PARAM_AUTH : 0u) |
           (c->prdr && !c->lmtp ? (unsigned)SMTP_PARAM_PRDR : 0u);
}

void smtp_server_refuse_form(struct smtp_server *s, enum smtp_cmd_err err, const char *why,
                             enum smtp_reply_id bad_address)
{
    enum smtp_reply_id id = R_BAD_PARAM;
    switch (err) {
    case SMTP_CMD_OK:
        must_not_reach();
    case SMTP_CMD_SYNTAX:
    case SMTP_CMD_DUPLICATE_PARAM:
        break;
    case SMTP_CMD_BAD_ADDRESS:
        id = bad_address;
        break;
    case SMTP_CMD_UNKNOWN_PARAM:
        id = R_UNKNOWN_PARAM;
        break;
    case SMTP_CMD_NEEDS_UTF8:
        id = R_NEEDS_UTF8;
        break;
    }
    smtp_server_reply(s, id, str_from_c(why));
}

/* The same slice of a copy. */
static struct str moved(struct str part, struct str from, struct str to)
{
    if (part.n == 0)
        return STR_NIL;
    size_t at = (size_t)(part.p - from.p);
    must(part.p >= from.p && at <= from.n && part.n <= from.n - at);
    return str_of(to.p + at, part.n);
}

void smtp_server_move_address(struct address *a, struct str copy)
{
    a->local = moved(a->local, a->text, copy);
    a->domain = moved(a->domain, a->text, copy);
    a->text = copy;
}

/* Milliseconds from now until the message may go, 0: at once; or the row that refuses it. */
static enum smtp_reply_id judge_hold(const struct smtp_server *s, const struct smtp_mail_args *m,
                                     int64_t *out_ms)
{
    *out_ms = (int64_t)m->hold_for_s * 1000;
    if ((m->params & SMTP_PARAM_HOLDUNTIL) != 0) {
        *out_ms = m->hold_until_s * 1000 - smtp_server_wall_ms(s);
        if (*out_ms <= 0)
            return R_HOLD_PAST;
    }
    return *out_ms > (int64_t)s->conf->hold_max_s * 1000 ? R_HOLD_TOO_LONG : R_NONE;
}

static bool is_lowered(const struct smtp_server *s, const struct smtp_mail_args *m)
{
    return s->conf->lowers_priority && m->priority > 0;
}

/* Takes what needs no memory. R_NONE, or the row that refuses the message, with its number. */
static enum smtp_reply_id take_params(const struct smtp_server *s, const struct smtp_mail_args *m,
                                      struct mail_params *out, uint64_t *out_number)
{
    int64_t wall_ms = smtp_server_wall_ms(s), hold_ms;
    enum smtp_reply_id id = judge_hold(s, m, &hold_ms);
    *out_number = s->conf->hold_max_s;
    if (id != R_NONE)
        return id;
    if (m->by_mode == BY_RETURN && m->by_s < (int64_t)s->conf->by_min_s) {
        *out_number = s->conf->by_min_s;
        return R_BY_TOO_SOON;
    }
    *out = (struct mail_params){.ret = m->ret,
                                .by_mode = m->by_mode,
                                .by_trace = m->by_trace,
                                .priority = is_lowered(s, m) ? 0 : m->priority,
                                .has_priority = (m->params & SMTP_PARAM_PRIORITY) != 0,
                                .requiretls = m->requiretls,
                                .hold_until_ms = hold_ms == 0 ? 0 : wall_ms + hold_ms};
    if (m->by_mode != BY_NONE && wall_ms + (int64_t)m->by_s * 1000 > 0)
        out->by_ms = wall_ms + (int64_t)m->by_s * 1000;
    return R_NONE;
}

/* The texts in the arena; false without memory. */
static bool keep_texts(struct smtp_server *s, struct smtp_mail_args *m, struct mail_params *params)
{
    struct str text;
    struct buf envid;
    if (!arena_str(&s->arena, m->from.text, &text))
        return false;
    smtp_server_move_address(&m->from, text);
    if (m->envid.n == 0)
        return true;
    char *mem = arena_alloc(&s->arena, m->envid.n);
    if (mem == NULL)
        return false;
    buf_init_fixed(&envid, mem, m->envid.n);
    must(xtext_decode(m->envid, &envid)); /* the parser has done so before */
    params->envid = buf_str(&envid);
    return true;
}

static enum smtp_reply_id judge_mail(const struct smtp_server *s, const struct smtp_mail_args *m)
{
    if (m->from.text.n > 0 && m->from.kind == DOMAIN_NONE)
        return R_DOMAIN_NEEDED;
    if (m->body == SMTP_BODY_BINARYMIME && !smtp_server_has_binarymime(s))
        return R_NO_BINARYMIME;
    return R_NONE;
}

void cmd_mail(struct smtp_server *s, struct str arg)
{
    struct smtp_mail_args m;
    const char *why = NULL;
    enum smtp_cmd_err err = smtp_mail_parse(arg, params_allowed(s), &m, &why);
    if (err != SMTP_CMD_OK) {
        smtp_server_refuse_form(s, err, why, R_BAD_SENDER);
        return;
    }
    enum smtp_reply_id id = judge_mail(s, &m);
    if (id != R_NONE) {
        smtp_server_reply(s, id, STR_NIL);
        return;
    }
    if (m.size > smtp_server_size_max(s)) {
        smtp_server_reply_number(s, R_TOO_BIG, smtp_server_size_max(s));
        return;
    }
    if (s->n_transactions >= SMTP_TRANSACTIONS_MAX) {
        smtp_server_end(s, R_TOO_MANY_TRANSACTIONS);
        return;
    }
    struct mail_params params;
    uint64_t number;
    id = take_params(s, &m, &params, &number);
    if (id != R_NONE) {
        smtp_server_reply_number(s, id, number);
        return;
    }
    if (!keep_texts(s, &m, &params)) {
        arena_reset(&s->arena);
        smtp_server_reply(s, R_NO_MEMORY, STR_NIL);
        return;
    }
    s->n_transactions++;
    s->in_transaction = true;
    s->transaction_since_ms = s->now_ms;
    s->tx.from = m.from;
    s->tx.body = m.body;
    s->tx.smtputf8 = m.smtputf8;
    s->tx.is_prdr = m.prdr;
    s->tx.params = params;
    s->tx.is_priority_lowered = is_lowered(s, &m);
    s->tx.size_declared = m.size;
    smtp_server_ask(s, SMTP_EV_MAIL);
}

void smtp_server_mail_answered(struct smtp_server *s, enum smtp_reply_id id, struct str arg)
{
    smtp_server_reply(s, id, arg);
    if (s->phase == SMTP_SERVER_CLOSED)
        return;
    if (smtp_reply_row(id)->code < 300)
        smtp_server_set_phase(s, SMTP_SERVER_MAIL);
    else
        smtp_server_end_transaction(s);
}
