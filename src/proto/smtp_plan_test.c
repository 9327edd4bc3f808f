#include "proto/smtp_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void send_all(struct smtp_plan *p, bool pipelining, uint64_t *at)
{
    while (smtp_plan_may_send(p, pipelining)) {
        smtp_plan_sent(p, *at += 10);
        smtp_plan_invariants(p);
    }
}

static void plan_of(struct smtp_plan *p, const enum smtp_step_kind *kinds, size_t n)
{
    *p = (struct smtp_plan){0};
    for (size_t i = 0; i < n; i++)
        smtp_plan_add(p, kinds[i], 0);
    smtp_plan_invariants(p);
}

/* How far the sender gets before a reply, and after each. */
static void test_groups(void **state)
{
    static const struct {
        const char *name;
        bool pipelining;
        size_t n;
        enum smtp_step_kind kinds[6];
        uint16_t sent[7]; /* steps sent before any reply, after one, after two, ... */
    } rows[] = {
        {"one at a time", false, 3, {SMTP_STEP_MAIL, SMTP_STEP_RCPT, SMTP_STEP_DATA}, {1, 2, 3, 3}},
        {"a group", true, 3, {SMTP_STEP_MAIL, SMTP_STEP_RCPT, SMTP_STEP_DATA}, {3, 3, 3, 3}},
        {"DATA ends a group",
         true,
         4,
         {SMTP_STEP_MAIL, SMTP_STEP_RCPT, SMTP_STEP_DATA, SMTP_STEP_END},
         {3, 3, 3, 4, 4}},
        {"RSET may lead one",
         true,
         4,
         {SMTP_STEP_RSET, SMTP_STEP_MAIL, SMTP_STEP_RCPT, SMTP_STEP_DATA},
         {4, 4, 4, 4, 4}},
        {"EHLO ends one", true, 2, {SMTP_STEP_EHLO, SMTP_STEP_MAIL}, {1, 2, 2}},
        {"LHLO ends one", true, 2, {SMTP_STEP_LHLO, SMTP_STEP_MAIL}, {1, 2, 2}},
        {"HELO ends one", true, 2, {SMTP_STEP_HELO, SMTP_STEP_MAIL}, {1, 2, 2}},
        {"STARTTLS ends one", true, 2, {SMTP_STEP_STARTTLS, SMTP_STEP_EHLO}, {1, 2, 2}},
        {"AUTH ends one", true, 2, {SMTP_STEP_AUTH, SMTP_STEP_MAIL}, {1, 2, 2}},
        {"the greeting comes first", true, 2, {SMTP_STEP_GREETING, SMTP_STEP_EHLO}, {1, 2, 2}},
        {"the end ends one", true, 2, {SMTP_STEP_END, SMTP_STEP_MAIL}, {1, 2, 2}},
        {"QUIT is the last", true, 2, {SMTP_STEP_QUIT, SMTP_STEP_MAIL}, {1, 2, 2}},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_plan p;
        uint64_t at = 0;
        plan_of(&p, rows[i].kinds, rows[i].n);
        assert_null(smtp_plan_awaited(&p));
        for (size_t k = 0; k <= rows[i].n; k++) {
            send_all(&p, rows[i].pipelining, &at);
            if (p.send != rows[i].sent[k])
                fail_msg("%s: %u sent after %zu replies", rows[i].name, p.send, k);
            assert_int_equal(smtp_plan_is_done(&p), k == rows[i].n);
            if (k == rows[i].n)
                break;
            assert_int_equal(smtp_plan_awaited(&p)->kind, rows[i].kinds[k]);
            smtp_plan_received(&p);
            smtp_plan_invariants(&p);
        }
        assert_null(smtp_plan_next(&p));
        assert_null(smtp_plan_awaited(&p));
    }
}

/* Skipped steps have no reply, wherever they stand. */
static void test_skip(void **state)
{
    static const enum smtp_step_kind kinds[] = {SMTP_STEP_MAIL, SMTP_STEP_RCPT, SMTP_STEP_RCPT,
                                                SMTP_STEP_DATA};
    struct smtp_plan p;
    UNUSED(state);
    plan_of(&p, kinds, ARRAY_LEN(kinds)); /* behind an outstanding one */
    smtp_plan_sent(&p, 10);
    smtp_plan_skip(&p);
    smtp_plan_skip(&p);
    smtp_plan_invariants(&p);
    assert_true(smtp_plan_may_send(&p, true));
    assert_false(smtp_plan_may_send(&p, false));
    assert_int_equal(smtp_plan_awaited(&p)->kind, SMTP_STEP_MAIL);
    smtp_plan_received(&p);
    smtp_plan_invariants(&p);
    assert_null(smtp_plan_awaited(&p));
    smtp_plan_skip(&p);
    assert_true(smtp_plan_is_done(&p));
    smtp_plan_invariants(&p);

    plan_of(&p, kinds, ARRAY_LEN(kinds)); /* between two outstanding ones */
    smtp_plan_sent(&p, 10);
    smtp_plan_skip(&p);
    smtp_plan_sent(&p, 20);
    smtp_plan_received(&p);
    smtp_plan_invariants(&p);
    assert_ptr_equal(smtp_plan_awaited(&p), &p.steps[2]);
    assert_int_equal(smtp_plan_awaited(&p)->sent_at, 20);
    smtp_plan_reset(&p);
    smtp_plan_invariants(&p);
    assert_true(smtp_plan_is_done(&p));
    assert_null(smtp_plan_next(&p));
}

/* A job with as many recipients as may be, RSET before and the end behind, has room. */
static void test_full(void **state)
{
    struct smtp_plan p = {0};
    uint64_t at = 0;
    UNUSED(state);
    smtp_plan_add(&p, SMTP_STEP_RSET, 0);
    smtp_plan_add(&p, SMTP_STEP_MAIL, 0);
    for (uint32_t i = 0; i < QUEUE_RCPTS_PER_ATTEMPT_MAX; i++)
        smtp_plan_add(&p, SMTP_STEP_RCPT, i);
    smtp_plan_add(&p, SMTP_STEP_DATA, 0);
    smtp_plan_add(&p, SMTP_STEP_END, 0);
    assert_int_equal(p.n, SMTP_PLAN_STEPS_MAX);
    send_all(&p, true, &at);
    assert_int_equal(p.send, SMTP_PLAN_STEPS_MAX - 1);
    while (smtp_plan_awaited(&p) != NULL)
        smtp_plan_received(&p);
    send_all(&p, true, &at);
    smtp_plan_received(&p);
    assert_true(smtp_plan_is_done(&p));
    smtp_plan_invariants(&p);
}

/* RFC 5321 4.5.3.2 gives each at least that long; the stages are those of the steps. */
static void test_rows(void **state)
{
    static const struct {
        enum smtp_step_kind kind;
        enum smtp_client_stage stage;
        uint32_t least_ms;
    } rows[] = {
        {SMTP_STEP_GREETING, SMTP_AT_GREETING, 300000}, {SMTP_STEP_EHLO, SMTP_AT_HELLO, 300000},
        {SMTP_STEP_HELO, SMTP_AT_HELLO, 300000},        {SMTP_STEP_LHLO, SMTP_AT_HELLO, 300000},
        {SMTP_STEP_RSET, SMTP_AT_MAIL, 300000},         {SMTP_STEP_MAIL, SMTP_AT_MAIL, 300000},
        {SMTP_STEP_RCPT, SMTP_AT_RCPT, 300000},         {SMTP_STEP_DATA, SMTP_AT_DATA, 120000},
        {SMTP_STEP_END, SMTP_AT_END, 600000},           {SMTP_STEP_QUIT, SMTP_AT_QUIT, 1000},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(smtp_step_stage(rows[i].kind), rows[i].stage);
        assert_true(smtp_step_timeout_ms(rows[i].kind) >= rows[i].least_ms);
        assert_true(smtp_step_name(rows[i].kind)[0] != '\0');
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
