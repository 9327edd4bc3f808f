/* What relay makes of the policy of a domain (MTA-STS, RFC 8461), over the same small world as its other
 * tests. */
#include "service/relay/relay_testing.h"

enum { FIRST = 1, SECOND = 2, BOTH = 3 }; /* hosts that the policy names */

static struct order job(uint64_t token, enum mta_sts_mode mode, uint32_t hops)
{
    return (struct order){.token = token,
                          .hosts = {"mx1.y.test", "mx2.y.test"},
                          .mx = DANE_MX_INSECURE,
                          .next_hop = "y.test",
                          .sts = mode,
                          .sts_hops = hops};
}

static void deferred(size_t n, const char *text)
{
    const struct result *r = last_result(n);
    assert_true(r->kind == RESULT_TEMPORARY && r->esc.class == 4 && r->esc.subject == 7);
    if (strstr(r->text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, r->text);
}

/* The certificate must be for the host that the policy names. */
static void test_enforce(void **state)
{
    UNUSED(state);
    struct order o = job(1, MTA_STS_ENFORCE, BOTH);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_PKIX);
    assert_string_equal(c->tls_names, "mx1.y.test ");
    assert_string_equal(c->tls_name, "mx1.y.test");
    secures(c, true);
    greets_again(c);
    takes(c);
    assert_non_null(strstr(the->transport, tls_why_text(TLS_WHY_STS_ENFORCE)));
}

/* Never in the clear, and not to a server that is somebody else: the next host, then later. */
static void test_bad_certificate(void **state)
{
    UNUSED(state);
    struct order o = job(1, MTA_STS_ENFORCE, BOTH);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    breaks(offers_tls(), ERR_TLS, "certificate has expired");
    assert_string_equal(the->asked[the->n_asked - 1], "mx2.y.test");
    lookup_says("192.0.2.2", NULL);
    breaks(offers_tls(), ERR_TLS, "it is for another name");
    deferred(1, "it is for another name");
    assert_int_equal(the->n_conns, 2);
}

static void test_no_starttls(void **state)
{
    UNUSED(state);
    struct order o = job(1, MTA_STS_ENFORCE, BOTH);
    o.hosts[1] = NULL;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = greets();
    expect(c, "QUIT\n");
    say(c, "221 bye\n");
    deferred(1, tls_why_text(TLS_WHY_STS_ENFORCE));
    assert_int_equal(the->n_conns, 1);
}

/* A host that the policy does not name gets no connection. */
static void test_mismatch(void **state)
{
    UNUSED(state);
    struct order o = job(1, MTA_STS_ENFORCE, SECOND);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    assert_int_equal(the->n_conns, 0);
    assert_string_equal(the->asked[the->n_asked - 1], "mx2.y.test");
    lookup_says("192.0.2.2", NULL);
    struct conn *c = offers_tls();
    assert_string_equal(c->tls_names, "mx2.y.test ");
    secures(c, true);
    greets_again(c);
    takes(c);
    o = job(2, MTA_STS_ENFORCE, 0);
    o.site = "mx:other";
    give(&o);
    lookup_says("192.0.2.1", NULL);
    lookup_says("192.0.2.2", NULL);
    deferred(2, tls_why_text(TLS_WHY_STS_MISMATCH));
    assert_int_equal(the->n_conns, 1);
}

/* The same for all, as if there were no policy. */
static void test_testing_and_none(void **state)
{
    UNUSED(state);
    for (uint64_t i = 1; i <= 2; i++) {
        struct order o = job(i, i == 1 ? MTA_STS_TESTING : MTA_STS_NONE, 0);
        o.site = i == 1 ? "mx:a" : "mx:b";
        give(&o);
        lookup_says("192.0.2.1", NULL);
        struct conn *c = greets();
        takes(c);
    }
}

/* A mode that no version of ours sends is taken for the strictest. */
static void test_unknown_mode(void **state)
{
    UNUSED(state);
    struct order o = job(1, (enum mta_sts_mode)99, 0);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    lookup_says("192.0.2.2", NULL);
    deferred(1, tls_why_text(TLS_WHY_STS_MISMATCH));
}

/* A connection is taken again for mail that asks for no more than it gives. */
static void test_kept_connections(void **state)
{
    UNUSED(state);
    struct order o = job(1, MTA_STS_NONE, 0);
    o.hosts[1] = NULL;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = offers_tls();
    secures(c, false);
    greets_again(c);
    takes(c);
    o = job(2, MTA_STS_ENFORCE, FIRST); /* it was not verified */
    o.hosts[1] = NULL;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *strict = offers_tls();
    assert_ptr_not_equal(strict, c);
    secures(strict, true);
    greets_again(strict);
    takes(strict);
    size_t n_conns = the->n_conns;
    o.token = 3;
    give(&o);
    takes(strict);
    assert_int_equal(the->n_conns, n_conns);
    o = job(4, MTA_STS_ENFORCE, 0); /* another domain's policy, which does not name the host */
    o.hosts[1] = NULL;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    assert_int_equal(the->n_conns, n_conns);
    deferred(4, tls_why_text(TLS_WHY_STS_MISMATCH));
}

/* What has no name can't be one of a policy's. */
static void test_address(void **state)
{
    UNUSED(state);
    struct order o = job(1, MTA_STS_ENFORCE, BOTH);
    o.hosts[0] = "192.0.2.1";
    o.hosts[1] = NULL;
    give(&o);
    deferred(1, tls_why_text(TLS_WHY_STS_MISMATCH));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_enforce),          T(test_bad_certificate), T(test_no_starttls),      T(test_mismatch),
        T(test_testing_and_none), T(test_unknown_mode),    T(test_kept_connections), T(test_address),
    };
    return cmocka_run_group_tests_name("relay_sts", tests, NULL, NULL);
}
