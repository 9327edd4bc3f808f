#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/dnsrr.h"

#include <string.h>

#define LABEL63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static void codes_names(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        struct str wire;
        const char *back; /* NULL: as text */
    } rows[] = {
        {".", {"\0", 1}, NULL},
        {"org", {"\3org\0", 5}, NULL},
        {"mx.Example.org", {"\2mx\7Example\3org\0", 16}, "mx.example.org"},
        {"org.", {"\3org\0", 5}, "org"},
        {"_25._tcp.x", {"\3_25\4_tcp\1x\0", 12}, NULL},
        {LABEL63 ".x", {"\77" LABEL63 "\1x\0", 67}, NULL},
        {"a-b!c\"d", {"\7a-b!c\"d\0", 9}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[300];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(dnsname_encode(str_from_c(rows[i].text), &b));
        if (!str_eq(buf_str(&b), rows[i].wire))
            fail_msg("%s", rows[i].text);
        assert_true(buf_puts(&b, "rest"));
        char text[300];
        struct buf back;
        struct str rest;
        buf_init_fixed(&back, text, sizeof text);
        buf_puts(&back, "+"); /* what stands there already is no label */
        assert_true(dnsname_decode(buf_str(&b), &back, &rest));
        assert_true(str_eq(rest, STR("rest")));
        const char *want = rows[i].back != NULL ? rows[i].back : rows[i].text;
        assert_true(str_eq(str_skip(buf_str(&back), 1), str_from_c(want)));
        for (size_t n = 0; n < rows[i].wire.n; n++) /* cut short it is none */
            assert_false(dnsname_decode(str_slice(rows[i].wire, 0, n), &back, &rest));
        assert_int_equal(back.n, strlen(want) + 1);
    }
}

static void refuses_names(void **state)
{
    UNUSED(state);
    static const char *const texts[] = {"",          "..",  ".a",   "a..b",  "a..",
                                        LABEL63 "a", "a b", "a\tb", "a\x7f", "\xc3\xbc"};
    static const struct str wires[] = {
        {"", 0},         {"\1", 1},          {"\1a", 2},     {"\2a\0", 3}, {"\100" LABEL63 "a\0", 66},
        {"\xc0\x0c", 2}, {"\1a\xc0\x00", 4}, {"\3a.b\0", 5}, {"\1 \0", 3}, {"\1\0\0", 3},
        {"\1\x7f\0", 3}, {"\1\xff\0", 3},
    };
    char mem[300];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (dnsname_encode(str_from_c(texts[i]), &b))
            fail_msg("%s was taken", texts[i]);
        assert_int_equal(b.n, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(wires); i++) {
        struct str rest;
        if (dnsname_decode(wires[i], &b, &rest))
            fail_msg("wire row %zu was taken", i);
        assert_int_equal(b.n, 0);
    }
}

/* 255 octets in wire form are the most: 127 labels of one octet, or 253 octets of text. */
static void bounds_names(void **state)
{
    UNUSED(state);
    char wire[300], text[300], mem[300];
    for (size_t n_labels = 1; n_labels <= 130; n_labels++) {
        for (size_t i = 0; i < n_labels; i++) {
            memcpy(wire + 2 * i, "\1a", 2);
            memcpy(text + 2 * i, "a.", 2);
        }
        wire[2 * n_labels] = '\0';
        struct buf b;
        struct str rest;
        buf_init_fixed(&b, mem, sizeof mem);
        bool fits = 2 * n_labels + 1 <= DNS_NAME_MAX;
        assert_int_equal(dnsname_decode(str_of(wire, 2 * n_labels + 1), &b, &rest), fits);
        assert_int_equal(b.n, fits ? 2 * n_labels - 1 : 0);
        buf_reset(&b);
        assert_int_equal(dnsname_encode(str_of(text, 2 * n_labels - 1), &b), fits);
        assert_int_equal(b.n, fits ? 2 * n_labels + 1 : 0);
    }
    struct buf small;
    struct str rest;
    buf_init_fixed(&small, mem, 4);
    assert_false(dnsname_decode(STR("\3abc\1d\0"), &small, &rest));
    assert_int_equal(small.n, 0);
}

static void reads_records(void **state)
{
    UNUSED(state);
    char mem[300];
    struct buf b;
    uint16_t preference = 1;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(dnsrr_mx(str_of("\x01\x02\2mx\1x\0", 8), &preference, &b));
    assert_int_equal(preference, 0x102);
    assert_true(str_eq(buf_str(&b), STR("mx.x")));
    buf_reset(&b);
    assert_true(dnsrr_mx(str_of("\0\0\0", 3), &preference, &b)); /* RFC 7505 */
    assert_true(str_eq(buf_str(&b), STR(".")));
    buf_reset(&b);
    preference = 7;
    assert_false(dnsrr_mx(str_of("\0\0", 2), &preference, &b));
    assert_false(dnsrr_mx(str_of("", 0), &preference, &b));
    assert_false(dnsrr_mx(str_of("\0\0\1a\0x", 6), &preference, &b));
    assert_false(dnsrr_mx(str_of("\0\0\1a", 4), &preference, &b));
    assert_int_equal(b.n, 0);
    assert_int_equal(preference, 7);
}

static void reads_addresses(void **state)
{
    UNUSED(state);
    static const struct {
        enum dns_type type;
        struct str rdata;
        const char *want; /* NULL: refused */
    } rows[] = {
        {DNS_A, {"\xc0\x00\x02\x01", 4}, "192.0.2.1:0"},
        {DNS_AAAA, {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16}, "[2001:db8::1]:0"},
        {DNS_AAAA, {"\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16}, "127.0.0.1:0"},
        {DNS_A, {"\xc0\x00\x02", 3}, NULL},
        {DNS_A, {"\xc0\x00\x02\x01\x00", 5}, NULL},
        {DNS_A, {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16}, NULL},
        {DNS_AAAA, {"\xc0\x00\x02\x01", 4}, NULL},
        {DNS_AAAA, {"", 0}, NULL},
        {DNS_TXT, {"\xc0\x00\x02\x01", 4}, NULL},
        {DNS_MX, {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16}, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct netaddr a;
        bool ok = dnsrr_address(rows[i].type, rows[i].rdata, &a);
        assert_int_equal(ok, rows[i].want != NULL);
        if (!ok)
            continue;
        char mem[NETADDR_TEXT_MAX];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        netaddr_format(&a, &b);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i].want)));
    }
}

static void reads_texts(void **state)
{
    UNUSED(state);
    static const struct {
        struct str rdata;
        const char *want; /* NULL: refused */
    } rows[] = {
        {{"\3abc", 4}, "abc"}, {{"\1a\0\2bc", 6}, "abc"}, {{"\0", 1}, ""},        {{"\3ab", 3}, NULL},
        {{"", 0}, NULL},       {{"\1a\1", 3}, NULL},      {{"\5abcde", 6}, NULL}, /* no room */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[6] = "<";
        struct buf b;
        buf_init_fixed(&b, mem, 5);
        b.n = 1;
        assert_int_equal(dnsrr_txt(rows[i].rdata, &b), rows[i].want != NULL);
        assert_true(str_eq(str_skip(buf_str(&b), 1), str_from_c(rows[i].want)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_names),   cmocka_unit_test(refuses_names),   cmocka_unit_test(bounds_names),
        cmocka_unit_test(reads_records), cmocka_unit_test(reads_addresses), cmocka_unit_test(reads_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
