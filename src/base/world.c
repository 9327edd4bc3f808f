#include "base/world.h"

/* Every object begins with its table; see struct world_object. */
static const struct world_ops *ops_of(const void *object)
{
    const struct world_object *o = object;
    must(o != NULL && o->ops != NULL);
    return o->ops;
}

uint64_t world_now_ms(const struct world *w)
{
    return w->ops->now_ms(w);
}

int64_t world_wall_ms(const struct world *w)
{
    return w->ops->wall_ms(w);
}

void world_random(struct world *w, void *out, size_t n)
{
    w->ops->random(w, out, n);
}

uint64_t world_random_below(struct world *w, uint64_t bound)
{
    must(bound > 0);
    uint64_t reject = (0 - bound) % bound; /* without bias */
    uint64_t v;
    do {
        world_random(w, &v, sizeof v);
    } while (v < reject);
    return v % bound;
}

const struct log *world_log(const struct world *w)
{
    return w->log;
}

void world_timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    must(t->fire != NULL);
    w->ops->timer_set(w, t, due_ms);
}

void world_timer_cancel(struct world *w, struct timer *t)
{
    if (t->is_set)
        w->ops->timer_cancel(w, t);
}

void world_turn_end(struct world *w, struct turn_hook *h)
{
    w->ops->turn_end(w, h);
}

enum err world_channel_pair(struct world *w, struct channel **out_a, struct channel **out_b)
{
    return w->ops->channel_pair(w, out_a, out_b);
}

enum err channel_send(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    return ops_of(c)->channel_send(c, type, payload, give);
}

size_t channel_backlog(const struct channel *c)
{
    return ops_of(c)->channel_backlog(c);
}

void channel_set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    ops_of(c)->channel_set_user(c, user, arg);
}

void channel_pause(struct channel *c, bool paused)
{
    ops_of(c)->channel_pause(c, paused);
}

void channel_close(struct channel *c)
{
    ops_of(c)->channel_close(c);
}

struct handle *handle_of_channel(struct channel *c)
{
    return ops_of(c)->handle_of_channel(c);
}

struct handle *handle_of_conn(struct conn *c)
{
    return ops_of(c)->handle_of_conn(c);
}

struct handle *handle_of_listener(struct listener *l)
{
    return ops_of(l)->handle_of_listener(l);
}

struct handle *handle_of_blob(struct world *w, struct str bytes)
{
    return w->ops->handle_of_blob(w, bytes);
}

struct handle *handle_again(struct world *w, const struct handle *h)
{
    return w->ops->handle_again(w, h);
}

struct channel *handle_take_channel(struct world *w, struct handle *h)
{
    return h == NULL ? NULL : w->ops->handle_take_channel(w, h);
}

struct conn *handle_take_conn(struct world *w, struct handle *h)
{
    return h == NULL ? NULL : w->ops->handle_take_conn(w, h);
}

struct listener *handle_take_listener(struct world *w, struct handle *h)
{
    return h == NULL ? NULL : w->ops->handle_take_listener(w, h);
}

bool handle_take_blob(struct world *w, struct handle *h, struct blob *out)
{
    return h != NULL && w->ops->handle_take_blob(w, h, out);
}

void blob_free(struct blob *b)
{
    if (b->owner != NULL)
        ops_of(b->owner)->blob_free(b);
    *b = (struct blob){STR_NIL, NULL};
}

void handle_drop(struct handle *h)
{
    if (h != NULL)
        ops_of(h)->handle_drop(h);
}

void conn_set_user(struct conn *c, const struct conn_user *user, void *arg)
{
    ops_of(c)->conn_set_user(c, user, arg);
}

void conn_want(struct conn *c, unsigned mask)
{
    ops_of(c)->conn_want(c, mask);
}

enum err conn_read(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    return ops_of(c)->conn_read(c, out, cap, out_n);
}

enum err conn_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    return ops_of(c)->conn_write(c, pieces, n_pieces, out_n);
}

void conn_shutdown_write(struct conn *c)
{
    ops_of(c)->conn_shutdown_write(c);
}

void conn_close(struct conn *c)
{
    ops_of(c)->conn_close(c);
}

const struct netaddr *conn_peer(const struct conn *c)
{
    return ops_of(c)->conn_peer(c);
}

const struct netaddr *conn_local(const struct conn *c)
{
    return ops_of(c)->conn_local(c);
}

bool conn_peer_uid(const struct conn *c, uint32_t *out_uid)
{
    return ops_of(c)->conn_peer_uid(c, out_uid);
}

struct connecting *world_connect(struct world *w, const struct netaddr *to, const struct netaddr *from,
                                 uint64_t deadline_ms, void (*fn)(void *arg, enum err err, struct conn *c),
                                 void *arg)
{
    return w->ops->connect(w, to, from, deadline_ms, fn, arg);
}

void connecting_cancel(struct connecting *c)
{
    ops_of(c)->connecting_cancel(c);
}

enum err world_pipe(struct world *w, struct conn **out_read, struct conn **out_write)
{
    return w->ops->pipe(w, out_read, out_write);
}

enum err world_listen(struct world *w, const struct netaddr *at, unsigned mode, struct listener **out)
{
    return w->ops->listen(w, at, mode, out);
}

void listener_set_user(struct listener *l, const struct listener_user *user, void *arg)
{
    ops_of(l)->listener_set_user(l, user, arg);
}

void listener_close(struct listener *l)
{
    ops_of(l)->listener_close(l);
}

const struct netaddr *listener_addr(const struct listener *l)
{
    return ops_of(l)->listener_addr(l);
}

enum err world_disk(struct world *w, const char *root, struct disk **out)
{
    return w->ops->disk(w, root, out);
}

void disk_submit(struct disk *d, struct disk_op *op)
{
    must(op->done != NULL);
    ops_of(d)->disk_submit(d, op);
}

void disk_close(struct disk *d)
{
    ops_of(d)->disk_close(d);
}

enum err world_spawn(struct world *w, const struct spawn *s,
                     void (*on_exit)(void *arg, bool clean, struct str how), void *arg, struct channel **out,
                     struct child **out_child)
{
    return w->ops->spawn(w, s, on_exit, arg, out, out_child);
}

void child_kill(struct child *c, bool hard)
{
    ops_of(c)->child_kill(c, hard);
}

enum err world_program(struct world *w, const struct program_plan *plan,
                       void (*on_end)(void *arg, const struct program_end *end), void *arg,
                       struct conn **out_input, struct conn **out_output, struct program **out)
{
    return w->ops->program(w, plan, on_end, arg, out_input, out_output, out);
}

void program_kill(struct program *p, bool hard)
{
    ops_of(p)->program_kill(p, hard);
}

enum err world_workers(struct world *w, unsigned n, struct workers **out)
{
    must(n > 0);
    return w->ops->workers(w, n, out);
}

void workers_submit(struct workers *p, struct compute *k)
{
    ops_of(p)->workers_submit(p, k);
}

void workers_close(struct workers *p)
{
    ops_of(p)->workers_close(p);
}
