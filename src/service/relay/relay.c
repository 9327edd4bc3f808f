/* service/relay/relay.c: the relay role: hands mail to other servers by SMTP and LMTP.
 *
 * It connects; it opens no file. The queue decides what goes where and how many at a time; relay keeps
 * connections for the next job to the same site, tries hosts and addresses in order, and reports each
 * recipient's result.
 */
#include "service/relay/relay.h"

#include "base/limits.h"
#include "base/mem.h"

/* ---- answers ---------------- */

static void maybe_drained(struct relay *r)
{
    if (r->is_draining && r->n_jobs == 0 && list_is_empty(&r->unsent))
        role_drained(r->env);
}

static void unsent_del(struct unsent *u)
{
    list_remove(&u->link);
    buf_fini(&u->results);
    mem_free(u);
}

/* An answer that the queue's channel has no room for waits: without it the message would count as out for
 * ever. */
static void send_answer(struct relay *r, uint64_t token, struct str results)
{
    struct ipc_job_done m = {.token = token, .results = results};
    if (list_is_empty(&r->unsent) && ipc_send_job_done(r->queue, &m, NULL) != ERR_AGAIN)
        return;
    struct unsent *u = mem_new(struct unsent);
    if (u == NULL) {
        log_error(r->world->log, "relay.unheard", LU("token", token));
        return;
    }
    u->token = token;
    buf_init(&u->results, results.n);
    list_push_back(&r->unsent, &u->link);
    if (!buf_put(&u->results, results)) {
        unsent_del(u);
        log_error(r->world->log, "relay.unheard", LU("token", token));
    }
}

static void on_queue_room(void *arg, struct channel *c)
{
    struct relay *r = arg;
    while (!list_is_empty(&r->unsent)) {
        struct unsent *u = list_entry(r->unsent.next, struct unsent, link);
        struct ipc_job_done m = {.token = u->token, .results = buf_str(&u->results)};
        if (ipc_send_job_done(c, &m, NULL) == ERR_AGAIN)
            return;
        unsent_del(u);
    }
    maybe_drained(r);
}

void relay_answer(struct job *j, const struct job_result *results, size_t n)
{
    struct relay *r = j->relay;
    char mem[IPC_FRAME_MAX - 64] __attribute__((uninitialized));
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < n; i++) {
        struct job_result cut = results[i];
        cut.host = str_slice(cut.host, 0, 256);
        (void)list_put_result(&b, &cut);
    }
    must(!b.failed);      /* QUEUE_RCPTS_PER_ATTEMPT_MAX results of bounded texts fit */
    if (r->queue != NULL) /* when it is gone nobody waits */
        send_answer(r, j->token, buf_str(&b));
    job_del(j);
    maybe_drained(r);
}

void relay_answer_all(struct job *j, const struct job_result *result)
{
    struct job_result all[QUEUE_RCPTS_PER_ATTEMPT_MAX];
    uint32_t n = j->n_rcpts;
    char host[RELAY_HOST_TEXT], text[RESULT_TEXT_MAX];
    (void)str_to_c(result->host, host, sizeof host);
    (void)str_to_c(result->text, text, sizeof text);
    for (uint32_t i = 0; i < n; i++) {
        all[i] = *result;
        all[i].host = str_from_c(host);
        all[i].text = str_from_c(text);
    }
    relay_answer(j, all, n);
}

static bool takes_some(const struct link *k, const struct job *j)
{
    for (uint32_t i = 0; i < j->n_rcpts; i++) {
        if (smtp_client_takes_domain(k->client, j->rcpts[i].address))
            return true;
    }
    return false;
}

struct link *relay_find_idle(struct relay *r, const struct job *j)
{
    list_each (l, &r->idle) {
        struct link *k = list_entry(l, struct link, link);
        if (k->is_lmtp == j->is_lmtp && str_eq(k->site, j->site) && takes_some(k, j) &&
            relay_tls_serves(k, j))
            return k;
    }
    return NULL;
}

/* ---- peers ---------------- */

static void on_relay_job(struct relay *r, const struct ipc_relay_job *m, struct handle *given)
{
    struct job *j = r->n_jobs >= RELAY_JOBS_MAX ? NULL : job_new(r, m, given);
    if (j != NULL) {
        job_start(j);
        return;
    }
    size_t n = rcpt_count(m->rcpts);
    struct job_result res = {
        .kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0), .text = STR("memory budget used up")};
    char mem[16384];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < n && i < QUEUE_RCPTS_PER_ATTEMPT_MAX; i++)
        (void)list_put_result(&b, &res);
    send_answer(r, m->token, buf_str(&b));
}

/* The queue is gone: it will send everything again that it has no result for. Connections whose server could
 * still take a message are closed so that as little as possible is sent twice. */
static void drop_all(struct relay *r)
{
    r->queue = NULL;
    list_each (l, &r->links) {
        struct link *k = list_entry(l, struct link, link);
        if (k->job != NULL)
            k->job->on = NULL;
        k->job = NULL;
        relay_link_end(k);
    }
    while (!list_is_empty(&r->unsent))
        unsent_del(list_entry(r->unsent.next, struct unsent, link));
    while (!list_is_empty(&r->jobs))
        job_del(list_entry(r->jobs.next, struct job, link));
}

static void on_queue_lost(struct relay *r)
{
    drop_all(r);
    maybe_drained(r);
}

static void on_queue_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct relay *r = arg;
    struct ipc_relay_job m;
    if (!role_message_allowed(r->env, ROLE_QUEUE, c, type)) {
        on_queue_lost(r);
    } else if (!ipc_decode_relay_job(payload, &m)) {
        role_message_malformed(r->env, ROLE_QUEUE, c, type);
        on_queue_lost(r);
    } else {
        on_relay_job(r, &m, given);
    }
}

static void on_lookup_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                              struct handle *given)
{
    struct relay *r = arg;
    struct ipc_host_answer m;
    struct ipc_rr_answer rr;
    UNUSED(given);
    if (!role_message_allowed(r->env, ROLE_LOOKUP, c, type)) {
        r->lookup = NULL;
        job_on_lookup_lost(r);
    } else if (type == IPC_RR_ANSWER && ipc_decode_rr_answer(payload, &rr)) {
        relay_dane_on_answer(r, &rr);
    } else if (type == IPC_HOST_ANSWER && ipc_decode_host_answer(payload, &m)) {
        job_on_answer(r, &m);
    } else {
        role_message_malformed(r->env, ROLE_LOOKUP, c, type);
        r->lookup = NULL;
        job_on_lookup_lost(r);
    }
}

static void on_keys_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                            struct handle *given)
{
    struct relay *r = arg;
    struct ipc_sign_answer m;
    UNUSED(given);
    if (!role_message_allowed(r->env, ROLE_KEYS, c, type)) {
        signer_keys_lost(&r->signer);
    } else if (type == IPC_SIGN_ANSWER && ipc_decode_sign_answer(payload, &m)) {
        signer_on_answer(&r->signer, &m);
    } else {
        role_message_malformed(r->env, ROLE_KEYS, c, type);
        signer_keys_lost(&r->signer);
    }
}

/* It has nothing to say. */
static void on_agent_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct relay *r = arg;
    UNUSED(payload);
    UNUSED(given);
    r->agent = NULL;
    if (role_message_allowed(r->env, ROLE_AGENT, c, type))
        role_message_malformed(r->env, ROLE_AGENT, c, type);
}

static void on_admin_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                             struct handle *given)
{
    struct relay *r = arg;
    UNUSED(payload);
    UNUSED(given);
    if (role_message_allowed(r->env, ROLE_ADMIN, c, type))
        role_message_malformed(r->env, ROLE_ADMIN, c, type);
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_agent_room(void *arg, struct channel *c)
{
    UNUSED(c);
    relay_report_room(arg);
}

static void on_closed(void *arg, struct channel *c)
{
    struct relay *r = arg;
    bool was_queue = c == r->queue, was_lookup = c == r->lookup, was_keys = c == r->keys;
    role_peer_closed(r->env, c);
    if (was_queue)
        on_queue_lost(r);
    if (was_lookup) {
        r->lookup = NULL;
        job_on_lookup_lost(r);
    }
    if (was_keys)
        signer_keys_lost(&r->signer);
    if (c == r->agent)
        r->agent = NULL;
}

static const struct channel_user queue_user = {on_queue_message, on_queue_room, on_closed};
static const struct channel_user lookup_user = {on_lookup_message, on_room, on_closed};
static const struct channel_user keys_user = {on_keys_message, on_room, on_closed};
static const struct channel_user agent_user = {on_agent_message, on_agent_room, on_closed};
static const struct channel_user admin_user = {on_admin_message, on_room, on_closed};

static void on_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct relay *r = self;
    UNUSED(index);
    if (who == ROLE_QUEUE) {
        r->queue = c;
        channel_set_user(c, &queue_user, r);
    } else if (who == ROLE_LOOKUP) {
        r->lookup = c;
        channel_set_user(c, &lookup_user, r);
    } else if (who == ROLE_KEYS) {
        r->keys = c;
        channel_set_user(c, &keys_user, r);
    } else if (who == ROLE_AGENT) {
        r->agent = c;
        channel_set_user(c, &agent_user, r);
        relay_report_room(r);
    } else {
        channel_set_user(c, &admin_user, r);
    }
}

/* ---- role ---------------- */

static void free_ended(struct relay *r)
{
    struct list *l;
    while ((l = list_pop_front(&r->ended)) != NULL)
        mem_free(list_entry(l, struct link, link));
}

static void on_turn(struct turn_hook *h)
{
    free_ended(container_of(h, struct relay, turn));
}

static void *create(struct role_env *env)
{
    struct relay *r = mem_must_new(struct relay);
    r->env = env;
    r->world = env->world;
    r->next_question = 1;
    list_init(&r->jobs);
    list_init(&r->links);
    list_init(&r->idle);
    list_init(&r->ended);
    list_init(&r->unsent);
    list_init(&r->seen_by_use);
    list_init(&r->secrets);
    list_init(&r->certs);
    signer_init(&r->signer, r->world, &r->keys);
    must(idmap_init(&r->sessions));
    list_init(&r->sessions_by_age);
    world_random(r->world, &r->seed, sizeof r->seed);
    must(idmap_init(&r->seen));
    r->crypto = env->ext;
    relay_tls_setup(r);
    relay_certs_setup(r);
    must(idmap_init(&r->questions) && idmap_init(&r->dane_questions));
    uint64_t chunks = env->config->memory_max / RELAY_ARENA_CHUNK;
    chunk_pool_init(&r->pool, RELAY_ARENA_CHUNK, chunks > 1024 ? (size_t)chunks : 1024);
    r->turn.run = on_turn;
    world_turn_end(r->world, &r->turn);
    static const enum role peers[] = {ROLE_QUEUE, ROLE_LOOKUP, ROLE_ADMIN, ROLE_KEYS, ROLE_AGENT};
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        if (env->peers[peers[i]][0] != NULL)
            on_peer(r, peers[i], 0, env->peers[peers[i]][0]);
    }
    role_ready(env);
    return r;
}

/* Connections and jobs have copies of what they need. */
static void reload(void *self, const struct config *old)
{
    struct relay *r = self;
    if (!str_eq(old->authorities, r->env->config->authorities)) {
        relay_tls_setup(r);
        relay_certs_setup(r);
    }
    relay_certs_prune(r);
    relay_secrets_prune(r, false);
    role_config_release(r->env, old);
}

static void drain(void *self, uint64_t deadline_ms)
{
    struct relay *r = self;
    UNUSED(deadline_ms);
    r->is_draining = true;
    while (!list_is_empty(&r->idle))
        relay_link_quit(list_entry(r->idle.next, struct link, link));
    maybe_drained(r);
}

static void del(void *self)
{
    struct relay *r = self;
    drop_all(r);
    while (!list_is_empty(&r->idle))
        relay_link_end(list_entry(r->idle.next, struct link, link));
    free_ended(r);
    list_remove(&r->turn.link);
    idmap_fini(&r->questions);
    idmap_fini(&r->dane_questions);
    relay_seen_clear(r);
    idmap_fini(&r->seen);
    relay_secrets_prune(r, true);
    relay_certs_fini(r);
    relay_tls_fini(r);
    idmap_fini(&r->sessions);
    chunk_pool_fini(&r->pool);
    mem_free(r);
}

static void from_super(void *self, uint16_t type, struct str payload, struct handle *given)
{
    struct relay *r = self;
    struct ipc_sup_secret m;
    struct blob octets = {STR_NIL, NULL};
    if (type == IPC_SUP_SECRET && ipc_decode_sup_secret(payload, &m) &&
        handle_take_blob(r->world, given, &octets))
        relay_secret_set(r, m.name, octets.bytes);
    else
        log_error(r->world->log, "relay.not_understood", LC("type", ipc_type_name(type)));
    blob_free(&octets);
}

static void on_certificate(void *self, size_t i)
{
    relay_cert_take(self, i);
}

const struct role_ops relay_role = {.create = create,
                                    .peer = on_peer,
                                    .reload = reload,
                                    .drain = drain,
                                    .del = del,
                                    .certificate = on_certificate,
                                    .from_super = from_super};
