/* service/relay/relay.h: inside of the relay role: what relay.c, relay_job.c and relay_conn.c share.
 *
 * relay.c          the role: peers, jobs coming and answered, idle connections
 * relay_job.c      one job's search for a server: next hops and their addresses, one after the other
 * relay_conn.c     one connection: octets between conn and smtp_client, and the body
 * relay_tls.c      how safe a connection must be, its handshake, what is known of hosts
 * relay_dane.c     what DNSSEC says of a host: questions and the verdict
 * relay_login.c    passwords of next hops
 * relay_cert.c     our own certificates, and their signatures
 * relay_resume.c   sessions of TLS to go on with
 * relay_convert.c  the message made fit for a server that takes less
 * relay_source.c   the address that a connection leaves from
 * relay_report.c   what became of TLS, for reports to domains
 */
#pragma once
#include "base/idmap.h"
#include "base/limits.h"
#include "base/world_tls.h"
#include "ipc/events.h"
#include "ipc/lists.h"
#include "policy/policy.h"
#include "proto/smtp_client.h"
#include "service/boot/role.h"
#include "service/boot/signer.h"
#include "verify/tls_level.h"
#include "verify/tls_rpt_judge.h"
#include "wire/downgrade.h"

enum {
    RELAY_SCRATCH = 64 * 1024,
    RELAY_JOBS_MAX = 4096,
    RELAY_HOPS_MAX = DNS_MX_MAX,
    RELAY_PIECE = 64 * 1024,
    RELAY_TURN_OCTETS = 256 * 1024, /* what one connection writes, or reads, before others have their turn */
    RELAY_ARENA_CHUNK = 4096,
    RELAY_IDLE_MAX = 1000, /* connections kept in all */
    RELAY_HOST_TEXT = 400,
    RELAY_PROOF_TEXT = 600,
    RELAY_REASON_TEXT = 400,
    RELAY_DANE_TEXT = 300,
    RELAY_NAMES_MAX = 2 * (SMTP_DOMAIN_MAX + 8), /* octets of the list of names for a certificate */
    RELAY_SEEN_MAX = 20000,                      /* hosts that TLS was spoken with */
    RELAY_RESUME_MAX = 1000,                     /* sessions of TLS kept */
    RELAY_RESUME_MS = 60 * 60 * 1000,            /* what was checked then counts no longer */
    /* how long that counts: less than mail waits in the queue, so that a host that gave TLS up gets its mail
     */
    RELAY_SEEN_MS = 2 * 24 * 60 * 60 * 1000,
    /* octets of messages that are in memory to be converted, in all: one of the default size with what is put
     * before it has room */
    RELAY_CONVERT_MAX = SMTP_SIZE_DEFAULT + 1024 * 1024,
};

struct relay;
struct link;
struct relay_dane;

enum convert_stage { /* of a job whose server waits for the conversion */
                     CONVERT_NOT = 0,
                     CONVERT_READ, /* the pipe into memory */
                     CONVERT_SCAN,
                     CONVERT_MEASURE,
};
struct job {
    struct list link;              /* in relay.jobs */
    struct idmap_node by_question; /* while a HOST_ASK is open */
    struct relay *relay;
    uint64_t token, id, size;
    uint32_t flags;
    bool is_lmtp, is_callout, is_asking;
    struct mail_params params;
    struct buf text; /* everything that the job's slices point into */
    struct str site, source, sender, body;
    enum hop_tls tls;
    bool is_smtps, trusts_hops;
    bool in_plain; /* TLS failed with the present address: the next connection to it goes without */
    char tls_why[RESULT_TEXT_MAX]; /* how it failed */
    struct str names, user, secret, certificate;
    enum dane_mx mx;
    enum mta_sts_mode sts;          /* of the domain's policy */
    uint32_t sts_hops;              /* by place in hops: the host is one of the policy's */
    struct str next_hop, canonical; /* empty: the host itself; no such */
    struct relay_dane *dane;        /* of the present hop; NULL: not asked for */
    uint32_t n_refused;             /* addresses that mail like this must never go to */
    struct rcpt *rcpts;
    uint32_t n_rcpts;
    struct hop hops[RELAY_HOPS_MAX];
    uint32_t n_hops, hop; /* hop: the one being tried */
    struct netaddr addresses[SMTP_CLIENT_ADDRESSES_MAX];
    uint32_t n_addresses, address; /* of the present hop */
    uint32_t n_tried, n_absent;    /* addresses tried; hops whose name does not exist */
    uint32_t n_unknown;            /* hops whose addresses could not be looked up */
    uint32_t n_before;             /* addresses tried of hops before the present one */
    struct conn *pipe;             /* the body when it is not in `body` */
    struct buf piece;              /* octets from the pipe that the client has not taken yet */
    uint64_t n_read, n_given;
    bool pipe_ended, body_begun;
    enum convert_stage converting;
    struct downgrade *converter; /* what the present server gets is its output */
    bool converter_ended;
    uint64_t n_converted; /* octets of body that went through it in this pass */
    uint64_t n_measured;  /* octets that came out */
    struct buf whole;     /* the body that came by pipe, once it had to be converted */
    uint64_t n_reserved;  /* of relay.convert_octets */
    struct link *on;      /* the connection that carries it */
    /* the last failure before any recipient was spoken of */
    enum smtp_client_stage fail_stage;
    uint16_t fail_code;
    struct esc fail_esc;
    char fail_host[RELAY_HOST_TEXT], fail_text[RESULT_TEXT_MAX];
};

enum link_state { LINK_CONNECTING = 0, LINK_HELLO, LINK_BUSY, LINK_IDLE, LINK_QUITTING };
struct link {         /* one connection to a server */
    struct list link; /* in relay.links, or relay.idle while LINK_IDLE */
    struct relay *relay;
    enum link_state state;
    struct conn *conn;
    struct connecting *connecting;
    struct smtp_client *client; /* NULL: connecting, or TLS comes before the greeting */
    struct job *job;            /* HELLO: waits for it; BUSY */
    struct timer timer;
    uint64_t idle_until_ms;
    unsigned want;
    bool is_lmtp, in_pump, is_dead;
    bool is_near, has_name;           /* on this machine; key is a host name */
    struct tls_level_verdict verdict; /* what it was made for */
    struct tls_level_verdict wanted;  /* what the present job asks for; that is no more */
    enum dane_result dane;            /* of the host, when the connection was made */
    enum dane_mx mx;                  /* and of the domain that it was made for */
    char next_hop[SMTP_DOMAIN_MAX + 1];
    bool is_dane; /* a TLSA record matched, of this usage */
    uint8_t dane_usage;
    enum smtp_client_tls tls;
    bool is_smtps, wants_tls, is_shaking, is_encrypted, is_verified;
    bool is_fallback_due; /* TLS failed, and the mail may go without */
    bool is_reported;     /* what became of TLS was told */
    size_t names_n;
    char names[RELAY_NAMES_MAX];
    char key[RELAY_HOST_TEXT];       /* what is known of the host is known by this */
    char proof[RELAY_PROOF_TEXT];    /* of TLS, or why there is none */
    char dane_said[RELAY_DANE_TEXT]; /* what DANE said of the host; empty: was not asked */
    struct smtp_client_login login;
    struct str password,
        prepared; /* until it was said; prepared: by SASLprep, where that is something else */
    char user[ROUTE_USER_MAX + 1];
    char prepared_user[ROUTE_USER_MAX + 1];
    uint64_t secret_hash; /* of the name of what password says */
    uint64_t cert_hash;   /* of the name of our certificate, which was shown if the server asked */
    struct str site;
    char host[RELAY_HOST_TEXT]; /* "mx.example.org [192.0.2.1]:25" */
    char site_text[512];
    char from[64]; /* "192.0.2.7", or empty: the system chose */
    /* our own copies: the configuration may be replaced while we greet */
    char helo[SMTP_DOMAIN_MAX + 1], hostname[SMTP_DOMAIN_MAX + 1];
};

struct seen_host { /* TLS was spoken with it */
    struct idmap_node by_name;
    struct list by_use;
    uint64_t at_ms;
    bool is_verified;
    char name[RELAY_HOST_TEXT];
};
struct relay_secret {
    struct list link;
    struct str name, octets; /* secret_copy()s */
};

struct relay_cert { /* one of ours */
    struct list link;
    struct tls_context *tls, *tls_any; /* as those of struct relay */
    size_t n_name;
    char name[]; /* the path of its file, by which jobs call it */
};

struct unsent { /* an answer that waits for room in the queue's channel */
    struct list link;
    uint64_t token;
    struct buf results;
};

struct relay {
    struct role_env *env;
    struct world *world;
    struct channel *queue, *lookup, *keys, *agent;
    struct chunk_pool pool;
    struct list jobs, links, idle;
    size_t n_jobs, n_idle;
    struct idmap questions, dane_questions;
    uint64_t next_question;
    struct tls_context *tls;     /* NULL: this world, or this process, has no TLS */
    struct tls_context *tls_any; /* where nobody is authenticated: servers of long ago too; NULL with it */
    struct crypto *crypto;
    struct idmap seen; /* struct seen_host by the hash of the name */
    struct list seen_by_use;
    uint64_t seed;
    struct list secrets;
    struct list certs;
    struct signer signer;
    struct idmap sessions; /* struct kept_session */
    struct list sessions_by_age;
    uint64_t convert_octets; /* at most RELAY_CONVERT_MAX */
    uint64_t n_unreported;   /* sessions of TLS that agent had no room for */
    bool is_draining;
    struct turn_hook turn;
    struct list unsent;
    struct list ended; /* links to free at the end of the turn */
    char scratch[RELAY_SCRATCH];
};

/* relay_job.c */
struct job *job_new(struct relay *r, const struct ipc_relay_job *m, struct handle *given);
void job_del(struct job *j);
/* Takes an idle connection to its site or starts looking for a server. */
void job_start(struct job *j);
/* On a new connection from the first hop on: the kept one was worth nothing. */
void job_start_anew(struct job *j);
/* This address did not work (text in j->fail_*): the next one, the next hop, or the end. */
void job_next_address(struct job *j);
/* This host, at whatever address, must never get mail like this (likewise): the next hop, or the end. */
void job_next_host(struct job *j);
/* TLS did not work with it (likewise), and the mail may go without: the same once more. */
void job_again_in_plain(struct job *j);
/* Does a hop before the present one exist, as far as is known? */
bool job_has_better(const struct job *j);
/* The present hop is this server, under whatever name or address. */
void job_on_loop(struct job *j);
void job_on_answer(struct relay *r, const struct ipc_host_answer *m);
void job_on_lookup_lost(struct relay *r);
/* Notes why an attempt failed. */
void job_note(struct job *j, enum smtp_client_stage stage, uint16_t code, struct esc esc, const char *host,
              struct str text);

/* relay_dane.c */
/* The addresses of j's hop are here: asks what DANE wants to know besides. true: job_next_address() follows
 * when that is answered; false: now is the time for it. */
MUST_USE bool relay_dane_begin(struct job *j, const struct ipc_host_answer *m);
void relay_dane_on_answer(struct relay *r, const struct ipc_rr_answer *m);
bool relay_dane_is_asking(const struct job *j);
/* Of the present hop, not DANE_ASK once it is tried; NULL: DANE does not concern it. */
const struct dane_verdict *relay_dane_verdict(const struct job *j);
/* Appends what the verdict is drawn from, for people. */
void relay_dane_why(const struct job *j, struct buf *out);
/* Appends what was found, as list_put_str() texts in an order of their own; those that are usable, where some
 * are. */
void relay_dane_lines(const struct job *j, struct buf *out);
/* Forgets the hop, and its questions. */
void relay_dane_drop(struct job *j);

/* relay_conn.c */
/* Starts connecting for j; false: no memory or descriptors (noted in j). */
bool relay_link_open(struct job *j, const struct netaddr *to, struct str name);
void relay_link_take_job(struct link *k, struct job *j); /* k is idle */
void relay_link_pump(struct link *k);
void relay_link_end(struct link *k); /* closes; freed at the end of the turn; its job must be gone */
void relay_link_quit(struct link *k);

/* The conversation begins; s: inside TLS, else NULL. */
void relay_link_greet(struct link *k, const struct smtp_client_secured *s);
/* Before it could: k ends, its job goes on elsewhere. */
void relay_link_give_up(struct link *k);

void relay_want_pipe(struct job *j); /* pump again when the pipe has octets */

/* relay_tls.c */
/* Fills in how safe k must be for j. false: there is no going to this host; noted in j. */
MUST_USE bool relay_tls_judge(struct link *k, struct job *j, const struct netaddr *to, struct str name);
/* What k was made for, as j has it. */
void relay_tls_facts(const struct link *k, const struct job *j, struct tls_level_facts *out);
/* Does the domain's policy name k's host? */
bool relay_tls_is_of_policy(const struct link *k, const struct job *j);
/* An idle connection that serves j gets it: what it asks for is kept for relay_tls_tell(). */
void relay_tls_take(struct link *k, const struct job *j);
/* Appends what k's job wanted and why, and says whether k is proven to be the next hop's. */
bool relay_tls_tell(const struct link *k, struct buf *out);
/* Is an idle connection as safe as this job wants it, and logged in as the same user? */
bool relay_tls_serves(const struct link *k, const struct job *j);
/* The session failed at STARTTLS or before, with this result: noted in j, with what wanted TLS there. */
void relay_tls_note(const struct link *k, struct job *j, const struct smtp_client_result *f);
/* Starts the handshake. k goes on, or ends, later; it may end within the call. */
void relay_tls_begin(struct link *k);
/* Makes the contexts anew, from the authorities of the configuration. */
void relay_tls_setup(struct relay *r);
void relay_tls_fini(struct relay *r);
/* A context with the authorities of the configuration and our certificate, or NULL: without. like: one that
 * has these authorities, to share them, or NULL. NULL: why was told in the log. */
struct tls_context *relay_tls_context(struct relay *r, const struct tls_certificate *ours, bool legacy,
                                      const struct tls_context *like);
enum tls_seen relay_seen(const struct relay *r, struct str name);
void relay_see(struct relay *r, struct str name, bool is_verified);
void relay_seen_clear(struct relay *r);

/* relay_cert.c */
/* That of env->certificates[i] is new, has changed or is gone. */
void relay_cert_take(struct relay *r, size_t i);
/* All of them, after relay_tls_setup(): with other authorities. */
void relay_certs_setup(struct relay *r);
/* Forgets those that the present configuration does not name. */
void relay_certs_prune(struct relay *r);
void relay_certs_fini(struct relay *r);
/* The context to show it in, or where the name is empty one without; any: where nobody is authenticated.
 * NULL: it is not at hand. */
struct tls_context *relay_cert_context(const struct relay *r, struct str name, bool any);

/* relay_resume.c */
/* k's session, which its server has just given, is for the next connection like it. */
void relay_resume_keep(struct link *k);
/* One for the handshake that k begins; the caller frees it. NULL: there is none. */
struct tls_session *relay_resume_take(struct link *k);
void relay_resume_clear(struct relay *r);

/* relay_login.c */
/* The password that a configuration calls by this name; replaces the one before. Only the first line counts.
 */
void relay_secret_set(struct relay *r, struct str name, struct str octets);
/* Forgets those that the present configuration does not name; all: all of them. */
void relay_secrets_prune(struct relay *r, bool all);
/* Fills in k's login, if j wants one. false: the password is not here; noted in j. */
MUST_USE bool relay_login_fill(struct link *k, struct job *j, struct str host, uint16_t port);
/* k needs the password no more. */
void relay_login_end(struct link *k);

/* relay_convert.c */
/* After SMTP_CLIENT_WANT_CONVERSION; answers the client now or from relay_convert_step(). */
void relay_convert_begin(struct link *k);
/* Some of the work, at most about RELAY_TURN_OCTETS of it; nothing, unless the server waits for it. */
void relay_convert_step(struct link *k);
/* There is more to do in the next turn, whatever the pipe and the server do. */
bool relay_convert_is_busy(const struct job *j);
/* The next octets of the converted message into j->piece; no more come when it is empty and
 * converter_ended. false: no memory. */
MUST_USE bool relay_convert_next(struct job *j);
/* The next server may take the message as it is. Gives back what was put aside for a pipe that nothing was
 * read from; a body that is in memory stays there: nobody else has it. */
void relay_convert_drop(struct job *j);

/* relay_source.c */
/* Where the next connection of j to `to` leaves from (kind NETADDR_NONE: anywhere) and what it says in EHLO.
 * Which of the pool's addresses of the family is chance. false: there is none, noted in j. */
MUST_USE bool relay_source_pick(struct job *j, const struct netaddr *to, const char *host,
                                struct netaddr *out_from, struct str *out_helo);

/* relay_report.c */
/* What became of TLS on k, or that it was not tried, goes to agent, once; nothing, where nobody wants reports
 * or j is no mail to a domain's own servers. */
void relay_report(struct link *k, const struct job *j, enum tls_rpt_end end, enum tls_fault fault,
                  struct str reason);
/* k is ready: without TLS, maybe. */
void relay_report_plain(struct link *k, const struct job *j);
/* k's conversation failed with this: because of TLS, maybe. */
void relay_report_failure(struct link *k, const struct job *j, const struct smtp_client_result *f);
/* The handshake is done, and was enough for j. */
void relay_report_secured(struct link *k, const struct job *j, const struct tls_facts *f);
/* agent has room, or is there anew: logs what it has missed. */
void relay_report_room(struct relay *r);

/* relay.c */
/* Answers the queue; the job is deleted. */
void relay_answer(struct job *j, const struct job_result *results, size_t n);
/* One result for all its recipients. */
void relay_answer_all(struct job *j, const struct job_result *result);
struct link *relay_find_idle(struct relay *r, const struct job *j);
