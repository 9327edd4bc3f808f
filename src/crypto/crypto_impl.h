/* crypto/crypto_impl.h: what struct crypto holds, for this folder only. */
#pragma once
#include "crypto/crypto.h"
#include "crypto/digest.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>

struct crypto {
    OSSL_LIB_CTX *lib;
    EVP_MD *digests[DIGEST_KINDS];
    EVP_MAC *hmac;
    EVP_KDF *pbkdf2;
};
/* The library's name of a digest. */
const char *digest_library_name(enum digest d);
