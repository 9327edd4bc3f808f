/* service/https/visit.c: one connection: a handshake, one request, one answer.
 *
 * An authority that looks whether a name leads here (RFC 8737) has seen all that it wants with the end of the
 * handshake, and so has the connection.
 */
#include "service/https/https.h"

#include "base/mem.h"

struct visit {
    struct list link;
    struct https *role;
    struct conn *conn;
    struct timer timer;
    bool is_answered;
    size_t n_in, n_said;
    struct buf out;
    char in[HTTP_HEAD_MAX];
};

static void visit_end(struct visit *v)
{
    struct https *r = v->role;
    world_timer_cancel(r->world, &v->timer);
    conn_close(v->conn);
    list_remove(&v->link);
    buf_fini(&v->out);
    mem_free(v);
    r->n_visits--;
}

void visits_end(struct https *r)
{
    list_each (l, &r->visits)
        visit_end(list_entry(l, struct visit, link));
}

static void on_time(struct timer *t)
{
    visit_end(container_of(t, struct visit, timer));
}

static void put_peer(const struct visit *v, struct buf *out)
{
    netaddr_format_ip(conn_peer(v->conn), out);
}

/* ---- the answer ---------------- */

/* false: the visit has ended. */
static bool say(struct visit *v)
{
    while (v->n_said < v->out.n) {
        struct str rest = str_skip(buf_str(&v->out), v->n_said);
        size_t n = 0;
        enum err e = conn_write(v->conn, &rest, 1, &n);
        if (e == ERR_AGAIN) {
            conn_want(v->conn, CONN_WRITABLE);
            return true;
        }
        if (e != ERR_OK) {
            visit_end(v);
            return false;
        }
        v->n_said += n;
        if (v->n_said == v->out.n)
            conn_shutdown_write(v->conn); /* its end of the line tells when all has arrived */
    }
    conn_want(v->conn, CONN_READABLE);
    return true;
}

static void answer(struct visit *v)
{
    struct https *r = v->role;
    char mem[NETADDR_TEXT_MAX];
    struct buf peer;
    unsigned status = sts_reply(str_of(v->in, v->n_in), r->pages.list, r->pages.n, &v->out);
    if (v->out.failed) { /* no memory */
        visit_end(v);
        return;
    }
    v->is_answered = true;
    buf_init_fixed(&peer, mem, sizeof mem);
    put_peer(v, &peer);
    log_debug(r->world->log, "https.asked", LS("by", buf_str(&peer)), LU("status", status));
    (void)say(v);
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    struct visit *v = arg;
    char waste[1024];
    size_t n = 0;
    bool was_answered = v->is_answered;
    if ((ready & CONN_WRITABLE) != 0 && !say(v))
        return;
    if ((ready & CONN_READABLE) == 0)
        return;
    enum err e = was_answered ? conn_read(c, waste, sizeof waste, &n)
                              : conn_read(c, v->in + v->n_in, sizeof v->in - v->n_in, &n);
    if (e == ERR_AGAIN)
        return;
    if (e != ERR_OK) {
        visit_end(v);
        return;
    }
    if (was_answered)
        return;
    v->n_in += n;
    if (http_is_whole(str_of(v->in, v->n_in)))
        answer(v);
}

static const struct conn_user conn_user = {on_ready};

/* ---- the handshake ---------------- */

/* One line in a while: anybody can make them. */
static void tell_failed(struct visit *v, enum err err, struct str why)
{
    struct https *r = v->role;
    uint64_t now_ms = world_now_ms(r->world);
    char mem[NETADDR_TEXT_MAX];
    struct buf peer;
    r->n_failed++;
    if (now_ms < r->log_ms)
        return;
    buf_init_fixed(&peer, mem, sizeof mem);
    put_peer(v, &peer);
    log_info(r->world->log, "https.tls_failed", LS("by", buf_str(&peer)), LS("why", why), LERR(err),
             LU("since_start", r->n_failed));
    r->log_ms = now_ms + HTTPS_LOG_MS;
}

static void on_tls(void *arg, struct conn *c, enum err err, struct str why)
{
    struct visit *v = arg;
    if (err != ERR_OK) {
        tell_failed(v, err, why);
        visit_end(v);
        return;
    }
    const struct tls_facts *facts = conn_tls(c);
    if (str_eq(facts->alpn, STR("acme-tls/1"))) {
        char mem[NETADDR_TEXT_MAX];
        struct buf peer;
        buf_init_fixed(&peer, mem, sizeof mem);
        put_peer(v, &peer);
        log_info(v->role->world->log, "https.proven", LS("name", facts->server_name),
                 LS("to", buf_str(&peer)));
        visit_end(v);
        return;
    }
    conn_want(c, CONN_READABLE);
}

/* Who comes gets in: with too many the oldest goes, which had time. */
void visit_start(struct https *r, struct conn *c)
{
    if (r->n_visits == HTTPS_VISITS_MAX)
        visit_end(list_entry(r->visits.next, struct visit, link));
    struct visit *v = r->tls == NULL ? NULL : mem_new(struct visit);
    if (v == NULL) {
        conn_close(c);
        return;
    }
    uint64_t now_ms = world_now_ms(r->world);
    v->role = r;
    v->conn = c;
    v->timer.fire = on_time;
    buf_init(&v->out, HTTP_SAID_MAX + MTA_STS_OWN_MAX);
    list_init(&v->link);
    list_push_back(&r->visits, &v->link);
    r->n_visits++;
    world_timer_set(r->world, &v->timer, now_ms + HTTPS_VISIT_MS);
    conn_set_user(c, &conn_user, v);
    struct tls_start start = {.context = r->tls, .deadline_ms = now_ms + HTTPS_SHAKE_MS};
    if (conn_tls_start(c, true, &start, on_tls, v) != ERR_OK)
        visit_end(v);
}
