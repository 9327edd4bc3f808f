/* base/world_tls.h: TLS on a connection of the world: contexts that many connections share, a handshake that
 * runs by itself, and the facts of what was agreed. After it conn_read() and conn_write() carry plain text;
 * all other rules of connections (base/world.h) hold as before.
 *
 * Owns:     contexts and sessions are counted and freed here; texts and octets that are given are copied.
 * Limits:   TLS_* of base/limits.h; a session without traffic holds no buffer.
 * Errors:   ERR_TLS with a text for people; a bad certificate never reaches an assertion.
 * Security: no private key is in here. A signer, given by the role, has signatures made elsewhere and answers
 * later; a handshake waits for it without holding up others. No renegotiation, no compression, no early data,
 * no key exchange without forward secrecy.
 * RFC 8446, 5246 (TLS), 6066 (SNI), 7301 (ALPN), 8737 (TLS-ALPN-01), 6698, 7671 and 7672 (DANE), 9525
 * (names), 9266 and 5929 (channel bindings).
 */
#pragma once
#include "base/world.h"

struct tls_context;
struct tls_session; /* what a client may resume with */

/* ---- signatures made elsewhere ---------------- */

/* What may be asked of a key. Digests are made here and come as octets; Ed25519 gets what is to be signed. */
enum tls_scheme {
    TLS_SIGN_RSA_PKCS1 = 1, /* RFC 8017 8.2 */
    TLS_SIGN_RSA_PSS,       /* RFC 8017 8.1: the salt is as long as the digest, MGF1 with the same digest */
    TLS_SIGN_ECDSA,         /* DER: SEQUENCE of r and s */
    TLS_SIGN_ED25519
};
enum tls_digest {
    TLS_DIGEST_NONE = 0, /* Ed25519 */
    TLS_DIGEST_SHA1,     /* legacy contexts only */
    TLS_DIGEST_SHA256,
    TLS_DIGEST_SHA384,
    TLS_DIGEST_SHA512,
    TLS_DIGEST_MD5_SHA1 /* legacy contexts only: RSA in TLS 1.0 and 1.1, 36 octets without DigestInfo */
};
struct tls_sign {
    uint64_t token; /* unique in this world */
    uint32_t key;   /* as in struct tls_certificate */
    enum tls_scheme scheme;
    enum tls_digest digest;
    struct str octets; /* at most TLS_SIGN_OCTETS_MAX; valid during the call */
};
struct tls_signer {
    void *arg;
    /* Has s signed. Answered by world_tls_signed(), now or later. */
    void (*sign)(void *arg, const struct tls_sign *s);
};
/* For all contexts of w; without one (NULL: from now on) each signature fails. */
void world_tls_set_signer(struct world *w, const struct tls_signer *s);
/* The answer: ERR_OK and the signature (at most TLS_SIGNATURE_MAX octets, copied), or why there is none. A
 * token that is not open any more is ignored. */
void world_tls_signed(struct world *w, uint64_t token, enum err err, struct str signature);

/* ---- contexts ---------------- */

struct tls_certificate {
    struct str chain; /* PEM, the server's own first, then its issuers; at most TLS_CHAIN_SIZE_MAX octets */
    uint32_t key;     /* the signer's number of its private key */
};
/* Session tickets are sealed with these (RFC 5077 4): every process that has them can resume. */
struct tls_ticket_key {
    unsigned char name[16], aes[32], hmac[32];
};
struct tls_server_conf {
    /* Chosen by SNI among the names in them, exact before wildcard; for all other names the first. Where
     * several of different key types (EC, RSA, Ed25519) have the name, all of these are used. */
    const struct tls_certificate *certificates;
    size_t n_certificates; /* 1 to TLS_CERTIFICATES_MAX */
    /* For clients of long ago: TLS 1.0 and up, CBC suites, signatures with SHA-1 and short RSA keys. Without
     * it TLS 1.2 and 1.3 with AEAD suites. Always with forward secrecy. */
    bool legacy;
    bool ask_certificate; /* a client's certificate is asked for, never required */
    struct str client_ca; /* PEM: who signs client certificates that count as trusted; may be empty */
    /* The first encrypts, all decrypt (a session of an older one is renewed). None: nothing is resumed. */
    const struct tls_ticket_key *tickets;
    size_t n_tickets; /* at most TLS_TICKET_KEYS_MAX */
    /* The one protocol that we are ("smtp"); a client that offers only others is refused (RFC 7301 3.2).
     * Empty: what clients offer is ignored. */
    struct str alpn;
};
struct tls_client_conf {
    struct str ca;                  /* PEM: trust anchors; may be empty */
    const struct tls_context *like; /* or NULL; else a client's with the same ca: its anchors are shared */
    const struct tls_certificate *certificate; /* ours, for servers that ask; or NULL */
    bool legacy;                               /* as above, for servers of long ago */
};
/* A new context with one reference, or NULL: why, for people, was appended: which certificate, what is wrong.
 * Not needed after the call: conf and all it points to. */
MUST_USE struct tls_context *world_tls_server(struct world *w, const struct tls_server_conf *conf,
                                              struct buf *why);
MUST_USE struct tls_context *world_tls_client(struct world *w, const struct tls_client_conf *conf,
                                              struct buf *why);
/* Has a server one of its certificates for this host (A-labels)? */
bool tls_context_is_for(const struct tls_context *t, struct str host);
/* TLS-ALPN-01 (RFC 8737 3), for a server with alpn: who offers "acme-tls/1" alone and asks for this name
 * (A-labels) is shown a certificate, signed by itself, that holds digest: SHA-256 of the key authorization.
 * Then facts.alpn is that word, and the connection is of no other use. Others never see it. Its key is made
 * here and signs nothing else. Given again for a name, the last counts. ERR_TOO_BIG: there are TLS_PROOFS_MAX
 * of them; ERR_INVALID: it is no name. */
MUST_USE enum err tls_context_prove(struct tls_context *t, struct str name, const unsigned char digest[32]);
void tls_context_prove_none(struct tls_context *t);          /* forgets them; handshakes under way go on */
struct tls_context *tls_context_keep(struct tls_context *t); /* one reference more; returns t */
/* One less, *t becomes NULL. Connections keep their own; all must be gone before the world is. */
void tls_context_release(struct tls_context **t);

/* ---- one connection ---------------- */

enum tls_check {
    TLS_CHECK_NONE = 0, /* encrypts with anybody; the facts still tell what PKIX says */
    TLS_CHECK_PKIX,     /* a chain to an anchor of the context, and one of the names; else it fails */
    /* One of the TLSA records matches (RFC 7672 3): DANE-EE(3) without a look at names and dates, DANE-TA(2)
     * with one of the names. Other usages and malformed records are unusable (3.1.3); when all are, it is as
     * TLS_CHECK_NONE and facts.n_tlsa_usable is 0 (2.2). */
    TLS_CHECK_DANE
};
struct tls_tlsa { /* RFC 6698 2.1 */
    uint8_t usage, selector, matching;
    struct str data;
};
struct tls_start {
    struct tls_context *context; /* of a server or of a client, as conn_tls_start() says */
    uint64_t deadline_ms;        /* on the clock of world_now_ms() */
    /* The rest is of clients. */
    struct str server_name; /* SNI, A-labels; empty: none is sent (with DANE: the first of names) */
    struct str alpn;        /* the one protocol offered; empty: none */
    enum tls_check check;
    const struct str
        *names;     /* what the certificate must be for; ".example.org": any name one label below it */
    size_t n_names; /* at most TLS_NAMES_MAX */
    const struct tls_tlsa *tlsa;
    size_t n_tlsa;                    /* at most TLS_TLSA_MAX are looked at */
    const struct tls_session *resume; /* or NULL; ignored with DANE, and when it is of another context */
};
struct tls_facts {                     /* texts live as long as the connection */
    struct str version, cipher, group; /* "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519" */
    struct str signature;              /* how the server signed: "rsa_pss_rsae_sha256"; empty when resumed */
    struct str server_name;            /* SNI as the client sent it; empty: none */
    struct str alpn;                   /* the protocol agreed on; empty: none */
    struct str peer_subject, peer_issuer; /* RFC 4514 form, printable, cut at TLS_NAME_TEXT_MAX */
    struct str verify_text;               /* "certificate has expired"; empty when all is well */
    int verify_code;                      /* its number, 0: all is well */
    unsigned char peer_digest[32];        /* SHA-256 of the peer's certificate (DER) */
    bool has_peer_certificate;
    bool is_resumed;
    bool is_trusted; /* a chain holds to an anchor of the context */
    bool is_named;   /* the certificate is for one of the names */
    bool is_dane;    /* a TLSA record matched, this one: */
    uint8_t dane_usage, dane_selector, dane_matching;
    struct str dane_data; /* of a whole certificate or key the first TLS_DANE_DATA_TOLD octets */
    unsigned n_tlsa_usable;
    /* conn_read() said ERR_CLOSED, but the peer had not said so in TLS: something may be missing. */
    bool is_truncated;
};
/* What kind of trouble a handshake had, or what there would have been. */
enum tls_fault {
    TLS_FAULT_NONE = 0,
    TLS_FAULT_EXPIRED,   /* the certificate, or one that vouches for it */
    TLS_FAULT_UNTRUSTED, /* no chain to an anchor, or something else is wrong with it */
    TLS_FAULT_NAME,      /* it is for another name */
    TLS_FAULT_RECORDS,   /* no TLSA record matches it */
    TLS_FAULT_HANDSHAKE, /* no TLS came about */
    TLS_FAULT_OURS,      /* no signature of ours, no memory */
    TLS_FAULTS
};
/* Starts the handshake on c; nothing may be unread on it, and nothing written to it that is not on its way.
 * Until the end the conn_user gets no call and nothing can be read or written. fn is called once, never
 * within the call: ERR_OK; ERR_TLS with why (for people, valid during the call); ERR_TIMEOUT and ERR_CLOSED
 * likewise with why. Only conn_close() is left after a failure; it may also be called before, then fn is not.
 * ERR_NOMEM, ERR_TOO_BIG, ERR_INVALID (a name that can't be one, or a check without a name): nothing was
 * started. */
MUST_USE enum err conn_tls_start(struct conn *c, bool is_server, const struct tls_start *start,
                                 void (*fn)(void *arg, struct conn *c, enum err err, struct str why),
                                 void *arg);
/* NULL before a handshake was done. */
const struct tls_facts *conn_tls(const struct conn *c);
/* After a handshake that failed: at what. After one of a client that was done: what PKIX has against the
 * server's certificate, asked for server_name alone, whatever the check was; NONE also where a TLSA record
 * matched. */
enum tls_fault conn_tls_fault(const struct conn *c);
/* Channel bindings for SASL. tls-exporter (RFC 9266): TLS 1.3, or 1.2 with the extended master secret.
 * tls-server-end-point (RFC 5929 4): *n_out octets. false: has none. */
MUST_USE bool conn_tls_exporter(const struct conn *c, unsigned char out[32]);
MUST_USE bool conn_tls_server_end_point(const struct conn *c, unsigned char out[64], size_t *n_out);
/* To resume with later, once (RFC 8446 C.4); the caller frees it; NULL when the server gave none so far (in
 * TLS 1.3 it comes with the first octets that are read), or with DANE. */
struct tls_session *conn_tls_session(struct conn *c);
void tls_session_free(struct tls_session **s); /* NULL is harmless */

/* ---- what an implementation provides ---------------- */

/* A context and a session begin with a struct world_object. */
struct world_tls_ops {
    void (*set_signer)(struct world *, const struct tls_signer *);
    void (*tls_signed)(struct world *, uint64_t, enum err, struct str);
    struct tls_context *(*server)(struct world *, const struct tls_server_conf *, struct buf *);
    struct tls_context *(*client)(struct world *, const struct tls_client_conf *, struct buf *);
    struct tls_context *(*context_keep)(struct tls_context *);
    void (*context_release)(struct tls_context *);
    bool (*context_is_for)(const struct tls_context *, struct str);
    enum err (*context_prove)(struct tls_context *, struct str, const unsigned char *);
    void (*context_prove_none)(struct tls_context *);
    enum err (*start)(struct conn *, bool, const struct tls_start *,
                      void (*)(void *, struct conn *, enum err, struct str), void *);
    const struct tls_facts *(*facts)(const struct conn *);
    enum tls_fault (*fault)(const struct conn *);
    bool (*exporter)(const struct conn *, unsigned char *);
    bool (*server_end_point)(const struct conn *, unsigned char *, size_t *);
    struct tls_session *(*session)(struct conn *);
    void (*session_free)(struct tls_session *);
};
