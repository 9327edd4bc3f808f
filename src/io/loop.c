/* io/loop.c: the turn: tasks, events, timers, hooks, sends, funerals.
 *
 * Owns:   the epoll descriptor, the lists of what is touched and what is dead.
 * Limits: IO_EVENTS_A_TURN events, IO_TIMERS_A_TURN timers; each kind of source bounds its own work.
 * Errors: a descriptor that epoll can't take for want of memory is tried again after IO_RETRY_MS.
 */
#include "io/impl.h"
#include "io/tls.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static void plain_free(struct source *s)
{
    mem_free(s);
}

static void no_flush(struct source *s)
{
    UNUSED(s);
}

static void keep(struct source *s)
{
    UNUSED(s);
}

/* clang-format off */
static const struct {
    void (*on_event)(struct source *s, unsigned events);
    void (*flush)(struct source *s);
    void (*free)(struct source *s);
} kinds[] = {
    [SOURCE_CONN]     = {conn_on_event,     conn_flush,     conn_free},
    [SOURCE_CHANNEL]  = {channel_on_event,  channel_flush,  channel_free},
    [SOURCE_LISTENER] = {listener_on_event, listener_flush, plain_free},
    [SOURCE_CHILD]    = {child_on_event,    no_flush,       plain_free},
    [SOURCE_PROGRAM]  = {program_on_event,  no_flush,       plain_free},
    [SOURCE_WATCH]    = {watch_on_event,    no_flush,       plain_free},
    [SOURCE_WAKE]     = {wake_on_event,     no_flush,       plain_free},
    [SOURCE_SIGNALS]  = {signals_on_event,  no_flush,       keep},
};
/* clang-format on */

/* ---- sources ---- */

void source_init(struct source *s, struct io_world *w, enum source_kind kind, int fd)
{
    s->object.ops = &io_world_ops;
    s->w = w;
    s->fd = fd;
    s->kind = (uint8_t)kind;
    list_init(&s->link);
}

bool source_arm(struct source *s, unsigned events)
{
    if (s->closed || (s->registered ? s->armed == events : events == 0))
        return true;
    int op = events == 0 ? EPOLL_CTL_DEL : s->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    struct epoll_event ev = {.events = events, .data.ptr = s};
    if (s->kind == SOURCE_LISTENER) /* processes share it: wake one of them */
        ev.events |= EPOLLEXCLUSIVE;
    if (s->kind == SOURCE_WAKE && events != 0) /* each write is one event and nothing need be read */
        ev.events |= EPOLLET;
    if (epoll_ctl(s->w->epoll_fd, op, s->fd, &ev) == -1 && op != EPOLL_CTL_DEL)
        return false;
    s->registered = events != 0;
    s->armed = (uint16_t)events;
    return true;
}

void source_touch(struct source *s)
{
    if (!s->closed && list_is_empty(&s->link))
        list_push_back(&s->w->dirty, &s->link);
}

void source_close(struct source *s)
{
    must(!s->closed);
    if (s->shared || s->w->has_spawned) /* a copy of fd in another process would keep it in our epoll */
        (void)source_arm(s, 0);
    s->closed = true;
    if (s->fd != -1)
        (void)close(s->fd);
    s->fd = -1;
    list_remove(&s->link);
    list_push_back(&s->w->dead, &s->link);
}

static void reap(struct io_world *w)
{
    for (struct list *l = list_pop_front(&w->dead); l != NULL; l = list_pop_front(&w->dead)) {
        struct source *s = list_entry(l, struct source, link);
        kinds[s->kind].free(s);
    }
}

/* Moves all of `from` to the empty list `to`: what is added while `to` is worked off belongs to the next
 * turn. */
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

static void flush_touched(struct io_world *w)
{
    struct list now;
    take_all(&w->dirty, &now);
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now)) {
        struct source *s = list_entry(l, struct source, link);
        kinds[s->kind].flush(s);
    }
}

/* ---- tasks, timers, hooks ---- */

void task_init(struct task *t, void (*run)(struct task *t))
{
    list_init(&t->link);
    t->run = run;
}

void task_post(struct io_world *w, struct task *t)
{
    if (list_is_empty(&t->link))
        list_push_back(&w->tasks, &t->link);
}

void task_cancel(struct task *t)
{
    list_remove(&t->link);
}

static bool run_tasks(struct io_world *w)
{
    struct list now;
    take_all(&w->tasks, &now);
    bool any = !list_is_empty(&now);
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now)) {
        struct task *t = list_entry(l, struct task, link);
        t->run(t);
    }
    return any;
}

void io_timer_set(struct world *base, struct timer *t, uint64_t due_ms)
{
    struct io_world *w = io_of(base);
    if (t->is_set)
        heap_remove(&w->timers, &t->node);
    heap_insert(&w->timers, &t->node, due_ms);
    t->is_set = true;
}

void io_timer_cancel(struct world *base, struct timer *t)
{
    heap_remove(&io_of(base)->timers, &t->node);
    t->is_set = false;
}

static bool fire_timers(struct io_world *w)
{
    size_t budget = w->timers.n < IO_TIMERS_A_TURN ? w->timers.n : IO_TIMERS_A_TURN;
    bool any = false;
    for (; budget > 0; budget--) {
        struct heap_node *least = heap_min(&w->timers);
        if (least == NULL || least->key > w->now_ms)
            break;
        struct timer *t = container_of(least, struct timer, node);
        heap_remove(&w->timers, least);
        t->is_set = false;
        t->fire(t);
        any = true;
    }
    return any;
}

static void io_turn_end(struct world *base, struct turn_hook *h)
{
    list_push_back(&io_of(base)->hooks, &h->link);
}

/* A hook may remove itself or any other hook: each is back in the world's list before it runs. */
static void run_hooks(struct io_world *w)
{
    struct list now;
    take_all(&w->hooks, &now);
    for (struct list *l = list_pop_front(&now); l != NULL; l = list_pop_front(&now)) {
        list_push_back(&w->hooks, l);
        struct turn_hook *h = list_entry(l, struct turn_hook, link);
        h->run(h);
    }
}

/* ---- the turn ---- */

static int64_t read_clock_ms(clockid_t id)
{
    struct timespec ts;
    must(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void read_clocks(struct io_world *w)
{
    w->now_ms = (uint64_t)read_clock_ms(CLOCK_MONOTONIC) + 1; /* never 0 */
    w->wall_ms = read_clock_ms(CLOCK_REALTIME);
}

static int wait_ms(const struct io_world *w)
{
    if (!list_is_empty(&w->tasks))
        return 0;
    uint64_t wait = UINT64_MAX;
    if (!list_is_empty(&w->dirty)) /* only what epoll or a socket refused is left here */
        wait = IO_RETRY_MS;
    const struct heap_node *least = heap_min(&w->timers);
    if (least != NULL) {
        uint64_t until = least->key > w->now_ms ? least->key - w->now_ms : 0;
        wait = until < wait ? until : wait;
    }
    if (wait == UINT64_MAX)
        return -1;
    return wait > INT32_MAX ? INT32_MAX : (int)wait;
}

static void turn(struct io_world *w)
{
    struct epoll_event *events = w->events;
    int n = epoll_wait(w->epoll_fd, events, IO_EVENTS_A_TURN, wait_ms(w));
    must(n >= 0 || errno == EINTR);
    read_clocks(w);
    w->turn++;
    bool busy = run_tasks(w);
    for (int i = 0; i < n; i++) {
        struct source *s = events[i].data.ptr;
        if (!s->closed)
            kinds[s->kind].on_event(s, events[i].events);
        busy = true;
    }
    busy = fire_timers(w) || busy;
    if (busy)
        run_hooks(w);
    flush_touched(w);
    reap(w);
}

void io_run(struct io_world *w)
{
    w->stop = false;
    read_clocks(w);
    flush_touched(w); /* what was set up before the first turn */
    while (!w->stop)
        turn(w);
}

void io_stop(struct io_world *w)
{
    w->stop = true;
}

/* ---- the world ---- */

/* The base is the first member. */
static const struct io_world *io_of_const(const struct world *base)
{
    return (const struct io_world *)(const void *)base;
}

static uint64_t io_now_ms(const struct world *base)
{
    return io_of_const(base)->now_ms;
}

static int64_t io_wall_ms(const struct world *base)
{
    return io_of_const(base)->wall_ms;
}

static void fill_random(void *out, size_t n)
{
    unsigned char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got == -1) {
            must(errno == EINTR);
            continue;
        }
        p += got;
        n -= (size_t)got;
    }
}

/* Small draws come from a pool, each byte of which is wiped when it is handed out. */
static void io_random(struct world *base, void *out, size_t n)
{
    struct io_world *w = io_of(base);
    if (n > sizeof w->random / 4) {
        fill_random(out, n);
        return;
    }
    if (w->random_left < n) {
        fill_random(w->random, sizeof w->random);
        w->random_left = sizeof w->random;
    }
    unsigned char *from = w->random + sizeof w->random - w->random_left;
    memcpy(out, from, n);
    explicit_bzero(from, n);
    w->random_left -= n;
}

const struct world_ops io_world_ops = {
    .tls = &io_tls_ops,
    .now_ms = io_now_ms,
    .wall_ms = io_wall_ms,
    .random = io_random,
    .timer_set = io_timer_set,
    .timer_cancel = io_timer_cancel,
    .turn_end = io_turn_end,
    .channel_pair = io_channel_pair,
    .channel_send = io_channel_send,
    .channel_backlog = io_channel_backlog,
    .channel_set_user = io_channel_set_user,
    .channel_pause = io_channel_pause,
    .channel_close = io_channel_close,
    .handle_of_channel = io_handle_of_channel,
    .handle_of_conn = io_handle_of_conn,
    .handle_of_listener = io_handle_of_listener,
    .handle_of_blob = io_handle_of_blob,
    .handle_again = io_handle_again,
    .handle_take_channel = io_handle_take_channel,
    .handle_take_conn = io_handle_take_conn,
    .handle_take_listener = io_handle_take_listener,
    .handle_take_blob = io_handle_take_blob,
    .blob_free = io_blob_free,
    .handle_drop = io_handle_drop,
    .conn_set_user = io_conn_set_user,
    .conn_want = io_conn_want,
    .conn_read = io_conn_read,
    .conn_write = io_conn_write,
    .conn_shutdown_write = io_conn_shutdown_write,
    .conn_close = io_conn_close,
    .conn_peer = io_conn_peer,
    .conn_local = io_conn_local,
    .conn_peer_uid = io_conn_peer_uid,
    .connect = io_connect,
    .connecting_cancel = io_connecting_cancel,
    .pipe = io_pipe,
    .listen = io_listen,
    .listener_set_user = io_listener_set_user,
    .listener_close = io_listener_close,
    .listener_addr = io_listener_addr,
    .disk = io_disk,
    .disk_submit = io_disk_submit,
    .disk_close = io_disk_close,
    .spawn = io_spawn,
    .child_kill = io_child_kill,
    .program = io_program,
    .program_kill = io_program_kill,
    .workers = io_workers,
    .workers_submit = io_workers_submit,
    .workers_close = io_workers_close,
};

/* Descriptors 0 to 2 must be something harmless, or a socket would get such a number and receive our log. */
static bool fill_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) != fd)
            return false;
    }
    return true;
}

struct io_world *io_world_new(const struct log *log, const char *self_exe)
{
    struct io_world *w = mem_new(struct io_world);
    if (w == NULL || !fill_standard_fds())
        goto fail;
    w->base = (struct world){&io_world_ops, log};
    w->self_exe = self_exe;
    w->packet = mem_grow(NULL, IPC_PACKET_MAX + 1);
    w->events = mem_alloc_array(IO_EVENTS_A_TURN, sizeof *w->events);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->packet == NULL || w->events == NULL || w->epoll_fd == -1)
        goto fail;
    list_init(&w->hooks);
    list_init(&w->dirty);
    list_init(&w->dead);
    list_init(&w->tasks);
    source_init(&w->signals, w, SOURCE_SIGNALS, -1);
    (void)signal(SIGPIPE, SIG_IGN);
    read_clocks(w);
    return w;
fail:
    log_error(log, "io.start_failed", LERR(err_from_errno(errno)));
    if (w != NULL) {
        mem_free(w->packet);
        mem_free(w->events);
    }
    mem_free(w);
    return NULL;
}

void io_world_del(struct io_world **wp)
{
    struct io_world *w = *wp;
    if (w == NULL)
        return;
    *wp = NULL;
    tls_world_del(w);
    if (w->signals.fd != -1)
        source_close(&w->signals);
    reap(w);
    must(list_is_empty(&w->tasks));
    (void)close(w->epoll_fd);
    explicit_bzero(w->random, sizeof w->random);
    mem_free(w->packet);
    mem_free(w->events);
    mem_free(w);
}

struct world *io_world_base(struct io_world *w)
{
    return &w->base;
}
