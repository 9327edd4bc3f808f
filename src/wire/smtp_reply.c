#include "wire/smtp_reply.h"

#include "base/limits.h"
#include "wire/utf8.h"

#include <string.h>

enum { CODE_OCTETS = 3 };

static bool is_plain(char c)
{
    return c >= 0x20 && c < 0x7f;
}

/* Copies text into out as far as it fits into room octets, cleaned; characters are never cut in two. */
static size_t clean(struct str text, bool utf8, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n && n < room;) {
        uint32_t code;
        size_t k = is_plain(text.p[i]) ? 1 : utf8_next(str_skip(text, i), &code);
        if (k < 2) {
            out[n++] = is_plain(text.p[i]) ? text.p[i] : '?';
            i++;
            continue;
        }
        if (!utf8 || code < 0xa0) {
            out[n++] = '?';
        } else if (k > room - n) {
            return n;
        } else {
            memcpy(out + n, text.p + i, k);
            n += k;
        }
        i += k;
    }
    return n;
}

void smtp_reply_format(uint16_t code, struct esc esc, struct str text, bool utf8, struct buf *out)
{
    must(code >= 200 && code <= 559);
    if (text.n > 0 && text.p[text.n - 1] == '\n')
        text.n--;
    const char digits[] = {(char)('0' + code / 100), (char)('0' + code / 10 % 10), (char)('0' + code % 10)};
    bool more = true;
    while (more) {
        more = str_chr(text, '\n') != STR_NPOS;
        struct str line_text = str_cut(&text, '\n');
        char mem[SMTP_REPLY_LINE_MAX] __attribute__((uninitialized));
        struct buf line;
        buf_init_fixed(&line, mem, sizeof mem);
        buf_put(&line, str_of(digits, sizeof digits));
        buf_putc(&line, more ? '-' : ' ');
        if (esc.class != 0) {
            esc_format(esc, &line);
            buf_putc(&line, ' ');
        }
        line.n += clean(line_text, utf8, mem + line.n, sizeof mem - 2 - line.n);
        buf_put(&line, STR("\r\n"));
        buf_put(out, buf_str(&line));
    }
}

void smtp_reply_parser_init(struct smtp_reply_parser *p)
{
    /* not the texts: they are written before they are read */
    p->reply.code = 0;
    p->reply.esc = (struct esc){0};
    p->reply.n_lines = 0;
    p->reply.text_n = 0;
    p->code = 0;
    p->line_n = 0;
    p->total = 0;
}

/* Appends a line to the text; what does not fit is cut. */
static void add_text(struct smtp_reply *r, struct str text)
{
    size_t n = r->text_n;
    if (r->n_lines > 0 && n < sizeof r->text)
        r->text[n++] = '\n';
    n += clean(text, true, r->text + n, sizeof r->text - n);
    r->text_n = (uint16_t)n;
}

/* One line without its end. */
static enum smtp_reply_status take_line(struct smtp_reply_parser *p, struct str line,
                                        void (*each)(void *arg, struct str line_text), void *arg)
{
    struct smtp_reply *r = &p->reply;
    if (line.n < CODE_OCTETS || line.p[0] < '2' || line.p[0] > '5' || line.p[1] < '0' || line.p[1] > '5' ||
        !ascii_is_digit(line.p[2]))
        return SMTP_REPLY_BAD;
    uint16_t code = (uint16_t)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0'));
    char separator = line.n > CODE_OCTETS ? line.p[CODE_OCTETS] : ' ';
    if ((separator != ' ' && separator != '-') || (r->n_lines > 0 && p->code != code))
        return SMTP_REPLY_BAD;
    p->code = code;
    struct str text = str_skip(line, CODE_OCTETS + 1);
    if (each != NULL)
        each(arg, text);
    struct esc esc;
    struct str after;
    if (esc_parse(text, &esc, &after) && esc.class == code / 100) {
        if (r->n_lines == 0)
            r->esc = esc;
        text = after;
    }
    add_text(r, text);
    r->n_lines++;
    if (separator == '-')
        return SMTP_REPLY_MORE;
    r->code = code;
    return SMTP_REPLY_DONE;
}

/* A line is complete in p->line. */
static enum smtp_reply_status end_line(struct smtp_reply_parser *p,
                                       void (*each)(void *arg, struct str line_text), void *arg)
{
    struct str line = str_of(p->line, p->line_n);
    if (str_ends(line, STR("\r")))
        line.n--;
    p->line_n = 0;
    return take_line(p, line, each, arg);
}

enum smtp_reply_status smtp_reply_feed(struct smtp_reply_parser *p, struct str in, size_t *out_consumed,
                                       void (*each)(void *arg, struct str line_text), void *arg)
{
    size_t start = in.n;
    enum smtp_reply_status status = SMTP_REPLY_MORE;
    while (status == SMTP_REPLY_MORE && in.n > 0) {
        size_t end = str_chr(in, '\n');
        size_t n = end == STR_NPOS ? in.n : end; /* of the line, without its LF */
        size_t taken = end == STR_NPOS ? n : n + 1;
        if (taken > (size_t)(SMTP_REPLY_IN_LINE_MAX - p->line_n) ||
            taken > (size_t)(SMTP_REPLY_IN_MAX - p->total)) {
            status = SMTP_REPLY_BAD;
            break;
        }
        memcpy(p->line + p->line_n, in.p, n);
        p->line_n = (uint16_t)(p->line_n + n);
        p->total += (uint32_t)taken;
        in = str_skip(in, taken);
        if (end != STR_NPOS)
            status = end_line(p, each, arg);
    }
    *out_consumed = start - in.n;
    return status;
}
