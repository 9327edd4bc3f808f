/* The role's rounds: what its program is started with, what becomes of what that says, and when it is tried
 * again. The lines are those of uacme 1.7.4; that it really speaks so is tests/e2e/acme.py. */
#include "service/acme/acme_testing.h"

#define TOKEN "XRiH-0ravX4rEb92cmmQXxe6KH6ihTEoOp_b-kdAIq8"
#define TOKEN2 "Xxe7f2ie3y1eXxrY4yZRcWoBQm0uh45njxEIhpnNI8s"
#define CHALLENGE(type, token)                                                                               \
    "uacme: challenge=" type " ident=mx.example.org token=" token " key_auth=" token                         \
    ".BCfTO6y5tGqNEGztL5ZEnJ\n"                                                                              \
    "uacme: type 'y' followed by a newline to accept challenge, anything else to skip\n"
#define ISSUE                                                                                                \
    "/usr/bin/uacme -y -a https://ca.example/dir -c /acme/client issue /acme/client/mx.example.org.csr "
#define NEW "/usr/bin/uacme -y -a https://ca.example/dir -c /acme/client new admin@example.org "
enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, DAY = 24 * HOUR_MS };

static const struct str mx_names[] = {STR_INIT("mx.example.org"), STR_INIT("mail.example.org")};
static const struct str other_names[] = {STR_INIT("b.example")};
static const struct certificate_conf certificates[] = {{.names = mx_names, .n_names = 2},
                                                       {.n_names = 0}, /* somebody brings it */
                                                       {.names = other_names, .n_names = 1}};

static int set_up(void **state)
{
    UNUSED(state);
    begin(ROLE_ACME, &acme_role, "/acme/client");
    the->config.acme = (struct acme_conf){.contact = STR("admin@example.org"),
                                          .directory = STR("https://ca.example/dir"),
                                          .folder = STR("/acme")};
    the->config.certificates = certificates;
    the->config.n_certificates = 1;
    create();
    pass(0);
    return 0;
}

static void says(const char *text)
{
    arrive(the->program.output, str_from_c(text));
}

static void ends(int status)
{
    const struct program_end end = {.status = status};
    void (*on_end)(void *arg, const struct program_end *e) = the->program.on_end;
    assert_non_null(on_end);
    the->program.on_end = NULL;
    on_end(the->program.arg, &end);
}

static bool runs(void)
{
    return the->program.on_end != NULL;
}

static void wrote(const char *want)
{
    struct buf *out = &the->program.input->out;
    assert_true(str_eq(buf_str(out), str_from_c(want)));
    buf_reset(out);
}

static void told(const char *want)
{
    assert_string_equal(the->told, want);
    the->told[0] = '\0';
}

static void hears_serving(const char *token)
{
    char mem[256];
    struct buf b;
    struct ipc_http01_serving m = {.token = str_from_c(token)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_http01_serving(&m, &b));
    hear(IPC_HTTP01_SERVING, &b);
}

static void hears_port(uint32_t token, enum err e)
{
    char mem[64];
    struct buf b;
    struct ipc_sup_port m = {.token = token, .err = (uint8_t)e};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sup_port(&m, &b));
    acme_role.from_super(the->self, IPC_SUP_PORT, buf_str(&b), NULL);
}

/* The next round comes between these two, from now. */
static void comes_again(uint64_t from_ms, uint64_t until_ms)
{
    unsigned before = the->n_programs;
    assert_false(runs());
    pass(from_ms - 1);
    assert_int_equal(the->n_programs, before);
    pass(until_ms - from_ms + 1);
    assert_int_equal(the->n_programs, before + 1);
}

static void issues(void **state)
{
    UNUSED(state);
    assert_string_equal(the->program.words, ISSUE);
    says(CHALLENGE("dns-01", "abc"));
    wrote("n\n"); /* it asks for each kind until one is taken */
    told("");
    says(CHALLENGE("http-01", TOKEN));
    told("serve(" TOKEN ") ");
    assert_int_equal(the->n_ports, 1);
    hears_port(the->port_token, ERR_OK);
    wrote(""); /* not before it is answered */
    hears_serving(TOKEN2);
    wrote("");
    hears_serving(TOKEN);
    wrote("y\n");
    hears_serving(TOKEN);
    wrote("");
    says(CHALLENGE("http-01", TOKEN2)); /* of the second name */
    hears_serving(TOKEN2);
    wrote("y\n");
    assert_int_equal(the->n_ports, 1);
    ends(0);
    assert_int_equal(the->n_issued, 1);
    assert_true(was_logged("acme.issued name=mx.example.org"));
    told("serve(" TOKEN2 ") serve() ");
    assert_false(runs());
}

/* The answers of one certificate are forgotten before the next is got: nobody keeps more than that has names.
 */
static void one_by_one(void **state)
{
    UNUSED(state);
    the->config.n_certificates = 3;
    says(CHALLENGE("http-01", TOKEN));
    hears_serving(TOKEN);
    told("serve(" TOKEN ") ");
    ends(0);
    told("serve() ");
    assert_false(runs());
    hears_serving("");
    assert_non_null(strstr(the->program.words, " issue /acme/client/b.example.csr "));
    says(CHALLENGE("http-01", TOKEN2));
    assert_int_equal(the->n_ports, 2); /* it was closed */
    hears_serving(TOKEN2);
    ends(0);
    told("serve(" TOKEN2 ") serve() ");
    hears_serving("");
    assert_int_equal(the->n_issued, 2);
    comes_again(23 * (uint64_t)HOUR_MS, 25 * (uint64_t)HOUR_MS);
}

/* ---- TLS-ALPN-01 ---- */

#define PROOF(name)                                                                                          \
    "uacme: challenge=tls-alpn-01 ident=" name " token=" TOKEN                                               \
    " key_auth=9LV_wNz1AQ1_RSmp-WKbbOEfALfSSKhuOs9TTCRCCEw\n"

static int set_up_alpn(void **state)
{
    UNUSED(state);
    begin(ROLE_ACME, &acme_role, "/acme/client");
    the->env.peers[ROLE_HTTP01][0] = NULL;
    the->env.peers[ROLE_HTTPS][0] = &the->other;
    the->other_role = ROLE_HTTPS;
    the->config.acme = (struct acme_conf){.contact = STR("admin@example.org"),
                                          .directory = STR("https://ca.example/dir"),
                                          .folder = STR("/acme"),
                                          .challenge = ACME_TLS_ALPN_01};
    the->config.certificates = certificates;
    the->config.n_certificates = 1;
    create();
    pass(0);
    return 0;
}

static void hears_proving(const char *name)
{
    char mem[256];
    struct buf b;
    struct ipc_alpn_serving m = {.name = str_from_c(name)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_alpn_serving(&m, &b));
    hear(IPC_ALPN_SERVING, &b);
}

static void proves(void **state)
{
    UNUSED(state);
    says(CHALLENGE("http-01", TOKEN));
    wrote("n\n");
    told("");
    says(PROOF("mx.example.org"));
    told("prove(mx.example.org) ");
    wrote("");
    hears_proving("mail.example.org"); /* another */
    wrote("");
    hears_proving("mx.example.org");
    wrote("y\n");
    says(PROOF("mail.example.org"));
    hears_proving("mail.example.org");
    wrote("y\n");
    assert_int_equal(the->n_ports, 0); /* the port is not opened for it */
    ends(0);
    told("prove(mail.example.org) prove() ");
    assert_int_equal(the->n_issued, 1);
    hears_proving("");
    comes_again(23 * (uint64_t)HOUR_MS, 25 * (uint64_t)HOUR_MS);
}

static void https_dies(void **state)
{
    UNUSED(state);
    says(PROOF("mx.example.org"));
    the->other.user->on_closed(the->other.arg, &the->other);
    assert_int_equal(the->program.n_terms, 1);
    ends(2);
    assert_true(was_logged("the https process died"));
    comes_again(15 * MINUTE_MS, 18 * MINUTE_MS);
    says(PROOF("mx.example.org"));
    assert_int_equal(the->program.n_terms, 1);
    ends(2);
    assert_true(was_logged("the https process is not there"));
    the->other.is_closed = false;
    acme_role.peer(the->self, ROLE_HTTPS, 0, &the->other);
    the->told[0] = '\0';
    comes_again(30 * MINUTE_MS, 36 * MINUTE_MS);
    says(PROOF("mx.example.org"));
    told("prove(mx.example.org) ");
    char mem[16];
    struct buf bad;
    buf_init_fixed(&bad, mem, sizeof mem);
    hear(IPC_HTTP01_SERVING, &bad); /* that is http01's to say */
    assert_true(the->other.is_closed);
    ends(2);
}

/* A round that began with one kind of challenge ends with it. */
static void kind_changes(void **state)
{
    UNUSED(state);
    struct config next = the->config;
    next.acme.challenge = ACME_HTTP_01;
    says(PROOF("mx.example.org"));
    told("prove(mx.example.org) ");
    the->env.config = &next;
    acme_role.reload(the->self, &the->config);
    hears_proving("mx.example.org");
    wrote("y\n");
    ends(0);
    told("prove() ");
    hears_proving("");
    assert_true(runs());
    says(PROOF("mx.example.org"));
    wrote("n\n");
    ends(1);
    the->env.config = &the->config;
    acme_role.reload(the->self, &next);
    ends(1);
}

static void closes(void **state)
{
    UNUSED(state);
    says(CHALLENGE("http-01", TOKEN));
    hears_serving(TOKEN);
    told("serve(" TOKEN ") ");
    ends(0);
    told("serve() "); /* forget all */
    hears_serving("");
    comes_again(23 * (uint64_t)HOUR_MS, 25 * (uint64_t)HOUR_MS);
    says(CHALLENGE("http-01", TOKEN));
    assert_int_equal(the->n_ports, 2); /* a port of its own for each round */
    ends(1);
    assert_int_equal(the->n_issued, 2); /* one that is current is told, too */
    assert_true(was_logged("acme.current"));
}

static void joins(void **state)
{
    UNUSED(state);
    says("uacme: failed to access /acme/client/private\n");
    ends(2);
    assert_string_equal(the->program.words, NEW);
    says("uacme: terms at data:text/plain,Do%20what%20thou%20wilt autoaccepted (-y)\n");
    ends(0);
    assert_true(was_logged("acme.joined contact=admin@example.org"));
    assert_string_equal(the->program.words, ISSUE);
    says("uacme: no account associated with /acme/client/private/key.pem found at https://ca.example/. "
         "Consider trying "
         "'new'\n");
    ends(2); /* once a round */
    assert_false(runs());
    assert_true(was_logged("why=\"there is no account at the authority\""));
    assert_int_equal(the->n_issued, 0);
    comes_again(15 * MINUTE_MS, 18 * MINUTE_MS);
    assert_string_equal(the->program.words, ISSUE);
}

static void joins_in_vain(void **state)
{
    UNUSED(state);
    the->config.n_certificates = 3;
    says("uacme: failed to access /acme/client/private\n");
    ends(2);
    says("    \"detail\": \"contact is not a mail address\",\n");
    ends(2);
    assert_true(was_logged("why=\"contact is not a mail address\""));
    assert_false(runs()); /* the others would have no account either */
    comes_again(15 * MINUTE_MS, 18 * MINUTE_MS);
}

static void others_go_on(void **state)
{
    UNUSED(state);
    the->config.n_certificates = 3;
    says("uacme: curl_get: GET https://ca.example/dir failed: Couldn't connect to server\n"
         "uacme: failed to fetch directory at https://ca.example/dir\n");
    ends(2);
    assert_true(
        was_logged("why=\"curl_get: GET https://ca.example/dir failed: Couldn't connect to server\""));
    assert_true(runs()); /* the second place is none of ours */
    assert_non_null(strstr(the->program.words, " issue /acme/client/b.example.csr "));
    ends(0);
    assert_int_equal(the->n_issued, 1);
    comes_again(15 * MINUTE_MS, 18 * MINUTE_MS); /* one failed, so all are looked at */
}

static void failures_double(void **state)
{
    UNUSED(state);
    uint64_t ms = 15 * MINUTE_MS;
    for (unsigned i = 0; i < 8; i++) {
        says("uacme: challenge x failed with status invalid\n{\n    \"detail\": \"no such "
             "host\\u0007\",\n}\n");
        ends(2);
        assert_true(was_logged("why=\"no such host\\\\u0007\""));
        buf_reset(&the->log_text);
        comes_again(ms, ms + ms / 5);
        ms = ms * 2 > 12 * (uint64_t)HOUR_MS ? 12 * (uint64_t)HOUR_MS : ms * 2;
    }
    ends(1); /* well: back to once a day */
    comes_again(23 * (uint64_t)HOUR_MS, 25 * (uint64_t)HOUR_MS);
}

static void no_port(void **state)
{
    UNUSED(state);
    says(CHALLENGE("http-01", TOKEN));
    hears_port(the->port_token + 1, ERR_EXISTS); /* of another day */
    assert_int_equal(the->program.n_terms, 0);
    hears_port(the->port_token, ERR_AGAIN); /* http01 is starting */
    pass(1000);
    assert_int_equal(the->n_ports, 2);
    hears_port(the->port_token, ERR_EXISTS);
    assert_int_equal(the->program.n_terms, 1);
    pass(5000);
    assert_int_equal(the->program.n_kills, 1);
    const struct program_end end = {.signo = 9};
    void (*on_end)(void *arg, const struct program_end *e) = the->program.on_end;
    the->program.on_end = NULL;
    on_end(the->program.arg, &end);
    assert_true(was_logged("another program has it"));
    told("serve(" TOKEN ") serve() ");
    assert_false(was_logged("acme.retry"));
    hears_serving("");
    assert_true(was_logged("acme.retry"));
}

static void http01_dies(void **state)
{
    UNUSED(state);
    says(CHALLENGE("http-01", TOKEN));
    the->other.user->on_closed(the->other.arg, &the->other);
    assert_int_equal(the->program.n_terms, 1);
    says(CHALLENGE("http-01", TOKEN2)); /* nobody is there */
    ends(2);
    assert_true(was_logged("the http01 process died"));
    assert_false(runs());
    the->other.is_closed = false;
    acme_role.peer(the->self, ROLE_HTTP01, 0, &the->other);
    the->told[0] = '\0';
    comes_again(15 * MINUTE_MS, 18 * MINUTE_MS);
    says(CHALLENGE("http-01", TOKEN));
    told("serve(" TOKEN ") ");
    char mem[16];
    struct buf bad;
    buf_init_fixed(&bad, mem, sizeof mem);
    hear(IPC_HTTP01_SERVE, &bad); /* it may not say that */
    assert_true(the->other.is_closed);
    ends(2);
}

static void time_runs_out(void **state)
{
    UNUSED(state);
    pass(10 * MINUTE_MS - 1);
    assert_int_equal(the->program.n_terms, 0);
    pass(1);
    assert_int_equal(the->program.n_terms, 1);
    ends(0); /* too late to be believed */
    assert_true(was_logged("did not end in time"));
    assert_int_equal(the->n_issued, 0);
}

static void is_not_there(void **state)
{
    UNUSED(state);
    const struct program_end end = {.err = ERR_NOTFOUND};
    void (*on_end)(void *arg, const struct program_end *e) = the->program.on_end;
    the->program.on_end = NULL;
    on_end(the->program.arg, &end);
    assert_true(was_logged("why=\"/usr/bin/uacme is not there (package uacme)\""));
    the->start_err = ERR_NOMEM;
    pass(DAY);
    assert_true(was_logged("can't run /usr/bin/uacme"));
    the->start_err = ERR_OK;
    pass(DAY);
    assert_true(runs());
    ends(7);
    assert_true(was_logged("uacme ended with status 7 and did not say why"));
}

/* However the lines come, and however long they are. */
static void pieces(void **state)
{
    UNUSED(state);
    static char longest[5000];
    const char *text = CHALLENGE("http-01", TOKEN);
    memset(longest, 'x', sizeof longest);
    arrive(the->program.output, str_of(longest, sizeof longest));
    says("uacme: challenge=http-01 ident=a token=b key_auth=b.c\n"); /* the rest of that line */
    told("");
    for (size_t i = 0; text[i] != '\0'; i++)
        arrive(the->program.output, str_of(text + i, 1));
    told("serve(" TOKEN ") ");
    ends(2);
}

static void reloads(void **state)
{
    UNUSED(state);
    struct config next = the->config;
    says(CHALLENGE("http-01", TOKEN));
    the->env.config = &next;
    acme_role.reload(the->self, &the->config);
    assert_int_equal(the->n_released, 1);
    assert_int_equal(the->n_programs, 1); /* one at a time */
    ends(0);
    assert_int_equal(the->n_programs, 1); /* http01 has to close its port first */
    hears_serving("");
    assert_int_equal(the->n_programs, 2);
    ends(1);
    assert_int_equal(the->n_issued, 1); /* of the first round the new one tells */
    acme_role.reload(the->self, &next); /* at rest: at once */
    assert_int_equal(the->n_programs, 3);
    ends(1);
    the->env.config = &the->config;
    acme_role.reload(the->self, &next);
    ends(1);
}

static void drains(void **state)
{
    UNUSED(state);
    says(CHALLENGE("http-01", TOKEN));
    acme_role.drain(the->self, the->now_ms + MINUTE_MS);
    assert_int_equal(the->program.n_terms, 1);
    assert_int_equal(the->n_drained, 0);
    ends(0);
    hears_serving("");
    assert_int_equal(the->n_drained, 1);
    assert_false(runs());
}

static void drains_at_rest(void **state)
{
    UNUSED(state);
    ends(1);
    acme_role.drain(the->self, the->now_ms + MINUTE_MS);
    assert_int_equal(the->n_drained, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, finish)
#define A(f) cmocka_unit_test_setup_teardown(f, set_up_alpn, finish)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(issues),          T(closes),     T(joins),        T(joins_in_vain),  T(others_go_on),
        T(failures_double), T(no_port),    T(http01_dies),  T(time_runs_out),  T(is_not_there),
        T(pieces),          T(reloads),    T(drains),       T(drains_at_rest), T(one_by_one),
        A(proves),          A(https_dies), A(kind_changes),
    };
    return cmocka_run_group_tests_name("acme", tests, NULL, NULL);
}
