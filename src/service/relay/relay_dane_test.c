#include "service/relay/relay_testing.h"

#define DIGEST "0123456789abcdef0123456789abcdef"
#define EE "\3\1\1" DIGEST
#define TA "\2\0\1" DIGEST
#define HEX                                                                                                  \
    "30313233343536373839616263646566"                                                                       \
    "30313233343536373839616263646566"

static void asked(size_t i, enum dns_type type, const char *name)
{
    assert_true(i < the->n_rr);
    assert_int_equal(the->rr[i].type, type);
    assert_string_equal(the->rr[i].name, name);
}

/* A job for y.test whose host has signed addresses. */
static void give_signed(const struct order *o)
{
    struct order all = *o;
    all.next_hop = o->next_hop == NULL ? "y.test" : o->next_hop;
    all.hosts[0] = o->hosts[0] == NULL ? "mx.y.test" : o->hosts[0];
    all.trusts_hops = o->mx != DANE_MX_INSECURE;
    give(&all);
    the->is_secure = true;
    lookup_says("192.0.2.1", NULL);
}

/* The handshake ends with this record's match. */
static void matches(struct conn *c, uint8_t usage)
{
    secures_with(c, &(struct tls_facts){.version = STR("TLSv1.3"),
                                        .cipher = STR("TLS_X"),
                                        .has_peer_certificate = true,
                                        .is_dane = true,
                                        .n_tlsa_usable = 1,
                                        .dane_usage = usage,
                                        .dane_selector = 1,
                                        .dane_matching = 1,
                                        .dane_data = STR(DIGEST)});
}

static void deferred(size_t n, uint16_t detail, const char *text)
{
    const struct result *r = last_result(n);
    assert_int_equal(r->kind, RESULT_TEMPORARY);
    assert_int_equal(r->stage, SMTP_AT_TLS);
    assert_true(r->esc.class == 4 && r->esc.subject == 7 && r->esc.detail == detail);
    if (strstr(r->text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, r->text);
}

static void test_usable(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1, .canonical = "real.test"});
    assert_int_equal(the->n_rr, 1);
    asked(0, DNS_TLSA, "_25._tcp.mx.y.test");
    assert_int_equal(the->n_conns, 0); /* nothing is dialled before the records are known */
    records(0, DNS_STATUS_OK, true, STR(EE));
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_DANE);
    assert_string_equal(c->tls_name, "mx.y.test");
    assert_string_equal(c->tls_names, "mx.y.test y.test real.test ");
    assert_string_equal(c->tlsa, "3 1 1 " HEX ",");
    matches(c, 3);
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 2);
    assert_non_null(
        strstr(the->transport, ", verified (DANE: 3 1 1 " HEX "); wanted: dane, since DANE says whose"));
    assert_non_null(strstr(the->transport, "; the MX records are signed; DANE: TLSA records say"));
}

/* What can't be looked up must not look like nothing: the next host, or later. */
static void test_failed(void **state)
{
    static const enum dns_status failures[] = {DNS_STATUS_TEMPORARY, DNS_STATUS_NULL_MX, (enum dns_status)99};
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        give_signed(&(struct order){.token = 1});
        records(i, failures[i], false, STR_NIL);
        deferred(i + 1, 5, "the TLSA records could not be looked up: TLSA of it: SERVFAIL");
    }
    assert_int_equal(the->n_conns, 0);
    give_signed(&(struct order){.token = 1, .hosts = {"mx.y.test", "mx2.y.test"}});
    records(3, DNS_STATUS_TEMPORARY, false, STR_NIL);
    assert_string_equal(the->asked[the->n_asked - 1], "mx2.y.test");
    lookup_says("192.0.2.2", NULL);
    asked(4, DNS_TLSA, "_25._tcp.mx2.y.test");
    records(4, DNS_STATUS_NXDOMAIN, true, STR_NIL);
    takes(greets());
    assert_int_equal(the->conns[0].to.ip[3], 2);
}

/* As many addresses as a job tries in all. */
static void lookup_says_many(void)
{
    char list_mem[1024], mem[2048];
    struct buf list, b;
    struct netaddr a = {.kind = NETADDR_IP4, .ip = {192, 0, 2, 1}};
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < SMTP_CLIENT_ADDRESSES_MAX; i++, a.ip[3]++)
        assert_true(list_put_addr(&list, &a));
    struct ipc_host_answer m = {
        .token = the->asked_token[the->n_asked - 1], .is_secure = 1, .addresses = buf_str(&list)};
    assert_true(ipc_encode_host_answer(&m, &b));
    the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_HOST_ANSWER, buf_str(&b), NULL);
}

/* All addresses of a host that has to wait count as one that was tried. */
static void test_one_try_a_host(void **state)
{
    UNUSED(state);
    give(&(struct order){.token = 1, .hosts = {"a.test", "b.test", "c.test"}, .next_hop = "y.test"});
    for (size_t i = 0; i < 2; i++) {
        lookup_says_many();
        records(i, DNS_STATUS_TEMPORARY, false, STR_NIL);
    }
    lookup_says("192.0.2.3", NULL);
    takes(greets());
}

static void test_malformed_answers(void **state)
{
    char mem[256];
    struct buf b;
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_rr_answer m = {.token = the->rr[0].token, .is_secure = 1, .rdata = STR("\377\0\0\0x")};
    assert_true(ipc_encode_rr_answer(&m, &b));
    the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_RR_ANSWER, buf_str(&b), NULL);
    deferred(1, 5, "the answer makes no sense");
    give_signed(&(struct order){.token = 2});
    records(1, DNS_STATUS_OK, true, STR_NIL); /* found, and nothing is there */
    deferred(2, 5, "the answer makes no sense");
    the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_RR_ANSWER, STR("\1"), NULL);
    assert_true(the->lookup.is_closed);
}

static void test_absent(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1, .mx = DANE_MX_NONE});
    records(0, DNS_STATUS_NODATA, true, STR_NIL);
    breaks(offers_tls(), ERR_TLS, "no shared cipher");
    takes(greets());
    assert_int_equal(the->transport_number, 0);
    assert_non_null(strstr(the->transport, "TLS where it can be had; DANE: there are no TLSA records"));
}

/* RFC 7672 2.2.2: the name behind a signed alias goes first; both are asked for together. */
static void test_alias(void **state)
{
    UNUSED(state);
    the->canonical = "real.y.test";
    give_signed(&(struct order){.token = 1});
    assert_int_equal(the->n_rr, 2);
    asked(0, DNS_TLSA, "_25._tcp.real.y.test");
    asked(1, DNS_TLSA, "_25._tcp.mx.y.test");
    records(1, DNS_STATUS_OK, true, STR(EE));
    assert_int_equal(the->n_conns, 0);
    records(0, DNS_STATUS_OK, true, STR(TA));
    struct conn *c = offers_tls();
    assert_string_equal(c->tls_name, "real.y.test");
    assert_string_equal(c->tls_names, "real.y.test mx.y.test y.test ");
    assert_string_equal(c->tlsa, "2 0 1 " HEX ",");
    breaks(c, ERR_TLS, "no match");
    deferred(1, 5, "no match (DANE says whose the server is)");
}

static void test_alias_without_records(void **state)
{
    UNUSED(state);
    the->canonical = "real.y.test";
    give_signed(&(struct order){.token = 1});
    records(0, DNS_STATUS_NXDOMAIN, true, STR_NIL);
    records(1, DNS_STATUS_OK, true, STR(EE));
    assert_string_equal(offers_tls()->tls_name, "mx.y.test");
}

/* An alias that leads out of what is signed: its own record is asked for, and then only its own name. */
static void test_insecure_alias(void **state)
{
    UNUSED(state);
    the->canonical = "plain.test";
    give(&(struct order){.token = 1, .hosts = {"mx.y.test"}, .next_hop = "y.test"});
    lookup_says("192.0.2.1", NULL);
    assert_int_equal(the->n_rr, 1);
    asked(0, DNS_CNAME, "mx.y.test");
    records(0, DNS_STATUS_OK, true, STR("\5plain\4test\0"));
    assert_int_equal(the->n_rr, 2);
    asked(1, DNS_TLSA, "_25._tcp.mx.y.test");
    records(1, DNS_STATUS_OK, true, STR(EE));
    assert_string_equal(offers_tls()->tls_name, "mx.y.test");
    give(&(struct order){.token = 2, .site = "mx:b.test", .hosts = {"mx.y.test"}, .next_hop = "y.test"});
    lookup_says("192.0.2.1", NULL);
    records(2, DNS_STATUS_OK, false, STR("\5plain\4test\0")); /* without a signature it says nothing */
    takes(greets());
    give(&(struct order){.token = 3, .site = "mx:c.test", .hosts = {"mx.y.test"}, .next_hop = "y.test"});
    lookup_says("192.0.2.1", NULL);
    records(3, DNS_STATUS_TEMPORARY, false, STR_NIL);
    deferred(2, 5, "the CNAME record of the host could not be looked up");
}

static void test_no_starttls(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    records(0, DNS_STATUS_OK, true, STR(EE));
    struct conn *c = greets();
    expect(c, "QUIT\n");
    say(c, "221 bye\n");
    deferred(1, 4, "(DANE says whose the server is)");
    assert_int_equal(the->n_conns, 1); /* and not once more in the clear */
}

static void test_unusable(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    records(0, DNS_STATUS_OK, true, STR("\1\1\1" DIGEST));
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_NONE);
    assert_string_equal(c->tls_name, "mx.y.test");
    secures(c, false);
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 1);
    assert_non_null(
        strstr(the->transport, "wanted: encrypt, since DANE promises TLS, but no record can be used"));
    give_signed(&(struct order){.token = 2, .site = "mx:b.test"});
    records(1, DNS_STATUS_OK, true, STR("\1\1\1" DIGEST));
    breaks(offers_tls(), ERR_TLS, "no");
    deferred(2, 5, "DANE promises TLS");
}

/* The host is who it says; that it serves the domain nobody proves (RFC 7672 2.2.1). */
static void test_insecure_mx(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1, .mx = DANE_MX_INSECURE});
    records(0, DNS_STATUS_OK, true, STR(EE));
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_DANE);
    assert_string_equal(c->tls_names, "mx.y.test ");
    matches(c, 3);
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 1);
    assert_non_null(strstr(the->transport, "; the MX records are not signed"));
}

static void test_verify_rule(void **state)
{
    UNUSED(state);
    const struct order o = {.token = 1, .tls = HOP_TLS_VERIFY, .names = {"y.test"}, .mx = DANE_MX_INSECURE};
    give_signed(&o);
    records(0, DNS_STATUS_OK, true, STR(EE));
    struct conn *c = offers_tls(); /* then the certificate is for the domain */
    assert_int_equal(c->tls_check, TLS_CHECK_PKIX);
    assert_string_equal(c->tls_names, "y.test ");
}

/* The library refuses what we took for records: as if there were none, where that is enough. */
static void test_library_has_no_use_for_them(void **state)
{
    static const struct tls_facts none = {.version = STR_INIT("TLSv1.3"), .has_peer_certificate = true};
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    records(0, DNS_STATUS_OK, true, STR(EE));
    struct conn *c = offers_tls();
    secures_with(c, &none);
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 1);
    assert_non_null(strstr(the->transport, "wanted: encrypt"));
    give_signed(&(struct order){.token = 2, .site = "mx:b.test", .tls = HOP_TLS_VERIFY});
    records(1, DNS_STATUS_OK, true, STR(EE));
    secures_with(offers_tls(), &none);
    deferred(2, 5, "no TLSA record can be used");
}

/* A record of usage 3 speaks of the server alone, one of usage 2 with the names of a domain. */
static void test_kept_connections(void **state)
{
    UNUSED(state);
    for (uint8_t usage = 2; usage <= 3; usage++) {
        const char *site = usage == 2 ? "mx:a" : "mx:b";
        give_signed(&(struct order){.token = 1, .site = site});
        records(the->n_rr - 1, DNS_STATUS_OK, true, usage == 2 ? STR(TA) : STR(EE));
        struct conn *c = offers_tls();
        matches(c, usage);
        greets_again(c);
        takes(c);
        size_t n = the->n_conns;
        give(&(struct order){.token = 2, .site = site, .hosts = {"mx.y.test"}, .next_hop = "Y.test"});
        takes(c);
        assert_int_equal(the->n_conns, n);
        give(&(struct order){.token = 3, .site = site, .hosts = {"mx.y.test"}, .next_hop = "z.test"});
        if (usage == 3) {
            takes(c);
            continue;
        }
        lookup_says("192.0.2.1", NULL);
        records(the->n_rr - 1, DNS_STATUS_OK, true, STR(TA));
        assert_string_equal(offers_tls()->tls_names, "mx.y.test z.test ");
        give(&(struct order){
            .token = 4, .site = site, .hosts = {"mx.y.test"}, .next_hop = "y.test", .mx = DANE_MX_INSECURE});
        lookup_says("192.0.2.1", NULL);
        records(the->n_rr - 1, DNS_STATUS_OK, true, STR(TA));
        assert_string_equal(offers_tls()->tls_names, "mx.y.test ");
    }
}

/* A kept connection does not lend its proof to a domain whose MX records may be forged. */
static void test_kept_for_another_domain(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    records(0, DNS_STATUS_OK, true, STR(EE));
    struct conn *c = offers_tls();
    matches(c, 3);
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 2);
    give(&(struct order){.token = 2, .hosts = {"mx.y.test"}, .next_hop = "z.test", .mx = DANE_MX_INSECURE});
    takes(c);
    assert_int_equal(the->transport_number, 1);
    assert_non_null(strstr(the->transport, "; the MX records are not signed; DANE: TLSA records say"));
    give(&(struct order){.token = 3, .hosts = {"mx.y.test"}, .next_hop = "v.test"});
    takes(c);
    assert_int_equal(the->transport_number, 2);
}

/* What is told is what this mail asked for, not the one that the connection was made for. */
static void test_kept_for_more(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    records(0, DNS_STATUS_NXDOMAIN, true, STR_NIL);
    struct conn *c = offers_tls();
    secures(c, false);
    greets_again(c);
    takes(c);
    assert_non_null(strstr(the->transport, "wanted: opportunistic"));
    give(&(struct order){.token = 2, .hosts = {"mx.y.test"}, .next_hop = "y.test", .tls = HOP_TLS_ENCRYPT});
    takes(c);
    assert_non_null(strstr(the->transport, "wanted: encrypt, since the administrator wants TLS there"));
}

static void test_not_asked(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1, .tls = HOP_TLS_NONE});
    takes(greets());
    the->is_secure = false;
    give(&(struct order){.token = 2, .site = "mx:b.test", .hosts = {"mx.y.test"}, .next_hop = "y.test"});
    lookup_says("192.0.2.1", NULL); /* of an unsigned zone nothing is asked */
    takes(greets());
    assert_int_equal(the->n_rr, 0);
    assert_non_null(strstr(the->transport, "DANE: the zone of the host is not signed"));
}

/* The administrator wants DANE: what is not proven by it waits, and it is told what was missing. */
static void test_dane_rule(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1, .tls = HOP_TLS_DANE});
    records(0, DNS_STATUS_OK, true, STR(EE));
    struct conn *c = offers_tls();
    assert_int_equal(c->tls_check, TLS_CHECK_DANE);
    matches(c, 3);
    greets_again(c);
    takes(c);
    assert_int_equal(the->transport_number, 2);
    assert_non_null(strstr(the->transport, "wanted: dane, since the administrator wants DANE there"));
    size_t n_conns = the->n_conns;
    give_signed(&(struct order){.token = 2, .site = "mx:b.test", .tls = HOP_TLS_DANE});
    records(1, DNS_STATUS_NODATA, true, STR_NIL);
    deferred(2, 5, "the administrator wants DANE there, and it can't be had: there are no TLSA records");
    give_signed(&(struct order){
        .token = 3, .site = "mx:c.test", .tls = HOP_TLS_DANE, .mx = DANE_MX_INSECURE, .next_hop = "y.test"});
    records(2, DNS_STATUS_OK, true, STR(EE));
    deferred(3, 5, "; the MX records are not signed");
    give(&(struct order){.token = 4, .site = "mx:d.test", .hosts = {"192.0.2.1"}, .tls = HOP_TLS_DANE});
    deferred(4, 5, tls_why_text(TLS_WHY_DANE_MISSING));
    assert_int_equal(the->n_conns, n_conns);
}

/* The administrator knows that what the domain publishes is broken. */
static void test_any_rule(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < 2; i++) {
        give_signed(&(struct order){.token = 1,
                                    .site = i == 0 ? "mx:a.test" : "mx:b.test",
                                    .tls = HOP_TLS_ANY,
                                    .sts = MTA_STS_ENFORCE});
        records(i, i == 0 ? DNS_STATUS_TEMPORARY : DNS_STATUS_OK, i == 1, i == 0 ? STR_NIL : STR(EE));
        struct conn *c = offers_tls();
        assert_int_equal(c->tls_check, TLS_CHECK_NONE);
        secures(c, false);
        greets_again(c);
        takes(c);
        assert_int_equal(the->transport_number, 1);
        assert_non_null(strstr(the->transport, tls_why_text(TLS_WHY_DANE_SET_ASIDE)));
        assert_non_null(strstr(the->transport, tls_why_text(TLS_WHY_STS_SET_ASIDE)));
        server_closes(c);
    }
    /* the host spoke TLS before, and is believed that it can't any more */
    give_signed(&(struct order){.token = 2, .site = "mx:c.test", .tls = HOP_TLS_ANY});
    records(2, DNS_STATUS_OK, true, STR(EE));
    breaks(offers_tls(), ERR_TLS, "no shared cipher");
    takes(greets());
    assert_int_equal(the->transport_number, 0);
    /* REQUIRETLS of the message goes before the administrator's exception */
    give_signed(
        &(struct order){.token = 3, .site = "mx:d.test", .tls = HOP_TLS_ANY, .params = {.requiretls = true}});
    records(3, DNS_STATUS_OK, true, STR(EE));
    assert_int_equal(offers_tls()->tls_check, TLS_CHECK_DANE);
}

static void test_lookup_goes_away(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    the->lookup.user->on_closed(the->lookup.arg, &the->lookup);
    const struct result *r = last_result(1);
    assert_true(r->kind == RESULT_TEMPORARY && r->esc.subject == 3);
    assert_int_equal(the->n_conns, 0);
}

static void test_the_job_goes_away(void **state)
{
    UNUSED(state);
    give_signed(&(struct order){.token = 1});
    the->queue.user->on_closed(the->queue.arg, &the->queue);
    records(0, DNS_STATUS_OK, true, STR(EE)); /* nobody waits for it */
    assert_int_equal(the->n_conns, 0);
    assert_int_equal(the->n_results, 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_usable),
        T(test_failed),
        T(test_one_try_a_host),
        T(test_malformed_answers),
        T(test_absent),
        T(test_alias),
        T(test_alias_without_records),
        T(test_insecure_alias),
        T(test_no_starttls),
        T(test_unusable),
        T(test_insecure_mx),
        T(test_verify_rule),
        T(test_library_has_no_use_for_them),
        T(test_kept_connections),
        T(test_kept_for_another_domain),
        T(test_kept_for_more),
        T(test_not_asked),
        T(test_dane_rule),
        T(test_any_rule),
        T(test_lookup_goes_away),
        T(test_the_job_goes_away),
    };
    return cmocka_run_group_tests_name("relay_dane", tests, NULL, NULL);
}
