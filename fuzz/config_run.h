/* What the targets of config_load() share: a run over one text, and the way to a role and back. */
#pragma once
#include "config/config.h"

struct config_run {
    struct chunk_pool pool;
    struct arena arena;
    struct config_report report;
    struct buf bytes; /* of config_run_again() */
    struct str text;
};

/* Every file is there and holds the text itself: an include of it is a loop. */
static enum err config_run_read(void *arg, struct str path, struct arena *a, struct str *out)
{
    const struct config_run *r = arg;
    UNUSED(path);
    return arena_str(a, r->text, out) ? ERR_OK : ERR_NOMEM;
}

/* Names of less than ten octets are users; "" and with it uid 0 is none that Lua can ask for. */
static bool config_run_find_user(void *arg, struct str name, uint32_t *out_uid, uint32_t *out_gid)
{
    UNUSED(arg);
    *out_uid = *out_gid = (uint32_t)name.n;
    return name.n < 10;
}

static inline const struct config *config_run_load(struct config_run *r, struct str text, struct str lua,
                                                   bool is_root)
{
    *r = (struct config_run){.text = text};
    struct config_env env = {.arg = r,
                             .read_file = config_run_read,
                             .find_user = config_run_find_user,
                             .is_root = is_root,
                             .home = STR("/h")};
    chunk_pool_init(&r->pool, 65536, 4096);
    arena_init(&r->arena, &r->pool, (size_t)65536 * 4096);
    buf_init(&r->report.errors, 65536);
    buf_init(&r->report.warnings, 65536);
    buf_init(&r->bytes, 1 << 24);
    const struct config *c = config_load(STR("waxwing.lua"), lua, &env, &r->arena, &r->report);
    must((c == NULL) == (r->report.n_errors > 0));
    must((c == NULL) == (r->report.errors.n > 0));
    return c;
}

/* As a role gets it. */
static inline const struct config *config_run_again(struct config_run *r, const struct config *c)
{
    must(config_encode(c, &r->bytes));
    const struct config *again = config_decode(buf_str(&r->bytes), &r->arena);
    must(again != NULL);
    return again;
}

static inline void config_run_end(struct config_run *r)
{
    buf_fini(&r->bytes);
    buf_fini(&r->report.errors);
    buf_fini(&r->report.warnings);
    arena_reset(&r->arena);
    chunk_pool_fini(&r->pool);
}
