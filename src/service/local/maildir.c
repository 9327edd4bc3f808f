/* service/local/maildir.c: the stored form of a message in a Maildir. */
#include "base/limits.h"
#include "service/local/deliver.h"

#include <string.h>

struct str maildir_root(struct str template)
{
    size_t slash = str_rchr(str_slice(template, 0, str_chr(template, '%')), '/');
    return slash == STR_NPOS ? STR_NIL : str_slice(template, 0, slash == 0 ? 1 : slash);
}

/* Text of an address within a field: it was parsed by wire/address, so it has no control characters; be sure
 * anyway. */
static void put_clean(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        buf_putc(out, c < 0x20 || c == 0x7f ? '?' : s.p[i]);
    }
}

void maildir_head(struct str sender, struct str rcpt, struct buf *out)
{
    buf_puts(out, "Return-Path: <");
    put_clean(out, sender);
    buf_puts(out, ">\nDelivered-To: ");
    put_clean(out, rcpt);
    buf_putc(out, '\n');
}

/* CRLF to LF, a CR that is not before LF stays. */
static void put_lf(struct maildir_text *t, struct str in, bool is_last, struct buf *out)
{
    while (in.n > 0) {
        if (t->had_cr) {
            t->had_cr = false;
            if (in.p[0] != '\n')
                buf_putc(out, '\r');
        }
        size_t cr = str_chr(in, '\r');
        if (cr == STR_NPOS) {
            buf_put(out, in);
            break;
        }
        buf_put(out, str_slice(in, 0, cr));
        t->had_cr = true;
        in = str_skip(in, cr + 1);
    }
    if (is_last && t->had_cr) {
        buf_putc(out, '\r');
        t->had_cr = false;
    }
}

/* What stands behind the colon of that field (its first line, and without space around it). */
static bool is_field(struct str line, struct str name, struct str *value)
{
    if (!str_istarts(line, name))
        return false;
    while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    struct str rest = str_trim(str_skip(line, name.n)); /* RFC 5322 4.5.8 allows space before the colon */
    if (rest.n == 0 || rest.p[0] != ':')
        return false;
    *value = str_trim(str_skip(rest, 1));
    return true;
}

/* A line of the header section that begins a field. */
static void look_at_field(struct maildir_text *t, struct str line)
{
    struct str value;
    t->is_skipping = is_field(line, STR("Return-Path"), &value);
    if (t->rcpt.n > 0 && is_field(line, STR("Delivered-To"), &value) && str_ieq(value, t->rcpt))
        t->is_loop = true;
}

size_t maildir_text_feed(struct maildir_text *t, struct str in, bool is_last, struct buf *out)
{
    size_t used = 0;
    while (!t->in_body && used < in.n) {
        struct str rest = str_skip(in, used);
        size_t nl = str_chr(rest, '\n');
        if (nl == STR_NPOS && !is_last && rest.n < HEADER_SECTION_MAX)
            return used; /* wait for the whole line */
        struct str line = nl == STR_NPOS ? rest : str_slice(rest, 0, nl + 1);
        bool is_folded = line.p[0] == ' ' || line.p[0] == '\t';
        bool is_empty = str_eq(line, STR("\r\n")) || str_eq(line, STR("\n"));
        if (is_empty || nl == STR_NPOS)
            t->in_body = true;
        if (is_empty)
            t->is_skipping = false;
        else if (!is_folded) /* a last line without its end is a field too */
            look_at_field(t, line);
        if (!t->is_skipping)
            put_lf(t, line, false, out);
        used += line.n;
    }
    if (t->keeps_crlf && !t->had_cr)
        buf_put(out, str_skip(in, used));
    else
        put_lf(t, str_skip(in, used), is_last, out);
    return in.n;
}
