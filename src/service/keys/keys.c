/* service/keys/keys.c: the keys role: private keys and password verifiers live here, and nowhere else but in
 * the files that the supervisor reads. It signs for handshakes and looks at logins; no secret ever leaves it.
 *
 * Owns:     keys and files of users as the supervisor handed them over, answers that wait for room.
 * Limits:   KEYS_WAITING_MAX logins at a time, CONFIG_CERTIFICATES_MAX and CONFIG_PASSWORD_FILES_MAX of the
 *           configuration (twice, while old ones give way to new ones).
 * Errors:   a secret that can't be used is told to the supervisor, with the reason; a question that can't be
 *           answered is answered so.
 * Security: no network, no files. Who asks may be taken over: each kind of key is for one role, only what TLS
 *           signs is signed, and guesses are limited here, where nobody gets by.
 */
#include "service/keys/keys.h"

#include "base/mem.h"
#include "crypto/secret.h"

#include <string.h>

enum { COUNT_EVERY_MS = 1000, WHY_MAX = 512, HELD_KEYS_MAX = 2 * CONFIG_CERTIFICATES_MAX };

/* ---- to the askers --------------------------------------------------------------------------- */

struct unsent {
    struct list link;
    uint16_t type;
    size_t n;
    char bytes[];
};

void asker_send(struct asker *k, uint16_t type, struct str payload)
{
    if (list_is_empty(&k->unsent) && channel_send(k->channel, type, payload, NULL) != ERR_AGAIN)
        return; /* closed: on_closed comes */
    struct unsent *u = mem_alloc(sizeof *u + payload.n);
    if (u == NULL) { /* the asker has its own deadline; nothing better is left */
        log_error(world_log(k->keys->world), "keys.answer_lost", LERR(ERR_NOMEM));
        return;
    }
    *u = (struct unsent){.type = type, .n = payload.n};
    memcpy(u->bytes, payload.p, payload.n);
    list_init(&u->link);
    list_push_back(&k->unsent, &u->link);
    channel_pause(k->channel, true);
}

void keys_look_drained(struct keys *k)
{
    if (!k->is_draining || k->is_drained || k->n_logins > 0)
        return;
    list_each (l, &k->askers) {
        if (!list_is_empty(&list_entry(l, struct asker, link)->unsent))
            return;
    }
    k->is_drained = true;
    role_drained(k->env);
}

static void on_room(void *arg, struct channel *c)
{
    struct asker *k = arg;
    list_each (l, &k->unsent) {
        struct unsent *u = list_entry(l, struct unsent, link);
        if (channel_send(c, u->type, str_of(u->bytes, u->n), NULL) == ERR_AGAIN)
            return;
        list_remove(&u->link);
        mem_free(u);
    }
    channel_pause(c, false);
    keys_look_drained(k->keys);
}

/* ---- what can be offered ----------------------------------------------------------------------- */

/* A client takes the strongest mechanism that it knows: what a user lacks the verifier for would shut him
 * out, so it is offered only when nobody lacks it. */
static unsigned scram_of_all(struct keys *k)
{
    unsigned all = (1u << SCRAM_HASHES) - 1;
    list_each (l, &k->files)
        all &= users_scram(list_entry(l, struct held_users, link)->users);
    return list_is_empty(&k->files) ? 0 : all;
}

static void tell_offer(struct asker *a, unsigned scram)
{
    char mem[8];
    struct buf out;
    struct ipc_auth_offer m = {(uint8_t)scram};
    buf_init_fixed(&out, mem, sizeof mem);
    must(ipc_encode_auth_offer(&m, &out));
    if (a->role == ROLE_SMTPD)
        asker_send(a, IPC_AUTH_OFFER, buf_str(&out));
}

static void look_at_offer(struct keys *k)
{
    unsigned scram = scram_of_all(k);
    if (scram == k->scram)
        return;
    k->scram = scram;
    list_each (l, &k->askers)
        tell_offer(list_entry(l, struct asker, link), scram);
}

/* ---- signatures ------------------------------------------------------------------------------ */

static struct held_key *key_find(struct keys *k, uint32_t number)
{
    list_each (l, &k->keys) {
        struct held_key *h = list_entry(l, struct held_key, link);
        if (h->number == number)
            return h;
    }
    return NULL;
}

/* A relay shows our own certificate to others; it has no say for what smtpd and https show, nor the reverse.
 */
static bool is_for(const struct held_key *h, enum role role)
{
    return (h->uses & (role == ROLE_RELAY ? KEY_USE_CLIENT : KEY_USE_SERVER)) != 0;
}

/* One line in a while: anybody can make handshakes. */
static bool is_time_to_log(struct keys *k)
{
    uint64_t now_ms = world_now_ms(k->world);
    if (now_ms < k->sign_log_ms)
        return false;
    k->sign_log_ms = now_ms + KEYS_LOG_MS;
    return true;
}

static void sign(struct asker *a, const struct ipc_sign_ask *m)
{
    struct keys *k = a->keys;
    char mem[TLS_SIGNATURE_MAX], out_mem[TLS_SIGNATURE_MAX + 64];
    struct buf signature, out;
    buf_init_fixed(&signature, mem, sizeof mem);
    buf_init_fixed(&out, out_mem, sizeof out_mem);
    const struct held_key *h = key_find(k, m->key);
    enum err e = h == NULL ? ERR_NOTFOUND : ERR_DENIED;
    if (h != NULL && is_for(h, a->role))
        e = private_key_sign(h->key, (enum tls_scheme)m->scheme, (enum tls_digest)m->digest, m->octets,
                             &signature);
    if (e == ERR_OK) {
        k->count.signatures++;
    } else {
        k->count.signatures_refused++;
        if (is_time_to_log(k))
            log_warn(world_log(k->world), "sign.refused", LC("for", role_name(a->role)), LU("key", m->key),
                     LU("scheme", m->scheme), LU("digest", m->digest), LU("octets", m->octets.n), LERR(e));
        buf_reset(&signature);
    }
    struct ipc_sign_answer answer = {m->token, (uint8_t)e, buf_str(&signature)};
    must(ipc_encode_sign_answer(&answer, &out));
    asker_send(a, IPC_SIGN_ANSWER, buf_str(&out));
}

/* ---- channels -------------------------------------------------------------------------------- */

static void asker_del(struct asker *a)
{
    keys_forget_asker(a->keys, a);
    list_each (l, &a->unsent)
        mem_free(list_entry(l, struct unsent, link));
    list_remove(&a->link);
    mem_free(a);
}

static void on_closed(void *arg, struct channel *c)
{
    struct asker *a = arg;
    struct keys *k = a->keys;
    asker_del(a);
    role_peer_closed(k->env, c);
    keys_look_drained(k);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct asker *a = arg;
    struct keys *k = a->keys;
    struct ipc_sign_ask to_sign;
    struct ipc_auth_ask login;
    UNUSED(given);
    if (!role_message_allowed(k->env, a->role, c, type)) {
        asker_del(a);
        return;
    }
    bool ok = false;
    if (type == IPC_SIGN_ASK && ipc_decode_sign_ask(payload, &to_sign)) {
        sign(a, &to_sign);
        ok = true;
    } else if (type == IPC_AUTH_ASK && ipc_decode_auth_ask(payload, &login)) {
        ok = keys_login(a, &login);
    }
    if (!ok) {
        role_message_malformed(k->env, a->role, c, type);
        asker_del(a);
    }
}

static const struct channel_user asker_user = {on_message, on_room, on_closed};

static void on_admin_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct keys *k = arg;
    UNUSED(payload);
    UNUSED(given);
    if (role_message_allowed(k->env, ROLE_ADMIN, c, type))
        role_message_malformed(k->env, ROLE_ADMIN, c, type);
}

static void on_admin_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_admin_closed(void *arg, struct channel *c)
{
    struct keys *k = arg;
    role_peer_closed(k->env, c);
}

static const struct channel_user admin_user = {on_admin_message, on_admin_room, on_admin_closed};

static void keys_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct keys *k = self;
    UNUSED(index);
    if (who == ROLE_ADMIN)
        channel_set_user(c, &admin_user, k);
    if (who != ROLE_SMTPD && who != ROLE_RELAY && who != ROLE_HTTPS)
        return;
    struct asker *a = mem_new(struct asker);
    if (a == NULL) {
        log_error(world_log(k->world), "keys.peer_lost", LC("role", role_name(who)), LERR(ERR_NOMEM));
        role_peer_closed(k->env, c);
        return;
    }
    *a = (struct asker){.keys = k, .role = who, .channel = c};
    list_init(&a->unsent);
    list_init(&a->link);
    list_push_back(&k->askers, &a->link);
    channel_set_user(c, &asker_user, a);
    tell_offer(a, k->scram);
}

/* ---- secrets --------------------------------------------------------------------------------- */

static void tell_state(struct keys *k, enum secret_kind kind, uint32_t number, enum err e, size_t n,
                       struct str why)
{
    struct ipc_key_state m = {(uint8_t)kind, number, (uint8_t)e, (uint32_t)n, why};
    e = role_tell_super(k->env, &m);
    if (e != ERR_OK) /* it takes as many answers as it asks for */
        log_error(world_log(k->world), "keys.state_untold", LERR(e));
}

static void key_del(struct held_key *h)
{
    list_remove(&h->link);
    private_key_free(&h->key);
    mem_free(h);
}

static size_t list_count(const struct list *head)
{
    size_t n = 0;
    for (const struct list *l = head->next; l != head; l = l->next)
        n++;
    return n;
}

static void on_key(struct keys *k, const struct ipc_sup_key *m, struct str pem)
{
    char mem[WHY_MAX];
    struct buf why;
    struct private_key *key = NULL;
    buf_init_fixed(&why, mem, sizeof mem);
    struct held_key *h = key_find(k, m->key);
    bool is_new = h == NULL;
    enum err e = is_new && list_count(&k->keys) >= HELD_KEYS_MAX ? ERR_TOO_BIG : ERR_OK;
    if (e == ERR_OK)
        e = private_key_load(k->crypto, pem, m->chain, world_wall_ms(k->world) / 1000, &key, &why);
    if (e == ERR_OK && is_new)
        h = mem_new(struct held_key);
    if (h == NULL && e == ERR_OK)
        e = ERR_NOMEM;
    if (e == ERR_OK) {
        if (is_new) {
            list_init(&h->link);
            list_push_back(&k->keys, &h->link);
        }
        private_key_free(&h->key);
        h->number = m->key;
        h->uses = m->uses;
        h->key = key;
    } else {
        private_key_free(&key);
        if (why.n == 0)
            buf_puts(&why, err_str(e));
    }
    tell_state(k, SECRET_KEY, m->key, e, 0, buf_str(&why));
}

static void users_del(struct held_users *h)
{
    list_remove(&h->link);
    users_free(&h->users);
    secret_wipe(h->seed, sizeof h->seed);
    mem_free(h);
}

struct held_users *keys_find_users(struct keys *k, struct str name)
{
    list_each (l, &k->files) {
        struct held_users *h = list_entry(l, struct held_users, link);
        if (str_eq(str_of(h->name, h->n_name), name))
            return h;
    }
    return NULL;
}

static struct held_users *users_hold(struct keys *k, struct str name)
{
    struct held_users *h = keys_find_users(k, name);
    if (h != NULL)
        return h;
    h = list_count(&k->files) >= CONFIG_PASSWORD_FILES_MAX ? NULL : mem_alloc(sizeof *h + name.n);
    if (h == NULL)
        return NULL;
    h->n_name = name.n;
    if (name.n > 0)
        memcpy(h->name, name.p, name.n);
    list_init(&h->link);
    list_push_back(&k->files, &h->link);
    return h;
}

static void on_users(struct keys *k, const struct ipc_sup_users *m, struct str text)
{
    char mem[WHY_MAX];
    struct buf why;
    struct users *users;
    buf_init_fixed(&why, mem, sizeof mem);
    enum err e = m->seed.n == KEYS_SEED ? users_parse(text, &users, &why) : ERR_INVALID;
    size_t n = 0;
    if (e == ERR_OK) {
        struct held_users *h = users_hold(k, m->name);
        if (h != NULL) {
            users_free(&h->users);
            h->users = users;
            h->file = m->file;
            memcpy(h->seed, m->seed.p, KEYS_SEED);
            n = users_count(users);
        } else {
            users_free(&users);
            e = ERR_NOMEM;
        }
    }
    if (e != ERR_OK && why.n == 0)
        buf_puts(&why, err_str(e));
    tell_state(k, SECRET_USERS, m->file, e, n, buf_str(&why));
    look_at_offer(k);
}

static void on_forget(struct keys *k, const struct ipc_sup_forget *m)
{
    struct held_key *key = m->kind == SECRET_KEY ? key_find(k, m->number) : NULL;
    if (key != NULL)
        key_del(key);
    list_each (l, &k->files) {
        struct held_users *h = list_entry(l, struct held_users, link);
        if (m->kind == SECRET_USERS && h->file == m->number)
            users_del(h);
    }
    look_at_offer(k);
}

static void keys_from_super(void *self, uint16_t type, struct str payload, struct handle *given)
{
    struct keys *k = self;
    struct ipc_sup_key key;
    struct ipc_sup_users users;
    struct ipc_sup_forget forget;
    struct blob secret = {STR_NIL, NULL};
    if (type == IPC_SUP_KEY && ipc_decode_sup_key(payload, &key) &&
        handle_take_blob(k->world, given, &secret))
        on_key(k, &key, secret.bytes);
    else if (type == IPC_SUP_USERS && ipc_decode_sup_users(payload, &users) &&
             handle_take_blob(k->world, given, &secret))
        on_users(k, &users, secret.bytes);
    else if (type == IPC_SUP_FORGET && ipc_decode_sup_forget(payload, &forget))
        on_forget(k, &forget);
    else
        log_error(world_log(k->world), "keys.not_understood", LC("type", ipc_type_name(type)));
    blob_free(&secret);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void count(struct buf *b, const char *name, uint64_t value)
{
    buf_put_lstr(b, str_from_c(name));
    buf_put_u64(b, value);
}

static void on_count(struct timer *t)
{
    struct keys *k = container_of(t, struct keys, count_timer);
    char mem[1024];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    count(&b, "keys_held", list_count(&k->keys));
    count(&b, "keys_signatures", k->count.signatures);
    count(&b, "keys_signatures_refused", k->count.signatures_refused);
    count(&b, "keys_logins_right", k->count.right);
    count(&b, "keys_logins_wrong", k->count.wrong);
    count(&b, "keys_logins_too_many_guesses", k->count.too_many);
    count(&b, "keys_logins_too_busy", k->count.busy);
    count(&b, "keys_password_hashes", k->count.hashes);
    count(&b, "keys_scram_proofs", k->count.proofs);
    struct ipc_counters m = {.pairs = buf_str(&b)};
    struct channel *admin = k->env->peers[ROLE_ADMIN][0];
    if (admin != NULL && channel_backlog(admin) < IPC_QUEUE_MAX / 2 &&
        ipc_send_counters(admin, &m, NULL) != ERR_OK)
        k->env->n_events_dropped++;
    world_timer_set(k->world, &k->count_timer, world_now_ms(k->world) + COUNT_EVERY_MS);
}

static void on_drain_deadline(struct timer *t)
{
    struct keys *k = container_of(t, struct keys, drain_timer);
    if (!k->is_drained)
        role_drained(k->env);
    k->is_drained = true;
}

static void *keys_create(struct role_env *env)
{
    struct keys *k = mem_must_new(struct keys);
    k->env = env;
    k->world = env->world;
    list_init(&k->askers);
    list_init(&k->keys);
    list_init(&k->files);
    list_init(&k->logins);
    k->guesses = guesses_new(k->world);
    must(k->guesses != NULL);
    k->count_timer.fire = on_count;
    k->drain_timer.fire = on_drain_deadline;
    enum err e = crypto_new(&k->crypto);
    if (e == ERR_OK)
        e = world_workers(k->world, KEYS_THREADS, &k->workers);
    if (e != ERR_OK) {
        crypto_del(&k->crypto);
        guesses_del(&k->guesses);
        mem_free(k);
        role_fail(env, str_from_c(err_str(e)));
        return NULL;
    }
    world_timer_set(k->world, &k->count_timer, world_now_ms(k->world) + COUNT_EVERY_MS);
    for (size_t r = 0; r < ROLE_N; r++) {
        for (unsigned i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (env->peers[r][i] != NULL)
                keys_peer(k, (enum role)r, i, env->peers[r][i]);
        }
    }
    role_ready(env);
    return k;
}

static void keys_reload(void *self, const struct config *old)
{
    struct keys *k = self;
    role_config_release(k->env, old); /* the supervisor says what changes for us */
}

static void keys_drain(void *self, uint64_t deadline_ms)
{
    struct keys *k = self;
    k->is_draining = true;
    world_timer_set(k->world, &k->drain_timer, deadline_ms);
    keys_look_drained(k);
}

static void keys_del(void *self)
{
    struct keys *k = self;
    workers_close(k->workers);
    keys_forget_logins(k);
    list_each (l, &k->askers)
        asker_del(list_entry(l, struct asker, link));
    list_each (l, &k->keys)
        key_del(list_entry(l, struct held_key, link));
    list_each (l, &k->files)
        users_del(list_entry(l, struct held_users, link));
    world_timer_cancel(k->world, &k->count_timer);
    world_timer_cancel(k->world, &k->drain_timer);
    guesses_del(&k->guesses);
    crypto_del(&k->crypto);
    mem_free(k);
}

const struct role_ops keys_role = {.create = keys_create,
                                   .peer = keys_peer,
                                   .reload = keys_reload,
                                   .drain = keys_drain,
                                   .del = keys_del,
                                   .from_super = keys_from_super};
