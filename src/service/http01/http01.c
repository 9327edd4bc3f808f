/* service/http01/http01.c: the role that answers an authority's questions at port 80, while there are some.
 *
 * Owns:     listeners that the supervisor opened for this, from then until acme says that the authority has
 *           asked; connections; the answers.
 * Limits:   CONNS_MAX connections, each CONN_MS long and for one request; HTTP01_CHALLENGES_MAX answers.
 * Errors:   a connection without a request ends unanswered. Without acme all is forgotten, and the port
 *           closed.
 * Security: whoever can reach the port talks to this process: it may accept, and nothing else
 *           (docs/privsep.md). The answers it knows are public.
 * RFC 8555 8.3; what is said is proto/http01.h.
 */
#include "proto/http01.h"

#include "base/mem.h"
#include "service/boot/role.h"

#include <string.h>

enum { CONNS_MAX = 64, CONN_MS = 10000 };

struct visit {
    struct list link;
    struct http01_role *role;
    struct conn *conn;
    struct timer timer;
    size_t n_in, n_said;
    struct buf out; /* empty until it is answered */
    char out_mem[HTTP01_REPLY_MAX], in[HTTP_HEAD_MAX];
};
struct http01_role {
    struct role_env *env;
    struct world *world;
    struct channel *acme;
    struct listener *listeners[ARRAY_LEN(((struct acme_conf *)0)->addrs)];
    size_t n_listeners, n_visits, n_challenges;
    struct list visits;
    struct http01_challenge challenges[HTTP01_CHALLENGES_MAX];
    size_t n_told; /* of the challenges acme has heard that they are served */
};

/* ---- visits ---------------- */

static void accept_again(struct http01_role *r);

static void visit_end(struct visit *v)
{
    struct http01_role *r = v->role;
    world_timer_cancel(r->world, &v->timer);
    conn_close(v->conn);
    list_remove(&v->link);
    mem_free(v);
    if (r->n_visits-- == CONNS_MAX)
        accept_again(r);
}

static void on_time(struct timer *t)
{
    visit_end(container_of(t, struct visit, timer));
}

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
    struct http01_role *r = v->role;
    unsigned status = http01_reply(str_of(v->in, v->n_in), r->challenges, r->n_challenges, &v->out);
    char mem[NETADDR_TEXT_MAX];
    struct buf peer;
    buf_init_fixed(&peer, mem, sizeof mem);
    netaddr_format_ip(conn_peer(v->conn), &peer);
    log_write(r->world->log, status == 200 ? LOG_INFO : LOG_DEBUG, "http01.asked", /* strangers fill no log */
              (const struct log_field[]){LS("by", buf_str(&peer)), LU("status", status), {0}});
    (void)say(v);
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    struct visit *v = arg;
    char waste[1024];
    size_t n = 0;
    bool is_answered = v->out.n > 0;
    if ((ready & CONN_WRITABLE) != 0 && !say(v))
        return;
    if ((ready & CONN_READABLE) == 0)
        return;
    enum err e = is_answered ? conn_read(c, waste, sizeof waste, &n)
                             : conn_read(c, v->in + v->n_in, sizeof v->in - v->n_in, &n);
    if (e == ERR_AGAIN)
        return;
    if (e != ERR_OK) {
        visit_end(v);
        return;
    }
    if (is_answered)
        return;
    v->n_in += n;
    if (http_is_whole(str_of(v->in, v->n_in)))
        answer(v);
}

static const struct conn_user conn_user = {on_ready};

static void set_accepting(struct http01_role *r, bool on);

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    struct http01_role *r = arg;
    struct visit *v = r->n_visits == CONNS_MAX ? NULL : mem_new(struct visit);
    UNUSED(l);
    if (v == NULL) {
        conn_close(c);
        return;
    }
    v->role = r;
    v->conn = c;
    v->timer.fire = on_time;
    buf_init_fixed(&v->out, v->out_mem, sizeof v->out_mem);
    list_push_back(&r->visits, &v->link);
    world_timer_set(r->world, &v->timer, world_now_ms(r->world) + CONN_MS);
    conn_set_user(c, &conn_user, v);
    conn_want(c, CONN_READABLE);
    if (++r->n_visits == CONNS_MAX)
        set_accepting(r, false); /* more wait in the kernel's queue */
}

static const struct listener_user listener_user = {on_accept};

static void set_accepting(struct http01_role *r, bool on)
{
    for (size_t i = 0; i < r->n_listeners; i++)
        listener_set_user(r->listeners[i], on ? &listener_user : NULL, r);
}

static void accept_again(struct http01_role *r)
{
    set_accepting(r, true);
}

/* ---- what acme wants ---------------- */

static void forget(struct http01_role *r)
{
    for (size_t i = 0; i < r->n_listeners; i++)
        listener_close(r->listeners[i]);
    r->n_listeners = 0;
    r->n_challenges = r->n_told = 0;
    list_each (l, &r->visits)
        visit_end(list_entry(l, struct visit, link));
}

static void tell(struct http01_role *r, struct str token)
{
    struct ipc_http01_serving m = {.token = token};
    if (r->acme != NULL && ipc_send_http01_serving(r->acme, &m, NULL) == ERR_AGAIN)
        log_error(r->world->log, "http01.untold", LC("to", "acme")); /* its program is out of time some day */
}

static void tell_served(struct http01_role *r)
{
    for (; r->n_listeners > 0 && r->n_told < r->n_challenges; r->n_told++) {
        const struct http01_challenge *c = &r->challenges[r->n_told];
        tell(r, str_of(c->token, c->n_token));
    }
}

static bool take(struct http01_role *r, const struct ipc_http01_serve *m)
{
    if (!http01_is_token(m->token) || !http01_is_answer(m->token, m->answer) ||
        r->n_challenges == HTTP01_CHALLENGES_MAX)
        return false;
    struct http01_challenge *c = &r->challenges[r->n_challenges++];
    *c = (struct http01_challenge){.n_token = m->token.n, .n_answer = m->answer.n};
    memcpy(c->token, m->token.p, m->token.n);
    memcpy(c->answer, m->answer.p, m->answer.n);
    tell_served(r);
    return true;
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct http01_role *r = arg;
    struct ipc_http01_serve m;
    UNUSED(given);
    if (!role_message_allowed(r->env, ROLE_ACME, c, type)) {
        r->acme = NULL;
        forget(r);
    } else if (!ipc_decode_http01_serve(payload, &m) || (m.token.n > 0 && !take(r, &m))) {
        r->acme = NULL;
        role_message_malformed(r->env, ROLE_ACME, c, type);
        forget(r);
    } else if (m.token.n == 0) {
        forget(r);
        tell(r, STR_NIL);
    }
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void on_closed(void *arg, struct channel *c)
{
    struct http01_role *r = arg;
    r->acme = NULL;
    role_peer_closed(r->env, c);
    forget(r);
}

static const struct channel_user acme_user = {on_message, on_room, on_closed};

/* ---- the role ---------------- */

static void http01_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct http01_role *r = self;
    if (who != ROLE_ACME || index != 0)
        return;
    r->acme = c;
    channel_set_user(c, &acme_user, r);
}

static void http01_from_super(void *self, uint16_t type, struct str payload, struct handle *given)
{
    struct http01_role *r = self;
    struct ipc_sup_port m;
    struct listener *l = handle_take_listener(r->world, given);
    if (l == NULL)
        return;
    if (type != IPC_SUP_PORT || !ipc_decode_sup_port(payload, &m) ||
        r->n_listeners == ARRAY_LEN(r->listeners)) {
        listener_close(l);
        return;
    }
    r->listeners[r->n_listeners++] = l;
    listener_set_user(l, r->n_visits < CONNS_MAX ? &listener_user : NULL, r);
    tell_served(r);
}

static void *http01_create(struct role_env *env)
{
    struct http01_role *r = mem_must_new(struct http01_role);
    r->env = env;
    r->world = env->world;
    list_init(&r->visits);
    if (env->peers[ROLE_ACME][0] != NULL)
        http01_peer(r, ROLE_ACME, 0, env->peers[ROLE_ACME][0]);
    role_ready(env);
    return r;
}

static void http01_reload(void *self, const struct config *old)
{
    struct http01_role *r = self;
    role_config_release(r->env, old);
}

static void http01_drain(void *self, uint64_t deadline_ms)
{
    struct http01_role *r = self;
    UNUSED(deadline_ms);
    forget(r); /* who asks will ask again */
    role_drained(r->env);
}

static void http01_del(void *self)
{
    struct http01_role *r = self;
    forget(r);
    mem_free(r);
}

const struct role_ops http01_role = {.create = http01_create,
                                     .peer = http01_peer,
                                     .reload = http01_reload,
                                     .drain = http01_drain,
                                     .del = http01_del,
                                     .from_super = http01_from_super};
