/* service/roles.h: what each role may do, as data: the table of the house's security (docs/privsep.md). */
#pragma once
#include "io/sandbox.h"
#include "ipc/rights.h"

/* The profile of a role without its paths (they come from the configuration). Static storage. */
const struct sandbox_profile *role_sandbox(enum role r);
/* The system user a role becomes when the supervisor is root. */
const char *role_user(enum role r);
