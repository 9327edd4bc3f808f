/* ext/sql_sqlite.h: verifiers of passwords in an SQLite database, which others write.
 *
 * Limits:   the query ends within its limit; one row is read.
 * Errors:   as ext/table.h says. A database that was left in the middle of a change waits for a program that
 * may write. Security: the file is opened for reading and nothing is made beside it, so that whoever writes
 * it meets no file of ours. One in WAL mode that nobody has open has no WAL and no shared memory, which
 * SQLite would have to make: it is read as what does not change, and the answer counts if it did not. What is
 * asked about is bound ($1 or ?1 the address, $2 the user, $3 the domain), never pasted. The schema of the
 * file is not trusted.
 */
#pragma once
#include "ext/table.h"

/* NULL: no memory. */
struct table_driver *sql_sqlite_new(void);
void sql_sqlite_del(struct table_driver *d); /* NULL is fine */
