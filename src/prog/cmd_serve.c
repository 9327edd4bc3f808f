/* prog/cmd_serve.c: `waxwing serve`: the supervisor in the kernel's world. */
#include "base/limits.h"
#include "base/mem.h"
#include "io/trim.h"
#include "io/world_io.h"
#include "prog/acme_files.h"
#include "prog/folder.h"
#include "prog/load.h"
#include "prog/prog.h"
#include "prog/secret_files.h"
#include "prog/serve.h"
#include "service/roles.h"
#include "service/super/super.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DRAIN_MS = 60000 };

static const char usage_text[] =
    "Usage: waxwing serve [--config FILE] [--demo FOLDER [--port N]]\n"
    "\n"
    "Runs the mail server in the foreground.\n"
    "  --config FILE   the configuration (default /etc/waxwing/waxwing.lua)\n"
    "  --demo FOLDER   no configuration: SMTP on 127.0.0.1, mail for any user @localhost into\n"
    "                  Maildirs below FOLDER, everything else refused\n"
    "  --port N        with --demo: the port (default 2525)\n"
    "\n"
    "SIGHUP reads the configuration again; SIGTERM and SIGINT finish what is under way, then end\n"
    "(a second one ends at once; what is in the queue stays there).\n";

struct serve {
    struct log log;
    struct io_world *io;
    struct io_trim trim;
    struct super *super;
    struct loaded loaded[2]; /* the present generation and the one before */
    unsigned present;
    uint64_t generation;
    const char *path; /* NULL: how->lua */
    const struct serve_how *how;
    uint32_t acme_uid, acme_gid; /* see struct super_conf */
    bool is_draining;
    int status;
};

static bool find_users(struct super_conf *conf)
{
    bool ok = true;
    for (unsigned r = 0; r < ROLE_N; r++) {
        conf->uid[r] = conf->gid[r] = UINT32_MAX;
        const char *name = role_user((enum role)r);
        if (geteuid() != 0 || name == NULL)
            continue;
        if (!load_find_user(name, &conf->uid[r], &conf->gid[r]) || conf->uid[r] == 0) {
            (void)fprintf(stderr, "waxwing: the system user %s is missing (or is root)\n", name);
            ok = false;
        }
    }
    if (!ok)
        (void)fprintf(
            stderr, "waxwing: each process runs as a user of its own; `sh packaging/users.sh` makes them\n");
    return ok;
}

/* A folder of a role: made, given to it, and within its reach. */
static bool role_folder(struct str path, const struct super_conf *conf, enum role r)
{
    char mem[1024];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    if (folder_make(path, conf->uid[r], conf->gid[r], &why) &&
        (conf->uid[r] == UINT32_MAX || folder_is_open_to(path, conf->uid[r], conf->gid[r], true, &why)))
        return true;
    (void)fprintf(stderr, "waxwing: %.*s\n", STR_FMT(buf_str(&why)));
    return false;
}

static bool agent_folder(const struct config *c, const struct super_conf *conf)
{
    char mem[4096];
    struct buf path;
    buf_init_fixed(&path, mem, sizeof mem);
    config_agent_folder(c, &path);
    return !config_wants_agent(c) || role_folder(buf_str(&path), conf, ROLE_AGENT);
}

static bool make_folders(const struct config *c, const struct super_conf *conf)
{
    size_t slash = str_rchr(c->control, '/');
    if (slash != STR_NPOS && slash > 0 && !role_folder(str_slice(c->control, 0, slash), conf, ROLE_SUPER))
        return false;
    return role_folder(c->spool, conf, ROLE_QUEUE) && role_folder(c->journal, conf, ROLE_ADMIN) &&
           agent_folder(c, conf);
}

static void print_texts(const struct loaded *l)
{
    (void)fprintf(stderr, "%.*s%.*s", STR_FMT(buf_str(&l->warnings)), STR_FMT(buf_str(&l->errors)));
}

static bool load(struct serve *s, struct loaded *out)
{
    s->generation++;
    return s->path != NULL ? load_config(s->path, STR_NIL, s->path, s->generation, out)
                           : load_config(NULL, s->how->lua, s->how->name, s->generation, out);
}

static void log_lines(const struct log *log, enum log_level level, const char *event, const struct buf *lines)
{
    struct str rest = buf_str(lines);
    while (rest.n > 0) {
        const struct log_field fields[] = {LS("text", str_cut(&rest, '\n')), {0}};
        log_write(log, level, event, fields);
    }
}

static bool refuse_reload(const struct serve *s, struct str why)
{
    log_error(&s->log, "reload.refused", LS("why", why), LC("kept", "the configuration in force"));
    return false;
}

/* The queue and the journal are open where they are, and commands ask at the socket that is there. */
static bool keeps_its_places(const struct serve *s, const struct config *now, const struct config *next)
{
    if (!str_eq(now->spool, next->spool))
        return refuse_reload(s,
                             STR("the spool can't change while the server runs: stop it and start it anew"));
    if (!str_eq(now->journal, next->journal))
        return refuse_reload(
            s, STR("the journal can't change while the server runs: stop it and start it anew"));
    if (!str_eq(now->control, next->control))
        return refuse_reload(
            s, STR("the control socket can't change while the server runs: stop it and start it anew"));
    if (now->acme.contact.n > 0 && next->acme.contact.n > 0 && !str_eq(now->acme.folder, next->acme.folder))
        return refuse_reload(
            s, STR("acme_folder can't change while the server runs: stop it and start it anew"));
    return true;
}

static bool make_acme_files(const struct serve *s, const struct config *c, struct buf *why)
{
    return acme_files_make(c, s->acme_uid, s->acme_gid, &s->log, why);
}

/* A certificate has come. */
static void on_issued(void *arg)
{
    const struct serve *s = arg;
    acme_files_take(s->loaded[s->present].config, &s->log);
}

static void on_hup(void *arg, int signo)
{
    struct serve *s = arg;
    UNUSED(signo);
    unsigned next = 1 - s->present;
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    loaded_fini(&s->loaded[next]);
    bool is_good = load(s, &s->loaded[next]);
    const struct loaded *l = &s->loaded[next];
    log_lines(&s->log, LOG_WARN, "config.warning", &l->warnings);
    log_lines(&s->log, LOG_ERROR, "config.error", &l->errors);
    if (!is_good) {
        (void)refuse_reload(s, STR("the configuration has errors"));
        return;
    }
    if (!keeps_its_places(s, s->loaded[s->present].config, l->config))
        return;
    struct super_conf conf = {.arg = NULL};
    if (!find_users(&conf) || !agent_folder(l->config, &conf)) {
        (void)refuse_reload(s, STR("the folder for policies can't be had"));
        return;
    }
    if (!make_acme_files(s, l->config, &why)) {
        (void)refuse_reload(s, buf_str(&why));
        return;
    }
    if (!super_reload(s->super, l->config, buf_str(&l->bytes), &why)) {
        (void)refuse_reload(s, buf_str(&why));
        return;
    }
    s->present = next;
    s->log.min = (enum log_level)l->config->log_level;
    s->log.json = l->config->log_json;
    log_info(&s->log, "reload.done", LU("generation", l->config->generation));
}

static void on_term(void *arg, int signo)
{
    struct serve *s = arg;
    log_info(&s->log, s->is_draining ? "drain.cut" : "drain.begun", LU("signal", (uint64_t)signo));
    super_drain(s->super, s->is_draining ? 0 : s->how->drain_ms); /* who says it twice will not wait */
    s->is_draining = true;
}

static void log_place(const struct serve *s, const struct netaddr *at, const char *protocol)
{
    char mem[NETADDR_TEXT_MAX + 32];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    netaddr_format(at, &b);
    log_info(&s->log, "listening", LS("at", buf_str(&b)), LC("protocol", protocol));
}

static void on_ready(void *arg)
{
    struct serve *s = arg;
    const struct config *c = s->loaded[s->present].config;
    for (size_t i = 0; i < c->n_listeners; i++)
        log_place(s, &c->listeners[i].addr, c->listeners[i].lmtp ? "LMTP" : "SMTP");
    for (size_t i = 0; i < c->n_https_addrs; i++)
        log_place(s, &c->https_addrs[i], "HTTPS");
    log_info(&s->log, "ready", LU("generation", c->generation));
    mem_trim();
    if (c->trim)
        io_trim_start(&s->trim, s->io);
    if (s->how->on_ready != NULL)
        s->how->on_ready(s->how->arg);
}

static void on_end(void *arg, int status, struct str why)
{
    struct serve *s = arg;
    if (status == 0)
        log_info(&s->log, "end", LS("why", why));
    else
        log_error(&s->log, "end", LS("why", why));
    s->status = status;
    io_stop(s->io);
}

static struct serve serve_of(const struct serve_how *how)
{
    return (struct serve){.log = {.min = LOG_INFO, .role = "supervisor", .write = io_log_stderr}, .how = how};
}

static int run(struct serve *s)
{
    struct super_conf conf = {.arg = s, .on_ready = on_ready, .on_end = on_end, .on_issued = on_issued};
    char mem[512];
    struct buf why;
    bool is_good = load(s, &s->loaded[0]);
    print_texts(&s->loaded[0]);
    if (!is_good)
        return EXIT_CONFIG;
    const struct config *c = s->loaded[0].config;
    s->log.min = (enum log_level)c->log_level;
    s->log.json = c->log_json;
    if (!find_users(&conf) || !make_folders(c, &conf))
        return EXIT_CONFIG;
    s->acme_uid = conf.uid[ROLE_ACME];
    s->acme_gid = conf.gid[ROLE_ACME];
    buf_init_fixed(&why, mem, sizeof mem);
    if (!make_acme_files(s, c, &why)) {
        (void)fprintf(stderr, "waxwing: %.*s\n", STR_FMT(buf_str(&why)));
        return EXIT_CONFIG;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max; /* sessions are descriptors; children inherit it */
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    s->io = io_world_new(&s->log, "/proc/self/exe");
    if (s->io == NULL)
        return EXIT_OS;
    if (io_on_signal(s->io, SIGHUP, on_hup, s) != ERR_OK ||
        io_on_signal(s->io, SIGTERM, on_term, s) != ERR_OK ||
        io_on_signal(s->io, SIGINT, on_term, s) != ERR_OK)
        return EXIT_OS;
    if (!secret_files_of(s->io, &conf.files))
        return EXIT_OS;
    secret_seed(conf.seed);
    s->super = super_new(io_world_base(s->io), c, buf_str(&s->loaded[0].bytes), &conf);
    if (s->super == NULL)
        return EXIT_OS;
    if (s->status == 0)
        io_run(s->io);
    return s->status;
}

int serve_run(const struct serve_how *how)
{
    struct serve s = serve_of(how);
    (void)prctl(PR_SET_DUMPABLE, 0);
    return run(&s);
}

/* The demonstration's folder, made and as a whole path. */
static bool open_folder(const char *demo, uint32_t uid, uint32_t gid, char path[PATH_MAX])
{
    char mem[1024], mail[PATH_MAX + 8];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    bool ok = folder_make(str_from_c(demo), UINT32_MAX, UINT32_MAX, &why);
    if (ok && realpath(demo, path) == NULL) {
        buf_printf(&why, "can't use the folder %s: %s", demo, err_str(err_from_errno(errno)));
        ok = false;
    }
    if (ok) {
        (void)snprintf(mail, sizeof mail, "%s/mail", path);
        ok = folder_make(str_from_c(mail), uid, gid, &why) &&
             (uid == UINT32_MAX || folder_is_open_to(str_from_c(mail), uid, gid, true, &why));
    }
    if (!ok)
        (void)fprintf(stderr, "waxwing: %.*s\n", STR_FMT(buf_str(&why)));
    return ok;
}

int cmd_serve(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"demo", required_argument, NULL, 'd'},
        {"port", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct serve_how how = {.name = "demo", .drain_ms = DRAIN_MS};
    struct serve s = serve_of(&how);
    struct buf demo_lua;
    const char *demo = NULL;
    uint64_t port = 2525;
    s.path = "/etc/waxwing/waxwing.lua";
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        }
        if (c == 'c')
            s.path = optarg;
        else if (c == 'd')
            demo = optarg;
        else if (c != 'p' || !str_to_u64(str_from_c(optarg), 65535, &port) || port == 0) {
            (void)fputs(usage_text, stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)umask(022); /* folders must be as open as is said; files of the roles lie in folders of their own */
    buf_init(&demo_lua, 65536);
    char folder[PATH_MAX];
    if (demo != NULL) {
        s.path = NULL;
        uint32_t uid = UINT32_MAX, gid = UINT32_MAX;
        if (geteuid() == 0 && !load_find_user("_wwmail", &uid, &gid)) {
            (void)fputs("waxwing: the system user _wwmail is missing; `sh packaging/users.sh` makes it\n",
                        stderr);
            return EXIT_CONFIG;
        }
        if (!open_folder(demo, uid, gid, folder))
            return EXIT_CONFIG;
        config_default_lua(str_from_c(folder), (uint16_t)port, geteuid() == 0 ? STR("_wwmail") : STR_NIL,
                           &demo_lua);
        how.lua = buf_str(&demo_lua);
    }
    return run(&s);
}
