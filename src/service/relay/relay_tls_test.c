#include "base/base64.h"
#include "service/relay/relay_testing.h"

#define ASKS_NOTHING "; wanted: opportunistic, since the domain asks for nothing: TLS where it can be had"

static void test_opportunistic(void **state)
{
    UNUSED(state);
    give(&(struct order){
        .token = 1, .hosts = {"mx.y.test"}, .names = {"y.test", ".y.test"}, .trusts_hops = true});
    lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    assert_string_equal(c->tls_name, "mx.y.test");
    assert_string_equal(c->tls_names, "mx.y.test y.test .y.test ");
    assert_int_equal(c->tls_check, TLS_CHECK_NONE);
    secures(c, false);
    greets_again(c);
    takes(c);
    assert_int_equal(the->n_transports, 1);
    assert_int_equal(the->transport_number, 1);
    assert_non_null(strstr(the->transport, "TLSv1.3 TLS_X, x25519, ed25519, certificate SHA-256 ab00"));
    assert_non_null(strstr(the->transport, ", not verified: self-signed certificate"));
}

static void test_verified_by_the_way(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = offers_tls();
    assert_string_equal(c->tls_name, "");
    secures(c, true);
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 2);
    assert_non_null(strstr(the->transport, "verified (PKIX)"));
}

/* Nothing asked for TLS: the same host once more, and the event says so. */
static void test_fallback(void **state)
{
    static const enum err errors[] = {ERR_TLS, ERR_TIMEOUT, ERR_CLOSED};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        give(&(struct order){.token = 1, .site = "mx:a.test", .hosts = {"192.0.2.1", "192.0.2.2"}});
        breaks(offers_tls(), errors[i], "no shared cipher");
        struct conn *c = greets_offering("250-STARTTLS\n250 PIPELINING\n");
        assert_int_equal(c->to.ip[3], 1);
        takes(c);
        assert_int_equal(the->transport_number, 0);
        assert_string_equal(
            the->transport,
            "in the clear, since TLS failed: TLS could not be established: no shared cipher" ASKS_NOTHING);
        server_closes(c);
        give(&(struct order){.token = 2, .site = "mx:a.test", .hosts = {"192.0.2.1"}});
        breaks(offers_tls(), errors[i], ""); /* TLS is tried again each time */
        refuses(ERR_REFUSED);
        assert_int_equal(the->results[the->n_results - 1].kind, RESULT_TEMPORARY);
    }
}

static void test_refused_and_not_offered(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets_offering("250-PIPELINING\n250 STARTTLS\n");
    expect(c, "STARTTLS\n");
    say(c, "454 4.7.0 no\n");
    takes(c);
    assert_string_equal(the->transport, "in the clear: no TLS was to be had" ASKS_NOTHING);
    give(&(struct order){.token = 2, .site = "mx:b.test", .hosts = {"192.0.2.2"}});
    takes(greets());
    assert_int_equal(the->n_transports, 2);
    give(&(struct order){.token = 3, .site = "mx:c.test", .hosts = {"192.0.2.3"}, .tls = HOP_TLS_NONE});
    takes(greets_offering("250-PIPELINING\n250 STARTTLS\n"));
    assert_string_equal(the->transport,
                        "in the clear; wanted: plain, since the administrator wants no TLS there");
}

/* What is on this machine travels nowhere: nothing to tell. */
static void test_near(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"127.0.0.1"}});
    takes(greets());
    assert_int_equal(the->n_transports, 0);
}

/* A host that spoke TLS is not sent to without, for a while. */
static void test_seen(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .site = "mx:a.test", .hosts = {"MX.y.test"}});
    lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    secures(c, false);
    greets_again(c);
    takes(c);
    server_closes(c);
    for (int i = 0; i < 2; i++) {
        give(&(struct order){.token = 2, .site = "mx:b.test", .hosts = {"mx.y.test"}});
        lookup_says("192.0.2.9", NULL);
        if (i == 0) {
            breaks(offers_tls(), ERR_TLS, "wrong version number");
        } else {
            c = greets();
            expect(c, "QUIT\n");
            say(c, "221 bye\n");
        }
        const struct result *r = last_result(2 + (size_t)i);
        assert_int_equal(r->kind, RESULT_TEMPORARY);
        assert_int_equal(r->stage, SMTP_AT_TLS);
        assert_int_equal(r->esc.detail, i == 0 ? 5 : 4);
        if (i == 0)
            assert_non_null(strstr(r->text, "wrong version number (the host spoke TLS before"));
    }
    pass(RELAY_SEEN_MS);
    give(&(struct order){.token = 3, .site = "mx:b.test", .hosts = {"mx.y.test"}});
    lookup_says("192.0.2.9", NULL);
    takes(greets());
}

static void test_encrypt(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1", "192.0.2.2"}, .tls = HOP_TLS_ENCRYPT});
    struct conn *c = greets(); /* no STARTTLS: the next host has its turn */
    expect(c, "QUIT\n");
    say(c, "221 bye\n");
    breaks(offers_tls(), ERR_TLS, "no");
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_TEMPORARY && r->esc.class == 4 && r->esc.subject == 7 &&
                r->esc.detail == 5);
    assert_int_equal(the->n_conns, 2);
}

static void test_verify(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1,
                         .hosts = {"hub.test"},
                         .site = "host:hub.test:25",
                         .tls = HOP_TLS_VERIFY,
                         .trusts_hops = true});
    lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_PKIX);
    assert_string_equal(c->tls_names, "hub.test ");
    breaks(c, ERR_TLS, "certificate has expired");
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_TEMPORARY && r->stage == SMTP_AT_TLS);
    assert_non_null(strstr(r->text, "certificate has expired"));
    /* the name of an MX host that nobody vouches for does not count */
    give(&(struct order){
        .token = 2, .hosts = {"mx.evil.test"}, .tls = HOP_TLS_VERIFY, .names = {"y.test", ".y.test"}});
    lookup_says("192.0.2.1", NULL);
    c = offers_tls();
    assert_string_equal(c->tls_names, "y.test .y.test ");
    assert_string_equal(c->tls_name, "mx.evil.test");
    secures(c, true);
    greets_again(c);
    takes(c);
    assert_non_null(
        strstr(the->transport,
               "verified (PKIX); wanted: pkix, since the administrator wants the server authenticated"));
    /* and an address has no name to be verified by */
    give(&(struct order){
        .token = 3, .site = "x", .hosts = {"192.0.2.3"}, .tls = HOP_TLS_VERIFY, .trusts_hops = true});
    c = greets_offering("250 STARTTLS\n");
    expect(c, "STARTTLS\n");
    say(c, "220 go\n");
    assert_true(c->is_closed && last_result(3)->kind == RESULT_TEMPORARY);
}

/* Something comes between the 220 and TLS: no handshake, and no falling back to what somebody may want. */
static void test_injection(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = greets_offering("250 STARTTLS\n");
    expect(c, "STARTTLS\n");
    say(c, "220 go\n250 SIZE\n");
    assert_true(c->is_closed && !c->is_shaking);
    assert_int_equal(the->n_conns, 1);
    assert_non_null(strstr(last_result(1)->text, "in the clear behind the reply"));
}

static void test_smtps(void **state)
{
    struct order o = {.token = 1,
                      .site = "smtps:hub.test:465",
                      .hosts = {"hub.test"},
                      .tls = HOP_TLS_VERIFY,
                      .is_smtps = true,
                      .trusts_hops = true};
    UNUSED(state);
    give(&o);
    lookup_says("192.0.2.1", "192.0.2.2");
    struct conn *c = answers();
    assert_true(c->is_shaking);
    breaks(c, ERR_TLS, "hostname mismatch");
    c = answers(); /* the other address */
    assert_true(c->is_shaking && c->tls_check == TLS_CHECK_PKIX);
    secures(c, true);
    say(c, "220 hub\n");
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 2);
    o.token = 2;
    give(&o); /* on the same */
    takes(c);
    server_closes(c);
    o.token = 3;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    breaks(answers(), ERR_TIMEOUT, "");
    assert_int_equal(last_result(3)->kind, RESULT_TEMPORARY);
    assert_int_equal(the->results[2].stage, SMTP_AT_TLS);
}

/* A kept connection gives no mail less than it asks for. */
static void test_reuse(void **state)
{
    struct order o = {.token = 1, .hosts = {"mx.y.test"}, .names = {"y.test"}};
    UNUSED(state);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    takes(greets()); /* in the clear: kept */
    o.tls = HOP_TLS_ENCRYPT;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *encrypted = offers_tls();
    secures(encrypted, false);
    greets_again(encrypted);
    takes(encrypted);
    give(&o);
    takes(encrypted);
    o.tls = HOP_TLS_MAY;
    give(&o); /* the most recent; the one in the clear would not do either, now that TLS was seen */
    takes(encrypted);
    o.tls = HOP_TLS_VERIFY;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *verified = offers_tls();
    secures(verified, true);
    greets_again(verified);
    takes(verified);
    o.names[0] = "z.test"; /* verified for somebody else */
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *other = offers_tls();
    assert_string_equal(other->tls_names, "z.test ");
    secures(other, true);
    greets_again(other);
    takes(other);
    o.names[0] = "y.test";
    give(&o);
    takes(verified);
}

static void test_requiretls(void **state)
{
    struct order o = {.token = 1, .hosts = {"mx.y.test"}, .params = {.requiretls = true}};
    UNUSED(state);
    give(&o); /* nothing says that this is the host of the domain: RFC 8689 4.2.1 */
    lookup_says("192.0.2.1", NULL);
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_PERMANENT && r->esc.class == 5 && r->esc.subject == 7 &&
                r->esc.detail == 30);
    assert_int_equal(the->n_conns, 0);
    o.trusts_hops = true;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_PKIX);
    secures(c, true);
    expect(c, "EHLO me.test\n");
    say(c, "250-mx.other.test\n250-PIPELINING\n250 REQUIRETLS\n");
    expect(c, "MAIL FROM:<a@x.test> REQUIRETLS\nRCPT TO:<r@y.test>\nDATA\n");
    say(c, "550 no\n503 no\n503 no\n");
    /* to a door of this machine it means nothing */
    give(&(struct order){.token = 3,
                         .site = "lmtp",
                         .is_lmtp = true,
                         .hosts = {"127.0.0.1"},
                         .tls = HOP_TLS_NONE,
                         .params = {.requiretls = true}});
    c = answers();
    say(c, "220 lmtp\n");
    expect(c, "LHLO me.test\n");
    say(c, "250 PIPELINING\n");
    expect(c, "MAIL FROM:<a@x.test>\n");
}

/* The next answer to EHLO inside TLS, from a server that can't promise what REQUIRETLS asks for, or can. */
static struct conn *greets_for_requiretls(bool has_it)
{
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_PKIX);
    secures(c, true);
    expect(c, "EHLO me.test\n");
    say(c, has_it ? "250-mx.other.test\n250-PIPELINING\n250 REQUIRETLS\n" : "250 PIPELINING\n");
    return c;
}

/* One host that can't promise it does not speak for the others. */
static void test_requiretls_elsewhere(void **state)
{
    struct order o = {.token = 1,
                      .hosts = {"mx1.y.test", "mx2.y.test"},
                      .trusts_hops = true,
                      .params = {.requiretls = true}};
    UNUSED(state);
    give(&o);
    lookup_says("192.0.2.1", "192.0.2.2"); /* another address of the host is no other host */
    struct conn *first = greets_for_requiretls(false);
    lookup_says("192.0.2.3", NULL);
    struct conn *c = greets_for_requiretls(true);
    assert_int_equal(c->to.ip[3], 3);
    expect(c, "MAIL FROM:<a@x.test> REQUIRETLS\nRCPT TO:<r@y.test>\nDATA\n");
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, "x\n.\n");
    say(c, "250 ok\n");
    assert_int_equal(last_result(1)->kind, RESULT_OK);
    server_closes(c);
    /* the first one's connection was kept: it is as it was */
    size_t n_conns = the->n_conns;
    give(&o);
    assert_int_equal(the->n_conns, n_conns); /* the job began anew, with the addresses */
    lookup_says("192.0.2.1", NULL);
    (void)greets_for_requiretls(false);
    lookup_says("192.0.2.3", NULL);
    (void)greets_for_requiretls(false);
    const struct result *r = last_result(2);
    assert_true(r->kind == RESULT_PERMANENT && r->code == 0 && r->esc.class == 5 && r->esc.subject == 7 &&
                r->esc.detail == 30);
    assert_non_null(strstr(r->text, "does not offer REQUIRETLS"));
    server_closes(first);
}

/* As long as one host may still be able to, the mail waits. */
static void test_requiretls_later(void **state)
{
    struct order o = {.token = 1,
                      .hosts = {"mx1.y.test", "mx2.y.test"},
                      .trusts_hops = true,
                      .params = {.requiretls = true}};
    UNUSED(state);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    (void)greets_for_requiretls(false);
    lookup_says("192.0.2.3", NULL);
    refuses(ERR_REFUSED);
    assert_int_equal(last_result(1)->kind, RESULT_TEMPORARY);
    o.site = "mx:b.test";
    give(&o);
    lookup_answers(DNS_STATUS_TEMPORARY, NULL, NULL);
    lookup_says("192.0.2.3", NULL);
    (void)greets_for_requiretls(false);
    assert_int_equal(last_result(2)->kind, RESULT_TEMPORARY);
}

static void test_without_tls(void **state)
{
    UNUSED(state);
    relay_role.del(the->self);
    the->has_no_tls = true;
    the->self = relay_role.create(&the->env);
    assert_non_null(the->self);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    takes(greets_offering("250-PIPELINING\n250 STARTTLS\n"));
    give(&(struct order){.token = 2, .site = "x", .hosts = {"192.0.2.1"}, .tls = HOP_TLS_ENCRYPT});
    assert_non_null(strstr(last_result(2)->text, "this process has none"));
    assert_int_equal(the->n_conns, 1);
}

/* ---- logins ---- */

/* As the supervisor hands it over. */
static void hand_over(const char *name, const char *octets)
{
    char mem[256];
    struct buf b;
    struct handle blob = {{&ops}, NULL, str_from_c(octets)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sup_secret(&(struct ipc_sup_secret){str_from_c(name)}, &b));
    relay_role.from_super(the->self, IPC_SUP_SECRET, buf_str(&b), &blob);
    relay_role.from_super(the->self, IPC_SUP_SECRET, STR("x"), &blob); /* nonsense does no harm */
    relay_role.from_super(the->self, IPC_SUP_SECRET, buf_str(&b), NULL);
}

static void test_login(void **state)
{
    struct order o = {.token = 1,
                      .site = "host:hub.test:587 as me",
                      .hosts = {"hub.test"},
                      .tls = HOP_TLS_VERIFY,
                      .trusts_hops = true,
                      .user = "me",
                      .secret = "/etc/hub.pass"};
    UNUSED(state);
    give(&o); /* the password has not come yet */
    lookup_says("192.0.2.1", NULL);
    assert_true(last_result(1)->stage == SMTP_AT_AUTH && the->n_conns == 0);
    hand_over("/etc/hub.pass", "old\n");
    hand_over("/etc/hub.pass", "pw\r\n# a comment\n");
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    secures(c, true);
    expect(c, "EHLO me.test\n");
    say(c, "250-hub\n250-PIPELINING\n250 AUTH PLAIN\n");
    expect(c, "AUTH PLAIN AG1lAHB3\n");
    say(c, "235 ok\n");
    takes(c);
    o.user = "you"; /* somebody else's connection is not his */
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *other = offers_tls();
    secures(other, true);
    expect(other, "EHLO me.test\n");
    say(other, "250-hub\n250 AUTH PLAIN\n");
    expect(other, "AUTH PLAIN AHlvdQBwdw==\n");
    say(other, "535 5.7.8 no\n");
    expect(other, "QUIT\n");
    say(other, "221 bye\n");
    const struct result *r = last_result(3);
    assert_true(r->kind == RESULT_TEMPORARY && r->code == 535 && r->stage == SMTP_AT_AUTH);
    o.user = "me";
    give(&o);
    takes(c);
}

/* Of a name and a password in two parts SCRAM says the one form that both sides have, PLAIN what there is. */
static void test_prepared_login(void **state)
{
    static const char *const offers[] = {"250-hub\n250 AUTH PLAIN\n",
                                         "250-hub\n250 AUTH PLAIN SCRAM-SHA-256\n"};
    struct order o = {.token = 1,
                      .site = "host:hub.test:587",
                      .hosts = {"hub.test"},
                      .tls = HOP_TLS_ENCRYPT,
                      .user = "jo\xcc\x88rg",
                      .secret = "/p"};
    UNUSED(state);
    hand_over("/p", "pa\xcc\x88ss\n");
    for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
        give(&o);
        lookup_says("192.0.2.1", NULL);
        struct conn *c = offers_tls();
        secures(c, false);
        expect(c, "EHLO me.test\n");
        say(c, offers[i]);
        if (i == 0) {
            expect(c, "AUTH PLAIN AGpvzIhyZwBwYcyIc3M=\n");
            say(c, "535 no\n");
            say(c, "221 bye\n");
            continue;
        }
        char mem[256];
        struct buf first;
        buf_init_fixed(&first, mem, sizeof mem);
        struct str line = buf_str(&c->out);
        assert_true(str_starts(line, STR("AUTH SCRAM-SHA-256 ")));
        assert_true(base64_take(str_trim(str_skip(str_slice(line, 0, line.n - 2), 19)), &first));
        assert_true(str_starts(buf_str(&first), STR("n,,n=j\xc3\xb6rg,r=")));
    }
}

/* TLS that fails is no reason to log in without. */
static void test_login_never_falls_back(void **state)
{
    UNUSED(state);
    relay_secret_set(the->self, STR("/p"), STR("pw"));
    give(&(struct order){.token = 1, .hosts = {"127.0.0.1"}, .user = "me", .secret = "/p"});
    breaks(offers_tls(), ERR_TLS, "no");
    assert_int_equal(last_result(1)->kind, RESULT_TEMPORARY);
    assert_int_equal(the->n_conns, 1);
}

static void test_secrets_go(void **state)
{
    struct config other = the->config;
    static const struct route_rule rule = {.auth = {.user = {"me", 2}, .secret = {"/b", 2}}};
    struct relay *r = the->self;
    UNUSED(state);
    relay_secret_set(r, STR("/a"), STR("pw"));
    relay_secret_set(r, STR("/b"), STR("pw"));
    other.policy.routes = &rule;
    other.policy.n_routes = 1;
    the->env.config = &other;
    relay_role.reload(r, &the->config);
    assert_false(list_is_empty(&r->secrets));
    struct relay_secret *s = list_entry(r->secrets.next, struct relay_secret, link);
    assert_true(str_eq(s->name, STR("/b")) && s->link.next == &r->secrets);
    the->env.config = &the->config;
}

static void test_many_hosts(void **state)
{
    struct relay *r = the->self;
    char name[32];
    UNUSED(state);
    for (unsigned i = 0; i < RELAY_SEEN_MAX + 10; i++) {
        int n = snprintf(name, sizeof name, "mx%u.test", i);
        relay_see(r, str_of(name, (size_t)n), i % 2 == 0);
        relay_see(r, STR("mx20.test"), false);
    }
    assert_int_equal(r->seen.n, RELAY_SEEN_MAX);
    assert_int_equal(relay_seen(r, STR("mx1.test")), TLS_SEEN_NOTHING); /* the least used went */
    assert_int_equal(relay_seen(r, STR("MX20.test")), TLS_SEEN_TLS);
    assert_int_equal(relay_seen(r, STR("mx20000.test")), TLS_SEEN_VERIFIED);
    the->now_ms += RELAY_SEEN_MS;
    assert_int_equal(relay_seen(r, STR("mx20000.test")), TLS_SEEN_NOTHING);
}

/* Ends in the middle of a handshake leave nothing behind. */
static void test_queue_goes(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"192.0.2.1"}});
    struct conn *c = offers_tls();
    the->queue.user->on_closed(the->queue.arg, &the->queue);
    end_turn();
    assert_true(c->is_closed);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_opportunistic),
        TEST(test_verified_by_the_way),
        TEST(test_fallback),
        TEST(test_refused_and_not_offered),
        TEST(test_near),
        TEST(test_seen),
        TEST(test_encrypt),
        TEST(test_verify),
        TEST(test_injection),
        TEST(test_smtps),
        TEST(test_reuse),
        TEST(test_requiretls),
        TEST(test_requiretls_elsewhere),
        TEST(test_requiretls_later),
        TEST(test_without_tls),
        TEST(test_login),
        TEST(test_prepared_login),
        TEST(test_login_never_falls_back),
        TEST(test_secrets_go),
        TEST(test_many_hosts),
        TEST(test_queue_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
