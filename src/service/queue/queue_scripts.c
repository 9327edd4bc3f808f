/* How the peers behave in the tests of the role. */
#include "service/queue/queue_scripts.h"

#include "base/mem.h"
#include "proto/smtp_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

uint32_t script_count(struct str list)
{
    return rcpt_count(list);
}

/* ---- scripts ---- */

const char *const script_ok[] = {"250 2.0.0 taken", NULL};

void script_relay_takes(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    assert_true(given == NULL || m->is_piped);
    test_job_done(&w->relay, m->token, script_count(m->rcpts), SMTP_AT_END, script_ok);
}

void script_local_takes(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    UNUSED(given);
    assert_int_equal(script_count(m->rcpts), 1);
    test_job_done(&w->local, m->token, 1, 0, script_ok);
}

/* *.two: two hosts; nx.*, null.*, fail.*, none.*, self.*: what they say */
void script_mx(struct test_world *w, const struct ipc_mx_ask *m)
{
    if (str_starts(m->domain, STR("nx.")))
        test_mx_answer(w, m->token, DNS_STATUS_NXDOMAIN, "");
    else if (str_starts(m->domain, STR("null.")))
        test_mx_answer(w, m->token, DNS_STATUS_NULL_MX, "");
    else if (str_starts(m->domain, STR("fail.")))
        test_mx_answer(w, m->token, DNS_STATUS_TEMPORARY, "");
    else if (str_starts(m->domain, STR("none.")))
        test_mx_answer(w, m->token, DNS_STATUS_NODATA, "");
    else if (str_starts(m->domain, STR("self.")))
        test_mx_answer(w, m->token, DNS_STATUS_OK, "10 mail.example.org,20 other.test");
    else if (str_starts(m->domain, STR("backup.")))
        test_mx_answer(w, m->token, DNS_STATUS_OK, "5 first.test,10 mail.example.org,20 other.test");
    else
        test_mx_answer(w, m->token, DNS_STATUS_OK, "20 mx2.test,10 mx1.test");
}

void script_begin(struct test_world *w, uint64_t seed)
{
    test_world_init(w, seed);
    w->on_relay_job = script_relay_takes;
    w->on_local_job = script_local_takes;
    w->on_mx_ask = script_mx;
    test_start(w);
}

bool script_is_empty(struct test_world *w)
{
    return w->q->schedule.n_entries == 0 && w->q->n_store == 0 && w->q->n_works == 0;
}

/* Nothing is left: not in memory, not in the store, no budget is held. */
void script_expect_empty(struct test_world *w)
{
    struct store_stats st;
    test_until(w, script_is_empty, 1000);
    store_get_stats(w->q->store, &st);
    assert_int_equal(st.n_live, 0);
    assert_int_equal(w->q->put_octets, 0);
    assert_int_equal(w->q->jobs.n, 0);
    assert_int_equal(w->q->n_works, 0);
    schedule_invariants(&w->q->schedule);
}

const char *const script_later[] = {"450 4.2.0 come back later", NULL};

void script_relay_defers(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    UNUSED(given);
    test_job_done(&w->relay, m->token, script_count(m->rcpts), SMTP_AT_RCPT, script_later);
}

void script_relay_unreachable(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const replies[] = {"400 4.4.1 connection timed out", NULL};
    UNUSED(given);
    test_job_done(&w->relay, m->token, script_count(m->rcpts), SMTP_AT_CONNECT, replies);
}

struct str script_body(size_t n)
{
    char *p = mem_must_alloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + (i * 7 + i / 251) % 26);
    return str_of(p, n);
}
