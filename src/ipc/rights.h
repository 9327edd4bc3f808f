/* ipc/rights.h: the roles, the edges between them and what may travel on each: the security policy of the
 * house. A message that its sender may not send ends the channel: the sender is broken or taken over.
 */
#pragma once
#include "ipc/schema.h"

enum role {
    ROLE_SUPER = 0,
    ROLE_SMTPD,
    ROLE_LOOKUP,
    ROLE_QUEUE,
    ROLE_RELAY,
    ROLE_LOCAL,
    ROLE_DELIVER, /* child of local: has become the user */
    ROLE_PIPE,    /* likewise, and runs programs */
    ROLE_ADMIN,
    ROLE_KEYS,   /* private keys and password verifiers */
    ROLE_AGENT,  /* talks HTTPS with strangers */
    ROLE_ACME,   /* gets certificates from an authority, by a program */
    ROLE_AUTH,   /* asks others about passwords */
    ROLE_PAM,    /* one of them: PAM's modules, for auth */
    ROLE_HTTP01, /* answers the authority when it looks whether a name leads here */
    ROLE_HTTPS,  /* port 443: serves policies of MTA-STS, and answers the authority there */
    ROLE_TABLES, /* others: directories and databases, for auth */
};
enum { ROLE_N = 17 };
const char *role_name(enum role r); /* "supervisor", "smtpd", ... */
bool role_parse(struct str name, enum role *out);

/* May `from` send `type` to `to`? */
bool ipc_may_send(enum role from, enum role to, uint16_t type);
/* Is there an edge at all (in either direction)? The supervisor makes channels for exactly these pairs. */
bool ipc_has_edge(enum role a, enum role b);
