/* fuzz/fuzz_proto_smtp_client.c: the SMTP and LMTP client against a server that says anything, in any pieces,
 * while time passes, output gets stuck and the owner gives jobs, bodies and up.
 *
 * The first octet chooses the kind of session. Then each octet is an action with its length or choice in the
 * upper bits; the server's octets of an action follow it.
 */
#include "base/limits.h"
#include "proto/smtp_client.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_RCPTS = 3, N_ACTIONS = 8, PIECE_SHIFT = 3 };

struct owner {
    struct smtp_client *c;
    uint64_t now_ms;
    struct rcpt rcpts[N_RCPTS];
    uint32_t n_rcpts;
    unsigned n_open; /* jobs given and not yet done */
    struct mail_params params;
    bool wants_body, wants_conversion, wants_tls, is_encrypted, must_encrypt, is_dead;
};

static void check_results(const struct owner *o)
{
    const struct smtp_client_result *r = smtp_client_results(o->c);
    for (uint32_t i = 0; i < o->n_rcpts; i++) {
        must(r[i].outcome != SMTP_OUTCOME_PENDING && r[i].text.n <= 2 * 1024);
        for (size_t k = 0; k < r[i].text.n; k++) { /* texts were made harmless */
            unsigned char ch = (unsigned char)r[i].text.p[k];
            must(ch == '\n' || (ch >= 0x20 && ch != 0x7f));
        }
    }
}

static void take_events(struct owner *o)
{
    enum smtp_client_event_kind ev;
    while (smtp_client_next(o->c, &ev)) {
        must(!o->is_dead || ev == SMTP_CLIENT_JOB_DONE);
        switch (ev) {
        case SMTP_CLIENT_READY:
            must(o->n_open == 0 && (o->is_encrypted || !o->must_encrypt));
            break;
        case SMTP_CLIENT_WANT_TLS:
            must(o->n_open == 0 && !o->is_encrypted && smtp_client_output(o->c).n == 0);
            o->wants_tls = true;
            break;
        case SMTP_CLIENT_WANT_BODY:
            must(o->n_open == 1);
            o->wants_body = true;
            break;
        case SMTP_CLIENT_WANT_CONVERSION:
            must(o->n_open == 1 && smtp_client_need(o->c) != 0);
            o->wants_conversion = true;
            break;
        case SMTP_CLIENT_JOB_DONE:
            must(o->n_open == 1);
            o->wants_conversion = false;
            o->n_open = 0;
            o->wants_body = false;
            check_results(o);
            break;
        case SMTP_CLIENT_DEAD:
            must(o->n_open == 0);
            o->is_dead = true;
            o->wants_tls = false;
            break;
        }
    }
    smtp_client_invariants(o->c);
}

static bool to_ascii(struct str domain, struct buf *out)
{
    return domain.n % 2 == 0 && buf_puts(out, "xn--tda.example");
}

static void give_job(struct owner *o, unsigned choice)
{
    struct smtp_client_job job = {
        .from = STR("a@x.example"), .rcpts = o->rcpts, .size = choice * 1000u, .is_8bit = (choice & 1) != 0};
    if (o->n_open != 0 || !smtp_client_is_ready(o->c))
        return;
    o->n_rcpts = 1 + choice % N_RCPTS;
    job.n_rcpts = o->n_rcpts;
    job.needs_utf8 = choice == 7;
    job.params = &o->params;
    job.may_convert = (choice & 2) != 0;
    job.is_binary = (choice & 4) != 0;
    job.is_callout = (choice & 24) == 24;
    job.to_ascii = to_ascii;
    o->n_open = 1;
    smtp_client_job(o->c, &job, o->now_ms);
}

/* The final dot belongs to a body that was ended, or to DATA that nobody gets. */
static void send_some(struct owner *o, size_t n)
{
    struct str out = smtp_client_output(o->c);
    must(out.n <= 64 * 1024);
    smtp_client_sent(o->c, n < out.n ? n : out.n, o->now_ms);
}

static void feed_some(struct owner *o, struct str in)
{
    while (in.n > 0) {
        size_t n = smtp_client_feed(o->c, in, o->now_ms);
        must(n <= in.n && n > 0);
        in = str_skip(in, n);
        take_events(o);
    }
}

static void body_some(struct owner *o, unsigned choice)
{
    if (o->wants_tls) {
        o->wants_tls = false;
        o->is_encrypted = choice < 28;
        struct smtp_client_secured secured = {.is_verified = choice < 14};
        if (o->is_encrypted)
            smtp_client_tls(o->c, &secured, o->now_ms);
        else
            smtp_client_no_tls(o->c, STR("no"), o->now_ms);
        return;
    }
    if (o->wants_conversion) {
        o->wants_conversion = false;
        if (choice < 20)
            smtp_client_convert(o->c, choice * 2000, o->now_ms);
        else
            smtp_client_no_convert(o->c, ESC(choice < 26 ? 4 : 5, 6, 3), STR("no"), o->now_ms);
        return;
    }
    if (!o->wants_body)
        return;
    if (choice < 20) {
        (void)smtp_client_body(o->c, STR("one\r\n.two\r\n..\r\n"), o->now_ms);
        return;
    }
    o->wants_body = false;
    if (choice < 28)
        smtp_client_body_end(o->c, o->now_ms);
    else
        smtp_client_body_abort(o->c);
}

static void act(struct owner *o, unsigned what, unsigned choice, struct str *in)
{
    switch (what) {
    case 0: /* most octets are the server's */
    case 1:
    case 2: {
        struct str piece = str_slice(*in, 0, choice + 1);
        *in = str_skip(*in, choice + 1);
        if (what != 2)
            send_some(o, SIZE_MAX);
        feed_some(o, piece);
        break;
    }
    case 3:
        send_some(o, choice);
        break;
    case 4:
        give_job(o, choice);
        break;
    case 5:
        body_some(o, choice);
        break;
    case 6:
        o->now_ms += choice * 30000ull;
        smtp_client_tick(o->c, o->now_ms);
        break;
    case 7:
        if (choice == 31)
            smtp_client_eof(o->c, ERR_CLOSED);
        else if (choice == 30)
            smtp_client_quit(o->c, o->now_ms);
        else
            send_some(o, SIZE_MAX);
        break;
    default:
        must_not_reach();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    struct chunk_pool pool;
    if (in.n == 0)
        return 0;
    unsigned kind = (unsigned char)in.p[0];
    struct smtp_client_conf conf = {.helo = STR("me.example"),
                                    .lmtp = (kind & 1) != 0,
                                    .no_pipelining = (kind & 2) != 0,
                                    .is_mx = (kind & 8) != 0,
                                    .tls = (enum smtp_client_tls)((kind >> 6) % 3)};
    /* SCRAM has a target of its own: here a server would only buy time with iterations */
    const struct smtp_client_login login = {
        .user = STR("me"),
        .password = STR("pw"),
        .token = STR("token"),
        .allowed = SASL_BIT(SASL_PLAIN) | SASL_BIT(SASL_LOGIN) | SASL_BIT(SASL_XOAUTH2),
    };
    conf.is_near = kind >> 6 == 3;
    conf.login = conf.is_near || (kind & (16 | 128)) == (16 | 128) ? &login : NULL;
    struct owner o = {.now_ms = 1,
                      .must_encrypt = conf.tls == SMTP_CLIENT_TLS_MUST,
                      .params = {.ret = DSN_RET_FULL,
                                 .envid = STR("a+b"),
                                 .by_mode = (kind & 16) != 0 ? BY_NOTIFY : BY_NONE,
                                 .requiretls = (kind & 32) != 0,
                                 .has_priority = true},
                      .rcpts = {{.address = STR("r1@y.example"), .notify = NOTIFY_ALL & ~NOTIFY_NEVER},
                                {.address = STR("r2@\xc3\xbc.example"), .orcpt = STR("utf-8;\xc3\xbc+=\\")},
                                {.address = STR("\"r 3\"@y.example"), .orcpt = STR("rfc822;a+b")}}};
    chunk_pool_init(&pool, 1024, (kind & 4) != 0 ? 2 : 1000); /* also with hardly any memory */
    o.c = smtp_client_new(&conf, &pool, o.now_ms);
    if (o.c == NULL)
        return 0;
    in = str_skip(in, 1);
    while (in.n > 0) {
        unsigned op = (unsigned char)in.p[0];
        in = str_skip(in, 1);
        act(&o, op % N_ACTIONS, op >> PIECE_SHIFT, &in);
        take_events(&o);
    }
    smtp_client_eof(o.c, ERR_CLOSED);
    take_events(&o);
    must(o.is_dead && o.n_open == 0);
    smtp_client_del(&o.c);
    chunk_pool_fini(&pool);
    return 0;
}
