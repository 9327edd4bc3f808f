/* config/facts_rewrite.c: rewrite: what addresses of this machine become (policy/rewrite.h). */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>
#include <stdlib.h>

/* false: an error was reported. */
static bool get_mailbox(lua_State *L, int i, const struct site *site, struct str *out)
{
    struct str text;
    if (facts_text(L, i, site, &text) != GOT_IT)
        return false;
    const char *error = value_mailbox_error(text);
    if (error != NULL)
        facts_bad_text(L, site, text, error);
    else
        *out = text;
    return error == NULL;
}

static void get_name(lua_State *L, const struct site *site, struct rewrite_conf *r, struct rewrite_name *list)
{
    struct loader *ld = loader_of(L);
    size_t len;
    luaenv_charge(L, LOADER_KEY_STEPS);
    if (lua_type(L, -2) != LUA_TSTRING) {
        facts_error(L, site, "takes NAME = \"ADDRESS\": an address stands without its name");
        return;
    }
    const char *p = lua_tolstring(L, -2, &len);
    struct str name = loader_lower(ld, loader_copy(ld, str_of(p, len)));
    if (str_eq(name, STR("*"))) {
        (void)get_mailbox(L, -1, site, &r->to);
        return;
    }
    const char *error = value_user_error(name);
    if (error != NULL) {
        facts_bad_text(L, site, name, error);
        return;
    }
    if (r->n_names == CONFIG_REWRITES_MAX)
        (void)luaL_error(L, "more than %d names in rewrite", (int)CONFIG_REWRITES_MAX);
    if (get_mailbox(L, -1, site, &list[r->n_names].to))
        list[r->n_names++].name = name;
}

static int compare_names(const void *pa, const void *pb)
{
    const struct rewrite_name *a = pa, *b = pb;
    return str_icmp(a->name, b->name);
}

/* One address for all names, or a table of names, "*" for all others. */
static void get_to(lua_State *L, struct place at, struct rewrite_conf *r)
{
    struct site site = facts_key(L, 1, at, "rewrite", "to");
    if (lua_type(L, -1) != LUA_TTABLE) {
        if (!lua_isnil(L, -1) && !luaenv_is_unknown(L, -1))
            (void)get_mailbox(L, -1, &site, &r->to);
        lua_pop(L, 1);
        return;
    }
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        n++;
    struct rewrite_name *list = loader_alloc(loader_of(L), n + 1, sizeof *list);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        get_name(L, &site, r, list);
    lua_pop(L, 1);
    if (r->n_names > 0)
        qsort(list, r->n_names, sizeof *list, compare_names);
    for (size_t i = 1; i < r->n_names; i++) {
        if (str_ieq(list[i - 1].name, list[i].name))
            facts_bad_text(L, &site, list[i].name, "is given twice");
    }
    r->names = list;
}

int fact_rewrite(lua_State *L)
{
    struct rewrite_conf *r = &loader_of(L)->conf->policy.rewrite;
    struct place at;
    struct str domain = STR_NIL;
    if (!facts_begin(L, "rewrite", false, &at) || !facts_want_table(L, "rewrite", at) ||
        !facts_check_keys(L, 1, at, "rewrite", false))
        return 0;
    struct site site = facts_key(L, 1, at, "rewrite", "from");
    if (!lua_isnil(L, -1))
        (void)get_mailbox(L, -1, &site, &r->from);
    lua_pop(L, 1);
    get_to(L, at, r);
    site = facts_text_key(L, at, "rewrite", "domain", &domain);
    if (domain.n > 0 && !loader_domain(loader_of(L), facts_place(L, &site), "domain", domain, &r->domain))
        r->domain = STR_NIL;
    return 0;
}
