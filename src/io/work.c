/* io/work.c: threads that compute, so that the loop never does for long. They take works from one list; what
 * is done comes back in another, with one wake-up for as many as are there when the loop looks.
 *
 * Owns:   the threads. They are made in world_workers(), before a sandbox forbids it, take no signals, and
 * yield to the loop where there are fewer processors than threads. Limits: the user's: he bounds what waits.
 */
#include "base/mem.h"
#include "io/impl.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* What is computed keeps its big arrays on the heap. */
enum { STACK_SIZE = 256 * 1024, NICENESS = 10 };

struct workers {
    struct world_object object; /* first */
    struct io_wake *wake;
    pthread_mutex_t lock; /* of what stands before the loop's */
    pthread_cond_t some, started;
    struct list waiting, done;
    size_t n_started;
    bool stop;
    /* the loop's thread only */
    pthread_t *threads;
    size_t n_threads;
    bool in_callback, closed;
};

/* ---- the threads' side ---- */

static struct compute *take(struct workers *p)
{
    (void)pthread_mutex_lock(&p->lock);
    while (list_is_empty(&p->waiting) && !p->stop)
        (void)pthread_cond_wait(&p->some, &p->lock);
    struct list *first = p->stop ? NULL : list_pop_front(&p->waiting);
    (void)pthread_mutex_unlock(&p->lock);
    return first == NULL ? NULL : list_entry(first, struct compute, link);
}

static void *work(void *arg)
{
    struct workers *p = arg;
    /* of this thread, beside what the process has; harmless where it fails */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICENESS);
    (void)pthread_mutex_lock(&p->lock);
    p->n_started++;
    (void)pthread_cond_signal(&p->started);
    (void)pthread_mutex_unlock(&p->lock);
    for (struct compute *k = take(p); k != NULL; k = take(p)) {
        k->run(k);
        (void)pthread_mutex_lock(&p->lock);
        list_push_back(&p->done, &k->link);
        (void)pthread_mutex_unlock(&p->lock);
        io_wake_post(p->wake);
    }
    return NULL;
}

/* ---- the loop's side ---- */

static void workers_free(struct workers *p)
{
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->some);
    (void)pthread_cond_destroy(&p->started);
    mem_free(p->threads);
    mem_free(p);
}

static void on_done(void *arg)
{
    struct workers *p = arg;
    p->in_callback = true;
    while (!p->closed) {
        (void)pthread_mutex_lock(&p->lock);
        struct list *first = list_pop_front(&p->done);
        (void)pthread_mutex_unlock(&p->lock);
        if (first == NULL)
            break;
        struct compute *k = list_entry(first, struct compute, link);
        k->done(k);
    }
    p->in_callback = false;
    if (p->closed)
        workers_free(p);
}

/* Signals are the loop's: a thread starts with all of them blocked. */
static enum err start_threads(struct workers *p, size_t n)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int failed = 0;
    (void)sigfillset(&all);
    if (pthread_attr_init(&attr) != 0)
        return ERR_NOMEM;
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->n_threads < n && failed == 0) {
        failed = pthread_create(&p->threads[p->n_threads], &attr, work, p);
        if (failed == 0)
            (void)pthread_setname_np(p->threads[p->n_threads++], "work");
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    (void)pthread_mutex_lock(&p->lock); /* a sandbox that closes now must find them nice already */
    while (p->n_started < p->n_threads)
        (void)pthread_cond_wait(&p->started, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
    return failed == 0 ? ERR_OK : ERR_NOMEM;
}

enum err io_workers(struct world *base, unsigned n, struct workers **out)
{
    *out = NULL;
    struct workers *p = mem_new(struct workers);
    if (p == NULL)
        return ERR_NOMEM;
    p->object.ops = &io_world_ops;
    list_init(&p->waiting);
    list_init(&p->done);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->some, NULL);
    (void)pthread_cond_init(&p->started, NULL);
    p->threads = mem_alloc_array(n, sizeof *p->threads);
    p->wake = io_wake_new(io_of(base), on_done, p);
    enum err err = p->threads == NULL || p->wake == NULL ? ERR_NOMEM : start_threads(p, n);
    if (err != ERR_OK) {
        io_workers_close(p);
        return err;
    }
    *out = p;
    return ERR_OK;
}

void io_workers_submit(struct workers *p, struct compute *k)
{
    must(!p->closed);
    (void)pthread_mutex_lock(&p->lock);
    list_init(&k->link);
    list_push_back(&p->waiting, &k->link);
    (void)pthread_mutex_unlock(&p->lock);
    (void)pthread_cond_signal(&p->some);
}

void io_workers_close(struct workers *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void)pthread_cond_broadcast(&p->some);
    (void)pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_threads; i++)
        (void)pthread_join(p->threads[i], NULL);
    if (p->wake != NULL)
        io_wake_del(p->wake);
    p->closed = true;
    if (!p->in_callback)
        workers_free(p);
}
