#include "wire/encoding.h"

#include "base/base64.h"

/* A soft break goes before what would pass this column, so that "=" still fits. */
enum { TEXT_COLUMNS = ENCODING_LINE_MAX - 1 };

static const char hex_digits[] = "0123456789ABCDEF";

static void put_escape(unsigned char c, struct buf *out)
{
    const char text[3] = {'=', hex_digits[c >> 4], hex_digits[c & 15]};
    buf_put(out, str_of(text, sizeof text));
}

static bool is_plain(char c)
{
    return c > ' ' && c < 0x7f && c != '=';
}

static void qp_put(struct qp_encoder *e, char c, bool escape, struct buf *out)
{
    /* the second dash of a line: "--" and a boundary must not come about by a break of ours */
    escape |= c == '-' && e->was_dash && e->column == 1;
    size_t width = escape ? 3 : 1;
    if (e->column + width > TEXT_COLUMNS) {
        buf_put(out, STR("=\r\n"));
        e->column = 0;
    }
    e->was_dash = e->column == 0 && c == '-' && !escape;
    if (escape)
        put_escape((unsigned char)c, out);
    else
        buf_putc(out, c);
    e->column += width;
}

static void qp_flush_space(struct qp_encoder *e, bool escape, struct buf *out)
{
    if (e->space != 0)
        qp_put(e, e->space, escape, out);
    e->space = 0;
}

/* A CR was kept back to see what follows it. */
static void qp_flush_cr(struct qp_encoder *e, struct buf *out)
{
    if (!e->has_cr)
        return;
    e->has_cr = false;
    qp_flush_space(e, false, out);
    qp_put(e, '\r', true, out);
}

void qp_encode(struct qp_encoder *e, struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '\n' && e->has_cr) {
            qp_flush_space(e, true, out);
            buf_put(out, STR("\r\n"));
            *e = (struct qp_encoder){0};
            continue;
        }
        qp_flush_cr(e, out);
        if (c == '\r') {
            e->has_cr = true;
            continue;
        }
        qp_flush_space(e, false, out);
        if (c == ' ' || c == '\t')
            e->space = c;
        else
            qp_put(e, c, !is_plain(c), out);
    }
}

void qp_encode_end(struct qp_encoder *e, bool at_message_end, struct buf *out)
{
    qp_flush_cr(e, out);
    qp_flush_space(e, true, out);
    if (at_message_end && e->column > 0)
        buf_put(out, STR("=\r\n"));
    *e = (struct qp_encoder){0};
}

static void put_digits(size_t *column, const char *text, size_t n, struct buf *out)
{
    if (*column + n > ENCODING_LINE_MAX) {
        buf_put(out, STR("\r\n"));
        *column = 0;
    }
    buf_put(out, str_of(text, n));
    *column += n;
}

static void put_group(struct base64_encoder *e, struct buf *out)
{
    const uint8_t *g = e->group;
    const char text[4] = {base64_alphabet[g[0] >> 2], base64_alphabet[(g[0] & 3) << 4 | g[1] >> 4],
                          e->n > 1 ? base64_alphabet[(g[1] & 15) << 2 | g[2] >> 6] : '=',
                          e->n > 2 ? base64_alphabet[g[2] & 63] : '='};
    put_digits(&e->column, text, sizeof text, out);
    e->n = 0;
    e->group[0] = e->group[1] = e->group[2] = 0;
}

void base64_encode(struct base64_encoder *e, struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        e->group[e->n++] = (uint8_t)in.p[i];
        if (e->n == sizeof e->group)
            put_group(e, out);
    }
}

void base64_encode_end(struct base64_encoder *e, bool at_message_end, struct buf *out)
{
    if (e->n > 0)
        put_group(e, out);
    if (at_message_end && e->column > 0)
        buf_put(out, STR("\r\n"));
    *e = (struct base64_encoder){0};
}

void qp_fixer_init(struct qp_fixer *f)
{
    *f = (struct qp_fixer){.n_since_escape = 2};
}

static void fix_put(struct qp_fixer *f, char c, struct buf *out)
{
    bool escape = ((unsigned char)c < ' ' && c != '\t') || (unsigned char)c >= 0x7f ||
                  (c == '-' && f->was_dash && f->column == 1);
    size_t width = escape ? 3 : 1;
    bool is_blank = c == ' ' || c == '\t'; /* before a line end they don't count: no break among them */
    /* Nor within what may be an escape. Directly after "=" only where another follows: "==" before a line end
     * is read in more than one way. */
    bool is_within = f->n_since_escape == 0 ? c != '=' : f->n_since_escape == 1 && ascii_hex_value(c) >= 0;
    if (f->column + width > TEXT_COLUMNS && !is_within && !is_blank) {
        buf_put(out, STR("=\r\n"));
        f->column = 0;
    }
    f->was_dash = f->column == 0 && c == '-';
    if (escape)
        put_escape((unsigned char)c, out);
    else
        buf_putc(out, c);
    f->column += width;
    if (escape)
        f->n_since_escape = 2;
    else if (c == '=')
        f->n_since_escape = 0;
    else if (f->n_since_escape > 0 || !is_blank) /* "=" and blanks may yet be a soft break */
        f->n_since_escape++;
}

void qp_fix(struct qp_fixer *f, struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '\n') { /* a bare one too: a soft break before it is one for every reader */
            buf_put(out, STR("\r\n"));
            qp_fixer_init(f);
            continue;
        }
        if (f->has_cr)
            fix_put(f, '\r', out);
        f->has_cr = c == '\r';
        if (c != '\r')
            fix_put(f, c, out);
    }
}

void qp_fix_end(struct qp_fixer *f, bool at_message_end, struct buf *out)
{
    if (f->has_cr)
        fix_put(f, '\r', out);
    if (at_message_end && f->column > 0)
        buf_put(out, f->n_since_escape == 0 ? STR("\r\n") : STR("=\r\n"));
    qp_fixer_init(f);
}

bool base64_is_digit(char c)
{
    return ascii_is_alnum(c) || c == '+' || c == '/' || c == '=';
}

void base64_fix(size_t *column, struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        if (base64_is_digit(in.p[i]))
            put_digits(column, in.p + i, 1, out);
    }
}

void base64_fix_end(size_t column, bool at_message_end, struct buf *out)
{
    if (at_message_end && column > 0)
        buf_put(out, STR("\r\n"));
}

static size_t count_blanks(struct str s)
{
    size_t n = 0;
    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
        n++;
    return n;
}

/* Octets of the line end at the start of s: 0 when there is none. */
static size_t line_end(struct str s)
{
    if (s.n > 0 && s.p[0] == '\n')
        return 1;
    return s.n > 1 && s.p[0] == '\r' && s.p[1] == '\n' ? 2 : 0;
}

/* What follows an "=": octets it takes away. */
static size_t decode_escape(struct str rest, struct buf *out)
{
    if (rest.n > 1 && ascii_hex_value(rest.p[0]) >= 0 && ascii_hex_value(rest.p[1]) >= 0) {
        buf_putc(out, (char)(ascii_hex_value(rest.p[0]) << 4 | ascii_hex_value(rest.p[1])));
        return 2;
    }
    size_t n_blanks = count_blanks(rest);
    size_t n_end = line_end(str_skip(rest, n_blanks));
    if (n_blanks == rest.n || n_end > 0)
        return n_blanks + n_end;
    buf_putc(out, '=');
    return 0;
}

void qp_decode(struct str in, struct buf *out)
{
    while (in.n > 0) {
        size_t n_blanks = count_blanks(in);
        struct str rest = str_skip(in, n_blanks);
        if (rest.n > 0 && line_end(rest) == 0)
            buf_put(out, str_slice(in, 0, n_blanks));
        if (rest.n > 0 && rest.p[0] == '=') {
            rest = str_skip(rest, 1);
            in = str_skip(rest, decode_escape(rest, out));
        } else {
            buf_put(out, str_slice(rest, 0, 1));
            in = str_skip(rest, 1);
        }
    }
}

void base64_decode(struct str in, struct buf *out)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < in.n && in.p[i] != '='; i++) {
        int v = base64_value(in.p[i]);
        if (v < 0)
            continue;
        bits = (bits << 6 | (uint32_t)v) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buf_putc(out, (char)(bits >> n_bits & 0xff));
        }
    }
}
