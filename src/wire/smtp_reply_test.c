#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "wire/smtp_reply.h"
#include "wire/utf8.h"

#include <string.h>

struct seen {
    char mem[1024];
    struct buf text;
};

static void see(void *arg, struct str line_text)
{
    struct seen *s = arg;
    assert_true(buf_putc(&s->text, '|') && buf_put(&s->text, line_text));
}

struct outcome {
    enum smtp_reply_status status;
    size_t n_consumed;
    struct smtp_reply_parser p;
    struct seen seen;
};

static void feed(struct str in, size_t first, size_t step, struct outcome *o)
{
    memset(o, 0, sizeof *o);
    buf_init_fixed(&o->seen.text, o->seen.mem, sizeof o->seen.mem);
    smtp_reply_parser_init(&o->p);
    size_t n = first;
    while (in.n > 0 && o->status == SMTP_REPLY_MORE) {
        size_t consumed;
        struct str part = str_slice(in, 0, n);
        o->status = smtp_reply_feed(&o->p, part, &consumed, see, &o->seen);
        assert_true(consumed <= part.n);
        if (o->status == SMTP_REPLY_MORE) {
            assert_int_equal(consumed, part.n);
            assert_int_equal(o->p.reply.code, 0);
        }
        o->n_consumed += consumed;
        in = str_skip(in, consumed);
        n = step;
    }
}

struct row {
    const char *in;
    enum smtp_reply_status status;
    uint16_t code;
    struct esc esc;
    uint16_t n_lines;
    const char *text;
    const char *each;
    size_t n_left;
};

/* clang-format off */
static const struct row rows[] = {
    {"250 OK\r\n",                        SMTP_REPLY_DONE, 250, {0, 0, 0}, 1, "OK", "|OK", 0},
    {"250 OK\n",                          SMTP_REPLY_DONE, 250, {0, 0, 0}, 1, "OK", "|OK", 0},
    {"250\r\n",                           SMTP_REPLY_DONE, 250, {0, 0, 0}, 1, "", "|", 0},
    {"250 \r\n",                          SMTP_REPLY_DONE, 250, {0, 0, 0}, 1, "", "|", 0},
    {"250 2.1.0 fine\r\n354 go\r\n",      SMTP_REPLY_DONE, 250, {2, 1, 0}, 1, "fine", "|2.1.0 fine", 8},
    {"250 2.1.0\r\n",                     SMTP_REPLY_DONE, 250, {2, 1, 0}, 1, "", "|2.1.0", 0},
    {"550 5.1.1 no such user\r\n", SMTP_REPLY_DONE, 550, {5, 1, 1}, 1, "no such user",
     "|5.1.1 no such user", 0},
    {"550 4.1.1 disagrees\r\n", SMTP_REPLY_DONE, 550, {0, 0, 0}, 1, "4.1.1 disagrees", "|4.1.1 disagrees", 0},
    {"354 go on\r\n",                     SMTP_REPLY_DONE, 354, {0, 0, 0}, 1, "go on", "|go on", 0},
    {"250-mx\r\n250-SIZE 10\r\n250 HELP\r\n", SMTP_REPLY_DONE, 250, {0, 0, 0}, 3, "mx\nSIZE 10\nHELP",
     "|mx|SIZE 10|HELP", 0},
    {"550-5.7.1 one\r\n550 5.7.1 two\r\n", SMTP_REPLY_DONE, 550, {5, 7, 1}, 2, "one\ntwo",
     "|5.7.1 one|5.7.1 two", 0},
    {"550-one\r\n550 5.7.1 two\r\n", SMTP_REPLY_DONE, 550, {0, 0, 0}, 2, "one\ntwo", "|one|5.7.1 two", 0},
    {"250-\r\n250\r\n",                   SMTP_REPLY_DONE, 250, {0, 0, 0}, 2, "\n", "||", 0},
    {"250 a\tb\x7f\r\n",                  SMTP_REPLY_DONE, 250, {0, 0, 0}, 1, "a?b?", "|a\tb\x7f", 0},
    {"250 a\rb\r\n",                      SMTP_REPLY_DONE, 250, {0, 0, 0}, 1, "a?b", "|a\rb", 0},
    {"250 \xc3\xbc \xc3 \xff\xc2\x85\r\n", SMTP_REPLY_DONE, 250, {0, 0, 0}, 1, "\xc3\xbc ? ??",
     "|\xc3\xbc \xc3 \xff\xc2\x85", 0},
    {"559 x\r\n",                         SMTP_REPLY_DONE, 559, {0, 0, 0}, 1, "x", "|x", 0},
    {"200 x\r\n",                         SMTP_REPLY_DONE, 200, {0, 0, 0}, 1, "x", "|x", 0},
    {"",                                  SMTP_REPLY_MORE, 0, {0, 0, 0}, 0, "", "", 0},
    {"25",                                SMTP_REPLY_MORE, 0, {0, 0, 0}, 0, "", "", 0},
    {"250-a\r\n250",                      SMTP_REPLY_MORE, 0, {0, 0, 0}, 1, "a", "|a", 0},
    {"\r\n",            SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"25\r\n",          SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"2500 x\r\n",      SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"250x\r\n",        SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"250\tx\r\n",      SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {" 250 x\r\n",      SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"150 x\r\n",       SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"650 x\r\n",       SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"260 x\r\n",       SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"25a x\r\n",       SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"HTTP/1.1 400\r\n", SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"250-a\r\n251 b\r\n", SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
    {"250-a\r\n\r\n",   SMTP_REPLY_BAD, 0, {0, 0, 0}, 0, NULL, NULL, 0},
};
/* clang-format on */

static void check(const struct row *r, const struct outcome *o, size_t split)
{
    if (o->status != r->status)
        fail_msg("%s, split %zu: status %d", r->in, split, (int)o->status);
    if (o->status == SMTP_REPLY_BAD)
        return;
    const struct smtp_reply *reply = &o->p.reply;
    assert_int_equal(reply->code, r->code);
    assert_int_equal(reply->esc.class, r->esc.class);
    assert_int_equal(reply->esc.subject, r->esc.subject);
    assert_int_equal(reply->esc.detail, r->esc.detail);
    assert_int_equal(reply->n_lines, r->n_lines);
    if (!str_eq(str_of(reply->text, reply->text_n), str_from_c(r->text)))
        fail_msg("%s: text %.*s", r->in, (int)reply->text_n, reply->text);
    assert_true(str_eq(buf_str(&o->seen.text), str_from_c(r->each)));
    assert_int_equal(strlen(r->in) - o->n_consumed, r->n_left);
}

static void parses_rows(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str in = str_from_c(rows[i].in);
        static struct outcome o;
        feed(in, in.n, 1, &o);
        check(&rows[i], &o, 0);
        for (size_t split = 1; split < in.n; split++) {
            feed(in, split, in.n, &o);
            check(&rows[i], &o, split);
        }
        feed(in, 1, 1, &o);
        check(&rows[i], &o, 1);
    }
}

static enum smtp_reply_status feed_line(struct smtp_reply_parser *p, size_t n_x)
{
    char line[SMTP_REPLY_IN_LINE_MAX + 16];
    memset(line, 'x', sizeof line);
    memcpy(line, "250-", 4);
    memcpy(line + 4 + n_x, "\r\n", 2);
    size_t consumed;
    return smtp_reply_feed(p, str_of(line, 4 + n_x + 2), &consumed, NULL, NULL);
}

static void bounds_lines_and_replies(void **state)
{
    UNUSED(state);
    struct smtp_reply_parser p;
    smtp_reply_parser_init(&p);
    assert_int_equal(feed_line(&p, SMTP_REPLY_IN_LINE_MAX - 6), SMTP_REPLY_MORE);
    assert_int_equal(p.reply.text_n, SMTP_REPLY_TEXT_MAX);
    assert_int_equal(feed_line(&p, SMTP_REPLY_IN_LINE_MAX - 5), SMTP_REPLY_BAD);
    /* a line without end, octet by octet */
    smtp_reply_parser_init(&p);
    size_t n = 0, consumed;
    while (smtp_reply_feed(&p, STR("2"), &consumed, NULL, NULL) == SMTP_REPLY_MORE)
        n++;
    assert_int_equal(n, SMTP_REPLY_IN_LINE_MAX);
    /* a reply without end */
    smtp_reply_parser_init(&p);
    n = 0;
    while (feed_line(&p, 10) == SMTP_REPLY_MORE)
        n++;
    assert_int_equal(n, SMTP_REPLY_IN_MAX / 16);
}

static void is_used_again_after_init(void **state)
{
    UNUSED(state);
    struct smtp_reply_parser p;
    memset(&p, 0xff, sizeof p);
    struct str in = STR("250-2.0.0 a\r\n250 b\r\n354 go\r\n");
    size_t n;
    smtp_reply_parser_init(&p);
    assert_int_equal(smtp_reply_feed(&p, in, &n, NULL, NULL), SMTP_REPLY_DONE);
    smtp_reply_parser_init(&p);
    assert_int_equal(smtp_reply_feed(&p, str_skip(in, n), &n, NULL, NULL), SMTP_REPLY_DONE);
    assert_int_equal(p.reply.code, 354);
    assert_int_equal(p.reply.esc.class, 0);
    assert_int_equal(p.reply.n_lines, 1);
    assert_true(str_eq(str_of(p.reply.text, p.reply.text_n), STR("go")));
}

static void formats_rows(void **state)
{
    UNUSED(state);
    static const struct {
        uint16_t code;
        struct esc esc;
        const char *text;
        bool utf8;
        const char *want;
    } texts[] = {
        {220, {0, 0, 0}, "mx.example.org ESMTP", false, "220 mx.example.org ESMTP\r\n"},
        {250, {2, 1, 0}, "fine", false, "250 2.1.0 fine\r\n"},
        {250, {0, 0, 0}, "mx\nSIZE 10\nHELP", false, "250-mx\r\n250-SIZE 10\r\n250 HELP\r\n"},
        {550, {5, 7, 1}, "one\ntwo", false, "550-5.7.1 one\r\n550 5.7.1 two\r\n"},
        {550, {5, 7, 1}, "one\n", false, "550 5.7.1 one\r\n"},
        {250, {0, 0, 0}, "", false, "250 \r\n"},
        {501, {5, 1, 3}, "a\r\nRCPT", false, "501-5.1.3 a?\r\n501 5.1.3 RCPT\r\n"},
        {501, {5, 1, 3}, "\x01\x7f\t\r", false, "501 5.1.3 ????\r\n"},
        {250, {0, 0, 0}, "\xc3\xbc", true, "250 \xc3\xbc\r\n"},
        {250, {0, 0, 0}, "\xc3\xbc", false, "250 ?\r\n"},
        {250, {0, 0, 0}, "\xc3 \xff\xc2\x80", true, "250 ? ??\r\n"},
        {250, {0, 0, 0}, "100%s%n", false, "250 100%s%n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char mem[256];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        smtp_reply_format(texts[i].code, texts[i].esc, str_from_c(texts[i].text), texts[i].utf8, &b);
        if (!str_eq(buf_str(&b), str_from_c(texts[i].want)))
            fail_msg("row %zu: %.*s", i, STR_FMT(buf_str(&b)));
    }
}

static void cuts_long_lines(void **state)
{
    UNUSED(state);
    char text[2000], mem[4096];
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xbc", 2);
    text[1000] = 'x'; /* so that the cut falls within a character on one of the lines */
    text[1001] = '\n';
    text[1002] = 'x';
    text[1003] = 'x';
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    smtp_reply_format(550, ESC(5, 1, 10), str_of(text, sizeof text), true, &b);
    struct str rest = buf_str(&b);
    assert_true(utf8_is_valid(rest));
    for (int i = 0; i < 2; i++) {
        struct str line = str_cut(&rest, '\n');
        assert_in_range(line.n + 1, SMTP_REPLY_LINE_MAX - 1, SMTP_REPLY_LINE_MAX);
        assert_true(str_starts(line, i == 0 ? STR("550-5.1.10 ") : STR("550 5.1.10 ")));
    }
    assert_int_equal(rest.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_rows),
        cmocka_unit_test(bounds_lines_and_replies),
        cmocka_unit_test(is_used_again_after_init),
        cmocka_unit_test(formats_rows),
        cmocka_unit_test(cuts_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
