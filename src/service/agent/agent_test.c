/* What the agent answers, and how it bears with the others. */
#include "service/agent/agent_testing.h"

/* ---- what is answered ------------------------------------------------------------------------ */

static void a_policy_is_fetched_once(void **state)
{
    struct fixture *f = *state;
    uint64_t one = ask(f, "A.test"), two = ask(f, "a.TEST");
    up_to_get(f, "a.test", "20250101");
    expect_no_answer(f); /* without it the mail might go where it forbids */
    answer_policy(f, MX);
    struct ipc_sts_answer m = expect_answer(f, one, MTA_STS_ENFORCE);
    struct reader r = reader_of(m.mx);
    struct str first, second;
    assert_true(list_next_str(&r, &first) && list_next_str(&r, &second) && reader_done(&r));
    assert_true(str_eq(first, STR("mx1.a.test")) && str_eq(second, STR("*.b.test")));
    assert_true(str_eq(m.id, STR("20250101")));
    assert_int_equal(m.ttl_s, 300); /* as long as the record is good */
    (void)expect_answer(f, two, MTA_STS_ENFORCE);
    (void)expect_answer(f, ask(f, "a.test"), MTA_STS_ENFORCE); /* from memory */
    expect_no_question(f);
    pass_s(f, 301);
    one = ask(f, "a.test");
    expect_no_answer(f);
    answer_id(f, expect_rr(f, "_mta-sts.a.test"), "20250101");
    (void)expect_answer(f, one, MTA_STS_ENFORCE);
    expect_no_question(f);
    assert_int_equal(f->n_gets, 1);
}

static void most_domains_have_none(void **state)
{
    static const struct {
        enum dns_status status;
        const char *texts[3];
    } table[] = {
        {DNS_STATUS_NXDOMAIN, {NULL}},
        {DNS_STATUS_NODATA, {NULL}},
        {DNS_STATUS_TEMPORARY, {NULL}},
        {DNS_STATUS_OK, {"v=spf1 -all", NULL}},
        {DNS_STATUS_OK, {"v=STSv1; id=;", NULL}},
        {DNS_STATUS_OK, {"v=STSv1; id=1;", "v=STSv1; id=2;", NULL}},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char domain[32], name[64];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        assert_true(snprintf(name, sizeof name, "_mta-sts.%s", domain) > 0);
        uint64_t token = ask(f, domain);
        answer_txt(f, expect_rr(f, name), table[i].status, table[i].texts);
        struct ipc_sts_answer m = expect_answer(f, token, MTA_STS_NONE);
        assert_int_equal(m.mx.n + m.id.n, 0);
        (void)expect_answer(f, ask(f, domain), MTA_STS_NONE); /* remembered for a while */
        expect_no_question(f);
    }
    assert_int_equal(f->n_gets, 0);
    (void)expect_answer(f, ask(f, "not a name"), MTA_STS_NONE);
    (void)expect_answer(f,
                        ask(f, "b\xc3\xbc"
                               "cher.test"),
                        MTA_STS_NONE);
    expect_no_question(f);
}

static const struct {
    struct http_answer answer;
    const char *why;
} bad_fetches[] = {
    {{.status = HTTP_UNREACHABLE, .why = STR_INIT("refused")}, "(the policy can't be fetched: refused)"},
    {{.status = HTTP_INSECURE, .why = STR_INIT("expired")},
     "(the policy host is not authenticated: expired)"},
    {{.status = HTTP_TIMEOUT, .why = STR_INIT("a\nb\xff")}, "(the policy can't be fetched: a?b?)"},
    {{.code = 301, .type = STR_INIT("text/plain"), .body = STR_INIT(MX)}, "answered with code 301)"},
    {{.code = 404, .type = STR_INIT("text/plain")}, "answered with code 404)"},
    {{.code = 201, .type = STR_INIT("text/plain"), .body = STR_INIT(MX)}, "answered with code 201)"},
    {{.code = 200, .type = STR_INIT("text/html"), .body = STR_INIT(MX)},
     "(the policy is not text/plain but text/html)"},
    {{.code = 200, .body = STR_INIT(MX)}, "(the policy is not text/plain but nothing)"},
    {{.code = 200, .type = STR_INIT("text/plain"), .body = STR_INIT("version: STSv2\n")},
     "(the policy can't be used: its version is unknown)"},
    {{.code = 200, .type = STR_INIT("text/plain")}, "(the policy can't be used: it has no version)"},
};

/* It is as if there were none, is said, and is not tried again at once. */
static void what_can_t_be_fetched_is_none(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad_fetches); i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        uint64_t token = ask(f, domain);
        up_to_get(f, domain, "1");
        answer_http(f, &bad_fetches[i].answer);
        struct ipc_sts_answer m = expect_answer(f, token, MTA_STS_NONE);
        if (!str_ends(m.why, str_from_c(bad_fetches[i].why)))
            fail_msg("%zu: %.*s", i, STR_FMT(m.why));
        assert_non_null(strstr(f->said, "mta_sts.not_fetched"));
        (void)expect_answer(f, ask(f, domain), MTA_STS_NONE);
        expect_no_question(f);
    }
    size_t n_gets = f->n_gets;
    pass_s(f, MTA_STS_RETRY_S + 1);
    uint64_t token = ask(f, "d0.test");
    up_to_get(f, "d0.test", "1");
    assert_int_equal(f->n_gets, n_gets + 1);
    answer_policy(f, MX);
    (void)expect_answer(f, token, MTA_STS_ENFORCE);
}

static void types_with_parameters_are_taken(void **state)
{
    struct fixture *f = *state;
    uint64_t token = ask(f, "a.test");
    up_to_get(f, "a.test", "1");
    answer_http(f, &(struct http_answer){
                       .code = 200, .type = STR("Text/Plain ; charset=utf-8"), .body = STR(TESTING)});
    (void)expect_answer(f, token, MTA_STS_TESTING);
}

static void a_host_without_address_is_no_policy(void **state)
{
    struct fixture *f = *state;
    uint64_t token = ask(f, "a.test");
    answer_id(f, expect_rr(f, "_mta-sts.a.test"), "1");
    answer_host(f, expect_host(f, "mta-sts.a.test"), DNS_STATUS_NXDOMAIN);
    (void)expect_answer(f, token, MTA_STS_NONE);
    f->http_refuses = true;
    token = ask(f, "b.test");
    answer_id(f, expect_rr(f, "_mta-sts.b.test"), "1");
    answer_host(f, expect_host(f, "mta-sts.b.test"), DNS_STATUS_OK);
    (void)expect_answer(f, token, MTA_STS_NONE);
    assert_int_equal(f->n_gets, 0);
}

/* 5.1: the new one is waited for; while it can't be had the old one holds. */
static void a_new_id_brings_a_new_policy(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    pass_s(f, 400);
    uint64_t token = ask(f, "a.test");
    up_to_get(f, "a.test", "2");
    expect_no_answer(f);
    answer_http(f, &(struct http_answer){.status = HTTP_TIMEOUT, .why = STR("slow")});
    assert_true(str_eq(expect_answer(f, token, MTA_STS_ENFORCE).id, STR("1")));
    pass_s(f, 400);
    token = ask(f, "a.test");
    up_to_get(f, "a.test", "2");
    answer_policy(f, TESTING);
    assert_true(str_eq(expect_answer(f, token, MTA_STS_TESTING).id, STR("2")));
    pass_s(f, 400);
    token = ask(f, "a.test");
    up_to_get(f, "a.test", "3");
    answer_policy(f, "version: STSv1\nmode: none\nmax_age: 86400\n"); /* how a domain gives it up */
    assert_int_equal(expect_answer(f, token, MTA_STS_NONE).mx.n, 0);
}

/* An attacker who can keep DNS answers from us gains nothing. */
static void a_policy_holds_without_its_record(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    pass_s(f, 400);
    uint64_t token = ask(f, "a.test");
    answer_txt(f, expect_rr(f, "_mta-sts.a.test"), DNS_STATUS_TEMPORARY, NULL);
    (void)expect_answer(f, token, MTA_STS_ENFORCE);
    pass_s(f, 400);
    token = ask(f, "a.test");
    answer_txt(f, expect_rr(f, "_mta-sts.a.test"), DNS_STATUS_NXDOMAIN, NULL);
    (void)expect_answer(f, token, MTA_STS_ENFORCE);
    pass_s(f, 8 * DAY_S);
    token = ask(f, "a.test");
    answer_txt(f, expect_rr(f, "_mta-sts.a.test"), DNS_STATUS_NXDOMAIN, NULL);
    (void)expect_answer(f, token, MTA_STS_NONE);
}

/* Nobody waits while a policy in force is fetched anew. */
static void an_old_policy_is_fetched_anew(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    pass_s(f, 2 * DAY_S);
    uint64_t token = ask(f, "a.test");
    answer_id(f, expect_rr(f, "_mta-sts.a.test"), "1");
    (void)expect_answer(f, token, MTA_STS_ENFORCE);
    answer_host(f, expect_host(f, "mta-sts.a.test"), DNS_STATUS_OK);
    (void)expect_answer(f, ask(f, "a.test"), MTA_STS_ENFORCE);
    answer_policy(f, TESTING); /* with the same id, which is their mistake */
    expect_no_answer(f);
    (void)expect_answer(f, ask(f, "a.test"), MTA_STS_TESTING);
}

/* 10.2: also when no mail goes there. */
static void the_sweep_keeps_policies_alive(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    sts_sweep(f->self);
    turn(f);
    expect_no_question(f);
    pass_s(f, DAY_S + 1);
    sts_sweep(f->self);
    turn(f);
    up_to_get(f, "a.test", "1");
    answer_policy(f, MX);
    expect_no_answer(f);
    pass_s(f, 6 * DAY_S); /* of seven, of which the old one would have had none left after another */
    sts_sweep(f->self);
    turn(f);
    answer_txt(f, expect_rr(f, "_mta-sts.a.test"), DNS_STATUS_TEMPORARY, NULL);
    pass_s(f, 7 * DAY_S);
    assert_non_null(file_find(f, "a.test"));
    sts_sweep(f->self);
    turn(f);
    assert_null(file_find(f, "a.test"));
    expect_no_question(f);
}

/* It ends soon, but who asked is answered by it. */
static void a_life_of_nothing_ends(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 0\n", MTA_STS_ENFORCE);
    assert_int_equal(f->n_gets, 1);
    pass_s(f, 301);
    uint64_t token = ask(f, "a.test");
    up_to_get(f, "a.test", "1");
    answer_http(f, &(struct http_answer){.code = 404});
    (void)expect_answer(f, token, MTA_STS_NONE);
}

/* ---- the others ------------------------------------------------------------------------------ */

static void close_channel(struct fixture *f, struct channel *c)
{
    c->user->on_closed(c->arg, c);
    assert_true(c->is_closed);
    turn(f);
}

static void without_lookup_nothing_is_known(void **state)
{
    struct fixture *f = *state;
    uint64_t one = ask(f, "a.test"), two = ask(f, "b.test");
    (void)expect_rr(f, "_mta-sts.a.test");
    answer_id(f, expect_rr(f, "_mta-sts.b.test"), "1");
    (void)expect_host(f, "mta-sts.b.test");
    close_channel(f, &f->lookup);
    for (size_t i = 0; i < 2; i++) {
        struct ipc_sts_answer m;
        const struct sent *s = &f->queue.sent[f->queue.n_seen++];
        assert_true(ipc_decode_sts_answer(str_of(s->bytes, s->n), &m));
        assert_true((m.token == one || m.token == two) && m.mode == MTA_STS_NONE);
    }
    (void)expect_answer(f, ask(f, "c.test"), MTA_STS_NONE);
    expect_no_answer(f);
    f->lookup.is_closed = false;
    agent_role.peer(f->self, ROLE_LOOKUP, 0, &f->lookup);
    learn(f, "d.test", "1", MX, MTA_STS_ENFORCE);
}

static void a_lookup_that_raves_harms_nobody(void **state)
{
    struct fixture *f = *state;
    uint64_t token = ask(f, "a.test");
    answer_id(f, 12345, "1"); /* was never asked */
    expect_no_answer(f);
    answer_host(f, expect_rr(f, "_mta-sts.a.test"), DNS_STATUS_OK); /* to another question */
    uint64_t rr = expect_rr(f, "_mta-sts.a.test");                  /* asked again */
    answer_id(f, rr, "1");
    answer_id(f, expect_host(f, "mta-sts.a.test"), "1");
    (void)expect_answer(f, token, MTA_STS_NONE);
    f->lookup.user->on_message(f->lookup.arg, &f->lookup, IPC_RR_ANSWER, STR("x"), NULL);
    assert_true(f->lookup.is_closed);
}

static void without_queue_nobody_is_answered(void **state)
{
    struct fixture *f = *state;
    (void)ask(f, "a.test");
    close_channel(f, &f->queue);
    up_to_get(f, "a.test", "1");
    answer_policy(f, MX);
    expect_no_answer(f);
    f->queue.is_closed = false;
    agent_role.peer(f->self, ROLE_QUEUE, 0, &f->queue);
    (void)expect_answer(f, ask(f, "a.test"), MTA_STS_ENFORCE);
}

static void a_full_channel_gets_its_answers_later(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    f->queue.is_full = true;
    uint64_t one = ask(f, "a.test"), two = ask(f, "a.test");
    expect_no_answer(f);
    assert_true(f->queue.is_paused);
    f->queue.is_full = false;
    f->queue.user->on_room(f->queue.arg, &f->queue);
    assert_false(f->queue.is_paused);
    (void)expect_answer(f, one, MTA_STS_ENFORCE);
    (void)expect_answer(f, two, MTA_STS_ENFORCE);
}

static void a_broken_queue_is_left(void **state)
{
    struct fixture *f = *state;
    f->queue.user->on_message(f->queue.arg, &f->queue, IPC_STS_ASK, STR("x"), NULL);
    assert_true(f->queue.is_closed);
    f->queue.is_closed = false;
    agent_role.peer(f->self, ROLE_QUEUE, 0, &f->queue);
    f->queue.user->on_message(f->queue.arg, &f->queue, IPC_MX_ASK, STR(""), NULL);
    assert_true(f->queue.is_closed);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_policy_is_fetched_once),
        T(most_domains_have_none),
        T(what_can_t_be_fetched_is_none),
        T(types_with_parameters_are_taken),
        T(a_host_without_address_is_no_policy),
        T(a_new_id_brings_a_new_policy),
        T(a_policy_holds_without_its_record),
        T(an_old_policy_is_fetched_anew),
        T(the_sweep_keeps_policies_alive),
        T(a_life_of_nothing_ends),
        T(without_lookup_nothing_is_known),
        T(a_lookup_that_raves_harms_nobody),
        T(without_queue_nobody_is_answered),
        T(a_full_channel_gets_its_answers_later),
        T(a_broken_queue_is_left),
    };
    return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
