/* ext/http.h: an HTTPS client as the roles agent and tables see it; ext/http_curl.c is the real one.
 *
 * Security: nothing is sent before the server has shown a certificate that leads to one of the anchors given
 * and is for the host that the URL names. No redirect is followed, no proxy, cookie, netrc or name server
 * used, no other scheme than https taken. The addresses are the asker's: from a resolver that it trusts.
 */
#pragma once
#include "base/netaddr.h"
#include "base/str.h"

enum http_status {
    HTTP_ANSWERED = 0, /* with any code */
    HTTP_UNREACHABLE,  /* no connection, or it broke */
    HTTP_INSECURE,     /* the certificate is not what it must be, or there is no TLS with this server */
    HTTP_TIMEOUT,
    HTTP_TOO_BIG, /* header or body */
    HTTP_BROKEN,  /* what it says is no HTTP, or ends in the middle */
    HTTP_FAILED,  /* we could not: no memory */
};
struct http_request { /* borrowed during the call */
    struct str url;   /* https://HOST/PATH or https://HOST:PORT/PATH; HOST is an A-label name */
    struct str host;  /* the one in it */
    const struct netaddr *addresses; /* of the host; their ports count for nothing */
    size_t n_addresses;
    size_t size_max; /* octets of the answer's body */
    uint32_t timeout_ms;
    uint16_t port;            /* the one in the URL; 0: none is in it */
    bool is_post;             /* else GET, without a body */
    struct str type, body;    /* POST: Content-Type (no control characters), and what is sent */
    struct str authorization; /* value of that field: "Bearer ...", "Basic ..."; empty: none */
};
struct http_answer {
    enum http_status status;
    unsigned code;   /* 200 */
    struct str type; /* Content-Type as it came, at most HTTP_TYPE_MAX octets; empty: none */
    struct str body; /* of HTTP_ANSWERED; valid during the call, as is the rest */
    struct str why;  /* for people, when it was not answered; it may quote the server */
};
enum { HTTP_TYPE_MAX = 200 };
struct http_client {
    void *self;
    /* fn is called once, later. false: too many are under way, no memory, or a host, address or field that is
     * none. */
    bool (*ask)(void *self, const struct http_request *q, void (*fn)(void *arg, const struct http_answer *a),
                void *arg);
    /* PEM; borrowed until the next call or the client's end. Empty: no server is trusted. */
    void (*trust)(void *self, struct str anchors);
};
