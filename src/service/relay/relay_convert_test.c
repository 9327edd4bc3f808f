/* Messages that a server can't take as they are: converted from memory and from a pipe, in turns, within the
 * budget; and binary ones by BDAT.
 */
#include "service/relay/relay_testing.h"

#define PLAIN "250-mx\n250-SIZE\n250 PIPELINING\n"
#define EIGHT "250-8BITMIME\n250 PIPELINING\n"
#define RAW "Subject: x\r\n\r\ncaf\xc3\xa9 and more ASCII\r\n"
#define QP                                                                                                   \
    "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\n"                        \
    "Content-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9 and more ASCII\n"

static const struct relay *role(void)
{
    return the->self;
}

/* A pipe with these octets in it, and with its end behind them. */
static struct conn *pipe_of(struct str octets)
{
    struct conn *p = new_conn();
    p->feed = octets;
    p->is_eof = true;
    return p;
}

static void give_8bit(uint64_t token, struct conn *pipe, size_t n)
{
    give(&(struct order){.token = token,
                         .hosts = {"192.0.2.1", "192.0.2.2"},
                         .flags = MAIL_FLAG_8BIT,
                         .body = RAW,
                         .pipe = pipe,
                         .n_piped = n});
}

/* The server is told the converted size and gets the converted message. */
static void takes_converted(struct conn *c)
{
    char text[200];
    size_t n = the->n_results, size = strlen(QP);
    for (const char *s = QP; *s != '\0'; s++)
        size += *s == '\n';
    (void)snprintf(text, sizeof text, "MAIL FROM:<a@x.test> SIZE=%zu\nRCPT TO:<r@y.test>\nDATA\n", size);
    expect(c, text);
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, QP ".\n");
    say(c, "250 taken\n");
    assert_int_equal(last_result(n + 1)->kind, RESULT_OK);
    assert_int_equal(role()->convert_octets, 0);
}

static void takes_as_it_is(struct conn *c)
{
    expect(c, "MAIL FROM:<a@x.test> BODY=8BITMIME\nRCPT TO:<r@y.test>\nDATA\n");
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, "Subject: x\n\ncaf\xc3\xa9 and more ASCII\n.\n");
    say(c, "250 taken\n");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
    assert_int_equal(role()->convert_octets, 0);
}

/* ---- the way it should go ---------------------------------------------------------------------- */

static void a_message_in_memory_is_converted(void **state)
{
    UNUSED(state);
    give_8bit(1, NULL, 0);
    takes_converted(greets_offering(PLAIN));
    assert_int_equal(the->n_events, 1);
    assert_string_equal(the->event_text, "the message: text/plain 8bit -> quoted-printable");
}

static void a_message_from_a_pipe_is_converted(void **state)
{
    UNUSED(state);
    struct conn *pipe = new_conn();
    give_8bit(1, pipe, strlen(RAW));
    struct conn *c = greets_offering(PLAIN);
    for (size_t i = 0; i < strlen(RAW); i++) {
        expect(c, "");
        assert_int_equal(role()->convert_octets, strlen(RAW));
        pipe->feed = str_of(RAW + i, 1);
        poke(pipe);
    }
    assert_true(pipe->is_closed);
    takes_converted(c);
}

static void a_second_server_gets_the_message_as_it_is(void **state)
{
    UNUSED(state);
    give_8bit(1, NULL, 0);
    server_closes(greets_offering(PLAIN));
    takes_as_it_is(greets_offering(EIGHT));
}

static void a_second_server_gets_what_was_read_from_the_pipe(void **state)
{
    UNUSED(state);
    struct conn *pipe = pipe_of(STR(RAW));
    give_8bit(1, pipe, strlen(RAW));
    server_closes(greets_offering(PLAIN));
    assert_true(pipe->is_closed);
    takes_as_it_is(greets_offering(EIGHT));
}

static void a_second_server_may_need_the_conversion_too(void **state)
{
    UNUSED(state);
    give_8bit(1, pipe_of(STR(RAW)), strlen(RAW));
    server_closes(greets_offering(PLAIN));
    takes_converted(greets_offering(PLAIN));
}

static void what_may_not_be_changed_comes_back(void **state)
{
    UNUSED(state);
    give(&(struct order){
        .token = 1,
        .hosts = {"192.0.2.1", "192.0.2.2"},
        .flags = MAIL_FLAG_8BIT,
        .body = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa9\r\n--b--\r\n"});
    struct conn *c = greets_offering(PLAIN);
    expect(c, "");
    assert_true(last_result(1)->kind == RESULT_PERMANENT && last_result(1)->esc.subject == 6 &&
                last_result(1)->esc.detail == 3);
    assert_non_null(strstr(last_result(1)->text, "multipart/signed"));
    give_8bit(2, NULL, 0);
    takes_converted(c);
}

/* ---- a server that goes in the middle ------------------------------------------------------------ */

static void a_server_that_goes_before_the_pipe_has_said_anything(void **state)
{
    UNUSED(state);
    struct conn *pipe = new_conn();
    give_8bit(1, pipe, strlen(RAW));
    server_closes(greets_offering(PLAIN));
    assert_int_equal(role()->convert_octets, 0); /* the next server may not need it */
    struct conn *c = greets_offering(PLAIN);
    assert_int_equal(role()->convert_octets, strlen(RAW));
    pipe->feed = STR(RAW);
    poke(pipe);
    takes_converted(c);
}

static void a_server_that_goes_while_the_pipe_is_read(void **state)
{
    UNUSED(state);
    struct conn *pipe = new_conn();
    give_8bit(1, pipe, strlen(RAW));
    struct conn *c = greets_offering(PLAIN);
    pipe->feed = STR("Sub");
    poke(pipe);
    server_closes(c);
    assert_int_equal(last_result(1)->kind, RESULT_TEMPORARY); /* nobody can have it whole any more */
    assert_int_equal(the->n_conns, 2);
    assert_true(pipe->is_closed);
    assert_int_equal(role()->convert_octets, 0);
}

static void a_pipe_that_ends_early_is_no_message(void **state)
{
    UNUSED(state);
    give_8bit(1, pipe_of(STR("Subject: x\r\n\r\n\xc3\xa9\r\n")), strlen(RAW));
    struct conn *c = greets_offering(PLAIN);
    expect(c, "");
    assert_true(last_result(1)->kind == RESULT_TEMPORARY && last_result(1)->esc.subject == 3);
    assert_int_equal(role()->convert_octets, 0);
    give_8bit(2, NULL, 0);
    takes_converted(c);
}

/* ---- much of it ---------------------------------------------------------------------------------- */

static void messages_in_memory_have_a_budget(void **state)
{
    UNUSED(state);
    struct conn *pipe = new_conn();
    give_8bit(1, pipe, RELAY_CONVERT_MAX);
    struct conn *first = greets_offering(PLAIN);
    assert_int_equal(role()->convert_octets, RELAY_CONVERT_MAX);
    give_8bit(2, new_conn(), 1);
    struct conn *c = greets_offering(PLAIN);
    expect(c, "");
    assert_true(last_result(1)->kind == RESULT_TEMPORARY && last_result(1)->esc.detail == 1);
    give_8bit(3, new_conn(), (size_t)RELAY_CONVERT_MAX + 1);
    expect(c, "");
    assert_true(last_result(2)->kind == RESULT_PERMANENT && last_result(2)->esc.subject == 6);
    pipe->is_eof = true;
    poke(pipe);
    assert_int_equal(last_result(3)->token, 1);
    assert_int_equal(role()->convert_octets, 0);
    assert_false(first->is_closed);
}

static char *big_message(size_t n)
{
    static const char head[] = "Subject: x\r\n\r\n", line[] = "caf\xc3\xa9 and more ASCII in this line\r\n";
    char *text = malloc(n);
    assert_non_null(text);
    memcpy(text, head, sizeof head - 1);
    for (size_t i = sizeof head - 1, k = 0; i < n; i++, k = k + 1 == sizeof line - 1 ? 0 : k + 1)
        text[i] = line[k];
    return text;
}

static void a_big_message_is_converted_in_turns(void **state)
{
    UNUSED(state);
    enum { N = 700 * 1024 };
    char *text = big_message(N);
    struct conn *pipe = pipe_of(str_of(text, N));
    give_8bit(1, pipe, N);
    struct conn *c = greets_offering(PLAIN);
    unsigned n_turns = 0;
    for (size_t left = N; !pipe->is_closed; left = pipe->feed.n, n_turns++) {
        assert_in_range(left - pipe->feed.n, 1, 2 * RELAY_TURN_OCTETS);
        poke(pipe);
    }
    assert_in_range(n_turns, 1, N / RELAY_TURN_OCTETS + 1);
    for (n_turns = 0; c->out.n == 0; n_turns++) {
        assert_int_equal(next_due(), the->now_ms + 1);
        pass(1);
    }
    assert_in_range(n_turns, 2 * N / RELAY_TURN_OCTETS - 1, 4 * N / RELAY_TURN_OCTETS);
    unsigned long size = 0;
    assert_int_equal(sscanf(c->out.p, "MAIL FROM:<a@x.test> SIZE=%lu", &size), 1);
    buf_reset(&c->out);
    c->n_written = 0;
    say(c, "250 ok\n250 ok\n354 go\n");
    while ((c->want & CONN_WRITABLE) != 0)
        poke(c);
    assert_int_equal(c->n_written, size + strlen(".\r\n"));
    say(c, "250 taken\n");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
    assert_int_equal(role()->convert_octets, 0);
    free(text);
}

static void octets_that_vanish_are_work_too(void **state)
{
    UNUSED(state);
    enum { N = 700 * 1024 };
    static const char head[] = "Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n";
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, 0xff, N);
    memcpy(text, head, sizeof head - 1);
    give_8bit(1, pipe_of(str_of(text, N)), N);
    struct conn *pipe = &the->conns[0], *c = greets_offering(PLAIN);
    while (!pipe->is_closed)
        poke(pipe);
    while (c->out.n == 0)
        pass(1);
    buf_reset(&c->out);
    say(c, "250 ok\n250 ok\n354 go\n");
    unsigned n_turns = 0;
    for (; !str_ends(buf_str(&c->out), STR("\r\n.\r\n")); n_turns++) {
        assert_int_equal(next_due(), the->now_ms + 1);
        pass(1);
    }
    assert_in_range(n_turns, 1, 2 * N / RELAY_PIECE);
    expect(c, "Content-Transfer-Encoding: base64\nMIME-Version: 1.0\nContent-Type: text/plain; "
              "charset=unknown-8bit\n\nQUJD\n.\n");
    say(c, "250 taken\n");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
    free(text);
}

static void a_server_that_goes_while_a_message_is_scanned_is_not_the_last(void **state)
{
    UNUSED(state);
    enum { N = 1100 * 1024 };
    char *text = big_message(N);
    struct conn *pipe = pipe_of(str_of(text, N));
    give_8bit(1, pipe, N);
    struct conn *c = greets_offering(PLAIN);
    while (!pipe->is_closed)
        poke(pipe);
    pass(1);
    expect(c, "");
    server_closes(c);
    c = greets_offering(EIGHT);
    expect(c, "MAIL FROM:<a@x.test> BODY=8BITMIME\nRCPT TO:<r@y.test>\nDATA\n");
    c->n_written = 0;
    say(c, "250 ok\n250 ok\n354 go\n");
    while ((c->want & CONN_WRITABLE) != 0)
        poke(c);
    assert_in_range(c->n_written, N + 3, N + 5); /* and the end of the last line */
    say(c, "250 taken\n");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
    free(text);
}

/* ---- BDAT ---------------------------------------------------------------------------------------- */

#define BINARY_ENVELOPE "MAIL FROM:<a@x.test> BODY=BINARYMIME\nRCPT TO:<r@y.test>\n"

static void a_binary_message_goes_in_chunks_as_it_is(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}, .flags = MAIL_FLAG_BINARY, .body = ".\n\xff"});
    struct conn *c = greets_offering("250-CHUNKING\n250-BINARYMIME\n250 PIPELINING\n");
    expect(c, BINARY_ENVELOPE);
    say(c, "250 ok\n250 ok\n");
    assert_true(str_eq(buf_str(&c->out), STR("BDAT 3\r\n.\n\xff"
                                             "BDAT 0 LAST\r\n")));
    say(c, "250 3 octets\n250 2.0.0 taken\n");
    assert_true(last_result(1)->kind == RESULT_OK && last_result(1)->stage == SMTP_AT_END);
}

/* A server without pipelining has each chunk answered before the next one; the first is out. */
static struct conn *takes_chunks(struct conn **out_pipe)
{
    enum { N = 100 * 1000 };
    *out_pipe = new_conn();
    (*out_pipe)->n_endless = N;
    (*out_pipe)->is_eof = true;
    give(&(struct order){
        .token = 1, .hosts = {"192.0.2.1"}, .flags = MAIL_FLAG_BINARY, .pipe = *out_pipe, .n_piped = N});
    struct conn *c = greets_offering("250-CHUNKING\n250 BINARYMIME\n");
    expect(c, "MAIL FROM:<a@x.test> BODY=BINARYMIME\n");
    say(c, "250 ok\n");
    expect(c, "RCPT TO:<r@y.test>\n");
    say(c, "250 ok\n");
    while ((c->want & CONN_WRITABLE) != 0)
        poke(c);
    poke(*out_pipe);
    assert_in_range(c->out.n, 1, N - 1);
    return c;
}

static void a_chunk_waits_for_the_reply_to_the_one_before(void **state)
{
    UNUSED(state);
    struct conn *pipe, *c = takes_chunks(&pipe);
    size_t sum = 0;
    bool has_last = false;
    for (int i = 0; i < 10 && !has_last; i++) {
        struct str out = buf_str(&c->out);
        has_last = str_eq(out, STR("BDAT 0 LAST\r\n"));
        size_t head = str_chr(out, '\n') + 1;
        assert_true(str_starts(out, STR("BDAT ")));
        assert_int_equal(strtoul(out.p + 5, NULL, 10), out.n - head); /* this chunk, whole, and no other */
        sum += out.n - head;
        buf_reset(&c->out);
        assert_int_equal(the->n_results, 0);
        say(c, "250 ok\n");
        poke(pipe);
    }
    assert_true(has_last);
    assert_int_equal(sum, 100 * 1000);
    assert_int_equal(last_result(1)->kind, RESULT_OK);
}

static void a_chunk_that_is_refused_is_the_end_of_the_message(void **state)
{
    UNUSED(state);
    struct conn *pipe, *c = takes_chunks(&pipe);
    say(c, "552 5.3.4 too big\n");
    assert_true(last_result(1)->kind == RESULT_PERMANENT && last_result(1)->code == 552 &&
                last_result(1)->stage == SMTP_AT_DATA);
    assert_true(c->is_closed && pipe->is_closed);
}

static void a_server_that_goes_after_a_chunk_has_had_its_turn(void **state)
{
    UNUSED(state);
    struct conn *pipe, *c = takes_chunks(&pipe);
    server_closes(c);
    assert_true(last_result(1)->kind == RESULT_TEMPORARY && pipe->is_closed);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_message_in_memory_is_converted),
        T(a_message_from_a_pipe_is_converted),
        T(a_second_server_gets_the_message_as_it_is),
        T(a_second_server_gets_what_was_read_from_the_pipe),
        T(a_second_server_may_need_the_conversion_too),
        T(what_may_not_be_changed_comes_back),
        T(a_server_that_goes_before_the_pipe_has_said_anything),
        T(a_server_that_goes_while_the_pipe_is_read),
        T(a_pipe_that_ends_early_is_no_message),
        T(messages_in_memory_have_a_budget),
        T(a_big_message_is_converted_in_turns),
        T(octets_that_vanish_are_work_too),
        T(a_server_that_goes_while_a_message_is_scanned_is_not_the_last),
        T(a_binary_message_goes_in_chunks_as_it_is),
        T(a_chunk_waits_for_the_reply_to_the_one_before),
        T(a_chunk_that_is_refused_is_the_end_of_the_message),
        T(a_server_that_goes_after_a_chunk_has_had_its_turn),
    };
    return cmocka_run_group_tests_name("relay_convert", tests, NULL, NULL);
}
