#include "wire/charset.h"

#include "wire/utf8.h"

enum { REPLACEMENT = 0xfffd };
enum set { SET_UTF8, SET_1252, SET_8859_15 };

static const struct {
    struct str name;
    enum set set;
} names[] = {
    {STR_INIT("utf-8"), SET_UTF8},          {STR_INIT("utf8"), SET_UTF8},
    {STR_INIT("us-ascii"), SET_1252},       {STR_INIT("ascii"), SET_1252},
    {STR_INIT("iso-8859-1"), SET_1252},     {STR_INIT("iso8859-1"), SET_1252},
    {STR_INIT("latin1"), SET_1252},         {STR_INIT("windows-1252"), SET_1252},
    {STR_INIT("cp1252"), SET_1252},         {STR_INIT("x-cp1252"), SET_1252},
    {STR_INIT("iso-8859-15"), SET_8859_15}, {STR_INIT("latin-9"), SET_8859_15},
};

/* windows-1252, 0x80 to 0x9f; 0: no character. */
static const uint16_t high_1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

/* Where ISO 8859-15 differs from 8859-1. */
static uint32_t code_8859_15(unsigned char c)
{
    static const struct {
        unsigned char octet;
        uint16_t code;
    } rows[] = {
        {0xa4, 0x20ac}, {0xa6, 0x0160}, {0xa8, 0x0161}, {0xb4, 0x017d},
        {0xb8, 0x017e}, {0xbc, 0x0152}, {0xbd, 0x0153}, {0xbe, 0x0178},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].octet == c)
            return rows[i].code;
    }
    return c;
}

static uint32_t code_1252(unsigned char c)
{
    if (c < 0x80 || c > 0x9f)
        return c;
    return high_1252[c - 0x80] != 0 ? high_1252[c - 0x80] : (uint32_t)REPLACEMENT;
}

static void put_single(enum set set, struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        (void)utf8_put(set == SET_8859_15 ? code_8859_15(c) : code_1252(c), out);
    }
}

static void put_utf8(struct str in, struct buf *out)
{
    while (in.n > 0) {
        uint32_t code;
        size_t n = utf8_next(in, &code);
        if (n == 0)
            (void)utf8_put(REPLACEMENT, out);
        else
            buf_put(out, str_slice(in, 0, n));
        in = str_skip(in, n == 0 ? 1 : n);
    }
}

bool charset_to_utf8(struct str charset, struct str in, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!str_ieq(charset, names[i].name))
            continue;
        if (names[i].set == SET_UTF8)
            put_utf8(in, out);
        else
            put_single(names[i].set, in, out);
        return true;
    }
    return false;
}

void charset_guess(struct str in, struct buf *out)
{
    if (utf8_is_valid(in))
        buf_put(out, in);
    else
        put_single(SET_1252, in, out);
}

bool charset_convert(const struct charset_more *more, struct str charset, struct str in, struct buf *out)
{
    if (charset_to_utf8(charset, in, out) || (more != NULL && more->to_utf8(more->arg, charset, in, out)))
        return true;
    charset_guess(in, out);
    return false;
}
