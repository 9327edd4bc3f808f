/* prog/load.c: the configuration's own process.
 *
 * Frames on a socket pair: kind, u32 length, octets. Child asks 'F' (a file's path), 'S' (the path of a
 * file that holds a secret, which is not read), 'U' (a user's name) or 'L' (all accounts: each three lstr,
 * name, home, shell, then u32 uid, gid; nothing behind the last) and ends with 'W' (warnings) and 'C'
 * (encoded configuration) or 'E' (errors). The parent answers 'f' (u8 enum err, octets), 's' (u8 enum err, u8
 * whether others have rights to it), 'u' (u8 found, u32 uid, u32 gid), 'l' (the accounts) or 'x' (they can't
 * be read).
 */
#include "prog/load.h"

#include "base/limits.h"
#include "crypto/secret.h"
#include "io/sandbox.h"
#include "prog/folder.h"
#include "prog/prog.h"
#include "service/local/deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOAD_FRAME_MAX = 256 * 1024 * 1024,
    LOAD_DEADLINE_MS = 30000,
    LOAD_CHUNK = 64 * 1024,
    LOAD_CHUNKS = 16384,
    MAILBOX_WARNINGS_MAX = 20
};

/* ---- frames ---------------- */

static bool write_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return false;
        s = str_skip(s, (size_t)n);
    }
    return true;
}

static bool frame_write(int fd, char kind, struct str a, struct str b)
{
    char head[5] = {kind};
    if (a.n + b.n > LOAD_FRAME_MAX)
        return false;
    put_u32_at(head + 1, (uint32_t)(a.n + b.n));
    return write_all(fd, str_of(head, sizeof head)) && write_all(fd, a) && write_all(fd, b);
}

static bool read_all(int fd, char *p, size_t n, int64_t deadline)
{
    while (n > 0) {
        int64_t left = deadline - prog_clock_ms();
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&pfd, 1, (int)left) == 0)
            return false;
        ssize_t got = read(fd, p, n);
        if (got == -1 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static bool frame_read(int fd, char *kind, struct buf *out, int64_t deadline)
{
    char head[5];
    buf_reset(out);
    if (!read_all(fd, head, sizeof head, deadline))
        return false;
    *kind = head[0];
    uint32_t n = get_u32_at(head + 1);
    if (n > LOAD_FRAME_MAX || !buf_reserve(out, n) || (n > 0 && !read_all(fd, out->p, n, deadline)))
        return false;
    out->n = n;
    return true;
}

/* ---- files and users ---------------- */

enum err load_file(const char *path, size_t max, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1)
        return err_from_errno(errno);
    struct stat st;
    enum err e = ERR_OK;
    if (fstat(fd, &st) == -1)
        e = err_from_errno(errno);
    else if (!S_ISREG(st.st_mode))
        e = ERR_INVALID;
    else if (st.st_size > 0 &&
             (uint64_t)st.st_size <= max) /* at once: a block that grows leaves octets behind */
        (void)buf_reserve(out, (size_t)st.st_size + 65536);
    while (e == ERR_OK) {
        if (out->n > max || !buf_reserve(out, 65536)) {
            e = ERR_TOO_BIG;
            break;
        }
        ssize_t n = read(fd, out->p + out->n, 65536);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            e = err_from_errno(errno);
        if (n <= 0)
            break;
        out->n += (size_t)n;
    }
    (void)close(fd);
    return e;
}

bool load_find_user(const char *name, uint32_t *out_uid, uint32_t *out_gid)
{
    const struct passwd *pw = getpwnam(name);
    if (pw == NULL)
        return false;
    *out_uid = pw->pw_uid;
    *out_gid = pw->pw_gid;
    return true;
}

/* ---- the child ---------------- */

struct child_env {
    int fd;
    struct buf in;
};

static enum err ask_file(void *arg, struct str path, struct arena *a, struct str *out)
{
    struct child_env *c = arg;
    char kind;
    if (!frame_write(c->fd, 'F', path, STR_NIL) ||
        !frame_read(c->fd, &kind, &c->in, prog_clock_ms() + LOAD_DEADLINE_MS) || kind != 'f' || c->in.n < 1)
        return ERR_IO;
    enum err e = (enum err)(unsigned char)c->in.p[0];
    if (e == ERR_OK && !arena_str(a, str_skip(buf_str(&c->in), 1), out))
        e = ERR_NOMEM;
    return e;
}

static enum err ask_secret(void *arg, struct str path, bool *is_open)
{
    struct child_env *c = arg;
    char kind;
    if (!frame_write(c->fd, 'S', path, STR_NIL) ||
        !frame_read(c->fd, &kind, &c->in, prog_clock_ms() + LOAD_DEADLINE_MS) || kind != 's' || c->in.n != 2)
        return ERR_IO;
    *is_open = c->in.p[1] != 0;
    return (enum err)(unsigned char)c->in.p[0];
}

static bool ask_user(void *arg, struct str name, uint32_t *out_uid, uint32_t *out_gid)
{
    struct child_env *c = arg;
    char kind;
    if (!frame_write(c->fd, 'U', name, STR_NIL) ||
        !frame_read(c->fd, &kind, &c->in, prog_clock_ms() + LOAD_DEADLINE_MS) || kind != 'u' || c->in.n != 9)
        return false;
    *out_uid = get_u32_at(c->in.p + 1);
    *out_gid = get_u32_at(c->in.p + 5);
    return c->in.p[0] != 0;
}

static enum err ask_accounts(void *arg, struct arena *a, const struct account **out, size_t *out_n)
{
    enum { ACCOUNT_MIN = 20 };
    struct child_env *c = arg;
    char kind;
    struct str bytes;
    if (!frame_write(c->fd, 'L', STR_NIL, STR_NIL) ||
        !frame_read(c->fd, &kind, &c->in, prog_clock_ms() + LOAD_DEADLINE_MS) || kind != 'l')
        return ERR_IO;
    struct account *list = arena_alloc_array(a, c->in.n / ACCOUNT_MIN + 1, sizeof *list);
    if (list == NULL || !arena_str(a, buf_str(&c->in), &bytes))
        return ERR_NOMEM;
    struct reader r = reader_of(bytes);
    size_t n = 0;
    while (r.rest.n > 0 && !r.failed) {
        struct account u = {.name = read_lstr(&r), .home = read_lstr(&r), .shell = read_lstr(&r)};
        u.uid = read_u32(&r);
        u.gid = read_u32(&r);
        if (!r.failed)
            list[n++] = u;
    }
    *out = list;
    *out_n = n;
    return r.failed ? ERR_IO : ERR_OK;
}

/* Descriptor 0 is empty, 1 and 2 stay, 3 is ours to talk: a reload forks a supervisor that holds listeners
 * and the channels of all roles. */
static int drop_descriptors(int fd)
{
    enum { TALK = 3 };
    int empty = open("/dev/null", O_RDONLY);
    if (empty == -1 || dup2(empty, STDIN_FILENO) == -1 || (fd != TALK && dup2(fd, TALK) == -1) ||
        close_range(TALK + 1, ~0u, 0) == -1 || setsid() == -1 || prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
        _exit(1);
    return TALK;
}

static void drop_rights(void)
{
    uint32_t uid, gid;
    if (geteuid() == 0) {
        if (!load_find_user("_wwsmtpd", &uid, &gid) && !load_find_user("nobody", &uid, &gid))
            _exit(1);
        if (setgroups(0, NULL) == -1 || setresgid(gid, gid, gid) == -1 || setresuid(uid, uid, uid) == -1)
            _exit(1);
    }
    struct rlimit cpu = {.rlim_cur = LOAD_DEADLINE_MS / 1000, .rlim_max = LOAD_DEADLINE_MS / 1000};
    struct rlimit none = {0};
    if (setrlimit(RLIMIT_CPU, &cpu) == -1 || setrlimit(RLIMIT_CORE, &none) == -1)
        _exit(1);
    static const struct sandbox_profile profile = {.name = "config"};
    struct sandbox_report report = {0};
    if (sandbox_enter(&profile, &report) != ERR_OK)
        _exit(1);
}

static _Noreturn void child_main(int fd, struct str name, struct str lua, struct str home, bool is_root,
                                 uint64_t generation)
{
    fd = drop_descriptors(fd);
    struct child_env c = {.fd = fd};
    struct chunk_pool pool;
    struct arena arena;
    struct buf bytes;
    struct config_report report = {0};
    drop_rights();
    buf_init(&c.in, LOAD_FRAME_MAX);
    buf_init(&bytes, LOAD_FRAME_MAX);
    buf_init(&report.errors, 65536);
    buf_init(&report.warnings, 65536);
    chunk_pool_init(&pool, LOAD_CHUNK, LOAD_CHUNKS);
    arena_init(&arena, &pool, (size_t)LOAD_CHUNK * LOAD_CHUNKS);
    struct config_env env = {.arg = &c,
                             .read_file = ask_file,
                             .find_user = ask_user,
                             .find_secret = ask_secret,
                             .list_accounts = ask_accounts,
                             .is_root = is_root,
                             .home = home};
    const struct config *loaded = config_load(name, lua, &env, &arena, &report);
    bool ok = frame_write(fd, 'W', buf_str(&report.warnings), STR_NIL);
    if (loaded != NULL) {
        struct config copy = *loaded;
        copy.generation = generation;
        if (config_encode(&copy, &bytes))
            ok = ok && frame_write(fd, 'C', buf_str(&bytes), STR_NIL);
        else
            ok = ok && frame_write(fd, 'E', name, STR(": the configuration is too big\n"));
    } else {
        ok = ok && frame_write(fd, 'E', buf_str(&report.errors), STR_NIL);
    }
    _exit(ok ? 0 : 1);
}

/* ---- the parent ---------------- */

static bool serve_file(int fd, struct str path, struct buf *scratch)
{
    char cpath[4096];
    enum err e = str_to_c(path, cpath, sizeof cpath) ? ERR_OK : ERR_INVALID;
    buf_reset(scratch);
    if (e == ERR_OK)
        e = load_file(cpath, CONFIG_FILE_MAX, scratch);
    char code = (char)e;
    bool ok = frame_write(fd, 'f', str_of(&code, 1), e == ERR_OK ? buf_str(scratch) : STR_NIL);
    secret_wipe_buf(scratch); /* a passwd-like file, perhaps */
    return ok;
}

static bool serve_secret(int fd, struct str path)
{
    char cpath[4096], answer[2] = {0};
    struct stat st;
    enum err e = str_to_c(path, cpath, sizeof cpath) ? ERR_OK : ERR_INVALID;
    if (e == ERR_OK && stat(cpath, &st) == -1)
        e = err_from_errno(errno);
    else if (e == ERR_OK && !S_ISREG(st.st_mode))
        e = ERR_INVALID;
    else if (e == ERR_OK && (st.st_size == 0 || st.st_size > SECRET_FILE_MAX))
        e = ERR_TOO_BIG;
    answer[0] = (char)e;
    answer[1] = e == ERR_OK && (st.st_mode & (S_IROTH | S_IWOTH)) != 0;
    return frame_write(fd, 's', str_of(answer, sizeof answer), STR_NIL);
}

static bool serve_user(int fd, struct str name)
{
    char cname[256], answer[9] = {0};
    uint32_t uid = 0, gid = 0;
    if (str_to_c(name, cname, sizeof cname) && load_find_user(cname, &uid, &gid))
        answer[0] = 1;
    put_u32_at(answer + 1, uid);
    put_u32_at(answer + 5, gid);
    return frame_write(fd, 'u', str_of(answer, sizeof answer), STR_NIL);
}

static bool serve_accounts(int fd, struct buf *scratch)
{
    const struct passwd *pw;
    buf_reset(scratch);
    setpwent();
    /* An end and a failure look alike but for errno, and half of the accounts would refuse the mail of the
     * rest */
    while (errno = 0, (pw = getpwent()) != NULL && !scratch->failed) {
        const char *const texts[] = {pw->pw_name, pw->pw_dir, pw->pw_shell};
        for (size_t i = 0; i < 3; i++)
            buf_put_lstr(scratch, str_from_c(texts[i]));
        buf_put_u32(scratch, pw->pw_uid);
        buf_put_u32(scratch, pw->pw_gid);
    }
    bool is_whole = pw == NULL && (errno == 0 || errno == ENOENT);
    endpwent();
    if (!is_whole)
        return frame_write(fd, 'x', STR_NIL, STR_NIL); /* none to be had */
    return !scratch->failed && frame_write(fd, 'l', buf_str(scratch), STR_NIL);
}

/* false: the child ended or misbehaved before its last word. */
static bool serve_child(int fd, struct loaded *out)
{
    struct buf in, scratch;
    int64_t deadline = prog_clock_ms() + LOAD_DEADLINE_MS;
    bool ended = false, ok = true;
    char kind;
    buf_init(&in, LOAD_FRAME_MAX);
    buf_init(&scratch, (size_t)CONFIG_FILE_MAX + 65536 * 2);
    while (ok && !ended) {
        ok = frame_read(fd, &kind, &in, deadline);
        if (!ok)
            break;
        struct str s = buf_str(&in);
        ended = kind == 'C' || kind == 'E';
        if (kind == 'F')
            ok = serve_file(fd, s, &scratch);
        else if (kind == 'S')
            ok = serve_secret(fd, s);
        else if (kind == 'U')
            ok = serve_user(fd, s);
        else if (kind == 'L')
            ok = serve_accounts(fd, &scratch);
        else if (kind == 'W')
            ok = buf_put(&out->warnings, s);
        else if (kind == 'C')
            ok = buf_put(&out->bytes, s);
        else if (kind == 'E')
            ok = buf_put(&out->errors, s);
        else
            ok = false;
    }
    buf_fini(&in);
    buf_fini(&scratch);
    return ok && ended;
}

static bool run_child(struct str name, struct str lua, struct str home, uint64_t generation,
                      struct loaded *out)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pair[0]);
        child_main(pair[1], name, lua, home, geteuid() == 0, generation);
    }
    (void)close(pair[1]);
    bool ok = pid != -1 && serve_child(pair[0], out);
    (void)close(pair[0]);
    if (pid != -1) {
        (void)kill(pid, SIGKILL);
        int status;
        while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
        }
    }
    return ok;
}

/* Mailboxes whose folder can't be used are no reason not to start: their mail waits in the queue. */
static void look_at_mailboxes(const char *name, const struct config *c, struct buf *out)
{
    unsigned n = 0;
    for (size_t i = 0; i < c->policy.n_domains && n < MAILBOX_WARNINGS_MAX; i++) {
        const struct local_domain *d = &c->policy.domains[i];
        char mem[1024];
        struct buf why;
        buf_init_fixed(&why, mem, sizeof mem);
        bool is_other = d->deliver.uid != UINT32_MAX;
        if (d->deliver.kind != DELIVER_MAILDIR || d->n_system_users > 0 || (is_other && geteuid() != 0))
            continue; /* who is not root can't look everywhere */
        if (folder_is_open_to(maildir_root(d->deliver.maildir), is_other ? d->deliver.uid : geteuid(),
                              is_other ? d->deliver.gid : getegid(), false, &why))
            continue;
        buf_printf(out, "%s: the mail of domain \"%.*s\" would wait: %.*s\n", name, STR_FMT(d->name),
                   STR_FMT(buf_str(&why)));
        n++;
    }
}

bool load_config(const char *path, struct str text, const char *name, uint64_t generation, struct loaded *out)
{
    *out = (struct loaded){0};
    buf_init(&out->bytes, LOAD_FRAME_MAX);
    buf_init(&out->errors, 65536 * 2);
    buf_init(&out->warnings, 65536 * 2);
    chunk_pool_init(&out->pool, LOAD_CHUNK, LOAD_CHUNKS);
    arena_init(&out->arena, &out->pool, (size_t)LOAD_CHUNK * LOAD_CHUNKS);
    struct buf file;
    buf_init(&file, (size_t)CONFIG_FILE_MAX + 65536 * 2);
    struct str home = STR("."), lua = text;
    if (path != NULL) {
        enum err e = load_file(path, CONFIG_FILE_MAX, &file);
        if (e != ERR_OK) {
            buf_printf(&out->errors, "%s: can't read it: %s\n", path, config_file_problem(e));
            out->is_unreadable = true;
            buf_fini(&file);
            return false;
        }
        lua = buf_str(&file);
        size_t slash = str_rchr(str_from_c(path), '/');
        home = slash == STR_NPOS ? STR(".") : slash == 0 ? STR("/") : str_slice(str_from_c(path), 0, slash);
    }
    if (!run_child(str_from_c(name), lua, home, generation, out) && out->errors.n == 0)
        buf_printf(&out->errors, "%s: the process that reads the configuration ended without an answer\n",
                   name);
    buf_fini(&file);
    if (out->errors.n == 0 && out->bytes.n > 0) {
        out->config = config_decode(buf_str(&out->bytes), &out->arena);
        if (out->config == NULL)
            buf_printf(&out->errors, "%s: the configuration did not survive encoding; this is a bug\n", name);
        else
            look_at_mailboxes(name, out->config, &out->warnings);
    }
    return out->config != NULL;
}

void loaded_fini(struct loaded *l)
{
    buf_fini(&l->bytes);
    buf_fini(&l->errors);
    buf_fini(&l->warnings);
    arena_reset(&l->arena);
    chunk_pool_fini(&l->pool);
    l->config = NULL;
}
