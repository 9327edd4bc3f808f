/* verify/tls_level.h: how safe the connection to one mail server must be, and why: one pure function over all
 * that has a say.
 *
 * The order, the first that decides:
 *   1. the administrator's exceptions: NONE (no TLS), FINGERPRINT (this certificate);
 *   2. REQUIRETLS of the message (RFC 8689 4.2.1): an authenticated server that was found securely, or none;
 *   3. the administrator's MAY: what the domain publishes is set aside;
 *   4. the administrator's DANE_ONLY;
 *   5. DANE (RFC 7672), which goes before MTA-STS (RFC 8461 2), except where the MX was not signed and an
 *      enforced policy does not name the host: there MTA-STS is all that tells a forged MX;
 *   6. MTA-STS in mode enforce (RFC 8461 5);
 *   7. the administrator's floor: ENCRYPT, VERIFY.
 * "TLS-Required: No" of the message (RFC 8689 3, 4.2.2) takes 5 and 6 out, and nothing of the
 * administrator's; beside REQUIRETLS it counts for nothing.
 *
 * Security: one demand more never lets a message go less safely; the test enumerates all facts.
 */
#pragma once
#include "verify/dane.h"
#include "verify/mta_sts.h"
#include "wire/esc.h"

/* What the administrator says of the destination. */
enum tls_rule {
    TLS_RULE_DANE = 0,    /* the default: what the domain publishes counts, else TLS where it can be had */
    TLS_RULE_NONE,        /* never TLS */
    TLS_RULE_MAY,         /* TLS where it can be had, whatever is published: for domains that are broken */
    TLS_RULE_ENCRYPT,     /* as DANE, but never without TLS */
    TLS_RULE_VERIFY,      /* as ENCRYPT, and the server is authenticated by DANE or PKIX */
    TLS_RULE_DANE_ONLY,   /* by DANE, with a signed MX, or not at all */
    TLS_RULE_FINGERPRINT, /* the server has one of these certificates */
    TLS_RULES
};
/* What is known of the host from earlier. The owner forgets it in less time than mail waits in the queue: a
 * host that gave up TLS must get its mail in the end. */
enum tls_seen { TLS_SEEN_NOTHING = 0, TLS_SEEN_TLS, TLS_SEEN_VERIFIED };
struct tls_level_facts {
    enum tls_rule rule;
    enum dane_result dane; /* of this host, not DANE_ASK */
    /* The host's name comes from signed MX records, or there is no MX (dane_verdict.is_next_hop_authentic),
     * or the administrator gave it. */
    bool is_found_securely;
    enum mta_sts_mode sts; /* of the policy in force for the domain; MTA_STS_NONE without one */
    bool sts_matches;      /* the host is one of the policy's */
    bool requiretls;
    bool tls_required_no;
    enum tls_seen seen;
};

enum tls_level {
    TLS_LEVEL_PLAIN = 0,
    TLS_LEVEL_OPPORTUNISTIC, /* TLS with anybody, if it is offered */
    TLS_LEVEL_ENCRYPT,       /* TLS with anybody */
    TLS_LEVEL_PKIX,          /* the certificate is trusted and for one of the names */
    TLS_LEVEL_DANE,          /* it matches the records of the dane_verdict */
    TLS_LEVEL_FINGERPRINT,   /* it is one of the rule's */
    TLS_LEVEL_DEFER,         /* not to this host now: the next one, or later */
    TLS_LEVEL_REFUSE,        /* not to this host; when all say so, not at all */
    TLS_LEVELS
};
enum { TLS_NAME_HOST = 1, TLS_NAME_NEXT_HOP = 2 };
enum tls_why {
    TLS_WHY_RULE_DANE = 0,
    TLS_WHY_RULE_NONE,
    TLS_WHY_RULE_MAY,
    TLS_WHY_RULE_ENCRYPT,
    TLS_WHY_RULE_VERIFY,
    TLS_WHY_RULE_DANE_ONLY,
    TLS_WHY_RULE_FINGERPRINT,
    TLS_WHY_REQUIRETLS,
    TLS_WHY_REQUIRETLS_NO_TLS,   /* against a rule NONE */
    TLS_WHY_REQUIRETLS_INSECURE, /* the host's name may be forged */
    TLS_WHY_NOT_REQUIRED,
    TLS_WHY_NOT_REQUIRED_IGNORED,
    TLS_WHY_DANE_USABLE,
    TLS_WHY_DANE_UNUSABLE,
    TLS_WHY_DANE_FAILED,
    TLS_WHY_DANE_MISSING, /* for DANE_ONLY */
    TLS_WHY_DANE_SET_ASIDE,
    TLS_WHY_STS_ENFORCE,
    TLS_WHY_STS_MISMATCH,
    TLS_WHY_STS_TESTING,
    TLS_WHY_STS_SET_ASIDE,
    TLS_WHY_SEEN,
    TLS_WHYS
};
enum { TLS_WHY_MAX = 6 };
struct tls_level_verdict {
    enum tls_level level;
    bool may_fall_back; /* OPPORTUNISTIC: when TLS fails, again without it. false: it spoke TLS before */
    unsigned names;     /* PKIX: TLS_NAME_* */
    struct esc esc;     /* DEFER, REFUSE; and when what the level wants can't be had */
    enum tls_why why[TLS_WHY_MAX]; /* what decided comes first, then what else was there and how it weighed */
    size_t n_why;
};
void tls_level_judge(const struct tls_level_facts *f, struct tls_level_verdict *out);
/* Short texts for journal and people; static. */
const char *tls_why_text(enum tls_why w);
const char *tls_level_word(enum tls_level l);
