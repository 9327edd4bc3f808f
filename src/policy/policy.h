/* policy/policy.h: who may send what to whom, what a recipient becomes, and where mail goes: facts in, verdict
 * out; no I/O, no state.
 *
 * Owns:     nothing. The structures are filled by config/ and immutable; what the functions give borrows from them,
 *           from the arguments, or from the caller's buffer or arena.
 * Names:    domains are A-labels in lower case (RFC 5890); a U-label in an address is turned into one by `to_ascii`.
 *           Users and aliases are lower case (ASCII folded).
 * Limits:   EXPAND_TARGETS_MAX, EXPAND_DEPTH_MAX, ALIAS_PIPES_MAX.
 */
#pragma once
#include "base/arena.h"
#include "base/limits.h"
#include "base/netaddr.h"
#include "wire/address.h"
#include "wire/esc.h"
#include "wire/params.h"
#include "wire/verp.h"

enum {
    EXPAND_TARGETS_MAX = 10000, /* addresses that one recipient may lead to, those on the way counted too */
    EXPAND_DEPTH_MAX = 20,      /* steps on the longest way */
    ALIAS_PIPES_MAX = 255,      /* programs of one alias: struct rcpt numbers them with an octet */
    PIPE_WORDS_MAX = 64,
};

/* ---- what the configuration says ---- */

struct next_hop { /* a host by name, or by address; the port stands in addr either way */
    struct str host;     /* empty when addr is an address */
    struct netaddr addr; /* by name: kind NETADDR_NONE */
    bool lmtp;
    bool is_smtps; /* TLS before the greeting (RFC 8314 3.3) */
};
enum hop_tls {       /* what a connection to the next hop is, at least */
    HOP_TLS_MAY = 0, /* TLS where it is offered, with anybody */
    HOP_TLS_NONE,    /* in the clear, whatever is offered */
    HOP_TLS_ENCRYPT, /* TLS, with anybody */
    HOP_TLS_VERIFY,  /* TLS, with the host that is meant: its certificate says so (PKIX) */
    HOP_TLS_ANY,     /* as MAY, whatever the domain publishes and whatever the host did before */
    HOP_TLS_DANE,    /* TLS, with the host that signed TLSA records tell, or not at all */
    HOP_TLS_KINDS,
};
/* "may", "none", "encrypt", "verify", "any", "dane" */
const char *hop_tls_word(enum hop_tls t);
/* The kind of that name. false: there is none. */
bool hop_tls_of_word(struct str word, enum hop_tls *out);
/* May mail go that way in the clear? */
bool hop_tls_is_weak(enum hop_tls t);
struct hop_login { /* for a next hop that asks who we are (RFC 4954); no user: we have none */
    struct str user;
    /* The path of the file that holds the password: a name, what is in it is relay's alone. Empty: the certificate
     * of the route says that it is us (SASL EXTERNAL). */
    struct str secret;
};
struct hop_certificate { /* who we are for a next hop that asks in TLS; no cert: nobody */
    struct str cert, key; /* paths of PEM files: the chain, its own first; the private key */
};
struct source_pool { /* addresses that mail leaves from */
    struct str name;
    const struct netaddr *addrs; /* IPv4 and IPv6, without port */
    size_t n_addrs;
    struct str helo; /* what EHLO says from there, or empty: the hostname */
};

enum deliver_kind { DELIVER_NONE = 0, DELIVER_MAILDIR, DELIVER_LMTP, DELIVER_PIPE };
struct deliver { /* what a domain does with its mail, or an alias's program */
    enum deliver_kind kind;
    bool forward;         /* MAILDIR of system users: their ~/.forward is read first */
    struct str maildir;   /* template: %u user, %d domain, %h home of a system user, %% percent; absolute or %h first */
    const struct str *argv; /* PIPE: the program's absolute path and its words; templates but the first: %u user,
                               %d domain, %s envelope sender, %r recipient, %t what stands behind the plus, %% */
    size_t n_argv;
    uint32_t time_limit_s; /* PIPE: when the program is ended */
    struct str user_name; /* who the delivering process becomes; of system users each is his own */
    uint32_t uid, gid;    /* UINT32_MAX: we are not root and stay who we are, or it is each system user */
    struct netaddr lmtp;  /* LMTP */
    struct str lmtp_host; /* LMTP by host name and lmtp.port, or empty */
};

enum alias_target_kind {
    ALIAS_ADDRESS = 0,
    ALIAS_SELF, /* the mailbox of this address, whatever aliases say: "\name", or an alias that names itself */
    ALIAS_PIPE,
};
struct alias_target {
    enum alias_target_kind kind;
    struct str text;            /* ADDRESS, SELF: the full address; PIPE: the command as it was written */
    const struct deliver *pipe; /* PIPE: kind DELIVER_PIPE */
};
struct alias {
    struct str name; /* the local part */
    const struct alias_target *targets;
    size_t n_targets;
    struct str owner; /* the full address owner-NAME when there is such an alias: this is a list then */
};
struct system_user {
    struct str name, home;
    uint32_t uid, gid; /* never 0; UINT32_MAX: we are not root */
};

enum domain_relay { DOMAIN_ENDS_HERE = 0, DOMAIN_RELAY_MX, DOMAIN_RELAY_HOST };
struct local_domain {
    struct str name;         /* "*": every domain that is not named itself */
    struct str shown;        /* as it was given, when that is a U-label; or empty */
    struct str same_as;      /* the name of another local domain whose users these are, or empty (resolved at load) */
    bool any_user;           /* every well-formed user exists */
    bool callout;            /* relayed: the host that takes the mail is asked who exists */
    enum domain_relay relay; /* we pass it on: as a backup MX, or to via */
    struct next_hop via;     /* DOMAIN_RELAY_HOST */
    struct str plus;         /* what parts user and detail, any of these octets; empty: nothing does */
    uint32_t passwords;      /* which of the configuration's password files has its users' passwords, from 1; 0: none */
    uint32_t auth;           /* which of the configuration's struct auth_backend looks at them, from 1; 0: none */
    bool tokens;             /* access tokens of the identity provider log its users in, beside passwords */
    const struct str *users; /* sorted by str_icmp, lower case */
    size_t n_users;
    const struct system_user *system_users; /* likewise, by name */
    size_t n_system_users;
    const struct alias *aliases; /* likewise */
    size_t n_aliases;
    struct str catchall;     /* a user or alias of this domain or a full address, or empty */
    struct deliver deliver;
};

enum pattern_kind {
    PATTERN_ANY = 0,    /* "*" */
    PATTERN_DOMAIN,     /* "example.org", "*@example.org" */
    PATTERN_SUBDOMAINS, /* "*.example.org": those below it, not itself */
    PATTERN_ADDRESS,    /* "joe@example.org" */
    PATTERN_NULL,       /* "<>" */
};
struct pattern {
    enum pattern_kind kind;
    struct str domain; /* an A-label in lower case */
    struct str local;  /* ADDRESS: without quotes */
};
struct route_rule { /* for domains that are not ours; the first that matches decides */
    struct pattern from, to;
    struct str tag;  /* empty: any */
    bool is_mx;      /* by MX, else to via */
    struct next_hop via;
    enum hop_tls tls;
    struct hop_login auth;            /* for via only */
    struct hop_certificate certificate;
    const struct source_pool *source; /* or NULL */
};
struct sender_right { /* addresses that a login may send from beside its own */
    struct str login; /* a full address, lower case */
    const struct pattern *may;
    size_t n;
};
struct rewrite_name { /* a name of this machine that is somebody elsewhere */
    struct str name;  /* without quotes, lower case */
    struct str to;    /* a full address */
};
struct rewrite_conf { /* what submissions become: see policy/rewrite.h; all empty: they stay */
    struct str from;   /* the sender of all of them, a full address */
    struct str domain; /* of names of this machine; empty: the hostname */
    struct str to;     /* who gets the mail for names of this machine that `names` has not */
    const struct rewrite_name *names; /* sorted by str_icmp */
    size_t n_names;
};
struct policy_conf {
    struct str hostname;
    struct str postmaster;               /* full address, or empty */
    const struct local_domain *domains;  /* sorted by str_icmp of the name */
    size_t n_domains;
    const struct netblock *relay_from;
    size_t n_relay_from;
    const struct route_rule *routes;
    size_t n_routes;
    const struct source_pool *sources; /* sorted by name */
    size_t n_sources;
    const struct sender_right *senders; /* sorted by login */
    size_t n_senders;
    const struct netaddr *addresses; /* of this machine, as far as listeners name them (RFC 5321 4.1.3) */
    size_t n_addresses;
    uint16_t mx_port; /* of hosts that we find ourselves; 0: 25 */
    struct str verp; /* the local part that reports on list mail come back to (wire/verp.h), or empty */
    struct str arf;  /* who gets complaints (RFC 5965), or empty */
    struct rewrite_conf rewrite;
    /* A domain as A-labels in lower case, appended; false when it can't be one. NULL: U-labels match nothing.
     * config/ sets it. */
    bool (*to_ascii)(struct str domain, struct buf *out);
};

/* ---- verdicts ---- */

enum rcpt_class {
    RCPT_LOCAL = 0,     /* a user, alias or list of ours (or postmaster, abuse), or of a domain we relay */
    RCPT_RELAY,         /* a foreign domain and the client may relay */
    RCPT_CALLOUT,       /* ours, and the queue can find out whether it exists: in a domain to relay policy_route()
                           says which host knows; of what looks like a return path of list mail it knows the key */
    RCPT_RELAY_DENIED,  /* 550 5.7.1 */
    RCPT_NO_SUCH_USER,  /* 550 5.1.1 */
    RCPT_BAD_ADDRESS,   /* 550 5.1.3: a bare name other than postmaster, a literal that is no host's address */
};
/* The verdict on one RCPT. is_ours: the client is one of ours (relay_from, a login, the local socket) and may send
 * anywhere. <postmaster>, postmaster@ and abuse@ of each local domain are RCPT_LOCAL before anything else (RFC 5321
 * 4.5.1, RFC 2142). A local part that nobody listed and that holds % ! @ / or a control character, or begins with a
 * dot, is RCPT_NO_SUCH_USER: it looks like a source route or a path (in a relayed domain '/' and '.' may stand). At an
 * address literal of ours only postmaster lives; loopback addresses are nobody's. */
enum rcpt_class policy_rcpt(const struct policy_conf *p, bool is_ours, const struct address *to);
/* ---- logins ---- */

struct policy_login {
    struct str address;  /* "joe@example.org", lower case: how the login is called everywhere */
    struct str user;     /* "joe": whose line in the file; "joe/phone": that of his password for one program */
    uint32_t passwords;  /* the file: see struct local_domain; 0: none. With auth 0: no password logs him in */
    uint32_t auth;       /* likewise */
};
enum { POLICY_LOGIN_MAX = 2 * SMTP_LOCAL_PART_MAX + 1 + LOGIN_APP_MAX + 1 + SMTP_DOMAIN_MAX };
/* Who a client means that says `name`: an address, or the user alone where one domain only has logins; a password for
 * one program ("joe/phone") is a matter of files. The slices are put into mem: POLICY_LOGIN_MAX free octets. false: no
 * such domain; whether there is such a user is not known here. */
MUST_USE bool policy_login(const struct policy_conf *p, struct str name, struct buf *mem, struct policy_login *out);
/* May it give this envelope sender (RFC 6409 6.1)? Its own address with any detail and under each name of its domain,
 * an alias that leads to it alone, what `senders` says, and the null sender. pool: for what is forgotten again. */
MUST_USE bool policy_may_send(const struct policy_conf *p, struct chunk_pool *pool, struct str login,
                              const struct address *from);

/* Is the client in relay_from? */
bool policy_may_relay(const struct policy_conf *p, const struct netaddr *client);
/* NULL when the domain is not ours. Case folded; U-labels match; the domain "*" is what takes the rest. */
const struct local_domain *policy_domain(const struct policy_conf *p, struct str name);
/* Has the domain a mailbox of just this name? Aliases, catch-all and plus parts don't count. */
bool policy_has_user(const struct local_domain *d, struct str user);
/* Has an address the form of a return path of list mail (VERP), in a domain of ours that has lists? Whether its tag
 * is ours is the caller's to find out. The slices of *out borrow from mem: SMTP_LOCAL_PART_TAKEN_MAX octets. */
struct verp_path {
    struct verp parts;
    const struct local_domain *home; /* whose lists may have written it */
};
bool policy_verp(const struct policy_conf *p, struct str address, struct buf *mem, struct verp_path *out);
/* Is it the address that complaints come to (arf), under whichever of its names? */
bool policy_is_arf(const struct policy_conf *p, struct str address);
/* NULL when there is none of this name. Case folded. */
const struct system_user *policy_system_user(const struct local_domain *d, struct str name);
const struct alias *policy_alias(const struct local_domain *d, struct str name);
const struct source_pool *policy_source(const struct policy_conf *p, struct str name);

/* ---- what a recipient becomes ---- */

enum expansion_kind {
    EXPAND_NONE = 0, /* nothing to expand: policy_route() it as it is */
    EXPAND_ALIAS,
    EXPAND_FAILED, /* esc and phrase say why */
    EXPAND_REPORT, /* a return path of list mail by its form: policy_verp() */
};
struct expand_target {
    struct str address; /* of a pipe: the alias's, as it was reached */
    struct str owner;   /* the envelope sender from here on: owner-NAME of the innermost list (RFC 5321 3.9.2,
                           RFC 3461 5.2.7.3); empty: stays */
    uint8_t target;     /* 0, or the number of the alias's pipe */
    uint8_t flags;      /* RCPT_IS_EXPANDED */
};
struct expansion {
    enum expansion_kind kind;
    struct expand_target *targets; /* at least one of ALIAS; each final recipient once */
    size_t n_targets;
    struct esc esc;     /* FAILED: 5.4.6 a circle that leads to nobody, 4.3.5 too many or too deep */
    const char *phrase; /* FAILED: static English for reports and logs */
};
/* Follows aliases to their ends. A recipient with RCPT_IS_EXPANDED or a target number is not looked up again.
 * Each address is followed once, so lists that name each other give each member one copy; an alias that leads back
 * to itself means the mailbox of its name, if there is one. Addresses are borrowed
 * from the configuration, from in and from the arena. false: no memory. */
MUST_USE bool policy_expand(const struct policy_conf *p, const struct rcpt *in, struct arena *a,
                            struct expansion *out);
/* Appends a key that two recipients share when mail to both is one copy: domain folded and same_as resolved, local
 * part unquoted and, in domains of ours, folded (RFC 5321 2.4: a foreign one is left as it is). */
void policy_rcpt_key(const struct policy_conf *p, const struct rcpt *r, struct buf *out);
/* The program behind the target number of an alias's address; NULL when the configuration has none. */
const struct deliver *policy_pipe(const struct policy_conf *p, struct str address, uint8_t target);

/* ---- where it goes ---- */

enum route_kind {
    ROUTE_MAILDIR = 0,
    ROUTE_LMTP,
    ROUTE_HOST,    /* `via`: a smart host, the host of a relayed domain, the host of an address literal */
    ROUTE_MX,      /* by MX of `domain` */
    ROUTE_NOWHERE, /* no such user any more (the configuration changed): fails with 5.1.1 */
    ROUTE_PIPE,
};
struct route_ask {
    struct str sender; /* empty: the null sender */
    const struct rcpt *rcpt;
    struct str tag;
};
struct route {
    enum route_kind kind;
    const struct deliver *deliver; /* MAILDIR, LMTP, PIPE */
    struct str user;               /* MAILDIR, PIPE: the user whose mail it is, without the plus part */
    struct str detail;             /* the plus part, or empty */
    struct str domain;             /* MAILDIR, LMTP, PIPE: the user's domain; MX: the domain to look up; A-labels */
    struct str rcpt;               /* the envelope recipient from here on (a catch-all or postmaster may change it) */
    struct str login, home;        /* MAILDIR, PIPE: who the process becomes; home of a system user, or empty */
    uint32_t uid, gid;             /* likewise; UINT32_MAX: stays who it is */
    struct next_hop via;           /* HOST */
    enum hop_tls tls;              /* HOST, MX */
    struct hop_login auth;         /* HOST */
    struct str certificate;        /* HOST, MX: the path of cert, a name for it; or empty */
    const struct source_pool *source; /* HOST, MX: where to leave from, or NULL */
};
/* Where an accepted recipient goes after its expansion: aliases are not looked at. Text is put into `text` (the
 * caller's fixed buffer with at least 4 KiB free; less is our bug). Redirections (postmaster, catch-all to a full
 * address) are followed at most 4 times. */
void policy_route(const struct policy_conf *p, const struct route_ask *ask, struct buf *text, struct route *out);
/* The key of a destination site, what concurrency and back-off are counted by: "maildir:LOGIN" is one site per
 * deliver user, "pipe:PROGRAM", "lmtp:ADDR", "host:NAME:PORT", "lmtp:NAME:PORT", "mx:DOMAIN" (rolled up to its MX set
 * later). Behind the last three: " tls LEVEL" where that is not what goes without saying, " as USER" with a login and
 * " from POOL" when a source pool is chosen: each has a fate of its own. "smtps:NAME:PORT" is "host:" with TLS from the
 * start. */
void policy_site(const struct policy_conf *p, const struct route *r, struct buf *out);

/* What tls is when the route does not say it. */
enum hop_tls policy_usual_tls(const struct next_hop *via, bool has_login);
/* On this machine: a unix socket, a loopback address, "localhost". What is said there travels nowhere. */
bool policy_is_near(const struct next_hop *via);
/* The end of a site's name, for mx sites too. */
void policy_site_end(const struct route *r, struct buf *out);

/* ---- names that become paths and words ---- */

/* The Maildir of a user: the template filled in. false when user or domain hold '/', NUL, control characters, begin
 * with '.' or are empty, or home is no absolute path where %h stands: such a name never becomes a path. */
MUST_USE bool policy_maildir(const struct deliver *d, struct str user, struct str domain, struct str home,
                             struct buf *out);
struct pipe_facts {
    struct str user, domain, detail, sender, rcpt;
};
/* The i-th word of a PIPE, filled in and appended. NULL, or a static phrase why it must not run: a value with a control
 * character, or a word that would begin with '-' because of a value, which a program reads as an option. */
const char *policy_pipe_word(const struct deliver *d, size_t i, const struct pipe_facts *facts, struct buf *out);
