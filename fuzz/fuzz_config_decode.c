/* Octets as a configuration: refused, or a configuration whose octets are just these. */
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct chunk_pool pool;
    struct arena arena;
    chunk_pool_init(&pool, 65536, 256);
    arena_init(&arena, &pool, (size_t)65536 * 256);
    const struct config *c = config_decode(str_of(data, n), &arena);
    if (c != NULL) {
        struct buf again;
        buf_init(&again, n + 1);
        must(config_encode(c, &again));
        must(str_eq(buf_str(&again), str_of(data, n)));
        buf_fini(&again);
    }
    arena_reset(&arena);
    chunk_pool_fini(&pool);
    return 0;
}
