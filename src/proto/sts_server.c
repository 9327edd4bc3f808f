#include "proto/sts_server.h"

#include "base/limits.h"

static const struct sts_page *find(struct str domain, const struct sts_page *list, size_t n)
{
    size_t from = 0;
    while (n > 0) {
        size_t half = n / 2;
        int order = str_cmp(list[from + half].domain, domain);
        if (order == 0)
            return &list[from + half];
        if (order < 0) {
            from += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return NULL;
}

/* The host without its port and without a final dot, lower case. */
static struct str name_of(struct str host, char mem[DNS_NAME_MAX])
{
    size_t colon = str_rchr(host, ':');
    if (colon != STR_NPOS) {
        for (size_t i = colon + 1; i < host.n; i++) {
            if (!ascii_is_digit(host.p[i]))
                return STR_NIL;
        }
        host = str_slice(host, 0, colon);
    }
    if (str_ends(host, STR(".")))
        host.n--;
    if (host.n > DNS_NAME_MAX)
        return STR_NIL;
    for (size_t i = 0; i < host.n; i++)
        mem[i] = ascii_lower(host.p[i]);
    return str_of(mem, host.n);
}

unsigned sts_reply(struct str request, const struct sts_page *list, size_t n, struct buf *out)
{
    static const struct str front = STR_INIT("mta-sts.");
    struct http_head head;
    struct str host = STR_NIL;
    char mem[DNS_NAME_MAX];
    unsigned status = http_read(request, &head);
    if (status == 0 && !http_host(&head, &host))
        status = 400;
    if (status != 0)
        return http_say(out, status, "text/plain", NULL, head.is_head);
    struct str path = http_path(head.target, STR("https://"), &host);
    struct str name = name_of(host, mem);
    const struct sts_page *page = str_eq(path, STR("/.well-known/mta-sts.txt")) && str_starts(name, front)
                                      ? find(str_skip(name, front.n), list, n)
                                      : NULL;
    if (page == NULL)
        return http_say(out, 404, "text/plain", NULL, head.is_head);
    return http_say(out, 200, "text/plain", &page->policy, head.is_head);
}
