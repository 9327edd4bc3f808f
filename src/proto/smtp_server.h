/* proto/smtp_server.h: an inbound SMTP or LMTP session without I/O: bytes in, events and bytes out.
 *
 * Owns:     the transaction's arena (reset after each), an output buffer (freed when empty). Input stays the
 * caller's: an incomplete command line is not consumed and must be fed again with more bytes behind it.
 * Limits:   base/limits.h through struct smtp_server_conf; one question open at a time.
 * Errors:   never fails: protocol trouble becomes a reply, memory trouble a 452 and the session goes on.
 * Security: parses hostile bytes; only CRLF.CRLF ends data; bare CR and LF make the message a 550 (SMTP
 * smuggling) unless conf.normalize_bare mends them.
 * RFC:      5321, 1870, 2033, 2034, 2920, 3030, 6152, 6531; where conf offers them 3207, 3461, 4954, 6533,
 * 2852, 6710, 4865, 8689, 9422, 1985; Exim's PRDR and Postfix's XCLIENT.
 *
 * Use: feed() until it consumes nothing, next() until false after each feed(), output()/sent() at any time,
 * tick() when deadline() has passed. While a question is open, an event waits in next(), or
 * SMTP_SERVER_OUTPUT_HIGH octets of output wait, feed() consumes nothing: pipelined input waits with the
 * caller.
 */
#pragma once
#include "base/arena.h"
#include "proto/sasl_server.h"
#include "proto/smtp_replies.h" /* enum smtp_reply_id: the one table of replies */
#include "wire/smtp_cmd.h"
#include "wire/xclient.h"

/* Octets of replies not yet sent before no further command is read. */
enum { SMTP_SERVER_OUTPUT_HIGH = 64 * 1024 };

enum smtp_server_phase {
    SMTP_SERVER_GREETING = 0, /* nothing said yet */
    SMTP_SERVER_HELLO,        /* greeted, no HELO */
    SMTP_SERVER_READY,        /* no transaction */
    SMTP_SERVER_MAIL,         /* sender taken */
    SMTP_SERVER_RCPT,         /* at least one recipient taken */
    SMTP_SERVER_DATA,         /* within DATA */
    SMTP_SERVER_BDAT,         /* between or within BDAT chunks; SMTP_EV_DATA may still be open */
    SMTP_SERVER_CLOSED,       /* nothing more is read; output may remain */
};

struct smtp_server_conf { /* shared by sessions, outlives them */
    struct str hostname;
    struct str banner;             /* what follows the host name in 220; may be empty */
    uint64_t size_max;             /* octets of a message, 0: SMTP_SIZE_DEFAULT */
    uint32_t rcpt_max;             /* 0: SMTP_RCPT_MAX */
    uint32_t errors_max, junk_max; /* 0: the limits */
    uint32_t command_ms, data_ms, transaction_ms, rate_floor, rate_window_ms; /* 0: the limits */
    bool lmtp;
    bool no_chunking, no_smtputf8, no_pipelining; /* keywords switched off (tests, odd peers) */
    /* What is offered beyond: false or 0 is not. */
    bool dsn;          /* RFC 3461 */
    bool binarymime;   /* RFC 3030; only with CHUNKING: such messages hold any octets */
    bool deliverby;    /* RFC 2852 */
    uint32_t by_min_s; /* the shortest BY with R, advertised; 0: none is too short */
    bool mt_priority;  /* RFC 6710 */
    /* The client is a stranger: more than 0 counts as 0, and it is told so (RFC 6710 4.1). */
    bool lowers_priority;
    uint32_t hold_max_s; /* RFC 4865: the longest HOLDFOR, and HOLDUNTIL from now; at most 999999999 */
    bool starttls;       /* RFC 3207; to sessions that have no TLS */
    bool needs_tls;      /* nothing of use goes without */
    bool auth;           /* RFC 4954; to sessions over TLS, with the mechanisms of smtp_server_secured() */
    bool needs_auth;     /* no mail without a login */
    bool requiretls;     /* RFC 8689; to sessions over TLS */
    bool prdr;           /* not in LMTP, which has it anyway */
    bool limits;         /* RFC 9422 */
    bool xclient;        /* the client is a trusted proxy; others hear R_XCLIENT_DENIED */
    bool etrn, expn;
    bool normalize_bare; /* for clients of one's own: a bare CR or LF is handed on as CRLF; it ends no data */
    bool greets_late;    /* the owner delays greet(); who speaks before it is refused (R_TALKS_EARLY) */
};

struct smtp_server_rcpt {
    struct address to;
    uint8_t notify;   /* NOTIFY_* of wire/params.h, 0: not said */
    struct str orcpt; /* "rfc822;joe@example.org", decoded; empty: not said */
    uint64_t user;    /* the caller's, from smtp_server_answer_rcpt() */
};
struct smtp_server_transaction {
    struct address from; /* text.n == 0: null reverse-path */
    enum smtp_body body;
    bool smtputf8;
    bool is_prdr; /* PRDR was said: see smtp_server_answers_due() */
    bool is_priority_lowered;
    /* Decoded, in the session's memory. Times are counted from MAIL by the wall clock of
     * smtp_server_set_wall(). The session leaves params.tag to its owner. */
    struct mail_params params;
    uint64_t size_declared;         /* 0: not declared */
    uint64_t size;                  /* octets taken so far */
    struct smtp_server_rcpt *rcpts; /* accepted ones, in order */
    uint32_t n_rcpts;
};

enum smtp_event_kind {
    SMTP_EV_MAIL = 1, /* question: may this sender? transaction()->from is set */
    SMTP_EV_RCPT,     /* question: this recipient? ev.rcpt */
    SMTP_EV_DATA, /* question: is there room for a message? (before 354 or the first chunk); R_DATA_GO: yes */
    SMTP_EV_BODY, /* ev.body: octets of the message, dots unstuffed; valid until the next feed() */
    SMTP_EV_MESSAGE, /* question: the message is complete; answer when it is on disk */
    /* After R_DATA_GO: the message will not come to its end, or SMTP_EV_MESSAGE needs no answer any more:
     * drop what you kept; no answer. The transaction may be gone already. ev.reply tells what its end will be
     * answered with (R_TOO_BIG, R_BARE_NEWLINE); R_NONE: the client gave it up. */
    SMTP_EV_ABORT,
    /* Close after the output is written; ev.reply tells why (R_BYE, R_TIMEOUT, ...; R_NONE: the client went
     * away). */
    SMTP_EV_CLOSE,
    /* Question: who is on the list ev.text? R_EXPN with lines of addresses, or a refusal; a list longer than
     * a reply becomes R_EXPN_TOO_LONG. */
    SMTP_EV_EXPN,
    /* Question: run the queue for ev.text ("example.org", "@example.org", "#name")? R_ETRN_* with the name or
     * number its text wants. */
    SMTP_EV_ETRN,
    /* Question: is ev.xclient believed? R_GREETING: yes, and the session begins again with a greeting. */
    SMTP_EV_XCLIENT,
    /* Question: may TLS begin? R_TLS_GO: yes: once the output is written the owner makes the handshake and
     * calls smtp_server_secured(), or ends the session. Octets that are fed in between came in plain text
     * behind the command: they end it (RFC 3207 5, and what CVE-2011-0411 was about). */
    SMTP_EV_STARTTLS,
    /* Question: ev.sasl NULL: an exchange may begin? smtp_server_auth_begin(), or a row that refuses it.
     * Else what sasl_server.h asks: smtp_server_auth_answer(), or a row that ends it. */
    SMTP_EV_AUTH,
    /* Question: the client has proved to be ev.text. R_AUTH_OK, or a row that refuses it. Other switches may
     * be set before the answer. */
    SMTP_EV_LOGIN,
};
struct smtp_event {
    enum smtp_event_kind kind;
    uint32_t question; /* not 0 for questions */
    struct str body;
    struct str text;                  /* of EXPN, ETRN and LOGIN; valid until answered */
    const struct sasl_question *sasl; /* of AUTH; valid until answered */
    const struct xclient *xclient;    /* valid until answered */
    const struct address *rcpt;
    enum smtp_reply_id reply;
};

struct smtp_server; /* defined in proto/smtp_server_impl.h, for embedding only */
struct smtp_server *smtp_server_new(const struct smtp_server_conf *conf, struct chunk_pool *pool,
                                    uint64_t now_ms);
void smtp_server_del(struct smtp_server **s);
/* in memory of the caller; fini gives everything back. */
void smtp_server_init(struct smtp_server *s, const struct smtp_server_conf *conf, struct chunk_pool *pool,
                      uint64_t now_ms);
void smtp_server_fini(struct smtp_server *s);

/* Tells what the wall clock says (milliseconds since 1970) when now_ms is the other clock. Needed before
 * greet() where conf has deliverby or hold_max_s, and again whenever the clocks have moved apart; else
 * without use. */
void smtp_server_set_wall(struct smtp_server *s, uint64_t now_ms, int64_t wall_ms);
/* Sends the greeting, or with a reply id other than R_GREETING a refusal after which the session is closed.
 * Once; nothing happens when the session has ended before it (greets_late). */
void smtp_server_greet(struct smtp_server *s, enum smtp_reply_id id);
/* The connection has TLS: before greet(), where it began with it, or when the handshake that SMTP_EV_STARTTLS
 * allowed is done: then all that was said before is forgotten, and the client begins with EHLO again (RFC
 * 3207 4.2). */
void smtp_server_secured(struct smtp_server *s, unsigned mechanisms);
bool smtp_server_is_secure(const struct smtp_server *s);
/* R_TLS_GO was the answer: the handshake is due. */
bool smtp_server_awaits_tls(const struct smtp_server *s);
/* The owner's word on SMTP_EV_AUTH. conf must live until SMTP_EV_LOGIN, the next question without ev.sasl, or
 * the end. Ignored when the question is no longer open. */
void smtp_server_auth_begin(struct smtp_server *s, uint32_t question, const struct sasl_server_conf *conf);
void smtp_server_auth_answer(struct smtp_server *s, uint32_t question, const struct sasl_answer *answer);
/* Other switches from here on, for a client that turns out to be somebody else: before greet(), or while
 * SMTP_EV_XCLIENT or SMTP_EV_LOGIN is open. conf->lmtp must stay. */
void smtp_server_set_conf(struct smtp_server *s, const struct smtp_server_conf *conf);
/* Octets consumed, at most in.n. */
size_t smtp_server_feed(struct smtp_server *s, struct str in, uint64_t now_ms);
/* Takes the next event. */
bool smtp_server_next(struct smtp_server *s, struct smtp_event *out);
/* Answers the open question with a row of the reply table. arg fills the row's one "{}" (may be empty). For
 * SMTP_EV_RCPT a 2xx row takes the recipient into the transaction with `user` beside it. SMTP_EV_MESSAGE is
 * answered smtp_server_answers_due() times with the same question. An answer to a question that is no
 * longer open (the session was closed meanwhile) is ignored. */
void smtp_server_answer(struct smtp_server *s, uint32_t question, enum smtp_reply_id id, struct str arg);
void smtp_server_answer_rcpt(struct smtp_server *s, uint32_t question, enum smtp_reply_id id, struct str arg,
                             uint64_t user);
/* How many answers SMTP_EV_MESSAGE wants: 1; in LMTP one for each accepted recipient, in order; with PRDR and
 * two recipients or more the same and then one for the message as a whole: a 2xx when anybody gets it. 0:
 * none is open. */
uint32_t smtp_server_answers_due(const struct smtp_server *s);
/* Ends the session for a reason of ours: shutdown (R_SHUTDOWN), overload. Written after pending output. */
void smtp_server_close(struct smtp_server *s, enum smtp_reply_id id);
/* The peer closed or the connection broke: emits SMTP_EV_ABORT if need be, then SMTP_EV_CLOSE. */
void smtp_server_eof(struct smtp_server *s);

struct str smtp_server_output(const struct smtp_server *s);
void smtp_server_sent(struct smtp_server *s, size_t n);
/* When to call tick(), in the clock of now_ms. */
uint64_t smtp_server_deadline(const struct smtp_server *s);
/* Closes a session that is too late (R_TIMEOUT) or too slow (R_TOO_SLOW). Harmless before the deadline. Time
 * in which a question was open is ours and not the client's: the first tick after an answer only starts the
 * clock again. */
void smtp_server_tick(struct smtp_server *s, uint64_t now_ms);

enum smtp_server_phase smtp_server_phase(const struct smtp_server *s);
/* Valid from SMTP_EV_MAIL to the end of the transaction (for SMTP_EV_MESSAGE: until it is answered); else
 * NULL. */
const struct smtp_server_transaction *smtp_server_transaction(const struct smtp_server *s);
/* What the client said in EHLO, HELO or LHLO, empty before; lives to the end of the session or the next
 * hello. */
struct str smtp_server_helo(const struct smtp_server *s);
bool smtp_server_is_esmtp(const struct smtp_server *s);
/* Checks what must always hold; tests call it after every octet. */
void smtp_server_invariants(const struct smtp_server *s);

/* What is implemented and offered, for the tests that compare it with the scripts: the i-th verb of the
 * command table and the i-th keyword of EHLO; empty past the end. */
struct str smtp_server_verb(size_t i);
struct str smtp_server_keyword(size_t i);
