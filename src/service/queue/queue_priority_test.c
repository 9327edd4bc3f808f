/* MT-PRIORITY (RFC 6710) in the queue: who goes first to a busy site, what is passed on, and that it outlives
 * the role. */
#include "proto/smtp_client.h"
#include "service/queue/queue_scripts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NONE = 100, SEEN_MAX = 32 }; /* NONE: MAIL said nothing */

/* What went to the relay, in order; jobs are answered by the test. */
struct seen {
    int priority[SEEN_MAX];
    uint64_t token[SEEN_MAX];
    size_t n;
};

static uint64_t put(struct test_world *w, const char *sender, const char *rcpt, int priority)
{
    char list_mem[256], params_mem[256];
    struct buf list, params, m_buf;
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    buf_init(&m_buf, 65536);
    struct str all = str_from_c(rcpt);
    while (all.n > 0)
        assert_true(rcpt_put(&(struct rcpt){.address = str_cut(&all, ' ')}, &list));
    if (priority != NONE)
        assert_true(mail_params_put(&(struct mail_params){.priority = (int8_t)priority, .has_priority = true},
                                    &params));
    uint64_t id = test_new_id(w);
    struct ipc_put m = {.token = id,
                        .id = id,
                        .sender = str_from_c(sender),
                        .params = buf_str(&params),
                        .rcpts = buf_str(&list),
                        .client = STR("198.51.100.7"),
                        .helo = STR("client.example"),
                        .body = STR(MAIL)};
    assert_true(ipc_encode_put(&m, &m_buf));
    test_send(&w->smtpd, IPC_PUT, buf_str(&m_buf), NULL);
    buf_fini(&m_buf);
    test_run(w, 100);
    return id;
}

static void relay_notes(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    struct seen *s = w->script;
    struct mail_params p;
    UNUSED(given);
    assert_true(s->n < SEEN_MAX && mail_params_get(m->params, &p));
    s->priority[s->n] = p.has_priority ? p.priority : NONE;
    s->token[s->n++] = m->token;
}

static void the_urgent_go_first_to_a_busy_site(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct seen s = {.n = 0};
    static const int arrive[] = {-4, NONE, 0, 4, -9, 6, 2};
    static const int leave[] = {6, 4, 2, NONE, 0, -4, -9};
    script_begin(&w, 700);
    w.script = &s;
    w.on_relay_job = relay_notes;
    for (size_t i = 0; i < SCHEDULE_SITE_START; i++)
        put(&w, "a@example.com", "x@one.two", NONE);
    assert_int_equal(s.n, SCHEDULE_SITE_START); /* the site is full */
    for (size_t i = 0; i < ARRAY_LEN(arrive); i++)
        put(&w, "a@example.com", "x@one.two", arrive[i]);
    assert_int_equal(s.n, SCHEDULE_SITE_START);
    static const char *const later[] = {"450 4.2.0 later", NULL};
    for (size_t i = 0; i < s.n; i++) { /* deferred: its place is free, and its own time is minutes away */
        test_job_done(&w.relay, s.token[i], 1, SMTP_AT_RCPT, i < SCHEDULE_SITE_START ? later : script_ok);
        test_run(&w, 100);
    }
    assert_int_equal(s.n, SCHEDULE_SITE_START + ARRAY_LEN(leave));
    for (size_t i = 0; i < ARRAY_LEN(leave); i++)
        assert_int_equal(s.priority[SCHEDULE_SITE_START + i], leave[i]);
    w.on_relay_job = script_relay_takes;
    test_run(&w, HOUR);
    script_expect_empty(&w);
    test_world_fini(&w);
}

static int priority_of(struct test_world *w, uint64_t id)
{
    const struct schedule_entry *e = schedule_find(&w->q->schedule, id);
    assert_non_null(e);
    return schedule_priority(e);
}

/* The hint that stands in memory comes from each place that writes one: the put, a deferral, an operator. */
static void a_restart_knows_the_priority(void **state)
{
    UNUSED(state);
    for (unsigned power = 0; power < 2; power++) {
        struct test_world w;
        struct buf rows;
        struct seen s = {.n = 0};
        script_begin(&w, 710 + power);
        buf_init(&rows, 65536);
        w.script = &s;
        w.on_relay_job = relay_notes;
        uint64_t fresh = put(&w, "a@example.com", "x@one.two", 6);
        uint64_t parted = put(&w, "a@example.com", "x@two.two alice@example.org", -2);
        w.on_relay_job = script_relay_defers;
        uint64_t deferred = put(&w, "a@example.com", "x@three.two", -9);
        uint64_t held = put(&w, "a@example.com", "x@four.two", 9);
        uint64_t plain = put(&w, "a@example.com", "x@five.two", NONE);
        test_run(&w, 1000);
        assert_int_equal(test_ask(&w, CTL_HOLD, held, "", 0, &rows), ERR_OK);
        assert_null(schedule_find(&w.q->schedule, parted)); /* its parts stand for it */
        if (power == 1)
            test_power_cut(&w);
        else
            test_kill(&w);
        w.on_relay_job = relay_notes; /* and does not answer */
        s.n = 0;
        test_start(&w);
        assert_int_equal(priority_of(&w, fresh), 6);
        assert_int_equal(priority_of(&w, deferred), -9);
        assert_int_equal(priority_of(&w, held), 9);
        assert_int_equal(priority_of(&w, plain), 0);
        test_run(&w, 1000);
        assert_int_equal(s.n, 2); /* the fresh one, and what is left of the one in parts */
        assert_true(s.priority[0] + s.priority[1] == 6 - 2); /* read from the disk in any order */
        test_kill(&w);
        w.on_relay_job = script_relay_takes;
        test_start(&w);
        assert_int_equal(test_ask(&w, CTL_RELEASE, held, "", 0, &rows), ERR_OK);
        test_run(&w, HOUR);
        script_expect_empty(&w);
        buf_fini(&rows);
        test_world_fini(&w);
    }
}

static void relay_refuses_strangers(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const no[] = {"550 5.1.1 nobody", NULL};
    relay_notes(w, m, given);
    test_job_done(&w->relay, m->token, 1, SMTP_AT_RCPT, m->sender.n > 0 ? no : script_ok);
}

static void a_report_is_as_urgent_as_its_message(void **state)
{
    UNUSED(state);
    static const int rows[] = {NONE, -4, 7};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world w;
        struct seen s = {.n = 0};
        script_begin(&w, 720 + i);
        w.script = &s;
        w.on_relay_job = relay_refuses_strangers;
        put(&w, "a@example.com", "x@one.two", rows[i]);
        test_run(&w, 1000);
        assert_int_equal(test_count(&w, EVENT_BOUNCED), 1);
        assert_int_equal(s.n, 2);
        assert_true(s.priority[0] == rows[i] && s.priority[1] == rows[i]);
        script_expect_empty(&w);
        test_world_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_urgent_go_first_to_a_busy_site),
        cmocka_unit_test(a_restart_knows_the_priority),
        cmocka_unit_test(a_report_is_as_urgent_as_its_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
