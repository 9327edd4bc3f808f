/* policy/policy.c: the verdict on a recipient, and names that become paths and words.
 *
 * One rule keeps this from being an open relay: a domain is ours only when it stands in the table, whatever
 * the local part says, and what is in a local part is never read as another address.
 */
#include "policy/policy.h"

#include "policy/lookup.h"

enum {
    PATH_LENGTH_MAX = 4095, /* PATH_MAX without its NUL */
    PATH_COMPONENT_MAX = 255,
};

/* ---- verdicts ---------------------------------------------------------------------------------- */

bool policy_may_relay(const struct policy_conf *p, const struct netaddr *client)
{
    for (size_t i = 0; i < p->n_relay_from; i++) {
        if (netblock_has(&p->relay_from[i], client))
            return true;
    }
    return false;
}

/* RFC 5321 4.1.3. What is no address of the network (loopback) would lead back to us. */
static enum rcpt_class literal_class(const struct policy_conf *p, bool is_ours, const struct address *to,
                                     struct str user)
{
    const struct netaddr *a = &to->literal;
    if (lookup_is_own_address(p, a))
        return str_ieq(user, STR("postmaster")) ? RCPT_LOCAL : RCPT_NO_SUCH_USER;
    if (a->kind == NETADDR_NONE || netaddr_is_loopback(a) || netaddr_is_any(a))
        return RCPT_BAD_ADDRESS;
    return is_ours ? RCPT_RELAY : RCPT_RELAY_DENIED;
}

enum rcpt_class policy_rcpt(const struct policy_conf *p, bool is_ours, const struct address *to)
{
    char mem[SMTP_LOCAL_PART_TAKEN_MAX], name_mem[LOOKUP_NAME_MAX];
    struct buf user, name;
    struct ours o;
    buf_init_fixed(&user, mem, sizeof mem);
    buf_init_fixed(&name, name_mem, sizeof name_mem);
    bool has_user = lookup_user(to, &user);
    if (to->kind == DOMAIN_NONE)
        return has_user && str_ieq(buf_str(&user), STR("postmaster")) ? RCPT_LOCAL : RCPT_BAD_ADDRESS;
    if (!lookup_domain(p, to, &name, &o)) {
        if (to->kind == DOMAIN_LITERAL)
            return literal_class(p, is_ours, to, has_user ? buf_str(&user) : STR_NIL);
        return is_ours ? RCPT_RELAY : RCPT_RELAY_DENIED;
    }
    if (!has_user)
        return RCPT_NO_SUCH_USER;
    struct str local = buf_str(&user);
    struct found f = lookup_local(p, &o, local, to->text, LOOKUP_USE_ALIASES);
    if (lookup_is_reserved(local))
        return RCPT_LOCAL;
    if (f.kind == FOUND_REPORT || (f.kind == FOUND_USER && o.home->callout))
        return RCPT_CALLOUT;
    return f.kind == FOUND_NOTHING ? RCPT_NO_SUCH_USER : RCPT_LOCAL;
}

/* ---- Maildir paths ----------------------------------------------------------------------------- */

static bool is_path_part(struct str s)
{
    return s.n > 0 && s.p[0] != '.' && str_chr(s, '/') == STR_NPOS && !str_has_ctl(s);
}

static bool is_usable_path(struct str path)
{
    if (path.n == 0 || path.n > PATH_LENGTH_MAX || path.p[0] != '/' || str_has_ctl(path))
        return false;
    while (path.n > 0) {
        if (str_cut(&path, '/').n > PATH_COMPONENT_MAX)
            return false;
    }
    return true;
}

/* values: for each letter of `letters`. false for a template that config/ would not let in. */
static bool expand(struct str template, const char *letters, const struct str *values, struct buf *out)
{
    for (size_t i = 0; i < template.n; i++) {
        char c = template.p[i];
        if (c != '%') {
            buf_putc(out, c);
            continue;
        }
        char letter = ++i < template.n ? template.p[i] : '\0';
        size_t at = letter == '%' ? STR_NPOS : str_chr(str_from_c(letters), letter);
        if (letter != '%' && at == STR_NPOS)
            return false;
        buf_put(out, letter == '%' ? STR("%") : values[at]);
    }
    return !out->failed;
}

bool policy_maildir(const struct deliver *d, struct str user, struct str domain, struct str home,
                    struct buf *out)
{
    size_t start = out->n;
    bool has_home = str_find(d->maildir, STR("%h")) != STR_NPOS;
    const struct str values[] = {user, domain, home};
    if (is_path_part(user) && is_path_part(domain) && (!has_home || is_usable_path(home)) &&
        expand(d->maildir, "udh", values, out) && is_usable_path(str_skip(buf_str(out), start)))
        return true;
    out->n = start;
    return false;
}

/* ---- words of a program ------------------------------------------------------------------------ */

const char *policy_pipe_word(const struct deliver *d, size_t i, const struct pipe_facts *facts,
                             struct buf *out)
{
    must(d->kind == DELIVER_PIPE && i < d->n_argv);
    const struct str values[] = {facts->user, facts->domain, facts->sender, facts->rcpt, facts->detail};
    struct str template = d->argv[i];
    size_t start = out->n;
    if (i == 0) { /* the program's path is no template */
        buf_put(out, template);
        return out->failed ? "a word of the program is too long" : NULL;
    }
    bool ok = expand(template, "udsrt", values, out);
    struct str word = str_skip(buf_str(out), start);
    const char *problem = NULL;
    if (!ok)
        problem = "a word of the program is too long";
    else if (str_has_ctl(word))
        problem = "an address with a control character can't be a word of a program";
    else if (str_starts(word, STR("-")) && !str_starts(template, STR("-")))
        problem = "an address that begins with '-' would be read as an option of the program";
    if (problem != NULL)
        out->n = start;
    return problem;
}
