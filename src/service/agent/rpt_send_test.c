/* Reports about TLS: when they are sent, where, and how often. */
#include "service/agent/rpt_testing.h"

#include "base/base64.h"
#include "ext/gzip.h"

static void nothing_is_sent_before_the_day_is_over(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    at(f, END_S - 1);
    expect_no_question(f);
    at(f, END_S);
    const struct rpt_day *d = only_day(f);
    assert_int_equal(d->state, DAY_WAITING);
    assert_true(d->due_s >= END_S && d->due_s < END_S + 4 * 3600);
    at(f, d->due_s - 1);
    expect_no_question(f);
    good(f, "a.test"); /* that is the next day's */
    assert_int_equal(f->self->rpt->n_days, 2);
    at(f, d->due_s);
    (void)expect_rr(f, "_smtp._tls.a.test");
}

/* The text between two texts of the message, which must be there. */
static struct str between(struct str text, const char *from, const char *to)
{
    size_t i = str_find(text, str_from_c(from));
    if (i == STR_NPOS) {
        fail_msg("no '%s' in\n%.*s", from, STR_FMT(text));
        return STR_NIL;
    }
    struct str rest = str_skip(text, i + strlen(from));
    size_t n = str_find(rest, str_from_c(to));
    if (n == STR_NPOS)
        fail_msg("no '%s' in\n%.*s", to, STR_FMT(rest));
    return str_slice(rest, 0, n);
}

static void assert_report(struct str packed, const char *json)
{
    struct buf want;
    buf_init(&want, 65536);
    assert_true(gzip_pack(str_from_c(json), &want));
    assert_true(str_eq(packed, buf_str(&want)));
    buf_fini(&want);
}

static void check_header(struct str head, const char *id)
{
    char want[512];
    assert_true(
        snprintf(want, sizeof want,
                 "From: tls@us.test\r\nTo: r+1@a.test\r\nSubject: Report Domain: a.test\r\n\tSubmitter: "
                 "us.test\r\n\tReport-ID: <%s@us.test>\r\nMessage-ID: <",
                 id) > 0);
    assert_true(str_find(head, str_from_c(want)) != STR_NPOS);
    assert_true(str_eq(between(head, "Received: by ", "\r\n"), STR("mail.us.test")));
    assert_true(str_eq(between(head, "\r\nDate: ", "\r\n"), STR("Sat, 16 Jan 2027 04:01:00 +0000")));
    assert_true(str_eq(between(head, "\r\nTLS-Report-Domain: ", "\r\n"), STR("a.test")));
    assert_true(str_eq(between(head, "\r\nTLS-Report-Submitter: ", "\r\n"), STR("us.test")));
    assert_true(str_eq(between(head, "\r\nTLS-Required: ", "\r\n"), STR("No")));
    assert_true(str_eq(between(head, "\r\nAuto-Submitted: ", "\r\n"), STR("auto-generated")));
    assert_true(str_eq(between(head, "\r\nMIME-Version: ", "\r\n"), STR("1.0")));
}

static void a_report_goes_by_mail(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:never@a.test"));
    session(f, "a.test", TLS_RPT_NO_POLICY, TLS_RPT_STARTTLS_NOT_SUPPORTED);
    on_the_next_morning(f);
    wants(f, "a.test", RUA("mailto:r%2B1@a.test"));
    grant(f, 7000);
    struct ipc_put m = expect_put(f, 7000);
    struct reader r = reader_of(m.rcpts);
    struct rcpt to;
    assert_true(rcpt_next(&r, &to) && reader_done(&r) && str_eq(to.address, STR("r+1@a.test")));
    char id[RPT_ID + 1];
    memcpy(id, only_day(f)->id, sizeof id);
    struct str head = str_slice(m.body, 0, str_find(m.body, STR("\r\n\r\n")) + 4);
    check_header(head, id);
    struct str boundary = between(head, "multipart/report; report-type=tlsrpt;\r\n\tboundary=\"", "\"\r\n");
    struct str part = str_skip(m.body, str_find(m.body, STR("Content-Type: application/tlsrpt+gzip\r\n")));
    assert_true(str_find(part, STR("Content-Transfer-Encoding: base64\r\n")) != STR_NPOS);
    char file[200];
    assert_true(snprintf(file, sizeof file, "us.test!a.test!%d!%d!%s.json.gz", BEGIN_S, END_S - 1, id) > 0);
    assert_true(str_eq(between(part, "attachment;\r\n\tfilename=\"", "\"\r\n"), str_from_c(file)));
    struct str text = between(part, "\r\n\r\n", "\r\n\r\n--");
    struct buf packed;
    buf_init(&packed, 65536);
    while (text.n > 0) {
        struct str line = str_cut(&text, '\n');
        assert_true(line.n <= 77);
        assert_true(base64_take(str_ends(line, STR("\r")) ? str_slice(line, 0, line.n - 1) : line, &packed));
    }
    char json[2000];
    assert_true(
        snprintf(
            json, sizeof json,
            "{\"organization-name\":\"Us & Co\",\"date-range\":{\"start-datetime\":\"2027-01-15T00:00:00Z\","
            "\"end-datetime\":\"2027-01-15T23:59:59Z\"},\"contact-info\":\"help@us.test\",\"report-id\":\"%s@"
            "us.test\","
            "\"policies\":[{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":\"a.test\"},"
            "\"summary\":"
            "{\"total-successful-session-count\":1,\"total-failure-session-count\":1},\"failure-details\":[{"
            "\"result-type\":\"starttls-not-supported\",\"sending-mta-ip\":\"192.0.2.1\",\"receiving-mx-"
            "hostname\":"
            "\"mx.test\",\"receiving-ip\":\"192.0.2.2\",\"failure-reason-code\":\"it \\\"said\\\" so\","
            "\"failed-session-count\":1}]}]}\n",
            id) > 0);
    assert_report(buf_str(&packed), json);
    buf_fini(&packed);
    struct buf last;
    char last_mem[100];
    buf_init_fixed(&last, last_mem, sizeof last_mem);
    buf_printf(&last, "\r\n--%.*s--\r\n", STR_FMT(boundary));
    assert_true(str_ends(m.body, buf_str(&last)));
    char events[200];
    assert_true(
        snprintf(
            events, sizeof events,
            "recipient 7000 r+1@a.test  0\naccepted 7000 tls@us.test our report about TLS to a.test %zu\n",
            m.body.n) > 0);
    answer_put(f, m.token, ERR_OK);
    assert_string_equal(f->events, events);
    expect_done(f, 1, 0);
    assert_non_null(strstr(f->said, "tlsrpt.sent domain=a.test day=1799971200 rua=mailto:r%2B1@a.test"));
}

static void a_report_goes_by_https(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("https://in.a.test:8443/x?y"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("https://In.a.test:8443/x?y,https://b.test"));
    answer_host(f, expect_host(f, "In.a.test"), DNS_STATUS_OK);
    const struct got *g = expect_post(f, 0);
    assert_string_equal(g->url, "https://In.a.test:8443/x?y");
    assert_string_equal(g->host, "In.a.test");
    assert_int_equal(g->port, 8443);
    char json[1000];
    assert_true(
        snprintf(
            json, sizeof json,
            "{\"organization-name\":\"Us & Co\",\"date-range\":{\"start-datetime\":\"2027-01-15T00:00:00Z\","
            "\"end-datetime\":\"2027-01-15T23:59:59Z\"},\"contact-info\":\"help@us.test\",\"report-id\":\"%s@"
            "us.test\","
            "\"policies\":[{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":\"a.test\"},"
            "\"summary\":"
            "{\"total-successful-session-count\":1,\"total-failure-session-count\":0}}]}\n",
            only_day(f)->id) > 0);
    assert_report(str_of(g->body, g->n_body), json);
    answer_code(f, 201);
    answer_host(f, expect_host(f, "b.test"), DNS_STATUS_OK);
    g = expect_post(f, 1);
    assert_string_equal(g->url, "https://b.test/");
    assert_int_equal(g->port, 0);
    answer_code(f, 200);
    expect_done(f, 2, 0);
}

static void who_withdraws_his_record_gets_none(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    answer_txt(f, expect_rr(f, "_smtp._tls.a.test"), DNS_STATUS_NXDOMAIN, NULL);
    expect_done(f, 0, 0);
}

static void what_is_no_place_is_given_up_at_once(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    wants(f, "a.test",
          RUA("mailto:joe,mailto:a%0d%0ab@a.test,https://192.0.2.1:x/,https://a.test:0/,https://me@a.test/,"
              "https://[::1]/,mailto:%22a%20b%22@a.test"));
    expect_done(f, 0, 7);
    expect_no_question(f);
    assert_int_equal(f->queue.n_sent, 0);
    assert_non_null(strstr(f->said, "tlsrpt.failed"));
}

/* One place that does not work costs the others nothing, and gets no second one of theirs. */
static void places_are_tried_again_each_for_itself(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("https://slow.test/,mailto:r@a.test"));
    answer_host(f, expect_host(f, "slow.test"), DNS_STATUS_OK);
    answer_http(f, &(struct http_answer){.status = HTTP_TIMEOUT, .why = STR("slow\n")});
    grant(f, 1);
    answer_put(f, expect_put(f, 1).token, ERR_OK);
    const struct rpt_day *d = only_day(f);
    assert_true(d->state == DAY_WAITING && f->self->rpt->count.sent == 1);
    assert_non_null(strstr(f->said, "tlsrpt.delayed"));
    int64_t last_wait_s = 0;
    unsigned n = 1;
    for (; f->self->rpt->n_days > 0; n++) {
        int64_t wait_s = d->due_s - f->wall_ms / 1000;
        assert_true(wait_s >= 5 * 60 && wait_s <= 4 * 3600 && wait_s >= last_wait_s);
        last_wait_s = wait_s;
        at(f, d->due_s - 1);
        expect_no_question(f);
        at(f, d->due_s);
        answer_host(f, expect_host(f, "slow.test"), DNS_STATUS_OK);
        answer_code(f, 500);
        assert_true(n < 100);
    }
    expect_done(f, 1, 1);
    assert_true(n > 5);
    assert_true(f->wall_ms / 1000 - END_S < 36 * 3600); /* 5.5: a day, after the morning */
    const char *failed = strstr(f->said, "tlsrpt.failed domain=a.test day=1799971200 rua=https://slow.test/ "
                                         "why=\"the server answered with code 500\"");
    assert_non_null(failed);
    assert_int_equal(f->queue.n_sent, 2);
}

static void without_dns_it_is_tried_for_a_day(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    for (unsigned n = 0; f->self->rpt->n_days > 0; n++) {
        answer_txt(f, expect_rr(f, "_smtp._tls.a.test"), DNS_STATUS_TEMPORARY, NULL);
        if (f->self->rpt->n_days > 0)
            at(f, only_day(f)->due_s);
        assert_true(n < 100);
    }
    expect_done(f, 0, 1);
}

static void a_queue_that_goes_is_waited_for(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test,mailto:s@a.test"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("mailto:r@a.test,mailto:s@a.test"));
    f->queue.user->on_closed(f->queue.arg, &f->queue); /* while an id is waited for */
    turn(f);
    const struct rpt_day *d = only_day(f);
    assert_int_equal(d->state, DAY_WAITING);
    at(f, d->due_s); /* it is still away */
    assert_int_equal(d->state, DAY_WAITING);
    f->queue.is_closed = false;
    forget_sent(&f->queue);
    agent_role.peer(f->self, ROLE_QUEUE, 0, &f->queue);
    at(f, d->due_s);
    grant(f, 100);
    (void)expect_put(f, 100);
    f->queue.user->on_closed(f->queue.arg, &f->queue); /* while the answer is */
    turn(f);
    assert_int_equal(d->state, DAY_WAITING);
    f->queue.is_closed = false;
    agent_role.peer(f->self, ROLE_QUEUE, 0, &f->queue);
    at(f, d->due_s);
    grant(f, 200);
    answer_put(f, expect_put(f, 200).token, ERR_NOSPACE); /* tried again later */
    answer_put(f, expect_put(f, 201).token, ERR_OK);
    at(f, d->due_s);
    answer_put(f, expect_put(f, 202).token, ERR_OK);
    expect_done(f, 2, 0);
}

static void a_full_queue_is_tried_later(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    f->queue.is_full = true;
    wants(f, "a.test", RUA("mailto:r@a.test"));
    const struct rpt_day *d = only_day(f);
    assert_int_equal(d->state, DAY_WAITING);
    f->queue.is_full = false;
    at(f, d->due_s);
    grant(f, 5);
    answer_put(f, expect_put(f, 5).token, ERR_OK);
    expect_done(f, 1, 0);
}

static void without_lookup_it_is_tried_later(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    good(f, "b.test");
    (void)expect_rr(f, "_smtp._tls.b.test");
    on_the_next_morning(f);
    (void)expect_rr(f, "_smtp._tls.a.test");
    (void)expect_rr(f, "_smtp._tls.b.test");
    f->lookup.user->on_closed(f->lookup.arg, &f->lookup);
    turn(f);
    list_each (l, &f->self->rpt->days)
        assert_int_equal(list_entry(l, struct rpt_day, link)->state, DAY_WAITING);
    f->lookup.is_closed = false;
    agent_role.peer(f->self, ROLE_LOOKUP, 0, &f->lookup);
    const struct rpt_day *d = list_entry(f->self->rpt->days.next, struct rpt_day, link);
    at(f, d->due_s);
    answer_txt(f, expect_rr(f, "_smtp._tls.a.test"), DNS_STATUS_OK, RUA("https://b.test/"));
    uint64_t token = expect_rr(f, "_smtp._tls.b.test"); /* of the other day */
    answer_txt(f, token, DNS_STATUS_NXDOMAIN, NULL);
    answer_txt(f, expect_host(f, "b.test"), DNS_STATUS_OK, NULL); /* to another question: lookup raves */
    assert_int_equal(only_day(f)->state, DAY_WAITING);
}

static void a_large_report_leaves_details_out(void **state)
{
    struct fixture *f = *state;
    f->config.tls_organization = STR("x");
    for (unsigned i = 0; i < 3 * TLS_RPT_FAILURES_MAX;
         i++) { /* of three policies, and nothing in it repeats */
        char text[400], line[900];
        char lines_mem[1000];
        struct buf lines;
        for (size_t k = 0; k < sizeof text; k++)
            text[k] = (char)(' ' + rng_next(&f->rng) % 94);
        memset(line, 'a' + (char)(i % 3), sizeof line);
        buf_init_fixed(&lines, lines_mem, sizeof lines_mem);
        assert_true(list_put_str(&lines, str_of(line, sizeof line)));
        say_session(f, &f->relay[0],
                    &(struct ipc_tls_session){.policy = TLS_RPT_TLSA,
                                              .result = TLS_RPT_VALIDATION_FAILURE,
                                              .domain = STR("a.test"),
                                              .lines = buf_str(&lines),
                                              .mx = str_of(text, 100),
                                              .receiving = str_of(text + 100, 60),
                                              .sending = str_of(text + 160, 60),
                                              .reason = str_of(text + 220, RPT_WHY_MAX)});
    }
    wants(f, "a.test", RUA("mailto:r@a.test"));
    assert_int_equal(only_day(f)->tally.n_dropped, 0);
    on_the_next_morning(f);
    wants(f, "a.test", RUA("mailto:r@a.test"));
    grant(f, 5);
    struct ipc_put m = expect_put(f, 5);
    assert_true(m.body.n > 1000 && m.body.n <= IPC_BODY_INLINE_MAX / 2); /* a quarter of them */
    answer_put(f, m.token, ERR_OK);
    expect_done(f, 1, 0);
}

static void few_are_sent_at_a_time(void **state)
{
    enum { N = TLS_RPT_SENDS_MAX + 3 };
    struct fixture *f = *state;
    for (size_t i = 0; i < N; i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        good(f, domain);
        wants(f, domain, RUA("mailto:r@a.test"));
    }
    on_the_next_morning(f);
    assert_int_equal(f->lookup.n_sent - f->lookup.n_seen, TLS_RPT_SENDS_MAX);
    for (size_t i = 0; i < N; i++) {
        char name[64];
        assert_true(snprintf(name, sizeof name, "_smtp._tls.d%zu.test", i) > 0);
        answer_txt(f, expect_rr(f, name), DNS_STATUS_NXDOMAIN, NULL);
    }
    expect_done(f, 0, 0);
}

/* In a lab a day is a minute, and all the rest is as much shorter. */
static void a_short_day_is_short_throughout(void **state)
{
    struct fixture *f = *state;
    f->config.tls_reports_every_s = 60;
    good(f, "a.test");
    wants(f, "a.test", RUA("https://a.test/"));
    at(f, NOON_S + 60);
    const struct rpt_day *d = only_day(f);
    assert_true(d->begin_s == NOON_S && d->due_s < NOON_S + 60 + 10);
    at(f, d->due_s);
    wants(f, "a.test", RUA("https://a.test/"));
    int64_t first_s = f->wall_ms / 1000;
    for (unsigned n = 0; f->self->rpt->n_days > 0; n++) {
        answer_host(f, expect_host(f, "a.test"), DNS_STATUS_NXDOMAIN);
        if (f->self->rpt->n_days > 0)
            at(f, only_day(f)->due_s);
        assert_true(n < 100);
    }
    assert_true(f->wall_ms / 1000 - first_s >= 60 && f->wall_ms / 1000 - first_s <= 71);
    expect_done(f, 0, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup_on, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_is_sent_before_the_day_is_over),
        T(a_report_goes_by_mail),
        T(a_report_goes_by_https),
        T(who_withdraws_his_record_gets_none),
        T(what_is_no_place_is_given_up_at_once),
        T(places_are_tried_again_each_for_itself),
        T(without_dns_it_is_tried_for_a_day),
        T(a_queue_that_goes_is_waited_for),
        T(a_full_queue_is_tried_later),
        T(without_lookup_it_is_tried_later),
        T(a_large_report_leaves_details_out),
        T(few_are_sent_at_a_time),
        T(a_short_day_is_short_throughout),
    };
    return cmocka_run_group_tests_name("rpt_send", tests, NULL, NULL);
}
