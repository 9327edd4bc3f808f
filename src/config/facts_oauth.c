/* config/facts_oauth.c: oauth: whose access tokens log users in, and how one is looked at. */
#include "config/check.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/shared.h"
#include "config/values.h"
#include "verify/token.h"

#include <lauxlib.h>
#include <string.h>

/* ---- what the parts must be -------------------------------------------------------------------- */

/* RFC 8414 2: a name to compare and to build addresses from. */
static const char *issuer_error(struct str s)
{
    const char *error = value_https_error(s);
    for (size_t i = 0; i < s.n && error == NULL; i++) {
        if (memchr("?#\"\\", s.p[i], 4) != NULL)
            error = "must have none of '?', '#', '\"' and '\\' in it";
    }
    return error;
}

static const char *url_error(struct str s)
{
    struct str host;
    uint16_t port;
    return value_https_host(s, &host, &port);
}

static const char *text_error(struct str s)
{
    return s.n > OAUTH_TEXT_MAX ? "is too long" : str_has_ctl(s) ? "must have no control characters" : NULL;
}

static const char *scope_error(struct str s)
{
    return s.n > OAUTH_TEXT_MAX       ? "is too long"
           : !token_scope_is_valid(s) ? "is no scope: one word, without quotes and backslashes"
                                      : NULL;
}

static const char *claim_error(struct str s)
{
    return token_claim_is_valid(s) ? NULL : "is no name of a claim: one word in ASCII, of at most 64 octets";
}

/* Do they go together? */
static const char *whole_error(const struct oauth_conf *o)
{
    if (o->issuer.n == 0)
        return "needs issuer = \"URL\": whose tokens log in";
    if (o->by == OAUTH_INTROSPECTION && (o->client.n == 0 || o->secret.n == 0))
        return "needs client = \"NAME\" and secret = secret \"FILE\": as whom introspection is asked";
    if (o->by == OAUTH_JWKS && o->client.n + o->secret.n > 0)
        return "has client and secret, which go with introspection: public keys are there for everybody";
    if (o->by == OAUTH_JWKS && o->audience.n == 0)
        return "needs audience = \"NAME\": a token that was made for another service would log in here, too";
    return NULL;
}

static const char *or_nothing(const char *(*error_of)(struct str), struct str s)
{
    return s.n == 0 ? NULL : error_of(s);
}

const char *config_oauth_problem(const struct oauth_conf *o)
{
    const char *const errors[] = {whole_error(o),
                                  issuer_error(o->issuer),
                                  url_error(o->url),
                                  or_nothing(text_error, o->client),
                                  or_nothing(value_path_error, o->secret),
                                  or_nothing(text_error, o->audience),
                                  or_nothing(scope_error, o->scope),
                                  claim_error(o->claim)};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        if (errors[i] != NULL)
            return errors[i];
    }
    return NULL;
}

/* ---- the fact ---------------------------------------------------------------------------------- */

static void get_text(lua_State *L, struct place at, const char *key, const char *(*error_of)(struct str),
                     struct str *out)
{
    struct site site = facts_text_key(L, at, "oauth", key, out);
    const char *error = or_nothing(error_of, *out);
    if (error != NULL)
        facts_bad_text(L, &site, *out, error);
}

static void get_secret(lua_State *L, struct place at, struct oauth_conf *o)
{
    struct site site = facts_key(L, 1, at, "oauth", "secret");
    const struct value *v = value_at(L, -1);
    bool is_given = !lua_isnil(L, -1) && !luaenv_is_unknown(L, -1);
    lua_pop(L, 1);
    if (!is_given)
        return;
    if (v == NULL || v->kind != VALUE_SECRET)
        facts_error(L, &site, "must be secret \"FILE\": a configuration is no place for a password");
    else
        o->secret = v->path;
}

static void get_domains(lua_State *L, struct place at)
{
    struct loader *ld = loader_of(L);
    struct site site = facts_key(L, 1, at, "oauth", "domains");
    if (lua_isnil(L, -1) || luaenv_is_unknown(L, -1))
        return;
    if (lua_type(L, -1) != LUA_TTABLE) {
        (void)facts_wrong_kind(L, -1, &site, "a list: { \"NAME\", ... }");
        return;
    }
    size_t n = (size_t)lua_rawlen(L, -1);
    if (n == 0 || n > CONFIG_DOMAINS_MAX) {
        facts_error(L, &site, "has 1 to %d names; without the key all domains are meant",
                    (int)CONFIG_DOMAINS_MAX);
        return;
    }
    ld->token_domains = loader_alloc(ld, n, sizeof *ld->token_domains);
    luaenv_charge(L, n * LOADER_KEY_STEPS);
    for (size_t i = 0; i < n; i++) {
        struct str text;
        site.item = i + 1;
        (void)lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (facts_text(L, -1, &site, &text) == GOT_IT &&
            loader_domain(ld, facts_place(L, &site), "domains", text,
                          &ld->token_domains[ld->n_token_domains]))
            ld->n_token_domains++;
        lua_pop(L, 1);
    }
}

static void get_url(lua_State *L, struct place at, struct oauth_conf *o)
{
    struct str introspection = STR_NIL, jwks = STR_NIL;
    get_text(L, at, "introspection", url_error, &introspection);
    get_text(L, at, "jwks", url_error, &jwks);
    if ((introspection.n > 0) == (jwks.n > 0))
        report_error(
            loader_of(L)->report, at,
            "oauth takes introspection = \"URL\" (the provider is asked about each token) or jwks = \"URL\" "
            "(his keys prove it): one of them");
    o->by = introspection.n > 0 ? OAUTH_INTROSPECTION : OAUTH_JWKS;
    o->url = introspection.n > 0 ? introspection : jwks;
}

int fact_oauth(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct oauth_conf o = {.claim = STR(TOKEN_CLAIM)};
    struct place at;
    unsigned errors = ld->report->n_errors;
    if (!facts_begin(L, "oauth", false, &at) || !facts_want_table(L, "oauth", at) ||
        !facts_check_keys(L, 1, at, "oauth", false))
        return 0;
    get_text(L, at, "issuer", issuer_error, &o.issuer);
    get_url(L, at, &o);
    get_text(L, at, "client", text_error, &o.client);
    get_secret(L, at, &o);
    get_text(L, at, "audience", text_error, &o.audience);
    get_text(L, at, "scope", scope_error, &o.scope);
    get_text(L, at, "claim", claim_error, &o.claim);
    get_domains(L, at);
    const char *problem = ld->report->n_errors == errors ? whole_error(&o) : NULL;
    if (problem != NULL)
        report_error(ld->report, at, "oauth %s", problem);
    if (ld->report->n_errors != errors)
        return 0;
    must(config_oauth_problem(&o) == NULL && value_https_host(o.url, &o.host, &o.port) == NULL);
    ld->conf->oauth = o;
    return 0;
}

/* ---- what it means for domains ----------------------------------------------------------------- */

/* Mail of one that is same_as another ends there, too: the other one has the users. */
static bool takes_tokens(const struct domain_fact *f)
{
    return f->d.relay == DOMAIN_ENDS_HERE && f->d.same_as.n == 0 && !str_eq(f->d.name, STR("*"));
}

static void take_named(struct loader *ld, struct str name, size_t i)
{
    struct place at = check_given_at(ld, "oauth");
    for (struct domain_fact *f = ld->domains; f != NULL; f = f->next) {
        if (str_eq(f->d.name, name) && takes_tokens(f)) {
            f->d.tokens = true;
            return;
        }
    }
    report_error(ld->report, at,
                 "oauth: domains: \"%.*s\" (%zu) is no domain whose users are here: name one that has users "
                 "of its own",
                 STR_FMT(report_brief(name)), i + 1);
}

void check_oauth(struct loader *ld)
{
    if (ld->conf->oauth.by == OAUTH_NONE)
        return;
    for (size_t i = 0; i < ld->n_token_domains; i++)
        take_named(ld, ld->token_domains[i], i);
    bool has_any = ld->n_token_domains > 0;
    for (struct domain_fact *f = ld->domains; f != NULL && ld->n_token_domains == 0; f = f->next) {
        f->d.tokens = takes_tokens(f);
        has_any = has_any || f->d.tokens;
    }
    if (!has_any)
        report_error(
            ld->report, check_given_at(ld, "oauth"),
            "oauth: there is no domain with users who could log in: domain \"NAME\" { users = ... }");
}
