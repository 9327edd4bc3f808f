/* Command lines: an error has a phrase, a success has an address that parses and parameters that were
 * allowed. */
#include "base/limits.h"
#include "wire/smtp_cmd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_why(enum smtp_cmd_err e, const char *why)
{
    must((e == SMTP_CMD_OK) == (why == NULL));
    if (why != NULL) {
        struct str s = str_from_c(why);
        must(s.n > 0 && str_is_ascii(s) && !str_has_ctl(s));
    }
}

static void check_mail(struct str arg, unsigned allowed)
{
    struct smtp_mail_args a;
    struct address again;
    const char *why;
    enum smtp_cmd_err e = smtp_mail_parse(arg, allowed, &a, &why);
    check_why(e, why);
    if (e != SMTP_CMD_OK)
        return;
    must((a.params & ~allowed) == 0);
    must(a.smtputf8 == ((a.params & SMTP_PARAM_SMTPUTF8) != 0));
    must(!a.from.is_utf8 || a.smtputf8);
    must(a.size == 0 || (a.params & SMTP_PARAM_SIZE) != 0);
    must(a.body == SMTP_BODY_7BIT || (a.params & SMTP_PARAM_BODY) != 0);
    must(a.ret == DSN_RET_NONE || (a.params & SMTP_PARAM_RET) != 0);
    must((a.envid.n > 0) == ((a.params & SMTP_PARAM_ENVID) != 0));
    must((a.by_mode != BY_NONE) == ((a.params & SMTP_PARAM_BY) != 0));
    must(a.by_mode != BY_RETURN || a.by_s > 0);
    must(a.priority >= MT_PRIORITY_MIN && a.priority <= MT_PRIORITY_MAX);
    must(a.hold_for_s == 0 || (a.params & (SMTP_PARAM_HOLDFOR | SMTP_PARAM_HOLDUNTIL)) == SMTP_PARAM_HOLDFOR);
    must(a.from.text.n == 0 || address_parse(a.from.text, a.smtputf8, &again) == NULL);
}

static void check_rcpt(struct str arg, bool utf8)
{
    struct smtp_rcpt_args a;
    struct address again;
    const char *why;
    enum smtp_cmd_err e = smtp_rcpt_parse(arg, utf8, SMTP_PARAMS_ALL, &a, &why);
    check_why(e, why);
    if (e != SMTP_CMD_OK)
        return;
    must(a.to.text.n > 0 && address_parse(a.to.text, utf8, &again) == NULL);
    must((a.notify != 0) == ((a.params & SMTP_PARAM_NOTIFY) != 0));
    must((a.notify & NOTIFY_NEVER) == 0 || a.notify == NOTIFY_NEVER);
    char mem[DSN_ORCPT_MAX];
    struct buf decoded;
    buf_init_fixed(&decoded, mem, sizeof mem);
    if (a.orcpt.n > 0)
        must(smtp_orcpt_decode(a.orcpt, &decoded) && decoded.n <= a.orcpt.n &&
             !str_has_ctl(buf_str(&decoded)) && utf8_is_valid(buf_str(&decoded)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str verb, arg;
    uint64_t chunk;
    bool last;
    const char *why;
    smtp_cmd_split(str_of(data, size), &verb, &arg);
    for (size_t i = 0; i < verb.n; i++)
        must(ascii_is_alpha(verb.p[i]));
    must(verb.n + arg.n <= size && (arg.n == 0 || (arg.p[0] != ' ' && arg.p[arg.n - 1] != ' ')));
    for (unsigned allowed = 0; allowed < 8; allowed++)
        check_mail(arg, allowed);
    check_mail(arg, SMTP_PARAMS_ALL);
    check_rcpt(arg, false);
    check_rcpt(arg, true);
    enum smtp_cmd_err e = smtp_bdat_parse(arg, &chunk, &last, &why);
    check_why(e, why);
    return 0;
}
