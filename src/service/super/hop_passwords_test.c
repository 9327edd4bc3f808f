/* Passwords of next hops on their way to relay: files, the log and the channel are in this test's hand. */
#include "service/super/hop_passwords.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum { SENT_MAX = 8 };

struct handle {
    struct world_object object;
    size_t n;
    char bytes[SECRET_FILE_MAX + 1];
};
struct channel {
    struct world_object object;
    bool is_full;
    size_t n_sent, n_handles;
    char names[SENT_MAX][64], octets[SENT_MAX][64];
};

static struct channel *the_relay;
static char logged[1024];

static struct handle *blob_of(struct world *w, struct str bytes)
{
    struct handle *h = calloc(1, sizeof *h);
    assert_non_null(h);
    h->object.ops = w->ops;
    h->n = bytes.n;
    assert_true(bytes.n <= sizeof h->bytes);
    if (bytes.n > 0)
        memcpy(h->bytes, bytes.p, bytes.n);
    the_relay->n_handles++;
    return h;
}

static void drop(struct handle *h)
{
    the_relay->n_handles--;
    free(h);
}

static enum err take(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    struct ipc_sup_secret m;
    assert_true(type == IPC_SUP_SECRET && ipc_decode_sup_secret(payload, &m) && give != NULL);
    if (c->is_full)
        return ERR_AGAIN;
    assert_true(c->n_sent < SENT_MAX && str_to_c(m.name, c->names[c->n_sent], sizeof c->names[0]));
    assert_true(str_to_c(str_of(give->bytes, give->n), c->octets[c->n_sent], sizeof c->octets[0]));
    c->n_sent++;
    drop(give);
    return ERR_OK;
}

static const struct world_ops ops = {.handle_of_blob = blob_of, .handle_drop = drop, .channel_send = take};

static void write_log(void *arg, struct str line)
{
    UNUSED(arg);
    assert_true(str_to_c(line, logged, sizeof logged));
}

static enum err read_file(void *arg, struct str path, struct buf *out, bool *is_open)
{
    UNUSED(arg);
    *is_open = false;
    assert_true(out->n == 0 && out->max > SECRET_FILE_MAX);
    if (str_eq(path, STR("/none")))
        return ERR_NOTFOUND;
    while (str_eq(path, STR("/big")) && out->n <= SECRET_FILE_MAX)
        assert_true(buf_putc(out, 'x'));
    return buf_put(out, str_eq(path, STR("/a")) ? STR("one\n") : STR_NIL) ? ERR_OK : ERR_NOMEM;
}

static void test_each_once(void **state)
{
    static const struct route_rule routes[] = {
        {.auth = {{"me", 2}, {"/a", 2}}},   {.is_mx = true},
        {.auth = {{"you", 3}, {"/a", 2}}},  {.auth = {{"me", 2}, {"/none", 5}}},
        {.auth = {{"me", 2}, {"/big", 4}}}, {.auth = {{"me", 2}, {"/empty", 6}}},
    };
    struct log log = {.write = write_log};
    struct world w = {&ops, &log};
    struct channel relay = {.object = {&ops}};
    struct secret_files files = {.read = read_file}, none = {.arg = NULL};
    static const struct auth_backend auths[] = {
        {.kind = AUTH_BY_LDAP, .table = {.secret = STR_INIT("/a")}},
        {.kind = AUTH_BY_PAM},
        {.kind = AUTH_BY_POSTGRESQL, .table = {.secret = STR_INIT("/table")}},
        {.kind = AUTH_BY_POSTGRESQL, .table = {.secret = STR_INIT("/table")}},
    };
    struct config c = {.policy = {.routes = routes, .n_routes = ARRAY_LEN(routes)},
                       .auths = auths,
                       .n_auths = ARRAY_LEN(auths),
                       .oauth = {.by = OAUTH_INTROSPECTION, .secret = STR_INIT("/issuer")}};
    UNUSED(state);
    the_relay = &relay;
    struct str paths[ARRAY_LEN(routes) + ARRAY_LEN(auths) + 1];
    assert_int_equal(hop_passwords_list(&c, paths), 6);
    assert_true(str_eq(paths[0], STR("/a")) && str_eq(paths[1], STR("/none")) &&
                str_eq(paths[2], STR("/big")) && str_eq(paths[3], STR("/empty")));
    assert_true(str_eq(paths[4], STR("/table")) && str_eq(paths[5], STR("/issuer")));
    assert_true(hop_passwords_send(&w, &files, &c, ROLE_RELAY, &relay));
    assert_int_equal(relay.n_sent, 2);
    assert_string_equal(relay.names[0], "/a");
    assert_string_equal(relay.octets[0], "one\n");
    assert_string_equal(relay.names[1], "/empty");
    assert_non_null(strstr(logged, "/big")); /* the last of two complaints */
    relay.is_full = true;
    assert_false(hop_passwords_send(&w, &files, &c, ROLE_RELAY, &relay));
    relay.is_full = false;
    assert_true(hop_passwords_send(&w, &none, &c, ROLE_RELAY, &relay));
    assert_int_equal(relay.n_sent, 2);
    /* each gets what it logs in with, and all others nothing */
    assert_true(hop_passwords_send(&w, &files, &c, ROLE_TABLES, &relay));
    assert_int_equal(relay.n_sent, 5);
    assert_string_equal(relay.names[2], "/a");
    assert_string_equal(relay.names[3], "/table");
    assert_string_equal(relay.names[4], "/issuer");
    for (unsigned r = 0; r < ROLE_N; r++) {
        if (r != ROLE_RELAY && r != ROLE_TABLES)
            assert_true(hop_passwords_send(&w, &files, &c, (enum role)r, &relay));
    }
    assert_int_equal(relay.n_sent, 5);
    assert_int_equal(relay.n_handles, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
