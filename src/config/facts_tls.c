/* config/facts_tls.c: tls and senders: certificates, and who may write as whom. */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>
#include <stdlib.h>

/* ---- tls --------------------------------------------------------------------------------------- */

static void get_path(lua_State *L, struct place at, const char *key, struct str *out)
{
    struct site site = facts_text_key(L, at, "tls", key, out);
    const char *error = out->n > 0 ? value_path_error(*out) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, *out, error);
    else if (out->n > 0)
        *out = loader_path(loader_of(L), *out);
}

static void get_client_ca(lua_State *L, struct place at)
{
    struct config *c = loader_of(L)->conf;
    struct str path = STR_NIL;
    struct site site = facts_text_key(L, at, "tls", "client_ca", &path);
    if (path.n == 0)
        return;
    if (c->client_ca.n > 0)
        facts_error(L, &site, "is given twice: one file may hold many authorities");
    else if (!loader_read(loader_of(L), facts_place(L, &site), path, &c->client_ca))
        c->client_ca = STR_NIL;
}

int fact_tls(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct certificate_fact fact = {.next = NULL};
    unsigned errors = ld->report->n_errors;
    if (!facts_begin(L, "tls", true, &fact.at) || !facts_want_table(L, "tls", fact.at) ||
        !facts_check_keys(L, 1, fact.at, "tls", false))
        return 0;
    facts_numbers(L, "tls", fact.at);
    get_client_ca(L, fact.at);
    get_path(L, fact.at, "cert", &fact.conf.cert);
    get_path(L, fact.at, "key", &fact.conf.key);
    if (ld->report->n_errors != errors)
        return 0;
    if (fact.conf.cert.n == 0 || fact.conf.key.n == 0) {
        report_error(ld->report, fact.at, "tls needs both: cert = \"FILE\", key = \"FILE\"");
        return 0;
    }
    if (ld->n_certificates == CONFIG_CERTIFICATES_MAX)
        (void)luaL_error(L, "more than %d certificates", (int)CONFIG_CERTIFICATES_MAX);
    struct certificate_fact *f = loader_alloc(ld, 1, sizeof *f);
    *f = fact;
    *ld->certificates_end = f;
    ld->certificates_end = &f->next;
    ld->n_certificates++;
    return 0;
}

/* ---- senders ----------------------------------------------------------------------------------- */

static void add_pattern(lua_State *L, const struct site *site, struct pattern *list, struct sender_right *r)
{
    struct str text;
    if (facts_text(L, -1, site, &text) == GOT_IT && facts_pattern(L, site, text, &list[r->n]))
        r->n++;
}

/* The value on top of the stack: one pattern, or a list of them. */
static void get_patterns(lua_State *L, const struct site *site, struct sender_right *r)
{
    struct loader *ld = loader_of(L);
    bool is_list = lua_type(L, -1) == LUA_TTABLE;
    size_t n = is_list ? (size_t)lua_rawlen(L, -1) : 1;
    if (n > CONFIG_SENDER_PATTERNS_MAX)
        (void)luaL_error(L, "more than %d patterns for one login", (int)CONFIG_SENDER_PATTERNS_MAX);
    struct pattern *list = loader_alloc(ld, n + 1, sizeof *list);
    luaenv_charge(L, n * LOADER_KEY_STEPS);
    r->may = list;
    if (!is_list) {
        add_pattern(L, site, list, r);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        (void)lua_rawgeti(L, -1, (lua_Integer)i + 1);
        add_pattern(L, site, list, r);
        lua_pop(L, 1);
    }
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void add_sender(lua_State *L, const struct site *site, struct str login)
{
    struct loader *ld = loader_of(L);
    const char *error = value_mailbox_error(login);
    if (error != NULL) {
        facts_bad_text(L, site, login, error);
        return;
    }
    if (ld->n_senders == CONFIG_SENDERS_MAX)
        (void)luaL_error(L, "more than %d logins in senders", (int)CONFIG_SENDERS_MAX);
    struct sender_fact *f = loader_alloc(ld, 1, sizeof *f);
    *f = (struct sender_fact){
        .next = ld->senders, .at = site->at, .right = {.login = loader_lower(ld, login)}};
    get_patterns(L, site, &f->right);
    ld->senders = f;
    ld->n_senders++;
}

/* The names of the table at 1, sorted: lua_next() has an order of its own each run. NULL: one is no text. */
static struct str *sorted_names(lua_State *L, size_t *out_n)
{
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1))
        n++;
    struct str *list = loader_alloc(loader_of(L), n + 1, sizeof *list);
    luaenv_charge(L, (uint64_t)n * LOADER_KEY_STEPS);
    *out_n = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        size_t len;
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 2);
            return NULL;
        }
        const char *p = lua_tolstring(L, -2, &len);
        list[(*out_n)++] = loader_copy(loader_of(L), str_of(p, len));
    }
    if (*out_n > 0)
        qsort(list, *out_n, sizeof *list, compare_names);
    return list;
}

int fact_senders(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {.section = "", .name = "senders"};
    size_t n;
    if (!facts_begin(L, "senders", false, &site.at) || !facts_want_table(L, "senders", site.at))
        return 0;
    const struct str *names = sorted_names(L, &n);
    if (names == NULL) {
        report_error(ld->report, site.at, "senders is written senders %s",
                     schema_find(STR(""), STR("senders"))->form);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        lua_pushlstring(L, names[i].p, names[i].n);
        (void)lua_gettable(L, 1);
        add_sender(L, &site, names[i]);
        lua_pop(L, 1);
    }
    return 0;
}
