#include "crypto/jws.h"

#include "base/base64.h"
#include "crypto/jws_testing.h"
#include "crypto/testing.h"

#include <string.h>

static struct jws_key *load(const struct crypto *c, const struct jwk *k)
{
    struct jws_key *key;
    const char *why;
    assert_int_equal(jws_key_new(c, k, &key, &why), ERR_OK);
    assert_null(why);
    return key;
}

static void refused(const struct crypto *c, const struct jwk *k)
{
    struct jws_key *key;
    const char *why;
    assert_int_equal(jws_key_new(c, k, &key, &why), ERR_INVALID);
    assert_true(key == NULL && str_from_c(why).n > 0);
}

static bool is_signed(const struct jws_key *k, enum jws_alg alg, struct str input, struct str signature)
{
    bool ok;
    assert_int_equal(jws_verify(k, alg, input, signature, &ok), ERR_OK);
    return ok;
}

static const struct {
    enum jws_alg alg;
    const char *name, *digest;
    enum jwk_type type;
    int salt;
} algs[] = {
    {JWS_RS256, "RS256", "SHA256", JWK_RSA, 0},  {JWS_RS384, "RS384", "SHA384", JWK_RSA, 0},
    {JWS_RS512, "RS512", "SHA512", JWK_RSA, 0},  {JWS_PS256, "PS256", "SHA256", JWK_RSA, 32},
    {JWS_PS384, "PS384", "SHA384", JWK_RSA, 48}, {JWS_PS512, "PS512", "SHA512", JWK_RSA, 64},
    {JWS_ES256, "ES256", "SHA256", JWK_P256, 0}, {JWS_ES384, "ES384", "SHA384", JWK_P384, 0},
    {JWS_EDDSA, "EdDSA", NULL, JWK_ED25519, 0},
};

static void each_algorithm_takes_its_own_signatures(void **state)
{
    struct jws_pair pairs[5];
    unsigned char mem[JWS_PAIR_MAX];
    for (enum jwk_type t = JWK_RSA; t <= JWK_ED25519; t++)
        jws_pair_of(&pairs[t], jws_pair_make(t), t);
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        const struct jws_pair *p = &pairs[algs[i].type];
        struct jws_key *k = load(*state, &p->jwk);
        struct str s = jws_pair_sign(p, algs[i].digest, algs[i].salt, STR("a.b"), mem);
        assert_int_equal(jws_alg_of(str_from_c(algs[i].name)), algs[i].alg);
        for (size_t j = 0; j < ARRAY_LEN(algs); j++) {
            assert_int_equal(jws_key_fits(k, algs[j].alg), algs[j].type == algs[i].type);
            if (algs[j].type == algs[i].type)
                assert_int_equal(is_signed(k, algs[j].alg, STR("a.b"), s), i == j);
        }
        assert_false(is_signed(k, algs[i].alg, STR("a.c"), s));
        assert_false(is_signed(k, algs[i].alg, STR(""), s));
        for (size_t cut = 0; cut < s.n; cut += 7)
            assert_false(is_signed(k, algs[i].alg, STR("a.b"), str_slice(s, 0, cut)));
        assert_false(is_signed(k, algs[i].alg, STR("a.b"), str_of(mem, s.n + 1)));
        mem[3] ^= 1;
        assert_false(is_signed(k, algs[i].alg, STR("a.b"), s));
        jws_key_del(&k);
        assert_null(k);
    }
    for (enum jwk_type t = JWK_RSA; t <= JWK_ED25519; t++)
        EVP_PKEY_free(pairs[t].pkey);
}

/* RFC 8725 3.1, 3.2. */
static void what_is_no_algorithm(void **state)
{
    UNUSED(state);
    static const char *const names[] = {"",      "none",   "None",  "NONE",  "HS256",
                                        "HS384", "HS512",  "rs256", "ES512", "ES256K",
                                        "RS1",   "RS256 ", "EDDSA", "Ed448", "RSA-OAEP"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(jws_alg_of(str_from_c(names[i])), JWS_NO_ALG);
}

static void a_key_with_an_algorithm_is_for_no_other(void **state)
{
    struct jws_pair p;
    jws_pair_of(&p, jws_pair_make(JWK_RSA), JWK_RSA);
    p.jwk.alg = JWS_PS256;
    struct jws_key *k = load(*state, &p.jwk);
    for (enum jws_alg a = JWS_NO_ALG; a < JWS_ALGS; a++)
        assert_int_equal(jws_key_fits(k, a), a == JWS_PS256);
    assert_true(str_eq(jws_key_id(k), STR("one")));
    jws_key_del(&k);
    p.jwk.alg = JWS_ES256;
    refused(*state, &p.jwk);
    EVP_PKEY_free(p.pkey);
}

/* RFC 7518 3.5: another salt is another algorithm. */
static void the_salt_of_pss_has_one_length(void **state)
{
    struct jws_pair p;
    unsigned char mem[JWS_PAIR_MAX];
    jws_pair_of(&p, jws_pair_make(JWK_RSA), JWK_RSA);
    struct jws_key *k = load(*state, &p.jwk);
    static const int salts[] = {20, 31, 33, 64};
    for (size_t i = 0; i < ARRAY_LEN(salts); i++)
        assert_false(is_signed(k, JWS_PS256, STR("x"), jws_pair_sign(&p, "SHA256", salts[i], STR("x"), mem)));
    assert_true(is_signed(k, JWS_PS256, STR("x"), jws_pair_sign(&p, "SHA256", 32, STR("x"), mem)));
    jws_key_del(&k);
    EVP_PKEY_free(p.pkey);
}

/* RFC 7518 3.4: two texts never are the same signature. */
static void numbers_of_ecdsa_have_one_length(void **state)
{
    struct jws_pair p;
    unsigned char mem[JWS_PAIR_MAX], longer[65], der[JWS_PAIR_MAX], *at = der;
    jws_pair_of(&p, jws_pair_make(JWK_P256), JWK_P256);
    struct jws_key *k = load(*state, &p.jwk);
    assert_true(is_signed(k, JWS_ES256, STR("x"), jws_pair_sign(&p, "SHA256", 0, STR("x"), mem)));
    memcpy(longer, mem, 32);
    longer[32] = 0;
    memcpy(longer + 33, mem + 32, 32);
    assert_false(is_signed(k, JWS_ES256, STR("x"), str_of(longer, sizeof longer)));
    ECDSA_SIG *s = ECDSA_SIG_new();
    assert_int_equal(ECDSA_SIG_set0(s, BN_bin2bn(mem, 32, NULL), BN_bin2bn(mem + 32, 32, NULL)), 1);
    int n = i2d_ECDSA_SIG(s, &at);
    assert_false(is_signed(k, JWS_ES256, STR("x"), str_of(der, (size_t)n)));
    ECDSA_SIG_free(s);
    jws_key_del(&k);
    EVP_PKEY_free(p.pkey);
}

static void keys_of_wrong_sizes(void **state)
{
    static const struct {
        unsigned bits;
        bool is_taken;
    } rows[] = {{1024, false}, {2047, false}, {2048, true}, {3072, true}};
    struct jws_pair p;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        jws_pair_of(&p, EVP_RSA_gen(rows[i].bits), JWK_RSA);
        if (rows[i].is_taken) {
            struct jws_key *k = load(*state, &p.jwk);
            jws_key_del(&k);
        } else {
            refused(*state, &p.jwk);
        }
        EVP_PKEY_free(p.pkey);
    }
    unsigned char big[8192 / 8 + 2] = {0};
    struct jwk k = {.type = JWK_RSA, .b = STR("\1\0\1")};
    big[0] = big[sizeof big - 1] = 0x81;
    k.a = str_of(big, sizeof big);
    refused(*state, &k);
    big[1] = 0x81;
    k.a = str_of(big + 1, sizeof big - 1);
    refused(*state, &k); /* 8200 bits */
    big[2] = 0x81;
    k.a = str_of(big + 2, sizeof big - 2);
    struct jws_key *key = load(*state, &k); /* 8192 */
    jws_key_del(&key);
    big[1] = 0; /* a leading zero counts for nothing */
    k.a = str_of(big + 1, sizeof big - 1);
    key = load(*state, &k);
    jws_key_del(&key);
}

static void keys_that_are_none(void **state)
{
    struct jws_pair p;
    jws_pair_of(&p, jws_pair_make(JWK_RSA), JWK_RSA);
    static const char *const exponents[] = {"", "\1", "\2", "\4", "\1\1\1\1\1\1\1\1\1"};
    struct jwk k = p.jwk;
    for (size_t i = 0; i < ARRAY_LEN(exponents); i++) {
        k.b = str_from_c(exponents[i]);
        refused(*state, &k);
    }
    k.b = STR("\0\0\1");
    refused(*state, &k);
    k = p.jwk;
    p.a[p.jwk.a.n - 1] ^= 1; /* even */
    refused(*state, &k);
    k.a = STR_NIL;
    refused(*state, &k);
    EVP_PKEY_free(p.pkey);
    for (enum jwk_type t = JWK_P256; t <= JWK_ED25519; t++) {
        jws_pair_of(&p, jws_pair_make(t), t);
        k = p.jwk;
        k.a = str_skip(k.a, 1);
        refused(*state, &k);
        k = p.jwk;
        k.a.n++;
        refused(*state, &k);
        k = p.jwk;
        k.type = JWK_NO_TYPE;
        refused(*state, &k);
        k.type = t == JWK_P256 ? JWK_P384 : JWK_P256;
        refused(*state, &k);
        p.a[5] ^= 1; /* beside the curve, but for one in two of Ed25519's */
        if (t != JWK_ED25519)
            refused(*state, &p.jwk);
        EVP_PKEY_free(p.pkey);
    }
    char kid[JWS_KID_MAX + 1];
    memset(kid, 'k', sizeof kid);
    jws_pair_of(&p, jws_pair_make(JWK_ED25519), JWK_ED25519);
    p.jwk.kid = str_of(kid, sizeof kid);
    refused(*state, &p.jwk);
    p.jwk.kid.n--;
    struct jws_key *key = load(*state, &p.jwk);
    assert_true(str_eq(jws_key_id(key), p.jwk.kid));
    jws_key_del(&key);
    EVP_PKEY_free(p.pkey);
}

/* ---- the examples of the RFCs ---------------- */

static const struct {
    const char *title;
    enum jwk_type type;
    enum jws_alg alg;
    const char *a, *b, *token, *header;
} examples[] = {
    {"RFC 7515 A.2", JWK_RSA, JWS_RS256,
     "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-"
     "SFd2lZS-"
     "pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"
     "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
     "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
     "AQAB",
     "eyJhbGciOiJSUzI1NiJ9."
     "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
     "fQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_"
     "lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"
     "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K"
     "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"
     "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXL"
     "IhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
     "{\"alg\":\"RS256\"}"},
    {"RFC 7515 A.3", JWK_P256, JWS_ES256, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
     "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
     "eyJhbGciOiJFUzI1NiJ9."
     "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
     "fQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
     "{\"alg\":\"ES256\"}"},
    {"RFC 8037 A.4", JWK_ED25519, JWS_EDDSA, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "",
     "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-"
     "09PGcvMg3AIbQR6dWbhijcNR4ki4"
     "iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
     "{\"alg\":\"EdDSA\"}"},
};

static void examples_of_the_rfcs(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        char mem[JWS_OCTETS_MAX], a_mem[512], b_mem[64];
        struct buf b, a_buf, b_buf;
        struct jws j;
        buf_init_fixed(&b, mem, sizeof mem);
        buf_init_fixed(&a_buf, a_mem, sizeof a_mem);
        buf_init_fixed(&b_buf, b_mem, sizeof b_mem);
        assert_true(base64url_take(str_from_c(examples[i].a), &a_buf));
        assert_true(base64url_take(str_from_c(examples[i].b), &b_buf));
        struct jwk jwk = {.type = examples[i].type, .a = buf_str(&a_buf), .b = buf_str(&b_buf)};
        struct jws_key *k = load(*state, &jwk);
        assert_true(jws_split(str_from_c(examples[i].token), &b, &j));
        assert_true(str_eq(j.header, str_from_c(examples[i].header)));
        if (!is_signed(k, examples[i].alg, j.input, j.signature))
            fail_msg("%s", examples[i].title);
        jws_key_del(&k);
    }
}

static void what_is_no_token(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "",
        ".",
        "..",
        "...",
        "YQ",
        "YQ.YQ",
        "YQ.YQ.",
        ".YQ.YQ",
        "YQ..YQ",
        "YQ.YQ.YQ.YQ",
        "YQ.YQ.YQ.YQ.YQ",
        "YQ==.YQ.YQ",
        "YR.YQ.YQ",
        "Y.YQ.YQ",
        "YQ.Y+.YQ",
        "YQ.YQ.Y Q",
        " YQ.YQ.YQ",
        "YQ.YQ.YQ\n",
    };
    char mem[JWS_OCTETS_MAX];
    struct buf b;
    struct jws j;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_false(jws_split(str_from_c(rows[i]), &b, &j));
    assert_true(jws_split(STR("YQ.YWI.YWJj"), &b, &j));
    assert_true(str_eq(j.header, STR("a")) && str_eq(j.payload, STR("ab")) &&
                str_eq(j.signature, STR("abc")) && str_eq(j.input, STR("YQ.YWI")));
    static char text[JWS_TOKEN_MAX + 1];
    memset(text, 'A', sizeof text);
    text[4] = text[9] = '.';
    assert_true(
        jws_split(str_of(text, JWS_TOKEN_MAX - 2), &b, &j)); /* 10 + 4n octets: a text of whole groups */
    assert_int_equal(j.signature.n, (JWS_TOKEN_MAX - 2 - 10) / 4 * 3);
    assert_false(jws_split(str_of(text, JWS_TOKEN_MAX + 1), &b, &j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_algorithm_takes_its_own_signatures),
        cmocka_unit_test(what_is_no_algorithm),
        cmocka_unit_test(a_key_with_an_algorithm_is_for_no_other),
        cmocka_unit_test(the_salt_of_pss_has_one_length),
        cmocka_unit_test(numbers_of_ecdsa_have_one_length),
        cmocka_unit_test(keys_of_wrong_sizes),
        cmocka_unit_test(keys_that_are_none),
        cmocka_unit_test(examples_of_the_rfcs),
        cmocka_unit_test(what_is_no_token),
    };
    return cmocka_run_group_tests_name("jws", tests, setup_crypto, teardown_crypto);
}
