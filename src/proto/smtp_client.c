#include "proto/smtp_client_impl.h"

#include "base/mem.h"

const char *smtp_client_stage_name(enum smtp_client_stage st)
{
    static const char *const names[] = {
        [SMTP_AT_CONNECT] = "connect", [SMTP_AT_GREETING] = "greeting", [SMTP_AT_HELLO] = "hello",
        [SMTP_AT_MAIL] = "MAIL FROM",  [SMTP_AT_RCPT] = "RCPT TO",      [SMTP_AT_DATA] = "DATA",
        [SMTP_AT_END] = "end of data", [SMTP_AT_QUIT] = "QUIT",         [SMTP_AT_TLS] = "STARTTLS",
        [SMTP_AT_AUTH] = "AUTH",
    };
    must((size_t)st < ARRAY_LEN(names));
    return names[st];
}

bool smtp_client_stage_is_early(enum smtp_client_stage st)
{
    return st <= SMTP_AT_HELLO || st == SMTP_AT_TLS || st == SMTP_AT_AUTH;
}

static void start_window(struct smtp_client *c)
{
    c->window_ms = c->now_ms;
    c->window_sent = c->sent_total;
}

void smtp_client_set_state(struct smtp_client *c, enum smtp_client_state to)
{
    enum {
        G = SMTP_CLIENT_ST_GREETING,
        H = SMTP_CLIENT_ST_HELLO,
        T = SMTP_CLIENT_ST_TLS,
        A = SMTP_CLIENT_ST_AUTH,
        R = SMTP_CLIENT_ST_READY,
        C = SMTP_CLIENT_ST_CONVERT,
        E = SMTP_CLIENT_ST_ENVELOPE,
        B = SMTP_CLIENT_ST_BODY,
        N = SMTP_CLIENT_ST_END,
        Q = SMTP_CLIENT_ST_QUIT,
        D = SMTP_CLIENT_ST_DEAD,
    };
    static const bool allowed[D + 1][D + 1] = {
        [G] = {[H] = true, [Q] = true, [D] = true},
        [H] = {[T] = true, [A] = true, [R] = true, [Q] = true, [D] = true},
        [T] = {[H] = true, [D] = true},
        [A] = {[R] = true, [Q] = true, [D] = true},
        [R] = {[C] = true, [E] = true, [Q] = true, [D] = true},
        [C] = {[R] = true, [E] = true, [D] = true},
        [E] = {[R] = true, [B] = true, [N] = true, [D] = true},
        [B] = {[N] = true, [D] = true},
        [N] = {[R] = true, [D] = true},
        [Q] = {[D] = true},
    };
    must(allowed[c->state][to]);
    c->state = to;
    c->progress_ms = c->now_ms;
    if (to == SMTP_CLIENT_ST_BODY || (to == SMTP_CLIENT_ST_END && c->out.n == 0))
        start_window(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct smtp_client *smtp_client_new(const struct smtp_client_conf *conf, struct chunk_pool *pool,
                                    uint64_t now_ms)
{
    must(conf->helo.n > 0 && conf->helo.n <= SMTP_DOMAIN_MAX && !str_has_ctl(conf->helo));
    struct smtp_client *c = mem_new(struct smtp_client);
    if (c == NULL)
        return NULL;
    c->conf = *conf;
    c->is_encrypted = conf->secured != NULL;
    if (c->is_encrypted)
        c->secured = *conf->secured;
    c->conf.secured = NULL; /* it need not live on */
    c->now_ms = c->progress_ms = now_ms;
    arena_init(&c->arena, pool, SMTP_CLIENT_TEXTS_MAX);
    buf_init(&c->out, SMTP_CLIENT_OUTPUT_MAX);
    smtp_reply_parser_init(&c->parser);
    smtp_plan_add(&c->plan, SMTP_STEP_GREETING, 0);
    smtp_plan_sent(&c->plan, 0);
    return c;
}

void smtp_client_del(struct smtp_client **c)
{
    if (*c == NULL)
        return;
    smtp_client_auth_end(*c);
    arena_reset(&(*c)->arena);
    buf_fini(&(*c)->out);
    mem_free(*c);
    *c = NULL;
}

/* ---- results --------------------------------------------------------------------------------- */

struct smtp_client_result smtp_client_ours(enum smtp_outcome outcome, enum smtp_client_stage stage,
                                           struct esc esc, struct str text)
{
    return (struct smtp_client_result){.outcome = outcome, .stage = stage, .esc = esc, .text = text};
}

void smtp_client_settle(struct smtp_client *c, const struct smtp_client_result *why)
{
    must(why->outcome != SMTP_OUTCOME_PENDING);
    for (uint32_t i = 0; i < c->job.n_rcpts; i++)
        if (c->results[i].outcome == SMTP_OUTCOME_PENDING)
            c->results[i] = *why;
    c->n_accepted = 0;
}

static void end_job(struct smtp_client *c)
{
    c->job_open = false;
    c->events |= 1u << SMTP_CLIENT_JOB_DONE;
}

void smtp_client_die(struct smtp_client *c, const struct smtp_client_result *why)
{
    smtp_client_auth_end(c);
    if (c->job_open) {
        smtp_client_settle(c, why);
        end_job(c);
    } else if (c->n_jobs == 0 && c->state != SMTP_CLIENT_ST_QUIT) {
        c->failure = *why;
    }
    smtp_client_set_state(c, SMTP_CLIENT_ST_DEAD);
    c->events &= 1u << SMTP_CLIENT_JOB_DONE;
    c->events |= 1u << SMTP_CLIENT_DEAD;
    buf_reset(&c->out); /* above all no final dot may follow a body that was cut */
    buf_release(&c->out);
}

void smtp_client_become_ready(struct smtp_client *c)
{
    smtp_client_set_state(c, SMTP_CLIENT_ST_READY);
    buf_release(&c->out);
}

void smtp_client_finish_job(struct smtp_client *c)
{
    smtp_client_become_ready(c);
    end_job(c);
}

enum smtp_client_stage smtp_client_stage_now(const struct smtp_client *c)
{
    const struct smtp_step *s = smtp_plan_awaited(&c->plan);
    if (s == NULL)
        s = smtp_plan_next(&c->plan);
    if (s != NULL)
        return smtp_step_stage((enum smtp_step_kind)s->kind);
    if (c->state == SMTP_CLIENT_ST_CONVERT)
        return SMTP_AT_MAIL;
    if (c->state == SMTP_CLIENT_ST_TLS)
        return SMTP_AT_TLS;
    return c->state == SMTP_CLIENT_ST_BODY ? SMTP_AT_DATA : SMTP_AT_HELLO;
}

/* Our phrase about the end of the connection: what happened and while what. */
static struct str phrase(struct smtp_client *c, struct str what)
{
    char mem[256];
    struct buf b;
    struct str text;
    const struct smtp_step *s = smtp_plan_awaited(&c->plan);
    buf_init_fixed(&b, mem, sizeof mem);
    buf_put(&b, what);
    if (s == NULL)
        s = smtp_plan_next(&c->plan);
    if (s != NULL)
        buf_printf(&b, " while waiting for the reply to %s", smtp_step_name((enum smtp_step_kind)s->kind));
    else
        buf_puts(&b, c->state == SMTP_CLIENT_ST_BODY      ? " while sending the message"
                     : c->state == SMTP_CLIENT_ST_CONVERT ? " while the message was made ready"
                     : c->state == SMTP_CLIENT_ST_TLS     ? " while TLS was to begin"
                                                          : " between two messages");
    if (c->state == SMTP_CLIENT_ST_END && c->n_accepted > 0)
        buf_puts(&b, "; the server may have taken the message all the same, then it comes twice");
    must(!b.failed);
    return arena_str(&c->arena, buf_str(&b), &text) ? text : what;
}

/* what lives as long as the arena: static text, or in it. */
static void lose_connection(struct smtp_client *c, struct esc esc, struct str what)
{
    struct smtp_client_result why =
        smtp_client_ours(SMTP_OUTCOME_TEMPORARY, smtp_client_stage_now(c), esc, phrase(c, what));
    smtp_client_die(c, &why);
}

/* ---- octets ---------------------------------------------------------------------------------- */

/* Is the reply that begins now one that was asked for? Its command must have left us whole. */
static bool is_due(const struct smtp_client *c)
{
    const struct smtp_step *s = smtp_plan_awaited(&c->plan);
    return s != NULL && s->sent_at <= c->sent_total;
}

/* Who looks at the lines of the reply that is being read; NULL: nobody. */
static void (*line_reader(const struct smtp_client *c))(void *arg, struct str line)
{
    const struct smtp_step *s = smtp_plan_awaited(&c->plan);
    if (s != NULL && s->kind == SMTP_STEP_AUTH)
        return smtp_client_auth_line;
    bool is_hello = s != NULL && (s->kind == SMTP_STEP_EHLO || s->kind == SMTP_STEP_LHLO);
    return is_hello ? smtp_client_hello_line : NULL;
}

size_t smtp_client_feed(struct smtp_client *c, struct str in, uint64_t now_ms)
{
    size_t used = 0;
    c->now_ms = now_ms;
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return in.n;
    while (used < in.n && c->events == 0 && c->state != SMTP_CLIENT_ST_DEAD) {
        size_t n = 0;
        if (c->state == SMTP_CLIENT_ST_TLS) {
            smtp_client_die_of_injection(c);
            break;
        }
        c->is_early = c->is_early || !is_due(c);
        enum smtp_reply_status st = smtp_reply_feed(&c->parser, str_skip(in, used), &n, line_reader(c), c);
        must(n <= in.n - used && (n > 0 || st == SMTP_REPLY_BAD));
        used += n;
        if (st == SMTP_REPLY_MORE)
            continue;
        if (st == SMTP_REPLY_BAD) {
            lose_connection(c, ESC(4, 5, 0), STR("the server sent what is no SMTP reply"));
            break;
        }
        smtp_client_take_reply(c);
        smtp_reply_parser_init(&c->parser);
        c->is_early = false;
    }
    return c->state == SMTP_CLIENT_ST_DEAD ? in.n : used;
}

bool smtp_client_next(struct smtp_client *c, enum smtp_client_event_kind *out)
{
    static const enum smtp_client_event_kind order[] = {SMTP_CLIENT_WANT_TLS,        SMTP_CLIENT_READY,
                                                        SMTP_CLIENT_WANT_CONVERSION, SMTP_CLIENT_WANT_BODY,
                                                        SMTP_CLIENT_JOB_DONE,        SMTP_CLIENT_DEAD};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if ((c->events & 1u << order[i]) == 0)
            continue;
        c->events &= ~(1u << order[i]);
        *out = order[i];
        return true;
    }
    return false;
}

struct str smtp_client_output(const struct smtp_client *c)
{
    return buf_str(&c->out);
}

/* The rate counts while octets of the message wait for the server to take them. */
static bool is_rated(const struct smtp_client *c)
{
    return (c->state == SMTP_CLIENT_ST_BODY || c->state == SMTP_CLIENT_ST_END) && c->out.n > 0;
}

static bool is_window_over(const struct smtp_client *c)
{
    return is_rated(c) && c->now_ms - c->window_ms >= SMTP_CLIENT_RATE_WINDOW_MS;
}

static bool is_fast_enough(const struct smtp_client *c)
{
    uint64_t least = (uint64_t)SMTP_CLIENT_RATE_FLOOR * SMTP_CLIENT_RATE_WINDOW_MS / 1000;
    return c->sent_total - c->window_sent >= least;
}

void smtp_client_sent(struct smtp_client *c, size_t n, uint64_t now_ms)
{
    c->now_ms = now_ms;
    if (c->state == SMTP_CLIENT_ST_DEAD || n == 0)
        return;
    must(n <= c->out.n);
    buf_consume(&c->out, n);
    c->sent_total += n;
    c->progress_ms = now_ms;
    if (is_window_over(c) && is_fast_enough(c))
        start_window(c);
    smtp_client_pump(c); /* there is room again */
}

void smtp_client_eof(struct smtp_client *c, enum err err)
{
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return;
    lose_connection(c, ESC(4, 4, 2),
                    err == ERR_CLOSED ? STR("the server closed the connection") : str_from_c(err_str(err)));
}

/* ---- jobs ------------------------------------------------------------------------------------ */

bool smtp_client_is_ready(const struct smtp_client *c)
{
    return c->state == SMTP_CLIENT_ST_READY && !c->is_early;
}

bool smtp_client_is_spent(const struct smtp_client *c)
{
    return c->mail_max > 0 && c->n_mails >= c->mail_max;
}

unsigned smtp_client_need(const struct smtp_client *c)
{
    return c->need;
}

uint32_t smtp_client_n_jobs(const struct smtp_client *c)
{
    return c->n_jobs;
}

const struct smtp_client_result *smtp_client_results(const struct smtp_client *c)
{
    return c->results;
}

const struct smtp_client_result *smtp_client_failure(const struct smtp_client *c)
{
    return &c->failure;
}

static void start_job(struct smtp_client *c)
{
    smtp_client_plan_job(c);
    smtp_client_set_state(c, SMTP_CLIENT_ST_ENVELOPE);
    if (c->is_early) /* it has begun to talk without being asked */
        lose_connection(c, ESC(4, 5, 0),
                        STR("the server replied before it was asked: the session is out of step"));
    else
        smtp_client_pump(c);
}

void smtp_client_job(struct smtp_client *c, const struct smtp_client_job *job, uint64_t now_ms)
{
    must((c->state == SMTP_CLIENT_ST_READY || c->state == SMTP_CLIENT_ST_DEAD) && !c->job_open);
    must(job->n_rcpts > 0 && job->n_rcpts <= QUEUE_RCPTS_PER_ATTEMPT_MAX);
    c->now_ms = now_ms;
    c->job = *job;
    c->job_open = true;
    c->mail_refused = c->says_bdat = c->says_utf8 = false;
    c->need = 0;
    c->n_accepted = c->n_settled = 0;
    c->events &= ~(1u << SMTP_CLIENT_READY);
    for (uint32_t i = 0; i < job->n_rcpts; i++)
        c->results[i] = (struct smtp_client_result){0};
    if (c->state == SMTP_CLIENT_ST_DEAD) { /* it died between the last event and this call */
        struct smtp_client_result why = smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_MAIL, ESC(4, 4, 2),
                                                         STR("the connection had ended before"));
        c->n_jobs++;
        smtp_client_settle(c, &why);
        end_job(c);
        return;
    }
    arena_reset(&c->arena);
    c->n_jobs++;
    smtp_plan_reset(&c->plan);
    smtp_client_check_job(c);
    if (c->need != 0) {
        smtp_client_set_state(c, SMTP_CLIENT_ST_CONVERT);
        c->events |= 1u << SMTP_CLIENT_WANT_CONVERSION;
    } else {
        start_job(c);
    }
}

void smtp_client_convert(struct smtp_client *c, uint64_t size, uint64_t now_ms)
{
    must(c->state == SMTP_CLIENT_ST_CONVERT || c->state == SMTP_CLIENT_ST_DEAD);
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return;
    c->now_ms = now_ms;
    c->events &= ~(1u << SMTP_CLIENT_WANT_CONVERSION);
    c->job.size = size;
    c->job.is_8bit = (c->job.is_8bit || c->job.is_binary) && (c->need & SMTP_NEED_7BIT) == 0;
    c->job.is_binary = c->job.is_binary && (c->need & SMTP_NEED_LINES) == 0;
    c->job.may_convert = false;
    smtp_client_check_job(c); /* the new size may be over the limit */
    must(c->need == 0);
    start_job(c);
}

void smtp_client_no_convert(struct smtp_client *c, struct esc esc, struct str text, uint64_t now_ms)
{
    must(c->state == SMTP_CLIENT_ST_CONVERT || c->state == SMTP_CLIENT_ST_DEAD);
    must(esc.class == 4 || esc.class == 5);
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return;
    c->now_ms = now_ms;
    c->events &= ~(1u << SMTP_CLIENT_WANT_CONVERSION);
    struct str kept;
    if (!arena_str(&c->arena, text, &kept))
        kept = STR("the message can't be converted to what the server takes");
    struct smtp_client_result why = smtp_client_ours(
        esc.class == 5 ? SMTP_OUTCOME_PERMANENT : SMTP_OUTCOME_TEMPORARY, SMTP_AT_MAIL, esc, kept);
    smtp_client_settle(c, &why);
    start_job(c); /* with nothing in it */
}

/* One chunk, if there is room for it and for the reply to it. */
static size_t put_chunk(struct smtp_client *c, struct str piece)
{
    enum { HEAD_MAX = 32 };
    size_t before = c->out.n, room = c->out.max - before;
    bool pipelining = (c->offers & SMTP_OFFERS_PIPELINING) != 0 && !c->conf.no_pipelining;
    if (smtp_plan_awaited(&c->plan) == NULL)
        smtp_plan_reset(&c->plan);
    else if (!pipelining || c->plan.n + 1 >= SMTP_PLAN_STEPS_MAX) /* the last one has its place */
        return 0;
    if (room < HEAD_MAX + SMTP_CLIENT_CHUNK_MIN)
        return 0;
    piece = str_slice(piece, 0, room - HEAD_MAX);
    if (!buf_reserve(&c->out, HEAD_MAX + piece.n)) {
        lose_connection(c, ESC(4, 3, 0), STR("no memory for the output"));
        return 0;
    }
    buf_printf(&c->out, "BDAT %zu\r\n", piece.n);
    buf_put(&c->out, piece);
    must(!c->out.failed);
    c->out_total += c->out.n - before;
    smtp_plan_add(&c->plan, SMTP_STEP_BDAT, 0);
    smtp_plan_sent(&c->plan, c->out_total);
    c->progress_ms = c->now_ms;
    return piece.n;
}

size_t smtp_client_body(struct smtp_client *c, struct str piece, uint64_t now_ms)
{
    c->now_ms = now_ms;
    if (c->state != SMTP_CLIENT_ST_BODY || piece.n == 0)
        return 0;
    size_t before = c->out.n, room = c->out.max - before;
    if (before == 0)
        start_window(c); /* the server has taken all there was */
    if (c->says_bdat)
        return put_chunk(c, piece);
    size_t want = piece.n > room / 2 ? room : piece.n * 2; /* every octet might be a dot */
    if (!buf_reserve(&c->out, want)) {
        lose_connection(c, ESC(4, 3, 0), STR("no memory for the output"));
        return 0;
    }
    size_t n = dot_encode(&c->dots, piece, &c->out);
    must(!c->out.failed);
    c->out_total += c->out.n - before;
    if (n > 0)
        c->progress_ms = now_ms;
    return n;
}

void smtp_client_body_end(struct smtp_client *c, uint64_t now_ms)
{
    must(c->state == SMTP_CLIENT_ST_BODY || c->state == SMTP_CLIENT_ST_DEAD);
    c->now_ms = now_ms;
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return;
    smtp_plan_add(&c->plan, c->says_bdat ? SMTP_STEP_LAST : SMTP_STEP_END, 0);
    smtp_client_set_state(c, SMTP_CLIENT_ST_END);
    smtp_client_pump(c);
}

void smtp_client_body_abort(struct smtp_client *c)
{
    must(c->state == SMTP_CLIENT_ST_BODY || c->state == SMTP_CLIENT_ST_DEAD);
    if (c->state == SMTP_CLIENT_ST_DEAD)
        return;
    struct smtp_client_result why = smtp_client_ours(SMTP_OUTCOME_TEMPORARY, SMTP_AT_DATA, ESC(4, 3, 0),
                                                     STR("the message could not be read to its end here"));
    smtp_client_die(c, &why);
}

void smtp_client_quit(struct smtp_client *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    switch (c->state) {
    case SMTP_CLIENT_ST_READY:
        smtp_plan_reset(&c->plan);
        smtp_plan_add(&c->plan, SMTP_STEP_QUIT, 0);
        smtp_client_set_state(c, SMTP_CLIENT_ST_QUIT);
        smtp_client_pump(c);
        break;
    case SMTP_CLIENT_ST_GREETING:
    case SMTP_CLIENT_ST_HELLO:
    case SMTP_CLIENT_ST_TLS:
    case SMTP_CLIENT_ST_AUTH:
    case SMTP_CLIENT_ST_CONVERT:
    case SMTP_CLIENT_ST_ENVELOPE:
    case SMTP_CLIENT_ST_BODY:
    case SMTP_CLIENT_ST_END: /* a reply is due: QUIT would have to wait for it */
        lose_connection(c, ESC(4, 3, 2), STR("given up here"));
        break;
    case SMTP_CLIENT_ST_QUIT:
    case SMTP_CLIENT_ST_DEAD:
        break;
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t timeout_ms(const struct smtp_client *c)
{
    const struct smtp_step *s = smtp_plan_awaited(&c->plan);
    if (s == NULL)
        s = smtp_plan_next(&c->plan);
    if (s == NULL || (c->state == SMTP_CLIENT_ST_END && c->out.n > 0))
        return SMTP_CLIENT_DATA_BLOCK_MS; /* the message, or the rest of it, is on its way */
    return smtp_step_timeout_ms((enum smtp_step_kind)s->kind);
}

uint64_t smtp_client_deadline(const struct smtp_client *c)
{
    if (c->state == SMTP_CLIENT_ST_READY || c->state == SMTP_CLIENT_ST_CONVERT ||
        c->state == SMTP_CLIENT_ST_TLS || c->state == SMTP_CLIENT_ST_DEAD)
        return UINT64_MAX; /* the server owes nothing, or owes it the owner */
    uint64_t due_ms = c->progress_ms + timeout_ms(c);
    uint64_t window_due_ms = c->window_ms + SMTP_CLIENT_RATE_WINDOW_MS;
    return is_rated(c) && window_due_ms < due_ms ? window_due_ms : due_ms;
}

void smtp_client_tick(struct smtp_client *c, uint64_t now_ms)
{
    char mem[64];
    struct buf b;
    struct str text;
    if (now_ms < smtp_client_deadline(c))
        return;
    c->now_ms = now_ms;
    if (now_ms < c->progress_ms + timeout_ms(c)) {
        if (is_fast_enough(c))
            start_window(c);
        else
            lose_connection(c, ESC(4, 4, 2), STR("the server took too few octets in too long a time"));
        return;
    }
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "timed out after %llu s", (unsigned long long)timeout_ms(c) / 1000);
    if (!arena_str(&c->arena, buf_str(&b), &text))
        text = STR("timed out");
    lose_connection(c, ESC(4, 4, 2), text);
}

/* ---- checks ---------------------------------------------------------------------------------- */

void smtp_client_invariants(const struct smtp_client *c)
{
    bool in_job = c->state == SMTP_CLIENT_ST_CONVERT || c->state == SMTP_CLIENT_ST_ENVELOPE ||
                  c->state == SMTP_CLIENT_ST_BODY || c->state == SMTP_CLIENT_ST_END;
    uint32_t n_pending = 0;
    smtp_plan_invariants(&c->plan);
    must(c->job_open == in_job);
    must(c->out.n <= SMTP_CLIENT_OUTPUT_MAX && c->sent_total + c->out.n <= c->out_total);
    must(c->state == SMTP_CLIENT_ST_DEAD || c->sent_total + c->out.n == c->out_total);
    must(c->state != SMTP_CLIENT_ST_DEAD || c->out.n == 0);
    must((c->events & 1u << SMTP_CLIENT_READY) == 0 || c->state == SMTP_CLIENT_ST_READY);
    must((c->events & 1u << SMTP_CLIENT_WANT_TLS) == 0 || c->state == SMTP_CLIENT_ST_TLS);
    must(c->state != SMTP_CLIENT_ST_TLS || (c->out.n == 0 && smtp_plan_is_done(&c->plan)));
    must((c->auth != NULL) == (c->state == SMTP_CLIENT_ST_AUTH));
    must(c->auth == NULL || c->is_encrypted || c->conf.is_near);
    must((c->events & 1u << SMTP_CLIENT_WANT_BODY) == 0 || c->state == SMTP_CLIENT_ST_BODY);
    must((c->events & 1u << SMTP_CLIENT_WANT_CONVERSION) == 0 || c->state == SMTP_CLIENT_ST_CONVERT);
    must((c->events & 1u << SMTP_CLIENT_DEAD) == 0 || c->state == SMTP_CLIENT_ST_DEAD);
    must(c->job.n_rcpts <= QUEUE_RCPTS_PER_ATTEMPT_MAX);
    for (uint32_t i = 0; i < c->job.n_rcpts; i++) {
        const struct smtp_client_result *r = &c->results[i];
        must(r->outcome != SMTP_OUTCOME_OK || (r->esc.class == 2 && r->code / 100 == 2 &&
                                               r->stage == (c->job.is_callout ? SMTP_AT_RCPT : SMTP_AT_END)));
        must(r->outcome != SMTP_OUTCOME_TEMPORARY || r->esc.class == 4);
        must(r->outcome != SMTP_OUTCOME_PERMANENT || r->esc.class == 5);
        n_pending += r->outcome == SMTP_OUTCOME_PENDING;
    }
    must(c->job_open || n_pending == 0);
    must(c->n_accepted <= n_pending);
    if (c->state == SMTP_CLIENT_ST_BODY || c->state == SMTP_CLIENT_ST_END)
        must(c->n_accepted == n_pending);
    must(c->state != SMTP_CLIENT_ST_BODY || c->n_accepted > 0);
}
