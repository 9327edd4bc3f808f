/* For tests and fuzz targets of wire/downgrade.h: a conversion in one call, and the leaves of a message
 * decoded. */
#pragma once
#include "base/mem.h"
#include "wire/downgrade.h"
#include "wire/encoding.h"

struct conversion {
    enum downgrade_status status;
    bool breaks_dkim;
    char why_mem[1024];
    struct buf why;
    struct buf out; /* empty unless OK or NOT_NEEDED */
};

/* In pieces of step octets, written through a buffer of room octets. */
static inline void conversion_run(struct conversion *c, unsigned need, struct str message, size_t step,
                                  size_t room)
{
    struct downgrade *d = downgrade_new(need);
    must(d != NULL && room > 0 && step > 0);
    struct buf small;
    buf_init(&small, room);
    buf_init(&c->out, message.n * ENCODING_GROWTH_MAX + 4096);
    buf_init_fixed(&c->why, c->why_mem, sizeof c->why_mem);
    for (size_t i = 0; i < message.n; i += step)
        downgrade_scan(d, str_slice(message, i, i + step));
    c->status = downgrade_scan_end(d);
    c->breaks_dkim = downgrade_breaks_dkim(d);
    must(buf_put(&c->why, downgrade_why(d)));
    for (size_t i = 0; i < message.n && c->status <= DOWNGRADE_NOT_NEEDED; i += step) {
        struct str piece = str_slice(message, i, i + step);
        while (piece.n > 0) {
            size_t n = downgrade_put(d, piece, &small);
            must(n > 0 || small.n > 0);
            piece = str_skip(piece, n);
            must(!small.failed && buf_put(&c->out, buf_str(&small)));
            buf_reset(&small);
        }
    }
    while (c->status <= DOWNGRADE_NOT_NEEDED) {
        bool is_done = downgrade_end(d, &small);
        must(!small.failed && buf_put(&c->out, buf_str(&small)));
        buf_reset(&small);
        if (is_done)
            break;
    }
    buf_fini(&small);
    downgrade_del(&d);
}

static inline void conversion_fini(struct conversion *c)
{
    buf_fini(&c->out);
}

struct leaf {
    size_t raw_from, raw_to; /* in leaves.raw */
    enum mime_encoding encoding;
    bool is_root;
};
struct leaves {
    struct leaf list[MIME_PARTS_MAX];
    size_t n;
    struct buf raw;
    bool is_body; /* the last leaf goes on */
};

static inline void leaves_take(struct leaves *l, const struct mime *m, const struct mime_event *e)
{
    const struct mime_part *p = mime_part(m);
    if (e->kind == MIME_HEADER && (p->kind == MIME_LEAF || p->kind == MIME_BROKEN) && l->n < MIME_PARTS_MAX)
        l->list[l->n++] = (struct leaf){l->raw.n, l->raw.n, p->encoding, p->is_root};
    if (e->kind == MIME_BODY && l->n > 0) {
        must(buf_put(&l->raw, e->text));
        l->list[l->n - 1].raw_to = l->raw.n;
    }
}

static inline struct leaves *leaves_new(struct str message, enum mime_trouble *out_trouble)
{
    struct mime *m = mime_new();
    struct leaves *l = mem_new(struct leaves);
    must(m != NULL && l != NULL);
    buf_init(&l->raw, message.n + 1);
    struct mime_event e;
    while (message.n > 0) {
        size_t n = mime_step(m, message, &e);
        leaves_take(l, m, &e);
        message = str_skip(message, n);
    }
    while (mime_finish(m, &e))
        leaves_take(l, m, &e);
    *out_trouble = mime_trouble(m);
    mime_del(&m);
    return l;
}

static inline void leaves_del(struct leaves *l)
{
    buf_fini(&l->raw);
    mem_free(l);
}

static inline struct str leaf_raw(const struct leaves *l, size_t i)
{
    return str_slice(buf_str(&l->raw), l->list[i].raw_from, l->list[i].raw_to);
}

/* As a reader decodes it; out grows. */
static inline void leaf_decode(const struct leaves *l, size_t i, struct buf *out)
{
    struct str raw = leaf_raw(l, i);
    buf_init(out, raw.n + 1);
    if (l->list[i].encoding == MIME_ENC_QP)
        qp_decode(raw, out);
    else if (l->list[i].encoding == MIME_ENC_BASE64)
        base64_decode(raw, out);
    else
        buf_put(out, raw);
    must(!out->failed);
}

/* Octets of a line end at s[at], with any CRs in front; 0: there is none. */
static inline size_t line_end_at(struct str s, size_t at)
{
    size_t i = at;
    while (i < s.n && s.p[i] == '\r')
        i++;
    return i < s.n && s.p[i] == '\n' ? i + 1 - at : 0;
}

/* As quoted-printable may be changed by a transport: any line end is one (where blanks stood behind a bare CR
 * it is one with the CR), blanks at the end go. */
static inline bool same_lines(struct str a, struct str b)
{
    while (a.n > 0 && (a.p[a.n - 1] == ' ' || a.p[a.n - 1] == '\t'))
        a.n--;
    while (b.n > 0 && (b.p[b.n - 1] == ' ' || b.p[b.n - 1] == '\t'))
        b.n--;
    size_t i = 0, k = 0;
    while (i < a.n && k < b.n) {
        size_t a_end = line_end_at(a, i), b_end = line_end_at(b, k);
        if ((a_end > 0) != (b_end > 0) || (a_end == 0 && a.p[i] != b.p[k]))
            return false;
        i += a_end > 0 ? a_end : 1;
        k += b_end > 0 ? b_end : 1;
    }
    return i == a.n && k == b.n;
}

/* Whether leaf i means the same in both: decoded alike, or what was called base64 and was none came out as it
 * stood. */
static inline bool leaf_same(const struct leaves *before, const struct leaves *after, size_t i)
{
    struct buf a, b;
    leaf_decode(before, i, &a);
    leaf_decode(after, i, &b);
    enum mime_encoding encoding = before->list[i].encoding;
    bool is_same = str_eq(buf_str(&a), buf_str(&b)) ||
                   (encoding == MIME_ENC_QP && same_lines(buf_str(&a), buf_str(&b))) ||
                   (encoding == MIME_ENC_BASE64 && str_eq(leaf_raw(before, i), buf_str(&b)));
    buf_fini(&a);
    buf_fini(&b);
    return is_same;
}

/* The first octet that may not go out, or STR_NPOS. */
static inline size_t first_forbidden(struct str s, unsigned need)
{
    for (size_t i = 0; i < s.n; i++) {
        bool after_cr = i > 0 && s.p[i - 1] == '\r';
        if ((need & DOWNGRADE_8BIT) != 0 && (unsigned char)s.p[i] > 0x7f)
            return i;
        if ((need & DOWNGRADE_BINARY) != 0 && (s.p[i] == '\0' || after_cr != (s.p[i] == '\n')))
            return i;
    }
    return (need & DOWNGRADE_BINARY) != 0 && s.n > 0 && s.p[s.n - 1] == '\r' ? s.n : STR_NPOS;
}
