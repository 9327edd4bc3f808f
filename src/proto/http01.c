#include "proto/http01.h"

static bool is_base64url(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    }
    return s.n > 0;
}

bool http01_is_token(struct str s)
{
    return s.n <= HTTP01_TOKEN_MAX && is_base64url(s);
}

bool http01_is_answer(struct str token, struct str answer)
{
    return answer.n <= HTTP01_ANSWER_MAX && str_starts(answer, token) && answer.n > token.n &&
           answer.p[token.n] == '.' && is_base64url(str_skip(answer, token.n + 1));
}

static const struct http01_challenge *find(struct str path, const struct http01_challenge *list, size_t n)
{
    static const struct str folder = STR_INIT("/.well-known/acme-challenge/");
    if (!str_starts(path, folder))
        return NULL;
    path = str_skip(path, folder.n);
    for (size_t i = 0; i < n; i++) {
        if (str_eq(path, str_of(list[i].token, list[i].n_token)))
            return &list[i];
    }
    return NULL;
}

/* Host and the other fields are not looked at: the token says all. */
unsigned http01_reply(struct str request, const struct http01_challenge *list, size_t n, struct buf *out)
{
    struct http_head head;
    struct str host, answer;
    unsigned status = http_read(request, &head);
    if (status != 0)
        return http_say(out, status, "text/plain", NULL, false);
    const struct http01_challenge *c = find(http_path(head.target, STR("http://"), &host), list, n);
    if (c == NULL)
        return http_say(out, 404, "text/plain", NULL, head.is_head);
    answer = str_of(c->answer, c->n_answer);
    return http_say(out, 200, "application/octet-stream", &answer, head.is_head);
}
