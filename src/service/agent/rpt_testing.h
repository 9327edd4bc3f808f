/* service/agent/rpt_testing.h: for the tests of reports about TLS: relays that tell of sessions, domains that
 * want reports, and mornings.
 */
#pragma once
#include "service/agent/agent_testing.h"

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
