#include "proto/http01.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define WELL_KNOWN "/.well-known/acme-challenge/"
/* RFC 8555 8.3 */
#define TOKEN "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
#define ANSWER TOKEN ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"

static struct http01_challenge challenge(const char *token, const char *answer)
{
    struct http01_challenge c = {.n_token = strlen(token), .n_answer = strlen(answer)};
    memcpy(c.token, token, c.n_token);
    memcpy(c.answer, answer, c.n_answer);
    return c;
}

/* However it comes, it is whole with its last octet and not before. */
static void check(const char *request, unsigned status, const char *body)
{
    const struct http01_challenge list[] = {challenge("other", "other.thumb"), challenge(TOKEN, ANSWER)};
    char mem[HTTP01_REPLY_MAX];
    struct str s = str_from_c(request), rest;
    struct buf out;
    for (size_t n = 0; n < s.n; n++)
        assert_false(http_is_whole(str_slice(s, 0, n)));
    assert_true(http_is_whole(s));
    buf_init_fixed(&out, mem, sizeof mem);
    assert_int_equal(http01_reply(s, list, ARRAY_LEN(list), &out), status);
    assert_false(out.failed);
    rest = buf_str(&out);
    assert_true(str_starts(rest, STR("HTTP/1.1 ")));
    assert_int_not_equal(str_find(rest, STR("\r\nConnection: close\r\n")), STR_NPOS);
    assert_int_equal(str_find(rest, STR("Location")), STR_NPOS);
    size_t gap = str_find(rest, STR("\r\n\r\n"));
    assert_int_not_equal(gap, STR_NPOS);
    assert_true(str_eq(str_skip(rest, gap + 4), str_from_c(body)));
}

static void answers(void **state)
{
    UNUSED(state);
    check("GET " WELL_KNOWN TOKEN " HTTP/1.1\r\nHost: mx.example.org\r\n\r\n", 200, ANSWER);
    check("GET " WELL_KNOWN "other HTTP/1.0\n\n", 200, "other.thumb");
    check("GET HTTP://mx.example.org" WELL_KNOWN TOKEN " HTTP/1.1\r\n\r\n", 200, ANSWER);
    check("HEAD " WELL_KNOWN TOKEN " HTTP/1.1\r\n\r\n", 200, "");
    check("HEAD / HTTP/1.1\r\n\r\n", 404, "");
}

static void others(void **state)
{
    UNUSED(state);
    check("GET " WELL_KNOWN TOKEN "x HTTP/1.1\r\n\r\n", 404, "nothing here\n");
    check("GET " WELL_KNOWN " HTTP/1.1\r\n\r\n", 404, "nothing here\n");
    check("GET " WELL_KNOWN "../acme-challenge/" TOKEN " HTTP/1.1\r\n\r\n", 404, "nothing here\n");
    check("GET http://mx.example.org HTTP/1.1\r\n\r\n", 404, "nothing here\n");
    check("GET / HTTP/1.1\r\n\r\n", 404, "nothing here\n");
    check("POST " WELL_KNOWN TOKEN " HTTP/1.1\r\n\r\n", 405, "GET only\n");
    check("get " WELL_KNOWN TOKEN " HTTP/1.1\r\n\r\n", 405, "GET only\n");
    check("GET " WELL_KNOWN TOKEN "\r\n\r\n", 400, "not understood\n");
    check("GET " WELL_KNOWN TOKEN " HTTP/2.0\r\n\r\n", 400, "not understood\n");
    check("GET  " WELL_KNOWN TOKEN " HTTP/1.1\r\n\r\n", 400, "not understood\n");
    check("GET /\x01 HTTP/1.1\r\n\r\n", 400, "not understood\n");
    check("\r\n", 400, "not understood\n");
    check("\n", 400, "not understood\n");
}

static void too_long(void **state)
{
    UNUSED(state);
    static char request[HTTP_HEAD_MAX + 1];
    char mem[HTTP01_REPLY_MAX];
    struct buf out;
    memset(request, 'a', sizeof request);
    assert_false(http_is_whole(str_of(request, HTTP_HEAD_MAX - 1)));
    assert_true(http_is_whole(str_of(request, HTTP_HEAD_MAX)));
    buf_init_fixed(&out, mem, sizeof mem);
    assert_int_equal(http01_reply(str_of(request, HTTP_HEAD_MAX), NULL, 0, &out), 431);
    memcpy(request, "GET / HTTP/1.1\r\n", 16);
    memcpy(request + HTTP_HEAD_MAX - 3, "\r\n\r\n", 4); /* one octet over */
    buf_reset(&out);
    assert_int_equal(http01_reply(str_of(request, sizeof request), NULL, 0, &out), 431);
    memset(request + 16, 'a', sizeof request - 16);
    memcpy(request + HTTP_HEAD_MAX - 5, "\r\n\r\n", 4);
    buf_reset(&out);
    assert_true(http_is_whole(str_of(request, HTTP_HEAD_MAX - 1)));
    assert_int_equal(http01_reply(str_of(request, HTTP_HEAD_MAX - 1), NULL, 0, &out), 404);
}

static void longest_reply(void **state)
{
    UNUSED(state);
    struct http01_challenge c = {.n_token = 1, .n_answer = HTTP01_ANSWER_MAX, .token = {'t'}};
    char mem[HTTP01_REPLY_MAX];
    struct buf out;
    memset(c.answer, 'a', sizeof c.answer);
    buf_init_fixed(&out, mem, sizeof mem);
    assert_int_equal(http01_reply(STR("GET " WELL_KNOWN "t HTTP/1.1\r\n\r\n"), &c, 1, &out), 200);
    assert_false(out.failed);
}

static void words(void **state)
{
    UNUSED(state);
    static char longest[HTTP01_TOKEN_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_true(http01_is_token(STR(TOKEN)));
    assert_true(http01_is_token(str_of(longest, HTTP01_TOKEN_MAX)));
    assert_false(http01_is_token(str_of(longest, HTTP01_TOKEN_MAX + 1)));
    assert_false(http01_is_token(STR("")));
    assert_false(http01_is_token(STR("a/b")));
    assert_false(http01_is_token(STR("a.b")));
    assert_true(http01_is_answer(STR(TOKEN), STR(ANSWER)));
    assert_false(http01_is_answer(STR(TOKEN), STR(TOKEN)));
    assert_false(http01_is_answer(STR(TOKEN), STR(TOKEN ".")));
    assert_false(http01_is_answer(STR(TOKEN), STR(TOKEN "x.y")));
    assert_false(http01_is_answer(STR(TOKEN), STR(TOKEN ".y\r\n")));
    assert_false(http01_is_answer(STR("a"), STR(ANSWER)));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(answers), cmocka_unit_test(others),
                                              cmocka_unit_test(too_long), cmocka_unit_test(longest_reply),
                                              cmocka_unit_test(words)};
    return cmocka_run_group_tests_name("http01", tests, NULL, NULL);
}
