/* prog/cmd_dev_run.c: `waxwing dev`: the server, and beside it who tells what came.
 *
 * The server is a child in a process group of its own: Ctrl-C comes here alone and is passed on once, as
 * SIGTERM. The supervisor reads no mail; what is told of a message is read here, by the user whose mail it
 * is.
 */
#include "base/mem.h"
#include "base/netaddr.h"
#include "config/config.h"
#include "io/sockaddr.h"
#include "prog/cmd_dev.h"
#include "prog/prog.h"
#include "prog/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEV_DRAIN_MS = 1000, DEV_LUA_MAX = 65536, QUIET_MS = 30, CALM_MS = 500 };

struct run {
    struct dev_place place;
    struct netaddr at;
    char at_text[NETADDR_TEXT_MAX + 1];
    struct buf lua;
    pid_t server;
    int signals, ready, watch;
    uint64_t *told; /* ids of the messages that were there at the last look, in order */
    size_t n_told;
};

/* ---- before the start ---------------- */

static bool take_address(const struct dev_args *a, struct run *r)
{
    struct str host = str_from_c(a->host);
    struct buf text;
    if (str_eq(host, STR("localhost")))
        host = STR("127.0.0.1");
    if (!netaddr_parse_ip(host, (uint16_t)a->port, &r->at)) {
        (void)fputs("waxwing: --host wants an IPv4 or IPv6 address of this machine\n", stderr);
        return false;
    }
    buf_init_fixed(&text, r->at_text, sizeof r->at_text);
    netaddr_format(&r->at, &text);
    buf_putc(&text, '\0');
    return true;
}

/* The listener is the supervisor's to make; this is for a word to people where it can't be. */
static int try_port(const struct run *r)
{
    struct sockaddr_storage ss;
    socklen_t n = sockaddr_of(&r->at, &ss);
    int on = 1, status = EXIT_OK;
    int fd = socket(sockaddr_family(&r->at), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return EXIT_OK;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* as io/listener.c does */
    if (r->at.kind == NETADDR_IP6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&ss, n) == -1 || listen(fd, 1) == -1) {
        int errnum = errno;
        status = errnum == EACCES ? EXIT_NOPERM : EXIT_UNAVAILABLE;
        if (errnum == EADDRINUSE)
            (void)fprintf(
                stderr,
                "waxwing: %s is in use by another program (`ss -ltnp 'sport = :%u'` names it); --port N "
                "takes another port\n",
                r->at_text, (unsigned)r->at.port);
        else
            (void)fprintf(
                stderr, "waxwing: can't listen at %s: %s%s\n", r->at_text, err_str(err_from_errno(errnum)),
                errnum == EACCES ? " (ports under 1024 are root's, who does not take mail: --port N)" : "");
    }
    (void)close(fd);
    return status;
}

/* ---- the server ---------------- */

static void on_ready(void *arg)
{
    int *fd = arg;
    (void)!write(*fd, "R", 1);
    (void)close(*fd);
}

static _Noreturn void be_server(const struct run *r, const sigset_t *before, pid_t parent, int ready)
{
    struct serve_how how = {.lua = buf_str(&r->lua),
                            .name = "dev",
                            .drain_ms = DEV_DRAIN_MS,
                            .on_ready = on_ready,
                            .arg = &ready};
    (void)setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) == -1 || getppid() != parent)
        _exit(EXIT_OS);
    (void)sigprocmask(SIG_SETMASK, before, NULL);
    int status = serve_run(&how);
    (void)fflush(NULL);
    _exit(status);
}

static bool start(struct run *r)
{
    int ends[2];
    sigset_t ours, before;
    pid_t parent = getpid();
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGINT);
    (void)sigaddset(&ours, SIGTERM);
    (void)sigaddset(&ours, SIGHUP);
    (void)sigaddset(&ours, SIGCHLD);
    if (pipe2(ends, O_CLOEXEC) == -1 || sigprocmask(SIG_BLOCK, &ours, &before) == -1)
        return false;
    r->ready = ends[0];
    r->server = fork();
    if (r->server == 0)
        be_server(r, &before, parent, ends[1]);
    (void)close(ends[1]);
    r->signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r->server == -1 || r->signals == -1)
        return false;
    (void)prctl(PR_SET_DUMPABLE, 0);
    return true;
}

/* ---- what is told ---------------- */

static void tell_start(const struct run *r)
{
    const char *dir = r->place.dir;
    bool is_any = netaddr_is_any(&r->at);
    char mem[NETADDR_TEXT_MAX];
    struct buf host;
    buf_init_fixed(&host, mem, sizeof mem);
    netaddr_format_ip(&r->at, &host);
    (void)printf("Waxwing takes all mail at %s. Nothing of it leaves this machine.\n", r->at_text);
    if (is_any)
        (void)puts("  This is every address of the machine: whoever reaches the port may put mail here.");
    (void)printf("  applications:  SMTP, host %.*s, port %u; no user, no password, no TLS\n",
                 STR_FMT(is_any ? STR("127.0.0.1") : buf_str(&host)), (unsigned)r->at.port);
    (void)printf("  sendmail:      WAXWING_SUBMIT=%s/submit waxwing sendmail -t\n", dir);
    (void)printf("  the mail:      waxwing dev list%s%s\n", r->place.is_default ? "" : " --dir ",
                 r->place.is_default ? "" : dir);
    (void)printf("  kept in:       %s\n", dir);
    (void)puts("Ctrl-C ends it.");
    (void)fflush(stdout);
}

/* Nobody may keep us from taking signals by not reading: then it is not told. A row fits where poll() sees
 * room. */
static void tell_row(json_t *row)
{
    struct pollfd pfd = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (poll(&pfd, 1, 0) == 0)
        return;
    dev_print_row(row, false);
    (void)fflush(stdout);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Tells what was not there at the last look. */
static void look(struct run *r, bool tells)
{
    struct box b;
    uint64_t *ids = NULL;
    if (dev_scan(&r->place, &b) && b.n_messages > 0)
        ids = mem_alloc_array(b.n_messages, sizeof *ids);
    for (size_t i = 0; ids != NULL && i < b.n_messages; i++) {
        ids[i] = b.messages[i].id;
        bool is_old = r->n_told > 0 && bsearch(&ids[i], r->told, r->n_told, sizeof *ids, by_number) != NULL;
        json_t *row = !is_old && tells ? dev_row(&r->place, &b, i) : NULL;
        if (row != NULL)
            tell_row(row);
        json_decref(row);
    }
    if (ids != NULL)
        qsort(ids, b.n_messages, sizeof *ids, by_number);
    mem_free(r->told);
    r->told = ids;
    r->n_told = ids == NULL ? 0 : b.n_messages;
    box_fini(&b);
}

/* The copies for all recipients come within moments, some in folders that are new: one line tells of all of
 * them. */
static void tell_news(struct run *r)
{
    struct pollfd pfd = {.fd = r->watch, .events = POLLIN};
    int64_t end = prog_clock_ms() + CALM_MS;
    bool is_watched;
    do {
        dev_watch_drain(r->watch);
        is_watched = dev_watch_all(r->watch, &r->place);
    } while (is_watched && poll(&pfd, 1, QUIET_MS) > 0 && prog_clock_ms() < end);
    look(r, true);
    if (!is_watched) {
        (void)fputs(
            "waxwing: too many folders to watch: what comes is not told any more (`waxwing dev list` does)\n",
            stderr);
        (void)close(r->watch);
        r->watch = -1;
    }
}

/* What was there before is not news. */
static void look_around(struct run *r)
{
    r->watch = dev_watch_new();
    if (r->watch != -1 && dev_watch_all(r->watch, &r->place))
        look(r, false);
}

/* ---- until the end ---------------- */

/* The server has ended: true, with its exit code. */
static bool take_signals(struct run *r, int *status)
{
    struct signalfd_siginfo info;
    int how;
    while (read(r->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            (void)kill(r->server, SIGTERM);
    }
    if (waitpid(r->server, &how, WNOHANG) != r->server)
        return false;
    *status = WIFEXITED(how) ? WEXITSTATUS(how) : EXIT_SOFTWARE;
    if (WIFSIGNALED(how))
        (void)fprintf(stderr, "waxwing: the server was ended by signal %d\n", WTERMSIG(how));
    return true;
}

static int attend(struct run *r)
{
    int status = EXIT_OK;
    for (;;) {
        struct pollfd fds[] = {{.fd = r->signals, .events = POLLIN},
                               {.fd = r->ready, .events = POLLIN},
                               {.fd = r->watch, .events = POLLIN}};
        (void)poll(fds, ARRAY_LEN(fds), -1);
        if ((fds[1].revents & (POLLIN | POLLHUP)) != 0) {
            char c;
            if (read(r->ready, &c, 1) == 1)
                tell_start(r);
            (void)close(r->ready);
            r->ready = -1;
        }
        if ((fds[2].revents & POLLIN) != 0)
            tell_news(r);
        if ((fds[0].revents & POLLIN) != 0 && take_signals(r, &status))
            return status;
    }
}

int dev_run(const struct dev_args *a)
{
    struct run r = {.signals = -1, .ready = -1, .watch = -1};
    if (!take_address(a, &r))
        return EXIT_USAGE;
    int status = dev_place_make(a->dir, &r.place);
    if (status == EXIT_OK)
        status = dev_place_lock(&r.place, r.at_text);
    if (status == EXIT_OK)
        status = try_port(&r);
    if (status != EXIT_OK)
        return status;
    char mem[NETADDR_TEXT_MAX];
    struct buf host;
    buf_init_fixed(&host, mem, sizeof mem);
    netaddr_format_ip(&r.at, &host);
    buf_init(&r.lua, DEV_LUA_MAX);
    config_dev_lua(str_from_c(r.place.dir), buf_str(&host), r.at.port, &r.lua);
    (void)setvbuf(stdout, NULL, _IOFBF, 16384); /* a row is one write() */
    look_around(&r);
    if (!start(&r)) {
        (void)fprintf(stderr, "waxwing: can't start the server: %s\n", err_str(err_from_errno(errno)));
        return EXIT_OS;
    }
    return attend(&r);
}
