#include "ipc/rights.h"

static const char *const names[ROLE_N] = {
    [ROLE_SUPER] = "supervisor", [ROLE_SMTPD] = "smtpd", [ROLE_LOOKUP] = "lookup",   [ROLE_QUEUE] = "queue",
    [ROLE_RELAY] = "relay",      [ROLE_LOCAL] = "local", [ROLE_DELIVER] = "deliver", [ROLE_PIPE] = "pipe",
    [ROLE_ADMIN] = "admin",      [ROLE_KEYS] = "keys",   [ROLE_AGENT] = "agent",     [ROLE_ACME] = "acme",
    [ROLE_HTTP01] = "http01",    [ROLE_AUTH] = "auth",   [ROLE_PAM] = "pam",         [ROLE_TABLES] = "tables",
    [ROLE_HTTPS] = "https",
};

const char *role_name(enum role r)
{
    must((size_t)r < ARRAY_LEN(names));
    return names[r];
}

bool role_parse(struct str name, enum role *out)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq(name, str_from_c(names[i]))) {
            *out = (enum role)i;
            return true;
        }
    }
    return false;
}

#define BIT(t) ((uint64_t)1 << (t))
#define EVENTS (BIT(IPC_EVENT) | BIT(IPC_EVENT_GAP) | BIT(IPC_COUNTERS))
#define FROM_SUPER                                                                                           \
    (BIT(IPC_SUP_CONFIG) | BIT(IPC_SUP_PEER) | BIT(IPC_SUP_LISTENER) | BIT(IPC_SUP_START) |                  \
     BIT(IPC_SUP_DRAIN))
#define TO_SUPER (BIT(IPC_SUP_READY) | BIT(IPC_SUP_FAILED))
#define SECRETS (BIT(IPC_SUP_KEY) | BIT(IPC_SUP_USERS) | BIT(IPC_SUP_FORGET))

/* clang-format off */
static const struct {
    enum role from, to;
    uint64_t types;
} rights[] = {
    {ROLE_SMTPD,   ROLE_QUEUE,   BIT(IPC_ID_WANT) | BIT(IPC_PUT_RCPTS) | BIT(IPC_PUT) | BIT(IPC_PUT_COMMIT) |
                                 BIT(IPC_PUT_ABORT) | BIT(IPC_CALLOUT_ASK) | BIT(IPC_ETRN_ASK)},
    {ROLE_QUEUE,   ROLE_SMTPD,   BIT(IPC_ID_GRANT) | BIT(IPC_PUT_DONE) | BIT(IPC_CALLOUT_ANSWER) |
                                 BIT(IPC_ETRN_ANSWER)},
    {ROLE_SMTPD,   ROLE_LOOKUP,  BIT(IPC_MX_ASK)},
    {ROLE_LOOKUP,  ROLE_SMTPD,   BIT(IPC_MX_ANSWER)},
    {ROLE_QUEUE,   ROLE_LOOKUP,  BIT(IPC_MX_ASK) | BIT(IPC_RR_ASK)},
    {ROLE_LOOKUP,  ROLE_QUEUE,   BIT(IPC_MX_ANSWER) | BIT(IPC_RR_ANSWER)},
    {ROLE_RELAY,   ROLE_LOOKUP,  BIT(IPC_HOST_ASK) | BIT(IPC_RR_ASK)},
    {ROLE_LOOKUP,  ROLE_RELAY,   BIT(IPC_HOST_ANSWER) | BIT(IPC_RR_ANSWER)},
    {ROLE_QUEUE,   ROLE_RELAY,   BIT(IPC_RELAY_JOB)},
    {ROLE_RELAY,   ROLE_QUEUE,   BIT(IPC_JOB_DONE)},
    {ROLE_QUEUE,   ROLE_LOCAL,   BIT(IPC_LOCAL_JOB)},
    {ROLE_LOCAL,   ROLE_QUEUE,   BIT(IPC_JOB_DONE)},
    {ROLE_LOCAL,   ROLE_DELIVER, BIT(IPC_LOCAL_JOB) | BIT(IPC_FORWARD_ASK) | BIT(IPC_SUP_DRAIN)},
    {ROLE_DELIVER, ROLE_LOCAL,   BIT(IPC_JOB_DONE) | BIT(IPC_FORWARD_ANSWER) | BIT(IPC_SUP_READY) |
                                 BIT(IPC_SUP_FAILED)},
    {ROLE_LOCAL,   ROLE_PIPE,    BIT(IPC_PIPE_JOB) | BIT(IPC_SUP_DRAIN)},
    {ROLE_PIPE,    ROLE_LOCAL,   BIT(IPC_JOB_DONE) | BIT(IPC_SUP_FAILED)},
    {ROLE_ADMIN,   ROLE_QUEUE,   BIT(IPC_CTL_ASK)},
    {ROLE_QUEUE,   ROLE_ADMIN,   BIT(IPC_CTL_ANSWER) | EVENTS},
    {ROLE_SMTPD,   ROLE_ADMIN,   EVENTS},
    {ROLE_LOOKUP,  ROLE_ADMIN,   EVENTS},
    {ROLE_RELAY,   ROLE_ADMIN,   EVENTS},
    {ROLE_LOCAL,   ROLE_ADMIN,   EVENTS},
    {ROLE_SMTPD,   ROLE_KEYS,    BIT(IPC_SIGN_ASK) | BIT(IPC_AUTH_ASK)},
    {ROLE_KEYS,    ROLE_SMTPD,   BIT(IPC_SIGN_ANSWER) | BIT(IPC_AUTH_ANSWER) | BIT(IPC_AUTH_OFFER)},
    {ROLE_RELAY,   ROLE_KEYS,    BIT(IPC_SIGN_ASK)},
    {ROLE_KEYS,    ROLE_RELAY,   BIT(IPC_SIGN_ANSWER)},
    {ROLE_KEYS,    ROLE_ADMIN,   EVENTS},
    {ROLE_QUEUE,   ROLE_AGENT,   BIT(IPC_STS_ASK) | BIT(IPC_ID_GRANT) | BIT(IPC_PUT_DONE)},
    {ROLE_AGENT,   ROLE_QUEUE,   BIT(IPC_STS_ANSWER) | BIT(IPC_ID_WANT) | BIT(IPC_PUT)},
    {ROLE_RELAY,   ROLE_AGENT,   BIT(IPC_TLS_SESSION)},
    {ROLE_AGENT,   ROLE_LOOKUP,  BIT(IPC_HOST_ASK) | BIT(IPC_RR_ASK)},
    {ROLE_LOOKUP,  ROLE_AGENT,   BIT(IPC_HOST_ANSWER) | BIT(IPC_RR_ANSWER)},
    {ROLE_AGENT,   ROLE_ADMIN,   EVENTS},
    {ROLE_ACME,    ROLE_HTTP01,  BIT(IPC_HTTP01_SERVE)},
    {ROLE_HTTP01,  ROLE_ACME,    BIT(IPC_HTTP01_SERVING)},
    {ROLE_ACME,    ROLE_HTTPS,   BIT(IPC_ALPN_SERVE)},
    {ROLE_HTTPS,   ROLE_ACME,    BIT(IPC_ALPN_SERVING)},
    {ROLE_HTTPS,   ROLE_KEYS,    BIT(IPC_SIGN_ASK)},
    {ROLE_KEYS,    ROLE_HTTPS,   BIT(IPC_SIGN_ANSWER)},
    {ROLE_SMTPD,   ROLE_AUTH,    BIT(IPC_AUTH_ASK)},
    {ROLE_AUTH,    ROLE_SMTPD,   BIT(IPC_AUTH_ANSWER)},
    {ROLE_AUTH,    ROLE_PAM,     BIT(IPC_AUTH_ASK)},
    {ROLE_PAM,     ROLE_AUTH,    BIT(IPC_AUTH_ANSWER)},
    {ROLE_AUTH,    ROLE_ADMIN,   EVENTS},
    {ROLE_AUTH,    ROLE_TABLES,  BIT(IPC_AUTH_ASK)},
    {ROLE_TABLES,  ROLE_AUTH,    BIT(IPC_AUTH_ANSWER)},
    {ROLE_TABLES,  ROLE_LOOKUP,  BIT(IPC_HOST_ASK)},
    {ROLE_LOOKUP,  ROLE_TABLES,  BIT(IPC_HOST_ANSWER)},
    {ROLE_TABLES,  ROLE_ADMIN,   EVENTS},
};
/* clang-format on */

/* They have no supervisor but local. */
static bool is_child_of_local(enum role r)
{
    return r == ROLE_DELIVER || r == ROLE_PIPE;
}

/* Secrets go to one role, certificates to those that show them. */
static uint64_t super_says_also(enum role to)
{
    if (to == ROLE_KEYS)
        return SECRETS;
    if (to == ROLE_SMTPD)
        return BIT(IPC_SUP_CERT) | BIT(IPC_SUP_TICKETS);
    if (to == ROLE_ACME || to == ROLE_HTTP01)
        return BIT(IPC_SUP_PORT);
    if (to == ROLE_TABLES)
        return BIT(IPC_SUP_SECRET);
    if (to == ROLE_HTTPS)
        return BIT(IPC_SUP_CERT);
    return to == ROLE_RELAY ? BIT(IPC_SUP_CERT) | BIT(IPC_SUP_SECRET) : 0;
}

static uint64_t super_hears_also(enum role from)
{
    return from == ROLE_KEYS   ? BIT(IPC_KEY_STATE)
           : from == ROLE_ACME ? BIT(IPC_ACME_PORT) | BIT(IPC_ACME_ISSUED)
                               : 0;
}

bool ipc_may_send(enum role from, enum role to, uint16_t type)
{
    if (type == IPC_NONE || type >= 64)
        return false;
    if (from == ROLE_SUPER && !is_child_of_local(to))
        return ((FROM_SUPER | super_says_also(to)) & BIT(type)) != 0;
    if (to == ROLE_SUPER && !is_child_of_local(from))
        return ((TO_SUPER | super_hears_also(from)) & BIT(type)) != 0;
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        if (rights[i].from == from && rights[i].to == to)
            return (rights[i].types & BIT(type)) != 0;
    }
    return false;
}

bool ipc_has_edge(enum role a, enum role b)
{
    if (a == ROLE_SUPER || b == ROLE_SUPER)
        return a != b && !is_child_of_local(a) && !is_child_of_local(b);
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        if ((rights[i].from == a && rights[i].to == b) || (rights[i].from == b && rights[i].to == a))
            return true;
    }
    return false;
}
