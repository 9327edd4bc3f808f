#include "verify/tls_rpt_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* ---- rows with names ----------------------------------------------------------------------------------- */

#define RULE(r) .rule = TLS_RULE_##r
#define DANE(d) .dane = DANE_##d
#define STS(mode, match) .sts = MTA_STS_##mode, .sts_matches = (match)
#define FOUND .is_found_securely = true
#define REQ .requiretls = true
#define NO .tls_required_no = true
#define UNTRIED                                                                                              \
    {                                                                                                        \
        TLS_RPT_END_UNTRIED, TLS_FAULT_NONE                                                                  \
    }
#define PLAIN                                                                                                \
    {                                                                                                        \
        TLS_RPT_END_NO_STARTTLS, TLS_FAULT_NONE                                                              \
    }
#define BROKEN(f)                                                                                            \
    {                                                                                                        \
        TLS_RPT_END_BROKEN, TLS_FAULT_##f                                                                    \
    }
#define SECURED(f)                                                                                           \
    {                                                                                                        \
        TLS_RPT_END_SECURED, TLS_FAULT_##f                                                                   \
    }

/* clang-format off */
static const struct {
    const char *name;
    struct tls_level_facts f;
    struct tls_rpt_session s;
    const char *want; /* type and result as in a report, "ok", or "-": not counted */
} rows[] = {
    /* nothing published: TLS with anybody will do */
    {"TLS", {DANE(NONE)}, SECURED(NONE), "no-policy-found ok"},
    {"TLS with anybody", {DANE(NONE)}, SECURED(UNTRUSTED), "no-policy-found ok"},
    {"no TLS", {DANE(NONE)}, PLAIN, "no-policy-found starttls-not-supported"},
    {"no TLS of a host that had it", {DANE(NONE), .seen = TLS_SEEN_TLS}, PLAIN, "no-policy-found starttls-not-supported"},
    {"broken", {DANE(NONE)}, BROKEN(HANDSHAKE), "no-policy-found validation-failure"},
    {"trouble of ours", {DANE(NONE)}, BROKEN(OURS), "-"},
    /* DANE */
    {"DANE", {DANE(USABLE), FOUND}, SECURED(NONE), "tlsa ok"},
    {"DANE, no match", {DANE(USABLE), FOUND}, BROKEN(RECORDS), "tlsa tlsa-invalid"},
    {"DANE-TA, another name", {DANE(USABLE), FOUND}, BROKEN(NAME), "tlsa certificate-host-mismatch"},
    {"DANE-TA, expired", {DANE(USABLE), FOUND}, BROKEN(EXPIRED), "tlsa certificate-expired"},
    {"DANE, no handshake", {DANE(USABLE), FOUND}, BROKEN(HANDSHAKE), "tlsa validation-failure"},
    {"DANE, no STARTTLS", {DANE(USABLE), FOUND}, PLAIN, "tlsa starttls-not-supported"},
    {"DANE before MTA-STS", {DANE(USABLE), FOUND, STS(ENFORCE, false)}, SECURED(NONE), "tlsa ok"},
    {"DANE before a test", {DANE(USABLE), STS(TESTING, false)}, SECURED(NONE), "tlsa ok"},
    {"DANE, none usable", {DANE(UNUSABLE), FOUND}, SECURED(NONE), "tlsa tlsa-invalid"},
    {"DANE, none usable, no STARTTLS", {DANE(UNUSABLE), FOUND}, PLAIN, "tlsa starttls-not-supported"},
    {"DANE, none usable, a test", {DANE(UNUSABLE), FOUND, STS(TESTING, true)}, SECURED(NONE), "tlsa tlsa-invalid"},
    {"DANE, none usable, MTA-STS", {DANE(UNUSABLE), FOUND, STS(ENFORCE, true)}, SECURED(NONE), "sts ok"},
    {"DANE failed", {DANE(DEFER), FOUND}, UNTRIED, "tlsa dnssec-invalid"},
    {"DANE failed, MTA-STS", {DANE(DEFER), FOUND, STS(ENFORCE, true)}, UNTRIED, "tlsa dnssec-invalid"},
    {"DANE only", {RULE(DANE_ONLY), DANE(USABLE), FOUND}, SECURED(NONE), "tlsa ok"},
    {"DANE only, and none", {RULE(DANE_ONLY), DANE(NONE), FOUND}, UNTRIED, "tlsa dane-required"},
    {"DANE only, failed", {RULE(DANE_ONLY), DANE(DEFER), FOUND}, UNTRIED, "tlsa dnssec-invalid"},
    /* MTA-STS */
    {"enforced", {DANE(NONE), STS(ENFORCE, true)}, SECURED(NONE), "sts ok"},
    {"enforced, expired", {DANE(NONE), STS(ENFORCE, true)}, BROKEN(EXPIRED), "sts certificate-expired"},
    {"enforced, no STARTTLS", {DANE(NONE), STS(ENFORCE, true)}, PLAIN, "sts starttls-not-supported"},
    {"enforced, another host", {DANE(NONE), STS(ENFORCE, false)}, UNTRIED, "sts validation-failure"},
    {"enforced, a forged MX with DANE", {DANE(USABLE), STS(ENFORCE, false)}, UNTRIED, "sts validation-failure"},
    {"tested", {DANE(NONE), STS(TESTING, true)}, SECURED(NONE), "sts ok"},
    {"tested, expired", {DANE(NONE), STS(TESTING, true)}, SECURED(EXPIRED), "sts certificate-expired"},
    {"tested, not trusted", {DANE(NONE), STS(TESTING, true)}, SECURED(UNTRUSTED), "sts certificate-not-trusted"},
    {"tested, another name", {DANE(NONE), STS(TESTING, true)}, SECURED(NAME), "sts certificate-host-mismatch"},
    {"tested, no STARTTLS", {DANE(NONE), STS(TESTING, true)}, PLAIN, "sts starttls-not-supported"},
    {"tested, broken", {DANE(NONE), STS(TESTING, true)}, BROKEN(HANDSHAKE), "sts validation-failure"},
    {"tested, another host", {DANE(NONE), STS(TESTING, false)}, SECURED(NONE), "sts validation-failure"},
    {"tested, another host, no STARTTLS", {DANE(NONE), STS(TESTING, false)}, PLAIN, "sts validation-failure"},
    /* what we or the sender want */
    {"encrypt", {RULE(ENCRYPT), DANE(NONE)}, PLAIN, "no-policy-found starttls-not-supported"},
    {"verify", {RULE(VERIFY), DANE(NONE)}, BROKEN(UNTRUSTED), "no-policy-found certificate-not-trusted"},
    {"verify, none usable", {RULE(VERIFY), DANE(UNUSABLE), FOUND}, SECURED(NONE), "tlsa tlsa-invalid"},
    {"required", {DANE(USABLE), FOUND, REQ}, SECURED(NONE), "tlsa ok"},
    {"required, tested", {DANE(NONE), FOUND, STS(TESTING, true), REQ}, BROKEN(NAME), "sts certificate-host-mismatch"},
    {"required, nothing to go by", {DANE(NONE), REQ}, UNTRIED, "-"},
    {"no TLS wanted", {RULE(NONE), DANE(USABLE), FOUND}, PLAIN, "-"},
    {"what is published is set aside", {RULE(MAY), DANE(USABLE), FOUND}, SECURED(NONE), "-"},
    {"a certificate of the administrator's", {RULE(FINGERPRINT), DANE(NONE)}, SECURED(NONE), "-"},
    {"TLS-Required: No", {DANE(NONE), NO}, SECURED(NONE), "-"},
    {"TLS-Required: No, broken", {DANE(USABLE), FOUND, NO}, BROKEN(RECORDS), "-"},
    {"TLS-Required: No and REQUIRETLS", {DANE(USABLE), FOUND, NO, REQ}, SECURED(NONE), "tlsa ok"},
};
/* clang-format on */

static void judges_named_rows(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_rpt_verdict v;
        char got[80];
        tls_rpt_judge(&rows[i].f, &rows[i].s, &v);
        (void)snprintf(got, sizeof got, "%s %s", tls_rpt_type_word(v.type),
                       v.is_ok ? "ok" : tls_rpt_result_word(v.result));
        if (strcmp(v.is_counted ? got : "-", rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].name, v.is_counted ? got : "-");
    }
}

/* ---- all facts ----------------------------------------------------------------------------------------- */

static bool same(const struct tls_rpt_verdict *a, const struct tls_rpt_verdict *b)
{
    return a->is_counted == b->is_counted && (!a->is_counted || (a->is_ok == b->is_ok && a->type == b->type &&
                                                                 (a->is_ok || a->result == b->result)));
}

/* What the same server comes to when the policy is enforced. */
static struct tls_rpt_session enforced(const struct tls_level_facts *f, struct tls_rpt_session s)
{
    struct tls_level_verdict v;
    tls_level_judge(f, &v);
    if (v.level == TLS_LEVEL_DEFER)
        return (struct tls_rpt_session)UNTRIED;
    bool is_refused = s.end == TLS_RPT_END_SECURED && s.fault != TLS_FAULT_NONE;
    return is_refused ? (struct tls_rpt_session){TLS_RPT_END_BROKEN, s.fault} : s;
}

static void a_test_counts_as_enforced(void **state)
{
    UNUSED(state);
    static const struct tls_rpt_session ends[] = {
        PLAIN, BROKEN(HANDSHAKE), SECURED(NONE), SECURED(EXPIRED), SECURED(NAME), SECURED(UNTRUSTED),
    };
    for (size_t i = 0; i < 4 * ARRAY_LEN(ends); i++) {
        struct tls_level_facts f = {.sts = MTA_STS_TESTING, .dane = DANE_NONE};
        f.sts_matches = i % 2 == 0;
        f.is_found_securely = i / 2 % 2 == 0;
        struct tls_rpt_verdict tested, strict;
        tls_rpt_judge(&f, &ends[i / 4], &tested);
        f.sts = MTA_STS_ENFORCE;
        struct tls_rpt_session s = enforced(&f, ends[i / 4]);
        tls_rpt_judge(&f, &s, &strict);
        assert_true(tested.is_counted && tested.type == TLS_RPT_STS);
        if (!same(&tested, &strict))
            fail_msg("end %zu: %d %d, enforced %d %d", i, tested.is_ok, tested.result, strict.is_ok,
                     strict.result);
    }
}

/* Nothing but TLS is well, and what is well has no fault that counts under its policy. */
static void holds_for_all_facts(void **state)
{
    UNUSED(state);
    const unsigned n = TLS_RULES * 4 * 3 * 16 * 4 * TLS_FAULTS;
    unsigned n_counted = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned rest = i;
#define DIGIT(base)                                                                                          \
    (rest % (base));                                                                                         \
    rest /= (base)
        struct tls_level_facts f = {.rule = TLS_RULE_DANE};
        struct tls_rpt_session s;
        f.rule = (enum tls_rule)DIGIT(TLS_RULES);
        f.dane = (enum dane_result)1 + DIGIT(4);
        f.sts = (enum mta_sts_mode)DIGIT(3);
        f.sts_matches = DIGIT(2);
        f.is_found_securely = DIGIT(2);
        f.requiretls = DIGIT(2);
        f.tls_required_no = DIGIT(2);
        s.end = (enum tls_rpt_end)DIGIT(4);
        s.fault = (enum tls_fault)DIGIT(TLS_FAULTS);
#undef DIGIT
        struct tls_level_verdict level;
        tls_level_judge(&f, &level);
        bool is_untried = level.level == TLS_LEVEL_DEFER || level.level == TLS_LEVEL_REFUSE;
        struct tls_rpt_verdict v;
        tls_rpt_judge(&f, &s, &v);
        if (!v.is_counted || is_untried != (s.end == TLS_RPT_END_UNTRIED))
            continue; /* what can't be */
        n_counted++;
        assert_true(v.is_ok == false || s.end == TLS_RPT_END_SECURED);
        assert_true(v.is_ok || v.result < TLS_RPT_OTHER);
        assert_true(v.type == TLS_RPT_NO_POLICY || v.type == TLS_RPT_TLSA || v.type == TLS_RPT_STS);
        assert_true(v.type != TLS_RPT_STS || f.sts != MTA_STS_NONE);
        assert_true(v.type != TLS_RPT_TLSA || f.dane != DANE_NONE || f.rule == TLS_RULE_DANE_ONLY);
        assert_true(!v.is_ok || v.type != TLS_RPT_TLSA || f.dane == DANE_USABLE);
    }
    assert_true(n_counted > n / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_named_rows),
        cmocka_unit_test(a_test_counts_as_enforced),
        cmocka_unit_test(holds_for_all_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
