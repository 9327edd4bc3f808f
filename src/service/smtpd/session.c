/* service/smtpd/session.c: one connection: octets between conn and smtp_server, answers to its questions.
 *
 * An idle session owns no buffer: octets are read into the role's scratch and fed from there; only an
 * incomplete line, or what came while a question was open, is kept.
 *
 * A socket that is closed with octets unread sends a reset, and what the client has not read yet of our last
 * reply may be lost: it would see a broken connection and try for ever what it was told not to. So where the
 * client may still be sending when we end the session (it was told so by a 4xx or 5xx, not by 221) our side
 * is shut, and for a while its octets are read and thrown away.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "base/queue_id.h"
#include "crypto/secret.h"
#include "service/smtpd/smtpd.h"
#include "wire/proxy.h"

#include <string.h>

enum { CLIENT_IP6_PREFIX = 64 };

static const struct conn_user conn_user;

/* ---- clients: how many sessions an address has ---------------- */

static struct client *client_take(struct smtpd *d, const struct session *s)
{
    const struct netaddr *a = &s->peer;
    uint8_t ip[sizeof a->ip] = {0};
    size_t n = a->kind == NETADDR_IP6 ? CLIENT_IP6_PREFIX / 8 : sizeof ip;
    for (size_t i = 0; i < n; i++)
        ip[i] = a->ip[i];
    if (s->has_uid) { /* each user is a client; other unix sockets are one together */
        memcpy(ip, &s->uid, sizeof s->uid);
        ip[sizeof s->uid] = 1;
    }
    uint64_t h = str_ihash(str_of(ip, sizeof ip), d->hash_seed) % SMTPD_CLIENT_BUCKETS;
    struct list *bucket = &d->clients[h];
    list_each (l, bucket) {
        struct client *c = list_entry(l, struct client, link);
        if (c->kind == a->kind && memcmp(c->ip, ip, sizeof ip) == 0) {
            c->n++;
            return c;
        }
    }
    struct client *c = mem_new(struct client);
    if (c == NULL)
        return NULL;
    c->kind = a->kind;
    memcpy(c->ip, ip, sizeof ip);
    c->n = 1;
    list_push_front(bucket, &c->link);
    return c;
}

static void client_give(struct client *c)
{
    if (c == NULL || --c->n > 0)
        return;
    list_remove(&c->link);
    mem_free(c);
}

/* ---- journal ---------------- */

static void client_text(const struct session *s, struct buf *out)
{
    netaddr_format(&s->peer, out);
}

static void tell(struct session *s, enum event_kind kind, uint64_t id, struct str rcpt, struct str text,
                 uint64_t number)
{
    char mem[NETADDR_TEXT_MAX];
    struct buf who;
    buf_init_fixed(&who, mem, sizeof mem);
    client_text(s, &who);
    int64_t wall_ms = kind == EVENT_ACCEPTED ? s->message_wall_ms : world_wall_ms(s->d->world);
    struct ipc_event e = {.kind = (uint16_t)kind,
                          .wall_ms = (uint64_t)wall_ms,
                          .id = id,
                          .rcpt = rcpt,
                          .host = buf_str(&who),
                          .text = text,
                          .number = number};
    role_event(s->d->env, &e);
}

/* ---- answers ---------------- */

void session_answer_rcpt(struct session *s, uint32_t question, const struct address *rcpt,
                         enum smtp_reply_id id)
{
    if (id != R_RCPT_OK) {
        s->d->count.refused_rcpt++;
        session_tell_refused(s, rcpt->text, id);
    }
    smtp_server_answer_rcpt(&s->server, question, id, rcpt->text, 0);
}

void session_answer_mail(struct session *s, uint32_t question, enum smtp_reply_id id)
{
    if (id != R_MAIL_OK) {
        s->d->count.refused_message++;
        session_tell_refused(s, smtp_server_transaction(&s->server)->from.text, id);
    }
    smtp_server_answer(&s->server, question, id, STR_NIL);
}

bool session_is_in(const struct netblock *blocks, size_t n, const struct netaddr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (netblock_has(&blocks[i], a))
            return true;
    }
    return false;
}

static void answer_rcpt(struct session *s, const struct smtp_event *ev)
{
    enum smtp_reply_id id = R_RCPT_OK;
    const struct policy_conf *p = &s->conf->config->policy;
    char mem[SMTP_PATH_MAX] __attribute__((uninitialized));
    struct buf text;
    struct address to = *ev->rcpt;
    buf_init_fixed(&text, mem, sizeof mem);
    struct str becomes = submission_rcpt(s, ev->rcpt, &text);
    bool is_rewritten = becomes.p != ev->rcpt->text.p;
    if (is_rewritten && address_parse(becomes, true, &to) != NULL)
        must_not_reach(); /* made of an address and a domain, or the configuration's */
    switch (policy_rcpt(p, s->is_ours, &to)) {
    case RCPT_LOCAL:
    case RCPT_RELAY:
        break;
    case RCPT_CALLOUT:
        if (is_rewritten) /* to where the configuration says: that is no stranger's guess */
            break;
        ask_callout(s, ev);
        return;
    case RCPT_RELAY_DENIED:
        id = R_RELAY_DENIED;
        break;
    case RCPT_NO_SUCH_USER:
        id = R_NO_SUCH_USER;
        break;
    case RCPT_BAD_ADDRESS:
        id = R_BAD_MAILBOX;
        break;
    }
    session_answer_rcpt(s, ev->question, ev->rcpt, id);
}

static void answer_data(struct session *s, uint32_t question)
{
    enum smtp_reply_id id;
    s->data_question = 0;
    s->put = put_begin(s, &id);
    if (s->put == NULL && id == R_NONE) {
        s->data_question = question; /* session_ids_came() goes on */
        s->asked_ms = world_now_ms(s->d->world);
        return;
    }
    if (s->put == NULL)
        s->d->count.overload++;
    smtp_server_answer(&s->server, question, s->put != NULL ? R_DATA_GO : id, STR_NIL);
}

void session_ids_came(struct smtpd *d)
{
    list_each (l, &d->sessions) {
        struct session *s = list_entry(l, struct session, link);
        if (s->data_question == 0)
            continue;
        answer_data(s, s->data_question);
        session_pump(s);
    }
}

static enum smtp_reply_id reply_for(enum err e)
{
    if (e == ERR_NOSPACE)
        return R_STORE_FULL;
    if (e == ERR_NOMEM)
        return R_NO_MEMORY;
    if (e == ERR_AGAIN)
        return R_STORE_BUSY;
    return R_STORE_DOWN; /* trouble of ours is 4xx, whatever it is */
}

void session_tell_refused(struct session *s, struct str whom, enum smtp_reply_id id)
{
    tell(s, EVENT_REFUSED, 0, whom, str_from_c(smtp_reply_row(id)->text), smtp_reply_row(id)->code);
}

void session_tell_trouble(struct session *s, struct str whom, enum smtp_reply_id id, struct str why)
{
    char mem[SMTP_REPLY_FILLED_MAX + SMTPD_WHY_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_printf(&text, "%s: ", smtp_reply_row(id)->text);
    for (size_t i = 0; i < why.n && i < SMTPD_WHY_MAX; i++)
        buf_putc(&text, str_has_ctl(str_slice(why, i, i + 1)) ? '?' : why.p[i]);
    tell(s, EVENT_REFUSED, 0, whom, buf_str(&text), smtp_reply_row(id)->code);
}

static void tell_refused(struct session *s, enum smtp_reply_id id)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
    char mem[SMTP_REPLY_FILLED_MAX], number_mem[24];
    struct buf text, number;
    buf_init_fixed(&number, number_mem, sizeof number_mem);
    buf_init_fixed(&text, mem, sizeof mem);
    buf_printf(&number, "%llu", (unsigned long long)s->conf->config->size_max); /* of R_TOO_BIG */
    smtp_reply_fill(id, buf_str(&number), &text);
    s->d->count.refused_message++;
    tell(s, EVENT_REFUSED, 0, t == NULL ? STR_NIL : t->from.text, buf_str(&text), smtp_reply_row(id)->code);
}

void session_message_reply(struct session *s, enum smtp_reply_id id, struct str arg)
{
    uint32_t question = s->question;
    uint32_t n = smtp_server_answers_due(&s->server);
    s->question = 0;
    if (smtp_reply_row(id)->code >= 400)
        tell_refused(s, id);
    for (uint32_t i = 0; i < n; i++)
        smtp_server_answer(&s->server, question, id, arg);
}

/* What the client said that it is, and who has logged in. */
static void put_origin(const struct session *s, struct buf *out)
{
    struct str login = login_address(s);
    buf_put(out, smtp_server_helo(&s->server));
    if (login.n == 0)
        return;
    buf_puts(out, ", logged in as ");
    buf_put(out, login);
}

void session_message_done(struct session *s, enum err err, uint64_t id)
{
    char mem[64], origin_mem[SMTP_DOMAIN_MAX + POLICY_LOGIN_MAX + 32];
    struct buf text, origin;
    buf_init_fixed(&origin, origin_mem, sizeof origin_mem);
    buf_init_fixed(&text, mem, sizeof mem);
    if (err == ERR_OK) {
        const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
        s->d->count.accepted++;
        put_origin(s, &origin);
        tell(s, EVENT_ACCEPTED, id, t->from.text, buf_str(&origin), t->size);
        queue_id_format(id, &text);
        session_message_reply(s, R_QUEUED, buf_str(&text));
    } else {
        s->d->count.trouble++;
        if (!s->d->is_trouble_told) /* once, until it works again; the counter goes on */
            log_error(s->d->world->log, "smtpd.queue-trouble", LERR(err));
        session_message_reply(s, reply_for(err), STR_NIL);
    }
    s->d->is_trouble_told = err != ERR_OK;
}

static void drop_put(struct session *s)
{
    if (s->put == NULL)
        return;
    struct put *p = s->put;
    s->put = NULL;
    put_abort(p);
}

/* What this client is offered; again when XCLIENT says that it is another one, or it logs in. */
void session_offer(struct session *s)
{
    bool is_known = s->at->auth != LISTEN_MUST_AUTH && policy_may_relay(&s->conf->config->policy, &s->peer);
    s->is_ours = s->at->is_submit || s->has_login || is_known;
    s->offered = smtpd_offer(s->conf, s->at, s->is_ours, s->may_xclient);
    smtp_server_set_conf(&s->server, s->offered);
}

static enum smtp_reply_id greeting_for(struct smtpd *d, const struct session *s);

/* A trusted proxy names its client: from here on that one counts (Postfix's XCLIENT_README). */
static void answer_xclient(struct session *s, const struct smtp_event *ev)
{
    const struct xclient *x = ev->xclient;
    struct client *before = s->client;
    struct netaddr peer = s->peer;
    if ((x->has & XCLIENT_ADDR) != 0)
        s->peer = x->addr; /* unavailable: NETADDR_NONE, which nobody trusts */
    struct client *client = client_take(s->d, s);
    if (client == NULL) {
        s->peer = peer;
        smtp_server_answer(&s->server, ev->question, R_NO_MEMORY, STR_NIL);
        return;
    }
    s->client = client;
    client_give(before);
    if ((x->has & XCLIENT_NAME) != 0) {
        buf_reset(&s->client_name);
        (void)buf_put(&s->client_name, x->name); /* without memory the trace does without */
    }
    if ((x->has & XCLIENT_LOGIN) != 0)
        s->has_login = x->login.n > 0;
    session_offer(s);
    enum smtp_reply_id id = greeting_for(s->d, s);
    if (id == R_GREETING) {
        smtp_server_answer(&s->server, ev->question, R_GREETING, STR_NIL);
    } else {
        s->d->count.overload++;
        smtp_server_close(&s->server, id);
    }
}

static void on_event(struct session *s, const struct smtp_event *ev)
{
    switch (ev->kind) {
    case SMTP_EV_MAIL:
        ask_sender(s, ev);
        break;
    case SMTP_EV_RCPT:
        answer_rcpt(s, ev);
        break;
    case SMTP_EV_DATA:
        answer_data(s, ev->question);
        break;
    case SMTP_EV_BODY:
        if (s->put != NULL)
            put_body(s->put, ev->body);
        break;
    case SMTP_EV_MESSAGE:
        s->question = ev->question;
        s->asked_ms = world_now_ms(s->d->world);
        s->message_wall_ms = world_wall_ms(s->d->world);
        if (s->put != NULL)
            put_end(s->put);
        else
            session_message_reply(s, R_STORE_DOWN, STR_NIL);
        break;
    case SMTP_EV_ABORT:
        s->question = s->data_question = 0;
        drop_put(s);
        if (ev->reply != R_NONE)
            tell_refused(s, ev->reply);
        break;
    case SMTP_EV_EXPN:
        answer_expn(s, ev);
        break;
    case SMTP_EV_ETRN:
        ask_etrn(s, ev);
        break;
    case SMTP_EV_XCLIENT:
        answer_xclient(s, ev);
        break;
    case SMTP_EV_STARTTLS:
        smtp_server_answer(&s->server, ev->question, secure_is_ready(s->d) ? R_TLS_GO : R_TLS_LATER, STR_NIL);
        break;
    case SMTP_EV_AUTH:
        login_question(s, ev);
        break;
    case SMTP_EV_LOGIN:
        login_done(s, ev);
        break;
    case SMTP_EV_CLOSE:
        s->is_closing = true;
        ask_forget(s);
        s->close_reply = ev->reply;
        break;
    }
}

/* ---- octets ---------------- */

static void want(struct session *s, unsigned mask)
{
    if (mask != s->want) {
        s->want = mask;
        conn_want(s->conn, mask);
    }
}

/* May more input be fed now? */
static bool may_feed(const struct session *s)
{
    return !s->is_closing && s->question == 0 && s->data_question == 0 && s->ask.kind == ASK_NONE &&
           (s->put == NULL || !put_is_full(s->put)) && smtp_server_output(&s->server).n < SMTPD_OUTPUT_HIGH;
}

/* What comes behind STARTTLS is for TLS. */
static bool may_read(const struct session *s)
{
    return may_feed(s) && !s->peer_eof && !s->is_dead && !smtp_server_awaits_tls(&s->server);
}

static void take_events(struct session *s)
{
    struct smtp_event ev;
    while (smtp_server_next(&s->server, &ev))
        on_event(s, &ev);
}

/* Feeds until nothing is consumed or something must be waited for; returns octets consumed. */
static size_t feed(struct session *s, struct str in)
{
    uint64_t now = world_now_ms(s->d->world);
    size_t total = 0;
    while (total < in.n && may_feed(s)) {
        size_t n = smtp_server_feed(&s->server, str_skip(in, total), now);
        total += n;
        take_events(s);
        if (n == 0)
            break;
    }
    return total;
}

static void flush(struct session *s)
{
    struct str out = smtp_server_output(&s->server);
    size_t n;
    enum err e = ERR_OK;
    while (out.n > 0 && e == ERR_OK) {
        e = conn_write(s->conn, &out, 1, &n);
        if (e == ERR_OK)
            smtp_server_sent(&s->server, n);
        out = smtp_server_output(&s->server);
    }
    if (e != ERR_OK && e != ERR_AGAIN)
        s->is_dead = true;
}

/* Keeps octets that can't be fed now; memory is accounted. */
static bool hold(struct session *s, struct str octets)
{
    struct smtpd *d = s->d;
    size_t before = s->in.cap;
    bool is_line = s->in.n + octets.n <= SMTP_COMMAND_LINE_MAX; /* all sessions may have one */
    bool ok = (is_line || d->memory_used <= s->conf->config->memory_max) && buf_put(&s->in, octets);
    d->memory_used += s->in.cap - before;
    return ok;
}

/* What has come may have a password in it. */
static bool takes_logins(const struct session *s)
{
    return s->at->auth != LISTEN_NO_AUTH;
}

/* Lets the memory go when nothing is kept. */
static void release_input(struct session *s)
{
    size_t before = s->in.cap;
    if (s->in.n == 0 && before > 0 && takes_logins(s))
        secret_wipe_buf(&s->in);
    buf_release(&s->in);
    s->d->memory_used -= before - s->in.cap;
}

/* One read and what follows from it. false: nothing more to read now. */
static bool read_some(struct session *s)
{
    struct smtpd *d = s->d;
    size_t n;
    enum err e = conn_read(s->conn, d->scratch, sizeof d->scratch, &n);
    if (e == ERR_AGAIN)
        return false;
    if (e != ERR_OK) {
        s->peer_eof = true;
        if (e != ERR_CLOSED)
            s->is_dead = true;
        return false;
    }
    struct str in = str_of(d->scratch, n);
    size_t used = 0;
    if (s->in.n == 0)
        used = feed(s, in);
    if (used < n && !s->is_closing && !hold(s, str_skip(in, used)))
        smtp_server_close(&s->server, R_NO_MEMORY_CLOSE);
    if (takes_logins(s))
        secret_wipe(d->scratch, n);
    return n == sizeof d->scratch;
}

/* Feeds until an incomplete line is left or something must be waited for. What stops only because of too much
 * output goes on as soon as that is written: no event would come for it. */
static void feed_kept(struct session *s)
{
    size_t used = s->in.n;
    if (used == 0)
        return;
    while (used > 0 && s->in.n > 0 && !s->is_dead) {
        if (smtp_server_output(&s->server).n >= SMTPD_OUTPUT_HIGH)
            flush(s);
        used = feed(s, buf_str(&s->in));
        buf_consume(&s->in, used);
    }
    release_input(s);
}

/* ---- the end ---------------- */

/* Not when the client is gone, said QUIT, or has not even begun; nor when a restart waits for us. */
static bool is_lingering_reply(enum smtp_reply_id id)
{
    return id != R_NONE && id != R_BYE && id != R_TOO_MANY_CONNECTIONS && id != R_SHUTDOWN;
}

/* All is said: shuts our side and goes on reading. false: there is no need, or it can't be afforded. */
static bool linger(struct session *s)
{
    struct smtpd *d = s->d;
    if (s->is_dead || s->peer_eof || d->is_draining || d->n_lingering >= SMTPD_LINGER_MAX ||
        !is_lingering_reply(s->close_reply))
        return false;
    s->is_lingering = true;
    d->n_lingering++;
    conn_shutdown_write(s->conn);
    buf_reset(&s->in);
    release_input(s);
    world_timer_set(d->world, &s->timer, world_now_ms(d->world) + SMTPD_LINGER_MS);
    want(s, CONN_READABLE);
    return true;
}

/* Throws away what comes, until the client ends it too or there was enough of it. */
static void pump_lingering(struct session *s)
{
    size_t n;
    for (int i = 0; i < SMTPD_READS_PER_WAKE; i++) {
        enum err e = conn_read(s->conn, s->d->scratch, sizeof s->d->scratch, &n);
        if (e == ERR_AGAIN)
            return;
        s->n_lingered += n;
        if (e != ERR_OK || s->n_lingered > SMTPD_LINGER_OCTETS) {
            session_del(s);
            return;
        }
    }
}

void session_pump(struct session *s)
{
    if (s->in_pump || s->is_shaking) /* an answer came within feed(): the loop that called it goes on */
        return;
    if (s->is_lingering) {
        pump_lingering(s);
        return;
    }
    s->in_pump = true;
    if (s->offered->hold_max_s > 0 || s->offered->deliverby) /* the wall clock may step */
        smtp_server_set_wall(&s->server, world_now_ms(s->d->world), world_wall_ms(s->d->world));
    bool was_closing = s->is_closing;
    feed_kept(s);
    for (int i = 0; i < SMTPD_READS_PER_WAKE && may_read(s); i++) {
        bool more = read_some(s);
        if (s->in.n > 0 && s->in.n > SMTP_COMMAND_LINE_MAX)
            feed_kept(s);
        if (!more)
            break;
        flush(s);
    }
    feed_kept(s);
    /* what came before the end is taken first */
    if ((s->is_dead || (s->peer_eof && may_feed(s))) && s->question == 0 && !s->is_closing) {
        smtp_server_eof(&s->server);
        take_events(s);
    }
    if (s->d->is_draining && s->put == NULL && s->data_question == 0 && !s->is_closing)
        smtp_server_close(&s->server, R_SHUTDOWN);
    take_events(s);
    bool is_held = (s->in.n > 0 || s->peer_eof) && smtp_server_output(&s->server).n >= SMTPD_OUTPUT_HIGH;
    flush(s);
    s->in_pump = false;
    bool has_output = smtp_server_output(&s->server).n > 0;
    if (smtp_server_awaits_tls(&s->server) && !has_output && !s->is_dead) {
        secure_start(s);
        return;
    }
    if (s->is_dead || (s->is_closing && !has_output)) {
        if (!linger(s))
            session_del(s);
        return;
    }
    if (s->is_closing && !was_closing)
        world_timer_set(s->d->world, &s->timer, world_now_ms(s->d->world) + SMTPD_GOODBYE_MS);
    /* While a question is open nothing is usually sent to us; only if something comes is reading switched
     * off. */
    bool read_on = may_read(s);
    want(s,
         (has_output || is_held ? (unsigned)CONN_WRITABLE : 0u) | (read_on ? (unsigned)CONN_READABLE : 0u));
}

static void pump_proxy(struct session *s);
static void proxy_failed(struct session *s);

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    struct session *s = arg;
    if (s->is_awaiting_proxy)
        pump_proxy(s);
    else
        session_pump(s);
}

static const struct conn_user conn_user = {on_ready};

/* The queue has not answered for longer than any client waits: a disk that hangs must not hold all sessions
 * of clients that are long gone. Should it take the message after all, the client sends it twice, as when the
 * connection breaks before the reply. */
static void answer_for_queue(struct session *s)
{
    s->d->count.trouble++;
    if (s->question != 0) {
        drop_put(s);
        session_message_reply(s, R_STORE_DOWN, STR_NIL);
    } else {
        uint32_t question = s->data_question;
        s->data_question = 0;
        smtp_server_answer(&s->server, question, R_STORE_DOWN, STR_NIL);
    }
}

/* The deadline moves with every command; the timer is moved only when it fires. */
static void on_timer(struct timer *t)
{
    struct session *s = container_of(t, struct session, timer);
    uint64_t now = world_now_ms(s->d->world);
    if (s->is_awaiting_proxy) {
        proxy_failed(s);
        return;
    }
    must(!s->is_shaking);
    if (s->is_closing) { /* a last reply that the client does not read, or its last octets, don't hold us */
        session_del(s);
        return;
    }
    if (s->is_ungreeted) {
        s->is_ungreeted = false;
        smtp_server_greet(&s->server, R_GREETING);
    }
    if (s->ask.kind != ASK_NONE && now >= s->ask.due_ms)
        ask_on_timer(s);
    bool is_asking = s->ask.kind != ASK_NONE || s->question != 0 || s->data_question != 0;
    if (is_asking && s->ask.kind == ASK_NONE && now >= s->asked_ms + SMTPD_ANSWER_MS)
        answer_for_queue(s);
    else if (!is_asking && now >= smtp_server_deadline(&s->server))
        smtp_server_tick(&s->server, now);
    uint64_t due = smtp_server_deadline(&s->server);
    if (is_asking || due <= now) /* looked at again soon: the answer starts the client's clock anew */
        due = now + SMTPD_LOOK_AGAIN_MS;
    if (s->ask.kind != ASK_NONE && s->ask.due_ms < due)
        due = s->ask.due_ms;
    world_timer_set(s->d->world, &s->timer, due);
    session_pump(s);
}

/* ---- life ---------------- */

static enum smtp_reply_id greeting_for(struct smtpd *d, const struct session *s)
{
    const struct config *c = s->conf->config;
    if (d->is_draining)
        return R_SHUTDOWN;
    if (d->n_sessions > c->sessions_max)
        return R_TOO_MANY_CONNECTIONS;
    /* all who come by a unix socket whose users nobody asks for are one client: the file's mode says who may
     */
    bool is_counted = c->session_per_client_max > 0 && (s->client->kind != NETADDR_UNIX || s->has_uid);
    if (is_counted && s->client->n > c->session_per_client_max)
        return R_TOO_MANY_CONNECTIONS;
    return R_GREETING;
}

static size_t listener_index(const struct smtpd *d, const struct listener *l)
{
    for (size_t i = 0; i < d->env->n_listeners; i++) {
        if (d->env->listeners[i] == l)
            return i;
    }
    return 0;
}

/* Who it is is known now: greets, or says why not. The session may be gone afterwards. Who may use XCLIENT is
 * settled here for the whole session, as in Postfix: it is the client and not the balancer that passes its
 * octets on, and XCLIENT itself changes nothing of it. */
static void begin(struct session *s)
{
    struct smtpd *d = s->d;
    const struct config *c = s->conf->config;
    s->may_xclient = session_is_in(c->xclient_from, c->n_xclient_from, &s->peer);
    session_offer(s);
    uint64_t now = world_now_ms(d->world);
    enum smtp_reply_id id = greeting_for(d, s);
    smtp_server_set_wall(&s->server, now, world_wall_ms(d->world));
    if (id != R_GREETING)
        d->count.overload++;
    s->is_ungreeted = id == R_GREETING && s->offered->greets_late;
    if (!s->is_ungreeted)
        smtp_server_greet(&s->server, id);
    world_timer_set(d->world, &s->timer,
                    s->is_ungreeted ? now + (uint64_t)s->at->greet_delay_s * 1000
                                    : smtp_server_deadline(&s->server));
    session_pump(s);
}

/* The first octet is the client's TLS, or our greeting. One session too many is not worth a handshake. */
static void open_session(struct session *s)
{
    bool is_implicit = s->at->tls == LISTEN_IMPLICIT;
    s->client = client_take(s->d, s);
    if (s->client == NULL || (is_implicit && greeting_for(s->d, s) != R_GREETING)) {
        s->d->count.overload++;
        session_del(s);
    } else if (is_implicit) {
        secure_start(s);
    } else {
        begin(s);
    }
}

void session_secured(struct session *s)
{
    unsigned mechanisms = s->at->auth != LISTEN_NO_AUTH ? login_mechanisms(s) : 0;
    bool is_implicit = smtp_server_phase(&s->server) == SMTP_SERVER_GREETING;
    smtp_server_secured(&s->server, mechanisms);
    conn_want(s->conn, s->want);
    if (is_implicit) {
        begin(s);
        return;
    }
    world_timer_set(s->d->world, &s->timer, smtp_server_deadline(&s->server));
    session_pump(s);
}

/* One line in a while; the count says how many there were. */
static void proxy_failed(struct session *s)
{
    struct smtpd *d = s->d;
    uint64_t now_ms = world_now_ms(d->world);
    d->count.proxy_bad++;
    if (now_ms >= d->proxy_log_ms) {
        char mem[NETADDR_TEXT_MAX];
        struct buf who;
        buf_init_fixed(&who, mem, sizeof mem);
        netaddr_format(conn_peer(s->conn), &who);
        log_warn(d->world->log, "smtpd.bad-proxy-header", LS("peer", buf_str(&who)),
                 LU("since_start", d->count.proxy_bad));
        d->proxy_log_ms = now_ms + SMTPD_PROXY_LOG_MS;
    }
    session_del(s);
}

static void pump_proxy(struct session *s)
{
    struct smtpd *d = s->d;
    struct proxy_header h;
    size_t n, used;
    /* what follows at once is for TLS, and must be left to it */
    size_t cap = s->at->tls == LISTEN_IMPLICIT ? 1 : sizeof d->scratch;
    enum proxy_status status = PROXY_MORE;
    do {
        enum err e = conn_read(s->conn, d->scratch, cap, &n);
        if (e == ERR_AGAIN)
            return;
        if (e != ERR_OK || !hold(s, str_of(d->scratch, n))) {
            proxy_failed(s);
            return;
        }
        status = proxy_parse(buf_str(&s->in), &h, &used);
    } while (status == PROXY_MORE && cap == 1);
    if (status == PROXY_MORE)
        return;
    if (status != PROXY_OK) {
        proxy_failed(s);
        return;
    }
    buf_consume(&s->in, used);
    release_input(s);
    s->is_awaiting_proxy = false;
    if (!h.is_local && h.source.kind != NETADDR_NONE)
        s->peer = h.source;
    open_session(s);
}

void session_start(struct smtpd *d, struct listener *l, struct conn *c)
{
    size_t i = listener_index(d, l);
    struct session *s = i < d->conf->config->n_listeners ? mem_new(struct session) : NULL;
    if (s == NULL) {
        conn_close(c);
        d->count.overload++;
        return;
    }
    s->d = d;
    s->conf = d->conf;
    s->conf->n_users++;
    s->conn = c;
    s->at = &s->conf->config->listeners[i];
    s->offered = smtpd_offer(s->conf, s->at, false, false); /* until it is known who it is */
    s->peer = *conn_peer(c);
    s->is_lmtp = s->at->lmtp;
    s->has_uid = s->at->is_submit && conn_peer_uid(c, &s->uid);
    s->timer.fire = on_timer;
    buf_init(&s->in, (size_t)SMTPD_SCRATCH * 2);
    buf_init(&s->client_name, SMTP_DOMAIN_MAX);
    list_push_back(&d->sessions, &s->link);
    d->n_sessions++;
    d->count.sessions++;
    uint64_t now = world_now_ms(d->world);
    smtp_server_init(&s->server, s->offered, &d->pool, now);
    conn_set_user(c, &conn_user, s);
    /* one too many hears it at once: those whose header is awaited must not pile up */
    if (!s->at->has_proxy || d->n_sessions > s->conf->config->sessions_max) {
        open_session(s);
    } else if (s->at->n_proxy_from > 0 &&
               !session_is_in(s->at->proxy_from, s->at->n_proxy_from, conn_peer(c))) {
        proxy_failed(s);
    } else {
        s->is_awaiting_proxy = true;
        world_timer_set(d->world, &s->timer, now + SMTPD_PROXY_MS);
        want(s, CONN_READABLE);
    }
}

void session_shutdown(struct session *s)
{
    if (s->is_lingering || s->is_awaiting_proxy || s->is_shaking)
        session_del(s);
    else
        session_pump(s); /* sees that we are draining */
}

void session_del(struct session *s)
{
    struct smtpd *d = s->d;
    must(!s->in_pump);
    drop_put(s);
    ask_forget(s);
    world_timer_cancel(d->world, &s->timer);
    smtp_server_fini(&s->server);
    login_forget(s);
    d->n_lingering -= s->is_lingering;
    d->memory_used -= s->in.cap;
    buf_fini(&s->in);
    conn_close(s->conn);
    buf_fini(&s->client_name);
    client_give(s->client);
    list_remove(&s->link);
    d->n_sessions--;
    smtpd_conf_unref(d, s->conf);
    mem_free(s);
    smtpd_session_gone(d);
}
