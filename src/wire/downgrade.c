#include "wire/downgrade.h"

#include "base/mem.h"
#include "wire/encoding.h"
#include "wire/fold.h"
#include "wire/header.h"

#include <string.h>

enum {
    STEP_MAX = 4096, /* octets converted at a time */
    PENDING_MAX = MIME_HEADER_MAX + STEP_MAX * ENCODING_GROWTH_MAX + 1024,
    TEXT_LINE_MAX = 998, /* RFC 5322 2.1.1, without CRLF */
    WHY_MAX = 512,
    NAME_SHOWN_MAX = 40,
    NO_DASH = 3,
};

/* What the scan found out about a part. */
enum {
    IS_LEAF = 1 << 0,
    IS_TEXT = 1 << 1,
    IS_PROTECTED = 1 << 2,
    IS_NEVER = 1 << 3, /* message/partial, message/external-body: 7bit only (RFC 2046 5.2.2.1, 5.2.3) */
    IS_ROOT = 1 << 4,
    HAS_TYPE = 1 << 5,
    HAS_VERSION = 1 << 6,
    HAS_8BIT = 1 << 7,
    HAS_BINARY = 1 << 8,
    HAS_LONG = 1 << 9,
    IS_MOSTLY_ASCII = 1 << 10,
    IS_BROKEN = 1 << 12,
    IS_NOT_BASE64 = 1 << 11, /* holds text that is no base64, whatever its label says */
};
enum action { PASS = 0, TO_QP, TO_BASE64, FIX_QP, FIX_BASE64 };
enum label { KEEP = 0, LABEL_7BIT, LABEL_8BIT, LABEL_QP, LABEL_BASE64 };
static const char *const label_names[] = {"", "7bit", "8bit", "quoted-printable", "base64"};

struct record {
    uint16_t bits;
    uint16_t root; /* index of the message it belongs to; of a root: the message around it */
    uint8_t encoding;
    uint8_t action, label;
    bool adds_version, adds_type;
};

/* Of the body, preamble or epilogue under the scan. */
struct tally {
    uint64_t n, n_8bit, n_line;
    char last;
    bool has_binary, has_bare_lf; /* NUL or bare CR / bare LF */
    bool has_long, has_other;
};

enum region { NOWHERE = 0, BODY, BETWEEN, DELIMITER };

struct downgrade {
    unsigned need;
    struct mime *mime;
    enum downgrade_status status; /* of the first part that can't be changed; then of the whole */
    bool is_scanned;
    bool has_offence, is_binary, has_dkim, has_8bit_left, is_between_protected;
    unsigned n_changed;
    unsigned here; /* index of the present part */
    enum region region;
    struct tally tally;
    struct record records[MIME_PARTS_MAX + 1]; /* and one for what is over the limit */
    char name_mem[WHY_MAX];                    /* "part 2.1: text/plain", the present one */
    struct buf name;
    char why_mem[WHY_MAX + WHY_MAX];
    struct buf why;
    /* pass 2 */
    enum action action;
    struct qp_encoder qp;
    struct base64_encoder base64;
    struct qp_fixer fixer;
    size_t fix_column;
    bool has_cr;       /* between parts: a CR that waits for its LF */
    unsigned n_dashes; /* at the start of the line, up to 2 */
    struct mime_event event;
    bool is_ended;
    bool lacks_end; /* the header section that was put last, of an enclosed message, has no empty line */
    size_t n_drained;
    struct buf pending;
    char pending_mem[PENDING_MAX];
};

struct downgrade *downgrade_new(unsigned need)
{
    struct downgrade *d = mem_new(struct downgrade);
    if (d == NULL)
        return NULL;
    d->mime = mime_new();
    if (d->mime == NULL) {
        downgrade_del(&d);
        return NULL;
    }
    d->need = need;
    buf_init_fixed(&d->name, d->name_mem, sizeof d->name_mem);
    buf_init_fixed(&d->why, d->why_mem, sizeof d->why_mem);
    buf_init_fixed(&d->pending, d->pending_mem, sizeof d->pending_mem);
    return d;
}

void downgrade_del(struct downgrade **d)
{
    if (*d == NULL)
        return;
    mime_del(&(*d)->mime);
    mem_free(*d);
    *d = NULL;
}

struct str downgrade_why(const struct downgrade *d)
{
    return buf_str(&d->why);
}

bool downgrade_breaks_dkim(const struct downgrade *d)
{
    return d->status == DOWNGRADE_OK && d->has_dkim;
}

/* Pass 1 */

static uint64_t count_8bit(struct str s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += (unsigned char)s.p[i] >> 7;
    return n;
}

static void tally_lines(struct tally *t, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        t->has_binary |= c == '\0' || (t->last == '\r' && c != '\n');
        t->has_bare_lf |= c == '\n' && t->last != '\r';
        if (c == '\n')
            t->n_line = 0;
        else if (c != '\r')
            t->has_long |= ++t->n_line > TEXT_LINE_MAX;
        t->has_other |= c >= ' ' && c < 0x7f && c != ' ' && !base64_is_digit(c);
        t->last = c;
    }
}

static void tally_add(struct tally *t, struct str s)
{
    t->n += s.n;
    t->n_8bit += count_8bit(s);
    tally_lines(t, s);
}

static void tally_end(struct tally *t)
{
    t->has_binary |= t->last == '\r';
}

static void name_part(struct downgrade *d)
{
    const struct mime_part *p = mime_part(d->mime);
    buf_reset(&d->name);
    if (p->depth > 0) {
        buf_puts(&d->name, "part ");
        mime_part_name(d->mime, &d->name);
    } else {
        buf_puts(&d->name, "the message");
    }
    buf_puts(&d->name, ": ");
    fold_put_clean(&d->name, str_slice(p->type.type, 0, NAME_SHOWN_MAX), false);
    buf_putc(&d->name, '/');
    fold_put_clean(&d->name, str_slice(p->type.subtype, 0, NAME_SHOWN_MAX), false);
}

/* The first reason against it stands. */
static void refuse(struct downgrade *d, enum downgrade_status status, const char *what)
{
    if (d->status != DOWNGRADE_OK)
        return;
    d->status = status;
    buf_reset(&d->why);
    buf_put(&d->why, buf_str(&d->name));
    buf_puts(&d->why, what);
}

static unsigned kind_bits(const struct mime_part *p)
{
    const struct mime_type *t = &p->type;
    bool is_message = mime_type_is(t, STR("message"), STR(""));
    unsigned bits = 0;
    if (p->kind == MIME_LEAF || p->kind == MIME_BROKEN)
        bits |= IS_LEAF;
    if (p->kind == MIME_BROKEN)
        bits |= IS_BROKEN;
    /* other message/ types are text to people, though RFC 3464 has them in 7bit: a report whose diagnostic is
     * in 8bit is better encoded than lost */
    if (is_message || mime_type_is(t, STR("text"), STR("")))
        bits |= IS_TEXT;
    if (mime_type_is(t, STR("message"), STR("partial")) ||
        mime_type_is(t, STR("message"), STR("external-body")))
        bits |= IS_NEVER;
    return bits | (p->is_protected ? IS_PROTECTED : 0u) | (p->is_root ? IS_ROOT : 0u) |
           (p->has_type ? HAS_TYPE : 0u) | (p->has_version ? HAS_VERSION : 0u);
}

static void scan_header(struct downgrade *d, struct str section)
{
    const struct mime_part *p = mime_part(d->mime);
    struct tally t = {0};
    tally_add(&t, section);
    tally_end(&t);
    name_part(d);
    d->here = p->index;
    must(p->index <= MIME_PARTS_MAX);
    d->records[p->index] = (struct record){
        .bits = (uint16_t)kind_bits(p), .encoding = (uint8_t)p->encoding, .root = (uint16_t)p->root};
    struct header_walk w;
    struct header_field f;
    header_walk_init(&w, p->index == 0 ? section : STR_NIL);
    while (header_walk_next(&w, &f))
        d->has_dkim |= str_ieq(f.name, STR("dkim-signature")) || str_istarts(f.name, STR("arc-"));
    d->has_8bit_left |= t.n_8bit > 0;
    bool bad_8bit = (d->need & DOWNGRADE_8BIT) != 0 && t.n_8bit > 0;
    bool bad_binary = (d->need & DOWNGRADE_BINARY) != 0 && (t.has_binary || t.has_bare_lf);
    d->has_offence |= bad_8bit || bad_binary;
    if (bad_8bit)
        refuse(d, DOWNGRADE_IMPOSSIBLE, ", header fields with octets outside ASCII can't be converted");
    else if (bad_binary)
        refuse(d, DOWNGRADE_IMPOSSIBLE, ", header fields with NUL, bare CR or bare LF can't be converted");
}

static bool offends(const struct downgrade *d, unsigned bits)
{
    return ((d->need & DOWNGRADE_8BIT) != 0 && (bits & HAS_8BIT) != 0) ||
           ((d->need & DOWNGRADE_BINARY) != 0 && (bits & HAS_BINARY) != 0);
}

static enum action choose(unsigned bits, enum mime_encoding encoding)
{
    if (encoding == MIME_ENC_QP)
        return FIX_QP;
    if (encoding == MIME_ENC_BASE64 && (bits & IS_NOT_BASE64) == 0)
        return FIX_BASE64;
    unsigned for_qp = IS_TEXT | IS_MOSTLY_ASCII;
    return (bits & HAS_BINARY) == 0 && (bits & for_qp) == for_qp ? TO_QP : TO_BASE64;
}

static enum label label_of(enum action action)
{
    return action == TO_QP ? LABEL_QP : action == TO_BASE64 ? LABEL_BASE64 : KEEP;
}

static void describe(struct downgrade *d, const struct record *r)
{
    if (d->n_changed++ > 0 || d->status != DOWNGRADE_OK)
        return;
    enum action action = choose(r->bits, r->encoding);
    const char *from = (r->bits & HAS_BINARY) != 0 ? "binary" : "8bit";
    buf_reset(&d->why);
    buf_put(&d->why, buf_str(&d->name));
    if (label_of(action) == KEEP)
        buf_printf(&d->why, " %s with raw octets -> mended",
                   action == FIX_QP ? "quoted-printable" : "base64");
    else
        buf_printf(&d->why, " %s -> %s", from, label_names[label_of(action)]);
}

static void end_body(struct downgrade *d)
{
    const struct tally *t = &d->tally;
    struct record *r = &d->records[d->here];
    bool is_binary = t->has_binary || t->has_bare_lf || (r->encoding == MIME_ENC_BINARY && t->has_long);
    unsigned bits = r->bits | (t->n_8bit > 0 ? HAS_8BIT : 0u) | (is_binary ? HAS_BINARY : 0u) |
                    (t->has_long ? HAS_LONG : 0u) | (t->n_8bit <= t->n / 8 ? IS_MOSTLY_ASCII : 0u) |
                    (t->has_other ? IS_NOT_BASE64 : 0u);
    r->bits = (uint16_t)bits;
    d->is_binary |= is_binary;
    if (!offends(d, bits))
        return;
    d->has_offence = true;
    if ((bits & IS_PROTECTED) != 0)
        refuse(d, DOWNGRADE_FORBIDDEN,
               ", in a multipart/signed or multipart/encrypted part, may not be changed");
    else if ((bits & IS_NEVER) != 0)
        refuse(d, DOWNGRADE_IMPOSSIBLE, " may not be encoded (RFC 2046 5.2)");
    else if ((bits & IS_BROKEN) != 0)
        refuse(d, DOWNGRADE_IMPOSSIBLE, " without a usable boundary can't be converted");
    else
        describe(d, r);
}

static void end_between(struct downgrade *d)
{
    const struct tally *t = &d->tally;
    unsigned bits = (t->n_8bit > 0 ? HAS_8BIT : 0u) | (t->has_binary ? HAS_BINARY : 0u);
    bool has_odd = offends(d, bits);
    bool is_dirty = has_odd || offends(d, t->has_bare_lf ? HAS_BINARY : 0u);
    d->has_8bit_left |= t->n_8bit > 0;
    d->has_offence |= is_dirty;
    d->is_binary |= t->has_binary || t->has_bare_lf;
    if (!is_dirty)
        return;
    if (d->is_between_protected)
        refuse(d, DOWNGRADE_FORBIDDEN, ": what stands between signed or encrypted parts may not be changed");
    else if (d->region == DELIMITER && has_odd) /* changed, it might become another multipart's */
        refuse(d, DOWNGRADE_IMPOSSIBLE, " is followed by a delimiter with octets that can't be converted");
    else if (d->n_changed++ == 0 && d->status == DOWNGRADE_OK)
        buf_puts(&d->why, "text before or behind the parts, which no reader shows: octets become \"?\"");
}

static void scan_region(struct downgrade *d, enum region next)
{
    if (d->region == next && next != NOWHERE)
        return;
    tally_end(&d->tally);
    if (d->region == BODY)
        end_body(d);
    else if (d->region != NOWHERE)
        end_between(d);
    d->region = next;
    d->tally = (struct tally){0};
    d->is_between_protected = mime_part(d->mime)->is_protected;
}

static void scan_event(struct downgrade *d, const struct mime_event *e)
{
    switch (e->kind) {
    case MIME_MORE:
        return;
    case MIME_HEADER:
        scan_region(d, NOWHERE);
        scan_header(d, e->text);
        return;
    case MIME_BODY:
        scan_region(d, BODY);
        break;
    case MIME_BETWEEN:
        scan_region(d, BETWEEN);
        break;
    case MIME_DELIMITER: /* a region of its own: its multipart may be another than the last one's */
        scan_region(d, DELIMITER);
        break;
    }
    tally_add(&d->tally, e->text);
    if (e->kind == MIME_DELIMITER && e->text.n > 0 && e->text.p[e->text.n - 1] == '\n')
        scan_region(d, NOWHERE);
}

void downgrade_scan(struct downgrade *d, struct str piece)
{
    while (piece.n > 0) {
        struct mime_event e;
        size_t n = mime_step(d->mime, piece, &e);
        scan_event(d, &e);
        piece = str_skip(piece, n);
    }
}

/* What each part becomes; the messages around a changed part must have MIME-Version. */
static void plan(struct downgrade *d, unsigned n_parts)
{
    bool no_8bit = (d->need & DOWNGRADE_8BIT) != 0;
    bool breaks_long = (d->need & DOWNGRADE_BINARY) != 0 && d->is_binary;
    for (unsigned i = 0; i < n_parts; i++) {
        struct record *r = &d->records[i];
        bool may = (r->bits & IS_LEAF) != 0 && (r->bits & (IS_PROTECTED | IS_NEVER | IS_BROKEN)) == 0;
        if (may && (offends(d, r->bits) || (breaks_long && (r->bits & HAS_LONG) != 0)))
            r->action = (uint8_t)choose(r->bits, r->encoding);
        r->label = (uint8_t)label_of(r->action);
        d->has_8bit_left |= r->action == PASS && (r->bits & HAS_8BIT) != 0;
        if (r->action == PASS)
            continue;
        for (unsigned k = (r->bits & IS_ROOT) != 0 ? i : r->root;; k = d->records[k].root) {
            d->records[k].adds_version = (d->records[k].bits & HAS_VERSION) == 0;
            if (k == 0)
                break;
        }
        r->adds_type = (r->bits & (IS_ROOT | HAS_TYPE | HAS_VERSION)) == IS_ROOT;
    }
    for (unsigned i = 0; i < n_parts; i++) {
        struct record *r = &d->records[i];
        bool is_leaf = (r->bits & IS_LEAF) != 0;
        bool claims = r->encoding == MIME_ENC_BINARY || (no_8bit && r->encoding == MIME_ENC_8BIT) ||
                      (!is_leaf && r->encoding >= MIME_ENC_QP);
        if (r->action == PASS && claims && (r->bits & IS_PROTECTED) == 0) {
            bool has_8bit = is_leaf ? (r->bits & HAS_8BIT) != 0 : d->has_8bit_left;
            r->label = has_8bit && !no_8bit ? LABEL_8BIT : LABEL_7BIT;
        }
    }
}

static const char *trouble_text(enum mime_trouble t)
{
    switch (t) {
    case MIME_FINE:
        return NULL;
    case MIME_HEADER_TOO_BIG:
        return ", a header section over 100 KiB";
    case MIME_TOO_DEEP:
        return ", parts nested over 32 deep";
    case MIME_TOO_MANY:
        return ", more than 1000 parts";
    }
    must_not_reach();
}

enum downgrade_status downgrade_scan_end(struct downgrade *d)
{
    struct mime_event e;
    must(!d->is_scanned);
    while (mime_finish(d->mime, &e))
        scan_event(d, &e);
    scan_region(d, NOWHERE);
    d->is_scanned = true;
    const char *trouble = trouble_text(mime_trouble(d->mime));
    if (!d->has_offence) {
        d->status = DOWNGRADE_NOT_NEEDED;
        buf_reset(&d->why);
        buf_puts(&d->why, "the message goes as it is");
    } else if (trouble != NULL) {
        d->status = DOWNGRADE_OK;
        refuse(d, DOWNGRADE_IMPOSSIBLE, trouble);
    } else if (d->status == DOWNGRADE_OK) {
        plan(d, d->here + 1);
        if (d->n_changed > 1)
            buf_printf(&d->why, ", and %u more", d->n_changed - 1);
    }
    downgrade_rewind(d);
    return d->status;
}

/* Pass 2 */

void downgrade_rewind(struct downgrade *d)
{
    must(d->is_scanned);
    mime_reset(d->mime);
    d->region = NOWHERE;
    d->action = PASS;
    d->has_cr = d->is_ended = d->lacks_end = false;
    d->n_dashes = 0;
    d->event = (struct mime_event){MIME_MORE, STR_NIL};
    d->n_drained = 0;
    buf_reset(&d->pending);
}

static void put_new_fields(struct downgrade *d, const struct record *r, bool has_encoding)
{
    struct buf *out = &d->pending;
    if (r->adds_version)
        buf_puts(out, "MIME-Version: 1.0\r\n");
    if (r->adds_type)
        buf_printf(out, "Content-Type: text/plain; charset=%s\r\n",
                   (r->bits & HAS_8BIT) != 0 ? "unknown-8bit" : "us-ascii");
    if (r->label != KEEP && !has_encoding)
        buf_printf(out, "Content-Transfer-Encoding: %s\r\n", label_names[r->label]);
}

static bool has_empty_line(struct str section)
{
    return str_ends(section, STR("\n\r\n")) || str_eq(section, STR("\r\n")) ||
           str_ends(section, STR("\n\n")) || str_eq(section, STR("\n"));
}

static void convert_header(struct downgrade *d, struct str section)
{
    struct buf *out = &d->pending;
    const struct record r = d->records[mime_part(d->mime)->index];
    d->action = r.action;
    qp_fixer_init(&d->fixer);
    d->fix_column = 0;
    /* The section around an enclosed message ended at a line that is no field: what the message gets is not
     * to run into it. */
    bool is_new = r.label != KEEP || r.adds_version || r.adds_type || r.action != PASS;
    if (d->lacks_end && is_new && mime_part(d->mime)->is_root)
        buf_puts(out, "\r\n");
    d->lacks_end = mime_part(d->mime)->kind == MIME_MESSAGE && !has_empty_line(section);
    if (r.label == KEEP && !r.adds_version && !r.adds_type) {
        buf_put(out, section);
        if (r.action != PASS && !has_empty_line(section))
            buf_puts(out, "\r\n");
        return;
    }
    struct header_walk w;
    struct header_field f;
    bool has_encoding = false;
    size_t at = 0;
    header_walk_init(&w, section);
    while (header_walk_next(&w, &f)) {
        at += f.raw.n;
        if (r.label == KEEP || !str_ieq(f.name, STR("content-transfer-encoding")))
            buf_put(out, f.raw);
        else if (!has_encoding)
            buf_printf(out, "Content-Transfer-Encoding: %s\r\n", label_names[r.label]);
        has_encoding |= str_ieq(f.name, STR("content-transfer-encoding"));
    }
    if (out->n > 0 && out->p[out->n - 1] != '\n') /* a message that ends in its header section */
        buf_puts(out, "\r\n");
    put_new_fields(d, &r, has_encoding);
    struct str tail = str_skip(section, at);
    buf_put(out, tail.n == 0 && r.action != PASS ? STR("\r\n") : tail);
}

static void convert_body(struct downgrade *d, struct str s)
{
    struct buf *out = &d->pending;
    switch (d->action) {
    case PASS:
        buf_put(out, s);
        break;
    case TO_QP:
        qp_encode(&d->qp, s, out);
        break;
    case TO_BASE64:
        base64_encode(&d->base64, s, out);
        break;
    case FIX_QP:
        qp_fix(&d->fixer, s, out);
        break;
    case FIX_BASE64:
        base64_fix(&d->fix_column, s, out);
        break;
    }
}

/* In a line that begins as delimiters do, a line end goes before the "?", or it might make one. */
static void put_substitute(struct downgrade *d)
{
    buf_puts(&d->pending, d->n_dashes == 2 ? "\r\n?" : "?");
    d->n_dashes = NO_DASH;
}

static void put_between(struct downgrade *d, char c)
{
    if (c == '\n')
        d->n_dashes = 0;
    else if (d->n_dashes < 2)
        d->n_dashes = c == '-' ? d->n_dashes + 1 : NO_DASH;
    buf_putc(&d->pending, c);
}

static void convert_between(struct downgrade *d, struct str s)
{
    bool no_8bit = (d->need & DOWNGRADE_8BIT) != 0;
    bool no_binary = (d->need & DOWNGRADE_BINARY) != 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (d->has_cr && c != '\n')
            put_substitute(d);
        d->has_cr = no_binary && c == '\r';
        if (d->has_cr)
            continue;
        if (no_binary && c == '\n')
            put_between(d, '\r');
        if ((no_8bit && (unsigned char)c > 0x7f) || (no_binary && c == '\0'))
            put_substitute(d);
        else
            put_between(d, c);
    }
}

/* The end of a body or of what stands between. */
static void end_region(struct downgrade *d, bool at_message_end)
{
    struct buf *out = &d->pending;
    if (d->has_cr)
        put_substitute(d);
    d->has_cr = false;
    d->n_dashes = 0;
    if (d->region == BODY && d->action == TO_QP)
        qp_encode_end(&d->qp, at_message_end, out);
    else if (d->region == BODY && d->action == TO_BASE64)
        base64_encode_end(&d->base64, at_message_end, out);
    else if (d->region == BODY && d->action == FIX_QP)
        qp_fix_end(&d->fixer, at_message_end, out);
    else if (d->region == BODY && d->action == FIX_BASE64)
        base64_fix_end(d->fix_column, at_message_end, out);
    d->region = NOWHERE;
}

/* Converts a piece of the present event. */
static void convert(struct downgrade *d)
{
    struct mime_event *e = &d->event;
    struct str s = e->kind == MIME_HEADER ? e->text : str_slice(e->text, 0, STEP_MAX);
    e->text = str_skip(e->text, s.n);
    switch (e->kind) {
    case MIME_MORE:
        break;
    case MIME_HEADER:
        end_region(d, false);
        convert_header(d, s);
        break;
    case MIME_BODY:
        d->region = BODY;
        convert_body(d, s);
        break;
    case MIME_BETWEEN:
    case MIME_DELIMITER:
        if (d->region == BODY)
            end_region(d, false);
        d->region = BETWEEN;
        convert_between(d, s);
        break;
    }
    must(!d->pending.failed);
    if (e->text.n == 0)
        *e = (struct mime_event){MIME_MORE, STR_NIL};
}

/* Moves what waits into out; true when nothing waits any more. */
static bool drain(struct downgrade *d, struct buf *out)
{
    struct str rest = str_skip(buf_str(&d->pending), d->n_drained);
    struct str part = str_slice(rest, 0, out->max - out->n);
    if (part.n > 0 && !buf_put(out, part))
        return false;
    d->n_drained += part.n;
    if (part.n < rest.n)
        return false;
    buf_reset(&d->pending);
    d->n_drained = 0;
    return true;
}

size_t downgrade_put(struct downgrade *d, struct str piece, struct buf *out)
{
    must(d->is_scanned && d->status <= DOWNGRADE_NOT_NEEDED);
    if (d->status == DOWNGRADE_NOT_NEEDED) {
        struct str part = str_slice(piece, 0, out->max - out->n);
        return buf_put(out, part) ? part.n : 0;
    }
    size_t taken = 0;
    while (drain(d, out) && (taken < piece.n || d->event.text.n > 0)) {
        if (d->event.text.n == 0)
            taken += mime_step(d->mime, str_slice(piece, taken, taken + STEP_MAX), &d->event);
        convert(d);
    }
    return taken;
}

bool downgrade_end(struct downgrade *d, struct buf *out)
{
    must(d->is_scanned && d->status <= DOWNGRADE_NOT_NEEDED);
    if (d->status == DOWNGRADE_NOT_NEEDED)
        return true;
    while (drain(d, out)) {
        if (d->is_ended)
            return true;
        if (d->event.text.n == 0 && !mime_finish(d->mime, &d->event)) {
            end_region(d, true);
            d->is_ended = true;
        } else {
            convert(d);
        }
    }
    return false;
}
