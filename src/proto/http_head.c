#include "proto/http_head.h"

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

/* Where its empty line begins; STR_NPOS: it has not come, or too late. */
static size_t head_end(struct str request)
{
    size_t at = 0, end;
    while ((end = line_end(request, at)) != STR_NPOS && end < HTTP_HEAD_MAX) {
        if (without_cr(str_slice(request, at, end)).n == 0)
            return at;
        at = end + 1;
    }
    return STR_NPOS;
}

bool http_is_whole(struct str request)
{
    return head_end(request) != STR_NPOS || request.n >= HTTP_HEAD_MAX;
}

/* METHOD SP TARGET SP HTTP/1.x (RFC 9112 3). */
static bool read_line(struct str line, struct str *method, struct http_head *out)
{
    *method = str_cut(&line, ' ');
    out->target = str_cut(&line, ' ');
    if (method->n == 0 || out->target.n == 0 || str_has_ctl(*method) || str_has_ctl(out->target))
        return false;
    out->is_old = str_ends(line, STR("0"));
    return line.n == 8 && str_starts(line, STR("HTTP/1.")) && ascii_is_digit(line.p[7]);
}

unsigned http_read(struct str request, struct http_head *out)
{
    struct str method;
    size_t end = line_end(request, 0), last = head_end(request);
    *out = (struct http_head){.is_head = false};
    if (last == STR_NPOS)
        return 431;
    if (!read_line(without_cr(str_slice(request, 0, end)), &method, out))
        return 400;
    out->fields = str_slice(request, end + 1, last);
    out->is_head = str_eq(method, STR("HEAD"));
    return out->is_head || str_eq(method, STR("GET")) ? 0 : 405;
}

struct str http_path(struct str target, struct str scheme, struct str *host)
{
    if (!str_istarts(target, scheme))
        return target;
    target = str_skip(target, scheme.n);
    size_t slash = str_chr(target, '/');
    *host = slash == STR_NPOS ? target : str_slice(target, 0, slash);
    return slash == STR_NPOS ? STR_NIL : str_skip(target, slash);
}

/* A token (RFC 9110 5.6.2), without blanks between it and the colon. */
static bool is_field_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_alnum(s.p[i]) && str_chr(STR("!#$%&'*+-.^_`|~"), s.p[i]) == STR_NPOS)
            return false;
    }
    return s.n > 0;
}

static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

bool http_host(const struct http_head *h, struct str *out)
{
    struct str rest = h->fields;
    bool is_there = false;
    *out = STR_NIL;
    while (rest.n > 0) {
        struct str line = without_cr(str_cut(&rest, '\n'));
        size_t colon = str_chr(line, ':');
        if (colon == STR_NPOS || !is_field_name(str_slice(line, 0, colon)) ||
            !is_field_value(str_skip(line, colon + 1)))
            return false;
        if (!str_ieq(str_slice(line, 0, colon), STR("host")))
            continue;
        if (is_there)
            return false;
        is_there = true;
        *out = str_trim(str_skip(line, colon + 1));
    }
    return is_there || h->is_old;
}

unsigned http_say(struct buf *out, unsigned status, const char *type, const struct str *body, bool is_head)
{
    static const struct {
        unsigned status;
        const char *reason, *text;
    } rows[] = {{200, "OK", ""},
                {400, "Bad Request", "not understood\n"},
                {404, "Not Found", "nothing here\n"},
                {405, "Method Not Allowed", "GET only\n"},
                {431, "Request Header Fields Too Large", "too long\n"}};
    size_t i = 0;
    while (rows[i].status != status) {
        i++;
        must(i < ARRAY_LEN(rows));
    }
    struct str said = body != NULL ? *body : str_from_c(rows[i].text);
    buf_printf(out,
               "HTTP/1.1 %u %s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
               "Connection: close\r\n\r\n",
               status, rows[i].reason, status == 405 ? "Allow: GET, HEAD\r\n" : "", type, said.n);
    if (!is_head)
        buf_put(out, said);
    return status;
}
