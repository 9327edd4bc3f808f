/* proto/smtp_server_cmd_auth.c: AUTH (RFC 4954): the exchange of proto/sasl_server.h in lines of base64, its
 * questions as events, its end as a reply.
 */
#include "base/base64.h"
#include "base/mem.h"
#include "proto/smtp_server_cmd.h"

#include <string.h>

/* A password in base64 may be in it. */
static void drop_argument(struct smtp_server *s)
{
    if (s->auth_arg.n > 0)
        explicit_bzero((char *)(uintptr_t)s->auth_arg.p, s->auth_arg.n); /* a copy of ours in the arena */
    s->auth_arg = STR_NIL;
}

/* The exchange is over, however it ended. */
static void forget(struct smtp_server *s)
{
    drop_argument(s);
    sasl_server_del(&s->sasl);
    s->awaits_response = false;
    s->text = STR_NIL;
    if (!s->in_transaction)
        arena_reset(&s->arena);
}

void smtp_server_forget_auth(struct smtp_server *s)
{
    drop_argument(s);
    sasl_server_del(&s->sasl);
    s->awaits_response = false;
}

static enum smtp_reply_id reply_for(enum sasl_failure f)
{
    switch (f) {
    case SASL_FAIL_CREDENTIALS:
    case SASL_FAIL_BINDING:
    case SASL_FAIL_DOWNGRADE:
    case SASL_FAIL_AUTHZID:
        return R_AUTH_BAD;
    case SASL_FAIL_MALFORMED:
        return R_AUTH_MALFORMED;
    case SASL_FAIL_TOO_BIG:
        return R_AUTH_TOO_LONG;
    case SASL_FAIL_UNKNOWN:
    case SASL_FAIL_NOT_OFFERED:
        return R_AUTH_MECHANISM;
    case SASL_FAIL_CANCELLED:
        return R_AUTH_CANCELLED;
    case SASL_FAIL_NONE:
    case SASL_FAIL_TEMPORARY:
    case SASL_FAIL_SERVER: /* these two are a client's */
    case SASL_FAIL_COST:
        break;
    }
    return R_AUTH_LATER;
}

static void fail(struct smtp_server *s, enum smtp_reply_id id)
{
    if (id == R_AUTH_BAD)
        s->n_auth_failures++;
    forget(s);
    if (s->n_auth_failures >= SMTP_AUTH_FAILURES_MAX) /* who guesses has to connect again */
        smtp_server_end(s, R_TOO_MANY_ERRORS);
    else
        smtp_server_reply(s, id, STR_NIL);
}

/* "334 " and base64, however long: no line of text is cut here (RFC 4954 4). */
static void challenge(struct smtp_server *s)
{
    (void)(buf_puts(&s->out, "334 ") && base64_put(&s->out, sasl_server_challenge(s->sasl)) &&
           buf_puts(&s->out, "\r\n"));
    s->awaits_response = true;
    smtp_server_check_output(s);
}

static void step(struct smtp_server *s, enum sasl_step what)
{
    s->awaits_response = false;
    switch (what) {
    case SASL_STEP_CHALLENGE:
        challenge(s);
        break;
    case SASL_STEP_QUESTION:
        smtp_server_ask(s, SMTP_EV_AUTH);
        break;
    case SASL_STEP_DONE:
        s->text = sasl_server_login(s->sasl);
        smtp_server_ask(s, SMTP_EV_LOGIN);
        break;
    case SASL_STEP_FAILED:
        fail(s, reply_for(sasl_server_failure(s->sasl)));
        break;
    }
}

/* Decodes a response; it is wiped when the exchange has taken it. */
static void take(struct smtp_server *s, struct str text,
                 enum sasl_step (*use)(struct smtp_server *, struct str))
{
    struct buf octets;
    buf_init(&octets, BASE64_OCTETS(SMTP_AUTH_LINE_MAX));
    if (base64_take(text, &octets))
        step(s, use(s, buf_str(&octets)));
    else
        fail(s, octets.failed ? R_AUTH_LATER : R_AUTH_MALFORMED);
    if (octets.p != NULL)
        explicit_bzero(octets.p, octets.cap);
    buf_fini(&octets);
}

static enum sasl_step feed(struct smtp_server *s, struct str response)
{
    return sasl_server_feed(s->sasl, response);
}

/* What waited for the owner's word is not needed any more. */
static enum sasl_step start_with(struct smtp_server *s, const struct str *initial)
{
    enum sasl_step what = sasl_server_start(s->sasl, s->text, initial);
    s->text = STR_NIL;
    drop_argument(s);
    arena_reset(&s->arena);
    return what;
}

static enum sasl_step start(struct smtp_server *s, struct str initial)
{
    return start_with(s, &initial);
}

void smtp_server_auth_line(struct smtp_server *s, struct str line)
{
    s->ends_group = true;
    s->awaits_response = false;
    if (str_eq(line, STR("*")))
        step(s, sasl_server_cancel(s->sasl));
    else
        take(s, line, feed);
}

void smtp_server_auth_too_long(struct smtp_server *s)
{
    fail(s, R_AUTH_TOO_LONG);
}

/* The argument waits for the owner's word. */
void cmd_auth(struct smtp_server *s, struct str arg)
{
    if (!s->is_secure) {
        smtp_server_reply(s, R_AUTH_NEEDS_TLS, STR_NIL);
    } else if (s->has_login) {
        smtp_server_reply(s, R_AUTH_ALREADY, STR_NIL);
    } else if (arena_str(&s->arena, arg, &s->auth_arg)) {
        smtp_server_ask(s, SMTP_EV_AUTH);
    } else {
        forget(s);
        smtp_server_reply(s, R_AUTH_LATER, STR_NIL);
    }
}

void smtp_server_auth_begin(struct smtp_server *s, uint32_t question, const struct sasl_server_conf *conf)
{
    if (question == 0 || question != s->question)
        return;
    must(s->asked == SMTP_EV_AUTH && s->sasl == NULL);
    s->question = 0;
    s->clock_restarts = true;
    struct str initial = s->auth_arg;
    s->text = str_cut(&initial, ' ');
    s->sasl = sasl_server_new(conf);
    if (s->sasl == NULL)
        fail(s, R_AUTH_LATER);
    else if (initial.n == 0)
        step(s, start_with(s, NULL));
    else
        take(s, str_eq(initial, STR("=")) ? STR_NIL : initial, start); /* RFC 4954 4: "=" is an empty one */
}

void smtp_server_auth_answer(struct smtp_server *s, uint32_t question, const struct sasl_answer *answer)
{
    if (question == 0 || question != s->question)
        return;
    must(s->asked == SMTP_EV_AUTH && s->sasl != NULL);
    s->question = 0;
    s->clock_restarts = true;
    step(s, sasl_server_answer(s->sasl, answer));
}

void smtp_server_auth_answered(struct smtp_server *s, enum smtp_event_kind asked, enum smtp_reply_id id)
{
    if (asked == SMTP_EV_LOGIN && id == R_AUTH_OK) {
        s->has_login = true;
        s->n_errors = s->n_auth_failures = 0;
        forget(s);
        smtp_server_reply(s, id, STR_NIL);
    } else {
        fail(s, id);
    }
}
