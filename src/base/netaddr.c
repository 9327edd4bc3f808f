/* base/netaddr.c: text and comparison of addresses, without libc's inet_* functions: those read locale-free
 * text too, but accept more forms than the RFCs and differ between systems.
 */
#include "base/netaddr.h"

#include <string.h>

enum { IP4_BYTES = 4, IP6_BYTES = 16, IP6_GROUPS = 8, MAPPED_BITS = 96 };

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Four decimal numbers without leading zeros: "010" is 8 for some readers and 10 for others, so it is
 * refused. */
static bool parse_ip4(struct str s, uint8_t out[IP4_BYTES])
{
    for (size_t i = 0; i < IP4_BYTES; i++) {
        bool last = i == IP4_BYTES - 1;
        if (!last && str_chr(s, '.') == STR_NPOS)
            return false;
        struct str part = last ? s : str_cut(&s, '.');
        uint64_t v;
        if (part.n > 3 || (part.n > 1 && part.p[0] == '0') || !str_to_u64(part, 255, &v))
            return false;
        out[i] = (uint8_t)v;
    }
    return true;
}

static bool parse_group(struct str s, uint8_t out[2])
{
    unsigned v = 0;
    if (s.n == 0 || s.n > 4)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int digit = ascii_hex_value(s.p[i]);
        if (digit < 0)
            return false;
        v = v * 16 + (unsigned)digit;
    }
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)(v & 0xff);
    return true;
}

/* Groups between colons, maybe ended by a dotted quad when may_end_ip4; *out_n is the number of bytes. The
 * empty text is no group at all. */
static bool parse_groups(struct str s, bool may_end_ip4, uint8_t out[IP6_BYTES], size_t *out_n)
{
    size_t n = 0;
    bool more = s.n > 0;
    while (more) {
        more = str_chr(s, ':') != STR_NPOS;
        struct str part = str_cut(&s, ':');
        if (!more && may_end_ip4 && str_chr(part, '.') != STR_NPOS) {
            if (n + IP4_BYTES > IP6_BYTES || !parse_ip4(part, out + n))
                return false;
            n += IP4_BYTES;
        } else {
            if (n + 2 > IP6_BYTES || !parse_group(part, out + n))
                return false;
            n += 2;
        }
    }
    *out_n = n;
    return true;
}

/* RFC 4291 2.2, all three forms. */
static bool parse_ip6(struct str s, uint8_t out[IP6_BYTES])
{
    size_t gap = str_find(s, STR("::"));
    size_t n_head, n_tail;
    if (gap == STR_NPOS)
        return parse_groups(s, true, out, &n_head) && n_head == IP6_BYTES;
    uint8_t tail[IP6_BYTES];
    memset(out, 0, IP6_BYTES);
    if (!parse_groups(str_slice(s, 0, gap), false, out, &n_head) ||
        !parse_groups(str_skip(s, gap + 2), true, tail, &n_tail) || n_head + n_tail > IP6_BYTES - 2)
        return false;
    memcpy(out + IP6_BYTES - n_tail, tail, n_tail);
    return true;
}

bool netaddr_parse_ip(struct str s, uint16_t port, struct netaddr *out)
{
    struct netaddr a = {.port = port};
    if (str_chr(s, ':') == STR_NPOS) {
        if (!parse_ip4(s, a.ip))
            return false;
        a.kind = NETADDR_IP4;
        *out = a;
        return true;
    }
    uint8_t ip[IP6_BYTES];
    if (!parse_ip6(s, ip))
        return false;
    if (memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0) {
        a.kind = NETADDR_IP4;
        memcpy(a.ip, ip + sizeof mapped_prefix, IP4_BYTES);
    } else {
        a.kind = NETADDR_IP6;
        memcpy(a.ip, ip, IP6_BYTES);
    }
    *out = a;
    return true;
}

static bool parse_path(struct str s, struct netaddr *out)
{
    struct netaddr a = {.kind = NETADDR_UNIX};
    if (s.n < 2 || s.p[0] != '/' || str_has_ctl(s) || !str_to_c(s, a.path, sizeof a.path))
        return false;
    *out = a;
    return true;
}

static bool parse_port(struct str s, uint16_t *out)
{
    uint64_t v;
    if (s.n > 5 || !str_to_u64(s, UINT16_MAX, &v))
        return false;
    *out = (uint16_t)v;
    return true;
}

bool netaddr_parse(struct str s, uint16_t default_port, struct netaddr *out)
{
    uint16_t port = default_port;
    if (str_starts(s, STR("/")))
        return parse_path(s, out);
    if (str_starts(s, STR("unix:")))
        return parse_path(str_skip(s, 5), out);
    if (str_starts(s, STR("["))) {
        size_t end = str_chr(s, ']');
        struct str rest = str_skip(s, end == STR_NPOS ? s.n : end + 1);
        struct str ip = str_slice(s, 1, end);
        if (end == STR_NPOS || str_chr(ip, ':') == STR_NPOS)
            return false;
        if (rest.n > 0 && (rest.p[0] != ':' || !parse_port(str_skip(rest, 1), &port)))
            return false;
        return netaddr_parse_ip(ip, port, out);
    }
    size_t colon = str_chr(s, ':');
    if (colon != STR_NPOS && colon == str_rchr(s, ':')) {
        if (!parse_port(str_skip(s, colon + 1), &port))
            return false;
        s = str_slice(s, 0, colon);
    }
    return netaddr_parse_ip(s, port, out);
}

static void put_uint(struct buf *out, unsigned v)
{
    char digits[10];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    buf_put(out, str_of(digits + at, sizeof digits - at));
}

static void put_hex(struct buf *out, unsigned v)
{
    static const char hex[] = "0123456789abcdef";
    bool started = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned digit = (v >> shift) & 15;
        started = started || digit != 0 || shift == 0;
        if (started)
            buf_putc(out, hex[digit]);
    }
}

static void put_ip4(const uint8_t ip[IP4_BYTES], struct buf *out)
{
    for (size_t i = 0; i < IP4_BYTES; i++) {
        if (i > 0)
            buf_putc(out, '.');
        put_uint(out, ip[i]);
    }
}

/* RFC 5952 4: lower case, no leading zeros, the longest run of at least two zero groups (the first of equals)
 * becomes "::". */
static void put_ip6(const uint8_t ip[IP6_BYTES], struct buf *out)
{
    unsigned group[IP6_GROUPS];
    for (size_t i = 0; i < IP6_GROUPS; i++)
        group[i] = ((unsigned)ip[2 * i] << 8) | ip[2 * i + 1];
    size_t run_at = IP6_GROUPS, run_n = 1;
    for (size_t i = 0; i < IP6_GROUPS;) {
        size_t n = 0;
        while (i + n < IP6_GROUPS && group[i + n] == 0)
            n++;
        if (n > run_n) {
            run_at = i;
            run_n = n;
        }
        i += n > 0 ? n : 1;
    }
    for (size_t i = 0; i < IP6_GROUPS;) {
        if (i == run_at) {
            buf_puts(out, "::");
            i += run_n;
            continue;
        }
        if (i > 0 && i != run_at + run_n)
            buf_putc(out, ':');
        put_hex(out, group[i]);
        i++;
    }
}

void netaddr_format_ip(const struct netaddr *a, struct buf *out)
{
    switch (a->kind) {
    case NETADDR_NONE:
        buf_puts(out, "none");
        break;
    case NETADDR_IP4:
        put_ip4(a->ip, out);
        break;
    case NETADDR_IP6:
        put_ip6(a->ip, out);
        break;
    case NETADDR_UNIX:
        buf_puts(out, a->path);
        break;
    }
}

void netaddr_format(const struct netaddr *a, struct buf *out)
{
    bool is_ip = a->kind == NETADDR_IP4 || a->kind == NETADDR_IP6;
    if (a->kind == NETADDR_UNIX)
        buf_puts(out, "unix:");
    if (a->kind == NETADDR_IP6)
        buf_putc(out, '[');
    netaddr_format_ip(a, out);
    if (a->kind == NETADDR_IP6)
        buf_putc(out, ']');
    if (is_ip) {
        buf_putc(out, ':');
        put_uint(out, a->port);
    }
}

static size_t n_ip_bytes(enum netaddr_kind kind)
{
    return kind == NETADDR_IP4 ? IP4_BYTES : kind == NETADDR_IP6 ? IP6_BYTES : 0;
}

bool netaddr_same_ip(const struct netaddr *a, const struct netaddr *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case NETADDR_NONE:
        return true;
    case NETADDR_IP4:
        return memcmp(a->ip, b->ip, IP4_BYTES) == 0;
    case NETADDR_IP6:
        return memcmp(a->ip, b->ip, IP6_BYTES) == 0 && a->scope == b->scope;
    case NETADDR_UNIX:
        return strcmp(a->path, b->path) == 0;
    }
    must_not_reach();
}

bool netaddr_eq(const struct netaddr *a, const struct netaddr *b)
{
    return netaddr_same_ip(a, b) && (n_ip_bytes(a->kind) == 0 || a->port == b->port);
}

bool netaddr_is_loopback(const struct netaddr *a)
{
    static const uint8_t one[IP6_BYTES] = {[IP6_BYTES - 1] = 1};
    return (a->kind == NETADDR_IP4 && a->ip[0] == 127) ||
           (a->kind == NETADDR_IP6 && memcmp(a->ip, one, sizeof one) == 0);
}

bool netaddr_is_any(const struct netaddr *a)
{
    static const uint8_t zero[IP6_BYTES] = {0};
    size_t n = n_ip_bytes(a->kind);
    return n > 0 && memcmp(a->ip, zero, n) == 0;
}

/* Whether the first `bits` bits of a and b agree. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    size_t whole = bits / 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    unsigned rest = bits % 8;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool netblock_parse(struct str s, struct netblock *out)
{
    struct netblock b = {0};
    size_t slash = str_chr(s, '/');
    struct str ip = str_slice(s, 0, slash);
    if (!netaddr_parse_ip(ip, 0, &b.addr))
        return false;
    bool is_text6 = str_chr(ip, ':') != STR_NPOS;
    uint64_t bits_max = is_text6 ? 8 * IP6_BYTES : 8 * IP4_BYTES;
    uint64_t bits = bits_max;
    if (slash != STR_NPOS) {
        struct str number = str_skip(s, slash + 1);
        if (number.n > 3 || (number.n > 1 && number.p[0] == '0') || !str_to_u64(number, bits_max, &bits))
            return false;
    }
    if (is_text6 && b.addr.kind == NETADDR_IP4) { /* "::ffff:10.0.0.0/104" */
        if (bits < MAPPED_BITS)
            return false;
        bits -= MAPPED_BITS;
    }
    b.bits = (uint8_t)bits;
    uint8_t masked[IP6_BYTES + 1] = {0};
    size_t n = n_ip_bytes(b.addr.kind);
    memcpy(masked, b.addr.ip, n);
    for (size_t i = (size_t)bits; i < 8 * n; i++)
        masked[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
    if (memcmp(masked, b.addr.ip, n) != 0)
        return false;
    *out = b;
    return true;
}

bool netblock_has(const struct netblock *b, const struct netaddr *a)
{
    return a->kind == b->addr.kind && n_ip_bytes(a->kind) > 0 && same_prefix(a->ip, b->addr.ip, b->bits);
}
