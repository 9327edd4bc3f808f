#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/verp.h"

#include <string.h>

#define L44 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr"
#define LONGEST "bounce+" L44 "=k.t"

static void test_format(void **state)
{
    UNUSED(state);
    static const struct {
        const char *member, *address; /* NULL: has none */
    } rows[] = {
        {"joe@example.com", "bounce+joe=example.com-aaaaaaab@lists.example.org"},
        {"Joe.Doe+x=y@Example.com", "bounce+Joe.Doe+x=y=Example.com-aaaaaaab@lists.example.org"},
        {L44 "@k.t", LONGEST "-aaaaaaab@lists.example.org"},
        {L44 "s@k.t", NULL},
        {"\"joe\"@example.com", NULL},
        {"\"jo e\"@example.com", NULL},
        {"joe@[192.0.2.1]", NULL},
        {"joe@b\xc3\xbc.example", NULL},
        {"j\xc3\xb6@example.com", NULL},
        {"joe", NULL},
        {"@example.com", NULL},
        {"", NULL},
    };
    char tag[VERP_TAG];
    verp_tag((uint64_t)1 << 35, tag);
    _Static_assert(sizeof LONGEST - 1 + 1 + VERP_TAG == SMTP_LOCAL_PART_MAX, "at the limit");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[512];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        bool ok = verp_format(STR("bounce"), str_from_c(rows[i].member), tag, STR("lists.example.org"), &b);
        assert_int_equal(ok, rows[i].address != NULL);
        assert_true(str_eq(buf_str(&b), str_from_c(rows[i].address)));
        buf_init_fixed(&b, mem, 30); /* no room */
        assert_false(
            verp_format(STR("bounce"), str_from_c(rows[i].member), tag, STR("lists.example.org"), &b));
        assert_int_equal(b.n, 0);
    }
}

static void test_parse(void **state)
{
    UNUSED(state);
    static const struct {
        const char *local, *member_local, *member_domain;
    } rows[] = {
        {"bounce+joe=example.com-aaaaaaab", "joe", "example.com"},
        {"BOUNCE+JOE=EXAMPLE.COM-AAAAAAAB", "JOE", "EXAMPLE.COM"},
        {"bounce+a=b=c-d.example-2-aaaaaaab", "a=b", "c-d.example-2"},
        {"bounce+joe+x=example.com-aaaaaaab", "joe+x", "example.com"},
        {"bounce", NULL, NULL},
        {"bounce+", NULL, NULL},
        {"bounce+joe", NULL, NULL},
        {"bounce+joe=example.com", NULL, NULL},
        {"bounce+joe=example.com-", NULL, NULL},
        {"bounce+joe=example.com-aaaaaab", NULL, NULL},  /* 7 */
        {"bounce+joe=example.com-aaaaaa1b", NULL, NULL}, /* 1 is no digit of it */
        {"bounce+joe=example.com_aaaaaaab", NULL, NULL},
        {"bounce+=example.com-aaaaaaab", NULL, NULL},
        {"bounce+joe=-aaaaaaab", NULL, NULL},
        {"bounce+joe=a..b-aaaaaaab", NULL, NULL},
        {"bounce+joe=-a-aaaaaaab", NULL, NULL},
        {"bounce+.joe=a.b-aaaaaaab", NULL, NULL},
        {"bounce+j o=a.b-aaaaaaab", NULL, NULL},
        {"bounce+jo\"e=a.b-aaaaaaab", NULL, NULL},
        {"bounce+jo@e=a.b-aaaaaaab", NULL, NULL},
        {"bounce+jo%c3%b6=\xc3\xbc.b-aaaaaaab", NULL, NULL},
        {"bounce-joe=example.com-aaaaaaab", NULL, NULL},
        {"bouncer+joe=example.com-aaaaaaab", NULL, NULL},
        {"ounce+joe=example.com-aaaaaaab", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct verp v;
        bool ok = verp_parse(str_from_c(rows[i].local), STR("bounce"), &v);
        assert_int_equal(ok, rows[i].member_local != NULL);
        if (!ok)
            continue;
        assert_true(str_eq(v.local, str_from_c(rows[i].member_local)));
        assert_true(str_eq(v.domain, str_from_c(rows[i].member_domain)));
        assert_memory_equal(v.tag, "aaaaaaab", VERP_TAG);
    }
    struct verp v;
    assert_false(verp_parse(STR("+joe=example.com-aaaaaaab"), STR(""), &v));
    char many[400];
    memset(many, 'a', sizeof many);
    assert_false(verp_parse(str_of(many, sizeof many), STR("a"), &v));
}

/* What was written is read again, each octet of a member's local part that an atom may have. */
static void test_round_trip(void **state)
{
    UNUSED(state);
    static const char atom[] = "abzAZ09!#$%&'*+-/=?^_`{|}~";
    for (size_t i = 0; i < sizeof atom - 1; i++) {
        char member[] = {'a', '.', atom[i], '@', 'b', '.', 'c', 0}, mem[128], tag[VERP_TAG];
        struct buf b;
        struct verp v;
        verp_tag(0x9e3779b97f4a7c15u * (i + 1), tag);
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(verp_format(STR("b"), str_from_c(member), tag, STR("d"), &b));
        assert_true(verp_parse(str_slice(buf_str(&b), 0, b.n - 2), STR("B"), &v));
        assert_true(str_eq(v.local, str_of(member, 3)) && str_eq(v.domain, STR("b.c")));
        assert_memory_equal(v.tag, tag, VERP_TAG);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
