/* service/admin/admin.c: the admin role: keeps the journal of what happened, and answers commands.
 *
 * Nobody waits for it: roles drop and count events when its channel is full. It gets the control socket as
 * listener 0 and opens nothing but its own folder.
 */
#include "service/admin/admin.h"

#include "base/limits.h"
#include "base/mem.h"

enum { EXPIRE_EVERY_MS = 3600 * 1000, EXPIRE_PIECE_MS = 100 };

/* ---- journal ---------------- */

static void on_flush(struct timer *t)
{
    struct admin *a = container_of(t, struct admin, flush_timer);
    a->has_unflushed = false;
    enum err e = a->journal->flush(a->journal->self);
    if (e != ERR_OK) {
        a->n_journal_errors++;
        if (!a->is_trouble_told)
            log_error(a->world->log, "journal.unwritable", LERR(e));
    }
    a->is_trouble_told = e != ERR_OK;
}

int64_t admin_careful_wall_ms(struct admin_clock *c, int64_t wall_ms, uint64_t now_ms)
{
    int64_t most_ms = c->wall_ms + 2 * (int64_t)(now_ms - c->now_ms);
    *c = (struct admin_clock){wall_ms < most_ms ? wall_ms : most_ms, now_ms};
    return c->wall_ms;
}

static void on_expire(struct timer *t)
{
    struct admin *a = container_of(t, struct admin, expire_timer);
    int64_t wall_ms =
        admin_careful_wall_ms(&a->expire_clock, world_wall_ms(a->world), world_now_ms(a->world));
    int64_t before = wall_ms - (int64_t)a->env->config->journal_keep_s * 1000;
    enum err e = ERR_OK;
    if (a->journal != NULL && before > 0)
        e = a->journal->expire(a->journal->self, (uint64_t)before);
    if (e != ERR_OK && e != ERR_AGAIN)
        a->n_journal_errors++;
    /* ERR_AGAIN: a piece is gone, more is old; the next one after others had their turn */
    world_timer_set(a->world, t,
                    world_now_ms(a->world) + (e == ERR_AGAIN ? EXPIRE_PIECE_MS : EXPIRE_EVERY_MS));
}

/* What people look for in a mail log; the steps on the way are for those who look closer. */
static enum log_level level_of(unsigned kind)
{
    switch (kind) {
    case EVENT_RCPT:
    case EVENT_ROUTED:
    case EVENT_SPLIT:
    case EVENT_ATTEMPT:
    case EVENT_DONE:
    case EVENT_TROUBLE: /* whoever had it has logged it */
        return LOG_DEBUG;
    default:
        return LOG_INFO;
    }
}

/* The mail log: written here, so that nobody who carries mail waits for its reader. */
static void log_event(const struct admin *a, const struct ipc_event *e)
{
    enum log_level level = level_of(e->kind);
    if (a->world->log == NULL || level < a->world->log->min)
        return;
    struct log_field fields[9];
    size_t n = 0;
    if (e->id != 0)
        fields[n++] = LID("id", e->id);
    if (e->rcpt.n > 0 || e->kind == EVENT_ACCEPTED)
        fields[n++] = LS("address", e->rcpt);
    if (e->host.n > 0)
        fields[n++] = LS("host", e->host);
    if (e->kind == EVENT_ACCEPTED)
        fields[n++] = LU("size", e->number);
    if (e->other_id != 0)
        fields[n++] = LID("other", e->other_id);
    if (e->text.n > 0)
        fields[n++] = LS("text", e->text);
    if (e->class.n > 0)
        fields[n++] = LS("class", e->class);
    fields[n] = (struct log_field){.kind = LOG_FIELD_END};
    log_write(a->world->log, level, event_word(e->kind), fields);
}

static void on_event(struct admin *a, const struct admin_peer *p, const struct ipc_event *e)
{
    a->n_events++;
    log_event(a, e);
    if (a->journal == NULL)
        return;
    struct journal_line l = {
        .wall_ms = e->wall_ms,
        .kind = e->kind,
        .role = role_name(p->role),
        .id = e->id,
        .other_id = e->other_id,
        .number = e->number,
        .rcpt = e->rcpt,
        .host = e->host,
        .text = e->text,
        .class = e->class,
    };
    a->journal->add(a->journal->self, &l);
    if (!a->has_unflushed) {
        a->has_unflushed = true;
        world_timer_set(a->world, &a->flush_timer, world_now_ms(a->world) + ADMIN_FLUSH_MS);
    }
}

static void on_counters(struct admin *a, const struct admin_peer *p, const struct ipc_counters *m)
{
    struct reader r = reader_of(m->pairs);
    while (r.rest.n > 0 && !r.failed) {
        struct str name = read_lstr(&r);
        uint64_t value = read_u64(&r);
        struct counter *k = NULL;
        for (size_t i = 0; i < a->n_counters && k == NULL; i++) {
            struct counter *x = &a->counters[i];
            if (x->role == p->role && x->index == p->index && str_eq(str_from_c(x->name), name))
                k = x;
        }
        if (k == NULL && !r.failed && a->n_counters < ADMIN_COUNTERS_MAX && name.n < sizeof k->name) {
            k = &a->counters[a->n_counters++];
            *k = (struct counter){.role = p->role, .index = p->index};
            (void)str_to_c(name, k->name, sizeof k->name);
        }
        if (k != NULL && !r.failed)
            k->value = value;
    }
}

/* ---- peers ---------------- */

static void peer_lost(struct admin_peer *p)
{
    p->channel = NULL;
    if (p->role == ROLE_QUEUE)
        control_queue_lost(p->admin);
}

static bool on_known(struct admin_peer *p, uint16_t type, struct str payload)
{
    struct admin *a = p->admin;
    struct ipc_event e;
    struct ipc_event_gap gap;
    struct ipc_counters counters;
    struct ipc_ctl_answer answer;
    if (type == IPC_EVENT && ipc_decode_event(payload, &e))
        on_event(a, p, &e);
    else if (type == IPC_EVENT_GAP && ipc_decode_event_gap(payload, &gap))
        a->n_lost += gap.n_dropped;
    else if (type == IPC_COUNTERS && ipc_decode_counters(payload, &counters))
        on_counters(a, p, &counters);
    else if (type == IPC_CTL_ANSWER && ipc_decode_ctl_answer(payload, &answer))
        control_answer(a, &answer);
    else
        return false;
    return true;
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct admin_peer *p = arg;
    UNUSED(given);
    if (!role_message_allowed(p->admin->env, p->role, c, type)) {
        peer_lost(p);
    } else if (!on_known(p, type, payload)) {
        role_message_malformed(p->admin->env, p->role, c, type);
        peer_lost(p);
    }
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_closed(void *arg, struct channel *c)
{
    struct admin_peer *p = arg;
    role_peer_closed(p->admin->env, c);
    peer_lost(p);
}

static const struct channel_user peer_user = {on_message, on_room, on_closed};

static void on_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct admin *a = self;
    struct admin_peer *p = &a->peers[who][index];
    *p = (struct admin_peer){.admin = a, .role = who, .index = index, .channel = c};
    channel_set_user(c, &peer_user, p);
}

/* ---- role ---------------- */

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    UNUSED(l);
    control_accept(arg, c);
}

static const struct listener_user listener_user = {on_accept};

static void *create(struct role_env *env)
{
    struct admin *a = mem_must_new(struct admin);
    a->env = env;
    a->world = env->world;
    a->journal = env->ext;
    a->next_token = 1;
    list_init(&a->clients);
    must(idmap_init(&a->asking));
    a->flush_timer.fire = on_flush;
    a->expire_timer.fire = on_expire;
    a->expire_clock = (struct admin_clock){world_wall_ms(a->world), world_now_ms(a->world)};
    world_timer_set(a->world, &a->expire_timer, world_now_ms(a->world) + 60000);
    for (unsigned r = 0; r < ROLE_N; r++) {
        for (unsigned i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (env->peers[r][i] != NULL)
                on_peer(a, (enum role)r, i, env->peers[r][i]);
        }
    }
    if (env->listeners[0] != NULL)
        listener_set_user(env->listeners[0], &listener_user, a);
    role_ready(env);
    return a;
}

static void reload(void *self, const struct config *old)
{
    struct admin *a = self;
    role_config_release(a->env, old);
}

/* Last of all: what the others said is in the channel or written. */
static void drain(void *self, uint64_t deadline_ms)
{
    struct admin *a = self;
    UNUSED(deadline_ms);
    if (a->journal != NULL)
        on_flush(&a->flush_timer);
    role_drained(a->env);
}

static void del(void *self)
{
    struct admin *a = self;
    control_del_all(a);
    world_timer_cancel(a->world, &a->flush_timer);
    world_timer_cancel(a->world, &a->expire_timer);
    idmap_fini(&a->asking);
    mem_free(a);
}

const struct role_ops admin_role = {
    .create = create, .peer = on_peer, .reload = reload, .drain = drain, .del = del};
