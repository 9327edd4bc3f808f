/* prog/cmd_status.c: `waxwing status`: the counters of every process. */
#include "prog/control.h"
#include "prog/prog.h"

#include <getopt.h>
#include <stdio.h>

static const char usage_text[] = "Usage: waxwing status [--json] [--control SOCKET]\n"
                                 "\n"
                                 "Prints what each process has counted since it started: messages taken and "
                                 "refused, trouble of ours (a full disk,\n"
                                 "a failed flush, a queue that was not there), events that the journal "
                                 "missed. A process tells its counters every ten\n"
                                 "seconds.\n";

static void on_row(void *arg, json_t *row)
{
    UNUSED(arg);
    print_clean(row_text(row, "role"));
    (void)printf(" %lld  ", (long long)json_integer_value(json_object_get(row, "index")));
    print_clean(row_text(row, "name"));
    (void)printf(" %lld\n", (long long)json_integer_value(json_object_get(row, "value")));
}

int cmd_status(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"control", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool json = false;
    const char *control = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        }
        if (c == 'j')
            json = true;
        else if (c == 'c')
            control = optarg;
        else
            break;
    }
    if (c != -1 || optind != argc) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    return control_ask(control_path(control), STR("counters"), json, on_row, NULL);
}
