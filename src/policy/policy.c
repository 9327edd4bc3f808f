/* policy/policy.c: the verdict on a recipient, and where its mail goes.
 *
 * One rule keeps this from being an open relay: a domain is ours only when it stands in the table, whatever
 * the local part says, and what is in a local part is never read as another address.
 */
#include "policy/policy.h"

#include "base/limits.h"

#include <string.h>

enum {
    REDIRECTIONS_MAX = 4,
    ROUTE_TEXT_MAX = 1024,
    PATH_LENGTH_MAX = 4095, /* PATH_MAX without its NUL */
    PATH_COMPONENT_MAX = 255,
};

/* ---- domains and users ------------------------------------------------------------------------- */

const struct local_domain *policy_domain(const struct policy_conf *p, struct str name)
{
    size_t from = 0, to = p->n_domains;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int c = str_icmp(name, p->domains[mid].name);
        if (c == 0)
            return &p->domains[mid];
        if (c < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return NULL;
}

/* The domain whose users d has: itself, or the one it is same_as. */
static const struct local_domain *home_of(const struct policy_conf *p, const struct local_domain *d)
{
    const struct local_domain *other = d->same_as.n > 0 ? policy_domain(p, d->same_as) : NULL;
    return other != NULL ? other : d;
}

static bool lists_user(const struct local_domain *d, struct str user)
{
    size_t from = 0, to = d->n_users;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        int c = str_icmp(user, d->users[mid]);
        if (c == 0)
            return true;
        if (c < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return false;
}

/* "joe%other.example", "other.example!joe", "joe@other.example" (quoted), "../joe": old ways to ask a server
 * to send a message on, and paths. */
static bool looks_like_route(struct str user)
{
    for (size_t i = 0; i < user.n; i++) {
        if (memchr("%!@/", user.p[i], 4) != NULL)
            return true;
    }
    return user.n == 0 || user.p[0] == '.' || str_has_ctl(user);
}

bool policy_has_user(const struct local_domain *d, struct str user)
{
    if (!d->any_user)
        return lists_user(d, user);
    if (looks_like_route(user))
        return false;
    if (d->deliver.kind != DELIVER_MAILDIR)
        return true;
    char mem[PATH_LENGTH_MAX + 1];
    struct buf path;
    buf_init_fixed(&path, mem, sizeof mem);
    return policy_maildir(&d->deliver, user, d->name, &path);
}

static bool is_reserved(struct str user)
{
    return str_ieq(user, STR("postmaster")) || str_ieq(user, STR("abuse"));
}

/* The local part as a user name: without quotes. false for what can't be one. */
static bool user_of(const struct address *a, struct buf *out)
{
    bool needs_quotes = false;
    local_part_unquote(a->local, out, &needs_quotes);
    return !out->failed && out->n > 0;
}

bool policy_may_relay(const struct policy_conf *p, const struct netaddr *client)
{
    for (size_t i = 0; i < p->n_relay_from; i++) {
        if (netblock_has(&p->relay_from[i], client))
            return true;
    }
    return false;
}

static bool accepts(const struct policy_conf *p, const struct local_domain *d, struct str user)
{
    const struct local_domain *home = home_of(p, d);
    return is_reserved(user) || policy_has_user(home, user) ||
           (home->catchall.n > 0 && !looks_like_route(user));
}

enum rcpt_class policy_rcpt(const struct policy_conf *p, const struct netaddr *client,
                            const struct address *to)
{
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf user;
    buf_init_fixed(&user, mem, sizeof mem);
    bool has_user = user_of(to, &user);
    switch (to->kind) {
    case DOMAIN_NONE:
        return has_user && str_ieq(buf_str(&user), STR("postmaster")) ? RCPT_LOCAL : RCPT_BAD_ADDRESS;
    case DOMAIN_LITERAL:
        return RCPT_BAD_ADDRESS;
    case DOMAIN_NAME:
        break;
    }
    const struct local_domain *d = policy_domain(p, to->domain);
    if (d == NULL)
        return policy_may_relay(p, client) ? RCPT_RELAY : RCPT_RELAY_DENIED;
    return has_user && accepts(p, d, buf_str(&user)) ? RCPT_LOCAL : RCPT_NO_SUCH_USER;
}

/* ---- routes ------------------------------------------------------------------------------------ */

static struct str put_lower(struct buf *text, struct str s)
{
    size_t at = text->n;
    for (size_t i = 0; i < s.n; i++)
        buf_putc(text, ascii_lower(s.p[i]));
    return str_skip(buf_str(text), at);
}

/* To a user of d itself; rcpt is the address that led here, or empty when it must be written anew. */
static void route_to_user(const struct local_domain *d, struct str user, struct str rcpt, struct buf *text,
                          struct route *out)
{
    out->deliver = &d->deliver;
    out->domain = d->name;
    out->user = put_lower(text, user);
    out->rcpt = rcpt;
    if (rcpt.n == 0) {
        size_t at = text->n;
        address_format(out->user, d->name, text);
        out->rcpt = str_skip(buf_str(text), at);
    }
    switch (d->deliver.kind) {
    case DELIVER_NONE:
        out->kind = ROUTE_NOWHERE;
        break;
    case DELIVER_MAILDIR:
        out->kind = ROUTE_MAILDIR;
        break;
    case DELIVER_LMTP:
        out->kind = ROUTE_LMTP;
        break;
    }
}

static void route_abroad(const struct policy_conf *p, const struct address *to, struct buf *text,
                         struct route *out)
{
    out->rcpt = to->text;
    if (p->has_smart_host) {
        out->kind = ROUTE_HOST;
    } else if (to->kind == DOMAIN_NAME) {
        out->kind = ROUTE_MX;
        out->domain = put_lower(text, to->domain);
    }
}

/* One step for a user of ours. Returns an address to go on with, or the empty slice when *out is final (it is
 * ROUTE_NOWHERE until something is found). rcpt: the address as it stands, or empty. */
static struct str route_local(const struct policy_conf *p, const struct local_domain *d, struct str user,
                              struct str rcpt, struct buf *text, struct route *out)
{
    const struct local_domain *home = home_of(p, d);
    struct str kept = home == d ? rcpt : STR_NIL;
    if (lists_user(home, user)) {
        route_to_user(home, user, kept, text, out);
        return STR_NIL;
    }
    if (is_reserved(user) && p->postmaster.n > 0 && !str_ieq(rcpt, p->postmaster))
        return p->postmaster;
    if (policy_has_user(home, user)) {
        route_to_user(home, user, kept, text, out);
        return STR_NIL;
    }
    if (home->catchall.n == 0 || (looks_like_route(user) && !is_reserved(user)))
        return STR_NIL;
    if (str_chr(home->catchall, '@') != STR_NPOS)
        return home->catchall;
    if (policy_has_user(home, home->catchall))
        route_to_user(home, home->catchall, STR_NIL, text, out);
    return STR_NIL;
}

/* Whose postmaster a bare <postmaster> is when the configuration names no address: that of the domain we are
 * named after, else of the first domain that has one. */
static const struct local_domain *postmaster_domain(const struct policy_conf *p)
{
    const struct local_domain *d = policy_domain(p, p->hostname);
    if (d != NULL && accepts(p, d, STR("postmaster")))
        return d;
    for (size_t i = 0; i < p->n_domains; i++) {
        if (policy_has_user(home_of(p, &p->domains[i]), STR("postmaster")))
            return &p->domains[i];
    }
    return NULL;
}

static struct str route_bare(const struct policy_conf *p, struct str name, struct buf *text,
                             struct route *out)
{
    if (!str_ieq(name, STR("postmaster")))
        return STR_NIL;
    if (p->postmaster.n > 0)
        return p->postmaster;
    const struct local_domain *d = postmaster_domain(p);
    return d != NULL ? route_local(p, d, STR("postmaster"), STR_NIL, text, out) : STR_NIL;
}

static struct str route_step(const struct policy_conf *p, struct str rcpt, struct buf *text,
                             struct route *out)
{
    struct address a;
    if (str_chr(rcpt, '@') == STR_NPOS)
        return route_bare(p, rcpt, text, out);
    if (address_parse(rcpt, true, &a) != NULL)
        return STR_NIL;
    const struct local_domain *d = a.kind == DOMAIN_NAME ? policy_domain(p, a.domain) : NULL;
    if (d == NULL) {
        route_abroad(p, &a, text, out);
        return STR_NIL;
    }
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf user;
    buf_init_fixed(&user, mem, sizeof mem);
    return user_of(&a, &user) ? route_local(p, d, buf_str(&user), rcpt, text, out) : STR_NIL;
}

void policy_route(const struct policy_conf *p, struct str rcpt, struct buf *text, struct route *out)
{
    /* The room is made before the first slice, so that no later append moves it. */
    must(buf_reserve(text, ROUTE_TEXT_MAX));
    struct str at = rcpt;
    *out = (struct route){.kind = ROUTE_NOWHERE, .rcpt = rcpt};
    for (unsigned i = 0; i <= REDIRECTIONS_MAX; i++) {
        at = route_step(p, at, text, out);
        if (at.n == 0)
            return;
    }
}

static void put_host(struct str host, const struct netaddr *addr, uint16_t port, struct buf *out)
{
    if (host.n == 0) {
        netaddr_format(addr, out);
        return;
    }
    buf_put(out, host);
    buf_printf(out, ":%u", (unsigned)port);
}

void policy_site(const struct policy_conf *p, const struct route *r, struct buf *out)
{
    const struct policy_route *via = &p->smart_host;
    switch (r->kind) {
    case ROUTE_MAILDIR:
        buf_puts(out, "maildir:");
        buf_put(out, r->deliver->user_name.n > 0 ? r->deliver->user_name : r->deliver->maildir);
        break;
    case ROUTE_LMTP:
        buf_puts(out, "lmtp:");
        put_host(r->deliver->lmtp_host, &r->deliver->lmtp, r->deliver->lmtp.port, out);
        break;
    case ROUTE_HOST: {
        struct netaddr addr = via->via_addr;
        addr.port = via->via_port;
        buf_puts(out, "host:");
        put_host(via->via_host, &addr, via->via_port, out);
        break;
    }
    case ROUTE_MX:
        buf_puts(out, "mx:");
        buf_put(out, r->domain);
        break;
    case ROUTE_NOWHERE:
        buf_puts(out, "nowhere");
        break;
    }
}

/* ---- Maildir paths ----------------------------------------------------------------------------- */

static bool is_path_part(struct str s)
{
    return s.n > 0 && s.p[0] != '.' && str_chr(s, '/') == STR_NPOS && !str_has_ctl(s);
}

static bool is_usable_path(struct str path)
{
    if (path.n == 0 || path.n > PATH_LENGTH_MAX || path.p[0] != '/')
        return false;
    while (path.n > 0) {
        if (str_cut(&path, '/').n > PATH_COMPONENT_MAX)
            return false;
    }
    return true;
}

/* false for a template that config/ would not let in. */
static bool expand(struct str template, struct str user, struct str domain, struct buf *out)
{
    for (size_t i = 0; i < template.n; i++) {
        char c = template.p[i];
        if (c != '%') {
            buf_putc(out, c);
            continue;
        }
        char letter = ++i < template.n ? template.p[i] : '\0';
        if (letter == 'u')
            buf_put(out, user);
        else if (letter == 'd')
            buf_put(out, domain);
        else if (letter == '%')
            buf_putc(out, '%');
        else
            return false;
    }
    return !out->failed;
}

bool policy_maildir(const struct deliver *d, struct str user, struct str domain, struct buf *out)
{
    size_t start = out->n;
    if (is_path_part(user) && is_path_part(domain) && expand(d->maildir, user, domain, out) &&
        is_usable_path(str_skip(buf_str(out), start)))
        return true;
    out->n = start;
    return false;
}
