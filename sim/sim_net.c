/* sim/sim_net.c: bound addresses, and connecting to them. */
#include "sim/sim_impl.h"

#include "base/mem.h"

static struct listener *listener_of(struct source *s)
{
    return container_of(s, struct listener, source);
}

static struct connecting *connecting_of(struct source *s)
{
    return container_of(s, struct connecting, source);
}

/* ---- listening ---- */

static bool is_bound_to(const struct sim_socket *k, const struct netaddr *at)
{
    if (at->kind == NETADDR_UNIX)
        return netaddr_eq(&k->addr, at);
    return k->addr.kind == at->kind && k->addr.port == at->port &&
           (netaddr_is_any(&k->addr) || netaddr_same_ip(&k->addr, at));
}

static struct sim_socket *socket_find(const struct sim_host *h, const struct netaddr *at)
{
    list_each (l, &h->sockets) {
        struct sim_socket *k = list_entry(l, struct sim_socket, link);
        if (is_bound_to(k, at))
            return k;
    }
    return NULL;
}

static void socket_del(struct sim_socket *k)
{
    list_remove(&k->link);
    for (struct list *l = list_pop_front(&k->backlog); l != NULL; l = list_pop_front(&k->backlog))
        conn_abandon(&list_entry(l, struct conn, backlog)->source);
    mem_free(k);
}

static struct listener *listener_new(struct sim *sim, struct sim_proc *p, struct sim_socket *k)
{
    struct listener *l = sim_make(struct listener);
    source_init(&l->source, sim, p, SOURCE_LISTENER);
    l->socket = k;
    list_init(&l->of_socket);
    list_push_back(&k->listeners, &l->of_socket);
    k->n_refs++;
    return l;
}

enum err sim_listen(struct world *w, const struct netaddr *at, unsigned mode, struct listener **out)
{
    struct sim_proc *p = proc_of(w);
    UNUSED(mode);
    *out = NULL;
    if (at->kind != NETADDR_UNIX && !netaddr_is_any(at) && !netaddr_is_loopback(at) &&
        !netaddr_same_ip(at, &p->host->addr))
        return ERR_UNREACHABLE;
    if (socket_find(p->host, at) != NULL)
        return ERR_EXISTS;
    struct sim_socket *k = sim_make(struct sim_socket);
    *k = (struct sim_socket){.host = p->host, .addr = *at};
    list_init(&k->backlog);
    list_init(&k->listeners);
    list_init(&k->link);
    list_push_back(&p->host->sockets, &k->link);
    *out = listener_new(p->sim, p, k);
    return ERR_OK;
}

struct listener *sim_listener_copy(struct listener *l)
{
    return listener_new(l->source.sim, NULL, l->socket);
}

bool listener_is_ready(const struct source *s)
{
    const struct listener *l = (const struct listener *)(const void *)s;
    return l->user != NULL && !s->closed && !list_is_empty(&l->socket->backlog);
}

void listener_dispatch(struct source *s)
{
    struct listener *l = listener_of(s);
    uint64_t budget = 1 + sim_below(s->sim, SIM_ACCEPTS_A_TURN);
    for (; budget > 0 && listener_is_ready(s); budget--) {
        struct list *first = list_pop_front(&l->socket->backlog);
        must(first != NULL);
        struct conn *c = list_entry(first, struct conn, backlog);
        l->socket->n_backlog--;
        source_move(&c->source, s->proc);
        sim_trace(s->sim, 'a', s->id, c->source.id);
        l->user->on_accept(l->arg, l, c);
    }
}

void listener_abandon(struct source *s)
{
    struct listener *l = listener_of(s);
    list_remove(&l->of_socket);
    if (--l->socket->n_refs == 0)
        socket_del(l->socket);
    source_close(s);
}

void sim_listener_set_user(struct listener *l, const struct listener_user *user, void *arg)
{
    l->user = user;
    l->arg = arg;
    source_wake(&l->source);
}

void sim_listener_close(struct listener *l)
{
    listener_abandon(&l->source);
}

const struct netaddr *sim_listener_addr(const struct listener *l)
{
    return &l->socket->addr;
}

/* ---- connecting ---- */

static struct sim_host *host_at(const struct sim *s, struct sim_host *here, const struct netaddr *to)
{
    if (to->kind == NETADDR_UNIX || netaddr_is_loopback(to))
        return here;
    for (size_t i = 0; i < s->n_hosts; i++) {
        if (netaddr_same_ip(&s->hosts[i]->addr, to))
            return s->hosts[i];
    }
    return NULL;
}

static void known(struct connecting *k, enum err err)
{
    struct sim *s = k->source.sim;
    sim_event_cancel(s, &k->syn);
    sim_event_cancel(s, &k->deadline);
    k->is_known = true;
    k->err = err;
    sim_trace(s, 'c', k->source.id, (uint64_t)err);
    source_wake(&k->source);
}

static void on_answer(struct sim_event *e)
{
    struct connecting *k = container_of(e, struct connecting, syn);
    known(k, k->err);
}

static void again(struct connecting *k)
{
    struct sim *s = k->source.sim;
    uint64_t pause = SIM_S << (k->n_syns < 6 ? k->n_syns : 6);
    k->n_syns++;
    sim_event_set(s, &k->syn, s->now_us + pause);
}

/* The three ways of it: a listener takes it, nobody listens, or no answer at all. */
static void on_syn(struct sim_event *e)
{
    struct connecting *k = container_of(e, struct connecting, syn);
    struct sim *s = k->source.sim;
    struct sim_host *there = host_at(s, k->here, &k->to);
    if (there == NULL || !there->is_up || sim_is_blocked(s, k->here, there)) {
        again(k);
        return;
    }
    struct sim_socket *l = socket_find(there, &k->to);
    if (l != NULL && l->n_backlog >= SIM_BACKLOG_MAX) {
        again(k);
        return;
    }
    k->err = ERR_REFUSED;
    if (l != NULL) {
        struct conn *its = conn_new(s, NULL, there, k->here);
        k->err = ERR_OK;
        k->conn = conn_new(s, NULL, k->here, there);
        k->conn->remote = its->local = k->to;
        its->remote = k->conn->local = k->to.kind == NETADDR_UNIX ? k->to : k->here->addr;
        its->remote.port = k->conn->local.port = k->here->port_next++;
        if (k->here->port_next == 0)
            k->here->port_next = 32768;
        conn_join(k->conn, its);
        list_push_back(&l->backlog, &its->backlog);
        l->n_backlog++;
        s->counts.n_connects++;
        list_each (x, &l->listeners)
            source_wake(&list_entry(x, struct listener, of_socket)->source);
    }
    k->syn.fire = on_answer;
    sim_event_set(s, &k->syn, s->now_us + sim_latency_us(s, k->here, there));
}

static void on_deadline(struct sim_event *e)
{
    known(container_of(e, struct connecting, deadline), ERR_TIMEOUT);
}

struct connecting *sim_connect(struct world *w, const struct netaddr *to, const struct netaddr *from,
                               uint64_t deadline_ms, void (*fn)(void *arg, enum err err, struct conn *c),
                               void *arg)
{
    struct sim_proc *p = proc_of(w);
    struct sim *s = p->sim;
    must(to->kind != NETADDR_NONE);
    struct connecting *k = sim_make(struct connecting);
    source_init(&k->source, s, p, SOURCE_CONNECTING);
    k->here = p->host;
    k->to = *to;
    k->fn = fn;
    k->arg = arg;
    k->syn.fire = on_syn;
    k->deadline.fire = on_deadline;
    bool is_ours = from == NULL || from->kind == NETADDR_NONE || netaddr_same_ip(from, &p->host->addr);
    if (!is_ours || to->kind == NETADDR_IP6) {
        known(k, ERR_UNREACHABLE);
        return k;
    }
    struct sim_host *there = host_at(s, p->host, to);
    sim_event_set(s, &k->syn, s->now_us + sim_latency_us(s, p->host, there == NULL ? p->host : there));
    sim_event_set(s, &k->deadline, sim_host_mono_us(p->host, deadline_ms));
    return k;
}

bool connecting_is_ready(const struct source *s)
{
    const struct connecting *k = (const struct connecting *)(const void *)s;
    return k->is_known;
}

static void shut(struct connecting *k)
{
    sim_event_cancel(k->source.sim, &k->syn);
    sim_event_cancel(k->source.sim, &k->deadline);
    source_close(&k->source);
}

void connecting_dispatch(struct source *s)
{
    struct connecting *k = connecting_of(s);
    struct conn *c = k->conn;
    shut(k);
    if (c != NULL && k->err != ERR_OK) {
        conn_abandon(&c->source);
        c = NULL;
    } else if (c != NULL) {
        source_move(&c->source, s->proc);
    }
    k->fn(k->arg, k->err, c);
}

void connecting_abandon(struct source *s)
{
    struct connecting *k = connecting_of(s);
    if (k->conn != NULL)
        conn_abandon(&k->conn->source);
    shut(k);
}

void sim_connecting_cancel(struct connecting *k)
{
    connecting_abandon(&k->source);
}
