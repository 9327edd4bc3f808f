#include "service/acme/uacme.h"

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

static void read_challenge(struct str s, struct uacme_line *out)
{
    struct str type, name, token, answer;
    if (take_word(&s, STR("challenge="), &type) && take_word(&s, STR("ident="), &name) &&
        take_word(&s, STR("token="), &token) && take_word(&s, STR("key_auth="), &answer) && s.n == 0 &&
        str_eq(type, STR("http-01")) && http01_is_token(token) && http01_is_answer(token, answer)) {
        out->name = name;
        out->token = token;
        out->answer = answer;
    }
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

enum uacme_says uacme_read(struct str line, struct uacme_line *out)
{
    static const struct str name = STR_INIT("uacme: ");
    *out = (struct uacme_line){.text = STR_NIL};
    if (!str_starts(line, name))
        return read_detail(line, out) ? UACME_DETAIL : UACME_NOTHING;
    line = str_skip(line, name.n);
    if (str_starts(line, STR("challenge="))) {
        read_challenge(line, out);
        return UACME_CHALLENGE;
    }
    if (is_unknown(line))
        return UACME_NO_ACCOUNT;
    if (str_starts(line, STR("type 'y'")) || str_starts(line, STR("terms at ")) || line.n == 0)
        return UACME_NOTHING;
    out->text = line;
    return UACME_TEXT;
}
