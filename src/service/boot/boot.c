/* service/boot/boot.c: a role's talk with its supervisor.
 *
 * States: WAITING (collecting configuration, peers, listeners) -> STARTED (create() was called, sandboxed) ->
 * READY (told the supervisor) -> DRAINING. A closed supervisor channel ends the process in any state: nobody
 * would restart us.
 */
#include "service/boot/role.h"

#include "base/mem.h"

#include <string.h>

enum boot_state { BOOT_WAITING = 0, BOOT_STARTED, BOOT_READY, BOOT_DRAINING };

struct generation { /* one configuration, decoded from its blob */
    struct list link;
    struct blob blob;
    struct chunk_pool pool;
    struct arena arena;
    const struct config *config;
};
struct pending_peer { /* came before the old channel's end was noticed */
    struct list link;
    enum role role;
    unsigned index;
    struct channel *channel;
};

enum { CONFIG_CHUNK = 64 * 1024, CONFIG_CHUNKS_MAX = 8192, PEERS_PENDING_MAX = 256 };

struct boot {
    struct role_env env;
    const struct role_ops *ops;
    struct boot_hooks hooks;
    struct channel *super;
    void *self;
    enum boot_state state;
    bool said_ready;
    bool has_failed;
    uint64_t n_dropped_told;
    struct list generations;
    struct list pending;
    size_t n_pending;
    struct turn_hook turn;
};

static void set_state(struct boot *b, enum boot_state to)
{
    static const bool allowed[4][4] = {
        [BOOT_WAITING] = {[BOOT_STARTED] = true},
        [BOOT_STARTED] = {[BOOT_READY] = true, [BOOT_DRAINING] = true},
        [BOOT_READY] = {[BOOT_DRAINING] = true},
    };
    must(allowed[b->state][to]);
    b->state = to;
}

static void leave(struct boot *b, int status)
{
    b->hooks.exit(b->hooks.arg, status);
}

static void generation_del(struct generation *g)
{
    list_remove(&g->link);
    arena_reset(&g->arena);
    chunk_pool_fini(&g->pool);
    blob_free(&g->blob);
    mem_free(g);
}

static struct generation *generation_new(struct boot *b, struct handle *given)
{
    struct generation *g = mem_new(struct generation);
    if (g == NULL)
        return NULL;
    list_init(&g->link);
    chunk_pool_init(&g->pool, CONFIG_CHUNK, CONFIG_CHUNKS_MAX);
    arena_init(&g->arena, &g->pool, (size_t)CONFIG_CHUNK * CONFIG_CHUNKS_MAX);
    if (handle_take_blob(b->env.world, given, &g->blob))
        g->config = config_decode(g->blob.bytes, &g->arena);
    if (g->config == NULL) {
        generation_del(g);
        return NULL;
    }
    list_push_back(&b->generations, &g->link);
    return g;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    list_each (l, &env->boot->generations) {
        struct generation *g = list_entry(l, struct generation, link);
        if (g->config == old && old != env->config)
            generation_del(g);
    }
}

static void on_config(struct boot *b, struct handle *given)
{
    const struct config *old = b->env.config;
    struct generation *g = generation_new(b, given);
    if (g == NULL) {
        log_error(b->env.world->log, "config.undecodable", LC("role", role_name(b->env.role)));
        if (old == NULL)
            role_fail(&b->env, STR("the configuration could not be decoded"));
        return;
    }
    b->env.config = g->config;
    if (b->hooks.configured != NULL)
        b->hooks.configured(b->hooks.arg, g->config);
    if (b->state == BOOT_WAITING) {
        if (old != NULL)
            role_config_release(&b->env, old);
    } else if (old != NULL) {
        b->ops->reload(b->self, old);
    }
}

static void install_peer(struct boot *b, enum role role, unsigned index, struct channel *c)
{
    b->env.peers[role][index] = c;
    if (b->state != BOOT_WAITING)
        b->ops->peer(b->self, role, index, c);
}

static void on_peer(struct boot *b, struct str payload, struct handle *given)
{
    struct ipc_sup_peer m;
    struct channel *c = handle_take_channel(b->env.world, given);
    if (c == NULL)
        return;
    if (!ipc_decode_sup_peer(payload, &m) || m.role >= ROLE_N || m.index >= ROLE_SMTPD_MAX ||
        !ipc_has_edge(b->env.role, (enum role)m.role) || b->n_pending >= PEERS_PENDING_MAX) {
        channel_close(c);
        return;
    }
    if (b->env.peers[m.role][m.index] == NULL) {
        install_peer(b, (enum role)m.role, m.index, c);
        return;
    }
    /* The old channel's end has not been seen yet. It will be: its other side is dead. */
    struct pending_peer *p = mem_new(struct pending_peer);
    if (p == NULL) {
        channel_close(c);
        return;
    }
    *p = (struct pending_peer){.role = (enum role)m.role, .index = m.index, .channel = c};
    list_push_back(&b->pending, &p->link);
    b->n_pending++;
}

/* At the end of a turn, so that no role is called back from within its own role_peer_closed(). */
static void install_pending(struct boot *b)
{
    list_each (l, &b->pending) {
        struct pending_peer *p = list_entry(l, struct pending_peer, link);
        if (b->env.peers[p->role][p->index] != NULL)
            continue;
        list_remove(&p->link);
        b->n_pending--;
        install_peer(b, p->role, p->index, p->channel);
        mem_free(p);
    }
}

void role_peer_closed(struct role_env *env, struct channel *c)
{
    for (size_t r = 0; r < ROLE_N; r++) {
        for (size_t i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (env->peers[r][i] == c)
                env->peers[r][i] = NULL;
        }
    }
    channel_close(c);
}

bool role_message_allowed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    if (ipc_may_send(from, env->role, type))
        return true;
    log_error(env->world->log, "ipc.forbidden", LC("from", role_name(from)), LC("type", ipc_type_name(type)));
    role_peer_closed(env, c);
    return false;
}

void role_message_malformed(struct role_env *env, enum role from, struct channel *c, uint16_t type)
{
    log_error(env->world->log, "ipc.malformed", LC("from", role_name(from)), LC("type", ipc_type_name(type)));
    role_peer_closed(env, c);
}

static void enter_sandbox(struct boot *b)
{
    char mem[512];
    struct buf report;
    buf_init_fixed(&report, mem, sizeof mem);
    if (b->hooks.enter_sandbox != NULL && !b->hooks.enter_sandbox(b->hooks.arg, &b->env, &report)) {
        role_fail(&b->env, buf_str(&report));
        return;
    }
    set_state(b, BOOT_STARTED);
}

static void say_ready(struct boot *b)
{
    set_state(b, BOOT_READY);
    struct ipc_sup_ready m = {.generation = b->env.config->generation, .sandbox = STR_NIL};
    mem_trim();
    if (ipc_send_sup_ready(b->super, &m, NULL) != ERR_OK)
        leave(b, 1);
}

static void on_start(struct boot *b)
{
    if (b->env.config == NULL) {
        role_fail(&b->env, STR("started without a configuration"));
        return;
    }
    b->self = b->ops->create(&b->env);
    if (b->self == NULL || b->has_failed)
        return;
    enter_sandbox(b);
    if (b->state == BOOT_STARTED && b->said_ready)
        say_ready(b);
}

static void on_listener(struct boot *b, struct str payload, struct handle *given)
{
    struct ipc_sup_listener m;
    struct listener *l = handle_take_listener(b->env.world, given);
    if (l == NULL)
        return;
    if (!ipc_decode_sup_listener(payload, &m) || m.listener >= CONFIG_LISTENERS_MAX) {
        listener_close(l);
        return;
    }
    if (b->env.listeners[m.listener] != NULL)
        listener_close(b->env.listeners[m.listener]);
    b->env.listeners[m.listener] = l;
    if (m.listener >= b->env.n_listeners)
        b->env.n_listeners = (size_t)m.listener + 1;
}

/* ---- certificates ---------------- */

static bool certificates_reserve(struct boot *b, size_t n)
{
    if (n <= b->env.n_certificates)
        return true;
    struct role_certificate *more = mem_grow(b->env.certificates, n * sizeof *more);
    if (more == NULL)
        return false;
    for (size_t i = b->env.n_certificates; i < n; i++)
        more[i] = (struct role_certificate){.is_there = false};
    b->env.certificates = more;
    b->env.n_certificates = n;
    return true;
}

/* One block holds both texts, the name first. */
static bool certificate_take(struct role_certificate *c, const struct ipc_sup_cert *m, struct str chain)
{
    char *texts = mem_alloc(m->name.n + chain.n + 1);
    if (texts == NULL)
        return false;
    if (m->name.n > 0)
        memcpy(texts, m->name.p, m->name.n);
    if (chain.n > 0)
        memcpy(texts + m->name.n, chain.p, chain.n);
    mem_free(c->mem);
    *c = (struct role_certificate){.is_there = chain.n > 0, /* empty: it is gone */
                                   .key = m->key,
                                   .uses = m->uses,
                                   .mem = texts,
                                   .name = str_of(texts, m->name.n),
                                   .chain = str_of(texts + m->name.n, chain.n)};
    return true;
}

static void on_certificate(struct boot *b, struct str payload, struct handle *given)
{
    struct ipc_sup_cert m;
    struct blob chain = {STR_NIL, NULL};
    if (!ipc_decode_sup_cert(payload, &m) || m.certificate >= CONFIG_CERTIFICATES_MAX ||
        !handle_take_blob(b->env.world, given, &chain))
        return;
    bool ok = certificates_reserve(b, (size_t)m.certificate + 1) &&
              certificate_take(&b->env.certificates[m.certificate], &m, chain.bytes);
    blob_free(&chain);
    if (!ok)
        log_error(b->env.world->log, "certificate.lost", LS("file", m.name), LERR(ERR_NOMEM));
    else if (b->state != BOOT_WAITING && b->ops->certificate != NULL)
        b->ops->certificate(b->self, m.certificate);
}

static void on_drain(struct boot *b, struct str payload)
{
    struct ipc_sup_drain m;
    if (!ipc_decode_sup_drain(payload, &m))
        return;
    if (b->state == BOOT_WAITING) {
        leave(b, 0);
    } else if (b->state != BOOT_DRAINING) {
        set_state(b, BOOT_DRAINING);
        b->ops->drain(b->self, world_now_ms(b->env.world) + m.deadline_ms);
    }
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct boot *b = arg;
    UNUSED(c);
    if (b->has_failed)
        return;
    if (!ipc_may_send(ROLE_SUPER, b->env.role, type))
        return;
    if (type == IPC_SUP_CONFIG)
        on_config(b, given);
    else if (type == IPC_SUP_PEER)
        on_peer(b, payload, given);
    else if (type == IPC_SUP_LISTENER)
        on_listener(b, payload, given);
    else if (type == IPC_SUP_START && b->state == BOOT_WAITING)
        on_start(b);
    else if (type == IPC_SUP_DRAIN)
        on_drain(b, payload);
    else if (type == IPC_SUP_CERT)
        on_certificate(b, payload, given);
    else if (b->state != BOOT_WAITING && b->ops->from_super != NULL)
        b->ops->from_super(b->self, type, payload, given);
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_closed(void *arg, struct channel *c)
{
    struct boot *b = arg;
    UNUSED(c);
    leave(b, 1);
}

static const struct channel_user super_user = {on_message, on_room, on_closed};

static void on_turn(struct turn_hook *h)
{
    struct boot *b = container_of(h, struct boot, turn);
    if (b->n_pending > 0)
        install_pending(b);
    struct channel *admin = b->env.peers[ROLE_ADMIN][0];
    if (b->env.n_events_dropped > b->n_dropped_told && admin != NULL) {
        struct ipc_event_gap gap = {.n_dropped = b->env.n_events_dropped - b->n_dropped_told};
        if (ipc_send_event_gap(admin, &gap, NULL) == ERR_OK)
            b->n_dropped_told = b->env.n_events_dropped;
    }
}

void role_ready(struct role_env *env)
{
    struct boot *b = env->boot;
    b->said_ready = true;
    if (b->state == BOOT_STARTED) /* else: still within create(), on_start() goes on */
        say_ready(b);
}

void role_fail(struct role_env *env, struct str reason)
{
    struct boot *b = env->boot;
    log_error(env->world->log, "role.failed", LS("reason", reason));
    b->has_failed = true;
    struct ipc_sup_failed m = {.reason = reason};
    if (ipc_send_sup_failed(b->super, &m, NULL) != ERR_OK)
        log_error(env->world->log, "role.unheard", LS("reason", reason));
    leave(b, 1);
}

enum err role_tell_super(struct role_env *env, const struct ipc_key_state *m)
{
    return ipc_send_key_state(env->boot->super, m, NULL);
}

enum err role_ask_port(struct role_env *env, uint32_t token)
{
    struct ipc_acme_port m = {.token = token};
    return ipc_send_acme_port(env->boot->super, &m, NULL);
}

enum err role_tell_issued(struct role_env *env, uint16_t certificate)
{
    struct ipc_acme_issued m = {.certificate = certificate};
    return ipc_send_acme_issued(env->boot->super, &m, NULL);
}

void role_drained(struct role_env *env)
{
    leave(env->boot, 0);
}

void role_event(struct role_env *env, const struct ipc_event *e)
{
    struct channel *admin = env->peers[ROLE_ADMIN][0];
    /* Far from full, so that an event never takes the room of an answer. */
    if (admin == NULL || channel_backlog(admin) > IPC_QUEUE_MAX / 2 ||
        ipc_send_event(admin, e, NULL) != ERR_OK)
        env->n_events_dropped++;
}

struct boot *boot_new(struct world *w, enum role role, unsigned index, const char *root,
                      struct channel *super, const struct role_ops *ops, void *ext,
                      const struct boot_hooks *hooks)
{
    struct boot *b = mem_must_new(struct boot);
    b->env = (struct role_env){.world = w, .role = role, .index = index, .root = root, .ext = ext, .boot = b};
    b->ops = ops;
    b->hooks = *hooks;
    b->super = super;
    list_init(&b->generations);
    list_init(&b->pending);
    b->turn = (struct turn_hook){.run = on_turn};
    world_turn_end(w, &b->turn);
    channel_set_user(super, &super_user, b);
    return b;
}

void boot_del(struct boot **bp)
{
    struct boot *b = *bp;
    if (b == NULL)
        return;
    if (b->self != NULL)
        b->ops->del(b->self);
    list_remove(&b->turn.link);
    list_each (l, &b->pending) {
        struct pending_peer *p = list_entry(l, struct pending_peer, link);
        channel_close(p->channel);
        mem_free(p);
    }
    for (size_t r = 0; r < ROLE_N; r++) {
        for (size_t i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (b->env.peers[r][i] != NULL)
                channel_close(b->env.peers[r][i]);
        }
    }
    for (size_t i = 0; i < b->env.n_listeners; i++) {
        if (b->env.listeners[i] != NULL)
            listener_close(b->env.listeners[i]);
    }
    for (size_t i = 0; i < b->env.n_certificates; i++)
        mem_free(b->env.certificates[i].mem);
    mem_free(b->env.certificates);
    list_each (l, &b->generations)
        generation_del(list_entry(l, struct generation, link));
    channel_close(b->super);
    mem_free(b);
    *bp = NULL;
}
