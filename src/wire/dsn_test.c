#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/dsn.h"
#include "wire/encoding.h"
#include "wire/header.h"
#include "wire/received.h"
#include "wire/utf8.h"

#include <string.h>

enum { REPORT_MAX = 1 << 20, LINE_MAX_OCTETS = 998 };

#define ORIGINAL                                                                                             \
    "Received: from a by b; Tue, 24 Nov 2026 01:00:00 +0000\r\nFrom: Ann <ann@example.org>\r\nTo: "          \
    "bob@example.net\r\n"                                                                                    \
    "Message-ID: <1@example.org>\r\nSubject: Lunch\r\n on Friday\r\n\r\n"

static const struct dsn_rcpt bob = {
    .address = {"bob@example.net", 15},
    .action = DSN_FAILED,
    .status = {5, 1, 1},
    .remote_host = {"mx.example.net", 14},
    .diagnostic = {"550 5.1.1 no such user", 22},
    .last_attempt_s = 1795482123,
};

static struct dsn about(const struct dsn_rcpt *rcpts, size_t n)
{
    return (struct dsn){
        .reporting_mta = STR("mail.example.org"),
        .from = STR("mailer-daemon@mail.example.org"),
        .to = STR("ann@example.org"),
        .queue_id = 1,
        .own_id = 2,
        .arrival_s = 1795482000,
        .now_s = 1795482124,
        .rcpts = rcpts,
        .n_rcpts = n,
        .original = STR(ORIGINAL),
    };
}

/* What a mail program makes of a report. */
struct report {
    struct buf whole;
    struct str boundary;
    struct str part_head[4], part[4];
    size_t n_parts;
};

static struct str field_of(struct str section, const char *name)
{
    struct header_walk w;
    struct header_field f;
    struct str body = STR_NIL;
    header_walk_init(&w, section);
    while (header_walk_next(&w, &f)) {
        if (str_ieq(f.name, str_from_c(name))) {
            assert_null(body.p); /* once at most */
            body = str_trim(f.body);
        }
    }
    return body;
}

static bool holds(struct str s, const char *part)
{
    return str_find(s, str_from_c(part)) != STR_NPOS;
}

/* CRLF only, no line over the limit, no control characters. */
static void check_octets(struct str s)
{
    while (s.n > 0) {
        struct str line = str_cut(&s, '\n');
        assert_true(str_ends(line, STR("\r")));
        line.n--;
        assert_true(line.n <= LINE_MAX_OCTETS);
        for (size_t i = 0; i < line.n; i++)
            assert_true((unsigned char)line.p[i] >= 0x20 || line.p[i] == '\t');
    }
}

/* RFC 2046 5.1.1: a delimiter is a line that begins with "--" and the boundary. */
static void split_parts(struct report *r)
{
    struct str all = buf_str(&r->whole);
    size_t head = header_section_size(all);
    assert_true(head != STR_NPOS);
    struct str type = field_of(all, "Content-Type");
    assert_true(str_starts(type, STR("multipart/report; report-type=delivery-status;")));
    size_t at = str_find(type, STR("boundary=\""));
    assert_true(at != STR_NPOS);
    r->boundary = str_skip(type, at + 10);
    r->boundary.n--;
    char mem[80];
    struct buf delimiter;
    buf_init_fixed(&delimiter, mem, sizeof mem);
    assert_true(buf_puts(&delimiter, "\r\n--") && buf_put(&delimiter, r->boundary));
    struct str rest = str_skip(all, head - 2); /* the CRLF of the empty line may begin a delimiter */
    bool is_last = false;
    at = str_find(rest, buf_str(&delimiter));
    while (!is_last) {
        assert_true(at != STR_NPOS);
        rest = str_skip(rest, at + delimiter.n);
        is_last = str_starts(rest, STR("--"));
        if (is_last)
            break;
        assert_true(str_starts(rest, STR("\r\n")));
        rest = str_skip(rest, 2);
        at = str_find(rest, buf_str(&delimiter));
        assert_true(at != STR_NPOS && r->n_parts < 4);
        struct str part = str_slice(rest, 0, at);
        size_t n = header_section_size(part);
        assert_true(n != STR_NPOS);
        r->part_head[r->n_parts] = str_slice(part, 0, n);
        r->part[r->n_parts++] = str_skip(part, n);
    }
    assert_true(str_eq(rest, STR("--\r\n")));
}

static void make(const struct dsn *d, struct report *r)
{
    *r = (struct report){0};
    buf_init(&r->whole, REPORT_MAX);
    dsn_format(d, &r->whole);
    assert_false(r->whole.failed);
    check_octets(buf_str(&r->whole));
    split_parts(r);
}

static void reports_a_failure(void **state)
{
    UNUSED(state);
    struct dsn d = about(&bob, 1);
    struct report r;
    make(&d, &r);
    struct str all = buf_str(&r.whole);
    static const char *const fields[][2] = {
        {"Date", "Tue, 24 Nov 2026 01:02:04 +0000"},
        {"From", "\"Mail server mail.example.org\"\r\n <mailer-daemon@mail.example.org>"},
        {"To", "<ann@example.org>"},
        {"Subject", "Undelivered mail: bob@example.net"},
        {"Message-ID", "<0000000000002@mail.example.org>"},
        {"In-Reply-To", "<1@example.org>"},
        {"References", "<1@example.org>"},
        {"Auto-Submitted", "auto-replied"},
        {"MIME-Version", "1.0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!str_eq(field_of(all, fields[i][0]), str_from_c(fields[i][1])))
            fail_msg("%s: %.*s", fields[i][0], STR_FMT(field_of(all, fields[i][0])));
    }
    assert_int_equal(field_of(all, "Content-Transfer-Encoding").n, 0);
    assert_int_equal(r.n_parts, 3);
    assert_true(str_eq(field_of(r.part_head[0], "Content-Type"), STR("text/plain; charset=us-ascii")));
    assert_true(str_eq(field_of(r.part_head[1], "Content-Type"), STR("message/delivery-status")));
    assert_true(str_eq(field_of(r.part_head[2], "Content-Type"), STR("text/rfc822-headers")));
    static const char text[] =
        "This is the mail server mail.example.org, writing about your message:\r\n"
        "\r\n"
        "    Subject:   Lunch on Friday\r\n"
        "    Accepted:  Tue, 24 Nov 2026 01:00:00 +0000\r\n"
        "    Queue id:  0000000000001\r\n"
        "\r\n"
        "Your message did not reach this recipient, and it will not be tried again:\r\n"
        "\r\n"
        "  bob@example.net\r\n"
        "    There is no such mailbox at the recipient's mail system.\r\n"
        "\r\n"
        "    The mail server mx.example.net answered:\r\n"
        "        550 5.1.1 no such user\r\n"
        "\r\n"
        "    Check the address for typing mistakes. If it is right, ask the recipient\r\n"
        "    for the present address in some other way.\r\n"
        "\r\n"
        "If you ask somebody for help, send them this whole report.\r\n"
        "The technical details and the header of your message are attached.\r\n";
    if (!str_eq(r.part[0], str_from_c(text)))
        fail_msg("%.*s", STR_FMT(r.part[0]));
    static const char status[] = "Reporting-MTA: dns; mail.example.org\r\n"
                                 "Arrival-Date: Tue, 24 Nov 2026 01:00:00 +0000\r\n"
                                 "X-Waxwing-Queue-Id: 0000000000001\r\n"
                                 "\r\n"
                                 "Final-Recipient: rfc822; bob@example.net\r\n"
                                 "Action: failed\r\n"
                                 "Status: 5.1.1\r\n"
                                 "Remote-MTA: dns; mx.example.net\r\n"
                                 "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
                                 "Last-Attempt-Date: Tue, 24 Nov 2026 01:02:03 +0000\r\n";
    if (!str_eq(r.part[1], str_from_c(status)))
        fail_msg("%.*s", STR_FMT(r.part[1]));
    assert_true(str_eq(r.part[2], STR(ORIGINAL)));
    buf_fini(&r.whole);
}

static void reports_every_action(void **state)
{
    UNUSED(state);
    static const struct {
        enum dsn_action action;
        const char *subject, *text, *word, *status;
    } rows[] = {
        {DSN_FAILED, "Undelivered mail: bob@example.net", "did not reach this recipient",
         "Action: failed\r\n", "Status: 5.0.0\r\n"},
        {DSN_DELAYED, "Delayed mail: bob@example.net", "need not do anything", "Action: delayed\r\n",
         "Status: 4.0.0\r\n"},
        {DSN_DELIVERED, "Delivered mail: bob@example.net", "was delivered to this", "Action: delivered\r\n",
         "Status: 2.0.0\r\n"},
        {DSN_RELAYED, "Mail handed on: bob@example.net", "report what becomes of it", "Action: relayed\r\n",
         "Status: 2.0.0\r\n"},
        {DSN_EXPANDED, "Delivered mail: bob@example.net", "to its members", "Action: expanded\r\n",
         "Status: 2.0.0\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dsn_rcpt rcpt = {.address = STR("bob@example.net"), .action = rows[i].action};
        struct dsn d = about(&rcpt, 1);
        struct report r;
        make(&d, &r);
        assert_true(str_eq(field_of(buf_str(&r.whole), "Subject"), str_from_c(rows[i].subject)));
        if (!holds(r.part[0], rows[i].text))
            fail_msg("%.*s", STR_FMT(r.part[0]));
        assert_true(holds(r.part[1], rows[i].word));
        assert_true(holds(r.part[1], rows[i].status));
        assert_false(holds(r.part[1], "Diagnostic-Code"));
        assert_false(holds(r.part[1], "Remote-MTA"));
        assert_false(holds(r.part[1], "Last-Attempt-Date"));
        buf_fini(&r.whole);
    }
}

static void carries_what_the_sender_gave(void **state)
{
    UNUSED(state);
    static const struct {
        const char *orcpt, *want; /* want NULL: no field */
        bool utf8;
    } rows[] = {
        {"rfc822;Bob@example.net", "Original-Recipient: rfc822; Bob@example.net\r\n", false},
        {"utf-8;b\xc3\xb6@a.example", "Original-Recipient: utf-8; b\\x{F6}@a.example\r\n", false},
        {"utf-8;b\\x{F6}@a.example", "Original-Recipient: utf-8; b\\x{F6}@a.example\r\n", false},
        {"utf-8;b\xc3\xb6@a.example", "Original-Recipient: utf-8; b\xc3\xb6@a.example\r\n", true},
        {"rfc822;a\r\nAction: relayed", "Original-Recipient: rfc822; a??Action: relayed\r\n", false},
        {"no type", NULL, false},
        {"rfc822;", NULL, false},
        {"a b;c", NULL, false},
        {";c", NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dsn_rcpt rcpt = bob;
        rcpt.orcpt = str_from_c(rows[i].orcpt);
        rcpt.action = DSN_DELAYED;
        rcpt.status = ESC(4, 4, 1);
        rcpt.retry_until_s = 1795482124;
        struct dsn d = about(&rcpt, 1);
        d.envid = STR("QQ314159\r\nX: y");
        d.deliver_by_s = 1795482124;
        d.utf8 = rows[i].utf8;
        struct report r;
        make(&d, &r);
        assert_true(str_starts(r.part[1], STR("Original-Envelope-Id: QQ314159??X: y\r\n")));
        assert_true(holds(r.part[1], "Deliver-By-Date: Tue, 24 Nov 2026 01:02:04 +0000\r\n"));
        assert_true(holds(r.part[1], "Will-Retry-Until: Tue, 24 Nov 2026 01:02:04 +0000\r\n"));
        if (rows[i].want == NULL ? holds(r.part[1], "Original-Recipient") : !holds(r.part[1], rows[i].want))
            fail_msg("row %zu: %.*s", i, STR_FMT(r.part[1]));
        assert_false(holds(r.part[1], "\nAction: relayed"));
        buf_fini(&r.whole);
    }
}

static void reports_many(void **state)
{
    UNUSED(state);
    struct dsn_rcpt rcpts[4] = {bob, bob, bob, bob};
    rcpts[0].action = DSN_DELAYED;
    rcpts[0].address = STR("slow@example.net");
    rcpts[0].status = ESC(4, 4, 1);
    rcpts[2].address = STR("a.rather.long.local.part@a.rather.long.domain.example");
    struct dsn d = about(rcpts, 4);
    struct report r;
    make(&d, &r);
    /* what failed is told first */
    assert_true(str_eq(field_of(buf_str(&r.whole), "Subject"),
                       STR("Undelivered mail: bob@example.net\r\n and 2 others")));
    size_t failed = str_find(r.part[0], STR("did not reach these recipients"));
    size_t delayed = str_find(r.part[0], STR("has not reached this recipient yet"));
    assert_true(failed != STR_NPOS && delayed != STR_NPOS && failed < delayed);
    struct str status = r.part[1];
    size_t n = 0, at;
    while ((at = str_find(status, STR("\r\n\r\nFinal-Recipient:"))) != STR_NPOS) {
        status = str_skip(status, at + 4);
        n++;
    }
    assert_int_equal(n, 4);
    buf_fini(&r.whole);
    d = about(rcpts + 2, 1);
    make(&d, &r);
    assert_true(str_eq(field_of(buf_str(&r.whole), "Subject"),
                       STR("Undelivered mail:\r\n a.rather.long.local.part@a.rather.long.domain.example")));
    buf_fini(&r.whole);
}

/* Each row of the table is of use: no status is silent, and the given reason wins. */
#define REFUSED "550 5.1.1 no such user"
static void explains_statuses(void **state)
{
    UNUSED(state);
    static const struct {
        struct esc status;
        const char *reply, *reason, *want, *advice; /* reply: NULL: we decided */
    } rows[] = {
        {{5, 1, 2}, REFUSED, "", "does not exist or", "after the @"},
        {{5, 1, 99}, REFUSED, "", "did not accept the address", "typing mistakes"},
        {{5, 2, 2}, REFUSED, "", "mailbox is full", "when there is room"},
        {{5, 2, 3}, REFUSED, "", "larger than the recipient's mailbox", "without its attachments"},
        {{5, 4, 4}, NULL, "", "No mail server could be found", "after the @"},
        {{5, 4, 0}, "554 5.4.0 Error: network", "", "could not be reached", "again later"},
        {{5, 4, 0}, "554 5.4.0 Error: too many hops", "", "in circles", "whoever runs your mail system"},
        {{5, 4, 6}, NULL, "", "in circles", "whoever runs your mail system"},
        {{4, 4, 1}, NULL, "", "did not answer", "again later"},
        {{5, 4, 7}, REFUSED, "It waited for five days.", "It waited for five days.", "again later"},
        {{5, 6, 7}, REFUSED, "", "characters outside ASCII", "plain letters"},
        {{5, 7, 1}, REFUSED, "", "by its rules", "some other way"},
        {{5, 7, 23}, REFUSED, "", "(SPF)", "whoever runs your mail system"},
        {{5, 9, 9}, REFUSED, "", "refused the message", "some other way"},
        {{5, 9, 9}, NULL, "", "could not be delivered.", "some other way"},
        {{0, 0, 0}, NULL, "", "could not be delivered.", "some other way"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dsn_rcpt rcpt = bob;
        rcpt.status = rows[i].status;
        rcpt.reason = str_from_c(rows[i].reason);
        rcpt.diagnostic = rows[i].reply == NULL ? STR_NIL : str_from_c(rows[i].reply);
        if (rows[i].reply == NULL)
            rcpt.remote_host = STR_NIL;
        struct dsn d = about(&rcpt, 1);
        struct report r;
        make(&d, &r);
        /* words may be on two lines */
        char mem[4096];
        size_t n = 0;
        for (size_t k = 0; k < r.part[0].n && n < sizeof mem; k++) {
            char c = r.part[0].p[k];
            bool is_space = c == ' ' || c == '\r' || c == '\n';
            if (!is_space || (n > 0 && mem[n - 1] != ' '))
                mem[n++] = is_space ? ' ' : c;
        }
        if (!holds(str_of(mem, n), rows[i].want) || !holds(str_of(mem, n), rows[i].advice))
            fail_msg("row %zu: %.*s", i, STR_FMT(r.part[0]));
        buf_fini(&r.whole);
    }
}

static void contains_hostile_replies(void **state)
{
    UNUSED(state);
    struct dsn_rcpt rcpt = bob;
    rcpt.diagnostic = STR(
        "550-5.7.1 one\n550 5.7.1 two\r\nAction: delivered\r\n\r\n--=_0000000000002\r\nX: \x01\x7f\0 \xff y");
    rcpt.remote_host = STR("mx.example.net\r\nAction: delivered");
    rcpt.reason = STR("because\r\n\r\n--=_0000000000002--\r\n");
    struct dsn d = about(&rcpt, 1);
    struct report r;
    make(&d, &r);
    assert_int_equal(r.n_parts, 3);
    assert_false(holds(r.part[1], "\nAction: delivered"));
    assert_true(holds(r.part[1], "Diagnostic-Code: smtp; 550-5.7.1 one 550 5.7.1 two Action: delivered\r\n "
                                 "--=_0000000000002 X: ? y\r\n"));
    char text_mem[8192];
    struct buf text;
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    qp_decode(r.part[0], &text); /* for the octet that is none */
    assert_true(holds(buf_str(&text), "    because --=_0000000000002--\r\n"));
    assert_true(holds(buf_str(&text), "        550-5.7.1 one\r\n        550 5.7.1 two\r\n"));
    buf_fini(&r.whole);
    /* a word without end is cut into lines, in the text and in the field */
    static char word[5000];
    memset(word, 'w', sizeof word);
    rcpt = bob;
    rcpt.diagnostic = str_of(word, sizeof word);
    d = about(&rcpt, 1);
    make(&d, &r);
    assert_true(holds(r.part[1], "Diagnostic-Code: x-waxwing;"));
    buf_fini(&r.whole);
}

/* An original that holds the boundary that its report would have, and many that come next. */
static void avoids_the_boundary(void **state)
{
    UNUSED(state);
    struct buf original;
    buf_init(&original, REPORT_MAX);
    buf_puts(&original, "Subject: x\r\n\r\n--=_0000000000002\r\n--=_0000000000002--\r\n");
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_=";
    for (size_t i = 0; i + 1 < sizeof alphabet; i++) {
        for (size_t k = 0; k + 1 < sizeof alphabet; k++)
            assert_true(buf_printf(&original, "--=_0000000000002%c%c\r\n", alphabet[i], alphabet[k]));
    }
    struct dsn d = about(&bob, 1);
    d.original = buf_str(&original);
    d.original_is_whole = true;
    struct report r;
    make(&d, &r);
    assert_int_equal(r.n_parts, 3);
    assert_true(str_eq(field_of(r.part_head[2], "Content-Type"), STR("message/rfc822")));
    assert_true(str_eq(r.part[2], d.original));
    assert_int_equal(str_find(d.original, r.boundary), STR_NPOS);
    assert_true(r.boundary.n <= 70);
    assert_true(holds(r.part[0], "The technical details and your message are attached.\r\n"));
    buf_fini(&r.whole);
    buf_fini(&original);
}

static void returns_odd_originals(void **state)
{
    UNUSED(state);
    static const struct {
        const char *original, *want;
    } rows[] = {
        {"A: b\r\n\r\nc", "A: b\r\n\r\nc\r\n"},
        {"A: b\r\n\r\nc\r", "A: b\r\n\r\nc\r\n"},
        {"A: b\n\nc\n", "A: b\r\n\r\nc\r\n"},
        {"A: b\r\n\r\nc\rd\r\r\ne\n\r\n", "A: b\r\n\r\nc\r\nd\r\n\r\ne\r\n\r\n"},
        {"A: b", "A: b\r\n"},
        {"\r\n", "\r\n"},
    };
    struct dsn d = about(&bob, 1);
    struct report r;
    d.original_is_whole = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        d.original = str_from_c(rows[i].original);
        make(&d, &r);
        assert_int_equal(r.n_parts, 3);
        if (!str_eq(r.part[2], str_from_c(rows[i].want)))
            fail_msg("row %zu: %.*s", i, STR_FMT(r.part[2]));
        buf_fini(&r.whole);
    }
    d.original = STR("A: b\r\n\r\n\0c\0\0\r\nd\0");
    make(&d, &r);
    assert_true(str_eq(r.part[2], STR("A: b\r\n\r\n?c??\r\nd?\r\n")));
    buf_fini(&r.whole);
    d.original = STR_NIL;
    make(&d, &r);
    assert_int_equal(r.n_parts, 2);
    assert_true(holds(r.part[0], "The technical details are attached.\r\n"));
    buf_fini(&r.whole);
}

static void leaves_out_bad_fields_of_the_original(void **state)
{
    UNUSED(state);
    static const char *const originals[] = {
        "Subject: =?utf-8?q?caf=C3=A9?=\r\nMessage-ID: none\r\n\r\n",
        "Message-ID: <a b>\r\nSubject:\r\n\r\n",
        "Message-ID: <a>, <b>\r\n\r\n",
        "Message-ID: <a>\r\n <b>\r\n\r\n",
        "Message-ID: <\x01>\r\n\r\n",
        "no header\r\nMessage-ID: <a@b>\r\nSubject: x\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(originals); i++) {
        struct dsn d = about(&bob, 1);
        struct report r;
        d.original = str_from_c(originals[i]);
        buf_init(&r.whole, REPORT_MAX);
        dsn_format(&d, &r.whole);
        assert_false(holds(buf_str(&r.whole), "In-Reply-To"));
        assert_false(holds(buf_str(&r.whole), "    Subject:"));
        buf_fini(&r.whole);
    }
}

static void speaks_utf8(void **state)
{
    UNUSED(state);
    struct dsn_rcpt rcpt = bob;
    rcpt.address = STR("b\xc3\xb6"
                       "b+x@\xc3\xa4.example");
    rcpt.diagnostic = STR("550 5.1.1 kein Postfach f\xc3\xbcr b\xc3\xb6"
                          "b");
    struct dsn d = about(&rcpt, 1);
    struct report r;
    d.utf8 = true;
    d.to = STR("\xc3\xa4nn@example.org");
    d.original = STR("Subject: Gr\xc3\xbc\xc3\x9f"
                     "e\r\n\r\n");
    make(&d, &r);
    assert_true(utf8_is_valid(buf_str(&r.whole)));
    assert_true(str_eq(field_of(buf_str(&r.whole), "Subject"), STR("Undelivered mail: b\xc3\xb6"
                                                                   "b+x@\xc3\xa4.example")));
    assert_true(str_eq(field_of(buf_str(&r.whole), "Content-Transfer-Encoding"), STR("8bit")));
    static const char *const types[] = {"text/plain; charset=utf-8", "message/global-delivery-status",
                                        "message/global-headers"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_eq(field_of(r.part_head[i], "Content-Type"), str_from_c(types[i])));
        assert_true(str_eq(field_of(r.part_head[i], "Content-Transfer-Encoding"), STR("8bit")));
    }
    assert_true(holds(r.part[0], "    Subject:   Gr\xc3\xbc\xc3\x9f"
                                 "e\r\n"));
    assert_true(holds(r.part[1], "Final-Recipient: utf-8; b\xc3\xb6"
                                 "b+x@\xc3\xa4.example\r\n"));
    assert_true(holds(r.part[1], "kein Postfach f\xc3\xbcr"));
    buf_fini(&r.whole);
    d.original_is_whole = true;
    make(&d, &r);
    assert_true(str_eq(field_of(r.part_head[2], "Content-Type"), STR("message/global")));
    buf_fini(&r.whole);
}

/* RFC 6532 3.7: the parts in UTF-8 may go where SMTPUTF8 is unknown, header fields in UTF-8 may not. */
static void header_is_ascii_to_ascii_sender(void **state)
{
    UNUSED(state);
    struct dsn_rcpt rcpt = bob;
    rcpt.address = STR("\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd=1@\xf0\x9f\x98\x80\xe4\xb8\x96\xe7\x95\x8c.example");
    struct dsn d = about(&rcpt, 1);
    struct report r;
    d.utf8 = true;
    make(&d, &r);
    struct str head = str_slice(buf_str(&r.whole), 0, header_section_size(buf_str(&r.whole)));
    assert_true(str_is_ascii(head));
    assert_true(holds(head, "Subject: Undelivered mail: "
                            "=?utf-8?q?=D0=B8=D0=B2=D0=B0=D0=BD=3D1@=F0=9F=98=80=E4=B8=96=E7=95=8C.exa?=\r\n"
                            " =?utf-8?q?mple?=\r\n"));
    assert_true(str_eq(field_of(head, "Content-Transfer-Encoding"), STR("8bit")));
    assert_true(str_eq(field_of(r.part_head[1], "Content-Type"), STR("message/global-delivery-status")));
    buf_fini(&r.whole);
    d.utf8 = false;
    make(&d, &r);
    assert_true(holds(buf_str(&r.whole), "Subject: Undelivered mail: =?utf-8?q?=D0=B8"));
    buf_fini(&r.whole);
}

/* Without SMTPUTF8 header fields and the machine's part stay ASCII, whatever comes. */
static void stays_ascii_without_utf8(void **state)
{
    UNUSED(state);
    struct dsn_rcpt rcpt = bob;
    rcpt.address = STR("b\xc3\xb6"
                       "b+x@\xe2\x82\xac.example");
    rcpt.diagnostic = STR("550 5.1.1 kein Postfach f\xc3\xbcr b\xc3\xb6"
                          "b");
    rcpt.remote_host = STR("m\xc3\xbc.example");
    struct dsn d = about(&rcpt, 1);
    struct report r;
    make(&d, &r);
    struct str head = str_slice(buf_str(&r.whole), 0, header_section_size(buf_str(&r.whole)));
    assert_true(str_is_ascii(head));
    assert_true(str_is_ascii(r.part[1]));
    assert_true(holds(r.part[1], "Final-Recipient: utf-8; b\\x{F6}b\\x{2B}x@\\x{20AC}.example\r\n"));
    assert_true(holds(r.part[1], "Remote-MTA: dns; m?.example\r\n"));
    assert_true(holds(r.part[1], "kein Postfach f?r b?b\r\n"));
    assert_true(str_eq(field_of(r.part_head[1], "Content-Type"), STR("message/delivery-status")));
    assert_int_equal(field_of(r.part_head[1], "Content-Transfer-Encoding").n, 0);
    assert_true(str_is_ascii(buf_str(&r.whole)));
    assert_int_equal(field_of(head, "Content-Transfer-Encoding").n, 0);
    buf_fini(&r.whole);
    /* an original of eight bits is told as such */
    d = about(&bob, 1);
    d.original = STR("Subject: x\r\n\r\n\xe9\r\n");
    d.original_is_whole = true;
    make(&d, &r);
    assert_true(str_eq(field_of(buf_str(&r.whole), "Content-Transfer-Encoding"), STR("8bit")));
    assert_true(str_eq(field_of(r.part_head[2], "Content-Transfer-Encoding"), STR("8bit")));
    assert_int_equal(field_of(r.part_head[0], "Content-Transfer-Encoding").n, 0);
    buf_fini(&r.whole);
}

/* Whatever a server says: people read the same as in a report in UTF-8, and it goes by seven bits. */
static void people_read_utf8_in_seven_bits(void **state)
{
    UNUSED(state);
    static char word[3000];
    for (size_t i = 0; i < sizeof word; i++)
        word[i] = i % 2 == 0 ? '\xc3' : '\xa9';
    const struct str texts[] = {
        STR("550 5.1.1 kein Postfach f\xc3\xbcr b\xc3\xb6"
            "b"),
        STR("550-caf\xe9 in Latin-1\n550 \xff\xfe and = and \xc3"),
        STR("550 \xe2\x82\xac\n--=_0000000000002\n--=_0000000000002--\n.\nFrom x"),
        str_of(word, sizeof word),
        str_of(word, sizeof word - 1),
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct dsn_rcpt rcpt = bob;
        rcpt.diagnostic = texts[i];
        struct dsn d = about(&rcpt, 1);
        struct report r, wide;
        struct buf text;
        d.original = STR(ORIGINAL);
        make(&d, &r);
        d.utf8 = true;
        make(&d, &wide);
        assert_true(str_is_ascii(buf_str(&r.whole)));
        assert_int_equal(r.n_parts, 3);
        assert_true(str_eq(field_of(r.part_head[0], "Content-Type"), STR("text/plain; charset=utf-8")));
        assert_true(str_eq(field_of(r.part_head[0], "Content-Transfer-Encoding"), STR("quoted-printable")));
        for (struct str rest = r.part[0]; rest.n > 0;)
            assert_true(str_cut(&rest, '\n').n <= ENCODING_LINE_MAX + 1);
        buf_init(&text, REPORT_MAX);
        qp_decode(r.part[0], &text);
        if (!str_eq(buf_str(&text), wide.part[0]))
            fail_msg("text %zu: %.*s", i, STR_FMT(buf_str(&text)));
        assert_true(utf8_is_valid(buf_str(&text)));
        buf_fini(&text);
        buf_fini(&r.whole);
        buf_fini(&wide.whole);
    }
}

static void says_what_the_original_is(void **state)
{
    UNUSED(state);
    static const struct {
        const char *original;
        bool came_utf8, utf8;
        const char *headers, *whole;
        bool is_8bit;
    } rows[] = {
        {"S: x\r\n\r\ny\r\n", false, false, "text/rfc822-headers", "message/rfc822", false},
        {"S: x\r\n\r\ny\r\n", true, false, "text/rfc822-headers", "message/rfc822", false},
        {"S: x\r\n\r\n\xc3\xa9\r\n", true, false, "text/rfc822-headers", "message/rfc822", true},
        {"S: \xc3\xa9\r\n\r\ny\r\n", true, false, "message/global-headers", "message/global", true},
        {"S: \xc3\xa9\r\n\r\ny\r\n", false, false, "text/rfc822-headers", "message/rfc822", true},
        {"S: \xc3\xa9", true, false, "message/global-headers", "message/global", true}, /* no end */
        {"S: x\r\n\r\ny\r\n", true, true, "message/global-headers", "message/global", false},
        {"S: \xc3\xa9\r\n\r\ny\r\n", true, true, "message/global-headers", "message/global", true},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        struct dsn d = about(&bob, 1);
        struct report r;
        size_t k = i / 2;
        d.original = str_from_c(rows[k].original);
        d.original_is_whole = i % 2 == 1;
        d.original_utf8 = rows[k].came_utf8;
        d.utf8 = rows[k].utf8;
        make(&d, &r);
        const char *want = d.original_is_whole ? rows[k].whole : rows[k].headers;
        if (!str_eq(field_of(r.part_head[2], "Content-Type"), str_from_c(want)))
            fail_msg("row %zu: %.*s", k, STR_FMT(r.part_head[2]));
        struct str encoding = field_of(r.part_head[2], "Content-Transfer-Encoding");
        assert_true(str_eq(encoding, rows[k].is_8bit ? STR("8bit") : STR_NIL));
        /* RFC 2045 6.4: what is around it says no less */
        struct str around = field_of(buf_str(&r.whole), "Content-Transfer-Encoding");
        assert_true(str_eq(around, rows[k].is_8bit || rows[k].utf8 ? STR("8bit") : STR_NIL));
        buf_fini(&r.whole);
    }
}

static void fails_whole_when_full(void **state)
{
    UNUSED(state);
    struct dsn_rcpt rcpt = bob;
    rcpt.diagnostic = STR("550 \xc3\xa9");
    struct dsn d = about(&rcpt, 1);
    struct report r;
    make(&d, &r);
    for (size_t cap = 0; cap < r.whole.n; cap += 97) {
        char *mem = mem_must_alloc(cap + 1);
        struct buf b;
        buf_init_fixed(&b, mem, cap);
        dsn_format(&d, &b);
        assert_true(b.failed);
        mem_free(mem);
    }
    buf_fini(&r.whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_a_failure),
        cmocka_unit_test(reports_every_action),
        cmocka_unit_test(carries_what_the_sender_gave),
        cmocka_unit_test(reports_many),
        cmocka_unit_test(explains_statuses),
        cmocka_unit_test(contains_hostile_replies),
        cmocka_unit_test(avoids_the_boundary),
        cmocka_unit_test(returns_odd_originals),
        cmocka_unit_test(leaves_out_bad_fields_of_the_original),
        cmocka_unit_test(speaks_utf8),
        cmocka_unit_test(header_is_ascii_to_ascii_sender),
        cmocka_unit_test(stays_ascii_without_utf8),
        cmocka_unit_test(people_read_utf8_in_seven_bits),
        cmocka_unit_test(says_what_the_original_is),
        cmocka_unit_test(fails_whole_when_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
