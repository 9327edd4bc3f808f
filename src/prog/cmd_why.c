/* prog/cmd_why.c: `waxwing why ID`: a message's whole life. */
#include "prog/control.h"
#include "prog/prog.h"
#include "wire/codes.h"

#include <getopt.h>
#include <stdio.h>

static const char usage_text[] =
    "Usage: waxwing why [--json] [--control SOCKET] ID\n"
    "\n"
    "Tells what happened to a message, and to what came of it (copies, bounces), oldest first.\n"
    "ID is the queue id: it stands in the reply to DATA, in the Received field and in the log.\n"
    "\n"
    "Exit code: 0 told, 64 wrong usage, 65 an id that nothing is known of, 69 no server, 77 not permitted.\n";

struct why {
    size_t n_rows;
    char first[32];
};

static void print_sentence(json_t *row)
{
    static const struct {
        const char *event, *verb, *at;
    } forms[] = {
        {"accepted", "accepted from", "client"}, {"routed", "goes to", NULL},
        {"deferred", "not yet:", "said by"},     {"delivered", "delivered to", "by"},
        {"transport", "protected by", NULL},
        {"failed", "failed for", "said by"},     {"expired", "given up for", "last said by"},
        {"bounced", "reported to", NULL},        {"refused", "refused", "client"},
    };
    const char *event = row_text(row, "event"), *verb = event, *at = "at";
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (str_eq(str_from_c(event), str_from_c(forms[i].event))) {
            verb = forms[i].verb;
            at = forms[i].at == NULL ? "at" : forms[i].at;
        }
    }
    print_clean(verb);
    (void)fputs("  ", stdout);
    const char *address = row_text(row, "address"), *host = row_text(row, "host");
    if (address[0] == '\0' && str_eq(str_from_c(event), STR("accepted")))
        address = "<>";
    print_clean(address);
    if (host[0] != '\0' && address[0] == '\0') {
        print_clean(host);
    } else if (host[0] != '\0') {
        (void)printf("  (%s ", at);
        print_clean(host);
        (void)putchar(')');
    }
}

static void on_row(void *arg, json_t *row)
{
    struct why *w = arg;
    const char *id = row_text(row, "id");
    if (w->n_rows++ == 0)
        (void)str_to_c(str_from_c(id), w->first, sizeof w->first);
    print_clean(row_text(row, "time"));
    (void)fputs("  ", stdout);
    if (!str_eq(str_from_c(id), str_from_c(w->first))) {
        (void)putchar('[');
        print_clean(id);
        (void)fputs("] ", stdout);
    }
    print_sentence(row);
    const char *text = row_text(row, "text");
    if (text[0] != '\0') {
        (void)fputs("\n                          ", stdout);
        print_clean(text);
    }
    enum code_class class;
    if (code_class_parse(str_from_c(row_text(row, "class")), &class) && class != CODE_OTHER)
        (void)printf("\n                          %s: %s", code_class_word(class), code_class_meaning(class));
    if (row_text(row, "next")[0] != '\0') {
        (void)fputs("\n                          next attempt ", stdout);
        print_clean(row_text(row, "next"));
    }
    if (row_text(row, "other")[0] != '\0') {
        (void)fputs("\n                          see ", stdout);
        print_clean(row_text(row, "other"));
    }
    (void)putchar('\n');
}

int cmd_why(int argc, char **argv)
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
    if (c != -1 || optind != argc - 1) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    struct buf request;
    struct why w = {0};
    buf_init(&request, 4096);
    buf_puts(&request, "why ");
    buf_puts(&request, argv[optind]);
    int status = EXIT_USAGE;
    if (str_has_ctl(buf_str(&request)) || request.failed)
        (void)fputs("waxwing: that is not a queue id (13 letters and digits, as in the reply to DATA)\n",
                    stderr);
    else
        status = control_ask(control_path(control), buf_str(&request), json, on_row, &w);
    buf_fini(&request);
    return status;
}
