#include "service/acme/uacme.h"

#include "base/base64.h"
#include "proto/http01.h"

/* "KEY=VALUE" at the front of *s; false: something else stands there. */
static bool take_word(struct str *s, struct str key, struct str *out)
{
    struct str word = str_cut(s, ' ');
    if (!str_starts(word, key))
        return false;
    *out = str_skip(word, key.n);
    return true;
}

/* 43 letters of base64url without padding (RFC 8737 3). */
static bool read_digest(struct str text, unsigned char out[UACME_DIGEST])
{
    char mem[BASE64_SIZE(UACME_DIGEST)];
    struct buf b;
    if (text.n != sizeof mem - 1 || !http01_is_token(text))
        return false;
    for (size_t i = 0; i < text.n; i++)
        mem[i] = text.p[i] == '-' ? '+' : text.p[i] == '_' ? '/' : text.p[i];
    mem[text.n] = '=';
    buf_init_fixed(&b, (char *)out, UACME_DIGEST);
    return base64_take(str_of(mem, sizeof mem), &b) && b.n == UACME_DIGEST;
}

static void read_challenge(struct str s, enum acme_challenge wanted, struct uacme_line *out)
{
    struct str type, name, token, answer;
    bool is_http = wanted == ACME_HTTP_01;
    if (!take_word(&s, STR("challenge="), &type) || !take_word(&s, STR("ident="), &name) ||
        !take_word(&s, STR("token="), &token) || !take_word(&s, STR("key_auth="), &answer) || s.n > 0 ||
        !str_eq(type, is_http ? STR("http-01") : STR("tls-alpn-01")) || !http01_is_token(token) ||
        !(is_http ? http01_is_answer(token, answer) : read_digest(answer, out->digest)))
        return;
    out->name = name;
    out->token = token;
    if (is_http)
        out->answer = answer;
}

/* "detail": "TEXT", as uacme prints an authority's problem document (RFC 7807). */
static bool read_detail(struct str line, struct uacme_line *out)
{
    static const struct str key = STR_INIT("\"detail\": \"");
    line = str_trim(line);
    if (!str_starts(line, key))
        return false;
    line = str_skip(line, key.n);
    if (str_ends(line, STR(",")))
        line = str_slice(line, 0, line.n - 1);
    out->text = str_ends(line, STR("\"")) ? str_slice(line, 0, line.n - 1) : line;
    return out->text.n > 0;
}

/* Neither here, where there is no key of an account yet, nor there. */
static bool is_unknown(struct str text)
{
    return str_starts(text, STR("no account associated with")) ||
           (str_starts(text, STR("failed to access ")) && str_ends(text, STR("/private"))) ||
           str_ends(text, STR("/private/key.pem does not exist"));
}

enum uacme_says uacme_read(struct str line, enum acme_challenge wanted, struct uacme_line *out)
{
    static const struct str name = STR_INIT("uacme: ");
    *out = (struct uacme_line){.text = STR_NIL};
    if (!str_starts(line, name))
        return read_detail(line, out) ? UACME_DETAIL : UACME_NOTHING;
    line = str_skip(line, name.n);
    if (str_starts(line, STR("challenge="))) {
        read_challenge(line, wanted, out);
        return UACME_CHALLENGE;
    }
    if (is_unknown(line))
        return UACME_NO_ACCOUNT;
    if (str_starts(line, STR("type 'y'")) || str_starts(line, STR("terms at ")) || line.n == 0)
        return UACME_NOTHING;
    out->text = line;
    return UACME_TEXT;
}
