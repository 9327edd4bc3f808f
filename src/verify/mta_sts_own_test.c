/* The policy that we publish, against the parser that other servers' policies go through. */
#include "verify/mta_sts_own.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static char mem[MTA_STS_OWN_MAX];
static struct buf text;

static struct str make(enum mta_sts_mode mode, uint32_t age, const struct str *mx, size_t n)
{
    const struct mta_sts_own p = {.mode = mode, .max_age_s = age, .mx = mx, .n_mx = n};
    buf_init_fixed(&text, mem, sizeof mem);
    mta_sts_own_policy(&p, &text);
    assert_false(text.failed);
    return buf_str(&text);
}

static void texts(void **state)
{
    UNUSED(state);
    const struct str mx[] = {STR("mx.example.org"), STR("*.example.net")};
    struct mta_sts_policy p;
    struct str s = make(MTA_STS_ENFORCE, 604800, mx, 2);
    assert_true(str_eq(s, STR("version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmx: *.example.net\r\n"
                              "max_age: 604800\r\n")));
    assert_null(mta_sts_policy(s, &p));
    assert_true(p.mode == MTA_STS_ENFORCE && p.max_age_s == 604800 && p.n_mx == 2);
    assert_true(mta_sts_matches(&p, STR("mx.example.org")) && mta_sts_matches(&p, STR("a.example.net")) &&
                !mta_sts_matches(&p, STR("a.example.org")));
    assert_true(str_eq(make(MTA_STS_TESTING, 0, mx, 1),
                       STR("version: STSv1\r\nmode: testing\r\nmx: mx.example.org\r\nmax_age: 0\r\n")));
    s = make(MTA_STS_NONE, MTA_STS_MAX_AGE_S, mx, 2);
    assert_true(str_eq(s, STR("version: STSv1\r\nmode: none\r\nmax_age: 31557600\r\n")));
    assert_null(mta_sts_policy(s, &p));
    assert_true(p.mode == MTA_STS_NONE && p.max_age_s == MTA_STS_MAX_AGE_S);
}

/* As much as the configuration takes. */
static void longest(void **state)
{
    UNUSED(state);
    static char name[255];
    struct str mx[MTA_STS_OWN_MX_MAX];
    struct mta_sts_policy p;
    memset(name, 'a', sizeof name);
    name[0] = '*';
    for (size_t i = 1; i < sizeof name; i += 63)
        name[i] = '.';
    for (size_t i = 0; i < MTA_STS_OWN_MX_MAX; i++)
        mx[i] = str_of(name, sizeof name);
    assert_true(mta_sts_is_pattern(mx[0]));
    assert_null(mta_sts_policy(make(MTA_STS_TESTING, MTA_STS_MAX_AGE_S, mx, MTA_STS_OWN_MX_MAX), &p));
    assert_int_equal(p.n_mx, MTA_STS_OWN_MX_MAX);
}

static void ids(void **state)
{
    UNUSED(state);
    const struct str mx[] = {STR("mx.example.org"), STR("mx.example.net")};
    char ids[4][MTA_STS_ID_MAX + 1];
    char record_mem[128], dns_mem[256];
    for (size_t i = 0; i < 4; i++) {
        struct buf id;
        buf_init_fixed(&id, ids[i], sizeof ids[i]);
        mta_sts_own_id(make(i == 1 ? MTA_STS_ENFORCE : MTA_STS_TESTING, i == 2 ? 60 : 61, &mx[i == 3], 1),
                       &id);
        assert_true(buf_putc(&id, '\0'));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
    struct buf id, record, dns;
    buf_init_fixed(&id, mem + sizeof mem / 2, sizeof mem / 2);
    mta_sts_own_id(make(MTA_STS_TESTING, 61, mx, 1), &id); /* the first text again */
    assert_true(str_eq(buf_str(&id), str_from_c(ids[0])));
    buf_init_fixed(&record, record_mem, sizeof record_mem);
    buf_init_fixed(&dns, dns_mem, sizeof dns_mem);
    buf_putc(&record, ' ');
    buf_printf(&record, "v=STSv1; id=%s", ids[0]);
    record.p[0] = (char)(record.n - 1);
    struct str got, rdata = buf_str(&record);
    assert_true(mta_sts_record(&rdata, 1, &dns, &got) && str_eq(got, str_from_c(ids[0])));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(longest),
                                              cmocka_unit_test(ids)};
    return cmocka_run_group_tests_name("mta_sts_own", tests, NULL, NULL);
}
