/* Keys and certificates are made here, by the library itself; signatures are checked by it with the public
 * key.
 */
#include "crypto/private_key.h"
#include "crypto/private_key_testing.h"

#include <string.h>

enum { PEM_MAX = 64 * 1024, DAY = 24 * 3600 };
static const int64_t now_s = 1800000000; /* 2027-01-15 */
static struct crypto *crypto;

enum kind { RSA_2048 = 0, EC_256, EC_384, EC_521, ED25519, KINDS };
static struct made made[KINDS];
static struct made expired, early;

static int set_up(void **state)
{
    UNUSED(state);
    assert_int_equal(crypto_new(&crypto), ERR_OK);
    made_make(&made[RSA_2048], EVP_RSA_gen(2048), now_s - DAY, now_s + DAY);
    made_make(&made[EC_256], EVP_EC_gen("P-256"), now_s - DAY, now_s + DAY);
    made_make(&made[EC_384], EVP_EC_gen("P-384"), now_s - DAY, now_s + DAY);
    made_make(&made[EC_521], EVP_EC_gen("P-521"), now_s - DAY, now_s + DAY);
    made_make(&made[ED25519], EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), now_s - DAY, now_s + DAY);
    made_make(&expired, EVP_EC_gen("P-256"), now_s - 2 * DAY, now_s - DAY);
    made_make(&early, EVP_EC_gen("P-256"), now_s + DAY, now_s + 2 * DAY);
    return 0;
}

static int tear_down(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < KINDS; i++)
        made_free(&made[i]);
    made_free(&expired);
    made_free(&early);
    crypto_del(&crypto);
    return 0;
}

static char why_mem[256];

static enum err load(struct str pem, struct str chain, struct private_key **out, struct str *why)
{
    struct buf b;
    buf_init_fixed(&b, why_mem, sizeof why_mem);
    enum err e = private_key_load(crypto, pem, chain, now_s, out, &b);
    *why = buf_str(&b);
    assert_int_equal(e == ERR_OK, *out != NULL);
    assert_true(e == ERR_OK || why->n > 0);
    return e;
}

static void refused(struct str pem, struct str chain, enum err want, const char *text)
{
    struct private_key *k;
    struct str why;
    assert_int_equal(load(pem, chain, &k, &why), want);
    if (!str_eq(why, str_from_c(text)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_FMT(why), text);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void test_load(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < KINDS; i++) {
        for (size_t j = 0; j < KINDS; j++) {
            struct private_key *k;
            struct str why;
            enum err e = load(made_pem(&made[i]), made_cert(&made[j]), &k, &why);
            assert_int_equal(e, i == j ? ERR_OK : ERR_STALE);
            assert_true(str_eq(why, i == j ? STR_NIL : STR("the key does not belong to the certificate")));
            private_key_free(&k);
            private_key_free(&k); /* harmless */
        }
    }
}

static void test_dates(void **state)
{
    UNUSED(state);
    struct private_key *k;
    struct str why;
    assert_int_equal(load(made_pem(&expired), made_cert(&expired), &k, &why), ERR_OK);
    assert_true(str_eq(why, STR("the certificate has expired")));
    private_key_free(&k);
    assert_int_equal(load(made_pem(&early), made_cert(&early), &k, &why), ERR_OK);
    assert_true(str_eq(why, STR("the certificate is not valid yet")));
    private_key_free(&k);
}

static void test_bad_keys(void **state)
{
    UNUSED(state);
    struct str cert = made_cert(&made[EC_256]);
    static const char not_a_key[] = "this is no private key in PEM form";
    refused(STR_NIL, cert, ERR_INVALID, not_a_key);
    refused(STR("hello"), cert, ERR_INVALID, not_a_key);
    refused(cert, cert, ERR_INVALID, not_a_key);
    for (size_t n = 0; n < made[EC_256].n_pem - 1; n++) /* the last is the end of a line */
        refused(str_slice(made_pem(&made[EC_256]), 0, n), cert, ERR_INVALID, not_a_key);
    struct made m;
    made_make(&m, EVP_RSA_gen(1024), now_s, now_s + DAY);
    refused(made_pem(&m), made_cert(&m), ERR_INVALID, "an RSA key has 2048 to 8192 bits, this one 1024");
    made_free(&m);
    made_make(&m, EVP_EC_gen("secp256k1"), now_s, now_s + DAY);
    refused(made_pem(&m), made_cert(&m), ERR_INVALID, "the key's curve is none of P-256, P-384 and P-521");
    made_free(&m);
    BIO *b = BIO_new(BIO_s_mem());
    char locked[4096], word[] = "word";
    assert_int_equal(PEM_write_bio_PrivateKey(b, made[EC_256].pkey, EVP_aes_128_cbc(), NULL, 0, NULL, word),
                     1);
    size_t n = made_take(b, locked, sizeof locked);
    refused(str_of(locked, n), cert, ERR_INVALID, "the key has a passphrase, and nobody is there to type it");
}

static void test_chains(void **state)
{
    UNUSED(state);
    struct str pem = made_pem(&made[EC_256]), cert = made_cert(&made[EC_256]), why;
    struct private_key *k;
    char mem[PEM_MAX];
    struct buf chain;
    refused(pem, STR_NIL, ERR_INVALID, "there is no certificate in PEM form");
    refused(pem, pem, ERR_INVALID, "there is no certificate in PEM form");
    buf_init_fixed(&chain, mem, sizeof mem);
    for (unsigned i = 0; i < TLS_CHAIN_MAX; i++) {
        buf_puts(&chain, "# a note\n");
        buf_put(&chain, i == 0 ? cert : made_cert(&made[i % KINDS]));
        assert_int_equal(load(pem, buf_str(&chain), &k, &why), ERR_OK);
        private_key_free(&k);
    }
    size_t whole = chain.n;
    buf_put(&chain, cert);
    refused(pem, buf_str(&chain), ERR_INVALID, "the chain has more than 10 certificates");
    chain.n = whole - 40;
    refused(pem, buf_str(&chain), ERR_INVALID, "certificate 10 of the chain is damaged or cut off");
    /* cut off in the second one */
    buf_reset(&chain);
    buf_put(&chain, cert);
    buf_put(&chain, cert);
    for (size_t n = cert.n + 30; n < 2 * cert.n - 1; n++)
        refused(pem, str_slice(buf_str(&chain), 0, n), ERR_INVALID,
                "certificate 2 of the chain is damaged or cut off");
    mem[cert.n / 2] = '*';
    refused(pem, buf_str(&chain), ERR_INVALID, "there is no certificate in PEM form");
}

/* ---- signing --------------------------------------------------------------------------------- */

static const struct {
    enum kind key;
    enum tls_scheme scheme;
    enum tls_digest digest;
    const char *name;
    size_t n;
} good[] = {
    {RSA_2048, TLS_SIGN_RSA_PKCS1, TLS_DIGEST_SHA1, "SHA1", 20},
    {RSA_2048, TLS_SIGN_RSA_PKCS1, TLS_DIGEST_SHA256, "SHA256", 32},
    {RSA_2048, TLS_SIGN_RSA_PKCS1, TLS_DIGEST_SHA512, "SHA512", 64},
    {RSA_2048, TLS_SIGN_RSA_PKCS1, TLS_DIGEST_MD5_SHA1, "MD5-SHA1", 36},
    {RSA_2048, TLS_SIGN_RSA_PSS, TLS_DIGEST_SHA256, "SHA256", 32},
    {RSA_2048, TLS_SIGN_RSA_PSS, TLS_DIGEST_SHA384, "SHA384", 48},
    {RSA_2048, TLS_SIGN_RSA_PSS, TLS_DIGEST_SHA512, "SHA512", 64},
    {EC_256, TLS_SIGN_ECDSA, TLS_DIGEST_SHA1, "SHA1", 20},
    {EC_256, TLS_SIGN_ECDSA, TLS_DIGEST_SHA256, "SHA256", 32},
    {EC_384, TLS_SIGN_ECDSA, TLS_DIGEST_SHA384, "SHA384", 48},
    {EC_521, TLS_SIGN_ECDSA, TLS_DIGEST_SHA512, "SHA512", 64},
};

static struct private_key *key_of(enum kind kind)
{
    struct private_key *k;
    struct str why;
    assert_int_equal(load(made_pem(&made[kind]), made_cert(&made[kind]), &k, &why), ERR_OK);
    return k;
}

static bool verifies(size_t row, struct str value, struct str signature)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(made[good[row].key].pkey, NULL);
    assert_int_equal(EVP_PKEY_verify_init(c), 1);
    if (good[row].key == RSA_2048) {
        bool is_pss = good[row].scheme == TLS_SIGN_RSA_PSS;
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(c, is_pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING),
                         1);
    }
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(c, EVP_get_digestbyname(good[row].name)), 1);
    if (good[row].scheme == TLS_SIGN_RSA_PSS)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(c, RSA_PSS_SALTLEN_DIGEST), 1);
    int is_good = EVP_PKEY_verify(c, (const unsigned char *)signature.p, signature.n,
                                  (const unsigned char *)value.p, value.n);
    EVP_PKEY_CTX_free(c);
    return is_good == 1;
}

static void test_sign(void **state)
{
    UNUSED(state);
    char value[64], mem[TLS_SIGNATURE_MAX];
    memset(value, 0x5a, sizeof value);
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct private_key *k = key_of(good[i].key);
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        struct str s = str_of(value, good[i].n);
        assert_int_equal(private_key_sign(k, good[i].scheme, good[i].digest, s, &out), ERR_OK);
        assert_true(verifies(i, s, buf_str(&out)));
        mem[out.n - 1] ^= 1;
        assert_false(verifies(i, s, buf_str(&out)));
        buf_reset(&out);
        s.n--; /* no digest of that length */
        assert_int_equal(private_key_sign(k, good[i].scheme, good[i].digest, s, &out), ERR_INVALID);
        assert_int_equal(private_key_sign(k, good[i].scheme, TLS_DIGEST_NONE, s, &out), ERR_INVALID);
        assert_int_equal(private_key_sign(k, (enum tls_scheme)9, good[i].digest, s, &out), ERR_INVALID);
        assert_int_equal(private_key_sign(k, good[i].scheme, (enum tls_digest)77, s, &out), ERR_INVALID);
        assert_int_equal(out.n, 0);
        private_key_free(&k);
    }
}

/* One key, in all its ways in turn: more ways than it keeps ready, and each signature is for its own digest.
 */
static void test_turns(void **state)
{
    UNUSED(state);
    char value[64], mem[TLS_SIGNATURE_MAX];
    struct private_key *keys[KINDS];
    for (unsigned kind = 0; kind < KINDS; kind++)
        keys[kind] = key_of((enum kind)kind);
    for (size_t turn = 0; turn < 5 * ARRAY_LEN(good); turn++) {
        size_t i = turn * 7 % ARRAY_LEN(good); /* some come twice in a row of few, all come */
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        memset(value, (int)turn, sizeof value);
        struct str s = str_of(value, good[i].n);
        assert_int_equal(private_key_sign(keys[good[i].key], good[i].scheme, good[i].digest, s, &out),
                         ERR_OK);
        assert_true(verifies(i, s, buf_str(&out)));
        value[0] ^= 1;
        assert_false(verifies(i, s, buf_str(&out)));
    }
    for (unsigned kind = 0; kind < KINDS; kind++)
        private_key_free(&keys[kind]);
}

/* A scheme is for keys of its kind only. */
static void test_kinds(void **state)
{
    UNUSED(state);
    char value[32] = {1}, mem[TLS_SIGNATURE_MAX];
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct private_key *k = key_of((enum kind)kind);
        for (unsigned scheme = 0; scheme < 6; scheme++) {
            struct buf out;
            buf_init_fixed(&out, mem, sizeof mem);
            bool is_rsa = scheme == TLS_SIGN_RSA_PKCS1 || scheme == TLS_SIGN_RSA_PSS;
            bool fits = (kind == RSA_2048 && is_rsa) ||
                        (kind != RSA_2048 && kind != ED25519 && scheme == TLS_SIGN_ECDSA);
            assert_int_equal(private_key_sign(k, (enum tls_scheme)scheme, TLS_DIGEST_SHA256,
                                              str_of(value, sizeof value), &out),
                             fits ? ERR_OK : ERR_INVALID);
        }
        private_key_free(&k);
    }
}

static void test_ed25519(void **state)
{
    UNUSED(state);
    struct private_key *k = key_of(ED25519);
    char mem[TLS_SIGNATURE_MAX], in[256];
    struct buf out;
    buf_init_fixed(&out, mem, sizeof mem);
    memset(in, ' ', 64);
    memcpy(in + 64, "TLS 1.3, server CertificateVerify", 34); /* with its NUL */
    memset(in + 98, 7, sizeof in - 98);
    for (size_t n = 0; n <= sizeof in; n++) {
        bool fits = n == 98 + 32 || n == 98 + 48;
        buf_reset(&out);
        assert_int_equal(private_key_sign(k, TLS_SIGN_ED25519, TLS_DIGEST_NONE, str_of(in, n), &out),
                         fits ? ERR_OK : ERR_INVALID);
        if (!fits)
            continue;
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestVerifyInit(c, NULL, NULL, NULL, made[ED25519].pkey), 1);
        assert_int_equal(EVP_DigestVerify(c, (const unsigned char *)mem, out.n, (const unsigned char *)in, n),
                         1);
        EVP_MD_CTX_free(c);
    }
    in[3] = 'x'; /* no more a CertificateVerify, and this is a mail for DKIM */
    assert_int_equal(private_key_sign(k, TLS_SIGN_ED25519, TLS_DIGEST_NONE, str_of(in, 130), &out),
                     ERR_INVALID);
    /* TLS 1.2: X25519 is named curve 29 */
    static const unsigned char curve[] = {3, 0, 29, 32};
    memset(in, 9, sizeof in);
    memcpy(in + 64, curve, sizeof curve);
    for (size_t n = 0; n <= sizeof in; n++) {
        buf_reset(&out);
        assert_int_equal(private_key_sign(k, TLS_SIGN_ED25519, TLS_DIGEST_NONE, str_of(in, n), &out),
                         n == 100 ? ERR_OK : ERR_INVALID);
    }
    private_key_free(&k);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),   cmocka_unit_test(test_dates),   cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_chains), cmocka_unit_test(test_sign),    cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_turns),  cmocka_unit_test(test_ed25519),
    };
    return cmocka_run_group_tests_name("private_key", tests, set_up, tear_down);
}
