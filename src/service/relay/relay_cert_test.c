/* Our own certificates on the way out: which context a handshake has, and who signs. */
#include "service/relay/relay_testing.h"

#define US "/etc/waxwing/us.pem"

/* The certificate at place i of the configuration; chain NULL: it is gone. */
static void comes(size_t i, const char *name, const char *chain, uint32_t key, uint8_t uses)
{
    static struct role_certificate list[2];
    assert_true(i < ARRAY_LEN(list));
    the->env.certificates = list;
    if (the->env.n_certificates <= i)
        the->env.n_certificates = i + 1;
    list[i] = (struct role_certificate){.is_there = chain != NULL,
                                        .key = key,
                                        .uses = uses,
                                        .name = str_from_c(name),
                                        .chain = str_from_c(chain == NULL ? "" : chain)};
    relay_role.certificate(the->self, i);
}

static void keys_come(void)
{
    the->keys.object.ops = &ops;
    the->keys.is_closed = false;
    relay_role.peer(the->self, ROLE_KEYS, 0, &the->keys);
}

static struct order order_of(uint64_t token, const char *certificate)
{
    return (struct order){.token = token, .hosts = {"192.0.2.1"}, .certificate = certificate};
}

static void done(struct conn *c)
{
    secures(c, false);
    greets_again(c);
    takes(c);
}

static void test_shown(void **state)
{
    UNUSED(state);
    comes(0, US, "our chain", 7, KEY_USE_CLIENT);
    assert_non_null(the->signer.sign);
    struct order o = order_of(1, US);
    give(&o);
    struct conn *c = offers_tls();
    assert_string_equal(c->tls_ours, "our chain");
    assert_int_equal(c->tls_key, 7);
    done(c);
    size_t n_conns = the->n_conns;
    o.token = 2; /* the connection serves who shows the same, */
    give(&o);
    takes(c);
    assert_int_equal(the->n_conns, n_conns);
    o = order_of(3, NULL); /* and nobody who shows nothing */
    give(&o);
    struct conn *plain = offers_tls();
    assert_string_equal(plain->tls_ours, "");
    done(plain);
    assert_int_equal(the->n_conns, n_conns + 1);
    comes(0, US, "renewed", 8, KEY_USE_CLIENT); /* for the next connection */
    server_closes(c);
    o = order_of(4, US);
    give(&o);
    c = offers_tls();
    assert_string_equal(c->tls_ours, "renewed");
    assert_int_equal(c->tls_key, 8);
    done(c);
}

/* It was asked for, so it doesn't go without. */
static void test_not_at_hand(void **state)
{
    UNUSED(state);
    comes(0, US, "a server's", 7, KEY_USE_SERVER);
    comes(1, "/etc/waxwing/other.pem", "other", 8, KEY_USE_CLIENT);
    for (uint64_t i = 1; i <= 3; i++) {
        struct order o = order_of(i, US);
        if (i == 2)
            comes(0, US, "it comes", 7, KEY_USE_CLIENT);
        if (i == 2)
            comes(0, US, NULL, 7, KEY_USE_CLIENT); /* and goes */
        if (i == 3) {                              /* a new one that can't be used, and none before */
            the->is_bad_chain = true;
            comes(0, US, "bad", 9, KEY_USE_CLIENT);
        }
        give(&o);
        const struct result *r = last_result(i);
        assert_true(r->kind == RESULT_TEMPORARY && r->esc.class == 4 && r->esc.subject == 3);
        assert_string_equal(r->text, "our certificate for this host is not at hand");
    }
    assert_int_equal(the->n_conns, 0);
    struct order o = order_of(4, US);
    o.tls = HOP_TLS_NONE; /* there is nowhere to show it */
    give(&o);
    takes(greets());
}

/* A user without a password: the certificate says who it is, and nothing else will do. */
static void test_login(void **state)
{
    static const char *const offers[] = {"250-mx\n250 AUTH PLAIN SCRAM-SHA-256 EXTERNAL\n",
                                         "250-mx\n250 AUTH PLAIN\n"};
    UNUSED(state);
    comes(0, US, "our chain", 7, KEY_USE_CLIENT);
    for (uint64_t i = 0; i < 2; i++) {
        struct order o = order_of(i, US);
        o.user = "me";
        o.site = i == 0 ? "host:a" : "host:b";
        o.tls = HOP_TLS_ENCRYPT;
        give(&o);
        struct conn *c = offers_tls();
        assert_string_equal(c->tls_ours, "our chain");
        secures(c, false);
        expect(c, "EHLO me.test\n");
        say(c, offers[i]);
        if (i == 1)
            break;
        expect(c, "AUTH EXTERNAL bWU=\n");
        say(c, "235 2.7.0 welcome\n");
        expect(c, "MAIL FROM:<a@x.test>\n");
        say(c, "250 ok\n");
        expect(c, "RCPT TO:<r@y.test>\n");
        say(c, "250 ok\n");
        expect(c, "DATA\n");
        say(c, "354 go\n");
        expect(c, "x\n.\n");
        say(c, "250 taken\n");
        assert_int_equal(last_result(1)->kind, RESULT_OK);
    }
    expect(&the->conns[the->n_conns - 1], "QUIT\n");
    say(&the->conns[the->n_conns - 1], "221 bye\n");
    const struct result *r = last_result(2);
    assert_true(r->kind == RESULT_TEMPORARY && r->stage == SMTP_AT_AUTH);
    assert_string_equal(r->text, "the server offers no login by a certificate (AUTH EXTERNAL)");
}

/* A bad one leaves what was in force. */
static void test_bad_renewal(void **state)
{
    UNUSED(state);
    comes(0, US, "our chain", 7, KEY_USE_CLIENT);
    the->is_bad_chain = true;
    comes(0, US, "bad", 8, KEY_USE_CLIENT);
    struct order o = order_of(1, US);
    give(&o);
    struct conn *c = offers_tls();
    assert_string_equal(c->tls_ours, "our chain");
    done(c);
}

static void test_reload(void **state)
{
    static const struct certificate_conf ours[] = {{.cert = STR_INIT(US), .key = STR_INIT("/k")}};
    UNUSED(state);
    comes(0, US, "our chain", 7, KEY_USE_CLIENT);
    struct config named = the->config, old = the->config;
    named.client_certificates = ours;
    named.n_client_certificates = 1;
    named.authorities = STR("others");
    the->env.config = &named;
    relay_role.reload(the->self, &old);
    struct order o = order_of(1, US);
    give(&o);
    done(offers_tls());
    the->env.config = &the->config;
    relay_role.reload(the->self, &named);
    o.site = "mx:b.test";
    o.token = 2;
    give(&o);
    assert_int_equal(last_result(2)->kind, RESULT_TEMPORARY);
}

static void asks(uint64_t token)
{
    the->signer.sign(the->signer.arg,
                     &(struct tls_sign){token, 7, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, STR("digest")});
}

static void answers_sign(uint64_t token, uint8_t err, const char *signature)
{
    char mem[256];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    struct ipc_sign_answer m = {.token = token, .err = err, .signature = str_from_c(signature)};
    assert_true(ipc_encode_sign_answer(&m, &b));
    the->keys.user->on_message(the->keys.arg, &the->keys, IPC_SIGN_ANSWER, buf_str(&b), NULL);
}

static void signed_as(uint64_t token, enum err err, const char *signature)
{
    assert_int_equal(the->signed_token, token);
    assert_int_equal(the->signed_err, err);
    assert_string_equal(the->signature, signature);
    the->signed_token = 0;
}

static void test_signatures(void **state)
{
    UNUSED(state);
    comes(0, US, "our chain", 7, KEY_USE_CLIENT);
    asks(1); /* nobody is there to sign */
    signed_as(1, ERR_AGAIN, "");
    keys_come();
    asks(2);
    assert_true(the->n_sign_asks == 1 && the->sign_ask.key == 7 && the->sign_ask.token == 2 &&
                the->sign_ask.scheme == TLS_SIGN_ECDSA && the->sign_ask.digest == TLS_DIGEST_SHA256);
    answers_sign(9, ERR_OK, "of nothing that was asked");
    assert_int_equal(the->signed_token, 0);
    answers_sign(2, ERR_OK, "signature");
    signed_as(2, ERR_OK, "signature");
    answers_sign(2, ERR_OK, "again");
    assert_int_equal(the->signed_token, 0);
    static const struct {
        uint8_t err;
        enum err want;
    } rows[] = {{ERR_OK, ERR_INVALID}, {ERR_NOTFOUND, ERR_NOTFOUND}, {255, ERR_INVALID}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        asks(10 + i);
        answers_sign(10 + i, rows[i].err, "");
        signed_as(10 + i, rows[i].want, "");
    }
    asks(3);
    the->keys.user->on_closed(the->keys.arg, &the->keys);
    signed_as(3, ERR_CLOSED, "");
    keys_come();
    asks(4);
    the->keys.user->on_message(the->keys.arg, &the->keys, IPC_SIGN_ANSWER, STR("?"), NULL);
    signed_as(4, ERR_CLOSED, "");
}

static void test_too_many_signatures(void **state)
{
    UNUSED(state);
    comes(0, US, "our chain", 7, KEY_USE_CLIENT);
    keys_come();
    for (uint64_t i = 1; i <= SIGNER_OPEN_MAX; i++)
        asks(i);
    assert_int_equal(the->signed_token, 0);
    asks(SIGNER_OPEN_MAX + 1);
    signed_as(SIGNER_OPEN_MAX + 1, ERR_AGAIN, "");
    answers_sign(5, ERR_OK, "signature");
    signed_as(5, ERR_OK, "signature");
    asks(SIGNER_OPEN_MAX + 2);
    assert_int_equal(the->signed_token, 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_shown),  T(test_login),      T(test_not_at_hand),         T(test_bad_renewal),
        T(test_reload), T(test_signatures), T(test_too_many_signatures),
    };
    return cmocka_run_group_tests_name("relay_cert", tests, NULL, NULL);
}
