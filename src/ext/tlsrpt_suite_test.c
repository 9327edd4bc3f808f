#include "ext/tlsrpt_jansson.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Published reports, read in place when they are there: sums of what is in them, counted by hand, and that
 * writing and reading again changes nothing. */

enum { FILE_MAX = 1 << 16, PATH_MAX_OURS = 1024 };

static const struct {
    const char *name, *organization, *id;
    size_t n_policies;
    enum tls_rpt_type type; /* the first policy's */
    size_t n_lines, n_mx, n_failures;
    uint64_t n_ok, n_failed, n_in_details;
    enum tls_rpt_result last; /* the last failure's, OTHER: there is none */
} rows[] = {
    {"rpt01.json", "Company-X", "5065427c-23d3-47ca-b6e0-946ea0e8c4be", 1, TLS_RPT_STS, 4, 1, 3, 5326, 303,
     303, TLS_RPT_VALIDATION_FAILURE},
    {"rpt02.json", "Google Inc.", "2020-01-01T00:00:00Z_example.com", 1, TLS_RPT_STS, 4, 0, 1, 23, 1, 1,
     TLS_RPT_CERTIFICATE_HOST_MISMATCH},
    {"rpt03.json", "Google Inc.", "2019-04-14T00:00:00Z_example.org", 2, TLS_RPT_NO_POLICY, 0, 0, 0, 1, 0, 0,
     TLS_RPT_OTHER},
    {"parsedmarc/rfc8460.json", "Company-X", "5065427c-23d3-47ca-b6e0-946ea0e8c4be", 1, TLS_RPT_STS, 4, 1, 3,
     5326, 303, 303, TLS_RPT_VALIDATION_FAILURE},
    {"parsedmarc/mail.ru.json", "Mail.ru", "b28254de-7b2e-be36-bb5c-4c3b92da8b25@mail.ru", 1, TLS_RPT_STS, 0,
     0, 2, 0, 1, 2, TLS_RPT_STS_POLICY_FETCH_ERROR},
    {"parsedmarc/smtp_tls.json", "Example Inc.", "2024-01-09T00:00:00Z_example.com", 1, TLS_RPT_STS, 4, 0, 2,
     0, 3, 3, TLS_RPT_VALIDATION_FAILURE},
};

static FILE *suite_file(const char *name)
{
    const char *suites = getenv("WAXWING_SUITES");
    char path[PATH_MAX_OURS];
    int n = snprintf(path, sizeof path, "%s/tlsrpt-reports/%s",
                     suites != NULL ? suites : WAXWING_ROOT "/../shared/suites", name);
    must(n > 0 && (size_t)n < sizeof path);
    return fopen(path, "rb");
}

static void published_reports_are_read(void **state)
{
    UNUSED(state);
    char *mem = mem_must_alloc(FILE_MAX);
    tlsrpt_seed(1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        FILE *f = suite_file(rows[i].name);
        assert_non_null(f);
        struct str json = str_of(mem, fread(mem, 1, FILE_MAX, f));
        (void)fclose(f);
        struct chunk_pool pool;
        struct arena a;
        struct tls_rpt_report r, again;
        struct buf why, one, two;
        chunk_pool_init(&pool, 4096, 1000);
        arena_init(&a, &pool, 1000000);
        buf_init(&why, 1000);
        buf_init(&one, FILE_MAX);
        buf_init(&two, FILE_MAX);
        bool ok = tlsrpt_read(json, &a, &r, &why);
        if (!ok)
            print_message("# %s: %.*s\n", rows[i].name, STR_FMT(buf_str(&why)));
        assert_true(ok);
        const struct tls_rpt_policy *p = &r.policies[0];
        uint64_t n_in_details = 0;
        for (size_t k = 0; k < p->n_failures; k++)
            n_in_details += p->failures[k].n;
        assert_true(str_eq(r.organization, str_from_c(rows[i].organization)));
        assert_true(str_eq(r.id, str_from_c(rows[i].id)));
        assert_true(r.n_policies == rows[i].n_policies && p->type == rows[i].type);
        assert_true(p->n_lines == rows[i].n_lines && p->n_mx == rows[i].n_mx);
        assert_true(p->n_ok == rows[i].n_ok && p->n_failed == rows[i].n_failed);
        assert_true(p->n_failures == rows[i].n_failures && n_in_details == rows[i].n_in_details);
        if (p->n_failures > 0)
            assert_int_equal(p->failures[p->n_failures - 1].result, rows[i].last);
        assert_true(r.begin_s < r.end_s && r.begin_s > 1459000000);
        assert_true(tls_rpt_write(&r, &one) && tlsrpt_read(buf_str(&one), &a, &again, &why));
        assert_true(tls_rpt_write(&again, &two) && str_eq(buf_str(&one), buf_str(&two)));
        buf_fini(&two);
        buf_fini(&one);
        buf_fini(&why);
        arena_reset(&a);
        chunk_pool_fini(&pool);
    }
    mem_free(mem);
}

int main(void)
{
    FILE *f = suite_file(rows[0].name);
    if (f == NULL) {
        (void)puts("1..0 # SKIP the suite tlsrpt-reports is not here (set WAXWING_SUITES)");
        return 0;
    }
    (void)fclose(f);
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_reports_are_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
