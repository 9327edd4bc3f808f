/* config/facts_domain.c: domain "name" { ... } and the words that make its values: maildir, lmtp, passwd,
 * file, any. */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>
#include <string.h>

enum { ERRORS_A_LIST_MAX = 5 };
static const char value_type[] = "waxwing.value";

/* ---- values ------------------------------------------------------------------------------------ */

struct value *value_at(lua_State *L, int i)
{
    return luaL_testudata(L, i, value_type);
}

static struct value *push_value(lua_State *L, enum value_kind kind)
{
    luaenv_charge(L, LOADER_FACT_STEPS);
    struct value *v = lua_newuserdatauv(L, sizeof *v, 0);
    *v = (struct value){.kind = kind, .at = loader_place(L)};
    (void)luaL_newmetatable(L, value_type);
    lua_setmetatable(L, -2);
    return v;
}

static void add_user(lua_State *L, struct value *v, const struct site *site, struct str name)
{
    struct loader *ld = loader_of(L);
    const char *error = value_user_error(name);
    if (error == NULL && ld->n_users == CONFIG_USERS_MAX)
        error = "is one too many: a configuration holds at most a million users";
    if (error != NULL) {
        report_error(ld->report, facts_place(L, site), "user \"%.*s\" %s", STR_FMT(report_brief(name)),
                     error);
        v->is_bad = true;
        return;
    }
    ld->n_users++;
    v->users[v->n_users++] = loader_lower(ld, name);
}

static size_t count_lines(struct str text)
{
    size_t n = 0;
    struct str line;
    while (value_next_line(&text, &line))
        n++;
    return n;
}

/* separator: what ends the name in a line, or NUL. */
static void read_users(lua_State *L, struct value *v, struct str name, struct str text, char separator)
{
    struct loader *ld = loader_of(L);
    struct str line;
    struct site site = {{name, 0}, "", "users", 0};
    unsigned errors = ld->report->n_errors;
    v->users = loader_alloc(ld, count_lines(text) + 1, sizeof *v->users);
    while (value_next_line(&text, &line) && ld->report->n_errors < errors + ERRORS_A_LIST_MAX) {
        site.at.line++;
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (separator != '\0')
            line = str_trim(str_cut(&line, separator));
        add_user(L, v, &site, line);
    }
    v->n_users = loader_sort_users(v->users, v->n_users);
}

static int user_file(lua_State *L, const char *word, char separator)
{
    struct loader *ld = loader_of(L);
    struct site site = {loader_place(L), "", word, 0};
    struct str path = STR_NIL, text = STR_NIL;
    struct value *v = push_value(L, VALUE_USERS);
    v->is_bad = facts_text(L, 1, &site, &path) != GOT_IT || !loader_read(ld, site.at, path, &text);
    if (!v->is_bad)
        read_users(L, v, path, text, separator);
    return 1;
}

static int value_passwd(lua_State *L)
{
    return user_file(L, "passwd", ':');
}

static int value_file(lua_State *L)
{
    return user_file(L, "file", '\0');
}

static void set_maildir(lua_State *L, struct value *v, const struct site *site, struct str path)
{
    const char *error = value_maildir_error(path);
    v->text = path;
    v->is_bad = v->is_bad || error != NULL;
    if (error != NULL)
        facts_bad_text(L, site, path, error);
}

static int value_maildir(lua_State *L)
{
    struct place at = loader_place(L);
    struct site site = {at, "", "maildir", 0};
    struct str path = STR_NIL;
    struct value *v = push_value(L, VALUE_MAILDIR);
    if (lua_type(L, 1) != LUA_TTABLE) {
        if (facts_text(L, 1, &site, &path) == GOT_IT)
            set_maildir(L, v, &site, path);
        else
            v->is_bad = true;
        return 1;
    }
    v->is_bad = !facts_check_keys(L, 1, at, "maildir", false);
    site = facts_key(L, 1, at, "maildir", "path");
    if (facts_text(L, -1, &site, &path) == GOT_IT)
        set_maildir(L, v, &site, path);
    else
        v->is_bad = true;
    lua_pop(L, 1);
    site = facts_key(L, 1, at, "maildir", "user");
    if (!lua_isnil(L, -1) && facts_text(L, -1, &site, &v->user) != GOT_IT)
        v->is_bad = true;
    lua_pop(L, 1);
    return 1;
}

static int value_lmtp(lua_State *L)
{
    struct site site = {loader_place(L), "", "lmtp", 0};
    struct str text;
    struct value_host host;
    struct value *v = push_value(L, VALUE_LMTP);
    v->is_bad = true;
    if (facts_text(L, 1, &site, &text) != GOT_IT)
        return 1;
    const char *error = value_host(text, 24, true, &host);
    if (error != NULL) {
        facts_bad_text(L, &site, text, error);
        return 1;
    }
    v->is_bad = false;
    v->lmtp = (struct deliver){
        .kind = DELIVER_LMTP, .lmtp = host.addr, .lmtp_host = loader_lower(loader_of(L), host.name)};
    return 1;
}

void values_push(lua_State *L)
{
    lua_pushcfunction(L, value_maildir);
    lua_setfield(L, -2, "maildir");
    lua_pushcfunction(L, value_lmtp);
    lua_setfield(L, -2, "lmtp");
    lua_pushcfunction(L, value_passwd);
    lua_setfield(L, -2, "passwd");
    lua_pushcfunction(L, value_file);
    lua_setfield(L, -2, "file");
    (void)push_value(L, VALUE_ANY);
    lua_setfield(L, -2, "any");
}

/* ---- domain ------------------------------------------------------------------------------------ */

static struct domain_fact *add_domain(struct loader *ld, struct place at, struct str name)
{
    if (ld->n_domains == CONFIG_DOMAINS_MAX)
        report_error(ld->report, at, "more than %d domains", (int)CONFIG_DOMAINS_MAX);
    if (ld->n_domains++ >= CONFIG_DOMAINS_MAX)
        return NULL;
    struct domain_fact *f = loader_alloc(ld, 1, sizeof *f);
    *f = (struct domain_fact){
        .at = at, .d = {.name = loader_lower(ld, name), .deliver = {.uid = UINT32_MAX, .gid = UINT32_MAX}}};
    *ld->domains_end = f;
    ld->domains_end = &f->next;
    return f;
}

static void list_users(lua_State *L, struct domain_fact *f, const struct site *site)
{
    struct loader *ld = loader_of(L);
    struct value v = {.kind = VALUE_USERS};
    lua_Unsigned n = lua_rawlen(L, -1);
    unsigned errors = ld->report->n_errors;
    v.users = loader_alloc(ld, (size_t)n + 1, sizeof *v.users);
    luaenv_charge(L, n);
    for (lua_Unsigned i = 1; i <= n && ld->report->n_errors < errors + ERRORS_A_LIST_MAX; i++) {
        struct str name;
        (void)lua_rawgeti(L, -1, (lua_Integer)i);
        if (facts_text(L, -1, site, &name) == GOT_IT)
            add_user(L, &v, site, name);
        lua_pop(L, 1);
    }
    f->d.n_users = loader_sort_users(v.users, v.n_users);
    f->d.users = v.users;
}

static void set_users(lua_State *L, struct domain_fact *f, const struct site *site)
{
    const struct value *v = value_at(L, -1);
    f->has_users = true;
    f->is_bad = f->is_bad || luaenv_is_unknown(L, -1) || (v != NULL && v->is_bad);
    if (f->is_bad)
        return;
    if (v != NULL && v->kind == VALUE_ANY) {
        f->d.any_user = true;
    } else if (v != NULL && v->kind == VALUE_USERS) {
        f->d.users = v->users;
        f->d.n_users = v->n_users;
    } else if (lua_type(L, -1) == LUA_TTABLE) {
        list_users(L, f, site);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        facts_error(L, site, "must be a list: { \"%s\" }", lua_tostring(L, -1));
    } else {
        facts_error(L, site, "must be { \"NAME\", ... }, passwd \"FILE\", file \"FILE\" or any");
    }
}

static void set_deliver(lua_State *L, struct domain_fact *f, const struct site *site)
{
    const struct value *v = value_at(L, -1);
    f->has_deliver = true;
    f->is_bad = f->is_bad || luaenv_is_unknown(L, -1) || (v != NULL && v->is_bad);
    if (f->is_bad)
        return;
    if (v != NULL && v->kind == VALUE_MAILDIR) {
        f->d.deliver.kind = DELIVER_MAILDIR;
        f->d.deliver.maildir = v->text;
        if (v->user.n > 0) {
            f->user = v->user;
            f->at_user = v->at;
        }
    } else if (v != NULL && v->kind == VALUE_LMTP) {
        f->d.deliver = v->lmtp;
        f->d.deliver.uid = UINT32_MAX;
        f->d.deliver.gid = UINT32_MAX;
    } else {
        facts_error(L, site, "must be maildir \"PATH\" or lmtp \"HOST\"");
    }
}

/* A key whose value is text. */
static struct site get_text(lua_State *L, struct place at, const char *key, struct str *out)
{
    struct site site = facts_key(L, 1, at, "domain", key);
    if (!lua_isnil(L, -1))
        (void)facts_text(L, -1, &site, out);
    lua_pop(L, 1);
    return site;
}

static void read_domain(lua_State *L, struct domain_fact *f)
{
    struct loader *ld = loader_of(L);
    struct str same_as = STR_NIL, catchall = STR_NIL, user = STR_NIL;
    unsigned errors = ld->report->n_errors;
    (void)facts_check_keys(L, 1, f->at, "domain", false);
    struct site site = facts_key(L, 1, f->at, "domain", "users");
    if (!lua_isnil(L, -1))
        set_users(L, f, &site);
    lua_pop(L, 1);
    site = facts_key(L, 1, f->at, "domain", "deliver");
    if (!lua_isnil(L, -1))
        set_deliver(L, f, &site);
    lua_pop(L, 1);
    (void)get_text(L, f->at, "same_as", &same_as);
    (void)get_text(L, f->at, "catchall", &catchall);
    site = get_text(L, f->at, "user", &user);
    if (user.n > 0 && f->user.n > 0)
        facts_error(L, &site, "is given twice: here and in maildir");
    if (user.n > 0)
        f->user = user;
    f->d.same_as = loader_lower(ld, same_as);
    f->d.catchall = str_chr(catchall, '@') == STR_NPOS ? loader_lower(ld, catchall) : catchall;
    f->is_bad = f->is_bad || ld->report->n_errors != errors;
}

/* The second half of domain "name" { ... }. Upvalue: the struct domain_fact, or NULL for a name that was
 * refused. */
static int domain_table(lua_State *L)
{
    struct domain_fact *f = lua_touserdata(L, lua_upvalueindex(1));
    struct config_report *report = loader_of(L)->report;
    if (f == NULL)
        return 0;
    bool is_again = f->has_table;
    f->has_table = true;
    if (luaenv_is_unknown(L, 1)) {
        f->is_bad = true;
    } else if (lua_type(L, 1) != LUA_TTABLE || lua_gettop(L) != 1 || is_again) {
        report_error(report, f->at, "domain is written domain \"NAME\" { key = value, ... }");
        f->is_bad = true;
    } else {
        read_domain(L, f);
    }
    return 0;
}

int fact_domain(lua_State *L)
{
    struct loader *ld = loader_of(L);
    luaenv_charge(L, LOADER_FACT_STEPS);
    struct site site = {loader_place(L), "", "domain", 0};
    struct str name = STR_NIL;
    struct domain_fact *f = NULL;
    if (lua_type(L, 1) == LUA_TTABLE) {
        report_error(ld->report, site.at, "domain is written domain \"NAME\" { key = value, ... }");
    } else if (facts_text(L, 1, &site, &name) == GOT_IT) {
        if (!domain_is_valid(name, true))
            facts_bad_text(L, &site, name, "is no domain name");
        else
            f = add_domain(ld, site.at, name);
    }
    if (lua_gettop(L) > 1)
        report_error(ld->report, site.at, "domain is written domain \"NAME\" { key = value, ... }");
    if (f != NULL && lua_gettop(L) > 1)
        f->is_bad = f->has_table = true;
    lua_pushlightuserdata(L, f);
    lua_pushcclosure(L, domain_table, 1);
    return 1;
}
