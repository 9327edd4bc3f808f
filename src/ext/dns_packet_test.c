#include "ext/dns_packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define Q_MX "\1a\4test\0\0\x0f\0\1" /* a.test MX; the name is at 12 */
#define HEAD(rcode, answers, authority) "\0\0\x81" rcode "\0\1\0" answers "\0" authority "\0\0"
#define TTL "\0\0\1\x2c"                                          /* 300 */
#define SOA_DATA "\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\x3c" /* names: root; the last field is 60 */

/* One octet after another: a compressed and an uncompressed MX. */
#define MX_PACKET                                                                                            \
    HEAD("\x80", "\2", "\0")                                                                                 \
    Q_MX "\xc0\x0c\0\x0f\0\1" TTL "\0\7\0\x0a\2mX\xc0\x0c"                                                   \
         "\1A\4TEST\0\0\x0f\0\1\0\0\0\x10\0\3\0\0\0"

#define L(literal)                                                                                           \
    {                                                                                                        \
        "" literal, sizeof(literal) - 1                                                                      \
    } /* STR() is no constant expression to a pedantic compiler */
#define NONE                                                                                                 \
    {                                                                                                        \
        NULL, 0                                                                                              \
    }
static const struct {
    const char *what;
    struct str packet;
    enum dns_type type;
    bool ok;
    unsigned rcode;
    uint32_t ttl_s;
    size_t n;
    struct str first;
    const char *canonical;
} table[] = {
    {"two MX", L(MX_PACKET), DNS_MX, true, 0, 16, 2, L("\0\x0a\2mx\1a\4test\0"), "a.test"},
    {"no such name", L(HEAD("\x83", "\0", "\1") Q_MX "\xc0\x0e\0\6\0\1" TTL "\0\x16" SOA_DATA), DNS_MX, true,
     3, 60, 0, NONE, "a.test"},
    {"no data", L(HEAD("\x80", "\0", "\0") Q_MX), DNS_MX, true, 0, 0, 0, NONE, "a.test"},
    {"alias, told last",
     L(HEAD("\x80", "\2", "\0") Q_MX "\1b\xc0\x0e\0\x0f\0\1" TTL "\0\3\0\0\0"
                                     "\xc0\x0c\0\5\0\1\0\0\0\7\0\4\1b\xc0\x0e"),
     DNS_MX, true, 0, 7, 1, L("\0\0\0"), "b.test"},
    {"alias in a circle", L(HEAD("\x80", "\1", "\0") Q_MX "\xc0\x0c\0\5\0\1" TTL "\0\2\xc0\x0c"), DNS_MX,
     true, 0, 300, 0, NONE, "a.test"},
    {"a record of another name", L(HEAD("\x80", "\1", "\0") Q_MX "\xc0\x0e\0\x0f\0\1" TTL "\0\3\0\0\0"),
     DNS_MX, true, 0, 0, 0, NONE, "a.test"},
    {"a record of another class", L(HEAD("\x80", "\1", "\0") Q_MX "\xc0\x0c\0\x0f\0\3" TTL "\0\3\0\0\0"),
     DNS_MX, true, 0, 0, 0, NONE, "a.test"},
    {"negative time", L(HEAD("\x80", "\1", "\0") Q_MX "\xc0\x0c\0\x0f\0\1\x80\0\0\1\0\3\0\0\0"), DNS_MX, true,
     0, 0, 1, L("\0\0\0"), "a.test"},
    {"another type than asked", L(HEAD("\x80", "\0", "\0") Q_MX), DNS_A, false, 0, 0, 0, NONE, ""},
    {"a question", L("\0\0\1\0\0\1\0\0\0\0\0\0" Q_MX), DNS_MX, false, 0, 0, 0, NONE, ""},
    {"no question", L("\0\0\x81\x80\0\0\0\0\0\0\0\0"), DNS_MX, false, 0, 0, 0, NONE, ""},
    {"a pointer to itself", L(HEAD("\x80", "\0", "\0") "\xc0\x0c\0\x0f\0\1"), DNS_MX, false, 0, 0, 0, NONE,
     ""},
    {"a pointer forward", L(HEAD("\x80", "\0", "\0") "\xc0\x0e\0\x0f\0\1\0"), DNS_MX, false, 0, 0, 0, NONE,
     ""},
    {"pointers in a circle", L(HEAD("\x80", "\1", "\0") Q_MX "\1x\xc0\x17\0\x0f\0\1" TTL "\0\3\0\0\0"),
     DNS_MX, false, 0, 0, 0, NONE, ""},
    {"a label of a type of its own", L(HEAD("\x80", "\0", "\0") "\x41x\0\0\x0f\0\1"), DNS_MX, false, 0, 0, 0,
     NONE, ""},
    {"MX without a name", L(HEAD("\x80", "\1", "\0") Q_MX "\xc0\x0c\0\x0f\0\1" TTL "\0\2\0\0"), DNS_MX, false,
     0, 0, 0, NONE, ""},
    {"MX with more than a name", L(HEAD("\x80", "\1", "\0") Q_MX "\xc0\x0c\0\x0f\0\1" TTL "\0\4\0\0\0x"),
     DNS_MX, false, 0, 0, 0, NONE, ""},
    {"MX whose name leaves it", L(HEAD("\x80", "\1", "\0") Q_MX "\xc0\x0c\0\x0f\0\1" TTL "\0\4\0\0\2ab\0"),
     DNS_MX, false, 0, 0, 0, NONE, ""},
};

/* In memory that ends where the packet ends, so that a sanitizer sees a read behind it. */
static bool read_exactly(struct dns_packet *p, struct str packet, enum dns_type type)
{
    char *mem = malloc(packet.n > 0 ? packet.n : 1);
    assert_non_null(mem);
    memcpy(mem, packet.p, packet.n);
    bool ok = dns_packet_read(p, str_of(mem, packet.n), type);
    free(mem);
    return ok;
}

static void each_packet(void **state)
{
    struct dns_packet p;
    UNUSED(state);
    dns_packet_init(&p);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        bool ok = read_exactly(&p, table[i].packet, table[i].type);
        if (ok != table[i].ok || p.n_rdata != table[i].n ||
            (ok && (p.rcode != table[i].rcode || p.ttl_s != table[i].ttl_s)))
            fail_msg("%s: %d, rcode %u, %zu records, %u s", table[i].what, ok, p.rcode, p.n_rdata, p.ttl_s);
        assert_string_equal(p.canonical, table[i].canonical);
        assert_true(p.n_rdata == 0 || str_eq(p.rdata[0], table[i].first));
    }
    dns_packet_fini(&p);
}

static void no_packet_cut_short_is_taken(void **state)
{
    struct dns_packet p;
    UNUSED(state);
    dns_packet_init(&p);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (size_t n = 0; n < table[i].packet.n; n++)
            assert_false(read_exactly(&p, str_slice(table[i].packet, 0, n), table[i].type));
    }
    dns_packet_fini(&p);
}

/* Each octet becomes each value: nothing to expect but that it ends and keeps its bounds. */
static void any_octet_may_be_wrong(void **state)
{
    struct dns_packet p;
    size_t n_ok = 0;
    UNUSED(state);
    dns_packet_init(&p);
    for (size_t at = 0; at < sizeof MX_PACKET - 1; at++) {
        char packet[sizeof MX_PACKET];
        memcpy(packet, MX_PACKET, sizeof packet);
        for (int c = 0; c < 256; c++) {
            packet[at] = (char)c;
            n_ok += read_exactly(&p, str_of(packet, sizeof packet - 1), DNS_MX);
            assert_true(p.n_rdata <= 2);
        }
    }
    assert_true(n_ok > sizeof MX_PACKET - 1); /* as it is, and where the octet does not matter */
    dns_packet_fini(&p);
}

static void put(struct buf *b, struct str s)
{
    assert_true(buf_put(b, s));
}

static void records_have_a_cap(void **state)
{
    struct dns_packet p;
    struct buf b;
    UNUSED(state);
    dns_packet_init(&p);
    buf_init(&b, 65535);
    put(&b, STR("\0\0\x81\x80\0\1\2\1\0\0\0\0" Q_MX)); /* 513 */
    for (int i = 0; i < DNS_RECORDS_MAX + 1; i++)
        put(&b, STR("\xc0\x0c\0\x0f\0\1" TTL "\0\3\0\0\0"));
    assert_true(dns_packet_read(&p, buf_str(&b), DNS_MX));
    assert_int_equal(p.n_rdata, DNS_RECORDS_MAX);
    buf_fini(&b);
    dns_packet_fini(&p);
}

static void a_chain_has_a_cap(void **state)
{
    struct dns_packet p;
    UNUSED(state);
    dns_packet_init(&p);
    for (int extra = 0; extra < 2; extra++) { /* a.test -> b.test -> ..., the last one has an MX */
        int n = DNS_CHAIN_MAX + extra;
        char mem[2048], name[2] = "\1";
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        put(&b, STR("\0\0\x81\x80\0\1\0"));
        (void)buf_putc(&b, (char)(n + 1));
        put(&b, STR("\0\0\0\0" Q_MX));
        for (int i = 0; i <= n; i++) {
            name[1] = (char)('a' + i);
            put(&b, str_of(name, 2));
            if (i == n) {
                put(&b, STR("\xc0\x0e\0\x0f\0\1" TTL "\0\3\0\0\0"));
                break;
            }
            name[1]++;
            put(&b, STR("\xc0\x0e\0\5\0\1" TTL "\0\4"));
            put(&b, str_of(name, 2));
            put(&b, STR("\xc0\x0e"));
        }
        assert_true(dns_packet_read(&p, buf_str(&b), DNS_MX));
        assert_int_equal(p.n_rdata, 1 - extra);
    }
    dns_packet_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_packet),
        cmocka_unit_test(no_packet_cut_short_is_taken),
        cmocka_unit_test(any_octet_may_be_wrong),
        cmocka_unit_test(records_have_a_cap),
        cmocka_unit_test(a_chain_has_a_cap),
    };
    return cmocka_run_group_tests_name("dns_packet", tests, NULL, NULL);
}
