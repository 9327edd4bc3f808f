/* config/table_values.h: directories and databases that know passwords, as the configuration writes them:
 * text in, a struct auth_table out. No Lua here: what decodes a configuration reads the same texts again.
 *
 * Functions return NULL when all is well, else a phrase that follows "NAME ".
 */
#pragma once
#include "config/config.h"

/* "ldaps://HOST", "ldap://HOST:PORT", "ldapi://%2FPATH" into server, host, at and tls. */
const char *table_ldap_server(struct str s, struct auth_table *out);
/* "postgresql://USER@HOST:PORT/DB", "postgresql://USER@/FOLDER/DB", "sqlite:/PATH" into these, user and
 * place. */
const char *table_sql_database(struct str s, enum auth_by *kind, struct auth_table *out);
/* Do the parts go together? */
const char *table_error(const struct auth_backend *b);
/* The folder of an SQLite database. */
struct str table_folder(const struct auth_table *t);
