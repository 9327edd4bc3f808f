/* service/smtpd/smtpd.c: the smtpd role: takes mail from the network and hands it to the queue.
 *
 * It may accept on the listeners it was given and talk to queue, lookup and admin; it opens no file and
 * connects nowhere.
 */
#include "service/smtpd/smtpd.h"
#include "base/limits.h"
#include "base/mem.h"

enum { COUNT_EVERY_MS = 10000 };

/* ---- configuration ---------------- */

static size_t offer_index(const struct config *c, const struct listener_conf *at, bool is_ours,
                          bool may_xclient)
{
    return (size_t)(at - c->listeners) * SMTPD_OFFERS + (is_ours ? 2u : 0u) + (may_xclient ? 1u : 0u);
}

const struct smtp_server_conf *smtpd_offer(const struct smtpd_conf *conf, const struct listener_conf *at,
                                           bool is_ours, bool may_xclient)
{
    return &conf->offers[offer_index(conf->config, at, is_ours, may_xclient)];
}

static struct smtp_server_conf offer_of(const struct config *c, const struct listener_conf *at, bool is_ours,
                                        bool may_xclient)
{
    bool must_auth = at->auth == LISTEN_MUST_AUTH;
    return (struct smtp_server_conf){
        .hostname = c->policy.hostname,
        .size_max = c->size_max,
        .rcpt_max = c->rcpt_max,
        .lmtp = at->lmtp,
        .dsn = true,
        .binarymime = true,
        .deliverby = c->deliver_by,
        .by_min_s = c->deliver_by_min_s,
        .mt_priority = c->mt_priority,
        .lowers_priority = !is_ours,
        .hold_max_s = is_ours || at->submission ? c->future_release_s : 0,
        .requiretls = at->tls != LISTEN_PLAIN,
        .starttls = at->tls == LISTEN_STARTTLS,
        .needs_tls = must_auth,
        .auth = at->auth != LISTEN_NO_AUTH,
        .needs_auth = must_auth && !is_ours,
        .prdr = !at->lmtp,
        .limits = true,
        .xclient = may_xclient,
        .etrn = c->n_etrn_from > 0,
        .expn = c->expn,
        .normalize_bare = at->normalize && is_ours,
        .greets_late = at->greet_delay_s > 0 && !is_ours,
    };
}

static struct smtpd_conf *conf_new(struct smtpd *d, const struct config *c)
{
    size_t n = c->n_listeners * SMTPD_OFFERS;
    struct smtpd_conf *conf = mem_alloc(sizeof *conf + n * sizeof conf->offers[0]);
    if (conf == NULL)
        return NULL;
    *conf = (struct smtpd_conf){.config = c, .n_users = 1};
    for (size_t i = 0; i < n; i++) {
        const struct listener_conf *at = &c->listeners[i / SMTPD_OFFERS];
        bool is_ours = (i & 2) != 0, may_xclient = (i & 1) != 0;
        conf->offers[offer_index(c, at, is_ours, may_xclient)] = offer_of(c, at, is_ours, may_xclient);
    }
    list_push_back(&d->confs, &conf->link);
    return conf;
}

void smtpd_conf_unref(struct smtpd *d, struct smtpd_conf *c)
{
    must(c->n_users > 0);
    if (--c->n_users > 0)
        return;
    list_remove(&c->link);
    role_config_release(d->env, c->config);
    mem_free(c);
}

/* ---- listeners ---------------- */

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    session_start(arg, l, c);
}

static const struct listener_user listener_user = {on_accept};

static void set_listeners(struct smtpd *d, bool on)
{
    for (size_t i = 0; i < d->env->n_listeners; i++) {
        struct listener *l = d->env->listeners[i];
        if (l == NULL)
            continue;
        if (i >= d->conf->config->n_listeners) { /* no longer in the configuration */
            listener_close(l);
            d->env->listeners[i] = NULL;
            continue;
        }
        listener_set_user(l, on ? &listener_user : NULL, d);
    }
}

/* ---- the queue ---------------- */

static void on_grant(struct smtpd *d, const struct ipc_id_grant *m)
{
    d->id_asked = false;
    if (m->n == 0 || m->n > SMTPD_IDS_WANTED)
        return;
    d->spare_next = m->first;
    d->spare_end = m->first + m->n;
    session_ids_came(d);
}

static void queue_lost(struct smtpd *d)
{
    d->queue = NULL;
    put_on_queue_lost(d);
    ask_on_lost(d, ROLE_QUEUE);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct smtpd *d = arg;
    UNUSED(given);
    struct ipc_put_done done;
    struct ipc_id_grant grant;
    struct ipc_callout_answer callout;
    struct ipc_etrn_answer etrn;
    if (!role_message_allowed(d->env, ROLE_QUEUE, c, type)) {
        queue_lost(d);
        return;
    }
    if (type == IPC_PUT_DONE && ipc_decode_put_done(payload, &done)) {
        put_on_done(d, &done);
    } else if (type == IPC_ID_GRANT && ipc_decode_id_grant(payload, &grant)) {
        on_grant(d, &grant);
    } else if (type == IPC_CALLOUT_ANSWER && ipc_decode_callout_answer(payload, &callout)) {
        ask_on_callout(d, &callout);
    } else if (type == IPC_ETRN_ANSWER && ipc_decode_etrn_answer(payload, &etrn)) {
        ask_on_etrn(d, &etrn);
    } else {
        role_message_malformed(d->env, ROLE_QUEUE, c, type);
        queue_lost(d);
    }
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(c);
    put_on_room(arg);
}

static void on_room_timer(struct timer *t)
{
    put_on_room(container_of(t, struct smtpd, room_timer));
}

static void on_closed(void *arg, struct channel *c)
{
    struct smtpd *d = arg;
    role_peer_closed(d->env, c);
    queue_lost(d);
}

static const struct channel_user queue_user = {on_message, on_room, on_closed};

static void ignore_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                           struct handle *given)
{
    struct smtpd *d = arg;
    UNUSED(payload);
    UNUSED(given);
    if (role_message_allowed(d->env, ROLE_ADMIN, c, type))
        role_message_malformed(d->env, ROLE_ADMIN, c, type);
}

static void ignore_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void admin_closed(void *arg, struct channel *c)
{
    struct smtpd *d = arg;
    role_peer_closed(d->env, c);
}

/* ---- lookup ---------------- */

static void on_lookup(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct smtpd *d = arg;
    struct ipc_mx_answer m;
    UNUSED(given);
    bool is_allowed = role_message_allowed(d->env, ROLE_LOOKUP, c, type);
    if (is_allowed && type == IPC_MX_ANSWER && ipc_decode_mx_answer(payload, &m)) {
        ask_on_mx(d, &m);
        return;
    }
    if (is_allowed)
        role_message_malformed(d->env, ROLE_LOOKUP, c, type);
    d->lookup = NULL;
    ask_on_lost(d, ROLE_LOOKUP);
}

static void lookup_closed(void *arg, struct channel *c)
{
    struct smtpd *d = arg;
    d->lookup = NULL;
    role_peer_closed(d->env, c);
    ask_on_lost(d, ROLE_LOOKUP);
}

static const struct channel_user lookup_user = {on_lookup, ignore_room, lookup_closed};

/* ---- keys ---------------- */

static void keys_lost(struct smtpd *d)
{
    signer_keys_lost(&d->signer);
    ask_on_lost(d, ROLE_KEYS);
}

static void on_keys(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct smtpd *d = arg;
    struct ipc_sign_answer signature;
    struct ipc_auth_answer login;
    struct ipc_auth_offer offer;
    UNUSED(given);
    bool is_allowed = role_message_allowed(d->env, ROLE_KEYS, c, type);
    if (is_allowed && type == IPC_SIGN_ANSWER && ipc_decode_sign_answer(payload, &signature)) {
        signer_on_answer(&d->signer, &signature);
    } else if (is_allowed && type == IPC_AUTH_OFFER && ipc_decode_auth_offer(payload, &offer)) {
        login_on_offer(d, offer.scram);
    } else if (is_allowed && type == IPC_AUTH_ANSWER && ipc_decode_auth_answer(payload, &login)) {
        ask_on_auth(d, ROLE_KEYS, &login);
    } else {
        if (is_allowed)
            role_message_malformed(d->env, ROLE_KEYS, c, type);
        keys_lost(d);
    }
}

static void keys_closed(void *arg, struct channel *c)
{
    struct smtpd *d = arg;
    role_peer_closed(d->env, c);
    keys_lost(d);
}

static const struct channel_user keys_user = {on_keys, ignore_room, keys_closed};

/* ---- auth ---------------- */

static void auth_lost(struct smtpd *d)
{
    d->auth = NULL;
    ask_on_lost(d, ROLE_AUTH);
}

static void on_auth(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct smtpd *d = arg;
    struct ipc_auth_answer login;
    UNUSED(given);
    bool is_allowed = role_message_allowed(d->env, ROLE_AUTH, c, type);
    if (is_allowed && type == IPC_AUTH_ANSWER && ipc_decode_auth_answer(payload, &login)) {
        ask_on_auth(d, ROLE_AUTH, &login);
        return;
    }
    if (is_allowed)
        role_message_malformed(d->env, ROLE_AUTH, c, type);
    auth_lost(d);
}

static void auth_closed(void *arg, struct channel *c)
{
    struct smtpd *d = arg;
    role_peer_closed(d->env, c);
    auth_lost(d);
}

static const struct channel_user auth_user = {on_auth, ignore_room, auth_closed};

static const struct channel_user admin_user = {ignore_message, ignore_room, admin_closed};

static void on_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct smtpd *d = self;
    UNUSED(index);
    if (who == ROLE_QUEUE) {
        d->queue = c;
        channel_set_user(c, &queue_user, d);
        put_ask_ids(d);
    } else if (who == ROLE_LOOKUP) {
        d->lookup = c;
        channel_set_user(c, &lookup_user, d);
    } else if (who == ROLE_KEYS) {
        d->keys = c;
        channel_set_user(c, &keys_user, d);
    } else if (who == ROLE_AUTH) {
        d->auth = c;
        channel_set_user(c, &auth_user, d);
    } else if (who == ROLE_ADMIN) {
        channel_set_user(c, &admin_user, d);
    }
}

/* ---- counters ---------------- */

static void count(struct buf *b, const char *name, uint64_t value)
{
    buf_put_lstr(b, str_from_c(name));
    buf_put_u64(b, value);
}

static void on_count(struct timer *t)
{
    struct smtpd *d = container_of(t, struct smtpd, count_timer);
    char mem[1024];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    count(&b, "smtpd_sessions", d->count.sessions);
    count(&b, "smtpd_sessions_open", d->n_sessions);
    count(&b, "smtpd_accepted", d->count.accepted);
    count(&b, "smtpd_refused_recipients", d->count.refused_rcpt);
    count(&b, "smtpd_refused_messages", d->count.refused_message);
    count(&b, "smtpd_overload", d->count.overload);
    count(&b, "smtpd_trouble", d->count.trouble);
    count(&b, "smtpd_bad_proxy_headers", d->count.proxy_bad);
    count(&b, "smtpd_tls_handshakes", d->count.tls);
    count(&b, "smtpd_tls_failed", d->count.tls_failed);
    count(&b, "smtpd_logins", d->count.logins);
    count(&b, "smtpd_logins_failed", d->count.logins_failed);
    count(&b, "smtpd_logins_trouble", d->count.logins_trouble);
    count(&b, "smtpd_memory", d->memory_used);
    struct ipc_counters m = {.pairs = buf_str(&b)};
    struct channel *admin = d->env->peers[ROLE_ADMIN][0];
    if (admin != NULL && channel_backlog(admin) < IPC_QUEUE_MAX / 2 &&
        ipc_send_counters(admin, &m, NULL) != ERR_OK)
        d->env->n_events_dropped++;
    world_timer_set(d->world, &d->count_timer, world_now_ms(d->world) + COUNT_EVERY_MS);
}

/* ---- role ---------------- */

static void on_drain_timer(struct timer *t)
{
    struct smtpd *d = container_of(t, struct smtpd, drain_timer);
    d->is_drained = true;
    role_drained(d->env);
}

static void *create(struct role_env *env)
{
    struct smtpd *d = mem_must_new(struct smtpd);
    d->env = env;
    d->world = env->world;
    d->next_token = 1;
    list_init(&d->confs);
    list_init(&d->sessions);
    list_init(&d->spare);
    list_init(&d->waiting_room);
    for (size_t i = 0; i < SMTPD_CLIENT_BUCKETS; i++)
        list_init(&d->clients[i]);
    world_random(d->world, &d->hash_seed, sizeof d->hash_seed);
    d->conf = conf_new(d, env->config);
    must(d->conf != NULL && idmap_init(&d->puts) && idmap_init(&d->asks));
    uint64_t chunks = env->config->memory_max / SMTPD_ARENA_CHUNK;
    chunk_pool_init(&d->pool, SMTPD_ARENA_CHUNK, chunks > 1024 ? (size_t)chunks : 1024);
    d->drain_timer.fire = on_drain_timer;
    d->count_timer.fire = on_count;
    d->room_timer.fire = on_room_timer;
    world_timer_set(d->world, &d->count_timer, world_now_ms(d->world) + COUNT_EVERY_MS);
    static const enum role asked[] = {ROLE_QUEUE, ROLE_LOOKUP, ROLE_ADMIN, ROLE_KEYS, ROLE_AUTH};
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        if (env->peers[asked[i]][0] != NULL)
            on_peer(d, asked[i], 0, env->peers[asked[i]][0]);
    }
    login_on_offer(d, 0);
    secure_init(d);
    set_listeners(d, true);
    role_ready(env);
    return d;
}

static void reload(void *self, const struct config *old)
{
    struct smtpd *d = self;
    UNUSED(old);
    struct smtpd_conf *conf = conf_new(d, d->env->config);
    if (conf == NULL) {
        log_error(d->world->log, "reload.memory", LC("what", "kept the old configuration"));
        return;
    }
    struct smtpd_conf *before = d->conf;
    d->conf = conf; /* sessions under way keep theirs */
    smtpd_conf_unref(d, before);
    secure_renew(d);
    set_listeners(d, !d->is_draining);
}

void smtpd_session_gone(struct smtpd *d)
{
    if (d->is_draining && !d->is_drained && list_is_empty(&d->sessions) && !d->drain_timer.is_set)
        world_timer_set(d->world, &d->drain_timer,
                        world_now_ms(d->world)); /* not from within a session's call */
}

static void drain(void *self, uint64_t deadline_ms)
{
    struct smtpd *d = self;
    UNUSED(deadline_ms); /* the supervisor ends who is late; a message that is being made durable is waited
                            for */
    d->is_draining = true;
    set_listeners(d, false);
    list_each (l, &d->sessions)
        session_shutdown(list_entry(l, struct session, link));
    smtpd_session_gone(d);
}

static void del(void *self)
{
    struct smtpd *d = self;
    d->is_drained = true;
    while (!list_is_empty(&d->sessions))
        session_del(list_entry(d->sessions.next, struct session, link));
    put_fini_all(d);
    secure_fini(d);
    idmap_fini(&d->asks);
    world_timer_cancel(d->world, &d->drain_timer);
    world_timer_cancel(d->world, &d->count_timer);
    world_timer_cancel(d->world, &d->room_timer);
    while (!list_is_empty(&d->confs)) {
        struct smtpd_conf *c = list_entry(d->confs.next, struct smtpd_conf, link);
        list_remove(&c->link);
        mem_free(c);
    }
    chunk_pool_fini(&d->pool);
    mem_free(d);
}

static void on_certificate(void *self, size_t i)
{
    UNUSED(i);
    secure_renew(self);
}

static void from_super(void *self, uint16_t type, struct str payload, struct handle *given)
{
    struct ipc_sup_tickets tickets;
    UNUSED(given);
    if (type == IPC_SUP_TICKETS && ipc_decode_sup_tickets(payload, &tickets))
        secure_on_tickets(self, &tickets);
}

const struct role_ops smtpd_role = {.create = create,
                                    .peer = on_peer,
                                    .reload = reload,
                                    .drain = drain,
                                    .del = del,
                                    .certificate = on_certificate,
                                    .from_super = from_super};
