/* wire/forward.c: see forward.h. */
#include "wire/forward.h"

#include "base/limits.h"
#include "wire/address.h"
#include "wire/addrlist.h"
#include "wire/params.h"

struct reading {
    const struct forward_whose *whose;
    struct str domain; /* of whose->rcpt */
    struct buf *out;
    uint32_t n;
    bool has_own;
};

static struct str trim_front(struct str s, const char *of)
{
    size_t i = 0;
    while (i < s.n && str_chr(str_from_c(of), s.p[i]) != STR_NPOS)
        i++;
    return str_skip(s, i);
}

/* What a target that begins with c asks for and does not get; NULL: nothing of the kind. */
static const char *refusal(char c)
{
    if (c == '|')
        return "only the configuration can have programs started";
    if (c == '/')
        return "mail goes to addresses only, not to files and folders";
    return NULL;
}

/* Before anything is parsed: what these mean is no address, whatever it looks like. */
static const char *refusal_at(struct str s)
{
    struct str bare = str_skip(s, s.p[0] == '"');
    if (bare.n > 0 && refusal(bare.p[0]) != NULL)
        return refusal(bare.p[0]);
    if (str_istarts(bare, STR(":include:")))
        return "no other file is included";
    return NULL;
}

static const char *put_target(struct reading *r, struct str address)
{
    const struct rcpt one = {.address = address};
    size_t before = r->out->n;
    if (r->n < SMTP_RCPT_MAX && rcpt_put(&one, r->out)) {
        r->n++;
        return NULL;
    }
    r->out->n = before;
    r->out->failed = false;
    return "there are too many addresses";
}

static const char *put_own(struct reading *r)
{
    if (r->has_own)
        return NULL;
    r->has_own = true;
    return put_target(r, r->whose->rcpt);
}

/* text: a mailbox as addrlist_next() writes it. */
static const char *take_mailbox(struct reading *r, struct str text)
{
    char mem[SMTP_PATH_MAX];
    struct address a;
    struct buf b;
    bool needs_quotes;
    const char *why = address_parse(text, true, &a);
    if (why != NULL)
        return why;
    buf_init_fixed(&b, mem, sizeof mem);
    local_part_unquote(a.local, &b, &needs_quotes);
    if (b.n > 0 && refusal(b.p[0]) != NULL)
        return refusal(b.p[0]);
    bool is_here = a.kind == DOMAIN_NONE || str_ieq(a.domain, r->domain);
    if ((is_here && str_ieq(buf_str(&b), r->whose->user)) || str_ieq(text, r->whose->rcpt))
        return put_own(r);
    if (a.kind != DOMAIN_NONE)
        return put_target(r, text);
    buf_reset(&b);
    if (!buf_put(&b, text) || !buf_putc(&b, '@') || !buf_put(&b, r->domain))
        return "the address is too long";
    return put_target(r, buf_str(&b));
}

static const char *take_next(struct reading *r, struct addrlist *l)
{
    char mem[SMTP_PATH_MAX];
    struct buf plain;
    struct str element;
    const char *why = NULL;
    buf_init_fixed(&plain, mem, sizeof mem);
    switch (addrlist_next(l, &plain, &element, &why)) {
    case ADDRLIST_END:
        return NULL;
    case ADDRLIST_MAILBOX:
        return take_mailbox(r, buf_str(&plain));
    case ADDRLIST_BAD:
        return why;
    }
    must_not_reach();
}

/* A backslash and a name, up to a comma. Another's name is an address like any: his own .forward counts. */
static const char *take_escaped(struct reading *r, struct addrlist *l)
{
    struct addrlist one;
    struct str word = str_trim(str_skip(str_cut(&l->rest, ','), 1));
    if (word.n == 0 || word.p[0] == '\\')
        return "a backslash stands without a name";
    if (refusal_at(word) != NULL)
        return refusal_at(word);
    addrlist_init(&one, word);
    const char *why = take_next(r, &one);
    return why == NULL && one.rest.n > 0 ? "something stands behind the name with the backslash" : why;
}

static const char *take_line(struct reading *r, struct str line)
{
    struct addrlist l;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    line = trim_front(line, " \t");
    if (line.n == 0 || line.p[0] == '#')
        return NULL;
    for (size_t i = 0; i < line.n; i++) {
        if (((unsigned char)line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
            return "a control character stands in it";
    }
    addrlist_init(&l, line);
    while ((l.rest = trim_front(l.rest, " \t,")).n > 0) {
        const char *why = refusal_at(l.rest);
        if (why == NULL)
            why = l.rest.p[0] == '\\' ? take_escaped(r, &l) : take_next(r, &l);
        if (why != NULL)
            return why;
    }
    return l.in_group ? "a group has no end" : NULL;
}

enum forward_status forward_read(struct str text, const struct forward_whose *whose, struct buf *out,
                                 struct forward_found *found)
{
    size_t before = out->n, at = str_rchr(whose->rcpt, '@');
    struct reading r = {
        .whose = whose, .domain = str_skip(whose->rcpt, at == STR_NPOS ? whose->rcpt.n : at + 1), .out = out};
    *found = (struct forward_found){.line = 0};
    if (text.n > FORWARD_OCTETS_MAX)
        found->why = "it is too long";
    else if (r.domain.n == 0 || whose->user.n == 0)
        found->why = "it is of nobody";
    while (found->why == NULL && text.n > 0) {
        found->line++;
        found->why = take_line(&r, str_cut(&text, '\n'));
    }
    found->n = r.n;
    bool is_nobody_else = r.n == (r.has_own ? 1u : 0u);
    if (found->why != NULL || is_nobody_else)
        out->n = before;
    if (found->why != NULL)
        return FORWARD_BAD;
    return is_nobody_else ? FORWARD_NONE : FORWARD_TARGETS;
}
