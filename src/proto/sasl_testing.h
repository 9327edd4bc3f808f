/* proto/sasl_testing.h: for tests of SASL: who answers a server's questions as the keeper of the verifiers
 * would, with one user "user", password "pencil", token "good-token", certificate "cn=user".
 */
#pragma once
#include "crypto/testing.h"
#include "crypto/verifier.h"
#include "proto/sasl_server.h"

#include <string.h>

#define TEST_NONCE STR("0123456789abcdefghijklmn")
#define TEST_EXPORTER STR("\1\2\3exporter-keying-material-of-32\xff")
#define TEST_END_POINT STR("the-digest-of-the-certificate-is")

struct keeper {
    const struct crypto *crypto;
    struct verifier user;
    unsigned n_asked;
    bool is_down;                                           /* answers TEMPORARY */
    struct str login;                                       /* what it says the login is; empty: nothing */
    uint8_t salt[SCRAM_SALT_MAX], signature[SCRAM_KEY_MAX]; /* of the last answer */
};

static inline void keeper_init(struct keeper *k, const struct crypto *c)
{
    char mem[VERIFIER_TEXT_MAX];
    uint8_t random[VERIFIER_SECRET] = {4, 8, 15, 16, 23, 42};
    struct buf b;
    *k = (struct keeper){.crypto = c};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_int_equal(verifier_make(c, STR("pencil"), random, SCRAM_ITERATIONS_MIN, &b), ERR_OK);
    assert_null(verifier_parse(buf_str(&b), &k->user));
}

static inline struct sasl_answer keeper_decide(struct keeper *k, const struct sasl_question *q)
{
    const uint8_t secret[VERIFIER_SECRET] = {1};
    struct verifier v = k->user;
    struct sasl_answer a = {.verdict = SASL_BAD, .login = k->login};
    bool ok = false;
    k->n_asked++;
    if (k->is_down)
        return (struct sasl_answer){.verdict = SASL_TEMPORARY};
    if (!str_eq(q->user, STR("user")))
        assert_int_equal(verifier_false(k->crypto, secret, q->user, &k->user, &v), ERR_OK);
    switch (q->kind) {
    case SASL_ASK_PASSWORD:
        assert_int_equal(verifier_check(k->crypto, &v, q->password, &ok), ERR_OK);
        break;
    case SASL_ASK_SCRAM_FIRST:
        memcpy(k->salt, v.scram[q->hash].salt, sizeof k->salt);
        a.salt = str_of(k->salt, v.scram[q->hash].n_salt);
        a.iterations = v.scram[q->hash].iterations;
        ok = true;
        break;
    case SASL_ASK_SCRAM_FINAL:
        assert_int_equal(
            verifier_check_proof(k->crypto, &v, q->hash, q->auth_message, q->proof, &ok, k->signature),
            ERR_OK);
        a.signature = str_of(k->signature, scram_size(q->hash));
        break;
    case SASL_ASK_TOKEN:
        ok = str_eq(q->token, STR("good-token")) && (q->user.n == 0 || str_eq(q->user, STR("user")));
        a.login = STR("user");
        break;
    case SASL_ASK_EXTERNAL:
        ok = str_eq(q->identity, STR("cn=user")) && (q->user.n == 0 || str_eq(q->user, STR("user")));
        a.login = STR("user");
        break;
    }
    if (ok)
        a.verdict = SASL_OK;
    return a;
}

/* Answers questions until there is another step. */
static inline enum sasl_step keeper_answers(struct keeper *k, struct sasl_server *s, enum sasl_step step)
{
    while (step == SASL_STEP_QUESTION) {
        struct sasl_answer a = keeper_decide(k, sasl_server_question(s));
        step = sasl_server_answer(s, &a);
    }
    return step;
}
