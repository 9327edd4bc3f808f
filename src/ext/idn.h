/* ext/idn.h: domains outside ASCII (RFC 5890, 5891) by way of libidn2.
 *
 * Owns:     nothing. Calls of the library keep no state.
 * Limits:   a domain of DNS_NAME_MAX octets, in either form.
 * Practice: UTS 46, non-transitional, as browsers and both Postfix and Exim (by libidn2, ICU) have it;
 * without the rules of STD 3, since names with "_" are in use. A domain in ASCII is lower-cased and nothing
 * else, "xn--" labels too: what is in the DNS already is not to be judged here.
 */
#pragma once
#include "base/buf.h"

/* Appends the A-label form, lower case. False when the domain has none, or is too long; out is then as
 * before. */
MUST_USE bool idn_to_ascii(struct str domain, struct buf *out);
/* For display: appends the U-label form in UTF-8; the domain as it is, lower-cased, where it has none or
 * would show what no terminal may get. False only when out is full or the domain too long. */
MUST_USE bool idn_to_unicode(struct str domain, struct buf *out);
/* Whether both name the same domain; one with no A-label form is the same as itself alone. */
bool idn_same(struct str a, struct str b);
