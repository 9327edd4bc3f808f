/* Tokens against sets of keys. */
#include "service/tables/token_keys.h"

#include "crypto/jws_testing.h"
#include "crypto/testing.h"
#include "ext/json_bounds.h"

#include <string.h>

enum { NOW = 1800000000 };
#define CLAIMS                                                                                               \
    "{\"iss\":\"https://id.test\",\"aud\":\"waxwing\",\"exp\":1800000300,\"email\":\"joe@here.test\""

struct fixture {
    struct crypto *crypto;
    struct chunk_pool pool;
    struct arena arena;
    struct buf json, token, why;
    char why_mem[256];
    struct jws_pair rsa, p256, p384, ed;
    struct token_keys keys;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    json_seed(1);
    assert_int_equal(crypto_new(&f.crypto), ERR_OK);
    chunk_pool_init(&f.pool, 4096, 1000);
    arena_init(&f.arena, &f.pool, JWT_ARENA_MAX);
    buf_init(&f.json, 1 << 20);
    buf_init(&f.token, 1 << 20);
    buf_init_fixed(&f.why, f.why_mem, sizeof f.why_mem);
    jws_pair_of(&f.rsa, jws_pair_make(JWK_RSA), JWK_RSA);
    jws_pair_of(&f.p256, jws_pair_make(JWK_P256), JWK_P256);
    jws_pair_of(&f.p384, jws_pair_make(JWK_P384), JWK_P384);
    jws_pair_of(&f.ed, jws_pair_make(JWK_ED25519), JWK_ED25519);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    token_keys_clear(&f->keys);
    struct jws_pair *const pairs[] = {&f->rsa, &f->p256, &f->p384, &f->ed};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        EVP_PKEY_free(pairs[i]->pkey);
    arena_reset(&f->arena);
    chunk_pool_fini(&f->pool);
    buf_fini(&f->json);
    buf_fini(&f->token);
    crypto_del(&f->crypto);
    return 0;
}

static bool load(struct fixture *f, const char *json)
{
    buf_reset(&f->why);
    bool ok = token_keys_load(&f->keys, f->crypto, str_from_c(json), &f->arena, &f->why);
    arena_reset(&f->arena);
    assert_int_equal(ok, f->why.n == 0);
    return ok;
}

static void load_all(struct fixture *f)
{
    buf_reset(&f->json);
    buf_puts(&f->json, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"r\"},");
    jws_put_jwk(&f->json, &f->rsa, ",\"kid\":\"r\",\"alg\":\"RS256\"");
    buf_putc(&f->json, ',');
    jws_put_jwk(&f->json, &f->p256, ",\"kid\":\"e\",\"use\":\"sig\"");
    buf_putc(&f->json, ',');
    jws_put_jwk(&f->json, &f->ed, "");
    buf_puts(&f->json, "]}");
    buf_putc(&f->json, '\0');
    assert_true(load(f, f->json.p));
    assert_int_equal(f->keys.n, 3);
}

static enum token_says judge(struct fixture *f, struct str token)
{
    static const struct token_rules rules = {
        .issuer = STR_INIT("https://id.test"), .audience = STR_INIT("waxwing"), .claim = STR_INIT("email")};
    struct token_claims c;
    buf_reset(&f->why);
    enum token_says says = token_keys_judge(&f->keys, token, &rules, NOW, &f->arena, &c, &f->why);
    assert_int_equal(says == TOKEN_IS_GOOD, f->why.n == 0);
    if (says == TOKEN_IS_GOOD)
        assert_true(str_eq(c.user, STR("joe@here.test")));
    arena_reset(&f->arena);
    return says;
}

static void check(struct fixture *f, const char *title, enum token_says says, enum token_says want,
                  const char *why)
{
    if (says != want || (why != NULL && str_find(buf_str(&f->why), str_from_c(why)) == STR_NPOS))
        fail_msg("%s: %d, %.*s", title, says, STR_FMT(buf_str(&f->why)));
}

static void tokens(void **state)
{
    struct fixture *f = *state;
    const struct {
        const struct jws_pair *by;
        const char *header, *claims;
        enum token_says want;
        const char *why;
    } rows[] = {
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS "}", TOKEN_IS_GOOD, NULL},
        {&f->rsa, "{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}", CLAIMS "}", TOKEN_IS_GOOD, NULL},
        {&f->p256, "{\"alg\":\"ES256\",\"kid\":\"e\",\"typ\":\"JWT\"}", CLAIMS "}", TOKEN_IS_GOOD, NULL},
        {&f->ed, "{\"alg\":\"EdDSA\",\"kid\":\"whatever\"}", CLAIMS "}", TOKEN_IS_GOOD,
         NULL}, /* its key has no name */
        {&f->ed, "{\"alg\":\"EdDSA\"}", CLAIMS "}", TOKEN_IS_GOOD, NULL},
        {&f->rsa, "{\"alg\":\"none\",\"kid\":\"r\"}", CLAIMS "}", TOKEN_IS_BAD, "algorithm"},
        {&f->rsa, "{\"alg\":\"HS256\",\"kid\":\"r\"}", CLAIMS "}", TOKEN_IS_BAD, "algorithm"},
        {&f->rsa, "{\"kid\":\"r\"}", CLAIMS "}", TOKEN_IS_BAD, "algorithm"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"s\"}", CLAIMS "}", TOKEN_OF_NO_KEY, "no key"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"e\"}", CLAIMS "}", TOKEN_OF_NO_KEY, "no key"},
        {&f->rsa, "{\"alg\":\"PS256\",\"kid\":\"r\"}", CLAIMS "}", TOKEN_OF_NO_KEY,
         "no key"}, /* the key is for RS256 */
        {&f->p384, "{\"alg\":\"ES384\"}", CLAIMS "}", TOKEN_OF_NO_KEY, "no key"},
        {&f->p256, "{\"alg\":\"EdDSA\",\"kid\":\"e\"}", CLAIMS "}", TOKEN_OF_NO_KEY, "signature"},
        {&f->p256, "{\"alg\":\"RS256\"}", CLAIMS "}", TOKEN_OF_NO_KEY,
         "signature"}, /* of a key that we don't have yet? */
        {&f->p256, "{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS "}", TOKEN_IS_BAD, "signature"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\",\"crit\":[\"x\"]}", CLAIMS "}", TOKEN_IS_BAD, "crit"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\",\"typ\":\"logout+jwt\"}", CLAIMS "}", TOKEN_IS_BAD,
         "typ"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"", CLAIMS "}", TOKEN_IS_BAD, "header is malformed"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS, TOKEN_IS_BAD, "says is malformed"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS ",\"nbf\":1900000000}", TOKEN_IS_BAD, "nbf"},
        {&f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", "{}", TOKEN_IS_BAD, "iss"},
    };
    load_all(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        jws_put_token(&f->token, rows[i].by, rows[i].header, rows[i].claims);
        check(f, rows[i].header, judge(f, buf_str(&f->token)), rows[i].want, rows[i].why);
    }
}

/* Each octet of a good token counts. */
static void changed_tokens(void **state)
{
    struct fixture *f = *state;
    load_all(f);
    jws_put_token(&f->token, &f->ed, "{\"alg\":\"EdDSA\",\"kid\":\"x\"}", CLAIMS "}");
    assert_int_equal(judge(f, buf_str(&f->token)), TOKEN_IS_GOOD);
    for (size_t i = 0; i < f->token.n; i++) {
        char was = f->token.p[i];
        f->token.p[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(judge(f, buf_str(&f->token)), TOKEN_IS_GOOD);
        f->token.p[i] = was;
        assert_int_not_equal(judge(f, str_slice(buf_str(&f->token), 0, i)), TOKEN_IS_GOOD);
    }
    check(f, "none", judge(f, STR("")), TOKEN_IS_BAD, "no signed");
    check(f, "opaque", judge(f, STR("ya29.a0AfH6SMB")), TOKEN_IS_BAD, "no signed");
    check(f, "unsigned", judge(f, STR("eyJhbGciOiJub25lIn0.e30.")), TOKEN_IS_BAD, "no signed");
}

static void sets(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *json, *why;
    } rows[] = {{"{\"keys\":[]}", "none at all"},
                {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "not taken"},
                {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "2048 bits"},
                {"<html>", "no JSON"},
                {"", "no JSON"}};
    load_all(f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_false(load(f, rows[i].json));
        check(f, rows[i].json, TOKEN_IS_BAD, TOKEN_IS_BAD, rows[i].why);
        assert_int_equal(f->keys.n, 3); /* the ones before stay */
    }
    buf_reset(&f->json);
    buf_puts(&f->json, "{\"keys\":[");
    jws_put_jwk(&f->json, &f->p384, ",\"kid\":\"r\"");
    buf_puts(&f->json, "]}");
    buf_putc(&f->json, '\0');
    assert_true(load(f, f->json.p));
    assert_int_equal(f->keys.n, 1);
    jws_put_token(&f->token, &f->rsa, "{\"alg\":\"RS256\",\"kid\":\"r\"}", CLAIMS "}");
    assert_int_equal(judge(f, buf_str(&f->token)), TOKEN_OF_NO_KEY);
    jws_put_token(&f->token, &f->p384, "{\"alg\":\"ES384\",\"kid\":\"r\"}", CLAIMS "}");
    assert_int_equal(judge(f, buf_str(&f->token)), TOKEN_IS_GOOD);
    token_keys_clear(&f->keys);
    assert_int_equal(judge(f, buf_str(&f->token)), TOKEN_OF_NO_KEY);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    static const struct CMUnitTest tests[] = {T(tokens), T(changed_tokens), T(sets)};
    return cmocka_run_group_tests_name("token_keys", tests, NULL, NULL);
}
