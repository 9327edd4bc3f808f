/* config/facts_table.c: ldap { ... } and sql { ... }: directories and databases that know passwords. */
#include "config/loader.h"

#include "config/table_values.h"

#include "base/limits.h"
#include "config/values.h"

#include <string.h>

static bool take_secret(lua_State *L, struct place at, const char *section, struct str *out)
{
    struct site site = facts_key(L, 1, at, section, "password");
    const struct value *v = value_at(L, -1);
    bool is_given = !lua_isnil(L, -1) && !luaenv_is_unknown(L, -1);
    lua_pop(L, 1);
    if (!is_given)
        return true;
    if (v == NULL || v->kind != VALUE_SECRET) {
        facts_error(L, &site, "must be secret \"FILE\": a configuration is no place for a password");
        return false;
    }
    *out = v->path;
    return !v->is_bad;
}

/* "sqlite:" before an absolute path: what a decoder reads again. */
static const char *settle_path(struct loader *ld, struct auth_table *t)
{
    static const char scheme[] = "sqlite:";
    enum { SCHEME = sizeof scheme - 1 };
    struct str full = loader_path(ld, t->place);
    char *p = loader_alloc(ld, SCHEME + full.n, 1);
    memcpy(p, scheme, SCHEME);
    memcpy(p + SCHEME, full.p, full.n);
    t->server = str_of(p, SCHEME + full.n);
    t->place = str_skip(t->server, SCHEME);
    bool is_open;
    enum err e = ld->env->find_secret == NULL ? ERR_OK : ld->env->find_secret(ld->env->arg, full, &is_open);
    if (e == ERR_OK || e == ERR_TOO_BIG) /* any size will do */
        return NULL;
    return e == ERR_NOTFOUND ? "names no file that is there" : "names a file that can't be read";
}

/* The value on top of the stack is done: whatever is wrong with it was told. */
static int finish(lua_State *L, struct value *v, const struct site *site, unsigned errors)
{
    struct loader *ld = loader_of(L);
    const char *error = ld->report->n_errors == errors ? table_error(&v->auth) : NULL;
    if (error != NULL)
        report_error(ld->report, site->at, "%s %s", site->name, error);
    v->is_bad = ld->report->n_errors != errors;
    return 1;
}

/* false: it is no table of keys. */
static bool begin(lua_State *L, const struct site *site)
{
    struct loader *ld = loader_of(L);
    if (lua_type(L, 1) == LUA_TTABLE && facts_check_keys(L, 1, site->at, site->name, false))
        return true;
    if (lua_type(L, 1) != LUA_TTABLE && !luaenv_is_unknown(L, 1))
        report_error(ld->report, site->at, "%s is written %s { key = value, ... }", site->name, site->name);
    return false;
}

/* A text that must be there; the empty slice after an error. */
static struct str needed(lua_State *L, struct place at, const char *section, const char *key,
                         const char *what)
{
    struct str out = STR_NIL;
    unsigned errors = loader_of(L)->report->n_errors;
    (void)facts_text_key(L, at, section, key, &out);
    if (out.n == 0 && loader_of(L)->report->n_errors == errors)
        report_error(loader_of(L)->report, at, "%s needs %s = %s", section, key, what);
    return out;
}

static int value_ldap(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {loader_place(L), "", "ldap", 0};
    unsigned errors = ld->report->n_errors;
    struct value *v = value_push(L, VALUE_AUTH);
    v->auth = (struct auth_backend){.kind = AUTH_BY_LDAP};
    v->is_bad = true;
    if (!begin(L, &site))
        return 1;
    struct auth_table *t = &v->auth.table;
    struct str server = needed(L, site.at, "ldap", "server", "\"ldaps://HOST\"");
    const char *error = server.n == 0 ? NULL : table_ldap_server(server, t);
    if (error != NULL) {
        struct site key = {site.at, "ldap", "server", 0};
        facts_bad_text(L, &key, server, error);
    }
    t->host = loader_lower(ld, t->host);
    t->question = STR("(mail=%u@%d)");
    t->place = needed(L, site.at, "ldap", "base", "\"DN\": where its people are");
    (void)facts_text_key(L, site.at, "ldap", "filter", &t->question);
    (void)facts_text_key(L, site.at, "ldap", "bind", &t->user);
    if (!take_secret(L, site.at, "ldap", &t->secret))
        return 1;
    return finish(L, v, &site, errors);
}

static int value_sql(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {loader_place(L), "", "sql", 0};
    unsigned errors = ld->report->n_errors;
    struct value *v = value_push(L, VALUE_AUTH);
    v->auth = (struct auth_backend){.kind = AUTH_BY_SQLITE};
    v->is_bad = true;
    if (!begin(L, &site))
        return 1;
    struct auth_table *t = &v->auth.table;
    struct str place =
        needed(L, site.at, "sql", "database", "\"postgresql://USER@HOST/DATABASE\" or \"sqlite:/PATH\"");
    const char *error = place.n == 0 ? NULL : table_sql_database(place, &v->auth.kind, t);
    if (error == NULL && place.n > 0 && v->auth.kind == AUTH_BY_SQLITE)
        error = settle_path(ld, t);
    if (error != NULL) {
        struct site key = {site.at, "sql", "database", 0};
        facts_bad_text(L, &key, place, error);
    }
    t->host = loader_lower(ld, t->host);
    t->question = needed(L, site.at, "sql", "query", "\"SELECT ... $1 ...\"");
    if (!take_secret(L, site.at, "sql", &t->secret))
        return 1;
    return finish(L, v, &site, errors);
}

void table_values_push(lua_State *L)
{
    lua_pushcfunction(L, value_ldap);
    lua_setfield(L, -2, "ldap");
    lua_pushcfunction(L, value_sql);
    lua_setfield(L, -2, "sql");
}
