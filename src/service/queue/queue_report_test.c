/* Who is told what: NOTIFY by outcome, delays over a restart, DELIVERBY. */
#include "service/queue/queue_scripts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void put_body(struct test_world *w, uint8_t notify, uint32_t flags, const struct mail_params *p,
                     struct str body)
{
    char list_mem[256], params_mem[256];
    struct buf list, params, m_buf;
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    buf_init(&m_buf, 65536);
    assert_true(rcpt_put(&(struct rcpt){.address = STR("x@one.two"), .notify = notify}, &list));
    assert_true(mail_params_put(p, &params));
    uint64_t id = test_new_id(w);
    struct ipc_put m = {.token = id,
                        .id = id,
                        .flags = flags,
                        .sender = STR("alice@example.org"),
                        .params = buf_str(&params),
                        .rcpts = buf_str(&list),
                        .client = STR("198.51.100.7"),
                        .helo = STR("client.example"),
                        .body = body};
    assert_true(ipc_encode_put(&m, &m_buf));
    test_send(&w->smtpd, IPC_PUT, buf_str(&m_buf), NULL);
    buf_fini(&m_buf);
    test_run(w, 1000);
}

static void put(struct test_world *w, uint8_t notify, uint32_t flags, const struct mail_params *p)
{
    put_body(w, notify, flags, p, STR(MAIL));
}

static void relay_refuses(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const replies[] = {"550 5.7.1 not wanted", NULL};
    UNUSED(given);
    test_job_done(&w->relay, m->token, script_count(m->rcpts), 0, replies);
}

static void relay_refuses_in_utf8(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const replies[] = {"550 5.7.1 caf\xc3\xa9 closed", NULL};
    UNUSED(given);
    test_job_done(&w->relay, m->token, script_count(m->rcpts), 0, replies);
}

struct shape {
    unsigned flags;
    const char *has;
    unsigned n;
};

static void local_sees(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    struct shape *s = w->script;
    assert_int_equal(m->flags, s->flags);
    assert_int_equal((m->flags & MAIL_FLAG_8BIT) != 0, !str_is_ascii(m->body));
    assert_true(str_find(m->body, str_from_c(s->has)) != STR_NPOS);
    s->n++;
    script_local_takes(w, m, given);
}

/* BODY=8BITMIME is said of a report that has such octets, and of no other. */
static void says_what_octets_a_report_has(void **state)
{
    UNUSED(state);
    static const struct {
        uint32_t flags;
        const char *body;
        unsigned want;
        const char *has;
    } rows[] = {
        {0, "S: x\r\n\r\ny\r\n", 0, "caf=C3=A9 closed"},
        {MAIL_FLAG_8BIT, "S: x\r\n\r\ny\r\n", 0, "message/rfc822"},
        {MAIL_FLAG_8BIT, "S: x\r\n\r\n\xc3\xa9\r\n", MAIL_FLAG_8BIT, "\r\n\r\n\xc3\xa9\r\n"},
        {MAIL_FLAG_8BIT | MAIL_FLAG_UTF8, "S: \xc3\xa9\r\n\r\ny\r\n", MAIL_FLAG_8BIT, "message/global\r\n"},
        {MAIL_FLAG_BINARY, "S: x\r\n\r\ny\nz\r\n", 0, "text/rfc822-headers"},
        {MAIL_FLAG_8BIT | MAIL_FLAG_BINARY, "S: x\r\n\r\n\xe9\n", 0, "text/rfc822-headers"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world w;
        struct shape s = {.flags = rows[i].want | MAIL_FLAG_BOUNCE, .has = rows[i].has};
        script_begin(&w, 380 + i);
        w.on_relay_job = relay_refuses_in_utf8;
        w.on_local_job = local_sees;
        w.script = &s;
        put_body(&w, 0, rows[i].flags, &(struct mail_params){0}, str_from_c(rows[i].body));
        assert_int_equal(s.n, 1);
        script_expect_empty(&w);
        test_world_fini(&w);
    }
}

static void tells_what_was_asked_for(void **state)
{
    UNUSED(state);
    static const struct {
        uint8_t notify;
        bool fails;
        unsigned bounced, reported, not_bounced;
    } rows[] = {
        {0, false, 0, 0, 0},
        {NOTIFY_SUCCESS, false, 0, 1, 0},
        {NOTIFY_NEVER, false, 0, 0, 0},
        {NOTIFY_FAILURE | NOTIFY_DELAY, false, 0, 0, 0},
        {0, true, 1, 0, 0},
        {NOTIFY_FAILURE, true, 1, 0, 0},
        {NOTIFY_SUCCESS, true, 0, 0, 1},
        {NOTIFY_NEVER, true, 0, 0, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world w;
        script_begin(&w, 300 + i);
        if (rows[i].fails)
            w.on_relay_job = relay_refuses;
        put(&w, rows[i].notify, 0, &(struct mail_params){0});
        assert_int_equal(test_count(&w, EVENT_BOUNCED), rows[i].bounced);
        assert_int_equal(test_count(&w, EVENT_REPORTED), rows[i].reported);
        assert_int_equal(test_count(&w, EVENT_NOT_BOUNCED), rows[i].not_bounced);
        assert_int_equal(w.n_local_jobs, rows[i].bounced + rows[i].reported);
        script_expect_empty(&w);
        test_world_fini(&w);
    }
}

/* Once, also when the role dies after it. */
static void tells_a_delay_once(void **state)
{
    UNUSED(state);
    static const struct {
        uint8_t notify;
        uint32_t flags;
        unsigned want;
    } rows[] = {{0, MAIL_FLAG_OURS, 1}, {0, 0, 0}, {NOTIFY_DELAY, 0, 1}, {NOTIFY_FAILURE, MAIL_FLAG_OURS, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world w;
        script_begin(&w, 320 + i);
        w.on_relay_job = script_relay_defers;
        put(&w, rows[i].notify, rows[i].flags, &(struct mail_params){0});
        test_run(&w, 3 * HOUR);
        assert_int_equal(test_count(&w, EVENT_REPORTED), 0);
        test_run(&w, 9 * HOUR);
        assert_int_equal(test_count(&w, EVENT_REPORTED), rows[i].want);
        assert_int_equal(w.n_local_jobs, rows[i].want);
        test_power_cut(&w);
        test_start(&w);
        test_run(&w, DAY);
        assert_int_equal(test_count(&w, EVENT_REPORTED), rows[i].want);
        test_world_fini(&w);
    }
}

static void keeps_the_time_of_deliverby(void **state)
{
    UNUSED(state);
    for (unsigned mode = BY_RETURN; mode <= BY_NOTIFY; mode++) {
        struct test_world w;
        script_begin(&w, 340 + mode);
        w.on_relay_job = script_relay_defers;
        struct mail_params p = {.by_mode = (enum by_mode)mode,
                                .by_ms = world_wall_ms(&w.world) + 30 * MINUTE};
        put(&w, 0, 0, &p);
        test_run(&w, 28 * MINUTE);
        assert_int_equal(test_count(&w, EVENT_BOUNCED) + test_count(&w, EVENT_REPORTED), 0);
        test_run(&w, 3 * MINUTE);
        assert_int_equal(test_count(&w, EVENT_BOUNCED), mode == BY_RETURN);
        assert_int_equal(test_count(&w, EVENT_REPORTED), mode == BY_NOTIFY);
        test_run(&w, DAY);
        assert_int_equal(test_count(&w, EVENT_BOUNCED) + test_count(&w, EVENT_REPORTED), 1);
        test_world_fini(&w);
    }
}

/* Behind a blocked site, where its turn does not come, and over a restart. */
static void keeps_the_time_behind_a_blocked_site(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 4; i++) {
        struct test_world w;
        enum by_mode mode = i % 2 == 0 ? BY_RETURN : BY_NOTIFY;
        script_begin(&w, 350 + i);
        w.on_relay_job = script_relay_unreachable;
        for (unsigned k = 0; k < 100; k++)
            assert_int_equal(test_put(&w, "", "y@one.two", STR(MAIL), NULL), ERR_OK);
        struct mail_params p = {.by_mode = mode, .by_ms = world_wall_ms(&w.world) + 30 * MINUTE};
        put(&w, 0, 0, &p);
        test_run(&w, 10 * MINUTE);
        if (i >= 2) {
            test_power_cut(&w);
            test_start(&w);
        }
        test_run(&w, 18 * MINUTE);
        assert_int_equal(test_count(&w, EVENT_BOUNCED) + test_count(&w, EVENT_REPORTED), 0);
        uint64_t n_jobs = w.n_relay_jobs;
        test_run(&w, 10 * MINUTE);
        assert_int_equal(test_count(&w, EVENT_BOUNCED), mode == BY_RETURN);
        assert_int_equal(test_count(&w, EVENT_REPORTED), mode == BY_NOTIFY);
        assert_in_range(w.n_relay_jobs - n_jobs, 1, 5); /* the site is spared all the same */
        test_run(&w, DAY);
        assert_int_equal(test_count(&w, EVENT_BOUNCED) + test_count(&w, EVENT_REPORTED), 1);
        test_world_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_was_asked_for), cmocka_unit_test(says_what_octets_a_report_has),
        cmocka_unit_test(tells_a_delay_once), cmocka_unit_test(keeps_the_time_of_deliverby),
        cmocka_unit_test(keeps_the_time_behind_a_blocked_site)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
