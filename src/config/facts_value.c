/* config/facts_value.c: the words that make values: maildir, lmtp, pipe, passwd, file, secret, dovecot,
 * pam, any, system.
 */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>

enum { ERRORS_A_LIST_MAX = 5 };
static const char value_type[] = "waxwing.value";

/* ---- values ------------------------------------------------------------------------------------ */

struct value *value_at(lua_State *L, int i)
{
    return luaL_testudata(L, i, value_type);
}

struct value *value_push(lua_State *L, enum value_kind kind)
{
    luaenv_charge(L, LOADER_FACT_STEPS);
    struct value *v = lua_newuserdatauv(L, sizeof *v, 0);
    *v = (struct value){.kind = kind, .at = loader_place(L)};
    (void)luaL_newmetatable(L, value_type);
    lua_setmetatable(L, -2);
    return v;
}

/* ---- users ------------------------------------------------------------------------------------- */

/* false: an error was reported. */
static bool add_user(lua_State *L, struct str *users, size_t *n, const struct site *site, struct str name)
{
    struct loader *ld = loader_of(L);
    const char *error = value_user_error(name);
    if (error == NULL && ld->n_users == CONFIG_USERS_MAX)
        error = "is one too many: a configuration holds at most a million users";
    if (error != NULL) {
        report_error(ld->report, facts_place(L, site), "user \"%.*s\" %s", STR_FMT(report_brief(name)),
                     error);
        return false;
    }
    ld->n_users++;
    users[(*n)++] = loader_lower(ld, name);
    return true;
}

/* "joe/phone" */
static bool is_app(struct str name)
{
    struct str app = name, user = str_cut(&app, '/');
    return user.n < name.n && value_user_error(user) == NULL && value_app_error(app) == NULL;
}

static size_t count_lines(struct str text)
{
    size_t n = 0;
    struct str line;
    while (value_next_line(&text, &line))
        n++;
    return n;
}

void value_read_users(lua_State *L, struct value *v)
{
    struct loader *ld = loader_of(L);
    struct str line, text = v->text;
    struct site site = {{v->path, 0}, "", "users", 0};
    unsigned errors = ld->report->n_errors;
    if (v->was_read)
        return;
    v->was_read = true;
    struct str *users = loader_alloc(ld, count_lines(text) + 1, sizeof *users);
    while (value_next_line(&text, &line) && ld->report->n_errors < errors + ERRORS_A_LIST_MAX) {
        site.at.line++;
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (v->is_passwd)
            line = str_trim(str_cut(&line, ':'));
        if (v->is_passwd && is_app(line)) /* another password of a user, and no mailbox */
            continue;
        v->is_bad = !add_user(L, users, &v->n_users, &site, line) || v->is_bad;
    }
    v->n_users = loader_sort_users(users, v->n_users);
    v->users = users;
}

void value_list_users(lua_State *L, const struct site *site, const struct str **out, size_t *out_n)
{
    struct loader *ld = loader_of(L);
    lua_Unsigned n = lua_rawlen(L, -1);
    unsigned errors = ld->report->n_errors;
    struct str *users = loader_alloc(ld, (size_t)n + 1, sizeof *users);
    size_t n_users = 0;
    luaenv_charge(L, n);
    for (lua_Unsigned i = 1; i <= n && ld->report->n_errors < errors + ERRORS_A_LIST_MAX; i++) {
        struct str name;
        (void)lua_rawgeti(L, -1, (lua_Integer)i);
        if (facts_text(L, -1, site, &name) == GOT_IT)
            (void)add_user(L, users, &n_users, site, name);
        lua_pop(L, 1);
    }
    *out_n = loader_sort_users(users, n_users);
    *out = users;
}

/* ---- words ------------------------------------------------------------------------------------- */

/* What is in it shows when a key takes it: users, recipients or aliases. */
static int file_value(lua_State *L, const char *word, bool is_passwd)
{
    struct loader *ld = loader_of(L);
    struct site site = {loader_place(L), "", word, 0};
    struct value *v = value_push(L, VALUE_FILE);
    v->is_passwd = is_passwd;
    v->is_bad = facts_text(L, 1, &site, &v->path) != GOT_IT || !loader_read(ld, site.at, v->path, &v->text);
    return 1;
}

static int value_passwd(lua_State *L)
{
    return file_value(L, "passwd", true);
}

static int value_file(lua_State *L)
{
    return file_value(L, "file", false);
}

/* A file whose octets stay where they are: the supervisor gives them to the one process that needs them. */
static int value_secret(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {loader_place(L), "", "secret", 0};
    struct value *v = value_push(L, VALUE_SECRET);
    struct str path = STR_NIL;
    v->is_bad = facts_text(L, 1, &site, &path) != GOT_IT;
    if (v->is_bad)
        return 1;
    const char *error = value_path_error(path);
    v->path = loader_path(ld, path);
    if (error != NULL)
        facts_bad_text(L, &site, path, error);
    v->is_bad = error != NULL || !loader_find_secret(ld, site.at, v->path);
    return 1;
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
    struct value *v = value_push(L, VALUE_MAILDIR);
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
    struct value *v = value_push(L, VALUE_LMTP);
    v->is_bad = true;
    if (facts_text(L, 1, &site, &text) != GOT_IT)
        return 1;
    const char *error = value_host(text, 24, true, &host);
    if (error != NULL) {
        facts_bad_text(L, &site, text, error);
        return 1;
    }
    v->is_bad = false;
    v->deliver = (struct deliver){.kind = DELIVER_LMTP,
                                  .uid = UINT32_MAX,
                                  .gid = UINT32_MAX,
                                  .lmtp = host.addr,
                                  .lmtp_host = loader_lower(loader_of(L), host.name)};
    return 1;
}

static void add_words(lua_State *L, struct value *v, struct site site)
{
    lua_Unsigned n = lua_rawlen(L, 1);
    if (n == 0 || n > PIPE_WORDS_MAX) {
        report_error(loader_of(L)->report, site.at, "pipe takes a program and its words: 1 to %d texts",
                     (int)PIPE_WORDS_MAX);
        return;
    }
    struct str *argv = loader_alloc(loader_of(L), (size_t)n, sizeof *argv);
    for (lua_Unsigned i = 1; i <= n; i++) {
        const char *error = NULL;
        struct str text = STR_NIL;
        size_t len = 0;
        site.item = (size_t)i;
        bool is_text = lua_rawgeti(L, 1, (lua_Integer)i) == LUA_TSTRING;
        if (is_text) {
            const char *p = lua_tolstring(L, -1, &len);
            text = loader_copy(loader_of(L), str_of(p, len));
            error = i == 1 ? value_program_error(text) : value_word_error(text);
        } else {
            (void)facts_wrong_kind(L, -1, &site, "text in quotes");
        }
        lua_pop(L, 1);
        if (error != NULL)
            facts_bad_text(L, &site, text, error);
        argv[v->deliver.n_argv++] = text;
    }
    v->deliver.argv = argv;
}

static void set_time_limit(lua_State *L, struct value *v, struct place at)
{
    uint64_t seconds;
    struct site site = facts_key(L, 1, at, "pipe", "timeout");
    if (!lua_isnil(L, -1) &&
        facts_number(L, -1, schema_find(STR("pipe"), STR("timeout")), &site, &seconds) == GOT_IT)
        v->deliver.time_limit_s = (uint32_t)seconds;
    lua_pop(L, 1);
}

static int value_pipe(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct place at = loader_place(L);
    struct site site = {at, "", "pipe", 0};
    unsigned errors = ld->report->n_errors;
    struct value *v = value_push(L, VALUE_PIPE);
    v->deliver = (struct deliver){
        .kind = DELIVER_PIPE, .time_limit_s = PIPE_TIME_LIMIT_S, .uid = UINT32_MAX, .gid = UINT32_MAX};
    if (lua_type(L, 1) != LUA_TTABLE) {
        (void)facts_wrong_kind(L, 1, &site, "{ \"/PATH\", \"WORD\", ... }");
        v->is_bad = true;
        return 1;
    }
    (void)facts_check_keys(L, 1, at, "pipe", true);
    (void)facts_text_key(L, at, "pipe", "user", &v->user);
    set_time_limit(L, v, at);
    add_words(L, v, site);
    v->is_bad = ld->report->n_errors != errors;
    return 1;
}

static int value_dovecot(lua_State *L)
{
    struct site site = {loader_place(L), "", "dovecot", 0};
    struct str text;
    struct value_host host;
    struct value *v = value_push(L, VALUE_AUTH);
    v->is_bad = true;
    if (facts_text(L, 1, &site, &text) != GOT_IT)
        return 1;
    const char *error = value_host(text, 0, true, &host);
    if (error == NULL && host.addr.kind != NETADDR_UNIX)
        error = "is no socket of this machine, and elsewhere passwords would go there in the clear: "
                "\"unix:/run/dovecot/auth-client\"";
    if (error != NULL)
        facts_bad_text(L, &site, text, error);
    v->is_bad = error != NULL;
    v->auth = (struct auth_backend){.kind = AUTH_BY_DOVECOT, .at = host.addr};
    return 1;
}

static int value_pam(lua_State *L)
{
    struct site site = {loader_place(L), "", "pam", 0};
    struct str name;
    struct value *v = value_push(L, VALUE_AUTH);
    v->is_bad = true;
    if (facts_text(L, 1, &site, &name) != GOT_IT)
        return 1;
    const char *error = value_service_error(name);
    if (error != NULL)
        facts_bad_text(L, &site, name, error);
    v->is_bad = error != NULL;
    v->auth = (struct auth_backend){.kind = AUTH_BY_PAM, .service = name};
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
    lua_pushcfunction(L, value_pipe);
    lua_setfield(L, -2, "pipe");
    lua_pushcfunction(L, value_secret);
    lua_setfield(L, -2, "secret");
    lua_pushcfunction(L, value_dovecot);
    lua_setfield(L, -2, "dovecot");
    lua_pushcfunction(L, value_pam);
    lua_setfield(L, -2, "pam");
    table_values_push(L);
    (void)value_push(L, VALUE_ANY);
    lua_setfield(L, -2, "any");
    (void)value_push(L, VALUE_SYSTEM);
    lua_setfield(L, -2, "system");
}
