#include "base/queue_id.h"

/* Crockford's base 32: no I, L, O, U, which look like others. */
static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void queue_id_format(uint64_t id, struct buf *out)
{
    char text[QUEUE_ID_TEXT];
    for (size_t i = QUEUE_ID_TEXT; i > 0; i--) {
        text[i - 1] = digits[id & 31];
        id >>= 5;
    }
    buf_put(out, str_of(text, sizeof text));
}

/* 32 for what is no digit. */
static unsigned digit_value(char c)
{
    char l = ascii_lower(c);
    if (l == 'o')
        return 0;
    if (l == 'i' || l == 'l')
        return 1;
    unsigned v = 0;
    while (v < 32 && ascii_lower(digits[v]) != l)
        v++;
    return v;
}

bool queue_id_parse(struct str s, uint64_t *out)
{
    uint64_t id = 0;
    if (s.n != QUEUE_ID_TEXT)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned v = digit_value(s.p[i]);
        if (v == 32 || (i == 0 && v > 15)) /* 13 digits of 5 bits are 65 */
            return false;
        id = id << 5 | v;
    }
    *out = id;
    return true;
}
