#include "ext/tlsrpt_jansson.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct fixture {
    struct chunk_pool pool;
    struct arena arena;
    struct tls_rpt_report report;
    struct buf why;
    char mem[256];
};

static void setup(struct fixture *f, size_t limit)
{
    tlsrpt_seed(1);
    chunk_pool_init(&f->pool, 4096, 4000);
    arena_init(&f->arena, &f->pool, limit);
    buf_init_fixed(&f->why, f->mem, sizeof f->mem);
}

static void teardown(struct fixture *f)
{
    arena_reset(&f->arena);
    chunk_pool_fini(&f->pool);
}

#define RANGE                                                                                                \
    "\"date-range\":{\"start-datetime\":\"2016-04-01T00:00:00Z\",\"end-datetime\":\"2016-04-01T23:59:59Z\"}"
#define HEAD "{" RANGE ",\"policies\":["
#define ONE(rest) HEAD "{\"policy\":{\"policy-type\":\"tlsa\"}" rest "}]}"

static void refuses(void **state)
{
    UNUSED(state);
    static const struct {
        const char *json, *why; /* NULL: taken */
    } rows[] = {
        {HEAD "]}", NULL},
        {ONE(""), NULL},
        {ONE(",\"summary\":null,\"failure-details\":null"), NULL},
        {ONE(",\"unknown\":[{}]"), NULL},
        {"", "no JSON"},
        {"{", "no JSON"},
        {"[]", "no object"},
        {"{}", "no policies"},
        {HEAD "]", "no JSON"},
        {HEAD "]}x", "no JSON"},
        {HEAD "],\"policies\":[]}", "no JSON"},
        {HEAD "],\"report-id\":\"\\u0000\"}", "no JSON"},
        {HEAD "],\"report-id\":\"\xff\"}", "no JSON"},
        {HEAD "],\"report-id\":7}", "a text"},
        {HEAD "7]}", "a policy"},
        {HEAD "{}]}", "a policy"},
        {HEAD "{\"policy\":[]}]}", "parts"},
        {"{" RANGE ",\"policies\":{}}", "parts"},
        {"{\"policies\":[]}", "date-range"},
        {"{\"policies\":[],\"date-range\":{\"start-datetime\":\"2016-04-01\"}}", "date-range"},
        {ONE(",\"summary\":{\"total-failure-session-count\":-1}"), "a count"},
        {ONE(",\"summary\":{\"total-failure-session-count\":1.5}"), "a count"},
        {ONE(",\"summary\":{\"total-failure-session-count\":\"1\"}"), "a count"},
        {ONE(",\"failure-details\":[1]"), "parts"},
        {ONE(",\"failure-details\":{}"), "parts"},
        {HEAD "{\"policy\":{\"mx-host\":[1]}}]}", "a text"},
        {HEAD "{\"policy\":{\"mx-host\":{}}}]}", "a text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        setup(&f, 100000);
        bool ok = tlsrpt_read(str_from_c(rows[i].json), &f.arena, &f.report, &f.why);
        bool is_right = ok == (rows[i].why == NULL) &&
                        (ok || str_find(buf_str(&f.why), str_from_c(rows[i].why)) != STR_NPOS);
        if (!is_right)
            print_message("# %s: %.*s\n", rows[i].json, STR_FMT(buf_str(&f.why)));
        assert_true(is_right);
        teardown(&f);
    }
}

static void bounds(void **state)
{
    UNUSED(state);
    struct fixture f;
    struct buf b;
    setup(&f, 10000);
    buf_init(&b, 2 * TLS_RPT_REPORT_MAX);
    for (size_t depth = TLSRPT_DEPTH_MAX - 3; depth <= TLSRPT_DEPTH_MAX - 1; depth++) {
        buf_reset(&b);
        buf_puts(&b, HEAD "],\"x\":");
        for (size_t i = 0; i < depth; i++)
            buf_putc(&b, '[');
        for (size_t i = 0; i < depth; i++)
            buf_putc(&b, ']');
        buf_putc(&b, '}');
        bool ok = depth < TLSRPT_DEPTH_MAX;
        assert_int_equal(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why), ok);
    }
    buf_reset(&b);
    for (size_t i = 0; i < 300000; i++)
        buf_putc(&b, '['); /* a parser that recurses would never come back */
    assert_false(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why));
    buf_reset(&b);
    buf_puts(&b, HEAD "],\"x\":[1");
    for (size_t i = 0; i < TLSRPT_VALUES_MAX; i++)
        buf_puts(&b, ",1");
    buf_puts(&b, "]}");
    assert_false(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why));
    /* brackets inside of texts count for nothing */
    buf_reset(&b);
    buf_puts(&b, HEAD "],\"x\":\"\\\"");
    for (size_t i = 0; i < TLSRPT_VALUES_MAX + 1; i++)
        buf_puts(&b, "[,");
    buf_puts(&b, "\"}");
    assert_true(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why));
    buf_reset(&b);
    buf_puts(&b, HEAD "]}");
    while (b.n < TLS_RPT_REPORT_MAX)
        buf_putc(&b, ' ');
    assert_true(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why));
    buf_putc(&b, ' ');
    assert_false(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why));
    /* the arena's limit */
    buf_reset(&b);
    buf_reset(&f.why);
    buf_puts(&b, HEAD "],\"report-id\":\"");
    for (size_t i = 0; i < 10001; i++)
        buf_putc(&b, 'x');
    buf_puts(&b, "\"}");
    assert_false(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why));
    assert_true(str_eq(buf_str(&f.why), STR("it is too big")));
    /* rows */
    buf_reset(&b);
    buf_reset(&f.why);
    buf_puts(&b, HEAD "{}");
    for (size_t i = 0; i < TLSRPT_POLICIES_MAX; i++)
        buf_puts(&b, ",{}");
    buf_puts(&b, "]}");
    assert_false(tlsrpt_read(buf_str(&b), &f.arena, &f.report, &f.why));
    assert_true(str_eq(buf_str(&f.why), STR("it has too many rows")));
    buf_fini(&b);
    teardown(&f);
}

/* What tls_rpt_write() writes is read back, and written again the same. */
static void reads_what_we_write(void **state)
{
    UNUSED(state);
    struct str lines[] = {STR("3 1 1 ab"), STR("\"\\\n\xc3\xbc")};
    struct tls_rpt_failure failures[TLS_RPT_RESULTS_N];
    for (enum tls_rpt_result r = 0; r < TLS_RPT_RESULTS_N; r++)
        failures[r] = (struct tls_rpt_failure){.result = r,
                                               .n = r * 1000000000000u,
                                               .mx = STR("mx"),
                                               .sending_ip = STR("::1"),
                                               .helo = STR("h"),
                                               .info = STR("i"),
                                               .receiving_ip = STR("::2"),
                                               .reason = STR("r")};
    struct tls_rpt_policy policies[] = {
        {.type = TLS_RPT_TLSA,
         .domain = STR("d"),
         .lines = lines,
         .n_lines = 2,
         .mx = lines,
         .n_mx = 1,
         .n_ok = 7,
         .n_failed = INT64_MAX,
         .failures = failures,
         .n_failures = TLS_RPT_RESULTS_N},
        {.type = TLS_RPT_NO_POLICY},
    };
    struct tls_rpt_report r = {STR("o"), STR("c"), STR("i"), 0, 253402300799, policies, 2};
    struct fixture f;
    struct buf one, two;
    setup(&f, 100000);
    buf_init(&one, 100000);
    buf_init(&two, 100000);
    assert_true(tls_rpt_write(&r, &one));
    assert_true(tlsrpt_read(buf_str(&one), &f.arena, &f.report, &f.why));
    assert_int_equal(f.report.end_s, r.end_s);
    assert_int_equal(f.report.policies[0].failures[3].n, 3000000000000);
    assert_true(str_eq(f.report.policies[0].lines[1], lines[1]));
    assert_true(tls_rpt_write(&f.report, &two));
    assert_true(str_eq(buf_str(&one), buf_str(&two)));
    buf_fini(&one);
    buf_fini(&two);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds),
        cmocka_unit_test(reads_what_we_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
