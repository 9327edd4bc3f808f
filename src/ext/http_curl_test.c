/* Runs beside the servers of http_lab.py; LAB is its folder. */
#include "ext/http_curl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_MAX_ASKED = 64 * 1024, LONG_MS = 60 * 1000, SHORT_MS = 300 };

static const char policy[] = "version: STSv1\r\nmode: testing\r\nmx: mx.lab.test\r\nmax_age: 86400\r\n";

struct fixture {
    struct log log;
    struct io_world *io;
    struct http_curl *h;
    char anchors[8192];
};
struct got {
    struct io_world *io;
    size_t *n_left;
    bool is_done;
    enum http_status status;
    unsigned code;
    char type[HTTP_TYPE_MAX + 1], why[512];
    size_t n_body;
    char body[SIZE_MAX_ASKED + 1];
};

static void on_log(void *arg, struct str line)
{
    UNUSED(arg);
    assert_true(fwrite(line.p, 1, line.n, stderr) == line.n);
}

static FILE *lab_file(const char *name)
{
    char path[512];
    const char *lab = getenv("LAB");
    assert_non_null(lab);
    assert_true(snprintf(path, sizeof path, "%s/%s", lab, name) > 0);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    return f;
}

static uint16_t port_of(const char *server)
{
    char name[64];
    unsigned port, found = 0;
    FILE *f = lab_file("ports");
    while (fscanf(f, "%63s %u", name, &port) == 2) {
        if (strcmp(name, server) == 0)
            found = port;
    }
    assert_int_equal(fclose(f), 0);
    assert_int_not_equal(found, 0);
    return (uint16_t)found;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->log = (struct log){.min = LOG_ERROR, .write = on_log};
    f->io = io_world_new(&f->log, NULL);
    assert_non_null(f->io);
    f->h = http_curl_new(f->io);
    assert_non_null(f->h);
    FILE *file = lab_file("ca.pem");
    size_t n = fread(f->anchors, 1, sizeof f->anchors, file);
    assert_int_equal(fclose(file), 0);
    struct http_client *c = http_curl_client(f->h);
    c->trust(c->self, str_of(f->anchors, n));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    http_curl_del(&f->h);
    assert_null(f->h);
    io_world_del(&f->io);
    free(f);
    return 0;
}

static void on_answer(void *arg, const struct http_answer *a)
{
    struct got *g = arg;
    assert_false(g->is_done);
    g->is_done = true;
    g->status = a->status;
    g->code = a->code;
    assert_true(str_to_c(a->type, g->type, sizeof g->type));
    (void)str_to_c(str_slice(a->why, 0, sizeof g->why - 1), g->why, sizeof g->why);
    assert_true(a->body.n < sizeof g->body);
    g->n_body = a->body.n;
    if (a->body.n > 0)
        memcpy(g->body, a->body.p, a->body.n);
    if (--*g->n_left == 0)
        io_stop(g->io);
}

static bool begin(struct fixture *f, const char *path, uint32_t timeout_ms, struct got *g, size_t *n_left)
{
    char url[256];
    struct netaddr at[2]; /* nobody listens at the first */
    struct http_client *c = http_curl_client(f->h);
    assert_true(netaddr_parse_ip(STR("::1"), 0, &at[0]) && netaddr_parse_ip(STR("127.0.0.1"), 0, &at[1]));
    assert_true(snprintf(url, sizeof url, "https://www.lab.test%s", path) > 0);
    struct http_request ask = {
        .url = str_from_c(url),
        .host = STR("www.lab.test"),
        .addresses = at,
        .n_addresses = 2,
        .size_max = SIZE_MAX_ASKED,
        .timeout_ms = timeout_ms,
    };
    g->io = f->io;
    g->n_left = n_left;
    g->is_done = false;
    bool ok = c->ask(c->self, &ask, on_answer, g);
    assert_false(g->is_done); /* never within the call */
    return ok;
}

static struct got *get_one(struct fixture *f, const char *server, const char *path, uint32_t timeout_ms)
{
    struct got *g = calloc(1, sizeof *g);
    size_t n_left = 1;
    assert_non_null(g);
    http_curl_set_port(f->h, port_of(server));
    assert_true(begin(f, path, timeout_ms, g, &n_left));
    io_run(f->io);
    assert_true(g->is_done);
    return g;
}

static const struct {
    const char *server, *path;
    uint32_t timeout_ms;
    enum http_status status;
    unsigned code;
    const char *type, *body;
} table[] = {
    {"good", "/ok", LONG_MS, HTTP_ANSWERED, 200, "text/plain", policy},
    {"good", "/split", LONG_MS, HTTP_ANSWERED, 200, "text/plain", policy},
    {"good", "/close", LONG_MS, HTTP_ANSWERED, 200, "text/plain; charset=utf-8", policy},
    {"good", "/chunked", LONG_MS, HTTP_ANSWERED, 200, "text/plain", policy},
    {"good", "/html", LONG_MS, HTTP_ANSWERED, 200, "text/html", policy},
    {"good", "/notype", LONG_MS, HTTP_ANSWERED, 200, "", policy},
    {"good", "/zip", LONG_MS, HTTP_ANSWERED, 200, "text/plain", policy}, /* not unpacked */
    {"good", "/redirect", LONG_MS, HTTP_ANSWERED, 301, "", ""},          /* not followed */
    {"good", "/missing", LONG_MS, HTTP_ANSWERED, 404, "text/plain", "no"},
    {"wild", "/ok", LONG_MS, HTTP_ANSWERED, 200, "text/plain", policy},
    {"good", "/long", LONG_MS, HTTP_TOO_BIG, 0, "", ""},
    {"good", "/endless", LONG_MS, HTTP_TOO_BIG, 0, "", ""},
    {"good", "/header", LONG_MS, HTTP_TOO_BIG, 0, "", ""},
    {"good", "/short", LONG_MS, HTTP_BROKEN, 0, "", ""},
    {"good", "/garbage", LONG_MS, HTTP_BROKEN, 0, "", ""},
    {"good", "/slow", SHORT_MS, HTTP_TIMEOUT, 0, "", ""},
    {"good", "/mute", SHORT_MS, HTTP_TIMEOUT, 0, "", ""},
    {"silent", "/ok", SHORT_MS, HTTP_TIMEOUT, 0, "", ""},
    {"other", "/ok", LONG_MS, HTTP_INSECURE, 0, "", ""},
    {"expired", "/ok", LONG_MS, HTTP_INSECURE, 0, "", ""},
    {"stranger", "/ok", LONG_MS, HTTP_INSECURE, 0, "", ""},
    {"plain", "/ok", LONG_MS, HTTP_INSECURE, 0, "", ""},
    {"closes", "/ok", LONG_MS, HTTP_INSECURE, 0, "", ""}, /* in the middle of the handshake */
};

static void answers(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct got *g = get_one(*state, table[i].server, table[i].path, table[i].timeout_ms);
        g->body[g->n_body] = '\0';
        if (g->status != table[i].status || g->code != table[i].code || strcmp(g->type, table[i].type) != 0 ||
            strcmp(g->body, table[i].body) != 0)
            fail_msg("%s %s: %d %u '%s' '%s' (%s)", table[i].server, table[i].path, g->status, g->code,
                     g->type, g->body, g->why);
        if ((g->status == HTTP_ANSWERED) != (g->why[0] == '\0'))
            fail_msg("%s %s: why '%s'", table[i].server, table[i].path, g->why);
        free(g);
    }
}

/* The defaults of this machine count for nothing. */
static void without_anchors_nobody_is_trusted(void **state)
{
    struct fixture *f = *state;
    struct http_client *c = http_curl_client(f->h);
    c->trust(c->self, STR_NIL);
    struct got *g = get_one(f, "good", "/ok", LONG_MS);
    assert_int_equal(g->status, HTTP_INSECURE);
    free(g);
}

/* Proxies, as other programs of this machine are told of them, would see what we ask for. */
static void the_environment_has_no_say(void **state)
{
    assert_int_equal(setenv("https_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    struct got *g = get_one(*state, "good", "/ok", LONG_MS);
    assert_int_equal(g->status, HTTP_ANSWERED);
    free(g);
    assert_int_equal(unsetenv("https_proxy") + unsetenv("ALL_PROXY"), 0);
}

static void nobody_listens(void **state)
{
    struct fixture *f = *state;
    struct got *g = calloc(1, sizeof *g);
    size_t n_left = 1;
    assert_non_null(g);
    http_curl_set_port(f->h, 1);
    assert_true(begin(f, "/ok", LONG_MS, g, &n_left));
    io_run(f->io);
    assert_int_equal(g->status, HTTP_UNREACHABLE);
    free(g);
}

static void many_at_a_time_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct got *g = calloc(HTTP_OPEN_MAX + 1, sizeof *g);
    size_t n_left = HTTP_OPEN_MAX;
    assert_non_null(g);
    http_curl_set_port(f->h, port_of("good"));
    for (size_t i = 0; i < HTTP_OPEN_MAX; i++)
        assert_true(begin(f, "/ok", LONG_MS, &g[i], &n_left));
    assert_false(begin(f, "/ok", LONG_MS, &g[HTTP_OPEN_MAX], &n_left));
    io_run(f->io);
    for (size_t i = 0; i < HTTP_OPEN_MAX; i++)
        assert_int_equal(g[i].status, HTTP_ANSWERED);
    free(g);
}

static void forgotten_transfers_say_nothing(void **state)
{
    struct fixture *f = *state;
    struct got *g = calloc(2, sizeof *g);
    size_t n_left = 1, never = 1;
    assert_non_null(g);
    http_curl_set_port(f->h, port_of("silent"));
    assert_true(begin(f, "/ok", LONG_MS, &g[0], &never));
    assert_true(begin(f, "/ok", SHORT_MS, &g[1], &n_left));
    io_run(f->io);
    http_curl_del(&f->h);
    assert_false(g[0].is_done);
    free(g);
}

static void what_is_no_question_is_refused(void **state)
{
    static const struct netaddr path = {.kind = NETADDR_UNIX, .path = "/run/x"};
    struct fixture *f = *state;
    struct http_client *c = http_curl_client(f->h);
    struct got g;
    struct netaddr at;
    assert_true(netaddr_parse_ip(STR("127.0.0.1"), 0, &at));
    struct http_request good = {.url = STR("https://www.lab.test/ok"),
                                .host = STR("www.lab.test"),
                                .addresses = &at,
                                .n_addresses = 1,
                                .size_max = 100,
                                .timeout_ms = LONG_MS};
    struct http_request none = good, unix_path = good, control = good, zero = good, field = good, type = good;
    none.n_addresses = 0;
    unix_path.addresses = &path;
    control.host = STR("www.lab.test\n");
    zero.url = STR("https://www.lab.test/\0ok");
    field.authorization = STR("Bearer a\r\nX-Other: b");
    type.is_post = true;
    type.type = STR("text/plain\r\nX-Other: b");
    const struct http_request *const all[] = {&none, &unix_path, &control, &zero, &field, &type};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        assert_false(c->ask(c->self, all[i], on_answer, &g));
}

/* What the server got comes back. */
static void bodies_are_sent(void **state)
{
    static const char binary[] = "a=1&b=\0\xff";
    static char big[60000];
    struct fixture *f = *state;
    struct http_client *c = http_curl_client(f->h);
    const struct {
        struct str body, authorization;
        const char *head;
    } cases[] = {
        {str_of(binary, sizeof binary - 1), STR_NIL, "POST application/x-test - "},
        {STR_NIL, STR("Bearer x"), "POST application/x-test Bearer x "},
        {str_of(big, sizeof big), STR("Basic YTpi"), "POST application/x-test Basic YTpi "},
    };
    struct netaddr at;
    assert_true(netaddr_parse_ip(STR("127.0.0.1"), 0, &at));
    http_curl_set_port(f->h, 1); /* the one of the request counts */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char url[256];
        struct got *g = calloc(1, sizeof *g);
        size_t n_left = 1, n_head = strlen(cases[i].head);
        assert_non_null(g);
        g->io = f->io;
        g->n_left = &n_left;
        assert_true(snprintf(url, sizeof url, "https://www.lab.test:%u/echo", (unsigned)port_of("good")) > 0);
        struct http_request ask = {.url = str_from_c(url),
                                   .host = STR("www.lab.test"),
                                   .addresses = &at,
                                   .n_addresses = 1,
                                   .size_max = SIZE_MAX_ASKED,
                                   .timeout_ms = LONG_MS,
                                   .port = port_of("good"),
                                   .is_post = true,
                                   .type = STR("application/x-test"),
                                   .body = cases[i].body,
                                   .authorization = cases[i].authorization};
        assert_true(c->ask(c->self, &ask, on_answer, g));
        io_run(f->io);
        assert_int_equal(g->status, HTTP_ANSWERED);
        assert_int_equal(g->n_body, n_head + cases[i].body.n);
        assert_memory_equal(g->body, cases[i].head, n_head);
        if (cases[i].body.n > 0)
            assert_memory_equal(g->body + n_head, cases[i].body.p, cases[i].body.n);
        free(g);
    }
}

/* Only https is spoken. */
static void other_schemes_fail(void **state)
{
    static const char *const urls[] = {"http://www.lab.test/ok", "file:///etc/passwd",
                                       "https://a:b@www.lab.test/ok"};
    struct fixture *f = *state;
    struct http_client *c = http_curl_client(f->h);
    struct netaddr at;
    assert_true(netaddr_parse_ip(STR("127.0.0.1"), 0, &at));
    http_curl_set_port(f->h, port_of("good"));
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct got *g = calloc(1, sizeof *g);
        size_t n_left = 1;
        assert_non_null(g);
        g->io = f->io;
        g->n_left = &n_left;
        struct http_request ask = {.url = str_from_c(urls[i]),
                                   .host = STR("www.lab.test"),
                                   .addresses = &at,
                                   .n_addresses = 1,
                                   .size_max = 100,
                                   .timeout_ms = LONG_MS};
        assert_true(c->ask(c->self, &ask, on_answer, g));
        io_run(f->io);
        assert_int_equal(g->status, HTTP_BROKEN);
        free(g);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(answers),
        T(without_anchors_nobody_is_trusted),
        T(the_environment_has_no_say),
        T(nobody_listens),
        T(many_at_a_time_and_no_more),
        T(forgotten_transfers_say_nothing),
        T(what_is_no_question_is_refused),
        T(bodies_are_sent),
        T(other_schemes_fail),
    };
    return cmocka_run_group_tests_name("http_curl", tests, NULL, NULL);
}
