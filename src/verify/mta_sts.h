/* verify/mta_sts.h: MTA-STS (RFC 8461): the TXT record, the policy, which hosts it allows, and when a policy
 * is in force or has to be fetched.
 *
 * Owns:     nothing; what is parsed borrows from the text.
 * Limits:   MTA_STS_POLICY_MAX, MTA_STS_MX_MAX, MTA_STS_ID_MAX, MTA_STS_MAX_AGE_S.
 * Errors:   a policy that is malformed anywhere is none; half a list of hosts would refuse good ones.
 * Security: the record comes by DNS that may be forged: it can only make us fetch; the policy is true because
 *           of the certificate of the HTTPS server it came from (3.3), which is the caller's to check. That a
 *           record is gone does not end a cached policy (5.1).
 */
#pragma once
#include "verify/txt_fields.h"

enum {
    MTA_STS_ID_MAX = 32,          /* 3.1 */
    MTA_STS_MAX_AGE_S = 31557600, /* 3.2: about a year */
    MTA_STS_REFRESH_S = 86400,    /* 10.2: a live policy is looked at anew each day */
    MTA_STS_RETRY_S = 300,        /* 3.3: not more often for one id after a fetch that failed */
};

/* Where the record of a domain is (3.1), and its policy (3.3: without redirects, text/plain, and the
 * certificate is for the host in it). The domain is the recipient's, A-labels, also where it is an alias. */
void mta_sts_record_name(struct str domain, struct buf *out);
void mta_sts_policy_host(struct str domain, struct buf *out);
void mta_sts_policy_url(struct str domain, struct buf *out);
/* The id of the one record there (3.1); borrowed from mem, which has room for DNS_TXT_MAX
 * octets. false: the domain has no MTA-STS: no such record, more than one, or a malformed one. */
MUST_USE bool mta_sts_record(const struct str *rdata, size_t n, struct buf *mem, struct str *out_id);

enum mta_sts_mode { MTA_STS_NONE = 0, MTA_STS_TESTING, MTA_STS_ENFORCE };
struct mta_sts_policy {
    enum mta_sts_mode mode;
    uint32_t max_age_s;
    struct str mx[MTA_STS_MX_MAX]; /* "mx.example.org", "*.example.org" */
    size_t n_mx;
};
/* 3.2. Keys that are unknown are passed over, of one that comes twice (mx aside) the first counts. NULL:
 * parsed. Else what is wrong, for people and for the failure-reason-code of a TLS report (RFC 8460); static
 * text. */
MUST_USE const char *mta_sts_policy(struct str body, struct mta_sts_policy *out);
/* 3.2: letters, digits and hyphens; a leading "*." is for exactly one label. */
bool mta_sts_is_pattern(struct str s);
/* 4.1: host (A-labels, a final dot is taken) is one of the policy's; "*" stands for exactly one label. */
bool mta_sts_matches(const struct mta_sts_policy *p, struct str host);
const char *mta_sts_mode_word(enum mta_sts_mode m);

/* ---- cache ---- */

enum mta_sts_dns { MTA_STS_DNS_FAILED = 0, MTA_STS_DNS_NONE, MTA_STS_DNS_RECORD };
struct mta_sts_facts {
    int64_t now_s;
    enum mta_sts_dns dns;
    struct str id; /* MTA_STS_DNS_RECORD: what mta_sts_record() gave */
    bool has_cached;
    struct str cached_id;
    int64_t cached_at_s; /* when it was fetched, or last found unchanged */
    uint32_t cached_max_age_s;
    bool has_failed; /* the last fetch did */
    struct str failed_id;
    int64_t failed_at_s;
};
struct mta_sts_plan {
    bool apply;      /* the cached policy is in force */
    bool fetch;      /* get the policy now; when that fails nothing changes but has_failed, failed_* */
    bool wait;       /* and mail waits for it: without the new policy it might go where that forbids */
    const char *why; /* static text for journal and people */
};
/* 3.3, 5.1. Pure. apply and wait may both be set: an id has changed; when the fetch fails, the cached policy
 * is applied. Neither apply nor fetch: the domain has no policy for now. */
struct mta_sts_plan mta_sts_plan(const struct mta_sts_facts *f);
