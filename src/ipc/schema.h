/* ipc/schema.h: every message between two roles, once: type, fields, and (in rights.c) who may send it to
 * whom.
 *
 * A message is encoded as its fields in order: fixed little-endian integers, strings with a u32 length.
 * Decoding checks every length and that nothing is left over. Strings borrow from the payload. Lists travel
 * as one string field with the helpers of ipc/lists.h. "+channel", "+conn" name the handle that comes with a
 * message.
 */
#pragma once
#include "base/world.h"

/* supervisor <-> every role. Start-up order: CONFIG, PEER*, LISTENER*, START; then the role enters its
 * sandbox and says READY. Later PEER replaces the channel to a role that was restarted, CONFIG is a reload.
 */
/* +blob: config_encode() octets */
#define IPC_FIELDS_sup_config(F) F(u64, generation)
/* +channel */
#define IPC_FIELDS_sup_peer(F) F(u8, role) F(u8, index)
/* +listener; index in the configuration */
#define IPC_FIELDS_sup_listener(F) F(u16, listener)
#define IPC_FIELDS_sup_start(F) F(u64, generation)
/* what the sandbox holds, for people */
#define IPC_FIELDS_sup_ready(F) F(u64, generation) F(str, sandbox)
/* finish, then exit 0 */
#define IPC_FIELDS_sup_drain(F) F(u64, deadline_ms)
/* role -> supervisor: can't start */
#define IPC_FIELDS_sup_failed(F) F(str, reason)

/* supervisor -> keys: secrets. Each is answered by one key_state, also when it is refused.
 * key: a number that stands for this one key and chain for ever (a renewed certificate gets a new number);
 * uses: KEY_USE_*; name: the certificate's file, for people; chain: PEM. +blob: the private key, PEM */
#define IPC_FIELDS_sup_key(F) F(u32, key) F(u8, uses) F(str, name) F(str, chain)
/* name: the file's path as the configuration has it, by which askers name it. +blob: its octets. What there
 * was of this name is replaced, or stays when the new one is refused. seed: a
 * secret of this machine, for the salts of users that aren't there */
#define IPC_FIELDS_sup_users(F) F(u32, file) F(str, name) F(str, seed)
/* Nobody needs it any more. kind: enum secret_kind */
#define IPC_FIELDS_sup_forget(F) F(u8, kind) F(u32, number)
/* keys -> supervisor. err ERR_OK: in force; then `why` may hold a warning. n: users of the file */
#define IPC_FIELDS_key_state(F) F(u8, kind) F(u32, number) F(u8, err) F(u32, n) F(str, why)
/* supervisor -> smtpd, https, relay: the certificate of that place in the configuration has this chain and key now.
 * +blob: the chain, PEM; empty: it is gone */
#define IPC_FIELDS_sup_cert(F) F(u16, certificate) F(u32, key) F(u8, uses) F(str, name)
/* supervisor -> relay, tables: what a file with the password of a next hop, a directory or a database holds. name: its
 * path, by which jobs and the configuration call it. +blob: its octets */
#define IPC_FIELDS_sup_secret(F) F(str, name)

/* supervisor -> smtpd, once it is ready and at each change: struct tls_ticket_key one after another, the first
 * seals */
#define IPC_FIELDS_sup_tickets(F) F(str, keys)

/* acme -> supervisor: an authority is going to ask, open the port. Answered by sup_port to acme: ERR_OK, or why not;
 * and before that by one sup_port +listener to http01 for each address. */
#define IPC_FIELDS_acme_port(F) F(u32, token)
#define IPC_FIELDS_sup_port(F) F(u32, token) F(u8, err)
/* acme -> supervisor: the certificate of that place in the configuration has come */
#define IPC_FIELDS_acme_issued(F) F(u16, certificate)
/* acme -> http01: from now on this is the answer for the token, too; an empty token: forget all, and close the port.
 * http01 -> acme: so it is, and the port is open (or closed) */
#define IPC_FIELDS_http01_serve(F) F(str, token) F(str, answer)
#define IPC_FIELDS_http01_serving(F) F(str, token)
/* acme -> https: from now on this is the proof for the name, too (RFC 8737): digest: SHA-256 of the key authorization,
 * 32 octets. An empty name: forget all. https -> acme: so it is */
#define IPC_FIELDS_alpn_serve(F) F(str, name) F(str, digest)
#define IPC_FIELDS_alpn_serving(F) F(str, name)

/* smtpd -> queue. The octets of a message of at most IPC_BODY_INLINE_MAX are in `body`; longer ones come by
 * the pipe and are ended by put_commit. The recipient list may be begun by put_rcpts. Each put is answered by
 * one put_done. agent -> queue: a report about TLS, by id_want and put alone: one recipient, the configured address as
 * the sender, no flags, params, client and helo (queue knows them). */
#define IPC_FIELDS_id_want(F) F(u32, n)
#define IPC_FIELDS_id_grant(F) F(u64, first) F(u32, n)
#define IPC_FIELDS_put_rcpts(F) F(u64, token) F(str, rcpts)
#define IPC_FIELDS_put(F)                                                                                    \
    F(u64, token)                                                                                            \
    F(u64, id)                                                                                               \
    F(u32, flags)                                                                                            \
    F(str, sender) F(str, params) F(str, rcpts) F(str, client) F(str, helo) F(u8, is_piped) F(str, body)
/* flags, feedback: what became known behind the put: MAIL_FLAG_8BIT; a record of wire/feedback.h, or empty */
#define IPC_FIELDS_put_commit(F) F(u64, token) F(u64, size) F(u32, flags) F(str, feedback)
#define IPC_FIELDS_put_abort(F) F(u64, token)
/* enum err */
#define IPC_FIELDS_put_done(F) F(u64, token) F(u64, id) F(u8, err)
/* Does the next hop of the domain take this recipient? kind: enum result_kind; code 0: we decided. */
#define IPC_FIELDS_callout_ask(F) F(u64, token) F(str, rcpt)
#define IPC_FIELDS_callout_answer(F)                                                                         \
    F(u64, token) F(u8, kind) F(u16, code) F(u8, class) F(u16, subject) F(u16, detail) F(str, text)
/* ETRN: what waits for the domain is due now; n: how many. is_run 0: not now, too many ask. */
#define IPC_FIELDS_etrn_ask(F) F(u64, token) F(str, domain)
#define IPC_FIELDS_etrn_answer(F) F(u64, token) F(u8, is_run) F(u32, n)

/* smtpd (mx), queue, relay, agent (host, rr) -> lookup and back. status: enum dns_status; what DNSSEC calls bogus is
 * DNS_STATUS_TEMPORARY, like all that has no answer. is_secure: DNSSEC validated the answer, one that says
 * "no such" too, and every CNAME before it. canonical: the name behind the CNAMEs, or empty. */
#define IPC_FIELDS_mx_ask(F) F(u64, token) F(str, domain)
#define IPC_FIELDS_mx_answer(F)                                                                              \
    F(u64, token) F(u8, status) F(u8, is_secure) F(u32, ttl_s) F(str, hosts) F(str, canonical) F(str, why)
/* Of two answers, A and AAAA, one is enough to be secure; canonical is then of that one. */
#define IPC_FIELDS_host_ask(F) F(u64, token) F(str, name)
#define IPC_FIELDS_host_answer(F)                                                                            \
    F(u64, token) F(u8, status) F(u8, is_secure) F(u32, ttl_s) F(str, addresses) F(str, canonical) F(str, why)
/* Records of one type (DNS_TLSA, DNS_CNAME, DNS_TXT) as they are. rdata: list_put_str(), uncompressed wire
 * form. A CNAME is that of the name itself; the others are what CNAMEs lead to. */
#define IPC_FIELDS_rr_ask(F) F(u64, token) F(u16, type) F(str, name)
#define IPC_FIELDS_rr_answer(F)                                                                              \
    F(u64, token) F(u8, status) F(u8, is_secure) F(u32, ttl_s) F(str, rdata) F(str, canonical) F(str, why)

/* queue -> agent: what does MTA-STS (RFC 8461) say of the domain of recipients? mode: enum mta_sts_mode of
 * verify/mta_sts.h, none without a policy in force; ttl_s: how long the answer is good for; id: of the policy;
 * mx: list_put_str(), the patterns that its hosts match. why says it for people. */
#define IPC_FIELDS_sts_ask(F) F(u64, token) F(str, domain)
#define IPC_FIELDS_sts_answer(F) F(u64, token) F(u8, mode) F(u32, ttl_s) F(str, id) F(str, mx) F(str, why)

/* relay -> agent: one connection towards a domain and what became of its TLS, for the day's report (RFC 8460). Never
 * waited for: dropped when the channel is full. policy: enum tls_rpt_type of verify/tls_rpt.h; result: enum
 * tls_rpt_result, or TLS_SESSION_OK when it was as the policy wants; lines, list_put_str(): the TLSA records as text
 * where the policy is that (what an MTA-STS policy says the agent knows); domain: of the recipients; mx: the host's
 * name or empty; helo: ours; sending, receiving: addresses without ports, or empty; reason: for people, it may
 * quote the other side. */
#define IPC_FIELDS_tls_session(F)                                                                            \
    F(u8, policy)                                                                                            \
    F(u8, result) F(str, domain) F(str, lines) F(str, mx) F(str, helo) F(str, sending) F(str, receiving)     \
        F(str, reason)

/* smtpd, https, relay -> keys: a signature for a handshake. scheme, digest: enum tls_scheme, enum tls_digest of
 * base/world_tls.h; octets: the digest's value, or what is to be signed where the scheme has no digest of
 * its own. signature is empty where err is not ERR_OK. */
#define IPC_FIELDS_sign_ask(F) F(u64, token) F(u32, key) F(u8, scheme) F(u8, digest) F(str, octets)
#define IPC_FIELDS_sign_answer(F) F(u64, token) F(u8, err) F(str, signature)
/* smtpd -> keys: is this user who he says? kind: enum auth_kind; hash: enum scram_hash (SCRAM only); file: a
 * path of the configuration; client: the address that asks, for the limit of guesses. secret: the password,
 * or the client's proof; message: SCRAM's AuthMessage (RFC 5802 3).
 * salt, iterations: for scram_first; signature: the server's, for scram_final that is right.
 * smtpd -> auth: file is a domain, its user and the password are asked of who looks at its passwords; user of the
 * answer: who it is, an address, where the verdict is AUTH_OK. auth -> pam: file is a service. auth -> tables: file is
 * a domain; why: for log and journal, where the verdict is AUTH_TEMPORARY: it may quote who was asked.
 * AUTH_TOKEN goes from smtpd to auth and on to tables: secret is an access token, file is empty, user is whom the
 * client wants to be, or empty; user of tables' answer: for whom the token is, in the issuer's words. */
#define IPC_FIELDS_auth_ask(F)                                                                               \
    F(u64, token)                                                                                            \
    F(u8, kind) F(u8, hash) F(str, file) F(str, user) F(str, client) F(str, secret) F(str, message)
#define IPC_FIELDS_auth_answer(F)                                                                            \
    F(u64, token) F(u8, verdict) F(str, salt) F(u32, iterations) F(str, signature) F(str, user) F(str, why)
/* keys -> smtpd, first of all and at each change. scram: bits 1 << enum scram_hash that each user can do */
#define IPC_FIELDS_auth_offer(F) F(u8, scram)

/* queue -> relay, queue -> local: one attempt for recipients of one envelope at one site. Answered by one
 * job_done with a result for each recipient, in order. A body over IPC_BODY_INLINE_MAX comes by the pipe,
 * whole or the attempt fails. params: mail_params_put() octets; rcpts: rcpt_put() records (wire/params.h).
 * source: a pool of the configuration, or empty. tls: enum hop_tls of policy/policy.h; is_smtps: TLS before the
 * greeting; names: list_put_str(), what a certificate may be for, ".example.org" for any one name below it;
 * trusts_hops: the names of hosts count too; mx, next_hop, canonical: what struct dane_facts of verify/dane.h has of
 * the domain, next_hop empty where hosts has it; sts: the mode of the domain's policy, as in sts_answer; sts_hops: bit
 * 1 << i: the i-th of hosts is one of the policy's; user, secret: a login, or empty (policy's struct hop_login).
 * certificate: the name of that which is shown to a host that asks, or empty.
 * is_callout: no body, the answer to RCPT is all that is wanted. maildir is empty where the recipient's target
 * is a pipe: local finds what to run in its own configuration. home: whose .forward is to be read first, or empty. */
#define IPC_FIELDS_relay_job(F)                                                                              \
    F(u64, token)                                                                                            \
    F(u64, id)                                                                                               \
    F(u32, flags)                                                                                            \
    F(u8, is_lmtp)                                                                                           \
    F(u8, is_callout) F(str, site) F(str, source) F(str, hosts) F(str, sender) F(str, params) F(str, rcpts)  \
        F(u8, mx) F(str, next_hop) F(str, canonical) F(u8, sts) F(u32, sts_hops)                             \
        F(u8, tls) F(u8, is_smtps) F(u8, trusts_hops) F(str, names) F(str, user) F(str, secret)              \
        F(str, certificate) F(u64, size) F(u8, is_piped) F(str, body)
#define IPC_FIELDS_local_job(F)                                                                              \
    F(u64, token)                                                                                            \
    F(u64, id)                                                                                               \
    F(u32, flags)                                                                                            \
    F(str, maildir)                                                                                          \
    F(str, home)                                                                                             \
    F(str, user_name) F(u32, uid) F(u32, gid) F(str, sender) F(str, rcpts) F(u64, size) F(u8, is_piped)      \
        F(str, body)
#define IPC_FIELDS_job_done(F) F(u64, token) F(str, results)
/* local <-> deliver: the same job for the one user that the child is; plus nothing else. */
/* local -> deliver, to the one that is rooted at the user's home: what does .forward say? uid: who may own it
 * beside root; UINT32_MAX: not known. The answer: `says` (enum home_says) and, when that is HOME_SAYS_RESULT,
 * what a JOB_DONE for the recipient would carry. */
#define IPC_FIELDS_forward_ask(F) F(u64, token) F(u32, uid) F(str, user_name) F(str, rcpt)
#define IPC_FIELDS_forward_answer(F) F(u64, token) F(u8, says) F(str, results)
/* local -> pipe: the same for a program (a LOCAL_JOB without a Maildir). words: list_put_str(), the program's
 * absolute path first. */
#define IPC_FIELDS_pipe_job(F)                                                                               \
    F(u64, token)                                                                                            \
    F(u64, id)                                                                                               \
    F(u32, flags)                                                                                            \
    F(str, words)                                                                                            \
    F(str, login) F(str, home) F(str, extension) F(str, domain) F(str, sender) F(str, rcpt)                  \
        F(u32, time_limit_s) F(u64, size) F(u8, is_piped) F(str, body)

/* everyone -> admin: what happened, for the journal. Never waited for: dropped and counted when the channel
 * is full. */
#define IPC_FIELDS_event(F)                                                                                  \
    F(u16, kind)                                                                                             \
    F(u64, wall_ms)                                                                                          \
    F(u64, id) F(u64, other_id) F(str, rcpt) F(str, host) F(str, text) F(str, class) F(u64, number)
#define IPC_FIELDS_event_gap(F) F(u64, n_dropped)
/* (lstr name, u64 value)*, absolute values */
#define IPC_FIELDS_counters(F) F(str, pairs)

/* admin <-> queue: the commands `queue ...`. Answers come in pages, the last one marked. */
#define IPC_FIELDS_ctl_ask(F) F(u64, token) F(u8, verb) F(u64, id) F(str, filter) F(u32, n_max)
/* rows: JSON objects, one a line */
#define IPC_FIELDS_ctl_answer(F) F(u64, token) F(u8, is_last) F(u8, err) F(str, rows)

/* type name in C, name of its struct */
#define IPC_MESSAGES(M)                                                                                      \
    M(SUP_CONFIG, sup_config)                                                                                \
    M(SUP_PEER, sup_peer)                                                                                    \
    M(SUP_LISTENER, sup_listener)                                                                            \
    M(SUP_START, sup_start)                                                                                  \
    M(SUP_READY, sup_ready)                                                                                  \
    M(SUP_DRAIN, sup_drain)                                                                                  \
    M(SUP_FAILED, sup_failed)                                                                                \
    M(SUP_KEY, sup_key)                                                                                      \
    M(SUP_USERS, sup_users)                                                                                  \
    M(SUP_FORGET, sup_forget)                                                                                \
    M(KEY_STATE, key_state)                                                                                  \
    M(SUP_CERT, sup_cert)                                                                                    \
    M(SUP_TICKETS, sup_tickets)                                                                              \
    M(SUP_SECRET, sup_secret)                                                                                \
    M(ACME_PORT, acme_port)                                                                                  \
    M(SUP_PORT, sup_port)                                                                                    \
    M(ACME_ISSUED, acme_issued)                                                                              \
    M(HTTP01_SERVE, http01_serve)                                                                            \
    M(HTTP01_SERVING, http01_serving)                                                                        \
    M(ALPN_SERVE, alpn_serve)                                                                                \
    M(ALPN_SERVING, alpn_serving)                                                                            \
    M(ID_WANT, id_want)                                                                                      \
    M(ID_GRANT, id_grant)                                                                                    \
    M(PUT_RCPTS, put_rcpts)                                                                                  \
    M(PUT, put)                                                                                              \
    M(PUT_COMMIT, put_commit)                                                                                \
    M(PUT_ABORT, put_abort)                                                                                  \
    M(PUT_DONE, put_done)                                                                                    \
    M(CALLOUT_ASK, callout_ask)                                                                              \
    M(CALLOUT_ANSWER, callout_answer)                                                                        \
    M(ETRN_ASK, etrn_ask)                                                                                    \
    M(ETRN_ANSWER, etrn_answer)                                                                              \
    M(MX_ASK, mx_ask)                                                                                        \
    M(MX_ANSWER, mx_answer)                                                                                  \
    M(HOST_ASK, host_ask)                                                                                    \
    M(HOST_ANSWER, host_answer)                                                                              \
    M(RR_ASK, rr_ask)                                                                                        \
    M(RR_ANSWER, rr_answer)                                                                                  \
    M(STS_ASK, sts_ask)                                                                                      \
    M(STS_ANSWER, sts_answer)                                                                                \
    M(TLS_SESSION, tls_session)                                                                              \
    M(SIGN_ASK, sign_ask)                                                                                    \
    M(SIGN_ANSWER, sign_answer)                                                                              \
    M(AUTH_ASK, auth_ask)                                                                                    \
    M(AUTH_ANSWER, auth_answer)                                                                              \
    M(AUTH_OFFER, auth_offer)                                                                                \
    M(RELAY_JOB, relay_job)                                                                                  \
    M(LOCAL_JOB, local_job)                                                                                  \
    M(JOB_DONE, job_done)                                                                                    \
    M(PIPE_JOB, pipe_job)                                                                                    \
    M(FORWARD_ASK, forward_ask)                                                                              \
    M(FORWARD_ANSWER, forward_answer)                                                                        \
    M(EVENT, event)                                                                                          \
    M(EVENT_GAP, event_gap)                                                                                  \
    M(COUNTERS, counters)                                                                                    \
    M(CTL_ASK, ctl_ask)                                                                                      \
    M(CTL_ANSWER, ctl_answer)

enum ipc_type {
    IPC_NONE = 0,
#define M(NAME, name) IPC_##NAME,
    IPC_MESSAGES(M)
#undef M
};

typedef struct str ipc_str; /* field type names of the table above */
typedef uint8_t ipc_u8;
typedef uint16_t ipc_u16;
typedef uint32_t ipc_u32;
typedef uint64_t ipc_u64;

/* struct ipc_put { ipc_u64 token; ... }; for each message. */
#define IPC_DECLARE(type, field) ipc_##type field;
#define M(NAME, name)                                                                                        \
    struct ipc_##name {                                                                                      \
        IPC_FIELDS_##name(IPC_DECLARE)                                                                       \
    };
IPC_MESSAGES(M)
#undef M
#undef IPC_DECLARE

/* For each message:
 * ipc_encode_put(&m, &buf)   appends the payload; false when buf is too small.
 * ipc_decode_put(payload, &m) false when malformed; strings borrow from payload.
 * ipc_send_put(channel, &m, give)  encodes and sends; as channel_send(). ERR_TOO_BIG when over IPC_FRAME_MAX.
 */
#define M(NAME, name)                                                                                        \
    bool ipc_encode_##name(const struct ipc_##name *m, struct buf *out);                                     \
    MUST_USE bool ipc_decode_##name(struct str payload, struct ipc_##name *out);                             \
    MUST_USE enum err ipc_send_##name(struct channel *c, const struct ipc_##name *m, struct handle *give);
IPC_MESSAGES(M)
#undef M

const char *ipc_type_name(uint16_t type); /* "put", "unknown" */

/* put, relay_job, local_job: flags */
enum {
    MAIL_FLAG_8BIT = 1 << 0,   /* BODY=8BITMIME was declared or an octet over 0x7f was seen */
    MAIL_FLAG_UTF8 = 1 << 1,   /* SMTPUTF8 transaction */
    MAIL_FLAG_BOUNCE = 1 << 2, /* a report of ours */
    MAIL_FLAG_OURS = 1 << 3,   /* from a client that may relay: delays are told to such senders */
    MAIL_FLAG_BINARY = 1 << 4, /* BODY=BINARYMIME: lines and octets of any kind (RFC 3030) */
};
enum home_says {
    HOME_IS_MISSING = 0, /* so there is no .forward; whoever answered can't find one that comes later */
    HOME_SAYS_NOTHING,   /* no .forward, or one that names nobody else */
    HOME_SAYS_RESULT,    /* others (RESULT_EXPANDED), or what is wrong (RESULT_TEMPORARY) */
    HOME_SAYS_N,
};
enum { TLS_SESSION_OK = 255 }; /* tls_session: result */
enum secret_kind { SECRET_KEY = 0, SECRET_USERS };
enum {                          /* sup_key, sup_cert: uses */
       KEY_USE_SERVER = 1 << 0, /* smtpd and https show this certificate */
       KEY_USE_CLIENT = 1 << 1, /* relay does */
};
enum auth_kind { AUTH_PASSWORD = 0, AUTH_SCRAM_FIRST, AUTH_SCRAM_FINAL, AUTH_TOKEN };
enum auth_verdict {
    AUTH_OK = 0,
    AUTH_BAD,       /* no such user, or not his secret: nobody is told which */
    AUTH_TEMPORARY, /* could not be looked at */
    AUTH_TOO_MANY,  /* guesses of this user or from this client: was not looked at */
};
enum dns_status {
    DNS_STATUS_OK = 0,
    DNS_STATUS_NXDOMAIN,  /* the name does not exist */
    DNS_STATUS_NODATA,    /* it exists without such records */
    DNS_STATUS_NULL_MX,   /* RFC 7505: takes no mail */
    DNS_STATUS_TEMPORARY, /* SERVFAIL, time-out, no network, bogus DNSSEC */
};
