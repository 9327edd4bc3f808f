#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/header.h"
#include "wire/header_fix.h"

#include <string.h>

#define FROM "From: ann@example.org\r\n"
#define DATE "Date: Tue, 24 Nov 2026 01:02:03 +0000\r\n"
#define ID "Message-ID: <1795482123.0000000000021@mail.example.org>\r\n"
#define WHOLE "From: x@y\r\nDate: d\r\nMessage-ID: <i>\r\n"

static const struct header_fix_facts facts = {.from = STR_INIT("ann@example.org"),
                                              .host = STR_INIT("mail.example.org"),
                                              .queue_id = 65,
                                              .unix_s = 1795482123};

static void drain(struct header_fix *f, struct str in, struct buf *out)
{
    struct str piece;
    while (header_fix_next(f, &in, &piece)) {
        assert_true(piece.n > 0);
        assert_true(buf_put(out, piece));
    }
    assert_int_equal(in.n, 0);
}

/* In pieces of step octets, the first of them cut at first. */
static void fix(struct str message, size_t first, size_t step, const struct header_fix_facts *known,
                struct buf *out)
{
    struct header_fix f;
    buf_reset(out);
    header_fix_init(&f, known);
    drain(&f, str_slice(message, 0, first), out);
    for (size_t at = first; at < message.n; at += step)
        drain(&f, str_slice(message, at, at + step), out);
    for (int twice = 0; twice < 2; twice++) {
        header_fix_end(&f);
        drain(&f, STR_NIL, out);
        assert_true(header_fix_is_done(&f));
    }
}

static void check(struct str message, struct str want, const struct header_fix_facts *known)
{
    struct buf out;
    buf_init(&out, 1024 * 1024);
    for (size_t first = 0; first <= message.n; first++) {
        fix(message, first, message.n + 1, known, &out);
        if (!str_eq(buf_str(&out), want))
            fail_msg("cut at %zu: %.*s\nbecame %.*s", first, STR_FMT(message), STR_FMT(buf_str(&out)));
    }
    for (size_t step = 1; step <= 3; step++) {
        fix(message, 0, step, known, &out);
        if (!str_eq(buf_str(&out), want))
            fail_msg("by %zu: %.*s\nbecame %.*s", step, STR_FMT(message), STR_FMT(buf_str(&out)));
    }
    buf_fini(&out);
}

struct row {
    const char *message, *want;
};

/* clang-format off */
static const struct row rows[] = {
    /* what is missing */
    {"Subject: x\r\n\r\nbody\r\n",              "Subject: x\r\n" FROM DATE ID "\r\nbody\r\n"},
    {"From: x@y\r\n\r\n",                       "From: x@y\r\n" DATE ID "\r\n"},
    {"DATE: d\r\n\r\n",                         "DATE: d\r\n" FROM ID "\r\n"},
    {"message-id :\r\n <i>\r\n\r\n",            "message-id :\r\n <i>\r\n" FROM DATE "\r\n"},
    {"Fro: a\r\nFroms: b\r\nX-Date: c\r\n\r\n", "Fro: a\r\nFroms: b\r\nX-Date: c\r\n" FROM DATE ID "\r\n"},
    {WHOLE "\r\nbody\r\n",                      WHOLE "\r\nbody\r\n"},
    /* malformed is not missing */
    {"From:\r\nDate:\r\nMessage-ID:\r\n\r\n",   "From:\r\nDate:\r\nMessage-ID:\r\n\r\n"},
    /* in the body nothing counts */
    {WHOLE "\r\nBcc: x\r\n\r\n",                WHOLE "\r\nBcc: x\r\n\r\n"},
    {"A: 1\r\n\r\nFrom: x@y\r\nDate: d\r\n",    "A: 1\r\n" FROM DATE ID "\r\nFrom: x@y\r\nDate: d\r\n"},
    {"A: 1\r\n\r\n\r\n",                        "A: 1\r\n" FROM DATE ID "\r\n\r\n"},
    {"A: 1\r\n\r\n \r\n",                       "A: 1\r\n" FROM DATE ID "\r\n \r\n"},
    /* what is taken off */
    {WHOLE "Bcc: a@b,\r\n c@d,\r\n\te@f\r\nX: y\r\n\r\n", WHOLE "X: y\r\n\r\n"},
    {"bCC \t: a@b\r\n" WHOLE "\r\n",            WHOLE "\r\n"},
    {WHOLE "Bcc:\r\n\r\nb",                     WHOLE "\r\nb"},
    {WHOLE "Bcc: a\r\n \r\n\r\nb",              WHOLE "\r\nb"},
    {WHOLE "Bcc: a\r\nBCC: b\r\n x\r\nBcc: c",  WHOLE},
    {WHOLE "Bccs: a\r\nBc: b\r\n\r\n",          WHOLE "Bccs: a\r\nBc: b\r\n\r\n"},
    {WHOLE "Return-Path: <a@b>\r\n\r\n",        WHOLE "\r\n"},
    {WHOLE "Subject: Bcc: a\r\n Bcc: b\r\n\r\n", WHOLE "Subject: Bcc: a\r\n Bcc: b\r\n\r\n"},
    {"Bcc: a\r\n\r\n",                          FROM DATE ID "\r\n"},
    /* a message that is sent again is that of someone else */
    {"Resent-From: a@b\r\nResent-Bcc: c\r\nBcc: d\r\nA: 1\r\n\r\n", "Resent-From: a@b\r\nA: 1\r\n\r\n"},
    {"Resent-Bcc: c\r\nA: 1\r\n\r\n",           "A: 1\r\n\r\n"},
    {"Resent: a\r\n\r\n",                       "Resent: a\r\n" FROM DATE ID "\r\n"},
    /* no header, no body, no message */
    {"\r\nbody\r\n",                            FROM DATE ID "\r\nbody\r\n"},
    {"",                                        FROM DATE ID},
    {"A: 1\r\n",                                "A: 1\r\n" FROM DATE ID},
    {"A: 1",                                    "A: 1\r\n" FROM DATE ID},
    {WHOLE "A: 1",                              WHOLE "A: 1"},
    {WHOLE "A: 1\r\n b",                        WHOLE "A: 1\r\n b"},
    {"A: 1\r\nBcc: x",                          "A: 1\r\n" FROM DATE ID},
    {"A:",                                      "A:\r\n" FROM DATE ID},
    {"Bcc:",                                    FROM DATE ID},
    {"A: 1\r\n\r",                              "A: 1\r\n" FROM DATE ID "\r"},
    /* a line that is no field is the body */
    {"hello\r\nBcc: x\r\n",                     FROM DATE ID "\r\nhello\r\nBcc: x\r\n"},
    {"A: 1\r\nhello world\r\nBcc: x\r\n",       "A: 1\r\n" FROM DATE ID "\r\nhello world\r\nBcc: x\r\n"},
    {WHOLE "a b: c\r\n",                        WHOLE "\r\na b: c\r\n"},
    {WHOLE ": c\r\n",                           WHOLE "\r\n: c\r\n"},
    {WHOLE "Bcc\r\n: c\r\n",                    WHOLE "\r\nBcc\r\n: c\r\n"},
    {" a: b\r\nBcc: x\r\n",                     FROM DATE ID "\r\n a: b\r\nBcc: x\r\n"},
    {"Bc\x01" "c: x\r\n",                       FROM DATE ID "\r\nBc\x01" "c: x\r\n"},
    {"\xc3\xbc: x\r\n",                         FROM DATE ID "\r\n\xc3\xbc: x\r\n"},
    {WHOLE "Bc",                                WHOLE "\r\nBc"},
    {WHOLE "Bcc ",                              WHOLE "\r\nBcc "},
    {WHOLE "\rBcc: x\r\n",                      WHOLE "\r\n\rBcc: x\r\n"},
    {WHOLE "\r\r\nx",                           WHOLE "\r\n\r\r\nx"},
    /* a lone LF ends a line, a lone CR does not */
    {"A: 1\nBcc: b\n c\nB: 2\n\nbody",          "A: 1\nB: 2\n" FROM DATE ID "\nbody"},
    {WHOLE "Bcc: a\rX: 1\r\nY: 2\r\n\r\n",      WHOLE "Y: 2\r\n\r\n"},
};
/* clang-format on */

static void fixes(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(str_from_c(rows[i].message), str_from_c(rows[i].want), &facts);
}

static void what_is_not_known_is_not_added(void **state)
{
    UNUSED(state);
    struct header_fix_facts f = facts;
    char mem[SMTP_PATH_MAX + 1];
    memset(mem, 'a', sizeof mem);
    f.from = STR_NIL; /* a report */
    check(STR("A: 1\r\n\r\n"), STR("A: 1\r\n" DATE ID "\r\n"), &f);
    f.from = str_of(mem, sizeof mem);
    check(STR("A: 1\r\n\r\n"), STR("A: 1\r\n" DATE ID "\r\n"), &f);
    f.from = STR("a\r\nX: y");
    f.host = STR_NIL;
    check(STR("A: 1\r\n\r\n"), STR("A: 1\r\n" DATE "\r\n"), &f);
}

/* The longest of each fits. */
static void adds_the_longest(void **state)
{
    UNUSED(state);
    char from[SMTP_PATH_MAX], host[SMTP_DOMAIN_MAX];
    memset(from, 'a', sizeof from);
    memset(host, 'b', sizeof host);
    struct header_fix_facts f = {.from = str_of(from, sizeof from),
                                 .host = str_of(host, sizeof host),
                                 .queue_id = UINT64_MAX,
                                 .unix_s = INT64_MIN};
    struct buf out;
    struct header_walk w;
    struct header_field field;
    size_t n = 0;
    buf_init(&out, 4096);
    fix(STR("x"), 0, 1, &f, &out);
    header_walk_init(&w, buf_str(&out));
    while (header_walk_next(&w, &field))
        n++;
    assert_int_equal(n, 3);
    assert_true(str_eq(w.rest, STR("x")));
    buf_fini(&out);
}

static void long_names(void **state)
{
    UNUSED(state);
    static const size_t sizes[] = {HEADER_FIX_NAME_MAX - 1, HEADER_FIX_NAME_MAX, HEADER_FIX_NAME_MAX + 1,
                                   5000};
    struct buf message, want;
    buf_init(&message, 16384);
    buf_init(&want, 16384);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        buf_reset(&message);
        buf_reset(&want);
        for (size_t k = 0; k < sizes[i]; k++)
            buf_putc(&message, k == 0 || i % 2 == 0 ? 'a' : ' '); /* blanks count too */
        buf_puts(&message, ": x\r\nBcc: y\r\n\r\nbody");
        bool is_field = sizes[i] < HEADER_FIX_NAME_MAX; /* with its colon */
        buf_puts(&want, is_field ? "" : FROM DATE ID "\r\n");
        buf_put(&want, str_slice(buf_str(&message), 0, sizes[i] + 5));
        buf_puts(&want, is_field ? FROM DATE ID "\r\nbody" : "Bcc: y\r\n\r\nbody");
        check(buf_str(&message), buf_str(&want), &facts);
    }
    buf_fini(&message);
    buf_fini(&want);
}

/* Fields of any length pass, and a body goes through in one piece. */
static void copies_nothing_of_the_body(void **state)
{
    UNUSED(state);
    enum { BIG = 300 * 1024 };
    struct header_fix f;
    struct buf b;
    buf_init(&b, (size_t)BIG + 4096);
    buf_puts(&b, WHOLE "Bcc: ");
    for (size_t i = 0; i < BIG; i++)
        buf_putc(&b, 'x');
    buf_puts(&b, "\r\n\r\n");
    struct str in = buf_str(&b), out, body = STR("a body\r\n");
    size_t n = 0;
    header_fix_init(&f, &facts);
    assert_false(header_fix_is_done(&f));
    while (header_fix_next(&f, &in, &out))
        n += out.n;
    assert_int_equal(n, sizeof WHOLE - 1 + 2);
    assert_true(header_fix_is_done(&f));
    in = body;
    assert_true(header_fix_next(&f, &in, &out));
    assert_ptr_equal(out.p, body.p);
    assert_int_equal(out.n, body.n);
    assert_false(header_fix_next(&f, &in, &out));
    buf_fini(&b);
}

/* ---- addresses that become others ---------------- */

/* root's, and nobody else's; `same` stays the same by being replaced. */
static bool readdress(void *arg, struct str address, struct buf *out)
{
    unsigned *n = arg;
    (*n)++;
    if (str_eq(address, STR("same@box")))
        return buf_put(out, address);
    return (str_eq(address, STR("root@box")) || str_eq(address, STR("root"))) &&
           buf_puts(out, "me@isp.example");
}

/* clang-format off */
static const struct row readdress_rows[] = {
    {"From: root\r\nDate: d\r\nMessage-ID: i\r\n\r\nFrom: root\r\n",
     "From: me@isp.example\r\nDate: d\r\nMessage-ID: i\r\n\r\nFrom: root\r\n"},
    {"Date: d\r\nMessage-ID: i\r\nfrom :\r\n root@box\r\n\t(Cron Daemon)\r\n\r\nb",
     "Date: d\r\nMessage-ID: i\r\nfrom :\r\n me@isp.example\r\n\t(Cron Daemon)\r\n\r\nb"},
    {WHOLE "Sender: \"R, o\" <root@box>\r\nSubject: root@box\r\nX-From: root\r\n\r\n",
     WHOLE "Sender: \"R, o\" <me@isp.example>\r\nSubject: root@box\r\nX-From: root\r\n\r\n"},
    {"From: shop@box\r\nDate: d\r\nMessage-ID: i\r\n\r\n", "From: shop@box\r\nDate: d\r\nMessage-ID: i\r\n\r\n"},
    {WHOLE "Sender: same@box\r\n\r\n",                 WHOLE "Sender: same@box\r\n\r\n"},
    {WHOLE "Sender: root, root@box\r\n\r\n",           WHOLE "Sender: root, root@box\r\n\r\n"},
    {WHOLE "Resent-From: root\r\nFrom: root\r\n\r\n", WHOLE "Resent-From: root\r\nFrom: me@isp.example\r\n\r\n"},
    {WHOLE "Sender: root\nBcc: x\n\nb",                WHOLE "Sender: me@isp.example\n\nb"},
    {WHOLE "Sender: root\r\nhello\r\n",               WHOLE "Sender: me@isp.example\r\n\r\nhello\r\n"},
    /* the message ends within it, or behind it */
    {WHOLE "Sender: root",                             WHOLE "Sender: me@isp.example"},
    {WHOLE "Sender: root\r\n",                         WHOLE "Sender: me@isp.example\r\n"},
    {WHOLE "Sender:",                                  WHOLE "Sender:"},
    {"From: root",                                     "From: me@isp.example\r\n" DATE ID},
    {"Sender: root\r\n",                               "Sender: me@isp.example\r\n" FROM DATE ID},
};
/* clang-format on */

static void readdresses(void **state)
{
    UNUSED(state);
    unsigned n = 0;
    struct header_fix_facts f = facts;
    f.readdress = readdress;
    f.readdress_arg = &n;
    for (size_t i = 0; i < ARRAY_LEN(readdress_rows); i++)
        check(str_from_c(readdress_rows[i].message), str_from_c(readdress_rows[i].want), &f);
    assert_true(n > 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) /* all others are as without it */
        check(str_from_c(rows[i].message), str_from_c(rows[i].want), &f);
}

/* A field that is longer than can be held goes by as it is. */
static void readdresses_up_to_a_limit(void **state)
{
    UNUSED(state);
    unsigned asked = 0;
    struct header_fix_facts f = facts;
    struct buf message, want;
    f.readdress = readdress;
    f.readdress_arg = &asked;
    buf_init(&message, 16384);
    buf_init(&want, 16384);
    for (size_t n = HEADER_FIX_ADDS_MAX - 1; n <= HEADER_FIX_ADDS_MAX + 1; n++) {
        bool fits = n <= HEADER_FIX_ADDS_MAX;
        buf_reset(&message);
        buf_reset(&want);
        buf_puts(&message, WHOLE "Sender: ");
        buf_puts(&want, WHOLE "Sender: ");
        for (size_t k = 0; k < n - strlen("Sender: <root>\r\n"); k++) {
            buf_putc(&message, 'n');
            buf_putc(&want, 'n');
        }
        buf_puts(&message, "<root>\r\n\r\nbody");
        buf_printf(&want, "<%s>\r\n\r\nbody", fits ? "me@isp.example" : "root");
        check(buf_str(&message), buf_str(&want), &f);
    }
    buf_fini(&message);
    buf_fini(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixes),
        cmocka_unit_test(readdresses),
        cmocka_unit_test(readdresses_up_to_a_limit),
        cmocka_unit_test(what_is_not_known_is_not_added),
        cmocka_unit_test(adds_the_longest),
        cmocka_unit_test(long_names),
        cmocka_unit_test(copies_nothing_of_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
