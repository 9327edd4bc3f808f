/* crypto/scram.h: the arithmetic of SCRAM (RFC 5802 3) with SHA-1 and SHA-256 (RFC 7677), for both ends and
 * for the process that keeps the verifiers. The messages are proto/sasl_text.h.
 *
 * Owns:     nothing. Keys are as long as the digest: scram_size() octets of arrays of SCRAM_KEY_MAX.
 * Limits:   SCRAM_ITERATIONS_MIN (RFC 7677 4) to SCRAM_ITERATIONS_MAX, SCRAM_SALT_MAX.
 * Errors:   ERR_NOMEM; ERR_TOO_BIG for iterations out of bounds.
 * Security: passwords are taken as they are, without SASLprep (RFC 4013): what is ASCII, or typed as NFKC as
 *           keyboards do, is the same either way.
 */
#pragma once
#include "base/str.h"
#include "crypto/digest.h"

enum scram_hash { SCRAM_SHA1 = 0, SCRAM_SHA256, SCRAM_HASHES };
enum {
    SCRAM_KEY_MAX = 32,
    SCRAM_SALT_MAX = 64,
    SCRAM_ITERATIONS_MIN = 4096,
    /* About a second of one core: more would be an attack on whoever computes it. */
    SCRAM_ITERATIONS_MAX = 1000000,
    /* For new verifiers. A PLAIN login costs the server one such computation and a SCRAM login costs the
     * client one. RFC 7677 4 takes 0.1 s on the client as the rule of thumb, 15,000 then and several times
     * that now; twice it keeps a server's core good for some fifty PLAIN logins a second. */
    SCRAM_ITERATIONS_DEFAULT = 32768,
};

/* What a server keeps of a password: it can check a proof with it and prove itself, but not log in. */
struct scram_verifier {
    uint32_t iterations;
    uint32_t n_salt;
    uint8_t salt[SCRAM_SALT_MAX];
    uint8_t stored_key[SCRAM_KEY_MAX], server_key[SCRAM_KEY_MAX];
};
/* What a client makes of a password. Wipe it. */
struct scram_keys {
    uint8_t client_key[SCRAM_KEY_MAX], stored_key[SCRAM_KEY_MAX], server_key[SCRAM_KEY_MAX];
};

enum digest scram_digest(enum scram_hash h);
size_t scram_size(enum scram_hash h);
/* The slow part: everything from the password. */
MUST_USE enum err scram_derive(const struct crypto *c, enum scram_hash h, struct str password,
                               struct str salt, uint32_t iterations, struct scram_keys *out);
/* ClientProof := ClientKey XOR HMAC(StoredKey, AuthMessage). */
MUST_USE enum err scram_proof(const struct crypto *c, enum scram_hash h, const struct scram_keys *k,
                              struct str auth_message, uint8_t out[SCRAM_KEY_MAX]);
/* ServerSignature := HMAC(ServerKey, AuthMessage). */
MUST_USE enum err scram_signature(const struct crypto *c, enum scram_hash h,
                                  const uint8_t server_key[SCRAM_KEY_MAX], struct str auth_message,
                                  uint8_t out[SCRAM_KEY_MAX]);
/* The server's check: *ok says whether the proof (of any length) is that of the password; only then
 * signature is written. */
MUST_USE enum err scram_check(const struct crypto *c, enum scram_hash h, const struct scram_verifier *v,
                              struct str auth_message, struct str proof, bool *ok,
                              uint8_t signature[SCRAM_KEY_MAX]);
/* The same for a password in clear text (PLAIN, LOGIN). */
MUST_USE enum err scram_check_password(const struct crypto *c, enum scram_hash h,
                                       const struct scram_verifier *v, struct str password, bool *ok);
/* A new verifier. salt: 1 to SCRAM_SALT_MAX octets, else ERR_TOO_BIG. */
MUST_USE enum err scram_make(const struct crypto *c, enum scram_hash h, struct str password, struct str salt,
                             uint32_t iterations, struct scram_verifier *out);
