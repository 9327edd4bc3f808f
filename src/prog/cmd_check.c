/* prog/cmd_check.c: `waxwing check`: is the configuration good? */
#include "base/limits.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "prog/load.h"
#include "prog/policy_hosts.h"
#include "prog/prog.h"

#include <getopt.h>
#include <stdio.h>

static const char usage_text[] = "Usage: waxwing check [--json] [FILE]\n"
                                 "\n"
                                 "Reads the configuration (default /etc/waxwing/waxwing.lua) as `serve` "
                                 "would and says what is wrong with it.\n"
                                 "Exit code: 0 good, 78 not, 66 unreadable.\n";

static void print_json_lines(const char *key, const struct buf *b, struct buf *out)
{
    struct str rest = buf_str(b);
    buf_printf(out, "\"%s\":[", key);
    for (bool first = true; rest.n > 0; first = false) {
        struct str line = str_cut(&rest, '\n');
        buf_puts(out, first ? "" : ",");
        log_quote(out, line);
    }
    buf_putc(out, ']');
}

static int exit_code(const struct loaded *l, bool ok)
{
    return ok ? EXIT_OK : l->is_unreadable ? EXIT_NOINPUT : EXIT_CONFIG;
}

static int report(const struct loaded *l, bool ok, bool json, const char *path)
{
    if (json) {
        struct buf out;
        buf_init(&out, 1 << 20);
        buf_printf(&out, "{\"ok\":%s,", ok ? "true" : "false");
        print_json_lines("errors", &l->errors, &out);
        buf_putc(&out, ',');
        print_json_lines("warnings", &l->warnings, &out);
        (void)printf("%.*s}\n", STR_FMT(buf_str(&out)));
        buf_fini(&out);
        return exit_code(l, ok);
    }
    (void)fprintf(stderr, "%.*s%.*s", STR_FMT(buf_str(&l->warnings)), STR_FMT(buf_str(&l->errors)));
    if (ok)
        (void)printf("%s: good: %zu domain(s), %zu listener(s)\n", path, l->config->policy.n_domains,
                     l->config->n_listeners);
    return exit_code(l, ok);
}

enum { POLICY_WARNINGS_MAX = 20 };
struct looking {
    struct loaded *l;
    const char *path;
    unsigned n;
};

static void warn_uncovered(void *arg, struct str domain)
{
    struct looking *k = arg;
    if (k->n++ >= POLICY_WARNINGS_MAX)
        return;
    buf_printf(&k->l->warnings,
               "%s: domain \"%.*s\" has mta_sts_policy, and none of the certificates is for mta-sts.%.*s: "
               "nobody can get "
               "its policy\n",
               k->path, STR_FMT(domain), STR_FMT(domain));
}

/* The server says it in its log: here files may be read before it runs. */
static void look_at_policy_hosts(struct loaded *l, const char *path)
{
    struct crypto *crypto = NULL;
    if (l->config->n_sts_hosts > 0 && crypto_new(&crypto) == ERR_OK)
        policy_hosts_uncovered(crypto, l->config, warn_uncovered, &(struct looking){.l = l, .path = path});
    crypto_del(&crypto);
}

int cmd_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool json = false;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        }
        if (c != 'j') {
            (void)fputs(usage_text, stderr);
            return EXIT_USAGE;
        }
        json = true;
    }
    const char *path = optind < argc ? argv[optind] : "/etc/waxwing/waxwing.lua";
    if (optind < argc - 1) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    struct loaded l;
    bool ok = load_config(path, STR_NIL, path, 1, &l);
    if (ok)
        look_at_policy_hosts(&l, path);
    int status = report(&l, ok, json, path);
    loaded_fini(&l);
    return status;
}
