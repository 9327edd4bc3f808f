#include "ext/jwt_jansson.h"

#include "ext/json_bounds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

struct fixture {
    struct chunk_pool pool;
    struct arena arena;
    struct buf why;
    char mem[256];
};

static int setup(void **state)
{
    static struct fixture f;
    json_seed(1);
    chunk_pool_init(&f.pool, 4096, 4000);
    arena_init(&f.arena, &f.pool, JWT_ARENA_MAX);
    buf_init_fixed(&f.why, f.mem, sizeof f.mem);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_reset(&f->arena);
    chunk_pool_fini(&f->pool);
    return 0;
}

static void assert_str(struct str s, const char *want)
{
    if (!str_eq(s, str_from_c(want)))
        fail_msg("\"%.*s\" and not \"%s\"", STR_FMT(s), want);
}

/* why NULL: it must have been taken. */
static void check(struct fixture *f, const char *json, bool ok, const char *why)
{
    if (ok != (why == NULL) || ok != (f->why.n == 0))
        fail_msg("%s: %.*s", json, STR_FMT(buf_str(&f->why)));
    if (why != NULL && str_find(buf_str(&f->why), str_from_c(why)) == STR_NPOS)
        fail_msg("%s: %.*s and not %s", json, STR_FMT(buf_str(&f->why)), why);
    buf_reset(&f->why);
}

static struct token_claims claims(struct fixture *f, const char *json, const char *why)
{
    struct token_claims c;
    check(f, json, jwt_read_claims(str_from_c(json), STR("email"), &f->arena, &c, &f->why), why);
    return c;
}

/* RFC 9068 2.2 and RFC 7662 2.2, their examples. */
static void claims_of_the_rfcs(void **state)
{
    struct fixture *f = *state;
    struct token_claims c = claims(f,
                                   "{\"iss\":\"https://authorization-server.example.com/"
                                   "\",\"sub\":\"5ba552d67\",\"aud\":\"https://rs.example.com/\","
                                   "\"exp\":1639528912,\"iat\":1618354090,\"jti\":"
                                   "\"dbe39bf3a3ba4238a513f51d6e1691c4\",\"client_id\":\"s6BhdRkqt3\","
                                   "\"scope\":\"openid profile reademail\"}",
                                   NULL);
    assert_str(c.issuer, "https://authorization-server.example.com/");
    assert_int_equal(c.n_audiences, 1);
    assert_str(c.audiences[0], "https://rs.example.com/");
    assert_int_equal(c.n_scopes, 3);
    assert_str(c.scopes[0], "openid");
    assert_str(c.scopes[2], "reademail");
    assert_true(c.expires.is_said && c.issued.is_said && !c.not_before.is_said);
    assert_int_equal(c.expires.unix_s, 1639528912);
    assert_int_equal(c.issued.unix_s, 1618354090);
    assert_true(c.user.n == 0 && c.type.n == 0 && c.active == TOKEN_UNSAID &&
                c.email_verified == TOKEN_UNSAID && !c.is_bound && !c.is_identity);
    c = claims(f,
               "{\"active\":true,\"client_id\":\"l238j323ds-23ij4\",\"username\":\"jdoe\",\"scope\":\"read "
               "write dolphin\","
               "\"sub\":\"Z5O3upPC88QrAjx00dis\",\"aud\":\"https://protected.example.net/resource\","
               "\"iss\":\"https://server.example.com/"
               "\",\"exp\":1419356238,\"iat\":1419350238,\"extension_field\":\"twenty-seven\"}",
               NULL);
    assert_int_equal(c.active, TOKEN_TRUE);
    c = claims(f, "{\"active\":false}", NULL);
    assert_int_equal(c.active, TOKEN_FALSE);
}

static void each_claim(void **state)
{
    struct fixture *f = *state;
    struct token_claims c =
        claims(f,
               "{\"aud\":[\"a\",\"b\",\"\"],\"scp\":[\"x\",\"y "
               "z\"],\"email\":\"j\\u00f6@example.org\",\"email_verified\":true,"
               "\"nbf\":17.9,\"exp\":1e9,\"token_type\":\"Bearer\",\"cnf\":null,\"at_hash\":1}",
               NULL);
    assert_int_equal(c.n_audiences, 3);
    assert_str(c.audiences[1], "b");
    assert_int_equal(c.n_scopes, 2);
    assert_str(c.scopes[1], "y z");
    assert_str(c.user, "j\xc3\xb6@example.org");
    assert_str(c.type, "Bearer");
    assert_int_equal(c.not_before.unix_s, 17);
    assert_int_equal(c.expires.unix_s, 1000000000);
    assert_int_equal(c.email_verified, TOKEN_TRUE);
    assert_true(c.is_bound && c.is_identity);
    c = claims(f, "{\"scope\":\"  a  b \",\"scp\":\"c\",\"aud\":[],\"c_hash\":\"\"}", NULL);
    assert_int_equal(c.n_scopes, 2);
    assert_str(c.scopes[1], "b");
    assert_true(c.n_audiences == 0 && c.is_identity && !c.is_bound);
    static const struct {
        const char *json;
        enum token_bool want;
    } verified[] = {{"{\"email_verified\":false}", TOKEN_FALSE},
                    {"{\"email_verified\":\"true\"}", TOKEN_TRUE},
                    {"{\"email_verified\":\"no\"}", TOKEN_FALSE},
                    {"{\"email_verified\":1}", TOKEN_FALSE},
                    {"{\"email_verified\":null}", TOKEN_UNSAID}};
    for (size_t i = 0; i < ARRAY_LEN(verified); i++)
        assert_int_equal(claims(f, verified[i].json, NULL).email_verified, verified[i].want);
    static const char *const nobody[] = {"{\"email\":7}", "{\"email\":[\"a\"]}", "{\"email\":null}",
                                         "{\"Email\":\"a\"}", "{\"email\":\"\"}"};
    for (size_t i = 0; i < ARRAY_LEN(nobody); i++)
        assert_int_equal(claims(f, nobody[i], NULL).user.n, 0);
    static const char *const not_active[] = {"{\"active\":\"true\"}", "{\"active\":1}", "{}",
                                             "{\"active\":null}"};
    for (size_t i = 0; i < ARRAY_LEN(not_active); i++)
        assert_int_equal(claims(f, not_active[i], NULL).active, TOKEN_UNSAID);
}

static void claims_that_are_none(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *json, *why;
    } rows[] = {
        {"", "no JSON"},
        {"{", "no JSON"},
        {"{}x", "no JSON"},
        {"[]", "no object"},
        {"null", "no JSON"}, /* nor would it be an object */
        {"{\"iss\":\"a\",\"iss\":\"b\"}", "twice"},
        {"{\"email\":\"a\\u0000b\"}", "no JSON"},
        {"{\"email\":\"\xff\"}", "no JSON"},
        {"{\"iss\":7}", "issuer"},
        {"{\"token_type\":[]}", "token_type"},
        {"{\"aud\":7}", "a text in a list"},
        {"{\"aud\":[\"a\",7]}", "a text in a list"},
        {"{\"aud\":{}}", "a text in a list"},
        {"{\"scope\":7}", "a text in a list"},
        {"{\"exp\":\"1\"}", "a time"},
        {"{\"exp\":-1}", "a time"},
        {"{\"exp\":-0.5}", "a time"},
        {"{\"exp\":1e300}", "a time"},
        {"{\"exp\":253402300800}", "a time"},
        {"{\"exp\":99999999999999999999}", "no JSON"},
        {"{\"nbf\":true}", "a time"},
        {"{\"iat\":[]}", "a time"},
        {"[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", "too big"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        (void)claims(f, rows[i].json, rows[i].why);
    assert_int_equal(claims(f, "{\"exp\":253402300799}", NULL).expires.unix_s, 253402300799);
}

static void many(struct buf *b, const char *head, const char *item, size_t n, const char *tail)
{
    buf_reset(b);
    buf_puts(b, head);
    for (size_t i = 0; i < n; i++) {
        buf_puts(b, i > 0 ? "," : "");
        buf_puts(b, item);
    }
    buf_puts(b, tail);
    buf_putc(b, '\0');
    assert_false(b->failed);
}

static void limits(void **state)
{
    struct fixture *f = *state;
    struct buf b;
    struct jwt_keys k;
    buf_init(&b, 1 << 20);
    many(&b, "{\"aud\":[", "\"a\"", TOKEN_AUDIENCES_MAX, "]}");
    assert_int_equal(claims(f, b.p, NULL).n_audiences, TOKEN_AUDIENCES_MAX);
    many(&b, "{\"aud\":[", "\"a\"", TOKEN_AUDIENCES_MAX + 1, "]}");
    (void)claims(f, b.p, "too many values");
    many(&b, "{\"scope\":[", "\"a\"", TOKEN_SCOPES_MAX + 1, "]}");
    (void)claims(f, b.p, "too many values");
    for (size_t n = TOKEN_SCOPES_MAX; n <= TOKEN_SCOPES_MAX + 1; n++) {
        buf_reset(&b);
        buf_puts(&b, "{\"scope\":\"");
        for (size_t i = 0; i < n; i++)
            buf_puts(&b, "a ");
        buf_puts(&b, "\"}");
        buf_putc(&b, '\0');
        (void)claims(f, b.p, n > TOKEN_SCOPES_MAX ? "too many values" : NULL);
    }
    many(&b, "{\"x\":[", "[]", JWT_VALUES_MAX / 2 - 1,
         "]}"); /* a bracket and a comma each, two brackets, one comma less */
    (void)claims(f, b.p, NULL);
    many(&b, "{\"x\":[", "[]", JWT_VALUES_MAX / 2, "]}");
    (void)claims(f, b.p, "too big");
    many(&b, "{\"x\":\"", "aaaaaaa", (JWT_JSON_MAX - 8) / 8, "\"}");
    assert_true(b.n <= JWT_JSON_MAX);
    (void)claims(f, b.p, NULL);
    many(&b, "{\"x\":\"", "aaaaaaa", JWT_JSON_MAX / 8 + 1, "\"}");
    (void)claims(f, b.p, "too big");
    many(&b, "{\"keys\":[", "{}", JWT_KEYS_MAX, "]}");
    check(f, "keys", jwt_read_keys(str_from_c(b.p), &f->arena, &k, &f->why), NULL);
    assert_true(k.n == 0 && k.n_left_out == JWT_KEYS_MAX);
    many(&b, "{\"keys\":[", "{}", JWT_KEYS_MAX + 1, "]}");
    check(f, "keys", jwt_read_keys(str_from_c(b.p), &f->arena, &k, &f->why), "too many keys");
    buf_fini(&b);
}

static void without_memory(void **state)
{
    struct fixture *f = *state;
    struct token_claims c;
    struct jwt_keys k;
    static const char text[] =
        "{\"iss\":\"https://id.example.org\",\"aud\":[\"a\",\"b\"],\"scope\":\"a b\",\"email\":\"joe\"}";
    static const char keys[] =
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"AAAA\"}]}";
    bool was_taken = false;
    for (size_t limit = 0; limit < 5000 && !was_taken; limit += 8) {
        f->arena.limit = limit;
        bool ok = jwt_read_claims(str_from_c(text), STR("email"), &f->arena, &c, &f->why) &&
                  jwt_read_keys(str_from_c(keys), &f->arena, &k, &f->why);
        assert_int_equal(ok, f->why.n == 0);
        was_taken = ok;
        buf_reset(&f->why);
        arena_reset(&f->arena);
    }
    assert_true(was_taken);
}

static void headers(void **state)
{
    struct fixture *f = *state;
    struct token_header h;
    static const struct {
        const char *json, *alg, *kid, *type;
        bool has_critical;
        const char *why;
    } rows[] = {
        {"{\"typ\":\"at+jwt\",\"alg\":\"RS256\",\"kid\":\"RjEwOwOA\"}", "RS256", "RjEwOwOA", "at+jwt", false,
         NULL},
        {"{\"alg\":\"none\"}", "none", "", "", false, NULL},
        {"{}", "", "", "", false, NULL},
        {"{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", "ES256", "", "", true, NULL},
        {"{\"alg\":\"ES256\",\"crit\":null}", "ES256", "", "", true, NULL},
        {"{\"alg\":1}", NULL, NULL, NULL, false, "algorithm"},
        {"{\"alg\":\"RS256\",\"kid\":1}", NULL, NULL, NULL, false, "kid"},
        {"{\"alg\":\"RS256\",\"typ\":{}}", NULL, NULL, NULL, false, "type"},
        {"{\"alg\":\"RS256\",\"alg\":\"none\"}", NULL, NULL, NULL, false, "twice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool ok = jwt_read_header(str_from_c(rows[i].json), &f->arena, &h, &f->why);
        check(f, rows[i].json, ok, rows[i].why);
        if (!ok)
            continue;
        assert_str(h.alg, rows[i].alg);
        assert_str(h.kid, rows[i].kid);
        assert_str(h.type, rows[i].type);
        assert_int_equal(h.has_critical, rows[i].has_critical);
    }
}

/* RFC 7517 A.1, shortened, and keys that are not for us. */
static void keys(void **state)
{
    struct fixture *f = *state;
    struct jwt_keys k;
    static const char json[] =
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQI\",\"y\":\"AwQ\",\"use\":\"enc\",\"kid\":"
        "\"1\"},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"},"
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AQI\",\"y\":\"AwQ\",\"use\":\"sig\",\"key_ops\":[\"sign\","
        "\"verify\"]},"
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"BQY\",\"alg\":\"EdDSA\",\"d\":\"private\"},"
        "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ\",\"alg\":\"HS256\"},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"alg\":\"HS256\"},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"alg\":\"none\"},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"alg\":7},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"key_ops\":[\"encrypt\"]},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"key_ops\":\"verify\"},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"use\":7},"
        "{\"kty\":\"RSA\",\"n\":\"AQID\",\"e\":\"AQAB\",\"kid\":7},"
        "{\"kty\":\"RSA\",\"n\":\"AQ=\",\"e\":\"AQAB\"},{\"kty\":\"RSA\",\"n\":\"AQID\"},"
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQI\"},{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":"
        "\"AQI\",\"y\":\"AwQ\"},"
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"BQY\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"\"},"
        "{\"kty\":\"rsa\",\"n\":\"AQID\",\"e\":\"AQAB\"},{},7,null,[]]}";
    check(f, json, jwt_read_keys(str_from_c(json), &f->arena, &k, &f->why), NULL);
    assert_int_equal(k.n, 3);
    assert_int_equal(k.n_left_out, 20);
    assert_true(k.keys[0].type == JWK_RSA && k.keys[0].alg == JWS_RS256);
    assert_str(k.keys[0].kid, "2011-04-29");
    assert_str(k.keys[0].a, "\1\2\3");
    assert_true(str_eq(k.keys[0].b, STR("\1\0\1")));
    assert_true(k.keys[1].type == JWK_P384 && k.keys[1].alg == JWS_NO_ALG && k.keys[1].kid.n == 0);
    assert_str(k.keys[1].b, "\3\4");
    assert_true(k.keys[2].type == JWK_ED25519 && k.keys[2].alg == JWS_EDDSA && k.keys[2].b.n == 0);
    static const struct {
        const char *json, *why;
    } rows[] = {{"{\"keys\":[]}", NULL},        {"{\"keys\":{}}", "no list"}, {"{}", "no list"},
                {"{\"keys\":null}", "no list"}, {"[]", "no object"},          {"<html>", "no JSON"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check(f, rows[i].json, jwt_read_keys(str_from_c(rows[i].json), &f->arena, &k, &f->why), rows[i].why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(claims_of_the_rfcs, setup, teardown),
        cmocka_unit_test_setup_teardown(each_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(headers, setup, teardown),
        cmocka_unit_test_setup_teardown(keys, setup, teardown),
    };
    return cmocka_run_group_tests_name("jwt_jansson", tests, NULL, NULL);
}
