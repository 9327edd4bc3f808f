#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>

enum { SHOWN_MAX = 20, LINE_LENGTH_MAX = 1024, BRIEF_MAX = 80 };

struct str report_brief(struct str s)
{
    if (s.n <= BRIEF_MAX)
        return s;
    size_t n = BRIEF_MAX;
    while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--; /* not into the middle of a UTF-8 character */
    return str_slice(s, 0, n);
}

static void clean(struct buf *line)
{
    bool is_utf8 = utf8_is_valid(buf_str(line));
    for (size_t i = 0; i < line->n; i++) {
        unsigned char c = (unsigned char)line->p[i];
        if (c < 0x20 || c == 0x7f || (c > 0x7f && !is_utf8))
            line->p[i] = '?';
    }
}

static bool has_line(const struct buf *lines, struct str line)
{
    struct str rest = buf_str(lines);
    while (rest.n > 0) {
        if (str_eq(str_cut(&rest, '\n'), line))
            return true;
    }
    return false;
}

static void add(struct buf *lines, unsigned *n, struct place at, const char *text)
{
    char mem[LINE_LENGTH_MAX];
    struct buf line;
    buf_init_fixed(&line, mem, sizeof mem);
    buf_put(&line, report_brief(at.file));
    if (at.line > 0)
        buf_printf(&line, ":%d", at.line);
    buf_puts(&line, ": ");
    struct str rest = str_from_c(text);
    buf_put(&line, str_slice(rest, 0, sizeof mem - line.n));
    clean(&line);
    if (has_line(lines, buf_str(&line)))
        return;
    if (*n < SHOWN_MAX && buf_reserve(lines, line.n + 1)) {
        buf_put(lines, buf_str(&line));
        buf_putc(lines, '\n');
    }
    (*n)++;
}

void report_error(struct config_report *r, struct place at, const char *fmt, ...)
{
    char text[LINE_LENGTH_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    must(n >= 0);
    add(&r->errors, &r->n_errors, at, text);
}

void report_warning(struct config_report *r, struct place at, const char *fmt, ...)
{
    char text[LINE_LENGTH_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    must(n >= 0);
    add(&r->warnings, &r->n_warnings, at, text);
}
