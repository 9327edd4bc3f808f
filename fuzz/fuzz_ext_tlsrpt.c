/* TLS reports of others: what is read can be written, and is then read and written the same. */
#include "base/mem.h"
#include "ext/tlsrpt_jansson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_and_write(struct str json, struct chunk_pool *pool, struct buf *out)
{
    struct arena a;
    struct tls_rpt_report r;
    char mem[128];
    struct buf why;
    arena_init(&a, pool, 1 << 20);
    buf_init_fixed(&why, mem, sizeof mem);
    bool ok = tlsrpt_read(json, &a, &r, &why);
    must(ok == (why.n == 0) && !why.failed);
    if (ok)
        must(tls_rpt_write(&r, out));
    arena_reset(&a);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_pool pool;
    struct buf one, two;
    tlsrpt_seed(1);
    chunk_pool_init(&pool, 4096, 1000);
    buf_init(&one, 16 << 20);
    buf_init(&two, 16 << 20);
    if (read_and_write(str_of(data, size), &pool, &one)) {
        must(read_and_write(buf_str(&one), &pool, &two));
        must(str_eq(buf_str(&one), buf_str(&two)));
    }
    buf_fini(&two);
    buf_fini(&one);
    chunk_pool_fini(&pool);
    return 0;
}
