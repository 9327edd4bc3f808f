#include "wire/verp.h"

#include "base/limits.h"
#include "wire/address.h"

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

void verp_tag(uint64_t hash, char out[VERP_TAG])
{
    for (unsigned i = 0; i < VERP_TAG; i++)
        out[i] = alphabet[hash >> (5 * i) & 31];
}

bool verp_format(struct str name, struct str member, const char tag[VERP_TAG], struct str domain,
                 struct buf *out)
{
    struct address a;
    size_t start = out->n;
    if (address_parse(member, false, &a) != NULL || a.kind != DOMAIN_NAME || a.is_quoted ||
        name.n + 1 + a.local.n + 1 + a.domain.n + 1 + VERP_TAG > SMTP_LOCAL_PART_MAX)
        return false;
    buf_put(out, name);
    buf_putc(out, '+');
    buf_put(out, a.local);
    buf_putc(out, '=');
    buf_put(out, a.domain);
    buf_putc(out, '-');
    buf_put(out, str_of(tag, VERP_TAG));
    buf_putc(out, '@');
    buf_put(out, domain);
    if (out->failed)
        out->n = start;
    return !out->failed;
}

/* The local part of a member by itself, as it stands in an address: an atom with dots (RFC 5322 3.2.3). */
static bool is_plain(struct str local)
{
    char mem[SMTP_LOCAL_PART_TAKEN_MAX];
    struct buf text;
    struct address a;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_put(&text, local);
    buf_puts(&text, "@x");
    return !text.failed && address_parse(buf_str(&text), false, &a) == NULL && !a.is_quoted &&
           a.local.n == local.n;
}

bool verp_parse(struct str local, struct str name, struct verp *out)
{
    if (name.n == 0 || local.n > SMTP_LOCAL_PART_TAKEN_MAX - 2 || !str_istarts(local, name) ||
        local.n < name.n + 1 + VERP_TAG + 1 || local.p[name.n] != '+')
        return false;
    struct str tag = str_skip(local, local.n - VERP_TAG);
    struct str rest = str_slice(local, name.n + 1, local.n - VERP_TAG);
    if (!str_ends(rest, STR("-")))
        return false;
    rest = str_slice(rest, 0, rest.n - 1);
    size_t at = str_rchr(rest, '='); /* no domain has one */
    if (at == STR_NPOS || !is_plain(str_slice(rest, 0, at)) ||
        !domain_is_valid(str_skip(rest, at + 1), false))
        return false;
    out->local = str_slice(rest, 0, at);
    out->domain = str_skip(rest, at + 1);
    for (unsigned i = 0; i < VERP_TAG; i++) {
        out->tag[i] = ascii_lower(tag.p[i]);
        if (str_chr(str_of(alphabet, sizeof alphabet - 1), out->tag[i]) == STR_NPOS)
            return false;
    }
    return true;
}
