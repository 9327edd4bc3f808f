/* proto/http01.h: the answers to an authority that looks whether a name leads to us (RFC 8555 8.3): a server
 * that knows one kind of path, and nothing else.
 *
 * Owns:     nothing: the caller has the octets that came, and the challenges.
 * Limits:   those of http_head.h; HTTP01_CHALLENGES_MAX challenges.
 * Errors:   what is no request is answered 400, what is too long 431, another method 405, another path 404.
 * Security: as in http_head.h. What comes is compared with what is here; no header field is looked at.
 */
#pragma once
#include "proto/http_head.h"

enum {
    HTTP01_TOKEN_MAX = 128, /* authorities' have 43; RFC 8555 8.3: base64url */
    HTTP01_ANSWER_MAX = 256,
    HTTP01_CHALLENGES_MAX = 100, /* the names of one certificate */
    HTTP01_REPLY_MAX = HTTP_SAID_MAX + HTTP01_ANSWER_MAX,
};
struct http01_challenge {
    size_t n_token, n_answer;
    char token[HTTP01_TOKEN_MAX], answer[HTTP01_ANSWER_MAX];
};

/* Is it a token as authorities make them: 1 to HTTP01_TOKEN_MAX letters of base64url? */
bool http01_is_token(struct str s);
/* Is it the answer for that token: TOKEN.THUMBPRINT (RFC 8555 8.1)? */
bool http01_is_answer(struct str token, struct str answer);
/* The answer to what http_is_whole() said yes to, at most HTTP01_REPLY_MAX octets; the connection ends
 * behind it. Gives the status, for the log. */
unsigned http01_reply(struct str request, const struct http01_challenge *list, size_t n, struct buf *out);
