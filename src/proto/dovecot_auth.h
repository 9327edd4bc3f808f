/* proto/dovecot_auth.h: the client's side of Dovecot's authentication protocol, version 1: passwords that its
 * auth process looks at. No I/O: octets in, events out.
 *
 * Both sides begin at once: we say who we are, the server what it offers, until DONE. Then each question has
 * a number, and answers come in any order.
 *
 * Owns:     the line that is not complete yet.
 * Limits:   DOVECOT_LINE_MAX octets a line, as Dovecot's own clients have it.
 * Errors:   what is not of this protocol is DOVECOT_BROKEN, and the connection is of no more use. An answer
 *           that says yes to nobody we could name is DOVECOT_LATER.
 * Security: the server is trusted to say who may log in, and with nothing else: its names and reasons are
 *           checked and cut.
 */
#pragma once
#include "base/base64.h"
#include "base/limits.h"

enum {
    DOVECOT_LINE_MAX = 8192,
    DOVECOT_WHY_MAX = 256,
    DOVECOT_HELLO_MAX = 64,
    DOVECOT_CLIENT_MAX = 64,                                   /* octets of an address as text */
    DOVECOT_PLAIN_MAX = 2 + SASL_NAME_MAX + SASL_PASSWORD_MAX, /* octets of PLAIN's message (RFC 4616 2) */
    DOVECOT_QUESTION_MAX = 128 + DOVECOT_CLIENT_MAX + BASE64_SIZE(DOVECOT_PLAIN_MAX),
};

enum dovecot_event_kind {
    DOVECOT_MORE = 0, /* the input is used up */
    DOVECOT_READY,    /* questions may be asked */
    DOVECOT_ANSWER,
    DOVECOT_BROKEN, /* why says what is wrong */
};
enum dovecot_verdict { DOVECOT_YES = 0, DOVECOT_NO, DOVECOT_LATER };
struct dovecot_event { /* its texts are valid until the next call */
    enum dovecot_event_kind kind;
    uint32_t id; /* ANSWER: of the question */
    enum dovecot_verdict verdict;
    struct str user; /* YES: what Dovecot calls him */
    struct str why;  /* for people; may be empty */
};
struct dovecot_auth {
    bool has_version, has_plain, is_ready, is_broken;
    size_t n_line;
    char line[DOVECOT_LINE_MAX];
};
struct dovecot_question {
    uint32_t id; /* not 0 */
    struct str user, password;
    struct str client; /* its address as text; empty: not known */
};

void dovecot_auth_init(struct dovecot_auth *d);
/* Takes from the front of *in up to the end of one line. Call it again until it says DOVECOT_MORE or
 * DOVECOT_BROKEN. */
struct dovecot_event dovecot_auth_feed(struct dovecot_auth *d, struct str *in);

/* What is said first. pid: any number but 0 that no other connection of ours has. */
void dovecot_put_hello(struct buf *out, uint32_t pid);
/* One question about a user whose own connection is safe (TLS). false, and nothing is appended: user or
 * password hold a NUL, the client is no plain text, or there is no room. */
MUST_USE bool dovecot_put_question(struct buf *out, const struct dovecot_question *q);
