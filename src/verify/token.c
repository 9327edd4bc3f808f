#include "verify/token.h"

/* RFC 9068 2.1 and 4; most issuers write "JWT" or nothing there. Of other kinds (logout tokens, security
 * events) the word tells (RFC 8725 3.11). */
const char *token_judge_header(const struct token_header *h)
{
    static const struct str types[] = {STR_INIT(""), STR_INIT("JWT"), STR_INIT("at+jwt"),
                                       STR_INIT("application/at+jwt")};
    if (h->has_critical)
        return "it asks for an extension (crit)";
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (str_ieq(h->type, types[i]))
            return NULL;
    }
    return "its type (typ) is not that of an access token";
}

static bool has(const struct str *list, size_t n, struct str wanted)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(list[i], wanted))
            return true;
    }
    return false;
}

static bool is_behind(const struct token_time *t, int64_t now_s)
{
    return t->is_said && t->unix_s > now_s + TOKEN_LEEWAY_S;
}

static const char *judge_time(const struct token_claims *c, bool is_jwt, int64_t now_s)
{
    if (is_jwt && !c->expires.is_said)
        return "it never expires (exp)";
    if (c->expires.is_said && c->expires.unix_s + TOKEN_LEEWAY_S <= now_s)
        return "it has expired (exp)";
    if (is_behind(&c->not_before, now_s))
        return "it is not valid yet (nbf)";
    return is_behind(&c->issued, now_s) ? "it was issued in the future (iat)" : NULL;
}

/* What it is, and whose. */
static const char *judge_kind(const struct token_claims *c)
{
    if (c->is_bound)
        return "it is bound to a key (cnf), and here is nothing to prove that by";
    if (c->is_identity)
        return "it is an ID token and no access token";
    if (c->type.n > 0 && !str_ieq(c->type, STR("Bearer")))
        return "it is no bearer token (token_type)";
    return NULL;
}

const char *token_judge(const struct token_rules *r, const struct token_claims *c, bool is_jwt, int64_t now_s)
{
    if (!is_jwt && c->active != TOKEN_TRUE)
        return "the issuer says that it is not active";
    if ((is_jwt || c->issuer.n > 0) && !str_eq(c->issuer, r->issuer))
        return "it is of another issuer (iss)";
    if (r->audience.n > 0 && !has(c->audiences, c->n_audiences, r->audience))
        return "it is for others and not for this server (aud)";
    if (r->scope.n > 0 && !has(c->scopes, c->n_scopes, r->scope))
        return "it is not for this use (scope)";
    const char *why = judge_kind(c);
    if (why == NULL)
        why = judge_time(c, is_jwt, now_s);
    if (why != NULL)
        return why;
    if (c->user.n == 0)
        return "it does not say for whom it is: the claim that the configuration names is missing or no text";
    if (str_eq(r->claim, STR("email")) && c->email_verified == TOKEN_FALSE)
        return "its address is not verified (email_verified)";
    return NULL;
}

uint32_t token_life_s(const struct token_claims *c, int64_t now_s, uint32_t most)
{
    if (!c->expires.is_said || c->expires.unix_s - now_s >= (int64_t)most)
        return most;
    return c->expires.unix_s <= now_s ? 0 : (uint32_t)(c->expires.unix_s - now_s);
}

bool token_claim_is_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] <= ' ' || name.p[i] > '~')
            return false;
    }
    return name.n > 0 && name.n <= TOKEN_CLAIM_MAX;
}

bool token_scope_is_valid(struct str scope)
{
    for (size_t i = 0; i < scope.n; i++) {
        if (scope.p[i] <= ' ' || scope.p[i] > '~' || scope.p[i] == '"' || scope.p[i] == '\\')
            return false;
    }
    return scope.n > 0;
}
