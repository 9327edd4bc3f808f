/* tests/dialogue/pure.h: a session in memory with an owner that answers as the default configuration would.
 */
#pragma once
#include "policy/policy.h"
#include "proto/smtp_server_impl.h"

enum { PURE_ANSWERS_MAX = 64 };
struct pure_answer { /* what a script wants a question answered with */
    enum smtp_event_kind kind;
    enum smtp_reply_id id;
    struct str arg;
};
struct pure {
    struct smtp_server server;
    struct smtp_server_conf conf;
    struct policy_conf policy;
    struct local_domain domain;
    struct netblock loopback;
    struct chunk_pool pool;
    struct netaddr client;
    uint64_t now_ms;
    struct pure_answer answers[PURE_ANSWERS_MAX];
    size_t n_answers;
    struct buf in;      /* octets the session has not consumed */
    struct buf out;     /* all replies so far */
    struct buf events;  /* a line for each event that scripts can name */
    struct buf message; /* octets since the last SMTP_EV_DATA */
    bool is_closed, is_secure;
    struct sasl_server_conf sasl;
};

/* conf: "name=value ..." of a script's header; false when it is not understood. */
bool pure_init(struct pure *p, bool lmtp, bool relay, struct str conf);
void pure_fini(struct pure *p);
void pure_greet(struct pure *p, enum smtp_reply_id id);
/* More octets from the client; all events that follow are handled. */
void pure_feed(struct pure *p, struct str octets);
void pure_tick(struct pure *p, uint64_t ms);
void pure_eof(struct pure *p);
/* The handshake that STARTTLS began is done; false: none was begun. */
bool pure_secured(struct pure *p);
void pure_close(struct pure *p, enum smtp_reply_id id);
/* "mail", "rcpt", "data", "message", "expn", "etrn", "xclient": the kind, or 0. */
int pure_kind(struct str word);
