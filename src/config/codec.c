/* config/codec.c: struct config as octets for the roles, and back.
 *
 * Numbers that the schema knows go by its rows, in order. decode borrows all text from the octets (a table of
 * users is mapped once and shared by all roles) and trusts nothing: what config_load() would refuse, it
 * refuses.
 */
#include "config/codec.h"
#include "base/limits.h"
#include "config/schema.h"
#include "config/shared.h"
#include "config/table_values.h"
#include "config/values.h"

#include <string.h>

enum { MAGIC = 0x46435857 /* "WXCF" */, VERSION = 5, RESOLVERS_MAX = 8, BLOCKS_MAX = 100000 };

/* ---- encode ------------------------------------------------------------------------------------ */

void codec_put_addr(struct buf *b, const struct netaddr *a)
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

void codec_put_hop(struct buf *b, const struct next_hop *h)
{
    buf_put_u8(b, h->lmtp);
    buf_put_u8(b, h->is_smtps);
    buf_put_lstr(b, h->host);
    codec_put_addr(b, &h->addr);
}

static void put_blocks(struct buf *b, const struct netblock *list, size_t n)
{
    buf_put_u32(b, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        codec_put_addr(b, &list[i].addr);
        buf_put_u8(b, list[i].bits);
    }
}

static void put_pattern(struct buf *b, const struct pattern *p)
{
    buf_put_u8(b, (uint8_t)p->kind);
    buf_put_lstr(b, p->domain);
    buf_put_lstr(b, p->local);
}

static void put_policy(struct buf *b, const struct policy_conf *p)
{
    buf_put_lstr(b, p->hostname);
    buf_put_lstr(b, p->postmaster);
    put_blocks(b, p->relay_from, p->n_relay_from);
    buf_put_u32(b, (uint32_t)p->n_sources);
    for (size_t i = 0; i < p->n_sources; i++) {
        const struct source_pool *s = &p->sources[i];
        buf_put_lstr(b, s->name);
        buf_put_lstr(b, s->helo);
        buf_put_u32(b, (uint32_t)s->n_addrs);
        for (size_t k = 0; k < s->n_addrs; k++)
            codec_put_addr(b, &s->addrs[k]);
    }
    buf_put_u32(b, (uint32_t)p->n_routes);
    for (size_t i = 0; i < p->n_routes; i++) {
        const struct route_rule *r = &p->routes[i];
        put_pattern(b, &r->from);
        put_pattern(b, &r->to);
        buf_put_lstr(b, r->tag);
        buf_put_lstr(b, r->source != NULL ? r->source->name : STR_NIL);
        buf_put_u8(b, (uint8_t)r->tls);
        buf_put_lstr(b, r->auth.user);
        buf_put_lstr(b, r->auth.secret);
        buf_put_lstr(b, r->certificate.cert);
        buf_put_lstr(b, r->certificate.key);
        buf_put_u8(b, r->is_mx);
        if (!r->is_mx)
            codec_put_hop(b, &r->via);
    }
    codec_put_domains(b, p);
}

static void put_listener(struct buf *b, const struct listener_conf *l)
{
    codec_put_addr(b, &l->addr);
    buf_put_u8(b, l->lmtp);
    buf_put_u8(b, l->is_submit);
    buf_put_u8(b, l->submission);
    buf_put_u8(b, (uint8_t)l->tls);
    buf_put_u8(b, (uint8_t)l->auth);
    buf_put_u8(b, l->has_proxy);
    put_blocks(b, l->proxy_from, l->n_proxy_from);
    buf_put_lstr(b, l->tag);
    buf_put_lstr(b, l->tag_header);
    buf_put_u8(b, (uint8_t)l->greet_delay_s);
    buf_put_u8(b, l->normalize);
    buf_put_u8(b, l->hide_client);
}

static void put_acme(struct buf *b, const struct acme_conf *a)
{
    buf_put_lstr(b, a->contact);
    if (a->contact.n == 0)
        return;
    buf_put_lstr(b, a->directory);
    buf_put_lstr(b, a->folder);
    buf_put_u32(b, (uint32_t)a->n_addrs);
    for (size_t i = 0; i < a->n_addrs; i++)
        codec_put_addr(b, &a->addrs[i]);
}

static void put_table(struct buf *b, const struct auth_table *t)
{
    buf_put_lstr(b, t->server);
    buf_put_lstr(b, t->user);
    buf_put_lstr(b, t->secret);
    buf_put_lstr(b, t->place);
    buf_put_lstr(b, t->question);
}

static void put_auths(struct buf *b, const struct config *c)
{
    buf_put_u32(b, (uint32_t)c->n_auths);
    for (size_t i = 0; i < c->n_auths; i++) {
        const struct auth_backend *a = &c->auths[i];
        buf_put_u8(b, (uint8_t)a->kind);
        if (a->kind == AUTH_BY_DOVECOT)
            codec_put_addr(b, &a->at);
        else if (config_is_table(a->kind))
            put_table(b, &a->table);
        else
            buf_put_lstr(b, a->service);
    }
}

static void put_oauth(struct buf *b, const struct oauth_conf *o)
{
    buf_put_u8(b, (uint8_t)o->by);
    if (o->by == OAUTH_NONE)
        return;
    const struct str texts[] = {o->issuer, o->url, o->client, o->secret, o->audience, o->scope, o->claim};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_put_lstr(b, texts[i]);
}

static void put_security(struct buf *b, const struct config *c)
{
    const struct policy_conf *p = &c->policy;
    buf_put_u32(b, (uint32_t)c->n_certificates);
    for (size_t i = 0; i < c->n_certificates; i++) {
        buf_put_lstr(b, c->certificates[i].cert);
        buf_put_lstr(b, c->certificates[i].key);
        buf_put_u32(b, (uint32_t)c->certificates[i].n_names);
        for (size_t k = 0; k < c->certificates[i].n_names; k++)
            buf_put_lstr(b, c->certificates[i].names[k]);
    }
    put_acme(b, &c->acme);
    buf_put_lstr(b, c->client_ca);
    buf_put_u32(b, (uint32_t)c->n_password_files);
    for (size_t i = 0; i < c->n_password_files; i++)
        buf_put_lstr(b, c->password_files[i]);
    put_auths(b, c);
    put_oauth(b, &c->oauth);
    buf_put_u32(b, (uint32_t)p->n_senders);
    for (size_t i = 0; i < p->n_senders; i++) {
        buf_put_lstr(b, p->senders[i].login);
        buf_put_u32(b, (uint32_t)p->senders[i].n);
        for (size_t k = 0; k < p->senders[i].n; k++)
            put_pattern(b, &p->senders[i].may[k]);
    }
}

static void put_rewrite(struct buf *b, const struct rewrite_conf *r)
{
    buf_put_lstr(b, r->from);
    buf_put_lstr(b, r->domain);
    buf_put_lstr(b, r->to);
    buf_put_u32(b, (uint32_t)r->n_names);
    for (size_t i = 0; i < r->n_names; i++) {
        buf_put_lstr(b, r->names[i].name);
        buf_put_lstr(b, r->names[i].to);
    }
}

static void put_https(struct buf *b, const struct config *c)
{
    buf_put_u32(b, (uint32_t)c->n_sts_hosts);
    for (size_t i = 0; i < c->n_sts_hosts; i++) {
        const struct sts_host *h = &c->sts_hosts[i];
        buf_put_lstr(b, h->domain);
        buf_put_u8(b, (uint8_t)h->policy.mode);
        buf_put_u32(b, h->policy.max_age_s);
        buf_put_u32(b, (uint32_t)h->policy.n_mx);
        for (size_t k = 0; k < h->policy.n_mx; k++)
            buf_put_lstr(b, h->policy.mx[k]);
    }
    buf_put_u32(b, (uint32_t)c->n_https_addrs);
    for (size_t i = 0; i < c->n_https_addrs; i++)
        codec_put_addr(b, &c->https_addrs[i]);
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
        codec_put_addr(out, &c->resolvers[i]);
    buf_put_lstr(out, c->authorities);
    buf_put_lstr(out, c->trust_anchor);
    buf_put_lstr(out, c->root_hints);
    buf_put_lstr(out, c->hosts);
    buf_put_u32(out, (uint32_t)c->n_listeners);
    for (size_t i = 0; i < c->n_listeners; i++)
        put_listener(out, &c->listeners[i]);
    put_security(out, c);
    put_https(out, c);
    put_blocks(out, c->xclient_from, c->n_xclient_from);
    put_blocks(out, c->etrn_from, c->n_etrn_from);
    buf_put_lstr(out, c->policy.verp);
    buf_put_lstr(out, c->policy.arf);
    buf_put_lstr(out, c->tls_reports);
    buf_put_lstr(out, c->tls_organization);
    buf_put_lstr(out, c->tls_contact);
    put_rewrite(out, &c->policy.rewrite);
    put_policy(out, &c->policy);
    return !out->failed;
}

/* ---- decode ------------------------------------------------------------------------------------ */

bool codec_get_bool(struct decoder *d)
{
    uint8_t v = read_u8(&d->in);
    codec_want(d, v <= 1);
    return v == 1;
}

struct str codec_get_str(struct decoder *d, const char *(*error_of)(struct str))
{
    struct str s = read_lstr(&d->in);
    codec_want(d, error_of(s) == NULL);
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

const char *codec_lower_domain_error(struct str s)
{
    return is_lower(s) && domain_is_valid(s, false) ? NULL : "";
}

const char *codec_lower_user_error(struct str s)
{
    return is_lower(s) ? value_user_error(s) : "";
}

static const char *hostname_error(struct str s)
{
    return is_lower(s) ? value_hostname_error(s) : "";
}

static const char *hostname_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : hostname_error(s);
}

const char *codec_mailbox_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_mailbox_error(s);
}

static const char *user_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : codec_lower_user_error(s);
}

static const char *tag_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_tag_error(s);
}

static const char *lower_tag_error(struct str s)
{
    return is_lower(s) ? value_tag_error(s) : "";
}

static const char *field_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_field_error(s);
}

const char *codec_no_ctl_error(struct str s)
{
    return str_has_ctl(s) ? "" : NULL;
}

void *codec_get_list(struct decoder *d, size_t max, size_t size_min, size_t size, size_t *out_n)
{
    uint32_t n = read_u32(&d->in);
    codec_want(d, n <= max && n <= d->in.rest.n / size_min);
    void *list = d->ok ? arena_alloc_array(d->arena, n, size) : NULL;
    codec_want(d, list != NULL);
    *out_n = d->ok ? n : 0;
    return list;
}

struct netaddr codec_get_addr(struct decoder *d)
{
    struct netaddr a = {.kind = NETADDR_NONE};
    uint8_t kind = read_u8(&d->in);
    struct str bytes;
    codec_want(d, kind <= NETADDR_UNIX);
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
        codec_want(d, str_starts(bytes, STR("/")) && netaddr_parse(bytes, 0, &a));
        break;
    }
    codec_want(d, true);
    return a;
}

bool codec_is_ip(const struct netaddr *a)
{
    return a->kind == NETADDR_IP4 || a->kind == NETADDR_IP6;
}

static struct netblock get_block(struct decoder *d)
{
    struct netblock b = {.addr = codec_get_addr(d)};
    b.bits = read_u8(&d->in);
    codec_want(d, codec_is_ip(&b.addr) && b.addr.port == 0 && b.addr.scope == 0 && b.bits > 0 &&
                      b.bits <= (b.addr.kind == NETADDR_IP4 ? 32 : 128));
    for (size_t i = b.bits; d->ok && i < 128; i++)
        codec_want(d, (b.addr.ip[i / 8] & (0x80u >> (i % 8))) == 0);
    return b;
}

/* A host by name, then addr holds only the port; or by address, then name is empty. */
struct next_hop codec_get_hop(struct decoder *d)
{
    struct next_hop h = {.lmtp = codec_get_bool(d)};
    h.is_smtps = codec_get_bool(d);
    codec_want(d, !h.is_smtps || !h.lmtp);
    h.host = read_lstr(&d->in);
    h.addr = codec_get_addr(d);
    if (h.host.n > 0)
        codec_want(d, h.addr.kind == NETADDR_NONE && h.addr.port != 0 &&
                          codec_lower_domain_error(h.host) == NULL);
    else
        codec_want(d, (codec_is_ip(&h.addr) && h.addr.port != 0) || h.addr.kind == NETADDR_UNIX);
    return h;
}

static const struct netblock *get_blocks(struct decoder *d, size_t *out_n)
{
    struct netblock *list = codec_get_list(d, BLOCKS_MAX, 8, sizeof *list, out_n);
    for (size_t i = 0; i < *out_n && d->ok; i++)
        list[i] = get_block(d);
    return list;
}

static void get_sources(struct decoder *d, struct policy_conf *p)
{
    struct source_pool *list = codec_get_list(d, CONFIG_SOURCES_MAX, 12, sizeof *list, &p->n_sources);
    for (size_t i = 0; i < p->n_sources && d->ok; i++) {
        struct source_pool *s = &list[i];
        s->name = codec_get_str(d, lower_tag_error);
        s->helo = codec_get_str(d, hostname_or_nothing_error);
        struct netaddr *addrs = codec_get_list(d, CONFIG_SOURCE_ADDRESSES_MAX, 7, sizeof *addrs, &s->n_addrs);
        codec_want(d, s->n_addrs > 0 && (i == 0 || str_icmp(list[i - 1].name, s->name) < 0));
        for (size_t k = 0; k < s->n_addrs && d->ok; k++) {
            addrs[k] = codec_get_addr(d);
            codec_want(d, codec_is_ip(&addrs[k]) && addrs[k].port == 0 && addrs[k].scope == 0 &&
                              !netaddr_is_any(&addrs[k]));
        }
        s->addrs = addrs;
    }
    p->sources = list;
}

static const char *login_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_login_error(s);
}

static const char *secret_or_nothing_error(struct str s)
{
    return s.n == 0 || (s.p[0] == '/' && value_path_error(s) == NULL) ? NULL : "";
}

static struct pattern get_pattern(struct decoder *d, bool may_be_null)
{
    struct pattern p = {.kind = PATTERN_ANY};
    uint8_t kind = read_u8(&d->in);
    codec_want(d, kind <= PATTERN_NULL && (kind != PATTERN_NULL || may_be_null));
    p.domain = read_lstr(&d->in);
    p.local = read_lstr(&d->in);
    if (!d->ok)
        return p;
    p.kind = (enum pattern_kind)kind;
    bool has_domain = p.kind != PATTERN_ANY && p.kind != PATTERN_NULL;
    codec_want(d, has_domain ? codec_lower_domain_error(p.domain) == NULL : p.domain.n == 0);
    codec_want(d, p.kind == PATTERN_ADDRESS
                      ? p.local.n > 0 && p.local.n <= SMTP_LOCAL_PART_TAKEN_MAX && is_lower(p.local)
                      : p.local.n == 0);
    return p;
}

static const char *path_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_path_error(s);
}

static void get_routes(struct decoder *d, struct policy_conf *p)
{
    struct route_rule *list = codec_get_list(d, CONFIG_ROUTES_MAX, 44, sizeof *list, &p->n_routes);
    for (size_t i = 0; i < p->n_routes && d->ok; i++) {
        struct route_rule *r = &list[i];
        r->from = get_pattern(d, true);
        r->to = get_pattern(d, false);
        r->tag = codec_get_str(d, tag_or_nothing_error);
        struct str source = codec_get_str(d, tag_or_nothing_error);
        uint8_t tls = read_u8(&d->in);
        codec_want(d, tls < HOP_TLS_KINDS);
        r->tls = d->ok ? (enum hop_tls)tls : HOP_TLS_MAY;
        r->auth.user = codec_get_str(d, login_or_nothing_error);
        r->auth.secret = codec_get_str(d, secret_or_nothing_error);
        r->certificate.cert = codec_get_str(d, path_or_nothing_error);
        r->certificate.key = codec_get_str(d, path_or_nothing_error);
        r->is_mx = codec_get_bool(d);
        if (d->ok && !r->is_mx)
            r->via = codec_get_hop(d);
        codec_want(d, value_route_error(r) == NULL);
        r->source = d->ok && source.n > 0 ? policy_source(p, source) : NULL;
        codec_want(d, source.n == 0 || (r->source != NULL && str_eq(r->source->name, source)));
    }
    p->routes = list;
}

static void get_policy(struct decoder *d, struct policy_conf *p)
{
    p->hostname = codec_get_str(d, hostname_error);
    p->postmaster = codec_get_str(d, codec_mailbox_or_nothing_error);
    p->relay_from = get_blocks(d, &p->n_relay_from);
    get_sources(d, p);
    get_routes(d, p);
    codec_get_domains(d, p);
}

static void get_numbers(struct decoder *d, struct config *c)
{
    for (size_t i = 0; schema_at(i) != NULL; i++) {
        const struct schema_key *k = schema_at(i);
        if (k->width == 0)
            continue;
        uint64_t v = read_u64(&d->in);
        codec_want(d, schema_in_range(k, v));
        if (d->ok)
            schema_set(k, c, v);
    }
}

static void get_resolver(struct decoder *d, struct config *c)
{
    uint8_t kind = read_u8(&d->in);
    codec_want(d, kind <= RESOLVER_ADDRESSES);
    c->resolver = d->ok ? (enum resolver_kind)kind : RESOLVER_RECURSIVE;
    struct netaddr *list = codec_get_list(d, RESOLVERS_MAX, 7, sizeof *list, &c->n_resolvers);
    for (size_t i = 0; i < c->n_resolvers && d->ok; i++) {
        list[i] = codec_get_addr(d);
        codec_want(d, codec_is_ip(&list[i]) && list[i].port != 0);
    }
    c->resolvers = list;
    codec_want(d, (c->resolver == RESOLVER_RECURSIVE) == (c->n_resolvers == 0));
    c->authorities = codec_get_str(d, anything);
    c->trust_anchor = codec_get_str(d, anything);
    c->root_hints = codec_get_str(d, anything);
    c->hosts = codec_get_str(d, anything);
}

static struct listener_conf get_listener(struct decoder *d)
{
    struct listener_conf l = {.addr = codec_get_addr(d)};
    l.lmtp = codec_get_bool(d);
    l.is_submit = codec_get_bool(d);
    l.submission = codec_get_bool(d);
    uint8_t tls = read_u8(&d->in), auth = read_u8(&d->in);
    codec_want(d, tls <= LISTEN_IMPLICIT && auth <= LISTEN_MUST_AUTH);
    l.tls = d->ok ? (enum listen_tls)tls : LISTEN_PLAIN;
    l.auth = d->ok ? (enum listen_auth)auth : LISTEN_NO_AUTH;
    l.has_proxy = codec_get_bool(d);
    l.proxy_from = get_blocks(d, &l.n_proxy_from);
    l.tag = codec_get_str(d, tag_or_nothing_error);
    l.tag_header = codec_get_str(d, field_or_nothing_error);
    l.greet_delay_s = read_u8(&d->in);
    l.normalize = codec_get_bool(d);
    l.hide_client = codec_get_bool(d);
    codec_want(d, schema_in_range(schema_find(STR("listen"), STR("greet_delay")), l.greet_delay_s));
    codec_want(d, l.addr.kind == NETADDR_UNIX || (codec_is_ip(&l.addr) && l.addr.port != 0));
    codec_want(d, (l.n_proxy_from == 0 || l.has_proxy) && !(l.lmtp && l.submission));
    codec_want(d, l.auth == LISTEN_NO_AUTH || (l.tls != LISTEN_PLAIN && l.addr.port != 25));
    codec_want(d, !l.is_submit || (l.addr.kind == NETADDR_UNIX && !l.lmtp && !l.has_proxy));
    return l;
}

static void get_listeners(struct decoder *d, struct config *c)
{
    struct listener_conf *list = codec_get_list(d, CONFIG_LISTENERS_MAX, 24, sizeof *list, &c->n_listeners);
    for (size_t i = 0; i < c->n_listeners && d->ok; i++)
        list[i] = get_listener(d);
    c->listeners = list;
}

static const char *login_error(struct str s)
{
    return is_lower(s) ? value_mailbox_error(s) : "";
}

static void get_senders(struct decoder *d, struct policy_conf *p)
{
    struct sender_right *list = codec_get_list(d, CONFIG_SENDERS_MAX, 8, sizeof *list, &p->n_senders);
    for (size_t i = 0; i < p->n_senders && d->ok; i++) {
        list[i].login = codec_get_str(d, login_error);
        struct pattern *may = codec_get_list(d, CONFIG_SENDER_PATTERNS_MAX, 9, sizeof *may, &list[i].n);
        for (size_t k = 0; k < list[i].n && d->ok; k++)
            may[k] = get_pattern(d, true);
        list[i].may = may;
        codec_want(d, i == 0 || str_icmp(list[i - 1].login, list[i].login) < 0);
    }
    p->senders = list;
}

static void get_acme(struct decoder *d, struct acme_conf *a)
{
    a->contact = codec_get_str(d, codec_mailbox_or_nothing_error);
    if (a->contact.n == 0)
        return;
    codec_want(d, a->contact.p[0] != '-');
    a->directory = codec_get_str(d, value_https_error);
    a->folder = codec_get_str(d, value_path_error);
    a->n_addrs = read_u32(&d->in);
    codec_want(d, a->n_addrs > 0 && a->n_addrs <= ARRAY_LEN(a->addrs));
    for (size_t i = 0; d->ok && i < a->n_addrs; i++) {
        a->addrs[i] = codec_get_addr(d);
        codec_want(d, codec_is_ip(&a->addrs[i]) && a->addrs[i].port > 0);
    }
}

/* What the URL says is read from it again. */
static void get_table(struct decoder *d, struct auth_backend *b)
{
    enum auth_by kind = b->kind;
    struct auth_table t = {.server = codec_get_str(d, anything)};
    const char *error =
        kind == AUTH_BY_LDAP ? table_ldap_server(t.server, &t) : table_sql_database(t.server, &kind, &t);
    struct str user = codec_get_str(d, codec_no_ctl_error);
    t.secret = codec_get_str(d, secret_or_nothing_error);
    struct str place = codec_get_str(d, codec_no_ctl_error);
    t.question = codec_get_str(d, anything);
    codec_want(d, error == NULL && kind == b->kind);
    if (kind == AUTH_BY_LDAP) {
        t.user = user;
        t.place = place;
    }
    b->table = t;
    codec_want(d, str_eq(t.user, user) && str_eq(t.place, place) && table_error(b) == NULL);
    codec_want(d, kind != AUTH_BY_SQLITE || str_starts(t.place, STR("/")));
}

static void get_auths(struct decoder *d, struct config *c)
{
    struct auth_backend *list = codec_get_list(d, CONFIG_AUTHS_MAX, 2, sizeof *list, &c->n_auths);
    for (size_t i = 0; i < c->n_auths && d->ok; i++) {
        uint8_t kind = read_u8(&d->in);
        codec_want(d, kind < AUTH_BY_N);
        list[i].kind = d->ok ? (enum auth_by)kind : AUTH_BY_DOVECOT;
        if (list[i].kind == AUTH_BY_DOVECOT)
            list[i].at = codec_get_addr(d);
        else if (config_is_table(list[i].kind))
            get_table(d, &list[i]);
        else
            list[i].service = codec_get_str(d, value_service_error);
        codec_want(d, list[i].kind != AUTH_BY_DOVECOT || list[i].at.kind == NETADDR_UNIX);
    }
    c->auths = list;
    d->n_auths = c->n_auths;
}

static void get_oauth(struct decoder *d, struct oauth_conf *o)
{
    uint8_t by = read_u8(&d->in);
    codec_want(d, by <= OAUTH_JWKS);
    o->by = d->ok ? (enum oauth_by)by : OAUTH_NONE;
    d->has_tokens = o->by != OAUTH_NONE;
    if (!d->has_tokens)
        return;
    o->issuer = codec_get_str(d, anything);
    o->url = codec_get_str(d, anything);
    o->client = codec_get_str(d, anything);
    o->secret = codec_get_str(d, secret_or_nothing_error);
    o->audience = codec_get_str(d, anything);
    o->scope = codec_get_str(d, anything);
    o->claim = codec_get_str(d, anything);
    codec_want(d, d->ok && config_oauth_problem(o) == NULL);
    codec_want(d, d->ok && value_https_host(o->url, &o->host, &o->port) == NULL);
}

static void get_security(struct decoder *d, struct config *c)
{
    struct certificate_conf *list =
        codec_get_list(d, CONFIG_CERTIFICATES_MAX, 12, sizeof *list, &c->n_certificates);
    for (size_t i = 0; i < c->n_certificates && d->ok; i++) {
        list[i].cert = codec_get_str(d, value_path_error);
        list[i].key = codec_get_str(d, value_path_error);
        struct str *names = codec_get_list(d, ACME_NAMES_MAX, 4, sizeof *names, &list[i].n_names);
        for (size_t k = 0; k < list[i].n_names && d->ok; k++)
            names[k] = codec_get_str(d, codec_lower_domain_error);
        list[i].names = names;
    }
    c->certificates = list;
    get_acme(d, &c->acme);
    for (size_t i = 0; i < c->n_certificates && d->ok; i++)
        codec_want(d, list[i].n_names == 0 || c->acme.contact.n > 0);
    c->client_ca = codec_get_str(d, anything);
    struct str *files = codec_get_list(d, CONFIG_PASSWORD_FILES_MAX, 4, sizeof *files, &c->n_password_files);
    for (size_t i = 0; i < c->n_password_files && d->ok; i++)
        files[i] = codec_get_str(d, value_path_error);
    c->password_files = files;
    d->n_password_files = c->n_password_files;
    get_auths(d, c);
    get_oauth(d, &c->oauth);
    get_senders(d, &c->policy);
    for (size_t i = 0; i < c->n_listeners && d->ok; i++)
        codec_want(d, c->listeners[i].tls == LISTEN_PLAIN || c->n_certificates > 0);
}

static const char *mx_error(struct str s)
{
    return is_lower(s) && mta_sts_is_pattern(s) ? NULL : "";
}

static void get_policy_of(struct decoder *d, struct mta_sts_own *out)
{
    uint8_t mode = read_u8(&d->in);
    codec_want(d, mode <= MTA_STS_ENFORCE);
    out->mode = d->ok ? (enum mta_sts_mode)mode : MTA_STS_NONE;
    out->max_age_s = read_u32(&d->in);
    struct str *mx = codec_get_list(d, MTA_STS_OWN_MX_MAX, 4, sizeof *mx, &out->n_mx);
    for (size_t i = 0; i < out->n_mx && d->ok; i++)
        mx[i] = codec_get_str(d, mx_error);
    out->mx = mx;
    codec_want(d, out->max_age_s <= MTA_STS_MAX_AGE_S && (out->n_mx > 0) == (out->mode != MTA_STS_NONE));
}

static void get_https(struct decoder *d, struct config *c)
{
    struct sts_host *list = codec_get_list(d, CONFIG_DOMAINS_MAX, 13, sizeof *list, &c->n_sts_hosts);
    for (size_t i = 0; i < c->n_sts_hosts && d->ok; i++) {
        list[i].domain = codec_get_str(d, codec_lower_domain_error);
        get_policy_of(d, &list[i].policy);
        codec_want(d, i == 0 || str_cmp(list[i - 1].domain, list[i].domain) < 0);
    }
    c->sts_hosts = list;
    codec_want(d, c->n_sts_hosts == 0 || c->n_certificates > 0);
    c->n_https_addrs = read_u32(&d->in);
    codec_want(d, c->n_https_addrs <= HTTPS_ADDRESSES_MAX && (c->n_https_addrs > 0) == config_wants_https(c));
    for (size_t i = 0; d->ok && i < c->n_https_addrs; i++) {
        c->https_addrs[i] = codec_get_addr(d);
        codec_want(d, codec_is_ip(&c->https_addrs[i]) && c->https_addrs[i].port > 0);
    }
}

static const char *domain_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : codec_lower_domain_error(s);
}

static void get_rewrite(struct decoder *d, struct rewrite_conf *r)
{
    r->from = codec_get_str(d, codec_mailbox_or_nothing_error);
    r->domain = codec_get_str(d, domain_or_nothing_error);
    r->to = codec_get_str(d, codec_mailbox_or_nothing_error);
    struct rewrite_name *list = codec_get_list(d, CONFIG_REWRITES_MAX, 8, sizeof *list, &r->n_names);
    for (size_t i = 0; i < r->n_names && d->ok; i++) {
        list[i].name = codec_get_str(d, codec_lower_user_error);
        list[i].to = codec_get_str(d, value_mailbox_error);
        codec_want(d, i == 0 || str_icmp(list[i - 1].name, list[i].name) < 0);
    }
    r->names = list;
}

static const char *reporter_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_ascii_mailbox_error(s);
}

static const char *contact_or_nothing_error(struct str s)
{
    return s.n == 0 ? NULL : value_contact_error(s);
}

static void get_tls_reports(struct decoder *d, struct config *c)
{
    c->tls_reports = codec_get_str(d, reporter_or_nothing_error);
    c->tls_organization = codec_get_str(d, contact_or_nothing_error);
    c->tls_contact = codec_get_str(d, contact_or_nothing_error);
    codec_want(d, c->tls_reports.n == 0 || (c->tls_organization.n > 0 && c->tls_contact.n > 0));
}

const struct config *config_decode(struct str bytes, struct arena *a)
{
    struct decoder d = {.in = reader_of(bytes), .arena = a, .ok = true};
    struct config *c = arena_new(a, struct config);
    if (c == NULL || read_u32(&d.in) != MAGIC || read_u16(&d.in) != VERSION)
        return NULL;
    c->generation = read_u64(&d.in);
    get_numbers(&d, c);
    c->spool = codec_get_str(&d, value_path_error);
    c->control = codec_get_str(&d, value_path_error);
    c->journal = codec_get_str(&d, value_path_error);
    codec_want(&d, c->control.n <= NETADDR_PATH_MAX);
    get_resolver(&d, c);
    get_listeners(&d, c);
    get_security(&d, c);
    get_https(&d, c);
    c->xclient_from = get_blocks(&d, &c->n_xclient_from);
    c->etrn_from = get_blocks(&d, &c->n_etrn_from);
    c->policy.verp = codec_get_str(&d, user_or_nothing_error);
    codec_want(&d, c->policy.verp.n <= VERP_NAME_MAX);
    c->policy.arf = codec_get_str(&d, codec_mailbox_or_nothing_error);
    get_tls_reports(&d, c);
    get_rewrite(&d, &c->policy.rewrite);
    get_policy(&d, &c->policy);
    return d.ok && reader_done(&d.in) && config_derive(c, a) ? c : NULL;
}
