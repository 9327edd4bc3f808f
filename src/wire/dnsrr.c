/* wire/dnsrr.c: names and records in uncompressed wire form. */
#include "wire/dnsrr.h"

#include "base/limits.h"

bool dnsname_decode(struct str s, struct buf *out, struct str *rest)
{
    size_t total = 0;
    bool first = true;
    for (;;) {
        if (s.n == 0)
            return false;
        size_t n = (unsigned char)s.p[0];
        if (n > 63 || n + 1 > s.n || (total += n + 1) > DNS_NAME_MAX) /* over 63: a compression pointer, which has no place here */
            return false;
        if (n == 0)
            break;
        if (!first)
            buf_putc(out, '.');
        for (size_t i = 1; i <= n; i++) {
            unsigned char c = (unsigned char)s.p[i];
            if (c < 0x21 || c > 0x7e || c == '.')
                return false;
            buf_putc(out, ascii_lower(s.p[i]));
        }
        s = str_skip(s, n + 1);
        first = false;
    }
    if (first)
        buf_putc(out, '.');
    *rest = str_skip(s, 1);
    return !out->failed;
}

bool dnsname_encode(struct str name, struct buf *out)
{
    size_t total = 1;
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    while (name.n > 0) {
        size_t dot = str_chr(name, '.');
        struct str label = str_slice(name, 0, dot);
        total += label.n + 1;
        if (label.n == 0 || label.n > 63 || total > DNS_NAME_MAX)
            return false;
        buf_putc(out, (char)label.n);
        buf_put(out, label);
        if (dot != STR_NPOS && dot + 1 == name.n)
            return false;
        name = dot == STR_NPOS ? STR_NIL : str_skip(name, dot + 1);
    }
    return buf_putc(out, '\0');
}

bool dnsrr_mx(struct str rdata, uint16_t *out_preference, struct buf *out_name)
{
    struct str rest;
    if (rdata.n < 3)
        return false;
    *out_preference = (uint16_t)((unsigned char)rdata.p[0] * 256 + (unsigned char)rdata.p[1]);
    return dnsname_decode(str_skip(rdata, 2), out_name, &rest) && rest.n == 0;
}

bool dnsrr_address(enum dns_type type, struct str rdata, struct netaddr *out)
{
    *out = (struct netaddr){.kind = type == DNS_A ? NETADDR_IP4 : NETADDR_IP6};
    if ((type != DNS_A && type != DNS_AAAA) || rdata.n != (type == DNS_A ? 4u : 16u))
        return false;
    for (size_t i = 0; i < rdata.n; i++)
        out->ip[i] = (uint8_t)rdata.p[i];
    return true;
}
