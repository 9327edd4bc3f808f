/* prog/cmd_dev_place.c: the folder of `waxwing dev`, and who works in it. */
#include "base/err.h"
#include "prog/cmd_dev.h"
#include "prog/folder.h"
#include "prog/load.h"
#include "prog/prog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lock_name[] = "waxwing-dev";

static int said(int status, const char *what, const char *path, const char *why)
{
    (void)fprintf(stderr, "waxwing: %s %s%s%s\n", what, path, why[0] == '\0' ? "" : ": ", why);
    return status;
}

static int said_errno(const char *what, const char *path, int errnum)
{
    int status = errnum == EACCES || errnum == EPERM ? EXIT_NOPERM
                 : errnum == ENOENT                  ? EXIT_NOINPUT
                                                     : EXIT_OS;
    return said(status, what, path, err_str(err_from_errno(errnum)));
}

/* ---- which one ---------------- */

/* b stands below a, or is empty. */
static bool put_path(char out[PATH_MAX], const char *a, const char *b)
{
    struct buf path;
    buf_init_fixed(&path, out, PATH_MAX);
    buf_puts(&path, a);
    if (b[0] != '\0')
        buf_putc(&path, '/');
    buf_puts(&path, b);
    buf_putc(&path, '\0');
    return !path.failed;
}

/* Absolute, or nothing was said where it could be. */
static int choose(const char *option, struct dev_place *p)
{
    struct buf path;
    char here[PATH_MAX];
    bool ok;
    p->is_default = option == NULL;
    if (option != NULL && option[0] == '/') {
        ok = put_path(p->dir, option, "");
    } else if (option != NULL) {
        ok = option[0] != '\0' && getcwd(here, sizeof here) != NULL && put_path(p->dir, here, option);
    } else if (geteuid() == 0) { /* whom we become can't enter root's home */
        ok = put_path(p->dir, "/var/lib/waxwing-dev", "");
    } else {
        buf_init_fixed(&path, p->dir, sizeof p->dir);
        ok = folder_of_state("waxwing/dev", &path);
    }
    return ok ? EXIT_OK : said(EXIT_USAGE, "no folder to keep the mail in: say", "--dir DIR", "");
}

/* ---- who works there ---------------- */

/* For good. */
static int become(uint32_t uid, uint32_t gid)
{
    if (geteuid() != 0)
        return EXIT_OK;
    if (setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0 &&
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        return EXIT_OK;
    (void)fprintf(stderr,
                  "waxwing: can't become user %u, and root does not take mail: start it as another user\n",
                  (unsigned)uid);
    return EXIT_NOPERM;
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    bool is_empty = d != NULL;
    const struct dirent *e;
    while (is_empty && (e = readdir(d)) != NULL)
        is_empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d != NULL)
        (void)closedir(d);
    return is_empty;
}

/* Whose the folder is or becomes. Of root's own only an empty one is given away: the volume of a container.
 */
static int find_owner(const struct dev_place *p, uint32_t *uid, uint32_t *gid)
{
    struct stat st;
    *uid = geteuid();
    *gid = getegid();
    if (stat(p->dir, &st) == -1) {
        if (*uid == 0 && !load_find_user("_wwmail", uid, gid) && !load_find_user("nobody", uid, gid))
            return said(EXIT_NOUSER, "there is no user", "nobody", "start it as another user than root");
        return EXIT_OK;
    }
    if (!S_ISDIR(st.st_mode))
        return said(EXIT_UNAVAILABLE, "no folder:", p->dir, "name another with --dir");
    if (st.st_uid == *uid && *uid != 0)
        return EXIT_OK;
    if (*uid != 0)
        return said(EXIT_NOPERM, "somebody else's folder:", p->dir, "name another with --dir");
    if (st.st_uid != 0) {
        *uid = st.st_uid;
        *gid = st.st_gid;
        return EXIT_OK;
    }
    if (!is_empty(p->dir))
        return said(EXIT_NOPERM, "root's folder, and not empty:", p->dir,
                    "name one that is empty or not there yet with --dir");
    if (!load_find_user("_wwmail", uid, gid) && !load_find_user("nobody", uid, gid))
        return said(EXIT_NOUSER, "there is no user", "nobody", "start it as another user than root");
    return EXIT_OK;
}

/* ---- places ---------------- */

static int open_folders(struct dev_place *p)
{
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->fd == -1)
        return said_errno("can't open the folder", p->dir, errno);
    p->mail = openat(p->fd, "mail", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return EXIT_OK;
}

/* Its path without links: it goes into the configuration. */
static int resolve(struct dev_place *p)
{
    enum { CONTROL_ROOM = 8 }; /* "/control" */
    char whole[PATH_MAX];
    if (realpath(p->dir, whole) == NULL)
        return said_errno("can't use the folder", p->dir, errno);
    (void)put_path(p->dir, whole, "");
    struct str dir = str_from_c(p->dir);
    if (dir.n + CONTROL_ROOM > 107)
        return said(EXIT_USAGE, "too long for a socket in it (99 octets):", p->dir,
                    "name another with --dir");
    if (str_has_ctl(dir))
        return said(EXIT_USAGE, "no usable name for a folder:", "it holds control characters", "");
    return EXIT_OK;
}

/* Somebody's own files are not mixed with ours. */
static int check_is_ours(const struct dev_place *p)
{
    struct stat st;
    if (fstatat(p->fd, lock_name, &st, AT_SYMLINK_NOFOLLOW) == 0 || is_empty(p->dir))
        return EXIT_OK;
    return said(EXIT_UNAVAILABLE, "not empty, and not made by `waxwing dev`:", p->dir,
                "name another with --dir");
}

int dev_place_make(const char *option, struct dev_place *out)
{
    uint32_t uid, gid;
    char mem[1024], mail[PATH_MAX + 8];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    *out = (struct dev_place){.fd = -1, .mail = -1};
    int status = choose(option, out);
    if (status == EXIT_OK)
        status = find_owner(out, &uid, &gid);
    if (status != EXIT_OK)
        return status;
    (void)umask(022); /* folders above it */
    /* for ourselves the attempt tells, who may have rights that modes don't show */
    bool ok = folder_make(str_from_c(out->dir), uid, gid, &why) &&
              (geteuid() != 0 || folder_is_open_to(str_from_c(out->dir), uid, gid, true, &why));
    if (!ok) {
        (void)fprintf(stderr, "waxwing: %.*s (--dir names another)\n", STR_FMT(buf_str(&why)));
        return EXIT_NOPERM;
    }
    status = become(uid, gid);
    (void)umask(077);
    if (status == EXIT_OK)
        status = resolve(out);
    if (status == EXIT_OK)
        status = open_folders(out);
    if (status == EXIT_OK)
        status = check_is_ours(out);
    if (status != EXIT_OK || out->mail != -1)
        return status;
    (void)snprintf(mail, sizeof mail, "%s/mail", out->dir);
    if (mkdirat(out->fd, "mail", 0700) == -1 && errno != EEXIST)
        return said_errno("can't make the folder", mail, errno);
    out->mail = openat(out->fd, "mail", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return out->mail == -1 ? said_errno("can't open the folder", mail, errno) : EXIT_OK;
}

int dev_place_open(const char *option, struct dev_place *out)
{
    struct stat st;
    *out = (struct dev_place){.fd = -1, .mail = -1};
    int status = choose(option, out);
    if (status != EXIT_OK)
        return status;
    if (stat(out->dir, &st) == -1 && errno == ENOENT)
        return said(EXIT_NOINPUT, "there is no", out->dir, "`waxwing dev` makes it; --dir names another");
    if (geteuid() == 0 && st.st_uid == 0)
        return said(EXIT_NOPERM, "root's own folder:", out->dir, "not one of `waxwing dev`");
    status = become(st.st_uid, st.st_gid);
    if (status == EXIT_OK)
        status = open_folders(out);
    if (status == EXIT_OK && fstatat(out->fd, lock_name, &st, AT_SYMLINK_NOFOLLOW) == -1)
        status = said(EXIT_NOINPUT, "no folder of `waxwing dev`:", out->dir, "--dir names another");
    return status;
}

/* ---- the lock ---------------- */

int dev_place_lock(const struct dev_place *p, const char *at)
{
    char text[200];
    int fd = openat(p->fd, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd == -1)
        return said_errno("can't lock the folder", p->dir, errno);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        int n = snprintf(text, sizeof text, "process %d, at %s\n", (int)getpid(), at);
        if (ftruncate(fd, 0) == -1 || pwrite(fd, text, (size_t)n, 0) != n)
            return said_errno("can't write into the folder", p->dir, errno);
        return EXIT_OK; /* fd stays open: it is the lock */
    }
    if (errno != EWOULDBLOCK)
        return said_errno("can't lock the folder", p->dir, errno);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    (void)close(fd);
    struct str who = str_of(text, n > 0 ? (size_t)n : 0);
    (void)fprintf(stderr, "waxwing: `waxwing dev` runs in %s already", p->dir);
    if (who.n > 1 && !str_has_ctl(str_slice(who, 0, who.n - 1)))
        (void)fprintf(stderr, " (%.*s)", (int)who.n - 1, who.p);
    (void)fputs("; another one needs a --dir and a --port of its own\n", stderr);
    return EXIT_UNAVAILABLE;
}
