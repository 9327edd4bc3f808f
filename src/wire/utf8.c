#include "wire/utf8.h"

/* The sequences of RFC 3629 4 by first octet: the range of the second shuts out over-long forms, surrogates
 * and what lies over U+10FFFF. */
struct lead {
    uint8_t first, last;
    uint8_t n;
    uint8_t second_min, second_max;
};
static const struct lead leads[] = {
    {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
    {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static size_t take_sequence(const struct lead *l, struct str s, uint32_t *out_code)
{
    if (s.n < l->n)
        return 0;
    uint32_t code = (uint8_t)s.p[0] & (0xffu >> (l->n + 1));
    for (size_t i = 1; i < l->n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c < (i == 1 ? l->second_min : 0x80) || c > (i == 1 ? l->second_max : 0xbf))
            return 0;
        code = code << 6 | (c & 0x3f);
    }
    *out_code = code;
    return l->n;
}

size_t utf8_next(struct str s, uint32_t *out_code)
{
    if (s.n == 0)
        return 0;
    uint8_t c = (uint8_t)s.p[0];
    if (c < 0x80) {
        *out_code = c;
        return 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(leads); i++) {
        if (c >= leads[i].first && c <= leads[i].last)
            return take_sequence(&leads[i], s, out_code);
    }
    return 0;
}

bool utf8_is_valid(struct str s)
{
    uint32_t code;
    for (size_t i = 0; i < s.n;) {
        size_t n = utf8_next(str_skip(s, i), &code);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

bool utf8_is_control(uint32_t code)
{
    return (code >= 0x80 && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

bool utf8_put(uint32_t code, struct buf *out)
{
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return false;
    if (code < 0x80)
        return buf_putc(out, (char)code);
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3; /* octets behind the first */
    char octets[4];
    octets[0] = (char)(lead[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        octets[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3f));
    return buf_put(out, str_of(octets, more + 1));
}
