/* The role from put to done over a simulated disk, in virtual time; peers are scripts. */
#include "service/queue/queue_scripts.h"

#include "base/mem.h"
#include "proto/smtp_client.h"
#include "wire/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* ---- delivering ---- */

static void test_local_delivery(void **state)
{
    UNUSED(state);
    struct test_world w;
    uint64_t id;
    script_begin(&w, 1);
    assert_int_equal(test_put(&w, "a@example.com", "alice@example.org", STR(MAIL), &id), ERR_OK);
    script_expect_empty(&w);
    assert_int_equal(w.n_local_jobs, 1);
    static const enum event_kind kinds[] = {EVENT_ROUTED, EVENT_ATTEMPT, EVENT_DELIVERED, EVENT_DONE};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        assert_int_equal(test_count(&w, kinds[i]), 1);
    test_world_fini(&w);
}

static void check_local_job(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    assert_null(given);
    assert_true(str_eq(m->body, STR(MAIL)) && m->size == m->body.n && !m->is_piped);
    assert_true(str_eq(m->sender, STR("a@example.com")));
    assert_true(str_eq(m->user_name, STR("vmail")));
    assert_true(str_eq(m->maildir, STR("/var/vmail/example.org/alice")) ||
                str_eq(m->maildir, STR("/var/vmail/example.org/bob")) ||
                str_eq(m->maildir, STR("/var/vmail/example.org/carol")));
    script_local_takes(w, m, given);
}

static void test_one_job_a_mailbox(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 2);
    w.on_local_job = check_local_job;
    assert_int_equal(
        test_put(&w, "a@example.com", "alice@example.org bob@example.org carol@example.org", STR(MAIL), NULL),
        ERR_OK);
    script_expect_empty(&w);
    assert_int_equal(w.n_local_jobs, 3);
    assert_int_equal(test_count(&w, EVENT_DELIVERED), 3);
    assert_int_equal(test_count(&w, EVENT_SPLIT), 0);
    test_world_fini(&w);
}

static void check_relay_job(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    struct reader r = reader_of(m->hosts);
    struct hop h[3];
    size_t n = 0;
    while (n < 3 && list_next_hop(&r, &h[n]))
        n++;
    assert_int_equal(n, 2);
    assert_true(str_eq(h[0].name, STR("mx2.test")) && h[0].preference == 20 && h[0].port == 2525);
    assert_true(str_eq(h[1].name, STR("mx1.test")) && h[1].preference == 10);
    assert_true(str_eq(m->site, STR("mx:mx1.test,mx2.test")));
    assert_true(str_eq(m->body, STR(MAIL)) && !m->is_lmtp);
    script_relay_takes(w, m, given);
}

static void test_mx_delivery(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 3);
    w.on_relay_job = check_relay_job;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two y@One.Two", STR(MAIL), NULL), ERR_OK);
    script_expect_empty(&w);
    assert_int_equal(w.n_relay_jobs, 1); /* one transaction for both */
    assert_int_equal(w.n_mx_asks, 1);
    assert_int_equal(test_put(&w, "alice@example.org", "z@one.two", STR(MAIL), NULL), ERR_OK);
    script_expect_empty(&w);
    assert_int_equal(w.n_mx_asks, 1); /* cached */
    test_run(&w, 301 * 1000);
    assert_int_equal(test_put(&w, "alice@example.org", "z@one.two", STR(MAIL), NULL), ERR_OK);
    script_expect_empty(&w);
    assert_int_equal(w.n_mx_asks, 2); /* the answer's time was over */
    test_world_fini(&w);
}

struct wish { /* what relay is told of a route's TLS and login */
    const char *to, *site;
    enum hop_tls tls;
    bool is_smtps;
    const char *user, *secret, *name; /* name: the first that a certificate may be for */
    const char *certificate;          /* ours */
};

static void check_wish(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    const struct wish *want = w->script;
    struct reader names = reader_of(m->names);
    struct str name = STR_NIL;
    assert_null(given);
    if (!str_eq(m->site, str_from_c(want->site)))
        fail_msg("to %s: %.*s", want->to, STR_FMT(m->site));
    assert_int_equal(m->tls, want->tls);
    assert_int_equal(m->is_smtps, want->is_smtps);
    assert_true(str_eq(m->user, str_from_c(want->user)) && str_eq(m->secret, str_from_c(want->secret)));
    assert_true(str_eq(m->certificate, str_from_c(want->certificate)));
    assert_int_equal(list_next_str(&names, &name), want->name != NULL);
    assert_true(want->name == NULL || str_eq(name, str_from_c(want->name)));
    test_job_done(&w->relay, m->token, 1, SMTP_AT_END, script_ok);
}

/* Each level and each login is a site of its own, and relay gets to know both. */
static void test_routes_say_tls(void **state)
{
    static const struct route_rule routes[] = {
        {.to = {.kind = PATTERN_DOMAIN, .domain = STR_INIT("hub.two")},
         .via = {.host = STR_INIT("hub.test"), .addr = {.port = 465}, .is_smtps = true},
         .tls = HOP_TLS_VERIFY,
         .auth = {STR_INIT("me"), STR_INIT("/etc/hub.pass")},
         .certificate = {STR_INIT("/etc/us.pem"), STR_INIT("/etc/us.key")}},
        {.to = {.kind = PATTERN_DOMAIN, .domain = STR_INIT("strict.two")},
         .is_mx = true,
         .certificate = {STR_INIT("/etc/mx.pem"), STR_INIT("/etc/mx.key")},
         .tls = HOP_TLS_VERIFY},
        {.to = {.kind = PATTERN_DOMAIN, .domain = STR_INIT("clear.two")}, .is_mx = true, .tls = HOP_TLS_NONE},
    };
    static const struct wish rows[] = {
        {"x@hub.two", "smtps:hub.test:465 as me", HOP_TLS_VERIFY, true, "me", "/etc/hub.pass", NULL,
         "/etc/us.pem"},
        {"x@strict.two", "mx:mx1.test,mx2.test tls verify", HOP_TLS_VERIFY, false, "", "", "strict.two",
         "/etc/mx.pem"},
        {"x@clear.two", "mx:mx1.test,mx2.test tls none", HOP_TLS_NONE, false, "", "", NULL, ""},
        {"x@other.two", "mx:mx1.test,mx2.test", HOP_TLS_MAY, false, "", "", "other.two", ""},
    };
    struct test_world w;
    UNUSED(state);
    script_begin(&w, 3);
    w.config.policy.routes = routes;
    w.config.policy.n_routes = ARRAY_LEN(routes);
    w.on_relay_job = check_wish;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wish row = rows[i];
        w.script = &row;
        assert_int_equal(test_put(&w, "alice@example.org", row.to, STR(MAIL), NULL), ERR_OK);
        script_expect_empty(&w);
        assert_int_equal(w.n_relay_jobs, i + 1);
    }
    test_world_fini(&w);
}

struct found { /* what relay is told of the MX records */
    const char *domain;
    enum dane_mx mx;
    bool trusts_hops;
    const char *canonical;
};

static void check_found(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    const struct found *want = w->script;
    assert_null(given);
    assert_int_equal(m->mx, want->mx);
    assert_int_equal(m->trusts_hops, want->trusts_hops);
    assert_true(str_eq(m->next_hop, str_from_c(want->domain)));
    assert_true(str_eq(m->canonical, str_from_c(want->canonical)));
    test_job_done(&w->relay, m->token, 1, SMTP_AT_END, script_ok);
}

/* RFC 7672 2.2: relay learns how far the names of hosts can be trusted. */
static void test_mx_security(void **state)
{
    static const struct {
        bool is_secure;
        const char *canonical; /* of the answer */
        struct found want;
    } rows[] = {
        {false, "one.two", {"one.two", DANE_MX_INSECURE, false, ""}},
        {false, "forged.two", {"one.two", DANE_MX_INSECURE, false, ""}},
        {true, "One.Two", {"one.two", DANE_MX_SECURE, true, ""}},
        {true, "real.two", {"one.two", DANE_MX_SECURE, true, "real.two"}},
        {false, NULL, {"none.two", DANE_MX_NONE, true, ""}},
        {false, "forged.two", {"none.two", DANE_MX_NONE, true, ""}},
        {true, "real.two", {"none.two", DANE_MX_NONE, true, "real.two"}},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_world w;
        struct found want = rows[i].want;
        script_begin(&w, 13);
        w.on_relay_job = check_found;
        w.mx_is_secure = rows[i].is_secure;
        w.mx_canonical = rows[i].canonical;
        w.script = &want;
        char rcpt[64];
        assert_true(snprintf(rcpt, sizeof rcpt, "x@%s", want.domain) > 0);
        assert_int_equal(test_put(&w, "alice@example.org", rcpt, STR(MAIL), NULL), ERR_OK);
        test_run(&w, 1000);
        assert_int_equal(w.n_relay_jobs, 1);
        script_expect_empty(&w);
        test_world_fini(&w);
    }
}

static void test_roll_up(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 4);
    w.on_relay_job = NULL; /* nobody answers: they stay active */
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    assert_int_equal(test_put(&w, "alice@example.org", "x@other.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 10);
    struct schedule_site *site = schedule_site(&w.q->schedule, STR("mx:mx1.test,mx2.test"), false);
    assert_int_equal(site->n_active, 2); /* two domains, one set of hosts, one site */
    test_world_fini(&w);
}

static void test_lmtp_delivery(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 5);
    w.on_relay_job = NULL;
    assert_int_equal(test_put(&w, "a@example.com", "any@example.net", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 10);
    struct test_message *t = test_take(&w.relay, IPC_RELAY_JOB);
    assert_non_null(t);
    struct ipc_relay_job m;
    struct hop h;
    assert_true(ipc_decode_relay_job(test_payload(t), &m));
    struct reader r = reader_of(m.hosts);
    assert_true(m.is_lmtp && list_next_hop(&r, &h) && h.name.n == 0 && h.addr.port == 24);
    test_job_done(&w.relay, m.token, 1, SMTP_AT_END, script_ok);
    test_message_free(t);
    script_expect_empty(&w);
    test_world_fini(&w);
}

/* Recipients of one message at several places: one unit makes the parts, each goes its way. */
static void test_split(void **state)
{
    UNUSED(state);
    struct test_world w;
    uint64_t id;
    script_begin(&w, 6);
    assert_int_equal(test_put(&w, "a@example.com",
                              "alice@example.org x@one.two any@example.net y@one.two z@three.four", STR(MAIL),
                              &id),
                     ERR_OK);
    script_expect_empty(&w);
    assert_int_equal(test_count(&w, EVENT_SPLIT), 4);
    assert_int_equal(test_count(&w, EVENT_DELIVERED), 5);
    assert_int_equal(test_count(&w, EVENT_DONE), 4);
    assert_int_equal(w.n_relay_jobs, 3);
    assert_int_equal(w.n_local_jobs, 1);
    test_world_fini(&w);
}

/* More destinations than one split makes: parts are split again. */
static void test_wide_split(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rcpts;
    script_begin(&w, 7);
    buf_init(&rcpts, 65536);
    for (unsigned i = 0; i < 200; i++)
        buf_printf(&rcpts, "%sx@d%u.two", i > 0 ? " " : "", i);
    buf_putc(&rcpts, '\0');
    assert_int_equal(test_put(&w, "a@example.com", rcpts.p, STR(MAIL), NULL), ERR_OK);
    test_until(&w, script_is_empty, 60 * 1000);
    script_expect_empty(&w);
    assert_int_equal(test_count(&w, EVENT_DELIVERED), 200);
    assert_int_equal(w.n_relay_jobs, 200);
    buf_fini(&rcpts);
    test_world_fini(&w);
}

static void test_portions(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rcpts;
    script_begin(&w, 8);
    buf_init(&rcpts, 65536);
    for (unsigned i = 0; i < 250; i++)
        buf_printf(&rcpts, "%sx%u@one.two", i > 0 ? " " : "", i);
    buf_putc(&rcpts, '\0');
    assert_int_equal(test_put(&w, "a@example.com", rcpts.p, STR(MAIL), NULL), ERR_OK);
    test_until(&w, script_is_empty, 60 * 1000);
    assert_int_equal(w.n_relay_jobs, 3);
    assert_int_equal(test_count(&w, EVENT_DELIVERED), 250);
    script_expect_empty(&w);
    buf_fini(&rcpts);
    test_world_fini(&w);
}

static void relay_takes_two(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const taken[] = {"250 2.0.0 taken", "250 2.0.0 taken", "452 4.5.3 too many recipients",
                                        NULL};
    UNUSED(given);
    uint32_t n = script_count(m->rcpts);
    if (w->n_relay_jobs % 2 == 0) { /* the server's own word, or what its LIMITS said before */
        test_job_done(&w->relay, m->token, n, SMTP_AT_RCPT, taken);
        return;
    }
    char mem[8192], payload_mem[9000];
    struct buf results, payload;
    buf_init_fixed(&results, mem, sizeof mem);
    buf_init_fixed(&payload, payload_mem, sizeof payload_mem);
    for (uint32_t i = 0; i < n; i++) {
        struct job_result r = {.kind = i < 2 ? RESULT_OK : RESULT_TEMPORARY,
                               .stage = SMTP_AT_RCPT,
                               .code = i < 2 ? 250 : 0,
                               .esc = i < 2 ? ESC(2, 0, 0) : ESC(4, 5, 3)};
        assert_true(list_put_result(&results, &r));
    }
    assert_true(ipc_encode_job_done(&(struct ipc_job_done){.token = m->token, .results = buf_str(&results)},
                                    &payload));
    test_send(&w->relay, IPC_JOB_DONE, buf_str(&payload), NULL);
}

static void relay_takes_none(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const none[] = {"452 4.5.3 too many recipients", NULL};
    UNUSED(given);
    test_job_done(&w->relay, m->token, script_count(m->rcpts), SMTP_AT_RCPT, none);
}

/* The first recipient is nobody's, and the others are over what the server said in EHLO. */
static void relay_answers_one(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    char mem[8192], payload_mem[9000];
    struct buf results, payload;
    UNUSED(given);
    buf_init_fixed(&results, mem, sizeof mem);
    buf_init_fixed(&payload, payload_mem, sizeof payload_mem);
    for (uint32_t i = 0, n = script_count(m->rcpts); i < n; i++) {
        struct job_result r = {.kind = i == 0 ? RESULT_PERMANENT : RESULT_TEMPORARY,
                               .stage = SMTP_AT_RCPT,
                               .code = i == 0 ? 550 : 0,
                               .esc = i == 0 ? ESC(5, 1, 1) : ESC(4, 5, 3)};
        assert_true(list_put_result(&results, &r));
    }
    assert_true(ipc_encode_job_done(&(struct ipc_job_done){.token = m->token, .results = buf_str(&results)},
                                    &payload));
    test_send(&w->relay, IPC_JOB_DONE, buf_str(&payload), NULL);
}

/* Who is over a server's number gets the next message at once; a server that takes nobody is left alone. */
static void test_few_recipients_at_a_time(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 81);
    w.on_relay_job = relay_takes_two;
    assert_int_equal(
        test_put(&w, "a@example.com", "a@one.two b@one.two c@one.two d@one.two e@one.two", STR(MAIL), NULL),
        ERR_OK);
    test_run(&w, 1000);
    assert_int_equal(w.n_relay_jobs, 3);
    assert_int_equal(test_count(&w, EVENT_DELIVERED), 5);
    assert_int_equal(test_count(&w, EVENT_DEFERRED), 0);
    script_expect_empty(&w);
    w.on_relay_job = relay_takes_none;
    assert_int_equal(test_put(&w, "a@example.com", "a@one.two b@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, MINUTE);
    assert_int_equal(w.n_relay_jobs, 4);
    assert_int_equal(test_count(&w, EVENT_DEFERRED), 2);
    w.on_relay_job = relay_answers_one;
    assert_int_equal(test_put(&w, "alice@example.org", "a@two.two b@two.two c@two.two", STR(MAIL), NULL),
                     ERR_OK);
    test_run(&w, 1000);
    assert_int_equal(w.n_relay_jobs, 7);
    assert_int_equal(test_count(&w, EVENT_FAILED), 3);
    assert_int_equal(test_count(&w, EVENT_DEFERRED), 2);
    test_world_fini(&w);
}

/* ---- failing ---- */
static void test_retries(void **state)
{
    UNUSED(state);
    struct test_world w;
    uint64_t id;
    script_begin(&w, 9);
    w.on_relay_job = script_relay_defers;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), &id), ERR_OK);
    test_run(&w, 1000);
    assert_int_equal(w.n_relay_jobs, 1);
    assert_int_equal(test_count(&w, EVENT_DEFERRED), 1);
    struct schedule_entry *e = schedule_find(&w.q->schedule, id);
    assert_non_null(e);
    assert_int_equal(e->n_attempts, 1);
    assert_int_equal(e->state, ENTRY_WAITING);
    test_run(&w, 239 * 1000); /* 5 minutes less 20 %, at the least */
    assert_int_equal(w.n_relay_jobs, 1);
    test_run(&w, 121 * 1000);
    assert_int_equal(w.n_relay_jobs, 2);
    test_run(&w, 12 * MINUTE);
    assert_int_equal(w.n_relay_jobs, 3);
    w.on_relay_job = script_relay_takes;
    test_run(&w, DAY);
    script_expect_empty(&w);
    test_world_fini(&w);
}

static void check_report(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    UNUSED(given);
    assert_int_equal(m->sender.n, 0);
    assert_true((m->flags & MAIL_FLAG_BOUNCE) != 0);
    assert_true(str_find(m->body, STR("multipart/report")) != STR_NPOS);
    assert_true(str_find(m->body, str_from_c(w->script)) != STR_NPOS);
    script_local_takes(w, m, given);
}

/* Five days of failures end in a report with the last reason. */
static void test_expiry(void **state)
{
    UNUSED(state);
    struct test_world w;
    char reason[] = "come back later";
    script_begin(&w, 10);
    w.on_relay_job = script_relay_defers;
    w.on_local_job = check_report;
    w.script = reason;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 4 * (uint64_t)DAY + 23 * HOUR);
    assert_int_equal(test_count(&w, EVENT_EXPIRED), 0);
    assert_in_range(w.n_relay_jobs, 30, 45);
    test_run(&w, 6 * HOUR);
    assert_int_equal(test_count(&w, EVENT_EXPIRED), 1);
    assert_int_equal(test_count(&w, EVENT_BOUNCED), 1);
    assert_int_equal(w.n_local_jobs, 1);
    script_expect_empty(&w);
    test_world_fini(&w);
}

static void relay_refuses_one(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const replies[] = {"250 2.0.0 fine", "550 5.1.1 nobody of that name", "451 4.3.0 wait",
                                          NULL};
    UNUSED(given);
    if (script_count(m->rcpts) == 3)
        test_job_done(&w->relay, m->token, 3, SMTP_AT_RCPT, replies);
    else
        script_relay_takes(w, m, given);
}

static void test_mixed_results(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rows;
    uint64_t id;
    char reason[] = "nobody of that name";
    script_begin(&w, 11);
    buf_init(&rows, 65536);
    w.on_relay_job = relay_refuses_one;
    w.on_local_job = check_report;
    w.script = reason;
    assert_int_equal(test_put(&w, "alice@example.org", "a@one.two b@one.two c@one.two", STR(MAIL), &id),
                     ERR_OK);
    test_run(&w, 1000);
    assert_int_equal(w.n_local_jobs, 1); /* the report went out at once */
    assert_int_equal(test_ask(&w, CTL_SHOW, id, "", 0, &rows), ERR_OK);
    static const char *const parts[] = {"\"delivered\"",       "\"failed\"", "\"deferred\"",
                                        "nobody of that name", "4.3.0",      "mx.test [192.0.2.1]:25"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        assert_true(str_find(buf_str(&rows), str_from_c(parts[i])) != STR_NPOS);
    test_run(&w, 10 * MINUTE);
    assert_int_equal(w.n_relay_jobs, 2); /* only the one that was deferred */
    script_expect_empty(&w);
    buf_fini(&rows);
    test_world_fini(&w);
}

static void test_mx_verdicts(void **state)
{
    UNUSED(state);
    static const struct {
        const char *rcpt, *status;
        bool fails, delivers;
    } table[] = {
        {"a@nx.test", "5.1.2", true, false},   {"a@null.test", "5.1.10", true, false},
        {"a@self.test", "5.4.6", true, false}, {"a@fail.test", "", false, false},
        {"a@none.test", "", false, true},      {"a@backup.test", "", false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct test_world w;
        char status[16];
        script_begin(&w, 20 + i);
        (void)snprintf(status, sizeof status, "%s", table[i].status);
        w.script = status;
        w.on_local_job = check_report;
        assert_int_equal(test_put(&w, "alice@example.org", table[i].rcpt, STR(MAIL), NULL), ERR_OK);
        test_run(&w, 1000);
        assert_int_equal(test_count(&w, EVENT_BOUNCED), table[i].fails);
        assert_int_equal(w.n_local_jobs, table[i].fails);
        assert_int_equal(w.n_relay_jobs, table[i].delivers);
        assert_int_equal(test_count(&w, EVENT_DEFERRED), !table[i].fails && !table[i].delivers);
        if (table[i].fails || table[i].delivers)
            script_expect_empty(&w);
        test_world_fini(&w);
    }
}

/* A mail loop through ourselves keeps only the hosts that are preferred to us. */
static void test_backup_mx(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 12);
    w.on_relay_job = NULL;
    assert_int_equal(test_put(&w, "alice@example.org", "a@backup.test", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 10);
    struct test_message *t = test_take(&w.relay, IPC_RELAY_JOB);
    assert_non_null(t);
    struct ipc_relay_job m;
    struct hop h;
    assert_true(ipc_decode_relay_job(test_payload(t), &m));
    struct reader r = reader_of(m.hosts);
    assert_true(list_next_hop(&r, &h) && str_eq(h.name, STR("first.test")));
    assert_false(list_next_hop(&r, &h));
    test_message_free(t);
    test_world_fini(&w);
}

static void relay_refuses(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    static const char *const replies[] = {"550 5.7.1 not wanted", NULL};
    UNUSED(given);
    test_job_done(&w->relay, m->token, script_count(m->rcpts), SMTP_AT_RCPT, replies);
}

/* Nobody is told of a failed report, nor of a message that has no sender. */
static void test_null_sender_never_bounces(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 13);
    w.on_relay_job = relay_refuses;
    assert_int_equal(test_put(&w, "", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 1000);
    script_expect_empty(&w);
    assert_int_equal(test_count(&w, EVENT_NOT_BOUNCED), 1);
    assert_int_equal(test_count(&w, EVENT_BOUNCED), 0);
    assert_int_equal(test_put(&w, "joe@three.four", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 1000);
    script_expect_empty(&w);
    assert_int_equal(test_count(&w, EVENT_BOUNCED), 1);
    assert_int_equal(test_count(&w, EVENT_NOT_BOUNCED), 2); /* the report was refused too */
    test_world_fini(&w);
}

/* The relay dies with jobs out: they are made again soon, and no attempt is counted. */
static void test_lost_relay(void **state)
{
    UNUSED(state);
    struct test_world w;
    uint64_t id;
    script_begin(&w, 14);
    w.on_relay_job = NULL;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), &id), ERR_OK);
    test_run(&w, 10);
    assert_non_null(w.relay.user);
    w.relay.user->on_closed(w.relay.arg, &w.relay);
    test_run(&w, 60 * 1000); /* nobody there: it waits */
    struct schedule_entry *e = schedule_find(&w.q->schedule, id);
    assert_non_null(e);
    assert_int_equal(e->n_attempts, 0);
    w.relay.is_closed = false;
    w.env.peers[ROLE_RELAY][0] = &w.relay;
    w.on_relay_job = script_relay_takes;
    struct test_message *lost = test_take(&w.relay, IPC_RELAY_JOB);
    assert_non_null(lost);
    test_message_free(lost);
    queue_role.peer(w.q, ROLE_RELAY, 0, &w.relay);
    test_run(&w, 1000);
    script_expect_empty(&w);
    assert_int_equal(w.q->count.lost, 1);
    test_world_fini(&w);
}
/* Behind a dead site few attempts are made, and yet everything expires. */
static void test_dead_site(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 15);
    w.on_relay_job = script_relay_unreachable;
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, HOUR);
    assert_in_range(w.n_relay_jobs, 5, 40);
    assert_int_equal(w.q->schedule.n_entries, 300);
    test_run(&w, 5 * (uint64_t)DAY);
    assert_in_range(w.n_relay_jobs, 300, 1100); /* one in ten minutes */
    script_expect_empty(&w);
    assert_int_equal(test_count(&w, EVENT_EXPIRED), 300);
    assert_int_equal(test_count(&w, EVENT_BOUNCED), 300);
    test_world_fini(&w);
}

/* ---- smtpd ---- */

static void test_ids_are_checked(void **state)
{
    UNUSED(state);
    for (unsigned what = 0; what < 4; what++) {
        struct test_world w;
        script_begin(&w, 30 + what);
        uint64_t id = test_new_id(&w);
        if (what == 0) { /* not given to this smtpd */
            test_send_put(&w, 1, id + 1, "a@example.com", "alice@example.org", STR(MAIL), NULL);
        } else if (what == 1) { /* twice */
            test_send_put(&w, 1, id, "a@example.com", "alice@example.org", STR(MAIL), NULL);
            test_send_put(&w, 2, id, "a@example.com", "alice@example.org", STR(MAIL), NULL);
        } else if (what == 2) { /* a line break in an address */
            test_send_put(&w, 1, id, "a@example.com\r\nX: y", "alice@example.org", STR(MAIL), NULL);
        } else { /* no recipient */
            test_send_put(&w, 1, id, "a@example.com", "", STR(MAIL), NULL);
        }
        test_run(&w, 1000);
        assert_true(w.smtpd.is_closed);
        assert_int_equal(w.n_forbidden, 1);
        assert_false(w.smtpd1.is_closed);
        script_expect_empty(&w);
        assert_int_equal(w.n_local_jobs, what == 1);
        test_world_fini(&w);
    }
}

static void test_hostile_messages(void **state)
{
    UNUSED(state);
    static const uint16_t types[] = {IPC_PUT,     IPC_PUT_RCPTS, IPC_PUT_COMMIT, IPC_PUT_ABORT,
                                     IPC_ID_WANT, IPC_JOB_DONE,  IPC_SUP_CONFIG};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct test_world w;
        script_begin(&w, 40 + i);
        test_send(&w.smtpd, types[i], STR("\xff\xff"), NULL);
        test_run(&w, 10);
        assert_true(w.smtpd.is_closed);
        assert_int_equal(w.n_forbidden, 1);
        test_world_fini(&w);
    }
    struct test_world w;
    script_begin(&w, 50);
    w.on_relay_job = NULL;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two y@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 10);
    test_job_done(&w.relay, w.q->token, 1, SMTP_AT_END, script_ok); /* one result for two recipients */
    test_run(&w, 10);
    assert_true(w.relay.is_closed);
    assert_int_equal(w.q->schedule.n_entries, 1);
    assert_int_equal(test_count(&w, EVENT_DELIVERED), 0);
    test_world_fini(&w);
}

static void test_early_rcpts(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 51);
    uint64_t id = test_new_id(&w);
    struct buf list, b;
    buf_init(&list, 4096);
    buf_init(&b, 8192);
    rcpt_put(&(struct rcpt){.address = STR("alice@example.org")}, &list);
    rcpt_put(&(struct rcpt){.address = STR("bob@example.org")}, &list);
    struct ipc_put_rcpts m = {.token = 7, .rcpts = buf_str(&list)};
    assert_true(ipc_encode_put_rcpts(&m, &b));
    test_send(&w.smtpd, IPC_PUT_RCPTS, buf_str(&b), NULL);
    test_send_put(&w, 7, id, "a@example.com", "carol@example.org", STR(MAIL), NULL);
    test_run(&w, 1000);
    assert_int_equal(w.n_local_jobs, 3);
    assert_int_equal(w.q->smtpd[0].n_early, 0);
    script_expect_empty(&w);
    buf_fini(&list);
    buf_fini(&b);
    test_world_fini(&w);
}

/* ---- large bodies ---- */
static void send_commit(struct test_world *w, uint64_t token, uint64_t size, uint32_t flags)
{
    struct buf b;
    buf_init(&b, 64);
    struct ipc_put_commit m = {.token = token, .size = size, .flags = flags};
    assert_true(ipc_encode_put_commit(&m, &b));
    test_send(&w->smtpd, IPC_PUT_COMMIT, buf_str(&b), NULL);
    buf_fini(&b);
}

static enum err put_piped(struct test_world *w, struct str body, uint64_t said, bool commit_first)
{
    struct test_pipe *p;
    uint64_t id = test_new_id(w);
    struct handle *h = test_pipe_new(w, &p);
    test_send_put(w, id, id, "alice@example.org", "x@one.two", STR_NIL, h);
    size_t at = 0;
    uint32_t flags = commit_first ? 0 : MAIL_FLAG_8BIT | MAIL_FLAG_OURS;
    if (commit_first)
        send_commit(w, id, said, flags);
    while (at < body.n && p->reader_open) {
        size_t n = body.n - at < 50000 ? body.n - at : 50000;
        test_pipe_write(p, str_slice(body, at, at + n));
        at += n;
        test_run(w, 1);
    }
    test_pipe_end(p);
    if (!commit_first)
        send_commit(w, id, said, flags);
    struct test_message *m = NULL;
    for (unsigned i = 0; i < 10000 && m == NULL; i++) {
        test_run(w, 1);
        m = test_take(&w->smtpd, IPC_PUT_DONE);
    }
    assert_non_null(m);
    struct ipc_put_done done;
    assert_true(ipc_decode_put_done(test_payload(m), &done));
    test_message_free(m);
    return (enum err)done.err;
}

static void test_piped_bodies(void **state)
{
    UNUSED(state);
    static const size_t sizes[] = {70000, 1024 * 1024, 1024 * 1024 + 1, 3 * 1024 * 1024 + 17};
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        struct test_world w;
        struct str body = script_body(sizes[i / 2]);
        script_begin(&w, 60 + i);
        w.on_relay_job = NULL;
        assert_int_equal(put_piped(&w, body, body.n, i % 2 == 1), ERR_OK);
        test_run(&w, 100);
        struct test_message *t = test_take(&w.relay, IPC_RELAY_JOB);
        assert_non_null(t);
        struct ipc_relay_job m;
        struct buf got;
        assert_true(ipc_decode_relay_job(test_payload(t), &m));
        assert_true(m.is_piped && m.size == body.n && t->handle != NULL);
        assert_int_equal(m.flags & MAIL_FLAG_8BIT, i % 2 == 1 ? 0 : MAIL_FLAG_8BIT);
        assert_int_equal(m.flags & MAIL_FLAG_OURS, 0); /* that is said by the put alone */
        buf_init(&got, body.n + 1);
        test_pipe_drain(&w, t->handle, &got);
        assert_true(str_eq(buf_str(&got), body));
        test_job_done(&w.relay, m.token, 1, SMTP_AT_END, script_ok);
        test_message_free(t);
        test_run(&w, 1000);
        script_expect_empty(&w);
        buf_fini(&got);
        char *mem = (char *)(uintptr_t)body.p;
        mem_free(mem);
        test_world_fini(&w);
    }
}

static void test_piped_refusals(void **state)
{
    UNUSED(state);
    struct str body = script_body(2 * 1024 * 1024);
    struct test_world w;
    script_begin(&w, 70);
    assert_int_equal(put_piped(&w, body, body.n - 1, false), ERR_INVALID);
    assert_int_equal(put_piped(&w, str_slice(body, 0, 70000), 70001, true), ERR_INVALID);
    /* smtpd goes away amid a body */
    struct test_pipe *p;
    uint64_t id = test_new_id(&w);
    struct handle *h = test_pipe_new(&w, &p);
    test_send_put(&w, id, id, "alice@example.org", "x@one.two", STR_NIL, h);
    for (size_t at = 0; at < body.n; at += 65536) {
        test_pipe_write(p, str_slice(body, at, at + 65536));
        test_run(&w, 0);
    }
    w.smtpd.user->on_closed(w.smtpd.arg, &w.smtpd);
    test_run(&w, 1000);
    script_expect_empty(&w);
    assert_int_equal(w.q->smtpd[0].n_intakes, 0);
    char *mem = (char *)(uintptr_t)body.p;
    mem_free(mem);
    test_world_fini(&w);
}

static void test_memory_budget(void **state)
{
    UNUSED(state);
    struct str body = script_body(200000);
    struct test_world w;
    script_begin(&w, 71);
    w.config.memory_max = 100000;
    assert_int_equal(put_piped(&w, body, body.n, false), ERR_NOMEM);
    script_expect_empty(&w);
    assert_int_equal(test_put(&w, "a@example.com", "alice@example.org", STR(MAIL), NULL), ERR_OK);
    script_expect_empty(&w);
    assert_true(test_count(&w, EVENT_TROUBLE) >= 1);
    char *mem = (char *)(uintptr_t)body.p;
    mem_free(mem);
    test_world_fini(&w);
}
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_delivery),
        cmocka_unit_test(test_one_job_a_mailbox),
        cmocka_unit_test(test_mx_delivery),
        cmocka_unit_test(test_routes_say_tls),
        cmocka_unit_test(test_mx_security),
        cmocka_unit_test(test_roll_up),
        cmocka_unit_test(test_lmtp_delivery),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_wide_split),
        cmocka_unit_test(test_portions),
        cmocka_unit_test(test_few_recipients_at_a_time),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_mixed_results),
        cmocka_unit_test(test_mx_verdicts),
        cmocka_unit_test(test_backup_mx),
        cmocka_unit_test(test_null_sender_never_bounces),
        cmocka_unit_test(test_lost_relay),
        cmocka_unit_test(test_dead_site),
        cmocka_unit_test(test_ids_are_checked),
        cmocka_unit_test(test_hostile_messages),
        cmocka_unit_test(test_early_rcpts),
        cmocka_unit_test(test_piped_bodies),
        cmocka_unit_test(test_piped_refusals),
        cmocka_unit_test(test_memory_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
