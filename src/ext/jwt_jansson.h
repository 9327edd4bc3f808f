/* ext/jwt_jansson.h: the JSON of OAuth, with jansson behind it: header and claims of a JSON Web Token
 * (RFC 7515, 7519), the answer of an introspection (RFC 7662), a set of public keys (RFC 7517 5).
 *
 * Owns:     nothing that lasts; what is read is copied into the caller's arena.
 * Limits:   JWT_JSON_MAX octets, JWT_KEYS_JSON_MAX of a set; JWT_DEPTH_MAX, JWT_VALUES_MAX; JWT_KEYS_MAX
 *           keys; TOKEN_AUDIENCES_MAX, TOKEN_SCOPES_MAX; and the arena's.
 * Errors:   what is not as the RFCs have it is refused whole, with a reason; of a set the keys that are
 *           not for signatures of ours are left out (RFC 7517 5).
 * Security: hostile octets; depth and number of values are counted before the parser sees them. A member
 *           that comes twice refuses all (RFC 7519 4). Texts stay as they are, and may hold any character
 *           but NUL.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "crypto/jws.h"
#include "verify/token.h"

enum {
    JWT_JSON_MAX = 64 * 1024,
    JWT_KEYS_JSON_MAX = 256 * 1024, /* with the certificates that some have in them */
    JWT_DEPTH_MAX = 16,
    JWT_VALUES_MAX = 16384,
    JWT_KEYS_MAX = 64,
    JWT_ARENA_MAX = 512 * 1024, /* is enough for what is read of one text */
};
/* false: a reason (for people) is appended to why, *out is not to be looked at; the caller resets the arena.
 */
MUST_USE bool jwt_read_header(struct str json, struct arena *a, struct token_header *out, struct buf *why);
/* Of a token or of an answer about one. claim: whose value becomes out->user. */
MUST_USE bool jwt_read_claims(struct str json, struct str claim, struct arena *a, struct token_claims *out,
                              struct buf *why);
struct jwt_keys {
    struct jwk *keys;
    size_t n;
    size_t n_left_out; /* keys that are not taken */
};
MUST_USE bool jwt_read_keys(struct str json, struct arena *a, struct jwt_keys *out, struct buf *why);
