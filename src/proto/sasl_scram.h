/* proto/sasl_scram.h: the four messages of SCRAM (RFC 5802 7) as text.
 *
 * Owns:     nothing; slices borrow from the message.
 * Limits:   SASL_SCRAM_MAX octets a message, SASL_NONCE_MAX for what a client chose of the nonce and twice
 * that for the whole. Errors:   false: not well-formed, or with a mandatory extension ("m="), of which none
 * is known. Optional extensions are passed over, as RFC 5802 5.1 wants.
 */
#pragma once
#include "proto/sasl_text.h"

struct scram_client_first {
    struct sasl_gs2 gs2;
    struct str bare; /* client-first-message-bare */
    struct str user; /* with its escapes */
    struct str nonce;
};
MUST_USE bool scram_take_client_first(struct str message, struct scram_client_first *out);

struct scram_server_first {
    struct str nonce;
    struct str salt; /* base64 */
    uint32_t iterations;
};
MUST_USE bool scram_take_server_first(struct str message, struct scram_server_first *out);

struct scram_client_final {
    struct str binding; /* base64 */
    struct str nonce;
    struct str proof;         /* base64 */
    struct str without_proof; /* client-final-message-without-proof */
};
MUST_USE bool scram_take_client_final(struct str message, struct scram_client_final *out);

struct scram_server_final {
    struct str signature; /* base64; empty: it is an error */
    struct str error;     /* "invalid-proof" */
};
MUST_USE bool scram_take_server_final(struct str message, struct scram_server_final *out);

/* What is signed (RFC 5802 3): the three parts with commas between them. One that fits a buffer of
 * SCRAM_AUTH_MESSAGE_MAX for all messages that the takers above took. */
enum { SCRAM_AUTH_MESSAGE_MAX = 3 * SASL_SCRAM_MAX + 2 };
/* The names of channel bindings. */
#define SCRAM_TLS_EXPORTER STR("tls-exporter")
#define SCRAM_TLS_SERVER_END_POINT STR("tls-server-end-point")
