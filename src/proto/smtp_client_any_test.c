#include "proto/smtp_client.h"

#include "base/limits.h"
#include "base/rand.h"
#include "proto/smtp_client_scripts.h"
#include "proto/smtp_server.h"
#include "wire/dotstuff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- any server, any network --------------------------------------------------------------------
 *
 * A strict little server that answers by chance, behind a link that cuts octets by chance. It knows what each
 * recipient's fate must be by what it said, and fails the test when the client breaks a rule of RFC 5321 or
 * 2920.
 */

struct peer {
    struct rng rng;
    bool lmtp, pipelining, says_354_to_nobody;
    bool in_mail, in_data, closed;
    bool is_calm; /* refuses and closes nothing */
    struct smtp_server
        *server; /* when set it does the reading and speaking, and only decisions are made here */
    struct buf in, out, data;
    struct smtp_client_job job;
    enum smtp_outcome fates[3]; /* what was said so far; PENDING: accepted or not asked */
    bool accepted[3];
    unsigned n_accepted;
    unsigned n_messages; /* taken by at least one recipient */
};

static bool chance(struct peer *p, unsigned in_n)
{
    return !p->is_calm && rng_below(&p->rng, in_n) == 0;
}

static void say(struct peer *p, const char *line)
{
    assert_true(buf_puts(&p->out, line) && buf_puts(&p->out, "\r\n"));
}

static void fate_of_all(struct peer *p, enum smtp_outcome fate)
{
    for (uint32_t i = 0; i < p->job.n_rcpts; i++)
        if (p->fates[i] == SMTP_OUTCOME_PENDING)
            p->fates[i] = fate;
}

/* Says yes or no; 421 ends it. */
static enum smtp_outcome say_fate(struct peer *p, const char *yes)
{
    if (chance(p, 60)) {
        say(p, "421 4.3.2 bye");
        fate_of_all(p, SMTP_OUTCOME_TEMPORARY);
        p->closed = true;
        return SMTP_OUTCOME_TEMPORARY;
    }
    if (chance(p, 5)) {
        say(p, "451-4.3.0 not\r\n451 4.3.0 now");
        return SMTP_OUTCOME_TEMPORARY;
    }
    if (chance(p, 5)) {
        say(p, "550 never");
        return SMTP_OUTCOME_PERMANENT;
    }
    say(p, yes);
    return SMTP_OUTCOME_OK;
}

static void peer_mail(struct peer *p)
{
    assert_false(p->in_mail); /* the client owes a RSET */
    enum smtp_outcome o = say_fate(p, "250 ok");
    p->in_mail = o == SMTP_OUTCOME_OK;
    if (o != SMTP_OUTCOME_OK)
        fate_of_all(p, o);
}

static void peer_rcpt(struct peer *p, struct str line)
{
    char mem[64];
    if (!p->in_mail) {
        say(p, "503 MAIL first");
        return;
    }
    for (uint32_t i = 0; i < p->job.n_rcpts; i++) {
        int n = snprintf(mem, sizeof mem, "RCPT TO:<%.*s>", STR_FMT(p->job.rcpts[i].address));
        if (!str_eq(line, str_of(mem, (size_t)n)))
            continue;
        enum smtp_outcome o = say_fate(p, "250 ok");
        if (o != SMTP_OUTCOME_OK && p->fates[i] == SMTP_OUTCOME_PENDING)
            p->fates[i] = o;
        p->accepted[i] = o == SMTP_OUTCOME_OK;
        p->n_accepted += p->accepted[i];
        return;
    }
    fail_msg("not a recipient of the job: %.*s", STR_FMT(line));
}

static void peer_data(struct peer *p)
{
    buf_reset(&p->data);
    assert_true(p->pipelining || p->n_accepted > 0);
    if (p->n_accepted == 0 && (p->lmtp || !p->says_354_to_nobody || !p->in_mail)) {
        say(p, "503 nobody");
        return;
    }
    enum smtp_outcome o = say_fate(p, "354 go");
    p->in_data = o == SMTP_OUTCOME_OK;
    if (o != SMTP_OUTCOME_OK)
        fate_of_all(p, o);
}

static void peer_line(struct peer *p, struct str line)
{
    if (str_starts(line, STR("EHLO ")) || str_starts(line, STR("LHLO "))) {
        assert_true(p->lmtp == (line.p[0] == 'L'));
        say(p, p->pipelining ? "250-mx\r\n250 PIPELINING" : "250 mx");
    } else if (str_starts(line, STR("MAIL FROM:<a@x.example>"))) {
        peer_mail(p);
    } else if (str_starts(line, STR("RCPT"))) {
        peer_rcpt(p, line);
    } else if (str_eq(line, STR("DATA"))) {
        peer_data(p);
    } else if (str_eq(line, STR("RSET"))) {
        assert_true(p->in_mail); /* else it was of no use */
        p->in_mail = false;
        say(p, "250 ok");
    } else if (str_eq(line, STR("QUIT"))) {
        say(p, "221 bye");
        p->closed = true;
    } else {
        fail_msg("what is this: %.*s", STR_FMT(line));
    }
}

static const struct str peer_body = STR_INIT("Subject: x\r\n\r\n.\r\n..\r\n.x\r\nlast\r\n");

static void peer_message(struct peer *p)
{
    p->in_data = p->in_mail = false;
    if (p->n_accepted == 0) {
        assert_int_equal(p->data.n, 0);
        say(p, rng_below(&p->rng, 2) == 0 ? "554 nobody" : "250 ok, whatever");
        return;
    }
    assert_true(str_eq(buf_str(&p->data), peer_body));
    bool was_taken = false;
    for (uint32_t i = 0; i < p->job.n_rcpts && !p->closed; i++) {
        if (!p->accepted[i] || p->fates[i] != SMTP_OUTCOME_PENDING)
            continue;
        enum smtp_outcome o = say_fate(p, "250 taken");
        was_taken = was_taken || o == SMTP_OUTCOME_OK;
        if (p->lmtp)
            p->fates[i] = o;
        else
            fate_of_all(p, o);
    }
    p->n_messages += was_taken;
}

/* ---- proto/smtp_server in the little server's place ---- */

/* Answers an open question by chance, or closes instead. */
static enum smtp_outcome answer_fate(struct peer *p, uint32_t question, enum smtp_reply_id yes)
{
    if (chance(p, 60)) {
        smtp_server_close(p->server, R_SHUTDOWN);
        fate_of_all(p, SMTP_OUTCOME_TEMPORARY);
        p->closed = true;
        return SMTP_OUTCOME_TEMPORARY;
    }
    enum smtp_outcome o = chance(p, 5)   ? SMTP_OUTCOME_TEMPORARY
                          : chance(p, 5) ? SMTP_OUTCOME_PERMANENT
                                         : SMTP_OUTCOME_OK;
    enum smtp_reply_id no = o == SMTP_OUTCOME_TEMPORARY ? R_STORE_BUSY : R_RELAY_DENIED;
    smtp_server_answer(p->server, question, o == SMTP_OUTCOME_OK ? yes : no, STR("x"));
    return o;
}

static void server_rcpt(struct peer *p, const struct smtp_event *ev)
{
    for (uint32_t i = 0; i < p->job.n_rcpts; i++) {
        if (!str_eq(ev->rcpt->text, p->job.rcpts[i].address))
            continue;
        enum smtp_outcome o = answer_fate(p, ev->question, R_RCPT_OK);
        if (o != SMTP_OUTCOME_OK && p->fates[i] == SMTP_OUTCOME_PENDING)
            p->fates[i] = o;
        p->accepted[i] = o == SMTP_OUTCOME_OK;
        p->n_accepted += p->accepted[i];
        return;
    }
    fail_msg("not a recipient of the job: %.*s", STR_FMT(ev->rcpt->text));
}

static void server_message(struct peer *p, uint32_t question)
{
    bool was_taken = false;
    assert_true(str_eq(buf_str(&p->data), peer_body));
    for (uint32_t i = 0; i < p->job.n_rcpts && !p->closed; i++) {
        if (!p->accepted[i] || p->fates[i] != SMTP_OUTCOME_PENDING)
            continue;
        enum smtp_outcome o = answer_fate(p, question, R_QUEUED);
        was_taken = was_taken || o == SMTP_OUTCOME_OK;
        if (p->lmtp)
            p->fates[i] = o;
        else
            fate_of_all(p, o);
    }
    p->n_messages += was_taken;
}

static void server_event(struct peer *p, const struct smtp_event *ev)
{
    enum smtp_outcome o;
    switch (ev->kind) {
    case SMTP_EV_MAIL:
        if ((o = answer_fate(p, ev->question, R_MAIL_OK)) != SMTP_OUTCOME_OK)
            fate_of_all(p, o);
        break;
    case SMTP_EV_RCPT:
        server_rcpt(p, ev);
        break;
    case SMTP_EV_DATA:
        buf_reset(&p->data);
        if ((o = answer_fate(p, ev->question, R_DATA_GO)) != SMTP_OUTCOME_OK)
            fate_of_all(p, o);
        break;
    case SMTP_EV_BODY:
        assert_true(buf_put(&p->data, ev->body));
        break;
    case SMTP_EV_MESSAGE:
        server_message(p, ev->question);
        break;
    case SMTP_EV_EXPN:
    case SMTP_EV_ETRN:
    case SMTP_EV_XCLIENT:
    case SMTP_EV_STARTTLS:
    case SMTP_EV_AUTH:
    case SMTP_EV_LOGIN:
    case SMTP_EV_ABORT:
        break;
    case SMTP_EV_CLOSE:
        p->closed = true;
        break;
    }
}

static void server_read(struct peer *p, uint64_t now_ms)
{
    struct smtp_event ev;
    size_t n;
    do {
        n = smtp_server_feed(p->server, buf_str(&p->in), now_ms);
        while (smtp_server_next(p->server, &ev))
            server_event(p, &ev);
        smtp_server_invariants(p->server);
        buf_consume(&p->in, n);
        assert_true(buf_put(&p->out, smtp_server_output(p->server)));
        smtp_server_sent(p->server, smtp_server_output(p->server).n);
    } while (n > 0);
}

/* Reads what has come. Without PIPELINING nothing may stand behind a command. */
static void peer_read(struct peer *p)
{
    struct dot_decoder d;
    while (p->in.n > 0 && !p->closed) {
        struct str in = buf_str(&p->in), piece;
        if (p->in_data) { /* from its start each time: the pieces are few */
            buf_reset(&p->data);
            dot_decoder_init(&d);
            size_t used = 0, n;
            while (!d.done && (n = dot_decode(&d, str_skip(in, used), &piece)) > 0) {
                used += n;
                buf_put(&p->data, piece);
            }
            if (!d.done)
                return;
            buf_consume(&p->in, used);
            peer_message(p);
            continue;
        }
        size_t end = str_find(in, STR("\r\n"));
        if (end == STR_NPOS)
            return;
        assert_true(p->pipelining || end + 2 == in.n);
        peer_line(p, str_of(in.p, end));
        buf_consume(&p->in, end + 2);
    }
}

struct match { /* one client against one peer */
    struct peer peer;
    struct smtp_client *c;
    uint64_t now_ms;
    unsigned n_jobs, n_done, n_ok;
    size_t n_given; /* of the body */
    bool wants_body, is_dead;
};

static void match_begin_job(struct match *m)
{
    struct peer *p = &m->peer;
    m->n_jobs++;
    p->job = jobs[rng_below(&p->rng, 2)];
    p->n_accepted = 0;
    memset(p->fates, 0, sizeof p->fates);
    memset(p->accepted, 0, sizeof p->accepted);
    smtp_client_job(m->c, &p->job, m->now_ms);
}

static void match_check_job(struct match *m)
{
    const struct smtp_client_result *r = smtp_client_results(m->c);
    bool was_ok = false;
    for (uint32_t i = 0; i < m->peer.job.n_rcpts; i++) {
        /* all of the server's words have been read by now, or it has closed: then who waits must try again */
        enum smtp_outcome want =
            m->peer.fates[i] == SMTP_OUTCOME_PENDING ? SMTP_OUTCOME_TEMPORARY : m->peer.fates[i];
        assert_int_equal(r[i].outcome, want);
        was_ok = was_ok || want == SMTP_OUTCOME_OK;
    }
    m->n_ok += was_ok;
    m->n_done++;
    assert_int_equal(smtp_client_n_jobs(m->c), m->n_jobs);
    m->wants_body = false;
}

static void match_events(struct match *m)
{
    enum smtp_client_event_kind ev;
    while (smtp_client_next(m->c, &ev)) {
        if (ev == SMTP_CLIENT_WANT_BODY) {
            m->wants_body = true;
            m->n_given = 0;
        } else if (ev == SMTP_CLIENT_JOB_DONE) {
            match_check_job(m);
        } else if (ev == SMTP_CLIENT_DEAD) {
            m->is_dead = true;
        }
        if ((ev == SMTP_CLIENT_READY || ev == SMTP_CLIENT_JOB_DONE) && smtp_client_is_ready(m->c)) {
            if (m->n_jobs < 6)
                match_begin_job(m);
            else
                smtp_client_quit(m->c, m->now_ms);
        }
    }
    smtp_client_invariants(m->c);
}

static size_t some_of(struct match *m, size_t n)
{
    return 1 + (size_t)rng_below(&m->peer.rng, n < 40 ? n : 40);
}

/* Moves something; false when nothing can move. */
static bool match_step(struct match *m)
{
    struct peer *p = &m->peer;
    struct str out = smtp_client_output(m->c);
    uint64_t which = rng_below(&p->rng, 3);
    m->now_ms++;
    if (m->wants_body && which == 0) {
        struct str rest = str_skip(peer_body, m->n_given);
        if (rest.n > 0)
            m->n_given += smtp_client_body(m->c, str_of(rest.p, some_of(m, rest.n)), m->now_ms);
        m->wants_body = rest.n > 0;
        if (!m->wants_body)
            smtp_client_body_end(m->c, m->now_ms);
        return true;
    }
    if (out.n > 0 && (which == 1 || p->out.n == 0)) {
        size_t n = some_of(m, out.n);
        assert_true(buf_put(&p->in, str_of(out.p, n)));
        smtp_client_sent(m->c, n, m->now_ms);
        if (p->server != NULL)
            server_read(p, m->now_ms);
        else
            peer_read(p);
        return true;
    }
    if (p->out.n > 0) {
        size_t n = smtp_client_feed(m->c, str_of(p->out.p, some_of(m, p->out.n)), m->now_ms);
        assert_true(n > 0);
        buf_consume(&p->out, n);
        return true;
    }
    if (p->closed)
        smtp_client_eof(m->c, ERR_CLOSED);
    return p->closed || m->wants_body;
}

static void play(uint64_t seed, bool with_server, struct match *m)
{
    struct chunk_pool pool;
    struct peer *p = &m->peer;
    *m = (struct match){.now_ms = 1};
    rng_seed(&p->rng, seed);
    p->lmtp = rng_below(&p->rng, 3) == 0;
    p->pipelining = rng_below(&p->rng, 2) == 0;
    p->says_354_to_nobody = rng_below(&p->rng, 2) == 0;
    p->is_calm = rng_below(&p->rng, 8) == 0;
    buf_init(&p->in, 64 * 1024);
    buf_init(&p->out, 64 * 1024);
    buf_init(&p->data, 64 * 1024);
    chunk_pool_init(&pool, 1024, 1000);
    struct smtp_client_conf conf = {.helo = STR("me.example"), .lmtp = p->lmtp};
    m->c = smtp_client_new(&conf, &pool, m->now_ms);
    struct smtp_server_conf server_conf = {
        .hostname = STR("mx.example"), .lmtp = p->lmtp, .errors_max = 1000, .no_pipelining = !p->pipelining};
    if (with_server) {
        p->server = smtp_server_new(&server_conf, &pool, m->now_ms);
        smtp_server_greet(p->server, R_GREETING);
        server_read(p, m->now_ms);
    } else {
        say(p, "220 mx");
    }
    while (!m->is_dead) {
        if (!match_step(m))
            fail_msg("seed %llu: nothing can move any more", (unsigned long long)seed);
        match_events(m);
    }
    assert_int_equal(m->n_done, m->n_jobs);
    assert_int_equal(m->n_ok, p->n_messages); /* nothing taken is tried again, nothing lost counts as sent */
    if (p->is_calm)
        assert_true(m->n_jobs == 6 && m->n_ok == 6);
    smtp_client_del(&m->c);
    if (with_server)
        smtp_server_del(&p->server);
    chunk_pool_fini(&pool);
    buf_fini(&p->in);
    buf_fini(&p->out);
    buf_fini(&p->data);
}

static void play_all(bool with_server)
{
    unsigned n_ok = 0, n_jobs = 0;
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct match m;
        play(seed, with_server, &m);
        n_ok += m.n_ok;
        n_jobs += m.n_jobs;
    }
    assert_true(n_ok > n_jobs / 10 && n_ok < n_jobs); /* both happen, often */
}

static void test_any_server(void **state)
{
    UNUSED(state);
    play_all(false);
}

static void test_our_server(void **state)
{
    UNUSED(state);
    play_all(true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_server),
        cmocka_unit_test(test_our_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
