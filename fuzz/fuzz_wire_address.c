/* Paths and mailboxes: what parses is a slice of the input, parses again, and survives unquoting and writing.
 */
#include "base/limits.h"
#include "wire/address.h"
#include "wire/verp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_within(struct str part, struct str whole)
{
    must(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void check_address(const struct address *a, struct str in, bool utf8)
{
    struct address again;
    must(a->text.n > 0 && a->text.n + 2 <= SMTP_PATH_MAX);
    check_within(a->text, in);
    check_within(a->local, a->text);
    check_within(a->domain, a->text);
    must(!str_has_ctl(a->text) && utf8_is_valid(a->text) && (utf8 || !a->is_utf8));
    must(a->is_utf8 == !str_is_ascii(a->text));
    must((a->kind == DOMAIN_NONE) == (a->domain.n == 0));
    must(a->kind != DOMAIN_NAME || domain_is_valid(a->domain, utf8));
    must(address_parse(a->text, utf8, &again) == NULL && str_eq(again.text, a->text));

    /* the same mailbox in its plainest form */
    char local_mem[SMTP_LOCAL_PART_TAKEN_MAX], mem[2 * SMTP_PATH_MAX];
    struct buf local, plain;
    bool needs_quotes;
    buf_init_fixed(&local, local_mem, sizeof local_mem);
    buf_init_fixed(&plain, mem, sizeof mem);
    local_part_unquote(a->local, &local, &needs_quotes);
    must(!local.failed && (a->is_quoted || !needs_quotes));
    address_format(buf_str(&local), a->domain, &plain);
    must(!plain.failed && address_parse(buf_str(&plain), utf8, &again) == NULL);
    must(again.is_quoted == needs_quotes && str_eq(again.domain, a->domain));
}

/* Return paths of list mail: what is read is written again as it was, but for the case of the tag. */
static void check_verp(struct str in)
{
    char mem[SMTP_PATH_MAX], member_mem[SMTP_PATH_MAX];
    struct buf out, member;
    struct verp v;
    if (!verp_parse(in, STR("b"), &v))
        return;
    buf_init_fixed(&out, mem, sizeof mem);
    buf_init_fixed(&member, member_mem, sizeof member_mem);
    buf_put(&member, v.local);
    buf_putc(&member, '@');
    buf_put(&member, v.domain);
    must(!member.failed);
    bool fits = verp_format(STR("b"), buf_str(&member), v.tag, STR("d"), &out);
    must(fits == (in.n <= SMTP_LOCAL_PART_MAX));
    must(!fits || str_ieq(str_slice(buf_str(&out), 0, out.n - 2), in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    check_verp(in);
    for (int utf8 = 0; utf8 <= 1; utf8++) {
        struct address a;
        struct str rest;
        bool had_route;
        struct netaddr literal;
        if (address_parse(in, utf8, &a) == NULL)
            check_address(&a, in, utf8);
        else
            must(a.text.n == 0);
        if (address_parse_path(in, utf8, &a, &had_route, &rest) == NULL) {
            must(rest.p > in.p && rest.p[-1] == '>' && rest.p + rest.n == in.p + in.n);
            if (a.text.n > 0)
                check_address(&a, in, utf8);
        }
        if (domain_literal_parse(in, &literal))
            must(literal.kind == NETADDR_IP4 || literal.kind == NETADDR_IP6);
        if (domain_is_valid(in, utf8))
            must(in.n <= SMTP_DOMAIN_MAX && !str_has_ctl(in) && str_chr(in, ' ') == STR_NPOS);
    }
    return 0;
}
