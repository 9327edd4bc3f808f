/* The dialogues are in tests/dialogue; here is what a dialogue can't show: every command in every phase,
 * memory, clocks, limits, questions, random input.
 */
#include "base/mem.h"
#include "base/rand.h"
#include "proto/smtp_server_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

enum { NOW = 1000000 };

/* An owner that answers everything well unless told otherwise. */
struct owner {
    struct smtp_server_conf conf;
    struct chunk_pool pool;
    struct smtp_server s;
    struct buf out;
    enum smtp_event_kind stop_at; /* a question of this kind is left open */
    uint32_t question;            /* the open one */
    enum smtp_reply_id refuse;    /* questions of kind refuse_kind get this */
    enum smtp_event_kind refuse_kind;
    uint64_t n_body, now_ms;
    unsigned n_aborts, n_closes, n_messages;
    enum smtp_reply_id closed_by;
};

static struct owner *owner_new(void)
{
    struct owner *o = mem_must_new(struct owner);
    o->now_ms = NOW;
    o->conf.hostname = STR("mx.example.org");
    chunk_pool_init(&o->pool, 4096, 1000);
    buf_init(&o->out, 16 * 1024 * 1024);
    smtp_server_init(&o->s, &o->conf, &o->pool, NOW);
    return o;
}

static void owner_del(struct owner *o)
{
    smtp_server_fini(&o->s);
    assert_int_equal(o->pool.n_lent, 0);
    chunk_pool_fini(&o->pool);
    buf_fini(&o->out);
    mem_free(o);
}

static void answer(struct owner *o, const struct smtp_event *ev, enum smtp_reply_id id)
{
    if (o->refuse != R_NONE && o->refuse_kind == ev->kind)
        id = o->refuse;
    if (o->stop_at == ev->kind)
        o->question = ev->question;
    else
        smtp_server_answer(&o->s, ev->question, id, STR("x"));
}

static void take_events(struct owner *o)
{
    struct smtp_event ev;
    while (smtp_server_next(&o->s, &ev)) {
        switch (ev.kind) {
        case SMTP_EV_MAIL:
            answer(o, &ev, R_MAIL_OK);
            break;
        case SMTP_EV_RCPT:
            answer(o, &ev, R_RCPT_OK);
            break;
        case SMTP_EV_DATA:
            answer(o, &ev, R_DATA_GO);
            break;
        case SMTP_EV_BODY:
            o->n_body += ev.body.n;
            break;
        case SMTP_EV_EXPN:
            answer(o, &ev, R_EXPN);
            break;
        case SMTP_EV_ETRN:
            answer(o, &ev, R_ETRN_NOTHING);
            break;
        case SMTP_EV_XCLIENT:
            answer(o, &ev, R_GREETING);
            break;
        case SMTP_EV_STARTTLS:
            answer(o, &ev, R_TLS_GO);
            break;
        case SMTP_EV_AUTH:
            answer(o, &ev, R_AUTH_LATER);
            break;
        case SMTP_EV_LOGIN:
            answer(o, &ev, R_AUTH_OK);
            break;
        case SMTP_EV_MESSAGE:
            o->n_messages++;
            for (uint32_t n = smtp_server_answers_due(&o->s); n > 0; n--)
                answer(o, &ev, R_QUEUED);
            break;
        case SMTP_EV_ABORT:
            o->n_aborts++;
            break;
        case SMTP_EV_CLOSE:
            o->n_closes++;
            o->closed_by = ev.reply;
            break;
        }
        smtp_server_invariants(&o->s);
    }
}

static void take_output(struct owner *o)
{
    struct str out = smtp_server_output(&o->s);
    buf_put(&o->out, out);
    smtp_server_sent(&o->s, out.n);
}

/* Octets that were not consumed. */
static size_t feed(struct owner *o, struct str in)
{
    size_t n = 1;
    while (n > 0) {
        n = smtp_server_feed(&o->s, in, o->now_ms);
        in = str_skip(in, n);
        smtp_server_invariants(&o->s);
        take_events(o);
        take_output(o);
    }
    return in.n;
}

static void say(struct owner *o, const char *text)
{
    assert_int_equal(feed(o, str_from_c(text)), 0);
}

static void greet(struct owner *o)
{
    smtp_server_greet(&o->s, R_GREETING);
    take_output(o);
}

/* Code of the last reply line, or 0. */
static unsigned last_code(const struct owner *o)
{
    struct str s = buf_str(&o->out);
    if (s.n < 5)
        return 0;
    size_t lf = str_rchr(str_slice(s, 0, s.n - 2), '\n');
    struct str line = lf == STR_NPOS ? s : str_skip(s, lf + 1);
    uint64_t code;
    return str_to_u64(str_slice(line, 0, 3), 999, &code) ? (unsigned)code : 0;
}

static void to_phase(struct owner *o, enum smtp_server_phase phase)
{
    greet(o);
    if (phase >= SMTP_SERVER_READY)
        say(o, o->conf.lmtp ? "LHLO client\r\n" : "EHLO client\r\n");
    if (phase >= SMTP_SERVER_MAIL)
        say(o, "MAIL FROM:<a@example.org>\r\n");
    if (phase >= SMTP_SERVER_RCPT)
        say(o, "RCPT TO:<joe@localhost>\r\n");
    if (phase == SMTP_SERVER_DATA)
        say(o, "DATA\r\n");
    if (phase == SMTP_SERVER_BDAT)
        say(o, "BDAT 2\r\n\r\n");
    assert_int_equal(smtp_server_phase(&o->s), phase);
}

/* ---- every command in every phase ---------------------------------------------------------------------- */

static const enum smtp_server_phase phases[] = {SMTP_SERVER_HELLO, SMTP_SERVER_READY, SMTP_SERVER_MAIL,
                                                SMTP_SERVER_RCPT, SMTP_SERVER_BDAT};

/* clang-format off */
static const struct {
    const char *line;
    uint16_t smtp[ARRAY_LEN(phases)], lmtp[ARRAY_LEN(phases)];
} matrix[] = {
 /*  command                        SMTP: HELLO READY MAIL RCPT BDAT   LMTP */
  { "MAIL FROM:<b@example.org>",     { 503, 250, 503, 503, 503 },      { 503, 250, 503, 503, 503 } },
  { "RCPT TO:<ann@localhost>",       { 503, 503, 250, 250, 503 },      { 503, 503, 250, 250, 503 } },
  { "DATA",                          { 503, 503, 503, 354, 503 },      { 503, 503, 503, 354, 503 } },
  { "BDAT 0",                        { 503, 503, 503, 250, 250 },      { 503, 503, 503, 250, 250 } },
  { "BDAT 0 LAST",                   { 503, 503, 503, 250, 250 },      { 503, 503, 503, 250, 250 } },
  { "BDAT",                          { 501, 501, 501, 501, 501 },      { 501, 501, 501, 501, 501 } },
  { "RSET",                          { 250, 250, 250, 250, 250 },      { 250, 250, 250, 250, 250 } },
  { "NOOP",                          { 250, 250, 250, 250, 250 },      { 250, 250, 250, 250, 250 } },
  { "QUIT",                          { 221, 221, 221, 221, 221 },      { 221, 221, 221, 221, 221 } },
  { "EHLO other",                    { 250, 250, 250, 250, 250 },      { 500, 500, 500, 500, 500 } },
  { "HELO other",                    { 250, 250, 250, 250, 250 },      { 500, 500, 500, 500, 500 } },
  { "LHLO other",                    { 500, 500, 500, 500, 500 },      { 250, 250, 250, 250, 250 } },
  { "VRFY joe",                      { 252, 252, 252, 252, 252 },      { 252, 252, 252, 252, 252 } },
  { "HELP",                          { 214, 214, 214, 214, 214 },      { 214, 214, 214, 214, 214 } },
  { "AUTH PLAIN",                    { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "STARTTLS",                      { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "EXPN list",                     { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "ETRN x",                        { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "XCLIENT ADDR=192.0.2.1",        { 550, 550, 550, 550, 550 },      { 550, 550, 550, 550, 550 } },
  { "ATRN",                          { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "TURN",                          { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "SEND FROM:<>",                  { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "SOML FROM:<>",                  { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "SAML FROM:<>",                  { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "BURL x",                        { 502, 502, 502, 502, 502 },      { 502, 502, 502, 502, 502 } },
  { "NOSUCH",                        { 500, 500, 500, 500, 500 },      { 500, 500, 500, 500, 500 } },
  { "",                              { 500, 500, 500, 500, 500 },      { 500, 500, 500, 500, 500 } },
};
/* clang-format on */

static void say_line(struct owner *o, const char *line)
{
    char mem[200];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_puts(&b, line);
    buf_puts(&b, "\r\n");
    assert_int_equal(feed(o, buf_str(&b)), 0);
}

static void try_command(const char *line, enum smtp_server_phase phase, bool lmtp, unsigned code)
{
    struct owner *o = owner_new();
    o->conf.lmtp = lmtp;
    to_phase(o, phase);
    say_line(o, line);
    if (last_code(o) != code)
        print_error("%s in phase %d: %u\n", line, (int)phase, last_code(o));
    assert_int_equal(last_code(o), code);
    bool is_hello = code == 250 && str_ends(str_slice(str_from_c(line), 0, 4), STR("LO"));
    if (is_hello)
        assert_int_equal(smtp_server_phase(&o->s), SMTP_SERVER_READY);
    owner_del(o);
}

static void each_command_in_each_phase(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
        for (size_t p = 0; p < ARRAY_LEN(phases); p++) {
            try_command(matrix[i].line, phases[p], false, matrix[i].smtp[p]);
            try_command(matrix[i].line, phases[p], true, matrix[i].lmtp[p]);
        }
    }
}

/* The matrix has each verb of the command table. */
static void matrix_is_complete(void **state)
{
    UNUSED(state);
    size_t n = 0;
    for (; smtp_server_verb(n).n > 0; n++) {
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(matrix); i++)
            found |= str_starts(str_from_c(matrix[i].line), smtp_server_verb(n));
        assert_true(found);
    }
    assert_true(n > 20);
    for (n = 0; smtp_server_keyword(n).n > 0; n++)
        ;
    assert_int_equal(n, 20);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void one_message(struct owner *o)
{
    say(o, "MAIL FROM:<a@example.org>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\nx\r\n.\r\n");
}

static void idle_session_owns_nothing(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    to_phase(o, SMTP_SERVER_READY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(o->pool.n_lent, 0);
        assert_null(o->s.out.p);
        one_message(o);
        assert_int_equal(last_code(o), 250);
    }
    assert_int_equal(o->n_messages, 3);
    say(o, "MAIL FROM:<a@example.org>\r\n");
    assert_int_equal(o->pool.n_lent, 1);
    say(o, "RSET\r\n");
    assert_int_equal(o->pool.n_lent, 0);
    assert_true(sizeof(struct smtp_server) <= 1344);
    owner_del(o);
}

/* With n chunks: each reply is a good one or a 452, and the session lives. */
static void each_chunk_may_fail(void **state)
{
    UNUSED(state);
    bool all = false;
    for (size_t n = 0; !all; n++) {
        struct owner *o = owner_new();
        o->pool.n_max = n;
        to_phase(o, SMTP_SERVER_READY);
        say(o, "MAIL FROM:<a@example.org>\r\n");
        bool mail = last_code(o) == 250;
        assert_true(mail || last_code(o) == 452);
        all = mail;
        unsigned taken = 0;
        for (int i = 0; i < 50 && mail; i++) {
            say(o, "RCPT TO:<a-name-of-some-length@localhost>\r\n");
            taken += last_code(o) == 250;
            all &= last_code(o) == 250;
            assert_true(last_code(o) == 250 || last_code(o) == 452);
        }
        if (taken > 0)
            assert_int_equal(smtp_server_transaction(&o->s)->n_rcpts, taken);
        say(o, "NOOP\r\n");
        assert_int_equal(last_code(o), 250);
        owner_del(o);
        assert_true(n < 100);
    }
}

/* A reply that can't be stored ends the session; what is in hand is given up. */
/* As many recipients as are taken, at most n. */
static unsigned fill(struct owner *o, struct chunk_pool *pool, unsigned n)
{
    unsigned i = 0;
    smtp_server_init(&o->s, &o->conf, pool, NOW);
    to_phase(o, SMTP_SERVER_MAIL);
    assert_int_equal(last_code(o), 250);
    while (i < n) {
        say(o, "RCPT TO:<joe@localhost>\r\n");
        if (last_code(o) != 250)
            break;
        i++;
    }
    return i;
}

/* Sessions with many recipients leave room for those with few. */
static void many_recipients_leave_room(void **state)
{
    UNUSED(state);
    enum { MANY = 12, FEW = 5 };
    struct owner *all[MANY + FEW];
    struct chunk_pool pool;
    chunk_pool_init(&pool, 4096, 1000);
    for (size_t i = 0; i < MANY; i++) {
        all[i] = owner_new();
        unsigned n = fill(all[i], &pool, SMTP_RCPT_MAX);
        assert_true(n >= 100);
        bool is_told = str_find(buf_str(&all[i]->out), STR("452 4.5.3 a message may have 100 ")) != STR_NPOS;
        assert_true(is_told || n == SMTP_RCPT_MAX);
        assert_true(pool.n_lent < pool.n_max);
    }
    for (size_t i = MANY; i < MANY + FEW; i++) {
        all[i] = owner_new();
        assert_int_equal(fill(all[i], &pool, 10), 10);
    }
    for (size_t i = 0; i < MANY + FEW; i++) {
        smtp_server_fini(&all[i]->s);
        owner_del(all[i]);
    }
    chunk_pool_fini(&pool);
}

static void no_memory_for_a_reply(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    to_phase(o, SMTP_SERVER_DATA);
    say(o, "half");
    o->s.out.max = 10;
    say(o, " a message\r\n.\r\n");
    assert_int_equal(o->n_closes, 1);
    assert_int_equal(o->n_aborts, 1);
    assert_int_equal(o->closed_by, R_NONE);
    assert_int_equal(smtp_server_phase(&o->s), SMTP_SERVER_CLOSED);
    owner_del(o);
}

static void output_holds_input_back(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    o->conf.junk_max = 1000000;
    to_phase(o, SMTP_SERVER_READY);
    struct buf in;
    buf_init(&in, 1024 * 1024);
    for (int i = 0; i < 20000; i++)
        buf_puts(&in, "RSET\r\n");
    size_t at = 0, n;
    while ((n = smtp_server_feed(&o->s, str_skip(buf_str(&in), at), NOW)) > 0)
        at += n;
    assert_true(at < in.n && smtp_server_output(&o->s).n < SMTP_SERVER_OUTPUT_HIGH + SMTP_REPLY_LINE_MAX);
    smtp_server_sent(&o->s, 100);
    assert_true(smtp_server_feed(&o->s, str_skip(buf_str(&in), at), NOW) > 0);
    take_output(o);
    assert_int_equal(feed(o, STR("NOOP\r\n")), 0);
    buf_fini(&in);
    owner_del(o);
}

/* ---- limits -------------------------------------------------------------------------------------------- */

static void size_limit_is_exact(void **state)
{
    UNUSED(state);
    enum { PIECE = 65536 };
    char *piece = mem_must_alloc(PIECE);
    memset(piece, 'x', PIECE);
    for (int over = 0; over < 2; over++) {
        struct owner *o = owner_new();
        to_phase(o, SMTP_SERVER_DATA);
        uint64_t left = (uint64_t)SMTP_SIZE_DEFAULT - 2 + (unsigned)over;
        while (left > 0) {
            size_t n = left < PIECE ? (size_t)left : PIECE;
            assert_int_equal(feed(o, str_of(piece, n)), 0);
            left -= n;
        }
        say(o, "\r\n.\r\n");
        assert_int_equal(last_code(o), over ? 552 : 250);
        assert_int_equal(o->n_messages, over ? 0 : 1);
        assert_int_equal(o->n_aborts, over);
        if (!over)
            assert_int_equal(o->n_body, SMTP_SIZE_DEFAULT);
        owner_del(o);
    }
    mem_free(piece);
}

static void command_line_limit_is_exact(void **state)
{
    UNUSED(state);
    for (int over = 0; over < 2; over++) {
        for (size_t cut = 0; cut < 3; cut++) {
            struct owner *o = owner_new();
            struct buf in;
            to_phase(o, SMTP_SERVER_READY);
            buf_init(&in, 2 * (size_t)SMTP_COMMAND_LINE_MAX);
            buf_puts(&in, "NOOP ");
            while (in.n < (size_t)SMTP_COMMAND_LINE_MAX - 2 + (size_t)over)
                buf_putc(&in, 'x');
            buf_puts(&in, "\r\n");
            /* whole, without its end, and in the middle of its end */
            size_t first = in.n - cut;
            size_t left = feed(o, str_slice(buf_str(&in), 0, first));
            assert_int_equal(feed(o, str_skip(buf_str(&in), first - left)), 0);
            assert_int_equal(last_code(o), over ? 500 : 250);
            buf_fini(&in);
            owner_del(o);
        }
    }
}

static void thousand_longest_recipients(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    o->pool.n_max = 1024;
    to_phase(o, SMTP_SERVER_MAIL);
    struct buf in;
    buf_init(&in, 4096);
    buf_puts(&in, "RCPT TO:<");
    for (int i = 0; i < SMTP_LOCAL_PART_TAKEN_MAX - 2; i++)
        buf_putc(&in, 'u');
    buf_putc(&in, '@');
    for (int i = 0; i < 63; i++)
        buf_puts(&in, "aaa.");
    buf_puts(&in, "aaa>\r\n");
    for (int i = 0; i < SMTP_RCPT_MAX; i++) {
        assert_int_equal(feed(o, buf_str(&in)), 0);
        assert_int_equal(last_code(o), 250);
    }
    assert_int_equal(feed(o, buf_str(&in)), 0);
    assert_int_equal(last_code(o), 452);
    const struct smtp_server_transaction *t = smtp_server_transaction(&o->s);
    for (uint32_t i = 0; i < t->n_rcpts; i++) {
        const struct address *a = &t->rcpts[i].to;
        assert_int_equal(a->text.n, SMTP_PATH_MAX - 2);
        assert_int_equal(a->local.n, SMTP_LOCAL_PART_TAKEN_MAX - 2);
        assert_int_equal(a->domain.n, SMTP_DOMAIN_MAX);
        assert_true(a->local.p == a->text.p && a->domain.p == a->text.p + a->local.n + 1);
    }
    buf_fini(&in);
    owner_del(o);
}

/* ---- questions ----------------------------------------------------------------------------------------- */

static void open_question_stops_input(void **state)
{
    UNUSED(state);
    static const struct {
        enum smtp_event_kind kind;
        const char *line;
        enum smtp_server_phase before;
        enum smtp_reply_id good;
    } table[] = {
        {SMTP_EV_MAIL, "MAIL FROM:<a@example.org>\r\n", SMTP_SERVER_READY, R_MAIL_OK},
        {SMTP_EV_RCPT, "RCPT TO:<joe@localhost>\r\n", SMTP_SERVER_MAIL, R_RCPT_OK},
        {SMTP_EV_DATA, "DATA\r\n", SMTP_SERVER_RCPT, R_DATA_GO},
        {SMTP_EV_DATA, "BDAT 0\r\n", SMTP_SERVER_RCPT, R_DATA_GO},
        {SMTP_EV_MESSAGE, "x\r\n.\r\n", SMTP_SERVER_DATA, R_QUEUED},
        {SMTP_EV_MESSAGE, "BDAT 0 LAST\r\n", SMTP_SERVER_BDAT, R_QUEUED},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (int way = 0; way < 4; way++) {
            struct owner *o = owner_new();
            to_phase(o, table[i].before);
            o->stop_at = table[i].kind;
            say(o, table[i].line);
            assert_int_not_equal(o->question, 0);
            assert_int_equal(feed(o, STR("NOOP\r\n")), 6);
            smtp_server_answer(&o->s, o->question + 1, R_SHUTDOWN, STR_NIL); /* no such question */
            smtp_server_answer(&o->s, 0, R_SHUTDOWN, STR_NIL);
            smtp_server_invariants(&o->s);
            assert_non_null(smtp_server_transaction(&o->s));
            unsigned aborts = table[i].kind == SMTP_EV_MESSAGE || table[i].before == SMTP_SERVER_BDAT;
            if (way == 0)
                smtp_server_answer(&o->s, o->question, table[i].good, STR_NIL);
            else if (way == 1)
                smtp_server_answer(&o->s, o->question, R_STORE_BUSY, STR_NIL);
            else if (way == 2)
                smtp_server_close(&o->s, R_SHUTDOWN);
            else
                smtp_server_eof(&o->s);
            take_events(o);
            smtp_server_answer(&o->s, o->question, R_SHUTDOWN, STR_NIL); /* too late */
            take_output(o);
            assert_int_equal(o->n_closes, way >= 2);
            assert_int_equal(o->n_aborts, way >= 2 ? aborts : 0);
            if (way < 2 && !(table[i].kind == SMTP_EV_DATA && way == 0)) {
                say(o, "NOOP\r\n");
                assert_int_equal(last_code(o), 250);
            }
            owner_del(o);
        }
    }
}

static void untaken_events_stop_input(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    struct smtp_event ev;
    to_phase(o, SMTP_SERVER_DATA);
    assert_int_equal(smtp_server_feed(&o->s, STR("some\r\n"), NOW), 6);
    assert_int_equal(smtp_server_feed(&o->s, STR("more\r\n"), NOW), 0);
    assert_true(smtp_server_next(&o->s, &ev));
    assert_int_equal(ev.kind, SMTP_EV_BODY);
    assert_true(str_eq(ev.body, STR("some\r\n")));
    assert_false(smtp_server_next(&o->s, &ev));
    /* closed with octets and a question not yet taken: the owner hears of the end only */
    assert_int_equal(smtp_server_feed(&o->s, STR("more\r\n.\r\n"), NOW), 7);
    smtp_server_eof(&o->s);
    assert_true(smtp_server_next(&o->s, &ev) && ev.kind == SMTP_EV_ABORT);
    assert_true(smtp_server_next(&o->s, &ev) && ev.kind == SMTP_EV_CLOSE);
    assert_false(smtp_server_next(&o->s, &ev));
    owner_del(o);
}

static void lmtp_answers_one_by_one(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    o->conf.lmtp = true;
    to_phase(o, SMTP_SERVER_RCPT);
    say(o, "RCPT TO:<ann@localhost>\r\nDATA\r\n");
    o->stop_at = SMTP_EV_MESSAGE;
    say(o, "x\r\n.\r\n");
    smtp_server_answer(&o->s, o->question, R_QUEUED, STR("x"));
    smtp_server_invariants(&o->s);
    assert_int_equal(feed(o, STR("NOOP\r\n")), 6);
    assert_int_equal(smtp_server_transaction(&o->s)->n_rcpts, 2);
    smtp_server_answer(&o->s, o->question, R_STORE_FULL, STR_NIL);
    assert_null(smtp_server_transaction(&o->s));
    smtp_server_answer(&o->s, o->question, R_STORE_FULL, STR_NIL); /* one too many is not heard */
    take_output(o);
    assert_int_equal(last_code(o), 452);
    say(o, "NOOP\r\n");
    assert_int_equal(last_code(o), 250);
    owner_del(o);
}

/* A group ends with DATA and its like: the owner gets the floor, to send the replies. */
static void groups_end(void **state)
{
    UNUSED(state);
    static const struct {
        const char *in;
        size_t n;
    } table[] = {
        {"NOOP\r\nRSET\r\n", 6},   {"RSET\r\nRSET\r\n", 12}, {"RSET\r\nEHLO x\r\nRSET\r\n", 14},
        {"VRFY x\r\nRSET\r\n", 8}, {"QUIT\r\nRSET\r\n", 6},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct owner *o = owner_new();
        to_phase(o, SMTP_SERVER_READY);
        assert_int_equal(smtp_server_feed(&o->s, str_from_c(table[i].in), NOW), table[i].n);
        take_events(o);
        owner_del(o);
    }
}

/* ---- clocks -------------------------------------------------------------------------------------------- */

static void deadlines(void **state)
{
    UNUSED(state);
    static const struct {
        enum smtp_server_phase phase;
        uint64_t due_ms;
    } table[] = {
        {SMTP_SERVER_HELLO, 7000}, {SMTP_SERVER_READY, 7000}, {SMTP_SERVER_MAIL, 7000},
        {SMTP_SERVER_RCPT, 7000},  {SMTP_SERVER_DATA, 5000},  {SMTP_SERVER_BDAT, 7000},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct owner *o = owner_new();
        o->conf.command_ms = 7000;
        o->conf.data_ms = 5000;
        o->conf.transaction_ms = 20000;
        o->conf.rate_window_ms = 6000;
        to_phase(o, table[i].phase);
        assert_int_equal(smtp_server_deadline(&o->s), NOW + table[i].due_ms);
        smtp_server_tick(&o->s, NOW); /* the answers' tick */
        smtp_server_tick(&o->s, NOW + table[i].due_ms - 1);
        assert_int_equal(o->s.pending, 0);
        smtp_server_tick(&o->s, NOW + table[i].due_ms);
        take_events(o);
        take_output(o);
        assert_int_equal(last_code(o), 421);
        assert_int_equal(o->closed_by, R_TIMEOUT);
        smtp_server_tick(&o->s, NOW + 100000);
        assert_int_equal(o->n_closes, 1);
        owner_del(o);
    }
}

static void presets_are_the_limits(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    to_phase(o, SMTP_SERVER_READY);
    assert_int_equal(smtp_server_deadline(&o->s), NOW + SMTP_SERVER_COMMAND_MS);
    say(o, "MAIL FROM:<>\r\n");
    o->now_ms += (uint64_t)SMTP_SERVER_TRANSACTION_MS - 1;
    say(o, "NOOP\r\n");
    assert_int_equal(smtp_server_deadline(&o->s), NOW + SMTP_SERVER_TRANSACTION_MS);
    owner_del(o);
}

/* The owner's thinking is not the client's time. */
static void questions_stop_the_clock(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    to_phase(o, SMTP_SERVER_DATA);
    o->stop_at = SMTP_EV_MESSAGE;
    say(o, "x\r\n.\r\n");
    smtp_server_tick(&o->s, NOW + 2 * (uint64_t)SMTP_SERVER_TRANSACTION_MS);
    assert_int_equal(o->s.pending, 0);
    smtp_server_answer(&o->s, o->question, R_QUEUED, STR("x"));
    uint64_t later = NOW + 3 * (uint64_t)SMTP_SERVER_TRANSACTION_MS;
    smtp_server_tick(&o->s, later);
    assert_int_equal(smtp_server_deadline(&o->s), later + SMTP_SERVER_COMMAND_MS);
    smtp_server_tick(&o->s, later + SMTP_SERVER_COMMAND_MS);
    take_events(o);
    assert_int_equal(o->closed_by, R_TIMEOUT);
    owner_del(o);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void on_the_heap(void **state)
{
    UNUSED(state);
    struct owner *o = owner_new();
    struct smtp_server *s = smtp_server_new(&o->conf, &o->pool, NOW);
    assert_non_null(s);
    assert_int_equal(smtp_server_feed(s, STR("QUIT\r\n"), NOW), 0); /* nothing before the greeting */
    smtp_server_greet(s, R_GREETING);
    assert_true(str_eq(smtp_server_output(s), STR("220 mx.example.org ESMTP\r\n")));
    assert_int_equal(smtp_server_feed(s, STR("EHLO a.example\r\n"), NOW), 16);
    assert_true(str_eq(smtp_server_helo(s), STR("a.example")) && smtp_server_is_esmtp(s));
    assert_int_equal(smtp_server_feed(s, STR("HELO b\r\n"), NOW), 8);
    assert_true(str_eq(smtp_server_helo(s), STR("b")) && !smtp_server_is_esmtp(s));
    smtp_server_del(&s);
    assert_null(s);
    smtp_server_del(&s);
    owner_del(o);
}

static void longest_names(void **state)
{
    UNUSED(state);
    char name[SMTP_DOMAIN_MAX];
    memset(name, 'n', sizeof name);
    struct owner *o = owner_new();
    o->conf.hostname = str_of(name, sizeof name);
    o->conf.banner = str_of(name, sizeof name);
    greet(o);
    assert_true(o->out.n <= SMTP_REPLY_LINE_MAX);
    say_line(o, "EHLO x");
    smtp_server_close(&o->s, R_TOO_MANY_ERRORS);
    take_output(o);
    struct str rest = buf_str(&o->out);
    while (rest.n > 0)
        assert_true(str_cut(&rest, '\n').n < SMTP_REPLY_LINE_MAX);
    owner_del(o);
}

/* ---- random input -------------------------------------------------------------------------------------- */

static const char *const pieces[] = {
    "EHLO x\r\n",
    "HELO y\r\n",
    "LHLO z\r\n",
    "MAIL FROM:<a@example.org>\r\n",
    "MAIL FROM:<>\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "DATA\r\n",
    "RCPT TO:<joe@localhost>\r\n",
    "RCPT TO:<ann@x.example>\r\n",
    "BDAT 5\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 3 LAST\r\n",
    "BDAT 0\r\n",
    "abc",
    "\r\n.\r\n",
    "\n",
    "\r",
    ".",
    "x\r\n",
    "\r\n.\r\n",
    ".\r\n",
    "VRFY q\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n",
    "AUTH LOGIN\r\n",
    "AUTH SCRAM-SHA-256 biwsbj1qb2Uscj1hYmNkZWY=\r\n",
    "am9l\r\n",
    "*\r\n",
    "MAIL FROM:<a@b> SIZE=1\r\n",
    "\xff\x00",
    "MAIL FROM:<a@example.org>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\n",
};

static enum smtp_reply_id random_answer(struct rng *r, enum smtp_event_kind kind)
{
    static const enum smtp_reply_id bad[] = {R_STORE_BUSY, R_NO_SUCH_USER, R_LOOP, R_NO_MEMORY};
    if (rng_below(r, 5) == 0)
        return bad[rng_below(r, ARRAY_LEN(bad))];
    return kind == SMTP_EV_MAIL   ? R_MAIL_OK
           : kind == SMTP_EV_RCPT ? R_RCPT_OK
           : kind == SMTP_EV_DATA ? R_DATA_GO
                                  : R_QUEUED;
}

/* What an owner may rely on, whatever comes: octets and messages only while granted, an end to each grant. */
struct watch {
    bool is_granted, is_closed;
    uint64_t n_octets;
};

static void random_auth(struct smtp_server *s, struct rng *r, const struct smtp_event *ev)
{
    static const struct sasl_server_conf conf = {.mechanisms = SASL_ALL,
                                                 .nonce = STR_INIT("a nonce of more than 18")};
    struct sasl_answer a = {.verdict = (enum sasl_verdict)(1 + rng_below(r, 3)),
                            .salt = STR("salt"),
                            .iterations = SCRAM_ITERATIONS_MIN,
                            .login = STR("joe")};
    if (rng_below(r, 10) == 0)
        smtp_server_answer(s, ev->question, R_AUTH_TOO_MANY, STR_NIL);
    else if (ev->sasl == NULL)
        smtp_server_auth_begin(s, ev->question, &conf);
    else
        smtp_server_auth_answer(s, ev->question, &a);
}

static void random_event(struct smtp_server *s, struct rng *r, struct watch *w, const struct smtp_event *ev)
{
    enum smtp_reply_id id = random_answer(r, ev->kind);
    bool good = smtp_reply_row(id)->code < 400;
    assert_false(w->is_closed);
    switch (ev->kind) {
    case SMTP_EV_DATA:
        assert_false(w->is_granted);
        w->is_granted = good;
        w->n_octets = 0;
        break;
    case SMTP_EV_BODY:
        assert_true(w->is_granted);
        w->n_octets += ev->body.n;
        return;
    case SMTP_EV_MESSAGE:
        assert_true(w->is_granted);
        assert_int_equal(smtp_server_transaction(s)->size, w->n_octets);
        w->is_granted = false;
        for (uint32_t n = smtp_server_answers_due(s); n > 1; n--)
            smtp_server_answer(s, ev->question, R_QUEUED, STR("x"));
        break;
    case SMTP_EV_ABORT:
        assert_true(w->is_granted);
        w->is_granted = false;
        return;
    case SMTP_EV_CLOSE:
        assert_false(w->is_granted);
        w->is_closed = true;
        return;
    case SMTP_EV_MAIL:
    case SMTP_EV_RCPT:
    case SMTP_EV_EXPN:
    case SMTP_EV_ETRN:
    case SMTP_EV_XCLIENT:
        break;
    case SMTP_EV_STARTTLS:
        id = R_TLS_GO;
        break;
    case SMTP_EV_LOGIN:
        id = good ? R_AUTH_OK : id;
        break;
    case SMTP_EV_AUTH:
        random_auth(s, r, ev);
        return;
    }
    smtp_server_answer(s, ev->question, id, STR("x"));
}

/* Who speaks before a late greeting is refused; the owner's greeting comes too late then. */
static void early_talkers(void **state)
{
    UNUSED(state);
    static const struct {
        struct str says;
        enum smtp_reply_id by;
    } rows[] = {
        {STR_INIT("E"), R_TALKS_EARLY},
        {STR_INIT("EHLO x\r\n"), R_TALKS_EARLY},
        {STR_INIT("\x16\x03\x01"), R_NOT_TLS},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct owner *o = owner_new();
        o->conf.greets_late = true;
        assert_int_equal(feed(o, STR("")), 0);
        assert_int_equal(smtp_server_phase(&o->s), SMTP_SERVER_GREETING);
        assert_int_equal(feed(o, rows[i].says), 0);
        assert_int_equal(o->closed_by, rows[i].by);
        assert_int_equal(last_code(o), 554);
        smtp_server_greet(&o->s, R_GREETING);
        assert_int_equal(smtp_server_output(&o->s).n, 0);
        owner_del(o);
    }
    struct owner *o = owner_new(); /* without the switch the octets wait */
    assert_int_equal(feed(o, STR("EHLO x\r\n")), 8);
    greet(o);
    say(o, "EHLO x\r\n");
    assert_int_equal(last_code(o), 250);
    owner_del(o);
}

/* In one pass, octet by octet, and by newlines_size(): the same mended form. */
static void newlines_are_mended(void **state)
{
    UNUSED(state);
    static const char *const rows[][2] = {
        {"", ""},
        {"a\r\nb", "a\r\nb"},
        {"a\nb\n", "a\r\nb\r\n"},
        {"a\rb\r", "a\r\nb\r\n"},
        {"\r\r\n\n\r", "\r\n\r\n\r\n\r\n"},
        {"\n.\n..\n.a\n..b\n...", "\r\n.\r\n.\r\n.a\r\n.b\r\n.."},
        {"a\r\n..b", "a\r\n..b"}, /* stuffed dots of true lines are taken off before */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str in = str_from_c(rows[i][0]), want = str_from_c(rows[i][1]);
        for (size_t step = 1; step <= in.n + 1; step++) {
            char mem[100];
            struct buf out;
            struct newlines n = {.unstuffs = true};
            size_t size = 0;
            buf_init_fixed(&out, mem, sizeof mem);
            for (size_t at = 0; at < in.n; at += step) {
                struct str part = str_slice(in, at, at + step), piece;
                n.at_end = at + step >= in.n;
                size += newlines_size(n, part);
                while ((piece = newlines_next(&n, &part)).n > 0)
                    buf_put(&out, piece);
            }
            assert_true(str_eq(buf_str(&out), want));
            assert_int_equal(size, want.n);
        }
    }
}

static void random_input(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct rng r;
        struct watch w = {0};
        struct smtp_event ev;
        struct owner *o = owner_new();
        struct buf in;
        rng_seed(&r, seed);
        buf_init(&in, 65536);
        o->conf.lmtp = seed % 4 == 0;
        o->conf.size_max = 20;
        o->conf.rcpt_max = 3;
        o->conf.starttls = seed % 3 == 0;
        o->conf.auth = seed % 5 != 0;
        o->pool.n_max = rng_below(&r, 10) == 0 ? 0 : 10;
        smtp_server_greet(&o->s, R_GREETING);
        for (int i = 0; i < 120; i++) {
            const char *piece = pieces[rng_below(&r, ARRAY_LEN(pieces))];
            buf_puts(&in, i == 0 ? (o->conf.lmtp ? "LHLO x\r\n" : "EHLO x\r\n") : piece);
            size_t n = smtp_server_feed(&o->s, buf_str(&in), o->now_ms += rng_below(&r, 1000));
            smtp_server_invariants(&o->s);
            while (smtp_server_next(&o->s, &ev))
                random_event(&o->s, &r, &w, &ev);
            if (o->s.awaits_tls && rng_below(&r, 2) == 0)
                smtp_server_secured(&o->s, SASL_ALL);
            smtp_server_invariants(&o->s);
            buf_consume(&in, n);
            take_output(o);
            if (rng_below(&r, 200) == 0)
                smtp_server_close(&o->s, R_SHUTDOWN);
        }
        smtp_server_eof(&o->s);
        while (smtp_server_next(&o->s, &ev))
            random_event(&o->s, &r, &w, &ev);
        assert_true(w.is_closed);
        buf_fini(&in);
        owner_del(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_command_in_each_phase),
        cmocka_unit_test(matrix_is_complete),
        cmocka_unit_test(idle_session_owns_nothing),
        cmocka_unit_test(each_chunk_may_fail),
        cmocka_unit_test(many_recipients_leave_room),
        cmocka_unit_test(no_memory_for_a_reply),
        cmocka_unit_test(output_holds_input_back),
        cmocka_unit_test(size_limit_is_exact),
        cmocka_unit_test(command_line_limit_is_exact),
        cmocka_unit_test(thousand_longest_recipients),
        cmocka_unit_test(open_question_stops_input),
        cmocka_unit_test(untaken_events_stop_input),
        cmocka_unit_test(lmtp_answers_one_by_one),
        cmocka_unit_test(groups_end),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(presets_are_the_limits),
        cmocka_unit_test(questions_stop_the_clock),
        cmocka_unit_test(on_the_heap),
        cmocka_unit_test(longest_names),
        cmocka_unit_test(early_talkers),
        cmocka_unit_test(newlines_are_mended),
        cmocka_unit_test(random_input),
    };
    return cmocka_run_group_tests_name("smtp_server", tests, NULL, NULL);
}
