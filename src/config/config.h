/* config/config.h: one generation of the configuration: immutable, shared by nobody, handed to each role as octets.
 *
 * config_load() runs the Lua file once in a bare environment (no io, os, load, require of files outside the folder)
 * with an instruction and a memory budget, checks every key against the schema of config/schema.c, and fills the
 * structures. Errors say file, line, key, what was wrong, and what to do ("did you mean 'deliver'?").
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "ext/table.h"
#include "policy/policy.h"
#include "verify/mta_sts_own.h"

/* Where the commands and sendmail look for the server when nobody says otherwise. */
#define CONFIG_CONTROL_PATH "/run/waxwing/control"
#define CONFIG_SUBMIT_PATH "/run/waxwing/submit"

enum listen_tls { LISTEN_PLAIN = 0, LISTEN_STARTTLS, LISTEN_IMPLICIT };
enum listen_auth {
    LISTEN_NO_AUTH = 0,
    LISTEN_MAY_AUTH,  /* a login makes a client one of ours */
    LISTEN_MUST_AUTH, /* nobody sends without */
};
struct listener_conf {
    struct netaddr addr;
    enum listen_tls tls;
    enum listen_auth auth; /* only with TLS */
    bool lmtp;
    bool is_submit;  /* the unix socket of sendmail: who can connect is one of ours */
    bool submission; /* for users of ours only */
    bool has_proxy;  /* each connection begins with a PROXY header; others end there */
    const struct netblock *proxy_from; /* from these addresses only; none: from any */
    size_t n_proxy_from;
    struct str tag;        /* of its mail, for routes; or empty */
    struct str tag_header; /* the field whose value is the tag, when the message has it; or empty */
    uint32_t greet_delay_s; /* who talks before the greeting is refused; 0: greets at once */
    bool normalize;        /* bare CR and LF of our own clients become CRLF */
    bool hide_client;      /* the Received field does not say who a client of ours is */
};
struct certificate_conf { /* by its place in the list it is known to all roles */
    struct str cert, key; /* paths of PEM files: the chain, its own first; the private key */
    const struct str *names; /* A-labels for an authority to certify (see acme_conf); the first names its files */
    size_t n_names;          /* 0: who runs the server brings the certificate */
};
enum acme_challenge { ACME_HTTP_01 = 0, ACME_TLS_ALPN_01 };
struct acme_conf { /* how certificates are got from an authority (RFC 8555); once for all of them */
    struct str contact; /* mail address, which also says yes to the authority's terms; empty: none is got */
    struct str directory; /* URL of the authority */
    struct str folder;    /* of keys and certificates; the client works in its part ACME_CLIENT */
    uint8_t challenge;       /* enum acme_challenge: how the authority looks whether a name leads here */
    struct netaddr addrs[2]; /* where challenges of HTTP-01 are answered */
    size_t n_addrs;
};
#define ACME_CLIENT "client"
struct sts_host { /* a domain whose policy of MTA-STS is served here, at mta-sts.DOMAIN (RFC 8461 3.3) */
    struct str domain;
    struct mta_sts_own policy;
};
enum auth_by { AUTH_BY_DOVECOT = 0, AUTH_BY_PAM, AUTH_BY_LDAP, AUTH_BY_POSTGRESQL, AUTH_BY_SQLITE, AUTH_BY_N };
struct auth_table { /* a directory or a database that knows passwords */
    struct str server;   /* its URL, as the configuration has it; no password is in it */
    struct str host;     /* a name to be asked for; empty: at has it */
    struct netaddr at;   /* PostgreSQL's unix socket: its folder; with host: the port alone; SQLite: nothing */
    enum table_tls tls;
    struct str user;     /* who asks it: LDAP: a DN, or empty: nobody in particular; SQLite: empty */
    struct str secret;   /* the path of the file with his password, or empty */
    struct str place;    /* LDAP: base DN; PostgreSQL: database; SQLite: path */
    struct str question; /* LDAP: filter with %u, %d; SQL: query with $1, $2, $3 */
};
struct auth_backend { /* a program of others that looks at passwords; by its place in the list it is known */
    enum auth_by kind;
    struct netaddr at;  /* DOVECOT: the socket of its auth process */
    struct str service; /* PAM: the name of a file in /etc/pam.d */
    struct auth_table table; /* LDAP, POSTGRESQL, SQLITE */
};
enum oauth_by { OAUTH_NONE = 0, OAUTH_INTROSPECTION, OAUTH_JWKS };
struct oauth_conf { /* whose access tokens log in, and how one is looked at */
    enum oauth_by by;
    struct str issuer;          /* his URL, as tokens have it */
    struct str url;             /* of introspection (RFC 7662), or of public keys (RFC 7517) */
    struct str host;            /* the name in it; derived */
    uint16_t port;              /* likewise; 0: none is in it */
    struct str discovery;       /* URL of the issuer's configuration, for clients; derived */
    struct str client, secret;  /* INTROSPECTION: as whom he is asked; the path of the file with that password */
    struct str audience, scope; /* that a token must have; empty: any */
    struct str claim;           /* which one says for whom it is */
};
struct account { /* of this machine */
    struct str name, home, shell;
    uint32_t uid, gid;
};
enum resolver_kind { RESOLVER_RECURSIVE = 0, RESOLVER_SYSTEM, RESOLVER_ADDRESSES };
/* A template longer or deeper than this is refused by the loader, so that no delivery fails for it. */
enum { MAILDIR_TEMPLATE_MAX = 400, MAILDIR_DEPTH_MAX = 16, MAILDIR_PART_MAX = 100 };

/* Why a file of the configuration can't be read, for people. */
const char *config_file_problem(enum err e);

struct config {
    uint64_t generation;
    struct policy_conf policy; /* hostname, postmaster, domains, relay_from, routes, sources */

    const struct listener_conf *listeners;
    size_t n_listeners;
    const struct certificate_conf *certificates; /* SNI chooses among them; the first is for all other names */
    size_t n_certificates;
    struct acme_conf acme;
    /* Those that routes name, each once; for all roles their places follow those of the others. Derived. */
    const struct certificate_conf *client_certificates;
    size_t n_client_certificates;
    const struct sts_host *sts_hosts; /* sorted by domain */
    size_t n_sts_hosts;
    struct netaddr https_addrs[HTTPS_ADDRESSES_MAX]; /* where https listens; none where it is not wanted */
    size_t n_https_addrs;
    struct str client_ca; /* PEM: who signs the certificates of clients; empty: clients are asked for none */
    bool tls_legacy;      /* clients that know no better may use TLS 1.0 and old ciphers */
    bool tls_tickets;     /* sessions may be resumed */
    const struct str *password_files; /* paths; struct local_domain says which is whose */
    size_t n_password_files;
    const struct auth_backend *auths; /* likewise */
    size_t n_auths;
    struct oauth_conf oauth; /* struct local_domain says for which domains */
    const struct netblock *xclient_from; /* who may use XCLIENT */
    size_t n_xclient_from;
    const struct netblock *etrn_from; /* who may use ETRN */
    size_t n_etrn_from;

    enum resolver_kind resolver;
    const struct netaddr *resolvers; /* RESOLVER_ADDRESSES (with port), or what resolv.conf said for RESOLVER_SYSTEM */
    size_t n_resolvers;
    struct str authorities;  /* PEM: who signs the certificates of servers that mail goes to; empty: nobody */
    struct str trust_anchor; /* content of the anchor file, or empty: no validation */
    struct str root_hints;   /* content, or empty: built into the resolver */
    struct str hosts;        /* RESOLVER_SYSTEM: content of hosts(5), or empty */

    struct str spool;        /* folder */
    struct str control;      /* path of the control socket */
    struct str journal;      /* folder of the journal */
    uint64_t size_max;       /* octets a message */
    uint32_t rcpt_max;
    uint32_t n_smtpd, n_relay; /* processes */
    bool trim;                 /* they give back what they do not need, once a minute */
    uint32_t sessions_max;     /* of one smtpd */
    uint32_t session_per_client_max; /* of one smtpd and client address; 0: no limit */
    uint64_t memory_max;       /* octets of message bodies and transactions a role may hold */
    uint32_t retry_first_s, retry_max_s, retry_jitter_pct, expire_s; /* 300, 14400, 20, 432000 */
    uint32_t bounce_expire_s;  /* 172800 */
    uint32_t site_connections_max;
    uint32_t journal_keep_s;
    uint32_t smtp_port;        /* of MX hosts: 25; another one for tests and labs */
    bool mta_sts;              /* policies of the domains that mail goes to are followed (RFC 8461) */
    bool expn;                 /* clients of ours may use EXPN */
    bool deliver_by;           /* RFC 2852 is offered */
    uint32_t deliver_by_min_s; /* the shortest time taken; 0: any */
    bool mt_priority;          /* RFC 6710 is offered */
    uint32_t future_release_s; /* RFC 4865: the longest wait; 0: not offered */
    bool success_to_strangers; /* reports of success to senders that are not ours */
    uint32_t delay_after_s;    /* a report of delay; 0: none */
    struct str tls_reports;    /* the address that reports about TLS (RFC 8460) come from; empty: there are none */
    struct str tls_organization, tls_contact; /* in them; never empty when tls_reports is not */
    uint32_t tls_reports_every_s; /* 86400; another one for tests and labs */
    bool suppress;             /* addresses that refused for good are kept in mind */
    uint32_t suppress_keep_s;
    bool log_json;
    uint8_t log_level;
};

/* Where a file that the configuration names comes from; bytes live in the arena. */
struct config_env {
    void *arg;
    enum err (*read_file)(void *arg, struct str path, struct arena *a, struct str *out);
    /* false when there is no such user. */
    bool (*find_user)(void *arg, struct str name, uint32_t *out_uid, uint32_t *out_gid);
    /* All accounts of this machine, memory in the arena. NULL: there are none to be had. */
    enum err (*list_accounts)(void *arg, struct arena *a, const struct account **out, size_t *out_n);
    /* Is there a file that can hold a secret (ordinary, 1 to SECRET_FILE_MAX octets: else ERR_TOO_BIG)? is_open: others
     * than its owner and group may read or change it. NULL: nobody looks. */
    enum err (*find_secret)(void *arg, struct str path, bool *is_open);
    bool is_root;
    struct str home; /* folder that relative paths are relative to */
};
/* The https role has work: policies to serve, or an authority that looks by TLS-ALPN-01. */
bool config_wants_https(const struct config *c);
/* Are the MTA-STS policies of domains asked for? */
bool config_follows_sts(const struct config *c);
/* Are sessions counted for reports about TLS? */
bool config_reports_tls(const struct config *c);
/* The agent role has work: one of the two. Its folder is beside the journal's. */
bool config_wants_agent(const struct config *c);
void config_agent_folder(const struct config *c, struct buf *out);
/* Is it one that the tables role asks? */
bool config_is_table(enum auth_by kind);
/* The tables role has work. Its folder is that of the SQLite databases: empty where there is none. */
bool config_wants_tables(const struct config *c);
struct str config_tables_folder(const struct config *c);
/* Errors as text for people, one a line, at most 20 of them; warnings likewise. */
struct config_report {
    struct buf errors, warnings; /* initialised by the caller */
    unsigned n_errors, n_warnings;
};
/* NULL when report->n_errors > 0. All memory is in the arena. name is for messages: "waxwing.lua". */
const struct config *config_load(struct str name, struct str lua, const struct config_env *env, struct arena *a,
                                 struct config_report *report);
/* The embedded default of `make run`: SMTP on 127.0.0.1:port, any user @localhost into Maildirs under run_dir, all else
 * refused. It is Lua text too: this writes it. */
void config_default_lua(struct str run_dir, uint16_t port, struct str user, struct buf *out);
/* That of `waxwing dev`: SMTP at address:port, every address of every domain into a Maildir below run_dir/mail, which
 * are those of who runs it; nobody may relay. */
void config_dev_lua(struct str run_dir, struct str address, uint16_t port, struct buf *out);
struct config_relay { /* empty texts: not said */
    struct str dir;     /* absolute: queue and journal are below it */
    struct str sockets; /* absolute: the folder of the sockets of sendmail and of the commands */
    struct str hostname, postmaster, authorities;
    struct str via, user, secret, tls; /* as keys of a route */
    struct str address;                /* where programs that speak SMTP find us */
    uint16_t port;
    struct rewrite_conf rewrite;
};
/* That of `waxwing relay`: what sendmail, and those who may connect to the address, hand in goes to `via`. */
void config_relay_lua(const struct config_relay *r, struct buf *out);
/* As octets for the roles, and back. decode checks everything again (a role trusts nobody): NULL when malformed. Its
 * text is borrowed from the octets, which must live as long as the arena. */
bool config_encode(const struct config *c, struct buf *out);
const struct config *config_decode(struct str bytes, struct arena *a);
/* The table of keys as manual text (mdoc) for waxwing.lua(5), from the same schema that checks. */
void config_schema_mdoc(struct buf *out);
