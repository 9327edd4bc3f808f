/* service/agent/agent.c: the agent role: its channels and its life. What it knows and does is sts.c and
 * rpt.c.
 *
 * Owns:     answers that wait for queue's room.
 * Limits:   while queue has no room for answers nothing is read from it.
 * Errors:   without its folder it works on, and forgets with its end what it has fetched
 * and counted.
 * Security: the one role that speaks HTTPS with strangers. It sees names of domains and no mail, holds no
 * key, and opens no file but its own.
 */
#include "service/agent/rpt.h"

#include "base/mem.h"

#include <string.h>

enum { COUNT_EVERY_MS = 1000 };

/* ---- to queue -------------------------------------------------------------------------------- */

struct unsent {
    struct list link;
    size_t n;
    char bytes[];
};

void agent_answer(struct agent *a, const struct ipc_sts_answer *m)
{
    struct buf b;
    if (a->queue == NULL)
        return;
    a->count.answered++;
    buf_init(&b, IPC_FRAME_MAX);
    bool ok = ipc_encode_sts_answer(m, &b);
    if (ok && list_is_empty(&a->unsent) &&
        channel_send(a->queue, IPC_STS_ANSWER, buf_str(&b), NULL) != ERR_AGAIN) {
        buf_fini(&b); /* sent, or closed: on_closed comes */
        return;
    }
    struct unsent *u = ok ? mem_alloc(sizeof *u + b.n) : NULL;
    if (u == NULL) { /* the asker must not wait for ever: it asks the next one of us */
        log_error(world_log(a->world), "agent.answer_lost", LERR(ERR_NOMEM));
    } else {
        u->n = b.n;
        memcpy(u->bytes, b.p, b.n);
        list_init(&u->link);
        list_push_back(&a->unsent, &u->link);
        channel_pause(a->queue, true);
    }
    buf_fini(&b);
}

static void forget_unsent(struct agent *a)
{
    for (struct list *l = list_pop_front(&a->unsent); l != NULL; l = list_pop_front(&a->unsent))
        mem_free(list_entry(l, struct unsent, link));
}

void agent_look_drained(struct agent *a)
{
    if (!a->is_draining || a->is_drained || !list_is_empty(&a->unsent) || !sts_store_is_idle(a) ||
        !rpt_is_idle(a))
        return;
    a->is_drained = true;
    role_drained(a->env);
}

static void on_queue_room(void *arg, struct channel *c)
{
    struct agent *a = arg;
    list_each (l, &a->unsent) {
        struct unsent *u = list_entry(l, struct unsent, link);
        if (channel_send(c, IPC_STS_ANSWER, str_of(u->bytes, u->n), NULL) == ERR_AGAIN)
            return;
        list_remove(&u->link);
        mem_free(u);
    }
    channel_pause(c, false);
    agent_look_drained(a);
}

static void queue_gone(struct agent *a)
{
    a->queue = NULL;
    forget_unsent(a);
    sts_queue_gone(a);
    rpt_queue_gone(a);
}

static void on_queue_closed(void *arg, struct channel *c)
{
    struct agent *a = arg;
    queue_gone(a);
    role_peer_closed(a->env, c);
    agent_look_drained(a);
}

static bool from_queue(struct agent *a, uint16_t type, struct str payload)
{
    struct ipc_sts_ask ask;
    struct ipc_id_grant grant;
    struct ipc_put_done done;
    if (type == IPC_STS_ASK && ipc_decode_sts_ask(payload, &ask))
        sts_ask(a, ask.token, ask.domain);
    else if (type == IPC_ID_GRANT && ipc_decode_id_grant(payload, &grant))
        rpt_on_grant(a, &grant);
    else if (type == IPC_PUT_DONE && ipc_decode_put_done(payload, &done))
        rpt_on_put_done(a, &done);
    else
        return false;
    return true;
}

static void on_queue_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct agent *a = arg;
    UNUSED(given);
    if (!role_message_allowed(a->env, ROLE_QUEUE, c, type)) {
        queue_gone(a);
    } else if (!from_queue(a, type, payload)) {
        queue_gone(a);
        role_message_malformed(a->env, ROLE_QUEUE, c, type);
    }
}

/* ---- lookup ---------------------------------------------------------------------------------- */

static void lookup_gone(struct agent *a)
{
    a->lookup = NULL;
    sts_lookup_gone(a);
    rpt_lookup_gone(a);
}

/* An answer that nobody waits for any more is no fault. */
static bool from_lookup(struct agent *a, uint16_t type, struct str payload)
{
    struct ipc_rr_answer rr;
    struct ipc_host_answer host;
    if (type == IPC_RR_ANSWER && ipc_decode_rr_answer(payload, &rr)) {
        if (!sts_on_rr(a, &rr))
            rpt_on_rr(a, &rr);
    } else if (type == IPC_HOST_ANSWER && ipc_decode_host_answer(payload, &host)) {
        if (!sts_on_host(a, &host))
            rpt_on_host(a, &host);
    } else {
        return false;
    }
    return true;
}

static void on_lookup_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                              struct handle *given)
{
    struct agent *a = arg;
    UNUSED(given);
    if (!role_message_allowed(a->env, ROLE_LOOKUP, c, type)) {
        lookup_gone(a);
    } else if (!from_lookup(a, type, payload)) {
        role_message_malformed(a->env, ROLE_LOOKUP, c, type);
        lookup_gone(a);
    }
}

static void on_lookup_closed(void *arg, struct channel *c)
{
    struct agent *a = arg;
    role_peer_closed(a->env, c);
    lookup_gone(a);
}

/* ---- relay ----------------------------------------------------------------------------------- */

static void on_relay_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct agent *a = arg;
    struct ipc_tls_session m;
    UNUSED(given);
    if (role_message_allowed(a->env, ROLE_RELAY, c, type) &&
        !(ipc_decode_tls_session(payload, &m) && rpt_session(a, &m)))
        role_message_malformed(a->env, ROLE_RELAY, c, type);
}

static void on_relay_closed(void *arg, struct channel *c)
{
    struct agent *a = arg;
    role_peer_closed(a->env, c);
}

/* ---- admin ----------------------------------------------------------------------------------- */

static void on_admin_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct agent *a = arg;
    UNUSED(payload);
    UNUSED(given);
    if (role_message_allowed(a->env, ROLE_ADMIN, c, type))
        role_message_malformed(a->env, ROLE_ADMIN, c, type);
}

static void on_admin_closed(void *arg, struct channel *c)
{
    struct agent *a = arg;
    role_peer_closed(a->env, c);
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static const struct channel_user queue_user = {on_queue_message, on_queue_room, on_queue_closed};
static const struct channel_user lookup_user = {on_lookup_message, on_room, on_lookup_closed};
static const struct channel_user relay_user = {on_relay_message, on_room, on_relay_closed};
static const struct channel_user admin_user = {on_admin_message, on_room, on_admin_closed};

static void agent_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct agent *a = self;
    UNUSED(index);
    if (who == ROLE_QUEUE) {
        a->queue = c;
        channel_set_user(c, &queue_user, a);
    } else if (who == ROLE_LOOKUP) {
        a->lookup = c;
        channel_set_user(c, &lookup_user, a);
    } else if (who == ROLE_RELAY) {
        channel_set_user(c, &relay_user, a);
    } else if (who == ROLE_ADMIN) {
        channel_set_user(c, &admin_user, a);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void count(struct buf *b, const char *name, uint64_t value)
{
    buf_put_lstr(b, str_from_c(name));
    buf_put_u64(b, value);
}

static void on_count(struct timer *t)
{
    struct agent *a = container_of(t, struct agent, count_timer);
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    count(&b, "mta_sts_policies", a->n_kept);
    count(&b, "mta_sts_asked", a->count.asked);
    count(&b, "mta_sts_fetched", a->count.fetched);
    count(&b, "mta_sts_not_fetched", a->count.failed);
    count(&b, "tls_sessions", a->rpt->count.sessions);
    count(&b, "tls_reports_sent", a->rpt->count.sent);
    count(&b, "tls_reports_failed", a->rpt->count.failed);
    struct ipc_counters m = {.pairs = buf_str(&b)};
    struct channel *admin = a->env->peers[ROLE_ADMIN][0];
    if (admin != NULL && channel_backlog(admin) < IPC_QUEUE_MAX / 2 &&
        ipc_send_counters(admin, &m, NULL) != ERR_OK)
        a->env->n_events_dropped++;
    world_timer_set(a->world, t, world_now_ms(a->world) + COUNT_EVERY_MS);
}

static void on_drain_deadline(struct timer *t)
{
    struct agent *a = container_of(t, struct agent, drain_timer);
    if (!a->is_drained)
        role_drained(a->env);
    a->is_drained = true;
}

/* What was remembered is there: now it may be asked for. */
static void ready(struct agent *a)
{
    struct role_env *env = a->env;
    a->is_ready = true;
    for (size_t r = 0; r < ROLE_N; r++) {
        for (unsigned i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (env->peers[r][i] != NULL)
                agent_peer(a, (enum role)r, i, env->peers[r][i]);
        }
    }
    role_ready(env);
    agent_look_drained(a);
}

static void rpt_open(struct agent *a)
{
    if (rpt_store_open(a, ready))
        return;
    log_error(world_log(a->world), "tlsrpt.not_restored", LERR(ERR_NOMEM));
    ready(a);
}

static void open_stores(struct agent *a)
{
    const char *root = a->env->root;
    enum err e = root == NULL ? ERR_NOTFOUND : world_disk(a->world, root, &a->disk);
    if (e == ERR_OK && sts_store_open(a, rpt_open))
        return;
    if (root != NULL)
        log_error(world_log(a->world), "mta_sts.not_restored", LC("folder", root),
                  LERR(e == ERR_OK ? ERR_NOMEM : e));
    if (a->disk != NULL)
        rpt_open(a);
    else
        ready(a);
}

static void *agent_create(struct role_env *env)
{
    struct agent *a = mem_must_new(struct agent);
    must(env->ext != NULL);
    a->env = env;
    a->world = env->world;
    a->http = env->ext;
    a->http->trust(a->http->self, env->config->authorities);
    list_init(&a->unsent);
    a->count_timer.fire = on_count;
    a->drain_timer.fire = on_drain_deadline;
    must(sts_init(a) && rpt_init(a));
    world_timer_set(a->world, &a->count_timer, world_now_ms(a->world) + COUNT_EVERY_MS);
    open_stores(a);
    return a;
}

/* Before what was remembered is there they are left alone; ready() takes them. */
static void agent_peer_later(void *self, enum role who, unsigned index, struct channel *c)
{
    struct agent *a = self;
    if (a->is_ready)
        agent_peer(a, who, index, c);
}

static void agent_reload(void *self, const struct config *old)
{
    struct agent *a = self;
    a->http->trust(a->http->self, a->env->config->authorities);
    role_config_release(a->env, old);
}

static void agent_drain(void *self, uint64_t deadline_ms)
{
    struct agent *a = self;
    a->is_draining = true;
    world_timer_set(a->world, &a->drain_timer, deadline_ms);
    rpt_drain(a);
    agent_look_drained(a);
}

/* The HTTP client must not answer any more. */
static void agent_del(void *self)
{
    struct agent *a = self;
    sts_store_close(a);
    rpt_store_close(a);
    if (a->disk != NULL)
        disk_close(a->disk);
    rpt_fini(a);
    sts_fini(a);
    forget_unsent(a);
    world_timer_cancel(a->world, &a->count_timer);
    world_timer_cancel(a->world, &a->drain_timer);
    mem_free(a);
}

const struct role_ops agent_role = {.create = agent_create,
                                    .peer = agent_peer_later,
                                    .reload = agent_reload,
                                    .drain = agent_drain,
                                    .del = agent_del};
