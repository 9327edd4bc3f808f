#include "verify/tls_rpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void reads_records(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text[2];
        const char *rua; /* "m:" and "h:", blank between them; NULL: none */
    } rows[] = {
        {{"v=TLSRPTv1;rua=mailto:reports@example.com"}, "m:mailto:reports@example.com"},
        {{"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"},
         "h:https://reporting.example.com/v1/tlsrpt"},
        {{"v=TLSRPTv1; rua=mailto:a@b , https://c/d?e=f,MAILTO:g@h;"},
         "m:mailto:a@b h:https://c/d?e=f m:MAILTO:g@h"},
        {{"v=TLSRPTv1; x=y; rua=mailto:a@b; rua=mailto:c@d"}, "m:mailto:a@b"},
        {{"v=TLSRPTv1; rua=ftp://x,mailto:a@b"}, "m:mailto:a@b"},
        {{"v=spf1", "v=TLSRPTv1; rua=mailto:a@b"}, "m:mailto:a@b"},
        {{"v=TLSRPTv1; rua=mailto:1@b,mailto:2@b,mailto:3@b,mailto:4@b,mailto:5@b,mailto:6@b,mailto:7@b,"
          "mailto:8@b,mailto:9@b"},
         "m:mailto:1@b m:mailto:2@b m:mailto:3@b m:mailto:4@b m:mailto:5@b "
         "m:mailto:6@b m:mailto:7@b m:mailto:8@b"},
        {{"v=TLSRPTv1; rua=ftp://x"}, NULL},
        {{"v=TLSRPTv1; rua=http://x"}, NULL},
        {{"v=TLSRPTv1; rua=mailto:,https://"}, NULL},
        {{"v=TLSRPTv1; rua=mailto:a@b,,mailto:c@d"}, NULL},
        {{"v=TLSRPTv1; rua=mailto:a b"}, NULL},
        {{"v=TLSRPTv1; rua="}, NULL},
        {{"v=TLSRPTv1;"}, NULL},
        {{"v=TLSRPTv1; rua=mailto:a@b", "v=TLSRPTv1; rua=mailto:a@b"}, NULL},
        {{"v=TLSRPTv12; rua=mailto:a@b"}, NULL},
        {{"rua=mailto:a@b; v=TLSRPTv1"}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char wire[2][512], mem[DNS_TXT_MAX], got_mem[512];
        struct str rdata[2];
        struct buf b, got;
        struct tls_rpt_record r;
        buf_init_fixed(&b, mem, sizeof mem);
        buf_init_fixed(&got, got_mem, sizeof got_mem);
        size_t n = 0;
        for (; n < 2 && rows[i].text[n] != NULL; n++) {
            size_t at = 0;
            assert_true(strlen(rows[i].text[n]) * 2 <= sizeof wire[n]);
            for (const char *c = rows[i].text[n]; *c != '\0'; c++) { /* one octet in each character-string */
                wire[n][at++] = '\1';
                wire[n][at++] = *c;
            }
            rdata[n] = str_of(wire[n], at);
        }
        bool ok = tls_rpt_record(rdata, n, &b, &r);
        if (ok != (rows[i].rua != NULL))
            print_message("# %s\n", rows[i].text[0]);
        assert_int_equal(ok, rows[i].rua != NULL);
        for (size_t k = 0; ok && k < r.n_rua; k++) {
            buf_printf(&got, "%s%s:", k > 0 ? " " : "", r.rua[k].kind == TLS_RPT_MAILTO ? "m" : "h");
            buf_put(&got, r.rua[k].uri);
        }
        if (ok)
            assert_true(str_eq(buf_str(&got), str_from_c(rows[i].rua)));
    }
}

static void reads_addresses(void **state)
{
    UNUSED(state);
    static const struct {
        const char *uri, *address; /* NULL: none */
    } rows[] = {
        {"mailto:a@b.example", "a@b.example"},
        {"MAILTO:a%2Bc@b.example?subject=x,y", "a+c@b.example"},
        {"mailto:a%2cb@c", "a,b@c"},
        {"mailto:a@b,c@d", NULL},
        {"mailto:", NULL},
        {"mailto:?subject=x", NULL},
        {"mailto:a%0d%0ab@c", NULL},
        {"mailto:a%00@c", NULL},
        {"mailto:a@b%", NULL},
        {"mailto:a@b%4", NULL},
        {"mailto:a@b%4x", NULL},
        {"https://a@b", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[64];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        assert_int_equal(tls_rpt_mailto(str_from_c(rows[i].uri), &b), rows[i].address != NULL);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i].address)));
    }
}

/* ---- reports ------------------------------------------------------------------------------------------- */

static void knows_its_words(void **state)
{
    UNUSED(state);
    for (enum tls_rpt_result r = 0; r < TLS_RPT_RESULTS_N; r++)
        assert_int_equal(tls_rpt_result_parse(str_from_c(tls_rpt_result_word(r))), r);
    for (enum tls_rpt_type t = 0; t < TLS_RPT_TYPES_N; t++)
        assert_int_equal(tls_rpt_type_parse(str_from_c(tls_rpt_type_word(t))), t);
    assert_int_equal(tls_rpt_result_parse(STR("tlsa")), TLS_RPT_OTHER);
    assert_int_equal(tls_rpt_type_parse(STR_NIL), TLS_RPT_TYPE_OTHER);
}

/* What a restart brings back says the same, and goes on counting. */
static void check_restored(const struct tls_rpt_tally *t, const struct tls_rpt_report *was, struct str json,
                           const struct tls_rpt_policy *policy, const struct tls_rpt_failure *f)
{
    struct chunk_pool pool;
    struct arena a;
    struct tls_rpt_tally again;
    struct tls_rpt_report r = *was;
    struct buf copy;
    chunk_pool_init(&pool, 4096, 100);
    arena_init(&a, &pool, 100000);
    buf_init(&copy, 10000);
    tls_rpt_tally_init(&again, &a);
    for (size_t i = 0; i < t->n_policies; i++)
        assert_true(tls_rpt_tally_restore(&again, &t->policies[i]));
    assert_false(tls_rpt_tally_restore(&again, &t->policies[0]));
    r.policies = again.policies;
    assert_true(tls_rpt_write(&r, &copy));
    assert_true(str_eq(buf_str(&copy), json));
    tls_rpt_tally_add(&again, policy, f);
    assert_true(again.policies[0].n_failed == 4 && again.policies[0].failures[0].n == 3);
    buf_fini(&copy);
    arena_reset(&a);
    chunk_pool_fini(&pool);
}

static void counts_and_writes(void **state)
{
    UNUSED(state);
    static const struct str lines[] = {STR_INIT("version: STSv1"), STR_INIT("mode: \"testing\"")};
    static const struct str mx[] = {STR_INIT("*.mail.example")};
    struct tls_rpt_policy sts = {
        .type = TLS_RPT_STS, .domain = STR("b.example"), .lines = lines, .n_lines = 2, .mx = mx, .n_mx = 1};
    struct tls_rpt_policy none = {.type = TLS_RPT_NO_POLICY, .domain = STR("b.example")};
    struct tls_rpt_failure expired = {.result = TLS_RPT_CERTIFICATE_EXPIRED,
                                      .sending_ip = STR("192.0.2.1"),
                                      .mx = STR("mx1.mail.example"),
                                      .helo = STR("h"),
                                      .receiving_ip = STR("2001:db8::1"),
                                      .info = STR("https://a.example/?x\n"),
                                      .reason = STR("X\"Y")};
    struct tls_rpt_failure plain = {.result = TLS_RPT_STARTTLS_NOT_SUPPORTED};
    struct chunk_pool pool;
    struct arena a;
    struct tls_rpt_tally t;
    chunk_pool_init(&pool, 4096, 100);
    arena_init(&a, &pool, 100000);
    tls_rpt_tally_init(&t, &a);
    for (size_t i = 0; i < 5; i++)
        tls_rpt_tally_add(&t, &sts, NULL);
    tls_rpt_tally_add(&t, &sts, &expired);
    tls_rpt_tally_add(&t, &none, NULL);
    tls_rpt_tally_add(&t, &sts, &plain);
    tls_rpt_tally_add(&t, &sts, &expired);
    assert_true(t.n_policies == 2 && t.n_dropped == 0);
    struct tls_rpt_report r = {.organization = STR("A \"Co\""),
                               .contact = STR("tls@a.example"),
                               .id = STR("1@a.example"),
                               .begin_s = 1459468800,
                               .end_s = 1459555199,
                               .policies = t.policies,
                               .n_policies = t.n_policies};
    struct buf b;
    buf_init(&b, 10000);
    assert_true(tls_rpt_write(&r, &b));
    assert_true(str_eq(
        buf_str(&b),
        STR("{\"organization-name\":\"A "
            "\\\"Co\\\"\",\"date-range\":{\"start-datetime\":\"2016-04-01T00:00:00Z\","
            "\"end-datetime\":\"2016-04-01T23:59:59Z\"},\"contact-info\":\"tls@a.example\",\"report-id\":"
            "\"1@a.example\",\"policies\":[{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"version:"
            " "
            "STSv1\",\"mode: "
            "\\\"testing\\\"\"],\"mx-host\":[\"*.mail.example\"],\"policy-domain\":\"b.example\"},"
            "\"summary\":{\"total-successful-session-count\":5,\"total-failure-session-count\":3},"
            "\"failure-details\":[{\"result-type\":\"certificate-expired\",\"sending-mta-ip\":\"192.0.2.1\","
            "\"receiving-mx-hostname\":\"mx1.mail.example\",\"receiving-mx-helo\":\"h\",\"receiving-ip\":"
            "\"2001:db8::1\",\"additional-information\":\"https://a.example/"
            "?x\\u000a\",\"failure-reason-code\":"
            "\"X\\\"Y\",\"failed-session-count\":2},{\"result-type\":\"starttls-not-supported\","
            "\"failed-session-count\":1}]},{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-"
            "domain\":"
            "\"b.example\"},\"summary\":{\"total-successful-session-count\":1,\"total-failure-session-"
            "count\":0}}]}"
            "\n")));
    for (size_t max = 1; max < b.n; max += 7) {
        struct buf small;
        buf_init(&small, max);
        assert_false(tls_rpt_write(&r, &small));
        buf_fini(&small);
    }
    check_restored(&t, &r, buf_str(&b), &sts, &expired);
    buf_fini(&b);
    arena_reset(&a);
    chunk_pool_fini(&pool);
}

static void bounds_its_counts(void **state)
{
    UNUSED(state);
    struct chunk_pool pool;
    struct arena a;
    struct tls_rpt_tally t;
    chunk_pool_init(&pool, 4096, 1000);
    arena_init(&a, &pool, 1000000);
    tls_rpt_tally_init(&t, &a);
    for (unsigned i = 0; i < TLS_RPT_POLICIES_MAX + 2; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "d%u.example", i);
        struct tls_rpt_policy p = {.type = TLS_RPT_TLSA, .domain = str_of(name, (size_t)n)};
        tls_rpt_tally_add(&t, &p, NULL);
    }
    assert_true(t.n_policies == TLS_RPT_POLICIES_MAX && t.n_dropped == 2);
    struct tls_rpt_policy p = {.type = TLS_RPT_TLSA, .domain = STR("D0.example")};
    for (unsigned i = 0; i < TLS_RPT_FAILURES_MAX + 3; i++) {
        char reason[32];
        int n = snprintf(reason, sizeof reason, "%u", i);
        struct tls_rpt_failure f = {.result = TLS_RPT_TLSA_INVALID, .reason = str_of(reason, (size_t)n)};
        tls_rpt_tally_add(&t, &p, &f);
    }
    assert_true(t.policies[0].n_ok == 1 && t.policies[0].n_failed == TLS_RPT_FAILURES_MAX + 3 &&
                t.policies[0].n_failures == TLS_RPT_FAILURES_MAX && t.n_dropped == 5);
    /* without memory: what can be counted is */
    arena_reset(&a);
    arena_init(&a, &pool, 64);
    tls_rpt_tally_init(&t, &a);
    struct tls_rpt_failure f = {.result = TLS_RPT_TLSA_INVALID};
    tls_rpt_tally_add(&t, &p, &f);
    assert_true(t.n_policies == 1 && t.policies[0].n_failed == 1 && t.n_dropped == 1);
    arena_reset(&a);
    arena_init(&a, &pool, 4);
    tls_rpt_tally_init(&t, &a);
    tls_rpt_tally_add(&t, &p, NULL);
    assert_true(t.n_policies == 0 && t.n_dropped == 1);
    arena_reset(&a);
    chunk_pool_fini(&pool);
}

static void names_files_and_records(void **state)
{
    UNUSED(state);
    char mem[128];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    tls_rpt_file_name(STR("mail.sender.example"), STR("example.com"), 1470013207, 1470186007, STR_NIL, true,
                      &b);
    assert_true(str_eq(buf_str(&b), STR("mail.sender.example!example.com!1470013207!1470186007.json.gz")));
    buf_reset(&b);
    tls_rpt_file_name(STR("a"), STR("b"), 1, 2, STR("7"), false, &b);
    assert_true(str_eq(buf_str(&b), STR("a!b!1!2!7.json")));
    buf_reset(&b);
    tls_rpt_record_name(STR("a.example"), &b);
    assert_true(str_eq(buf_str(&b), STR("_smtp._tls.a.example")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_records),     cmocka_unit_test(reads_addresses),
        cmocka_unit_test(knows_its_words),   cmocka_unit_test(counts_and_writes),
        cmocka_unit_test(bounds_its_counts), cmocka_unit_test(names_files_and_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
