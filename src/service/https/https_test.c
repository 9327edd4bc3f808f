/* The role at port 443: whom it serves, with which certificates, what it shows an authority, and when visits
 * end. What is said is proto/sts_server_test.c, and TLS that of the world at hand. */
#include "service/https/https.h"

#include "service/acme/acme_testing.h"

#define GET "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n\r\n"
#define POLICY "version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmax_age: 604800\r\n"
static const unsigned char digest[HTTPS_DIGEST] = "of a key authorization, 32 octet";

static const struct str mx[] = {STR_INIT("mx.example.org")};
static const struct sts_host hosts[] = {{STR_INIT("example.net"), {MTA_STS_TESTING, 60, mx, 1}},
                                        {STR_INIT("example.org"), {MTA_STS_ENFORCE, 604800, mx, 1}}};
static const struct str names[] = {STR_INIT("mx.example.org"), STR_INIT("mta-sts.example.org")};
static const struct certificate_conf certificates[] = {
    {.cert = STR_INIT("/mx.pem"), .names = names, .n_names = 2}, {.cert = STR_INIT("/b.pem")}};
static struct role_certificate in_force[2];

static void put_in_force(size_t i, uint32_t key)
{
    in_force[i] = (struct role_certificate){.is_there = true,
                                            .key = key,
                                            .uses = KEY_USE_SERVER,
                                            .name = certificates[i].cert,
                                            .chain = STR("-----BEGIN CERTIFICATE-----")};
    if (the->self != NULL) {
        https_role.certificate(the->self, i);
        pass(0);
    }
}

static struct tls_context *present(void)
{
    struct https *r = the->self;
    return r->tls;
}

static int set_up(void **state)
{
    UNUSED(state);
    begin(ROLE_HTTPS, &https_role, NULL);
    memset(in_force, 0, sizeof in_force);
    the->covered = "mta-sts.example.org mta-sts.example.net";
    the->config.certificates = certificates;
    the->config.n_certificates = 2;
    the->config.sts_hosts = hosts;
    the->config.n_sts_hosts = 2;
    the->config.n_https_addrs = 2;
    the->env.certificates = in_force;
    the->env.n_certificates = 2;
    the->env.peers[ROLE_KEYS][0] = &the->keys;
    for (size_t i = 0; i < 2; i++) {
        the->listeners[i].object.ops = &ops;
        the->env.listeners[i] = &the->listeners[i];
    }
    the->env.n_listeners = 2;
    put_in_force(0, 11);
    create();
    return 0;
}

static struct conn *visit(void)
{
    struct listener *l = &the->listeners[the->n_conns % 2];
    struct conn *c = new_conn();
    assert_non_null(l->user);
    l->user->on_accept(l->arg, l, c);
    return c;
}

static void finish_tls(struct conn *c, enum err err)
{
    void (*fn)(void *arg, struct conn *c, enum err err, struct str why) = c->on_tls;
    assert_non_null(fn);
    c->on_tls = NULL;
    fn(c->tls_arg, c, err, err == ERR_OK ? STR_NIL : STR("the other side spoke no TLS"));
}

static struct conn *secure(void)
{
    struct conn *c = visit();
    finish_tls(c, ERR_OK);
    return c;
}

static bool has(const struct conn *c, const char *text)
{
    return str_find(buf_str(&c->out), str_from_c(text)) != STR_NPOS;
}

static void leave(struct conn *c)
{
    c->is_eof = true;
    c->user->on_ready(c->arg, c, CONN_READABLE);
    assert_true(c->is_closed);
}

static void prove(const char *name, size_t n_digest)
{
    char mem[1024];
    struct buf b;
    struct ipc_alpn_serve m = {.name = str_from_c(name), .digest = str_of(digest, n_digest)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_alpn_serve(&m, &b));
    hear(IPC_ALPN_SERVE, &b);
}

static void told(const char *want)
{
    assert_string_equal(the->told, want);
    the->told[0] = '\0';
}

/* ---- policies ---------------- */

static void serves(void **state)
{
    UNUSED(state);
    struct conn *c = visit();
    assert_int_equal(c->wanted, 0); /* nothing is read before the handshake is done */
    finish_tls(c, ERR_OK);
    for (size_t i = 0; i < sizeof GET - 1; i++) {
        assert_int_equal(c->out.n, 0);
        arrive(c, str_of(GET + i, 1));
    }
    assert_true(has(c, "HTTP/1.1 200 OK") && has(c, "\r\n\r\n" POLICY) && c->is_shut);
    size_t n = c->out.n;
    arrive(c, STR(GET)); /* one request a connection */
    assert_int_equal(c->out.n, n);
    leave(c);
    c = secure();
    arrive(c, STR("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.net\r\n\r\n"));
    assert_true(has(c, "mode: testing\r\n") && has(c, "max_age: 60\r\n"));
    leave(c);
    c = secure();
    arrive(c, STR("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.com\r\n\r\n"));
    assert_true(has(c, "404"));
    leave(c);
    assert_true(was_logged("debug test https.asked by=192.0.2.1 status=200")); /* strangers fill no log */
    assert_true(was_logged("debug test https.asked by=192.0.2.1 status=404"));
}

static void slow_reader(void **state)
{
    UNUSED(state);
    struct conn *c = secure();
    c->room = 10;
    arrive(c, STR(GET));
    assert_false(c->is_shut);
    for (unsigned i = 0; i < 1000 && !c->is_shut; i++) {
        assert_int_equal(c->wanted, CONN_WRITABLE);
        c->room = 10;
        c->user->on_ready(c->arg, c, CONN_WRITABLE);
    }
    assert_true(c->is_shut && has(c, "\r\n\r\n" POLICY));
    leave(c);
}

static void visits_are_short(void **state)
{
    UNUSED(state);
    struct conn *c = secure();
    pass(HTTPS_VISIT_MS - 1);
    arrive(c, STR("G")); /* octet by octet is no longer than the whole */
    assert_false(c->is_closed);
    pass(1);
    assert_true(c->is_closed);
    assert_int_equal(c->out.n, 0);
    c = visit(); /* within the handshake */
    pass(HTTPS_VISIT_MS);
    assert_true(c->is_closed);
    leave(secure());
}

static void failed_handshakes(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 5; i++) {
        struct conn *c = visit();
        finish_tls(c, ERR_TLS);
        assert_true(c->is_closed);
    }
    assert_true(was_logged("https.tls_failed by=192.0.2.1 why=\"the other side spoke no TLS\""));
    assert_false(was_logged("since_start=2")); /* one line a while */
    pass(HTTPS_LOG_MS);
    finish_tls(visit(), ERR_TLS);
    assert_true(was_logged("since_start=6"));
}

/* Who comes gets in; the oldest had his time. */
static void full_house(void **state)
{
    UNUSED(state);
    struct conn *first = visit(), *second = secure();
    for (unsigned i = 2; i < HTTPS_VISITS_MAX; i++)
        (void)visit();
    assert_false(first->is_closed);
    struct conn *c = secure();
    assert_true(first->is_closed && !second->is_closed);
    arrive(c, STR(GET));
    assert_true(has(c, "200 OK"));
    (void)visit();
    assert_true(second->is_closed);
    pass(HTTPS_VISIT_MS);
    for (size_t i = 0; i < the->n_conns; i++)
        assert_true(the->conns[i].is_closed);
}

/* ---- certificates and keys ---------------- */

static void certificates_change(void **state)
{
    UNUSED(state);
    struct tls_context *old = present();
    assert_true(old->n_certificates == 1 && old->keys[0] == 11);
    https_role.certificate(the->self, 1); /* two at a time are one context */
    put_in_force(1, 12);
    assert_int_equal(the->n_contexts, 2);
    assert_true(present()->n_certificates == 2 && present()->keys[1] == 12);
    assert_int_equal(old->n_refs, 0);
    old = present();
    the->has_bad_certificate = true;
    put_in_force(1, 13);
    assert_ptr_equal(present(), old); /* the old one stays in force */
    assert_true(was_logged("https.bad_certificate why=\"no good\""));
    the->has_bad_certificate = false;
    in_force[0].name = STR("/other.pem"); /* of another configuration */
    put_in_force(1, 14);
    assert_true(present()->n_certificates == 1 && present()->keys[0] == 14);
    in_force[1].uses = KEY_USE_CLIENT;
    https_role.certificate(the->self, 1);
    pass(0);
    assert_null(present());
    assert_true(visit()->is_closed); /* nobody can be served */
}

static void uncovered(void **state)
{
    UNUSED(state);
    assert_false(was_logged("https.no_certificate"));
    the->covered = "mta-sts.example.org";
    put_in_force(0, 12);
    assert_true(was_logged("warn test https.no_certificate name=mta-sts.example.net"));
    assert_false(was_logged("name=mta-sts.example.org"));
}

static void signs(void **state)
{
    UNUSED(state);
    const struct tls_sign what = {.token = 7, .key = 11, .octets = STR("digest")};
    the->signer.sign(the->signer.arg, &what);
    assert_int_equal(the->n_sign_asks, 1);
    char mem[128];
    struct buf b;
    struct ipc_sign_answer m = {.token = 7, .err = ERR_OK, .signature = STR("signature")};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sign_answer(&m, &b));
    the->keys.user->on_message(the->keys.arg, &the->keys, IPC_SIGN_ANSWER, buf_str(&b), NULL);
    assert_true(the->signed_token == 7 && the->signed_err == ERR_OK);
    the->signer.sign(the->signer.arg, &(struct tls_sign){.token = 8, .key = 11, .octets = STR("digest")});
    the->keys.user->on_closed(the->keys.arg, &the->keys);
    assert_true(the->signed_token == 8 && the->signed_err == ERR_CLOSED);
    the->signer.sign(the->signer.arg, &(struct tls_sign){.token = 9, .key = 11, .octets = STR("digest")});
    assert_true(the->signed_token == 9 && the->signed_err == ERR_AGAIN);
    the->keys.is_closed = false;
    https_role.peer(the->self, ROLE_KEYS, 0, &the->keys); /* it is there again */
    the->signer.sign(the->signer.arg, &(struct tls_sign){.token = 10, .key = 11, .octets = STR("digest")});
    assert_int_equal(the->n_sign_asks, 3);
    the->keys.user->on_message(the->keys.arg, &the->keys, IPC_SIGN_ASK, buf_str(&b),
                               NULL); /* it may not ask */
    assert_true(the->keys.is_closed);
}

static void reloads(void **state)
{
    UNUSED(state);
    static const struct sts_host other[] = {{STR_INIT("example.org"), {MTA_STS_NONE, 60, NULL, 0}}};
    struct config next = the->config;
    next.sts_hosts = other;
    next.n_sts_hosts = 1;
    next.n_https_addrs = 1;
    struct conn *c = secure();
    the->env.config = &next;
    https_role.reload(the->self, &the->config);
    assert_int_equal(the->n_released, 1);
    assert_true(the->listeners[1].is_closed && the->env.listeners[1] == NULL &&
                the->listeners[0].user != NULL);
    arrive(c, STR(GET));
    assert_true(has(c, "\r\n\r\nversion: STSv1\r\nmode: none\r\nmax_age: 60\r\n"));
    leave(c);
}

static void drains(void **state)
{
    UNUSED(state);
    struct conn *c = secure(), *shaking = visit();
    https_role.drain(the->self, the->now_ms + 1000);
    assert_true(c->is_closed && shaking->is_closed);
    assert_null(the->listeners[0].user);
    assert_int_equal(the->n_drained, 1);
}

/* ---- the authority ---------------- */

static void proves(void **state)
{
    UNUSED(state);
    prove("mta-sts.example.org", HTTPS_DIGEST);
    prove("MX.example.org", HTTPS_DIGEST);
    told("proving(mta-sts.example.org) proving(MX.example.org) ");
    assert_int_equal(present()->n_proofs, 2);
    the->facts.alpn = STR("acme-tls/1");
    the->facts.server_name = STR("mta-sts.example.org");
    struct conn *c = secure(); /* it has seen what it wants */
    assert_true(c->is_closed);
    assert_int_equal(c->out.n, 0);
    assert_true(was_logged("info test https.proven name=mta-sts.example.org to=192.0.2.1"));
    the->facts.alpn = STR("http/1.1");
    c = secure();
    arrive(c, STR(GET));
    assert_true(has(c, "200 OK"));
    leave(c);
    put_in_force(1, 12); /* a new context has them, too, and nobody is told again */
    assert_int_equal(present()->n_proofs, 2);
    told("");
    prove("", 0);
    told("proving() ");
    assert_int_equal(present()->n_proofs, 0);
    put_in_force(1, 13);
    assert_int_equal(present()->n_proofs, 0);
}

/* Without a certificate nothing can be shown yet: then it is told when it can. */
static void proves_later(void **state)
{
    UNUSED(state);
    in_force[0].is_there = false;
    https_role.certificate(the->self, 0);
    pass(0);
    assert_null(present());
    prove("mx.example.org", HTTPS_DIGEST);
    told("");
    put_in_force(0, 12);
    told("proving(mx.example.org) ");
    the->prove_err = ERR_NOMEM;
    prove("mta-sts.example.org", HTTPS_DIGEST);
    told("");
    assert_true(was_logged("https.unproven name=mta-sts.example.org"));
}

static void not_for_others(void **state)
{
    UNUSED(state);
    prove("www.example.org", HTTPS_DIGEST);
    told("");
    assert_int_equal(present()->n_proofs, 0);
    assert_true(was_logged("https.unwanted name=www.example.org"));
    assert_false(the->other.is_closed);
}

static void acme_goes(void **state)
{
    UNUSED(state);
    prove("mx.example.org", HTTPS_DIGEST);
    the->other.user->on_closed(the->other.arg, &the->other);
    assert_int_equal(present()->n_proofs, 0);
    assert_true(the->other.is_closed);
}

static void malformed(void **state)
{
    UNUSED(state);
    prove("mx.example.org", HTTPS_DIGEST - 1);
    assert_true(the->other.is_closed);
    assert_int_equal(present()->n_proofs, 0);
}

static void too_many_proofs(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < TLS_PROOFS_MAX; i++) {
        prove("mx.example.org", HTTPS_DIGEST);
        told("proving(mx.example.org) ");
    }
    assert_false(the->other.is_closed);
    prove("mx.example.org", HTTPS_DIGEST);
    assert_true(the->other.is_closed);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, finish)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(serves),           T(slow_reader),
        T(visits_are_short), T(failed_handshakes),
        T(full_house),       T(certificates_change),
        T(uncovered),        T(signs),
        T(reloads),          T(drains),
        T(proves),           T(proves_later),
        T(not_for_others),   T(acme_goes),
        T(malformed),        T(too_many_proofs),
    };
    return cmocka_run_group_tests_name("https", tests, NULL, NULL);
}
