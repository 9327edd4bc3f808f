/* sim/sim_conn.c: byte streams: connections and pipes.
 *
 * What is written goes into the ring of the other end at once and may be read there when its segment has
 * arrived. A segment waits while its two hosts can't reach each other; after SIM_TCP_TIMEOUT_US the sender
 * gives up. */
#include "sim/sim_impl.h"

#include "base/crc32c.h"
#include "base/mem.h"

#include <string.h>

static struct conn *conn_of(struct source *s)
{
    return container_of(s, struct conn, source);
}

/* ---- the way ---- */

uint64_t sim_latency_us(struct sim *s, const struct sim_host *a, const struct sim_host *b)
{
    if (a == b)
        return 5 + sim_below(s, 50);
    uint64_t us = s->plan.latency_us / 2 + sim_below(s, (uint64_t)s->plan.latency_us + 1);
    if (sim_chance(s, s->plan.loss_ppm))
        us += 200 * SIM_MS + sim_below(s, 2800 * SIM_MS);
    return us;
}

bool sim_is_blocked(const struct sim *s, const struct sim_host *a, const struct sim_host *b)
{
    return s->blocked[a->index][b->index];
}

static void fail(struct conn *c, enum err err)
{
    if (c->err == ERR_OK)
        c->err = err;
    source_wake(&c->source);
}

static void drop_segs(struct stream *in)
{
    for (struct list *l = list_pop_front(&in->segs); l != NULL; l = list_pop_front(&in->segs))
        mem_free(list_entry(l, struct seg, link));
    in->n = in->n_arrived;
}

/* The connection breaks for both, and what was under way is lost. */
static void break_both(struct conn *c)
{
    c->source.sim->counts.n_resets++;
    sim_trace(c->source.sim, 'r', c->source.id, 0);
    drop_segs(&c->in);
    fail(c, ERR_RESET);
    if (c->peer == NULL)
        return;
    drop_segs(&c->peer->in);
    fail(c->peer, ERR_RESET);
    c->peer->peer = NULL;
    c->peer = NULL;
}

static void plan_segment(struct conn *c)
{
    struct stream *in = &c->in;
    if (!list_is_empty(&in->segs) && !in->event.is_set)
        sim_event_set(c->source.sim, &in->event, list_entry(in->segs.next, struct seg, link)->arrive_us);
}

/* true: nothing arrives now. */
static bool is_held_up(struct conn *c)
{
    struct sim *s = c->source.sim;
    struct stream *in = &c->in;
    if (!sim_is_blocked(s, c->here, c->there)) {
        in->stalled_us = 0;
        return false;
    }
    if (in->stalled_us == 0)
        in->stalled_us = s->now_us;
    if (s->now_us - in->stalled_us < SIM_TCP_TIMEOUT_US) {
        sim_event_set(s, &in->event, s->now_us + 200 * SIM_MS + sim_below(s, 3 * SIM_S));
        return true;
    }
    drop_segs(in);
    if (c->peer != NULL) {
        fail(c->peer, ERR_TIMEOUT);
        c->peer->peer = NULL; /* this end hears of nothing */
        c->peer = NULL;
    }
    return true;
}

static void on_segment(struct sim_event *e)
{
    struct conn *c = container_of(e, struct conn, in.event);
    struct stream *in = &c->in;
    struct sim *s = c->source.sim;
    if (is_held_up(c))
        return;
    struct list *l = list_pop_front(&in->segs);
    must(l != NULL);
    struct seg *g = list_entry(l, struct seg, link);
    struct seg seg = *g;
    mem_free(g);
    s->counts.n_segments++;
    sim_trace(s, 's', c->source.id, seg.n);
    if (seg.n > 0 && c->here != c->there && sim_chance(s, s->plan.reset_ppm)) {
        in->n_arrived += seg.n;
        break_both(c);
        return;
    }
    in->n_arrived += seg.n;
    in->has_eof = in->has_eof || seg.is_eof;
    if (seg.is_reset)
        fail(c, ERR_RESET);
    source_wake(&c->source);
    plan_segment(c);
}

static void send_seg(struct conn *from, struct conn *to, struct seg what)
{
    struct sim *s = to->source.sim;
    uint64_t at = s->now_us + sim_latency_us(s, from->here, to->here);
    struct seg *g = sim_make(struct seg);
    *g = what;
    g->arrive_us = at > to->in.last_us ? at : to->in.last_us + 1;
    to->in.last_us = g->arrive_us;
    list_init(&g->link);
    list_push_back(&to->in.segs, &g->link);
    plan_segment(to);
}

/* What went to a host where nobody has this connection any more is answered with a reset, if it arrives. */
static void on_broken(struct sim_event *e)
{
    struct conn *c = container_of(e, struct conn, broken);
    struct sim *s = c->source.sim;
    if (c->broken_since_us == 0)
        c->broken_since_us = s->now_us;
    bool reaches = c->there->is_up && !sim_is_blocked(s, c->here, c->there);
    bool gives_up = s->now_us - c->broken_since_us >= SIM_TCP_TIMEOUT_US;
    if (reaches || gives_up)
        fail(c, reaches ? ERR_RESET : ERR_TIMEOUT);
    else
        sim_event_set(s, e, s->now_us + SIM_S + sim_below(s, 10 * SIM_S));
}

/* ---- birth and death ---- */

struct conn *conn_new(struct sim *sim, struct sim_proc *p, struct sim_host *here, struct sim_host *there)
{
    struct conn *c = sim_make(struct conn);
    source_init(&c->source, sim, p, SOURCE_CONN);
    c->here = here;
    c->there = there;
    list_init(&c->in.segs);
    list_init(&c->backlog);
    c->in.event.fire = on_segment;
    c->broken.fire = on_broken;
    return c;
}

void conn_join(struct conn *a, struct conn *b)
{
    a->peer = b;
    b->peer = a;
}

void conn_free(struct source *s)
{
    struct conn *c = conn_of(s);
    drop_segs(&c->in);
    mem_free(c->in.ring);
    mem_free(c->tls);
    mem_free(c);
}

static void say_goodbye(struct conn *c)
{
    struct conn *peer = c->peer;
    struct sim *s = c->source.sim;
    c->peer = NULL;
    if (peer == NULL)
        return;
    peer->peer = NULL;
    if (c->here->is_cutting &&
        c->there != c->here) { /* nobody says anything; who sent something asks again */
        if (c->in.n > 0)
            sim_event_set(s, &peer->broken, s->now_us + SIM_S);
        return;
    }
    if (peer->is_pipe && peer->in.ring == NULL && peer->is_shut) {
        fail(peer, ERR_RESET); /* the writer of a pipe without reader */
        return;
    }
    bool unread = !c->is_pipe && c->in.n > 0;
    if (unread && rng_next(&s->rng) % 2 == 0)
        drop_segs(&peer->in); /* a reset overtakes what was sent before it */
    send_seg(c, peer, (struct seg){.is_eof = !unread, .is_reset = unread});
}

void conn_abandon(struct source *s)
{
    struct conn *c = conn_of(s);
    sim_tls_abandon(c);
    say_goodbye(c);
    sim_event_cancel(s->sim, &c->in.event);
    sim_event_cancel(s->sim, &c->broken);
    list_remove(&c->backlog);
    source_close(s);
}

void sim_conn_close(struct conn *c)
{
    conn_abandon(&c->source);
}

enum err sim_pipe(struct world *w, struct conn **out_read, struct conn **out_write)
{
    struct sim_proc *p = proc_of(w);
    struct conn *r = conn_new(p->sim, p, p->host, p->host), *x = conn_new(p->sim, p, p->host, p->host);
    r->is_pipe = x->is_pipe = true;
    r->in.ring = sim_alloc(SIM_STREAM_CAP);
    x->is_shut = true; /* here: it is the writing end, nothing is read from it */
    conn_join(r, x);
    *out_read = r;
    *out_write = x;
    return ERR_OK;
}

/* ---- use ---- */

static bool is_readable(const struct conn *c)
{
    return c->in.n_arrived > 0 || c->in.has_eof || c->err != ERR_OK;
}

static size_t room(const struct conn *c)
{
    return SIM_STREAM_CAP - (c->peer != NULL ? c->peer->in.n : c->n_void);
}

bool conn_is_ready(const struct source *s)
{
    const struct conn *c = (const struct conn *)(const void *)s;
    bool writable = c->err != ERR_OK || room(c) > 0;
    if (!s->closed && sim_tls_is_shaking(c))
        return sim_tls_is_ready(c, is_readable(c), writable);
    if (c->user == NULL || s->closed)
        return false;
    return ((c->want & CONN_READABLE) != 0 && is_readable(c)) || ((c->want & CONN_WRITABLE) != 0 && writable);
}

void conn_dispatch(struct source *s)
{
    struct conn *c = conn_of(s);
    if (sim_tls_is_shaking(c)) {
        sim_tls_step(c);
        return;
    }
    unsigned ready = is_readable(c) ? CONN_READABLE : 0;
    if (c->err != ERR_OK || room(c) > 0)
        ready |= CONN_WRITABLE;
    c->user->on_ready(c->arg, c, ready & c->want);
}

void sim_conn_set_user(struct conn *c, const struct conn_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
    source_wake(&c->source);
}

void sim_conn_want(struct conn *c, unsigned mask)
{
    c->want = mask;
    source_wake(&c->source);
}

static void ring_put(struct stream *in, const char *p, size_t n)
{
    if (in->ring == NULL)
        in->ring = sim_alloc(SIM_STREAM_CAP);
    while (n > 0) {
        size_t at = (in->head + in->n) % SIM_STREAM_CAP;
        size_t len = n < SIM_STREAM_CAP - at ? n : SIM_STREAM_CAP - at;
        memcpy(in->ring + at, p, len);
        in->n += len;
        p += len;
        n -= len;
    }
}

static void ring_take(struct stream *in, char *out, size_t n)
{
    for (size_t done = 0; done < n;) {
        size_t len = n - done < SIM_STREAM_CAP - in->head ? n - done : SIM_STREAM_CAP - in->head;
        memcpy(out + done, in->ring + in->head, len);
        in->head = (in->head + len) % SIM_STREAM_CAP;
        done += len;
    }
    in->n -= n;
    in->n_arrived -= n;
}

/* Sometimes less than all. */
static size_t shorten(struct sim *s, size_t n)
{
    return n > 1 && sim_chance(s, s->plan.split_ppm) ? 1 + (size_t)sim_below(s, n - 1) : n;
}

enum err sim_raw_read(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    struct sim *s = c->source.sim;
    *out_n = 0;
    if (c->in.n_arrived == 0)
        return c->err != ERR_OK ? c->err : c->in.has_eof ? ERR_CLOSED : ERR_AGAIN;
    size_t n = c->in.n_arrived < cap ? c->in.n_arrived : cap;
    n = shorten(s, n);
    ring_take(&c->in, out, n);
    sim_trace(s, 'R', c->source.id, crc32c(0, out, n));
    *out_n = n;
    if (c->peer != NULL)
        source_wake(&c->peer->source);
    return ERR_OK;
}

static enum err write_to_nobody(struct conn *c, size_t total, size_t *out_n)
{
    struct sim *s = c->source.sim;
    if (room(c) == 0)
        return ERR_AGAIN;
    *out_n = total < room(c) ? total : room(c);
    c->n_void += *out_n;
    if (!c->broken.is_set)
        sim_event_set(s, &c->broken, s->now_us + 2 * sim_latency_us(s, c->here, c->there));
    return ERR_OK;
}

enum err sim_raw_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    struct sim *s = c->source.sim;
    size_t total = 0, done = 0;
    *out_n = 0;
    for (size_t i = 0; i < n_pieces; i++)
        total += pieces[i].n;
    must(total > 0);
    if (c->err != ERR_OK)
        return c->err;
    if (c->is_shut && !c->is_pipe)
        return ERR_RESET;
    if (c->peer == NULL)
        return write_to_nobody(c, total, out_n);
    size_t n = total < room(c) ? total : room(c);
    if (n == 0)
        return ERR_AGAIN;
    n = shorten(s, n);
    for (size_t i = 0; i < n_pieces && done < n; i++) {
        size_t len = pieces[i].n < n - done ? pieces[i].n : n - done;
        ring_put(&c->peer->in, pieces[i].p, len);
        done += len;
    }
    size_t first = shorten(s, n);
    send_seg(c, c->peer, (struct seg){.n = first});
    if (first < n)
        send_seg(c, c->peer, (struct seg){.n = n - first});
    *out_n = n;
    return ERR_OK;
}

enum err sim_conn_read(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    enum err end = sim_tls_end(c);
    *out_n = 0;
    return end == ERR_OK ? sim_raw_read(c, out, cap, out_n) : end;
}

enum err sim_conn_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    enum err end = sim_tls_end(c);
    *out_n = 0;
    return end == ERR_OK ? sim_raw_write(c, pieces, n_pieces, out_n) : end == ERR_AGAIN ? end : ERR_RESET;
}

void sim_conn_shutdown_write(struct conn *c)
{
    if (c->is_shut || c->is_pipe)
        return;
    c->is_shut = true;
    if (c->peer != NULL)
        send_seg(c, c->peer, (struct seg){.is_eof = true});
}

const struct netaddr *sim_conn_peer(const struct conn *c)
{
    return &c->remote;
}

const struct netaddr *sim_conn_local(const struct conn *c)
{
    return &c->local;
}

/* One user runs everything on a host. */
bool sim_conn_peer_uid(const struct conn *c, uint32_t *out_uid)
{
    *out_uid = 1000;
    return c->local.kind == NETADDR_UNIX;
}
