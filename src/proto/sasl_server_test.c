#include "proto/sasl_server.h"

#include "base/base64.h"
#include "proto/sasl_testing.h"

struct fixture {
    struct crypto *crypto;
    struct keeper keeper;
    struct sasl_server_conf conf;
    struct sasl_server *s;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.conf = {.mechanisms = SASL_ALL, .nonce = TEST_NONCE}};
    if (crypto_new(&f.crypto) != ERR_OK)
        return -1;
    keeper_init(&f.keeper, f.crypto);
    f.conf.client_identity = STR("cn=user");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sasl_server_del(&f->s);
    crypto_del(&f->crypto);
    return 0;
}

static enum sasl_step begin(struct fixture *f, const char *mechanism, const struct str *initial)
{
    sasl_server_del(&f->s);
    f->s = sasl_server_new(&f->conf);
    assert_non_null(f->s);
    return keeper_answers(&f->keeper, f->s, sasl_server_start(f->s, str_from_c(mechanism), initial));
}

static enum sasl_step feed(struct fixture *f, struct str response)
{
    return keeper_answers(&f->keeper, f->s, sasl_server_feed(f->s, response));
}

/* One response after the other. The last step, and why it failed. */
static enum sasl_failure run(struct fixture *f, const char *mechanism, struct str first)
{
    enum sasl_step with = begin(f, mechanism, &first);
    enum sasl_failure why = sasl_server_failure(f->s);
    assert_int_equal(with == SASL_STEP_FAILED, why != SASL_FAIL_NONE);
    /* without an initial response it is the same */
    assert_int_equal(begin(f, mechanism, NULL), SASL_STEP_CHALLENGE);
    assert_int_equal(sasl_server_challenge(f->s).n > 0, str_eq(str_from_c(mechanism), STR("LOGIN")));
    assert_int_equal(feed(f, first), with);
    assert_int_equal(sasl_server_failure(f->s), why);
    return why;
}

static void plain(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct str text;
        enum sasl_failure why;
    } rows[] = {
        {STR_INIT("\0user\0pencil"), SASL_FAIL_NONE},
        {STR_INIT("user\0user\0pencil"), SASL_FAIL_NONE},
        {STR_INIT("USER\0user\0pencil"), SASL_FAIL_NONE},
        {STR_INIT("root\0user\0pencil"), SASL_FAIL_AUTHZID},
        {STR_INIT("\0user\0Pencil"), SASL_FAIL_CREDENTIALS},
        {STR_INIT("\0nobody\0pencil"), SASL_FAIL_CREDENTIALS},
        {STR_INIT("\0user\0w\xc3\xb6rd"), SASL_FAIL_CREDENTIALS},
        {STR_INIT(""), SASL_FAIL_MALFORMED},
        {STR_INIT("\0"), SASL_FAIL_MALFORMED},
        {STR_INIT("user\0pencil"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0user\0"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0\0pencil"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0user\0pencil\0"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0user\0\0pencil"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0us\ner\0pencil"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0user\0pen\rcil"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0us\xff\0pencil"), SASL_FAIL_MALFORMED},
        {STR_INIT("\0user\0w\xf6rd"), SASL_FAIL_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum sasl_failure why = run(f, "plain", rows[i].text);
        if (why != rows[i].why)
            print_message("# row %zu\n", i);
        assert_int_equal(why, rows[i].why);
        if (why == SASL_FAIL_NONE) {
            assert_true(str_eq(sasl_server_login(f->s), STR("user")));
            assert_int_equal(sasl_server_mechanism(f->s), SASL_PLAIN);
        }
    }
}

/* Nothing that is cut short or changed in one bit logs in. */
static void damaged_plain_lets_nobody_in(void **state)
{
    struct fixture *f = *state;
    char text[] = "\0user\0pencil";
    size_t whole = sizeof text - 1;
    for (size_t n = 0; n < whole; n++) {
        struct str cut = str_of(text, n);
        assert_int_equal(begin(f, "PLAIN", &cut), SASL_STEP_FAILED);
    }
    for (size_t bit = 0; bit < 8 * whole; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        struct str s = str_of(text, whole);
        assert_int_equal(begin(f, "PLAIN", &s), SASL_STEP_FAILED);
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
}

static void limits_at_their_edges(void **state)
{
    struct fixture *f = *state;
    static char text[SASL_RESPONSE_MAX + 1];
    struct buf b;
    static const struct {
        size_t name, password;
        enum sasl_failure why;
    } rows[] = {
        {SASL_NAME_MAX, SASL_PASSWORD_MAX, SASL_FAIL_CREDENTIALS},
        {SASL_NAME_MAX + 1, 1, SASL_FAIL_MALFORMED},
        {1, SASL_PASSWORD_MAX + 1, SASL_FAIL_MALFORMED},
        {1, SASL_RESPONSE_MAX - 3, SASL_FAIL_MALFORMED},
        {1, SASL_RESPONSE_MAX - 2, SASL_FAIL_TOO_BIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_init_fixed(&b, text, sizeof text);
        buf_putc(&b, '\0');
        for (size_t k = 0; k < rows[i].name; k++)
            buf_putc(&b, 'x');
        buf_putc(&b, '\0');
        for (size_t k = 0; k < rows[i].password; k++)
            buf_putc(&b, 'y');
        assert_false(b.failed);
        assert_int_equal(run(f, "PLAIN", buf_str(&b)), rows[i].why);
    }
    /* tokens */
    for (size_t over = 0; over < 2; over++) {
        buf_init_fixed(&b, text, sizeof text);
        buf_puts(&b, "n,,\1auth=Bearer ");
        for (size_t k = 0; k < SASL_TOKEN_MAX + over; k++)
            buf_putc(&b, 't');
        buf_puts(&b, "\1\1");
        struct str s = buf_str(&b);
        assert_int_equal(begin(f, "OAUTHBEARER", &s), over == 0 ? SASL_STEP_CHALLENGE : SASL_STEP_FAILED);
    }
}

static void login(void **state)
{
    struct fixture *f = *state;
    struct str user = STR("user");
    assert_int_equal(begin(f, "LOGIN", NULL), SASL_STEP_CHALLENGE);
    assert_true(str_eq(sasl_server_challenge(f->s), STR("Username:")));
    assert_int_equal(feed(f, user), SASL_STEP_CHALLENGE);
    assert_true(str_eq(sasl_server_challenge(f->s), STR("Password:")));
    assert_int_equal(feed(f, STR("pencil")), SASL_STEP_DONE);
    assert_true(str_eq(sasl_server_login(f->s), user));
    /* the user as the initial response */
    assert_int_equal(begin(f, "LOGIN", &user), SASL_STEP_CHALLENGE);
    assert_true(str_eq(sasl_server_challenge(f->s), STR("Password:")));
    assert_int_equal(feed(f, STR("pen")), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_CREDENTIALS);
    assert_true(str_eq(sasl_server_user(f->s), user)); /* for the log */
    assert_int_equal(begin(f, "LOGIN", NULL), SASL_STEP_CHALLENGE);
    assert_int_equal(feed(f, STR_NIL), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_MALFORMED);
    assert_int_equal(begin(f, "LOGIN", &user), SASL_STEP_CHALLENGE);
    assert_int_equal(feed(f, STR_NIL), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_MALFORMED);
}

static void external(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, "EXTERNAL", STR_NIL), SASL_FAIL_NONE);
    assert_int_equal(run(f, "EXTERNAL", STR("user")), SASL_FAIL_NONE);
    assert_true(str_eq(sasl_server_login(f->s), STR("user")));
    assert_int_equal(run(f, "EXTERNAL", STR("root")), SASL_FAIL_CREDENTIALS);
    assert_int_equal(run(f, "EXTERNAL", STR("a\0b")), SASL_FAIL_MALFORMED);
    f->conf.client_identity = STR("cn=other");
    assert_int_equal(run(f, "EXTERNAL", STR_NIL), SASL_FAIL_CREDENTIALS);
    f->conf.client_identity = STR_NIL;
    assert_int_equal(begin(f, "EXTERNAL", NULL), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_NOT_OFFERED);
}

static struct str octets(const char *text, char *mem, size_t cap)
{
    struct buf b;
    buf_init_fixed(&b, mem, cap);
    assert_true(base64_take(str_from_c(text), &b));
    return buf_str(&b);
}

/* RFC 7628 4.1 and 4.3, with a token and a server of ours in place of theirs. */
static void bearer_tokens(void **state)
{
    struct fixture *f = *state;
    char mem[256];
    f->conf.oauth_scope = STR("example_scope");
    f->conf.openid_configuration = STR("https://example.com/.well-known/openid-configuration");
    struct str good = STR("n,a=user,\1host=server.example.com\1port=587\1auth=Bearer good-token\1\1");
    assert_int_equal(begin(f, "OAUTHBEARER", &good), SASL_STEP_DONE);
    assert_true(str_eq(sasl_server_login(f->s), STR("user")));
    struct str nameless = STR("n,,\1auth=Bearer good-token\1\1");
    assert_int_equal(begin(f, "OAUTHBEARER", &nameless), SASL_STEP_DONE);
    assert_true(str_eq(sasl_server_login(f->s), STR("user"))); /* the token says so */
    /* the example: not our token */
    struct str other =
        octets("bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZG"
               "OWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB",
               mem, sizeof mem);
    assert_int_equal(begin(f, "OAUTHBEARER", &other), SASL_STEP_CHALLENGE);
    assert_true(str_eq(sasl_server_user(f->s), STR("user@example.com")));
    assert_true(str_eq(
        sasl_server_challenge(f->s),
        octets("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRp"
               "b24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0=",
               mem, sizeof mem)));
    assert_int_equal(feed(f, STR("\1")), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_CREDENTIALS);
    /* who only asks is told without anybody being asked */
    unsigned n_asked = f->keeper.n_asked;
    struct str empty = STR("n,a=user,\1auth=\1\1");
    assert_int_equal(begin(f, "OAUTHBEARER", &empty), SASL_STEP_CHALLENGE);
    assert_int_equal(f->keeper.n_asked, n_asked);
    /* whatever comes then */
    assert_int_equal(feed(f, good), SASL_STEP_FAILED);
    struct str bad = STR("n,a=us=41er,\1auth=Bearer good-token\1\1");
    assert_int_equal(begin(f, "OAUTHBEARER", &bad), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_MALFORMED);
}

static void xoauth2_tokens(void **state)
{
    struct fixture *f = *state;
    struct str good = STR("user=user\1auth=Bearer good-token\1\1");
    assert_int_equal(begin(f, "XOAUTH2", &good), SASL_STEP_DONE);
    struct str bad =
        STR("user=someuser@example.com\1auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\1\1");
    assert_int_equal(begin(f, "XOAUTH2", &bad), SASL_STEP_CHALLENGE);
    assert_true(str_starts(sasl_server_challenge(f->s), STR("{\"status\":\"401\"")));
    assert_int_equal(feed(f, STR_NIL), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_CREDENTIALS);
}

/* RFC 5802 5 and RFC 7677 3: the server's nonce is its base64, so theirs is handed in decoded where it can
 * be; where it is not base64 the messages are ours and the arithmetic is crypto/scram_test.c's. */
static void scram_says_what_it_should(void **state)
{
    struct fixture *f = *state;
    char mem[64];
    f->conf.nonce = octets("3rfcNHYJY1ZVvWVs7jAAAAAA", mem, sizeof mem);
    struct str first = STR("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    sasl_server_del(&f->s);
    f->s = sasl_server_new(&f->conf);
    assert_int_equal(sasl_server_start(f->s, STR("SCRAM-SHA-1"), &first), SASL_STEP_QUESTION);
    const struct sasl_question *q = sasl_server_question(f->s);
    assert_int_equal(q->kind, SASL_ASK_SCRAM_FIRST);
    assert_int_equal(q->hash, SCRAM_SHA1);
    assert_true(str_eq(q->user, STR("user")));
    char salt[16];
    struct sasl_answer a = {
        .verdict = SASL_OK, .salt = octets("QSXCR+Q6sek8bf92", salt, sizeof salt), .iterations = 4096};
    assert_int_equal(sasl_server_answer(f->s, &a), SASL_STEP_CHALLENGE);
    assert_true(str_eq(sasl_server_challenge(f->s),
                       STR("r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7jAAAAAA,s=QSXCR+Q6sek8bf92,i=4096")));
    assert_int_equal(
        sasl_server_feed(f->s, STR("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7jAAAAAA,p=eHh4")),
        SASL_STEP_QUESTION);
    q = sasl_server_question(f->s);
    assert_int_equal(q->kind, SASL_ASK_SCRAM_FINAL);
    assert_true(str_eq(q->proof, STR("xxx")));
    assert_true(str_eq(q->auth_message,
                       STR("n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
                           "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7jAAAAAA,s=QSXCR+Q6sek8bf92,i=4096,"
                           "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7jAAAAAA")));
    a = (struct sasl_answer){
        .verdict = SASL_OK, .signature = STR("12345678901234567890"), .login = STR("user@example.org")};
    assert_int_equal(sasl_server_answer(f->s, &a), SASL_STEP_CHALLENGE);
    assert_true(str_eq(sasl_server_challenge(f->s), STR("v=MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=")));
    assert_int_equal(sasl_server_feed(f->s, STR_NIL), SASL_STEP_DONE);
    assert_true(str_eq(sasl_server_login(f->s), STR("user@example.org")));
}

struct scram_row {
    const char *mechanism, *first;
    enum sasl_failure why; /* NONE: server-first comes */
    bool has_exporter;
};

static void scram_first_messages(void **state)
{
    struct fixture *f = *state;
    static const struct scram_row rows[] = {
        {"SCRAM-SHA-256", "n,,n=user,r=abc", SASL_FAIL_NONE, false},
        {"SCRAM-SHA-256", "n,a=user,n=user,r=abc", SASL_FAIL_NONE, false},
        {"SCRAM-SHA-256", "n,a=root,n=user,r=abc", SASL_FAIL_AUTHZID, false},
        {"SCRAM-SHA-256", "n,a=us=2Cer,n=us=2Cer,r=abc", SASL_FAIL_NONE, false},
        {"SCRAM-SHA-256", "n,,n=us=2cer,r=abc", SASL_FAIL_MALFORMED, false},
        {"SCRAM-SHA-256", "n,,n=user", SASL_FAIL_MALFORMED, false},
        /* who could bind and was offered it: fine when it was not, an attack when it was */
        {"SCRAM-SHA-256", "y,,n=user,r=abc", SASL_FAIL_NONE, false},
        {"SCRAM-SHA-256", "y,,n=user,r=abc", SASL_FAIL_DOWNGRADE, true},
        {"SCRAM-SHA-1", "y,,n=user,r=abc", SASL_FAIL_DOWNGRADE, true},
        {"SCRAM-SHA-256", "n,,n=user,r=abc", SASL_FAIL_NONE, true},
        {"SCRAM-SHA-256", "p=tls-exporter,,n=user,r=abc", SASL_FAIL_BINDING, true},
        {"SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=user,r=abc", SASL_FAIL_NONE, true},
        {"SCRAM-SHA-256-PLUS", "p=tls-unique,,n=user,r=abc", SASL_FAIL_BINDING, true},
        {"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=user,r=abc", SASL_FAIL_BINDING, true},
        {"SCRAM-SHA-256-PLUS", "n,,n=user,r=abc", SASL_FAIL_BINDING, true},
        {"SCRAM-SHA-256-PLUS", "y,,n=user,r=abc", SASL_FAIL_DOWNGRADE, true},
        {"SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=user,r=abc", SASL_FAIL_NOT_OFFERED, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str first = str_from_c(rows[i].first), none = STR_NIL;
        f->conf.tls_exporter = rows[i].has_exporter ? TEST_EXPORTER : none;
        enum sasl_step step = begin(f, rows[i].mechanism, &first);
        if (sasl_server_failure(f->s) != rows[i].why)
            print_message("# row %zu: %s\n", i, sasl_failure_text(sasl_server_failure(f->s)));
        assert_int_equal(sasl_server_failure(f->s), rows[i].why);
        assert_int_equal(step, rows[i].why == SASL_FAIL_NONE ? SASL_STEP_CHALLENGE : SASL_STEP_FAILED);
    }
}

static void scram_final_messages(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *before, *after; /* the nonce stands between */
        enum sasl_failure why;
    } rows[] = {
        {"c=biws,r=", ",p=eHh4", SASL_FAIL_CREDENTIALS}, {"c=biws,r=", ",p=eHh", SASL_FAIL_MALFORMED},
        {"c=biws,r=", "x,p=eHh4", SASL_FAIL_MALFORMED},  {"c=biws,r=x", ",p=eHh4", SASL_FAIL_MALFORMED},
        {"c=eSws,r=", ",p=eHh4", SASL_FAIL_BINDING}, /* another header than before */
        {"c=biw,r=", ",p=eHh4", SASL_FAIL_BINDING},      {"c=biws,r=", "", SASL_FAIL_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[256];
        struct buf b;
        struct str first = STR("n,,n=user,r=abc");
        assert_int_equal(begin(f, "SCRAM-SHA-256", &first), SASL_STEP_CHALLENGE);
        buf_init_fixed(&b, mem, sizeof mem);
        buf_puts(&b, rows[i].before);
        buf_puts(&b, "abc");
        base64_put(&b, TEST_NONCE);
        buf_puts(&b, rows[i].after);
        assert_int_equal(feed(f, buf_str(&b)), SASL_STEP_FAILED);
        assert_int_equal(sasl_server_failure(f->s), rows[i].why);
    }
}

/* Users that aren't there are asked for their proof like others, with the same salt each time. */
static void scram_hides_who_is_there(void **state)
{
    struct fixture *f = *state;
    char mem[2][256];
    struct str first = STR("n,,n=nobody,r=abc"), other = STR("n,,n=nobodi,r=abc");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(begin(f, "SCRAM-SHA-256", &first), SASL_STEP_CHALLENGE);
        assert_true(str_to_c(sasl_server_challenge(f->s), mem[i], sizeof mem[i]));
    }
    assert_string_equal(mem[0], mem[1]);
    assert_non_null(strstr(mem[0], ",i=4096"));
    assert_int_equal(begin(f, "SCRAM-SHA-256", &other), SASL_STEP_CHALLENGE);
    assert_true(str_to_c(sasl_server_challenge(f->s), mem[1], sizeof mem[1]));
    assert_string_not_equal(mem[0], mem[1]);
}

static void trouble_is_temporary(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *mechanism;
        struct str first;
    } rows[] = {{"PLAIN", STR_INIT("\0user\0pencil")},
                {"SCRAM-SHA-1", STR_INIT("n,,n=user,r=abc")},
                {"OAUTHBEARER", STR_INIT("n,,\1auth=Bearer good-token\1\1")},
                {"EXTERNAL", STR_INIT("")}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        f->keeper.is_down = true;
        assert_int_equal(begin(f, rows[i].mechanism, &rows[i].first), SASL_STEP_FAILED);
        assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_TEMPORARY);
    }
    /* answers that are none */
    static const struct sasl_answer bad[] = {
        {.verdict = SASL_OK, .iterations = 4096},
        {.verdict = SASL_OK, .salt = STR_INIT("salt"), .iterations = 4095},
        {.verdict = SASL_OK, .salt = STR_INIT("salt"), .iterations = SCRAM_ITERATIONS_MAX + 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        sasl_server_del(&f->s);
        f->s = sasl_server_new(&f->conf);
        assert_int_equal(sasl_server_start(f->s, STR("SCRAM-SHA-1"), &rows[1].first), SASL_STEP_QUESTION);
        assert_int_equal(sasl_server_answer(f->s, &bad[i]), SASL_STEP_FAILED);
        assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_TEMPORARY);
    }
    /* a token without a user, and nobody says whose it is */
    const struct sasl_answer nameless = {.verdict = SASL_OK};
    sasl_server_del(&f->s);
    f->s = sasl_server_new(&f->conf);
    assert_int_equal(sasl_server_start(f->s, STR("OAUTHBEARER"), &rows[2].first), SASL_STEP_QUESTION);
    assert_int_equal(sasl_server_answer(f->s, &nameless), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_TEMPORARY);
}

static void cancelling_at_any_time(void **state)
{
    struct fixture *f = *state;
    struct str first = STR("n,,n=user,r=abc");
    static const char *const names[] = {"PLAIN", "LOGIN", "SCRAM-SHA-1", "OAUTHBEARER"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(begin(f, names[i], NULL), SASL_STEP_CHALLENGE);
        assert_int_equal(sasl_server_cancel(f->s), SASL_STEP_FAILED);
        assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_CANCELLED);
    }
    assert_int_equal(begin(f, "SCRAM-SHA-1", &first), SASL_STEP_CHALLENGE);
    assert_int_equal(sasl_server_cancel(f->s), SASL_STEP_FAILED);
}

static void mechanisms_on_offer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(begin(f, "CRAM-MD5", NULL), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_UNKNOWN);
    assert_int_equal(begin(f, "", NULL), SASL_STEP_FAILED);
    f->conf.mechanisms = SASL_ALL & ~SASL_CLEAR;
    assert_int_equal(begin(f, "PLAIN", NULL), SASL_STEP_FAILED);
    assert_int_equal(sasl_server_failure(f->s), SASL_FAIL_NOT_OFFERED);
    assert_int_equal(sasl_server_offered(&f->conf),
                     SASL_BIT(SASL_EXTERNAL) | SASL_BIT(SASL_SCRAM_SHA1) | SASL_BIT(SASL_SCRAM_SHA256));
    f->conf.tls_server_end_point = TEST_END_POINT;
    assert_int_equal(sasl_server_offered(&f->conf), SASL_ALL & ~SASL_CLEAR);
    f->conf.nonce = STR("too short");
    sasl_server_del(&f->s);
    assert_null(sasl_server_new(&f->conf));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(plain),
        CASE(damaged_plain_lets_nobody_in),
        CASE(limits_at_their_edges),
        CASE(login),
        CASE(external),
        CASE(bearer_tokens),
        CASE(xoauth2_tokens),
        CASE(scram_says_what_it_should),
        CASE(scram_first_messages),
        CASE(scram_final_messages),
        CASE(scram_hides_who_is_there),
        CASE(trouble_is_temporary),
        CASE(cancelling_at_any_time),
        CASE(mechanisms_on_offer),
    };
    return cmocka_run_group_tests_name("sasl_server", tests, NULL, NULL);
}
