/* policy/policy.h: who may send what to whom, and where mail goes: facts in, verdict out; no I/O, no state.
 *
 * The structures are filled by config/ and immutable. Domain names are lower case (ASCII folded; U-labels as they are).
 */
#pragma once
#include "base/netaddr.h"
#include "wire/address.h"

enum deliver_kind { DELIVER_NONE = 0, DELIVER_MAILDIR, DELIVER_LMTP };
struct deliver { /* what a domain does with its mail */
    enum deliver_kind kind;
    struct str maildir;   /* template: %u user, %d domain, %% percent; absolute */
    struct str user_name; /* who the delivering process becomes */
    uint32_t uid, gid;    /* UINT32_MAX: we are not root and stay who we are */
    struct netaddr lmtp;  /* DELIVER_LMTP */
    struct str lmtp_host; /* DELIVER_LMTP by host name and lmtp.port, or empty */
};
struct local_domain {
    struct str name;
    struct str same_as;      /* the name of another local domain whose users these are, or empty (resolved at load) */
    bool any_user;           /* every well-formed user exists */
    const struct str *users; /* sorted by str_icmp, lower case */
    size_t n_users;
    struct str catchall;     /* a user of this domain or a full address, or empty */
    struct deliver deliver;
};
struct policy_route { /* the smart host of this stage: one for all */
    struct str via_host;  /* name, or empty when via_addr is set */
    struct netaddr via_addr;
    uint16_t via_port;
};
struct policy_conf {
    struct str hostname;
    struct str postmaster;               /* full address, or empty */
    const struct local_domain *domains;  /* sorted by str_icmp of the name */
    size_t n_domains;
    const struct netblock *relay_from;
    size_t n_relay_from;
    bool has_smart_host;
    struct policy_route smart_host;
};

enum rcpt_class {
    RCPT_LOCAL = 0,     /* a user of ours (or postmaster, abuse) */
    RCPT_RELAY,         /* a foreign domain and the client may relay */
    RCPT_RELAY_DENIED,  /* 550 5.7.1 */
    RCPT_NO_SUCH_USER,  /* 550 5.1.1 */
    RCPT_BAD_ADDRESS,   /* 550 5.1.3: a bare name other than postmaster, an address literal */
};
/* The verdict on one RCPT. <postmaster>, postmaster@ and abuse@ of each local domain are RCPT_LOCAL before anything
 * else (RFC 5321 4.5.1, RFC 2142). A local part of an any_user domain that holds % ! @ / or a control character, or is
 * "." or "..", is RCPT_NO_SUCH_USER: it looks like a source route or a path. */
enum rcpt_class policy_rcpt(const struct policy_conf *p, const struct netaddr *client, const struct address *to);
bool policy_may_relay(const struct policy_conf *p, const struct netaddr *client);
/* NULL when the domain is not ours. Case folded. */
const struct local_domain *policy_domain(const struct policy_conf *p, struct str name);
bool policy_has_user(const struct local_domain *d, struct str user);

enum route_kind {
    ROUTE_MAILDIR = 0,
    ROUTE_LMTP,
    ROUTE_HOST,  /* the smart host */
    ROUTE_MX,    /* by MX of `domain` */
    ROUTE_NOWHERE, /* no such user any more (the configuration changed): fails with 5.1.1 */
};
struct route {
    enum route_kind kind;
    const struct deliver *deliver; /* MAILDIR, LMTP */
    struct str user;               /* MAILDIR: the user whose Maildir it is, in the arena or the address */
    struct str domain;             /* MAILDIR: its domain; MX: the domain to look up, lower case */
    struct str rcpt;               /* the envelope recipient from here on (a catch-all or postmaster may change it) */
};
/* Where an accepted recipient goes. Text is put into `text` (the caller's fixed buffer with at least 1 KiB free;
 * less is our bug), slices borrow from it, from rcpt or from p. Redirections (postmaster, catch-all to a full
 * address) are followed at most 4 times. */
void policy_route(const struct policy_conf *p, struct str rcpt, struct buf *text, struct route *out);
/* The key of a destination site, what concurrency and back-off are counted by: "maildir:/var/vmail/..." is one site per
 * deliver user, "lmtp:ADDR", "host:NAME:PORT", "mx:DOMAIN" (rolled up to its MX set later). */
void policy_site(const struct policy_conf *p, const struct route *r, struct buf *out);
/* The Maildir of a user: the template filled in. false when user or domain hold '/', NUL, control characters, begin
 * with '.' or are empty: such a name never becomes a path. */
MUST_USE bool policy_maildir(const struct deliver *d, struct str user, struct str domain, struct buf *out);
