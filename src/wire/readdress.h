/* wire/readdress.h: where the address stands in a field that holds one mailbox (From, Sender: RFC
 * 5322 3.6.2), so that it alone can be replaced and name, comments and folds stay as they are.
 *
 * Owns:     nothing; the slice borrows from the value.
 * Limits:   linear in the value; comments nest to any depth.
 */
#pragma once
#include "base/str.h"

/* value: what stands behind the colon, folded or not. false where there is no mailbox, more than one, a
 * group, a source route, or anything else that is not plain: then it is nobody's to change. What is found is
 * an address as address_parse() takes it, a name alone too: `root`. */
MUST_USE bool readdress_find(struct str value, struct str *out);
