/* proto/smtp_server_cmd_extra.c: what asks the owner outside of a transaction: EXPN (RFC 5321 4.1.1.7), ETRN
 * (RFC 1985), XCLIENT (Postfix's XCLIENT_README), STARTTLS (RFC 3207).
 */
#include "proto/smtp_server_cmd.h"

/* Gives the memory of a question back where no transaction needs the arena. */
static void forget(struct smtp_server *s)
{
    s->text = STR_NIL;
    s->xclient = NULL;
    if (!s->in_transaction)
        arena_reset(&s->arena);
}

static void ask_text(struct smtp_server *s, enum smtp_event_kind kind, struct str arg)
{
    if (arena_str(&s->arena, arg, &s->text)) {
        smtp_server_ask(s, kind);
        return;
    }
    forget(s);
    smtp_server_reply(s, R_NO_MEMORY, STR_NIL);
}

void cmd_expn(struct smtp_server *s, struct str arg)
{
    if (!utf8_is_valid(arg))
        smtp_server_reply(s, R_BAD_CHARS, STR_NIL);
    else
        ask_text(s, SMTP_EV_EXPN, arg);
}

/* RFC 1985 5.2: a domain; "@" before it for all below it, "#" before the name of a queue. */
void cmd_etrn(struct smtp_server *s, struct str arg)
{
    bool is_queue = arg.p[0] == '#';
    struct str name = str_skip(arg, is_queue || arg.p[0] == '@');
    bool is_good = name.n > 0 && name.n <= SMTP_DOMAIN_MAX && (is_queue || domain_is_valid(name, false));
    for (size_t i = 0; i < name.n; i++)
        is_good = is_good && name.p[i] > ' ' && name.p[i] < 0x7f;
    if (is_good)
        ask_text(s, SMTP_EV_ETRN, arg);
    else
        smtp_server_reply(s, R_BAD_ETRN, STR_NIL);
}

void cmd_xclient(struct smtp_server *s, struct str arg)
{
    struct buf mem;
    char *octets = arena_alloc(&s->arena, arg.n);
    s->xclient = arena_new(&s->arena, struct xclient);
    if (octets == NULL || s->xclient == NULL) {
        forget(s);
        smtp_server_reply(s, R_NO_MEMORY, STR_NIL);
        return;
    }
    buf_init_fixed(&mem, octets, arg.n);
    const char *why = xclient_parse(arg, &mem, s->xclient);
    if (why == NULL) {
        smtp_server_ask(s, SMTP_EV_XCLIENT);
        return;
    }
    forget(s);
    smtp_server_reply(s, R_BAD_XCLIENT, str_from_c(why));
}

void cmd_starttls(struct smtp_server *s, struct str arg)
{
    UNUSED(arg);
    if (s->is_secure)
        smtp_server_reply(s, R_TLS_ALREADY, STR_NIL);
    else
        smtp_server_ask(s, SMTP_EV_STARTTLS);
}

void smtp_server_secured(struct smtp_server *s, unsigned mechanisms)
{
    must(!s->is_secure && (s->awaits_tls || s->phase == SMTP_SERVER_GREETING));
    s->is_secure = true;
    s->mechanisms = (uint16_t)mechanisms;
    if (!s->awaits_tls)
        return;
    s->awaits_tls = false;
    s->is_esmtp = false;
    s->helo_n = 0;
    s->clock_restarts = true;
    smtp_server_set_phase(s, SMTP_SERVER_HELLO);
}

bool smtp_server_awaits_tls(const struct smtp_server *s)
{
    return s->awaits_tls;
}

bool smtp_server_is_secure(const struct smtp_server *s)
{
    return s->is_secure;
}

void smtp_server_extra_answered(struct smtp_server *s, enum smtp_event_kind asked, enum smtp_reply_id id,
                                struct str arg)
{
    bool is_new_start = asked == SMTP_EV_XCLIENT && id == R_GREETING;
    if (asked == SMTP_EV_EXPN && id == R_EXPN && arg.n > SMTP_REPLY_FILLED_MAX)
        id = R_EXPN_TOO_LONG;
    if (!is_new_start)
        smtp_server_reply(s, id, arg);
    forget(s);
    s->awaits_tls = asked == SMTP_EV_STARTTLS && id == R_TLS_GO;
    if (!is_new_start)
        return;
    s->is_esmtp = false;
    s->helo_n = 0;
    smtp_server_begin(s);
}
