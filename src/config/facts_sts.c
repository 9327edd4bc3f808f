/* config/facts_sts.c: https, and the policy of MTA-STS that a domain publishes (mta_sts_policy). */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>

/* ---- https ------------------------------------------------------------------------------------- */

enum { HTTPS_PORT = 443 };

const char *facts_ip(struct str text, uint16_t port, struct netaddr *out)
{
    struct value_host host;
    const char *error = value_host(text, port, false, &host);
    if (error == NULL && host.addr.kind == NETADDR_NONE)
        error = "must be an IP address, such as \"192.0.2.1\" or \"127.0.0.1:8080\"";
    if (error == NULL)
        *out = host.addr;
    return error;
}

/* The value on top of the stack: one address. */
static void add_address(lua_State *L, const struct site *site)
{
    struct config *c = loader_of(L)->conf;
    struct netaddr addr;
    struct str text;
    if (facts_text(L, -1, site, &text) != GOT_IT)
        return;
    const char *error = facts_ip(text, HTTPS_PORT, &addr);
    if (error != NULL)
        facts_bad_text(L, site, text, error);
    else if (c->n_https_addrs == HTTPS_ADDRESSES_MAX)
        facts_error(L, site, "takes at most %d addresses", (int)HTTPS_ADDRESSES_MAX);
    else
        c->https_addrs[c->n_https_addrs++] = addr;
}

int fact_https(lua_State *L)
{
    struct place at;
    if (!facts_begin(L, "https", false, &at) || !facts_want_table(L, "https", at) ||
        !facts_check_keys(L, 1, at, "https", false))
        return 0;
    struct site site = facts_key(L, 1, at, "https", "address");
    if (lua_type(L, -1) != LUA_TTABLE) {
        if (!lua_isnil(L, -1))
            add_address(L, &site);
        return 0;
    }
    lua_Unsigned n = lua_rawlen(L, -1);
    if (n == 0)
        facts_error(L, &site, "names no address");
    for (lua_Unsigned i = 1; i <= n && i <= HTTPS_ADDRESSES_MAX + 1; i++) {
        (void)lua_rawgeti(L, -1, (lua_Integer)i);
        add_address(L, &site);
        lua_pop(L, 1);
    }
    return 0;
}

/* ---- a domain's policy ------------------------------------------------------------------------- */

static const char section[] = "mta_sts_policy";

/* A host, or "*.": any one name below the domain behind it; in A-labels. */
static void add_mx(lua_State *L, const struct site *site, struct str text, struct str *list, size_t *n)
{
    struct loader *ld = loader_of(L);
    struct str name = STR_NIL;
    bool is_wild = str_starts(text, STR("*."));
    if (!loader_domain(ld, facts_place(L, site), site->name, str_skip(text, is_wild ? 2 : 0), &name))
        return;
    const char *error = value_hostname_error(name);
    if (error == NULL && !mta_sts_is_pattern(name))
        error = "can't stand in a policy: letters, digits and hyphens between dots";
    if (error != NULL) {
        facts_bad_text(L, site, text, error);
        return;
    }
    char mem[SMTP_DOMAIN_MAX + 2];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_puts(&b, is_wild ? "*." : "");
    must(buf_put(&b, name));
    list[(*n)++] = loader_copy(ld, buf_str(&b));
}

static void read_mx(lua_State *L, struct place at, struct mta_sts_own *out)
{
    struct site site = facts_key(L, -1, at, section, "mx");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    bool is_list = lua_type(L, -1) == LUA_TTABLE;
    size_t n = is_list ? (size_t)lua_rawlen(L, -1) : 0;
    if (!is_list) {
        (void)facts_wrong_kind(L, -1, &site, "a list: { \"NAME\", ... }");
    } else if (n == 0 || n > MTA_STS_OWN_MX_MAX) {
        facts_error(L, &site, "has 1 to %d names", (int)MTA_STS_OWN_MX_MAX);
        n = 0;
    }
    struct str *list = loader_alloc(loader_of(L), n + 1, sizeof *list);
    luaenv_charge(L, n * LOADER_KEY_STEPS);
    for (size_t i = 0; i < n; i++) {
        struct str text;
        (void)lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (facts_text(L, -1, &site, &text) == GOT_IT)
            add_mx(L, &site, text, list, &out->n_mx);
        lua_pop(L, 1);
    }
    out->mx = list;
    lua_pop(L, 1);
}

/* The value on top of the stack is the mode. */
static void read_mode(lua_State *L, const struct site *site, struct mta_sts_own *out)
{
    uint64_t v;
    if (facts_number(L, -1, schema_find(str_from_c(section), STR("mode")), site, &v) == GOT_IT)
        out->mode = (enum mta_sts_mode)v;
}

static void read_table(lua_State *L, struct place at, struct mta_sts_own *out)
{
    uint64_t v;
    if (!facts_check_keys(L, -1, at, section, false))
        return;
    struct site site = facts_key(L, -1, at, section, "mode");
    if (lua_isnil(L, -1))
        (void)facts_wrong_kind(L, -1, &site, "none, testing or enforce, in quotes");
    else
        read_mode(L, &site, out);
    lua_pop(L, 1);
    site = facts_key(L, -1, at, section, "max_age");
    if (!lua_isnil(L, -1) &&
        facts_number(L, -1, schema_find(str_from_c(section), STR("max_age")), &site, &v) == GOT_IT)
        out->max_age_s = (uint32_t)v;
    lua_pop(L, 1);
    read_mx(L, at, out);
}

void sts_read(lua_State *L, struct domain_fact *f, const struct site *site)
{
    f->has_sts = true;
    f->sts = (struct mta_sts_own){.max_age_s = MTA_STS_OWN_AGE_S};
    if (lua_type(L, -1) == LUA_TTABLE)
        read_table(L, facts_place(L, site), &f->sts);
    else
        read_mode(L, site, &f->sts);
    if (f->d.name.n + sizeof "mta-sts" > DNS_NAME_MAX - 2)
        facts_error(L, site, "is of no use: mta-sts.%.*s is too long for a name",
                    STR_FMT(report_brief(f->d.name)));
    if (str_eq(f->d.name, STR("*")))
        facts_error(L, site, "is of a domain that is named: a policy lies at a host of its own");
}
