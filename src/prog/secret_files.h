/* prog/secret_files.h: the files of secrets on the disk of this machine, for the supervisor. */
#pragma once
#include "io/world_io.h"
#include "service/super/secrets.h"

/* What the supervisor reads and watches by. Lives as long as w. false: no memory. */
MUST_USE bool secret_files_of(struct io_world *w, struct secret_files *out);
/* Something that this machine keeps over restarts and tells nobody: made of its machine-id, where it has one.
 */
void secret_seed(uint8_t out[SECRETS_SEED]);
