/* libldap, the real one, against a server of the test's own, which speaks as much of LDAP as one question
 * needs (RFC 4511), and notes what it was asked. */
#include "ext/ldap_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT_MS = 60 * 1000, SHORT_MS = 50, HEARD_MAX = 8192, CONNS_MAX = 8, MESSAGE_MAX = 120 };
enum { BIND = 0x60, UNBIND = 0x42, SEARCH = 0x63 };
#define DN "uid=joe,dc=example"
#define USERS_WORD "secret word of joe"

struct plan { /* what the server does */
    int binds_ours, search,
        binds_theirs; /* result codes (RFC 4511 4.1.9); -1: says nothing; -2: ends the connection */
    unsigned n_entries;
    const char *dn;
};
struct fixture {
    char folder[64], why_mem[TABLE_WHY_MAX];
    struct table_driver *driver;
    void *session;
    struct buf why;
    bool is_broken;
    struct netaddr at;
    int listener, stop[2]; /* stop[1] is closed: the server ends */
    pthread_t server;
    struct plan plan;
    unsigned n_conns, n_binds, n_searches;
    size_t n_heard;
    char heard[HEARD_MAX];
};

/* ---- the server, on a thread ----------------------------------------------------------------- */

struct peer {
    int fd;
    size_t n;
    unsigned char in[HEARD_MAX];
};

static bool give(int fd, const unsigned char *p, size_t n)
{
    return send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* LDAPResult of that kind. */
static bool give_result(int fd, unsigned char id, unsigned char kind, int code)
{
    const unsigned char m[] = {0x30, 12, 2, 1, id, kind, 7, 10, 1, (unsigned char)code, 4, 0, 4, 0};
    return give(fd, m, sizeof m);
}

static bool give_entry(int fd, unsigned char id, const char *dn)
{
    unsigned char n = (unsigned char)strlen(dn), m[MESSAGE_MAX] = {0x30, (unsigned char)(9 + n), 2, 1, id,
                                                                   0x64, (unsigned char)(4 + n), 4, n};
    memcpy(m + 9, dn, n);
    m[9 + n] = 0x30; /* no attributes */
    return give(fd, m, 11u + n);
}

/* A short message. false: the connection is to end. */
static bool answer(struct fixture *f, int fd, const unsigned char *m, size_t n)
{
    unsigned char id = m[4], kind = m[5];
    if (n <= sizeof f->heard - f->n_heard) {
        memcpy(f->heard + f->n_heard, m, n);
        f->n_heard += n;
    }
    if (kind == BIND) {
        bool is_users = str_find(str_of((const char *)m, n), STR(DN)) != STR_NPOS;
        int code = is_users ? f->plan.binds_theirs : f->plan.binds_ours;
        f->n_binds++;
        return code == -1 || (code >= 0 && give_result(fd, id, 0x61, code));
    }
    if (kind != SEARCH)
        return false;
    f->n_searches++;
    for (unsigned i = 0; i < f->plan.n_entries; i++) {
        if (!give_entry(fd, id, f->plan.dn))
            return false;
    }
    return f->plan.search == -1 || (f->plan.search >= 0 && give_result(fd, id, 0x65, f->plan.search));
}

/* false: it has ended. */
static bool serve(struct fixture *f, struct peer *p)
{
    ssize_t k = recv(p->fd, p->in + p->n, sizeof p->in - p->n, 0);
    if (k <= 0)
        return false;
    p->n += (size_t)k;
    while (p->n >= 6) {
        bool is_long = p->in[1] == 0x82 || p->in[1] == 0x81;
        size_t head = p->in[1] == 0x82 ? 4 : is_long ? 3 : 2;
        size_t n = head + (p->in[1] == 0x82 ? p->in[2] * 256u + p->in[3] : is_long ? p->in[2] : p->in[1]);
        if (n > p->n)
            break;
        unsigned char m[HEARD_MAX];
        memcpy(m + 2, p->in + head, n - head); /* as if its length were short */
        m[0] = m[1] = 0;
        if (!answer(f, p->fd, m, n - head + 2))
            return false;
        p->n -= n;
        memmove(p->in, p->in + n, p->n);
    }
    return true;
}

static void *serve_all(void *arg)
{
    struct fixture *f = arg;
    static struct peer peers[CONNS_MAX];
    size_t n = 0;
    for (;;) {
        struct pollfd p[CONNS_MAX + 2] = {{.fd = f->stop[0], .events = POLLIN},
                                          {.fd = f->listener, .events = POLLIN}};
        for (size_t i = 0; i < n; i++)
            p[i + 2] = (struct pollfd){.fd = peers[i].fd, .events = POLLIN};
        if (poll(p, (nfds_t)n + 2, -1) <= 0 || p[0].revents != 0)
            break;
        for (size_t i = n; i-- > 0;) {
            if (p[i + 2].revents == 0 || serve(f, &peers[i]))
                continue;
            (void)close(peers[i].fd);
            peers[i] = peers[--n];
        }
        if (p[1].revents != 0 && n < CONNS_MAX) {
            peers[n].n = 0;
            peers[n++].fd = accept(f->listener, NULL, NULL);
            f->n_conns++;
        }
    }
    while (n > 0)
        (void)close(peers[--n].fd);
    return NULL;
}

/* ---- the test -------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *tmp = getenv("TMPDIR");
    (void)signal(SIGPIPE, SIG_IGN); /* as io/ has it */
    assert_non_null(f);
    assert_true(snprintf(f->folder, sizeof f->folder, "%s/ldap-XXXXXX", tmp == NULL ? "/tmp" : tmp) > 0);
    assert_non_null(mkdtemp(f->folder));
    f->at.kind = NETADDR_UNIX;
    assert_true(snprintf(f->at.path, sizeof f->at.path, "%s/ldapi", f->folder) > 0);
    assert_true(str_to_c(str_from_c(f->at.path), un.sun_path, sizeof un.sun_path));
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(f->listener, 8), 0);
    f->driver = ldap_check_new("/dev/null");
    assert_non_null(f->driver);
    buf_init_fixed(&f->why, f->why_mem, sizeof f->why_mem);
    *state = f;
    return 0;
}

static void start(struct fixture *f, struct plan plan)
{
    f->plan = plan;
    f->n_heard = 0;
    f->n_conns = f->n_binds = f->n_searches = 0;
    assert_int_equal(pipe(f->stop), 0);
    assert_int_equal(pthread_create(&f->server, NULL, serve_all, f), 0);
}

/* The server ends, with all its connections; after this what it heard may be looked at. */
static void stop_server(struct fixture *f)
{
    (void)close(f->stop[1]);
    assert_int_equal(pthread_join(f->server, NULL), 0);
    (void)close(f->stop[0]);
}

static void close_it(struct fixture *f)
{
    if (f->session != NULL)
        f->driver->close(f->session);
    f->session = NULL;
}

static void stop(struct fixture *f)
{
    close_it(f);
    stop_server(f);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    (void)close(f->listener);
    (void)unlink(f->at.path);
    assert_int_equal(rmdir(f->folder), 0);
    ldap_check_del(f->driver);
    free(f);
    return 0;
}

static bool open_by(struct fixture *f, enum table_tls tls, const char *user, uint32_t limit_ms)
{
    struct table_place p = {.at = &f->at,
                            .host = "",
                            .tls = tls,
                            .user = user,
                            .password = "our own word",
                            .place = "dc=example",
                            .question = "(&(mail=%u@%d)(ok=100%%))"};
    buf_reset(&f->why);
    f->session = f->driver->open(f->driver, &p, limit_ms, &f->why);
    return f->session != NULL;
}

static bool open_as(struct fixture *f, const char *user, uint32_t limit_ms)
{
    return open_by(f, TABLE_CLEAR, user, limit_ms);
}

static enum table_says ask(struct fixture *f, struct str user, struct str password, uint32_t limit_ms)
{
    struct table_question q = {
        .address = STR("joe@a.example"), .user = user, .domain = STR("a.example"), .password = password};
    struct buf none;
    char mem[8];
    buf_init_fixed(&none, mem, sizeof mem);
    buf_reset(&f->why);
    f->is_broken = false;
    return f->driver->ask(f->session, &q, limit_ms, &f->is_broken, &none, &f->why);
}

static enum table_says ask_joe(struct fixture *f)
{
    return ask(f, STR("joe"), STR(USERS_WORD), LIMIT_MS);
}

static void check_why(struct fixture *f, const char *why)
{
    buf_putc(&f->why, '\0');
    if (strstr(f->why_mem, why) == NULL)
        fail_msg("%s and not %s", f->why_mem, why);
}

static bool heard(const struct fixture *f, struct str text)
{
    return str_find(str_of(f->heard, f->n_heard), text) != STR_NPOS;
}

static void answers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct plan plan;
        enum table_says says;
        const char *why;
        unsigned n_binds; /* of users */
    } rows[] = {
        {{0, 0, 0, 1, DN}, TABLE_SAYS_YES, "", 1},
        {{0, 0, 49, 1, DN}, TABLE_SAYS_NO, "", 1}, /* invalidCredentials */
        {{0, 0, 48, 1, DN}, TABLE_SAYS_NO, "", 1}, /* inappropriateAuthentication: it has none */
        {{0, 0, 53, 1, DN}, TABLE_SAYS_NOTHING, "bind as this user", 1}, /* unwillingToPerform */
        {{0, 0, 51, 1, DN}, TABLE_SAYS_NOTHING, "bind as this user", 1}, /* busy */
        {{0, 0, 10, 1, DN}, TABLE_SAYS_NOTHING, "bind as this user", 1}, /* referral */
        {{0, 0, 14, 1, DN}, TABLE_SAYS_NOTHING, "bind as this user", 1}, /* saslBindInProgress */
        {{0, 0, 0, 0, DN}, TABLE_SAYS_NO, "", 0},
        {{0, 0, 0, 2, DN}, TABLE_SAYS_NOTHING, "more than one entry", 0},
        {{0, 4, 0, 2, DN}, TABLE_SAYS_NOTHING, "more than one entry", 0}, /* sizeLimitExceeded */
        {{0, 4, 0, 1, DN}, TABLE_SAYS_NOTHING, "the search failed", 0},   /* is it the only one? */
        {{0, 32, 0, 0, DN}, TABLE_SAYS_NOTHING, "No such object", 0},
        {{0, 50, 0, 0, DN}, TABLE_SAYS_NOTHING, "Insufficient access", 0},
        {{0, 10, 0, 0, DN}, TABLE_SAYS_NOTHING, "Referral", 0},
        {{0, 0, 0, 1, ""},
         TABLE_SAYS_NOTHING,
         "without a name",
         0}, /* a bind without a name proves nothing */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        start(f, rows[i].plan);
        assert_true(open_as(f, "cn=mail", LIMIT_MS));
        enum table_says says = ask_joe(f);
        assert_false(f->is_broken);
        stop(f);
        if (says != rows[i].says)
            fail_msg("row %zu: %d, %.*s", i, (int)says, STR_FMT(buf_str(&f->why)));
        check_why(f, rows[i].why);
        assert_int_equal(f->n_binds, 1 + rows[i].n_binds);
        assert_int_equal(heard(f, STR(USERS_WORD)), rows[i].n_binds > 0);
    }
}

/* An empty password would be no proof (RFC 4513 5.1.2). */
static void empty_passwords(void **state)
{
    struct fixture *f = *state;
    start(f, (struct plan){0, 0, 0, 1, DN});
    assert_true(open_as(f, "", LIMIT_MS));
    assert_int_equal(ask(f, STR("joe"), STR_NIL, LIMIT_MS), TABLE_SAYS_NO);
    stop(f);
    assert_int_equal(f->n_binds, 0);
    assert_int_equal(f->n_searches, 0);
}

static void anonymous_search(void **state)
{
    struct fixture *f = *state;
    start(f, (struct plan){49, 0, 0, 1, DN});
    assert_true(open_as(f, "", LIMIT_MS));
    assert_int_equal(ask_joe(f), TABLE_SAYS_YES);
    stop(f);
    assert_int_equal(f->n_binds, 1);
    assert_false(heard(f, STR("our own word")));
}

static void keeps_connections(void **state)
{
    struct fixture *f = *state;
    start(f, (struct plan){0, 0, 0, 1, DN});
    assert_true(open_as(f, "cn=mail", LIMIT_MS));
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask_joe(f), TABLE_SAYS_YES);
    assert_int_equal(ask(f, STR("joe"), str_of("a\0b", 3), LIMIT_MS),
                     TABLE_SAYS_YES); /* octets, whatever they are */
    stop(f);
    assert_int_equal(f->n_conns, 2); /* one searches, one takes passwords there */
    assert_int_equal(f->n_binds, 7);
    assert_true(heard(f, STR("a\0b")));
}

static void names_are_escaped(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct str user, sent; /* the value on the wire, where it is no longer escaped */
    } rows[] = {{STR_INIT("*)(uid=*"), STR_INIT("*)(uid=*@a.example")},
                {STR_INIT("joe"), STR_INIT("joe@a.example")},
                {STR_INIT("*"), STR_INIT("*@a.example")},
                {STR_INIT("a\0b"), STR_INIT("a\0b@a.example")},
                {STR_INIT("\\2a"), STR_INIT("\\2a@a.example")},
                {STR_INIT("%u%d%"), STR_INIT("%u%d%@a.example")},
                {STR_INIT("\xc3\xa9"), STR_INIT("\xc3\xa9@a.example")}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[64];
        struct buf value;
        start(f, (struct plan){0, 0, 0, 0, DN});
        assert_true(open_as(f, "", LIMIT_MS));
        assert_int_equal(ask(f, rows[i].user, STR("x"), LIMIT_MS), TABLE_SAYS_NO);
        stop(f);
        /* and (0xa0) of two equalities (0xa3), each of two texts: nothing else came of it (RFC 4511 4.5.1.7)
         */
        buf_init_fixed(&value, mem, sizeof mem);
        buf_printf(&value, "%c%c%c%cmail%c%c", 0xa3, (char)(8 + rows[i].sent.n), 4, 4, 4,
                   (char)rows[i].sent.n);
        buf_put(&value, rows[i].sent);
        buf_put(&value, STR("\xa3\x0a\x04\x02ok\x04\x04"
                            "100%"));
        if (!heard(f, buf_str(&value)))
            fail_msg("row %zu", i);
    }
}

static void filters(void **state)
{
    static const struct {
        const char *filter;
        struct str user;
        const char *want;
    } rows[] = {{"(mail=%u@%d)", STR_INIT("joe"), "(mail=joe@a.example)"},
                {"(|(uid=%u)(cn=%u))", STR_INIT("*"), "(|(uid=\\2a)(cn=\\2a))"},
                {"(a=%u)", STR_INIT("()\\*\0"), "(a=\\28\\29\\5c\\2a\\00)"},
                {"(a=%u)", STR_INIT(" \x7f\xff\x01"), "(a=\\20\\7f\\ff\\01)"},
                {"(a=%%u%u)", STR_INIT("%d"), "(a=%u%d)"},
                {"(a=%u%", STR_INIT("x"), "(a=x%"}};
    char mem[64];
    struct buf b;
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(ldap_check_filter(rows[i].filter, rows[i].user, STR("a.example"), &b));
        assert_string_equal(mem, rows[i].want);
    }
    buf_init_fixed(&b, mem, 10);
    assert_false(ldap_check_filter("(a=%u)", STR("joe@example"), STR("x"), &b));
}

static void our_bind_is_refused(void **state)
{
    struct fixture *f = *state;
    start(f, (struct plan){49, 0, 0, 1, DN});
    assert_false(open_as(f, "cn=mail", LIMIT_MS));
    check_why(f, "searched by is refused: Invalid credentials");
    stop(f);
}

static void bad_servers(void **state)
{
    struct fixture *f = *state;
    static const struct plan ends[] = {{0, -2, 0, 0, DN}, {0, 0, -2, 1, DN}};
    static const struct plan silent[] = {{0, -1, 0, 0, DN}, {0, 0, -1, 1, DN}};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        start(f, ends[i]);
        assert_true(open_as(f, "cn=mail", LIMIT_MS));
        assert_int_equal(ask_joe(f), TABLE_SAYS_NOTHING);
        assert_int_equal(f->is_broken, i == 0); /* that of users is made anew by itself */
        assert_true(f->why.n > 0);
        stop(f);
    }
    for (size_t i = 0; i < ARRAY_LEN(silent); i++) {
        start(f, silent[i]);
        assert_true(open_as(f, "cn=mail", LIMIT_MS));
        assert_int_equal(ask(f, STR("joe"), STR(USERS_WORD), SHORT_MS), TABLE_SAYS_NOTHING);
        check_why(f, "Timed out");
        stop(f);
    }
    start(f, (struct plan){-1, 0, 0, 0, DN});
    assert_false(open_as(f, "cn=mail", SHORT_MS));
    check_why(f, "Timed out");
    stop(f);
    start(f, (struct plan){0, 0, 0, 1, DN});
    assert_true(open_as(f, "cn=mail", LIMIT_MS));
    stop_server(f); /* what is kept ends */
    assert_int_equal(ask_joe(f), TABLE_SAYS_NOTHING);
    assert_true(f->is_broken);
    close_it(f);
    assert_int_equal(unlink(f->at.path), 0);
    assert_false(open_as(f, "cn=mail", LIMIT_MS));
    check_why(f, "can't connect to");
}

/* Where there must be TLS and there is none, nothing of ours is said. */
static void no_tls(void **state)
{
    struct fixture *f = *state;
    static const enum table_tls ways[] = {TABLE_TLS, TABLE_STARTTLS};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        start(f, (struct plan){0, 0, 0, 1, DN});
        assert_false(open_by(f, ways[i], "cn=mail", SHORT_MS)); /* it says nothing, or ends */
        check_why(f, "no TLS that can be trusted");
        stop(f);
        assert_int_equal(f->n_binds + f->n_searches, 0);
        assert_false(heard(f, STR("our own word")));
    }
}

/* It took passwords and ended since: he is asked about once more. */
static void the_second_connection_ends(void **state)
{
    struct fixture *f = *state;
    start(f, (struct plan){0, 0, -2, 1, DN});
    assert_true(open_as(f, "cn=mail", LIMIT_MS));
    assert_int_equal(ask_joe(f), TABLE_SAYS_NOTHING);
    f->plan.binds_theirs = 0;
    assert_int_equal(ask_joe(f), TABLE_SAYS_YES);
    f->plan.binds_theirs = -2;
    assert_int_equal(ask_joe(f), TABLE_SAYS_NOTHING);
    stop(f);
    assert_int_equal(f->n_conns,
                     4); /* ours; one that ended; one that answered and ended; the one once more */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_passwords, setup, teardown),
        cmocka_unit_test_setup_teardown(anonymous_search, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_escaped, setup, teardown),
        cmocka_unit_test(filters),
        cmocka_unit_test_setup_teardown(our_bind_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(no_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(the_second_connection_ends, setup, teardown),
    };
    return cmocka_run_group_tests_name("ldap_check", tests, NULL, NULL);
}
