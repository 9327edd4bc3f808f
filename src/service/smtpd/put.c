/* service/smtpd/put.c: one message on its way to the queue.
 *
 * States: FILLING (octets collect in memory) -> WAITING_PIPE (over IPC_BODY_INLINE_MAX, but the channel is
 * full: the client is not read) -> PIPING (the queue reads the pipe) -> ENDING (all octets are there, the
 * pipe still drains) -> WAITING_ROOM (the channel is full) -> SENT (put or commit is on its way). 250 is said
 * only on the queue's put_done with ERR_OK.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "ipc/lists.h"
#include "service/smtpd/smtpd.h"
#include "wire/received.h"

#include <string.h>

static void put_set_state(struct put *p, enum put_state to)
{
    enum { N = PUT_SENT + 1 };
    static const bool allowed[N][N] = {
        [PUT_FILLING] = {[PUT_WAITING_PIPE] = true, [PUT_PIPING] = true, [PUT_ENDING] = true},
        [PUT_WAITING_PIPE] = {[PUT_PIPING] = true, [PUT_ENDING] = true},
        [PUT_PIPING] = {[PUT_ENDING] = true},
        [PUT_ENDING] = {[PUT_WAITING_ROOM] = true, [PUT_SENT] = true},
        [PUT_WAITING_ROOM] = {[PUT_SENT] = true},
    };
    must(allowed[p->state][to]);
    p->state = to;
}

/* ---- memory ---------------- */

/* The message will be answered with id; what is here of it is let go, what is to come is thrown away. */
static void refuse(struct put *p, enum smtp_reply_id id)
{
    struct smtpd *d = p->session->d;
    p->is_refused = true;
    p->refuse_id = id;
    d->memory_used -= p->body.cap;
    buf_reset(&p->body);
    buf_release(&p->body);
    d->memory_used += p->body.cap;
}

/* Appends to the body; memory is accounted, failure refuses the message with a 4xx. */
static void keep(struct put *p, struct str octets)
{
    struct session *s = p->session;
    size_t before = p->body.cap;
    bool has_memory = s->d->memory_used <= s->conf->config->memory_max;
    bool ok = has_memory && buf_put(&p->body, octets);
    s->d->memory_used += p->body.cap - before;
    if (!ok)
        refuse(p, R_NO_MEMORY);
}

/* ---- header section ---------------- */

static const char received_name[] = "received";

/* A field's name is complete. */
static void scan_name(struct header_scan *h)
{
    h->at = SCAN_REST;
    h->has_field = true;
    if (h->is_received && h->n_name == sizeof received_name - 1)
        h->n_received++;
    for (size_t i = 0; i < WATCHED_N; i++) {
        struct watched *w = &h->watched[i];
        w->in = w->may_be && !w->has && w->n_name == w->name.n && w->name.n > 0;
        w->has = w->has || w->in;
    }
}

/* Of a watched field: what can stand in a route's rule is kept, as much as a tag may hold. */
static void take_value(struct header_scan *h, struct str value)
{
    for (size_t k = 0; k < WATCHED_N; k++) {
        struct watched *w = &h->watched[k];
        for (size_t i = 0; w->in && i < value.n && w->n < sizeof w->text; i++) {
            if (value.p[i] > ' ' && value.p[i] <= '~')
                w->text[w->n++] = value.p[i];
        }
    }
}

/* A line begins; one that begins with a blank goes on with the field before. */
static void watch_line(struct header_scan *h, bool is_blank)
{
    for (size_t i = 0; i < WATCHED_N; i++) {
        struct watched *w = &h->watched[i];
        w->may_be = true;
        w->n_name = 0;
        w->in = w->in && is_blank;
    }
}

static void watch_name(struct header_scan *h, char c)
{
    for (size_t i = 0; i < WATCHED_N; i++) {
        struct watched *w = &h->watched[i];
        w->may_be = w->may_be && w->n_name < w->name.n && ascii_lower(c) == ascii_lower(w->name.p[w->n_name]);
        w->n_name += w->may_be;
    }
}

/* One octet of the header section (RFC 5322 2.2, 4.5.8). Counts Received fields (loops, RFC 5321 6.3) and
 * finds its end: the empty line, or a line that is no field (a message may come without a header). */
static void scan_octet(struct header_scan *h, char c)
{
    bool is_blank = c == ' ' || c == '\t';
    switch (h->at) {
    case SCAN_START:
        h->n_name = 0;
        h->is_received = true;
        watch_line(h, is_blank);
        if (c == '\r')
            h->at = SCAN_EMPTY;
        else if (is_blank && h->has_field)
            h->at = SCAN_REST; /* the field before goes on */
        else if (c <= ' ' || c > '~' || c == ':')
            h->in_body = true;
        else
            h->at = SCAN_NAME;
        break;
    case SCAN_NAME:
    case SCAN_BLANK:
        if (c == ':')
            scan_name(h);
        else if (is_blank)
            h->at = SCAN_BLANK;
        else if (c < ' ' || c > '~' || h->at == SCAN_BLANK)
            h->in_body = true;
        break;
    case SCAN_REST:
        if (c == '\n')
            h->at = SCAN_START;
        break;
    case SCAN_EMPTY:
        h->in_body = true;
        break;
    }
    if (h->at == SCAN_NAME && !h->in_body) {
        h->is_received = h->is_received && h->n_name < sizeof received_name - 1 &&
                         ascii_lower(c) == received_name[h->n_name];
        h->n_name += h->is_received;
        watch_name(h, c);
    }
}

static void scan(struct put *p, struct str octets)
{
    struct header_scan *h = &p->scan;
    for (size_t i = 0; i < octets.n && !h->in_body && !p->is_refused; i++) {
        if (h->at == SCAN_REST) { /* holds nothing of interest */
            const char *nl = memchr(octets.p + i, '\n', octets.n - i);
            size_t skip = nl == NULL ? octets.n - i : (size_t)(nl - (octets.p + i));
            take_value(h, str_of(octets.p + i, skip));
            h->n_octets += skip;
            i += skip;
            if (nl == NULL)
                break;
        }
        scan_octet(h, octets.p[i]);
        h->n_octets++;
        if (h->n_received > HEADER_RECEIVED_MAX)
            refuse(p, R_LOOP);
    }
    if (!p->is_refused && h->n_octets > HEADER_SECTION_MAX)
        refuse(p, R_HEADER_TOO_BIG);
}

static bool has_8bit(struct str s)
{
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t v;
        memcpy(&v, s.p + i, sizeof v);
        if ((v & 0x8080808080808080u) != 0)
            return true;
    }
    return !str_is_ascii(str_skip(s, i));
}

/* ---- reports ---------------- */

/* For reports about list mail and complaints: read here, where a message of a stranger can do least. */
static bool wants_report(const struct session *s)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
    const struct policy_conf *p = &s->conf->config->policy;
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf local;
    struct verp_path path;
    for (uint32_t i = 0; (p->verp.n > 0 || p->arf.n > 0) && i < t->n_rcpts; i++) {
        buf_init_fixed(&local, mem, sizeof mem);
        if (policy_verp(p, t->rcpts[i].to.text, &local, &path) || policy_is_arf(p, t->rcpts[i].to.text))
            return true;
    }
    return false;
}

static void forget_report(struct smtpd *d, struct put *p)
{
    if (p->report == NULL)
        return;
    mime_report_del(&p->report);
    d->memory_used -= MIME_REPORT_MEMORY;
}

/* false: no memory. */
static bool begin_report(struct session *s, struct put *p)
{
    if (!wants_report(s))
        return true;
    p->report = mime_report_new();
    if (p->report != NULL)
        s->d->memory_used += MIME_REPORT_MEMORY;
    return p->report != NULL;
}

static void end_report(struct put *p)
{
    char mem[FEEDBACK_MAX];
    struct buf text;
    struct feedback f;
    if (p->report == NULL)
        return;
    buf_init_fixed(&text, mem, sizeof mem);
    mime_report_end(p->report);
    feedback_read(p->report, &text, &f);
    forget_report(p->session->d, p);
    buf_reset(&p->feedback);
    if (!p->is_refused && f.kind != FEEDBACK_NONE && !feedback_put(&f, &p->feedback))
        refuse(p, R_NO_MEMORY);
}

/* ---- life ---------------- */

static void put_free(struct smtpd *d, struct put *p)
{
    must(d->memory_used >= p->body.cap);
    d->memory_used -= p->body.cap;
    if (p->pipe != NULL)
        conn_close(p->pipe);
    forget_report(d, p);
    buf_fini(&p->feedback);
    if (d->n_spare < SMTPD_SPARE_PUTS && p->body.cap <= IPC_BODY_INLINE_MAX) {
        struct buf kept = p->body;
        buf_reset(&kept);
        *p = (struct put){.body = kept};
        list_push_back(&d->spare, &p->link);
        d->n_spare++;
        return;
    }
    buf_fini(&p->body);
    mem_free(p);
}

static struct put *put_alloc(struct smtpd *d)
{
    struct list *l = list_pop_front(&d->spare);
    struct put *p = NULL;
    if (l != NULL) {
        p = list_entry(l, struct put, link);
        d->n_spare--;
    } else {
        p = mem_new(struct put);
        if (p == NULL)
            return NULL;
        buf_init(&p->body, (size_t)SMTPD_PIPE_HIGH + SMTPD_SCRATCH + SMTP_COMMAND_LINE_MAX);
    }
    list_init(&p->link);
    buf_init(&p->feedback, FEEDBACK_MAX);
    d->memory_used += p->body.cap;
    return p;
}

static void add_trace(struct session *s, struct put *p)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
    char mem[2048];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct received r = {
        .helo = s->has_uid ? STR_NIL : smtp_server_helo(&s->server), /* "localhost" */
        .client = &s->peer,
        .client_name = buf_str(&s->client_name),
        .hides_client = s->is_ours && s->at->hide_client,
        .has_uid = s->has_uid,
        .uid = s->uid,
        .by = s->conf->config->policy.hostname,
        .with = received_with(smtp_server_is_esmtp(&s->server), s->is_lmtp, smtp_server_is_secure(&s->server),
                              s->has_login, t->smtputf8),
        .queue_id = p->id,
        .for_rcpt = t->n_rcpts == 1 ? t->rcpts[0].to.text : STR_NIL,
        .unix_s = world_wall_ms(s->d->world) / 1000,
    };
    received_format(&r, &b);
    keep(p, buf_str(&b));
    p->size = p->body.n;
}

void put_ask_ids(struct smtpd *d)
{
    struct ipc_id_want m = {.n = SMTPD_IDS_WANTED};
    if (!d->id_asked && d->queue != NULL && ipc_send_id_want(d->queue, &m, NULL) == ERR_OK)
        d->id_asked = true;
}

/* Takes a granted id. false: none is here now. */
static bool take_id(struct smtpd *d, uint64_t *out)
{
    if (d->queue == NULL)
        return false;
    if (d->n_ids_back > 0) {
        *out = d->ids_back[--d->n_ids_back];
        return true;
    }
    if (d->id_next == d->id_end) {
        d->id_next = d->spare_next;
        d->id_end = d->spare_end;
        d->spare_next = d->spare_end = 0;
    }
    if (d->spare_next == d->spare_end)
        put_ask_ids(d);
    if (d->id_next == d->id_end)
        return false;
    *out = d->id_next++;
    return true;
}

/* An id that the queue has not heard of yet is the next message's: the queue remembers each grant until all
 * of its ids are used, so those of clients that break off must not get lost. */
static void give_id_back(struct smtpd *d, const struct put *p)
{
    if (!p->is_told && p->queue_life == d->queue_life && d->n_ids_back < ARRAY_LEN(d->ids_back))
        d->ids_back[d->n_ids_back++] = p->id;
}

struct put *put_begin(struct session *s, enum smtp_reply_id *out_reply)
{
    struct smtpd *d = s->d;
    uint64_t id;
    *out_reply = R_NO_MEMORY;
    /* a quarter is kept for the messages under way */
    if (d->memory_used > s->conf->config->memory_max / 4 * 3)
        return NULL;
    if (!take_id(d, &id)) {
        *out_reply = d->queue != NULL && d->id_asked ? R_NONE : R_STORE_DOWN;
        return NULL;
    }
    struct put *p = put_alloc(d);
    if (p == NULL)
        return NULL;
    p->session = s;
    p->id = id;
    p->queue_life = d->queue_life;
    const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
    p->flags = (t->body == SMTP_BODY_8BITMIME ? MAIL_FLAG_8BIT : 0u) | (t->smtputf8 ? MAIL_FLAG_UTF8 : 0u) |
               (t->body == SMTP_BODY_BINARYMIME ? MAIL_FLAG_BINARY : 0u) | (s->is_ours ? MAIL_FLAG_OURS : 0u);
    if (s->is_ours) /* a stranger must not choose the route */
        p->scan.watched[WATCHED_TAG].name = s->at->tag_header;
    p->scan.watched[WATCHED_TLS_REQUIRED].name = STR("TLS-Required");
    if (!begin_report(s, p)) {
        give_id_back(d, p);
        put_free(d, p);
        return NULL;
    }
    submission_begin(p);
    add_trace(s, p);
    return p;
}

/* ---- to the queue ---------------- */

/* The recipients that do not fit into PUT go ahead in PUT_RCPTS; the last part is left in b. */
static enum err send_rcpts(struct smtpd *d, struct put *p, struct buf *b)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&p->session->server);
    for (uint32_t i = 0; i < t->n_rcpts; i++) {
        if (b->n + RCPT_RECORD_MAX > b->max) {
            struct ipc_put_rcpts m = {.token = p->by_token.id, .rcpts = buf_str(b)};
            enum err e = ipc_send_put_rcpts(d->queue, &m, NULL);
            if (e != ERR_OK)
                return e;
            buf_reset(b);
        }
        const struct smtp_server_rcpt *r = &t->rcpts[i];
        char mem[SMTP_PATH_MAX] __attribute__((uninitialized));
        struct buf text;
        if (submission_is_copy(p->session, i))
            continue;
        buf_init_fixed(&text, mem, sizeof mem);
        struct str to = submission_rcpt(p->session, &r->to, &text);
        if (!rcpt_put(&(struct rcpt){.address = to, .notify = r->notify, .orcpt = r->orcpt}, b))
            return ERR_TOO_BIG;
    }
    return ERR_OK;
}

/* Has the channel room for all messages of this put? The parts of one must not be split by a full channel. */
static bool has_room(const struct put *p, bool is_piped)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&p->session->server);
    size_t n = (is_piped ? 0 : p->body.n) + SMTP_COMMAND_LINE_MAX;
    for (uint32_t i = 0; i < t->n_rcpts; i++) {
        char mem[SMTP_PATH_MAX] __attribute__((uninitialized));
        struct buf text;
        buf_init_fixed(&text, mem, sizeof mem);
        n += submission_rcpt(p->session, &t->rcpts[i].to, &text).n + t->rcpts[i].orcpt.n + 16;
    }
    return channel_backlog(p->session->d->queue) + n <= IPC_QUEUE_MAX;
}

/* Is the queue that granted the id still there? */
static bool has_queue(const struct put *p)
{
    const struct smtpd *d = p->session->d;
    return d->queue != NULL && p->queue_life == d->queue_life;
}

/* What MAIL said, with the tag (the listener's unless a header field names one) and what TLS-Required says.
 * Of a piped message these fields must stand within the octets that came before the pipe. */
static bool put_params(const struct put *p, struct buf *out)
{
    const struct session *s = p->session;
    struct mail_params params = smtp_server_transaction(&s->server)->params;
    const struct watched *tag = &p->scan.watched[WATCHED_TAG];
    const struct watched *tls = &p->scan.watched[WATCHED_TLS_REQUIRED];
    params.tag = tag->n > 0 ? str_of(tag->text, tag->n) : s->at->tag;
    params.tls_optional = str_ieq(str_of(tls->text, tls->n), STR("No")); /* RFC 8689 3 */
    params.feedback = buf_str(&p->feedback); /* of a piped message it is not read yet */
    return mail_params_put(&params, out);
}

static enum err send_parts(struct put *p, struct handle *pipe)
{
    struct session *s = p->session;
    struct smtpd *d = s->d;
    char rcpts[SMTPD_RCPTS_INLINE] __attribute__((uninitialized));
    struct buf b;
    buf_init_fixed(&b, rcpts, sizeof rcpts);
    enum err e = send_rcpts(d, p, &b);
    if (e != ERR_OK)
        return e;
    char client_mem[NETADDR_TEXT_MAX];
    struct buf client;
    buf_init_fixed(&client, client_mem, sizeof client_mem);
    netaddr_format_ip(&s->peer, &client);
    char params_mem[MAIL_PARAMS_MAX];
    struct buf params;
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    if (!put_params(p, &params))
        return ERR_TOO_BIG;
    struct ipc_put m = {
        .token = p->by_token.id,
        .id = p->id,
        .flags = p->flags,
        .sender = p->sender,
        .params = buf_str(&params),
        .rcpts = buf_str(&b),
        .client = buf_str(&client),
        .helo = smtp_server_helo(&s->server),
        .is_piped = pipe != NULL,
        .body = pipe == NULL ? buf_str(&p->body) : STR_NIL,
    };
    return ipc_send_put(d->queue, &m, pipe);
}

static enum err send_put(struct put *p, struct handle *pipe)
{
    struct smtpd *d = p->session->d;
    if (!has_queue(p))
        return ERR_CLOSED;
    if (!has_room(p, pipe != NULL))
        return ERR_AGAIN;
    p->by_token.id = d->next_token++;
    enum err e = send_parts(p, pipe);
    p->is_told = e == ERR_OK;
    if (e == ERR_OK)
        idmap_insert(&d->puts, &p->by_token, p->by_token.id);
    else
        p->by_token.id = 0; /* the map knows nothing of it */
    return e;
}

static enum err start_pipe(struct put *p)
{
    struct smtpd *d = p->session->d;
    struct conn *r, *w;
    if (!has_queue(p))
        return ERR_CLOSED;
    if (!has_room(p, true)) /* asked before the pipe is made, and asked again while it waits */
        return ERR_AGAIN;
    enum err e = world_pipe(d->world, &r, &w);
    if (e != ERR_OK)
        return ERR_NOMEM;
    struct handle *h = handle_of_conn(r);
    if (h == NULL) {
        conn_close(r);
        conn_close(w);
        return ERR_NOMEM;
    }
    e = send_put(p, h);
    if (e != ERR_OK) {
        handle_drop(h);
        conn_close(w);
        return e;
    }
    p->pipe = w;
    return ERR_OK;
}

static void wait_for_room(struct put *p, enum put_state state)
{
    struct smtpd *d = p->session->d;
    if (p->state != state) {
        put_set_state(p, state);
        list_push_back(&d->waiting_room, &p->link);
    }
    world_timer_set(d->world, &d->room_timer, world_now_ms(d->world) + SMTPD_ROOM_MS);
}

/* The octets outgrew memory: from now on they go through a pipe. */
static void begin_piping(struct put *p)
{
    enum err e = start_pipe(p);
    if (e == ERR_AGAIN) {
        wait_for_room(p, PUT_WAITING_PIPE);
        return;
    }
    list_remove(&p->link);
    if (e == ERR_OK)
        put_set_state(p, PUT_PIPING);
    else
        refuse(p, e == ERR_CLOSED ? R_STORE_DOWN : R_STORE_BUSY);
}

static void answer(struct put *p, enum err err)
{
    struct session *s = p->session;
    uint64_t id = p->id;
    struct smtpd *d = s->d;
    s->put = NULL;
    if (p->by_token.id != 0)
        (void)idmap_remove(&d->puts, p->by_token.id);
    list_remove(&p->link);
    put_free(d, p);
    session_message_done(s, err, id);
}

static void commit(struct put *p)
{
    struct smtpd *d = p->session->d;
    enum err e = ERR_CLOSED;
    if (p->pipe !=
        NULL) { /* everything was taken: the end of the pipe and this message together end the body */
        struct ipc_put_commit m = {
            .token = p->by_token.id, .size = p->size, .flags = p->flags, .feedback = buf_str(&p->feedback)};
        if (d->queue != NULL)
            e = ipc_send_put_commit(d->queue, &m, NULL);
        if (e == ERR_OK) {
            conn_close(p->pipe);
            p->pipe = NULL;
        }
    } else {
        e = send_put(p, NULL);
    }
    if (e == ERR_OK) {
        list_remove(&p->link);
        put_set_state(p, PUT_SENT);
    } else if (e == ERR_AGAIN) {
        wait_for_room(p, PUT_WAITING_ROOM);
    } else {
        answer(p, e);
    }
}

static void drain_pipe(struct put *p)
{
    size_t n;
    enum err e = ERR_OK;
    while (p->body.n > 0 && e == ERR_OK) {
        struct str piece = buf_str(&p->body);
        e = conn_write(p->pipe, &piece, 1, &n);
        if (e == ERR_OK)
            buf_consume(&p->body, n);
    }
    if (e != ERR_OK && e != ERR_AGAIN) { /* the queue gave it up or went away; its channel will tell */
        p->is_pipe_broken = true;
        refuse(p, R_STORE_DOWN);
    }
    p->is_pipe_full = p->body.n > 0;
    conn_want(p->pipe, p->is_pipe_full ? CONN_WRITABLE : 0);
}

static void on_pipe(void *arg, struct conn *c, unsigned ready)
{
    struct put *p = arg;
    UNUSED(c);
    UNUSED(ready);
    struct session *s = p->session;
    bool was_full = put_is_full(p);
    drain_pipe(p);
    if (p->state == PUT_ENDING && p->body.n == 0) {
        put_end(p);
        session_pump(s);
    } else if (was_full && !put_is_full(p)) {
        session_pump(s);
    }
}

static const struct conn_user pipe_user = {on_pipe};

static void feed_pipe(struct put *p)
{
    if (p->pipe == NULL)
        return;
    conn_set_user(p->pipe, &pipe_user, p);
    drain_pipe(p);
}

/* Octets of the message as it will be stored. */
static void add(struct put *p, struct str octets)
{
    if ((p->flags & MAIL_FLAG_8BIT) == 0 && has_8bit(octets))
        p->flags |= MAIL_FLAG_8BIT;
    keep(p, octets);
    if (p->is_refused)
        return;
    p->size += octets.n;
    if (p->report != NULL)
        mime_report_put(p->report, octets);
}

static void add_fixed(struct put *p, struct str octets)
{
    struct str piece;
    while (!p->is_refused && header_fix_next(&p->fix, &octets, &piece))
        add(p, piece);
    if (!p->is_refused && p->state == PUT_FILLING && p->body.n > IPC_BODY_INLINE_MAX)
        begin_piping(p);
}

void put_body(struct put *p, struct str octets)
{
    if (!p->is_refused && !p->scan.in_body)
        scan(p, octets);
    if (p->is_refused)
        return;
    add_fixed(p, octets);
    if (p->is_refused)
        return;
    /* a message may come in pieces of a few octets, one for each stuffed dot: not a write for each of them */
    if (p->body.n >= SMTPD_PIPE_WRITE && !p->is_pipe_full)
        feed_pipe(p);
}

bool put_is_full(const struct put *p)
{
    bool has_no_pipe = p->state == PUT_WAITING_PIPE && !p->is_refused;
    return has_no_pipe || (p->pipe != NULL && p->body.n > IPC_BODY_INLINE_MAX);
}

void put_end(struct put *p)
{
    if (!p->is_refused && !header_fix_is_done(&p->fix)) { /* it had no body */
        header_fix_end(&p->fix);
        add_fixed(p, STR_NIL);
    }
    end_report(p);
    if (p->state == PUT_WAITING_PIPE && !p->is_refused) { /* put_on_room() goes on */
        p->is_whole = true;
        return;
    }
    if (p->state == PUT_FILLING || p->state == PUT_WAITING_PIPE || p->state == PUT_PIPING)
        put_set_state(p, PUT_ENDING);
    if (p->is_refused && p->is_pipe_broken && has_queue(p))
        return; /* put_on_done() says why: a full disk is another reply than trouble */
    if (p->is_refused) {
        struct session *s = p->session;
        enum smtp_reply_id id = p->refuse_id;
        s->put = NULL;
        put_abort(p);
        session_message_reply(s, id, STR_NIL);
        return;
    }
    feed_pipe(p);
    if (p->is_refused) /* the pipe broke */
        put_end(p);
    else if (p->pipe == NULL || p->body.n == 0)
        commit(p);
}

/* What the journal is to hear if the queue takes a message whose client is gone; in place of the body, which
 * the queue has. Without memory the journal does without. */
static void leave_note(struct put *p, const struct session *s)
{
    const struct smtp_server_transaction *t = smtp_server_transaction(&s->server);
    char mem[NETADDR_TEXT_MAX];
    struct buf who;
    buf_init_fixed(&who, mem, sizeof mem);
    netaddr_format(&s->peer, &who);
    size_t before = p->body.cap;
    buf_reset(&p->body);
    if (t != NULL)
        p->has_note = buf_put_lstr(&p->body, buf_str(&who)) && buf_put_lstr(&p->body, t->from.text) &&
                      buf_put_lstr(&p->body, smtp_server_helo(&s->server)) &&
                      buf_put_u64(&p->body, t->size) && buf_put_u64(&p->body, (uint64_t)s->message_wall_ms);
    s->d->memory_used += p->body.cap - before;
}

static void tell_note(struct smtpd *d, const struct put *p)
{
    struct reader r = reader_of(buf_str(&p->body));
    struct ipc_event e = {.kind = EVENT_ACCEPTED, .id = p->id};
    e.host = read_lstr(&r);
    e.rcpt = read_lstr(&r);
    e.text = read_lstr(&r);
    e.number = read_u64(&r);
    e.wall_ms = read_u64(&r);
    must(reader_done(&r));
    d->count.accepted++;
    role_event(d->env, &e);
}

void put_abort(struct put *p)
{
    struct smtpd *d = p->session->d;
    if (p->state == PUT_SENT) { /* the queue has it and will answer; no client listens */
        leave_note(p, p->session);
        p->session = NULL;
        return;
    }
    p->session = NULL;
    list_remove(&p->link);
    if (p->by_token.id != 0) {
        struct ipc_put_abort m = {.token = p->by_token.id};
        (void)idmap_remove(&d->puts, p->by_token.id);
        /* not heard by a full channel: the pipe then ends without a commit, which the queue takes as an abort
         * too */
        if (d->queue != NULL && ipc_send_put_abort(d->queue, &m, NULL) != ERR_OK)
            d->count.trouble++;
    }
    give_id_back(d, p);
    put_free(d, p);
}

void put_on_done(struct smtpd *d, const struct ipc_put_done *m)
{
    struct idmap_node *n = idmap_remove(&d->puts, m->token);
    if (n == NULL)
        return;
    struct put *p = container_of(n, struct put, by_token);
    p->by_token.id = 0;
    struct session *s = p->session;
    if (s == NULL) {
        if (p->has_note && (enum err)m->err == ERR_OK)
            tell_note(d, p);
        put_free(d, p);
        return;
    }
    if (p->state == PUT_SENT) {
        answer(p, (enum err)m->err);
    } else { /* the queue gave up before the end of the body */
        refuse(p, (enum err)m->err == ERR_NOSPACE ? R_STORE_FULL : R_STORE_BUSY);
        if (p->pipe != NULL)
            conn_close(p->pipe);
        p->pipe = NULL;
        p->is_pipe_broken = false;
        if (p->state == PUT_ENDING || p->state == PUT_WAITING_ROOM)
            put_end(p);
    }
    session_pump(s);
}

/* Another try of a put in the waiting room; it may be gone afterwards. */
static void try_again(struct put *p)
{
    if (p->state != PUT_WAITING_PIPE) {
        commit(p);
        return;
    }
    begin_piping(p);
    if (p->state == PUT_WAITING_PIPE && !p->is_refused)
        return;
    feed_pipe(p);
    if (p->is_whole)
        put_end(p);
}

void put_on_room(struct smtpd *d)
{
    struct list *l;
    while (d->queue != NULL && (l = d->waiting_room.next) != &d->waiting_room) {
        struct session *s = list_entry(l, struct put, link)->session;
        try_again(list_entry(l, struct put, link));
        if (d->waiting_room.next == l)
            return; /* still no room */
        session_pump(s);
    }
}

struct lost {
    struct smtpd *d;
    struct list all;
};

static void collect(struct idmap_node *n, void *arg)
{
    struct lost *lost = arg;
    struct put *p = container_of(n, struct put, by_token);
    list_remove(&p->link);
    list_push_back(&lost->all, &p->link);
}

/* The queue was lost before the pipe was made. */
static void give_up_pipe(struct put *p)
{
    refuse(p, R_STORE_DOWN);
    if (p->is_whole)
        put_end(p);
}

void put_on_queue_lost(struct smtpd *d)
{
    struct lost lost = {.d = d};
    list_init(&lost.all);
    idmap_each(&d->puts, collect, &lost);
    struct list *l;
    while ((l = list_pop_front(&d->waiting_room)) != NULL)
        list_push_back(&lost.all, l);
    while ((l = list_pop_front(&lost.all)) != NULL) {
        struct put *p = list_entry(l, struct put, link);
        struct ipc_put_done m = {.token = p->by_token.id, .id = p->id, .err = ERR_CLOSED};
        struct session *s = p->session;
        if (p->by_token.id != 0) {
            put_on_done(d, &m);
            continue;
        }
        if (p->state != PUT_WAITING_PIPE)
            answer(p, ERR_CLOSED);
        else
            give_up_pipe(p);
        session_pump(s);
    }
    d->id_next = d->id_end = d->spare_next = d->spare_end = 0; /* a new queue knows no old grants */
    d->n_ids_back = 0;
    d->id_asked = false;
    d->queue_life++;
    session_ids_came(d);
}

void put_fini_all(struct smtpd *d)
{
    struct lost lost = {.d = d};
    list_init(&lost.all);
    idmap_each(&d->puts, collect, &lost);
    struct list *l;
    while ((l = list_pop_front(&lost.all)) != NULL || (l = list_pop_front(&d->spare)) != NULL) {
        struct put *p = list_entry(l, struct put, link);
        if (p->pipe != NULL)
            conn_close(p->pipe);
        mime_report_del(&p->report);
        buf_fini(&p->feedback);
        buf_fini(&p->body);
        mem_free(p);
    }
    idmap_fini(&d->puts);
}
