#include "tests/crash/crash_world.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct event {
    struct heap_node node;
    void (*fn)(void *arg);
    void *arg;
};

static struct crash_world *of(struct world *w)
{
    return container_of(w, struct crash_world, world);
}

static uint64_t now_ms(const struct world *w)
{
    const struct crash_world *c = (const void *)w; /* its first member */
    return c->now_us / 1000;
}

static int64_t wall_ms(const struct world *w)
{
    return (int64_t)now_ms(w) + 1700000000000;
}

static void random_octets(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&of(w)->rng);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    if (t->is_set)
        heap_remove(&of(w)->timers, &t->node);
    t->is_set = true;
    heap_insert(&of(w)->timers, &t->node, due_ms);
}

static void timer_cancel(struct world *w, struct timer *t)
{
    t->is_set = false;
    heap_remove(&of(w)->timers, &t->node);
}

static void turn_end(struct world *w, struct turn_hook *h)
{
    list_push_back(&of(w)->hooks, &h->link);
}

static void schedule(void *arg, uint64_t delay_us, void (*fn)(void *fn_arg), void *fn_arg)
{
    struct crash_world *w = arg;
    struct event *e = mem_must_new(struct event);
    e->fn = fn;
    e->arg = fn_arg;
    heap_insert(&w->events, &e->node, w->now_us + delay_us);
}

static enum err disk_mount(struct world *w, const char *root, struct disk **out)
{
    struct sim_disk_host host = {.schedule = schedule, .arg = of(w), .ops = w->ops};
    return sim_disk_mount(of(w)->medium, root, &host, out);
}

static const struct world_ops ops = {
    .now_ms = now_ms,
    .wall_ms = wall_ms,
    .random = random_octets,
    .timer_set = timer_set,
    .timer_cancel = timer_cancel,
    .turn_end = turn_end,
    .disk = disk_mount,
    .disk_submit = sim_disk_submit,
    .disk_close = sim_disk_close,
};

static void write_line(void *arg, struct str line)
{
    struct crash_world *w = arg;
    w->n_warned++;
    size_t n = line.n < sizeof w->last_error - 1 ? line.n : sizeof w->last_error - 1;
    memcpy(w->last_error, line.p, n);
    w->last_error[n] = '\0';
    if (w->echo)
        (void)fprintf(stderr, "# %.*s", STR_FMT(line));
}

void crash_world_init(struct crash_world *w, struct sim_disk *medium, uint64_t seed)
{
    *w = (struct crash_world){.now_us = 1000000, .medium = medium};
    w->log = (struct log){.min = LOG_WARN, .write = write_line, .arg = w};
    w->world = (struct world){.ops = &ops, .log = &w->log};
    rng_seed(&w->rng, seed);
    list_init(&w->hooks);
}

void crash_world_fini(struct crash_world *w)
{
    struct heap_node *n;
    while ((n = heap_min(&w->events)) != NULL) {
        struct event *e = container_of(n, struct event, node);
        heap_remove(&w->events, n);
        e->fn(e->arg); /* its mount is dead: it only frees */
        mem_free(e);
    }
}

static void run_hooks(struct crash_world *w)
{
    list_each (l, &w->hooks) {
        struct turn_hook *h = list_entry(l, struct turn_hook, link);
        h->run(h);
    }
}

bool crash_world_turn(struct crash_world *w)
{
    run_hooks(w); /* tests begin things between turns: these belong to the turn before */
    const struct heap_node *e = heap_min(&w->events), *t = heap_min(&w->timers);
    if (e == NULL && t == NULL)
        return false;
    uint64_t at = e == NULL ? UINT64_MAX : e->key;
    if (t != NULL && t->key * 1000 < at)
        at = t->key * 1000;
    if (at > w->now_us)
        w->now_us = at;
    w->n_turns++;
    struct heap_node *n = heap_min(&w->events);
    if (n != NULL && n->key <= w->now_us) {
        struct event *ev = container_of(n, struct event, node);
        heap_remove(&w->events, n);
        ev->fn(ev->arg);
        mem_free(ev);
    }
    /* a timer set now by a timer waits for the next turn */
    size_t n_due = w->timers.n;
    while (n_due-- > 0 && (n = heap_min(&w->timers)) != NULL && n->key * 1000 <= w->now_us) {
        struct timer *timer = container_of(n, struct timer, node);
        heap_remove(&w->timers, n);
        timer->is_set = false;
        timer->fire(timer);
    }
    run_hooks(w);
    return true;
}

bool crash_world_run(struct crash_world *w, const bool *done)
{
    while (!*done) {
        if (!crash_world_turn(w))
            return false;
    }
    return true;
}
