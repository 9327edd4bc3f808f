/* config/facts.c: hostname, listen, route and the other facts, as functions that Lua calls. A wrong value is
 * reported and left out; the run goes on, so that one run shows all that is wrong.
 */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ERRORS_EXACT_MAX = 20, UNKNOWN_SHOWN_MAX = 64, RESOLVERS_MAX = 8 };

/* ---- reading values ---------------------------------------------------------------------------- */

struct place facts_place(lua_State *L, const struct site *site)
{
    const struct loader *ld = loader_of(L);
    if (ld->report->n_errors >= ERRORS_EXACT_MAX) /* not shown any more, and a file may have very many */
        return site->at;
    if (site->item > 0)
        return loader_item_place(ld, site->at, str_from_c(site->name), site->item);
    if (site->section[0] != '\0')
        return loader_key_place(ld, site->at, str_from_c(site->section), str_from_c(site->name));
    return site->at;
}

void facts_error(lua_State *L, const struct site *site, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    must(n >= 0);
    report_error(loader_of(L)->report, facts_place(L, site), "'%s'%s%s %s", site->name,
                 site->section[0] != '\0' ? " in " : "", site->section, text);
}

void facts_bad_text(lua_State *L, const struct site *site, struct str value, const char *problem)
{
    report_error(loader_of(L)->report, facts_place(L, site), "%s: \"%.*s\" %s", site->name,
                 STR_FMT(report_brief(value)), problem);
}

/* What a value is, in the words of people who don't program. */
static const char *kind_of(lua_State *L, int i)
{
    switch (lua_type(L, i)) {
    case LUA_TBOOLEAN:
        return lua_toboolean(L, i) ? "true" : "false";
    case LUA_TNUMBER:
        return "a number";
    case LUA_TSTRING:
        return "text";
    case LUA_TTABLE:
        return "a { }";
    case LUA_TFUNCTION:
        return "a word that needs a value behind it";
    default:
        return "something else";
    }
}

enum got facts_wrong_kind(lua_State *L, int i, const struct site *site, const char *wanted)
{
    if (luaenv_is_unknown(L, i))
        return GOT_BAD;
    if (lua_isnoneornil(L, i))
        facts_error(L, site, "is missing: %s", wanted);
    else
        facts_error(L, site, "must be %s and not %s", wanted, kind_of(L, i));
    return GOT_BAD;
}

enum got facts_text(lua_State *L, int i, const struct site *site, struct str *out)
{
    size_t n;
    if (lua_type(L, i) != LUA_TSTRING)
        return facts_wrong_kind(L, i, site, "text in quotes");
    const char *p = lua_tolstring(L, i, &n);
    if (n == 0 || str_has_ctl(str_of(p, n))) {
        facts_error(L, site, n == 0 ? "is empty" : "holds a control character");
        return GOT_BAD;
    }
    *out = loader_copy(loader_of(L), str_of(p, n));
    return GOT_IT;
}

enum got facts_bool(lua_State *L, int i, const struct site *site, bool *out)
{
    if (lua_type(L, i) != LUA_TBOOLEAN)
        return facts_wrong_kind(L, i, site, "true or false");
    *out = lua_toboolean(L, i) != 0;
    return GOT_IT;
}

/* Says what the key takes, and in which bounds. */
static enum got wrong_number(lua_State *L, const struct schema_key *k, const struct site *site)
{
    char mem[80];
    struct buf range;
    buf_init_fixed(&range, mem, sizeof mem);
    schema_put_range(k, &range);
    if (k->type == SCHEMA_CHOICE)
        facts_error(L, site, "must be one of %s, in quotes", k->form);
    else if (k->type == SCHEMA_SIZE || k->type == SCHEMA_DURATION)
        facts_error(L, site, "must be a %s from %.*s, such as \"%s\"",
                    k->type == SCHEMA_SIZE ? "size" : "time", STR_FMT(buf_str(&range)), k->preset);
    else
        facts_error(L, site, "must be a whole number from %.*s", STR_FMT(buf_str(&range)));
    return GOT_BAD;
}

enum got facts_number(lua_State *L, int i, const struct schema_key *k, const struct site *site, uint64_t *out)
{
    bool is_true, takes_text = k->type != SCHEMA_COUNT; /* smtp_port 25 is no Lua, smtp_port "25" is */
    if (luaenv_is_unknown(L, i))
        return GOT_BAD;
    if (k->type == SCHEMA_BOOL) {
        enum got got = facts_bool(L, i, site, &is_true);
        *out = got == GOT_IT && is_true;
        return got;
    }
    if (lua_type(L, i) == LUA_TSTRING && takes_text) {
        size_t n;
        const char *p = lua_tolstring(L, i, &n);
        return schema_number(k, str_of(p, n), out) ? GOT_IT : wrong_number(L, k, site);
    }
    int is_whole = 0;
    lua_Integer v = lua_type(L, i) == LUA_TNUMBER ? lua_tointegerx(L, i, &is_whole) : 0;
    if (k->type == SCHEMA_CHOICE || is_whole == 0 || v < 0 || !schema_in_range(k, (uint64_t)v))
        return wrong_number(L, k, site);
    *out = (uint64_t)v;
    return GOT_IT;
}

struct site facts_key(lua_State *L, int t, struct place at, const char *section, const char *key)
{
    (void)lua_getfield(L, t, key);
    return (struct site){at, section, key, 0};
}

struct unknown_key {
    struct str key;
    struct place at;
};

static void put_known_keys(const char *section, struct buf *out)
{
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        if (str_eq(str_from_c(schema_at(i)->section), str_from_c(section)))
            buf_printf(out, "%s%s", out->n > 0 ? ", " : "", schema_at(i)->name);
    }
    if (out->n == 0)
        buf_puts(out, "a list: { \"...\", \"...\" }");
}

static void report_unknown_key(lua_State *L, const struct unknown_key *u, const char *section)
{
    struct config_report *report = loader_of(L)->report;
    const char *near = schema_suggest(str_from_c(section), u->key);
    const char *elsewhere = schema_elsewhere(str_from_c(section), u->key);
    struct str brief = report_brief(u->key);
    char mem[200];
    struct buf known;
    buf_init_fixed(&known, mem, sizeof mem);
    put_known_keys(section, &known);
    if (elsewhere != NULL)
        report_error(report, u->at, "unknown key '%.*s' in %s: %s", STR_FMT(brief), section, elsewhere);
    else if (schema_is_future(str_from_c(section), u->key))
        report_error(report, u->at, "'%.*s' in %s is not in this version of Waxwing", STR_FMT(brief),
                     section);
    else if (near != NULL)
        report_error(report, u->at, "unknown key '%.*s' in %s: did you mean '%s'?", STR_FMT(brief), section,
                     near);
    else
        report_error(report, u->at, "unknown key '%.*s' in %s (it takes %.*s)", STR_FMT(brief), section,
                     STR_FMT(buf_str(&known)));
}

/* By line, then by name: lua_next() has an order of its own each run. */
static int compare_unknown(const void *pa, const void *pb)
{
    const struct unknown_key *a = pa, *b = pb;
    return a->at.line != b->at.line ? a->at.line - b->at.line : str_cmp(a->key, b->key);
}

bool facts_check_keys(lua_State *L, int t, struct place at, const char *section, bool has_list)
{
    const struct loader *ld = loader_of(L);
    struct unknown_key unknown[UNKNOWN_SHOWN_MAX];
    size_t n = 0;
    bool has_other = false;
    t = lua_absindex(L, t);
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1)) {
        luaenv_charge(L, LOADER_KEY_STEPS);
        size_t len;
        const char *p = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : NULL;
        if (p == NULL)
            has_other = has_other || !(has_list && lua_isinteger(L, -2));
        else if (n < ARRAY_LEN(unknown) && schema_find(str_from_c(section), str_of(p, len)) == NULL)
            unknown[n++].key = str_of(p, len); /* lives in the table */
    }
    if (n > 0)
        luaenv_charge(L, n * LOADER_ERROR_STEPS);
    for (size_t i = 0; i < n; i++) /* as in facts_place(): what is not shown is not looked for */
        unknown[i].at = ld->report->n_errors >= ERRORS_EXACT_MAX
                            ? at
                            : loader_key_place(ld, at, str_from_c(section), unknown[i].key);
    if (n > 0)
        qsort(unknown, n, sizeof unknown[0], compare_unknown);
    for (size_t i = 0; i < n; i++)
        report_unknown_key(L, &unknown[i], section);
    if (has_other)
        report_error(ld->report, at, "%s takes key = value: a value stands without its key", section);
    return n == 0 && !has_other;
}

/* ---- facts that are a table of numbers --------------------------------------------------------- */

/* Is argument 1 the table (or text) that this fact takes, and is it the first of its kind where only one may
 * be? */
bool facts_begin(lua_State *L, const char *name, bool may_repeat, struct place *out)
{
    struct loader *ld = loader_of(L);
    luaenv_charge(L, LOADER_FACT_STEPS);
    *out = loader_place(L);
    for (size_t i = 0; i < LOADER_FACTS_MAX && schema_at(i) != NULL; i++) {
        if (!str_eq(str_from_c(schema_at(i)->section), STR("")) ||
            !str_eq(str_from_c(schema_at(i)->name), str_from_c(name)))
            continue;
        if (ld->given[i].line > 0 && !may_repeat) {
            report_error(ld->report, *out, "'%s' is given twice (the first is in %.*s, line %d)", name,
                         STR_FMT(report_brief(ld->given[i].file)), ld->given[i].line);
            return false;
        }
        ld->given[i] = *out;
    }
    if (lua_gettop(L) > 1)
        report_error(ld->report, *out, "'%s' takes one value", name);
    return lua_gettop(L) <= 1;
}

bool facts_want_table(lua_State *L, const char *name, struct place at)
{
    struct site site = {at, "", name, 0};
    if (lua_type(L, 1) == LUA_TTABLE)
        return true;
    if (!luaenv_is_unknown(L, 1))
        facts_error(L, &site, "is written %s %s", name, schema_find(STR(""), str_from_c(name))->form);
    return false;
}

void facts_numbers(lua_State *L, const char *section, struct place at)
{
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        const struct schema_key *k = schema_at(i);
        uint64_t v;
        if (k->width == 0 || !str_eq(str_from_c(k->section), str_from_c(section)))
            continue;
        struct site site = facts_key(L, 1, at, section, k->name);
        if (!lua_isnil(L, -1) && facts_number(L, -1, k, &site, &v) == GOT_IT)
            schema_set(k, loader_of(L)->conf, v);
        lua_pop(L, 1);
    }
}

struct site facts_text_key(lua_State *L, struct place at, const char *section, const char *key,
                           struct str *out)
{
    struct site site = facts_key(L, 1, at, section, key);
    if (!lua_isnil(L, -1))
        (void)facts_text(L, -1, &site, out);
    lua_pop(L, 1);
    return site;
}

static int number_section(lua_State *L, const char *section)
{
    struct place at;
    if (facts_begin(L, section, false, &at) && facts_want_table(L, section, at)) {
        (void)facts_check_keys(L, 1, at, section, false);
        facts_numbers(L, section, at);
        if (str_eq(str_from_c(section), STR("retry")))
            loader_of(L)->at_retry = at;
    }
    return 0;
}

static int fact_limits(lua_State *L)
{
    return number_section(L, "limits");
}

static int fact_outgoing(lua_State *L)
{
    return number_section(L, "outgoing");
}

static int fact_retry(lua_State *L)
{
    return number_section(L, "retry");
}

static int fact_processes(lua_State *L)
{
    return number_section(L, "processes");
}

static int fact_log(lua_State *L)
{
    return number_section(L, "log");
}

static void checked_text_key(lua_State *L, struct place at, const char *key, struct str *out,
                             const char *(*error_of)(struct str))
{
    struct site site = facts_text_key(L, at, "reports", key, out);
    const char *error = out->n > 0 ? error_of(*out) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, *out, error);
}

/* What is left out is filled in by check_redirections(), which knows the hostname. */
static void tls_reports(lua_State *L, struct place at)
{
    struct config *c = loader_of(L)->conf;
    checked_text_key(L, at, "tls", &c->tls_reports, value_ascii_mailbox_error);
    checked_text_key(L, at, "tls_organization", &c->tls_organization, value_contact_error);
    checked_text_key(L, at, "tls_contact", &c->tls_contact, value_contact_error);
}

static int fact_reports(lua_State *L)
{
    struct policy_conf *p = &loader_of(L)->conf->policy;
    struct place at;
    if (!facts_begin(L, "reports", false, &at) || !facts_want_table(L, "reports", at))
        return 0;
    (void)facts_check_keys(L, 1, at, "reports", false);
    facts_numbers(L, "reports", at);
    struct site site = facts_text_key(L, at, "reports", "verp", &p->verp);
    const char *error = p->verp.n > 0 ? value_user_error(p->verp) : NULL;
    if (error == NULL && p->verp.n > VERP_NAME_MAX)
        error =
            "is too long: with a member's address behind it, it must fit into 64 characters; give 24 at most";
    if (error != NULL)
        facts_bad_text(L, &site, p->verp, error);
    p->verp = loader_lower(loader_of(L), p->verp);
    site = facts_text_key(L, at, "reports", "arf", &p->arf);
    error = p->arf.n > 0 ? value_mailbox_error(p->arf) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, p->arf, error);
    tls_reports(L, at);
    return 0;
}

static int fact_smtp_port(lua_State *L)
{
    const struct schema_key *k = schema_find(STR(""), STR("smtp_port"));
    struct site site = {.section = "", .name = "smtp_port"};
    uint64_t v;
    if (facts_begin(L, "smtp_port", false, &site.at) && facts_number(L, 1, k, &site, &v) == GOT_IT)
        schema_set(k, loader_of(L)->conf, v);
    return 0;
}

/* ---- facts that are a text --------------------------------------------------------------------- */

static int text_fact(lua_State *L, const char *name, const char *(*error_of)(struct str), struct str *out)
{
    struct site site = {.section = "", .name = name};
    struct str s;
    if (!facts_begin(L, name, false, &site.at) || facts_text(L, 1, &site, &s) != GOT_IT)
        return 0;
    const char *error = error_of(s);
    if (error != NULL)
        facts_bad_text(L, &site, s, error);
    *out = s;
    return 0;
}

static int fact_hostname(lua_State *L)
{
    struct policy_conf *policy = &loader_of(L)->conf->policy;
    (void)text_fact(L, "hostname", value_hostname_error, &policy->hostname);
    policy->hostname = loader_lower(loader_of(L), policy->hostname);
    return 0;
}

static int fact_postmaster(lua_State *L)
{
    return text_fact(L, "postmaster", value_mailbox_error, &loader_of(L)->conf->policy.postmaster);
}

static int path_fact(lua_State *L, const char *name, struct str *out)
{
    (void)text_fact(L, name, value_path_error, out);
    if (out->n > 0)
        *out = loader_path(loader_of(L), *out);
    return 0;
}

static int fact_spool(lua_State *L)
{
    return path_fact(L, "spool", &loader_of(L)->conf->spool);
}

static int fact_control(lua_State *L)
{
    struct config *c = loader_of(L)->conf;
    (void)path_fact(L, "control", &c->control);
    if (c->control.n > NETADDR_PATH_MAX)
        report_error(loader_of(L)->report, loader_place(L),
                     "control: the path of a socket has at most %d octets", NETADDR_PATH_MAX);
    return 0;
}

static int fact_journal(lua_State *L)
{
    struct str *out = &loader_of(L)->conf->journal;
    struct place at;
    if (lua_type(L, 1) != LUA_TTABLE)
        return path_fact(L, "journal", out);
    if (!facts_begin(L, "journal", false, &at))
        return 0;
    (void)facts_check_keys(L, 1, at, "journal", false);
    facts_numbers(L, "journal", at);
    struct site site = facts_key(L, 1, at, "journal", "path");
    if (!lua_isnil(L, -1) && facts_text(L, -1, &site, out) == GOT_IT)
        *out = loader_path(loader_of(L), *out);
    return 0;
}

/* ---- resolver ---------------------------------------------------------------------------------- */

static void add_resolver(lua_State *L, const struct site *site, struct str text, struct netaddr *list)
{
    struct config *c = loader_of(L)->conf;
    struct netaddr addr;
    if (str_eq(text, STR("recursive")) || str_eq(text, STR("system"))) {
        c->resolver = str_eq(text, STR("system")) ? RESOLVER_SYSTEM : RESOLVER_RECURSIVE;
        return;
    }
    if (!netaddr_parse(text, 53, &addr) || addr.kind == NETADDR_UNIX || addr.port == 0) {
        facts_bad_text(L, site, text, "is neither \"recursive\" nor \"system\" nor the address of a server");
    } else if (c->n_resolvers == RESOLVERS_MAX) {
        facts_error(L, site, "takes at most 8 servers");
    } else {
        c->resolver = RESOLVER_ADDRESSES;
        list[c->n_resolvers++] = addr;
    }
}

static void read_dns_file(lua_State *L, const char *key, struct place at, struct str *out)
{
    struct site site = facts_key(L, 1, at, "resolver", key);
    struct str path;
    if (!lua_isnil(L, -1) && facts_text(L, -1, &site, &path) == GOT_IT &&
        !loader_read(loader_of(L), facts_place(L, &site), path, out))
        *out = STR_NIL;
    lua_pop(L, 1);
}

static int fact_resolver(lua_State *L)
{
    struct config *c = loader_of(L)->conf;
    struct site site = {.section = "", .name = "resolver"};
    if (!facts_begin(L, "resolver", false, &site.at))
        return 0;
    struct netaddr *list = loader_alloc(loader_of(L), RESOLVERS_MAX, sizeof *list);
    struct str text;
    c->resolvers = list;
    if (lua_type(L, 1) != LUA_TTABLE) {
        if (facts_text(L, 1, &site, &text) == GOT_IT)
            add_resolver(L, &site, text, list);
        return 0;
    }
    struct place at = site.at;
    (void)facts_check_keys(L, 1, at, "resolver", true);
    read_dns_file(L, "trust_anchor", at, &c->trust_anchor);
    read_dns_file(L, "root_hints", at, &c->root_hints);
    lua_Unsigned n = lua_rawlen(L, 1);
    for (lua_Unsigned i = 1; i <= n && i <= RESOLVERS_MAX + 1; i++) {
        site.item = (size_t)i;
        (void)lua_rawgeti(L, 1, (lua_Integer)i);
        if (facts_text(L, -1, &site, &text) == GOT_IT)
            add_resolver(L, &site, text, list);
        lua_pop(L, 1);
    }
    site.item = 0;
    if (c->resolver != RESOLVER_ADDRESSES && c->n_resolvers > 0)
        facts_error(L, &site, "names both a kind and servers");
    return 0;
}

/* ---- the table of words ------------------------------------------------------------------------ */

struct fact_function {
    const char *name;
    lua_CFunction f;
};
static const struct fact_function functions[] = {
    {"hostname", fact_hostname},
    {"postmaster", fact_postmaster},
    {"listen", fact_listen},
    {"domain", fact_domain},
    {"relay_from", fact_relay_from},
    {"route", fact_route},
    {"source", fact_source},
    {"authorities", fact_authorities},
    {"tls", fact_tls},
    {"https", fact_https},
    {"senders", fact_senders},
    {"oauth", fact_oauth},
    {"rewrite", fact_rewrite},
    {"submit", fact_submit},
    {"commands", fact_commands},
    {"xclient_from", fact_xclient_from},
    {"reports", fact_reports},
    {"resolver", fact_resolver},
    {"spool", fact_spool},
    {"control", fact_control},
    {"journal", fact_journal},
    {"limits", fact_limits},
    {"outgoing", fact_outgoing},
    {"retry", fact_retry},
    {"processes", fact_processes},
    {"log", fact_log},
    {"smtp_port", fact_smtp_port},
    {"include", loader_include},
};

void facts_push(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        must(schema_find(STR(""), str_from_c(functions[i].name)) != NULL);
        lua_pushcfunction(L, functions[i].f);
        lua_setfield(L, -2, functions[i].name);
    }
    values_push(L);
}
