/* Reports about TLS: what is counted, and what a restart makes of it. */
#include "service/agent/rpt_testing.h"

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
