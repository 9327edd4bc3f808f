/* prog/main.c: the one program: finds the subcommand. */
#include "prog/prog.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

const struct command commands[] = {
    {"serve", "run the mail server", cmd_serve},
    {"check", "check a configuration", cmd_check},
    {"send", "send a message through a server", cmd_send},
    {"queue", "list, show, retry, hold, suspend, drop queued mail", cmd_queue},
    {"why", "tell a message's whole life", cmd_why},
    {"user", "add, list and remove users, and their passwords", cmd_user},
    {"dns", "print the DNS records to publish for a configuration", cmd_dns},
    {"status", "what each process has counted", cmd_status},
    {"dev", "catch all mail of an application under development, and show it", cmd_dev},
    {"relay", "queue the mail of this machine and hand it on to one host", cmd_relay},
    {"sendmail", "take a message as sendmail(8) does", cmd_sendmail},
};
const unsigned n_commands = ARRAY_LEN(commands);

static void print_help(FILE *to)
{
    (void)fputs("Waxwing " WAXWING_VERSION ", a mail server.\n\nUsage: waxwing COMMAND [OPTIONS]\n\n", to);
    for (unsigned i = 0; i < n_commands; i++)
        (void)fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
    (void)fputs("\n`waxwing COMMAND --help` tells more; waxwing(8) and waxwing.lua(5) are the manual.\n", to);
}

static const struct command *suggest(struct str word)
{
    for (unsigned i = 0; i < n_commands; i++) {
        struct str name = str_from_c(commands[i].name);
        if (str_starts(name, word) || (word.n > 2 && str_starts(name, str_slice(word, 0, 2))))
            return &commands[i];
    }
    return NULL;
}

/* What is opened must never become descriptor 0, 1 or 2: a message for people would go into it. */
static bool has_standard_files(void)
{
    for (int fd = 0; fd >= 0 && fd <= 2;) {
        fd = open("/dev/null", O_RDWR);
        if (fd == -1)
            return false;
        if (fd > 2)
            (void)close(fd);
    }
    return true;
}

/* Links of these names are how other programs know a mail server. */
static bool is_sendmail(struct str name)
{
    static const char *const names[] = {"sendmail", "mailq", "newaliases"};
    name = str_skip(name, str_rchr(name, '/') == STR_NPOS ? 0 : str_rchr(name, '/') + 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ends(name, str_from_c(names[i])))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    if (!has_standard_files())
        return EXIT_OS;
    if (argc > 0 && is_sendmail(str_from_c(argv[0])))
        return cmd_sendmail(argc, argv);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    struct str word = str_from_c(argv[1]);
    if (str_eq(word, STR("--role")))
        return role_main(argc, argv);
    if (str_eq(word, STR("--help")) || str_eq(word, STR("help")) || str_eq(word, STR("-h"))) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (str_eq(word, STR("--version"))) {
        (void)puts("waxwing " WAXWING_VERSION);
        return EXIT_OK;
    }
    for (unsigned i = 0; i < n_commands; i++) {
        if (str_eq(word, str_from_c(commands[i].name)))
            return commands[i].run(argc - 1, argv + 1);
    }
    const struct command *near = suggest(word);
    (void)fprintf(stderr, "waxwing: no such command: %s%s%s%s\n", argv[1], near ? " (did you mean '" : "",
                  near ? near->name : "", near ? "'?)" : "; `waxwing --help` lists them");
    return EXIT_USAGE;
}
