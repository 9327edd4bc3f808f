/* prog/cmd_dns.c: `waxwing dns`: the records to publish for a configuration. */
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "prog/dns_records.h"
#include "prog/load.h"
#include "prog/policy_hosts.h"
#include "prog/prog.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage_text[] = "Usage: waxwing dns [--json] [--config FILE]\n"
                                 "\n"
                                 "Prints what to publish in the DNS for a configuration (default "
                                 "/etc/waxwing/waxwing.lua), as lines of zone\n"
                                 "files: MX, TLSA of the certificates in force, MTA-STS with the text of its "
                                 "policy, TLS-RPT, and the SRV\n"
                                 "records of ports where users log in. It asks nobody, and changes nothing.\n"
                                 "Exit code: 0; 66 the configuration, or a certificate, could not be read; "
                                 "78 the configuration is not good.\n";

/* ---- keys ---------------- */

static enum err read_facts(const struct crypto *c, const struct certificate_conf *conf, struct str hostname,
                           struct certificate_facts *facts, bool *is_for_host)
{
    char path[4096];
    struct buf pem;
    buf_init(&pem, TLS_CHAIN_SIZE_MAX + 128 * 1024); /* load_file() reads in pieces */
    enum err e =
        str_to_c(conf->cert, path, sizeof path) ? load_file(path, TLS_CHAIN_SIZE_MAX, &pem) : ERR_TOO_BIG;
    if (e == ERR_OK)
        e = certificate_read(c, buf_str(&pem), facts);
    *is_for_host = e == ERR_OK && certificate_is_for(c, buf_str(&pem), &hostname, 1);
    buf_fini(&pem);
    return e;
}

/* Those that a client of the hostname may be shown: that are for it, or the first where none is. false: one
 * can't be read, which was said. */
static bool find_keys(const struct crypto *crypto, const struct config *c, struct dns_key *keys,
                      size_t *out_n)
{
    bool ok = true;
    struct dns_key first = {{0}};
    *out_n = 0;
    for (size_t i = 0; i < c->n_certificates; i++) {
        struct certificate_facts facts;
        bool is_for_host;
        enum err e = read_facts(crypto, &c->certificates[i], c->policy.hostname, &facts, &is_for_host);
        if (e != ERR_OK) {
            (void)fprintf(stderr, "waxwing dns: %.*s: %s%s\n", STR_FMT(c->certificates[i].cert),
                          e == ERR_INVALID ? "there is no certificate in PEM form" : config_file_problem(e),
                          e == ERR_NOTFOUND && c->certificates[i].n_names > 0
                              ? " (the server makes it when it starts)"
                              : "");
            ok = false;
            continue;
        }
        if (i == 0)
            memcpy(first.print, facts.key_print, sizeof first.print);
        if (is_for_host)
            memcpy(keys[(*out_n)++].print, facts.key_print, sizeof keys->print);
    }
    if (*out_n == 0 && c->n_certificates > 0 && ok)
        keys[(*out_n)++] = first;
    return ok;
}

/* ---- printing ---------------- */

static void print_comment(struct str text)
{
    while (text.n > 0) {
        struct str line = str_cut(&text, '\n');
        (void)printf("; %.*s\n", STR_FMT(str_ends(line, STR("\r")) ? str_slice(line, 0, line.n - 1) : line));
    }
}

static void print_text(void *arg, const struct dns_fact *f)
{
    UNUSED(arg);
    if (f->kind == DNS_FACT_RECORD) {
        (void)printf("%.*s IN %s %.*s\n", STR_FMT(f->name), f->type, STR_FMT(f->text));
        return;
    }
    if (f->kind == DNS_FACT_POLICY && f->is_served)
        (void)printf("; %.*s is served by this server (mta_sts_policy):\n", STR_FMT(f->name));
    else if (f->kind == DNS_FACT_POLICY)
        (void)printf(
            "; %.*s, on a web server with a certificate for that name, is to hold this policy; when the "
            "reports\n; (TLS-RPT) tell of no failures, make it mode: enforce, and change the id "
            "(mta_sts_policy does both here):\n",
            STR_FMT(f->name));
    print_comment(f->text);
}

static void print_json(void *arg, const struct dns_fact *f)
{
    static const char *const kinds[] = {
        [DNS_FACT_RECORD] = "record", [DNS_FACT_POLICY] = "policy", [DNS_FACT_NOTE] = "note"};
    struct buf out;
    UNUSED(arg);
    buf_init(&out, 65536);
    buf_printf(&out, "{\"kind\":\"%s\"", kinds[f->kind]);
    if (f->kind != DNS_FACT_NOTE) {
        buf_puts(&out, f->kind == DNS_FACT_POLICY ? ",\"url\":" : ",\"name\":");
        log_quote(&out, f->name);
    }
    if (f->kind == DNS_FACT_RECORD)
        buf_printf(&out, ",\"type\":\"%s\"", f->type);
    if (f->kind == DNS_FACT_POLICY)
        buf_printf(&out, ",\"served\":%s", f->is_served ? "true" : "false");
    buf_puts(&out, f->kind == DNS_FACT_RECORD ? ",\"data\":" : ",\"text\":");
    log_quote(&out, f->text);
    (void)printf("%.*s}\n", STR_FMT(buf_str(&out)));
    buf_fini(&out);
}

struct printer {
    void (*fn)(void *arg, const struct dns_fact *f);
};

static void print_uncovered(void *arg, struct str domain)
{
    const struct printer *p = arg;
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_printf(&b, "None of the certificates is for mta-sts.%.*s: nobody can get that policy.",
               STR_FMT(domain));
    p->fn(NULL, &(struct dns_fact){.kind = DNS_FACT_NOTE, .text = buf_str(&b)});
}

static int print_all(const struct config *c, bool json)
{
    struct crypto *crypto = NULL;
    size_t n = 0;
    struct dns_key *keys = mem_alloc_array(c->n_certificates + 1, sizeof *keys);
    if (keys == NULL || crypto_new(&crypto) != ERR_OK) {
        mem_free(keys);
        return EXIT_OS;
    }
    bool ok = find_keys(crypto, c, keys, &n);
    struct printer printer = {json ? print_json : print_text};
    if (ok) {
        dns_records(c, keys, n, printer.fn, NULL);
        policy_hosts_uncovered(crypto, c, print_uncovered, &printer);
    }
    crypto_del(&crypto);
    mem_free(keys);
    return ok ? EXIT_OK : EXIT_NOINPUT;
}

int cmd_dns(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *path = "/etc/waxwing/waxwing.lua";
    bool json = false;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        }
        if (c == 'c')
            path = optarg;
        else if (c == 'j')
            json = true;
        else
            break;
    }
    if (c != -1 || optind != argc) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    struct loaded l;
    int status;
    if (load_config(path, STR_NIL, path, 1, &l)) {
        status = print_all(l.config, json);
    } else {
        (void)fprintf(stderr, "%.*s", STR_FMT(buf_str(&l.errors)));
        status = l.is_unreadable ? EXIT_NOINPUT : EXIT_CONFIG;
    }
    loaded_fini(&l);
    return status;
}
