/* proto/smtp_client_impl.h: what the files of the client share; nobody else includes it.
 *
 * smtp_client.c is the session (life, jobs, body, time); smtp_client_hello.c its beginning, up to READY;
 * smtp_client_auth.c the login in it; smtp_client_job.c plans a job and writes commands; smtp_client_reply.c
 * says what a reply means.
 */
#pragma once
#include "base/base64.h"
#include "proto/smtp_client.h"
#include "proto/smtp_plan.h"
#include "wire/dotstuff.h"

enum {
    SMTP_CLIENT_OUTPUT_MAX = 64 * 1024,
    SMTP_CLIENT_TEXTS_MAX =
        256 * 1024, /* octets of reply texts a job: one for each recipient and some of ours */
    SMTP_CLIENT_CHUNK_MIN = 4 * 1024, /* of BDAT: for less room, what is before it must go out first */
};

/* GREETING -> HELLO (-> TLS -> HELLO) (-> AUTH) -> READY -> (CONVERT ->) ENVELOPE -> BODY -> END -> READY
 * ..., QUIT and DEAD from everywhere. */
enum smtp_client_state {
    SMTP_CLIENT_ST_GREETING = 0, /* the server speaks first */
    SMTP_CLIENT_ST_HELLO,        /* EHLO, HELO, LHLO or STARTTLS is out */
    SMTP_CLIENT_ST_TLS,          /* the owner makes TLS: nothing may come or go here */
    SMTP_CLIENT_ST_AUTH,         /* a login is under way */
    SMTP_CLIENT_ST_READY,        /* no job */
    SMTP_CLIENT_ST_CONVERT,      /* a job, and the owner was asked for a conversion; nothing was sent */
    SMTP_CLIENT_ST_ENVELOPE,     /* MAIL to the reply to DATA */
    SMTP_CLIENT_ST_BODY,         /* 354 was said and the octets are wanted */
    SMTP_CLIENT_ST_END,          /* the final dot is in the output or out */
    SMTP_CLIENT_ST_QUIT,         /* QUIT is in the output or out */
    SMTP_CLIENT_ST_DEAD,
};

enum { /* what the server offers */
       SMTP_OFFERS_PIPELINING = 1,
       SMTP_OFFERS_SIZE = 2,
       SMTP_OFFERS_8BITMIME = 4,
       SMTP_OFFERS_SMTPUTF8 = 8,
       SMTP_OFFERS_DSN = 16,
       SMTP_OFFERS_DELIVERBY = 32,
       SMTP_OFFERS_MT_PRIORITY = 64,
       SMTP_OFFERS_CHUNKING = 128,
       SMTP_OFFERS_BINARYMIME = 256,
       SMTP_OFFERS_LIMITS = 512,
       SMTP_OFFERS_STARTTLS = 1024,
       SMTP_OFFERS_REQUIRETLS = 2048,
};

enum { SMTP_CLIENT_DOMAINS_MAX = QUEUE_RCPTS_PER_ATTEMPT_MAX }; /* with more a connection counts as full */

struct smtp_client_auth { /* a login under way; wiped when it is over */
    struct sasl_client_conf conf;
    struct sasl_client *sasl;
    bool is_cancelled; /* "*" is the last that was said */
    uint32_t n_lines;  /* of a challenge: one, or it is none */
    struct buf challenge, line;
    char challenge_mem[SMTP_REPLY_IN_LINE_MAX];
    char line_mem[BASE64_SIZE(SASL_RESPONSE_MAX) + 64]; /* what is to be said next, with its CRLF */
};

struct smtp_client {
    struct smtp_client_conf conf;
    struct arena arena; /* texts of the present job, before the first one those of failure */
    struct buf out;
    struct smtp_plan plan;
    struct smtp_reply_parser parser;
    struct dot_encoder dots;
    enum smtp_client_state state;
    unsigned events; /* not yet taken: bit 1 << enum smtp_client_event_kind */

    unsigned offers;
    uint64_t size_limit; /* octets, 0: none said */
    uint64_t by_min;     /* seconds: the least that DELIVERBY takes with mode R, 0: none said */
    uint64_t rcpt_max, mail_max, domain_max; /* LIMITS (RFC 9422), 0: none said */
    uint32_t hello_lines; /* of the reply to EHLO so far; the first has the server's name and no keyword */
    bool is_ourselves;    /* that name is ours */
    bool is_encrypted;    /* TLS stands, and this is what it gave: */
    struct smtp_client_secured secured;
    unsigned mechanisms; /* of AUTH: SASL_BIT()s */
    struct smtp_client_auth *auth;

    uint64_t now_ms;
    uint64_t progress_ms;           /* the last time something came about; partial replies are nothing */
    uint64_t out_total, sent_total; /* octets ever put into out, and taken from it */
    uint64_t window_ms,
        window_sent; /* where the rate of the body is measured from: time, and sent_total then */

    bool is_early;     /* the reply that is being read began before its command was out */
    bool job_open;     /* a job was given and SMTP_CLIENT_JOB_DONE not yet said */
    bool mail_refused; /* in this job */
    bool needs_rset;   /* the server has a sender of a job that came to nothing */
    bool says_utf8;    /* MAIL has SMTPUTF8 in this job */
    bool says_bdat;    /* the message goes by BDAT, as BODY=BINARYMIME */
    unsigned need;     /* enum smtp_client_need of this job */
    uint32_t n_mails;  /* MAIL commands so far, taken or refused: both count for MAILMAX (RFC 9422 4.1) */
    uint64_t domains[SMTP_CLIENT_DOMAINS_MAX]; /* hashes of those of recipients, while domain_max counts */
    uint32_t n_domains;
    uint32_t n_accepted;
    uint32_t n_settled; /* results before this one are final: where the next LMTP reply may belong */
    uint32_t n_jobs;
    struct smtp_client_job job;
    struct smtp_client_result results[QUEUE_RCPTS_PER_ATTEMPT_MAX];
    struct smtp_client_result failure;
};

void smtp_client_set_state(struct smtp_client *c, enum smtp_client_state to);
/* A result that we came to ourselves: code 0. text must live as long as the job's arena. */
struct smtp_client_result smtp_client_ours(enum smtp_outcome outcome, enum smtp_client_stage stage,
                                           struct esc esc, struct str text);
/* Every recipient without a result gets this one. */
void smtp_client_settle(struct smtp_client *c, const struct smtp_client_result *why);
/* The connection is worth nothing any more: settles what is open, says JOB_DONE if need be, then DEAD. */
void smtp_client_die(struct smtp_client *c, const struct smtp_client_result *why);
/* All results are final and the connection is as new. */
void smtp_client_finish_job(struct smtp_client *c);
/* Greeted: a job may come. */
void smtp_client_become_ready(struct smtp_client *c);
/* Where we stand: of the reply that is due, else of the state. */
enum smtp_client_stage smtp_client_stage_now(const struct smtp_client *c);

/* Sends as many steps as may go; ends the job when none is left. */
void smtp_client_pump(struct smtp_client *c);
/* Decides how c->job goes to this server: c->need, c->says_*. Recipients that can't be served get their
 * result. */
void smtp_client_check_job(struct smtp_client *c);
/* Fills the plan for the recipients without a result. An empty plan: nothing is to be sent. */
void smtp_client_plan_job(struct smtp_client *c);

/* parser.reply is complete. */
void smtp_client_take_reply(struct smtp_client *c);
/* What the parsed reply means at this place; PENDING: its class means nothing there. */
enum smtp_outcome smtp_client_outcome(const struct smtp_client *c, enum smtp_client_stage stage);
/* The same with the server's code and text. */
struct smtp_client_result smtp_client_theirs(struct smtp_client *c, enum smtp_client_stage stage);
/* A reply that is none to our command, such as 250 to DATA: nobody knows what the server will make of what
 * follows. */
void smtp_client_die_of_nonsense(struct smtp_client *c, const char *after);

/* A line of the reply to EHLO or LHLO (arg is the client). */
void smtp_client_hello_line(void *arg, struct str line);
/* parser.reply is the answer to this. */
void smtp_client_on_greeting(struct smtp_client *c);
void smtp_client_on_hello(struct smtp_client *c, enum smtp_step_kind kind);
void smtp_client_on_starttls(struct smtp_client *c);
void smtp_client_on_auth(struct smtp_client *c);
/* The session can't begin; RFC 5321 4.1.1.10 wants QUIT all the same. */
void smtp_client_leave_for(struct smtp_client *c, struct smtp_client_result why);
/* Greeted, encrypted and known as far as it will be. */
void smtp_client_become_greeted(struct smtp_client *c);

/* smtp_client_auth.c: chooses a mechanism and says AUTH, or leaves. */
void smtp_client_auth_begin(struct smtp_client *c);
/* Wipes all there is of a login, also what stands in the output. Nothing when there is none. */
void smtp_client_auth_end(struct smtp_client *c);
/* A line of the reply to AUTH (arg is the client). */
void smtp_client_auth_line(void *arg, struct str line);
/* Something came before TLS did. */
void smtp_client_die_of_injection(struct smtp_client *c);
