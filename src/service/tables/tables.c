/* service/tables/tables.c: the tables role: passwords of domains whose users a directory or a database knows.
 * Access tokens are oauth.c's.
 *
 * Owns:     questions of auth with their passwords, our own passwords at those that are asked, the list of
 * tables. Limits:   TABLES_WAITING_MAX questions, each for TABLES_ANSWER_MS. Errors:   who can't be asked,
 * breaks off or falls silent is a temporary failure, with the reason for auth's log. Security: answers auth
 * alone, which counts guesses. It speaks with the tables of its configuration and with nobody else. Passwords
 * are wiped as soon as they were answered, and never in a log.
 */
#include "service/tables/oauth.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"

#include <string.h>

enum { COUNT_EVERY_MS = 1000, ANSWER_SIZE = 2 * TABLE_TEXT_MAX };

struct secret {
    struct list link;
    struct str name, octets;
};

/* ---- questions ------------------------------------------------------------------------------- */

void tables_look_drained(struct tables *t)
{
    if (!t->is_draining || t->is_drained || t->n_asks > 0 || !oauth_is_idle(t->oauth))
        return;
    t->is_drained = true;
    role_drained(t->env);
}

/* auth has its own deadline: nothing better is left when it takes no more. */
void tables_say(struct tables *t, uint64_t token, enum auth_verdict verdict, struct str user, struct str why)
{
    char mem[ANSWER_SIZE];
    struct buf out;
    struct ipc_auth_answer m = {.token = token, .verdict = (uint8_t)verdict, .user = user, .why = why};
    buf_init_fixed(&out, mem, sizeof mem);
    must(ipc_encode_auth_answer(&m, &out));
    if (t->auth != NULL && channel_send(t->auth, IPC_AUTH_ANSWER, buf_str(&out), NULL) == ERR_AGAIN)
        log_error(world_log(t->world), "tables.answer_lost", LU("token", token));
}

static void ask_del(struct table_ask *a)
{
    list_remove(&a->link);
    list_remove(&a->place);
    a->table->tables->n_asks--;
    secret_wipe(a, sizeof *a);
    mem_free(a);
}

void table_answer(struct table_ask *a, enum auth_verdict verdict, struct str why)
{
    struct tables *t = a->table->tables;
    char mem[TABLE_TEXT_MAX + TABLE_WHY_MAX + 2];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    if (verdict == AUTH_TEMPORARY) {
        buf_put(&text, a->table->conf.table.server);
        buf_puts(&text, ": ");
        buf_put(&text, str_slice(why, 0, TABLE_WHY_MAX));
    }
    t->count.right += verdict == AUTH_OK;
    t->count.wrong += verdict == AUTH_BAD;
    t->count.failed += verdict == AUTH_TEMPORARY;
    tables_say(t, a->token, verdict, STR_NIL, buf_str(&text));
    ask_del(a);
    tables_look_drained(t);
}

/* It is answered here, whatever its table does. */
static void give_up(struct table_ask *a, struct str why)
{
    a->table->kind->cancel(a->table, a);
    table_answer(a, AUTH_TEMPORARY, why);
}

static void set_due(struct tables *t)
{
    if (list_is_empty(&t->asks))
        world_timer_cancel(t->world, &t->due_timer);
    else
        world_timer_set(t->world, &t->due_timer, list_entry(t->asks.next, struct table_ask, link)->due_ms);
}

static void on_due(struct timer *timer)
{
    struct tables *t = container_of(timer, struct tables, due_timer);
    uint64_t now = world_now_ms(t->world);
    while (!list_is_empty(&t->asks)) {
        struct table_ask *a = list_entry(t->asks.next, struct table_ask, link);
        if (a->due_ms > now)
            break;
        give_up(a, STR("no answer came in time"));
    }
    set_due(t);
}

static struct table *table_of(const struct tables *t, struct str domain)
{
    const struct local_domain *d = policy_domain(&t->env->config->policy, domain);
    list_each (l, &t->tables) {
        struct table *x = list_entry(l, struct table, link);
        if (d != NULL && d->auth == x->number)
            return x;
    }
    return NULL;
}

static void take_lower(struct str s, char *out, size_t *out_n)
{
    for (size_t i = 0; i < s.n; i++)
        out[i] = ascii_lower(s.p[i]);
    *out_n = s.n;
}

/* false: no such question exists, the asker is broken: it has the same bounds. */
static bool on_ask(struct tables *t, const struct ipc_auth_ask *m)
{
    if (m->kind != AUTH_PASSWORD || m->user.n == 0 || m->user.n > SMTP_LOCAL_PART_MAX ||
        m->file.n > SMTP_DOMAIN_MAX || m->secret.n > SASL_PASSWORD_MAX)
        return false;
    struct table *x = table_of(t, m->file);
    struct table_ask *a = x == NULL || t->n_asks >= TABLES_WAITING_MAX ? NULL : mem_new(struct table_ask);
    if (a == NULL) {
        t->count.busy += x != NULL;
        tables_say(t, m->token, AUTH_TEMPORARY, STR_NIL,
                     x == NULL ? STR("nothing is known of who looks at the passwords of this domain")
                               : STR("too many questions wait"));
        return true;
    }
    a->table = x;
    a->token = m->token;
    a->due_ms = world_now_ms(t->world) + TABLES_ANSWER_MS;
    take_lower(m->user, a->user, &a->n_user);
    take_lower(m->file, a->domain, &a->n_domain);
    a->n_password = m->secret.n;
    if (m->secret.n > 0)
        memcpy(a->password, m->secret.p, m->secret.n);
    list_init(&a->link);
    list_init(&a->place);
    list_push_back(&t->asks, &a->link);
    t->n_asks++;
    x->kind->ask(x, a);
    set_due(t);
    return true;
}

/* ---- channels -------------------------------------------------------------------------------- */

/* Nobody waits for the answers any more. */
static void auth_gone(struct tables *t)
{
    t->auth = NULL;
    list_each (l, &t->asks) {
        struct table_ask *a = list_entry(l, struct table_ask, link);
        a->table->kind->cancel(a->table, a);
        ask_del(a);
    }
    oauth_auth_gone(t->oauth);
    set_due(t);
    tables_look_drained(t);
}

static void on_auth_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                            struct handle *given)
{
    struct tables *t = arg;
    struct ipc_auth_ask m;
    UNUSED(given);
    bool is_allowed = role_message_allowed(t->env, ROLE_AUTH, c, type);
    if (is_allowed && type == IPC_AUTH_ASK && ipc_decode_auth_ask(payload, &m) &&
        (m.kind == AUTH_TOKEN ? oauth_ask(t->oauth, &m) : on_ask(t, &m)))
        return;
    if (is_allowed)
        role_message_malformed(t->env, ROLE_AUTH, c, type);
    auth_gone(t);
}

static void on_auth_closed(void *arg, struct channel *c)
{
    struct tables *t = arg;
    role_peer_closed(t->env, c);
    auth_gone(t);
}

static void on_lookup_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                              struct handle *given)
{
    struct tables *t = arg;
    struct ipc_host_answer m;
    UNUSED(given);
    if (!role_message_allowed(t->env, ROLE_LOOKUP, c, type)) {
        t->lookup = NULL;
        table_hosts_lost(t);
    } else if (type == IPC_HOST_ANSWER && ipc_decode_host_answer(payload, &m)) {
        table_hosts_on_answer(t, &m);
    } else {
        t->lookup = NULL;
        role_message_malformed(t->env, ROLE_LOOKUP, c, type);
        table_hosts_lost(t);
    }
}

static void on_lookup_closed(void *arg, struct channel *c)
{
    struct tables *t = arg;
    t->lookup = NULL;
    role_peer_closed(t->env, c);
    table_hosts_lost(t);
}

static void on_lookup_room(void *arg, struct channel *c)
{
    UNUSED(c);
    table_hosts_retry(arg);
}

static void on_admin_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct tables *t = arg;
    UNUSED(payload);
    UNUSED(given);
    if (role_message_allowed(t->env, ROLE_ADMIN, c, type))
        role_message_malformed(t->env, ROLE_ADMIN, c, type);
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_admin_closed(void *arg, struct channel *c)
{
    struct tables *t = arg;
    role_peer_closed(t->env, c);
}

static const struct channel_user auth_user = {on_auth_message, on_room, on_auth_closed};
static const struct channel_user lookup_user = {on_lookup_message, on_lookup_room, on_lookup_closed};
static const struct channel_user admin_user = {on_admin_message, on_room, on_admin_closed};

static void tables_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct tables *t = self;
    UNUSED(index);
    if (who == ROLE_AUTH) {
        t->auth = c;
        channel_set_user(c, &auth_user, t);
    } else if (who == ROLE_LOOKUP) {
        t->lookup = c;
        channel_set_user(c, &lookup_user, t);
        table_hosts_retry(t);
    } else if (who == ROLE_ADMIN) {
        channel_set_user(c, &admin_user, t);
    }
}

/* ---- our own passwords ----------------------------------------------------------------------- */

static struct secret *secret_find(const struct tables *t, struct str name)
{
    list_each (l, &t->secrets) {
        struct secret *s = list_entry(l, struct secret, link);
        if (str_eq(s->name, name))
            return s;
    }
    return NULL;
}

struct str tables_secret(const struct tables *t, struct str name)
{
    const struct secret *s = secret_find(t, name);
    return s == NULL ? STR_NIL : s->octets;
}

static void secret_del(struct secret *s)
{
    list_remove(&s->link);
    secret_free(&s->name);
    secret_free(&s->octets);
    mem_free(s);
}

static struct secret *secret_new(struct str name, struct str octets)
{
    struct secret *s = mem_new(struct secret);
    if (s == NULL)
        return NULL;
    list_init(&s->link);
    if (secret_copy(name, &s->name) && secret_copy(octets, &s->octets))
        return s;
    secret_del(s);
    return NULL;
}

/* Of what the supervisor has handed over; libraries take it as a text of C. */
static void set_password(struct table *x)
{
    const struct secret *s = secret_find(x->tables, x->conf.table.secret);
    bool needs_one = x->conf.table.secret.n > 0;
    x->has_password = !needs_one || (s != NULL && memchr(s->octets.p, '\0', s->octets.n) == NULL);
    x->password = needs_one && x->has_password ? s->octets : STR_NIL;
}

static void on_secret(struct tables *t, struct str name, struct str octets)
{
    struct secret *old = secret_find(t, name);
    struct str line = secret_line(str_slice(octets, 0, SECRET_FILE_MAX));
    if (old != NULL && str_eq(old->octets, line))
        return;
    struct secret *s = secret_new(name, line);
    if (s == NULL) {
        log_error(world_log(t->world), "tables.secret", LS("file", name), LERR(ERR_NOMEM));
        return;
    }
    if (old != NULL) {
        log_info(world_log(t->world), "password.changed", LS("file", name));
        secret_del(old);
    }
    list_push_back(&t->secrets, &s->link);
    list_each (l, &t->tables) {
        struct table *x = list_entry(l, struct table, link);
        set_password(x);
        if (str_eq(x->conf.table.secret, name))
            x->kind->refresh(x);
    }
}

static void tables_from_super(void *self, uint16_t type, struct str payload, struct handle *given)
{
    struct tables *t = self;
    struct ipc_sup_secret m;
    struct blob octets = {STR_NIL, NULL};
    if (type == IPC_SUP_SECRET && ipc_decode_sup_secret(payload, &m) &&
        handle_take_blob(t->world, given, &octets))
        on_secret(t, m.name, octets.bytes);
    else
        log_error(world_log(t->world), "tables.not_understood", LC("type", ipc_type_name(type)));
    blob_free(&octets);
}

/* ---- the configuration ----------------------------------------------------------------------- */

enum { TEXTS = 6 };

static void list_texts(struct auth_table *t, struct str *out[TEXTS])
{
    struct str *all[TEXTS] = {&t->server, &t->host, &t->user, &t->secret, &t->place, &t->question};
    memcpy(out, all, sizeof all);
}

/* What the URL says is said again by its parts. */
static bool is_same(const struct auth_backend *a, const struct auth_backend *b)
{
    const struct auth_table *t = &a->table, *u = &b->table;
    return a->kind == b->kind && str_eq(t->server, u->server) && str_eq(t->user, u->user) &&
           str_eq(t->secret, u->secret) && str_eq(t->place, u->place) && str_eq(t->question, u->question);
}

static const struct table_kind *kind_of(enum auth_by kind)
{
    return config_is_table(kind) ? &table_pool : NULL;
}

static void table_free(struct table *x)
{
    mem_free(x->texts);
    mem_free(x);
}

static struct table *table_new(struct tables *t, const struct auth_backend *conf)
{
    struct table *x = mem_new(struct table);
    struct str *texts[TEXTS];
    size_t n = 0;
    if (x == NULL)
        return NULL;
    x->tables = t;
    x->kind = kind_of(conf->kind);
    x->conf = *conf;
    list_init(&x->link);
    list_texts(&x->conf.table, texts);
    for (size_t i = 0; i < TEXTS; i++)
        n += texts[i]->n + 1;
    x->texts = mem_alloc(n);
    if (x->texts == NULL) {
        table_free(x);
        return NULL;
    }
    char *p = x->texts;
    for (size_t i = 0; i < TEXTS; i++) {
        if (texts[i]->n > 0)
            memcpy(p, texts[i]->p, texts[i]->n);
        p[texts[i]->n] = '\0';
        texts[i]->p = p;
        p += texts[i]->n + 1;
    }
    set_password(x);
    if (x->kind->open(x))
        return x;
    table_free(x);
    return NULL;
}

static void table_del(struct table *x)
{
    list_each (l, &x->tables->asks) {
        struct table_ask *a = list_entry(l, struct table_ask, link);
        if (a->table == x)
            give_up(a, STR("the configuration has changed"));
    }
    list_remove(&x->link);
    x->kind->close(x);
    table_free(x);
}

static struct table *take_kept(struct tables *t, const struct auth_backend *conf)
{
    list_each (l, &t->tables) {
        struct table *x = list_entry(l, struct table, link);
        if (!is_same(&x->conf, conf))
            continue;
        list_remove(&x->link);
        return x;
    }
    return NULL;
}

static bool is_named(const struct config *c, struct str name)
{
    for (size_t i = 0; i < c->n_auths; i++) {
        if (str_eq(c->auths[i].table.secret, name))
            return true;
    }
    return str_eq(c->oauth.secret, name);
}

static void configure(struct tables *t)
{
    const struct config *c = t->env->config;
    struct list kept;
    list_init(&kept);
    t->n_tables = 0;
    for (size_t i = 0; i < c->n_auths; i++) {
        if (kind_of(c->auths[i].kind) == NULL)
            continue;
        struct table *x = take_kept(t, &c->auths[i]);
        if (x == NULL)
            x = table_new(t, &c->auths[i]);
        if (x == NULL) {
            log_error(world_log(t->world), "tables.lost", LS("server", c->auths[i].table.server),
                      LERR(ERR_NOMEM));
            continue;
        }
        x->number = (uint32_t)i + 1;
        t->n_tables++;
        list_push_back(&kept, &x->link);
    }
    while (!list_is_empty(&t->tables))
        table_del(list_entry(t->tables.next, struct table, link));
    while (!list_is_empty(&kept)) {
        struct list *l = kept.next;
        list_remove(l);
        list_push_back(&t->tables, l);
    }
    list_each (l, &t->secrets) {
        struct secret *s = list_entry(l, struct secret, link);
        if (!is_named(c, s->name))
            secret_del(s);
    }
    set_due(t);
}

static void trust(struct tables *t)
{
    if (!t->drivers->trust(t->drivers->self, t->env->config->authorities))
        log_error(world_log(t->world), "tables.trust", LERR(ERR_NOMEM));
}

/* ---- the role -------------------------------------------------------------------------------- */

static void on_tick(struct timer *timer)
{
    struct tables *t = container_of(timer, struct tables, tick_timer);
    world_timer_set(t->world, timer, world_now_ms(t->world) + TABLES_TICK_MS);
    list_each (l, &t->tables) {
        struct table *x = list_entry(l, struct table, link);
        x->kind->tick(x);
    }
    table_pools_tick(t);
    table_hosts_retry(t);
}

static void count(struct buf *b, const char *name, uint64_t value)
{
    buf_put_lstr(b, str_from_c(name));
    buf_put_u64(b, value);
}

static void on_count(struct timer *timer)
{
    struct tables *t = container_of(timer, struct tables, count_timer);
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    count(&b, "tables_logins_right", t->count.right);
    count(&b, "tables_logins_wrong", t->count.wrong);
    count(&b, "tables_logins_failed", t->count.failed);
    count(&b, "tables_logins_too_busy", t->count.busy);
    count(&b, "tables_connections", t->count.connections);
    count(&b, "tables_hashes", t->count.hashes);
    struct ipc_counters m = {.pairs = buf_str(&b)};
    struct channel *admin = t->env->peers[ROLE_ADMIN][0];
    if (admin != NULL && channel_backlog(admin) < IPC_QUEUE_MAX / 2 &&
        ipc_send_counters(admin, &m, NULL) != ERR_OK)
        t->env->n_events_dropped++;
    world_timer_set(t->world, timer, world_now_ms(t->world) + COUNT_EVERY_MS);
}

static void on_drain_deadline(struct timer *timer)
{
    struct tables *t = container_of(timer, struct tables, drain_timer);
    if (!t->is_drained)
        role_drained(t->env);
    t->is_drained = true;
}

static void *tables_create(struct role_env *env)
{
    struct tables *t = mem_must_new(struct tables);
    must(env->ext != NULL);
    t->env = env;
    t->world = env->world;
    t->drivers = env->ext;
    list_init(&t->tables);
    list_init(&t->asks);
    list_init(&t->secrets);
    list_init(&t->hosts);
    list_init(&t->closing);
    t->due_timer.fire = on_due;
    t->tick_timer.fire = on_tick;
    t->count_timer.fire = on_count;
    t->drain_timer.fire = on_drain_deadline;
    world_random(t->world, t->seed, sizeof t->seed);
    enum err e = crypto_new(&t->crypto);
    if (e == ERR_OK)
        e = world_workers(t->world, TABLES_THREADS, &t->workers);
    if (e != ERR_OK) {
        crypto_del(&t->crypto);
        mem_free(t);
        role_fail(env, str_from_c(err_str(e)));
        return NULL;
    }
    trust(t);
    t->oauth = oauth_new(t, t->drivers->http);
    must(t->oauth != NULL);
    configure(t);
    world_timer_set(t->world, &t->tick_timer, world_now_ms(t->world) + TABLES_TICK_MS);
    world_timer_set(t->world, &t->count_timer, world_now_ms(t->world) + COUNT_EVERY_MS);
    for (size_t r = 0; r < ROLE_N; r++) {
        if (env->peers[r][0] != NULL)
            tables_peer(t, (enum role)r, 0, env->peers[r][0]);
    }
    role_ready(env);
    return t;
}

static void tables_reload(void *self, const struct config *old)
{
    struct tables *t = self;
    if (!str_eq(old->authorities, t->env->config->authorities)) {
        trust(t);
        list_each (l, &t->tables) {
            struct table *x = list_entry(l, struct table, link);
            x->kind->refresh(x);
        }
    }
    configure(t);
    oauth_configure(t->oauth, &old->oauth);
    role_config_release(t->env, old); /* nothing borrows from it */
}

static void tables_drain(void *self, uint64_t deadline_ms)
{
    struct tables *t = self;
    t->is_draining = true;
    world_timer_set(t->world, &t->drain_timer, deadline_ms);
    tables_look_drained(t);
}

static void tables_del(void *self)
{
    struct tables *t = self;
    workers_close(t->workers);
    t->workers = NULL;
    auth_gone(t);
    oauth_del(&t->oauth);
    list_each (l, &t->tables)
        table_del(list_entry(l, struct table, link));
    table_pools_forget(t);
    list_each (l, &t->secrets)
        secret_del(list_entry(l, struct secret, link));
    world_timer_cancel(t->world, &t->due_timer);
    world_timer_cancel(t->world, &t->tick_timer);
    world_timer_cancel(t->world, &t->count_timer);
    world_timer_cancel(t->world, &t->drain_timer);
    crypto_del(&t->crypto);
    mem_free(t);
}

const struct role_ops tables_role = {.create = tables_create,
                                     .peer = tables_peer,
                                     .reload = tables_reload,
                                     .drain = tables_drain,
                                     .del = tables_del,
                                     .from_super = tables_from_super};
