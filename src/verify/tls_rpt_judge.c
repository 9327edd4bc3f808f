#include "verify/tls_rpt_judge.h"

/* Was what the domain publishes asked at all? */
static bool is_open(const struct tls_level_facts *f)
{
    bool is_set_aside =
        f->rule == TLS_RULE_NONE || f->rule == TLS_RULE_MAY || f->rule == TLS_RULE_FINGERPRINT;
    return !is_set_aside && (f->requiretls || !f->tls_required_no);
}

/* By what decided; a demand of ours that goes further, or none at all, leaves what is there besides. */
static enum tls_rpt_type type_of(const struct tls_level_facts *f, enum tls_why why)
{
    bool is_dane = why == TLS_WHY_DANE_USABLE || why == TLS_WHY_DANE_UNUSABLE || why == TLS_WHY_DANE_FAILED ||
                   why == TLS_WHY_DANE_MISSING || why == TLS_WHY_RULE_DANE_ONLY;
    if (why == TLS_WHY_STS_ENFORCE || why == TLS_WHY_STS_MISMATCH)
        return TLS_RPT_STS;
    if (is_dane || f->dane == DANE_UNUSABLE)
        return TLS_RPT_TLSA;
    return f->sts == MTA_STS_TESTING ? TLS_RPT_STS : TLS_RPT_NO_POLICY;
}

static enum tls_rpt_result result_of(enum tls_fault fault)
{
    static const enum tls_rpt_result results[TLS_FAULTS] = {
        [TLS_FAULT_NONE] = TLS_RPT_VALIDATION_FAILURE,
        [TLS_FAULT_EXPIRED] = TLS_RPT_CERTIFICATE_EXPIRED,
        [TLS_FAULT_UNTRUSTED] = TLS_RPT_CERTIFICATE_NOT_TRUSTED,
        [TLS_FAULT_NAME] = TLS_RPT_CERTIFICATE_HOST_MISMATCH,
        /* none of the records is right for the server: the one result there is for them */
        [TLS_FAULT_RECORDS] = TLS_RPT_TLSA_INVALID,
        [TLS_FAULT_HANDSHAKE] = TLS_RPT_VALIDATION_FAILURE,
        [TLS_FAULT_OURS] = TLS_RPT_VALIDATION_FAILURE,
    };
    return results[fault];
}

static void fail(struct tls_rpt_verdict *v, enum tls_rpt_result r)
{
    v->is_ok = false;
    v->result = r;
}

static void judge_untried(enum tls_why why, struct tls_rpt_verdict *v)
{
    if (why == TLS_WHY_DANE_FAILED)
        fail(v, TLS_RPT_DNSSEC_INVALID);
    else if (why == TLS_WHY_DANE_MISSING)
        fail(v, TLS_RPT_DANE_REQUIRED);
    else if (why == TLS_WHY_STS_MISMATCH)
        fail(v, TLS_RPT_VALIDATION_FAILURE);
    else
        v->is_counted = false;
}

void tls_rpt_judge(const struct tls_level_facts *f, const struct tls_rpt_session *s,
                   struct tls_rpt_verdict *out)
{
    struct tls_level_verdict level;
    must((unsigned)s->fault < TLS_FAULTS);
    tls_level_judge(f, &level);
    *out = (struct tls_rpt_verdict){.is_counted = is_open(f) && s->fault != TLS_FAULT_OURS,
                                    .is_ok = true,
                                    .type = type_of(f, level.why[0])};
    bool is_tested = out->type == TLS_RPT_STS && f->sts == MTA_STS_TESTING;
    switch (s->end) {
    case TLS_RPT_END_UNTRIED:
        judge_untried(level.why[0], out);
        break;
    case TLS_RPT_END_NO_STARTTLS:
        /* where the policy does not name the host there would have been no connection */
        fail(out, is_tested && !f->sts_matches ? TLS_RPT_VALIDATION_FAILURE : TLS_RPT_STARTTLS_NOT_SUPPORTED);
        break;
    case TLS_RPT_END_BROKEN:
        fail(out, is_tested && !f->sts_matches ? TLS_RPT_VALIDATION_FAILURE : result_of(s->fault));
        break;
    case TLS_RPT_END_SECURED:
        if (out->type == TLS_RPT_TLSA && f->dane == DANE_UNUSABLE)
            fail(out,
                 TLS_RPT_TLSA_INVALID); /* encrypted, as RFC 7672 2.2 wants it, but the records are bad */
        else if (is_tested && !f->sts_matches)
            fail(out, TLS_RPT_VALIDATION_FAILURE);
        else if (is_tested && s->fault != TLS_FAULT_NONE)
            fail(out, result_of(s->fault));
        break;
    }
}
