/* prog/cmd_dev.c: `waxwing dev ...`: what it is told, and who does it. */
#include "prog/cmd_dev.h"

#include "base/netaddr.h"
#include "prog/prog.h"

#include <getopt.h>
#include <stdio.h>

static const char usage_text[] =
    "Usage: waxwing dev [--port N] [--host ADDRESS] [--dir DIR]\n"
    "       waxwing dev list [--json]\n"
    "       waxwing dev show N|latest|ID [--raw | --text | --html | --headers | --part K | --json]\n"
    "       waxwing dev wait [--to ADDRESS] [--after N] [--timeout SECONDS] [--json]\n"
    "       waxwing dev clear [--yes]\n"
    "\n"
    "Takes all mail, for any address, and keeps it to be looked at: for applications under development and "
    "for\n"
    "tests. Needs no configuration; nothing that it takes leaves this machine. It stays in the foreground "
    "until\n"
    "Ctrl-C; the mail is there again at the next start.\n"
    "  --port N        where applications send to (default 1025)\n"
    "  --host ADDRESS  the address it listens at (default 127.0.0.1; 0.0.0.0: all of IPv4, for a container)\n"
    "  --dir DIR       where the mail is kept (default $XDG_STATE_HOME/waxwing/dev, "
    "~/.local/state/waxwing/dev,\n"
    "                  for root /var/lib/waxwing-dev); each of these commands takes it\n"
    "\n"
    "  list            the messages, the newest first\n"
    "  show            one of them, decoded; --raw: octet for octet as it was sent; --part K: one part, "
    "decoded\n"
    "  wait            until there is a message, to this recipient, with a number over N; prints it as "
    "`list` does\n"
    "                  (for 30 seconds when no --timeout is given, then the exit code is 75)\n"
    "  clear           removes all messages\n"
    "\n"
    "A message's number counts from 1, the oldest, and stays until `clear`; its ID is that of the reply to "
    "DATA.\n"
    "\n"
    "Exit code: 0 done, 64 wrong usage, 66 no such message, 69 the port or the folder is taken, 75 waited in "
    "vain,\n"
    "77 not permitted.\n";

enum { OPT_LOOK = 1, OPT_SERVE = 2, OPT_SHOW = 4, OPT_WAIT = 8, OPT_CLEAR = 16 };

struct action {
    const char *name;
    unsigned options;
    bool takes_which;
    int (*run)(const struct dev_args *a);
};
static const struct action actions[] = {
    {"list", OPT_LOOK, false, dev_list},
    {"show", OPT_LOOK | OPT_SHOW, true, dev_show},
    {"wait", OPT_LOOK | OPT_WAIT, false, dev_wait},
    {"clear", OPT_CLEAR, false, dev_clear},
};
static const struct action serving = {"dev", OPT_SERVE, false, dev_run};

static const struct option options[] = {
    {"dir", required_argument, NULL, 'd'},
    {"port", required_argument, NULL, 'p'},
    {"host", required_argument, NULL, 'o'},
    {"json", no_argument, NULL, 'j'},
    {"raw", no_argument, NULL, 'r'},
    {"text", no_argument, NULL, 't'},
    {"html", no_argument, NULL, 'm'},
    {"headers", no_argument, NULL, 'e'},
    {"part", required_argument, NULL, 'k'},
    {"to", required_argument, NULL, 'T'},
    {"after", required_argument, NULL, 'a'},
    {"timeout", required_argument, NULL, 's'},
    {"yes", no_argument, NULL, 'y'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What an action must be to know the option; 0: each does. */
static unsigned home_of(int c)
{
    switch (c) {
    case 'd':
        return 0;
    case 'p':
    case 'o':
        return OPT_SERVE;
    case 'j':
        return OPT_LOOK;
    case 'T':
    case 'a':
    case 's':
        return OPT_WAIT;
    case 'y':
        return OPT_CLEAR;
    default:
        return OPT_SHOW;
    }
}

static bool take_view(struct dev_args *a, enum dev_view view)
{
    bool ok = a->view == VIEW_WHOLE;
    a->view = view;
    return ok;
}

static bool take_option(struct dev_args *a, int c, const char *value)
{
    switch (c) {
    case 'd':
        a->dir = value;
        return true;
    case 'p':
        return str_to_u64(str_from_c(value), 65535, &a->port) && a->port > 0;
    case 'o':
        a->host = value;
        return true;
    case 'j':
        a->json = true;
        return true;
    case 'r':
        return take_view(a, VIEW_RAW);
    case 't':
        return take_view(a, VIEW_TEXT);
    case 'm':
        return take_view(a, VIEW_HTML);
    case 'e':
        return take_view(a, VIEW_HEADERS);
    case 'k':
        a->part = value;
        return take_view(a, VIEW_PART);
    case 'T':
        a->to = value;
        return true;
    case 'a':
        return str_to_u64(str_from_c(value), UINT32_MAX, &a->after);
    case 's':
        return str_to_u64(str_from_c(value), 7 * 86400, &a->timeout_s);
    case 'y':
        a->yes = true;
        return true;
    default:
        return false;
    }
}

static const struct action *find_action(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq(name, str_from_c(actions[i].name)))
            return &actions[i];
    }
    return NULL;
}

static int wrong_usage(void)
{
    (void)fputs(usage_text, stderr);
    return EXIT_USAGE;
}

int cmd_dev(int argc, char **argv)
{
    struct dev_args a = {.host = "127.0.0.1", .port = 1025, .timeout_s = 30};
    unsigned needed = 0;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        }
        if (c == '?' || !take_option(&a, c, optarg))
            return wrong_usage();
        needed |= home_of(c);
    }
    const struct action *action = optind < argc ? find_action(str_from_c(argv[optind++])) : &serving;
    if (action == NULL || (needed & ~action->options) != 0 || (a.json && a.view != VIEW_WHOLE))
        return wrong_usage();
    if (action->takes_which && optind < argc)
        a.which = argv[optind++];
    if (optind < argc || (action->takes_which && a.which == NULL))
        return wrong_usage();
    return action->run(&a);
}
