/* sim/sim_work.c: works beside the loop: each takes some simulated time and is then run within a turn of its
 * process, so that the same seed gives the same trace. Memory is the process's and goes with it.
 */
#include "sim/sim_impl.h"

#include "base/mem.h"

enum { WORK_US_MAX = 300 * 1000 };

struct workers {
    struct world_object object; /* first */
    struct sim_proc *proc;
    struct list waiting;
    size_t n_free; /* threads with nothing to do */
    size_t n_posts;
    bool closed;
};
struct under_way {
    struct workers *workers;
    struct compute *work;
};

static void start(struct workers *p);

static void on_ended(void *arg)
{
    struct under_way *u = arg;
    struct workers *p = u->workers;
    struct compute *k = u->work;
    mem_free(u);
    p->n_posts--;
    p->n_free++;
    if (!p->closed) {
        start(p);
        k->run(k);
        k->done(k);
    } else if (p->n_posts == 0) {
        mem_free(p);
    }
}

static void start(struct workers *p)
{
    while (p->n_free > 0 && !list_is_empty(&p->waiting)) {
        struct under_way *u = mem_must_new(struct under_way);
        *u = (struct under_way){p, list_entry(list_pop_front(&p->waiting), struct compute, link)};
        p->n_free--;
        p->n_posts++;
        sim_proc_post(p->proc, 1 + sim_below(p->proc->sim, WORK_US_MAX), on_ended, u);
    }
}

enum err sim_workers(struct world *w, unsigned n, struct workers **out)
{
    struct workers *p = mem_must_new(struct workers);
    *p = (struct workers){.object = {w->ops}, .proc = proc_of(w), .n_free = n};
    list_init(&p->waiting);
    *out = p;
    return ERR_OK;
}

void sim_workers_submit(struct workers *p, struct compute *k)
{
    must(!p->closed);
    list_init(&k->link);
    list_push_back(&p->waiting, &k->link);
    start(p);
}

void sim_workers_close(struct workers *p)
{
    p->closed = true;
    if (p->n_posts == 0)
        mem_free(p);
}
