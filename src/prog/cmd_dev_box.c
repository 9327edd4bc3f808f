#include "prog/cmd_dev_box.h"

#include "base/mem.h"
#include "base/queue_id.h"
#include "wire/header.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BOX_CHUNK = 64 * 1024, BOX_CHUNKS = 8192, BOX_PATH_MAX = 1024 };

/* ---- names and heads ---------------- */

bool box_name(struct str name, uint64_t *out_id)
{
    uint64_t seconds;
    struct str rest = name;
    struct str number = str_cut(&rest, '.');
    size_t q = str_chr(rest, 'Q');
    if (!str_to_u64(number, INT64_MAX, &seconds) || rest.n == 0 || rest.p[0] != 'R' || q == STR_NPOS)
        return false;
    struct str id = str_slice(rest, q + 1, q + 1 + QUEUE_ID_TEXT);
    struct str end = str_skip(rest, q + 1 + QUEUE_ID_TEXT);
    if (!str_eq(end, STR(".waxwing")) && !str_starts(end, STR(".waxwing:2,")))
        return false;
    return id.n == QUEUE_ID_TEXT && queue_id_parse(id, out_id);
}

bool box_head(struct str file, struct box_head *out)
{
    struct str rest = file;
    struct str from = str_cut(&rest, '\n'), to = str_cut(&rest, '\n');
    if (!str_starts(from, STR("Return-Path: <")) || !str_ends(from, STR(">")) ||
        !str_starts(to, STR("Delivered-To: ")))
        return false;
    out->from = str_slice(from, STR("Return-Path: <").n, from.n - 1);
    out->to = str_skip(to, STR("Delivered-To: ").n);
    struct header_walk w;
    struct header_field f;
    header_walk_init(&w, rest);
    if (header_walk_next(&w, &f) && str_ieq(f.name, STR("Received")))
        rest = str_skip(rest, f.raw.n);
    out->message = rest;
    return true;
}

/* ---- messages ---------------- */

void box_init(struct box *b)
{
    *b = (struct box){0};
    chunk_pool_init(&b->pool, BOX_CHUNK, BOX_CHUNKS);
    arena_init(&b->arena, &b->pool, (size_t)BOX_CHUNK * BOX_CHUNKS);
}

void box_fini(struct box *b)
{
    mem_free(b->copies);
    b->copies = NULL;
    b->messages = NULL;
    b->n_copies = b->n_messages = b->room = 0;
    arena_reset(&b->arena);
    chunk_pool_fini(&b->pool);
}

enum err box_add(struct box *b, struct str path, int64_t when_ns)
{
    struct box_copy c = {.when_ns = when_ns};
    size_t slash = str_rchr(path, '/');
    if (!box_name(slash == STR_NPOS ? path : str_skip(path, slash + 1), &c.id))
        return ERR_OK;
    if (b->n_copies == BOX_COPIES_MAX) {
        b->is_cut = true;
        return ERR_OK;
    }
    if (b->n_copies == b->room) {
        size_t room = b->room == 0 ? 64 : b->room * 2;
        struct box_copy *grown = mem_grow(b->copies, room * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        b->copies = grown;
        b->room = room;
    }
    if (!arena_str(&b->arena, path, &c.path))
        return ERR_NOMEM;
    b->copies[b->n_copies++] = c;
    return ERR_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct box_copy *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : str_cmp(x->path, y->path);
}

static int by_time(const void *a, const void *b)
{
    const struct box_message *x = a, *y = b;
    if (x->when_ns != y->when_ns)
        return x->when_ns < y->when_ns ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

enum err box_group(struct box *b)
{
    if (b->n_copies == 0)
        return ERR_OK;
    qsort(b->copies, b->n_copies, sizeof *b->copies, by_id);
    b->messages = arena_alloc_array(&b->arena, b->n_copies, sizeof *b->messages);
    if (b->messages == NULL)
        return ERR_NOMEM;
    b->n_messages = 0;
    for (size_t i = 0; i < b->n_copies; i++) {
        const struct box_copy *c = &b->copies[i];
        if (i == 0 || c->id != c[-1].id)
            b->messages[b->n_messages++] =
                (struct box_message){.id = c->id, .when_ns = c->when_ns, .copies = c};
        struct box_message *m = &b->messages[b->n_messages - 1];
        m->n_copies++;
        m->when_ns = c->when_ns < m->when_ns ? c->when_ns : m->when_ns;
    }
    qsort(b->messages, b->n_messages, sizeof *b->messages, by_time);
    return ERR_OK;
}

size_t box_find(const struct box *b, struct str which)
{
    uint64_t v;
    if (b->n_messages == 0)
        return STR_NPOS;
    if (str_eq(which, STR("latest")))
        return b->n_messages - 1;
    if (which.n == QUEUE_ID_TEXT) {
        for (size_t i = 0; queue_id_parse(which, &v) && i < b->n_messages; i++) {
            if (b->messages[i].id == v)
                return i;
        }
        return STR_NPOS;
    }
    return str_to_u64(which, b->n_messages, &v) && v > 0 ? (size_t)v - 1 : STR_NPOS;
}

/* ---- folders ---------------- */

struct scan {
    struct box *box;
    void (*folder)(void *arg, const char *path);
    void *arg;
    char path[BOX_PATH_MAX]; /* of the folder that is read */
    size_t n;
};

static enum err scan_folder(struct scan *s, int above, const char *name, unsigned depth);

static enum err take_file(struct scan *s, int dir, const char *name)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
        return errno == ENOENT ? ERR_OK : err_from_errno(errno); /* a mail reader has moved it */
    if (!S_ISREG(st.st_mode))
        return ERR_OK;
    /* the path begins with "./" */
    return box_add(s->box, str_of(s->path + 2, s->n - 2),
                   (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}

/* One entry of a folder: a folder within, or a file of new/ or cur/. */
static enum err take_entry(struct scan *s, int dir, const char *name, unsigned depth)
{
    enum { LEAF_DEPTH = 3 };
    size_t n = s->n, name_n = strlen(name);
    bool is_leaf = depth == LEAF_DEPTH;
    if (name[0] == '.' || n + 1 + name_n >= sizeof s->path)
        return ERR_OK; /* delivery makes none of these */
    if (depth == LEAF_DEPTH - 1 && strcmp(name, "new") != 0 && strcmp(name, "cur") != 0)
        return ERR_OK;
    s->path[n] = '/';
    memcpy(s->path + n + 1, name, name_n + 1);
    s->n = n + 1 + name_n;
    enum err e = is_leaf ? take_file(s, dir, name) : scan_folder(s, dir, name, depth + 1);
    s->n = n;
    s->path[n] = '\0';
    return e;
}

static enum err scan_folder(struct scan *s, int above, const char *name, unsigned depth)
{
    if (s->folder != NULL)
        s->folder(s->arg, s->path);
    int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd == -1 ? NULL : fdopendir(fd);
    if (d == NULL) {
        enum err e = err_from_errno(errno);
        bool is_gone = errno == ENOTDIR || errno == ELOOP || errno == ENOENT;
        if (fd != -1)
            (void)close(fd);
        return is_gone && depth > 0 ? ERR_OK : e;
    }
    enum err e = ERR_OK;
    const struct dirent *entry;
    while (e == ERR_OK && (errno = 0, (entry = readdir(d)) != NULL))
        e = take_entry(s, fd, entry->d_name, depth);
    if (e == ERR_OK && errno != 0)
        e = err_from_errno(errno);
    (void)closedir(d);
    return e;
}

enum err box_scan(struct box *b, int mail, void (*folder)(void *arg, const char *path), void *arg)
{
    struct scan s = {.box = b, .folder = folder, .arg = arg, .path = ".", .n = 1};
    box_init(b);
    enum err e = scan_folder(&s, mail, ".", 0);
    return e == ERR_OK ? box_group(b) : e;
}
