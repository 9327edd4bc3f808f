/* Servers, connections and their times. Conversion is in relay_convert_test.c, what a job may ask for in
 * relay_order_test.c.
 */
#include "service/relay/relay_testing.h"

/* ---- the way it should go -------------------------------------------------------------------- */

static void a_connection_is_kept_for_the_next_job(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets();
    takes(c);
    give(&(struct order){.token = 2, .hosts = {"192.0.2.1"}});
    assert_int_equal(the->n_conns, 1);
    takes(c);
    pass(SMTP_CLIENT_IDLE_MS);
    expect(c, "QUIT\n");
    say(c, "221 bye\n");
    assert_true(c->is_closed);
}

static void hosts_and_addresses_are_tried_in_order(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"a.test", "b.test", "c.test"}});
    assert_string_equal(the->asked[0], "a.test");
    lookup_says(NULL, NULL);
    assert_string_equal(the->asked[1], "b.test");
    lookup_says("2001:db8::9", "192.0.2.2");
    assert_int_equal(dialled()->to.kind, NETADDR_IP6);
    refuses(ERR_UNREACHABLE);
    assert_int_equal(dialled()->to.kind, NETADDR_IP4);
    refuses(ERR_REFUSED);
    lookup_says("192.0.2.3", NULL);
    takes(greets());
    assert_string_equal(last_result(1)->host, "c.test [192.0.2.3]:25");
}

static void a_host_that_is_nowhere_is_for_good_one_that_is_silent_is_not(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"a.test", "b.test"}});
    lookup_says(NULL, NULL);
    lookup_says(NULL, NULL);
    assert_int_equal(last_result(1)->kind, RESULT_PERMANENT);
    assert_true(last_result(1)->esc.class == 5 && last_result(1)->esc.subject == 4);
    give(&(struct order){.token = 2, .hosts = {"a.test", "b.test"}});
    lookup_says("192.0.2.1", NULL);
    refuses(ERR_TIMEOUT);
    lookup_says(NULL, NULL);
    assert_int_equal(last_result(2)->kind, RESULT_TEMPORARY);
}

/* ---- ourselves --------------------------------------------------------------------------------- */

static void is_us(void)
{
    struct conn *c = answers();
    say(c, "220 me.test ESMTP\n");
    expect(c, "EHLO me.test\n");
    say(c, "250-ME.test greets you\n250 PIPELINING\n");
    expect(c, "QUIT\n");
    say(c, "221 bye\n");
    assert_true(c->is_closed);
}

static void mail_that_would_come_back_has_failed(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"other.name.test", "192.0.2.2"}});
    lookup_says("2001:db8::1", "192.0.2.1");
    refuses(ERR_REFUSED);
    is_us();
    const struct result *r = last_result(1); /* the less preferred host is not asked */
    assert_true(r->kind == RESULT_PERMANENT && r->esc.class == 5 && r->esc.subject == 4 &&
                r->esc.detail == 6);
    assert_string_equal(r->host, "other.name.test [192.0.2.1]:25");
}

static void mail_for_a_host_before_us_waits_for_it(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1", "192.0.2.2", "192.0.2.3"}});
    refuses(ERR_TIMEOUT);
    is_us();
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_TEMPORARY && r->esc.class == 4 && r->stage == SMTP_AT_CONNECT);
    assert_string_equal(r->host, "192.0.2.1:25");
}

static void mail_for_a_host_before_us_waits_for_its_address(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"a.test", "b.test"}});
    lookup_fails();
    lookup_says("192.0.2.1", NULL);
    is_us();
    assert_true(last_result(1)->kind == RESULT_TEMPORARY && last_result(1)->esc.class == 4);
    assert_non_null(strstr(last_result(1)->text, "a.test"));
}

static void a_smart_host_may_have_our_name(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .site = "smtp:hub.test", .hosts = {"192.0.2.1"}});
    struct conn *c = answers();
    say(c, "220 me.test ESMTP\n");
    expect(c, "EHLO me.test\n");
    say(c, "250-me.test\n250 PIPELINING\n");
    takes(c);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void a_refusal_that_ignores_quit_costs_ten_seconds(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1", "192.0.2.2"}});
    struct conn *c = answers();
    say(c, "554 not you\n");
    expect(c, "QUIT\n");
    assert_int_equal(next_due(), the->now_ms + SMTP_CLIENT_QUIT_MS);
    pass(SMTP_CLIENT_QUIT_MS);
    assert_true(c->is_closed);
    takes(greets());
}

static void each_command_has_its_own_time(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets();
    expect(c, ENVELOPE);
    assert_true(next_due() <= the->now_ms + SMTP_CLIENT_MAIL_MS);
    say(c, "250 ok\n250 ok\n");
    assert_int_equal(next_due(), the->now_ms + SMTP_CLIENT_DATA_INIT_MS);
    pass(SMTP_CLIENT_DATA_INIT_MS);
    assert_int_equal(last_result(1)->kind, RESULT_TEMPORARY);
    assert_true(c->is_closed);
}

/* A large body has begun on it, of which it takes what room says. */
static struct conn *slow_server(struct conn **out_pipe)
{
    struct conn *pipe = new_conn();
    pipe->n_endless = BIG;
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}, .pipe = pipe, .n_piped = BIG});
    struct conn *c = greets();
    expect(c, ENVELOPE);
    c->room = 0;
    say(c, "250 ok\n250 ok\n354 go\n");
    *out_pipe = pipe;
    return c;
}

static void a_server_that_takes_an_octet_at_a_time_is_left(void **state)
{
    UNUSED(state);
    struct conn *pipe, *c = slow_server(&pipe);
    uint64_t begun_ms = the->now_ms;
    while (!c->is_closed) {
        assert_true(the->now_ms - begun_ms < SMTP_CLIENT_RATE_WINDOW_MS);
        pass(SMTP_CLIENT_DATA_BLOCK_MS - 1000);
        c->room = c->is_closed ? 0 : 1;
        poke(c);
    }
    assert_true(last_result(1)->kind == RESULT_TEMPORARY && last_result(1)->stage == SMTP_AT_DATA);
    assert_non_null(strstr(last_result(1)->text, "too few octets"));
}

static void a_server_that_is_just_fast_enough_gets_all(void **state)
{
    UNUSED(state);
    enum { STEP_MS = 60 * 1000 };
    struct conn *pipe, *c = slow_server(&pipe);
    while (pipe->n_endless > 0 || c->n_written < BIG) {
        pass(STEP_MS);
        c->room = SMTP_CLIENT_RATE_FLOOR * STEP_MS / 1000 * 3 / 2; /* the window may end before a step */
        pipe->is_eof = pipe->n_endless == 0;
        poke(c);
        poke(pipe);
        assert_false(c->is_closed);
    }
    c->room = SIZE_MAX;
    poke(c);
    say(c, "250 taken\n");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
}

/* ---- connections that are kept --------------------------------------------------------------- */

/* Two connections to one site, both idle. */
static void keep_two(struct conn *out[2])
{
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    out[0] = greets();
    give(&(struct order){.token = 2, .hosts = {"192.0.2.1"}});
    out[1] = greets();
    takes(out[0]);
    takes(out[1]);
}

static void a_job_on_a_stale_connection_gets_a_new_one(void **state)
{
    UNUSED(state);
    struct conn *c[2];
    keep_two(c);
    give(&(struct order){.token = 3, .hosts = {"192.0.2.1"}});
    struct conn *first = c[0]->out.n > 0 ? c[0] : c[1];
    say(first, "421 4.7.0 one message a connection\n");
    assert_int_equal(the->n_conns, 3); /* not the other one: it is as old */
    takes(greets());
    assert_int_equal(last_result(3)->token, 3);
}

static void a_server_that_begins_another_reply_is_left(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets();
    expect(c, ENVELOPE);
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, "x\n.\n");
    say(c, "250 taken\n25");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
    pass(SMTP_CLIENT_IDLE_MS);
    pass(SMTP_CLIENT_QUIT_MS);
    assert_true(c->is_closed);
}

static void a_reply_that_waits_is_not_lost_to_a_job_that_ends_at_once(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets();
    takes(c);
    memcpy(c->in, "421 4.3.2 bye\r\n", 15); /* the loop has not told of it yet */
    c->n_in = 15;
    give(&(struct order){.token = 2, .hosts = {"192.0.2.1"}, .rcpts = {"r\xc3\xbc@y.test"}});
    assert_int_equal(last_result(2)->kind, RESULT_PERMANENT);
    assert_true(c->is_closed);
}

/* ---- servers that say nothing of the message --------------------------------------------------- */

static void a_server_that_goes_before_a_word_of_the_job_is_not_the_last(void **state)
{
    UNUSED(state);
    static const char *const words[] = {"",
                                        "250 ok\n",
                                        "421 4.3.2 going down\n",
                                        "250 ok\n421 4.3.2 going down\n",
                                        "nonsense\n",
                                        "250 ok\n250 ok\n250 ok\n"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        give(&(struct order){.token = i, .hosts = {"192.0.2.1", "192.0.2.2"}});
        struct conn *c = greets();
        expect(c, ENVELOPE);
        if (words[i][0] != '\0')
            say(c, words[i]);
        if (!c->is_closed)
            server_closes(c);
        assert_true(netaddr_eq(&dialled()->to, &the->conns[1].to));
        takes(greets());
        assert_int_equal(last_result(i + 1)->kind, RESULT_OK);
        pass(SMTP_CLIENT_IDLE_MS);
        server_closes(&the->conns[the->n_conns - 1]);
    }
}

static void what_the_last_one_did_is_told(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets();
    expect(c, ENVELOPE);
    say(c, "421 4.7.0 try later\n");
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_TEMPORARY && r->code == 421 && r->stage == SMTP_AT_MAIL &&
                r->esc.subject == 7);
    assert_string_equal(r->text, "try later");
    assert_string_equal(r->host, "192.0.2.1:25");
}

static void what_a_server_says_of_a_recipient_counts(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1", "192.0.2.2"}, .rcpts = {"a@y.test", "b@y.test"}});
    struct conn *c = greets();
    say(c, "250 ok\n450 4.2.0 later\n421 4.3.2 bye\n");
    assert_int_equal(the->n_results, 2);
    assert_true(the->results[0].code == 450 && the->results[1].code == 421);
    assert_int_equal(the->n_conns, 1);
}

/* ---- one connection among others --------------------------------------------------------------- */

static void a_fast_server_gets_a_bounded_piece_a_turn(void **state)
{
    UNUSED(state);
    struct conn *pipe = new_conn();
    pipe->n_endless = BIG;
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}, .pipe = pipe, .n_piped = BIG});
    struct conn *c = greets();
    expect(c, ENVELOPE);
    size_t n_before = c->n_written;
    say(c, "250 ok\n250 ok\n354 go\n");
    assert_true(pipe->n_endless > 0);
    while (pipe->n_endless > 0) {
        assert_in_range(c->n_written - n_before, 1, RELAY_TURN_OCTETS);
        assert_true((c->want & CONN_WRITABLE) != 0);
        n_before = c->n_written;
        poke(c);
    }
    pipe->is_eof = true;
    poke(c);
    poke(pipe);
    assert_true(c->n_written > BIG);
    say(c, "250 taken\n");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_connection_is_kept_for_the_next_job),
        T(hosts_and_addresses_are_tried_in_order),
        T(a_host_that_is_nowhere_is_for_good_one_that_is_silent_is_not),
        T(mail_that_would_come_back_has_failed),
        T(mail_for_a_host_before_us_waits_for_it),
        T(mail_for_a_host_before_us_waits_for_its_address),
        T(a_smart_host_may_have_our_name),
        T(a_refusal_that_ignores_quit_costs_ten_seconds),
        T(each_command_has_its_own_time),
        T(a_server_that_takes_an_octet_at_a_time_is_left),
        T(a_server_that_is_just_fast_enough_gets_all),
        T(a_job_on_a_stale_connection_gets_a_new_one),
        T(a_server_that_begins_another_reply_is_left),
        T(a_reply_that_waits_is_not_lost_to_a_job_that_ends_at_once),
        T(a_server_that_goes_before_a_word_of_the_job_is_not_the_last),
        T(what_the_last_one_did_is_told),
        T(what_a_server_says_of_a_recipient_counts),
        T(a_fast_server_gets_a_bounded_piece_a_turn),
    };
    return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
