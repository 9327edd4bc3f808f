#include "verify/mta_sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* Text as a TXT record, in pieces of n octets. */
static struct str txt(char *mem, struct str text, size_t n)
{
    size_t at = 0;
    do {
        struct str piece = str_slice(text, 0, n);
        mem[at++] = (char)piece.n;
        memcpy(mem + at, piece.p, piece.n);
        at += piece.n;
        text = str_skip(text, piece.n);
    } while (text.n > 0);
    return str_of(mem, at);
}

static void knows_its_places(void **state)
{
    UNUSED(state);
    char mem[128];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    mta_sts_record_name(STR("a.example"), &b);
    buf_putc(&b, ' ');
    mta_sts_policy_url(STR("a.example"), &b);
    assert_true(
        str_eq(buf_str(&b), STR("_mta-sts.a.example https://mta-sts.a.example/.well-known/mta-sts.txt")));
}

static void reads_records(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text[3];
        const char *id; /* NULL: none */
    } rows[] = {
        {{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
        {{"v=STSv1;id=20180907T090909"}, "20180907T090909"},
        {{"v=STSv1 ;\tid=1 ; "}, "1"},
        {{"v=STSv1; x.y-z_1=a:b,c/d?e; id=1"}, "1"},
        {{"v=STSv1; id=1; id=2"}, "1"},
        {{"v=spf1 -all", "v=STSv1; id=7", "v=STSv1x; id=9"}, "7"},
        {{"v=STSv1; id=12345678901234567890123456789012"}, "12345678901234567890123456789012"},
        {{"v=STSv1; id=123456789012345678901234567890123"}, NULL},
        {{"v=STSv1; id=1", "v=STSv1; id=2"}, NULL},
        {{"v=STSv1; id=1", "v=STSv1; id=1"}, NULL},
        {{"v=STSv1; id=1", "v=STSv1; nonsense"}, NULL}, /* not exactly one, though the second is broken */
        {{"id=20180907T090909; v=STSv1;"}, NULL},
        {{"azazaza;asdasdasdasd"}, NULL},
        {{"v=STSv12;id=20180907T090909;"}, NULL},
        {{"v=stsv1; id=1"}, NULL},
        {{" v=STSv1; id=1"}, NULL},
        {{"v=STSv1"}, NULL},
        {{"v=STSv1;"}, NULL},
        {{"v=STSv1; ID=1"}, NULL},
        {{"v=STSv1; id="}, NULL},
        {{"v=STSv1; id=a-b"}, NULL},
        {{"v=STSv1; id = 1"}, NULL},
        {{"v=STSv1; id"}, NULL},
        {{"v=STSv1; id=1; ; x=1"}, NULL},
        {{"v=STSv1; id=1; -x=1"}, NULL},
        {{"v=STSv1; id=1; x=\x01"}, NULL},
        {{"v=STSv1; id=1; x=\xc3\xbc"}, NULL},
        {{""}, NULL},
        {{NULL}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t pieces = 1; pieces < 40; pieces += 19) { /* split everywhere, somewhere, nowhere */
            char wire[3][256], mem[DNS_TXT_MAX];
            struct str rdata[3], id;
            size_t n = 0;
            struct buf b;
            buf_init_fixed(&b, mem, sizeof mem);
            for (; n < 3 && rows[i].text[n] != NULL; n++)
                rdata[n] = txt(wire[n], str_from_c(rows[i].text[n]), pieces);
            bool ok = mta_sts_record(rdata, n, &b, &id);
            if (ok != (rows[i].id != NULL))
                print_message("# row %zu\n", i);
            assert_int_equal(ok, rows[i].id != NULL);
            if (ok)
                assert_true(str_eq(id, str_from_c(rows[i].id)));
        }
    }
}

static void bounds_records(void **state)
{
    UNUSED(state);
    enum { N = DNS_TXT_MAX + 200 };
    char *text = mem_must_alloc(N), *wire = mem_must_alloc(2 * N), *mem = mem_must_alloc(DNS_TXT_MAX);
    memset(text, 'x', N);
    memcpy(text, "v=STSv1; id=1; x=", 17);
    struct str id, rdata[2];
    struct buf b;
    buf_init_fixed(&b, mem, DNS_TXT_MAX);
    rdata[0] = txt(wire, str_of(text, DNS_TXT_MAX), 255);
    assert_true(mta_sts_record(rdata, 1, &b, &id) && str_eq(id, STR("1")));
    buf_reset(&b);
    char second[64];
    rdata[1] = txt(second, STR("v=STSv1; id=2"), 255);
    assert_false(mta_sts_record(rdata, 2, &b, &id)); /* two, though the first filled the buffer */
    buf_reset(&b);
    rdata[0] = txt(wire, str_of(text, DNS_TXT_MAX + 1), 255);
    assert_false(mta_sts_record(rdata, 1, &b, &id));
    mem_free(mem);
    mem_free(wire);
    mem_free(text);
}

#define V "version: STSv1\n"
#define ENFORCE V "mode: enforce\n"
#define GOOD ENFORCE "max_age: 86400\nmx: mail.example.com\n"

static void reads_policies(void **state)
{
    UNUSED(state);
    static const struct {
        const char *body;
        const char *wrong; /* a part of the text, NULL: good */
        enum mta_sts_mode mode;
        uint32_t max_age_s;
        size_t n_mx;
    } rows[] = {
        {"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: backupmx.example.com\n"
         "max_age: 604800\n",
         NULL, MTA_STS_ENFORCE, 604800, 3}, /* RFC 8461 3.2 */
        {"version: STSv1\r\nmode: testing\r\nmx: a\r\nmax_age: 0\r\n", NULL, MTA_STS_TESTING, 0, 1},
        {"version:STSv1\nmode:none\nmax_age:31557600", NULL, MTA_STS_NONE, 31557600, 0},
        {"max_age: 1\nmx: a.b\nmode:\t enforce \t\nversion: STSv1  \n\n \n", NULL, MTA_STS_ENFORCE, 1, 1},
        {GOOD "new-key: any thing: \xc3\xbc\n", NULL, MTA_STS_ENFORCE, 86400, 1},
        {GOOD "mode: none\nmax_age: x\nversion: STSv2\n", NULL, MTA_STS_ENFORCE, 86400, 1},
        {V "mode: none\nmx: a\nmax_age: 1", NULL, MTA_STS_NONE, 1, 1},
        {ENFORCE "max_age: 86400\n", "no mx", 0, 0, 0},
        {V "mode: testing\nmax_age: 86400\n", "no mx", 0, 0, 0},
        {V "mx: a\nmax_age: 1\n", "no mode", 0, 0, 0},
        {"mode: enforce\nmx: a\nmax_age: 1\n", "no version", 0, 0, 0},
        {ENFORCE "mx: a\n", "no max_age", 0, 0, 0},
        {"", "no version", 0, 0, 0},
        {"garbage", "no key", 0, 0, 0},
        {GOOD "garbage", "no key", 0, 0, 0},
        {GOOD ": x", "no key", 0, 0, 0},
        {GOOD "key : x", "no key", 0, 0, 0},
        {GOOD " key: x", "no key", 0, 0, 0},
        {GOOD "key: \x01", "no key", 0, 0, 0},
        {"version: STSv1\rmode: enforce\rmx: a\rmax_age: 1\r", "no key", 0, 0, 0},
        {"Version: STSv1\nmode: none\nmax_age: 1", "no version", 0, 0, 0},
        {"version: STSv2\n", "version is unknown", 0, 0, 0},
        {V "mode: doubt\n", "mode", 0, 0, 0},
        {V "mode: Enforce\n", "mode", 0, 0, 0},
        {V "mode:\n", "mode", 0, 0, 0},
        {V "max_age: xxx\n", "max_age", 0, 0, 0},
        {V "max_age: 31557601\n", "max_age", 0, 0, 0},
        {V "max_age: -1\n", "max_age", 0, 0, 0},
        {V "max_age: 00000000001\n", "max_age", 0, 0, 0},
        {V "max_age:\n", "max_age", 0, 0, 0},
        {V "mx: *\n", "host", 0, 0, 0},
        {V "mx: *.\n", "host", 0, 0, 0},
        {V "mx: a.*.b\n", "host", 0, 0, 0},
        {V "mx: *.*.b\n", "host", 0, 0, 0},
        {V "mx: a..b\n", "host", 0, 0, 0},
        {V "mx: .a\n", "host", 0, 0, 0},
        {V "mx: a.\n", "host", 0, 0, 0},
        {V "mx: -a\n", "host", 0, 0, 0},
        {V "mx: a-.b\n", "host", 0, 0, 0},
        {V "mx: a b\n", "host", 0, 0, 0},
        {V "mx: a_b\n", "host", 0, 0, 0},
        {V "mx:\n", "host", 0, 0, 0},
    };
    struct mta_sts_policy *p = mem_must_new(struct mta_sts_policy);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = mta_sts_policy(str_from_c(rows[i].body), p);
        if ((why == NULL) != (rows[i].wrong == NULL))
            print_message("# %s: %s\n", rows[i].body, why != NULL ? why : "good");
        assert_int_equal(why == NULL, rows[i].wrong == NULL);
        if (why != NULL)
            assert_non_null(strstr(why, rows[i].wrong));
        else
            assert_true(p->mode == rows[i].mode && p->max_age_s == rows[i].max_age_s &&
                        p->n_mx == rows[i].n_mx);
    }
    mem_free(p);
}

static void bounds_policies(void **state)
{
    UNUSED(state);
    struct mta_sts_policy *p = mem_must_new(struct mta_sts_policy);
    struct buf b;
    buf_init(&b, MTA_STS_POLICY_MAX + 100);
    buf_puts(&b, ENFORCE "max_age: 1\n");
    for (size_t i = 0; i < MTA_STS_MX_MAX; i++)
        buf_printf(&b, "mx: h%zu.example\n", i);
    assert_null(mta_sts_policy(buf_str(&b), p));
    assert_int_equal(p->n_mx, MTA_STS_MX_MAX);
    size_t full = b.n;
    buf_puts(&b, "mx: one.more\n");
    assert_non_null(strstr(mta_sts_policy(buf_str(&b), p), "too many"));
    b.n = full;
    while (b.n < MTA_STS_POLICY_MAX)
        buf_putc(&b, '\n');
    assert_null(mta_sts_policy(buf_str(&b), p));
    buf_putc(&b, '\n');
    assert_non_null(strstr(mta_sts_policy(buf_str(&b), p), "too long"));
    buf_fini(&b);
    mem_free(p);
}

static void matches_hosts(void **state)
{
    UNUSED(state);
    static const struct {
        const char *host;
        bool is_one;
    } rows[] = {
        {"mail.example.com", true},
        {"MAIL.Example.COM", true},
        {"mail.example.com.", true},
        {"a.example.net", true},
        {"A.EXAMPLE.NET.", true},
        {"example.net", false},
        {"a.b.example.net", false},
        {".example.net", false},
        {"xexample.net", false},
        {"example.com", false},
        {"x.mail.example.com", false},
        {"mail.example.com.evil.org", false},
        {"", false},
        {".", false},
        {"*.example.net", true},
        {"b.mail.example.com", false},
    };
    struct mta_sts_policy *p = mem_must_new(struct mta_sts_policy);
    assert_null(mta_sts_policy(STR(GOOD "mx: *.Example.net\n"), p));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (mta_sts_matches(p, str_from_c(rows[i].host)) != rows[i].is_one)
            print_message("# %s\n", rows[i].host);
        assert_int_equal(mta_sts_matches(p, str_from_c(rows[i].host)), rows[i].is_one);
    }
    mem_free(p);
}

enum { NOW = 1000000, AGE = 604800 };
#define CACHED(id, seconds_ago, max_age)                                                                     \
    .has_cached = true, .cached_id = STR_INIT(id), .cached_at_s = NOW - (seconds_ago),                       \
    .cached_max_age_s = (max_age)
#define FAILED(id, seconds_ago)                                                                              \
    .has_failed = true, .failed_id = STR_INIT(id), .failed_at_s = NOW - (seconds_ago)
#define RECORD(i) .now_s = NOW, .dns = MTA_STS_DNS_RECORD, .id = STR_INIT(i)
#define NO_RECORD .now_s = NOW, .dns = MTA_STS_DNS_NONE
#define DNS_LOST .now_s = NOW, .dns = MTA_STS_DNS_FAILED

static void plans(void **state)
{
    UNUSED(state);
    /* clang-format off */
    static const struct {
        const char *name;
        struct mta_sts_facts f;
        const char *want; /* a: apply, f: fetch, w: wait */
    } rows[] = {
        {"no record, nothing cached", {NO_RECORD}, ""},
        {"DNS failed, nothing cached", {DNS_LOST}, ""},
        {"first contact", {RECORD("1")}, "fw"},
        {"first contact, failed a minute ago", {RECORD("1"), FAILED("1", 60)}, ""},
        {"first contact, failed just now", {RECORD("1"), FAILED("1", 0)}, ""},
        {"first contact, failed five minutes ago", {RECORD("1"), FAILED("1", 300)}, "fw"},
        {"first contact, failed for another id", {RECORD("1"), FAILED("2", 60)}, "fw"},
        {"first contact, failed in the future", {RECORD("1"), FAILED("1", -60)}, "fw"},
        {"cached", {RECORD("1"), CACHED("1", 60, AGE)}, "a"},
        {"cached, a day old", {RECORD("1"), CACHED("1", 86400, AGE)}, "af"},
        {"cached, a day old, failed a minute ago", {RECORD("1"), CACHED("1", 86400, AGE), FAILED("1", 60)}, "a"},
        {"cached for less than a day, in its second half", {RECORD("1"), CACHED("1", 51, 100)}, "af"},
        {"cached, its last second", {RECORD("1"), CACHED("1", AGE - 1, AGE)}, "af"},
        {"expired", {RECORD("1"), CACHED("1", AGE, AGE)}, "fw"},
        {"expired, failed a minute ago", {RECORD("1"), CACHED("1", AGE, AGE), FAILED("1", 60)}, ""},
        {"max_age of 0", {RECORD("1"), CACHED("1", 0, 0)}, "fw"},
        {"changed", {RECORD("2"), CACHED("1", 60, AGE)}, "afw"},
        {"changed, failed a minute ago", {RECORD("2"), CACHED("1", 60, AGE), FAILED("2", 60)}, "a"},
        {"changed, failed for the old id", {RECORD("2"), CACHED("1", 60, AGE), FAILED("1", 60)}, "afw"},
        {"ids have case", {RECORD("A"), CACHED("a", 60, AGE)}, "afw"},
        {"the record is gone", {NO_RECORD, CACHED("1", 60, AGE)}, "a"},
        {"the record is gone, expired", {NO_RECORD, CACHED("1", AGE, AGE)}, ""},
        {"DNS failed", {DNS_LOST, CACHED("1", 60, AGE)}, "a"},
        {"DNS failed, expired", {DNS_LOST, CACHED("1", AGE, AGE)}, ""},
        {"the clock was set back", {RECORD("1"), CACHED("1", -AGE * 10, AGE)}, "a"},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mta_sts_plan p = mta_sts_plan(&rows[i].f);
        char got[4];
        (void)snprintf(got, sizeof got, "%s%s%s", p.apply ? "a" : "", p.fetch ? "f" : "", p.wait ? "w" : "");
        if (strcmp(got, rows[i].want) != 0)
            print_message("# %s: %s\n", rows[i].name, got);
        assert_string_equal(got, rows[i].want);
        assert_true(strlen(p.why) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_its_places),
        cmocka_unit_test(reads_records),
        cmocka_unit_test(bounds_records),
        cmocka_unit_test(reads_policies),
        cmocka_unit_test(bounds_policies),
        cmocka_unit_test(matches_hosts),
        cmocka_unit_test(plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
