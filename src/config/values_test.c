#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/values.h"

#include <string.h>

enum { BAD = -1 };
struct number_row {
    const char *text;
    int64_t value;     /* BAD: must be refused */
    const char *again; /* as it is written back */
};

static const struct number_row durations[] = {
    {"0", 0, "0"},
    {"1", 1, "1s"},
    {"90", 90, "90s"},
    {"300", 300, "5m"},
    {"5m", 300, "5m"},
    {"60M", 3600, "1h"},
    {"4h", 14400, "4h"},
    {"36h", 129600, "36h"},
    {"5d", 432000, "5d"},
    {"7d", 604800, "1w"},
    {"2w", 1209600, "2w"},
    {"", BAD, ""},
    {"m", BAD, ""},
    {"5x", BAD, ""},
    {"-5m", BAD, ""},
    {"5 m", BAD, ""},
    {"5mm", BAD, ""},
    {"1.5h", BAD, ""},
    {"99999999999999999999", BAD, ""},
    {"9999999999999999w", BAD, ""},
};
static const struct number_row sizes[] = {
    {"0", 0, "0"},
    {"1", 1, "1"},
    {"1024", 1024, "1K"},
    {"1k", 1024, "1K"},
    {"50M", 52428800, "50M"},
    {"50MB", 52428800, "50M"},
    {"50MiB", 52428800, "50M"},
    {"2G", 2147483648, "2G"},
    {"1000B", 1000, "1000"},
    {"", BAD, ""},
    {"B", BAD, ""},
    {"iB", BAD, ""},
    {"K", BAD, ""},
    {"5T", BAD, ""},
    {"-1K", BAD, ""},
    {"99999999999G", BAD, ""},
};

static void check_numbers(const struct number_row *rows, size_t n, bool (*parse)(struct str, uint64_t *),
                          void (*put)(uint64_t, struct buf *))
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = 0;
        char mem[64];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        bool ok = parse(str_from_c(rows[i].text), &v);
        if (ok != (rows[i].value != BAD) || (ok && v != (uint64_t)rows[i].value))
            fail_msg("\"%s\" gives %d, %llu", rows[i].text, ok, (unsigned long long)v);
        if (!ok)
            continue;
        put(v, &out);
        if (!str_eq(buf_str(&out), str_from_c(rows[i].again)))
            fail_msg("\"%s\" is written back as %.*s", rows[i].text, STR_FMT(buf_str(&out)));
    }
}

static void test_numbers(void **state)
{
    UNUSED(state);
    check_numbers(durations, ARRAY_LEN(durations), value_duration, value_put_duration);
    check_numbers(sizes, ARRAY_LEN(sizes), value_size, value_put_size);
}

struct text_row {
    const char *text;
    bool is_good;
};

static void check_texts(const struct text_row *rows, size_t n, const char *(*error_of)(struct str))
{
    for (size_t i = 0; i < n; i++) {
        if ((error_of(str_from_c(rows[i].text)) == NULL) != rows[i].is_good)
            fail_msg("\"%s\" should be %s", rows[i].text, rows[i].is_good ? "good" : "bad");
    }
}

static void test_names(void **state)
{
    UNUSED(state);
    static const struct text_row hostnames[] = {
        {"mail.example.org", true},
        {"a.b", true},
        {"1.example", true},
        {"localhost", false},
        {"", false},
        {"192.0.2.1", false},
        {"a.1", false},
        {"a.1a", true},
        {".a.b", false},
        {"a.b.", false},
        {"a..b", false},
        {"-a.b", false},
        {"[192.0.2.1]", false},
        {"a b.c", false},
        {"m\xc3\xb6.x", false},
    };
    static const struct text_row users[] = {
        {"joe", true},
        {"a.b", true},
        {"o'hara", true},
        {"a+b", true},
        {"a%b", true},
        {"a!b", true},
        {"j\xc3\xb6", true},
        {"-x", true},
        {"#x", true},
        {"", false},
        {".", false},
        {"..", false},
        {".a", false},
        {"a.", false},
        {"a..b", false},
        {"a/b", false},
        {"a@b", false},
        {"a b", false},
        {"\"a\"", false},
        {"a\\b", false},
        {"a\x01", false},
        {"a\x7f", false},
        {"a:b", false},
        {"\xff", false},
        {"a\xc2\x9c", false},
        {"a\xc2\xa0", true},
        {"\xe2\x80\xa8", false},
        {"1234567890123456789012345678901234567890123456789012345678901234", true},
        {"12345678901234567890123456789012345678901234567890123456789012345", false},
    };
    check_texts(hostnames, ARRAY_LEN(hostnames), value_hostname_error);
    check_texts(users, ARRAY_LEN(users), value_user_error);
    assert_non_null(value_user_error(str_of("a\0b", 3)));
}

static void test_addresses_and_paths(void **state)
{
    UNUSED(state);
    static const struct text_row mailboxes[] = {
        {"joe@example.org", true},
        {"joe@localhost", true},
        {"joe", false},
        {"", false},
        {"@", false},
        {"joe@", false},
        {"@x", false},
        {"a b@x", false},
        {"\"a b\"@x", false},
        {"joe@[192.0.2.1]", false},
    };
    static const struct text_row maildirs[] = {
        {"/v/%d/%u", true},
        {"/home/%u/Maildir", true},
        {"/%%/%u", true},
        {"/v/%d", false},
        {"/v", false},
        {"", false},
        {"v/%u", false},
        {"%u", false},
        {"/v/%x%u", false},
        {"/%u/%", false},
        {"/%%u", false},
        {"/../%u", false},
        {"/%u/..", false},
        {"/%u/..x", true},
        {"/v\n/%u", false},
        {"/v/%u/.Maildir", true},
        {"/v/./%u", false},
        {"/v//%u", false},
        {"/v/%u/..", false},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/%u", true},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/%u", false},
        {"/%u/"
         "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "9",
         true},
        {"/%u/"
         "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "90",
         false},
    };
    check_texts(mailboxes, ARRAY_LEN(mailboxes), value_mailbox_error);
    check_texts(maildirs, ARRAY_LEN(maildirs), value_maildir_error);
    char wide[4097];
    memset(wide, 'x', sizeof wide);
    wide[0] = '/';
    assert_null(value_path_error(str_of(wide, 4095)));
    assert_non_null(value_path_error(str_of(wide, 4096)));
}

static const struct {
    const char *text;
    const char *wanted; /* NULL: must be refused */
    bool is_via;
} hosts[] = {
    {"192.0.2.1", "192.0.2.1:24", false},
    {"192.0.2.1:25", "192.0.2.1:25", false},
    {"2001:db8::1", "[2001:db8::1]:24", false},
    {"[2001:db8::1]:26", "[2001:db8::1]:26", false},
    {"unix:/run/x", "unix:/run/x", false},
    {"/run/x", "unix:/run/x", false},
    {"Dovecot", "Dovecot 24", false},
    {"mail.example.org:65535", "mail.example.org 65535", false},
    {"", NULL, false},
    {":24", NULL, false},
    {"h:", NULL, false},
    {"h:0", NULL, false},
    {"h:65536", NULL, false},
    {"h:24:25", NULL, false},
    {"192.0.2.1:0", NULL, false},
    {"192.0.2.256", NULL, false}, /* not a name either: its last label is a number */
    {"10", NULL, false},
    {"unix:x", NULL, false},
    {"unix:", NULL, false},
    {"a b", NULL, false},
    {"smtp://hub.example", "hub.example 25", true},
    {"smtp://hub.example:587", "hub.example 587", true},
    {"SMTP://192.0.2.1:26/", "192.0.2.1:26", true},
    {"smtp://[2001:db8::1]", "[2001:db8::1]:25", true},
    {"smtp://", NULL, true},
    {"smtp:///x", "unix:/x", true},
    {"smtp://unix:/x", "unix:/x", true},
    {"lmtp://dovecot", "lmtp dovecot 24", true},
    {"LMTP://[::1]:25", "lmtp [::1]:25", true},
    {"lmtp:///run/dovecot/lmtp", "lmtp unix:/run/dovecot/lmtp", true},
    {"lmtp://", NULL, true},
    {"smtp://hub.example/x", NULL, true},
    {"smtp://a@hub.example", "hub.example 25 as a", true},
    {"smtps://hub.example", "smtps hub.example 465", true},
    {"SMTPS://joe@isp.example@hub.example:587/", "smtps hub.example 587 as joe@isp.example", true},
    {"smtps://192.0.2.1", "smtps 192.0.2.1:465", true},
    {"smtp://a:b@hub.example", NULL, true},
    {"smtp://@hub.example", NULL, true},
    {"smtp://a\x01@hub.example", NULL, true},
    {"smtp://a@", NULL, true},
    {"smtps:///run/x", NULL, true},
    {"smtps://unix:/run/x", NULL, true},
    {"smtp:///run/a@b", "unix:/run/a@b", true},
    {"hub.example:25", NULL, true},
    {"", NULL, true},
};

static void test_hosts(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct value_host h;
        char mem[256];
        struct buf out;
        struct str s = str_from_c(hosts[i].text);
        buf_init_fixed(&out, mem, sizeof mem);
        struct next_hop hop = {.lmtp = false};
        struct str user = STR_NIL;
        const char *error = hosts[i].is_via ? value_via(s, &hop, &user) : value_host(s, 24, true, &h);
        if (hosts[i].is_via)
            h = (struct value_host){hop.host, hop.addr};
        if ((error == NULL) != (hosts[i].wanted != NULL))
            fail_msg("\"%s\": %s", hosts[i].text, error == NULL ? "taken" : error);
        if (error != NULL)
            continue;
        buf_puts(&out, hop.lmtp ? "lmtp " : hop.is_smtps ? "smtps " : "");
        if (h.name.n > 0)
            buf_printf(&out, "%.*s %u", STR_FMT(h.name), (unsigned)h.addr.port);
        else
            netaddr_format(&h.addr, &out);
        if (user.n > 0)
            buf_printf(&out, " as %.*s", STR_FMT(user));
        if (!str_eq(buf_str(&out), str_from_c(hosts[i].wanted)))
            fail_msg("\"%s\" gives %.*s", hosts[i].text, STR_FMT(buf_str(&out)));
    }
}

static void test_netblock(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        const char *meant; /* the block with host bits cleared, or NULL */
    } rows[] = {
        {"10.1.2.3/8", "10.0.0.0/8"},
        {"10.1.2.3/31", "10.1.2.2/31"},
        {"10.1.2.3/0", "0.0.0.0/0"},
        {"2001:db8::1/32", "2001:db8::/32"},
        {"::1/127", "::/127"},
        {"10.0.0.0/33", NULL},
        {"10.0.0.0/", NULL},
        {"10.0.0.0/x", NULL},
        {"x/8", NULL},
        {"", NULL},
        {"10.0.0/8", NULL},
        {"10.1.0.0/08", NULL},
    };
    struct netblock b;
    assert_null(value_netblock(STR("10.0.0.0/8"), &b));
    assert_null(value_netblock(STR("::1"), &b));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[64];
        struct buf out;
        b = (struct netblock){.bits = 0};
        buf_init_fixed(&out, mem, sizeof mem);
        assert_non_null(value_netblock(str_from_c(rows[i].text), &b));
        assert_int_equal(b.addr.kind != NETADDR_NONE, rows[i].meant != NULL);
        if (rows[i].meant == NULL)
            continue;
        netaddr_format_ip(&b.addr, &out);
        buf_printf(&out, "/%u", (unsigned)b.bits);
        if (!str_eq(buf_str(&out), str_from_c(rows[i].meant)))
            fail_msg("%s: %.*s", rows[i].text, STR_FMT(buf_str(&out)));
    }
}

static void test_resolv_conf(void **state)
{
    UNUSED(state);
    struct netaddr list[2];
    assert_int_equal(value_resolv_conf(STR(""), list, 2), 0);
    assert_int_equal(value_resolv_conf(STR("nameserver"), list, 2), 0);
    assert_int_equal(
        value_resolv_conf(STR("nameserver1.2.3.4\n;nameserver 1.2.3.4\n#nameserver 1.2.3.4"), list, 2), 0);
    assert_int_equal(value_resolv_conf(STR("nameserver 1.2.3.4 # comment\nnameserver\t::1"), list, 2), 2);
    assert_int_equal(list[0].port, 53);
    assert_true(netaddr_is_loopback(&list[1]));
    assert_int_equal(
        value_resolv_conf(STR("nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n"), list, 2), 2);
}

static void test_lines(void **state)
{
    UNUSED(state);
    struct str rest = STR("a\r\n\nb\rc\n\r\nlast"), line;
    static const char *const wanted[] = {"a", "", "b\rc", "", "last"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_true(value_next_line(&rest, &line));
        assert_true(str_eq(line, str_from_c(wanted[i])));
    }
    assert_false(value_next_line(&rest, &line));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_addresses_and_paths),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_netblock),
        cmocka_unit_test(test_resolv_conf),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
