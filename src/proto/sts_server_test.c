#include "proto/sts_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define PAGE "/.well-known/mta-sts.txt"
#define ORG "Host: mta-sts.example.org\r\n"
#define NOTHING "nothing here\n"
#define BAD "not understood\n"

static const struct sts_page pages[] = {{STR_INIT("a.example"), STR_INIT("policy of a\r\n")},
                                        {STR_INIT("b.a.example"), STR_INIT("policy of b\r\n")},
                                        {STR_INIT("example.org"), STR_INIT("policy of org\r\n")},
                                        {STR_INIT("xn--b-eha.example"), STR_INIT("policy of idn\r\n")}};

/* However it comes, it is whole with its last octet and not before. */
static void check(const char *request, unsigned status, const char *body)
{
    char mem[1024];
    struct str s = str_from_c(request), rest;
    struct buf out;
    for (size_t n = 0; n < s.n; n++)
        assert_false(http_is_whole(str_slice(s, 0, n)));
    assert_true(http_is_whole(s));
    buf_init_fixed(&out, mem, sizeof mem);
    unsigned got = sts_reply(s, pages, ARRAY_LEN(pages), &out);
    if (got != status)
        fail_msg("%u and not %u for\n%s", got, status, request);
    assert_false(out.failed);
    rest = buf_str(&out);
    assert_true(str_starts(rest, STR("HTTP/1.1 ")));
    assert_int_not_equal(str_find(rest, STR("\r\nConnection: close\r\n")), STR_NPOS);
    assert_int_not_equal(str_find(rest, STR("\r\nContent-Type: text/plain\r\n")), STR_NPOS);
    assert_int_equal(str_find(rest, STR("Location")), STR_NPOS);
    size_t gap = str_find(rest, STR("\r\n\r\n"));
    assert_int_not_equal(gap, STR_NPOS);
    assert_true(gap + 4 <= HTTP_SAID_MAX);
    if (!str_eq(str_skip(rest, gap + 4), str_from_c(body)))
        fail_msg("for\n%s\ngot\n%.*s", request, STR_FMT(rest));
}

static void policies(void **state)
{
    UNUSED(state);
    check("GET " PAGE " HTTP/1.1\r\n" ORG "\r\n", 200, "policy of org\r\n");
    check("GET " PAGE
          " HTTP/1.1\r\nUser-Agent: x\r\nhOST:\t MTA-STS.Example.ORG.:443 \r\nAccept: */*\r\n\r\n",
          200, "policy of org\r\n");
    check("GET " PAGE " HTTP/1.0\nHost: mta-sts.a.example:\n\n", 200, "policy of a\r\n");
    check("GET " PAGE " HTTP/1.1\r\nHost: mta-sts.b.a.example:8443\r\n\r\n", 200, "policy of b\r\n");
    check("GET " PAGE " HTTP/1.1\r\nHost: mta-sts.xn--b-eha.example\r\n\r\n", 200, "policy of idn\r\n");
    /* the absolute form goes before Host, which must be there all the same (RFC 9112 3.2.2) */
    check("GET HTTPS://mta-sts.a.example" PAGE " HTTP/1.1\r\n" ORG "\r\n", 200, "policy of a\r\n");
    check("GET https://mta-sts.a.example" PAGE " HTTP/1.1\r\n\r\n", 400, BAD);
    check("HEAD " PAGE " HTTP/1.1\r\n" ORG "\r\n", 200, "");
}

static void others(void **state)
{
    UNUSED(state);
    static const char *const paths[] = {
        "/",
        "/.well-known/",
        "/.well-known/mta-sts.txt/",
        "/.well-known/mta-sts.txt?x",
        "/.well-known/MTA-STS.txt",
        "/.well-known/../.well-known/mta-sts.txt",
        "//.well-known/mta-sts.txt",
        "/.well-known/mta-sts.tx",
        "/.well-known/acme-challenge/x",
        "*",
        "mta-sts.example.org:443",
        "https://mta-sts.example.org",
        "https://",
        "http://mta-sts.example.org" PAGE, /* of another server */
        "https://example.org" PAGE,
        "https://x@mta-sts.example.org" PAGE,
    };
    static const char *const hosts[] = {
        "example.org",
        "mta-sts.",
        "mta-sts.example.net",
        "mta-sts.mta-sts.example.org",
        "mta-stsexample.org",
        "xmta-sts.example.org",
        "mta-sts.example.org..",
        "mta-sts.example.org:44x",
        "mta-sts.example",
        "[::1]",
        "192.0.2.1",
        "mta-sts.example.org, x",
        "",
    };
    for (size_t i = 0; i < ARRAY_LEN(paths) + ARRAY_LEN(hosts); i++) {
        char mem[512];
        struct buf request;
        bool is_path = i < ARRAY_LEN(paths);
        buf_init_fixed(&request, mem, sizeof mem);
        buf_printf(&request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", is_path ? paths[i] : PAGE,
                   is_path ? "mta-sts.example.org" : hosts[i - ARRAY_LEN(paths)]);
        assert_true(buf_putc(&request, '\0'));
        check(request.p, 404, NOTHING);
    }
    check("HEAD / HTTP/1.1\r\n" ORG "\r\n", 404, "");
    check("GET " PAGE " HTTP/1.0\r\n\r\n", 404, NOTHING); /* without a host */
    check("POST " PAGE " HTTP/1.1\r\n" ORG "\r\n", 405, "GET only\n");
    check("get " PAGE " HTTP/1.1\r\n" ORG "\r\n", 405, "GET only\n");
    check("CONNECT mta-sts.example.org:443 HTTP/1.1\r\n" ORG "\r\n", 405, "GET only\n");
    check("PRI * HTTP/2.0\r\n\r\n", 400, BAD);
}

static void malformed(void **state)
{
    UNUSED(state);
    static const char *const requests[] = {
        "GET " PAGE "\r\n\r\n",
        "GET  " PAGE " HTTP/1.1\r\n" ORG "\r\n",
        " GET " PAGE " HTTP/1.1\r\n" ORG "\r\n",
        "GET " PAGE " HTTP/1.1 \r\n" ORG "\r\n",
        "GET /\x01 HTTP/1.1\r\n" ORG "\r\n",
        "GET " PAGE " HTTP/1.1\r\n\r\n", /* no Host */
        "GET " PAGE " HTTP/1.1\r\nX-Host: mta-sts.example.org\r\n\r\n",
        "GET " PAGE " HTTP/1.1\r\n" ORG ORG "\r\n",
        "GET " PAGE " HTTP/1.0\r\n" ORG ORG "\r\n",
        "GET " PAGE " HTTP/1.1\r\nHost : mta-sts.example.org\r\n\r\n",
        "GET " PAGE " HTTP/1.1\r\n" ORG " folded\r\n\r\n",
        "GET " PAGE " HTTP/1.1\r\n" ORG "no colon\r\n\r\n",
        "GET " PAGE " HTTP/1.1\r\n" ORG ": no name\r\n\r\n",
        "GET " PAGE " HTTP/1.1\r\n" ORG "a: \x7f\r\n\r\n",
        "GET " PAGE " HTTP/1.1\r\n" ORG "a: \r b\r\n\r\n",
        "\x16\x03\x01\r\n\r\n",
        "\r\n",
        "\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        check(requests[i], 400, BAD);
}

static void too_long(void **state)
{
    UNUSED(state);
    static char request[HTTP_HEAD_MAX + 1];
    static const char front[] = "GET " PAGE " HTTP/1.1\r\n" ORG "X: ";
    char mem[1024];
    struct buf out;
    memset(request, 'a', sizeof request);
    memcpy(request, front, sizeof front - 1);
    memcpy(request + HTTP_HEAD_MAX - 3, "\r\n\r\n", 4); /* one octet over */
    assert_false(http_is_whole(str_of(request, HTTP_HEAD_MAX - 1)));
    buf_init_fixed(&out, mem, sizeof mem);
    assert_int_equal(sts_reply(str_of(request, sizeof request), pages, ARRAY_LEN(pages), &out), 431);
    memcpy(request + HTTP_HEAD_MAX - 5, "\r\n\r\n", 4);
    buf_reset(&out);
    assert_int_equal(sts_reply(str_of(request, HTTP_HEAD_MAX - 1), pages, ARRAY_LEN(pages), &out), 200);
}

static void longest_name(void **state)
{
    UNUSED(state);
    static char request[1024], name[300];
    char mem[1024];
    struct buf out, r;
    memset(name, 'a', sizeof name);
    for (size_t n = 240; n <= 260; n++) {
        const struct sts_page page = {str_of(name, n), STR("yes")};
        buf_init_fixed(&r, request, sizeof request);
        buf_printf(&r, "GET " PAGE " HTTP/1.1\r\nHost: mta-sts.%.*s\r\n\r\n", (int)n, name);
        buf_init_fixed(&out, mem, sizeof mem);
        assert_int_equal(sts_reply(buf_str(&r), &page, 1, &out), n + 8 <= 255 ? 200 : 404);
        buf_reset(&out);
        assert_int_equal(sts_reply(buf_str(&r), NULL, 0, &out), 404);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(policies), cmocka_unit_test(others),
                                              cmocka_unit_test(malformed), cmocka_unit_test(too_long),
                                              cmocka_unit_test(longest_name)};
    return cmocka_run_group_tests_name("sts_server", tests, NULL, NULL);
}
