#include "wire/feedback.h"

#include "base/limits.h"
#include "base/mem.h"
#include "wire/arf.h"
#include "wire/header.h"

enum { FEEDBACK_VERSION = 1 };

/* ---- record ---- */

bool feedback_put(const struct feedback *f, struct buf *out)
{
    buf_put_u8(out, FEEDBACK_VERSION);
    buf_put_u8(out, (uint8_t)f->kind);
    if (f->kind == FEEDBACK_DELIVERY) {
        buf_put_u8(out, (uint8_t)f->action);
        buf_put_u8(out, f->status.class);
        buf_put_u16(out, f->status.subject);
        buf_put_u16(out, f->status.detail);
        buf_put_lstr(out, str_slice(f->text, 0, FEEDBACK_TEXT_MAX));
    } else if (f->kind == FEEDBACK_COMPLAINT) {
        buf_put_lstr(out, str_slice(f->type, 0, FEEDBACK_WORD_MAX));
        buf_put_lstr(out, str_slice(f->source_ip, 0, FEEDBACK_WORD_MAX));
        buf_put_lstr(out, f->return_path.n <= SMTP_PATH_MAX ? f->return_path : STR_NIL);
        buf_put_lstr(out, f->rcpt.n <= SMTP_PATH_MAX ? f->rcpt : STR_NIL);
    }
    return !out->failed;
}

static struct str get_text(struct reader *r, size_t max)
{
    struct str s = read_lstr(r);
    r->failed = r->failed || s.n > max || str_has_ctl(s);
    return s;
}

static bool is_status(struct esc e)
{
    return (e.class == 2 || e.class == 4 || e.class == 5) && e.subject <= 999 && e.detail <= 999;
}

bool feedback_get(struct str record, struct feedback *out)
{
    struct reader r = reader_of(record);
    uint8_t version = read_u8(&r), kind = read_u8(&r);
    struct feedback f = {.kind = kind == FEEDBACK_DELIVERY ? FEEDBACK_DELIVERY : FEEDBACK_COMPLAINT};
    if (r.failed || version != FEEDBACK_VERSION || kind == FEEDBACK_NONE || kind > FEEDBACK_COMPLAINT)
        return false;
    if (f.kind == FEEDBACK_DELIVERY) {
        uint8_t action = read_u8(&r);
        f.status.class = read_u8(&r);
        f.status.subject = read_u16(&r);
        f.status.detail = read_u16(&r);
        f.text = get_text(&r, FEEDBACK_TEXT_MAX);
        if (action == DSN_REPORT_NO_ACTION || action > DSN_REPORT_EXPANDED || !is_status(f.status))
            return false;
        f.action = (enum dsn_report_action)action;
    } else {
        f.type = get_text(&r, FEEDBACK_WORD_MAX);
        f.source_ip = get_text(&r, FEEDBACK_WORD_MAX);
        f.return_path = get_text(&r, SMTP_PATH_MAX);
        f.rcpt = get_text(&r, SMTP_PATH_MAX);
    }
    if (r.failed || r.rest.n > 0)
        return false;
    *out = f;
    return true;
}

/* ---- reading ---- */

/* "2.0.0" where nothing better is said (RFC 3464 2.3.4 demands a status). */
static struct esc status_of(const struct dsn_report_rcpt *r)
{
    if (r->status.class != 0)
        return r->status;
    return ESC(r->action == DSN_REPORT_FAILED ? 5 : r->action == DSN_REPORT_DELAYED ? 4 : 2, 0, 0);
}

static int badness(const struct dsn_report_rcpt *r)
{
    if (r->action == DSN_REPORT_NO_ACTION)
        return 0;
    int n = r->action == DSN_REPORT_FAILED ? 20 : r->action == DSN_REPORT_DELAYED ? 10 : 1;
    return n + (status_of(r).class == 5);
}

static struct str keep(struct str s, size_t max, struct buf *mem)
{
    size_t at = mem->n;
    buf_put(mem, str_slice(s, 0, max));
    return str_skip(buf_str(mem), at);
}

/* A path as the other host has it may be cut to nothing sensible: whole or not at all. */
static struct str keep_path(struct str s, struct buf *mem)
{
    return s.n <= SMTP_PATH_MAX && !str_has_ctl(s) ? keep(s, s.n, mem) : STR_NIL;
}

static void read_delivery(const struct mime_report *r, struct buf *mem, struct feedback *out)
{
    struct dsn_report *d = mem_new(struct dsn_report);
    const struct dsn_report_rcpt *worst = NULL;
    bool is_read = d != NULL && dsn_parse(r, d);
    for (size_t i = 0; is_read && i < d->n_rcpts; i++) {
        if (badness(&d->rcpts[i]) > (worst == NULL ? 0 : badness(worst)))
            worst = &d->rcpts[i];
    }
    if (worst != NULL)
        *out = (struct feedback){.kind = FEEDBACK_DELIVERY,
                                 .action = worst->action,
                                 .status = status_of(worst),
                                 .text = keep(worst->diagnostic, FEEDBACK_TEXT_MAX, mem)};
    mem_free(d);
}

/* RFC 5965 2 d: the message has the field where the mailbox's host put it. */
static struct str find_return_path(struct str header, struct buf *mem)
{
    struct header_walk w;
    struct header_field h;
    header_walk_init(&w, header);
    while (header_walk_next(&w, &h)) {
        if (!str_ieq(h.name, STR("return-path")))
            continue;
        struct str s = str_trim(h.body);
        if (str_starts(s, STR("<")) && str_ends(s, STR(">")))
            s = str_slice(s, 1, s.n - 1);
        return keep_path(s, mem);
    }
    return STR_NIL;
}

static void read_complaint(const struct mime_report *r, struct buf *mem, struct feedback *out)
{
    struct arf_report *a = mem_new(struct arf_report);
    if (a != NULL && arf_parse(r, a)) {
        *out = (struct feedback){.kind = FEEDBACK_COMPLAINT};
        out->type = keep(a->feedback_type, FEEDBACK_WORD_MAX, mem);
        out->source_ip = keep(a->source_ip, FEEDBACK_WORD_MAX, mem);
        out->return_path = keep_path(a->original_mail_from, mem);
        if (out->return_path.n == 0)
            out->return_path = find_return_path(mime_report_original(r), mem);
        if (a->original_rcpt_to.n > 0)
            out->rcpt = keep_path(a->original_rcpt_to.item[0], mem);
    }
    mem_free(a);
}

void feedback_read(const struct mime_report *r, struct buf *mem, struct feedback *out)
{
    *out = (struct feedback){.kind = FEEDBACK_NONE};
    buf_reset(mem);
    if (mime_report_kind(r) == MIME_REPORT_DELIVERY)
        read_delivery(r, mem, out);
    else if (mime_report_kind(r) == MIME_REPORT_FEEDBACK)
        read_complaint(r, mem, out);
    if (mem->failed)
        *out = (struct feedback){.kind = FEEDBACK_NONE};
}
