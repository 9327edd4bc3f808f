/* A text as a file of aliases: errors, or aliases that can be expanded and that survive the way to a role. */
#include "config/config.h"

enum { TEXT_MAX = 8192 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char lua[] = "hostname \"mail.example.org\" postmaster \"ann@a.example\" domain \"a.example\" { "
                          "users = { \"ann\", \"joe\" }, "
                          "deliver = lmtp \"h\", aliases = file \"a\" }";

/* Every file is there and holds the text itself: an include of it is a loop. */
static enum err read_file(void *arg, struct str path, struct arena *a, struct str *out)
{
    const struct str *text = arg;
    UNUSED(path);
    return arena_str(a, *text, out) ? ERR_OK : ERR_NOMEM;
}

static bool no_user(void *arg, struct str name, uint32_t *out_uid, uint32_t *out_gid)
{
    UNUSED(arg);
    UNUSED(name);
    UNUSED(out_uid);
    UNUSED(out_gid);
    return false;
}

/* What each alias becomes has a route or has none, and needs no alias any more. */
static void expand_all(const struct policy_conf *p, struct arena *a)
{
    const struct local_domain *d = &p->domains[0];
    for (size_t i = 0; i < d->n_aliases; i++) {
        struct buf address;
        struct expansion e;
        buf_init(&address, 4096);
        address_format(d->aliases[i].name, d->name, &address);
        struct rcpt r = {.address = buf_str(&address)};
        must(policy_expand(p, &r, a, &e));
        must(e.kind != EXPAND_NONE && (e.kind == EXPAND_FAILED) == (e.n_targets == 0));
        for (size_t k = 0; k < e.n_targets; k++) {
            char mem[8192];
            struct buf text;
            struct route route;
            struct rcpt target = {.address = e.targets[k].address, .target = e.targets[k].target};
            buf_init_fixed(&text, mem, sizeof mem);
            policy_route(p, &(struct route_ask){.rcpt = &target}, &text, &route);
            must((route.kind == ROUTE_PIPE) == (target.target != 0));
            policy_site(p, &route, &text);
            must(!text.failed);
        }
        buf_fini(&address);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = str_of(data, n);
    struct chunk_pool pool;
    struct arena arena;
    struct config_report report = {.n_errors = 0};
    struct config_env env = {
        .arg = &text, .read_file = read_file, .find_user = no_user, .takes_unready = true, .home = STR("/h")};
    if (n > TEXT_MAX)
        return 0;
    chunk_pool_init(&pool, 65536, 4096);
    arena_init(&arena, &pool, (size_t)65536 * 4096);
    buf_init(&report.errors, 65536);
    buf_init(&report.warnings, 65536);
    const struct config *c = config_load(STR("waxwing.lua"), str_from_c(lua), &env, &arena, &report);
    must((c == NULL) == (report.n_errors > 0));
    if (c != NULL) {
        struct buf bytes;
        buf_init(&bytes, 1 << 24);
        must(config_encode(c, &bytes));
        const struct config *decoded = config_decode(buf_str(&bytes), &arena);
        must(decoded != NULL && decoded->policy.domains[0].n_aliases == c->policy.domains[0].n_aliases);
        expand_all(&decoded->policy, &arena);
        buf_fini(&bytes);
    }
    buf_fini(&report.errors);
    buf_fini(&report.warnings);
    arena_reset(&arena);
    chunk_pool_fini(&pool);
    return 0;
}
