/* tests/sim/tls_test.c: TLS of the simulated world keeps the promises of base/world_tls.h as far as roles can
 * see. */
#include "base/limits.h"
#include "base/mem.h"
#include "sim/sim_tls.h"
#include "sim/sim_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum signer { SIGNER_NONE = 0, SIGNER_NOW, SIGNER_LATER, SIGNER_FAILS, SIGNER_NEVER };

struct plan {
    const char *chains[2]; /* the server's */
    struct tls_server_conf server;
    const char *anchors, *ours, *name, *alpn; /* the client's */
    enum tls_check check;
    struct tls_tlsa tlsa;
    enum signer signer;
    const char *first; /* the client says this and speaks no TLS */
    bool server_speaks_none;
    const char *client_why, *server_why; /* NULL: well */
    enum err err;                        /* of both that fail; 0: ERR_TLS */
};

struct end {
    struct world *w;
    struct conn *c;
    struct tls_context *context;
    bool is_done;
    enum err err;
    char why[256], text[64];
    size_t n;
    struct tls_facts facts;
    enum tls_fault fault;
    unsigned char exporter[32], end_point[64];
    size_t n_end_point;
};
struct scene {
    const struct plan *plan;
    struct sim *sim;
    struct sim_host *a, *b;
    struct sim_proc *pa, *pb;
    struct end client, server;
    struct timer later;
    uint64_t token;
    unsigned n_asked;
};

static void say(struct conn *c, const char *text)
{
    size_t n;
    for (struct str s = str_from_c(text); s.n > 0; s = str_skip(s, n))
        assert_int_equal(conn_write(c, &s, 1, &n), ERR_OK);
}

static void on_ready(void *arg, struct conn *c, unsigned ready)
{
    struct end *e = arg;
    size_t n;
    UNUSED(ready);
    enum err err = conn_read(c, e->text + e->n, sizeof e->text - 1 - e->n, &n);
    e->n += n;
    if (err != ERR_OK && err != ERR_AGAIN)
        conn_want(c, 0);
}

static const struct conn_user user = {on_ready};

static void on_shaken(void *arg, struct conn *c, enum err err, struct str why)
{
    struct end *e = arg;
    assert_false(e->is_done);
    e->is_done = true;
    e->err = err;
    assert_true(str_to_c(why, e->why, sizeof e->why));
    e->fault = conn_tls_fault(c);
    assert_true((err == ERR_OK) == (conn_tls(c) != NULL));
    if (err != ERR_OK)
        return;
    e->facts = *conn_tls(c);
    assert_true(conn_tls_exporter(c, e->exporter));
    assert_true(conn_tls_server_end_point(c, e->end_point, &e->n_end_point));
    say(c, "hello");
    conn_set_user(c, &user, e);
    conn_want(c, CONN_READABLE);
}

static void on_later(struct timer *t)
{
    struct scene *s = container_of(t, struct scene, later);
    world_tls_signed(s->server.w, s->token, ERR_OK, STR("signed"));
}

static void on_sign(void *arg, const struct tls_sign *q)
{
    struct scene *s = arg;
    s->n_asked++;
    s->token = q->token;
    s->later.fire = on_later;
    if (s->plan->signer == SIGNER_NOW)
        world_tls_signed(s->server.w, q->token, ERR_OK, STR("signed"));
    else if (s->plan->signer == SIGNER_LATER)
        world_timer_set(s->server.w, &s->later, world_now_ms(s->server.w) + 700);
    else if (s->plan->signer == SIGNER_FAILS)
        world_tls_signed(s->server.w, q->token, ERR_RESET, STR_NIL);
}

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    struct scene *s = arg;
    UNUSED(l);
    s->server.c = c;
    if (s->plan->server_speaks_none) {
        say(c, "220 this is no TLS\r\n");
        return;
    }
    struct tls_start start = {.context = s->server.context, .deadline_ms = world_now_ms(s->server.w) + 10000};
    assert_int_equal(conn_tls_start(c, true, &start, on_shaken, &s->server), ERR_OK);
}

static void server_main(struct world *w, void *arg)
{
    static const struct listener_user acceptor = {on_accept};
    struct scene *s = arg;
    const struct plan *p = s->plan;
    struct netaddr at;
    struct listener *l;
    char mem[256];
    struct buf why;
    struct tls_certificate certs[2] = {{str_from_c(p->chains[0]), 5}, {str_from_c(p->chains[1]), 6}};
    struct tls_server_conf conf = p->server;
    conf.certificates = certs;
    conf.n_certificates = p->chains[1] == NULL ? 1 : 2;
    buf_init_fixed(&why, mem, sizeof mem);
    s->server.w = w;
    s->server.context = world_tls_server(w, &conf, &why);
    assert_non_null(s->server.context);
    if (p->signer != SIGNER_NONE)
        world_tls_set_signer(w, &(struct tls_signer){s, on_sign});
    assert_true(netaddr_parse(STR("0.0.0.0:25"), 0, &at));
    assert_int_equal(world_listen(w, &at, 0, &l), ERR_OK);
    listener_set_user(l, &acceptor, s);
}

static void on_connected(void *arg, enum err err, struct conn *c)
{
    struct scene *s = arg;
    const struct plan *p = s->plan;
    struct str names[] = {str_from_c(p->name)};
    assert_int_equal(err, ERR_OK);
    s->client.c = c;
    if (p->first != NULL) {
        say(c, p->first);
        return;
    }
    struct tls_start start = {.context = s->client.context,
                              .deadline_ms = world_now_ms(s->client.w) + 10000,
                              .server_name = names[0],
                              .alpn = str_from_c(p->alpn),
                              .check = p->check,
                              .names = names,
                              .n_names = 1,
                              .tlsa = &p->tlsa,
                              .n_tlsa = p->tlsa.data.n > 0 ? 1 : 0};
    assert_int_equal(conn_tls_start(c, false, &start, on_shaken, &s->client), ERR_OK);
    assert_false(s->client.is_done);
}

static void client_main(struct world *w, void *arg)
{
    struct scene *s = arg;
    struct netaddr to = *sim_host_addr(s->b);
    char mem[256];
    struct buf why;
    struct tls_certificate ours = {str_from_c(s->plan->ours), 1};
    struct tls_client_conf conf = {.ca = str_from_c(s->plan->anchors),
                                   .certificate = s->plan->ours == NULL ? NULL : &ours};
    buf_init_fixed(&why, mem, sizeof mem);
    to.port = 25;
    s->client.w = w;
    s->client.context = world_tls_client(w, &conf, &why);
    assert_non_null(s->client.context);
    assert_non_null(world_connect(w, &to, NULL, world_now_ms(w) + 30000, on_connected, s));
}

static struct scene *play(const struct plan *p, uint64_t seed)
{
    struct scene *s = mem_must_new(struct scene);
    s->plan = p;
    s->sim = sim_new(seed);
    s->a = sim_host_new(s->sim, "a", "10.0.0.1");
    s->b = sim_host_new(s->sim, "b", "10.0.0.2");
    sim_plan(s->sim)->split_ppm = 300000;
    s->pb = sim_proc_new(s->b, "server", server_main, NULL, s);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    s->pa = sim_proc_new(s->a, "client", client_main, NULL, s);
    return s;
}

static void scene_del(struct scene *s)
{
    sim_del(&s->sim);
    mem_free(s);
}

static void check_end(const struct end *e, const char *why, enum err err, size_t row)
{
    if (!e->is_done || (why == NULL ? e->err != ERR_OK : strstr(e->why, why) == NULL))
        fail_msg("row %zu: done %d, \"%s\", not \"%s\"", row, e->is_done, e->why, why == NULL ? "" : why);
    if (why != NULL)
        assert_int_equal(e->err, err == ERR_OK ? ERR_TLS : err);
}

#define MX "mx.example.org by=root"
#define REFUSED "the other side refused the TLS handshake: "
#define IN_TIME "in time"

static const struct plan plans[] = {
    {.chains = {MX},
     .anchors = "root",
     .name = "mx.example.org",
     .check = TLS_CHECK_PKIX,
     .signer = SIGNER_NOW},
    {.chains = {MX},
     .anchors = "root",
     .name = "mx.example.org",
     .check = TLS_CHECK_PKIX,
     .signer = SIGNER_LATER},
    {.chains = {"other", "*.example.org by=root"},
     .anchors = "root",
     .name = "mx.example.org",
     .check = TLS_CHECK_PKIX,
     .signer = SIGNER_NOW},
    {.chains = {MX},
     .anchors = "another",
     .name = "mx.example.org",
     .check = TLS_CHECK_PKIX,
     .signer = SIGNER_NOW,
     .client_why = "unable to get local issuer",
     .server_why = REFUSED "bad certificate"},
    {.chains = {MX},
     .anchors = "root",
     .name = "mx.example.com",
     .check = TLS_CHECK_PKIX,
     .signer = SIGNER_NOW,
     .client_why = "hostname mismatch",
     .server_why = REFUSED},
    {.chains = {MX " expired"},
     .anchors = "root",
     .name = "mx.example.org",
     .check = TLS_CHECK_PKIX,
     .signer = SIGNER_NOW,
     .client_why = "certificate has expired",
     .server_why = REFUSED},
    {.chains = {MX " expired"}, .name = "mx.example.com", .signer = SIGNER_NOW},
    {.chains = {MX},
     .name = "mx.example.com",
     .check = TLS_CHECK_DANE,
     .tlsa = {3, 1, 1, STR_INIT(MX)},
     .signer = SIGNER_NOW},
    {.chains = {MX},
     .name = "mx.example.org",
     .check = TLS_CHECK_DANE,
     .tlsa = {2, 0, 1, STR_INIT(MX)},
     .signer = SIGNER_NOW},
    {.chains = {MX},
     .name = "mx.example.com",
     .check = TLS_CHECK_DANE,
     .tlsa = {2, 0, 1, STR_INIT(MX)},
     .signer = SIGNER_NOW,
     .client_why = "no matching DANE",
     .server_why = REFUSED},
    {.chains = {MX},
     .name = "mx.example.com",
     .check = TLS_CHECK_DANE,
     .tlsa = {1, 0, 1, STR_INIT("?")},
     .signer = SIGNER_NOW},
    {.chains = {MX}, .server = {.alpn = STR_INIT("smtp")}, .alpn = "smtp", .name = "x", .signer = SIGNER_NOW},
    {.chains = {MX},
     .server = {.alpn = STR_INIT("smtp")},
     .alpn = "h2",
     .name = "x",
     .signer = SIGNER_NOW,
     .client_why = REFUSED "no application protocol",
     .server_why = "other protocols"},
    {.chains = {MX},
     .server = {.ask_certificate = true, .client_ca = STR_INIT("root")},
     .ours = "relay.example.org by=root",
     .name = "x",
     .signer = SIGNER_NOW},
    {.chains = {MX},
     .name = "x",
     .signer = SIGNER_FAILS,
     .client_why = REFUSED "internal error",
     .server_why = "no signature was made with our key: connection broken"},
    {.chains = {MX},
     .name = "x",
     .signer = SIGNER_NONE,
     .client_why = REFUSED "internal error",
     .server_why = "no signature was made with our key: not found"},
    {.chains = {MX},
     .name = "x",
     .signer = SIGNER_NEVER,
     .client_why = IN_TIME,
     .server_why = "no signature was made in time",
     .err = ERR_TIMEOUT},
};

/* The kind by the words. */
static enum tls_fault fault_of(const struct plan *p)
{
    static const struct {
        const char *words;
        enum tls_fault fault;
    } kinds[] = {
        {"unable to get local issuer", TLS_FAULT_UNTRUSTED},
        {"hostname mismatch", TLS_FAULT_NAME},
        {"certificate has expired", TLS_FAULT_EXPIRED},
        {"no matching DANE", TLS_FAULT_RECORDS},
        {"", TLS_FAULT_HANDSHAKE},
    };
    for (size_t i = 0; p->client_why != NULL; i++) {
        if (strstr(p->client_why, kinds[i].words) != NULL)
            return kinds[i].fault;
    }
    return TLS_FAULT_NONE;
}

static void rows(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        const struct plan *p = &plans[i];
        struct scene *s = play(p, i + 1);
        sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
        check_end(&s->client, p->client_why, p->err, i);
        check_end(&s->server, p->server_why, p->err, i);
        if (p->client_why != NULL || p->check == TLS_CHECK_PKIX || s->client.facts.is_dane)
            assert_int_equal(s->client.fault, fault_of(p));
        if (p->client_why == NULL) {
            const struct tls_facts *f = &s->client.facts;
            assert_string_equal(s->client.text, "hello");
            assert_string_equal(s->server.text, "hello");
            assert_memory_equal(s->client.exporter, s->server.exporter, 32);
            assert_int_equal(s->client.n_end_point, s->server.n_end_point);
            assert_memory_equal(s->client.end_point, s->server.end_point, s->client.n_end_point);
            assert_int_equal(s->n_asked, 1);
            assert_int_equal(f->is_dane, p->tlsa.usage >= 2);
            assert_true(p->check != TLS_CHECK_PKIX || (f->is_trusted && f->is_named));
            assert_int_equal(s->server.facts.has_peer_certificate, p->ours != NULL);
            assert_int_equal(s->server.facts.is_trusted, p->ours != NULL);
        }
        scene_del(s);
    }
}

static void strangers(void **state)
{
    UNUSED(state);
    static const struct plan talks = {
        .chains = {MX}, .name = "x", .signer = SIGNER_NOW, .first = "EHLO a\r\n"};
    static const struct plan silent = {.chains = {MX}, .name = "x", .signer = SIGNER_NOW, .first = "SIM"};
    static const struct plan greets = {.chains = {MX}, .name = "x", .server_speaks_none = true};
    struct scene *s = play(&talks, 1);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    check_end(&s->server, "the other side spoke no TLS", ERR_TLS, 0);
    scene_del(s);
    s = play(&silent, 1);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
    check_end(&s->server, "did not finish the TLS handshake in time", ERR_TIMEOUT, 0);
    scene_del(s);
    s = play(&greets, 1);
    sim_run_until(s->sim, sim_now_us(s->sim) + SIM_S);
    check_end(&s->client, "the other side spoke no TLS", ERR_TLS, 0);
    scene_del(s);
}

/* A process dies at each moment of a handshake: the other hears of it, and nothing of it is left. */
static void killed(void **state)
{
    UNUSED(state);
    static const struct plan p = {.chains = {MX}, .name = "x", .signer = SIGNER_LATER};
    for (uint64_t ms = 0; ms < 1500; ms += 50) {
        for (int i = 0; i < 2; i++) {
            struct scene *s = play(&p, 7);
            sim_run_until(s->sim, sim_now_us(s->sim) + ms * SIM_MS);
            sim_proc_kill(i == 0 ? s->pa : s->pb, "signal 9");
            struct end *other = i == 0 ? &s->server : &s->client;
            bool was_done = other->is_done, has_begun = s->server.c != NULL && s->client.c != NULL;
            if (i == 1 && !has_begun) { /* then there is nobody to connect to */
                scene_del(s);
                continue;
            }
            sim_run_until(s->sim, sim_now_us(s->sim) + SIM_MINUTE);
            if (has_begun && !was_done)
                assert_true(other->is_done);
            scene_del(s);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),
        cmocka_unit_test(strangers),
        cmocka_unit_test(killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
