/* libpq, the real one, against a server of the test's own, which speaks as much of PostgreSQL's protocol
 * (version 3) as one question needs, and notes what it was asked. */
#include "ext/sql_pg.h"

#include "crypto/verifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT_MS = 60 * 1000, SHORT_MS = 50, HEARD_MAX = 4096 };
#define QUERY "SELECT password FROM users WHERE address = $1"
#define READY "Z\0\0\0\5I"
#define PARSED                                                                                               \
    "1\0\0\0\4"                                                                                              \
    "2\0\0\0\4"
#define ONE_COLUMN "T\0\0\0\x1a\0\1a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
#define TWO_COLUMNS                                                                                          \
    "T\0\0\0\x2e\0\2a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0b\0\0\0\0\0\0\0\0\0\0\x19\xff\xff"  \
    "\xff\xff\xff\xff\0\0"
#define ROW(length, text) "D\0\0\0" length "\0\1\0\0\0" text
#define ROW_ONE ROW("\xd", "\3one")
#define ROW_NULL "D\0\0\0\xa\0\1\xff\xff\xff\xff"
#define DONE "C\0\0\0\xdSELECT 1\0"
#define ERROR_MISSING "E\0\0\0\x29SERROR\0C42P01\0Mno such table: users\0\0"

enum way { ANSWERS = 0, SAYS_NOTHING, ENDS, REFUSES_US, IS_NO_SERVER, HANGS_AT_START };
struct fixture {
    char folder[64], socket[100], why_mem[TABLE_WHY_MAX], text_mem[VERIFIER_TEXT_MAX];
    struct table_driver *driver;
    void *session;
    struct buf why, text;
    bool is_broken;
    struct netaddr at;
    int listener, stop[2]; /* stop[1] is closed: the server ends */
    pthread_t server;
    enum way way;
    struct str reply; /* to a query, before READY */
    unsigned n_sessions;
    size_t n_heard;
    char heard[HEARD_MAX]; /* the last question */
};

/* ---- the server, on a thread ----------------------------------------------------------------- */

static bool give(int fd, struct str s)
{
    return send(fd, s.p, s.n, MSG_NOSIGNAL) == (ssize_t)s.n;
}

/* false: it is closed, or the test ends. */
static bool take(const struct fixture *f, int fd, char *out, size_t n)
{
    while (n > 0) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = f->stop[0], .events = POLLIN}};
        ssize_t k = poll(p, 2, -1) > 0 && p[1].revents == 0 ? recv(fd, out, n, 0) : 0;
        if (k <= 0)
            return false;
        out += k;
        n -= (size_t)k;
    }
    return true;
}

static bool take_message(struct fixture *f, int fd, char *type)
{
    uint32_t n;
    char mem[HEARD_MAX];
    if ((type != NULL && !take(f, fd, type, 1)) || !take(f, fd, (char *)&n, sizeof n))
        return false;
    n = ntohl(n) - 4;
    if (n > sizeof mem || !take(f, fd, mem, n))
        return false;
    if (type != NULL && n <= sizeof f->heard - f->n_heard) {
        memcpy(f->heard + f->n_heard, mem, n);
        f->n_heard += n;
    }
    return true;
}

static void serve(struct fixture *f, int fd)
{
    char type;
    f->n_sessions++;
    if (f->way == IS_NO_SERVER) {
        (void)give(fd, STR("220 mx.example.org ESMTP\r\n"));
        return;
    }
    if (!take_message(f, fd, NULL))
        return;
    if (f->way == HANGS_AT_START)
        (void)take(f, fd, &type, 1);
    if (f->way == REFUSES_US)
        (void)give(fd, STR("E\0\0\0\x2aSFATAL\0C28P01\0Mpassword is not right\0\0"));
    if (f->way == REFUSES_US || f->way == HANGS_AT_START || !give(fd, STR("R\0\0\0\x8\0\0\0\0" READY)))
        return;
    f->n_heard = 0;
    while (take_message(f, fd, &type)) {
        if (type != 'S')
            continue;
        if (f->way == ENDS)
            return;
        if (f->way == ANSWERS && (!give(fd, f->reply) || !give(fd, STR(READY))))
            return;
        if (f->way == ANSWERS)
            f->n_heard = 0;
    }
}

static void *serve_all(void *arg)
{
    struct fixture *f = arg;
    for (;;) {
        struct pollfd p[2] = {{.fd = f->listener, .events = POLLIN}, {.fd = f->stop[0], .events = POLLIN}};
        if (poll(p, 2, -1) <= 0 || p[1].revents != 0)
            return NULL;
        int fd = accept(f->listener, NULL, NULL);
        if (fd == -1)
            return NULL;
        serve(f, fd);
        (void)close(fd);
    }
}

/* ---- the test -------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *tmp = getenv("TMPDIR");
    assert_non_null(f);
    assert_true(snprintf(f->folder, sizeof f->folder, "%s/pg-XXXXXX", tmp == NULL ? "/tmp" : tmp) > 0);
    assert_non_null(mkdtemp(f->folder));
    assert_true(snprintf(f->socket, sizeof f->socket, "%s/.s.PGSQL.5432", f->folder) > 0);
    f->at.kind = NETADDR_UNIX;
    assert_true(str_to_c(str_from_c(f->folder), f->at.path, sizeof f->at.path));
    assert_true(str_to_c(str_from_c(f->socket), un.sun_path, sizeof un.sun_path));
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(f->listener, 8), 0);
    assert_int_equal(pipe(f->stop), 0);
    f->driver = sql_pg_new("/dev/null");
    assert_non_null(f->driver);
    buf_init_fixed(&f->why, f->why_mem, sizeof f->why_mem);
    buf_init_fixed(&f->text, f->text_mem, sizeof f->text_mem);
    *state = f;
    return 0;
}

static void start(struct fixture *f, enum way way, struct str reply)
{
    f->way = way;
    f->reply = reply;
    assert_int_equal(pthread_create(&f->server, NULL, serve_all, f), 0);
}

/* After this what it heard may be looked at. */
static void stop(struct fixture *f)
{
    if (f->session != NULL)
        f->driver->close(f->session);
    f->session = NULL;
    (void)close(f->stop[1]);
    assert_int_equal(pthread_join(f->server, NULL), 0);
    (void)close(f->stop[0]);
    assert_int_equal(pipe(f->stop), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)close(f->listener);
    (void)close(f->stop[0]);
    (void)close(f->stop[1]);
    assert_int_equal(unlink(f->socket), 0);
    assert_int_equal(rmdir(f->folder), 0);
    sql_pg_del(f->driver);
    free(f);
    return 0;
}

static bool open_in(struct fixture *f, uint32_t limit_ms)
{
    struct table_place p = {
        .at = &f->at, .host = "", .user = "mail", .password = "word", .place = "db", .question = QUERY};
    buf_reset(&f->why);
    f->session = f->driver->open(f->driver, &p, limit_ms, &f->why);
    return f->session != NULL;
}

static enum table_says ask(struct fixture *f, struct str user, uint32_t limit_ms)
{
    char mem[600];
    struct buf address;
    buf_init_fixed(&address, mem, sizeof mem);
    buf_put(&address, user);
    buf_puts(&address, "@a.example");
    struct table_question q = {.address = buf_str(&address),
                               .user = user,
                               .domain = STR("a.example"),
                               .password = STR("secret word of joe")};
    buf_reset(&f->why);
    buf_reset(&f->text);
    f->is_broken = false;
    return f->driver->ask(f->session, &q, limit_ms, &f->is_broken, &f->text, &f->why);
}

static void check_why(struct fixture *f, const char *why)
{
    buf_putc(&f->why, '\0');
    if (strstr(f->why_mem, why) == NULL)
        fail_msg("%s and not %s", f->why_mem, why);
}

static void answers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct str reply;
        enum table_says says;
        const char *text, *why;
        bool is_broken;
    } rows[] = {
        {STR_INIT(PARSED ONE_COLUMN ROW_ONE DONE), TABLE_SAYS_VERIFIER, "one", "", false},
        {STR_INIT(PARSED ONE_COLUMN ROW_NULL DONE), TABLE_SAYS_VERIFIER, "", "", false},
        {STR_INIT(PARSED ONE_COLUMN DONE), TABLE_SAYS_NOBODY, "", "", false},
        {STR_INIT(PARSED ONE_COLUMN ROW_ONE ROW_ONE DONE), TABLE_SAYS_NOTHING, NULL, "more than one row",
         true},
        {STR_INIT(PARSED TWO_COLUMNS "D\0\0\0\x14\0\2\0\0\0\3one\0\0\0\3two" DONE), TABLE_SAYS_NOTHING, NULL,
         "2 columns", false},
        {STR_INIT(PARSED "n\0\0\0\4"
                         "C\0\0\0\x7"
                         "DO\0"),
         TABLE_SAYS_NOTHING, NULL, "no SELECT", false},
        {STR_INIT(ERROR_MISSING), TABLE_SAYS_NOTHING, NULL, "no such table: users", false},
        {STR_INIT(PARSED ONE_COLUMN ROW_ONE ERROR_MISSING), TABLE_SAYS_NOTHING, NULL, "no such table", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        start(f, ANSWERS, rows[i].reply);
        assert_true(open_in(f, LIMIT_MS));
        enum table_says says = ask(f, STR("joe"), LIMIT_MS);
        assert_int_equal(f->is_broken, rows[i].is_broken);
        stop(f);
        if (says != rows[i].says)
            fail_msg("row %zu: %d", i, (int)says);
        if (rows[i].text != NULL)
            assert_true(str_eq(buf_str(&f->text), str_from_c(rows[i].text)));
        check_why(f, rows[i].why);
    }
}

/* The same session for one after another. */
static void keeps_a_session(void **state)
{
    struct fixture *f = *state;
    start(f, ANSWERS, STR(PARSED ONE_COLUMN ROW_ONE DONE));
    assert_true(open_in(f, LIMIT_MS));
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask(f, STR("joe"), LIMIT_MS), TABLE_SAYS_VERIFIER);
    stop(f);
    assert_int_equal(f->n_sessions, 1);
}

static void too_long(void **state)
{
    struct fixture *f = *state;
    static char reply[4096];
    struct buf b;
    buf_init_fixed(&b, reply, sizeof reply);
    buf_put(&b, STR(PARSED ONE_COLUMN));
    buf_put(&b, STR("D\0\0\x4\x0b\0\1\0\0\x4\1"));
    for (int i = 0; i < VERIFIER_TEXT_MAX + 1; i++)
        buf_putc(&b, 'x');
    buf_put(&b, STR(DONE));
    start(f, ANSWERS, buf_str(&b));
    assert_true(open_in(f, LIMIT_MS));
    assert_int_equal(ask(f, STR("joe"), LIMIT_MS), TABLE_SAYS_NOTHING);
    check_why(f, "too long");
    stop(f);
}

static bool heard(const struct fixture *f, struct str text)
{
    return str_find(str_of(f->heard, f->n_heard), text) != STR_NPOS;
}

/* The query goes as it is, and the name apart from it. The password of the user goes nowhere. */
static void names_are_data(void **state)
{
    struct fixture *f = *state;
    static const struct str names[] = {STR_INIT("' OR 1=1 --"), STR_INIT("$2"), STR_INIT("%"),
                                       STR_INIT("'; DROP TABLE users; --")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        start(f, SAYS_NOTHING, STR_NIL);
        assert_true(open_in(f, LIMIT_MS));
        assert_int_equal(ask(f, names[i], SHORT_MS), TABLE_SAYS_NOTHING);
        stop(f);
        assert_true(heard(f, STR("\0" QUERY "\0")));
        assert_true(heard(f, names[i]));
        assert_false(heard(f, STR("secret word")));
    }
    static const struct str none[] = {STR_INIT("joe\0"), STR_INIT("\0"), STR_INIT("jo\0e")};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) { /* can't be a parameter, and nothing shorter is asked */
        f->n_heard = 0;
        start(f, ANSWERS, STR(PARSED ONE_COLUMN ROW_ONE DONE));
        assert_true(open_in(f, LIMIT_MS));
        assert_int_equal(ask(f, none[i], LIMIT_MS), TABLE_SAYS_NOBODY);
        assert_false(f->is_broken);
        stop(f);
        assert_int_equal(f->n_heard, 0);
    }
}

static void bad_servers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum way way;
        const char *why;
    } rows[] = {
        {REFUSES_US, "password is not right"}, {IS_NO_SERVER, ""}, {HANGS_AT_START, "no answer in time"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        start(f, rows[i].way, STR_NIL);
        assert_false(open_in(f, rows[i].way == HANGS_AT_START ? SHORT_MS : LIMIT_MS));
        check_why(f, rows[i].why);
        assert_true(f->why.n > 1);
        stop(f);
    }
    start(f, ENDS, STR_NIL);
    assert_true(open_in(f, LIMIT_MS));
    assert_int_equal(ask(f, STR("joe"), LIMIT_MS), TABLE_SAYS_NOTHING);
    assert_true(f->is_broken && f->why.n > 0);
    stop(f);
    start(f, SAYS_NOTHING, STR_NIL);
    assert_true(open_in(f, LIMIT_MS));
    assert_int_equal(ask(f, STR("joe"), SHORT_MS), TABLE_SAYS_NOTHING);
    assert_true(f->is_broken);
    check_why(f, "no answer in time");
    stop(f);
    struct str missing = STR("/nowhere/at/all");
    assert_true(str_to_c(missing, f->at.path, sizeof f->at.path));
    assert_false(open_in(f, LIMIT_MS));
    check_why(f, "/nowhere/at/all");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_a_session, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_data, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_servers, setup, teardown),
    };
    return cmocka_run_group_tests_name("sql_pg", tests, NULL, NULL);
}
