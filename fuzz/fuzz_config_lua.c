/* A text as a configuration file: errors, or a configuration that survives the way to a role. */
#include "config/config.h"

enum { TEXT_MAX = 8192 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Every file is there and holds the text itself: an include of it is a loop. */
static enum err read_file(void *arg, struct str path, struct arena *a, struct str *out)
{
    const struct str *text = arg;
    UNUSED(path);
    return arena_str(a, *text, out) ? ERR_OK : ERR_NOMEM;
}

static bool find_user(void *arg, struct str name, uint32_t *out_uid, uint32_t *out_gid)
{
    UNUSED(arg);
    *out_uid = *out_gid = (uint32_t)name.n;
    return name.n < 10;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = str_of(data, n);
    struct chunk_pool pool;
    struct arena arena;
    struct config_report report = {.n_errors = 0};
    struct config_env env = {.arg = &text,
                             .read_file = read_file,
                             .find_user = find_user,
                             .is_root = n % 2 == 1,
                             .takes_unready = true,
                             .home = STR("/h")};
    if (n > TEXT_MAX)
        return 0;
    chunk_pool_init(&pool, 65536, 1024);
    arena_init(&arena, &pool, (size_t)65536 * 1024);
    buf_init(&report.errors, 65536);
    buf_init(&report.warnings, 65536);
    const struct config *c = config_load(STR("waxwing.lua"), text, &env, &arena, &report);
    must((c == NULL) == (report.n_errors > 0));
    must((c == NULL) == (report.errors.n > 0));
    if (c != NULL) {
        struct buf bytes;
        buf_init(&bytes, 1 << 24);
        must(config_encode(c, &bytes));
        must(config_decode(buf_str(&bytes), &arena) != NULL);
        buf_fini(&bytes);
    }
    buf_fini(&report.errors);
    buf_fini(&report.warnings);
    arena_reset(&arena);
    chunk_pool_fini(&pool);
    return 0;
}
