/* proto/sasl_client.h: the client's side of a SASL exchange (RFC 4422) without I/O, for smart hosts.
 *
 * Owns:     its responses, on the heap; wiped when it is deleted.
 * Limits:   SASL_RESPONSE_MAX a response, SASL_SCRAM_MAX a message of SCRAM, SASL_CLIENT_ITERATIONS_MAX.
 * Errors:   SASL_CLIENT_FAILED with sasl_client_failure(); the exchange is then to be cancelled with "*".
 * Security: the server may be hostile. Passwords and tokens in clear text are sent over encrypted connections
 *           only. With SCRAM the server must prove that it knows the password's verifier, else a success of
 *           it is none; a list of mechanisms without -PLUS is told to the server under the proof's protection
 *           (RFC 5802 6).
 * Time:     feed() computes PBKDF2 with SCRAM: the server chooses how long, up to about 0.1 s.
 * RFC:      4422, 4616, 5802, 5929 4, 7628, 7677, 9266.
 *
 * Use: choose(), new(); initial() if the protocol has room for an initial response; feed() each challenge,
 * send the response; succeeded() when the server says so.
 */
#pragma once
#include "proto/sasl_text.h"

struct sasl_client_conf { /* borrowed: outlives the exchange */
    const struct crypto *crypto;
    unsigned allowed;                 /* SASL_BIT() of those that may be used; 0: all */
    struct str user, password, token; /* empty: not there */
    /* By SASLprep (RFC 4013), which SCRAM wants of the client (RFC 5802 5.1); empty: as above. */
    struct str scram_user, scram_password;
    /* TLS was done with a client certificate: EXTERNAL, as user, or where that is empty as whom the server
     * takes the certificate for (RFC 4422 A). */
    bool has_certificate;
    bool is_encrypted;
    /* Channel bindings of this TLS session; empty: not to be had. */
    struct str tls_exporter, tls_server_end_point;
    struct str host; /* the server, for OAUTHBEARER; may be empty */
    uint16_t port;
};

/* The strongest mechanism of `offered` (sasl_of_list()) that what we have is good for. SASL_NONE: none. */
enum sasl_mechanism sasl_client_choose(const struct sasl_client_conf *conf, unsigned offered);

struct sasl_client;
enum { SASL_CLIENT_NONCE_MIN = 15, SASL_CLIENT_NONCE = 18, SASL_CLIENT_NONCE_MAX = 64 };
/* m: what choose() chose of the same offer. nonce: SASL_CLIENT_NONCE octets from the kernel. NULL: no
 * memory. */
struct sasl_client *sasl_client_new(const struct sasl_client_conf *conf, enum sasl_mechanism m,
                                    unsigned offered, struct str nonce);
void sasl_client_del(struct sasl_client **c); /* NULL is fine */

/* What a server may ask of SCRAM. It is computed where all other connections wait meanwhile, and whoever
 * answers in the server's place may ask for it before he has proved anything: so no more than about 0.1 s of
 * a slow core, which RFC 7677 4 takes as the rule of thumb for a client. Servers in use ask for 4,096, or
 * some ten times that. */
enum { SASL_CLIENT_ITERATIONS_MAX = 100000 };
enum sasl_client_step { SASL_CLIENT_RESPONSE = 1, SASL_CLIENT_FAILED };
/* The initial response, which may be empty ("=" in SMTP); false: this mechanism has none. Where a line has no
 * room for it (RFC 4954 4), it is sent as the response to the first challenge, which has no meaning and is
 * not fed. *response is valid until the next call. */
bool sasl_client_initial(struct sasl_client *c, struct str *response);
/* Answers a challenge. *response is valid until the next call. */
enum sasl_client_step sasl_client_feed(struct sasl_client *c, struct str challenge, struct str *response);
/* The server says that we are logged in. false: it has not proved that it is the right one
 * (SASL_FAIL_SERVER). */
bool sasl_client_succeeded(struct sasl_client *c);
enum sasl_failure sasl_client_failure(const struct sasl_client *c);
/* What the server said of its refusal: SCRAM's e=, or the JSON of OAUTHBEARER and XOAUTH2. Remote text, cut
 * to SASL_CLIENT_DETAIL_MAX octets; empty: nothing. */
enum { SASL_CLIENT_DETAIL_MAX = 256 };
struct str sasl_client_detail(const struct sasl_client *c);
