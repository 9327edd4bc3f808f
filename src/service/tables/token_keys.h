/* service/tables/token_keys.h: the public keys of an issuer, and what they say of a token.
 *
 * Owns:     the keys of one set, as the library has them.
 * Limits:   JWT_KEYS_MAX keys, JWS_TOKEN_MAX octets of a token.
 * Errors:   a set of which no key is of use is refused, and the ones before stay.
 * Security: hostile octets in both. A key is tried when the token names it, or when one of the two has no
 *           name; its type decides about the algorithm (crypto/jws.h).
 * RFC:      7515 5.2, 7517, 8725, 9068 4.
 */
#pragma once
#include "ext/jwt_jansson.h"

struct token_keys { /* zeroed at first */
    struct jws_key *keys[JWT_KEYS_MAX];
    size_t n;
};
/* json takes the place of what there was; false: it does not, and why says for people. The arena is the
 * caller's to reset. */
MUST_USE bool token_keys_load(struct token_keys *k, const struct crypto *c, struct str json, struct arena *a,
                              struct buf *why);
void token_keys_clear(struct token_keys *k);

enum token_says {
    TOKEN_IS_GOOD = 0, /* the claims say for whom */
    TOKEN_IS_BAD,      /* why says it for people; nothing of the token is in it */
    TOKEN_OF_NO_KEY,   /* another set of keys may say something else; why likewise */
    TOKEN_NOT_SEEN,    /* no memory */
};
enum token_says token_keys_judge(const struct token_keys *k, struct str token,
                                 const struct token_rules *rules, int64_t now_s, struct arena *a,
                                 struct token_claims *out, struct buf *why);
