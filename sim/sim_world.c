/* sim/sim_world.c: the queue of events, hosts, processes and their turns. See sim/sim_world.h. */
#include "sim/sim_impl.h"
#include "sim/sim_tls.h"

#include "base/crc32c.h"
#include "base/mem.h"

#include <string.h>

static uint64_t sim_now_ms_of(const struct world *w);
static int64_t sim_wall_ms_of(const struct world *w);
static void sim_random(struct world *w, void *out, size_t n);
static void sim_timer_set(struct world *w, struct timer *t, uint64_t due_ms);
static void sim_timer_cancel(struct world *w, struct timer *t);
static void sim_turn_end(struct world *w, struct turn_hook *h);

const struct world_ops sim_world_ops = {
    .tls = &sim_tls_ops,
    .now_ms = sim_now_ms_of,
    .wall_ms = sim_wall_ms_of,
    .random = sim_random,
    .timer_set = sim_timer_set,
    .timer_cancel = sim_timer_cancel,
    .turn_end = sim_turn_end,
    .channel_pair = sim_channel_pair,
    .channel_send = sim_channel_send,
    .channel_backlog = sim_channel_backlog,
    .channel_set_user = sim_channel_set_user,
    .channel_pause = sim_channel_pause,
    .channel_close = sim_channel_close,
    .handle_of_channel = sim_handle_of_channel,
    .handle_of_conn = sim_handle_of_conn,
    .handle_of_listener = sim_handle_of_listener,
    .handle_of_blob = sim_handle_of_blob,
    .handle_again = sim_handle_again,
    .handle_take_channel = sim_handle_take_channel,
    .handle_take_conn = sim_handle_take_conn,
    .handle_take_listener = sim_handle_take_listener,
    .handle_take_blob = sim_handle_take_blob,
    .blob_free = sim_blob_free,
    .handle_drop = sim_handle_drop,
    .conn_set_user = sim_conn_set_user,
    .conn_want = sim_conn_want,
    .conn_read = sim_conn_read,
    .conn_write = sim_conn_write,
    .conn_shutdown_write = sim_conn_shutdown_write,
    .conn_close = sim_conn_close,
    .conn_peer = sim_conn_peer,
    .conn_local = sim_conn_local,
    .conn_peer_uid = sim_conn_peer_uid,
    .connect = sim_connect,
    .connecting_cancel = sim_connecting_cancel,
    .pipe = sim_pipe,
    .listen = sim_listen,
    .listener_set_user = sim_listener_set_user,
    .listener_close = sim_listener_close,
    .listener_addr = sim_listener_addr,
    .disk = sim_disk_of,
    .disk_submit = sim_submit,
    .disk_close = sim_close,
    .spawn = sim_spawn,
    .child_kill = sim_child_kill,
    .program = sim_program,
    .program_kill = sim_program_kill,
    .workers = sim_workers,
    .workers_submit = sim_workers_submit,
    .workers_close = sim_workers_close,
};

/* clang-format off */
static const struct {
    bool (*is_ready)(const struct source *s);
    void (*dispatch)(struct source *s);
    void (*abandon)(struct source *s);
    void (*free)(struct source *s);
} kinds[SOURCE_KINDS] = {
    [SOURCE_CONN]       = {conn_is_ready,       conn_dispatch,       conn_abandon,       conn_free},
    [SOURCE_CHANNEL]    = {channel_is_ready,    channel_dispatch,    channel_abandon,    channel_free},
    [SOURCE_LISTENER]   = {listener_is_ready,   listener_dispatch,   listener_abandon,   plain_free},
    [SOURCE_CONNECTING] = {connecting_is_ready, connecting_dispatch, connecting_abandon, plain_free},
    [SOURCE_CHILD]      = {child_is_ready,      child_dispatch,      child_abandon,      plain_free},
    [SOURCE_POST]       = {post_is_ready,       post_dispatch,       post_abandon,       plain_free},
    [SOURCE_DISK]       = {disk_is_ready,       disk_dispatch,       disk_abandon,       disk_free},
};
/* clang-format on */

void plain_free(struct source *s)
{
    mem_free(s);
}

/* ---- chance, trace, events ---- */

uint64_t sim_below(struct sim *s, uint64_t bound)
{
    return bound == 0 ? 0 : rng_below(&s->rng, bound);
}

bool sim_chance(struct sim *s, uint32_t ppm)
{
    return ppm > 0 && rng_below(&s->rng, 1000000) < ppm;
}

void sim_trace(struct sim *s, uint64_t what, uint64_t a, uint64_t b)
{
    uint64_t h = s->hash;
    const uint64_t facts[] = {what, a, b, s->now_us};
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        h = (h ^ facts[i]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    s->hash = h;
}

void sim_event_set(struct sim *s, struct sim_event *e, uint64_t at_us)
{
    if (e->is_set)
        heap_remove(&s->events, &e->node);
    heap_insert(&s->events, &e->node, at_us < s->now_us ? s->now_us : at_us);
    e->is_set = true;
}

void sim_event_cancel(struct sim *s, struct sim_event *e)
{
    if (e->is_set)
        heap_remove(&s->events, &e->node);
    e->is_set = false;
}

static void reap(struct sim *sim);

/* false: nothing is due up to then. */
static bool step(struct sim *s, uint64_t until_us)
{
    struct heap_node *least = heap_min(&s->events);
    if (least == NULL || least->key > until_us)
        return false;
    struct sim_event *e = container_of(least, struct sim_event, node);
    s->now_us = least->key;
    s->counts.n_events++;
    sim_event_cancel(s, e);
    e->fire(e);
    reap(s);
    return true;
}

void sim_run_until(struct sim *s, uint64_t at_us)
{
    while (step(s, at_us)) {
    }
    if (s->now_us < at_us)
        s->now_us = at_us;
}

bool sim_run_until_true(struct sim *s, uint64_t at_us, bool (*is_enough)(void *arg), void *arg)
{
    while (s->now_us < at_us) {
        uint64_t next = s->now_us + SIM_S;
        sim_run_until(s, next < at_us ? next : at_us);
        if (is_enough(arg))
            return true;
    }
    return false;
}

struct call {
    struct sim_event event;
    void (*fn)(void *arg);
    void *arg;
};

static void on_call(struct sim_event *e)
{
    struct call *k = container_of(e, struct call, event);
    void (*fn)(void *arg) = k->fn;
    void *arg = k->arg;
    mem_free(k);
    fn(arg);
}

void sim_call_at(struct sim *s, uint64_t at_us, void (*fn)(void *arg), void *arg)
{
    struct call *k = sim_make(struct call);
    *k = (struct call){.event = {.fire = on_call}, .fn = fn, .arg = arg};
    sim_event_set(s, &k->event, at_us);
}

static void disk_schedule(void *arg, uint64_t delay_us, void (*fn)(void *fn_arg), void *fn_arg)
{
    struct sim *s = arg;
    sim_call_at(s, s->now_us + delay_us, fn, fn_arg);
}

/* ---- the whole ---- */

struct sim *sim_new(uint64_t seed)
{
    struct sim *s = sim_make(struct sim);
    rng_seed(&s->rng, seed);
    list_init(&s->dead);
    s->now_us = SIM_S;
    s->plan = (struct sim_plan){.turn_us = 40, .channel_us = 60, .latency_us = 2000};
    s->disk_ops = (struct world_ops){.disk_submit = sim_disk_submit, .disk_close = sim_disk_close};
    s->disk_host = (struct sim_disk_host){.schedule = disk_schedule, .arg = s, .ops = &s->disk_ops};
    return s;
}

void sim_del(struct sim **sp)
{
    struct sim *s = *sp;
    if (s == NULL)
        return;
    *sp = NULL;
    for (size_t i = 0; i < s->n_hosts; i++)
        sim_host_power_cut(s->hosts[i]);
    reap(s);
    while (step(s, UINT64_MAX)) { /* what is left is calls: they free themselves */
    }
    for (size_t i = 0; i < s->n_hosts; i++) {
        sim_disk_del(&s->hosts[i]->disk);
        mem_free(s->hosts[i]);
    }
    mem_free(s);
}

struct sim_plan *sim_plan(struct sim *s)
{
    return &s->plan;
}

struct rng *sim_rng(struct sim *s)
{
    return &s->rng;
}

uint64_t sim_now_us(const struct sim *s)
{
    return s->now_us;
}

uint64_t sim_trace_hash(const struct sim *s)
{
    return s->hash;
}

const struct sim_counts *sim_counts(const struct sim *s)
{
    return &s->counts;
}

void sim_on_log(struct sim *s, void (*fn)(void *arg, struct sim_proc *p, struct str line), void *arg)
{
    s->on_log = fn;
    s->on_log_arg = arg;
}

void sim_on_send(struct sim *s, void (*fn)(void *arg, struct sim_proc *p, uint16_t type, struct str payload),
                 void *arg)
{
    s->on_send = fn;
    s->on_send_arg = arg;
}

/* ---- hosts ---- */

struct sim_host *sim_host_new(struct sim *s, const char *name, const char *address)
{
    must(s->n_hosts < SIM_HOSTS_MAX);
    struct sim_host *h = sim_make(struct sim_host);
    *h = (struct sim_host){
        .sim = s, .name = name, .index = (unsigned)s->n_hosts, .is_up = true, .port_next = 32768};
    must(netaddr_parse_ip(str_from_c(address), 0, &h->addr));
    h->boot_us = s->now_us;
    h->wall_offset_ms = (int64_t)sim_below(s, 2000);
    list_init(&h->procs);
    list_init(&h->sockets);
    struct sim_heap *was = sim_heap_enter(NULL);
    h->disk = sim_disk_new(rng_next(&s->rng));
    (void)sim_heap_enter(was);
    s->hosts[s->n_hosts++] = h;
    return h;
}

struct sim *sim_host_sim(struct sim_host *h)
{
    return h->sim;
}

const char *sim_host_name(const struct sim_host *h)
{
    return h->name;
}

const struct netaddr *sim_host_addr(const struct sim_host *h)
{
    return &h->addr;
}

struct sim_disk *sim_host_disk(struct sim_host *h)
{
    return h->disk;
}

bool sim_host_is_up(const struct sim_host *h)
{
    return h->is_up;
}

void sim_host_step_wall(struct sim_host *h, int64_t ms)
{
    h->wall_offset_ms += ms;
}

void sim_host_set_program(struct sim_host *h, const struct sim_program *program)
{
    h->program = *program;
}

uint64_t sim_host_mono_us(const struct sim_host *h, uint64_t mono_ms)
{
    if (mono_ms == 0)
        return h->boot_us;
    uint64_t us;
    if (__builtin_mul_overflow(mono_ms - 1, SIM_MS, &us) || us > UINT64_MAX / 2)
        return UINT64_MAX / 2; /* never */
    return h->boot_us + us;
}

static void proc_destroy(struct sim_proc *p, bool clean, const char *how);

void sim_host_power_cut(struct sim_host *h)
{
    if (!h->is_up)
        return;
    sim_trace(h->sim, 'P', h->index, 0);
    h->is_up = false;
    h->is_cutting = true;
    while (!list_is_empty(&h->procs))
        proc_destroy(list_entry(h->procs.next, struct sim_proc, link), false, "power cut");
    reap(h->sim);
    must(list_is_empty(&h->sockets));
    struct sim_heap *was = sim_heap_enter(NULL);
    sim_disk_power_cut(h->disk);
    (void)sim_heap_enter(was);
    h->is_cutting = false;
}

void sim_host_power_on(struct sim_host *h)
{
    must(!h->is_up);
    sim_trace(h->sim, 'O', h->index, 0);
    h->is_up = true;
    h->boot_us = h->sim->now_us;
}

void sim_net_block(struct sim *s, struct sim_host *a, struct sim_host *b, bool blocked)
{
    sim_trace(s, 'B', a->index * SIM_HOSTS_MAX + b->index, blocked);
    s->blocked[a->index][b->index] = s->blocked[b->index][a->index] = blocked;
}

/* ---- sources ---- */

void source_init(struct source *s, struct sim *sim, struct sim_proc *p, enum source_kind kind)
{
    s->object.ops = &sim_world_ops;
    s->sim = sim;
    s->proc = p;
    s->kind = kind;
    s->id = ++sim->id_next;
    list_init(&s->all);
    list_init(&s->ready);
    list_init(&s->dead);
    if (p != NULL)
        list_push_back(&p->sources, &s->all);
}

static void want_turn(struct sim_proc *p, uint64_t at_us)
{
    if (!p->turn.is_set || at_us < p->turn.node.key)
        sim_event_set(p->sim, &p->turn, at_us);
}

static void want_turn_soon(struct sim_proc *p)
{
    struct sim *s = p->sim;
    uint64_t delay = 1 + sim_below(s, s->plan.turn_us);
    if (sim_chance(s, s->plan.stall_ppm))
        delay = sim_below(s, s->plan.stall_us);
    want_turn(p, s->now_us + delay);
}

void source_wake(struct source *s)
{
    struct sim_proc *p = s->proc;
    if (p == NULL || s->closed || !list_is_empty(&s->ready) || !kinds[s->kind].is_ready(s))
        return;
    bool is_first = list_is_empty(&p->ready);
    list_push_back(&p->ready, &s->ready);
    if (!p->in_turn && is_first)
        want_turn_soon(p);
}

void source_move(struct source *s, struct sim_proc *to)
{
    list_remove(&s->all);
    list_remove(&s->ready);
    s->proc = to;
    if (to != NULL)
        list_push_back(&to->sources, &s->all);
    source_wake(s);
}

void source_close(struct source *s)
{
    must(!s->closed);
    s->closed = true;
    list_remove(&s->ready);
    list_remove(&s->all);
    list_push_back(&s->sim->dead, &s->dead);
}

static void reap(struct sim *sim)
{
    for (struct list *l = list_pop_front(&sim->dead); l != NULL; l = list_pop_front(&sim->dead)) {
        struct source *s = list_entry(l, struct source, dead);
        kinds[s->kind].free(s);
    }
}

/* ---- clock, random, timers, hooks ---- */

/* The world is the first member. */
static const struct sim_proc *const_proc_of(const struct world *w)
{
    return (const struct sim_proc *)(const void *)w;
}

static uint64_t sim_now_ms_of(const struct world *w)
{
    return const_proc_of(w)->now_ms;
}

static int64_t sim_wall_ms_of(const struct world *w)
{
    return const_proc_of(w)->wall_ms;
}

static void sim_random(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = rng_next(&proc_of(w)->rng);
        memcpy(p + i, &v, n - i < 8 ? n - i : 8);
    }
}

static void sim_timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    struct sim_proc *p = proc_of(w);
    if (t->is_set)
        heap_remove(&p->timers, &t->node);
    heap_insert(&p->timers, &t->node, due_ms);
    t->is_set = true;
    if (!p->in_turn)
        want_turn(p, sim_host_mono_us(p->host, due_ms));
}

static void sim_timer_cancel(struct world *w, struct timer *t)
{
    heap_remove(&proc_of(w)->timers, &t->node);
    t->is_set = false;
}

static void sim_turn_end(struct world *w, struct turn_hook *h)
{
    list_push_back(&proc_of(w)->hooks, &h->link);
}

/* ---- the turn ---- */

static void take_all(struct list *from, struct list *to)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

/* What is ready now, in an order of the seed's choice; what becomes ready meanwhile waits for the next turn.
 */
static bool run_ready(struct sim_proc *p)
{
    struct list now, shuffled;
    take_all(&p->ready, &now);
    list_init(&shuffled);
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now)) {
        if (rng_next(&p->sim->rng) % 2 == 0)
            list_push_back(&shuffled, l);
        else
            list_push_front(&shuffled, l);
    }
    bool any = !list_is_empty(&shuffled);
    for (struct list *l = list_pop_front(&shuffled); l != NULL; l = list_pop_front(&shuffled)) {
        struct source *s = list_entry(l, struct source, ready);
        enum source_kind kind = s->kind;
        if (!kinds[kind].is_ready(s))
            continue;
        kinds[kind].dispatch(s);
        source_wake(s);
    }
    return any;
}

static bool fire_timers(struct sim_proc *p)
{
    size_t budget = p->timers.n < SIM_TIMERS_A_TURN ? p->timers.n : SIM_TIMERS_A_TURN;
    bool any = false;
    for (; budget > 0; budget--) {
        struct heap_node *least = heap_min(&p->timers);
        if (least == NULL || least->key > p->now_ms)
            break;
        struct timer *t = container_of(least, struct timer, node);
        heap_remove(&p->timers, least);
        t->is_set = false;
        t->fire(t);
        any = true;
    }
    return any;
}

static void run_hooks(struct sim_proc *p)
{
    struct list now;
    take_all(&p->hooks, &now);
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now)) {
        list_push_back(&p->hooks, l);
        struct turn_hook *h = list_entry(l, struct turn_hook, link);
        h->run(h);
    }
}

static void flush_dirty(struct sim_proc *p)
{
    struct list now;
    take_all(&p->dirty, &now);
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now))
        channel_flush(list_entry(l, struct channel, dirty));
}

static void read_clocks(struct sim_proc *p)
{
    p->now_ms = (p->sim->now_us - p->host->boot_us) / SIM_MS + 1;
    p->wall_ms = INT64_C(1700000000000) + (int64_t)(p->sim->now_us / SIM_MS) + p->host->wall_offset_ms;
}

static void plan_turn(struct sim_proc *p)
{
    const struct heap_node *least = heap_min(&p->timers);
    if (!list_is_empty(&p->ready))
        want_turn_soon(p);
    if (least != NULL)
        want_turn(p, sim_host_mono_us(p->host, least->key));
}

static void on_turn(struct sim_event *e)
{
    struct sim_proc *p = container_of(e, struct sim_proc, turn);
    struct sim *s = p->sim;
    s->counts.n_turns++;
    sim_trace(s, 't', p->id, 0);
    read_clocks(p);
    p->in_turn = true;
    struct sim_heap *was = sim_heap_enter(&p->heap);
    bool busy = !p->has_started;
    if (!p->has_started) {
        p->has_started = true;
        p->main(&p->world, p->arg);
    }
    busy = run_ready(p) || busy;
    busy = fire_timers(p) || busy;
    if (busy)
        run_hooks(p);
    flush_dirty(p);
    (void)sim_heap_enter(was);
    p->in_turn = false;
    if (p->is_exiting) {
        char mem[32];
        struct buf how;
        buf_init_fixed(&how, mem, sizeof mem);
        buf_printf(&how, "exit %d", p->status);
        buf_putc(&how, '\0');
        proc_destroy(p, p->status == 0, mem);
    } else {
        plan_turn(p);
    }
}

/* ---- processes ---- */

static void on_log_line(void *arg, struct str line)
{
    struct sim_proc *p = arg;
    sim_trace(p->sim, 'l', p->id, crc32c(0, line.p, line.n));
    if (p->sim->on_log == NULL)
        return;
    struct sim_heap *was = sim_heap_enter(NULL);
    p->sim->on_log(p->sim->on_log_arg, p, line);
    (void)sim_heap_enter(was);
}

static void on_kill(struct sim_event *e)
{
    struct sim_proc *p = container_of(e, struct sim_proc, kill_event);
    proc_destroy(p, false, p->kill_how);
}

struct sim_proc *sim_spawn_proc(struct sim_host *h, const char *what)
{
    must(h->is_up);
    struct sim *s = h->sim;
    struct sim_proc *p = sim_make(struct sim_proc);
    *p = (struct sim_proc){.sim = s, .host = h, .what = what, .id = ++s->id_next};
    p->log = (struct log){.min = LOG_INFO, .role = what, .write = on_log_line, .arg = p};
    p->world = (struct world){&sim_world_ops, &p->log};
    sim_heap_init(&p->heap);
    rng_seed(&p->rng, rng_next(&s->rng));
    list_init(&p->hooks);
    list_init(&p->ready);
    list_init(&p->dirty);
    list_init(&p->sources);
    list_init(&p->handles);
    list_init(&p->blobs);
    list_init(&p->tls_signing);
    p->turn.fire = on_turn;
    p->kill_event.fire = on_kill;
    list_push_back(&h->procs, &p->link);
    read_clocks(p);
    sim_trace(s, 'p', p->id, h->index);
    want_turn(p, s->now_us + 500 + sim_below(s, 5000)); /* exec takes its time */
    return p;
}

struct sim_proc *sim_proc_new(struct sim_host *h, const char *what, void (*main)(struct world *w, void *arg),
                              void (*on_exit)(void *arg, struct str how), void *arg)
{
    struct sim_proc *p = sim_spawn_proc(h, what);
    p->main = main;
    p->on_exit = on_exit;
    p->arg = arg;
    return p;
}

struct world *sim_proc_world(struct sim_proc *p)
{
    return &p->world;
}

struct sim_proc *sim_proc_of(struct world *w)
{
    return proc_of(w);
}

const char *sim_proc_what(const struct sim_proc *p)
{
    return p->what;
}

uint64_t sim_proc_id(const struct sim_proc *p)
{
    return p->id;
}

struct sim_host *sim_proc_host(struct sim_proc *p)
{
    return p->host;
}

void sim_proc_exit(struct sim_proc *p, int status)
{
    must(p->in_turn);
    if (!p->is_exiting)
        p->status = status;
    p->is_exiting = true;
}

void sim_proc_kill(struct sim_proc *p, const char *how)
{
    must(!p->in_turn);
    proc_destroy(p, false, how);
}

void sim_host_each_proc(struct sim_host *h, void (*fn)(void *arg, struct sim_proc *p), void *arg)
{
    list_each (l, &h->procs)
        fn(arg, list_entry(l, struct sim_proc, link));
}

/* The kernel's part of a death: what was open is closed, the parent is told, children get their signal,
 * memory goes. */
static void proc_destroy(struct sim_proc *p, bool clean, const char *how)
{
    struct sim *s = p->sim;
    must(!p->in_turn);
    sim_trace(s, 'x', p->id, clean);
    sim_event_cancel(s, &p->turn);
    sim_event_cancel(s, &p->kill_event);
    while (!list_is_empty(&p->handles))
        sim_handle_drop(list_entry(p->handles.next, struct handle, link));
    while (!list_is_empty(&p->sources)) {
        struct source *x = list_entry(p->sources.next, struct source, all);
        kinds[x->kind].abandon(x);
    }
    for (struct list *l = list_pop_front(&p->blobs); l != NULL; l = list_pop_front(&p->blobs))
        mem_free(list_entry(l, struct blob_data, link));
    list_remove(&p->link);
    if (p->child != NULL)
        child_told(p->child, clean, str_from_c(how));
    mem_free(p->spawned);
    sim_heap_wipe(&p->heap);
    void (*on_exit)(void *arg, struct str why) = p->on_exit;
    void *arg = p->arg;
    mem_free(p);
    if (on_exit != NULL)
        on_exit(arg, str_from_c(how));
}
