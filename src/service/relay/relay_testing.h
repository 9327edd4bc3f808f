/* service/relay/relay_testing.h: the role over a world that this test holds in its hand: it is the queue, the
 * lookup role and every server. Boot's part is here too.
 */
#pragma once
#include "service/relay/relay.h"

#include "base/mem.h"
#include "base/rand.h"
#include "crypto/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONTEXTS_MAX = 16,
    CONNS_MAX = 40,
    TIMERS_MAX = 100,
    IN_MAX = 8192,
    OUT_MAX = 1 << 20,
    ASKED_MAX = 64,
    START_MS = 1000
};
#define BIG ((size_t)4 << 20)

struct tls_context {
    struct world_object object;
    unsigned n_refs;
    bool is_legacy;
    uint32_t key; /* of our certificate */
    char ours[64];
};
struct tls_session {
    struct world_object object;
    struct conn *of;
};
struct channel {
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_closed;
};
/* A connection from the moment it is dialled; also the pipe of a body. */
struct conn {
    struct world_object object;
    struct netaddr to, from;
    bool is_dialling, is_closed, is_eof;
    const struct conn_user *user;
    void *arg;
    unsigned want;
    char in[IN_MAX];
    size_t n_in;
    struct str feed;  /* borrowed octets behind `in` */
    size_t n_endless; /* octets that come out of nothing behind both */
    struct buf out;   /* what the relay wrote; the test consumes it */
    size_t room;      /* octets that may still be written */
    size_t n_written; /* ever */
    bool is_shaking;  /* a handshake is under way: what it is to have, and who waits for it */
    char tls_name[300], tls_names[600]; /* SNI; each name and a blank */
    char tls_ours[64];                  /* our certificate, and its key */
    uint32_t tls_key;
    struct conn *tls_resumed; /* whose session it is to go on with */
    enum tls_check tls_check;
    char tlsa[600]; /* each record as in a zone file, and a comma */
    void (*tls_fn)(void *arg, struct conn *c, enum err err, struct str why);
    void *tls_arg;
    struct tls_facts facts;
    enum tls_fault tls_fault;
};
struct connecting {
    struct world_object object;
    struct conn *conn;
    void (*fn)(void *arg, enum err err, struct conn *c);
    void *arg;
};
struct handle {
    struct world_object object;
    struct conn *conn;
    struct str blob;
};
struct result {
    uint64_t token;
    enum result_kind kind;
    uint8_t stage, flags;
    uint16_t code;
    struct esc esc;
    char host[300], text[600];
};
struct session { /* of TLS, as agent was told */
    uint8_t policy, result;
    char text[700]; /* "DOMAIN MX HELO FROM TO: reason", and each line behind a blank and a bar */
};
struct rr_asked {
    uint64_t token;
    enum dns_type type;
    char name[300];
};
struct fixture {
    struct world world; /* first */
    struct log log;
    struct list hooks;
    struct timer *timers[TIMERS_MAX];
    size_t n_timers;
    uint64_t now_ms;
    struct rng rng;
    struct conn conns[CONNS_MAX];
    struct connecting dials[CONNS_MAX];
    size_t n_conns;
    struct channel queue, lookup, agent;
    bool is_agent_full;
    struct session sessions[20];
    size_t n_told;
    char asked[ASKED_MAX][300];
    uint64_t asked_token[ASKED_MAX];
    size_t n_asked;
    struct rr_asked rr[ASKED_MAX];
    size_t n_rr;
    bool is_secure; /* answers about hosts are, and the host is called so */
    const char *canonical;
    struct result results[300];
    size_t n_results;
    struct config config;
    struct role_env env;
    void *self;
    unsigned n_drained, n_events, n_transports;
    char transport[900];
    uint64_t transport_number;
    struct tls_context contexts[CONTEXTS_MAX];
    size_t n_sessions;
    bool has_no_tls, is_bad_chain; /* no context can be made; none with a certificate of ours */
    struct channel keys;
    struct ipc_sign_ask sign_ask; /* the last one, without its texts */
    size_t n_sign_asks;
    struct tls_signer signer;
    uint64_t signed_token;
    enum err signed_err;
    char signature[64];
    char event_text[600];
};

#pragma GCC diagnostic ignored "-Wunused-function" /* no test uses all of it */

static struct fixture *the; /* conn_write() and the like are given no world */

/* ---- boot ------------------------------------------------------------------------------------ */

void role_ready(struct role_env *env)
{
    UNUSED(env);
}

void role_drained(struct role_env *env)
{
    UNUSED(env);
    the->n_drained++;
}

void role_event(struct role_env *env, const struct ipc_event *e)
{
    UNUSED(env);
    if (e->kind == EVENT_TRANSPORT) {
        the->n_transports++;
        assert_true(str_to_c(e->text, the->transport, sizeof the->transport));
        the->transport_number = e->number;
        return;
    }
    the->n_events++;
    assert_int_equal(e->kind, EVENT_CONVERTED);
    assert_true(str_to_c(e->text, the->event_text, sizeof the->event_text));
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(env);
    UNUSED(old);
}

#include "service/boot/role_testing.h"

/* ---- world ----------------------------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return the->now_ms;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    for (size_t i = 0; i < the->n_timers; i++) {
        if (the->timers[i] == t)
            the->timers[i--] = the->timers[--the->n_timers];
    }
    t->is_set = false;
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    timer_cancel(w, t);
    assert_true(the->n_timers < TIMERS_MAX);
    the->timers[the->n_timers++] = t;
    t->is_set = true;
    t->node.key = due_ms;
}

static void turn_end(struct world *w, struct turn_hook *h)
{
    UNUSED(w);
    list_push_back(&the->hooks, &h->link);
}

static void take_results(const struct ipc_job_done *m)
{
    struct reader r = reader_of(m->results);
    struct job_result one;
    while (list_next_result(&r, &one)) {
        assert_true(the->n_results < ARRAY_LEN(the->results));
        struct result *out = &the->results[the->n_results++];
        *out = (struct result){m->token, one.kind, one.stage, one.flags, one.code, one.esc, "", ""};
        assert_true(str_to_c(one.host, out->host, sizeof out->host));
        assert_true(str_to_c(one.text, out->text, sizeof out->text));
    }
    assert_false(r.failed);
}

static void take_session(const struct ipc_tls_session *m)
{
    assert_true(the->n_told < ARRAY_LEN(the->sessions));
    struct session *s = &the->sessions[the->n_told++];
    struct buf b;
    struct reader lines = reader_of(m->lines);
    struct str line;
    s->policy = m->policy;
    s->result = m->result;
    buf_init_fixed(&b, s->text, sizeof s->text - 1);
    buf_printf(&b, "%.*s %.*s %.*s %.*s %.*s: %.*s", STR_FMT(m->domain), STR_FMT(m->mx), STR_FMT(m->helo),
               STR_FMT(m->sending), STR_FMT(m->receiving), STR_FMT(m->reason));
    while (list_next_str(&lines, &line))
        buf_printf(&b, " |%.*s", STR_FMT(line));
    assert_false(b.failed || lines.failed);
}

static enum err channel_send_to_test(struct channel *c, uint16_t type, struct str payload,
                                     struct handle *give)
{
    assert_null(give);
    assert_false(c->is_closed);
    struct ipc_job_done done;
    struct ipc_host_ask ask;
    if (c == &the->queue) {
        assert_true(type == IPC_JOB_DONE && ipc_decode_job_done(payload, &done));
        take_results(&done);
        return ERR_OK;
    }
    if (c == &the->keys) {
        assert_true(type == IPC_SIGN_ASK && ipc_decode_sign_ask(payload, &the->sign_ask));
        the->sign_ask.octets = STR_NIL;
        the->n_sign_asks++;
        return ERR_OK;
    }
    if (c == &the->agent) {
        struct ipc_tls_session s;
        if (the->is_agent_full)
            return ERR_AGAIN;
        assert_true(type == IPC_TLS_SESSION && ipc_decode_tls_session(payload, &s));
        take_session(&s);
        return ERR_OK;
    }
    struct ipc_rr_ask rr;
    if (type == IPC_RR_ASK) {
        assert_true(ipc_decode_rr_ask(payload, &rr) && the->n_rr < ASKED_MAX);
        struct rr_asked *a = &the->rr[the->n_rr++];
        *a = (struct rr_asked){.token = rr.token, .type = (enum dns_type)rr.type};
        assert_true(str_to_c(rr.name, a->name, sizeof a->name));
        return ERR_OK;
    }
    assert_true(type == IPC_HOST_ASK && ipc_decode_host_ask(payload, &ask) && the->n_asked < ASKED_MAX);
    assert_true(str_to_c(ask.name, the->asked[the->n_asked], sizeof the->asked[0]));
    the->asked_token[the->n_asked++] = ask.token;
    return ERR_OK;
}

static void channel_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static const struct world_ops ops;

/* ---- TLS: the test says what comes of a handshake ---- */

static struct tls_context *new_context(struct world *w, const struct tls_client_conf *conf, struct buf *why)
{
    size_t i = 0;
    UNUSED(w);
    if (the->has_no_tls || (the->is_bad_chain && conf->certificate != NULL)) {
        buf_puts(why, "no TLS in this test");
        return NULL;
    }
    while (i < CONTEXTS_MAX && the->contexts[i].n_refs > 0)
        i++;
    assert_true(i < CONTEXTS_MAX);
    struct tls_context *t = &the->contexts[i];
    *t = (struct tls_context){.object = {&ops}, .n_refs = 1, .is_legacy = conf->legacy};
    if (conf->certificate != NULL) {
        assert_true(str_to_c(conf->certificate->chain, t->ours, sizeof t->ours));
        t->key = conf->certificate->key;
    }
    return t;
}

static void set_signer(struct world *w, const struct tls_signer *s)
{
    UNUSED(w);
    the->signer = s != NULL ? *s : (struct tls_signer){.arg = NULL};
}

static void is_signed(struct world *w, uint64_t token, enum err err, struct str signature)
{
    UNUSED(w);
    the->signed_token = token;
    the->signed_err = err;
    assert_true((err == ERR_OK) == (signature.n > 0));
    assert_true(str_to_c(signature, the->signature, sizeof the->signature));
}

static void release_context(struct tls_context *t)
{
    assert_true(t->n_refs-- > 0);
}

static enum err shake_hands(struct conn *c, bool is_server, const struct tls_start *s,
                            void (*fn)(void *arg, struct conn *c, enum err err, struct str why), void *arg)
{
    struct buf names;
    assert_true(!is_server && !c->is_closed && !c->is_shaking && c->n_in == 0 && c->out.n == 0);
    const struct tls_context *t = s->context;
    assert_true(t >= the->contexts && t < the->contexts + CONTEXTS_MAX && t->n_refs > 0);
    assert_int_equal(t->is_legacy, s->check == TLS_CHECK_NONE);
    memcpy(c->tls_ours, t->ours, sizeof c->tls_ours);
    c->tls_key = t->key;
    assert_int_equal(s->deadline_ms, the->now_ms + SMTP_CLIENT_TLS_MS);
    assert_true(s->n_names <= TLS_NAMES_MAX && (s->resume == NULL || s->check != TLS_CHECK_DANE));
    c->tls_resumed = s->resume == NULL ? NULL : s->resume->of;
    assert_true(s->n_tlsa <= TLS_TLSA_MAX && (s->n_tlsa > 0) == (s->check == TLS_CHECK_DANE));
    struct buf tlsa;
    buf_init_fixed(&tlsa, c->tlsa, sizeof c->tlsa - 1);
    for (size_t i = 0; i < s->n_tlsa; i++) {
        struct dane_record r = {s->tlsa[i].usage, s->tlsa[i].selector, s->tlsa[i].matching, s->tlsa[i].data};
        dane_format(&r, &tlsa);
        buf_putc(&tlsa, ',');
    }
    assert_false(tlsa.failed);
    buf_init_fixed(&names, c->tls_names, sizeof c->tls_names - 1);
    for (size_t i = 0; i < s->n_names; i++)
        buf_printf(&names, "%.*s ", STR_FMT(s->names[i]));
    assert_true(!names.failed && str_to_c(s->server_name, c->tls_name, sizeof c->tls_name));
    c->tls_check = s->check;
    c->tls_fn = fn;
    c->tls_arg = arg;
    c->is_shaking = true;
    return ERR_OK;
}

static const struct tls_facts *facts_of(const struct conn *c)
{
    return c->facts.version.n > 0 ? &c->facts : NULL;
}

static enum tls_fault fault_of(const struct conn *c)
{
    return c->tls_fault;
}

static bool no_exporter(const struct conn *c, unsigned char *out)
{
    UNUSED(c);
    UNUSED(out);
    return false;
}

static bool no_end_point(const struct conn *c, unsigned char *out, size_t *out_n)
{
    UNUSED(c);
    UNUSED(out);
    UNUSED(out_n);
    return false;
}

static struct tls_session *session_of(struct conn *c)
{
    struct tls_session *s = c->facts.is_dane ? NULL : calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    *s = (struct tls_session){{&ops}, c};
    the->n_sessions++;
    return s;
}

static void free_session(struct tls_session *s)
{
    the->n_sessions--;
    free(s);
}

static const struct world_tls_ops tls_ops = {.client = new_context,
                                             .session = session_of,
                                             .session_free = free_session,
                                             .set_signer = set_signer,
                                             .tls_signed = is_signed,
                                             .context_release = release_context,
                                             .start = shake_hands,
                                             .facts = facts_of,
                                             .fault = fault_of,
                                             .exporter = no_exporter,
                                             .server_end_point = no_end_point};

static struct conn *new_conn(void)
{
    assert_true(the->n_conns < CONNS_MAX);
    struct conn *c = &the->conns[the->n_conns++];
    c->object.ops = &ops;
    c->room = SIZE_MAX;
    buf_init(&c->out, OUT_MAX);
    return c;
}

static int64_t wall_ms(const struct world *w)
{
    UNUSED(w);
    return 1000000 + (int64_t)the->now_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    UNUSED(w);
    for (size_t i = 0; i < n; i++)
        ((char *)out)[i] = (char)rng_next(&the->rng);
}

static struct connecting *dial(struct world *w, const struct netaddr *to, const struct netaddr *from,
                               uint64_t deadline_ms, void (*fn)(void *arg, enum err err, struct conn *c),
                               void *arg)
{
    UNUSED(w);
    assert_int_equal(deadline_ms, the->now_ms + SMTP_CLIENT_CONNECT_MS);
    struct conn *c = new_conn();
    struct connecting *d = &the->dials[c - the->conns];
    *d = (struct connecting){{&ops}, c, fn, arg};
    c->to = *to;
    if (from != NULL)
        c->from = *from;
    c->is_dialling = true;
    return d;
}

static void hang_up(struct connecting *c)
{
    c->conn->is_dialling = false;
    c->conn->is_closed = true;
}

static void conn_user_is(struct conn *c, const struct conn_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void conn_wants(struct conn *c, unsigned mask)
{
    assert_false(c->is_closed);
    c->want = mask;
}

static enum err conn_gives(struct conn *c, char *out, size_t cap, size_t *out_n)
{
    assert_false(c->is_closed || c->is_shaking);
    *out_n = c->n_in < cap ? c->n_in : cap;
    memcpy(out, c->in, *out_n);
    memmove(c->in, c->in + *out_n, c->n_in - *out_n);
    c->n_in -= *out_n;
    if (*out_n == 0 && c->feed.n > 0) {
        *out_n = c->feed.n < cap ? c->feed.n : cap;
        memcpy(out, c->feed.p, *out_n);
        c->feed = str_skip(c->feed, *out_n);
    }
    if (*out_n == 0 && c->n_endless > 0) {
        *out_n = c->n_endless < cap ? c->n_endless : cap;
        memset(out, 'x', *out_n);
        c->n_endless -= *out_n;
    }
    if (*out_n > 0)
        return ERR_OK;
    return c->is_eof ? ERR_CLOSED : ERR_AGAIN;
}

static enum err conn_takes(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n)
{
    assert_false(c->is_closed || c->is_shaking);
    assert_int_equal(n_pieces, 1);
    *out_n = pieces[0].n < c->room ? pieces[0].n : c->room;
    if (*out_n == 0)
        return ERR_AGAIN;
    if (c->room != SIZE_MAX)
        c->room -= *out_n;
    c->n_written += *out_n;
    if (c->n_written <= OUT_MAX)
        assert_true(buf_put(&c->out, str_slice(pieces[0], 0, *out_n)));
    return ERR_OK;
}

static const struct netaddr *conn_is_at(const struct conn *c)
{
    static const struct netaddr ours = {.kind = NETADDR_IP4, .ip = {198, 51, 100, 7}, .port = 40000};
    UNUSED(c);
    return &ours;
}

static const struct netaddr *conn_is_to(const struct conn *c)
{
    return &c->to;
}

static void conn_closes(struct conn *c)
{
    assert_false(c->is_closed);
    c->is_closed = true;
}

static struct conn *take_conn(struct world *w, struct handle *h)
{
    UNUSED(w);
    return h == NULL ? NULL : h->conn;
}

static bool take_blob(struct world *w, struct handle *h, struct blob *out)
{
    UNUSED(w);
    *out = (struct blob){h == NULL ? STR_NIL : h->blob, NULL};
    return h != NULL;
}

static const struct world_ops ops = {.tls = &tls_ops,
                                     .handle_take_blob = take_blob,
                                     .now_ms = now_ms,
                                     .wall_ms = wall_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .turn_end = turn_end,
                                     .channel_send = channel_send_to_test,
                                     .channel_set_user = channel_user,
                                     .handle_take_conn = take_conn,
                                     .connect = dial,
                                     .connecting_cancel = hang_up,
                                     .conn_set_user = conn_user_is,
                                     .conn_want = conn_wants,
                                     .conn_read = conn_gives,
                                     .conn_write = conn_takes,
                                     .conn_local = conn_is_at,
                                     .conn_peer = conn_is_to,
                                     .conn_close = conn_closes};

/* ---- what the tests do ----------------------------------------------------------------------- */

static void end_turn(void)
{
    list_each (l, &the->hooks) {
        struct turn_hook *h = list_entry(l, struct turn_hook, link);
        h->run(h);
    }
}

/* One event of a connection, as the loop tells it: what is wanted and there. */
static void poke(struct conn *c)
{
    unsigned ready = CONN_READABLE | (c->room > 0 ? (unsigned)CONN_WRITABLE : 0u);
    if (!c->is_closed && !c->is_shaking && c->user != NULL && (c->want & ready) != 0)
        c->user->on_ready(c->arg, c, c->want & ready);
    end_turn();
}

/* The server says that; \n stands for CRLF. */
static void say(struct conn *c, const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(c->n_in + 2 < IN_MAX);
        if (*text == '\n')
            c->in[c->n_in++] = '\r';
        c->in[c->n_in++] = *text;
    }
    poke(c);
}

static void server_closes(struct conn *c)
{
    c->is_eof = true;
    poke(c);
}

/* What the relay wrote since the last time is exactly this. */
static void expect(struct conn *c, const char *text)
{
    char mem[4096];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (; *text != '\0'; text++)
        assert_true((*text != '\n' || buf_putc(&b, '\r')) && buf_putc(&b, *text));
    if (!str_eq(buf_str(&b), buf_str(&c->out)))
        fail_msg("wanted \"%.*s\", the relay said \"%.*s\"", STR_FMT(buf_str(&b)), STR_FMT(buf_str(&c->out)));
    buf_reset(&c->out);
}

static void pass(uint64_t ms)
{
    the->now_ms += ms;
    for (size_t i = 0; i < the->n_timers; i++) {
        struct timer *t = the->timers[i];
        if (t->node.key > the->now_ms)
            continue;
        timer_cancel(&the->world, t);
        t->fire(t);
        i = (size_t)-1; /* the list has changed */
    }
    end_turn();
}

/* The least time after which the role does something of itself. */
static uint64_t next_due(void)
{
    uint64_t due_ms = UINT64_MAX;
    for (size_t i = 0; i < the->n_timers; i++)
        due_ms = the->timers[i]->node.key < due_ms ? the->timers[i]->node.key : due_ms;
    return due_ms;
}

static struct conn *dialled(void)
{
    assert_true(the->n_conns > 0 && the->conns[the->n_conns - 1].is_dialling);
    return &the->conns[the->n_conns - 1];
}

/* The handshake on c ends well. */
static void secures_with(struct conn *c, const struct tls_facts *f)
{
    assert_true(c->is_shaking && !c->is_closed);
    c->facts = *f;
    c->is_shaking = false;
    c->tls_fn(c->tls_arg, c, ERR_OK, STR_NIL);
    end_turn();
}

static void secures(struct conn *c, bool is_verified)
{
    struct tls_facts f = {.version = STR("TLSv1.3"),
                          .cipher = STR("TLS_X"),
                          .group = STR("x25519"),
                          .signature = STR("ed25519"),
                          .has_peer_certificate = true,
                          .peer_digest = {0xab},
                          .is_trusted = is_verified,
                          .is_named = is_verified,
                          .verify_text = is_verified ? STR_NIL : STR("self-signed certificate")};
    secures_with(c, &f);
}

static void breaks(struct conn *c, enum err err, const char *why)
{
    c->tls_fault = c->tls_fault == TLS_FAULT_NONE ? TLS_FAULT_HANDSHAKE : c->tls_fault;
    assert_true(c->is_shaking && !c->is_closed);
    c->is_shaking = false;
    c->tls_fn(c->tls_arg, c, err, str_from_c(why));
    end_turn();
}

/* The server of the last connection that was dialled takes it. */
static struct conn *answers(void)
{
    struct conn *c = dialled();
    struct connecting *d = &the->dials[c - the->conns];
    c->is_dialling = false;
    d->fn(d->arg, ERR_OK, c);
    end_turn();
    return c;
}

static void refuses(enum err err)
{
    struct conn *c = dialled();
    struct connecting *d = &the->dials[c - the->conns];
    c->is_dialling = false;
    c->is_closed = true;
    d->fn(d->arg, err, NULL);
    end_turn();
}

/* A new connection, greeted; words: the lines of EHLO's reply behind the first. */
static struct conn *greets_offering(const char *words)
{
    struct conn *c = answers();
    say(c, "220 mx.other.test ESMTP\n");
    expect(c, "EHLO me.test\n");
    char mem[256];
    (void)snprintf(mem, sizeof mem, "250-mx.other.test\n%s", words);
    say(c, mem);
    return c;
}

static struct conn *greets(void)
{
    return greets_offering("250 PIPELINING\n");
}

/* What a job to one host goes through up to the handshake. */
static struct conn *offers_tls(void)
{
    struct conn *c = greets_offering("250 STARTTLS\n");
    expect(c, "STARTTLS\n");
    say(c, "220 go\n");
    assert_true(c->is_shaking);
    return c;
}

/* Inside TLS. */
static void greets_again(struct conn *c)
{
    expect(c, "EHLO me.test\n");
    say(c, "250-mx.other.test\n250 PIPELINING\n");
}

struct order {
    uint64_t token;
    const char *site;
    const char *hosts[4]; /* names, or addresses when they begin with a digit */
    const char *rcpts[4];
    const char *body;
    struct conn *pipe;
    size_t n_piped;
    bool is_lmtp, is_callout;
    uint32_t flags;
    const char *source, *sender;
    uint8_t notify;
    const char *orcpt;
    struct mail_params params;
    enum hop_tls tls;
    bool is_smtps, trusts_hops;
    const char *names[3], *user, *secret, *certificate;
    enum dane_mx mx;
    const char *next_hop, *canonical;
    enum mta_sts_mode sts;
    uint32_t sts_hops;
};

static void put_hosts(struct buf *out, const struct order *o)
{
    for (size_t i = 0; i < ARRAY_LEN(o->hosts) && o->hosts[i] != NULL; i++) {
        struct hop h = {.preference = (uint16_t)i, .port = 25};
        if (o->hosts[i][0] >= '0' && o->hosts[i][0] <= '9')
            assert_true(netaddr_parse_ip(str_from_c(o->hosts[i]), 25, &h.addr));
        else
            h.name = str_from_c(o->hosts[i]);
        assert_true(list_put_hop(out, &h));
    }
}

static void give(const struct order *o)
{
    char host_mem[2048], rcpt_mem[2048], mem[65536];
    char params_mem[512];
    struct buf hosts, rcpts, params, b;
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    assert_true(mail_params_put(&o->params, &params));
    buf_init_fixed(&hosts, host_mem, sizeof host_mem);
    buf_init_fixed(&rcpts, rcpt_mem, sizeof rcpt_mem);
    buf_init_fixed(&b, mem, sizeof mem);
    put_hosts(&hosts, o);
    for (size_t i = 0; i < ARRAY_LEN(o->rcpts) && o->rcpts[i] != NULL; i++)
        assert_true(rcpt_put(&(struct rcpt){.address = str_from_c(o->rcpts[i]),
                                            .notify = o->notify,
                                            .orcpt = str_from_c(o->orcpt == NULL ? "" : o->orcpt)},
                             &rcpts));
    if (rcpts.n == 0)
        assert_true(rcpt_put(&(struct rcpt){.address = STR("r@y.test")}, &rcpts));
    char names_mem[600];
    struct buf names;
    buf_init_fixed(&names, names_mem, sizeof names_mem);
    for (size_t i = 0; i < ARRAY_LEN(o->names) && o->names[i] != NULL; i++)
        assert_true(list_put_str(&names, str_from_c(o->names[i])));
    struct str body = str_from_c(o->body == NULL ? "x\r\n" : o->body);
    struct ipc_relay_job m = {.token = o->token,
                              .is_lmtp = o->is_lmtp,
                              .is_callout = o->is_callout,
                              .flags = o->flags,
                              .source = str_from_c(o->source == NULL ? "" : o->source),
                              .params = buf_str(&params),
                              .site = str_from_c(o->site == NULL ? "mx:y.test" : o->site),
                              .hosts = buf_str(&hosts),
                              .sender = str_from_c(o->sender == NULL ? "a@x.test" : o->sender),
                              .rcpts = buf_str(&rcpts),
                              .tls = (uint8_t)o->tls,
                              .is_smtps = o->is_smtps,
                              .trusts_hops = o->trusts_hops,
                              .mx = (uint8_t)o->mx,
                              .next_hop = str_from_c(o->next_hop == NULL ? "" : o->next_hop),
                              .canonical = str_from_c(o->canonical == NULL ? "" : o->canonical),
                              .sts = (uint8_t)o->sts,
                              .sts_hops = o->sts_hops,
                              .names = buf_str(&names),
                              .user = str_from_c(o->user == NULL ? "" : o->user),
                              .secret = str_from_c(o->secret == NULL ? "" : o->secret),
                              .certificate = str_from_c(o->certificate == NULL ? "" : o->certificate),
                              .size = o->pipe == NULL ? body.n : o->n_piped,
                              .is_piped = o->pipe != NULL,
                              .body = o->pipe == NULL ? body : STR_NIL};
    struct handle h = {.object = {&ops}, .conn = o->pipe};
    assert_true(ipc_encode_relay_job(&m, &b));
    the->queue.user->on_message(the->queue.arg, &the->queue, IPC_RELAY_JOB, buf_str(&b),
                                o->pipe == NULL ? NULL : &h);
    end_turn();
}

static void lookup_answers(enum dns_status status, const char *first, const char *second)
{
    char list_mem[256], mem[1024];
    struct buf list, b;
    const char *const all[] = {first, second};
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < ARRAY_LEN(all) && all[i] != NULL; i++) {
        struct netaddr a;
        assert_true(netaddr_parse_ip(str_from_c(all[i]), 0, &a) && list_put_addr(&list, &a));
    }
    assert_true(the->n_asked > 0);
    struct ipc_host_answer m = {.token = the->asked_token[the->n_asked - 1],
                                .status = (uint8_t)status,
                                .is_secure = the->is_secure,
                                .canonical = str_from_c(the->canonical == NULL ? "" : the->canonical),
                                .addresses = buf_str(&list)};
    assert_true(ipc_encode_host_answer(&m, &b));
    the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_HOST_ANSWER, buf_str(&b), NULL);
    end_turn();
}

/* Answers the last question for addresses; none: there is no such name. */
static void lookup_says(const char *first, const char *second)
{
    lookup_answers(first == NULL ? DNS_STATUS_NXDOMAIN : DNS_STATUS_OK, first, second);
}

static void lookup_fails(void)
{
    lookup_answers(DNS_STATUS_TEMPORARY, NULL, NULL);
}

/* Answers the i-th question for records; rdata: one or none. */
static void records(size_t i, enum dns_status status, bool is_secure, struct str rdata)
{
    char list_mem[1024], mem[2048];
    struct buf list, b;
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    buf_init_fixed(&b, mem, sizeof mem);
    if (rdata.n > 0)
        assert_true(list_put_str(&list, rdata));
    assert_true(i < the->n_rr);
    struct ipc_rr_answer m = {.token = the->rr[i].token,
                              .status = (uint8_t)status,
                              .is_secure = is_secure,
                              .rdata = buf_str(&list),
                              .why = status == DNS_STATUS_OK ? STR_NIL : STR("TLSA of it: SERVFAIL")};
    assert_true(ipc_encode_rr_answer(&m, &b));
    the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_RR_ANSWER, buf_str(&b), NULL);
    end_turn();
}

#define ENVELOPE "MAIL FROM:<a@x.test>\nRCPT TO:<r@y.test>\nDATA\n"

/* The job on c goes well. */
static void takes(struct conn *c)
{
    size_t n = the->n_results;
    expect(c, ENVELOPE);
    say(c, "250 ok\n250 ok\n354 go\n");
    expect(c, "x\n.\n");
    say(c, "250 2.0.0 taken\n");
    assert_int_equal(the->n_results, n + 1);
    assert_int_equal(the->results[n].kind, RESULT_OK);
}

static const struct result *last_result(size_t n)
{
    assert_int_equal(the->n_results, n);
    return &the->results[n - 1];
}

static int setup(void **state)
{
    UNUSED(state);
    the = calloc(1, sizeof *the);
    assert_non_null(the);
    the->world = (struct world){&ops, &the->log};
    the->now_ms = START_MS;
    rng_seed(&the->rng, 1);
    list_init(&the->hooks);
    the->config = (struct config){.smtp_port = 25, .memory_max = 16 << 20};
    the->config.policy.hostname = STR("me.test");
    the->env = (struct role_env){.world = &the->world, .role = ROLE_RELAY, .config = &the->config};
    the->queue.object.ops = the->lookup.object.ops = the->agent.object.ops = &ops;
    the->env.peers[ROLE_QUEUE][0] = &the->queue;
    the->env.peers[ROLE_LOOKUP][0] = &the->lookup;
    the->env.peers[ROLE_AGENT][0] = &the->agent;
    struct crypto *crypto;
    assert_int_equal(crypto_new(&crypto), ERR_OK);
    the->env.ext = crypto;
    the->self = relay_role.create(&the->env);
    assert_non_null(the->self);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    struct crypto *crypto = the->env.ext;
    relay_role.del(the->self);
    crypto_del(&crypto);
    assert_int_equal(the->n_sessions, 0);
    for (size_t i = 0; i < CONTEXTS_MAX; i++)
        assert_int_equal(the->contexts[i].n_refs, 0);
    for (size_t i = 0; i < the->n_conns; i++)
        buf_fini(&the->conns[i].out);
    free(the);
    return 0;
}
