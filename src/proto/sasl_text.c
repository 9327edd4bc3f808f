#include "proto/sasl_text.h"

#include "wire/utf8.h"

struct row {
    struct str name;
    bool is_scram, is_plus;
    enum scram_hash hash;
};

static const struct row *row_of(enum sasl_mechanism m)
{
    static const struct row rows[SASL_MECHANISMS] = {
        [SASL_NONE] = {.name = {NULL, 0}},
        [SASL_EXTERNAL] = {.name = STR_INIT("EXTERNAL")},
        [SASL_SCRAM_SHA256_PLUS] = {STR_INIT("SCRAM-SHA-256-PLUS"), true, true, SCRAM_SHA256},
        [SASL_SCRAM_SHA1_PLUS] = {STR_INIT("SCRAM-SHA-1-PLUS"), true, true, SCRAM_SHA1},
        [SASL_SCRAM_SHA256] = {STR_INIT("SCRAM-SHA-256"), true, false, SCRAM_SHA256},
        [SASL_SCRAM_SHA1] = {STR_INIT("SCRAM-SHA-1"), true, false, SCRAM_SHA1},
        [SASL_OAUTHBEARER] = {.name = STR_INIT("OAUTHBEARER")},
        [SASL_XOAUTH2] = {.name = STR_INIT("XOAUTH2")},
        [SASL_PLAIN] = {.name = STR_INIT("PLAIN")},
        [SASL_LOGIN] = {.name = STR_INIT("LOGIN")},
    };
    must((size_t)m < SASL_MECHANISMS);
    return &rows[m];
}

const char *sasl_failure_text(enum sasl_failure f)
{
    static const char *const texts[] = {
        [SASL_FAIL_NONE] = "no failure",
        [SASL_FAIL_CREDENTIALS] = "wrong credentials",
        [SASL_FAIL_TEMPORARY] = "temporary trouble",
        [SASL_FAIL_MALFORMED] = "a message that is not of the mechanism",
        [SASL_FAIL_TOO_BIG] = "a message over the limit",
        [SASL_FAIL_UNKNOWN] = "an unknown mechanism",
        [SASL_FAIL_NOT_OFFERED] = "a mechanism that is not offered",
        [SASL_FAIL_BINDING] = "the channel binding does not match",
        [SASL_FAIL_DOWNGRADE] = "the client was not offered the channel binding that was offered",
        [SASL_FAIL_AUTHZID] = "the authorization identity is not that of the login",
        [SASL_FAIL_CANCELLED] = "cancelled by the client",
        [SASL_FAIL_SERVER] = "the server did not prove itself",
        [SASL_FAIL_COST] = "the server's iteration count is out of bounds",
    };
    must((size_t)f < ARRAY_LEN(texts));
    return texts[f];
}

struct str sasl_name(enum sasl_mechanism m)
{
    return row_of(m)->name;
}

enum sasl_mechanism sasl_of_name(struct str name)
{
    for (unsigned m = SASL_NONE + 1; m < SASL_MECHANISMS; m++) {
        if (str_ieq(name, row_of((enum sasl_mechanism)m)->name))
            return (enum sasl_mechanism)m;
    }
    return SASL_NONE;
}

unsigned sasl_of_list(struct str list)
{
    unsigned mask = 0;
    while (list.n > 0) {
        enum sasl_mechanism m = sasl_of_name(str_cut(&list, ' '));
        if (m != SASL_NONE)
            mask |= SASL_BIT(m);
    }
    return mask;
}

void sasl_put_list(unsigned mask, struct buf *out)
{
    bool is_first = true;
    for (unsigned m = SASL_NONE + 1; m < SASL_MECHANISMS; m++) {
        if ((mask & SASL_BIT(m)) == 0)
            continue;
        if (!is_first)
            buf_putc(out, ' ');
        buf_put(out, sasl_name((enum sasl_mechanism)m));
        is_first = false;
    }
}

bool sasl_is_scram(enum sasl_mechanism m)
{
    return row_of(m)->is_scram;
}

bool sasl_is_plus(enum sasl_mechanism m)
{
    return row_of(m)->is_plus;
}

enum scram_hash sasl_hash(enum sasl_mechanism m)
{
    must(sasl_is_scram(m));
    return row_of(m)->hash;
}

bool sasl_is_text(struct str s)
{
    if (str_has_ctl(s))
        return false;
    while (s.n > 0) {
        uint32_t code;
        size_t n = utf8_next(s, &code);
        if (n == 0 || utf8_is_control(code))
            return false;
        s = str_skip(s, n);
    }
    return true;
}

bool sasl_is_text_up_to(struct str s, size_t max)
{
    return s.n > 0 && s.n <= max && sasl_is_text(s);
}

void sasl_put_saslname(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == ',')
            buf_put(out, STR("=2C"));
        else if (name.p[i] == '=')
            buf_put(out, STR("=3D"));
        else
            buf_putc(out, name.p[i]);
    }
}

bool sasl_take_saslname(struct str text, struct buf *out)
{
    while (text.n > 0) {
        size_t n = 1;
        char c = text.p[0];
        if (c == ',')
            return false;
        if (c == '=') {
            bool is_comma = str_starts(text, STR("=2C"));
            if (!is_comma && !str_starts(text, STR("=3D")))
                return false;
            c = is_comma ? ',' : '=';
            n = 3;
        }
        if (!buf_putc(out, c))
            return false;
        text = str_skip(text, n);
    }
    return true;
}

/* cb-name of RFC 5801 4. */
static bool is_binding_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
            return false;
    }
    return s.n > 0;
}

bool sasl_take_gs2(struct str *s, struct sasl_gs2 *out)
{
    struct str rest = *s;
    *out = (struct sasl_gs2){0};
    size_t comma = str_chr(rest, ',');
    if (comma == STR_NPOS || str_chr(str_skip(rest, comma + 1), ',') == STR_NPOS)
        return false;
    struct str flag = str_cut(&rest, ',');
    struct str authzid = str_cut(&rest, ',');
    if (str_starts(flag, STR("p="))) {
        out->binding = str_skip(flag, 2);
        if (!is_binding_name(out->binding))
            return false;
    } else if (!str_eq(flag, STR("n")) && !str_eq(flag, STR("y"))) {
        return false;
    }
    out->flag = flag.p[0];
    if (authzid.n > 0) {
        if (authzid.n < 3 || !str_starts(authzid, STR("a=")))
            return false;
        out->authzid = str_skip(authzid, 2);
    }
    out->text = str_slice(*s, 0, s->n - rest.n);
    *s = rest;
    return true;
}
