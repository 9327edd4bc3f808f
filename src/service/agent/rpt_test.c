/* Reports about TLS: what is counted, when it is sent where, and what a restart makes of it. */
#include "service/agent/agent_testing.h"

#include "base/base64.h"
#include "ext/gzip.h"

enum {
    NOON_S = 1799971200 + DAY_S / 2, /* of a day in 2027 */
    BEGIN_S = 1799971200,
    END_S = BEGIN_S + DAY_S,
};

/* ---- the test's hand ----------------------------------------------------------------------------------- */

static int setup_on(void **state)
{
    assert_int_equal(setup(state), 0);
    struct fixture *f = *state;
    f->config.tls_reports = STR("tls@us.test");
    f->config.tls_organization = STR("Us & Co");
    f->config.tls_contact = STR("help@us.test");
    f->config.policy.hostname = STR("mail.us.test");
    f->wall_ms = (int64_t)NOON_S * 1000;
    return 0;
}

static void say_session(struct fixture *f, struct channel *relay, const struct ipc_tls_session *m)
{
    char mem[65536];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_tls_session(m, &b));
    relay->user->on_message(relay->arg, relay, IPC_TLS_SESSION, buf_str(&b), NULL);
    turn(f);
}

static void session(struct fixture *f, const char *domain, enum tls_rpt_type policy, uint8_t result)
{
    bool is_ok = result == TLS_SESSION_OK;
    say_session(f, &f->relay[0],
                &(struct ipc_tls_session){.policy = (uint8_t)policy,
                                          .result = result,
                                          .domain = str_from_c(domain),
                                          .mx = STR("mx.test"),
                                          .helo = STR("mail.us.test"),
                                          .sending = STR("192.0.2.1"),
                                          .receiving = STR("192.0.2.2"),
                                          .reason = is_ok ? STR_NIL : STR("it \"said\" so")});
}

static void good(struct fixture *f, const char *domain)
{
    session(f, domain, TLS_RPT_NO_POLICY, TLS_SESSION_OK);
}

#define RUA(list) ((const char *const[]){"v=TLSRPTv1; rua=" list, NULL})

/* Is asked whether it wants reports, and does. */
static void wants(struct fixture *f, const char *domain, const char *const *record)
{
    char name[300];
    assert_true(snprintf(name, sizeof name, "_smtp._tls.%s", domain) > 0);
    answer_txt(f, expect_rr(f, name), DNS_STATUS_OK, record);
}

static void at(struct fixture *f, int64_t wall_s)
{
    assert_true(wall_s * 1000 >= f->wall_ms);
    pass_s(f, wall_s - f->wall_ms / 1000);
    rpt_look(f->self);
    turn(f);
}

/* When all reports of the day are due. */
static void on_the_next_morning(struct fixture *f)
{
    at(f, END_S + 4 * 3600 + 60);
    rpt_look(f->self); /* the day was ended by the first look */
    turn(f);
}

static void from_queue(struct fixture *f, uint16_t type, const struct buf *b)
{
    f->queue.user->on_message(f->queue.arg, &f->queue, type, buf_str(b), NULL);
    turn(f);
}

static const struct sent *next_to_queue(struct fixture *f, uint16_t type)
{
    static const struct sent none;
    if (f->queue.n_seen == f->queue.n_sent) {
        fail_msg("nothing for queue");
        return &none;
    }
    const struct sent *s = &f->queue.sent[f->queue.n_seen++];
    assert_int_equal(s->type, type);
    return s;
}

static void grant(struct fixture *f, uint64_t first)
{
    char mem[32];
    struct buf b;
    struct ipc_id_want want;
    const struct sent *s = next_to_queue(f, IPC_ID_WANT);
    assert_true(ipc_decode_id_want(str_of(s->bytes, s->n), &want) && want.n > 0);
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_id_grant(&(struct ipc_id_grant){.first = first, .n = want.n}, &b));
    from_queue(f, IPC_ID_GRANT, &b);
}

static struct ipc_put expect_put(struct fixture *f, uint64_t id)
{
    struct ipc_put m;
    const struct sent *s = next_to_queue(f, IPC_PUT);
    assert_true(ipc_decode_put(str_of(s->bytes, s->n), &m));
    assert_int_equal(m.id, id);
    f->last_put = id;
    assert_true(str_eq(m.sender, STR("tls@us.test")));
    assert_true(m.flags == 0 && m.params.n + m.client.n + m.helo.n == 0 && m.is_piped == 0);
    return m;
}

static void answer_put(struct fixture *f, uint64_t token, enum err err)
{
    char mem[32];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_put_done m = {.token = token, .id = f->last_put, .err = (uint8_t)err};
    assert_true(ipc_encode_put_done(&m, &b));
    from_queue(f, IPC_PUT_DONE, &b);
}

static const struct got *expect_post(struct fixture *f, size_t i)
{
    assert_int_equal(f->n_gets, i + 1);
    assert_true(f->gets[i].is_post);
    assert_string_equal(f->gets[i].type, "application/tlsrpt+gzip");
    return &f->gets[i];
}

static void answer_code(struct fixture *f, unsigned code)
{
    answer_http(f, &(struct http_answer){.code = code});
}

static const struct rpt_day *only_day(const struct fixture *f)
{
    const struct rpt *r = f->self->rpt;
    assert_int_equal(r->n_days, 1);
    return list_entry(r->days.next, struct rpt_day, link);
}

static const struct tls_rpt_policy *only_policy(const struct fixture *f)
{
    const struct rpt_day *d = only_day(f);
    assert_int_equal(d->tally.n_policies, 1);
    return &d->tally.policies[0];
}

static void expect_done(struct fixture *f, uint64_t n_sent, uint64_t n_failed)
{
    const struct rpt *r = f->self->rpt;
    assert_int_equal(r->count.sent, n_sent);
    assert_int_equal(r->count.failed, n_failed);
    assert_int_equal(r->n_days, 0);
    assert_int_equal(r->n_at_work, 0);
}

static void restart(struct fixture *f)
{
    agent_role.drain(f->self, f->now_ms + 1000);
    turn(f);
    assert_int_equal(f->n_drained, 1);
    end(f);
    begin(f);
}

/* ---- counting ------------------------------------------------------------------------------------------ */

static void sessions_of_all_relays_are_one_count(void **state)
{
    struct fixture *f = *state;
    good(f, "A.test");
    say_session(f, &f->relay[1],
                &(struct ipc_tls_session){
                    .policy = TLS_RPT_NO_POLICY, .result = TLS_SESSION_OK, .domain = STR("a.TEST")});
    session(f, "a.test", TLS_RPT_NO_POLICY, TLS_RPT_STARTTLS_NOT_SUPPORTED);
    session(f, "a.test", TLS_RPT_NO_POLICY, TLS_RPT_STARTTLS_NOT_SUPPORTED);
    wants(f, "a.test", RUA("mailto:r@a.test"));
    good(f, "a.test");
    expect_no_question(f); /* asked once a day */
    const struct tls_rpt_policy *p = only_policy(f);
    assert_true(str_eq(p->domain, STR("A.test")));
    assert_true(p->n_ok == 3 && p->n_failed == 2 && p->n_failures == 1 && p->failures[0].n == 2);
    assert_true(str_eq(p->failures[0].mx, STR("mx.test")));
    assert_true(str_eq(p->failures[0].sending_ip, STR("192.0.2.1")));
    assert_true(str_eq(p->failures[0].receiving_ip, STR("192.0.2.2")));
    assert_int_equal(p->failures[0].helo.n, 0); /* what it would say is the other side's; ours is no news */
    assert_int_equal(f->self->rpt->count.sessions, 5);
}

static void nothing_is_kept_for_who_wants_nothing(void **state)
{
    static const struct {
        enum dns_status status;
        const char *text;
    } table[] = {{DNS_STATUS_NXDOMAIN, NULL},
                 {DNS_STATUS_NODATA, NULL},
                 {DNS_STATUS_OK, "v=spf1 -all"},
                 {DNS_STATUS_OK, "v=TLSRPTv1; rua=ftp://a.test"}};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char domain[32], name[64];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        assert_true(snprintf(name, sizeof name, "_smtp._tls.%s", domain) > 0);
        good(f, domain);
        assert_int_equal(f->self->rpt->n_days, 1);
        answer_txt(f, expect_rr(f, name), table[i].status, (const char *const[]){table[i].text, NULL});
        assert_int_equal(f->self->rpt->n_days, 0);
        good(f, domain);
        assert_int_equal(f->self->rpt->n_days, 0);
        expect_no_question(f); /* that is remembered */
    }
    pass_s(f, 3601); /* not for ever */
    good(f, "d0.test");
    wants(f, "d0.test", RUA("mailto:r@a.test"));
    assert_int_equal(f->self->rpt->n_days, 1);
    assert_int_equal(f->self->rpt->pool.n_lent, 1);
}

static void without_an_answer_it_is_counted(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    answer_txt(f, expect_rr(f, "_smtp._tls.a.test"), DNS_STATUS_TEMPORARY, NULL);
    good(f, "a.test");
    expect_no_question(f); /* a while later */
    pass_s(f, 61);
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    assert_int_equal(only_policy(f)->n_ok, 3);
}

static void switched_off_nothing_is_counted(void **state)
{
    struct fixture *f = *state;
    f->config.tls_reports = STR_NIL;
    good(f, "a.test");
    expect_no_question(f);
    assert_int_equal(f->self->rpt->n_days, 0);
}

/* RFC 8460 4.4: with its lines and its MX patterns, which relay does not know. */
static void the_policy_in_force_is_told(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    session(f, "a.test", TLS_RPT_STS, TLS_RPT_CERTIFICATE_EXPIRED);
    const struct tls_rpt_policy *p = only_policy(f);
    assert_true(p->type == TLS_RPT_STS && p->n_lines == 5 && p->n_mx == 2 && p->n_failed == 1);
    assert_true(str_eq(p->lines[0], STR("version: STSv1")) && str_eq(p->lines[4], STR("max_age: 604800")));
    assert_true(str_eq(p->mx[0], STR("mx1.a.test")) && str_eq(p->mx[1], STR("*.b.test")));
    assert_int_equal(p->failures[0].result, TLS_RPT_CERTIFICATE_EXPIRED);
}

static void tlsa_records_are_relays_to_tell(void **state)
{
    struct fixture *f = *state;
    char mem[256];
    struct buf lines;
    buf_init_fixed(&lines, mem, sizeof mem);
    assert_true(list_put_str(&lines, STR("3 1 1 aa")) && list_put_str(&lines, STR("3 1 1 bb")));
    struct ipc_tls_session m = {.policy = TLS_RPT_TLSA,
                                .result = TLS_RPT_VALIDATION_FAILURE,
                                .domain = STR("a.test"),
                                .lines = buf_str(&lines)};
    say_session(f, &f->relay[0], &m);
    const struct tls_rpt_policy *p = only_policy(f);
    assert_true(p->type == TLS_RPT_TLSA && p->n_lines == 2 && str_eq(p->lines[1], STR("3 1 1 bb")));
}

static void why_there_is_no_policy_is_told(void **state)
{
    static const struct {
        struct http_answer answer;
        enum tls_rpt_result result;
    } table[] = {
        {{.status = HTTP_UNREACHABLE, .why = STR_INIT("refused")}, TLS_RPT_STS_POLICY_FETCH_ERROR},
        {{.status = HTTP_TIMEOUT, .why = STR_INIT("slow")}, TLS_RPT_STS_POLICY_FETCH_ERROR},
        {{.status = HTTP_INSECURE, .why = STR_INIT("expired")}, TLS_RPT_STS_WEBPKI_INVALID},
        {{.code = 404}, TLS_RPT_STS_POLICY_FETCH_ERROR},
        {{.code = 200, .type = STR_INIT("text/html")}, TLS_RPT_STS_POLICY_INVALID},
        {{.code = 200, .type = STR_INIT("text/plain"), .body = STR_INIT("x")}, TLS_RPT_STS_POLICY_INVALID},
        {{.status = HTTP_FAILED, .why = STR_INIT("no memory")}, TLS_RPT_OTHER}, /* our own fault */
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        uint64_t token = ask(f, domain);
        up_to_get(f, domain, "1");
        answer_http(f, &table[i].answer);
        (void)expect_answer(f, token, MTA_STS_NONE);
        good(f, domain);
        f->lookup.n_seen = f->lookup.n_sent;
        const struct rpt_day *d = list_entry(f->self->rpt->days.prev, struct rpt_day, link);
        const struct tls_rpt_policy *p = &d->tally.policies[0];
        assert_int_equal(d->tally.n_policies, 1);
        if (table[i].result == TLS_RPT_OTHER) {
            assert_true(p->type == TLS_RPT_NO_POLICY && p->n_ok == 1);
        } else {
            assert_true(p->type == TLS_RPT_STS && p->n_failed == 1 && p->n_lines == 0);
            assert_int_equal(p->failures[0].result, table[i].result);
            assert_int_not_equal(p->failures[0].reason.n, 0);
        }
    }
}

static void nonsense_of_a_relay_ends_its_channel(void **state)
{
    static const struct ipc_tls_session table[] = {
        {.policy = TLS_RPT_TYPE_OTHER, .result = TLS_SESSION_OK, .domain = STR_INIT("a.test")},
        {.policy = TLS_RPT_STS, .result = TLS_RPT_OTHER, .domain = STR_INIT("a.test")},
        {.policy = TLS_RPT_TLSA, .domain = STR_INIT("a.test"), .lines = STR_INIT("x")},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        say_session(f, &f->relay[0], &table[i]);
        assert_true(f->relay[0].is_closed);
        f->relay[0].is_closed = false;
    }
    f->relay[0].user->on_message(f->relay[0].arg, &f->relay[0], IPC_TLS_SESSION, STR("x"), NULL);
    assert_true(f->relay[0].is_closed);
    f->relay[0].is_closed = false;
    f->relay[0].user->on_message(f->relay[0].arg, &f->relay[0], IPC_PUT, STR(""), NULL);
    assert_true(f->relay[0].is_closed);
    good(f, "not a name"); /* no name, no report; and no fault */
    good(f, "b\xc3\xbc"
            "cher.test");
    assert_int_equal(f->self->rpt->n_days, 0);
    expect_no_question(f);
}

static void what_is_too_much_is_not_counted_and_said(void **state)
{
    struct fixture *f = *state;
    rpt_look(f->self);
    f->self->rpt->days_max = 2;
    for (size_t i = 0; i < 5; i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        good(f, domain);
    }
    assert_int_equal(f->self->rpt->n_days, 2);
    good(f, "d0.test");
    rpt_look(f->self);
    assert_null(strstr(f->said, "tlsrpt.not_counted"));
    at(f, END_S + 1);
    assert_non_null(strstr(f->said, "tlsrpt.not_counted sessions=3"));
}

/* Of one domain, whose policy changes all the time. */
static void a_day_has_its_memory(void **state)
{
    struct fixture *f = *state;
    char line[900], lines_mem[64000];
    for (size_t i = 0; i < 5; i++) {
        struct buf lines;
        buf_init_fixed(&lines, lines_mem, sizeof lines_mem);
        memset(line, 'a' + (char)i, sizeof line);
        for (size_t k = 0; k < 60; k++)
            assert_true(list_put_str(&lines, str_of(line, sizeof line)));
        say_session(f, &f->relay[0],
                    &(struct ipc_tls_session){.policy = TLS_RPT_TLSA,
                                              .result = TLS_SESSION_OK,
                                              .domain = STR("a.test"),
                                              .lines = buf_str(&lines)});
    }
    const struct rpt_day *d = only_day(f);
    assert_int_equal(d->tally.n_policies, 2);
    assert_int_equal(d->tally.n_dropped, 3);
    assert_true(d->arena.used <= TLS_RPT_DAY_MEMORY);
    wants(f, "a.test", RUA("https://a.test/"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("https://a.test/"));
    answer_host(f, expect_host(f, "a.test"), DNS_STATUS_OK);
    answer_code(f, 200);
    expect_done(f, 1, 0);
}

static void many_names_wait_for_their_turn(void **state)
{
    enum { N = TLS_RPT_ASKS_MAX + 5 };
    struct fixture *f = *state;
    for (size_t i = 0; i < N; i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        good(f, domain);
    }
    assert_int_equal(f->lookup.n_sent, TLS_RPT_ASKS_MAX);
    for (size_t i = 0; i < N; i++) {
        char name[64];
        assert_true(snprintf(name, sizeof name, "_smtp._tls.d%zu.test", i) > 0);
        answer_txt(f, expect_rr(f, name), DNS_STATUS_NXDOMAIN, NULL);
    }
    expect_no_question(f);
    assert_int_equal(f->self->rpt->n_days, 0);
    f->self->rpt->names_max = N; /* the least used goes */
    good(f, "d1.test");
    good(f, "d0.test");
    expect_no_question(f);
    for (size_t i = 0; i < N - 1; i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "e%zu.test", i) > 0);
        good(f, domain);
    }
    assert_int_equal(f->self->rpt->n_names, N);
    f->lookup.n_seen = f->lookup.n_sent;
    good(f, "d0.test"); /* still known */
    expect_no_question(f);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

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

/* ---- restarts ------------------------------------------------------------------------------------------ */

static void a_restart_loses_no_count(void **state)
{
    struct fixture *f = *state;
    learn(f, "s.test", "1", MX, MTA_STS_ENFORCE);
    session(f, "s.test", TLS_RPT_STS, TLS_RPT_CERTIFICATE_EXPIRED);
    wants(f, "s.test", RUA("mailto:r@a.test"));
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    restart(f);
    assert_int_equal(f->self->rpt->n_days, 2);
    assert_non_null(strstr(f->said, "tlsrpt.restored days=2 unreadable=0"));
    session(f, "s.test", TLS_RPT_STS, TLS_RPT_CERTIFICATE_EXPIRED);
    (void)expect_rr(f, "_smtp._tls.s.test"); /* whether it wants reports was not on disk */
    good(f, "a.test");
    list_each (l, &f->self->rpt->days) {
        const struct rpt_day *d = list_entry(l, struct rpt_day, link);
        const struct tls_rpt_policy *p = &d->tally.policies[0];
        assert_int_equal(d->tally.n_policies, 1);
        assert_int_equal(d->begin_s, BEGIN_S);
        if (str_eq(rpt_domain(d), STR("a.test")))
            assert_int_equal(p->n_ok, 2);
        else
            assert_true(p->n_failed == 2 && p->n_failures == 1 && p->failures[0].n == 2 && p->n_mx == 2 &&
                        p->n_lines == 5);
    }
}

/* What was not flushed is lost, and no more. */
static void a_death_costs_the_last_minutes(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    rpt_store_flush(f->self);
    turn(f);
    good(f, "a.test");
    end(f);
    begin(f);
    assert_int_equal(only_policy(f)->n_ok, 1);
}

static void no_place_gets_its_report_twice(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("mailto:r@a.test,https://a.test/"));
    char id[RPT_ID + 1];
    memcpy(id, only_day(f)->id, sizeof id);
    grant(f, 9);
    answer_put(f, expect_put(f, 9).token, ERR_OK);
    (void)expect_host(f, "a.test");
    end(f); /* dies at once */
    begin(f);
    assert_int_equal(only_day(f)->state, DAY_WAITING);
    assert_string_equal(only_day(f)->id, id);
    rpt_look(f->self);
    turn(f);
    answer_host(f, expect_host(f, "a.test"), DNS_STATUS_OK); /* without another question for the record */
    (void)expect_post(f, 0);
    answer_code(f, 204);
    expect_done(f, 1, 0);
    assert_int_equal(f->queue.n_sent, 0);
    end(f);
    begin(f);
    assert_int_equal(f->self->rpt->n_days, 0);
}

static void the_end_waits_for_what_is_sent(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("https://a.test/,https://b.test/"));
    answer_host(f, expect_host(f, "a.test"), DNS_STATUS_OK);
    agent_role.drain(f->self, f->now_ms + 1000);
    turn(f);
    assert_int_equal(f->n_drained, 0);
    answer_code(f, 200);
    assert_int_equal(f->n_drained, 1); /* the other one comes after the restart */
    expect_no_question(f);
    end(f);
    begin(f);
    assert_int_equal(only_day(f)->n_tries, 1);
    assert_int_equal(only_day(f)->first_s, f->wall_ms / 1000);
    at(f, only_day(f)->due_s);
    (void)expect_host(f, "b.test");
}

static void an_old_report_is_not_sent(void **state)
{
    struct fixture *f = *state;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    restart(f);
    at(f, BEGIN_S + 8 * DAY_S);
    assert_int_equal(f->self->rpt->n_days, 0);
    assert_non_null(strstr(f->said, "it is too old"));
    restart(f);
    assert_int_equal(f->self->rpt->n_days, 0);
}

static struct file *tally_file(struct fixture *f)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (strncmp(f->files[i].name, "=tls-", 5) == 0)
            return &f->files[i];
    }
    return NULL;
}

/* Any octet that is not as it was written, and any end before its time. */
static void a_damaged_file_is_done_without(void **state)
{
    struct fixture *f = *state;
    session(f, "a.test", TLS_RPT_NO_POLICY, TLS_RPT_STARTTLS_NOT_SUPPORTED);
    wants(f, "a.test", RUA("mailto:r@a.test"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("mailto:r@a.test,https://a.test/"));
    rpt_store_flush(f->self);
    turn(f);
    struct file *x = tally_file(f);
    if (x == NULL) {
        fail();
        return;
    }
    static struct file whole;
    whole = *x;
    for (size_t i = 0; i < 2 * whole.n; i++) {
        end(f);
        x = tally_file(f);
        x = x == NULL ? file_find(f, "") : x;
        if (x == NULL) {
            fail();
            return;
        }
        *x = whole;
        if (i < whole.n)
            x->octets[i] ^= 1;
        else
            x->n = i - whole.n;
        f->said[0] = '\0';
        begin(f);
        assert_int_equal(f->self->rpt->n_days, 0);
        assert_non_null(strstr(f->said, "tlsrpt.damaged"));
        assert_null(tally_file(f)); /* cleared away */
    }
}

static void a_full_disk_costs_nothing_but_memory(void **state)
{
    struct fixture *f = *state;
    f->disk_fails = ERR_NOSPACE;
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    rpt_store_flush(f->self);
    turn(f);
    rpt_store_flush(f->self);
    turn(f);
    const char *first = strstr(f->said, "tlsrpt.not_saved");
    assert_non_null(first);
    assert_null(strstr(first + 1, "tlsrpt.not_saved"));
    on_the_next_morning(f);
    wants(f, "a.test", RUA("mailto:r@a.test"));
    grant(f, 9);
    f->disk_fails = ERR_OK;
    answer_put(f, expect_put(f, 9).token, ERR_OK);
    expect_done(f, 1, 0);
    agent_role.drain(f->self, f->now_ms + 1000);
    turn(f);
    assert_int_equal(f->n_drained, 1);
}

static void without_a_folder_it_works_on(void **state)
{
    struct fixture *f = *state;
    end(f);
    f->env.root = NULL;
    begin(f);
    good(f, "a.test");
    wants(f, "a.test", RUA("mailto:r@a.test"));
    assert_int_equal(only_policy(f)->n_ok, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup_on, teardown)
    const struct CMUnitTest tests[] = {
        T(sessions_of_all_relays_are_one_count),
        T(nothing_is_kept_for_who_wants_nothing),
        T(without_an_answer_it_is_counted),
        T(switched_off_nothing_is_counted),
        T(the_policy_in_force_is_told),
        T(tlsa_records_are_relays_to_tell),
        T(why_there_is_no_policy_is_told),
        T(nonsense_of_a_relay_ends_its_channel),
        T(what_is_too_much_is_not_counted_and_said),
        T(a_day_has_its_memory),
        T(many_names_wait_for_their_turn),
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
        T(a_restart_loses_no_count),
        T(a_death_costs_the_last_minutes),
        T(no_place_gets_its_report_twice),
        T(the_end_waits_for_what_is_sent),
        T(an_old_report_is_not_sent),
        T(a_damaged_file_is_done_without),
        T(a_full_disk_costs_nothing_but_memory),
        T(without_a_folder_it_works_on),
    };
    return cmocka_run_group_tests_name("rpt", tests, NULL, NULL);
}
