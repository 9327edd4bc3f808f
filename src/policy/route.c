/* policy/route.c: where a recipient goes, and what its destination is called. */
#include "policy/lookup.h"
#include "policy/pattern.h"

enum { REDIRECTIONS_MAX = 4, ROUTE_TEXT_MAX = 4096, SMTP_PORT = 25 };

struct routing {
    const struct policy_conf *p;
    const struct route_ask *ask;
    struct buf *text;
    struct route *out;
};

/* ---- users of ours ----------------------------------------------------------------------------- */

static struct str put_lower(struct buf *text, struct str s)
{
    size_t at = text->n;
    for (size_t i = 0; i < s.n; i++)
        buf_putc(text, ascii_lower(s.p[i]));
    return str_skip(buf_str(text), at);
}

/* Who the process becomes that writes the mail of this user. */
static void set_owner(const struct local_domain *home, struct route *out)
{
    const struct system_user *su = policy_system_user(home, out->user);
    out->login = su != NULL ? su->name : out->deliver->user_name;
    out->uid = su != NULL ? su->uid : out->deliver->uid;
    out->gid = su != NULL ? su->gid : out->deliver->gid;
    out->home = su != NULL ? su->home : STR_NIL;
}

static void pass_on(const struct ours *o, struct str rcpt, struct route *out)
{
    out->rcpt = rcpt;
    out->domain = o->name;
    out->kind = o->home->relay == DOMAIN_RELAY_MX ? ROUTE_MX : ROUTE_HOST;
    out->via = o->home->via;
    out->tls = out->kind == ROUTE_HOST ? policy_usual_tls(&out->via, false) : HOP_TLS_MAY;
}

/* The user's mailbox has the name of its home domain: an address in a same_as domain is written anew. */
static void route_to_user(struct routing *r, const struct ours *o, const struct found *f, struct str rcpt)
{
    struct route *out = r->out;
    if (o->home->relay != DOMAIN_ENDS_HERE) {
        pass_on(o, rcpt, out);
        return;
    }
    out->deliver = &o->home->deliver;
    out->domain = o->home == o->domain ? o->name : o->home->name;
    out->user = put_lower(r->text, f->user);
    out->detail = f->detail.n > 0 ? put_lower(r->text, f->detail) : STR_NIL;
    out->rcpt = rcpt;
    if (o->home != o->domain) {
        char mem[SMTP_LOCAL_PART_TAKEN_MAX + 1];
        struct buf local;
        size_t at = r->text->n;
        buf_init_fixed(&local, mem, sizeof mem);
        buf_put(&local, out->user);
        if (out->detail.n > 0) {
            /* f's slices lie in the address: the octet between them is the one that parts them */
            buf_putc(&local, f->user.p[f->user.n]);
            buf_put(&local, out->detail);
        }
        address_format(buf_str(&local), out->domain, r->text);
        out->rcpt = str_skip(buf_str(r->text), at);
    }
    set_owner(o->home, out);
    switch (out->deliver->kind) {
    case DELIVER_NONE:
        out->kind = ROUTE_NOWHERE;
        break;
    case DELIVER_MAILDIR:
        out->kind = ROUTE_MAILDIR;
        break;
    case DELIVER_LMTP:
        out->kind = ROUTE_LMTP;
        break;
    case DELIVER_PIPE:
        out->kind = ROUTE_PIPE;
        break;
    }
}

static struct str with_domain(struct routing *r, struct str user, struct str domain)
{
    size_t at = r->text->n;
    address_format(user, domain, r->text);
    return str_skip(buf_str(r->text), at);
}

/* One step for a name of ours. Returns an address to go on with, or the empty slice when *out is final (it is
 * ROUTE_NOWHERE until something is found). */
static struct str route_local(struct routing *r, const struct ours *o, struct str local, struct str rcpt)
{
    struct found f = lookup_local(r->p, o, local, rcpt, 0);
    switch (f.kind) {
    case FOUND_USER:
        route_to_user(r, o, &f, rcpt);
        return STR_NIL;
    case FOUND_REDIRECT:
        if (str_chr(f.redirect, '@') != STR_NPOS)
            return f.redirect;
        if (!str_ieq(f.redirect, local)) /* "*" has no name of its own: the address's domain is meant */
            return with_domain(r, f.redirect, o->home == o->domain ? o->name : o->home->name);
        return STR_NIL;
    case FOUND_ALIAS:  /* not asked for */
    case FOUND_REPORT: /* the queue reads them: nobody has a mailbox of that name */
    case FOUND_NOTHING:
        break;
    }
    return STR_NIL;
}

/* A bare <postmaster>, or one at an address literal of ours. */
static struct str route_postmaster(struct routing *r)
{
    const struct local_domain *d = lookup_postmaster_domain(r->p);
    if (r->p->postmaster.n > 0)
        return r->p->postmaster;
    if (d == NULL)
        return STR_NIL;
    return with_domain(r, STR("postmaster"), str_eq(d->name, STR("*")) ? r->p->hostname : d->name);
}

/* ---- foreign domains --------------------------------------------------------------------------- */

static const struct route_rule *find_rule(const struct routing *r, struct str rcpt)
{
    char mem[2 * PATTERN_SUBJECT_MAX];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    if (r->p->n_routes == 0)
        return NULL;
    struct subject from = pattern_subject(r->p, r->ask->sender, &text);
    struct subject to = pattern_subject(r->p, rcpt, &text);
    for (size_t i = 0; i < r->p->n_routes; i++) {
        const struct route_rule *rule = &r->p->routes[i];
        if (pattern_matches(&rule->to, &to) && pattern_matches(&rule->from, &from) &&
            (rule->tag.n == 0 || str_eq(rule->tag, r->ask->tag)))
            return rule;
    }
    return NULL;
}

static void route_abroad(struct routing *r, const struct address *to)
{
    struct route *out = r->out;
    const struct route_rule *rule = find_rule(r, to->text);
    out->rcpt = to->text;
    out->source = rule != NULL ? rule->source : NULL;
    out->tls = rule != NULL ? rule->tls : HOP_TLS_MAY;
    out->certificate = rule != NULL ? rule->certificate.cert : STR_NIL;
    if (rule != NULL && !rule->is_mx) { /* a smart host takes literals too, as Postfix's relayhost does */
        out->kind = ROUTE_HOST;
        out->via = rule->via;
        out->auth = rule->auth;
        return;
    }
    size_t at = r->text->n;
    if (to->kind == DOMAIN_NAME && lookup_ascii(r->p, to->domain, r->text)) {
        out->kind = ROUTE_MX;
        out->domain = str_skip(buf_str(r->text), at);
    } else if (to->literal.kind != NETADDR_NONE && !netaddr_is_loopback(&to->literal) &&
               !netaddr_is_any(&to->literal)) {
        out->kind = ROUTE_HOST;
        out->via.addr = to->literal;
        out->via.addr.port = r->p->mx_port != 0 ? r->p->mx_port : SMTP_PORT;
    }
}

/* ---- steps ------------------------------------------------------------------------------------- */

static struct str route_step(struct routing *r, struct str rcpt)
{
    struct address a;
    struct ours o;
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf user;
    if (str_chr(rcpt, '@') == STR_NPOS)
        return str_ieq(rcpt, STR("postmaster")) ? route_postmaster(r) : STR_NIL;
    if (address_parse(rcpt, true, &a) != NULL)
        return STR_NIL;
    buf_init_fixed(&user, mem, sizeof mem);
    bool has_user = lookup_user(&a, &user);
    if (lookup_domain(r->p, &a, r->text, &o))
        return has_user ? route_local(r, &o, buf_str(&user), rcpt) : STR_NIL;
    if (a.kind != DOMAIN_LITERAL || !lookup_is_own_address(r->p, &a.literal)) {
        route_abroad(r, &a);
        return STR_NIL;
    }
    return has_user && str_ieq(buf_str(&user), STR("postmaster")) ? route_postmaster(r) : STR_NIL;
}

static bool route_to_pipe(struct routing *r, const struct rcpt *rcpt)
{
    struct route *out = r->out;
    struct address a;
    struct ours o;
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf user;
    const struct deliver *pipe = policy_pipe(r->p, rcpt->address, rcpt->target);
    buf_init_fixed(&user, mem, sizeof mem);
    if (pipe == NULL || address_parse(rcpt->address, true, &a) != NULL || !lookup_user(&a, &user) ||
        !lookup_domain(r->p, &a, r->text, &o))
        return false;
    struct found f = lookup_local(r->p, &o, buf_str(&user), a.text, LOOKUP_USE_ALIASES);
    must(f.kind == FOUND_ALIAS); /* it has a pipe */
    struct str name = f.alias->name;
    out->kind = ROUTE_PIPE;
    out->deliver = pipe;
    out->domain = o.name;
    out->user =
        put_lower(r->text, str_slice(buf_str(&user), 0, name.n)); /* it begins with the alias's name */
    out->detail = put_lower(r->text, str_skip(buf_str(&user), name.n + 1));
    out->login = pipe->user_name;
    out->uid = pipe->uid;
    out->gid = pipe->gid;
    return true;
}

void policy_route(const struct policy_conf *p, const struct route_ask *ask, struct buf *text,
                  struct route *out)
{
    /* The room is made before the first slice, so that no later append moves it. */
    must(buf_reserve(text, ROUTE_TEXT_MAX));
    struct routing r = {p, ask, text, out};
    struct str at = ask->rcpt->address;
    *out = (struct route){.kind = ROUTE_NOWHERE, .rcpt = at, .uid = UINT32_MAX, .gid = UINT32_MAX};
    if (ask->rcpt->target != 0) {
        (void)route_to_pipe(&r, ask->rcpt);
        return;
    }
    for (unsigned i = 0; i <= REDIRECTIONS_MAX && at.n > 0; i++)
        at = route_step(&r, at);
}

/* ---- sites ------------------------------------------------------------------------------------- */

static void put_host(struct str host, const struct netaddr *addr, struct buf *out)
{
    if (host.n == 0) {
        netaddr_format(addr, out);
        return;
    }
    buf_put(out, host);
    buf_printf(out, ":%u", (unsigned)addr->port);
}

const char *hop_tls_word(enum hop_tls t)
{
    static const char *const words[] = {
        [HOP_TLS_MAY] = "may",       [HOP_TLS_NONE] = "none", [HOP_TLS_ENCRYPT] = "encrypt",
        [HOP_TLS_VERIFY] = "verify", [HOP_TLS_ANY] = "any",   [HOP_TLS_DANE] = "dane"};
    must((size_t)t < ARRAY_LEN(words));
    return words[t];
}

bool hop_tls_of_word(struct str word, enum hop_tls *out)
{
    for (size_t i = 0; i < HOP_TLS_KINDS; i++) {
        if (str_eq(word, str_from_c(hop_tls_word((enum hop_tls)i)))) {
            *out = (enum hop_tls)i;
            return true;
        }
    }
    return false;
}

bool hop_tls_is_weak(enum hop_tls t)
{
    return t == HOP_TLS_NONE || t == HOP_TLS_MAY || t == HOP_TLS_ANY;
}

bool policy_is_near(const struct next_hop *via)
{
    return via->host.n > 0 ? str_ieq(via->host, STR("localhost"))
                           : via->addr.kind == NETADDR_UNIX || netaddr_is_loopback(&via->addr);
}

enum hop_tls policy_usual_tls(const struct next_hop *via, bool has_login)
{
    if (via->addr.kind == NETADDR_UNIX || (via->lmtp && !has_login))
        return HOP_TLS_NONE;
    if (policy_is_near(via))
        return via->is_smtps ? HOP_TLS_ENCRYPT : HOP_TLS_MAY;
    return via->is_smtps || has_login ? HOP_TLS_VERIFY : HOP_TLS_MAY;
}

void policy_site_end(const struct route *r, struct buf *out)
{
    enum hop_tls usual = r->kind == ROUTE_HOST ? policy_usual_tls(&r->via, r->auth.user.n > 0) : HOP_TLS_MAY;
    if (r->kind != ROUTE_HOST && r->kind != ROUTE_MX)
        return;
    if (r->tls != usual)
        buf_printf(out, " tls %s", hop_tls_word(r->tls));
    if (r->auth.user.n > 0) {
        buf_puts(out, " as ");
        buf_put(out, r->auth.user);
    }
    if (r->source != NULL) {
        buf_puts(out, " from ");
        buf_put(out, r->source->name);
    }
}

void policy_site(const struct policy_conf *p, const struct route *r, struct buf *out)
{
    UNUSED(p);
    switch (r->kind) {
    case ROUTE_MAILDIR:
        buf_puts(out, "maildir:");
        buf_put(out, r->login.n > 0 ? r->login : r->deliver->maildir);
        break;
    case ROUTE_LMTP:
        buf_puts(out, "lmtp:");
        put_host(r->deliver->lmtp_host, &r->deliver->lmtp, out);
        break;
    case ROUTE_HOST:
        buf_puts(out, r->via.lmtp ? "lmtp:" : r->via.is_smtps ? "smtps:" : "host:");
        put_host(r->via.host, &r->via.addr, out);
        policy_site_end(r, out);
        break;
    case ROUTE_MX:
        buf_puts(out, "mx:");
        buf_put(out, r->domain);
        policy_site_end(r, out);
        break;
    case ROUTE_PIPE:
        buf_puts(out, "pipe:");
        buf_put(out, r->deliver->argv[0]);
        break;
    case ROUTE_NOWHERE:
        buf_puts(out, "nowhere");
        break;
    }
}
