/* verify/mta_sts_own.h: the policy of MTA-STS (RFC 8461 3.2) that a domain of ours publishes: its text, and
 * the id of the record that announces it.
 *
 * Owns:     nothing.
 * Limits:   MTA_STS_OWN_MX_MAX patterns; the text has at most MTA_STS_OWN_MAX octets.
 * Errors:   none: the configuration has checked what goes in.
 */
#pragma once
#include "verify/mta_sts.h"

enum {
    MTA_STS_OWN_MX_MAX = 32, /* as many as are kept of others' MX records */
    MTA_STS_OWN_MAX = 12 * 1024,
    MTA_STS_OWN_AGE_S =
        7 * 24 * 3600, /* where nothing else is said: 3.2 wants weeks, a mistake wants hours */
};

struct mta_sts_own {
    enum mta_sts_mode mode;
    uint32_t max_age_s;
    const struct str *mx; /* "mx.example.org", "*.example.org"; of MTA_STS_NONE none are said */
    size_t n_mx;
};
void mta_sts_own_policy(const struct mta_sts_own *p, struct buf *out);
/* Another text has another id, and the same text the same one (3.1, 3.3). */
void mta_sts_own_id(struct str policy, struct buf *out);
