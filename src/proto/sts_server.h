/* proto/sts_server.h: a web server of policies of MTA-STS (RFC 8461 3.3): one page a domain, at the host
 * mta-sts.DOMAIN, and nothing else.
 *
 * Owns:     nothing: the caller has the octets that came, and the pages.
 * Limits:   those of http_head.h; a page and its head.
 * Errors:   what is no request is answered 400, what is too long 431, another method 405, another host or
 * path 404. Security: as in http_head.h. Which of the pages is meant is what the request says and not the
 * name that TLS was asked for: all of them are public.
 */
#pragma once
#include "proto/http_head.h"

struct sts_page {
    struct str domain; /* A-labels, lower case */
    struct str policy;
};
/* The answer to what http_is_whole() said yes to; the connection ends behind it. list is sorted by domain
 * (str_cmp). Gives the status, for the log. */
unsigned sts_reply(struct str request, const struct sts_page *list, size_t n, struct buf *out);
