#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/addrlist.h"

/* The addresses of a text joined by spaces, "!" for each that is none. */
static void list(struct str text, struct buf *out)
{
    struct addrlist l;
    struct str element;
    const char *why = NULL;
    addrlist_init(&l, text);
    for (;;) {
        size_t before = out->n;
        if (before > 0)
            buf_putc(out, ' ');
        size_t start = out->n;
        enum addrlist_status st = addrlist_next(&l, out, &element, &why);
        if (st == ADDRLIST_END) {
            out->n = before;
            return;
        }
        assert_true(st == ADDRLIST_MAILBOX || out->n == start);
        if (st == ADDRLIST_BAD) {
            assert_non_null(why);
            buf_putc(out, '!');
        }
    }
}

static void reads_lists(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", ""},
        {" \r\n\t", ""},
        {"joe@example.org", "joe@example.org"},
        {"root", "root"},
        {"root, anna@x.example ,, <bob@x.example>", "root anna@x.example bob@x.example"},
        /* RFC 5322 A.1.2, A.1.3, A.5 */
        {"\"Joe Q. Public\" <john.q.public@example.com>", "john.q.public@example.com"},
        {"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
         "mary@x.test jdoe@example.org one@y.test"},
        {"<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
         "boss@nil.test sysservices@example.net"},
        {"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
         "c@a.test joe@where.test jdoe@one.test"},
        {"Undisclosed recipients:;", ""},
        {"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "pete@silly.test"},
        {"A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n"
         "         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
         "c@public.example joe@example.org jdoe@one.test"},
        {"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", ""},
        /* A.6.1, A.6.3 */
        {"Joe Q. Public <john.q.public@example.com>", "john.q.public@example.com"},
        {"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
         "mary@example.net jdoe@test.example"},
        {"John Doe <jdoe@machine(comment).  example>", "jdoe@machine.example"},
        /* quotes stay where they must */
        {"\"joe\"@example.org", "joe@example.org"},
        {"\"joe doe\"@example.org", "\"joe doe\"@example.org"},
        {"\"a,b\"@example.org, c@example.org", "\"a,b\"@example.org c@example.org"},
        {"\"a@b\" <c@example.org>", "c@example.org"},
        {"\"joe\r\n doe\"@example.org", "\"joe doe\"@example.org"},
        {"joe@[192.0.2.1], <joe@[IPv6:2001:db8::1]>", "joe@[192.0.2.1] joe@[IPv6:2001:db8::1]"},
        {"J\xc3\xb6rg <j\xc3\xb6rg@example.org>", "j\xc3\xb6rg@example.org"},
        {"=?utf-8?q?J=C3=B6rg=2C?= <joerg@example.org>", "joerg@example.org"},
        {"a@x.example; b@x.example", "a@x.example b@x.example"},
        {"G: a@x.example; b@x.example, H: c@x.example;", "a@x.example b@x.example c@x.example"},
        /* what is none, and the one behind it */
        {"joe doe, a@x.example", "! a@x.example"},
        {"joe@, a@x.example", "! a@x.example"},
        {"<>, a@x.example", "! a@x.example"},
        {"joe@x y, a@x.example", "! a@x.example"},
        {"<joe@x.example, a@x.example", "!"},
        {"joe@x.example>, a@x.example", "! a@x.example"},
        {"<a@x.example> b@x.example, c@x.example", "! c@x.example"},
        {"<a@x.example> <b@x.example>, c@x.example", "! c@x.example"},
        {"a b <c d@x.example>, e@x.example", "! e@x.example"},
        {"(never ends, a@x.example", "!"},
        {"\"never ends, a@x.example", "!"},
        {"joe@[192.0.2.1, a@x.example", "!"},
        {"joe\x01@x.example, \xff@x.example, a@x.example", "! ! a@x.example"},
        {"\\joe, a@x.example", "! a@x.example"},
        {"a@b@x.example, a@x.example", "! a@x.example"},
        {"\"\"@x.example, a@x.example", "! a@x.example"},
        {"G: a@x.example, H: b@x.example;", "a@x.example ! b@x.example"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[400];
        struct buf out;
        buf_init_fixed(&out, mem, sizeof mem);
        list(str_from_c(rows[i].text), &out);
        if (!str_eq(buf_str(&out), str_from_c(rows[i].want)))
            fail_msg("%s: got %.*s", rows[i].text, STR_FMT(buf_str(&out)));
    }
}

/* A name may be as long as it likes; an address may not, and comments may not nest without end. */
static void keeps_its_bounds(void **state)
{
    UNUSED(state);
    struct buf text, out;
    buf_init(&text, 1 << 20);
    buf_init(&out, 1 << 20);
    for (unsigned i = 0; i < 5000; i++)
        buf_puts(&text, "name ");
    buf_puts(&text, "<a@x.example>, ");
    for (unsigned i = 0; i < 2 * SMTP_PATH_MAX; i++)
        buf_putc(&text, 'a');
    buf_puts(&text, ", b@x.example, ");
    for (unsigned i = 0; i < 100000; i++)
        buf_putc(&text, '(');
    list(buf_str(&text), &out);
    assert_true(str_eq(buf_str(&out), STR("a@x.example ! b@x.example !")));
    for (unsigned depth = ADDRLIST_DEPTH_MAX; depth <= ADDRLIST_DEPTH_MAX + 1; depth++) {
        buf_reset(&text);
        buf_reset(&out);
        for (unsigned i = 0; i < depth; i++)
            buf_putc(&text, '(');
        for (unsigned i = 0; i < depth; i++)
            buf_putc(&text, ')');
        buf_puts(&text, "a@x.example");
        list(buf_str(&text), &out);
        assert_true(str_eq(buf_str(&out), depth == ADDRLIST_DEPTH_MAX ? STR("a@x.example") : STR("!")));
    }
    buf_fini(&text);
    buf_fini(&out);
}

/* No room is no address, and leaves what was there. */
static void full_buffer(void **state)
{
    UNUSED(state);
    char mem[8];
    struct buf out;
    struct addrlist l;
    struct str element;
    const char *why = NULL;
    buf_init_fixed(&out, mem, sizeof mem);
    buf_puts(&out, "123");
    addrlist_init(&l, STR("joe@example.org, a@b.c"));
    assert_int_equal(addrlist_next(&l, &out, &element, &why), ADDRLIST_BAD);
    assert_true(str_eq(element, STR("joe@example.org")));
    assert_int_equal(addrlist_next(&l, &out, &element, &why), ADDRLIST_MAILBOX);
    assert_true(str_eq(buf_str(&out), STR("123a@b.c")));
    assert_int_equal(addrlist_next(&l, &out, &element, &why), ADDRLIST_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_lists),
        cmocka_unit_test(keeps_its_bounds),
        cmocka_unit_test(full_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
