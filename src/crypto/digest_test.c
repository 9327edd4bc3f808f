#include "crypto/digest.h"

#include "crypto/testing.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* FIPS 180-4's examples of "abc"; the others were made with Python's hashlib and hmac. */
struct row {
    enum digest d;
    const char *abc, *nothing, *hmac_jefe, *pbkdf2;
};
// clang-format off
static const struct row rows[] = {
    {DIGEST_SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
     "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", "4b007901b765489abead49d926f721d065a429c1"},
    {DIGEST_SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
     "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"},
    {DIGEST_SHA512, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
     "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
     "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5"},
};
// clang-format on

static bool forbid_files(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the number of the call stands first */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = ARRAY_LEN(rules), .filter = rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/* In a child, before anything else here has used the library: what it reads it has read in crypto_new(). */
static void opens_no_file_later(void **state)
{
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        uint8_t out[DIGEST_MAX];
        struct str text = STR("abc");
        if (!forbid_files())
            _exit(2);
        bool ok = true;
        for (unsigned d = 0; d < DIGEST_KINDS; d++)
            ok = ok && digest_of(*state, (enum digest)d, &text, 1, out) == ERR_OK &&
                 digest_hmac(*state, (enum digest)d, text, &text, 1, out) == ERR_OK &&
                 digest_pbkdf2(*state, (enum digest)d, text, text, 10, out, 16) == ERR_OK;
        _exit(ok ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void digests_in_any_pieces(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t out[DIGEST_MAX];
        size_t n = digest_size(rows[i].d);
        for (size_t a = 0; a <= 3; a++) {
            const struct str pieces[] = {str_slice(STR("abc"), 0, a), STR_NIL, str_slice(STR("abc"), a, 3)};
            assert_int_equal(digest_of(*state, rows[i].d, pieces, ARRAY_LEN(pieces), out), ERR_OK);
            assert_hex(out, n, rows[i].abc);
        }
        assert_int_equal(digest_of(*state, rows[i].d, NULL, 0, out), ERR_OK);
        assert_hex(out, n, rows[i].nothing);
    }
}

static void digester_begins_again(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t out[DIGEST_MAX];
        size_t n = digest_size(rows[i].d);
        struct digester *g = digester_new(*state, rows[i].d);
        assert_non_null(g);
        for (int round = 0; round < 2; round++) {
            for (size_t k = 0; k < 3; k++)
                digester_add(g, str_slice(STR("abc"), k, k + 1));
            assert_int_equal(digester_end(g, out), ERR_OK);
            assert_hex(out, n, rows[i].abc);
        }
        assert_int_equal(digester_end(g, out), ERR_OK);
        assert_hex(out, n, rows[i].nothing);
        digester_del(&g);
        assert_null(g);
        digester_del(&g);
    }
}

static void hmac_of_rfc2202_and_4231_case_2(void **state)
{
    struct str text = STR("what do ya want for nothing?");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t out[DIGEST_MAX];
        for (size_t a = 0; a <= text.n; a++) {
            const struct str pieces[] = {str_slice(text, 0, a), str_skip(text, a)};
            assert_int_equal(digest_hmac(*state, rows[i].d, STR("Jefe"), pieces, 2, out), ERR_OK);
            assert_hex(out, digest_size(rows[i].d), rows[i].hmac_jefe);
        }
    }
}

static void hmac_takes_keys_of_any_length(void **state)
{
    uint8_t out[DIGEST_MAX];
    char key[131];
    struct str text = STR("Test Using Larger Than Block-Size Key - Hash Key First");
    memset(key, 0xaa, sizeof key);
    /* RFC 4231 4.7 */
    assert_int_equal(digest_hmac(*state, DIGEST_SHA256, str_of(key, sizeof key), &text, 1, out), ERR_OK);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(digest_hmac(*state, DIGEST_SHA256, STR_NIL, NULL, 0, out), ERR_OK);
    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void pbkdf2_of_rfc6070_4(void **state)
{
    uint8_t out[DIGEST_MAX];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = digest_size(rows[i].d);
        assert_int_equal(digest_pbkdf2(*state, rows[i].d, STR("password"), STR("salt"), 4096, out, n),
                         ERR_OK);
        assert_hex(out, n, rows[i].pbkdf2);
    }
    assert_int_equal(digest_pbkdf2(*state, DIGEST_SHA1, STR("password"), STR("salt"), 1, out, 20), ERR_OK);
    assert_hex(out, 20, "0c60c80f961f0e71f3a9b524af6012062fe037a6");
    assert_int_equal(digest_pbkdf2(*state, DIGEST_SHA1, STR("pass\0word"), STR("sa\0lt"), 4096, out, 16),
                     ERR_OK);
    assert_hex(out, 16, "56fa6aa75548099dcc37d7f03425e0c3");
    assert_int_equal(digest_pbkdf2(*state, DIGEST_SHA1, STR_NIL, STR_NIL, 1, out, 20), ERR_OK);
    assert_hex(out, 20, "1e437a1c79d75be61e91141dae20affc4892cc99");
}

static void pbkdf2_is_bounded(void **state)
{
    uint8_t out[DIGEST_MAX];
    static const struct {
        uint32_t iterations;
        size_t n;
    } bad[] = {{0, 20}, {PBKDF2_ITERATIONS_MAX + 1, 20}, {UINT32_MAX, 20}, {1, 0}, {1, PBKDF2_SIZE_MAX + 1}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(
            digest_pbkdf2(*state, DIGEST_SHA1, STR("p"), STR("s"), bad[i].iterations, out, bad[i].n),
            ERR_TOO_BIG);
    assert_int_equal(digest_pbkdf2(*state, DIGEST_SHA1, STR("p"), STR("s"), 1, out, PBKDF2_SIZE_MAX), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_no_file_later),
        cmocka_unit_test(digests_in_any_pieces),
        cmocka_unit_test(digester_begins_again),
        cmocka_unit_test(hmac_of_rfc2202_and_4231_case_2),
        cmocka_unit_test(hmac_takes_keys_of_any_length),
        cmocka_unit_test(pbkdf2_of_rfc6070_4),
        cmocka_unit_test(pbkdf2_is_bounded),
    };
    return cmocka_run_group_tests_name("digest", tests, setup_crypto, teardown_crypto);
}
