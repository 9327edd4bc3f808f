/* config/luaenv.c: the bare environment: what can't loop for ever, can't hold the machine's memory, can't
 * reach a file, and gives the same result on each run.
 *
 * - Instructions are counted; C functions that do much work for one instruction are charged for it.
 * - Nothing catches an error (no pcall) and nothing runs later (no metatables, hence no finalizers; no
 * coroutines).
 * - Patterns are missing (their cost has no bound), and so are load, io, os, debug and all that reaches out.
 * - pairs() goes in order of the keys.
 * - A word that nobody defined is an error with a suggestion: a mistyped `any` is not nil.
 */
#include "config/loader.h"

#include "base/mem.h"
#include "config/schema.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <stdlib.h>

#define VOLUME_MAX (UINT64_C(2) << 30)
static const char unknown_type[] = "waxwing.unknown";

/* ---- budgets ----------------------------------------------------------------------------------- */

void *luaenv_alloc(void *arg, void *p, size_t old, size_t size)
{
    struct loader *ld = arg;
    size_t held = p == NULL ? 0 : old; /* without p, old says the type of the new object */
    if (size == 0) {
        mem_free(p);
        ld->memory -= held;
        return NULL;
    }
    if (size > held) {
        bool is_long_text = p == NULL && (old & 0xf) == LUA_TSTRING && size > LOADER_STRING_MAX;
        size_t more = size - held;
        if (is_long_text || more > LOADER_MEMORY_MAX - ld->memory || ld->volume + more > VOLUME_MAX) {
            ld->is_out_of_memory = true;
            return NULL;
        }
        ld->volume += more;
    }
    void *q = mem_grow(p, size);
    if (q != NULL)
        ld->memory = ld->memory - held + size;
    return q;
}

void luaenv_charge(lua_State *L, uint64_t steps)
{
    struct loader *ld = loader_of(L);
    if (__builtin_add_overflow(ld->steps, steps, &ld->steps) || ld->steps > LOADER_STEPS_MAX) {
        lua_pushliteral(L, "this runs too long: is it a loop without an end?");
        lua_error(L);
    }
}

enum { HOOK_STEPS = 1000, OCTETS_PER_STEP = 16 };

static void on_count(lua_State *L, lua_Debug *ar)
{
    UNUSED(ar);
    luaenv_charge(L, HOOK_STEPS);
}

/* Calls the library function of the upvalue in this frame, after paying for the sizes of its arguments. */
static int charged(lua_State *L)
{
    uint64_t cost = 1;
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        if (lua_type(L, i) == LUA_TSTRING)
            cost += lua_rawlen(L, i) / OCTETS_PER_STEP;
        else if (lua_type(L, i) == LUA_TTABLE)
            cost += lua_rawlen(L, i);
    }
    luaenv_charge(L, cost);
    lua_CFunction f = lua_tocfunction(L, lua_upvalueindex(1));
    return f(L);
}

static int bounded_rep(lua_State *L)
{
    size_t n, n_sep;
    (void)luaL_checklstring(L, 1, &n);
    lua_Integer times = luaL_checkinteger(L, 2);
    (void)luaL_optlstring(L, 3, "", &n_sep);
    if (times > 0 && n + n_sep > 0 && (size_t)times > LOADER_STRING_MAX / (n + n_sep))
        return luaL_error(L, "string.rep would make more than 64K octets");
    if (times > 0)
        luaenv_charge(L, (size_t)times * (n + n_sep) / OCTETS_PER_STEP + (size_t)times);
    return charged(L);
}

/* ---- the library ------------------------------------------------------------------------------- */

struct kept {
    const char *library, *name;
};
static const struct kept kept[] = {
    {"_G", "assert"},     {"_G", "error"},       {"_G", "ipairs"},      {"_G", "select"},
    {"_G", "tonumber"},   {"_G", "type"},        {"string", "byte"},    {"string", "char"},
    {"string", "format"}, {"string", "len"},     {"string", "lower"},   {"string", "rep"},
    {"string", "sub"},    {"string", "reverse"}, {"string", "upper"},   {"table", "concat"},
    {"table", "insert"},  {"table", "remove"},   {"table", "sort"},     {"table", "unpack"},
    {"math", "abs"},      {"math", "ceil"},      {"math", "floor"},     {"math", "fmod"},
    {"math", "max"},      {"math", "min"},       {"math", "tointeger"}, {"math", "type"},
};
static const char *const unavailable[] = {
    "_G",           "_ENV",  "_VERSION", "collectgarbage", "coroutine", "debug",  "dofile",  "getmetatable",
    "io",           "load",  "loadfile", "loadstring",     "module",    "next",   "os",      "package",
    "pcall",        "print", "rawequal", "rawget",         "rawlen",    "rawset", "require", "setfenv",
    "setmetatable", "utf8",  "warn",     "xpcall",         "bit32",     "arg",
};

static int plain_tostring(lua_State *L)
{
    /* Not the address of a table: it differs from run to run. */
    if (lua_isstring(L, 1) || lua_isboolean(L, 1) || lua_isnoneornil(L, 1))
        (void)luaL_tolstring(L, 1, NULL);
    else
        (void)lua_pushstring(L, luaL_typename(L, 1));
    return 1;
}

struct sort_key {
    bool is_number;
    lua_Number number;
    struct str text;
    int place; /* in the list of keys as they came */
};

static int compare_keys(const void *pa, const void *pb)
{
    const struct sort_key *a = pa, *b = pb;
    if (a->is_number != b->is_number)
        return a->is_number ? -1 : 1;
    if (a->is_number)
        return a->number < b->number ? -1 : a->number > b->number ? 1 : 0;
    return str_cmp(a->text, b->text);
}

/* Upvalues: the table, its keys in order, how many were given. */
static int next_pair(lua_State *L)
{
    for (;;) {
        lua_Integer i = lua_tointeger(L, lua_upvalueindex(3)) + 1;
        lua_pushinteger(L, i);
        lua_replace(L, lua_upvalueindex(3));
        if (lua_rawgeti(L, lua_upvalueindex(2), i) == LUA_TNIL)
            return 1;
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
            return 2;
        lua_settop(L, 0);
    }
}

static struct sort_key sort_key_at(lua_State *L, int i, int place)
{
    struct sort_key k = {.place = place, .is_number = lua_type(L, i) == LUA_TNUMBER};
    if (k.is_number) {
        k.number = lua_tonumber(L, i);
    } else if (lua_type(L, i) == LUA_TSTRING) {
        size_t n;
        const char *p = lua_tolstring(L, i, &n);
        k.text = str_of(p, n);
    } else {
        luaL_error(L, "pairs() takes tables whose keys are numbers or text");
    }
    return k;
}

static int sorted_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    int n = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1))
        n++;
    luaenv_charge(L, (uint64_t)n * 4);
    struct sort_key *keys = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *keys, 0);
    lua_createtable(L, n, 0); /* as they came: 3; in order: 4 */
    lua_createtable(L, n, 0);
    int at = 0;
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        keys[at] = sort_key_at(L, -2, at + 1);
        lua_pushvalue(L, -2);
        lua_rawseti(L, 3, ++at);
    }
    qsort(keys, (size_t)n, sizeof *keys, compare_keys);
    for (int i = 0; i < n; i++) {
        (void)lua_rawgeti(L, 3, keys[i].place);
        lua_rawseti(L, 4, i + 1);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 4);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_pair, 3);
    return 1;
}

/* string.gsub and the like. Upvalue: the name of the library. */
static int missing_member(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    luaenv_charge(L, LOADER_ERROR_STEPS);
    report_error(loader_of(L)->report, loader_place(L), "'%s.%s' is not available in a configuration",
                 lua_tostring(L, lua_upvalueindex(1)), name);
    luaenv_push_unknown(L);
    return 1;
}

/* Copies what is kept of the library on top of the stack into the table at `to`. */
static void copy_kept(lua_State *L, const char *library, int to)
{
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (!str_eq(str_from_c(kept[i].library), str_from_c(library)))
            continue;
        lua_getfield(L, -1, kept[i].name);
        must(lua_iscfunction(L, -1));
        bool is_rep = str_eq(str_from_c(kept[i].name), STR("rep"));
        lua_pushcclosure(L, is_rep ? bounded_rep : charged, 1);
        lua_setfield(L, to, kept[i].name);
    }
}

/* words.NAME = the kept part of a library. */
static void add_library(lua_State *L, int words, const char *name, lua_CFunction open)
{
    luaL_requiref(L, name, open, 0);
    lua_newtable(L);
    lua_insert(L, -2);
    copy_kept(L, name, lua_absindex(L, -2));
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushstring(L, name);
    lua_pushcclosure(L, missing_member, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_setfield(L, words, name);
}

static void add_libraries(lua_State *L, int words)
{
    luaL_requiref(L, "_G", luaopen_base, 0);
    copy_kept(L, "_G", words);
    lua_pop(L, 1);
    lua_pushcfunction(L, sorted_pairs);
    lua_setfield(L, words, "pairs");
    lua_pushcfunction(L, plain_tostring);
    lua_setfield(L, words, "tostring");
    add_library(L, words, "string", luaopen_string);
    add_library(L, words, "table", luaopen_table);
    add_library(L, words, "math", luaopen_math);
    lua_getfield(L, words, "math");
    lua_pushnumber(L, (lua_Number)HUGE_VAL);
    lua_setfield(L, -2, "huge");
    lua_pop(L, 1);
    lua_pushliteral(L, ""); /* ("x"):rep(3) goes through the metatable of text */
    must(lua_getmetatable(L, -1) != 0);
    lua_getfield(L, words, "string");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lua_pushnil(L); /* what the libraries registered is out of reach from here on */
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}

/* ---- words ------------------------------------------------------------------------------------- */

static int unknown_again(lua_State *L)
{
    luaenv_push_unknown(L);
    return 1;
}

static int ignore_set(lua_State *L)
{
    UNUSED(L);
    return 0;
}

void luaenv_push_unknown(lua_State *L)
{
    (void)lua_newuserdatauv(L, 1, 0);
    if (luaL_newmetatable(L, unknown_type) != 0) {
        static const char *const events[] = {"__call", "__index", "__concat", "__add",
                                             "__sub",  "__mul",   "__div",    "__unm"};
        lua_pushliteral(L, "unknown");
        lua_setfield(L, -2, "__name");
        lua_pushcfunction(L, ignore_set);
        lua_setfield(L, -2, "__newindex");
        for (size_t i = 0; i < ARRAY_LEN(events); i++) {
            lua_pushcfunction(L, unknown_again);
            lua_setfield(L, -2, events[i]);
        }
    }
    lua_setmetatable(L, -2);
}

bool luaenv_is_unknown(lua_State *L, int i)
{
    return luaL_testudata(L, i, unknown_type) != NULL;
}

static bool is_unavailable(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(unavailable); i++) {
        if (str_eq(name, str_from_c(unavailable[i])))
            return true;
    }
    return false;
}

static const char *suggest_word(struct str name)
{
    const char *fact = schema_suggest(STR(""), name), *value = schema_suggest(STR("value"), name);
    if (fact == NULL || value == NULL)
        return fact != NULL ? fact : value;
    unsigned to_fact = schema_distance(name, str_from_c(fact)),
             to_value = schema_distance(name, str_from_c(value));
    return to_value < to_fact ? value : fact;
}

static struct str key_text(lua_State *L, int i)
{
    size_t n;
    const char *p = lua_type(L, i) == LUA_TSTRING ? lua_tolstring(L, i, &n) : NULL;
    return p == NULL ? STR("?") : report_brief(str_of(p, n));
}

/* Upvalue: the table of words. */
static int get_word(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    luaenv_charge(L, LOADER_ERROR_STEPS);
    struct config_report *report = loader_of(L)->report;
    struct place at = loader_place(L);
    struct str name = key_text(L, 2);
    const char *near = suggest_word(name);
    const char *elsewhere = schema_elsewhere(STR(""), name);
    if (is_unavailable(name))
        report_error(report, at, "'%.*s' is not available in a configuration", STR_FMT(name));
    else if (elsewhere != NULL)
        report_error(report, at, "unknown word '%.*s': %s", STR_FMT(name), elsewhere);
    else if (schema_is_future(STR(""), name))
        report_error(report, at, "'%.*s' is not in this version of Waxwing", STR_FMT(name));
    else if (near != NULL)
        report_error(report, at, "unknown word '%.*s': did you mean '%s'?", STR_FMT(name), near);
    else
        report_error(report, at, "unknown word '%.*s' (text stands in quotes: \"%.*s\")", STR_FMT(name),
                     STR_FMT(name));
    luaenv_push_unknown(L);
    return 1;
}

/* Upvalue: the table of words. */
static int set_word(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct str name = key_text(L, 2);
    const struct schema_key *fact = schema_find(STR(""), name);
    luaenv_charge(L, LOADER_FACT_STEPS);
    if (fact != NULL)
        report_error(ld->report, loader_place(L), "'%.*s' is no variable: write %s %s without '='",
                     STR_FMT(name), fact->name, fact->form);
    else if (schema_elsewhere(STR(""), name) != NULL)
        report_error(ld->report, loader_place(L), "unknown word '%.*s': %s", STR_FMT(name),
                     schema_elsewhere(STR(""), name));
    else if (schema_is_future(STR(""), name))
        report_error(ld->report, loader_place(L), "'%.*s' is not in this version of Waxwing", STR_FMT(name));
    else if (schema_find(STR("value"), name) != NULL || is_unavailable(name))
        report_error(ld->report, loader_place(L),
                     "'%.*s' can't be the name of a variable: it means something else", STR_FMT(name));
    else {
        lua_rawset(L, lua_upvalueindex(1));
        return 0;
    }
    ld->is_partial = true; /* the fact that was meant is missing */
    return 0;
}

void luaenv_push(lua_State *L)
{
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_STEPS);
    lua_newtable(L);
    facts_push(L);
    int words = lua_absindex(L, -1);
    add_libraries(L, words);
    lua_newtable(L);
    lua_pushvalue(L, words);
    lua_pushcclosure(L, get_word, 1);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, words);
    lua_pushcclosure(L, set_word, 1);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, words - 1);
    lua_pop(L, 1);
}
