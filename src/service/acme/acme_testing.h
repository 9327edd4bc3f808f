/* service/acme/acme_testing.h: the two roles of certificates over a world that a test holds in its hand: it
 * is the supervisor, the other role, the program, and who connects. Boot's part is here too. */
#pragma once
#include "base/mem.h"
#include "base/rand.h"
#include "service/boot/role.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { CONNS_MAX_HERE = 200, OCTETS_MAX = 16 * 1024, TEXT_MAX = 2048, LISTENERS_MAX = 4, NOW_MS = 1000 };

struct conn { /* what it reads comes from `in`, what it writes goes to `out` */
    struct world_object object;
    const struct conn_user *user;
    void *arg;
    unsigned wanted;
    bool is_closed, is_shut, is_eof;
    struct buf in, out;
    size_t room;
    struct netaddr addr;
};
struct program {
    struct world_object object;
    void (*on_end)(void *arg, const struct program_end *end);
    void *arg;
    struct conn *input, *output;
    char words[TEXT_MAX];
    unsigned n_terms, n_kills;
};
struct channel {
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_closed;
};
struct listener {
    struct world_object object;
    const struct listener_user *user;
    void *arg;
    bool is_closed;
};
struct handle {
    struct listener *listener;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    char logged[OCTETS_MAX];
    struct buf log_text;
    struct rng rng;
    uint64_t now_ms;
    struct heap timers;
    struct config config;
    struct role_env env;
    const struct role_ops *ops;
    void *self;
    struct channel other;
    struct conn conns[CONNS_MAX_HERE];
    size_t n_conns;
    struct listener listeners[LISTENERS_MAX];
    size_t n_listeners;
    struct program program;
    unsigned n_programs, n_ready, n_drained, n_ports, n_issued, n_released;
    uint32_t port_token;
    char told[TEXT_MAX]; /* to the other role: a word a message */
    enum err start_err;
};
static struct fixture *the;

/* ---- boot ---------------- */

void role_ready(struct role_env *env)
{
    UNUSED(env);
    the->n_ready++;
}

void role_drained(struct role_env *env)
{
    UNUSED(env);
    the->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(env);
    UNUSED(old);
    the->n_released++;
}

#include "service/boot/role_testing.h"

enum err role_ask_port(struct role_env *env, uint32_t token)
{
    UNUSED(env);
    the->n_ports++;
    the->port_token = token;
    return ERR_OK;
}

enum err role_tell_issued(struct role_env *env, uint16_t certificate)
{
    assert_true(env->config->certificates[certificate].n_names > 0);
    the->n_issued++;
    return ERR_OK;
}

/* ---- the world ---------------- */

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return the->now_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    UNUSED(w);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&the->rng);
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    if (t->is_set)
        heap_remove(&the->timers, &t->node);
    t->is_set = false;
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    timer_cancel(w, t);
    heap_insert(&the->timers, &t->node, due_ms);
    t->is_set = true;
}

static void tell(const char *verb, struct str token)
{
    struct buf b;
    buf_init_fixed(&b, the->told, sizeof the->told - 1);
    b.n = strlen(the->told);
    buf_printf(&b, "%s(%.*s) ", verb, STR_FMT(token));
    must(!b.failed);
    the->told[b.n] = '\0';
}

static enum err send_to_other(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    struct ipc_http01_serve serve;
    struct ipc_http01_serving serving;
    assert_ptr_equal(c, &the->other);
    assert_false(c->is_closed);
    assert_null(give);
    assert_true(ipc_may_send(the->env.role, the->env.role == ROLE_ACME ? ROLE_HTTP01 : ROLE_ACME, type));
    if (type == IPC_HTTP01_SERVE && ipc_decode_http01_serve(payload, &serve))
        tell("serve", serve.token);
    else if (type == IPC_HTTP01_SERVING && ipc_decode_http01_serving(payload, &serving))
        tell("serving", serving.token);
    return ERR_OK;
}

static void set_channel_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void set_conn_user(struct conn *c, const struct conn_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void want(struct conn *c, unsigned mask)
{
    assert_false(c->is_closed);
    c->wanted = mask;
}

static enum err read_conn(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    assert_false(c->is_closed);
    assert_true(cap > 0);
    *out_n = c->in.n < cap ? c->in.n : cap;
    if (*out_n == 0)
        return c->is_eof ? ERR_CLOSED : ERR_AGAIN;
    memcpy(out, c->in.p, *out_n);
    buf_consume(&c->in, *out_n);
    return ERR_OK;
}

static enum err write_conn(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    assert_false(c->is_closed || c->is_shut);
    assert_int_equal(n_pieces, 1);
    *out_n = pieces->n < c->room ? pieces->n : c->room;
    if (*out_n == 0)
        return ERR_AGAIN;
    assert_true(buf_put(&c->out, str_slice(*pieces, 0, *out_n)));
    c->room -= *out_n;
    return ERR_OK;
}

static void shut_conn(struct conn *c)
{
    c->is_shut = true;
}

static void close_conn(struct conn *c)
{
    assert_false(c->is_closed);
    c->is_closed = true;
}

static const struct netaddr *peer_of(const struct conn *c)
{
    return &c->addr;
}

static struct listener *take_listener(struct world *w, struct handle *h)
{
    UNUSED(w);
    return h == NULL ? NULL : h->listener;
}

static void set_listener_user(struct listener *l, const struct listener_user *user, void *arg)
{
    assert_false(l->is_closed);
    l->user = user;
    l->arg = arg;
}

static void close_listener(struct listener *l)
{
    assert_false(l->is_closed);
    l->is_closed = true;
}

static enum err run_program(struct world *w, const struct program_plan *plan,
                            void (*on_end)(void *arg, const struct program_end *end), void *arg,
                            struct conn **out_input, struct conn **out_output, struct program **out);

static void kill_program(struct program *p, bool hard)
{
    assert_non_null(p->on_end); /* it runs */
    if (hard)
        p->n_kills++;
    else
        p->n_terms++;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_other,
                                     .channel_set_user = set_channel_user,
                                     .handle_take_listener = take_listener,
                                     .listener_set_user = set_listener_user,
                                     .listener_close = close_listener,
                                     .conn_set_user = set_conn_user,
                                     .conn_want = want,
                                     .conn_read = read_conn,
                                     .conn_write = write_conn,
                                     .conn_shutdown_write = shut_conn,
                                     .conn_close = close_conn,
                                     .conn_peer = peer_of,
                                     .program = run_program,
                                     .program_kill = kill_program};

static struct conn *new_conn(void)
{
    assert_true(the->n_conns < CONNS_MAX_HERE);
    struct conn *c = &the->conns[the->n_conns++];
    *c = (struct conn){.object = {&ops}, .room = OCTETS_MAX};
    assert_true(netaddr_parse_ip(STR("192.0.2.1"), 1, &c->addr));
    buf_init(&c->in, OCTETS_MAX);
    buf_init(&c->out, OCTETS_MAX);
    return c;
}

static enum err run_program(struct world *w, const struct program_plan *plan,
                            void (*on_end)(void *arg, const struct program_end *end), void *arg,
                            struct conn **out_input, struct conn **out_output, struct program **out)
{
    struct program *p = &the->program;
    struct buf words;
    UNUSED(w);
    if (the->start_err != ERR_OK)
        return the->start_err;
    assert_null(p->on_end); /* one at a time */
    *p = (struct program){
        .object = {&ops}, .on_end = on_end, .arg = arg, .input = new_conn(), .output = new_conn()};
    buf_init_fixed(&words, p->words, sizeof p->words - 1);
    for (const char *const *word = plan->argv; *word != NULL; word++)
        buf_printf(&words, "%s ", *word);
    *out_input = p->input;
    *out_output = p->output;
    *out = p;
    the->n_programs++;
    return ERR_OK;
}

static void pass(uint64_t ms)
{
    struct heap_node *n;
    the->now_ms += ms;
    while ((n = heap_min(&the->timers)) != NULL && n->key <= the->now_ms) {
        struct timer *t = container_of(n, struct timer, node);
        timer_cancel(&the->world, t);
        t->fire(t);
    }
}

static void arrive(struct conn *c, struct str octets)
{
    assert_true(buf_put(&c->in, octets));
    while (!c->is_closed && c->in.n > 0 && (c->wanted & CONN_READABLE) != 0)
        c->user->on_ready(c->arg, c, CONN_READABLE);
}

/* ---- the role ---------------- */

static void log_it(void *arg, struct str line)
{
    UNUSED(arg);
    if (!buf_put(&the->log_text, line))
        fail_msg("the log is full");
}

static bool was_logged(const char *text)
{
    return str_find(buf_str(&the->log_text), str_from_c(text)) != STR_NPOS;
}

static void hear(uint16_t type, const struct buf *payload)
{
    the->other.user->on_message(the->other.arg, &the->other, type, buf_str(payload), NULL);
}

static void begin(enum role role, const struct role_ops *role_ops, const char *root)
{
    the = mem_must_new(struct fixture);
    buf_init_fixed(&the->log_text, the->logged, sizeof the->logged);
    the->log = (struct log){.min = LOG_DEBUG, .role = "test", .write = log_it};
    the->world = (struct world){.ops = &ops, .log = &the->log};
    the->now_ms = NOW_MS;
    rng_seed(&the->rng, 1);
    the->other.object.ops = &ops;
    the->ops = role_ops;
    the->env = (struct role_env){.world = &the->world, .role = role, .config = &the->config, .root = root};
    the->env.peers[role == ROLE_ACME ? ROLE_HTTP01 : ROLE_ACME][0] = &the->other;
}

static void create(void)
{
    the->self = the->ops->create(&the->env);
    assert_non_null(the->self);
    assert_int_equal(the->n_ready, 1);
}

static int finish(void **state)
{
    UNUSED(state);
    the->ops->del(the->self);
    assert_null(heap_min(&the->timers));
    for (size_t i = 0; i < the->n_conns; i++) {
        assert_true(the->conns[i].is_closed);
        buf_fini(&the->conns[i].in);
        buf_fini(&the->conns[i].out);
    }
    mem_free(the);
    return 0;
}
