/* OpenSSL's own chains and TLSA records, read in place when they are there: what a connection that checks
 * DANE decides about each. Their private keys are not published, so no handshake can show them: the
 * connection is set up as for any server, and its decision about the chain is then asked as the library does
 * within a handshake (ssl_verify_cert_chain()). For mail two things are other than in the file: records of
 * usage 0 and 1 do not count (RFC 7672 3.1.3), and DANE-EE(3) never looks at names (3.1.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tls_testing.h"

#include "base/mem.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20, RECORD_MAX = 4096, SET_MAX = 8, DECIDED_MIN = 30, REFUSED_MIN = 6, NO_DEPTH = -1 };

struct block { /* one of the file */
    uint64_t n_records, n_certs;
    int expect, depth;
    struct tls_tlsa records[SET_MAX];
    char octets[SET_MAX][RECORD_MAX];
    STACK_OF(X509) * chain;
};
struct sum {
    size_t n_decided, n_refused, n_unusable;
};

static FILE *suite_file(const char *name)
{
    const char *suites = getenv("WAXWING_SUITES");
    char path[1024];
    int n = snprintf(path, sizeof path, "%s/dane-openssl/%s",
                     suites != NULL ? suites : WAXWING_ROOT "/../shared/suites", name);
    must(n > 0 && (size_t)n < sizeof path);
    return fopen(path, "rb");
}

static struct str read_suite(const char *name, char *mem)
{
    FILE *f = suite_file(name);
    assert_non_null(f);
    size_t n = fread(mem, 1, FILE_MAX, f);
    assert_true(n > 0 && n < FILE_MAX);
    assert_int_equal(fclose(f), 0);
    return str_of(mem, n);
}

/* "-1" and up. */
static bool take_number(struct str *line, int *out)
{
    struct str word = str_cut(line, ' ');
    uint64_t n;
    if (str_eq(word, STR("-1"))) {
        *out = NO_DEPTH;
        return true;
    }
    if (!str_to_u64(word, 1000, &n))
        return false;
    *out = (int)n;
    return true;
}

/* The head of a block: five numbers. */
static bool take_head(struct str line, struct block *b)
{
    int n[5];
    for (size_t i = 0; i < ARRAY_LEN(n); i++) {
        if (!take_number(&line, &n[i]))
            return false;
    }
    *b =
        (struct block){.n_records = (uint64_t)n[0], .n_certs = (uint64_t)n[1], .expect = n[3], .depth = n[4]};
    return line.n == 0 && n[0] <= SET_MAX;
}

static void take_record(struct str line, char *mem, struct tls_tlsa *out)
{
    int n[3];
    for (size_t i = 0; i < ARRAY_LEN(n); i++)
        assert_true(take_number(&line, &n[i]));
    *out = (struct tls_tlsa){(uint8_t)n[0], (uint8_t)n[1], (uint8_t)n[2], str_of(mem, line.n / 2)};
    assert_true(line.n > 0 && line.n % 2 == 0 && line.n / 2 <= RECORD_MAX);
    for (size_t i = 0; i < line.n; i += 2)
        mem[i / 2] = (char)(ascii_hex_value(line.p[i]) * 16 + ascii_hex_value(line.p[i + 1]));
}

static void take_chain(struct str *text, struct block *b)
{
    BIO *bio = BIO_new_mem_buf(text->p, (int)text->n);
    assert_non_null(bio);
    b->chain = sk_X509_new_null();
    for (uint64_t i = 0; i < b->n_certs; i++) {
        X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        assert_non_null(x);
        assert_true(sk_X509_push(b->chain, x) > 0);
    }
    char *rest;
    long n = BIO_get_mem_data(bio, &rest);
    assert_true(n >= 0 && (size_t)n <= text->n);
    *text = str_skip(*text, text->n - (size_t)n);
    BIO_free(bio);
}

static bool next_block(struct str *text, struct block *b)
{
    while (text->n > 0) {
        if (!take_head(str_trim(str_cut(text, '\n')), b))
            continue;
        for (size_t i = 0; i < b->n_records; i++)
            take_record(str_trim(str_cut(text, '\n')), b->octets[i], &b->records[i]);
        take_chain(text, b);
        return true;
    }
    return false;
}

/* As ssl_verify_cert_chain() does. */
static int verify(SSL *ssl, STACK_OF(X509) * chain)
{
    X509_STORE_CTX *c = X509_STORE_CTX_new();
    assert_non_null(c);
    X509_STORE *store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    assert_int_equal(X509_STORE_CTX_init(c, store, sk_X509_value(chain, 0), chain), 1);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(c);
    X509_VERIFY_PARAM_set_auth_level(param, SSL_get_security_level(ssl));
    assert_int_equal(X509_STORE_CTX_set_ex_data(c, SSL_get_ex_data_X509_STORE_CTX_idx(), ssl), 1);
    X509_STORE_CTX_set0_dane(c, SSL_get0_dane(ssl));
    assert_int_equal(X509_STORE_CTX_set_default(c, "ssl_server"), 1);
    assert_int_equal(X509_VERIFY_PARAM_set1(param, SSL_get0_param(ssl)), 1);
    assert_null(SSL_get_verify_callback(ssl)); /* nothing of ours softens what it says */
    int ok = X509_verify_cert(c), error = X509_STORE_CTX_get_error(c);
    assert_true((ok == 1) == (error == X509_V_OK));
    X509_STORE_CTX_free(c);
    SSL_set_verify_result(ssl, error);
    return error;
}

static bool is_usable(const struct tls_tlsa *r)
{
    return r->usage == 2 || r->usage == 3;
}

static void decide(struct tt_rig *r, const struct block *b, struct str name, size_t number, struct sum *sum)
{
    size_t n_usable = 0;
    r->start = (struct tls_start){.server_name = name,
                                  .check = TLS_CHECK_DANE,
                                  .names = &name,
                                  .n_names = 1,
                                  .tlsa = b->records,
                                  .n_tlsa = (size_t)b->n_records};
    for (size_t i = 0; i < b->n_records; i++)
        n_usable += is_usable(&b->records[i]);
    assert_true(n_usable == 0 || n_usable == b->n_records); /* the file mixes neither */
    tt_connect(r);
    tt_start_client(r);
    const struct tls_shake *shake = r->client.c->tls->shake;
    SSL *ssl = r->client.c->tls->ssl;
    assert_int_equal(shake->n_usable, n_usable);
    assert_int_equal(SSL_get_verify_mode(ssl), n_usable > 0 ? SSL_VERIFY_PEER : SSL_VERIFY_NONE);
    if (n_usable == 0) {
        sum->n_unusable++;
        return;
    }
    int expect =
        b->records[0].usage == 3 && b->expect == X509_V_ERR_HOSTNAME_MISMATCH ? X509_V_OK : b->expect;
    int got = verify(ssl, b->chain), depth = SSL_get0_dane_authority(ssl, NULL, NULL);
    if (got != expect || (got == X509_V_OK && depth != b->depth))
        fail_msg("block %zu: %s at %d, wanted %s at %d", number, X509_verify_cert_error_string(got), depth,
                 X509_verify_cert_error_string(expect), b->depth);
    sum->n_decided++;
    sum->n_refused += got != X509_V_OK;
}

static void decide_all(const char *file, struct str name, struct sum *sum)
{
    char *mem = mem_must_alloc(FILE_MAX), *roots = mem_must_alloc(FILE_MAX);
    struct block *b = mem_must_alloc(sizeof *b);
    struct str text = read_suite(file, mem);
    struct tt_rig r;
    tt_setup(&r);
    char why_mem[256];
    struct buf why;
    buf_init_fixed(&why, why_mem, sizeof why_mem);
    struct tls_client_conf conf = {.ca = read_suite("danetest.pem", roots)};
    r.client_context = world_tls_client(r.w, &conf, &why);
    assert_non_null(r.client_context);
    for (size_t number = 1; next_block(&text, b); number++) {
        decide(&r, b, name, number, sum);
        sk_X509_pop_free(b->chain, X509_free);
    }
    tt_teardown(&r);
    mem_free(b);
    mem_free(roots);
    mem_free(mem);
}

static void chains_match_records_or_not(void **state)
{
    struct sum sum = {0};
    UNUSED(state);
    decide_all("danetest.in", STR("example.com"), &sum);
    print_message("# %zu chains decided, %zu of them refused; %zu sets without a record for mail\n",
                  sum.n_decided, sum.n_refused, sum.n_unusable);
    assert_true(sum.n_decided >= DECIDED_MIN && sum.n_refused >= REFUSED_MIN && sum.n_unusable > 0);
}

/* A root in the record, a cross-certificate for it in what the server sends. */
static void a_root_in_a_record_beats_a_cross_certificate(void **state)
{
    struct sum sum = {0};
    UNUSED(state);
    decide_all("dane-cross.in", STR("server.example"), &sum);
    assert_int_equal(sum.n_decided, 1);
}

int main(void)
{
    FILE *f = suite_file("danetest.in");
    if (f == NULL) {
        (void)puts("1..0 # SKIP the suite dane-openssl is not here (set WAXWING_SUITES)");
        return 0;
    }
    (void)fclose(f);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_match_records_or_not),
        cmocka_unit_test(a_root_in_a_record_beats_a_cross_certificate),
    };
    return cmocka_run_group_tests_name("tls_suite", tests, NULL, NULL);
}
