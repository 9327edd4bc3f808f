/* crypto/certificate.h: what a server needs to get a certificate: a key of its own, a request to an authority
 * (PKCS #10, RFC 2986), and a certificate signed by itself for the time until the authority's comes. And what
 * a certificate says that others have to know.
 *
 * Owns:     nothing: text in, text out, PEM both.
 * Limits:   TLS_CHAIN_SIZE_MAX octets of PEM; CERTIFICATE_NAMES_MAX names.
 * Errors:   ERR_INVALID: not the PEM that was wanted. ERR_NOMEM: the library failed, or there is no room in
 *           out.
 * Security: keys are ECDSA on P-256. What is on its way is in memory that the library wipes; the text of a
 *           key is the caller's to wipe.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "crypto/crypto.h"

enum { CERTIFICATE_NAMES_MAX = 100, CERTIFICATE_PRINT = 32 };

/* A new private key. */
MUST_USE enum err certificate_make_key(const struct crypto *c, struct buf *out);
/* A request for these names (A-labels), the subject empty: names are where RFC 6125 looks for them. */
MUST_USE enum err certificate_make_request(const struct crypto *c, struct str key, const struct str *names,
                                           size_t n, struct buf *out);
/* A certificate signed by its own key, from a day before now_s to CERTIFICATE_OWN_S behind it. */
enum { CERTIFICATE_OWN_S = 365 * 24 * 3600 };
MUST_USE enum err certificate_make_own(const struct crypto *c, struct str key, const struct str *names,
                                       size_t n, int64_t now_s, struct buf *out);

struct certificate_facts {
    bool is_own;                          /* its issuer is itself */
    int64_t until_s;                      /* seconds since 1970 */
    uint8_t key_print[CERTIFICATE_PRINT]; /* SHA-256 of its public key: TLSA 3 1 1 (RFC 6698 2.1) */
};
/* Of the first certificate of the chain. */
MUST_USE enum err certificate_read(const struct crypto *c, struct str chain, struct certificate_facts *out);
/* Is its first certificate for each of these names? */
MUST_USE bool certificate_is_for(const struct crypto *c, struct str chain, const struct str *names, size_t n);
