/* config/facts_listen.c: where mail is taken and from whom: listen, submit, relay_from, xclient_from,
 * commands. */
#include "config/loader.h"

#include "base/limits.h"
#include "config/schema.h"
#include "config/values.h"

#include <lauxlib.h>

enum { BLOCKS_MAX = 100000 };

/* ---- blocks ------------------------------------------------------------------------------------ */

static void add_block(lua_State *L, const struct site *site, struct str text, const char *if_all,
                      struct block_list *list)
{
    struct loader *ld = loader_of(L);
    struct netblock block = {.bits = 0};
    char mem[200];
    struct buf problem;
    const char *error = value_netblock(text, &block);
    buf_init_fixed(&problem, mem, sizeof mem);
    if (error != NULL && block.addr.kind != NETADDR_NONE) {
        buf_puts(&problem, "has bits set behind the prefix: did you mean \"");
        netaddr_format_ip(&block.addr, &problem);
        buf_printf(&problem, "/%u\"?", (unsigned)block.bits);
        buf_putc(&problem, '\0');
        error = problem.failed ? "has bits set behind the prefix" : problem.p;
    } else if (error == NULL && block.bits == 0) {
        error = if_all;
    }
    if (error != NULL) {
        facts_bad_text(L, site, text, error);
        return;
    }
    if (list->n == BLOCKS_MAX)
        (void)luaL_error(L, "more than %d blocks in %s", (int)BLOCKS_MAX, site->name);
    struct block_fact *b = loader_alloc(ld, 1, sizeof *b);
    b->block = block;
    if (list->last != NULL)
        list->last->next = b;
    else
        list->first = b;
    list->last = b;
    list->n++;
}

/* The table at t. */
static void add_blocks(lua_State *L, int t, struct site site, const char *if_all, struct block_list *list)
{
    t = lua_absindex(L, t);
    lua_Unsigned n = lua_rawlen(L, t);
    for (lua_Unsigned i = 1; i <= n; i++) {
        struct str text;
        site.item =
            site.section[0] == '\0' ? (size_t)i : 0; /* a list within a table has the place of its key */
        luaenv_charge(L, 10);
        (void)lua_rawgeti(L, t, (lua_Integer)i);
        if (facts_text(L, -1, &site, &text) == GOT_IT)
            add_block(L, &site, text, if_all, list);
        lua_pop(L, 1);
    }
}

static int block_fact(lua_State *L, const char *name, const char *if_all, struct block_list *list)
{
    struct place at;
    if (!facts_begin(L, name, false, &at))
        return 0;
    if (lua_type(L, 1) ==
        LUA_TSTRING) { /* relay_from "10.0.0.0/8" is as clear as relay_from { "10.0.0.0/8" } */
        lua_newtable(L);
        lua_insert(L, 1);
        lua_rawseti(L, 1, 1);
    }
    if (!facts_want_table(L, name, at))
        return 0;
    (void)facts_check_keys(L, 1, at, name, true);
    add_blocks(L, 1, (struct site){at, "", name, 0}, if_all, list);
    return 0;
}

int fact_relay_from(lua_State *L)
{
    return block_fact(L, "relay_from", "is the whole Internet: this would be an open relay",
                      &loader_of(L)->relay_from);
}

int fact_xclient_from(lua_State *L)
{
    return block_fact(L, "xclient_from", "is the whole Internet: anybody could say that he is one of ours",
                      &loader_of(L)->xclient_from);
}

int fact_commands(lua_State *L)
{
    struct place at;
    if (!facts_begin(L, "commands", false, &at) || !facts_want_table(L, "commands", at))
        return 0;
    (void)facts_check_keys(L, 1, at, "commands", false);
    facts_numbers(L, "commands", at);
    struct site site = facts_key(L, 1, at, "commands", "etrn");
    if (lua_type(L, -1) == LUA_TTABLE)
        add_blocks(L, -1, site, "is the whole Internet", &loader_of(L)->etrn_from);
    else if (!lua_isnil(L, -1))
        (void)facts_wrong_kind(L, -1, &site, "a list: { \"BLOCK\", ... }");
    return 0;
}

/* ---- listen ------------------------------------------------------------------------------------ */

static void add_listener(struct loader *ld, struct place at, const struct listener_fact *fact,
                         struct netaddr addr)
{
    if (fact->conf.lmtp && addr.port == 25)
        report_error(ld->report, at, "the port of LMTP must not be 25 (RFC 2033, section 5)");
    if (ld->n_listeners == CONFIG_LISTENERS_MAX)
        report_error(ld->report, at, "more than %d addresses to listen on", (int)CONFIG_LISTENERS_MAX);
    if (ld->n_listeners++ >= CONFIG_LISTENERS_MAX)
        return;
    struct listener_fact *l = loader_alloc(ld, 1, sizeof *l);
    *l = *fact;
    l->next = NULL;
    l->at = at;
    l->conf.addr = addr;
    *ld->listeners_end = l;
    ld->listeners_end = &l->next;
}

static void listen_at(lua_State *L, const struct site *site, struct str text, uint16_t port,
                      const struct listener_fact *fact)
{
    struct netaddr addr;
    lua_getfield(L, 1, "port");
    bool has_port = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!netaddr_parse(text, port, &addr))
        facts_bad_text(L, site, text,
                       "is no address of the form \"192.0.2.1\", \"2001:db8::1\" or \"unix:/path\"");
    else if (addr.kind == NETADDR_UNIX && has_port)
        facts_error(L, site, "is a path, which has no port: leave out the key 'port'");
    else if (addr.kind != NETADDR_UNIX && addr.port != port && has_port)
        facts_error(L, site, "holds a port, and so does the key 'port'");
    else if (addr.kind != NETADDR_UNIX && addr.port == 0)
        facts_error(L, site, "has port 0");
    else
        add_listener(loader_of(L), site->at, fact, addr);
}

/* A key with true or false. */
static bool get_flag(lua_State *L, struct place at, const char *key)
{
    bool value = false;
    struct site site = facts_key(L, 1, at, "listen", key);
    if (!lua_isnil(L, -1))
        (void)facts_bool(L, -1, &site, &value);
    lua_pop(L, 1);
    return value;
}

static uint64_t get_listen_number(lua_State *L, struct place at, const char *key, uint64_t preset)
{
    uint64_t value = preset;
    struct site site = facts_key(L, 1, at, "listen", key);
    if (!lua_isnil(L, -1) &&
        facts_number(L, -1, schema_find(STR("listen"), str_from_c(key)), &site, &value) != GOT_IT)
        value = preset;
    lua_pop(L, 1);
    return value;
}

/* The number of a choice; false: it was not given. */
static bool get_choice(lua_State *L, struct place at, const char *key, uint64_t *out)
{
    struct site site = facts_key(L, 1, at, "listen", key);
    const struct schema_key *k = schema_find(STR("listen"), str_from_c(key));
    bool is_given = !lua_isnil(L, -1) && facts_number(L, -1, k, &site, out) == GOT_IT;
    lua_pop(L, 1);
    return is_given;
}

static void get_proxy(lua_State *L, struct place at, struct listener_conf *conf)
{
    struct loader *ld = loader_of(L);
    struct block_list list = {0};
    struct site site = facts_key(L, 1, at, "listen", "proxy");
    if (lua_type(L, -1) == LUA_TTABLE) {
        unsigned errors = ld->report->n_errors;
        add_blocks(L, -1, site, "is the whole Internet: write proxy = true when nobody else reaches the port",
                   &list);
        if (list.n == 0 && ld->report->n_errors == errors)
            facts_error(L, &site, "names no address");
        struct netblock *blocks = loader_alloc(ld, list.n + 1, sizeof *blocks);
        for (const struct block_fact *b = list.first; b != NULL; b = b->next)
            blocks[conf->n_proxy_from++] = b->block;
        conf->proxy_from = blocks;
        conf->has_proxy = true;
    } else if (lua_type(L, -1) == LUA_TBOOLEAN) {
        conf->has_proxy = lua_toboolean(L, -1) != 0;
    } else if (!lua_isnil(L, -1)) {
        (void)facts_wrong_kind(L, -1, &site, "true or a list of addresses");
    }
    lua_pop(L, 1);
}

static void get_tags(lua_State *L, struct place at, struct listener_conf *conf)
{
    struct site site = facts_text_key(L, at, "listen", "tag", &conf->tag);
    const char *error = conf->tag.n > 0 ? value_tag_error(conf->tag) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, conf->tag, error);
    site = facts_text_key(L, at, "listen", "tag_header", &conf->tag_header);
    error = conf->tag_header.n > 0 ? value_field_error(conf->tag_header) : NULL;
    if (error != NULL)
        facts_bad_text(L, &site, conf->tag_header, error);
}

static void get_security(lua_State *L, struct place at, struct listener_fact *fact)
{
    uint64_t tls = LISTEN_PLAIN, auth = LISTEN_NO_AUTH;
    fact->has_tls = get_choice(L, at, "tls", &tls);
    fact->has_auth = get_choice(L, at, "auth", &auth);
    fact->conf.tls = (enum listen_tls)tls;
    fact->conf.auth = (enum listen_auth)auth;
}

int fact_listen(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct place at;
    struct str address = STR_NIL;
    struct listener_fact fact = {.next = NULL};
    struct listener_conf *conf = &fact.conf;
    unsigned errors = ld->report->n_errors;
    bool is_none = lua_type(L, 1) == LUA_TBOOLEAN && lua_toboolean(L, 1) == 0;
    if (!facts_begin(L, "listen", true, &at) || is_none || !facts_want_table(L, "listen", at) ||
        !facts_check_keys(L, 1, at, "listen", false))
        return 0;
    conf->lmtp = get_flag(L, at, "lmtp");
    conf->submission = get_flag(L, at, "submission");
    conf->normalize = get_flag(L, at, "normalize");
    conf->hide_client = get_flag(L, at, "hide_client");
    conf->greet_delay_s = (uint32_t)get_listen_number(L, at, "greet_delay", 0);
    get_security(L, at, &fact);
    get_proxy(L, at, conf);
    get_tags(L, at, conf);
    uint16_t port = (uint16_t)get_listen_number(L, at, "port", conf->lmtp ? 24 : 25);
    struct site site = facts_text_key(L, at, "listen", "address", &address);
    if (conf->lmtp && conf->submission)
        report_error(ld->report, at,
                     "'lmtp' and 'submission' in listen exclude each other: users send by SMTP");
    if (ld->report->n_errors != errors)
        return 0;
    if (address.n > 0) {
        listen_at(L, &site, address, port, &fact);
    } else {
        add_listener(ld, at, &fact, (struct netaddr){.kind = NETADDR_IP4, .port = port});
        add_listener(ld, at, &fact, (struct netaddr){.kind = NETADDR_IP6, .port = port});
    }
    return 0;
}

int fact_submit(lua_State *L)
{
    struct loader *ld = loader_of(L);
    struct site site = {.section = "", .name = "submit"};
    struct str path;
    struct netaddr addr;
    ld->has_submit = true;
    if (!facts_begin(L, "submit", false, &site.at))
        return 0;
    if (lua_type(L, 1) == LUA_TBOOLEAN && lua_toboolean(L, 1) == 0)
        return 0; /* none */
    if (facts_text(L, 1, &site, &path) != GOT_IT)
        return 0;
    path = loader_path(ld, path);
    if (!str_starts(path, STR("/")) || !netaddr_parse(path, 0, &addr))
        facts_bad_text(L, &site, path, "is no path of a socket (absolute, at most 107 octets)");
    else
        add_listener(ld, site.at, &(struct listener_fact){.conf = {.is_submit = true}}, addr);
    return 0;
}
