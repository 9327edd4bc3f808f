/* service/acme/acme_testing.h: the roles of certificates from an authority, and that of port 443, over a
 * world that a test holds in its hand: it is the supervisor, the other role, keys, the program, and who
 * connects; TLS is words. Boot's part is here too. */
#pragma once
#include "base/mem.h"
#include "base/rand.h"
#include "base/world_tls.h"
#include "service/boot/role.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { CONNS_MAX_HERE = 400, OCTETS_MAX = 16 * 1024, TEXT_MAX = 2048, LISTENERS_MAX = 4, NOW_MS = 1000 };

struct conn { /* what it reads comes from `in`, what it writes goes to `out` */
    struct world_object object;
    const struct conn_user *user;
    void *arg;
    unsigned wanted;
    bool is_closed, is_shut, is_eof;
    struct buf in, out;
    size_t room;
    struct netaddr addr;
    void (*on_tls)(void *arg, struct conn *c, enum err err, struct str why); /* a handshake is under way */
    void *tls_arg;
    struct tls_context *context; /* of it */
};
enum { PROOFS_MAX_HERE = 101 };
struct tls_context {
    struct world_object object;
    unsigned n_refs;
    size_t n_certificates;
    uint32_t keys[4];
    size_t n_proofs;
    char proofs[PROOFS_MAX_HERE][64];
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
    enum role other_role;
    struct channel other, keys;
    struct tls_context contexts[16];
    size_t n_contexts;
    const char *covered;      /* what the certificates are for */
    bool has_bad_certificate; /* no context is made */
    enum err prove_err;
    struct tls_facts facts;
    struct tls_signer signer;
    unsigned n_sign_asks;
    uint64_t signed_token;
    enum err signed_err;
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
#pragma GCC diagnostic ignored "-Wunused-function" /* no test uses all of it */

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
    struct ipc_alpn_serve proof;
    struct ipc_alpn_serving proving;
    assert_false(c->is_closed);
    assert_null(give);
    assert_true(ipc_may_send(the->env.role, c == &the->keys ? ROLE_KEYS : the->other_role, type));
    if (c == &the->keys) {
        the->n_sign_asks++;
        return ERR_OK;
    }
    assert_ptr_equal(c, &the->other);
    if (type == IPC_HTTP01_SERVE && ipc_decode_http01_serve(payload, &serve))
        tell("serve", serve.token);
    else if (type == IPC_HTTP01_SERVING && ipc_decode_http01_serving(payload, &serving))
        tell("serving", serving.token);
    else if (type == IPC_ALPN_SERVE && ipc_decode_alpn_serve(payload, &proof))
        tell(proof.name.n == 0 || proof.digest.n == 32 ? "prove" : "malformed", proof.name);
    else if (type == IPC_ALPN_SERVING && ipc_decode_alpn_serving(payload, &proving))
        tell("proving", proving.name);
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

/* ---- TLS ---------------- */

static const struct world_tls_ops tls_ops;
static const struct world_ops ops = {.tls = &tls_ops,
                                     .now_ms = now_ms,
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

static void set_signer(struct world *w, const struct tls_signer *s)
{
    UNUSED(w);
    the->signer = *s;
}

static void tls_signed(struct world *w, uint64_t token, enum err err, struct str signature)
{
    UNUSED(w);
    UNUSED(signature);
    the->signed_token = token;
    the->signed_err = err;
}

static struct tls_context *new_server(struct world *w, const struct tls_server_conf *conf, struct buf *why)
{
    UNUSED(w);
    assert_true(str_eq(conf->alpn, STR("http/1.1")) && !conf->legacy && conf->n_tickets == 0);
    if (the->has_bad_certificate) {
        (void)buf_puts(why, "no good");
        return NULL;
    }
    assert_true(the->n_contexts < ARRAY_LEN(the->contexts));
    struct tls_context *t = &the->contexts[the->n_contexts++];
    *t = (struct tls_context){.object = {&ops}, .n_refs = 1, .n_certificates = conf->n_certificates};
    for (size_t i = 0; i < conf->n_certificates && i < ARRAY_LEN(t->keys); i++)
        t->keys[i] = conf->certificates[i].key;
    return t;
}

static void release_context(struct tls_context *t)
{
    assert_true(t->n_refs > 0);
    t->n_refs--;
}

static bool context_is_for(const struct tls_context *t, struct str host)
{
    assert_true(t->n_refs > 0);
    return str_find(str_from_c(the->covered), host) != STR_NPOS;
}

static enum err prove_name(struct tls_context *t, struct str name, const unsigned char *digest)
{
    UNUSED(digest);
    if (the->prove_err != ERR_OK)
        return the->prove_err;
    assert_true(t->n_refs > 0 && t->n_proofs < PROOFS_MAX_HERE);
    assert_true(str_to_c(name, t->proofs[t->n_proofs++], sizeof t->proofs[0]));
    return ERR_OK;
}

static void prove_none(struct tls_context *t)
{
    t->n_proofs = 0;
}

static enum err start_tls(struct conn *c, bool is_server, const struct tls_start *start,
                          void (*fn)(void *arg, struct conn *c, enum err err, struct str why), void *arg)
{
    assert_true(is_server && start->context->n_refs > 0 && start->deadline_ms > the->now_ms);
    c->on_tls = fn;
    c->tls_arg = arg;
    c->context = start->context;
    return ERR_OK;
}

static const struct tls_facts *facts_of(const struct conn *c)
{
    UNUSED(c);
    return &the->facts;
}

static const struct world_tls_ops tls_ops = {.set_signer = set_signer,
                                             .tls_signed = tls_signed,
                                             .server = new_server,
                                             .context_release = release_context,
                                             .context_is_for = context_is_for,
                                             .context_prove = prove_name,
                                             .context_prove_none = prove_none,
                                             .start = start_tls,
                                             .facts = facts_of};

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
    the->keys.object.ops = &ops;
    the->covered = "";
    the->other_role = role == ROLE_ACME ? ROLE_HTTP01 : ROLE_ACME;
    the->env.peers[the->other_role][0] = &the->other;
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
