/* Who a client is, what it may, and what smtpd asks others before it answers. */
#include "ipc/lists.h"
#include "service/smtpd/smtpd_testing.h"

#include "wire/header.h"

#include <stdio.h>

static void give_lookup(void)
{
    the->env.peers[ROLE_LOOKUP][0] = &the->lookup;
    smtpd_role.peer(the->d, ROLE_LOOKUP, 0, &the->lookup);
}

static void mx_answer(enum dns_status status)
{
    char mem[128];
    struct buf b;
    struct ipc_mx_answer m = {.token = the->asked, .status = (uint8_t)status};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_mx_answer(&m, &b));
    the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_MX_ANSWER, buf_str(&b), NULL);
}

static void a_sender_that_takes_no_mail(void **state)
{
    UNUSED(state);
    static const struct {
        enum dns_status status;
        const char *reply;
    } rows[] = {{DNS_STATUS_NULL_MX, "550 5.7.27"},
                {DNS_STATUS_OK, "250 2.1.0"},
                {DNS_STATUS_NXDOMAIN, "250 2.1.0"},
                {DNS_STATUS_TEMPORARY, "250 2.1.0"}};
    give_lookup();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = client("192.0.2.1:5");
        say(c, "EHLO c.test\r\n");
        buf_reset(&c->out);
        say(c, "MAIL FROM:<a@b.test>\r\n");
        assert_int_equal(c->out.n, 0);
        assert_string_equal(the->asked_for, "b.test");
        mx_answer(rows[i].status);
        hears(c, rows[i].reply);
        mx_answer(DNS_STATUS_NULL_MX); /* a second answer is nobody's */
        assert_int_equal(c->out.n, 0);
        assert_int_equal(the->d->n_asks, 0);
    }
    assert_int_equal(the->n_refused, 1);
}

/* What comes while lookup is asked is kept, and so is the client's end; nothing is said out of turn. */
static void commands_behind_a_question(void **state)
{
    UNUSED(state);
    give_lookup();
    struct conn *c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\n");
    buf_reset(&c->out);
    say(c, "MAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nRSET\r\nMAIL FROM:<a@c.test>\r\n");
    say(c, "QUIT\r\n");
    c->is_eof = true;
    wake(c);
    assert_int_equal(c->out.n, 0);
    assert_string_equal(the->asked_for, "b.test");
    mx_answer(DNS_STATUS_OK);
    hears(c, "250 2.0.0"); /* of RSET */
    assert_string_equal(the->asked_for, "c.test");
    mx_answer(DNS_STATUS_NULL_MX);
    assert_true(str_starts(buf_str(&c->out), STR("550 5.7.27")));
    hears(c, "221 2.0.0");
    assert_true(c->is_closed);
    assert_int_equal(the->d->memory_used, 0);
    assert_int_equal(the->d->n_asks, 0);
}

/* Over the limit nobody is asked, and nobody refused for it. */
static void questions_have_a_limit(void **state)
{
    UNUSED(state);
    give_lookup();
    struct conn *c = NULL;
    for (size_t i = 0; i <= SMTPD_ASKS_MAX; i++) {
        c = client("192.0.2.1:5");
        say(c, "EHLO c.test\r\n");
        buf_reset(&c->out);
        say(c, "MAIL FROM:<a@b.test>\r\n");
    }
    assert_int_equal(the->d->n_asks, SMTPD_ASKS_MAX);
    hears(c, "250 2.1.0");
    smtpd_role.drain(the->d, 0);
    assert_int_equal(the->d->n_asks, 0);
    pass_ms(0);
    assert_int_equal(the->n_drained, 1);
}

static void who_is_not_asked_about(void **state)
{
    UNUSED(state);
    static const struct netblock ours = {{.kind = NETADDR_IP4, .ip = {198, 51, 100, 0}}, 24};
    the->config.policy.relay_from = &ours;
    the->config.policy.n_relay_from = 1;
    give_lookup();
    size_t n = the->lookup.n_sent;
    static const char *const rows[][2] = {{"192.0.2.1:5", "MAIL FROM:<>\r\n"},
                                          {"192.0.2.1:5", "MAIL FROM:<joe@HERE.test>\r\n"},
                                          {"192.0.2.1:5", "MAIL FROM:<joe@[192.0.2.1]>\r\n"},
                                          {"198.51.100.7:5", "MAIL FROM:<a@b.test>\r\n"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = client(rows[i][0]);
        say(c, "EHLO c.test\r\n");
        say(c, rows[i][1]);
        hears(c, "250 2.1.0");
    }
    assert_int_equal(the->lookup.n_sent, n);
}

static void a_lookup_that_is_late_or_lost(void **state)
{
    UNUSED(state);
    give_lookup();
    struct conn *c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n");
    pass_ms(SMTPD_ASK_MS - 1);
    hears(c, "250 ");
    pass_ms(1);
    hears(c, "250 2.1.0");
    say(c, "RSET\r\nMAIL FROM:<a@b.test>\r\n");
    hears(c, "250 2.0.0");
    the->env.peers[ROLE_LOOKUP][0] = NULL;
    the->lookup.user->on_closed(the->lookup.arg, &the->lookup);
    hears(c, "250 2.1.0");
    say(c, "RSET\r\nMAIL FROM:<a@b.test>\r\n");
    hears(c, "250 2.1.0");
}

static void a_proxy_names_the_client(void **state)
{
    UNUSED(state);
    the->at.has_proxy = true;
    struct conn *c = client("192.0.2.1:5");
    assert_int_equal(c->out.n, 0);
    say(c, "PROXY TCP4 203.0.113.9 192.0");
    assert_int_equal(c->out.n, 0);
    say(c, ".2.2 4711 25\r\n");
    hears(c, "220");
    say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@nowhere.test>\r\n");
    hears(c, "550 5.7.1");
    assert_string_equal(the->event_host, "203.0.113.9:4711");
    c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\n");
    assert_true(c->is_closed && c->out.n == 0);
    c = client("192.0.2.1:5");
    say(c, "PROXY TCP4 ");
    pass_ms(SMTPD_PROXY_MS);
    assert_true(c->is_closed && c->out.n == 0);
    static const struct netblock trusted = {{.kind = NETADDR_IP4, .ip = {198, 51, 100, 0}}, 24};
    the->at.proxy_from = &trusted;
    the->at.n_proxy_from = 1;
    assert_true(client("192.0.2.1:5")->is_closed);
    assert_false(client("198.51.100.1:5")->is_closed);
    assert_int_equal(the->d->count.proxy_bad, 3);
}

static void note_line(void *arg, struct str line)
{
    struct buf *lines = arg;
    assert_true(buf_put(lines, line));
}

/* Anybody who reaches such a port can send bad headers: they fill no disk. */
static void bad_headers_are_few_lines(void **state)
{
    UNUSED(state);
    struct buf lines;
    buf_init(&lines, 65536);
    the->log = (struct log){.min = LOG_WARN, .write = note_line, .arg = &lines};
    the->at.has_proxy = true;
    for (size_t i = 0; i < 200; i++) {
        struct conn *c = client("192.0.2.1:5");
        say(c, "GET /\r\n");
        assert_true(c->is_closed);
    }
    struct str rest = buf_str(&lines);
    assert_true(str_find(str_cut(&rest, '\n'), STR("peer=192.0.2.1:5 since_start=1")) != STR_NPOS);
    assert_int_equal(rest.n, 0);
    pass_ms(SMTPD_PROXY_LOG_MS);
    buf_reset(&lines);
    say(client("192.0.2.1:6"), "x\r\n");
    assert_true(str_find(buf_str(&lines), STR("peer=192.0.2.1:6 since_start=201")) != STR_NPOS);
    assert_int_equal(the->d->count.proxy_bad, 201);
    the->log = (struct log){.min = LOG_ERROR};
    buf_fini(&lines);
}

static void a_header_that_is_awaited(void **state)
{
    UNUSED(state);
    the->at.has_proxy = true;
    the->config.sessions_max = 2;
    struct conn *first = client("192.0.2.1:5"), *second = client("192.0.2.1:6");
    say(first, "PROXY TCP4 203.0.113.9 192.0.2.2 4711 25\r\n");
    hears(first, "220");
    assert_int_equal(the->d->memory_used, 0);  /* who is idle holds no buffer */
    hears(client("192.0.2.1:7"), "421 4.7.0"); /* the second counts while its header is awaited */
    assert_int_equal(the->d->n_sessions, 2);
    smtpd_role.drain(the->d, 0);
    hears(first, "421 4.3.2");
    assert_true(first->is_closed && second->is_closed && second->out.n == 0);
    pass_ms(0);
    assert_int_equal(the->n_drained, 1);
}

/* The one whom the header names counts, and not the balancer. */
static void clients_of_a_balancer_are_counted(void **state)
{
    UNUSED(state);
    the->at.has_proxy = true;
    the->config.session_per_client_max = 1;
    struct conn *c = client("192.0.2.1:5");
    say(c, "PROXY TCP4 203.0.113.9 192.0.2.2 1 25\r\n");
    hears(c, "220");
    c = client("192.0.2.1:6");
    say(c, "PROXY TCP4 203.0.113.10 192.0.2.2 1 25\r\n");
    hears(c, "220");
    c = client("192.0.2.1:7");
    say(c, "PROXY TCP4 203.0.113.9 192.0.2.2 2 25\r\n");
    hears(c, "421 4.7.0");
}

static void the_local_socket(void **state)
{
    UNUSED(state);
    the->at.is_submit = true;
    the->uid = 1234;
    the->config.session_per_client_max = 1;
    struct conn *c = client("unix:/run/submit");
    begin_data(c);
    say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
    assert_true((the->sent_flags & MAIL_FLAG_OURS) != 0);
    assert_true(str_find(buf_str(&the->sent_body), STR("from localhost (uid 1234)")) != STR_NPOS);
    hears(client("unix:/run/submit"), "421 4.7.0");
    the->uid = 1235;
    hears(client("unix:/run/submit"), "220");
}

/* ---- submissions ---------------- */

static const struct netblock ours_of_192_0_2 = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};

/* A client of ours at a listener for users or at one for everybody. */
static struct conn *client_of_ours(bool submission)
{
    the->at.submission = submission;
    the->config.policy.relay_from = &ours_of_192_0_2;
    the->config.policy.n_relay_from = 1;
    struct conn *c = client("192.0.2.1:5");
    begin_data(c);
    return c;
}

/* What is stored below our trace field. */
static struct str stored(void)
{
    struct header_walk w;
    struct header_field f = {0};
    header_walk_init(&w, buf_str(&the->sent_body));
    assert_true(header_walk_next(&w, &f) && str_eq(f.name, STR("Received")));
    return w.rest;
}

static void check_stored(const char *want)
{
    if (!str_eq(stored(), str_from_c(want)))
        fail_msg("%.*s\ninstead of %s", STR_FMT(stored()), want);
}

#define FROM_AND_DATE "From: a@b.test\r\nDate: Thu, 01 Jan 1970 00:00:01 +0000\r\n"

static void a_submission_gets_what_it_lacks(void **state)
{
    UNUSED(state);
    struct conn *c = client_of_ours(true);
    say(c, "Subject: x\r\nBcc: \xc3\xbc@b.test,\r\n c@d.test\r\n\r\nhi\r\n.\r\n");
    check_stored("Subject: x\r\n" FROM_AND_DATE "Message-ID: <1.0000000000034@mx.here.test>\r\n\r\nhi\r\n");
    assert_int_equal(the->sent_flags & MAIL_FLAG_8BIT, 0); /* what is stored counts */
    assert_int_equal(last_sent()->size, the->sent_body.n);
    put_done(last_sent()->token, ERR_OK);
    hears(c, "250 2.0.0");
    c = client_of_ours(true);
    say(c, ".\r\n"); /* nothing at all */
    check_stored(FROM_AND_DATE "Message-ID: <1.0000000000035@mx.here.test>\r\n");
    the->at.submission = false;
    the->at.is_submit = true;
    c = client("unix:/run/submit");
    begin_data(c);
    say(c, "no header\r\n.\r\n");
    check_stored(FROM_AND_DATE "Message-ID: <1.0000000000036@mx.here.test>\r\n\r\nno header\r\n");
}

static void a_report_has_no_sender_to_add(void **state)
{
    UNUSED(state);
    the->at.is_submit = true;
    struct conn *c = client("unix:/run/submit");
    say(c, "EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\nDate: d\r\nMessage-ID: <i>\r\n"
           "\r\n.\r\n");
    wake(c);
    check_stored("Date: d\r\nMessage-ID: <i>\r\n\r\n");
}

/* Neither the mail of strangers nor what a server of ours relays. */
static void other_mail_stays_as_it_is(void **state)
{
    UNUSED(state);
    static const char mail[] = "Bcc: x\r\nReturn-Path: <y>\r\n\r\nhi\r\n";
    struct conn *c = client_of_ours(false);
    say(c, mail);
    say(c, ".\r\n");
    check_stored(mail);
    c = client("198.51.100.1:5");
    begin_data(c);
    say(c, mail);
    say(c, ".\r\n");
    check_stored(mail);
}

/* ---- addresses of this machine ---------------- */

static const struct rewrite_name names_elsewhere[] = {{STR_INIT("root"), STR_INIT("admin@isp.test")},
                                                      {STR_INIT("web"), STR_INIT("Admin@isp.test")}};

static void a_machine_sends_as_somebody(void **state)
{
    UNUSED(state);
    the->config.policy.rewrite =
        (struct rewrite_conf){.from = STR("me@isp.test"), .names = names_elsewhere, .n_names = 2};
    the->at.is_submit = true;
    struct conn *c = client("unix:/run/submit");
    say(c, "EHLO c.test\r\nMAIL FROM:<cron@mx.here.test>\r\nRCPT TO:<root>\r\nRCPT TO:<web@localhost>\r\n"
           "RCPT TO:<joe@here.test>\r\nRCPT TO:<www@LOCALHOST>\r\nDATA\r\nFrom: cron (Cron)\r\n"
           "Sender: Shop <shop@shop.test>\r\nTo: root\r\nDate: d\r\nMessage-ID: <i>\r\n\r\n.\r\n");
    wake(c);
    check_stored("From: me@isp.test (Cron)\r\nSender: Shop <shop@shop.test>\r\nTo: root\r\nDate: d\r\n"
                 "Message-ID: <i>\r\n\r\n");
    assert_string_equal(the->sent_envelope, "me@isp.test>admin@isp.test,joe@here.test,www@mx.here.test,");
    put_done(last_sent()->token, ERR_OK);
    hears(c, "250 2.0.0");
    say(c, "MAIL FROM:<>\r\nRCPT TO:<root>\r\nDATA\r\nX: y\r\n\r\n.\r\n"); /* a report has no sender */
    assert_string_equal(the->sent_envelope, ">admin@isp.test,");
    put_done(last_sent()->token, ERR_OK);
    say(c, "MAIL FROM:<a@b.test>\r\nRCPT TO:<root>\r\nDATA\r\nX: y\r\n\r\n.\r\n");
    assert_true(str_find(stored(), STR("From: me@isp.test\r\n")) != STR_NPOS); /* the one added, too */
}

/* A name that becomes nothing is refused at once, and reports are told of it. */
static void rewriting_is_for_submissions(void **state)
{
    UNUSED(state);
    struct conn *c = client("192.0.2.1:5");
    the->config.policy.relay_from = &ours_of_192_0_2;
    the->config.policy.n_relay_from = 1;
    say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<root>\r\n");
    hears(c, "550 5.1.3");
    the->config.policy.rewrite = (struct rewrite_conf){.domain = STR("b.test")};
    buf_reset(&c->out);
    say(c, "RCPT TO:<root>\r\n"); /* a server that relays has rewritten its own */
    hears(c, "550 5.1.3");
    the->at.submission = true;
    c = client("192.0.2.1:6");
    say(c, "EHLO c.test\r\nMAIL FROM:<root@localhost>\r\nRCPT TO:<root>\r\nDATA\r\n");
    wake(c);
    say(c, "From: root@localhost\r\nDate: d\r\nMessage-ID: <i>\r\n\r\n.\r\n");
    assert_string_equal(the->sent_envelope, "root@b.test>root@b.test,");
    check_stored("From: root@b.test\r\nDate: d\r\nMessage-ID: <i>\r\n\r\n");
}

/* A message that is all header grows over what goes inline only when it ends; the queue hears the true size.
 */
static void a_submission_that_outgrows_memory_at_its_end(void **state)
{
    UNUSED(state);
    struct conn *c = client_of_ours(true);
    static const char field[] = "X-Field: 012345678901234567890123456789012345678901234567890123456789\r\n";
    say(c, "Subject: x\r\n");
    struct put *p = list_entry(the->d->sessions.next, struct session, link)->put;
    while (p->body.n + sizeof field - 1 <= IPC_BODY_INLINE_MAX)
        say(c, field);
    size_t room = IPC_BODY_INLINE_MAX - p->body.n;
    assert_int_equal(p->state, PUT_FILLING);
    assert_true(room < sizeof field);
    say(c, ".\r\n");
    struct conn *pipe = &the->conns[the->n_conns - 1];
    assert_true(pipe->is_pipe);
    struct buf took;
    buf_init(&took, (size_t)2 * IPC_BODY_INLINE_MAX);
    for (int i = 0; i < 10 && last_sent()->type != IPC_PUT_COMMIT; i++) {
        assert_true(buf_put(&took, buf_str(&pipe->out)));
        buf_reset(&pipe->out);
        wake(pipe);
    }
    assert_true(buf_put(&took, buf_str(&pipe->out)));
    assert_true(str_ends(buf_str(&took), STR("\r\nMessage-ID: <1.0000000000034@mx.here.test>\r\n")));
    assert_true(took.n > IPC_BODY_INLINE_MAX);
    assert_int_equal(last_sent()->type, IPC_PUT_COMMIT);
    assert_int_equal(last_sent()->size, took.n);
    buf_fini(&took);
    put_done(last_sent()->token, ERR_OK);
    hears(c, "250 2.0.0");
}

static void where_a_user_is_can_be_hidden(void **state)
{
    UNUSED(state);
    the->at.hide_client = true;
    struct conn *c = client_of_ours(true);
    say(c, "Subject: x\r\n\r\n.\r\n");
    assert_true(str_starts(buf_str(&the->sent_body), STR("Received: by mx.here.test ")));
    assert_int_equal(str_find(buf_str(&the->sent_body), STR("192.0.2.1")), STR_NPOS);
    the->at.submission = false;
    c = client("198.51.100.1:5"); /* a stranger has no such wish */
    begin_data(c);
    say(c, "Subject: x\r\n\r\n.\r\n");
    assert_true(str_find(buf_str(&the->sent_body), STR("from c.test ([198.51.100.1])")) != STR_NPOS);
}

static void speaks_before_the_greeting(void **state)
{
    UNUSED(state);
    the->at.greet_delay_s = 2;
    reload();
    struct conn *c = client("192.0.2.1:5");
    pass_ms(1999);
    assert_int_equal(c->out.n, 0);
    pass_ms(1);
    hears(c, "220");
    c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\n");
    hears(c, "554 5.5.1");
}

static void tags(void **state)
{
    UNUSED(state);
    the->at.tag = STR("bulk");
    the->at.tag_header = STR("X-Tag");
    static const struct netblock ours = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    the->config.policy.relay_from = &ours;
    the->config.policy.n_relay_from = 1;
    static const char *const rows[][3] = {
        {"192.0.2.1:5", "Subject: x\r\n\r\nX-Tag: no\r\n.\r\n", "bulk"},
        {"192.0.2.1:5", "x-tag:  ne ws\r\n letter\r\nX-Tag: b\r\n\r\n.\r\n", "newsletter"},
        {"192.0.2.1:5", "X-Tags: c\r\nX-Ta: d\r\n\r\n.\r\n", "bulk"},
        {"198.51.100.1:5", "X-Tag: news\r\n\r\n.\r\n", "bulk"}, /* a stranger chooses no route */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = client(rows[i][0]);
        say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\n");
        hears(c, "354");
        say(c, rows[i][1]);
        assert_string_equal(the->sent_params, rows[i][2]);
    }
}

/* RFC 8689 3: a sender may say that his mail needs no TLS; nobody else's word counts for it. */
static void a_field_sets_tls_aside(void **state)
{
    UNUSED(state);
    static const struct {
        const char *message;
        bool is_optional;
    } rows[] = {
        {"TLS-Required: No\r\n\r\n.\r\n", true},
        {"Subject: x\r\ntls-required :\r\n no\r\n\r\n.\r\n", true},
        {"TLS-Required: Yes\r\nTLS-Required: No\r\n\r\n.\r\n", false}, /* the first one counts */
        {"TLS-Required: No way\r\n\r\n.\r\n", false},
        {"X-TLS-Required: No\r\n\r\nTLS-Required: No\r\n.\r\n", false},
        {"Subject: x\r\n\r\n.\r\n", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = client("198.51.100.1:5");
        say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\n");
        hears(c, "354");
        say(c, rows[i].message);
        assert_int_equal(the->sent_tls_optional, rows[i].is_optional);
    }
}

static void callout_answer(enum result_kind kind)
{
    char mem[128];
    struct buf b;
    struct ipc_callout_answer m = {.token = the->asked, .kind = (uint8_t)kind};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_callout_answer(&m, &b));
    the->queue.user->on_message(the->queue.arg, &the->queue, IPC_CALLOUT_ANSWER, buf_str(&b), NULL);
}

static void the_next_hop_knows_the_recipient(void **state)
{
    UNUSED(state);
    static const struct {
        enum result_kind kind;
        const char *reply;
    } rows[] = {{RESULT_OK, "250 2.1.5"}, {RESULT_PERMANENT, "550 5.1.1"}, {RESULT_TEMPORARY, "450 4.1.1"}};
    the->domain.any_user = false;
    the->domain.callout = true;
    the->domain.relay = DOMAIN_RELAY_MX;
    the->domain.deliver.kind = DELIVER_NONE;
    struct conn *c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&c->out);
        say(c, "RCPT TO:<joe@here.test>\r\n");
        assert_int_equal(c->out.n, 0);
        assert_string_equal(the->asked_for, "joe@here.test");
        callout_answer(rows[i].kind);
        hears(c, rows[i].reply);
    }
    say(c, "RCPT TO:<joe@here.test>\r\n");
    lose_queue();
    hears(c, "450 4.1.1");
    say(c, "RCPT TO:<joe@here.test>\r\n");
    hears(c, "450 4.1.1");
    the->env.peers[ROLE_QUEUE][0] = &the->queue;
    smtpd_role.peer(the->d, ROLE_QUEUE, 0, &the->queue);
    say(c, "RCPT TO:<joe@here.test>\r\n");
    pass_ms(SMTPD_CALLOUT_MS);
    hears(c, "450 4.1.1");
    say(c, "RCPT TO:<joe@here.test>\r\n");
    c->is_eof = true; /* gone before the answer: it is nobody's */
    smtpd_role.drain(the->d, 0);
    callout_answer(RESULT_OK);
    assert_true(c->is_closed);
    assert_int_equal(the->d->n_asks, 0);
}

static void etrn_answer(uint32_t n)
{
    char mem[128];
    struct buf b;
    struct ipc_etrn_answer m = {.token = the->asked, .is_run = n != UINT32_MAX, .n = n};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_etrn_answer(&m, &b));
    the->queue.user->on_message(the->queue.arg, &the->queue, IPC_ETRN_ANSWER, buf_str(&b), NULL);
}

static void etrn_runs_the_queue(void **state)
{
    UNUSED(state);
    static const struct netblock allowed = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    the->config.etrn_from = &allowed;
    the->config.n_etrn_from = 1;
    reload();
    struct conn *c = client("198.51.100.1:5");
    say(c, "EHLO c.test\r\nETRN example.org\r\n");
    hears(c, "459 4.7.0");
    c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nETRN example.org\r\n");
    assert_string_equal(the->asked_for, "example.org");
    etrn_answer(3);
    hears(c, "253 2.0.0 3 ");
    say(c, "ETRN example.org\r\n");
    etrn_answer(0);
    hears(c, "251 2.0.0 no messages wait for example.org");
    say(c, "ETRN example.org\r\n");
    etrn_answer(UINT32_MAX); /* the queue has too many to run */
    hears(c, "458 4.3.0");
    say(c, "ETRN example.org\r\n");
    lose_queue();
    hears(c, "458 4.3.0");
}

static void expn_names_the_members(void **state)
{
    UNUSED(state);
    static const struct netblock ours = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    static const struct alias_target targets[] = {{.text = STR_INIT("x@a.test")},
                                                  {.text = STR_INIT("y@a.test")}};
    static const struct alias alias = {.name = STR_INIT("staff"), .targets = targets, .n_targets = 2};
    the->domain.aliases = &alias;
    the->domain.n_aliases = 1;
    the->config.expn = true;
    reload();
    struct conn *c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nEXPN staff\r\n");
    hears(c, "550 5.7.2");
    the->config.policy.relay_from = &ours;
    the->config.policy.n_relay_from = 1;
    c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nEXPN staff\r\n");
    assert_true(str_find(buf_str(&c->out), STR("x@a.test")) != STR_NPOS);
    hears(c, "250 2.1.5 <y@a.test>");
    say(c, "EXPN nobody\r\n");
    hears(c, "550 5.1.1");
    /* a domain that stands before it changes nothing */
    struct local_domain domains[] = {{.name = STR("a.test"), .any_user = true}, the->domain};
    the->config.policy.domains = domains;
    the->config.policy.n_domains = ARRAY_LEN(domains);
    the->config.policy.postmaster = STR("joe@here.test");
    say(c, "EXPN staff\r\n");
    hears(c, "250 2.1.5 <y@a.test>");
    the->config.policy.domains = &the->domain;
    the->config.policy.n_domains = 1;
}

/* RFC 6710: offered as configured; a stranger is told that the mail is in no hurry. */
static void only_our_clients_are_in_a_hurry(void **state)
{
    UNUSED(state);
    static const struct netblock ours = {{.kind = NETADDR_IP4, .ip = {198, 51, 100, 0}}, 24};
    static const struct {
        const char *client, *priority, *reply;
        int sent;
    } rows[] = {{"192.0.2.1:5", "9", "250 2.3.6 0 ", 0},
                {"192.0.2.1:5", "-4", "250 2.0.0", -4},
                {"198.51.100.7:5", "9", "250 2.0.0", 9},
                {"198.51.100.7:5", "-9", "250 2.0.0", -9}};
    struct conn *c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test> MT-PRIORITY=1\r\n");
    assert_true(str_find(buf_str(&c->out), STR("MT-PRIORITY")) == STR_NPOS);
    hears(c, "555 5.5.4");
    the->config.policy.relay_from = &ours;
    the->config.policy.n_relay_from = 1;
    the->config.mt_priority = true;
    reload();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mail[64];
        (void)snprintf(mail, sizeof mail, "MAIL FROM:<a@b.test> MT-PRIORITY=%s\r\n", rows[i].priority);
        c = client(rows[i].client);
        say(c, "EHLO c.test\r\n");
        assert_true(str_find(buf_str(&c->out), STR("250-MT-PRIORITY\r\n")) != STR_NPOS);
        buf_reset(&c->out);
        say(c, mail);
        say(c, "RCPT TO:<joe@here.test>\r\nDATA\r\n");
        hears(c, "354");
        say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
        put_done(last_sent()->token, ERR_OK);
        hears(c, rows[i].reply);
        assert_int_equal(the->sent_priority, rows[i].sent);
    }
}

static void a_trusted_proxy_uses_xclient(void **state)
{
    UNUSED(state);
    static const struct netblock trusted = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    the->config.xclient_from = &trusted;
    the->config.n_xclient_from = 1;
    the->config.policy.relay_from = &trusted;
    the->config.policy.n_relay_from = 1;
    struct conn *c = client("198.51.100.1:5");
    say(c, "EHLO c.test\r\nXCLIENT ADDR=192.0.2.9\r\n");
    hears(c, "550 5.7.0");
    c = client("192.0.2.1:5"); /* the proxy is one of ours, its client is not */
    say(c, "EHLO c.test\r\nXCLIENT NAME=mail.far.test ADDR=203.0.113.5\r\n");
    hears(c, "220 ");
    say(c, "EHLO far.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@nowhere.test>\r\n");
    hears(c, "550 5.7.1");
    assert_string_equal(the->event_host, "203.0.113.5:0");
    say(c, "RCPT TO:<joe@here.test>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n");
    assert_true(str_find(buf_str(&the->sent_body), STR("mail.far.test")) != STR_NPOS);
    assert_int_equal(the->sent_flags & MAIL_FLAG_OURS, 0);
    c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nXCLIENT ADDR=203.0.113.5 LOGIN=joe\r\n");
    say(c, "EHLO far.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@nowhere.test>\r\n");
    hears(c, "250 2.1.5");
}

/* Both are trusted with what they say of their clients; what the client says itself is another matter. */
static void a_balancer_lends_no_xclient(void **state)
{
    UNUSED(state);
    static const struct netblock trusted = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    the->config.xclient_from = the->config.policy.relay_from = &trusted;
    the->config.n_xclient_from = the->config.policy.n_relay_from = 1;
    the->at.has_proxy = true;
    struct conn *c = client("192.0.2.1:5");
    say(c, "PROXY TCP4 203.0.113.9 192.0.2.2 4711 25\r\nEHLO c.test\r\n");
    assert_int_equal(str_find(buf_str(&c->out), STR("XCLIENT")), STR_NPOS);
    buf_reset(&c->out);
    say(c, "XCLIENT ADDR=192.0.2.9\r\n");
    hears(c, "550 5.7.0");
    say(c, "MAIL FROM:<a@b.test>\r\nRCPT TO:<joe@nowhere.test>\r\n");
    hears(c, "550 5.7.1");
    c = client("192.0.2.1:5"); /* a filter behind the balancer */
    say(c, "PROXY TCP4 192.0.2.8 192.0.2.2 4711 25\r\nEHLO c.test\r\nXCLIENT ADDR=203.0.113.9\r\n");
    hears(c, "220");
    say(c, "EHLO far.test\r\nXCLIENT ADDR=203.0.113.10\r\n"); /* it is still the same filter */
    hears(c, "220");
}

static void xclient_names_one_too_many(void **state)
{
    UNUSED(state);
    static const struct netblock trusted = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    the->config.xclient_from = &trusted;
    the->config.n_xclient_from = 1;
    the->config.session_per_client_max = 1;
    (void)client("203.0.113.5:1");
    struct conn *c = client("192.0.2.1:5");
    hears(c, "220");
    say(c, "XCLIENT ADDR=203.0.113.5\r\n");
    assert_int_equal(str_find(buf_str(&c->out), STR("220")), STR_NPOS);
    hears(c, "421 4.7.0");
    assert_true(c->is_closed);
}

static void a_client_nobody_knows(void **state)
{
    UNUSED(state);
    static const struct netblock trusted = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    the->config.xclient_from = the->config.policy.relay_from = &trusted;
    the->config.n_xclient_from = the->config.policy.n_relay_from = 1;
    struct conn *c = client("192.0.2.1:5");
    say(c, "XCLIENT ADDR=[UNAVAILABLE] PORT=4711\r\nEHLO far.test\r\nMAIL FROM:<a@b.test>\r\n"
           "RCPT TO:<joe@nowhere.test>\r\n");
    hears(c, "550 5.7.1");
    say(c, "RCPT TO:<joe@here.test>\r\nDATA\r\n");
    hears(c, "354");
    say(c, "Subject: x\r\n\r\nhi\r\n.\r\n");
    assert_true(str_find(buf_str(&the->sent_body), STR("from far.test (unknown)\r\n")) != STR_NPOS);
}

/* ---- reports that come in ---- */

#define REPORT(type, fields)                                                                                 \
    "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/" type "\r\n\r\n" fields \
    "\r\n--b--\r\n.\r\n"
#define DSN                                                                                                  \
    REPORT("delivery-status", "Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; x@one.two\r\nAction: "  \
                              "failed\r\nStatus: 5.1.1\r\n")
#define ARF REPORT("feedback-report", "Feedback-Type: abuse\r\nVersion: 1\r\n")
#define RETURN_PATH "bounce+x=one.two-aaaaaaaa@here.test"

static void take_reports(void)
{
    static const struct alias list[] = {
        {.name = STR_INIT("news"), .owner = STR_INIT("owner-news@here.test")}};
    the->domain.aliases = list;
    the->domain.n_aliases = 1;
    the->config.policy.verp = STR("bounce");
    the->config.policy.arf = STR("joe@here.test");
}

static void expect_feedback(enum feedback_kind kind)
{
    struct feedback f = {.kind = FEEDBACK_NONE};
    if (the->sent_feedback.n > 0)
        assert_true(feedback_get(buf_str(&the->sent_feedback), &f));
    assert_int_equal(f.kind, kind);
}

/* The message is read where it comes in; the queue gets what it says. */
static void reports_are_read(void **state)
{
    UNUSED(state);
    static const struct {
        const char *rcpt, *message;
        enum feedback_kind kind;
    } rows[] = {
        {"RCPT TO:<joe@here.test>\r\n", ARF, FEEDBACK_COMPLAINT},
        {"RCPT TO:<Joe@HERE.test>\r\n", ARF, FEEDBACK_COMPLAINT},
        {"RCPT TO:<ann@here.test>\r\n", ARF, FEEDBACK_NONE},
        {"RCPT TO:<ann@here.test>\r\nRCPT TO:<joe@here.test>\r\n", DSN, FEEDBACK_DELIVERY},
        {"RCPT TO:<joe@here.test>\r\n", "Subject: hi\r\n\r\nhi\r\n.\r\n", FEEDBACK_NONE},
    };
    take_reports();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = client("192.0.2.1:5");
        say(c, "EHLO c.test\r\nMAIL FROM:<>\r\n");
        say(c, rows[i].rcpt);
        hears(c, "250 2.1.5");
        say(c, "DATA\r\n");
        hears(c, "354");
        say(c, rows[i].message);
        let_queue_take(c);
        hears(c, "250 2.0.0");
        expect_feedback(rows[i].kind);
        assert_int_equal(last_sent()->is_piped, 0);
    }
}

static void begin_return_path(struct conn *c)
{
    say(c, "EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<" RETURN_PATH ">\r\n");
    assert_string_equal(the->asked_for, RETURN_PATH);
    callout_answer(RESULT_OK);
    hears(c, "250 2.1.5");
    say(c, "DATA\r\n");
    hears(c, "354");
}

static void return_paths_are_asked_for(void **state)
{
    UNUSED(state);
    take_reports();
    struct conn *c = client("192.0.2.1:5");
    say(c, "EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<" RETURN_PATH ">\r\n");
    callout_answer(RESULT_PERMANENT);
    hears(c, "550 5.1.1 there is no such mailbox here");
    begin_return_path(client("192.0.2.1:5"));
    c = client("192.0.2.1:5");
    begin_return_path(c);
    say(c, DSN);
    let_queue_take(c);
    hears(c, "250 2.0.0");
    expect_feedback(FEEDBACK_DELIVERY);
}

/* Over what goes inline: what it says becomes known at its end. */
static void large_reports_are_read(void **state)
{
    UNUSED(state);
    take_reports();
    struct conn *c = client("192.0.2.1:5");
    begin_return_path(c);
    say(c, "Content-Type: multipart/report; boundary=b\r\n\r\n");
    for (unsigned i = 0; i < 3; i++) {
        say_n(c, "a line of text for people, of which there are too many of\r\n", 1000);
        wake(c);
    }
    say(c, "--b\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; x@one.two\r\n");
    assert_true(last_sent()->type == IPC_PUT && last_sent()->is_piped);
    expect_feedback(FEEDBACK_NONE);
    say(c, "Action: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n.\r\n");
    let_queue_take(c);
    hears(c, "250 2.0.0");
    assert_int_equal(last_sent()->type, IPC_PUT_COMMIT);
    expect_feedback(FEEDBACK_DELIVERY);
}

/* What it takes to read is memory like any other, and given back however it ends. */
static void reports_take_memory(void **state)
{
    UNUSED(state);
    take_reports();
    struct conn *c = client("192.0.2.1:5");
    uint64_t before = the->d->memory_used;
    begin_return_path(c);
    assert_true(the->d->memory_used >= before + MIME_REPORT_MEMORY);
    c->is_eof = true;
    wake(c);
    assert_true(c->is_closed);
    assert_in_range(the->d->memory_used, 0, before + IPC_BODY_INLINE_MAX);
    the->config.memory_max = MIME_REPORT_MEMORY;
    c = client("192.0.2.1:5");
    begin_return_path(c); /* one is more than a quarter of what may be held */
    struct conn *other = client("192.0.2.1:5");
    say(other, "EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<ann@here.test>\r\nDATA\r\n");
    hears(other, "452 4.3.0");
    say(c, DSN); /* nor is there room for its text: asked to come again, never taken unread */
    hears(c, "452 4.3.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(a_sender_that_takes_no_mail),
        T(a_field_sets_tls_aside),
        T(commands_behind_a_question),
        T(questions_have_a_limit),
        T(who_is_not_asked_about),
        T(a_lookup_that_is_late_or_lost),
        T(a_proxy_names_the_client),
        T(bad_headers_are_few_lines),
        T(a_header_that_is_awaited),
        T(clients_of_a_balancer_are_counted),
        T(a_balancer_lends_no_xclient),
        T(xclient_names_one_too_many),
        T(a_client_nobody_knows),
        T(the_local_socket),
        T(a_submission_gets_what_it_lacks),
        T(a_report_has_no_sender_to_add),
        T(other_mail_stays_as_it_is),
        T(a_machine_sends_as_somebody),
        T(rewriting_is_for_submissions),
        T(a_submission_that_outgrows_memory_at_its_end),
        T(where_a_user_is_can_be_hidden),
        T(speaks_before_the_greeting),
        T(tags),
        T(the_next_hop_knows_the_recipient),
        T(etrn_runs_the_queue),
        T(expn_names_the_members),
        T(only_our_clients_are_in_a_hurry),
        T(a_trusted_proxy_uses_xclient),
        T(reports_are_read),
        T(return_paths_are_asked_for),
        T(large_reports_are_read),
        T(reports_take_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
