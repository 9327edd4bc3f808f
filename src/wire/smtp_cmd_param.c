#include "wire/smtp_cmd_param.h"

#include "base/limits.h"
#include "wire/date.h"

enum {
    SIZE_DIGITS_MAX = 20, /* RFC 1870 3 */
    TIME_DIGITS_MAX = 9,  /* RFC 2852 4, RFC 4865 3 */
    ADDR_TYPE_MAX = 32,
};

bool smtp_param_take(struct str *s, struct smtp_param *out)
{
    struct str word = str_cut(s, ' ');
    while (s->n > 0 && s->p[0] == ' ')
        *s = str_skip(*s, 1);
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
        unsigned char c = (unsigned char)word.p[i];
        if (c <= 0x20 || c == '=' || c == 0x7f)
            return false;
    }
    return utf8_is_valid(word);
}

static bool all_digits(struct str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]))
            return false;
    }
    return s.n > 0 && s.n <= max;
}

/* ---- of MAIL ------------------------------------------------------------------------------------------- */

static const char *take_size(const struct smtp_param *p, struct smtp_mail_args *out)
{
    if (!p->has_value || !all_digits(p->value, SIZE_DIGITS_MAX))
        return "SIZE needs a number of at most 20 digits";
    if (!str_to_u64(p->value, UINT64_MAX, &out->size))
        out->size = UINT64_MAX; /* 20 digits are allowed and may be too many for us: larger than any limit */
    return NULL;
}

static const char *take_body(const struct smtp_param *p, struct smtp_mail_args *out)
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

static const char *take_smtputf8(const struct smtp_param *p, struct smtp_mail_args *out)
{
    out->smtputf8 = true;
    return p->has_value ? "SMTPUTF8 takes no value" : NULL;
}

static const char *take_ret(const struct smtp_param *p, struct smtp_mail_args *out)
{
    if (p->has_value && str_ieq(p->value, STR("FULL")))
        out->ret = DSN_RET_FULL;
    else if (p->has_value && str_ieq(p->value, STR("HDRS")))
        out->ret = DSN_RET_HDRS;
    else
        return "RET is FULL or HDRS";
    return NULL;
}

/* No control character, nothing outside ASCII: it will stand in a field of a report (RFC 3461 4.2, 4.4). */
static bool is_printable(struct str s)
{
    return s.n > 0 && str_is_ascii(s) && !str_has_ctl(s);
}

static const char *take_envid(const struct smtp_param *p, struct smtp_mail_args *out)
{
    char mem[DSN_ENVID_MAX];
    struct buf decoded;
    buf_init_fixed(&decoded, mem, sizeof mem);
    if (!p->has_value || !xtext_decode(p->value, &decoded) || !is_printable(buf_str(&decoded)))
        return "ENVID needs xtext of RFC 3461 4, at most 100 printable characters";
    out->envid = p->value;
    return NULL;
}

/* by-value of RFC 2852 4. A "+" may stand before the number. */
static const char *take_by(const struct smtp_param *p, struct smtp_mail_args *out)
{
    static const char form[] = "BY needs seconds;N or seconds;R, with a T behind it for a trace";
    uint64_t n;
    struct str mode = p->value;
    struct str time = str_cut(&mode, ';');
    bool is_negative = str_starts(time, STR("-"));
    if (is_negative || str_starts(time, STR("+")))
        time = str_skip(time, 1);
    if (!all_digits(time, TIME_DIGITS_MAX) || !str_to_u64(time, INT32_MAX, &n) || mode.n < 1 || mode.n > 2)
        return form;
    char c = ascii_lower(mode.p[0]);
    if ((c != 'n' && c != 'r') || (mode.n == 2 && ascii_lower(mode.p[1]) != 't'))
        return form;
    out->by_mode = c == 'r' ? BY_RETURN : BY_NOTIFY;
    out->by_trace = mode.n == 2;
    out->by_s = is_negative ? -(int32_t)n : (int32_t)n;
    return out->by_mode == BY_RETURN && out->by_s <= 0 ? "BY with R needs a time over 0" : NULL;
}

/* RFC 6710 4: a digit with or without "-", no "-0". */
static const char *take_priority(const struct smtp_param *p, struct smtp_mail_args *out)
{
    struct str v = p->value;
    bool is_negative = str_starts(v, STR("-"));
    v = str_skip(v, is_negative);
    if (v.n != 1 || !ascii_is_digit(v.p[0]) || (is_negative && v.p[0] == '0'))
        return "MT-PRIORITY is a number from -9 to 9";
    out->priority = (int8_t)((v.p[0] - '0') * (is_negative ? -1 : 1));
    return NULL;
}

static const char *one_hold(const struct smtp_mail_args *out)
{
    enum { BOTH = SMTP_PARAM_HOLDFOR | SMTP_PARAM_HOLDUNTIL };
    return (out->params & BOTH) == BOTH ? "HOLDFOR and HOLDUNTIL exclude each other" : NULL;
}

static const char *take_holdfor(const struct smtp_param *p, struct smtp_mail_args *out)
{
    uint64_t n;
    if (!all_digits(p->value, TIME_DIGITS_MAX) || p->value.p[0] == '0' ||
        !str_to_u64(p->value, INT32_MAX, &n))
        return "HOLDFOR needs seconds, 1 to 999999999";
    out->hold_for_s = (uint32_t)n;
    return one_hold(out);
}

static const char *take_holduntil(const struct smtp_param *p, struct smtp_mail_args *out)
{
    if (!date_parse_rfc3339(p->value, &out->hold_until_s))
        return "HOLDUNTIL needs a date such as 2030-12-31T23:59:00Z";
    return one_hold(out);
}

static const char *take_requiretls(const struct smtp_param *p, struct smtp_mail_args *out)
{
    out->requiretls = true;
    return p->has_value ? "REQUIRETLS takes no value" : NULL;
}

static const char *take_prdr(const struct smtp_param *p, struct smtp_mail_args *out)
{
    out->prdr = true;
    return p->has_value ? "PRDR takes no value" : NULL;
}

/* RFC 4954 5: who gave the message in, as the client says; its form only, for nothing is done with it. */
static const char *take_auth(const struct smtp_param *p, struct smtp_mail_args *out)
{
    char mem[SMTP_PATH_MAX];
    struct buf decoded;
    UNUSED(out);
    buf_init_fixed(&decoded, mem, sizeof mem);
    return p->has_value && xtext_decode(p->value, &decoded) && is_printable(buf_str(&decoded))
               ? NULL
               : "AUTH needs an address or <> as xtext (RFC 4954 5)";
}

static enum smtp_cmd_err fail(enum smtp_cmd_err e, const char *why, const char **out_why)
{
    *out_why = why;
    return e;
}

/* Is it a new one? */
static enum smtp_cmd_err mark(unsigned flag, unsigned *params, const char **out_why)
{
    if ((*params & flag) != 0)
        return fail(SMTP_CMD_DUPLICATE_PARAM, "a parameter stands there twice", out_why);
    *params |= flag;
    return SMTP_CMD_OK;
}

static enum smtp_cmd_err unknown(const char **out_why)
{
    return fail(SMTP_CMD_UNKNOWN_PARAM, "a parameter is not known here", out_why);
}

enum smtp_cmd_err smtp_param_of_mail(const struct smtp_param *p, unsigned allowed, struct smtp_mail_args *out,
                                     const char **out_why)
{
    static const struct {
        struct str keyword;
        unsigned flag;
        const char *(*take)(const struct smtp_param *p, struct smtp_mail_args *out);
    } known[] = {
        {STR_INIT("SIZE"), SMTP_PARAM_SIZE, take_size},
        {STR_INIT("BODY"), SMTP_PARAM_BODY, take_body},
        {STR_INIT("SMTPUTF8"), SMTP_PARAM_SMTPUTF8, take_smtputf8},
        {STR_INIT("RET"), SMTP_PARAM_RET, take_ret},
        {STR_INIT("ENVID"), SMTP_PARAM_ENVID, take_envid},
        {STR_INIT("BY"), SMTP_PARAM_BY, take_by},
        {STR_INIT("MT-PRIORITY"), SMTP_PARAM_PRIORITY, take_priority},
        {STR_INIT("HOLDFOR"), SMTP_PARAM_HOLDFOR, take_holdfor},
        {STR_INIT("HOLDUNTIL"), SMTP_PARAM_HOLDUNTIL, take_holduntil},
        {STR_INIT("REQUIRETLS"), SMTP_PARAM_REQUIRETLS, take_requiretls},
        {STR_INIT("PRDR"), SMTP_PARAM_PRDR, take_prdr},
        {STR_INIT("AUTH"), SMTP_PARAM_AUTH, take_auth},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!str_ieq(p->keyword, known[i].keyword) || (known[i].flag & allowed) == 0)
            continue;
        enum smtp_cmd_err e = mark(known[i].flag, &out->params, out_why);
        const char *why = e == SMTP_CMD_OK ? known[i].take(p, out) : NULL;
        return why == NULL ? e : fail(SMTP_CMD_SYNTAX, why, out_why);
    }
    return unknown(out_why);
}

/* ---- of RCPT ------------------------------------------------------------------------------------------- */

/* RFC 3461 4.1: NEVER stands alone; each of the others at most once. */
static const char *take_notify(const struct smtp_param *p, bool utf8, struct smtp_rcpt_args *out)
{
    static const char form[] = "NOTIFY is NEVER, or some of SUCCESS, FAILURE, DELAY with commas between";
    struct str rest = p->value;
    UNUSED(utf8);
    if (!p->has_value || str_ends(rest, STR(",")))
        return form;
    while (rest.n > 0) {
        uint8_t bit = notify_bit(str_cut(&rest, ','));
        if (bit == 0 || (out->notify & bit) != 0)
            return form;
        out->notify |= bit;
    }
    bool is_never = (out->notify & NOTIFY_NEVER) != 0;
    return is_never && out->notify != NOTIFY_NEVER ? "NOTIFY=NEVER stands alone" : NULL;
}

static const char *take_orcpt(const struct smtp_param *p, bool utf8, struct smtp_rcpt_args *out)
{
    char mem[DSN_ORCPT_MAX];
    struct buf decoded;
    buf_init_fixed(&decoded, mem, sizeof mem);
    if (!p->has_value || !smtp_orcpt_decode(p->value, &decoded))
        return "ORCPT needs type;address, the address as xtext of RFC 3461 4, at most 500 octets";
    /* RFC 6533 3: utf-8-addr-unitext only where SMTPUTF8 was said */
    if (!utf8 && !str_is_ascii(p->value))
        return "ORCPT outside ASCII needs SMTPUTF8, or the form utf-8;\\x{HEX}";
    out->orcpt = p->value;
    return NULL;
}

enum smtp_cmd_err smtp_param_of_rcpt(const struct smtp_param *p, unsigned allowed, bool utf8,
                                     struct smtp_rcpt_args *out, const char **out_why)
{
    static const struct {
        struct str keyword;
        unsigned flag;
        const char *(*take)(const struct smtp_param *p, bool utf8, struct smtp_rcpt_args *out);
    } known[] = {
        {STR_INIT("NOTIFY"), SMTP_PARAM_NOTIFY, take_notify},
        {STR_INIT("ORCPT"), SMTP_PARAM_ORCPT, take_orcpt},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!str_ieq(p->keyword, known[i].keyword) || (known[i].flag & allowed) == 0)
            continue;
        enum smtp_cmd_err e = mark(known[i].flag, &out->params, out_why);
        const char *why = e == SMTP_CMD_OK ? known[i].take(p, utf8, out) : NULL;
        return why == NULL ? e : fail(SMTP_CMD_SYNTAX, why, out_why);
    }
    return unknown(out_why);
}

/* ---- the original recipient ---------------------------------------------------------------------------- */

/* utf-8-enc-addr of RFC 6533 3: "\x{HEX}" for what may not stand there itself. Of the plain ASCII characters
 * only space, "+", "=" and "\" may be written so: two spellings of one address would defeat comparison. */
static bool decode_utf8_addr(struct str s, struct buf *out)
{
    while (s.n > 0) {
        uint32_t code;
        if (s.p[0] != '\\') {
            char c = s.p[0];
            if (c == '+' || c == '=' || !buf_putc(out, c))
                return false;
            s = str_skip(s, 1);
            continue;
        }
        size_t n = utf8_xtext_point(s, &code);
        if (n == 0 || (n > sizeof "\\x{00}" - 1 && s.p[3] == '0')) /* HEXPOINT: no zero pads it */
            return false;
        if (code < 0x80 && code != ' ' && code != '+' && code != '=' && code != '\\')
            return false;
        if (!utf8_put(code, out))
            return false;
        s = str_skip(s, n);
    }
    return true;
}

/* Postfix (3.7) writes an address of SMTPUTF8 as "rfc822;" and the octets of UTF-8 in xtext. That is no
 * address of the type rfc822, and is one of the type utf-8: it becomes that. Postfix and Exim take such ORCPT
 * as well. */
static bool decode_orcpt(struct str s, struct buf *out)
{
    size_t start = out->n;
    struct str addr = s;
    struct str type = str_cut(&addr, ';');
    if (type.n == 0 || type.n > ADDR_TYPE_MAX || addr.n == 0)
        return false;
    for (size_t i = 0; i < type.n; i++) {
        if (!ascii_is_alnum(type.p[i]) && type.p[i] != '-')
            return false;
    }
    if (!buf_put(out, type) || !buf_putc(out, ';'))
        return false;
    size_t at = out->n;
    bool is_utf8 = str_ieq(type, STR("utf-8"));
    if (is_utf8 ? !decode_utf8_addr(addr, out) : !xtext_decode(addr, out))
        return false;
    struct str decoded = str_of(out->p + at, out->n - at);
    if (!is_utf8 && !str_is_ascii(decoded)) {
        if (!str_ieq(type, STR("rfc822")) || !utf8_is_valid(decoded))
            return false;
        out->n = start;
        if (!buf_puts(out, "utf-8;") || !xtext_decode(addr, out))
            return false;
    }
    struct str all = str_of(out->p + start, out->n - start);
    return all.n <= DSN_ORCPT_MAX && !str_has_ctl(all);
}

bool smtp_orcpt_decode(struct str s, struct buf *out)
{
    size_t start = out->n;
    bool ok = decode_orcpt(s, out);
    if (!ok)
        out->n = start;
    return ok;
}
