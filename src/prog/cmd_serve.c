/* prog/cmd_serve.c: `waxwing serve`: the supervisor in the kernel's world. */
#include "base/limits.h"
#include "io/world_io.h"
#include "prog/load.h"
#include "prog/prog.h"
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
    "SIGHUP reads the configuration again; SIGTERM and SIGINT finish what is under way, then end.\n";

struct serve {
    struct log log;
    struct io_world *io;
    struct super *super;
    struct loaded loaded[2]; /* the present generation and the one before */
    unsigned present;
    uint64_t generation;
    const char *path; /* NULL: demo */
    struct buf demo_lua;
    int status;
};

/* Makes the folder and those above it; the last one gets the owner and mode 0700 if it was made here. */
static bool make_folder(const char *path, uint32_t uid, uint32_t gid)
{
    char p[4096];
    if (!str_to_c(str_from_c(path), p, sizeof p) || p[0] == '\0')
        return false;
    for (char *at = p + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        bool is_last = *at == '\0';
        *at = '\0';
        bool made = mkdir(p, is_last ? 0700 : 0755) == 0;
        if (!made && errno != EEXIST) {
            (void)fprintf(stderr, "waxwing: can't make the folder %s: %s\n", p,
                          err_str(err_from_errno(errno)));
            return false;
        }
        if (is_last) {
            if (uid != UINT32_MAX && chown(p, uid, gid) == -1) {
                (void)fprintf(stderr, "waxwing: can't give %s to user %u: %s\n", p, uid,
                              err_str(err_from_errno(errno)));
                return false;
            }
            return true;
        }
        *at = '/';
    }
}

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

static bool make_folders(const struct config *c, const struct super_conf *conf)
{
    char control[4096];
    size_t slash = str_rchr(c->control, '/');
    if (slash != STR_NPOS && slash > 0 &&
        str_to_c(str_slice(c->control, 0, slash), control, sizeof control)) {
        struct stat st;
        if (stat(control, &st) == -1 && !make_folder(control, UINT32_MAX, UINT32_MAX))
            return false;
        /* commands come from root and the admin's group */
        if (geteuid() == 0 && stat(control, &st) == 0 && chmod(control, st.st_mode | 0055) == -1)
            return false;
    }
    char spool[4096], journal[4096];
    return str_to_c(c->spool, spool, sizeof spool) && str_to_c(c->journal, journal, sizeof journal) &&
           make_folder(spool, conf->uid[ROLE_QUEUE], conf->gid[ROLE_QUEUE]) &&
           make_folder(journal, conf->uid[ROLE_ADMIN], conf->gid[ROLE_ADMIN]);
}

static void print_texts(const struct loaded *l)
{
    (void)fprintf(stderr, "%.*s%.*s", STR_FMT(buf_str(&l->warnings)), STR_FMT(buf_str(&l->errors)));
}

static bool load(struct serve *s, struct loaded *out)
{
    s->generation++;
    bool ok = s->path != NULL ? load_config(s->path, STR_NIL, s->path, s->generation, out)
                              : load_config(NULL, buf_str(&s->demo_lua), "demo", s->generation, out);
    print_texts(out);
    return ok;
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
    if (!load(s, &s->loaded[next])) {
        log_error(&s->log, "reload.refused", LC("kept", "the configuration in force"));
        return;
    }
    const struct loaded *l = &s->loaded[next];
    if (!super_reload(s->super, l->config, buf_str(&l->bytes), &why)) {
        log_error(&s->log, "reload.refused", LS("why", buf_str(&why)),
                  LC("kept", "the configuration in force"));
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
    log_info(&s->log, "drain.begun", LU("signal", (uint64_t)signo));
    super_drain(s->super, DRAIN_MS);
}

static void on_ready(void *arg)
{
    struct serve *s = arg;
    const struct config *c = s->loaded[s->present].config;
    for (size_t i = 0; i < c->n_listeners; i++) {
        char mem[NETADDR_TEXT_MAX + 32];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        netaddr_format(&c->listeners[i].addr, &b);
        log_info(&s->log, "listening", LS("at", buf_str(&b)),
                 LC("protocol", c->listeners[i].lmtp ? "LMTP" : "SMTP"));
    }
    log_info(&s->log, "ready", LU("generation", c->generation));
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

static int run(struct serve *s)
{
    struct super_conf conf = {.arg = s, .on_ready = on_ready, .on_end = on_end};
    if (!load(s, &s->loaded[0]))
        return EXIT_CONFIG;
    const struct config *c = s->loaded[0].config;
    s->log.min = (enum log_level)c->log_level;
    s->log.json = c->log_json;
    if (!find_users(&conf) || !make_folders(c, &conf))
        return EXIT_CONFIG;
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
    s->super = super_new(io_world_base(s->io), c, buf_str(&s->loaded[0].bytes), &conf);
    if (s->super == NULL)
        return EXIT_OS;
    if (s->status == 0)
        io_run(s->io);
    return s->status;
}

/* The demonstration's folder as a whole path; the roles' users must be able to go through it. */
static bool open_folder(const char *demo, char path[PATH_MAX])
{
    struct stat st;
    if (realpath(demo, path) != NULL && stat(path, &st) == 0 &&
        ((st.st_mode & 0055) == 0055 || chmod(path, st.st_mode | 0055) == 0))
        return true;
    (void)fprintf(stderr, "waxwing: can't use the folder %s: %s\n", demo, err_str(err_from_errno(errno)));
    return false;
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
    struct serve s = {.log = {.min = LOG_INFO, .role = "supervisor", .write = io_log_stderr},
                      .path = "/etc/waxwing/waxwing.lua"};
    const char *demo = NULL;
    uint64_t port = 2525;
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
    buf_init(&s.demo_lua, 65536);
    char folder[PATH_MAX];
    if (demo != NULL) {
        s.path = NULL;
        uint32_t uid = UINT32_MAX, gid = UINT32_MAX;
        if (geteuid() == 0 && !load_find_user("_wwmail", &uid, &gid)) {
            (void)fputs("waxwing: the system user _wwmail is missing; `sh packaging/users.sh` makes it\n",
                        stderr);
            return EXIT_CONFIG;
        }
        if (!make_folder(demo, UINT32_MAX, UINT32_MAX) || !open_folder(demo, folder))
            return EXIT_CONFIG;
        config_default_lua(str_from_c(folder), (uint16_t)port, geteuid() == 0 ? STR("_wwmail") : STR_NIL,
                           &s.demo_lua);
        char mail[4200];
        (void)snprintf(mail, sizeof mail, "%s/mail", folder);
        if (!make_folder(mail, uid, gid))
            return EXIT_CONFIG;
    }
    return run(&s);
}
