/* proto/smtp_client.h: an outbound SMTP or LMTP session without I/O: a plan of commands with a send and a
 * receive cursor, so that commands run ahead of replies as far as pipelining allows (RFC 2920).
 *
 * Owns:     an output buffer of bounded size, an arena for the present job's texts.
 * Limits:   base/limits.h: reply size, recipients a job (QUEUE_RCPTS_PER_ATTEMPT_MAX), output 64 KiB.
 *           The time for each reply, and for a message the time without progress and a least rate.
 * Errors:   never fails: everything becomes an outcome per recipient.
 * Security: the server is hostile; replies are bounded and cleaned; addresses were checked by
 *           wire/address when they came in and are checked again for CR, LF and NUL when written.
 * RFC:      5321, 1870, 2033, 2034, 2852, 2920, 3030, 3207, 3461, 4954, 6152, 6531, 6533, 6710, 8689, 9422.
 *
 * Use: init, feed() the greeting, next() until false, output()/sent(); SMTP_CLIENT_READY: job() or quit();
 * SMTP_CLIENT_WANT_BODY: body() as output drains, then body_end(); SMTP_CLIENT_JOB_DONE: results are final.
 * SMTP_CLIENT_WANT_CONVERSION, for jobs that may_convert only: convert(). SMTP_CLIENT_WANT_TLS, where
 * conf.tls lets it: give feed() what is left of the octets read, then make TLS and say tls() or no_tls().
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "proto/sasl_client.h"
#include "wire/params.h"
#include "wire/smtp_reply.h"

enum smtp_client_stage { /* where something happened; stands in the log, the journal and the bounce */
                         SMTP_AT_CONNECT = 0,
                         SMTP_AT_GREETING,
                         SMTP_AT_HELLO,
                         SMTP_AT_MAIL,
                         SMTP_AT_RCPT,
                         SMTP_AT_DATA,
                         SMTP_AT_END, /* after the final dot */
                         SMTP_AT_QUIT,
                         SMTP_AT_TLS, /* STARTTLS and the handshake; the numbers stand on disk: new ones go
                                         last */
                         SMTP_AT_AUTH,
};
const char *smtp_client_stage_name(enum smtp_client_stage st); /* "MAIL FROM", "end of data", ... */
/* Before any sender was spoken of: what happened there concerns the server and no message. Any number will
 * do.
 */
bool smtp_client_stage_is_early(enum smtp_client_stage st);

enum smtp_client_tls {
    SMTP_CLIENT_TLS_NONE = 0, /* STARTTLS is never said */
    SMTP_CLIENT_TLS_MAY,  /* where it is offered; a server that refuses it then gets the mail in the clear */
    SMTP_CLIENT_TLS_MUST, /* or failure() is temporary at SMTP_AT_TLS: 4.7.4 not offered, 4.7.5 refused */
};
struct smtp_client_secured { /* what TLS gave */
    bool is_verified;        /* the server's certificate is good for what was asked (PKIX or DANE) */
    /* channel bindings (RFC 9266, RFC 5929 4) for logins; n 0: not to be had */
    unsigned char exporter[32], end_point[64];
    size_t n_exporter, n_end_point;
};
struct smtp_client_login { /* RFC 4954; borrowed: lives as long as the session */
    const struct crypto *crypto;
    unsigned allowed;                      /* as in struct sasl_client_conf; 0: all */
    struct str user, password, token;      /* empty: not there */
    struct str scram_user, scram_password; /* as in struct sasl_client_conf */
    bool by_certificate;                   /* EXTERNAL only: what TLS has shown says who we are */
    struct str host;                       /* the server, for OAUTHBEARER; may be empty */
    uint16_t port;
    unsigned char nonce[SASL_CLIENT_NONCE]; /* from the kernel, for this session */
};
struct smtp_client_conf {
    struct str helo;
    bool lmtp;
    bool no_pipelining; /* for tests and odd peers */
    bool is_mx;         /* found by MX: who answers EHLO with our own name is ourselves: failure() is 5.4.6 */
    /* What our own servers call themselves, where helo is another name; empty: helo. */
    struct str hostname;
    enum smtp_client_tls tls;
    /* TLS was there before the greeting (RFC 8314 3.3): as tls() is given it. NULL: it was not. */
    const struct smtp_client_secured *secured;
    /* Logs in before READY; without it no mail goes. failure() is temporary at SMTP_AT_AUTH, whatever the
     * server says: it is about the login, and no reason to give a message back. Postfix does so too. Nothing
     * of a login is said without TLS, but to a server that is_near. NULL: no login. */
    const struct smtp_client_login *login;
    bool is_near; /* it is on this machine: nothing travels, and REQUIRETLS asks for nothing */
};
struct smtp_client_job {      /* texts must live until SMTP_CLIENT_JOB_DONE */
    struct str from;          /* without brackets; empty: null reverse-path */
    const struct rcpt *rcpts; /* address (without brackets), notify and orcpt count here */
    uint32_t n_rcpts;
    uint64_t size; /* octets of the message; declared when the server offers SIZE; 0: not known */
    /* Declared as BODY=8BITMIME when offered. Otherwise the owner is asked for a conversion, or, if it may
     * not be asked, the message is sent as it is, as Exim and qmail do. */
    bool is_8bit;
    /* Any octets and lines: by BDAT where CHUNKING and BINARYMIME are offered (RFC 3030), else as above. */
    bool is_binary;
    /* It came with SMTPUTF8: said again where that is offered. Where it is not, the header section must be
     * ASCII (the owner is asked), and so must be the addresses: one whose local part is not fails with 5.6.7,
     * the sender's for all recipients (RFC 6531 3.2); domains are sent as A-labels if to_ascii has them. */
    bool needs_utf8;
    bool may_convert; /* SMTP_CLIENT_WANT_CONVERSION may come */
    /* Only whether the recipients would be taken is asked: RSET after RCPT, no message. */
    bool is_callout;
    /* What MAIL said beside the sender; NULL: nothing. RET and ENVID go to servers that offer DSN, BY to
     * those with DELIVERBY, MT-PRIORITY likewise. HOLDFOR and HOLDUNTIL are never passed on: the holding is
     * ours. */
    const struct mail_params *params;
    int64_t wall_ms; /* wall clock now, for BY */
    /* Appends a domain as A-labels; false when it has none. NULL: there is no such function. */
    bool (*to_ascii)(struct str domain, struct buf *out);
};
enum smtp_outcome {
    SMTP_OUTCOME_PENDING = 0,
    SMTP_OUTCOME_OK,
    SMTP_OUTCOME_TEMPORARY,
    SMTP_OUTCOME_PERMANENT
};
struct smtp_client_result { /* of one recipient */
    enum smtp_outcome outcome;
    enum smtp_client_stage stage;
    uint16_t code;  /* the server's, 0 when we decided */
    bool took_dsn;  /* OK, and the server offers DSN: reports of success are its business (RFC 3461 5.2.2) */
    struct esc esc; /* the server's, or ours (X.4.2, X.5.0 ...) */
    /* the server's reply text (lines by '\n') or our phrase; valid until the next job() or del() */
    struct str text;
};

enum smtp_client_event_kind {
    SMTP_CLIENT_READY = 1, /* greeted: a job may be given */
    SMTP_CLIENT_WANT_BODY, /* the server said 354, or takes BDAT: give the octets */
    SMTP_CLIENT_JOB_DONE,  /* each recipient has a final result */
    SMTP_CLIENT_DEAD, /* close the connection: quit finished, refused (see failure()), broken or timed out. If
                         a job was under way SMTP_CLIENT_JOB_DONE came before */
    SMTP_CLIENT_WANT_TLS,        /* the server said 220 to STARTTLS: begin the handshake */
    SMTP_CLIENT_WANT_CONVERSION, /* the message is more than the server takes: see need(), then convert() */
};
enum smtp_client_need {                          /* what the message may not have on this server */
                        SMTP_NEED_7BIT = 1 << 0, /* no octets over 0x7f (RFC 6152 3) */
                        SMTP_NEED_LINES =
                            1 << 1, /* no NUL, bare CR or LF, nor lines that are too long (RFC 3030 3) */
                        SMTP_NEED_HEADER = 1 << 2, /* no header fields outside ASCII (RFC 6531 3.5) */
};
struct smtp_client;
struct smtp_client *smtp_client_new(const struct smtp_client_conf *conf, struct chunk_pool *pool,
                                    uint64_t now_ms);
void smtp_client_del(struct smtp_client **c);

/* Octets consumed, at most in.n. It stops where an event comes up: take it with next() and feed the rest;
 * while events wait it consumes nothing. Call it only after sent() has been told of what was written: a reply
 * that begins before its command has left counts as the server's being out of step. When dead, everything is
 * consumed and ignored. */
size_t smtp_client_feed(struct smtp_client *c, struct str in, uint64_t now_ms);
bool smtp_client_next(struct smtp_client *c, enum smtp_client_event_kind *out);
/* The answer to SMTP_CLIENT_WANT_TLS: the handshake is done, what goes through feed() and output() from now
 * is inside TLS. Mail with REQUIRETLS goes only where s->is_verified (RFC 8689 4.2.1). The deadline of the
 * handshake is the owner's. */
void smtp_client_tls(struct smtp_client *c, const struct smtp_client_secured *s, uint64_t now_ms);
/* Or it failed: SMTP_CLIENT_DEAD follows, failure() is temporary, 4.7.5 at SMTP_AT_TLS with this text, which
 * need not live on. */
void smtp_client_no_tls(struct smtp_client *c, struct str why, uint64_t now_ms);
/* Only after SMTP_CLIENT_READY or after SMTP_CLIENT_JOB_DONE while is_ready(). */
void smtp_client_job(struct smtp_client *c, const struct smtp_client_job *job, uint64_t now_ms);
bool smtp_client_is_ready(const struct smtp_client *c);
/* It takes no further message on this connection (LIMITS MAILMAX, RFC 9422): quit, though it is ready. */
bool smtp_client_is_spent(const struct smtp_client *c);
/* Would it take this recipient on this connection, by LIMITS RCPTDOMAINMAX? Of a job the others get 4.5.3. */
bool smtp_client_takes_domain(const struct smtp_client *c, struct str address);
/* Bits of enum smtp_client_need, after SMTP_CLIENT_WANT_CONVERSION. */
unsigned smtp_client_need(const struct smtp_client *c);
/* The answer to SMTP_CLIENT_WANT_CONVERSION, now or later: the message as it will be given has `size` octets
 * (0: not known) and what need() says is met. If the session has died in between nothing happens. */
void smtp_client_convert(struct smtp_client *c, uint64_t size, uint64_t now_ms);
/* Or: it can't be had so. All recipients get this result; the connection stays. esc is of class 4 or 5; text
 * need not live on. */
void smtp_client_no_convert(struct smtp_client *c, struct esc esc, struct str text, uint64_t now_ms);
uint32_t smtp_client_n_jobs(const struct smtp_client *c); /* jobs so far, for the reuse limit */
/* Octets taken from piece (less than all when the output is full, or with BDAT when replies are due: come
 * back after sent() and feed()). CRLF line ends. */
size_t smtp_client_body(struct smtp_client *c, struct str piece, uint64_t now_ms);
void smtp_client_body_end(struct smtp_client *c, uint64_t now_ms);
/* The body can't be had to its end: the connection is given up so that the server drops what it has. */
void smtp_client_body_abort(struct smtp_client *c);
const struct smtp_client_result *smtp_client_results(const struct smtp_client *c); /* n_rcpts of the job */
/* Why the session as a whole failed before any job could be sent (greeting or hello refused, timed out,
 * broken, closed); outcome PENDING while it has not. 5xx at SMTP_AT_GREETING or SMTP_AT_HELLO is PERMANENT
 * for this host only: whether another is tried is the caller's choice. After a refusal QUIT goes out (RFC
 * 5321 4.1.1.10) and SMTP_CLIENT_DEAD follows its reply, or SMTP_CLIENT_QUIT_MS. */
const struct smtp_client_result *smtp_client_failure(const struct smtp_client *c);
void smtp_client_quit(struct smtp_client *c, uint64_t now_ms);
/* The connection ended (ERR_CLOSED) or broke. */
void smtp_client_eof(struct smtp_client *c, enum err err);
struct str smtp_client_output(const struct smtp_client *c);
void smtp_client_sent(struct smtp_client *c, size_t n, uint64_t now_ms);
uint64_t smtp_client_deadline(const struct smtp_client *c);
void smtp_client_tick(struct smtp_client *c, uint64_t now_ms);
/* Checks what must always hold; tests call it after every octet. */
void smtp_client_invariants(const struct smtp_client *c);
