/* The role over workers and drivers that this test holds in its hand. */
#include "service/tables/tables_testing.h"

#include "crypto/verifier.h"

#include <stdio.h>

enum { TEXT_MAX = 600 };

static void make_verifier(const char *password, char text[TEXT_MAX])
{
    static const uint8_t salts[VERIFIER_SECRET] = {1};
    struct buf b;
    buf_init_fixed(&b, text, TEXT_MAX - 1);
    assert_int_equal(verifier_make(the->self->crypto, str_from_c(password), salts, 4096, &b), ERR_OK);
    text[b.n] = '\0';
}

static char *verifier_of_secret(void)
{
    static char text[TEXT_MAX];
    if (text[0] == '\0')
        make_verifier("secret", text);
    return text;
}

static void joe_asks(uint64_t token)
{
    ask_about(token, "joe", "lite.example", "secret");
}

/* ---- one question ---------------------------------------------------------------------------- */

static void by_a_verifier(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_VERIFIER, false, verifier_of_secret());
    joe_asks(1);
    check_silence(); /* a thread has it */
    work_all();
    check_answer(1, AUTH_OK, "");
    assert_string_equal(the->sqlite.place, "/users.db");
    assert_string_equal(the->sqlite.question, "SELECT $2");
    assert_string_equal(the->sqlite.address, "joe@lite.example");
    assert_string_equal(the->sqlite.asked_user, "joe");
    assert_string_equal(the->sqlite.asked_domain, "lite.example");
    assert_int_equal(the->sqlite.limit_ms, TABLES_ANSWER_MS);
    ask_about(2, "joe", "lite.example", "wrong");
    work_all();
    check_answer(2, AUTH_BAD, "");
    ask_about(3, "JoE", "LITE.example", "secret");
    work_all();
    check_answer(3, AUTH_OK, "");
    assert_string_equal(the->sqlite.address, "joe@lite.example");
    assert_int_equal(the->sqlite.n_opened, 1); /* a session is kept */
    assert_int_equal(the->sqlite.n_asked, 3);
}

static void what_it_may_say(void **state)
{
    UNUSED(state);
    static const struct {
        enum table_says says;
        const char *text;
        enum auth_verdict verdict;
        const char *why;
    } rows[] = {{TABLE_SAYS_NOBODY, NULL, AUTH_BAD, ""},
                {TABLE_SAYS_VERIFIER, "", AUTH_BAD, ""},
                {TABLE_SAYS_VERIFIER, "  ", AUTH_BAD, ""},
                {TABLE_SAYS_VERIFIER, "!locked", AUTH_BAD, ""},
                {TABLE_SAYS_VERIFIER, "*", AUTH_BAD, ""},
                {TABLE_SAYS_VERIFIER, "secret", AUTH_TEMPORARY,
                 "sqlite:/users.db: the verifier of this user can't be used"},
                {TABLE_SAYS_VERIFIER, "{PLAIN}secret", AUTH_TEMPORARY, "can't be used"},
                {TABLE_SAYS_VERIFIER, "$1$abc$def", AUTH_TEMPORARY, "can't be used"},
                {TABLE_SAYS_NOTHING, "table missing", AUTH_TEMPORARY, "sqlite:/users.db: table missing"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        forget_script(&the->sqlite);
        says(&the->sqlite, rows[i].says, false, rows[i].text);
        joe_asks(i);
        work_all();
        check_answer(i, rows[i].verdict, rows[i].why);
    }
    assert_int_equal(the->sqlite.n_opened, 1);
    assert_int_equal(the->self->count.right, 0);
    assert_false(has_logged("table.down")); /* what it says of one user is no trouble of its own */
}

static void by_itself(void **state)
{
    static const char *const one[] = {"192.0.2.1"};
    UNUSED(state);
    give_secret("/ldap.word", "our word\r\nmore\n");
    says(&the->ldap, TABLE_SAYS_YES, false, NULL);
    says(&the->ldap, TABLE_SAYS_NO, false, NULL);
    ask_about(1, "joe", "dir.example", "secret");
    assert_int_equal(the->workers.n, 0);
    lookup_says(asked_of_lookup("dir.test"), DNS_STATUS_OK, one, 1, 60);
    work_all();
    check_answer(1, AUTH_OK, "");
    assert_string_equal(the->ldap.asked_password, "secret");
    assert_string_equal(the->ldap.host, "dir.test");
    assert_string_equal(the->ldap.user, "cn=mail");
    assert_string_equal(the->ldap.password, "our word");
    assert_int_equal(the->ldap.from[0].port, 636);
    ask_about(2, "joe", "dir.example", "secret");
    work_all();
    check_answer(2, AUTH_BAD, "");
}

/* Somebody whom no table knows, or whose account is locked, costs a hash, too. */
static void nobody_costs_the_same(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_VERIFIER, false, verifier_of_secret());
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    says(&the->sqlite, TABLE_SAYS_VERIFIER, false, "!");
    says(&the->sqlite, TABLE_SAYS_VERIFIER, false, "");
    for (uint64_t i = 0; i < 4; i++) {
        ask_about(i, "joe", "lite.example", "wrong");
        work_all();
        check_answer(i, AUTH_BAD, "");
        assert_int_equal(the->self->count.hashes, i + 1);
    }
}

/* As in the keys role: SASLprep's form, then the octets as they came, for nobody too. */
static void passwords_are_prepared(void **state)
{
    static const char composed[] = "p\xc3\xa4ss", apart[] = "pa\xcc\x88ss";
    char prepared[TEXT_MAX], raw[TEXT_MAX];
    const struct {
        const char *verifier, *given; /* NULL: there is no such user */
        enum auth_verdict verdict;
        unsigned n_hashes;
    } rows[] = {
        {prepared, composed, AUTH_OK, 1}, {prepared, apart, AUTH_OK, 1}, {raw, apart, AUTH_OK, 2},
        {raw, composed, AUTH_BAD, 1},     {NULL, composed, AUTH_BAD, 1}, {NULL, apart, AUTH_BAD, 2},
    };
    UNUSED(state);
    make_verifier(composed, prepared);
    make_verifier(apart, raw);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t n = the->self->count.hashes;
        says(&the->sqlite, rows[i].verifier == NULL ? TABLE_SAYS_NOBODY : TABLE_SAYS_VERIFIER, false,
             rows[i].verifier);
        ask_about(i, "joe", "lite.example", rows[i].given);
        work_all();
        check_answer(i, rows[i].verdict, "");
        assert_int_equal(the->self->count.hashes - n, rows[i].n_hashes);
    }
}

static void bad_questions(void **state)
{
    static char big[SASL_PASSWORD_MAX + 1];
    const struct ipc_auth_ask good = {
        .kind = AUTH_PASSWORD, .file = STR("lite.example"), .user = STR("joe"), .secret = STR("x")};
    struct ipc_auth_ask bad[5] = {good, good, good, good, good};
    UNUSED(state);
    memset(big, 'x', sizeof big);
    bad[0].kind = AUTH_SCRAM_FIRST;
    bad[1].user = STR_NIL;
    bad[2].user = str_of(big, SMTP_LOCAL_PART_MAX + 1);
    bad[3].file = str_of(big, SMTP_DOMAIN_MAX + 1);
    bad[4].secret = str_of(big, sizeof big);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ask_raw(&bad[i]);
        assert_true(the->auth.is_closed);
        give_channel(ROLE_AUTH, &the->auth);
        tables_role.peer(the->self, ROLE_AUTH, 0, &the->auth);
    }
    static const char *const elsewhere[] = {"pam.example", "none.example", "nowhere.example", ""};
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) { /* of another configuration */
        ask_about(i, "joe", elsewhere[i], "x");
        check_answer(i, AUTH_TEMPORARY, "nothing is known");
    }
    assert_int_equal(the->workers.n, 0);
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* One that broke while it was kept is made anew, and the question asked again, once. */
static void a_kept_session_breaks(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    says(&the->sqlite, TABLE_SAYS_NOTHING, true, "broken");
    says(&the->sqlite, TABLE_SAYS_VERIFIER, false, verifier_of_secret());
    says(&the->sqlite, TABLE_SAYS_NOTHING, true, "broken again");
    joe_asks(1);
    work_all();
    check_answer(1, AUTH_BAD, "");
    joe_asks(2);
    work_all();
    check_answer(2, AUTH_OK, "");
    assert_int_equal(the->sqlite.n_opened, 2);
    assert_int_equal(the->sqlite.n_closed, 1);
    joe_asks(3); /* both the kept one and the new one */
    work_all();
    check_answer(3, AUTH_TEMPORARY, "broken again");
    assert_int_equal(the->sqlite.n_asked, 5);
    assert_true(has_logged("table.down"));
    forget_script(&the->sqlite);
    says(&the->sqlite, TABLE_SAYS_NOTHING, true, "new, and broken");
    joe_asks(4);
    work_all();
    check_answer(4, AUTH_TEMPORARY, "new, and broken");
    assert_int_equal(the->sqlite.n_asked, 6); /* a new one is not tried twice */
    assert_false(has_logged("table.down"));   /* which is known */
}

static void it_is_away_and_comes_back(void **state)
{
    UNUSED(state);
    the->sqlite.refuses = "can't connect";
    says(&the->sqlite, TABLE_SAYS_VERIFIER, false, verifier_of_secret());
    for (uint64_t i = 0; i < 3; i++) {
        joe_asks(i);
        work_all();
        check_answer(i, AUTH_TEMPORARY, "sqlite:/users.db: can't connect");
        assert_int_equal(has_logged("table.down"), i == 0);
    }
    the->sqlite.refuses = NULL;
    joe_asks(9);
    work_all();
    check_answer(9, AUTH_OK, "");
    assert_true(has_logged("table.up"));
}

/* Each table has its share of threads, and those that wait go on in order. */
static void slow_tables(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    says(&the->pg, TABLE_SAYS_NOBODY, false, NULL);
    for (uint64_t i = 0; i < 10; i++)
        joe_asks(i);
    assert_int_equal(the->workers.n, TABLES_SESSIONS_MAX);
    ask_about(100, "joe", "pg.example", "x");
    assert_int_equal(the->workers.n, TABLES_SESSIONS_MAX + 1);
    work(TABLES_SESSIONS_MAX);
    check_answer(100, AUTH_BAD, "");
    work(2);
    check_answer(2, AUTH_BAD, "");
    assert_int_equal(the->workers.n, TABLES_SESSIONS_MAX); /* the fifth one took its place */
    for (size_t i = 0; i < 9; i++)
        work(0);
    for (uint64_t i = 0; i < 10; i++) {
        if (i != 2)
            check_answer(i, AUTH_BAD, "");
    }
    assert_int_equal(the->sqlite.n_opened, TABLES_SESSIONS_MAX);
    assert_int_equal(the->workers.n_threads, TABLES_THREADS);
    assert_true((int)TABLES_THREADS >= (int)CONFIG_TABLES_MAX);
}

/* With many tables the threads are still enough for each. */
static void shares(void **state)
{
    static struct auth_backend many[CONFIG_TABLES_MAX];
    static char names[CONFIG_TABLES_MAX][24], domain_names[CONFIG_TABLES_MAX][24];
    static struct local_domain all[CONFIG_TABLES_MAX];
    UNUSED(state);
    for (uint32_t i = 0; i < CONFIG_TABLES_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "sqlite:/%02u", i);
        (void)snprintf(domain_names[i], sizeof domain_names[i], "d%02u.example", i);
        many[i] = (struct auth_backend){.kind = AUTH_BY_SQLITE,
                                        .table = {.server = str_from_c(names[i]),
                                                  .place = str_from_c(names[i] + 7),
                                                  .question = STR("$1")}};
        all[i] = (struct local_domain){.name = str_from_c(domain_names[i]), .auth = i + 1};
    }
    the->config2 = (struct config){.policy = {.domains = all, .n_domains = CONFIG_TABLES_MAX},
                                   .auths = many,
                                   .n_auths = CONFIG_TABLES_MAX};
    the->env.config = &the->config2;
    tables_role.reload(the->self, &the->config);
    assert_int_equal(the->n_released, 1);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    for (uint64_t i = 0; i < CONFIG_TABLES_MAX; i++) {
        ask_about(2 * i, "joe", domain_names[i], "x");
        ask_about(2 * i + 1, "joe", domain_names[i], "x");
    }
    assert_int_equal(the->workers.n, TABLES_THREADS);
    work_all();
    assert_int_equal(the->auth.n_sent, 2 * CONFIG_TABLES_MAX);
}

static void time_is_over(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_VERIFIER, false, verifier_of_secret());
    for (uint64_t i = 0; i < TABLES_SESSIONS_MAX + 1; i++)
        joe_asks(i);
    pass(TABLES_ANSWER_MS / 2);
    joe_asks(10);
    pass(TABLES_ANSWER_MS / 2);
    for (uint64_t i = 0; i < TABLES_SESSIONS_MAX + 1; i++) /* with a thread or waiting */
        check_answer(i, AUTH_TEMPORARY, "no answer came in time");
    check_silence();
    work(0); /* nobody is told what came of it, and the next one has its place */
    check_silence();
    assert_int_equal(the->workers.n, TABLES_SESSIONS_MAX);
    work_all();
    check_answer(10, AUTH_OK, "");
    assert_int_equal(the->sqlite.limit_ms, TABLES_ANSWER_MS / 2); /* what was left of its time */
    assert_int_equal(the->self->n_asks, 0);
}

static void a_library_hangs(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    joe_asks(1);
    for (unsigned i = 0; i < TABLES_HANG_MS / TABLES_TICK_MS - 1; i++)
        pass(TABLES_TICK_MS);
    assert_int_equal(the->n_failed, 0);
    pass(TABLES_TICK_MS);
    assert_int_equal(the->n_failed, 1); /* the process ends */
}

static void idle_sessions_end(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    joe_asks(1);
    work_all();
    pass(TABLES_IDLE_MS - 1);
    assert_int_equal(the->workers.n, 0);
    pass(TABLES_TICK_MS);
    assert_int_equal(the->workers.n, 1); /* to end it is a thread's work */
    work_all();
    assert_int_equal(the->sqlite.n_closed, 1);
    joe_asks(2);
    work_all();
    assert_int_equal(the->sqlite.n_opened, 2);
}

static void too_many(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    for (uint64_t i = 0; i < TABLES_WAITING_MAX; i++)
        joe_asks(i);
    check_silence();
    joe_asks(1000);
    check_answer(1000, AUTH_TEMPORARY, "too many");
    work_all();
    for (uint64_t i = 0; i < TABLES_WAITING_MAX; i++)
        check_answer(i, AUTH_BAD, "");
}

/* ---- names and passwords --------------------------------------------------------------------- */

static void addresses(void **state)
{
    static const char *const two[] = {"192.0.2.1", "2001:db8::2"};
    UNUSED(state);
    give_secret("/ldap.word", "w");
    the->ldap.refuses = "refused";
    ask_about(1, "joe", "dir.example", "x");
    ask_about(2, "joe", "dir.example", "x");
    uint64_t token = asked_of_lookup("dir.test");
    assert_int_equal(the->lookup.n_seen, the->lookup.n_sent); /* once for both */
    lookup_says(token + 7, DNS_STATUS_OK, two, 2, 60);        /* not what was asked */
    assert_int_equal(the->workers.n, 0);
    lookup_says(token, DNS_STATUS_OK, two, 2, 60);
    work(0);
    check_answer(1, AUTH_TEMPORARY, "ldaps://dir.test: refused");
    assert_int_equal(the->ldap.n_opened, 2); /* one after another */
    assert_int_equal(the->ldap.from[0].kind, NETADDR_IP4);
    assert_int_equal(the->ldap.from[1].kind, NETADDR_IP6);
    assert_int_equal(the->ldap.from[1].port, 636);
    work_all();
    check_answer(2, AUTH_TEMPORARY, "refused");
    pass(59 * 1000);
    ask_about(3, "joe", "dir.example", "x");
    assert_int_equal(the->workers.n, 1); /* they are still known */
    work_all();
    check_answer(3, AUTH_TEMPORARY, "refused");
    pass(1000);
    ask_about(4, "joe", "dir.example", "x");
    lookup_says(asked_of_lookup("dir.test"), DNS_STATUS_NXDOMAIN, NULL, 0, 60);
    check_answer(4, AUTH_TEMPORARY, "ldaps://dir.test: the name has no address (DNS: no such name)");
}

static void dns_is_in_trouble(void **state)
{
    static const char *const one[] = {"192.0.2.1"};
    UNUSED(state);
    give_secret("/ldap.word", "w");
    says(&the->ldap, TABLE_SAYS_YES, false, NULL);
    ask_about(1, "joe", "dir.example", "x");
    lookup_says(asked_of_lookup("dir.test"), DNS_STATUS_TEMPORARY, NULL, 0, 0);
    check_answer(1, AUTH_TEMPORARY, "no address");
    ask_about(2, "joe", "dir.example", "x");
    lookup_says(asked_of_lookup("dir.test"), DNS_STATUS_OK, one, 1, 1);
    work_all();
    check_answer(2, AUTH_OK, "");
    pass(2000);
    ask_about(3, "joe", "dir.example", "x");
    lookup_says(asked_of_lookup("dir.test"), DNS_STATUS_TEMPORARY, NULL, 0, 0);
    work_all();
    check_answer(3, AUTH_OK, ""); /* what it said last still counts */
}

static void lookup_goes_and_comes(void **state)
{
    static const char *const one[] = {"192.0.2.1"};
    UNUSED(state);
    give_secret("/ldap.word", "w");
    says(&the->ldap, TABLE_SAYS_YES, false, NULL);
    ask_about(1, "joe", "dir.example", "x");
    (void)asked_of_lookup("dir.test");
    the->lookup.user->on_closed(the->lookup.arg, &the->lookup);
    assert_true(the->lookup.is_closed);
    ask_about(2, "joe", "dir.example", "x");
    check_silence();
    give_channel(ROLE_LOOKUP, &the->lookup);
    tables_role.peer(the->self, ROLE_LOOKUP, 0, &the->lookup);
    lookup_says(asked_of_lookup("dir.test"), DNS_STATUS_OK, one, 1, 60);
    work_all();
    check_answer(1, AUTH_OK, "");
    check_answer(2, AUTH_OK, "");
    the->lookup.user->on_message(the->lookup.arg, &the->lookup, IPC_HOST_ANSWER, STR("x"), NULL);
    assert_true(the->lookup.is_closed);
}

static void our_passwords(void **state)
{
    static const char *const one[] = {"192.0.2.1"};
    UNUSED(state);
    says(&the->ldap, TABLE_SAYS_YES, false, NULL);
    ask_about(1, "joe", "dir.example", "x");
    check_answer(1, AUTH_TEMPORARY, "our password there (/ldap.word) is not at hand");
    give_secret("/other", "x"); /* whose is that? */
    ask_about(2, "joe", "dir.example", "x");
    check_answer(2, AUTH_TEMPORARY, "not at hand");
    give_secret("/ldap.word", "first\n");
    ask_about(3, "joe", "dir.example", "x");
    lookup_says(asked_of_lookup("dir.test"), DNS_STATUS_OK, one, 1, 600);
    work_all();
    check_answer(3, AUTH_OK, "");
    assert_string_equal(the->ldap.password, "first");
    give_secret("/ldap.word", "first\n"); /* as it was */
    ask_about(4, "joe", "dir.example", "x");
    work_all();
    check_answer(4, AUTH_OK, "");
    assert_int_equal(the->ldap.n_opened, 1);
    give_secret("/ldap.word", "second\n");
    assert_true(has_logged("password.changed"));
    ask_about(5, "joe", "dir.example", "x");
    work_all();
    check_answer(5, AUTH_OK, "");
    assert_int_equal(the->ldap.n_closed, 1); /* the session that the first one had opened */
    assert_string_equal(the->ldap.password, "second");
    assert_false(has_logged("second"));
    tables_role.from_super(the->self, IPC_SUP_SECRET, STR("x"), NULL); /* nonsense does no harm */
    assert_true(has_logged("tables.not_understood"));
}

/* ---- the configuration, the end -------------------------------------------------------------- */

static void reloads(void **state)
{
    static struct auth_backend changed[ARRAY_LEN(backends)];
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    says(&the->pg, TABLE_SAYS_NOBODY, false, NULL);
    joe_asks(1);
    joe_asks(2);
    work(1);
    check_answer(2, AUTH_BAD, ""); /* its session is kept */
    ask_about(3, "joe", "pg.example", "x");
    the->config2 = the->config;
    memcpy(changed, backends, sizeof backends);
    changed[3].table.question = STR("SELECT $3");
    the->config2.auths = changed;
    the->config2.authorities = STR("others");
    the->env.config = &the->config2;
    assert_int_equal(the->n_trusted, 1);
    tables_role.reload(the->self, &the->config);
    check_answer(1, AUTH_TEMPORARY, "the configuration has changed");
    assert_int_equal(the->n_trusted, 2);
    assert_true(str_eq(the->trusted, STR("others")));
    work_all();
    check_answer(3, AUTH_BAD, ""); /* of one that stayed */
    check_silence();
    assert_int_equal(the->sqlite.n_closed, 2); /* those of the table that is gone, the busy one at its end */
    joe_asks(4);
    work_all();
    check_answer(4, AUTH_BAD, "");
    assert_string_equal(the->sqlite.question, "SELECT $3");
    ask_about(5, "joe", "pg.example", "x");
    work_all();
    check_answer(5, AUTH_BAD, "");
    assert_int_equal(the->pg.n_opened, 2); /* with the other anchors */
}

static void auth_goes_and_comes(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    for (uint64_t i = 0; i < TABLES_SESSIONS_MAX + 1; i++)
        joe_asks(i);
    the->auth.user->on_closed(the->auth.arg, &the->auth);
    assert_int_equal(the->self->n_asks, 0);
    give_channel(ROLE_AUTH, &the->auth);
    tables_role.peer(the->self, ROLE_AUTH, 0, &the->auth);
    joe_asks(0); /* a token as before */
    work_all();
    check_answer(0, AUTH_BAD, "");
    check_silence();
    the->auth.user->on_message(the->auth.arg, &the->auth, IPC_AUTH_ANSWER, STR(""), NULL);
    assert_true(the->auth.is_closed);
}

static void draining(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    joe_asks(1);
    tables_role.drain(the->self, the->now_ms + 60 * 1000);
    assert_int_equal(the->n_drained, 0);
    work_all();
    check_answer(1, AUTH_BAD, "");
    assert_int_equal(the->n_drained, 1);
    pass(60 * 1000);
    assert_int_equal(the->n_drained, 1);
}

static void drain_deadline(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    joe_asks(1);
    tables_role.drain(the->self, the->now_ms + 10);
    pass(10);
    assert_int_equal(the->n_drained, 1);
    work_all();
    assert_int_equal(the->n_drained, 1);
}

/* No room for an answer: auth has its own deadline. */
static void no_room(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOBODY, false, NULL);
    joe_asks(1);
    the->auth.is_full = true;
    work_all();
    assert_true(has_logged("tables.answer_lost"));
    the->auth.is_full = false;
    joe_asks(2);
    work_all();
    check_answer(2, AUTH_BAD, "");
}

/* Passwords of users are nowhere in a log, nor in what is kept. */
static void silence(void **state)
{
    UNUSED(state);
    says(&the->sqlite, TABLE_SAYS_NOTHING, true, "broken");
    ask_about(1, "joe", "lite.example", "a secret of joe's");
    work_all();
    check_answer(1, AUTH_TEMPORARY, "broken");
    assert_false(has_logged("a secret"));
    pass(2 * TABLES_ANSWER_MS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        T(by_a_verifier),
        T(passwords_are_prepared),
        T(what_it_may_say),
        T(by_itself),
        T(nobody_costs_the_same),
        T(bad_questions),
        T(a_kept_session_breaks),
        T(it_is_away_and_comes_back),
        T(slow_tables),
        T(shares),
        T(time_is_over),
        T(a_library_hangs),
        T(idle_sessions_end),
        T(too_many),
        T(addresses),
        T(dns_is_in_trouble),
        T(lookup_goes_and_comes),
        T(our_passwords),
        T(reloads),
        T(auth_goes_and_comes),
        T(draining),
        T(drain_deadline),
        T(no_room),
        T(silence),
    };
#undef T
    return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
