#include "policy/rewrite.h"

#include "policy/lookup.h"

bool rewrite_is_on(const struct policy_conf *p)
{
    const struct rewrite_conf *r = &p->rewrite;
    return r->from.n > 0 || r->domain.n > 0 || r->to.n > 0 || r->n_names > 0;
}

static bool is_of_machine(const struct policy_conf *p, const struct address *a)
{
    struct str host = p->hostname, label = str_cut(&host, '.');
    if (a->kind == DOMAIN_NONE)
        return true;
    if (a->kind != DOMAIN_NAME || policy_domain(p, a->domain) != NULL)
        return false;
    return str_ieq(a->domain, STR("localhost")) || str_ieq(a->domain, STR("localhost.localdomain")) ||
           str_ieq(a->domain, p->hostname) || str_ieq(a->domain, label);
}

static const struct rewrite_name *find_name(const struct rewrite_conf *r, struct str name)
{
    size_t low = 0, high = r->n_names;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = str_icmp(name, r->names[mid].name);
        if (c == 0)
            return &r->names[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* The same name where the world finds it. */
static struct str abroad(const struct policy_conf *p, const struct address *a, struct buf *mem)
{
    struct str domain = p->rewrite.domain.n > 0 ? p->rewrite.domain : p->hostname;
    size_t start = mem->n;
    if (a->local.n + 1 + domain.n > SMTP_PATH_MAX - 2)
        return a->text;
    buf_put(mem, a->local);
    buf_putc(mem, '@');
    buf_put(mem, domain);
    must(!mem->failed);
    return str_skip(buf_str(mem), start);
}

struct str rewrite_sender(const struct policy_conf *p, const struct address *from, struct buf *mem)
{
    if (!rewrite_is_on(p) || from->text.n == 0)
        return from->text;
    if (p->rewrite.from.n > 0)
        return p->rewrite.from;
    return is_of_machine(p, from) ? abroad(p, from, mem) : from->text;
}

struct str rewrite_rcpt(const struct policy_conf *p, const struct address *to, struct buf *mem)
{
    char name_mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf name;
    if (!rewrite_is_on(p) || !is_of_machine(p, to))
        return to->text;
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    const struct rewrite_name *n = lookup_user(to, &name) ? find_name(&p->rewrite, buf_str(&name)) : NULL;
    if (n != NULL)
        return n->to;
    if (p->rewrite.to.n > 0)
        return p->rewrite.to;
    /* postmaster needs no domain (RFC 5321 4.5.1): the configuration names him */
    return to->kind == DOMAIN_NONE && str_ieq(to->local, STR("postmaster")) ? to->text : abroad(p, to, mem);
}

static bool is_same(struct str text, const struct address *b)
{
    struct address a;
    return text.n > 0 && address_parse(text, true, &a) == NULL && str_eq(a.local, b->local) &&
           str_ieq(a.domain, b->domain);
}

struct str rewrite_author(const struct policy_conf *p, struct str sender, const struct address *author,
                          struct buf *mem)
{
    if (!rewrite_is_on(p) || !(is_of_machine(p, author) || is_same(sender, author)))
        return STR_NIL;
    struct str to = rewrite_sender(p, author, mem);
    return str_eq(to, author->text) ? STR_NIL : to;
}
