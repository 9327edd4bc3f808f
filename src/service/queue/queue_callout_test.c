/* What smtpd asks the queue about recipients, and the words in which operators choose entries. */
#include "service/queue/queue_scripts.h"

#include "proto/smtp_client.h"
#include "service/queue/queue_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ---- callouts ---- */

static void ask_callout(struct test_world *w, uint64_t token, const char *rcpt)
{
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(
        ipc_encode_callout_ask(&(struct ipc_callout_ask){.token = token, .rcpt = str_from_c(rcpt)}, &b));
    test_send(&w->smtpd, IPC_CALLOUT_ASK, buf_str(&b), NULL);
}

static struct ipc_callout_answer wait_callout(struct test_world *w, uint64_t limit_ms)
{
    struct test_message *t = NULL;
    for (uint64_t i = 0; i < limit_ms && t == NULL; i += 10) {
        test_run(w, 10);
        t = test_take(&w->smtpd, IPC_CALLOUT_ANSWER);
    }
    struct ipc_callout_answer a;
    assert_non_null(t);
    assert_true(ipc_decode_callout_answer(test_payload(t), &a));
    a.text = STR_NIL; /* it goes with the message */
    test_message_free(t);
    return a;
}

static void relay_knows(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const no[] = {"550 5.1.1 no such user", NULL};
    struct reader r = reader_of(m->rcpts);
    struct rcpt one;
    UNUSED(given);
    assert_true(rcpt_next(&r, &one));
    assert_true(m->is_callout && m->sender.n == 0 && m->body.n == 0 && m->size == 0);
    test_job_done(&w->relay, m->token, 1, SMTP_AT_RCPT, str_starts(one.address, STR("no")) ? no : script_ok);
}

static void test_callout(void **state)
{
    UNUSED(state);
    struct test_world world, *w = &world;
    script_begin(w, 40);
    w->on_relay_job = relay_knows;
    ask_callout(w, 1, "x@one.two");
    struct ipc_callout_answer a = wait_callout(w, 1000);
    assert_true(a.token == 1 && a.kind == RESULT_OK && a.code == 250);
    ask_callout(w, 2, "x@One.Two");
    a = wait_callout(w, 1000);
    assert_true(a.token == 2 && a.kind == RESULT_OK);
    assert_int_equal(w->n_relay_jobs, 1); /* remembered */
    ask_callout(w, 3, "nobody@one.two");
    a = wait_callout(w, 1000);
    assert_true(a.kind == RESULT_PERMANENT && a.code == 550 && a.class == 5 && a.subject == 1);
    test_run(w, HOUR + MINUTE);
    ask_callout(w, 4, "nobody@one.two");
    (void)wait_callout(w, 1000);
    assert_int_equal(w->n_relay_jobs, 3); /* a no for an hour */
    ask_callout(w, 5, "x@one.two");
    (void)wait_callout(w, 1000);
    assert_int_equal(w->n_relay_jobs, 3); /* a yes for a day */
    ask_callout(w, 6, "x@nx.two");
    assert_int_equal(wait_callout(w, 1000).kind, RESULT_PERMANENT);
    ask_callout(w, 7, "x@fail.two");
    assert_int_equal(wait_callout(w, 1000).kind, RESULT_TEMPORARY);
    script_expect_empty(w);
    test_world_fini(w);
}

static void test_callout_waits(void **state)
{
    UNUSED(state);
    struct test_world world, *w = &world;
    script_begin(w, 41);
    w->on_relay_job = NULL;
    ask_callout(w, 1, "x@one.two");
    ask_callout(w, 2, "x@one.two");
    test_run(w, 1000);
    struct test_message *t = test_take(&w->relay, IPC_RELAY_JOB);
    struct ipc_relay_job m;
    assert_non_null(t);
    assert_true(ipc_decode_relay_job(test_payload(t), &m));
    assert_null(test_take(&w->relay, IPC_RELAY_JOB)); /* one question for both */
    uint64_t token = m.token;
    test_message_free(t);
    assert_null(test_take(&w->smtpd, IPC_CALLOUT_ANSWER));
    assert_int_equal(wait_callout(w, 40 * 1000).kind, RESULT_TEMPORARY);
    assert_int_equal(wait_callout(w, 1000).kind, RESULT_TEMPORARY);
    test_job_done(&w->relay, token, 1, SMTP_AT_RCPT, script_ok); /* too late: nobody asks any more */
    test_run(w, 1000);
    assert_int_equal(w->n_forbidden, 0);
    ask_callout(w, 3, "y@one.two");
    test_run(w, 100);
    test_world_fini(w); /* dies amid a question */
}

/* What a host said under the configuration of then is not remembered under that of now. */
static void test_callout_reload(void **state)
{
    UNUSED(state);
    struct test_world world, *w = &world;
    script_begin(w, 43);
    w->on_relay_job = NULL;
    ask_callout(w, 1, "x@one.two");
    test_run(w, 1000);
    struct test_message *t = test_take(&w->relay, IPC_RELAY_JOB);
    struct ipc_relay_job m;
    assert_true(t != NULL && ipc_decode_relay_job(test_payload(t), &m));
    const struct config *old = w->env.config;
    w->env.config = &w->config2;
    queue_role.reload(w->q, old);
    test_job_done(&w->relay, m.token, 1, SMTP_AT_RCPT, script_ok);
    test_message_free(t);
    assert_int_equal(wait_callout(w, 1000).kind, RESULT_OK);
    w->on_relay_job = relay_knows;
    uint64_t n = w->n_relay_jobs;
    ask_callout(w, 2, "x@one.two");
    assert_int_equal(wait_callout(w, 1000).kind, RESULT_OK);
    assert_int_equal(w->n_relay_jobs, n + 1);
    test_world_fini(w);
}

/* The relay dies amid a question: who waits hears it at once, and the next one asks the new relay. */
static void test_callout_lost_relay(void **state)
{
    UNUSED(state);
    struct test_world world, *w = &world;
    script_begin(w, 44);
    w->on_relay_job = NULL;
    ask_callout(w, 1, "x@one.two");
    test_run(w, 1000);
    w->relay.user->on_closed(w->relay.arg, &w->relay);
    assert_int_equal(wait_callout(w, 100).kind, RESULT_TEMPORARY);
    ask_callout(w, 2, "x@one.two");
    assert_int_equal(wait_callout(w, 100).kind, RESULT_TEMPORARY);
    test_world_fini(w);
}

static void test_callout_site_down(void **state)
{
    UNUSED(state);
    struct test_world world, *w = &world;
    script_begin(w, 42);
    w->on_relay_job = script_relay_unreachable;
    assert_int_equal(test_put(w, "a@example.com", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(w, 1000);
    uint64_t n = w->n_relay_jobs;
    ask_callout(w, 1, "y@one.two");
    assert_int_equal(wait_callout(w, 100).kind, RESULT_TEMPORARY);
    assert_int_equal(w->n_relay_jobs, n); /* the schedule knows it is down */
    test_world_fini(w);
}

/* ---- filters ---- */

static bool matches(const char *text, struct schedule_entry *e, const struct envelope *env,
                    const struct envelope_state *st)
{
    struct filter f;
    char mem[512];
    struct buf error;
    buf_init_fixed(&error, mem, sizeof mem);
    if (!filter_parse(str_from_c(text), &f, &error))
        fail_msg("%s: %.*s", text, STR_FMT(buf_str(&error)));
    return filter_matches_entry(&f, e, false, 10000 * 1000) && filter_matches_envelope(&f, env, st);
}

static void test_filter_words(void **state)
{
    UNUSED(state);
    static const char *const yes[] = {"domain=one.two age>2h",
                                      "sender=joe@example.org",
                                      "rcpt=*@one.two",
                                      "size>1k",
                                      "size<1M",
                                      "priority>3",
                                      "priority=4",
                                      "tag=news*",
                                      "reason~TIMED",
                                      "attempts>1",
                                      "reason~connection*out",
                                      "source=pool-a",
                                      "site=mx:*",
                                      "state=active",
                                      "class=network",
                                      ""};
    static const char *const no[] = {"domain=two",         "age<2h",    "size<2000",      "priority<4",
                                     "priority=-4",        "tag=x",     "reason~refused", "source=pool",
                                     "class=mailbox-full", "sender=<>", "kind=bounce",    "attempts<2"};
    static const char *const wrong[] = {"size=1",  "size>1x", "priority>10", "reason=x",  "tag~x",
                                        "reason~", "x=1",     "class=",      "class=full"};
    char mem[128], error_mem[512];
    struct buf params, error;
    buf_init_fixed(&params, mem, sizeof mem);
    buf_init_fixed(&error, error_mem, sizeof error_mem);
    struct mail_params p = {.priority = 4, .has_priority = true, .tag = STR("newsletter")};
    assert_true(mail_params_put(&p, &params));
    static char name[] = "mx:mx1.test from pool-a";
    struct schedule_site site = {.name = name, .name_n = sizeof name - 1};
    struct schedule_entry e = {
        .id = 1, .site = &site, .n_attempts = 2, .created_s = 1, .state = ENTRY_ACTIVE};
    struct envelope_rcpt r = {.rcpt = {.address = STR("x@one.two")},
                              .state = ENVELOPE_DEFERRED,
                              .text = STR("Connection timed out")};
    struct envelope_state st = {.rcpts = &r, .n_rcpts = 1};
    struct envelope env = {.sender = STR("joe@example.org"), .params = buf_str(&params), .body_size = 2000};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_true(matches(yes[i], &e, &env, &st));
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_false(matches(no[i], &e, &env, &st));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct filter f;
        assert_false(filter_parse(str_from_c(wrong[i]), &f, &error));
        assert_true(error.n > 0);
        buf_reset(&error);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callout),           cmocka_unit_test(test_callout_waits),
        cmocka_unit_test(test_callout_reload),    cmocka_unit_test(test_callout_lost_relay),
        cmocka_unit_test(test_callout_site_down), cmocka_unit_test(test_filter_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
