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

/* The end of the line that begins at `from`, without it; STR_NPOS: it has not come. Bare LF ends one, too
 * (RFC 9112 2.2). */
static size_t line_end(struct str s, size_t from)
{
    size_t n = str_chr(str_skip(s, from), '\n');
    return n == STR_NPOS ? STR_NPOS : from + n;
}

static struct str without_cr(struct str line)
{
    return str_ends(line, STR("\r")) ? str_slice(line, 0, line.n - 1) : line;
}

bool http01_is_whole(struct str request)
{
    size_t at = 0, end;
    while ((end = line_end(request, at)) != STR_NPOS && end < HTTP01_HEAD_MAX) {
        if (without_cr(str_slice(request, at, end)).n == 0)
            return true;
        at = end + 1;
    }
    return request.n >= HTTP01_HEAD_MAX;
}

/* METHOD SP TARGET SP HTTP/1.x (RFC 9112 3). */
static bool parse_line(struct str line, struct str *method, struct str *target)
{
    *method = str_cut(&line, ' ');
    *target = str_cut(&line, ' ');
    if (method->n == 0 || target->n == 0 || str_has_ctl(*method) || str_has_ctl(*target))
        return false;
    return line.n == 8 && str_starts(line, STR("HTTP/1.")) && ascii_is_digit(line.p[7]);
}

/* Of the absolute form, which a server has to take as well (RFC 9112 3.2.2), the path. */
static struct str path_of(struct str target)
{
    static const struct str scheme = STR_INIT("http://");
    if (!str_istarts(target, scheme))
        return target;
    target = str_skip(target, scheme.n);
    size_t slash = str_chr(target, '/');
    return slash == STR_NPOS ? STR_NIL : str_skip(target, slash);
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

static unsigned say(struct buf *out, unsigned status, const char *reason, struct str body, bool is_head)
{
    buf_printf(out,
               "HTTP/1.1 %u %s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
               "Connection: close\r\n\r\n",
               status, reason, status == 405 ? "Allow: GET, HEAD\r\n" : "",
               status == 200 ? "application/octet-stream" : "text/plain", body.n);
    if (!is_head)
        buf_put(out, body);
    return status;
}

unsigned http01_reply(struct str request, const struct http01_challenge *list, size_t n, struct buf *out)
{
    struct str method, target;
    size_t end = line_end(request, 0);
    if (!http01_is_whole(str_slice(request, 0, HTTP01_HEAD_MAX - 1)))
        return say(out, 431, "Request Header Fields Too Large", STR("too long\n"), false);
    if (end == STR_NPOS || !parse_line(without_cr(str_slice(request, 0, end)), &method, &target))
        return say(out, 400, "Bad Request", STR("not understood\n"), false);
    bool is_head = str_eq(method, STR("HEAD"));
    if (!is_head && !str_eq(method, STR("GET")))
        return say(out, 405, "Method Not Allowed", STR("GET only\n"), false);
    const struct http01_challenge *c = find(path_of(target), list, n);
    if (c == NULL)
        return say(out, 404, "Not Found", STR("nothing here\n"), is_head);
    return say(out, 200, "OK", str_of(c->answer, c->n_answer), is_head);
}
