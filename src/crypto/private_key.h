/* crypto/private_key.h: private keys of certificates, and the signatures that TLS asks of them.
 *
 * Owns:     a key read from PEM, which never leaves this module; its memory is wiped when it goes.
 * Limits:   TLS_CHAIN_SIZE_MAX octets of PEM; RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 and P-521,
 *           Ed25519; chains of TLS_CHAIN_MAX certificates.
 * Errors:   enum err, and a text for people in `why`.
 * Security: only signatures as TLS makes them (private_key_sign): whoever may ask for these can't have mail
 *           or certificates signed with an Ed25519 key; with the others a digest tells nothing.
 * RFC 8446 4.2.3 and 4.4.3, 5246 4.7 and 7.4.3, 8017, 8032, 8422.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/world_tls.h"
#include "crypto/crypto.h"

struct private_key;

/* The key of `pem` for the first certificate of `chain` (PEM both). ERR_OK: *out is the caller's (and needs c
 * for as long as it lives), and `why` holds a warning or nothing: the certificate has expired or is not yet
 * valid at now_s (seconds since 1970). Else why says what is wrong: ERR_INVALID (no PEM, not a key, of a kind
 * that is not taken, has a passphrase), ERR_STALE (the key and the certificate are each good but don't belong
 * together), ERR_NOMEM. */
MUST_USE enum err private_key_load(const struct crypto *c, struct str pem, struct str chain, int64_t now_s,
                                   struct private_key **out, struct buf *why);
void private_key_free(struct private_key **k);
/* octets: the digest's value; for Ed25519 what is to be signed, which must look as TLS makes it: a
 * CertificateVerify of TLS 1.3 or the parameters of a ServerKeyExchange of TLS 1.2. The signature goes to
 * out, at most TLS_SIGNATURE_MAX octets. ERR_INVALID: the key is of another kind, the length is wrong, or it
 * is nothing that TLS signs. ERR_IO: the library failed. One caller at a time. */
MUST_USE enum err private_key_sign(struct private_key *k, enum tls_scheme scheme, enum tls_digest digest,
                                   struct str octets, struct buf *out);
