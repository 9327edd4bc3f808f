/* io/program.c: programs that are not ours: a pipe in, a pipe out, and an end that leaves nothing behind.
 *
 * A program leads a session and process group of its own. When it has ended the rest of that group gets
 * SIGKILL before the program is reaped: till then its number can't be another's. What could not be executed
 * says why by a third pipe, which closes by itself when execve() succeeds.
 */
#include "base/mem.h"
#include "io/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    REPORT_FD = 3,
    EXIT_NOT_STARTED = 127,
    FILES_MAX = 1024, /* the soft limit of open files that programs expect; roles have raised theirs */
};

struct program {
    struct source source; /* first; fd is the pidfd */
    void (*on_end)(void *arg, const struct program_end *end);
    void *arg;
    pid_t pid;
    int report_fd;
};

struct pipes {
    int input[2], output[2], report[2]; /* -1: not open */
};

static void close_one(int *fd)
{
    if (*fd != -1)
        (void)close(*fd);
    *fd = -1;
}

static void close_all(struct pipes *p)
{
    for (size_t i = 0; i < 2; i++) {
        close_one(&p->input[i]);
        close_one(&p->output[i]);
        close_one(&p->report[i]);
    }
}

static bool open_all(struct pipes *p)
{
    *p = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}};
    return pipe2(p->input, O_CLOEXEC) == 0 && pipe2(p->output, O_CLOEXEC) == 0 &&
           pipe2(p->report, O_CLOEXEC) == 0 && fcntl(p->input[1], F_SETFL, O_NONBLOCK) == 0 &&
           fcntl(p->output[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(p->report[0], F_SETFL, O_NONBLOCK) == 0;
}

/* ---- between fork and exec: calls that a signal handler could make, no others ---- */

/* Out of the way of the numbers that a program has. */
static int lift(int fd)
{
    return fd > REPORT_FD ? fd : fcntl(fd, F_DUPFD_CLOEXEC, REPORT_FD + 1);
}

static bool place_descriptors(const struct pipes *p)
{
    int input = lift(p->input[0]), output = lift(p->output[1]), report = lift(p->report[1]);
    return report != -1 && dup3(report, REPORT_FD, O_CLOEXEC) != -1 && input != -1 && output != -1 &&
           dup2(input, STDIN_FILENO) != -1 && dup2(output, STDOUT_FILENO) != -1 &&
           dup2(output, STDERR_FILENO) != -1 && close_range(REPORT_FD + 1, ~0u, 0) == 0;
}

static bool set_limits(void)
{
    static const struct rlimit none = {0, 0};
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > FILES_MAX) {
        files.rlim_cur = FILES_MAX;
        if (setrlimit(RLIMIT_NOFILE, &files) == -1)
            return false;
    }
    return setrlimit(RLIMIT_CORE, &none) == 0;
}

/* execve() has no const. */
static char *const *words(const char *const *list)
{
    union {
        const char *const *from;
        char *const *to;
    } u = {.from = list};
    return u.to;
}

_Noreturn static void be_program(const struct program_plan *plan, const struct pipes *p, pid_t parent)
{
    if (place_descriptors(p) && spawn_reset_signals() && setsid() != -1 && set_limits() &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        (chdir(plan->folder) == 0 || chdir("/") == 0)) {
        (void)umask(077);
        (void)execve(plan->argv[0], words(plan->argv), words(plan->env));
    }
    int why = errno;
    if (write(REPORT_FD, &why, sizeof why) != (ssize_t)sizeof why)
        _exit(EXIT_NOT_STARTED + 1); /* nobody is there to hear it */
    _exit(EXIT_NOT_STARTED);
}

/* ---- ours ---- */

static enum err start(struct io_world *w, const struct program_plan *plan, struct pipes *p,
                      struct program *out)
{
    pid_t parent = getpid();
    w->has_spawned = true;
    pid_t pid = fork();
    if (pid == -1)
        return errno == EAGAIN ? ERR_NOMEM : err_from_errno(errno);
    if (pid == 0)
        be_program(plan, p, parent);
    close_one(&p->input[0]);
    close_one(&p->output[1]);
    close_one(&p->report[1]);
    int fd = pidfd_open(pid, 0); /* it is not reaped: the number can't be another process's */
    enum err err = fd == -1 ? err_from_errno(errno) : ERR_OK;
    if (err == ERR_OK) {
        source_init(&out->source, w, SOURCE_PROGRAM, fd);
        out->pid = pid;
        err = source_arm(&out->source, EPOLLIN) ? ERR_OK : ERR_NOMEM;
    }
    if (err == ERR_OK)
        return ERR_OK;
    if (fd != -1)
        (void)close(fd);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return err;
}

enum err io_program(struct world *base, const struct program_plan *plan,
                    void (*on_end)(void *arg, const struct program_end *end), void *arg,
                    struct conn **out_input, struct conn **out_output, struct program **out)
{
    struct io_world *w = io_of(base);
    struct pipes p;
    struct conn *input = NULL, *output = NULL;
    must(plan->argv[0] != NULL && plan->argv[0][0] == '/');
    enum err err = open_all(&p) ? ERR_OK : err_from_errno(errno);
    struct program *made = mem_new(struct program);
    if (err == ERR_OK && made != NULL) {
        input = io_conn_new(w, p.input[1], false);
        output = io_conn_new(w, p.output[0], false);
    }
    if (err == ERR_OK)
        err = input == NULL || output == NULL ? ERR_NOMEM : start(w, plan, &p, made);
    if (err != ERR_OK) {
        mem_free(input); /* not in epoll yet; their descriptors are closed with the others */
        mem_free(output);
        mem_free(made);
        close_all(&p);
        return err;
    }
    made->on_end = on_end;
    made->arg = arg;
    made->report_fd = p.report[0];
    *out_input = input;
    *out_output = output;
    *out = made;
    return ERR_OK;
}

void io_program_kill(struct program *p, bool hard)
{
    int signo = hard ? SIGKILL : SIGTERM;
    if (kill(-p->pid, signo) == -1) /* it has not come to setsid() yet */
        (void)pidfd_send_signal(p->source.fd, signo, NULL, 0);
}

void program_on_event(struct source *s, unsigned events)
{
    UNUSED(events);
    struct program *p = container_of(s, struct program, source);
    siginfo_t info = {0};
    int why = 0;
    if (waitid(P_PIDFD, (id_t)s->fd, &info, WEXITED | WNOHANG | WNOWAIT) == -1 || info.si_pid == 0)
        return;
    (void)kill(-p->pid, SIGKILL);
    (void)waitid(P_PIDFD, (id_t)s->fd, &info, WEXITED | WNOHANG);
    struct program_end end = {.err = ERR_OK};
    if (read(p->report_fd, &why, sizeof why) == (ssize_t)sizeof why)
        end.err = err_from_errno(why);
    else if (info.si_code == CLD_EXITED)
        end.status = info.si_status;
    else
        end.signo = info.si_status;
    close_one(&p->report_fd);
    source_close(s);
    p->on_end(p->arg, &end);
}
