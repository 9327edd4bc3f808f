/* service/admin/control.c: the control socket. Its file mode says who may connect; what comes is bounded all
 * the same. */
#include "service/admin/admin.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/queue_id.h"
#include "ipc/ctl.h"
#include "wire/date.h"

static void pump(struct control_client *c);

static void client_del(struct control_client *c)
{
    if (c->is_asking)
        (void)idmap_remove(&c->admin->asking, c->by_token.id);
    conn_close(c->conn);
    buf_fini(&c->in);
    buf_fini(&c->out);
    list_remove(&c->link);
    c->admin->n_clients--;
    mem_free(c);
}

void control_del_all(struct admin *a)
{
    while (!list_is_empty(&a->clients))
        client_del(list_entry(a->clients.next, struct control_client, link));
}

/* ---- answers ---------------- */

static void put_end(struct control_client *c, struct str error)
{
    buf_printf(&c->out, "{\"end\":true,\"ok\":%s,\"error\":", error.n == 0 ? "true" : "false");
    log_quote(&c->out, error);
    buf_puts(&c->out, "}\n");
}

static void put_member(struct buf *b, const char *key, struct str v)
{
    if (v.n == 0)
        return;
    buf_printf(b, ",\"%s\":", key);
    log_quote(b, v);
}

static void put_line(void *arg, const struct journal_line *l)
{
    struct control_client *c = arg;
    struct buf *b = &c->out;
    buf_puts(b, "{\"time\":\"");
    date_format_rfc3339((int64_t)l->wall_ms, true, b);
    buf_printf(b, "\",\"event\":\"%s\",\"role\":\"%s\",\"id\":\"", event_word(l->kind), l->role);
    queue_id_format(l->id, b);
    buf_putc(b, '"');
    if (l->other_id != 0) {
        buf_puts(b, ",\"other\":\"");
        queue_id_format(l->other_id, b);
        buf_putc(b, '"');
    }
    put_member(b, "address", l->rcpt);
    put_member(b, "host", l->host);
    put_member(b, "text", l->text);
    put_member(b, "class", l->class);
    if (l->number != 0)
        buf_printf(b, ",\"number\":%llu", (unsigned long long)l->number);
    if (l->kind == EVENT_DEFERRED && l->number != 0) {
        buf_puts(b, ",\"next\":\"");
        date_format_rfc3339((int64_t)l->number, false, b);
        buf_putc(b, '"');
    }
    buf_puts(b, "}\n");
}

static void do_why(struct control_client *c, struct str arg)
{
    struct admin *a = c->admin;
    uint64_t id;
    if (!queue_id_parse(arg, &id)) {
        put_end(c, STR("that is not a queue id (13 letters and digits, as in the reply to DATA)"));
        return;
    }
    if (a->journal == NULL) {
        put_end(c, STR("the journal could not be opened; see the log"));
        return;
    }
    size_t before = c->out.n; /* the answer to a request before this one may still be there */
    enum err e = a->journal->flush(a->journal->self);
    if (e == ERR_OK)
        e = a->journal->why(a->journal->self, id, ADMIN_WHY_MAX, put_line, c);
    if (c->out.n == before && e == ERR_OK)
        put_end(c, STR("nothing is known of this id (the journal keeps what happened for a limited time)"));
    else
        put_end(c, e == ERR_OK ? STR_NIL : str_from_c(err_str(e)));
}

static void do_counters(struct control_client *c)
{
    struct admin *a = c->admin;
    for (size_t i = 0; i < a->n_counters; i++) {
        const struct counter *k = &a->counters[i];
        buf_printf(&c->out, "{\"role\":\"%s\",\"index\":%u,\"name\":", role_name(k->role), k->index);
        log_quote(&c->out, str_from_c(k->name));
        buf_printf(&c->out, ",\"value\":%llu}\n", (unsigned long long)k->value);
    }
    buf_printf(&c->out, "{\"role\":\"admin\",\"index\":0,\"name\":\"admin_events\",\"value\":%llu}\n",
               (unsigned long long)a->n_events);
    buf_printf(&c->out, "{\"role\":\"admin\",\"index\":0,\"name\":\"admin_events_lost\",\"value\":%llu}\n",
               (unsigned long long)a->n_lost);
    put_end(c, STR_NIL);
}

static void ask_queue(struct control_client *c, enum ctl_verb verb, uint64_t id, struct str filter,
                      uint32_t n_max)
{
    struct admin *a = c->admin;
    struct channel *q = a->env->peers[ROLE_QUEUE][0];
    struct ipc_ctl_ask m = {
        .token = a->next_token, .verb = (uint8_t)verb, .id = id, .filter = filter, .n_max = n_max};
    if (q == NULL || ipc_send_ctl_ask(q, &m, NULL) != ERR_OK) {
        put_end(c, STR("the queue process is not there now; it is being restarted"));
        return;
    }
    c->is_asking = true;
    idmap_insert(&a->asking, &c->by_token, a->next_token++);
}

void control_answer(struct admin *a, const struct ipc_ctl_answer *m)
{
    struct idmap_node *n = idmap_find(&a->asking, m->token);
    if (n == NULL)
        return;
    struct control_client *c = container_of(n, struct control_client, by_token);
    struct str rows = m->rows;
    if (m->is_last && m->err != ERR_OK && str_starts(rows, STR("{\"error\":"))) {
        buf_puts(&c->out, "{\"end\":true,\"ok\":false,"); /* the row's own member goes on from here */
        buf_put(&c->out, str_skip(rows, 1));
        if (rows.p[rows.n - 1] != '\n')
            buf_putc(&c->out, '\n');
    } else if (m->is_last && m->err != ERR_OK) {
        put_end(c, str_from_c(err_str((enum err)m->err)));
    } else {
        buf_put(&c->out, rows);
        if (rows.n > 0 && rows.p[rows.n - 1] != '\n')
            buf_putc(&c->out, '\n');
        if (m->is_last)
            put_end(c, STR_NIL);
    }
    if (m->is_last) {
        c->is_asking = false;
        (void)idmap_remove(&a->asking, m->token);
    }
    pump(c);
}

void control_queue_lost(struct admin *a)
{
    list_each (l, &a->clients) {
        struct control_client *c = list_entry(l, struct control_client, link);
        if (!c->is_asking)
            continue;
        (void)idmap_remove(&a->asking, c->by_token.id);
        c->is_asking = false;
        put_end(c, STR("the queue process went away; it is being restarted"));
        pump(c);
    }
}

/* ---- requests ---------------- */

static void do_list(struct control_client *c, struct str arg)
{
    uint64_t n;
    if (!str_to_u64(str_cut(&arg, ' '), UINT32_MAX, &n))
        put_end(c, STR("queue-list takes a number and a filter"));
    else
        ask_queue(c, CTL_LIST, 0, arg, (uint32_t)n);
}

static void do_show(struct control_client *c, struct str arg)
{
    uint64_t id;
    if (!queue_id_parse(arg, &id))
        put_end(c, STR("that is not a queue id (13 letters and digits)"));
    else
        ask_queue(c, CTL_SHOW, id, STR_NIL, 1);
}

static void on_request(struct control_client *c, struct str line)
{
    static const struct {
        const char *word;
        enum ctl_verb verb;
    } verbs[] = {
        {"queue-retry", CTL_RETRY},           {"queue-hold", CTL_HOLD},
        {"queue-release", CTL_RELEASE},       {"queue-drop", CTL_DROP},
        {"queue-stats", CTL_STATS},           {"queue-suspend", CTL_SUSPEND},
        {"queue-resume", CTL_RESUME},         {"queue-suspended", CTL_SUSPENDED},
        {"queue-suppressed", CTL_SUPPRESSED}, {"queue-unsuppress", CTL_UNSUPPRESS},
        {"queue-suppress", CTL_SUPPRESS},
    };
    struct str word = str_cut(&line, ' ');
    struct str arg = str_trim(line);
    if (str_eq(word, STR("why"))) {
        do_why(c, arg);
    } else if (str_eq(word, STR("counters"))) {
        do_counters(c);
    } else if (str_eq(word, STR("queue-list"))) {
        do_list(c, arg);
    } else if (str_eq(word, STR("queue-show"))) {
        do_show(c, arg);
    } else {
        for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
            if (str_eq(word, str_from_c(verbs[i].word))) {
                ask_queue(c, verbs[i].verb, 0, arg, UINT32_MAX);
                return;
            }
        }
        put_end(c, STR("no such request"));
    }
}

static void take_requests(struct control_client *c)
{
    while (!c->is_asking && !c->is_over) {
        size_t nl = str_chr(buf_str(&c->in), '\n');
        if (nl == STR_NPOS) {
            c->is_over = c->in.n >= ADMIN_REQUEST_MAX || c->has_eof;
            return;
        }
        struct str line = str_slice(buf_str(&c->in), 0, nl);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        on_request(c, line);
        buf_consume(&c->in, nl + 1);
    }
}

static void read_some(struct control_client *c)
{
    char mem[ADMIN_REQUEST_MAX];
    size_t n;
    while (!c->has_eof && c->in.n < ADMIN_REQUEST_MAX) {
        enum err e = conn_read(c->conn, mem, ADMIN_REQUEST_MAX - c->in.n, &n);
        if (e == ERR_AGAIN)
            return;
        if (e != ERR_OK || !buf_put(&c->in, str_of(mem, n)))
            c->has_eof = true;
    }
}

/* false: the connection is broken. */
static bool write_some(struct control_client *c)
{
    while (c->out.n > 0) {
        struct str out = buf_str(&c->out);
        size_t n;
        enum err e = conn_write(c->conn, &out, 1, &n);
        if (e == ERR_AGAIN)
            return true;
        if (e != ERR_OK)
            return false;
        buf_consume(&c->out, n);
    }
    return true;
}

static void pump(struct control_client *c)
{
    read_some(c);
    take_requests(c);
    bool ok = write_some(c) && !c->out.failed;
    if (!ok || (c->is_over && c->out.n == 0 && !c->is_asking)) {
        client_del(c);
        return;
    }
    unsigned want = (c->has_eof || c->is_asking ? 0u : (unsigned)CONN_READABLE) |
                    (c->out.n > 0 ? (unsigned)CONN_WRITABLE : 0u);
    if (want != c->want) {
        c->want = want;
        conn_want(c->conn, want);
    }
}

static void on_ready(void *arg, struct conn *conn, unsigned ready)
{
    UNUSED(conn);
    UNUSED(ready);
    pump(arg);
}

static const struct conn_user conn_user = {on_ready};

/* Who connected and says nothing, or does not read, must not keep others out: the one that came first goes.
 */
static void make_room(struct admin *a)
{
    list_each (l, &a->clients) {
        struct control_client *c = list_entry(l, struct control_client, link);
        if (a->n_clients < ADMIN_CLIENTS_MAX)
            return;
        if (!c->is_asking)
            client_del(c);
    }
}

void control_accept(struct admin *a, struct conn *conn)
{
    make_room(a);
    struct control_client *c = a->n_clients >= ADMIN_CLIENTS_MAX ? NULL : mem_new(struct control_client);
    if (c == NULL) {
        conn_close(conn);
        return;
    }
    c->admin = a;
    c->conn = conn;
    buf_init(&c->in, ADMIN_REQUEST_MAX);
    buf_init(&c->out, ADMIN_OUTPUT_MAX);
    list_push_back(&a->clients, &c->link);
    a->n_clients++;
    conn_set_user(conn, &conn_user, c);
    pump(c);
}
