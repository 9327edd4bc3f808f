#include "prog/acme_files.h"

#include "base/limits.h"
#include "crypto/certificate.h"
#include "crypto/private_key.h"
#include "crypto/secret.h"
#include "prog/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KEY_MODE = 0600, PUBLIC_MODE = 0644, WHY_MAX = 512 };

struct place { /* of one certificate */
    const struct crypto *crypto;
    const struct log *log;
    const struct certificate_conf *conf;
    int folder, client;
    struct buf key, chain; /* what is there */
    bool has_pair;         /* chain belongs to key */
};

/* ---- files ---------------- */

static bool name_in(struct str name, const char *ending, char out[NAME_MAX + 1])
{
    struct buf b;
    buf_init_fixed(&b, out, NAME_MAX + 1);
    buf_put(&b, name);
    buf_puts(&b, ending);
    return buf_putc(&b, '\0');
}

static enum err read_all(int fd, struct buf *out)
{
    struct stat st;
    if (fstat(fd, &st) == -1)
        return err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return ERR_INVALID;
    if (st.st_size > TLS_CHAIN_SIZE_MAX)
        return ERR_TOO_BIG;
    if (!buf_reserve(out, TLS_CHAIN_SIZE_MAX)) /* it never moves: see secret_wipe_buf() */
        return ERR_NOMEM;
    while (out->n < TLS_CHAIN_SIZE_MAX) {
        ssize_t n = read(fd, out->p + out->n, TLS_CHAIN_SIZE_MAX - out->n);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return err_from_errno(errno);
        if (n == 0)
            return ERR_OK;
        out->n += (size_t)n;
    }
    return ERR_OK; /* what is behind would make it too big */
}

/* Into out, which is emptied. */
static enum err read_at(int dir, struct str name, const char *ending, struct buf *out)
{
    char file[NAME_MAX + 1];
    buf_reset(out);
    if (!name_in(name, ending, file))
        return ERR_TOO_BIG;
    int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd == -1)
        return err_from_errno(errno);
    enum err e = read_all(fd, out);
    (void)close(fd);
    return e;
}

static enum err write_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n == -1 && errno != EINTR)
            return err_from_errno(errno);
        if (n > 0)
            s = str_skip(s, (size_t)n);
    }
    return fsync(fd) == -1 ? err_from_errno(errno) : ERR_OK;
}

/* Whoever reads it sees the old or the new one. */
static enum err write_at(int dir, struct str name, const char *ending, unsigned mode, struct str text)
{
    char file[NAME_MAX + 1], temp[NAME_MAX + 1];
    if (!name_in(name, ending, file) || !name_in(name, ".new", temp))
        return ERR_TOO_BIG;
    (void)unlinkat(dir, temp, 0); /* of a start that was cut off */
    int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, KEY_MODE);
    if (fd == -1)
        return err_from_errno(errno);
    enum err e = write_all(fd, text);
    if (e == ERR_OK && (fchmod(fd, mode) == -1 || renameat(dir, temp, dir, file) == -1 || fsync(dir) == -1))
        e = err_from_errno(errno);
    (void)close(fd);
    if (e != ERR_OK)
        (void)unlinkat(dir, temp, 0);
    return e;
}

static bool cant(struct buf *why, const struct place *p, const char *what, const char *ending, enum err e)
{
    buf_printf(why, "can't %s %.*s%s in acme_folder: %s", what, STR_FMT(p->conf->names[0]), ending,
               err_str(e));
    return false;
}

/* ---- one certificate ---------------- */

static bool is_pair(const struct place *p, struct str chain, struct buf *why)
{
    struct private_key *k = NULL;
    bool ok = private_key_load(p->crypto, buf_str(&p->key), chain, (int64_t)time(NULL), &k, why) == ERR_OK;
    private_key_free(&k);
    return ok;
}

static bool have_key(struct place *p, struct buf *why)
{
    struct str name = p->conf->names[0];
    enum err e = read_at(p->folder, name, ".key", &p->key);
    if (e == ERR_OK)
        return true;
    if (e != ERR_NOTFOUND)
        return cant(why, p, "read", ".key", e);
    if (!buf_reserve(&p->key, TLS_CHAIN_SIZE_MAX))
        return cant(why, p, "make", ".key", ERR_NOMEM);
    e = certificate_make_key(p->crypto, &p->key);
    if (e == ERR_OK)
        e = write_at(p->folder, name, ".key", KEY_MODE, buf_str(&p->key));
    if (e != ERR_OK)
        return cant(why, p, "make", ".key", e);
    log_info(p->log, "acme.key_made", LS("name", name));
    return true;
}

static void look_at_pair(struct place *p)
{
    char mem[256];
    struct buf waste;
    buf_init_fixed(&waste, mem, sizeof mem);
    p->has_pair = read_at(p->folder, p->conf->names[0], ".crt", &p->chain) == ERR_OK &&
                  is_pair(p, buf_str(&p->chain), &waste);
}

static void discard(const struct place *p, struct str why)
{
    char file[NAME_MAX + 1];
    log_warn(p->log, "acme.discarded", LS("name", p->conf->names[0]), LS("why", why));
    if (name_in(p->conf->names[0], "-cert.pem", file))
        (void)unlinkat(p->client, file, 0);
}

/* What the authority has sent, when it is good. */
static void take(struct place *p)
{
    char mem[256];
    struct buf why, came;
    struct str name = p->conf->names[0];
    buf_init_fixed(&why, mem, sizeof mem);
    buf_init(&came, TLS_CHAIN_SIZE_MAX);
    enum err e = read_at(p->client, name, "-cert.pem", &came);
    if (e != ERR_NOTFOUND && e != ERR_OK) {
        discard(p, str_from_c(err_str(e)));
    } else if (e == ERR_OK && !is_pair(p, buf_str(&came), &why)) {
        discard(p, buf_str(&why));
    } else if (e == ERR_OK &&
               !certificate_is_for(p->crypto, buf_str(&came), p->conf->names, p->conf->n_names)) {
        discard(p, STR("it is not for all the names that are wanted"));
    } else if (e == ERR_OK && (!p->has_pair || !str_eq(buf_str(&came), buf_str(&p->chain)))) {
        e = write_at(p->folder, name, ".crt", PUBLIC_MODE, buf_str(&came));
        if (e == ERR_OK)
            log_info(p->log, "acme.taken", LS("name", name));
        else
            log_error(p->log, "acme.untaken", LS("name", name), LERR(e));
        p->has_pair = p->has_pair || e == ERR_OK;
    }
    buf_fini(&came);
}

/* Until the authority's is there: who sends mail to us without looking at certificates does it over TLS at
 * once. */
static bool have_pair(struct place *p, struct buf *why)
{
    const struct certificate_conf *c = p->conf;
    if (p->has_pair)
        return true;
    buf_reset(&p->chain);
    enum err e = certificate_make_own(p->crypto, buf_str(&p->key), c->names, c->n_names, (int64_t)time(NULL),
                                      &p->chain);
    if (e == ERR_OK)
        e = write_at(p->folder, c->names[0], ".crt", PUBLIC_MODE, buf_str(&p->chain));
    if (e != ERR_OK)
        return cant(why, p, "make", ".crt from .key", e);
    log_warn(p->log, "acme.self_signed", LS("name", c->names[0]),
             LC("until", "the authority's certificate has come"));
    return true;
}

static bool write_request(struct place *p, struct buf *why)
{
    struct buf text;
    buf_init(&text, TLS_CHAIN_SIZE_MAX);
    enum err e =
        certificate_make_request(p->crypto, buf_str(&p->key), p->conf->names, p->conf->n_names, &text);
    if (e == ERR_OK)
        e = write_at(p->client, p->conf->names[0], ".csr", PUBLIC_MODE, buf_str(&text));
    buf_fini(&text);
    return e == ERR_OK || cant(why, p, "make", ".csr from .key", e);
}

/* ---- all of them ---------------- */

/* Of each certificate; not makes: only takes what came. */
static bool each(const struct config *c, struct place *p, bool makes, struct buf *why)
{
    bool ok = true;
    for (size_t i = 0; ok && i < c->n_certificates; i++) {
        p->conf = &c->certificates[i];
        if (p->conf->n_names == 0)
            continue;
        buf_init(&p->key, TLS_CHAIN_SIZE_MAX);
        buf_init(&p->chain, TLS_CHAIN_SIZE_MAX);
        ok = makes ? have_key(p, why) : read_at(p->folder, p->conf->names[0], ".key", &p->key) == ERR_OK;
        if (ok) {
            look_at_pair(p);
            take(p);
            ok = !makes || (have_pair(p, why) && write_request(p, why));
        }
        secret_wipe_buf(&p->key);
        buf_fini(&p->key);
        buf_fini(&p->chain);
    }
    return ok;
}

static bool work_on(const struct config *c, bool makes, const struct log *log, struct buf *why)
{
    char path[PATH_MAX];
    struct crypto *crypto = NULL;
    struct place p = {.log = log, .folder = -1, .client = -1};
    bool ok = str_to_c(c->acme.folder, path, sizeof path) && crypto_new(&crypto) == ERR_OK;
    p.crypto = crypto;
    if (ok)
        p.folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p.folder != -1)
        p.client = openat(p.folder, ACME_CLIENT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (p.client == -1) {
        buf_printf(why, "can't use acme_folder %.*s: %s", STR_FMT(c->acme.folder),
                   err_str(ok ? err_from_errno(errno) : ERR_NOMEM));
        ok = false;
    }
    ok = ok && each(c, &p, makes, why);
    if (p.client != -1)
        (void)close(p.client);
    if (p.folder != -1)
        (void)close(p.folder);
    crypto_del(&crypto);
    return ok;
}

/* In a process of its own, which ends with it: the library leaves parts of keys in memory that it has freed,
 * and the supervisor lives long, and starts others. */
static bool work_apart(const struct config *c, bool makes, const struct log *log, struct buf *why)
{
    int said[2], status = -1;
    char mem[WHY_MAX];
    if (pipe2(said, O_CLOEXEC) == -1) {
        buf_puts(why, err_str(err_from_errno(errno)));
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct buf own;
        buf_init_fixed(&own, mem, sizeof mem);
        bool ok = work_on(c, makes, log, &own);
        _exit(write(said[1], own.p, own.n) == (ssize_t)own.n && ok ? 0 : 1);
    }
    (void)close(said[1]);
    ssize_t n = -1;
    while (pid != -1 && (n = read(said[0], mem, sizeof mem)) == -1 && errno == EINTR)
        continue;
    (void)close(said[0]);
    while (pid != -1 && waitpid(pid, &status, 0) == -1 && errno == EINTR)
        continue;
    if (pid != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (n > 0)
        buf_put(why, str_of(mem, (size_t)n));
    else
        buf_puts(why, "the process that looks after the files of acme_folder failed");
    return false;
}

bool acme_files_make(const struct config *c, uint32_t uid, uint32_t gid, const struct log *log,
                     struct buf *why)
{
    char path[PATH_MAX];
    struct buf client;
    if (c->acme.contact.n == 0)
        return true;
    buf_init_fixed(&client, path, sizeof path);
    buf_put(&client, c->acme.folder);
    if (!buf_puts(&client, "/" ACME_CLIENT)) {
        buf_puts(why, "acme_folder is too long");
        return false;
    }
    return folder_make(c->acme.folder, UINT32_MAX, UINT32_MAX, why) &&
           folder_make(buf_str(&client), uid, gid, why) &&
           (uid == UINT32_MAX || folder_is_open_to(buf_str(&client), uid, gid, true, why)) &&
           work_apart(c, true, log, why);
}

void acme_files_take(const struct config *c, const struct log *log)
{
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    if (c->acme.contact.n > 0 && !work_apart(c, false, log, &why))
        log_error(log, "acme.untaken", LS("why", buf_str(&why)));
}
