/* ext/tables.h: the drivers of ext/table.h put together: libraries, the clock, and the anchors that
 * certificates lead to.
 *
 * Owns:     a descriptor with the anchors, which libraries open by a name in /proc, as they want a file; it
 * is the same for ever, so that a thread that opens it meanwhile gets the old ones or the new ones. Errors:
 * a library that is not there is told to those who would use it. Security: made before the sandbox closes, by
 * the one process that has it. Within the sandbox files are opened by /proc and below the folder of SQLite's
 * databases, and never written.
 */
#pragma once
#include "ext/table.h"

struct tables_ext;
/* NULL: no memory or descriptors. */
struct tables_ext *tables_ext_new(void);
void tables_ext_del(struct tables_ext **t);
/* Valid as long as t. */
struct table_drivers *tables_ext_drivers(struct tables_ext *t);
