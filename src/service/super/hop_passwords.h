/* service/super/hop_passwords.h: passwords that we ourselves log in with: those of next hops, handed to
 * relay, and those of directories and databases and of asking about tokens, handed to tables; read by the
 * supervisor, and told to nobody else.
 *
 * Owns:     nothing; what was read is wiped as soon as it was handed over.
 * Limits:   SECRET_FILE_MAX octets a file.
 * Errors:   a file that can't be read is told in the log; mail and logins that need it wait.
 * Time:     files are read when a process that needs them starts, when a configuration is loaded and when one
 * of them changes (super.c has secrets.c watch them).
 */
#pragma once
#include "ipc/rights.h"
#include "service/super/secrets.h"

/* The paths of all that c names, each once. out: room for c->policy.n_routes + c->n_auths + 1. */
size_t hop_passwords_list(const struct config *c, struct str *out);
/* Sends each password that c names for processes of this role, once; to most there is none. false: the
 * channel takes no more. */
MUST_USE bool hop_passwords_send(struct world *w, const struct secret_files *files, const struct config *c,
                                 enum role role, struct channel *to);
