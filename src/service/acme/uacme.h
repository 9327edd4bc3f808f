/* service/acme/uacme.h: what the program uacme (1.7, uacme(1)) says on standard error, line by line.
 *
 * Without a hook it asks for each challenge: a line "uacme: challenge=TYPE ident=NAME token=TOKEN
 * key_auth=AUTH" (of tls-alpn-01 AUTH is the base64url of its SHA-256 digest), then one that waits for y or n
 * on standard input. All else is text for people, and JSON that the authority sent.
 *
 * Owns:     nothing; what is taken from a line borrows from it.
 * Limits:   UACME_LINE_MAX octets a line; the rest of a longer one is not looked at.
 * Security: the authority's words are in these lines, and may hold anything.
 */
#pragma once
#include "base/buf.h"
#include "config/config.h"

enum { UACME_LINE_MAX = 4096, UACME_DIGEST = 32 };
enum uacme_says {
    UACME_NOTHING = 0, /* of use to us */
    UACME_CHALLENGE,   /* it waits for an answer */
    UACME_TEXT,        /* out.text: something went wrong */
    UACME_DETAIL,      /* out.text: why, in the authority's words, with JSON's escapes */
    UACME_NO_ACCOUNT,  /* no account is there yet, or the authority has forgotten it */
};
struct uacme_line {
    struct str text;
    /* of a challenge that we answer; else token is empty */
    struct str name, token;
    struct str answer;                  /* HTTP-01 */
    unsigned char digest[UACME_DIGEST]; /* TLS-ALPN-01: of the key authorization */
};
/* line: without its end; wanted: the kind of challenge that is answered. */
enum uacme_says uacme_read(struct str line, enum acme_challenge wanted, struct uacme_line *out);
