/* The driver over real databases in a folder of the test's own. */
#include "ext/sql_sqlite.h"

#include "crypto/verifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_MS = 60 * 1000, SHORT_MS = 50 };
#define QUERY "SELECT password FROM users WHERE address = $1"

struct fixture {
    char folder[128], path[160], why_mem[TABLE_WHY_MAX], text_mem[VERIFIER_TEXT_MAX];
    struct table_driver *driver;
    void *session;
    struct buf why, text;
    bool is_broken;
};

static void change(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char *problem = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &problem) != SQLITE_OK)
        fail_msg("%s", problem);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    assert_non_null(f);
    assert_true(snprintf(f->folder, sizeof f->folder, "%s/sqlite-XXXXXX", tmp == NULL ? "/tmp" : tmp) > 0);
    assert_non_null(mkdtemp(f->folder));
    assert_true(snprintf(f->path, sizeof f->path, "%s/a %%41?#.db", f->folder) >
                0); /* nothing of it is a URI */
    change(f->path, "CREATE TABLE users (address TEXT, password TEXT); INSERT INTO users VALUES "
                    "('joe@a.example', 'one'), "
                    "('ann@a.example', 'two'), ('twin@a.example', 'x'), ('twin@a.example', 'y'), "
                    "('null@a.example', NULL), "
                    "('o''hara@a.example', 'three'), ('long@a.example', hex(zeroblob(600))), "
                    "('most@a.example', hex(zeroblob(512)))");
    f->driver = sql_sqlite_new();
    assert_non_null(f->driver);
    buf_init_fixed(&f->why, f->why_mem, sizeof f->why_mem);
    buf_init_fixed(&f->text, f->text_mem, sizeof f->text_mem);
    *state = f;
    return 0;
}

static void close_it(struct fixture *f)
{
    if (f->session != NULL)
        f->driver->close(f->session);
    f->session = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char path[200];
    close_it(f);
    sql_sqlite_del(f->driver);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        assert_true(snprintf(path, sizeof path, "%s%s", f->path, ends[i]) > 0);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0); /* nothing else was made */
    free(f);
    return 0;
}

static bool open_it(struct fixture *f, const char *query)
{
    struct netaddr none = {.kind = NETADDR_NONE};
    struct table_place p = {
        .at = &none, .host = "", .user = "", .password = "", .place = f->path, .question = query};
    close_it(f);
    buf_reset(&f->why);
    f->session = f->driver->open(f->driver, &p, LIMIT_MS, &f->why);
    return f->session != NULL;
}

static enum table_says ask_about(struct fixture *f, struct str user, struct str domain, uint32_t limit_ms)
{
    char mem[600];
    struct buf address;
    buf_init_fixed(&address, mem, sizeof mem);
    buf_put(&address, user);
    buf_putc(&address, '@');
    buf_put(&address, domain);
    struct table_question q = {
        .address = buf_str(&address), .user = user, .domain = domain, .password = STR("secret")};
    buf_reset(&f->why);
    buf_reset(&f->text);
    f->is_broken = false;
    return f->driver->ask(f->session, &q, limit_ms, &f->is_broken, &f->text, &f->why);
}

static enum table_says ask(struct fixture *f, const char *user)
{
    return ask_about(f, str_from_c(user), STR("a.example"), LIMIT_MS);
}

static void check_found(struct fixture *f, const char *user, const char *text)
{
    if (ask(f, user) != TABLE_SAYS_VERIFIER)
        fail_msg("%s: %.*s", user, STR_FMT(buf_str(&f->why)));
    assert_true(str_eq(buf_str(&f->text), str_from_c(text)));
    assert_false(f->is_broken);
}

static void check_failed(struct fixture *f, const char *user, const char *why)
{
    assert_int_equal(ask(f, user), TABLE_SAYS_NOTHING);
    buf_putc(&f->why, '\0');
    if (strstr(f->why_mem, why) == NULL)
        fail_msg("%s and not %s", f->why_mem, why);
}

static void finds_users(void **state)
{
    struct fixture *f = *state;
    assert_true(open_it(f, QUERY));
    check_found(f, "joe", "one");
    check_found(f, "ann", "two");
    check_found(f, "o'hara", "three");
    check_found(f, "null", ""); /* a user without a password */
    assert_int_equal(ask(f, "eve"), TABLE_SAYS_NOBODY);
    check_failed(f, "twin", "more than one row");
    check_failed(f, "long", "too long");
    assert_int_equal(ask(f, "most"), TABLE_SAYS_VERIFIER); /* the longest */
    assert_int_equal(f->text.n, VERIFIER_TEXT_MAX);
    check_found(f, "joe", "one");
}

static void parameters(void **state)
{
    struct fixture *f = *state;
    static const char *const queries[] = {"SELECT password FROM users WHERE address = $2 || '@' || $3",
                                          "SELECT password FROM users WHERE address = ?2 || '@' || ?3",
                                          "SELECT password FROM users WHERE address = ?1",
                                          "SELECT password FROM users WHERE address = $1 AND $1 <> $3"};
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        assert_true(open_it(f, queries[i]));
        check_found(f, "joe", "one");
        assert_int_equal(ask(f, "one"), TABLE_SAYS_NOBODY);
    }
}

/* What is asked about is never part of the query. */
static void names_are_data(void **state)
{
    struct fixture *f = *state;
    static const struct str names[] = {STR_INIT("' OR 1=1 --"),
                                       STR_INIT("' OR ''='"),
                                       STR_INIT("joe@a.example' --"),
                                       STR_INIT("%"),
                                       STR_INIT("j_e"),
                                       STR_INIT("*)(uid=*"),
                                       STR_INIT("$1"),
                                       STR_INIT("joe\0x"),
                                       STR_INIT("joe\0"),
                                       STR_INIT("\0"),
                                       STR_INIT(""),
                                       STR_INIT("\xff\xfe"),
                                       STR_INIT("'; DROP TABLE users; --")};
    assert_true(open_it(f, QUERY));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(ask_about(f, names[i], STR("a.example"), LIMIT_MS), TABLE_SAYS_NOBODY);
    assert_int_equal(ask_about(f, STR("joe"), STR("a.example\0"), LIMIT_MS), TABLE_SAYS_NOBODY);
    check_found(f, "joe", "one");
}

static void bad_queries(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *query, *why;
    } rows[] = {{"SELECT password FROM missing WHERE address = $1", "no such table: missing"},
                {"SELECT nothing here $1", "syntax error"},
                {"SELECT address, password FROM users WHERE address = $1", "2 columns"},
                {"DELETE FROM users WHERE address <> $1 RETURNING password", "readonly"},
                {"INSERT INTO users VALUES ($1, 'x') RETURNING password", "readonly"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(open_it(f, rows[i].query));
        check_failed(f, "joe", rows[i].why);
        check_failed(f, "joe", rows[i].why); /* the session goes on */
    }
    assert_true(open_it(f, QUERY));
    check_found(f, "ann", "two");
}

static void long_queries(void **state)
{
    struct fixture *f = *state;
    assert_true(open_it(f, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n "
                           "WHERE i < 0 AND $1 <> ''"));
    assert_int_equal(ask_about(f, STR("joe"), STR("a.example"), SHORT_MS), TABLE_SAYS_NOTHING);
    assert_true(str_eq(buf_str(&f->why), STR("no answer in time")));
    assert_false(f->is_broken);
}

/* Who writes for a long time is waited for as long as the question may take. */
static void locked(void **state)
{
    struct fixture *f = *state;
    sqlite3 *writer = NULL;
    assert_int_equal(sqlite3_open(f->path, &writer), SQLITE_OK);
    assert_int_equal(sqlite3_exec(writer, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_true(open_it(f, QUERY));
    assert_int_equal(ask_about(f, STR("joe"), STR("a.example"), SHORT_MS), TABLE_SAYS_NOTHING);
    assert_true(f->why.n > 0);
    assert_int_equal(sqlite3_exec(writer, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    check_found(f, "joe", "one");
    assert_int_equal(sqlite3_close(writer), SQLITE_OK);
}

static void files_that_change(void **state)
{
    struct fixture *f = *state;
    char other[200];
    assert_true(open_it(f, QUERY));
    check_found(f, "joe", "one");
    change(f->path, "UPDATE users SET password = 'changed' WHERE address = 'joe@a.example'");
    check_found(f, "joe", "changed");
    assert_true(snprintf(other, sizeof other, "%s/other", f->folder) > 0);
    change(other, "CREATE TABLE users (address TEXT, password TEXT); INSERT INTO users VALUES "
                  "('joe@a.example', 'other')");
    assert_int_equal(rename(other, f->path), 0);
    check_failed(f, "joe", "replaced");
    assert_true(f->is_broken); /* and the next session has the new one */
    assert_true(open_it(f, QUERY));
    check_found(f, "joe", "other");
    assert_int_equal(unlink(f->path), 0);
    check_failed(f, "joe", "replaced");
    assert_false(open_it(f, QUERY));
    assert_non_null(strstr(f->why_mem, "can't be opened"));
    FILE *bad = fopen(f->path, "w");
    assert_non_null(bad);
    for (int i = 0; i < 1000; i++)
        assert_true(fputs("no database", bad) >= 0);
    assert_int_equal(fclose(bad), 0);
    assert_true(open_it(f, QUERY));
    check_failed(f, "joe", "not a database");
    assert_true(f->is_broken);
}

static bool has(const struct fixture *f, const char *end)
{
    char path[200];
    assert_true(snprintf(path, sizeof path, "%s%s", f->path, end) > 0);
    return access(path, F_OK) == 0;
}

/* As the process is: it may write nothing in the folder. root may write everywhere, so it is somebody else
 * for this. */
static void be_reader(const struct fixture *f, bool is_reader)
{
    if (!is_reader && getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(f->folder, is_reader ? 0555 : 0755), 0);
    if (is_reader && getuid() == 0) {
        assert_int_equal(chmod(f->path, 0644), 0);
        assert_int_equal(seteuid(65534), 0);
    }
}

/* Another process has it open, as programs do that write such a database. */
struct writer {
    pid_t pid;
    int to, from;
};

static void write_and_wait(const char *path, const char *sql, int in, int out)
{
    sqlite3 *db = NULL;
    char c = 'x';
    bool ok = sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK &&
              write(out, &c, 1) == 1 && read(in, &c, 1) == 0 && sqlite3_close(db) == SQLITE_OK;
    _exit(ok ? 0 : 1);
}

static void start_writer(const struct fixture *f, const char *sql, struct writer *out)
{
    int to[2], from[2];
    char c;
    assert_true(pipe(to) == 0 && pipe(from) == 0);
    out->pid = fork();
    assert_int_not_equal(out->pid, -1);
    if (out->pid == 0) {
        (void)close(to[1]);
        write_and_wait(f->path, sql, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    out->to = to[1];
    out->from = from[0];
    assert_int_equal(read(out->from, &c, 1), 1);
}

static void end_writer(struct writer *w)
{
    int status;
    (void)close(w->to);
    (void)close(w->from);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_int_equal(status, 0);
}

static void wal_mode(void **state)
{
    struct fixture *f = *state;
    struct writer w;
    change(f->path, "PRAGMA journal_mode = WAL");
    be_reader(f, true);
    assert_true(open_it(f, QUERY));
    check_found(f, "joe", "one"); /* nobody has it open */
    assert_int_equal(ask(f, "eve"), TABLE_SAYS_NOBODY);
    check_failed(f, "twin", "more than one row");
    assert_false(has(f, "-wal") || has(f, "-shm"));
    close_it(f);
    be_reader(f, false);
    start_writer(f, "UPDATE users SET password = 'newer' WHERE address = 'joe@a.example'", &w);
    assert_true(has(f, "-wal") && has(f, "-shm"));
    be_reader(f, true);
    assert_true(open_it(f, QUERY));
    check_found(f, "joe", "newer"); /* which is in the WAL alone */
    close_it(f);
    be_reader(f, false);
    end_writer(&w);
    assert_false(has(f, "-wal"));
    be_reader(f, true);
    assert_true(open_it(f, QUERY));
    check_found(f, "joe", "newer");
    close_it(f);
    be_reader(f, false);
}

/* Its writer crashed, and nobody who may write has it open: what is in the WAL can't be seen, what the
 * journal would undo must not be. */
static void left_behind(void **state)
{
    struct fixture *f = *state;
    static const char *const ends[] = {"-journal", "-wal"};
    char path[200];
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (i == 1)
            change(f->path, "PRAGMA journal_mode = WAL");
        assert_true(snprintf(path, sizeof path, "%s%s", f->path, ends[i]) > 0);
        FILE *left = fopen(path, "w");
        assert_true(left != NULL && fputs("what a crash left", left) >= 0 && fclose(left) == 0);
        be_reader(f, true);
        assert_true(open_it(f, QUERY));
        check_failed(f, "joe", "in the middle of a change");
        close_it(f);
        be_reader(f, false);
        assert_int_equal(unlink(path), 0);
    }
    assert_true(open_it(f, QUERY));
    check_found(f, "joe", "one");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_users, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_data, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_queries, setup, teardown),
        cmocka_unit_test_setup_teardown(long_queries, setup, teardown),
        cmocka_unit_test_setup_teardown(locked, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_change, setup, teardown),
        cmocka_unit_test_setup_teardown(wal_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(left_behind, setup, teardown),
    };
    return cmocka_run_group_tests_name("sql_sqlite", tests, NULL, NULL);
}
