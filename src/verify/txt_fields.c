#include "verify/txt_fields.h"

enum { NAME_N_MAX = 32 };

/* Behind the version: *WSP ";". */
static bool take_version(struct str text, struct str version, struct str *out_fields)
{
    if (!str_starts(text, version))
        return false;
    text = str_trim(str_skip(text, version.n));
    if (!str_starts(text, STR(";")))
        return false;
    *out_fields = str_skip(text, 1);
    return true;
}

enum txt_pick txt_pick(const struct str *rdata, size_t n, struct str version, struct buf *mem,
                       struct str *out_fields)
{
    enum txt_pick found = TXT_NONE;
    for (size_t i = 0; i < n; i++) {
        char scratch[DNS_TXT_MAX]; /* so that a second one is seen however long the first is */
        struct buf text;
        struct str fields;
        buf_init_fixed(&text, scratch, sizeof scratch);
        if (!dnsrr_txt(rdata[i], &text) || !take_version(buf_str(&text), version, &fields))
            continue;
        if (found != TXT_NONE)
            return TXT_MANY;
        size_t start = mem->n;
        if (!buf_put(mem, fields))
            continue;
        found = TXT_ONE;
        *out_fields = str_skip(buf_str(mem), start);
    }
    return found;
}

static bool is_name(struct str s)
{
    if (s.n == 0 || s.n > NAME_N_MAX || !ascii_is_alnum(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '_' && s.p[i] != '-' && s.p[i] != '.')
            return false;
    }
    return true;
}

enum txt_next txt_next(struct str *fields, struct str *out_name, struct str *out_value)
{
    struct str rest = str_trim(*fields);
    if (rest.n == 0) {
        *fields = rest;
        return TXT_END;
    }
    struct str field = str_trim(str_cut(&rest, ';'));
    *fields = rest;
    size_t eq = str_chr(field, '=');
    if (eq == STR_NPOS)
        return TXT_BAD;
    *out_name = str_slice(field, 0, eq);
    *out_value = str_skip(field, eq + 1);
    if (!is_name(*out_name) || out_value->n == 0)
        return TXT_BAD;
    for (size_t i = 0; i < out_value->n; i++) {
        char c = out_value->p[i]; /* inner blanks: only lists of URIs have them, around their commas */
        if (c != ' ' && c != '\t' && (c < 0x21 || c > 0x7e))
            return TXT_BAD;
    }
    return TXT_FIELD;
}
