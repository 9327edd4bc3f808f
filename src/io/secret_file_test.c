/* Files of a folder of its own, read and watched. */
#include "io/secret_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_CAP = 128, FILE_MAX = 1000 };

struct fixture {
    struct log log;
    struct io_world *io;
    char folder[64];
    unsigned n_told;
    struct timer timer;
    bool is_late;
};

static const char *path_of(const struct fixture *f, const char *name)
{
    static char path[2][PATH_CAP];
    static unsigned i;
    i = 1 - i;
    (void)snprintf(path[i], PATH_CAP, "%s/%s", f->folder, name);
    return path[i];
}

static void write_file(const struct fixture *f, const char *name, size_t n, mode_t mode)
{
    char octets[FILE_MAX + 10];
    memset(octets, 'k', sizeof octets);
    int fd = open(path_of(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd != -1 && write(fd, octets, n) == (ssize_t)n && fchmod(fd, mode) == 0 && close(fd) == 0);
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.folder = "/tmp/secret_file.XXXXXX"};
    f.log.min = LOG_ERROR + 1;
    f.io = io_world_new(&f.log, NULL);
    *state = &f;
    return f.io != NULL && mkdtemp(f.folder) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"key", "other", "link", "sub/key", "sub", "pipe"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (unlink(path_of(f, names[i])) == -1)
            (void)rmdir(path_of(f, names[i]));
    }
    io_world_del(&f->io);
    return rmdir(f->folder);
}

static enum err read_it(const struct fixture *f, const char *name, size_t *n, bool *is_open)
{
    struct buf b;
    buf_init(&b, FILE_MAX + 1);
    enum err e = secret_file_read(path_of(f, name), &b, is_open);
    *n = b.n;
    for (size_t i = 0; i < b.n; i++)
        assert_int_equal(b.p[i], 'k');
    buf_fini(&b);
    return e;
}

static void test_read(void **state)
{
    struct fixture *f = *state;
    size_t n;
    bool is_open;
    static const size_t sizes[] = {0, 1, 255, 256, 257, FILE_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        write_file(f, "key", sizes[i], 0600);
        assert_int_equal(read_it(f, "key", &n, &is_open), ERR_OK);
        assert_int_equal(n, sizes[i]);
        assert_false(is_open);
    }
    write_file(f, "key", FILE_MAX + 1, 0600);
    assert_int_equal(read_it(f, "key", &n, &is_open), ERR_TOO_BIG);
    write_file(f, "key", 5, 0640);
    assert_int_equal(read_it(f, "key", &n, &is_open), ERR_OK);
    assert_false(is_open); /* a group of those who may is common */
    write_file(f, "key", 5, 0644);
    assert_int_equal(read_it(f, "key", &n, &is_open), ERR_OK);
    assert_true(is_open);
    assert_int_equal(symlink("key", path_of(f, "link")), 0);
    assert_int_equal(read_it(f, "link", &n, &is_open), ERR_OK);
    assert_int_equal(n, 5);
}

static void test_not_files(void **state)
{
    struct fixture *f = *state;
    size_t n;
    bool is_open;
    assert_int_equal(read_it(f, "none", &n, &is_open), ERR_NOTFOUND);
    assert_int_equal(read_it(f, ".", &n, &is_open), ERR_INVALID);
    assert_int_equal(mkfifo(path_of(f, "pipe"), 0600), 0);
    assert_int_equal(read_it(f, "pipe", &n, &is_open), ERR_INVALID); /* and nobody waits */
    assert_int_equal(symlink("/dev/zero", path_of(f, "link")), 0);
    assert_int_equal(read_it(f, "link", &n, &is_open), ERR_INVALID);
}

/* ---- watching -------------------------------------------------------------------------------- */

static void on_changed(void *arg)
{
    struct fixture *f = arg;
    f->n_told++;
    io_stop(f->io);
}

static void on_late(struct timer *t)
{
    struct fixture *f = container_of(t, struct fixture, timer);
    f->is_late = true;
    io_stop(f->io);
}

/* true: word came. */
static bool hears(struct fixture *f, uint64_t wait_ms)
{
    struct world *w = io_world_base(f->io);
    f->timer.fire = on_late;
    f->is_late = false;
    world_timer_set(w, &f->timer, world_now_ms(w) + wait_ms);
    io_run(f->io);
    world_timer_cancel(w, &f->timer);
    return !f->is_late;
}

enum { LONG_MS = 20000, NOTHING_MS = 1 };

static void test_watch(void **state)
{
    struct fixture *f = *state;
    write_file(f, "key", 5, 0600);
    struct file_watch *w = file_watch_new(f->io, on_changed, f);
    assert_non_null(w);
    assert_int_equal(file_watch_add(w, path_of(f, "key")), ERR_OK);
    assert_int_equal(file_watch_add(w, path_of(f, "key")), ERR_OK);
    write_file(f, "key", 6, 0600);
    assert_true(hears(f, LONG_MS));
    write_file(f, "other", 7, 0600);
    assert_true(hears(f, LONG_MS));
    assert_int_equal(rename(path_of(f, "other"), path_of(f, "key")), 0);
    assert_true(hears(f, LONG_MS));
    assert_int_equal(file_watch_clear(w), ERR_OK);
    write_file(f, "key", 8, 0600);
    assert_false(hears(f, NOTHING_MS));
    assert_int_equal(file_watch_add(w, "/nowhere/at/all"), ERR_NOTFOUND);
    assert_int_equal(file_watch_add(w, path_of(f, "none")), ERR_OK); /* its folder is there */
    write_file(f, "key", 9, 0600);
    assert_true(hears(f, LONG_MS));
    file_watch_del(&w);
    file_watch_del(&w);
}

/* What is behind a link changes, and the link is turned to another. */
static void test_links(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(path_of(f, "sub"), 0700), 0);
    write_file(f, "sub/key", 5, 0600);
    assert_int_equal(symlink("sub/key", path_of(f, "link")), 0);
    struct file_watch *w = file_watch_new(f->io, on_changed, f);
    assert_non_null(w);
    assert_int_equal(file_watch_add(w, path_of(f, "link")), ERR_OK);
    write_file(f, "sub/key", 6, 0600);
    assert_true(hears(f, LONG_MS));
    while (hears(f, NOTHING_MS)) {
    }
    assert_int_equal(unlink(path_of(f, "link")), 0);
    assert_int_equal(symlink("sub/none", path_of(f, "link")), 0);
    assert_true(hears(f, LONG_MS));
    file_watch_del(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links, setup, teardown),
    };
    return cmocka_run_group_tests_name("secret_file", tests, NULL, NULL);
}
