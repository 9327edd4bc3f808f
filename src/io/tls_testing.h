/* io/tls_testing.h: what the tests of TLS share: certificates made on the spot, a signer with the keys at
 * hand, and two connections of one loop that speak TLS with each other.
 */
#pragma once
#include "io/impl.h"
#include "io/tls.h"

#include "base/buf.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

enum tt_kind { TT_EC = 0, TT_RSA, TT_ED25519, TT_EC384, TT_RSA1024 };
enum { TT_KINDS = 3, TT_KEYS_MAX = 16, TT_DAY = 86400 };

struct tt_cert {
    EVP_PKEY *key;
    X509 *x;
};
struct tt_spec {
    enum tt_kind kind;
    const char *names;            /* "DNS:mx.example.org,DNS:*.example.net"; NULL: none */
    const char *cn;               /* NULL: "test" */
    const struct tt_cert *issuer; /* NULL: itself */
    bool is_ca;
    long from_s, to_s; /* from now; both 0: since yesterday, for a day */
};
struct tt_cert tt_make(const struct tt_spec *s);
void tt_free(struct tt_cert *c);
/* Appends PEM. */
void tt_pem(struct buf *out, const struct tt_cert *c);

enum tt_answer { TT_NOW = 0, TT_LATER, TT_FAIL, TT_NEVER, TT_WRONG, TT_TOO_LONG };

struct tt_end {
    struct conn *c;
    enum err err;
    bool is_done;
    char why[512];
};
struct tt_rig {
    struct io_world *io;
    struct world *w;
    EVP_PKEY *keys[TT_KEYS_MAX]; /* the signer's */
    size_t n_keys;
    enum tt_answer answer;
    struct tls_sign asked; /* the last */
    char octets[TLS_SIGN_OCTETS_MAX];
    unsigned n_asked, n_never;
    struct timer later;
    struct tls_context *server_context, *client_context;
    struct tt_end server, client;
    unsigned n_done, stop_at; /* ends of handshakes */
    struct buf pem, ca;
    struct tls_start start;        /* the client's; deadlines are set here */
    uint64_t server_ms, client_ms; /* time a handshake may take */
    bool is_dripping;              /* octets pass one at a time */
    struct conn *drip[2];
};
void tt_setup(struct tt_rig *r);
void tt_teardown(struct tt_rig *r);
/* A signer's number for it. */
uint32_t tt_add_key(struct tt_rig *r, EVP_PKEY *key);
/* A server with this one certificate; extra: issuers that it sends, or NULL. conf may hold what else is
 * wanted, or be NULL. */
void tt_server(struct tt_rig *r, const struct tt_cert *c, const struct tt_cert *extra,
               const struct tls_server_conf *conf);
void tt_client(struct tt_rig *r, const struct tt_cert *ca, const struct tls_client_conf *conf);
/* Connects both ends and runs until both handshakes are over. */
void tt_shake(struct tt_rig *r);
/* The same in steps. */
void tt_connect(struct tt_rig *r);
void tt_start_server(struct tt_rig *r);
void tt_start_client(struct tt_rig *r);
void tt_run(struct tt_rig *r, unsigned n_done);
void tt_close(struct tt_rig *r);
/* Both ends are well. */
void tt_assert_ok(const struct tt_rig *r);
/* Sends text from one to the other and waits for it there. */
void tt_say(struct tt_rig *r, struct conn *from, struct conn *to, const char *text);
/* Runs the loop for n turns. */
void tt_turns(struct tt_rig *r, unsigned n);
/* Reads from c until it says no more than ERR_AGAIN for it; returns the first other answer. */
enum err tt_read_end(struct tt_rig *r, struct conn *c);
