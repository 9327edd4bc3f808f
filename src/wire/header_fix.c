#include "wire/header_fix.h"

#include "base/queue_id.h"
#include "wire/date.h"
#include "wire/readdress.h"

#include <string.h>

void header_fix_init(struct header_fix *f, const struct header_fix_facts *facts)
{
    f->facts = *facts;
    f->at = HEADER_FIX_LINE;
    f->has_field = f->has_from = f->has_date = f->has_id = f->is_resent = f->is_dropped = f->is_open = false;
    f->is_kept = f->is_over = false;
    f->n_name = f->n_held = f->n_kept = f->piece = 0;
}

/* ---- the end of the section ---------------- */

/* The longest that can be added; facts beyond these bounds add less, never a part of a field. */
_Static_assert(HEADER_FIX_ADDS_MAX >=
                   2 + 8 + SMTP_PATH_MAX + 40 + 16 + 20 + 1 + QUEUE_ID_TEXT + 1 + SMTP_DOMAIN_MAX + 3 + 2,
               "all fields at once");

static void add_from(struct header_fix *f, struct buf *out)
{
    struct str from = f->facts.from;
    if (f->has_from || from.n == 0 || from.n > SMTP_PATH_MAX || str_has_ctl(from))
        return;
    buf_puts(out, "From: ");
    buf_put(out, from);
    buf_puts(out, "\r\n");
}

static void add_date(struct header_fix *f, struct buf *out)
{
    if (f->has_date)
        return;
    buf_puts(out, "Date: ");
    date_format_rfc5322(f->facts.unix_s, out);
    buf_puts(out, "\r\n");
}

static void add_id(struct header_fix *f, struct buf *out)
{
    struct str host = f->facts.host;
    if (f->has_id || host.n == 0 || host.n > SMTP_DOMAIN_MAX)
        return;
    buf_printf(out, "Message-ID: <%lld.", (long long)f->facts.unix_s);
    queue_id_format(f->facts.queue_id, out);
    buf_putc(out, '@');
    buf_put(out, host);
    buf_puts(out, ">\r\n");
}

/* Is what is held the beginning of the body? The empty line, and nothing at all, end the section as it is; a
 * CR alone is held only where the message ends with it. */
static bool is_body_held(const struct header_fix *f)
{
    struct str held = str_of(f->held, f->n_held);
    return held.n > 0 && !str_eq(held, STR("\n")) && !str_eq(held, STR("\r\n")) && !str_eq(held, STR("\r"));
}

/* What goes between the section and what is held. */
static struct str make_adds(struct header_fix *f)
{
    struct buf b;
    buf_init_fixed(&b, f->adds, sizeof f->adds);
    if (!f->is_resent) {
        if (f->is_open)
            buf_puts(&b, "\r\n");
        size_t n = b.n;
        add_from(f, &b);
        add_date(f, &b);
        add_id(f, &b);
        if (b.n == n)
            buf_reset(&b);
    }
    if (is_body_held(f))
        buf_puts(&b, "\r\n");
    must(!b.failed);
    return buf_str(&b);
}

/* ---- lines ---------------- */

static void hold(struct header_fix *f, struct str *in)
{
    f->held[f->n_held++] = in->p[0];
    *in = str_skip(*in, 1);
}

/* The line's name is complete: what is to become of the field? */
static void take_name(struct header_fix *f)
{
    struct str name = str_of(f->held, f->n_name);
    f->has_field = true;
    f->has_from = f->has_from || str_ieq(name, STR("From"));
    f->has_date = f->has_date || str_ieq(name, STR("Date"));
    f->has_id = f->has_id || str_ieq(name, STR("Message-ID"));
    f->is_resent = f->is_resent || str_istarts(name, STR("Resent-"));
    f->is_dropped =
        str_ieq(name, STR("Bcc")) || str_ieq(name, STR("Resent-Bcc")) || str_ieq(name, STR("Return-Path"));
    f->is_kept = f->facts.readdress != NULL && (str_ieq(name, STR("From")) || str_ieq(name, STR("Sender")));
    f->n_kept = 0;
    f->at = HEADER_FIX_VALUE;
}

/* The first octet of a line. */
static void begin_line(struct header_fix *f, struct str *in)
{
    char c = in->p[0];
    bool is_blank = c == ' ' || c == '\t';
    if (f->is_kept && !is_blank) {
        f->at = HEADER_FIX_FIELD;
        return;
    }
    f->n_name = f->n_held = 0;
    if (is_blank && f->has_field) {
        f->at = HEADER_FIX_VALUE; /* the field before goes on */
        return;
    }
    if (c == '\r')
        f->at = HEADER_FIX_CR;
    else if (c <= ' ' || c > '~' || c == ':')
        f->at = HEADER_FIX_ADDS;
    else
        f->at = HEADER_FIX_NAME;
    hold(f, in);
}

/* An octet after the first of a line that may be a field, or the empty line. */
static void go_on(struct header_fix *f, struct str *in)
{
    char c = in->p[0];
    bool is_blank = c == ' ' || c == '\t';
    if (f->n_held == sizeof f->held) {
        f->at = HEADER_FIX_ADDS;
        return;
    }
    if (f->at == HEADER_FIX_NAME && (is_blank || c == ':'))
        f->n_name = f->n_held;
    hold(f, in);
    if (f->at == HEADER_FIX_CR)
        f->at = HEADER_FIX_ADDS;
    else if (c == ':')
        take_name(f);
    else if (is_blank)
        f->at = HEADER_FIX_BLANK;
    else if (c < ' ' || c > '~' || f->at == HEADER_FIX_BLANK)
        f->at = HEADER_FIX_ADDS;
}

/* Of a field: the name that was held, then its value. */
static struct str take_value(struct header_fix *f, struct str *in)
{
    struct str out = str_of(f->held, f->n_held);
    bool is_name = out.n > 0;
    size_t lf = is_name ? STR_NPOS : str_chr(*in, '\n');
    if (!is_name)
        out = str_slice(*in, 0, lf == STR_NPOS ? in->n : lf + 1);
    if (f->is_kept && out.n > sizeof f->adds - f->n_kept) { /* too long: it goes as it is */
        f->is_kept = false;
        return str_of(f->adds, f->n_kept);
    }
    if (!is_name)
        *in = str_skip(*in, out.n);
    if (lf != STR_NPOS)
        f->at = HEADER_FIX_LINE;
    f->n_held = 0;
    if (f->is_kept) {
        memcpy(f->adds + f->n_kept, out.p, out.n);
        f->n_kept = (uint16_t)(f->n_kept + out.n);
    }
    return f->is_dropped || f->is_kept ? STR_NIL : out;
}

/* The address in the field that was kept, and what it becomes. */
static void find_address(struct header_fix *f)
{
    struct str field = str_of(f->adds, f->n_kept), value = str_skip(field, str_chr(field, ':') + 1), address;
    struct buf to;
    buf_init_fixed(&to, f->address, sizeof f->address);
    f->address_at = f->address_end = f->n_kept;
    f->n_address = 0;
    if (!readdress_find(value, &address) || !f->facts.readdress(f->facts.readdress_arg, address, &to) ||
        to.failed)
        return;
    f->address_at = (uint16_t)(address.p - f->adds);
    f->address_end = (uint16_t)(f->address_at + address.n);
    f->n_address = (uint16_t)to.n;
}

/* What stands before the address, the address, and the rest. */
static struct str take_field(struct header_fix *f)
{
    struct str field = str_of(f->adds, f->n_kept);
    switch (f->piece++) {
    case 0:
        find_address(f);
        return str_slice(field, 0, f->address_at);
    case 1:
        return str_of(f->address, f->n_address);
    default:
        f->is_kept = false;
        f->piece = 0;
        f->at = f->is_over ? HEADER_FIX_ADDS : HEADER_FIX_LINE;
        return str_skip(field, f->address_end);
    }
}

/* One step. false: it needs input and there is none. */
static bool step(struct header_fix *f, struct str *in, struct str *out)
{
    bool needs_input = f->at < HEADER_FIX_FIELD && !(f->at == HEADER_FIX_VALUE && f->n_held > 0);
    if (in->n == 0 && (needs_input || f->at == HEADER_FIX_BODY))
        return false;
    switch (f->at) {
    case HEADER_FIX_LINE:
        begin_line(f, in);
        break;
    case HEADER_FIX_NAME:
    case HEADER_FIX_BLANK:
    case HEADER_FIX_CR:
        go_on(f, in);
        break;
    case HEADER_FIX_VALUE:
        *out = take_value(f, in);
        break;
    case HEADER_FIX_FIELD:
        *out = take_field(f);
        break;
    case HEADER_FIX_ADDS:
        *out = make_adds(f);
        f->at = HEADER_FIX_HELD;
        break;
    case HEADER_FIX_HELD:
        *out = str_of(f->held, f->n_held);
        f->at = HEADER_FIX_BODY;
        break;
    case HEADER_FIX_BODY:
        *out = *in;
        *in = STR_NIL;
        break;
    }
    return true;
}

bool header_fix_next(struct header_fix *f, struct str *in, struct str *out)
{
    *out = STR_NIL;
    while (out->n == 0) {
        if (!step(f, in, out))
            return false;
    }
    return true;
}

void header_fix_end(struct header_fix *f)
{
    if (f->at >= HEADER_FIX_FIELD)
        return;
    /* of a dropped field nothing was given; the line before it is whole */
    f->is_open = f->at == HEADER_FIX_VALUE && !f->is_dropped;
    f->is_over = true;
    f->at = f->is_kept ? HEADER_FIX_FIELD : HEADER_FIX_ADDS;
}
