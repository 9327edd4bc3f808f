#include "io/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/landlock.h as of ABI 6 */
enum {
    VERSION_QUERY = 1,
    RULE_PATH_BENEATH = 1,
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_CHAR = 1 << 6,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_SOCK = 1 << 9,
    FS_MAKE_FIFO = 1 << 10,
    FS_MAKE_BLOCK = 1 << 11,
    FS_MAKE_SYM = 1 << 12,
    FS_REFER = 1 << 13,     /* ABI 2 */
    FS_TRUNCATE = 1 << 14,  /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
    NET_BIND_TCP = 1 << 0,  /* ABI 4 */
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_UNIX = 1 << 0, /* ABI 6 */
    SCOPE_SIGNAL = 1 << 1,
};
enum {
    FS_ABI1 = (1 << 13) - 1,
    FS_RO = FS_READ_FILE | FS_READ_DIR,
    FS_RW = FS_RO | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_REFER |
            FS_TRUNCATE,
    FS_OF_A_FILE = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
};

struct ruleset {
    uint64_t handled_fs, handled_net, scoped;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static int abi_of_kernel(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, VERSION_QUERY);
    return abi < 0 ? 0 : (int)abi;
}

static uint64_t handled_fs(int abi)
{
    uint64_t fs = FS_ABI1;
    if (abi >= 2)
        fs |= FS_REFER;
    if (abi >= 3)
        fs |= FS_TRUNCATE;
    if (abi >= 5)
        fs |= FS_IOCTL_DEV;
    return fs;
}

static enum err allow_path(int ruleset_fd, const char *path, uint64_t rights)
{
    struct stat st;
    enum err err = ERR_OK;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd == -1)
        return err_from_errno(errno);
    struct path_beneath rule = {.allowed = rights, .parent_fd = fd};
    if (fstat(fd, &st) == -1)
        err = err_from_errno(errno);
    else if (!S_ISDIR(st.st_mode))
        rule.allowed &= FS_OF_A_FILE;
    if (err == ERR_OK && syscall(SYS_landlock_add_rule, ruleset_fd, RULE_PATH_BENEATH, &rule, 0) == -1)
        err = err_from_errno(errno);
    (void)close(fd);
    return err;
}

static enum err allow_paths(int ruleset_fd, const struct sandbox_profile *p, uint64_t handled)
{
    enum err err = ERR_OK;
    if (p->rw_path != NULL && (p->files_read || p->files_write))
        err = allow_path(ruleset_fd, p->rw_path,
                         (p->files_write ? (uint64_t)FS_RW : (uint64_t)FS_RO) & handled);
    for (const char *const *path = p->ro_paths;
         err == ERR_OK && p->files_read && path != NULL && *path != NULL; path++)
        err = allow_path(ruleset_fd, *path, FS_RO & handled);
    return err;
}

enum err landlock_enter(const struct sandbox_profile *p, struct sandbox_report *report)
{
    int abi = abi_of_kernel();
    report->landlock_abi = abi;
    if (abi == 0)
        return ERR_OK;
    struct ruleset set = {.handled_fs = handled_fs(abi)};
    size_t size = sizeof set.handled_fs;
    if (abi >= 4) {
        set.handled_net = p->net_tcp ? 0 : NET_BIND_TCP | NET_CONNECT_TCP;
        size = offsetof(struct ruleset, scoped);
    }
    if (abi >= 6) {
        set.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
        size = sizeof set;
    }
    int fd = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
    if (fd == -1)
        return err_from_errno(errno);
    enum err err = allow_paths(fd, p, set.handled_fs);
    if (err == ERR_OK && syscall(SYS_landlock_restrict_self, fd, 0) == -1)
        err = err_from_errno(errno);
    (void)close(fd);
    report->landlock = err == ERR_OK;
    report->landlock_net = err == ERR_OK && set.handled_net != 0;
    return err;
}
