#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "wire/header.h"
#include "wire/received.h"

#include <string.h>

static struct netaddr ip(const char *text)
{
    struct netaddr a;
    assert_true(netaddr_parse_ip(str_from_c(text), 25, &a));
    return a;
}

static void check(const struct received *r, const char *want)
{
    char mem[4096];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    received_format(r, &b);
    if (!str_eq(buf_str(&b), str_from_c(want)))
        fail_msg("%.*s", STR_FMT(buf_str(&b)));
}

static struct received plain(const struct netaddr *client)
{
    return (struct received){.helo = STR("client.example"),
                             .client = client,
                             .client_name = STR("host.client.example"),
                             .by = STR("mail.example.org"),
                             .with = STR("ESMTPS"),
                             .queue_id = 1,
                             .for_rcpt = STR("bob@example.net"),
                             .unix_s = 1795482123};
}

static void formats(void **state)
{
    UNUSED(state);
    struct netaddr ip4 = ip("192.0.2.1"), ip6 = ip("2001:db8::1"), none = {0};
    struct received r = plain(&ip4);
    check(&r, "Received: from client.example (host.client.example [192.0.2.1])\r\n"
              "\tby mail.example.org (Waxwing) with ESMTPS id 0000000000001\r\n"
              "\tfor <bob@example.net>;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
    r.client = &ip6;
    r.client_name = STR_NIL;
    r.for_rcpt = STR_NIL;
    check(&r, "Received: from client.example ([IPv6:2001:db8::1])\r\n"
              "\tby mail.example.org (Waxwing) with ESMTPS id 0000000000001;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
    r.helo = STR_NIL;
    check(&r, "Received: from unknown ([IPv6:2001:db8::1])\r\n"
              "\tby mail.example.org (Waxwing) with ESMTPS id 0000000000001;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
    r.client = &none;
    check(&r, "Received: from unknown (unknown)\r\n"
              "\tby mail.example.org (Waxwing) with ESMTPS id 0000000000001;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
    r.client = NULL;
    check(&r, "Received: from localhost (local)\r\n"
              "\tby mail.example.org (Waxwing) with ESMTPS id 0000000000001;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
}

static void hides_the_client(void **state)
{
    UNUSED(state);
    struct netaddr a = ip("192.0.2.1");
    struct received r = plain(&a);
    r.hides_client = true;
    check(&r, "Received: by mail.example.org (Waxwing) with ESMTPS id 0000000000001\r\n"
              "\tfor <bob@example.net>;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
}

static void contains_hostile_names(void **state)
{
    UNUSED(state);
    struct netaddr a = ip("192.0.2.1");
    struct received r = plain(&a);
    r.helo = STR("x\r\nX-Evil: 1\r\n (y) [z];\\\"\0\xff");
    r.client_name = STR("a)b(c");
    r.for_rcpt = STR("bob\r\n@example.net");
    check(&r, "Received: from x??X-Evil:?1????y??[z]????? (a?b?c [192.0.2.1])\r\n"
              "\tby mail.example.org (Waxwing) with ESMTPS id 0000000000001;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
    /* outside ASCII only under the words that say so */
    r = plain(&a);
    r.helo = STR("b\xc3\xbc.example");
    r.for_rcpt = STR("b\xc3\xbc@example.net");
    check(&r, "Received: from b?.example (host.client.example [192.0.2.1])\r\n"
              "\tby mail.example.org (Waxwing) with ESMTPS id 0000000000001;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
    r.with = STR("UTF8SMTPS");
    check(&r, "Received: from b\xc3\xbc.example (host.client.example [192.0.2.1])\r\n"
              "\tby mail.example.org (Waxwing) with UTF8SMTPS id 0000000000001\r\n"
              "\tfor <b\xc3\xbc@example.net>;\r\n"
              "\tTue, 24 Nov 2026 01:02:03 +0000\r\n");
}

/* Whatever the lengths, it is one field, and only a single long word makes a line long. */
static void folds(void **state)
{
    UNUSED(state);
    char name[600];
    memset(name, 'n', sizeof name);
    struct netaddr a = ip("2001:db8:1111:2222:3333:4444:5555:6666");
    for (size_t n = 1; n < 500; n += 7) {
        struct received r = plain(&a);
        r.helo = r.client_name = r.by = str_of(name, n);
        r.for_rcpt = str_of(name, n);
        char mem[8192];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        received_format(&r, &b);
        assert_false(b.failed);
        struct header_walk w;
        struct header_field f;
        header_walk_init(&w, buf_str(&b));
        assert_true(header_walk_next(&w, &f));
        assert_true(str_eq(f.raw, buf_str(&b)));
        assert_int_equal(str_find(buf_str(&b), STR("\r\n\r\n")), STR_NPOS);
        struct str rest = buf_str(&b);
        while (rest.n > 0) {
            struct str line = str_cut(&rest, '\n');
            assert_true(line.n - 1 <= 998);
            if (line.n - 1 > 77)
                assert_int_equal(str_chr(line, ' '), STR_NPOS);
        }
    }
}

static void names_protocols(void **state)
{
    UNUSED(state);
    static const char *const words[] = {
        "SMTP",  "SMTP",   "SMTP",   "SMTP",    "SMTP",     "SMTP",      "SMTP",      "SMTP",
        "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA",
        "LMTP",  "LMTPA",  "LMTPS",  "LMTPSA",  "UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA"};
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        bool lmtp = i >= 16, esmtp = i >= 8 && i < 16;
        struct str got = received_with(esmtp, lmtp, (i & 2) != 0, (i & 1) != 0, (i & 4) != 0);
        if (!str_eq(got, str_from_c(words[i])))
            fail_msg("%u: %.*s", i, STR_FMT(got));
    }
    assert_true(str_eq(received_with(true, true, false, false, false), STR("LMTP")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(hides_the_client),
        cmocka_unit_test(contains_hostile_names),
        cmocka_unit_test(folds),
        cmocka_unit_test(names_protocols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
