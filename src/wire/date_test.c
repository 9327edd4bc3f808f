#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/date.h"

struct row {
    int64_t unix_s;
    const char *rfc5322, *rfc3339;
};

/* clang-format off */
static const struct row rows[] = {
    {0,                        "Thu, 01 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00Z"},
    {-1,                       "Wed, 31 Dec 1969 23:59:59 +0000", "1969-12-31T23:59:59Z"},
    {951782400,                "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00Z"},
    {951868799,                "Tue, 29 Feb 2000 23:59:59 +0000", "2000-02-29T23:59:59Z"},
    {951868800,                "Wed, 01 Mar 2000 00:00:00 +0000", "2000-03-01T00:00:00Z"},
    {1795482123,               "Tue, 24 Nov 2026 01:02:03 +0000", "2026-11-24T01:02:03Z"},
    {2147483647,               "Tue, 19 Jan 2038 03:14:07 +0000", "2038-01-19T03:14:07Z"},
    {4102444800,               "Fri, 01 Jan 2100 00:00:00 +0000", "2100-01-01T00:00:00Z"},
    {4107542400,               "Mon, 01 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00Z"},
    {-2203891201,              "Wed, 28 Feb 1900 23:59:59 +0000", "1900-02-28T23:59:59Z"},
    {-2203891200,              "Thu, 01 Mar 1900 00:00:00 +0000", "1900-03-01T00:00:00Z"},
    {INT64_C(253402300799),    "Fri, 31 Dec 9999 23:59:59 +0000", "9999-12-31T23:59:59Z"},
    {INT64_C(-62167219200),    "Sat, 01 Jan 0000 00:00:00 +0000", "0000-01-01T00:00:00Z"},
    {INT64_C(-62162035200),    "Wed, 01 Mar 0000 00:00:00 +0000", "0000-03-01T00:00:00Z"},
};
/* clang-format on */

static void formats(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[64];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        date_format_rfc5322(rows[i].unix_s, &b);
        if (!str_eq(buf_str(&b), str_from_c(rows[i].rfc5322)))
            fail_msg("%s: %.*s", rows[i].rfc5322, STR_FMT(buf_str(&b)));
        int64_t back;
        assert_true(date_parse_rfc5322(buf_str(&b), &back));
        assert_int_equal(back, rows[i].unix_s);
        buf_reset(&b);
        date_format_rfc3339(rows[i].unix_s * 1000, false, &b);
        if (!str_eq(buf_str(&b), str_from_c(rows[i].rfc3339)))
            fail_msg("%s: %.*s", rows[i].rfc3339, STR_FMT(buf_str(&b)));
    }
}

static void formats_milliseconds_and_extremes(void **state)
{
    UNUSED(state);
    static const struct {
        int64_t unix_ms;
        const char *want;
    } texts[] = {
        {1795482123045, "2026-11-24T01:02:03.045Z"},   {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},           {-1001, "1969-12-31T23:59:58.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},       {INT64_MIN, "0000-01-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"}, {253402300800000, "9999-12-31T23:59:59.999Z"},
    };
    char mem[64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        buf_reset(&b);
        date_format_rfc3339(texts[i].unix_ms, true, &b);
        if (!str_eq(buf_str(&b), str_from_c(texts[i].want)))
            fail_msg("%s: %.*s", texts[i].want, STR_FMT(buf_str(&b)));
    }
    buf_reset(&b);
    date_format_rfc5322(INT64_MAX, &b);
    date_format_rfc5322(INT64_MIN, &b);
    assert_true(str_eq(buf_str(&b), STR("Fri, 31 Dec 9999 23:59:59 +0000Sat, 01 Jan 0000 00:00:00 +0000")));
}

/* The weekday comes round and each day is the one after the last, over 800 years. */
static void counts_every_day(void **state)
{
    UNUSED(state);
    static const char names[] = "ThuFriSatSunMonTueWed";
    for (int64_t day = -146097; day < 146097; day++) {
        char mem[64];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        date_format_rfc5322(day * 86400 + 43200, &b);
        assert_memory_equal(mem, names + 3 * ((day % 7 + 7) % 7), 3);
        int64_t back;
        if (!date_parse_rfc5322(buf_str(&b), &back) || back != day * 86400 + 43200)
            fail_msg("%.*s", STR_FMT(buf_str(&b)));
    }
}

static void parses(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        int64_t unix_s;
    } texts[] = {
        {"Tue, 24 Nov 2026 01:02:03 +0000", 1795482123},
        {"24 Nov 2026 01:02:03 +0000", 1795482123},
        {"tue, 24 nov 2026 01:02:03 gmt", 1795482123},
        {"Mon, 24 Nov 2026 01:02:03 +0000", 1795482123}, /* the wrong day */
        {"Tue,24 Nov 2026 01:02:03 -0000", 1795482123},
        {"Tue, 24 Nov 2026 02:02:03 +0100", 1795482123},
        {"Mon, 23 Nov 2026 17:32:03 -0730", 1795482123},
        {"Mon, 23 Nov 2026 20:02:03 EST", 1795482123},
        {"Mon, 23 Nov 2026 17:02:03 PST", 1795482123},
        {"Mon, 23 Nov 2026 18:02:03 PDT", 1795482123},
        {"24 Nov 26 01:02:03 UT", 1795482123},
        {"24 Nov 126 01:02:03 Z", 1795482123},
        {"24 Nov 2026 01:02:03 A", 1795482123}, /* military zones: RFC 5322 4.3 takes them for -0000 */
        {"24 Nov 2026 01:02:03 CEST", 1795482123},
        {"24 Nov 2026 01:02 +0000", 1795482120},
        {"24 Nov 2026 01:01:60 +0000", 1795482120},
        {" Tue,\r\n 24\t Nov 2026 01 : 02 : 03 +0000 (UTC) ", 1795482123},
        {"(a(b\\)c)) Tue (x), (y) 24 (z) Nov(1) 2026 (2)01:(3)02:03(4)+0000 (Central (European) Time)",
         1795482123},
        {"1 Jan 70 00:00:00 +0000", 0},
        {"31 Dec 49 23:59:59 +0000", 2524607999},
        {"1 Jan 50 00:00:00 +0000", -631152000},
        {"29 Feb 2024 00:00:00 +0000", 1709164800},
        {"1 Jan 0000 00:00:00 +0000", -62167219200},
        {"1 Jan 0000 00:00:00 +9959", -62167579140},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int64_t got = 7;
        if (!date_parse_rfc5322(str_from_c(texts[i].text), &got) || got != texts[i].unix_s)
            fail_msg("%s: %lld", texts[i].text, (long long)got);
    }
}

static void refuses(void **state)
{
    UNUSED(state);
    static const char *const texts[] = {
        "",
        " ",
        ",",
        "Tue",
        "Tue,",
        "now",
        "Xyz, 24 Nov 2026 01:02:03 +0000",
        "Tue 24 Nov 2026 01:02:03 +0000",
        "Tuesday, 24 Nov 2026 01:02:03 +0000",
        "24 November 2026 01:02:03 +0000",
        "24 11 2026 01:02:03 +0000",
        "0 Nov 2026 01:02:03 +0000",
        "31 Nov 2026 01:02:03 +0000",
        "30 Feb 2024 01:02:03 +0000",
        "29 Feb 2023 01:02:03 +0000",
        "29 Feb 1900 01:02:03 +0000",
        "32 Jan 2026 01:02:03 +0000",
        "024 Nov 2026 01:02:03 +0000",
        "24 Nov 6 01:02:03 +0000",
        "24 Nov 20266 01:02:03 +0000",
        "24 Nov 20266:02:03 +0000",
        "24 Nov -026 01:02:03 +0000",
        "24 Nov 2026 24:02:03 +0000",
        "24 Nov 2026 01:60:03 +0000",
        "24 Nov 2026 01:02:61 +0000",
        "24 Nov 2026 1:02:03 +0000",
        "24 Nov 2026 01:2:03 +0000",
        "24 Nov 2026 01:02:3 +0000",
        "24 Nov 2026 01:02: +0000",
        "24 Nov 2026 01 +0000",
        "24 Nov 2026 01:02:03",
        "24 Nov 2026 01:02:03 ",
        "24 Nov 2026 01:02:03 +",
        "24 Nov 2026 01:02:03 +000",
        "24 Nov 2026 01:02:03 +00000",
        "24 Nov 2026 01:02:03 +0060",
        "24 Nov 2026 01:02:03 + 0000",
        "24 Nov 2026 01:02:03 +00:00",
        "24 Nov 2026 01:02:03 +0000 x",
        "24 Nov 2026 01:02:03 +0000 (",
        "(24 Nov 2026 01:02:03 +0000",
        "24 Nov 2026 01:02:03 +0000)",
        "2026-11-24T01:02:03Z",
        "24 Nov 99999999999999999999 01:02:03 +0000",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int64_t got = 7;
        if (date_parse_rfc5322(str_from_c(texts[i]), &got))
            fail_msg("%s was taken", texts[i]);
        assert_int_equal(got, 7);
    }
    /* cut anywhere it is none, but for the zone's comment */
    struct str whole = STR("Tue, 24 Nov 2026 01:02:03 +0000");
    for (size_t n = 0; n < whole.n; n++) {
        int64_t got;
        assert_false(date_parse_rfc5322(str_slice(whole, 0, n), &got));
    }
}

static void parses_rfc3339(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        int64_t s;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-24t01:02:03z", 1795482123},
        {"2026-11-24T01:02:03.987654321+01:30", 1795476723},
        {"2026-11-24T01:02:03-00:30", 1795483923},
        {"2024-02-29T23:59:60Z", 1709251200},
    };
    static const char *const bad[] = {
        "",
        "2026-11-24",
        "2026-11-24T01:02:03",
        "2026-11-24 01:02:03Z",
        "2026-11-24T01:02:03ZZ",
        "26-11-24T01:02:03Z",
        "2026-02-29T01:02:03Z",
        "2026-00-01T01:02:03Z",
        "2026-13-01T01:02:03Z",
        "2026-01-00T01:02:03Z",
        "2026-01-32T01:02:03Z",
        "2026-11-24T24:02:03Z",
        "2026-11-24T01:60:03Z",
        "2026-11-24T01:02:61Z",
        "2026-11-24T01:02:03.Z",
        "2026-11-24T01:02:03+0100",
        "2026-11-24T01:02:03+24:00",
        "2026-11-24T01:02:03+01:60",
        "2026-11-24T1:02:03Z",
        "+026-11-24T01:02:03Z",
    };
    int64_t s;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(date_parse_rfc3339(str_from_c(good[i].text), &s));
        assert_int_equal(s, good[i].s);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(date_parse_rfc3339(str_from_c(bad[i]), &s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),          cmocka_unit_test(formats_milliseconds_and_extremes),
        cmocka_unit_test(counts_every_day), cmocka_unit_test(parses),
        cmocka_unit_test(refuses),          cmocka_unit_test(parses_rfc3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
