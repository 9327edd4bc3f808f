#include "wire/fold.h"

#include "wire/utf8.h"

void fold_init(struct fold *f, struct buf *out, const char *indent, size_t column, bool utf8)
{
    *f = (struct fold){.out = out, .indent = indent, .column = column, .utf8 = utf8};
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

/* The character at the start of s: what is to be written for it, and its octets in *out_n. */
static struct str clean_character(struct str s, bool utf8, bool *out_is_control, size_t *out_n)
{
    uint32_t code;
    size_t n = utf8_next(s, &code);
    *out_n = n == 0 ? 1 : n;
    *out_is_control = n > 0 && is_control(code);
    if (n == 0 || (n > 1 && !utf8) || *out_is_control)
        return STR("?");
    return str_slice(s, 0, n);
}

/* Octets of the word at the start of s, and of what it becomes. */
static size_t word_size(struct str s, bool utf8, size_t *out_written)
{
    size_t i = 0;
    *out_written = 0;
    while (i < s.n && s.p[i] != ' ') {
        bool is_ctl;
        size_t n;
        struct str c = clean_character(str_skip(s, i), utf8, &is_ctl, &n);
        if (is_ctl || *out_written + c.n > FOLD_LINE_MAX / 2)
            break;
        *out_written += c.n;
        i += n;
    }
    return i;
}

static void put_word(struct fold *f, struct str word)
{
    for (size_t i = 0, n; i < word.n; i += n) {
        bool is_ctl;
        buf_put(f->out, clean_character(str_skip(word, i), f->utf8, &is_ctl, &n));
    }
}

void fold_words(struct fold *f, struct str text)
{
    while (text.n > 0) {
        size_t written;
        size_t n = word_size(text, f->utf8, &written);
        if (n == 0) { /* a space or a control character */
            bool is_ctl;
            (void)clean_character(text, true, &is_ctl, &n);
            text = str_skip(text, n);
            continue;
        }
        if (f->column + f->has_word + written > FOLD_WIDTH && f->has_word) {
            buf_puts(f->out, "\r\n");
            buf_puts(f->out, f->indent);
            f->column = str_from_c(f->indent).n;
        } else if (f->has_word) {
            buf_putc(f->out, ' ');
            f->column++;
        }
        put_word(f, str_slice(text, 0, n));
        f->column += written;
        f->has_word = true;
        text = str_skip(text, n);
    }
}

void fold_put_clean(struct buf *out, struct str text, bool utf8)
{
    size_t written = 0;
    for (size_t i = 0, n; i < text.n; i += n) {
        bool is_ctl;
        struct str c = clean_character(str_skip(text, i), utf8, &is_ctl, &n);
        written += c.n;
        if (written > FOLD_LINE_MAX)
            break;
        buf_put(out, c);
    }
}
