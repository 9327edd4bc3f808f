/* wire/verp.h: variable envelope return paths (VERP: Bernstein 1997; Postfix VERP_README): the sender of one
 * copy of list mail names the member it goes to, so that whatever comes back tells who it is about:
 *
 *   bounce+joe=example.com-k3j9x2ab@lists.example.org
 *
 * NAME "+" local part "=" domain "-" TAG, as Postfix by default writes it ("+="), with a tag of VERP_TAG
 * letters and digits behind: the caller's, who can tell by it what he wrote himself.
 *
 * Limits:   SMTP_LOCAL_PART_MAX octets before the "@" (RFC 5321 4.5.3.1.1), since the host that is to answer
 *           may take no more.
 */
#pragma once
#include "base/buf.h"

enum { VERP_TAG = 8, VERP_NAME_MAX = 24 };

/* The tag of a number: its lowest 40 bits (base32 of RFC 4648, lower case). */
void verp_tag(uint64_t hash, char out[VERP_TAG]);
/* Appends the address. false, and nothing appended: the member's is too long, has quotes, an address literal
 * or other characters than ASCII: a host that takes no SMTPUTF8 could not answer then. */
bool verp_format(struct str name, struct str member, const char tag[VERP_TAG], struct str domain,
                 struct buf *out);
struct verp {
    struct str local, domain; /* of the member; borrowed */
    char tag[VERP_TAG];       /* lower case: hosts on the way may have changed that */
};
/* local: a local part without quotes. false: it is no such address of name (any case). */
MUST_USE bool verp_parse(struct str local, struct str name, struct verp *out);
