#include "wire/proxy.h"

#include "base/crc32c.h"

#include <string.h>

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
enum {
    SIGNATURE_N = sizeof signature - 1,
    IP4_N = 12, /* addresses and ports: TCP or UDP over IPv4 */
    IP6_N = 36,
    UNIX_N = 216,
    UNIX_PATH_N = 108,
    TLV_HEAD = 3,
    TLV_CRC32C = 0x03,
    CRC_N = 4,
};
_Static_assert(SIGNATURE_N == 12, "proxy-protocol.txt 2.2");

static uint16_t get_be16(const char *p)
{
    return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}

/* ---- version 1 ----------------------------------------------------------------------------------------- */

/* Decimal without leading zeros. */
static bool take_port(struct str s, uint16_t *out)
{
    uint64_t n;
    if ((s.n > 1 && s.p[0] == '0') || !str_to_u64(s, UINT16_MAX, &n))
        return false;
    *out = (uint16_t)n;
    return true;
}

static bool v1_addresses(struct str rest, enum netaddr_kind kind, struct proxy_header *out)
{
    struct str source = str_cut(&rest, ' '), dest = str_cut(&rest, ' ');
    struct str source_port = str_cut(&rest, ' ');
    uint16_t from, to;
    bool is_ip6 = kind == NETADDR_IP6; /* a mapped IPv4 address is written as IPv6 and becomes IPv4 */
    return take_port(source_port, &from) && take_port(rest, &to) &&
           netaddr_parse_ip(source, from, &out->source) && netaddr_parse_ip(dest, to, &out->dest) &&
           (str_chr(source, ':') != STR_NPOS) == is_ip6 && (str_chr(dest, ':') != STR_NPOS) == is_ip6;
}

static enum proxy_status parse_v1(struct str in, struct proxy_header *out, size_t *out_consumed)
{
    struct str head = str_slice(in, 0, PROXY_V1_MAX);
    size_t n = str_find(head, STR("\r\n"));
    if (n == STR_NPOS)
        return in.n < PROXY_V1_MAX ? PROXY_MORE : PROXY_BAD;
    struct str rest = str_slice(head, 6, n);
    struct str family = str_cut(&rest, ' ');
    bool ok = true;
    if (str_eq(family, STR("UNKNOWN"))) /* what follows is ignored: 2.1 */
        out->is_local = true;
    else if (str_eq(family, STR("TCP4")))
        ok = v1_addresses(rest, NETADDR_IP4, out);
    else if (str_eq(family, STR("TCP6")))
        ok = v1_addresses(rest, NETADDR_IP6, out);
    else
        ok = false;
    *out_consumed = n + 2;
    return ok ? PROXY_OK : PROXY_BAD;
}

/* ---- version 2 ----------------------------------------------------------------------------------------- */

/* The checksum is over the whole header with its own octets as zeros (2.2.3). */
static bool crc_is_right(struct str header, size_t at)
{
    static const char zeros[CRC_N] = {0};
    uint32_t said = (uint32_t)get_be16(header.p + at) << 16 | get_be16(header.p + at + 2);
    uint32_t crc = crc32c(0, header.p, at);
    crc = crc32c(crc, zeros, CRC_N);
    return crc32c(crc, header.p + at + CRC_N, header.n - at - CRC_N) == said;
}

static bool check_tlvs(struct str header, size_t at)
{
    bool has_crc = false;
    while (at < header.n) {
        if (header.n - at < TLV_HEAD)
            return false;
        uint8_t type = (uint8_t)header.p[at];
        size_t n = get_be16(header.p + at + 1);
        at += TLV_HEAD;
        if (header.n - at < n)
            return false;
        if (type == TLV_CRC32C && (has_crc || n != CRC_N || !crc_is_right(header, at)))
            return false;
        has_crc |= type == TLV_CRC32C;
        at += n;
    }
    return true;
}

/* By text, so that an IPv4-mapped address is normalised where all others are. */
static bool put_ip(const char *p, size_t n, uint16_t port, struct netaddr *out)
{
    char mem[NETADDR_TEXT_MAX];
    struct buf text;
    struct netaddr raw = {.kind = n == 4 ? NETADDR_IP4 : NETADDR_IP6};
    memcpy(raw.ip, p, n);
    buf_init_fixed(&text, mem, sizeof mem);
    netaddr_format_ip(&raw, &text);
    return netaddr_parse_ip(buf_str(&text), port, out);
}

static void put_path(const char *p, struct netaddr *out)
{
    size_t n = strnlen(p, UNIX_PATH_N);
    *out = (struct netaddr){.kind = NETADDR_UNIX};
    memcpy(out->path, p, n > NETADDR_PATH_MAX ? NETADDR_PATH_MAX : n);
}

/* Octets that the addresses of a family take; 0 for one that says nothing here (AF_UNSPEC, UDP and others to
 * come: 2.2 lets them be skipped). */
static size_t family_size(uint8_t family)
{
    return family == 0x11 ? IP4_N : family == 0x21 ? IP6_N : family == 0x31 ? UNIX_N : 0;
}

static bool v2_addresses(const char *p, size_t n, struct proxy_header *out)
{
    if (n == UNIX_N) {
        put_path(p, &out->source);
        put_path(p + UNIX_PATH_N, &out->dest);
        return true;
    }
    size_t ip = n == IP4_N ? 4 : 16;
    return put_ip(p, ip, get_be16(p + 2 * ip), &out->source) &&
           put_ip(p + ip, ip, get_be16(p + 2 * ip + 2), &out->dest);
}

static enum proxy_status parse_v2(struct str in, struct proxy_header *out, size_t *out_consumed)
{
    if (in.n < PROXY_V2_HEAD)
        return PROXY_MORE;
    uint8_t command = (uint8_t)in.p[SIGNATURE_N], family = (uint8_t)in.p[SIGNATURE_N + 1];
    size_t size = PROXY_V2_HEAD + get_be16(in.p + SIGNATURE_N + 2);
    if (command >> 4 != 2 || (command & 15) > 1 || family >> 4 > 3 || (family & 15) > 2 ||
        size > PROXY_V2_MAX)
        return PROXY_BAD;
    if (in.n < size)
        return PROXY_MORE;
    size_t n = family_size(family);
    *out_consumed = size;
    out->is_local = (command & 15) == 0;
    if (out->is_local) /* the rest is skipped whatever it is: 2.2 */
        return PROXY_OK;
    if (n > 0 && (size < PROXY_V2_HEAD + n || !v2_addresses(in.p + PROXY_V2_HEAD, n, out)))
        return PROXY_BAD;
    out->is_local = n == 0;
    bool has_tlvs = n > 0; /* of another family it is not known where they begin */
    return !has_tlvs || check_tlvs(str_slice(in, 0, size), PROXY_V2_HEAD + n) ? PROXY_OK : PROXY_BAD;
}

/* ---- both ---------------------------------------------------------------------------------------------- */

static bool may_become(struct str in, struct str prefix)
{
    size_t n = in.n < prefix.n ? in.n : prefix.n;
    return str_eq(str_slice(in, 0, n), str_slice(prefix, 0, n));
}

enum proxy_status proxy_parse(struct str in, struct proxy_header *out, size_t *out_consumed)
{
    static const struct str v1 = STR_INIT("PROXY ");
    struct str v2 = str_of(signature, SIGNATURE_N);
    enum proxy_status status = PROXY_BAD;
    *out = (struct proxy_header){0};
    *out_consumed = 0;
    if (may_become(in, v1)) {
        out->version = 1;
        status = in.n < v1.n ? PROXY_MORE : parse_v1(in, out, out_consumed);
    } else if (may_become(in, v2)) {
        out->version = 2;
        status = in.n < v2.n ? PROXY_MORE : parse_v2(in, out, out_consumed);
    }
    if (status != PROXY_OK) {
        *out = (struct proxy_header){0};
        *out_consumed = 0;
    }
    return status;
}
