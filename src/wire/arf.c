#include "wire/arf.h"

#include "wire/date.h"
#include "wire/header.h"

static struct str keep(struct arf_report *a, size_t from)
{
    if (a->text.failed) {
        a->text.n = from;
        a->text.failed = false;
        return STR_NIL;
    }
    return str_skip(buf_str(&a->text), from);
}

static struct str keep_value(struct arf_report *a, struct str body)
{
    size_t from = a->text.n;
    mime_unfold(str_slice(body, 0, ARF_VALUE_MAX), &a->text);
    return keep(a, from);
}

static void add(struct arf_list *l, struct str s)
{
    if (l->n < ARF_LIST_MAX && s.n > 0)
        l->item[l->n++] = s;
}

static struct str without_brackets(struct str s)
{
    return str_starts(s, STR("<")) && str_ends(s, STR(">")) ? str_slice(s, 1, s.n - 1) : s;
}

static struct str lower(struct arf_report *a, struct str body)
{
    size_t from = a->text.n;
    struct str s = keep_value(a, body);
    for (size_t i = from; i < from + s.n; i++)
        a->text.p[i] = ascii_lower(a->text.p[i]);
    return s;
}

static struct str first_word(struct str s)
{
    return str_cut(&s, ' ');
}

static void take_once(struct str *field, struct str value)
{
    if (field->n == 0)
        *field = value;
}

static void take_report_field(struct arf_report *a, const struct header_field *h)
{
    const struct {
        struct str name;
        struct str *once;
        struct arf_list *list;
    } plain[] = {
        {STR("user-agent"), &a->user_agent, NULL},
        {STR("version"), &a->version, NULL},
        {STR("source-ip"), &a->source_ip, NULL},
        {STR("original-envelope-id"), &a->original_envelope_id, NULL},
        {STR("original-mail-from"), &a->original_mail_from, NULL},
        {STR("arrival-date"), &a->arrival_date, NULL},
        {STR("received-date"), &a->arrival_date, NULL}, /* the older drafts' name for it */
        {STR("reporting-mta"), &a->reporting_mta, NULL},
        {STR("dkim-domain"), &a->dkim_domain, NULL},
        {STR("original-rcpt-to"), NULL, &a->original_rcpt_to},
        {STR("reported-domain"), NULL, &a->reported_domain},
        {STR("reported-uri"), NULL, &a->reported_uri},
        {STR("authentication-results"), NULL, &a->authentication_results},
    };
    if (str_ieq(h->name, STR("feedback-type")))
        take_once(&a->feedback_type, lower(a, h->body));
    if (str_ieq(h->name, STR("auth-failure")))
        take_once(&a->auth_failure, lower(a, h->body));
    if (str_ieq(h->name, STR("incidents")) && !str_to_u64(str_trim(h->body), UINT64_MAX, &a->incidents))
        a->incidents = 1;
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (!str_ieq(h->name, plain[i].name))
            continue;
        struct str value = without_brackets(keep_value(a, h->body));
        if (plain[i].once != NULL)
            take_once(plain[i].once, value);
        else
            add(plain[i].list, value);
    }
}

static void take_original_field(struct arf_report *a, const struct header_field *h)
{
    if (str_ieq(h->name, STR("message-id")))
        take_once(&a->message_id, keep_value(a, h->body));
    if (!str_istarts(h->name, STR("x-")) || a->x_name.n == ARF_LIST_MAX)
        return;
    struct str name = keep_value(a, h->name);
    struct str body = keep_value(a, h->body);
    if (name.n > 0) {
        a->x_name.item[a->x_name.n++] = name;
        a->x_body.item[a->x_body.n++] = body;
    }
}

/* "dns; mail.example.org" */
static struct str without_type(struct str s)
{
    size_t at = str_chr(s, ';');
    return at == STR_NPOS ? s : str_trim(str_skip(s, at + 1));
}

static void clear(struct arf_report *a)
{
    a->feedback_type = a->user_agent = a->version = a->source_ip = STR_NIL;
    a->original_envelope_id = a->original_mail_from = a->arrival_date = a->reporting_mta = STR_NIL;
    a->auth_failure = a->dkim_domain = a->message_id = STR_NIL;
    a->original_rcpt_to.n = a->reported_domain.n = a->reported_uri.n = a->authentication_results.n = 0;
    a->x_name.n = a->x_body.n = 0;
    a->incidents = 1;
    a->arrival_s = 0;
    buf_init_fixed(&a->text, a->text_mem, sizeof a->text_mem);
}

bool arf_parse(const struct mime_report *r, struct arf_report *out)
{
    struct header_walk w;
    struct header_field h;
    if (mime_report_kind(r) != MIME_REPORT_FEEDBACK)
        return false;
    clear(out);
    header_walk_init(&w, mime_report_fields(r));
    while (header_walk_next(&w, &h))
        take_report_field(out, &h);
    header_walk_init(&w, mime_report_original(r));
    while (header_walk_next(&w, &h))
        take_original_field(out, &h);
    out->source_ip = first_word(out->source_ip);
    out->feedback_type = first_word(out->feedback_type);
    out->reporting_mta = without_type(out->reporting_mta);
    out->has_arrival = date_parse_rfc5322(out->arrival_date, &out->arrival_s);
    return out->feedback_type.n > 0;
}
