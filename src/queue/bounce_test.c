#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "queue/bounce.h"
#include "wire/header.h"

#include <string.h>

static const struct envelope original = {
    .kind = ENVELOPE_MAIL,
    .arrival_ms = 1764000000000,
    .body_size = 60,
    .sender = {"joe@example.org", 15},
    .n_rcpts = 1,
};
#define BODY "Subject: hello there\r\nFrom: joe@example.org\r\n\r\nthe text\r\n"

static bool holds(const struct buf *b, const char *text)
{
    return str_find(buf_str(b), str_from_c(text)) != STR_NPOS;
}

static void test_wanted(void **state)
{
    UNUSED(state);
    struct envelope e = original;
    assert_true(bounce_is_wanted(&e));
    e.sender = STR_NIL;
    assert_false(bounce_is_wanted(&e));
    e = original;
    e.kind = ENVELOPE_BOUNCE;
    assert_false(bounce_is_wanted(&e));
}

static void test_original_size(void **state)
{
    UNUSED(state);
    static const struct {
        uint64_t body, want;
    } table[] = {{0, 0},
                 {1, 1},
                 {BOUNCE_WHOLE_MAX, BOUNCE_WHOLE_MAX},
                 {BOUNCE_WHOLE_MAX + 1, BOUNCE_WHOLE_MAX + 1},
                 {BOUNCE_HEADER_MAX, BOUNCE_HEADER_MAX},
                 {UINT64_MAX, BOUNCE_HEADER_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(bounce_original_size(REPORT_FAILED, &(struct envelope){.body_size = table[i].body}),
                         table[i].want);
}

static void test_rcpt_rows(void **state)
{
    UNUSED(state);
    static const struct {
        struct envelope_rcpt rcpt;
        bool expired;
        struct esc status;
        const char *diagnostic, *reason_part, *host;
    } table[] = {
        {{.code = 550, .esc = {5, 1, 1}, .host = {"mx.a [192.0.2.1]:25", 19}, .text = {"no such user", 12}},
         false,
         {5, 1, 1},
         "550 5.1.1 no such user",
         "",
         "mx.a"},
        {{.code = 554, .host = {"mx.a", 4}, .text = {"go away", 7}},
         false,
         {5, 0, 0},
         "554 go away",
         "",
         "mx.a"},
        {{.esc = {5, 1, 2}, .text = {"there is no such domain", 23}},
         false,
         {5, 1, 2},
         "",
         "no such domain",
         ""},
        {{.code = 451, .esc = {4, 7, 1}, .host = {"mx.a", 4}, .text = {"later", 5}},
         true,
         {5, 4, 7},
         "451 4.7.1 later",
         "within the time",
         "mx.a"},
        {{.esc = {4, 4, 1}, .text = {"connection timed out", 20}}, true, {5, 4, 7}, "", "timed out", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char mem[BOUNCE_RCPT_TEXT];
        struct buf text;
        buf_init_fixed(&text, mem, sizeof mem);
        struct dsn_rcpt d = bounce_rcpt(&table[i].rcpt, DSN_FAILED,
                                        table[i].expired ? BOUNCE_EXPIRED : BOUNCE_REFUSED, &text);
        assert_int_equal(d.action, DSN_FAILED);
        assert_true(d.status.class == table[i].status.class && d.status.subject == table[i].status.subject &&
                    d.status.detail == table[i].status.detail);
        assert_true(str_eq(d.diagnostic, str_from_c(table[i].diagnostic)));
        assert_true(str_find(d.reason, str_from_c(table[i].reason_part)) != STR_NPOS);
        assert_true(str_eq(d.remote_host, str_from_c(table[i].host)));
    }
}

/* Neither the address nor its local part in brackets or quotes comes to light, whole or cut. */
static void test_hides_the_target(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text, *want;
    } table[] = {
        {"<Joe@Hidden.example>: no such user", "550 5.1.1 <info@example.org>: no such user"},
        {"<joe>: unknown; 'joe' or \"joe\"",
         "550 5.1.1 <info@example.org>: unknown; 'info@example.org' or \"info@example.org\""},
        {"joel@hidden.example", "550 5.1.1 joel@hidden.example"},
        {"joe is no word of its own", "550 5.1.1 joe is no word of its own"},
    };
    char mem[BOUNCE_RCPT_TEXT], cut[ENVELOPE_TEXT_MAX];
    struct buf text;
    struct envelope_rcpt r = {
        .rcpt = {.address = STR("joe@hidden.example"), .shown = STR("info@example.org")},
        .state = ENVELOPE_FAILED,
        .code = 550,
        .esc = {5, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        r.text = str_from_c(table[i].text);
        buf_init_fixed(&text, mem, sizeof mem);
        struct dsn_rcpt d = bounce_rcpt(&r, DSN_FAILED, BOUNCE_REFUSED, &text);
        assert_true(str_eq(d.address, STR("info@example.org")));
        assert_true(str_eq(d.diagnostic, str_from_c(table[i].want)));
    }
    memset(cut, 'x', sizeof cut);
    memcpy(cut + sizeof cut - 10, "joe@hidden", 10);
    r.text = str_of(cut, sizeof cut);
    buf_init_fixed(&text, mem, sizeof mem);
    struct dsn_rcpt d = bounce_rcpt(&r, DSN_FAILED, BOUNCE_REFUSED, &text);
    assert_int_equal(str_find(d.diagnostic, STR("joe")), STR_NPOS);
    assert_true(d.diagnostic.n > 400);
}

static void test_notify(void **state)
{
    UNUSED(state);
    enum { ALL3 = NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY };
    static const struct {
        uint8_t notify;
        enum dsn_action action;
        bool ours, strangers, want;
    } table[] = {
        {0, DSN_FAILED, false, false, true},
        {NOTIFY_FAILURE, DSN_FAILED, false, false, true},
        {NOTIFY_SUCCESS | NOTIFY_DELAY, DSN_FAILED, true, true, false},
        {NOTIFY_NEVER, DSN_FAILED, true, true, false},
        {0, DSN_DELAYED, false, true, false},
        {0, DSN_DELAYED, true, false, true},
        {NOTIFY_DELAY, DSN_DELAYED, false, false, true},
        {NOTIFY_FAILURE, DSN_DELAYED, true, true, false},
        {NOTIFY_NEVER, DSN_DELAYED, true, true, false},
        {0, DSN_DELIVERED, true, true, false},
        {NOTIFY_SUCCESS, DSN_DELIVERED, false, true, true},
        {NOTIFY_SUCCESS, DSN_RELAYED, false, false, false},
        {ALL3, DSN_EXPANDED, true, false, true},
        {NOTIFY_NEVER, DSN_RELAYED, true, true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(bounce_wants(table[i].notify, table[i].action, table[i].ours, table[i].strangers),
                         table[i].want);
}

static struct bounce make(struct envelope *e, struct dsn_rcpt *rcpt, struct str body)
{
    *e = original;
    e->body_size = body.n;
    *rcpt = (struct dsn_rcpt){.address = STR("who@example.com"),
                              .status = ESC(5, 1, 1),
                              .remote_host = STR("mx.example.com"),
                              .diagnostic = STR("550 5.1.1 no such user")};
    return (struct bounce){
        .envelope = e,
        .id = 0x1234,
        .own_id = 0x5678,
        .hostname = STR("mail.example.net"),
        .now_ms = 1764000060000,
        .original = body,
        .rcpts = rcpt,
        .n_rcpts = 1,
    };
}

static void test_message(void **state)
{
    UNUSED(state);
    struct envelope e;
    struct dsn_rcpt rcpt;
    struct bounce b = make(&e, &rcpt, STR(BODY));
    struct buf out;
    buf_init(&out, BOUNCE_MESSAGE_MAX);
    assert_true(bounce_format(&b, &out));
    assert_true(str_starts(buf_str(&out), STR("Received: by mail.example.net\r\n\tid ")));
    static const char *const fields[] = {"Date",         "From",          "To", "Subject", "Message-ID",
                                         "MIME-Version", "Auto-Submitted"};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        assert_int_equal(header_count(buf_str(&out), str_from_c(fields[i])), 1);
    static const char *const parts[] = {"who@example.com", "joe@example.org", "multipart/report",
                                        "message/rfc822",  "the text",        "Final-Recipient",
                                        "5.1.1",           "no such user"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        assert_true(holds(&out, parts[i]));
    for (size_t i = 0; i < out.n; i++) /* CRLF only */
        assert_true(out.p[i] != '\n' || (i > 0 && out.p[i - 1] == '\r'));
    buf_fini(&out);
}

/* Over BOUNCE_WHOLE_MAX only the header section goes back. */
static void test_large_original(void **state)
{
    UNUSED(state);
    struct envelope e;
    struct dsn_rcpt rcpt;
    size_t n = BOUNCE_WHOLE_MAX + 5000;
    char *body = mem_must_alloc(n);
    memset(body, 'x', n);
    memcpy(body, BODY, sizeof BODY - 1);
    struct bounce b = make(&e, &rcpt, str_of(body, n));
    struct buf out;
    buf_init(&out, BOUNCE_MESSAGE_MAX);
    assert_true(bounce_format(&b, &out));
    assert_true(holds(&out, "hello there"));
    assert_false(holds(&out, "the text"));
    assert_true(holds(&out, "text/rfc822-headers"));
    assert_true(out.n < 8192);
    /* a header section without an end: whole lines only */
    buf_reset(&out);
    memset(body, 'y', n);
    memcpy(body, "X-A: 1\r\nX-B", 11);
    assert_true(bounce_format(&b, &out));
    assert_true(holds(&out, "X-A: 1"));
    assert_false(holds(&out, "yyyy"));
    mem_free(body);
    buf_fini(&out);
}

static void test_too_large(void **state)
{
    UNUSED(state);
    struct envelope e;
    struct dsn_rcpt rcpt;
    struct bounce b = make(&e, &rcpt, STR(BODY));
    struct buf out;
    buf_init(&out, 300);
    buf_puts(&out, "before");
    assert_false(bounce_format(&b, &out));
    assert_true(str_eq(buf_str(&out), STR("before")));
    assert_false(out.failed);
    buf_fini(&out);
}

/* A report about mail that requires TLS requires it too, and holds the header section at most (RFC 8689 5). */
static void test_requiretls(void **state)
{
    UNUSED(state);
    struct envelope e, report;
    struct dsn_rcpt rcpt;
    struct bounce b = make(&e, &rcpt, STR(BODY));
    char params[BOUNCE_PARAMS], of_mem[64];
    struct buf of, rcpts, message;
    struct mail_params own;
    buf_init(&rcpts, 1024);
    buf_init(&message, BOUNCE_MESSAGE_MAX);
    assert_true(bounce_format(&b, &message));
    bool was_whole = str_find(buf_str(&message), STR("Content-Type: message/rfc822")) != STR_NPOS;
    assert_true(was_whole);
    buf_init_fixed(&of, of_mem, sizeof of_mem);
    assert_true(mail_params_put(&(struct mail_params){.requiretls = true, .ret = DSN_RET_FULL}, &of));
    e.params = buf_str(&of);
    assert_true(bounce_envelope(&b, 5, 999, params, &rcpts, &report));
    assert_true(mail_params_get(report.params, &own) && own.requiretls);
    buf_reset(&message);
    assert_true(bounce_format(&b, &message));
    assert_int_equal(str_find(buf_str(&message), STR("Content-Type: message/rfc822\r\n")), STR_NPOS);
    assert_true(str_find(buf_str(&message), STR("text/rfc822-headers")) != STR_NPOS);
    buf_fini(&rcpts);
    buf_fini(&message);
}

static void test_envelope(void **state)
{
    UNUSED(state);
    struct envelope e, report, decoded;
    struct dsn_rcpt rcpt;
    struct bounce b = make(&e, &rcpt, STR(BODY));
    struct buf rcpts, record;
    buf_init(&rcpts, 1024);
    buf_init(&record, 4096);
    char params[BOUNCE_PARAMS], of_mem[64];
    struct buf of;
    buf_init_fixed(&of, of_mem, sizeof of_mem);
    assert_true(mail_params_put(
        &(struct mail_params){.priority = -4, .has_priority = true, .envid = STR("x"), .ret = DSN_RET_FULL},
        &of));
    e.params = buf_str(&of);
    assert_true(bounce_envelope(&b, 5, 999, params, &rcpts, &report));
    assert_true(envelope_encode(&report, &record));
    assert_true(envelope_decode(buf_str(&record), &decoded));
    assert_int_equal(decoded.kind, ENVELOPE_BOUNCE);
    assert_int_equal(decoded.sender.n, 0);
    assert_int_equal(decoded.parent_id, b.id);
    assert_int_equal(decoded.body_size, 999);
    assert_int_equal(decoded.n_rcpts, 1);
    struct mail_params own; /* the priority and nothing else */
    assert_true(mail_params_get(decoded.params, &own));
    assert_true(own.has_priority && own.priority == -4 && own.envid.n == 0 && own.ret == DSN_RET_NONE);
    e.params = STR_NIL;
    assert_true(bounce_envelope(&b, 5, 999, params, &rcpts, &report));
    assert_int_equal(report.params.n, 0);
    assert_false(own.requiretls);
    char feedback_mem[FEEDBACK_MAX];
    struct buf feedback;
    static char longest[FEEDBACK_TEXT_MAX];
    memset(longest, 'x', sizeof longest);
    buf_init_fixed(&feedback, feedback_mem, sizeof feedback_mem);
    assert_true(feedback_put(&(struct feedback){.kind = FEEDBACK_DELIVERY,
                                                .action = DSN_REPORT_FAILED,
                                                .status = ESC(5, 1, 1),
                                                .text = str_of(longest, sizeof longest)},
                             &feedback));
    b.feedback = buf_str(&feedback);
    assert_true(bounce_envelope(&b, 5, 999, params, &rcpts, &report));
    assert_true(mail_params_get(report.params, &own) && str_eq(own.feedback, b.feedback));
    assert_false(bounce_is_wanted(&decoded));
    struct envelope_rcpt r[1];
    struct envelope_state st;
    envelope_state_init(&st, &decoded, r);
    assert_true(str_eq(r[0].rcpt.address, original.sender));
    buf_fini(&rcpts);
    buf_fini(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted),         cmocka_unit_test(test_original_size),
        cmocka_unit_test(test_rcpt_rows),      cmocka_unit_test(test_hides_the_target),
        cmocka_unit_test(test_notify),         cmocka_unit_test(test_message),
        cmocka_unit_test(test_large_original), cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_requiretls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
