#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "queue/envelope.h"

#include <string.h>

static struct str make_list(struct buf *b, const char *const *rcpts, size_t n)
{
    buf_init(b, 1024 * 1024);
    for (size_t i = 0; i < n; i++)
        (void)rcpt_put(&(struct rcpt){.address = str_from_c(rcpts[i])}, b);
    return buf_str(b);
}

static const char *const three[] = {"a@example.org", "b@example.com", "postmaster"};

static void make_record(struct buf *out, struct envelope *out_e, struct buf *list)
{
    static const struct mail_params params = {.ret = DSN_RET_HDRS, .envid = {"x-7", 3}, .tag = {"bulk", 4}};
    static char params_mem[64];
    struct buf p;
    buf_init_fixed(&p, params_mem, sizeof params_mem);
    assert_true(mail_params_put(&params, &p));
    *out_e = (struct envelope){
        .kind = ENVELOPE_MAIL,
        .params = buf_str(&p),
        .flags = 3,
        .arrival_ms = 1764000000123,
        .parent_id = 77,
        .body_size = 4096,
        .sender = STR("sender@example.net"),
        .client = STR("192.0.2.1"),
        .helo = STR("client.example.net"),
        .n_rcpts = 3,
        .rcpts = make_list(list, three, 3),
    };
    buf_init(out, STORE_ENVELOPE_MAX);
    assert_true(envelope_encode(out_e, out));
    assert_int_equal(out->n, envelope_encoded_size(out_e));
}

static void test_record_round_trip(void **state)
{
    UNUSED(state);
    struct buf record, list;
    struct envelope e, d;
    make_record(&record, &e, &list);
    assert_true(envelope_decode(buf_str(&record), &d));
    assert_int_equal(d.kind, e.kind);
    assert_int_equal(d.flags, e.flags);
    assert_int_equal(d.arrival_ms, e.arrival_ms);
    assert_int_equal(d.parent_id, e.parent_id);
    assert_int_equal(d.body_size, e.body_size);
    assert_true(str_eq(d.sender, e.sender) && str_eq(d.client, e.client) && str_eq(d.helo, e.helo));
    assert_int_equal(d.n_rcpts, 3);
    struct envelope_rcpt rcpts[3];
    struct envelope_state st;
    envelope_state_init(&st, &d, rcpts);
    for (size_t i = 0; i < 3; i++) {
        assert_true(str_eq(rcpts[i].rcpt.address, str_from_c(three[i])));
        assert_int_equal(rcpts[i].state, ENVELOPE_PENDING);
    }
    buf_fini(&record);
    buf_fini(&list);
}

/* Every beginning of a record is not a record, and no altered octet makes the decoder read outside (ASan
 * watches). */
static void test_record_damage(void **state)
{
    UNUSED(state);
    struct buf record, list;
    struct envelope e, d;
    make_record(&record, &e, &list);
    for (size_t n = 0; n < record.n; n++) {
        char *copy = mem_must_alloc(n + 1); /* its own block, so that reading past the end shows */
        memcpy(copy, record.p, n);
        assert_false(envelope_decode(str_of(copy, n), &d));
        mem_free(copy);
    }
    for (size_t i = 0; i < record.n; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            record.p[i] = (char)((unsigned char)record.p[i] ^ (1u << bit));
            if (envelope_decode(buf_str(&record), &d))
                assert_int_equal(rcpt_count(d.rcpts), d.n_rcpts);
            record.p[i] = (char)((unsigned char)record.p[i] ^ (1u << bit));
        }
    }
    buf_putc(&record, '\0');
    assert_false(envelope_decode(buf_str(&record), &d));
    buf_fini(&record);
    buf_fini(&list);
}

static void test_rcpt_lists(void **state)
{
    UNUSED(state);
    char longest[SMTP_PATH_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    static const struct {
        const char *rcpts[2];
        size_t n;
        uint32_t count;
    } table[] = {
        {{"a@b", "c@d"}, 2, 2}, {{"a@b", ""}, 2, 0},          {{"a@b\r\nc", NULL}, 1, 0},
        {{"a\tb", NULL}, 1, 0}, {{"postmaster", NULL}, 1, 1}, {{NULL, NULL}, 0, 0},
    };
    struct buf b;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(rcpt_count(make_list(&b, table[i].rcpts, table[i].n)), table[i].count);
        buf_fini(&b);
    }
    const char *one[] = {longest};
    assert_int_equal(rcpt_count(make_list(&b, one, 1)), 0);
    buf_fini(&b);
    longest[SMTP_PATH_MAX] = '\0';
    assert_int_equal(rcpt_count(make_list(&b, one, 1)), 1);
    buf_fini(&b);
    /* a length that leads past the end */
    assert_int_equal(rcpt_count(STR("\xff\xff\xff\xff"
                                    "a@b")),
                     0);
    assert_int_equal(rcpt_count(STR("\x01")), 0);
    /* the limit on their number */
    buf_init(&b, 1024 * 1024);
    for (unsigned i = 0; i < SMTP_RCPT_MAX; i++)
        assert_true(rcpt_put(&(struct rcpt){.address = STR("x@y")}, &b));
    assert_int_equal(rcpt_count(buf_str(&b)), SMTP_RCPT_MAX);
    assert_true(rcpt_put(&(struct rcpt){.address = STR("x@y")}, &b));
    assert_int_equal(rcpt_count(buf_str(&b)), 0);
    buf_fini(&b);
}

static void test_record_refused(void **state)
{
    UNUSED(state);
    struct buf record, list, other;
    struct envelope e, d;
    make_record(&record, &e, &list);
    buf_init(&other, STORE_ENVELOPE_MAX);
    e.sender = STR("a\nb@example.org");
    assert_true(envelope_encode(&e, &other));
    assert_false(envelope_decode(buf_str(&other), &d));
    buf_reset(&other);
    e.sender = STR_NIL;
    e.n_rcpts = 2; /* does not agree with the list */
    assert_true(envelope_encode(&e, &other));
    assert_false(envelope_decode(buf_str(&other), &d));
    buf_reset(&other);
    e.n_rcpts = 3;
    assert_true(envelope_encode(&e, &other));
    assert_true(envelope_decode(buf_str(&other), &d)); /* the null sender */
    assert_int_equal(d.sender.n, 0);
    buf_fini(&record);
    buf_fini(&list);
    buf_fini(&other);
}

static void init_state(struct envelope_state *st, struct envelope_rcpt *rcpts, uint32_t n)
{
    *st = (struct envelope_state){.rcpts = rcpts, .n_rcpts = n};
    for (uint32_t i = 0; i < n; i++)
        rcpts[i] = (struct envelope_rcpt){.rcpt = {.address = STR("x@example.org")}};
}

static const struct envelope_rcpt deferred = {
    .state = ENVELOPE_DEFERRED,
    .stage = 4,
    .code = 451,
    .esc = {4, 7, 1},
    .at_ms = 1764000001000,
    .host = {"mx.example.org [192.0.2.9]:25", 29},
    .text = {"try later", 9},
};

static void test_deltas_apply_in_order(void **state)
{
    UNUSED(state);
    char mem[ENVELOPE_DELTA_MAX];
    struct buf b;
    struct envelope_rcpt rcpts[5], delivered = {.state = ENVELOPE_DELIVERED, .code = 250, .at_ms = 5};
    struct envelope_state st;
    init_state(&st, rcpts, 5);
    buf_init_fixed(&b, mem, sizeof mem);
    delta_begin(&b);
    assert_true(delta_put_rcpts(&b, 1, 3, &deferred));
    assert_true(delta_put_rcpts(&b, 4, 4, &delivered));
    assert_true(delta_put_attempt(&b, 1764000300000, 2, STR("mx:mx.example.org")));
    assert_true(envelope_apply(buf_str(&b), &st));
    assert_int_equal(rcpts[0].state, ENVELOPE_PENDING);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(rcpts[i].state, ENVELOPE_DEFERRED);
        assert_int_equal(rcpts[i].code, 451);
        assert_int_equal(rcpts[i].stage, 4);
        assert_int_equal(rcpts[i].esc.subject, 7);
        assert_int_equal(rcpts[i].at_ms, deferred.at_ms);
        assert_true(str_eq(rcpts[i].text, deferred.text) && str_eq(rcpts[i].host, deferred.host));
        assert_true(str_eq(rcpts[i].rcpt.address, STR("x@example.org")));
        assert_true(envelope_is_open(&rcpts[i]));
    }
    assert_int_equal(rcpts[4].state, ENVELOPE_DELIVERED);
    assert_false(envelope_is_open(&rcpts[4]));
    assert_int_equal(st.n_attempts, 2);
    assert_int_equal(st.next_ms, 1764000300000);
    assert_true(str_eq(st.site, STR("mx:mx.example.org")));
    assert_true(str_eq(delta_site(buf_str(&b)), STR("mx:mx.example.org")));
    char mem2[ENVELOPE_DELTA_MAX];
    struct buf c;
    buf_init_fixed(&c, mem2, sizeof mem2);
    delta_begin(&c);
    assert_true(delta_put_hold(&c, true, STR("operator")));
    assert_true(delta_put_rcpts(&c, 0, 1, &delivered));
    assert_true(envelope_apply(buf_str(&c), &st));
    assert_true(st.is_held && str_eq(st.held_by, STR("operator")));
    assert_int_equal(rcpts[1].state, ENVELOPE_DELIVERED);
    assert_int_equal(rcpts[2].state, ENVELOPE_DEFERRED);
    assert_int_equal(delta_site(buf_str(&c)).n, 0);
    assert_int_equal(st.reported, 0);
    delta_begin(&c);
    assert_true(delta_put_reported(&c, REPORTED_LATE));
    assert_true(envelope_apply(buf_str(&c), &st));
    delta_begin(&c);
    assert_true(delta_put_reported(&c, REPORTED_DELAY));
    assert_true(envelope_apply(buf_str(&c), &st));
    assert_int_equal(st.reported, REPORTED_ALL); /* one does not take the other back */
    c.p[c.n - 1] = 4;
    assert_false(envelope_apply(buf_str(&c), &st));
}

/* A delta that is not whole changes nothing. */
static void test_delta_damage(void **state)
{
    UNUSED(state);
    char mem[ENVELOPE_DELTA_MAX];
    struct buf b;
    struct envelope_rcpt rcpts[5];
    struct envelope_state st;
    buf_init_fixed(&b, mem, sizeof mem);
    delta_begin(&b);
    size_t ends[4] = {b.n};
    assert_true(delta_put_rcpts(&b, 0, 4, &deferred));
    ends[1] = b.n;
    assert_true(delta_put_attempt(&b, 7, 1, STR("lmtp:x")));
    ends[2] = b.n;
    assert_true(delta_put_hold(&b, false, STR("")));
    ends[3] = b.n;
    for (size_t n = 0; n < b.n; n++) {
        char *copy = mem_must_alloc(n + 1);
        memcpy(copy, b.p, n);
        init_state(&st, rcpts, 5);
        bool is_whole = n == ends[0] || n == ends[1] || n == ends[2];
        assert_int_equal(envelope_apply(str_of(copy, n), &st), is_whole);
        if (!is_whole)
            assert_true(rcpts[0].state == ENVELOPE_PENDING && st.n_attempts == 0);
        mem_free(copy);
    }
    for (size_t i = 0; i < b.n; i++) {
        for (unsigned v = 0; v < 256; v += 5) {
            char was = b.p[i];
            b.p[i] = (char)v;
            init_state(&st, rcpts, 5);
            if (!envelope_apply(buf_str(&b), &st))
                assert_true(rcpts[0].state == ENVELOPE_PENDING && st.n_attempts == 0 && st.site.n == 0);
            (void)delta_site(buf_str(&b));
            b.p[i] = was;
        }
    }
    init_state(&st, rcpts, 4); /* one recipient fewer than the delta speaks of */
    assert_false(envelope_apply(buf_str(&b), &st));
}

static void test_delta_fills(void **state)
{
    UNUSED(state);
    char mem[2 * ENVELOPE_DELTA_MAX], text[ENVELOPE_TEXT_MAX + 100];
    struct buf b;
    struct envelope_rcpt big = deferred, rcpts[20];
    struct envelope_state st;
    memset(text, 't', sizeof text);
    big.text = str_of(text, sizeof text);
    buf_init_fixed(&b, mem, sizeof mem);
    delta_begin(&b);
    uint32_t n = 0;
    while (n < 20 && delta_put_rcpts(&b, n, n, &big))
        n++;
    assert_in_range(n, 5, 19);
    assert_true(b.n <= ENVELOPE_DELTA_MAX && !b.failed);
    init_state(&st, rcpts, 20);
    assert_true(envelope_apply(buf_str(&b), &st)); /* what did not fit left nothing behind */
    assert_int_equal(rcpts[n - 1].text.n, ENVELOPE_TEXT_MAX);
    assert_int_equal(rcpts[n].state, ENVELOPE_PENDING);
}

static void test_hint(void **state)
{
    UNUSED(state);
    static const struct envelope_hint table[] = {
        {0},
        {.flags = HINT_HELD,
         .n_attempts = 1,
         .created_s = 1764000000,
         .next_ms = 1764000300000,
         .site_hash = 1,
         .priority = MT_PRIORITY_MIN},
        {.flags = HINT_ALL,
         .n_attempts = UINT16_MAX,
         .created_s = UINT32_MAX,
         .next_ms = INT64_MAX,
         .site_hash = UINT64_MAX,
         .priority = MT_PRIORITY_MAX},
    };
    unsigned char octets[STORE_HINT];
    struct envelope_hint h;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        hint_encode(&table[i], octets);
        assert_true(hint_decode(octets, &h));
        assert_int_equal(h.flags, table[i].flags);
        assert_int_equal(h.n_attempts, table[i].n_attempts);
        assert_int_equal(h.created_s, table[i].created_s);
        assert_int_equal(h.next_ms, table[i].next_ms);
        assert_true(h.site_hash == table[i].site_hash);
        assert_int_equal(h.priority, table[i].priority);
    }
    static const struct {
        size_t at;
        unsigned char value;
    } bad[] = {{0, 0}, {0, 2}, {1, 8}, {15, 0x80}, {24, 10}, {24, 246}, {25, 1}, {31, 255}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        hint_encode(&table[1], octets);
        octets[bad[i].at] = bad[i].value;
        assert_false(hint_decode(octets, &h));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_round_trip),
        cmocka_unit_test(test_record_damage),
        cmocka_unit_test(test_rcpt_lists),
        cmocka_unit_test(test_record_refused),
        cmocka_unit_test(test_deltas_apply_in_order),
        cmocka_unit_test(test_delta_damage),
        cmocka_unit_test(test_delta_fills),
        cmocka_unit_test(test_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
