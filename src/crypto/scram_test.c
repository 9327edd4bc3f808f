#include "crypto/scram.h"

#include "base/base64.h"
#include "crypto/testing.h"

#include <string.h>

/* RFC 5802 5 and RFC 7677 3: user "user", password "pencil". */
struct row {
    enum scram_hash h;
    const char *salt, *auth_message, *proof, *signature;
};
// clang-format off
static const struct row rows[] = {
    {SCRAM_SHA1, "QSXCR+Q6sek8bf92",
     "n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
     "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
     "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {SCRAM_SHA256, "W22ZaJ0SNY7soEsUEjb6gQ==",
     "n=user,r=rOprNGfwEbeRWgbNEkqO,"
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
     "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};
// clang-format on

static struct str octets(const char *text, char mem[64])
{
    struct buf b;
    buf_init_fixed(&b, mem, 64);
    assert_true(base64_take(str_from_c(text), &b));
    return buf_str(&b);
}

static void examples_of_the_rfcs(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        char salt_mem[64], proof_mem[64], signature_mem[64];
        struct scram_keys k;
        struct scram_verifier v;
        uint8_t out[SCRAM_KEY_MAX];
        bool ok;
        size_t n = scram_size(r->h);
        struct str salt = octets(r->salt, salt_mem), auth = str_from_c(r->auth_message);
        struct str proof = octets(r->proof, proof_mem), signature = octets(r->signature, signature_mem);
        /* the client's end */
        assert_int_equal(scram_derive(*state, r->h, STR("pencil"), salt, 4096, &k), ERR_OK);
        assert_int_equal(scram_proof(*state, r->h, &k, auth, out), ERR_OK);
        assert_true(str_eq(str_of(out, n), proof));
        assert_int_equal(scram_signature(*state, r->h, k.server_key, auth, out), ERR_OK);
        assert_true(str_eq(str_of(out, n), signature));
        /* the server's */
        memset(out, 0, sizeof out);
        assert_int_equal(scram_make(*state, r->h, STR("pencil"), salt, 4096, &v), ERR_OK);
        assert_int_equal(scram_check(*state, r->h, &v, auth, proof, &ok, out), ERR_OK);
        assert_true(ok);
        assert_true(str_eq(str_of(out, n), signature));
        assert_int_equal(scram_check_password(*state, r->h, &v, STR("pencil"), &ok), ERR_OK);
        assert_true(ok);
    }
}

static void wrong_in_any_bit_is_wrong(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char salt_mem[64], proof[64];
        struct scram_verifier v;
        uint8_t out[SCRAM_KEY_MAX] = {0}, zeros[SCRAM_KEY_MAX] = {0};
        bool ok;
        struct str auth = str_from_c(rows[i].auth_message);
        size_t n = octets(rows[i].proof, proof).n;
        assert_int_equal(
            scram_make(*state, rows[i].h, STR("pencil"), octets(rows[i].salt, salt_mem), 4096, &v), ERR_OK);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            proof[bit / 8] = (char)(proof[bit / 8] ^ 1 << bit % 8);
            assert_int_equal(scram_check(*state, rows[i].h, &v, auth, str_of(proof, n), &ok, out), ERR_OK);
            assert_false(ok);
            proof[bit / 8] = (char)(proof[bit / 8] ^ 1 << bit % 8);
        }
        for (size_t short_n = 0; short_n < sizeof proof; short_n++) {
            assert_int_equal(scram_check(*state, rows[i].h, &v, auth, str_of(proof, short_n), &ok, out),
                             ERR_OK);
            assert_int_equal(ok, short_n == n);
            if (!ok)
                assert_memory_equal(out, zeros, sizeof out); /* nothing is told of the server's key */
            memset(out, 0, sizeof out);
        }
        assert_int_equal(
            scram_check(*state, rows[i].h, &v, str_slice(auth, 0, auth.n - 1), str_of(proof, n), &ok, out),
            ERR_OK);
        assert_false(ok);
        assert_int_equal(scram_check_password(*state, rows[i].h, &v, STR("pencil "), &ok), ERR_OK);
        assert_false(ok);
        assert_int_equal(scram_check_password(*state, rows[i].h, &v, STR_NIL, &ok), ERR_OK);
        assert_false(ok);
    }
}

static void costs_are_bounded(void **state)
{
    struct scram_verifier v;
    static const uint32_t bad[] = {0, 1, SCRAM_ITERATIONS_MIN - 1, SCRAM_ITERATIONS_MAX + 1, UINT32_MAX};
    char salt[SCRAM_SALT_MAX + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(scram_make(*state, SCRAM_SHA256, STR("x"), STR("salt"), bad[i], &v), ERR_TOO_BIG);
    assert_int_equal(scram_make(*state, SCRAM_SHA256, STR("x"), STR_NIL, 4096, &v), ERR_TOO_BIG);
    assert_int_equal(scram_make(*state, SCRAM_SHA256, STR("x"), str_of(salt, sizeof salt), 4096, &v),
                     ERR_TOO_BIG);
    assert_int_equal(scram_make(*state, SCRAM_SHA256, STR("x"), str_of(salt, SCRAM_SALT_MAX), 4096, &v),
                     ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfcs),
        cmocka_unit_test(wrong_in_any_bit_is_wrong),
        cmocka_unit_test(costs_are_bounded),
    };
    return cmocka_run_group_tests_name("scram", tests, setup_crypto, teardown_crypto);
}
