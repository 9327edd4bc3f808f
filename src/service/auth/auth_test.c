/* The role's questions to Dovecot and to PAM's processes, and everything that can be wrong with them. */
#include "service/auth/auth_testing.h"

#include <stdio.h>

/* ---- Dovecot --------------------------------------------------------------------------------- */

static struct conn *up(struct fixture *f, uint64_t token)
{
    joe_asks(f, token);
    struct conn *c = connected(f);
    buf_reset(&c->out);
    dovecot_says(c, HELLO);
    return c;
}

/* The number of the last question that was asked. */
static unsigned last_id(const struct fixture *f)
{
    return f->self->next_id;
}

static void dovecot_answers(struct fixture *f, unsigned id, const char *word, const char *rest)
{
    char line[512];
    assert_true(snprintf(line, sizeof line, "%s\t%u\t%s\n", word, id, rest) < (int)sizeof line);
    dovecot_says(f->conn, line);
}

static void one_connection_for_all(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->n_connects, 0); /* nobody is asked before there is a question */
    joe_asks(f, 77);
    assert_string_equal(f->connecting.to.path, "/run/dovecot/auth-client");
    struct conn *c = connected(f);
    assert_true(str_starts(buf_str(&c->out), STR("VERSION\t1\t1\nCPID\t")));
    assert_int_equal(str_find(buf_str(&c->out), STR("AUTH")), STR_NPOS); /* not before it is ready */
    buf_reset(&c->out);
    dovecot_says(c, HELLO);
    assert_true(str_eq(buf_str(&c->out), STR("AUTH\t1\tPLAIN\tservice=smtp\tnologin\tsecured\trip=192.0.2.1\t"
                                             "resp=AGpvZUBhLmV4YW1wbGUAc2VjcmV0\n")));
    check_nothing_sent(&f->smtpd);
    dovecot_says(c, "OK\t1\tuser=joe@a.example\n");
    check_answer(&f->smtpd, 77, AUTH_OK, "joe@a.example");
    buf_reset(&c->out);
    ask_about(&f->smtpd, 78, "joe", "c.example", "x", ""); /* another domain of the same Dovecot */
    assert_true(str_starts(buf_str(&c->out), STR("AUTH\t2\tPLAIN\tservice=smtp\tnologin\tsecured\tresp=")));
    joe_asks(f, 79);
    dovecot_says(c, "FAIL\t3\tuser=joe@a.example\nOK\t2\tuser=joe@c.example\n"); /* in any order */
    check_answer(&f->smtpd, 79, AUTH_BAD, "");
    check_answer(&f->smtpd, 78, AUTH_OK, "joe@c.example");
    assert_int_equal(f->n_connects, 1);
    assert_true(f->self->count.right == 2 && f->self->count.wrong == 1);
}

static void what_dovecot_may_say(void **state)
{
    static const struct {
        const char *word, *rest;
        enum auth_verdict verdict;
        const char *user;
    } rows[] = {
        {"OK", "user=joe@a.example", AUTH_OK, "joe@a.example"},
        {"OK", "user=joe", AUTH_OK, "joe@a.example"}, /* of the domain that was asked about */
        {"OK", "user=Joe@A.Example", AUTH_OK, "joe@a.example"},
        {"OK", "user=ann@a.example", AUTH_OK, "ann@a.example"}, /* another of its names */
        {"OK", "user=max@c.example", AUTH_OK, "max@c.example"}, /* another of its domains */
        {"OK", "user=eve@a.example", AUTH_BAD, ""},             /* has no mailbox */
        {"OK", "user=joe@b.example", AUTH_BAD, ""},             /* whose password is PAM's business */
        {"OK", "user=joe@file.example", AUTH_BAD, ""},          /* or a file's */
        {"OK", "user=joe@elsewhere.example", AUTH_BAD, ""},
        {"OK", "user=joe/phone@a.example", AUTH_BAD, ""},
        {"OK", "user=@", AUTH_BAD, ""},
        {"OK", "", AUTH_TEMPORARY, ""},
        {"FAIL", "user=joe@a.example", AUTH_BAD, ""},
        {"FAIL", "", AUTH_BAD, ""},
        {"FAIL", "user=joe\ttemp", AUTH_TEMPORARY, ""},
        {"FAIL", "user=joe\tcode=temp_fail\treason=no store", AUTH_TEMPORARY, ""},
        {"CONT", "", AUTH_TEMPORARY, ""},
    };
    struct fixture *f = *state;
    (void)up(f, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0)
            joe_asks(f, i + 1);
        dovecot_answers(f, last_id(f), rows[i].word, rows[i].rest);
        check_answer(&f->smtpd, i + 1, rows[i].verdict, rows[i].user);
        f->now_ms += GUESS_USER_REFILL_MS; /* none is too many */
    }
    assert_int_not_equal(str_find(buf_str(&f->log_text), STR("no store")), STR_NPOS);
    assert_int_equal(str_find(buf_str(&f->log_text), STR("secret")), STR_NPOS);
}

/* It costs the same, and it is not his password that is looked at. */
static void who_has_no_mailbox(void **state)
{
    struct fixture *f = *state;
    struct conn *c = up(f, 1);
    dovecot_says(c, "OK\t1\tuser=joe@a.example\n");
    check_answer(&f->smtpd, 1, AUTH_OK, "joe@a.example");
    buf_reset(&c->out);
    ask_about(&f->smtpd, 2, "root", "a.example", "secret", "192.0.2.1");
    assert_int_not_equal(str_find(buf_str(&c->out), STR("resp=AEBAYS5leGFtcGxlAHNlY3JldA==")), STR_NPOS);
    dovecot_says(c, "OK\t2\tuser=joe@a.example\n");
    check_answer(&f->smtpd, 2, AUTH_BAD, "");
}

static void an_answer_in_pieces(void **state)
{
    struct fixture *f = *state;
    struct conn *c = up(f, 1);
    for (const char *p = "OK\t1\tuser=joe@a.example\n"; *p != '\0'; p++) {
        check_nothing_sent(&f->smtpd);
        dovecot_says(c, (char[]){*p, '\0'});
    }
    check_answer(&f->smtpd, 1, AUTH_OK, "joe@a.example");
    dovecot_says(c, "OK\t1\tuser=joe@a.example\nOK\t99\tuser=x\n"); /* nobody asks that */
    check_nothing_sent(&f->smtpd);
    assert_false(c->is_closed);
}

/* It takes what it takes, an octet at a time; questions leave one behind the other. */
static void a_slow_reader(void **state)
{
    struct fixture *f = *state;
    joe_asks(f, 1);
    joe_asks(f, 2);
    struct conn *c = connected(f);
    dovecot_says(c, HELLO);
    c->room = 0;
    joe_asks(f, 3);
    joe_asks(f, 4);
    buf_reset(&c->out);
    for (unsigned i = 0; i < 400; i++) {
        assert_true((c->want & CONN_READABLE) != 0);
        c->room = 1;
        ready(c);
    }
    assert_int_equal(c->want, CONN_READABLE); /* nothing is left */
    const char *want = "AUTH\t3\tPLAIN\tservice=smtp\tnologin\tsecured\trip=192.0.2.1\t"
                       "resp=AGpvZUBhLmV4YW1wbGUAc2VjcmV0\n"
                       "AUTH\t4\tPLAIN\tservice=smtp\tnologin\tsecured\trip=192.0.2.1\t"
                       "resp=AGpvZUBhLmV4YW1wbGUAc2VjcmV0\n";
    assert_true(str_eq(buf_str(&c->out), str_from_c(want)));
    dovecot_says(c, "OK\t4\tuser=joe\nOK\t3\tuser=joe\nOK\t1\tuser=joe\nOK\t2\tuser=joe\n");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(next_answer(&f->smtpd).verdict, AUTH_OK);
}

/* ---- Dovecot fails --------------------------------------------------------------------------- */

static void check_log(struct fixture *f, const char *event, size_t n)
{
    struct str rest = buf_str(&f->log_text);
    size_t at, found = 0;
    while ((at = str_find(rest, str_from_c(event))) != STR_NPOS) {
        rest = str_skip(rest, at + 1);
        found++;
    }
    assert_int_equal(found, n);
}

static void it_is_not_there(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 1; i <= 50; i++) { /* which is no guess */
        joe_asks(f, i);
        refused(f, ERR_NOTFOUND);
        check_answer(&f->smtpd, i, AUTH_TEMPORARY, "");
    }
    check_log(f, "auth.down", 1);
    f->has_no_descriptors = true;
    joe_asks(f, 51);
    check_answer(&f->smtpd, 51, AUTH_TEMPORARY, "");
    f->has_no_descriptors = false;
    f->n_connects = 0;
    (void)up(f, 52);
    check_log(f, "auth.up", 1);
    dovecot_answers(f, last_id(f), "OK", "user=joe");
    check_answer(&f->smtpd, 52, AUTH_OK, "joe@a.example");
}

static void it_does_not_say_hello(void **state)
{
    struct fixture *f = *state;
    joe_asks(f, 1);
    joe_asks(f, 2);
    pass(f, AUTH_HELLO_MS); /* no connection */
    assert_false(f->connecting.is_open);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    check_answer(&f->smtpd, 2, AUTH_TEMPORARY, "");
    joe_asks(f, 3);
    struct conn *c = connected(f);
    dovecot_says(c, "VERSION\t1\t2\nMECH\tPLAIN\n");
    pass(f, AUTH_HELLO_MS - 1);
    check_nothing_sent(&f->smtpd);
    pass(f, 1); /* no DONE */
    assert_true(c->is_closed);
    check_answer(&f->smtpd, 3, AUTH_TEMPORARY, "");
    static const char *const bad[] = {"220 mx ESMTP\r\n", "VERSION\t2\t0\n",
                                      "VERSION\t1\t2\nMECH\tX\nDONE\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        joe_asks(f, 4 + i);
        c = connected(f);
        dovecot_says(c, bad[i]);
        assert_true(c->is_closed);
        check_answer(&f->smtpd, 4 + i, AUTH_TEMPORARY, "");
    }
}

static void it_breaks_off(void **state)
{
    struct fixture *f = *state;
    struct conn *c = up(f, 1);
    c->is_ended = true; /* with a question open */
    ready(c);
    assert_true(c->is_closed);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    check_log(f, "auth.down", 1);
    c = up(f, 2);
    dovecot_says(c, "OK\t2\tuser=joe\n");
    check_answer(&f->smtpd, 2, AUTH_OK, "joe@a.example");
    c->is_ended = true; /* while nobody asks: that is in order */
    ready(c);
    assert_true(c->is_closed);
    check_log(f, "auth.down", 1);
    c = up(f, 3);
    c->is_broken = true; /* can't be written to */
    joe_asks(f, 4);
    check_answer(&f->smtpd, 3, AUTH_TEMPORARY, "");
    check_answer(&f->smtpd, 4, AUTH_TEMPORARY, "");
    c = up(f, 5);
    dovecot_says(c, "OK\tgarbage\n");
    assert_true(c->is_closed);
    check_answer(&f->smtpd, 5, AUTH_TEMPORARY, "");
}

static void it_is_silent(void **state)
{
    struct fixture *f = *state;
    struct conn *c = up(f, 1);
    f->now_ms += AUTH_ANSWER_MS / 2;
    joe_asks(f, 2);
    pass(f, AUTH_ANSWER_MS / 2 - 1);
    check_nothing_sent(&f->smtpd);
    pass(f, 1);
    check_answer(&f->smtpd, 2, AUTH_TEMPORARY, ""); /* it would wait in vain */
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    assert_true(c->is_closed);
    c = up(f, 3);
    f->now_ms += 1;
    joe_asks(f, 4);
    dovecot_says(c, "OK\t4\tuser=joe\n"); /* it lives: only this one's time is over */
    check_answer(&f->smtpd, 4, AUTH_OK, "joe@a.example");
    pass(f, AUTH_ANSWER_MS);
    check_answer(&f->smtpd, 3, AUTH_TEMPORARY, "");
    assert_false(c->is_closed);
    dovecot_says(c, "OK\t3\tuser=joe\n"); /* too late */
    check_nothing_sent(&f->smtpd);
}

static void no_more_than_256(void **state)
{
    struct fixture *f = *state;
    char user[16];
    for (unsigned i = 0; i < AUTH_WAITING_MAX; i++) {
        assert_true(snprintf(user, sizeof user, "u%u", i) > 0);
        ask_about(&f->smtpd, i, user, "a.example", "x", "");
    }
    check_nothing_sent(&f->smtpd);
    ask_about(&f->smtpd, 999, "joe", "a.example", "x", "");
    check_answer(&f->smtpd, 999, AUTH_TEMPORARY, "");
    assert_int_equal(f->self->count.busy, 1);
    refused(f, ERR_NOTFOUND);
    assert_int_equal(f->smtpd.n_sent, AUTH_WAITING_MAX + 1);
    joe_asks(f, 1000); /* there is room again */
    check_log(f, "auth.down", 1);
    refused(f, ERR_NOTFOUND);
}

/* ---- guesses --------------------------------------------------------------------------------- */

static void guesses_are_limited(void **state)
{
    struct fixture *f = *state;
    (void)up(f, 1);
    dovecot_answers(f, 1, "FAIL", "");
    for (unsigned i = 1; i < GUESS_USER_BURST; i++) {
        ask_about(&f->smtpd, 1, i % 2 == 0 ? "joe" : "JOE", "a.example", "x", "");
        dovecot_answers(f, last_id(f), "FAIL", "");
    }
    for (unsigned i = 0; i < GUESS_USER_BURST; i++)
        assert_int_equal(next_answer(&f->smtpd).verdict, AUTH_BAD);
    unsigned id = last_id(f);
    joe_asks(f, 2);
    check_answer(&f->smtpd, 2, AUTH_TOO_MANY, "");
    assert_int_equal(last_id(f), id); /* nobody was asked */
    assert_int_equal(f->self->count.too_many, 1);
    ask_about(&f->smtpd, 3, "joe", "c.example", "x", ""); /* another user */
    dovecot_answers(f, last_id(f), "OK", "user=joe@c.example");
    check_answer(&f->smtpd, 3, AUTH_OK, "joe@c.example");
    f->now_ms += GUESS_USER_REFILL_MS;
    joe_asks(f, 4);
    dovecot_answers(f, last_id(f), "OK", "user=joe");
    check_answer(&f->smtpd, 4, AUTH_OK, "joe@a.example");
}

static void right_ones_are_free(void **state)
{
    struct fixture *f = *state;
    (void)up(f, 0);
    for (unsigned i = 0; i < 2 * GUESS_CLIENT_BURST; i++) {
        dovecot_answers(f, last_id(f), "OK", "user=joe");
        check_answer(&f->smtpd, i, AUTH_OK, "joe@a.example");
        joe_asks(f, i + 1);
    }
}

/* ---- askers ---------------------------------------------------------------------------------- */

static void an_asker_goes(void **state)
{
    struct fixture *f = *state;
    give_channel(f, ROLE_SMTPD, 1, &f->smtpd2);
    auth_role.peer(f->self, ROLE_SMTPD, 1, &f->smtpd2);
    struct conn *c = up(f, 1);
    ask_about(&f->smtpd2, 2, "ann", "a.example", "x", "");
    f->smtpd2.user->on_closed(f->smtpd2.arg, &f->smtpd2);
    dovecot_says(c, "FAIL\t2\nOK\t1\tuser=joe\n");
    check_nothing_sent(&f->smtpd2);
    assert_int_equal(f->self->count.wrong, 1); /* but counted */
    check_answer(&f->smtpd, 1, AUTH_OK, "joe@a.example");
}

static void an_asker_without_room(void **state)
{
    struct fixture *f = *state;
    struct conn *c = up(f, 1);
    joe_asks(f, 2);
    f->smtpd.is_full = true;
    dovecot_says(c, "OK\t1\tuser=joe\nFAIL\t2\n");
    assert_true(f->smtpd.is_paused);
    auth_role.drain(f->self, f->now_ms + 1000);
    assert_int_equal(f->n_drained, 0);
    f->smtpd.is_full = false;
    f->smtpd.user->on_room(f->smtpd.arg, &f->smtpd);
    check_answer(&f->smtpd, 1, AUTH_OK, "joe@a.example");
    check_answer(&f->smtpd, 2, AUTH_BAD, "");
    assert_false(f->smtpd.is_paused);
    assert_int_equal(f->n_drained, 1);
}

static void questions_that_there_are_not(void **state)
{
    struct fixture *f = *state;
    char big[SASL_PASSWORD_MAX + 1];
    memset(big, 'x', sizeof big);
    const struct ipc_auth_ask good = {
        .kind = AUTH_PASSWORD, .file = STR("a.example"), .user = STR("joe"), .secret = STR("x")};
    struct ipc_auth_ask bad[6] = {good, good, good, good, good, good};
    bad[0].kind = AUTH_SCRAM_FIRST;
    bad[1].user = STR_NIL;
    bad[2].user = str_of(big, SMTP_LOCAL_PART_MAX + 1);
    bad[3].file = str_of(big, SMTP_DOMAIN_MAX + 1);
    bad[4].secret = str_of(big, sizeof big);
    bad[5].client = str_of(big, NETADDR_TEXT_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f->smtpd2 = (struct channel){.is_closed = false};
        give_channel(f, ROLE_SMTPD, 1, &f->smtpd2);
        auth_role.peer(f->self, ROLE_SMTPD, 1, &f->smtpd2);
        ask_raw(&f->smtpd2, &bad[i]);
        assert_true(f->smtpd2.is_closed);
    }
    static const char *const domains_without[] = {"file.example", "elsewhere.example", ""};
    for (size_t i = 0; i < ARRAY_LEN(domains_without); i++) {
        ask_about(&f->smtpd, i, "joe", domains_without[i], "x", "");
        check_answer(&f->smtpd, i, AUTH_TEMPORARY, "");
    }
    assert_int_equal(f->n_connects, 0);
}

/* ---- PAM ------------------------------------------------------------------------------------- */

static void max_asks(struct fixture *f, uint64_t token)
{
    ask_about(&f->smtpd, token, "max", "b.example", "secret", "192.0.2.1");
}

static void pam_answers(struct fixture *f, size_t line, uint64_t token, enum auth_verdict verdict)
{
    char mem[256];
    struct buf b;
    struct ipc_auth_answer m = {.token = token, .verdict = (uint8_t)verdict};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_answer(&m, &b));
    say(&f->pam[line], IPC_AUTH_ANSWER, &b);
}

static struct ipc_auth_ask asked_of_pam(struct channel *c)
{
    struct ipc_auth_ask m;
    assert_true(c->n_seen < c->n_sent);
    const struct sent *s = &c->sent[c->n_seen++];
    assert_int_equal(s->type, IPC_AUTH_ASK);
    assert_true(ipc_decode_auth_ask(str_of(s->bytes, s->n), &m));
    return m;
}

static void pam_lines(void **state)
{
    struct fixture *f = *state;
    uint64_t ids[ROLE_PAM_N + 1];
    for (size_t i = 0; i < ROLE_PAM_N; i++) {
        max_asks(f, i);
        struct ipc_auth_ask m = asked_of_pam(&f->pam[i]);
        assert_true(str_eq(m.file, STR("waxwing")) && str_eq(m.user, STR("max")));
        assert_true(str_eq(m.secret, STR("secret")) && str_eq(m.client, STR("192.0.2.1")));
        ids[i] = m.token;
    }
    max_asks(f, 100); /* waits */
    for (size_t i = 0; i < ROLE_PAM_N; i++)
        check_nothing_sent(&f->pam[i]);
    pam_answers(f, 2, ids[2], AUTH_OK);
    check_answer(&f->smtpd, 2, AUTH_OK, "max@b.example");
    ids[2] = asked_of_pam(&f->pam[2]).token;
    pam_answers(f, 0, ids[0], AUTH_BAD);
    check_answer(&f->smtpd, 0, AUTH_BAD, "");
    pam_answers(f, 1, ids[1], AUTH_TEMPORARY);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    pam_answers(f, 2, ids[2], AUTH_OK);
    check_answer(&f->smtpd, 100, AUTH_OK, "max@b.example");
    ask_about(&f->smtpd, 101, "root", "b.example", "x", "");
    struct ipc_auth_ask m = asked_of_pam(&f->pam[0]);
    assert_true(str_eq(m.user, STR("@"))); /* who has no mailbox here is not asked about */
    pam_answers(f, 0, m.token, AUTH_OK);
    check_answer(&f->smtpd, 101, AUTH_BAD, "");
}

static void a_pam_process_ends(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i <= ROLE_PAM_N; i++)
        max_asks(f, i);
    f->pam[1].user->on_closed(f->pam[1].arg, &f->pam[1]);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    uint64_t id = asked_of_pam(&f->pam[0]).token;
    pam_answers(f, 0, id, AUTH_OK);
    check_answer(&f->smtpd, 0, AUTH_OK, "max@b.example");
    assert_int_equal(f->pam[0].n_sent, 2); /* the one that waited */
    for (size_t i = 0; i < ROLE_PAM_N; i++) {
        if (!f->pam[i].is_closed)
            f->pam[i].user->on_closed(f->pam[i].arg, &f->pam[i]);
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(next_answer(&f->smtpd).verdict, AUTH_TEMPORARY);
    max_asks(f, 9); /* waits for one that comes back */
    check_nothing_sent(&f->smtpd);
    f->pam[3] = (struct channel){.is_closed = false};
    give_channel(f, ROLE_PAM, 3, &f->pam[3]);
    auth_role.peer(f->self, ROLE_PAM, 3, &f->pam[3]);
    pam_answers(f, 3, asked_of_pam(&f->pam[3]).token, AUTH_OK);
    check_answer(&f->smtpd, 9, AUTH_OK, "max@b.example");
}

/* Its process is asked nothing more until it has answered. */
static void a_module_hangs(void **state)
{
    struct fixture *f = *state;
    max_asks(f, 1);
    uint64_t id = asked_of_pam(&f->pam[0]).token;
    pass(f, AUTH_ANSWER_MS);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    max_asks(f, 2);
    check_nothing_sent(&f->pam[0]);
    pam_answers(f, 1, asked_of_pam(&f->pam[1]).token, AUTH_BAD);
    check_answer(&f->smtpd, 2, AUTH_BAD, "");
    pam_answers(f, 0, id, AUTH_OK); /* too late */
    check_nothing_sent(&f->smtpd);
    max_asks(f, 3);
    (void)asked_of_pam(&f->pam[0]);
}

static void a_pam_process_lies(void **state)
{
    struct fixture *f = *state;
    pam_answers(f, 0, 1, AUTH_OK); /* nobody asked */
    assert_true(f->pam[0].is_closed);
    max_asks(f, 1);
    pam_answers(f, 1, asked_of_pam(&f->pam[1]).token + 1, AUTH_OK); /* another question */
    assert_true(f->pam[1].is_closed);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    max_asks(f, 2);
    struct buf nothing = {0};
    say(&f->pam[2], IPC_AUTH_OFFER, &nothing);
    assert_true(f->pam[2].is_closed);
    check_answer(&f->smtpd, 2, AUTH_TEMPORARY, "");
}

/* ---- directories and databases --------------------------------------------------------------- */

static void ann_asks(struct fixture *f, uint64_t token)
{
    ask_about(&f->smtpd, token, "Ann", "d.example", "secret", "192.0.2.1");
}

static void tables_answer(struct fixture *f, uint64_t token, enum auth_verdict verdict, const char *why)
{
    char mem[2048];
    struct buf b;
    struct ipc_auth_answer m = {.token = token, .verdict = (uint8_t)verdict, .why = str_from_c(why)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_answer(&m, &b));
    say(&f->tables, IPC_AUTH_ANSWER, &b);
}

/* Many at a time, answered in any order. */
static void by_tables(void **state)
{
    struct fixture *f = *state;
    uint64_t ids[3];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ann_asks(f, i);
        struct ipc_auth_ask m = asked_of_pam(&f->tables);
        assert_true(m.kind == AUTH_PASSWORD && str_eq(m.file, STR("d.example")) &&
                    str_ieq(m.user, STR("ann")));
        assert_true(str_eq(m.secret, STR("secret")) && str_eq(m.client, STR("192.0.2.1")));
        ids[i] = m.token;
    }
    tables_answer(f, ids[2], AUTH_BAD, "");
    check_answer(&f->smtpd, 2, AUTH_BAD, "");
    tables_answer(f, ids[0], AUTH_OK, "");
    check_answer(&f->smtpd, 0, AUTH_OK, "ann@d.example");
    tables_answer(f, ids[1], AUTH_TEMPORARY, "ldaps://dir.test: can't connect");
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    assert_true(str_find(buf_str(&f->log_text), STR("ldaps://dir.test: can't connect")) != STR_NPOS);
    assert_true(str_find(buf_str(&f->log_text), STR("secret")) == STR_NPOS);
    ask_about(&f->smtpd, 4, "eve", "e.example", "x", "");
    struct ipc_auth_ask m = asked_of_pam(&f->tables);
    assert_true(str_eq(m.user, STR("@")) && str_eq(m.file, STR("e.example"))); /* she has no mailbox here */
    tables_answer(f, m.token, AUTH_OK, "");
    check_answer(&f->smtpd, 4, AUTH_BAD, "");
}

static void tables_go_and_come(void **state)
{
    struct fixture *f = *state;
    ann_asks(f, 1);
    f->tables.is_full = true;
    ann_asks(f, 2); /* is not sent yet */
    f->tables.user->on_closed(f->tables.arg, &f->tables);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    ann_asks(f, 3);
    check_nothing_sent(&f->smtpd);
    f->tables = (struct channel){.is_closed = false};
    give_channel(f, ROLE_TABLES, 0, &f->tables);
    auth_role.peer(f->self, ROLE_TABLES, 0, &f->tables);
    tables_answer(f, asked_of_pam(&f->tables).token, AUTH_OK, "");
    check_answer(&f->smtpd, 2, AUTH_OK, "ann@d.example");
    tables_answer(f, asked_of_pam(&f->tables).token, AUTH_BAD, "");
    check_answer(&f->smtpd, 3, AUTH_BAD, "");
    f->tables.is_full = true;
    ann_asks(f, 4);
    f->tables.is_full = false;
    f->tables.user->on_room(f->tables.arg, &f->tables);
    tables_answer(f, asked_of_pam(&f->tables).token, AUTH_OK, "");
    check_answer(&f->smtpd, 4, AUTH_OK, "ann@d.example");
}

static void tables_are_slow_or_lie(void **state)
{
    struct fixture *f = *state;
    ann_asks(f, 1);
    uint64_t id = asked_of_pam(&f->tables).token;
    pass(f, AUTH_ANSWER_MS);
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    tables_answer(f, id, AUTH_OK, ""); /* too late */
    check_nothing_sent(&f->smtpd);
    assert_false(f->tables.is_closed);
    ann_asks(f, 2);
    tables_answer(f, asked_of_pam(&f->tables).token, (enum auth_verdict)77,
                  ""); /* says nothing that there is */
    check_answer(&f->smtpd, 2, AUTH_TEMPORARY, "");
    ann_asks(f, 3);
    struct buf nothing = {0};
    say(&f->tables, IPC_AUTH_ANSWER, &nothing);
    assert_true(f->tables.is_closed);
    check_answer(&f->smtpd, 3, AUTH_TEMPORARY, "");
}

/* ---- the configuration, the end -------------------------------------------------------------- */

static void reload(void **state)
{
    struct fixture *f = *state;
    struct conn *c = up(f, 1);
    f->config2 = f->config;
    f->env.config = &f->config2;
    auth_role.reload(f->self, &f->config);
    assert_int_equal(f->n_released, 1);
    dovecot_says(c, "OK\t1\tuser=joe\n"); /* the same socket, the same connection */
    check_answer(&f->smtpd, 1, AUTH_OK, "joe@a.example");
    joe_asks(f, 2);
    max_asks(f, 3);
    struct auth_backend other = backends[0];
    memcpy(other.at.path, "/run/other", sizeof "/run/other");
    struct local_domain only = domains[0];
    struct config config3 = f->config2;
    config3.auths = &other;
    config3.n_auths = 1;
    config3.policy = (struct policy_conf){.domains = &only, .n_domains = 1};
    f->config = f->config2;
    f->env.config = &config3;
    auth_role.reload(f->self, &f->config);
    assert_true(c->is_closed);
    check_answer(&f->smtpd, 2, AUTH_TEMPORARY, "");
    check_answer(&f->smtpd, 3, AUTH_TEMPORARY, "");
    joe_asks(f, 4);
    assert_string_equal(f->connecting.to.path, "/run/other");
    refused(f, ERR_NOTFOUND);
    check_answer(&f->smtpd, 4, AUTH_TEMPORARY, "");
    f->env.config = &f->config;
}

static void drain(void **state)
{
    struct fixture *f = *state;
    struct conn *c = up(f, 1);
    auth_role.drain(f->self, f->now_ms + 10 * 1000);
    assert_int_equal(f->n_drained, 0);
    dovecot_says(c, "OK\t1\tuser=joe\n");
    check_answer(&f->smtpd, 1, AUTH_OK, "joe@a.example");
    assert_int_equal(f->n_drained, 1);
    pass(f, 10 * 1000);
    assert_int_equal(f->n_drained, 1);
}

static void drain_by_the_clock(void **state)
{
    struct fixture *f = *state;
    (void)up(f, 1);
    auth_role.drain(f->self, f->now_ms + 1000);
    pass(f, 1000);
    assert_int_equal(f->n_drained, 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_connection_for_all),
        TEST(what_dovecot_may_say),
        TEST(who_has_no_mailbox),
        TEST(an_answer_in_pieces),
        TEST(a_slow_reader),
        TEST(it_is_not_there),
        TEST(it_does_not_say_hello),
        TEST(it_breaks_off),
        TEST(it_is_silent),
        TEST(no_more_than_256),
        TEST(guesses_are_limited),
        TEST(right_ones_are_free),
        TEST(an_asker_goes),
        TEST(an_asker_without_room),
        TEST(questions_that_there_are_not),
        TEST(pam_lines),
        TEST(a_pam_process_ends),
        TEST(a_module_hangs),
        TEST(a_pam_process_lies),
        TEST(by_tables),
        TEST(tables_go_and_come),
        TEST(tables_are_slow_or_lie),
        TEST(reload),
        TEST(drain),
        TEST(drain_by_the_clock),
    };
    return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
