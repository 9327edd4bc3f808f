/* config/facts_domain.c: domain "name" { ... }. */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>
#include <stdlib.h>

static struct domain_fact *add_domain(struct loader *ld, struct place at, struct str name)
{
    if (ld->n_domains == CONFIG_DOMAINS_MAX)
        report_error(ld->report, at, "more than %d domains", (int)CONFIG_DOMAINS_MAX);
    if (ld->n_domains++ >= CONFIG_DOMAINS_MAX)
        return NULL;
    struct domain_fact *f = loader_alloc(ld, 1, sizeof *f);
    *f = (struct domain_fact){
        .at = at, .d = {.name = name, .plus = STR("+"), .deliver = {.uid = UINT32_MAX, .gid = UINT32_MAX}}};
    f->aliases_end = &f->aliases;
    *ld->domains_end = f;
    ld->domains_end = &f->next;
    return f;
}

/* users and recipients: what both may be. false: it is something else. */
static bool set_names(lua_State *L, struct domain_fact *f, const struct site *site)
{
    struct value *v = value_at(L, -1);
    if (v != NULL && v->kind == VALUE_ANY) {
        f->d.any_user = true;
    } else if (v != NULL && v->kind == VALUE_FILE) {
        value_read_users(L, v);
        f->is_bad = v->is_bad;
        f->passwords = v->is_passwd ? loader_path(loader_of(L), v->path) : STR_NIL;
        f->d.users = v->users;
        f->d.n_users = v->n_users;
    } else if (lua_type(L, -1) == LUA_TTABLE) {
        value_list_users(L, site, &f->d.users, &f->d.n_users);
    } else {
        return false;
    }
    return true;
}

/* false: an error about the value was reported already. */
static bool is_usable(lua_State *L, struct domain_fact *f)
{
    const struct value *v = value_at(L, -1);
    f->is_bad = f->is_bad || luaenv_is_unknown(L, -1) || (v != NULL && v->is_bad);
    return !f->is_bad;
}

static bool is_login_shell(struct str shell)
{
    static const char *const none[] = {"/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false",
                                       "/bin/sync"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        if (str_eq(shell, str_from_c(none[i])))
            return false;
    }
    return true;
}

static int compare_system_users(const void *pa, const void *pb)
{
    const struct system_user *a = pa, *b = pb;
    int c = str_icmp(a->name, b->name);
    return c != 0 ? c : a->uid < b->uid ? -1 : a->uid > b->uid ? 1 : 0;
}

/* login.defs(5): UID_MIN is 1000, and 65534 is nobody. Root is no user: his mail is an alias's. */
enum { UID_FIRST = 1000, UID_NOBODY = 65534 };

/* Some tools write "/home/joe/". */
static struct str without_slash(struct str home)
{
    while (home.n > 1 && str_ends(home, STR("/")))
        home.n--;
    return home;
}

static void set_system_users(lua_State *L, struct domain_fact *f, const struct site *site)
{
    struct loader *ld = loader_of(L);
    const struct config_env *env = ld->env;
    if (!ld->has_accounts &&
        (env->list_accounts == NULL ||
         env->list_accounts(env->arg, ld->arena, &ld->accounts, &ld->n_accounts) != ERR_OK)) {
        facts_error(L, site, "can't be the accounts of this machine: they can't be read");
        return;
    }
    ld->has_accounts = true;
    struct system_user *list = loader_alloc(ld, ld->n_accounts + 1, sizeof *list);
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < ld->n_accounts; i++) {
        const struct account *a = &ld->accounts[i];
        if (a->uid < UID_FIRST || a->uid == UID_NOBODY || a->uid == UINT32_MAX || !is_login_shell(a->shell) ||
            value_user_error(a->name) != NULL || value_path_error(a->home) != NULL || a->home.p[0] != '/')
            continue;
        list[n++] = (struct system_user){.name = loader_lower(ld, a->name),
                                         .home = without_slash(a->home),
                                         .uid = env->is_root ? a->uid : UINT32_MAX,
                                         .gid = env->is_root ? a->gid : UINT32_MAX};
    }
    if (n > 0)
        qsort(list, n, sizeof *list, compare_system_users);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || !str_eq(list[i].name, list[kept - 1].name))
            list[kept++] = list[i];
    }
    f->is_system = true;
    f->d.system_users = list;
    f->d.n_system_users = kept;
}

static void set_users(lua_State *L, struct domain_fact *f, const struct site *site)
{
    const struct value *v = value_at(L, -1);
    f->has_users = true;
    if (!is_usable(L, f) || set_names(L, f, site))
        return;
    if (v != NULL && v->kind == VALUE_SYSTEM)
        set_system_users(L, f, site);
    else if (lua_type(L, -1) == LUA_TSTRING)
        facts_error(L, site, "must be a list: { \"%s\" }", lua_tostring(L, -1));
    else
        facts_error(L, site, "must be { \"NAME\", ... }, passwd \"FILE\", file \"FILE\", any or system");
}

static void set_recipients(lua_State *L, struct domain_fact *f, const struct site *site)
{
    f->has_recipients = true;
    if (!is_usable(L, f) || set_names(L, f, site))
        return;
    if (lua_type(L, -1) == LUA_TSTRING && str_eq(str_from_c(lua_tostring(L, -1)), STR("callout")))
        f->d.callout = true;
    else
        facts_error(L, site, "must be { \"NAME\", ... }, passwd \"FILE\", file \"FILE\", \"callout\" or any");
}

static void set_deliver(lua_State *L, struct domain_fact *f, const struct site *site)
{
    const struct value *v = value_at(L, -1);
    bool forward = f->d.deliver.forward;
    f->has_deliver = true;
    if (!is_usable(L, f))
        return;
    if (v != NULL && v->kind == VALUE_MAILDIR) {
        f->d.deliver.kind = DELIVER_MAILDIR;
        f->d.deliver.maildir = v->text;
    } else if (v != NULL && (v->kind == VALUE_LMTP || v->kind == VALUE_PIPE)) {
        f->d.deliver = v->deliver;
    } else {
        facts_error(L, site, "must be maildir \"PATH\" or lmtp \"HOST\"");
        return;
    }
    f->d.deliver.forward = forward;
    if (v->user.n > 0) {
        f->user = v->user;
        f->at_user = v->at;
    }
}

static void set_auth(lua_State *L, struct domain_fact *f, const struct site *site)
{
    const struct value *v = value_at(L, -1);
    f->has_auth = true;
    if (!is_usable(L, f))
        return;
    if (v != NULL && v->kind == VALUE_AUTH)
        f->auth = v->auth;
    else
        facts_error(L, site, "must be dovecot \"unix:/PATH\", pam \"SERVICE\", ldap { ... } or sql { ... }");
}

static void set_sts(lua_State *L, struct domain_fact *f, const struct site *site)
{
    if (is_usable(L, f))
        sts_read(L, f, site);
}

static void set_relay(lua_State *L, struct domain_fact *f)
{
    struct str relay = STR_NIL;
    struct site site = facts_text_key(L, f->at, "domain", "relay", &relay);
    if (relay.n == 0)
        return;
    f->d.relay = str_eq(relay, STR("mx")) ? DOMAIN_RELAY_MX : DOMAIN_RELAY_HOST;
    struct str user = STR_NIL;
    const char *error = f->d.relay == DOMAIN_RELAY_MX ? NULL : value_via(relay, &f->d.via, &user);
    if (error == NULL && user.n > 0)
        error = "names a user: only a route has a login";
    if (error != NULL)
        facts_bad_text(L, &site, relay, error);
    f->d.via.host = loader_lower(loader_of(L), f->d.via.host);
}

/* "" is a value here. */
static void set_plus(lua_State *L, struct domain_fact *f)
{
    struct site site = facts_key(L, 1, f->at, "domain", "plus");
    size_t n;
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *p = lua_tolstring(L, -1, &n);
        const char *error = value_plus_error(str_of(p, n));
        f->d.plus = loader_copy(loader_of(L), str_of(p, n));
        f->has_plus = true;
        if (error != NULL)
            facts_bad_text(L, &site, f->d.plus, error);
    } else if (!lua_isnil(L, -1)) {
        (void)facts_wrong_kind(L, -1, &site, "text in quotes");
    }
    lua_pop(L, 1);
}

static void read_texts(lua_State *L, struct domain_fact *f)
{
    struct loader *ld = loader_of(L);
    struct str same_as = STR_NIL, catchall = STR_NIL, user = STR_NIL;
    struct site site = facts_text_key(L, f->at, "domain", "same_as", &same_as);
    if (same_as.n > 0 && !loader_domain(ld, facts_place(L, &site), "same_as", same_as, &f->d.same_as))
        f->is_bad = true;
    (void)facts_text_key(L, f->at, "domain", "catchall", &catchall);
    site = facts_text_key(L, f->at, "domain", "user", &user);
    if (user.n > 0 && f->user.n > 0)
        facts_error(L, &site, "is given twice: here and in %s",
                    f->d.deliver.kind == DELIVER_PIPE ? "pipe" : "maildir");
    if (user.n > 0)
        f->user = user;
    f->d.catchall = str_chr(catchall, '@') == STR_NPOS ? loader_lower(ld, catchall) : catchall;
}

static void read_domain(lua_State *L, struct domain_fact *f)
{
    static const struct {
        const char *key;
        void (*set)(lua_State *L, struct domain_fact *f, const struct site *site);
    } keys[] = {{"users", set_users},           {"deliver", set_deliver},    {"auth", set_auth},
                {"recipients", set_recipients}, {"mta_sts_policy", set_sts}, {"aliases", aliases_read}};
    struct loader *ld = loader_of(L);
    unsigned errors = ld->report->n_errors;
    (void)facts_check_keys(L, 1, f->at, "domain", false);
    struct site site = facts_key(L, 1, f->at, "domain", "forward");
    if (!lua_isnil(L, -1))
        (void)facts_bool(L, -1, &site, &f->d.deliver.forward);
    lua_pop(L, 1);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        site = facts_key(L, 1, f->at, "domain", keys[i].key);
        if (!lua_isnil(L, -1))
            keys[i].set(L, f, &site);
        lua_pop(L, 1);
    }
    set_relay(L, f);
    set_plus(L, f);
    read_texts(L, f);
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
        struct str ascii = STR("*");
        if (str_eq(name, STR("*")) || loader_domain(ld, site.at, "domain", name, &ascii))
            f = add_domain(ld, site.at, ascii);
        if (f != NULL && !str_is_ascii(name))
            f->d.shown = name;
    }
    if (lua_gettop(L) > 1)
        report_error(ld->report, site.at, "domain is written domain \"NAME\" { key = value, ... }");
    if (f != NULL && lua_gettop(L) > 1)
        f->is_bad = f->has_table = true;
    lua_pushlightuserdata(L, f);
    lua_pushcclosure(L, domain_table, 1);
    return 1;
}
