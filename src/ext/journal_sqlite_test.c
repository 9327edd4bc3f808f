#include "ext/journal_sqlite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char folder[64];
    struct log log;
    char logged[4096];
    struct journal *j;
};

static void on_log(void *arg, struct str line)
{
    struct fixture *f = arg;
    size_t n = strlen(f->logged);
    if (line.n < sizeof f->logged - n)
        memcpy(f->logged + n, line.p, line.n);
}

static void path_in(const struct fixture *f, const char *name, char *out, size_t cap)
{
    assert_true((size_t)snprintf(out, cap, "%s/%s", f->folder, name) < cap);
}

static bool is_there(const struct fixture *f, const char *name)
{
    char path[128];
    path_in(f, name, path, sizeof path);
    return access(path, F_OK) == 0;
}

static struct journal *open_it(struct fixture *f)
{
    enum err err;
    f->j = journal_sqlite_open(f->folder, &f->log, &err);
    assert_int_equal(err, ERR_OK);
    assert_non_null(f->j);
    return f->j;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const char *tmp = getenv("TMPDIR");
    assert_true(snprintf(f->folder, sizeof f->folder, "%s/journal-XXXXXX", tmp == NULL ? "/tmp" : tmp) > 0);
    assert_non_null(mkdtemp(f->folder));
    f->log = (struct log){.write = on_log, .arg = f};
    (void)open_it(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"journal.db",           "journal.db-wal",
                                        "journal.db-shm",       "journal.damaged-1.db",
                                        "journal.damaged-2.db", "journal.damaged-1.db-wal"};
    struct fixture *f = *state;
    journal_sqlite_close(&f->j);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        path_in(f, names[i], path, sizeof path);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0); /* nothing else was left there */
    free(f);
    return 0;
}

static void add(struct fixture *f, uint64_t wall_ms, unsigned kind, uint64_t id, uint64_t other_id,
                const char *text)
{
    struct journal_line l = {.wall_ms = wall_ms,
                             .kind = kind,
                             .role = "queue",
                             .id = id,
                             .other_id = other_id,
                             .number = wall_ms + 1,
                             .rcpt = STR("a@b.test"),
                             .host = STR("mx"),
                             .text = str_from_c(text)};
    f->j->add(f->j->self, &l);
}

struct seen {
    size_t n;
    char texts[256];
    struct journal_line last;
    uint64_t last_seq;
};

static void on_line(void *arg, const struct journal_line *l)
{
    struct seen *s = arg;
    assert_true(l->seq > s->last_seq);
    s->last_seq = l->seq;
    size_t n = strlen(s->texts);
    if (l->text.n + 2 < sizeof s->texts - n) {
        memcpy(s->texts + n, l->text.p, l->text.n);
        s->texts[n + l->text.n] = ' ';
    }
    s->n++;
    s->last = *l;
}

static enum err why(struct fixture *f, uint64_t id, size_t n_max, struct seen *out)
{
    *out = (struct seen){0};
    return f->j->why(f->j->self, id, n_max, on_line, out);
}

static void a_line_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct journal_line l = {.wall_ms = 1700000000123,
                             .kind = 7,
                             .role = "relay",
                             .id = UINT64_MAX,
                             .other_id = 0,
                             .number = UINT64_MAX - 1,
                             .rcpt = STR("x'); DROP TABLE lines; --"),
                             .host = STR_NIL,
                             .text = str_of("\0\xff\n", 3)};
    f->j->add(f->j->self, &l);
    assert_int_equal(f->j->flush(f->j->self), ERR_OK);
    struct seen s = {0};
    assert_int_equal(f->j->why(f->j->self, UINT64_MAX, 10, on_line, &s), ERR_OK);
    assert_int_equal(s.n, 1);
    assert_true(s.last.wall_ms == l.wall_ms && s.last.kind == 7 && s.last.id == l.id &&
                s.last.number == l.number);
    assert_int_equal(s.last.rcpt.n, l.rcpt.n);
    assert_int_equal(s.last.host.n, 0);
    assert_int_equal(s.last.text.n, 3);
}

static void a_life_is_told_with_children_and_reports(void **state)
{
    struct fixture *f = *state;
    add(f, 1, 1, 10, 0, "accepted");
    add(f, 2, 1, 99, 0, "stranger");
    add(f, 3, 5, 10, 11, "split");
    add(f, 4, 6, 11, 0, "tried");
    add(f, 5, 11, 11, 12, "bounced");
    add(f, 6, 7, 12, 0, "report");
    add(f, 7, 5, 12, 10, "circle");
    add(f, 8, 17, 0, 0, "nobody");
    struct seen s;
    assert_int_equal(why(f, 10, 100, &s), ERR_OK); /* not flushed: it must see them all the same */
    assert_string_equal(s.texts, "accepted split tried bounced report circle ");
    assert_int_equal(why(f, 99, 100, &s), ERR_OK);
    assert_string_equal(s.texts, "stranger ");
    assert_int_equal(why(f, 10, 2, &s), ERR_OK);
    assert_string_equal(s.texts, "accepted split ");
    assert_int_equal(why(f, 0, 100, &s), ERR_OK);
    assert_int_equal(s.n, 0);
    assert_int_equal(why(f, 5, 100, &s), ERR_OK);
    assert_int_equal(s.n, 0);
}

static void a_child_shows_where_it_came_from(void **state)
{
    struct fixture *f = *state;
    add(f, 1, 1, 10, 0, "accepted");
    add(f, 3, 5, 10, 11, "split");
    add(f, 4, 6, 11, 0, "tried");
    struct seen s;
    assert_int_equal(why(f, 11, 100, &s), ERR_OK);
    assert_string_equal(s.texts, "split tried ");
}

static void lines_stay_over_a_restart(void **state)
{
    struct fixture *f = *state;
    add(f, 1, 1, 10, 0, "flushed");
    assert_int_equal(f->j->flush(f->j->self), ERR_OK);
    add(f, 2, 1, 10, 0, "closed");
    journal_sqlite_close(&f->j);
    assert_null(f->j);
    (void)open_it(f);
    add(f, 3, 1, 10, 0, "new");
    struct seen s;
    assert_int_equal(why(f, 10, 100, &s), ERR_OK);
    assert_string_equal(s.texts, "flushed closed new ");
    assert_string_equal(f->logged, "");
}

static void old_lines_go_in_pieces(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 2 * JOURNAL_EXPIRE_CHUNK + 10; i++)
        add(f, i, 1, 1 + i, 0, "line");
    assert_int_equal(f->j->flush(f->j->self), ERR_OK);
    uint64_t before = 2 * JOURNAL_EXPIRE_CHUNK + 5;
    unsigned n_calls = 1;
    while (f->j->expire(f->j->self, before) == ERR_AGAIN)
        n_calls++;
    assert_int_equal(n_calls, 3);
    struct seen s;
    assert_int_equal(why(f, before, 1, &s), ERR_OK); /* wall_ms is before - 1 */
    assert_int_equal(s.n, 0);
    assert_int_equal(why(f, before + 1, 1, &s), ERR_OK);
    assert_int_equal(s.n, 1);
}

static void long_text_is_cut(void **state)
{
    struct fixture *f = *state;
    char text[JOURNAL_TEXT_MAX + 100];
    memset(text, 'x', sizeof text);
    struct journal_line l = {.id = 3, .text = str_of(text, sizeof text)};
    f->j->add(f->j->self, &l);
    struct seen s;
    assert_int_equal(why(f, 3, 10, &s), ERR_OK);
    assert_int_equal(s.last.text.n, JOURNAL_TEXT_MAX);
}

static void only_we_may_read_it(void **state)
{
    static const char *const names[] = {"journal.db", "journal.db-wal"};
    struct fixture *f = *state;
    add(f, 1, 1, 10, 0, "private");
    assert_int_equal(f->j->flush(f->j->self), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        struct stat st;
        path_in(f, names[i], path, sizeof path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void write_over(const struct fixture *f, long offset, const char *bytes, size_t n)
{
    char path[128];
    path_in(f, "journal.db", path, sizeof path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, offset), (ssize_t)n);
    assert_int_equal(close(fd), 0);
}

static void a_file_that_is_none_is_set_aside(void **state)
{
    struct fixture *f = *state;
    add(f, 1, 1, 10, 0, "old");
    journal_sqlite_close(&f->j);
    write_over(f, 0, "this is no data base at all, is it?", 35);
    (void)open_it(f);
    assert_true(is_there(f, "journal.damaged-1.db"));
    assert_non_null(strstr(f->logged, "journal.damaged"));
    add(f, 2, 1, 10, 0, "new");
    struct seen s;
    assert_int_equal(why(f, 10, 10, &s), ERR_OK);
    assert_string_equal(s.texts, "new ");
    journal_sqlite_close(&f->j);
    write_over(f, 0, "again", 5);
    (void)open_it(f);
    assert_true(is_there(f, "journal.damaged-2.db"));
}

static void on_classes(void *arg, const struct journal_line *l)
{
    struct buf *b = arg;
    buf_put(b, l->text);
    buf_putc(b, '=');
    buf_put(b, l->class);
    buf_putc(b, ' ');
}

/* The lines of the version before are kept; they have no class. */
static void version_1_goes_on(void **state)
{
    struct fixture *f = *state;
    char path[128], mem[128];
    sqlite3 *db = NULL;
    struct buf b;
    journal_sqlite_close(&f->j);
    path_in(f, "journal.db", path, sizeof path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "ALTER TABLE lines DROP COLUMN class; PRAGMA user_version = 1;"
                                  "INSERT INTO lines VALUES (1, 5, 2, 'queue', 9, 0, 0, '', '', 'old');",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    for (unsigned i = 0; i < 2; i++) { /* the second opening finds it done */
        (void)open_it(f);
        struct journal_line l = {
            .wall_ms = 6 + i, .kind = 2, .role = "queue", .id = 9, .text = STR("new"), .class = STR("spam")};
        f->j->add(f->j->self, &l);
        assert_int_equal(f->j->flush(f->j->self), ERR_OK);
        if (i == 0)
            journal_sqlite_close(&f->j);
    }
    buf_init_fixed(&b, mem, sizeof mem);
    assert_int_equal(f->j->why(f->j->self, 9, 10, on_classes, &b), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("old= new=spam new=spam ")));
    assert_false(is_there(f, "journal.damaged-1.db"));
}

static void another_version_is_set_aside(void **state)
{
    struct fixture *f = *state;
    add(f, 1, 1, 10, 0, "old");
    journal_sqlite_close(&f->j);
    write_over(f, 60, "\0\0\0\x09", 4); /* user_version in the header of the file format */
    (void)open_it(f);
    assert_true(is_there(f, "journal.damaged-1.db"));
}

/* A damaged table shows only when it is used. */
static void damage_found_later_is_set_aside_too(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 5000; i++)
        add(f, i, 1, 10, 0, "some text that fills pages of the table");
    journal_sqlite_close(&f->j);
    char path[128], junk[4096];
    struct stat st;
    memset(junk, 0xa5, sizeof junk);
    path_in(f, "journal.db", path, sizeof path);
    assert_int_equal(stat(path, &st), 0);
    for (long at = 4096; at < st.st_size; at += 4096)
        write_over(f, at, junk, sizeof junk);
    (void)open_it(f);
    add(f, 1, 1, 10, 0, "lost");
    struct seen s;
    (void)f->j->flush(f->j->self);
    (void)why(f, 10, 10, &s);
    assert_true(is_there(f, "journal.damaged-1.db"));
    add(f, 2, 1, 10, 0, "kept");
    assert_int_equal(f->j->flush(f->j->self), ERR_OK);
    assert_int_equal(why(f, 10, 10, &s), ERR_OK);
    assert_string_equal(s.texts, "kept ");
}

static void a_missing_folder_is_an_error(void **state)
{
    struct fixture *f = *state;
    enum err err;
    assert_null(journal_sqlite_open("/nonexistent/folder", &f->log, &err));
    assert_int_equal(err, ERR_NOTFOUND);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_line_comes_back_as_it_was),
        T(a_life_is_told_with_children_and_reports),
        T(a_child_shows_where_it_came_from),
        T(lines_stay_over_a_restart),
        T(old_lines_go_in_pieces),
        T(long_text_is_cut),
        T(only_we_may_read_it),
        T(a_file_that_is_none_is_set_aside),
        T(version_1_goes_on),
        T(another_version_is_set_aside),
        T(damage_found_later_is_set_aside_too),
        T(a_missing_folder_is_an_error),
    };
    return cmocka_run_group_tests_name("journal_sqlite", tests, NULL, NULL);
}
