/* config/codec.c: struct config as octets for the roles, and back.
 *
 * Numbers that the schema knows go by its rows, in order. decode borrows all text from the octets (a table of
 * users is mapped once and shared by all roles) and trusts nothing: what config_load() would refuse, it
 * refuses.
 */
#include "base/limits.h"
#include "config/config.h"
#include "config/schema.h"
#include "config/values.h"

#include <string.h>

enum { MAGIC = 0x46435857 /* "WXCF" */, VERSION = 1, RESOLVERS_MAX = 8, BLOCKS_MAX = 100000 };

/* ---- encode ------------------------------------------------------------------------------------ */

static void put_addr(struct buf *b, const struct netaddr *a)
{
    buf_put_u8(b, (uint8_t)a->kind);
    switch (a->kind) {
    case NETADDR_NONE:
        buf_put_u16(b, a->port);
        break;
    case NETADDR_IP4:
        buf_put_u16(b, a->port);
        buf_put(b, str_of(a->ip, 4));
        break;
    case NETADDR_IP6:
        buf_put_u16(b, a->port);
        buf_put(b, str_of(a->ip, 16));
        buf_put_u32(b, a->scope);
        break;
    case NETADDR_UNIX:
        buf_put_lstr(b, str_from_c(a->path));
        break;
    }
}

static void put_deliver(struct buf *b, const struct deliver *d)
{
    buf_put_u8(b, (uint8_t)d->kind);
    if (d->kind == DELIVER_MAILDIR) {
        buf_put_lstr(b, d->maildir);
        buf_put_lstr(b, d->user_name);
        buf_put_u32(b, d->uid);
        buf_put_u32(b, d->gid);
    } else {
        put_addr(b, &d->lmtp);
        buf_put_lstr(b, d->lmtp_host);
    }
}

static void put_domain(struct buf *b, const struct local_domain *d)
{
    buf_put_lstr(b, d->name);
    buf_put_lstr(b, d->same_as);
    if (d->same_as.n > 0)
        return; /* the rest is the other domain's */
    buf_put_u8(b, d->any_user);
    buf_put_u32(b, (uint32_t)d->n_users);
    for (size_t i = 0; i < d->n_users; i++)
        buf_put_lstr(b, d->users[i]);
    buf_put_lstr(b, d->catchall);
    put_deliver(b, &d->deliver);
}

static void put_policy(struct buf *b, const struct policy_conf *p)
{
    buf_put_lstr(b, p->hostname);
    buf_put_lstr(b, p->postmaster);
    buf_put_u32(b, (uint32_t)p->n_relay_from);
    for (size_t i = 0; i < p->n_relay_from; i++) {
        put_addr(b, &p->relay_from[i].addr);
        buf_put_u8(b, p->relay_from[i].bits);
    }
    buf_put_u8(b, (uint8_t)p->n_routes);
    if (p->n_routes > 0) {
        buf_put_lstr(b, p->routes[0].via.host);
        put_addr(b, &p->routes[0].via.addr);
    }
    buf_put_u32(b, (uint32_t)p->n_domains);
    for (size_t i = 0; i < p->n_domains; i++)
        put_domain(b, &p->domains[i]);
}

bool config_encode(const struct config *c, struct buf *out)
{
    buf_put_u32(out, MAGIC);
    buf_put_u16(out, VERSION);
    buf_put_u64(out, c->generation);
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        if (schema_at(i)->width > 0)
            buf_put_u64(out, schema_get(schema_at(i), c));
    }
    buf_put_lstr(out, c->spool);
    buf_put_lstr(out, c->control);
    buf_put_lstr(out, c->journal);
    buf_put_u8(out, (uint8_t)c->resolver);
    buf_put_u32(out, (uint32_t)c->n_resolvers);
    for (size_t i = 0; i < c->n_resolvers; i++)
        put_addr(out, &c->resolvers[i]);
    buf_put_lstr(out, c->trust_anchor);
    buf_put_lstr(out, c->root_hints);
    buf_put_u32(out, (uint32_t)c->n_listeners);
    for (size_t i = 0; i < c->n_listeners; i++) {
        put_addr(out, &c->listeners[i].addr);
        buf_put_u8(out, c->listeners[i].lmtp);
    }
    put_policy(out, &c->policy);
    return !out->failed;
}

/* ---- decode ------------------------------------------------------------------------------------ */

struct decoder {
    struct reader in;
    struct arena *arena;
    bool ok; /* what was read so far makes sense; the reader's own failure counts too */
};

static void want(struct decoder *d, bool cond)
{
    d->ok = d->ok && cond && !d->in.failed;
}

static bool get_bool(struct decoder *d)
{
    uint8_t v = read_u8(&d->in);
    want(d, v <= 1);
    return v == 1;
}

static struct str get_str(struct decoder *d, const char *(*error_of)(struct str))
{
    struct str s = read_lstr(&d->in);
    want(d, error_of(s) == NULL);
    return s;
}

static const char *anything(struct str s)
{
    UNUSED(s);
    return NULL;
}

static bool is_lower(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (ascii_lower(s.p[i]) != s.p[i])
            return false;
    }
    return true;
}

static const char *lower_domain_error(struct str s)
{
    return is_lower(s) && domain_is_valid(s, true) ? NULL : "";
}

static const char *lower_user_error(struct str s)
{
    return is_lower(s) ? value_user_error(s) : "";
}

static const char *hostname_error(struct str s)
{
    return is_lower(s) ? value_hostname_error(s) : "";
}

static const char *mailbox_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_mailbox_error(s);
}

static const char *catchall_error(struct str s)
{
    return str_chr(s, '@') == STR_NPOS && s.n > 0 ? lower_user_error(s) : mailbox_or_nothing_error(s);
}

static const char *login_error(struct str s)
{
    return str_has_ctl(s) ? "" : NULL;
}

/* A list of n elements of which each takes at least size_min octets; NULL when that can't be. */
static void *get_list(struct decoder *d, size_t max, size_t size_min, size_t size, size_t *out_n)
{
    uint32_t n = read_u32(&d->in);
    want(d, n <= max && n <= d->in.rest.n / size_min);
    void *list = d->ok ? arena_alloc_array(d->arena, n, size) : NULL;
    want(d, list != NULL);
    *out_n = d->ok ? n : 0;
    return list;
}

static struct netaddr get_addr(struct decoder *d)
{
    struct netaddr a = {.kind = NETADDR_NONE};
    uint8_t kind = read_u8(&d->in);
    struct str bytes;
    want(d, kind <= NETADDR_UNIX);
    if (!d->ok)
        return a;
    a.kind = (enum netaddr_kind)kind;
    switch (a.kind) {
    case NETADDR_NONE:
        a.port = read_u16(&d->in);
        break;
    case NETADDR_IP4:
    case NETADDR_IP6:
        a.port = read_u16(&d->in);
        bytes = read_bytes(&d->in, a.kind == NETADDR_IP4 ? 4 : 16);
        if (bytes.n > 0)
            memcpy(a.ip, bytes.p, bytes.n);
        a.scope = a.kind == NETADDR_IP6 ? read_u32(&d->in) : 0;
        break;
    case NETADDR_UNIX:
        bytes = read_lstr(&d->in);
        want(d, str_starts(bytes, STR("/")) && netaddr_parse(bytes, 0, &a));
        break;
    }
    want(d, true);
    return a;
}

static bool is_ip(const struct netaddr *a)
{
    return a->kind == NETADDR_IP4 || a->kind == NETADDR_IP6;
}

static struct netblock get_block(struct decoder *d)
{
    struct netblock b = {.addr = get_addr(d)};
    b.bits = read_u8(&d->in);
    want(d, is_ip(&b.addr) && b.addr.port == 0 && b.addr.scope == 0 && b.bits > 0 &&
                b.bits <= (b.addr.kind == NETADDR_IP4 ? 32 : 128));
    for (size_t i = b.bits; d->ok && i < 128; i++)
        want(d, (b.addr.ip[i / 8] & (0x80u >> (i % 8))) == 0);
    return b;
}

/* A host by name, then addr holds only the port; or by address, then name is empty. */
static void want_host(struct decoder *d, struct str name, const struct netaddr *addr, bool may_be_unix)
{
    if (name.n > 0)
        want(d, addr->kind == NETADDR_NONE && addr->port != 0 && domain_is_valid(name, false));
    else
        want(d, (is_ip(addr) && addr->port != 0) || (may_be_unix && addr->kind == NETADDR_UNIX));
}

static struct deliver get_deliver(struct decoder *d)
{
    struct deliver out = {.uid = UINT32_MAX, .gid = UINT32_MAX};
    uint8_t kind = read_u8(&d->in);
    want(d, kind == DELIVER_MAILDIR || kind == DELIVER_LMTP);
    if (!d->ok)
        return out;
    out.kind = (enum deliver_kind)kind;
    if (out.kind == DELIVER_MAILDIR) {
        out.maildir = get_str(d, value_maildir_error);
        out.user_name = get_str(d, login_error);
        out.uid = read_u32(&d->in);
        out.gid = read_u32(&d->in);
        want(d, out.uid != 0 && (out.uid == UINT32_MAX) == (out.gid == UINT32_MAX));
    } else {
        out.lmtp = get_addr(d);
        out.lmtp_host = read_lstr(&d->in);
        want_host(d, out.lmtp_host, &out.lmtp, true);
    }
    return out;
}

static struct local_domain get_domain(struct decoder *d, size_t *n_users)
{
    struct local_domain out = {.name = get_str(d, lower_domain_error)};
    out.same_as = read_lstr(&d->in);
    if (out.same_as.n > 0) {
        want(d, lower_domain_error(out.same_as) == NULL);
        return out;
    }
    out.any_user = get_bool(d);
    struct str *users = get_list(d, CONFIG_USERS_MAX - *n_users, 5, sizeof *users, &out.n_users);
    for (size_t i = 0; i < out.n_users && d->ok; i++) {
        users[i] = get_str(d, lower_user_error);
        want(d, i == 0 || str_icmp(users[i - 1], users[i]) < 0);
    }
    *n_users += out.n_users;
    out.users = users;
    out.catchall = get_str(d, catchall_error);
    out.deliver = get_deliver(d);
    want(d, !out.any_user || (out.n_users == 0 && out.catchall.n == 0));
    return out;
}

static void resolve_same_as(struct decoder *d, const struct policy_conf *p, struct local_domain *list)
{
    for (size_t i = 0; i < p->n_domains && d->ok; i++) {
        if (list[i].same_as.n == 0)
            continue;
        const struct local_domain *other = policy_domain(p, list[i].same_as);
        want(d, other != NULL && other->same_as.n == 0);
        if (!d->ok)
            return;
        list[i].any_user = other->any_user;
        list[i].users = other->users;
        list[i].n_users = other->n_users;
        list[i].deliver = other->deliver;
    }
}

static void get_domains(struct decoder *d, struct policy_conf *p)
{
    size_t n_users = 0;
    struct local_domain *list = get_list(d, CONFIG_DOMAINS_MAX, 9, sizeof *list, &p->n_domains);
    for (size_t i = 0; i < p->n_domains && d->ok; i++) {
        list[i] = get_domain(d, &n_users);
        want(d, i == 0 || str_icmp(list[i - 1].name, list[i].name) < 0);
    }
    p->domains = list;
    if (d->ok)
        resolve_same_as(d, p, list);
}

static void get_policy(struct decoder *d, struct policy_conf *p)
{
    p->hostname = get_str(d, hostname_error);
    p->postmaster = get_str(d, mailbox_or_nothing_error);
    struct netblock *blocks = get_list(d, BLOCKS_MAX, 8, sizeof *blocks, &p->n_relay_from);
    for (size_t i = 0; i < p->n_relay_from && d->ok; i++)
        blocks[i] = get_block(d);
    p->relay_from = blocks;
    p->n_routes = get_bool(d);
    struct route_rule *rule = d->ok ? arena_new(d->arena, struct route_rule) : NULL;
    want(d, rule != NULL);
    if (d->ok && p->n_routes > 0) {
        rule->via.host = read_lstr(&d->in);
        rule->via.addr = get_addr(d);
        want_host(d, rule->via.host, &rule->via.addr, false);
        p->routes = rule;
    }
    get_domains(d, p);
}

static void get_numbers(struct decoder *d, struct config *c)
{
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        const struct schema_key *k = schema_at(i);
        if (k->width == 0)
            continue;
        uint64_t v = read_u64(&d->in);
        want(d, schema_in_range(k, v));
        if (d->ok)
            schema_set(k, c, v);
    }
}

static void get_resolver(struct decoder *d, struct config *c)
{
    uint8_t kind = read_u8(&d->in);
    want(d, kind <= RESOLVER_ADDRESSES);
    c->resolver = d->ok ? (enum resolver_kind)kind : RESOLVER_RECURSIVE;
    struct netaddr *list = get_list(d, RESOLVERS_MAX, 7, sizeof *list, &c->n_resolvers);
    for (size_t i = 0; i < c->n_resolvers && d->ok; i++) {
        list[i] = get_addr(d);
        want(d, is_ip(&list[i]) && list[i].port != 0);
    }
    c->resolvers = list;
    want(d, (c->resolver == RESOLVER_RECURSIVE) == (c->n_resolvers == 0));
    c->trust_anchor = get_str(d, anything);
    c->root_hints = get_str(d, anything);
}

static void get_listeners(struct decoder *d, struct config *c)
{
    struct listener_conf *list = get_list(d, CONFIG_LISTENERS_MAX, 6, sizeof *list, &c->n_listeners);
    for (size_t i = 0; i < c->n_listeners && d->ok; i++) {
        list[i].addr = get_addr(d);
        list[i].lmtp = get_bool(d);
        want(d, list[i].addr.kind == NETADDR_UNIX || (is_ip(&list[i].addr) && list[i].addr.port != 0));
    }
    c->listeners = list;
}

const struct config *config_decode(struct str bytes, struct arena *a)
{
    struct decoder d = {reader_of(bytes), a, true};
    struct config *c = arena_new(a, struct config);
    if (c == NULL || read_u32(&d.in) != MAGIC || read_u16(&d.in) != VERSION)
        return NULL;
    c->generation = read_u64(&d.in);
    get_numbers(&d, c);
    c->spool = get_str(&d, value_path_error);
    c->control = get_str(&d, value_path_error);
    c->journal = get_str(&d, value_path_error);
    want(&d, c->control.n <= NETADDR_PATH_MAX);
    get_resolver(&d, c);
    get_listeners(&d, c);
    get_policy(&d, &c->policy);
    return d.ok && reader_done(&d.in) ? c : NULL;
}
