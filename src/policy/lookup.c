/* policy/lookup.c: domains, users and aliases of ours, found by name.
 *
 * The order in which a local part is looked up is what local(8) and virtual(5) of Postfix share with Exim's
 * usual routers (aliases before users): the full name as an alias, the name without its plus part as an
 * alias, the full name as a user, the name without its plus part as a user, the catch-all. virtual(5) tries
 * user+detail, then user, then @domain; Exim does the same with local_part_suffix_optional.
 */
#include "policy/lookup.h"

#include <string.h>

/* ---- tables ------------------------------------------------------------------------------------ */

/* The place of name in a sorted table whose rows begin with their name, or NULL. */
static const void *find(const void *table, size_t n, size_t size, struct str name)
{
    size_t from = 0, to = n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        const struct str *row = (const void *)((const char *)table + mid * size);
        int c = str_icmp(name, *row);
        if (c == 0)
            return row;
        if (c < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return NULL;
}
_Static_assert(offsetof(struct local_domain, name) == 0 && offsetof(struct alias, name) == 0 &&
                   offsetof(struct system_user, name) == 0 && offsetof(struct source_pool, name) == 0,
               "find() takes the name from the front");

const struct alias *policy_alias(const struct local_domain *d, struct str name)
{
    return find(d->aliases, d->n_aliases, sizeof *d->aliases, name);
}

const struct system_user *policy_system_user(const struct local_domain *d, struct str name)
{
    return find(d->system_users, d->n_system_users, sizeof *d->system_users, name);
}

const struct source_pool *policy_source(const struct policy_conf *p, struct str name)
{
    return find(p->sources, p->n_sources, sizeof *p->sources, name);
}

static bool lists_user(const struct local_domain *d, struct str user)
{
    return find(d->users, d->n_users, sizeof *d->users, user) != NULL || policy_system_user(d, user) != NULL;
}

/* ---- domains ----------------------------------------------------------------------------------- */

bool lookup_ascii(const struct policy_conf *p, struct str domain, struct buf *out)
{
    size_t start = out->n;
    if (str_is_ascii(domain)) {
        for (size_t i = 0; i < domain.n; i++)
            buf_putc(out, ascii_lower(domain.p[i]));
        return !out->failed;
    }
    if (p->to_ascii != NULL && p->to_ascii(domain, out) && !out->failed)
        return true;
    out->n = start;
    return false;
}

static const struct local_domain *rest_of_the_world(const struct policy_conf *p)
{
    return p->n_domains > 0 && str_eq(p->domains[0].name, STR("*")) ? &p->domains[0] : NULL;
}

static const struct local_domain *domain_of(const struct policy_conf *p, struct str ascii)
{
    const struct local_domain *d = find(p->domains, p->n_domains, sizeof *p->domains, ascii);
    return d != NULL || ascii.n == 0 ? d : rest_of_the_world(p);
}

const struct local_domain *policy_domain(const struct policy_conf *p, struct str name)
{
    char mem[LOOKUP_NAME_MAX];
    struct buf ascii;
    if (str_is_ascii(name))
        return domain_of(p, name);
    buf_init_fixed(&ascii, mem, sizeof mem);
    return lookup_ascii(p, name, &ascii) ? domain_of(p, buf_str(&ascii)) : NULL;
}

/* The domain whose users d has: itself, or the one it is same_as. */
static const struct local_domain *home_of(const struct policy_conf *p, const struct local_domain *d)
{
    const struct local_domain *other = d->same_as.n > 0 ? policy_domain(p, d->same_as) : NULL;
    return other != NULL ? other : d;
}

bool lookup_domain(const struct policy_conf *p, const struct address *a, struct buf *mem, struct ours *out)
{
    size_t start = mem->n;
    if (a->kind == DOMAIN_NONE || !lookup_ascii(p, a->domain, mem))
        return false;
    struct str name = str_skip(buf_str(mem), start);
    const struct local_domain *d = a->kind == DOMAIN_NAME ? domain_of(p, name) : rest_of_the_world(p);
    if (d == NULL) {
        mem->n = start;
        return false;
    }
    *out = (struct ours){d, home_of(p, d), name};
    return true;
}

bool lookup_is_own_address(const struct policy_conf *p, const struct netaddr *literal)
{
    for (size_t i = 0; i < p->n_addresses; i++) {
        if (netaddr_same_ip(&p->addresses[i], literal))
            return true;
    }
    return false;
}

/* ---- users ------------------------------------------------------------------------------------- */

/* "joe%other.example", "other.example!joe", "joe@other.example" (quoted), "../joe": old ways to ask a server
 * to send a message on, and paths. What we relay becomes no path here. */
static bool looks_like_route(const struct local_domain *d, struct str user)
{
    bool is_relayed = d->relay != DOMAIN_ENDS_HERE;
    for (size_t i = 0; i < user.n; i++) {
        if (memchr("%!@/", user.p[i], is_relayed ? 3 : 4) != NULL)
            return true;
    }
    return user.n == 0 || (user.p[0] == '.' && !is_relayed) || str_has_ctl(user);
}

bool policy_has_user(const struct local_domain *d, struct str user)
{
    if (lists_user(d, user))
        return true;
    if ((!d->any_user && !d->callout) || looks_like_route(d, user))
        return false;
    if (d->deliver.kind != DELIVER_MAILDIR)
        return true;
    char mem[4096];
    struct buf path;
    buf_init_fixed(&path, mem, sizeof mem);
    struct str name = str_eq(d->name, STR("*")) ? STR("x") : d->name;
    return policy_maildir(&d->deliver, user, name, STR("/"), &path);
}

bool lookup_is_reserved(struct str user)
{
    return str_ieq(user, STR("postmaster")) || str_ieq(user, STR("abuse"));
}

bool lookup_user(const struct address *a, struct buf *out)
{
    bool needs_quotes = false;
    size_t start = out->n;
    local_part_unquote(a->local, out, &needs_quotes);
    return !out->failed && out->n > start;
}

/* Parts "joe+tag"; false when there is nothing to part. */
static bool split_plus(const struct local_domain *d, struct str local, struct str *user, struct str *detail)
{
    for (size_t i = 1; i < local.n && d->plus.n > 0; i++) {
        if (str_chr(d->plus, local.p[i]) == STR_NPOS)
            continue;
        *user = str_slice(local, 0, i);
        *detail = str_skip(local, i + 1);
        return true;
    }
    return false;
}

static bool has_lists(const struct local_domain *d)
{
    for (size_t i = 0; i < d->n_aliases; i++) {
        if (d->aliases[i].owner.n > 0)
            return true;
    }
    return false;
}

struct found lookup_local(const struct policy_conf *p, const struct ours *o, struct str local,
                          struct str whole, unsigned flags)
{
    const struct local_domain *home = o->home;
    struct str base = local, detail = STR_NIL;
    bool is_parted = split_plus(home, local, &base, &detail);
    struct verp verp;
    if (verp_parse(local, p->verp, &verp) && has_lists(home)) /* before an alias or user of that name */
        return (struct found){.kind = FOUND_REPORT};
    if ((flags & LOOKUP_USE_ALIASES) != 0) {
        const struct alias *alias = policy_alias(home, local);
        if (alias == NULL && is_parted)
            alias = policy_alias(home, base);
        if (alias != NULL)
            return (struct found){.kind = FOUND_ALIAS, .alias = alias};
    }
    if (lists_user(home, local))
        return (struct found){.kind = FOUND_USER, .user = local};
    if (is_parted && lists_user(home, base))
        return (struct found){.kind = FOUND_USER, .user = base, .detail = detail};
    /* People who write to the name alone: no list is named. */
    if (p->verp.n > 0 && str_ieq(local, p->verp) && has_lists(home))
        return (struct found){.kind = FOUND_REDIRECT, .redirect = STR("postmaster")};
    /* Of a domain that we only relay, the host behind us has a postmaster of its own. */
    bool is_reserved = lookup_is_reserved(local);
    bool is_passed_on = home->relay != DOMAIN_ENDS_HERE && (home->any_user || home->callout);
    if (is_reserved && !is_passed_on && p->postmaster.n > 0 && !str_ieq(whole, p->postmaster))
        return (struct found){.kind = FOUND_REDIRECT, .redirect = p->postmaster};
    if (policy_has_user(home, base))
        return (struct found){.kind = FOUND_USER, .user = base, .detail = detail};
    if (home->catchall.n > 0 && (is_reserved || !looks_like_route(home, local)))
        return (struct found){.kind = FOUND_REDIRECT, .redirect = home->catchall};
    return (struct found){.kind = FOUND_NOTHING};
}

const struct local_domain *lookup_postmaster_domain(const struct policy_conf *p)
{
    /* that of the domain we are named after, else of the first domain that has one */
    const struct local_domain *d = policy_domain(p, p->hostname);
    if (d != NULL)
        return d;
    for (size_t i = 0; i < p->n_domains; i++) {
        const struct local_domain *home = home_of(p, &p->domains[i]);
        if (policy_has_user(home, STR("postmaster")) || policy_alias(home, STR("postmaster")) != NULL)
            return &p->domains[i];
    }
    return NULL;
}

bool policy_verp(const struct policy_conf *p, struct str address, struct buf *mem, struct verp_path *out)
{
    char name_mem[LOOKUP_NAME_MAX];
    struct buf name;
    struct address a;
    struct ours o;
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    if (p->verp.n == 0 || address_parse(address, true, &a) != NULL || !lookup_user(&a, mem) ||
        !verp_parse(buf_str(mem), p->verp, &out->parts) || !lookup_domain(p, &a, &name, &o) ||
        !has_lists(o.home))
        return false;
    out->home = o.home;
    return true;
}
