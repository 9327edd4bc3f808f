/* policy/lookup.h: for this folder only: what a local part is in a domain of ours. */
#pragma once
#include "base/limits.h"
#include "policy/policy.h"

/* A domain of ours as an address names it. */
struct ours {
    const struct local_domain *domain;
    const struct local_domain *home; /* whose users and aliases it has: itself, or what it is same_as */
    struct str name;                 /* A-labels, lower case; not "*" */
};
enum found_kind {
    FOUND_NOTHING = 0,
    FOUND_ALIAS,
    FOUND_USER,     /* a mailbox here, or a recipient of a domain that we relay */
    FOUND_REDIRECT, /* mail goes to another address: postmaster, a catch-all */
    FOUND_REPORT,   /* by its form a return path of list mail (VERP) */
};
struct found {
    enum found_kind kind;
    const struct alias *alias;
    struct str user;     /* USER: lower or mixed case, borrowed from the local part, without the plus part */
    struct str detail;   /* USER: what stands behind the plus */
    struct str redirect; /* REDIRECT: a full address, or a name of home */
};
enum { LOOKUP_USE_ALIASES = 1, LOOKUP_NAME_MAX = SMTP_DOMAIN_MAX + 1 };

/* false: not ours. mem holds the name: a buffer of at least LOOKUP_NAME_MAX free octets. */
bool lookup_domain(const struct policy_conf *p, const struct address *a, struct buf *mem, struct ours *out);
/* local: unquoted. whole: the address it came from, so that postmaster's own address is not sent on to
 * itself. */
struct found lookup_local(const struct policy_conf *p, const struct ours *o, struct str local,
                          struct str whole, unsigned flags);
/* The local part as a user name: without quotes. false for what can't be one. */
bool lookup_user(const struct address *a, struct buf *out);
/* The domain of a bare <postmaster> when the configuration names no address; NULL: none. */
const struct local_domain *lookup_postmaster_domain(const struct policy_conf *p);
bool lookup_is_reserved(struct str user);
/* A-labels, lower case; false (and nothing appended) when it can't be a domain of any configuration. */
bool lookup_ascii(const struct policy_conf *p, struct str domain, struct buf *out);
bool lookup_is_own_address(const struct policy_conf *p, const struct netaddr *literal);
