/* One connection and one message at a time: the end of sessions, pipes, the queue, memory. */
#include "service/smtpd/smtpd_testing.h"

/* ---- the end of a session -------------------------------------------------------------------- */

static struct conn *expelled(void)
{
    struct conn *c = client("192.0.2.1:5");
    say_n(c, "WHAT\r\n", 100);
    wake(c);
    hears(c, "421 4.7.0");
    return c;
}

static void lingers_for_what_is_still_sent(void **state)
{
    UNUSED(state);
    struct conn *c = expelled();
    assert_true(c->is_shut && !c->is_closed);
    say_n(c, "more\r\n", 100000);
    wake(c);
    wake(c);
    assert_true(c->in.n < 400000 && !c->is_closed);
    c->is_eof = true;
    while (!c->is_closed)
        wake(c);
    assert_int_equal(c->in.n, 0); /* nothing unread: the kernel sends no reset */
    assert_int_equal(the->d->n_sessions, 0);
    assert_int_equal(the->d->n_lingering, 0);
}

static void lingers_within_bounds(void **state)
{
    UNUSED(state);
    struct conn *c = expelled();
    pass_ms(SMTPD_LINGER_MS - 1);
    assert_false(c->is_closed);
    pass_ms(1);
    assert_true(c->is_closed);
    c = expelled();
    say_n(c, "0123456789abcdef", SMTPD_LINGER_OCTETS / 16 + 5000);
    for (int i = 0; i < 100 && !c->is_closed; i++)
        wake(c);
    assert_true(c->is_closed);
    for (size_t i = 0; i < SMTPD_LINGER_MAX; i++)
        assert_false(expelled()->is_closed);
    assert_true(expelled()->is_closed);
    smtpd_role.drain(the->d, 0);
    assert_int_equal(the->d->n_sessions, 0); /* a restart does not wait for it */
    pass_ms(1);
    assert_int_equal(the->n_drained, 1);
}

static void does_not_linger(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    say(c, "QUIT\r\nNOOP\r\n");
    hears(c, "221");
    assert_true(c->is_closed);
    c = client("192.0.2.1:5");
    say_n(c, "WHAT\r\n", 100);
    c->is_eof = true; /* read before the end of it is seen; then only its end is left */
    wake(c);
    wake(c);
    assert_true(c->is_closed);
    the->config.sessions_max = 1;
    (void)client("192.0.2.1:5");
    c = client("192.0.2.2:5");
    hears(c, "421 4.7.0");
    assert_true(c->is_closed);
}

/* A client that does not read what it is told must not keep us awake by what it sends behind STARTTLS. */
static void reads_nothing_before_the_word_to_begin_is_out(void **state)
{
    UNUSED(state);
    int some;
    the->at.tls = LISTEN_STARTTLS;
    reload();
    struct conn *c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\n");
    buf_reset(&c->out);
    say(c, "STARTTLS\r\n"); /* there is no certificate */
    hears(c, "454 4.7.0");
    the->d->tls = (struct tls_context *)&some; /* never looked into here */
    say(c, "STARTTLS\r\n");                    /* but nobody signs */
    hears(c, "454 4.7.0");
    the->d->keys = &the->lookup;
    c->room = 0;
    say(c, "STARTTLS\r\n");
    assert_int_equal(c->want, CONN_WRITABLE);
    say(c, "\x16"); /* waits where it is */
    assert_int_equal(c->want, CONN_WRITABLE);
    the->d->tls = NULL;
    the->d->keys = NULL;
    c->room = 1000;
    wake(c); /* a certificate that went away meanwhile */
    hears(c, "220 2.0.0");
    assert_true(c->is_closed);
}

static void last_reply_has_its_time(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    hears(c, "220");
    pass_ms(SMTP_SERVER_COMMAND_MS - 1);
    c->room = 0;
    say(c, "QUIT\r\n");
    pass_ms(2); /* the clock of the command would have ended it here */
    assert_false(c->is_closed);
    c->room = 1000;
    wake(c);
    hears(c, "221");
    assert_true(c->is_closed);
    c = client("192.0.2.1:5");
    hears(c, "220");
    c->room = 0;
    say(c, "QUIT\r\n");
    pass_ms(SMTPD_GOODBYE_MS);
    assert_true(c->is_closed);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void counts_clients(void **state)
{
    UNUSED(state);
    the->config.session_per_client_max = 2;
    static const struct {
        const char *peer, *reply;
    } table[] = {
        {"192.0.2.1:1", "220"},
        {"192.0.2.1:2", "220"},
        {"192.0.2.1:3", "421 4.7.0"},
        {"192.0.2.2:3", "220"},
        {"[2001:db8::1]:1", "220"},
        {"[2001:db8::2]:1", "220"},
        {"[2001:db8::3:0:0:1]:1", "421 4.7.0"},
        {"[2001:db8:0:1::1]:1", "220"},
        {"unix:/run/x", "220"},
        {"unix:/run/x", "220"},
        {"unix:/run/x", "220"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        hears(client(table[i].peer), table[i].reply);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void takes_a_message(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
    assert_int_equal(last_sent()->type, IPC_PUT);
    assert_int_equal(c->out.n, 0);
    put_done(last_sent()->token, ERR_OK);
    hears(c, "250 2.0.0");
    assert_int_equal(the->n_accepted, 1);
    assert_int_equal(the->d->memory_used, 0);
}

static void header_rules(void **state)
{
    UNUSED(state);
    static const struct {
        const char *line;
        size_t n;
        const char *rest, *reply;
    } table[] = {
        {"no header at all\r\n", 9000, "\r\n", "250"},
        {"no header\r\nReceived: x\r\n", 101, "", "250"},
        {"\r\nReceived: x\r\n", 101, "", "250"},
        {"Received: x\r\n", 100, "\r\n", "250"},
        {"Received: x\r\n", 101, "\r\n", "554 5.4.6"},
        {"rEceived : x\r\n", 101, "\r\n", "554 5.4.6"},
        {"Received: x\r\n\ty\r\n", 101, "\r\n", "554 5.4.6"},
        {"X: y\r\n Received: x\r\n", 101, "\r\n", "250"},
        {"X-Received: x\r\n", 101, "\r\n", "250"},
        {"Receivedx: x\r\n", 101, "\r\n", "250"},
        {"Receive: x\r\n", 101, "\r\n", "250"},
        {"X: 0123456789\r\n", HEADER_SECTION_MAX / 15 - 1, "\r\n", "250"},
        {"X: 0123456789\r\n", HEADER_SECTION_MAX / 15 + 1, "\r\n", "554 5.6.0"},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(table); i++) {
        struct conn *c = client("192.0.2.1:5");
        begin_data(c);
        say_n(c, table[i / 2].line, table[i / 2].n);
        if (i % 2 == 0)
            wake(c); /* in two reads or in one */
        say_n(c, table[i / 2].rest, 1);
        say(c, "body\r\n.\r\n");
        let_queue_take(c);
        hears(c, table[i / 2].reply);
        c->is_eof = true;
        wake(c);
    }
    assert_int_equal(the->d->memory_used, 0);
}

static void a_refusal_of_the_session_is_told(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    say(c, "Subject: x\r\n\r\nhi\n.\r\n");
    assert_int_equal(the->n_refused, 1);
    assert_string_equal(the->event_from, "a@b.test");
    assert_non_null(strstr(the->event_text, "CR or LF alone"));
    assert_int_equal(the->event_size, 550);
    say(c, "more\r\n.\r\n");
    hears(c, "550 5.6.0");
    assert_int_equal(the->n_refused, 1); /* once */
    begin_data(c);
    say_n(c, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 140000);
    struct conn *pipe = &the->conns[the->n_conns + 1]; /* its writing end */
    for (int i = 0; i < 1000 && the->n_refused == 1; i++) {
        buf_reset(&pipe->out);
        wake(pipe);
        wake(c);
    }
    assert_string_equal(the->event_text, "a message may have 8388608 octets at most");
    buf_reset(&c->in);
    say(c, "\r\n.\r\n");
    hears(c, "552 5.3.4");
    begin_data(c);
    c->is_eof = true; /* gives it up: no refusal */
    wake(c);
    assert_int_equal(the->n_refused, 2);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void say_big(struct conn *c)
{
    say_n(c, "Subject: x\r\n\r\n", 1);
    say_n(c, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 3000);
    say(c, ".\r\n");
}

static void a_big_message_waits_for_room(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    size_t n = the->queue.n_sent;
    the->queue.backlog = IPC_QUEUE_MAX;
    say_big(c);
    assert_true((c->want & CONN_READABLE) == 0 && c->in.n > 0); /* the client waits */
    pass_ms(50 * SMTPD_ROOM_MS);
    assert_int_equal(the->queue.n_sent, n);
    assert_int_equal(c->out.n, 0);
    the->queue.backlog = 0;
    pass_ms(SMTPD_ROOM_MS);
    assert_int_equal(last_sent()->type, IPC_PUT);
    assert_true(last_sent()->is_piped);
    uint64_t id = last_sent()->id;
    let_queue_take(c);
    assert_int_equal(last_sent()->type, IPC_PUT_COMMIT);
    hears(c, "250 2.0.0");
    assert_int_equal(the->d->memory_used, 0);
    begin_data(c);
    say_big(c);
    assert_true(last_sent()->is_piped && last_sent()->id == id + 1);
    for (int i = 0; i < 100 && !c->is_closed; i++) {
        buf_reset(&c->in);
        c->is_eof = true;
        buf_reset(&the->conns[the->n_conns - 1].out);
        wake(&the->conns[the->n_conns - 1]);
        wake(c);
    }
    assert_true(c->is_closed);
    c = client("192.0.2.1:5");
    begin_data(c);
    say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
    assert_int_equal(last_sent()->id, id + 2); /* the queue had heard of the one that was broken off */
}

/* Each stuffed dot begins another piece of the message. */
static void small_pieces_share_a_write(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    say_n(c, "Subject: x\r\n\r\n", 1);
    say_n(c, "..\r\n", 100000);
    for (int i = 0; i < 10; i++)
        wake(c);
    struct conn *pipe = &the->conns[the->n_conns - 1];
    assert_true(pipe->is_pipe && pipe->n_writes < 20);
    say(c, ".\r\n");
    size_t taken = 0;
    for (int i = 0; i < 100 && last_sent()->type != IPC_PUT_COMMIT; i++) {
        taken += pipe->out.n;
        buf_reset(&pipe->out);
        wake(pipe);
        wake(c);
    }
    assert_int_equal(last_sent()->type, IPC_PUT_COMMIT);
    assert_true(taken + pipe->out.n >= 300000); /* all of it, to the last octet */
    assert_int_equal(taken + pipe->out.n, last_sent()->size);
    assert_true(pipe->n_writes < 50);
    put_done(last_sent()->token, ERR_OK);
    hears(c, "250 2.0.0");
}

/* Behind what the put said, the commit tells it: who relays the message must know. */
static void an_octet_over_7f_late_in_a_message(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    say_n(c, "Subject: x\r\n\r\n", 1);
    say_n(c, "0123456789abcdef\r\n", 20000);
    for (int i = 0; i < 10; i++)
        wake(c);
    assert_true(last_sent()->is_piped && (the->sent_flags & MAIL_FLAG_8BIT) == 0);
    say(c, "gr\xc3\xbc\xc3\x9f"
           "e\r\n.\r\n");
    let_queue_take(c);
    assert_int_equal(last_sent()->type, IPC_PUT_COMMIT);
    assert_true((the->sent_flags & MAIL_FLAG_8BIT) != 0);
    hears(c, "250 2.0.0");
}

/* The queue gives a message up by closing the pipe, and says why: which of the two is seen first is chance.
 */
static void the_queue_says_why_it_gave_up(void **state)
{
    UNUSED(state);
    static const struct {
        enum err err;
        const char *reply;
    } rows[] = {{ERR_NOSPACE, "452 4.3.1"}, {ERR_NOMEM, "451 4.3.0"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = client("192.0.2.1:5");
        begin_data(c);
        say_n(c, "Subject: x\r\n\r\n", 1);
        say_n(c, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 2000);
        for (int k = 0; k < 10; k++)
            wake(c);
        uint64_t token = last_sent()->token;
        assert_true(last_sent()->is_piped);
        struct conn *pipe = &the->conns[the->n_conns - 1];
        pipe->is_broken = true;
        buf_reset(&pipe->out);
        wake(pipe);
        say_n(c, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 2000);
        say(c, ".\r\n");
        for (int k = 0; k < 10; k++)
            wake(c);
        assert_int_equal(c->out.n, 0);
        put_done(token, rows[i].err);
        hears(c, rows[i].reply);
    }
}

static void bdat_whole_while_there_is_no_room(void **state)
{
    UNUSED(state);
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        struct conn *c = client("192.0.2.1:5");
        say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nBDAT 66000 LAST\r\n");
        the->queue.backlog = IPC_QUEUE_MAX;
        say_n(c, "a: b\r\n", 6600);
        wake(c);
        buf_reset(&c->out);
        say_n(c, "c: d\r\n", 4400);
        wake(c);
        assert_int_equal(c->out.n, 0);
        if (is_lost) {
            lose_queue();
            hears(c, "451 4.3.0");
            assert_int_equal(the->d->memory_used, 0);
            return;
        }
        the->queue.backlog = 0;
        pass_ms(SMTPD_ROOM_MS);
        let_queue_take(c);
        assert_int_equal(last_sent()->type, IPC_PUT_COMMIT);
        hears(c, "250 2.0.0");
    }
}

/* The queue remembers a grant until all of its ids are used. */
static void ids_of_broken_messages_are_used(void **state)
{
    UNUSED(state);
    size_t n = the->queue.n_sent;
    for (size_t i = 0; i < 3 * SMTPD_IDS_WANTED; i++) {
        the->n_conns = 0;
        struct conn *c = client("192.0.2.1:5");
        begin_data(c);
        c->is_eof = true;
        wake(c);
        assert_true(c->is_closed);
        buf_fini(&c->in);
        buf_fini(&c->out);
    }
    assert_true(the->queue.n_sent <= n + 1); /* asked for ids once */
    struct conn *c = client("192.0.2.1:5"), *other = client("192.0.2.1:5");
    begin_data(c);
    begin_data(other);
    say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
    uint64_t id = last_sent()->id;
    put_done(last_sent()->token, ERR_OK);
    hears(c, "250");
    say(other, "Subject: x\r\n\r\nhi\r\n.\r\n");
    assert_true(last_sent()->id != id && last_sent()->id < 102);
    begin_data(c);
    c->is_eof = true;
    wake(c);
    lose_queue(); /* a new queue knows none of them */
    hears(other, "451");
    say(other, "MAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\n");
    hears(other, "451");
    the->env.peers[ROLE_QUEUE][0] = &the->queue;
    smtpd_role.peer(the->d, ROLE_QUEUE, 0, &the->queue);
    grant(5000);
    begin_data(other);
    say(other, "Subject: x\r\n\r\nhi\r\n.\r\n");
    assert_int_equal(last_sent()->id, 5000);
}

static void the_queue_is_lost_while_there_is_no_room(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    the->queue.backlog = IPC_QUEUE_MAX;
    say_big(c);
    lose_queue();
    for (int i = 0; i < 100 && c->out.n == 0; i++)
        wake(c);
    hears(c, "451 4.3.0");
    assert_int_equal(the->d->memory_used, 0);
    say(c, "NOOP\r\n");
    hears(c, "250 2.0.0");
}

static void a_queue_that_never_answers(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
    uint64_t token = last_sent()->token;
    pass_ms(SMTPD_ANSWER_MS - 1);
    assert_int_equal(c->out.n, 0);
    pass_ms(SMTP_SERVER_COMMAND_MS);
    hears(c, "451 4.3.0");
    put_done(token, ERR_OK); /* too late for the client; the journal has it right */
    assert_int_equal(c->out.n, 0);
    assert_int_equal(the->n_accepted, 1);
    assert_int_equal(the->event_id, 100);
    assert_string_equal(the->event_from, "a@b.test");
    assert_string_equal(the->event_text, "c.test");
    assert_int_equal(the->d->memory_used, 0);
    begin_data(c); /* the session goes on */
    the->d->id_next = the->d->id_end = the->d->spare_next = the->d->spare_end = 0;
    the->d->id_asked = true;
    struct conn *other = client("192.0.2.2:5");
    say(other, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\n");
    hears(other, "250 2.1.5"); /* waits for ids */
    other->is_eof = true;      /* its client has no patience */
    pass_ms(SMTPD_ANSWER_MS + SMTP_SERVER_COMMAND_MS);
    hears(other, "451 4.3.0");
    assert_true(other->is_closed);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void messages_under_way_are_bounded(void **state)
{
    UNUSED(state);
    enum { N = 300 };
    static struct conn *all[N];
    for (size_t i = 0; i < N; i++) {
        all[i] = client("192.0.2.1:5");
        begin_data(all[i]);
    }
    for (size_t i = 0; i < N; i++) {
        say_n(all[i], "Subject: x\r\n\r\n", 1);
        say_n(all[i], "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 1000);
        wake(all[i]);
        assert_true(the->d->memory_used <= the->config.memory_max + 128 * 1024);
    }
    struct conn *late = client("192.0.2.1:5");
    say(late, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\n");
    hears(late, "452 4.3.0");
    unsigned n_refused = 0;
    for (size_t i = 0; i < N; i++) {
        say(all[i], ".\r\n");
        if (all[i]->out.n == 0)
            put_done(last_sent()->token, ERR_OK);
        bool is_refused = str_starts(buf_str(&all[i]->out), STR("452 4.3.0"));
        n_refused += is_refused;
        hears(all[i], is_refused ? "452" : "250");
    }
    assert_true(n_refused > 0 && n_refused < N / 2);
    assert_true(the->d->memory_used < 1024 * 1024);
}

static void kept_input_is_bounded(void **state)
{
    UNUSED(state);
    enum { N = 300 };
    size_t n_closed = 0;
    the->config.memory_max = 8 * 1024 * 1024;
    for (size_t i = 0; i < N; i++) { /* none reads what it is told */
        struct conn *c = client("192.0.2.1:5");
        say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n");
        c->room = c->out.n;
        say_n(c, "HELP\r\n", SMTP_JUNK_MAX - 1);
        say_n(c, "RCPT TO:<joe@here.test>\r\n", 10000);
        wake(c);
        wake(c);
        assert_true(the->d->memory_used <= the->config.memory_max + 256 * 1024);
        const struct session *session = c->arg;
        n_closed += session->close_reply == R_NO_MEMORY_CLOSE;
    }
    assert_true(n_closed > 0);
    struct conn *c = client("192.0.2.1:5"); /* a line in two parts is still taken */
    say(c, "EHLO c.");
    say(c, "test\r\n");
    hears(c, "250 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(lingers_for_what_is_still_sent),
        T(lingers_within_bounds),
        T(does_not_linger),
        T(reads_nothing_before_the_word_to_begin_is_out),
        T(last_reply_has_its_time),
        T(counts_clients),
        T(takes_a_message),
        T(header_rules),
        T(a_refusal_of_the_session_is_told),
        T(a_big_message_waits_for_room),
        T(small_pieces_share_a_write),
        T(an_octet_over_7f_late_in_a_message),
        T(the_queue_says_why_it_gave_up),
        T(bdat_whole_while_there_is_no_room),
        T(ids_of_broken_messages_are_used),
        T(the_queue_is_lost_while_there_is_no_room),
        T(a_queue_that_never_answers),
        T(messages_under_way_are_bounded),
        T(kept_input_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
