#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "queue/envelope.h"
#include "queue/suppressed.h"

static void records(void **state)
{
    UNUSED(state);
    char mem[SUPPRESSED_RECORD_MAX];
    struct buf b;
    struct suppressed out;
    struct envelope e;
    for (unsigned reason = SUPPRESS_REFUSED; reason <= SUPPRESS_REASON_MAX; reason++) {
        buf_init_fixed(&b, mem, sizeof mem);
        const struct suppressed in = {.reason = (enum suppress_reason)reason,
                                      .since_s = UINT32_MAX - reason,
                                      .address = STR("Joe@example.com"),
                                      .why = STR("mx: 550 5.1.1 no")};
        assert_true(suppressed_encode(&in, &b));
        assert_true(suppressed_decode(buf_str(&b), &out));
        assert_true(out.reason == in.reason && out.since_s == in.since_s && str_eq(out.address, in.address) &&
                    str_eq(out.why, in.why));
        assert_false(envelope_decode(buf_str(&b), &e)); /* it is no mail */
        for (size_t n = 0; n < b.n; n++)
            assert_false(suppressed_decode(str_of(mem, n), &out));
        buf_putc(&b, 'x');
        assert_false(suppressed_decode(buf_str(&b), &out));
        b.n--;
        mem[1] = 0;
        assert_false(suppressed_decode(buf_str(&b), &out));
        mem[1] = SUPPRESS_REASON_MAX + 1;
        assert_false(suppressed_decode(buf_str(&b), &out));
    }
}

/* What is too long is cut, and then fits. */
static void long_texts(void **state)
{
    UNUSED(state);
    static char text[4096];
    char mem[SUPPRESSED_RECORD_MAX];
    struct buf b;
    struct suppressed out;
    memset(text, 'a', sizeof text);
    buf_init_fixed(&b, mem, sizeof mem);
    const struct suppressed in = {
        .reason = SUPPRESS_BOUNCED, .address = str_of(text, 512), .why = str_of(text, sizeof text)};
    assert_true(suppressed_encode(&in, &b));
    assert_true(suppressed_decode(buf_str(&b), &out));
    assert_int_equal(out.address.n, 512);
    assert_int_equal(out.why.n, SUPPRESSED_WHY_MAX);
}

static void hints(void **state)
{
    UNUSED(state);
    unsigned char octets[STORE_HINT];
    struct suppressed_hint in = {.reason = SUPPRESS_COMPLAINED, .since_s = 1764000000}, out;
    struct envelope_hint mail = {.created_s = 1764000000}, mail_out;
    suppressed_hash(STR("joe@example.com"), in.hash);
    suppressed_hint_encode(&in, octets);
    assert_true(suppressed_hint_decode(octets, &out));
    assert_true(out.reason == in.reason && out.since_s == in.since_s);
    assert_memory_equal(out.hash, in.hash, SIPHASH_SIZE);
    assert_false(hint_decode(octets, &mail_out));
    for (size_t i = 0; i < 16; i++) { /* no octet but those of the time may be another */
        if (i >= 4 && i < 8)
            continue;
        octets[i] ^= 0x40;
        assert_false(suppressed_hint_decode(octets, &out));
        octets[i] ^= 0x40;
    }
    hint_encode(&mail, octets);
    assert_false(suppressed_hint_decode(octets, &out));
}

/* The same in every version: it stands in stores. */
static void fingerprint(void **state)
{
    UNUSED(state);
    unsigned char one[SIPHASH_SIZE], other[SIPHASH_SIZE];
    static const unsigned char known[SIPHASH_SIZE] = {0x18, 0x4b, 0x0e, 0x84, 0x04, 0x37, 0x25, 0xb2,
                                                      0x0e, 0xfe, 0x63, 0x17, 0x22, 0xf7, 0x7e, 0x98};
    suppressed_hash(STR("joe@example.com"), one);
    suppressed_hash(STR("jof@example.com"), other);
    assert_memory_equal(one, known, sizeof known);
    assert_memory_not_equal(one, other, sizeof one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(records), cmocka_unit_test(long_texts),
                                       cmocka_unit_test(hints), cmocka_unit_test(fingerprint)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
