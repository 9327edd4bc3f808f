/* sim/sim_proc.c: what a process asks of the system beside talking: children, its disk, calls of itself
 * later. */
#include "sim/sim_impl.h"

#include "base/mem.h"

#include <string.h>

enum { ROOT_MAX = 512 };

/* ---- children ---- */

struct sim_program_args {
    struct sim_program program;
    char role[32];
    unsigned index;
    char root[ROOT_MAX];
    bool has_root;
    struct channel *super;
};

static void spawned_main(struct world *w, void *arg)
{
    struct sim_program_args *a = arg;
    a->program.main(a->program.arg, w, a->role, a->index, a->has_root ? a->root : NULL, a->super);
}

enum err sim_spawn(struct world *w, const struct spawn *s,
                   void (*on_exit)(void *arg, bool clean, struct str how), void *arg, struct channel **out,
                   struct child **out_child)
{
    struct sim_proc *parent = proc_of(w);
    struct channel *mine, *its;
    must(parent->host->program.main != NULL);
    struct sim_program_args *a = sim_make(struct sim_program_args);
    a->program = parent->host->program;
    a->index = s->index;
    a->has_root = s->root != NULL;
    must(str_to_c(str_from_c(s->role), a->role, sizeof a->role));
    must(str_to_c(str_from_c(s->root), a->root, sizeof a->root));
    must(sim_channel_pair(w, &mine, &its) == ERR_OK);
    struct sim_proc *p = sim_spawn_proc(parent->host, a->role);
    p->main = spawned_main;
    p->arg = a;
    p->spawned = a;
    source_move(&its->source, p);
    a->super = its;
    struct child *c = sim_make(struct child);
    source_init(&c->source, parent->sim, parent, SOURCE_CHILD);
    c->proc = p;
    c->on_exit = on_exit;
    c->arg = arg;
    p->child = c;
    *out = mine;
    *out_child = c;
    return ERR_OK;
}

static void on_told(struct sim_event *e)
{
    struct child *c = container_of(e, struct child, event);
    c->has_ended = true;
    source_wake(&c->source);
}

void child_told(struct child *c, bool clean, struct str how)
{
    c->proc = NULL;
    c->clean = clean;
    must(str_to_c(how, c->how, sizeof c->how));
    c->event.fire = on_told;
    sim_event_set(c->source.sim, &c->event, c->source.sim->now_us + 1 + sim_below(c->source.sim, 500));
}

void sim_child_kill(struct child *c, bool hard)
{
    if (c->proc == NULL)
        return;
    struct sim *s = c->source.sim;
    c->proc->kill_how = hard ? "signal 9" : "signal 15";
    sim_event_set(s, &c->proc->kill_event, s->now_us + 1 + sim_below(s, 200));
}

bool child_is_ready(const struct source *s)
{
    const struct child *c = (const struct child *)(const void *)s;
    return c->has_ended;
}

void child_dispatch(struct source *s)
{
    struct child *c = container_of(s, struct child, source);
    source_close(s);
    c->on_exit(c->arg, c->clean, str_from_c(c->how));
}

/* The parent died: its children get SIGKILL. */
void child_abandon(struct source *s)
{
    struct child *c = container_of(s, struct child, source);
    sim_event_cancel(s->sim, &c->event);
    if (c->proc != NULL) {
        sim_child_kill(c, true);
        c->proc->child = NULL;
    }
    source_close(s);
}

/* A simulated host has no programs but our own. */
enum err sim_program(struct world *w, const struct program_plan *plan,
                     void (*on_end)(void *arg, const struct program_end *end), void *arg,
                     struct conn **out_input, struct conn **out_output, struct program **out)
{
    UNUSED(w);
    UNUSED(plan);
    UNUSED(on_end);
    UNUSED(arg);
    UNUSED(out_input);
    UNUSED(out_output);
    UNUSED(out);
    return ERR_NOTFOUND;
}

void sim_program_kill(struct program *p, bool hard)
{
    UNUSED(p);
    UNUSED(hard);
    must_not_reach();
}

/* ---- later ---- */

static void on_post(struct sim_event *e)
{
    struct post *x = container_of(e, struct post, event);
    x->is_due = true;
    source_wake(&x->source);
}

void sim_proc_post(struct sim_proc *p, uint64_t delay_us, void (*fn)(void *arg), void *arg)
{
    struct post *x = sim_make(struct post);
    source_init(&x->source, p->sim, p, SOURCE_POST);
    x->event.fire = on_post;
    x->fn = fn;
    x->arg = arg;
    sim_event_set(p->sim, &x->event, p->sim->now_us + delay_us);
}

bool post_is_ready(const struct source *s)
{
    const struct post *x = (const struct post *)(const void *)s;
    return x->is_due;
}

void post_dispatch(struct source *s)
{
    struct post *x = container_of(s, struct post, source);
    source_close(s);
    x->fn(x->arg);
}

void post_abandon(struct source *s)
{
    struct post *x = container_of(s, struct post, source);
    sim_event_cancel(s->sim, &x->event);
    source_close(s);
}

/* ---- disk ----
 *
 * The medium works outside of all processes; what is done comes to the process in a turn of its own. LIST
 * grows a buffer of the process, so its names are carried over in that turn. */

struct sim_op {
    struct list link; /* disk->open or ->done */
    struct disk *disk;
    struct disk_op op; /* what the medium has */
    struct disk_op *user;
    struct buf names;
};

static struct disk *disk_source(struct source *s)
{
    return container_of(s, struct disk, source);
}

enum err sim_disk_of(struct world *w, const char *root, struct disk **out)
{
    struct sim_proc *p = proc_of(w);
    struct disk *mount;
    while (*root == '/') /* the medium's top is the root folder */
        root++;
    struct sim_heap *was = sim_heap_enter(NULL);
    enum err e = sim_disk_mount(p->host->disk, *root == '\0' ? "." : root, &p->sim->disk_host, &mount);
    (void)sim_heap_enter(was);
    if (e != ERR_OK)
        return e;
    struct disk *d = sim_make(struct disk);
    source_init(&d->source, p->sim, p, SOURCE_DISK);
    d->mount = mount;
    list_init(&d->open);
    list_init(&d->done);
    *out = d;
    return ERR_OK;
}

static void on_done(struct disk_op *op)
{
    struct sim_op *x = container_of(op, struct sim_op, op);
    struct disk *d = x->disk;
    sim_trace(d->source.sim, 'd', d->source.id, ((uint64_t)op->kind << 32) + (uint64_t)op->err);
    list_remove(&x->link);
    list_push_back(&d->done, &x->link);
    source_wake(&d->source);
}

void sim_submit(struct disk *d, struct disk_op *op)
{
    struct sim_op *x = sim_make(struct sim_op);
    x->disk = d;
    x->user = op;
    x->op = *op;
    x->op.done = on_done;
    list_push_back(&d->open, &x->link);
    buf_init(&x->names, (size_t)64 * 1024 * 1024);
    if (op->kind == DISK_LIST)
        x->op.names = &x->names;
    struct sim_heap *was = sim_heap_enter(NULL);
    sim_disk_submit(d->mount, &x->op);
    (void)sim_heap_enter(was);
}

bool disk_is_ready(const struct source *s)
{
    const struct disk *d = (const struct disk *)(const void *)s;
    return !list_is_empty(&d->done);
}

static void op_del(struct sim_op *x)
{
    list_remove(&x->link);
    buf_fini(&x->names);
    mem_free(x);
}

void disk_dispatch(struct source *s)
{
    struct disk *d = disk_source(s);
    while (!s->closed && !list_is_empty(&d->done)) {
        struct sim_op *x = list_entry(d->done.next, struct sim_op, link);
        struct disk_op *op = x->user;
        op->err = x->op.err;
        op->file = x->op.file;
        op->size = x->op.size;
        op->n_done = x->op.n_done;
        op->about = x->op.about;
        if (op->kind == DISK_LIST && op->err == ERR_OK && !buf_put(op->names, buf_str(&x->names)))
            op->err = ERR_NOMEM;
        op_del(x);
        op->done(op);
    }
}

void sim_close(struct disk *d)
{
    must(list_is_empty(&d->open) && list_is_empty(&d->done));
    source_close(&d->source);
}

void disk_abandon(struct source *s)
{
    struct disk *d = disk_source(s);
    struct sim_heap *was = sim_heap_enter(NULL);
    sim_disk_kill(d->mount);
    (void)sim_heap_enter(was);
    source_close(s);
}

void disk_free(struct source *s)
{
    struct disk *d = disk_source(s);
    struct sim_heap *was = sim_heap_enter(NULL);
    sim_disk_close(d->mount);
    (void)sim_heap_enter(was);
    while (!list_is_empty(&d->open))
        op_del(list_entry(d->open.next, struct sim_op, link));
    while (!list_is_empty(&d->done))
        op_del(list_entry(d->done.next, struct sim_op, link));
    mem_free(d);
}
