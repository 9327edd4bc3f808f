/* proto/smtp_server.c: the session's machinery: phases, the command table, events, replies, clocks. What a
 * command does is in smtp_server_cmd_*.c.
 */
#include "proto/smtp_server.h"

#include "base/limits.h"
#include "base/mem.h"
#include "proto/smtp_server_cmd.h"

#include <string.h>

/* ---- the command table --------------------------------------------------------------------------------- */

/* Phases in which a command is legal. */
enum {
    P_HELLO = 1 << SMTP_SERVER_HELLO,
    P_READY = 1 << SMTP_SERVER_READY,
    P_MAIL = 1 << SMTP_SERVER_MAIL,
    P_RCPT = 1 << SMTP_SERVER_RCPT,
    P_BDAT = 1 << SMTP_SERVER_BDAT,
    P_START = P_HELLO | P_READY,
    P_ENVELOPE = P_MAIL | P_RCPT,
    P_CHUNK = P_RCPT | P_BDAT,
    P_ANY = P_HELLO | P_READY | P_MAIL | P_RCPT | P_BDAT,
};
enum {
    ENDS_GROUP = 1 << 0,  /* RFC 2920 3.1: the client waits for the reply: the owner may send it now */
    JUNK = 1 << 1,        /* brings no mail: counted against junk_max */
    RAW_FOLLOWS = 1 << 2, /* its octets must be read even when it is refused */
    UTF8 = 1 << 3,        /* RFC 6531: octets over 0x7f may stand in the argument */
    SMTP = 1 << 4,        /* not in LMTP */
    LMTP = 1 << 5,        /* only there */
    NOT_OFFERED = 1 << 6, /* known, so 502 and not 500 (RFC 5321 4.2.4) */
    IF_EXPN = 1 << 7,     /* offered where conf says so, otherwise as NOT_OFFERED */
    IF_ETRN = 1 << 8,
    IF_XCLIENT = 1 << 9, /* Postfix: 550 for others than its proxies */
    IF_STARTTLS = 1 << 10,
    IF_AUTH = 1 << 11,
    FREE = 1 << 12, /* goes before TLS and login where nothing else does (RFC 3207 4, RFC 4954 6) */
};
enum {
    EXPN_FLAGS = ENDS_GROUP | JUNK | UTF8 | IF_EXPN,
    ETRN_FLAGS = ENDS_GROUP | JUNK | SMTP | IF_ETRN,
    XCLIENT_FLAGS = ENDS_GROUP | JUNK | IF_XCLIENT | FREE,
    STARTTLS_FLAGS = ENDS_GROUP | JUNK | IF_STARTTLS | FREE,
    AUTH_FLAGS = ENDS_GROUP | JUNK | SMTP | IF_AUTH | FREE,
    NOOP_FLAGS = ENDS_GROUP | JUNK | UTF8 | FREE,
    EHLO_FLAGS = ENDS_GROUP | JUNK | SMTP | FREE,
    LHLO_FLAGS = ENDS_GROUP | JUNK | LMTP | FREE,
};
enum arg_kind { ARG_NO = 0, ARG_MAY, ARG_MUST };

struct command {
    const char *verb;
    void (*handle)(struct smtp_server *s, struct str arg);
    uint16_t phases;
    uint16_t flags;
    enum arg_kind arg;
    enum smtp_reply_id late; /* what is said in a phase after the last legal one */
    const char *form;
};

/* clang-format off */
static const struct command commands[] = {
 /*  verb        handler   legal in    flags                     argument  too late       form */
  { "MAIL",     cmd_mail, P_READY,    UTF8,                     ARG_MUST, R_NESTED_MAIL, "MAIL FROM:<address>" },
  { "RCPT",     cmd_rcpt, P_ENVELOPE, UTF8,                     ARG_MUST, R_IN_BDAT,     "RCPT TO:<address>" },
  { "DATA",     cmd_data, P_RCPT,     ENDS_GROUP,               ARG_NO,   R_IN_BDAT,     "DATA" },
  { "BDAT",     cmd_bdat, P_CHUNK,    RAW_FOLLOWS,              ARG_MUST, R_NONE,        "BDAT octets [LAST]" },
  { "RSET",     cmd_rset, P_ANY,      JUNK | FREE,              ARG_NO,   R_NONE,        "RSET" },
  { "NOOP",     cmd_noop, P_ANY,      NOOP_FLAGS,               ARG_MAY,  R_NONE,        "NOOP [text]" },
  { "QUIT",     cmd_quit, P_ANY,      ENDS_GROUP | FREE,        ARG_NO,   R_NONE,        "QUIT" },
  { "EHLO",     cmd_ehlo, P_ANY,      EHLO_FLAGS,               ARG_MUST, R_NONE,        "EHLO host.name" },
  { "HELO",     cmd_helo, P_ANY,      JUNK | SMTP | FREE,       ARG_MUST, R_NONE,        "HELO host.name" },
  { "LHLO",     cmd_ehlo, P_ANY,      LHLO_FLAGS,               ARG_MUST, R_NONE,        "LHLO host.name" },
  { "VRFY",     cmd_vrfy, P_ANY,      ENDS_GROUP | JUNK | UTF8, ARG_MUST, R_NONE,        "VRFY name" },
  { "HELP",     cmd_help, P_ANY,      JUNK | FREE,              ARG_MAY,  R_NONE,        "HELP [verb]" },
  { "AUTH",     cmd_auth, P_READY,    AUTH_FLAGS,               ARG_MUST, R_NESTED_MAIL, "AUTH mechanism [response]" },
  { "STARTTLS", cmd_starttls, P_START, STARTTLS_FLAGS,          ARG_NO,   R_NESTED_MAIL, "STARTTLS" },
  { "EXPN",     cmd_expn, P_ANY,      EXPN_FLAGS,               ARG_MUST, R_NONE,        "EXPN list" },
  { "ETRN",     cmd_etrn, P_READY,    ETRN_FLAGS,               ARG_MUST, R_NESTED_MAIL, "ETRN domain" },
  { "XCLIENT",  cmd_xclient, P_START, XCLIENT_FLAGS,            ARG_MUST, R_NESTED_MAIL, "XCLIENT ADDR=address" },
  { "ATRN",     NULL,     P_ANY,      NOT_OFFERED,              ARG_MAY,  R_NONE,        "" },
  { "TURN",     NULL,     P_ANY,      NOT_OFFERED,              ARG_MAY,  R_NONE,        "" },
  { "SEND",     NULL,     P_ANY,      NOT_OFFERED,              ARG_MAY,  R_NONE,        "" },
  { "SOML",     NULL,     P_ANY,      NOT_OFFERED,              ARG_MAY,  R_NONE,        "" },
  { "SAML",     NULL,     P_ANY,      NOT_OFFERED,              ARG_MAY,  R_NONE,        "" },
  { "BURL",     NULL,     P_ANY,      NOT_OFFERED,              ARG_MAY,  R_NONE,        "" },
};
/* clang-format on */

struct str smtp_server_verb(size_t i)
{
    return i < ARRAY_LEN(commands) ? str_from_c(commands[i].verb) : STR_NIL;
}

static const struct command *find_command(struct str verb)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (str_ieq(verb, str_from_c(commands[i].verb)))
            return &commands[i];
    }
    return NULL;
}

/* Why a command can't be used here at all; R_NONE: it can. */
static enum smtp_reply_id not_offered(const struct smtp_server *s, const struct command *c)
{
    const struct smtp_server_conf *conf = s->conf;
    if ((c->flags & IF_XCLIENT) != 0)
        return conf->xclient ? R_NONE : R_XCLIENT_DENIED;
    bool is_off = (c->flags & NOT_OFFERED) != 0 || ((c->flags & IF_EXPN) != 0 && !conf->expn) ||
                  ((c->flags & IF_ETRN) != 0 && (!conf->etrn || conf->lmtp)) ||
                  ((c->flags & IF_AUTH) != 0 && !conf->auth) ||
                  ((c->flags & IF_STARTTLS) != 0 && !conf->starttls && !s->is_secure);
    return is_off ? R_NOT_IMPLEMENTED : R_NONE;
}

/* The verbs that can be used, for HELP. */
void cmd_help(struct smtp_server *s, struct str arg)
{
    char mem[512];
    struct buf text;
    const struct command *c = find_command(arg);
    buf_init_fixed(&text, mem, sizeof mem);
    if (c != NULL && not_offered(s, c) == R_NONE) {
        (void)(buf_puts(&text, "the form is: ") && buf_puts(&text, c->form));
    } else {
        buf_puts(&text, "these commands are known:\n");
        unsigned foreign = s->conf->lmtp ? SMTP : LMTP;
        for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
            if ((commands[i].flags & foreign) == 0 && not_offered(s, &commands[i]) == R_NONE)
                (void)(buf_puts(&text, commands[i].verb) && buf_putc(&text, ' '));
        }
        buf_puts(&text, "\nHELP with one of them tells its form");
    }
    must(!text.failed);
    smtp_server_reply(s, R_HELP, buf_str(&text));
}

/* ---- phases -------------------------------------------------------------------------------------------- */

void smtp_server_set_phase(struct smtp_server *s, enum smtp_server_phase to)
{
    enum { N = SMTP_SERVER_CLOSED + 1 };
    static const bool allowed[N][N] = {
        [SMTP_SERVER_GREETING] = {[SMTP_SERVER_HELLO] = true, [SMTP_SERVER_CLOSED] = true},
        [SMTP_SERVER_HELLO] =
            {[SMTP_SERVER_HELLO] = true, [SMTP_SERVER_READY] = true, [SMTP_SERVER_CLOSED] = true},
        /* to HELLO after XCLIENT and STARTTLS */
        [SMTP_SERVER_READY] = {[SMTP_SERVER_HELLO] = true,
                               [SMTP_SERVER_READY] = true,
                               [SMTP_SERVER_MAIL] = true,
                               [SMTP_SERVER_CLOSED] = true},
        [SMTP_SERVER_MAIL] =
            {[SMTP_SERVER_READY] = true, [SMTP_SERVER_RCPT] = true, [SMTP_SERVER_CLOSED] = true},
        [SMTP_SERVER_RCPT] = {[SMTP_SERVER_READY] = true,
                              [SMTP_SERVER_DATA] = true,
                              [SMTP_SERVER_BDAT] = true,
                              [SMTP_SERVER_CLOSED] = true},
        [SMTP_SERVER_DATA] = {[SMTP_SERVER_READY] = true, [SMTP_SERVER_CLOSED] = true},
        [SMTP_SERVER_BDAT] = {[SMTP_SERVER_READY] = true, [SMTP_SERVER_CLOSED] = true},
    };
    must(allowed[s->phase][to]);
    s->phase = to;
}

enum smtp_server_phase smtp_server_phase(const struct smtp_server *s)
{
    return s->phase;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static uint64_t or_default(uint64_t n, uint64_t preset)
{
    return n != 0 ? n : preset;
}

uint64_t smtp_server_size_max(const struct smtp_server *s)
{
    return or_default(s->conf->size_max, SMTP_SIZE_DEFAULT);
}

uint32_t smtp_server_rcpt_max(const struct smtp_server *s)
{
    return (uint32_t)or_default(s->conf->rcpt_max, SMTP_RCPT_MAX);
}

void smtp_server_init(struct smtp_server *s, const struct smtp_server_conf *conf, struct chunk_pool *pool,
                      uint64_t now_ms)
{
    memset(s, 0, sizeof *s);
    s->conf = conf;
    arena_init(&s->arena, pool, ((size_t)smtp_server_rcpt_max(s) + 4) * SMTP_SERVER_RCPT_MEMORY);
    /* what one message can add: a reply for each recipient (LMTP) */
    buf_init(&s->out,
             (size_t)SMTP_SERVER_OUTPUT_HIGH * 2 + (size_t)smtp_server_rcpt_max(s) * SMTP_REPLY_LINE_MAX);
    s->now_ms = s->idle_since_ms = now_ms;
}

void smtp_server_fini(struct smtp_server *s)
{
    smtp_server_forget_auth(s);
    arena_reset(&s->arena);
    buf_fini(&s->out);
}

struct smtp_server *smtp_server_new(const struct smtp_server_conf *conf, struct chunk_pool *pool,
                                    uint64_t now_ms)
{
    struct smtp_server *s = mem_new(struct smtp_server);
    if (s != NULL)
        smtp_server_init(s, conf, pool, now_ms);
    return s;
}

void smtp_server_del(struct smtp_server **s)
{
    if (*s == NULL)
        return;
    smtp_server_fini(*s);
    mem_free(*s);
    *s = NULL;
}

void smtp_server_set_wall(struct smtp_server *s, uint64_t now_ms, int64_t wall_ms)
{
    s->wall_ahead_ms = wall_ms - (int64_t)now_ms;
    s->knows_wall = true;
}

int64_t smtp_server_wall_ms(const struct smtp_server *s)
{
    return s->wall_ahead_ms + (int64_t)s->now_ms;
}

void smtp_server_set_conf(struct smtp_server *s, const struct smtp_server_conf *conf)
{
    must(s->phase == SMTP_SERVER_GREETING || s->phase == SMTP_SERVER_CLOSED ||
         (s->question != 0 && (s->asked == SMTP_EV_XCLIENT || s->asked == SMTP_EV_LOGIN)));
    must(conf->lmtp == s->conf->lmtp);
    s->conf = conf;
}

void smtp_server_greet(struct smtp_server *s, enum smtp_reply_id id)
{
    must(s->knows_wall || (!s->conf->deliverby && s->conf->hold_max_s == 0));
    if (s->phase == SMTP_SERVER_CLOSED && s->conf->greets_late)
        return;
    must(s->phase == SMTP_SERVER_GREETING);
    if (id == R_GREETING)
        smtp_server_begin(s);
    else
        smtp_server_end(s, id);
}

void smtp_server_begin(struct smtp_server *s)
{
    char mem[SMTP_REPLY_LINE_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    (void)(buf_put(&text, str_slice(s->conf->hostname, 0, SMTP_DOMAIN_MAX)) &&
           buf_puts(&text, s->conf->lmtp ? " LMTP" : " ESMTP") &&
           (s->conf->banner.n == 0 ||
            (buf_putc(&text, ' ') &&
             buf_put(&text, str_slice(s->conf->banner, 0, SMTP_REPLY_LINE_MAX / 2 - 10)))));
    must(!text.failed);
    smtp_server_set_phase(s, SMTP_SERVER_HELLO);
    smtp_server_reply(s, R_GREETING, buf_str(&text));
}

void smtp_server_end_transaction(struct smtp_server *s)
{
    if (s->is_granted) {
        s->is_granted = false;
        s->pending = (uint16_t)((s->pending & ~(1u << SMTP_EV_BODY)) | 1u << SMTP_EV_ABORT);
        s->abort_reply = R_NONE;
    }
    arena_reset(&s->arena);
    s->in_transaction = false;
    memset(&s->tx, 0, sizeof s->tx);
    s->rcpts_cap = s->rcpts_tried = s->n_answered = 0;
    s->spare = NULL;
    s->spare_size = 0;
    s->refused = R_NONE;
    s->chunk_last_cr = false;
    s->newlines = (struct newlines){0};
    s->text = STR_NIL;
    s->xclient = NULL;
    if (s->phase > SMTP_SERVER_READY && s->phase != SMTP_SERVER_CLOSED)
        smtp_server_set_phase(s, SMTP_SERVER_READY);
}

void smtp_server_end(struct smtp_server *s, enum smtp_reply_id id)
{
    if (s->phase == SMTP_SERVER_CLOSED)
        return;
    if (s->question != 0)
        s->pending = (uint16_t)(s->pending & ~(1u << s->asked));
    s->question = 0;
    s->awaits_tls = false;
    s->chunk.is_open = false;
    smtp_server_forget_auth(s);
    smtp_server_end_transaction(s);
    smtp_server_set_phase(s, SMTP_SERVER_CLOSED);
    s->pending |= 1u << SMTP_EV_CLOSE;
    s->close_reply = id;
    if (id != R_NONE)
        smtp_server_reply(s, id, STR_NIL);
}

void smtp_server_close(struct smtp_server *s, enum smtp_reply_id id)
{
    smtp_server_end(s, id);
}

void smtp_server_eof(struct smtp_server *s)
{
    smtp_server_end(s, R_NONE);
}

/* ---- replies ------------------------------------------------------------------------------------------- */

void smtp_server_reply(struct smtp_server *s, enum smtp_reply_id id, struct str arg)
{
    uint16_t code = smtp_reply_row(id)->code;
    if (code == 221 || code == 421)
        arg = s->conf->hostname;
    if (code >= 500)
        s->n_errors++;
    smtp_reply_put(id, arg, s->tx.smtputf8, &s->out);
    smtp_server_check_output(s);
}

/* No memory for a reply: what was said before stands, then the connection ends. */
void smtp_server_check_output(struct smtp_server *s)
{
    if (!s->out.failed)
        return;
    s->out.failed = false;
    buf_release(&s->out);
    smtp_server_end(s, R_NONE);
}

void smtp_server_reply_number(struct smtp_server *s, enum smtp_reply_id id, uint64_t n)
{
    char mem[24];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_printf(&text, "%llu", (unsigned long long)n);
    smtp_server_reply(s, id, buf_str(&text));
}

void smtp_server_ask_message(struct smtp_server *s)
{
    smtp_server_ask(s, SMTP_EV_MESSAGE);
    if (!s->conf->lmtp && smtp_server_answers_due(s) > 1)
        smtp_server_reply(s, R_PRDR_GO, STR_NIL);
}

static void reply_maybe_number(struct smtp_server *s, enum smtp_reply_id id)
{
    if (id == R_TOO_BIG)
        smtp_server_reply_number(s, id, smtp_server_size_max(s));
    else
        smtp_server_reply(s, id, STR_NIL);
}

void smtp_server_reply_end(struct smtp_server *s, enum smtp_reply_id id)
{
    uint32_t errors = s->n_errors;
    uint32_t n = s->conf->lmtp && s->tx.n_rcpts > 0 ? s->tx.n_rcpts : 1;
    for (uint32_t i = 0; i < n && s->phase != SMTP_SERVER_CLOSED; i++)
        reply_maybe_number(s, id);
    if (s->n_errors > errors)
        s->n_errors = errors + 1; /* one message is one error, however many recipients hear of it */
}

struct str smtp_server_output(const struct smtp_server *s)
{
    return buf_str(&s->out);
}

void smtp_server_sent(struct smtp_server *s, size_t n)
{
    buf_consume(&s->out, n);
    buf_release(&s->out);
}

/* ---- events -------------------------------------------------------------------------------------------- */

void smtp_server_ask(struct smtp_server *s, enum smtp_event_kind kind)
{
    must(s->question == 0);
    if (++s->n_questions == 0)
        s->n_questions = 1;
    s->question = s->n_questions;
    s->asked = kind;
    s->pending |= (uint16_t)(1u << kind);
}

bool smtp_server_next(struct smtp_server *s, struct smtp_event *out)
{
    static const enum smtp_event_kind order[] = {
        SMTP_EV_BODY,    SMTP_EV_ABORT, SMTP_EV_MAIL, SMTP_EV_RCPT,    SMTP_EV_DATA,
        SMTP_EV_MESSAGE, SMTP_EV_EXPN,  SMTP_EV_ETRN, SMTP_EV_XCLIENT, SMTP_EV_STARTTLS,
        SMTP_EV_AUTH,    SMTP_EV_LOGIN, SMTP_EV_CLOSE};
    if (s->pending == 0)
        return false;
    size_t i = 0;
    while ((s->pending & 1u << order[i]) == 0)
        i++;
    s->pending = (uint16_t)(s->pending & ~(1u << order[i]));
    *out = (struct smtp_event){.kind = order[i]};
    switch (out->kind) {
    case SMTP_EV_RCPT:
        out->rcpt = &s->tx.rcpts[s->tx.n_rcpts].to;
        out->question = s->question;
        break;
    case SMTP_EV_MAIL:
    case SMTP_EV_DATA:
    case SMTP_EV_MESSAGE:
    case SMTP_EV_STARTTLS:
        out->question = s->question;
        break;
    case SMTP_EV_AUTH:
        out->sasl = s->sasl == NULL ? NULL : sasl_server_question(s->sasl);
        out->question = s->question;
        break;
    case SMTP_EV_EXPN:
    case SMTP_EV_ETRN:
    case SMTP_EV_XCLIENT:
    case SMTP_EV_LOGIN:
        out->text = s->text;
        out->xclient = s->xclient;
        out->question = s->question;
        break;
    case SMTP_EV_BODY:
        out->body = smtp_server_next_body(s);
        break;
    case SMTP_EV_ABORT:
        out->reply = s->abort_reply;
        break;
    case SMTP_EV_CLOSE:
        out->reply = s->close_reply;
        break;
    }
    return true;
}

static void close_if_too_many_errors(struct smtp_server *s)
{
    if (s->n_errors >= or_default(s->conf->errors_max, SMTP_ERRORS_MAX) && s->question == 0)
        smtp_server_end(s, R_TOO_MANY_ERRORS);
}

uint32_t smtp_server_answers_due(const struct smtp_server *s)
{
    if (s->question == 0 || s->asked != SMTP_EV_MESSAGE)
        return 0;
    /* Exim too says one reply where there is one recipient; the draft leaves it open */
    bool is_prdr = s->tx.is_prdr && s->tx.n_rcpts > 1;
    uint32_t all = s->conf->lmtp ? s->tx.n_rcpts : is_prdr ? s->tx.n_rcpts + 1 : 1;
    return all - s->n_answered;
}

static void message_answered(struct smtp_server *s, enum smtp_reply_id id, struct str arg)
{
    if (id == R_QUEUED && s->tx.is_priority_lowered)
        id = R_QUEUED_LOWERED;
    bool is_first = s->n_answered++ == 0;
    uint32_t errors = s->n_errors;
    smtp_server_reply(s, id, arg);
    if (s->phase == SMTP_SERVER_CLOSED)
        return;
    if (smtp_reply_row(id)->code < 300) {
        s->n_errors = s->n_junk = 0;
    } else if (!is_first) {
        s->n_errors = errors; /* one message is one error at most */
    }
    if (smtp_server_answers_due(s) > 0)
        return; /* the question stays open for the other recipients */
    s->question = 0;
    s->is_granted = false;
    smtp_server_end_transaction(s);
}

void smtp_server_answer_rcpt(struct smtp_server *s, uint32_t question, enum smtp_reply_id id, struct str arg,
                             uint64_t user)
{
    if (question == 0 || question != s->question)
        return;
    must((s->pending & 1u << s->asked) == 0); /* a question is answered after it was taken */
    s->clock_restarts = true;
    enum smtp_event_kind asked = s->asked;
    if (asked != SMTP_EV_MESSAGE)
        s->question = 0;
    switch (asked) {
    case SMTP_EV_MAIL:
        smtp_server_mail_answered(s, id, arg);
        break;
    case SMTP_EV_RCPT:
        smtp_server_rcpt_answered(s, id, arg, user);
        break;
    case SMTP_EV_DATA:
        smtp_server_data_answered(s, id, arg);
        break;
    case SMTP_EV_MESSAGE:
        message_answered(s, id, arg);
        break;
    case SMTP_EV_EXPN:
    case SMTP_EV_ETRN:
    case SMTP_EV_XCLIENT:
    case SMTP_EV_STARTTLS:
        smtp_server_extra_answered(s, asked, id, arg);
        break;
    case SMTP_EV_AUTH:
    case SMTP_EV_LOGIN:
        smtp_server_auth_answered(s, asked, id);
        break;
    case SMTP_EV_BODY:
    case SMTP_EV_ABORT:
    case SMTP_EV_CLOSE:
        must_not_reach();
    }
    close_if_too_many_errors(s);
}

void smtp_server_answer(struct smtp_server *s, uint32_t question, enum smtp_reply_id id, struct str arg)
{
    smtp_server_answer_rcpt(s, question, id, arg, 0);
}

/* ---- command lines ------------------------------------------------------------------------------------- */

static enum smtp_reply_id early_reply(const struct smtp_server *s)
{
    if (s->phase == SMTP_SERVER_HELLO)
        return R_NEED_HELLO;
    if (s->phase == SMTP_SERVER_READY)
        return R_NEED_MAIL;
    /* RFC 2033 4.2 wants 503 where SMTP may say 554 (RFC 5321 3.3) */
    return s->rcpts_tried > 0 && !s->conf->lmtp ? R_NO_VALID_RCPTS : R_NEED_RCPT;
}

static void refuse_phase(struct smtp_server *s, const struct command *c, struct str arg)
{
    unsigned now = 1u << s->phase;
    enum smtp_reply_id id = now > c->phases ? c->late : early_reply(s);
    if ((c->flags & RAW_FOLLOWS) != 0)
        smtp_server_skip_chunk(s, arg, id);
    else
        smtp_server_reply(s, id, s->conf->lmtp ? STR("LHLO") : STR("EHLO"));
}

static bool is_junk_over(struct smtp_server *s, const struct command *c)
{
    return (c->flags & JUNK) != 0 && ++s->n_junk > or_default(s->conf->junk_max, SMTP_JUNK_MAX);
}

static void run_command(struct smtp_server *s, const struct command *c, struct str arg)
{
    enum smtp_reply_id off = not_offered(s, c);
    s->ends_group = (c->flags & ENDS_GROUP) != 0;
    if (is_junk_over(s, c))
        smtp_server_end(s, R_TOO_MUCH_JUNK);
    else if (off != R_NONE)
        smtp_server_reply(s, off, str_from_c(c->verb));
    else if (s->conf->lmtp && (c->flags & SMTP) != 0)
        smtp_server_reply(s, R_LMTP_WANTS_LHLO, STR_NIL);
    else if (!s->conf->lmtp && (c->flags & LMTP) != 0)
        smtp_server_reply(s, R_SMTP_WANTS_EHLO, STR_NIL);
    else if ((c->phases & 1u << s->phase) == 0)
        refuse_phase(s, c, arg);
    else if (s->conf->needs_tls && !s->is_secure && (c->flags & FREE) == 0)
        smtp_server_reply(s, R_TLS_NEEDED, STR_NIL);
    else if (s->conf->needs_auth && !s->has_login && (c->flags & FREE) == 0)
        smtp_server_reply(s, R_AUTH_NEEDED, STR_NIL);
    else if ((c->arg == ARG_MUST && arg.n == 0 && (c->flags & RAW_FOLLOWS) == 0) ||
             (c->arg == ARG_NO && arg.n > 0))
        smtp_server_reply(s, R_USAGE, str_from_c(c->form));
    else
        c->handle(s, arg);
}

/* Control characters have no place in a line; whether octets over 0x7f have depends on the command. */
static bool is_bad_line(const struct command *c, struct str line)
{
    return str_has_ctl(line) || ((c == NULL || (c->flags & UTF8) == 0) && !str_is_ascii(line));
}

/* Is it a BDAT, however malformed? */
static bool brings_octets(struct str line)
{
    size_t n = 0;
    while (n < line.n && ascii_is_alpha(line.p[n]))
        n++;
    const struct command *c = find_command(str_slice(line, 0, n));
    return c != NULL && (c->flags & RAW_FOLLOWS) != 0;
}

/* The octets behind a BDAT that was not understood must never be read as commands: where they end is not
 * known, so the session does. */
static void refuse_line(struct smtp_server *s, struct str line, enum smtp_reply_id id)
{
    if (brings_octets(line))
        smtp_server_end(s, R_BDAT_SYNTAX);
    else if (id == R_LINE_TOO_LONG)
        smtp_server_reply_number(s, id, SMTP_COMMAND_LINE_MAX);
    else
        smtp_server_reply(s, id, STR_NIL);
}

/* A request of HTTP ends the session, as in Postfix: its body is chosen by whoever made a browser or a server
 * beside us send it, may hold commands, and comes from an address that may be trusted. */
static bool is_http(struct str verb)
{
    static const char *const methods[] = {"GET",    "HEAD",    "POST",    "PUT", "PATCH",
                                          "DELETE", "OPTIONS", "CONNECT", "PRI"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (str_ieq(verb, str_from_c(methods[i])))
            return true;
    }
    return false;
}

static void handle_line(struct smtp_server *s, struct str line)
{
    struct str verb, arg;
    smtp_cmd_split(line, &verb, &arg);
    const struct command *c = find_command(verb);
    if ((c == NULL && is_http(verb)) || str_istarts(line, STR("Host:")))
        smtp_server_end(s, R_NOT_HTTP);
    else if (is_bad_line(c, line))
        refuse_line(s, line, R_BAD_CHARS);
    else if (verb.n == 0)
        refuse_line(s, line, R_BAD_SYNTAX);
    else if (c == NULL)
        smtp_server_reply(s, R_UNKNOWN_COMMAND, STR_NIL);
    else
        run_command(s, c, arg);
}

/* Octets of a TLS handshake record (RFC 8446 5.1: type 22, version 3.x) where a line should begin: a client
 * that took this port for one with TLS. It waits for our hello and would hold the session until the time is
 * up. */
static bool is_tls(struct str in)
{
    return in.n >= 2 && in.p[0] == 0x16 && in.p[1] == 0x03;
}

/* How long a line may be: what carries a token or a proof is longer than a command (RFC 4954 4). */
static size_t line_max(const struct smtp_server *s, struct str in)
{
    bool is_auth = s->awaits_response || (s->conf->auth && str_istarts(in, STR("AUTH ")));
    return is_auth ? SMTP_AUTH_LINE_MAX : SMTP_COMMAND_LINE_MAX;
}

/* A whole line with its end. */
static void take_line(struct smtp_server *s, struct str in)
{
    bool is_whole = in.n >= 2 && in.p[in.n - 2] == '\r';
    s->idle_since_ms = s->now_ms;
    s->clock_restarts = false;
    if (s->awaits_response)
        smtp_server_auth_line(s, str_slice(in, 0, in.n - (is_whole ? 2 : 1)));
    else if (is_whole)
        handle_line(s, str_of(in.p, in.n - 2));
    else
        refuse_line(s, str_of(in.p, in.n - 1), R_BARE_LF);
}

/* One command line, or a part of one that is too long. A line that ends in LF alone is refused and not
 * obeyed, though RFC 5321 2.3.8 would let us be lenient and others were: commands that stand in a message
 * behind a bare LF (SMTP smuggling) then never act, whatever another server believed to be the end of the
 * message. */
static size_t feed_line(struct smtp_server *s, struct str in)
{
    if (!s->skips_line && in.p[0] == 0x16 && in.n == 1)
        return 0;
    if (!s->skips_line && is_tls(in)) {
        smtp_server_end(s, R_NOT_TLS);
        return in.n;
    }
    const char *lf = memchr(in.p, '\n', in.n);
    size_t n = lf == NULL ? in.n : (size_t)(lf - in.p) + 1, max = line_max(s, in);
    if (lf == NULL && !s->skips_line && n < max)
        return 0; /* the rest will come */
    if (!s->skips_line && n <= max && lf != NULL) {
        take_line(s, str_of(in.p, n));
        return n;
    }
    bool is_start = !s->skips_line;
    struct str line = is_start ? str_of(in.p, n) : STR_NIL;
    s->skips_line = lf == NULL;
    if (s->awaits_response && lf != NULL)
        smtp_server_auth_too_long(s);
    else if (!s->awaits_response && (lf != NULL || (is_start && brings_octets(line))))
        refuse_line(s, line, R_LINE_TOO_LONG);
    return n;
}

/* ---- input --------------------------------------------------------------------------------------------- */

void smtp_server_start_window(struct smtp_server *s)
{
    s->window_since_ms = s->now_ms;
    s->window_octets = 0;
    if (!s->in_transaction)
        s->transaction_since_ms = s->now_ms;
}

static bool takes_input(const struct smtp_server *s)
{
    return s->question == 0 && s->pending == 0 && !s->awaits_tls && s->phase != SMTP_SERVER_CLOSED &&
           s->phase != SMTP_SERVER_GREETING && s->out.n < SMTP_SERVER_OUTPUT_HIGH;
}

static size_t feed_octets(struct smtp_server *s, struct str in)
{
    bool is_chunk = s->chunk.is_open;
    size_t n = is_chunk ? smtp_server_feed_chunk(s, in) : smtp_server_feed_data(s, in);
    s->window_octets += n;
    s->idle_since_ms = s->now_ms;
    s->clock_restarts = false;
    return n;
}

size_t smtp_server_feed(struct smtp_server *s, struct str in, uint64_t now_ms)
{
    size_t total = 0;
    s->now_ms = now_ms;
    s->ends_group = false;
    if (s->phase == SMTP_SERVER_GREETING && s->conf->greets_late && in.n > 0) {
        smtp_server_end(s, is_tls(in) ? R_NOT_TLS : R_TALKS_EARLY);
        return in.n;
    }
    if (s->awaits_tls && in.n > 0) {
        smtp_server_end(s, R_TLS_EARLY);
        return in.n;
    }
    while (total < in.n && !s->ends_group && takes_input(s)) {
        struct str rest = str_skip(in, total);
        bool is_octets = s->phase == SMTP_SERVER_DATA || s->chunk.is_open;
        size_t n = is_octets ? feed_octets(s, rest) : feed_line(s, rest);
        if (n == 0)
            break;
        total += n;
        close_if_too_many_errors(s);
    }
    return total;
}

/* ---- clocks -------------------------------------------------------------------------------------------- */

static uint64_t window_ms(const struct smtp_server *s)
{
    return or_default(s->conf->rate_window_ms, SMTP_SERVER_RATE_WINDOW_MS);
}

static bool is_within_data(const struct smtp_server *s)
{
    return s->phase == SMTP_SERVER_DATA || s->chunk.is_open;
}

static uint64_t idle_due(const struct smtp_server *s)
{
    if (is_within_data(s))
        return s->idle_since_ms + or_default(s->conf->data_ms, SMTP_SERVER_DATA_MS);
    return s->idle_since_ms + or_default(s->conf->command_ms, SMTP_SERVER_COMMAND_MS);
}

static uint64_t transaction_due(const struct smtp_server *s)
{
    if (!s->in_transaction && !s->chunk.is_open)
        return UINT64_MAX;
    return s->transaction_since_ms + or_default(s->conf->transaction_ms, SMTP_SERVER_TRANSACTION_MS);
}

static uint64_t window_due(const struct smtp_server *s)
{
    return is_within_data(s) ? s->window_since_ms + window_ms(s) : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t smtp_server_deadline(const struct smtp_server *s)
{
    return least(idle_due(s), least(transaction_due(s), window_due(s)));
}

void smtp_server_tick(struct smtp_server *s, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (s->phase == SMTP_SERVER_CLOSED)
        return;
    if (s->question != 0 || s->clock_restarts) {
        s->clock_restarts = false;
        s->idle_since_ms = now_ms;
        smtp_server_start_window(s);
        return;
    }
    if (now_ms >= idle_due(s) || now_ms >= transaction_due(s)) {
        smtp_server_end(s, R_TIMEOUT);
    } else if (now_ms >= window_due(s)) {
        uint64_t floor = or_default(s->conf->rate_floor, SMTP_SERVER_RATE_FLOOR);
        if (s->window_octets < floor * window_ms(s) / 1000)
            smtp_server_end(s, R_TOO_SLOW);
        else
            smtp_server_start_window(s);
    }
}

/* ---- what others ask ----------------------------------------------------------------------------------- */

const struct smtp_server_transaction *smtp_server_transaction(const struct smtp_server *s)
{
    return s->in_transaction ? &s->tx : NULL;
}

struct str smtp_server_helo(const struct smtp_server *s)
{
    return str_of(s->helo, s->helo_n);
}

bool smtp_server_is_esmtp(const struct smtp_server *s)
{
    return s->is_esmtp;
}

void smtp_server_invariants(const struct smtp_server *s)
{
    const struct smtp_server_transaction *t = &s->tx;
    bool is_beyond_ready = s->phase >= SMTP_SERVER_MAIL && s->phase <= SMTP_SERVER_BDAT;
    bool asks_mail = s->question != 0 && s->asked == SMTP_EV_MAIL;
    must(s->in_transaction == (is_beyond_ready || asks_mail));
    bool asks_more = s->question != 0 && s->asked >= SMTP_EV_EXPN;
    must(s->in_transaction || asks_more || s->arena.head == NULL);
    must(!s->awaits_response || (s->sasl != NULL && s->question == 0));
    must(s->sasl == NULL || s->awaits_response || asks_more);
    must(s->in_transaction || (t->n_rcpts == 0 && !s->is_granted));
    must(t->n_rcpts <= smtp_server_rcpt_max(s) && t->n_rcpts <= s->rcpts_cap && t->n_rcpts <= s->rcpts_tried);
    must((s->phase >= SMTP_SERVER_RCPT && s->phase <= SMTP_SERVER_BDAT) == (t->n_rcpts > 0));
    must(t->size <= smtp_server_size_max(s));
    must(!s->is_granted || s->refused == R_NONE);
    must(!s->is_granted || s->phase == SMTP_SERVER_DATA || s->phase == SMTP_SERVER_BDAT);
    must(s->phase != SMTP_SERVER_DATA || s->is_granted || s->refused != R_NONE);
    must((s->pending & 1u << SMTP_EV_BODY) == 0 || s->is_granted);
    must(s->question == 0 || s->phase != SMTP_SERVER_CLOSED);
    must(s->phase != SMTP_SERVER_CLOSED || (!s->chunk.is_open && !s->in_transaction));
    must(!s->out.failed && (s->out.n > 0 || s->out.p == NULL));
    must(s->chunk.left <= s->chunk.size);
    must(s->helo_n <= SMTP_DOMAIN_MAX &&
         (s->phase <= SMTP_SERVER_HELLO || s->phase == SMTP_SERVER_CLOSED || s->helo_n > 0));
}
