/* Which handshake goes on with which session. */
#include "service/relay/relay_testing.h"

/* A message over a connection of its own; whose session that went on with. */
static struct conn *sent(struct order o, bool is_verified, struct conn **out)
{
    give(&o);
    if (o.hosts[0][0] < '0' || o.hosts[0][0] > '9')
        lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    struct conn *of = c->tls_resumed;
    secures(c, is_verified);
    greets_again(c);
    takes(c);
    server_closes(c);
    if (out != NULL)
        *out = c;
    return of;
}

static const struct order simple = {.token = 1, .hosts = {"192.0.2.1"}};

static void test_each_once(void **state)
{
    struct conn *a, *b;
    UNUSED(state);
    assert_null(sent(simple, false, &a));
    assert_int_equal(the->n_sessions, 1);
    assert_ptr_equal(sent(simple, false, &b), a);
    assert_ptr_equal(sent(simple, false, NULL), b); /* the server gave another */
    assert_int_equal(the->n_sessions, 1);
    struct order other = simple;
    other.hosts[0] = "192.0.2.2";
    assert_null(sent(other, false, NULL));
    assert_int_equal(the->n_sessions, 2);
    /* one that begins while another is there has none: it was taken */
    give(&simple);
    struct conn *c = offers_tls();
    assert_non_null(c->tls_resumed);
    give(&simple);
    assert_null(offers_tls()->tls_resumed);
}

static void test_too_old(void **state)
{
    UNUSED(state);
    assert_null(sent(simple, false, NULL));
    pass(RELAY_RESUME_MS);
    assert_null(sent(simple, false, NULL));
    assert_int_equal(the->n_sessions, 1);
}

/* What was checked for less, or for others, is not gone on with. */
static void test_checked_otherwise(void **state)
{
    struct order o = {.token = 1, .hosts = {"hub.test"}, .site = "host:hub.test:25", .trusts_hops = true};
    UNUSED(state);
    assert_null(sent(o, true, NULL));
    o.tls = HOP_TLS_VERIFY;
    struct conn *a;
    assert_null(sent(o, true, &a));
    o.names[0] = "y.test";
    assert_null(sent(o, true, NULL));
    o.names[0] = NULL;
    assert_ptr_equal(sent(o, true, NULL), a);
}

static void test_login(void **state)
{
    struct order o = {
        .token = 1, .hosts = {"192.0.2.1"}, .user = "me", .secret = "/p", .tls = HOP_TLS_ENCRYPT};
    UNUSED(state);
    struct relay *r = the->self;
    relay_secret_set(r, STR("/p"), STR("secret"));
    give(&o);
    struct conn *c = offers_tls();
    assert_null(c->tls_resumed);
    secures(c, false);
    expect(c, "EHLO me.test\n");
    say(c, "250-mx\n250 AUTH PLAIN\n");
    assert_int_equal(the->n_sessions, 0);
}

/* Another authority: what was checked by the one before does not count. */
static void test_reload(void **state)
{
    UNUSED(state);
    assert_null(sent(simple, false, NULL));
    struct config named = the->config, old = the->config;
    named.authorities = STR("others");
    the->env.config = &named;
    relay_role.reload(the->self, &old);
    assert_int_equal(the->n_sessions, 0);
    assert_null(sent(simple, false, NULL));
    the->env.config = &the->config;
    relay_role.reload(the->self, &named);
}

static void test_told(void **state)
{
    UNUSED(state);
    assert_null(sent(simple, false, NULL));
    give(&simple);
    struct conn *c = offers_tls();
    assert_non_null(c->tls_resumed);
    secures_with(c, &(struct tls_facts){.version = STR("TLSv1.3"),
                                        .cipher = STR("TLS_X"),
                                        .has_peer_certificate = true,
                                        .is_resumed = true,
                                        .verify_text = STR("self-signed certificate")});
    greets_again(c);
    takes(c);
    assert_non_null(strstr(the->transport, ", resumed, not verified: self-signed"));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_each_once), T(test_too_old), T(test_checked_otherwise),
        T(test_login),     T(test_reload),  T(test_told),
    };
    return cmocka_run_group_tests_name("relay_resume", tests, NULL, NULL);
}
