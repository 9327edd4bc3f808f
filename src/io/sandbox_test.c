/* Each profile is entered in a child, which then tries one thing and says by its exit status what came of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/sandbox.h"
#include "io/world_io.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum outcome { OK = 0, DENIED = 10, OTHER = 11, BAD_SETUP = 12, KILLED = 13 };

struct place {            /* folders of one test run */
    char in[64], out[64]; /* inside and outside of rw_path */
    int listener;
};

static const struct log quiet = {.min = LOG_ERROR};

static int denied_or(bool ok)
{
    if (ok)
        return OK;
    return errno == EPERM || errno == EACCES || errno == EAFNOSUPPORT ? DENIED : OTHER;
}

/* ---- what is tried ---- */

static int open_in(const char *dir, int flags)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/file", dir);
    return denied_or(open(path, flags, 0600) != -1);
}

static int read_inside(const struct place *at)
{
    return open_in(at->in, O_RDONLY);
}

static int write_inside(const struct place *at)
{
    return open_in(at->in, O_RDWR | O_CREAT);
}

static int read_outside(const struct place *at)
{
    return open_in(at->out, O_RDONLY);
}

static int write_outside(const struct place *at)
{
    return open_in(at->out, O_RDWR | O_CREAT);
}

static int remove_outside(const struct place *at)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/file", at->out);
    return denied_or(unlink(path) == 0);
}

static int connect_inet(int type)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(1), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, type, 0);
    if (fd == -1)
        return denied_or(false);
    return denied_or(connect(fd, (struct sockaddr *)(void *)&in, sizeof in) == 0 || errno == ECONNREFUSED);
}

static int connect_tcp(const struct place *at)
{
    UNUSED(at);
    return connect_inet(SOCK_STREAM);
}

static int connect_udp(const struct place *at)
{
    UNUSED(at);
    return connect_inet(SOCK_DGRAM);
}

static int connect_unix(const struct place *at)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s/none", at->in);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return denied_or(false);
    return denied_or(connect(fd, (struct sockaddr *)(void *)&un, sizeof un) == 0 || errno == ENOENT);
}

static int raw_socket(const struct place *at)
{
    UNUSED(at);
    return denied_or(socket(AF_NETLINK, SOCK_RAW, 0) != -1);
}

static int listen_tcp(const struct place *at)
{
    UNUSED(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return denied_or(fd != -1 && listen(fd, 1) == 0);
}

static int accept_given(const struct place *at)
{
    return denied_or(accept4(at->listener, NULL, NULL, SOCK_CLOEXEC) != -1 || errno == EAGAIN);
}

static int make_process(const struct place *at)
{
    UNUSED(at);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return denied_or(pid != -1 && waitpid(pid, NULL, 0) == pid);
}

static int exec_program(const struct place *at)
{
    UNUSED(at);
    static char name[] = "true";
    char *const argv[] = {name, NULL}, *const envp[] = {NULL};
    (void)execve("/bin/true", argv, envp);
    return denied_or(false); /* else true's exit status 0 is OK */
}

static int become_user(const struct place *at)
{
    UNUSED(at);
    return denied_or(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
                     setresuid(65534, 65534, 65534) == 0);
}

static int signal_parent(const struct place *at)
{
    UNUSED(at);
    return denied_or(kill(getppid(), 0) == 0);
}

static int trace_parent(const struct place *at)
{
    UNUSED(at);
    return denied_or(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0);
}

static int map_code(const struct place *at)
{
    UNUSED(at);
    return denied_or(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                     MAP_FAILED);
}

static int make_code(const struct place *at)
{
    UNUSED(at);
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? BAD_SETUP : denied_or(mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0);
}

static void *do_nothing(void *arg)
{
    return arg;
}

static int start_thread(const struct place *at)
{
    UNUSED(at);
    pthread_t t;
    int failed = pthread_create(&t, NULL, do_nothing, NULL);
    if (failed == 0)
        (void)pthread_join(t, NULL);
    errno = failed;
    return denied_or(failed == 0);
}

static int enter_namespace(const struct place *at)
{
    UNUSED(at);
    return denied_or(syscall(SYS_unshare, 0) == 0);
}

static int make_ring(const struct place *at)
{
    UNUSED(at);
    return denied_or(syscall(SYS_io_uring_setup, 0, NULL) != -1);
}

static int unknown_call(const struct place *at)
{
    UNUSED(at);
    return denied_or(syscall(SYS_vmsplice, -1, NULL, 0, 0) != -1 || errno == EBADF);
}

static int be_dumpable(const struct place *at)
{
    UNUSED(at);
    return denied_or(syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0) == 0);
}

/* ---- the matrix ---- */

static const char *const no_paths[] = {NULL};

/* clang-format off */
enum { SMTPD = 0, LOOKUP, QUEUE, RELAY, LOCAL, DELIVER, ADMIN, READER, PROFILES };
static const struct sandbox_profile profiles[PROFILES] = {
    [SMTPD]   = {.name = "smtpd", .accept = true},
    [LOOKUP]  = {.name = "lookup", .net_tcp = true, .net_udp = true},
    [QUEUE]   = {.name = "queue", .files_read = true, .files_write = true},
    [RELAY]   = {.name = "relay", .net_tcp = true, .unix_connect = true},
    [LOCAL]   = {.name = "local", .spawn = true},
    [DELIVER] = {.name = "deliver", .files_write = true, .ro_paths = no_paths},
    [ADMIN]   = {.name = "admin", .accept = true, .files_read = true, .files_write = true, .threads = true},
    [READER]  = {.name = "reader", .files_read = true},
};

/* what each profile's outcome is: o allowed, d denied, D denied where the kernel has Landlock (else allowed),
 * k killed. Order of the columns: smtpd lookup queue relay local deliver admin reader. */
static const struct {
    const char *name;
    int (*attempt)(const struct place *at);
    const char want[PROFILES + 1];
} attempts[] = {
    {"read inside",      read_inside,     "ddodoooo"},
    {"write inside",     write_inside,    "ddodoood"},
    {"read outside",     read_outside,    "ddDdoDDD"},
    {"write outside",    write_outside,   "ddDdoDDd"},
    {"remove outside",   remove_outside,  "ddDdoDDd"},
    {"connect TCP",      connect_tcp,     "dododddd"},
    {"connect UDP",      connect_udp,     "dodddddd"},
    {"connect unix",     connect_unix,    "dddooddd"},
    {"netlink socket",   raw_socket,      "dddddddd"},
    {"listen",           listen_tcp,      "dddddddd"},
    {"accept",           accept_given,    "odddodod"},
    {"fork",             make_process,    "ddddoddd"},
    {"exec",             exec_program,    "ddddoddd"},
    {"signal another",   signal_parent,   "ddddoddd"},
    {"ptrace",           trace_parent,    "dddddddd"},
    {"map code",         map_code,        "ddddoddd"},
    {"make code",        make_code,       "ddddoddd"},
    {"thread",           start_thread,    "ddddodod"},
    {"unshare",          enter_namespace, "kkkkdkkk"},
    {"io_uring",         make_ring,       "kkkkdkkk"},
    {"a call of no row", unknown_call,    "ddddoddd"},
    {"be dumpable",      be_dumpable,     "ddddoddd"},
};
/* clang-format on */

static int outcome_of(int status)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : OTHER;
    return WEXITSTATUS(status);
}

static enum outcome expected(char letter, bool has_landlock)
{
    switch (letter) {
    case 'o':
        return OK;
    case 'd':
        return DENIED;
    case 'D':
        return has_landlock ? DENIED : OK;
    case 'k':
        return KILLED;
    default:
        fail_msg("no outcome is called %c", letter);
        return OTHER;
    }
}

static bool is_sanitized(void)
{
#ifdef WAXWING_SANITIZED
    return true;
#else
    return false;
#endif
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1) > 0;
}

static void make_place(struct place *at)
{
    char path[128];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)strcpy(at->in, "/tmp/io-sandbox-in-XXXXXX");
    (void)strcpy(at->out, "/tmp/io-sandbox-out-XXXXXX");
    assert_non_null(mkdtemp(at->in));
    assert_non_null(mkdtemp(at->out));
    const char *const dirs[] = {at->in, at->out};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        (void)snprintf(path, sizeof path, "%s/file", dirs[i]);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_int_not_equal(fd, -1);
        (void)close(fd);
    }
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s/sock", at->out);
    at->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(at->listener, (struct sockaddr *)(void *)&un, sizeof un), 0);
    assert_int_equal(listen(at->listener, 1), 0);
}

static void remove_place(struct place *at)
{
    static const char *const names[] = {"in/file", "out/file", "out/sock"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        bool is_in = names[i][0] == 'i';
        (void)snprintf(path, sizeof path, "%s%s", is_in ? at->in : at->out, strchr(names[i], '/'));
        (void)unlink(path);
    }
    (void)close(at->listener);
    assert_int_equal(rmdir(at->in), 0);
    assert_int_equal(rmdir(at->out), 0);
}

static struct sandbox_profile profile_at(size_t i, const struct place *at)
{
    struct sandbox_profile p = profiles[i];
    if ((p.files_read || p.files_write) && i != READER)
        p.rw_path = at->in;
    return p;
}

static void profiles_allow_what_they_say(void **state)
{
    UNUSED(state);
    for (size_t a = 0; a < ARRAY_LEN(attempts); a++) {
        assert_int_equal(strlen(attempts[a].want), PROFILES);
        for (size_t i = 0; i < PROFILES; i++) {
            struct place at;
            int status;
            make_place(&at);
            struct sandbox_profile p = profile_at(i, &at);
            const char *ro[] = {at.in, NULL};
            if (i == READER)
                p.ro_paths = ro;
            pid_t pid = fork();
            assert_int_not_equal(pid, -1);
            if (pid == 0) {
                struct sandbox_report report = {0};
                _exit(sandbox_enter(&p, &report) == ERR_OK ? attempts[a].attempt(&at) : BAD_SETUP);
            }
            assert_int_equal(waitpid(pid, &status, 0), pid);
            int got = outcome_of(status);
            if (got != (int)expected(attempts[a].want[i], has_landlock()))
                fail_msg("%s in %s: outcome %d (status %x)", attempts[a].name, p.name, got, (unsigned)status);
            remove_place(&at);
        }
    }
}

static void local_becomes_a_user(void **state)
{
    UNUSED(state);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox_report report = {0};
        _exit(sandbox_enter(&profiles[LOCAL], &report) == ERR_OK ? become_user(NULL) : BAD_SETUP);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(outcome_of(status), OK);
}

static void abort_still_aborts(void **state)
{
    UNUSED(state);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox_report report = {0};
        if (sandbox_enter(&profiles[SMTPD], &report) != ERR_OK)
            _exit(BAD_SETUP);
        abort();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- the world goes on inside ---- */

struct life {
    struct io_world *io;
    struct world *w;
    struct channel *a, *b;
    struct disk *d;
    struct disk_op op;
    struct timer timer;
    struct str piece;
    unsigned n_left; /* things to come */
};

static void one_less(struct life *l)
{
    if (--l->n_left == 0)
        io_stop(l->io);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct life *l = arg;
    struct blob blob;
    UNUSED(c);
    UNUSED(type);
    UNUSED(payload);
    must(handle_take_blob(l->w, given, &blob));
    must(str_eq(blob.bytes, STR("sealed")));
    blob_free(&blob);
    one_less(l);
}

static void on_closed(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
    must_not_reach();
}

static void on_timer(struct timer *t)
{
    one_less(container_of(t, struct life, timer));
}

static void on_disk(struct disk_op *op)
{
    one_less(container_of(op, struct life, op));
}

static const struct channel_user user = {on_message, NULL, on_closed};

/* Channels with blobs, timers, pipes, memory, random numbers and a disk thread, all after the door is shut.
 * Gives the outcome of opening a file. */
static int live(const struct sandbox_profile *p, const char *dir)
{
    struct life l = {.n_left = 3};
    struct sandbox_report report = {0};
    struct conn *r, *w;
    size_t n;
    l.io = io_world_new(&quiet, NULL);
    /* a role without files has its disk from before: only seccomp can take it away from the threads */
    bool has_files = p->files_read || p->files_write;
    if (l.io == NULL || (has_files && sandbox_files(p, &report) != ERR_OK))
        return BAD_SETUP;
    l.w = io_world_base(l.io);
    if (world_channel_pair(l.w, &l.a, &l.b) != ERR_OK || world_disk(l.w, dir, &l.d) != ERR_OK ||
        sandbox_enter(p, &report) != ERR_OK)
        return BAD_SETUP;
    for (int i = 0; i < 100; i++) {
        char *block = mem_must_alloc(1 << 20);
        world_random(l.w, block, 1 << 10);
        mem_free(block);
    }
    l.piece = STR("x");
    must(world_pipe(l.w, &r, &w) == ERR_OK && conn_write(w, &l.piece, 1, &n) == ERR_OK);
    channel_set_user(l.b, &user, &l);
    must(channel_send(l.a, 0, STR("x"), handle_of_blob(l.w, STR("sealed"))) == ERR_OK);
    l.timer.fire = on_timer;
    world_timer_set(l.w, &l.timer, world_now_ms(l.w) + 1);
    l.op = (struct disk_op){.kind = DISK_OPEN, .name = "file", .create = DISK_CREATE, .done = on_disk};
    disk_submit(l.d, &l.op);
    io_run(l.io);
    enum err opened = l.op.err;
    if (opened == ERR_OK) {
        static const enum disk_kind then[] = {DISK_WRITE,    DISK_ZERO,       DISK_READ,
                                              DISK_SYNC_DIR, DISK_READ_SMALL, DISK_CLOSE};
        char in[1];
        for (size_t i = 0; i < ARRAY_LEN(then); i++) {
            struct disk_op op = {
                .kind = then[i], .name = ".", .file = l.op.file, .sync = true, .done = on_disk};
            if (op.kind == DISK_READ_SMALL)
                op.name = "file";
            op.pieces = &l.piece;
            op.n_pieces = 1;
            op.mem = in;
            op.size = 1;
            l.op = op;
            l.n_left = 1;
            disk_submit(l.d, &l.op);
            io_run(l.io);
            must(l.op.err == ERR_OK);
            l.op.file = op.file;
        }
    }
    conn_close(r);
    conn_close(w);
    channel_close(l.a);
    channel_close(l.b);
    disk_close(l.d);
    io_world_del(&l.io);
    return opened == ERR_OK ? OK : opened == ERR_DENIED ? DENIED : OTHER;
}

/* Threads that were there before are bound too: a role without files has none through its disk thread either.
 */
static void the_world_goes_on(void **state)
{
    UNUSED(state);
    static const size_t rows[] = {SMTPD, QUEUE, DELIVER, ADMIN, LOCAL};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct place at;
        int status;
        make_place(&at);
        struct sandbox_profile p = profile_at(rows[i], &at);
        pid_t pid = fork();
        if (pid == 0)
            _exit(live(&p, at.in));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        int want = rows[i] == SMTPD && !is_sanitized() ? DENIED : OK;
        if (outcome_of(status) != want)
            fail_msg("%s: outcome %d (status %x)", p.name, outcome_of(status), (unsigned)status);
        remove_place(&at);
    }
}

static void reports_what_holds(void **state)
{
    UNUSED(state);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox_report report = {0};
        if (sandbox_enter(&profiles[SMTPD], &report) != ERR_OK || !report.no_new_privs)
            _exit(BAD_SETUP);
        if (is_sanitized())
            _exit(strcmp(report.profile, "sanitized") == 0 && !report.seccomp && report.missing[0] != '\0'
                      ? OK
                      : OTHER);
        bool is_whole = report.landlock && report.landlock_abi >= 3;
        _exit(strcmp(report.profile, "smtpd") == 0 && report.seccomp &&
                      report.landlock == (report.landlock_abi > 0) && is_whole == (report.missing[0] == '\0')
                  ? OK
                  : OTHER);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(outcome_of(status), OK);
}

static void refuses_a_missing_path(void **state)
{
    UNUSED(state);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox_report report = {0};
        struct sandbox_profile p = profiles[QUEUE];
        p.rw_path = "/nonexistent/folder";
        _exit(sandbox_enter(&p, &report) == ERR_NOTFOUND ? OK : OTHER);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(outcome_of(status), OK);
}

int main(void)
{
    /* what this machine or build can't show is not in the list, so the count says what was shown */
    struct CMUnitTest tests[] = {
        cmocka_unit_test(abort_still_aborts),
        cmocka_unit_test(the_world_goes_on),
        cmocka_unit_test(reports_what_holds),
        {0},
        {0},
        {0},
    };
    size_t n = ARRAY_LEN(tests) - 3;
    if (!is_sanitized())
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(profiles_allow_what_they_say);
    if (!is_sanitized() && has_landlock())
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(refuses_a_missing_path);
    if (getuid() == 0)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(local_becomes_a_user);
    return _cmocka_run_group_tests("sandbox", tests, n, NULL, NULL);
}
