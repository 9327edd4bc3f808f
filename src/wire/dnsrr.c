#include "wire/dnsrr.h"

#include "base/limits.h"

#include <string.h>

enum { LABEL_MAX = 63 };

static bool is_label_octet(char c)
{
    return c > 0x20 && c < 0x7f && c != '.';
}

static bool decode(struct str s, struct buf *out, struct str *rest)
{
    size_t total = 0;
    size_t start = out->n;
    for (;;) {
        if (s.n == 0)
            return false;
        size_t n = (unsigned char)s.p[0];
        total += n + 1;
        if (n > LABEL_MAX || n + 1 > s.n || total > DNS_NAME_MAX)
            return false;
        if (n == 0)
            break;
        if (out->n > start && !buf_putc(out, '.'))
            return false;
        for (size_t i = 1; i <= n; i++) {
            if (!is_label_octet(s.p[i]) || !buf_putc(out, ascii_lower(s.p[i])))
                return false;
        }
        s = str_skip(s, n + 1);
    }
    *rest = str_skip(s, 1);
    return out->n > start || buf_putc(out, '.');
}

bool dnsname_decode(struct str s, struct buf *out, struct str *rest)
{
    size_t start = out->n;
    if (decode(s, out, rest))
        return true;
    out->n = start;
    return false;
}

static bool encode(struct str name, struct buf *out)
{
    if (str_eq(name, STR(".")))
        return buf_putc(out, '\0');
    if (str_ends(name, STR(".")))
        name.n--;
    size_t start = out->n;
    bool more = true;
    while (more) {
        more = str_chr(name, '.') != STR_NPOS;
        struct str label = str_cut(&name, '.');
        if (label.n == 0 || label.n > LABEL_MAX || !buf_putc(out, (char)label.n) || !buf_put(out, label))
            return false;
        for (size_t i = 0; i < label.n; i++) {
            if (!is_label_octet(label.p[i]))
                return false;
        }
        if (out->n - start >= DNS_NAME_MAX)
            return false;
    }
    return buf_putc(out, '\0');
}

bool dnsname_encode(struct str name, struct buf *out)
{
    size_t start = out->n;
    if (encode(name, out))
        return true;
    out->n = start;
    return false;
}

bool dnsrr_mx(struct str rdata, uint16_t *out_preference, struct buf *out_name)
{
    struct str rest;
    size_t start = out_name->n;
    if (rdata.n < 3 || !dnsname_decode(str_skip(rdata, 2), out_name, &rest))
        return false;
    if (rest.n > 0) {
        out_name->n = start;
        return false;
    }
    *out_preference = (uint16_t)((unsigned char)rdata.p[0] << 8 | (unsigned char)rdata.p[1]);
    return true;
}

bool dnsrr_address(enum dns_type type, struct str rdata, struct netaddr *out)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct netaddr a = {0};
    if ((type != DNS_A && type != DNS_AAAA) || rdata.n != (type == DNS_A ? 4u : 16u))
        return false;
    if (type == DNS_AAAA && memcmp(rdata.p, mapped, sizeof mapped) == 0)
        rdata = str_skip(rdata, sizeof mapped);
    a.kind = rdata.n == 4 ? NETADDR_IP4 : NETADDR_IP6;
    memcpy(a.ip, rdata.p, rdata.n);
    *out = a;
    return true;
}

bool dnsrr_txt(struct str rdata, struct buf *out)
{
    size_t start = out->n;
    bool ok = rdata.n > 0;
    while (ok && rdata.n > 0) {
        size_t n = (unsigned char)rdata.p[0];
        rdata = str_skip(rdata, 1);
        ok = n <= rdata.n && buf_put(out, str_slice(rdata, 0, n));
        rdata = str_skip(rdata, n);
    }
    if (!ok)
        out->n = start;
    return ok;
}
