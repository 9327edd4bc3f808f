/* prog/role_main.c: `waxwing --role NAME --index N --fd 3 [--root PATH]`: one role in the kernel's world. */
#include "crypto/crypto.h"
#include "ext/http_curl.h"
#include "ext/journal_sqlite.h"
#include "ext/pam_check.h"
#include "ext/tables.h"
#include "ext/unbound.h"
#include "io/sandbox.h"
#include "io/trim.h"
#include "io/world_io.h"
#include "prog/prog.h"
#include "service/boot/role.h"
#include "service/local/deliver.h"
#include "service/local/pipe.h"
#include "service/roles.h"

#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct process {
    struct log log;
    struct io_world *io;
    struct boot *boot;
    int status;
    enum role role;
    struct journal *journal;
    struct crypto *crypto;
    struct http_curl *http;
    struct io_trim trim;
    struct tables_ext *tables;
    struct sandbox_profile profile;
    struct sandbox_report report;
};

static void on_exit_wanted(void *arg, int status)
{
    struct process *p = arg;
    p->status = status;
    io_stop(p->io);
}

/* At the start and at each reload. */
static void on_configured(void *arg, const struct config *c)
{
    struct process *p = arg;
    p->log.min = (enum log_level)c->log_level;
    p->log.json = c->log_json;
    if (c->trim)
        io_trim_start(&p->trim, p->io);
}

/* Called once after create(): nothing is opened by path from here on but what the profile says. */
static bool enter_sandbox(void *arg, struct role_env *env, struct buf *out)
{
    struct process *p = arg;
    UNUSED(env);
    enum err e = sandbox_enter(&p->profile, &p->report);
    if (e != ERR_OK)
        buf_printf(out, "the sandbox could not be entered: %s", err_str(e));
    /* of the many that come and go one line each says nothing that the other roles have not said */
    if (p->report.missing[0] != '\0' && p->role != ROLE_DELIVER && p->role != ROLE_PIPE &&
        p->role != ROLE_PAM)
        log_warn(&p->log, "sandbox.partial", LC("missing", p->report.missing));
    return e == ERR_OK;
}

static const struct role_ops *ops_of(enum role r)
{
    switch (r) {
    case ROLE_SMTPD:
        return &smtpd_role;
    case ROLE_LOOKUP:
        return &lookup_role;
    case ROLE_QUEUE:
        return &queue_role;
    case ROLE_RELAY:
        return &relay_role;
    case ROLE_LOCAL:
        return &local_role;
    case ROLE_ADMIN:
        return &admin_role;
    case ROLE_KEYS:
        return &keys_role;
    case ROLE_AGENT:
        return &agent_role;
    case ROLE_ACME:
        return &acme_role;
    case ROLE_HTTP01:
        return &http01_role;
    case ROLE_HTTPS:
        return &https_role;
    case ROLE_AUTH:
        return &auth_role;
    case ROLE_PAM:
        return &pam_role;
    case ROLE_TABLES:
        return &tables_role;
    case ROLE_SUPER:
    case ROLE_DELIVER:
    case ROLE_PIPE:
        break;
    }
    return NULL;
}

struct arguments {
    enum role role;
    unsigned index;
    int fd;
    const char *root;
};

static bool parse_arguments(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        {"role", required_argument, NULL, 'r'},
        {"index", required_argument, NULL, 'i'},
        {"fd", required_argument, NULL, 'f'},
        {"root", required_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    uint64_t v;
    bool has_role = false;
    int c;
    *out = (struct arguments){.fd = 3};
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        bool ok = true;
        if (c == 'r')
            ok = has_role = role_parse(str_from_c(optarg), &out->role);
        else if (c == 'i' && (ok = str_to_u64(str_from_c(optarg), ROLE_SMTPD_MAX - 1, &v)))
            out->index = (unsigned)v;
        else if (c == 'f' && (ok = str_to_u64(str_from_c(optarg), 1024, &v)))
            out->fd = (int)v;
        else if (c == 'd')
            out->root = optarg;
        else
            ok = false;
        if (!ok)
            return false;
    }
    return has_role;
}

static void *ext_for(struct process *p, const struct arguments *a)
{
    enum err e = ERR_OK;
    if (a->role == ROLE_LOOKUP) {
        struct unbound *u = unbound_new(p->io, UNBOUND_TIMEOUT_MS);
        return u == NULL ? NULL : unbound_resolver(u);
    }
    if (a->role == ROLE_RELAY) { /* before the sandbox: see crypto/crypto.h */
        e = crypto_new(&p->crypto);
        if (e != ERR_OK)
            log_error(&p->log, "relay.crypto", LERR(e));
        return p->crypto;
    }
    if (a->role == ROLE_AGENT)
        return p->http == NULL ? NULL : http_curl_client(p->http);
    if (a->role == ROLE_TABLES) {
        must(p->tables != NULL);
        struct table_drivers *drivers = tables_ext_drivers(p->tables);
        drivers->http = p->http == NULL ? NULL : http_curl_client(p->http);
        return drivers;
    }
    if (a->role == ROLE_PAM)
        return pam_of_this_machine();
    if (a->role != ROLE_ADMIN || a->root == NULL)
        return NULL;
    p->journal = journal_sqlite_open(a->root, &p->log, &e);
    if (p->journal == NULL)
        log_error(&p->log, "journal.unopenable", LC("folder", a->root), LERR(e));
    return p->journal;
}

/* Its programs find themselves by the account that it has become. */
static void start_pipe(struct world *w, struct channel *local, const struct boot_hooks *hooks)
{
    const struct passwd *pw = getpwuid(getuid()); /* nobody asks again: what it points to stays */
    struct pipe_account a = {.name = STR_NIL};
    if (pw != NULL)
        a = (struct pipe_account){str_from_c(pw->pw_name), str_from_c(pw->pw_dir), str_from_c(pw->pw_shell)};
    pipe_start(w, local, &a, hooks);
}

int role_main(int argc, char **argv)
{
    struct arguments a;
    if (!parse_arguments(argc, argv, &a))
        return EXIT_USAGE;
    struct process p = {.log = {.min = LOG_INFO, .role = role_name(a.role), .write = io_log_stderr},
                        .role = a.role};
    p.io = io_world_new(&p.log, "/proc/self/exe");
    if (p.io == NULL)
        return EXIT_OS;
    struct channel *super = io_adopt_channel(p.io, a.fd);
    if (super == NULL) {
        (void)fprintf(stderr, "waxwing: --role is for the supervisor only: use `waxwing serve`\n");
        return EXIT_USAGE;
    }
    if (a.role == ROLE_AGENT || a.role == ROLE_TABLES) /* loads its library, which is a file */
        p.http = http_curl_new(p.io);
    if (a.role == ROLE_TABLES)
        p.tables = tables_ext_new();
    p.profile = *role_sandbox(a.role);
    p.profile.rw_path = a.root;
    /* Landlock binds the threads that start later: before any disk is opened */
    enum err e = sandbox_files(&p.profile, &p.report);
    if (e != ERR_OK && a.role == ROLE_TABLES && a.root != NULL) { /* what needs no file goes on */
        log_error(&p.log, "tables.folder", LC("folder", a.root), LERR(e));
        p.profile.rw_path = NULL;
        e = sandbox_files(&p.profile, &p.report);
    }
    if (e != ERR_OK && a.role != ROLE_DELIVER) {
        log_error(&p.log, "sandbox.refused", LC("part", "files"), LERR(e));
        return EXIT_OS;
    }
    struct boot_hooks hooks = {
        .arg = &p, .enter_sandbox = enter_sandbox, .configured = on_configured, .exit = on_exit_wanted};
    struct world *w = io_world_base(p.io);
    if (e != ERR_OK)
        deliver_refuse(w, super, e, &hooks); /* a user's folder is missing: that is no failure of ours */
    else if (a.role == ROLE_DELIVER)
        deliver_start(w, super, a.root, &hooks);
    else if (a.role == ROLE_PIPE)
        start_pipe(w, super, &hooks);
    else if (ops_of(a.role) != NULL)
        p.boot = boot_new(w, a.role, a.index, a.root, super, ops_of(a.role), ext_for(&p, &a), &hooks);
    else
        return EXIT_USAGE;
    io_run(p.io);
    /* The process ends here; what it holds is the kernel's to free. The journal alone has something to
     * finish. */
    if (p.journal != NULL)
        journal_sqlite_close(&p.journal);
    return p.status;
}
