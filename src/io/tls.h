/* io/tls.h: what the tls_*.c files share, and conn.c and loop.c call. Nobody outside of io/ includes it.
 *
 * tls_world.c     what one world has once: the library context, open signatures, contexts' and sessions' ops
 * tls_provider.c  keys whose private half is elsewhere, as an OpenSSL provider
 * tls_chain.c     PEM into certificates and names
 * tls_context.c   contexts: suites, SNI, tickets
 * tls_proof.c     what a name is proven with to an authority of certificates
 * tls_conn.c      a connection after its handshake; the socket
 * tls_shake.c     the handshake
 * tls_facts.c     what was agreed
 * tls_why.c       failures as texts for people
 */
#pragma once
#include "base/world_tls.h"
#include "io/impl.h"

#include "base/buf.h"
#include "base/idmap.h"
#include "base/limits.h"

#include <openssl/ssl.h>

enum { TLS_KEY_TYPES = 3, TLS_RECORD_MAX = 16384, TLS_OUT_MAX = 128 * 1024, TLS_OUT_ENOUGH = 64 * 1024 };

/* ---- one world ---- */

struct tls_world { /* made with the first context */
    struct io_world *io;
    OSSL_LIB_CTX *lib; /* ours alone: no configuration file, no other provider */
    OSSL_PROVIDER *ours, *theirs;
    BIO_METHOD *bio;
    struct tls_signer signer;
    struct tls_shake *current; /* whose handshake runs at this moment: a signature belongs to it */
    struct idmap signing;      /* struct tls_shake by token, while the signer has not answered */
    uint64_t token;            /* the last */
    size_t n_paused;           /* handshakes that wait for a signature */
    struct list waiting;       /* struct tls_shake: those that must not start a signature yet */
    struct list lingering;     /* struct tls_conn: closed by their users, with octets to send */
    size_t n_contexts;
    char gathered[TLS_RECORD_MAX]; /* small pieces become one record here */
};
/* NULL without memory. */
struct tls_world *tls_world_get(struct io_world *w);
void tls_world_del(struct io_world *w);
extern const struct world_tls_ops io_tls_ops;

/* ---- tls_provider.c ---- */

/* Adds the provider to lib. */
bool tls_provider_add(OSSL_LIB_CTX *lib);
/* The key whose public half is pub and whose private half the signer of w has as number `key`. NULL: of no
 * type that TLS signs with here, or without memory. */
EVP_PKEY *tls_remote_key(struct tls_world *w, EVP_PKEY *pub, uint32_t key);
/* 0 to TLS_KEY_TYPES - 1 (EC, RSA, Ed25519), or -1. */
int tls_key_type(const EVP_PKEY *pub);

/* ---- tls_chain.c ---- */

struct tls_chain {
    X509 *leaf;
    STACK_OF(X509) * issuers;
};
/* false: what is wrong was appended. */
bool tls_chain_read(OSSL_LIB_CTX *lib, struct str pem, struct tls_chain *out, struct buf *why);
void tls_chain_free(struct tls_chain *c);
/* Anchors into store; false: what is wrong was appended. */
bool tls_anchors_read(OSSL_LIB_CTX *lib, struct str pem, X509_STORE *store, struct buf *why);
/* Calls fn for each DNS name (RFC 9525 6.3: of subjectAltName only), as it stands there. */
void tls_chain_names(const X509 *x, void (*fn)(void *arg, struct str name), void *arg);

/* ---- tls_context.c ---- */

struct tls_site {               /* certificates of up to three key types for the same names */
    int of_type[TLS_KEY_TYPES]; /* index of the certificate, or -1 */
    SSL_CTX *ctx;
};
struct tls_name {
    char *text; /* lower case, NUL-terminated */
    uint32_t certificate;
    uint32_t site;
};
struct tls_proof; /* tls_proof.c */
struct tls_context {
    struct world_object object; /* first */
    struct tls_world *w;
    unsigned n_refs;
    bool is_server, is_signing; /* is_signing: our side signs, handshakes run as jobs */
    struct tls_site *sites;     /* of a client: one */
    size_t n_sites;
    uint32_t first_site;    /* for names that no certificate has */
    struct tls_name *names; /* sorted */
    size_t n_names;
    struct tls_ticket_key *tickets;
    size_t n_tickets;
    EVP_CIPHER *ticket_cipher;
    char alpn[64]; /* with its length before it */
    size_t n_alpn;
    struct tls_proof *proofs;
    size_t n_proofs;
};
struct tls_context *io_tls_server(struct world *w, const struct tls_server_conf *conf, struct buf *why);
struct tls_context *io_tls_client(struct world *w, const struct tls_client_conf *conf, struct buf *why);
struct tls_context *io_tls_context_keep(struct tls_context *t);
void io_tls_context_release(struct tls_context *t);
bool io_tls_context_is_for(const struct tls_context *t, struct str host);
/* A name as clients write it in lower case and without a final dot; false: it can't be one. */
bool tls_fold_name(struct str asked, char out[DNS_NAME_MAX + 1]);
/* As SSL_CTX_set_alpn_select_cb(3) wants it; arg: the context. */
int tls_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n_out, const unsigned char *in,
                unsigned n_in, void *arg);
/* An SSL_CTX as all of t are, without certificates. NULL without memory. */
SSL_CTX *tls_make_ctx(struct tls_context *t, bool legacy);

/* ---- tls_proof.c ---- */

enum err io_tls_context_prove(struct tls_context *t, struct str name, const unsigned char *digest);
void io_tls_context_prove_none(struct tls_context *t);
/* What is shown for a folded name; NULL: there is no proof of it. */
SSL_CTX *tls_proof_of(const struct tls_context *t, const char *name);

/* ---- tls_conn.c: one connection ---- */

struct tls_conn { /* an idle session pays for this */
    struct conn *conn;
    SSL *ssl; /* NULL after the end */
    struct tls_context *context;
    struct tls_shake *shake; /* until the handshake is over */
    struct tls_facts *facts; /* after it */
    SSL_SESSION *session;    /* the last that the server gave */
    struct buf out;          /* what the socket did not take yet */
    struct task wake;        /* the handshake goes on, or octets wait inside of the library */
    struct list lingering;
    enum err end;       /* not ERR_OK: nothing can be read any more */
    enum err write_err; /* not ERR_OK: nothing can be written any more */
    int read_errnum;
    bool is_ready : 1; /* conn_read() has something to tell without an event of the socket */
    bool is_held : 1;  /* the library could not write, reading goes on when `out` is empty */
    bool is_eof : 1;   /* of the socket */
    bool is_shut : 1;  /* nothing is written any more; the socket's end follows when `out` is empty */
    bool is_mute : 1;  /* nothing goes out any more */
    bool is_dane : 1;
    bool wants_proof : 1; /* the client is an authority's: see tls_proof.c */
    uint8_t fault;       /* enum tls_fault, once the handshake is over */
    struct timer linger; /* at the latest then the end */
};
struct tls_conn *tls_conn_new(struct conn *c, struct tls_context *t);
BIO_METHOD *tls_bio_method(void);
/* What conn.c hands on. */
void tls_on_event(struct conn *c, unsigned events);
void tls_on_touch(struct conn *c); /* at the end of the turn, before epoll is told */
unsigned tls_events(const struct conn *c);
enum err tls_read(struct conn *c, char *out, size_t cap, size_t *out_n);
enum err tls_write(struct conn *c, const struct str *pieces, size_t n_pieces, size_t *out_n);
void tls_shutdown_write(struct conn *c);
/* true: the socket may be closed now; else that comes later by itself. */
bool tls_close(struct conn *c);
void tls_free(struct tls_conn *tc);
/* Frees all of it but the memory that goes with the connection. */
void tls_let_go(struct tls_conn *tc);
/* The same, and closes the socket: of a connection that its user has closed. */
void tls_give_up(struct tls_conn *tc);
/* As much of `out` as the socket takes. */
void tls_flush(struct tls_conn *tc);

/* ---- tls_shake.c: the handshake ---- */

struct tls_shake {
    struct tls_conn *tc;
    struct idmap_node node; /* in tls_world.signing, while is_asked */
    struct list link;       /* in tls_world.waiting */
    struct timer deadline;
    void (*fn)(void *arg, struct conn *c, enum err err, struct str why);
    void *arg;
    enum tls_check check;
    unsigned n_usable; /* TLSA records */
    char *names;       /* each ended by NUL */
    size_t n_names;
    bool is_paused;   /* its job waits for a signature */
    bool is_asked;    /* the signer has it */
    bool is_answered; /* and answered */
    bool is_over;     /* closed: what the job asks for is refused */
    struct tls_sign ask;
    char octets[TLS_SIGN_OCTETS_MAX];
    enum err sign_err;
    size_t n_signature;
    char signature[TLS_SIGNATURE_MAX];
};
enum err io_tls_start(struct conn *c, bool is_server, const struct tls_start *start,
                      void (*fn)(void *arg, struct conn *c, enum err err, struct str why), void *arg);
void io_tls_signed(struct world *w, uint64_t token, enum err err, struct str signature);
void tls_shake_step(struct tls_shake *k);
/* Ends it without a word to its user; a job that is paused is run to its end. */
void tls_shake_abort(struct tls_conn *tc);
/* From within the job: has the octets signed, true with the signature. Pauses the job. */
bool tls_shake_sign(struct tls_world *w, const struct tls_sign *s, unsigned char *out, size_t cap, size_t *n);

/* ---- tls_facts.c ---- */

/* NULL without memory. */
struct tls_facts *tls_facts_new(struct tls_conn *tc, const struct tls_shake *k);
const struct tls_facts *io_tls_facts(const struct conn *c);
enum tls_fault io_tls_fault(const struct conn *c);
bool io_tls_exporter(const struct conn *c, unsigned char *out);
bool io_tls_server_end_point(const struct conn *c, unsigned char *out, size_t *n_out);
struct tls_session *io_tls_session(struct conn *c);
void io_tls_session_free(struct tls_session *s);
struct tls_session {
    struct world_object object; /* first */
    SSL_SESSION *session;
    struct tls_context *context;
};

/* ---- tls_why.c ---- */

/* The failure of a handshake, from the library's error queue, which is empty then; also tc->fault. */
MUST_USE enum err tls_why(struct tls_conn *tc, const struct tls_shake *k, struct buf *why);
/* By the library's number of what is wrong with a certificate; X509_V_OK: nothing. */
enum tls_fault tls_fault_of(long verified);
/* What the error queue says, for contexts; empties it. */
void tls_why_library(struct buf *why);
