#include "verify/tls_level.h"

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
#define SEEN(s) .seen = TLS_SEEN_##s

/* clang-format off */
static const struct {
    const char *name;
    struct tls_level_facts f;
    const char *want; /* level, names (host, next-hop), "or-plain" */
    const char *esc;
    enum tls_why why;
} rows[] = {
    {"nothing said", {DANE(NONE)}, "opportunistic or-plain", "4.7.4", TLS_WHY_RULE_DANE},
    {"nothing said, TLS before", {DANE(NONE), SEEN(TLS)}, "opportunistic", "4.7.4", TLS_WHY_RULE_DANE},
    {"nothing said, verified before", {DANE(NONE), SEEN(VERIFIED)}, "opportunistic", "4.7.4", TLS_WHY_RULE_DANE},
    {"DANE", {DANE(USABLE), FOUND}, "dane", "4.7.5", TLS_WHY_DANE_USABLE},
    {"DANE behind an unsigned MX", {DANE(USABLE)}, "dane", "4.7.5", TLS_WHY_DANE_USABLE},
    {"DANE without a usable record", {DANE(UNUSABLE), FOUND}, "encrypt", "4.7.4", TLS_WHY_DANE_UNUSABLE},
    {"DANE failed", {DANE(DEFER), FOUND}, "defer", "4.7.5", TLS_WHY_DANE_FAILED},
    {"MTA-STS", {DANE(NONE), STS(ENFORCE, true)}, "pkix host", "4.7.5", TLS_WHY_STS_ENFORCE},
    {"MTA-STS, another host", {DANE(NONE), STS(ENFORCE, false)}, "defer", "4.7.5", TLS_WHY_STS_MISMATCH},
    {"MTA-STS, another host, signed MX", {DANE(NONE), FOUND, STS(ENFORCE, false)}, "defer", "4.7.5",
     TLS_WHY_STS_MISMATCH},
    {"MTA-STS tested", {DANE(NONE), STS(TESTING, false)}, "opportunistic or-plain", "4.7.4", TLS_WHY_RULE_DANE},
    {"DANE before MTA-STS", {DANE(USABLE), FOUND, STS(ENFORCE, true)}, "dane", "4.7.5", TLS_WHY_DANE_USABLE},
    {"even where MTA-STS does not name it", {DANE(USABLE), FOUND, STS(ENFORCE, false)}, "dane", "4.7.5",
     TLS_WHY_DANE_USABLE},
    {"but no forged MX with DANE of its own", {DANE(USABLE), STS(ENFORCE, false)}, "defer", "4.7.5",
     TLS_WHY_STS_MISMATCH},
    {"an unsigned MX that MTA-STS names", {DANE(USABLE), STS(ENFORCE, true)}, "dane", "4.7.5", TLS_WHY_DANE_USABLE},
    {"MTA-STS saves no failed DANE", {DANE(DEFER), STS(ENFORCE, true)}, "defer", "4.7.5", TLS_WHY_DANE_FAILED},
    {"MTA-STS says more than unusable DANE", {DANE(UNUSABLE), STS(ENFORCE, true)}, "pkix host", "4.7.5",
     TLS_WHY_STS_ENFORCE},
    /* the administrator */
    {"no TLS", {RULE(NONE), DANE(USABLE), FOUND, STS(ENFORCE, true)}, "plain", "", TLS_WHY_RULE_NONE},
    {"may", {RULE(MAY), DANE(DEFER), FOUND, STS(ENFORCE, false), SEEN(TLS)}, "opportunistic or-plain", "4.7.4",
     TLS_WHY_RULE_MAY},
    {"encrypt", {RULE(ENCRYPT), DANE(NONE)}, "encrypt", "4.7.4", TLS_WHY_RULE_ENCRYPT},
    {"encrypt and DANE", {RULE(ENCRYPT), DANE(USABLE), FOUND}, "dane", "4.7.5", TLS_WHY_DANE_USABLE},
    {"verify", {RULE(VERIFY), DANE(NONE), FOUND}, "pkix host next-hop", "4.7.5", TLS_WHY_RULE_VERIFY},
    {"verify, unsigned MX", {RULE(VERIFY), DANE(NONE)}, "pkix next-hop", "4.7.5", TLS_WHY_RULE_VERIFY},
    {"verify and MTA-STS", {RULE(VERIFY), DANE(NONE), STS(ENFORCE, true)}, "pkix host", "4.7.5", TLS_WHY_STS_ENFORCE},
    {"verify and DANE", {RULE(VERIFY), DANE(USABLE), FOUND}, "dane", "4.7.5", TLS_WHY_DANE_USABLE},
    {"verify and DANE behind an unsigned MX", {RULE(VERIFY), DANE(USABLE)}, "pkix next-hop", "4.7.5",
     TLS_WHY_RULE_VERIFY},
    {"verify and unusable DANE", {RULE(VERIFY), DANE(UNUSABLE), FOUND}, "pkix host next-hop", "4.7.5",
     TLS_WHY_RULE_VERIFY},
    {"DANE only", {RULE(DANE_ONLY), DANE(USABLE), FOUND, STS(ENFORCE, false)}, "dane", "4.7.5",
     TLS_WHY_RULE_DANE_ONLY},
    {"DANE only, and none", {RULE(DANE_ONLY), DANE(NONE), FOUND}, "defer", "4.7.5", TLS_WHY_DANE_MISSING},
    {"DANE only, none usable", {RULE(DANE_ONLY), DANE(UNUSABLE), FOUND}, "defer", "4.7.5", TLS_WHY_DANE_MISSING},
    {"DANE only, unsigned MX", {RULE(DANE_ONLY), DANE(USABLE)}, "defer", "4.7.5", TLS_WHY_DANE_MISSING},
    {"DANE only, failed", {RULE(DANE_ONLY), DANE(DEFER), FOUND}, "defer", "4.7.5", TLS_WHY_DANE_FAILED},
    {"fingerprint", {RULE(FINGERPRINT), DANE(DEFER), STS(ENFORCE, false), NO}, "fingerprint", "4.7.5",
     TLS_WHY_RULE_FINGERPRINT},
    /* REQUIRETLS */
    {"required, nothing to go by", {DANE(NONE), REQ}, "refuse", "5.7.30", TLS_WHY_REQUIRETLS_INSECURE},
    {"required, signed MX", {DANE(NONE), FOUND, REQ}, "pkix host", "5.7.30", TLS_WHY_REQUIRETLS},
    {"required, DANE", {DANE(USABLE), FOUND, REQ}, "dane", "5.7.30", TLS_WHY_DANE_USABLE},
    {"required, DANE behind an unsigned MX", {DANE(USABLE), REQ}, "refuse", "5.7.30", TLS_WHY_REQUIRETLS_INSECURE},
    {"required, unusable DANE", {DANE(UNUSABLE), FOUND, REQ}, "pkix host", "5.7.30", TLS_WHY_REQUIRETLS},
    {"required, MTA-STS", {DANE(NONE), STS(ENFORCE, true), REQ}, "pkix host", "5.7.30", TLS_WHY_STS_ENFORCE},
    {"required, MTA-STS tested", {DANE(NONE), STS(TESTING, true), REQ}, "pkix host", "5.7.30", TLS_WHY_REQUIRETLS},
    {"required, DANE failed", {DANE(DEFER), FOUND, REQ}, "defer", "4.7.5", TLS_WHY_DANE_FAILED},
    {"required, and no TLS there", {RULE(NONE), DANE(NONE), FOUND, REQ}, "refuse", "5.7.30",
     TLS_WHY_REQUIRETLS_NO_TLS},
    {"required says more than may", {RULE(MAY), DANE(USABLE), FOUND, REQ}, "dane", "5.7.30", TLS_WHY_DANE_USABLE},
    {"required, fingerprint", {RULE(FINGERPRINT), DANE(NONE), REQ}, "fingerprint", "5.7.30",
     TLS_WHY_RULE_FINGERPRINT},
    {"required and not required", {DANE(NONE), FOUND, REQ, NO}, "pkix host", "5.7.30", TLS_WHY_REQUIRETLS},
    {"required, DANE only, none", {RULE(DANE_ONLY), DANE(NONE), FOUND, REQ}, "defer", "4.7.5", TLS_WHY_DANE_MISSING},
    /* TLS-Required: No */
    {"not required", {DANE(USABLE), FOUND, STS(ENFORCE, false), SEEN(VERIFIED), NO}, "opportunistic or-plain",
     "4.7.4", TLS_WHY_NOT_REQUIRED},
    {"not required, DANE failed", {DANE(DEFER), FOUND, NO}, "opportunistic or-plain", "4.7.4", TLS_WHY_NOT_REQUIRED},
    {"not required, encrypt", {RULE(ENCRYPT), DANE(USABLE), FOUND, NO}, "encrypt", "4.7.4", TLS_WHY_RULE_ENCRYPT},
    {"not required, verify", {RULE(VERIFY), DANE(USABLE), FOUND, NO}, "pkix host next-hop", "4.7.5",
     TLS_WHY_RULE_VERIFY},
    {"not required, DANE only", {RULE(DANE_ONLY), DANE(USABLE), FOUND, NO}, "dane", "4.7.5", TLS_WHY_RULE_DANE_ONLY},
};
/* clang-format on */

static void judges_named_rows(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_level_verdict v;
        char got[64], esc_mem[16];
        struct buf esc;
        buf_init_fixed(&esc, esc_mem, sizeof esc_mem);
        tls_level_judge(&rows[i].f, &v);
        esc_format(v.esc, &esc);
        (void)snprintf(got, sizeof got, "%s%s%s%s", tls_level_word(v.level),
                       (v.names & TLS_NAME_HOST) != 0 ? " host" : "",
                       (v.names & TLS_NAME_NEXT_HOP) != 0 ? " next-hop" : "",
                       v.may_fall_back ? " or-plain" : "");
        bool ok = strcmp(got, rows[i].want) == 0 && v.n_why > 0 && v.why[0] == rows[i].why &&
                  str_eq(buf_str(&esc), str_from_c(rows[i].esc));
        if (!ok)
            print_message("# %s: %s, %.*s, %s\n", rows[i].name, got, STR_FMT(buf_str(&esc)),
                          tls_why_text(v.why[0]));
        assert_true(ok);
    }
}

/* ---- all of them --------------------------------------------------------------------------------------- */

enum { N_DANE = 4, N_STS = 3, N_SEEN = 3, N_ALL = TLS_RULES * N_DANE * 2 * N_STS * 2 * 2 * 2 * N_SEEN };
static const enum dane_result danes[N_DANE] = {DANE_NONE, DANE_UNUSABLE, DANE_USABLE, DANE_DEFER};

static struct tls_level_facts facts(unsigned i)
{
    struct tls_level_facts f = {0};
    f.rule = (enum tls_rule)(i % TLS_RULES);
    i /= TLS_RULES;
    f.dane = danes[i % N_DANE];
    i /= N_DANE;
    f.sts = (enum mta_sts_mode)(i % N_STS);
    i /= N_STS;
    f.seen = (enum tls_seen)(i % N_SEEN);
    i /= N_SEEN;
    f.is_found_securely = i & 1;
    f.sts_matches = i & 2;
    f.requiretls = i & 4;
    f.tls_required_no = i & 8;
    return f;
}

/* How safe: what is not sent is safest. */
static int rank_of(struct tls_level_facts f)
{
    struct tls_level_verdict v;
    tls_level_judge(&f, &v);
    switch (v.level) {
    case TLS_LEVEL_PLAIN:
        return 0;
    case TLS_LEVEL_OPPORTUNISTIC:
        return v.may_fall_back ? 1 : 2;
    case TLS_LEVEL_ENCRYPT:
        return 3;
    case TLS_LEVEL_PKIX:
    case TLS_LEVEL_DANE:
    case TLS_LEVEL_FINGERPRINT:
        return 4;
    case TLS_LEVEL_DEFER:
    case TLS_LEVEL_REFUSE:
        return 5;
    case TLS_LEVELS:
        break;
    }
    fail();
    return -1;
}
enum { RANK_AUTHENTIC = 4 };

static bool at_least(int rank, int other)
{
    return rank >= (other > RANK_AUTHENTIC ? RANK_AUTHENTIC : other);
}

static void check_form(const struct tls_level_facts *f)
{
    struct tls_level_verdict v;
    tls_level_judge(f, &v);
    assert_true(v.n_why > 0 && v.n_why <= TLS_WHY_MAX);
    for (size_t i = 0; i < v.n_why; i++) {
        assert_true(v.why[i] < TLS_WHYS && strlen(tls_why_text(v.why[i])) > 10);
        for (size_t k = 0; k < i; k++)
            assert_true(v.why[i] != v.why[k]);
    }
    assert_true(!v.may_fall_back || v.level == TLS_LEVEL_OPPORTUNISTIC);
    assert_true((v.names != 0) == (v.level == TLS_LEVEL_PKIX));
    assert_true((v.esc.class == 0) == (v.level == TLS_LEVEL_PLAIN));
    assert_true(v.level != TLS_LEVEL_DANE || f->dane == DANE_USABLE);
    assert_true((v.level == TLS_LEVEL_FINGERPRINT) == (f->rule == TLS_RULE_FINGERPRINT));
    assert_true(v.level != TLS_LEVEL_DEFER || v.esc.class == 4);
    assert_true(v.level != TLS_LEVEL_REFUSE || (v.esc.class == 5 && f->requiretls));
    /* a name that may be forged authenticates nothing by itself */
    bool is_known = f->is_found_securely || (f->sts != MTA_STS_NONE && f->sts_matches);
    assert_true((v.names & TLS_NAME_HOST) == 0 || is_known);
    if (f->requiretls)
        assert_true(v.level >= TLS_LEVEL_PKIX && (is_known || v.level != TLS_LEVEL_DANE));
    if (f->rule == TLS_RULE_DANE_ONLY)
        assert_true(v.level == TLS_LEVEL_DEFER || (v.level == TLS_LEVEL_DANE && f->is_found_securely));
}

static void holds_for_all_facts(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < N_ALL; i++) {
        struct tls_level_facts f = facts(i), g = f;
        check_form(&f);
        int rank = rank_of(f);
        if (!f.requiretls) { /* one more demand never makes it less safe */
            g.requiretls = true;
            assert_true(rank_of(g) >= RANK_AUTHENTIC && at_least(rank_of(g), rank));
        }
        g = f;
        g.tls_required_no =
            true; /* lowers what the domain asks for to what the administrator does, no further */
        assert_true(rank_of(g) <= rank);
        if (f.requiretls)
            assert_int_equal(rank_of(g), rank);
        g.dane = f.rule == TLS_RULE_DANE_ONLY ? g.dane : DANE_NONE;
        g.sts = MTA_STS_NONE;
        g.seen = TLS_SEEN_NOTHING;
        if (!f.requiretls) {
            struct tls_level_facts no = f;
            no.tls_required_no = true;
            int floor = rank_of(g);
            g.tls_required_no = false;
            assert_int_equal(rank_of(no), floor);
            assert_int_equal(floor, rank_of(g));
        }
        g = f;
        g.dane = DANE_NONE;
        assert_true(at_least(rank, rank_of(g)));
        g.dane = DANE_UNUSABLE;
        if (f.dane == DANE_USABLE)
            assert_true(at_least(rank, rank_of(g)));
        g = f;
        g.sts = MTA_STS_NONE;
        assert_true(at_least(rank, rank_of(g)));
        if (f.sts == MTA_STS_TESTING && !f.requiretls)
            assert_int_equal(rank, rank_of(g));
        g = f;
        g.seen = TLS_SEEN_NOTHING;
        assert_true(rank >= rank_of(g));
    }
}

static void rules_are_a_ladder(void **state)
{
    UNUSED(state);
    static const enum tls_rule ladder[] = {TLS_RULE_NONE,    TLS_RULE_MAY,    TLS_RULE_DANE,
                                           TLS_RULE_ENCRYPT, TLS_RULE_VERIFY, TLS_RULE_DANE_ONLY};
    for (unsigned i = 0; i < N_ALL; i += TLS_RULES) { /* rules count fastest */
        for (size_t k = 1; k < ARRAY_LEN(ladder); k++) {
            struct tls_level_facts low = facts(i), high = low;
            low.rule = ladder[k - 1];
            high.rule = ladder[k];
            assert_true(at_least(rank_of(high), rank_of(low)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_named_rows),
        cmocka_unit_test(holds_for_all_facts),
        cmocka_unit_test(rules_are_a_ladder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
