/* The test program is also the role it starts: with --role it plays the part that the name says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/world_io.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct log quiet = {.min = LOG_ERROR};

/* ---- the child's part ---- */

struct role {
    struct io_world *io;
    char **argv;
};

static void role_on_message(void *arg, struct channel *c, uint16_t type, struct str payload,
                            struct handle *given)
{
    UNUSED(arg);
    UNUSED(given);
    must(channel_send(c, (uint16_t)(type + 1), payload, NULL) == ERR_OK);
}

static void role_on_closed(void *arg, struct channel *c)
{
    struct role *r = arg;
    channel_close(c);
    io_stop(r->io);
}

static unsigned n_open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

/* Says what it was started with, echoes, and ends when its supervisor does. */
static int play_echo(char **argv)
{
    static const struct channel_user user = {role_on_message, NULL, role_on_closed};
    char text[256];
    struct buf b;
    sigset_t blocked;
    unsigned n_fds = n_open_fds();
    struct role r = {.io = io_world_new(&quiet, NULL), .argv = argv};
    must(r.io != NULL);
    struct channel *ch = io_adopt_channel(r.io, 3);
    must(ch != NULL);
    channel_set_user(ch, &user, &r);
    buf_init_fixed(&b, text, sizeof text);
    for (char **arg = argv + 1; *arg != NULL; arg++)
        buf_printf(&b, "%s ", *arg);
    must(sigprocmask(SIG_SETMASK, NULL, &blocked) == 0);
    char c;
    buf_printf(&b, "fds=%u uid=%u gid=%u groups=%d blocked=%d own=%d input=%d env=%s%s", n_fds,
               (unsigned)getuid(), (unsigned)getgid(), getgroups(0, NULL), sigismember(&blocked, SIGTERM),
               getsid(0) == getpid(), (int)read(0, &c, 1), getenv("TZ") != NULL ? "TZ" : "",
               getenv("HOME") != NULL || getenv("LD_SECRET") != NULL ? "+secrets" : "");
    must(channel_send(ch, 1, buf_str(&b), NULL) == ERR_OK);
    io_run(r.io);
    io_world_del(&r.io);
    return 0;
}

static int play(char **argv)
{
    const char *role = argv[2];
    if (strcmp(role, "echo") == 0)
        return play_echo(argv);
    if (strcmp(role, "exit3") == 0)
        return 3;
    if (strcmp(role, "crash") == 0) {
        (void)raise(SIGKILL);
        return 0;
    }
    if (strcmp(role, "wait") == 0) {
        char c;
        return (int)read(3, &c, 1); /* 0 when the supervisor's end is closed */
    }
    return 99;
}

/* ---- the test's part ---- */

struct probe {
    struct io_world *io;
    struct world *w;
    struct channel *c;
    struct child *child;
    char how[64], said[256];
    bool clean;
    unsigned n_exits, n_messages;
    uint16_t type;
};

static void on_exit_of(void *arg, bool clean, struct str how)
{
    struct probe *p = arg;
    p->clean = clean;
    p->n_exits++;
    assert_true(str_to_c(how, p->how, sizeof p->how));
    io_stop(p->io);
}

static void on_message(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct probe *p = arg;
    UNUSED(c);
    assert_null(given);
    p->type = type;
    p->n_messages++;
    assert_true(str_to_c(payload, p->said, sizeof p->said));
    io_stop(p->io);
}

static void on_closed(void *arg, struct channel *c)
{
    UNUSED(arg);
    channel_pause(c, true);
}

static const struct channel_user user = {on_message, NULL, on_closed};

static void setup(struct probe *p, const char *exe)
{
    memset(p, 0, sizeof *p);
    p->io = io_world_new(&quiet, exe);
    assert_non_null(p->io);
    p->w = io_world_base(p->io);
}

static void start(struct probe *p, const struct spawn *s)
{
    assert_int_equal(world_spawn(p->w, s, on_exit_of, p, &p->c, &p->child), ERR_OK);
    channel_set_user(p->c, &user, p);
}

static void teardown(struct probe *p)
{
    if (p->c != NULL)
        channel_close(p->c);
    io_world_del(&p->io);
}

static const struct spawn same_user = {.role = "echo", .index = 7, .uid = UINT32_MAX, .gid = UINT32_MAX};

static void starts_a_role(void **state)
{
    UNUSED(state);
    struct probe p;
    char want[256];
    struct spawn s = same_user;
    s.root = "/some/root";
    assert_int_equal(setenv("TZ", "UTC", 1) + setenv("HOME", "/root", 1) + setenv("LD_SECRET", "x", 1), 0);
    setup(&p, "/proc/self/exe");
    start(&p, &s);
    io_run(p.io);
    (void)snprintf(want, sizeof want,
                   "--role echo --index 7 --fd 3 --root /some/root fds=4 uid=%u gid=%u groups=%d blocked=0 "
                   "own=1 input=0 env=TZ",
                   (unsigned)getuid(), (unsigned)getgid(), getgroups(0, NULL));
    assert_string_equal(p.said, want);
    assert_int_equal(channel_send(p.c, 40, STR("hello"), NULL), ERR_OK);
    io_run(p.io);
    assert_int_equal(p.type, 41);
    assert_string_equal(p.said, "hello");
    channel_close(p.c); /* its supervisor is gone: it ends */
    p.c = NULL;
    io_run(p.io);
    assert_true(p.clean);
    assert_string_equal(p.how, "exit 0");
    assert_int_equal(p.n_exits, 1);
    teardown(&p);
}

/* The parent blocks a signal for signalfd; the child must not inherit that. */
static void on_signal(void *arg, int signo)
{
    UNUSED(arg);
    UNUSED(signo);
}

static void child_has_default_signals(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p, "/proc/self/exe");
    assert_int_equal(io_on_signal(p.io, SIGTERM, on_signal, NULL), ERR_OK);
    start(&p, &same_user);
    io_run(p.io);
    assert_non_null(strstr(p.said, "blocked=0"));
    child_kill(p.child, false);
    io_run(p.io);
    assert_string_equal(p.how, "signal 15");
    assert_false(p.clean);
    teardown(&p);
}

static void tells_how_it_ended(void **state)
{
    UNUSED(state);
    static const struct {
        const char *role, *how;
    } rows[] = {{"exit3", "exit 3"}, {"crash", "signal 9"}, {"nonsense", "exit 99"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe p;
        struct spawn s = same_user;
        s.role = rows[i].role;
        setup(&p, "/proc/self/exe");
        start(&p, &s);
        io_run(p.io);
        assert_string_equal(p.how, rows[i].how);
        assert_false(p.clean);
        teardown(&p);
    }
}

static void kills_hard(void **state)
{
    UNUSED(state);
    struct probe p;
    struct spawn s = same_user;
    s.role = "wait";
    setup(&p, "/proc/self/exe");
    start(&p, &s);
    child_kill(p.child, true);
    io_run(p.io);
    assert_string_equal(p.how, "signal 9");
    teardown(&p);
}

static void tells_a_missing_program(void **state)
{
    UNUSED(state);
    struct probe p;
    setup(&p, "/nonexistent/program");
    start(&p, &same_user);
    io_run(p.io);
    assert_string_equal(p.how, "exit 127");
    teardown(&p);
}

static void becomes_a_user(void **state)
{
    UNUSED(state);
    struct probe p;
    struct spawn s = same_user;
    s.uid = 65534;
    s.gid = 65533;
    setup(&p, "/proc/self/exe");
    start(&p, &s);
    io_run(p.io);
    if (p.n_exits == 0) { /* else that user may not read this program */
        assert_non_null(strstr(p.said, "uid=65534 gid=65533 groups=0"));
        channel_close(p.c);
        p.c = NULL;
        io_run(p.io);
    }
    assert_int_equal(p.n_exits, 1);
    teardown(&p);
}

static void refuses_to_become_root(void **state)
{
    UNUSED(state);
    static const uint32_t ids[][2] = {{0, 0}, {0, 5}, {5, 0}, {5, UINT32_MAX}, {UINT32_MAX, 5}};
    struct probe p;
    setup(&p, "/proc/self/exe");
    unsigned before = n_open_fds();
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct spawn s = same_user;
        s.uid = ids[i][0];
        s.gid = ids[i][1];
        assert_int_equal(world_spawn(p.w, &s, on_exit_of, &p, &p.c, &p.child), ERR_INVALID);
        assert_null(p.c);
        assert_null(p.child);
    }
    assert_int_equal(n_open_fds(), before);
    teardown(&p);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--role") == 0)
        return play(argv);
    /* what this machine or build can't show is not in the list, so the count says what was shown */
    struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_a_role),
        cmocka_unit_test(child_has_default_signals),
        cmocka_unit_test(tells_how_it_ended),
        cmocka_unit_test(kills_hard),
        cmocka_unit_test(tells_a_missing_program),
        cmocka_unit_test(refuses_to_become_root),
        {0},
    };
    size_t n = ARRAY_LEN(tests) - 1;
    if (getuid() == 0)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(becomes_a_user);
    return _cmocka_run_group_tests("spawn", tests, n, NULL, NULL);
}
