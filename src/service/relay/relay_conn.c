/* service/relay/relay_conn.c: one connection to a server, and the job on it.
 *
 * CONNECTING -> HELLO (smtp_client greets) -> BUSY (a job) -> IDLE (kept for the next job to the same site)
 * -> BUSY ...; QUITTING ends it politely. A server that closes the connection, falls silent or answers 421
 * before it said anything of a job and before it got any of the body has said nothing about the message: on a
 * kept connection the job gets a new one, on a new connection the next server has its turn.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "service/relay/relay.h"

static void link_set_state(struct link *k, enum link_state to)
{
    static const bool allowed[5][5] = {
        [LINK_CONNECTING] = {[LINK_HELLO] = true},
        [LINK_HELLO] = {[LINK_BUSY] = true, [LINK_QUITTING] = true},
        [LINK_BUSY] = {[LINK_IDLE] = true, [LINK_QUITTING] = true},
        [LINK_IDLE] = {[LINK_BUSY] = true, [LINK_QUITTING] = true},
    };
    must(allowed[k->state][to]);
    k->state = to;
}

static void on_timer(struct timer *t);
static void on_connected(void *arg, enum err err, struct conn *c);
static const struct conn_user conn_user;

bool relay_link_open(struct job *j, const struct netaddr *to, struct str name)
{
    struct relay *r = j->relay;
    struct link *k = mem_new(struct link);
    struct buf b;
    if (k == NULL)
        return false;
    k->relay = r;
    k->is_lmtp = j->is_lmtp;
    k->timer.fire = on_timer;
    buf_init_fixed(&b, k->host, sizeof k->host - 1);
    if (name.n > 0 && name.n <= SMTP_DOMAIN_MAX && to->kind != NETADDR_UNIX) {
        buf_printf(&b, "%.*s [", STR_FMT(name));
        netaddr_format_ip(to, &b);
        buf_printf(&b, "]:%u", to->port);
    } else {
        netaddr_format(to, &b);
    }
    struct netaddr from;
    struct str helo;
    bool ok = relay_source_pick(j, to, k->host, &from, &helo);
    if (ok)
        (void)str_to_c(helo, k->helo, sizeof k->helo);
    if (!ok || !relay_tls_judge(k, j, to, name) || !relay_login_fill(k, j, name, to->port)) {
        mem_free(k);
        return false;
    }
    (void)str_to_c(r->env->config->policy.hostname, k->hostname, sizeof k->hostname);
    if (from.kind != NETADDR_NONE) {
        buf_init_fixed(&b, k->from, sizeof k->from - 1);
        netaddr_format_ip(&from, &b);
    }
    (void)str_to_c(j->site, k->site_text, sizeof k->site_text);
    k->site = str_from_c(k->site_text);
    uint64_t deadline = world_now_ms(r->world) + SMTP_CLIENT_CONNECT_MS;
    k->connecting =
        world_connect(r->world, to, from.kind == NETADDR_NONE ? NULL : &from, deadline, on_connected, k);
    if (k->connecting == NULL) {
        job_note(j, SMTP_AT_CONNECT, 0, ESC(4, 4, 1), k->host,
                 STR("no memory or descriptors for a connection"));
        relay_login_end(k);
        mem_free(k);
        return false;
    }
    list_push_back(&r->links, &k->link);
    k->job = j;
    j->on = k;
    return true;
}

void relay_link_end(struct link *k)
{
    struct relay *r = k->relay;
    must(k->job == NULL);
    if (k->is_dead)
        return;
    k->is_dead = true;
    if (k->state == LINK_IDLE)
        r->n_idle--;
    world_timer_cancel(r->world, &k->timer);
    if (k->connecting != NULL)
        connecting_cancel(k->connecting);
    if (k->conn != NULL)
        conn_close(k->conn);
    k->connecting = NULL;
    k->conn = NULL;
    smtp_client_del(&k->client);
    relay_login_end(k);
    list_remove(&k->link);
    list_push_back(&r->ended, &k->link);
}

static struct job *leave_job(struct link *k)
{
    struct job *j = k->job;
    k->job = NULL;
    if (j != NULL) {
        j->on = NULL;
        relay_convert_drop(j);
        if (j->pipe != NULL)
            conn_want(j->pipe, 0);
    }
    return j;
}

/* Where the connection should have left from is told: an address that this machine does not have (any more)
 * fails here too. */
static void note_unconnected(const struct link *k, struct job *j, enum err err)
{
    char mem[256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_puts(&b, err_str(err));
    if (k->from[0] != '\0')
        buf_printf(&b, " (connecting from %s)", k->from);
    /* RFC 3463: 4.4.1 no answer from host */
    job_note(j, SMTP_AT_CONNECT, 0, ESC(4, 4, 1), k->host, buf_str(&b));
}

static void on_connected(void *arg, enum err err, struct conn *c)
{
    struct link *k = arg;
    k->connecting = NULL;
    if (err != ERR_OK) {
        struct job *j = leave_job(k);
        note_unconnected(k, j, err);
        relay_link_end(k);
        job_next_address(j);
        return;
    }
    k->conn = c;
    conn_set_user(c, &conn_user, k);
    if (k->is_smtps)
        relay_tls_begin(k);
    else
        relay_link_greet(k, NULL);
}

void relay_link_give_up(struct link *k)
{
    struct job *j = leave_job(k);
    relay_link_end(k);
    job_next_address(j);
}

void relay_link_greet(struct link *k, const struct smtp_client_secured *s)
{
    struct relay *r = k->relay;
    struct smtp_client_conf conf = {.helo = str_from_c(k->helo),
                                    .lmtp = k->is_lmtp,
                                    .is_mx = str_starts(k->site, STR("mx:")),
                                    .hostname = str_from_c(k->hostname),
                                    .tls = k->tls,
                                    .secured = s,
                                    .login = k->user[0] != '\0' ? &k->login : NULL,
                                    .is_near = k->is_near};
    k->client = smtp_client_new(&conf, &r->pool, world_now_ms(r->world));
    if (k->client == NULL) {
        job_note(k->job, SMTP_AT_CONNECT, 0, ESC(4, 3, 0), k->host, STR("memory budget used up"));
        relay_link_give_up(k);
        return;
    }
    link_set_state(k, LINK_HELLO);
    world_timer_set(r->world, &k->timer, smtp_client_deadline(k->client));
    relay_link_pump(k);
}

/* ---- jobs on the connection ---------------- */

static void begin_job(struct link *k)
{
    struct job *j = k->job;
    struct smtp_client_job cj = {
        .from = j->sender,
        .rcpts = j->rcpts,
        .n_rcpts = j->n_rcpts,
        .size = j->size,
        .is_8bit = (j->flags & MAIL_FLAG_8BIT) != 0,
        .is_binary = (j->flags & MAIL_FLAG_BINARY) != 0,
        .needs_utf8 = (j->flags & MAIL_FLAG_UTF8) != 0,
        .may_convert = true,
        .is_callout = j->is_callout,
        .params = &j->params,
        .wall_ms = world_wall_ms(k->relay->world),
        .to_ascii = k->relay->env->config->policy.to_ascii,
    };
    link_set_state(k, LINK_BUSY);
    smtp_client_job(k->client, &cj, world_now_ms(k->relay->world));
}

void relay_link_take_job(struct link *k, struct job *j)
{
    must(k->state == LINK_IDLE && k->job == NULL);
    k->relay->n_idle--;
    list_remove(&k->link);
    list_push_back(&k->relay->links, &k->link);
    k->job = j;
    j->on = k;
    relay_tls_take(k, j);
    begin_job(k);
    relay_link_pump(k);
}

static struct job_result result_of(const struct link *k, const struct smtp_client_result *res)
{
    enum result_kind kind = res->outcome == SMTP_OUTCOME_OK          ? RESULT_OK
                            : res->outcome == SMTP_OUTCOME_PERMANENT ? RESULT_PERMANENT
                                                                     : RESULT_TEMPORARY;
    return (struct job_result){.kind = kind,
                               .stage = (uint8_t)res->stage,
                               .flags = res->took_dsn ? RESULT_TOOK_DSN : 0,
                               .code = res->code,
                               .esc = res->esc,
                               .host = str_from_c(k->host),
                               .text = res->text};
}

/* Did the server go before it said a word of this job, and before any of the body went out? */
static bool is_unheard(const struct link *k)
{
    const struct job *j = k->job;
    const struct smtp_client_result *res = smtp_client_results(k->client);
    if (smtp_client_is_ready(k->client) || j->body_begun || j->n_read > 0 || j->n_given > 0)
        return false;
    for (uint32_t i = 0; i < j->n_rcpts; i++) {
        /* a code below 400 with a failure is a reply that was none, such as 250 to DATA */
        bool silent = res[i].outcome == SMTP_OUTCOME_TEMPORARY && (res[i].code < 400 || res[i].code == 421);
        if (!silent || res[i].stage > SMTP_AT_DATA)
            return false;
    }
    return true;
}

/* A kept connection was worth nothing any more, or nothing to this job: the job begins anew, on a new one,
 * once. Else the next server has its turn; what this one did is told when there is none. */
static void go_on_elsewhere(struct link *k, bool is_refused)
{
    bool was_kept = smtp_client_n_jobs(k->client) > 1;
    const struct smtp_client_result *res = smtp_client_results(k->client);
    struct job *j = leave_job(k);
    job_note(j, res->stage, res->code, res->esc, k->host, res->text);
    if (was_kept)
        job_start_anew(j);
    else if (is_refused)
        job_next_host(j);
    else
        job_next_address(j);
}

/* Did we refuse all of it since this server can't keep what REQUIRETLS asks for? Another may (RFC 8689
 * 4.2.1). */
static bool lacks_requiretls(const struct link *k)
{
    const struct smtp_client_result *res = smtp_client_results(k->client);
    for (uint32_t i = 0; i < k->job->n_rcpts; i++) {
        const struct esc *e = &res[i].esc;
        if (res[i].outcome != SMTP_OUTCOME_PERMANENT || res[i].code != 0 || e->class != 5 ||
            e->subject != 7 || e->detail != 30)
            return false;
    }
    return true;
}

/* What protected the message on its way, or that nothing did. */
static void tell_transport(const struct link *k)
{
    const struct job *j = k->job;
    char mem[RELAY_PROOF_TEXT + RELAY_REASON_TEXT + RESULT_TEXT_MAX];
    struct buf b;
    if (j->is_callout || (k->is_near && !k->is_encrypted))
        return;
    buf_init_fixed(&b, mem, sizeof mem);
    if (k->is_encrypted)
        buf_puts(&b, k->proof);
    else if (j->tls_why[0] != '\0')
        buf_printf(&b, "in the clear, since TLS failed: %s", j->tls_why);
    else
        buf_puts(&b, k->tls == SMTP_CLIENT_TLS_NONE ? "in the clear" : "in the clear: no TLS was to be had");
    bool is_proven = relay_tls_tell(k, &b);
    struct ipc_event e = {.kind = EVENT_TRANSPORT,
                          .wall_ms = (uint64_t)world_wall_ms(k->relay->world),
                          .id = j->id,
                          .host = str_from_c(k->host),
                          .text = buf_str(&b),
                          .number = k->is_encrypted + is_proven};
    role_event(k->relay->env, &e);
}

static void finish_job(struct link *k)
{
    struct job *j = k->job;
    const struct smtp_client_result *res = smtp_client_results(k->client);
    struct job_result out[QUEUE_RCPTS_PER_ATTEMPT_MAX];
    uint32_t n = j->n_rcpts;
    bool is_refused = lacks_requiretls(k);
    if (is_refused || is_unheard(k)) {
        go_on_elsewhere(k, is_refused);
        return;
    }
    bool is_taken = false;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = result_of(k, &res[i]);
        is_taken = is_taken || out[i].kind == RESULT_OK;
    }
    if (is_taken)
        tell_transport(k);
    leave_job(k);
    relay_answer(j, out, n); /* texts live in the client until its next job */
}

static void become_idle(struct link *k)
{
    struct relay *r = k->relay;
    if (r->is_draining || r->n_idle >= RELAY_IDLE_MAX || smtp_client_is_spent(k->client) ||
        smtp_client_n_jobs(k->client) >= SMTP_CLIENT_REUSE_MAX) {
        relay_link_quit(k);
        return;
    }
    link_set_state(k, LINK_IDLE);
    k->idle_until_ms = world_now_ms(r->world) + SMTP_CLIENT_IDLE_MS;
    world_timer_set(r->world, &k->timer, k->idle_until_ms);
    list_remove(&k->link);
    list_push_front(&r->idle, &k->link); /* the most recent first: the others may grow old and go */
    r->n_idle++;
}

void relay_link_quit(struct link *k)
{
    if (k->state == LINK_IDLE) {
        k->relay->n_idle--;
        list_remove(&k->link);
        list_push_back(&k->relay->links, &k->link);
    }
    link_set_state(k, LINK_QUITTING);
    smtp_client_quit(k->client, world_now_ms(k->relay->world));
    relay_link_pump(k);
}

/* ---- the body ---------------- */

static void on_pipe(void *arg, struct conn *c, unsigned ready)
{
    struct job *j = arg;
    UNUSED(ready);
    if (j->on == NULL)
        conn_want(c, 0);
    else
        relay_link_pump(j->on);
}

static const struct conn_user pipe_user = {on_pipe};

void relay_want_pipe(struct job *j)
{
    conn_set_user(j->pipe, &pipe_user, j);
    conn_want(j->pipe, CONN_READABLE);
}

static void give_converted(struct link *k)
{
    struct job *j = k->job;
    uint64_t now = world_now_ms(k->relay->world);
    unsigned left = RELAY_TURN_OCTETS / RELAY_PIECE;
    while (j->piece.n > 0 || !j->converter_ended) {
        if (j->piece.n == 0 && left-- == 0) /* all of it vanished: octets that base64 does not have */
            return;
        if (j->piece.n == 0 && !relay_convert_next(j)) {
            smtp_client_body_abort(k->client);
            return;
        }
        size_t n = smtp_client_body(k->client, buf_str(&j->piece), now);
        if (n == 0 && j->piece.n > 0)
            return;
        buf_consume(&j->piece, n);
    }
    j->body_begun = false;
    j->n_given = j->body.n;
    smtp_client_body_end(k->client, now);
}

static void give_inline(struct link *k)
{
    struct job *j = k->job;
    uint64_t now = world_now_ms(k->relay->world);
    while (j->n_given < j->body.n) {
        size_t n = smtp_client_body(k->client, str_skip(j->body, j->n_given), now);
        if (n == 0)
            return;
        j->n_given += n;
    }
    j->body_begun = false;
    smtp_client_body_end(k->client, now);
}

/* Reads one piece; false when there is none now. */
static bool read_pipe(struct link *k)
{
    struct job *j = k->job;
    size_t n;
    if (j->piece.n > 0)
        return true;
    if (j->pipe_ended)
        return false;
    if (!buf_reserve(&j->piece, RELAY_PIECE)) {
        smtp_client_body_abort(k->client);
        return false;
    }
    enum err e = conn_read(j->pipe, j->piece.p, RELAY_PIECE, &n);
    if (e == ERR_OK) {
        j->piece.n = n;
        j->n_read += n;
        return true;
    }
    if (e != ERR_AGAIN)
        j->pipe_ended = true;
    return false;
}

static void give_piped(struct link *k)
{
    struct job *j = k->job;
    uint64_t now = world_now_ms(k->relay->world);
    conn_set_user(j->pipe, &pipe_user, j);
    while (read_pipe(k)) {
        size_t n = smtp_client_body(k->client, buf_str(&j->piece), now);
        if (n == 0) {
            conn_want(j->pipe, 0); /* the server is slow: the pipe fills and the queue waits */
            return;
        }
        buf_consume(&j->piece, n);
        j->n_given += n;
    }
    if (!j->pipe_ended) {
        conn_want(j->pipe, CONN_READABLE);
        return;
    }
    conn_want(j->pipe, 0);
    j->body_begun = false;
    if (j->n_read == j->size)
        smtp_client_body_end(k->client, now);
    else /* the queue could not read it whole: the server must not get a part as if it were all */
        smtp_client_body_abort(k->client);
}

static void give_body(struct link *k)
{
    if (k->job == NULL || !k->job->body_begun)
        return;
    if (k->job->converter != NULL)
        give_converted(k);
    else if (k->job->pipe != NULL)
        give_piped(k);
    else
        give_inline(k);
}

/* ---- octets ---------------- */

static bool is_ourselves(const struct smtp_client_result *f)
{
    return f->outcome == SMTP_OUTCOME_PERMANENT && f->code == 0 && f->esc.subject == 4 && f->esc.detail == 6;
}

static void on_dead(struct link *k)
{
    const struct smtp_client_result *f = smtp_client_failure(k->client);
    if (k->job != NULL)
        relay_report_failure(k, k->job, f);
    struct job *j = leave_job(k);
    bool is_loop = is_ourselves(f);
    bool is_known =
        j != NULL && is_loop && job_has_better(j); /* why that one did not take it is to be told */
    if (j != NULL && !is_known && f->stage == SMTP_AT_TLS)
        relay_tls_note(k, j, f);
    else if (j != NULL && !is_known && f->outcome != SMTP_OUTCOME_PENDING)
        job_note(j, f->stage, f->code, f->esc, k->host, f->text);
    else if (j != NULL && !is_known)
        job_note(j, SMTP_AT_GREETING, 0, ESC(4, 4, 2), k->host, STR("the connection ended"));
    bool again = k->is_fallback_due;
    relay_link_end(k);
    if (j != NULL && again)
        job_again_in_plain(j);
    else if (j != NULL && is_loop)
        job_on_loop(j);
    else if (j != NULL)
        job_next_address(j);
}

static void take_events(struct link *k)
{
    enum smtp_client_event_kind ev;
    while (!k->is_dead && smtp_client_next(k->client, &ev)) {
        switch (ev) {
        case SMTP_CLIENT_READY:
            relay_login_end(k); /* it was said, or is not needed */
            if (k->state == LINK_HELLO)
                relay_resume_keep(k); /* in TLS 1.3 it came before these octets */
            if (k->job != NULL && k->state == LINK_HELLO) {
                relay_report_plain(k, k->job);
                begin_job(k);
            }
            break;
        case SMTP_CLIENT_WANT_BODY:
            k->job->body_begun = true;
            break;
        case SMTP_CLIENT_WANT_TLS: /* once the client has seen all that was read */
            k->wants_tls = true;
            break;
        case SMTP_CLIENT_WANT_CONVERSION:
            relay_convert_begin(k);
            break;
        case SMTP_CLIENT_JOB_DONE:
            finish_job(k);
            if (smtp_client_is_ready(k->client))
                become_idle(k);
            break;
        case SMTP_CLIENT_DEAD:
            on_dead(k);
            break;
        }
    }
}

/* Leaves something in the output when the turn's share is used up: then the connection is wanted writable and
 * comes back. */
static void flush(struct link *k)
{
    uint64_t now = world_now_ms(k->relay->world);
    enum err e = ERR_OK;
    size_t n, left = RELAY_TURN_OCTETS;
    while (!k->is_dead && e == ERR_OK) {
        relay_convert_step(k);
        give_body(k);
        take_events(k);
        struct str out = k->is_dead ? STR_NIL : str_slice(smtp_client_output(k->client), 0, left);
        if (out.n == 0)
            return;
        e = conn_write(k->conn, &out, 1, &n);
        if (e == ERR_OK) {
            left -= n;
            smtp_client_sent(k->client, n, now);
        }
    }
    if (!k->is_dead && e != ERR_AGAIN) {
        smtp_client_eof(k->client, e);
        take_events(k);
    }
}

static void read_all(struct link *k)
{
    struct relay *r = k->relay;
    for (int i = 0; i < RELAY_TURN_OCTETS / RELAY_SCRATCH && !k->is_dead; i++) {
        size_t n, used = 0;
        enum err e = conn_read(k->conn, r->scratch, sizeof r->scratch, &n);
        if (e == ERR_AGAIN)
            return;
        if (e != ERR_OK) {
            smtp_client_eof(k->client, e);
            take_events(k);
            return;
        }
        while (used < n && !k->is_dead) {
            size_t got =
                smtp_client_feed(k->client, str_of(r->scratch + used, n - used), world_now_ms(r->world));
            take_events(k);
            if (got == 0)
                break;
            used += got;
        }
        if (n < sizeof r->scratch)
            return;
    }
}

/* When something is to be done without a word of the server: its time is over, or a conversion has work for
 * another turn. */
static uint64_t due_of(const struct link *k)
{
    if (k->job != NULL && relay_convert_is_busy(k->job))
        return world_now_ms(k->relay->world) + 1; /* a timer of this very turn could take all of it */
    return smtp_client_deadline(k->client);
}

/* A deadline that comes sooner than the timer was set for; one that went further off waits for the timer. */
static void hurry_timer(struct link *k)
{
    uint64_t due = due_of(k);
    if (k->state != LINK_IDLE && (!k->timer.is_set || due < k->timer.node.key))
        world_timer_set(k->relay->world, &k->timer, due);
}

void relay_link_pump(struct link *k)
{
    if (k->in_pump || k->is_dead || k->client == NULL || k->is_shaking)
        return;
    k->in_pump = true;
    take_events(k); /* while events wait the client reads nothing */
    read_all(k);
    if (!k->is_dead)
        take_events(k);
    flush(k);
    if (k->wants_tls && !k->is_dead)
        relay_tls_begin(k);
    if (!k->is_dead && !k->is_shaking)
        take_events(k);
    k->in_pump = false;
    if (k->is_dead || k->is_shaking)
        return;
    hurry_timer(k);
    unsigned want = CONN_READABLE | (smtp_client_output(k->client).n > 0 ? (unsigned)CONN_WRITABLE : 0u);
    if (want != k->want) {
        k->want = want;
        conn_want(k->conn, want);
    }
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    UNUSED(c);
    UNUSED(ready);
    relay_link_pump(arg);
}

static const struct conn_user conn_user = {on_ready};

static void on_timer(struct timer *t)
{
    struct link *k = container_of(t, struct link, timer);
    uint64_t now = world_now_ms(k->relay->world);
    if (k->is_shaking) /* that has a deadline of its own */
        return;
    if (k->state == LINK_IDLE && now >= k->idle_until_ms) {
        relay_link_quit(k);
    } else if (now >= smtp_client_deadline(k->client)) {
        smtp_client_tick(k->client, now);
        take_events(k);
        if (!k->is_dead)
            relay_link_pump(k);
    } else if (k->job != NULL && relay_convert_is_busy(k->job)) {
        relay_link_pump(k);
    }
    if (k->is_dead || k->state == LINK_IDLE)
        return;
    uint64_t due = due_of(k);
    world_timer_set(k->relay->world, &k->timer, due > now ? due : now + 1000);
}
