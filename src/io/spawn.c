/* io/spawn.c: roles as child processes: this program again with --role, a fresh address space, descriptors 0
 * to 3.
 *
 * The child's supervisor channel is descriptor 3; 0 is /dev/null, 1 and 2 are the parent's. A role ends when
 * that channel ends; SIGKILL on the death of the parent is the belt to those braces. It has a session of its
 * own: a Ctrl-C at the terminal is for the supervisor, which lets the roles finish their work, and no role
 * can type into that terminal. Of the environment it gets what env_kept names.
 */
#include "base/mem.h"
#include "io/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHANNEL_FD = 3, ARGS_MAX = 10, NUMBER_MAX = 12, EXIT_NOT_STARTED = 127 };

/* Secrets and LD_... of who started the server are none of a role's business. */
static const char *const env_kept[] = {
    "TZ=",          "ASAN_OPTIONS=",      "UBSAN_OPTIONS=",     "LSAN_OPTIONS=",
    "GCOV_PREFIX=", "GCOV_PREFIX_STRIP=", "LLVM_PROFILE_FILE=",
};

struct child {
    struct source source; /* first; fd is the pidfd */
    void (*on_exit)(void *arg, bool clean, struct str how);
    void *arg;
};

struct plan { /* all that the child needs, made before the fork */
    const char *exe;
    char *argv[ARGS_MAX];
    char *env[ARRAY_LEN(env_kept) + 1];
    char index[NUMBER_MAX], fd_number[NUMBER_MAX];
    uint32_t uid, gid;
    int channel_fd;
    pid_t parent;
};

/* argv has no const. */
static char *arg_of(const char *text)
{
    union {
        const char *from;
        char *to;
    } u = {.from = text};
    return u.to;
}

static void number(char out[NUMBER_MAX], unsigned v)
{
    struct buf b;
    buf_init_fixed(&b, out, NUMBER_MAX);
    buf_printf(&b, "%u", v);
    buf_putc(&b, '\0');
    must(!b.failed);
}

static void keep_environment(struct plan *p)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(env_kept); i++) {
        char **e = environ;
        while (e != NULL && *e != NULL && !str_starts(str_from_c(*e), str_from_c(env_kept[i])))
            e++;
        if (e != NULL && *e != NULL)
            p->env[n++] = *e;
    }
    p->env[n] = NULL;
}

static void make_plan(struct plan *p, const struct io_world *w, const struct spawn *s, int channel_fd)
{
    size_t n = 0;
    *p = (struct plan){.exe = w->self_exe, .uid = s->uid, .gid = s->gid, .channel_fd = channel_fd};
    p->parent = getpid();
    number(p->index, s->index);
    number(p->fd_number, CHANNEL_FD);
    const char *const fixed[] = {"waxwing", "--role", s->role, "--index", p->index, "--fd", p->fd_number};
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        p->argv[n++] = arg_of(fixed[i]);
    if (s->root != NULL) {
        p->argv[n++] = arg_of("--root");
        p->argv[n++] = arg_of(s->root);
    }
    must(n < ARGS_MAX);
    p->argv[n] = NULL;
    keep_environment(p);
}

bool spawn_reset_signals(void)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};
    sigset_t none;
    (void)sigemptyset(&none);
    for (int signo = 1; signo < NSIG; signo++)
        (void)sigaction(signo, &sa, NULL); /* some can't be set: they are at their default */
    return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

static bool become(uint32_t uid, uint32_t gid)
{
    if (uid == UINT32_MAX)
        return true;
    return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0 &&
           setuid(0) == -1; /* there is no way back */
}

/* Nothing is read from who sits at the terminal. */
static bool empty_input(void)
{
    int fd = open("/dev/null", O_RDONLY);
    return fd != -1 && dup2(fd, STDIN_FILENO) == STDIN_FILENO; /* the other is closed with the rest */
}

static bool place_channel(int fd)
{
    if (fd == CHANNEL_FD)
        return fcntl(fd, F_SETFD, 0) == 0;
    return dup2(fd, CHANNEL_FD) == CHANNEL_FD;
}

/* Between fork and exec: calls that a signal handler could make, no others. */
_Noreturn static void be_child(const struct plan *p)
{
    if (spawn_reset_signals() && setsid() != -1 && place_channel(p->channel_fd) && empty_input() &&
        close_range(CHANNEL_FD + 1, ~0u, 0) == 0 && become(p->uid, p->gid) &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == p->parent)
        (void)execve(p->exe, p->argv, p->env);
    _exit(EXIT_NOT_STARTED);
}

static enum err start(struct io_world *w, const struct plan *p, struct child *c)
{
    w->has_spawned = true;
    pid_t pid = fork();
    if (pid == -1)
        return errno == EAGAIN ? ERR_NOMEM : err_from_errno(errno);
    if (pid == 0)
        be_child(p);
    int fd = pidfd_open(pid, 0); /* it is not reaped: the number can't be another process's */
    if (fd == -1) {
        enum err err = err_from_errno(errno);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return err;
    }
    source_init(&c->source, w, SOURCE_CHILD, fd);
    if (!source_arm(&c->source, EPOLLIN)) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        (void)close(fd);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

enum err io_spawn(struct world *base, const struct spawn *s,
                  void (*on_exit)(void *arg, bool clean, struct str how), void *arg, struct channel **out,
                  struct child **out_child)
{
    struct io_world *w = io_of(base);
    *out = NULL;
    *out_child = NULL;
    must(w->self_exe != NULL);
    if ((s->uid == UINT32_MAX) != (s->gid == UINT32_MAX) || s->uid == 0 || s->gid == 0)
        return ERR_INVALID; /* to become root, or half of somebody, is never meant */
    struct channel *ours, *theirs;
    enum err err = io_channel_pair(base, &ours, &theirs);
    if (err != ERR_OK)
        return err;
    struct child *c = mem_new(struct child);
    struct plan p;
    make_plan(&p, w, s, theirs->source.fd);
    err = c == NULL ? ERR_NOMEM : start(w, &p, c);
    io_channel_close(theirs);
    if (err != ERR_OK) {
        io_channel_close(ours);
        mem_free(c);
        return err;
    }
    c->on_exit = on_exit;
    c->arg = arg;
    *out = ours;
    *out_child = c;
    return ERR_OK;
}

void io_child_kill(struct child *c, bool hard)
{
    (void)pidfd_send_signal(c->source.fd, hard ? SIGKILL : SIGTERM, NULL, 0);
}

void child_on_event(struct source *s, unsigned events)
{
    UNUSED(events);
    struct child *c = container_of(s, struct child, source);
    siginfo_t info = {0};
    char mem[64];
    struct buf how;
    if (waitid(P_PIDFD, (id_t)s->fd, &info, WEXITED | WNOHANG) == -1 || info.si_pid == 0)
        return;
    buf_init_fixed(&how, mem, sizeof mem);
    if (info.si_code == CLD_EXITED)
        buf_printf(&how, "exit %d", info.si_status);
    else
        buf_printf(&how, "signal %d%s", info.si_status, info.si_code == CLD_DUMPED ? " (core dumped)" : "");
    source_close(s);
    c->on_exit(c->arg, info.si_code == CLD_EXITED && info.si_status == 0, buf_str(&how));
}
