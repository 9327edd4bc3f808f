/* config/loader.c: runs the file, its includes and the check that follows. Everything Lua does happens below
 * one lua_pcall: an error in there is at worst one line of the report.
 */
#include "config/loader.h"

#include "base/limits.h"
#include "config/luascan.h"
#include "config/schema.h"
#include "ext/idn.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { OCTETS_PER_STEP = 16 };

struct loader *loader_of(lua_State *L)
{
    void *ld;
    memcpy(&ld, lua_getextraspace(L), sizeof ld);
    return ld;
}

/* ---- places ------------------------------------------------------------------------------------ */

static const struct source *find_source(const struct loader *ld, struct str name)
{
    for (const struct source *s = ld->sources; s != NULL; s = s->next) {
        if (str_eq(s->name, name))
            return s;
    }
    return NULL;
}

struct place loader_place(lua_State *L)
{
    const struct loader *ld = loader_of(L);
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar) != 0; level++) {
        if (lua_getinfo(L, "Sl", &ar) == 0 || ar.currentline <= 0)
            continue;
        struct str name = str_skip(str_of(ar.source, ar.srclen), 1); /* "@name" */
        const struct source *s = find_source(ld, name);
        return (struct place){s != NULL ? s->name : ld->name, ar.currentline};
    }
    return (struct place){ld->name, 0};
}

struct place loader_key_place(const struct loader *ld, struct place at, struct str fact, struct str key)
{
    const struct source *s = find_source(ld, at.file);
    return (struct place){at.file, s == NULL ? at.line : scan_key_line(s->text, at.line, fact, key)};
}

struct place loader_item_place(const struct loader *ld, struct place at, struct str fact, size_t i)
{
    const struct source *s = find_source(ld, at.file);
    return (struct place){at.file, s == NULL ? at.line : scan_item_line(s->text, at.line, fact, i)};
}

/* ---- memory ------------------------------------------------------------------------------------ */

static _Noreturn void no_memory(struct loader *ld)
{
    ld->is_out_of_memory = true;
    lua_pushliteral(ld->lua, "out of memory");
    lua_error(ld->lua);
    must_not_reach();
}

void *loader_alloc(struct loader *ld, size_t count, size_t size)
{
    void *p = arena_alloc_array(ld->arena, count, size);
    if (p == NULL)
        no_memory(ld);
    return p;
}

struct str loader_copy(struct loader *ld, struct str s)
{
    struct str copy;
    if (!arena_str(ld->arena, s, &copy))
        no_memory(ld);
    return copy;
}

struct str loader_lower(struct loader *ld, struct str s)
{
    char *p = loader_alloc(ld, s.n + 1, 1);
    for (size_t i = 0; i < s.n; i++)
        p[i] = ascii_lower(s.p[i]);
    return str_of(p, s.n);
}

bool loader_domain(struct loader *ld, struct place at, const char *what, struct str name, struct str *out)
{
    char mem[SMTP_DOMAIN_MAX + 1];
    struct buf ascii;
    buf_init_fixed(&ascii, mem, sizeof mem);
    const char *problem = NULL;
    if (!domain_is_valid(name, true))
        problem = "is no domain name";
    else if (!idn_to_ascii(name, &ascii) || !domain_is_valid(buf_str(&ascii), false))
        problem = "is no internationalized domain name";
    if (problem != NULL) {
        report_error(ld->report, at, "%s: \"%.*s\" %s", what, STR_FMT(report_brief(name)), problem);
        return false;
    }
    *out = loader_copy(ld, buf_str(&ascii));
    return true;
}

/* ---- files ------------------------------------------------------------------------------------- */

struct str loader_path(struct loader *ld, struct str path)
{
    struct str home = ld->env->home;
    if (str_starts(path, STR("/")) || home.n == 0)
        return loader_copy(ld, path);
    size_t slash = str_ends(home, STR("/")) ? 0 : 1;
    char *p = loader_alloc(ld, home.n + slash + path.n + 1, 1);
    memcpy(p, home.p, home.n);
    if (slash > 0)
        p[home.n] = '/';
    if (path.n > 0)
        memcpy(p + home.n + slash, path.p, path.n);
    return str_of(p, home.n + slash + path.n);
}

const char *config_file_problem(enum err e)
{
    return e == ERR_INVALID   ? "it is no ordinary file"
           : e == ERR_TOO_BIG ? "it is larger than a file of the configuration may be (16M)"
                              : err_str(e);
}

bool loader_read(struct loader *ld, struct place at, struct str path, struct str *out)
{
    struct str full = loader_path(ld, path), brief = report_brief(full);
    enum err err = ld->env->read_file(ld->env->arg, full, ld->arena, out);
    if (err == ERR_NOMEM)
        no_memory(ld);
    if (err == ERR_OK && out->n > CONFIG_FILE_MAX)
        err = ERR_TOO_BIG;
    if (err != ERR_OK)
        report_error(ld->report, at, "can't read the file %.*s: %s", STR_FMT(brief),
                     config_file_problem(err));
    luaenv_charge(ld->lua, LOADER_FACT_STEPS + (err == ERR_OK ? out->n / OCTETS_PER_STEP : 0));
    return err == ERR_OK;
}

bool loader_find_secret(struct loader *ld, struct place at, struct str full)
{
    struct str brief = report_brief(full);
    bool is_open = false;
    enum err err = ld->env->find_secret == NULL ? ERR_OK : ld->env->find_secret(ld->env->arg, full, &is_open);
    if (err != ERR_OK)
        report_error(ld->report, at, "can't use the file %.*s: %s", STR_FMT(brief),
                     err == ERR_TOO_BIG ? "it is empty, or larger than a password may be (4K)"
                                        : config_file_problem(err));
    else if (is_open)
        report_error(
            ld->report, at,
            "every user of this machine may read the file %.*s, which holds a secret: chmod o-rwx it",
            STR_FMT(brief));
    luaenv_charge(ld->lua, LOADER_FACT_STEPS);
    return err == ERR_OK && !is_open;
}

static int compare_users(const void *pa, const void *pb)
{
    const struct str *a = pa, *b = pb;
    return str_icmp(*a, *b);
}

size_t loader_sort_users(struct str *users, size_t n)
{
    size_t kept = 0;
    if (n > 0)
        qsort(users, n, sizeof *users, compare_users);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || !str_ieq(users[i], users[kept - 1]))
            users[kept++] = users[i];
    }
    return kept;
}

/* ---- running ----------------------------------------------------------------------------------- */

/* Takes "waxwing.lua:7: what" apart; false when the text has no such front. */
static bool split_message(const struct loader *ld, struct str *message, struct place *out)
{
    for (const struct source *s = ld->sources; s != NULL; s = s->next) {
        uint64_t line;
        struct str rest = str_skip(*message, s->name.n);
        if (!str_starts(*message, s->name) || !str_starts(rest, STR(":")))
            continue;
        size_t end = str_find(rest, STR(": "));
        if (end == STR_NPOS || !str_to_u64(str_slice(rest, 1, end), 1 << 30, &line))
            continue;
        *out = (struct place){s->name, (int)line};
        *message = str_skip(rest, end + 2);
        return true;
    }
    return false;
}

static void explain_syntax(struct loader *ld, const struct source *s, struct str message)
{
    char mem[600];
    struct buf text;
    struct place at = {s->name, 0};
    ld->is_partial = true;
    if (!split_message(ld, &message, &at)) {
        report_error(ld->report, at, "this is no text of Lua");
        return;
    }
    buf_init_fixed(&text, mem, sizeof mem);
    at.line = scan_explain(s->text, at.line, message, &text);
    report_error(ld->report, at, "%.*s", STR_FMT(buf_str(&text)));
}

/* Runs a source with the environment of the registry; leaves one result. A syntax error is reported, the
 * result nil. */
static void run_source(lua_State *L, struct str name, struct str text)
{
    struct loader *ld = loader_of(L);
    struct source *s = loader_alloc(ld, 1, sizeof *s);
    *s = (struct source){.next = ld->sources, .name = loader_copy(ld, name), .text = text};
    ld->sources = s;
    const char *chunk = lua_pushfstring(L, "@%s", s->name.p);
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = str_skip(text, 3);
    int status = luaL_loadbufferx(L, text.n == 0 ? "" : text.p, text.n, chunk, "t");
    lua_remove(L, -2);
    if (status == LUA_ERRSYNTAX) {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n);
        explain_syntax(ld, s, str_of(p, n));
        lua_pop(L, 1);
        lua_pushnil(L);
        return;
    }
    if (status == LUA_ERRRUN &&
        str_find(str_from_c(lua_tostring(L, -1)), STR("C stack overflow")) != STR_NPOS) {
        ld->is_partial = true; /* Lua does not say on which line */
        report_error(ld->report, (struct place){s->name, 0},
                     "too many { } or ( ) stand within each other: is one never closed?");
        lua_pop(L, 1);
        lua_pushnil(L);
        return;
    }
    if (status != LUA_OK)
        lua_error(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "waxwing.env");
    must(lua_setupvalue(L, -2, 1) != NULL);
    lua_call(L, 0, 1);
}

static bool is_within_folder(struct str path)
{
    struct str rest = path;
    if (path.n == 0 || path.p[0] == '/' || str_has_ctl(path))
        return false;
    while (rest.n > 0) {
        if (str_eq(str_cut(&rest, '/'), STR("..")))
            return false;
    }
    return true;
}

int loader_include(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {loader_place(L), "", "include", 0};
    struct str path, text;
    bool was_partial = ld->is_partial;
    ld->is_partial = true; /* until the file has run */
    if (facts_text(L, 1, &site, &path) != GOT_IT)
        return 0;
    if (!is_within_folder(path)) {
        report_error(ld->report, site.at,
                     "include takes files in the folder of the configuration and below it");
        return 0;
    }
    if (ld->include_depth >= LOADER_INCLUDE_DEPTH_MAX || ld->n_includes >= LOADER_INCLUDES_MAX)
        return luaL_error(L, "too many files are included: does one include itself?");
    if (!loader_read(ld, site.at, path, &text))
        return 0;
    ld->is_partial = was_partial;
    ld->include_depth++;
    ld->n_includes++;
    run_source(L, path, text);
    ld->include_depth--;
    return 1;
}

/* An error without a place gets that of the Lua line at work. */
static int on_error(lua_State *L)
{
    struct place at;
    size_t n;
    const char *p = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &n) : NULL;
    struct str message = p != NULL ? str_of(p, n) : STR("error() was called with something that is no text");
    if (p != NULL && split_message(loader_of(L), &message, &at))
        return 1;
    at = loader_place(L);
    luaL_Buffer b;
    lua_pushinteger(L, at.line);
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, at.file.p, at.file.n);
    luaL_addchar(&b, ':');
    luaL_addstring(&b, luaL_tolstring(L, 2, NULL));
    luaL_addstring(&b, ": ");
    luaL_addlstring(&b, message.p, message.n);
    luaL_pushresult(&b);
    return 1;
}

static int protected_run(lua_State *L)
{
    struct loader *ld = loader_of(L);
    const struct str *text = lua_touserdata(L, 1);
    luaenv_push(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "waxwing.env");
    run_source(L, ld->name, *text);
    return 0;
}

static int protected_check(lua_State *L)
{
    check(loader_of(L));
    return 0;
}

static void call(struct loader *ld, lua_CFunction f, void *arg)
{
    lua_State *L = ld->lua;
    lua_settop(L, 0);
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, arg);
    int status = lua_pcall(L, 1, 0, 1);
    struct place at = {ld->name, 0};
    if (status == LUA_OK)
        return;
    ld->is_partial = true;
    size_t n;
    const char *p = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
    struct str message = p != NULL ? str_of(p, n) : STR("it failed");
    (void)split_message(ld, &message, &at);
    if (ld->is_out_of_memory)
        report_error(ld->report, at, "this needs too much memory");
    else
        report_error(ld->report, at, "%.*s", (int)(message.n < 400 ? message.n : 400), message.p);
}

const struct config *config_load(struct str name, struct str lua, const struct config_env *env,
                                 struct arena *a, struct config_report *report)
{
    struct loader *ld = arena_new(a, struct loader);
    struct config *conf = arena_new(a, struct config);
    struct place at = {name, 0};
    if (ld == NULL || conf == NULL || lua.n > CONFIG_FILE_MAX) {
        report_error(report, at, "%s", lua.n > CONFIG_FILE_MAX ? "the file is too big" : "out of memory");
        return NULL;
    }
    *ld = (struct loader){.env = env, .arena = a, .report = report, .conf = conf, .name = name};
    ld->domains_end = &ld->domains;
    ld->listeners_end = &ld->listeners;
    ld->rules_end = &ld->rules;
    ld->pools_end = &ld->pools;
    ld->certificates_end = &ld->certificates;
    schema_presets(conf);
    ld->lua = lua_newstate(luaenv_alloc, ld);
    if (ld->lua == NULL) {
        report_error(report, at, "out of memory");
        return NULL;
    }
    memcpy(lua_getextraspace(ld->lua), &(void *){ld}, sizeof(void *));
    unsigned before = report->n_errors;
    call(ld, protected_run, &lua);
    if (!ld->is_partial) /* what did not run would be missed by the check, and that is no news */
        call(ld, protected_check, NULL);
    lua_close(ld->lua);
    return report->n_errors == before ? conf : NULL;
}
