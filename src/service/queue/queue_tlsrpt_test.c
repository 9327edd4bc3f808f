/* Reports about TLS that agent hands over: what queue takes of them, and how they go on. */
#include "service/queue/queue_scripts.h"

#include "base/mem.h"
#include "ipc/lists.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define REPORT "From: tls@us.test\r\nTo: r@one.two\r\n\r\na report\r\n"

struct seen { /* of the job at relay */
    uint64_t id;
    uint32_t flags;
    bool tls_optional;
    char sender[64], rcpts[64];
};

static void take_job(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    struct seen *s = w->script;
    struct mail_params p;
    struct reader r = reader_of(m->rcpts);
    struct rcpt rcpt;
    assert_true(mail_params_get(m->params, &p) && rcpt_next(&r, &rcpt) && reader_done(&r));
    s->id = m->id;
    s->flags = m->flags;
    s->tls_optional = p.tls_optional;
    p.tls_optional = false;
    char mem[64];
    struct buf rest;
    buf_init_fixed(&rest, mem, sizeof mem);
    assert_true(mail_params_put(&p, &rest) && rest.n == 0); /* and nothing else */
    assert_true(str_to_c(m->sender, s->sender, sizeof s->sender));
    assert_true(str_to_c(rcpt.address, s->rcpts, sizeof s->rcpts));
    script_relay_takes(w, m, given);
}

static void begin(struct test_world *w, struct seen *s)
{
    test_world_init(w, 23);
    w->on_relay_job = take_job;
    w->on_mx_ask = script_mx;
    w->script = s;
    w->config.tls_reports = w->config2.tls_reports = STR("tls@us.test");
    test_start(w);
}

static uint64_t new_id(struct test_world *w)
{
    char mem[16];
    struct buf b;
    struct ipc_id_grant g;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_id_want(&(struct ipc_id_want){.n = 1}, &b));
    test_send(&w->agent, IPC_ID_WANT, buf_str(&b), NULL);
    test_run(w, 10);
    struct test_message *m = test_take(&w->agent, IPC_ID_GRANT);
    if (m == NULL) {
        fail();
        return 0;
    }
    assert_true(ipc_decode_id_grant(test_payload(m), &g) && g.n == 1);
    test_message_free(m);
    return g.first;
}

static struct ipc_put report(uint64_t id, struct str rcpts)
{
    return (struct ipc_put){
        .token = 77, .id = id, .sender = STR("tls@us.test"), .rcpts = rcpts, .body = STR(REPORT)};
}

static void send_put(struct test_world *w, const struct ipc_put *m)
{
    struct buf b;
    buf_init(&b, IPC_FRAME_MAX);
    assert_true(ipc_encode_put(m, &b));
    test_send(&w->agent, IPC_PUT, buf_str(&b), NULL);
    buf_fini(&b);
    test_run(w, 1000);
}

static enum err answer(struct test_world *w)
{
    struct ipc_put_done d;
    struct test_message *m = test_take(&w->agent, IPC_PUT_DONE);
    if (m == NULL) {
        fail_msg("no answer");
        return ERR_CLOSED;
    }
    assert_true(ipc_decode_put_done(test_payload(m), &d) && d.token == 77);
    test_message_free(m);
    return (enum err)d.err;
}

static struct str rcpts_of(struct buf *b, char *mem, size_t size, struct rcpt r)
{
    buf_init_fixed(b, mem, size);
    assert_true(rcpt_put(&r, b));
    return buf_str(b);
}

static void test_a_report_goes_out(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct seen s = {.id = 0};
    char mem[100];
    struct buf b;
    begin(&w, &s);
    uint64_t id = new_id(&w);
    struct ipc_put m = report(id, rcpts_of(&b, mem, sizeof mem, (struct rcpt){.address = STR("r@one.two")}));
    send_put(&w, &m);
    assert_int_equal(answer(&w), ERR_OK);
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 1);
    assert_true(s.id == id && s.flags == 0 && s.tls_optional);
    assert_string_equal(s.sender, "tls@us.test");
    assert_string_equal(s.rcpts, "r@one.two");
    test_world_fini(&w);
}

/* What may be said before the new configuration has come is refused, and no more. */
static void test_another_sender_is_denied(void **state)
{
    UNUSED(state);
    static const struct str senders[] = {STR_INIT("root@us.test"), STR_INIT(""), STR_INIT("TLS@us.test")};
    for (size_t i = 0; i <= ARRAY_LEN(senders); i++) {
        struct test_world w;
        struct seen s = {.id = 0};
        char mem[100];
        struct buf b;
        begin(&w, &s);
        struct ipc_put m =
            report(new_id(&w), rcpts_of(&b, mem, sizeof mem, (struct rcpt){.address = STR("r@one.two")}));
        if (i < ARRAY_LEN(senders))
            m.sender = senders[i];
        else
            w.config.tls_reports = m.sender = STR_NIL; /* there are no reports */
        send_put(&w, &m);
        assert_int_equal(answer(&w), ERR_DENIED);
        assert_false(w.agent.is_closed);
        script_expect_empty(&w);
        assert_int_equal(w.n_relay_jobs, 0);
        test_world_fini(&w);
    }
}

enum { BAD_RCPTS = 8, BAD_ROWS = BAD_RCPTS + 9 };

static struct str bad_rcpts(size_t i, struct buf *b, char *mem, size_t size)
{
    static const struct rcpt rows[BAD_RCPTS] = {
        {.address = STR_INIT("r@one.two"), .notify = NOTIFY_SUCCESS},
        {.address = STR_INIT("r@one.two"), .flags = RCPT_IS_EXPANDED},
        {.address = STR_INIT("r@one.two"), .target = 1},
        {.address = STR_INIT("r@one.two"), .orcpt = STR_INIT("rfc822;x")},
        {.address = STR_INIT("r@one.two"), .shown = STR_INIT("x@one.two")},
        {.address = STR_INIT("no address")},
        {.address = STR_INIT("postmaster")},
        {.address = STR_INIT("r@[192.0.2.1]")},
    };
    struct str all = rcpts_of(b, mem, size, rows[i < BAD_RCPTS ? i : 0]);
    if (i >= BAD_RCPTS)
        all = rcpts_of(b, mem, size, (struct rcpt){.address = STR("r@one.two")});
    if (i == BAD_RCPTS) { /* two of them */
        assert_true(rcpt_put(&(struct rcpt){.address = STR("s@one.two")}, b));
        all = buf_str(b);
    }
    return all;
}

/* A taken-over agent may do no more than send what a report is. */
static void test_all_else_ends_its_channel(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < BAD_ROWS; i++) {
        struct test_world w;
        struct seen s = {.id = 0};
        char mem[200];
        struct buf b;
        begin(&w, &s);
        struct ipc_put m = report(new_id(&w), bad_rcpts(i, &b, mem, sizeof mem));
        if (i == BAD_RCPTS + 1)
            m.flags = MAIL_FLAG_OURS;
        if (i == BAD_RCPTS + 2)
            m.params = STR("x");
        if (i == BAD_RCPTS + 3)
            m.client = STR("192.0.2.1");
        if (i == BAD_RCPTS + 4)
            m.helo = STR("x");
        if (i == BAD_RCPTS + 5)
            m.is_piped = 1;
        if (i == BAD_RCPTS + 6)
            m.body = STR_NIL;
        if (i == BAD_RCPTS + 7)
            m.id++; /* never granted */
        struct str large = script_body(IPC_BODY_INLINE_MAX + 1);
        if (i == BAD_RCPTS + 8)
            m.body = large;
        send_put(&w, &m);
        if (!w.agent.is_closed)
            fail_msg("row %zu is taken", i);
        script_expect_empty(&w);
        assert_int_equal(w.n_relay_jobs, 0);
        mem_free((char *)(uintptr_t)large.p);
        test_world_fini(&w);
    }
}

static void test_an_id_is_good_once(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct seen s = {.id = 0};
    char mem[100];
    struct buf b;
    begin(&w, &s);
    struct ipc_put m =
        report(new_id(&w), rcpts_of(&b, mem, sizeof mem, (struct rcpt){.address = STR("r@one.two")}));
    send_put(&w, &m);
    assert_int_equal(answer(&w), ERR_OK);
    send_put(&w, &m);
    assert_true(w.agent.is_closed);
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 1);
    test_world_fini(&w);
}

/* The rights end there: no recipients in parts, no pipes. */
static void test_other_messages_are_not_its_own(void **state)
{
    UNUSED(state);
    static const uint16_t types[] = {IPC_PUT_RCPTS, IPC_PUT_COMMIT, IPC_PUT_ABORT, IPC_CALLOUT_ASK,
                                     IPC_ETRN_ASK};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct test_world w;
        struct seen s = {.id = 0};
        begin(&w, &s);
        test_send(&w.agent, types[i], STR("x"), NULL);
        test_run(&w, 10);
        assert_true(w.agent.is_closed);
        test_world_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_report_goes_out),
        cmocka_unit_test(test_another_sender_is_denied),
        cmocka_unit_test(test_all_else_ends_its_channel),
        cmocka_unit_test(test_an_id_is_good_once),
        cmocka_unit_test(test_other_messages_are_not_its_own),
    };
    return cmocka_run_group_tests_name("queue_tlsrpt", tests, NULL, NULL);
}
