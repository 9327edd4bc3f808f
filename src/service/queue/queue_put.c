/* service/queue/queue_put.c: messages from smtpd; and from agent, whose reports about TLS (RFC 8460) may be
 * nothing else: one recipient, the configured address as the sender, the body with the message, and no
 * parameter but that TLS is not required (5.3).
 *
 * Each smtpd gets ids and may put each of its own once: a taken-over smtpd can neither overwrite another's
 * message nor put one twice. What it says is checked as if it came from the network. put_done follows when
 * the unit is on disk.
 *
 * Path of a small message: PUT -> one allocation (record and body) -> store_submit -> [flush] -> on_stored ->
 * PUT_DONE, cache, schedule.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/queue/queue.h"
#include "wire/address.h"

#include <string.h>

/* ---- ids ---- */

static void grants_remove(struct smtpd_link *l, size_t i)
{
    mem_free(l->grants[i].used);
    memmove(&l->grants[i], &l->grants[i + 1], (l->n_grants - i - 1) * sizeof l->grants[0]);
    l->n_grants--;
}

static bool grants_add(struct smtpd_link *l, uint64_t first, uint32_t n)
{
    if (l->n_grants == QUEUE_GRANTS_MAX)
        grants_remove(l, 0); /* hours old: its session is long gone */
    if (l->n_grants == l->grants_cap) {
        size_t cap = l->grants_cap == 0 ? 16 : l->grants_cap * 2;
        struct grant *g = mem_grow(l->grants, cap * sizeof *g);
        if (g == NULL)
            return false;
        l->grants = g;
        l->grants_cap = cap;
    }
    struct grant g = {.first = first, .n = n, .used = mem_alloc(n / 8 + 1)};
    if (g.used == NULL)
        return false;
    l->grants[l->n_grants++] = g; /* ids only grow: sorted */
    return true;
}

bool queue_take_id(struct smtpd_link *l, uint64_t id)
{
    size_t lo = 0, hi = l->n_grants;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (l->grants[mid].first + l->grants[mid].n <= id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == l->n_grants || id < l->grants[lo].first)
        return false;
    struct grant *g = &l->grants[lo];
    uint32_t i = (uint32_t)(id - g->first);
    uint8_t bit = (uint8_t)(1u << (i % 8));
    if ((g->used[i / 8] & bit) != 0)
        return false;
    g->used[i / 8] |= bit;
    if (++g->n_used == g->n)
        grants_remove(l, lo);
    return true;
}

static void on_id_want(struct smtpd_link *l, const struct ipc_id_want *m)
{
    struct queue *q = l->q;
    uint32_t n_wanted = m->n < 1 ? 1 : m->n > QUEUE_GRANT_MAX ? QUEUE_GRANT_MAX : m->n;
    uint64_t first = store_new_id(q->store), next = first + 1;
    uint32_t n = 1;
    /* A grant is one run; a store that gives ids to several nodes may have gaps. */
    while (n < n_wanted && store_new_id(q->store) == next) {
        n++;
        next++;
    }
    struct ipc_id_grant g = {.first = first, .n = n};
    if (!grants_add(l, first, n) || ipc_send_id_grant(l->channel, &g, NULL) != ERR_OK)
        queue_trouble(q, ERR_NOMEM, "ids could not be given to who takes messages");
}

/* ---- small messages ---- */

void queue_put_done(struct queue *q, uint32_t smtpd, uint32_t life, uint64_t token, uint64_t id, enum err err)
{
    struct smtpd_link *l = &q->smtpd[smtpd];
    if (err != ERR_OK)
        q->count.refused++;
    if (l->channel == NULL || l->life != life)
        return; /* whoever asked is gone */
    struct ipc_put_done m = {.token = token, .id = id, .err = (uint8_t)err};
    if (ipc_send_put_done(l->channel, &m, NULL) != ERR_OK)
        log_error(q->world->log, "queue.put-done-unheard", LID("id", id));
}

static void on_stored(struct store_ticket *t, enum err err)
{
    struct fresh *f = container_of(t, struct fresh, ticket);
    struct queue *q = f->q;
    queue_store_idle(q);
    q->put_octets -= f->n_record + f->n_body;
    queue_put_done(q, f->smtpd, f->life, f->token, f->id, err);
    if (err !=
        ERR_OK) { /* it may be there after a restart: then it is delivered although the client was told 4xx */
        queue_trouble(q, err, "a message could not be stored");
        fresh_unref(f);
        return;
    }
    q->count.accepted++;
    q->count.accepted_octets += f->body_size;
    queue_trouble_over(q);
    feedback_on_stored(q, f);
    queue_admit(q, f);
}

static enum err submit(struct fresh *f)
{
    struct queue *q = f->q;
    unsigned char hint[STORE_HINT];
    struct envelope_hint h = {
        .flags = fresh_hint_flags(f),
        .created_s = f->created_s,
        .priority = f->priority,
        .next_ms = (int64_t)f->created_s * 1000,
    };
    hint_encode(&h, hint);
    struct str record = fresh_record(f), body = fresh_body(f);
    bool is_file = body.n == 0 && f->body_size > 0;
    struct store_op ops[2] = {
        {.kind = STORE_PUT_BODY, .id = f->body_id, .pieces = &body, .n_pieces = 1},
        {.kind = STORE_PUT_ENVELOPE,
         .id = f->id,
         .body_id = f->body_id,
         .pieces = &record,
         .n_pieces = 1,
         .hint = hint},
    };
    if (is_file)
        ops[0] = (struct store_op){.kind = STORE_PUT_BODY_FILE, .id = f->body_id, .size = f->body_size};
    f->ticket.done = on_stored;
    enum err err = store_submit(q->store, ops, 2, false, &f->ticket);
    if (err == ERR_OK)
        queue_store_busy(q);
    return err;
}

static void pause_all(struct queue *q, bool paused)
{
    for (size_t i = 0; i < ROLE_SMTPD_MAX; i++) { /* not agent: its answers must come */
        struct smtpd_link *l = &q->smtpd[i];
        if (l->channel != NULL && l->is_paused != paused)
            channel_pause(l->channel, paused);
        l->is_paused = paused;
    }
}

/* true: f is in the store's hands or was refused; false: the store has no room at present. */
static bool try_submit(struct fresh *f)
{
    struct queue *q = f->q;
    enum err err = submit(f);
    if (err == ERR_OK)
        return true;
    if (err == ERR_AGAIN)
        return false;
    q->put_octets -= f->n_record + f->n_body;
    queue_put_done(q, f->smtpd, f->life, f->token, f->id, err);
    queue_trouble(q, err, "a message could not be stored");
    fresh_unref(f);
    return true;
}

void queue_put_submit(struct queue *q, struct fresh *f)
{
    q->put_octets += f->n_record + f->n_body;
    if (list_is_empty(&q->puts_waiting) && try_submit(f))
        return;
    list_push_back(&q->puts_waiting, &f->link);
    q->puts_waiting_octets += f->n_record + f->n_body;
    if (q->puts_waiting_octets > QUEUE_PAUSE_OCTETS)
        pause_all(q, true);
    if (!q->retry.is_set)
        world_timer_set(q->world, &q->retry, world_now_ms(q->world) + QUEUE_SUBMIT_RETRY_MS);
}

void queue_puts_retry(struct queue *q)
{
    while (!list_is_empty(&q->puts_waiting)) {
        struct fresh *f = list_entry(q->puts_waiting.next, struct fresh, link);
        size_t n = f->n_record + f->n_body;
        list_remove(&f->link);
        if (!try_submit(f)) {
            list_push_front(&q->puts_waiting, &f->link);
            return;
        }
        q->puts_waiting_octets -= n;
    }
    if (q->puts_waiting_octets < QUEUE_PAUSE_OCTETS / 2)
        pause_all(q, false);
}

static void put_inline(struct smtpd_link *l, const struct ipc_put *m, const struct envelope *e)
{
    struct queue *q = l->q;
    enum err err = ERR_NOMEM;
    struct fresh *f = NULL;
    if (q->put_octets <= q->config->memory_max)
        f = fresh_new(q, m->id, m->id, e, m->body);
    if (q->phase == QUEUE_CLOSING || q->phase == QUEUE_CLOSED) {
        err = ERR_CLOSED;
        if (f != NULL)
            fresh_unref(f);
        f = NULL;
    }
    if (f == NULL) {
        queue_put_done(q, l->index, l->life, m->token, m->id, err);
        if (err == ERR_NOMEM)
            queue_trouble(q, err, "no memory for a message");
        return;
    }
    f->smtpd = l->index;
    f->life = l->life;
    f->token = m->token;
    queue_put_submit(q, f);
}

/* ---- messages of smtpd ---- */

static void early_free(struct smtpd_link *l, struct early *e)
{
    list_remove(&e->link);
    l->n_early--;
    buf_fini(&e->rcpts);
    mem_free(e);
}

static struct early *early_find(struct smtpd_link *l, uint64_t token)
{
    list_each (i, &l->early) {
        struct early *e = list_entry(i, struct early, link);
        if (e->token == token)
            return e;
    }
    return NULL;
}

static bool on_put_rcpts(struct smtpd_link *l, const struct ipc_put_rcpts *m)
{
    struct early *e = early_find(l, m->token);
    if (e == NULL) {
        if (l->n_early == QUEUE_EARLY_MAX)
            return false;
        e = mem_new(struct early);
        if (e == NULL)
            return false;
        e->token = m->token;
        buf_init(&e->rcpts, STORE_ENVELOPE_MAX);
        list_push_back(&l->early, &e->link);
        l->n_early++;
    }
    return buf_put(&e->rcpts, m->rcpts);
}

/* false: smtpd is broken. pipe is taken or left NULL-safe for the caller to close. */
static bool on_put(struct smtpd_link *l, const struct ipc_put *m, struct conn *pipe)
{
    struct early *early = l->n_early > 0 ? early_find(l, m->token) : NULL;
    struct envelope e = {
        .flags = m->flags & (MAIL_FLAG_8BIT | MAIL_FLAG_UTF8 | MAIL_FLAG_OURS | MAIL_FLAG_BINARY),
        .arrival_ms = world_wall_ms(l->q->world),
        .body_size = m->body.n,
        .sender = m->sender,
        .params = m->params,
        .client = m->client,
        .helo = m->helo,
        .rcpts = m->rcpts,
    };
    if (early != NULL) {
        if (!buf_put(&early->rcpts, m->rcpts))
            return false;
        e.rcpts = buf_str(&early->rcpts);
    }
    e.n_rcpts = rcpt_count(e.rcpts);
    if (e.arrival_ms < 0)
        e.arrival_ms = 0;
    struct mail_params params;
    bool ok = e.n_rcpts > 0 && mail_params_get(m->params, &params) && e.sender.n <= SMTP_PATH_MAX &&
              !str_has_ctl(e.sender) && envelope_encoded_size(&e) <= STORE_ENVELOPE_MAX &&
              (m->is_piped != 0) == (pipe != NULL) && m->body.n <= IPC_BODY_INLINE_MAX &&
              queue_take_id(l, m->id);
    if (ok && pipe != NULL)
        intake_start(l, m, pipe, &e);
    else if (ok)
        put_inline(l, m, &e);
    if (early != NULL)
        early_free(l, early);
    return ok;
}

static void forget_channel(struct smtpd_link *l)
{
    l->channel = NULL;
    l->is_paused = false;
    while (!list_is_empty(&l->early))
        early_free(l, list_entry(l->early.next, struct early, link));
    while (l->n_grants > 0)
        grants_remove(l, l->n_grants - 1);
    intake_abort_all(l);
}

static bool handle_message(struct smtpd_link *l, uint16_t type, struct str payload, struct handle *given)
{
    struct queue *q = l->q;
    if (type == IPC_PUT) {
        struct ipc_put m;
        struct conn *pipe = handle_take_conn(q->world, given);
        if (ipc_decode_put(payload, &m) && on_put(l, &m, pipe))
            return true;
        if (pipe != NULL)
            conn_close(pipe);
        return false;
    }
    struct ipc_id_want want;
    struct ipc_put_rcpts rcpts;
    struct ipc_put_commit commit;
    struct ipc_put_abort abort;
    struct ipc_callout_ask callout;
    struct ipc_etrn_ask etrn;
    switch (type) {
    case IPC_ID_WANT:
        if (!ipc_decode_id_want(payload, &want))
            return false;
        on_id_want(l, &want);
        return true;
    case IPC_PUT_RCPTS:
        return ipc_decode_put_rcpts(payload, &rcpts) && on_put_rcpts(l, &rcpts);
    case IPC_CALLOUT_ASK:
        return ipc_decode_callout_ask(payload, &callout) && callout_on_ask(l, &callout);
    case IPC_ETRN_ASK:
        return ipc_decode_etrn_ask(payload, &etrn) && ctl_on_etrn(l, &etrn);
    case IPC_PUT_COMMIT:
        if (!ipc_decode_put_commit(payload, &commit))
            return false;
        intake_commit(l, &commit);
        return true;
    case IPC_PUT_ABORT:
        if (!ipc_decode_put_abort(payload, &abort))
            return false;
        intake_abort(l, abort.token);
        struct early *e = early_find(l, abort.token);
        if (e != NULL)
            early_free(l, e);
        return true;
    default:
        return false; /* the rights name no other */
    }
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct smtpd_link *l = arg;
    struct role_env *env = l->q->env;
    if (!role_message_allowed(env, ROLE_SMTPD, c, type)) {
        forget_channel(l);
        return;
    }
    if (handle_message(l, type, payload, given))
        return;
    forget_channel(l);
    role_message_malformed(env, ROLE_SMTPD, c, type);
}

/* ---- reports of agent ---- */

/* What it is sent with is not agent's to say. false: agent is broken. */
static bool on_report(struct smtpd_link *l, const struct ipc_put *m)
{
    struct queue *q = l->q;
    char params_mem[MAIL_PARAMS_MAX];
    struct buf params;
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    must(mail_params_put(&(struct mail_params){.tls_optional = true}, &params));
    struct envelope e = {.arrival_ms = world_wall_ms(q->world),
                         .body_size = m->body.n,
                         .sender = m->sender,
                         .params = buf_str(&params),
                         .rcpts = m->rcpts,
                         .n_rcpts = rcpt_count(m->rcpts)};
    struct reader r = reader_of(m->rcpts);
    struct rcpt rcpt;
    struct address to;
    bool is_plain = e.n_rcpts == 1 && rcpt_next(&r, &rcpt) && rcpt.notify == 0 && rcpt.flags == 0 &&
                    rcpt.target == 0 && rcpt.orcpt.n + rcpt.shown.n == 0 &&
                    address_parse(rcpt.address, false, &to) == NULL && to.kind == DOMAIN_NAME;
    if (!is_plain || m->flags != 0 || m->params.n + m->client.n + m->helo.n > 0 || m->is_piped != 0 ||
        m->body.n == 0 || m->body.n > IPC_BODY_INLINE_MAX || !queue_take_id(l, m->id))
        return false;
    if (e.arrival_ms < 0)
        e.arrival_ms = 0;
    /* it may have another one because it has not got the new configuration yet */
    bool is_configured = q->config->tls_reports.n > 0 && str_eq(m->sender, q->config->tls_reports);
    if (is_configured)
        put_inline(l, m, &e);
    else
        queue_put_done(q, l->index, l->life, m->token, m->id, ERR_DENIED);
    return true;
}

bool queue_agent_message(struct queue *q, uint16_t type, struct str payload)
{
    struct smtpd_link *l = &q->smtpd[QUEUE_AGENT_LINK];
    struct ipc_id_want want;
    struct ipc_put put;
    if (type == IPC_ID_WANT && ipc_decode_id_want(payload, &want))
        on_id_want(l, &want);
    else
        return type == IPC_PUT && ipc_decode_put(payload, &put) && on_report(l, &put);
    return true;
}

static void set_channel(struct smtpd_link *l, struct channel *c)
{
    l->channel = c;
    l->life++;
    /* What is said before the store is open stays in the channel. */
    l->is_paused = l->q->phase == QUEUE_OPENING;
    if (l->is_paused)
        channel_pause(c, true);
}

void queue_agent_set(struct queue *q, struct channel *c)
{
    set_channel(&q->smtpd[QUEUE_AGENT_LINK], c);
}

void queue_agent_gone(struct queue *q)
{
    forget_channel(&q->smtpd[QUEUE_AGENT_LINK]);
}

/* ---- channels ---- */

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_closed(void *arg, struct channel *c)
{
    struct smtpd_link *l = arg;
    forget_channel(l);
    role_peer_closed(l->q->env, c);
}

static const struct channel_user user = {on_message, on_room, on_closed};

void queue_smtpd_set(struct queue *q, unsigned index, struct channel *c)
{
    struct smtpd_link *l = &q->smtpd[index];
    channel_set_user(c, &user, l);
    set_channel(l, c);
}

void queue_smtpd_fini(struct queue *q)
{
    for (size_t i = 0; i < ARRAY_LEN(q->smtpd); i++) {
        struct smtpd_link *l = &q->smtpd[i];
        while (!list_is_empty(&l->early))
            early_free(l, list_entry(l->early.next, struct early, link));
        while (l->n_grants > 0)
            grants_remove(l, l->n_grants - 1);
        mem_free(l->grants);
        intake_free_all(l);
    }
    struct list *i;
    while ((i = list_pop_front(&q->puts_waiting)) != NULL)
        fresh_unref(list_entry(i, struct fresh, link));
}
