#include "wire/mime_field.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without spaces and comments at the start (RFC 5322 3.2.2: comments nest; one without end takes the rest).
 */
static struct str skip_cfws(struct str s)
{
    size_t depth = 0, i = 0;
    for (; i < s.n; i++) {
        char c = s.p[i];
        if (depth > 0 && c == '\\')
            i++;
        else if (c == '(')
            depth++;
        else if (depth > 0 && c == ')')
            depth--;
        else if (depth == 0 && !is_space(c))
            break;
    }
    return str_skip(s, i);
}

/* Takes octets up to one of the enders, a space or a comment. */
static struct str take_token(struct str *s, struct str enders)
{
    size_t i = 0;
    while (i < s->n && !is_space(s->p[i]) && s->p[i] != '(' && str_chr(enders, s->p[i]) == STR_NPOS)
        i++;
    struct str token = str_slice(*s, 0, i);
    *s = str_skip(*s, i);
    return token;
}

/* Takes a quoted string whose opening quote is at the front; out may be NULL. */
static bool take_quoted(struct str *s, struct buf *out)
{
    size_t i = 1;
    bool ok = true;
    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\' && i + 1 < s->n)
            i++;
        if (out != NULL && s->p[i] != '\r' && s->p[i] != '\n')
            ok &= buf_putc(out, s->p[i]);
    }
    *s = str_skip(*s, i + 1);
    return ok;
}

/* To what follows the next ";" outside of quotes and comments. */
static void skip_to_param(struct str *s)
{
    for (;;) {
        *s = skip_cfws(*s);
        if (s->n == 0)
            return;
        if (s->p[0] == ';') {
            *s = str_skip(*s, 1);
            return;
        }
        if (s->p[0] == '"')
            (void)take_quoted(s, NULL);
        else
            *s = str_skip(*s, 1);
    }
}

void mime_type_parse(struct str body, struct mime_type *out)
{
    struct str rest = skip_cfws(body);
    *out = (struct mime_type){STR_NIL, STR_NIL, STR_NIL};
    struct str type = take_token(&rest, STR("/;"));
    rest = skip_cfws(rest);
    bool has_slash = rest.n > 0 && rest.p[0] == '/';
    if (has_slash)
        rest = skip_cfws(str_skip(rest, 1));
    struct str subtype = has_slash ? take_token(&rest, STR("/;")) : STR_NIL;
    if (type.n > 0 && subtype.n > 0) {
        out->type = type;
        out->subtype = subtype;
    }
    skip_to_param(&rest);
    out->params = rest;
}

bool mime_type_is(const struct mime_type *t, struct str type, struct str subtype)
{
    return str_ieq(t->type, type) && (subtype.n == 0 || str_ieq(t->subtype, subtype));
}

bool mime_param(struct str params, struct str name, struct buf *out)
{
    struct str rest = params;
    for (;;) {
        rest = skip_cfws(rest);
        if (rest.n == 0)
            return false;
        struct str found = take_token(&rest, STR("=;"));
        rest = skip_cfws(rest);
        if (rest.n > 0 && rest.p[0] == '=' && str_ieq(found, name)) {
            rest = skip_cfws(str_skip(rest, 1));
            if (rest.n > 0 && rest.p[0] == '"')
                return take_quoted(&rest, out);
            size_t end = 0; /* parentheses in a bare value are no comment to real readers */
            while (end < rest.n && !is_space(rest.p[end]) && rest.p[end] != ';')
                end++;
            return buf_put(out, str_slice(rest, 0, end));
        }
        skip_to_param(&rest);
    }
}

enum mime_encoding mime_encoding_parse(struct str body)
{
    static const struct {
        struct str name;
        enum mime_encoding encoding;
    } names[] = {
        {STR_INIT(""), MIME_ENC_NONE},
        {STR_INIT("7bit"), MIME_ENC_7BIT},
        {STR_INIT("8bit"), MIME_ENC_8BIT},
        {STR_INIT("binary"), MIME_ENC_BINARY},
        {STR_INIT("quoted-printable"), MIME_ENC_QP},
        {STR_INIT("base64"), MIME_ENC_BASE64},
    };
    struct str rest = skip_cfws(body);
    struct str token = take_token(&rest, STR(";"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(token, names[i].name))
            return names[i].encoding;
    }
    return MIME_ENC_OTHER;
}
