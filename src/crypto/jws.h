/* crypto/jws.h: signatures of JSON Web Tokens in the compact form, by public keys. The JSON in them and
 * the keys' own is read by ext/jwt_jansson.h; what a token says is judged by verify/token.h.
 *
 * Owns:     a key that jws_key_new() made. What is split borrows from the caller's buffer.
 * Limits:   JWS_TOKEN_MAX octets; RSA of 2048 to 8192 bits with an exponent of at most JWS_EXPONENT_MAX
 *           octets; kids of JWS_KID_MAX.
 * Errors:   a token or key that is malformed is refused. ERR_NOMEM where the library failed for want of
 *           memory.
 * Security: "none" and the HMAC family are no algorithms here: nobody's public key is ever taken for a
 *           shared secret. What is taken is fixed by the key: its type, its curve and, where it says so,
 *           its "alg" (RFC 8725 3.1). Keys, certificates and addresses within the token's header are not
 *           looked at (3.10).
 * RFC:      7515 5.2 and 7.1, 7517, 7518 3, 8037, 8725.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "crypto/crypto.h"

enum {
    JWS_TOKEN_MAX = SASL_TOKEN_MAX,
    JWS_OCTETS_MAX = JWS_TOKEN_MAX / 4 * 3 + 3,
    JWS_EXPONENT_MAX = 8,
    JWS_KID_MAX = 256,
};

enum jws_alg {
    JWS_NO_ALG = 0, /* one that is never taken, or unknown */
    JWS_RS256,
    JWS_RS384,
    JWS_RS512,
    JWS_PS256,
    JWS_PS384,
    JWS_PS512,
    JWS_ES256,
    JWS_ES384,
    JWS_EDDSA, /* Ed25519 */
    JWS_ALGS
};
enum jws_alg jws_alg_of(struct str name); /* names are case-sensitive (RFC 7515 4.1.1) */

struct jws {
    struct str header, payload; /* JSON, most likely */
    struct str signature;
    struct str input; /* of the token: what is signed */
};
/* Three parts of base64url, each not empty. mem has room for JWS_OCTETS_MAX octets; out borrows from it and
 * from token. */
MUST_USE bool jws_split(struct str token, struct buf *mem, struct jws *out);

enum jwk_type { JWK_NO_TYPE = 0, JWK_RSA, JWK_P256, JWK_P384, JWK_ED25519 };
struct jwk { /* a public key as it was read */
    enum jwk_type type;
    enum jws_alg alg; /* the only one it is for; JWS_NO_ALG: any of its type */
    struct str kid;   /* may be empty */
    struct str a, b;  /* RSA: n, e; P-256 and P-384: x, y; Ed25519: x */
};
struct jws_key;
/* ERR_OK: *out is the caller's, and needs c as long as it lives. ERR_INVALID: why not, static text. */
MUST_USE enum err jws_key_new(const struct crypto *c, const struct jwk *k, struct jws_key **out,
                              const char **why);
void jws_key_del(struct jws_key **k); /* NULL is fine */
struct str jws_key_id(const struct jws_key *k);
/* May it have made signatures of this algorithm? */
bool jws_key_fits(const struct jws_key *k, enum jws_alg alg);
/* *ok: is it this key's signature of input? alg must fit the key. */
MUST_USE enum err jws_verify(const struct jws_key *k, enum jws_alg alg, struct str input,
                             struct str signature, bool *ok);
