/* proto/http_head.h: the front of a request of HTTP/1.1 (RFC 9112), and answers to it, for servers that know
 * one kind of page: http01.h and sts_server.h.
 *
 * Owns:     nothing: the caller has the octets that came; what is taken from them borrows.
 * Limits:   HTTP_HEAD_MAX octets of a request up to its empty line; one request a connection.
 * Errors:   a status that says it: 400, 405, 431.
 * Security: no octet of a request is in an answer; no redirection is ever made.
 */
#pragma once
#include "base/buf.h"

enum {
    HTTP_HEAD_MAX = 4096,
    HTTP_SAID_MAX = 256, /* octets of an answer without its body */
};
struct http_head {
    struct str target; /* as it was sent */
    struct str fields; /* the lines behind the first */
    bool is_head;      /* HEAD: the answer has no body; else GET */
    bool is_old;       /* HTTP/1.0 */
};

/* Is the request as far whole that it can be answered? Octets behind that are not looked at. */
bool http_is_whole(struct str request);
/* Reads what http_is_whole() said yes to. 0: *out is filled; else the status that answers it. */
unsigned http_read(struct str request, struct http_head *out);
/* The path of the target. Of the absolute form, which a server has to take as well (RFC 9112 3.2.2), the part
 * behind the host, which goes to *host; else that is left alone. scheme: "https://". */
struct str http_path(struct str target, struct str scheme, struct str *host);
/* What Host says (RFC 9110 7.2), with its port if it has one; empty where nothing does, which only HTTP/1.0
 * may. false: a line is no field, or Host is missing or there twice: 400 (RFC 9112 3.2, 5.1). */
MUST_USE bool http_host(const struct http_head *h, struct str *out);
/* The answer; without a body for HEAD, which says how long it would be. body NULL: the reason, for people.
 * Gives the status. */
unsigned http_say(struct buf *out, unsigned status, const char *type, const struct str *body, bool is_head);
