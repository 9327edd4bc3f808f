/* Access tokens: who asks about them, what the tables role says, whom the role believes. */
#include "service/auth/auth_testing.h"

static const struct local_domain houses[] = {
    {.name = STR_INIT("alias.example"),
     .same_as = STR_INIT("mail.example"),
     .plus = STR_INIT("+"),
     .users = users_a,
     .n_users = 2,
     .tokens = true},
    {.name = STR_INIT("mail.example"),
     .plus = STR_INIT("+"),
     .passwords = 1,
     .users = users_a,
     .n_users = 2,
     .tokens = true},
    {.name = STR_INIT("other.example"),
     .plus = STR_INIT("+"),
     .passwords = 1,
     .users = users_a,
     .n_users = 2},
    {.name = STR_INIT("tokens.example"),
     .plus = STR_INIT("+"),
     .users = users_a,
     .n_users = 2,
     .tokens = true},
};
static struct channel tables;

static void give_tables(struct fixture *f)
{
    tables = (struct channel){.object = {f->world.ops}};
    auth_role.peer(f->self, ROLE_TABLES, 0, &tables);
}

static int setup_tokens(void **state)
{
    if (setup(state) != 0)
        return -1;
    struct fixture *f = *state;
    f->config.policy.domains = houses;
    f->config.policy.n_domains = ARRAY_LEN(houses);
    f->config.n_auths = 0;
    f->config.oauth = (struct oauth_conf){.by = OAUTH_JWKS};
    give_tables(f);
    return 0;
}

static void ask_token(struct channel *c, uint64_t number, const char *user, const char *token,
                      const char *client)
{
    struct ipc_auth_ask m = {.token = number,
                             .kind = AUTH_TOKEN,
                             .user = str_from_c(user),
                             .client = str_from_c(client),
                             .secret = str_from_c(token)};
    ask_raw(c, &m);
}

/* The tables role has its next question; its texts stay. */
static struct ipc_auth_ask asked(void)
{
    struct ipc_auth_ask m;
    assert_true(tables.n_seen < tables.n_sent);
    const struct sent *s = &tables.sent[tables.n_seen++];
    assert_int_equal(s->type, IPC_AUTH_ASK);
    assert_true(ipc_decode_auth_ask(str_of(s->bytes, s->n), &m));
    return m;
}

static void says(uint64_t number, enum auth_verdict verdict, const char *user, const char *why)
{
    char mem[1024];
    struct buf b;
    struct ipc_auth_answer m = {
        .token = number, .verdict = (uint8_t)verdict, .user = str_from_c(user), .why = str_from_c(why)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_answer(&m, &b));
    say(&tables, IPC_AUTH_ANSWER, &b);
}

static void check_log(struct fixture *f, const char *text)
{
    if (str_find(buf_str(&f->log_text), str_from_c(text)) == STR_NPOS)
        fail_msg("no %s in %.*s", text, STR_FMT(buf_str(&f->log_text)));
    buf_reset(&f->log_text);
}

static void whom_tables_names(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *claimed, *user, *address; /* NULL: refused */
    } rows[] = {
        {"", "joe@mail.example", "joe@mail.example"},
        {"", "JOE@Mail.example", "joe@mail.example"},
        {"", "joe@alias.example", "joe@mail.example"},
        {"Joe@alias.example", "joe@mail.example", "joe@mail.example"},
        {"", "joe@tokens.example", "joe@tokens.example"},
        {"joe@tokens.example", "joe@mail.example", NULL},
        {"ann@mail.example", "joe@mail.example", NULL},
        {"joe", "joe@mail.example", NULL}, /* of which domain? */
        {"", "eve@mail.example", NULL},
        {"", "joe@other.example", NULL}, /* takes no tokens */
        {"", "joe@far.example", NULL},
        {"", "joe", NULL},
        {"", "joe/phone@mail.example", NULL},
        {"", "joe+x@mail.example", NULL},
        {"", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask_token(&f->smtpd, i, rows[i].claimed, "the token", "192.0.2.1");
        struct ipc_auth_ask m = asked();
        assert_int_equal(m.kind, AUTH_TOKEN);
        assert_true(str_eq(m.user, str_from_c(rows[i].claimed)) && str_eq(m.secret, STR("the token")) &&
                    m.file.n == 0);
        says(m.token, AUTH_OK, rows[i].user, "");
        check_answer(&f->smtpd, i, rows[i].address != NULL ? AUTH_OK : AUTH_BAD,
                     rows[i].address != NULL ? rows[i].address : "");
        if (rows[i].address == NULL)
            check_log(f, "login.token_of_stranger");
    }
    assert_true(f->self->count.right == 5 && f->self->count.wrong == 10);
    assert_int_equal(str_find(buf_str(&f->log_text), STR("the token")), STR_NPOS);
}

static void what_tables_says(void **state)
{
    struct fixture *f = *state;
    ask_token(&f->smtpd, 1, "joe@mail.example", "x", "192.0.2.1");
    says(asked().token, AUTH_BAD, "", "");
    check_answer(&f->smtpd, 1, AUTH_BAD, "");
    ask_token(&f->smtpd, 2, "joe@mail.example", "x", "192.0.2.1");
    says(asked().token, AUTH_TEMPORARY, "", "https://id.test: it can't be asked");
    check_answer(&f->smtpd, 2, AUTH_TEMPORARY, "");
    check_log(f, "https://id.test: it can't be asked");
    ask_token(&f->smtpd, 3, "joe@mail.example", "x", "192.0.2.1");
    uint64_t late = asked().token;
    pass(f, AUTH_ANSWER_MS);
    check_answer(&f->smtpd, 3, AUTH_TEMPORARY, "");
    says(late, AUTH_OK, "joe@mail.example", "");
    check_nothing_sent(&f->smtpd);
    ask_token(&f->smtpd, 4, "", "x", "192.0.2.1");
    tables.user->on_closed(tables.arg, &tables); /* it has died */
    check_answer(&f->smtpd, 4, AUTH_TEMPORARY, "");
    ask_token(&f->smtpd, 5, "", "x", "192.0.2.1"); /* waits for the next one */
    check_nothing_sent(&f->smtpd);
    give_tables(f);
    says(asked().token, AUTH_OK, "joe@mail.example", "");
    check_answer(&f->smtpd, 5, AUTH_OK, "joe@mail.example");
}

/* Of one user, of whom the client does not say who it wants to be, and beside those of passwords. */
static void guesses_are_counted(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < 20; i++) {
        char client[32];
        struct buf b;
        buf_init_fixed(&b, client, sizeof client);
        buf_printf(&b, "192.0.2.%u", (unsigned)i);
        buf_putc(&b, '\0');
        ask_token(&f->smtpd, i, "joe@mail.example", "x", client);
        says(asked().token, AUTH_BAD, "", "");
        check_answer(&f->smtpd, i, AUTH_BAD, "");
    }
    ask_token(&f->smtpd, 20, "JOE@mail.example", "x", "198.51.100.1");
    check_answer(&f->smtpd, 20, AUTH_TOO_MANY, "");
    ask_token(&f->smtpd, 21, "ann@mail.example", "x", "198.51.100.1"); /* the others go on */
    says(asked().token, AUTH_OK, "ann@mail.example", "");
    check_answer(&f->smtpd, 21, AUTH_OK, "ann@mail.example");
    for (uint64_t i = 0; i < 20; i++) {
        ask_token(&f->smtpd, i, "", "x", "203.0.113.1");
        says(asked().token, AUTH_BAD, "", "");
        check_answer(&f->smtpd, i, AUTH_BAD, "");
    }
    ask_token(&f->smtpd, 22, "", "x", "203.0.113.1");
    check_answer(&f->smtpd, 22, AUTH_TOO_MANY, "");
    ask_token(&f->smtpd, 23, "", "x", "203.0.113.2");
    says(asked().token, AUTH_OK, "joe@mail.example", "");
    check_answer(&f->smtpd, 23, AUTH_OK, "joe@mail.example");
    assert_int_equal(tables.n_seen, tables.n_sent);
}

static void without_oauth(void **state)
{
    struct fixture *f = *state;
    f->config.oauth.by = OAUTH_NONE;
    ask_token(&f->smtpd, 1, "", "x", "192.0.2.1");
    check_answer(&f->smtpd, 1, AUTH_TEMPORARY, "");
    assert_int_equal(tables.n_sent, 0);
}

static void questions_that_are_none(void **state)
{
    struct fixture *f = *state;
    static char text[SASL_TOKEN_MAX + 1];
    memset(text, 'a', sizeof text);
    const struct ipc_auth_ask rows[] = {
        {.kind = AUTH_TOKEN},
        {.kind = AUTH_TOKEN, .secret = str_of(text, SASL_TOKEN_MAX + 1)},
        {.kind = AUTH_TOKEN, .secret = STR("x"), .file = STR("mail.example")},
        {.kind = AUTH_TOKEN, .secret = STR("x"), .user = str_of(text, SASL_NAME_MAX + 1)},
        {.kind = AUTH_TOKEN, .secret = STR("x"), .client = str_of(text, NETADDR_TEXT_MAX + 1)},
        {.kind = AUTH_TOKEN + 1, .secret = STR("x"), .user = STR("joe"), .file = STR("mail.example")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct channel c = {.object = {f->world.ops}};
        auth_role.peer(f->self, ROLE_SMTPD, 1, &c);
        ask_raw(&c, &rows[i]);
        assert_true(c.is_closed && c.n_sent == 0);
    }
    static char longest[SASL_TOKEN_MAX + 1], name[SASL_NAME_MAX + 1];
    memset(longest, 'a', SASL_TOKEN_MAX);
    memset(name, 'n', SASL_NAME_MAX);
    ask_token(&f->smtpd, 1, name, "x", "192.0.2.1");
    says(asked().token, AUTH_OK, "joe@mail.example", "");
    check_answer(&f->smtpd, 1, AUTH_BAD, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_tokens, teardown)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(whom_tables_names), T(what_tables_says),        T(guesses_are_counted),
        T(without_oauth),     T(questions_that_are_none),
    };
    return cmocka_run_group_tests_name("auth_token", tests, NULL, NULL);
}
