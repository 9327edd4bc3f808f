#include "wire/encoded_word.h"

#include "wire/encoding.h"
#include "wire/mime_field.h"

/* ---- one line ---------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Text of any origin, UTF-8 by now. */
static void put_line(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        buf_putc(out, is_blank(s.p[i]) ? ' ' : c < 0x20 || c == 0x7f ? '?' : s.p[i]);
    }
}

static void put_converted(const struct charset_more *more, struct str charset, struct str octets,
                          struct buf *out)
{
    struct buf text;
    if (octets.n == 0)
        return;
    buf_init(&text, octets.n * 4 +
                        16); /* more than any set needs; of a `more` that goes beyond it the rest is lost */
    if (charset.n > 0)
        (void)charset_convert(more, charset, octets, &text);
    else
        charset_guess(octets, &text);
    put_line(buf_str(&text), out);
    buf_fini(&text);
}

/* Without the line ends of folds; a fold and the blanks about it are one space. */
static void put_plain(const struct charset_more *more, struct str s, struct buf *out)
{
    struct buf text;
    buf_init(&text, s.n + 1);
    for (size_t i = 0; i < s.n;) {
        size_t end = i;
        bool is_fold = false;
        while (end < s.n && is_blank(s.p[end])) {
            is_fold = is_fold || s.p[end] == '\n' || s.p[end] == '\r';
            end++;
        }
        if (is_fold)
            buf_putc(&text, ' ');
        else
            buf_put(&text, str_slice(s, i, end));
        if (end < s.n)
            buf_putc(&text, s.p[end]);
        i = end + 1;
    }
    put_converted(more, STR_NIL, buf_str(&text), out);
    buf_fini(&text);
}

/* ---- encoded words ---------------- */

struct word {
    struct str charset; /* without RFC 2231's language */
    bool is_base64;
    struct str text;
    size_t n; /* octets of the whole */
};

/* "=?charset?B?text?=" at the start of s. */
static bool take_word(struct str s, struct word *out)
{
    if (!str_starts(s, STR("=?")))
        return false;
    struct str rest = str_skip(s, 2);
    size_t q = str_chr(rest, '?');
    if (q == STR_NPOS || q == 0 || q > ENCODED_CHARSET_MAX || rest.n < q + 3 || rest.p[q + 2] != '?')
        return false;
    struct str charset = str_slice(rest, 0, q);
    char encoding = ascii_lower(rest.p[q + 1]);
    rest = str_skip(rest, q + 3);
    size_t end = str_chr(rest, '?');
    if ((encoding != 'b' && encoding != 'q') || end == STR_NPOS || end + 1 >= rest.n ||
        rest.p[end + 1] != '=')
        return false;
    struct str text = str_slice(rest, 0, end);
    for (size_t i = 0; i < q; i++) {
        if (is_blank(charset.p[i]))
            return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (is_blank(text.p[i]))
            return false;
    }
    struct str set = str_cut(&charset, '*');
    if (set.n == 0)
        return false;
    *out =
        (struct word){.charset = set, .is_base64 = encoding == 'b', .text = text, .n = 2 + q + 3 + end + 2};
    return true;
}

/* `mark` and two hexadecimal digits; underscores are spaces where has_underscores (RFC 2047 4.2). */
static void put_escaped(struct str s, char mark, bool has_underscores, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == mark && i + 2 < s.n ? ascii_hex_value(s.p[i + 1]) : -1;
        int low = high >= 0 ? ascii_hex_value(s.p[i + 2]) : -1;
        if (low >= 0) {
            buf_putc(out, (char)(high * 16 + low));
            i += 2;
        } else {
            buf_putc(out, has_underscores && s.p[i] == '_' ? ' ' : s.p[i]);
        }
    }
}

/* Where the next word begins; s.n: there is none. */
static size_t find_word(struct str s, size_t from, struct word *out)
{
    for (size_t at = from; at < s.n; at++) {
        size_t next = str_chr(str_skip(s, at), '=');
        if (next == STR_NPOS)
            return s.n;
        at += next;
        if (take_word(str_skip(s, at), out))
            return at;
    }
    return s.n;
}

static struct str trim_blanks(struct str s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = str_skip(s, 1);
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

void encoded_words_decode(struct str body, const struct charset_more *more, struct buf *out)
{
    struct buf octets; /* of the words that follow each other in one set */
    struct str charset = STR_NIL;
    body = trim_blanks(body);
    buf_init(&octets, body.n + 1);
    for (size_t at = 0; at < body.n;) {
        struct word w = {0};
        size_t next = find_word(body, at, &w);
        struct str gap = str_slice(body, at, next);
        bool is_between = charset.n > 0 && next < body.n && trim_blanks(gap).n == 0;
        if (!is_between || !str_ieq(charset, w.charset)) {
            put_converted(more, charset, buf_str(&octets), out);
            buf_reset(&octets);
            if (!is_between) /* space between words is not shown (RFC 2047 6.2) */
                put_plain(more, gap, out);
        }
        charset = w.charset;
        if (w.is_base64)
            base64_decode(w.text, &octets);
        else
            put_escaped(w.text, '=', true, &octets);
        at = next + w.n;
    }
    put_converted(more, charset, buf_str(&octets), out);
    buf_fini(&octets);
}

/* ---- parameters ---------------- */

struct pieces {
    struct str params, name;
    struct buf octets;
    char charset[ENCODED_CHARSET_MAX];
    size_t charset_n;
};

/* The value of "NAME*", "NAME*3", "NAME*3*" into out, which is empty before. */
static bool find_piece(const struct pieces *p, const char *suffix, struct buf *out)
{
    char mem[128];
    struct buf name;
    buf_init_fixed(&name, mem, sizeof mem);
    buf_put(&name, p->name);
    buf_puts(&name, suffix);
    buf_reset(out);
    return !name.failed && mime_param(p->params, buf_str(&name), out);
}

/* charset'language'text, of the first piece (RFC 2231 4). */
static void take_first(struct pieces *p, struct str value)
{
    struct str rest = value;
    struct str charset = str_cut(&rest, '\'');
    if (charset.n >= value.n || charset.n > sizeof p->charset) {
        put_escaped(value, '%', false, &p->octets);
        return;
    }
    for (size_t i = 0; i < charset.n; i++)
        p->charset[i] = charset.p[i];
    p->charset_n = charset.n;
    (void)str_cut(&rest, '\'');
    put_escaped(rest, '%', false, &p->octets);
}

static bool take_pieces(struct pieces *p, struct buf *value)
{
    unsigned i = 0;
    for (; i < PARAM_SECTIONS_MAX; i++) {
        char coded[16], plain[16];
        struct buf b;
        buf_init_fixed(&b, coded, sizeof coded);
        buf_printf(&b, "*%u*", i);
        buf_putc(&b, '\0');
        buf_init_fixed(&b, plain, sizeof plain);
        buf_printf(&b, "*%u", i);
        buf_putc(&b, '\0');
        if (find_piece(p, coded, value)) {
            if (i == 0)
                take_first(p, buf_str(value));
            else
                put_escaped(buf_str(value), '%', false, &p->octets);
        } else if (find_piece(p, plain, value)) {
            buf_put(&p->octets, buf_str(value));
        } else {
            break;
        }
    }
    return i > 0;
}

bool param_text(struct str params, struct str name, const struct charset_more *more, struct buf *out)
{
    struct pieces p = {.params = params, .name = name};
    struct buf value;
    bool found = true;
    buf_init(&value, params.n + 1);
    buf_init(&p.octets, params.n + 1);
    if (find_piece(&p, "*", &value))
        take_first(&p, buf_str(&value));
    else
        found = take_pieces(&p, &value);
    if (found) {
        put_converted(more, str_of(p.charset, p.charset_n), buf_str(&p.octets), out);
    } else {
        found = find_piece(&p, "", &value);
        encoded_words_decode(buf_str(&value), more, out);
    }
    buf_fini(&value);
    buf_fini(&p.octets);
    return found;
}
