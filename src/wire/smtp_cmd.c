#include "wire/smtp_cmd.h"

enum { SIZE_DIGITS_MAX = 20 }; /* RFC 1870 3 */

static struct str skip_spaces(struct str s)
{
    while (s.n > 0 && s.p[0] == ' ')
        s = str_skip(s, 1);
    return s;
}

void smtp_cmd_split(struct str line, struct str *out_verb, struct str *out_arg)
{
    size_t n = 0;
    while (n < line.n && line.p[n] != ' ')
        n++;
    struct str verb = str_slice(line, 0, n);
    struct str arg = skip_spaces(str_skip(line, n));
    while (arg.n > 0 && arg.p[arg.n - 1] == ' ')
        arg.n--;
    for (size_t i = 0; i < n; i++) {
        if (!ascii_is_alpha(verb.p[i]))
            verb.n = 0;
    }
    *out_verb = verb;
    *out_arg = arg;
}

/* A parameter of MAIL. The value is checked: has_value says whether there was a "=". */
struct param {
    struct str keyword, value;
    bool has_value;
};

static bool is_value_octet(char c)
{
    unsigned char u = (unsigned char)c;
    return u > 0x20 && u != '=' && u != 0x7f;
}

/* esmtp-param of RFC 5321 4.1.2 up to the next space; values may hold UTF-8 (RFC 6531 3.3). */
static bool take_param(struct str *s, struct param *out)
{
    struct str word = str_cut(s, ' ');
    *s = skip_spaces(*s);
    out->has_value = str_chr(word, '=') != STR_NPOS;
    out->keyword = str_cut(&word, '=');
    out->value = word;
    if (out->keyword.n == 0 || out->keyword.p[0] == '-' || (out->has_value && word.n == 0))
        return false;
    for (size_t i = 0; i < out->keyword.n; i++) {
        if (!ascii_is_alnum(out->keyword.p[i]) && out->keyword.p[i] != '-')
            return false;
    }
    for (size_t i = 0; i < word.n; i++) {
        if (!is_value_octet(word.p[i]))
            return false;
    }
    return utf8_is_valid(word);
}

static enum smtp_cmd_err fail(enum smtp_cmd_err e, const char *why, const char **out_why)
{
    *out_why = why;
    return e;
}

static const char *take_size(const struct param *p, struct smtp_mail_args *out)
{
    if (!p->has_value || p->value.n > SIZE_DIGITS_MAX)
        return "SIZE needs a number of at most 20 digits";
    for (size_t i = 0; i < p->value.n; i++) {
        if (!ascii_is_digit(p->value.p[i]))
            return "SIZE needs a number of at most 20 digits";
    }
    if (!str_to_u64(p->value, UINT64_MAX, &out->size))
        out->size = UINT64_MAX; /* 20 digits are allowed and may be too many for us: larger than any limit */
    return NULL;
}

static const char *take_body(const struct param *p, struct smtp_mail_args *out)
{
    static const struct {
        struct str name;
        enum smtp_body body;
    } bodies[] = {
        {{"7BIT", 4}, SMTP_BODY_7BIT},
        {{"8BITMIME", 8}, SMTP_BODY_8BITMIME},
        {{"BINARYMIME", 10}, SMTP_BODY_BINARYMIME},
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        if (p->has_value && str_ieq(p->value, bodies[i].name)) {
            out->body = bodies[i].body;
            return NULL;
        }
    }
    return "BODY is one of 7BIT, 8BITMIME, BINARYMIME";
}

static const char *take_smtputf8(const struct param *p, struct smtp_mail_args *out)
{
    out->smtputf8 = true;
    return p->has_value ? "SMTPUTF8 takes no value" : NULL;
}

static const struct mail_param {
    struct str keyword;
    unsigned flag;
    const char *(*take)(const struct param *p, struct smtp_mail_args *out);
} mail_params[] = {
    {{"SIZE", 4}, SMTP_PARAM_SIZE, take_size},
    {{"BODY", 4}, SMTP_PARAM_BODY, take_body},
    {{"SMTPUTF8", 8}, SMTP_PARAM_SMTPUTF8, take_smtputf8},
};

static enum smtp_cmd_err mail_param(const struct param *p, unsigned allowed, struct smtp_mail_args *out,
                                    const char **out_why)
{
    for (size_t i = 0; i < ARRAY_LEN(mail_params); i++) {
        const struct mail_param *known = &mail_params[i];
        if (!str_ieq(p->keyword, known->keyword) || (known->flag & allowed) == 0)
            continue;
        if ((out->params & known->flag) != 0)
            return fail(SMTP_CMD_DUPLICATE_PARAM, "a parameter stands there twice", out_why);
        out->params |= known->flag;
        const char *why = known->take(p, out);
        return why == NULL ? SMTP_CMD_OK : fail(SMTP_CMD_SYNTAX, why, out_why);
    }
    return fail(SMTP_CMD_UNKNOWN_PARAM, "a parameter is not known here", out_why);
}

/* "FROM:" or "TO:" and the path; *rest begins after the spaces that must follow it. The path is read as if
 * SMTPUTF8 had been said: in MAIL that parameter comes behind it. */
static enum smtp_cmd_err take_path(struct str arg, struct str prefix, const char *expected,
                                   struct address *out, bool *had_route, struct str *rest,
                                   const char **out_why)
{
    if (!str_istarts(arg, prefix))
        return fail(SMTP_CMD_SYNTAX, expected, out_why);
    arg = skip_spaces(str_skip(arg, prefix.n));
    if (arg.n == 0 || arg.p[0] != '<')
        return fail(SMTP_CMD_SYNTAX, expected, out_why);
    const char *why = address_parse_path(arg, true, out, had_route, rest);
    if (why != NULL)
        return fail(SMTP_CMD_BAD_ADDRESS, why, out_why);
    if (rest->n > 0 && rest->p[0] != ' ')
        return fail(SMTP_CMD_SYNTAX, "a space must follow the path", out_why);
    *rest = skip_spaces(*rest);
    return SMTP_CMD_OK;
}

enum smtp_cmd_err smtp_mail_parse(struct str arg, unsigned allowed, struct smtp_mail_args *out,
                                  const char **out_why)
{
    *out = (struct smtp_mail_args){0};
    *out_why = NULL;
    struct str rest;
    enum smtp_cmd_err e = take_path(arg, STR("FROM:"), "FROM:<address> is expected", &out->from,
                                    &out->had_route, &rest, out_why);
    while (e == SMTP_CMD_OK && rest.n > 0) {
        struct param p;
        if (take_param(&rest, &p))
            e = mail_param(&p, allowed, out, out_why);
        else
            e = fail(SMTP_CMD_SYNTAX, "a parameter is malformed", out_why);
    }
    if (e == SMTP_CMD_OK && out->from.is_utf8 && !out->smtputf8)
        e = fail(SMTP_CMD_NEEDS_UTF8, "an address outside ASCII needs SMTPUTF8", out_why);
    return e;
}

enum smtp_cmd_err smtp_rcpt_parse(struct str arg, bool utf8, unsigned allowed, struct smtp_rcpt_args *out,
                                  const char **out_why)
{
    UNUSED(allowed); /* none of SMTP_PARAM_* belongs to RCPT */
    *out = (struct smtp_rcpt_args){0};
    *out_why = NULL;
    struct str rest;
    enum smtp_cmd_err e =
        take_path(arg, STR("TO:"), "TO:<address> is expected", &out->to, &out->had_route, &rest, out_why);
    if (e != SMTP_CMD_OK)
        return e;
    if (out->to.text.n == 0)
        return fail(SMTP_CMD_BAD_ADDRESS, "a recipient can't be empty", out_why);
    if (out->to.is_utf8 && !utf8)
        return fail(SMTP_CMD_NEEDS_UTF8, "an address outside ASCII needs SMTPUTF8", out_why);
    struct param p;
    if (rest.n == 0)
        return SMTP_CMD_OK;
    if (!take_param(&rest, &p))
        return fail(SMTP_CMD_SYNTAX, "a parameter is malformed", out_why);
    return fail(SMTP_CMD_UNKNOWN_PARAM, "a parameter is not known here", out_why);
}

enum smtp_cmd_err smtp_bdat_parse(struct str arg, uint64_t *out_size, bool *out_last, const char **out_why)
{
    *out_why = NULL;
    struct str size = str_cut(&arg, ' ');
    arg = str_trim(arg);
    *out_last = str_ieq(arg, STR("LAST"));
    if (!str_to_u64(size, UINT64_MAX, out_size))
        return fail(SMTP_CMD_SYNTAX, "BDAT needs the size of the chunk", out_why);
    if (arg.n > 0 && !*out_last)
        return fail(SMTP_CMD_SYNTAX, "only LAST may follow the size of a chunk", out_why);
    return SMTP_CMD_OK;
}
