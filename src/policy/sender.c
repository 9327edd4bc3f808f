/* policy/sender.c: logins, and the addresses that one may send from (RFC 6409 6.1). */
#include "policy/pattern.h"

enum { ALIAS_MEMORY = 256 * 1024 };

/* Can its users log in? */
static bool has_logins(const struct local_domain *d)
{
    return d->passwords > 0 || d->auth > 0 || d->tokens;
}

/* The domain whose users a name without '@' is among: there is only one with logins, or it can't be told.
 */
static const struct local_domain *only_domain(const struct policy_conf *p)
{
    const struct local_domain *only = NULL;
    for (size_t i = 0; i < p->n_domains; i++) {
        const struct local_domain *d = &p->domains[i];
        if (!has_logins(d) || d->same_as.n > 0)
            continue;
        if (only != NULL)
            return NULL;
        only = d;
    }
    return only;
}

static void put_lower(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++)
        buf_putc(out, ascii_lower(s.p[i]));
}

bool policy_login(const struct policy_conf *p, struct str name, struct buf *mem, struct policy_login *out)
{
    size_t at = str_chr(name, '@');
    const struct local_domain *d = at == STR_NPOS ? only_domain(p) : policy_domain(p, str_skip(name, at + 1));
    struct str who = at == STR_NPOS ? name : str_slice(name, 0, at), app = who;
    struct str user = str_cut(&app, '/');
    bool has_app = user.n < who.n;
    if (d != NULL && d->same_as.n > 0)
        d = policy_domain(p, d->same_as);
    if (d == NULL || !has_logins(d) || user.n == 0 || user.n > SMTP_LOCAL_PART_MAX ||
        (has_app && (app.n == 0 || app.n > LOGIN_APP_MAX || d->passwords == 0)))
        return false;
    size_t start = mem->n, n_who = has_app ? who.n : 0;
    put_lower(str_slice(who, 0, n_who), mem);
    put_lower(user, mem);
    buf_putc(mem, '@');
    buf_put(mem, d->name);
    if (mem->failed)
        return false;
    out->address = str_skip(buf_str(mem), start + n_who);
    out->user = str_slice(str_skip(buf_str(mem), start), 0, who.n);
    out->passwords = d->passwords;
    out->auth = d->auth;
    return true;
}

static const struct sender_right *find_right(const struct policy_conf *p, struct str login)
{
    size_t low = 0, high = p->n_senders;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = str_icmp(login, p->senders[mid].login);
        if (c == 0)
            return &p->senders[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static bool is_allowed(const struct policy_conf *p, struct str login, struct str from)
{
    char mem[PATTERN_SUBJECT_MAX];
    struct buf text;
    const struct sender_right *right = find_right(p, login);
    if (right == NULL)
        return false;
    buf_init_fixed(&text, mem, sizeof mem);
    struct subject s = pattern_subject(p, from, &text);
    for (size_t i = 0; i < right->n; i++) {
        if (pattern_matches(&right->may[i], &s))
            return true;
    }
    return false;
}

/* The mailbox itself: the same user of the same domain under any of its names, with whatever detail. */
static bool is_own(const struct policy_conf *p, struct str login, const struct address *from)
{
    char mem[2 * LOOKUP_NAME_MAX], local_mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf text, local;
    struct ours o;
    struct address self;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_init_fixed(&local, local_mem, sizeof local_mem);
    if (address_parse(login, true, &self) != NULL || !lookup_domain(p, from, &text, &o) ||
        policy_domain(p, self.domain) != o.home || !lookup_user(from, &local))
        return false;
    struct found f = lookup_local(p, &o, buf_str(&local), from->text, 0);
    return f.kind == FOUND_USER && str_ieq(f.user, self.local);
}

/* An alias that leads to this login and to nobody else. */
static bool is_own_alias(const struct policy_conf *p, struct chunk_pool *pool, struct str login,
                         const struct address *from)
{
    struct arena a;
    struct expansion e;
    struct address to;
    struct rcpt rcpt = {.address = from->text};
    arena_init(&a, pool, ALIAS_MEMORY);
    bool is_it = policy_expand(p, &rcpt, &a, &e) && e.kind == EXPAND_ALIAS && e.n_targets == 1 &&
                 e.targets[0].target == 0 && address_parse(e.targets[0].address, true, &to) == NULL &&
                 is_own(p, login, &to);
    arena_reset(&a);
    return is_it;
}

bool policy_may_send(const struct policy_conf *p, struct chunk_pool *pool, struct str login,
                     const struct address *from)
{
    if (from->text.n == 0) /* reports of mail programs (RFC 8098 3) have no other sender */
        return true;
    return is_own(p, login, from) || is_allowed(p, login, from->text) || is_own_alias(p, pool, login, from);
}
