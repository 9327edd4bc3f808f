#include "prog/user_file.h"

#include "base/limits.h"
#include "prog/load.h"
#include "prog/prog.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what, const char *path)
{
    enum err e = err_from_errno(errno);
    (void)fprintf(stderr, "waxwing user: %s: %s: %s\n", path, what, err_str(e));
    return e == ERR_DENIED     ? EXIT_NOPERM
           : e == ERR_NOTFOUND ? EXIT_NOINPUT
           : e == ERR_NOSPACE  ? EXIT_TEMPFAIL
                               : EXIT_OS;
}

/* The folder and the name in it; a link is followed now, so that it is not replaced by a file later. */
static int find(const char *path, bool may_lack, struct user_file *f)
{
    char *real = realpath(path, f->path); /* PATH_MAX octets fit */
    if (real == NULL && !(errno == ENOENT && may_lack))
        return fail("can't be read", path);
    if (real == NULL && !str_to_c(str_from_c(path), f->path, sizeof f->path)) {
        errno = ENAMETOOLONG;
        return fail("can't be made", path);
    }
    size_t slash = str_rchr(str_from_c(f->path), '/');
    char folder[sizeof f->path] = ".";
    f->name = slash == STR_NPOS ? f->path : f->path + slash + 1;
    if (slash != STR_NPOS)
        must(str_to_c(str_of(f->path, slash == 0 ? 1 : slash), folder, sizeof folder));
    f->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return f->folder == -1 ? fail("its folder can't be opened", path) : EXIT_OK;
}

int user_file_open(const char *path, bool locks, bool may_lack, struct user_file *f)
{
    _Static_assert(sizeof f->path >= PATH_MAX, "realpath() writes that much");
    struct stat st;
    *f = (struct user_file){.folder = -1, .mode = 0600};
    buf_init(&f->text, CONFIG_FILE_MAX + (size_t)64 * 1024);
    int status = find(path, may_lack, f);
    if (status != EXIT_OK)
        return status;
    while (locks && flock(f->folder, LOCK_EX) == -1) {
        if (errno != EINTR)
            return fail("its folder can't be locked", path);
    }
    f->exists = fstatat(f->folder, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!f->exists)
        return errno == ENOENT && may_lack ? EXIT_OK : fail("can't be read", path);
    f->uid = st.st_uid;
    f->gid = st.st_gid;
    f->mode = st.st_mode & 07777;
    enum err e = load_file(f->path, CONFIG_FILE_MAX, &f->text);
    if (e == ERR_OK)
        return EXIT_OK;
    (void)fprintf(stderr, "waxwing user: %s: can't be read: %s\n", path, config_file_problem(e));
    return e == ERR_DENIED ? EXIT_NOPERM : EXIT_NOINPUT;
}

static bool write_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n == -1 && errno != EINTR)
            return false;
        if (n > 0)
            s = str_skip(s, (size_t)n);
    }
    return true;
}

/* Everything of the new file but its name. The owner comes first: it may take bits off the mode. */
static const char *fill(const struct user_file *f, int fd, struct str text)
{
    if (f->exists && fchown(fd, f->uid, f->gid) == -1)
        return "a new file can't be given to its owner";
    if (fchmod(fd, f->mode) == -1)
        return "a new file can't get its mode";
    if (!write_all(fd, text) || fsync(fd) == -1)
        return "a new file beside it can't be written";
    return NULL;
}

int user_file_save(struct user_file *f, struct str text)
{
    char temp[NAME_MAX + 1];
    unsigned long long number;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return fail("no random numbers", f->path);
    (void)snprintf(temp, sizeof temp, ".waxwing-user-%016llx", number);
    int fd = openat(f->folder, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd == -1)
        return fail("a new file beside it can't be made", f->path);
    const char *what = fill(f, fd, text);
    int status = what == NULL ? EXIT_OK : fail(what, f->path);
    (void)close(fd);
    if (status == EXIT_OK && renameat(f->folder, temp, f->folder, f->name) == -1)
        status = fail("can't be replaced", f->path);
    if (status != EXIT_OK)
        (void)unlinkat(f->folder, temp, 0);
    else if (fsync(f->folder) == -1)
        status = fail("its folder can't be flushed", f->path);
    return status;
}

void user_file_close(struct user_file *f)
{
    buf_fini(&f->text);
    if (f->folder != -1)
        (void)close(f->folder); /* ends the lock */
    f->folder = -1;
}
