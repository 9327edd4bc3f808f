/* prog/cmd_relay.h: the parts of `waxwing relay`, the null client: a queue and one host that takes all mail.
 *
 * What the command line says becomes a configuration (config_relay_lua()); the server is that of `waxwing
 * serve`. A password never stands in the arguments, which everybody on the machine can see: it comes from a
 * file, or from the environment, which is wiped at once; then it is in a file without a name, that only the
 * supervisor holds open.
 */
#pragma once
#include "base/buf.h"
#include "config/config.h"

#include <limits.h>

/* Below the folder of state: its folder where no --dir says another, and where sendmail and the commands
 * look. */
#define RELAY_STATE "waxwing/relay"

enum { RELAY_NAMES_MAX = 100 };
struct relay_args {
    const char *url;
    const char *dir, *listen, *tls, *password_file, *authorities, *hostname, *from, *domain;
    const char *to[RELAY_NAMES_MAX]; /* "NAME=ADDRESS" or "ADDRESS" */
    size_t n_to;
    bool is_check;
};
/* What the arguments mean; the texts of conf point into it and into the arguments. */
struct relay_plan {
    struct config_relay conf;
    char dir[PATH_MAX], sockets[PATH_MAX], secret[PATH_MAX], authorities[PATH_MAX];
    char via[NETADDR_TEXT_MAX + SMTP_DOMAIN_MAX + 16];
    char hostname[SMTP_DOMAIN_MAX + 32];
    char address[NETADDR_TEXT_MAX + 1];
    char postmaster[SMTP_DOMAIN_MAX + 48];
    struct rewrite_name names[RELAY_NAMES_MAX];
    bool is_default; /* --dir need not be said */
};
/* Each returns an exit code of sysexits(3); what is wrong was said. */
int relay_plan(const struct relay_args *a, struct relay_plan *out);
/* Goes to the host that the configuration names, up to the login. */
int relay_check(struct str lua);
