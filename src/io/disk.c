/* io/disk.c: the threads that wait for the medium, so that the loop never does: one that writes and flushes,
 * two that read, one that releases (unlinks, overwrites). Operations go over under a lane's lock; what is
 * done comes back in one list with one wake-up for as many as are there when the loop looks.
 *
 * Owns:   the threads, the folder's descriptor, open files and locks.
 * Errors: in each op. Threads are made in world_disk(), before a sandbox forbids it, and take no signals.
 */
#include "base/mem.h"
#include "io/disk_op.h"
#include "io/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { LANES = 3, THREADS = 4, STACK_SIZE = 256 * 1024 };

static const struct {
    enum disk_lane lane;
    const char *name; /* at most 15 bytes */
} workers[THREADS] = {
    {DISK_LANE_WRITE, "disk-write"},
    {DISK_LANE_READ, "disk-read"},
    {DISK_LANE_READ, "disk-read"},
    {DISK_LANE_RELEASE, "disk-release"},
};

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct list ops;
    bool stop;
};

struct worker {
    struct disk *disk;
    struct lane *lane;
    pthread_t thread;
};

struct disk {
    struct world_object object; /* first */
    struct io_world *w;
    struct io_wake *wake;
    int root_fd;
    struct lane lanes[LANES];
    struct worker workers[THREADS];
    size_t n_workers;
    pthread_mutex_t done_lock;
    struct list done;
    /* the loop's thread only */
    struct list files;
    size_t n_pending;
    bool in_callback;
    bool closed;
};

/* ---- the threads' side ---- */

static struct disk_op *take(struct lane *l)
{
    (void)pthread_mutex_lock(&l->lock);
    while (list_is_empty(&l->ops) && !l->stop)
        (void)pthread_cond_wait(&l->some, &l->lock);
    struct list *first = list_pop_front(&l->ops);
    (void)pthread_mutex_unlock(&l->lock);
    return first == NULL ? NULL : list_entry(first, struct disk_op, link);
}

static void *work(void *arg)
{
    const struct worker *me = arg;
    struct disk *d = me->disk;
    for (struct disk_op *op = take(me->lane); op != NULL; op = take(me->lane)) {
        disk_op_run(d->root_fd, op);
        (void)pthread_mutex_lock(&d->done_lock);
        list_push_back(&d->done, &op->link);
        (void)pthread_mutex_unlock(&d->done_lock);
        io_wake_post(d->wake);
    }
    return NULL;
}

/* ---- the loop's side ---- */

static void disk_free(struct disk *d)
{
    for (size_t i = 0; i < LANES; i++) {
        (void)pthread_mutex_destroy(&d->lanes[i].lock);
        (void)pthread_cond_destroy(&d->lanes[i].some);
    }
    (void)pthread_mutex_destroy(&d->done_lock);
    mem_free(d);
}

static void finish(struct disk *d, struct disk_op *op)
{
    must(d->n_pending > 0);
    d->n_pending--;
    if (op->err == ERR_OK && (op->kind == DISK_OPEN || op->kind == DISK_LOCK))
        list_push_back(&d->files, &op->file->link);
    if (op->kind == DISK_LOCK)
        op->file = NULL; /* the lock is the disk's */
    op->done(op);
}

static void on_done(void *arg)
{
    struct disk *d = arg;
    struct list now;
    list_init(&now);
    (void)pthread_mutex_lock(&d->done_lock);
    for (struct list *l = list_pop_front(&d->done); l != NULL; l = list_pop_front(&d->done))
        list_push_back(&now, l);
    (void)pthread_mutex_unlock(&d->done_lock);
    d->in_callback = true;
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now))
        finish(d, list_entry(l, struct disk_op, link));
    d->in_callback = false;
    if (d->closed)
        disk_free(d);
}

static void stop_workers(struct disk *d)
{
    for (size_t i = 0; i < LANES; i++) {
        (void)pthread_mutex_lock(&d->lanes[i].lock);
        d->lanes[i].stop = true;
        (void)pthread_cond_broadcast(&d->lanes[i].some);
        (void)pthread_mutex_unlock(&d->lanes[i].lock);
    }
    for (size_t i = 0; i < d->n_workers; i++)
        (void)pthread_join(d->workers[i].thread, NULL);
    d->n_workers = 0;
}

/* Signals are the loop's: a thread starts with all of them blocked. */
static enum err start_workers(struct disk *d)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int failed = 0;
    (void)sigfillset(&all);
    if (pthread_attr_init(&attr) != 0)
        return ERR_NOMEM;
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (d->n_workers < THREADS && failed == 0) {
        struct worker *me = &d->workers[d->n_workers];
        *me = (struct worker){.disk = d, .lane = &d->lanes[workers[d->n_workers].lane]};
        failed = pthread_create(&me->thread, &attr, work, me);
        if (failed == 0) {
            (void)pthread_setname_np(me->thread, workers[d->n_workers].name);
            d->n_workers++;
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return failed == 0 ? ERR_OK : ERR_NOMEM;
}

enum err io_disk(struct world *base, const char *root, struct disk **out)
{
    *out = NULL;
    struct disk *d = mem_new(struct disk);
    if (d == NULL)
        return ERR_NOMEM;
    d->object.ops = &io_world_ops;
    d->w = io_of(base);
    d->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->root_fd == -1) {
        enum err err = err_from_errno(errno);
        mem_free(d);
        return err;
    }
    list_init(&d->done);
    list_init(&d->files);
    (void)pthread_mutex_init(&d->done_lock, NULL);
    for (size_t i = 0; i < LANES; i++) {
        (void)pthread_mutex_init(&d->lanes[i].lock, NULL);
        (void)pthread_cond_init(&d->lanes[i].some, NULL);
        list_init(&d->lanes[i].ops);
    }
    d->wake = io_wake_new(d->w, on_done, d);
    enum err err = d->wake == NULL ? ERR_NOMEM : start_workers(d);
    if (err != ERR_OK) {
        io_disk_close(d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

void io_disk_submit(struct disk *d, struct disk_op *op)
{
    struct lane *l = &d->lanes[op->lane];
    must(!d->closed);
    if (op->kind == DISK_CLOSE)
        list_remove(&op->file->link);
    op->disk = d;
    d->n_pending++;
    (void)pthread_mutex_lock(&l->lock);
    list_push_back(&l->ops, &op->link);
    (void)pthread_mutex_unlock(&l->lock);
    (void)pthread_cond_signal(&l->some);
}

void io_disk_close(struct disk *d)
{
    must(d->n_pending == 0);
    stop_workers(d);
    if (d->wake != NULL)
        io_wake_del(d->wake);
    for (struct list *l = list_pop_front(&d->files); l != NULL; l = list_pop_front(&d->files)) {
        struct disk_file *f = list_entry(l, struct disk_file, link);
        (void)close(f->fd);
        mem_free(f);
    }
    (void)close(d->root_fd);
    d->closed = true;
    if (!d->in_callback)
        disk_free(d);
}
