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

/* ---- certificates from an authority ---- */

/* What is for all certificates may be said with each, but not differently. */
static void set_once(lua_State *L, const struct site *site, struct str got, const char *error,
                     struct str *out)
{
    if (error != NULL)
        facts_bad_text(L, site, got, error);
    else if (out->n > 0 && !str_eq(*out, got))
        facts_error(L, site, "is given twice and differs: it is for all certificates");
    else
        *out = got;
}

static const char *contact_error(struct str s)
{
    const char *error = value_mailbox_error(s);
    return error == NULL && s.p[0] == '-' ? "begins with a hyphen, which programs take for an option" : error;
}

static void get_address(lua_State *L, struct place at, struct acme_conf *acme)
{
    enum { HTTP_PORT = 80 };
    struct netaddr addr = {.kind = NETADDR_NONE};
    struct str text = STR_NIL;
    struct site site = facts_text_key(L, at, "tls", "acme_address", &text);
    if (text.n == 0)
        return;
    const char *error = facts_ip(text, HTTP_PORT, &addr);
    if (error != NULL)
        facts_bad_text(L, &site, text, error);
    else if (acme->n_addrs > 0 && !netaddr_eq(&acme->addrs[0], &addr))
        facts_error(L, &site, "is given twice and differs: it is for all certificates");
    else
        acme->addrs[0] = addr;
    acme->n_addrs = 1;
}

static void add_acme_name(lua_State *L, const struct site *site, struct str text, struct str *list, size_t *n)
{
    struct str name = STR_NIL;
    if (str_starts(text, STR("*."))) {
        facts_bad_text(L, site, text, "can't be had this way: name the hosts");
        return;
    }
    if (!loader_domain(loader_of(L), facts_place(L, site), site->name, text, &name))
        return;
    const char *error = value_hostname_error(name);
    if (error != NULL) {
        facts_bad_text(L, site, text, error);
        return;
    }
    for (size_t i = 0; i < *n; i++) {
        if (str_eq(list[i], name))
            return;
    }
    list[(*n)++] = name;
}

/* Without names it is for the hostname, which may not be known yet: check_tls.c. */
static void get_names(lua_State *L, struct place at, struct certificate_conf *out)
{
    struct site site = facts_key(L, 1, at, "tls", "names");
    if (lua_isnil(L, -1))
        return;
    if (lua_type(L, -1) != LUA_TTABLE) {
        (void)facts_wrong_kind(L, -1, &site, "a list: { \"NAME\", ... }");
        return;
    }
    size_t n = (size_t)lua_rawlen(L, -1);
    if (n == 0 || n > ACME_NAMES_MAX) {
        facts_error(L, &site, "has 1 to %d names", (int)ACME_NAMES_MAX);
        return;
    }
    struct str *list = loader_alloc(loader_of(L), n, sizeof *list);
    luaenv_charge(L, n * LOADER_KEY_STEPS);
    for (size_t i = 0; i < n; i++) {
        struct str text;
        (void)lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (facts_text(L, -1, &site, &text) == GOT_IT)
            add_acme_name(L, &site, text, list, &out->n_names);
        lua_pop(L, 1);
    }
    out->names = list;
}

static void get_acme(lua_State *L, struct place at, struct certificate_fact *f)
{
    struct acme_conf *acme = &loader_of(L)->conf->acme;
    struct str contact = STR_NIL, url = STR_NIL, folder = STR_NIL;
    struct site site = facts_text_key(L, at, "tls", "acme", &contact);
    if (contact.n > 0)
        set_once(L, &site, contact, contact_error(contact), &acme->contact);
    f->is_acme = contact.n > 0;
    site = facts_text_key(L, at, "tls", "acme_directory", &url);
    if (url.n > 0)
        set_once(L, &site, url, value_https_error(url), &acme->directory);
    site = facts_text_key(L, at, "tls", "acme_folder", &folder);
    if (folder.n > 0) {
        const char *error = value_path_error(folder);
        set_once(L, &site, error == NULL ? loader_path(loader_of(L), folder) : folder, error, &acme->folder);
    }
    get_address(L, at, acme);
    get_names(L, at, &f->conf);
}

static bool is_whole(struct loader *ld, const struct certificate_fact *f)
{
    if (!f->is_acme && (f->conf.cert.n == 0 || f->conf.key.n == 0))
        report_error(
            ld->report, f->at,
            "tls needs both: cert = \"FILE\", key = \"FILE\"; or acme = \"ADDRESS\", to get them from an "
            "authority");
    else if (f->is_acme && f->conf.cert.n + f->conf.key.n > 0)
        report_error(ld->report, f->at, "tls takes cert and key, or acme, and not all of them");
    else if (!f->is_acme && f->conf.n_names > 0)
        report_error(ld->report, f->at,
                     "names goes with acme: other certificates say themselves whom they are for");
    else
        return true;
    return false;
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
    get_acme(L, fact.at, &fact);
    if (ld->report->n_errors != errors || !is_whole(ld, &fact))
        return 0;
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
