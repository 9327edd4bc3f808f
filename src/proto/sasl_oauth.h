/* proto/sasl_oauth.h: the messages by which a client hands a token over: OAUTHBEARER (RFC 7628 3.1) and
 * XOAUTH2 (Google's, the same without a GS2 header).
 *
 * Owns:     nothing; slices borrow from the message.
 * Limits:   SASL_RESPONSE_MAX octets a message, SASL_TOKEN_MAX a token.
 * Errors:   false: not well-formed.
 */
#pragma once
#include "proto/sasl_text.h"

struct sasl_oauth {
    struct str user;  /* OAUTHBEARER: with the escapes of GS2; empty: the token tells who */
    struct str token; /* empty: the client only asks what is wanted (RFC 7628 4.3) */
};
/* The first message; m is one of the two. host and port are checked in form only: they are what the client
 * says and prove nothing. */
MUST_USE bool sasl_take_oauth(enum sasl_mechanism m, struct str message, struct sasl_oauth *out);
/* Appends it. user may be empty with OAUTHBEARER; host empty or port 0: left out. */
void sasl_put_oauth(struct buf *out, enum sasl_mechanism m, struct str user, struct str host, uint16_t port,
                    struct str token);
/* Appends the JSON text that refuses a token (RFC 7628 3.2.2; Google's for XOAUTH2). scope and configuration
 * (the URL of the OpenID configuration) tell a client where to get another; empty: left out. */
void sasl_put_oauth_error(struct buf *out, enum sasl_mechanism m, struct str scope, struct str configuration);
