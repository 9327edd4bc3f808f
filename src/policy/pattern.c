#include "policy/pattern.h"

bool pattern_matches(const struct pattern *pattern, const struct subject *s)
{
    switch (pattern->kind) {
    case PATTERN_ANY:
        return true;
    case PATTERN_NULL:
        return s->is_null;
    case PATTERN_DOMAIN:
        return !s->is_null && str_ieq(s->domain, pattern->domain);
    case PATTERN_SUBDOMAINS:
        return s->domain.n > pattern->domain.n + 1 && str_iends(s->domain, pattern->domain) &&
               s->domain.p[s->domain.n - pattern->domain.n - 1] == '.';
    case PATTERN_ADDRESS:
        return !s->is_null && str_ieq(s->domain, pattern->domain) && str_ieq(s->local, pattern->local);
    }
    must_not_reach();
}

struct subject pattern_subject(const struct policy_conf *p, struct str address, struct buf *mem)
{
    struct subject s = {.is_null = address.n == 0};
    struct address a;
    if (s.is_null || address_parse(address, true, &a) != NULL)
        return s;
    size_t at = mem->n;
    if (lookup_ascii(p, a.domain, mem))
        s.domain = str_skip(buf_str(mem), at);
    at = mem->n;
    if (lookup_user(&a, mem))
        s.local = str_skip(buf_str(mem), at);
    return s;
}
