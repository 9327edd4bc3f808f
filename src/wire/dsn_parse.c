#include "wire/dsn_parse.h"

#include "wire/address.h"
#include "wire/header.h"

enum field {
    NO_FIELD = 0,
    ENVELOPE_ID,
    REPORTING_MTA,
    FINAL_RCPT, /* from here on fields of a recipient */
    ORIGINAL_RCPT,
    ACTION,
    STATUS,
    DIAGNOSTIC,
    REMOTE_MTA,
};
static const struct {
    struct str name;
    enum field field;
} fields[] = {
    {STR_INIT("original-envelope-id"), ENVELOPE_ID},
    {STR_INIT("reporting-mta"), REPORTING_MTA},
    {STR_INIT("final-recipient"), FINAL_RCPT},
    {STR_INIT("original-recipient"), ORIGINAL_RCPT},
    {STR_INIT("action"), ACTION},
    {STR_INIT("status"), STATUS},
    {STR_INIT("diagnostic-code"), DIAGNOSTIC},
    {STR_INIT("remote-mta"), REMOTE_MTA},
};
static const char *const action_names[] = {"", "failed", "delayed", "delivered", "relayed", "expanded"};

const char *dsn_report_action_name(enum dsn_report_action a)
{
    return action_names[a];
}

/* Keeps what was appended to d->text since `from`; nothing when it did not fit. */
static struct str keep(struct dsn_report *d, size_t from)
{
    if (d->text.failed) {
        d->text.n = from;
        d->text.failed = false;
        return STR_NIL;
    }
    return str_skip(buf_str(&d->text), from);
}

/* RFC 6533 3: "\x{E9}" for a character. */
static void put_utf8_address(struct str s, struct buf *out)
{
    while (s.n > 0) {
        uint32_t code = 0;
        size_t n = utf8_xtext_point(s, &code);
        if (n == 0 || code < ' ' || code == 0x7f || !utf8_put(code, out)) {
            buf_putc(out, s.p[0]);
            n = 1;
        }
        s = str_skip(s, n);
    }
}

/* "rfc822; <user@example.org>": type and value of a typed field (RFC 3464 2.1.2); a value without type is
 * taken whole. */
static struct str value_of(struct str body, struct str *out_type)
{
    size_t at = str_chr(body, ';');
    *out_type = at == STR_NPOS ? STR_NIL : str_trim(str_slice(body, 0, at));
    return str_trim(at == STR_NPOS ? body : str_skip(body, at + 1));
}

static struct str keep_address(struct dsn_report *d, struct str body)
{
    struct str type;
    struct str s = value_of(body, &type);
    size_t from = d->text.n;
    if (str_starts(s, STR("<")) && str_ends(s, STR(">")))
        s = str_slice(s, 1, s.n - 1);
    if (str_ieq(type, STR("utf-8")))
        put_utf8_address(s, &d->text);
    else
        buf_put(&d->text, s);
    return keep(d, from);
}

static struct str keep_text(struct dsn_report *d, struct str s)
{
    size_t from = d->text.n;
    buf_put(&d->text, s);
    return keep(d, from);
}

static enum dsn_report_action action_of(struct str body)
{
    struct str rest = body;
    struct str word = str_cut(&rest, ' '); /* a comment may follow */
    for (size_t i = 1; i < ARRAY_LEN(action_names); i++) {
        if (str_ieq(word, str_from_c(action_names[i])))
            return (enum dsn_report_action)i;
    }
    return DSN_REPORT_NO_ACTION;
}

static void take_rcpt_field(struct dsn_report *d, struct dsn_report_rcpt *r, enum field f, struct str body)
{
    struct str type, rest;
    switch (f) {
    case FINAL_RCPT:
        r->final_rcpt = keep_address(d, body);
        break;
    case ORIGINAL_RCPT:
        r->original_rcpt = keep_address(d, body);
        break;
    case ACTION:
        r->action = action_of(body);
        break;
    case STATUS:
        if (!esc_parse(body, &r->status, &rest))
            r->status = ESC(0, 0, 0);
        break;
    case DIAGNOSTIC:
        body = value_of(body, &type);
        r->diagnostic_is_smtp = str_ieq(type, STR("smtp"));
        r->diagnostic = keep_text(d, body);
        break;
    case REMOTE_MTA:
        r->remote_mta = keep_text(d, value_of(body, &type));
        break;
    case NO_FIELD:
    case ENVELOPE_ID:
    case REPORTING_MTA:
        must_not_reach();
    }
}

/* Where the fields are read. */
struct place {
    struct dsn_report_rcpt *rcpt; /* NULL: the next field of a recipient begins one */
    unsigned seen;                /* bits of the fields it has */
    bool is_over;                 /* no room: fields go nowhere until the next one */
};

static void begin_rcpt(struct dsn_report *d, struct place *p)
{
    bool has_room = d->n_rcpts < DSN_REPORT_RCPTS_MAX && d->text.max - d->text.n >= DSN_REPORT_VALUE_MAX;
    p->rcpt = has_room ? &d->rcpts[d->n_rcpts++] : NULL;
    p->is_over = !has_room;
    p->seen = 0;
    d->n_rcpts_more += !has_room;
    if (has_room)
        *p->rcpt = (struct dsn_report_rcpt){.action = DSN_REPORT_NO_ACTION};
}

static void take_field(struct dsn_report *d, struct place *p, const struct header_field *h)
{
    char mem[DSN_REPORT_VALUE_MAX];
    struct buf value;
    enum field f = NO_FIELD;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (str_ieq(h->name, fields[i].name))
            f = fields[i].field;
    }
    if (f == NO_FIELD)
        return;
    struct str type;
    buf_init_fixed(&value, mem, sizeof mem);
    mime_unfold(str_slice(h->body, 0, sizeof mem), &value);
    if (f == ENVELOPE_ID && d->envelope_id.n == 0) {
        d->envelope_id = keep_text(d, buf_str(&value));
    } else if (f == REPORTING_MTA && d->reporting_mta.n == 0) {
        d->reporting_mta = keep_text(d, value_of(buf_str(&value), &type));
    } else if (f >= FINAL_RCPT) {
        if ((p->rcpt == NULL && !p->is_over) || (p->seen >> f & 1) != 0)
            begin_rcpt(d, p);
        p->seen |= 1u << f;
        if (p->rcpt != NULL)
            take_rcpt_field(d, p->rcpt, f, buf_str(&value));
    }
}

void dsn_parse_fields(struct str text, struct dsn_report *out)
{
    struct place p = {NULL, 0, false};
    out->envelope_id = out->reporting_mta = out->message_id = STR_NIL;
    out->n_rcpts = out->n_rcpts_more = 0;
    buf_init_fixed(&out->text, out->text_mem, sizeof out->text_mem);
    while (text.n > 0) {
        struct header_walk w;
        struct header_field h;
        size_t n_fields = 0;
        header_walk_init(&w, text);
        while (header_walk_next(&w, &h)) {
            take_field(out, &p, &h);
            n_fields += h.raw.n;
        }
        if (text.n - w.rest.n > n_fields) /* an empty line was passed */
            p = (struct place){NULL, 0, false};
        else
            (void)str_cut(&w.rest, '\n'); /* a line that is no field */
        text = w.rest;
    }
}

bool dsn_parse(const struct mime_report *r, struct dsn_report *out)
{
    if (mime_report_kind(r) != MIME_REPORT_DELIVERY)
        return false;
    dsn_parse_fields(mime_report_fields(r), out);
    struct header_walk w;
    struct header_field h;
    header_walk_init(&w, mime_report_original(r));
    while (header_walk_next(&w, &h)) {
        if (str_ieq(h.name, STR("message-id")) && out->message_id.n == 0) {
            size_t from = out->text.n;
            mime_unfold(str_slice(h.body, 0, DSN_REPORT_VALUE_MAX), &out->text);
            out->message_id = keep(out, from);
        }
    }
    return true;
}
