#include "base/base64.h"

const char base64_alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_put(struct buf *out, struct str in)
{
    if (in.n > SIZE_MAX / 2 || !buf_reserve(out, BASE64_SIZE(in.n))) {
        out->failed = true;
        return false;
    }
    for (size_t i = 0; i < in.n; i += 3) {
        size_t n = in.n - i < 3 ? in.n - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? (uint8_t)in.p[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            buf_putc(out, k <= n ? base64_alphabet[bits >> (18 - 6 * k) & 63] : '=');
    }
    return true;
}

/* Octets that a group of four holds, in *bits from the top; 0: it is no group. Only the last may be padded.
 */
static size_t take_group(const char *p, bool is_last, uint32_t *bits)
{
    size_t n_pad = !is_last || p[3] != '=' ? 0 : p[2] != '=' ? 1 : 2;
    *bits = 0;
    for (size_t k = 0; k < 4; k++) {
        int v = k < 4 - n_pad ? base64_value(p[k]) : 0;
        if (v < 0)
            return 0;
        *bits = *bits << 6 | (uint32_t)v;
    }
    return (*bits & ((1u << 8 * n_pad) - 1)) != 0 ? 0 : 3 - n_pad;
}

bool base64_take(struct str text, struct buf *out)
{
    size_t start = out->n;
    size_t n_pad = str_ends(text, STR("==")) ? 2 : str_ends(text, STR("=")) ? 1 : 0;
    /* all room at once: a secret is not left behind in memory that the buffer grew out of */
    if (text.n % 4 != 0 || (text.n > 0 && !buf_reserve(out, BASE64_OCTETS(text.n) - n_pad)))
        return false;
    for (size_t i = 0; i < text.n; i += 4) {
        uint32_t bits;
        size_t n = take_group(text.p + i, i + 4 == text.n, &bits);
        if (n == 0) {
            out->n = start;
            return false;
        }
        for (size_t k = 0; k < n; k++)
            buf_putc(out, (char)(bits >> (16 - 8 * k) & 0xff));
    }
    return true;
}

static int url_value(char c)
{
    return c == '-' ? 62 : c == '_' ? 63 : c == '+' || c == '/' ? -1 : base64_value(c);
}

bool base64url_take(struct str text, struct buf *out)
{
    size_t start = out->n, n_left = text.n % 4; /* of one digit no octet comes */
    if (n_left == 1 ||
        (text.n > 0 && !buf_reserve(out, BASE64_OCTETS(text.n) + (n_left > 0 ? n_left - 1 : 0))))
        return false;
    uint32_t bits = 0;
    unsigned n_bits = 0; /* of bits that no octet has taken */
    for (size_t i = 0; i < text.n; i++) {
        int v = url_value(text.p[i]);
        if (v < 0) {
            out->n = start;
            return false;
        }
        bits = (bits << 6 | (uint32_t)v) & 0xfff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_putc(out, (char)(bits >> n_bits & 0xff));
        }
    }
    if ((bits & ((1u << n_bits) - 1)) == 0)
        return true;
    out->n = start;
    return false;
}
