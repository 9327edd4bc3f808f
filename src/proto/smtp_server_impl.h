/* proto/smtp_server_impl.h: the inside of struct smtp_server, for embedding it in a session. Only
 * proto/smtp_server*.c and tests touch the members.
 */
#pragma once
#include "base/limits.h"
#include "proto/smtp_server.h"
#include "wire/dotstuff.h"

enum {
    /* recipients over the limit a transaction before each counts as an error */
    SMTP_SERVER_RCPT_OVERSHOOT_MAX = 1000,
    /* octets of arena a recipient takes at most: the longest path, ORCPT and two table slots */
    SMTP_SERVER_RCPT_MEMORY = 1664,
};

/* Makes CRLF of bare CR and LF. A CR is kept back until the octet behind it has come, and a dot behind a bare
 * newline until it is known whether the client stuffed it. */
enum newlines_state { NEWLINES_TEXT = 0, NEWLINES_CR, NEWLINES_BARE, NEWLINES_BARE_DOT };
struct newlines {
    enum newlines_state state;
    bool unstuffs; /* DATA, not BDAT */
    bool at_end;   /* nothing comes behind the present octets */
};
/* The next octets of the mended form of *in, which loses what they stand for; empty when *in is used up. They
 * are a slice of *in or a constant. */
struct str newlines_next(struct newlines *n, struct str *in);
/* How many octets the rest of the mended form has, given in; *n is not changed. */
size_t newlines_size(struct newlines n, struct str in);

struct smtp_server_chunk { /* BDAT: the octets that follow the command (RFC 3030 2) */
    bool is_open;          /* octets are to come, or SMTP_EV_DATA is asked for them */
    bool is_last;
    enum smtp_reply_id refused; /* the command came out of order: the octets are dropped, then this is said */
    uint64_t size, left;
};

struct smtp_server {
    const struct smtp_server_conf *conf;
    struct arena arena; /* texts and recipients of the transaction */
    struct buf out;

    enum smtp_server_phase phase;
    bool is_esmtp;
    bool in_transaction;  /* from SMTP_EV_MAIL on */
    bool is_granted;      /* SMTP_EV_DATA was answered well; the message's end or SMTP_EV_ABORT is due */
    bool ends_group;      /* the command just handled ends a pipelined group (RFC 2920 3.1) */
    bool is_secure;       /* over TLS */
    bool awaits_tls;      /* 220 was said to STARTTLS */
    bool awaits_response; /* 334 was said: the next line is a part of the exchange */
    bool has_login;
    bool knows_wall;     /* wall_ahead_ms was told */
    bool skips_line;     /* within an over-long command line */
    bool clock_restarts; /* a question was answered: the next tick starts the clock again */

    /* events */
    uint16_t pending;  /* bits 1 << enum smtp_event_kind */
    uint32_t question; /* the open one, 0: none */
    uint32_t n_questions;
    enum smtp_event_kind asked; /* kind of the open question */
    enum smtp_reply_id close_reply, abort_reply;
    struct str body;         /* of SMTP_EV_BODY: the next one */
    struct str body_rest;    /* normalize_bare: what is behind it */
    struct str text;         /* of SMTP_EV_EXPN and SMTP_EV_ETRN, in the arena */
    struct str auth_arg;     /* of AUTH, in the arena, until the exchange has begun */
    struct xclient *xclient; /* of SMTP_EV_XCLIENT, in the arena */

    /* transaction */
    struct smtp_server_transaction tx;
    uint32_t rcpts_cap;   /* slots of tx.rcpts; the slot behind the last is the recipient being asked about */
    uint32_t rcpts_tried; /* in this transaction */
    uint32_t n_answered;  /* LMTP, PRDR: answers to SMTP_EV_MESSAGE so far */
    char *spare;          /* in the arena: text of a recipient that was refused, for the next one */
    size_t spare_size;
    /* the message is refused: its octets are dropped, its end is answered with this */
    enum smtp_reply_id refused;
    struct dot_decoder dots;
    struct newlines newlines; /* conf.normalize_bare */
    struct smtp_server_chunk chunk;
    bool chunk_last_cr; /* BDAT: the octet before was CR */

    /* counts against the limits */
    uint32_t n_errors, n_junk, n_transactions;
    uint16_t n_auth_failures;
    uint16_t mechanisms;      /* SASL_BIT() of those on offer */
    struct sasl_server *sasl; /* while an exchange is under way */

    /* clock, milliseconds */
    int64_t wall_ahead_ms; /* wall clock less now_ms */
    uint64_t now_ms, idle_since_ms, transaction_since_ms, window_since_ms;
    uint64_t window_octets; /* of the message since window_since_ms */

    uint16_t helo_n;
    char helo[SMTP_DOMAIN_MAX];
};
_Static_assert(SMTP_PATH_MAX + DSN_ORCPT_MAX + 64 + 2 * sizeof(struct smtp_server_rcpt) <=
                   SMTP_SERVER_RCPT_MEMORY,
               "see above");
_Static_assert(sizeof(struct smtp_server) <= 1344, "20,000 idle sessions are held");
