/* service/auth/auth.h: what the files of the auth role share.
 *
 * auth.c has the role, its channels, questions and the limit of guesses; dovecot.c asks Dovecot, pam.c those
 * processes that run PAM's modules, tables.c that which asks directories, databases and issuers of tokens.
 */
#pragma once
#include "proto/dovecot_auth.h"
#include "service/boot/role.h"
#include "service/keys/guess.h"

enum {
    AUTH_WAITING_MAX = 256,     /* questions that are open */
    AUTH_ANSWER_MS = 25 * 1000, /* for one; smtpd waits a little longer */
    AUTH_HELLO_MS = 5 * 1000,   /* until a connection to Dovecot takes questions */
};

struct auth;
struct auth_asker { /* the channel of an smtpd */
    struct list link;
    struct auth *auth;
    struct channel *channel;
    struct list unsent; /* answers for which the channel had no room: it is not read meanwhile */
};
struct auth_question {
    struct list link;  /* auth.questions: the oldest first */
    struct list place; /* in the list of who is asked */
    struct auth *auth;
    struct auth_asker *asker; /* NULL: gone meanwhile */
    struct backend *backend;
    uint64_t token;    /* the asker's */
    uint64_t asked_ms; /* when it was sent; 0: it waits */
    uint64_t due_ms;
    uint32_t id; /* ours, not 0 */
    bool is_user;
    bool is_token;     /* user is whom the client wants to be, or empty; there is no domain and no backend */
    struct str secret; /* the password, or the token */
    struct guess guess;
    size_t n_user, n_domain, n_client;
    char user[SASL_NAME_MAX], domain[SMTP_DOMAIN_MAX], client[NETADDR_TEXT_MAX];
};
struct dovecot;
struct backend { /* one of the configuration */
    struct list link;
    struct auth *auth;
    struct auth_backend conf; /* its text is in service */
    char service[PAM_SERVICE_MAX];
    struct dovecot *dovecot; /* AUTH_BY_DOVECOT */
};
struct pam_line { /* one process that runs PAM's modules, and answers one question at a time */
    struct auth *auth;
    struct channel *channel; /* NULL: there is none now */
    uint32_t busy;           /* the question's id; 0: none. It may be over for its asker */
};
struct auth {
    struct role_env *env;
    struct world *world;
    struct guesses *guesses;
    struct list askers, backends, questions;
    size_t n_questions;
    uint32_t next_id;
    struct pam_line pam[ROLE_PAM_N];
    struct list pam_waiting;
    struct channel *tables; /* NULL: there is none now */
    struct list tables_waiting, tables_asked;
    struct timer due_timer, count_timer, drain_timer;
    bool is_draining, is_drained;
    struct {
        uint64_t right, wrong, too_many, busy, failed;
    } count;
};

/* ---- auth.c ---- */

enum auth_say { AUTH_SAYS_YES = 0, AUTH_SAYS_NO, AUTH_SAYS_LATER };
/* The name that its asker's user has at the back-end: of nobody where he is none of ours. Of a token: whom the client
 * wants to be. */
struct str auth_name(const struct auth_question *q);
/* Ends it: it is answered, wiped and freed. user: who he is, as the back-end calls him, or empty; with YES
 * only. why: for log and journal where it is LATER. */
void auth_answer(struct auth_question *q, enum auth_say say, struct str user, struct str why);
struct auth_question *auth_find(const struct list *place, uint32_t id);

/* ---- dovecot.c ---- */

MUST_USE struct dovecot *dovecot_new(struct backend *b); /* NULL: no memory */
void dovecot_del(struct dovecot **d);                    /* its questions must be answered before */
void dovecot_ask(struct dovecot *d, struct auth_question *q);
/* It waits too long, and is no more this one's: the caller answers it. Others may be answered by this call.
 */
void dovecot_overdue(struct dovecot *d, struct auth_question *q);

/* ---- pam.c ---- */

void pam_lines_init(struct auth *a);
void pam_lines_peer(struct auth *a, unsigned index, struct channel *c);
void pam_lines_ask(struct auth *a, struct auth_question *q);

/* ---- tables.c ---- */

void tables_init(struct auth *a);
void tables_peer(struct auth *a, struct channel *c);
void tables_ask(struct auth *a, struct auth_question *q);
