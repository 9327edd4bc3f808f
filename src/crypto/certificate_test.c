/* What is made here is read by the library itself, and by the module that loads pairs. */
#include "crypto/certificate.h"

#include "base/limits.h"
#include "crypto/private_key.h"
#include "crypto/testing.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <string.h>

static const int64_t now_s = 1800000000; /* 2027-01-15 */
static const struct str names[] = {STR_INIT("mx.example.org"), STR_INIT("mail.example.org")};

struct text {
    struct buf b;
    char mem[TLS_CHAIN_SIZE_MAX];
};

static struct buf *fresh(struct text *t)
{
    buf_init_fixed(&t->b, t->mem, sizeof t->mem);
    return &t->b;
}

static void own_pair(void **state)
{
    const struct crypto *c = *state;
    static struct text key, other, cert, why;
    struct private_key *k = NULL;
    struct certificate_facts facts;
    assert_int_equal(certificate_make_key(c, fresh(&key)), ERR_OK);
    assert_int_equal(certificate_make_key(c, fresh(&other)), ERR_OK);
    assert_false(str_eq(buf_str(&key.b), buf_str(&other.b)));
    assert_int_equal(certificate_make_own(c, buf_str(&key.b), names, 2, now_s, fresh(&cert)), ERR_OK);
    assert_int_equal(private_key_load(c, buf_str(&key.b), buf_str(&cert.b), now_s, &k, fresh(&why)), ERR_OK);
    assert_int_equal(why.b.n, 0);
    private_key_free(&k);
    assert_int_equal(private_key_load(c, buf_str(&other.b), buf_str(&cert.b), now_s, &k, fresh(&why)),
                     ERR_STALE);
    assert_int_equal(certificate_read(c, buf_str(&cert.b), &facts), ERR_OK);
    assert_true(facts.is_own);
    assert_int_equal(facts.until_s, now_s + CERTIFICATE_OWN_S);
    assert_true(certificate_is_for(c, buf_str(&cert.b), names, 2));
    const struct str more[] = {names[0], STR("www.example.org")};
    assert_false(certificate_is_for(c, buf_str(&cert.b), more, 2));
    assert_false(certificate_is_for(c, STR(""), names, 1));
}

static void request(void **state)
{
    const struct crypto *c = *state;
    static struct text key, pem;
    assert_int_equal(certificate_make_key(c, fresh(&key)), ERR_OK);
    assert_int_equal(certificate_make_request(c, buf_str(&key.b), names, 2, fresh(&pem)), ERR_OK);
    BIO *in = BIO_new_mem_buf(pem.b.p, (int)pem.b.n);
    X509_REQ *r = PEM_read_bio_X509_REQ(in, NULL, NULL, NULL);
    assert_non_null(r);
    assert_int_equal(X509_REQ_verify(r, X509_REQ_get0_pubkey(r)), 1);
    assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(r)), 0);
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(r);
    GENERAL_NAMES *list = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(list), 2);
    for (int i = 0; i < 2; i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(list, i);
        assert_int_equal(one->type, GEN_DNS);
        struct str got =
            str_of(ASN1_STRING_get0_data(one->d.dNSName), (size_t)ASN1_STRING_length(one->d.dNSName));
        assert_true(str_eq(got, names[i]));
    }
    sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_REQ_free(r);
    BIO_free(in);
}

/* The print is that of the key: a renewed certificate has the same, whoever signed it. */
static void key_print(void **state)
{
    const struct crypto *c = *state;
    static struct text key, cert;
    struct certificate_facts a, b;
    assert_int_equal(certificate_make_key(c, fresh(&key)), ERR_OK);
    assert_int_equal(certificate_make_own(c, buf_str(&key.b), names, 1, now_s, fresh(&cert)), ERR_OK);
    assert_int_equal(certificate_read(c, buf_str(&cert.b), &a), ERR_OK);
    assert_int_equal(certificate_make_own(c, buf_str(&key.b), names, 2, now_s + 9, fresh(&cert)), ERR_OK);
    assert_int_equal(certificate_read(c, buf_str(&cert.b), &b), ERR_OK);
    assert_memory_equal(a.key_print, b.key_print, CERTIFICATE_PRINT);
    assert_int_equal(b.until_s - a.until_s, 9);
    assert_int_equal(certificate_make_key(c, fresh(&key)), ERR_OK);
    assert_int_equal(certificate_make_own(c, buf_str(&key.b), names, 1, now_s, fresh(&cert)), ERR_OK);
    assert_int_equal(certificate_read(c, buf_str(&cert.b), &b), ERR_OK);
    assert_memory_not_equal(a.key_print, b.key_print, CERTIFICATE_PRINT);
}

static void refusals(void **state)
{
    const struct crypto *c = *state;
    static struct text key, out;
    struct certificate_facts facts;
    static struct str many[CERTIFICATE_NAMES_MAX + 1];
    assert_int_equal(certificate_make_request(c, STR("no key"), names, 1, fresh(&out)), ERR_INVALID);
    assert_int_equal(certificate_make_own(c, STR(""), names, 1, now_s, fresh(&out)), ERR_INVALID);
    assert_int_equal(certificate_read(c, STR("-----BEGIN CERTIFICATE-----\n"), &facts), ERR_INVALID);
    assert_int_equal(certificate_make_key(c, fresh(&key)), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = names[0];
    assert_int_equal(certificate_make_request(c, buf_str(&key.b), many, CERTIFICATE_NAMES_MAX, fresh(&out)),
                     ERR_OK);
    assert_int_equal(certificate_make_request(c, buf_str(&key.b), many, ARRAY_LEN(many), fresh(&out)),
                     ERR_NOMEM);
    assert_int_equal(certificate_make_request(c, buf_str(&key.b), many, 0, fresh(&out)), ERR_NOMEM);
    const struct str odd[] = {STR("m\xc3\xbcller.example")};
    assert_int_equal(certificate_make_request(c, buf_str(&key.b), odd, 1, fresh(&out)), ERR_NOMEM);
    buf_init_fixed(&out.b, out.mem, 10);
    assert_int_equal(certificate_make_key(c, &out.b), ERR_NOMEM);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(own_pair), cmocka_unit_test(request),
                                              cmocka_unit_test(key_print), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests_name("certificate", tests, setup_crypto, teardown_crypto);
}
