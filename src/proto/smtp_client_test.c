#include "proto/smtp_client.h"

#include "base/limits.h"
#include "base/mem.h"
#include "proto/smtp_client_scripts.h"
#include "proto/smtp_client_tls_scripts.h"
#include "wire/dotstuff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- the runner ------------------------------------------------------------------------------ */

static const char *const outcome_names[] = {"PENDING", "OK", "TEMPORARY", "PERMANENT"};
static const char *const stage_names[] = {"CONNECT", "GREETING", "HELLO", "MAIL", "RCPT",
                                          "DATA",    "END",      "QUIT",  "TLS",  "AUTH"};
static const char *const event_names[] = {"?",    "READY",    "WANT_BODY",      "JOB_DONE",
                                          "DEAD", "WANT_TLS", "WANT_CONVERSION"};

struct run {
    struct chunk_pool pool;
    struct smtp_client *c;
    uint64_t now_ms;
    size_t split;     /* the server's octets are cut here; SIZE_MAX: each octet alone; 0: nowhere */
    size_t sent_step; /* octets a sent() */
    size_t n_fed;     /* octets of the server so far */
    bool is_held;
    char in_mem[4096]; /* the server's octets that wait */
    struct buf in;
    char out_mem[8192]; /* what the client sent and the script has not yet seen */
    struct buf out;
    enum smtp_client_event_kind events[8];
    size_t n_events;
};

static void take_events(struct run *r)
{
    enum smtp_client_event_kind ev;
    while (smtp_client_next(r->c, &ev)) {
        assert_true(r->n_events < ARRAY_LEN(r->events));
        r->events[r->n_events++] = ev;
    }
    smtp_client_invariants(r->c);
}

static void take_output(struct run *r)
{
    struct str out;
    while (!r->is_held && (out = smtp_client_output(r->c)).n > 0) {
        size_t n = out.n < r->sent_step ? out.n : r->sent_step;
        assert_true(buf_put(&r->out, str_of(out.p, n)));
        smtp_client_sent(r->c, n, r->now_ms);
        smtp_client_invariants(r->c);
    }
}

static void feed_piece(struct run *r, struct str piece)
{
    r->n_fed += piece.n;
    while (piece.n > 0) {
        size_t n = smtp_client_feed(r->c, piece, r->now_ms);
        assert_true(n <= piece.n);
        take_events(r);
        piece = str_skip(piece, n);
    }
    take_output(r);
}

/* Gives what the server has said so far, cut as this run wants it. */
static void feed_all(struct run *r)
{
    struct str in = buf_str(&r->in);
    while (in.n > 0) {
        size_t n = in.n;
        if (r->split == SIZE_MAX)
            n = 1;
        else if (r->split > r->n_fed && r->split - r->n_fed < n)
            n = r->split - r->n_fed;
        feed_piece(r, str_of(in.p, n));
        in = str_skip(in, n);
    }
    buf_reset(&r->in);
}

static unsigned hex(char ch)
{
    return ch >= 'a' ? (unsigned)(ch - 'a') + 10 : (unsigned)(ch - '0');
}

static void put_unescaped(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char ch = s.p[i];
        if (ch == '\\') {
            assert_true(++i < s.n);
            ch = s.p[i] == 'r' ? '\r' : s.p[i] == 'n' ? '\n' : s.p[i];
            if (s.p[i] == 'x') {
                ch = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
                i += 2;
            }
        }
        assert_true(buf_putc(b, ch));
    }
}

static void expect_octets(struct run *r, struct str want)
{
    if (!str_starts(buf_str(&r->out), want))
        fail_msg("wanted '%.*s', the client sent '%.*s'", STR_FMT(want), STR_FMT(buf_str(&r->out)));
    buf_consume(&r->out, want.n);
}

static void expect_event(struct run *r, struct str name)
{
    if (r->n_events == 0 || !str_eq(str_from_c(event_names[r->events[0]]), name))
        fail_msg("wanted event %.*s, got %s", STR_FMT(name),
                 r->n_events == 0 ? "none" : event_names[r->events[0]]);
    r->n_events--;
    memmove(r->events, r->events + 1, r->n_events * sizeof r->events[0]);
}

static void expect_result(const struct smtp_client_result *res, struct str want)
{
    char head_mem[128], want_mem[512], text_mem[SMTP_REPLY_TEXT_MAX];
    struct buf head, text, have;
    buf_init_fixed(&head, head_mem, sizeof head_mem);
    buf_printf(&head, "%s %s %u %u.%u.%u ", outcome_names[res->outcome], stage_names[res->stage], res->code,
               res->esc.class, res->esc.subject, res->esc.detail);
    buf_init_fixed(&text, want_mem, sizeof want_mem);
    buf_init_fixed(&have, text_mem, sizeof text_mem);
    buf_put(&have, res->text);
    bool same = str_starts(want, buf_str(&head));
    if (same)
        put_unescaped(&text, str_skip(want, head.n));
    if (!same || str_find(res->text, buf_str(&text)) == STR_NPOS)
        fail_msg("wanted '%.*s', got '%.*s%.*s'", STR_FMT(want), STR_FMT(buf_str(&head)),
                 STR_FMT(buf_str(&have)));
}

static uint64_t number(struct str s)
{
    uint64_t n;
    assert_true(str_to_u64(s, UINT32_MAX, &n));
    return n;
}

static void give_body(struct run *r, struct str escaped)
{
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    put_unescaped(&b, escaped);
    size_t n = smtp_client_body(r->c, buf_str(&b), r->now_ms);
    /* a dead session takes nothing */
    assert_int_equal(n, smtp_client_deadline(r->c) == UINT64_MAX ? 0 : b.n);
}

static void expect_deadline(struct run *r, struct str arg)
{
    uint64_t due = smtp_client_deadline(r->c);
    if (str_eq(arg, STR("-")))
        assert_true(due == UINT64_MAX);
    else
        assert_int_equal(due - r->now_ms, number(arg));
}

static struct smtp_client_secured bound = {.is_verified = true, .n_exporter = 32};

static void do_act(struct run *r, char what, struct str arg)
{
    switch (what) {
    case 'J':
        smtp_client_job(r->c, &jobs[number(arg)], r->now_ms);
        break;
    case 'B':
        give_body(r, arg);
        break;
    case 'D':
        smtp_client_body_end(r->c, r->now_ms);
        break;
    case 'A':
        smtp_client_body_abort(r->c);
        break;
    case 'Q':
        smtp_client_quit(r->c, r->now_ms);
        break;
    case 'V':
        smtp_client_convert(r->c, number(arg), r->now_ms);
        break;
    case 'W':
        smtp_client_no_convert(r->c, ESC(5, 6, 3), arg, r->now_ms);
        break;
    case 'P':
    case 'p':
        smtp_client_tls(r->c, what == 'P' ? &bound : &unverified_from_start, r->now_ms);
        break;
    case 'U':
        smtp_client_no_tls(r->c, arg, r->now_ms);
        break;
    case 'X':
    case 'Y':
        smtp_client_eof(r->c, what == 'X' ? ERR_CLOSED : ERR_RESET);
        break;
    case 'T':
        r->now_ms += number(arg);
        smtp_client_tick(r->c, r->now_ms);
        break;
    default:
        fail_msg("no such step: %c", what);
    }
    take_events(r);
    take_output(r);
}

static void do_line(struct run *r, struct str line)
{
    char mem[1024], what = line.p[0];
    struct buf b;
    struct str arg = str_skip(line, 2);
    if (what == 'S' || what == 's') {
        put_unescaped(&r->in, arg);
        if (what == 'S')
            buf_puts(&r->in, "\r\n");
        return;
    }
    feed_all(r);
    buf_init_fixed(&b, mem, sizeof mem);
    switch (what) {
    case 'C':
    case 'c':
        put_unescaped(&b, arg);
        if (what == 'C')
            buf_puts(&b, "\r\n");
        expect_octets(r, buf_str(&b));
        break;
    case 'E':
        expect_event(r, arg);
        break;
    case 'R':
        expect_result(&smtp_client_results(r->c)[number(str_cut(&arg, ' '))], arg);
        break;
    case 'F':
        expect_result(smtp_client_failure(r->c), arg);
        break;
    case 'L':
        expect_deadline(r, arg);
        break;
    case 'K':
        assert_true(smtp_client_results(r->c)[number(arg)].took_dsn);
        break;
    case 'k':
        assert_false(smtp_client_results(r->c)[number(arg)].took_dsn);
        break;
    case 'M':
        assert_int_equal(smtp_client_is_spent(r->c), number(arg));
        break;
    case 'O':
    case 'o':
        assert_int_equal(smtp_client_takes_domain(r->c, arg), what == 'O');
        break;
    case 'N':
        assert_int_equal(smtp_client_need(r->c), number(arg));
        break;
    case '+':
    case '-':
        assert_int_equal(smtp_client_is_ready(r->c), what == '+');
        break;
    case 'H':
        r->is_held = true;
        break;
    case 'G':
        r->is_held = false;
        take_output(r);
        break;
    default:
        do_act(r, what, arg);
        break;
    }
}

/* Runs the script; gives the number of octets that the server said. */
static size_t run_script(const char *lines, const struct smtp_client_conf *conf, size_t split,
                         size_t sent_step)
{
    struct run r = {.now_ms = 5000, .split = split, .sent_step = sent_step};
    struct str text = str_from_c(lines);
    chunk_pool_init(&r.pool, 4096, 64);
    buf_init_fixed(&r.in, r.in_mem, sizeof r.in_mem);
    buf_init_fixed(&r.out, r.out_mem, sizeof r.out_mem);
    r.c = smtp_client_new(conf, &r.pool, r.now_ms);
    assert_non_null(r.c);
    while (text.n > 0)
        do_line(&r, str_cut(&text, '\n'));
    feed_all(&r);
    assert_int_equal(r.n_events, 0);
    if (r.out.n != 0)
        fail_msg("the script does not expect '%.*s'", STR_FMT(buf_str(&r.out)));
    smtp_client_del(&r.c);
    assert_null(r.c);
    chunk_pool_fini(&r.pool);
    return r.n_fed;
}

static void run_all_ways(const char *text, const struct smtp_client_conf *conf)
{
    size_t n = run_script(text, conf, 0, SIZE_MAX);
    run_script(text, conf, SIZE_MAX, SIZE_MAX);
    run_script(text, conf, SIZE_MAX, 1);
    run_script(text, conf, 0, 7);
    for (size_t at = 1; at < n; at++)
        run_script(text, conf, at, SIZE_MAX);
}

static void test_script(void **state)
{
    const struct script *s = *state;
    const struct smtp_client_conf conf = {
        .helo = STR("me.example"), .lmtp = s->lmtp, .no_pipelining = s->no_pipelining};
    run_all_ways(s->text, &conf);
}

static struct crypto *crypto;

static void test_tls_script(void **state)
{
    const struct tls_script *s = *state;
    struct smtp_client_conf conf = s->conf;
    struct smtp_client_login login = {.crypto = crypto, .user = STR("me"), .password = STR("pw")};
    memset(login.nonce, 'n', sizeof login.nonce);
    conf.helo = STR("me.example");
    if (conf.login != NULL) {
        login.allowed = conf.login->allowed;
        login.by_certificate = conf.login->by_certificate;
        conf.login = &login;
    }
    run_all_ways(s->text, &conf);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

struct talk { /* a client and what it has sent */
    struct chunk_pool pool;
    struct smtp_client *c;
    struct buf sent;
};

static void talk_init(struct talk *t, size_t n_chunks, struct str greeting)
{
    struct smtp_client_conf conf = {.helo = STR("me.example")};
    enum smtp_client_event_kind ev;
    chunk_pool_init(&t->pool, 4096, n_chunks);
    t->c = smtp_client_new(&conf, &t->pool, 1);
    assert_non_null(t->c);
    buf_init(&t->sent, 64 * 1024 * 1024);
    assert_int_equal(smtp_client_feed(t->c, STR("220 mx\r\n"), 1), 8);
    smtp_client_sent(t->c, smtp_client_output(t->c).n, 1);
    assert_int_equal(smtp_client_feed(t->c, greeting, 1), greeting.n);
    assert_true(smtp_client_next(t->c, &ev) && ev == SMTP_CLIENT_READY);
}

static void talk_fini(struct talk *t)
{
    smtp_client_del(&t->c);
    buf_fini(&t->sent);
    chunk_pool_fini(&t->pool);
}

static void talk_flush(struct talk *t, size_t n_max)
{
    struct str out = smtp_client_output(t->c);
    size_t n = out.n < n_max ? out.n : n_max;
    assert_true(out.n <= 64 * 1024);
    assert_true(buf_put(&t->sent, str_of(out.p, n)));
    smtp_client_sent(t->c, n, 1);
    smtp_client_invariants(t->c);
}

static void talk_feed(struct talk *t, struct str in)
{
    talk_flush(t, SIZE_MAX);
    assert_int_equal(smtp_client_feed(t->c, in, 1), in.n);
}

/* A body of many times the output, all dots: nothing is lost, nothing grows. */
static void test_large_body(void **state)
{
    enum { BODY_N = 1024 * 1024 };
    struct talk t;
    struct buf body, back;
    struct dot_decoder d = {0};
    enum smtp_client_event_kind ev;
    UNUSED(state);
    buf_init(&body, 2 * BODY_N);
    buf_init(&back, 2 * BODY_N);
    while (body.n < BODY_N)
        buf_put(&body, STR(".\r\n"));
    talk_init(&t, 64, STR("250 mx\r\n"));
    smtp_client_job(t.c, &jobs[0], 1);
    talk_feed(&t, STR("250 ok\r\n"));
    talk_feed(&t, STR("250 ok\r\n"));
    talk_feed(&t, STR("354 go\r\n"));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_WANT_BODY);
    buf_reset(&t.sent);
    for (struct str rest = buf_str(&body); rest.n > 0; talk_flush(&t, 10007))
        rest = str_skip(rest, smtp_client_body(t.c, rest, 1));
    while (smtp_client_body(t.c, STR("x"), 1) != 0) /* to the last octet of room: the end must wait */
        assert_true(buf_put(&body, STR("x")));
    assert_int_equal(smtp_client_output(t.c).n, 64 * 1024);
    smtp_client_body_end(t.c, 1);
    while (smtp_client_output(t.c).n > 0)
        talk_flush(&t, 333);
    buf_put(&body, STR("\r\n"));
    for (struct str in = buf_str(&t.sent), piece; !d.done || in.n > 0;) {
        size_t n = dot_decode(&d, in, &piece);
        assert_true(n > 0 && buf_put(&back, piece));
        in = str_skip(in, n);
    }
    assert_true(str_eq(buf_str(&back), buf_str(&body)));
    talk_feed(&t, STR("250 ok\r\n"));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    assert_int_equal(smtp_client_results(t.c)[0].outcome, SMTP_OUTCOME_OK);
    buf_fini(&body);
    buf_fini(&back);
    talk_fini(&t);
}

/* As many recipients as a job may have, each as long as it may be, in one pipelined go. */
static void test_many_recipients(void **state)
{
    static char mem[QUEUE_RCPTS_PER_ATTEMPT_MAX][SMTP_PATH_MAX];
    struct rcpt rcpts[QUEUE_RCPTS_PER_ATTEMPT_MAX] = {0};
    struct smtp_client_job job = {.from = STR("a@x.example"), .rcpts = rcpts, .n_rcpts = ARRAY_LEN(rcpts)};
    struct talk t;
    struct buf replies;
    enum smtp_client_event_kind ev;
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++) {
        memset(mem[i], 'r', sizeof mem[i]);
        rcpts[i].address = str_of(mem[i], sizeof mem[i]);
    }
    talk_init(&t, 64, STR("250-mx\r\n250 PIPELINING\r\n"));
    smtp_client_job(t.c, &job, 1);
    while (smtp_client_output(t.c).n > 0)
        talk_flush(&t, 1000);
    assert_true(str_ends(buf_str(&t.sent), STR(">\r\nDATA\r\n")));
    assert_int_equal(t.sent.n,
                     STR("MAIL FROM:<a@x.example>\r\n").n + ARRAY_LEN(rcpts) * (SMTP_PATH_MAX + 12) + 6);
    buf_init(&replies, 1024 * 1024);
    buf_puts(&replies, "250 ok\r\n");
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++)
        buf_printf(&replies, "550-5.1.1 %01000d\r\n550 5.1.1 %01000d\r\n", 1, 2); /* more text than is kept */
    buf_puts(&replies, "554 none\r\n");
    talk_feed(&t, buf_str(&replies));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++) {
        const struct smtp_client_result *r = &smtp_client_results(t.c)[i];
        assert_true(r->outcome == SMTP_OUTCOME_PERMANENT && r->stage == SMTP_AT_RCPT);
        assert_true(r->text.n == SMTP_REPLY_TEXT_MAX || str_find(r->text, STR("lost")) != STR_NPOS);
    }
    assert_int_equal(smtp_client_results(t.c)[QUEUE_RCPTS_PER_ATTEMPT_MAX / 2].text.n, SMTP_REPLY_TEXT_MAX);
    smtp_client_invariants(t.c);
    buf_fini(&replies);
    talk_fini(&t);
}

/* No memory for texts: outcomes and codes stay right. */
static void test_no_memory_for_texts(void **state)
{
    struct talk t;
    enum smtp_client_event_kind ev;
    UNUSED(state);
    talk_init(&t, 0, STR("250 mx\r\n"));
    smtp_client_job(t.c, &jobs[0], 1);
    talk_feed(&t, STR("550 5.7.1 no\r\n"));
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    const struct smtp_client_result *r = smtp_client_results(t.c);
    assert_true(r->outcome == SMTP_OUTCOME_PERMANENT && r->code == 550 && r->esc.subject == 7);
    assert_true(str_find(r->text, STR("lost for lack of memory")) != STR_NPOS);
    smtp_client_job(t.c, &jobs[0], 1);
    smtp_client_eof(t.c, ERR_RESET);
    assert_true(smtp_client_next(t.c, &ev) && ev == SMTP_CLIENT_JOB_DONE);
    assert_true(r->outcome == SMTP_OUTCOME_TEMPORARY && str_eq(r->text, str_from_c(err_str(ERR_RESET))));
    talk_fini(&t);
    talk_init(&t, 0, STR("250 mx\r\n"));
    smtp_client_job(t.c, &jobs[0], 1);
    smtp_client_tick(t.c, smtp_client_deadline(t.c));
    assert_true(smtp_client_next(t.c, &ev) && str_eq(smtp_client_results(t.c)->text, STR("timed out")));
    talk_fini(&t);
}

/* Lines and replies without end stop at the limits of base/limits.h. */
static void test_endless_banner(void **state)
{
    static const struct {
        struct str piece;
        size_t n_max;
    } rows[] = {
        {STR_INIT("x"), 2 * SMTP_REPLY_IN_LINE_MAX},
        {STR_INIT("2"), 2 * SMTP_REPLY_IN_LINE_MAX},
        {STR_INIT("220-hello\r\n"), 2 * SMTP_REPLY_IN_MAX},
        {STR_INIT("220-\n"), 2 * SMTP_REPLY_IN_MAX},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_client_conf conf = {.helo = STR("me.example")};
        struct chunk_pool pool;
        enum smtp_client_event_kind ev;
        chunk_pool_init(&pool, 4096, 64);
        struct smtp_client *c = smtp_client_new(&conf, &pool, 1);
        size_t n = 0;
        while (!smtp_client_next(c, &ev) && n < rows[i].n_max)
            n += smtp_client_feed(c, rows[i].piece, 1);
        assert_true(n < rows[i].n_max);
        assert_int_equal(ev, SMTP_CLIENT_DEAD);
        assert_int_equal(smtp_client_failure(c)->outcome, SMTP_OUTCOME_TEMPORARY);
        smtp_client_del(&c);
        chunk_pool_fini(&pool);
    }
}

/* Events that nobody takes: nothing is read past them, and what has died does not look ready. */
static void test_events_wait(void **state)
{
    static const struct str replies = STR_INIT("250 mx\r\n250 too much\r\n");
    struct smtp_client_conf conf = {.helo = STR("me.example")};
    enum smtp_client_event_kind ev;
    struct chunk_pool pool;
    UNUSED(state);
    chunk_pool_init(&pool, 4096, 64);
    struct smtp_client *c = smtp_client_new(&conf, &pool, 1);
    assert_int_equal(smtp_client_feed(c, STR("220 mx\r\n"), 1), 8);
    smtp_client_sent(c, smtp_client_output(c).n, 1);
    assert_int_equal(smtp_client_feed(c, replies, 1), 8);
    assert_int_equal(smtp_client_feed(c, str_skip(replies, 8), 1), 0);
    assert_true(smtp_client_is_ready(c));
    smtp_client_eof(c, ERR_CLOSED);
    smtp_client_invariants(c);
    assert_true(smtp_client_next(c, &ev) && ev == SMTP_CLIENT_DEAD);
    assert_false(smtp_client_next(c, &ev));
    smtp_client_del(&c);
    chunk_pool_fini(&pool);
}

static void test_names(void **state)
{
    UNUSED(state);
    for (unsigned i = SMTP_AT_CONNECT; i <= SMTP_AT_AUTH; i++)
        assert_true(str_from_c(smtp_client_stage_name((enum smtp_client_stage)i)).n > 0);
    assert_string_equal(smtp_client_stage_name(SMTP_AT_END), "end of data");
    for (unsigned i = SMTP_AT_CONNECT; i <= SMTP_AT_AUTH; i++)
        assert_int_equal(smtp_client_stage_is_early((enum smtp_client_stage)i),
                         i < SMTP_AT_MAIL || i >= SMTP_AT_TLS);
    assert_false(smtp_client_stage_is_early((enum smtp_client_stage)255));
}

static struct CMUnitTest script_as_test(const char *name, CMUnitTestFunction fn, const void *of)
{
    union {
        const void *in;
        void *out;
    } state = {of}; /* cmocka's state is not const */
    return (struct CMUnitTest){.name = name, .test_func = fn, .initial_state = state.out};
}

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_many_recipients),
        cmocka_unit_test(test_no_memory_for_texts),
        cmocka_unit_test(test_endless_banner),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_events_wait),
    };
    struct CMUnitTest tests[ARRAY_LEN(scripts) + ARRAY_LEN(tls_scripts) + ARRAY_LEN(others)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
        tests[n++] = script_as_test(scripts[i].name, test_script, &scripts[i]);
    for (size_t i = 0; i < ARRAY_LEN(tls_scripts); i++)
        tests[n++] = script_as_test(tls_scripts[i].name, test_tls_script, &tls_scripts[i]);
    memcpy(tests + n, others, sizeof others);
    memset(bound.exporter, 'x', sizeof bound.exporter);
    if (crypto_new(&crypto) != ERR_OK)
        return 1;
    int n_failed = _cmocka_run_group_tests("smtp_client", tests, ARRAY_LEN(tests), NULL, NULL);
    crypto_del(&crypto);
    return n_failed;
}
