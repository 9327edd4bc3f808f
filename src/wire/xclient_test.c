#include "wire/xclient.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

enum { MEM = 1000 };

static const char *parse(const char *arg, char *mem, struct xclient *x)
{
    struct buf b;
    struct str s = str_from_c(arg);
    buf_init_fixed(&b, mem, s.n < MEM ? s.n : MEM); /* the room that the header promises to be enough */
    return xclient_parse(s, &b, x);
}

static void takes_all_attributes(void **state)
{
    UNUSED(state);
    char mem[MEM];
    struct xclient x;
    assert_null(parse("NAME=a.example ADDR=192.0.2.7 PORT=2525 PROTO=ESMTP HELO=[192.0.2.7] LOGIN=joe+2Bx "
                      "DESTADDR=IPV6:2001:db8::1 DESTPORT=25",
                      mem, &x));
    assert_int_equal(x.has, 255);
    assert_int_equal(x.unavailable | x.tempunavail, 0);
    assert_true(str_eq(x.name, STR("a.example")) && str_eq(x.helo, STR("[192.0.2.7]")) &&
                str_eq(x.login, STR("joe+x")));
    assert_true(x.is_esmtp);
    assert_int_equal(x.addr.kind, NETADDR_IP4);
    assert_int_equal(x.addr.port, 2525);
    assert_int_equal(x.dest_addr.kind, NETADDR_IP6);
    assert_int_equal(x.dest_addr.port, 25);
}

static void port_and_address_in_any_order(void **state)
{
    UNUSED(state);
    char mem[MEM];
    struct xclient a, b;
    assert_null(parse("PORT=7 ADDR=2001:db8::2", mem, &a));
    assert_null(parse("addr=ipv6:2001:db8::2  port=7", mem, &b));
    assert_true(netaddr_eq(&a.addr, &b.addr));
    assert_int_equal(a.addr.port, 7);
}

static void takes_what_is_unavailable(void **state)
{
    UNUSED(state);
    char mem[MEM];
    struct xclient x;
    assert_null(parse("NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] PORT=[unavailable]", mem, &x));
    assert_int_equal(x.has, XCLIENT_NAME | XCLIENT_ADDR | XCLIENT_PORT);
    assert_int_equal(x.unavailable, XCLIENT_NAME | XCLIENT_PORT);
    assert_int_equal(x.tempunavail, XCLIENT_ADDR);
    assert_int_equal(x.addr.kind, NETADDR_NONE);
}

static void refuses(void **state)
{
    UNUSED(state);
    static const char *const rows[] = {
        "",
        " ",
        "ADDR",
        "ADDR=",
        "=",
        "=x",
        "ADDR=x",
        "ADDR=192.0.2.1 ADDR=192.0.2.1",
        "FOO=1",
        "PORT=65536",
        "PORT=",
        "PORT=+31",
        "PROTO=",
        "PROTO=LMTP",
        "NAME=",
        "NAME=a+0Db",
        "NAME=+",
        "NAME=+4",
        "NAME=+4a",
        "NAME=+C3+BC",
        "NAME=a=b",
        "DESTADDR=IPV6:",
        "DESTADDR=IPV6:x",
        "DESTPORT=x",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[MEM];
        struct xclient x;
        const char *why = parse(rows[i], mem, &x);
        bool is_digit_one = strcmp(rows[i], "PORT=+31") == 0; /* xtext of "1": a number */
        bool is_blank = strcmp(rows[i], " ") == 0;            /* the splitter leaves no blanks at the end */
        assert_true((why == NULL) == (is_digit_one || is_blank));
    }
}

static void name_has_a_limit(void **state)
{
    UNUSED(state);
    char mem[MEM], arg[400] = "HELO=";
    struct xclient x;
    memset(arg + 5, 'a', 255);
    assert_null(parse(arg, mem, &x));
    arg[5 + 255] = 'a';
    assert_non_null(parse(arg, mem, &x));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_all_attributes),      cmocka_unit_test(port_and_address_in_any_order),
        cmocka_unit_test(takes_what_is_unavailable), cmocka_unit_test(refuses),
        cmocka_unit_test(name_has_a_limit),
    };
    return cmocka_run_group_tests_name("xclient", tests, NULL, NULL);
}
