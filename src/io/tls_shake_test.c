#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/sandbox.h"
#include "io/tls_testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int make_cert(void **state)
{
    static struct tt_cert c;
    c = tt_make(&(struct tt_spec){.names = "DNS:mx.example.org"});
    *state = &c;
    return 0;
}

static int free_cert(void **state)
{
    tt_free(*state);
    return 0;
}

static void setup(struct tt_rig *r, void **state)
{
    tt_setup(r);
    tt_server(r, *state, NULL, NULL);
    tt_client(r, NULL, NULL);
}

static void assert_failed(const struct tt_end *e, enum err err, const char *text)
{
    char octet;
    size_t n;
    struct str s = STR("x");
    assert_true(e->is_done);
    if (e->err != err || strstr(e->why, text) == NULL)
        fail_msg("%s: \"%s\", not \"%s\"", err_str(e->err), e->why, text);
    assert_int_equal(conn_read(e->c, &octet, 1, &n), err); /* only conn_close() is left */
    assert_int_equal(conn_write(e->c, &s, 1, &n), ERR_RESET);
}

/* ---- peers that don't speak it ---- */

/* What a peer sends as its first words, to a server and to a client; then it says no more. */
static void says(struct tt_rig *r, bool to_server, struct str first)
{
    tt_connect(r);
    struct conn *peer = to_server ? r->client.c : r->server.c;
    if (to_server)
        tt_start_server(r);
    else
        tt_start_client(r);
    assert_int_equal(send(peer->source.fd, first.p, first.n, 0), (ssize_t)first.n);
    assert_int_equal(shutdown(peer->source.fd, SHUT_WR), 0);
    tt_run(r, 1);
}

static void garbage(void **state)
{
#define NO_TLS "the other side spoke no TLS"
    static const struct {
        bool to_server;
        struct str first;
        enum err err;
        const char *why;
    } rows[] = {
        {true, STR_INIT("EHLO client.example.org\r\n"), ERR_TLS, NO_TLS},
        {true, STR_INIT("GET / HTTP/1.0\r\n\r\n"), ERR_TLS, "the other side spoke HTTP and no TLS"},
        {true, STR_INIT("\x16\x03\x01\xff\xff\x01"), ERR_TLS, NO_TLS},
        {true, STR_INIT("\x15\x03\x01\x00\x02\x02\x28"), ERR_TLS,
         "the TLS handshake failed: unexpected message"},
        {true, STR_INIT("\x16\x03\x01"), ERR_CLOSED, "closed the connection during the TLS handshake"},
        {false, STR_INIT("220 mx.example.org ESMTP\r\n"), ERR_TLS, NO_TLS},
        {false, STR_INIT("HTTP/1.0 400 Bad request\r\n\r\n"), ERR_TLS, NO_TLS},
        {false, STR_INIT("\x15\x03\x01\x00\x02\x02\x28"), ERR_TLS,
         "refused the TLS handshake: handshake failure"},
        {false, STR_INIT("\x15\x03\x01\x00\x02\x02\x46"), ERR_TLS,
         "refused the TLS handshake: protocol version"},
        {false, STR_INIT("\x15\x03\x01"), ERR_CLOSED, "closed the connection during the TLS handshake"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tt_rig r;
        setup(&r, state);
        says(&r, rows[i].to_server, rows[i].first);
        assert_failed(rows[i].to_server ? &r.server : &r.client, rows[i].err, rows[i].why);
        tt_teardown(&r);
    }
}

static void closes_at_once(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct tt_rig r;
        setup(&r, state);
        tt_connect(&r);
        struct tt_end *e = i == 0 ? &r.server : &r.client, *other = i == 0 ? &r.client : &r.server;
        if (i == 0)
            tt_start_server(&r);
        else
            tt_start_client(&r);
        conn_close(other->c);
        other->c = NULL;
        tt_run(&r, 1);
        assert_failed(e, ERR_CLOSED, "closed the connection during the TLS handshake");
        tt_teardown(&r);
    }
}

/* A client's first flight, cut off at each octet and with each octet changed. */
static void hello_damaged(void **state)
{
    struct tt_rig r;
    char hello[2048], changed[2048];
    size_t n = 0;
    setup(&r, state);
    r.start.server_name = STR("mx.example.org");
    tt_connect(&r);
    tt_start_client(&r);
    tt_turns(&r, 2);
    assert_int_equal(conn_read(r.server.c, hello, sizeof hello, &n), ERR_OK);
    assert_true(n > 100 && n < sizeof hello);
    tt_close(&r);
    for (size_t i = 0; i < n; i++) {
        says(&r, true, str_of(hello, i));
        assert_int_equal(r.server.is_done, true);
        assert_int_not_equal(r.server.err, ERR_OK);
        memcpy(changed, hello, n);
        changed[i] = (char)(changed[i] ^ 0x55);
        says(&r, true, str_of(changed, n));
        assert_int_not_equal(r.server.err, ERR_OK);
        assert_true(r.server.why[0] != 0);
    }
    tt_teardown(&r);
}

static void deadline(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct tt_rig r;
        setup(&r, state);
        r.server_ms = r.client_ms = 20;
        tt_connect(&r);
        if (i == 0)
            tt_start_server(&r);
        else
            tt_start_client(&r);
        tt_run(&r, 1);
        assert_failed(i == 0 ? &r.server : &r.client, ERR_TIMEOUT,
                      "did not finish the TLS handshake in time");
        assert_int_equal(conn_tls_fault(i == 0 ? r.server.c : r.client.c), TLS_FAULT_HANDSHAKE);
        tt_teardown(&r);
    }
}

static void closed_by_its_user(void **state)
{
    for (unsigned turns = 0; turns < 6; turns++) {
        struct tt_rig r;
        setup(&r, state);
        r.answer = TT_LATER;
        r.is_dripping = turns % 2 == 1;
        tt_connect(&r);
        tt_start_server(&r);
        tt_start_client(&r);
        if (turns > 0)
            tt_turns(&r, turns * turns);
        tt_close(&r);
        tt_turns(&r, 3); /* nobody is called any more */
        assert_true(r.n_done == 0 || r.n_done == 2);
        tt_teardown(&r);
    }
}

/* ---- signatures ---- */

static void signer_fails(void **state)
{
    static const struct {
        enum tt_answer answer;
        enum err server;
        const char *server_why, *client_why;
    } rows[] = {
        {TT_FAIL, ERR_TLS, "no signature was made with our key: connection broken", "internal error"},
        {TT_TOO_LONG, ERR_TLS, "no signature was made with our key: malformed", "internal error"},
        {TT_WRONG, ERR_TLS, "refused the TLS handshake: decrypt error", "signature is wrong"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tt_rig r;
        setup(&r, state);
        r.answer = rows[i].answer;
        tt_shake(&r);
        assert_failed(&r.server, rows[i].server, rows[i].server_why);
        assert_failed(&r.client, ERR_TLS, rows[i].client_why);
        assert_int_equal(r.io->tls->n_paused, 0);
        assert_int_equal(r.io->tls->signing.n, 0);
        r.answer = TT_NOW; /* the next is as if nothing had been */
        tt_shake(&r);
        tt_assert_ok(&r);
        tt_teardown(&r);
    }
}

static void no_signer(void **state)
{
    struct tt_rig r;
    setup(&r, state);
    r.io->tls->signer = (struct tls_signer){0};
    tt_shake(&r);
    assert_failed(&r.server, ERR_TLS, "no signature was made with our key: not found");
    assert_int_equal(conn_tls_fault(r.server.c), TLS_FAULT_OURS);
    assert_int_equal(conn_tls_fault(r.client.c), TLS_FAULT_HANDSHAKE);
    tt_teardown(&r);
}

static void signer_never_answers(void **state)
{
    struct tt_rig r;
    setup(&r, state);
    r.answer = TT_NEVER;
    r.server_ms = 50;
    tt_connect(&r);
    tt_start_server(&r);
    tt_start_client(&r);
    io_run(r.io); /* until it is asked */
    assert_int_equal(r.n_never, 1);
    assert_int_equal(r.io->tls->n_paused, 1);
    tt_run(&r, 1);
    assert_failed(&r.server, ERR_TIMEOUT, "no signature was made in time");
    assert_int_equal(conn_tls_fault(r.server.c), TLS_FAULT_OURS);
    assert_int_equal(r.io->tls->n_paused, 0);
    world_tls_signed(r.w, r.asked.token, ERR_OK, STR("too late")); /* ignored */
    tt_teardown(&r);
}

/* The peer goes on talking, or leaves, while the job is paused: nothing is lost, and nothing spins. */
static void peer_while_paused(void **state)
{
    struct tt_rig r;
    setup(&r, state);
    r.answer = TT_NEVER;
    tt_connect(&r);
    tt_start_server(&r);
    tt_start_client(&r);
    io_run(r.io);
    assert_int_equal(send(r.client.c->source.fd, "noise", 5, 0), 5);
    uint64_t before = r.io->turn;
    tt_turns(&r, 10);
    assert_true(r.io->turn - before <= 20);
    assert_int_equal(r.n_done, 0);
    conn_close(r.client.c);
    r.client.c = NULL;
    tt_turns(&r, 3);
    r.answer = TT_NOW;
    world_tls_signed(r.w, r.asked.token, ERR_CANCELLED, STR_NIL);
    tt_run(&r, 1);
    assert_failed(&r.server, ERR_TLS, "no signature was made");
    tt_teardown(&r);
}

static void closed_while_paused(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct tt_rig r;
        setup(&r, state);
        r.answer = TT_NEVER;
        tt_connect(&r);
        tt_start_server(&r);
        tt_start_client(&r);
        io_run(r.io);
        uint64_t token = r.asked.token;
        if (i == 1) { /* the answer is there, but the job has not gone on yet */
            world_tls_signed(r.w, token, ERR_OK, STR("whatever"));
        }
        conn_close(r.server.c);
        r.server.c = NULL;
        if (i == 2) /* the answer comes within the turn */
            world_tls_signed(r.w, token, ERR_OK, STR("whatever"));
        tt_turns(&r, 3);
        world_tls_signed(r.w, token, ERR_OK, STR("whatever"));
        assert_int_equal(r.io->tls->n_paused, 0);
        assert_int_equal(r.io->tls->signing.n, 0);
        assert_true(r.client.is_done && r.client.err == ERR_CLOSED);
        tt_teardown(&r);
    }
}

/* ---- many ---- */

static void never_done(void *arg, struct conn *c, enum err err, struct str why)
{
    UNUSED(arg);
    UNUSED(c);
    UNUSED(err);
    UNUSED(why);
    fail();
}

enum { MANY = TLS_SIGNATURES_OPEN_MAX + 30 };

struct crowd {
    struct tt_rig r;
    struct conn *servers[MANY], *clients[MANY];
    uint64_t tokens[MANY];
    size_t n_tokens, n_done, most, n_failed;
};

static void on_crowd_sign(void *arg, const struct tls_sign *s)
{
    struct crowd *m = arg;
    assert_true(m->n_tokens < MANY);
    m->tokens[m->n_tokens++] = s->token;
    if (m->r.io->tls->n_paused > m->most)
        m->most = m->r.io->tls->n_paused;
    if (m->n_tokens == TLS_SIGNATURES_OPEN_MAX)
        io_stop(m->r.io);
}

static void on_crowd_done(void *arg, struct conn *c, enum err err, struct str why)
{
    struct crowd *m = arg;
    UNUSED(c);
    UNUSED(why);
    m->n_failed += err != ERR_OK;
    if (++m->n_done == 2 * MANY)
        io_stop(m->r.io);
}

static void fail_all(struct timer *t)
{
    struct crowd *m = container_of(t, struct crowd, r.later);
    size_t n = m->n_tokens;
    for (size_t i = 0; i < n; i++)
        world_tls_signed(m->r.w, m->tokens[i], ERR_CANCELLED, STR_NIL);
    m->n_tokens = 0;
    world_timer_set(m->r.w, t, world_now_ms(m->r.w) + 1);
}

/* No more jobs are paused than may be; the others get their turn. */
static void crowd(void **state)
{
    static struct crowd m;
    struct rlimit lim;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &lim), 0);
    lim.rlim_cur = lim.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lim), 0);
    setup(&m.r, state);
    world_tls_set_signer(m.r.w, &(struct tls_signer){&m, on_crowd_sign});
    for (size_t i = 0; i < MANY; i++) {
        int fds[2];
        struct tls_start s = {.deadline_ms = world_now_ms(m.r.w) + 600000};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        m.servers[i] = io_adopt_conn(m.r.io, fds[0]);
        m.clients[i] = io_adopt_conn(m.r.io, fds[1]);
        s.context = m.r.server_context;
        assert_int_equal(conn_tls_start(m.servers[i], true, &s, on_crowd_done, &m), ERR_OK);
        s.context = m.r.client_context;
        assert_int_equal(conn_tls_start(m.clients[i], false, &s, on_crowd_done, &m), ERR_OK);
    }
    io_run(m.r.io);
    tt_turns(&m.r, 5);
    assert_int_equal(m.n_tokens, TLS_SIGNATURES_OPEN_MAX);
    assert_int_equal(m.most, TLS_SIGNATURES_OPEN_MAX);
    m.r.later.fire = fail_all;
    world_timer_set(m.r.w, &m.r.later, 1);
    io_run(m.r.io);
    assert_int_equal(m.n_failed, 2 * MANY);
    assert_true(list_is_empty(&m.r.io->tls->waiting));
    assert_int_equal(m.r.io->tls->n_paused, 0);
    for (size_t i = 0; i < MANY; i++) {
        conn_close(m.servers[i]);
        conn_close(m.clients[i]);
    }
    tt_teardown(&m.r);
}

/* Whoever has his turn and then waits for his peer holds up nobody. */
static void silent_ones_in_the_queue(void **state)
{
    struct tt_rig r;
    int fds[8][2];
    struct conn *silent[ARRAY_LEN(fds)];
    setup(&r, state);
    tt_connect(&r);
    r.io->tls->n_paused = TLS_SIGNATURES_OPEN_MAX; /* as if */
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        struct tls_start s = {.context = r.server_context, .deadline_ms = world_now_ms(r.w) + 600000};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
        silent[i] = io_adopt_conn(r.io, fds[i][0]);
        assert_int_equal(conn_tls_start(silent[i], true, &s, never_done, NULL), ERR_OK);
    }
    tt_start_server(&r); /* the last */
    tt_start_client(&r);
    tt_turns(&r, 3);
    assert_int_equal(r.n_done, 0);
    r.io->tls->n_paused = 0;
    conn_close(silent[0]); /* the only event that tells them */
    tt_run(&r, 2);
    tt_assert_ok(&r);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (i > 0)
            conn_close(silent[i]);
        assert_int_equal(close(fds[i][1]), 0);
    }
    tt_teardown(&r);
}

/* ---- in the sandbox ---- */

/* All of TLS inside of smtpd's profile: contexts made before it or in it. */
static int in_sandbox(void **state, bool is_late)
{
    static const struct sandbox_profile smtpd = {.name = "smtpd", .accept = true};
    struct sandbox_report report = {0};
    struct tt_rig r;
    tt_setup(&r);
    r.answer = TT_LATER;
    if (!is_late) {
        tt_server(&r, *state, NULL, NULL);
        tt_client(&r, *state, NULL);
    }
    tt_connect(&r);
    if (sandbox_enter(&smtpd, &report) != ERR_OK)
        return 2;
    if (is_late) {
        tt_server(&r, *state, NULL, NULL);
        tt_client(&r, *state, NULL);
    }
    tt_start_server(&r);
    tt_start_client(&r);
    tt_run(&r, 2);
    tt_assert_ok(&r);
    tt_say(&r, r.server.c, r.client.c, "220 mx.example.org\r\n");
    tt_teardown(&r);
    return 0;
}

static void sandboxed(void **state)
{
    for (int is_late = 0; is_late < 2; is_late++) {
        int status;
        fflush(NULL);
        pid_t pid = fork();
        assert_int_not_equal(pid, -1);
        if (pid == 0)
            _exit(in_sandbox(state, is_late == 1));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

static void small(void **state)
{
    UNUSED(state);
    assert_true(sizeof(struct conn) <= 128);
    assert_true(sizeof(struct tls_conn) <= 256);
}

static int a_crowd(void)
{
    struct rlimit lim;
    const struct CMUnitTest tests[] = {cmocka_unit_test(crowd)};
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_max >= 2 * MANY + 100)
        return cmocka_run_group_tests(tests, make_cert, free_cert);
    (void)puts("1..0 # SKIP a process may not open enough files here");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "crowd") == 0)
        return a_crowd();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage),
        cmocka_unit_test(closes_at_once),
        cmocka_unit_test(hello_damaged),
        cmocka_unit_test(deadline),
        cmocka_unit_test(closed_by_its_user),
        cmocka_unit_test(signer_fails),
        cmocka_unit_test(no_signer),
        cmocka_unit_test(signer_never_answers),
        cmocka_unit_test(peer_while_paused),
        cmocka_unit_test(closed_while_paused),
        cmocka_unit_test(silent_ones_in_the_queue),
        cmocka_unit_test(sandboxed),
        cmocka_unit_test(small),
    };
    return cmocka_run_group_tests(tests, make_cert, free_cert);
}
