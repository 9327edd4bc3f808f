#include "proto/dovecot_auth.h"

#include "base/mem.h"
#include "crypto/testing.h"

#include <string.h>

#define HELLO                                                                                                \
    "VERSION\t1\t2\nMECH\tLOGIN\tplaintext\nMECH\tPLAIN\tplaintext\nSPID\t77\nCUID\t3\n"                     \
    "COOKIE\t00112233445566778899aabbccddeeff\nDONE\n"

/* ---- what the server says ---------------- */

static void put_event(const struct dovecot_event *e, struct buf *out)
{
    static const char *const verdicts[] = {"yes", "no", "later"};
    if (e->kind == DOVECOT_READY)
        buf_puts(out, "ready ");
    else if (e->kind == DOVECOT_BROKEN)
        buf_printf(out, "broken:%.*s ", STR_FMT(e->why));
    else
        buf_printf(out, "%u:%s:%.*s:%.*s ", (unsigned)e->id, verdicts[e->verdict], STR_FMT(e->user),
                   STR_FMT(e->why));
}

static void feed(struct dovecot_auth *d, struct str in, struct buf *out)
{
    for (;;) {
        struct dovecot_event e = dovecot_auth_feed(d, &in);
        if (e.kind == DOVECOT_MORE)
            break;
        put_event(&e, out);
        if (e.kind == DOVECOT_BROKEN)
            return;
    }
    assert_int_equal(in.n, 0);
}

/* In pieces of n octets; piece 0: cut in two at `at`. */
static void check_cut(struct str in, size_t piece, size_t at, const char *want)
{
    char mem[4096];
    struct buf out;
    struct dovecot_auth *d = mem_must_new(struct dovecot_auth);
    dovecot_auth_init(d);
    buf_init_fixed(&out, mem, sizeof mem);
    if (piece == 0) {
        feed(d, str_slice(in, 0, at), &out);
        if (!d->is_broken)
            feed(d, str_skip(in, at), &out);
    }
    for (size_t i = 0; piece > 0 && i < in.n && !d->is_broken; i += piece)
        feed(d, str_slice(in, i, i + piece < in.n ? i + piece : in.n), &out);
    assert_false(out.failed);
    buf_putc(&out, '\0');
    assert_string_equal(out.p, want);
    mem_free(d);
}

static void events_however_it_is_cut(void **state)
{
    UNUSED(state);
    static const struct {
        const char *in, *want;
    } rows[] = {
        {HELLO, "ready "},
        {HELLO "OK\t1\tuser=joe@example.org\n", "ready 1:yes:joe@example.org: "},
        {HELLO "OK\t7\tuser=joe\tanonymous\nFAIL\t6\tuser=ann\n", "ready 7:yes:joe: 6:no:: "},
        {HELLO "FAIL\t1\tuser=joe\ttemp\n", "ready 1:later:: "},
        {HELLO "FAIL\t1\tuser=joe\tcode=temp_fail\treason=the store is away\n",
         "ready 1:later::the store is away "},
        {HELLO "FAIL\t2\treason=a\1tb\1nc\1"
               "1\n",
         "ready 2:no::a\tb\nc\1 "},
        {HELLO "OK\t1\ttemp\tuser=joe\n", "ready 1:yes:joe: "}, /* a word of FAIL alone */
        {HELLO "CONT\t3\t\n", "ready 3:later::it wants more than PLAIN has "},
        {HELLO "NEWS\tof\tlater\n\nOK\t1\tuser=joe\n", "ready 1:yes:joe: "},
        {"VERSION\t1\t9\nMECH\tplain\nNEWS\nDONE\n", "ready "},
        /* nobody that we could name */
        {HELLO "OK\t1\n", "ready 1:later::the user that it names has no name that a mail server can know "},
        {HELLO "OK\t1\tuser=a\1nb\n",
         "ready 1:later::the user that it names has no name that a mail server can know "},
        {HELLO "OK\t1\tuser=\377\n",
         "ready 1:later::the user that it names has no name that a mail server can know "},
        /* not of this protocol */
        {"VERSION\t2\t0\nDONE\n", "broken:it speaks another version of the protocol "},
        {"VERSION\nDONE\n", "broken:it speaks another version of the protocol "},
        {"VERSION\t-1\t0\n", "broken:it speaks another version of the protocol "},
        {"MECH\tPLAIN\nVERSION\t1\t1\nDONE\n", "broken:it does not begin with its version "},
        {"220 mail.example.org ESMTP\r\n", "broken:it does not begin with its version "},
        {"VERSION\t1\t1\nMECH\tCRAM-MD5\nDONE\n", "broken:it does not offer PLAIN "},
        {"VERSION\t1\t1\nMECH\tPLAINER\nDONE\n", "broken:it does not offer PLAIN "},
        {"VERSION\t1\t1\nMECH\tPLAIN\nOK\t1\tuser=joe\n", "broken:it answers what was not asked "},
        {HELLO "OK\n", "ready broken:it answers without a number "},
        {HELLO "OK\t0\tuser=joe\n", "ready broken:it answers without a number "},
        {HELLO "FAIL\t4294967296\n", "ready broken:it answers without a number "},
        {HELLO "CONT\tx\n", "ready broken:it answers without a number "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str in = str_from_c(rows[i].in);
        check_cut(in, in.n, 0, rows[i].want);
        check_cut(in, 1, 0, rows[i].want);
        for (size_t at = 0; at <= in.n; at++)
            check_cut(in, 0, at, rows[i].want);
    }
}

static void lines_have_an_end(void **state)
{
    UNUSED(state);
    struct dovecot_auth *d = mem_must_new(struct dovecot_auth);
    char line[DOVECOT_LINE_MAX + 1];
    memset(line, 'x', sizeof line);
    struct str hello = STR(HELLO), full = str_of(line, DOVECOT_LINE_MAX), end = STR("\n"), one = STR("x");
    dovecot_auth_init(d);
    assert_int_equal(dovecot_auth_feed(d, &hello).kind, DOVECOT_READY);
    assert_int_equal(dovecot_auth_feed(d, &full).kind, DOVECOT_MORE);
    assert_int_equal(dovecot_auth_feed(d, &end).kind, DOVECOT_MORE); /* a word of later versions */
    full = str_of(line, DOVECOT_LINE_MAX);
    assert_int_equal(dovecot_auth_feed(d, &full).kind, DOVECOT_MORE);
    assert_int_equal(dovecot_auth_feed(d, &one).kind, DOVECOT_BROKEN);
    one = STR("x");
    assert_int_equal(dovecot_auth_feed(d, &one).kind, DOVECOT_BROKEN); /* and stays so */
    mem_free(d);
}

/* A NUL within a name can't be told from its end by those who come after. */
static void no_nul_in_a_name(void **state)
{
    UNUSED(state);
    struct dovecot_auth *d = mem_must_new(struct dovecot_auth);
    struct str hello = STR(HELLO), in = STR("OK\t1\tuser=joe\1"
                                            "0x\n");
    dovecot_auth_init(d);
    assert_int_equal(dovecot_auth_feed(d, &hello).kind, DOVECOT_READY);
    struct dovecot_event e = dovecot_auth_feed(d, &in);
    assert_int_equal(e.kind, DOVECOT_ANSWER);
    assert_int_equal(e.verdict, DOVECOT_LATER);
    assert_int_equal(e.user.n, 0);
    mem_free(d);
}

/* ---- what we say ---------------- */

static void questions_are_lines(void **state)
{
    UNUSED(state);
    char mem[DOVECOT_QUESTION_MAX];
    struct buf out;
    buf_init_fixed(&out, mem, sizeof mem);
    dovecot_put_hello(&out, 4000000000);
    assert_true(str_eq(buf_str(&out), STR("VERSION\t1\t1\nCPID\t4000000000\n")));
    assert_true(out.n <= DOVECOT_HELLO_MAX);
    buf_reset(&out);
    struct dovecot_question q = {
        .id = 9, .user = STR("joe@a.example"), .password = STR("p\tw"), .client = STR("2001:db8::1")};
    assert_true(dovecot_put_question(&out, &q));
    assert_true(str_eq(buf_str(&out), STR("AUTH\t9\tPLAIN\tservice=smtp\tnologin\tsecured\trip=2001:db8::1\t"
                                          "resp=AGpvZUBhLmV4YW1wbGUAcAl3\n")));
    buf_reset(&out);
    q = (struct dovecot_question){.id = 1, .user = STR("joe"), .password = STR("x")};
    assert_true(dovecot_put_question(&out, &q));
    assert_true(
        str_eq(buf_str(&out), STR("AUTH\t1\tPLAIN\tservice=smtp\tnologin\tsecured\tresp=AGpvZQB4\n")));
}

static void no_question_of_bad_parts(void **state)
{
    UNUSED(state);
    char mem[DOVECOT_QUESTION_MAX], big[SASL_PASSWORD_MAX + 1], client[DOVECOT_CLIENT_MAX + 1];
    struct buf out;
    memset(big, 'x', sizeof big);
    memset(client, ':', sizeof client);
    const struct dovecot_question bad[] = {
        {.id = 1, .user = str_of("a\0b", 3), .password = STR("x")},
        {.id = 1, .user = STR("a"), .password = str_of("a\0b", 3)},
        {.id = 1, .user = STR("a"), .password = STR("x"), .client = STR("::1\tresp=x")},
        {.id = 1, .user = STR("a"), .password = STR("x"), .client = STR("::1\n")},
        {.id = 1, .user = STR("a"), .password = STR("x"), .client = str_of(client, sizeof client)},
        {.id = 1, .user = str_of(big, SASL_NAME_MAX), .password = str_of(big, sizeof big)},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_init_fixed(&out, mem, sizeof mem);
        buf_puts(&out, "before");
        assert_false(dovecot_put_question(&out, &bad[i]));
        assert_true(str_eq(buf_str(&out), STR("before")));
    }
    struct dovecot_question most = {.id = UINT32_MAX,
                                    .user = str_of(big, SASL_NAME_MAX),
                                    .password = str_of(big, SASL_PASSWORD_MAX),
                                    .client = str_of(client, DOVECOT_CLIENT_MAX)};
    buf_init_fixed(&out, mem, sizeof mem);
    assert_true(dovecot_put_question(&out, &most));
    for (size_t room = 0; room < out.n; room++) { /* whole or not at all, and nothing of a password stays */
        struct buf small;
        char small_mem[DOVECOT_QUESTION_MAX];
        memset(small_mem, 0, sizeof small_mem);
        buf_init_fixed(&small, small_mem, room);
        assert_false(dovecot_put_question(&small, &most));
        assert_int_equal(small.n, 0);
        assert_int_equal(str_find(str_of(small_mem, sizeof small_mem), STR("eHh4")), STR_NPOS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_however_it_is_cut), cmocka_unit_test(lines_have_an_end),
        cmocka_unit_test(no_nul_in_a_name),         cmocka_unit_test(questions_are_lines),
        cmocka_unit_test(no_question_of_bad_parts),
    };
    return cmocka_run_group_tests_name("dovecot_auth", tests, NULL, NULL);
}
