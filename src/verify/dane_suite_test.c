#include "verify/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The records of OpenSSL's own DANE tests, read in place when they are there. Whether a chain matches is for
 * the TLS library; which records of each set reach it is ours: for mail those of usage 2 and 3 and no others
 * (RFC 7672 3.1.3). All of the file are well-formed, whole certificates and keys among them. */

enum {
    FILE_MAX = 1 << 20,
    RECORD_MAX = 4096,
    SET_MAX = 8,
    SETS_MIN = 50,
    FULL_MIN = 5,
    PATH_MAX_OURS = 1024
};

static FILE *suite_file(void)
{
    const char *suites = getenv("WAXWING_SUITES");
    char path[PATH_MAX_OURS];
    int n = snprintf(path, sizeof path, "%s/dane-openssl/danetest.in",
                     suites != NULL ? suites : WAXWING_ROOT "/../shared/suites");
    must(n > 0 && (size_t)n < sizeof path);
    return fopen(path, "rb");
}

/* "3 1 1 05C6..." as rdata; false: another line. */
static bool take_record(struct str line, char *mem, struct str *out)
{
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        uint64_t number;
        if (!str_to_u64(str_cut(&line, ' '), 255, &number))
            return false;
        mem[n++] = (char)number;
    }
    line = str_trim(line);
    if (line.n < 2 || line.n % 2 != 0 || line.n / 2 + n > RECORD_MAX)
        return false;
    for (size_t i = 0; i < line.n; i += 2) {
        int high = ascii_hex_value(line.p[i]), low = ascii_hex_value(line.p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        mem[n++] = (char)(high * 16 + low);
    }
    *out = str_of(mem, n);
    return true;
}

static void check_set(const struct str *rdata, size_t n)
{
    struct dane_facts f = {.next_hop = STR("example.com"),
                           .host = STR("example.com"),
                           .port = 25,
                           .mx = DANE_MX_NONE,
                           .address = {DANE_FOUND, true, NULL, 0},
                           .tlsa[0] = {DANE_FOUND, true, rdata, n}};
    struct dane_verdict v;
    size_t n_want = 0;
    dane_judge(&f, &v);
    for (size_t i = 0; i < n; i++) {
        if (rdata[i].p[0] < DANE_TA)
            continue;
        assert_true(n_want < v.n_records);
        const struct dane_record *r = &v.records[n_want++];
        assert_true(r->usage == (uint8_t)rdata[i].p[0] && r->selector == (uint8_t)rdata[i].p[1] &&
                    r->matching == (uint8_t)rdata[i].p[2] && str_eq(r->data, str_skip(rdata[i], 3)));
    }
    assert_int_equal(v.n_records, n_want);
    assert_int_equal(v.result, n_want > 0 ? DANE_USABLE : DANE_UNUSABLE);
    assert_true(v.n_names == 1 && str_eq(v.names[0], STR("example.com")));
}

static void sets_are_usable_for_mail_or_not(void **state)
{
    UNUSED(state);
    char *mem = mem_must_alloc(FILE_MAX), *records = mem_must_alloc((size_t)SET_MAX * RECORD_MAX);
    FILE *file = suite_file();
    assert_non_null(file);
    struct str text = str_of(mem, fread(mem, 1, FILE_MAX, file));
    (void)fclose(file);
    size_t n_sets = 0, n_full = 0;
    while (text.n > 0) {
        struct str line = str_cut(&text, '\n'), head = line;
        uint64_t n, number;
        /* the head of a block: five numbers */
        bool is_head = str_to_u64(str_cut(&head, ' '), SET_MAX, &n) &&
                       str_to_u64(str_cut(&head, ' '), 9, &number) &&
                       str_to_u64(str_cut(&head, ' '), 1, &number) &&
                       str_to_u64(str_cut(&head, ' '), 99, &number) && head.n > 0 && head.n <= 2;
        if (!is_head)
            continue;
        struct str rdata[SET_MAX];
        for (size_t i = 0; i < n; i++) {
            assert_true(take_record(str_cut(&text, '\n'), records + i * RECORD_MAX, &rdata[i]));
            n_full += rdata[i].p[2] == DANE_FULL && rdata[i].p[0] >= DANE_TA;
        }
        check_set(rdata, (size_t)n);
        n_sets++;
    }
    print_message("# %zu sets, %zu whole certificates or keys\n", n_sets, n_full);
    assert_true(n_sets >= SETS_MIN && n_full >= FULL_MIN);
    mem_free(records);
    mem_free(mem);
}

int main(void)
{
    FILE *f = suite_file();
    if (f == NULL) {
        (void)puts("1..0 # SKIP the suite dane-openssl is not here (set WAXWING_SUITES)");
        return 0;
    }
    (void)fclose(f);
    const struct CMUnitTest tests[] = {cmocka_unit_test(sets_are_usable_for_mail_or_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
