/* fuzz/fuzz_proto_smtp_server.c: the SMTP and LMTP server against a client that says anything, in any pieces,
 * while time passes and the owner answers, refuses, is out of memory or ends the session.
 *
 * The first two octets choose the kind of session and the memory. Then each octet is an action: its low bits
 * say which, its high bits how long or how; the client's octets of an action follow it.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "proto/smtp_server_impl.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IN_MAX = 65536, SIZE_MAX_OCTETS = 200, RCPTS = 4, ACTIONS = 8, ARGUMENT_SHIFT = 3, LATE_ANSWERS = 16 };

struct owner {
    struct smtp_server s;
    struct chunk_pool pool;
    struct smtp_server_conf conf;
    struct buf in;
    uint64_t now_ms, n_octets;
    bool is_granted, is_closed;
    struct smtp_event open; /* a question that is answered by a later action; question 0: none */
    bool answers_late;
    unsigned mood; /* how questions are answered */
};

static enum smtp_reply_id verdict(const struct owner *o, enum smtp_event_kind kind)
{
    static const enum smtp_reply_id bad[] = {R_STORE_BUSY, R_NO_SUCH_USER, R_TOO_BIG, R_NO_MEMORY};
    if ((o->mood & 4) != 0)
        return bad[o->mood & 3];
    return kind == SMTP_EV_MAIL       ? R_MAIL_OK
           : kind == SMTP_EV_RCPT     ? R_RCPT_OK
           : kind == SMTP_EV_DATA     ? R_DATA_GO
           : kind == SMTP_EV_EXPN     ? R_EXPN
           : kind == SMTP_EV_ETRN     ? R_ETRN_NOTHING
           : kind == SMTP_EV_XCLIENT  ? R_GREETING
           : kind == SMTP_EV_STARTTLS ? R_TLS_GO
           : kind == SMTP_EV_LOGIN    ? R_AUTH_OK
                                      : R_QUEUED;
}

static bool answer_auth(struct owner *o, const struct smtp_event *ev)
{
    static const struct sasl_server_conf conf = {.mechanisms = SASL_ALL,
                                                 .client_identity = STR_INIT("joe"),
                                                 .tls_exporter = STR_INIT("0123456789abcdef0123456789abcdef"),
                                                 .nonce = STR_INIT("0123456789abcdef01")};
    struct sasl_answer a = {.verdict = (o->mood & 8) != 0 ? SASL_BAD : SASL_OK,
                            .salt = STR("salt"),
                            .iterations = SCRAM_ITERATIONS_MIN,
                            .signature = STR("0123456789abcdef0123456789abcdef"),
                            .login = STR("joe")};
    if (ev->kind != SMTP_EV_AUTH || (o->mood & 4) != 0)
        return false;
    if (ev->sasl == NULL)
        smtp_server_auth_begin(&o->s, ev->question, &conf);
    else
        smtp_server_auth_answer(&o->s, ev->question, &a);
    return true;
}

static void answer(struct owner *o, const struct smtp_event *ev)
{
    if (answer_auth(o, ev))
        return;
    must(ev->kind >= SMTP_EV_EXPN || smtp_server_transaction(&o->s) != NULL);
    enum smtp_reply_id id = verdict(o, ev->kind);
    uint32_t n = ev->kind == SMTP_EV_MESSAGE ? smtp_server_answers_due(&o->s) : 1;
    must(n >= 1 && n <= RCPTS + 1);
    if (ev->kind == SMTP_EV_DATA)
        o->is_granted = smtp_reply_row(id)->code < 400;
    if (ev->kind == SMTP_EV_MESSAGE)
        o->is_granted = false;
    while (n-- > 0)
        smtp_server_answer(&o->s, ev->question, id, STR("3F8KZ0Q1M2X4C"));
}

static void check_address(const struct address *a)
{
    must(a->text.n <= SMTP_PATH_MAX && !str_has_ctl(a->text));
    must(a->local.n <= a->text.n && a->domain.n <= a->text.n);
}

/* The records can be written and read again: what the queue keeps is what was said. */
static void check_params(const struct smtp_server_transaction *t)
{
    char mem[1024];
    struct buf b;
    struct mail_params again;
    buf_init_fixed(&b, mem, sizeof mem);
    must(mail_params_put(&t->params, &b) && mail_params_get(buf_str(&b), &again));
    for (uint32_t i = 0; i < t->n_rcpts; i++) {
        const struct smtp_server_rcpt *r = &t->rcpts[i];
        must(r->orcpt.n <= DSN_ORCPT_MAX && !str_has_ctl(r->orcpt) && r->notify <= NOTIFY_ALL);
        must((r->notify & NOTIFY_NEVER) == 0 || r->notify == NOTIFY_NEVER);
    }
}

static void on_event(struct owner *o, const struct smtp_event *ev)
{
    must(!o->is_closed);
    switch (ev->kind) {
    case SMTP_EV_EXPN:
    case SMTP_EV_ETRN:
        must(ev->text.n > 0 && !str_has_ctl(ev->text));
        o->open = *ev;
        break;
    case SMTP_EV_XCLIENT:
        must(ev->xclient->has != 0 && !str_has_ctl(ev->xclient->name));
        o->open = *ev;
        break;
    case SMTP_EV_BODY:
        must(o->is_granted && ev->body.n > 0);
        o->n_octets += ev->body.n;
        break;
    case SMTP_EV_ABORT:
        must(o->is_granted);
        o->is_granted = false;
        break;
    case SMTP_EV_CLOSE:
        must(!o->is_granted);
        o->is_closed = true;
        break;
    case SMTP_EV_STARTTLS:
        must(!smtp_server_is_secure(&o->s));
        o->open = *ev;
        break;
    case SMTP_EV_AUTH:
    case SMTP_EV_LOGIN:
        must(smtp_server_is_secure(&o->s));
        o->open = *ev;
        break;
    case SMTP_EV_MAIL:
        check_address(&smtp_server_transaction(&o->s)->from);
        o->open = *ev;
        break;
    case SMTP_EV_RCPT:
        check_address(ev->rcpt);
        o->open = *ev;
        break;
    case SMTP_EV_DATA:
        must(!o->is_granted);
        o->n_octets = 0;
        o->open = *ev;
        break;
    case SMTP_EV_MESSAGE:
        must(o->is_granted && smtp_server_transaction(&o->s)->size == o->n_octets);
        check_params(smtp_server_transaction(&o->s));
        must(o->n_octets <= SIZE_MAX_OCTETS);
        o->open = *ev;
        break;
    }
}

static bool take_events(struct owner *o)
{
    struct smtp_event ev;
    bool any = false;
    while (smtp_server_next(&o->s, &ev)) {
        smtp_server_invariants(&o->s);
        on_event(o, &ev);
        if (ev.question != 0 && !o->answers_late) {
            answer(o, &o->open);
            o->open.question = 0;
        }
        smtp_server_invariants(&o->s);
        any = true;
    }
    return any;
}

/* The session sees a copy that ends where the octets end. */
static void pump(struct owner *o)
{
    bool any = true;
    while (any) {
        char *copy = mem_must_alloc(o->in.n + 1);
        if (o->in.n > 0)
            memcpy(copy, o->in.p, o->in.n);
        size_t n = smtp_server_feed(&o->s, str_of(copy, o->in.n), o->now_ms);
        smtp_server_invariants(&o->s);
        must(n <= o->in.n);
        any = take_events(o) || n > 0;
        mem_free(copy);
        buf_consume(&o->in, n);
    }
}

static void act(struct owner *o, unsigned action, unsigned how, struct str octets)
{
    switch (action) {
    case 0:
    case 1:
    case 2:
        buf_put(&o->in, octets);
        break;
    case 3:
        o->mood = how;
        o->answers_late = how >= LATE_ANSWERS;
        break;
    case 4:
        if (o->open.question != 0) { /* the session may have ended meanwhile: then it must not mind */
            if (!o->is_closed)
                answer(o, &o->open);
            else
                smtp_server_answer(&o->s, o->open.question, R_SHUTDOWN, STR_NIL);
        }
        o->open.question = 0;
        break;
    case 5:
        o->now_ms += (uint64_t)how * 20000;
        smtp_server_tick(&o->s, o->now_ms);
        break;
    case 6:
        smtp_server_sent(&o->s, smtp_server_output(&o->s).n * how / 31);
        break;
    default:
        if (how == 31)
            smtp_server_close(&o->s, R_SHUTDOWN);
        else if (how == 30 && o->s.awaits_tls)
            smtp_server_secured(&o->s, SASL_ALL);
        else
            buf_put(&o->in, STR("\r\n"));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct owner *o = mem_must_new(struct owner);
    o->now_ms = 1;
    o->conf = (struct smtp_server_conf){.hostname = STR("mx.example.org"),
                                        .size_max = SIZE_MAX_OCTETS,
                                        .rcpt_max = RCPTS,
                                        .lmtp = (data[0] & 1) != 0,
                                        .no_chunking = (data[0] & 2) != 0,
                                        .no_smtputf8 = (data[0] & 4) != 0,
                                        .normalize_bare = (data[0] & 8) != 0,
                                        .prdr = true,
                                        .dsn = true,
                                        .binarymime = true,
                                        .deliverby = true,
                                        .by_min_s = 60,
                                        .mt_priority = true,
                                        .hold_max_s = 100000,
                                        .starttls = (data[0] & 16) != 0,
                                        .needs_tls = (data[0] & 48) == 48,
                                        .auth = (data[0] & 64) != 0,
                                        .needs_auth = (data[0] & 192) == 192,
                                        .requiretls = true,
                                        .limits = true,
                                        .xclient = true,
                                        .etrn = true,
                                        .expn = true,
                                        .greets_late = true};
    chunk_pool_init(&o->pool, 1024, data[1]);
    buf_init(&o->in, IN_MAX);
    smtp_server_init(&o->s, &o->conf, &o->pool, o->now_ms);
    smtp_server_set_wall(&o->s, o->now_ms, INT64_C(1893456000000));
    smtp_server_greet(&o->s, R_GREETING);
    struct str rest = str_of(data + 2, size - 2);
    while (rest.n > 0 && !o->in.failed) {
        unsigned octet = (unsigned char)rest.p[0];
        unsigned action = octet % ACTIONS, how = octet >> ARGUMENT_SHIFT;
        size_t n = action < 3 ? how + 1u : 0;
        struct str octets = str_slice(rest, 1, 1 + n);
        rest = str_skip(rest, 1 + octets.n);
        act(o, action, how, octets);
        take_events(o);
        pump(o);
    }
    smtp_server_eof(&o->s);
    take_events(o);
    must(o->is_closed && !o->is_granted);
    smtp_server_fini(&o->s);
    must(o->pool.n_lent == 0);
    chunk_pool_fini(&o->pool);
    buf_fini(&o->in);
    mem_free(o);
    return 0;
}
