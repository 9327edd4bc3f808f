#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/readdress.h"

#include <string.h>

static void finds_the_address(void **state)
{
    UNUSED(state);
    static const struct {
        const char *value, *address; /* NULL: there is not one */
    } rows[] = {
        {" joe@example.org\r\n", "joe@example.org"},
        {" root\r\n", "root"},
        {" root (Cron Daemon)\r\n", "root"},
        {" (Cron (the) \\) <Daemon>) root (x@y)\r\n", "root"},
        {" Joe <joe@example.org>\r\n", "joe@example.org"},
        {"\r\n Joe\r\n\t< joe@example.org >\r\n", "joe@example.org"},
        {" \"Smith, <Joe>: \\\" a@b\" <joe@example.org> (home)\r\n", "joe@example.org"},
        {" =?UTF-8?Q?J=C3=B6?= <joe@example.org>\r\n", "joe@example.org"},
        {" \"joe x\"@example.org\r\n", "\"joe x\"@example.org"},
        {" <\"joe > x\"@example.org>\r\n", "\"joe > x\"@example.org"},
        {" j\xc3\xb6@example.org\r\n", "j\xc3\xb6@example.org"},
        {"joe@example.org", "joe@example.org"},
        {" root (Cron ()()(())) ", "root"},
        {" a@b, c@d\r\n", NULL},
        {" Joe <a@b>, Ann <c@d>\r\n", NULL},
        {" Team: a@b;\r\n", NULL},
        {" undisclosed-recipients:;\r\n", NULL},
        {" <@x:a@b>\r\n", NULL},
        {" Joe Smith\r\n", NULL},
        {" joe @ example.org\r\n", NULL},
        {" joe(at)@example.org\r\n", NULL},
        {" <>\r\n", NULL},
        {" \r\n", NULL},
        {"", NULL},
        {" <a@b\r\n", NULL},
        {" a@b>\r\n", NULL},
        {" <a@b> <c@d>\r\n", NULL},
        {" <a@b> c\r\n", NULL},
        {" <<a@b>>\r\n", NULL},
        {" (a@b\r\n", NULL},
        {" \"a@b\r\n", NULL},
        {" a@b (\\", NULL},
        {" a@-b-\r\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str got = STR_NIL;
        bool is_found = readdress_find(str_from_c(rows[i].value), &got);
        if (is_found != (rows[i].address != NULL) || (is_found && !str_eq(got, str_from_c(rows[i].address))))
            fail_msg("%s: %d %.*s", rows[i].value, is_found, STR_FMT(got));
    }
}

/* Of what is cut off anywhere, what is found is the front of what was there, and lies within it. */
static void lies_within(void **state)
{
    UNUSED(state);
    struct str whole = STR(" \"S, \\\" <J>\" (c (d)) <\"j o\"@example.org> (e)\r\n"), got;
    for (size_t n = 0; n <= whole.n; n++) {
        if (readdress_find(str_slice(whole, 0, n), &got))
            assert_true(got.n > 0 && got.p >= whole.p && got.p + got.n <= whole.p + n);
    }
    assert_true(readdress_find(whole, &got));
    assert_true(str_eq(got, STR("\"j o\"@example.org")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_the_address), cmocka_unit_test(lies_within)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
