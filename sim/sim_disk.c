/* sim/sim_disk.h
 *
 * A file (inode) has two states of its content, both of shared blocks: `now` and `durable`. Between them
 * stands the list of writes since the last sync, in order, from which power loss composes what is left. A
 * folder likewise has its entries now, its durable entries and the list of changes in between.
 */
#include "sim/sim_disk.h"

#include "base/buf.h"
#include "base/mem.h"
#include "sim/sim_disk_content.h"

#include <string.h>

enum {
    SECTOR = 512,
    PATH_CAP = 256,
    N_FAULTS = 8,
    N_LANES = 3,
    READERS = 2,
};

/* ---- files and folders ---- */

struct dirty { /* one write since the last sync */
    struct dirty *next;
    uint64_t offset;
    struct content piece; /* its octets, at offset % BLOCK, so that whole blocks are shared */
    uint64_t len;
};

struct inode {
    struct list link; /* medium.inodes */
    unsigned n_refs;  /* entries (now, durable, pending) and open files */
    uint64_t number;
    struct content now, durable;
    struct dirty *first, *last;
    struct inode *twin; /* during a clone */
};

struct entry {
    struct list link;
    char path[PATH_CAP];
    bool is_folder;
    struct inode *inode; /* files */
};

struct change { /* of one folder, since its last sync; all of its parts or none */
    struct list link;
    char folder[PATH_CAP];
    char gone[PATH_CAP];  /* path that is gone, or empty */
    char there[PATH_CAP]; /* path that is there, or empty */
    bool is_folder;
    struct inode *inode;
};

struct fault {
    struct sim_disk_fault plan;
    uint64_t n_seen;
};

struct sim_disk {
    struct rng rng;
    struct list inodes, now, durable, changes, mounts;
    uint64_t number_next;
    struct fault faults[N_FAULTS];
    size_t n_faults;
    uint64_t capacity;
    bool lies;
    struct sim_disk_timing timing;
    struct sim_disk_counts counts;
    void (*watch)(void *arg, enum sim_disk_moment m, const struct disk_op *op);
    void *watch_arg;
};

struct disk {
    const struct world_ops *ops;
    struct list link; /* medium.mounts; alone when dead */
    struct sim_disk *medium;
    struct sim_disk_host host;
    char root[PATH_CAP];
    char lock[PATH_CAP];
    bool is_dead, is_closed;
    unsigned n_events; /* given to the host and not yet back */
    struct list waiting[N_LANES];
    unsigned n_running[N_LANES];
    struct list files;
};

struct disk_file {
    struct list link;
    struct inode *inode;
};

struct event {
    struct disk *mount;
    struct disk_op *op;
};

static void dirty_clear(struct inode *n)
{
    while (n->first != NULL) {
        struct dirty *d = n->first;
        n->first = d->next;
        content_fini(&d->piece);
        mem_free(d);
    }
    n->last = NULL;
}

static void inode_drop(struct inode *n)
{
    if (n == NULL || --n->n_refs > 0)
        return;
    list_remove(&n->link);
    dirty_clear(n);
    content_fini(&n->now);
    content_fini(&n->durable);
    mem_free(n);
}

static struct inode *inode_keep(struct inode *n)
{
    if (n != NULL)
        n->n_refs++;
    return n;
}

static struct inode *inode_new(struct sim_disk *d)
{
    struct inode *n = mem_must_new(struct inode);
    n->number = d->number_next++;
    list_push_back(&d->inodes, &n->link);
    return n;
}

static void copy_path(char out[PATH_CAP], const char *path)
{
    bool fits = str_to_c(str_from_c(path), out, PATH_CAP);
    must(fits);
}

static struct entry *entry_find(const struct list *tree, const char *path)
{
    list_each (l, tree) {
        struct entry *e = list_entry(l, struct entry, link);
        int order = strcmp(e->path, path);
        if (order == 0)
            return e;
        if (order > 0)
            break;
    }
    return NULL;
}

static void entry_remove(struct list *tree, const char *path)
{
    struct entry *e = entry_find(tree, path);
    if (e == NULL)
        return;
    list_remove(&e->link);
    inode_drop(e->inode);
    mem_free(e);
}

static void entry_insert(struct list *before, const char *path, bool is_folder, struct inode *inode)
{
    struct entry *e = mem_must_new(struct entry);
    copy_path(e->path, path);
    e->is_folder = is_folder;
    e->inode = inode_keep(inode);
    list_insert_before(before, &e->link);
}

/* In bytewise order of path; replaces. */
static void entry_set(struct list *tree, const char *path, bool is_folder, struct inode *inode)
{
    struct list *at = tree->next;
    int order = 1;
    while (at != tree && (order = strcmp(list_entry(at, struct entry, link)->path, path)) < 0)
        at = at->next;
    entry_insert(at, path, is_folder, inode);
    if (at == tree || order != 0)
        return;
    struct entry *old = list_entry(at, struct entry, link);
    list_remove(at);
    inode_drop(old->inode);
    mem_free(old);
}

static void parent_of(const char *path, char out[PATH_CAP])
{
    copy_path(out, path);
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        copy_path(out, ".");
    else
        *slash = '\0';
}

static void change_drop(struct change *c)
{
    list_remove(&c->link);
    inode_drop(c->inode);
    mem_free(c);
}

static void change_apply(struct list *tree, const struct change *c)
{
    if (c->gone[0] != '\0')
        entry_remove(tree, c->gone);
    if (c->there[0] != '\0')
        entry_set(tree, c->there, c->is_folder, c->inode);
}

/* Changes the present tree and notes what is not durable yet. */
static void change_add(struct sim_disk *d, const char *folder_of, const char *gone, const char *there,
                       bool is_folder, struct inode *inode)
{
    struct change *c = mem_must_new(struct change);
    parent_of(folder_of, c->folder);
    if (gone != NULL)
        copy_path(c->gone, gone);
    if (there != NULL)
        copy_path(c->there, there);
    c->is_folder = is_folder;
    c->inode = inode_keep(inode);
    list_push_back(&d->changes, &c->link);
    change_apply(&d->now, c);
}

/* ---- the medium ---- */

struct sim_disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *d = mem_must_new(struct sim_disk);
    rng_seed(&d->rng, seed);
    list_init(&d->inodes);
    list_init(&d->now);
    list_init(&d->durable);
    list_init(&d->changes);
    list_init(&d->mounts);
    d->capacity = UINT64_MAX;
    d->timing = (struct sim_disk_timing){.op_us = 20, .sync_us = 200, .per_mib_us = 1000};
    return d;
}

static void tree_clear(struct list *tree)
{
    struct list *l;
    while ((l = list_pop_front(tree)) != NULL) {
        struct entry *e = list_entry(l, struct entry, link);
        inode_drop(e->inode);
        mem_free(e);
    }
}

static void changes_clear(struct sim_disk *d)
{
    list_each (l, &d->changes)
        change_drop(list_entry(l, struct change, link));
}

void sim_disk_del(struct sim_disk **pd)
{
    struct sim_disk *d = *pd;
    must(list_is_empty(&d->mounts));
    tree_clear(&d->now);
    tree_clear(&d->durable);
    changes_clear(d);
    must(list_is_empty(&d->inodes));
    mem_free(d);
    *pd = NULL;
}

static void clone_tree(struct list *to, const struct list *from)
{
    list_each (l, from) {
        const struct entry *e = list_entry(l, struct entry, link);
        struct entry *n = mem_must_new(struct entry);
        copy_path(n->path, e->path);
        n->is_folder = e->is_folder;
        n->inode = inode_keep(e->inode == NULL ? NULL : e->inode->twin);
        list_push_back(to, &n->link);
    }
}

struct sim_disk *sim_disk_clone(const struct sim_disk *d, uint64_t seed)
{
    struct sim_disk *c = sim_disk_new(seed);
    c->number_next = d->number_next;
    c->capacity = d->capacity;
    c->lies = d->lies;
    c->timing = d->timing;
    list_each (l, &d->inodes) {
        struct inode *from = list_entry(l, struct inode, link);
        struct inode *to = inode_new(c);
        to->n_refs = 1; /* ours, during the clone */
        to->number = from->number;
        to->now = content_copy(&from->now);
        to->durable = content_copy(&from->durable);
        for (const struct dirty *w = from->first; w != NULL; w = w->next) {
            struct dirty *n = mem_must_new(struct dirty);
            n->offset = w->offset;
            n->len = w->len;
            n->piece = content_copy(&w->piece);
            if (to->last == NULL)
                to->first = n;
            else
                to->last->next = n;
            to->last = n;
        }
        from->twin = to;
    }
    clone_tree(&c->now, &d->now);
    clone_tree(&c->durable, &d->durable);
    list_each (l, &d->changes) {
        const struct change *from = list_entry(l, struct change, link);
        struct change *to = mem_must_new(struct change);
        *to = *from;
        to->inode = inode_keep(from->inode == NULL ? NULL : from->inode->twin);
        list_push_back(&c->changes, &to->link);
    }
    list_each (l, &d->inodes)
        inode_drop(list_entry(l, struct inode, link)->twin);
    return c;
}

void sim_disk_add_fault(struct sim_disk *d, const struct sim_disk_fault *f)
{
    must(d->n_faults < N_FAULTS && f->at > 0);
    d->faults[d->n_faults++] = (struct fault){.plan = *f};
}

void sim_disk_clear_faults(struct sim_disk *d)
{
    d->n_faults = 0;
}

void sim_disk_set_capacity(struct sim_disk *d, uint64_t octets)
{
    d->capacity = octets;
}

void sim_disk_set_lying(struct sim_disk *d, bool lies)
{
    d->lies = lies;
}

void sim_disk_set_timing(struct sim_disk *d, const struct sim_disk_timing *t)
{
    d->timing = *t;
}

void sim_disk_watch(struct sim_disk *d,
                    void (*fn)(void *arg, enum sim_disk_moment m, const struct disk_op *op), void *arg)
{
    d->watch = fn;
    d->watch_arg = arg;
}

void sim_disk_get_counts(const struct sim_disk *d, struct sim_disk_counts *out)
{
    *out = d->counts;
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strcmp(folder, ".") == 0 || (strncmp(path, folder, n) == 0 && path[n] == '/');
}

uint64_t sim_disk_octets(const struct sim_disk *d, const char *folder)
{
    uint64_t n = 0;
    list_each (l, &d->now) {
        const struct entry *e = list_entry(l, struct entry, link);
        if (!e->is_folder && is_below(e->path, folder))
            n += e->inode->now.size;
    }
    return n;
}

void sim_disk_each_file(const struct sim_disk *d, const char *folder,
                        void (*fn)(void *arg, const char *path, uint64_t size), void *arg)
{
    list_each (l, &d->now) {
        const struct entry *e = list_entry(l, struct entry, link);
        if (!e->is_folder && is_below(e->path, folder))
            fn(arg, e->path, e->inode->now.size);
    }
}

void sim_disk_mkdir(struct sim_disk *d, const char *path)
{
    if (entry_find(&d->now, path) == NULL)
        entry_set(&d->now, path, true, NULL);
    if (entry_find(&d->durable, path) == NULL)
        entry_set(&d->durable, path, true, NULL);
}

bool sim_disk_peek(const struct sim_disk *d, const char *path, uint64_t offset, void *out, size_t size)
{
    const struct entry *e = entry_find(&d->now, path);
    return e != NULL && !e->is_folder && content_read(&e->inode->now, offset, out, size) == size;
}

bool sim_disk_rot(struct sim_disk *d, const char *path, uint64_t offset, unsigned char mask)
{
    const struct entry *e = entry_find(&d->now, path);
    if (e == NULL || e->is_folder || offset >= e->inode->now.size)
        return false;
    unsigned char c = 0;
    (void)content_read(&e->inode->now, offset, &c, 1);
    c ^= mask;
    content_write(&e->inode->now, offset, &c, 1);
    if (offset < e->inode->durable.size) {
        (void)content_read(&e->inode->durable, offset, &c, 1);
        c ^= mask;
        content_write(&e->inode->durable, offset, &c, 1);
    }
    return true;
}

/* ---- what power loss leaves ---- */

/* The octets [from, from + n) of a write. */
static void dirty_apply(struct content *to, const struct dirty *w, uint64_t from, uint64_t n)
{
    content_write_from(to, w->offset + from, &w->piece, w->offset % BLOCK + from, n);
}

enum { LOSE_ALL = 0, LOSE_NONE, LOSE_TAIL, LOSE_ANY, LOSE_KINDS };

static void compose(struct sim_disk *d, struct inode *n, unsigned how)
{
    uint64_t n_dirty = 0, i = 0;
    for (const struct dirty *w = n->first; w != NULL; w = w->next)
        n_dirty++;
    uint64_t cut = how == LOSE_TAIL && n_dirty > 0 ? rng_below(&d->rng, n_dirty) : 0;
    for (const struct dirty *w = n->first; w != NULL; w = w->next, i++) {
        if (how == LOSE_ALL || (how == LOSE_TAIL && i > cut))
            continue;
        if (how == LOSE_NONE || (how == LOSE_TAIL && i < cut)) {
            dirty_apply(&n->durable, w, 0, w->len);
            continue;
        }
        uint64_t torn = how == LOSE_TAIL ? rng_below(&d->rng, w->len / SECTOR + 2) * SECTOR : 0;
        uint64_t odds =
            how == LOSE_ANY ? rng_below(&d->rng, 5) : 0; /* some writes nearly whole, some nearly lost */
        for (uint64_t at = 0; at < w->len;) {
            uint64_t step = SECTOR - (w->offset + at) % SECTOR;
            step = step < w->len - at ? step : w->len - at;
            if (how == LOSE_TAIL ? at + step <= torn : rng_below(&d->rng, 4) < odds)
                dirty_apply(&n->durable, w, at, step);
            at += step;
        }
    }
    dirty_clear(n);
}

static void kill_mount(struct disk *m)
{
    m->is_dead = true;
    list_remove(&m->link);
    for (unsigned i = 0; i < N_LANES; i++) {
        while (list_pop_front(&m->waiting[i]) != NULL) {
        }
    }
    struct list *l;
    while ((l = list_pop_front(&m->files)) != NULL) {
        struct disk_file *f = list_entry(l, struct disk_file, link);
        inode_drop(f->inode);
        mem_free(f);
    }
    m->lock[0] = '\0';
}

void sim_disk_power_cut(struct sim_disk *d)
{
    list_each (l, &d->mounts)
        kill_mount(list_entry(l, struct disk, link));
    unsigned how = (unsigned)rng_below(&d->rng, LOSE_KINDS);
    list_each (l, &d->inodes) {
        struct inode *n = list_entry(l, struct inode, link);
        compose(d, n, how == LOSE_ANY ? (unsigned)rng_below(&d->rng, LOSE_KINDS) : how);
        content_fini(&n->now);
        n->now = content_copy(&n->durable);
    }
    list_each (l, &d->changes) {
        struct change *c = list_entry(l, struct change, link);
        if (how == LOSE_NONE || (how != LOSE_ALL && rng_below(&d->rng, 2) == 0))
            change_apply(&d->durable, c);
        change_drop(c);
    }
    tree_clear(&d->now);
    list_each (l, &d->durable) {
        const struct entry *e = list_entry(l, struct entry, link);
        entry_insert(&d->now, e->path, e->is_folder, e->inode); /* in order, at the end */
    }
}

/* ---- acting ---- */

static void path_of(const struct disk *m, const char *name, char out[PATH_CAP])
{
    struct buf b;
    buf_init_fixed(&b, out, PATH_CAP);
    if (strcmp(m->root, ".") != 0) {
        buf_puts(&b, m->root);
        if (strcmp(name, ".") != 0)
            buf_putc(&b, '/');
    }
    if (strcmp(m->root, ".") == 0 || strcmp(name, ".") != 0)
        buf_puts(&b, name);
    buf_putc(&b, '\0');
    must(!b.failed);
}

static bool folder_exists(const struct sim_disk *d, const char *folder)
{
    if (strcmp(folder, ".") == 0)
        return true;
    const struct entry *e = entry_find(&d->now, folder);
    return e != NULL && e->is_folder;
}

static uint64_t used(const struct sim_disk *d)
{
    uint64_t n = 0;
    list_each (l, &d->inodes)
        n += list_entry(l, struct inode, link)->now.size;
    return n;
}

/* Notes a write of up to len octets; the content shares whole blocks with it. */
static void dirty_add(struct inode *n, uint64_t offset, const struct str *pieces, uint64_t len)
{
    if (len == 0)
        return;
    struct dirty *w = mem_must_new(struct dirty);
    w->offset = offset;
    for (; w->len < len; pieces++) {
        uint64_t left = len - w->len;
        size_t step = pieces->n < left ? pieces->n : (size_t)left;
        content_write(&w->piece, offset % BLOCK + w->len, (const unsigned char *)pieces->p, step);
        w->len += step;
    }
    if (n->last == NULL)
        n->first = w;
    else
        n->last->next = w;
    n->last = w;
    dirty_apply(&n->now, w, 0, len);
}

static enum err do_write(struct sim_disk *d, struct disk_op *op, uint64_t limit)
{
    struct inode *n = op->file->inode;
    uint64_t len = 0;
    for (size_t i = 0; i < op->n_pieces; i++)
        len += op->pieces[i].n;
    uint64_t end = op->offset + len;
    if (end > n->now.size && d->capacity != UINT64_MAX && used(d) - n->now.size + end > d->capacity)
        return ERR_NOSPACE;
    len = len < limit ? len : limit;
    dirty_add(n, op->offset, op->pieces, len);
    op->n_done = (size_t)len;
    d->counts.octets_written += len;
    return ERR_OK;
}

static enum err do_zero(struct sim_disk *d, struct disk_op *op, uint64_t limit)
{
    struct inode *n = op->file->inode;
    uint64_t size = op->size < limit ? op->size : limit;
    if (size > n->now.size && d->capacity != UINT64_MAX && used(d) - n->now.size + size > d->capacity)
        return ERR_NOSPACE;
    static const char zeros[BLOCK];
    const struct str piece = str_of(zeros, sizeof zeros);
    for (uint64_t at = 0; at < size; at += BLOCK)
        dirty_add(n, at, &piece, size - at < BLOCK ? size - at : BLOCK);
    return ERR_OK;
}

static enum err do_open(struct disk *m, struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    char path[PATH_CAP], folder[PATH_CAP];
    path_of(m, op->name, path);
    parent_of(path, folder);
    const struct entry *e = entry_find(&d->now, path);
    if (e != NULL && (e->is_folder || op->create == DISK_CREATE_NEW))
        return e->is_folder ? ERR_DENIED : ERR_EXISTS;
    if (e == NULL && (op->create == DISK_MUST_EXIST || !folder_exists(d, folder)))
        return ERR_NOTFOUND;
    struct inode *n = e != NULL ? e->inode : inode_new(d);
    must(n != NULL);
    if (e == NULL)
        change_add(d, path, NULL, path, false, n);
    struct disk_file *f = mem_must_new(struct disk_file);
    f->inode = inode_keep(n);
    list_push_back(&m->files, &f->link);
    op->file = f;
    op->size = n->now.size;
    return ERR_OK;
}

/* Who owns a file is not simulated: all are root's. */
static enum err do_read_small(struct disk *m, struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    char path[PATH_CAP];
    path_of(m, op->name, path);
    const struct entry *e = entry_find(&d->now, path);
    if (e == NULL)
        return ERR_NOTFOUND;
    op->about = (struct disk_about){.uid = 0, .mode = 0600, .is_regular = !e->is_folder};
    if (e->is_folder)
        return ERR_OK;
    if (e->inode->now.size > op->size)
        return ERR_TOO_BIG;
    op->n_done = content_read(&e->inode->now, 0, (unsigned char *)op->mem, (size_t)op->size);
    d->counts.n_reads++;
    d->counts.octets_read += op->n_done;
    return ERR_OK;
}

static enum err do_move(struct disk *m, const struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    char from[PATH_CAP], to[PATH_CAP], folder[PATH_CAP];
    path_of(m, op->name, from);
    path_of(m, op->name2, to);
    parent_of(to, folder);
    const struct entry *e = entry_find(&d->now, from);
    if (e == NULL || e->is_folder || e->inode == NULL || !folder_exists(d, folder))
        return ERR_NOTFOUND;
    const struct entry *there = entry_find(&d->now, to);
    if (there != NULL && (op->kind == DISK_LINK || there->is_folder))
        return ERR_EXISTS;
    change_add(d, to, op->kind == DISK_RENAME ? from : NULL, to, false, e->inode);
    return ERR_OK;
}

static enum err do_name(struct disk *m, struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    char path[PATH_CAP], folder[PATH_CAP];
    path_of(m, op->name, path);
    parent_of(path, folder);
    const struct entry *e = entry_find(&d->now, path);
    if (op->kind == DISK_UNLINK) {
        if (e == NULL || e->is_folder)
            return e == NULL ? ERR_NOTFOUND : ERR_DENIED;
        change_add(d, path, path, NULL, false, NULL);
        return ERR_OK;
    }
    must(op->kind == DISK_MKDIR);
    if (e != NULL)
        return e->is_folder ? ERR_OK : ERR_EXISTS;
    if (!folder_exists(d, folder))
        return ERR_NOTFOUND;
    change_add(d, path, NULL, path, true, NULL);
    return ERR_OK;
}

static enum err do_list(struct disk *m, struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    char path[PATH_CAP], folder[PATH_CAP];
    path_of(m, op->name, path);
    if (!folder_exists(d, path))
        return ERR_NOTFOUND;
    list_each (l, &d->now) {
        const struct entry *e = list_entry(l, struct entry, link);
        parent_of(e->path, folder);
        if (strcmp(folder, path) != 0)
            continue;
        const char *slash = strrchr(e->path, '/');
        buf_puts(op->names, slash == NULL ? e->path : slash + 1);
        buf_putc(op->names, '\0');
    }
    return op->names->failed ? ERR_NOMEM : ERR_OK;
}

static enum err do_lock(struct disk *m, struct disk_op *op)
{
    char path[PATH_CAP];
    path_of(m, op->name, path);
    list_each (l, &m->medium->mounts) {
        const struct disk *other = list_entry(l, struct disk, link);
        if (other != m && strcmp(other->lock, path) == 0)
            return ERR_EXISTS;
    }
    copy_path(m->lock, path);
    if (entry_find(&m->medium->now, path) == NULL)
        change_add(m->medium, path, NULL, path, false, inode_new(m->medium));
    return ERR_OK;
}

static void sync_file(struct sim_disk *d, struct inode *n)
{
    if (d->lies)
        return;
    if (n->first != NULL)
        compose(d, n, LOSE_NONE);
}

static void sync_folder(struct disk *m, const struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    char path[PATH_CAP];
    path_of(m, op->name, path);
    if (d->lies)
        return;
    list_each (l, &d->changes) {
        struct change *c = list_entry(l, struct change, link);
        if (strcmp(c->folder, path) != 0)
            continue;
        change_apply(&d->durable, c);
        change_drop(c);
    }
}

static bool is_syncing(const struct disk_op *op)
{
    return op->kind == DISK_SYNC || op->kind == DISK_ZERO || op->kind == DISK_SYNC_DIR ||
           (op->kind == DISK_WRITE && op->sync);
}

static enum err find_fault(struct sim_disk *d, const struct disk_op *op)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < d->n_faults; i++) {
        struct fault *f = &d->faults[i];
        bool matches = f->plan.kinds == 0 ? op->kind != DISK_CLOSE : (f->plan.kinds & (1u << op->kind)) != 0;
        if (!matches)
            continue;
        f->n_seen++;
        if (f->n_seen >= f->plan.at && f->n_seen - f->plan.at < f->plan.count)
            err = f->plan.err;
    }
    return err;
}

/* The change of the volatile state. limit: octets of a write that are taken. */
static enum err change_now(struct disk *m, struct disk_op *op, uint64_t limit)
{
    struct sim_disk *d = m->medium;
    switch (op->kind) {
    case DISK_OPEN:
        return do_open(m, op);
    case DISK_CLOSE:
        list_remove(&op->file->link);
        inode_drop(op->file->inode);
        mem_free(op->file);
        op->file = NULL;
        return ERR_OK;
    case DISK_WRITE:
        return do_write(d, op, limit);
    case DISK_READ:
        op->n_done =
            content_read(&op->file->inode->now, op->offset, (unsigned char *)op->mem, (size_t)op->size);
        d->counts.n_reads++;
        d->counts.octets_read += op->n_done;
        return ERR_OK;
    case DISK_ZERO:
        return do_zero(d, op, limit);
    case DISK_SYNC:
    case DISK_SYNC_DIR:
        return ERR_OK;
    case DISK_UNLINK:
    case DISK_MKDIR:
        return do_name(m, op);
    case DISK_RENAME:
    case DISK_LINK:
        return do_move(m, op);
    case DISK_LIST:
        return do_list(m, op);
    case DISK_LOCK:
        return do_lock(m, op);
    case DISK_READ_SMALL:
        return do_read_small(m, op);
    }
    must_not_reach();
}

/* A sync that fails: what was not durable is so or lost for good; readers see it all the same. */
static void sync_failed(struct disk *m, const struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    if (op->kind != DISK_SYNC_DIR) {
        compose(d, op->file->inode, LOSE_ANY);
        return;
    }
    char path[PATH_CAP];
    path_of(m, op->name, path);
    list_each (l, &d->changes) {
        struct change *c = list_entry(l, struct change, link);
        if (strcmp(c->folder, path) == 0 && rng_below(&d->rng, 2) == 0) {
            change_apply(&d->durable, c);
            change_drop(c);
        }
    }
}

static void tell_watcher(struct sim_disk *d, enum sim_disk_moment m, const struct disk_op *op)
{
    if (d->watch != NULL && op->kind != DISK_READ && op->kind != DISK_READ_SMALL && op->kind != DISK_LIST)
        d->watch(d->watch_arg, m, op);
}

static enum err act(struct disk *m, struct disk_op *op)
{
    struct sim_disk *d = m->medium;
    enum err fault = find_fault(d, op);
    d->counts.n_ops++;
    if (fault != ERR_OK) {
        d->counts.n_faults++;
        if (op->kind == DISK_WRITE || op->kind == DISK_ZERO) {
            /* either the write failed in the middle, or it went well and its sync failed */
            bool is_sync = is_syncing(op) && fault == ERR_IO && rng_below(&d->rng, 2) == 0;
            (void)change_now(m, op, is_sync ? UINT64_MAX : rng_below(&d->rng, 8) * SECTOR);
        }
        tell_watcher(d, SIM_DISK_ACTING, op);
        if (is_syncing(op))
            sync_failed(m, op);
        op->n_done = 0;
        tell_watcher(d, SIM_DISK_ACTED, op);
        return fault;
    }
    enum err err = change_now(m, op, UINT64_MAX);
    tell_watcher(d, SIM_DISK_ACTING, op);
    if (err == ERR_OK && is_syncing(op)) {
        d->counts.n_syncs++;
        if (op->kind == DISK_SYNC_DIR)
            sync_folder(m, op);
        else
            sync_file(d, op->file->inode);
    }
    tell_watcher(d, SIM_DISK_ACTED, op);
    return err;
}

/* ---- mounts ---- */

enum err sim_disk_mount(struct sim_disk *d, const char *root, const struct sim_disk_host *host,
                        struct disk **out)
{
    if (!folder_exists(d, root))
        return ERR_NOTFOUND;
    struct disk *m = mem_must_new(struct disk);
    m->ops = host->ops;
    m->medium = d;
    m->host = *host;
    copy_path(m->root, root);
    for (unsigned i = 0; i < N_LANES; i++)
        list_init(&m->waiting[i]);
    list_init(&m->files);
    list_push_back(&d->mounts, &m->link);
    *out = m;
    return ERR_OK;
}

static void free_if_unused(struct disk *m)
{
    if (m->is_closed && m->n_events == 0)
        mem_free(m);
}

static void start_waiting(struct disk *m, unsigned lane);

static void on_time(void *arg)
{
    struct event e = *(struct event *)arg;
    mem_free(arg);
    struct disk *m = e.mount;
    m->n_events--;
    if (m->is_dead) {
        free_if_unused(m);
        return;
    }
    unsigned lane = (unsigned)e.op->lane;
    e.op->err = act(m, e.op);
    m->n_running[lane]--;
    start_waiting(m, lane);
    if (!m->is_dead)
        e.op->done(e.op);
}

static uint64_t duration_us(struct sim_disk *d, const struct disk_op *op)
{
    bool is_sized = op->kind == DISK_READ || op->kind == DISK_READ_SMALL || op->kind == DISK_ZERO;
    uint64_t octets = is_sized ? op->size : 0;
    for (size_t i = 0; op->kind == DISK_WRITE && i < op->n_pieces; i++)
        octets += op->pieces[i].n;
    uint64_t us = d->timing.op_us + octets * d->timing.per_mib_us / (1024 * 1024);
    if (is_syncing(op))
        us += d->timing.sync_us;
    return us == 0 ? 0 : us / 2 + rng_below(&d->rng, us + 1);
}

static void start_waiting(struct disk *m, unsigned lane)
{
    unsigned max = lane == DISK_LANE_READ ? READERS : 1;
    while (m->n_running[lane] < max) {
        struct list *l = list_pop_front(&m->waiting[lane]);
        if (l == NULL)
            return;
        struct event *e = mem_must_new(struct event);
        e->mount = m;
        e->op = list_entry(l, struct disk_op, link);
        m->n_running[lane]++;
        m->n_events++;
        m->host.schedule(m->host.arg, duration_us(m->medium, e->op), on_time, e);
    }
}

void sim_disk_submit(struct disk *m, struct disk_op *op)
{
    must(!m->is_closed);
    op->disk = m;
    op->n_done = 0;
    op->err = ERR_OK;
    if (m->is_dead)
        return;
    list_push_back(&m->waiting[op->lane], &op->link);
    start_waiting(m, (unsigned)op->lane);
}

void sim_disk_kill(struct disk *m)
{
    if (m->is_dead)
        return;
    for (unsigned i = 0; i < N_LANES; i++) { /* the kernel may have taken part of a write that waits */
        struct list *l = m->waiting[i].next;
        if (l == &m->waiting[i])
            continue;
        struct disk_op *op = list_entry(l, struct disk_op, link);
        if (op->kind == DISK_WRITE && rng_below(&m->medium->rng, 2) == 0)
            (void)do_write(m->medium, op, rng_below(&m->medium->rng, 64) * SECTOR);
    }
    kill_mount(m);
}

void sim_disk_close(struct disk *m)
{
    if (!m->is_dead) {
        for (unsigned i = 0; i < N_LANES; i++)
            must(m->n_running[i] == 0 && list_is_empty(&m->waiting[i]));
        kill_mount(m);
    }
    m->is_closed = true;
    free_if_unused(m);
}
