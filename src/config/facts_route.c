/* config/facts_route.c: route and source: where mail to other domains goes, and from which addresses. */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>

/* ---- route ------------------------------------------------------------------------------------- */

static struct str local_of(struct loader *ld, const struct address *a)
{
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf local;
    bool needs_quotes = false;
    buf_init_fixed(&local, mem, sizeof mem);
    local_part_unquote(a->local, &local, &needs_quotes);
    return loader_lower(ld, buf_str(&local));
}

bool facts_pattern(lua_State *L, const struct site *site, struct str text, struct pattern *out)
{
    struct loader *ld = loader_of(L);
    *out = (struct pattern){.kind = PATTERN_ANY};
    if (text.n == 0 || str_eq(text, STR("*")) || str_eq(text, STR("*@*")))
        return true;
    struct place exact = facts_place(L, site);
    struct str domain = text;
    if (str_eq(text, STR("<>"))) {
        out->kind = PATTERN_NULL;
        return true;
    }
    if (str_starts(text, STR("*."))) {
        out->kind = PATTERN_SUBDOMAINS;
        domain = str_skip(text, 2);
    } else if (str_starts(text, STR("*@"))) {
        out->kind = PATTERN_DOMAIN;
        domain = str_skip(text, 2);
    } else if (str_chr(text, '@') != STR_NPOS) {
        struct address a;
        out->kind = PATTERN_ADDRESS;
        if (address_parse(text, true, &a) != NULL || a.kind != DOMAIN_NAME) {
            facts_bad_text(L, site, text,
                           "is no pattern: \"*\", \"example.org\", \"*.example.org\", \"*@example.org\" or "
                           "\"joe@example.org\"");
            return false;
        }
        out->local = local_of(ld, &a);
        domain = a.domain;
    } else {
        out->kind = PATTERN_DOMAIN;
    }
    return loader_domain(ld, exact, site->name, domain, &out->domain);
}

/* false: an error was reported. */
static bool get_pattern(lua_State *L, struct place at, const char *key, struct pattern *out, bool *is_given)
{
    struct str text = STR_NIL;
    unsigned errors = loader_of(L)->report->n_errors;
    struct site site = facts_text_key(L, at, "route", key, &text);
    *is_given = *is_given || text.n > 0;
    bool ok = facts_pattern(L, &site, text, out);
    if (out->kind == PATTERN_NULL && str_eq(str_from_c(key), STR("to")))
        facts_bad_text(L, &site, text, "is the sender of reports and no recipient");
    return ok && loader_of(L)->report->n_errors == errors;
}

static bool get_via(lua_State *L, struct place at, struct route_rule *rule)
{
    struct str via = STR_NIL;
    unsigned errors = loader_of(L)->report->n_errors;
    struct site site = facts_text_key(L, at, "route", "via", &via);
    rule->is_mx = via.n == 0 || str_eq(via, STR("mx"));
    const char *error = rule->is_mx ? NULL : value_via(via, &rule->via, &rule->auth.user);
    if (error != NULL)
        facts_bad_text(L, &site, via, error);
    rule->via.host = loader_lower(loader_of(L), rule->via.host);
    return loader_of(L)->report->n_errors == errors;
}

/* The user of via, or the key. */
static bool get_user(lua_State *L, struct place at, struct route_rule *rule)
{
    struct str user = STR_NIL;
    struct site site = facts_text_key(L, at, "route", "user", &user);
    if (user.n == 0)
        return true;
    const char *error = value_login_error(user);
    if (error == NULL && rule->auth.user.n > 0)
        error = "is the second one: via names a user too";
    if (error != NULL)
        facts_bad_text(L, &site, user, error);
    rule->auth.user = user;
    return error == NULL;
}

static bool get_password(lua_State *L, struct place at, struct route_rule *rule)
{
    struct site site = facts_key(L, 1, at, "route", "password");
    const struct value *v = value_at(L, -1);
    bool is_given = !lua_isnil(L, -1) && !luaenv_is_unknown(L, -1);
    lua_pop(L, 1);
    if (!is_given)
        return true;
    if (v == NULL || v->kind != VALUE_SECRET) {
        facts_error(L, &site, "must be secret \"FILE\": a configuration is no place for a password");
        return false;
    }
    rule->auth.secret = v->path;
    return !v->is_bad;
}

static bool get_tls(lua_State *L, struct place at, struct route_rule *rule)
{
    struct str word = STR_NIL;
    unsigned errors = loader_of(L)->report->n_errors;
    struct site site = facts_text_key(L, at, "route", "tls", &word);
    rule->tls = rule->is_mx ? HOP_TLS_MAY : policy_usual_tls(&rule->via, rule->auth.user.n > 0);
    if (word.n > 0 && !hop_tls_of_word(word, &rule->tls))
        facts_bad_text(L, &site, word,
                       "is none of \"none\", \"any\", \"may\", \"encrypt\", \"verify\" and \"dane\"");
    return loader_of(L)->report->n_errors == errors;
}

static bool get_file(lua_State *L, struct place at, const char *key, struct str *out)
{
    unsigned errors = loader_of(L)->report->n_errors;
    struct site site = facts_text_key(L, at, "route", key, out);
    const char *error = out->n > 0 ? value_path_error(*out) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, *out, error);
    else if (out->n > 0)
        *out = loader_path(loader_of(L), *out);
    return loader_of(L)->report->n_errors == errors;
}

/* The parts that need each other. */
static bool get_security(lua_State *L, struct place at, struct route_rule *rule)
{
    bool ok = get_user(L, at, rule);
    ok = get_password(L, at, rule) && ok;
    ok = get_tls(L, at, rule) && ok;
    ok = get_file(L, at, "cert", &rule->certificate.cert) && ok;
    ok = get_file(L, at, "key", &rule->certificate.key) && ok;
    const char *error = ok ? value_route_error(rule) : NULL;
    if (error != NULL)
        report_error(loader_of(L)->report, at, "route %s", error);
    return ok && error == NULL;
}

int fact_route(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct rule_fact fact = {.next = NULL};
    bool is_given = false;
    if (!facts_begin(L, "route", true, &fact.at) || !facts_want_table(L, "route", fact.at) ||
        !facts_check_keys(L, 1, fact.at, "route", false))
        return 0;
    bool ok = get_pattern(L, fact.at, "to", &fact.rule.to, &is_given);
    ok = get_pattern(L, fact.at, "from", &fact.rule.from, &is_given) && ok;
    struct site site = facts_text_key(L, fact.at, "route", "tag", &fact.rule.tag);
    const char *error = fact.rule.tag.n > 0 ? value_tag_error(fact.rule.tag) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, fact.rule.tag, error);
    ok = get_via(L, fact.at, &fact.rule) && ok && error == NULL;
    ok = ok && get_security(L, fact.at, &fact.rule);
    (void)facts_text_key(L, fact.at, "route", "source", &fact.source);
    lua_getfield(L, 1, "via");
    bool has_via = !lua_isnil(L, -1);
    if (ok && !is_given && fact.rule.tag.n == 0)
        report_error(ld->report, fact.at,
                     "route does not say which mail it is for: to, from or tag (to = \"*\" "
                     "for all)");
    else if (ok && !has_via && fact.source.n == 0 && fact.rule.tls == HOP_TLS_MAY &&
             fact.rule.certificate.cert.n == 0)
        report_error(ld->report, fact.at, "route says nothing of how mail goes: via, source, tls or cert");
    if (ld->n_rules == CONFIG_ROUTES_MAX)
        (void)luaL_error(L, "more than %d routes", (int)CONFIG_ROUTES_MAX);
    struct rule_fact *r = loader_alloc(ld, 1, sizeof *r);
    *r = fact;
    *ld->rules_end = r;
    ld->rules_end = &r->next;
    ld->n_rules++;
    return 0;
}

int fact_authorities(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {.section = "", .name = "authorities"};
    struct str path = STR_NIL;
    if (facts_begin(L, "authorities", false, &site.at) && facts_text(L, 1, &site, &path) == GOT_IT &&
        !loader_read(ld, site.at, path, &ld->conf->authorities))
        ld->conf->authorities = STR_NIL;
    return 0;
}

/* ---- source ------------------------------------------------------------------------------------ */

static void add_address(lua_State *L, const struct site *site, struct source_pool *pool, struct netaddr *list)
{
    struct str text;
    struct netaddr addr;
    if (facts_text(L, -1, site, &text) != GOT_IT)
        return;
    if (!netaddr_parse_ip(text, 0, &addr) || netaddr_is_any(&addr)) {
        facts_bad_text(L, site, text, "is no IPv4 or IPv6 address of a machine");
        return;
    }
    for (size_t i = 0; i < pool->n_addrs; i++) {
        if (netaddr_same_ip(&list[i], &addr)) {
            facts_bad_text(L, site, text, "is given twice");
            return;
        }
    }
    if (pool->n_addrs == CONFIG_SOURCE_ADDRESSES_MAX)
        (void)luaL_error(L, "more than %d addresses in one source", (int)CONFIG_SOURCE_ADDRESSES_MAX);
    list[pool->n_addrs++] = addr;
}

static void read_source(lua_State *L, struct source_fact *f)
{
    struct loader *ld = loader_of(L);
    (void)facts_check_keys(L, 1, f->at, "source", false);
    struct netaddr *list = loader_alloc(ld, CONFIG_SOURCE_ADDRESSES_MAX, sizeof *list);
    f->pool.addrs = list;
    struct site site = facts_key(L, 1, f->at, "source", "address");
    if (lua_type(L, -1) == LUA_TTABLE) {
        lua_Unsigned n = lua_rawlen(L, -1);
        unsigned errors = ld->report->n_errors;
        for (lua_Unsigned i = 1; i <= n; i++) {
            luaenv_charge(L, 10);
            (void)lua_rawgeti(L, -1, (lua_Integer)i);
            add_address(L, &site, &f->pool, list);
            lua_pop(L, 1);
        }
        if (f->pool.n_addrs == 0 && ld->report->n_errors == errors)
            facts_error(L, &site, "names no address");
    } else {
        add_address(L, &site, &f->pool, list);
    }
    lua_pop(L, 1);
    site = facts_text_key(L, f->at, "source", "helo", &f->pool.helo);
    const char *error = f->pool.helo.n > 0 ? value_hostname_error(f->pool.helo) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, f->pool.helo, error);
    f->pool.helo = loader_lower(ld, f->pool.helo);
}

/* The second half of source "name" { ... }. Upvalue: the struct source_fact, or NULL for a refused name. */
static int source_table(lua_State *L)
{
    struct source_fact *f = lua_touserdata(L, lua_upvalueindex(1));
    if (f == NULL || luaenv_is_unknown(L, 1))
        return 0;
    if (lua_type(L, 1) != LUA_TTABLE || lua_gettop(L) != 1 || f->has_table)
        report_error(loader_of(L)->report, f->at, "source is written source \"NAME\" { key = value, ... }");
    else
        read_source(L, f);
    f->has_table = true;
    return 0;
}

int fact_source(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {loader_place(L), "", "source", 0};
    struct str name = STR_NIL;
    struct source_fact *f = NULL;
    luaenv_charge(L, LOADER_FACT_STEPS);
    if (lua_type(L, 1) == LUA_TTABLE || lua_gettop(L) > 1) {
        report_error(ld->report, site.at, "source is written source \"NAME\" { key = value, ... }");
    } else if (facts_text(L, 1, &site, &name) == GOT_IT) {
        const char *error = value_tag_error(name);
        if (error != NULL) {
            facts_bad_text(L, &site, name, error);
        } else {
            if (ld->n_sources == CONFIG_SOURCES_MAX)
                (void)luaL_error(L, "more than %d sources", (int)CONFIG_SOURCES_MAX);
            f = loader_alloc(ld, 1, sizeof *f);
            *f = (struct source_fact){.at = site.at, .pool = {.name = loader_lower(ld, name)}};
            *ld->pools_end = f;
            ld->pools_end = &f->next;
            ld->n_sources++;
        }
    }
    lua_pushlightuserdata(L, f);
    lua_pushcclosure(L, source_table, 1);
    return 1;
}
