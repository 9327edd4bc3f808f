#include "wire/mime_report.h"

#include "base/mem.h"
#include "wire/encoding.h"

#include <string.h>

enum target { IGNORED = 0, FIELDS, ORIGINAL };

struct text {
    char mem[MIME_REPORT_PART_MAX];
    struct buf b;
};
struct mime_report {
    struct mime *mime;
    enum mime_report_kind kind;
    enum target target; /* of the present body */
    enum mime_encoding encoding;
    bool has_fields, has_original;
    struct text header, fields, original, decoded;
};

_Static_assert(sizeof(struct mime_report) + MIME_HEADER_MAX + 16 * 1024 <= MIME_REPORT_MEMORY,
               "what mime.h has beside its header section is a few KiB");

struct mime_report *mime_report_new(void)
{
    struct mime_report *r = mem_new(struct mime_report);
    if (r == NULL)
        return NULL;
    r->mime = mime_new();
    if (r->mime == NULL) {
        mime_report_del(&r);
        return NULL;
    }
    struct text *const texts[] = {&r->header, &r->fields, &r->original, &r->decoded};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_init_fixed(&texts[i]->b, texts[i]->mem, sizeof texts[i]->mem);
    return r;
}

void mime_report_del(struct mime_report **r)
{
    if (*r == NULL)
        return;
    mime_del(&(*r)->mime);
    mem_free(*r);
    *r = NULL;
}

/* As much as there is room for. */
static void put_some(struct buf *out, struct str s)
{
    buf_put(out, str_slice(s, 0, out->max - out->n));
}

/* The body that was gathered is whole: as a reader sees it. */
static void end_target(struct mime_report *r)
{
    struct text *t = r->target == FIELDS ? &r->fields : &r->original;
    bool is_coded = r->encoding == MIME_ENC_QP || r->encoding == MIME_ENC_BASE64;
    if (r->target != IGNORED && is_coded) { /* never longer than before */
        buf_reset(&r->decoded.b);
        if (r->encoding == MIME_ENC_QP)
            qp_decode(buf_str(&t->b), &r->decoded.b);
        else
            base64_decode(buf_str(&t->b), &r->decoded.b);
        buf_reset(&t->b);
        put_some(&t->b, buf_str(&r->decoded.b));
    }
    r->target = IGNORED;
}

static enum mime_report_kind kind_of(const struct mime_type *t)
{
    static const struct {
        struct str subtype;
        enum mime_report_kind kind;
    } kinds[] = {
        {STR_INIT("delivery-status"), MIME_REPORT_DELIVERY},
        {STR_INIT("global-delivery-status"), MIME_REPORT_DELIVERY},
        {STR_INIT("feedback-report"), MIME_REPORT_FEEDBACK},
        {STR_INIT("disposition-notification"), MIME_REPORT_DISPOSITION},
        {STR_INIT("global-disposition-notification"), MIME_REPORT_DISPOSITION},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (mime_type_is(t, STR("message"), kinds[i].subtype))
            return kinds[i].kind;
    }
    return MIME_REPORT_NONE;
}

static bool is_original(const struct mime_type *t)
{
    return mime_type_is(t, STR("text"), STR("rfc822-headers")) ||
           mime_type_is(t, STR("message"), STR("rfc822")) || mime_type_is(t, STR("message"), STR("global")) ||
           mime_type_is(t, STR("message"), STR("global-headers"));
}

static void take_header(struct mime_report *r, struct str section)
{
    const struct mime_part *p = mime_part(r->mime);
    end_target(r);
    if (p->index == 0)
        put_some(&r->header.b, section);
    if (p->root != 0)
        return;
    if (p->is_root && p->index > 0) {
        if (!r->has_original)
            put_some(&r->original.b, section);
        r->has_original = true;
    } else if (p->kind == MIME_LEAF && !r->has_fields && kind_of(&p->type) != MIME_REPORT_NONE) {
        r->kind = kind_of(&p->type);
        r->has_fields = true;
        r->target = FIELDS;
    } else if (p->kind == MIME_LEAF && !r->has_original && is_original(&p->type)) {
        r->has_original = true;
        r->target = ORIGINAL;
    }
    r->encoding = p->encoding;
}

static void take(struct mime_report *r, const struct mime_event *e)
{
    if (e->kind == MIME_HEADER)
        take_header(r, e->text);
    else if (e->kind == MIME_DELIMITER)
        end_target(r);
    else if (e->kind == MIME_BODY && r->target != IGNORED)
        put_some(r->target == FIELDS ? &r->fields.b : &r->original.b, e->text);
}

void mime_report_put(struct mime_report *r, struct str piece)
{
    while (piece.n > 0) {
        struct mime_event e;
        size_t n = mime_step(r->mime, piece, &e);
        take(r, &e);
        piece = str_skip(piece, n);
    }
}

void mime_report_end(struct mime_report *r)
{
    struct mime_event e;
    while (mime_finish(r->mime, &e))
        take(r, &e);
    end_target(r);
}

enum mime_report_kind mime_report_kind(const struct mime_report *r)
{
    return r->kind;
}

struct str mime_report_fields(const struct mime_report *r)
{
    return buf_str(&r->fields.b);
}

struct str mime_report_original(const struct mime_report *r)
{
    return buf_str(&r->original.b);
}

struct str mime_report_header(const struct mime_report *r)
{
    return buf_str(&r->header.b);
}

void mime_unfold(struct str body, struct buf *out)
{
    bool has_word = false, has_space = false;
    for (size_t i = 0; i < body.n; i++) {
        char c = body.p[i];
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            has_space = has_word;
            continue;
        }
        if (has_space)
            buf_putc(out, ' ');
        buf_putc(out, (unsigned char)c < ' ' || c == 0x7f ? '?' : c);
        has_space = false;
        has_word = true;
    }
}
