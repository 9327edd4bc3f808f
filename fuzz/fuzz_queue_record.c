/* Octets of a damaged disk as each thing that the queue keeps: envelope, delta, hint, and the parts of the
 * segment log. */
#include "base/mem.h"
#include "queue/envelope.h"
#include "queue/seglog_format.h"
#include "queue/suppressed.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is read is written again to the same octets; deltas change only what is there. */
static void envelopes(struct str in, struct str delta)
{
    struct envelope e;
    struct envelope_state st;
    if (!envelope_decode(in, &e))
        return;
    must(e.n_rcpts > 0 && e.n_rcpts == rcpt_count(e.rcpts));
    struct buf again;
    buf_init(&again, in.n + ENVELOPE_FIXED);
    must(envelope_encode(&e, &again) && again.n == envelope_encoded_size(&e));
    must(str_eq(buf_str(&again), in));
    buf_fini(&again);
    struct envelope_rcpt *rcpts = mem_must_alloc(e.n_rcpts * sizeof *rcpts);
    envelope_state_init(&st, &e, rcpts);
    if (envelope_apply(delta, &st))
        must(st.n_rcpts == e.n_rcpts && delta_site(delta).n <= delta.n);
    mem_free(rcpts);
}

static void hints(struct str in)
{
    struct envelope_hint h;
    unsigned char hint[STORE_HINT] = {0}, again[STORE_HINT];
    memcpy(hint, in.p, in.n < sizeof hint ? in.n : sizeof hint);
    if (!hint_decode(hint, &h))
        return;
    hint_encode(&h, again);
    must(memcmp(hint, again, sizeof hint) == 0);
}

static void suppressions(struct str in)
{
    struct suppressed s;
    struct suppressed_hint h;
    struct envelope_hint mail;
    char mem[SUPPRESSED_RECORD_MAX];
    unsigned char hint[STORE_HINT] = {0}, again[STORE_HINT];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    if (suppressed_decode(in, &s))
        must(suppressed_encode(&s, &b) && str_eq(buf_str(&b), in));
    memcpy(hint, in.p, in.n < sizeof hint ? in.n : sizeof hint);
    if (!suppressed_hint_decode(hint, &h))
        return;
    suppressed_hint_encode(&h, again);
    must(memcmp(hint, again, sizeof hint) == 0 && !hint_decode(hint, &mail));
}

static void log_parts(const uint8_t *data, size_t n)
{
    struct seglog_record record;
    struct seglog_unit unit;
    struct seglog_entry entry;
    if (seglog_record_decode(data, n, false, &record))
        must(seglog_record_len(&record) <= n);
    if (seglog_unit_decode(data, n, &unit) && unit.len <= n && seglog_unit_check(data, &unit, 0))
        must(unit.n_records > 0);
    struct str rest = str_of(data, n);
    unsigned char again[SEGLOG_SUMMARY_ENTRY + STORE_HINT];
    while (rest.n > 0) {
        struct str from = rest;
        if (!seglog_entry_decode(&rest, &entry))
            break;
        size_t len = from.n - rest.n;
        must(len == seglog_entry_len(entry.has_hint) && seglog_entry_encode(&entry, again) == len);
        must(memcmp(from.p, again, len) == 0);
    }
}

/* The first two octets say how much of the rest is the envelope; what follows is the delta. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    size_t split = (size_t)data[0] | (size_t)data[1] << 8;
    struct str all = str_of(data + 2, n - 2);
    envelopes(str_slice(all, 0, split), str_skip(all, split < all.n ? split : all.n));
    hints(all);
    suppressions(all);
    log_parts(data + 2, n - 2);
    return 0;
}
