/* What relay tells of TLS with servers of other domains, over the same small world as its other tests. */
#include "service/relay/relay_testing.h"

#define DIGEST "0123456789abcdef0123456789abcdef"
#define EE "\3\1\1" DIGEST
#define OTHER "\2\0\1" DIGEST
#define UNUSABLE "\3\1\7" DIGEST
#define HEX "3031323334353637383961626364656630313233343536373839616263646566"
#define OURS "me.test 198.51.100.7 192.0.2.1"

static int wants_reports(void **state)
{
    (void)setup(state);
    the->config.tls_reports = STR("tls@me.test");
    return 0;
}

/* Exactly one more than n sessions was told, this one. */
static void told(size_t n, enum tls_rpt_type policy, unsigned result, const char *text)
{
    assert_int_equal(the->n_told, n + 1);
    const struct session *s = &the->sessions[n];
    assert_string_equal(s->text, text);
    assert_int_equal(s->policy, policy);
    assert_int_equal(s->result, result);
}

static struct order job(enum mta_sts_mode sts)
{
    return (struct order){.hosts = {"mx.y.test"},
                          .mx = DANE_MX_INSECURE,
                          .next_hop = "y.test",
                          .sts = sts,
                          .sts_hops = sts == MTA_STS_NONE ? 0 : 1};
}

static struct conn *begins(const struct order *o)
{
    give(o);
    lookup_says("192.0.2.1", NULL);
    return offers_tls();
}

static struct tls_facts facts(const char *verify_text)
{
    return (struct tls_facts){.version = STR("TLSv1.3"),
                              .cipher = STR("TLS_X"),
                              .has_peer_certificate = true,
                              .verify_text = str_from_c(verify_text)};
}

/* ---- handshakes ---- */

/* What comes of it, by the policy and by what there is against the certificate. */
static void test_secured(void **state)
{
    UNUSED(state);
    static const struct {
        enum mta_sts_mode sts;
        bool is_named; /* the policy names the host */
        enum tls_fault fault;
        const char *verify_text;
        enum tls_rpt_type policy;
        unsigned result;
        const char *reason;
    } rows[] = {
        {MTA_STS_NONE, false, TLS_FAULT_UNTRUSTED, "self-signed", TLS_RPT_NO_POLICY, TLS_SESSION_OK, ""},
        {MTA_STS_ENFORCE, true, TLS_FAULT_NONE, "", TLS_RPT_STS, TLS_SESSION_OK, ""},
        {MTA_STS_TESTING, true, TLS_FAULT_NONE, "", TLS_RPT_STS, TLS_SESSION_OK, ""},
        {MTA_STS_TESTING, true, TLS_FAULT_EXPIRED, "has expired", TLS_RPT_STS, TLS_RPT_CERTIFICATE_EXPIRED,
         "has expired"},
        {MTA_STS_TESTING, true, TLS_FAULT_UNTRUSTED, "self-signed", TLS_RPT_STS,
         TLS_RPT_CERTIFICATE_NOT_TRUSTED, "self-signed"},
        {MTA_STS_TESTING, true, TLS_FAULT_NAME, "", TLS_RPT_STS, TLS_RPT_CERTIFICATE_HOST_MISMATCH,
         "the certificate is for another name"},
        {MTA_STS_TESTING, false, TLS_FAULT_NONE, "", TLS_RPT_STS, TLS_RPT_VALIDATION_FAILURE,
         "the MTA-STS policy does not name this host"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct order o = job(rows[i].sts);
        char site[16], want[200];
        (void)snprintf(site, sizeof site, "mx:%zu", i);
        (void)snprintf(want, sizeof want, "y.test mx.y.test " OURS ": %s", rows[i].reason);
        o.site = site;
        o.sts_hops = rows[i].is_named ? 1 : 0;
        struct conn *c = begins(&o);
        struct tls_facts f = facts(rows[i].verify_text);
        assert_int_equal(the->n_told, i);
        c->tls_fault = rows[i].fault;
        f.is_trusted = f.is_named = rows[i].fault == TLS_FAULT_NONE;
        secures_with(c, &f);
        told(i, rows[i].policy, rows[i].result, want);
        greets_again(c);
        takes(c); /* delivered all the same, and not told again */
        assert_int_equal(the->n_told, i + 1);
    }
}

/* One session, though it goes on in the clear on a connection of its own. */
static void test_broken_and_plain(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_NONE);
    breaks(begins(&o), ERR_TLS, "no cipher suite");
    told(0, TLS_RPT_NO_POLICY, TLS_RPT_VALIDATION_FAILURE, "y.test mx.y.test " OURS ": no cipher suite");
    takes(greets_offering("250-STARTTLS\n250 PIPELINING\n"));
    assert_int_equal(the->n_told, 1);
}

static void test_refused_certificate(void **state)
{
    static const struct {
        enum tls_fault fault;
        enum tls_rpt_result result;
    } rows[] = {
        {TLS_FAULT_EXPIRED, TLS_RPT_CERTIFICATE_EXPIRED},
        {TLS_FAULT_UNTRUSTED, TLS_RPT_CERTIFICATE_NOT_TRUSTED},
        {TLS_FAULT_NAME, TLS_RPT_CERTIFICATE_HOST_MISMATCH},
        {TLS_FAULT_HANDSHAKE, TLS_RPT_VALIDATION_FAILURE},
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct order o = job(MTA_STS_ENFORCE);
        struct conn *c = begins(&o);
        c->tls_fault = rows[i].fault;
        breaks(c, ERR_TLS, "because");
        told(i, TLS_RPT_STS, rows[i].result, "y.test mx.y.test " OURS ": because");
    }
}

/* No signature of ours, no memory: that is no business of the domain. */
static void test_our_trouble(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_ENFORCE);
    struct conn *c = begins(&o);
    c->tls_fault = TLS_FAULT_OURS;
    breaks(c, ERR_TLS, "no signature was made");
    assert_int_equal(the->n_told, 0);
}

/* ---- without TLS ---- */

static void test_no_starttls(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_NONE);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = greets();
    told(0, TLS_RPT_NO_POLICY, TLS_RPT_STARTTLS_NOT_SUPPORTED,
         "y.test mx.y.test " OURS ": the server does not offer STARTTLS, or refuses it");
    takes(c);
    takes((give(&o), c)); /* a kept connection was counted */
    assert_int_equal(the->n_told, 1);
    o = job(MTA_STS_ENFORCE);
    o.site = "mx:strict";
    give(&o);
    lookup_says("192.0.2.1", NULL);
    say((c = greets()), "");
    expect(c, "QUIT\n");
    say(c, "221 bye\n");
    told(1, TLS_RPT_STS, TLS_RPT_STARTTLS_NOT_SUPPORTED,
         "y.test mx.y.test " OURS ": TLS is required here and the server does not offer STARTTLS");
}

static void test_starttls_refused(void **state)
{
    static const struct {
        enum mta_sts_mode sts;
        const char *reply;
        enum tls_rpt_result result;
    } rows[] = {
        {MTA_STS_NONE, "454 4.7.0 not now\n", TLS_RPT_STARTTLS_NOT_SUPPORTED},
        {MTA_STS_ENFORCE, "454 4.7.0 not now\n", TLS_RPT_STARTTLS_NOT_SUPPORTED},
        {MTA_STS_ENFORCE, "421 4.3.2 bye\n", TLS_RPT_STARTTLS_NOT_SUPPORTED},
        {MTA_STS_TESTING, "220 go\n250 SIZE\n", TLS_RPT_VALIDATION_FAILURE}, /* put there by somebody else */
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct order o = job(rows[i].sts);
        give(&o);
        lookup_says("192.0.2.1", NULL);
        struct conn *c = greets_offering("250 STARTTLS\n");
        expect(c, "STARTTLS\n");
        say(c, rows[i].reply);
        if (!c->is_closed)
            server_closes(c);
        assert_int_equal(the->n_told, i + 1);
        assert_int_equal(the->sessions[i].policy,
                         rows[i].sts == MTA_STS_NONE ? TLS_RPT_NO_POLICY : TLS_RPT_STS);
        assert_int_equal(the->sessions[i].result, rows[i].result);
    }
}

/* No connection, or none that came to it: there is nothing to tell. */
static void test_no_session(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_ENFORCE);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    refuses(ERR_CLOSED);
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = answers();
    say(c, "554 no\n");
    server_closes(c);
    give(&o);
    lookup_says(NULL, NULL);
    assert_int_equal(the->n_results, 3);
    assert_int_equal(the->n_told, 0);
}

/* A host that the policy does not name is refused, all its addresses at once. */
static void test_not_of_the_policy(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_ENFORCE);
    o.sts_hops = 0;
    give(&o);
    lookup_says("192.0.2.1", "192.0.2.2");
    told(0, TLS_RPT_STS, TLS_RPT_VALIDATION_FAILURE,
         "y.test mx.y.test me.test  : the MTA-STS policy does not name this host");
    assert_int_equal(the->n_conns, 0);
}

/* ---- DANE ---- */

static void give_signed(struct order *o, struct str rdata)
{
    o->mx = DANE_MX_SECURE;
    o->trusts_hops = true;
    give(o);
    the->is_secure = true;
    lookup_says("192.0.2.1", NULL);
    records(the->n_rr - 1, rdata.n > 0 ? DNS_STATUS_OK : DNS_STATUS_TEMPORARY, true, rdata);
}

static void test_dane(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_TESTING);
    give_signed(&o, STR(EE));
    struct tls_facts f = facts("");
    f.is_dane = true;
    f.n_tlsa_usable = 1;
    struct conn *c = offers_tls();
    secures_with(c, &f);
    told(0, TLS_RPT_TLSA, TLS_SESSION_OK, "y.test mx.y.test " OURS ":  |3 1 1 " HEX);
    greets_again(c);
    takes(c);
    o.site = "mx:2";
    give_signed(&o, STR(EE));
    c = offers_tls();
    c->tls_fault = TLS_FAULT_RECORDS;
    breaks(c, ERR_TLS, "no match");
    told(1, TLS_RPT_TLSA, TLS_RPT_TLSA_INVALID, "y.test mx.y.test " OURS ": no match |3 1 1 " HEX);
}

static void test_dane_unusable(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_NONE);
    give_signed(&o, STR(UNUSABLE));
    struct tls_facts f = facts("");
    struct conn *c = offers_tls();
    secures_with(c, &f);
    told(0, TLS_RPT_TLSA, TLS_RPT_TLSA_INVALID,
         "y.test mx.y.test " OURS ": DANE promises TLS, but no record can be used |3 1 7 " HEX);
    o.site = "mx:2"; /* the library makes nothing of them */
    o.params.requiretls = true;
    o.mx = DANE_MX_SECURE;
    give_signed(&o, STR(EE));
    c = offers_tls();
    secures_with(c, &f);
    told(1, TLS_RPT_TLSA, TLS_RPT_TLSA_INVALID,
         "y.test mx.y.test " OURS ": no TLSA record can be used |3 1 1 " HEX);
}

static void test_dane_failed(void **state)
{
    UNUSED(state);
    struct order o = job(MTA_STS_NONE);
    give_signed(&o, STR_NIL);
    told(0, TLS_RPT_TLSA, TLS_RPT_DNSSEC_INVALID,
         "y.test mx.y.test me.test  : DANE could not be looked up, which may be an attack: the TLSA records "
         "could "
         "not be looked up: TLSA of it: SERVFAIL");
    o.tls = HOP_TLS_DANE;
    give(&o);
    lookup_says("192.0.2.1", NULL);
    records(the->n_rr - 1, DNS_STATUS_NXDOMAIN, true, STR_NIL);
    assert_int_equal(the->n_told, 2);
    assert_int_equal(the->sessions[1].policy, TLS_RPT_TLSA);
    assert_int_equal(the->sessions[1].result, TLS_RPT_DANE_REQUIRED);
    assert_int_equal(the->n_conns, 0);
}

/* In whatever order they come, they are told in one. */
static void test_lines_have_an_order(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < 2; i++) {
        struct str both[] = {STR(EE), STR(OTHER)};
        char list_mem[512], mem[1024], site[8];
        struct buf list, b;
        struct order o = job(MTA_STS_NONE);
        (void)snprintf(site, sizeof site, "mx:%zu", i);
        o.site = site;
        o.mx = DANE_MX_SECURE;
        give(&o);
        the->is_secure = true;
        lookup_says("192.0.2.1", NULL);
        buf_init_fixed(&list, list_mem, sizeof list_mem);
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(list_put_str(&list, both[i]) && list_put_str(&list, both[1 - i]));
        struct ipc_rr_answer m = {.token = the->rr[the->n_rr - 1].token,
                                  .status = DNS_STATUS_OK,
                                  .is_secure = 1,
                                  .rdata = buf_str(&list)};
        assert_true(ipc_encode_rr_answer(&m, &b));
        the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_RR_ANSWER, buf_str(&b), NULL);
        breaks(offers_tls(), ERR_TLS, "x");
        told(i, TLS_RPT_TLSA, TLS_RPT_VALIDATION_FAILURE,
             "y.test mx.y.test " OURS ": x |2 0 1 " HEX " |3 1 1 " HEX);
    }
}

/* ---- who is counted ---- */

/* A smart host, LMTP, a callout, mail whose sender does not care (reports of ours are such), what the
 * administrator sets aside, and all of it where there are no reports. */
static void test_not_counted(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < 6; i++) {
        struct order o = job(MTA_STS_NONE);
        char site[8];
        (void)snprintf(site, sizeof site, "mx:%zu", i);
        o.site = site;
        o.next_hop = i == 0 ? NULL : o.next_hop;
        o.is_callout = i == 1;
        o.params.tls_optional = i == 2;
        o.tls = i == 3 ? HOP_TLS_ANY : i == 4 ? HOP_TLS_NONE : HOP_TLS_MAY;
        if (i == 5)
            the->config.tls_reports = STR_NIL;
        give(&o);
        lookup_says("192.0.2.1", NULL);
        if (i == 4) {
            (void)greets_offering("250 STARTTLS\n");
        } else {
            struct tls_facts f = facts("");
            secures_with(offers_tls(), &f);
        }
        assert_int_equal(the->n_told, 0);
    }
    the->config.tls_reports = STR("tls@me.test");
    struct order o = job(MTA_STS_NONE);
    o.is_lmtp = true;
    o.hosts[0] = "lmtp.y.test"; /* the other one spoke TLS */
    give(&o);
    lookup_says("192.0.2.1", NULL);
    struct conn *c = answers();
    say(c, "220 mx\n");
    expect(c, "LHLO me.test\n");
    say(c, "250-mx\n250 PIPELINING\n");
    expect(c, ENVELOPE);
    assert_int_equal(the->n_told, 0);
}

/* Nobody waits for agent: what it has no room for is gone, and the log says so when there is room again. */
static void test_full(void **state)
{
    UNUSED(state);
    struct relay *r = the->self;
    struct order o = job(MTA_STS_NONE);
    the->is_agent_full = true;
    breaks(begins(&o), ERR_TLS, "x");
    takes(greets());
    assert_int_equal(the->n_told, 0);
    assert_int_equal(r->n_unreported, 1);
    the->is_agent_full = false;
    the->agent.user->on_room(the->agent.arg, &the->agent);
    assert_int_equal(r->n_unreported, 0);
    the->agent.user->on_closed(the->agent.arg, &the->agent); /* it died */
    o.site = "mx:2";
    breaks(begins(&o), ERR_TLS, "x");
    assert_int_equal(r->n_unreported, 1);
    the->agent.is_closed = false;
    relay_role.peer(r, ROLE_AGENT, 0, &the->agent);
    assert_int_equal(r->n_unreported, 0);
    takes(greets());
    o.site = "mx:3";
    breaks(begins(&o), ERR_TLS, "x");
    assert_int_equal(the->n_told, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wants_reports, teardown)
    const struct CMUnitTest tests[] = {
        T(test_secured),
        T(test_broken_and_plain),
        T(test_refused_certificate),
        T(test_our_trouble),
        T(test_no_starttls),
        T(test_starttls_refused),
        T(test_no_session),
        T(test_not_of_the_policy),
        T(test_dane),
        T(test_dane_unusable),
        T(test_dane_failed),
        T(test_lines_have_an_order),
        T(test_not_counted),
        T(test_full),
    };
    return cmocka_run_group_tests_name("relay_report", tests, NULL, NULL);
}
