/* ext/saslprep.h: names and passwords of logins in the one form in which they are compared (SASLprep, RFC
 * 4013): what looks the same to its user is the same, whatever his keyboard made of it. By way of GNU libidn,
 * which has the tables of Unicode 3.2 (RFC 3454), and libunistring for the normalization.
 *
 * Owns:     nothing.
 * Limits:   SASLPREP_MAX octets.
 * Cost:     printable ASCII is copied and nothing else.
 * Security: what is read may be a password: no copy of it stays on the heap or in a buffer of ours. (libidn's
 *           own way through all steps leaves some, so its steps are taken one by one.)
 */
#pragma once
#include "base/buf.h"
#include "base/limits.h"

enum { SASLPREP_MAX = SASL_PASSWORD_MAX };
/* What is kept may hold no characters that Unicode may give another meaning yet; what is compared with it may
 * (RFC 3454 7). */
enum saslprep_use { SASLPREP_QUERY = 0, SASLPREP_STORED };
enum saslprep_result {
    SASLPREP_OK = 0,
    SASLPREP_MALFORMED,  /* no UTF-8, or longer than SASLPREP_MAX */
    SASLPREP_PROHIBITED, /* a character that none may hold: 2.3 */
    SASLPREP_DIRECTION,  /* letters from right to left beside others in a way that none can tell apart: 2.4 */
    SASLPREP_UNASSIGNED, /* SASLPREP_STORED: a character that is not in Unicode 3.2: 2.5 */
    SASLPREP_NO_ROOM,    /* in out, or no memory */
};
/* Appends the form of s, which may be empty where s is not; out as before when it has none. */
MUST_USE enum saslprep_result saslprep(struct str s, enum saslprep_use use, struct buf *out);
/* Why not, as the end of a sentence about s; static. */
const char *saslprep_text(enum saslprep_result r);
