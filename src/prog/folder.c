#include "prog/folder.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The next component's end: path.p[0, n) is the path up to it. 0: there is none. */
static size_t next_end(struct str path, size_t from)
{
    while (from < path.n && path.p[from] == '/')
        from++;
    size_t end = from;
    while (end < path.n && path.p[end] != '/')
        end++;
    return end == from ? 0 : end;
}

static struct str last_part(struct str path)
{
    size_t slash = str_rchr(path, '/');
    return slash == STR_NPOS ? path : str_skip(path, slash + 1);
}

/* A link is followed where it is root's or ours: nobody else may lead us. -1 with errno. */
static int enter(int dir, const char *name)
{
    int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd != -1 || (errno != ELOOP && errno != ENOTDIR))
        return fd;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
        return -1;
    if (S_ISLNK(st.st_mode) && st.st_uid != 0 && st.st_uid != geteuid()) {
        errno = EPERM;
        return -1;
    }
    return openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool failed(struct buf *out, const char *what, struct str path)
{
    enum err e = err_from_errno(errno);
    buf_printf(out, "%s the folder %.*s: %s", what, STR_FMT(path),
               errno == ENOTDIR ? "it or one above it is no folder" : err_str(e));
    return false;
}

static bool give(int fd, struct str path, bool is_new, uint32_t uid, uint32_t gid, struct buf *out)
{
    struct stat st;
    if (fstat(fd, &st) == -1)
        return failed(out, "can't look at", path);
    if (uid == UINT32_MAX || st.st_uid == uid)
        return true;
    if (!is_new && st.st_uid != 0) {
        buf_printf(out,
                   "the folder %.*s belongs to user %u and is needed by user %u: give it to that one, or "
                   "name another",
                   STR_FMT(path), (unsigned)st.st_uid, (unsigned)uid);
        return false;
    }
    return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == 0 || failed(out, "can't give away", path);
}

bool folder_make(struct str path, uint32_t uid, uint32_t gid, struct buf *out)
{
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    int dir = open(path.n > 0 && path.p[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool is_new = false;
    for (size_t end = next_end(path, 0); dir != -1 && end > 0; end = next_end(path, end)) {
        char name[NAME_MAX + 1];
        int next = -1;
        if (str_to_c(last_part(str_slice(path, 0, end)), name, sizeof name)) {
            bool is_private = end == path.n && uid != UINT32_MAX;
            is_new = mkdirat(dir, name, is_private ? 0700 : 0755) == 0;
            next = is_new || errno == EEXIST ? enter(dir, name) : -1;
        } else {
            errno = ENAMETOOLONG;
        }
        int errnum = errno;
        (void)close(dir);
        errno = errnum;
        dir = next;
        if (dir == -1)
            return failed(out, "can't make or enter", str_slice(path, 0, end));
    }
    if (dir == -1)
        return failed(out, "can't enter", path);
    bool ok = give(dir, path, is_new, uid, gid, out);
    (void)close(dir);
    return ok;
}

static bool may(const struct stat *st, uint32_t uid, uint32_t gid, unsigned bits)
{
    unsigned shift = st->st_uid == uid ? 6 : st->st_gid == gid ? 3 : 0;
    return ((st->st_mode >> shift) & bits) == bits;
}

bool folder_is_open_to(struct str path, uint32_t uid, uint32_t gid, bool writes, struct buf *out)
{
    enum { ENTER = 1, WRITE = 3 };
    char p[PATH_MAX];
    if (uid == 0)
        return true;
    for (size_t end = next_end(path, 0); end > 0; end = next_end(path, end)) {
        struct stat st;
        struct str up_to = str_slice(path, 0, end);
        bool is_last = next_end(path, end) == 0;
        if (!str_to_c(up_to, p, sizeof p) || stat(p, &st) == -1)
            return failed(out, "can't look at", up_to);
        if (!S_ISDIR(st.st_mode)) {
            buf_printf(out, "%.*s is no folder", STR_FMT(up_to));
            return false;
        }
        if (!may(&st, uid, gid, is_last && writes ? WRITE : ENTER)) {
            buf_printf(out, "the folder %.*s (owner %u, mode %04o) may not be %s by user %u", STR_FMT(up_to),
                       (unsigned)st.st_uid, (unsigned)st.st_mode & 07777u,
                       is_last && writes ? "written" : "entered", (unsigned)uid);
            return false;
        }
    }
    return true;
}

bool folder_of_state(const char *below, struct buf *out)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool has_state = state != NULL && state[0] == '/';
    if (!has_state && (home == NULL || home[0] != '/'))
        return false;
    buf_puts(out, has_state ? state : home);
    if (!has_state)
        buf_puts(out, "/.local/state");
    buf_putc(out, '/');
    buf_puts(out, below);
    buf_putc(out, '\0');
    return !out->failed;
}
