#include "service/roles.h"

/* clang-format off */
static const struct sandbox_profile profiles[ROLE_N] = {
    /* binds ports, opens files and starts processes: its strength is that it reads nothing from outside */
    [ROLE_SUPER]   = {.name = "supervisor"},
    [ROLE_SMTPD]   = {.name = "smtpd",   .accept = true},
    [ROLE_LOOKUP]  = {.name = "lookup",  .net_tcp = true, .net_udp = true},
    [ROLE_QUEUE]   = {.name = "queue",   .files_read = true, .files_write = true},
    [ROLE_RELAY]   = {.name = "relay",   .net_tcp = true, .unix_connect = true},
    /* what local may not do its programs may not do either, so it has the network for them */
    [ROLE_LOCAL]   = {.name = "local",   .spawn = true, .net_tcp = true, .net_udp = true},
    [ROLE_PIPE]    = {.name = "pipe",    .spawn = true, .net_tcp = true, .net_udp = true},
    [ROLE_DELIVER] = {.name = "deliver", .files_read = true, .files_write = true},
    [ROLE_ADMIN]   = {.name = "admin",   .accept = true, .files_read = true, .files_write = true},
    /* computes on octets that it is handed; its threads are there before the sandbox closes */
    [ROLE_KEYS]    = {.name = "keys"},
    /* its files are what it remembers of policies */
    [ROLE_AGENT]   = {.name = "agent",   .net_tcp = true, .files_read = true, .files_write = true},
    /* its program speaks with the authority, and asks the system's resolver for it */
    [ROLE_ACME]    = {.name = "acme",    .spawn = true, .net_tcp = true, .net_udp = true},
    [ROLE_HTTP01]  = {.name = "http01",  .accept = true},
    [ROLE_HTTPS]   = {.name = "https",   .accept = true},
    [ROLE_AUTH]    = {.name = "auth",    .unix_connect = true},
    /* its libraries read trust anchors from memory that has a name in /proc, SQLite a database in the role's folder; there
     * is nothing that it can write */
    [ROLE_TABLES]  = {.name = "tables",  .net_tcp = true, .unix_connect = true, .files_read = true},
    /* PAM's modules do whatever the administrator chose: files, directories of users, programs */
    [ROLE_PAM]     = {.name = "pam",     .spawn = true, .net_tcp = true, .net_udp = true, .unix_connect = true},
};
/* clang-format on */

const struct sandbox_profile *role_sandbox(enum role r)
{
    must((size_t)r < ARRAY_LEN(profiles));
    return &profiles[r];
}

const char *role_user(enum role r)
{
    switch (r) {
    case ROLE_SMTPD:
        return "_wwsmtpd";
    case ROLE_LOOKUP:
        return "_wwlookup";
    case ROLE_QUEUE:
        return "_wwqueue";
    case ROLE_RELAY:
        return "_wwrelay";
    case ROLE_ADMIN:
        return "_wwadmin";
    case ROLE_KEYS:
        return "_wwkeys";
    case ROLE_AGENT:
        return "_wwagent";
    case ROLE_ACME:
        return "_wwacme";
    case ROLE_HTTP01:
        return "_wwhttp";
    case ROLE_HTTPS:
        return "_wwhttps";
    case ROLE_AUTH:
        return "_wwauth";
    case ROLE_TABLES:
        return "_wwtables";
    case ROLE_SUPER:
    case ROLE_LOCAL:   /* stays root to become the users; runs nothing that came from the network */
    case ROLE_DELIVER: /* is one of the users */
    case ROLE_PIPE:    /* likewise */
    case ROLE_PAM: /* stays root: only root may look at the password of another; reads two texts of auth */
        break;
    }
    return NULL;
}
