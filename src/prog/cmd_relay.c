/* prog/cmd_relay.c: `waxwing relay URL`: what it is told, and the server that comes of it. */
#include "prog/cmd_relay.h"

#include "prog/prog.h"
#include "prog/serve.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RELAY_DRAIN_MS = 8000, RELAY_LUA_MAX = 65536 }; /* docker stop kills after 10 s */

/* clang-format off */
static const char usage_text[] =
    "Usage: waxwing relay [OPTIONS] smtps://USER@HOST[:PORT] | smtp://USER@HOST[:PORT] | lmtp://HOST[:PORT]\n"
    "\n"
    "Takes the mail of this machine's programs, keeps it on disk, and hands it on to one host. Needs no\n"
    "configuration and no root. `sendmail` of the same user finds it, as `queue`, `why` and `status` do;\n"
    "nothing listens on the network. It stays in the foreground; SIGTERM finishes what is under way, and\n"
    "what waits is there again at the next start.\n"
    "  smtps://   TLS from the first octet, port 465\n"
    "  smtp://    STARTTLS; port 587 with USER, 25 without\n"
    "  lmtp://    LMTP, port 24; lmtp://unix:/PATH is a socket\n"
    "\n"
    "  --password-file FILE   its first line is the password; or else the variable WAXWING_PASSWORD\n"
    "  --dir DIR              where the queue is (default $XDG_STATE_HOME/waxwing/relay,\n"
    "                         ~/.local/state/waxwing/relay; for root /var/spool/waxwing-relay)\n"
    "  --listen ADDRESS:PORT  also for programs that speak SMTP, on this machine: 127.0.0.1:25\n"
    "  --from ADDRESS         the envelope sender of all mail; in From and Sender it replaces\n"
    "                         addresses of this machine\n"
    "  --to ADDRESS           who gets the mail for names of this machine, such as root: those\n"
    "                         without a domain, at localhost or at its hostname\n"
    "  --to NAME=ADDRESS      who gets that of one of them; may stand more than once\n"
    "  --domain DOMAIN        what such names get as their domain, where --from and --to say\n"
    "                         nothing of them\n"
    "  --hostname NAME        what this machine calls itself (default: its name)\n"
    "  --tls LEVEL            none, may, encrypt or verify: how safe the way must be (default:\n"
    "                         verify for smtps and with USER, may without)\n"
    "  --ca FILE              who may sign the host's certificate (default: whom this machine trusts)\n"
    "  --check                only goes to the host and logs in, says what works, and ends; a server\n"
    "                         that runs is not disturbed\n"
    "\n"
    "Exit code: 0 ended by a signal (--check: all works), 64 wrong usage, 69 it runs already or an\n"
    "address is taken (--check: the host can't be reached, or is not who it should be), 71 the system is\n"
    "at fault, 77 not permitted (--check: the login is refused), 78 the options don't go together.\n";

/* clang-format on */

static const struct option options[] = {
    {"dir", required_argument, NULL, 'd'},    {"listen", required_argument, NULL, 'l'},
    {"tls", required_argument, NULL, 't'},    {"password-file", required_argument, NULL, 'p'},
    {"ca", required_argument, NULL, 'c'},     {"hostname", required_argument, NULL, 'n'},
    {"from", required_argument, NULL, 'f'},   {"to", required_argument, NULL, 'T'},
    {"domain", required_argument, NULL, 'D'}, {"check", no_argument, NULL, 'k'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
};

static bool take_option(struct relay_args *a, int c, const char *value)
{
    const char **const places[] = {&a->dir,         &a->listen,   &a->tls,  &a->password_file,
                                   &a->authorities, &a->hostname, &a->from, &a->domain};
    size_t i = str_chr(STR("dltpcnfD"), (char)c);
    if (c == 'T' && a->n_to < RELAY_NAMES_MAX) {
        a->to[a->n_to++] = value;
        return true;
    }
    if (c == 'k') {
        a->is_check = true;
        return true;
    }
    if (i == STR_NPOS || *places[i] != NULL)
        return false;
    *places[i] = value;
    return true;
}

static int wrong_usage(void)
{
    (void)fputs(usage_text, stderr);
    return EXIT_USAGE;
}

static int serve(const struct relay_args *a, const struct relay_plan *p)
{
    struct buf lua;
    buf_init(&lua, RELAY_LUA_MAX);
    config_relay_lua(&p->conf, &lua);
    struct serve_how how = {.lua = buf_str(&lua), .name = "relay", .drain_ms = RELAY_DRAIN_MS};
    int status = lua.failed ? EXIT_USAGE : a->is_check ? relay_check(buf_str(&lua)) : serve_run(&how);
    buf_fini(&lua);
    return status;
}

int cmd_relay(int argc, char **argv)
{
    struct relay_args a = {0};
    struct relay_plan plan;
    int c;
    (void)prctl(PR_SET_DUMPABLE, 0); /* a password is about to be here */
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        }
        if (!take_option(&a, c, optarg))
            return wrong_usage();
    }
    if (optind + 1 != argc)
        return wrong_usage();
    a.url = argv[optind];
    int status = relay_plan(&a, &plan);
    if (status != EXIT_OK)
        return status;
    (void)umask(geteuid() == 0 ? 022
                               : 077); /* root's processes are users of their own, in folders of their own */
    return serve(&a, &plan);
}
