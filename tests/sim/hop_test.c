/* tests/sim/hop_test.c: a next hop that defers, rejects, hangs, is down or refuses ends in a delivery or a
 * report, on schedule: the first retry after 5 minutes, twice as long each time up to 4 hours, moved by at
 * most 20 %, until the mail is 5 days old.
 */
#include "base/mem.h"
#include "ipc/schema.h"
#include "sim/sim_client.h"
#include "sim/sim_mem.h"
#include "sim/sim_node.h"
#include "sim/sim_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ATTEMPTS_MAX = 200, MINUTE_S = 60, HOUR_S = 3600, DAY_S = 86400, NEVER = 0 };

static const char config[] =
    "hostname \"node1.sim\"\npostmaster \"postmaster@node1.sim\"\n"
    "listen { port = 25, address = \"10.0.0.1\" }\nrelay_from { \"10.0.1.0/24\" }\n"
    "resolver { \"10.0.0.53\" }\nspool \"/spool\"\njournal \"/journal\"\n"
    "domain \"node1.sim\" { users = { \"postmaster\", \"u1\" }, deliver = maildir \"/mail/%u\" }\n";
static const char text[] = "From: <u1@node1.sim>\r\nSubject: to a difficult host\r\n\r\nthe body\r\n";

struct lab {
    struct sim *sim;
    struct sim_dns *dns;
    struct sim_node *node;
    struct sim_peer *peer;
    struct sim_client *client;
    struct sim_mail mail;
    bool is_done;
    uint64_t begun_us[ATTEMPTS_MAX], ended_us[ATTEMPTS_MAX]; /* as the queue's events say */
    unsigned n_begun, n_ended;
    uint64_t settled_us; /* delivered, failed or expired */
    enum event_kind how;
    unsigned n_not_bounced;
    struct buf report; /* what came into the sender's mailbox */
    unsigned n_reports, n_delays;
};

static void on_send(void *arg, struct sim_proc *p, uint16_t type, struct str payload)
{
    struct lab *l = arg;
    struct ipc_event e;
    if (type != IPC_EVENT || !str_eq(str_from_c(sim_proc_what(p)), STR("queue")) ||
        !ipc_decode_event(payload, &e) || str_ends(e.rcpt, STR("@node1.sim")) ||
        str_starts(e.host, STR("maildir:")))
        return;
    if (e.kind == EVENT_ATTEMPT) {
        assert_true(l->n_begun < ATTEMPTS_MAX);
        l->begun_us[l->n_begun++] = sim_now_us(l->sim);
    } else if (e.kind == EVENT_DEFERRED) {
        l->ended_us[l->n_ended++] = sim_now_us(l->sim);
    } else if (e.kind == EVENT_DELIVERED || e.kind == EVENT_FAILED || e.kind == EVENT_EXPIRED) {
        l->settled_us = sim_now_us(l->sim);
        l->how = (enum event_kind)e.kind;
    } else if (e.kind == EVENT_NOT_BOUNCED) {
        l->n_not_bounced++;
    }
}

static void on_mail_done(void *arg, struct sim_mail *m)
{
    struct lab *l = arg;
    UNUSED(m);
    l->is_done = true;
}

static bool is_ready(void *arg)
{
    const struct lab *l = arg;
    return sim_node_is_ready(l->node);
}

static bool is_done(void *arg)
{
    const struct lab *l = arg;
    return l->is_done;
}

static struct lab *lab_new(uint64_t seed, enum sim_peer_mode mode, const char *from)
{
    struct lab *l = sim_make(struct lab);
    l->sim = sim_new(seed);
    l->dns = sim_dns_new(l->sim);
    buf_init(&l->report, 65536);
    sim_on_send(l->sim, on_send, l);
    sim_dns_add_mx(l->dns, "node1.sim", 10, "node1.sim");
    sim_dns_add_a(l->dns, "node1.sim", "10.0.0.1");
    sim_dns_add_mx(l->dns, "peer.sim", 10, "mx.peer.sim");
    sim_dns_add_a(l->dns, "mx.peer.sim", "10.0.2.1");
    l->node = sim_node_new(sim_host_new(l->sim, "node1", "10.0.0.1"), l->dns, config);
    sim_node_start(l->node);
    l->peer = sim_peer_new(sim_host_new(l->sim, "peer", "10.0.2.1"), mode);
    l->client = sim_client_new(sim_host_new(l->sim, "client", "10.0.1.1"), 1);
    assert_true(sim_run_until_true(l->sim, SIM_MINUTE, is_ready, l));
    l->mail = (struct sim_mail){.from = from,
                                .rcpts = {"x@peer.sim"},
                                .n_rcpts = 1,
                                .data = str_from_c(text),
                                .done = on_mail_done,
                                .arg = l};
    assert_true(netaddr_parse_ip(STR("10.0.0.1"), 25, &l->mail.to));
    sim_client_send(l->client, &l->mail);
    assert_true(sim_run_until_true(l->sim, sim_now_us(l->sim) + SIM_MINUTE, is_done, l));
    assert_true(l->mail.is_accepted);
    return l;
}

static void lab_del(struct lab *l)
{
    sim_del(&l->sim);
    sim_node_del(&l->node);
    sim_peer_del(&l->peer);
    sim_client_del(&l->client);
    sim_dns_del(&l->dns);
    buf_fini(&l->report);
    mem_free(l);
}

static void on_file(void *arg, const char *path, uint64_t size)
{
    struct lab *l = arg;
    if (!str_starts(str_from_c(path), STR("mail/u1/new/")))
        return;
    struct buf one;
    buf_init(&one, SIZE_MAX);
    assert_true(buf_reserve(&one, (size_t)size));
    assert_true(sim_disk_peek(sim_host_disk(sim_node_host(l->node)), path, 0, one.p, (size_t)size));
    one.n = (size_t)size;
    if (str_find(buf_str(&one), STR("Action: delayed")) != STR_NPOS) {
        l->n_delays++; /* after four hours, once */
    } else {
        l->n_reports++;
        buf_reset(&l->report);
        assert_true(buf_put(&l->report, buf_str(&one)));
    }
    buf_fini(&one);
}

/* Each wait between a failed attempt and the next is what the schedule says. slack_s: a host that can't be
 * reached blocks its site for a while longer. n_hinted: so many waits are those of a greylisting server. */
static void check_waits(const struct lab *l, unsigned slack_s, unsigned n_hinted)
{
    uint64_t wait_s = 5 * MINUTE_S;
    for (unsigned i = 0; i + 1 < l->n_begun; i++) {
        double was_s = (double)(l->begun_us[i + 1] - l->ended_us[i]) / (double)SIM_S;
        if (i < n_hinted)
            assert_in_range((unsigned)was_s, 5 * MINUTE_S - 1, 5 * MINUTE_S * 11 / 10 + 1);
        else if (was_s < 0.8 * (double)wait_s - 1 || was_s > 1.2 * (double)wait_s + slack_s + 1)
            fail_msg("wait %u was %.1f s, not about %llu", i, was_s, (unsigned long long)wait_s);
        wait_s = wait_s * 2 < 4 * HOUR_S ? wait_s * 2 : 4 * HOUR_S;
    }
}

/* The parts of a report that programs and people look at. */
static void check_report(struct lab *l, const char *status, const char *diagnostic)
{
    sim_disk_each_file(sim_host_disk(sim_node_host(l->node)), "mail", on_file, l);
    assert_int_equal(l->n_reports, 1);
    assert_true(l->n_delays <= 1);
    struct str r = buf_str(&l->report);
    const char *const wanted[] = {
        "Return-Path: <>\n",
        "To: <u1@node1.sim>",
        "Content-Type: multipart/report",
        "report-type=delivery-status",
        "Auto-Submitted: auto-replied",
        "Reporting-MTA: dns; node1.sim",
        "Final-Recipient: rfc822; x@peer.sim",
        "Action: failed",
        status,
        diagnostic,
        "Subject: to a difficult host",
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (str_find(r, str_from_c(wanted[i])) == STR_NPOS)
            fail_msg("the report has no \"%s\":\n%.*s", wanted[i],
                     STR_FMT(str_skip(r, str_find(r, STR("message/delivery-status")))));
    }
}

struct row {
    const char *name;
    enum sim_peer_mode mode;
    unsigned then_accepts_s; /* NEVER: it goes on */
    enum event_kind how;
    unsigned settled_min_s, settled_max_s;
    unsigned attempt_min_s, attempt_max_s; /* how long each failed attempt takes */
    unsigned attempts_min, attempts_max;
    unsigned slack_s;
    const char *status, *diagnostic;
    unsigned n_taken;
};
/* clang-format off */
static const struct row rows[] = {
    /* "greylisted": the first attempts come at the pace that such servers mean: 6 waits of at most 330 s, and behind them
       one of 4 h, which chance may make 1.2 times as long */
    {"defers the recipient for two hours", SIM_PEER_DEFERS_RCPT, 2 * HOUR_S, EVENT_DELIVERED, 2 * HOUR_S, 6 * HOUR_S, 0, 5, 7, 9,
     0, NULL, NULL, 1},
    {"defers the sender for an hour", SIM_PEER_DEFERS_MAIL, HOUR_S, EVENT_DELIVERED, HOUR_S, 3 * HOUR_S, 0, 5, 4, 6, 0, NULL,
     NULL, 1},
    {"greets with 421 for an hour", SIM_PEER_DEFERS_GREETING, HOUR_S, EVENT_DELIVERED, HOUR_S, 3 * HOUR_S, 0, 5, 4, 6, 600, NULL,
     NULL, 1},
    {"defers the data for good", SIM_PEER_DEFERS_END, NEVER, EVENT_EXPIRED, 5 * DAY_S, 5 * DAY_S + 5 * HOUR_S, 0, 5, 30, 46, 0,
     "Status: 5.4.7", "452 4.2.2 mailbox full at present", 0},
    {"rejects the recipient", SIM_PEER_REJECTS_RCPT, NEVER, EVENT_FAILED, 0, 60, 0, 5, 1, 1, 0, "Status: 5.1.1",
     "550 5.1.1 nobody of that name", 0},
    {"rejects the data", SIM_PEER_REJECTS_END, NEVER, EVENT_FAILED, 0, 60, 0, 5, 1, 1, 0, "Status: 5.6.0",
     "554 5.6.0 this content is not taken", 0},
    {"says nothing at first, for good", SIM_PEER_SILENT_GREETING, NEVER, EVENT_EXPIRED, 5 * DAY_S, 5 * DAY_S + 5 * HOUR_S, 299,
     303, 30, 46, 600, "Status: 5.4.7", "timed out", 0},
    {"says nothing behind the data for three hours", SIM_PEER_SILENT_END, 3 * HOUR_S, EVENT_DELIVERED, 3 * HOUR_S, 7 * HOUR_S, 599,
     603, 4, 7, 600, NULL, NULL, 1},
    {"refuses for an hour", SIM_PEER_REFUSES, HOUR_S, EVENT_DELIVERED, HOUR_S, 3 * HOUR_S, 0, 5, 4, 6, 600, NULL, NULL, 1},
    {"refuses for good", SIM_PEER_REFUSES, NEVER, EVENT_EXPIRED, 5 * DAY_S, 5 * DAY_S + 5 * HOUR_S, 0, 5, 30, 46, 600,
     "Status: 5.4.7", "refused", 0},
    {"is down for a day", SIM_PEER_DOWN, DAY_S, EVENT_DELIVERED, DAY_S, DAY_S + 5 * HOUR_S, 29, 33, 9, 15, 600, NULL, NULL, 1},
    {"is down for good", SIM_PEER_DOWN, NEVER, EVENT_EXPIRED, 5 * DAY_S, 5 * DAY_S + 5 * HOUR_S, 29, 33, 30, 46, 600,
     "Status: 5.4.7", "timed out", 0},
};
/* clang-format on */

static void accept_now(void *arg)
{
    struct lab *l = arg;
    sim_peer_set(l->peer, SIM_PEER_ACCEPTS);
}

static void check_row(const struct row *row, uint64_t seed)
{
    struct lab *l = lab_new(seed, row->mode, "u1@node1.sim");
    uint64_t begun_us = l->mail.done_us;
    if (row->then_accepts_s != NEVER)
        sim_call_at(l->sim, begun_us + row->then_accepts_s * SIM_S, accept_now, l);
    sim_run_until(l->sim, begun_us + 6 * SIM_DAY);
    uint64_t settled_s = (l->settled_us - begun_us) / SIM_S;
    print_message("# %s: %u attempts, %s after %llu s\n", row->name, l->n_begun, event_word(l->how),
                  (unsigned long long)settled_s);
    assert_int_equal(l->how, row->how);
    assert_in_range(settled_s, row->settled_min_s, row->settled_max_s);
    assert_in_range(l->n_begun, row->attempts_min, row->attempts_max);
    assert_true(l->n_ended + 1 >= l->n_begun);
    check_waits(l, row->slack_s, row->mode == SIM_PEER_DEFERS_RCPT ? 6 : 0);
    for (unsigned i = 0; i < l->n_ended && i < l->n_begun; i++)
        assert_in_range((l->ended_us[i] - l->begun_us[i]) / SIM_S, row->attempt_min_s, row->attempt_max_s);
    assert_int_equal(sim_peer_n_taken(l->peer), row->n_taken);
    if (row->n_taken > 0)
        assert_true(str_find(sim_peer_text(l->peer), STR("\r\n\r\nthe body\r\n")) != STR_NPOS);
    if (row->status != NULL) {
        check_report(l, row->status, row->diagnostic);
    } else {
        sim_disk_each_file(sim_host_disk(sim_node_host(l->node)), "mail", on_file, l);
        assert_int_equal(l->n_reports, 0);
    }
    lab_del(l);
}

static void test_rows(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        check_row(&rows[i], 1);
        check_row(&rows[i], 2);
    }
}

/* It took the message and broke the connection before it said so: it comes again, which no sender can avoid.
 */
static void test_dropped_end(void **state)
{
    UNUSED(state);
    struct lab *l = lab_new(1, SIM_PEER_DROPS_END, "u1@node1.sim");
    sim_call_at(l->sim, sim_now_us(l->sim) + SIM_MINUTE, accept_now, l);
    sim_run_until(l->sim, sim_now_us(l->sim) + SIM_DAY);
    assert_int_equal(l->how, EVENT_DELIVERED);
    assert_int_equal(l->n_begun, 2);
    assert_int_equal(sim_peer_n_taken(l->peer), 2);
    check_waits(l, 600, 0);
    lab_del(l);
}

static void test_null_sender(void **state)
{
    UNUSED(state);
    struct lab *l = lab_new(1, SIM_PEER_REJECTS_RCPT, "");
    sim_run_until(l->sim, sim_now_us(l->sim) + SIM_DAY);
    assert_int_equal(l->how, EVENT_FAILED);
    assert_int_equal(l->n_not_bounced, 1);
    sim_disk_each_file(sim_host_disk(sim_node_host(l->node)), "mail", on_file, l);
    assert_int_equal(l->n_reports, 0);
    lab_del(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_dropped_end),
        cmocka_unit_test(test_null_sender),
    };
    return cmocka_run_group_tests_name("sim next hop", tests, NULL, NULL);
}
