/* service/auth/auth.c: the auth role: passwords of domains whose users others know (auth = ...), and access
 * tokens (oauth).
 *
 * Owns:     open questions with their passwords and tokens, connections to those who are asked, the limit of guesses.
 * Limits:   AUTH_WAITING_MAX questions, each for AUTH_ANSWER_MS.
 * Errors:   who can't be asked, breaks off or falls silent is a temporary failure, with the reason in the log
 *           and, by way of smtpd, in the journal.
 * Security: who asks may be taken over: guesses are limited here, where nobody gets by, as in the keys
 *           role. Who is asked is believed about the users of the domains that name him, and of no other; the
 *           issuer of tokens about those that take his. Passwords and tokens are wiped as soon as they were
 *           answered, and never in a log.
 */
#include "service/auth/auth.h"

#include "base/mem.h"
#include "crypto/secret.h"

#include <string.h>

enum { COUNT_EVERY_MS = 1000, ANSWER_SIZE = 1024, WHY_MAX = 200 };

/* ---- to the askers ---------------- */

struct unsent {
    struct list link;
    size_t n;
    char bytes[];
};

static void asker_send(struct auth_asker *k, struct str payload)
{
    if (list_is_empty(&k->unsent) && channel_send(k->channel, IPC_AUTH_ANSWER, payload, NULL) != ERR_AGAIN)
        return; /* closed: on_closed comes */
    struct unsent *u = mem_alloc(sizeof *u + payload.n);
    if (u == NULL) { /* the asker has its own deadline; nothing better is left */
        log_error(world_log(k->auth->world), "auth.answer_lost", LERR(ERR_NOMEM));
        return;
    }
    u->n = payload.n;
    memcpy(u->bytes, payload.p, payload.n);
    list_init(&u->link);
    list_push_back(&k->unsent, &u->link);
    channel_pause(k->channel, true);
}

static void look_drained(struct auth *a)
{
    if (!a->is_draining || a->is_drained || a->n_questions > 0)
        return;
    list_each (l, &a->askers) {
        if (!list_is_empty(&list_entry(l, struct auth_asker, link)->unsent))
            return;
    }
    a->is_drained = true;
    role_drained(a->env);
}

static void on_room(void *arg, struct channel *c)
{
    struct auth_asker *k = arg;
    list_each (l, &k->unsent) {
        struct unsent *u = list_entry(l, struct unsent, link);
        if (channel_send(c, IPC_AUTH_ANSWER, str_of(u->bytes, u->n), NULL) == ERR_AGAIN)
            return;
        list_remove(&u->link);
        mem_free(u);
    }
    channel_pause(c, false);
    look_drained(k->auth);
}

/* why: for the journal, where it is AUTH_TEMPORARY. */
static void send_verdict(struct auth_asker *k, uint64_t token, enum auth_verdict verdict, struct str user,
                         struct str why)
{
    char mem[ANSWER_SIZE];
    struct buf out;
    struct ipc_auth_answer m = {.token = token, .verdict = (uint8_t)verdict, .user = user};
    if (verdict == AUTH_TEMPORARY)
        m.why = str_slice(why, 0, WHY_MAX);
    buf_init_fixed(&out, mem, sizeof mem);
    must(ipc_encode_auth_answer(&m, &out));
    asker_send(k, buf_str(&out));
}

/* ---- questions ---------------- */

struct str auth_name(const struct auth_question *q)
{
    return q->is_user || q->is_token ? str_of(q->user, q->n_user) : STR("@");
}

struct auth_question *auth_find(const struct list *place, uint32_t id)
{
    list_each (l, place) {
        struct auth_question *q = list_entry(l, struct auth_question, place);
        if (q->id == id)
            return q;
    }
    return NULL;
}

static void question_del(struct auth_question *q)
{
    list_remove(&q->link);
    list_remove(&q->place);
    q->auth->n_questions--;
    secret_free(&q->secret);
    mem_free(q);
}

static const struct local_domain *domain_of(const struct auth *a, struct str name, size_t *out_auth)
{
    const struct config *c = a->env->config;
    const struct local_domain *d = policy_domain(&c->policy, name);
    *out_auth = d == NULL || d->auth > c->n_auths ? 0 : d->auth;
    return *out_auth > 0 ? d : NULL;
}

/* Whom the back-end means: out is his address. false: no user of ours whose password is its business. */
static bool who_is(struct auth *a, const struct auth_question *q, struct str user, struct buf *out)
{
    char name_mem[SASL_NAME_MAX + 1 + SMTP_DOMAIN_MAX];
    struct buf name;
    struct policy_login who;
    size_t asked, meant;
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    buf_put(&name, user.n > 0 ? user : str_of(q->user, q->n_user));
    if (str_chr(buf_str(&name), '@') == STR_NPOS) {
        buf_putc(&name, '@');
        buf_put(&name, str_of(q->domain, q->n_domain));
    }
    if (!q->is_user || name.failed || !policy_login(&a->env->config->policy, buf_str(&name), out, &who))
        return false;
    const struct local_domain *d = domain_of(a, str_skip(who.address, str_chr(who.address, '@') + 1), &meant);
    (void)domain_of(a, str_of(q->domain, q->n_domain), &asked);
    return d != NULL && asked == meant && policy_has_user(d, who.user);
}

/* Whose the token is, by the issuer's word: he has it about users of the domains that take tokens. *why: else
 * why not. */
static bool whose_is(struct auth *a, const struct auth_question *q, struct str user, struct buf *out,
                     const char **why)
{
    const struct policy_conf *p = &a->env->config->policy;
    char mem[POLICY_LOGIN_MAX];
    struct buf text;
    struct policy_login who, wanted;
    struct str claimed = str_of(q->user, q->n_user);
    buf_init_fixed(&text, mem, sizeof mem);
    *why = "there is no such user in a domain that takes tokens";
    if (!policy_login(p, user, out, &who))
        return false;
    const struct local_domain *d = policy_domain(p, str_skip(who.address, str_chr(who.address, '@') + 1));
    if (!d->tokens || !policy_has_user(d, who.user))
        return false;
    *why = "the client wants to be somebody else";
    return claimed.n == 0 ||
           (policy_login(p, claimed, &text, &wanted) && str_eq(wanted.address, who.address));
}

static bool is_of(struct auth *a, const struct auth_question *q, struct str user, struct buf *address)
{
    const char *why;
    if (!q->is_token)
        return who_is(a, q, user, address);
    if (whose_is(a, q, user, address, &why))
        return true;
    log_warn(world_log(a->world), "login.token_of_stranger", LS("user", str_of(q->user, q->n_user)),
             LS("called", user), LC("why", why));
    return false;
}

static void note_stranger(struct auth *a, const struct auth_question *q, struct str user)
{
    if (q->is_user)
        log_warn(world_log(a->world), "login.stranger", LS("domain", str_of(q->domain, q->n_domain)),
                 LS("user", str_of(q->user, q->n_user)), LS("called", user));
}

void auth_answer(struct auth_question *q, enum auth_say say, struct str user, struct str why)
{
    struct auth *a = q->auth;
    char mem[POLICY_LOGIN_MAX];
    struct buf address;
    enum auth_verdict verdict = AUTH_BAD;
    buf_init_fixed(&address, mem, sizeof mem);
    if (say == AUTH_SAYS_LATER) {
        why = why.n > 0 ? why : STR("who was asked gave no reason");
        verdict = AUTH_TEMPORARY;
        a->count.failed++;
        guess_undo(a->guesses, &q->guess);
        log_error(world_log(a->world), "login.failed", LS("domain", str_of(q->domain, q->n_domain)),
                  LS("user", str_of(q->user, q->n_user)), LS("why", why));
    } else if (say == AUTH_SAYS_YES && is_of(a, q, user, &address)) {
        verdict = AUTH_OK;
        a->count.right++;
        guess_right(a->guesses, &q->guess);
    } else {
        a->count.wrong++;
        if (say == AUTH_SAYS_YES)
            note_stranger(a, q, user);
    }
    if (q->asker != NULL)
        send_verdict(q->asker, q->token, verdict, verdict == AUTH_OK ? buf_str(&address) : STR_NIL, why);
    question_del(q);
    look_drained(a);
}

static void set_due(struct auth *a)
{
    if (list_is_empty(&a->questions))
        world_timer_cancel(a->world, &a->due_timer);
    else
        world_timer_set(a->world, &a->due_timer,
                        list_entry(a->questions.next, struct auth_question, link)->due_ms);
}

static void on_due(struct timer *t)
{
    struct auth *a = container_of(t, struct auth, due_timer);
    uint64_t now = world_now_ms(a->world);
    while (!list_is_empty(&a->questions)) {
        struct auth_question *q = list_entry(a->questions.next, struct auth_question, link);
        if (q->due_ms > now)
            break;
        if (q->backend != NULL && q->backend->dovecot != NULL)
            dovecot_overdue(q->backend->dovecot, q);
        auth_answer(q, AUTH_SAYS_LATER, STR_NIL, STR("no answer came in time"));
    }
    set_due(a);
}

static struct backend *backend_find(struct auth *a, const struct auth_backend *conf)
{
    list_each (l, &a->backends) {
        struct backend *b = list_entry(l, struct backend, link);
        if (config_is_table(conf->kind) ? config_is_table(b->conf.kind)
                                        : b->conf.kind == conf->kind && netaddr_eq(&b->conf.at, &conf->at) &&
                                              str_eq(b->conf.service, conf->service))
            return b;
    }
    return NULL;
}

static bool take_text(struct str s, char *out, size_t cap, size_t *out_n)
{
    if (s.n > cap)
        return false;
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    *out_n = s.n;
    return true;
}

/* NULL: no memory, or it does not fit, which policy_login() has seen to at the asker. */
static struct auth_question *question_new(struct auth_asker *k, const struct ipc_auth_ask *m)
{
    struct auth *a = k->auth;
    struct auth_question *q = a->n_questions < AUTH_WAITING_MAX ? mem_new(struct auth_question) : NULL;
    if (q == NULL)
        return NULL;
    if (!take_text(m->user, q->user, sizeof q->user, &q->n_user) ||
        !take_text(m->file, q->domain, sizeof q->domain, &q->n_domain) ||
        !take_text(m->client, q->client, sizeof q->client, &q->n_client) ||
        !secret_copy(m->secret, &q->secret)) {
        mem_free(q);
        return NULL;
    }
    q->auth = a;
    q->asker = k;
    q->token = m->token;
    q->due_ms = world_now_ms(a->world) + AUTH_ANSWER_MS;
    a->next_id = a->next_id == INT32_MAX ? 1 : a->next_id + 1;
    q->id = a->next_id;
    list_init(&q->link);
    list_init(&q->place);
    list_push_back(&a->questions, &q->link);
    a->n_questions++;
    return q;
}

/* The same user at the same domain, however he writes himself. Tokens are counted beside passwords: who has
 * none but bad ones keeps nobody from his password. */
static bool guess_of(struct auth *a, const struct ipc_auth_ask *m, struct guess *out)
{
    char mem[SASL_NAME_MAX + SMTP_DOMAIN_MAX + NETADDR_TEXT_MAX + 8];
    struct buf user;
    buf_init_fixed(&user, mem, sizeof mem);
    if (m->kind == AUTH_TOKEN)
        buf_puts(&user, "token ");
    if (m->kind == AUTH_TOKEN && m->user.n == 0) /* nobody in particular, at this client */
        buf_put(&user, m->client);
    for (size_t i = 0; i < m->user.n; i++)
        buf_putc(&user, ascii_lower(m->user.p[i]));
    buf_putc(&user, '@');
    buf_put(&user, m->file);
    return guess_begin(a->guesses, buf_str(&user), m->client, out);
}

/* d, b: of a password. */
static void ask(struct auth_asker *k, const struct ipc_auth_ask *m, const struct local_domain *d,
                struct backend *b, const struct guess *g)
{
    struct auth *a = k->auth;
    struct auth_question *q = question_new(k, m);
    if (q == NULL) {
        a->count.busy++;
        guess_undo(a->guesses, g);
        send_verdict(k, m->token, AUTH_TEMPORARY, STR_NIL,
                     a->n_questions < AUTH_WAITING_MAX ? STR("no memory")
                                                       : STR("too many passwords wait to be looked at"));
        return;
    }
    q->guess = *g;
    q->backend = b;
    q->is_token = m->kind == AUTH_TOKEN;
    q->is_user = d != NULL && policy_has_user(d, m->user);
    set_due(a);
    if (q->is_token || config_is_table(b->conf.kind))
        tables_ask(a, q);
    else if (b->dovecot != NULL)
        dovecot_ask(b->dovecot, q);
    else
        pam_lines_ask(a, q);
}

static bool is_well_formed(const struct ipc_auth_ask *m)
{
    if (m->client.n > NETADDR_TEXT_MAX)
        return false;
    if (m->kind == AUTH_TOKEN)
        return m->file.n == 0 && m->user.n <= SASL_NAME_MAX && m->secret.n > 0 &&
               m->secret.n <= SASL_TOKEN_MAX;
    return m->kind == AUTH_PASSWORD && m->user.n > 0 && m->user.n <= SMTP_LOCAL_PART_MAX &&
           m->file.n <= SMTP_DOMAIN_MAX && m->secret.n <= SASL_PASSWORD_MAX;
}

/* false: no such question exists, the asker is broken: it has the same bounds. */
static bool on_ask(struct auth_asker *k, const struct ipc_auth_ask *m)
{
    struct auth *a = k->auth;
    struct guess g;
    size_t auth = 0;
    if (!is_well_formed(m))
        return false;
    const struct local_domain *d = m->kind == AUTH_TOKEN ? NULL : domain_of(a, m->file, &auth);
    struct backend *b = d == NULL ? NULL : backend_find(a, &a->env->config->auths[auth - 1]);
    if (m->kind == AUTH_TOKEN ? a->env->config->oauth.by == OAUTH_NONE : b == NULL) {
        /* of another configuration, or there was no memory for it */
        send_verdict(k, m->token, AUTH_TEMPORARY, STR_NIL, STR("the configuration has changed meanwhile"));
    } else if (!guess_of(a, m, &g)) {
        a->count.too_many++;
        send_verdict(k, m->token, AUTH_TOO_MANY, STR_NIL, STR_NIL);
    } else {
        ask(k, m, d, b, &g);
    }
    return true;
}

/* ---- channels ---------------- */

static void asker_del(struct auth_asker *k)
{
    list_each (l, &k->auth->questions) {
        struct auth_question *q = list_entry(l, struct auth_question, link);
        if (q->asker == k)
            q->asker = NULL; /* looked at to the end: guesses are counted */
    }
    list_each (l, &k->unsent)
        mem_free(list_entry(l, struct unsent, link));
    list_remove(&k->link);
    mem_free(k);
}

static void on_closed(void *arg, struct channel *c)
{
    struct auth_asker *k = arg;
    struct auth *a = k->auth;
    asker_del(k);
    role_peer_closed(a->env, c);
    look_drained(a);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct auth_asker *k = arg;
    struct auth *a = k->auth;
    struct ipc_auth_ask m;
    UNUSED(given);
    if (!role_message_allowed(a->env, ROLE_SMTPD, c, type)) {
        asker_del(k);
    } else if (type != IPC_AUTH_ASK || !ipc_decode_auth_ask(payload, &m) || !on_ask(k, &m)) {
        role_message_malformed(a->env, ROLE_SMTPD, c, type);
        asker_del(k);
    }
}

static const struct channel_user asker_user = {on_message, on_room, on_closed};

static void on_admin_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct auth *a = arg;
    UNUSED(payload);
    UNUSED(given);
    if (role_message_allowed(a->env, ROLE_ADMIN, c, type))
        role_message_malformed(a->env, ROLE_ADMIN, c, type);
}

static void on_admin_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_admin_closed(void *arg, struct channel *c)
{
    struct auth *a = arg;
    role_peer_closed(a->env, c);
}

static const struct channel_user admin_user = {on_admin_message, on_admin_room, on_admin_closed};

static void auth_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct auth *a = self;
    if (who == ROLE_ADMIN)
        channel_set_user(c, &admin_user, a);
    if (who == ROLE_PAM)
        pam_lines_peer(a, index, c);
    if (who == ROLE_TABLES)
        tables_peer(a, c);
    if (who != ROLE_SMTPD)
        return;
    struct auth_asker *k = mem_new(struct auth_asker);
    if (k == NULL) {
        log_error(world_log(a->world), "auth.peer_lost", LC("role", role_name(who)), LERR(ERR_NOMEM));
        role_peer_closed(a->env, c);
        return;
    }
    *k = (struct auth_asker){.auth = a, .channel = c};
    list_init(&k->unsent);
    list_init(&k->link);
    list_push_back(&a->askers, &k->link);
    channel_set_user(c, &asker_user, k);
}

/* ---- the configuration ---------------- */

static struct backend *backend_new(struct auth *a, const struct auth_backend *conf)
{
    struct backend *b = mem_new(struct backend);
    if (b == NULL)
        return NULL;
    size_t n;
    must(take_text(conf->service, b->service, sizeof b->service, &n));
    b->auth = a;
    b->conf = *conf;
    b->conf.service = str_of(b->service, n);
    b->conf.table =
        (struct auth_table){.tls = TABLE_CLEAR}; /* its texts are not ours: the process tables has them */
    if (conf->kind == AUTH_BY_DOVECOT && (b->dovecot = dovecot_new(b)) == NULL) {
        mem_free(b);
        return NULL;
    }
    list_init(&b->link);
    return b;
}

static void backend_del(struct backend *b)
{
    struct auth *a = b->auth;
    list_each (l, &a->questions) { /* answering one ends no other */
        struct auth_question *q = list_entry(l, struct auth_question, link);
        if (q->backend == b)
            auth_answer(q, AUTH_SAYS_LATER, STR_NIL, STR("the configuration has changed"));
    }
    dovecot_del(&b->dovecot);
    list_remove(&b->link);
    mem_free(b);
}

static void configure(struct auth *a)
{
    const struct config *c = a->env->config;
    struct list kept;
    list_init(&kept);
    for (size_t i = 0; i < c->n_auths; i++) {
        struct backend *b = backend_find(a, &c->auths[i]);
        if (b == NULL)
            b = backend_new(a, &c->auths[i]);
        else
            list_remove(&b->link);
        if (b != NULL)
            list_push_back(&kept, &b->link);
        else
            log_error(world_log(a->world), "auth.backend_lost", LERR(ERR_NOMEM));
    }
    while (!list_is_empty(&a->backends))
        backend_del(list_entry(a->backends.next, struct backend, link));
    while (!list_is_empty(&kept)) {
        struct list *l = kept.next;
        list_remove(l);
        list_push_back(&a->backends, l);
    }
    set_due(a);
}

/* ---- the role ---------------- */

static void count(struct buf *b, const char *name, uint64_t value)
{
    buf_put_lstr(b, str_from_c(name));
    buf_put_u64(b, value);
}

static void on_count(struct timer *t)
{
    struct auth *a = container_of(t, struct auth, count_timer);
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    count(&b, "auth_logins_right", a->count.right);
    count(&b, "auth_logins_wrong", a->count.wrong);
    count(&b, "auth_logins_failed", a->count.failed);
    count(&b, "auth_logins_too_many_guesses", a->count.too_many);
    count(&b, "auth_logins_too_busy", a->count.busy);
    struct ipc_counters m = {.pairs = buf_str(&b)};
    struct channel *admin = a->env->peers[ROLE_ADMIN][0];
    if (admin != NULL && channel_backlog(admin) < IPC_QUEUE_MAX / 2 &&
        ipc_send_counters(admin, &m, NULL) != ERR_OK)
        a->env->n_events_dropped++;
    world_timer_set(a->world, &a->count_timer, world_now_ms(a->world) + COUNT_EVERY_MS);
}

static void on_drain_deadline(struct timer *t)
{
    struct auth *a = container_of(t, struct auth, drain_timer);
    if (!a->is_drained)
        role_drained(a->env);
    a->is_drained = true;
}

static void *auth_create(struct role_env *env)
{
    struct auth *a = mem_must_new(struct auth);
    a->env = env;
    a->world = env->world;
    list_init(&a->askers);
    list_init(&a->backends);
    list_init(&a->questions);
    a->guesses = guesses_new(a->world);
    must(a->guesses != NULL);
    a->due_timer.fire = on_due;
    a->count_timer.fire = on_count;
    a->drain_timer.fire = on_drain_deadline;
    pam_lines_init(a);
    tables_init(a);
    configure(a);
    world_timer_set(a->world, &a->count_timer, world_now_ms(a->world) + COUNT_EVERY_MS);
    for (size_t r = 0; r < ROLE_N; r++) {
        for (unsigned i = 0; i < ROLE_SMTPD_MAX; i++) {
            if (env->peers[r][i] != NULL)
                auth_peer(a, (enum role)r, i, env->peers[r][i]);
        }
    }
    role_ready(env);
    return a;
}

static void auth_reload(void *self, const struct config *old)
{
    struct auth *a = self;
    configure(a);
    role_config_release(a->env, old); /* nothing borrows from it */
}

static void auth_drain(void *self, uint64_t deadline_ms)
{
    struct auth *a = self;
    a->is_draining = true;
    world_timer_set(a->world, &a->drain_timer, deadline_ms);
    look_drained(a);
}

static void auth_del(void *self)
{
    struct auth *a = self;
    while (!list_is_empty(&a->questions))
        question_del(list_entry(a->questions.next, struct auth_question, link));
    while (!list_is_empty(&a->backends))
        backend_del(list_entry(a->backends.next, struct backend, link));
    list_each (l, &a->askers)
        asker_del(list_entry(l, struct auth_asker, link));
    world_timer_cancel(a->world, &a->due_timer);
    world_timer_cancel(a->world, &a->count_timer);
    world_timer_cancel(a->world, &a->drain_timer);
    guesses_del(&a->guesses);
    mem_free(a);
}

const struct role_ops auth_role = {
    .create = auth_create, .peer = auth_peer, .reload = auth_reload, .drain = auth_drain, .del = auth_del};
