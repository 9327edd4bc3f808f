#include "verify/tls_level.h"

#include <string.h>

#define ESC_NOT_AUTHENTICATED ESC(4, 7, 5) /* RFC 3463 3.8: cryptographic failure */
#define ESC_NO_TLS ESC(4, 7, 4)            /* RFC 3463 3.8: security features not supported */
#define ESC_REQUIRETLS ESC(5, 7, 30)       /* RFC 8689 */

static void say(struct tls_level_verdict *v, enum tls_why w)
{
    must(v->n_why < TLS_WHY_MAX);
    v->why[v->n_why++] = w;
}

static void decide(struct tls_level_verdict *v, enum tls_level level, struct esc esc, enum tls_why w)
{
    v->level = level;
    v->esc = esc;
    say(v, w);
}

static void decide_pkix(struct tls_level_verdict *v, unsigned names, struct esc esc, enum tls_why w)
{
    decide(v, TLS_LEVEL_PKIX, esc, w);
    v->names = names;
}

/* What the domain publishes and nobody looks at. */
static void say_set_aside(const struct tls_level_facts *f, struct tls_level_verdict *v)
{
    if (f->dane != DANE_NONE)
        say(v, TLS_WHY_DANE_SET_ASIDE);
    if (f->sts != MTA_STS_NONE)
        say(v, TLS_WHY_STS_SET_ASIDE);
}

static void decide_opportunistic(const struct tls_level_facts *f, struct tls_level_verdict *v, enum tls_why w)
{
    decide(v, TLS_LEVEL_OPPORTUNISTIC, ESC_NO_TLS, w);
    v->may_fall_back = true;
    if (f->seen != TLS_SEEN_NOTHING && w != TLS_WHY_NOT_REQUIRED && w != TLS_WHY_RULE_MAY) {
        v->may_fall_back = false;
        say(v, TLS_WHY_SEEN);
    }
}

/* What is published. false: nothing of it decides. is_demanded: the server has to be authenticated, and a
 * host that DNS may have made up does not count as that. */
static bool decide_published(const struct tls_level_facts *f, bool is_demanded, struct tls_level_verdict *v)
{
    bool enforce = f->sts == MTA_STS_ENFORCE;
    bool is_host_known = f->is_found_securely || (enforce && f->sts_matches);
    if (enforce && !f->sts_matches && !(f->dane == DANE_USABLE && f->is_found_securely)) {
        decide(v, TLS_LEVEL_DEFER, ESC_NOT_AUTHENTICATED, TLS_WHY_STS_MISMATCH);
        return true;
    }
    if (f->dane == DANE_DEFER) {
        decide(v, TLS_LEVEL_DEFER, ESC_NOT_AUTHENTICATED, TLS_WHY_DANE_FAILED);
        return true;
    }
    if (f->dane == DANE_USABLE && (is_host_known || !is_demanded)) {
        decide(v, TLS_LEVEL_DANE, ESC_NOT_AUTHENTICATED, TLS_WHY_DANE_USABLE);
        if (enforce)
            say(v, TLS_WHY_STS_SET_ASIDE);
        return true;
    }
    if (enforce) { /* and it matches */
        decide_pkix(v, TLS_NAME_HOST, ESC_NOT_AUTHENTICATED, TLS_WHY_STS_ENFORCE);
        return true;
    }
    if (f->dane == DANE_UNUSABLE && !is_demanded) {
        decide(v, TLS_LEVEL_ENCRYPT, ESC_NO_TLS, TLS_WHY_DANE_UNUSABLE);
        return true;
    }
    return false;
}

static void decide_requiretls(const struct tls_level_facts *f, struct tls_level_verdict *v)
{
    bool is_host_known = f->is_found_securely || (f->sts != MTA_STS_NONE && f->sts_matches);
    if (f->rule == TLS_RULE_DANE_ONLY && (f->dane != DANE_USABLE || !f->is_found_securely)) {
        decide(v, TLS_LEVEL_DEFER, ESC_NOT_AUTHENTICATED,
               f->dane == DANE_DEFER ? TLS_WHY_DANE_FAILED : TLS_WHY_DANE_MISSING);
    } else if (decide_published(f, true, v)) {
        ;
    } else if (is_host_known) {
        decide_pkix(v, TLS_NAME_HOST, ESC_REQUIRETLS, TLS_WHY_REQUIRETLS);
        return;
    } else {
        decide(v, TLS_LEVEL_REFUSE, ESC_REQUIRETLS, TLS_WHY_REQUIRETLS_INSECURE);
        return;
    }
    if (v->level != TLS_LEVEL_DEFER)
        v->esc = ESC_REQUIRETLS;
    say(v, TLS_WHY_REQUIRETLS);
}

/* The floors; is_open: what the domain publishes counts. */
static void decide_rule(const struct tls_level_facts *f, bool is_open, struct tls_level_verdict *v)
{
    bool is_demanded = f->rule == TLS_RULE_VERIFY;
    if (f->rule == TLS_RULE_DANE_ONLY) {
        if (f->dane == DANE_USABLE && f->is_found_securely)
            decide(v, TLS_LEVEL_DANE, ESC_NOT_AUTHENTICATED, TLS_WHY_RULE_DANE_ONLY);
        else
            decide(v, TLS_LEVEL_DEFER, ESC_NOT_AUTHENTICATED,
                   f->dane == DANE_DEFER ? TLS_WHY_DANE_FAILED : TLS_WHY_DANE_MISSING);
        return;
    }
    if (is_open && decide_published(f, is_demanded, v))
        return;
    if (f->rule == TLS_RULE_VERIFY) {
        /* a name that DNS may have made up says nothing: then the certificate is for the domain itself */
        decide_pkix(v, TLS_NAME_NEXT_HOP | (f->is_found_securely ? TLS_NAME_HOST : 0), ESC_NOT_AUTHENTICATED,
                    TLS_WHY_RULE_VERIFY);
    } else if (f->rule == TLS_RULE_ENCRYPT) {
        decide(v, TLS_LEVEL_ENCRYPT, ESC_NO_TLS, TLS_WHY_RULE_ENCRYPT);
    } else {
        decide_opportunistic(f, v, is_open ? TLS_WHY_RULE_DANE : TLS_WHY_NOT_REQUIRED);
    }
}

static bool has_said(const struct tls_level_verdict *v, enum tls_why w)
{
    for (size_t i = 0; i < v->n_why; i++) {
        if (v->why[i] == w)
            return true;
    }
    return false;
}

static void judge_published(const struct tls_level_facts *f, struct tls_level_verdict *out)
{
    if (f->requiretls) {
        decide_requiretls(f, out);
        if (f->tls_required_no)
            say(out, TLS_WHY_NOT_REQUIRED_IGNORED);
    } else if (f->rule == TLS_RULE_MAY) {
        decide_opportunistic(f, out, TLS_WHY_RULE_MAY);
        say_set_aside(f, out);
        return;
    } else {
        decide_rule(f, !f->tls_required_no, out);
        if (f->tls_required_no) {
            if (!has_said(out, TLS_WHY_NOT_REQUIRED))
                say(out, TLS_WHY_NOT_REQUIRED);
            if (f->rule != TLS_RULE_DANE_ONLY)
                say_set_aside(f, out);
            return;
        }
    }
    if (f->sts == MTA_STS_TESTING)
        say(out, TLS_WHY_STS_TESTING);
}

void tls_level_judge(const struct tls_level_facts *f, struct tls_level_verdict *out)
{
    must(f->dane != DANE_ASK);
    memset(out, 0, sizeof *out);
    if (f->rule == TLS_RULE_NONE && f->requiretls) {
        decide(out, TLS_LEVEL_REFUSE, ESC_REQUIRETLS, TLS_WHY_REQUIRETLS_NO_TLS);
        say(out, TLS_WHY_RULE_NONE);
    } else if (f->rule == TLS_RULE_NONE) {
        decide(out, TLS_LEVEL_PLAIN, ESC(0, 0, 0), TLS_WHY_RULE_NONE);
        say_set_aside(f, out);
    } else if (f->rule == TLS_RULE_FINGERPRINT) {
        decide(out, TLS_LEVEL_FINGERPRINT, f->requiretls ? ESC_REQUIRETLS : ESC_NOT_AUTHENTICATED,
               TLS_WHY_RULE_FINGERPRINT);
        say_set_aside(f, out);
    } else {
        judge_published(f, out);
    }
}

const char *tls_why_text(enum tls_why w)
{
    static const char *const texts[TLS_WHYS] = {
        [TLS_WHY_RULE_DANE] = "the domain asks for nothing: TLS where it can be had",
        [TLS_WHY_RULE_NONE] = "the administrator wants no TLS there",
        [TLS_WHY_RULE_MAY] = "the administrator wants TLS only where it can be had",
        [TLS_WHY_RULE_ENCRYPT] = "the administrator wants TLS there",
        [TLS_WHY_RULE_VERIFY] = "the administrator wants the server authenticated",
        [TLS_WHY_RULE_DANE_ONLY] = "the administrator wants DANE there",
        [TLS_WHY_RULE_FINGERPRINT] = "the administrator says which certificate the server has",
        [TLS_WHY_REQUIRETLS] = "the sender requires authenticated TLS (REQUIRETLS)",
        [TLS_WHY_REQUIRETLS_NO_TLS] = "the sender requires TLS, and the administrator wants none there",
        [TLS_WHY_REQUIRETLS_INSECURE] =
            "the sender requires TLS, and nothing proves that the host is the right one",
        [TLS_WHY_NOT_REQUIRED] = "the sender says that TLS does not matter (TLS-Required: No)",
        [TLS_WHY_NOT_REQUIRED_IGNORED] = "TLS-Required: No counts for nothing beside REQUIRETLS",
        [TLS_WHY_DANE_USABLE] = "DANE says whose the server is",
        [TLS_WHY_DANE_UNUSABLE] = "DANE promises TLS, but no record can be used",
        [TLS_WHY_DANE_FAILED] = "DANE could not be looked up, which may be an attack",
        [TLS_WHY_DANE_MISSING] = "the administrator wants DANE there, and it can't be had",
        [TLS_WHY_DANE_SET_ASIDE] = "what DANE says does not count here",
        [TLS_WHY_STS_ENFORCE] = "MTA-STS wants the server authenticated",
        [TLS_WHY_STS_MISMATCH] = "the MTA-STS policy does not name this host",
        [TLS_WHY_STS_TESTING] = "the MTA-STS policy is only tested",
        [TLS_WHY_STS_SET_ASIDE] = "the MTA-STS policy does not count here",
        [TLS_WHY_SEEN] = "the host spoke TLS before: without it something is wrong",
    };
    return (unsigned)w < TLS_WHYS ? texts[w] : "?";
}

const char *tls_level_word(enum tls_level l)
{
    static const char *const words[TLS_LEVELS] = {"plain", "opportunistic", "encrypt", "pkix",
                                                  "dane",  "fingerprint",   "defer",   "refuse"};
    return (unsigned)l < TLS_LEVELS ? words[l] : "?";
}
