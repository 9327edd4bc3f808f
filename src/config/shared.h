/* config/shared.h: what the loader and the decoder both derive, within this folder only. */
#pragma once
#include "config/config.h"

/* d is same_as `from`: users, aliases and delivery are shared. */
void config_share(struct local_domain *d, const struct local_domain *from);
/* What makes no sense in the parts of oauth, each by itself and together, for people; NULL: nothing. */
const char *config_oauth_problem(const struct oauth_conf *o);
/* Fills in what follows from the rest: the machine's addresses, the hook, the port of MX hosts. false: no
 * memory. */
MUST_USE bool config_derive(struct config *c, struct arena *a);
