/* ipc/ipc_test.c: codec, lists and rights. */
#include "base/limits.h"
#include "ipc/events.h"
#include "ipc/lists.h"
#include "ipc/rights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char mem[IPC_FRAME_MAX];

static struct buf scratch(void)
{
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    return b;
}

static void test_round_trip(void **state)
{
    UNUSED(state);
    struct buf b = scratch();
    struct ipc_put in = {.token = 7,
                         .id = 0x1122334455667788u,
                         .flags = MAIL_FLAG_8BIT,
                         .sender = STR("a@b"),
                         .rcpts = STR("\1\0\0\0x"),
                         .client = STR("192.0.2.1"),
                         .helo = STR("h"),
                         .is_piped = 1,
                         .body = STR_NIL};
    struct ipc_put out;
    assert_true(ipc_encode_put(&in, &b));
    assert_true(ipc_decode_put(buf_str(&b), &out));
    assert_int_equal(out.token, 7);
    assert_true(out.id == in.id);
    assert_int_equal(out.flags, MAIL_FLAG_8BIT);
    assert_true(str_eq(out.sender, STR("a@b")));
    assert_true(str_eq(out.rcpts, in.rcpts));
    assert_int_equal(out.is_piped, 1);
    assert_int_equal(out.body.n, 0);
}

/* Every cut of every length field, and every octet too much, is refused. */
static void test_malformed(void **state)
{
    UNUSED(state);
    struct buf b = scratch();
    struct ipc_event in = {.kind = EVENT_ACCEPTED,
                           .wall_ms = 1,
                           .id = 2,
                           .other_id = 3,
                           .rcpt = STR("rcpt"),
                           .host = STR("host"),
                           .text = STR("text"),
                           .number = 9};
    struct ipc_event out;
    assert_true(ipc_encode_event(&in, &b));
    for (size_t n = 0; n < b.n; n++)
        assert_false(ipc_decode_event(str_of(mem, n), &out));
    assert_true(ipc_decode_event(buf_str(&b), &out));
    buf_putc(&b, 'x');
    assert_false(ipc_decode_event(buf_str(&b), &out));
    put_u32_at(mem + 26, UINT32_MAX); /* the length of rcpt */
    assert_false(ipc_decode_event(buf_str(&b), &out));
}

static void test_too_big(void **state)
{
    UNUSED(state);
    char small[16];
    struct buf b;
    struct ipc_mx_ask m = {.token = 1, .domain = STR("a.domain.that.does.not.fit")};
    buf_init_fixed(&b, small, sizeof small);
    assert_false(ipc_encode_mx_ask(&m, &b));
    assert_true(b.failed);
}

static void test_lists(void **state)
{
    UNUSED(state);
    struct buf b = scratch();
    struct str s;
    assert_true(list_put_str(&b, STR("one")) && list_put_str(&b, STR_NIL) && list_put_str(&b, STR("three")));
    assert_int_equal(list_count_str(buf_str(&b)), 3);
    for (size_t n = 1; n < b.n; n++) {
        size_t got = list_count_str(str_of(mem, n));
        assert_true(got == STR_NPOS || n == 7 || n == 11); /* whole at these places */
    }
    struct reader r = reader_of(buf_str(&b));
    assert_true(list_next_str(&r, &s) && str_eq(s, STR("one")));
    assert_true(list_next_str(&r, &s) && s.n == 0);
    assert_true(list_next_str(&r, &s) && str_eq(s, STR("three")));
    assert_false(list_next_str(&r, &s));
    assert_false(r.failed);
}

static void test_addresses(void **state)
{
    UNUSED(state);
    static const char *const texts[] = {"192.0.2.1:25", "[2001:db8::1]:24", "unix:/run/x"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct buf b = scratch();
        struct netaddr in, out;
        assert_true(netaddr_parse(str_from_c(texts[i]), 0, &in));
        struct hop hop = {.preference = 10, .port = 25, .name = STR_NIL, .addr = in}, hop_out;
        assert_true(list_put_addr(&b, &in));
        size_t whole = b.n;
        struct reader r = reader_of(buf_str(&b));
        assert_true(list_next_addr(&r, &out) && netaddr_eq(&in, &out));
        for (size_t n = 1; n < whole; n++) {
            r = reader_of(str_of(mem, n));
            assert_false(list_next_addr(&r, &out));
            assert_true(r.failed);
        }
        buf_reset(&b);
        assert_true(list_put_hop(&b, &hop));
        r = reader_of(buf_str(&b));
        assert_true(list_next_hop(&r, &hop_out) && hop_out.preference == 10 &&
                    netaddr_eq(&hop_out.addr, &in));
    }
}

static void test_bad_addresses(void **state)
{
    UNUSED(state);
    static const struct str bad[] = {
        STR_INIT("\0\0\0\4\0\0\0abcd"),  /* no kind */
        STR_INIT("\1\0\0\5\0\0\0abcde"), /* IPv4 of five octets */
        STR_INIT("\2\0\0\4\0\0\0abcd"),  /* IPv6 of four */
        STR_INIT("\3\0\0\0\0\0\0"),      /* an empty path */
        STR_INIT("\3\0\0\3\0\0\0a\0b"),  /* a NUL in a path */
        STR_INIT("\11\0\0\4\0\0\0abcd"), /* an unknown kind */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct reader r = reader_of(bad[i]);
        struct netaddr a;
        assert_false(list_next_addr(&r, &a));
        assert_true(r.failed);
    }
}

static void test_results(void **state)
{
    UNUSED(state);
    struct buf b = scratch();
    char text[RESULT_TEXT_MAX * 2];
    struct job_result in = {.kind = RESULT_PERMANENT,
                            .stage = 4,
                            .code = 550,
                            .esc = ESC(5, 1, 1),
                            .host = STR("h"),
                            .text = str_of(text, sizeof text)};
    struct job_result out;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = 't';
    assert_true(list_put_result(&b, &in));
    struct reader r = reader_of(buf_str(&b));
    assert_true(list_next_result(&r, &out));
    assert_int_equal(out.kind, RESULT_PERMANENT);
    assert_int_equal(out.code, 550);
    assert_int_equal(out.esc.subject, 1);
    assert_int_equal(out.text.n, RESULT_TEXT_MAX);
    mem[0] = 3; /* no such kind */
    r = reader_of(buf_str(&b));
    assert_false(list_next_result(&r, &out));
}

/* The edges of DESIGN: these pairs and no others. */
static void test_edges(void **state)
{
    UNUSED(state);
    static const enum role pairs[][2] = {
        {ROLE_SMTPD, ROLE_QUEUE},  {ROLE_QUEUE, ROLE_LOOKUP},  {ROLE_QUEUE, ROLE_RELAY},
        {ROLE_QUEUE, ROLE_LOCAL},  {ROLE_QUEUE, ROLE_ADMIN},   {ROLE_RELAY, ROLE_LOOKUP},
        {ROLE_SMTPD, ROLE_LOOKUP}, {ROLE_SMTPD, ROLE_ADMIN},   {ROLE_LOOKUP, ROLE_ADMIN},
        {ROLE_RELAY, ROLE_ADMIN},  {ROLE_LOCAL, ROLE_ADMIN},   {ROLE_LOCAL, ROLE_DELIVER},
        {ROLE_LOCAL, ROLE_PIPE},   {ROLE_SMTPD, ROLE_KEYS},    {ROLE_RELAY, ROLE_KEYS},
        {ROLE_KEYS, ROLE_ADMIN},   {ROLE_QUEUE, ROLE_AGENT},   {ROLE_AGENT, ROLE_LOOKUP},
        {ROLE_AGENT, ROLE_ADMIN},  {ROLE_ACME, ROLE_HTTP01},   {ROLE_RELAY, ROLE_AGENT},
        {ROLE_SMTPD, ROLE_AUTH},   {ROLE_AUTH, ROLE_PAM},      {ROLE_AUTH, ROLE_ADMIN},
        {ROLE_AUTH, ROLE_TABLES},  {ROLE_TABLES, ROLE_LOOKUP}, {ROLE_TABLES, ROLE_ADMIN},
        {ROLE_ACME, ROLE_HTTPS},   {ROLE_HTTPS, ROLE_KEYS},
    };
    for (unsigned a = 1; a < ROLE_N; a++) {
        for (unsigned b = 1; b < ROLE_N; b++) {
            bool want = false;
            for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
                want =
                    want || (pairs[i][0] == a && pairs[i][1] == b) || (pairs[i][0] == b && pairs[i][1] == a);
            assert_int_equal(ipc_has_edge((enum role)a, (enum role)b), want);
        }
    }
}

static void test_rights(void **state)
{
    UNUSED(state);
    assert_true(ipc_may_send(ROLE_SMTPD, ROLE_QUEUE, IPC_PUT));
    assert_false(ipc_may_send(ROLE_QUEUE, ROLE_SMTPD, IPC_PUT));
    assert_false(ipc_may_send(ROLE_SMTPD, ROLE_QUEUE, IPC_JOB_DONE)); /* a taken smtpd can't settle mail */
    assert_false(ipc_may_send(ROLE_SMTPD, ROLE_QUEUE, IPC_CTL_ASK));  /* nor drop it */
    assert_false(ipc_may_send(ROLE_RELAY, ROLE_QUEUE, IPC_PUT));
    assert_true(ipc_may_send(ROLE_RELAY, ROLE_LOOKUP, IPC_RR_ASK));
    assert_true(ipc_may_send(ROLE_LOOKUP, ROLE_QUEUE, IPC_RR_ANSWER));
    assert_false(ipc_may_send(ROLE_QUEUE, ROLE_RELAY, IPC_RR_ANSWER)); /* only lookup says what DNS says */
    assert_false(ipc_may_send(ROLE_SMTPD, ROLE_SUPER, IPC_SUP_PEER));
    assert_true(ipc_may_send(ROLE_SMTPD, ROLE_SUPER, IPC_SUP_READY));
    assert_false(ipc_may_send(ROLE_SUPER, ROLE_SMTPD, IPC_PUT));
    assert_true(ipc_may_send(ROLE_LOCAL, ROLE_PIPE, IPC_PIPE_JOB));
    assert_false(ipc_may_send(ROLE_QUEUE, ROLE_LOCAL, IPC_PIPE_JOB)); /* local alone says which program */
    assert_false(ipc_may_send(ROLE_PIPE, ROLE_SUPER, IPC_SUP_READY));
    assert_false(ipc_may_send(ROLE_SUPER, ROLE_PIPE, IPC_SUP_START));
    assert_true(ipc_may_send(ROLE_SMTPD, ROLE_KEYS, IPC_AUTH_ASK));
    assert_true(ipc_may_send(ROLE_RELAY, ROLE_KEYS, IPC_SIGN_ASK));
    assert_false(ipc_may_send(ROLE_RELAY, ROLE_KEYS, IPC_AUTH_ASK)); /* it has no users */
    assert_true(ipc_may_send(ROLE_HTTPS, ROLE_KEYS, IPC_SIGN_ASK));
    assert_false(ipc_may_send(ROLE_HTTPS, ROLE_KEYS, IPC_AUTH_ASK)); /* nor has the web */
    assert_true(ipc_may_send(ROLE_QUEUE, ROLE_AGENT, IPC_STS_ASK));
    assert_true(ipc_may_send(ROLE_AGENT, ROLE_LOOKUP, IPC_RR_ASK));
    assert_true(ipc_may_send(ROLE_AGENT, ROLE_QUEUE, IPC_PUT)); /* reports, which queue looks at */
    assert_false(ipc_may_send(ROLE_AGENT, ROLE_QUEUE, IPC_PUT_COMMIT));
    assert_false(ipc_may_send(ROLE_AGENT, ROLE_QUEUE, IPC_CALLOUT_ASK));
    assert_false(ipc_may_send(ROLE_AGENT, ROLE_LOOKUP, IPC_MX_ASK)); /* queue routes its reports */
    assert_false(ipc_may_send(ROLE_RELAY, ROLE_QUEUE, IPC_STS_ANSWER));
    assert_true(ipc_may_send(ROLE_RELAY, ROLE_AGENT, IPC_TLS_SESSION));
    assert_false(ipc_may_send(ROLE_AGENT, ROLE_RELAY, IPC_TLS_SESSION));
    assert_true(ipc_may_send(ROLE_KEYS, ROLE_SUPER, IPC_KEY_STATE));
    assert_true(ipc_may_send(ROLE_SMTPD, ROLE_AUTH, IPC_AUTH_ASK));
    assert_false(ipc_may_send(ROLE_SMTPD, ROLE_PAM, IPC_AUTH_ASK)); /* guesses are counted on the way */
    assert_false(ipc_may_send(ROLE_PAM, ROLE_SMTPD, IPC_AUTH_ANSWER));
    assert_true(ipc_may_send(ROLE_AUTH, ROLE_TABLES, IPC_AUTH_ASK));
    assert_false(ipc_may_send(ROLE_SMTPD, ROLE_TABLES, IPC_AUTH_ASK));
    assert_false(ipc_may_send(ROLE_TABLES, ROLE_LOOKUP, IPC_MX_ASK));
    assert_false(ipc_may_send(ROLE_AUTH, ROLE_SMTPD, IPC_AUTH_OFFER)); /* SCRAM is of files */
    assert_false(ipc_may_send(ROLE_SMTPD, ROLE_SUPER, IPC_KEY_STATE));
    for (unsigned from = 0; from < ROLE_N; from++) { /* secrets have one way, chains another */
        for (unsigned to = 0; to < ROLE_N; to++) {
            bool is_to_keys = from == ROLE_SUPER && to == ROLE_KEYS;
            bool is_to_tls = from == ROLE_SUPER && (to == ROLE_SMTPD || to == ROLE_RELAY || to == ROLE_HTTPS);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_SUP_KEY), is_to_keys);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_SUP_USERS), is_to_keys);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_SUP_FORGET), is_to_keys);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_SUP_CERT), is_to_tls);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_SUP_SECRET),
                             from == ROLE_SUPER && (to == ROLE_RELAY || to == ROLE_TABLES));
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_ACME_PORT),
                             from == ROLE_ACME && to == ROLE_SUPER);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_SUP_PORT),
                             from == ROLE_SUPER && (to == ROLE_ACME || to == ROLE_HTTP01));
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_HTTP01_SERVE),
                             from == ROLE_ACME && to == ROLE_HTTP01);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_ALPN_SERVE),
                             from == ROLE_ACME && to == ROLE_HTTPS);
            assert_int_equal(ipc_may_send((enum role)from, (enum role)to, IPC_SUP_TICKETS),
                             from == ROLE_SUPER && to == ROLE_SMTPD);
            assert_false(ipc_may_send((enum role)from, (enum role)to, IPC_NONE));
            assert_false(ipc_may_send((enum role)from, (enum role)to, UINT16_MAX));
        }
    }
}

static void test_names(void **state)
{
    UNUSED(state);
    for (unsigned r = 0; r < ROLE_N; r++) {
        enum role back;
        assert_true(role_parse(str_from_c(role_name((enum role)r)), &back));
        assert_int_equal(back, r);
    }
    enum role none;
    assert_false(role_parse(STR("root"), &none));
    assert_string_equal(ipc_type_name(IPC_PUT), "put");
    assert_string_equal(ipc_type_name(999), "unknown");
    assert_string_equal(event_word(EVENT_ACCEPTED), "accepted");
    assert_string_equal(event_word(999), "unknown");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_too_big),    cmocka_unit_test(test_lists),
        cmocka_unit_test(test_addresses),  cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_results),    cmocka_unit_test(test_edges),
        cmocka_unit_test(test_rights),     cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
