/* service/smtpd/smtpd.h: inside of the smtpd role: what session.c, put.c and smtpd.c share. Nobody else
 * includes it.
 *
 * smtpd.c  the role: listeners, the queue's channel, limits, reload and drain
 * session.c one connection: bytes between conn and smtp_server, answers to its questions
 * secure.c TLS: certificates, signatures, handshakes
 * login.c  logins: what SASL asks goes to the keys role, or to auth
 * ask.c    questions to lookup, queue, keys and auth; EXPN
 * put.c    one message on its way to the queue: trace field, header checks, inline or by pipe
 */
#pragma once
#include "base/idmap.h"
#include "base/limits.h"
#include "base/world_tls.h"
#include "proto/smtp_server_impl.h"
#include "service/boot/role.h"
#include "service/boot/signer.h"
#include "wire/feedback.h"
#include "wire/header_fix.h"

enum {
    SMTPD_SCRATCH = 64 * 1024, /* one read; shared by all sessions */
    SMTPD_READS_PER_WAKE = 4,
    SMTPD_OUTPUT_HIGH = 16 * 1024, /* with this much unsent a session reads no further command */
    SMTPD_CLIENT_BUCKETS = 1024,
    SMTPD_ARENA_CHUNK = 4096,
    SMTPD_SPARE_PUTS = 64,          /* finished puts kept with their buffers */
    SMTPD_IDS_WANTED = 1024,        /* queue ids asked for at a time */
    SMTPD_ROOM_MS = 5,              /* a put that the channel has no room for is tried again after this */
    SMTPD_RCPTS_INLINE = 24 * 1024, /* octets of recipients within PUT */
    SMTPD_PIPE_WRITE = 32 * 1024,   /* octets that are worth a write to the pipe before the message's end */
    SMTPD_PIPE_HIGH = 192 * 1024,   /* octets waiting for the pipe before the client is not read */
    SMTPD_ANSWER_MS = SMTP_CLIENT_DATA_END_MS, /* no client waits longer for the queue's word than this */
    SMTPD_LOOK_AGAIN_MS = 5 * 1000,
    SMTPD_GOODBYE_MS = 10 * 1000, /* for the client to take the last reply */
    SMTPD_LINGER_MS = 5 * 1000,   /* and for what it still sends to be read, see session.c */
    SMTPD_LINGER_OCTETS = 4 * 1024 * 1024,
    SMTPD_ASKS_MAX = 200, /* open questions to lookup and queue: fewer than lookup takes of one asker */
    SMTPD_ASK_MS = 10 * 1000,
    SMTPD_WHY_MAX = 200, /* octets of a reason that another process gives */
    SMTPD_EXPN_MEMORY = 4 * 1024 * 1024,
    SMTPD_CALLOUT_MS = 60 * 1000,   /* a connection and three commands at another host */
    SMTPD_AUTH_MS = 30 * 1000,      /* slow hashes, and others before it */
    SMTPD_TLS_MS = 60 * 1000,       /* for a handshake */
    SMTPD_TLS_LOG_MS = 10 * 1000,   /* between two lines about failed ones */
    SMTPD_PROXY_MS = 5 * 1000,      /* for a PROXY header to be whole */
    SMTPD_PROXY_LOG_MS = 10 * 1000, /* between two lines about bad ones: anybody can make them */
    SMTPD_LINGER_MAX = 256,         /* sessions that linger at a time */
    SMTPD_OFFERS = 4,               /* kinds of clients of one listener */
};

enum scan_at { SCAN_START = 0, SCAN_NAME, SCAN_BLANK, SCAN_REST, SCAN_EMPTY };
enum { WATCHED_TAG = 0, WATCHED_TLS_REQUIRED, WATCHED_N };
struct header_scan { /* watches the header section go by */
    enum scan_at at;
    bool in_body, has_field;
    bool is_received; /* this line's name may yet be "received", its octets so far in n_name */
    uint8_t n_name;
    uint32_t n_received;
    struct watched {          /* a field whose value counts */
        struct str name;      /* empty: none */
        bool may_be, in, has; /* this line's name may yet be it; its value goes by; it was there */
        uint8_t n_name, n;
        char text[MAIL_TAG_MAX];
    } watched[WATCHED_N];
    uint64_t n_octets;
};

struct session;
enum put_state { PUT_FILLING = 0, PUT_WAITING_PIPE, PUT_PIPING, PUT_ENDING, PUT_WAITING_ROOM, PUT_SENT };
struct put { /* one message on its way */
    struct idmap_node by_token;
    struct list link;        /* in smtpd.spare or smtpd.waiting_room */
    struct session *session; /* NULL: the client went away meanwhile */
    enum put_state state;
    uint64_t id;
    uint64_t queue_life; /* of the queue that granted the id */
    uint32_t flags;
    struct buf body; /* inline octets, or what the pipe has not taken yet */
    uint64_t size;   /* octets so far, trace field included */
    struct conn *pipe;
    struct header_scan scan;
    bool is_refused;     /* octets are thrown away, the answer is refuse_id */
    bool has_note;       /* SENT, and the client is gone: see leave_note() */
    bool is_pipe_full;   /* on_pipe() goes on */
    bool is_pipe_broken; /* the queue took no more; its word on it has not come yet */
    bool is_told;        /* the queue knows of it, and its id is used */
    bool is_whole;       /* WAITING_PIPE: nothing more will come */
    enum smtp_reply_id refuse_id;
    struct mime_report *report; /* reads along: a recipient is where reports come in */
    struct buf feedback;        /* what it says, once all of it was read; a record or empty */
    struct header_fix fix;      /* of a submission; done from the start for other mail */
    struct str sender;          /* what the queue is told: the client's word, or what it was rewritten to */
    char sender_mem[SMTP_PATH_MAX];
};

struct client { /* sessions of one address; of IPv6 one /64, which is what a host has */
    struct list link;
    uint8_t ip[16];
    enum netaddr_kind kind;
    uint32_t n;
};

struct smtpd_conf { /* what one generation means to smtpd; sessions keep theirs over a reload */
    struct list link;
    const struct config *config;
    uint32_t n_users;                 /* sessions that have it, plus one while it is the present one */
    struct smtp_server_conf offers[]; /* SMTPD_OFFERS for each listener, see smtpd_offer() */
};

/* ASK_AUTH is asked of keys; ASK_ELSEWHERE and ASK_TOKEN are logins, too, asked of auth. */
enum ask_kind { ASK_NONE = 0, ASK_SENDER, ASK_CALLOUT, ASK_ETRN, ASK_AUTH, ASK_ELSEWHERE, ASK_TOKEN };
struct ask { /* a question of a session to lookup, queue, keys or auth */
    struct idmap_node by_token;
    enum ask_kind kind;
    uint32_t question;
    uint64_t due_ms;            /* answered without an answer then */
    const struct address *rcpt; /* of CALLOUT: the server's, while the question is open */
    struct str text;            /* of ETRN, and the user of AUTH, likewise */
};

struct login { /* of a session that was asked for one */
    struct sasl_server_conf conf;
    unsigned char nonce[SASL_SERVER_NONCE], exporter[32], end_point[64];
    uint16_t n_address;
    char address[POLICY_LOGIN_MAX]; /* who has logged in */
};

struct smtpd {
    struct role_env *env;
    struct world *world;
    struct smtpd_conf *conf;
    struct list confs;
    struct channel *queue, *lookup, *keys, *auth;
    struct tls_context *tls; /* NULL: no certificate is in force */
    struct tls_ticket_key
        tickets[TLS_TICKET_KEYS_MAX]; /* ours alone until the supervisor gives common ones */
    size_t n_tickets;
    struct signer signer;
    unsigned mechanisms; /* SASL_BIT() of what every user can do */
    uint64_t tls_log_ms; /* no line about a failed handshake before this */
    struct idmap asks;
    uint32_t n_asks;
    struct chunk_pool pool;
    struct list sessions;
    uint32_t n_sessions, n_lingering;
    struct idmap puts; /* by token, those that wait for put_done */
    struct list spare, waiting_room;
    size_t n_spare;
    uint64_t next_token;
    uint64_t memory_used;                /* octets of bodies and of kept input held here */
    uint64_t id_next, id_end;            /* granted ids */
    uint64_t spare_next, spare_end;      /* the grant after that */
    uint64_t ids_back[SMTPD_IDS_WANTED]; /* granted, and not used by the message they were for */
    size_t n_ids_back;
    uint64_t queue_life; /* counts the queues that were lost */
    bool id_asked;
    bool is_draining, is_drained;
    struct timer drain_timer;
    struct list clients[SMTPD_CLIENT_BUCKETS];
    uint64_t hash_seed;
    struct {
        uint64_t accepted, refused_rcpt, refused_message, sessions, overload, trouble, proxy_bad;
        uint64_t tls, tls_failed, logins, logins_failed, logins_trouble;
    } count;
    struct timer count_timer, room_timer;
    bool is_trouble_told;
    uint64_t proxy_log_ms; /* no line about a bad PROXY header before this */
    char scratch[SMTPD_SCRATCH];
};

struct session {
    struct list link;
    struct smtpd *d;
    struct smtpd_conf *conf;
    struct conn *conn;
    struct client *client;
    const struct listener_conf *at;
    struct netaddr peer; /* whom policy, limits and trace mean: of the connection, of PROXY or of XCLIENT */
    uint32_t uid;        /* of the local socket's peer */
    bool has_uid, has_login, is_ours, may_xclient;
    bool is_awaiting_proxy, is_ungreeted, is_shaking; /* a handshake is under way */
    struct buf client_name;                           /* what XCLIENT said, or empty */
    struct login *login;                              /* NULL before the first AUTH */
    struct ask ask;
    struct put *put;         /* the message being taken, or waiting for its put_done */
    uint32_t question;       /* of SMTP_EV_MESSAGE while waiting */
    int64_t message_wall_ms; /* when it came to its end: before anything the queue tells of it */
    uint32_t data_question;  /* of SMTP_EV_DATA while ids are on their way */
    struct buf in;           /* an incomplete line, or what came while a question was open */
    struct timer timer;
    uint64_t asked_ms; /* since when question or data_question waits */
    size_t n_lingered; /* octets read since all was said */
    unsigned want;
    enum smtp_reply_id close_reply;
    bool is_lmtp, is_closing, is_lingering, is_dead, in_pump, peer_eof;
    const struct smtp_server_conf *offered; /* to this client; of conf */
    struct smtp_server server;
};
_Static_assert(sizeof(struct session) <= sizeof(struct smtp_server) + 480, "20,000 idle sessions are held");

/* session.c */
void session_start(struct smtpd *d, struct listener *l, struct conn *c);
/* The queue's word on the session's message. id is for the reply. The caller pumps the session afterwards. */
void session_message_done(struct session *s, enum err err, uint64_t id);
/* Answers the session's message with this reply (LMTP: once for each recipient). */
void session_message_reply(struct session *s, enum smtp_reply_id id, struct str arg);
/* Output room or pipe room came back, or an answer was given: go on. */
void session_pump(struct session *s);
/* Queue ids were granted, or the queue was lost: whoever waited for them goes on. */
void session_ids_came(struct smtpd *d);
void session_shutdown(struct session *s); /* 421 now, unless a message is being made durable */
void session_del(struct session *s);

/* What this client is offered, once more: it has become somebody. */
void session_offer(struct session *s);
/* The handshake is done. */
void session_secured(struct session *s);
/* A refusal in the journal: of whom, with this row's text. */
void session_tell_refused(struct session *s, struct str whom, enum smtp_reply_id id);
/* The same for trouble of ours; why: for people, it may be of another process, and is cut. */
void session_tell_trouble(struct session *s, struct str whom, enum smtp_reply_id id, struct str why);
/* Answers with the journal told of a refusal. The caller pumps. */
void session_answer_rcpt(struct session *s, uint32_t question, const struct address *rcpt,
                         enum smtp_reply_id id);
void session_answer_mail(struct session *s, uint32_t question, enum smtp_reply_id id);
bool session_is_in(const struct netblock *blocks, size_t n, const struct netaddr *a);

/* submission.c */
/* The sender and the header of a message whose client has a transaction. */
void submission_begin(struct put *p);
/* Whom a recipient of the client is for; borrowed from it, or from the configuration, or put into mem:
 * SMTP_PATH_MAX. */
struct str submission_rcpt(const struct session *s, const struct address *to, struct buf *mem);
/* Did rewriting make the i-th recipient one that came before it? One copy is enough then. */
bool submission_is_copy(const struct session *s, uint32_t i);

/* secure.c */
void secure_init(struct smtpd *d);
void secure_fini(struct smtpd *d);
/* Certificates or configuration changed: new handshakes use what is in force now. */
void secure_renew(struct smtpd *d);
void secure_on_tickets(struct smtpd *d, const struct ipc_sup_tickets *m);
/* Is there a certificate, and who signs for it? */
bool secure_is_ready(const struct smtpd *d);
/* Starts the handshake; session_secured() when it is done. The session may be gone afterwards. */
void secure_start(struct session *s);

/* login.c */
/* Which hashes of SCRAM every user can do: bits 1 << enum scram_hash. */
void login_on_offer(struct smtpd *d, unsigned scram);
/* What sasl_server_offered() says for this connection, which has TLS. */
unsigned login_mechanisms(struct session *s);
void login_question(struct session *s, const struct smtp_event *ev);
void login_on_answer(struct session *s, const struct ipc_auth_answer *m);
void login_without(struct session *s, const char *why); /* no answer will come; the caller pumps */
void login_done(struct session *s, const struct smtp_event *ev);
struct str login_address(const struct session *s); /* empty: nobody has logged in */
void login_forget(struct session *s);

/* ask.c: each answers its event, at once or later */
/* Opens the question of ev; false: too many are open, or the role that knows is gone. */
bool ask_begin(struct session *s, enum ask_kind kind, const struct smtp_event *ev);
void ask_sender(struct session *s, const struct smtp_event *ev);
void ask_callout(struct session *s, const struct smtp_event *ev);
void ask_etrn(struct session *s, const struct smtp_event *ev);
void answer_expn(struct session *s, const struct smtp_event *ev);
void ask_on_mx(struct smtpd *d, const struct ipc_mx_answer *m);
void ask_on_callout(struct smtpd *d, const struct ipc_callout_answer *m);
void ask_on_etrn(struct smtpd *d, const struct ipc_etrn_answer *m);
void ask_on_timer(struct session *s); /* no answer came; the caller pumps */
void ask_on_auth(struct smtpd *d, enum role from, const struct ipc_auth_answer *m);
void ask_on_lost(struct smtpd *d, enum role who); /* lookup, the queue, keys or auth went away */
void ask_forget(struct session *s);               /* harmless without a question */

/* put.c */
/* NULL: no memory, no queue: *out_reply says which 4xx; R_NONE: ids are on their way. */
struct put *put_begin(struct session *s, enum smtp_reply_id *out_reply);
/* Takes octets of the message. */
void put_body(struct put *p, struct str octets);
/* Must the client wait, because the pipe is full or could not be made yet? */
bool put_is_full(const struct put *p);
/* The message is complete: sends it. A refusal or a lost queue is answered within this call; else the answer
 * comes with the queue's put_done. */
void put_end(struct put *p);
/* Forget it: the client is gone or aborted. A put that was sent stays until the queue answers: the journal
 * hears of it. */
void put_abort(struct put *p);
void put_on_done(struct smtpd *d, const struct ipc_put_done *m);
void put_on_room(struct smtpd *d);
void put_on_queue_lost(struct smtpd *d);
void put_ask_ids(struct smtpd *d);
void put_fini_all(struct smtpd *d);

/* smtpd.c */
/* What clients of this kind are offered at a listener of the configuration; lives as long as conf. */
const struct smtp_server_conf *smtpd_offer(const struct smtpd_conf *conf, const struct listener_conf *at,
                                           bool is_ours, bool may_xclient);
void smtpd_conf_unref(struct smtpd *d, struct smtpd_conf *c);
void smtpd_session_gone(struct smtpd *d); /* after each session's end: draining may be over */
