#include "wire/readdress.h"

#include "wire/address.h"

struct scan {
    struct str run;   /* from the first octet that is no blank and no comment to the last such */
    struct str angle; /* what stands in < > */
    unsigned depth;   /* of comments */
    bool is_quoted, is_escaped, is_in_angle, has_angle, is_bad;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void grow(struct str *s, const char *p)
{
    if (s->n == 0)
        s->p = p;
    s->n = (size_t)(p + 1 - s->p);
}

/* true: the octet belongs to a comment or a quoted string, or begins or ends one. */
static bool is_within(struct scan *s, char c)
{
    bool was_escaped = s->is_escaped;
    s->is_escaped = false;
    if (!s->is_quoted && s->depth == 0 && c != '(' && c != '"')
        return false;
    if (was_escaped)
        return true;
    if (c == '\\')
        s->is_escaped = true;
    else if (s->depth > 0)
        s->depth = c == '(' ? s->depth + 1 : c == ')' ? s->depth - 1 : s->depth;
    else if (c == '"')
        s->is_quoted = !s->is_quoted;
    else if (c == '(' && !s->is_quoted)
        s->depth = 1;
    return true;
}

static void take(struct scan *s, const char *p)
{
    bool was_comment = s->depth > 0, is_text = is_within(s, *p);
    if (was_comment || s->depth > 0)
        return;
    if (!is_text && (*p == '<' || *p == '>')) {
        s->is_bad = s->is_bad || s->is_in_angle == (*p == '<') || (*p == '<' && s->has_angle);
        s->has_angle = true;
        s->is_in_angle = *p == '<';
    } else if (!is_text && (*p == ',' || *p == ';' || *p == ':')) {
        s->is_bad = true;
    } else if (is_text || !is_blank(*p)) {
        s->is_bad = s->is_bad || (s->has_angle && !s->is_in_angle); /* words behind the bracket */
        grow(s->is_in_angle ? &s->angle : &s->run, p);
    }
}

bool readdress_find(struct str value, struct str *out)
{
    struct scan s = {.depth = 0};
    struct address a;
    for (size_t i = 0; i < value.n && !s.is_bad; i++)
        take(&s, value.p + i);
    *out = s.has_angle ? s.angle : s.run;
    return !s.is_bad && !s.is_quoted && !s.is_escaped && s.depth == 0 && !s.is_in_angle && out->n > 0 &&
           address_parse(*out, true, &a) == NULL;
}
