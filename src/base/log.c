#include "base/log.h"

#include "base/queue_id.h"

enum { LOG_LINE_MAX = 4096 };

static const char *const names[] = {"debug", "info", "warn", "error"};

/* Length of the well-formed UTF-8 sequence at s, 0 when it is none. */
static size_t utf8_len(struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : (c & 0xf0) == 0xe0    ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || n > s.n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s.p[i] & 0xc0) != 0x80)
            return 0;
    }
    unsigned char d = n > 1 ? (unsigned char)s.p[1] : 0;
    if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) || (c == 0xf0 && d < 0x90) ||
        (c == 0xf4 && d > 0x8f))
        return 0;
    return n;
}

void log_quote(struct buf *b, struct str s)
{
    buf_putc(b, '"');
    while (s.n > 0) {
        unsigned char c = (unsigned char)s.p[0];
        unsigned odd;
        size_t n = utf8_len(s), n_odd = str_odd_char(s, &odd);
        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
            n = 1;
        } else if (n_odd > 0) {
            buf_printf(b, "\\u%04x", odd);
            n = n_odd;
        } else if (n == 0) {
            buf_printf(b, "\\u%04x", c);
            n = 1;
        } else {
            buf_put(b, str_of(s.p, n));
        }
        s = str_skip(s, n);
    }
    buf_putc(b, '"');
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return s.n > 0;
}

static void put_value(struct buf *b, const struct log_field *f, bool json)
{
    switch (f->kind) {
    case LOG_FIELD_STR:
        if (!json && is_plain(f->s))
            buf_put(b, f->s);
        else
            log_quote(b, f->s);
        break;
    case LOG_FIELD_UINT:
        buf_printf(b, "%llu", (unsigned long long)f->u);
        break;
    case LOG_FIELD_INT:
        buf_printf(b, "%lld", (long long)f->i);
        break;
    case LOG_FIELD_ID:
        buf_puts(b, json ? "\"" : "");
        queue_id_format(f->u, b);
        buf_puts(b, json ? "\"" : "");
        break;
    case LOG_FIELD_END:
        must_not_reach();
    }
}

void log_write(const struct log *l, enum log_level level, const char *event, const struct log_field *fields)
{
    if (l == NULL || l->write == NULL || level < l->min)
        return;
    char mem[LOG_LINE_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem - 2); /* room for the end of the line */
    const char *role = l->role == NULL ? "waxwing" : l->role;
    if (l->json)
        buf_printf(&b, "{\"level\":\"%s\",\"role\":\"%s\",\"event\":\"%s\"", names[level], role, event);
    else
        buf_printf(&b, "%s %s %s", names[level], role, event);
    for (const struct log_field *f = fields; f->kind != LOG_FIELD_END && !b.failed; f++) {
        size_t mark = b.n;
        if (l->json)
            buf_printf(&b, ",\"%s\":", f->key);
        else
            buf_printf(&b, " %s=", f->key);
        put_value(&b, f, l->json);
        if (b.failed) /* a field that does not fit is left out whole */
            b.n = mark;
    }
    b.failed = false;
    b.max = b.cap = sizeof mem;
    if (l->json)
        buf_putc(&b, '}');
    buf_putc(&b, '\n');
    l->write(l->arg, buf_str(&b));
}
