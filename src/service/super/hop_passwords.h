/* service/super/hop_passwords.h: passwords of next hops: read by the supervisor, handed to relay and to
 * nobody else.
 *
 * Owns:     nothing; what was read is wiped as soon as it was handed over.
 * Limits:   SECRET_FILE_MAX octets a file.
 * Errors:   a file that can't be read is told in the log; mail that needs it waits.
 * Time:     files are read when a relay starts, when a configuration is loaded and when one of them changes
 *           (super.c has secrets.c watch them).
 */
#pragma once
#include "service/super/secrets.h"

/* The paths of all that c names, each once. out: room for c->policy.n_routes. */
size_t hop_passwords_list(const struct config *c, struct str *out);
/* Sends each password that a route of c names, once. false: the channel takes no more. */
MUST_USE bool hop_passwords_send(struct world *w, const struct secret_files *files, const struct config *c,
                                 struct channel *relay);
