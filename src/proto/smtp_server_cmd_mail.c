/* proto/smtp_server_cmd_mail.c: MAIL (RFC 5321 4.1.1.2; parameters RFC 1870, 6152, 6531). */
#include "base/limits.h"
#include "proto/smtp_server_cmd.h"

/* What MAIL may carry: nothing after HELO, since extensions are agreed on by EHLO (RFC 5321 4.1.1.11). */
static unsigned params_allowed(const struct smtp_server *s)
{
    if (!s->is_esmtp)
        return 0;
    return SMTP_PARAM_SIZE | SMTP_PARAM_BODY | (s->conf->no_smtputf8 ? 0u : (unsigned)SMTP_PARAM_SMTPUTF8);
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

void cmd_mail(struct smtp_server *s, struct str arg)
{
    struct smtp_mail_args m;
    const char *why = NULL;
    enum smtp_cmd_err err = smtp_mail_parse(arg, params_allowed(s), &m, &why);
    if (err != SMTP_CMD_OK) {
        smtp_server_refuse_form(s, err, why, R_BAD_SENDER);
        return;
    }
    if (m.from.text.n > 0 && m.from.kind == DOMAIN_NONE) {
        smtp_server_reply(s, R_DOMAIN_NEEDED, STR_NIL);
        return;
    }
    if (m.body == SMTP_BODY_BINARYMIME) {
        smtp_server_reply(s, R_NO_BINARYMIME, STR_NIL);
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
    struct str text;
    if (!arena_str(&s->arena, m.from.text, &text)) {
        arena_reset(&s->arena);
        smtp_server_reply(s, R_NO_MEMORY, STR_NIL);
        return;
    }
    smtp_server_move_address(&m.from, text);
    s->n_transactions++;
    s->in_transaction = true;
    s->transaction_since_ms = s->now_ms;
    s->tx.from = m.from;
    s->tx.body = m.body;
    s->tx.smtputf8 = m.smtputf8;
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
