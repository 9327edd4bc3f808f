#include "proto/sasl_oauth.h"

#include "base/must.h"

#define KVSEP '\1'

/* A bearer token's characters are narrower (RFC 6750 2.1), but old ones of some services have others. */
static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    }
    return true;
}

static bool take_auth(struct str value, struct str *token)
{
    if (value.n == 0)
        return true;
    if (!str_istarts(value, STR("Bearer ")))
        return false;
    *token = str_trim(str_skip(value, 7));
    return token->n <= SASL_TOKEN_MAX && is_printable(*token);
}

struct pairs {
    bool has_auth, has_user;
};

static bool take_pair(struct str pair, enum sasl_mechanism m, struct pairs *seen, struct sasl_oauth *out)
{
    bool has_value = str_chr(pair, '=') != STR_NPOS;
    struct str value = pair;
    struct str key = str_cut(&value, '=');
    for (size_t i = 0; i < key.n; i++) {
        if (!ascii_is_alpha(key.p[i]))
            return false;
    }
    if (!has_value || key.n == 0)
        return false;
    if (str_ieq(key, STR("auth"))) {
        bool is_new = !seen->has_auth;
        seen->has_auth = true;
        return is_new && take_auth(value, &out->token);
    }
    if (m == SASL_XOAUTH2 && str_ieq(key, STR("user"))) {
        bool is_new = !seen->has_user;
        seen->has_user = true;
        out->user = value;
        return is_new && sasl_is_text_up_to(value, SASL_NAME_MAX);
    }
    uint64_t port;
    if (str_ieq(key, STR("port")))
        return str_to_u64(value, UINT16_MAX, &port);
    return sasl_is_text(value);
}

bool sasl_take_oauth(enum sasl_mechanism m, struct str message, struct sasl_oauth *out)
{
    struct pairs seen = {0};
    struct str rest = message;
    *out = (struct sasl_oauth){0};
    if (message.n > SASL_RESPONSE_MAX)
        return false;
    if (m == SASL_OAUTHBEARER) {
        struct sasl_gs2 gs2;
        if (!sasl_take_gs2(&rest, &gs2) || gs2.flag == 'p' || !sasl_is_text(gs2.authzid) || rest.n == 0 ||
            rest.p[0] != KVSEP)
            return false;
        out->user = gs2.authzid;
        rest = str_skip(rest, 1);
    }
    while (rest.n > 0 && rest.p[0] != KVSEP) {
        if (str_chr(rest, KVSEP) == STR_NPOS || !take_pair(str_cut(&rest, KVSEP), m, &seen, out))
            return false;
    }
    return rest.n == 1 && (m == SASL_OAUTHBEARER || seen.has_user);
}

void sasl_put_oauth(struct buf *out, enum sasl_mechanism m, struct str user, struct str host, uint16_t port,
                    struct str token)
{
    if (m == SASL_OAUTHBEARER) {
        buf_put(out, STR("n,"));
        if (user.n > 0)
            buf_put(out, STR("a="));
        sasl_put_saslname(out, user);
        buf_put(out, STR(",\1"));
        if (host.n > 0) {
            buf_put(out, STR("host="));
            buf_put(out, host);
            buf_putc(out, KVSEP);
        }
        if (port != 0)
            buf_printf(out, "port=%u\1", port);
    } else {
        must(m == SASL_XOAUTH2);
        buf_put(out, STR("user="));
        buf_put(out, user);
        buf_putc(out, KVSEP);
    }
    buf_put(out, STR("auth=Bearer "));
    buf_put(out, token);
    buf_put(out, STR("\1\1"));
}

static void put_member(struct buf *out, const char *key, struct str value)
{
    if (value.n == 0)
        return;
    buf_printf(out, ",\"%s\":\"", key);
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\')
            buf_putc(out, '\\');
        if ((unsigned char)value.p[i] >= ' ')
            buf_putc(out, value.p[i]);
    }
    buf_putc(out, '"');
}

void sasl_put_oauth_error(struct buf *out, enum sasl_mechanism m, struct str scope, struct str configuration)
{
    if (m == SASL_XOAUTH2)
        buf_puts(out, "{\"status\":\"401\",\"schemes\":\"bearer\"");
    else
        buf_puts(out, "{\"status\":\"invalid_token\"");
    put_member(out, "scope", scope);
    if (m == SASL_OAUTHBEARER)
        put_member(out, "openid-configuration", configuration);
    buf_putc(out, '}');
}
