/* crypto/crypto.h: the algorithms a process uses, fetched once from the library and kept.
 *
 * Owns:     a library context of its own: no provider of others in the process changes what is computed here.
 *           The library reads its openssl.cnf at the first use of some parts; crypto_new() uses them all
 * once, so that no file is opened afterwards. Make it before the sandbox closes. Threads:  what is fetched is
 * only read: one may be used by several threads. Errors:   the library fails for want of memory only:
 * ERR_NOMEM. ERR_DENIED: it has not got an algorithm, or does not compute what it should.
 */
#pragma once
#include "base/err.h"

struct crypto;
MUST_USE enum err crypto_new(struct crypto **out);
void crypto_del(struct crypto **c); /* NULL is fine */
