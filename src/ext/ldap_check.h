/* ext/ldap_check.h: a directory that looks at passwords itself (LDAP, RFC 4511), by libldap, which only the
 * process that uses it loads.
 *
 * A user's entry is searched for on a connection that is ours, and his password taken to the server by a bind
 * as that entry on another one (RFC 4513 5.1.3). Both are kept.
 *
 * Owns:     the library, which is loaded once for the life of the process.
 * Limits:   two entries are asked for, and exactly one must be found.
 * Errors:   as ext/table.h says. A bind that is refused for anything but the password is no answer.
 * Security: names are escaped within the filter (RFC 4515 3). An empty password is never sent, for it would
 * ask for no proof (RFC 4513 5.1.2), nor one for an entry without a name. Referrals are not followed. We
 * connect; the library gets the connection and the name that the certificate must be for.
 */
#pragma once
#include "ext/table.h"

/* anchors: the path of a file that lives as long. NULL: no memory. Before the sandbox closes. */
struct table_driver *ldap_check_new(const char *anchors);
void ldap_check_del(struct table_driver *d); /* NULL is fine */
/* The filter with its %u, %d and %% filled in. false: it is too long. */
MUST_USE bool ldap_check_filter(const char *filter, struct str user, struct str domain, struct buf *out);
