#include "proto/smtp_replies.h"

#include "wire/smtp_reply.h"

/* A text with its argument; EHLO's reply with two names of 255 octets is the longest. */
enum { FILLED_MAX = 1536 };

const struct smtp_reply_row *smtp_reply_row(enum smtp_reply_id id)
{
#define X(id, code, class, subject, detail, text)                                                            \
    [id] = {#id, code, {class, subject, detail}, text, sizeof(text) - 1},
    static const struct smtp_reply_row rows[SMTP_REPLY_ROWS] = {SMTP_REPLIES(X)};
#undef X
    must(id > R_NONE && (int)id < SMTP_REPLY_ROWS);
    return &rows[id];
}

enum smtp_reply_id smtp_reply_by_name(struct str name)
{
    for (int i = 1; i < SMTP_REPLY_ROWS; i++) {
        if (str_eq(name, str_from_c(smtp_reply_row((enum smtp_reply_id)i)->name)))
            return (enum smtp_reply_id)i;
    }
    return R_NONE;
}

static void put_whole(const struct smtp_reply_row *row, struct str text, bool utf8, struct buf *out)
{
    size_t before = out->n;
    smtp_reply_format(row->code, row->esc, text, utf8, out);
    if (out->failed)
        out->n = before;
}

void smtp_reply_put(enum smtp_reply_id id, struct str arg, bool utf8, struct buf *out)
{
    const struct smtp_reply_row *row = smtp_reply_row(id);
    struct str text = str_of(row->text, row->text_n);
    size_t hole = str_find(text, STR("{}"));
    if (hole == STR_NPOS) {
        put_whole(row, text, utf8, out);
        return;
    }
    char mem[FILLED_MAX] __attribute__((uninitialized));
    struct buf filled;
    buf_init_fixed(&filled, mem, sizeof mem);
    /* an argument from the network is cut, ours all fit: the formatter cuts each line at 512 octets anyway */
    (void)(buf_put(&filled, str_slice(text, 0, hole)) &&
           buf_put(&filled, str_slice(arg, 0, FILLED_MAX - text.n)) &&
           buf_put(&filled, str_skip(text, hole + 2)));
    put_whole(row, buf_str(&filled), utf8, out);
}
