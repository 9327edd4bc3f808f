/* proto/sasl_server.h: the server's side of a SASL exchange (RFC 4422) without I/O: decoded responses in,
 * challenges and questions out. Base64, "*" and the replies are those of the protocol around it.
 *
 * Owns:     copies of what the client sent, on the heap; all are wiped when the exchange is over.
 * Limits:   SASL_RESPONSE_MAX, SASL_NAME_MAX, SASL_PASSWORD_MAX, SASL_TOKEN_MAX, SASL_SCRAM_MAX.
 * Errors:   never fails otherwise than by SASL_STEP_FAILED; without memory it is SASL_FAIL_TEMPORARY.
 * Security: hostile octets. It keeps no verifiers and computes nothing with secrets: whoever has them
 * (another process) answers its questions by crypto/verifier.h, also for users that aren't there, by
 *           verifier_false(). Which mechanisms are offered is the caller's: SASL_CLEAR only over TLS.
 *           An authorization identity must be that of the login (case of ASCII aside): nobody sends mail as
 *           somebody else.
 * RFC:      4422, 4616, 5802, 5929 4, 7628, 7677, 9266.
 *
 * Use: start(), then by the step: SASL_STEP_CHALLENGE: send sasl_server_challenge(), feed() the response.
 * SASL_STEP_QUESTION: have sasl_server_question() answered, answer(). The others end it. cancel() at any
 * time.
 */
#pragma once
#include "proto/sasl_text.h"

struct sasl_server_conf { /* borrowed: outlives the exchange */
    unsigned mechanisms;  /* SASL_BIT() of those on offer */
    /* Channel bindings of this TLS session; empty: not to be had. -PLUS needs one to be on offer. */
    struct str tls_exporter, tls_server_end_point;
    struct str client_identity;                   /* of a client certificate that was verified; empty: none */
    struct str oauth_scope, openid_configuration; /* for clients whose token was refused; may be empty */
    /* At least SASL_SERVER_NONCE octets from the kernel, never used before. */
    struct str nonce;
};
enum { SASL_SERVER_NONCE = 18, SASL_SERVER_NONCE_MAX = 64 };

enum sasl_step {
    SASL_STEP_CHALLENGE = 1, /* send it (it may be empty) and feed the response */
    SASL_STEP_QUESTION,      /* to whoever keeps the verifiers */
    SASL_STEP_DONE,          /* logged in: sasl_server_login() */
    SASL_STEP_FAILED,        /* sasl_server_failure() */
};

enum sasl_question_kind {
    SASL_ASK_PASSWORD = 1, /* user, password: do they match? */
    SASL_ASK_SCRAM_FIRST,  /* user, hash: salt and iterations? */
    SASL_ASK_SCRAM_FINAL,  /* user, hash, auth_message, proof: is it right, and the server's signature? */
    SASL_ASK_TOKEN,        /* token, user (may be empty): is it valid, and for whom? */
    SASL_ASK_EXTERNAL,     /* identity of the certificate, user (may be empty): may it log in, as whom? */
};
struct sasl_question { /* slices are valid until it is answered */
    enum sasl_question_kind kind;
    struct str user;
    struct str password;
    enum scram_hash hash;
    struct str auth_message, proof;
    struct str token;
    struct str identity;
};

enum sasl_verdict { SASL_OK = 1, SASL_BAD, SASL_TEMPORARY };
struct sasl_answer {
    enum sasl_verdict verdict;
    /* With OK, where the kind of question asks for it: */
    struct str salt; /* 1 to SCRAM_SALT_MAX octets */
    uint32_t iterations;
    struct str signature; /* scram_size() octets */
    /* Who is logged in, by the name that policy knows; empty: the user of the question. Of a token or a
     * certificate that came without a user it has to be given. */
    struct str login;
};

struct sasl_server;
/* NULL: no memory, or the nonce is shorter than SASL_SERVER_NONCE. */
struct sasl_server *sasl_server_new(const struct sasl_server_conf *conf);
void sasl_server_del(struct sasl_server **s); /* NULL is fine */

/* Once. initial: the initial response, NULL when there was none (an empty one is "=" of RFC 4954 4). */
enum sasl_step sasl_server_start(struct sasl_server *s, struct str mechanism, const struct str *initial);
/* The response to the last challenge. */
enum sasl_step sasl_server_feed(struct sasl_server *s, struct str response);
/* The answer to the open question. One that does not fit (a salt of no length) is SASL_TEMPORARY. */
enum sasl_step sasl_server_answer(struct sasl_server *s, const struct sasl_answer *answer);
/* The client gave up. */
enum sasl_step sasl_server_cancel(struct sasl_server *s);

enum sasl_mechanism sasl_server_mechanism(const struct sasl_server *s); /* SASL_NONE: none was begun */
struct str sasl_server_challenge(const struct sasl_server *s);          /* valid until the next call */
const struct sasl_question *sasl_server_question(const struct sasl_server *s);
enum sasl_failure sasl_server_failure(const struct sasl_server *s);
/* Whom the client claimed to be, for logs; empty: it did not get that far. UTF-8 without control characters.
 * Stays after the end. */
struct str sasl_server_user(const struct sasl_server *s);
/* Who is logged in; after SASL_STEP_DONE only. */
struct str sasl_server_login(const struct sasl_server *s);
/* The mechanisms of conf that can be offered: without -PLUS where there is no binding, without EXTERNAL where
 * there is no certificate. For EHLO by sasl_put_list(). */
unsigned sasl_server_offered(const struct sasl_server_conf *conf);
