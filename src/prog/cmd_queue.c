/* prog/cmd_queue.c: `waxwing queue ...`. */
#include "prog/control.h"
#include "prog/prog.h"

#include <getopt.h>
#include <stdio.h>

static const char usage_text[] =
    "Usage: waxwing queue [--json] [--control SOCKET] ACTION [FILTER...]\n"
    "\n"
    "  list [FILTER]      what waits, who it is for, and why it waits  (--max N rows, 1 to 100000, default "
    "1000)\n"
    "  stats              how much waits, by destination\n"
    "  show ID            everything about one message\n"
    "  retry FILTER       try now\n"
    "  hold FILTER        stop trying until it is released\n"
    "  release FILTER     end a hold\n"
    "  drop FILTER        delete without a report to the sender\n"
    "\n"
    "FILTER is one or more of, all of which must hold:\n"
    "  ID (or id=ID)  domain=example.com  sender=a@b  site=mx:example.com  state=held|deferred|active  "
    "age>2h  age<10m\n"
    "  all            every message (retry, hold, release and drop want this said)\n"
    "\n"
    "Exit code: 0 done, 64 wrong usage, 65 a filter that makes no sense or an unknown id, 69 no server, 77 "
    "not "
    "permitted.\n";

enum { QUEUE_ROWS_MAX = 100000, STATE_WIDTH = 8 };

struct view {
    size_t n_rows;
    const char *action;
};

static long long row_number(json_t *row, const char *key)
{
    return (long long)json_integer_value(json_object_get(row, key));
}

static void print_age(long long s)
{
    if (s >= 2 * 86400)
        (void)printf("%lldd", s / 86400);
    else if (s >= 2 * 3600)
        (void)printf("%lldh", s / 3600);
    else if (s >= 120)
        (void)printf("%lldm", s / 60);
    else
        (void)printf("%llds", s);
}

/* A member of any type, on one line. */
static void print_member(const char *key, json_t *v, int indent)
{
    (void)printf("%*s", indent, "");
    print_clean(key);
    (void)fputs(": ", stdout);
    if (json_is_string(v))
        print_clean(json_string_value(v));
    else if (json_is_integer(v))
        (void)printf("%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        (void)fputs(json_is_true(v) ? "yes" : "no", stdout);
    (void)putchar('\n');
}

static void print_object(json_t *row, int indent)
{
    const char *key;
    json_t *v;
    json_object_foreach (row, key, v) {
        size_t i;
        json_t *item;
        if (!json_is_array(v)) {
            print_member(key, v, indent);
            continue;
        }
        (void)printf("%*s", indent, "");
        print_clean(key);
        (void)fputs(":\n", stdout);
        json_array_foreach (v, i, item) {
            if (json_is_object(item)) {
                print_object(item, indent + 4);
                (void)putchar('\n');
            } else {
                (void)printf("%*s", indent + 4, "");
                print_clean(json_string_value(item) == NULL ? "" : json_string_value(item));
                (void)putchar('\n');
            }
        }
    }
}

static void print_rcpts(json_t *rcpts)
{
    size_t i;
    json_t *r;
    json_array_foreach (rcpts, i, r) {
        (void)fputs("    to ", stdout);
        print_clean(json_is_string(r) ? json_string_value(r) : row_text(r, "address"));
        (void)putchar('\n');
    }
}

static void on_list_row(void *arg, json_t *row)
{
    struct view *v = arg;
    v->n_rows++;
    print_clean(row_text(row, "id"));
    (void)fputs("  ", stdout);
    const char *state = row_text(row, "state");
    size_t width = str_from_c(state).n;
    print_clean(state);
    (void)printf("%*s", width < STATE_WIDTH ? (int)(STATE_WIDTH - width) + 2 : 2, "");
    print_age(row_number(row, "age_s"));
    const char *sender = row_text(row, "sender");
    (void)fputs("  from ", stdout);
    print_clean(sender[0] == '\0' ? "<>" : sender);
    (void)putchar('\n');
    print_rcpts(json_object_get(row, "recipients"));
    if (row_text(row, "reason")[0] != '\0') {
        (void)fputs("    ", stdout);
        print_clean(row_text(row, "reason"));
        (void)putchar('\n');
    }
    if (row_text(row, "next")[0] != '\0') {
        (void)fputs("    next attempt ", stdout);
        print_clean(row_text(row, "next"));
        (void)putchar('\n');
    }
}

static void on_any_row(void *arg, json_t *row)
{
    struct view *v = arg;
    v->n_rows++;
    print_object(row, 0);
    (void)putchar('\n');
}

static int ask(const char *control, bool json, const char *action, struct str words, uint64_t max)
{
    struct buf request;
    struct view v = {.action = action};
    bool is_list = str_eq(str_from_c(action), STR("list"));
    buf_init(&request, 4000);
    buf_printf(&request, "queue-%s ", action);
    if (is_list)
        buf_printf(&request, "%llu ", (unsigned long long)max);
    buf_put(&request, words);
    if (request.failed || str_has_ctl(buf_str(&request))) {
        (void)fputs("waxwing: the filter is too long or holds control characters\n", stderr);
        return EXIT_USAGE;
    }
    int status =
        control_ask(control_path(control), buf_str(&request), json, is_list ? on_list_row : on_any_row, &v);
    if (status == EXIT_OK && is_list && !json)
        (void)printf(
            "%zu message%s%s\n", v.n_rows, v.n_rows == 1 ? "" : "s",
            v.n_rows >= max ? " shown, there may be more (--max N; `waxwing queue stats` counts them)" : "");
    buf_fini(&request);
    return status;
}

/* The words after the action as one text; "all" becomes the empty filter; changing everything by forgetting
 * the filter is refused. */
static bool take_filter(int argc, char **argv, bool is_change, struct buf *out)
{
    bool is_all = false;
    if (argc == 0 && is_change) {
        (void)fputs("waxwing: which messages? Give a filter, an id, or `all`\n", stderr);
        return false;
    }
    for (int i = 0; i < argc; i++) {
        if (str_eq(str_from_c(argv[i]), STR("all"))) {
            is_all = true;
            continue;
        }
        struct str w = str_from_c(argv[i]);
        bool is_id = w.n == 13 && str_chr(w, '=') == STR_NPOS && str_chr(w, '<') == STR_NPOS &&
                     str_chr(w, '>') == STR_NPOS;
        buf_puts(out, out->n > 0 ? " " : "");
        buf_puts(out, is_id ? "id=" : "");
        buf_put(out, w);
    }
    if (is_all && out->n > 0)
        (void)fputs("waxwing: `all` goes with no other filter\n", stderr);
    return is_all ? out->n == 0 : !out->failed;
}

static bool is_known(struct str action)
{
    static const char *const actions[] = {"list", "show", "retry", "hold", "release", "drop", "stats"};
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq(action, str_from_c(actions[i])))
            return true;
    }
    return false;
}

int cmd_queue(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"control", required_argument, NULL, 'c'},
        {"max", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool json = false;
    const char *control = NULL;
    uint64_t max = 1000;
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
        else if (c != 'm' || !str_to_u64(str_from_c(optarg), QUEUE_ROWS_MAX, &max) || max == 0)
            break;
    }
    if (c != -1 || optind >= argc || !is_known(str_from_c(argv[optind]))) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    const char *action = argv[optind];
    struct str a = str_from_c(action);
    bool is_show = str_eq(a, STR("show"));
    bool is_change = !is_show && !str_eq(a, STR("list")) && !str_eq(a, STR("stats"));
    struct buf words;
    buf_init(&words, 3900);
    int status = EXIT_USAGE;
    if (is_show && optind + 2 == argc && buf_puts(&words, argv[optind + 1]))
        status = ask(control, json, action, buf_str(&words), max);
    else if (!is_show && take_filter(argc - optind - 1, argv + optind + 1, is_change, &words))
        status = ask(control, json, action, buf_str(&words), max);
    else if (is_show)
        (void)fputs("waxwing: `queue show` takes one id\n", stderr);
    buf_fini(&words);
    return status;
}
