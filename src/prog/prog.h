/* prog/prog.h: the subcommands of the one program. Each returns an exit code of sysexits(3). */
#pragma once
#include "base/str.h"

#include <time.h>

struct command {
    const char *name;
    const char *summary;               /* one line for the list */
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand's name */
};
extern const struct command commands[];
extern const unsigned n_commands;

int cmd_serve(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_user(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_sendmail(int argc, char **argv);
int cmd_dev(int argc, char **argv);
int cmd_relay(int argc, char **argv);
int cmd_dns(int argc, char **argv);

/* `waxwing --role NAME --index N --fd 3 [--root PATH]`: what the supervisor executes. */
int role_main(int argc, char **argv);

/* sysexits(3) */
enum {
    EXIT_OK = 0,
    EXIT_USAGE = 64,
    EXIT_DATA = 65,
    EXIT_NOINPUT = 66,
    EXIT_NOUSER = 67,
    EXIT_UNAVAILABLE = 69,
    EXIT_SOFTWARE = 70,
    EXIT_OS = 71,
    EXIT_TEMPFAIL = 75,
    EXIT_NOPERM = 77,
    EXIT_CONFIG = 78
};

/* Milliseconds of a clock that nobody sets. */
static inline int64_t prog_clock_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
