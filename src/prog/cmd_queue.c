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
    "  suspend FILTER     attempt nothing that matches, also what comes later, until it is resumed\n"
    "  resume [FILTER]    end what `suspend` was told in the same words; without a filter, all of it\n"
    "  suspended          what is suspended\n"
    "  suppressed [ADDR]  addresses that get no mail of lists, and why; * in ADDR stands for anything\n"
    "  suppress ADDR      put one on that list  (--why TEXT)\n"
    "  unsuppress ADDR    take it off, or what matches, or `all`\n"
    "\n"
    "FILTER is one or more of, all of which must hold:\n"
    "  ID (or id=ID)  domain=example.com  sender=a@b  rcpt=*@example.com  site=mx:example.com  source=POOL\n"
    "  tag=NAME  kind=mail|bounce  state=held|deferred|active  age>2h  age<10m  attempts>3  size>1M  "
    "reason~TEXT\n"
    "  class=CLASS (of the last answer: docs/codes.md)\n"
    "  (suspend takes none of id, state, age, attempts, reason and class)\n"
    "  all            every message (retry, hold, release and drop want this said)\n"
    "\n"
    "Exit code: 0 done, 64 wrong usage, 65 a filter that makes no sense or an unknown id, 69 no server, 77 "
    "not "
    "permitted.\n";

enum { QUEUE_ROWS_MAX = 100000, STATE_WIDTH = 8 };

struct view {
    size_t n_rows;
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
    if (row_number(row, "suspended") != 0) {
        (void)puts("    suspended, see `waxwing queue suspended`");
    } else if (row_text(row, "next")[0] != '\0') {
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

static void on_suppressed_row(void *arg, json_t *row)
{
    struct view *v = arg;
    v->n_rows++;
    print_clean(row_text(row, "address"));
    (void)fputs("  ", stdout);
    print_clean(row_text(row, "reason"));
    (void)fputs("  since ", stdout);
    print_clean(row_text(row, "since"));
    (void)fputs("  until ", stdout);
    print_clean(row_text(row, "until"));
    if (row_text(row, "why")[0] != '\0') {
        (void)fputs("\n    ", stdout);
        print_clean(row_text(row, "why"));
    }
    (void)putchar('\n');
}

static void on_rule_row(void *arg, json_t *row)
{
    struct view *v = arg;
    v->n_rows++;
    print_clean(row_text(row, "filter"));
    (void)putchar('\n');
}

/* What a control request is, and how what comes of it is shown. */
struct action {
    const char *name;
    bool takes_id;    /* one id, and nothing else */
    bool wants_words; /* a filter must be said, if only `all`: no change by forgetting it */
    bool takes_words;
    bool takes_address; /* or a pattern of some */
    void (*on_row)(void *arg, json_t *row);
};
/* clang-format off */
static const struct action actions[] = {
    {"list",       false, false, true,  false, on_list_row},
    {"show",       true,  true,  true,  false, on_any_row},
    {"retry",      false, true,  true,  false, on_any_row},
    {"hold",       false, true,  true,  false, on_any_row},
    {"release",    false, true,  true,  false, on_any_row},
    {"drop",       false, true,  true,  false, on_any_row},
    {"stats",      false, false, true,  false, on_any_row},
    {"suspend",    false, true,  true,  false, on_any_row},
    {"resume",     false, false, true,  false, on_any_row},
    {"suspended",  false, false, false, false, on_rule_row},
    {"suppressed", false, false, true,  true,  on_suppressed_row},
    {"suppress",   false, true,  true,  true,  on_any_row},
    {"unsuppress", false, true,  true,  true,  on_any_row},
};
/* clang-format on */

static void print_count(const struct action *action, size_t n, uint64_t max)
{
    if (action->on_row == on_list_row)
        (void)printf("%zu message%s%s\n", n, n == 1 ? "" : "s",
                     n >= max ? " shown, there may be more (--max N; `waxwing queue stats` counts them)"
                              : "");
    else if (action->on_row == on_rule_row && n == 0)
        (void)puts("nothing is suspended");
    else if (action->on_row == on_suppressed_row)
        (void)printf("%zu address%s\n", n, n == 1 ? "" : "es");
}

static int ask(const char *control, bool json, const struct action *action, struct str words, uint64_t max)
{
    struct buf request;
    struct view v = {0};
    buf_init(&request, 4000);
    buf_printf(&request, "queue-%s ", action->name);
    if (action->on_row == on_list_row)
        buf_printf(&request, "%llu ", (unsigned long long)max);
    buf_put(&request, words);
    if (request.failed || str_has_ctl(buf_str(&request))) {
        (void)fputs("waxwing: the filter is too long or holds control characters\n", stderr);
        buf_fini(&request);
        return EXIT_USAGE;
    }
    int status = control_ask(control_path(control), buf_str(&request), json, action->on_row, &v);
    if (status == EXIT_OK && !json)
        print_count(action, v.n_rows, max);
    buf_fini(&request);
    return status;
}

static bool is_id(struct str word)
{
    for (size_t i = 0; i < word.n; i++) {
        if (!ascii_is_alnum(word.p[i]))
            return false;
    }
    return word.n == 13;
}

/* The words after the action as one text; "all" becomes the empty filter. */
static bool take_filter(int argc, char **argv, bool is_wanted, struct buf *out)
{
    bool is_all = false;
    if (argc == 0 && is_wanted) {
        (void)fputs("waxwing: which messages? Give a filter, an id, or `all`\n", stderr);
        return false;
    }
    for (int i = 0; i < argc; i++) {
        struct str w = str_from_c(argv[i]);
        if (str_eq(w, STR("all"))) {
            is_all = true;
            continue;
        }
        buf_puts(out, out->n > 0 ? " " : "");
        buf_puts(out, is_id(w) ? "id=" : "");
        buf_put(out, w);
    }
    if (is_all && out->n > 0)
        (void)fputs("waxwing: `all` goes with no other filter\n", stderr);
    return is_all ? out->n == 0 : !out->failed;
}

/* One address, and for `suppress` behind it why; "all" becomes the empty pattern of `unsuppress`. */
static bool take_address(const struct action *action, int argc, char **argv, const char *why, struct buf *out)
{
    struct str address = argc == 1 ? str_from_c(argv[0]) : STR_NIL;
    bool is_new = str_eq(str_from_c(action->name), STR("suppress"));
    bool is_all = str_eq(address, STR("all")) && !is_new;
    if (argc > 1 || (argc == 0 && action->wants_words) || str_chr(address, ' ') != STR_NPOS ||
        (is_new && str_chr(address, '@') == STR_NPOS)) {
        (void)fprintf(stderr, "waxwing: `queue %s` takes one address, such as joe@example.com\n",
                      action->name);
        return false;
    }
    if (why != NULL && !is_new) {
        (void)fputs("waxwing: --why goes with `queue suppress`\n", stderr);
        return false;
    }
    buf_put(out, is_all ? STR_NIL : address);
    if (why != NULL)
        buf_printf(out, " %s", why);
    return !out->failed;
}

static bool take_words(const struct action *action, int argc, char **argv, struct buf *out)
{
    if (action->takes_id) {
        if (argc == 1)
            return buf_puts(out, argv[0]);
        (void)fprintf(stderr, "waxwing: `queue %s` takes one id\n", action->name);
        return false;
    }
    if (argc > 0 && !action->takes_words) {
        (void)fprintf(stderr, "waxwing: `queue %s` takes no filter\n", action->name);
        return false;
    }
    return take_filter(argc, argv, action->wants_words, out);
}

static const struct action *find_action(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq(name, str_from_c(actions[i].name)))
            return &actions[i];
    }
    return NULL;
}

int cmd_queue(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},      {"control", required_argument, NULL, 'c'},
        {"max", required_argument, NULL, 'm'}, {"why", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},      {NULL, 0, NULL, 0},
    };
    bool json = false;
    const char *control = NULL, *why = NULL;
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
        else if (c == 'w')
            why = optarg;
        else if (c != 'm' || !str_to_u64(str_from_c(optarg), QUEUE_ROWS_MAX, &max) || max == 0)
            break;
    }
    const struct action *action = c == -1 && optind < argc ? find_action(str_from_c(argv[optind])) : NULL;
    if (action == NULL) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    struct buf words;
    buf_init(&words, 3900);
    int status = EXIT_USAGE;
    int n = argc - optind - 1;
    char **rest = argv + optind + 1;
    if (action->takes_address ? take_address(action, n, rest, why, &words)
                              : take_words(action, n, rest, &words))
        status = ask(control, json, action, buf_str(&words), max);
    buf_fini(&words);
    return status;
}
