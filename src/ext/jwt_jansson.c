#include "ext/jwt_jansson.h"

#include "base/base64.h"
#include "ext/json_bounds.h"

#include <jansson.h>
#include <string.h>

#define TIME_MAX 253402300799 /* the last second of the year 9999 */

struct reading {
    struct arena *arena;
    const char *why; /* static; NULL: all is well */
};

static void wrong(struct reading *r, const char *why)
{
    if (r->why == NULL)
        r->why = why;
}

/* The object that the text is, for json_decref(); NULL: it is none. */
static json_t *parse(struct reading *r, struct str json, size_t max)
{
    if (json.n > max || !json_is_bounded(json, JWT_DEPTH_MAX, JWT_VALUES_MAX)) {
        wrong(r, "it is too big");
        return NULL;
    }
    json_error_t error;
    json_t *root = json_loadb(json.n > 0 ? json.p : "", json.n, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        wrong(r, "it is no JSON, or a member comes twice");
    else if (!json_is_object(root))
        wrong(r, "it is no object");
    else
        return root;
    json_decref(root);
    return NULL;
}

static bool finish(const struct reading *r, json_t *root, struct buf *why)
{
    json_decref(root);
    if (r->why != NULL)
        buf_puts(why, r->why);
    return r->why == NULL;
}

static struct str copy(struct reading *r, const json_t *value)
{
    struct str s = STR_NIL;
    if (!arena_str(r->arena, str_of(json_string_value(value), json_string_length(value)), &s))
        wrong(r, "it is too big");
    return s;
}

/* Empty when it is missing, or null. */
static struct str text_of(struct reading *r, const json_t *object, const char *key, const char *why)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return STR_NIL;
    if (json_is_string(value))
        return copy(r, value);
    wrong(r, why);
    return STR_NIL;
}

static enum token_bool bool_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    bool is_word = json_is_string(value); /* some issuers write email_verified as a text */
    struct str word = is_word ? str_from_c(json_string_value(value)) : STR_NIL;
    if (value == NULL || json_is_null(value))
        return TOKEN_UNSAID;
    return json_is_true(value) || str_eq(word, STR("true")) ? TOKEN_TRUE : TOKEN_FALSE;
}

/* NumericDate (RFC 7519 2): seconds, that may have a fraction. */
static struct token_time time_of(struct reading *r, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return (struct token_time){false, 0};
    double real = json_is_real(value) ? json_real_value(value) : 0;
    int64_t whole = json_is_integer(value) ? json_integer_value(value) : 0;
    if (!json_is_number(value) || !(real >= 0 && real <= (double)TIME_MAX) || whole < 0 || whole > TIME_MAX) {
        wrong(r, "a time is none");
        return (struct token_time){false, 0};
    }
    return (struct token_time){true, json_is_real(value) ? (int64_t)real : whole};
}

static struct str *rows(struct reading *r, size_t n, size_t max)
{
    struct str *list = n == 0 || n > max ? NULL : arena_alloc_array(r->arena, n, sizeof *list);
    if (list == NULL && n > 0)
        wrong(r, "it has too many values in a list");
    return list;
}

/* The texts of an array, or the one that stands alone. */
static const struct str *list_of(struct reading *r, const json_t *value, size_t max, size_t *out_n)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    struct str *list = rows(r, n, max);
    *out_n = 0;
    for (size_t i = 0; list != NULL && i < n; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (json_is_string(item))
            list[i] = copy(r, item);
        else
            wrong(r, "a text in a list is none");
    }
    *out_n = list != NULL ? n : 0;
    return list;
}

/* RFC 6749 3.3: words with a space between them. */
static const struct str *words_of(struct reading *r, const json_t *value, size_t *out_n)
{
    struct str rest = copy(r, value);
    struct str *list = arena_alloc_array(r->arena, TOKEN_SCOPES_MAX, sizeof *list);
    *out_n = 0;
    if (list == NULL) {
        wrong(r, "it is too big");
        return NULL;
    }
    while (rest.n > 0) {
        struct str word = str_cut(&rest, ' ');
        if (word.n == 0)
            continue;
        if (*out_n == TOKEN_SCOPES_MAX) {
            wrong(r, "it has too many values in a list");
            break;
        }
        list[(*out_n)++] = word;
    }
    return list;
}

/* "scope" by RFC 9068 2.2.3 and RFC 7662; "scp" is what others call it; some have arrays. */
static void read_scopes(struct reading *r, const json_t *root, struct token_claims *out)
{
    const json_t *value = json_object_get(root, "scope");
    if (value == NULL)
        value = json_object_get(root, "scp");
    if (value == NULL || json_is_null(value))
        return;
    out->scopes = json_is_string(value) ? words_of(r, value, &out->n_scopes)
                                        : list_of(r, value, TOKEN_SCOPES_MAX, &out->n_scopes);
}

static void read_user(struct reading *r, const json_t *root, struct str claim, struct token_claims *out)
{
    char name[TOKEN_CLAIM_MAX + 1];
    const json_t *value = str_to_c(claim, name, sizeof name) ? json_object_get(root, name) : NULL;
    if (json_is_string(value))
        out->user = copy(r, value);
}

static void read_claims(struct reading *r, const json_t *root, struct str claim, struct token_claims *out)
{
    const json_t *audience = json_object_get(root, "aud"), *active = json_object_get(root, "active");
    out->issuer = text_of(r, root, "iss", "its issuer is no text");
    out->type = text_of(r, root, "token_type", "its token_type is no text");
    if (audience != NULL && !json_is_null(audience))
        out->audiences = list_of(r, audience, TOKEN_AUDIENCES_MAX, &out->n_audiences);
    read_scopes(r, root, out);
    read_user(r, root, claim, out);
    out->expires = time_of(r, root, "exp");
    out->not_before = time_of(r, root, "nbf");
    out->issued = time_of(r, root, "iat");
    out->active = !json_is_boolean(active) ? TOKEN_UNSAID : json_is_true(active) ? TOKEN_TRUE : TOKEN_FALSE;
    out->email_verified = bool_of(root, "email_verified");
    out->is_bound = json_object_get(root, "cnf") != NULL;
    out->is_identity = json_object_get(root, "at_hash") != NULL || json_object_get(root, "c_hash") != NULL;
}

bool jwt_read_claims(struct str json, struct str claim, struct arena *a, struct token_claims *out,
                     struct buf *why)
{
    struct reading r = {.arena = a};
    *out = (struct token_claims){.n_scopes = 0};
    json_t *root = parse(&r, json, JWT_JSON_MAX);
    if (root != NULL)
        read_claims(&r, root, claim, out);
    return finish(&r, root, why);
}

bool jwt_read_header(struct str json, struct arena *a, struct token_header *out, struct buf *why)
{
    struct reading r = {.arena = a};
    *out = (struct token_header){.alg = STR_NIL};
    json_t *root = parse(&r, json, JWT_JSON_MAX);
    if (root != NULL) {
        out->alg = text_of(&r, root, "alg", "its algorithm is no text");
        out->kid = text_of(&r, root, "kid", "its kid is no text");
        out->type = text_of(&r, root, "typ", "its type is no text");
        out->has_critical = json_object_get(root, "crit") != NULL;
    }
    return finish(&r, root, why);
}

/* ---- keys ---------------- */

static bool is_word(const json_t *object, const char *key, const char *word)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) && strcmp(json_string_value(value), word) == 0;
}

static enum jwk_type type_of(const json_t *key)
{
    if (is_word(key, "kty", "RSA"))
        return JWK_RSA;
    if (is_word(key, "kty", "EC"))
        return is_word(key, "crv", "P-256")   ? JWK_P256
               : is_word(key, "crv", "P-384") ? JWK_P384
                                              : JWK_NO_TYPE;
    return is_word(key, "kty", "OKP") && is_word(key, "crv", "Ed25519") ? JWK_ED25519 : JWK_NO_TYPE;
}

/* RFC 7517 4.2 and 4.3: what is not said is not forbidden. */
static bool is_for_signatures(const json_t *key)
{
    const json_t *operations = json_object_get(key, "key_ops");
    if (json_object_get(key, "use") != NULL && !is_word(key, "use", "sig"))
        return false;
    if (operations == NULL)
        return true;
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const json_t *item = json_array_get(operations, i);
        if (json_is_string(item) && strcmp(json_string_value(item), "verify") == 0)
            return true;
    }
    return false;
}

static bool take_octets(struct reading *r, const json_t *key, const char *name, struct str *out)
{
    const json_t *value = json_object_get(key, name);
    struct str text = str_of(json_string_value(value), json_string_length(value));
    struct buf b;
    size_t n = BASE64_OCTETS(text.n) + 2;
    char *mem = text.n > 0 ? arena_alloc(r->arena, n) : NULL;
    if (mem == NULL) {
        if (text.n > 0)
            wrong(r, "it is too big");
        return false;
    }
    buf_init_fixed(&b, mem, n);
    bool ok = base64url_take(text, &b);
    *out = buf_str(&b);
    return ok;
}

/* false: it is none that we take. */
static bool read_key(struct reading *r, const json_t *key, struct jwk *out)
{
    const json_t *alg = json_object_get(key, "alg"), *kid = json_object_get(key, "kid");
    out->type = type_of(key);
    if (out->type == JWK_NO_TYPE || !is_for_signatures(key) || (kid != NULL && !json_is_string(kid)))
        return false;
    if (alg != NULL) {
        out->alg = jws_alg_of(str_of(json_string_value(alg), json_string_length(alg)));
        if (out->alg == JWS_NO_ALG)
            return false;
    }
    if (kid != NULL)
        out->kid = copy(r, kid);
    if (out->type == JWK_RSA)
        return take_octets(r, key, "n", &out->a) && take_octets(r, key, "e", &out->b);
    return take_octets(r, key, "x", &out->a) &&
           (out->type == JWK_ED25519 || take_octets(r, key, "y", &out->b));
}

static void read_keys(struct reading *r, const json_t *root, struct jwt_keys *out)
{
    const json_t *keys = json_object_get(root, "keys");
    size_t n = json_array_size(keys);
    if (!json_is_array(keys) || n > JWT_KEYS_MAX) {
        wrong(r, n == 0 ? "it has no list of keys" : "it has too many keys");
        return;
    }
    out->keys = arena_alloc_array(r->arena, n + 1, sizeof *out->keys);
    if (out->keys == NULL)
        wrong(r, "it is too big");
    for (size_t i = 0; r->why == NULL && i < n; i++) {
        struct jwk *k = &out->keys[out->n];
        *k = (struct jwk){.type = JWK_NO_TYPE};
        if (read_key(r, json_array_get(keys, i), k))
            out->n++;
        else
            out->n_left_out++;
    }
}

bool jwt_read_keys(struct str json, struct arena *a, struct jwt_keys *out, struct buf *why)
{
    struct reading r = {.arena = a};
    *out = (struct jwt_keys){.keys = NULL};
    json_t *root = parse(&r, json, JWT_KEYS_JSON_MAX);
    if (root != NULL)
        read_keys(&r, root, out);
    return finish(&r, root, why);
}
