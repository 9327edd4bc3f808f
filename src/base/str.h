/* base/str.h: slices. A struct str borrows: it owns nothing and is valid as long as what it points into. No
 * NUL is promised at the end. p may be NULL only when n is 0.
 */
#pragma once
#include "base/must.h"

#include <stdint.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NIL ((struct str){NULL, 0})
/* In tables of constants, where ISO C wants an initialiser and no compound literal. */
#define STR_INIT(literal)                                                                                    \
    {                                                                                                        \
        "" literal, sizeof(literal) - 1                                                                      \
    }
/* For printf's %.*s with text of ours (never for remote text in logs: log.h escapes that). */
#define STR_FMT(s) (int)(s).n, (s).p
#define STR_NPOS SIZE_MAX

static inline struct str str_of(const void *p, size_t n)
{
    return (struct str){(const char *)p, n};
}
struct str str_from_c(const char *c); /* NULL gives the empty slice */
bool str_eq(struct str a, struct str b);
bool str_ieq(struct str a, struct str b); /* ASCII case folded */
int str_cmp(struct str a, struct str b);  /* bytewise, shorter first on a tie */
int str_icmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_iends(struct str s, struct str suffix);
/* Index of the first / last c, or STR_NPOS. */
size_t str_chr(struct str s, char c);
size_t str_rchr(struct str s, char c);
/* Index of the first occurrence of needle, or STR_NPOS; the empty needle is at 0. */
size_t str_find(struct str s, struct str needle);
/* s[from, to), both clamped to the slice. */
struct str str_slice(struct str s, size_t from, size_t to);
static inline struct str str_skip(struct str s, size_t n)
{
    return str_slice(s, n, s.n);
}
/* Takes off and returns what stands before the first sep (removed); all of it when there is no sep. */
struct str str_cut(struct str *s, char sep);
/* Without spaces and tabs at both ends. */
struct str str_trim(struct str s);
/* Decimal digits only, at least one, at most max; false otherwise (overflow checked). */
MUST_USE bool str_to_u64(struct str s, uint64_t max, uint64_t *out);
/* No byte over 0x7f / at least one C0 control or DEL. */
bool str_is_ascii(struct str s);
bool str_has_ctl(struct str s);
/* Copies at most cap-1 bytes and always terminates with NUL; false when it did not fit or s has a NUL within.
 */
bool str_to_c(struct str s, char *out, size_t cap);
/* FNV-1a with a seed that the world gave, ASCII case folded. For hash tables; order must not depend on it. */
uint64_t str_ihash(struct str s, uint64_t seed);

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool ascii_is_alpha(char c)
{
    c = ascii_lower(c);
    return c >= 'a' && c <= 'z';
}
static inline bool ascii_is_alnum(char c)
{
    return ascii_is_digit(c) || ascii_is_alpha(c);
}
/* 0 to 15 of a hexadecimal digit in either case; -1: it is none. */
static inline int ascii_hex_value(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
/* The length of the character at the front of s (not empty) that no terminal and no log may get as it is: C0
 * and C1 control characters (these as UTF-8), those that turn the direction of text, and ends of lines. 0: it
 * is none. *out: its number. */
size_t str_odd_char(struct str s, unsigned *out);
