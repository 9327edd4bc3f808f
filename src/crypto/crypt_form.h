/* crypto/crypt_form.h: the forms of crypt(5) that may stand in a verifier, and their check by libxcrypt.
 *
 * Owns:     nothing; a check borrows some kilobytes from the heap, and what the form's cost says.
 * Limits:   those of crypto/verifier.h, by crypt_form_problem().
 * Errors:   ERR_NOMEM; ERR_CORRUPT: the library does not take the form.
 */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* NULL: well-formed in every octet, and not too costly. Else why not. */
const char *crypt_form_problem(struct str form);
/* Is it the password? form is one that crypt_form_problem() took, with NUL behind it. */
MUST_USE enum err crypt_form_check(const char *form, struct str password, bool *ok);
