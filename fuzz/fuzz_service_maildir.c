/* The stored form of a message: the same in whatever pieces it comes, never longer than it, without a
 * Return-Path of its own. The first octet chooses the pieces. */
#include "base/limits.h"
#include "base/mem.h"
#include "service/local/deliver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void store(struct str in, size_t step, struct buf *out)
{
    struct maildir_text t = {0};
    size_t given = 0, used = 0;
    while (given < in.n) {
        given = given + step < in.n ? given + step : in.n;
        used += maildir_text_feed(&t, str_slice(in, used, given), given == in.n, out);
        must(used <= given);
    }
    must(used == in.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > HEADER_SECTION_MAX)
        return 0;
    struct str in = str_of(data + 1, size - 1);
    struct buf whole, pieces;
    buf_init(&whole, in.n + 1);
    buf_init(&pieces, in.n + 1);
    store(in, in.n + 1, &whole);
    store(in, (size_t)data[0] + 1, &pieces);
    must(!whole.failed && !pieces.failed && str_eq(buf_str(&whole), buf_str(&pieces)));
    must(whole.n <= in.n && !str_istarts(buf_str(&whole), STR("return-path:")));
    buf_fini(&pieces);
    buf_fini(&whole);
    return 0;
}
