#include "proto/smtp_replies.h"

#include "wire/smtp_reply.h"

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

void smtp_reply_fill(enum smtp_reply_id id, struct str arg, struct buf *out)
{
    const struct smtp_reply_row *row = smtp_reply_row(id);
    struct str text = str_of(row->text, row->text_n);
    size_t hole = str_find(text, STR("{}"));
    buf_put(out, str_slice(text, 0, hole));
    if (hole == STR_NPOS)
        return;
    /* an argument from the network is cut, ours all fit: the formatter cuts each line at 512 octets anyway */
    buf_put(out, str_slice(arg, 0, SMTP_REPLY_FILLED_MAX - text.n));
    buf_put(out, str_skip(text, hole + 2));
}

void smtp_reply_put(enum smtp_reply_id id, struct str arg, bool utf8, struct buf *out)
{
    const struct smtp_reply_row *row = smtp_reply_row(id);
    char mem[SMTP_REPLY_FILLED_MAX] __attribute__((uninitialized));
    struct buf filled;
    if (str_find(str_of(row->text, row->text_n), STR("{}")) == STR_NPOS) { /* as it is, without a copy */
        put_whole(row, str_of(row->text, row->text_n), utf8, out);
        return;
    }
    buf_init_fixed(&filled, mem, sizeof mem);
    smtp_reply_fill(id, arg, &filled);
    put_whole(row, buf_str(&filled), utf8, out);
}
