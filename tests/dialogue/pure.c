#include "tests/dialogue/pure.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

enum { EVENTS_MAX = 64 * 1024 * 1024, CHUNK_SIZE = 4096, CHUNKS_MAX = 1024, START_MS = 1000, USER = 77 };
/* 2030-01-01T00:00:00Z when the session begins */
#define START_WALL_MS INT64_C(1893456000000)

static bool set_number(struct pure *p, struct str name, uint64_t n)
{
    const struct {
        const char *name;
        uint32_t *to;
    } numbers[] = {
        {"rcpt_max", &p->conf.rcpt_max},     {"errors_max", &p->conf.errors_max},
        {"junk_max", &p->conf.junk_max},     {"command_ms", &p->conf.command_ms},
        {"data_ms", &p->conf.data_ms},       {"transaction_ms", &p->conf.transaction_ms},
        {"rate_floor", &p->conf.rate_floor}, {"rate_window_ms", &p->conf.rate_window_ms},
        {"by_min_s", &p->conf.by_min_s},     {"hold_max_s", &p->conf.hold_max_s},
    };
    const struct {
        const char *name;
        bool *to;
    } bools[] = {
        {"no_chunking", &p->conf.no_chunking},
        {"no_smtputf8", &p->conf.no_smtputf8},
        {"no_pipelining", &p->conf.no_pipelining},
        {"dsn", &p->conf.dsn},
        {"binarymime", &p->conf.binarymime},
        {"deliverby", &p->conf.deliverby},
        {"mt_priority", &p->conf.mt_priority},
        {"lowers_priority", &p->conf.lowers_priority},
        {"requiretls", &p->conf.requiretls},
        {"prdr", &p->conf.prdr},
        {"limits", &p->conf.limits},
        {"xclient", &p->conf.xclient},
        {"etrn", &p->conf.etrn},
        {"expn", &p->conf.expn},
        {"normalize_bare", &p->conf.normalize_bare},
        {"greets_late", &p->conf.greets_late},
        {"starttls", &p->conf.starttls},
        {"needs_tls", &p->conf.needs_tls},
        {"secure", &p->is_secure},
        {"auth", &p->conf.auth},
        {"needs_auth", &p->conf.needs_auth},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (str_eq(name, str_from_c(numbers[i].name))) {
            *numbers[i].to = (uint32_t)n;
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bools); i++) {
        if (str_eq(name, str_from_c(bools[i].name))) {
            *bools[i].to = n != 0;
            return true;
        }
    }
    if (str_eq(name, STR("size_max")))
        p->conf.size_max = n;
    else if (str_eq(name, STR("chunks")))
        p->pool.n_max = (size_t)n;
    else
        return false;
    return true;
}

static bool configure(struct pure *p, struct str conf)
{
    while (conf.n > 0) {
        struct str value = str_cut(&conf, ' ');
        struct str name = str_cut(&value, '=');
        uint64_t n;
        if (name.n == 0 || str_eq(name, STR("greet")))
            continue; /* greet is the runner's */
        if (str_eq(name, STR("banner")))
            p->conf.banner = value;
        else if (str_eq(name, STR("hostname")))
            p->conf.hostname = value;
        else if (str_eq(name, STR("identity")))
            p->sasl.client_identity = value;
        else if (!str_to_u64(value, UINT32_MAX, &n) || !set_number(p, name, n))
            return false;
    }
    return true;
}

bool pure_init(struct pure *p, bool lmtp, bool relay, struct str conf)
{
    memset(p, 0, sizeof *p);
    p->now_ms = START_MS;
    chunk_pool_init(&p->pool, CHUNK_SIZE, CHUNKS_MAX);
    buf_init(&p->in, EVENTS_MAX);
    buf_init(&p->out, EVENTS_MAX);
    buf_init(&p->events, EVENTS_MAX);
    buf_init(&p->message, EVENTS_MAX);
    p->domain = (struct local_domain){.name = STR("localhost"), .any_user = true};
    p->domain.deliver.kind = DELIVER_MAILDIR;
    p->domain.deliver.maildir = STR("/var/mail/%u");
    must(netblock_parse(STR("127.0.0.0/8"), &p->loopback));
    must(netaddr_parse_ip(STR("127.0.0.1"), 4025, &p->client));
    p->policy = (struct policy_conf){.hostname = STR("mx.example.org"),
                                     .domains = &p->domain,
                                     .n_domains = 1,
                                     .relay_from = &p->loopback,
                                     .n_relay_from = relay ? 1 : 0};
    p->conf = (struct smtp_server_conf){.hostname = p->policy.hostname,
                                        .lmtp = lmtp,
                                        .dsn = true,
                                        .binarymime = true,
                                        .deliverby = true,
                                        .mt_priority = true,
                                        .prdr = !lmtp,
                                        .limits = true}; /* as smtpd offers */
    p->sasl = (struct sasl_server_conf){.mechanisms = SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN) |
                                                      SASL_BIT(SASL_EXTERNAL),
                                        .nonce = STR("never in a life would this be used")};
    if (!configure(p, conf))
        return false;
    smtp_server_init(&p->server, &p->conf, &p->pool, p->now_ms);
    smtp_server_set_wall(&p->server, p->now_ms, START_WALL_MS);
    return true;
}

void pure_fini(struct pure *p)
{
    smtp_server_fini(&p->server);
    chunk_pool_fini(&p->pool);
    buf_fini(&p->in);
    buf_fini(&p->out);
    buf_fini(&p->events);
    buf_fini(&p->message);
}

int pure_kind(struct str word)
{
    static const struct {
        const char *name;
        enum smtp_event_kind kind;
    } kinds[] = {{"mail", SMTP_EV_MAIL},       {"rcpt", SMTP_EV_RCPT},         {"data", SMTP_EV_DATA},
                 {"message", SMTP_EV_MESSAGE}, {"expn", SMTP_EV_EXPN},         {"etrn", SMTP_EV_ETRN},
                 {"xclient", SMTP_EV_XCLIENT}, {"starttls", SMTP_EV_STARTTLS}, {"auth", SMTP_EV_AUTH},
                 {"login", SMTP_EV_LOGIN}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (str_eq(word, str_from_c(kinds[i].name)))
            return (int)kinds[i].kind;
    }
    return 0;
}

/* ---- the owner ----------------------------------------------------------------------------------------- */

static enum smtp_reply_id rcpt_verdict(const struct pure *p, const struct address *to)
{
    switch (policy_rcpt(&p->policy, policy_may_relay(&p->policy, &p->client), to)) {
    case RCPT_LOCAL:
    case RCPT_RELAY:
    case RCPT_CALLOUT:
        return R_RCPT_OK;
    case RCPT_RELAY_DENIED:
        return R_RELAY_DENIED;
    case RCPT_NO_SUCH_USER:
        return R_NO_SUCH_USER;
    case RCPT_BAD_ADDRESS:
        return R_BAD_MAILBOX;
    }
    must_not_reach();
}

static void answer(struct pure *p, const struct smtp_event *ev, enum smtp_reply_id id, struct str arg)
{
    for (size_t i = 0; i < p->n_answers; i++) {
        if (p->answers[i].kind == ev->kind) {
            id = p->answers[i].id;
            arg = p->answers[i].arg;
            p->n_answers--;
            memmove(&p->answers[i], &p->answers[i + 1], (p->n_answers - i) * sizeof p->answers[0]);
            break;
        }
    }
    /* with a question open nothing is consumed; an answer to another question is not heard */
    must(smtp_server_feed(&p->server, STR("QUIT\r\n"), p->now_ms) == 0);
    smtp_server_answer(&p->server, ev->question + 1, R_SHUTDOWN, STR_NIL);
    smtp_server_answer_rcpt(&p->server, ev->question, id, arg, USER);
}

static bool has_answer(const struct pure *p, enum smtp_event_kind kind)
{
    for (size_t i = 0; i < p->n_answers; i++) {
        if (p->answers[i].kind == kind)
            return true;
    }
    return false;
}

static bool is_password(struct str user, struct str password)
{
    return (str_eq(user, STR("joe")) && str_eq(password, STR("secret"))) ||
           (str_eq(user, STR("user@testserver")) && str_eq(password, STR("secretpassword"))); /* of a suite */
}

/* Who is who: "busy" can't be looked at now, and a certificate is believed. */
static void answer_auth(struct pure *p, const struct smtp_event *ev)
{
    const struct sasl_question *q = ev->sasl;
    struct sasl_answer a = {.verdict = SASL_BAD};
    if (has_answer(p, SMTP_EV_AUTH)) {
        answer(p, ev, R_AUTH_LATER, STR_NIL);
        return;
    }
    must(smtp_server_feed(&p->server, STR("QUIT\r\n"), p->now_ms) == 0);
    if (q == NULL) {
        smtp_server_auth_begin(&p->server, ev->question + 1, &p->sasl);
        smtp_server_auth_begin(&p->server, ev->question, &p->sasl);
        return;
    }
    if (q->kind == SASL_ASK_PASSWORD && str_eq(q->user, STR("busy")))
        a.verdict = SASL_TEMPORARY;
    else if (q->kind == SASL_ASK_EXTERNAL)
        a = (struct sasl_answer){.verdict = SASL_OK, .login = q->identity};
    else if (q->kind == SASL_ASK_PASSWORD && is_password(q->user, q->password))
        a.verdict = SASL_OK;
    smtp_server_auth_answer(&p->server, ev->question + 1, &a);
    smtp_server_auth_answer(&p->server, ev->question, &a);
}

static void put_event(struct pure *p, const char *kind, struct str what)
{
    (void)(buf_puts(&p->events, kind) && buf_put(&p->events, what) && buf_putc(&p->events, '\n'));
}

/* What MAIL said beside the address, as it would go to the queue; no line for plain mail. */
static void put_params(struct pure *p, const struct smtp_server_transaction *t)
{
    const struct mail_params *m = &t->params;
    static const char *const rets[] = {"", " ret=full", " ret=hdrs"};
    if (m->ret == DSN_RET_NONE && m->envid.n == 0 && m->by_mode == BY_NONE && !m->has_priority &&
        m->hold_until_ms == 0 && !m->requiretls)
        return;
    (void)(buf_puts(&p->events, "params") && buf_puts(&p->events, rets[m->ret]));
    if (m->envid.n > 0)
        (void)(buf_puts(&p->events, " envid=") && buf_put(&p->events, m->envid));
    if (m->by_mode != BY_NONE)
        buf_printf(&p->events, " by=%lld;%s%s", (long long)(m->by_ms - START_WALL_MS),
                   m->by_mode == BY_RETURN ? "r" : "n", m->by_trace ? "t" : "");
    if (m->has_priority)
        buf_printf(&p->events, " priority=%d", m->priority);
    if (m->hold_until_ms > 0)
        buf_printf(&p->events, " hold=%lld", (long long)(m->hold_until_ms - START_WALL_MS));
    if (m->requiretls)
        buf_puts(&p->events, " requiretls");
    buf_putc(&p->events, '\n');
}

static void put_rcpt_params(struct pure *p, const struct smtp_server_rcpt *r)
{
    if (r->notify == 0 && r->orcpt.n == 0)
        return;
    buf_printf(&p->events, "dsn notify=%u orcpt=", r->notify);
    (void)(buf_put(&p->events, r->orcpt) && buf_putc(&p->events, '\n'));
}

static void put_ip(struct pure *p, const char *name, const struct netaddr *a)
{
    (void)(buf_puts(&p->events, name));
    netaddr_format(a, &p->events);
}

/* Every attribute that was given. */
static void put_xclient(struct pure *p, const struct xclient *x)
{
    const struct {
        unsigned flag;
        const char *name;
        struct str text;
    } texts[] = {{XCLIENT_NAME, " name=", x->name},
                 {XCLIENT_HELO, " helo=", x->helo},
                 {XCLIENT_LOGIN, " login=", x->login}};
    buf_puts(&p->events, "xclient");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if ((x->has & texts[i].flag) != 0)
            (void)(buf_puts(&p->events, texts[i].name) && buf_put(&p->events, texts[i].text));
    }
    if ((x->has & XCLIENT_ADDR) != 0)
        put_ip(p, " addr=", &x->addr);
    if ((x->has & XCLIENT_DESTADDR) != 0)
        put_ip(p, " dest=", &x->dest_addr);
    if ((x->has & XCLIENT_PROTO) != 0)
        buf_puts(&p->events, x->is_esmtp ? " esmtp" : " smtp");
    if (x->unavailable != 0)
        buf_printf(&p->events, " unavailable=%u", x->unavailable);
    if (x->tempunavail != 0)
        buf_printf(&p->events, " tempunavail=%u", x->tempunavail);
    buf_putc(&p->events, '\n');
}

static void message_ends(struct pure *p, const struct smtp_event *ev)
{
    buf_puts(&p->events, "message ");
    log_quote(&p->events, buf_str(&p->message));
    buf_putc(&p->events, '\n');
    const struct smtp_server_transaction *t = smtp_server_transaction(&p->server);
    must(t != NULL && t->n_rcpts > 0 && t->size == p->message.n);
    put_event(p, "from ", t->from.text);
    put_params(p, t);
    for (uint32_t i = 0; i < t->n_rcpts; i++) {
        must(t->rcpts[i].user == USER);
        put_event(p, "to ", t->rcpts[i].to.text);
        put_rcpt_params(p, &t->rcpts[i]);
    }
    for (uint32_t n = smtp_server_answers_due(&p->server); n > 0; n--)
        answer(p, ev, R_QUEUED, STR("3F8KZ0Q1M2X4C"));
    buf_reset(&p->message);
}

static void on_event(struct pure *p, const struct smtp_event *ev)
{
    switch (ev->kind) {
    case SMTP_EV_MAIL:
        put_event(p, "mail ", smtp_server_transaction(&p->server)->from.text);
        answer(p, ev, R_MAIL_OK, STR_NIL);
        break;
    case SMTP_EV_RCPT:
        put_event(p, "rcpt ", ev->rcpt->text);
        answer(p, ev, rcpt_verdict(p, ev->rcpt), ev->rcpt->text);
        break;
    case SMTP_EV_DATA:
        buf_puts(&p->events, "data\n");
        buf_reset(&p->message);
        answer(p, ev, R_DATA_GO, STR_NIL);
        break;
    case SMTP_EV_BODY:
        must(ev->body.n > 0);
        buf_put(&p->message, ev->body);
        break;
    case SMTP_EV_MESSAGE:
        message_ends(p, ev);
        break;
    case SMTP_EV_EXPN:
        put_event(p, "expn ", ev->text);
        answer(p, ev, R_NO_SUCH_LIST, STR_NIL);
        break;
    case SMTP_EV_ETRN:
        put_event(p, "etrn ", ev->text);
        answer(p, ev, R_ETRN_NOTHING, ev->text);
        break;
    case SMTP_EV_XCLIENT:
        put_xclient(p, ev->xclient);
        answer(p, ev, R_GREETING, STR_NIL);
        break;
    case SMTP_EV_STARTTLS:
        buf_puts(&p->events, "starttls\n");
        answer(p, ev, R_TLS_GO, STR_NIL);
        break;
    case SMTP_EV_AUTH:
        answer_auth(p, ev);
        break;
    case SMTP_EV_LOGIN:
        put_event(p, "login ", ev->text);
        answer(p, ev, R_AUTH_OK, STR_NIL);
        break;
    case SMTP_EV_ABORT:
        buf_reset(&p->message);
        buf_puts(&p->events, "abort\n");
        break;
    case SMTP_EV_CLOSE:
        must(!p->is_closed);
        p->is_closed = true;
        buf_printf(&p->events, "close %s\n",
                   ev->reply == R_NONE ? "R_NONE" : smtp_reply_row(ev->reply)->name);
        break;
    }
}

static bool take_events(struct pure *p)
{
    struct smtp_event ev;
    bool any = false;
    while (smtp_server_next(&p->server, &ev)) {
        smtp_server_invariants(&p->server);
        on_event(p, &ev);
        smtp_server_invariants(&p->server);
        any = true;
    }
    while (smtp_server_output(&p->server).n > 0) { /* as a socket takes it: not all at once */
        struct str out = smtp_server_output(&p->server);
        size_t n = (out.n + 1) / 2;
        buf_put(&p->out, str_slice(out, 0, n));
        smtp_server_sent(&p->server, n);
    }
    return any;
}

/* The session gets a copy of exactly the octets there are, gone after their events: reading past them, or
 * after them, is seen by the address sanitizer. */
static void pump(struct pure *p)
{
    bool any = true;
    while (any) {
        char *copy = mem_must_alloc(p->in.n + 1);
        if (p->in.n > 0)
            memcpy(copy, p->in.p, p->in.n);
        size_t n = smtp_server_feed(&p->server, str_of(copy, p->in.n), p->now_ms);
        smtp_server_invariants(&p->server);
        must(n <= p->in.n);
        any = take_events(p) || n > 0;
        mem_free(copy);
        buf_consume(&p->in, n);
    }
}

void pure_greet(struct pure *p, enum smtp_reply_id id)
{
    if (p->is_secure)
        smtp_server_secured(&p->server, sasl_server_offered(&p->sasl));
    smtp_server_greet(&p->server, id);
    take_events(p);
}

void pure_feed(struct pure *p, struct str octets)
{
    buf_put(&p->in, octets);
    pump(p);
    must(!p->in.failed && !p->out.failed && !p->events.failed && !p->message.failed);
}

void pure_tick(struct pure *p, uint64_t ms)
{
    p->now_ms += ms;
    if (p->now_ms >= smtp_server_deadline(&p->server))
        smtp_server_tick(&p->server, p->now_ms);
    take_events(p);
    pump(p);
}

void pure_eof(struct pure *p)
{
    smtp_server_eof(&p->server);
    take_events(p);
}

bool pure_secured(struct pure *p)
{
    if (!p->server.awaits_tls)
        return false;
    smtp_server_secured(&p->server, sasl_server_offered(&p->sasl));
    take_events(p);
    return true;
}

void pure_close(struct pure *p, enum smtp_reply_id id)
{
    smtp_server_close(&p->server, id);
    take_events(p);
}
