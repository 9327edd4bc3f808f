#include "base/str.h"

#include <string.h>

struct str str_from_c(const char *c)
{
    return c == NULL ? STR_NIL : str_of(c, strlen(c));
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static int icmp_n(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)ascii_lower(a[i]);
        unsigned char y = (unsigned char)ascii_lower(b[i]);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}

bool str_ieq(struct str a, struct str b)
{
    return a.n == b.n && icmp_n(a.p, b.p, a.n) == 0;
}

static int by_length(size_t a, size_t b)
{
    return a == b ? 0 : a < b ? -1 : 1;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return d != 0 ? d : by_length(a.n, b.n);
}

int str_icmp(struct str a, struct str b)
{
    int d = icmp_n(a.p, b.p, a.n < b.n ? a.n : b.n);
    return d != 0 ? d : by_length(a.n, b.n);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_of(s.p, prefix.n), prefix);
}

bool str_istarts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_ieq(str_of(s.p, prefix.n), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

bool str_iends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_ieq(str_skip(s, s.n - suffix.n), suffix);
}

size_t str_chr(struct str s, char c)
{
    const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);
    return at == NULL ? STR_NPOS : (size_t)(at - s.p);
}

size_t str_rchr(struct str s, char c)
{
    for (size_t i = s.n; i > 0; i--) {
        if (s.p[i - 1] == c)
            return i - 1;
    }
    return STR_NPOS;
}

size_t str_find(struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    for (size_t i = 0; i + needle.n <= s.n; i++) {
        if (memcmp(s.p + i, needle.p, needle.n) == 0)
            return i;
    }
    return STR_NPOS;
}

struct str str_slice(struct str s, size_t from, size_t to)
{
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    return str_of(s.p == NULL ? NULL : s.p + from, to - from);
}

struct str str_cut(struct str *s, char sep)
{
    size_t at = str_chr(*s, sep);
    struct str head = str_slice(*s, 0, at);
    *s = at == STR_NPOS ? str_of(s->p == NULL ? NULL : s->p + s->n, 0) : str_skip(*s, at + 1);
    return head;
}

struct str str_trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]))
            return false;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v) || v > max)
            return false;
    }
    *out = v;
    return true;
}

bool str_is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] > 0x7f)
            return false;
    }
    return true;
}

bool str_has_ctl(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return true;
    }
    return false;
}

bool str_to_c(struct str s, char *out, size_t cap)
{
    must(cap > 0);
    size_t n = s.n < cap ? s.n : cap - 1;
    if (n > 0)
        memcpy(out, s.p, n);
    out[n] = '\0';
    return n == s.n && (n == 0 || memchr(s.p, '\0', s.n) == NULL);
}

uint64_t str_ihash(struct str s, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < s.n; i++) {
        h ^= (unsigned char)ascii_lower(s.p[i]);
        h *= 0x100000001b3u;
    }
    return h ^ (h >> 29);
}

size_t str_odd_char(struct str s, unsigned *out)
{
    unsigned char c = (unsigned char)s.p[0], d = s.n > 1 ? (unsigned char)s.p[1] : 0;
    unsigned char e = s.n > 2 ? (unsigned char)s.p[2] : 0;
    size_t n = 0;
    *out = c;
    if (c < 0x20 || c == 0x7f) {
        n = 1;
    } else if (c == 0xc2 && d >= 0x80 && d < 0xa0) {
        *out = d;
        n = 2;
    } else if (c == 0xe2 && ((d == 0x80 && ((e >= 0xa8 && e <= 0xae) || e == 0x8e || e == 0x8f)) ||
                             (d == 0x81 && e >= 0xa6 && e <= 0xa9))) {
        *out = 0x2000u + (unsigned)(d - 0x80) * 64 + (unsigned)(e - 0x80);
        n = 3;
    }
    return n;
}
