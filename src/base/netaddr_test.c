#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/netaddr.h"

#include <string.h>

struct row {
    const char *text;
    uint16_t default_port;
    const char *with_port; /* NULL: must be refused */
    const char *alone;
};

/* clang-format off */
static const struct row ip_rows[] = {
    {"192.0.2.1",                  25, "192.0.2.1:25",                   "192.0.2.1"},
    {"0.0.0.0",                    0,  "0.0.0.0:0",                      "0.0.0.0"},
    {"255.255.255.255",            1,  "255.255.255.255:1",              "255.255.255.255"},
    {"2001:db8::1",                25, "[2001:db8::1]:25",               "2001:db8::1"},
    {"2001:DB8:0:0:0:0:0:1",       25, "[2001:db8::1]:25",               "2001:db8::1"},
    {"::",                         25, "[::]:25",                        "::"},
    {"::1",                        25, "[::1]:25",                       "::1"},
    {"1::",                        25, "[1::]:25",                       "1::"},
    {"1:2:3:4:5:6:7:8",            25, "[1:2:3:4:5:6:7:8]:25",           "1:2:3:4:5:6:7:8"},
    {"1:2:3:4:5:6:7::",            25, "[1:2:3:4:5:6:7:0]:25",           "1:2:3:4:5:6:7:0"},
    {"::2:3:4:5:6:7:8",            25, "[0:2:3:4:5:6:7:8]:25",           "0:2:3:4:5:6:7:8"},
    /* RFC 5952 4.2.2, 4.2.3 */
    {"2001:db8:0:1:1:1:1:1",       25, "[2001:db8:0:1:1:1:1:1]:25",      "2001:db8:0:1:1:1:1:1"},
    {"2001:0:0:1:0:0:0:1",         25, "[2001:0:0:1::1]:25",             "2001:0:0:1::1"},
    {"2001:db8:0:0:1:0:0:1",       25, "[2001:db8::1:0:0:1]:25",         "2001:db8::1:0:0:1"},
    {"0:0:1::",                    25, "[0:0:1::]:25",                   "0:0:1::"},
    {"::ffff:192.0.2.128",         25, "192.0.2.128:25",                 "192.0.2.128"},
    {"::ffff:c000:280",            25, "192.0.2.128:25",                 "192.0.2.128"},
    {"::FFFF:1.2.3.4",             25, "1.2.3.4:25",                     "1.2.3.4"},
    {"64:ff9b::192.0.2.33",        25, "[64:ff9b::c000:221]:25",         "64:ff9b::c000:221"},
    {"::1.2.3.4",                  25, "[::102:304]:25",                 "::102:304"},
    {"1:2:3:4:5:6:1.2.3.4",        25, "[1:2:3:4:5:6:102:304]:25",       "1:2:3:4:5:6:102:304"},
    {"00ab:0:0:0:0:0:0:000f",      25, "[ab::f]:25",                     "ab::f"},
    {"", 25, NULL, NULL}, {"1.2.3", 25, NULL, NULL}, {"1.2.3.4.5", 25, NULL, NULL},
    {"1.2.3.", 25, NULL, NULL}, {".1.2.3", 25, NULL, NULL}, {"1..2.3", 25, NULL, NULL},
    {"256.1.1.1", 25, NULL, NULL}, {"01.2.3.4", 25, NULL, NULL}, {"1.2.3.04", 25, NULL, NULL},
    {"1.2.3.0x4", 25, NULL, NULL}, {"1.2.3.4 ", 25, NULL, NULL}, {" 1.2.3.4", 25, NULL, NULL},
    {"+1.2.3.4", 25, NULL, NULL}, {"1.2.3.-4", 25, NULL, NULL}, {"1.2.3.1000", 25, NULL, NULL},
    {":", 25, NULL, NULL}, {":::", 25, NULL, NULL}, {"::::", 25, NULL, NULL},
    {"1::2::3", 25, NULL, NULL}, {"1:2:3:4:5:6:7", 25, NULL, NULL},
    {"1:2:3:4:5:6:7:8:9", 25, NULL, NULL},
    {"::1:2:3:4:5:6:7:8", 25, NULL, NULL}, {"1:2:3:4::5:6:7:8", 25, NULL, NULL},
    {":1::2", 25, NULL, NULL},
    {"1::2:", 25, NULL, NULL}, {"12345::", 25, NULL, NULL}, {"g::", 25, NULL, NULL},
    {"1.2.3.4::", 25, NULL, NULL}, {"::1.2.3.4:5", 25, NULL, NULL}, {"::1.2.3", 25, NULL, NULL},
    {"1:2:3:4:5:6:7:1.2.3.4", 25, NULL, NULL}, {"fe80::1%eth0", 25, NULL, NULL},
    {"[::1]", 25, NULL, NULL},
};

static const struct row full_rows[] = {
    {"192.0.2.1",            25, "192.0.2.1:25",        "192.0.2.1"},
    {"192.0.2.1:587",        25, "192.0.2.1:587",       "192.0.2.1"},
    {"192.0.2.1:0",          25, "192.0.2.1:0",         "192.0.2.1"},
    {"192.0.2.1:65535",      25, "192.0.2.1:65535",     "192.0.2.1"},
    {"[2001:db8::1]:587",    25, "[2001:db8::1]:587",   "2001:db8::1"},
    {"[2001:db8::1]",        25, "[2001:db8::1]:25",    "2001:db8::1"},
    {"2001:db8::1",          25, "[2001:db8::1]:25",    "2001:db8::1"},
    {"[::ffff:1.2.3.4]:7",   25, "1.2.3.4:7",           "1.2.3.4"},
    {"/run/x.sock",          25, "unix:/run/x.sock",    "/run/x.sock"},
    {"unix:/run/x.sock",     25, "unix:/run/x.sock",    "/run/x.sock"},
    {"", 25, NULL, NULL}, {"192.0.2.1:", 25, NULL, NULL}, {"192.0.2.1:65536", 25, NULL, NULL},
    {"192.0.2.1:99999999999", 25, NULL, NULL}, {"192.0.2.1:a", 25, NULL, NULL},
    {":25", 25, NULL, NULL},
    {"[2001:db8::1", 25, NULL, NULL}, {"[2001:db8::1]25", 25, NULL, NULL},
    {"[2001:db8::1]:", 25, NULL, NULL},
    {"[192.0.2.1]:25", 25, NULL, NULL}, {"[]:25", 25, NULL, NULL}, {"unix:", 25, NULL, NULL},
    {"unix:run/x", 25, NULL, NULL}, {"/", 25, NULL, NULL}, {"unix:/a\nb", 25, NULL, NULL},
    {"[::1]:0x19", 25, NULL, NULL}, {"host", 25, NULL, NULL}, {"[[::1]]:2", 25, NULL, NULL},
};
/* clang-format on */

static void check_row(const struct row *r, bool ok, const struct netaddr *a)
{
    char mem[NETADDR_TEXT_MAX];
    struct buf b;
    if (ok != (r->with_port != NULL))
        fail_msg("\"%s\" was %s", r->text, ok ? "accepted" : "refused");
    if (!ok)
        return;
    buf_init_fixed(&b, mem, sizeof mem);
    netaddr_format(a, &b);
    buf_putc(&b, '\0');
    assert_false(b.failed);
    assert_string_equal(mem, r->with_port);
    buf_reset(&b);
    netaddr_format_ip(a, &b);
    buf_putc(&b, '\0');
    assert_string_equal(mem, r->alone);
    struct netaddr again;
    assert_true(netaddr_parse(str_from_c(r->with_port), 0, &again));
    assert_true(netaddr_eq(a, &again));
}

static void parses_ip(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(ip_rows); i++) {
        struct netaddr a = {0};
        bool ok = netaddr_parse_ip(str_from_c(ip_rows[i].text), ip_rows[i].default_port, &a);
        check_row(&ip_rows[i], ok, &a);
    }
}

static void parses_with_port(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(full_rows); i++) {
        struct netaddr a = {0};
        bool ok = netaddr_parse(str_from_c(full_rows[i].text), full_rows[i].default_port, &a);
        check_row(&full_rows[i], ok, &a);
    }
}

static void bounds_paths(void **state)
{
    UNUSED(state);
    char text[NETADDR_PATH_MAX + 2];
    struct netaddr a;
    memset(text, 'a', sizeof text);
    text[0] = '/';
    assert_true(netaddr_parse(str_of(text, NETADDR_PATH_MAX), 0, &a));
    assert_false(netaddr_parse(str_of(text, NETADDR_PATH_MAX + 1), 0, &a));
    text[5] = '\0';
    assert_false(netaddr_parse(str_of(text, 20), 0, &a));
}

/* An address must be refused at every cut unless the cut text is an address of its own: no read past the
 * slice. */
static void refuses_truncated(void **state)
{
    UNUSED(state);
    struct netaddr a;
    char text[] = "1:2:3:4:5:6:7:8";
    for (size_t n = 0; n < sizeof text - 2; n++)
        assert_false(netaddr_parse_ip(str_of(text, n), 0, &a));
    struct str quad = STR("255.255.255.255");
    for (size_t n = 0; n < 13; n++)
        assert_false(netaddr_parse_ip(str_slice(quad, 0, n), 0, &a));
}

static struct netaddr addr(const char *text)
{
    struct netaddr a;
    assert_true(netaddr_parse(str_from_c(text), 0, &a));
    return a;
}

static void compares(void **state)
{
    UNUSED(state);
    static const struct {
        const char *a, *b;
        bool same_ip, eq;
    } rows[] = {
        {"1.2.3.4:1", "1.2.3.4:1", true, true},
        {"1.2.3.4:1", "1.2.3.4:2", true, false},
        {"1.2.3.4:1", "1.2.3.5:1", false, false},
        {"[::1]:1", "[::1]:1", true, true},
        {"[::1]:1", "[::2]:1", false, false},
        {"1.2.3.4:1", "[::1.2.3.4]:1", false, false},
        {"/a", "unix:/a", true, true},
        {"/a", "/b", false, false},
        {"/a", "1.2.3.4", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct netaddr a = addr(rows[i].a), b = addr(rows[i].b);
        assert_int_equal(netaddr_same_ip(&a, &b), rows[i].same_ip);
        assert_int_equal(netaddr_eq(&a, &b), rows[i].eq);
    }
    struct netaddr a = addr("fe80::1"), b = a;
    b.scope = 2;
    assert_false(netaddr_eq(&a, &b));
}

static void classifies(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        bool loopback, any;
    } rows[] = {
        {"127.0.0.1", true, false}, {"127.255.0.1", true, false}, {"128.0.0.1", false, false},
        {"::1", true, false},       {"::2", false, false},        {"::ffff:127.0.0.1", true, false},
        {"0.0.0.0", false, true},   {"::", false, true},          {"0.0.0.1", false, false},
        {"/run/x", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct netaddr a = addr(rows[i].text);
        assert_int_equal(netaddr_is_loopback(&a), rows[i].loopback);
        assert_int_equal(netaddr_is_any(&a), rows[i].any);
    }
    struct netaddr none = {0};
    assert_false(netaddr_is_any(&none));
}

static void parses_blocks(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        bool ok;
        uint8_t bits;
    } rows[] = {
        {"10.0.0.0/8", true, 8},
        {"0.0.0.0/0", true, 0},
        {"10.1.2.3", true, 32},
        {"10.1.2.3/32", true, 32},
        {"10.1.2.2/31", true, 31},
        {"2001:db8::/32", true, 32},
        {"::/0", true, 0},
        {"2001:db8::1", true, 128},
        {"2001:db8:8000::/33", true, 33},
        {"::ffff:10.0.0.0/104", true, 8},
        {"::ffff:0:0/96", true, 0},
        {"10.1.2.3/8", false, 0},
        {"10.0.0.0/33", false, 0},
        {"10.0.0.0/", false, 0},
        {"10.0.0.0/08", false, 0},
        {"10.0.0.0/-1", false, 0},
        {"2001:db8::1/32", false, 0},
        {"2001:db8::/129", false, 0},
        {"/8", false, 0},
        {"10/8", false, 0},
        {"::ffff:10.0.0.0/95", false, 0},
        {"10.0.0.0/8/8", false, 0},
        {"2001:db8:8000::/32", false, 0},
        {"10.0.0.0:25/8", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct netblock b;
        bool ok = netblock_parse(str_from_c(rows[i].text), &b);
        if (ok != rows[i].ok)
            fail_msg("\"%s\" was %s", rows[i].text, ok ? "accepted" : "refused");
        if (ok)
            assert_int_equal(b.bits, rows[i].bits);
    }
}

static void matches_blocks(void **state)
{
    UNUSED(state);
    static const struct {
        const char *block, *addr;
        bool has;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "::1", false},
        {"192.0.2.128/25", "192.0.2.129", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.0", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::/0", "ffff::", true},
        {"::/0", "1.2.3.4", false},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"0.0.0.0/0", "/run/x", false},
        {"::1", "::1", true},
        {"::1", "::3", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct netblock b;
        struct netaddr a = addr(rows[i].addr);
        assert_true(netblock_parse(str_from_c(rows[i].block), &b));
        if (netblock_has(&b, &a) != rows[i].has)
            fail_msg("%s in %s", rows[i].addr, rows[i].block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_ip),     cmocka_unit_test(parses_with_port),
        cmocka_unit_test(bounds_paths),  cmocka_unit_test(refuses_truncated),
        cmocka_unit_test(compares),      cmocka_unit_test(classifies),
        cmocka_unit_test(parses_blocks), cmocka_unit_test(matches_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
