/* Headers, claims and sets of keys: each is taken or refused with a reason; what is taken keeps within its
 * limits and can be judged. */
#include "ext/jwt_jansson.h"

#include "base/mem.h"
#include "ext/json_bounds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_claims(const struct token_claims *c)
{
    const struct token_rules rules = {.issuer = STR("https://id.example.org"),
                                      .audience = STR("waxwing"),
                                      .scope = STR("mail"),
                                      .claim = STR("email")};
    must(c->n_audiences <= TOKEN_AUDIENCES_MAX && c->n_scopes <= TOKEN_SCOPES_MAX);
    for (size_t i = 0; i < c->n_scopes; i++)
        must(c->scopes[i].n <= JWT_JSON_MAX);
    const char *why = token_judge(&rules, c, true, 1800000000);
    must(why == NULL || str_from_c(why).n > 0);
    must(token_life_s(c, 1800000000, 60) <= 60);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_pool pool;
    struct arena a;
    struct token_claims c;
    struct token_header h;
    struct jwt_keys k;
    char mem[512];
    struct buf why;
    struct str json = str_of(data, size);
    json_seed(1);
    chunk_pool_init(&pool, 4096, 1000);
    arena_init(&a, &pool, JWT_ARENA_MAX);
    buf_init_fixed(&why, mem, sizeof mem);
    bool ok = jwt_read_claims(json, STR("email"), &a, &c, &why);
    must(ok == (why.n == 0));
    if (ok)
        check_claims(&c);
    buf_reset(&why);
    ok = jwt_read_header(json, &a, &h, &why);
    must(ok == (why.n == 0));
    if (ok)
        (void)token_judge_header(&h);
    buf_reset(&why);
    ok = jwt_read_keys(json, &a, &k, &why);
    must(ok == (why.n == 0) && !why.failed);
    must(!ok || (k.n + k.n_left_out <= JWT_KEYS_MAX));
    for (size_t i = 0; ok && i < k.n; i++)
        must(k.keys[i].type != JWK_NO_TYPE && (k.keys[i].a.n > 0 || k.keys[i].b.n == 0));
    arena_reset(&a);
    chunk_pool_fini(&pool);
    return 0;
}
