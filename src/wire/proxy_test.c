#include "wire/proxy.h"

#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { MEM = 8192 };
static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

static bool is_addr(const struct netaddr *a, const char *text)
{
    char mem[NETADDR_TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    netaddr_format(a, &b);
    return str_eq(buf_str(&b), str_from_c(text));
}

/* Every shorter part is MORE, and octets of the client behind it are not touched. */
static void check_ok(struct str header, const char *source, const char *dest)
{
    char mem[MEM];
    struct proxy_header h;
    size_t used;
    for (size_t n = 0; n < header.n; n++) {
        assert_int_equal(proxy_parse(str_slice(header, 0, n), &h, &used), PROXY_MORE);
        assert_int_equal(used, 0);
    }
    memcpy(mem, header.p, header.n);
    memcpy(mem + header.n, "EHLO x\r\n", 8);
    assert_int_equal(proxy_parse(str_of(mem, header.n + 8), &h, &used), PROXY_OK);
    assert_int_equal(used, header.n);
    assert_true(h.is_local == (source == NULL));
    if (source != NULL)
        assert_true(is_addr(&h.source, source) && is_addr(&h.dest, dest));
    else
        assert_true(h.source.kind == NETADDR_NONE && h.dest.kind == NETADDR_NONE);
}

static void check_bad(struct str header)
{
    struct proxy_header h;
    size_t used;
    assert_int_equal(proxy_parse(header, &h, &used), PROXY_BAD);
    assert_true(used == 0 && h.source.kind == NETADDR_NONE);
}

static void version_1(void **state)
{
    UNUSED(state);
    check_ok(STR("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\n"), "192.0.2.1:56324", "198.51.100.2:25");
    check_ok(STR("PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n"), "[2001:db8::1]:0", "[2001:db8::2]:65535");
    check_ok(STR("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"), "192.0.2.1:1", "[2001:db8::2]:2");
    check_ok(STR("PROXY UNKNOWN\r\n"), NULL, NULL);
    check_ok(STR("PROXY UNKNOWN ffff:f...f:ffff what ever\r\n"), NULL, NULL);
}

static void version_1_malformed(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "EHLO x\r\n",
        "\x16\x03\x01",
        "PROXYX",
        "\r\n\r\nX",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_bad(str_from_c(rows[i]));
}

static void version_1_is_bounded(void **state)
{
    UNUSED(state);
    char mem[MEM] = "PROXY UNKNOWN ";
    struct proxy_header h;
    size_t used;
    memset(mem + 14, 'x', 200);
    memcpy(mem + PROXY_V1_MAX - 2, "\r\n", 2);
    assert_int_equal(proxy_parse(str_of(mem, PROXY_V1_MAX), &h, &used), PROXY_OK);
    memcpy(mem + PROXY_V1_MAX - 2, "x\r\n", 3);
    assert_int_equal(proxy_parse(str_of(mem, PROXY_V1_MAX - 1), &h, &used), PROXY_MORE);
    check_bad(str_of(mem, PROXY_V1_MAX));
    check_bad(str_of(mem, PROXY_V1_MAX + 1));
}

static struct str v2(char *mem, int version_command, int family, struct str body)
{
    struct buf b;
    buf_init_fixed(&b, mem, MEM);
    buf_put(&b, str_of(signature, 12));
    buf_putc(&b, (char)version_command);
    buf_putc(&b, (char)family);
    buf_putc(&b, (char)(body.n >> 8));
    buf_putc(&b, (char)body.n);
    buf_put(&b, body);
    return buf_str(&b);
}

#define IP4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x00\x19"
#define IP6_1 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define IP6_2 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01"

static void version_2(void **state)
{
    UNUSED(state);
    char mem[MEM], path[216] = "/run/a";
    memcpy(path + 108, "/run/b", 6);
    check_ok(v2(mem, 0x21, 0x11, STR(IP4)), "192.0.2.1:56324", "198.51.100.2:25");
    check_ok(v2(mem, 0x21, 0x21, STR(IP6_1 IP6_2 "\0\1\0\2")), "[2001:db8::1]:1", "[2001:db8::2]:2");
    check_ok(v2(mem, 0x21, 0x21, STR(MAPPED IP6_2 "\0\1\0\2")), "192.0.2.1:1", "[2001:db8::2]:2");
    check_ok(v2(mem, 0x21, 0x31, str_of(path, sizeof path)), "unix:/run/a", "unix:/run/b");
    check_ok(v2(mem, 0x20, 0x11, STR(IP4)), NULL, NULL);
    check_ok(v2(mem, 0x20, 0x00, STR("")), NULL, NULL);
    check_ok(v2(mem, 0x20, 0x00, STR("anything")), NULL, NULL);
    check_ok(v2(mem, 0x21, 0x00, STR("")), NULL, NULL);
    check_ok(v2(mem, 0x21, 0x12, STR(IP4)), NULL, NULL); /* UDP is no stream */
    check_ok(v2(mem, 0x21, 0x11, STR(IP4 "\x04\0\0\xea\0\2xy")), "192.0.2.1:56324", "198.51.100.2:25");
}

static void version_2_malformed(void **state)
{
    UNUSED(state);
    char mem[MEM], big[PROXY_V2_MAX];
    memset(big, 0, sizeof big);
    check_bad(v2(mem, 0x11, 0x11, STR(IP4)));
    check_bad(v2(mem, 0x31, 0x11, STR(IP4)));
    check_bad(v2(mem, 0x22, 0x11, STR(IP4)));
    check_bad(v2(mem, 0x21, 0x41, STR(IP4)));
    check_bad(v2(mem, 0x21, 0x13, STR(IP4)));
    check_bad(v2(mem, 0x21, 0x21, STR(IP4)));
    check_bad(v2(mem, 0x21, 0x11, str_slice(STR(IP4), 0, 11)));
    check_bad(v2(mem, 0x21, 0x11, STR(IP4 "\x04")));
    check_bad(v2(mem, 0x21, 0x11, STR(IP4 "\x04\0")));
    check_bad(v2(mem, 0x21, 0x11, STR(IP4 "\x04\0\1")));
    check_bad(v2(mem, 0x21, 0x11,
                 STR(IP4 "\x04\xff\xff"
                         "abc")));
    /* too long is known from the head alone */
    struct str all = v2(mem, 0x21, 0x11, str_of(big, PROXY_V2_MAX - PROXY_V2_HEAD + 1));
    check_bad(str_slice(all, 0, PROXY_V2_HEAD));
    all = v2(mem, 0x20, 0x00, str_of(big, PROXY_V2_MAX - PROXY_V2_HEAD));
    check_ok(all, NULL, NULL);
}

static void checksum(void **state)
{
    UNUSED(state);
    char mem[MEM];
    struct str all = v2(mem, 0x21, 0x11, STR(IP4 "\x03\0\4\0\0\0\0\x04\0\1z"));
    size_t at = PROXY_V2_HEAD + 12 + 3;
    uint32_t crc = crc32c(0, all.p, all.n);
    for (int i = 0; i < 4; i++)
        mem[at + (size_t)i] = (char)(crc >> (24 - 8 * i));
    check_ok(all, "192.0.2.1:56324", "198.51.100.2:25");
    for (size_t i = PROXY_V2_HEAD; i < all.n;
         i++) { /* any octet of addresses, checksum or another TLV's value */
        bool is_frame = (i >= at - 3 && i < at) || (i >= at + 4 && i < at + 7);
        mem[i] ^= 1;
        if (!is_frame)
            check_bad(all);
        mem[i] ^= 1;
    }
    check_bad(v2(mem, 0x21, 0x11, STR(IP4 "\x03\0\3abc")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1),
        cmocka_unit_test(version_1_malformed),
        cmocka_unit_test(version_1_is_bounded),
        cmocka_unit_test(version_2),
        cmocka_unit_test(version_2_malformed),
        cmocka_unit_test(checksum),
    };
    return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
