/* What a job may ask for: callouts, parameters of MAIL and RCPT, source addresses, SMTPUTF8; and what a
 * server may ask for by LIMITS.
 */
#include "service/relay/relay_testing.h"

/* ---- callouts ---------------------------------------------------------------------------------- */

static void a_callout_gives_no_message(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1,
                         .hosts = {"192.0.2.1"},
                         .sender = "",
                         .rcpts = {"a@y.test", "b@y.test"},
                         .is_callout = true});
    struct conn *c = greets_offering("250-SIZE\n250-DSN\n250 PIPELINING\n");
    expect(c, "MAIL FROM:<>\nRCPT TO:<a@y.test>\nRCPT TO:<b@y.test>\nRSET\n");
    say(c, "250 ok\n250 2.1.5 here\n550 5.1.1 nobody\n250 ok\n");
    assert_int_equal(the->n_results, 2);
    const struct result *r = the->results;
    assert_true(r[0].token == 1 && r[0].kind == RESULT_OK && r[0].stage == SMTP_AT_RCPT && r[0].code == 250);
    assert_true(r[1].kind == RESULT_PERMANENT && r[1].code == 550 && r[1].esc.detail == 1);
    assert_string_equal(r[1].text, "nobody");
    give(&(struct order){.token = 2, .hosts = {"192.0.2.1"}}); /* the connection is as good as before */
    assert_int_equal(the->n_conns, 1);
    expect(c, "MAIL FROM:<a@x.test> SIZE=3\nRCPT TO:<r@y.test>\nDATA\n");
}

static void a_callout_asks_the_next_server_when_one_is_silent(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1", "192.0.2.2"}, .sender = "", .is_callout = true});
    server_closes(greets());
    struct conn *c = greets();
    expect(c, "MAIL FROM:<>\nRCPT TO:<r@y.test>\nRSET\n");
    say(c, "250 ok\n450 4.2.1 greylisted\n250 ok\n");
    assert_true(last_result(1)->kind == RESULT_TEMPORARY && last_result(1)->code == 450);
}

/* ---- parameters -------------------------------------------------------------------------------- */

static const struct order with_params = {.token = 1,
                                         .hosts = {"192.0.2.1"},
                                         .rcpts = {"r@y.test"},
                                         .notify = NOTIFY_SUCCESS | NOTIFY_DELAY,
                                         .orcpt = "rfc822;r+x@y.test",
                                         .params = {.ret = DSN_RET_HDRS,
                                                    .envid = STR_INIT("id=1"),
                                                    .by_mode = BY_NOTIFY,
                                                    .by_ms = 1000000 + 600 * 1000,
                                                    .has_priority = true,
                                                    .priority = 3,
                                                    .hold_until_ms = 5}};

static void parameters_go_to_servers_that_offer_them(void **state)
{
    UNUSED(state);
    give(&with_params);
    struct conn *c = greets_offering("250-DSN\n250-DELIVERBY\n250-MT-PRIORITY\n250 PIPELINING\n");
    expect(c, "MAIL FROM:<a@x.test> RET=HDRS ENVID=id+3D1 BY=599;N MT-PRIORITY=3\n"
              "RCPT TO:<r@y.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r+2Bx@y.test\nDATA\n");
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, "x\n.\n");
    say(c, "250 taken\n");
    assert_true(last_result(1)->kind == RESULT_OK && last_result(1)->flags == RESULT_TOOK_DSN);
}

static void parameters_do_not_go_to_others(void **state)
{
    UNUSED(state);
    give(&with_params);
    takes(greets());
    assert_int_equal(last_result(1)->flags, 0);
}

static void mail_that_must_be_in_time_comes_back_from_a_server_that_knows_no_time(void **state)
{
    UNUSED(state);
    struct order o = with_params;
    o.params.by_mode = BY_RETURN;
    give(&o);
    struct conn *c = greets();
    expect(c, "");
    assert_true(last_result(1)->kind == RESULT_PERMANENT && last_result(1)->esc.subject == 3 &&
                last_result(1)->esc.detail == 3);
    assert_false(c->is_closed);
}

/* ---- LIMITS ------------------------------------------------------------------------------------ */

static void a_server_gets_no_more_messages_than_it_takes(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets_offering("250-LIMITS MAILMAX=2\n250 PIPELINING\n");
    takes(c);
    give(&(struct order){.token = 2, .hosts = {"192.0.2.1"}});
    expect(c, ENVELOPE);
    say(c, "450 not now\n503 x\n503 x\n");
    assert_int_equal(last_result(2)->code, 450);
    expect(c, "QUIT\n");
    give(&(struct order){.token = 3, .hosts = {"192.0.2.1"}});
    assert_int_equal(the->n_conns, 2);
    takes(greets());
    say(c, "221 bye\n");
    assert_true(c->is_closed);
}

/* RCPTDOMAINMAX counts for the connection: mail for another domain goes out on one of its own, mail for a
 * known one on the kept one. */
static void a_server_gets_no_more_domains_than_it_takes(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}, .rcpts = {"r@y.test", "r@z.test"}});
    struct conn *c = greets_offering("250-LIMITS RCPTDOMAINMAX=1\n250 PIPELINING\n");
    expect(c, ENVELOPE);
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, "x\n.\n");
    say(c, "250 taken\n");
    assert_int_equal(last_result(2)->kind, RESULT_TEMPORARY);
    assert_true(last_result(2)->code == 0 && last_result(2)->esc.subject == 5 &&
                last_result(2)->esc.detail == 3);
    give(&(struct order){.token = 2, .hosts = {"192.0.2.1"}, .rcpts = {"r@z.test"}});
    assert_int_equal(the->n_conns, 2);
    struct conn *other = greets_offering("250-LIMITS RCPTDOMAINMAX=1\n250 PIPELINING\n");
    expect(other, "MAIL FROM:<a@x.test>\nRCPT TO:<r@z.test>\nDATA\n");
    say(other, "250 ok\n250 ok\n354 go\n");
    expect(other, "x\n.\n");
    say(other, "250 taken\n");
    assert_int_equal(last_result(3)->kind, RESULT_OK);
    give(&(struct order){.token = 3, .hosts = {"192.0.2.1"}, .rcpts = {"r@y.test", "r@z.test"}});
    expect(other, "MAIL FROM:<a@x.test>\nRCPT TO:<r@z.test>\nDATA\n");
    give(&(struct order){.token = 4, .hosts = {"192.0.2.1"}, .rcpts = {"r@y.test"}});
    assert_int_equal(the->n_conns, 2);
    takes(c);
    assert_int_equal(last_result(4)->kind, RESULT_OK);
    assert_int_equal(the->n_conns, 2);
}

/* ---- where connections leave from -------------------------------------------------------------- */

static struct source_pool pools[1];
static struct netaddr pool_addrs[3];

/* Two IPv4 addresses and one of IPv6 (n: how many of them). */
static void has_pool(size_t n)
{
    static const char *const texts[] = {"198.51.100.7", "198.51.100.8", "2001:db8::7"};
    for (size_t i = 0; i < n; i++)
        assert_true(netaddr_parse_ip(str_from_c(texts[i]), 0, &pool_addrs[i]));
    pools[0] = (struct source_pool){STR("bulk"), pool_addrs, n, STR("bulk.me.test")};
    the->config.policy.sources = pools;
    the->config.policy.n_sources = 1;
}

static void order_from_pool(uint64_t token)
{
    give(&(struct order){
        .token = token, .site = "mx:y.test from bulk", .hosts = {"a.test"}, .source = "bulk"});
    lookup_says("2001:db8::1", "192.0.2.1");
}

static void each_address_of_a_pool_has_its_share(void **state)
{
    UNUSED(state);
    bool was_used[2] = {false, false};
    has_pool(3);
    for (uint64_t i = 0; i < 12; i++) {
        order_from_pool(i);
        assert_true(netaddr_eq(&dialled()->from, &pool_addrs[2]));
        refuses(ERR_UNREACHABLE);
        struct netaddr from = dialled()->from;
        assert_true(netaddr_eq(&from, &pool_addrs[0]) || netaddr_eq(&from, &pool_addrs[1]));
        was_used[netaddr_eq(&from, &pool_addrs[1])] = true;
        refuses(ERR_REFUSED);
    }
    assert_true(was_used[0] && was_used[1]);
}

static void a_pool_has_its_own_name(void **state)
{
    UNUSED(state);
    has_pool(3);
    order_from_pool(1);
    struct conn *c = answers();
    say(c, "220 mx.other.test ESMTP\n");
    expect(c, "EHLO bulk.me.test\n");
}

static void mail_from_a_pool_that_would_come_back_has_failed(void **state)
{
    UNUSED(state);
    has_pool(3);
    order_from_pool(1);
    struct conn *c = answers();
    say(c, "220 me.test ESMTP\n");
    expect(c, "EHLO bulk.me.test\n");
    say(c, "250-me.test\n250 PIPELINING\n");
    expect(c, "QUIT\n");
    say(c, "221 bye\n");
    assert_true(last_result(1)->kind == RESULT_PERMANENT && last_result(1)->esc.subject == 4 &&
                last_result(1)->esc.detail == 6);
}

static void an_address_that_can_not_be_bound_is_told(void **state)
{
    UNUSED(state);
    has_pool(1);
    order_from_pool(1);
    assert_int_equal(dialled()->to.kind, NETADDR_IP4); /* for IPv6 there is none to leave from */
    refuses(ERR_INVALID);
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_TEMPORARY && r->esc.subject == 4 && r->esc.detail == 1);
    assert_non_null(strstr(r->text, "(connecting from 198.51.100.7)"));
}

static void a_pool_without_the_family_is_told(void **state)
{
    UNUSED(state);
    has_pool(2);
    give(&(struct order){.token = 1, .hosts = {"a.test"}, .source = "bulk"});
    lookup_says("2001:db8::1", NULL);
    const struct result *r = last_result(1);
    assert_int_equal(the->n_conns, 0);
    assert_true(r->kind == RESULT_TEMPORARY && r->esc.subject == 4);
    assert_string_equal(r->text, "the pool of source addresses \"bulk\" has no IPv6 address");
    assert_string_equal(r->host, "a.test [2001:db8::1]:25");
}

static void a_pool_that_is_gone_is_told(void **state)
{
    UNUSED(state);
    has_pool(1);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}, .source = "other"});
    const struct result *r = last_result(1);
    assert_int_equal(the->n_conns, 0);
    assert_true(r->kind == RESULT_TEMPORARY && r->esc.subject == 3 && r->esc.detail == 5);
    assert_non_null(strstr(r->text, "\"other\" is not in the configuration any more"));
}

/* ---- SMTPUTF8 ---------------------------------------------------------------------------------- */

static bool to_ascii(struct str domain, struct buf *out)
{
    return str_eq(domain, STR("b\xc3\xbc.test")) && buf_puts(out, "xn--b-xka.test");
}

static void a_plain_server_gets_domains_as_a_labels(void **state)
{
    UNUSED(state);
    the->config.policy.to_ascii = to_ascii;
    give(&(struct order){.token = 1,
                         .hosts = {"192.0.2.1"},
                         .rcpts = {"r@b\xc3\xbc.test", "\xc3\xbc@y.test"},
                         .sender = "a@b\xc3\xbc.test",
                         .flags = MAIL_FLAG_UTF8,
                         .body = "Subject: x\r\n\r\nx\r\n"});
    struct conn *c = greets();
    expect(c, "MAIL FROM:<a@xn--b-xka.test>\nRCPT TO:<r@xn--b-xka.test>\nDATA\n");
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, "Subject: x\n\nx\n.\n");
    say(c, "250 taken\n");
    assert_true(the->n_results == 2 && the->results[0].kind == RESULT_OK);
    const struct result *r = &the->results[1];
    assert_true(r->kind == RESULT_PERMANENT && r->esc.subject == 6 && r->esc.detail == 7 &&
                r->stage == SMTP_AT_RCPT);
}

static void a_plain_server_gets_no_utf8_header(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1,
                         .hosts = {"192.0.2.1"},
                         .flags = MAIL_FLAG_UTF8,
                         .body = "Subject: \xc3\xbc\r\n\r\nx\r\n"});
    struct conn *c = greets();
    expect(c, "");
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_PERMANENT && r->esc.subject == 6 && r->esc.detail == 7);
    give(&(struct order){.token = 2, .hosts = {"192.0.2.1"}});
    takes(c);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_callout_gives_no_message),
        T(a_callout_asks_the_next_server_when_one_is_silent),
        T(parameters_go_to_servers_that_offer_them),
        T(parameters_do_not_go_to_others),
        T(mail_that_must_be_in_time_comes_back_from_a_server_that_knows_no_time),
        T(a_server_gets_no_more_messages_than_it_takes),
        T(a_server_gets_no_more_domains_than_it_takes),
        T(each_address_of_a_pool_has_its_share),
        T(a_pool_has_its_own_name),
        T(mail_from_a_pool_that_would_come_back_has_failed),
        T(an_address_that_can_not_be_bound_is_told),
        T(a_pool_without_the_family_is_told),
        T(a_pool_that_is_gone_is_told),
        T(a_plain_server_gets_domains_as_a_labels),
        T(a_plain_server_gets_no_utf8_header),
    };
    return cmocka_run_group_tests_name("relay_order", tests, NULL, NULL);
}
