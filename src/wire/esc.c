#include "wire/esc.h"

/* RFC 3463 2: one to three digits without leading zeros, up to `end` or the end of the text. */
static bool take_number(struct str *s, char end, uint16_t *out)
{
    struct str digits = str_cut(s, end);
    uint64_t v;
    if (digits.n > 3 || (digits.n > 1 && digits.p[0] == '0') || !str_to_u64(digits, 999, &v))
        return false;
    *out = (uint16_t)v;
    return true;
}

bool esc_parse(struct str s, struct esc *out, struct str *rest)
{
    if (s.n < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.')
        return false;
    struct esc e = {.class = (uint8_t)(s.p[0] - '0')};
    s = str_skip(s, 2);
    if (str_chr(s, '.') == STR_NPOS || !take_number(&s, '.', &e.subject) || !take_number(&s, ' ', &e.detail))
        return false;
    *out = e;
    *rest = s;
    return true;
}

/* Every reply has three of them, so without printf. */
static void put_number(unsigned v, struct buf *out)
{
    char digits[5]; /* of UINT16_MAX */
    size_t i = sizeof digits;
    do {
        digits[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    buf_put(out, str_of(digits + i, sizeof digits - i));
}

void esc_format(struct esc e, struct buf *out)
{
    if (e.class == 0)
        return;
    put_number(e.class, out);
    buf_putc(out, '.');
    put_number(e.subject, out);
    buf_putc(out, '.');
    put_number(e.detail, out);
}
