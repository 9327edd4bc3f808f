/* io/tls_provider.c: keys whose private half is in another process, as an OpenSSL provider that is built in.
 *
 * A key is its public half (a key of the default provider, which answers all questions about sizes, groups
 * and digests), the signer's number and the world. Exporting it with its private half is refused; that alone
 * makes OpenSSL sign by this provider. The world comes in as a parameter, so no global is needed. A key
 * without one is public and can only be compared: OpenSSL imports the certificate's key for that.
 * docs/spikes/keys-provider.md has the figures.
 */
#include "io/tls.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <string.h>

#define PARAM_WORLD "waxwing-world"
#define PARAM_KEY "waxwing-key"

enum kind { KIND_EC = 0, KIND_RSA, KIND_ED25519 };

static const char *const type_names[TLS_KEY_TYPES] = {"EC", "RSA", "ED25519"};

struct key {
    OSSL_LIB_CTX *lib;
    enum kind kind;
    struct tls_world *w; /* NULL: only to be compared */
    uint32_t number;
    EVP_PKEY *pub; /* of the default provider */
};

struct provider {
    OSSL_LIB_CTX *lib;
};

/* ---- keys ---- */

static void *key_new(void *prov, enum kind kind)
{
    struct key *k = OPENSSL_zalloc(sizeof *k);
    if (k != NULL) {
        k->lib = ((const struct provider *)prov)->lib;
        k->kind = kind;
    }
    return k;
}

static void *key_new_ec(void *prov)
{
    return key_new(prov, KIND_EC);
}

static void *key_new_rsa(void *prov)
{
    return key_new(prov, KIND_RSA);
}

static void *key_new_ed25519(void *prov)
{
    return key_new(prov, KIND_ED25519);
}

static void key_free(void *data)
{
    struct key *k = data;
    if (k != NULL)
        EVP_PKEY_free(k->pub);
    OPENSSL_free(k);
}

static int key_has(const void *data, int selection)
{
    const struct key *k = data;
    bool wants_private = (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
    return k->pub != NULL && (!wants_private || k->w != NULL);
}

static int key_match(const void *a, const void *b, int selection)
{
    UNUSED(selection);
    return EVP_PKEY_eq(((const struct key *)a)->pub, ((const struct key *)b)->pub) == 1;
}

static int key_import(void *data, int selection, const OSSL_PARAM params[])
{
    struct key *k = data;
    UNUSED(selection);
    const OSSL_PARAM *world = OSSL_PARAM_locate_const(params, PARAM_WORLD);
    const OSSL_PARAM *number = OSSL_PARAM_locate_const(params, PARAM_KEY);
    if (k->pub != NULL)
        return 0;
    if (world != NULL) {
        if (world->data_size != sizeof k->w || number == NULL || !OSSL_PARAM_get_uint32(number, &k->number))
            return 0;
        memcpy(&k->w, world->data, sizeof k->w);
    }
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(k->lib, type_names[k->kind], "provider=default");
    OSSL_PARAM *copy = OSSL_PARAM_dup(params);
    int ok = c != NULL && copy != NULL && EVP_PKEY_fromdata_init(c) > 0 &&
             EVP_PKEY_fromdata(c, &k->pub, EVP_PKEY_PUBLIC_KEY, copy) > 0;
    OSSL_PARAM_free(copy);
    EVP_PKEY_CTX_free(c);
    return ok;
}

/* The private half goes nowhere. */
static int key_export(void *data, int selection, OSSL_CALLBACK *fn, void *arg)
{
    struct key *k = data;
    OSSL_PARAM *params = NULL;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 || k->pub == NULL ||
        EVP_PKEY_todata(k->pub, EVP_PKEY_PUBLIC_KEY, &params) <= 0)
        return 0;
    int ok = fn(params, arg);
    OSSL_PARAM_free(params);
    return ok;
}

static const OSSL_PARAM *key_types(int selection)
{
    static const OSSL_PARAM types[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
                                       OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
                                       OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
                                       OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
                                       OSSL_PARAM_octet_string(PARAM_WORLD, NULL, 0),
                                       OSSL_PARAM_uint32(PARAM_KEY, NULL),
                                       OSSL_PARAM_END};
    UNUSED(selection);
    return types;
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
    const struct key *k = data;
    return k->pub == NULL || EVP_PKEY_get_params(k->pub, params) > 0;
}

static const OSSL_PARAM *key_gettable(void *prov)
{
    static const OSSL_PARAM list[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
                                      OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
                                      OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
                                      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
                                      OSSL_PARAM_END};
    UNUSED(prov);
    return list;
}

static const char *name_ecdsa(int operation)
{
    UNUSED(operation);
    return "ECDSA";
}

typedef void (*fn)(void); /* OpenSSL's tables are of these */
/* clang-format off */
#define KEYMGMT(new, query)                                                                                  \
    {                                                                                                        \
        {OSSL_FUNC_KEYMGMT_NEW, (fn)new},                                                                    \
        {OSSL_FUNC_KEYMGMT_FREE, (fn)key_free},                                                              \
        {OSSL_FUNC_KEYMGMT_HAS, (fn)key_has},                                                                \
        {OSSL_FUNC_KEYMGMT_MATCH, (fn)key_match},                                                            \
        {OSSL_FUNC_KEYMGMT_IMPORT, (fn)key_import},                                                          \
        {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (fn)key_types},                                                     \
        {OSSL_FUNC_KEYMGMT_EXPORT, (fn)key_export},                                                          \
        {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (fn)key_types},                                                     \
        {OSSL_FUNC_KEYMGMT_GET_PARAMS, (fn)key_get_params},                                                  \
        {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (fn)key_gettable},                                               \
        {query, query == 0 ? NULL : (fn)name_ecdsa},                                                         \
        {0, NULL},                                                                                           \
    }
/* clang-format on */
static const OSSL_DISPATCH keymgmt_ec[] = KEYMGMT(key_new_ec, OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME);
static const OSSL_DISPATCH keymgmt_rsa[] = KEYMGMT(key_new_rsa, 0);
static const OSSL_DISPATCH keymgmt_ed25519[] = KEYMGMT(key_new_ed25519, 0);
static const OSSL_ALGORITHM keymgmts[] = {{"EC:id-ecPublicKey", "provider=waxwing", keymgmt_ec, NULL},
                                          {"RSA:rsaEncryption", "provider=waxwing", keymgmt_rsa, NULL},
                                          {"ED25519", "provider=waxwing", keymgmt_ed25519, NULL},
                                          {NULL, NULL, NULL, NULL}};

/* ---- signatures ---- */

static const struct {
    const char *name;
    enum tls_digest digest;
} digests[] = {{"SHA1", TLS_DIGEST_SHA1},     {"SHA2-256", TLS_DIGEST_SHA256},
               {"SHA256", TLS_DIGEST_SHA256}, {"SHA2-384", TLS_DIGEST_SHA384},
               {"SHA384", TLS_DIGEST_SHA384}, {"SHA2-512", TLS_DIGEST_SHA512},
               {"SHA512", TLS_DIGEST_SHA512}, {"MD5-SHA1", TLS_DIGEST_MD5_SHA1}};

struct signing {
    const struct key *key;
    enum tls_scheme scheme;
    size_t digest; /* row of digests */
};

static void *signing_new(void *prov, const char *propq)
{
    UNUSED(prov);
    UNUSED(propq);
    return OPENSSL_zalloc(sizeof(struct signing));
}

static void signing_free(void *data)
{
    OPENSSL_free(data);
}

/* The padding as a word or as a number. */
static int signing_set(void *data, const OSSL_PARAM params[])
{
    struct signing *s = data;
    const OSSL_PARAM *pad =
        params == NULL ? NULL : OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    const OSSL_PARAM *salt =
        params == NULL ? NULL : OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    if (pad != NULL) {
        int mode = 0;
        if (pad->data_type == OSSL_PARAM_UTF8_STRING)
            mode = strcmp(pad->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0       ? RSA_PKCS1_PSS_PADDING
                   : strcmp(pad->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ? RSA_PKCS1_PADDING
                                                                            : 0;
        else if (!OSSL_PARAM_get_int(pad, &mode))
            return 0;
        if (s->key->kind != KIND_RSA || (mode != RSA_PKCS1_PSS_PADDING && mode != RSA_PKCS1_PADDING))
            return 0;
        s->scheme = mode == RSA_PKCS1_PADDING ? TLS_SIGN_RSA_PKCS1 : TLS_SIGN_RSA_PSS;
    }
    if (salt != NULL) { /* TLS has one length only, that of the digest */
        int n = 0;
        if (salt->data_type == OSSL_PARAM_UTF8_STRING)
            return strcmp(salt->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0;
        return OSSL_PARAM_get_int(salt, &n) && n == RSA_PSS_SALTLEN_DIGEST;
    }
    return 1;
}

static const OSSL_PARAM *signing_settable(void *data, void *prov)
{
    static const OSSL_PARAM list[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
                                      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
                                      OSSL_PARAM_END};
    UNUSED(data);
    UNUSED(prov);
    return list;
}

static int signing_init(void *data, const char *digest_name, void *key, const OSSL_PARAM params[])
{
    static const enum tls_scheme schemes[TLS_KEY_TYPES] = {TLS_SIGN_ECDSA, TLS_SIGN_RSA_PKCS1,
                                                           TLS_SIGN_ED25519};
    struct signing *s = data;
    if (key != NULL)
        s->key = key;
    if (s->key == NULL || s->key->w == NULL)
        return 0;
    s->scheme = schemes[s->key->kind];
    if (s->scheme != TLS_SIGN_ED25519) {
        if (digest_name == NULL)
            return 0;
        s->digest = 0;
        while (s->digest < ARRAY_LEN(digests) &&
               OPENSSL_strcasecmp(digest_name, digests[s->digest].name) != 0)
            s->digest++;
        if (s->digest == ARRAY_LEN(digests))
            return 0;
    }
    return signing_set(s, params);
}

static int signing_sign(void *data, unsigned char *sig, size_t *n, size_t cap, const unsigned char *tbs,
                        size_t n_tbs)
{
    const struct signing *s = data;
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t n_digest = 0;
    struct tls_sign ask = {.key = s->key->number, .scheme = s->scheme, .octets = {(const char *)tbs, n_tbs}};
    if (sig == NULL) {
        *n = (size_t)EVP_PKEY_get_size(s->key->pub);
        return 1;
    }
    if (s->scheme != TLS_SIGN_ED25519) {
        if (!EVP_Q_digest(s->key->lib, digests[s->digest].name, NULL, tbs, n_tbs, digest, &n_digest))
            return 0;
        ask.digest = digests[s->digest].digest;
        ask.octets = str_of(digest, n_digest);
    }
    return tls_shake_sign(s->key->w, &ask, sig, cap, n);
}

static const OSSL_DISPATCH signature[] = {{OSSL_FUNC_SIGNATURE_NEWCTX, (fn)signing_new},
                                          {OSSL_FUNC_SIGNATURE_FREECTX, (fn)signing_free},
                                          {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (fn)signing_init},
                                          {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (fn)signing_sign},
                                          {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (fn)signing_set},
                                          {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (fn)signing_settable},
                                          {0, NULL}};
static const OSSL_ALGORITHM signatures[] = {{"ECDSA", "provider=waxwing", signature, NULL},
                                            {"RSA:rsaEncryption", "provider=waxwing", signature, NULL},
                                            {"ED25519", "provider=waxwing", signature, NULL},
                                            {NULL, NULL, NULL, NULL}};

/* ---- the provider ---- */

static const OSSL_ALGORITHM *provider_query(void *prov, int operation, int *no_cache)
{
    UNUSED(prov);
    *no_cache = 0;
    return operation == OSSL_OP_KEYMGMT ? keymgmts : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static void provider_teardown(void *prov)
{
    OPENSSL_free(prov);
}

static const OSSL_DISPATCH provider[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (fn)provider_query},
                                         {OSSL_FUNC_PROVIDER_TEARDOWN, (fn)provider_teardown},
                                         {0, NULL}};

static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                         void **ctx)
{
    struct provider *p = OPENSSL_zalloc(sizeof *p);
    for (; p != NULL && in->function_id != 0; in++) {
        if (in->function_id == OSSL_FUNC_CORE_GET_LIBCTX) /* a built-in provider may use its core's */
            p->lib = (OSSL_LIB_CTX *)(void *)OSSL_FUNC_core_get_libctx(in)(core);
    }
    if (p == NULL || p->lib == NULL) {
        OPENSSL_free(p);
        return 0;
    }
    *out = provider;
    *ctx = p;
    return 1;
}

bool tls_provider_add(OSSL_LIB_CTX *lib)
{
    return OSSL_PROVIDER_add_builtin(lib, "waxwing", provider_init) == 1;
}

int tls_key_type(const EVP_PKEY *pub)
{
    for (int i = 0; i < TLS_KEY_TYPES; i++) {
        if (EVP_PKEY_is_a(pub, type_names[i]))
            return i;
    }
    return -1;
}

EVP_PKEY *tls_remote_key(struct tls_world *w, EVP_PKEY *pub, uint32_t key)
{
    OSSL_PARAM *public = NULL, *all = NULL;
    EVP_PKEY_CTX *c = NULL;
    EVP_PKEY *made = NULL;
    OSSL_PARAM ours[] = {OSSL_PARAM_construct_octet_string(PARAM_WORLD, (void *)&w, sizeof w),
                         OSSL_PARAM_construct_uint32(PARAM_KEY, &key), OSSL_PARAM_construct_end()};
    int type = tls_key_type(pub);
    if (type >= 0 && EVP_PKEY_todata(pub, EVP_PKEY_PUBLIC_KEY, &public) > 0) {
        all = OSSL_PARAM_merge(public, ours);
        c = EVP_PKEY_CTX_new_from_name(w->lib, type_names[type], "provider=waxwing");
        if (all == NULL || c == NULL || EVP_PKEY_fromdata_init(c) <= 0 ||
            EVP_PKEY_fromdata(c, &made, EVP_PKEY_KEYPAIR, all) <= 0)
            made = NULL;
    }
    EVP_PKEY_CTX_free(c);
    OSSL_PARAM_free(all);
    OSSL_PARAM_free(public);
    return made;
}
