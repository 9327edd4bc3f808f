#include "service/local/forward.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct ipc_forward_ask joe = {
    .token = 7, .uid = 1000, .user_name = STR_INIT("joe"), .rcpt = STR_INIT("joe@a.example")};
static const struct disk_about fine = {.uid = 1000, .mode = 0644, .is_regular = true};

static void say(enum err err, const struct disk_about *about, const char *text, struct forward_answer *out)
{
    char mem[200];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_puts(&b, text);
    const struct disk_op op = {
        .kind = DISK_READ_SMALL, .mem = mem, .n_done = b.n, .err = err, .about = *about};
    memset(out, 0xa5, sizeof *out);
    forward_say(&op, &joe, out);
}

static void expect_trouble(enum err err, const struct disk_about *about, const char *text, struct esc esc,
                           const char *want)
{
    struct forward_answer *a = mem_must_alloc(sizeof *a);
    say(err, about, text, a);
    assert_int_equal(a->says, HOME_SAYS_RESULT);
    assert_int_equal(a->result.kind, RESULT_TEMPORARY);
    assert_memory_equal(&a->result.esc, &esc, sizeof esc);
    if (!str_eq(a->result.text, str_from_c(want)))
        fail_msg("%.*s and not %s", STR_FMT(a->result.text), want);
    mem_free(a);
}

static void test_nothing(void **state)
{
    UNUSED(state);
    struct forward_answer *a = mem_must_alloc(sizeof *a);
    const struct disk_about none = {.is_regular = false};
    say(ERR_NOTFOUND, &none, "", a);
    assert_int_equal(a->says, HOME_SAYS_NOTHING);
    static const char *const texts[] = {"", "# away\n", "\\joe\n", "joe@a.example"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        say(ERR_OK, &fine, texts[i], a);
        assert_int_equal(a->says, HOME_SAYS_NOTHING);
    }
    mem_free(a);
}

static void test_targets(void **state)
{
    UNUSED(state);
    struct forward_answer *a = mem_must_alloc(sizeof *a);
    static const struct disk_about taken[] = {
        {1000, 0644, true}, {1000, 0400, true}, {0, 0644, true}, {1000, 07755, true}};
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        say(ERR_OK, &taken[i], "ann, \\joe", a);
        assert_int_equal(a->says, HOME_SAYS_RESULT);
        assert_int_equal(a->result.kind, RESULT_EXPANDED);
        struct reader r = reader_of(a->result.targets);
        struct rcpt one;
        assert_true(rcpt_next(&r, &one) && str_eq(one.address, STR("ann@a.example")));
        assert_true(rcpt_next(&r, &one) && str_eq(one.address, joe.rcpt));
        assert_false(rcpt_next(&r, &one));
        assert_false(r.failed);
    }
    mem_free(a);
}

/* It is not known who the user is where nobody becomes another: then whose the file is tells nothing. */
static void test_without_root(void **state)
{
    UNUSED(state);
    struct forward_answer *a = mem_must_alloc(sizeof *a);
    struct ipc_forward_ask m = joe;
    char text[] = "ann";
    struct disk_op op = {.kind = DISK_READ_SMALL, .mem = text, .n_done = 3, .about = {1234, 0644, true}};
    m.uid = UINT32_MAX;
    forward_say(&op, &m, a);
    assert_int_equal(a->result.kind, RESULT_EXPANDED);
    op.about.mode = 0664;
    forward_say(&op, &m, a);
    assert_int_equal(a->result.kind, RESULT_TEMPORARY);
    mem_free(a);
}

static void test_trouble(void **state)
{
    UNUSED(state);
    static const struct disk_about none = {.is_regular = false};
    static const struct disk_about others = {.uid = 1001, .mode = 0644, .is_regular = true};
    static const struct disk_about groups = {.uid = 1000, .mode = 0664, .is_regular = true};
    static const struct disk_about worlds = {.uid = 1000, .mode = 0646, .is_regular = true};
    static const struct disk_about roots = {.uid = 0, .mode = 0666, .is_regular = true};
    const struct esc mailbox = ESC(4, 2, 0), system = ESC(4, 3, 0);
    expect_trouble(ERR_INVALID, &none, "", mailbox,
                   "the user's .forward: it is a symbolic link, which is not followed");
    expect_trouble(ERR_TOO_BIG, &fine, "", mailbox, "the user's .forward: it has more than 32768 octets");
    expect_trouble(ERR_DENIED, &none, "", mailbox, "the user's .forward: permission denied");
    expect_trouble(ERR_IO, &none, "", system, "the user's .forward: input/output error");
    expect_trouble(ERR_NOMEM, &none, "", system, "the user's .forward: memory budget used up");
    expect_trouble(ERR_OK, &none, "", mailbox, "the user's .forward: it is no regular file");
    expect_trouble(ERR_OK, &others, "ann", mailbox, "the user's .forward: it belongs to another user");
    expect_trouble(ERR_OK, &groups, "ann", mailbox,
                   "the user's .forward: others than its owner can write it");
    expect_trouble(ERR_OK, &worlds, "ann", mailbox,
                   "the user's .forward: others than its owner can write it");
    expect_trouble(ERR_OK, &roots, "ann", mailbox, "the user's .forward: others than its owner can write it");
    expect_trouble(ERR_OK, &fine, "ann\n# x\n|prog", mailbox,
                   "line 3 of the user's .forward: only the configuration can have programs started");
    expect_trouble(ERR_OK, &fine, "ann@", mailbox, "line 1 of the user's .forward: the domain is missing");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_without_root),
        cmocka_unit_test(test_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
