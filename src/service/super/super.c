/* service/super/super.c: the supervisor.
 *
 * A role is a slot: (role, index). Slot states: DOWN -> STARTING (spawned, told everything) -> UP (said
 * READY) -> DOWN; DRAINING -> GONE at shutdown. A role that dies is started again at once, a second time
 * within RESTART_CALM_MS after a growing pause; the others keep running and get a new channel to it. One that
 * never worked, START_TRIES times in a row, ends the start of the whole: who waits for it is told why.
 * Draining goes by floors: smtpd, acme; queue (it waits for its jobs), http01, https; relay, local, lookup;
 * keys, auth, pam, tables; admin. There is a keys process where the configuration has secrets, and a local
 * one where mail can end here; smtpd is not started before all of them were looked at (secrets.c).
 */
#include "service/super/super.h"

#include "base/limits.h"
#include "base/mem.h"
#include "service/super/hop_passwords.h"
#include "service/super/tickets.h"

#include <string.h>

enum {
    EX_NO_START = 69, /* EX_UNAVAILABLE of sysexits(3): the configuration is good, the machine is not */
    EX_BAD_CONFIG = 78,
};
enum slot_state { SLOT_DOWN = 0, SLOT_STARTING, SLOT_UP, SLOT_DRAINING, SLOT_GONE };
enum {
    RESTART_CALM_MS = 10000,
    RESTART_FIRST_MS = 100,
    RESTART_MAX_MS = 10000,
    START_TRIES = 4,
    DRAIN_FLOORS = 5,
    DRAIN_GRACE_MS = 1000,
    PLACES_MAX = CONFIG_LISTENERS_MAX + HTTPS_ADDRESSES_MAX /* smtpd's, then those of https */
};

struct slot {
    struct list link;
    struct super *super;
    enum role role;
    unsigned index;
    enum slot_state state;
    struct channel *channel;
    struct child *child;
    struct timer restart;
    uint64_t started_ms;
    uint64_t pause_ms;
    unsigned n_starts; /* until it was ready for the first time */
    bool was_ready;
    bool was_told_start;
    uint64_t certificates_told; /* see secrets_tell() */
};
struct super {
    struct world *world;
    const struct config *config;
    struct handle *config_blob; /* what every role gets: in memory once */
    struct super_conf conf;
    struct secrets *secrets;
    struct tickets tickets;
    struct list slots;
    struct listener *listeners[PLACES_MAX];
    struct listener *control; /* the admin's socket for commands */
    bool said_ready, is_draining, has_ended;
    unsigned drain_floor;
    uint64_t drain_deadline_ms;
    struct timer drain_timer;
};

static const unsigned floor_of[ROLE_N] = {
    [ROLE_SUPER] = 0,  [ROLE_SMTPD] = 0,   [ROLE_QUEUE] = 1,  [ROLE_RELAY] = 2, [ROLE_LOCAL] = 2,
    [ROLE_LOOKUP] = 2, [ROLE_DELIVER] = 2, [ROLE_PIPE] = 2,   [ROLE_KEYS] = 3,  [ROLE_ADMIN] = 4,
    [ROLE_AGENT] = 2,  [ROLE_ACME] = 0,    [ROLE_HTTP01] = 1, [ROLE_AUTH] = 3,  [ROLE_PAM] = 3,
    [ROLE_TABLES] = 3, [ROLE_HTTPS] = 1,
};

static void slot_set_state(struct slot *s, enum slot_state to)
{
    static const bool allowed[5][5] = {
        [SLOT_DOWN] = {[SLOT_STARTING] = true, [SLOT_GONE] = true},
        [SLOT_STARTING] = {[SLOT_UP] = true, [SLOT_DOWN] = true, [SLOT_DRAINING] = true, [SLOT_GONE] = true},
        [SLOT_UP] = {[SLOT_DOWN] = true, [SLOT_DRAINING] = true, [SLOT_GONE] = true},
        [SLOT_DRAINING] = {[SLOT_GONE] = true, [SLOT_DOWN] = true},
    };
    must(allowed[s->state][to]);
    s->state = to;
}

static bool is_alive(const struct slot *s)
{
    return s->channel != NULL &&
           (s->state == SLOT_STARTING || s->state == SLOT_UP || s->state == SLOT_DRAINING);
}

static void end(struct super *s, int status, struct str why)
{
    if (s->has_ended)
        return;
    s->has_ended = true;
    s->conf.on_end(s->conf.arg, status, why);
}

/* ---- starting a role ---------------- */

static bool send_config(struct super *s, struct channel *c)
{
    struct handle *blob = handle_again(s->world, s->config_blob);
    if (blob == NULL)
        return false;
    struct ipc_sup_config m = {.generation = s->config->generation};
    if (ipc_send_sup_config(c, &m, blob) == ERR_OK)
        return true;
    handle_drop(blob);
    return false;
}

static bool give_end(struct slot *to, const struct slot *other, struct channel *end_of_pair)
{
    struct handle *h = handle_of_channel(end_of_pair);
    if (h == NULL) {
        channel_close(end_of_pair);
        return false;
    }
    struct ipc_sup_peer m = {.role = (uint8_t)other->role, .index = (uint8_t)other->index};
    if (ipc_send_sup_peer(to->channel, &m, h) == ERR_OK)
        return true;
    handle_drop(h);
    return false;
}

static bool join(struct slot *a, struct slot *b)
{
    struct channel *x, *y;
    if (world_channel_pair(a->super->world, &x, &y) != ERR_OK)
        return false;
    bool ok = give_end(a, b, x);
    return give_end(b, a, y) && ok;
}

static bool send_listener(struct channel *c, struct listener *l, uint16_t index)
{
    struct handle *h = l == NULL ? NULL : handle_of_listener(l);
    struct ipc_sup_listener m = {.listener = index};
    if (h == NULL)
        return false;
    if (ipc_send_sup_listener(c, &m, h) == ERR_OK)
        return true;
    handle_drop(h);
    return false;
}

/* Those of its role. false: the channel is broken, or one could not be wrapped. */
static bool send_listeners(const struct slot *slot)
{
    struct super *s = slot->super;
    bool is_web = slot->role == ROLE_HTTPS;
    size_t n = slot->role == ROLE_SMTPD ? s->config->n_listeners : is_web ? s->config->n_https_addrs : 0;
    for (size_t i = 0; i < n; i++) {
        if (!send_listener(slot->channel, s->listeners[is_web ? CONFIG_LISTENERS_MAX + i : i], (uint16_t)i))
            return false;
    }
    return true;
}

/* Certificates as far as there is room, and behind the last of them the start. false: the channel is broken.
 */
static bool tell(struct slot *slot)
{
    struct super *s = slot->super;
    if (!secrets_tell(s->secrets, slot->channel, slot->role, &slot->certificates_told) ||
        slot->was_told_start)
        return true;
    struct ipc_sup_start m = {.generation = s->config->generation};
    enum err e = ipc_send_sup_start(slot->channel, &m, NULL);
    slot->was_told_start = e == ERR_OK;
    if (e == ERR_OK && !hop_passwords_send(s->world, &s->conf.files, s->config, slot->role, slot->channel))
        return false;
    return e == ERR_OK || e == ERR_AGAIN; /* on_room goes on */
}

/* Without room for it the process goes on with keys of its own: a session is then not resumed elsewhere. */
static void tell_tickets(struct slot *slot)
{
    struct super *s = slot->super;
    struct ipc_sup_tickets m = {.keys = tickets_bytes(&s->tickets)};
    if (slot->role == ROLE_SMTPD && s->config->n_certificates > 0 && s->config->tls_tickets &&
        ipc_send_sup_tickets(slot->channel, &m, NULL) != ERR_OK)
        log_warn(s->world->log, "tickets.untold", LU("smtpd", slot->index));
}

static void on_tickets(void *arg)
{
    struct super *s = arg;
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (slot->state == SLOT_UP)
            tell_tickets(slot);
    }
}

static bool introduce(struct slot *slot)
{
    struct super *s = slot->super;
    if (!send_config(s, slot->channel))
        return false;
    list_each (l, &s->slots) {
        struct slot *other = list_entry(l, struct slot, link);
        if (other != slot && is_alive(other) && other->state != SLOT_DRAINING &&
            ipc_has_edge(slot->role, other->role) && !join(slot, other))
            return false;
    }
    if (!send_listeners(slot))
        return false;
    if (slot->role == ROLE_ADMIN && s->control != NULL && !send_listener(slot->channel, s->control, 0))
        return false;
    slot->was_told_start = false;
    slot->certificates_told = 0;
    return tell(slot);
}

static void on_exit_child(void *arg, bool clean, struct str how);
static const struct channel_user slot_user;

/* Empty: it has none. false: it is too long. */
static bool role_root(const struct super *s, enum role r, struct buf *out)
{
    if (r == ROLE_QUEUE)
        buf_put(out, s->config->spool);
    else if (r == ROLE_ADMIN)
        buf_put(out, s->config->journal);
    else if (r == ROLE_AGENT)
        config_agent_folder(s->config, out);
    else if (r == ROLE_TABLES)
        buf_put(out, config_tables_folder(s->config));
    else if (r == ROLE_ACME && buf_put(out, s->config->acme.folder))
        buf_puts(out, "/" ACME_CLIENT);
    return buf_putc(out, '\0') && !out->failed;
}

static void slot_start(struct slot *slot)
{
    struct super *s = slot->super;
    char path[4096];
    struct buf root;
    buf_init_fixed(&root, path, sizeof path);
    bool fits = role_root(s, slot->role, &root);
    struct spawn spec = {
        .role = role_name(slot->role),
        .index = slot->index,
        .uid = s->conf.uid[slot->role],
        .gid = s->conf.gid[slot->role],
        .root = fits && root.n > 1 ? path : NULL,
    };
    slot->started_ms = world_now_ms(s->world);
    enum err e =
        !fits ? ERR_TOO_BIG : world_spawn(s->world, &spec, on_exit_child, slot, &slot->channel, &slot->child);
    if (e != ERR_OK) {
        log_error(s->world->log, "role.unstartable", LC("role", spec.role), LERR(e));
        slot->pause_ms = RESTART_MAX_MS;
        world_timer_set(s->world, &slot->restart, slot->started_ms + slot->pause_ms);
        return;
    }
    slot_set_state(slot, SLOT_STARTING);
    channel_set_user(slot->channel, &slot_user, slot);
    if (!introduce(slot)) {
        log_error(s->world->log, "role.unintroduced", LC("role", spec.role));
        child_kill(slot->child, true); /* its exit starts it anew */
    }
}

static void on_restart(struct timer *t)
{
    struct slot *slot = container_of(t, struct slot, restart);
    if (slot->state == SLOT_DOWN && !slot->super->is_draining)
        slot_start(slot);
}

/* A new chain is in force. */
static void on_certificate(void *arg)
{
    struct super *s = arg;
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (is_alive(slot) && !tell(slot))
            child_kill(slot->child, true);
    }
}

static void start_down_slots(struct super *s);

static void on_settled(void *arg, struct str why)
{
    struct super *s = arg;
    if (why.n > 0)
        end(s, EX_BAD_CONFIG, why);
    else if (!s->is_draining)
        start_down_slots(s);
}

/* ---- what roles say and how they end ---------------- */

static void check_all_ready(struct super *s)
{
    if (s->said_ready || s->is_draining)
        return;
    list_each (l, &s->slots) {
        if (list_entry(l, struct slot, link)->state != SLOT_UP)
            return;
    }
    s->said_ready = true;
    s->conf.on_ready(s->conf.arg);
}

/* ---- the port for challenges ---------------- */

static struct slot *slot_up(struct super *s, enum role role)
{
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (slot->role == role && slot->state == SLOT_UP && slot->channel != NULL)
            return slot;
    }
    return NULL;
}

static enum err open_port(struct super *s, const struct netaddr *at, uint32_t token, struct channel *to)
{
    struct listener *l = NULL;
    enum err e = world_listen(s->world, at, 0, &l);
    if (e != ERR_OK)
        return e;
    struct handle *h = handle_of_listener(l);
    struct ipc_sup_port m = {.token = token, .err = ERR_OK};
    e = h == NULL ? ERR_NOMEM : ipc_send_sup_port(to, &m, h);
    if (e != ERR_OK && h != NULL)
        handle_drop(h);
    listener_close(l); /* http01 alone has it: the port closes with that */
    return e;
}

/* One address that could be had is enough: which of them the authority tries is its own affair. */
static enum err open_ports(struct super *s, uint32_t token)
{
    const struct slot *http01 = slot_up(s, ROLE_HTTP01);
    enum err first = ERR_AGAIN;
    bool has_one = false;
    for (size_t i = 0; http01 != NULL && i < s->config->acme.n_addrs; i++) {
        char mem[NETADDR_TEXT_MAX];
        struct buf at;
        enum err e = open_port(s, &s->config->acme.addrs[i], token, http01->channel);
        has_one = has_one || e == ERR_OK;
        if (e == ERR_OK)
            continue;
        if (first == ERR_AGAIN)
            first = e;
        buf_init_fixed(&at, mem, sizeof mem);
        netaddr_format(&s->config->acme.addrs[i], &at);
        log_warn(s->world->log, "acme.port_refused", LS("at", buf_str(&at)), LERR(e));
    }
    return has_one ? ERR_OK : first;
}

/* false: malformed. */
static bool on_acme(struct slot *slot, uint16_t type, struct str payload)
{
    struct super *s = slot->super;
    struct ipc_acme_port port;
    struct ipc_acme_issued issued;
    if (type == IPC_ACME_PORT && ipc_decode_acme_port(payload, &port)) {
        struct ipc_sup_port m = {.token = port.token, .err = (uint8_t)open_ports(s, port.token)};
        return ipc_send_sup_port(slot->channel, &m, NULL) == ERR_OK;
    }
    if (type != IPC_ACME_ISSUED || !ipc_decode_acme_issued(payload, &issued))
        return false;
    if (s->conf.on_issued != NULL)
        s->conf.on_issued(s->conf.arg);
    return true;
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct slot *slot = arg;
    struct super *s = slot->super;
    UNUSED(c);
    UNUSED(given);
    if (!ipc_may_send(slot->role, ROLE_SUPER, type)) {
        log_error(s->world->log, "ipc.forbidden", LC("from", role_name(slot->role)),
                  LC("type", ipc_type_name(type)));
        child_kill(slot->child, true);
        return;
    }
    struct ipc_sup_failed failed;
    if (type == IPC_SUP_READY && slot->state == SLOT_STARTING) {
        slot_set_state(slot, SLOT_UP);
        slot->was_ready = true;
        if (slot->role == ROLE_KEYS)
            secrets_keys_up(s->secrets, slot->channel);
        tell_tickets(slot);
        check_all_ready(s);
    } else if (type == IPC_SUP_FAILED && ipc_decode_sup_failed(payload, &failed) && !slot->was_ready) {
        /* Never worked: it will not by trying again. After a first success it is restarted like any crash. */
        end(s, EX_NO_START, failed.reason);
    } else if ((type == IPC_KEY_STATE && !secrets_on_state(s->secrets, payload)) ||
               (slot->role == ROLE_ACME && type != IPC_SUP_READY && type != IPC_SUP_FAILED &&
                !on_acme(slot, type, payload))) {
        log_error(s->world->log, "ipc.malformed", LC("from", role_name(slot->role)),
                  LC("type", ipc_type_name(type)));
        child_kill(slot->child, true);
    }
}

static void on_room(void *arg, struct channel *c)
{
    struct slot *slot = arg;
    UNUSED(c);
    if (!tell(slot))
        child_kill(slot->child, true);
}

static void on_closed(void *arg, struct channel *c)
{
    struct slot *slot = arg;
    channel_close(c);
    slot->channel = NULL;
    if (slot->role == ROLE_KEYS)
        secrets_keys_down(slot->super->secrets);
}

static const struct channel_user slot_user = {on_message, on_room, on_closed};

static void drain_next(struct super *s);

static bool has_pipes(const struct local_domain *d)
{
    for (size_t i = 0; i < d->n_aliases; i++) {
        for (size_t k = 0; k < d->aliases[i].n_targets; k++) {
            if (d->aliases[i].targets[k].kind == ALIAS_PIPE)
                return true;
        }
    }
    return false;
}

/* Is there a mailbox or a program that mail can end in? A machine that only sends has none. */
static bool delivers(const struct config *c)
{
    for (size_t i = 0; i < c->policy.n_domains; i++) {
        const struct local_domain *d = &c->policy.domains[i];
        if (d->deliver.kind == DELIVER_MAILDIR || d->deliver.kind == DELIVER_PIPE || has_pipes(d))
            return true;
    }
    return false;
}

/* Where others look at passwords or tokens there is one that asks them, and a few in which PAM's modules may take their
 * time. */
static unsigned auth_count(const struct config *c)
{
    return c->n_auths > 0 || c->oauth.by != OAUTH_NONE ? 1 : 0;
}

static unsigned pam_count(const struct config *c)
{
    for (size_t i = 0; i < c->n_auths; i++) {
        if (c->auths[i].kind == AUTH_BY_PAM)
            return ROLE_PAM_N;
    }
    return 0;
}

static bool wants_http01(const struct config *c)
{
    return c->acme.contact.n > 0 && c->acme.challenge == ACME_HTTP_01;
}

/* Has the configuration fewer of its kind? */
static bool is_surplus(const struct slot *slot)
{
    const struct config *c = slot->super->config;
    return (slot->role == ROLE_KEYS && !secrets_is_needed(slot->super->secrets)) ||
           (slot->role == ROLE_AGENT && !config_wants_agent(c)) ||
           (slot->role == ROLE_ACME && c->acme.contact.n == 0) ||
           (slot->role == ROLE_HTTP01 && !wants_http01(c)) ||
           (slot->role == ROLE_HTTPS && !config_wants_https(c)) ||
           (slot->role == ROLE_AUTH && slot->index >= auth_count(c)) ||
           (slot->role == ROLE_PAM && slot->index >= pam_count(c)) ||
           (slot->role == ROLE_TABLES && !config_wants_tables(c)) ||
           (slot->role == ROLE_LOCAL && !delivers(c)) ||
           (slot->role == ROLE_SMTPD && slot->index >= c->n_smtpd) ||
           (slot->role == ROLE_RELAY && slot->index >= c->n_relay);
}

/* It dies before it is ready, and again. */
static bool is_hopeless(struct slot *slot, struct str how)
{
    struct super *s = slot->super;
    char mem[256];
    struct buf why;
    if (s->said_ready || slot->was_ready || ++slot->n_starts < START_TRIES)
        return false;
    buf_init_fixed(&why, mem, sizeof mem);
    buf_printf(&why, "the %s process does not start (%.*s); what it said is above", role_name(slot->role),
               STR_FMT(str_slice(how, 0, 100)));
    end(s, EX_NO_START, buf_str(&why));
    return true;
}

static void on_exit_child(void *arg, bool clean, struct str how)
{
    struct slot *slot = arg;
    struct super *s = slot->super;
    slot->child = NULL;
    if (slot->channel != NULL)
        on_closed(slot, slot->channel);
    if (s->is_draining || is_surplus(slot)) {
        slot_set_state(slot, SLOT_GONE);
        if (s->is_draining)
            drain_next(s);
        return;
    }
    bool was_sent_away = slot->state == SLOT_DRAINING; /* and is wanted again since */
    slot_set_state(slot, SLOT_DOWN);
    if (s->has_ended)
        return;
    if (was_sent_away) {
        slot_start(slot);
        return;
    }
    uint64_t now = world_now_ms(s->world);
    bool calm = now - slot->started_ms >= RESTART_CALM_MS;
    uint64_t doubled = slot->pause_ms == 0 ? RESTART_FIRST_MS : slot->pause_ms * 2;
    slot->pause_ms = calm ? 0 : doubled > RESTART_MAX_MS ? RESTART_MAX_MS : doubled;
    log_error(s->world->log, "role.died", LC("role", role_name(slot->role)), LU("index", slot->index),
              LS("how", how), LU("clean", clean), LU("restart_in_ms", slot->pause_ms));
    if (is_hopeless(slot, how))
        return;
    world_timer_set(s->world, &slot->restart, now + slot->pause_ms);
}

/* ---- draining ---------------- */

static void slot_drain(struct slot *slot)
{
    struct super *s = slot->super;
    uint64_t now = world_now_ms(s->world);
    struct ipc_sup_drain m = {.deadline_ms = s->drain_deadline_ms > now ? s->drain_deadline_ms - now : 0};
    slot_set_state(slot, SLOT_DRAINING);
    if (slot->channel == NULL || ipc_send_sup_drain(slot->channel, &m, NULL) != ERR_OK)
        child_kill(slot->child, true);
}

static void drain_next(struct super *s)
{
    while (s->drain_floor < DRAIN_FLOORS) {
        bool waiting = false;
        list_each (l, &s->slots) {
            struct slot *slot = list_entry(l, struct slot, link);
            if (floor_of[slot->role] != s->drain_floor)
                continue;
            if (slot->state == SLOT_DOWN) {
                world_timer_cancel(s->world, &slot->restart);
                slot_set_state(slot, SLOT_GONE);
            } else if (slot->state == SLOT_STARTING || slot->state == SLOT_UP) {
                slot_drain(slot);
            }
            waiting = waiting || slot->state == SLOT_DRAINING;
        }
        if (waiting)
            return;
        s->drain_floor++;
    }
    world_timer_cancel(s->world, &s->drain_timer);
    end(s, 0, STR("drained"));
}

static void on_drain_deadline(struct timer *t)
{
    struct super *s = container_of(t, struct super, drain_timer);
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (slot->child != NULL)
            child_kill(slot->child, true);
    }
    end(s, 0, STR("drain deadline reached, the rest was stopped"));
}

void super_drain(struct super *s, uint64_t deadline_ms)
{
    uint64_t until = world_now_ms(s->world) + deadline_ms;
    bool is_first = !s->is_draining;
    if (s->has_ended || (!is_first && until >= s->drain_deadline_ms))
        return;
    s->is_draining = true;
    s->drain_deadline_ms = until;
    world_timer_set(s->world, &s->drain_timer, until + (deadline_ms > 0 ? DRAIN_GRACE_MS : 0));
    if (is_first)
        drain_next(s);
}

/* ---- the house ---------------- */

static struct slot *slot_add(struct super *s, enum role role, unsigned index)
{
    struct slot *slot = mem_new(struct slot);
    if (slot == NULL)
        return NULL;
    *slot = (struct slot){.super = s, .role = role, .index = index, .restart = {.fire = on_restart}};
    list_push_back(&s->slots, &slot->link);
    return slot;
}

static bool add_many(struct super *s, enum role role, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct slot *have = NULL;
        list_each (l, &s->slots) {
            struct slot *x = list_entry(l, struct slot, link);
            if (x->role == role && x->index == i)
                have = x;
        }
        if (have == NULL && (have = slot_add(s, role, i)) == NULL)
            return false;
        if (have->state == SLOT_GONE)
            have->state = SLOT_DOWN; /* came back by a reload: a new life, not a transition */
    }
    return true;
}

static bool add_slots(struct super *s)
{
    const struct config *c = s->config;
    unsigned n_acme = c->acme.contact.n > 0 ? 1 : 0;
    return add_many(s, ROLE_ADMIN, 1) && add_many(s, ROLE_KEYS, secrets_is_needed(s->secrets) ? 1 : 0) &&
           add_many(s, ROLE_AUTH, auth_count(s->config)) && add_many(s, ROLE_PAM, pam_count(s->config)) &&
           add_many(s, ROLE_TABLES, config_wants_tables(s->config) ? 1 : 0) &&
           add_many(s, ROLE_AGENT, config_wants_agent(s->config) ? 1 : 0) && add_many(s, ROLE_LOOKUP, 1) &&
           add_many(s, ROLE_QUEUE, 1) && add_many(s, ROLE_RELAY, s->config->n_relay) &&
           add_many(s, ROLE_LOCAL, delivers(s->config) ? 1 : 0) &&
           add_many(s, ROLE_SMTPD, s->config->n_smtpd) && add_many(s, ROLE_HTTP01, wants_http01(c) ? 1 : 0) &&
           add_many(s, ROLE_HTTPS, config_wants_https(c) ? 1 : 0) && add_many(s, ROLE_ACME, n_acme);
}

/* The i-th place to listen at; NULL: there is none. */
static const struct netaddr *place_at(const struct config *c, size_t i)
{
    if (i < CONFIG_LISTENERS_MAX)
        return i < c->n_listeners ? &c->listeners[i].addr : NULL;
    return i - CONFIG_LISTENERS_MAX < c->n_https_addrs ? &c->https_addrs[i - CONFIG_LISTENERS_MAX] : NULL;
}

static struct listener *listener_for(struct super *s, const struct config *old, const struct netaddr *at)
{
    for (size_t i = 0; old != NULL && i < PLACES_MAX; i++) {
        const struct netaddr *place = place_at(old, i);
        if (s->listeners[i] != NULL && place != NULL && netaddr_eq(place, at))
            return s->listeners[i];
    }
    return NULL;
}

/* Fills `next` (PLACES_MAX of them, NULL) with kept and new listeners. */
static bool bind_all(struct super *s, const struct config *old, const struct config *config,
                     struct listener **next, struct buf *out)
{
    for (size_t i = 0; i < PLACES_MAX; i++) {
        const struct netaddr *at = place_at(config, i);
        if (at == NULL || (next[i] = listener_for(s, old, at)) != NULL)
            continue;
        enum err e = world_listen(s->world, at, 0666, &next[i]);
        if (e == ERR_OK)
            continue;
        buf_puts(out, "can't listen on ");
        netaddr_format(at, out);
        buf_printf(out, ": %s%s", err_str(e),
                   e == ERR_EXISTS   ? " (another program has this port: stop it, or choose another)"
                   : e == ERR_DENIED ? " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
                                     : "");
        for (size_t k = 0; k < i; k++) {
            if (next[k] != NULL && listener_for(s, old, place_at(config, k)) == NULL)
                listener_close(next[k]);
        }
        return false;
    }
    return true;
}

/* Its path is fixed for the life of the process: commands must find it. */
static bool bind_control(struct super *s, struct buf *out)
{
    struct netaddr at = {.kind = NETADDR_UNIX};
    if (s->config->control.n == 0)
        return true; /* none is wanted: the simulator */
    if (!str_to_c(s->config->control, at.path, sizeof at.path)) {
        buf_puts(out, "the path of the control socket is too long");
        return false;
    }
    enum err e = world_listen(s->world, &at, 0660, &s->control);
    if (e != ERR_OK)
        buf_printf(out, "can't make the control socket %s: %s%s", at.path, err_str(e),
                   e == ERR_EXISTS ? " (another waxwing runs with it, or another user made it)" : "");
    return e == ERR_OK;
}

static void take_listeners(struct super *s, struct listener **next)
{
    for (size_t i = 0; i < PLACES_MAX; i++) {
        bool kept = s->listeners[i] == NULL;
        for (size_t k = 0; k < PLACES_MAX; k++)
            kept = kept || next[k] == s->listeners[i];
        if (!kept)
            listener_close(s->listeners[i]);
    }
    memcpy(s->listeners, next, sizeof s->listeners);
}

static void start_down_slots(struct super *s)
{
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        const struct config *c = s->config;
        bool shows_certificates = slot->role == ROLE_SMTPD || slot->role == ROLE_HTTPS ||
                                  (slot->role == ROLE_RELAY && c->n_client_certificates > 0);
        bool needs_https = slot->role == ROLE_ACME && c->acme.challenge == ACME_TLS_ALPN_01;
        if ((shows_certificates || needs_https) && !secrets_is_settled(s->secrets))
            continue;
        if (slot->state == SLOT_DOWN && !slot->restart.is_set && !s->has_ended)
            slot_start(slot);
    }
}

/* Files of secrets: what is for the keys process secrets.c has read. */
static void on_files_changed(void *arg)
{
    struct super *s = arg;
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (slot->was_told_start && is_alive(slot) && slot->state != SLOT_DRAINING &&
            !hop_passwords_send(s->world, &s->conf.files, s->config, slot->role, slot->channel))
            log_warn(s->world->log, "secret.untold", LC("role", role_name(slot->role)),
                     LU("index", slot->index));
    }
}

/* Where nobody can log in nobody needs verifiers: the file may as well be a list of names. */
static bool has_logins(const struct config *c)
{
    for (size_t i = 0; i < c->n_listeners; i++) {
        if (c->listeners[i].auth != LISTEN_NO_AUTH)
            return true;
    }
    return false;
}

static bool set_secrets(struct super *s, const struct config *c)
{
    struct secret_certificate *list =
        mem_alloc_array(c->n_certificates + c->n_client_certificates + 1, sizeof *list);
    struct str *of_hops = mem_alloc_array(c->policy.n_routes + c->n_auths + 1, sizeof *of_hops);
    if (list == NULL || of_hops == NULL) {
        mem_free(list);
        mem_free(of_hops);
        return false;
    }
    for (size_t i = 0; i < c->n_certificates; i++)
        list[i] =
            (struct secret_certificate){c->certificates[i].cert, c->certificates[i].key, KEY_USE_SERVER};
    for (size_t i = 0; i < c->n_client_certificates; i++)
        list[c->n_certificates + i] = (struct secret_certificate){
            c->client_certificates[i].cert, c->client_certificates[i].key, KEY_USE_CLIENT};
    struct secret_list all = {.certificates = list,
                              .n_certificates = c->n_certificates + c->n_client_certificates,
                              .password_files = c->password_files,
                              .n_password_files = has_logins(c) ? c->n_password_files : 0,
                              .watched = of_hops,
                              .n_watched = hop_passwords_list(c, of_hops)};
    bool ok = secrets_set(s->secrets, &all);
    mem_free(list);
    mem_free(of_hops);
    return ok;
}

struct super *super_new(struct world *w, const struct config *config, struct str config_bytes,
                        const struct super_conf *conf)
{
    struct super *s = mem_new(struct super);
    if (s == NULL)
        return NULL;
    *s = (struct super){
        .world = w, .config = config, .conf = *conf, .drain_timer = {.fire = on_drain_deadline}};
    list_init(&s->slots);
    tickets_init(&s->tickets, w, s, on_tickets);
    s->config_blob = handle_of_blob(w, config_bytes);
    struct listener *next[PLACES_MAX] = {NULL};
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    struct secrets_conf secrets = {.files = conf->files,
                                   .arg = s,
                                   .on_certificate = on_certificate,
                                   .on_changed = on_files_changed,
                                   .on_settled = on_settled};
    memcpy(secrets.seed, conf->seed, sizeof secrets.seed);
    s->secrets = secrets_new(w, &secrets);
    if (s->secrets == NULL || !set_secrets(s, config) || s->config_blob == NULL || !add_slots(s)) {
        super_del(&s);
        return NULL;
    }
    if (!bind_all(s, NULL, config, next, &why)) {
        end(s, EX_NO_START, buf_str(&why));
        return s;
    }
    take_listeners(s, next);
    if (!bind_control(s, &why)) {
        end(s, EX_NO_START, buf_str(&why));
        return s;
    }
    start_down_slots(s);
    return s;
}

/* What a process may read is settled when it starts: with another folder another one takes its place. */
static void drain_tables(struct super *s, const struct config *old)
{
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (slot->role == ROLE_TABLES && (slot->state == SLOT_STARTING || slot->state == SLOT_UP) &&
            !str_eq(config_tables_folder(old), config_tables_folder(s->config)))
            slot_drain(slot);
    }
}

static void drain_surplus(struct super *s)
{
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (!is_surplus(slot))
            continue;
        if (slot->state == SLOT_STARTING || slot->state == SLOT_UP)
            slot_drain(slot);
        else if (slot->state == SLOT_DOWN) {
            world_timer_cancel(s->world, &slot->restart);
            slot_set_state(slot, SLOT_GONE);
        }
    }
}

bool super_reload(struct super *s, const struct config *config, struct str config_bytes, struct buf *out)
{
    struct listener *next[PLACES_MAX] = {NULL};
    if (s->is_draining || s->has_ended)
        return false;
    struct handle *blob = handle_of_blob(s->world, config_bytes);
    if (blob == NULL)
        buf_puts(out, "no memory or descriptors for the configuration");
    if (blob == NULL || !bind_all(s, s->config, config, next, out)) {
        handle_drop(blob);
        return false;
    }
    take_listeners(s, next);
    handle_drop(s->config_blob);
    s->config_blob = blob;
    const struct config *old = s->config;
    s->config = config;
    s->drain_deadline_ms = world_now_ms(s->world) + 60000; /* for processes that are no longer wanted */
    if (!set_secrets(s, config))
        log_error(s->world->log, "reload.memory", LC("what", "not every new secret could be added"));
    drain_surplus(s);
    drain_tables(s, old);
    if (!add_slots(s))
        log_error(s->world->log, "reload.memory", LC("what", "not every new process could be added"));
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        if (!is_alive(slot) || slot->state == SLOT_DRAINING)
            continue;
        bool ok = send_listeners(slot) && send_config(s, slot->channel) &&
                  (!slot->was_told_start ||
                   hop_passwords_send(s->world, &s->conf.files, config, slot->role, slot->channel));
        if (!ok)
            child_kill(slot->child, true); /* it starts anew with the new configuration */
        else if (slot->state == SLOT_UP)
            tell_tickets(slot);
    }
    start_down_slots(s);
    return true;
}

void super_del(struct super **sp)
{
    struct super *s = *sp;
    if (s == NULL)
        return;
    list_each (l, &s->slots) {
        struct slot *slot = list_entry(l, struct slot, link);
        world_timer_cancel(s->world, &slot->restart);
        if (slot->channel != NULL)
            channel_close(slot->channel);
        mem_free(slot);
    }
    world_timer_cancel(s->world, &s->drain_timer);
    tickets_fini(&s->tickets);
    for (size_t i = 0; i < PLACES_MAX; i++) {
        if (s->listeners[i] != NULL)
            listener_close(s->listeners[i]);
    }
    if (s->control != NULL)
        listener_close(s->control);
    secrets_del(&s->secrets);
    handle_drop(s->config_blob);
    mem_free(s);
    *sp = NULL;
}
