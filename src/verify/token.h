/* verify/token.h: whether what an OAuth access token says, or the answer about one, logs somebody in.
 *
 * A token that is a JWT (RFC 9068, 7519) says it of itself, by claims that its issuer has signed; about
 * others the issuer's introspection (RFC 7662) does. Both are read by ext/jwt_jansson.h into the
 * structures here.
 *
 * Owns:     nothing; all borrows.
 * Limits:   TOKEN_AUDIENCES_MAX, TOKEN_SCOPES_MAX; clocks may differ by TOKEN_LEEWAY_S.
 * Errors:   a reason in words, static text, for logs: the client hears none.
 * Security: the signature, or that it was the issuer who answered, is the caller's to check, before. What
 *           is not said counts against the token wherever it is asked for (RFC 8725 3.8, 3.9, 3.12). A
 *           token that only the owner of a key may show (cnf, RFC 7800) is no bearer's: it is refused,
 *           since nobody proves anything here.
 *
 * Who it is for: the value of one claim, "email" where the configuration names no other. An address that
 * the issuer itself calls unverified is nobody's (OpenID Connect Core 5.1).
 */
#pragma once
#include "base/str.h"

enum {
    TOKEN_LEEWAY_S = 60,
    TOKEN_AUDIENCES_MAX = 64,
    TOKEN_SCOPES_MAX = 256,
    TOKEN_CLAIM_MAX = 64, /* octets of the name of a claim */
};
#define TOKEN_CLAIM "email"

struct token_rules { /* of the configuration */
    struct str issuer;
    struct str audience, scope; /* empty: any */
    struct str claim;
};
struct token_header {
    struct str alg, kid, type;
    bool has_critical; /* it asks for what an extension says (RFC 7515 4.1.11) */
};
enum token_bool { TOKEN_UNSAID = 0, TOKEN_FALSE, TOKEN_TRUE };
struct token_time {
    bool is_said;
    int64_t unix_s;
};
struct token_claims {
    struct str issuer, user, type; /* type: token_type of an introspection */
    const struct str *audiences, *scopes;
    size_t n_audiences, n_scopes;
    struct token_time expires, not_before, issued;
    enum token_bool active; /* introspection */
    enum token_bool email_verified;
    bool is_bound;    /* cnf */
    bool is_identity; /* what only an ID token has, which is for the client and opens nothing */
};

/* NULL: a token with this header can be one that logs in. Else why not. */
const char *token_judge_header(const struct token_header *h);
/* NULL: the user may log in. is_jwt: the claims are the token's own; else the issuer's answer, which need not
 * repeat what the issuer has looked at itself. */
const char *token_judge(const struct token_rules *r, const struct token_claims *c, bool is_jwt,
                        int64_t now_s);
/* For how many seconds a verdict that it is good holds: at most `most`. */
uint32_t token_life_s(const struct token_claims *c, int64_t now_s, uint32_t most);

/* May a claim have this name, a scope or an audience this text? */
bool token_claim_is_valid(struct str name);
bool token_scope_is_valid(struct str scope); /* RFC 6749 3.3 */
