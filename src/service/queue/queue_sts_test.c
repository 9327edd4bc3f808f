/* The policies of domains (MTA-STS) on their way from agent to relay. */
#include "service/queue/queue_scripts.h"

#include "ipc/lists.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { FIRST = 1, SECOND = 2, BOTH = 3 }; /* of mx2.test, mx1.test: script_mx() */

struct want {
    uint8_t sts;
    uint32_t hops;
    const char *site; /* begins so */
};

static void check(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    const struct want *want = w->script;
    assert_int_equal(m->sts, want->sts);
    assert_int_equal(m->sts_hops, want->hops);
    if (!str_starts(m->site, str_from_c(want->site)))
        fail_msg("site '%.*s' and not '%s'", STR_FMT(m->site), want->site);
    script_relay_takes(w, m, given);
}

static void begin(struct test_world *w, struct want *want)
{
    test_world_init(w, 17);
    w->on_relay_job = check;
    w->on_mx_ask = script_mx;
    w->script = want;
    w->config.mta_sts = w->config2.mta_sts = true;
    w->config.authorities = w->config2.authorities = STR("anchors");
    test_start(w);
}

static bool has_question(struct test_world *w)
{
    return w->agent.n_sent > 0;
}

/* The next question, which must be for this domain. */
static uint64_t take_ask(struct test_world *w, const char *domain)
{
    struct ipc_sts_ask m;
    test_until(w, has_question, 1000);
    struct test_message *t = test_take(&w->agent, IPC_STS_ASK);
    if (t == NULL) {
        fail();
        return 0;
    }
    assert_true(ipc_decode_sts_ask(test_payload(t), &m));
    assert_true(str_eq(m.domain, str_from_c(domain)));
    test_message_free(t);
    return m.token;
}

/* mx: patterns, ended by NULL */
static void answer(struct test_world *w, uint64_t token, enum mta_sts_mode mode, const char *const *mx)
{
    char mem[1024], list_mem[512];
    struct buf b, list;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    for (; *mx != NULL; mx++)
        assert_true(list_put_str(&list, str_from_c(*mx)));
    struct ipc_sts_answer m = {
        .token = token, .mode = (uint8_t)mode, .ttl_s = 120, .mx = buf_str(&list), .why = STR("because")};
    assert_true(ipc_encode_sts_answer(&m, &b));
    test_send(&w->agent, IPC_STS_ANSWER, buf_str(&b), NULL);
}

static void put(struct test_world *w, const char *rcpt)
{
    assert_int_equal(test_put(w, "alice@example.org", rcpt, STR(MAIL), NULL), ERR_OK);
}

static void test_policies(void **state)
{
    static const struct {
        enum mta_sts_mode mode;
        const char *mx[3];
        struct want want;
    } rows[] = {
        {MTA_STS_NONE, {NULL}, {MTA_STS_NONE, 0, "mx:mx1.test,mx2.test"}},
        {MTA_STS_TESTING, {"mx1.test", NULL}, {MTA_STS_TESTING, SECOND, "mx:mx1.test,mx2.test"}},
        {MTA_STS_ENFORCE, {"*.test", NULL}, {MTA_STS_ENFORCE, BOTH, "mx:mx1.test,mx2.test mta-sts"}},
        {MTA_STS_ENFORCE,
         {"MX2.test", "x.test", NULL},
         {MTA_STS_ENFORCE, FIRST, "mx:mx1.test,mx2.test mta-sts:"}},
        {MTA_STS_ENFORCE, {NULL}, {MTA_STS_ENFORCE, 0, "mx:mx1.test,mx2.test mta-sts:00000001"}},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world w;
        struct want want = rows[i].want;
        begin(&w, &want);
        put(&w, "x@one.two");
        uint64_t token = take_ask(&w, "one.two");
        test_run(&w, 1000);
        assert_int_equal(w.n_relay_jobs, 0); /* it waits for the policy */
        answer(&w, token, rows[i].mode, rows[i].mx);
        script_expect_empty(&w);
        assert_int_equal(w.n_relay_jobs, 1);
        put(&w, "y@one.two"); /* the answer is good for a while */
        script_expect_empty(&w);
        assert_int_equal(w.n_relay_jobs, 2);
        assert_false(has_question(&w));
        test_run(&w, 121 * 1000); /* less than that of the MX records is */
        put(&w, "z@one.two");
        answer(&w, take_ask(&w, "one.two"), rows[i].mode, rows[i].mx);
        script_expect_empty(&w);
        assert_int_equal(w.n_mx_asks, 2);
        test_world_fini(&w);
    }
}

/* Where there is nowhere to go nobody asks for a policy. */
static void test_no_question_without_hosts(void **state)
{
    static const char *const rcpts[] = {"x@nx.two", "x@null.two", "x@fail.two"};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++) {
        struct test_world w;
        struct want want = {0, 0, ""};
        begin(&w, &want);
        put(&w, rcpts[i]);
        test_run(&w, 1000);
        assert_int_equal(w.n_mx_asks, 1);
        assert_false(has_question(&w));
        test_world_fini(&w);
    }
}

/* What was asked of an agent that died is asked of the next one, and until then mail waits. */
static void test_agent_restarts(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct want want = {MTA_STS_ENFORCE, BOTH, "mx:mx1.test,mx2.test mta-sts"};
    begin(&w, &want);
    put(&w, "x@one.two");
    (void)take_ask(&w, "one.two");
    w.agent.user->on_closed(w.agent.arg, &w.agent);
    test_run(&w, 1000);
    put(&w, "x@three.two");
    test_run(&w, 1000);
    assert_int_equal(w.n_relay_jobs, 0);
    w.agent.is_closed = false;
    queue_role.peer(w.q, ROLE_AGENT, 0, &w.agent);
    for (unsigned i = 0; i < 2; i++) {
        struct ipc_sts_ask m;
        test_until(&w, has_question, 1000);
        struct test_message *t = test_take(&w.agent, IPC_STS_ASK);
        assert_true(t != NULL && ipc_decode_sts_ask(test_payload(t), &m));
        uint64_t token = m.token;
        test_message_free(t);
        answer(&w, token, MTA_STS_ENFORCE, (const char *const[]){"*.test", NULL});
    }
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 2);
    test_world_fini(&w);
}

static bool has_deferred(struct test_world *w)
{
    return test_count(w, EVENT_DEFERRED) > 0;
}

/* An agent that does not come back, or never answers: the mail is deferred and tried again, and does not go
 * out. */
static void test_no_answer(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 2; i++) {
        struct test_world w;
        struct want want = {MTA_STS_ENFORCE, BOTH, "mx:mx1.test,mx2.test mta-sts"};
        begin(&w, &want);
        put(&w, "x@one.two");
        uint64_t token = take_ask(&w, "one.two");
        if (i == 1)
            w.agent.user->on_closed(w.agent.arg, &w.agent);
        test_run(&w, QUEUE_STS_WAIT_MS - 1000);
        assert_false(has_deferred(&w));
        test_until(&w, has_deferred, QUEUE_STS_LOOK_MS + 2000);
        assert_true(test_saw(&w, "policy of the domain could not be asked for"));
        assert_int_equal(w.n_relay_jobs, 0);
        if (i == 0)
            answer(&w, token, MTA_STS_NONE, (const char *const[]){NULL}); /* too late */
        w.agent.is_closed = false;
        queue_role.peer(w.q, ROLE_AGENT, 0, &w.agent);
        assert_false(has_question(&w)); /* not at once */
        test_until(&w, has_question, 10 * 60 * 1000);
        answer(&w, take_ask(&w, "one.two"), MTA_STS_ENFORCE, (const char *const[]){"*.test", NULL});
        test_until(&w, script_is_empty, 10 * 60 * 1000);
        assert_int_equal(w.n_relay_jobs, 1);
        test_world_fini(&w);
    }
}

/* Switched off while a question is open: the mail goes. Switched on: the next mail asks. */
static void test_reload(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct want want = {MTA_STS_NONE, 0, "mx:mx1.test,mx2.test"};
    begin(&w, &want);
    put(&w, "x@one.two");
    uint64_t token = take_ask(&w, "one.two");
    w.config2.mta_sts = false;
    w.env.config = &w.config2;
    queue_role.reload(w.q, &w.config);
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 1);
    answer(&w, token, MTA_STS_ENFORCE, (const char *const[]){NULL}); /* too late */
    put(&w, "y@one.two");
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 2);
    w.config2.mta_sts = true;
    w.config.mta_sts = false;
    queue_role.reload(w.q, &w.config);
    want = (struct want){MTA_STS_ENFORCE, BOTH, "mx:mx1.test,mx2.test mta-sts"};
    put(&w, "z@one.two");
    answer(&w, take_ask(&w, "one.two"), MTA_STS_ENFORCE, (const char *const[]){"*.test", NULL});
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 3);
    test_world_fini(&w);
}

/* Tokens are one's own: agent can't answer for lookup, nor lookup for agent. */
static void test_hostile_answers(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct want want = {MTA_STS_ENFORCE, BOTH, "mx:mx1.test,mx2.test mta-sts"};
    begin(&w, &want);
    w.on_mx_ask = NULL;
    put(&w, "x@one.two");
    test_run(&w, 100);
    struct ipc_mx_ask m;
    struct test_message *t = test_take(&w.lookup, IPC_MX_ASK);
    assert_true(t != NULL && ipc_decode_mx_ask(test_payload(t), &m));
    uint64_t mx_token = m.token;
    test_message_free(t);
    answer(&w, mx_token, MTA_STS_ENFORCE, (const char *const[]){"*.test", NULL});
    answer(&w, 12345, MTA_STS_ENFORCE, (const char *const[]){"*.test", NULL});
    test_run(&w, 100);
    assert_false(has_question(&w));
    test_mx_answer(&w, mx_token, DNS_STATUS_OK, "20 mx2.test,10 mx1.test");
    uint64_t token = take_ask(&w, "one.two");
    test_mx_answer(&w, token, DNS_STATUS_OK, "10 evil.test");
    test_run(&w, 100);
    assert_int_equal(w.n_relay_jobs, 0);
    answer(&w, token, MTA_STS_ENFORCE, (const char *const[]){"*.test", NULL});
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 1);
    test_send(&w.agent, IPC_STS_ANSWER, STR("x"), NULL);
    test_run(&w, 100);
    assert_true(w.agent.is_closed);
    test_world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),        cmocka_unit_test(test_no_question_without_hosts),
        cmocka_unit_test(test_agent_restarts),  cmocka_unit_test(test_reload),
        cmocka_unit_test(test_hostile_answers), cmocka_unit_test(test_no_answer),
    };
    return cmocka_run_group_tests_name("queue_sts", tests, NULL, NULL);
}
