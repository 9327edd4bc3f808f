/* proto/smtp_client.h: an outbound SMTP or LMTP session without I/O: a plan of commands with a send and a
 * receive cursor, so that commands run ahead of replies as far as pipelining allows (RFC 2920).
 *
 * Owns:     an output buffer of bounded size, an arena for the present job's texts.
 * Limits:   base/limits.h: reply size, recipients a job (QUEUE_RCPTS_PER_ATTEMPT_MAX), output 64 KiB.
 *           The time for each reply, and for a message the time without progress and a least rate.
 * Errors:   never fails: everything becomes an outcome per recipient.
 * Security: the server is hostile; replies are bounded and cleaned; addresses were checked by
 *           wire/address when they came in and are checked again for CR, LF and NUL when written.
 * RFC:      5321, 1870, 2033, 2034, 2920, 6152, 6531.
 *
 * Use: init, feed() the greeting, next() until false, output()/sent(); SMTP_CLIENT_READY: job() or quit();
 * SMTP_CLIENT_WANT_BODY: body() as output drains, then body_end(); SMTP_CLIENT_JOB_DONE: results are final.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
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
};
const char *smtp_client_stage_name(enum smtp_client_stage st); /* "MAIL FROM", "end of data", ... */

struct smtp_client_conf {
    struct str helo;
    bool lmtp;
    bool no_pipelining; /* for tests and odd peers */
    bool is_mx;         /* found by MX: who answers EHLO with our own name is ourselves: failure() is 5.4.6 */
};
struct smtp_client_job {     /* texts must live until SMTP_CLIENT_JOB_DONE */
    struct str from;         /* without brackets; empty: null reverse-path */
    const struct str *rcpts; /* without brackets */
    uint32_t n_rcpts;
    uint64_t size; /* octets of the message; declared when the server offers SIZE */
    bool is_8bit;  /* declared as BODY=8BITMIME when offered; otherwise sent as it is, as Exim and qmail do */
    /* It came with SMTPUTF8: said again where that is offered. Where it is not, the addresses decide: one
     * that is not ASCII fails with 5.6.7, the sender's for all recipients (RFC 6531 3.2). */
    bool needs_utf8;
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
    struct esc esc; /* the server's, or ours (X.4.2, X.5.0 ...) */
    /* the server's reply text (lines by '\n') or our phrase; valid until the next job() or del() */
    struct str text;
};

enum smtp_client_event_kind {
    SMTP_CLIENT_READY = 1, /* greeted: a job may be given */
    SMTP_CLIENT_WANT_BODY, /* the server said 354: give the octets */
    SMTP_CLIENT_JOB_DONE,  /* each recipient has a final result */
    SMTP_CLIENT_DEAD, /* close the connection: quit finished, refused (see failure()), broken or timed out. If
                         a job was under way SMTP_CLIENT_JOB_DONE came before */
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
/* Only after SMTP_CLIENT_READY or after SMTP_CLIENT_JOB_DONE while is_ready(). */
void smtp_client_job(struct smtp_client *c, const struct smtp_client_job *job, uint64_t now_ms);
bool smtp_client_is_ready(const struct smtp_client *c);
uint32_t smtp_client_n_jobs(const struct smtp_client *c); /* jobs so far, for the reuse limit */
/* Octets taken from piece (less than all when the output is full: come back after sent()). CRLF line ends. */
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
