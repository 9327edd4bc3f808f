#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/seglog_format.h"

#include <string.h>

static const struct seglog_header sample = {
    .state = SEGLOG_HEADER_SEALED,
    .node = 1023,
    .generation = 0x1122334455667788,
    .opened = 77,
    .salt = 0xfedcba9876543210,
    .capacity = 65536,
    .seq = 12,
    .id_limit = 13,
    .end = 8192,
    .summary = 4096,
    .prev_opened = 70,
    .prev_end = 12288,
    .prev_summary = 8192,
};

static void test_header(void **state)
{
    (void)state;
    unsigned char block[SEGLOG_BLOCK];
    struct seglog_header h;
    seglog_header_encode(&sample, block);
    assert_int_equal(seglog_header_decode(block, sizeof block, &h), SEGLOG_HEADER_GOOD);
    assert_int_equal(h.state, sample.state);
    assert_int_equal(h.node, sample.node);
    assert_true(h.generation == sample.generation && h.opened == sample.opened && h.salt == sample.salt);
    assert_true(h.capacity == sample.capacity && h.seq == sample.seq && h.id_limit == sample.id_limit);
    assert_true(h.end == sample.end && h.summary == sample.summary && h.prev_opened == sample.prev_opened);
    assert_true(h.prev_end == sample.prev_end && h.prev_summary == sample.prev_summary);
    assert_int_equal(seglog_header_decode(block, SEGLOG_HEADER_LEN, &h), SEGLOG_HEADER_GOOD);
    assert_int_equal(seglog_header_decode(block, 90, &h), SEGLOG_HEADER_BAD);
    memset(block, 0, sizeof block);
    assert_int_equal(seglog_header_decode(block, sizeof block, &h), SEGLOG_HEADER_ZERO);
    assert_int_equal(seglog_header_decode(block, 0, &h), SEGLOG_HEADER_ZERO);
}

/* One damaged copy does not matter, whichever octet; both do. */
static void test_header_copies(void **state)
{
    (void)state;
    unsigned char block[SEGLOG_BLOCK];
    struct seglog_header h;
    for (size_t i = 0; i < SEGLOG_HEADER_LEN; i++) {
        seglog_header_encode(&sample, block);
        block[i] ^= 0x10;
        assert_int_equal(seglog_header_decode(block, sizeof block, &h), SEGLOG_HEADER_GOOD);
        assert_true(h.generation == sample.generation);
        block[SEGLOG_HEADER_COPY + i] ^= 0x10;
        assert_int_equal(seglog_header_decode(block, sizeof block, &h), SEGLOG_HEADER_BAD);
    }
}

/* A torn overwrite leaves one old and one new copy: the later generation counts, on whichever side it is. */
static void test_header_torn(void **state)
{
    (void)state;
    struct seglog_header old = sample, new = sample, h;
    old.generation = 5;
    new.generation = 6;
    new.state = SEGLOG_HEADER_FREE;
    unsigned char a[SEGLOG_BLOCK], b[SEGLOG_BLOCK];
    seglog_header_encode(&old, a);
    seglog_header_encode(&new, b);
    memcpy(a, b, SEGLOG_HEADER_COPY); /* the first half is new */
    assert_int_equal(seglog_header_decode(a, sizeof a, &h), SEGLOG_HEADER_GOOD);
    assert_int_equal(h.state, SEGLOG_HEADER_FREE);
    seglog_header_encode(&old, a);
    memcpy(b, a, SEGLOG_HEADER_COPY); /* the second half is new */
    assert_int_equal(seglog_header_decode(b, sizeof b, &h), SEGLOG_HEADER_GOOD);
    assert_int_equal(h.state, SEGLOG_HEADER_FREE);
}

static void test_header_values(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t capacity, end, summary;
    } rows[] = {
        {"too small", 4096, 4096, 0},
        {"too large", (uint64_t)1 << 32, 8192, 0},
        {"ends in the header", 65536, 4095, 0},
        {"ends behind the file", 65536, 65537, 0},
        {"summary behind the end", 65536, 8192, 8193},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seglog_header h = sample;
        unsigned char block[SEGLOG_BLOCK];
        h.capacity = rows[i].capacity;
        h.end = rows[i].end;
        h.summary = rows[i].summary;
        seglog_header_encode(&h, block);
        assert_int_equal(seglog_header_decode(block, sizeof block, &h), SEGLOG_HEADER_BAD);
    }
}

static void test_batch(void **state)
{
    (void)state;
    const struct seglog_batch b = {.kind = SEGLOG_BATCH_SUMMARY,
                                   .opened = 9,
                                   .offset = 8192,
                                   .seq = 100,
                                   .len = 5000,
                                   .n = 3,
                                   .crc = 0xabcdef01};
    unsigned char m[SEGLOG_BATCH_HEADER];
    struct seglog_batch out;
    seglog_batch_encode(&b, 42, m);
    assert_true(seglog_batch_decode(m, 42, 9, 8192, &out));
    assert_true(out.kind == b.kind && out.seq == b.seq && out.len == b.len && out.n == b.n &&
                out.crc == b.crc);
    assert_false(
        seglog_batch_decode(m, 43, 9, 8192, &out)); /* of another process life, or made up by a sender */
    assert_false(seglog_batch_decode(m, 42, 8, 8192, &out)); /* of an older generation */
    assert_false(seglog_batch_decode(m, 42, 9, 4096, &out)); /* at another place */
    for (size_t i = 0; i < sizeof m; i++) {
        m[i] ^= 1;
        assert_false(seglog_batch_decode(m, 42, 9, 8192, &out));
        m[i] ^= 1;
    }
}

static size_t make_unit(unsigned char *out, uint64_t salt)
{
    static const unsigned char hint[STORE_HINT] = {7};
    const struct str pieces[] = {STR("one "), STR_NIL, STR("two")};
    const struct seglog_record rows[] = {
        {.kind = SEGLOG_BODY, .len = 7, .id = 1, .seq = 50},
        {.kind = SEGLOG_ENVELOPE,
         .has_hint = true,
         .hint = hint,
         .len = 7 + STORE_HINT,
         .id = 2,
         .seq = 51,
         .aux = 1,
         .size = 0xffffffffffff},
        {.kind = SEGLOG_RESULT, .len = 7, .id = 2, .seq = 52},
    };
    struct seglog_unit u = {.seq = 50, .len = SEGLOG_UNIT_HEADER};
    uint32_t crc = seglog_unit_crc(salt);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        crc = seglog_unit_add(crc, seglog_record_encode(&rows[i], pieces, ARRAY_LEN(pieces), out + u.len));
        u.len += seglog_record_len(&rows[i]);
        u.n_records++;
    }
    const struct seglog_record tomb = {.kind = SEGLOG_TOMB, .id = 3, .seq = 53};
    crc = seglog_unit_add(crc, seglog_record_encode(&tomb, NULL, 0, out + u.len));
    u.len += seglog_record_len(&tomb);
    u.n_records++;
    seglog_unit_encode(&u, crc, out);
    return u.len;
}

static void test_unit(void **state)
{
    (void)state;
    unsigned char m[1024];
    size_t n = make_unit(m, 99);
    struct seglog_unit u;
    assert_true(seglog_unit_decode(m, n, &u));
    assert_true(u.seq == 50 && u.len == n && u.n_records == 4);
    assert_true(seglog_unit_check(m, &u, 99));
    assert_false(seglog_unit_check(m, &u, 98));
    for (size_t cut = 0; cut < n; cut++) /* split at every point: never whole before its end */
        assert_false(seglog_unit_decode(m, cut, &u));
    struct seglog_record r;
    assert_true(seglog_record_decode(m + SEGLOG_UNIT_HEADER, n - SEGLOG_UNIT_HEADER, false, &r));
    assert_true(r.kind == SEGLOG_BODY && r.id == 1 && str_eq(r.bytes, STR("one two")));
    size_t at = SEGLOG_UNIT_HEADER + seglog_record_len(&r);
    assert_false(seglog_record_decode(m + at, n - at, true, &r));
    assert_true(seglog_record_decode(m + at, SEGLOG_RECORD_HEADER + STORE_HINT + 7, true, &r));
    assert_true(r.has_hint && r.hint[0] == 7 && r.aux == 1 && r.size == 0xffffffffffff && r.seq == 51);
    assert_true(str_eq(r.bytes, STR("one two")));
}

/* Every single flipped bit is seen. */
static void test_unit_damage(void **state)
{
    (void)state;
    unsigned char m[1024];
    size_t n = make_unit(m, 99);
    for (size_t i = 0; i < n * 8; i++) {
        struct seglog_unit u;
        m[i / 8] = (unsigned char)(m[i / 8] ^ (1 << i % 8));
        assert_false(seglog_unit_decode(m, n, &u) && seglog_unit_check(m, &u, 99));
        m[i / 8] = (unsigned char)(m[i / 8] ^ (1 << i % 8));
    }
}

static void test_entry(void **state)
{
    (void)state;
    const struct seglog_entry rows[] = {
        {.kind = SEGLOG_BODY, .offset = 4096, .len = 100, .id = 1, .seq = 2},
        {.kind = SEGLOG_ENVELOPE,
         .has_hint = true,
         .offset = 5000,
         .len = 99,
         .id = 3,
         .seq = 4,
         .aux = 1,
         .size = 60,
         .hint = {1, 2, 3}},
        {.kind = SEGLOG_TOMB, .offset = 6000, .len = SEGLOG_RECORD_HEADER, .id = 3, .seq = 5},
    };
    unsigned char m[512];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = seglog_entry_encode(&rows[i], m + n);
        assert_int_equal(len, seglog_entry_len(rows[i].has_hint));
        n += len;
    }
    struct str in = str_of(m, n);
    struct seglog_entry e;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(seglog_entry_decode(&in, &e));
        assert_true(e.kind == rows[i].kind && e.has_hint == rows[i].has_hint && e.offset == rows[i].offset);
        assert_true(e.len == rows[i].len && e.id == rows[i].id && e.seq == rows[i].seq &&
                    e.aux == rows[i].aux);
        assert_true(e.size == rows[i].size);
        if (e.has_hint)
            assert_memory_equal(e.hint, rows[i].hint, STORE_HINT);
    }
    assert_int_equal(in.n, 0);
    for (size_t cut = 0; cut < n; cut++) {
        in = str_of(m, cut);
        while (seglog_entry_decode(&in, &e)) {
        }
        assert_true(in.n > 0 || cut == 0 || cut == SEGLOG_SUMMARY_ENTRY ||
                    cut == 2 * SEGLOG_SUMMARY_ENTRY + STORE_HINT);
    }
    m[0] = 0;
    in = str_of(m, n);
    assert_false(seglog_entry_decode(&in, &e));
    m[0] = SEGLOG_TOMB + 1;
    assert_false(seglog_entry_decode(&in, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),      cmocka_unit_test(test_header_copies),
        cmocka_unit_test(test_header_torn), cmocka_unit_test(test_header_values),
        cmocka_unit_test(test_batch),       cmocka_unit_test(test_unit),
        cmocka_unit_test(test_unit_damage), cmocka_unit_test(test_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
