/* What a program gets, what it can do to us, and what is left of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/world_io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct log quiet = {.min = LOG_ERROR};

enum { SAID_MAX = 1024, TURN_MS = 20, TURNS_MAX = 3000 };

struct probe {
    struct io_world *io;
    struct world *w;
    struct conn *input, *output;
    struct program *program;
    struct program_end end;
    unsigned n_ends;
    struct str text; /* what is still to be written */
    bool closes;     /* the input, when all is written */
    bool is_broken;
    char said[SAID_MAX];
    size_t n_said;
    struct timer timer;
    bool (*is_enough)(const struct probe *p);
    unsigned n_turns;
};

static void look(struct probe *p)
{
    if (p->is_enough(p))
        io_stop(p->io);
}

static void on_end(void *arg, const struct program_end *end)
{
    struct probe *p = arg;
    p->end = *end;
    p->n_ends++;
    p->program = NULL;
    look(p);
}

static void close_input(struct probe *p)
{
    if (p->input != NULL)
        conn_close(p->input);
    p->input = NULL;
}

static void on_input(void *arg, struct conn *c, unsigned ready)
{
    struct probe *p = arg;
    size_t n = 0;
    UNUSED(ready);
    if (p->text.n > 0) {
        enum err e = conn_write(c, &p->text, 1, &n);
        if (e == ERR_AGAIN)
            return;
        if (e != ERR_OK) {
            p->is_broken = true;
            close_input(p);
            return;
        }
        p->text = str_skip(p->text, n);
    }
    if (p->text.n > 0)
        return;
    conn_want(c, 0);
    if (p->closes)
        close_input(p);
}

static void on_output(void *arg, struct conn *c, unsigned ready)
{
    struct probe *p = arg;
    char waste[4096];
    size_t n = 0;
    UNUSED(ready);
    bool has_room = p->n_said < sizeof p->said - 1;
    enum err e = has_room ? conn_read(c, p->said + p->n_said, sizeof p->said - 1 - p->n_said, &n)
                          : conn_read(c, waste, sizeof waste, &n);
    if (has_room)
        p->n_said += n;
    if (e != ERR_OK && e != ERR_AGAIN) {
        conn_close(c);
        p->output = NULL;
    }
    look(p);
}

static void on_timer(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    assert_true(p->n_turns++ < TURNS_MAX);
    world_timer_set(p->w, t, world_now_ms(p->w) + TURN_MS);
    look(p);
}

static const struct conn_user input_user = {on_input}, output_user = {on_output};

static bool has_ended(const struct probe *p)
{
    return p->n_ends > 0 && p->output == NULL;
}

static bool has_ended_and_broken(const struct probe *p)
{
    return has_ended(p) && p->is_broken;
}

static bool has_exited(const struct probe *p)
{
    return p->n_ends > 0;
}

static bool has_spoken(const struct probe *p)
{
    return p->n_said > 0 && p->said[p->n_said - 1] == '\n';
}

static void start_in(struct probe *p, const char *const *argv, const char *folder)
{
    static const char *const env[] = {"PATH=/usr/bin:/bin", "SENDER=a b;$(c)@d", NULL};
    const struct program_plan plan = {.argv = argv, .env = env, .folder = folder};
    *p = (struct probe){.io = io_world_new(&quiet, NULL), .closes = true, .is_enough = has_ended};
    assert_non_null(p->io);
    p->w = io_world_base(p->io);
    p->timer.fire = on_timer;
    assert_int_equal(world_program(p->w, &plan, on_end, p, &p->input, &p->output, &p->program), ERR_OK);
    conn_set_user(p->input, &input_user, p);
    conn_set_user(p->output, &output_user, p);
    conn_want(p->input, CONN_WRITABLE);
    conn_want(p->output, CONN_READABLE);
}

static void start(struct probe *p, const char *script)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    start_in(p, argv, "/");
}

static void run_until(struct probe *p, bool (*is_enough)(const struct probe *p))
{
    p->is_enough = is_enough;
    world_timer_set(p->w, &p->timer, world_now_ms(p->w) + TURN_MS);
    io_run(p->io);
    world_timer_cancel(p->w, &p->timer);
}

static void finish(struct probe *p)
{
    close_input(p);
    if (p->output != NULL)
        conn_close(p->output);
    assert_int_equal(p->n_ends, 1);
    io_world_del(&p->io);
}

/* ---- rows ---- */

static void words_and_environment_are_data(void **state)
{
    UNUSED(state);
    struct probe p;
    static const char *const argv[] = {
        "/usr/bin/printf", "<%s>", "; rm -rf /", "$HOME", "`id`", "a\tb", "", NULL};
    start_in(&p, argv, "/");
    run_until(&p, has_ended);
    assert_string_equal(p.said, "<; rm -rf /><$HOME><`id`><a\tb><>");
    finish(&p);
    static const char *const env[] = {"/usr/bin/env", NULL};
    start_in(&p, env, "/");
    run_until(&p, has_ended);
    assert_string_equal(p.said, "PATH=/usr/bin:/bin\nSENDER=a b;$(c)@d\n");
    finish(&p);
}

static void a_program_has_what_it_needs_and_no_more(void **state)
{
    UNUSED(state);
    struct probe p;
    char want[200];
    int left_open = open("/dev/null", O_RDONLY); /* without close-on-exec */
    assert_true(left_open > 2);
    start(&p, "trap : TERM; kill -TERM $$; umask; pwd; ls /proc/self/fd | tr '\\n' ' '; ulimit -c; "
              "cut -d' ' -f5,6 /proc/$$/stat | sed \"s/$$/own/g\"; ulimit -n");
    run_until(&p, has_ended);
    (void)close(left_open);
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    (void)snprintf(want, sizeof want, "0077\n/\n0 1 2 3 0\nown own\n%llu\n", /* 3 is ls's own */
                   files.rlim_cur > 1024 ? 1024ull : (unsigned long long)files.rlim_cur);
    assert_string_equal(p.said, want);
    assert_int_equal(p.end.status, 0);
    finish(&p);
}

static void works_in_its_folder_or_at_the_root(void **state)
{
    UNUSED(state);
    struct probe p;
    static const char *const argv[] = {"/bin/pwd", NULL};
    char folder[] = "/tmp/waxwing-program-XXXXXX", want[64];
    assert_non_null(mkdtemp(folder));
    start_in(&p, argv, folder);
    run_until(&p, has_ended);
    (void)snprintf(want, sizeof want, "%s\n", folder);
    assert_string_equal(p.said, want);
    finish(&p);
    assert_int_equal(rmdir(folder), 0);
    start_in(&p, argv, folder);
    run_until(&p, has_ended);
    assert_string_equal(p.said, "/\n");
    finish(&p);
}

static void tells_how_it_ended(void **state)
{
    UNUSED(state);
    static const struct {
        const char *script;
        int status, signo;
    } rows[] = {{"exit 0", 0, 0},
                {"exit 75", 75, 0},
                {"exit 127", 127, 0},
                {"kill -KILL $$", 0, SIGKILL},
                {"kill -SEGV $$", 0, SIGSEGV}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe p;
        start(&p, rows[i].script);
        run_until(&p, has_ended);
        assert_int_equal(p.end.err, ERR_OK);
        assert_int_equal(p.end.signo, rows[i].signo);
        if (rows[i].signo == 0)
            assert_int_equal(p.end.status, rows[i].status);
        finish(&p);
    }
}

static void tells_why_it_did_not_start(void **state)
{
    UNUSED(state);
    static const struct {
        const char *path;
        enum err err;
    } rows[] = {{"/nonexistent/program", ERR_NOTFOUND}, {"/etc/passwd", ERR_DENIED}, {"/tmp", ERR_DENIED}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct probe p;
        const char *const argv[] = {rows[i].path, NULL};
        start_in(&p, argv, "/");
        run_until(&p, has_ended);
        assert_int_equal(p.end.err, rows[i].err);
        finish(&p);
    }
}

static void the_input_arrives_whole(void **state)
{
    UNUSED(state);
    struct probe p;
    size_t n = (size_t)3 * 1024 * 1024;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, 'x', n);
    start(&p, "wc -c");
    p.text = str_of(text, n);
    run_until(&p, has_ended);
    assert_string_equal(p.said, "3145728\n");
    finish(&p);
    start(&p, "exec <&-; echo closed"); /* who reads nothing breaks the pipe and not us */
    p.text = str_of(text, n);
    run_until(&p, has_ended_and_broken);
    assert_string_equal(p.said, "closed\n");
    assert_int_equal(p.end.status, 0);
    finish(&p);
    free(text);
}

static bool is_there(pid_t pid)
{
    char path[64], text[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    bool got = fgets(text, sizeof text, f) != NULL;
    (void)fclose(f);
    const char *after = strrchr(text, ')');
    return got && after != NULL && after[2] != 'Z' && after[2] != 'X';
}

static bool said_pid_is_gone(const struct probe *p)
{
    return !is_there((pid_t)atoi(p->said));
}

static void its_group_ends_with_it(void **state)
{
    UNUSED(state);
    struct probe p;
    start(&p, "sleep 1000 & echo $!");
    run_until(&p, has_exited);
    run_until(&p, has_spoken);
    assert_int_equal(p.end.status, 0);
    run_until(&p, said_pid_is_gone);
    run_until(&p, has_ended); /* nobody holds the output any more */
    finish(&p);
}

static void who_leaves_the_group_holds_nothing_up(void **state)
{
    UNUSED(state);
    struct probe p;
    start(&p, "setsid sh -c 'echo $$; exec sleep 1000' & "
              "while [ \"$(cut -d' ' -f5 /proc/$!/stat)\" = $$ ]; do :; done");
    run_until(&p, has_exited);
    run_until(&p, has_spoken);
    assert_non_null(p.output); /* still open; the user need not wait for its end */
    assert_true(is_there((pid_t)atoi(p.said)));
    assert_int_equal(kill((pid_t)atoi(p.said), SIGKILL), 0);
    finish(&p);
}

static void can_be_killed_softly_and_hard(void **state)
{
    UNUSED(state);
    struct probe p;
    start(&p, "sleep 1000 & echo $!; wait");
    run_until(&p, has_spoken);
    program_kill(p.program, false);
    run_until(&p, has_ended);
    assert_int_equal(p.end.signo, SIGTERM);
    run_until(&p, said_pid_is_gone); /* it has closed the output, which is not its end */
    finish(&p);
    start(&p, "trap '' TERM; sleep 1000 & echo $!; wait; wait");
    run_until(&p, has_spoken);
    program_kill(p.program, false);
    program_kill(p.program, true);
    run_until(&p, has_ended);
    assert_int_equal(p.end.signo, SIGKILL);
    run_until(&p, said_pid_is_gone);
    finish(&p);
    start(&p, "sleep 1000"); /* perhaps before it has a group of its own */
    program_kill(p.program, true);
    run_until(&p, has_ended);
    assert_int_equal(p.end.signo, SIGKILL);
    finish(&p);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_environment_are_data),
        cmocka_unit_test(a_program_has_what_it_needs_and_no_more),
        cmocka_unit_test(works_in_its_folder_or_at_the_root),
        cmocka_unit_test(tells_how_it_ended),
        cmocka_unit_test(tells_why_it_did_not_start),
        cmocka_unit_test(the_input_arrives_whole),
        cmocka_unit_test(its_group_ends_with_it),
        cmocka_unit_test(who_leaves_the_group_holds_nothing_up),
        cmocka_unit_test(can_be_killed_softly_and_hard),
    };
    return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
