/* ext/sql_pg.h: verifiers of passwords in PostgreSQL, by libpq, which only the process that uses it loads.
 *
 * Owns:     the library.
 * Limits:   one row is read; a second one ends the session.
 * Errors:   as ext/table.h says. A library that is not there is told at each question.
 * Security: what is asked about is bound as parameters ($1 address, $2 user, $3 domain, of type text), never
 * pasted. TLS is verify-full: the certificate is of the anchors and for the name. No file is read but that of
 * the anchors: no service, password or certificate of the account. Nothing is asked of a name server:
 * addresses come with the place.
 */
#pragma once
#include "ext/table.h"

/* anchors: the path of a file that lives as long. NULL: no memory. Before the sandbox closes. */
struct table_driver *sql_pg_new(const char *anchors);
void sql_pg_del(struct table_driver *d); /* NULL is fine */
