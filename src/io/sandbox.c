#include "io/sandbox.h"

#include "io/landlock.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCK_TYPE_BITS = 0xf };

/* What every role does, whatever its arguments. Rows without conditions are answered from the kernel's
 * bitmap. */
static const int always[] = {
    /* the loop */
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(eventfd2),
    SCMP_SYS(signalfd4),
    /* descriptors it has */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(fstat),
    SCMP_SYS(fcntl),
    SCMP_SYS(dup),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(pipe2),
    SCMP_SYS(memfd_create),
    SCMP_SYS(ftruncate),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    /* memory, threads, time */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(sysinfo),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(membarrier),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(restart_syscall),
    /* signals and the end */
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigtimedwait),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* who am I */
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getresuid),
    SCMP_SYS(getresgid),
    SCMP_SYS(uname),
};

static const int reading[] = {
    SCMP_SYS(newfstatat), SCMP_SYS(stat),       SCMP_SYS(lstat),    SCMP_SYS(statx),      SCMP_SYS(access),
    SCMP_SYS(faccessat),  SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd),
    SCMP_SYS(getdents64), SCMP_SYS(preadv),     SCMP_SYS(preadv2),  SCMP_SYS(fadvise64),  SCMP_SYS(fstatfs),
    SCMP_SYS(statfs),     SCMP_SYS(flock),
};

static const int writing[] = {
    SCMP_SYS(openat),          SCMP_SYS(openat2),   SCMP_SYS(open),     SCMP_SYS(creat),
    SCMP_SYS(pwritev),         SCMP_SYS(pwritev2),  SCMP_SYS(fsync),    SCMP_SYS(fdatasync),
    SCMP_SYS(sync_file_range), SCMP_SYS(fallocate), SCMP_SYS(truncate), SCMP_SYS(rename),
    SCMP_SYS(renameat),        SCMP_SYS(renameat2), SCMP_SYS(link),     SCMP_SYS(linkat),
    SCMP_SYS(unlink),          SCMP_SYS(unlinkat),  SCMP_SYS(mkdir),    SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),           SCMP_SYS(fchmod),    SCMP_SYS(fchown),   SCMP_SYS(utimensat),
    SCMP_SYS(umask),           SCMP_SYS(msync),
};

/* Nobody who is still himself calls these; of the programs that a spawning role starts some try them and do
 * without. */
static const int deadly[] = {
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(quotactl),
    SCMP_SYS(vhangup),
};

/* Refused to programs that a spawning role starts too: they see or bend other processes. */
static const int never_spawned[] = {SCMP_SYS(ptrace),       SCMP_SYS(kcmp),   SCMP_SYS(pidfd_getfd),
                                    SCMP_SYS(chroot),       SCMP_SYS(syslog), SCMP_SYS(sethostname),
                                    SCMP_SYS(setdomainname)};

/* A call this library or machine has not heard of (-EDOM) can't be made either. */
static bool add_rows(scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int failed = seccomp_rule_add(ctx, action, calls[i], 0);
        if (failed != 0 && failed != -EDOM)
            return false;
    }
    return true;
}

static struct scmp_arg_cmp arg_is(unsigned arg, scmp_datum_t value)
{
    return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_EQ, .datum_a = value};
}

/* The argument's bits in mask are exactly value. */
static struct scmp_arg_cmp arg_has(unsigned arg, scmp_datum_t mask, scmp_datum_t value)
{
    return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

static bool has_files(const struct sandbox_profile *p)
{
    return p->files_read || p->files_write;
}

static bool allow_if(scmp_filter_ctx ctx, int call, struct scmp_arg_cmp when)
{
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &when) == 0;
}

/* Memory is never made executable; signals go only to ourselves; limits can be read. */
static bool add_conditional(scmp_filter_ctx ctx, const struct sandbox_profile *p)
{
    static const unsigned long ioctls[] = {FIONREAD, FIONBIO, SIOCOUTQ};
    bool ok = allow_if(ctx, SCMP_SYS(mmap), arg_has(2, PROT_EXEC, 0)) &&
              allow_if(ctx, SCMP_SYS(mprotect), arg_has(2, PROT_EXEC, 0)) &&
              allow_if(ctx, SCMP_SYS(tgkill), arg_is(0, (scmp_datum_t)getpid())) &&
              allow_if(ctx, SCMP_SYS(prlimit64), arg_is(2, 0)) &&
              allow_if(ctx, SCMP_SYS(prctl), arg_is(0, PR_SET_NAME));
    for (size_t i = 0; ok && i < ARRAY_LEN(ioctls); i++)
        ok = allow_if(ctx, SCMP_SYS(ioctl), arg_is(1, ioctls[i]));
    if (ok && !has_files(p)) /* fstat() is made of this */
        ok = allow_if(ctx, SCMP_SYS(newfstatat), arg_has(3, AT_EMPTY_PATH, AT_EMPTY_PATH));
    if (ok && p->files_read && !p->files_write)
        ok = allow_if(ctx, SCMP_SYS(openat), arg_has(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
    if (ok && p->threads)
        ok = allow_if(ctx, SCMP_SYS(clone), arg_has(0, CLONE_THREAD, CLONE_THREAD));
    /* with its flags out of our sight it is refused in a way that makes libc take clone() */
    return ok && seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

static bool allow_sockets(scmp_filter_ctx ctx, int domain, int type)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, arg_is(0, (scmp_datum_t)domain),
                            arg_has(1, SOCK_TYPE_BITS, (scmp_datum_t)type)) == 0;
}

static bool add_network(scmp_filter_ctx ctx, const struct sandbox_profile *p)
{
    bool ok = true;
    if (p->accept)
        ok = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(accept4), 0) == 0;
    if (ok && p->net_tcp)
        ok = allow_sockets(ctx, AF_INET, SOCK_STREAM) && allow_sockets(ctx, AF_INET6, SOCK_STREAM);
    if (ok && p->net_udp)
        ok = allow_sockets(ctx, AF_INET, SOCK_DGRAM) && allow_sockets(ctx, AF_INET6, SOCK_DGRAM);
    if (ok && p->unix_connect)
        ok = allow_sockets(ctx, AF_UNIX, SOCK_STREAM);
    if (ok && (p->net_tcp || p->net_udp || p->unix_connect))
        ok = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(connect), 0) == 0;
    if (ok && (p->net_tcp || p->net_udp))
        ok = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(bind), 0) == 0;
    return ok;
}

/* Refuses the sockets that the profile does not name, and those that look at the machine. */
static bool deny_sockets(scmp_filter_ctx ctx, const struct sandbox_profile *p)
{
    static const int inet[] = {AF_INET, AF_INET6};
    static const int others[] = {AF_PACKET, AF_NETLINK, AF_VSOCK, AF_ALG, AF_BLUETOOTH, AF_XDP};
    const uint32_t deny = SCMP_ACT_ERRNO(EACCES);
    /* as on a kernel without them, which programs know how to do without: PAM's library its audit records */
    const uint32_t unknown = SCMP_ACT_ERRNO(EAFNOSUPPORT);
    bool ok = true;
    for (size_t i = 0; ok && i < ARRAY_LEN(inet); i++) {
        const struct scmp_arg_cmp domain = arg_is(0, (scmp_datum_t)inet[i]);
        const struct scmp_arg_cmp stream = arg_has(1, SOCK_TYPE_BITS, SOCK_STREAM);
        const struct scmp_arg_cmp dgram = arg_has(1, SOCK_TYPE_BITS, SOCK_DGRAM);
        const struct scmp_arg_cmp raw = arg_has(1, SOCK_TYPE_BITS, SOCK_RAW);
        ok = seccomp_rule_add(ctx, deny, SCMP_SYS(socket), 2, domain, raw) == 0;
        if (ok && !p->net_tcp)
            ok = seccomp_rule_add(ctx, deny, SCMP_SYS(socket), 2, domain, stream) == 0;
        if (ok && !p->net_udp)
            ok = seccomp_rule_add(ctx, deny, SCMP_SYS(socket), 2, domain, dgram) == 0;
    }
    for (size_t i = 0; ok && i < ARRAY_LEN(others); i++)
        ok = seccomp_rule_add(ctx, unknown, SCMP_SYS(socket), 1, arg_is(0, (scmp_datum_t)others[i])) == 0;
    return ok;
}

static bool add_all(scmp_filter_ctx ctx, const struct sandbox_profile *p)
{
    uint32_t deadly_action = p->spawn ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_KILL_PROCESS;
    if (!add_rows(ctx, deadly_action, deadly, ARRAY_LEN(deadly)))
        return false;
    if (p->spawn)
        return add_rows(ctx, SCMP_ACT_ERRNO(EPERM), never_spawned, ARRAY_LEN(never_spawned)) &&
               deny_sockets(ctx, p);
    return add_rows(ctx, SCMP_ACT_ALLOW, always, ARRAY_LEN(always)) &&
           (!has_files(p) || add_rows(ctx, SCMP_ACT_ALLOW, reading, ARRAY_LEN(reading))) &&
           (!p->files_write || add_rows(ctx, SCMP_ACT_ALLOW, writing, ARRAY_LEN(writing))) &&
           add_conditional(ctx, p) && add_network(ctx, p);
}

static bool install(const struct sandbox_profile *p)
{
    scmp_filter_ctx ctx = seccomp_init(p->spawn ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
    if (ctx == NULL)
        return false;
    bool ok = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
              seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) == 0 && add_all(ctx, p);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE,
                           2); /* a tree instead of a row, where the library can */
    ok = ok && seccomp_load(ctx) == 0;
    seccomp_release(ctx);
    return ok;
}

static void miss(struct sandbox_report *report, const char *what)
{
    struct buf b;
    size_t before = str_from_c(report->missing).n;
    buf_init_fixed(&b, report->missing, sizeof report->missing);
    b.n = before;
    if (before > 0)
        buf_puts(&b, "; ");
    buf_puts(&b, what);
    if (!buf_putc(&b, '\0'))
        report->missing[before] = '\0'; /* what does not fit is left out whole */
}

static bool is_sanitized(void)
{
#ifdef WAXWING_SANITIZED
    return true;
#else
    return false;
#endif
}

enum err sandbox_files(const struct sandbox_profile *p, struct sandbox_report *report)
{
    static const struct rlimit none = {0, 0};
    report->profile = is_sanitized() ? "sanitized" : p->name;
    report->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    if (!report->no_new_privs || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
        return err_from_errno(errno);
    if (is_sanitized()) {
        miss(report, "seccomp and Landlock: this build has a sanitizer");
        return ERR_OK;
    }
    if (setrlimit(RLIMIT_CORE, &none) == -1)
        return err_from_errno(errno);
    if (p->spawn) {
        miss(report, "Landlock: programs it starts need files");
        return ERR_OK;
    }
    enum err err = landlock_enter(p, report);
    if (err == ERR_OK && !report->landlock)
        miss(report, "Landlock: the kernel has none");
    else if (err == ERR_OK && report->landlock_abi < 3)
        miss(report, "Landlock: the kernel's does not know truncate");
    return err;
}

enum err sandbox_enter(const struct sandbox_profile *p, struct sandbox_report *report)
{
    if (!report->no_new_privs) {
        enum err err = sandbox_files(p, report);
        if (err != ERR_OK)
            return err;
    }
    if (is_sanitized())
        return ERR_OK;
    report->seccomp = install(p);
    if (!report->seccomp)
        miss(report, "seccomp: the kernel refused the filter");
    return report->seccomp ? ERR_OK : ERR_DENIED;
}
