/* ext/http_curl.h: the HTTPS client of ext/http.h by libcurl's multi interface, on our loop.
 *
 * Owns:     one multi handle and its transfers.
 * Limits:   HTTP_OPEN_MAX transfers; HTTP_HEADER_MAX octets of header; body and time as each was told.
 * Errors:   what networks and servers do wrong is a status with a reason in words.
 * Security: as ext/http.h says. It opens no file, starts no thread and asks no name server: it may be used
 * within a sandbox that allows TCP and nothing else. HTTP/1.1 only, a connection for each transfer.
 */
#pragma once
#include "ext/http.h"
#include "io/world_io.h"

enum { HTTP_OPEN_MAX = 64, HTTP_HEADER_MAX = 16 * 1024 };

struct http_curl;

/* NULL without memory. Before the sandbox closes: the TLS library reads its configuration now. */
struct http_curl *http_curl_new(struct io_world *w);
/* For tests, which can't have port 443. */
void http_curl_set_port(struct http_curl *h, uint16_t port);
/* Transfers that are open are forgotten without an answer. Not from within an answer. Clears *h. */
void http_curl_del(struct http_curl **h);
/* Valid as long as h. */
struct http_client *http_curl_client(struct http_curl *h);
