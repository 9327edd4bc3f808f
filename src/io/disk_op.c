/* io/disk_op.c: what the disk threads do. Blocking calls, no state of its own.
 *
 * Errors:   EINTR and short transfers are dealt with here; a failed flush is reported and never tried again.
 * Security: names are checked (no "..", nothing absolute) and no symbolic link is followed on the whole way.
 */
#include "io/disk_op.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECES_AT_ONCE = 256, ZEROS = 64 * 1024, ZEROS_AT_ONCE = 4 * 1024 * 1024, OPEN_TRIES = 8 };

static const char zeros[ZEROS];

static enum err err_now(void)
{
    if (errno == ELOOP || errno == EISDIR || errno == ENOTEMPTY || errno == EXDEV)
        return ERR_INVALID;
    return err_from_errno(errno);
}

/* Components of printable ASCII, not empty, not "." or "..". */
static bool name_is_valid(const char *name)
{
    struct str rest = str_from_c(name);
    if (rest.n == 0 || rest.n >= NAME_MAX * 4)
        return false;
    bool more = true;
    while (more) {
        more = str_chr(rest, '/') != STR_NPOS;
        struct str part = str_cut(&rest, '/');
        if (part.n == 0 || part.n > NAME_MAX || str_eq(part, STR(".")) || str_eq(part, STR("..")) ||
            str_has_ctl(part))
            return false;
    }
    return true;
}

/* -1 with errno. */
static int open_below(int dir, const char *name, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
        .mode = (flags & O_CREAT) != 0 ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    for (int i = 0; i < OPEN_TRIES; i++) {
        long fd = syscall(SYS_openat2, dir, name, &how, sizeof how);
        if (fd != -1)
            return (int)fd;
        if (errno == ENOSYS || errno == EPERM) /* an old kernel, or a container that has not heard of it */
            return openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
        if (errno != EINTR && errno != EAGAIN)
            return -1;
    }
    return -1;
}

/* The folder that name stands in, as a descriptor to close or root itself, and the last component. */
static int open_parent(int root, const char *name, const char **out_last)
{
    const char *slash = strrchr(name, '/');
    if (slash == NULL) {
        *out_last = name;
        return root;
    }
    char parent[NAME_MAX * 4];
    struct str s = str_of(name, (size_t)(slash - name));
    if (!str_to_c(s, parent, sizeof parent)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    *out_last = slash + 1;
    return open_below(root, parent, O_RDONLY | O_DIRECTORY, 0);
}

static void close_parent(int root, int parent)
{
    if (parent != root && parent != -1)
        (void)close(parent);
}

static struct disk_file *file_new(int fd)
{
    struct disk_file *f = mem_new(struct disk_file);
    if (f == NULL) {
        (void)close(fd);
        return NULL;
    }
    list_init(&f->link);
    f->fd = fd;
    return f;
}

static enum err run_open(int root, struct disk_op *op)
{
    static const int flags[] = {
        [DISK_MUST_EXIST] = 0, [DISK_CREATE] = O_CREAT, [DISK_CREATE_NEW] = O_CREAT | O_EXCL};
    struct stat st;
    int fd =
        open_below(root, op->name, O_RDWR | O_NONBLOCK | flags[op->create], 0600); /* never wait for a fifo */
    if (fd == -1)
        return err_now();
    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return ERR_INVALID;
    }
    op->file = file_new(fd);
    op->size = (uint64_t)st.st_size;
    return op->file == NULL ? ERR_NOMEM : ERR_OK;
}

static enum err run_close(struct disk_op *op)
{
    int failed = close(op->file->fd);
    mem_free(op->file);
    op->file = NULL;
    return failed == -1 && errno != EINTR ? err_now() : ERR_OK;
}

static enum err flush(int fd)
{
    int failed;
    do {
        failed = fdatasync(fd);
    } while (failed == -1 && errno == EINTR);
    return failed == -1 ? err_now() : ERR_OK;
}

/* iovec has no const. */
static struct iovec iovec_of(const char *p, size_t n)
{
    union {
        const void *from;
        void *to;
    } u = {.from = p};
    return (struct iovec){u.to, n};
}

/* Writes iov[0, n) at *offset; drops what was written from the front and moves *offset on. */
static enum err write_all(int fd, struct iovec *iov, size_t n, uint64_t *offset)
{
    while (n > 0) {
        if (iov->iov_len == 0) {
            iov++;
            n--;
            continue;
        }
        ssize_t done = pwritev(fd, iov, (int)n, (off_t)*offset);
        if (done == -1) {
            if (errno == EINTR)
                continue;
            return err_now();
        }
        if (done == 0)
            return ERR_IO;
        *offset += (uint64_t)done;
        size_t left = (size_t)done;
        while (left > 0) {
            size_t take = left < iov->iov_len ? left : iov->iov_len;
            *iov = iovec_of((const char *)iov->iov_base + take, iov->iov_len - take);
            left -= take;
            if (iov->iov_len == 0) {
                iov++;
                n--;
            }
        }
    }
    return ERR_OK;
}

static enum err run_write(struct disk_op *op)
{
    struct iovec iov[PIECES_AT_ONCE];
    uint64_t at = op->offset;
    enum err err = ERR_OK;
    for (size_t i = 0; i < op->n_pieces && err == ERR_OK;) {
        size_t n = 0;
        while (n < PIECES_AT_ONCE && i < op->n_pieces) {
            iov[n++] = iovec_of(op->pieces[i].p, op->pieces[i].n);
            i++;
        }
        err = write_all(op->file->fd, iov, n, &at);
    }
    op->n_done = (size_t)(at - op->offset);
    return err == ERR_OK && op->sync ? flush(op->file->fd) : err;
}

static enum err run_read(int fd, struct disk_op *op)
{
    while (op->n_done < op->size) {
        ssize_t n = pread(fd, op->mem + op->n_done, op->size - op->n_done, (off_t)(op->offset + op->n_done));
        if (n == -1 && errno != EINTR)
            return err_now();
        if (n == 0)
            break;
        op->n_done += n > 0 ? (size_t)n : 0;
    }
    return ERR_OK;
}

/* It may grow while it is read: what counts is that an end was seen. */
static enum err read_whole(int fd, struct disk_op *op)
{
    char more;
    ssize_t n;
    enum err err = run_read(fd, op);
    if (err != ERR_OK || op->n_done < op->size)
        return err;
    do {
        n = pread(fd, &more, 1, (off_t)op->size);
    } while (n == -1 && errno == EINTR);
    return n == -1 ? err_now() : n > 0 ? ERR_TOO_BIG : ERR_OK;
}

static enum err run_read_small(int root, struct disk_op *op)
{
    struct stat st;
    op->about = (struct disk_about){.is_regular = false};
    op->offset = 0;
    int fd = open_below(root, op->name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0); /* never wait for a fifo */
    if (fd == -1)
        return errno == ENXIO ? ERR_OK : err_now(); /* a socket: nothing to read, but it is there */
    enum err err = fstat(fd, &st) == -1 ? err_now() : ERR_OK;
    if (err == ERR_OK && S_ISREG(st.st_mode)) {
        op->about = (struct disk_about){.uid = st.st_uid, .mode = st.st_mode & 07777, .is_regular = true};
        err = read_whole(fd, op);
    }
    (void)close(fd);
    return err;
}

static enum err run_zero(struct disk_op *op)
{
    struct iovec iov[ZEROS_AT_ONCE / ZEROS];
    uint64_t at = 0;
    /* blocks in one piece where the file system can; it says "no space" before anything is written */
    if (op->size > 0 && fallocate(op->file->fd, 0, 0, (off_t)op->size) == -1 && errno == ENOSPC)
        return ERR_NOSPACE;
    while (at < op->size) {
        size_t n = 0;
        uint64_t left = op->size - at;
        for (; n < ARRAY_LEN(iov) && left > 0; n++) {
            iov[n] = iovec_of(zeros, left < ZEROS ? (size_t)left : ZEROS);
            left -= iov[n].iov_len;
        }
        enum err err = write_all(op->file->fd, iov, n, &at);
        op->n_done = (size_t)at;
        if (err != ERR_OK)
            return err;
    }
    return flush(op->file->fd);
}

static bool is_root(const char *name)
{
    return name[0] == '.' && name[1] == '\0';
}

static enum err run_sync_dir(int root, struct disk_op *op)
{
    int fd = open_below(root, op->name, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -1)
        return err_now();
    enum err err = fsync(fd) == -1 ? err_now() : ERR_OK;
    (void)close(fd);
    return err;
}

static enum err run_unlink(int root, struct disk_op *op)
{
    const char *last;
    int parent = open_parent(root, op->name, &last);
    enum err err = parent == -1 || unlinkat(parent, last, 0) == -1 ? err_now() : ERR_OK;
    close_parent(root, parent);
    return err;
}

static enum err run_rename_or_link(int root, struct disk_op *op)
{
    const char *last, *last2;
    int parent = open_parent(root, op->name, &last);
    int parent2 = parent == -1 ? -1 : open_parent(root, op->name2, &last2);
    enum err err = ERR_OK;
    if (parent == -1 || parent2 == -1 ||
        (op->kind == DISK_RENAME ? renameat(parent, last, parent2, last2)
                                 : linkat(parent, last, parent2, last2, 0)) == -1)
        err = err_now();
    close_parent(root, parent2);
    close_parent(root, parent);
    return err;
}

static enum err run_mkdir(int root, struct disk_op *op)
{
    const char *last;
    struct stat st;
    int parent = open_parent(root, op->name, &last);
    enum err err = parent == -1 || mkdirat(parent, last, 0700) == -1 ? err_now() : ERR_OK;
    if (err == ERR_EXISTS && fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        err = ERR_OK;
    close_parent(root, parent);
    return err;
}

static int by_bytes(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

/* The names of `raw`, each ended by NUL, in order. */
static enum err put_sorted(const struct buf *raw, size_t n, struct buf *out)
{
    const char **names = mem_alloc_array(n, sizeof *names);
    if (names == NULL)
        return ERR_NOMEM;
    const char *p = raw->p;
    for (size_t i = 0; i < n; i++) {
        names[i] = p;
        p += strlen(p) + 1;
    }
    qsort(names, n, sizeof *names, by_bytes);
    for (size_t i = 0; i < n; i++)
        buf_put(out, str_of(names[i], strlen(names[i]) + 1));
    mem_free(names);
    return out->failed ? ERR_TOO_BIG : ERR_OK;
}

static enum err run_list(int root, struct disk_op *op)
{
    int fd = open_below(root, op->name, O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        enum err err = err_now();
        if (fd != -1)
            (void)close(fd);
        return err;
    }
    struct buf raw;
    buf_init(&raw, op->names->max);
    size_t n = 0;
    const struct dirent *e;
    enum err err = ERR_OK;
    for (errno = 0; (e = readdir(dir)) != NULL; errno = 0) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        buf_put(&raw, str_of(e->d_name, strlen(e->d_name) + 1));
        n++;
    }
    if (errno != 0)
        err = err_now();
    else if (raw.failed)
        err = ERR_TOO_BIG;
    (void)closedir(dir);
    if (err == ERR_OK && n > 0)
        err = put_sorted(&raw, n, op->names);
    buf_fini(&raw);
    return err;
}

static enum err run_lock(int root, struct disk_op *op)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open_below(root, op->name, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
    if (fd == -1)
        return err_now();
    if (fcntl(fd, F_OFD_SETLK, &whole) == -1) {
        enum err err = errno == EAGAIN || errno == EACCES ? ERR_EXISTS : err_now();
        (void)close(fd);
        return err;
    }
    op->file = file_new(fd);
    return op->file == NULL ? ERR_NOMEM : ERR_OK;
}

static bool names_are_valid(const struct disk_op *op)
{
    switch (op->kind) {
    case DISK_CLOSE:
    case DISK_WRITE:
    case DISK_READ:
    case DISK_ZERO:
    case DISK_SYNC:
        return true;
    case DISK_SYNC_DIR:
    case DISK_LIST:
        return is_root(op->name) || name_is_valid(op->name);
    case DISK_RENAME:
    case DISK_LINK:
        return name_is_valid(op->name) && name_is_valid(op->name2);
    case DISK_OPEN:
    case DISK_UNLINK:
    case DISK_MKDIR:
    case DISK_LOCK:
    case DISK_READ_SMALL:
        return name_is_valid(op->name);
    }
    must_not_reach();
}

static enum err run(int root, struct disk_op *op)
{
    if (!names_are_valid(op))
        return ERR_INVALID;
    switch (op->kind) {
    case DISK_OPEN:
        return run_open(root, op);
    case DISK_CLOSE:
        return run_close(op);
    case DISK_WRITE:
        return run_write(op);
    case DISK_READ:
        return run_read(op->file->fd, op);
    case DISK_ZERO:
        return run_zero(op);
    case DISK_SYNC:
        return flush(op->file->fd);
    case DISK_SYNC_DIR:
        return run_sync_dir(root, op);
    case DISK_UNLINK:
        return run_unlink(root, op);
    case DISK_RENAME:
    case DISK_LINK:
        return run_rename_or_link(root, op);
    case DISK_MKDIR:
        return run_mkdir(root, op);
    case DISK_LIST:
        return run_list(root, op);
    case DISK_LOCK:
        return run_lock(root, op);
    case DISK_READ_SMALL:
        return run_read_small(root, op);
    }
    must_not_reach();
}

void disk_op_run(int root_fd, struct disk_op *op)
{
    op->n_done = 0;
    op->err = run(root_fd, op);
}
