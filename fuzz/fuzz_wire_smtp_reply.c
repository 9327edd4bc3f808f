/* A server's replies: whole and octet by octet give the same; the text is clean; what we write, we read
 * again. */
#include "base/limits.h"
#include "wire/smtp_reply.h"
#include "wire/utf8.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *arg, struct str line_text)
{
    size_t *n = arg;
    *n += 1 + line_text.n;
}

static enum smtp_reply_status feed(struct smtp_reply_parser *p, struct str in, size_t step, size_t *out_taken,
                                   size_t *out_seen)
{
    enum smtp_reply_status st = SMTP_REPLY_MORE;
    smtp_reply_parser_init(p);
    *out_taken = *out_seen = 0;
    while (st == SMTP_REPLY_MORE && in.n > 0) {
        size_t n;
        struct str part = str_slice(in, 0, step);
        st = smtp_reply_feed(p, part, &n, count, out_seen);
        must(n <= part.n && (st != SMTP_REPLY_MORE || n == part.n));
        *out_taken += n;
        in = str_skip(in, n);
    }
    return st;
}

static void check_done(const struct smtp_reply *r)
{
    struct str text = str_of(r->text, r->text_n);
    must(r->code >= 200 && r->code <= 559 && r->n_lines > 0);
    must(r->esc.class == 0 || r->esc.class == r->code / 100);
    must(utf8_is_valid(text));
    for (size_t i = 0; i < text.n; i++)
        must(text.p[i] == '\n' || (unsigned char)text.p[i] >= 0x20);
}

/* Any text as a reply of ours is one that we understand. */
static void check_format(struct str text, bool utf8)
{
    struct buf b;
    struct smtp_reply_parser p;
    size_t taken, seen;
    buf_init(&b, 16 * 1024 * 1024);
    smtp_reply_format(550, ESC(5, 1, 1), str_slice(text, 0, 2000), utf8, &b);
    must(!b.failed && (utf8 ? utf8_is_valid(buf_str(&b)) : str_is_ascii(buf_str(&b))));
    enum smtp_reply_status st = feed(&p, buf_str(&b), b.n, &taken, &seen);
    must(st == SMTP_REPLY_DONE && taken == b.n && p.reply.code == 550 && p.reply.esc.detail == 1);
    struct str rest = buf_str(&b);
    while (rest.n > 0)
        must(str_cut(&rest, '\n').n < SMTP_REPLY_LINE_MAX);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    struct smtp_reply_parser whole, parts;
    size_t taken, taken_in_parts, seen, seen_in_parts;
    enum smtp_reply_status st = feed(&whole, in, in.n, &taken, &seen);
    must(feed(&parts, in, 1, &taken_in_parts, &seen_in_parts) == st);
    must(seen == seen_in_parts);
    if (st == SMTP_REPLY_DONE) {
        check_done(&whole.reply);
        must(taken == taken_in_parts && whole.reply.text_n == parts.reply.text_n);
        must(memcmp(whole.reply.text, parts.reply.text, whole.reply.text_n) == 0);
    }
    check_format(in, false);
    check_format(in, true);
    return 0;
}
