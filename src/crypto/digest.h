/* crypto/digest.h: SHA-1, SHA-256 and SHA-512 (FIPS 180-4), HMAC (RFC 2104) and PBKDF2 (RFC 8018 5.2).
 *
 * Owns:     nothing but what digester_new() makes. Output goes into DIGEST_MAX octets of the caller, of which
 *           digest_size() are written.
 * Limits:   PBKDF2_ITERATIONS_MAX and PBKDF2_SIZE_MAX: one call ends within some seconds.
 * Errors:   ERR_NOMEM only; then the output is not to be used. Sizes over a limit: ERR_TOO_BIG.
 * Security: SHA-1 is there for SCRAM-SHA-1 (where it is sound: HMAC needs no collision resistance) and
 *           nothing else. Working memory is the library's, which wipes it.
 */
#pragma once
#include "base/str.h"
#include "crypto/crypto.h"

enum digest { DIGEST_SHA1 = 0, DIGEST_SHA256, DIGEST_SHA512, DIGEST_KINDS };
enum { DIGEST_MAX = 64, PBKDF2_ITERATIONS_MAX = 2000000, PBKDF2_SIZE_MAX = DIGEST_MAX };

/* Octets of a digest: 20, 32, 64. */
size_t digest_size(enum digest d);
/* The digest of n pieces one behind the other. */
MUST_USE enum err digest_of(const struct crypto *c, enum digest d, const struct str *pieces, size_t n,
                            uint8_t *out);
/* HMAC of n pieces one behind the other. The key may have any length. */
MUST_USE enum err digest_hmac(const struct crypto *c, enum digest d, struct str key, const struct str *pieces,
                              size_t n, uint8_t *out);
/* PBKDF2 with HMAC over d: out_n octets, 1 to PBKDF2_SIZE_MAX; iterations 1 to PBKDF2_ITERATIONS_MAX. */
MUST_USE enum err digest_pbkdf2(const struct crypto *c, enum digest d, struct str password, struct str salt,
                                uint32_t iterations, uint8_t *out, size_t out_n);

/* A digest of what comes in pieces over time. */
struct digester;
struct digester *digester_new(const struct crypto *c, enum digest d); /* NULL: no memory */
void digester_add(struct digester *d, struct str piece);              /* what fails is told at the end */
/* Gives the digest of all that was added; afterwards it is as new. */
MUST_USE enum err digester_end(struct digester *d, uint8_t *out);
void digester_del(struct digester **d); /* NULL is fine */
