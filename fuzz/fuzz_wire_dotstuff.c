/* Data: whole and in parts give the same; what comes out is never longer; encoded again and decoded it is
 * unchanged. The first octet says how long the parts are. */
#include "wire/dotstuff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t decode(struct dot_decoder *d, struct str in, size_t step, struct buf *out)
{
    size_t taken = 0;
    dot_decoder_init(d);
    while (in.n > taken && !d->done) {
        struct str part = str_slice(in, taken, taken + step);
        struct str piece;
        size_t n = dot_decode(d, part, &piece);
        must(n > 0 && n <= part.n);
        must(buf_put(out, piece));
        taken += n;
    }
    return taken;
}

static void encode(struct str in, size_t step, struct buf *out)
{
    struct dot_encoder e;
    dot_encoder_init(&e);
    while (in.n > 0) {
        size_t n = dot_encode(&e, str_slice(in, 0, step), out);
        must(n > 0 && !out->failed);
        in = str_skip(in, n);
    }
    dot_encode_end(&e, out);
    must(!out->failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str in = str_of(data + 1, size - 1);
    size_t step = 1 + data[0] % 80;
    struct dot_decoder whole, parts, again;
    struct buf a, b, c;
    buf_init(&a, size + 1);
    buf_init(&b, size + 1);
    buf_init(&c, 3 * size + 16);
    must(decode(&whole, in, in.n, &a) == decode(&parts, in, step, &b));
    must(str_eq(buf_str(&a), buf_str(&b)) && a.n <= in.n);
    must(whole.state == parts.state && whole.done == parts.done && whole.saw_bare_cr == parts.saw_bare_cr &&
         whole.saw_bare_lf == parts.saw_bare_lf && whole.n_line_max == parts.n_line_max);
    must(whole.done || str_find(in, STR("\r\n.\r\n")) == STR_NPOS);
    if (!whole.saw_bare_cr && !whole.saw_bare_lf && whole.done) { /* a sound message */
        encode(buf_str(&a), step, &c);
        buf_reset(&b);
        must(decode(&again, buf_str(&c), c.n, &b) == c.n && again.done);
        must(str_eq(buf_str(&a), buf_str(&b)));
    }
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&c);
    return 0;
}
