/* Each role's own profile (service/roles.c), entered as the role enters it, and then what docs/privsep.md
 * says it may not do, tried from within. Every attempt is a child of its own, which says by its exit status
 * what came of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/sandbox.h"
#include "service/roles.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, PATH_CAP = 128 };

enum outcome { ALLOWED = 0, DENIED = 10, OTHER = 11, BAD_SETUP = 12, KILLED = 13 };

struct place {
    char own[48], other[48]; /* the role's folder, and one that is not; both belong to the child's user */
    pid_t sibling;           /* a process of the same user, dumpable */
    int listener, peer; /* a listener with one waiting connection, and a connected socket, given before */
    uint64_t *secret;   /* at the same place in the sibling */
};

static int result(bool ok)
{
    if (ok)
        return ALLOWED;
    return errno == EPERM || errno == EACCES || errno == EAFNOSUPPORT ? DENIED : OTHER;
}

/* ---- files ---- */

static int open_at(const char *folder, const char *name, int flags)
{
    char path[PATH_CAP];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return result(open(path, flags | O_CLOEXEC, 0600) != -1);
}

static int read_passwd(const struct place *at)
{
    UNUSED(at);
    return open_at("/etc", "passwd", O_RDONLY);
}

static int read_own(const struct place *at)
{
    return open_at(at->own, "file", O_RDONLY);
}

static int make_own(const struct place *at)
{
    return open_at(at->own, "fresh", O_RDWR | O_CREAT | O_EXCL);
}

static int rename_own(const struct place *at)
{
    char from[PATH_CAP], to[PATH_CAP];
    (void)snprintf(from, sizeof from, "%s/file", at->own);
    (void)snprintf(to, sizeof to, "%s/renamed", at->own);
    return result(rename(from, to) == 0);
}

static int read_other(const struct place *at)
{
    return open_at(at->other, "file", O_RDONLY);
}

static int make_other(const struct place *at)
{
    return open_at(at->other, "fresh", O_RDWR | O_CREAT | O_EXCL);
}

static int truncate_other(const struct place *at)
{
    return open_at(at->other, "file", O_WRONLY | O_TRUNC);
}

static int remove_other(const struct place *at)
{
    char path[PATH_CAP];
    (void)snprintf(path, sizeof path, "%s/file", at->other);
    return result(unlink(path) == 0);
}

static int leave_by_dots(const struct place *at)
{
    char path[PATH_CAP];
    (void)snprintf(path, sizeof path, "%s/../%s/file", at->own, strrchr(at->other, '/') + 1);
    return result(open(path, O_RDONLY | O_CLOEXEC) != -1);
}

static int leave_by_link(const struct place *at)
{
    return open_at(at->own, "link", O_RDONLY); /* leads to the other folder's file */
}

static int change_mode(const struct place *at)
{
    char path[PATH_CAP];
    (void)snprintf(path, sizeof path, "%s/file", at->other);
    return result(chmod(path, 0666) == 0);
}

/* ---- network ---- */

static int make_socket(int domain, int type)
{
    return result(socket(domain, type | SOCK_CLOEXEC, 0) != -1);
}

static int socket_tcp(const struct place *at)
{
    UNUSED(at);
    return make_socket(AF_INET, SOCK_STREAM);
}

static int socket_tcp6(const struct place *at)
{
    UNUSED(at);
    return make_socket(AF_INET6, SOCK_STREAM);
}

static int socket_udp(const struct place *at)
{
    UNUSED(at);
    return make_socket(AF_INET, SOCK_DGRAM);
}

static int socket_unix(const struct place *at)
{
    UNUSED(at);
    return make_socket(AF_UNIX, SOCK_STREAM);
}

static int socket_netlink(const struct place *at)
{
    UNUSED(at);
    return make_socket(AF_NETLINK, SOCK_RAW);
}

static int socket_raw(const struct place *at)
{
    UNUSED(at);
    return result(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP) != -1);
}

static int connect_out(const struct place *at)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UNUSED(at);
    return result(fd != -1 &&
                  (connect(fd, (struct sockaddr *)(void *)&in, sizeof in) == 0 || errno == ECONNREFUSED));
}

/* A socket that it has may not be turned to another peer. */
static int connect_given(const struct place *at)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s/sock", at->other);
    return result(connect(at->peer, (struct sockaddr *)(void *)&un, sizeof un) == 0 || errno == EISCONN);
}

static int bind_and_listen(const struct place *at)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UNUSED(at);
    return result(fd != -1 && bind(fd, (struct sockaddr *)(void *)&in, sizeof in) == 0 && listen(fd, 1) == 0);
}

static int accept_given(const struct place *at)
{
    return result(accept4(at->listener, NULL, NULL, SOCK_CLOEXEC) != -1);
}

static int read_given(const struct place *at)
{
    char c;
    return result(recv(at->peer, &c, 1, MSG_DONTWAIT) == 1 && c == '!');
}

/* ---- other processes ---- */

static int exec_shell(const struct place *at)
{
    static char name[] = "true";
    char *const argv[] = {name, NULL}, *const envp[] = {NULL};
    UNUSED(at);
    (void)execve("/bin/true", argv, envp);
    return result(false); /* else true's exit status 0 is ALLOWED */
}

static int make_process(const struct place *at)
{
    pid_t pid = fork();
    UNUSED(at);
    if (pid == 0)
        _exit(0);
    return result(pid != -1);
}

static int kill_other(const struct place *at)
{
    return result(kill(at->sibling, SIGKILL) == 0);
}

static int kill_all(const struct place *at)
{
    UNUSED(at);
    return result(kill(-1, 0) == 0);
}

static int trace_other(const struct place *at)
{
    return result(ptrace(PTRACE_SEIZE, at->sibling, NULL, NULL) == 0);
}

static int read_memory(const struct place *at)
{
    char path[PATH_CAP];
    uint64_t got = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)at->sibling);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return result(fd != -1 &&
                  pread(fd, &got, sizeof got, (off_t)(uintptr_t)at->secret) == (ssize_t)sizeof got);
}

static int read_memory_by_call(const struct place *at)
{
    uint64_t got = 0;
    struct iovec to = {&got, sizeof got}, from = {at->secret, sizeof got};
    return result(process_vm_readv(at->sibling, &to, 1, &from, 1, 0) == (ssize_t)sizeof got);
}

static int take_descriptor(const struct place *at)
{
    int pid = (int)syscall(SYS_pidfd_open, at->sibling, 0);
    return result(pid != -1 && syscall(SYS_pidfd_getfd, pid, 0, 0) != -1);
}

/* ---- the machine ---- */

static int become_root(const struct place *at)
{
    UNUSED(at);
    return result(syscall(SYS_setresuid, 0, 0, 0) == 0);
}

static int mount_tmpfs(const struct place *at)
{
    return result(mount("none", at->own, "tmpfs", 0, NULL) == 0);
}

static int new_namespace(const struct place *at)
{
    UNUSED(at);
    return result(syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) == 0);
}

static int make_ring(const struct place *at)
{
    UNUSED(at);
    return result(syscall(SYS_io_uring_setup, 1, NULL) != -1);
}

static int load_bpf(const struct place *at)
{
    UNUSED(at);
    return result(syscall(SYS_bpf, 0, NULL, 0) != -1);
}

static int map_code(const struct place *at)
{
    UNUSED(at);
    return result(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                  MAP_FAILED);
}

static int turn_into_code(const struct place *at)
{
    UNUSED(at);
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? BAD_SETUP : result(mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0);
}

static int raise_limit(const struct place *at)
{
    uint64_t both[2] = {1u << 30, 1u << 30};
    UNUSED(at);
    return result(syscall(SYS_prlimit64, 0, 4 /* RLIMIT_CORE */, both, NULL) == 0);
}

static int be_dumpable(const struct place *at)
{
    UNUSED(at);
    return result(syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0) == 0);
}

static int use_memory(const struct place *at)
{
    UNUSED(at);
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return result(false);
    memset(p, 1, 1 << 20);
    return ALLOWED;
}

/* ---- the table ---- */

enum { COLUMNS = 16 };
static const enum role columns[COLUMNS] = {ROLE_SMTPD,   ROLE_LOOKUP, ROLE_QUEUE, ROLE_RELAY, ROLE_LOCAL,
                                           ROLE_DELIVER, ROLE_ADMIN,  ROLE_PIPE,  ROLE_KEYS,  ROLE_AGENT,
                                           ROLE_ACME,    ROLE_HTTP01, ROLE_HTTPS, ROLE_AUTH,  ROLE_PAM,
                                           ROLE_TABLES};

/* clang-format off */
/* Columns: smtpd lookup queue relay local deliver admin pipe keys agent acme http01 https auth pam tables. o allowed, d denied, k killed for it, L denied where the kernel
 * has Landlock (else the file's owner may), - not tried: local and pam are root and
 * start programs, so they have the rights of both there. */
static const struct {
    const char *name;
    int (*attempt)(const struct place *at);
    const char *want;
} attempts[] = {
    {"read /etc/passwd",              read_passwd,         "ddLdoLLodLodddoL"},
    {"read in its folder",            read_own,            "ddodoooodoodddoo"},
    {"make a file in its folder",     make_own,            "ddodoooodoodddod"},
    {"rename in its folder",          rename_own,          "ddodoooodoodddod"},
    {"read in another folder",        read_other,          "ddLdoLLodLodddoL"},
    {"make a file elsewhere",         make_other,          "ddLdoLLodLodddod"},
    {"truncate a file elsewhere",     truncate_other,      "ddLdoLLodLodddod"},
    {"remove a file elsewhere",       remove_other,        "ddLdoLLodLodddod"},
    {"leave its folder by ..",        leave_by_dots,       "ddLdoLLodLodddoL"},
    {"leave its folder by a link",    leave_by_link,       "ddLdoLLodLodddoL"},
    {"change a mode by path",         change_mode,         "dddd-ddoddoddd-d"},
    {"TCP socket",                    socket_tcp,          "dodooddodoodddoo"},
    {"TCP socket, IPv6",              socket_tcp6,         "dodooddodoodddoo"},
    {"UDP socket",                    socket_udp,          "doddoddoddodddod"},
    {"unix socket",                   socket_unix,         "dddo-ddoddoddo-o"},
    {"netlink socket",                socket_netlink,      "dddddddddddddddd"},
    {"raw socket",                    socket_raw,          "dddddddddddddddd"},
    {"connect out",                   connect_out,         "dodooddodoodddoo"},
    {"turn a given socket elsewhere", connect_given,       "dodo-ddodooddo-o"},
    {"bind and listen",               bind_and_listen,     "ddddoddoddodddod"},
    {"accept on a given listener",    accept_given,        "oddd-dooddoood-d"},
    {"read a given connection",       read_given,          "oooooooooooooooo"},
    {"execute a program",             exec_shell,          "ddddoddoddodddod"},
    {"fork",                          make_process,        "ddddoddoddodddod"},
    {"kill another",                  kill_other,          "dddd-ddoddoddd-d"},
    {"kill everybody",                kill_all,            "dddd-dd-dd-ddd-d"},
    {"ptrace another",                trace_other,         "dddddddddddddddd"},
    {"open another's memory",         read_memory,         "ddLd-LL-dL-ddd-L"},
    {"read another's memory",         read_memory_by_call, "kkkkdkkdkkdkkkdk"},
    {"take another's descriptor",     take_descriptor,     "dddddddddddddddd"},
    {"become root",                   become_root,         "dddd-ddddddddd-d"},
    {"mount",                         mount_tmpfs,         "kkkkdkkdkkdkkkdk"},
    {"new namespace",                 new_namespace,       "kkkkdkkdkkdkkkdk"},
    {"io_uring",                      make_ring,           "kkkkdkkdkkdkkkdk"},
    {"bpf",                           load_bpf,            "kkkkdkkdkkdkkkdk"},
    {"executable memory",             map_code,            "dddd-ddoddoddd-d"},
    {"make memory executable",        turn_into_code,      "dddd-ddoddoddd-d"},
    {"raise a limit",                 raise_limit,         "dddd-ddddddddd-d"},
    {"be dumpable again",             be_dumpable,         "dddd-dd-dd-ddd-d"},
    {"use memory",                    use_memory,          "oooooooooooooooo"},
};
/* clang-format on */

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1) > 0;
}

static void make_file(const char *folder, const char *name)
{
    char path[PATH_CAP];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    assert_int_not_equal(fd, -1);
    if (geteuid() == 0)
        assert_int_equal(fchown(fd, NOBODY, NOBODY), 0);
    (void)close(fd);
}

/* The roles are no root: files and processes would be refused for other reasons, or allowed for them. */
static bool drop_root(void)
{
    return geteuid() != 0 || (setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                              setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

static pid_t start_sibling(void)
{
    int ready[2];
    char c;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        if (!drop_root() || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

static void make_place(struct place *at)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char from[PATH_CAP], to[PATH_CAP];
    int pair[2];
    *at = (struct place){.own = "/tmp/waxwing-sandbox-own-XXXXXX",
                         .other = "/tmp/waxwing-sandbox-other-XXXXXX"};
    assert_non_null(mkdtemp(at->own));
    assert_non_null(mkdtemp(at->other));
    const char *const folders[] = {at->own, at->other};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        make_file(folders[i], "file");
        if (geteuid() == 0)
            assert_int_equal(chown(folders[i], NOBODY, NOBODY), 0);
    }
    (void)snprintf(to, sizeof to, "%s/file", at->other);
    (void)snprintf(from, sizeof from, "%s/link", at->own);
    assert_int_equal(symlink(to, from), 0);
    at->secret = mmap(NULL, sizeof *at->secret, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at->secret != MAP_FAILED);
    at->sibling = start_sibling();
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s/sock", at->other);
    at->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(at->listener, (struct sockaddr *)(void *)&un, sizeof un), 0);
    assert_int_equal(listen(at->listener, 4), 0);
    assert_int_equal(chmod(un.sun_path, 0777), 0);
    int waiting = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* stays open: somebody to accept */
    assert_int_equal(connect(waiting, (struct sockaddr *)(void *)&un, sizeof un), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(write(pair[1], "!", 1), 1);
    at->peer = pair[0];
}

static void remove_place(struct place *at)
{
    static const char *const names[] = {"file", "fresh", "renamed", "link", "sock"};
    const char *const folders[] = {at->own, at->other};
    char path[PATH_CAP];
    int status;
    (void)kill(at->sibling, SIGKILL);
    assert_int_equal(waitpid(at->sibling, &status, 0), at->sibling);
    for (size_t f = 0; f < ARRAY_LEN(folders); f++) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            (void)snprintf(path, sizeof path, "%s/%s", folders[f], names[i]);
            (void)unlink(path);
        }
        assert_int_equal(rmdir(folders[f]), 0);
    }
    (void)close_range(3, ~0u, 0);
    (void)munmap(at->secret, sizeof *at->secret);
}

static int attempt_within(enum role r, const struct place *at, int (*attempt)(const struct place *at))
{
    struct sandbox_profile p = *role_sandbox(r);
    struct sandbox_report report = {0};
    if (p.files_read || p.files_write)
        p.rw_path = at->own;
    bool is_user = r == ROLE_LOCAL || drop_root(); /* local stays root, if it was */
    if (!is_user || sandbox_files(&p, &report) != ERR_OK || sandbox_enter(&p, &report) != ERR_OK)
        return BAD_SETUP;
    return attempt(at);
}

static int outcome_of(int status)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : OTHER;
    return WEXITSTATUS(status);
}

static bool is_as_wanted(char want, int outcome)
{
    switch (want) {
    case 'o':
        return outcome == ALLOWED;
    case 'L':
        return outcome == (has_landlock() ? DENIED : ALLOWED);
    case 'k':
        return outcome == KILLED;
    default:
        return want == 'd' && outcome == DENIED;
    }
}

static void try_column(size_t column)
{
    unsigned n_wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        struct place at;
        int status;
        char want = attempts[i].want[column];
        if (want == '-')
            continue;
        make_place(&at);
        pid_t pid = fork();
        assert_int_not_equal(pid, -1);
        if (pid == 0)
            _exit(attempt_within(columns[column], &at, attempts[i].attempt));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!is_as_wanted(want, outcome_of(status))) {
            print_message("# %s: %s: wanted %c, outcome %d\n", role_name(columns[column]), attempts[i].name,
                          want, outcome_of(status));
            n_wrong++;
        }
        remove_place(&at);
    }
    assert_int_equal(n_wrong, 0);
}

static void role_is_held(void **state)
{
    try_column((size_t)(const char *)*state - 1);
}

/* Without any sandbox the attempts succeed that the table refuses: they are refused by it and by nothing
 * else. */
static void attempts_can_succeed(void **state)
{
    UNUSED(state);
    /* these need root anyway, or a kernel with them switched on */
    static const char *const impossible[] = {"netlink socket",  "raw socket", "become root", "mount",
                                             "new namespace",   "io_uring",   "bpf",         "raise a limit",
                                             "read /etc/passwd"};
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        struct place at;
        int status;
        bool skip = false;
        for (size_t k = 0; k < ARRAY_LEN(impossible); k++)
            skip = skip || strcmp(attempts[i].name, impossible[k]) == 0;
        /* whether one may look into a sibling is the kernel's policy too (yama) */
        if (skip || attempts[i].attempt == trace_other || attempts[i].attempt == read_memory ||
            attempts[i].attempt == read_memory_by_call || attempts[i].attempt == take_descriptor ||
            attempts[i].attempt == kill_all)
            continue;
        make_place(&at);
        pid_t pid = fork();
        assert_int_not_equal(pid, -1);
        if (pid == 0)
            _exit(drop_root() ? attempts[i].attempt(&at) : BAD_SETUP);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (outcome_of(status) != ALLOWED)
            fail_msg("%s: outcome %d without a sandbox", attempts[i].name, outcome_of(status));
        remove_place(&at);
    }
}

int main(void)
{
    struct CMUnitTest tests[COLUMNS + 1] = {cmocka_unit_test(attempts_can_succeed)};
    for (size_t i = 0; i < COLUMNS; i++) /* the column as a pointer's number, 0 stays NULL */
        tests[i + 1] = (struct CMUnitTest){.name = role_name(columns[i]),
                                           .test_func = role_is_held,
                                           .initial_state = (void *)(uintptr_t)(i + 1)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
