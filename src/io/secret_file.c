#include "io/secret_file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading --------------------------------------------------------------------------------- */

static enum err read_all(int fd, struct buf *out)
{
    while (out->n < out->cap) {
        ssize_t n = read(fd, out->p + out->n, out->cap - out->n);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return err_from_errno(errno);
        if (n == 0)
            return ERR_OK;
        out->n += (size_t)n;
    }
    return ERR_AGAIN;
}

static enum err read_regular(int fd, struct buf *out, bool *is_open)
{
    struct stat st;
    if (fstat(fd, &st) == -1)
        return err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return ERR_INVALID;
    *is_open = (st.st_mode & S_IROTH) != 0;
    if ((uint64_t)st.st_size >= out->max)
        return ERR_TOO_BIG;
    if (!buf_reserve(out, (size_t)st.st_size + 1)) /* one more, to see the end */
        return ERR_NOMEM;
    return read_all(fd, out);
}

enum err secret_file_read(const char *path, struct buf *out, bool *is_open)
{
    must(out->n == 0);
    *is_open = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1)
        return err_from_errno(errno);
    enum err e = read_regular(fd, out, is_open);
    (void)close(fd);
    return e;
}

/* ---- watching -------------------------------------------------------------------------------- */

struct file_watch {
    struct io_world *w;
    struct io_watch *watch;
    int fd;
    void (*fn)(void *arg);
    void *arg;
};

enum {
    EVENTS = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB |
             IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
};

static void on_ready(void *arg, unsigned ready)
{
    struct file_watch *f = arg;
    char events[4096]; /* what happened where is not looked at: who is told reads the files again */
    UNUSED(ready);
    bool any = false;
    while (read(f->fd, events, sizeof events) > 0)
        any = true;
    if (any)
        f->fn(f->arg);
}

static enum err start(struct file_watch *f)
{
    f->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (f->fd == -1)
        return err_from_errno(errno);
    f->watch = io_watch_fd(f->w, f->fd, CONN_READABLE, on_ready, f);
    if (f->watch != NULL)
        return ERR_OK;
    (void)close(f->fd);
    f->fd = -1;
    return ERR_NOMEM;
}

static void stop(struct file_watch *f)
{
    if (f->fd == -1)
        return;
    io_unwatch(f->watch);
    (void)close(f->fd);
    f->fd = -1;
}

struct file_watch *file_watch_new(struct io_world *w, void (*fn)(void *arg), void *arg)
{
    struct file_watch *f = mem_new(struct file_watch);
    if (f == NULL)
        return NULL;
    *f = (struct file_watch){.w = w, .fn = fn, .arg = arg};
    if (start(f) == ERR_OK)
        return f;
    mem_free(f);
    return NULL;
}

static enum err add_folder_of(const struct file_watch *f, const char *path)
{
    char folder[PATH_MAX];
    size_t slash = str_rchr(str_from_c(path), '/');
    struct str name = slash == STR_NPOS ? STR(".") : slash == 0 ? STR("/") : str_of(path, slash);
    if (!str_to_c(name, folder, sizeof folder))
        return ERR_TOO_BIG;
    return inotify_add_watch(f->fd, folder, EVENTS) == -1 ? err_from_errno(errno) : ERR_OK;
}

enum err file_watch_add(struct file_watch *f, const char *path)
{
    char real[PATH_MAX];
    if (f->fd == -1)
        return ERR_CLOSED;
    enum err e = add_folder_of(f, path);
    if (e != ERR_OK || realpath(path, real) == NULL) /* one that is not there yet leads nowhere */
        return e;
    return add_folder_of(f, real);
}

enum err file_watch_clear(struct file_watch *f)
{
    stop(f);
    return start(f);
}

void file_watch_del(struct file_watch **fp)
{
    if (*fp == NULL)
        return;
    stop(*fp);
    mem_free(*fp);
    *fp = NULL;
}
