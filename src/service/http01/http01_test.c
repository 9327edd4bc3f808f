/* The role that answers the authority: when its port is open, who is answered, and how long a visit lasts.
 * What is answered is proto/http01_test.c. */
#include "service/acme/acme_testing.h"

#define GET_A "GET /.well-known/acme-challenge/aaa HTTP/1.1\r\nHost: mx.example.org\r\n\r\n"
enum { VISITS = 64, VISIT_MS = 10000 };

static int set_up(void **state)
{
    UNUSED(state);
    begin(ROLE_HTTP01, &http01_role, NULL);
    create();
    return 0;
}

static void serve(const char *token, const char *answer)
{
    char mem[1024];
    struct buf b;
    struct ipc_http01_serve m = {.token = str_from_c(token), .answer = str_from_c(answer)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_http01_serve(&m, &b));
    hear(IPC_HTTP01_SERVE, &b);
}

static void give_port(void)
{
    char mem[64];
    struct buf b;
    struct ipc_sup_port m = {.token = 1, .err = ERR_OK};
    assert_true(the->n_listeners < LISTENERS_MAX);
    struct listener *l = &the->listeners[the->n_listeners++];
    l->object.ops = &ops;
    struct handle h = {.listener = l};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sup_port(&m, &b));
    http01_role.from_super(the->self, IPC_SUP_PORT, buf_str(&b), &h);
}

static struct conn *visit(void)
{
    struct listener *l = &the->listeners[0];
    struct conn *c = new_conn();
    assert_non_null(l->user);
    l->user->on_accept(l->arg, l, c);
    return c;
}

static bool has(const struct conn *c, const char *text)
{
    return str_find(buf_str(&c->out), str_from_c(text)) != STR_NPOS;
}

static void leave(struct conn *c)
{
    c->is_eof = true;
    c->user->on_ready(c->arg, c, CONN_READABLE);
    assert_true(c->is_closed);
}

static void answers(void **state)
{
    UNUSED(state);
    serve("aaa", "aaa.bbb");
    assert_string_equal(the->told, ""); /* the port is not open */
    give_port();
    assert_string_equal(the->told, "serving(aaa) ");
    give_port(); /* the other address */
    serve("ccc", "ccc.ddd");
    assert_string_equal(the->told, "serving(aaa) serving(ccc) ");
    struct conn *c = visit();
    for (size_t i = 0; i < sizeof GET_A - 1; i++) {
        assert_int_equal(c->out.n, 0);
        arrive(c, str_of(GET_A + i, 1));
    }
    assert_true(has(c, "HTTP/1.1 200 OK") && has(c, "\r\n\r\naaa.bbb") && c->is_shut);
    arrive(c, STR("GET / HTTP/1.1\r\n\r\n")); /* one request a connection */
    assert_false(has(c, "404"));
    leave(c);
    c = visit();
    arrive(c, STR("GET / HTTP/1.1\r\n\r\n"));
    assert_true(has(c, "404"));
    leave(c);
    assert_true(was_logged("info test http01.asked by=192.0.2.1 status=200"));
    assert_true(was_logged("debug test http01.asked by=192.0.2.1 status=404"));
}

/* An answer that goes out in small parts. */
static void slow_reader(void **state)
{
    UNUSED(state);
    serve("aaa", "aaa.bbb");
    give_port();
    struct conn *c = visit();
    c->room = 10;
    arrive(c, STR(GET_A));
    assert_false(c->is_shut);
    for (unsigned i = 0; i < 1000 && !c->is_shut; i++) {
        assert_int_equal(c->wanted, CONN_WRITABLE);
        c->room = 10;
        c->user->on_ready(c->arg, c, CONN_WRITABLE);
    }
    assert_true(c->is_shut && has(c, "\r\n\r\naaa.bbb"));
    leave(c);
}

static void forgets(void **state)
{
    UNUSED(state);
    serve("aaa", "aaa.bbb");
    give_port();
    give_port();
    struct conn *c = visit();
    serve("", "");
    assert_true(the->listeners[0].is_closed && the->listeners[1].is_closed && c->is_closed);
    assert_string_equal(the->told, "serving(aaa) serving() ");
    the->n_listeners = 0; /* a round later */
    the->listeners[0].is_closed = false;
    serve("ccc", "ccc.ddd");
    give_port();
    c = visit();
    arrive(c, STR(GET_A)); /* that of the round before */
    assert_true(has(c, "404"));
}

static void acme_goes(void **state)
{
    UNUSED(state);
    serve("aaa", "aaa.bbb");
    give_port();
    the->other.user->on_closed(the->other.arg, &the->other);
    assert_true(the->listeners[0].is_closed && the->other.is_closed);
}

static void check_refused(const char *token, const char *answer)
{
    (void)set_up(NULL);
    give_port();
    serve(token, answer);
    assert_true(the->other.is_closed && the->listeners[0].is_closed);
    (void)finish(NULL);
}

static void refusals(void **state)
{
    UNUSED(state);
    check_refused("a/b", "a/b.c");
    check_refused("a", "b.c");
    check_refused("a", "a.b\r\nSet-Cookie: x");
    check_refused("a", "");
}

static void too_many_answers(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 100; i++)
        serve("a", "a.b");
    assert_false(the->other.is_closed);
    serve("a", "a.b");
    assert_true(the->other.is_closed);
}

static void visits_end(void **state)
{
    UNUSED(state);
    serve("aaa", "aaa.bbb");
    give_port();
    struct conn *c = visit();
    pass(VISIT_MS - 1);
    arrive(c, STR("G")); /* octet by octet is no longer than the whole */
    assert_false(c->is_closed);
    pass(1);
    assert_true(c->is_closed);
    assert_int_equal(c->out.n, 0);
    c = visit();
    leave(c);
}

static void full_house(void **state)
{
    UNUSED(state);
    serve("aaa", "aaa.bbb");
    give_port();
    struct conn *first = visit();
    for (unsigned i = 1; i < VISITS; i++)
        (void)visit();
    assert_null(the->listeners[0].user); /* others wait */
    leave(first);
    assert_non_null(the->listeners[0].user);
    (void)visit();
    pass(VISIT_MS);
    for (size_t i = 0; i < the->n_conns; i++)
        assert_true(the->conns[i].is_closed);
    assert_non_null(the->listeners[0].user);
}

static void drains(void **state)
{
    UNUSED(state);
    serve("aaa", "aaa.bbb");
    give_port();
    struct conn *c = visit();
    http01_role.drain(the->self, the->now_ms + 1000);
    assert_true(c->is_closed && the->listeners[0].is_closed);
    assert_int_equal(the->n_drained, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, finish)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(answers),          T(slow_reader), T(forgets),    T(acme_goes), cmocka_unit_test(refusals),
        T(too_many_answers), T(visits_end),  T(full_house), T(drains),
    };
    return cmocka_run_group_tests_name("http01_role", tests, NULL, NULL);
}
