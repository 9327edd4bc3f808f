#include "wire/params.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct mail_params full = {
    .ret = DSN_RET_HDRS,
    .envid = {"QQ314159", 8},
    .by_mode = BY_NOTIFY,
    .by_trace = true,
    .by_ms = INT64_C(1700000000123),
    .priority = -4,
    .has_priority = true,
    .hold_until_ms = INT64_C(1700000009000),
    .requiretls = true,
    .tag = {"bulk", 4},
    .feedback = {"\1\1\1\5\1\0\1\0\2\0\0\0no", 14}, /* of a report: failed, 5.1.1, "no" */
    .tls_optional = true,
};

static void defaults_cost_nothing(void **state)
{
    UNUSED(state);
    char mem[64];
    struct buf b;
    struct mail_params p = {0}, back = {.ret = DSN_RET_FULL};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(mail_params_put(&p, &b));
    assert_int_equal(b.n, 0);
    assert_true(mail_params_get(STR_NIL, &back));
    assert_int_equal(back.ret, DSN_RET_NONE);
}

static void all_of_it_comes_back(void **state)
{
    UNUSED(state);
    char mem[256], again_mem[256];
    struct buf b, again;
    struct mail_params back;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&again, again_mem, sizeof again_mem);
    assert_true(mail_params_put(&full, &b));
    assert_true(mail_params_get(buf_str(&b), &back));
    assert_true(back.by_ms == full.by_ms && back.hold_until_ms == full.hold_until_ms);
    assert_int_equal(back.priority, -4);
    assert_true(mail_params_put(&back, &again));
    assert_true(str_eq(buf_str(&b), buf_str(&again)));
}

/* Every cut and every other octet: refused, or a sound record that is written the same way again. */
static void damaged_params_are_refused_or_sound(void **state)
{
    UNUSED(state);
    char mem[256], again_mem[512];
    struct buf b, again;
    struct mail_params back;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&again, again_mem, sizeof again_mem);
    assert_true(mail_params_put(&full, &b));
    for (size_t at = 0; at < b.n; at++) {
        char kept = mem[at];
        for (unsigned v = 0; v < 256; v++) {
            mem[at] = (char)v;
            buf_reset(&again);
            if (mail_params_get(buf_str(&b), &back) && mail_params_put(&back, &again))
                assert_true(str_eq(buf_str(&b), buf_str(&again)));
        }
        mem[at] = kept;
        buf_reset(&again);
        if (mail_params_get(str_of(mem, at), &back) && mail_params_put(&back, &again))
            assert_true(str_eq(str_of(mem, at), buf_str(&again)));
    }
}

static void recipients_come_back(void **state)
{
    UNUSED(state);
    static const struct rcpt all[] = {
        {.address = {"a@b.test", 8}},
        {.address = {"c@d.test", 8}, .notify = NOTIFY_NEVER},
        {.address = {"e@f.test", 8},
         .notify = NOTIFY_SUCCESS | NOTIFY_DELAY,
         .flags = RCPT_IS_EXPANDED,
         .target = 2,
         .orcpt = {"rfc822;g@h.test", 15},
         .shown = {"list@f.test", 11}},
    };
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_true(rcpt_put(&all[i], &b));
    assert_int_equal(rcpt_count(buf_str(&b)), ARRAY_LEN(all));
    struct reader r = reader_of(buf_str(&b));
    struct rcpt one;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(rcpt_next(&r, &one));
        assert_true(str_eq(one.address, all[i].address) && str_eq(one.orcpt, all[i].orcpt));
        assert_true(str_eq(one.shown, all[i].shown) && one.notify == all[i].notify);
        assert_true(one.flags == all[i].flags && one.target == all[i].target);
    }
    assert_false(rcpt_next(&r, &one));
    assert_false(r.failed);
    size_t ends[] = {0, 13, 27};
    for (size_t n = 0; n < b.n; n++) {
        uint32_t count = rcpt_count(str_of(mem, n));
        bool is_whole = n == ends[0] || n == ends[1] || n == ends[2];
        assert_true(is_whole || count == 0);
    }
}

static void malformed_recipients_are_refused(void **state)
{
    UNUSED(state);
    static const struct {
        const char *octets;
        size_t n;
    } bad[] = {
        {"\0\0\0\0\0", 5},             /* no address */
        {"\1\0\0\0\n\0", 6},           /* a control character */
        {"\1\0\0\0a\x20", 6},          /* an unknown member */
        {"\1\0\0\0a\1\3", 7},          /* NEVER beside another word */
        {"\1\0\0\0a\1\x10", 7},        /* no such word */
        {"\1\0\0\0a\2\x20", 7},        /* no such flag */
        {"\1\0\0\0a\x08\0\0\0\0", 10}, /* an empty ORCPT */
        {"\xff\xff\xff\xff"
         "a\0",
         6}, /* longer than all there is */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(rcpt_count(str_of(bad[i].octets, bad[i].n)), 0);
}

static void the_longest_record_has_its_bound(void **state)
{
    UNUSED(state);
    static char text[SMTP_PATH_MAX];
    char mem[RCPT_RECORD_MAX];
    struct buf b;
    memset(text, 'x', sizeof text);
    struct str path = str_of(text, sizeof text);
    struct rcpt r = {.address = path,
                     .notify = 2,
                     .flags = 1,
                     .target = 1,
                     .orcpt = str_of(text, DSN_ORCPT_MAX),
                     .shown = path};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(rcpt_put(&r, &b));
    assert_int_equal(b.n, RCPT_RECORD_MAX);
    assert_false(rcpt_put(&r, &b));
    assert_int_equal(b.n, RCPT_RECORD_MAX);
    buf_init(&b, SIZE_MAX);
    for (uint32_t i = 0; i < SMTP_RCPT_MAX; i++)
        assert_true(rcpt_put(&r, &b));
    assert_int_equal(rcpt_count(buf_str(&b)), SMTP_RCPT_MAX);
    assert_true(b.n <= STORE_ENVELOPE_MAX);
    assert_true(rcpt_put(&r, &b));
    assert_int_equal(rcpt_count(buf_str(&b)), 0);
    buf_fini(&b);
}

static void the_words_of_notify(void **state)
{
    UNUSED(state);
    char mem[64];
    struct buf text;
    for (unsigned notify = 0; notify <= NOTIFY_ALL; notify++) {
        uint8_t back = 0;
        buf_init_fixed(&text, mem, sizeof mem);
        notify_put((uint8_t)notify, &text);
        assert_false(text.failed);
        struct str rest = buf_str(&text);
        while (rest.n > 0)
            back |= notify_bit(str_cut(&rest, ','));
        assert_int_equal(back, notify);
    }
    buf_init_fixed(&text, mem, sizeof mem);
    notify_put(NOTIFY_SUCCESS | NOTIFY_DELAY, &text);
    assert_true(str_eq(buf_str(&text), STR("SUCCESS,DELAY")));
    assert_int_equal(notify_bit(STR("never")), NOTIFY_NEVER);
    assert_int_equal(notify_bit(STR("delayed")), 0);
    assert_int_equal(notify_bit(STR_NIL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_cost_nothing),
        cmocka_unit_test(all_of_it_comes_back),
        cmocka_unit_test(damaged_params_are_refused_or_sound),
        cmocka_unit_test(recipients_come_back),
        cmocka_unit_test(malformed_recipients_are_refused),
        cmocka_unit_test(the_longest_record_has_its_bound),
        cmocka_unit_test(the_words_of_notify),
    };
    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
