/* ext/resolver.h: the resolver as the lookup role sees it; ext/unbound.c is the real one, the simulator has
 * its own.
 */
#pragma once
#include "base/str.h"
#include "wire/dnsrr.h"

enum resolver_status {
    RESOLVER_OK = 0,   /* records came (after following CNAMEs) */
    RESOLVER_NXDOMAIN, /* the name does not exist */
    RESOLVER_NODATA,
    RESOLVER_FAILED, /* SERVFAIL, time-out, no network */
    RESOLVER_BOGUS,  /* DNSSEC says the answer is forged */
};
struct resolver_answer {
    enum resolver_status status;
    bool is_secure; /* validated, and so was every CNAME on the way; false when it failed or is bogus */
    uint32_t ttl_s;
    const struct str *rdata; /* uncompressed; valid during the call */
    size_t n_rdata;
    struct str canonical; /* canonical name after CNAMEs, text form */
    struct str why;       /* for people, when it failed */
};
struct resolver_conf {             /* borrowed during configure() */
    const struct netaddr *servers; /* recursive servers to ask, with port; none: recursion from the root */
    size_t n_servers;
    struct str trust_anchor; /* DS or DNSKEY records of the root as zone file text; empty: no validation */
    struct str root_hints; /* zone file text, of which the addresses count; empty: built into the resolver */
    struct str hosts; /* addresses of names that are not asked for, as in hosts(5); other lines don't count */
};
struct resolver {
    void *self;
    /* Sets it up, before the first question; again on a reload: then the cache is empty again and questions
     * that are open are answered RESOLVER_FAILED. No file is read. false: text for people in why, and all
     * stays as it was. NULL: nothing to set up. */
    bool (*configure)(void *self, const struct resolver_conf *conf, struct buf *why);
    /* fn is called once, later. name: text, no final dot. false: too many questions open or no memory. */
    bool (*ask)(void *self, struct str name, enum dns_type type,
                void (*fn)(void *arg, const struct resolver_answer *a), void *arg);
};
