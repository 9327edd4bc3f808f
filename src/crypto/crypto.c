#include "crypto/crypto.h"

#include "base/mem.h"
#include "crypto/crypto_impl.h"
#include "crypto/secret.h"

/* Uses each part once, so that the library begins what it begins at first use, and holds one against another:
 * PBKDF2 with one iteration is HMAC(password, salt || 00000001) (RFC 8018 5.2). */
static bool computes(const struct crypto *c)
{
    const struct str pieces[] = {STR("what do ya want for nothing?"), STR("\0\0\0\1")};
    for (unsigned d = 0; d < DIGEST_KINDS; d++) {
        uint8_t mac[DIGEST_MAX], derived[DIGEST_MAX];
        size_t n = digest_size((enum digest)d);
        if (digest_of(c, (enum digest)d, pieces, 2, mac) != ERR_OK ||
            digest_hmac(c, (enum digest)d, STR("Jefe"), pieces, 2, mac) != ERR_OK ||
            digest_pbkdf2(c, (enum digest)d, STR("Jefe"), pieces[0], 1, derived, n) != ERR_OK ||
            !secret_eq(str_of(mac, n), str_of(derived, n)))
            return false;
    }
    return true;
}

enum err crypto_new(struct crypto **out)
{
    struct crypto *c = mem_new(struct crypto);
    *out = NULL;
    if (c == NULL)
        return ERR_NOMEM;
    c->lib = OSSL_LIB_CTX_new();
    bool ok = c->lib != NULL;
    for (size_t i = 0; i < DIGEST_KINDS && ok; i++) {
        c->digests[i] = EVP_MD_fetch(c->lib, digest_library_name((enum digest)i), NULL);
        ok = c->digests[i] != NULL;
    }
    if (ok) {
        c->hmac = EVP_MAC_fetch(c->lib, "HMAC", NULL);
        c->pbkdf2 = EVP_KDF_fetch(c->lib, "PBKDF2", NULL);
        ok = c->hmac != NULL && c->pbkdf2 != NULL;
    }
    if (!ok || !computes(c)) {
        enum err e = c->lib == NULL ? ERR_NOMEM : ERR_DENIED;
        crypto_del(&c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void crypto_del(struct crypto **c)
{
    if (*c == NULL)
        return;
    EVP_KDF_free((*c)->pbkdf2);
    EVP_MAC_free((*c)->hmac);
    for (size_t i = 0; i < DIGEST_KINDS; i++)
        EVP_MD_free((*c)->digests[i]);
    OSSL_LIB_CTX_free((*c)->lib);
    mem_free(*c);
    *c = NULL;
}
