/* sim/sim_channel.c: channels and what travels on them.
 *
 * What a process sends in a turn leaves at its end as packets, which arrive after a while, in order. A packet
 * is read whole unless its reader pauses. */
#include "sim/sim_impl.h"

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

enum { FRAME_HEAD = 8 };

static struct channel *channel_of(struct source *s)
{
    return container_of(s, struct channel, source);
}

static void drop_object(struct handle *h);

static void frame_del(struct frame *f)
{
    list_remove(&f->link);
    if (f->handle != NULL) {
        drop_object(f->handle);
        mem_free(f->handle);
    }
    mem_free(f);
}

static void drop_frames(struct list *l)
{
    while (!list_is_empty(l))
        frame_del(list_entry(l->next, struct frame, link));
}

static void touch(struct channel *c)
{
    struct sim_proc *p = c->source.proc;
    if (p != NULL && list_is_empty(&c->dirty))
        list_push_back(&p->dirty, &c->dirty);
}

/* ---- arriving ---- */

static void plan_arrival(struct channel *c)
{
    struct list *l = c->in.next;
    for (size_t i = 0; i < c->n_arrived; i++)
        l = l->next;
    if (l != &c->in && !c->event.is_set)
        sim_event_set(c->source.sim, &c->event, list_entry(l, struct frame, link)->arrive_us);
}

static void on_arrival(struct sim_event *e)
{
    struct channel *c = container_of(e, struct channel, event);
    struct list *l = c->in.next;
    for (size_t i = 0; i < c->n_arrived; i++)
        l = l->next;
    for (; l != &c->in && list_entry(l, struct frame, link)->arrive_us <= c->source.sim->now_us; l = l->next)
        c->n_arrived++;
    source_wake(&c->source);
    plan_arrival(c);
}

static void push(struct channel *to, struct frame *f, uint64_t arrive_us)
{
    f->arrive_us = arrive_us;
    to->last_us = arrive_us;
    to->in_octets += f->n + FRAME_HEAD;
    list_push_back(&to->in, &f->link);
    plan_arrival(to);
}

static uint64_t next_arrival(const struct channel *to)
{
    struct sim *s = to->source.sim;
    uint64_t at = s->now_us + 1 + sim_below(s, s->plan.channel_us);
    return at > to->last_us ? at : to->last_us + 1;
}

/* ---- birth and death ---- */

static struct channel *channel_new(struct sim *s, struct sim_proc *p)
{
    struct channel *c = sim_make(struct channel);
    source_init(&c->source, s, p, SOURCE_CHANNEL);
    list_init(&c->waiting);
    list_init(&c->in);
    list_init(&c->dirty);
    c->event.fire = on_arrival;
    return c;
}

enum err sim_channel_pair(struct world *w, struct channel **out_a, struct channel **out_b)
{
    struct sim_proc *p = proc_of(w);
    struct channel *a = channel_new(p->sim, p), *b = channel_new(p->sim, p);
    a->peer = b;
    b->peer = a;
    *out_a = a;
    *out_b = b;
    return ERR_OK;
}

void channel_free(struct source *s)
{
    struct channel *c = channel_of(s);
    drop_frames(&c->waiting);
    drop_frames(&c->in);
    mem_free(c);
}

static void channel_shut(struct channel *c)
{
    struct channel *peer = c->peer;
    c->peer = NULL;
    list_remove(&c->dirty);
    sim_event_cancel(c->source.sim, &c->event);
    if (peer != NULL) {
        struct frame *f = sim_make(struct frame);
        f->is_end = true;
        peer->peer = NULL;
        push(peer, f, next_arrival(peer));
    }
    source_close(&c->source);
}

void sim_channel_close(struct channel *c)
{
    channel_flush(c); /* what was sent in this turn leaves, if it can */
    channel_shut(c);
}

void channel_abandon(struct source *s)
{
    channel_shut(channel_of(s));
}

void sim_channel_set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
    source_wake(&c->source);
}

void sim_channel_pause(struct channel *c, bool paused)
{
    c->paused = paused;
    source_wake(&c->source);
}

/* ---- sending ---- */

static bool has_room(const struct channel *c)
{
    return c->queued <= IPC_QUEUE_MAX / 2 && c->n_handles_queued <= SIM_HANDLES_QUEUED_MAX / 2;
}

enum err sim_channel_send(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    struct sim *s = c->source.sim;
    must(payload.n <= IPC_FRAME_MAX && c->source.proc != NULL);
    size_t n = FRAME_HEAD + payload.n;
    if (c->peer_gone || c->source.closed)
        return ERR_CLOSED;
    if (c->queued + n > IPC_QUEUE_MAX || (give != NULL && c->n_handles_queued >= SIM_HANDLES_QUEUED_MAX)) {
        c->want_room = true;
        return ERR_AGAIN;
    }
    if (s->on_send != NULL) {
        struct sim_heap *was = sim_heap_enter(NULL);
        s->on_send(s->on_send_arg, c->source.proc, type, payload);
        (void)sim_heap_enter(was);
    }
    struct frame *f = sim_alloc(sizeof *f + payload.n);
    f->type = type;
    f->n = payload.n;
    if (payload.n > 0)
        memcpy(f->bytes, payload.p, payload.n);
    list_init(&f->link);
    list_push_back(&c->waiting, &f->link);
    if (give != NULL) {
        sim_handle_unlist(give);
        f->handle = give;
        c->n_handles_queued++;
    }
    c->queued += n;
    touch(c);
    return ERR_OK;
}

size_t sim_channel_backlog(const struct channel *c)
{
    return c->queued;
}

/* Nobody is there: the user learns it when input has come to its end. */
static void lose_waiting(struct channel *c)
{
    c->peer_gone = true;
    drop_frames(&c->waiting);
    c->queued = c->n_handles_queued = 0;
}

void channel_flush(struct channel *c)
{
    struct channel *to = c->peer;
    list_remove(&c->dirty);
    if (to == NULL && !list_is_empty(&c->waiting))
        lose_waiting(c);
    size_t n_packet = IPC_PACKET_MAX + 1;
    uint64_t packet = 0, at = 0;
    while (!list_is_empty(&c->waiting) && to->in_octets < SIM_CHANNEL_CAP) {
        struct frame *f = list_entry(c->waiting.next, struct frame, link);
        size_t n = f->n + FRAME_HEAD;
        if (n_packet + n > IPC_PACKET_MAX) {
            packet = ++c->source.sim->id_next;
            at = next_arrival(to);
            n_packet = 0;
        }
        n_packet += n;
        list_remove(&f->link);
        c->queued -= n;
        c->n_handles_queued -= f->handle != NULL;
        f->packet = packet;
        push(to, f, at);
    }
    source_wake(&c->source);
}

/* ---- receiving ---- */

static bool wants_input(const struct channel *c)
{
    return c->user != NULL && !c->paused && !c->ended && !c->source.closed;
}

bool channel_is_ready(const struct source *s)
{
    const struct channel *c = (const struct channel *)(const void *)s;
    return (c->n_arrived > 0 && wants_input(c)) || (c->want_room && has_room(c) && !c->peer_gone);
}

static void deliver(struct channel *c, struct frame *f)
{
    struct sim *s = c->source.sim;
    struct handle *h = f->handle;
    s->counts.n_frames++;
    sim_trace(s, 'm', c->source.id, ((uint64_t)f->type << 32) | crc32c(0, f->bytes, f->n));
    if (h != NULL)
        h->is_given = true;
    c->user->on_message(c->arg, c, f->type, str_of(f->bytes, f->n), h);
    frame_del(f);
}

/* Takes the first frame that is there off; the sender may go on when it waited. */
static struct frame *take(struct channel *c)
{
    struct frame *f = list_entry(c->in.next, struct frame, link);
    list_remove(&f->link);
    c->n_arrived--;
    c->in_octets -= f->n + FRAME_HEAD;
    if (c->peer != NULL && !list_is_empty(&c->peer->waiting) && c->in_octets < SIM_CHANNEL_CAP / 2)
        channel_flush(c->peer);
    return f;
}

void channel_dispatch(struct source *s)
{
    struct channel *c = channel_of(s);
    uint64_t packet = 0;
    for (int budget = SIM_PACKETS_A_TURN; c->n_arrived > 0 && wants_input(c);) {
        const struct frame *first = list_entry(c->in.next, struct frame, link);
        if (first->packet != packet && budget-- == 0)
            break;
        packet = first->packet;
        struct frame *f = take(c);
        if (f->is_end) {
            frame_del(f);
            c->ended = true;
            lose_waiting(c);
            sim_trace(s->sim, 'e', s->id, 0);
            c->user->on_closed(c->arg, c);
            return;
        }
        deliver(c, f);
    }
    if (!s->closed && c->want_room && has_room(c) && !c->peer_gone) {
        c->want_room = false;
        if (c->user != NULL && c->user->on_room != NULL)
            c->user->on_room(c->arg, c);
    }
}

/* ---- handles ---- */

static struct handle *handle_new(struct sim_proc *p, enum handle_kind kind)
{
    struct handle *h = sim_make(struct handle);
    h->object.ops = &sim_world_ops;
    h->kind = kind;
    list_init(&h->link);
    if (p != NULL)
        list_push_back(&p->handles, &h->link);
    return h;
}

void sim_handle_unlist(struct handle *h)
{
    list_remove(&h->link);
}

static void handle_free(struct handle *h)
{
    h->kind = HANDLE_NONE;
    h->source = NULL;
    h->blob = NULL;
    list_remove(&h->link);
    if (!h->is_given) /* else its frame does */
        mem_free(h);
}

struct handle *sim_handle_of_channel(struct channel *c)
{
    must(list_is_empty(&c->waiting));
    struct handle *h = handle_new(c->source.proc, HANDLE_CHANNEL);
    h->source = &c->source;
    c->user = NULL;
    list_remove(&c->dirty);
    source_move(&c->source, NULL);
    return h;
}

struct handle *sim_handle_of_conn(struct conn *c)
{
    must(c->tls == NULL);
    struct handle *h = handle_new(c->source.proc, HANDLE_CONN);
    h->source = &c->source;
    c->user = NULL;
    c->want = 0;
    source_move(&c->source, NULL);
    return h;
}

struct handle *sim_handle_of_listener(struct listener *l)
{
    struct handle *h = handle_new(l->source.proc, HANDLE_LISTENER);
    h->source = &sim_listener_copy(l)->source;
    return h;
}

struct handle *sim_handle_of_blob(struct world *w, struct str bytes)
{
    struct handle *h = handle_new(proc_of(w), HANDLE_BLOB);
    h->blob = sim_alloc(sizeof *h->blob + bytes.n);
    h->blob->object.ops = &sim_world_ops;
    h->blob->n = bytes.n;
    list_init(&h->blob->link);
    if (bytes.n > 0)
        memcpy(h->blob->bytes, bytes.p, bytes.n);
    return h;
}

struct handle *sim_handle_again(struct world *w, const struct handle *h)
{
    must(h->kind == HANDLE_BLOB);
    return sim_handle_of_blob(w, str_of(h->blob->bytes, h->blob->n));
}

static struct source *take_source(struct world *w, struct handle *h, enum handle_kind kind)
{
    if (h->kind != kind)
        return NULL;
    struct source *s = h->source;
    handle_free(h);
    source_move(s, proc_of(w));
    return s;
}

struct channel *sim_handle_take_channel(struct world *w, struct handle *h)
{
    struct source *s = take_source(w, h, HANDLE_CHANNEL);
    return s == NULL ? NULL : channel_of(s);
}

struct conn *sim_handle_take_conn(struct world *w, struct handle *h)
{
    struct source *s = take_source(w, h, HANDLE_CONN);
    return s == NULL ? NULL : container_of(s, struct conn, source);
}

struct listener *sim_handle_take_listener(struct world *w, struct handle *h)
{
    struct source *s = take_source(w, h, HANDLE_LISTENER);
    return s == NULL ? NULL : container_of(s, struct listener, source);
}

bool sim_handle_take_blob(struct world *w, struct handle *h, struct blob *out)
{
    if (h->kind != HANDLE_BLOB)
        return false;
    struct blob_data *b = h->blob;
    handle_free(h);
    list_push_back(&proc_of(w)->blobs, &b->link);
    *out = (struct blob){str_of(b->bytes, b->n), b};
    return true;
}

void sim_blob_free(struct blob *b)
{
    struct blob_data *d = b->owner;
    list_remove(&d->link);
    mem_free(d);
}

static void drop_object(struct handle *h)
{
    switch (h->kind) {
    case HANDLE_CHANNEL:
        channel_shut(channel_of(h->source));
        break;
    case HANDLE_CONN:
        conn_abandon(h->source);
        break;
    case HANDLE_LISTENER:
        listener_abandon(h->source);
        break;
    case HANDLE_BLOB:
        mem_free(h->blob);
        break;
    case HANDLE_NONE:
        break;
    }
}

void sim_handle_drop(struct handle *h)
{
    drop_object(h);
    handle_free(h);
}
