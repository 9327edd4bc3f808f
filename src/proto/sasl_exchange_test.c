/* The client against the server, with the verifiers behind it: every mechanism, and with everything between
 * them damaged. */
#include "proto/sasl_client.h"
#include "proto/sasl_server.h"

#include "proto/sasl_testing.h"

enum { MESSAGES_MAX = 8 };

/* What happens to a message on its way: the i-th of an exchange (counted over both directions) loses its end
 * or has a bit turned. */
struct damage {
    size_t message;
    bool is_cut;
    size_t at; /* octets left, or the bit */
};
struct outcome {
    bool server_says_so, client_believes_it;
    enum sasl_failure server_why, client_why;
    size_t n_messages;
    size_t sizes[MESSAGES_MAX];
};

struct pair {
    struct keeper keeper;
    struct sasl_server_conf server;
    struct sasl_client_conf client;
    const struct damage *damage;
    bool no_initial;
};

static void pair_init(struct pair *p, const struct crypto *c)
{
    *p = (struct pair){.server = {.mechanisms = SASL_ALL,
                                  .client_identity = STR("cn=user"),
                                  .tls_exporter = TEST_EXPORTER,
                                  .nonce = TEST_NONCE},
                       .client = {.crypto = c,
                                  .user = STR("user"),
                                  .password = STR("pencil"),
                                  .token = STR("good-token"),
                                  .has_certificate = true,
                                  .is_encrypted = true,
                                  .tls_exporter = TEST_EXPORTER,
                                  .host = STR("mail.example"),
                                  .port = 587}};
    keeper_init(&p->keeper, c);
}

/* Carries a message over, with its damage. */
static struct str carry(struct pair *p, struct outcome *o, struct str message, char *mem)
{
    size_t i = o->n_messages++;
    must(i < MESSAGES_MAX && message.n <= SASL_RESPONSE_MAX);
    o->sizes[i] = message.n;
    if (message.n > 0)
        memcpy(mem, message.p, message.n);
    if (p->damage == NULL || p->damage->message != i)
        return str_of(mem, message.n);
    if (p->damage->is_cut)
        return str_of(mem, p->damage->at);
    mem[p->damage->at / 8] = (char)(mem[p->damage->at / 8] ^ 1 << p->damage->at % 8);
    return str_of(mem, message.n);
}

static struct outcome run(struct pair *p, enum sasl_mechanism m)
{
    static char mem[SASL_RESPONSE_MAX];
    struct outcome o = {0};
    struct str message, initial;
    struct sasl_client *c =
        sasl_client_new(&p->client, m, sasl_server_offered(&p->server), STR("client-nonce-18-oct"));
    struct sasl_server *s = sasl_server_new(&p->server);
    assert_true(c != NULL && s != NULL);
    bool has_initial = !p->no_initial && sasl_client_initial(c, &message);
    if (has_initial)
        initial = carry(p, &o, message, mem);
    enum sasl_step step = sasl_server_start(s, sasl_name(m), has_initial ? &initial : NULL);
    step = keeper_answers(&p->keeper, s, step);
    while (step == SASL_STEP_CHALLENGE) {
        struct str arrived = carry(p, &o, sasl_server_challenge(s), mem);
        if (sasl_client_feed(c, arrived, &message) == SASL_CLIENT_FAILED) {
            step = sasl_server_cancel(s);
            break;
        }
        step = keeper_answers(&p->keeper, s, sasl_server_feed(s, carry(p, &o, message, mem)));
    }
    o.server_says_so = step == SASL_STEP_DONE;
    o.server_why = sasl_server_failure(s);
    if (o.server_says_so) {
        assert_true(str_eq(sasl_server_login(s), STR("user")));
        o.client_believes_it = sasl_client_succeeded(c);
    }
    o.client_why = sasl_client_failure(c);
    sasl_client_del(&c);
    sasl_server_del(&s);
    return o;
}

static void every_mechanism_logs_in(void **state)
{
    struct pair p;
    for (int no_initial = 0; no_initial < 2; no_initial++) {
        for (unsigned m = SASL_NONE + 1; m < SASL_MECHANISMS; m++) {
            pair_init(&p, *state);
            p.no_initial = no_initial;
            if (sasl_is_scram((enum sasl_mechanism)m) && !sasl_is_plus((enum sasl_mechanism)m))
                p.client.allowed = SASL_BIT(m); /* else it were a downgrade to take the one without -PLUS */
            struct outcome o = run(&p, (enum sasl_mechanism)m);
            assert_true(o.server_says_so && o.client_believes_it);
        }
    }
}

static void wrong_secrets_do_not(void **state)
{
    struct pair p;
    for (unsigned m = SASL_NONE + 1; m < SASL_MECHANISMS; m++) {
        for (int who = 0; who < 2; who++) {
            pair_init(&p, *state);
            p.client.allowed = SASL_BIT(m);
            p.client.password = who == 0 ? STR("pencil2") : p.client.password;
            p.client.token = who == 0 ? STR("bad-token") : p.client.token;
            p.client.user = who == 1 ? STR("user2") : p.client.user;
            p.server.client_identity = STR("cn=somebody");
            struct outcome o = run(&p, (enum sasl_mechanism)m);
            assert_false(o.server_says_so);
            assert_int_equal(o.server_why, SASL_FAIL_CREDENTIALS);
        }
    }
}

static void bindings_must_be_the_same(void **state)
{
    struct pair p;
    struct outcome o;
    pair_init(&p, *state);
    p.client.tls_exporter = STR("that of another connection");
    o = run(&p, SASL_SCRAM_SHA256_PLUS);
    assert_false(o.server_says_so);
    assert_int_equal(o.server_why, SASL_FAIL_BINDING);
    /* the other kind of binding */
    pair_init(&p, *state);
    p.client.tls_exporter = STR_NIL;
    p.client.tls_server_end_point = p.server.tls_server_end_point = TEST_END_POINT;
    o = run(&p, SASL_SCRAM_SHA1_PLUS);
    assert_true(o.server_says_so && o.client_believes_it);
    p.client.tls_server_end_point = STR("of another certificate");
    assert_int_equal(run(&p, SASL_SCRAM_SHA1_PLUS).server_why, SASL_FAIL_BINDING);
}

/* Somebody in the middle takes -PLUS off the list: the client says 'y', and the server knows better. */
static void downgrades_are_seen(void **state)
{
    struct pair p;
    pair_init(&p, *state);
    struct sasl_server_conf without = p.server;
    without.mechanisms &= ~SASL_PLUS;
    struct sasl_client *c = sasl_client_new(&p.client, SASL_SCRAM_SHA256, sasl_server_offered(&without),
                                            STR("client-nonce-18-oct"));
    struct sasl_server *s = sasl_server_new(&p.server);
    struct str initial;
    assert_true(sasl_client_initial(c, &initial));
    assert_int_equal(sasl_server_start(s, STR("SCRAM-SHA-256"), &initial), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(s), SASL_FAIL_DOWNGRADE);
    sasl_server_del(&s);
    /* a server that has none takes it as it is meant */
    s = sasl_server_new(&without);
    assert_int_equal(sasl_server_start(s, STR("SCRAM-SHA-256"), &initial), SASL_STEP_QUESTION);
    sasl_server_del(&s);
    sasl_client_del(&c);
}

static void names_with_commas_and_more(void **state)
{
    static const struct str names[] = {STR_INIT("a,b=c"), STR_INIT("=2C"),
                                       STR_INIT("j\xc3\xbcrgen@example.org")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        static const enum sasl_mechanism ms[] = {SASL_SCRAM_SHA256_PLUS, SASL_OAUTHBEARER, SASL_XOAUTH2,
                                                 SASL_PLAIN};
        for (size_t k = 0; k < ARRAY_LEN(ms); k++) {
            struct pair p;
            struct str initial;
            pair_init(&p, *state);
            p.client.user = names[i];
            struct sasl_client *c = sasl_client_new(&p.client, ms[k], SASL_ALL, STR("client-nonce-18-oct"));
            struct sasl_server *s = sasl_server_new(&p.server);
            assert_true(sasl_client_initial(c, &initial));
            assert_int_equal(sasl_server_start(s, sasl_name(ms[k]), &initial), SASL_STEP_QUESTION);
            assert_true(str_eq(sasl_server_question(s)->user, names[i]));
            sasl_client_del(&c);
            sasl_server_del(&s);
        }
    }
}

/* Each message of an exchange cut at each octet and with each bit turned. With SCRAM the two ends never both
 * believe in it; with the others, whose messages nothing protects, nobody gets in as anybody else (run()
 * looks at the name). */
static void damage_on_the_way(void **state)
{
    static const enum sasl_mechanism ms[] = {SASL_SCRAM_SHA1_PLUS, SASL_OAUTHBEARER, SASL_XOAUTH2, SASL_PLAIN,
                                             SASL_LOGIN};
    for (size_t k = 0; k < ARRAY_LEN(ms); k++) {
        struct pair p;
        size_t n_damaged = 0;
        pair_init(&p, *state);
        const struct outcome whole = run(&p, ms[k]);
        assert_true(whole.client_believes_it);
        for (size_t i = 0; i < whole.n_messages; i++) {
            size_t n_cuts = whole.sizes[i], n_bits = 8 * whole.sizes[i];
            for (size_t at = 0; at < n_cuts + n_bits; at += sasl_is_scram(ms[k]) ? 3 : 1) {
                const struct damage d = {
                    .message = i, .is_cut = at < n_cuts, .at = at < n_cuts ? at : at - n_cuts};
                p.damage = &d;
                struct outcome o = run(&p, ms[k]);
                n_damaged++;
                if (sasl_is_scram(ms[k]))
                    assert_false(o.server_says_so && o.client_believes_it);
                assert_true(o.server_says_so || o.server_why != SASL_FAIL_NONE);
            }
        }
        p.damage = NULL;
        assert_true(n_damaged > 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mechanism_logs_in),    cmocka_unit_test(wrong_secrets_do_not),
        cmocka_unit_test(bindings_must_be_the_same),  cmocka_unit_test(downgrades_are_seen),
        cmocka_unit_test(names_with_commas_and_more), cmocka_unit_test(damage_on_the_way),
    };
    return cmocka_run_group_tests_name("sasl_exchange", tests, setup_crypto, teardown_crypto);
}
