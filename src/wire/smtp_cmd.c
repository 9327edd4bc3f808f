#include "wire/smtp_cmd.h"

#include "wire/smtp_cmd_param.h"

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

static enum smtp_cmd_err fail(enum smtp_cmd_err e, const char *why, const char **out_why)
{
    *out_why = why;
    return e;
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
        struct smtp_param p;
        if (smtp_param_take(&rest, &p))
            e = smtp_param_of_mail(&p, allowed, out, out_why);
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
    while (e == SMTP_CMD_OK && rest.n > 0) {
        struct smtp_param p;
        if (smtp_param_take(&rest, &p))
            e = smtp_param_of_rcpt(&p, allowed, utf8, out, out_why);
        else
            e = fail(SMTP_CMD_SYNTAX, "a parameter is malformed", out_why);
    }
    return e;
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
