#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/downgrade_testing.h"
#include "wire/dsn.h"

#include <string.h>

#define B8 DOWNGRADE_8BIT
#define BB DOWNGRADE_BINARY
#define BOTH (DOWNGRADE_8BIT | DOWNGRADE_BINARY)
#define V "MIME-Version: 1.0\r\n"
#define CT "Content-Type: "
#define CTE "Content-Transfer-Encoding: "
#define MULTI CT "multipart/mixed; boundary=b\r\n"
#define E "\xc3\xa9"

static const struct {
    const char *name;
    unsigned need;
    struct str in;
    enum downgrade_status status;
    struct str out; /* empty: not looked at */
    struct str why; /* a part of it */
} rows[] = {
    {"ASCII passes", BOTH, STR_INIT("A: b\r\n\r\nx\r\n"), DOWNGRADE_NOT_NEEDED, STR_INIT("A: b\r\n\r\nx\r\n"),
     STR_INIT("")},
    {"nothing is needed", 0, STR_INIT("A: " E "\r\n\r\n" E "\r\n"), DOWNGRADE_NOT_NEEDED,
     STR_INIT("A: " E "\r\n\r\n" E "\r\n"), STR_INIT("")},
    {"8bit text", B8,
     STR_INIT(V CT "text/plain; charset=utf-8\r\n" CTE "8bit\r\n\r\nanother caf" E " = x \r\n"), DOWNGRADE_OK,
     STR_INIT(V CT "text/plain; charset=utf-8\r\n" CTE
                   "quoted-printable\r\n\r\nanother caf=C3=A9 =3D x=20\r\n"),
     STR_INIT("the message: text/plain 8bit -> quoted-printable")},
    {"the encoding's field stays in its place, a second one goes", B8,
     STR_INIT(V CTE "\r\n 8bit\r\nX: y\r\n" CTE "7bit\r\n\r\naaaaaaaaaaaaaaa" E "\r\n"), DOWNGRADE_OK,
     STR_INIT(V CTE "quoted-printable\r\nX: y\r\n\r\naaaaaaaaaaaaaaa=C3=A9\r\n"), STR_INIT("")},
    {"mostly not ASCII", B8, STR_INIT(V CT "text/plain\r\n\r\n" E E "\r\n"), DOWNGRADE_OK,
     STR_INIT(V CT "text/plain\r\n" CTE "base64\r\n\r\nw6nDqQ0K\r\n"), STR_INIT("8bit -> base64")},
    {"no text", B8, STR_INIT(V CT "image/x\r\n\r\naaaaaaaaaaaaaaaaaaaa" E "\r\n"), DOWNGRADE_OK,
     STR_INIT(V CT "image/x\r\n" CTE "base64\r\n\r\nYWFhYWFhYWFhYWFhYWFhYWFhYWHDqQ0K\r\n"),
     STR_INIT("image/x 8bit -> base64")},
    {"no MIME", B8, STR_INIT("A: b\r\n\r\naaaaaaaaaaaaaaaaaa" E "\r\n"), DOWNGRADE_OK,
     STR_INIT("A: b\r\n" V CT "text/plain; charset=unknown-8bit\r\n" CTE
              "quoted-printable\r\n\r\naaaaaaaaaaaaaaaaaa=C3=A9\r\n"),
     STR_INIT("")},
    {"no header section", B8, STR_INIT("aaaaaaaa aaaaaaaaaa" E "\r\n"), DOWNGRADE_OK,
     STR_INIT(V CT "text/plain; charset=unknown-8bit\r\n" CTE
                   "quoted-printable\r\n\r\naaaaaaaa aaaaaaaaaa=C3=A9\r\n"),
     STR_INIT("")},
    {"a type without MIME-Version counts", B8,
     STR_INIT(MULTI "\r\n--b\r\n\r\naaaaaaaaaaaaaaaaaa" E "\r\n--b--\r\n"), DOWNGRADE_OK,
     STR_INIT(MULTI V "\r\n--b\r\n" CTE "quoted-printable\r\n\r\naaaaaaaaaaaaaaaaaa=C3=A9\r\n--b--\r\n"),
     STR_INIT("part 1: text/plain 8bit -> quoted-printable")},
    {"parts, and labels of what is around them", B8,
     STR_INIT(V MULTI CTE "8bit\r\n\r\npre" E "\r\n--b\r\n" CTE "8bit\r\n\r\nonly ASCII\r\n--b\r\n" CT
                          "message/rfc822\r\n" CTE "binary\r\n\r\nS: x\r\n" CT
                          "text/html\r\n\r\naaaaaaaaaaaaaaaaaa" E "\r\n--b--\r\npost" E "\r\n"),
     DOWNGRADE_OK,
     STR_INIT(V MULTI CTE "7bit\r\n\r\npre??\r\n--b\r\n" CTE "7bit\r\n\r\nonly ASCII\r\n--b\r\n" CT
                          "message/rfc822\r\n" CTE "7bit\r\n\r\nS: x\r\n" CT "text/html\r\n" V CTE
                          "quoted-printable\r\n\r\naaaaaaaaaaaaaaaaaa=C3=A9\r\n--b--\r\npost??\r\n"),
     STR_INIT("text before or behind the parts, which no reader shows: octets become \"?\", and 2 more")},
    {"a part with no empty line", B8, STR_INIT(V MULTI "\r\n--b\r\nno field aaaaaaaaaa " E "\r\n--b--\r\n"),
     DOWNGRADE_OK,
     STR_INIT(V MULTI "\r\n--b\r\n" CTE "quoted-printable\r\n\r\nno field aaaaaaaaaa =C3=A9\r\n--b--\r\n"),
     STR_INIT("")},
    {"after a message within, the outer one is at hand again", B8,
     STR_INIT(MULTI "\r\n--b\r\n" CT "message/rfc822\r\n\r\nS: x\r\n\r\ny\r\n--b\r\n\r\naaaaaaaaaaaaaaaaaa" E
                    "\r\n--b--\r\n"),
     DOWNGRADE_OK,
     STR_INIT(MULTI V "\r\n--b\r\n" CT "message/rfc822\r\n\r\nS: x\r\n\r\ny\r\n--b\r\n" CTE
                      "quoted-printable\r\n\r\naaaaaaaaaaaaaaaaaa=C3=A9\r\n--b--\r\n"),
     STR_INIT("part 2: ")},
    {"says quoted-printable, has raw octets", B8,
     STR_INIT(V CTE "quoted-printable\r\n\r\na=C3=A9 " E "=\r\nb\r\n"), DOWNGRADE_OK,
     STR_INIT(V CTE "quoted-printable\r\n\r\na=C3=A9 =C3=A9=\r\nb\r\n"),
     STR_INIT("quoted-printable with raw octets -> mended")},
    {"base64 with stray octets", B8, STR_INIT(V CTE "base64\r\n\r\nZm9v\xa0\r\nZm9v\r\n"), DOWNGRADE_OK,
     STR_INIT(V CTE "base64\r\n\r\nZm9vZm9v\r\n"), STR_INIT("base64 with raw octets -> mended")},
    {"says base64 and is none", B8, STR_INIT(V CTE "base64\r\n\r\nA real caf" E ", no base64.\r\n"),
     DOWNGRADE_OK, STR_INIT(V CTE "quoted-printable\r\n\r\nA real caf=C3=A9, no base64.\r\n"), STR_INIT("")},
    {"an unknown encoding", B8, STR_INIT(V CTE "8bits\r\n\r\naaaaaaaaaaaaaaaaa" E "\r\n"), DOWNGRADE_OK,
     STR_INIT(V CTE "quoted-printable\r\n\r\naaaaaaaaaaaaaaaaa=C3=A9\r\n"), STR_INIT("")},
    {"a report in 8bit", B8,
     STR_INIT(V CT "message/delivery-status\r\n\r\nDiagnostic-Code: caf" E " closed\r\n"), DOWNGRADE_OK,
     STR_INIT(V CT "message/delivery-status\r\n" CTE
                   "quoted-printable\r\n\r\nDiagnostic-Code: caf=C3=A9 closed\r\n"),
     STR_INIT("")},
    {"binary", BB, STR_INIT(V CT "application/x\r\n" CTE "binary\r\n\r\na\nb\0c"), DOWNGRADE_OK,
     STR_INIT(V CT "application/x\r\n" CTE "base64\r\n\r\nYQpiAGM=\r\n"),
     STR_INIT("application/x binary -> base64")},
    {"binary text keeps its line ends", BB,
     STR_INIT(V MULTI CTE "binary\r\n\r\n--b\r\n" CTE "binary\r\n\r\nx\n\r\n--b\r\n" CTE "binary\r\n\r\n" E
                          "\r\n--b--\r\n"),
     DOWNGRADE_OK,
     STR_INIT(V MULTI CTE "8bit\r\n\r\n--b\r\n" CTE "base64\r\n\r\neAo=\r\n--b\r\n" CTE "8bit\r\n\r\n" E
                          "\r\n--b--\r\n"),
     STR_INIT("part 1: text/plain binary -> base64")},
    {"both needs", BOTH,
     STR_INIT(V MULTI CTE "binary\r\n\r\n--b\r\n" CTE "binary\r\n\r\nx\n\r\n--b\r\n" CTE
                          "binary\r\n\r\naaaaaaaaaaaaaaaaaa" E "\r\n--b--\r\n\rx\ny\0"),
     DOWNGRADE_OK,
     STR_INIT(V MULTI CTE "7bit\r\n\r\n--b\r\n" CTE "base64\r\n\r\neAo=\r\n--b\r\n" CTE
                          "quoted-printable\r\n\r\naaaaaaaaaaaaaaaaaa=C3=A9\r\n--b--\r\n?x\r\ny?"),
     STR_INIT("")},
    {"a label alone is no reason", BOTH, STR_INIT(V CTE "binary\r\n\r\nx\r\n"), DOWNGRADE_NOT_NEEDED,
     STR_INIT(V CTE "binary\r\n\r\nx\r\n"), STR_INIT("")},
    {"signed", B8, STR_INIT(V CT "multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" E "\r\n--b--\r\n"),
     DOWNGRADE_FORBIDDEN, STR_INIT(""),
     STR_INIT("part 1: text/plain, in a multipart/signed or multipart/encrypted part, may not")},
    {"deep within signed", B8,
     STR_INIT(V CT "multipart/signed; boundary=s\r\n\r\n--s\r\n" MULTI "\r\n--b\r\n\r\n" E
                   "\r\n--b--\r\n--s--\r\n"),
     DOWNGRADE_FORBIDDEN, STR_INIT(""), STR_INIT("part 1.1: ")},
    {"a preamble within signed", B8,
     STR_INIT(V CT "multipart/signed; boundary=s\r\n\r\n--s\r\n" MULTI "\r\n" E
                   "\r\n--b\r\n\r\nx\r\n--b--\r\n--s--\r\n"),
     DOWNGRADE_FORBIDDEN, STR_INIT(""), STR_INIT("between signed")},
    {"encrypted", B8, STR_INIT(V CT "multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\n" E "\r\n--b--\r\n"),
     DOWNGRADE_FORBIDDEN, STR_INIT(""), STR_INIT("")},
    {"opaque S/MIME keeps its octets", BB,
     STR_INIT(V CT "application/pkcs7-mime; smime-type=signed-data\r\n" CTE "binary\r\n\r\n\x30\x82\0\n"),
     DOWNGRADE_OK,
     STR_INIT(V CT "application/pkcs7-mime; smime-type=signed-data\r\n" CTE "base64\r\n\r\nMIIACg==\r\n"),
     STR_INIT("the message: application/pkcs7-mime binary -> base64")},
    {"signed and ASCII beside 8bit", B8,
     STR_INIT(V MULTI "\r\n--b\r\n" CT "multipart/signed; boundary=s\r\n" CTE "8bit\r\n\r\n--s\r\n" CTE
                      "8bit\r\n\r\nx\r\n--s--\r\n--b\r\n\r\naaaaaaaaaaaaaaaaaa" E "\r\n--b--\r\n"),
     DOWNGRADE_OK,
     STR_INIT(V MULTI "\r\n--b\r\n" CT "multipart/signed; boundary=s\r\n" CTE "7bit\r\n\r\n--s\r\n" CTE
                      "8bit\r\n\r\nx\r\n--s--\r\n--b\r\n" CTE
                      "quoted-printable\r\n\r\naaaaaaaaaaaaaaaaaa=C3=A9\r\n--b--\r\n"),
     STR_INIT("part 2: ")},
    {"a header field", B8, STR_INIT(V "S: " E "\r\n\r\n" E "\r\n"), DOWNGRADE_IMPOSSIBLE, STR_INIT(""),
     STR_INIT("header fields")},
    {"a header field within", B8, STR_INIT(V CT "message/rfc822\r\n\r\nS: " E "\r\n\r\nx\r\n"),
     DOWNGRADE_IMPOSSIBLE, STR_INIT(""), STR_INIT("part 1: text/plain, header fields")},
    {"a header field in 8bit may go where only binary may not", BB, STR_INIT(V "S: " E "\r\n\r\nx\r\n"),
     DOWNGRADE_NOT_NEEDED, STR_INIT(""), STR_INIT("")},
    {"a bare LF in a header field", BB, STR_INIT(V "S: \nX: y\r\n\r\nx\r\n"), DOWNGRADE_IMPOSSIBLE,
     STR_INIT(""), STR_INIT("header fields")},
    {"message/partial", B8, STR_INIT(V CT "message/partial\r\n\r\n" E "\r\n"), DOWNGRADE_IMPOSSIBLE,
     STR_INIT(""), STR_INIT("message/partial may not be encoded")},
    {"a substitute makes no delimiter", B8,
     STR_INIT(V CT "multipart/mixed; boundary=\"a?b\"\r\n\r\n--a\xff"
                   "b\r\n--a?b\r\n\r\nx\r\n--a?b--\r\n"),
     DOWNGRADE_OK,
     STR_INIT(V CT "multipart/mixed; boundary=\"a?b\"\r\n\r\n--a\r\n?b\r\n--a?b\r\n\r\nx\r\n--a?b--\r\n"),
     STR_INIT("")},
    {"octets behind a delimiter", B8, STR_INIT(V MULTI "\r\n--b " E "\r\n\r\nx\r\n--b--\r\n"),
     DOWNGRADE_IMPOSSIBLE, STR_INIT(""), STR_INIT("delimiter")},
    {"LF around a delimiter", BB, STR_INIT(V MULTI "\r\n--b\n\r\nx\n--b--\n"), DOWNGRADE_OK,
     STR_INIT(V MULTI "\r\n--b\r\n\r\nx\r\n--b--\r\n"), STR_INIT("")},
    {"no boundary", B8, STR_INIT(V CT "multipart/mixed\r\n\r\n" E "\r\n"), DOWNGRADE_IMPOSSIBLE, STR_INIT(""),
     STR_INIT("without a usable boundary")},
};

static void is_as_in_the_table(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = rows[i].in.n + 1; step > 0; step--) {
            struct conversion c;
            conversion_run(&c, rows[i].need, rows[i].in, step, step % 7 == 0 ? 5 : 4096);
            bool is_good = c.status == rows[i].status && str_find(buf_str(&c.why), rows[i].why) != STR_NPOS &&
                           (rows[i].out.n == 0 || str_eq(buf_str(&c.out), rows[i].out));
            if (!is_good)
                print_message("# %s, step %zu: %u, %.*s\n%.*s\n", rows[i].name, step, (unsigned)c.status,
                              STR_FMT(buf_str(&c.why)), STR_FMT(buf_str(&c.out)));
            assert_true(is_good);
            if (c.status == DOWNGRADE_OK) /* done once, nothing is left to do */
                assert_int_equal(first_forbidden(buf_str(&c.out), rows[i].need), STR_NPOS);
            conversion_fini(&c);
        }
    }
}

static bool contains(struct str s, const char *part)
{
    return str_find(s, str_from_c(part)) != STR_NPOS;
}

/* A report with an original of eight bits for a server of seven: what holds a message stays 7bit and is
 * converted within (RFC 2046 5.2.1), the types of RFC 6533 are encoded as they are (6.2, 6.3). */
static void a_report_goes_by_seven_bits(void **state)
{
    UNUSED(state);
    static const struct {
        const char *original;
        bool is_whole, came_utf8, utf8;
        const char *has, *has_not;
    } rows_of[] = {
        {"S: x\r\n" V CT "text/plain; charset=utf-8\r\n" CTE "8bit\r\n\r\nanother caf" E " is open\r\n", true,
         false, false,
         CT "message/rfc822\r\n" CTE "7bit\r\n\r\nS: x\r\n" V CT "text/plain; charset=utf-8\r\n" CTE
            "quoted-printable\r\n\r\nanother caf=C3=A9 is open\r\n",
         "8bit"},
        {"S: caf" E " and more\r\n\r\nanother cafe is open\r\n", true, true, false,
         CT "message/global\r\n" CTE "quoted-printable\r\n\r\nS: caf=C3=A9 and more\r\n\r\nanother", "8bit"},
        {"S: caf" E " and more\r\n\r\n", false, true, false,
         CT "message/global-headers\r\n" CTE "quoted-printable\r\n\r\nS: caf=C3=A9 and more\r\n", "8bit"},
        {"S: caf" E " and more\r\n\r\n", false, false, false,
         CT "text/rfc822-headers\r\n" CTE "quoted-printable\r\n\r\nS: caf=C3=A9 and more\r\n", "8bit"},
        {"S: x\r\n\r\n", false, true, true, "Final-Recipient: utf-8; bob@caf=C3=A9.example\r\n", "8bit"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows_of); i++) {
        struct dsn_rcpt rcpt = {.address =
                                    rows_of[i].utf8 ? STR("bob@caf" E ".example") : STR("bob@b.example"),
                                .diagnostic = STR("550 caf" E " closed")};
        struct dsn_rcpt first = {.address = STR("first@a.example")}; /* whom the subject names */
        struct dsn_rcpt rcpts[] = {first, rcpt};
        struct dsn d = {.reporting_mta = STR("mail.example"),
                        .from = STR("daemon@mail.example"),
                        .to = STR("ann@a.example"),
                        .rcpts = rcpts,
                        .n_rcpts = 2,
                        .original = str_from_c(rows_of[i].original),
                        .original_is_whole = rows_of[i].is_whole,
                        .original_utf8 = rows_of[i].came_utf8,
                        .utf8 = rows_of[i].utf8};
        struct buf report;
        struct conversion c;
        buf_init(&report, 1 << 16);
        dsn_format(&d, &report);
        assert_false(str_is_ascii(buf_str(&report)));
        conversion_run(&c, B8, buf_str(&report), 1000, 100);
        struct str out = buf_str(&c.out);
        if (c.status != DOWNGRADE_OK || !contains(out, rows_of[i].has) || contains(out, rows_of[i].has_not))
            fail_msg("row %zu: %.*s\n%.*s", i, STR_FMT(buf_str(&c.why)), STR_FMT(out));
        assert_true(str_is_ascii(out));
        conversion_fini(&c);
        buf_fini(&report);
    }
}

static void put_line(struct buf *b, char c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_putc(b, c);
    buf_puts(b, "\r\n");
}

static void long_lines_alone_pass(void **state)
{
    UNUSED(state);
    struct buf b;
    struct conversion c;
    buf_init(&b, 1 << 16);
    buf_puts(&b, V "\r\n");
    put_line(&b, 'a', 1500);
    conversion_run(&c, BOTH, buf_str(&b), 1000, 100);
    assert_int_equal(c.status, DOWNGRADE_NOT_NEEDED);
    assert_true(str_eq(buf_str(&c.out), buf_str(&b)));
    conversion_fini(&c);
    /* beside a binary part they are broken up, and where they are called binary */
    for (int i = 0; i < 2; i++) {
        buf_reset(&b);
        buf_puts(&b, V MULTI "\r\n--b\r\n");
        buf_puts(&b, i == 0 ? "\r\nx\ny\r\n--b\r\n\r\n" : CTE "binary\r\n\r\n");
        put_line(&b, 'a', 1500);
        buf_puts(&b, "--b--\r\n");
        conversion_run(&c, BB, buf_str(&b), 1000, 100);
        assert_int_equal(c.status, DOWNGRADE_OK);
        for (struct str rest = buf_str(&c.out); rest.n > 0;)
            assert_true(str_cut(&rest, '\n').n <= 999);
        conversion_fini(&c);
    }
    buf_fini(&b);
}

static void signatures_of_hosts_are_seen(void **state)
{
    UNUSED(state);
    static const struct {
        struct str in;
        bool breaks;
    } cases[] = {
        {STR_INIT("DKIM-Signature: x\r\n\r\n" E), true},
        {STR_INIT("ARC-Message-Signature: x\r\n\r\n" E), true},
        {STR_INIT("DKIM-Signature: x\r\n\r\ne"), false}, /* nothing changes */
        {STR_INIT("Subject: x\r\n\r\n" E), false},
        {STR_INIT(CT "message/rfc822\r\n\r\nDKIM-Signature: x\r\n\r\n" E), false}, /* of what is within */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conversion c;
        conversion_run(&c, B8, cases[i].in, 10, 100);
        assert_int_equal(c.breaks_dkim, cases[i].breaks);
        conversion_fini(&c);
    }
}

static void over_the_limits_it_is_impossible(void **state)
{
    UNUSED(state);
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int with_8bit = 0; with_8bit < 2; with_8bit++) {
        for (int kind = 0; kind < 3; kind++) {
            struct conversion c;
            buf_reset(&b);
            for (int i = 0; kind == 0 && i <= MIME_DEPTH_MAX; i++)
                buf_printf(&b, CT "multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
            for (int i = 0; kind == 1 && i <= MIME_PARTS_MAX; i++)
                buf_puts(&b, i == 0 ? MULTI "\r\n" : "--b\r\n\r\n");
            for (int i = 0; kind == 2 && i < 1100; i++)
                put_line(&b, i == 0 ? ':' : ' ', 100);
            buf_puts(&b, with_8bit ? "\r\n" E : "\r\nx");
            if (kind == 2)
                b.p[0] = 'a';
            conversion_run(&c, BOTH, buf_str(&b), 1000, 100);
            assert_int_equal(c.status, with_8bit ? DOWNGRADE_IMPOSSIBLE : DOWNGRADE_NOT_NEEDED);
            conversion_fini(&c);
        }
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_as_in_the_table),           cmocka_unit_test(long_lines_alone_pass),
        cmocka_unit_test(signatures_of_hosts_are_seen), cmocka_unit_test(over_the_limits_it_is_impossible),
        cmocka_unit_test(a_report_goes_by_seven_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
