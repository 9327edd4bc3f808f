/* TLS and logins of the role: what it asks of keys, and what it makes of the answers. */
#include "service/smtpd/smtpd_testing.h"

#include <stdio.h>

static const struct certificate_conf certificates[] = {
    {.cert = STR_INIT("/mx.pem"), .key = STR_INIT("/mx.key")},
    {.cert = STR_INIT("/b.pem"), .key = STR_INIT("/b.key")}};
static const struct str password_files[] = {STR_INIT("/etc/org.users")};
static const struct str users[] = {STR_INIT("joe")};
static struct role_certificate in_force[2];

static void put_in_force(size_t i, uint32_t key)
{
    in_force[i] = (struct role_certificate){.is_there = true,
                                            .key = key,
                                            .uses = KEY_USE_SERVER,
                                            .name = certificates[i].cert,
                                            .chain = STR("-----BEGIN CERTIFICATE-----")};
    the->env.certificates = in_force;
    the->env.n_certificates = 2;
    smtpd_role.certificate(the->d, i);
}

/* Certificates and a file of passwords; the keys role is there. */
static void configure(enum listen_tls tls, enum listen_auth auth)
{
    memset(in_force, 0, sizeof in_force);
    the->at.addr.kind = NETADDR_IP4;
    the->at.addr.port = 587;
    the->at.tls = tls;
    the->at.auth = auth;
    the->at.submission = auth == LISTEN_MUST_AUTH;
    the->config.certificates = certificates;
    the->config.n_certificates = ARRAY_LEN(certificates);
    the->config.tls_tickets = true;
    the->config.password_files = password_files;
    the->config.n_password_files = 1;
    the->domain.any_user = false;
    the->domain.plus = STR("+");
    the->domain.passwords = 1;
    the->domain.users = users;
    the->domain.n_users = 1;
    reload();
    the->env.peers[ROLE_KEYS][0] = &the->keys;
    smtpd_role.peer(the->d, ROLE_KEYS, 0, &the->keys);
}

static void from_keys(uint16_t type, const struct buf *payload)
{
    assert_false(payload->failed);
    the->keys.user->on_message(the->keys.arg, &the->keys, type, buf_str(payload), NULL);
}

static void lose_keys(void)
{
    the->env.peers[ROLE_KEYS][0] = NULL;
    the->keys.user->on_closed(the->keys.arg, &the->keys);
}

#define LATER "the login can't be checked now; try again later: "

/* What the journal has of the last login, which failed for trouble of ours. */
static void journal_says(const char *user, const char *text)
{
    assert_string_equal(the->event_from, user);
    assert_string_equal(the->event_text, text);
    assert_int_equal(the->event_size, 454);
}

static void answer_why(enum auth_verdict verdict, const char *why)
{
    char mem[600];
    struct buf b;
    struct ipc_auth_answer m = {
        .token = the->auth.token, .verdict = (uint8_t)verdict, .why = str_from_c(why)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_answer(&m, &b));
    from_keys(IPC_AUTH_ANSWER, &b);
}

static void auth_answer(enum auth_verdict verdict)
{
    answer_why(verdict, "");
}

static struct conn *secure_client(void)
{
    struct conn *c = client("192.0.2.9:1000");
    say(c, "EHLO c.test\r\n");
    hears(c, "250 HELP");
    say(c, "STARTTLS\r\n");
    hears(c, "220 2.0.0");
    finish_tls(c, ERR_OK);
    assert_int_equal(c->out.n, 0); /* no greeting: the client begins */
    say(c, "EHLO c.test\r\n");
    return c;
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static void starttls_needs_a_certificate(void **state)
{
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_NO_AUTH);
    struct conn *c = client("192.0.2.9:1000");
    say(c, "EHLO c.test\r\n");
    hears(c, "250 HELP");
    say(c, "STARTTLS\r\n");
    hears(c, "454 4.7.0");
    assert_null(c->on_tls);
    put_in_force(0, 11);
    say(c, "STARTTLS\r\n");
    hears(c, "220 2.0.0");
    finish_tls(c, ERR_OK);
    say(c, "MAIL FROM:<a@b.test>\r\n");
    hears(c, "503 5.5.1");
    say(c, "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@here.test>\r\nDATA\r\n");
    hears(c, "354");
    say(c, "Subject: x\r\n\r\n.\r\n");
    assert_true(str_find(buf_str(&the->sent_body), STR(" with ESMTPS id ")) != STR_NPOS);
}

static void certificates_come_and_change(void **state)
{
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_NO_AUTH);
    assert_int_equal(the->n_contexts, 0);
    put_in_force(0, 11);
    assert_true(the->n_contexts == 1 && the->contexts[0].n_certificates == 1 &&
                the->contexts[0].keys[0] == 11);
    put_in_force(1, 12);
    assert_true(the->contexts[1].n_certificates == 2 && the->contexts[1].keys[1] == 12);
    assert_int_equal(the->contexts[0].n_refs, 0);
    the->has_bad_certificate = true; /* the old one stays in force */
    put_in_force(1, 13);
    assert_int_equal(the->contexts[1].n_refs, 1);
    the->has_bad_certificate = false;
    in_force[0].name = STR("/other.pem"); /* of another configuration */
    put_in_force(1, 14);
    assert_true(the->contexts[2].n_certificates == 1 && the->contexts[2].keys[0] == 14);
    in_force[1].uses = KEY_USE_CLIENT;
    smtpd_role.certificate(the->d, 1);
    assert_null(the->d->tls);
    assert_int_equal(the->contexts[2].n_refs, 0);
}

static void tickets_are_common(void **state)
{
    UNUSED(state);
    char mem[1024], keys[2 * sizeof(struct tls_ticket_key)];
    struct buf b;
    configure(LISTEN_STARTTLS, LISTEN_NO_AUTH);
    put_in_force(0, 11);
    assert_int_equal(the->d->n_tickets, 1); /* its own */
    memset(keys, 9, sizeof keys);
    for (size_t n = 0; n < 3; n++) {
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(ipc_encode_sup_tickets(
            &(struct ipc_sup_tickets){.keys = str_of(keys, sizeof keys - (n == 1 ? 1 : 0))}, &b));
        smtpd_role.from_super(the->d, IPC_SUP_TICKETS, buf_str(&b), NULL);
        assert_int_equal(the->d->n_tickets, 2);
    }
    assert_memory_equal(the->d->tickets, keys, sizeof keys);
    assert_int_equal(the->n_contexts, 3); /* half a key changed nothing */
}

static void octets_behind_starttls(void **state)
{
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_NO_AUTH);
    put_in_force(0, 11);
    struct conn *c = client("192.0.2.9:1000");
    say(c, "EHLO c.test\r\n");
    hears(c, "250 HELP");
    say(c, "STARTTLS\r\nMAIL FROM:<a@b.test>\r\n");
    hears(c, "554 5.5.1");
    assert_null(c->on_tls);
    assert_true(c->is_shut);
}

static void tls_from_the_first_octet(void **state)
{
    UNUSED(state);
    configure(LISTEN_IMPLICIT, LISTEN_MUST_AUTH);
    struct conn *c = client("192.0.2.9:1000");
    assert_true(c->is_closed); /* no certificate is in force */
    put_in_force(0, 11);
    c = client("192.0.2.9:1000");
    assert_int_equal(c->out.n, 0);
    finish_tls(c, ERR_OK);
    hears(c, "220 mx.here.test");
    say(c, "EHLO c.test\r\n");
    assert_true(str_find(buf_str(&c->out), STR("STARTTLS")) == STR_NPOS);
    assert_true(str_find(buf_str(&c->out), STR("250-AUTH PLAIN LOGIN\r\n")) != STR_NPOS);
    c = client("192.0.2.9:1001");
    finish_tls(c, ERR_TLS);
    assert_true(c->is_closed);
    c = client("192.0.2.9:1002");
    smtpd_role.drain(the->d, 1000); /* nobody waits for a handshake */
    assert_true(c->is_closed);
}

static void one_too_many_gets_no_handshake(void **state)
{
    UNUSED(state);
    configure(LISTEN_IMPLICIT, LISTEN_MUST_AUTH);
    the->config.session_per_client_max = 1;
    put_in_force(0, 11);
    struct conn *c = client("192.0.2.9:1000"), *other = client("192.0.2.9:1001");
    assert_true(!c->is_closed && other->is_closed);
    assert_null(other->on_tls);
}

static void proxy_header_before_tls(void **state)
{
    UNUSED(state);
    configure(LISTEN_IMPLICIT, LISTEN_MUST_AUTH);
    the->at.has_proxy = true;
    put_in_force(0, 11);
    struct conn *c = client("192.0.2.9:1000");
    say(c, "PROXY TCP4 198.51.100.7 192.0.2.1 4000 465\r\n\x16\x03\x01hello");
    assert_true(str_eq(buf_str(&c->in), STR("\x16\x03\x01hello"))); /* left to TLS */
    buf_reset(&c->in);
    finish_tls(c, ERR_OK);
    hears(c, "220 ");
}

static void signatures(void **state)
{
    UNUSED(state);
    char mem[256];
    struct buf b;
    configure(LISTEN_STARTTLS, LISTEN_NO_AUTH);
    put_in_force(0, 11);
    assert_non_null(the->signer_given);
    struct tls_sign s = {.token = 5,
                         .key = 11,
                         .scheme = TLS_SIGN_ECDSA,
                         .digest = TLS_DIGEST_SHA256,
                         .octets = STR("digest")};
    the->signer.sign(the->signer.arg, &s);
    const struct sent *sent = &the->keys.sent[the->keys.n_sent - 1];
    assert_true(sent->type == IPC_SIGN_ASK && sent->token == 5 && sent->id == 11 && sent->size == 6);
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sign_answer(&(struct ipc_sign_answer){5, ERR_OK, STR("signature")}, &b));
    from_keys(IPC_SIGN_ANSWER, &b);
    assert_true(the->signed_token == 5 && the->signed_err == ERR_OK);
    the->signed_token = 0;
    from_keys(IPC_SIGN_ANSWER, &b); /* once is enough */
    assert_int_equal(the->signed_token, 0);
    s.token = 6;
    the->signer.sign(the->signer.arg, &s);
    lose_keys();
    assert_true(the->signed_token == 6 && the->signed_err != ERR_OK);
    s.token = 7;
    the->signer.sign(the->signer.arg, &s);
    assert_true(the->signed_token == 7 && the->signed_err != ERR_OK);
}

/* ---- logins ---------------------------------------------------------------------------------- */

static void nobody_sends_without_a_login(void **state)
{
    UNUSED(state);
    static const struct netblock all_of_it = {{.kind = NETADDR_IP4, .ip = {192, 0, 2, 0}}, 24};
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    the->config.policy.relay_from = &all_of_it; /* does not count here */
    the->config.policy.n_relay_from = 1;
    put_in_force(0, 11);
    struct conn *c = client("192.0.2.9:1000");
    say(c, "EHLO c.test\r\n");
    assert_true(str_find(buf_str(&c->out), STR("AUTH")) == STR_NPOS);
    hears(c, "250 HELP");
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
    hears(c, "538 5.7.11");
    say(c, "MAIL FROM:<joe@here.test>\r\n");
    hears(c, "530 5.7.0");
    c = secure_client();
    say(c, "MAIL FROM:<joe@here.test>\r\n");
    hears(c, "530 5.7.0");
}

static void a_login_sends(void **state)
{
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n"); /* joe@here.test, secret */
    assert_int_equal(c->out.n, 0);
    assert_int_equal(the->auth.kind, AUTH_PASSWORD);
    assert_true(str_eq(the->auth.file, STR("/etc/org.users")) && str_eq(the->auth.user, STR("joe")));
    assert_true(str_eq(the->auth.client, STR("192.0.2.9")) && str_eq(the->auth.secret, STR("secret")));
    auth_answer(AUTH_OK);
    hears(c, "235 2.7.0");
    auth_answer(AUTH_BAD); /* nobody's any more */
    assert_int_equal(c->out.n, 0);
    say(c, "MAIL FROM:<ann@here.test>\r\n");
    hears(c, "550 5.7.1");
    say(c, "MAIL FROM:<joe+x@here.test>\r\nRCPT TO:<far@away.test>\r\nDATA\r\n");
    hears(c, "354");
    say(c, "Subject: x\r\nBcc: secret@away.test\r\n\r\n.\r\n");
    assert_true(str_find(buf_str(&the->sent_body), STR(" with ESMTPSA id ")) != STR_NPOS);
    assert_true(str_find(buf_str(&the->sent_body), STR("Bcc")) == STR_NPOS);
    assert_true(str_find(buf_str(&the->sent_body), STR("Message-ID: <")) != STR_NPOS);
    assert_true((the->sent_flags & MAIL_FLAG_OURS) != 0);
    put_done(last_sent()->token, ERR_OK);
    assert_string_equal(the->event_text, "c.test, logged in as joe@here.test");
}

/* A name is somebody's as it came, or as SASLprep has it. */
static void names_outside_ascii(void **state)
{
    static const struct str here[] = {STR_INIT("j\xc3\xb6rg"), STR_INIT("zoe\xcc\x88")};
    static const struct {
        const char *plain, *user;
    } rows[] = {
        {"AGpvzIhyZ0BoZXJlLnRlc3QAc2VjcmV0", "j\xc3\xb6rg"}, /* jo, a diaeresis, rg */
        {"AGpvzIhyZy9waG9uZUBoZXJlLnRlc3QAc2VjcmV0", "j\xc3\xb6rg/phone"},
        {"AHpvZcyIQGhlcmUudGVzdABzZWNyZXQ=", "zoe\xcc\x88"}, /* kept in two parts, and said so */
    };
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    the->domain.any_user = false;
    the->domain.users = here;
    the->domain.n_users = ARRAY_LEN(here);
    put_in_force(0, 11);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = secure_client();
        buf_reset(&c->out);
        say(c, "AUTH PLAIN ");
        say(c, rows[i].plain);
        say(c, "\r\n");
        if (!str_eq(the->auth.user, str_from_c(rows[i].user)))
            fail_msg("row %zu: \"%.*s\"", i, STR_FMT(the->auth.user));
        auth_answer(AUTH_OK);
        hears(c, "235 2.7.0");
        say(c, "MAIL FROM:<ann@here.test>\r\n");
        hears(c, "550 5.7.1");
    }
}

static void what_keys_says(void **state)
{
    UNUSED(state);
    static const struct {
        enum auth_verdict verdict;
        const char *reply;
        unsigned n_refused;
    } rows[] = {{AUTH_BAD, "535 5.7.8", 1},
                {AUTH_TEMPORARY, "454 4.7.0", 1},
                {AUTH_TOO_MANY, "454 4.7.0 too many", 1}};
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = secure_client();
        buf_reset(&c->out);
        unsigned n = the->n_refused;
        say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
        auth_answer(rows[i].verdict);
        hears(c, rows[i].reply);
        assert_int_equal(the->n_refused - n, rows[i].n_refused);
        if (rows[i].n_refused > 0)
            assert_string_equal(the->event_from, "joe@here.test");
        say(c, "MAIL FROM:<joe@here.test>\r\n");
        hears(c, "530 5.7.0");
    }
}

/* Trouble of ours is in the journal with its reason, which is cut and shows no control characters; it is no
 * login that somebody got wrong. */
static void trouble_is_told(void **state)
{
    char far_too_long[300], cut[SMTPD_WHY_MAX + 1];
    const char *const rows[][2] = {
        {"the file is not at hand", "the file is not at hand"},
        {"", "the process that looked at it gave no reason"},
        {"a\r\nb\x1b[1m", "a??b?[1m"},
        {far_too_long, cut},
    };
    UNUSED(state);
    memset(far_too_long, 'x', sizeof far_too_long);
    memset(cut, 'x', sizeof cut);
    far_too_long[sizeof far_too_long - 1] = cut[sizeof cut - 1] = '\0';
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char want[400];
        struct conn *c = secure_client();
        buf_reset(&c->out);
        say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
        answer_why(AUTH_TEMPORARY, rows[i][0]);
        hears(c, "454 4.7.0");
        (void)snprintf(want, sizeof want, LATER "%s", rows[i][1]);
        journal_says("joe@here.test", want);
        assert_int_equal(the->n_refused, i + 1);
    }
    assert_int_equal(the->d->count.logins_failed, 0);
    assert_int_equal(the->d->count.logins_trouble, ARRAY_LEN(rows));
}

/* A name that is nobody's is asked for as well, as one that can't be in the file. */
static void unknown_names(void **state)
{
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, "AUTH PLAIN AGpvZUBmYXIudGVzdABzZWNyZXQ=\r\n"); /* joe@far.test */
    assert_true(str_eq(the->auth.user, STR("@")) && str_eq(the->auth.file, STR("/etc/org.users")));
    auth_answer(AUTH_BAD);
    hears(c, "535 5.7.8");
    assert_string_equal(the->event_from, "joe@far.test");
}

static void no_answer_comes(void **state)
{
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
    pass_ms(SMTPD_AUTH_MS - 1);
    assert_int_equal(c->out.n, 0);
    pass_ms(1);
    hears(c, "454 4.7.0");
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
    lose_keys();
    hears(c, "454 4.7.0");
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n"); /* nobody to ask */
    hears(c, "454 4.7.0");
    assert_int_equal(the->d->n_asks, 0);
    say(c, "AUTH LOGIN\r\n");
    hears(c, "334 ");
    say(c, "*\r\n");
    hears(c, "501 5.7.0");
}

static void a_client_leaves_while_it_is_asked(void **state)
{
    UNUSED(state);
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    struct conn *c = secure_client();
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
    c->is_eof = true;
    pass_ms(SMTPD_AUTH_MS);
    wake(c);
    assert_true(c->is_closed);
    auth_answer(AUTH_OK);
    assert_int_equal(the->d->n_asks, 0);
}

/* The common name of a certificate that an authority of ours has signed. */
static void certificates_of_clients(void **state)
{
    UNUSED(state);
    static const struct {
        const char *subject;
        bool is_trusted;
        const char *reply;
    } rows[] = {{"CN=joe@here.test", true, "235 2.7.0"},    {"O=x,CN=Joe@HERE.test,C=y", true, "235 2.7.0"},
                {"CN=joe@here.test", false, "504 5.5.4"},   {"CN=ann@here.test", true, "535 5.7.8"},
                {"CN=joe@far.test", true, "535 5.7.8"},     {"O=joe@here.test", true, "504 5.5.4"},
                {"CN=joe\\2C@here.test", true, "504 5.5.4"}};
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    the->config.client_ca = STR("-----BEGIN CERTIFICATE-----");
    reload();
    put_in_force(0, 11);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        the->facts = (struct tls_facts){.has_peer_certificate = true,
                                        .is_trusted = rows[i].is_trusted,
                                        .peer_subject = str_from_c(rows[i].subject)};
        struct conn *c = secure_client();
        say(c, "AUTH EXTERNAL =\r\n");
        hears(c, rows[i].reply);
    }
}

static void scram_is_offered_when_all_can(void **state)
{
    UNUSED(state);
    static const struct {
        unsigned scram;
        const char *line;
    } rows[] = {
        {0, "250-AUTH PLAIN LOGIN\r\n"},
        {1u << SCRAM_SHA256, "250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"},
        {1u << SCRAM_SHA256 | 1u << SCRAM_SHA1, "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN\r\n"}};
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[8];
        struct buf b;
        buf_init_fixed(&b, mem, sizeof mem);
        assert_true(ipc_encode_auth_offer(&(struct ipc_auth_offer){(uint8_t)rows[i].scram}, &b));
        from_keys(IPC_AUTH_OFFER, &b);
        struct conn *c = secure_client();
        assert_true(str_find(buf_str(&c->out), str_from_c(rows[i].line)) != STR_NPOS);
    }
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, "AUTH SCRAM-SHA-256 biwsbj1qb2VAaGVyZS50ZXN0LHI9YWJjZGVm\r\n"); /* n,,n=joe@here.test,r=abcdef */
    assert_int_equal(the->auth.kind, AUTH_SCRAM_FIRST);
    assert_int_equal(the->auth.hash, SCRAM_SHA256);
    assert_true(str_eq(the->auth.user, STR("joe")));
}

/* ---- logins that others look at -------------------------------------------------------------- */

static struct local_domain domains[2];

/* here.test by auth, and, with a file, there.test by keys. */
static void configure_elsewhere(bool has_file)
{
    static const struct auth_backend backend = {.kind = AUTH_BY_DOVECOT,
                                                .at = {.kind = NETADDR_UNIX, .path = "/run/x"}};
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    the->domain.passwords = 0;
    the->domain.auth = 1;
    domains[0] = domains[1] = the->domain;
    domains[1].name = STR("there.test");
    domains[1].auth = 0;
    domains[1].passwords = 1;
    the->config.policy.domains = domains;
    the->config.policy.n_domains = has_file ? 2 : 1;
    the->config.n_password_files = has_file ? 1 : 0;
    the->config.auths = &backend;
    the->config.n_auths = 1;
    reload();
    the->env.peers[ROLE_AUTH][0] = &the->others;
    smtpd_role.peer(the->d, ROLE_AUTH, 0, &the->others);
}

static void elsewhere_answers(enum auth_verdict verdict, const char *user)
{
    char mem[512];
    struct buf b;
    struct ipc_auth_answer m = {
        .token = the->auth.token, .verdict = (uint8_t)verdict, .user = str_from_c(user)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_answer(&m, &b));
    the->others.user->on_message(the->others.arg, &the->others, IPC_AUTH_ANSWER, buf_str(&b), NULL);
}

static void others_are_asked(void **state)
{
    UNUSED(state);
    configure_elsewhere(false);
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n"); /* joe@here.test, secret */
    assert_int_equal(the->auth.kind, AUTH_PASSWORD);
    assert_true(str_eq(the->auth.file, STR("here.test")) && str_eq(the->auth.user, STR("joe")));
    assert_true(str_eq(the->auth.client, STR("192.0.2.9")) && str_eq(the->auth.secret, STR("secret")));
    auth_answer(AUTH_OK); /* keys was not asked, and has no say */
    assert_int_equal(c->out.n, 0);
    elsewhere_answers(AUTH_OK, "joe@here.test");
    hears(c, "235 2.7.0");
    say(c, "MAIL FROM:<joe@here.test>\r\n");
    hears(c, "250");
}

static void what_others_say(void **state)
{
    UNUSED(state);
    static const struct {
        enum auth_verdict verdict;
        const char *user, *reply;
    } rows[] = {{AUTH_BAD, "", "535 5.7.8"},
                {AUTH_TEMPORARY, "", "454 4.7.0"},
                {AUTH_TOO_MANY, "", "454 4.7.0 too many"},
                {AUTH_OK, "joe@there.test", "454 4.7.0"}, /* has his password in a file */
                {AUTH_OK, "joe@far.test", "454 4.7.0"},
                {AUTH_OK, "", "454 4.7.0"},
                {(enum auth_verdict)99, "joe@here.test", "454 4.7.0"},
                {AUTH_OK, "ann@here.test", "235 2.7.0"}};
    configure_elsewhere(true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = secure_client();
        buf_reset(&c->out);
        say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
        elsewhere_answers(rows[i].verdict, rows[i].user);
        hears(c, rows[i].reply);
        if (rows[i].verdict == AUTH_OK && rows[i].reply[0] == '4')
            journal_says("joe@here.test",
                         LATER "who looks at the password named a user who is not his to name");
    }
}

/* They cost what a user costs: where there are files there, else where others look. */
static void unknown_names_elsewhere(void **state)
{
    UNUSED(state);
    for (unsigned has_file = 0; has_file < 2; has_file++) {
        configure_elsewhere(has_file != 0);
        struct conn *c = secure_client();
        buf_reset(&c->out);
        say(c, "AUTH PLAIN AGpvZUBmYXIudGVzdABzZWNyZXQ=\r\n"); /* joe@far.test */
        assert_true(str_eq(the->auth.user, STR("@")));
        if (has_file != 0) {
            assert_true(str_eq(the->auth.file, STR("/etc/org.users")));
            auth_answer(AUTH_BAD);
        } else {
            assert_true(str_eq(the->auth.file, STR("here.test")));
            elsewhere_answers(AUTH_BAD, "");
        }
        hears(c, "535 5.7.8");
        say(c, "AUTH PLAIN AGpvZS9waG9uZUBoZXJlLnRlc3QAc2VjcmV0\r\n"); /* joe/phone@here.test */
        assert_true(str_eq(the->auth.user, STR("@")));
    }
}

static void no_answer_from_elsewhere(void **state)
{
    UNUSED(state);
    configure_elsewhere(true);
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
    pass_ms(SMTPD_AUTH_MS - 1);
    assert_int_equal(c->out.n, 0);
    pass_ms(1);
    hears(c, "454 4.7.0");
    journal_says("joe@here.test", LATER "no answer came in time from the process that looks at passwords");
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
    lose_keys(); /* which is another's matter */
    assert_int_equal(c->out.n, 0);
    the->env.peers[ROLE_AUTH][0] = NULL;
    the->others.user->on_closed(the->others.arg, &the->others);
    hears(c, "454 4.7.0");
    journal_says("joe@here.test", LATER "the process that looks at passwords ended");
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n"); /* nobody to ask */
    hears(c, "454 4.7.0");
    journal_says("joe@here.test", LATER "the process that looks at passwords is not there");
    assert_int_equal(the->d->n_asks, 0);
}

static void no_scram_elsewhere(void **state)
{
    UNUSED(state);
    char mem[8];
    struct buf b;
    configure_elsewhere(true);
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_offer(&(struct ipc_auth_offer){1u << SCRAM_SHA256 | 1u << SCRAM_SHA1}, &b));
    from_keys(IPC_AUTH_OFFER, &b);
    struct conn *c = secure_client();
    assert_true(str_find(buf_str(&c->out), STR("250-AUTH PLAIN LOGIN\r\n")) != STR_NPOS);
    buf_reset(&c->out);
    say(c, "AUTH SCRAM-SHA-256 biwsbj1qb2VAaGVyZS50ZXN0LHI9YWJjZGVm\r\n");
    hears(c, "504 5.5.4");
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* here.test with passwords and tokens, there.test with tokens alone, no.test with passwords alone. */
static void configure_tokens(void)
{
    static struct local_domain all[3];
    configure(LISTEN_STARTTLS, LISTEN_MUST_AUTH);
    put_in_force(0, 11);
    the->config.oauth = (struct oauth_conf){.by = OAUTH_JWKS,
                                            .issuer = STR("https://id.test"),
                                            .scope = STR("mail"),
                                            .discovery = STR("https://id.test/.well-known/x")};
    the->domain.tokens = true;
    all[0] = all[1] = all[2] = the->domain;
    all[1].name = STR("no.test");
    all[1].tokens = false;
    all[2].name = STR("there.test");
    all[2].passwords = 0;
    the->config.policy.domains = all;
    the->config.policy.n_domains = ARRAY_LEN(all);
    reload();
    the->env.peers[ROLE_AUTH][0] = &the->others;
    smtpd_role.peer(the->d, ROLE_AUTH, 0, &the->others);
}

/* "n,,\1auth=Bearer abc\1\1"; with a=joe@here.test; "user=joe@here.test\1auth=Bearer abc\1\1" */
#define BEARER "AUTH OAUTHBEARER biwsAWF1dGg9QmVhcmVyIGFiYwEB\r\n"
#define BEARER_JOE "AUTH OAUTHBEARER bixhPWpvZUBoZXJlLnRlc3QsAWF1dGg9QmVhcmVyIGFiYwEB\r\n"
#define XOAUTH2_JOE "AUTH XOAUTH2 dXNlcj1qb2VAaGVyZS50ZXN0AWF1dGg9QmVhcmVyIGFiYwEB\r\n"

static void tokens_are_asked_about(void **state)
{
    UNUSED(state);
    static const struct {
        const char *line, *user, *login;
    } rows[] = {{BEARER, "", "joe@there.test"},
                {BEARER, "", "Joe@HERE.test"},
                {BEARER_JOE, "joe@here.test", "joe@here.test"},
                {XOAUTH2_JOE, "joe@here.test", "joe@here.test"}};
    configure_tokens();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = secure_client();
        if (i == 0)
            assert_true(str_find(buf_str(&c->out), STR("250-AUTH OAUTHBEARER XOAUTH2 PLAIN LOGIN\r\n")) !=
                        STR_NPOS);
        buf_reset(&c->out);
        say(c, rows[i].line);
        assert_int_equal(the->auth.kind, AUTH_TOKEN);
        assert_true(the->auth.file.n == 0 && str_eq(the->auth.user, str_from_c(rows[i].user)));
        assert_true(str_eq(the->auth.client, STR("192.0.2.9")) && str_eq(the->auth.secret, STR("abc")));
        auth_answer(AUTH_OK); /* keys was not asked */
        assert_int_equal(c->out.n, 0);
        elsewhere_answers(AUTH_OK, rows[i].login);
        hears(c, "235 2.7.0");
        say(c, i == 0 ? "MAIL FROM:<joe@there.test>\r\n" : "MAIL FROM:<joe@here.test>\r\n");
        hears(c, "250");
    }
}

static void what_is_said_of_tokens(void **state)
{
    UNUSED(state);
    static const struct {
        enum auth_verdict verdict;
        const char *line, *user, *reply, *told;
    } rows[] = {{AUTH_TEMPORARY, BEARER, "", "454 4.7.0", ""},
                {AUTH_TEMPORARY, BEARER_JOE, "", "454 4.7.0", "joe@here.test"},
                {(enum auth_verdict)99, BEARER, "joe@here.test", "454 4.7.0", ""},
                {AUTH_TOO_MANY, BEARER_JOE, "", "454 4.7.0 too many", "joe@here.test"},
                {AUTH_BAD, BEARER, "", NULL, ""},
                {AUTH_BAD, BEARER_JOE, "", NULL, "joe@here.test"},
                {AUTH_OK, BEARER, "", NULL, ""},
                {AUTH_OK, BEARER, "ann@here.test", NULL, "ann@here.test"}, /* no such user */
                {AUTH_OK, BEARER, "joe@far.test", NULL, ""},
                {AUTH_OK, BEARER, "joe@no.test", NULL, "joe@no.test"},
                {AUTH_OK, BEARER_JOE, "joe@there.test", NULL, "joe@here.test"}, /* another's token */
                {AUTH_OK, BEARER_JOE, "joe/phone@here.test", NULL, "joe@here.test"}};
    configure_tokens();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conn *c = secure_client();
        buf_reset(&c->out);
        unsigned n = the->n_refused;
        say(c, rows[i].line);
        elsewhere_answers(rows[i].verdict, rows[i].user);
        assert_int_equal(the->n_refused - n, 1);
        assert_string_equal(the->event_from, rows[i].told);
        if (rows[i].reply == NULL) {
            /* {"status":"invalid_token","scope":"mail","openid-configuration":"https://id.test/.well-known/x"}
             */
            hears(
                c,
                "334 "
                "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJtYWlsIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRw"
                "czovL2lkLnRlc3QvLndlbGwta25vd24veCJ9");
            say(c, "AQ==\r\n");
        }
        hears(c, rows[i].reply == NULL ? "535 5.7.8" : rows[i].reply);
        say(c, "MAIL FROM:<joe@here.test>\r\n");
        hears(c, "530 5.7.0");
    }
}

/* Nor has a user who has only tokens a password, whatever else is there. */
static void tokens_and_passwords(void **state)
{
    UNUSED(state);
    configure_tokens();
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, "AUTH PLAIN AGpvZUB0aGVyZS50ZXN0AHNlY3JldA==\r\n"); /* joe@there.test, secret */
    assert_true(str_eq(the->auth.user, STR("@")) && str_eq(the->auth.file, STR("/etc/org.users")));
    auth_answer(AUTH_BAD);
    hears(c, "535 5.7.8");
    the->config.n_password_files = 0; /* nobody has passwords */
    the->domain.passwords = 0;
    the->config.policy.domains = &the->domain;
    the->config.policy.n_domains = 1;
    reload();
    c = secure_client();
    assert_true(str_find(buf_str(&c->out), STR("250-AUTH OAUTHBEARER XOAUTH2\r\n")) != STR_NPOS);
    buf_reset(&c->out);
    say(c, "AUTH PLAIN AGpvZUBoZXJlLnRlc3QAc2VjcmV0\r\n");
    hears(c, "504 5.5.4");
    the->config.oauth.by = OAUTH_NONE;
    the->domain.tokens = false;
    the->domain.passwords = 1;
    the->config.n_password_files = 1;
    reload();
    c = secure_client();
    assert_true(str_find(buf_str(&c->out), STR("250-AUTH PLAIN LOGIN\r\n")) != STR_NPOS);
    buf_reset(&c->out);
    say(c, BEARER);
    hears(c, "504 5.5.4");
}

static void nobody_to_ask_about_tokens(void **state)
{
    UNUSED(state);
    configure_tokens();
    struct conn *c = secure_client();
    buf_reset(&c->out);
    say(c, BEARER);
    lose_keys();
    assert_int_equal(c->out.n, 0);
    pass_ms(SMTPD_AUTH_MS);
    hears(c, "454 4.7.0");
    say(c, BEARER);
    the->env.peers[ROLE_AUTH][0] = NULL;
    the->others.user->on_closed(the->others.arg, &the->others);
    hears(c, "454 4.7.0");
    say(c, BEARER);
    hears(c, "454 4.7.0");
    assert_int_equal(the->d->n_asks, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(starttls_needs_a_certificate),
        T(certificates_come_and_change),
        T(tickets_are_common),
        T(octets_behind_starttls),
        T(tls_from_the_first_octet),
        T(one_too_many_gets_no_handshake),
        T(proxy_header_before_tls),
        T(signatures),
        T(nobody_sends_without_a_login),
        T(a_login_sends),
        T(names_outside_ascii),
        T(what_keys_says),
        T(trouble_is_told),
        T(unknown_names),
        T(no_answer_comes),
        T(a_client_leaves_while_it_is_asked),
        T(certificates_of_clients),
        T(scram_is_offered_when_all_can),
        T(others_are_asked),
        T(what_others_say),
        T(unknown_names_elsewhere),
        T(no_answer_from_elsewhere),
        T(no_scram_elsewhere),
        T(tokens_are_asked_about),
        T(what_is_said_of_tokens),
        T(tokens_and_passwords),
        T(nobody_to_ask_about_tokens),
    };
    return cmocka_run_group_tests_name("smtpd_secure", tests, NULL, NULL);
}
